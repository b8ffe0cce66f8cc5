/* SPDX-License-Identifier: Apache-2.0 */
/* A row of the MSR policy. */
#ifndef EMUL_MSR_RULE_H
#define EMUL_MSR_RULE_H

#include "emul/guest.h"

/* A feature that the guest must have for the MSR to exist. */
enum msr_gate {
	MSR_ALWAYS = 0,
	MSR_WITH_LONG_MODE,
	MSR_WITH_MTRR,
	MSR_WITH_RDTSCP,
	MSR_WITH_XSAVES,
	MSR_WITH_ARCH_CAPABILITIES,
	MSR_WITH_APIC,
	MSR_WITH_SPEC_CTRL,
	MSR_WITH_SPEC_CTRL_USED, /* the guest has written something else than 0 */
	MSR_WITH_PRED_CMD,
	MSR_WITH_FLUSH_CMD,
	MSR_GATES
};

struct msr_rule {
	uint32_t first, last;
	/* NULL: #GP. write answers false for #GP. */
	uint64_t (*read)(struct guest *g, const struct msr_rule *rule, uint32_t msr);
	bool (*write)(struct guest *g, const struct msr_rule *rule, uint32_t msr, uint64_t value);
	bool apic;      /* instead of both: the local APIC answers */
	enum msr_gate gate;
	bool owned;     /* the VMM cannot claim it */
	bool saved;     /* a copy of the guest needs it, and no other component has it */
	uint16_t where; /* an enum guest_field, or the offset in struct guest_msrs of `first` */
	uint64_t value; /* what a constant reads as */
};

/* NULL: the VMM's. */
const struct msr_rule *msr_rule_find(uint32_t msr);

/* For the tests: the rows, in ascending order. */
const struct msr_rule *msr_rules(uint32_t *count);

#endif
