/* SPDX-License-Identifier: Apache-2.0 */
/* The CPU's modes, the end of an instruction, and guest-physical memory. */
#include <check.h>
#include <string.h>

#include "cpu/x86.h"
#include "guest_fixture.h"

Suite *mode_suite(void);

/* ---- Modes ------------------------------------------------------------------------------------------------ */

struct mode_row {
	enum fixture_mode mode;
	unsigned cpl, address_bytes;
	bool long_mode, protected_mode;
};

static const struct mode_row mode_rows[] = {
	{FIXTURE_REAL, 0, 2, false, false},         {FIXTURE_VIRTUAL_8086, 3, 2, false, true},
	{FIXTURE_PROTECTED16, 0, 2, false, true},   {FIXTURE_PROTECTED32, 0, 4, false, true},
	{FIXTURE_COMPATIBILITY, 0, 4, false, true}, {FIXTURE_LONG, 0, 8, true, true},
};

START_TEST(mode_is_told)
{
	const struct mode_row *row = &mode_rows[_i];
	struct guest *g = &fixture_reset(row->mode)->g;

	ck_assert_uint_eq(guest_cpl(g), row->cpl);
	ck_assert_uint_eq(guest_address_bytes(g), row->address_bytes);
	ck_assert(guest_in_64bit_mode(g) == row->long_mode);
	ck_assert(guest_in_protected_mode(g) == row->protected_mode);
}
END_TEST

START_TEST(cpl_is_dpl_of_ss)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_LONG);

	for (unsigned cpl = 0; cpl < 4; cpl++) {
		fixture_set_cpl(f, cpl);
		ck_assert_uint_eq(guest_cpl(&f->g), cpl);
	}
	/* A null SS is unusable at CPL 0 to 2, and its DPL still is the CPL. */
	fixture_set(f, G_ACCESS + X86VCPU_SEGMENT_SS, AR_UNUSABLE | 2 << AR_DPL_SHIFT);
	ck_assert_uint_eq(guest_cpl(&f->g), 2);
}
END_TEST

START_TEST(cpl_is_0_in_real_mode)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_REAL);

	fixture_set(f, G_ACCESS + X86VCPU_SEGMENT_SS, 0xf3);
	ck_assert_uint_eq(guest_cpl(&f->g), 0);
}
END_TEST

/* CS.L outside IA-32e mode means nothing: CS.D decides. */
START_TEST(cs_l_without_lma_means_nothing)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_PROTECTED32);

	fixture_set(f, G_ACCESS + X86VCPU_SEGMENT_CS, 0xe09b);
	ck_assert(!guest_in_64bit_mode(&f->g));
	ck_assert_uint_eq(guest_address_bytes(&f->g), 4);
}
END_TEST

/* ---- The end of an instruction ----------------------------------------------------------------------------- */

struct skip_row {
	enum fixture_mode mode;
	unsigned length;
	uint64_t rip, next;
};

static const struct skip_row skip_rows[] = {
	{FIXTURE_LONG, 2, 0x1000, 0x1002},
	{FIXTURE_LONG, 15, 0xfffffff8, 0x100000007},
	{FIXTURE_LONG, 3, 0xffffffff80000000, 0xffffffff80000003},
	{FIXTURE_LONG, 2, 0xfffffffffffffffe, 0}, /* C-07b: no overflow at the top */
	{FIXTURE_LONG, 2, 0x00007ffffffffffe, 0x0000800000000000},
	{FIXTURE_PROTECTED32, 2, 0xfffffffe, 0}, /* C-07b: EIP has 32 bits */
	{FIXTURE_COMPATIBILITY, 3, 0xfffffffe, 1},
	{FIXTURE_PROTECTED16, 2, 0xfffe, 0x10000}, /* EIP, and the limit check is the CPU's */
	{FIXTURE_REAL, 2, 0xfff0, 0xfff2},
};

START_TEST(skip_moves_rip)
{
	const struct skip_row *row = &skip_rows[_i];
	struct guest_fixture *f = fixture_reset(row->mode);

	fixture_set(f, G_RIP, row->rip);
	guest_skip(&f->g, row->length);
	fixture_next_exit(f);
	ck_assert_uint_eq(f->hardware[G_RIP], row->next);
}
END_TEST

