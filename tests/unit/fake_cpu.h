/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A CPU without a guest: every instruction of c/src/cpu/insn.h works on the structure below. A source
 * that is included behind this header, instead of being linked, runs on it. There is one VMCS, which is
 * current from VMPTRLD to VMCLEAR.
 */
#ifndef FAKE_CPU_H
#define FAKE_CPU_H

#ifdef CPU_INSN_H
#error "include fake_cpu.h before anything that includes cpu/insn.h"
#endif
#define CPU_INSN_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define FAKE_MSRS 64
#define FAKE_FIELDS 0x8000

struct fake_msr {
	uint32_t index;
	uint64_t value;
};

struct __attribute__((packed)) insn_table {
	uint16_t limit;
	uint64_t base;
};

struct fake_cpu {
	uint64_t cr0, cr2, cr3, cr4, dr[4], dr6, dr7, xcr0, tsc;
	uint16_t cs, ss, ds, es, fs, gs, tr, ldtr;
	struct insn_table gdtr, idtr;
	struct fake_msr msrs[FAKE_MSRS]; /* index 0: free */

	bool current; /* a VMCS is */
	uint64_t vmcs[FAKE_FIELDS];
	bool written[FAKE_FIELDS];
	bool read[FAKE_FIELDS];

	uint32_t tr_limit;
	bool amd, saves_x87_pointers; /* CPUID says so */
	void *fxsave_area; /* of the last FXSAVE */
	unsigned ltrs, x87_clears;
	uint64_t dr7_at_dr_write; /* DR7 when DR0 to DR3 were written last */
	unsigned vmclears, invepts, invvpids, nmis, machine_checks;
	uint64_t invept_type;
};

extern struct fake_cpu fake_cpu;

/* A new one is made at the first use. */
uint64_t *fake_msr(uint32_t index);
void fake_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t out[4]);

static inline bool insn_vmxon(uint64_t hpa) { return hpa != 0; }
static inline bool insn_vmxoff(void) { return true; }

static inline bool insn_vmclear(uint64_t hpa)
{
	fake_cpu.current = false;
	fake_cpu.vmclears++;
	return hpa != 0;
}

static inline bool insn_vmptrld(uint64_t hpa)
{
	fake_cpu.current = true;
	return hpa != 0;
}

static inline bool insn_vmread(uint64_t field, uint64_t *value)
{
	if (!fake_cpu.current || field >= FAKE_FIELDS)
		return false;
	fake_cpu.read[field] = true;
	*value = fake_cpu.vmcs[field];
	return true;
}

static inline uint64_t insn_vmread_known(uint64_t field)
{
	uint64_t value = 0;

	(void)insn_vmread(field, &value);
	return value;
}

static inline bool insn_vmwrite(uint64_t field, uint64_t value)
{
	if (!fake_cpu.current || field >= FAKE_FIELDS)
		return false;
	fake_cpu.written[field] = true;
	fake_cpu.vmcs[field] = value;
	return true;
}

static inline bool insn_invept(uint64_t type, uint64_t eptp)
{
	fake_cpu.invepts++;
	fake_cpu.invept_type = type;
	return type == 2 || eptp != 0;
}

static inline bool insn_invvpid(uint64_t type, uint16_t vpid)
{
	fake_cpu.invvpids++;
	return type == 2 || vpid != 0;
}

