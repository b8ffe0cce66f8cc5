/* SPDX-License-Identifier: Apache-2.0 */
/* Interrupts and NMIs that other CPUs post while this one looks: none is lost. */
#define _GNU_SOURCE /* REG_EFL */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <time.h>
#include <ucontext.h>

#include "event_fixture.h"
#include "x86vcpu/apic.h"

Suite *event_threads_suite(void);

/* ---- Both CPUs --------------------------------------------------------------------------------------- */

struct machine {
	struct guest *g;
	uint32_t taken[256];
	uint32_t nmis;
};

static void increment(uint32_t *counter)
{
	__atomic_fetch_add(counter, 1, __ATOMIC_ACQ_REL);
}

/* As a backend does: looks when there is attention, and again when a window that was asked for has opened. */
static bool enter(struct machine *m)
{
	struct guest_event event;

	if (!attention(m->g))
		return false;
	event = next(m->g);
	if (window.interrupt || window.nmi)
		__atomic_store_n(&m->g->events.attention, 1, __ATOMIC_RELAXED);
	if (event.valid)
		increment(event.type == GUEST_EVENT_NMI ? &m->nmis : &m->taken[event.vector]);
	return true;
}

/* ---- One stops at every instruction, and the other comes in between ---------------------------------------- */

#define TRAP_FLAG 0x100
#define MOST_STEPS 100000u

static struct {
	struct machine machine;
	void (*comes_between)(struct machine *m);
	unsigned steps; /* until it does */
} step;

static void on_step(int signal, siginfo_t *info, void *context)
{
	ucontext_t *interrupted = context;

	(void)signal;
	(void)info;
	if (--step.steps)
		return;
	interrupted->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
	step.comes_between(&step.machine);
}

/* False when `run` is over before instruction `steps`. */
static bool run_stepped(void (*run)(struct machine *m), unsigned steps)
{
	step.steps = steps;
	__builtin_ia32_writeeflags_u64(__builtin_ia32_readeflags_u64() | TRAP_FLAG);
	run(&step.machine);
	__builtin_ia32_writeeflags_u64(__builtin_ia32_readeflags_u64() & ~(unsigned long long)TRAP_FLAG);
	return step.steps == 0;
}

static void enter_once(struct machine *m)
{
	enter(m);
}

static void enter_while_there_is_attention(struct machine *m)
{
	for (int i = 0; i < 100 && enter(m); i++)
		;
}

static void post_41(struct machine *m)
{
	guest_post_interrupt(m->g, 0x41, false);
}

static void post_50(struct machine *m)
{
	guest_post_interrupt(m->g, 0x50, true);
}

static void post_nmi(struct machine *m)
{
	guest_post_nmi(m->g);
}

/* Of 0x45, which is pending in the same word, and of what is posted, each goes in once. */
static const struct {
	void (*run)(struct machine *m);
	void (*comes_between)(struct machine *m);
	uint32_t taken_41, taken_50, nmis;
	unsigned stride; /* a look is long, with the sanitizers' instructions, and a signal for each takes time */
} interleavings[] = {
	{post_41, enter_once, 1, 0, 0, 1},
	{post_50, enter_while_there_is_attention, 0, 1, 0, 1},
	{post_nmi, enter_while_there_is_attention, 0, 0, 1, 1},
	{post_41, post_50, 1, 1, 0, 1},
	{post_nmi, post_41, 1, 0, 1, 1},
	{enter_once, post_41, 1, 0, 0, 11},
	{enter_once, post_50, 0, 1, 0, 11},
	{enter_once, post_nmi, 0, 0, 1, 11},
};

START_TEST(post_and_look_in_any_order)
{
	const struct sigaction action = {.sa_sigaction = on_step, .sa_flags = SA_SIGINFO};
	struct guest *g = guest_in(FIXTURE_LONG);
	const struct machine *m = &step.machine;
	bool again = true;

	ck_assert_int_eq(sigaction(SIGTRAP, &action, NULL), 0);
	step.comes_between = interleavings[_i].comes_between;
	for (unsigned steps = 1; again; steps += interleavings[_i].stride) {
		g->events = (struct guest_events){.attention = 0};
		step.machine = (struct machine){.g = g};
		guest_post_interrupt(g, 0x45, false);
		again = run_stepped(interleavings[_i].run, steps);
		if (!again) /* the last time it comes afterwards */
			step.comes_between(&step.machine);
		enter_while_there_is_attention(&step.machine);
		if (m->taken[0x45] != 1 || m->taken[0x41] != interleavings[_i].taken_41 ||
		    m->taken[0x50] != interleavings[_i].taken_50 || m->nmis != interleavings[_i].nmis ||
		    guest_event_pending(g))
			ck_abort_msg("lost or doubled at instruction %u", steps);
		ck_assert_uint_lt(steps, MOST_STEPS);
	}
}
END_TEST

