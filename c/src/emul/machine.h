/* SPDX-License-Identifier: Apache-2.0 */
/* A machine: what its vCPUs share. */
#ifndef EMUL_MACHINE_H
#define EMUL_MACHINE_H

#include <stdint.h>

#include "emul/guest.h"
#include "x86vcpu/machine.h"

#define MACHINE_VCPUS 64u

struct x86vcpu_machine {
	/* Guards the members up to tsc_offset. Held while a message is delivered, so that no target is destroyed meanwhile. */
	uint32_t lock;
	uint32_t members;           /* vCPUs that exist, and calls that use the machine */
	struct guest *vcpus[MACHINE_VCPUS]; /* by vcpu_id */
	uint32_t last_arbitrated;   /* vcpu_id that took the last lowest-priority message */
	uint64_t started;           /* vCPUs that share tsc_offset, a bit each */
	uint64_t tsc_offset;        /* guest TSC - host TSC of each vCPU at its setup */

	struct x86vcpu_host_ops ops; /* a copy, in which slots that the caller does not know are NULL */
	void *ctx, *opaque;
	uint64_t vm_id;
	uint64_t hpa, frames; /* of this structure */
};

/* IRQs are off while the lock is held: an interrupt handler that wanted it would wait forever for the code that it interrupted. */
static inline void machine_lock(struct x86vcpu_machine *machine)
{
	while (__atomic_exchange_n(&machine->lock, 1, __ATOMIC_ACQUIRE))
		__builtin_ia32_pause();
}

static inline void machine_unlock(struct x86vcpu_machine *machine)
{
	__atomic_store_n(&machine->lock, 0, __ATOMIC_RELEASE);
}

#endif
