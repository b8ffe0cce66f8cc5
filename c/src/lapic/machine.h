/* SPDX-License-Identifier: Apache-2.0 */
/* The vCPUs that reach each other: those that were created with the same ops, ctx and vm_id. */
#ifndef LAPIC_MACHINE_H
#define LAPIC_MACHINE_H

#include <stdint.h>

#include "emul/guest.h"

#define MACHINE_VCPUS 64u

struct machine {
	/* Guards vcpus[]: whoever sends a message holds it, so that no target is destroyed meanwhile. */
	uint32_t lock;
	struct guest *vcpus[MACHINE_VCPUS]; /* by vcpu_id */

	uint32_t last_arbitrated; /* vcpu_id that took the last lowest-priority message */
	uint64_t started;         /* vCPUs that share tsc_offset, a bit each */
	uint64_t tsc_offset;      /* guest TSC - host TSC of each vCPU at its setup */

	/* vcpu/machine.c's, under its own lock. */
	struct machine *next;
	const struct x86vcpu_host_ops *ops;
	void *ctx;
	uint64_t vm_id, hpa;
	uint32_t members; /* vCPUs, and messages on their way */
};

/* With IRQs off: whoever waits would wait for good if the holder were interrupted by it. */
static inline void machine_lock(struct machine *machine)
{
	while (__atomic_exchange_n(&machine->lock, 1, __ATOMIC_ACQUIRE))
		__builtin_ia32_pause();
}

static inline void machine_unlock(struct machine *machine)
{
	__atomic_store_n(&machine->lock, 0, __ATOMIC_RELEASE);
}

#endif
