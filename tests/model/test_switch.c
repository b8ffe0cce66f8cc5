/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The world switches as they are shipped, instruction by instruction: what is executed between the last of the host's
 * work and the guest, and between the guest and the first of the host's.
 */
#include <check.h>
#include <string.h>

#include "cpu/switch.h"
#include "fixture.h"
#include "profiles.h"
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

/* ---- Steps, in the order in which a CPU executes them --------------------------------------------------------------- */

static bool is_wrmsr(const struct step *step, uint32_t msr)
{
	return step->insn.mnemonic == ZYDIS_MNEMONIC_WRMSR && (uint32_t)step->gpr[MODEL_RCX] == msr;
}

/* Index of the first of `from` to `to` that is it; `to`: none. */
static unsigned find(unsigned from, unsigned to, ZydisMnemonic mnemonic)
{
	while (from < to && steps[from].insn.mnemonic != mnemonic)
		from++;
	return from;
}

static unsigned find_wrmsr(unsigned from, unsigned to, uint32_t msr)
{
	while (from < to && !is_wrmsr(&steps[from], msr))
		from++;
	return from;
}

static unsigned count(unsigned from, unsigned to, ZydisMnemonic mnemonic)
{
	unsigned n = 0;

	for (unsigned i = from; i < to; i++)
		n += steps[i].insn.mnemonic == mnemonic;
	return n;
}

static uint32_t steps_before(unsigned entry)
{
	return (find(0, entry, ZYDIS_MNEMONIC_DIV) < entry ? SWITCH_DIVIDE : 0) |
	       (find_wrmsr(0, entry, SWITCH_MSR_SPEC_CTRL) < entry ? SWITCH_SPEC_CTRL : 0) |
	       (find_wrmsr(0, entry, SWITCH_MSR_FLUSH_CMD) < entry ? SWITCH_FLUSH_L1D : 0) |
	       (find(0, entry, ZYDIS_MNEMONIC_VERW) < entry ? SWITCH_VERW : 0);
}

/* Both kinds of filling the return stack are calls over INT3; the history's are not. */
static unsigned calls_over_int3(unsigned entry)
{
	unsigned n = 0;

	for (unsigned i = entry; i < step_count; i++) {
		const uint8_t *next = (const uint8_t *)steps[i].rip + steps[i].insn.length;

		n += steps[i].insn.meta.category == ZYDIS_CATEGORY_CALL && *next == 0xcc;
	}
	return n;
}

static uint32_t steps_after(unsigned entry)
{
	const unsigned calls = calls_over_int3(entry), rets = count(entry, step_count, ZYDIS_MNEMONIC_RET);

	return (find_wrmsr(entry, step_count, SWITCH_MSR_PRED_CMD) < step_count ? SWITCH_IBPB : 0) |
	       (find_wrmsr(entry, step_count, SWITCH_MSR_SPEC_CTRL) < step_count ? SWITCH_SPEC_CTRL : 0) |
	       (calls >= 32 ? SWITCH_FILL_RSB : 0) | (calls % 32 ? SWITCH_CALL : 0) | (rets > 1 ? SWITCH_CLEAR_BHB : 0);
}

/* Nothing that VERW is to hide is loaded after it: only the guest's registers are in the CPU. */
static void check_verw(unsigned entry, bool guest_has_run)
{
	const unsigned verw = find(0, entry, ZYDIS_MNEMONIC_VERW);

	if (verw == entry)
		return;
	for (unsigned i = verw + 1; i < entry; i++)
		ck_assert_msg(branches(&steps[i]), "%s after VERW", ZydisMnemonicGetString(steps[i].insn.mnemonic));
	ck_assert_int_eq(holds_guest_value(&steps[verw]), guest_has_run);
	/* A register as the operand would not do. */
	ck_assert(steps[verw].operands[0].type == ZYDIS_OPERAND_TYPE_MEMORY);
	ck_assert(steps[verw].operands[0].mem.base == ZYDIS_REGISTER_RSP);
	ck_assert_uint_eq(steps[verw].selector, 0x10); /* the host's SS */
}