/* ---- Threads ------------------------------------------------------------------------------------------- */

#define ROUNDS 20000u
#define STRESS_SECONDS 5.0 /* where there are not enough CPUs for so many */
#define LOST_SECONDS 30.0 /* on a machine with other things to do, too */
#define POSTERS 2u /* at most */
#define VECTORS 5u /* of a poster, all in one word of the set */
#define FIRST_VECTOR 64u

/* A poster posts a vector of its own again only when it has been taken: every post must be taken. */
struct stress {
	struct machine machine;
	uint32_t stop;
	uint32_t threads, finished;
};

struct poster {
	struct stress *stress;
	unsigned first; /* vector; the others are POSTERS apart */
	uint32_t rounds;
};

static uint32_t load(const uint32_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_ACQUIRE);
}

/* Spins for a while, to run while the others do; there may be fewer CPUs than threads. */
static void await(const uint32_t *counter, uint32_t value)
{
	for (unsigned spins = 1; load(counter) != value; spins++)
		if (spins % 256 == 0)
			sched_yield();
}

static void *post_interrupts(void *arg)
{
	struct poster *poster = arg;
	struct stress *s = poster->stress;

	for (; poster->rounds < ROUNDS && !load(&s->stop); poster->rounds++) {
		for (unsigned i = 0; i < VECTORS; i++) {
			const uint8_t vector = (uint8_t)(poster->first + POSTERS * i);

			await(&s->machine.taken[vector], poster->rounds);
			guest_post_interrupt(s->machine.g, vector, poster->rounds & 1);
			/* Now and then alone, when the other CPU has nothing else to look for. */
			if (poster->rounds & 1)
				await(&s->machine.taken[vector], poster->rounds + 1);
		}
	}
	for (unsigned i = 0; i < VECTORS; i++)
		await(&s->machine.taken[poster->first + POSTERS * i], poster->rounds);
	increment(&s->finished);
	return NULL;
}

