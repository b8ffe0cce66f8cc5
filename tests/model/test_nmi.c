/* SPDX-License-Identifier: Apache-2.0 */
/* NMIs are blocked until an IRET has ended, and the next one comes right after it (SDM 6.7.1, APM 15.20). */
#include <check.h>

#include "fixture.h"

#define IRET_AT 0x1000u
#define BACK_AT 0x3000u
#define STACK 0x5000u
#define FLAGS 0x2u
#define IF 0x200u
#define TF 0x100u
#define DR6_STEP 0x4000u
#define DR6_B0 1u

static enum model_backend backend(int i)
{
	return i ? MODEL_SVM : MODEL_VMX;
}

static int32_t runs(struct fixture *f, const struct model_op *op)
{
	model_guest_does(f->m, op);
	return x86vcpu_run(f->vcpu, &f->exit);
}

static uint64_t guest_has(struct fixture *f, uint32_t field)
{
	return model_outcome(f->m)->fields[field];
}

static void took(struct fixture *f, uint32_t index, uint32_t type, uint32_t vector)
{
	const struct model_outcome *o = model_outcome(f->m);

	ck_assert_str_eq(model_complaints(f->m), "");
	ck_assert_uint_eq(f->exit.kind, X86VCPU_EXIT_NOTHING);
	ck_assert_uint_eq(o->event_count, index + 1);
	ck_assert_uint_eq(o->events[index].type, type);
	ck_assert_uint_eq(o->events[index].vector, vector);
}

static uint32_t blocking(struct fixture *f)
{
	struct x86vcpu_events events = {.size = sizeof(events)};

	ck_assert_int_eq(x86vcpu_get_events(f->vcpu, &events), X86VCPU_OK);
	return events.blocking;
}

static struct x86vcpu_state state(struct fixture *f)
{
	struct x86vcpu_state state = {.size = sizeof(state)};

	ck_assert_int_eq(x86vcpu_get_state(f->vcpu, X86VCPU_STATE_ALL, &state), X86VCPU_OK);
	return state;
}

/* In protected mode, where faults have error codes, in the handler of an NMI whose IRET is at IRET_AT. */
static struct fixture *begin(int i)
{
	struct fixture *f = fixture_begin(backend(i), MODEL_ALL);
	struct x86vcpu_state protected = state(f);

	protected.cr0 = 0x11;
	protected.segments[X86VCPU_SEGMENT_CS].access_rights = 0x9b;
	protected.rip = IRET_AT;
	ck_assert_int_eq(x86vcpu_set_state(f->vcpu, X86VCPU_STATE_ALL, &protected), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_inject_nmi(f->vcpu), X86VCPU_OK);
	ck_assert_int_eq(runs(f, &(struct model_op){.kind = MODEL_OP_NONE}), X86VCPU_OK);
	took(f, 0, 2, 2);
	ck_assert_uint_eq(blocking(f), X86VCPU_BLOCKING_NMI);
	return f;
}

/* Nothing that the guest does after the IRET is needed for it: it may have interrupts off and never exit. */
static const uint64_t loaded[] = {FLAGS, FLAGS | IF, FLAGS | TF};
#define LOADED ((int)(sizeof(loaded) / sizeof(loaded[0])))

START_TEST(next_nmi_comes_after_the_iret)
{
	const uint64_t flags = loaded[_i % LOADED];
	/* Which may return to itself. */
	const uint64_t back = _i / LOADED & 1 ? IRET_AT : BACK_AT;
	struct fixture *f = begin(_i / LOADED / 2);

	ck_assert_int_eq(x86vcpu_inject_nmi(f->vcpu), X86VCPU_OK);
	ck_assert_int_eq(runs(f, &(struct model_op){MODEL_OP_IRET, 1, back, flags, 0}), X86VCPU_OK);
	took(f, 0, 2, 2);
	ck_assert_uint_eq(model_outcome(f->m)->native, 1);
	ck_assert_uint_eq(guest_has(f, MODEL_RIP), back);
	ck_assert_uint_eq(guest_has(f, MODEL_RFLAGS), flags);
	ck_assert_uint_eq(guest_has(f, MODEL_DR6) & (DR6_STEP | DR6_B0), 0);
	ck_assert_uint_eq(blocking(f), X86VCPU_BLOCKING_NMI);
	fixture_end(f);
}
END_TEST

START_TEST(iret_unblocks)
{
	struct fixture *f = begin(_i);

	ck_assert_int_eq(runs(f, &(struct model_op){MODEL_OP_IRET, 1, BACK_AT, FLAGS, 0}), X86VCPU_OK);
	ck_assert_uint_eq(model_outcome(f->m)->event_count, 0);
	ck_assert_uint_eq(guest_has(f, MODEL_RIP), BACK_AT);
	ck_assert_uint_eq(blocking(f), 0);
	fixture_end(f);
}
END_TEST

