/* SPDX-License-Identifier: Apache-2.0 */
/* Where the manuals leave a CPU a choice, or leave something undefined: both ways the guest and the VMM see the same. */
#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"

#define AT 0x1000u
#define NOWHERE 0x100000u /* no memory, and no device */
#define TF UINT64_C(0x100)
#define IF UINT64_C(0x200)
#define RF UINT64_C(0x10000)
#define UNUSABLE 0x10000u

static struct x86vcpu_state state_of(struct fixture *f)
{
	struct x86vcpu_state state = {.size = sizeof(state)};

	ck_assert_int_eq(x86vcpu_get_state(f->vcpu, X86VCPU_STATE_ALL, &state), X86VCPU_OK);
	return state;
}

static void set_state(struct fixture *f, const struct x86vcpu_state *state)
{
	ck_assert_int_eq(x86vcpu_set_state(f->vcpu, X86VCPU_STATE_ALL, state), X86VCPU_OK);
}

/* Protected mode, with null selectors in ES and LDTR. */
static void enter_protected_mode(struct fixture *f, uint64_t rflags)
{
	struct x86vcpu_state state = state_of(f);

	state.cr0 = 0x31;
	state.rip = AT;
	state.rflags = 2 | rflags;
	state.segments[X86VCPU_SEGMENT_CS].access_rights = 0xc09b;
	state.segments[X86VCPU_SEGMENT_CS].limit = UINT32_MAX;
	state.segments[X86VCPU_SEGMENT_DS].access_rights = 0xc093;
	state.segments[X86VCPU_SEGMENT_DS].limit = UINT32_MAX;
	state.segments[X86VCPU_SEGMENT_ES].access_rights = UNUSABLE;
	state.segments[X86VCPU_SEGMENT_LDTR].access_rights = UNUSABLE;
	set_state(f, &state);
}

static struct fixture *begin(int i, uint32_t variants)
{
	return fixture_begin(i & 1 ? MODEL_SVM : MODEL_VMX, MODEL_ALL | (i & 2 ? variants : 0));
}

/*
 * SDM 28.3.4: whether an exit in the shadow of MOV SS saves the single step of TF as pending depends on the CPU; VM entry
 * wants it pending (27.3.1.5). The guest takes one #DB, after the instruction that the shadow covers.
 */
START_TEST(single_step_survives_an_exit_in_a_shadow)
{
	struct fixture *f = begin(_i, MODEL_MAY_PENDING_STEP);

	enter_protected_mode(f, TF);
	model_guest_sets(f->m, MODEL_SHADOW, 2);
	ck_assert_int_eq(fixture_does(f, MODEL_OP_MMIO, 2, NOWHERE, 0, NOWHERE), X86VCPU_OK);
	ck_assert_uint_eq(f->exit.kind, X86VCPU_EXIT_NESTED_PAGE_FAULT);
	ck_assert_int_eq(fixture_does(f, MODEL_OP_INTERRUPT, 0, 0x30, 0, 0), X86VCPU_OK);
	ck_assert_int_eq(fixture_does(f, MODEL_OP_CPUID, 2, 0, 0, 0), X86VCPU_OK);
	ck_assert_str_eq(model_complaints(f->m), "");
	ck_assert_uint_eq(f->exit.kind, X86VCPU_EXIT_NOTHING);
	ck_assert_uint_eq(model_outcome(f->m)->event_count, 1);
	ck_assert_uint_eq(model_outcome(f->m)->events[0].vector, 1);
	fixture_end(f);
}
END_TEST

/*
 * SDM 28.3.2, APM 15.5.1: what an exit leaves of a segment. get_state has what the guest loaded, set_state takes it, and
 * VT-x would take it from SVM.
 */
START_TEST(segments_come_back)
{
	struct fixture *f = begin(_i, MODEL_MAY_BARE_SEGMENTS);
	struct x86vcpu_state state;

	enter_protected_mode(f, 0);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_int_eq(fixture_does(f, MODEL_OP_HYPERCALL, 3, 0, 0, 0), X86VCPU_OK);
		ck_assert_uint_eq(f->exit.kind, X86VCPU_EXIT_HYPERCALL);
		state = state_of(f);
		ck_assert_uint_eq(state.segments[X86VCPU_SEGMENT_TR].access_rights & 0xff, 0x8b);
		ck_assert_uint_eq(state.segments[X86VCPU_SEGMENT_CS].access_rights, 0xc09b);
		ck_assert_uint_eq(state.segments[X86VCPU_SEGMENT_DS].access_rights, 0xc093);
		ck_assert_uint_ne(state.segments[X86VCPU_SEGMENT_ES].access_rights & UNUSABLE, 0);
		ck_assert_uint_ne(state.segments[X86VCPU_SEGMENT_LDTR].access_rights & UNUSABLE, 0);
		set_state(f, &state);
	}
	fixture_end(f);
}
END_TEST

