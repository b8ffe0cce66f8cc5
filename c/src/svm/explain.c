/* SPDX-License-Identifier: Apache-2.0 */
/* The check that the last VMRUN failed, from the VMCB. */
#include "cpu/address.h"
#include "cpu/insn.h"
#include "svm/entry_checks.h"
#include "svm/svm.h"

#define FLUSH_BY_ASID (1u << 6) /* CPUID 8000000A EDX */

bool svm_explain(struct guest *g, struct entry_check *check)
{
	const struct svm_vcpu *v = svm_of(g);
	const struct guest_event *event = &g->events.reinject;
	struct svm_entry_view e = {.vmcb = v->vmcb, .event = v->vmcb->event_injection, .physical_bits = cpu_physical_bits()};
	const struct svm_entry_rule *rule;
	uint32_t leaf[4];

	/* The event of an entry that failed was taken back, and waits to go in again. */
	if (event->valid && !(e.event & EVENT_VALID))
		e.event = svm_event_info(event);
	insn_cpuid(0x8000000a, 0, leaf);
	e.asids = leaf[1];
	e.flush_by_asid = leaf[3] & FLUSH_BY_ASID;
	insn_cpuid(7, 0, leaf);
	e.la57 = leaf[2] >> 16 & 1;
	rule = svm_entry_find(&e);
	if (!rule)
		return false;
	*check = (struct entry_check){
		.id = rule->id,
		.section = rule->section,
		.text = rule->text,
		.field = rule->field,
		.value = svm_entry_value(&e, rule),
	};
	return true;
}

const char *svm_entry_check_name(uint32_t id)
{
	for (unsigned i = 0; i < svm_entry_rule_count; i++)
		if (svm_entry_rules[i].id == id)
			return svm_entry_rules[i].text;
	return NULL;
}