START_TEST(skip_reads_and_writes_little)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_LONG);

	fixture_set(f, G_RIP, 0x1000);
	guest_skip(&f->g, 2);
	ck_assert_uint_eq(f->reads[G_RIP], 1);
	ck_assert_uint_eq(f->reads[G_RFLAGS], 1);
	ck_assert_uint_eq(f->reads[G_BLOCKING], 1);
	ck_assert_uint_eq(fixture_reads(f), 3);
	ck_assert_uint_eq(f->g.dirty, UINT64_C(1) << G_RIP);
}
END_TEST

START_TEST(skip_ends_the_interrupt_shadow)
{
	static const uint64_t shadows[] = {GUEST_BLOCKING_STI, GUEST_BLOCKING_MOV_SS};
	struct guest_fixture *f = fixture_reset(FIXTURE_LONG);

	fixture_set(f, G_BLOCKING, shadows[_i] | GUEST_BLOCKING_NMI);
	guest_skip(&f->g, 1);
	fixture_next_exit(f);
	ck_assert_uint_eq(f->hardware[G_BLOCKING], GUEST_BLOCKING_NMI);
}
END_TEST

START_TEST(skip_keeps_blocking_by_nmi_unwritten)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_LONG);

	fixture_set(f, G_BLOCKING, GUEST_BLOCKING_NMI);
	guest_skip(&f->g, 1);
	ck_assert_uint_eq(f->g.dirty & UINT64_C(1) << G_BLOCKING, 0);
}
END_TEST

START_TEST(skip_clears_rf)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_LONG);

	fixture_set(f, G_RFLAGS, RFLAGS_FIXED | RFLAGS_RF | RFLAGS_IF);
	guest_skip(&f->g, 1);
	fixture_next_exit(f);
	ck_assert_uint_eq(f->hardware[G_RFLAGS], RFLAGS_FIXED | RFLAGS_IF);
}
END_TEST

START_TEST(skip_with_tf_makes_a_single_step_pending)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_LONG);

	fixture_set(f, G_RFLAGS, RFLAGS_FIXED | RFLAGS_TF);
	fixture_set(f, G_PENDING_DB, 0x1001); /* breakpoint 0 hit in the shadow of MOV SS */
	guest_skip(&f->g, 2);
	fixture_next_exit(f);
	ck_assert_uint_eq(f->hardware[G_PENDING_DB], 0x5001);
	ck_assert_uint_eq(f->hardware[G_RFLAGS], RFLAGS_FIXED | RFLAGS_TF);
}
END_TEST

/* ---- Memory ------------------------------------------------------------------------------------------------ */

static struct guest_fixture *two_regions(void)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_PROTECTED32);

	for (unsigned i = 0; i < 0x10000; i++)
		f->ram[i] = (uint8_t)(i * 7 + (i >> 8));
	f->regions[0] = (struct x86vcpu_memory_region){0x1000, f->ram + 0x1000, 0x1800, 0};
	f->regions[1] = (struct x86vcpu_memory_region){0x2800, f->ram + 0x2800, 0x800, 0};
	f->g.memory_count = 2;
	return f;
}

START_TEST(memory_crosses_regions)
{
	struct guest_fixture *f = two_regions();
	uint8_t buf[0x2000];

	ck_assert_int_eq(guest_read_physical(&f->g, 0x1000, buf, sizeof(buf)), X86VCPU_OK);
	ck_assert_int_eq(memcmp(buf, f->ram + 0x1000, sizeof(buf)), 0);
	ck_assert_uint_eq(f->host_reads, 0);
}
END_TEST

START_TEST(memory_ends_where_nothing_follows)
{
	struct guest_fixture *f = two_regions();
	uint8_t buf[16];

	ck_assert_int_eq(guest_read_physical(&f->g, 0x2ff0, buf, 16), X86VCPU_OK);
	ck_assert_int_lt(guest_read_physical(&f->g, 0x2ff1, buf, 16), 0);
	ck_assert_int_lt(guest_read_physical(&f->g, 0xfff, buf, 1), 0);
	ck_assert_int_eq(guest_read_physical(&f->g, 0xfff, buf, 0), X86VCPU_OK);
}
END_TEST

START_TEST(memory_does_not_wrap)
{
	struct guest_fixture *f = two_regions();
	uint8_t buf[16];

	ck_assert_int_lt(guest_read_physical(&f->g, UINT64_MAX - 7, buf, 16), 0);
	ck_assert_int_lt(guest_read_physical(&f->g, UINT64_MAX, buf, 1), 0);
}
END_TEST

