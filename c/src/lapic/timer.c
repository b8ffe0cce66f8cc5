/* SPDX-License-Identifier: Apache-2.0 */
/* See timer.h. */
#include "lapic/timer.h"

#include "emul/guest.h"

#define NEVER UINT64_MAX
#define FALLBACK_KHZ UINT64_C(3000000)
#define SHORTEST_REARM_NS UINT64_C(200000) /* what a periodic timer may cost the host */

/* ---- Time --------------------------------------------------------------------------------------- */

static uint64_t ticks_to_ns(const struct lapic_timer *t, uint64_t ticks)
{
	const uint64_t whole = ticks / t->khz;

	/* Below 1 GHz a far TSC deadline has more nanoseconds than 64 bits. */
	return whole < NEVER / 1000000 ? whole * 1000000 + ticks % t->khz * 1000000 / t->khz : NEVER - 1;
}

static uint64_t now_ns(const struct guest *g)
{
	return g->host->time_ns ? g->host->time_ns(g->ctx) : ticks_to_ns(&g->lapic.timer, g->host_tsc());
}

static uint64_t later(uint64_t time, uint64_t distance)
{
	return distance > NEVER - time ? NEVER : time + distance;
}

/* Shift that the divide register stands for (SDM figure 12-10): 2, 4, ... 128, and 1. */
static unsigned divide_shift(uint32_t divide)
{
	return (((divide & 3) | (divide >> 1 & 4)) + 1) & 7;
}

static uint32_t mode_of(const struct guest *g)
{
	return g->lapic.lvt[LAPIC_LVT_TIMER - LAPIC_LVT_CMCI] & (LVT_TIMER_PERIODIC | LVT_TIMER_TSC_DEADLINE);
}

static uint64_t guest_period(const struct lapic_timer *t)
{
	return (uint64_t)t->initial << divide_shift(t->divide);
}

/* The first expiry after `now` of those that are `period` apart. */
static uint64_t next_expiry(uint64_t deadline, uint64_t period, uint64_t now)
{
	return now < deadline ? deadline : later(deadline, ((now - deadline) / period + 1) * period);
}

/* ---- The host's timer ------------------------------------------------------------------------------- */

/* When the host calls again. Expiries of short periods share a call, others wait for their own however late it is. */
static uint64_t next_call(uint64_t deadline, uint64_t period, uint64_t now)
{
	return next_expiry(deadline, period, period < SHORTEST_REARM_NS ? later(now, SHORTEST_REARM_NS - 1) : now);
}

/* Its function: any CPU, interrupt context. Nothing is read or written after started is 0, nor after the kick. */
static uint64_t host_timer_expired(void *arg, uint64_t now)
{
	struct guest *g = arg;
	struct lapic_timer *t = &g->lapic.timer;
	const uint64_t period = __atomic_load_n(&t->period, __ATOMIC_RELAXED);
	const uint64_t deadline = __atomic_load_n(&t->deadline, __ATOMIC_RELAXED);
	struct guest_kick kick;
	uint64_t again = 0;

	/* A host's timer may be early; nothing else would call again for a vCPU that is halted. */
	if (now < deadline && deadline != NEVER)
		return deadline;
	__atomic_store_n(&t->expired, 1, __ATOMIC_RELEASE);
	kick = guest_begin_kick(g);
	if (period && deadline != NEVER)
		again = next_call(deadline, period, now);
	else
		__atomic_store_n(&t->started, 0, __ATOMIC_RELEASE);
	guest_end_kick(&kick);
	return again;
}

static bool cancel(struct guest *g)
{
	struct lapic_timer *t = &g->lapic.timer;

	if (!__atomic_load_n(&t->started, __ATOMIC_ACQUIRE))
		return true;
	if (g->host->timer_cancel(g->ctx, &t->host))
		return !__atomic_load_n(&t->started, __ATOMIC_ACQUIRE);
	__atomic_store_n(&t->started, 0, __ATOMIC_RELAXED);
	return true;
}

/* A timer that could not be cancelled comes once more than needed. One that cannot be started is polled. */
static void start(struct guest *g, uint64_t deadline, uint64_t period)
{
	struct lapic_timer *t = &g->lapic.timer;
	const bool may_start = cancel(g);

	__atomic_store_n(&t->deadline, deadline, __ATOMIC_RELAXED);
	__atomic_store_n(&t->period, period, __ATOMIC_RELAXED);
	t->armed = true;
	if (!g->host->timer_start || !may_start || deadline == NEVER)
		return;
	__atomic_store_n(&t->started, 1, __ATOMIC_RELEASE);
	if (g->host->timer_start(g->ctx, deadline, host_timer_expired, g, &t->host))
		__atomic_store_n(&t->started, 0, __ATOMIC_RELAXED);
}

bool lapic_timer_stop(struct guest *g)
{
	struct lapic_timer *t = &g->lapic.timer;

	t->armed = false;
	__atomic_store_n(&t->period, 0, __ATOMIC_RELAXED);
	return cancel(g);
}

/* ---- Counting ----------------------------------------------------------------------------------------- */

void lapic_timer_reset(struct guest *g)
{
	struct lapic_timer *t = &g->lapic.timer;
	const uint64_t khz = g->host->nanos_to_ticks(g->ctx, 1000000);

	lapic_timer_stop(g);
	t->khz = khz ? khz : FALLBACK_KHZ;
	t->initial = t->divide = 0;
	t->tsc_deadline = 0;
	__atomic_store_n(&t->expired, 0, __ATOMIC_RELAXED);
}

