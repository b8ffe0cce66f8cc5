/* SPDX-License-Identifier: Apache-2.0 */
/* Data and I/O breakpoints that accesses of an emulated instruction hit (SDM 18.2.4, 18.3.1.2). */
#ifndef EMUL_BREAKPOINT_H
#define EMUL_BREAKPOINT_H

#include "emul/guest.h"

/* Bits B3 to B0 of DR6 of the breakpoints in DR7 that an access of `bytes` bytes, 1 or more, hits. */
uint32_t breakpoint_search_port(struct guest *g, uint16_t port, unsigned bytes);
uint32_t breakpoint_search_data(struct guest *g, uint64_t linear, unsigned bytes, bool write);

/* Whether DR7 can have breakpoints on. Few guests do, so nothing else is read before. */
static inline bool breakpoint_possible(const struct guest *g)
{
	return g->drs_loaded | g->drs_armed;
}

static inline uint32_t breakpoint_of_port(struct guest *g, uint16_t port, unsigned bytes)
{
	return breakpoint_possible(g) ? breakpoint_search_port(g, port, bytes) : 0;
}

static inline uint32_t breakpoint_of_data(struct guest *g, uint64_t linear, unsigned bytes, bool write)
{
	return breakpoint_possible(g) ? breakpoint_search_data(g, linear, bytes, write) : 0;
}

/* The instruction, or the iteration of REP, that hit `hits` ends: its #DB comes before anything else. */
static inline void breakpoint_trap(struct guest *g, uint32_t hits)
{
	if (hits)
		guest_set(g, G_PENDING_DB, guest_get(g, G_PENDING_DB) | hits | PENDING_DB_ENABLED);
}

#endif
