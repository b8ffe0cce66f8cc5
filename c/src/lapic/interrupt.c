/* SPDX-License-Identifier: Apache-2.0 */
/* Acceptance, priority and service of interrupts (SDM 12.8), local vectors and errors (SDM 12.5). */
#include "lapic/lapic.h"

#include "emul/guest.h"
#include "x86vcpu/apic.h"

static uint64_t bit_of(uint8_t vector)
{
	return UINT64_C(1) << (vector & 63);
}

static uint64_t word_of(const uint64_t set[4], unsigned n)
{
	return __atomic_load_n(&set[n], __ATOMIC_ACQUIRE);
}

static bool is_empty(const uint64_t set[4])
{
	return !(word_of(set, 0) | word_of(set, 1) | word_of(set, 2) | word_of(set, 3));
}

static int highest(const uint64_t set[4])
{
	if (is_empty(set))
		return -1;
	for (int word = 3; word >= 0; word--) {
		const uint64_t bits = word_of(set, (unsigned)word);

		if (bits)
			return word * 64 + 63 - __builtin_clzll(bits);
	}
	return -1;
}

static unsigned class_of(int vector)
{
	return vector < 0 ? 0 : (unsigned)vector >> 4;
}

/* ---- Priority ------------------------------------------------------------------------------------- */

/* SDM 12.8.3.1. */
uint32_t lapic_ppr(const struct guest *g)
{
	const uint32_t tpr = *g->lapic.tpr & 0xff;
	const unsigned in_service = class_of(highest(g->lapic.isr));

	return tpr >> 4 >= in_service ? tpr : in_service << 4;
}

int lapic_deliverable(const struct guest *g)
{
	const int vector = highest(g->lapic.irr);

	return vector >= 0 && class_of(vector) > lapic_ppr(g) >> 4 ? vector : -1;
}

unsigned lapic_held_by_tpr(const struct guest *g)
{
	const unsigned waiting = class_of(highest(g->lapic.irr));

	if (!waiting || waiting <= class_of(highest(g->lapic.isr)) || waiting > *g->lapic.tpr >> 4)
		return 0;
	return waiting;
}

bool lapic_has_pending(const struct guest *g)
{
	return !is_empty(g->lapic.irr);
}

void lapic_set_tpr(struct guest *g, uint32_t value)
{
	const uint32_t old = *g->lapic.tpr;

	*g->lapic.tpr = value & 0xff;
	/*
	 * A higher one can only hold more back, which a window that is open finds out. The lower half is not in every
	 * backend's view of CR8.
	 */
	if ((value & 0xff) < old || ((value | old) & 15))
		guest_look_again(g);
}

/* ---- Acceptance and service ------------------------------------------------------------------------ */

/* The trigger mode is that of the last message (SDM 12.8.4). */
void lapic_accept(struct guest *g, uint8_t vector, bool level)
{
	struct lapic *l = &g->lapic;
	uint64_t *tmr = &l->tmr[vector >> 6];

	if (level)
		__atomic_fetch_or(tmr, bit_of(vector), __ATOMIC_RELAXED);
	else
		__atomic_fetch_and(tmr, ~bit_of(vector), __ATOMIC_RELAXED);
	__atomic_fetch_or(&l->irr[vector >> 6], bit_of(vector), __ATOMIC_RELEASE);
}

void lapic_take(struct guest *g, uint8_t vector)
{
	__atomic_fetch_and(&g->lapic.irr[vector >> 6], ~bit_of(vector), __ATOMIC_ACQ_REL);
	g->lapic.isr[vector >> 6] |= bit_of(vector);
}

bool lapic_untake(struct guest *g, uint8_t vector)
{
	struct lapic *l = &g->lapic;

	if (!(l->isr[vector >> 6] & bit_of(vector)))
		return false;
	l->isr[vector >> 6] &= ~bit_of(vector);
	__atomic_fetch_or(&l->irr[vector >> 6], bit_of(vector), __ATOMIC_RELEASE);
	return true;
}

/* A level-triggered LINT pin that is still high interrupts again (SDM 12.5.1, remote IRR). */
static void end_local(struct guest *g, uint8_t vector)
{
	for (unsigned pin = 0; pin < 2; pin++) {
		uint32_t *lvt = lapic_lvt(&g->lapic, LAPIC_LVT_LINT0 + pin);

		if (!(*lvt & LVT_REMOTE_IRR) || (*lvt & APIC_VECTOR) != vector)
			continue;
		*lvt &= ~LVT_REMOTE_IRR;
		if (__atomic_load_n(&g->lapic.pins, __ATOMIC_RELAXED) >> pin & 1)
			lapic_local(g, LAPIC_LVT_LINT0 + pin);
	}
}

