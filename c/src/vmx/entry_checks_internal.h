/* SPDX-License-Identifier: Apache-2.0 */
/* What the rules of VM entry share: see entry_checks.h. */
#ifndef VMX_ENTRY_CHECKS_INTERNAL_H
#define VMX_ENTRY_CHECKS_INTERNAL_H

#include "cpu/x86.h"
#include "emul/guest.h"
#include "vmx/controls.h"
#include "vmx/entry_checks.h"
#include "vmx/vmcs_fields.h"
#include "x86vcpu/msr.h"

/* A row of a table: its number, the section of the SDM that has the check, the field that it is about. */
#define VMX_ENTRY_RULE(area, id, section, field, text, holds) {id, area, 0, VMCS_##field, "SDM " section, text, holds}

/* The tables, in the order in which the CPU makes the checks. */
extern const struct vmx_entry_table vmx_entry_controls, vmx_entry_host, vmx_entry_registers, vmx_entry_segments,
	vmx_entry_state;

#define INFO_VALID (1u << 31)

typedef const struct vmx_entry_view *entry;
typedef const struct vmx_entry_rule *rule;

static inline uint64_t get(entry e, uint32_t field)
{
	return e->read(e, field);
}

/* The field that the rule names. */
static inline uint64_t own(entry e, rule r)
{
	return get(e, r->field);
}

static inline uint64_t cpu2(entry e)
{
	return get(e, VMCS_CPU_CONTROLS) & CPU_SECONDARY_CONTROLS ? get(e, VMCS_CPU2_CONTROLS) : 0;
}

static inline bool controls(entry e, uint64_t bits)
{
	return get(e, VMCS_CPU_CONTROLS) & bits;
}

static inline bool canonical(entry e, uint32_t field)
{
	return entry_canonical(get(e, field), e->linear_bits);
}

static inline bool page(entry e, uint32_t field)
{
	const uint64_t address = get(e, field);

	return !(address & 0xfff) && !(address >> e->physical_bits);
}

static inline bool injects(entry e)
{
	return get(e, VMCS_ENTRY_INTERRUPTION_INFO) & INFO_VALID;
}

static inline uint32_t event_type(entry e)
{
	return get(e, VMCS_ENTRY_INTERRUPTION_INFO) >> 8 & 7;
}

static inline bool fixed_ok(entry e, uint32_t field, uint32_t fixed0, uint32_t fixed1, uint64_t free)
{
	const uint64_t value = get(e, field);

	return !(~value & e->msr(e, fixed0) & ~free) && !(value & ~e->msr(e, fixed1));
}

static inline bool cr4(entry e, rule r)
{
	return fixed_ok(e, r->field, X86VCPU_MSR_IA32_VMX_CR4_FIXED0, X86VCPU_MSR_IA32_VMX_CR4_FIXED1, 0);
}

static inline bool cr3(entry e, rule r)
{
	return !((own(e, r) & ~e->cr3_flags) >> e->physical_bits);
}

static inline bool canonical_field(entry e, rule r)
{
	return canonical(e, r->field);
}

static inline bool ia32e(entry e)
{
	return get(e, VMCS_ENTRY_CONTROLS) & ENTRY_IA32E_MODE_GUEST;
}

static inline uint32_t rights(entry e, unsigned segment)
{
	return (uint32_t)get(e, VMCS_GUEST_ES_ACCESS_RIGHTS + 2 * segment);
}

#endif
