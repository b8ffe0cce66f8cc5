/* SPDX-License-Identifier: Apache-2.0 */
/* Images of extended registers that XRSTOR would refuse (SDM Vol. 1, 13.8.1), and which MSRs a copy needs. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "emul/context.h"
#include "emul/msr.h"
#include "guest_fixture.h"

Suite *save_suite(void);

#define IMAGE_SIZE 832u /* x87, SSE, AVX */
#define HEADER 512u

static uint8_t areas[8192] __attribute__((aligned(64)));
static uint8_t image[IMAGE_SIZE];

static struct guest *guest_with_avx(void)
{
	struct guest *g = &fixture_reset(FIXTURE_LONG)->g;

	memset(areas, 0x5a, sizeof(areas));
	memset(areas + HEADER, 0, 64);
	areas[HEADER] = 7;
	g->context = (struct guest_context){
		.guest_area = areas, .host_area = areas + 4096, .frames = 2, .has_xsave = true, .mxcsr_mask = 0xffff};
	g->limits.has_xsave = true;
	g->limits.xcr0 = 7;
	g->limits.xsave_size = IMAGE_SIZE;
	memset(image, 0, sizeof(image));
	image[24] = 0x80;
	image[25] = 0x1f;
	image[HEADER] = 3;
	return g;
}

START_TEST(image_goes_in_and_out)
{
	struct guest *g = guest_with_avx();
	uint8_t out[IMAGE_SIZE];

	image[700] = 0x77;
	ck_assert(context_restore(g, image));
	context_save(g, out);
	ck_assert_int_eq(memcmp(image, out, sizeof(out)), 0);
	/* Nothing of what was there before stays behind the image. */
	for (unsigned i = IMAGE_SIZE; i < 4096; i++)
		ck_assert_uint_eq(areas[i], 0);
	ck_assert_uint_eq(areas[4096], 0x5a);
}
END_TEST

/* What only the host's XCR0 has is not the guest's to see. */
START_TEST(components_of_the_host_are_left_out)
{
	struct guest *g = guest_with_avx();

	areas[HEADER + 1] = 2; /* PKRU */
	context_save(g, image);
	ck_assert_uint_eq(image[HEADER], 7);
	ck_assert_uint_eq(image[HEADER + 1], 0);
}
END_TEST

static const struct {
	unsigned at;
	uint8_t bits;
} faulting[] = {
	{26, 1},          /* MXCSR bit 16 */
	{HEADER, 8},      /* bound registers: the guest has none */
	{HEADER + 1, 2},  /* PKRU: neither */
	{HEADER + 7, 0x80},
	{HEADER + 8, 1},  /* XCOMP_BV */
	{HEADER + 15, 0x80}, /* the compacted format */
	{HEADER + 16, 1},
	{HEADER + 63, 1},
};

START_TEST(image_that_faults_is_refused)
{
	struct guest *g = guest_with_avx();
	uint8_t before[sizeof(areas)];

	memcpy(before, areas, sizeof(areas));
	image[faulting[_i].at] |= faulting[_i].bits;
	ck_assert(!context_restore(g, image));
	ck_assert_int_eq(memcmp(before, areas, sizeof(areas)), 0);
}
END_TEST

/* Bit 6, DAZ, is not on every CPU. */
START_TEST(mxcsr_has_what_the_cpu_has)
{
	struct guest *g = guest_with_avx();

	image[24] |= 0x40;
	ck_assert(context_restore(g, image));
	g->context.mxcsr_mask = 0xffbf;
	ck_assert(!context_restore(g, image));
}
END_TEST

START_TEST(fxsave_image_on_a_cpu_without_xsave)
{
	struct guest *g = guest_with_avx();

	g->context.has_xsave = g->limits.has_xsave = false;
	ck_assert_uint_eq(context_image_bytes(g), 512);
	image[HEADER] = 0xff; /* behind the image */
	ck_assert(context_restore(g, image));
}
END_TEST

static bool is_saved(const struct guest *g, uint32_t wanted)
{
	uint32_t msr, last = 0;

	for (uint32_t n = 0; msr_saved(g, n, &msr); n++) {
		ck_assert_uint_gt(msr, last);
		last = msr;
		if (msr == wanted)
			return true;
	}
	return false;
}

/* Every MSR that the guest can read and write takes back what a copy was given. */
START_TEST(saved_msrs_can_be_written_back)
{
	struct guest *g = guest_with_avx();
	uint32_t msr, count = 0;

	g->limits.mtrr = g->limits.rdtscp = g->limits.has_xsaves = true;
	guest_reset_msrs(g);
	guest_set(g, G_PAT, UINT64_C(0x0007040600070406));
	for (; msr_saved(g, count, &msr); count++) {
		uint64_t value, again;

		ck_assert_msg(msr_read(g, msr, &value) == EMUL_NEXT, "0x%x cannot be read", msr);
		if (msr == 0x3b)
			continue; /* moves the TSC, which is nowhere here */
		ck_assert_msg(msr_write(g, msr, value) == EMUL_NEXT, "0x%x cannot be written", msr);
		ck_assert_int_eq(msr_read(g, msr, &again), EMUL_NEXT);
		ck_assert_uint_eq(value, again);
	}
	ck_assert_uint_eq(count, 42);
}
END_TEST

START_TEST(what_the_guest_lacks_or_the_vmm_has_is_not_saved)
{
	struct guest *g = guest_with_avx();

	g->limits.rdtscp = true;
	ck_assert(is_saved(g, 0xc0000103));
	g->limits.rdtscp = false;
	ck_assert(!is_saved(g, 0xc0000103));
	ck_assert(is_saved(g, 0x17a));
	g->msr_ranges[0] = (struct x86vcpu_msr_range){0x17a, 0x17a};
	g->msr_range_count = 1;
	ck_assert(!is_saved(g, 0x17a));
	ck_assert(!is_saved(g, 0x10));
	ck_assert(!is_saved(g, 0xc0000080));
}
END_TEST

Suite *save_suite(void)
{
	Suite *suite = suite_create("save");
	TCase *tc = tcase_create("image");

	tcase_add_test(tc, image_goes_in_and_out);
	tcase_add_test(tc, components_of_the_host_are_left_out);
	tcase_add_loop_test(tc, image_that_faults_is_refused, 0, sizeof(faulting) / sizeof(faulting[0]));
	tcase_add_test(tc, mxcsr_has_what_the_cpu_has);
	tcase_add_test(tc, fxsave_image_on_a_cpu_without_xsave);
	suite_add_tcase(suite, tc);
	tc = tcase_create("msrs");
	tcase_add_test(tc, saved_msrs_can_be_written_back);
	tcase_add_test(tc, what_the_guest_lacks_or_the_vmm_has_is_not_saved);
	suite_add_tcase(suite, tc);
	return suite;
}
