/* SPDX-License-Identifier: Apache-2.0 */
/* Events on their way into the guest (SDM 6.9, 6.15, 25.4.2, 27.2.1.3, 27.6). */
#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <string.h>

#include "cpu/x86.h"
#include "emul/guest.h"
#include "guest_fixture.h"

Suite *event_suite(void);

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

static struct guest_window window;

/* A guest that takes what comes: IF is 1, nothing blocks. */
static struct guest *guest_in(enum fixture_mode mode)
{
	struct guest_fixture *f = fixture_reset(mode);

	fixture_set(f, G_RFLAGS, f->hardware[G_RFLAGS] | RFLAGS_IF);
	return &f->g;
}

static struct guest *guest_with(uint64_t rflags, uint64_t blocking)
{
	struct guest *g = guest_in(FIXTURE_LONG);

	fixture_set((struct guest_fixture *)g, G_RFLAGS, rflags | RFLAGS_FIXED);
	fixture_set((struct guest_fixture *)g, G_BLOCKING, blocking);
	return g;
}

/* What was in `window` before does not matter. */
static struct guest_event next(struct guest *g)
{
	memset(&window, 1, sizeof(window));
	return guest_next_event(g, &window);
}

static uint32_t attention(const struct guest *g)
{
	return __atomic_load_n(&g->events.attention, __ATOMIC_ACQUIRE);
}

static void assert_next(struct guest *g, unsigned type, unsigned vector)
{
	const struct guest_event event = next(g);

	ck_assert(event.valid);
	ck_assert_uint_eq(event.type, type);
	ck_assert_uint_eq(event.vector, vector);
}

static void assert_none(struct guest *g)
{
	ck_assert(!next(g).valid);
}

static void assert_windows(bool interrupt, bool nmi)
{
	ck_assert_int_eq(window.interrupt, interrupt);
	ck_assert_int_eq(window.nmi, nmi);
}

static struct guest_event event_of(unsigned type, unsigned vector)
{
	return (struct guest_event){.valid = true, .type = (uint8_t)type, .vector = (uint8_t)vector};
}

/* ---- Posting ------------------------------------------------------------------------------------------- */

START_TEST(nothing_is_pending_at_first)
{
	struct guest *g = guest_in(FIXTURE_LONG);

	ck_assert(!guest_event_pending(g));
	ck_assert_int_eq(guest_highest_interrupt(g), -1);
	assert_none(g);
	assert_windows(false, false);
	ck_assert_uint_eq(attention(g), 0);
}
END_TEST

/* An exception's vector makes no exception of it: a local APIC sends 16 to 255, an 8259A any (SDM 6.2). */
START_TEST(interrupt_is_taken_once)
{
	struct guest *g = guest_in(FIXTURE_LONG);
	struct guest_event event;

	guest_post_interrupt(g, (uint8_t)_i, false);
	ck_assert(guest_event_pending(g));
	ck_assert_int_eq(guest_highest_interrupt(g), _i);
	ck_assert_uint_eq(attention(g), 1);
	event = next(g);
	ck_assert(event.valid && !event.has_error_code);
	ck_assert_uint_eq(event.type, GUEST_EVENT_EXTERNAL);
	ck_assert_uint_eq(event.vector, (unsigned)_i);
	assert_windows(false, false);
	ck_assert(!guest_event_pending(g));
	ck_assert_int_eq(guest_highest_interrupt(g), -1);
	assert_none(g);
}
END_TEST

START_TEST(every_vector_is_its_own)
{
	struct guest *g = guest_in(FIXTURE_LONG);

	for (unsigned vector = 1; vector < 256; vector++)
		guest_post_interrupt(g, (uint8_t)vector, vector & 1);
	for (unsigned vector = 255; vector >= 1; vector--) {
		const struct guest_event event = next(g);

		if (!event.valid || event.type != GUEST_EVENT_EXTERNAL || event.vector != vector ||
		    window.interrupt != (vector > 1))
			ck_abort_msg("vector %u", vector);
	}
	assert_none(g);
}
END_TEST

START_TEST(highest_vector_goes_first)
{
	static const uint8_t posted[] = {64, 16, 63, 255, 31, 192, 127, 32, 128, 191};
	static const uint8_t taken[] = {255, 192, 191, 128, 127, 64, 63, 32, 31, 16};
	struct guest *g = guest_in(FIXTURE_LONG);

	for (int i = 0; i < COUNT(posted); i++)
		guest_post_interrupt(g, posted[i], false);
	for (int i = 0; i < COUNT(taken); i++) {
		ck_assert_int_eq(guest_highest_interrupt(g), taken[i]);
		assert_next(g, GUEST_EVENT_EXTERNAL, taken[i]);
		assert_windows(i + 1 < COUNT(taken), false);
	}
	assert_none(g);
}
END_TEST

