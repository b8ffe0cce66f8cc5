/* SPDX-License-Identifier: Apache-2.0 */
#ifndef EMUL_RESET_H
#define EMUL_RESET_H

#include "emul/guest.h"

/*
 * The guest as it is after RESET (SDM table 10-1), with CS:IP for `entry`: 0:entry, or the reset vector's.
 * limits, the CPUID table and host_tsc are there. Its TSC counts from now.
 */
void guest_reset(struct guest *g, uint64_t entry);

/*
 * INIT, if it is pending: most of the state is reset (SDM table 10-1), the bootstrap processor goes on at the
 * reset vector, another waits for a start-up IPI; and that, if one is pending and waited for: CS:IP is its
 * page. The vCPU is loaded. True when there was an INIT.
 */
bool guest_take_startup(struct guest *g);

#endif
