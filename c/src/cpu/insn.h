/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The privileged instructions, one function each, and nothing else. All inline assembly of the
 * library is in this header, so that what it does to a CPU can be read, and replaced, in one place.
 */
#ifndef CPU_INSN_H
#define CPU_INSN_H

#include <stdbool.h>
#include <stdint.h>

/* ---- VT-x (SDM 31.3). False: VMfailInvalid or VMfailValid ------------------------------------- */

static inline bool insn_vmxon(uint64_t hpa)
{
	bool ok;

	__asm__ volatile("vmxon %1" : "=@cca"(ok) : "m"(hpa) : "memory");
	return ok;
}

static inline bool insn_vmxoff(void)
{
	bool ok;

	__asm__ volatile("vmxoff" : "=@cca"(ok) : : "memory");
	return ok;
}

static inline bool insn_vmclear(uint64_t hpa)
{
	bool ok;

	__asm__ volatile("vmclear %1" : "=@cca"(ok) : "m"(hpa) : "memory");
	return ok;
}

static inline bool insn_vmptrld(uint64_t hpa)
{
	bool ok;

	__asm__ volatile("vmptrld %1" : "=@cca"(ok) : "m"(hpa) : "memory");
	return ok;
}

/* *value stays as it was when it fails. */
static inline bool insn_vmread(uint64_t field, uint64_t *value)
{
	bool ok;

	__asm__ volatile("vmread %2, %1" : "=@cca"(ok), "+r"(*value) : "r"(field));
	return ok;
}

/* Of a field that every CPU has that runs guests here: with a current VMCS it cannot fail. */
static inline uint64_t insn_vmread_known(uint64_t field)
{
	uint64_t value;

	__asm__ volatile("vmread %1, %0" : "=r"(value) : "r"(field) : "cc");
	return value;
}

static inline bool insn_vmwrite(uint64_t field, uint64_t value)
{
	bool ok;

	__asm__ volatile("vmwrite %1, %2" : "=@cca"(ok) : "r"(value), "r"(field) : "memory");
	return ok;
}

/* `type`: SDM 31.3, INVEPT: 1 single context (the EPTP), 2 global. */
static inline bool insn_invept(uint64_t type, uint64_t eptp)
{
	const struct {
		uint64_t eptp, reserved;
	} descriptor = {eptp, 0};
	bool ok;

	__asm__ volatile("invept %1, %2" : "=@cca"(ok) : "m"(descriptor), "r"(type) : "memory");
	return ok;
}

/* `type`: SDM 31.3, INVVPID: 1 single context (the VPID), 2 all contexts. */
static inline bool insn_invvpid(uint64_t type, uint16_t vpid)
{
	const struct {
		uint64_t vpid, linear;
	} descriptor = {vpid, 0};
	bool ok;

	__asm__ volatile("invvpid %1, %2" : "=@cca"(ok) : "m"(descriptor), "r"(type) : "memory");
	return ok;
}

/* ---- SVM (APM 15.5) --------------------------------------------------------------------------------- */

/* FS, GS, TR, LDTR and the SYSCALL and SYSENTER MSRs, to the VMCB at `hpa`. EFER.SVME is set. */
static inline void insn_vmsave(uint64_t hpa)
{
	__asm__ volatile("vmsave %0" : : "a"(hpa) : "memory");
}

/* ---- Identification, time, MSRs ------------------------------------------------------------------ */

static inline void insn_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	__asm__ volatile("cpuid"
			 : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3])
			 : "a"(leaf), "c"(subleaf));
}

