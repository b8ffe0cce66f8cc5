/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events that a VMM brings: what the library takes the CPU takes, and the guest returns from it to where it would have
 * returned on the CPU that the event comes from.
 */
#include <check.h>

#include "fixture.h"

#define AT 0x1000u

/* Both backends, and SVM without next RIP. */
static struct fixture *begin(int i)
{
	return fixture_begin(i ? MODEL_SVM : MODEL_VMX, i == 2 ? MODEL_ALL & ~MODEL_NRIPS : MODEL_ALL);
}

static void enter_mode(struct fixture *f, bool mode64)
{
	struct x86vcpu_state state = {.size = sizeof(state)};

	ck_assert_int_eq(x86vcpu_get_state(f->vcpu, X86VCPU_STATE_ALL, &state), X86VCPU_OK);
	state.cr0 = 0x11;
	state.segments[X86VCPU_SEGMENT_CS].access_rights = mode64 ? 0x209b : 0x9b;
	if (mode64) {
		state.cr0 |= UINT64_C(1) << 31;
		state.cr4 |= 0x20;
		state.efer |= 0x500;
	}
	ck_assert_int_eq(x86vcpu_set_state(f->vcpu, X86VCPU_STATE_ALL, &state), X86VCPU_OK);
}

static uint64_t rip_of(struct fixture *f)
{
	struct x86vcpu_state state = {.size = sizeof(state)};

	ck_assert_int_eq(x86vcpu_get_state(f->vcpu, X86VCPU_STATE_RIP, &state), X86VCPU_OK);
	return state.rip;
}

static void runs(struct fixture *f)
{
	model_guest_does(f->m, &(struct model_op){.kind = MODEL_OP_NONE});
	ck_assert_int_eq(x86vcpu_run(f->vcpu, &f->exit), X86VCPU_OK);
}

static void goes_in(struct fixture *f, uint32_t vector, uint64_t rip)
{
	const struct model_outcome *o = model_outcome(f->m);

	ck_assert_str_eq(model_complaints(f->m), "");
	ck_assert_uint_eq(f->exit.kind, X86VCPU_EXIT_NOTHING);
	ck_assert_uint_eq(o->event_count, 1);
	ck_assert_uint_eq(o->events[0].vector, vector);
	ck_assert_uint_eq(rip_of(f), rip);
}

/* ---- Exceptions ---------------------------------------------------------------------------------------------- */

enum mode { REAL, PROTECTED, LONG, MODES };

/* What is taken goes in, by either function. The stale next RIP of an earlier exit means nothing. */
static void try_exception(int cpu, enum mode mode, uint32_t vector, bool by_events)
{
	const bool has_code = vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21;
	const bool exists = vector < 20 && vector != 2 && vector != 9 && vector != 15 &&
			    (mode != LONG || (vector != 4 && vector != 5));
	struct x86vcpu_events events = {.size = sizeof(events)};
	struct fixture *f = begin(cpu);
	uint64_t rip;
	int32_t status;

	if (mode != REAL)
		enter_mode(f, mode == LONG);
	ck_assert_int_eq(fixture_does(f, MODEL_OP_CPUID, 2, 0, 0, 0), X86VCPU_OK);
	rip = rip_of(f);
	ck_assert_int_eq(x86vcpu_get_events(f->vcpu, &events), X86VCPU_OK);
	events.exception = (struct x86vcpu_event){.valid = 1, .type = 3, .vector = vector, .has_error_code = has_code};
	status = by_events ? x86vcpu_set_events(f->vcpu, &events)
			   : x86vcpu_inject_exception(f->vcpu, vector, has_code, 0);
	ck_assert_msg(status == (exists ? X86VCPU_OK : X86VCPU_ERR_INVALID_INPUT), "vector %u, mode %d: %d", vector, mode,
		      status);
	runs(f);
	if (exists)
		goes_in(f, vector, rip);
	fixture_end(f);
}

START_TEST(exception_goes_in_or_is_refused)
{
	for (uint32_t vector = 0; vector < 33; vector++)
		for (int by_events = 0; by_events < 2; by_events++)
			try_exception(_i / MODES, (enum mode)(_i % MODES), vector, by_events);
}
END_TEST

