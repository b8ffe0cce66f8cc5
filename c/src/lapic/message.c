/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between local APICs, and from I/O APICs and devices to them (SDM 12.6). */
#include "lapic/lapic.h"

#include "emul/machine.h"
#include "x86vcpu/apic.h"

#define DFR_FLAT 0xfu
#define DFR_CLUSTER 0x0u

/* Shorthands in the ICR, bits 19:18. */
enum shorthand { NO_SHORTHAND, SELF, ALL, ALL_BUT_SELF };

/* ---- Who is meant -------------------------------------------------------------------------------- */

static bool is_broadcast(const struct lapic_message *message)
{
	return message->destination == (message->wide ? UINT32_MAX : 0xff);
}

/* SDM 12.6.2.2, with the target's own registers. Other values of DFR are no model: nobody is meant. */
static bool matches_xapic_logical(const struct lapic *l, uint32_t destination)
{
	const uint32_t id = __atomic_load_n(&l->ldr, __ATOMIC_RELAXED) >> 24;

	if (destination > 0xff)
		return false;
	switch (__atomic_load_n(&l->dfr, __ATOMIC_RELAXED) >> 28) {
	case DFR_FLAT:
		return id & destination;
	case DFR_CLUSTER:
		return id >> 4 == destination >> 4 && id & destination & 15;
	default:
		return false;
	}
}

/* SDM 12.12.10.2. */
static bool matches_x2apic_logical(const struct lapic *l, uint32_t destination)
{
	const uint32_t ldr = __atomic_load_n(&l->ldr, __ATOMIC_RELAXED);

	return ldr >> 16 == destination >> 16 && ldr & destination & 0xffff;
}

static bool matches(const struct lapic *l, const struct lapic_message *message)
{
	if (is_broadcast(message))
		return true;
	if (!message->logical)
		return l->id == message->destination;
	return lapic_in_x2apic_mode(l) ? matches_x2apic_logical(l, message->destination)
				       : matches_xapic_logical(l, message->destination);
}

/* A disabled APIC hears nothing; one disabled by software no fixed interrupts (SDM 12.4.7.2). */
static bool hears(const struct lapic *l, uint8_t delivery)
{
	if (delivery == X86VCPU_DELIVERY_FIXED || delivery == X86VCPU_DELIVERY_LOWEST_PRIORITY)
		return lapic_enabled(l);
	return lapic_globally_enabled(l);
}

/* Of `targets` the one with the lowest processor priority; among equals in turn (SDM 12.6.2.4). */
static uint64_t arbitrate(struct x86vcpu_machine *machine, uint64_t targets)
{
	uint32_t best = MACHINE_VCPUS, lowest = UINT32_MAX;

	for (uint32_t i = 1; i <= MACHINE_VCPUS; i++) {
		const uint32_t id = (machine->last_arbitrated + i) % MACHINE_VCPUS;
		uint32_t priority;

		if (!(targets >> id & 1))
			continue;
		priority = __atomic_load_n(machine->vcpus[id]->lapic.tpr, __ATOMIC_RELAXED) >> 4 & 15;
		if (priority < lowest) {
			lowest = priority;
			best = id;
		}
	}
	if (best == MACHINE_VCPUS)
		return 0;
	machine->last_arbitrated = best;
	return UINT64_C(1) << best;
}

/* ---- Delivery --------------------------------------------------------------------------------------- */

/* Sets of vCPUs that the host hears of once the machine's lock is free: a host op may take locks of its own. */
struct outbox {
	uint64_t kicks; /* host_ops.notify */
	uint64_t sends; /* host_ops.send_interrupt */
};

static void deliver_fixed(struct guest *target, struct guest *sender, const struct lapic_message *message,
			  struct outbox *outbox)
{
	const uint64_t bit = UINT64_C(1) << target->vcpu_id;

	/* A host that keeps its vCPUs' interrupts itself wants those between vCPUs too. */
	if (sender && target != sender && target->host->send_interrupt) {
		outbox->sends |= bit;
		return;
	}
	lapic_accept(target, message->vector, message->level);
	if (target == sender)
		guest_look_again(target);
	else
		outbox->kicks |= bit;
}

static void deliver(struct guest *target, struct guest *sender, const struct lapic_message *message,
		    struct outbox *outbox)
{
	const uint64_t bit = UINT64_C(1) << target->vcpu_id;

	switch (message->delivery) {
	case X86VCPU_DELIVERY_FIXED:
	case X86VCPU_DELIVERY_LOWEST_PRIORITY:
		deliver_fixed(target, sender, message, outbox);
		break;
	case X86VCPU_DELIVERY_NMI:
		guest_post_nmi(target);
		outbox->kicks |= bit;
		break;
	case X86VCPU_DELIVERY_INIT:
		guest_post_init(target);
		outbox->kicks |= bit;
		break;
	case X86VCPU_DELIVERY_STARTUP:
		guest_post_startup(target, message->vector);
		outbox->kicks |= bit;
		break;
	default:
		break;
	}
}

