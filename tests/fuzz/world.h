/* SPDX-License-Identifier: Apache-2.0 */
/* What host.c and world.c share. */
#ifndef FUZZ_WORLD_H
#define FUZZ_WORLD_H

#include "fuzz.h"

/* Guest RAM as an input finds it, and as it must be by now; and the two small regions. */
struct world_memory {
	uint8_t *template, *expected, *far, *top;
	uint64_t changed; /* a bit per page */
};

extern struct world world;
extern struct world_memory world_memory;

void host_reset_memory(uint8_t *guest);
void host_check_memory(struct world *w);
void host_make_ops(struct world *w);

/* A service is called, perhaps for guest memory at `gpa`: WORLD_FAILS and WORLD_ANSWERS are the caller's to do. */
enum world_malice host_turns(struct world *w, enum world_service service, uint64_t gpa);

#endif
