/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VCPU_MACHINE_H
#define VCPU_MACHINE_H

#include "emul/machine.h"

/* Adds a vCPU whose vcpu_id is set. 0; RESOURCE_BUSY: the machine has a vCPU of that ID. */
int32_t machine_join(struct x86vcpu_machine *machine, struct guest *g);
/* No message reaches the vCPU any more. */
void machine_leave(struct guest *g);

/* Keeps the machine while host ops are called that may destroy its vCPUs. IRQs on or off. */
void machine_get(struct x86vcpu_machine *machine);
void machine_put(struct x86vcpu_machine *machine);

/* At setup: the TSCs of a machine run together. The first vCPU's begins at 0. */
void machine_start_tsc(struct guest *g);

#endif
