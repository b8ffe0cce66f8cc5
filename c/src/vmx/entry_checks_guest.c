/* SPDX-License-Identifier: Apache-2.0 */
/* SDM 27.3.1.1 and 27.3.1.3 to 27.3.1.6: checks on guest registers but segments, and on non-register state. */
#include "vmx/entry_checks_internal.h"

#define EFER_DEFINED (EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE)
#define DEBUGCTL_BITS UINT64_C(0xdfc3)
#define PENDING_DB_RTM (UINT64_C(1) << 16)

/* ---- 27.3.1.1: control registers, debug registers, MSRs --------------------------------------------------------- */

static bool loads(entry e, uint64_t control)
{
	return get(e, VMCS_ENTRY_CONTROLS) & control;
}

static bool guest_cr0(entry e, rule r)
{
	return fixed_ok(e, r->field, X86VCPU_MSR_IA32_VMX_CR0_FIXED0, X86VCPU_MSR_IA32_VMX_CR0_FIXED1,
			CR0_PE | CR0_PG | CR0_NW | CR0_CD);
}

static bool paging_protected(entry e, rule r)
{
	return !(own(e, r) & CR0_PG) || own(e, r) & CR0_PE;
}

static bool debugctl(entry e, rule r)
{
	return !loads(e, ENTRY_LOAD_DEBUG_CONTROLS) || !(own(e, r) & ~DEBUGCTL_BITS);
}

static bool dr7(entry e, rule r)
{
	return !loads(e, ENTRY_LOAD_DEBUG_CONTROLS) || !(own(e, r) >> 32);
}

static bool ia32e_paging(entry e, rule r)
{
	(void)r;
	return !ia32e(e) || (get(e, VMCS_GUEST_CR0) & CR0_PG && get(e, VMCS_GUEST_CR4) & CR4_PAE);
}

static bool pcide(entry e, rule r)
{
	return ia32e(e) || !(own(e, r) & CR4_PCIDE);
}

static bool guest_pat(entry e, rule r)
{
	return !loads(e, ENTRY_LOAD_PAT) || entry_pat_valid(own(e, r));
}

static bool efer_reserved(entry e, rule r)
{
	return !loads(e, ENTRY_LOAD_EFER) || !(own(e, r) & ~(uint64_t)EFER_DEFINED);
}

static bool efer_lma(entry e, rule r)
{
	return !loads(e, ENTRY_LOAD_EFER) || !(own(e, r) & EFER_LMA) == !ia32e(e);
}

static bool efer_lme(entry e, rule r)
{
	return !loads(e, ENTRY_LOAD_EFER) || !(get(e, VMCS_GUEST_CR0) & CR0_PG) ||
	       !(own(e, r) & EFER_LMA) == !(own(e, r) & EFER_LME);
}

/* ---- 27.3.1.3 to 27.3.1.6: tables, RIP, RFLAGS, non-register state -------------------------------------------------- */

static bool table_limit(entry e, rule r)
{
	return !(own(e, r) >> 16);
}

/* The bit below those that must be the same may differ: the end of the lower half of the address space. */
static bool rip_ok(entry e, rule r)
{
	const uint64_t high = own(e, r) >> e->linear_bits;

	if (!ia32e(e) || !(rights(e, X86VCPU_SEGMENT_CS) & AR_L))
		return true;
	return !high || high == UINT64_MAX >> e->linear_bits;
}

static bool rip_32(entry e, rule r)
{
	return (ia32e(e) && rights(e, X86VCPU_SEGMENT_CS) & AR_L) || !(own(e, r) >> 32);
}

static bool rflags_reserved(entry e, rule r)
{
	return !(own(e, r) & ~(uint64_t)RFLAGS_DEFINED) && own(e, r) & RFLAGS_FIXED;
}

static bool rflags_vm(entry e, rule r)
{
	return !(own(e, r) & RFLAGS_VM) || (!ia32e(e) && get(e, VMCS_GUEST_CR0) & CR0_PE);
}

static bool injects_type(entry e, uint32_t type)
{
	return injects(e) && event_type(e) == type;
}

static bool interrupt_if(entry e, rule r)
{
	return !injects_type(e, GUEST_EVENT_EXTERNAL) || own(e, r) & RFLAGS_IF;
}

#define SHADOWS (GUEST_BLOCKING_STI | GUEST_BLOCKING_MOV_SS)

