/* SPDX-License-Identifier: Apache-2.0 */
/* A check of the manual that a VM entry fails, as a backend's table of rules names it. */
#ifndef EMUL_ENTRY_CHECK_H
#define EMUL_ENTRY_CHECK_H

#include <stdbool.h>
#include <stdint.h>

struct entry_check {
	uint32_t id;
	const char *section; /* of the manual */
	const char *text;
	const char *field; /* the VMCS field or VMCB member that decides */
	uint64_t value;    /* of it */
};

/* Bits 63:`bits` - 1 are the same. */
static inline bool entry_canonical(uint64_t address, unsigned bits)
{
	return (uint64_t)((int64_t)(address << (64 - bits)) >> (64 - bits)) == address;
}

/* Types of PAT entries: 2 and 3 are reserved, and 8 and above (SDM table 12-10). */
static inline bool entry_pat_valid(uint64_t value)
{
	for (unsigned i = 0; i < 8; i++, value >>= 8)
		if ((value & 0xff) > 7 || (value & 0xfe) == 2)
			return false;
	return true;
}

#endif
