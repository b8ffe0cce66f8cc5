/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The local APIC's timer on a host whose timers expire on another thread, early, late, at once, or may not be
 * cancelled: all that host.h allows. No vCPU is reached after its end (they are on the heap, where the
 * sanitizer looks), and every expiry that the guest waits for comes.
 */
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>

#include "event_fixture.h"
#include "lapic/lapic.h"

Suite *timer_threads_suite(void);

#define VECTOR 0x40u
#define GUESTS 20000u
#define ACTIONS 24u /* of a guest */
#define RACE_SECONDS 10.0 /* fewer guests where there are not enough CPUs */
#define LOST_SECONDS 60.0
#define SLOTS 4u

static uint32_t load(const uint32_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* A state of its own for each thread. */
static uint32_t random_number(uint32_t *state)
{
	*state = *state * 1664525 + 1013904223;
	return *state >> 8;
}

/* ---- The host ---------------------------------------------------------------------------------------------- */

enum slot_state { FREE, ARMED, RUNNING };

struct slot {
	enum slot_state state;
	bool cancelled;
	uint64_t generation, deadline;
	x86vcpu_timer_function function;
	void *arg;
};

static struct {
	pthread_mutex_t lock;
	struct slot slots[SLOTS];
	uint64_t clock; /* nanoseconds; both threads move it on */
	uint32_t stop;
	uint32_t random; /* of the vCPU's thread */
	const struct guest *alive;
	unsigned called, rearmed, at_once, refused_start, refused_cancel, waited, kicks;
} host = {.lock = PTHREAD_MUTEX_INITIALIZER};

static uint64_t clock_now(void)
{
	return __atomic_load_n(&host.clock, __ATOMIC_ACQUIRE);
}

static void pass_time(uint64_t nanoseconds)
{
	__atomic_fetch_add(&host.clock, nanoseconds, __ATOMIC_ACQ_REL);
}

static uint64_t time_ns(void *ctx)
{
	(void)ctx;
	return clock_now();
}

static uint64_t nanos_to_ticks(void *ctx, uint64_t nanos)
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
	__atomic_fetch_add(&host.kicks, 1, __ATOMIC_RELAXED);
}

/* The lock is not held. */
static uint64_t call(x86vcpu_timer_function function, void *arg)
{
	uint64_t next;

	if (arg != __atomic_load_n(&host.alive, __ATOMIC_ACQUIRE))
		ck_abort_msg("a timer's function was called after the end of its vCPU");
	next = function(arg, clock_now());
	__atomic_fetch_add(&host.called, 1, __ATOMIC_RELAXED);
	if (next)
		__atomic_fetch_add(&host.rearmed, 1, __ATOMIC_RELAXED);
	return next;
}

/* One that is due. */
static void expire_one(uint32_t *random)
{
	struct slot *slot = &host.slots[random_number(random) % SLOTS];
	uint64_t next;

	pthread_mutex_lock(&host.lock);
	if (slot->state != ARMED || slot->deadline > clock_now()) {
		pthread_mutex_unlock(&host.lock);
		return;
	}
	slot->state = RUNNING;
	pthread_mutex_unlock(&host.lock);
	if (random_number(random) % 4 == 0)
		sched_yield();
	next = call(slot->function, slot->arg);
	if (random_number(random) % 4 == 0)
		sched_yield();
	pthread_mutex_lock(&host.lock);
	slot->deadline = next;
	slot->state = next && !slot->cancelled ? ARMED : FREE;
	pthread_mutex_unlock(&host.lock);
}

static void *timer_thread(void *arg)
{
	uint32_t random = 77;

	(void)arg;
	for (unsigned i = 1; !load(&host.stop); i++) {
		expire_one(&random);
		if (i % 64 == 0) {
			pass_time(random_number(&random) % 2000);
			sched_yield();
		}
	}
	return NULL;
}