static bool in_shadow(entry e)
{
	return get(e, VMCS_GUEST_INTERRUPTIBILITY) & SHADOWS;
}

static bool activity(entry e, rule r)
{
	return own(e, r) <= 3;
}

static bool activity_shadow(entry e, rule r)
{
	return !own(e, r) || !in_shadow(e);
}

static bool blocking_reserved(entry e, rule r)
{
	return !(own(e, r) & ~UINT64_C(0x1f));
}

static bool blocking_both(entry e, rule r)
{
	return (own(e, r) & SHADOWS) != SHADOWS;
}

static bool blocking_sti(entry e, rule r)
{
	return !(own(e, r) & GUEST_BLOCKING_STI) || get(e, VMCS_GUEST_RFLAGS) & RFLAGS_IF;
}

static bool blocking_event_ss(entry e, rule r)
{
	return (!injects_type(e, GUEST_EVENT_EXTERNAL) && !injects_type(e, GUEST_EVENT_NMI)) ||
	       !(own(e, r) & GUEST_BLOCKING_MOV_SS);
}

static bool blocking_interrupt_sti(entry e, rule r)
{
	return !injects_type(e, GUEST_EVENT_EXTERNAL) || !(own(e, r) & GUEST_BLOCKING_STI);
}

static bool blocking_nmi(entry e, rule r)
{
	return !injects_type(e, GUEST_EVENT_NMI) || !(get(e, VMCS_PIN_CONTROLS) & PIN_VIRTUAL_NMIS) ||
	       !(own(e, r) & GUEST_BLOCKING_NMI);
}

static bool pending_reserved(entry e, rule r)
{
	return !(own(e, r) & ~(UINT64_C(0xf) | PENDING_DB_ENABLED | PENDING_DB_BS | PENDING_DB_RTM));
}

static bool step_state(entry e)
{
	return in_shadow(e) || get(e, VMCS_GUEST_ACTIVITY) == 1;
}

static bool pending_missing(entry e, rule r)
{
	const bool steps = get(e, VMCS_GUEST_RFLAGS) & RFLAGS_TF && !(get(e, VMCS_GUEST_DEBUGCTL) & DEBUGCTL_BTF);

	return !step_state(e) || !steps || own(e, r) & PENDING_DB_BS;
}

static bool pending_without_tf(entry e, rule r)
{
	return !step_state(e) || get(e, VMCS_GUEST_RFLAGS) & RFLAGS_TF || !(own(e, r) & PENDING_DB_BS);
}

static bool link_pointer(entry e, rule r)
{
	return own(e, r) == UINT64_MAX;
}

/* 27.3.1.6 */
static bool pdpte(entry e, rule r)
{
	if (ia32e(e) || !(get(e, VMCS_GUEST_CR0) & CR0_PG) || !(get(e, VMCS_GUEST_CR4) & CR4_PAE))
		return true;
	return !(own(e, r) & PTE_P) || (!(own(e, r) & PDPTE_PAE_RESERVED) && !(own(e, r) >> e->physical_bits));
}

/* ---- The tables ---------------------------------------------------------------------------------------------- */

#define GUEST(...) VMX_ENTRY_RULE(VMX_ENTRY_GUEST_AREA, __VA_ARGS__)

static const struct vmx_entry_rule registers[] = {
	GUEST(1201, "27.3.1.1", GUEST_CR0, "guest CR0", guest_cr0),
	GUEST(1202, "27.3.1.1", GUEST_CR0, "guest CR0: PG without PE", paging_protected),
	GUEST(1203, "27.3.1.1", GUEST_CR4, "guest CR4", cr4),
	GUEST(1204, "27.3.1.1", GUEST_DEBUGCTL, "guest debug controls", debugctl),
	GUEST(1205, "27.3.1.1", ENTRY_CONTROLS, "IA-32e mode guest without PG and PAE", ia32e_paging),
	GUEST(1206, "27.3.1.1", GUEST_CR4, "guest CR4.PCIDE outside IA-32e mode", pcide),
	GUEST(1207, "27.3.1.1", GUEST_CR3, "guest CR3", cr3),
	GUEST(1208, "27.3.1.1", GUEST_DR7, "guest debug controls", dr7),
	GUEST(1209, "27.3.1.1", GUEST_SYSENTER_ESP, "guest SYSENTER", canonical_field),
	GUEST(1210, "27.3.1.1", GUEST_SYSENTER_EIP, "guest SYSENTER", canonical_field),
	GUEST(1211, "27.3.1.1", GUEST_PAT, "guest PAT", guest_pat),
	GUEST(1212, "27.3.1.1", GUEST_EFER, "guest EFER: reserved bits", efer_reserved),
	GUEST(1213, "27.3.1.1", GUEST_EFER, "guest EFER.LMA and IA-32e mode guest", efer_lma),
	GUEST(1214, "27.3.1.1", GUEST_EFER, "guest EFER.LMA and LME", efer_lme),
};