/* Raised in a mode that has it, and then the VMM sets another. */
START_TEST(exception_that_its_mode_has_no_more)
{
	struct fixture *f = begin(_i);

	enter_mode(f, false);
	ck_assert_int_eq(x86vcpu_inject_exception(f->vcpu, 5, 0, 0), X86VCPU_OK);
	enter_mode(f, true);
	runs(f);
	ck_assert_uint_eq(f->exit.kind, X86VCPU_EXIT_NOTHING);
	ck_assert_uint_eq(model_outcome(f->m)->event_count, 0);
	fixture_end(f);
}
END_TEST

/* ---- Software events ----------------------------------------------------------------------------------------- */

static const struct x86vcpu_event software[] = {
	{.valid = 1, .type = 4, .vector = 0x80, .length = 2},
	{.valid = 1, .type = 4, .vector = 3, .length = 2},
	{.valid = 1, .type = 5, .vector = 1, .length = 1},
	{.valid = 1, .type = 6, .vector = 3, .length = 1},
	{.valid = 1, .type = 6, .vector = 4, .length = 1},
	{.valid = 1, .type = 6, .vector = 3, .length = 15},
};
#define SOFTWARE ((int)(sizeof(software) / sizeof(software[0])))

static struct fixture *begin_delivery(int i)
{
	struct x86vcpu_events events = {.size = sizeof(events)};
	struct fixture *f = begin(i / SOFTWARE);

	ck_assert_int_eq(x86vcpu_get_events(f->vcpu, &events), X86VCPU_OK);
	events.delivery = software[i % SOFTWARE];
	ck_assert_int_eq(x86vcpu_set_events(f->vcpu, &events), X86VCPU_OK);
	return f;
}

/* An interrupted delivery is completed, also on the other vendor's CPU. */
START_TEST(software_event_returns_behind_its_instruction)
{
	struct fixture *f = begin_delivery(_i);

	runs(f);
	goes_in(f, software[_i % SOFTWARE].vector, AT + software[_i % SOFTWARE].length);
	fixture_end(f);
}
END_TEST

START_TEST(software_event_is_cut_short_again)
{
	const struct x86vcpu_event *event = &software[_i % SOFTWARE];
	struct x86vcpu_events events = {.size = sizeof(events)};
	struct fixture *f = begin_delivery(_i);

	ck_assert_int_eq(fixture_does(f, MODEL_OP_CUT_SHORT, 0, 0x30000, 0, 0), X86VCPU_OK);
	ck_assert_uint_eq(f->exit.kind, X86VCPU_EXIT_NESTED_PAGE_FAULT);
	ck_assert_uint_eq(rip_of(f), AT);
	ck_assert_int_eq(x86vcpu_get_events(f->vcpu, &events), X86VCPU_OK);
	ck_assert_uint_eq(events.delivery.type, event->type);
	ck_assert_uint_eq(events.delivery.vector, event->vector);
	ck_assert_uint_eq(events.delivery.length, event->length);
	runs(f);
	goes_in(f, event->vector, AT + event->length);
	fixture_end(f);
}
END_TEST

START_TEST(entry_with_a_software_event_fails)
{
	struct fixture *f = begin_delivery(_i);

	ck_assert_int_eq(fixture_does(f, MODEL_OP_BAD_ENTRY, 0, 0, 0, 0), X86VCPU_OK);
	ck_assert_uint_eq(f->exit.kind, X86VCPU_EXIT_FAIL_ENTRY);
	ck_assert_uint_eq(rip_of(f), AT);
	runs(f);
	goes_in(f, software[_i % SOFTWARE].vector, AT + software[_i % SOFTWARE].length);
	fixture_end(f);
}
END_TEST

/* ---- Saved and restored ---------------------------------------------------------------------------------------- */

/* A breakpoint that a copy from VT-x has pending. */
START_TEST(pending_breakpoint_is_taken)
{
	struct x86vcpu_events events = {.size = sizeof(events)};
	struct fixture *f = begin(_i);

	ck_assert_int_eq(x86vcpu_get_events(f->vcpu, &events), X86VCPU_OK);
	events.pending_debug = UINT64_C(1) << 12 | 1;
	ck_assert_int_eq(x86vcpu_set_events(f->vcpu, &events), X86VCPU_OK);
	runs(f);
	goes_in(f, 1, AT);
	fixture_end(f);
}
END_TEST