static int32_t timer_start(void *ctx, uint64_t deadline, x86vcpu_timer_function function, void *arg,
			   struct x86vcpu_timer *timer)
{
	int32_t status = X86VCPU_ERR_TIMER_UNAVAILABLE;

	(void)ctx;
	if (random_number(&host.random) % 16 == 0) {
		host.refused_start++;
		return status;
	}
	/* Due, and so called before this returns, here. */
	if (deadline <= clock_now() && random_number(&host.random) % 2) {
		host.at_once++;
		deadline = call(function, arg);
		*timer = (struct x86vcpu_timer){{SLOTS, 0}};
		if (!deadline)
			return X86VCPU_OK;
	}
	pthread_mutex_lock(&host.lock);
	for (uint64_t i = 0; i < SLOTS && status; i++) {
		struct slot *slot = &host.slots[i];

		/* A vCPU has one timer at a time. */
		ck_assert(slot->state != ARMED || slot->cancelled);
		if (slot->state != FREE)
			continue;
		*slot = (struct slot){ARMED, false, slot->generation + 1, deadline, function, arg};
		*timer = (struct x86vcpu_timer){{i, slot->generation}};
		status = X86VCPU_OK;
	}
	pthread_mutex_unlock(&host.lock);
	ck_assert_int_eq(status, X86VCPU_OK);
	return status;
}

static int32_t timer_cancel(void *ctx, const struct x86vcpu_timer *timer)
{
	struct slot *slot = &host.slots[timer->opaque[0] % SLOTS];

	(void)ctx;
	if (timer->opaque[0] == SLOTS)
		return X86VCPU_OK;
	if (random_number(&host.random) % 8 == 0) {
		host.refused_cancel++;
		return X86VCPU_ERR_TIMER_UNAVAILABLE;
	}
	for (;;) {
		bool running;

		pthread_mutex_lock(&host.lock);
		running = slot->generation == timer->opaque[1] && slot->state == RUNNING;
		if (slot->generation == timer->opaque[1])
			slot->cancelled = true;
		if (slot->generation == timer->opaque[1] && slot->state == ARMED)
			slot->state = FREE;
		pthread_mutex_unlock(&host.lock);
		if (!running)
			return X86VCPU_OK;
		host.waited++;
		sched_yield();
	}
}

static const struct x86vcpu_host_ops host_ops = {
	.time_ns = time_ns, .nanos_to_ticks = nanos_to_ticks, .notify = notify,
	.timer_start = timer_start, .timer_cancel = timer_cancel,
};

/* ---- The guest, on the heap -------------------------------------------------------------------------------------- */

static uint32_t tpr;
static struct x86vcpu_exit reported;

static uint64_t field(struct guest *g, enum guest_field which)
{
	(void)g;
	return which == G_RFLAGS ? RFLAGS_IF | RFLAGS_FIXED : 0;
}

static struct guest *create(void)
{
	struct guest *g = calloc(1, sizeof(*g));

	ck_assert_ptr_nonnull(g);
	g->host = &host_ops;
	g->read_field = field;
	g->exit = &reported;
	g->host_tsc = clock_now;
	g->lapic.tpr = &tpr;
	g->limits.has_apic = true;
	g->limits.physical_mask = (UINT64_C(1) << 40) - 1;
	__atomic_store_n(&host.alive, g, __ATOMIC_RELEASE);
	lapic_reset(g);
	g->lapic.svr = APIC_SVR_ENABLE | 0xff;
	return g;
}

/* As x86vcpu_destroy does, which answers RESOURCE_BUSY until then. */
static unsigned destroy(struct guest *g)
{
	unsigned busy = 0;

	for (; !lapic_timer_stop(g); busy++)
		sched_yield();
	__atomic_store_n(&host.alive, NULL, __ATOMIC_RELEASE);
	memset(g, 0xa5, sizeof(*g));
	free(g);
	return busy;
}

static unsigned take(struct guest *g)
{
	unsigned count = 0;

	if (attention(g) || lapic_timer_is_polled(&g->lapic.timer))
		while (next(g).valid) {
			lapic_eoi(g);
			count++;
		}
	return count;
}

