/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checks of VM entry (SDM 27.2, 27.3) as a table of rules. The library names by it the check that an entry failed;
 * the model of the CPU in tests/model fails an entry by it.
 */
#ifndef VMX_ENTRY_CHECKS_H
#define VMX_ENTRY_CHECKS_H

#include "emul/entry_check.h"

/* In the order in which the CPU makes them (SDM 27.2). */
enum vmx_entry_area {
	VMX_ENTRY_CONTROLS_AREA, /* VMfail with error 7 */
	VMX_ENTRY_HOST_AREA,     /* VMfail with error 8 */
	VMX_ENTRY_GUEST_AREA,    /* exit reason 33 */
};

/* What the rules ask. */
struct vmx_entry_view {
	uint64_t (*read)(const struct vmx_entry_view *e, uint32_t field);
	uint64_t (*msr)(const struct vmx_entry_view *e, uint32_t msr); /* a VMX capability MSR */
	unsigned physical_bits, linear_bits;
	uint64_t cr3_flags; /* bits of CR3 above the address that the CPU has: LAM */
	void *ctx;
};

struct vmx_entry_rule {
	uint16_t id;
	uint8_t area;
	uint8_t segment; /* argument of rules that hold for each of several */
	uint32_t field;
	const char *section, *text;
	bool (*holds)(const struct vmx_entry_view *e, const struct vmx_entry_rule *rule);
};

/* The rules of one part of the manual. Numbers of rules are never used again. */
struct vmx_entry_table {
	const struct vmx_entry_rule *rules;
	unsigned count;
};

/* All rules, in the order in which the CPU makes the checks; NULL after the last. */
const struct vmx_entry_rule *vmx_entry_rule_at(unsigned number);
/* The first rule that does not hold, or NULL. */
const struct vmx_entry_rule *vmx_entry_find(const struct vmx_entry_view *e);

#endif
