/* SPDX-License-Identifier: Apache-2.0 */
/* The guest after RESET (SDM table 10-1), and time slices. */
#include <check.h>
#include <string.h>

#include "cpu/x86.h"
#include "emul/cpuid.h"
#include "emul/reset.h"
#include "emul/slice.h"
#include "emul/slice.h"
#include "guest_fixture.h"
#include "vcpu/check.h"

Suite *reset_suite(void);

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

#define RESET_VECTOR UINT64_C(0xfffffff0)
#define SIGNATURE 0x000806eau
#define TSC_NOW UINT64_C(0x123456789abcdef)

static uint64_t ticks_per_us;

static uint64_t tsc_now(void)
{
	return TSC_NOW;
}

static uint64_t nanos_to_ticks(void *ctx, uint64_t nanos)
{
	ck_assert_ptr_nonnull(ctx);
	return nanos / 1000 * ticks_per_us;
}

static const struct x86vcpu_host_ops host = {.size = sizeof(host), .nanos_to_ticks = nanos_to_ticks};

static const struct guest_cpuid_entry leaves[] = {
	{.leaf = 0, .eax = 1},
	{.leaf = 1, .eax = SIGNATURE, .edx = CPUID_1_EDX_FPU},
};

/* A guest that has run: nothing is what it was at reset. */
static struct guest *used_guest(void)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_LONG);
	struct guest *g = &f->g;

	for (unsigned i = 0; i < G_FIELDS; i++)
		fixture_set(f, (enum guest_field)i, UINT64_C(0xa5a5a5a5a5a5a5a5));
	memset(&g->regs, 0xa5, sizeof(g->regs));
	memset(&g->msrs, 0xa5, sizeof(g->msrs));
	g->cr2 = *g->lapic.tpr = 0xa5;
	g->msrs_changed = false;
	g->host_tsc = tsc_now;
	g->host = &host;
	cpuid_attach(g, leaves, COUNT(leaves));
	return g;
}

static struct guest *reset_guest(uint64_t entry)
{
	struct guest *g = used_guest();

	guest_reset(g, entry);
	return g;
}

/* What the hardware gets, not only what the cache says. */
static uint64_t field(struct guest *g, unsigned index)
{
	const uint64_t value = guest_get(g, (enum guest_field)index);

	ck_assert(g->dirty & UINT64_C(1) << index);
	return value;
}

/* ---- Table 10-1 ------------------------------------------------------------------------------------------ */

static const struct {
	unsigned field;
	uint64_t value;
} fields[] = {
	{G_RFLAGS, 0x2},
	{G_CR0, 0x60000010},
	{G_CR3, 0},
	{G_CR4, 0},
	{G_EFER, 0},
	{G_RSP, 0},
	{G_DR7, 0x400},
	{G_GDTR_BASE, 0},
	{G_GDTR_LIMIT, 0xffff},
	{G_IDTR_BASE, 0},
	{G_IDTR_LIMIT, 0xffff},
	{G_SYSENTER_CS, 0},
	{G_SYSENTER_ESP, 0},
	{G_SYSENTER_EIP, 0},
	{G_PAT, UINT64_C(0x0007040600070406)},
	{G_BLOCKING, 0},
	{G_ACTIVITY, 0},
	{G_PENDING_DB, 0},
	{G_PDPTE0, 0},
	{G_PDPTE1, 0},
	{G_PDPTE2, 0},
	{G_PDPTE3, 0},
};

START_TEST(register_is_reset)
{
	ck_assert_uint_eq(field(reset_guest(RESET_VECTOR), fields[_i].field), fields[_i].value);
}
END_TEST

/* Present, read/write, accessed; LDTR an LDT, TR a busy TSS. */
static const uint32_t access_rights[X86VCPU_SEGMENTS] = {0x93, 0x9b, 0x93, 0x93, 0x93, 0x93, 0x82, 0x8b};

START_TEST(segment_is_reset)
{
	struct guest *g = reset_guest(0x7c00);

	ck_assert_uint_eq(field(g, G_SELECTOR + (unsigned)_i), 0);
	ck_assert_uint_eq(field(g, G_BASE + (unsigned)_i), 0);
	ck_assert_uint_eq(field(g, G_LIMIT + (unsigned)_i), 0xffff);
	ck_assert_uint_eq(field(g, G_ACCESS + (unsigned)_i), access_rights[_i]);
}
END_TEST

