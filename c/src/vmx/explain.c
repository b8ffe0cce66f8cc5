/* SPDX-License-Identifier: Apache-2.0 */
/* The check that the last VM entry failed, from the current VMCS. */
#include "cpu/address.h"
#include "cpu/insn.h"
#include "cpu/x86.h"
#include "vmx/entry_checks.h"
#include "vmx/vmcs.h"
#include "vmx/vmx.h"

/* The event of an entry that failed was taken back, and waits to go in again. */
static uint64_t entry_field(const struct vmx_entry_view *e, uint32_t field)
{
	const struct guest_event *event = &((struct guest *)e->ctx)->events.reinject;
	const uint64_t value = vmcs_read_field(field);

	if (!event->valid || field != VMCS_ENTRY_INTERRUPTION_INFO || value >> 31 & 1)
		return value;
	return vmx_event_info(event);
}

static uint64_t capability_msr(const struct vmx_entry_view *e, uint32_t msr)
{
	(void)e;
	return insn_rdmsr(msr);
}

/* 57 where the CPU has 57-bit linear addresses, whatever the mode that it is in (SDM 27.3.1.4). */
static unsigned linear_bits(void)
{
	uint32_t leaf[4];

	insn_cpuid(7, 0, leaf);
	return leaf[2] >> 16 & 1 ? 57 : 48;
}

static uint64_t lam_bits(void)
{
	uint32_t leaf[4];

	insn_cpuid(7, 1, leaf);
	return leaf[0] >> 26 & 1 ? UINT64_C(3) << 61 : 0;
}

bool vmx_explain(struct guest *g, struct entry_check *check)
{
	const struct vmx_entry_view e = {
		.read = entry_field,
		.msr = capability_msr,
		.physical_bits = cpu_physical_bits(),
		.linear_bits = linear_bits(),
		.cr3_flags = lam_bits(),
		.ctx = g,
	};
	const struct vmx_entry_rule *rule = vmx_entry_find(&e);

	if (!rule)
		return false;
	*check = (struct entry_check){
		.id = rule->id,
		.section = rule->section,
		.text = rule->text,
		.field = vmcs_field_name(rule->field),
		.value = entry_field(&e, rule->field),
	};
	return true;
}

const char *vmx_entry_check_name(uint32_t id)
{
	const struct vmx_entry_rule *rule;

	for (unsigned i = 0; (rule = vmx_entry_rule_at(i)); i++)
		if (rule->id == id)
			return rule->text;
	return NULL;
}
