/* SPDX-License-Identifier: Apache-2.0 */
#include "vmx/entry_checks_internal.h"

static const struct vmx_entry_table *const tables[] = {
	&vmx_entry_controls, &vmx_entry_host, &vmx_entry_registers, &vmx_entry_segments, &vmx_entry_state,
};
#define TABLES (sizeof(tables) / sizeof(tables[0]))

const struct vmx_entry_rule *vmx_entry_rule_at(unsigned number)
{
	for (unsigned i = 0; i < TABLES; i++) {
		if (number < tables[i]->count)
			return &tables[i]->rules[number];
		number -= tables[i]->count;
	}
	return NULL;
}

const struct vmx_entry_rule *vmx_entry_find(const struct vmx_entry_view *e)
{
	for (unsigned i = 0; i < TABLES; i++)
		for (unsigned k = 0; k < tables[i]->count; k++)
			if (!tables[i]->rules[k].holds(e, &tables[i]->rules[k]))
				return &tables[i]->rules[k];
	return NULL;
}