static void *post_nmis(void *arg)
{
	struct poster *poster = arg;
	struct stress *s = poster->stress;

	for (; poster->rounds < ROUNDS && !load(&s->stop); poster->rounds++) {
		guest_post_nmi(s->machine.g);
		await(&s->machine.nmis, poster->rounds + 1);
	}
	increment(&s->finished);
	return NULL;
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* A poster whose post is lost never finishes. */
static void take_all(struct stress *s)
{
	const double begin = seconds();

	for (unsigned spins = 1; load(&s->finished) < s->threads; spins++) {
		enter(&s->machine);
		if (spins % 256)
			continue;
		sched_yield();
		if (seconds() - begin > STRESS_SECONDS)
			__atomic_store_n(&s->stop, 1, __ATOMIC_RELEASE);
		if (seconds() - begin > LOST_SECONDS)
			ck_abort_msg("a post was lost");
	}
}

static void assert_all_taken(const struct stress *s, const struct poster *poster)
{
	ck_assert_uint_gt(poster->rounds, 0);
	for (unsigned i = 0; i < VECTORS; i++)
		ck_assert_uint_eq(s->machine.taken[poster->first + POSTERS * i], poster->rounds);
}

/* One poster that has a CPU of its own, hopefully; then two of them and one of NMIs. */
START_TEST(posts_from_other_threads_are_taken)
{
	const unsigned count = _i ? POSTERS : 1;
	static struct stress s;
	static struct poster posters[POSTERS + 1];
	pthread_t threads[POSTERS + 1];

	s = (struct stress){.machine.g = guest_in(FIXTURE_LONG), .threads = _i ? POSTERS + 1 : 1};
	for (unsigned i = 0; i < s.threads; i++) {
		posters[i] = (struct poster){.stress = &s, .first = FIRST_VECTOR + i};
		ck_assert_int_eq(pthread_create(&threads[i], NULL, i < count ? post_interrupts : post_nmis,
						&posters[i]), 0);
	}
	take_all(&s);
	for (unsigned i = 0; i < s.threads; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	for (unsigned i = 0; i < count; i++)
		assert_all_taken(&s, &posters[i]);
	ck_assert_uint_eq(s.machine.nmis, _i ? posters[POSTERS].rounds : 0);
	assert_none(s.machine.g);
	ck_assert(!guest_event_pending(s.machine.g));
}
END_TEST

/* ---- Kicks: a vCPU that runs, halts and leaves, and another CPU that posts ------------------------------------ */

#define KICKS 1000000u
#define KICK_SECONDS 20.0 /* fewer rounds where there are not enough CPUs */

static struct {
	struct guest *g;
	uint32_t taken, stop;
	uint32_t interrupted; /* an IPI is on its way to the CPU that has the vCPU */
	uint32_t woken;       /* the thread has been told to run the vCPU */
} kicked;

static void deliver_kick(void *ctx, void *machine_opaque, void *vcpu_opaque, uint32_t cpu)
{
	(void)ctx;
	(void)machine_opaque;
	(void)vcpu_opaque;
	__atomic_store_n(cpu == X86VCPU_NO_CPU ? &kicked.woken : &kicked.interrupted, 1, __ATOMIC_SEQ_CST);
}

/* In the guest nothing but an IPI brings the CPU back; halted, nothing but notify wakes the thread. */
static void wait_for(uint32_t *flag)
{
	const double begin = seconds();

	for (unsigned spins = 1; !__atomic_exchange_n(flag, 0, __ATOMIC_SEQ_CST); spins++) {
		if (load(&kicked.stop))
			return;
		if (spins % 256)
			continue;
		sched_yield();
		if (seconds() - begin > LOST_SECONDS)
			ck_abort_msg("a wake-up was lost after %u", load(&kicked.taken));
	}
}

/* One x86vcpu_run: looks until there is nothing, then is in the guest until an IPI, or halts. */
static void run_once(struct guest *g, bool halts)
{
	guest_publish_running(g, 0);
	while (attention(g)) {
		const struct guest_event event = next(g);

		if (event.valid)
			increment(&kicked.taken);
	}
	if (!halts)
		wait_for(&kicked.interrupted);
	guest_publish_outside(g);
	/* As x86vcpu_run does: no thread sleeps on news, and an IPI that came too late is the host's. */
	if (halts && !attention(g)) {
		__atomic_store_n(&kicked.interrupted, 0, __ATOMIC_SEQ_CST);
		if (!attention(g))
			wait_for(&kicked.woken);
	}
}

static void *post_and_wait(void *arg)
{
	const double begin = seconds();
	uint32_t *rounds = arg;

	for (; *rounds < KICKS && (*rounds % 1024 || seconds() - begin < KICK_SECONDS); ++*rounds) {
		guest_post_interrupt(kicked.g, 0x41, false);
		guest_kick(kicked.g);
		await(&kicked.taken, *rounds + 1);
	}
	__atomic_store_n(&kicked.stop, 1, __ATOMIC_RELEASE);
	return NULL;
}

START_TEST(no_wake_up_is_lost)
{
	static struct x86vcpu_host_ops host = {.notify = deliver_kick};
	struct guest *g = guest_in(FIXTURE_LONG);
	uint32_t rounds = 0;
	pthread_t poster;

	memset(&kicked, 0, sizeof(kicked));
	g->host = &host;
	kicked.g = g;
	ck_assert_int_eq(pthread_create(&poster, NULL, post_and_wait, &rounds), 0);
	for (unsigned i = 0; !load(&kicked.stop); i++)
		run_once(g, i & 1);
	ck_assert_int_eq(pthread_join(poster, NULL), 0);
	ck_assert_uint_gt(rounds, 0);
	ck_assert_uint_eq(kicked.taken, rounds);
}
END_TEST

Suite *event_threads_suite(void)
{
	Suite *suite = suite_create("event_threads");
	TCase *tc = add_tcase(suite, "posting");

	tcase_set_timeout(tc, 2 * LOST_SECONDS);
	tcase_add_loop_test(tc, post_and_look_in_any_order, 0, COUNT(interleavings));
	tcase_add_loop_test(tc, posts_from_other_threads_are_taken, 0, 2);
	tcase_add_test(tc, no_wake_up_is_lost);
	return suite;
}