int lapic_eoi(struct guest *g)
{
	struct lapic *l = &g->lapic;
	const int vector = highest(l->isr);

	if (vector < 0)
		return -1;
	l->isr[vector >> 6] &= ~bit_of((uint8_t)vector);
	if (lapic_has_pending(g))
		guest_look_again(g);
	if (!(__atomic_load_n(&l->tmr[vector >> 6], __ATOMIC_RELAXED) & bit_of((uint8_t)vector)))
		return -1;
	end_local(g, (uint8_t)vector);
	return vector;
}

/* ---- Errors and local vectors ------------------------------------------------------------------------- */

/* Of one kind the error interrupt comes once, until the register is written. */
void lapic_error(struct guest *g, uint32_t error)
{
	struct lapic *l = &g->lapic;
	const uint32_t lvt = *lapic_lvt(l, LAPIC_LVT_ERROR);
	const bool known = l->errors & error;

	l->errors |= error;
	if (known || lvt & LVT_MASKED)
		return;
	if ((lvt & APIC_VECTOR) < APIC_FIRST_VECTOR)
		l->errors |= APIC_ERROR_RECEIVED_VECTOR;
	else
		lapic_accept(g, (uint8_t)lvt, false);
	guest_look_again(g);
}

static void accept_local(struct guest *g, uint32_t *lvt, bool level)
{
	if ((*lvt & APIC_VECTOR) < APIC_FIRST_VECTOR) {
		lapic_error(g, APIC_ERROR_RECEIVED_VECTOR);
		return;
	}
	if (level)
		*lvt |= LVT_REMOTE_IRR;
	lapic_accept(g, (uint8_t)*lvt, level);
	guest_look_again(g);
}

void lapic_local(struct guest *g, unsigned reg)
{
	uint32_t *lvt = lapic_lvt(&g->lapic, reg);
	const bool pin = reg == LAPIC_LVT_LINT0 || reg == LAPIC_LVT_LINT1;

	if (*lvt & LVT_MASKED)
		return;
	switch (reg == LAPIC_LVT_TIMER ? X86VCPU_DELIVERY_FIXED : *lvt >> APIC_DELIVERY_SHIFT & 7) {
	case X86VCPU_DELIVERY_FIXED:
		/* LINT1 is edge-triggered whatever its register says (SDM 12.5.1). */
		accept_local(g, lvt, pin && reg == LAPIC_LVT_LINT0 && *lvt & APIC_TRIGGER_LEVEL);
		break;
	case X86VCPU_DELIVERY_NMI:
		guest_post_nmi(g);
		break;
	default: /* SMI, INIT: the VMM's business; ExtINT: lapic_extint_asked */
		break;
	}
}

/* ---- Pins ----------------------------------------------------------------------------------------------- */

bool lapic_drive_pin(struct guest *g, unsigned pin, bool high)
{
	struct lapic *l = &g->lapic;
	const uint32_t bit = 1u << pin;

	if (!high) {
		__atomic_fetch_and(&l->pins, ~bit, __ATOMIC_RELAXED);
		return false;
	}
	if (__atomic_fetch_or(&l->pins, bit, __ATOMIC_ACQ_REL) & bit)
		return false;
	__atomic_fetch_or(&l->edges, bit, __ATOMIC_RELEASE);
	return true;
}

/* Without local vectors the pins are the CPU's INTR and NMI (SDM 12.4.3). */
static void rising_edge(struct guest *g, unsigned pin)
{
	if (lapic_globally_enabled(&g->lapic))
		lapic_local(g, LAPIC_LVT_LINT0 + pin);
	else if (pin == 1)
		guest_post_nmi(g);
}

bool lapic_extint_asked(const struct guest *g)
{
	const struct lapic *l = &g->lapic;
	const uint32_t lvt = l->lvt[LAPIC_LVT_LINT0 - LAPIC_LVT_CMCI];

	if (!(__atomic_load_n(&l->pins, __ATOMIC_ACQUIRE) & 1) || !g->host->acknowledge_interrupt)
		return false;
	if (!lapic_globally_enabled(l))
		return true;
	return !(lvt & LVT_MASKED) && (lvt >> APIC_DELIVERY_SHIFT & 7) == X86VCPU_DELIVERY_EXTINT;
}

void lapic_look(struct guest *g)
{
	struct lapic *l = &g->lapic;
	uint32_t edges = 0;

	if (__atomic_load_n(&l->edges, __ATOMIC_RELAXED))
		edges = __atomic_exchange_n(&l->edges, 0, __ATOMIC_ACQ_REL);
	for (unsigned pin = 0; pin < 2; pin++)
		if (edges >> pin & 1)
			rising_edge(g, pin);
	lapic_timer_look(g);
}
