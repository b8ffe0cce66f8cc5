/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VCPU_MACHINE_H
#define VCPU_MACHINE_H

#include "lapic/machine.h"

/*
 * Finds the vCPU's machine, or makes one. Takes a frame. host, ctx, vm_id and vcpu_id are set.
 * 0; NO_MEMORY; RESOURCE_BUSY: the machine has a vCPU of that ID.
 */
int32_t machine_join(struct guest *g);
/* No message reaches it any more. */
void machine_leave(struct guest *g);

/* Keeps the vCPU's machine while host ops are called that may destroy the vCPU. IRQs on or off. */
struct machine *machine_get(const struct guest *g);
void machine_put(struct machine *machine);

/* At setup: the TSCs of a machine run together; the first vCPU's begins at 0. */
void machine_start_tsc(struct guest *g);

#endif
