/* SPDX-License-Identifier: Apache-2.0 */
/* XSETBV (SDM Vol. 1, 13.3; Vol. 2, XSETBV). */
#include <check.h>

#include "cpu/x86.h"
#include "emul/xcr.h"
#include "guest_fixture.h"

Suite *xcr_suite(void);

#define AVX512_HOST UINT64_C(0x2e7)
#define EVERYTHING UINT64_C(0x602ff)

static struct guest *guest_with(uint64_t allowed, uint64_t value)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_LONG);

	fixture_set(f, G_CR4, CR4_PAE | CR4_OSXSAVE);
	f->g.limits.xcr0 = allowed;
	f->g.regs.rax = UINT64_C(0xdead) << 32 | (uint32_t)value; /* upper halves do not count */
	f->g.regs.rdx = UINT64_C(0xdead) << 32 | value >> 32;
	f->g.regs.rcx = UINT64_C(0xdead) << 32;
	return &f->g;
}

struct row {
	uint64_t allowed, value;
	int result;
};

static const struct row rows[] = {
	{7, 1, EMUL_NEXT},
	{7, 3, EMUL_NEXT},
	{7, 7, EMUL_NEXT},
	{AVX512_HOST, 0xe7, EMUL_NEXT},
	{AVX512_HOST, 0x2e7, EMUL_NEXT},
	{AVX512_HOST, 0x201, EMUL_NEXT},
	{AVX512_HOST, 0x207, EMUL_NEXT},
	/* x87 is always there. */
	{7, 0, EMUL_GP},
	{7, 2, EMUL_GP},
	{7, 6, EMUL_GP},
	{AVX512_HOST, 0x200, EMUL_GP},
	/* AVX needs SSE. */
	{7, 5, EMUL_GP},
	/* AVX-512: all three components, and AVX. */
	{AVX512_HOST, 0x27, EMUL_GP},
	{AVX512_HOST, 0x47, EMUL_GP},
	{AVX512_HOST, 0x87, EMUL_GP},
	{AVX512_HOST, 0x67, EMUL_GP},
	{AVX512_HOST, 0xa7, EMUL_GP},
	{AVX512_HOST, 0xc7, EMUL_GP},
	{AVX512_HOST, 0xe3, EMUL_GP},
	{AVX512_HOST, 0xe1, EMUL_GP},
	{AVX512_HOST, 0xe5, EMUL_GP},
	/* C-01b: what the host could not load. */
	{7, 0xe7, EMUL_GP},
	{7, 0x207, EMUL_GP},
	{1, 3, EMUL_GP},
	{AVX512_HOST, 0x1f, EMUL_GP},
	{AVX512_HOST, 0x107, EMUL_GP},
	{AVX512_HOST, 0x60007, EMUL_GP},
	{AVX512_HOST, UINT64_C(1) << 32 | 7, EMUL_GP},
	{AVX512_HOST, UINT64_C(1) << 63 | 7, EMUL_GP},
	/* MPX and AMX come in pairs, should they ever be allowed. */
	{EVERYTHING, 0x1f, EMUL_NEXT},
	{EVERYTHING, 0x0f, EMUL_GP},
	{EVERYTHING, 0x17, EMUL_GP},
	{EVERYTHING, 0x60007, EMUL_NEXT},
	{EVERYTHING, 0x20007, EMUL_GP},
	{EVERYTHING, 0x40007, EMUL_GP},
};

START_TEST(value_is_checked)
{
	struct guest *g = guest_with(rows[_i].allowed, rows[_i].value);

	ck_assert_int_eq(emul_xsetbv(g), rows[_i].result);
	ck_assert_uint_eq(g->xcr0, rows[_i].result == EMUL_NEXT ? rows[_i].value : 1);
	ck_assert_uint_eq(g->dirty, 0);
	ck_assert(xcr0_valid(&g->limits, rows[_i].value) == (rows[_i].result == EMUL_NEXT));
}
END_TEST

START_TEST(only_xcr0_exists)
{
	struct guest *g = guest_with(7, 7);

	g->regs.rcx = (uint64_t[]){1, 2, 0xffffffff}[_i];
	ck_assert_int_eq(emul_xsetbv(g), EMUL_GP);
	ck_assert_uint_eq(g->xcr0, 1);
}
END_TEST

START_TEST(ud_without_osxsave)
{
	struct guest *g = guest_with(7, 0);

	fixture_set((struct guest_fixture *)g, G_CR4, CR4_PAE);
	fixture_set_cpl((struct guest_fixture *)g, 3); /* #UD comes first */
	ck_assert_int_eq(emul_xsetbv(g), EMUL_UD);
	ck_assert_uint_eq(g->xcr0, 1);
}
END_TEST

/* C-01e: some CPUs exit before they check the CPL. */
START_TEST(cpl_0_only)
{
	struct guest *g = guest_with(7, 7);

	fixture_set_cpl((struct guest_fixture *)g, (unsigned)_i);
	ck_assert_int_eq(emul_xsetbv(g), EMUL_GP);
	ck_assert_uint_eq(g->xcr0, 1);
}
END_TEST

/* XSETBV is valid in every mode but virtual-8086 mode. */
START_TEST(modes)
{
	static const enum fixture_mode valid[] = {FIXTURE_REAL, FIXTURE_PROTECTED16, FIXTURE_PROTECTED32,
						  FIXTURE_COMPATIBILITY, FIXTURE_LONG};
	struct guest_fixture *f = fixture_reset(valid[_i]);

	fixture_set(f, G_CR4, f->hardware[G_CR4] | CR4_OSXSAVE);
	f->g.regs.rax = 3;
	ck_assert_int_eq(emul_xsetbv(&f->g), EMUL_NEXT);
	f = fixture_reset(FIXTURE_VIRTUAL_8086);
	fixture_set(f, G_CR4, CR4_OSXSAVE);
	f->g.regs.rax = 3;
	ck_assert_int_eq(emul_xsetbv(&f->g), EMUL_GP);
}
END_TEST

Suite *xcr_suite(void)
{
	Suite *suite = suite_create("xcr");
	TCase *tc = tcase_create("xsetbv");

	tcase_add_loop_test(tc, value_is_checked, 0, (int)(sizeof(rows) / sizeof(rows[0])));
	tcase_add_loop_test(tc, only_xcr0_exists, 0, 3);
	tcase_add_test(tc, ud_without_osxsave);
	tcase_add_loop_test(tc, cpl_0_only, 1, 4);
	tcase_add_loop_test(tc, modes, 0, 5);
	suite_add_tcase(suite, tc);
	return suite;
}