START_TEST(vector_is_pending_once)
{
	struct guest *g = guest_in(FIXTURE_LONG);

	guest_post_interrupt(g, 0x41, false);
	guest_post_interrupt(g, 0x41, true);
	guest_post_interrupt(g, 0x41, false);
	assert_next(g, GUEST_EVENT_EXTERNAL, 0x41);
	assert_windows(false, false);
	assert_none(g);
	guest_post_interrupt(g, 0x41, false);
	assert_next(g, GUEST_EVENT_EXTERNAL, 0x41);
}
END_TEST

START_TEST(nmi_is_pending_once)
{
	struct guest *g = guest_in(FIXTURE_LONG);

	guest_post_nmi(g);
	guest_post_nmi(g);
	ck_assert(guest_event_pending(g));
	ck_assert_int_eq(guest_highest_interrupt(g), -1);
	assert_next(g, GUEST_EVENT_NMI, 2);
	assert_windows(false, false);
	assert_none(g);
	guest_post_nmi(g);
	assert_next(g, GUEST_EVENT_NMI, 2);
}
END_TEST

/* SDM 11.8.4: TMR has the mode of the last message, and keeps it until the next. */
START_TEST(trigger_mode_is_that_of_the_last_post)
{
	struct guest *g = guest_in(FIXTURE_LONG);

	guest_post_interrupt(g, 0x42, true);
	guest_post_interrupt(g, 0x43, false);
	ck_assert_uint_eq(g->events.level[1], 1u << 2);
	assert_next(g, GUEST_EVENT_EXTERNAL, 0x43);
	assert_next(g, GUEST_EVENT_EXTERNAL, 0x42);
	ck_assert_uint_eq(g->events.level[1], 1u << 2);
	guest_post_interrupt(g, 0x42, false);
	ck_assert_uint_eq(g->events.level[1], 0);
	ck_assert_uint_eq(g->events.level[0] | g->events.level[2] | g->events.level[3], 0);
}
END_TEST

START_TEST(whatever_comes_raises_attention)
{
	struct guest *g = guest_in(FIXTURE_LONG);

	switch (_i) {
	case 0:
		guest_post_interrupt(g, 0x41, false);
		break;
	case 1:
		guest_post_nmi(g);
		break;
	case 2:
		guest_raise(g, VECTOR_UD, false, 0);
		break;
	case 3:
		guest_raise_page_fault(g, 0, 0);
		break;
	default:
		guest_reinject(g, event_of(GUEST_EVENT_EXTERNAL, 0x41));
	}
	ck_assert_uint_eq(attention(g), 1);
	ck_assert(guest_event_pending(g));
	ck_assert(next(g).valid);
	ck_assert_uint_eq(attention(g), 0);
	ck_assert(!guest_event_pending(g));
}
END_TEST

/* ---- Posting while the other CPU looks --------------------------------------------------------------- */

static int posted_in_the_middle;

static uint64_t post_and_read(struct guest *g, enum guest_field field)
{
	if (field == G_RFLAGS && posted_in_the_middle == 0)
		guest_post_nmi(g);
	else if (field == G_RFLAGS)
		guest_post_interrupt(g, (uint8_t)posted_in_the_middle, false);
	return ((struct guest_fixture *)g)->hardware[field];
}

/* RFLAGS are read for the last decision. What comes after the look has begun is taken, or asked a window for, or looked for again. */
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

/* ---- Priorities ---------------------------------------------------------------------------------------- */

enum source { REINJECT, EXCEPTION, NMI, INTERRUPT, SOURCES };

static const struct {
	unsigned type, vector;
} of_source[] = {
	[REINJECT] = {GUEST_EVENT_SOFTWARE_INTERRUPT, 0x80},
	[EXCEPTION] = {GUEST_EVENT_EXCEPTION, VECTOR_UD},
	[NMI] = {GUEST_EVENT_NMI, 2},
	[INTERRUPT] = {GUEST_EVENT_EXTERNAL, 0xff},
};

/* Least first, and the exception before the event that goes in again: a fault in its delivery is another case. */
static struct guest *guest_with_sources(unsigned sources)
{
	struct guest *g = guest_in(FIXTURE_LONG);

	if (sources & 1u << INTERRUPT)
		guest_post_interrupt(g, 0xff, false);
	if (sources & 1u << NMI)
		guest_post_nmi(g);
	if (sources & 1u << EXCEPTION)
		guest_raise(g, VECTOR_UD, false, 0);
	if (sources & 1u << REINJECT)
		guest_reinject(g, event_of(GUEST_EVENT_SOFTWARE_INTERRUPT, 0x80));
	return g;
}