static void act(struct guest *g, uint32_t *random)
{
	static const uint32_t modes[] = {0, 0x20000, 0x40000, 0x10000};
	const uint32_t value = random_number(random) % 3000;

	switch (random_number(random) % 8) {
	case 0:
		lapic_mmio_write(g, LAPIC_LVT_TIMER * 16, 4, VECTOR | modes[value % 4]);
		break;
	case 1:
	case 2:
		lapic_mmio_write(g, LAPIC_TIMER_INITIAL * 16, 4, value);
		break;
	case 3:
		lapic_mmio_write(g, LAPIC_TIMER_DIVIDE * 16, 4, value);
		break;
	case 4:
		lapic_wrmsr(g, 0x6e0, value % 8 ? clock_now() + value : 0);
		break;
	case 5:
		if (value % 4)
			lapic_mmio_read(g, LAPIC_TIMER_CURRENT * 16, 4);
		else
			lapic_timer_reset(g);
		break;
	case 6:
		pass_time(value);
		break;
	default:
		take(g);
	}
	if (value % 3 == 0)
		sched_yield();
}

/* What the guest starts now comes, whatever has become of its timers before. */
static void await_expiry(struct guest *g, unsigned mode)
{
	const double begin = seconds();

	lapic_mmio_write(g, LAPIC_TIMER_INITIAL * 16, 4, 0);
	lapic_mmio_write(g, LAPIC_LVT_TIMER * 16, 4, VECTOR | mode);
	take(g);
	if (mode == 0x40000)
		lapic_wrmsr(g, 0x6e0, clock_now() + 500);
	else
		lapic_mmio_write(g, LAPIC_TIMER_INITIAL * 16, 4, 500);
	while (!take(g)) {
		pass_time(10);
		sched_yield();
		if (seconds() - begin > LOST_SECONDS)
			ck_abort_msg("an expiry was lost, mode %x", mode);
	}
}

/* Each kind of race has come about, which takes longer on a loaded machine. */
static bool all_was_there(unsigned busy)
{
	return host.called && host.rearmed && host.at_once && host.refused_start && host.refused_cancel &&
	       host.waited && busy;
}

START_TEST(timers_expire_on_another_thread)
{
	static const unsigned modes[] = {0, 0x20000, 0x40000};
	const double begin = seconds();
	unsigned busy = 0, guests = 0;
	uint32_t random = 5;
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, timer_thread, NULL), 0);
	for (; (guests < GUESTS && seconds() - begin < RACE_SECONDS) ||
	       (!all_was_there(busy) && seconds() - begin < LOST_SECONDS); guests++) {
		struct guest *g = create();

		for (unsigned i = 0; i < ACTIONS; i++)
			act(g, &random);
		if (guests % 4 == 0)
			await_expiry(g, modes[guests / 4 % 3]);
		busy += destroy(g);
	}
	__atomic_store_n(&host.stop, 1, __ATOMIC_RELEASE);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	/* It was all there. */
	ck_assert_uint_gt(host.called, 0);
	ck_assert_uint_gt(host.rearmed, 0);
	ck_assert_uint_gt(host.at_once, 0);
	ck_assert_uint_gt(host.refused_start, 0);
	ck_assert_uint_gt(host.refused_cancel, 0);
	ck_assert_uint_gt(busy, 0);
	ck_assert_uint_gt(host.waited, 0);
	/* A call that comes before the deadline asks for another one, and kicks nothing. */
	ck_assert_uint_ge(host.kicks + host.rearmed, host.called);
}
END_TEST

Suite *timer_threads_suite(void)
{
	Suite *suite = suite_create("timer_threads");
	TCase *tc = add_tcase(suite, "races");

	tcase_set_timeout(tc, 2 * LOST_SECONDS);
	tcase_add_test(tc, timers_expire_on_another_thread);
	return suite;
}