static const uint8_t faults[] = {10, 11, 12, 13, 14};
#define FAULTS ((int)sizeof(faults))

/* The handler of a fault finds the flags of the IRET's own program. On VT-x the CPU has unblocked NMIs. */
START_TEST(fault_of_the_iret_is_the_guests)
{
	const uint8_t vector = faults[_i % FAULTS];
	const bool svm = _i / FAULTS;
	struct fixture *f = begin(svm);

	ck_assert_int_eq(x86vcpu_inject_nmi(f->vcpu), X86VCPU_OK);
	ck_assert_int_eq(runs(f, &(struct model_op){MODEL_OP_IRET, 1, BACK_AT, FLAGS, UINT64_C(0x1234) << 32 | vector}),
			 X86VCPU_OK);
	took(f, svm ? 0 : 1, svm ? 3 : 2, svm ? vector : 2);
	ck_assert_uint_eq(model_outcome(f->m)->events[0].vector, vector);
	ck_assert_uint_eq(model_outcome(f->m)->events[0].error_code, 0x1234);
	ck_assert_uint_eq(guest_has(f, MODEL_RIP), IRET_AT);
	ck_assert_uint_eq(guest_has(f, MODEL_RFLAGS) & TF, 0);
	if (svm && vector == 14)
		ck_assert_uint_eq(guest_has(f, MODEL_CR2), 0x4000);
	if (svm) {
		ck_assert_uint_eq(blocking(f), X86VCPU_BLOCKING_NMI);
		ck_assert_int_eq(runs(f, &(struct model_op){MODEL_OP_IRET, 1, BACK_AT, FLAGS, 0}), X86VCPU_OK);
		took(f, 0, 2, 2);
	}
	fixture_end(f);
}
END_TEST

/* It is executed again when the VMM has mapped its stack; until then NMIs stay blocked. */
START_TEST(iret_without_its_stack)
{
	struct fixture *f = begin(_i);

	ck_assert_int_eq(x86vcpu_inject_nmi(f->vcpu), X86VCPU_OK);
	ck_assert_int_eq(runs(f, &(struct model_op){MODEL_OP_IRET, 1, BACK_AT, FLAGS, STACK}), X86VCPU_OK);
	ck_assert_uint_eq(f->exit.kind, X86VCPU_EXIT_NESTED_PAGE_FAULT);
	ck_assert_uint_eq(f->exit.u.nested_page_fault.gpa, STACK);
	ck_assert_uint_eq(state(f).rip, IRET_AT);
	ck_assert_uint_eq(state(f).rflags & TF, 0);
	ck_assert_uint_eq(model_outcome(f->m)->event_count, 0);
	ck_assert_uint_eq(blocking(f), X86VCPU_BLOCKING_NMI);
	ck_assert_int_eq(runs(f, &(struct model_op){MODEL_OP_IRET, 1, BACK_AT, FLAGS, 0}), X86VCPU_OK);
	took(f, 0, 2, 2);
	ck_assert_uint_eq(guest_has(f, MODEL_RIP), BACK_AT);
	fixture_end(f);
}
END_TEST

/* A handler under a debugger: its own step stays, and what DR6 had before. */
START_TEST(guest_steps_its_iret)
{
	struct fixture *f = begin(_i);
	struct x86vcpu_state stepped = state(f);

	stepped.rflags = FLAGS | TF;
	stepped.dr6 |= DR6_B0;
	ck_assert_int_eq(x86vcpu_set_state(f->vcpu, X86VCPU_STATE_RIP | X86VCPU_STATE_DRS, &stepped), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_inject_nmi(f->vcpu), X86VCPU_OK);
	ck_assert_int_eq(runs(f, &(struct model_op){MODEL_OP_IRET, 1, BACK_AT, FLAGS, 0}), X86VCPU_OK);
	ck_assert_uint_ge(model_outcome(f->m)->event_count, 1);
	ck_assert_uint_eq(model_outcome(f->m)->events[0].vector, 1);
	ck_assert_uint_eq(guest_has(f, MODEL_RIP), BACK_AT);
	ck_assert_uint_eq(guest_has(f, MODEL_DR6) & DR6_STEP, DR6_STEP);
	ck_assert_uint_eq(blocking(f) ? model_outcome(f->m)->event_count : 2, 2);
	fixture_end(f);
}
END_TEST

/* Of the VMM's thread: while the guest executes IRET it is asked to leave, and the VMM moves RIP. */
static bool ask_to_leave(void *arg, struct model_op *op)
{
	struct fixture *f = arg;

	*op = (struct model_op){MODEL_OP_IRET, 1, BACK_AT, FLAGS, 0};
	return x86vcpu_request_exit(f->vcpu) == X86VCPU_OK;
}