uint64_t lapic_timer_remaining(const struct guest *g)
{
	const struct lapic_timer *t = &g->lapic.timer;
	const uint64_t now = now_ns(g);

	if (!t->armed || (now >= t->deadline && !t->period))
		return 0;
	return (t->period ? next_expiry(t->deadline, t->period, now) : t->deadline) - now;
}

/* Part of a tick that is left counts: the count is 0 only when the time has come. */
static uint64_t count_of(uint64_t nanoseconds, unsigned shift)
{
	return (nanoseconds + (UINT64_C(1) << shift) - 1) >> shift;
}

uint32_t lapic_timer_current(struct guest *g)
{
	const struct lapic_timer *t = &g->lapic.timer;

	if (mode_of(g) & LVT_TIMER_TSC_DEADLINE)
		return 0;
	return (uint32_t)count_of(lapic_timer_remaining(g), divide_shift(t->divide));
}

static void count(struct guest *g, uint64_t nanoseconds)
{
	const bool periodic = mode_of(g) == LVT_TIMER_PERIODIC;

	start(g, later(now_ns(g), nanoseconds), periodic ? guest_period(&g->lapic.timer) : 0);
}

void lapic_timer_write_initial(struct guest *g, uint32_t value)
{
	if (mode_of(g) & LVT_TIMER_TSC_DEADLINE)
		return; /* SDM 12.5.4.1: ignored */
	g->lapic.timer.initial = value;
	if (value)
		count(g, guest_period(&g->lapic.timer));
	else
		lapic_timer_stop(g);
}

/* The count goes on from where it is, at the new speed. */
void lapic_timer_write_divide(struct guest *g, uint32_t value)
{
	struct lapic_timer *t = &g->lapic.timer;
	const uint64_t current = lapic_timer_current(g);

	t->divide = value;
	if (current)
		count(g, current << divide_shift(value));
}

void lapic_timer_resume(struct guest *g, uint64_t nanoseconds)
{
	if (nanoseconds)
		count(g, nanoseconds);
}

/* Expiries that were missed count as one. */
static void expire(struct guest *g)
{
	struct lapic_timer *t = &g->lapic.timer;

	if (t->period) {
		__atomic_store_n(&t->deadline, next_expiry(t->deadline, t->period, now_ns(g)), __ATOMIC_RELAXED);
	} else {
		t->armed = false;
		t->tsc_deadline = 0;
	}
	lapic_local(g, LAPIC_LVT_TIMER);
}

/* ---- TSC-deadline mode (SDM 12.5.4.1) ------------------------------------------------------------------- */

static uint64_t guest_tsc(const struct guest *g)
{
	return g->host_tsc() + g->msrs.tsc_offset;
}

static void start_deadline(struct guest *g)
{
	struct lapic_timer *t = &g->lapic.timer;
	const uint64_t now = guest_tsc(g);

	if (t->tsc_deadline > now)
		start(g, later(now_ns(g), ticks_to_ns(t, t->tsc_deadline - now) + 1), 0);
	else
		start(g, 0, 0);
}

void lapic_timer_write_deadline(struct guest *g, uint64_t value)
{
	struct lapic_timer *t = &g->lapic.timer;

	if (!(mode_of(g) & LVT_TIMER_TSC_DEADLINE))
		return;
	t->tsc_deadline = value;
	if (!value) {
		lapic_timer_stop(g);
	} else if (value > guest_tsc(g)) {
		start_deadline(g);
	} else {
		lapic_timer_stop(g);
		expire(g);
	}
}

void lapic_timer_tsc_moved(struct guest *g)
{
	if (g->lapic.timer.tsc_deadline)
		start_deadline(g);
}

/* One-shot and periodic share a count; TSC-deadline begins and ends disarmed. */
void lapic_timer_mode_changed(struct guest *g, uint32_t old)
{
	const uint32_t mode = mode_of(g);
	struct lapic_timer *t = &g->lapic.timer;
	const uint64_t left = lapic_timer_remaining(g);

	old &= LVT_TIMER_PERIODIC | LVT_TIMER_TSC_DEADLINE;
	if (mode == old)
		return;
	if ((mode | old) & LVT_TIMER_TSC_DEADLINE) {
		lapic_timer_stop(g);
		t->initial = 0;
		t->tsc_deadline = 0;
	} else if (left) {
		count(g, left);
	}
}

/* ---- Looking --------------------------------------------------------------------------------------------------- */

static bool time_has_come(struct guest *g)
{
	const struct lapic_timer *t = &g->lapic.timer;

	return t->tsc_deadline ? guest_tsc(g) >= t->tsc_deadline : now_ns(g) >= t->deadline;
}

void lapic_timer_look(struct guest *g)
{
	struct lapic_timer *t = &g->lapic.timer;

	if (!t->armed)
		return;
	if (__atomic_load_n(&t->started, __ATOMIC_ACQUIRE) &&
	    !__atomic_exchange_n(&t->expired, 0, __ATOMIC_ACQ_REL))
		return;
	if (time_has_come(g)) {
		expire(g);
		return;
	}
	/* The host's clock and the TSC differ a little: the rest is waited for. */
	if (t->tsc_deadline && g->host->timer_start && !__atomic_load_n(&t->started, __ATOMIC_ACQUIRE))
		start_deadline(g);
}

uint64_t lapic_timer_next(const struct guest *g)
{
	const struct lapic_timer *t = &g->lapic.timer;

	return t->armed ? t->deadline : NEVER;
}
