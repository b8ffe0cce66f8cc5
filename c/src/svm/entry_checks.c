/* SPDX-License-Identifier: Apache-2.0 */
/* See entry_checks.h. */
#include "svm/entry_checks.h"

#include <stddef.h>

#include "cpu/libc.h"
#include "cpu/x86.h"

#define EFER_ALL (EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE | EFER_SVME | EFER_LMSLE | EFER_FFXSR | EFER_TCE)
#define CR4_ALL (UINT64_C(0x7f07ff) | CR4_UMIP | CR4_CET)
#define ATTRIBUTE_L 0x200u
#define ATTRIBUTE_L_AND_D 0x600u
/* APM table 8-1: 0, 1, 3 to 8, 10 to 14, 16 to 19, 21, 28 to 30. */
#define EXCEPTIONS 0x702f7dfbu

typedef const struct svm_entry_view *entry;

/* ---- 15.5.1: registers ---------------------------------------------------------------------------------------- */

static bool efer_svme(entry e)
{
	return e->vmcb->efer & EFER_SVME;
}

static bool cr0_nw(entry e)
{
	return !(e->vmcb->cr0 & CR0_NW) || e->vmcb->cr0 & CR0_CD;
}

static bool cr0_high(entry e)
{
	return !(e->vmcb->cr0 >> 32);
}

static bool cr0_paging(entry e)
{
	return !(e->vmcb->cr0 & CR0_PG) || e->vmcb->cr0 & CR0_PE;
}

static bool cr3(entry e)
{
	return !(e->vmcb->efer & EFER_LMA) || !(e->vmcb->cr3 >> 52);
}

static bool cr4(entry e)
{
	return !(e->vmcb->cr4 & ~(CR4_ALL | (e->la57 ? CR4_LA57 : 0)));
}

static bool dr6(entry e)
{
	return !(e->vmcb->dr6 >> 32);
}

static bool dr7(entry e)
{
	return !(e->vmcb->dr7 >> 32);
}

static bool efer(entry e)
{
	return !(e->vmcb->efer & ~(uint64_t)EFER_ALL);
}

static bool enters_long_mode(entry e)
{
	return e->vmcb->efer & EFER_LME && e->vmcb->cr0 & CR0_PG;
}

static bool long_pae(entry e)
{
	return !enters_long_mode(e) || e->vmcb->cr4 & CR4_PAE;
}

static bool long_pe(entry e)
{
	return !enters_long_mode(e) || e->vmcb->cr0 & CR0_PE;
}

static bool cs_l_and_d(entry e)
{
	return !enters_long_mode(e) || !(e->vmcb->cr4 & CR4_PAE) ||
	       (e->vmcb->cs.attributes & ATTRIBUTE_L_AND_D) != ATTRIBUTE_L_AND_D;
}

/* ---- 15.5.1: controls ------------------------------------------------------------------------------------------ */

static bool vmrun(entry e)
{
	return e->vmcb->intercept4 & INTERCEPT_VMRUN;
}

static bool asid(entry e)
{
	return e->vmcb->asid;
}

static bool asid_exists(entry e)
{
	return e->vmcb->asid < e->asids;
}

static bool msrpm(entry e)
{
	return !(e->vmcb->msrpm_base >> e->physical_bits);
}

static bool iopm(entry e)
{
	return !(e->vmcb->iopm_base >> e->physical_bits);
}

static bool tlb_control(entry e)
{
	const uint8_t control = e->vmcb->tlb_control;

	return control <= 1 || (e->flush_by_asid && (control == 3 || control == 7));
}

static bool nested_cr3(entry e)
{
	return !(e->vmcb->nested_control & NESTED_PAGING) ||
	       (!(e->vmcb->nested_cr3 >> e->physical_bits) && !(e->vmcb->nested_cr3 & 0xfe7));
}

static bool pat(entry e)
{
	return !(e->vmcb->nested_control & NESTED_PAGING) || entry_pat_valid(e->vmcb->pat);
}

/* ---- 15.20: the injected event ----------------------------------------------------------------------------------- */

static uint32_t type(entry e)
{
	return e->event >> EVENT_TYPE_SHIFT & 7;
}

static bool event_type(entry e)
{
	return !(e->event & EVENT_VALID) || type(e) == 0 || (type(e) >= 2 && type(e) <= 4);
}

