/* SPDX-License-Identifier: Apache-2.0 */
/* Interrupts and NMIs that other CPUs post while this one looks: none is lost. */
#include <pthread.h>
#include <sched.h>
#include <time.h>

#include "event_fixture.h"

Suite *event_threads_suite(void);

/* ---- In the middle of the look ------------------------------------------------------------------------ */

static int posted_in_the_middle;

static uint64_t post_and_read(struct guest *g, enum guest_field field)
{
	if (field == G_RFLAGS && posted_in_the_middle == 0)
		guest_post_nmi(g);
	else if (field == G_RFLAGS)
		guest_post_interrupt(g, (uint8_t)posted_in_the_middle, false);
	return ((struct guest_fixture *)g)->hardware[field];
}

/* RFLAGS are read for the last decision: what comes then has a window, or is looked for again. */
START_TEST(post_during_the_look_is_not_lost)
{
	struct guest *g = guest_in(FIXTURE_LONG);

	posted_in_the_middle = (int[]){0, 0x30, 0x50}[_i];
	g->read_field = post_and_read;
	guest_post_interrupt(g, 0x41, false);
	assert_next(g, GUEST_EVENT_EXTERNAL, 0x41);
	ck_assert(guest_event_pending(g));
	ck_assert_uint_eq(attention(g), 1);
	assert_windows(_i != 0, _i == 0);
	if (_i == 0)
		assert_next(g, GUEST_EVENT_NMI, 2);
	else
		assert_next(g, GUEST_EVENT_EXTERNAL, (unsigned)posted_in_the_middle);
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
	struct guest *g;
	uint32_t taken[256];
	uint32_t nmis;
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

static void increment(uint32_t *counter)
{
	__atomic_fetch_add(counter, 1, __ATOMIC_ACQ_REL);
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

			await(&s->taken[vector], poster->rounds);
			guest_post_interrupt(s->g, vector, poster->rounds & 1);
			/* Now and then alone, when the other CPU has nothing else to look for. */
			if (poster->rounds & 1)
				await(&s->taken[vector], poster->rounds + 1);
		}
	}
	for (unsigned i = 0; i < VECTORS; i++)
		await(&s->taken[poster->first + POSTERS * i], poster->rounds);
	increment(&s->finished);
	return NULL;
}

static void *post_nmis(void *arg)
{
	struct poster *poster = arg;
	struct stress *s = poster->stress;

	for (; poster->rounds < ROUNDS && !load(&s->stop); poster->rounds++) {
		guest_post_nmi(s->g);
		await(&s->nmis, poster->rounds + 1);
	}
	increment(&s->finished);
	return NULL;
}

/* As a backend does: looks when there is attention, and again when a window that was asked for has opened. */
static void enter(struct stress *s)
{
	struct guest_event event;

	if (!attention(s->g))
		return;
	event = next(s->g);
	if (window.interrupt || window.nmi)
		__atomic_store_n(&s->g->events.attention, 1, __ATOMIC_RELAXED);
	if (event.valid)
		increment(event.type == GUEST_EVENT_NMI ? &s->nmis : &s->taken[event.vector]);
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
		enter(s);
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
		ck_assert_uint_eq(s->taken[poster->first + POSTERS * i], poster->rounds);
}

/* One poster that has a CPU of its own, hopefully; then two of them and one of NMIs. */
START_TEST(posts_from_other_threads_are_taken)
{
	const unsigned count = _i ? POSTERS : 1;
	static struct stress s;
	static struct poster posters[POSTERS + 1];
	pthread_t threads[POSTERS + 1];

	s = (struct stress){.g = guest_in(FIXTURE_LONG), .threads = _i ? POSTERS + 1 : 1};
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
	ck_assert_uint_eq(s.nmis, _i ? posters[POSTERS].rounds : 0);
	assert_none(s.g);
	ck_assert(!guest_event_pending(s.g));
}
END_TEST

Suite *event_threads_suite(void)
{
	Suite *suite = suite_create("event_threads");
	TCase *tc = add_tcase(suite, "posting");

	tcase_set_timeout(tc, 2 * LOST_SECONDS);
	tcase_add_loop_test(tc, post_during_the_look_is_not_lost, 0, 3);
	tcase_add_loop_test(tc, posts_from_other_threads_are_taken, 0, 2);
	return suite;
}
