/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The local APIC's timer (SDM 12.5.4). It is computed from the time: nothing ticks. The host's timer
 * only wakes the vCPU, which then looks whether the time has come; so a host's timer that is early, late or
 * stale changes nothing.
 */
#ifndef LAPIC_TIMER_H
#define LAPIC_TIMER_H

#include <stdbool.h>
#include <stdint.h>

#include "x86vcpu/host.h"

struct guest;

/* The counter runs at 1 GHz, before it is divided: a tick is a nanosecond. */
struct lapic_timer {
	uint64_t khz; /* of the TSC */
	uint32_t initial, divide;
	uint64_t tsc_deadline; /* IA32_TSC_DEADLINE, guest's TSC; 0: disarmed */
	bool armed;

	/* The host's timer reads these, on any CPU. */
	uint64_t deadline; /* nanoseconds of the host's clock */
	uint64_t period;   /* of the guest's periodic timer; 0: one expiry only */
	uint32_t expired;  /* set by it: look at the time */
	uint32_t started;  /* 1: its function may still be called */
	struct x86vcpu_timer host;
};

/* At setup: stops it, and asks the host for the TSC's frequency. */
void lapic_timer_reset(struct guest *g);
/* False when the host could not cancel its timer, whose function may be called yet. */
bool lapic_timer_stop(struct guest *g);

/* Writes of the guest. */
void lapic_timer_write_initial(struct guest *g, uint32_t value);
void lapic_timer_write_divide(struct guest *g, uint32_t value);
void lapic_timer_write_deadline(struct guest *g, uint64_t value);
/* The local vector's mode changed from `old`: its value is in the register already. */
void lapic_timer_mode_changed(struct guest *g, uint32_t old);

/* Nanoseconds to the next expiry of a one-shot or periodic timer; 0: none is to come. */
uint64_t lapic_timer_remaining(const struct guest *g);
uint32_t lapic_timer_current(struct guest *g);
/* Raises the interrupt when the time has come. */
void lapic_timer_look(struct guest *g);
/* The time of the next expiry, UINT64_MAX when it is stopped. */
uint64_t lapic_timer_next(const struct guest *g);
/* The guest's TSC was moved. */
void lapic_timer_tsc_moved(struct guest *g);
/* For set_apic: it counts, and expires in `nanoseconds`. */
void lapic_timer_resume(struct guest *g, uint64_t nanoseconds);

/* Whether the time must be looked at though no host timer says so. */
static inline bool lapic_timer_is_polled(const struct lapic_timer *t)
{
	return t->armed && !__atomic_load_n(&t->started, __ATOMIC_RELAXED);
}

#endif
