/* SPDX-License-Identifier: Apache-2.0 */
/* Consistency checks of VMRUN (APM 15.5.1). The complaint names the check. */
#include "machine.h"

#define EFER_ALL (EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE | EFER_SVME | EFER_LMSLE | EFER_FFXSR | EFER_TCE)
#define CR4_ALL (UINT64_C(0x7f07ff) | CR4_UMIP | CR4_LA57 | CR4_CET)

static const char *check_registers(const struct vmcb *b)
{
	if (!(b->efer & EFER_SVME))
		return "EFER.SVME is clear";
	if (b->cr0 & CR0_NW && !(b->cr0 & CR0_CD))
		return "CR0: NW without CD";
	if (b->cr0 >> 32)
		return "CR0: bits above 31";
	if (b->cr0 & CR0_PG && !(b->cr0 & CR0_PE))
		return "CR0: PG without PE";
	if (b->efer & EFER_LMA && b->cr3 >> 52)
		return "CR3: reserved bits";
	if (b->cr4 & ~CR4_ALL || (b->cr4 & CR4_LA57 && !has(MODEL_LA57)))
		return "CR4: reserved bits";
	if (b->dr6 >> 32 || b->dr7 >> 32)
		return "DR6 or DR7: bits above 31";
	if (b->efer & ~EFER_ALL)
		return "EFER: reserved bits";
	return NULL;
}

static const char *check_long_mode(const struct vmcb *b)
{
	const bool entering = b->efer & EFER_LME && b->cr0 & CR0_PG;
	const uint16_t l_and_d = 0x600;

	if (entering && !(b->cr4 & CR4_PAE))
		return "long mode without PAE";
	if (entering && !(b->cr0 & CR0_PE))
		return "long mode without PE";
	if (entering && b->cr4 & CR4_PAE && (b->cs.attributes & l_and_d) == l_and_d)
		return "CS: L and D";
	return NULL;
}

/* APM 15.20: what is no exception, and what the guest's mode does not have. */
static const char *check_exception(const struct vmcb *b, uint32_t vector)
{
	const uint32_t exceptions = 0x702f7dfb; /* APM table 8-1 */
	const bool mode64 = b->efer & EFER_LMA && b->cs.attributes & 0x200;

	if (vector > 31 || !(exceptions >> vector & 1))
		return "injected event: vector of an exception";
	if (mode64 && (vector == VECTOR_BR || vector == VECTOR_OF))
		return "injected event: impossible in 64-bit mode";
	return NULL;
}

static const char *check_event(const struct vmcb *b)
{
	const uint64_t event = b->event_injection;
	const uint32_t type = event >> EVENT_TYPE_SHIFT & 7, vector = event & 0xff;

	if (!(event & EVENT_VALID))
		return NULL;
	if (type != 0 && type != 2 && type != 3 && type != 4)
		return "injected event: type";
	return type == 3 ? check_exception(b, vector) : NULL;
}

static const char *check_pat(uint64_t pat)
{
	for (unsigned i = 0; i < 8; i++, pat >>= 8)
		if ((pat & 0xff) > 7 || (pat & 0xfe) == 2)
			return "PAT";
	return NULL;
}

static const char *check_controls(const struct vmcb *b)
{
	if (!(b->intercept4 & INTERCEPT_VMRUN))
		return "VMRUN is not intercepted";
	if (!b->asid)
		return "ASID 0";
	if (b->asid >= 16)
		return "ASID beyond what CPUID says";
	if (!model_memory(model, b->msrpm_base) || !model_memory(model, b->iopm_base))
		return "permission map addresses";
	if (b->tlb_control > 1 && !(has(MODEL_FLUSH_ASID) && (b->tlb_control == 3 || b->tlb_control == 7)))
		return "TLB_CONTROL";
	/* No check of the CPU's: it walks them in the host's paging mode (APM 15.25.3). */
	if (b->nested_control & NESTED_PAGING && model->nested_levels != (cpu->cr4 & CR4_LA57 ? 5 : 4))
		complain("VMRUN: nested tables of %u levels under a host with CR4.LA57 %s", model->nested_levels,
			 cpu->cr4 & CR4_LA57 ? "set" : "clear");
	if (b->nested_control & NESTED_PAGING)
		return b->nested_cr3 >> 40 || b->nested_cr3 & 0xfe7 ? "nested CR3" : check_pat(b->pat);
	return NULL;
}

const char *svm_check_entry(const struct vmcb *b)
{
	const char *failed = check_registers(b);

	if (!failed)
		failed = check_long_mode(b);
	if (!failed)
		failed = check_controls(b);
	if (!failed)
		failed = check_event(b);
	if (failed)
		complain("VMRUN: %s", failed);
	/* Legal, and a disaster for whoever shares the caches. */
	if (b->cr0 & CR0_CD)
		complain("VMRUN with CR0.CD: the guest runs uncached");
	return failed;
}
