/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a machine, and which vCPUs it has. */
#include "vcpu/machine.h"

#include "cpu/insn.h"
#include "cpu/libc.h"
#include "vcpu/copy.h"
#include "vcpu/host_ops.h"
#include "x86vcpu/status.h"

static uint64_t lock(struct x86vcpu_machine *machine)
{
	const uint64_t flags = insn_disable_interrupts();

	machine_lock(machine);
	return flags;
}

static void unlock(struct x86vcpu_machine *machine, uint64_t flags)
{
	machine_unlock(machine);
	insn_restore_interrupts(flags);
}

/* ---- Create and destroy ----------------------------------------------------------------------------- */

static int32_t make(const struct x86vcpu_host_ops *ops, void *ctx, const struct x86vcpu_machine_config *config,
		    struct x86vcpu_machine **out)
{
	struct x86vcpu_machine *machine;
	uint64_t hpa;

	machine = alloc_zeroed(ops, ctx, sizeof(*machine), &hpa);
	if (!machine)
		return X86VCPU_ERR_NO_MEMORY;
	machine->ops = *ops;
	machine->ctx = ctx;
	machine->opaque = config->opaque;
	machine->vm_id = config->vm_id;
	machine->hpa = hpa;
	machine->last_arbitrated = MACHINE_VCPUS - 1;
	*out = machine;
	return X86VCPU_OK;
}

int32_t x86vcpu_machine_create(const struct x86vcpu_host_ops *ops, void *ctx, const struct x86vcpu_machine_config *config,
			       struct x86vcpu_machine **out)
{
	struct x86vcpu_machine_config own;
	struct x86vcpu_host_ops own_ops;
	int32_t status;

	if (!out)
		return X86VCPU_ERR_INVALID_INPUT;
	*out = NULL;
	status = host_ops_copy_in(&own_ops, ops);
	if (!status)
		status = COPY_IN(&own, config, opaque);
	if (status)
		return status;
	if (own.flags)
		return X86VCPU_ERR_INVALID_INPUT;
	return make(&own_ops, ctx, &own, out);
}

int32_t x86vcpu_machine_destroy(struct x86vcpu_machine *machine)
{
	struct x86vcpu_host_ops ops;

	if (!machine)
		return X86VCPU_OK;
	if (machine->members)
		return X86VCPU_ERR_RESOURCE_BUSY;
	ops = machine->ops;
	free_frames(&ops, machine->ctx, machine->hpa, sizeof(*machine));
	return X86VCPU_OK;
}

/* ---- Members ----------------------------------------------------------------------------------------- */

int32_t machine_join(struct x86vcpu_machine *machine, struct guest *g)
{
	const uint64_t flags = lock(machine);
	const bool free = !machine->vcpus[g->vcpu_id];

	if (free) {
		machine->vcpus[g->vcpu_id] = g;
		machine->members++;
	}
	unlock(machine, flags);
	return free ? X86VCPU_OK : X86VCPU_ERR_RESOURCE_BUSY;
}

void machine_get(struct x86vcpu_machine *machine)
{
	const uint64_t flags = lock(machine);

	machine->members++;
	unlock(machine, flags);
}

void machine_put(struct x86vcpu_machine *machine)
{
	const uint64_t flags = lock(machine);

	machine->members--;
	unlock(machine, flags);
}

void machine_leave(struct guest *g)
{
	struct x86vcpu_machine *machine = g->machine;
	const uint64_t flags = lock(machine);

	machine->vcpus[g->vcpu_id] = NULL;
	machine->started &= ~(UINT64_C(1) << g->vcpu_id);
	machine->members--;
	unlock(machine, flags);
}

void machine_start_tsc(struct guest *g)
{
	struct x86vcpu_machine *machine = g->machine;
	const uint64_t self = UINT64_C(1) << g->vcpu_id, flags = lock(machine);

	if (!(machine->started & ~self))
		machine->tsc_offset = 0 - g->host_tsc();
	machine->started |= self;
	unlock(machine, flags);
}