const struct vmx_entry_table vmx_entry_registers = {registers, sizeof(registers) / sizeof(registers[0])};

static const struct vmx_entry_rule state[] = {
	GUEST(1320, "27.3.1.3", GUEST_GDTR_BASE, "GDTR or IDTR base", canonical_field),
	GUEST(1321, "27.3.1.3", GUEST_IDTR_BASE, "GDTR or IDTR base", canonical_field),
	GUEST(1322, "27.3.1.3", GUEST_GDTR_LIMIT, "GDTR or IDTR limit", table_limit),
	GUEST(1323, "27.3.1.3", GUEST_IDTR_LIMIT, "GDTR or IDTR limit", table_limit),
	GUEST(1330, "27.3.1.4", GUEST_RIP, "RIP: bits 63:48 or 63:57", rip_ok),
	GUEST(1331, "27.3.1.4", GUEST_RIP, "RIP above 32 bits outside 64-bit mode", rip_32),
	GUEST(1332, "27.3.1.4", GUEST_RFLAGS, "RFLAGS: reserved bits", rflags_reserved),
	GUEST(1333, "27.3.1.4", GUEST_RFLAGS, "RFLAGS.VM", rflags_vm),
	GUEST(1334, "27.3.1.4", GUEST_RFLAGS, "external interrupt is injected with IF clear", interrupt_if),
	GUEST(1340, "27.3.1.5", GUEST_ACTIVITY, "activity state", activity),
	GUEST(1341, "27.3.1.5", GUEST_ACTIVITY, "activity state with blocking by STI or MOV SS", activity_shadow),
	GUEST(1342, "27.3.1.5", GUEST_INTERRUPTIBILITY, "interruptibility: reserved bits", blocking_reserved),
	GUEST(1343, "27.3.1.5", GUEST_INTERRUPTIBILITY, "interruptibility: STI and MOV SS", blocking_both),
	GUEST(1344, "27.3.1.5", GUEST_INTERRUPTIBILITY, "interruptibility: STI with IF clear", blocking_sti),
	GUEST(1345, "27.3.1.5", GUEST_INTERRUPTIBILITY, "interruptibility: event in the shadow of MOV SS", blocking_event_ss),
	GUEST(1346, "27.3.1.5", GUEST_INTERRUPTIBILITY, "interruptibility: interrupt in the shadow of STI",
	      blocking_interrupt_sti),
	GUEST(1347, "27.3.1.5", GUEST_INTERRUPTIBILITY, "interruptibility: NMI while NMIs are blocked", blocking_nmi),
	GUEST(1348, "27.3.1.5", GUEST_PENDING_DEBUG_EXCEPTIONS, "pending debug exceptions", pending_reserved),
	GUEST(1349, "27.3.1.5", GUEST_PENDING_DEBUG_EXCEPTIONS, "pending debug exceptions: BS is missing", pending_missing),
	GUEST(1350, "27.3.1.5", GUEST_PENDING_DEBUG_EXCEPTIONS, "pending debug exceptions: BS without TF", pending_without_tf),
	GUEST(1351, "27.3.1.5", LINK_POINTER, "VMCS link pointer", link_pointer),
	GUEST(1360, "27.3.1.6", GUEST_PDPTE0, "PDPTEs", pdpte),
	GUEST(1361, "27.3.1.6", GUEST_PDPTE1, "PDPTEs", pdpte),
	GUEST(1362, "27.3.1.6", GUEST_PDPTE2, "PDPTEs", pdpte),
	GUEST(1363, "27.3.1.6", GUEST_PDPTE3, "PDPTEs", pdpte),
};

const struct vmx_entry_table vmx_entry_state = {state, sizeof(state) / sizeof(state[0])};