static inline uint64_t insn_rdtsc(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

static inline uint64_t insn_rdmsr(uint32_t msr)
{
	uint32_t low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
	return (uint64_t)high << 32 | low;
}

static inline void insn_wrmsr(uint32_t msr, uint64_t value)
{
	__asm__ volatile("wrmsr"
			 :
			 : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
			 : "memory");
}

/* ---- Control and debug registers, flags ----------------------------------------------------------- */

static inline uint64_t insn_read_cr0(void)
{
	uint64_t value;

	__asm__ volatile("mov %%cr0, %0" : "=r"(value));
	return value;
}

static inline void insn_write_cr0(uint64_t value)
{
	__asm__ volatile("mov %0, %%cr0" : : "r"(value) : "memory");
}

static inline void insn_clts(void)
{
	__asm__ volatile("clts" : : : "memory");
}

static inline uint64_t insn_read_cr2(void)
{
	uint64_t value;

	__asm__ volatile("mov %%cr2, %0" : "=r"(value));
	return value;
}

static inline void insn_write_cr2(uint64_t value)
{
	__asm__ volatile("mov %0, %%cr2" : : "r"(value) : "memory");
}

static inline uint64_t insn_read_cr3(void)
{
	uint64_t value;

	__asm__ volatile("mov %%cr3, %0" : "=r"(value));
	return value;
}

static inline uint64_t insn_read_cr4(void)
{
	uint64_t value;

	__asm__ volatile("mov %%cr4, %0" : "=r"(value));
	return value;
}

static inline void insn_write_cr4(uint64_t value)
{
	__asm__ volatile("mov %0, %%cr4" : : "r"(value) : "memory");
}

static inline void insn_read_drs(uint64_t dr[4])
{
	__asm__ volatile("mov %%db0, %0" : "=r"(dr[0]));
	__asm__ volatile("mov %%db1, %0" : "=r"(dr[1]));
	__asm__ volatile("mov %%db2, %0" : "=r"(dr[2]));
	__asm__ volatile("mov %%db3, %0" : "=r"(dr[3]));
}

static inline void insn_write_drs(const uint64_t dr[4])
{
	__asm__ volatile("mov %0, %%db0" : : "r"(dr[0]));
	__asm__ volatile("mov %0, %%db1" : : "r"(dr[1]));
	__asm__ volatile("mov %0, %%db2" : : "r"(dr[2]));
	__asm__ volatile("mov %0, %%db3" : : "r"(dr[3]));
}

static inline uint64_t insn_read_dr6(void)
{
	uint64_t value;

	__asm__ volatile("mov %%db6, %0" : "=r"(value));
	return value;
}

static inline void insn_write_dr6(uint64_t value)
{
	__asm__ volatile("mov %0, %%db6" : : "r"(value));
}

static inline uint64_t insn_read_dr7(void)
{
	uint64_t value;

	__asm__ volatile("mov %%db7, %0" : "=r"(value));
	return value;
}

static inline void insn_write_dr7(uint64_t value)
{
	__asm__ volatile("mov %0, %%db7" : : "r"(value));
}

static inline uint64_t insn_read_flags(void)
{
	uint64_t value;

	__asm__ volatile("pushfq\n\tpop %0" : "=r"(value) : : "memory");
	return value;
}

/* RFLAGS before, for insn_restore_interrupts. */
static inline uint64_t insn_disable_interrupts(void)
{
	const uint64_t flags = insn_read_flags();

	__asm__ volatile("cli" : : : "memory");
	return flags;
}

static inline void insn_restore_interrupts(uint64_t flags)
{
	if (flags & (UINT64_C(1) << 9))
		__asm__ volatile("sti" : : : "memory");
}

/* ---- Extended state (SDM Vol. 1, 13) --------------------------------------------------------------- */

static inline uint64_t insn_xgetbv(uint32_t index)
{
	uint32_t low, high;

	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(index));
	return (uint64_t)high << 32 | low;
}

static inline void insn_xsetbv(uint32_t index, uint64_t value)
{
	__asm__ volatile("xsetbv"
			 :
			 : "c"(index), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
			 : "memory");
}

/* `area`: 64-byte aligned; every component that XCR0 enables. */
static inline void insn_xsave(void *area)
{
	__asm__ volatile("xsave64 (%0)" : : "r"(area), "a"(0xffffffffu), "d"(0xffffffffu) : "memory");
}

static inline void insn_xrstor(const void *area)
{
	__asm__ volatile("xrstor64 (%0)" : : "r"(area), "a"(0xffffffffu), "d"(0xffffffffu) : "memory");
}

/* `area`: 512 bytes, 16-byte aligned. */
static inline void insn_fxsave(void *area)
{
	__asm__ volatile("fxsave64 (%0)" : : "r"(area) : "memory");
}

