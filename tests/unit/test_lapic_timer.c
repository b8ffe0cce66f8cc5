/* SPDX-License-Identifier: Apache-2.0 */
/* What the local APIC's timer asks of the host's timers, and what it makes of their calls (host.h). */
#include "event_fixture.h"

#include "lapic/lapic.h"

Suite *lapic_timer_suite(void);

static uint64_t now; /* of the host's clock, and of its TSC */
static int32_t start_status, cancel_status;
static struct {
	unsigned starts, cancels, kicks;
	uint64_t deadline;
	x86vcpu_timer_function function;
	void *arg;
} host;

static uint64_t clock_now(void)
{
	return now;
}

static uint64_t time_ns(void *ctx)
{
	(void)ctx;
	return now;
}

static uint64_t one_to_one(void *ctx, uint64_t nanos)
{
	(void)ctx;
	return nanos;
}

static void notify(void *ctx, void *machine, void *vcpu, uint32_t cpu)
{
	(void)ctx;
	(void)machine;
	(void)vcpu;
	(void)cpu;
	host.kicks++;
}

static int32_t timer_start(void *ctx, uint64_t deadline, x86vcpu_timer_function function, void *arg,
			   struct x86vcpu_timer *timer)
{
	(void)ctx;
	host.starts++;
	host.deadline = deadline;
	host.function = function;
	host.arg = arg;
	timer->opaque[0] = host.starts;
	return start_status;
}

static int32_t timer_cancel(void *ctx, const struct x86vcpu_timer *timer)
{
	(void)ctx;
	ck_assert_uint_eq(timer->opaque[0], host.starts);
	host.cancels++;
	return cancel_status;
}

static const struct x86vcpu_host_ops ops = {
	.time_ns = time_ns, .nanos_to_ticks = one_to_one, .notify = notify, .timer_start = timer_start,
	.timer_cancel = timer_cancel,
};

static void write(struct guest *g, unsigned reg, uint32_t value)
{
	lapic_mmio_write(g, reg * 16, 4, value);
}

/* In `mode`, and divided by 1. */
static struct guest *timer(uint32_t mode)
{
	struct guest *g = guest_with_apic();

	memset(&host, 0, sizeof(host));
	start_status = cancel_status = 0;
	now = 1000000;
	g->host = &ops;
	g->host_tsc = clock_now;
	lapic_timer_reset(g);
	write(g, LAPIC_LVT_TIMER, mode | 0x40);
	write(g, LAPIC_TIMER_DIVIDE, 0xb);
	next(g);
	return g;
}

static uint64_t expire(void)
{
	return host.function(host.arg, now);
}

START_TEST(one_shot_is_started_and_done)
{
	struct guest *g = timer(0);

	write(g, LAPIC_TIMER_INITIAL, 5000);
	ck_assert_uint_eq(host.starts, 1);
	ck_assert_uint_eq(host.deadline, 1005000);
	ck_assert(!lapic_timer_is_polled(&g->lapic.timer));
	now = 1005000;
	assert_none(g); /* the host's timer tells, not the time */
	ck_assert_uint_eq(expire(), 0);
	ck_assert_uint_eq(host.kicks, 1);
	ck_assert_uint_eq(attention(g), 1);
	ck_assert(guest_event_pending(g));
	assert_next(g, GUEST_EVENT_EXTERNAL, 0x40);
	ck_assert_uint_eq(lapic_timer_next(g), UINT64_MAX);
	write(g, LAPIC_TIMER_INITIAL, 100);
	ck_assert_uint_eq(host.starts, 2);
	ck_assert_uint_eq(host.cancels, 0); /* it was done */
	write(g, LAPIC_TIMER_INITIAL, 0);
	ck_assert_uint_eq(host.cancels, 1);
}
END_TEST

/* One that comes early is asked for again: a halted vCPU has nothing else that wakes it. */
START_TEST(early_call_is_asked_for_again)
{
	struct guest *g = timer(0);

	write(g, LAPIC_TIMER_INITIAL, 5000);
	now = 1004999;
	ck_assert_uint_eq(expire(), 1005000);
	ck_assert_uint_eq(host.kicks, 0);
	assert_none(g);
	ck_assert(!lapic_timer_is_polled(&g->lapic.timer));
	now = 1005000;
	ck_assert_uint_eq(expire(), 0);
	ck_assert_uint_eq(host.kicks, 1);
	assert_next(g, GUEST_EVENT_EXTERNAL, 0x40);
}
END_TEST

/* With a TSC of 0.5 GHz the deadline is further away than 64 bits of nanoseconds: it never comes. */
START_TEST(far_tsc_deadline_never_comes)
{
	struct guest *g = timer(0x40000);

	g->lapic.timer.khz = 500000;
	lapic_timer_write_deadline(g, UINT64_MAX);
	ck_assert_uint_eq(host.starts, 0);
	for (unsigned i = 0; i < 3; i++)
		assert_none(g);
	ck_assert_uint_eq(host.starts, 0);
	ck_assert_uint_eq(lapic_timer_next(g), UINT64_MAX);
}
END_TEST