START_TEST(another_instruction_than_the_iret)
{
	struct fixture *f = begin(1);
	struct x86vcpu_state moved;

	model_guest_source(f->m, ask_to_leave, f);
	ck_assert_int_eq(runs(f, &(struct model_op){.kind = MODEL_OP_NONE}), X86VCPU_OK);
	model_guest_source(f->m, NULL, NULL);
	ck_assert_uint_eq(model_outcome(f->m)->native, 0);
	moved = state(f);
	ck_assert_uint_eq(moved.rip, IRET_AT);
	moved.rip = 0x2000;
	ck_assert_int_eq(x86vcpu_set_state(f->vcpu, X86VCPU_STATE_RIP, &moved), X86VCPU_OK);
	ck_assert_int_eq(runs(f, &(struct model_op){MODEL_OP_PAUSE, 2, 0, 0, 0}), X86VCPU_OK);
	ck_assert_uint_eq(guest_has(f, MODEL_RFLAGS), FLAGS);
	ck_assert_uint_eq(blocking(f), X86VCPU_BLOCKING_NMI);
	fixture_end(f);
}
END_TEST

/* The handler takes interrupts: one that has come goes in first, and its IRET is not that of the NMI before. */
START_TEST(interrupt_comes_before_the_iret)
{
	struct fixture *f = begin(_i);
	struct x86vcpu_state open = state(f);

	open.rflags = FLAGS | IF;
	ck_assert_int_eq(x86vcpu_set_state(f->vcpu, X86VCPU_STATE_RIP, &open), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_inject_interrupt(f->vcpu, 0x40), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_inject_nmi(f->vcpu), X86VCPU_OK);
	ck_assert_int_eq(runs(f, &(struct model_op){MODEL_OP_IRET, 1, BACK_AT, FLAGS, 0}), X86VCPU_OK);
	took(f, 1, 2, 2);
	ck_assert_uint_eq(model_outcome(f->m)->events[0].vector, 0x40);
	ck_assert_uint_eq(guest_has(f, MODEL_RFLAGS) & TF, 0);
	fixture_end(f);
}
END_TEST

/* Behind an exception of the VMM's, in a guest with interrupts off: at the end of its handler at the latest. */
START_TEST(nmi_behind_an_exception)
{
	struct fixture *f = fixture_begin(backend(_i), MODEL_ALL);

	ck_assert_int_eq(x86vcpu_inject_exception(f->vcpu, 6, 0, 0), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_inject_nmi(f->vcpu), X86VCPU_OK);
	ck_assert_int_eq(runs(f, &(struct model_op){MODEL_OP_IRET, 1, BACK_AT, FLAGS, 0}), X86VCPU_OK);
	took(f, 1, 2, 2);
	ck_assert_uint_eq(model_outcome(f->m)->events[0].vector, 6);
	fixture_end(f);
}
END_TEST

/* Entered and failed: nothing of the step is left. */
START_TEST(entry_for_the_iret_fails)
{
	struct fixture *f = begin(1);
	struct x86vcpu_state before;

	before = state(f);
	ck_assert_int_eq(runs(f, &(struct model_op){.kind = MODEL_OP_BAD_ENTRY}), X86VCPU_OK);
	ck_assert_uint_eq(f->exit.kind, X86VCPU_EXIT_FAIL_ENTRY);
	ck_assert_uint_eq(state(f).rflags, before.rflags);
	ck_assert_int_eq(runs(f, &(struct model_op){MODEL_OP_IRET, 1, BACK_AT, FLAGS, 0}), X86VCPU_OK);
	ck_assert_uint_eq(blocking(f), 0);
	fixture_end(f);
}
END_TEST

Suite *nmi_suite(void);
Suite *nmi_suite(void)
{
	Suite *suite = suite_create("nmi");
	TCase *tc = tcase_create("nmi");

	tcase_add_loop_test(tc, next_nmi_comes_after_the_iret, 0, 4 * LOADED);
	tcase_add_loop_test(tc, iret_unblocks, 0, 2);
	tcase_add_loop_test(tc, fault_of_the_iret_is_the_guests, 0, 2 * FAULTS);
	tcase_add_loop_test(tc, iret_without_its_stack, 0, 2);
	tcase_add_loop_test(tc, guest_steps_its_iret, 0, 2);
	tcase_add_test(tc, another_instruction_than_the_iret);
	tcase_add_loop_test(tc, interrupt_comes_before_the_iret, 0, 2);
	tcase_add_loop_test(tc, nmi_behind_an_exception, 0, 2);
	tcase_add_test(tc, entry_for_the_iret_fails);
	suite_add_tcase(suite, tc);
	return suite;
}
