/* SPDX-License-Identifier: Apache-2.0 */
/* VMCALL and VMMCALL. */
#include <check.h>
#include <string.h>

#include "cpu/x86.h"
#include "emul/hypercall.h"
#include "guest_fixture.h"

Suite *hypercall_suite(void);

#define HIGH UINT64_C(0xabcdef0100000000)

static struct guest_fixture *caller(enum fixture_mode mode)
{
	struct guest_fixture *f = fixture_reset(mode);
	struct x86vcpu_regs *regs = &f->g.regs;

	regs->rax = HIGH | 100;
	regs->rdi = HIGH | 1;
	regs->rsi = HIGH | 2;
	regs->rdx = HIGH | 3;
	regs->rcx = HIGH | 4;
	regs->r8 = HIGH | 5;
	regs->r9 = HIGH | 6;
	memset(&f->exit, 0xff, sizeof(f->exit));
	return f;
}

static void assert_call(enum fixture_mode mode, uint64_t high)
{
	struct guest_fixture *f = caller(mode);
	const struct x86vcpu_regs before = f->g.regs;

	ck_assert_int_eq(emul_hypercall(&f->g), EMUL_NEXT_EXIT);
	ck_assert_uint_eq(f->exit.kind, X86VCPU_EXIT_HYPERCALL);
	ck_assert_uint_eq(f->exit.u.hypercall.nr, high | 100);
	for (unsigned i = 0; i < 6; i++)
		ck_assert_uint_eq(f->exit.u.hypercall.args[i], high | (i + 1));
	for (unsigned i = 7; i < 15; i++)
		ck_assert_uint_eq(f->exit.u.words[i], 0);
	ck_assert_uint_eq(f->exit.reserved, 0);
	ck_assert_mem_eq(&f->g.regs, &before, sizeof(before));
	ck_assert_uint_eq(f->g.dirty, 0);
	ck_assert_int_eq(f->g.open, GUEST_OPEN_NONE);
}

START_TEST(arguments_in_64_bit_mode)
{
	assert_call(FIXTURE_LONG, HIGH);
}
END_TEST

/* C-17: a 32-bit caller cannot know what is above its registers. */
START_TEST(arguments_of_32_bits)
{
	assert_call((enum fixture_mode[]){FIXTURE_REAL, FIXTURE_PROTECTED16, FIXTURE_PROTECTED32,
					  FIXTURE_COMPATIBILITY}[_i],
		    0);
}
END_TEST

START_TEST(only_the_kernel_may_call)
{
	struct guest_fixture *f = caller(FIXTURE_LONG);

	fixture_set_cpl(f, (unsigned)_i);
	ck_assert_int_eq(emul_hypercall(&f->g), EMUL_UD);
	ck_assert_uint_eq(f->exit.kind, ~0u); /* untouched */
}
END_TEST

START_TEST(not_in_virtual_8086_mode)
{
	ck_assert_int_eq(emul_hypercall(&caller(FIXTURE_VIRTUAL_8086)->g), EMUL_UD);
}
END_TEST

Suite *hypercall_suite(void)
{
	Suite *suite = suite_create("hypercall");
	TCase *tc = tcase_create("hypercall");

	tcase_add_test(tc, arguments_in_64_bit_mode);
	tcase_add_loop_test(tc, arguments_of_32_bits, 0, 4);
	tcase_add_loop_test(tc, only_the_kernel_may_call, 1, 4);
	tcase_add_test(tc, not_in_virtual_8086_mode);
	suite_add_tcase(suite, tc);
	return suite;
}