/* It wants to be called at the next expiry, but not more often than every 200 us. */
START_TEST(periodic_wants_to_be_called_again)
{
	static const struct {
		uint64_t period, late, again;
	} rows[] = {{300000, 0, 1600000}, {300000, 100000, 1600000}, {300000, 310000, 1900000}, {1000, 0, 1201000}};
	struct guest *g = timer(0x20000);
	const uint64_t first = 1000000 + rows[_i].period;

	write(g, LAPIC_TIMER_INITIAL, (uint32_t)rows[_i].period);
	ck_assert_uint_eq(host.deadline, first);
	now = first + rows[_i].late;
	ck_assert_uint_eq(expire(), rows[_i].again);
	assert_next(g, GUEST_EVENT_EXTERNAL, 0x40);
	ck_assert(!lapic_timer_is_polled(&g->lapic.timer));
	ck_assert(lapic_timer_stop(g));
	ck_assert_uint_eq(host.cancels, 1);
}
END_TEST

START_TEST(timer_that_cannot_be_started_is_polled)
{
	struct guest *g = timer(0);

	start_status = X86VCPU_ERR_TIMER_UNAVAILABLE;
	write(g, LAPIC_TIMER_INITIAL, 5000);
	ck_assert_uint_eq(host.starts, 1);
	ck_assert(lapic_timer_is_polled(&g->lapic.timer));
	now = 1005000;
	assert_next(g, GUEST_EVENT_EXTERNAL, 0x40);
	ck_assert(lapic_timer_stop(g));
	ck_assert_uint_eq(host.cancels, 0);
}
END_TEST

/* The timer keeps running: no second one is started, it gets the new deadline, and the vCPU cannot be destroyed. */
START_TEST(timer_that_cannot_be_cancelled)
{
	struct guest *g = timer(0);

	write(g, LAPIC_TIMER_INITIAL, 5000);
	cancel_status = X86VCPU_ERR_TIMER_UNAVAILABLE;
	ck_assert(!lapic_timer_stop(g));
	write(g, LAPIC_TIMER_INITIAL, 7000);
	ck_assert_uint_eq(host.starts, 1);
	now = 1005000;
	ck_assert_uint_eq(expire(), 1007000);
	assert_none(g);
	now = 1007000;
	ck_assert_uint_eq(expire(), 0);
	assert_next(g, GUEST_EVENT_EXTERNAL, 0x40);
	ck_assert(lapic_timer_stop(g));
}
END_TEST

/* In the host's time; the TSC of the guest is ahead by 7000. */
START_TEST(tsc_deadline_is_turned_into_time)
{
	struct guest *g = timer(0x40000);
	uint64_t value;

	g->msrs.tsc_offset = 7000;
	lapic_wrmsr(g, 0x6e0, 1009000);
	ck_assert_uint_eq(host.deadline, 1002001);
	g->msrs.tsc_offset = 6000;
	lapic_timer_tsc_moved(g);
	ck_assert_uint_eq(host.starts, 2);
	ck_assert_uint_eq(host.deadline, 1003001);
	g->msrs.tsc_offset = 10000; /* moved beyond it */
	lapic_timer_tsc_moved(g);
	ck_assert_uint_eq(host.deadline, 0);
	ck_assert_uint_eq(expire(), 0);
	assert_next(g, GUEST_EVENT_EXTERNAL, 0x40);
	lapic_rdmsr(g, 0x6e0, &value);
	ck_assert_uint_eq(value, 0);
	lapic_timer_tsc_moved(g);
	ck_assert_uint_eq(host.starts, 3);
}
END_TEST

/* The clocks differ a little: the host's timer comes before the TSC is there, and is started for the rest. */
START_TEST(rest_of_a_tsc_deadline_is_waited_for)
{
	struct guest *g = timer(0x40000);

	lapic_wrmsr(g, 0x6e0, 1002000);
	now = 1001990;
	ck_assert_uint_eq(host.function(host.arg, 1002001), 0);
	assert_none(g);
	ck_assert_uint_eq(host.starts, 2);
	ck_assert_uint_eq(host.deadline, 1002001);
	now = 1002001;
	expire();
	assert_next(g, GUEST_EVENT_EXTERNAL, 0x40);
}
END_TEST

/* A deadline that has passed comes at once, and ends the one before. */
START_TEST(past_deadline_stops_the_other)
{
	struct guest *g = timer(0x40000);

	lapic_wrmsr(g, 0x6e0, 2000000);
	lapic_wrmsr(g, 0x6e0, 999999);
	ck_assert_uint_eq(host.cancels, 1);
	assert_next(g, GUEST_EVENT_EXTERNAL, 0x40);
	ck_assert_uint_eq(lapic_timer_next(g), UINT64_MAX);
	lapic_wrmsr(g, 0x6e0, 3000000);
	lapic_wrmsr(g, 0x6e0, 0);
	ck_assert_uint_eq(host.cancels, 2);
	ck_assert_uint_eq(lapic_timer_next(g), UINT64_MAX);
}
END_TEST

Suite *lapic_timer_suite(void)
{
	Suite *suite = suite_create("lapic_timer");
	TCase *tc = add_tcase(suite, "host's timers");

	tcase_add_test(tc, one_shot_is_started_and_done);
	tcase_add_test(tc, early_call_is_asked_for_again);
	tcase_add_test(tc, far_tsc_deadline_never_comes);
	tcase_add_loop_test(tc, periodic_wants_to_be_called_again, 0, 4);
	tcase_add_test(tc, timer_that_cannot_be_started_is_polled);
	tcase_add_test(tc, timer_that_cannot_be_cancelled);
	tcase_add_test(tc, tsc_deadline_is_turned_into_time);
	tcase_add_test(tc, rest_of_a_tsc_deadline_is_waited_for);
	tcase_add_test(tc, past_deadline_stops_the_other);
	return suite;
}
