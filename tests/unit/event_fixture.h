/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of events share: a guest, and the question what goes in next. */
#ifndef EVENT_FIXTURE_H
#define EVENT_FIXTURE_H

#include <check.h>
#include <stdint.h>
#include <string.h>

#include "cpu/x86.h"
#include "emul/guest.h"
#include "guest_fixture.h"

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

static struct guest_window window; /* of the last look */

/* A guest that takes what comes: IF is 1, nothing blocks. */
static inline struct guest *guest_in(enum fixture_mode mode)
{
	struct guest_fixture *f = fixture_reset(mode);

	fixture_set(f, G_RFLAGS, f->hardware[G_RFLAGS] | RFLAGS_IF);
	return &f->g;
}

static inline struct guest *guest_with(uint64_t rflags, uint64_t blocking)
{
	struct guest *g = guest_in(FIXTURE_LONG);

	fixture_set((struct guest_fixture *)g, G_RFLAGS, rflags | RFLAGS_FIXED);
	fixture_set((struct guest_fixture *)g, G_BLOCKING, blocking);
	return g;
}

/* A guest with an enabled local APIC. */
static inline struct guest *guest_with_apic(void)
{
	struct guest *g = guest_in(FIXTURE_LONG);

	g->limits.has_apic = true;
	lapic_reset(g);
	g->lapic.svr = APIC_SVR_ENABLE | 0xff;
	return g;
}

/* What was in `window` before does not matter. */
static inline struct guest_event next(struct guest *g)
{
	memset(&window, 1, sizeof(window));
	return guest_next_event(g, &window);
}

static inline uint32_t attention(const struct guest *g)
{
	return __atomic_load_n(&g->events.attention, __ATOMIC_ACQUIRE);
}

static inline void assert_next(struct guest *g, unsigned type, unsigned vector)
{
	const struct guest_event event = next(g);

	ck_assert(event.valid);
	ck_assert_uint_eq(event.type, type);
	ck_assert_uint_eq(event.vector, vector);
}

static inline void assert_none(struct guest *g)
{
	ck_assert(!next(g).valid);
}

static inline void assert_windows(bool interrupt, bool nmi)
{
	ck_assert_int_eq(window.interrupt, interrupt);
	ck_assert_int_eq(window.nmi, nmi);
}

static inline struct guest_event event_of(unsigned type, unsigned vector)
{
	return (struct guest_event){.valid = true, .type = (uint8_t)type, .vector = (uint8_t)vector};
}

static inline TCase *add_tcase(Suite *suite, const char *name)
{
	TCase *tc = tcase_create(name);

	suite_add_tcase(suite, tc);
	return tc;
}

#endif
