/* SPDX-License-Identifier: Apache-2.0 */
/* The consistency checks of VMRUN (APM 15.5.1, 15.20) as a table of rules; see vmx/entry_checks.h. */
#ifndef SVM_ENTRY_CHECKS_H
#define SVM_ENTRY_CHECKS_H

#include "emul/entry_check.h"
#include "svm/vmcb.h"

/* What the rules ask. */
struct svm_entry_view {
	const struct vmcb *vmcb;
	uint64_t event; /* EVENTINJ as VMRUN found it */
	uint32_t asids; /* how many the CPU has, 0 included */
	unsigned physical_bits;
	bool flush_by_asid, la57;
};

struct svm_entry_rule {
	uint16_t id;
	uint16_t offset; /* of the member of the VMCB that decides */
	uint8_t bytes;
	const char *field, *section, *text;
	bool (*holds)(const struct svm_entry_view *e);
};

extern const struct svm_entry_rule svm_entry_rules[];
extern const unsigned svm_entry_rule_count;

/* The first rule that does not hold, or NULL. */
const struct svm_entry_rule *svm_entry_find(const struct svm_entry_view *e);
/* What the member that the rule names has. */
uint64_t svm_entry_value(const struct svm_entry_view *e, const struct svm_entry_rule *rule);

#endif
