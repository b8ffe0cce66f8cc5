/* SPDX-License-Identifier: Apache-2.0 */
/* See breakpoint.h. */
#include "emul/breakpoint.h"

#include "cpu/insn.h"

/* R/W fields of DR7: what a breakpoint is for. 0 is the execution of an instruction. */
#define ON_WRITE 1u
#define ON_PORT 2u
#define ON_ACCESS 3u

static unsigned kind_of(uint64_t dr7, unsigned number)
{
	return dr7 >> (16 + 4 * number) & 3;
}

static uint64_t length_of(uint64_t dr7, unsigned number)
{
	static const uint8_t lengths[] = {1, 2, 8, 4};

	return lengths[dr7 >> (18 + 4 * number) & 3];
}

/* The breakpoint's low address bits do not count. An access that overlaps it anywhere hits it. */
static bool overlaps(uint64_t breakpoint, uint64_t length, uint64_t address, unsigned bytes)
{
	const uint64_t first = breakpoint & ~(length - 1);

	return address - first < length || first - address < bytes;
}

static uint32_t search(struct guest *g, unsigned kinds, uint64_t address, unsigned bytes)
{
	const uint64_t dr7 = guest_get(g, G_DR7);
	uint64_t cpu[4];
	const uint64_t *dr = g->dr;
	uint32_t hits = 0;

	if (!(dr7 & DR7_ENABLES))
		return 0;
	if (g->drs_loaded) {
		insn_read_drs(cpu);
		dr = cpu;
	}
	for (unsigned i = 0; i < 4; i++)
		if (dr7 >> 2 * i & 3 && kinds >> kind_of(dr7, i) & 1 && overlaps(dr[i], length_of(dr7, i), address, bytes))
			hits |= 1u << i;
	return hits;
}

/* Without CR4.DE such a breakpoint is none: the field's value is undefined (SDM 18.2.4). */
uint32_t breakpoint_search_port(struct guest *g, uint16_t port, unsigned bytes)
{
	return guest_get(g, G_CR4) & CR4_DE ? search(g, 1u << ON_PORT, port, bytes) : 0;
}

uint32_t breakpoint_search_data(struct guest *g, uint64_t linear, unsigned bytes, bool write)
{
	return search(g, 1u << ON_ACCESS | (write ? 1u << ON_WRITE : 0), linear, bytes);
}