START_TEST(every_field_is_written)
{
	ck_assert_uint_eq(reset_guest(RESET_VECTOR)->dirty, (UINT64_C(1) << G_FIELDS) - 1);
	ck_assert_uint_eq(reset_guest(0x1000)->dirty, (UINT64_C(1) << G_FIELDS) - 1);
}
END_TEST

/* EDX has the processor's signature, as CPUID.1:EAX; all others are 0. */
START_TEST(general_registers_are_reset)
{
	struct guest *g = reset_guest(RESET_VECTOR);
	const struct x86vcpu_regs expected = {.rdx = SIGNATURE};

	ck_assert_mem_eq(&g->regs, &expected, sizeof(expected));
	ck_assert_uint_eq(g->cr2, 0);
	ck_assert_uint_eq(*g->lapic.tpr, 0);
}
END_TEST

/* ---- Where it begins --------------------------------------------------------------------------------------- */

START_TEST(reset_vector_is_16_bytes_below_4g)
{
	struct guest *g = reset_guest(RESET_VECTOR);

	ck_assert_uint_eq(field(g, G_SELECTOR + X86VCPU_SEGMENT_CS), 0xf000);
	ck_assert_uint_eq(field(g, G_BASE + X86VCPU_SEGMENT_CS), 0xffff0000);
	ck_assert_uint_eq(field(g, G_RIP), 0xfff0);
	ck_assert_uint_eq(field(g, G_LIMIT + X86VCPU_SEGMENT_CS), 0xffff);
	ck_assert_uint_eq(field(g, G_ACCESS + X86VCPU_SEGMENT_CS), 0x9b);
	/* No other segment. */
	ck_assert_uint_eq(field(g, G_BASE + X86VCPU_SEGMENT_DS), 0);
	ck_assert_uint_eq(field(g, G_SELECTOR + X86VCPU_SEGMENT_SS), 0);
}
END_TEST

START_TEST(other_entries_are_offsets_in_segment_0)
{
	static const uint64_t entries[] = {0, 0x7c00, 0x8000, 0xfff0, 0xffff};
	struct guest *g = reset_guest(entries[_i]);

	ck_assert_uint_eq(field(g, G_RIP), entries[_i]);
	ck_assert_uint_eq(field(g, G_SELECTOR + X86VCPU_SEGMENT_CS), 0);
	ck_assert_uint_eq(field(g, G_BASE + X86VCPU_SEGMENT_CS), 0);
}
END_TEST

/* VM entry takes what reset makes (SDM 27.3.1). */
START_TEST(state_can_be_entered)
{
	struct guest *g = reset_guest(_i ? 0x7c00 : RESET_VECTOR);
	struct x86vcpu_state state = {
		.rip = field(g, G_RIP), .rflags = field(g, G_RFLAGS),
		.gdtr = {field(g, G_GDTR_BASE), (uint32_t)field(g, G_GDTR_LIMIT), 0},
		.idtr = {field(g, G_IDTR_BASE), (uint32_t)field(g, G_IDTR_LIMIT), 0},
		.cr0 = field(g, G_CR0), .cr3 = field(g, G_CR3), .cr4 = field(g, G_CR4), .efer = field(g, G_EFER),
		.xcr0 = 1, .dr6 = 0xffff0ff0, .dr7 = field(g, G_DR7),
	};

	for (unsigned i = 0; i < X86VCPU_SEGMENTS; i++)
		state.segments[i] = (struct x86vcpu_segment){
			.selector = (uint16_t)field(g, G_SELECTOR + i),
			.access_rights = (uint32_t)field(g, G_ACCESS + i),
			.limit = (uint32_t)field(g, G_LIMIT + i),
			.base = field(g, G_BASE + i),
		};
	ck_assert(state_valid(&g->limits, &state));
}
END_TEST

/* ---- MSRs and the clock ------------------------------------------------------------------------------------ */

START_TEST(tsc_begins_at_0)
{
	struct guest *g = reset_guest(RESET_VECTOR);

	ck_assert_uint_eq(TSC_NOW + g->msrs.tsc_offset, 0);
	ck_assert_uint_eq(g->msrs.tsc_adjust, 0);
}
END_TEST

