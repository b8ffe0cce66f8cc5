/* SPDX-License-Identifier: Apache-2.0 */
/* What a handler's answer means for the guest. */
#include <check.h>
#include <string.h>

#include "cpu/x86.h"
#include "emul/finish.h"
#include "guest_fixture.h"
#include "x86vcpu/status.h"

Suite *finish_suite(void);

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

static struct guest *guest(void)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_PROTECTED32);

	memset(&f->exit, 0xa5, sizeof(f->exit));
	return &f->g;
}

static void assert_no_event(struct guest *g)
{
	ck_assert(!guest_event_pending(g));
	ck_assert(!g->events.shutdown);
}

START_TEST(skips_what_is_done)
{
	ck_assert(emul_skips(EMUL_NEXT));
	ck_assert(emul_skips(EMUL_NEXT_EXIT));
	ck_assert(!emul_skips(EMUL_RESUME));
	ck_assert(!emul_skips(EMUL_EXIT));
	ck_assert(!emul_skips(EMUL_GP));
	ck_assert(!emul_skips(EMUL_UD));
	ck_assert(!emul_skips(X86VCPU_ERR_UNSUPPORTED));
}
END_TEST

START_TEST(next_ends_the_instruction)
{
	static const int result[][2] = {{EMUL_NEXT, EMUL_RESUME}, {EMUL_NEXT_EXIT, EMUL_EXIT}};
	struct guest *g = guest();

	fixture_set((struct guest_fixture *)g, G_BLOCKING, GUEST_BLOCKING_STI);
	ck_assert_int_eq(emul_finish(g, result[_i][0], 3), result[_i][1]);
	ck_assert_uint_eq(guest_get(g, G_RIP), 0x7c03);
	ck_assert_uint_eq(guest_get(g, G_BLOCKING), 0);
	assert_no_event(g);
}
END_TEST

/* A length that nobody knows does not count. */
START_TEST(refused_instruction_faults)
{
	static const struct {
		int result;
		uint8_t vector;
		bool has_error_code;
	} rows[] = {{EMUL_GP, 13, true}, {EMUL_UD, 6, false}};
	struct guest *g = guest();
	struct guest_window window;
	struct guest_event event;

	fixture_set((struct guest_fixture *)g, G_BLOCKING, GUEST_BLOCKING_STI);
	ck_assert_int_eq(emul_finish(g, rows[_i].result, 0xffffffff), EMUL_RESUME);
	ck_assert_uint_eq(guest_get(g, G_RIP), 0x7c00);
	ck_assert_uint_eq(guest_get(g, G_BLOCKING), GUEST_BLOCKING_STI);
	ck_assert_uint_eq(g->dirty, 0);
	event = guest_next_event(g, &window);
	ck_assert(event.valid);
	ck_assert_uint_eq(event.type, GUEST_EVENT_EXCEPTION);
	ck_assert_uint_eq(event.vector, rows[_i].vector);
	ck_assert_int_eq(event.has_error_code, rows[_i].has_error_code);
	ck_assert_uint_eq(event.error_code, 0);
	assert_no_event(g);
}
END_TEST

/* Faults in the delivery of another one: SDM table 6-5 is asked. */
START_TEST(refused_instruction_during_delivery)
{
	struct guest *g = guest();
	struct guest_window window;

	guest_reinject(g, (struct guest_event){.valid = true, .type = GUEST_EVENT_EXCEPTION, .vector = VECTOR_NP});
	ck_assert_int_eq(emul_finish(g, EMUL_GP, 0), EMUL_RESUME);
	ck_assert_uint_eq(guest_next_event(g, &window).vector, VECTOR_DF);
}
END_TEST

START_TEST(others_are_handed_on)
{
	static const int results[] = {EMUL_RESUME, EMUL_EXIT, X86VCPU_ERR_INVALID_INPUT, X86VCPU_ERR_INVALID_DATA,
				      X86VCPU_ERR_UNSUPPORTED, X86VCPU_ERR_BAD_STATE};
	struct guest *g = guest();

	ck_assert_int_eq(emul_finish(g, results[_i], 0xffffffff), results[_i]);
	ck_assert_uint_eq(g->dirty, 0);
	ck_assert_uint_eq(fixture_reads((struct guest_fixture *)g), 0);
	assert_no_event(g);
}
END_TEST

/* What the kind does not name is zero (x86vcpu/exit.h). */
START_TEST(report_is_the_kind_and_zeros)
{
	struct guest *g = guest();
	const struct x86vcpu_exit expected = {.kind = X86VCPU_EXIT_PREEMPTION_TIMER};

	ck_assert_int_eq(emul_report(g, X86VCPU_EXIT_PREEMPTION_TIMER), EMUL_EXIT);
	ck_assert_mem_eq(g->exit, &expected, sizeof(expected));
}
END_TEST

START_TEST(nested_fault_is_reported)
{
	struct guest *g = guest();
	struct x86vcpu_exit expected = {.kind = X86VCPU_EXIT_NESTED_PAGE_FAULT};

	expected.u.nested_page_fault.gpa = UINT64_C(0xfee00123456);
	expected.u.nested_page_fault.access = X86VCPU_ACCESS_WRITE;
	ck_assert_int_eq(emul_report_nested_fault(g, UINT64_C(0xfee00123456), X86VCPU_ACCESS_WRITE), EMUL_EXIT);
	ck_assert_mem_eq(g->exit, &expected, sizeof(expected));
}
END_TEST

Suite *finish_suite(void)
{
	Suite *suite = suite_create("finish");
	TCase *tc = tcase_create("finish");

	suite_add_tcase(suite, tc);
	tcase_add_test(tc, skips_what_is_done);
	tcase_add_loop_test(tc, next_ends_the_instruction, 0, 2);
	tcase_add_loop_test(tc, refused_instruction_faults, 0, 2);
	tcase_add_test(tc, refused_instruction_during_delivery);
	tcase_add_loop_test(tc, others_are_handed_on, 0, 6);
	tc = tcase_create("report");
	suite_add_tcase(suite, tc);
	tcase_add_test(tc, report_is_the_kind_and_zeros);
	tcase_add_test(tc, nested_fault_is_reported);
	return suite;
}