static inline void insn_fxrstor(const void *area)
{
	__asm__ volatile("fxrstor64 (%0)" : : "r"(area) : "memory");
}

/* Known values in the x87 instruction pointer, data pointer and opcode. CR0.EM and CR0.TS are clear. */
static inline void insn_clear_x87_pointers(void)
{
	int32_t zero = 0;

	/* Its code names no x87 register: an object of the library that names one is a build with foreign flags. */
	__asm__ volatile("fnclex\n\temms\n\tfildl %0\n\tfistpl %0" : "+m"(zero));
}

/* ---- Descriptor tables and segments ------------------------------------------------------------------ */

struct __attribute__((packed)) insn_table {
	uint16_t limit;
	uint64_t base;
};

static inline void insn_sgdt(struct insn_table *table)
{
	__asm__ volatile("sgdt %0" : "=m"(*table));
}

static inline void insn_sidt(struct insn_table *table)
{
	__asm__ volatile("sidt %0" : "=m"(*table));
}

static inline void insn_lgdt(const struct insn_table *table)
{
	__asm__ volatile("lgdt %0" : : "m"(*table) : "memory");
}

static inline void insn_lidt(const struct insn_table *table)
{
	__asm__ volatile("lidt %0" : : "m"(*table) : "memory");
}

static inline uint16_t insn_sldt(void)
{
	uint16_t selector;

	__asm__ volatile("sldt %0" : "=r"(selector));
	return selector;
}

static inline void insn_lldt(uint16_t selector)
{
	__asm__ volatile("lldt %0" : : "r"(selector) : "memory");
}

static inline uint16_t insn_str(void)
{
	uint16_t selector;

	__asm__ volatile("str %0" : "=r"(selector));
	return selector;
}

/* The descriptor is an available TSS; it becomes a busy one. */
static inline void insn_ltr(uint16_t selector)
{
	__asm__ volatile("ltr %0" : : "r"(selector) : "memory");
}

static inline uint16_t insn_read_cs(void)
{
	uint16_t selector;

	__asm__ volatile("mov %%cs, %0" : "=r"(selector));
	return selector;
}

static inline uint16_t insn_read_ss(void)
{
	uint16_t selector;

	__asm__ volatile("mov %%ss, %0" : "=r"(selector));
	return selector;
}

static inline uint16_t insn_read_ds(void)
{
	uint16_t selector;

	__asm__ volatile("mov %%ds, %0" : "=r"(selector));
	return selector;
}

static inline uint16_t insn_read_es(void)
{
	uint16_t selector;

	__asm__ volatile("mov %%es, %0" : "=r"(selector));
	return selector;
}

static inline uint16_t insn_read_fs(void)
{
	uint16_t selector;

	__asm__ volatile("mov %%fs, %0" : "=r"(selector));
	return selector;
}

static inline uint16_t insn_read_gs(void)
{
	uint16_t selector;

	__asm__ volatile("mov %%gs, %0" : "=r"(selector));
	return selector;
}

static inline void insn_load_ds(uint16_t selector)
{
	__asm__ volatile("mov %0, %%ds" : : "r"(selector) : "memory");
}

static inline void insn_load_es(uint16_t selector)
{
	__asm__ volatile("mov %0, %%es" : : "r"(selector) : "memory");
}

/* Both lose the segment's base: write IA32_FS_BASE or IA32_GS_BASE next. IRQs off for GS. */
static inline void insn_load_fs(uint16_t selector)
{
	__asm__ volatile("mov %0, %%fs" : : "r"(selector) : "memory");
}

static inline void insn_load_gs(uint16_t selector)
{
	__asm__ volatile("mov %0, %%gs" : : "r"(selector) : "memory");
}

/* ---- Events that belong to the host -------------------------------------------------------------------- */

/* Enters the host's NMI handler through its IDT; its IRET unblocks NMIs. */
static inline void insn_raise_nmi(void)
{
	__asm__ volatile("int $2" : : : "memory");
}

/* Enters the host's machine-check handler through its IDT. */
static inline void insn_raise_machine_check(void)
{
	__asm__ volatile("int $18" : : : "memory");
}

static inline void insn_pause(void)
{
	__asm__ volatile("pause" : : : "memory");
}

#endif