/* Holds the machine's lock: no target goes away. */
static uint64_t deliver_to(struct x86vcpu_machine *machine, uint64_t targets, struct guest *sender,
			   const struct lapic_message *message, struct outbox *outbox)
{
	if (message->delivery == X86VCPU_DELIVERY_LOWEST_PRIORITY)
		targets = arbitrate(machine, targets);
	for (uint32_t id = 0; id < MACHINE_VCPUS; id++)
		if (targets >> id & 1)
			deliver(machine->vcpus[id], sender, message, outbox);
	return targets;
}

/* The vCPU may be gone when the host op is called. */
static struct guest_kick begin_call(struct x86vcpu_machine *machine, uint32_t id, bool kick)
{
	struct guest_kick call = {.wanted = false};
	struct guest *g;

	machine_lock(machine);
	g = machine->vcpus[id];
	if (g && kick)
		call = guest_begin_kick(g);
	else if (g)
		call = (struct guest_kick){.host = g->host, .ctx = g->ctx, .machine = g->machine_opaque, .vcpu = g->opaque, .wanted = true};
	machine_unlock(machine);
	return call;
}

/* IRQs are off, and the lock is free. */
static void tell_host(struct x86vcpu_machine *machine, const struct outbox *outbox, const struct lapic_message *message)
{
	for (uint32_t id = 0; id < MACHINE_VCPUS; id++) {
		const bool send = outbox->sends >> id & 1, kick = outbox->kicks >> id & 1;
		const struct guest_kick call =
			send || kick ? begin_call(machine, id, kick) : (struct guest_kick){.wanted = false};

		if (!send)
			guest_end_kick(&call);
		else if (call.wanted)
			call.host->send_interrupt(call.ctx, call.machine, call.vcpu, message->vector);
	}
}

static uint64_t listeners(const struct x86vcpu_machine *machine, uint8_t delivery)
{
	uint64_t set = 0;

	for (uint32_t id = 0; id < MACHINE_VCPUS; id++)
		if (machine->vcpus[id] && hears(&machine->vcpus[id]->lapic, delivery))
			set |= UINT64_C(1) << id;
	return set;
}

uint64_t lapic_send(struct x86vcpu_machine *machine, struct guest *sender, const struct lapic_message *message)
{
	struct outbox outbox = {0, 0};
	uint64_t targets;

	machine_lock(machine);
	targets = listeners(machine, message->delivery);
	for (uint32_t id = 0; id < MACHINE_VCPUS; id++)
		if (targets >> id & 1 && !matches(&machine->vcpus[id]->lapic, message))
			targets &= ~(UINT64_C(1) << id);
	targets = deliver_to(machine, targets, sender, message, &outbox);
	machine_unlock(machine);
	tell_host(machine, &outbox, message);
	return targets;
}

/* ---- The interrupt command register (SDM 12.6.1) ------------------------------------------------------- */

static bool delivery_exists(uint8_t delivery)
{
	return delivery != 3 && delivery != X86VCPU_DELIVERY_EXTINT;
}

/* SDM table 12-3: with a shorthand to itself an APIC sends fixed interrupts only. */
static bool combination_valid(enum shorthand shorthand, uint8_t delivery)
{
	return (shorthand != SELF && shorthand != ALL) || delivery == X86VCPU_DELIVERY_FIXED;
}

static void send_shorthand(struct guest *g, enum shorthand shorthand, const struct lapic_message *message)
{
	const uint64_t self = UINT64_C(1) << g->vcpu_id;
	struct x86vcpu_machine *machine = g->machine;
	struct outbox outbox = {0, 0};
	uint64_t targets;

	machine_lock(machine);
	targets = listeners(machine, message->delivery);
	if (shorthand == SELF)
		targets &= self;
	else if (shorthand == ALL_BUT_SELF)
		targets &= ~self;
	deliver_to(machine, targets, g, message, &outbox);
	machine_unlock(machine);
	tell_host(machine, &outbox, message);
}

void lapic_send_icr(struct guest *g, uint32_t low, uint32_t destination)
{
	const enum shorthand shorthand = low >> 18 & 3;
	const struct lapic_message message = {
		.destination = destination,
		.logical = low & APIC_LOGICAL,
		.wide = lapic_in_x2apic_mode(&g->lapic),
		.delivery = low >> APIC_DELIVERY_SHIFT & 7,
		.vector = (uint8_t)low,
	};
	const bool fixed = message.delivery == X86VCPU_DELIVERY_FIXED ||
			   message.delivery == X86VCPU_DELIVERY_LOWEST_PRIORITY;

	if (fixed && message.vector < APIC_FIRST_VECTOR) {
		lapic_error(g, APIC_ERROR_SEND_VECTOR);
		return;
	}
	/* INIT with level 0 is the de-assertion, of which later processors know nothing (SDM 12.6.1). */
	if (message.delivery == X86VCPU_DELIVERY_INIT && !(low & APIC_LEVEL_ASSERT))
		return;
	if (!delivery_exists(message.delivery) || !combination_valid(shorthand, message.delivery))
		return;
	if (shorthand == NO_SHORTHAND)
		lapic_send(g->machine, g, &message);
	else
		send_shorthand(g, shorthand, &message);
}
