/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machines. A machine is what its vCPUs share: the host operations, the bus on which their local APICs send messages to
 * each other, and the time at which their TSCs begin.
 *
 * Order of use: x86vcpu_machine_create, x86vcpu_create for each vCPU, ..., x86vcpu_destroy for each, x86vcpu_machine_destroy.
 */
#ifndef X86VCPU_MACHINE_H
#define X86VCPU_MACHINE_H

#include <stdint.h>

#include "x86vcpu/host.h"

#ifdef __cplusplus
extern "C" {
#endif

struct x86vcpu_machine;

struct x86vcpu_machine_config {
	uint32_t size;  /* sizeof(struct x86vcpu_machine_config) */
	uint32_t flags; /* 0 */
	uint64_t vm_id; /* the caller's number of the machine, for x86vcpu_format_state. Need not be unique */
	void *opaque;   /* for the host operations: their argument `machine`. The library does not use it */
};

/*
 * Creates a machine without vCPUs. Copies *ops, so the table may change or go away afterwards; what ctx and
 * config->opaque point to must outlive the machine. Takes frames. Any CPU.
 *
 * 0
 * INVALID_INPUT  NULL, a required slot of ops is NULL, or an unknown flag
 * ABI_MISMATCH   the size of ops or config (see "Sizes" in x86vcpu/version.h), or ops->abi_version
 * NO_MEMORY
 *
 * *out is NULL on failure.
 */
int32_t x86vcpu_machine_create(const struct x86vcpu_host_ops *ops, void *ctx, const struct x86vcpu_machine_config *config,
			       struct x86vcpu_machine **out);

/*
 * Frees the machine. NULL is allowed. Any CPU, at the same time as no other function on this machine.
 * 0; RESOURCE_BUSY: it has vCPUs, destroy them first; or a host operation makes this call while another function uses the
 * machine. Nothing is freed then.
 */
int32_t x86vcpu_machine_destroy(struct x86vcpu_machine *machine);

#ifdef __cplusplus
}
#endif
#endif