/* One event per entry; what stays behind has a window, or is looked for again. */
START_TEST(events_go_in_by_priority)
{
	unsigned sources = (unsigned)_i;
	struct guest *g = guest_with_sources(sources);

	for (unsigned source = REINJECT; source < SOURCES; source++) {
		if (!(sources & 1u << source))
			continue;
		sources &= ~(1u << source);
		assert_next(g, of_source[source].type, of_source[source].vector);
		assert_windows(sources & 1u << INTERRUPT, sources & 1u << NMI);
		ck_assert_uint_eq(attention(g), sources >> EXCEPTION & 1);
		ck_assert_int_eq(guest_event_pending(g), sources != 0);
	}
	assert_none(g);
	assert_windows(false, false);
}
END_TEST

/* ---- Blocking (SDM table 25-3) ------------------------------------------------------------------------- */

#define STI GUEST_BLOCKING_STI
#define MOV_SS GUEST_BLOCKING_MOV_SS
#define BY_NMI GUEST_BLOCKING_NMI

/* An NMI waits for the end of blocking by STI, too: VM entry may refuse it (SDM 27.3.1.5). */
static const struct block {
	uint64_t rflags, blocking;
	bool interrupt, nmi; /* may be taken */
} blocks[] = {
	{RFLAGS_IF, 0, true, true},
	{RFLAGS_IF, STI, false, false},
	{RFLAGS_IF, MOV_SS, false, false},
	{RFLAGS_IF, BY_NMI, true, false},
	{RFLAGS_IF, STI | BY_NMI, false, false},
	{RFLAGS_IF, MOV_SS | BY_NMI, false, false},
	{0, 0, false, true},
	{0, MOV_SS, false, false},
	{0, BY_NMI, false, false},
	{0, MOV_SS | BY_NMI, false, false},
	/* Only IF counts. */
	{RFLAGS_VIF | RFLAGS_TF | RFLAGS_IOPL, 0, false, true},
	{RFLAGS_DEFINED & ~(RFLAGS_IF | RFLAGS_VM), 0, false, true},
	{RFLAGS_IF, 4, true, true}, /* blocking by SMI */
};

static struct guest *blocked(int i)
{
	return guest_with(blocks[i].rflags, blocks[i].blocking);
}

START_TEST(blocked_interrupt_waits_for_its_window)
{
	struct guest *g = blocked(_i);

	guest_post_interrupt(g, 0x41, false);
	ck_assert_int_eq(next(g).valid, blocks[_i].interrupt);
	assert_windows(!blocks[_i].interrupt, false);
	ck_assert_int_eq(guest_event_pending(g), !blocks[_i].interrupt);
}
END_TEST

START_TEST(blocked_nmi_waits_for_its_window)
{
	struct guest *g = blocked(_i);

	guest_post_nmi(g);
	ck_assert_int_eq(next(g).valid, blocks[_i].nmi);
	assert_windows(false, !blocks[_i].nmi);
	ck_assert_int_eq(guest_event_pending(g), !blocks[_i].nmi);
}
END_TEST

START_TEST(nmi_and_interrupt_wait_for_what_blocks_each)
{
	const bool interrupt = blocks[_i].interrupt, nmi = blocks[_i].nmi;
	struct guest *g = blocked(_i);

	guest_post_interrupt(g, 0x41, false);
	guest_post_nmi(g);
	if (nmi)
		assert_next(g, GUEST_EVENT_NMI, 2);
	else if (interrupt)
		assert_next(g, GUEST_EVENT_EXTERNAL, 0x41);
	else
		assert_none(g);
	assert_windows(nmi || !interrupt, !nmi);
}
END_TEST

START_TEST(exceptions_are_never_blocked)
{
	struct guest *g = blocked(_i);

	guest_raise(g, VECTOR_GP, true, 8);
	assert_next(g, GUEST_EVENT_EXCEPTION, VECTOR_GP);
	guest_reinject(g, event_of(GUEST_EVENT_SOFTWARE_INTERRUPT, 0x80));
	assert_next(g, GUEST_EVENT_SOFTWARE_INTERRUPT, 0x80);
}
END_TEST

