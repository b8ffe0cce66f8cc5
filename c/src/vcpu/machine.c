/* SPDX-License-Identifier: Apache-2.0 */
/* Which vCPUs belong together. A machine lives as long as it has a vCPU, or a message is being sent to it. */
#include "vcpu/machine.h"

#include "cpu/insn.h"
#include "cpu/libc.h"
#include "x86vcpu/status.h"

static struct machine *machines;
static uint32_t list_lock;

/* Interrupts are off while a lock is held: a vCPU that runs on this CPU may want it. */
static uint64_t lock_list(void)
{
	const uint64_t flags = insn_disable_interrupts();

	while (__atomic_exchange_n(&list_lock, 1, __ATOMIC_ACQUIRE))
		insn_pause();
	return flags;
}

static void unlock_list(uint64_t flags)
{
	__atomic_store_n(&list_lock, 0, __ATOMIC_RELEASE);
	insn_restore_interrupts(flags);
}

static struct machine *find(const struct guest *g)
{
	struct machine *machine = machines;

	while (machine && (machine->vm_id != g->vm_id || machine->ctx != g->ctx || machine->ops != g->host))
		machine = machine->next;
	return machine;
}

static struct machine *make(const struct guest *g)
{
	const uint64_t hpa = g->host->alloc_frame(g->ctx);
	struct machine *machine;

	if (!hpa)
		return NULL;
	machine = g->host->phys_to_virt(g->ctx, hpa);
	memset(machine, 0, sizeof(*machine));
	machine->ops = g->host;
	machine->ctx = g->ctx;
	machine->vm_id = g->vm_id;
	machine->hpa = hpa;
	machine->last_arbitrated = MACHINE_VCPUS - 1;
	return machine;
}

static int32_t add_member(struct machine *machine, struct guest *g)
{
	if (machine->vcpus[g->vcpu_id])
		return X86VCPU_ERR_RESOURCE_BUSY;
	machine_lock(machine);
	machine->vcpus[g->vcpu_id] = g;
	machine_unlock(machine);
	machine->members++;
	g->machine = machine;
	return X86VCPU_OK;
}

int32_t machine_join(struct guest *g)
{
	struct machine *spare = make(g), *machine;
	int32_t status;
	uint64_t flags;

	if (!spare)
		return X86VCPU_ERR_NO_MEMORY;
	flags = lock_list();
	machine = find(g);
	if (!machine) {
		machine = spare;
		spare = NULL;
		machine->next = machines;
		machines = machine;
	}
	status = add_member(machine, g);
	unlock_list(flags);
	if (spare)
		g->host->free_frame(g->ctx, spare->hpa);
	return status;
}

static void unlink_machine(const struct machine *machine)
{
	struct machine **link = &machines;

	while (*link != machine)
		link = &(*link)->next;
	*link = machine->next;
}

struct machine *machine_get(const struct guest *g)
{
	const uint64_t flags = lock_list();

	g->machine->members++;
	unlock_list(flags);
	return g->machine;
}

void machine_put(struct machine *machine)
{
	const uint64_t flags = lock_list();
	const bool last = --machine->members == 0;

	if (last)
		unlink_machine(machine);
	unlock_list(flags);
	if (last)
		machine->ops->free_frame(machine->ctx, machine->hpa);
}

void machine_leave(struct guest *g)
{
	struct machine *machine = g->machine;
	const uint64_t flags = lock_list();

	machine_lock(machine);
	machine->vcpus[g->vcpu_id] = NULL;
	machine->started &= ~(UINT64_C(1) << g->vcpu_id);
	machine_unlock(machine);
	unlock_list(flags);
	g->machine = NULL;
	machine_put(machine);
}

void machine_start_tsc(struct guest *g)
{
	struct machine *machine = g->machine;
	const uint64_t self = UINT64_C(1) << g->vcpu_id, flags = lock_list();

	if (!(machine->started & ~self))
		machine->tsc_offset = 0 - g->host_tsc();
	machine->started |= self;
	unlock_list(flags);
}
