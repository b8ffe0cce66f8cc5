/* SPDX-License-Identifier: Apache-2.0 */
/* Exceptions, and what becomes of an event whose delivery one of them cut short (SDM 6.15, 27.2.1.3). */
#include "event_fixture.h"

Suite *exception_suite(void);

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

/* And elsewhere every exception has its own: x86vcpu_set_state may have left real mode in between. */
START_TEST(protected_mode_has_error_codes)
{
	struct guest *g = guest_in(protected_modes[_i]);
	struct guest_event event;

	guest_reinject(g, event_of(GUEST_EVENT_EXCEPTION, VECTOR_SS));
	event = next(g);
	ck_assert(event.valid && event.has_error_code && event.error_code == 0);
	guest_reinject(g, event_of(GUEST_EVENT_SOFTWARE_INTERRUPT, VECTOR_SS));
	ck_assert(!next(g).has_error_code);
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

static void raise_exception(struct guest *g, unsigned vector, uint32_t error_code)
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
		struct guest *g = guest_in(FIXTURE_COMPATIBILITY);
		enum outcome outcome;

		if (second == VECTOR_DF)
			continue;
		outcome = outcomes[classes[_i]][classes[second]];
		raise_exception(g, (unsigned)_i, 0xaa);
		raise_exception(g, second, 0x55);
		assert_outcome(g, outcome, second);

		g = guest_in(FIXTURE_COMPATIBILITY);
		guest_reinject(g, first);
		raise_exception(g, second, 0x55);
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
		raise_exception(g, VECTOR_GP, 0x55);
		assert_outcome(g, SERIAL, VECTOR_GP);
		guest_reinject(g, event_of(GUEST_EVENT_EXCEPTION, VECTOR_GP));
		assert_next(g, GUEST_EVENT_EXCEPTION, VECTOR_GP);
	}
	guest_reinject(g, event_of(GUEST_EVENT_EXCEPTION, VECTOR_DF));
	assert_next(g, GUEST_EVENT_EXCEPTION, VECTOR_DF);
	raise_exception(g, VECTOR_GP, 0x55);
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
	struct guest *g = _i ? guest_with_apic() : guest_in(FIXTURE_LONG);

	guest_post_interrupt(g, 0x41, true);
	guest_reinject(g, next(g));
	guest_raise_page_fault(g, 0x1000, 0);
	assert_next(g, GUEST_EVENT_EXCEPTION, VECTOR_PF);
	assert_windows(true, false);
	assert_next(g, GUEST_EVENT_EXTERNAL, 0x41);
	if (_i)
		ck_assert_int_eq(lapic_eoi(g), 0x41);
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
	ck_assert_uint_eq(g->events.interrupts[1], UINT64_C(1) << 1);
}
END_TEST

Suite *exception_suite(void)
{
	Suite *suite = suite_create("exception");
	TCase *tc = add_tcase(suite, "exceptions");

	tcase_add_loop_test(tc, exception_carries_its_code, 0, COUNT(protected_modes));
	tcase_add_loop_test(tc, real_mode_has_no_error_codes, 0, 2);
	tcase_add_loop_test(tc, protected_mode_has_error_codes, 0, COUNT(protected_modes));
	tcase_add_test(tc, page_fault_sets_cr2);
	tcase_add_loop_test(tc, reinjected_event_stays_as_it_was, 0, 6);
	tc = add_tcase(suite, "during another");
	tcase_add_loop_test(tc, second_exception, 0, 32);
	tcase_add_loop_test(tc, second_exception_during_an_interrupt, 0, 4);
	tcase_add_test(tc, double_fault_is_an_exception_like_others);
	tcase_add_test(tc, exceptions_one_after_the_other);
	tcase_add_test(tc, third_fault_shuts_down);
	tcase_add_test(tc, benign_exception_takes_the_place_of_the_first);
	tc = add_tcase(suite, "cut short");
	tcase_add_loop_test(tc, interrupt_comes_back, 0, 2);
	tcase_add_test(tc, nmi_comes_back);
	tcase_add_test(tc, interrupt_that_comes_back_is_pending_once);
	tcase_add_loop_test(tc, instructions_event_does_not_come_back, 0, 4);
	tcase_add_loop_test(tc, interrupt_comes_back_from_behind_two_exceptions, 0, 2);
	tcase_add_test(tc, shutdown_leaves_interrupts_pending);
	return suite;
}