START_TEST(interrupt_goes_in_when_the_window_opens)
{
	struct guest *g = guest_with(0, 0);
	struct guest_fixture *f = (struct guest_fixture *)g;

	guest_post_interrupt(g, 0x41, false);
	assert_none(g);
	ck_assert_uint_eq(attention(g), 0);
	fixture_set(f, G_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
	assert_next(g, GUEST_EVENT_EXTERNAL, 0x41);
	assert_windows(false, false);
}
END_TEST

/* ---- A debug trap of the instruction before (SDM tables 6-2 and 25-4, 27.7.3) -------------------------------- */

static const struct {
	uint64_t pending;
	bool trap;
} debug[] = {
	{0, false},
	{1u << 14, true}, /* BS */
	{1u << 12, true}, /* enabled breakpoint */
	{1u << 12 | 1u << 14 | 0xf, true},
	{0xf, false}, /* met, but not enabled */
};

static struct guest *debugged(int i)
{
	struct guest *g = guest_in(FIXTURE_LONG);

	fixture_set((struct guest_fixture *)g, G_PENDING_DB, debug[i].pending);
	return g;
}

START_TEST(debug_trap_comes_before_nmi_and_interrupt)
{
	struct guest *g = debugged(_i);

	guest_post_nmi(g);
	guest_post_interrupt(g, 0x41, false);
	ck_assert_int_eq(next(g).valid, !debug[_i].trap);
	assert_windows(true, debug[_i].trap);
	fixture_set((struct guest_fixture *)g, G_PENDING_DB, 0);
	if (debug[_i].trap)
		assert_next(g, GUEST_EVENT_NMI, 2);
	assert_next(g, GUEST_EVENT_EXTERNAL, 0x41);
	assert_none(g);
}
END_TEST

START_TEST(debug_trap_lets_exceptions_pass)
{
	struct guest *g = debugged(_i);

	guest_raise(g, VECTOR_GP, true, 0);
	assert_next(g, GUEST_EVENT_EXCEPTION, VECTOR_GP);
	guest_reinject(g, event_of(GUEST_EVENT_EXTERNAL, 0x41));
	assert_next(g, GUEST_EVENT_EXTERNAL, 0x41);
}
END_TEST

START_TEST(debug_trap_wakes)
{
	ck_assert_int_eq(guest_wakes(debugged(_i)), debug[_i].trap);
}
END_TEST

/* ---- Halted (SDM Vol. 2, HLT) -------------------------------------------------------------------------- */

START_TEST(nothing_wakes_nobody)
{
	ck_assert(!guest_wakes(guest_with(RFLAGS_IF, 0)));
}
END_TEST

START_TEST(interrupt_wakes_who_takes_it)
{
	struct guest *g = blocked(_i);

	guest_post_interrupt(g, 0x41, false);
	ck_assert_int_eq(guest_wakes(g), blocks[_i].interrupt);
	ck_assert_int_eq(guest_highest_interrupt(g), 0x41);
}
END_TEST

START_TEST(nmi_wakes_who_takes_it)
{
	struct guest *g = blocked(_i);

	guest_post_nmi(g);
	ck_assert_int_eq(guest_wakes(g), blocks[_i].nmi);
	ck_assert(guest_event_pending(g));
}
END_TEST

START_TEST(exceptions_wake)
{
	struct guest *g = blocked(_i);

	guest_raise(g, VECTOR_DB, false, 0);
	ck_assert(guest_wakes(g));
	g = blocked(_i);
	guest_reinject(g, event_of(GUEST_EVENT_EXTERNAL, 0x41));
	ck_assert(guest_wakes(g));
}
END_TEST

/* ---- Exceptions ---------------------------------------------------------------------------------------- */

static const enum fixture_mode protected_modes[] = {FIXTURE_VIRTUAL_8086, FIXTURE_PROTECTED16, FIXTURE_PROTECTED32,
						    FIXTURE_COMPATIBILITY, FIXTURE_LONG};

START_TEST(exception_carries_its_code)
{
	struct guest *g = guest_in(protected_modes[_i]);
	struct guest_event event;

	guest_raise(g, VECTOR_GP, true, 0x1234);
	event = next(g);
	ck_assert(event.valid && event.has_error_code);
	ck_assert_uint_eq(event.type, GUEST_EVENT_EXCEPTION);
	ck_assert_uint_eq(event.vector, VECTOR_GP);
	ck_assert_uint_eq(event.error_code, 0x1234);
	guest_raise(g, VECTOR_UD, false, 0);
	event = next(g);
	ck_assert(event.valid && !event.has_error_code);
	ck_assert_uint_eq(event.vector, VECTOR_UD);
	assert_none(g);
}
END_TEST

/* SDM 20.1.4: in real mode nothing pushes an error code, and VM entry refuses one (SDM 27.2.1.3). */
START_TEST(real_mode_has_no_error_codes)
{
	struct guest *g = guest_in(FIXTURE_REAL);
	struct guest_event event = event_of(GUEST_EVENT_EXCEPTION, VECTOR_SS);

	if (_i == 0) {
		guest_raise(g, VECTOR_SS, true, 8);
	} else {
		event.has_error_code = true;
		guest_reinject(g, event);
	}
	event = next(g);
	ck_assert(event.valid && !event.has_error_code);
	ck_assert_uint_eq(event.type, GUEST_EVENT_EXCEPTION);
	ck_assert_uint_eq(event.vector, VECTOR_SS);
}
END_TEST

START_TEST(page_fault_sets_cr2)
{
	struct guest *g = guest_in(FIXTURE_LONG);
	struct guest_event event;

	guest_raise_page_fault(g, UINT64_C(0xffff800012345678), PF_WRITE | PF_USER);
	ck_assert_uint_eq(g->cr2, UINT64_C(0xffff800012345678));
	event = next(g);
	ck_assert(event.valid && event.has_error_code);
	ck_assert_uint_eq(event.vector, VECTOR_PF);
	ck_assert_uint_eq(event.error_code, PF_WRITE | PF_USER);
}
END_TEST

START_TEST(reinjected_event_stays_as_it_was)
{
	const struct guest_event events[] = {
		{.valid = true, .type = GUEST_EVENT_EXTERNAL, .vector = 0x21},
		{.valid = true, .type = GUEST_EVENT_NMI, .vector = 2},
		{.valid = true, .type = GUEST_EVENT_EXCEPTION, .vector = 14, .has_error_code = true, .error_code = 7},
		{.valid = true, .type = GUEST_EVENT_SOFTWARE_INTERRUPT, .vector = 0x80, .length = 2},
		{.valid = true, .type = GUEST_EVENT_PRIVILEGED_SOFTWARE_EXCEPTION, .vector = 1, .length = 1},
		{.valid = true, .type = GUEST_EVENT_SOFTWARE_EXCEPTION, .vector = 3, .length = 1},
	};
	struct guest *g = guest_in(FIXTURE_LONG);
	struct guest_event event;

	guest_reinject(g, events[_i]);
	event = next(g);
	ck_assert(event.valid);
	ck_assert_uint_eq(event.type, events[_i].type);
	ck_assert_uint_eq(event.vector, events[_i].vector);
	ck_assert_int_eq(event.has_error_code, events[_i].has_error_code);
	ck_assert_uint_eq(event.error_code, events[_i].error_code);
	ck_assert_uint_eq(event.length, events[_i].length);
	assert_none(g);
}
END_TEST

/* ---- One exception during another (SDM tables 6-4 and 6-5) ---------------------------------------------- */

enum class { BENIGN, CONTRIBUTORY, PAGE_FAULT, DOUBLE_FAULT, CLASSES };
enum outcome { SERIAL, BECOMES_DF, SHUTDOWN };

static const enum class classes[32] = {
	[VECTOR_DE] = CONTRIBUTORY, [VECTOR_TS] = CONTRIBUTORY, [VECTOR_NP] = CONTRIBUTORY,
	[VECTOR_SS] = CONTRIBUTORY, [VECTOR_GP] = CONTRIBUTORY, [VECTOR_CP] = CONTRIBUTORY,
	[VECTOR_PF] = PAGE_FAULT, [VECTOR_VE] = PAGE_FAULT,
	[VECTOR_DF] = DOUBLE_FAULT,
};

static const enum outcome outcomes[CLASSES][3] = {
	[BENIGN] = {SERIAL, SERIAL, SERIAL},
	[CONTRIBUTORY] = {SERIAL, BECOMES_DF, SERIAL},
	[PAGE_FAULT] = {SERIAL, BECOMES_DF, BECOMES_DF},
	[DOUBLE_FAULT] = {SERIAL, SHUTDOWN, SHUTDOWN},
};

/* SDM table 6-1: who pushes an error code. */
static bool pushes_code(unsigned vector)
{
	return vector == VECTOR_DF || (vector >= VECTOR_TS && vector <= VECTOR_PF) || vector == VECTOR_AC ||
	       vector == VECTOR_CP;
}

static void raise(struct guest *g, unsigned vector, uint32_t error_code)
{
	guest_raise(g, (uint8_t)vector, pushes_code(vector), pushes_code(vector) ? error_code : 0);
}

static void assert_outcome(struct guest *g, enum outcome outcome, unsigned second)
{
	const unsigned vector = outcome == BECOMES_DF ? VECTOR_DF : second;
	struct guest_event event;

	if (outcome == SHUTDOWN) {
		ck_assert(g->events.shutdown);
		ck_assert(!guest_event_pending(g));
		return;
	}
	ck_assert(!g->events.shutdown);
	event = next(g);
	ck_assert(event.valid);
	ck_assert_uint_eq(event.type, GUEST_EVENT_EXCEPTION);
	ck_assert_uint_eq(event.vector, vector);
	ck_assert_int_eq(event.has_error_code, pushes_code(vector));
	ck_assert_uint_eq(event.error_code, outcome == SERIAL && pushes_code(vector) ? 0x55 : 0);
	assert_none(g);
}

/* All second exceptions but the double fault, which no delivery raises; the first is in two places. */
START_TEST(second_exception)
{
	struct guest_event first = event_of(GUEST_EVENT_EXCEPTION, (unsigned)_i);

	for (unsigned second = 0; second < 32; second++) {
		struct guest *g = guest_in(FIXTURE_LONG);
		enum outcome outcome;

		if (second == VECTOR_DF)
			continue;
		outcome = outcomes[classes[_i]][classes[second]];
		raise(g, (unsigned)_i, 0xaa);
		raise(g, second, 0x55);
		assert_outcome(g, outcome, second);

		g = guest_in(FIXTURE_LONG);
		guest_reinject(g, first);
		raise(g, second, 0x55);
		assert_outcome(g, outcome, second);
	}
}
END_TEST

/* Interrupts of any kind are benign, whatever their vector. */
START_TEST(second_exception_during_an_interrupt)
{
	static const uint8_t types[] = {GUEST_EVENT_EXTERNAL, GUEST_EVENT_SOFTWARE_INTERRUPT,
					GUEST_EVENT_PRIVILEGED_SOFTWARE_EXCEPTION, GUEST_EVENT_SOFTWARE_EXCEPTION};
	static const uint8_t vectors[] = {VECTOR_DE, VECTOR_DF, VECTOR_GP, VECTOR_PF, VECTOR_VE, VECTOR_CP, 0xff};

	for (int i = 0; i < COUNT(vectors); i++) {
		struct guest *g = guest_with(0, 0);

		guest_reinject(g, event_of(types[_i], vectors[i]));
		guest_raise(g, VECTOR_GP, true, 0x55);
		assert_outcome(g, SERIAL, VECTOR_GP);
		g = guest_with(0, 0);
		guest_reinject(g, event_of(types[_i], vectors[i]));
		guest_raise_page_fault(g, 0, 0x55);
		assert_outcome(g, SERIAL, VECTOR_PF);
	}
}
END_TEST

START_TEST(double_fault_is_an_exception_like_others)
{
	struct guest *g = guest_in(FIXTURE_REAL);
	struct guest_event event;

	guest_raise(g, VECTOR_GP, true, 1);
	guest_raise(g, VECTOR_NP, true, 2);
	event = next(g);
	ck_assert(event.valid && !event.has_error_code);
	ck_assert_uint_eq(event.vector, VECTOR_DF);
}
END_TEST

/* What has been delivered is no first exception any more. */
START_TEST(exceptions_one_after_the_other)
{
	struct guest *g = guest_in(FIXTURE_LONG);

	for (int i = 0; i < 3; i++) {
		raise(g, VECTOR_GP, 0x55);
		assert_outcome(g, SERIAL, VECTOR_GP);
		guest_reinject(g, event_of(GUEST_EVENT_EXCEPTION, VECTOR_GP));
		assert_next(g, GUEST_EVENT_EXCEPTION, VECTOR_GP);
	}
	guest_reinject(g, event_of(GUEST_EVENT_EXCEPTION, VECTOR_DF));
	assert_next(g, GUEST_EVENT_EXCEPTION, VECTOR_DF);
	raise(g, VECTOR_GP, 0x55);
	assert_outcome(g, SERIAL, VECTOR_GP);
}
END_TEST

START_TEST(third_fault_shuts_down)
{
	struct guest *g = guest_in(FIXTURE_LONG);

	guest_raise_page_fault(g, 0x1000, 0);
	guest_raise_page_fault(g, 0x2000, 0);
	ck_assert(!g->events.shutdown);
	guest_reinject(g, next(g));
	guest_raise_page_fault(g, 0x3000, 0);
	ck_assert(g->events.shutdown);
	ck_assert_uint_eq(g->cr2, 0x3000);
	ck_assert(!guest_event_pending(g));
	assert_none(g);
}
END_TEST

/* The benign one of a series changes nothing about what comes after it. */
START_TEST(benign_exception_takes_the_place_of_the_first)
{
	struct guest *g = guest_in(FIXTURE_LONG);

	guest_raise(g, VECTOR_GP, true, 0);
	guest_raise(g, VECTOR_DB, false, 0);
	guest_raise(g, VECTOR_GP, true, 0x55);
	assert_outcome(g, SERIAL, VECTOR_GP);
}
END_TEST

/* ---- What was cut short by an exception comes back ------------------------------------------------------ */

START_TEST(interrupt_comes_back)
{
	struct guest *g = guest_in(FIXTURE_LONG);

	guest_post_interrupt(g, 0x41, true);
	guest_reinject(g, next(g));
	guest_raise_page_fault(g, 0x1000, 0);
	assert_next(g, GUEST_EVENT_EXCEPTION, VECTOR_PF);
	assert_windows(true, false);
	assert_next(g, GUEST_EVENT_EXTERNAL, 0x41);
	ck_assert_uint_eq(g->events.level[1], 1u << 1);
	assert_none(g);
}
END_TEST

START_TEST(nmi_comes_back)
{
	struct guest *g = guest_in(FIXTURE_LONG);

	guest_post_nmi(g);
	guest_reinject(g, next(g));
	guest_raise(g, VECTOR_NP, true, 0x13);
	assert_next(g, GUEST_EVENT_EXCEPTION, VECTOR_NP);
	assert_windows(false, true);
	assert_next(g, GUEST_EVENT_NMI, 2);
	assert_none(g);
}
END_TEST

/* Posted once more meanwhile: still one. */
START_TEST(interrupt_that_comes_back_is_pending_once)
{
	struct guest *g = guest_in(FIXTURE_LONG);

	guest_post_interrupt(g, 0x41, false);
	guest_reinject(g, next(g));
	guest_post_interrupt(g, 0x41, false);
	guest_raise(g, VECTOR_GP, true, 0);
	assert_next(g, GUEST_EVENT_EXCEPTION, VECTOR_GP);
	assert_next(g, GUEST_EVENT_EXTERNAL, 0x41);
	assert_none(g);
}
END_TEST

/* The instruction at RIP raises these again. */
START_TEST(instructions_event_does_not_come_back)
{
	static const uint8_t types[] = {GUEST_EVENT_EXCEPTION, GUEST_EVENT_SOFTWARE_INTERRUPT,
					GUEST_EVENT_PRIVILEGED_SOFTWARE_EXCEPTION, GUEST_EVENT_SOFTWARE_EXCEPTION};
	struct guest *g = guest_in(FIXTURE_LONG);

	guest_reinject(g, event_of(types[_i], VECTOR_BP));
	guest_raise(g, VECTOR_GP, true, 0x55);
	assert_outcome(g, SERIAL, VECTOR_GP);
	ck_assert(!guest_event_pending(g));
}
END_TEST

/* An exception was waiting already, then an interrupt's delivery was cut short, then came another exception. */
START_TEST(interrupt_comes_back_from_behind_two_exceptions)
{
	struct guest *g = guest_in(FIXTURE_LONG);

	guest_raise(g, VECTOR_GP, true, 0);
	guest_reinject(g, event_of(_i ? GUEST_EVENT_NMI : GUEST_EVENT_EXTERNAL, _i ? 2 : 0x41));
	guest_raise(g, VECTOR_GP, true, 0);
	assert_next(g, GUEST_EVENT_EXCEPTION, VECTOR_DF);
	assert_windows(!_i, _i);
	if (_i)
		assert_next(g, GUEST_EVENT_NMI, 2);
	else
		assert_next(g, GUEST_EVENT_EXTERNAL, 0x41);
	assert_none(g);
}
END_TEST

START_TEST(shutdown_leaves_interrupts_pending)
{
	struct guest *g = guest_in(FIXTURE_LONG);

	guest_post_interrupt(g, 0x41, false);
	guest_reinject(g, event_of(GUEST_EVENT_EXCEPTION, VECTOR_DF));
	guest_raise(g, VECTOR_SS, true, 0);
	ck_assert(g->events.shutdown);
	ck_assert(guest_event_pending(g));
	ck_assert_int_eq(guest_highest_interrupt(g), 0x41);
}
END_TEST

/* ---- Threads ------------------------------------------------------------------------------------------- */

#define ROUNDS 20000u
#define POSTERS 2u
#define VECTORS 5u /* of a poster */

/* A poster posts a vector of its own again only when it has been taken: every post must be taken. */
struct stress {
	struct guest *g;
	uint32_t taken[256];
	uint32_t nmis;
};

struct poster {
	struct stress *stress;
	unsigned first; /* and every POSTERS-th vector after it: both write the same words */
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
	static const uint8_t vectors[VECTORS] = {16, 18, 20, 200, 254};
	const struct poster *poster = arg;
	struct stress *s = poster->stress;

	for (uint32_t round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < VECTORS; i++) {
			const uint8_t vector = (uint8_t)(vectors[i] + poster->first);

			await(&s->taken[vector], round);
			guest_post_interrupt(s->g, vector, round & 1);
			/* Now and then alone, when the other CPU has nothing else to look for. */
			if (round & 1)
				await(&s->taken[vector], round + 1);
		}
	}
	return NULL;
}