/* MOV SS with IF = 0: what get_events has set_events takes. */
START_TEST(shadow_with_interrupts_off_is_taken_back)
{
	struct x86vcpu_events events = {.size = sizeof(events)};
	struct fixture *f = begin(_i);

	model_guest_sets(f->m, MODEL_SHADOW, _i ? 1 : 2);
	runs(f);
	ck_assert_int_eq(x86vcpu_get_events(f->vcpu, &events), X86VCPU_OK);
	ck_assert_uint_eq(events.blocking, X86VCPU_BLOCKING_MOV_SS);
	ck_assert_int_eq(x86vcpu_set_events(f->vcpu, &events), X86VCPU_OK);
	fixture_end(f);
}
END_TEST

enum nmi_source { BY_CALL, BY_PIN, BY_MESSAGE, NMI_SOURCES };

static void post_nmi(struct fixture *f, enum nmi_source source)
{
	const struct x86vcpu_message message = {.size = sizeof(message), .delivery = X86VCPU_DELIVERY_NMI};
	struct x86vcpu_apic_state apic = {.size = sizeof(apic)};

	switch (source) {
	case BY_CALL:
		ck_assert_int_eq(x86vcpu_inject_nmi(f->vcpu), X86VCPU_OK);
		break;
	case BY_MESSAGE:
		ck_assert_int_eq(x86vcpu_machine_deliver_message(f->machine, &message, NULL), X86VCPU_OK);
		break;
	default:
		ck_assert_int_eq(x86vcpu_get_apic(f->vcpu, &apic), X86VCPU_OK);
		apic.registers[0x0f] |= 0x100;
		apic.registers[0x36] = 0x400;
		ck_assert_int_eq(x86vcpu_set_apic(f->vcpu, &apic), X86VCPU_OK);
		ck_assert_int_eq(x86vcpu_set_lint(f->vcpu, 1, 1), X86VCPU_OK);
	}
}

/* Saved in either order, restored in either order, it comes once. */
static void copy_nmi(enum model_backend backend, enum nmi_source source, bool events_first, bool restored_first)
{
	struct x86vcpu_events events = {.size = sizeof(events)};
	struct x86vcpu_apic_state apic = {.size = sizeof(apic)};
	struct fixture *f = fixture_begin(backend, MODEL_ALL);

	post_nmi(f, source);
	if (events_first)
		ck_assert_int_eq(x86vcpu_get_events(f->vcpu, &events), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_get_apic(f->vcpu, &apic), X86VCPU_OK);
	if (!events_first)
		ck_assert_int_eq(x86vcpu_get_events(f->vcpu, &events), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_unbind(f->vcpu), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_setup(f->vcpu, f->config), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_bind(f->vcpu), X86VCPU_OK);
	if (restored_first)
		ck_assert_int_eq(x86vcpu_set_events(f->vcpu, &events), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_set_apic(f->vcpu, &apic), X86VCPU_OK);
	if (!restored_first)
		ck_assert_int_eq(x86vcpu_set_events(f->vcpu, &events), X86VCPU_OK);
	runs(f);
	goes_in(f, 2, AT);
	ck_assert_int_eq(x86vcpu_has_pending_event(f->vcpu), 0);
	fixture_end(f);
}

START_TEST(nmi_is_in_one_component)
{
	for (int source = 0; source < NMI_SOURCES; source++)
		for (int order = 0; order < 4; order++)
			copy_nmi(_i ? MODEL_SVM : MODEL_VMX, (enum nmi_source)source, order & 1, order & 2);
}
END_TEST

Suite *events_suite(void);
Suite *events_suite(void)
{
	Suite *suite = suite_create("events");
	TCase *tc = tcase_create("events");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, exception_goes_in_or_is_refused, 0, 3 * MODES);
	tcase_add_loop_test(tc, exception_that_its_mode_has_no_more, 0, 3);
	tcase_add_loop_test(tc, software_event_returns_behind_its_instruction, 0, 3 * SOFTWARE);
	tcase_add_loop_test(tc, software_event_is_cut_short_again, 0, 3 * SOFTWARE);
	tcase_add_loop_test(tc, entry_with_a_software_event_fails, 0, 3 * SOFTWARE);
	tcase_add_loop_test(tc, pending_breakpoint_is_taken, 0, 2);
	tcase_add_loop_test(tc, shadow_with_interrupts_off_is_taken_back, 0, 2);
	tcase_add_loop_test(tc, nmi_is_in_one_component, 0, 2);
	suite_add_tcase(suite, tc);
	return suite;
}