/* SDM 28.3.3: a nested fault saves RF = 1, which must be gone when the instruction has been executed. */
START_TEST(resume_flag_ends_with_the_instruction)
{
	static const struct x86vcpu_mmio_range device = {0x8000, 0x1000};
	static const struct x86vcpu_setup_config config = {
		.size = sizeof(config), .mmio = &device, .mmio_count = 1, .time_slice_ns = UINT64_C(1) << 60};
	struct fixture *f = fixture_begin_with(_i & 1 ? MODEL_SVM : MODEL_VMX,
					       MODEL_ALL | (_i & 2 ? MODEL_MAY_FAULTS_SET_RF : 0), &config);

	enter_protected_mode(f, 0);
	memcpy(model_guest_memory(f->m) + AT, "\x89\x03", 2);
	model_guest_sets(f->m, MODEL_RBX, 0x8000);
	ck_assert_int_eq(fixture_does(f, MODEL_OP_MMIO, 2, 0x8000, 1, 0x8000), X86VCPU_OK);
	ck_assert_uint_eq(f->exit.kind, X86VCPU_EXIT_MMIO_WRITE);
	ck_assert_uint_eq(state_of(f).rip, AT + 2);
	ck_assert_uint_eq(state_of(f).rflags & RF, 0);
	fixture_end(f);
}
END_TEST

/* SDM 28.2.3: "NMI unblocking due to IRET" is undefined while an event was being delivered. */
START_TEST(delivery_does_not_block_nmis)
{
	struct fixture *f = begin(_i, MODEL_MAY_UNDEFINED_BITS);
	struct x86vcpu_events events = {.size = sizeof(events)};

	enter_protected_mode(f, IF);
	ck_assert_int_eq(fixture_does(f, MODEL_OP_DELIVERY, 0, 13, 0, NOWHERE), X86VCPU_OK);
	ck_assert_uint_eq(f->exit.kind, X86VCPU_EXIT_NESTED_PAGE_FAULT);
	ck_assert_int_eq(x86vcpu_get_events(f->vcpu, &events), X86VCPU_OK);
	ck_assert_uint_eq(events.blocking, 0);
	ck_assert_uint_eq(events.delivery.valid, 1);
	ck_assert_uint_eq(events.delivery.vector, 13);
	ck_assert_int_eq(fixture_does(f, MODEL_OP_NONE, 0, 0, 0, 0), X86VCPU_OK);
	ck_assert_uint_eq(model_outcome(f->m)->events[0].vector, 13);
	fixture_end(f);
}
END_TEST

/* The host sees the same exits on both kinds of CPU: every op, with all choices made either way. */
static void live(struct fixture *f, struct x86vcpu_exit exits[MODEL_OP_BAD_ENTRY])
{
	for (uint32_t kind = 1; kind < MODEL_OP_BAD_ENTRY; kind++) {
		if (kind == MODEL_OP_TRIPLE_FAULT || kind == MODEL_OP_REFUSED)
			continue;
		enter_protected_mode(f, IF);
		model_guest_sets(f->m, MODEL_RCX, 0x10);
		(void)fixture_does(f, kind, 2, kind == MODEL_OP_MMIO ? NOWHERE : 0, 1, kind == MODEL_OP_MMIO ? NOWHERE : 0);
		ck_assert_msg(!model_complaints(f->m)[0], "op %u: %s", kind, model_complaints(f->m));
		exits[kind] = f->exit;
		(void)x86vcpu_complete_read(f->vcpu, 0);
		(void)x86vcpu_complete_fault(f->vcpu);
	}
}

START_TEST(choices_do_not_show)
{
	static struct x86vcpu_exit exits[2][MODEL_OP_BAD_ENTRY];
	const uint32_t everywhere = MODEL_MAY_STALE_FIELDS | MODEL_MAY_UNDEFINED_BITS | MODEL_MAY_BARE_SEGMENTS;
	uint64_t count = 0;

	for (unsigned variant = 0; variant < 2; variant++) {
		struct fixture *f = fixture_begin(_i & 1 ? MODEL_SVM : MODEL_VMX, (_i & 2 ? MODEL_ALL : MODEL_ALL & ~MODEL_NRIPS &
						  ~MODEL_DECODE & ~MODEL_CLEAN & ~MODEL_FLUSH_ASID) | (variant ? MODEL_VARIANTS : 0));

		live(f, exits[variant]);
		fixture_end(f);
	}
	for (uint32_t kind = 1; kind < MODEL_OP_BAD_ENTRY; kind++)
		ck_assert_msg(!memcmp(&exits[0][kind], &exits[1][kind], sizeof(exits[0][0])), "op %u: exits %u and %u", kind,
			      exits[0][kind].kind, exits[1][kind].kind);
	for (uint32_t bit = everywhere; bit; bit &= bit - 1) {
		const uint32_t variant = bit & -bit;

		ck_assert(model_choices(variant, 0) || getenv("MODEL_MAY"));
		ck_assert_uint_gt(model_choices(variant, 1), 0);
		count += model_choices(variant, 0) + model_choices(variant, 1);
	}
	printf("%s: %" PRIu64 " choices\n", _i & 1 ? "SVM" : "VT-x", count);
}
END_TEST

Suite *variants_suite(void);
Suite *variants_suite(void)
{
	Suite *suite = suite_create("variants");
	TCase *tc = tcase_create("variants");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, single_step_survives_an_exit_in_a_shadow, 0, 4);
	tcase_add_loop_test(tc, segments_come_back, 0, 4);
	tcase_add_loop_test(tc, resume_flag_ends_with_the_instruction, 0, 4);
	tcase_add_loop_test(tc, delivery_does_not_block_nmis, 0, 4);
	tcase_add_loop_test(tc, choices_do_not_show, 0, 4);
	suite_add_tcase(suite, tc);
	return suite;
}
