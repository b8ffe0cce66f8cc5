/* SPDX-License-Identifier: Apache-2.0 */
/* SDM 27.2.2 to 27.2.4: checks on host state. */
#include "vmx/entry_checks_internal.h"

#define EFER_DEFINED (EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE)

static bool host_cr0(entry e, rule r)
{
	return fixed_ok(e, r->field, X86VCPU_MSR_IA32_VMX_CR0_FIXED0, X86VCPU_MSR_IA32_VMX_CR0_FIXED1, 0);
}

static bool host_pat(entry e, rule r)
{
	return !(get(e, VMCS_EXIT_CONTROLS) & EXIT_LOAD_PAT) || entry_pat_valid(own(e, r));
}

static bool host_efer(entry e, rule r)
{
	return !(get(e, VMCS_EXIT_CONTROLS) & EXIT_LOAD_EFER) || !(own(e, r) & ~(uint64_t)EFER_DEFINED);
}

static bool host_efer_mode(entry e, rule r)
{
	return !(get(e, VMCS_EXIT_CONTROLS) & EXIT_LOAD_EFER) ||
	       (own(e, r) & (EFER_LMA | EFER_LME)) == (EFER_LMA | EFER_LME);
}

static bool host_selector(entry e, rule r)
{
	return !(own(e, r) & 7);
}

static bool not_zero(entry e, rule r)
{
	return own(e, r);
}

static bool host_space(entry e, rule r)
{
	return own(e, r) & EXIT_HOST_ADDRESS_SPACE_SIZE;
}

static bool host_pae(entry e, rule r)
{
	return own(e, r) & CR4_PAE;
}

/* ---- The table ----------------------------------------------------------------------------------------------- */

#define HOST(...) VMX_ENTRY_RULE(VMX_ENTRY_HOST_AREA, __VA_ARGS__)

static const struct vmx_entry_rule rules[] = {
	HOST(1101, "27.2.2", HOST_CR0, "host CR0", host_cr0),
	HOST(1102, "27.2.2", HOST_CR4, "host CR4", cr4),
	HOST(1103, "27.2.2", HOST_CR3, "host CR3", cr3),
	HOST(1104, "27.2.2", HOST_SYSENTER_ESP, "host SYSENTER", canonical_field),
	HOST(1105, "27.2.2", HOST_SYSENTER_EIP, "host SYSENTER", canonical_field),
	HOST(1106, "27.2.2", HOST_PAT, "host PAT", host_pat),
	HOST(1107, "27.2.2", HOST_EFER, "host EFER", host_efer),
	HOST(1108, "27.2.2", HOST_EFER, "host EFER outside 64-bit mode", host_efer_mode),
	HOST(1110, "27.2.3", HOST_ES_SELECTOR, "host selector with TI or RPL", host_selector),
	HOST(1111, "27.2.3", HOST_CS_SELECTOR, "host selector with TI or RPL", host_selector),
	HOST(1112, "27.2.3", HOST_SS_SELECTOR, "host selector with TI or RPL", host_selector),
	HOST(1113, "27.2.3", HOST_DS_SELECTOR, "host selector with TI or RPL", host_selector),
	HOST(1114, "27.2.3", HOST_FS_SELECTOR, "host selector with TI or RPL", host_selector),
	HOST(1115, "27.2.3", HOST_GS_SELECTOR, "host selector with TI or RPL", host_selector),
	HOST(1116, "27.2.3", HOST_TR_SELECTOR, "host selector with TI or RPL", host_selector),
	HOST(1117, "27.2.3", HOST_CS_SELECTOR, "host CS is 0", not_zero),
	HOST(1118, "27.2.3", HOST_TR_SELECTOR, "host TR is 0", not_zero),
	HOST(1120, "27.2.3", HOST_FS_BASE, "host base address", canonical_field),
	HOST(1121, "27.2.3", HOST_GS_BASE, "host base address", canonical_field),
	HOST(1122, "27.2.3", HOST_TR_BASE, "host base address", canonical_field),
	HOST(1123, "27.2.3", HOST_GDTR_BASE, "host base address", canonical_field),
	HOST(1124, "27.2.3", HOST_IDTR_BASE, "host base address", canonical_field),
	HOST(1125, "27.2.4", EXIT_CONTROLS, "host address-space size", host_space),
	HOST(1126, "27.2.4", HOST_CR4, "host in 64-bit mode", host_pae),
	HOST(1127, "27.2.4", HOST_RIP, "host in 64-bit mode", canonical_field),
};

const struct vmx_entry_table vmx_entry_host = {rules, sizeof(rules) / sizeof(rules[0])};
