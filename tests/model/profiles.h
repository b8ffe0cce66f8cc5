/* SPDX-License-Identifier: Apache-2.0 */
/* What real CPUs say about speculation, with the microcode of 2025, and what they need. */
#ifndef MODEL_PROFILES_H
#define MODEL_PROFILES_H

#include "model.h"

/* What is done about it. */
struct profile {
	struct model_profile cpu;
	const char *in_force; /* names of mitigations, each followed by a space */
	uint32_t before;      /* SWITCH_ bits that the first entry of a run takes, with the guest's SPEC_CTRL 0 */
	uint32_t after;
};

extern const struct profile profiles[];
extern const unsigned profile_count;

#endif