static void *post_nmis(void *arg)
{
	struct stress *s = arg;

	for (uint32_t round = 0; round < ROUNDS; round++) {
		guest_post_nmi(s->g);
		await(&s->nmis, round + 1);
	}
	return NULL;
}

/* As a backend does: looks when there is attention, and again when a window that was asked for has opened. */
static bool enter(struct stress *s)
{
	struct guest_event event;

	if (!attention(s->g))
		return false;
	event = next(s->g);
	if (window.interrupt || window.nmi)
		__atomic_store_n(&s->g->events.attention, 1, __ATOMIC_RELAXED);
	if (event.valid)
		__atomic_fetch_add(event.type == GUEST_EVENT_NMI ? &s->nmis : &s->taken[event.vector], 1,
				   __ATOMIC_RELEASE);
	return event.valid;
}

static void take_all(struct stress *s)
{
	uint32_t left = ROUNDS * (VECTORS * POSTERS + 1);

	for (unsigned spins = 1; left; spins++) {
		left -= enter(s);
		if (spins % 256 == 0)
			sched_yield();
	}
}

/* A post that is lost hangs its poster, and the test, until Check ends it. */
START_TEST(posts_from_other_threads_are_taken)
{
	static struct stress s;
	struct poster posters[POSTERS];
	pthread_t threads[POSTERS + 1];

	s = (struct stress){.g = guest_in(FIXTURE_LONG)};
	for (unsigned i = 0; i < POSTERS; i++) {
		posters[i] = (struct poster){&s, i};
		ck_assert_int_eq(pthread_create(&threads[i], NULL, post_interrupts, &posters[i]), 0);
	}
	ck_assert_int_eq(pthread_create(&threads[POSTERS], NULL, post_nmis, &s), 0);
	take_all(&s);
	for (unsigned i = 0; i <= POSTERS; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	assert_none(s.g);
	ck_assert(!guest_event_pending(s.g));
	ck_assert_uint_eq(s.nmis, ROUNDS);
	for (unsigned i = 0; i < POSTERS; i++)
		ck_assert_uint_eq(s.taken[16 + i], ROUNDS);
}
END_TEST

static TCase *tcase(Suite *suite, const char *name)
{
	TCase *tc = tcase_create(name);

	suite_add_tcase(suite, tc);
	return tc;
}

static void add_posting(Suite *suite)
{
	TCase *tc = tcase(suite, "posting");

	tcase_add_test(tc, nothing_is_pending_at_first);
	tcase_add_loop_test(tc, interrupt_is_taken_once, 1, 34);
	tcase_add_test(tc, every_vector_is_its_own);
	tcase_add_test(tc, highest_vector_goes_first);
	tcase_add_test(tc, vector_is_pending_once);
	tcase_add_test(tc, nmi_is_pending_once);
	tcase_add_test(tc, trigger_mode_is_that_of_the_last_post);
	tcase_add_loop_test(tc, whatever_comes_raises_attention, 0, 5);
	tcase_add_loop_test(tc, post_during_the_look_is_not_lost, 0, 3);
}

static void add_choice(Suite *suite)
{
	TCase *tc = tcase(suite, "choice");

	tcase_add_loop_test(tc, events_go_in_by_priority, 1, 1 << SOURCES);
	tcase_add_loop_test(tc, blocked_interrupt_waits_for_its_window, 0, COUNT(blocks));
	tcase_add_loop_test(tc, blocked_nmi_waits_for_its_window, 0, COUNT(blocks));
	tcase_add_loop_test(tc, nmi_and_interrupt_wait_for_what_blocks_each, 0, COUNT(blocks));
	tcase_add_loop_test(tc, exceptions_are_never_blocked, 0, COUNT(blocks));
	tcase_add_test(tc, interrupt_goes_in_when_the_window_opens);
	tcase_add_loop_test(tc, debug_trap_comes_before_nmi_and_interrupt, 0, COUNT(debug));
	tcase_add_loop_test(tc, debug_trap_lets_exceptions_pass, 0, COUNT(debug));
	tc = tcase(suite, "halted");
	tcase_add_test(tc, nothing_wakes_nobody);
	tcase_add_loop_test(tc, interrupt_wakes_who_takes_it, 0, COUNT(blocks));
	tcase_add_loop_test(tc, nmi_wakes_who_takes_it, 0, COUNT(blocks));
	tcase_add_loop_test(tc, exceptions_wake, 0, COUNT(blocks));
	tcase_add_loop_test(tc, debug_trap_wakes, 0, COUNT(debug));
}

static void add_exceptions(Suite *suite)
{
	TCase *tc = tcase(suite, "exceptions");

	tcase_add_loop_test(tc, exception_carries_its_code, 0, COUNT(protected_modes));
	tcase_add_loop_test(tc, real_mode_has_no_error_codes, 0, 2);
	tcase_add_test(tc, page_fault_sets_cr2);
	tcase_add_loop_test(tc, reinjected_event_stays_as_it_was, 0, 6);
	tcase_add_loop_test(tc, second_exception, 0, 32);
	tcase_add_loop_test(tc, second_exception_during_an_interrupt, 0, 4);
	tcase_add_test(tc, double_fault_is_an_exception_like_others);
	tcase_add_test(tc, exceptions_one_after_the_other);
	tcase_add_test(tc, third_fault_shuts_down);
	tcase_add_test(tc, benign_exception_takes_the_place_of_the_first);
	tcase_add_test(tc, interrupt_comes_back);
	tcase_add_test(tc, nmi_comes_back);
	tcase_add_test(tc, interrupt_that_comes_back_is_pending_once);
	tcase_add_loop_test(tc, instructions_event_does_not_come_back, 0, 4);
	tcase_add_loop_test(tc, interrupt_comes_back_from_behind_two_exceptions, 0, 2);
	tcase_add_test(tc, shutdown_leaves_interrupts_pending);
}

Suite *event_suite(void)
{
	Suite *suite = suite_create("event");
	TCase *tc;

	add_posting(suite);
	add_choice(suite);
	add_exceptions(suite);
	tc = tcase(suite, "threads");
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, posts_from_other_threads_are_taken);
	return suite;
}