static bool injects_exception(entry e)
{
	return e->event & EVENT_VALID && type(e) == 3;
}

static bool event_exception(entry e)
{
	const uint32_t vector = e->event & 0xff;

	return !injects_exception(e) || (vector < 32 && EXCEPTIONS >> vector & 1);
}

static bool event_mode(entry e)
{
	const bool mode64 = e->vmcb->efer & EFER_LMA && e->vmcb->cs.attributes & ATTRIBUTE_L;
	const uint32_t vector = e->event & 0xff;

	return !injects_exception(e) || !mode64 || (vector != VECTOR_BR && vector != VECTOR_OF);
}

/* ---- The table ----------------------------------------------------------------------------------------------------- */

#define RULE(id, section, member, name, text, holds)                                                         \
	{id, offsetof(struct vmcb, member), sizeof(((struct vmcb *)0)->member), name, "APM " section, text, holds}

/* Ids are never used again. */
const struct svm_entry_rule svm_entry_rules[] = {
	RULE(2001, "15.5.1", efer, "EFER", "EFER.SVME is clear", efer_svme),
	RULE(2002, "15.5.1", cr0, "CR0", "CR0: NW without CD", cr0_nw),
	RULE(2003, "15.5.1", cr0, "CR0", "CR0: bits above 31", cr0_high),
	RULE(2004, "15.5.1", cr0, "CR0", "CR0: PG without PE", cr0_paging),
	RULE(2005, "15.5.1", cr3, "CR3", "CR3: reserved bits", cr3),
	RULE(2006, "15.5.1", cr4, "CR4", "CR4: reserved bits", cr4),
	RULE(2007, "15.5.1", dr6, "DR6", "DR6 or DR7: bits above 31", dr6),
	RULE(2008, "15.5.1", dr7, "DR7", "DR6 or DR7: bits above 31", dr7),
	RULE(2009, "15.5.1", efer, "EFER", "EFER: reserved bits", efer),
	RULE(2010, "15.5.1", cr4, "CR4", "long mode without PAE", long_pae),
	RULE(2011, "15.5.1", cr0, "CR0", "long mode without PE", long_pe),
	RULE(2012, "15.5.1", cs.attributes, "CS.attributes", "CS: L and D", cs_l_and_d),
	RULE(2013, "15.5.1", intercept4, "intercepts 4", "VMRUN is not intercepted", vmrun),
	RULE(2014, "15.5.1", asid, "ASID", "ASID 0", asid),
	RULE(2015, "15.5.1", asid, "ASID", "ASID beyond what CPUID says", asid_exists),
	RULE(2016, "15.5.1", msrpm_base, "MSRPM_BASE_PA", "permission map addresses", msrpm),
	RULE(2017, "15.5.1", iopm_base, "IOPM_BASE_PA", "permission map addresses", iopm),
	RULE(2018, "15.16.2", tlb_control, "TLB_CONTROL", "TLB_CONTROL", tlb_control),
	RULE(2019, "15.25.4", nested_cr3, "N_CR3", "nested CR3", nested_cr3),
	RULE(2020, "15.25.4", pat, "G_PAT", "PAT", pat),
	RULE(2021, "15.20", event_injection, "EVENTINJ", "injected event: type", event_type),
	RULE(2022, "15.20", event_injection, "EVENTINJ", "injected event: vector of an exception", event_exception),
	RULE(2023, "15.20", event_injection, "EVENTINJ", "injected event: impossible in 64-bit mode", event_mode),
};
const unsigned svm_entry_rule_count = sizeof(svm_entry_rules) / sizeof(svm_entry_rules[0]);

const struct svm_entry_rule *svm_entry_find(const struct svm_entry_view *e)
{
	for (unsigned i = 0; i < svm_entry_rule_count; i++)
		if (!svm_entry_rules[i].holds(e))
			return &svm_entry_rules[i];
	return NULL;
}

uint64_t svm_entry_value(const struct svm_entry_view *e, const struct svm_entry_rule *rule)
{
	uint64_t value = 0;

	if (rule->offset == offsetof(struct vmcb, event_injection))
		return e->event;
	memcpy(&value, (const char *)e->vmcb + rule->offset, rule->bytes);
	return value;
}