static inline void insn_vmsave(uint64_t hpa) { (void)hpa; }
static inline void insn_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t out[4]) { fake_cpuid(leaf, subleaf, out); }
static inline uint64_t insn_rdtsc(void) { return fake_cpu.tsc += 10; }
static inline uint64_t insn_rdmsr(uint32_t msr) { return *fake_msr(msr); }
static inline void insn_wrmsr(uint32_t msr, uint64_t value) { *fake_msr(msr) = value; }
static inline uint64_t insn_read_cr0(void) { return fake_cpu.cr0; }
static inline void insn_write_cr0(uint64_t value) { fake_cpu.cr0 = value; }
static inline void insn_clts(void) { fake_cpu.cr0 &= ~UINT64_C(8); }
static inline uint64_t insn_read_cr2(void) { return fake_cpu.cr2; }
static inline void insn_write_cr2(uint64_t value) { fake_cpu.cr2 = value; }
static inline uint64_t insn_read_cr3(void) { return fake_cpu.cr3; }
static inline uint64_t insn_read_cr4(void) { return fake_cpu.cr4; }
static inline void insn_write_cr4(uint64_t value) { fake_cpu.cr4 = value; }
static inline void insn_read_drs(uint64_t dr[4]) { memcpy(dr, fake_cpu.dr, sizeof(fake_cpu.dr)); }
static inline void insn_write_drs(const uint64_t dr[4])
{
	fake_cpu.dr7_at_dr_write |= fake_cpu.dr7;
	memcpy(fake_cpu.dr, dr, sizeof(fake_cpu.dr));
}
static inline uint64_t insn_read_dr6(void) { return fake_cpu.dr6; }
static inline void insn_write_dr6(uint64_t value) { fake_cpu.dr6 = value; }
static inline uint64_t insn_read_dr7(void) { return fake_cpu.dr7; }
static inline void insn_write_dr7(uint64_t value) { fake_cpu.dr7 = value; }
static inline uint64_t insn_read_flags(void) { return 2; }
static inline uint64_t insn_disable_interrupts(void) { return 2; }
static inline void insn_restore_interrupts(uint64_t flags) { (void)flags; }
static inline uint64_t insn_xgetbv(uint32_t index) { return index ? 0 : fake_cpu.xcr0; }
static inline void insn_xsetbv(uint32_t index, uint64_t value) { fake_cpu.xcr0 = index ? fake_cpu.xcr0 : value; }
static inline void insn_xsave(void *area) { (void)area; }
static inline void insn_xrstor(const void *area) { (void)area; }
static inline void insn_fxsave(void *area) { fake_cpu.fxsave_area = area; }
static inline void insn_fxrstor(const void *area) { (void)area; }
static inline void insn_clear_x87_pointers(void) { fake_cpu.x87_clears++; }
static inline void insn_sgdt(struct insn_table *table) { *table = fake_cpu.gdtr; }
static inline void insn_sidt(struct insn_table *table) { *table = fake_cpu.idtr; }
static inline void insn_lgdt(const struct insn_table *table) { fake_cpu.gdtr = *table; }
static inline void insn_lidt(const struct insn_table *table) { fake_cpu.idtr = *table; }
static inline uint16_t insn_sldt(void) { return fake_cpu.ldtr; }
static inline void insn_lldt(uint16_t selector) { fake_cpu.ldtr = selector; }
static inline uint16_t insn_str(void) { return fake_cpu.tr; }
/* TR's limit as the CPU holds it; an LTR that would fault leaves it at FAKE_LTR_FAULT. */
#define FAKE_LTR_FAULT 0xdeadu
static inline void insn_ltr(uint16_t selector)
{
	uint64_t *entry = (uint64_t *)(uintptr_t)(fake_cpu.gdtr.base + selector);

	fake_cpu.ltrs++;
	fake_cpu.tr_limit = FAKE_LTR_FAULT;
	if (selector + 15u > fake_cpu.gdtr.limit || (entry[0] >> 40 & 0x1f) != 9)
		return;
	entry[0] |= UINT64_C(2) << 40;
	fake_cpu.tr = selector;
	fake_cpu.tr_limit = (uint32_t)(entry[0] & 0xffff) | (uint32_t)(entry[0] >> 32 & 0xf0000);
}
static inline uint16_t insn_read_cs(void) { return fake_cpu.cs; }
static inline uint16_t insn_read_ss(void) { return fake_cpu.ss; }
static inline uint16_t insn_read_ds(void) { return fake_cpu.ds; }
static inline uint16_t insn_read_es(void) { return fake_cpu.es; }
static inline uint16_t insn_read_fs(void) { return fake_cpu.fs; }
static inline uint16_t insn_read_gs(void) { return fake_cpu.gs; }
static inline void insn_load_ds(uint16_t selector) { fake_cpu.ds = selector; }
static inline void insn_load_es(uint16_t selector) { fake_cpu.es = selector; }
static inline void insn_load_fs(uint16_t selector) { fake_cpu.fs = selector; }
static inline void insn_load_gs(uint16_t selector) { fake_cpu.gs = selector; }
static inline void insn_raise_nmi(void) { fake_cpu.nmis++; }
static inline void insn_raise_machine_check(void) { fake_cpu.machine_checks++; }
static inline void insn_pause(void) { fake_cpu.tsc++; }

#endif
