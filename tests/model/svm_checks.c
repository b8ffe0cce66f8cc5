/* SPDX-License-Identifier: Apache-2.0 */
/* Consistency checks of VMRUN (APM 15.5.1): the library's rules, and what only the model knows. */
#include "machine.h"

#include "svm/entry_checks.h"

#define ASIDS 16u

/* The text of the first rule that does not hold. */
static const char *first_failure(const struct vmcb *b)
{
	const struct svm_entry_view e = {
		.vmcb = b,
		.event = b->event_injection,
		.asids = ASIDS,
		.physical_bits = 40,
		.flush_by_asid = has(MODEL_FLUSH_ASID),
		.la57 = has(MODEL_LA57),
	};
	const struct svm_entry_rule *rule = svm_entry_find(&e);

	if (rule)
		return rule->text;
	/* The CPU does not check this, but uses it later: it must be valid. */
	if (!model_memory(model, b->msrpm_base) || !model_memory(model, b->iopm_base))
		return "permission map addresses";
	return NULL;
}

const char *svm_check_entry(const struct vmcb *b)
{
	const char *failed = first_failure(b);

	/* No check of the CPU's: it walks them in the host's paging mode (APM 15.25.3). */
	if (b->nested_control & NESTED_PAGING && model->nested_levels != (cpu->cr4 & CR4_LA57 ? 5 : 4))
		complain("VMRUN: nested tables of %u levels under a host with CR4.LA57 %s", model->nested_levels,
			 cpu->cr4 & CR4_LA57 ? "set" : "clear");
	if (failed)
		complain("VMRUN: %s", failed);
	/* Legal, and bad for other users of the caches. */
	if (b->cr0 & CR0_CD)
		complain("VMRUN with CR0.CD: the guest runs uncached");
	return failed;
}
