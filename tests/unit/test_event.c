/* SPDX-License-Identifier: Apache-2.0 */
/* Events on their way into the guest: which one goes in, and which ones wait (SDM 6.9, 25.4.2, 27.6). */
#include "event_fixture.h"

Suite *event_suite(void);

/* ---- Posting ------------------------------------------------------------------------------------------- */

START_TEST(nothing_is_pending_at_first)
{
	struct guest *g = guest_in(FIXTURE_LONG);

	ck_assert(!guest_event_pending(g));
	ck_assert(!guest_event_pending(g));
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
	ck_assert(guest_event_pending(g));
	ck_assert_uint_eq(attention(g), 1);
	event = next(g);
	ck_assert(event.valid && !event.has_error_code);
	ck_assert_uint_eq(event.type, GUEST_EVENT_EXTERNAL);
	ck_assert_uint_eq(event.vector, (unsigned)_i);
	assert_windows(false, false);
	ck_assert(!guest_event_pending(g));
	ck_assert(!guest_event_pending(g));
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
	assert_next(g, GUEST_EVENT_NMI, 2);
	assert_windows(false, false);
	assert_none(g);
	guest_post_nmi(g);
	assert_next(g, GUEST_EVENT_NMI, 2);
}
END_TEST

/* SDM 12.8.4: TMR has the mode of the last message, and keeps it until the next. */
START_TEST(trigger_mode_is_that_of_the_last_post)
{
	struct guest *g = guest_with_apic();
	const uint64_t *tmr = g->lapic.tmr;

	guest_post_interrupt(g, 0x42, true);
	guest_post_interrupt(g, 0x43, false);
	ck_assert_uint_eq(tmr[1], 1u << 2);
	assert_next(g, GUEST_EVENT_EXTERNAL, 0x43);
	ck_assert_int_eq(lapic_eoi(g), -1);
	assert_next(g, GUEST_EVENT_EXTERNAL, 0x42);
	ck_assert_uint_eq(tmr[1], 1u << 2);
	ck_assert_int_eq(lapic_eoi(g), 0x42);
	guest_post_interrupt(g, 0x42, false);
	ck_assert_uint_eq(tmr[0] | tmr[1] | tmr[2] | tmr[3], 0);
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

/* The NMI window may be open while STI blocks (SDM 26.2), so the interrupt window is asked for. */
static bool nmi_waits_for_sti(int i)
{
	return (blocks[i].blocking & (STI | BY_NMI)) == STI;
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
	assert_windows(nmi_waits_for_sti(_i), !blocks[_i].nmi && !nmi_waits_for_sti(_i));
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
	assert_windows(nmi || !interrupt, !nmi && !nmi_waits_for_sti(_i));
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

/* SDM 18.3.1.1. Faults are all but #DB, NMI, #BP, #OF, #DF and #MC. */
START_TEST(fault_pushes_rf)
{
	struct guest *g = guest_in(FIXTURE_COMPATIBILITY);
	const bool fault = _i != 1 && _i != 2 && _i != 3 && _i != 4 && _i != 8 && _i != 18;

	guest_raise(g, (uint8_t)_i, guest_has_error_code((uint32_t)_i), 0);
	ck_assert_uint_eq(guest_get(g, G_RFLAGS) & RFLAGS_RF, 0);
	next(g);
	ck_assert_uint_eq(guest_get(g, G_RFLAGS) & RFLAGS_RF, fault ? RFLAGS_RF : 0);
}
END_TEST

START_TEST(interrupt_pushes_rf_as_it_is)
{
	struct guest *g = guest_in(FIXTURE_LONG);

	guest_post_nmi(g);
	next(g);
	ck_assert_uint_eq(guest_get(g, G_RFLAGS) & RFLAGS_RF, 0);
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

/* VM entry injects no interrupt with IF clear (SDM 27.3.1.4), not even one that was on its way. */
START_TEST(interrupt_under_way_waits_for_if)
{
	struct guest *g = guest_with(0, 0);

	guest_reinject(g, event_of(GUEST_EVENT_EXTERNAL, 0x40));
	assert_none(g);
	assert_windows(true, false);
	guest_reinject(g, event_of(GUEST_EVENT_NMI, VECTOR_NMI));
	assert_next(g, GUEST_EVENT_NMI, VECTOR_NMI);
	fixture_set((struct guest_fixture *)g, G_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
	assert_next(g, GUEST_EVENT_EXTERNAL, 0x40);
	assert_none(g);
}
END_TEST

/* Nor what is blocked (SDM 27.3.1.5): x86vcpu_set_events brings both. */
START_TEST(event_under_way_waits_while_it_is_blocked)
{
	static const unsigned blocking[] = {GUEST_BLOCKING_STI, GUEST_BLOCKING_MOV_SS, GUEST_BLOCKING_NMI};
	struct guest *g = guest_with(RFLAGS_IF, blocking[_i]);

	guest_reinject(g, event_of(GUEST_EVENT_NMI, VECTOR_NMI));
	assert_none(g);
	assert_windows(_i == 0, _i != 0);
	if (blocking[_i] == GUEST_BLOCKING_NMI)
		return;
	guest_reinject(g, event_of(GUEST_EVENT_EXTERNAL, 0x40));
	assert_none(g);
	assert_windows(true, _i != 0);
}
END_TEST

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
	ck_assert_uint_eq(g->events.interrupts[1], UINT64_C(1) << 1);
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

static void add_posting(Suite *suite)
{
	TCase *tc = add_tcase(suite, "posting");

	tcase_add_test(tc, nothing_is_pending_at_first);
	tcase_add_loop_test(tc, interrupt_is_taken_once, 1, 34);
	tcase_add_test(tc, every_vector_is_its_own);
	tcase_add_test(tc, highest_vector_goes_first);
	tcase_add_test(tc, vector_is_pending_once);
	tcase_add_test(tc, nmi_is_pending_once);
	tcase_add_test(tc, trigger_mode_is_that_of_the_last_post);
	tcase_add_loop_test(tc, whatever_comes_raises_attention, 0, 5);
}

static void add_choice(Suite *suite)
{
	TCase *tc = add_tcase(suite, "choice");

	tcase_add_loop_test(tc, events_go_in_by_priority, 1, 1 << SOURCES);
	tcase_add_loop_test(tc, blocked_interrupt_waits_for_its_window, 0, COUNT(blocks));
	tcase_add_loop_test(tc, blocked_nmi_waits_for_its_window, 0, COUNT(blocks));
	tcase_add_loop_test(tc, nmi_and_interrupt_wait_for_what_blocks_each, 0, COUNT(blocks));
	tcase_add_loop_test(tc, exceptions_are_never_blocked, 0, COUNT(blocks));
	tcase_add_loop_test(tc, fault_pushes_rf, 0, 22);
	tcase_add_test(tc, interrupt_pushes_rf_as_it_is);
	tcase_add_test(tc, interrupt_goes_in_when_the_window_opens);
	tcase_add_test(tc, interrupt_under_way_waits_for_if);
	tcase_add_loop_test(tc, event_under_way_waits_while_it_is_blocked, 0, 3);
	tcase_add_loop_test(tc, debug_trap_comes_before_nmi_and_interrupt, 0, COUNT(debug));
	tcase_add_loop_test(tc, debug_trap_lets_exceptions_pass, 0, COUNT(debug));
	tc = add_tcase(suite, "halted");
	tcase_add_test(tc, nothing_wakes_nobody);
	tcase_add_loop_test(tc, interrupt_wakes_who_takes_it, 0, COUNT(blocks));
	tcase_add_loop_test(tc, nmi_wakes_who_takes_it, 0, COUNT(blocks));
	tcase_add_loop_test(tc, exceptions_wake, 0, COUNT(blocks));
	tcase_add_loop_test(tc, debug_trap_wakes, 0, COUNT(debug));
}

Suite *event_suite(void)
{
	Suite *suite = suite_create("event");

	add_posting(suite);
	add_choice(suite);
	return suite;
}
