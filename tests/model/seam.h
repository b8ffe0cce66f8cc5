/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In place of c/src/cpu/insn.h: with "-include seam.h" the library's sources run on the model. seam.c stands for
 * the world switches.
 */
#ifndef MODEL_SEAM_H
#define MODEL_SEAM_H

#ifdef CPU_INSN_H
#error "include seam.h before anything that includes cpu/insn.h"
#endif
#define CPU_INSN_H

#include "model.h"

struct __attribute__((packed)) insn_table {
	uint16_t limit;
	uint64_t base;
};

static inline bool insn_vmxon(uint64_t hpa) { return !model_vmxon(hpa); }
static inline bool insn_vmxoff(void) { return !model_vmxoff(); }
static inline bool insn_vmclear(uint64_t hpa) { return !model_vmclear(hpa); }
static inline bool insn_vmptrld(uint64_t hpa) { return !model_vmptrld(hpa); }
static inline bool insn_vmread(uint64_t field, uint64_t *value) { return !model_vmread(field, value); }
static inline uint64_t insn_vmread_known(uint64_t field)
{
	uint64_t value = 0;

	(void)insn_vmread(field, &value);
	return value;
}
static inline bool insn_vmwrite(uint64_t field, uint64_t value) { return !model_vmwrite(field, value); }
static inline bool insn_invept(uint64_t type, uint64_t eptp) { return !model_invept(type, eptp); }
static inline bool insn_invvpid(uint64_t type, uint16_t vpid) { return !model_invvpid(type, vpid); }
static inline void insn_vmsave(uint64_t hpa) { model_vmsave(hpa); }
static inline void insn_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t out[4]) { model_cpuid(leaf, subleaf, out); }
static inline uint64_t insn_rdtsc(void) { return model_rdtsc(); }
static inline uint64_t insn_rdmsr(uint32_t msr) { return model_rdmsr(msr); }
static inline void insn_wrmsr(uint32_t msr, uint64_t value) { model_wrmsr(msr, value); }
static inline uint64_t insn_read_cr0(void) { return model_read_cr(0); }
static inline void insn_write_cr0(uint64_t value) { model_write_cr(0, value); }
static inline void insn_clts(void) { model_write_cr(0, model_read_cr(0) & ~UINT64_C(8)); }
static inline uint64_t insn_read_cr2(void) { return model_read_cr(2); }
static inline void insn_write_cr2(uint64_t value) { model_write_cr(2, value); }
static inline uint64_t insn_read_cr3(void) { return model_read_cr(3); }
static inline uint64_t insn_read_cr4(void) { return model_read_cr(4); }
static inline void insn_write_cr4(uint64_t value) { model_write_cr(4, value); }

static inline void insn_read_drs(uint64_t dr[4])
{
	for (uint32_t i = 0; i < 4; i++)
		dr[i] = model_read_dr(i);
}

static inline void insn_write_drs(const uint64_t dr[4])
{
	for (uint32_t i = 0; i < 4; i++)
		model_write_dr(i, dr[i]);
}

static inline uint64_t insn_read_dr6(void) { return model_read_dr(6); }
static inline void insn_write_dr6(uint64_t value) { model_write_dr(6, value); }
static inline uint64_t insn_read_dr7(void) { return model_read_dr(7); }
static inline void insn_write_dr7(uint64_t value) { model_write_dr(7, value); }
static inline uint64_t insn_read_flags(void) { return model_read_flags(); }

static inline uint64_t insn_disable_interrupts(void)
{
	const uint64_t flags = model_read_flags();

	model_set_if(0);
	return flags;
}

static inline void insn_restore_interrupts(uint64_t flags)
{
	if (flags & (UINT64_C(1) << 9))
		model_set_if(1);
}

static inline uint64_t insn_xgetbv(uint32_t index) { return model_xgetbv(index); }
static inline void insn_xsetbv(uint32_t index, uint64_t value) { model_xsetbv(index, value); }
static inline void insn_xsave(void *area) { model_xsave(area); }
static inline void insn_xrstor(const void *area) { model_xrstor(area); }
static inline void insn_fxsave(void *area) { (void)area; }
static inline void insn_fxrstor(const void *area) { (void)area; }

static inline void insn_sgdt(struct insn_table *table)
{
	uint16_t limit;
	uint64_t base;

	model_store_table(MODEL_GDTR, &limit, &base);
	*table = (struct insn_table){limit, base};
}

static inline void insn_sidt(struct insn_table *table)
{
	uint16_t limit;
	uint64_t base;

	model_store_table(MODEL_IDTR, &limit, &base);
	*table = (struct insn_table){limit, base};
}

static inline void insn_lgdt(const struct insn_table *table) { model_load_table(MODEL_GDTR, table->limit, table->base); }
static inline void insn_lidt(const struct insn_table *table) { model_load_table(MODEL_IDTR, table->limit, table->base); }
static inline uint16_t insn_read_es(void) { return model_read_selector(0); }
static inline uint16_t insn_read_cs(void) { return model_read_selector(1); }
static inline uint16_t insn_read_ss(void) { return model_read_selector(2); }
static inline uint16_t insn_read_ds(void) { return model_read_selector(3); }
static inline uint16_t insn_read_fs(void) { return model_read_selector(4); }
static inline uint16_t insn_read_gs(void) { return model_read_selector(5); }
static inline uint16_t insn_sldt(void) { return model_read_selector(6); }
static inline uint16_t insn_str(void) { return model_read_selector(7); }
static inline void insn_load_es(uint16_t selector) { model_load_selector(0, selector); }
static inline void insn_load_ds(uint16_t selector) { model_load_selector(3, selector); }
static inline void insn_load_fs(uint16_t selector) { model_load_selector(4, selector); }
static inline void insn_load_gs(uint16_t selector) { model_load_selector(5, selector); }
static inline void insn_lldt(uint16_t selector) { model_load_selector(6, selector); }
static inline void insn_ltr(uint16_t selector) { model_load_tr(selector); }
static inline void insn_clear_x87_pointers(void) {}
static inline void insn_raise_nmi(void) { model_raise(2); }
static inline void insn_raise_machine_check(void) { model_raise(18); }
static inline void insn_pause(void) { }

#endif