/* SPEC_CTRL is exchanged, and the return stack filled, before anything returns; nothing returns before the LFENCE. */
static void check_after(unsigned entry, uint32_t after)
{
	const unsigned last = step_count - 1, ret = find(entry, step_count, ZYDIS_MNEMONIC_RET);
	const unsigned barrier = find_wrmsr(entry, step_count, SWITCH_MSR_PRED_CMD);
	const unsigned spec_ctrl = find_wrmsr(entry, step_count, SWITCH_MSR_SPEC_CTRL);
	const unsigned call = find(entry, step_count, ZYDIS_MNEMONIC_CALL);
	unsigned fence = last;

	if (after & SWITCH_IBPB)
		ck_assert_uint_lt(barrier, call < spec_ctrl ? call : spec_ctrl);
	if (after & SWITCH_SPEC_CTRL)
		ck_assert_uint_lt(spec_ctrl, call < ret ? call : ret);
	if (after & (SWITCH_FILL_RSB | SWITCH_CALL))
		ck_assert_uint_lt(call, ret);
	while (fence > entry && steps[fence].insn.mnemonic != ZYDIS_MNEMONIC_LFENCE)
		fence--;
	ck_assert_msg(fence > entry, "no LFENCE before the last RET");
	for (unsigned i = fence + 1; i < last; i++)
		ck_assert_msg(!branches(&steps[i]), "%s after LFENCE", ZydisMnemonicGetString(steps[i].insn.mnemonic));
	for (unsigned i = entry; i < last; i++)
		ck_assert(!branches(&steps[i]) || steps[i].operands[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE ||
			  after & SWITCH_CLEAR_BHB);
}

START_TEST(steps_of_each_cpu)
{
	const struct profile *profile = &profiles[_i];
	struct fixture *f;
	unsigned entry;

	step_install();
	f = fixture_begin_profile(&profile->cpu);
	for (unsigned n = 0; n < 2; n++) {
		set_canaries(f);
		run(f, MODEL_OP_HYPERCALL);
		entry = entry_index();
		ck_assert_msg(steps_before(entry) == profile->before, "%s: before the entry: %x", profile->cpu.name,
			      steps_before(entry));
		ck_assert_msg(steps_after(entry) == profile->after, "%s: after the exit: %x", profile->cpu.name,
			      steps_after(entry));
		check_verw(entry, n > 0);
		if (profile->before | profile->after)
			check_after(entry, profile->after);
		for (unsigned i = entry + 1; i < step_count; i++)
			ck_assert(!branches(&steps[i]) || !holds_guest_value(&steps[i]));
	}
	fixture_end(f);
}
END_TEST

/* The entry that fails has written the guest's SPEC_CTRL, and the host's must come back. */
START_TEST(entry_that_fails_takes_the_steps_after_an_exit)
{
	struct fixture *f;
	unsigned entry;

	step_install();
	f = fixture_begin_profile(&profiles[2].cpu);
	run(f, MODEL_OP_HYPERCALL);
	model_vmwrite(VMCS_CR3_TARGET_COUNT, 5);
	run(f, MODEL_OP_HYPERCALL);
	ck_assert_uint_eq(f->exit.kind, X86VCPU_EXIT_FAIL_ENTRY);
	entry = entry_index();
	ck_assert_uint_eq(steps_after(entry), profiles[2].after);
	model_vmwrite(VMCS_CR3_TARGET_COUNT, 0);
	model_forgive(f->m);
	fixture_end(f);
}
END_TEST

/* A CPU with nothing to do executes nothing for it. */
START_TEST(nothing_is_executed_where_nothing_is_needed)
{
	struct fixture *f;

	step_install();
	f = fixture_begin_profile(&profiles[profile_count - 1].cpu);
	run(f, MODEL_OP_HYPERCALL);
	ck_assert_uint_eq(count(0, step_count, ZYDIS_MNEMONIC_WRMSR), 0);
	ck_assert_uint_eq(count(0, step_count, ZYDIS_MNEMONIC_LFENCE), 0);
	ck_assert_uint_eq(count(0, step_count, ZYDIS_MNEMONIC_TEST), 0);
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
	tc = tcase_create("steps");
	tcase_add_loop_test(tc, steps_of_each_cpu, 0, (int)profile_count);
	tcase_add_test(tc, entry_that_fails_takes_the_steps_after_an_exit);
	tcase_add_test(tc, nothing_is_executed_where_nothing_is_needed);
	suite_add_tcase(s, tc);
	return s;
}
