/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The world switches as they are shipped, instruction by instruction: what is executed between the last of the host's
 * work and the guest, and between the guest and the first of the host's.
 */
#include <check.h>
#include <string.h>

#include "fixture.h"
#include "step.h"
#include "vmx/vmcs_fields.h"

#define CANARY UINT64_C(0x6775657374000000) /* and the register's number */

static bool is_entry(ZydisMnemonic mnemonic)
{
	return mnemonic == ZYDIS_MNEMONIC_VMLAUNCH || mnemonic == ZYDIS_MNEMONIC_VMRESUME ||
	       mnemonic == ZYDIS_MNEMONIC_VMRUN;
}

/* Index of the only instruction that enters the guest. */
static unsigned entry_index(void)
{
	unsigned found = step_count;

	for (unsigned i = 0; i < step_count; i++) {
		if (!is_entry(steps[i].insn.mnemonic))
			continue;
		ck_assert_uint_eq(found, step_count);
		found = i;
	}
	ck_assert_uint_lt(found, step_count);
	return found;
}

static bool branches(const struct step *step)
{
	switch (step->insn.meta.category) {
	case ZYDIS_CATEGORY_CALL:
	case ZYDIS_CATEGORY_RET:
	case ZYDIS_CATEGORY_COND_BR:
	case ZYDIS_CATEGORY_UNCOND_BR:
		return true;
	default:
		return false;
	}
}

static bool holds_guest_value(const struct step *step)
{
	for (unsigned i = 0; i < 16; i++)
		if (step->gpr[i] >> 8 == CANARY >> 8)
			return true;
	return false;
}

static void set_canaries(struct fixture *f)
{
	for (uint32_t field = MODEL_RAX; field <= MODEL_R15; field++)
		if (field != MODEL_RSP)
			model_guest_sets(f->m, field, CANARY | field);
}

/* The guest does `kind`, and its world switches are in steps[]. */
static void run(struct fixture *f, uint32_t kind)
{
	model_guest_does(f->m, &(struct model_op){kind, 3, 0, 0, 0});
	step_begin();
	ck_assert_int_eq(x86vcpu_run(f->vcpu, &f->exit), X86VCPU_OK);
	step_end();
}

/* ---- The guest's values --------------------------------------------------------------------------------------- */

START_TEST(no_value_of_the_guest_is_left)
{
	struct fixture *f;
	unsigned entry;

	step_install();
	f = fixture_begin(_i ? MODEL_SVM : MODEL_VMX, MODEL_ALL);
	for (unsigned n = 0; n < 2; n++) { /* VMLAUNCH, then VMRESUME */
		set_canaries(f);
		run(f, MODEL_OP_HYPERCALL);
		ck_assert_uint_eq(f->exit.kind, X86VCPU_EXIT_HYPERCALL);
		entry = entry_index();
		ck_assert(holds_guest_value(&steps[entry + 1]));
		for (unsigned i = entry + 1; i < step_count; i++)
			ck_assert_msg(!branches(&steps[i]) || !holds_guest_value(&steps[i]), "at %s, %u after the exit",
				      ZydisMnemonicGetString(steps[i].insn.mnemonic), i - entry);
		ck_assert(steps[step_count - 1].insn.mnemonic == ZYDIS_MNEMONIC_RET);
	}
	fixture_end(f);
}
END_TEST

/* The registers are loaded when VMLAUNCH or VMRESUME fails, and RFLAGS decides which failure it is. */
START_TEST(entry_that_fails_leaves_none)
{
	struct fixture *f;

	step_install();
	f = fixture_begin(MODEL_VMX, MODEL_ALL);
	set_canaries(f);
	run(f, MODEL_OP_HYPERCALL);
	model_vmwrite(VMCS_CR3_TARGET_COUNT, 5);
	run(f, MODEL_OP_HYPERCALL);
	ck_assert_uint_eq(f->exit.kind, X86VCPU_EXIT_FAIL_ENTRY);
	ck_assert_uint_eq(f->exit.u.fail_entry.instruction_error, 7);
	ck_assert(holds_guest_value(&steps[entry_index()]));
	ck_assert(!holds_guest_value(&steps[step_count - 1]));
	model_vmwrite(VMCS_CR3_TARGET_COUNT, 0);
	model_forgive(f->m);
	fixture_end(f);
}
END_TEST

Suite *switch_suite(void);
Suite *switch_suite(void)
{
	Suite *s = suite_create("switch");
	TCase *tc = tcase_create("registers");

	tcase_add_loop_test(tc, no_value_of_the_guest_is_left, 0, 2);
	tcase_add_test(tc, entry_that_fails_leaves_none);
	suite_add_tcase(s, tc);
	return s;
}