START_TEST(msrs_are_reset)
{
	struct guest *g = reset_guest(RESET_VECTOR);

	ck_assert_uint_eq(g->msrs.star | g->msrs.lstar | g->msrs.cstar | g->msrs.fmask, 0);
	ck_assert_uint_eq(g->msrs.kernel_gs_base | g->msrs.tsc_aux | g->msrs.xss, 0);
	ck_assert_uint_eq(g->msrs.mtrr_def_type | g->msrs.mcg_status, 0);
	ck_assert(g->msrs_changed);
}
END_TEST

/* ---- Time slices (emul/slice.h) ------------------------------------------------------------------------------ */

static const struct {
	uint64_t per_us; /* ticks; 0: unknown, and 3 GHz is assumed */
	uint64_t nanos, ticks;
} slices[] = {
	{2000, 1000000, 2000000},
	{1, 10000000, 10000},
	{0, 1000000, 3000000},
	{0, 1000000000, UINT64_C(3000000000)},
	/* A guest must get somewhere. */
	{2000, 1000, 2000},
	{1, 1000000, 1000},
	{1, 999000, 1000},
	{1, 1000, 1000},
	{0, 1, 1000},
	{0, 0, 1000},
	/* 10^12 ns are the longest: what the host multiplies must not overflow. */
	{2000, UINT64_C(1) << 63, UINT64_C(2000000000000)},
	{0, UINT64_MAX, UINT64_C(3000000000000)},
};

START_TEST(slice_in_ticks)
{
	struct guest *g = used_guest();

	ticks_per_us = slices[_i].per_us;
	slice_configure(g, slices[_i].nanos);
	ck_assert_uint_eq(slice_begin(g, 5), slices[_i].ticks);
}
END_TEST

/* The clock may be anything, and may wrap. */
START_TEST(slice_lasts_over_several_runs)
{
	const uint64_t start = (uint64_t[]){1, TSC_NOW, UINT64_MAX - 700}[_i];
	struct guest *g = used_guest();

	ticks_per_us = 1;
	slice_configure(g, 2000000); /* 2000 ticks */
	ck_assert_uint_eq(slice_begin(g, start), 2000);
	ck_assert(!slice_over(g, start));
	ck_assert_uint_eq(slice_begin(g, start + 500), 1500);
	ck_assert_uint_eq(slice_begin(g, start + 1999), 1);
	ck_assert(!slice_over(g, start + 1999));
	ck_assert(slice_over(g, start + 2000));
	ck_assert(slice_over(g, start + 1000000));
	ck_assert_uint_eq(slice_begin(g, start + 2000), 0);
	ck_assert_uint_eq(slice_begin(g, start + 2001), 0);
	ck_assert_int_eq(slice_report(g), EMUL_EXIT);
	ck_assert_uint_eq(g->exit->kind, X86VCPU_EXIT_PREEMPTION_TIMER);
	ck_assert_uint_eq(slice_begin(g, start + 5000), 2000);
}
END_TEST

Suite *reset_suite(void)
{
	Suite *suite = suite_create("reset");
	TCase *tc = tcase_create("reset");

	suite_add_tcase(suite, tc);
	tcase_add_loop_test(tc, register_is_reset, 0, COUNT(fields));
	tcase_add_loop_test(tc, segment_is_reset, 0, X86VCPU_SEGMENTS);
	tcase_add_test(tc, every_field_is_written);
	tcase_add_test(tc, general_registers_are_reset);
	tcase_add_test(tc, reset_vector_is_16_bytes_below_4g);
	tcase_add_loop_test(tc, other_entries_are_offsets_in_segment_0, 0, 5);
	tcase_add_loop_test(tc, state_can_be_entered, 0, 2);
	tcase_add_test(tc, tsc_begins_at_0);
	tcase_add_test(tc, msrs_are_reset);
	tc = tcase_create("slice");
	suite_add_tcase(suite, tc);
	tcase_add_loop_test(tc, slice_in_ticks, 0, COUNT(slices));
	tcase_add_loop_test(tc, slice_lasts_over_several_runs, 0, 3);
	tcase_add_test(tc, slice_lasts_over_several_runs);
	return suite;
}
