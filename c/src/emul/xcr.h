/* SPDX-License-Identifier: Apache-2.0 */
#ifndef EMUL_XCR_H
#define EMUL_XCR_H

#include "emul/guest.h"

/* Whether the guest may have this XCR0 (SDM Vol. 1, 13.3). */
bool xcr0_valid(const struct guest_limits *limits, uint64_t xcr0);

/* Sets g->xcr0; who loads it into the CPU compares it with what is there. */
int emul_xsetbv(struct guest *g);

#endif