/* read_far answers INVALID_INPUT to a request that crosses a page. */
START_TEST(memory_of_the_host_is_read_page_by_page)
{
	struct guest_fixture *f = two_regions();
	uint8_t buf[0x2000];

	for (unsigned i = 0; i < FIXTURE_FAR_SIZE; i++)
		f->far[i] = (uint8_t)(i * 3 + (i >> 8));
	ck_assert_int_eq(guest_read_physical(&f->g, FIXTURE_FAR + 0x800, buf, sizeof(buf)), X86VCPU_OK);
	ck_assert_int_eq(memcmp(buf, f->far + 0x800, sizeof(buf)), 0);
	ck_assert_uint_eq(f->host_reads, 3);
}
END_TEST

/* The host is asked for nothing that a region covers, in the middle of a page either. */
START_TEST(memory_of_a_region_beats_the_host)
{
	struct guest_fixture *f = two_regions();
	uint8_t buf[16];

	memset(f->far, 0xaa, sizeof(f->far));
	f->regions[1] = (struct x86vcpu_memory_region){FIXTURE_FAR + 0x104, f->ram, 4, 0};
	ck_assert_int_eq(guest_read_physical(&f->g, FIXTURE_FAR + 0x100, buf, sizeof(buf)), X86VCPU_OK);
	ck_assert_uint_eq(buf[3], 0xaa);
	ck_assert_int_eq(memcmp(buf + 4, f->ram, 4), 0);
	ck_assert_uint_eq(buf[8], 0xaa);
	ck_assert_uint_eq(f->host_reads, 2);
}
END_TEST

START_TEST(mmio_ranges_are_half_open)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_PROTECTED32);

	f->mmio[1] = (struct x86vcpu_mmio_range){UINT64_MAX - 0xfff, 0x1000};
	f->g.mmio_count = 2;
	ck_assert(!guest_is_mmio(&f->g, FIXTURE_MMIO - 1));
	ck_assert(guest_is_mmio(&f->g, FIXTURE_MMIO));
	ck_assert(guest_is_mmio(&f->g, FIXTURE_MMIO + FIXTURE_MMIO_SIZE - 1));
	ck_assert(!guest_is_mmio(&f->g, FIXTURE_MMIO + FIXTURE_MMIO_SIZE));
	ck_assert(guest_is_mmio(&f->g, UINT64_MAX));
	ck_assert(!guest_is_mmio(&f->g, 0));
	ck_assert(guest_is_mmio_access(&f->g, FIXTURE_MMIO + FIXTURE_MMIO_SIZE - 4, 4));
	ck_assert(!guest_is_mmio_access(&f->g, FIXTURE_MMIO + FIXTURE_MMIO_SIZE - 4, 5));
}
END_TEST

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))

Suite *mode_suite(void)
{
	Suite *suite = suite_create("mode");
	TCase *mode = tcase_create("mode");
	TCase *skip = tcase_create("skip");
	TCase *memory = tcase_create("memory");

	tcase_add_loop_test(mode, mode_is_told, 0, COUNT(mode_rows));
	tcase_add_test(mode, cpl_is_dpl_of_ss);
	tcase_add_test(mode, cpl_is_0_in_real_mode);
	tcase_add_test(mode, cs_l_without_lma_means_nothing);
	suite_add_tcase(suite, mode);

	tcase_add_loop_test(skip, skip_moves_rip, 0, COUNT(skip_rows));
	tcase_add_test(skip, skip_reads_and_writes_little);
	tcase_add_loop_test(skip, skip_ends_the_interrupt_shadow, 0, 2);
	tcase_add_test(skip, skip_keeps_blocking_by_nmi_unwritten);
	tcase_add_test(skip, skip_clears_rf);
	tcase_add_test(skip, skip_with_tf_makes_a_single_step_pending);
	suite_add_tcase(suite, skip);

	tcase_add_test(memory, memory_crosses_regions);
	tcase_add_test(memory, memory_ends_where_nothing_follows);
	tcase_add_test(memory, memory_does_not_wrap);
	tcase_add_test(memory, memory_of_the_host_is_read_page_by_page);
	tcase_add_test(memory, memory_of_a_region_beats_the_host);
	tcase_add_test(memory, mmio_ranges_are_half_open);
	suite_add_tcase(suite, memory);
	return suite;
}
