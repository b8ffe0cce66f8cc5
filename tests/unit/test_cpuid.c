/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's CPUID: what comes through from which host, and what follows the guest's own state. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/x86.h"
#include "emul/cpuid.h"
#include "emul/cpuid_internal.h"
#include "cpuid_hosts.h"
#include "guest_fixture.h"

Suite *cpuid_suite(void);

/* ---- A guest with a table ------------------------------------------------------------------------------------ */

static struct guest_cpuid_entry table[CPUID_TABLE_SIZE];
static uint32_t table_count;

static struct cpuid_config everything(struct host *host)
{
	return (struct cpuid_config){
		.host = ask_host,
		.ctx = host,
		.vcpu_id = 5,
		.physical_bits = 48,
		.tsc_khz = 2400000,
		.rdtscp = true,
		.invpcid = true,
		.xsaves = true,
		.pcid = true,
		.pku = true,
		.la57 = true,
		.apic = true,
		.tsc_deadline = true,
	};
}

static struct guest *guest_in_mode(enum fixture_mode mode, const struct cpuid_config *config)
{
	struct guest *g = &fixture_reset(mode)->g;

	table_count = cpuid_build(table, CPUID_TABLE_SIZE, config, &g->limits);
	ck_assert_uint_gt(table_count, 0);
	cpuid_attach(g, table, table_count);
	lapic_reset(g);
	return g;
}

static struct guest *guest_with(const struct cpuid_config *config)
{
	return guest_in_mode(FIXTURE_LONG, config);
}

static struct guest *guest_on(struct host host)
{
	static struct host copy;
	struct cpuid_config config = everything(&copy);

	copy = host;
	return guest_with(&config);
}

static void cpuid(struct guest *g, uint64_t rax, uint64_t rcx, uint64_t out[4])
{
	g->regs.rax = rax;
	g->regs.rcx = rcx;
	g->regs.rbx = g->regs.rdx = ~UINT64_C(0);
	ck_assert_int_eq(emul_cpuid(g), EMUL_NEXT);
	out[A] = g->regs.rax;
	out[B] = g->regs.rbx;
	out[C] = g->regs.rcx;
	out[D] = g->regs.rdx;
}

static uint64_t word(struct guest *g, uint32_t leaf, uint32_t subleaf, unsigned index)
{
	uint64_t out[4];

	cpuid(g, leaf, subleaf, out);
	return out[index];
}

static void assert_leaf(struct guest *g, uint64_t rax, uint64_t rcx, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	uint64_t out[4];

	cpuid(g, rax, rcx, out);
	ck_assert_msg(out[A] == a && out[B] == b && out[C] == c && out[D] == d,
		      "leaf %lx.%lx: %lx %lx %lx %lx, not %lx %lx %lx %lx", rax, rcx, out[A], out[B], out[C],
		      out[D], a, b, c, d);
}

static void assert_zero(struct guest *g, uint32_t leaf, uint32_t subleaf)
{
	assert_leaf(g, leaf, subleaf, 0, 0, 0, 0);
}

/* ---- Denied by default ---------------------------------------------------------------------------------------- */

struct visible {
	uint32_t leaf, subleaf;
	unsigned word;
	const char *bits; /* numbers and ranges, as the manual gives them */
};

/*
 * Everything that a guest can ever see of a CPU that has all there is, with every condition met, with
 * vCPU 5. All else is zero. Leaves 0xb and 0x4000000x, which do not come from the host, have tests of
 * their own.
 */
static const struct visible visible[] = {
	{0, 0, A, "1 2 4"}, /* 0x16 */
	{0, 0, B, "0-31"},
	{0, 0, C, "0-31"},
	{0, 0, D, "0-31"},
	{1, 0, A, "0-13 16-27"},
	{1, 0, B, "8-15 16 24 26"},
	{1, 0, C, "0 1 9 12 13 17 19-26 28-31"},
	{1, 0, D, "0-6 8 9 11-13 15-17 19 23-27"},
	{2, 0, A, "0-31"},
	{2, 0, B, "0-31"},
	{2, 0, C, "0-31"},
	{2, 0, D, "0-31"},
	{4, 0, A, "0-9"}, {4, 0, B, "0-31"}, {4, 0, C, "0-31"}, {4, 0, D, "0-2"},
	{4, 1, A, "0-9"}, {4, 1, B, "0-31"}, {4, 1, C, "0-31"}, {4, 1, D, "0-2"},
	{4, 2, A, "0-9"}, {4, 2, B, "0-31"}, {4, 2, C, "0-31"}, {4, 2, D, "0-2"},
	{4, 3, A, "0-9"}, {4, 3, B, "0-31"}, {4, 3, C, "0-31"}, {4, 3, D, "0-2"},
	{4, 4, A, "0-9"}, {4, 4, B, "0-31"}, {4, 4, C, "0-31"}, {4, 4, D, "0-2"},
	{4, 5, A, "0-9"}, {4, 5, B, "0-31"}, {4, 5, C, "0-31"}, {4, 5, D, "0-2"},
	{6, 0, A, "2"},
	{7, 0, A, "1"}, /* subleaves up to 2 */
	{7, 0, B, "0 1 3 5-10 13 16-21 23 24 26-31"},
	{7, 0, C, "0 1 3 6 8-12 14 16 22 25"},
	{7, 0, D, "2-4 8 10 14 23 26-29 31"},
	{7, 1, A, "4 5 10-12 23"},
	{7, 2, D, "0-5"},
	{0xd, 0, A, "0-2 5-7 9"},
	{0xd, 0, B, "6 9"},      /* 576: XCR0 is 1 */
	{0xd, 0, C, "3 7 9 11"}, /* 2696 */
	{0xd, 1, A, "0-3"},
	{0xd, 1, B, "6 9"},
	{0xd, 2, A, "8"}, {0xd, 2, B, "6 9"}, {0xd, 2, C, "1"},
	{0xd, 5, A, "6"}, {0xd, 5, B, "6 10"}, {0xd, 5, C, "1"},
	{0xd, 6, A, "9"}, {0xd, 6, B, "7 10"}, {0xd, 6, C, "1"},
	{0xd, 7, A, "10"}, {0xd, 7, B, "7 9 10"}, {0xd, 7, C, "1"},
	{0xd, 9, A, "3"}, {0xd, 9, B, "7 9 11"}, {0xd, 9, C, "1"},
	{0x16, 0, A, "5 6 8 11"}, /* 2400 MHz: the configuration's, not the host's */
	{0x80000000, 0, A, "0 5 31"}, /* 0x80000021 */
	{0x80000000, 0, B, "0-31"},
	{0x80000000, 0, C, "0-31"},
	{0x80000000, 0, D, "0-31"},
	{0x80000001, 0, A, "0-13 16-27"},
	{0x80000001, 0, C, "0 5-8 11 16 21"},
	{0x80000001, 0, D, "0-6 8 9 11-13 15-17 20 22-27 29-31"},
	{0x80000002, 0, A, "0-31"}, {0x80000002, 0, B, "0-31"}, {0x80000002, 0, C, "0-31"}, {0x80000002, 0, D, "0-31"},
	{0x80000003, 0, A, "0-31"}, {0x80000003, 0, B, "0-31"}, {0x80000003, 0, C, "0-31"}, {0x80000003, 0, D, "0-31"},
	{0x80000004, 0, A, "0-31"}, {0x80000004, 0, B, "0-31"}, {0x80000004, 0, C, "0-31"}, {0x80000004, 0, D, "0-31"},
	{0x80000005, 0, A, "0-31"}, {0x80000005, 0, B, "0-31"}, {0x80000005, 0, C, "0-31"}, {0x80000005, 0, D, "0-31"},
	{0x80000006, 0, A, "0-31"}, {0x80000006, 0, B, "0-31"}, {0x80000006, 0, C, "0-31"}, {0x80000006, 0, D, "0-31"},
	{0x80000007, 0, D, "8"},
	{0x80000008, 0, A, "4 5 8 11-13"}, /* 48 and 57 bits */
	{0x80000008, 0, B, "0 2 12 14-19 24 26 28-30"},
	{0x80000021, 0, A, "2 5 27-30"},
	{0x80000021, 0, C, "1 2"},
};

static uint32_t parse_bits(const char *text)
{
	uint32_t mask = 0;

	while (*text) {
		char *end;
		unsigned long first = strtoul(text, &end, 10), last = first;

		if (*end == '-')
			last = strtoul(end + 1, &end, 10);
		for (; first <= last; first++)
			mask |= 1u << first;
		text = *end ? end + 1 : end;
	}
	return mask;
}

/* Subleaf 0 of a leaf whose ECX has no meaning stands for all. */
static uint32_t expected_bits(uint32_t leaf, uint32_t subleaf, unsigned index)
{
	const bool indexed = leaf == 4 || leaf == 7 || leaf == 0xd;

	for (size_t i = 0; i < sizeof(visible) / sizeof(visible[0]); i++)
		if (visible[i].leaf == leaf && visible[i].subleaf == (indexed ? subleaf : 0) && visible[i].word == index)
			return parse_bits(visible[i].bits);
	return 0;
}

static void assert_visible(struct guest *g, uint32_t leaf)
{
	for (uint32_t subleaf = 0; subleaf < 34; subleaf++) {
		uint64_t out[4];

		cpuid(g, leaf, subleaf, out);
		for (unsigned i = 0; i < 4; i++)
			ck_assert_msg(out[i] == expected_bits(leaf, subleaf, i), "leaf %x.%x word %u: %lx, not %x",
				      leaf, subleaf, i, out[i], expected_bits(leaf, subleaf, i));
	}
}

START_TEST(host_with_every_bit_basic)
{
	struct cpuid_config config = everything(NULL);

	config.host = ask_all_ones;
	if (_i != 0xb)
		assert_visible(guest_with(&config), (uint32_t)_i);
}
END_TEST

START_TEST(host_with_every_bit_extended)
{
	struct cpuid_config config = everything(NULL);

	config.host = ask_all_ones;
	assert_visible(guest_with(&config), 0x80000000u + (uint32_t)_i);
}
END_TEST

/* Nothing is invented but what the library itself provides. */
START_TEST(host_without_any_bit)
{
	struct cpuid_config config = everything(NULL);
	struct guest *g;

	config.host = ask_nothing;
	config.apic = false;
	g = guest_with(&config);
	assert_leaf(g, 0, 0, 0x16, 0, 0, 0);
	assert_leaf(g, 1, 0, 0, 5u << 24 | 1 << 16, 1u << 31, 0);
	for (uint32_t leaf = 2; leaf < 0x16; leaf++)
		assert_zero(g, leaf, 0);
	assert_leaf(g, 0x16, 0, 2400, 0, 0, 0);
	assert_leaf(g, 0x80000000, 0, 0x80000021, 0, 0, 0);
	for (uint32_t leaf = 1; leaf < 8; leaf++)
		assert_zero(g, 0x80000000 + leaf, 0);
	assert_leaf(g, 0x80000008, 0, 0x3020, 0, 0, 0);
}
END_TEST

/* ---- Conditions ------------------------------------------------------------------------------------------------ */

struct condition_row {
	size_t flag; /* offset in struct cpuid_config */
	uint32_t leaf, subleaf;
	unsigned word, bit;
};

#define FLAG(member) offsetof(struct cpuid_config, member)

static const struct condition_row condition_rows[] = {
	{FLAG(rdtscp), 0x80000001, 0, D, 27},
	{FLAG(rdtscp), 7, 0, C, 22}, /* RDPID */
	{FLAG(invpcid), 7, 0, B, 10},
	{FLAG(xsaves), 0xd, 1, A, 3},
	{FLAG(pcid), 1, 0, C, 17},
	{FLAG(la57), 7, 0, C, 16},
	{FLAG(la57), 0x80000008, 0, A, 8}, /* 57 bits of a linear address, not 48 */
	{FLAG(pku), 7, 0, C, 3},
	{FLAG(pku), 0xd, 0, A, 9},
	{FLAG(apic), 1, 0, D, 9},
	{FLAG(apic), 0x80000001, 0, D, 9}, /* AMD repeats it */
	{FLAG(apic), 1, 0, C, 21}, /* x2APIC */
	{FLAG(apic), 1, 0, C, 24}, /* TSC deadline */
	{FLAG(apic), 6, 0, A, 2},  /* ARAT */
	{FLAG(tsc_deadline), 1, 0, C, 24},
};

START_TEST(feature_needs_the_backend)
{
	const struct condition_row *row = &condition_rows[_i];
	struct cpuid_config config = everything(NULL);

	config.host = ask_all_ones;
	ck_assert_uint_eq(word(guest_with(&config), row->leaf, row->subleaf, row->word) >> row->bit & 1, 1);
	*((bool *)&config + row->flag) = false;
	ck_assert_uint_eq(word(guest_with(&config), row->leaf, row->subleaf, row->word) >> row->bit & 1, 0);
}
END_TEST

struct xcr0_row {
	struct leaf changed;
	uint64_t xcr0;
	uint32_t size;
};

/* Skylake-X with one leaf changed. */
static const struct xcr0_row xcr0_rows[] = {
	{{~0u, 0, {0}}, 0x2e7, 0xa88},
	{{0xd, 0, {0x3, 0, 0xa88, 0}}, 3, 576},
	{{0xd, 0, {0x1, 0, 0xa88, 0}}, 1, 512},         /* no SSE state: no XSAVE */
	{{0xd, 0, {0x2e3, 0, 0xa88, 0}}, 0x203, 0xa88}, /* AVX-512 needs AVX */
	{{0xd, 0, {0x0a7, 0, 0xa88, 0}}, 7, 0x340},     /* and all three of its components */
	{{0xd, 0, {0x067, 0, 0xa88, 0}}, 7, 0x340},
	{{0xd, 0, {0x0c7, 0, 0xa88, 0}}, 7, 0x340},
	{{0xd, 0, {0x602ff, 0, 0x2b00, 0}}, 0x2e7, 0xa88}, /* no AMX */
	{{0xd, 0, {0x2ff, 0, 0xa80, 0}}, 0xe7, 0xa80},     /* PKRU would be beyond the end of the area */
	{{0xd, 0, {0x2ff, 0, 0x340, 0}}, 7, 0x340},        /* AVX-512 too */
	{{0xd, 2, {0, 0, 0, 0}}, 0x203, 0xa88},            /* no size */
	{{0xd, 2, {0x200, 0x240, 0, 0}}, 0x203, 0xa88},    /* a size that is not AVX's */
	{{0xd, 2, {0x100, 0x200, 0, 0}}, 0x203, 0xa88},    /* inside the header */
	{{0xd, 2, {0x100, 0xffffff00, 0, 0}}, 0x203, 0xa88},
	{{0xd, 9, {8, 0xa80, 1, 0}}, 0xe7, 0xa80}, /* a supervisor component */
	{{7, 0, {0, 0, 8, 0}}, 0x207, 0xa88},      /* no AVX512F */
	{{7, 0, {0, 0xd39ffffb, 0, 0}}, 0xe7, 0xa80},      /* no PKU */
	{{1, 0, {0x50654, 0, 0x6ffefbff, 0xbfebfbff}}, 0x203, 0xa88}, /* no AVX */
	{{1, 0, {0x50654, 0, 0x7bfefbff, 0xbfebfbff}}, 1, 512},       /* no XSAVE */
};

START_TEST(xcr0_is_consistent)
{
	const struct xcr0_row *row = &xcr0_rows[_i];
	struct host host = skylake_x;
	struct guest *g;

	host.changed = row->changed;
	g = guest_on(host);
	ck_assert_uint_eq(g->limits.xcr0, row->xcr0);
	ck_assert_uint_eq(g->limits.xsave_size, row->size);
	ck_assert(g->limits.has_xsave == (row->xcr0 != 1));
	ck_assert_uint_eq(word(g, 0xd, 0, A), row->xcr0 == 1 ? 0 : row->xcr0);
	ck_assert_uint_eq(word(g, 0xd, 0, C), row->xcr0 == 1 ? 0 : row->size);
}
END_TEST

struct component_row {
	uint32_t xcr0; /* the host's */
	uint32_t leaf, subleaf;
	unsigned word;
	const char *gone;
};

/* Features that use a component are gone with it (SDM Vol. 1, 14.3, 15.2 to 15.4). */
static const struct component_row component_rows[] = {
	{3, 1, 0, C, "12 28 29"}, /* FMA, AVX, F16C */
	{3, 7, 0, B, "5 16 17 21 26-28 30 31"},
	{3, 7, 0, C, "1 3 6 9-12 14"},
	{3, 7, 0, D, "2 3 8 23"},
	{3, 7, 1, A, "4 5 23"},
	{3, 0x80000001, 0, C, "11 16"}, /* XOP, FMA4 */
	{0x207, 1, 0, C, ""},
	{0x207, 7, 0, B, "16 17 21 26-28 30 31"},
	{0x207, 7, 0, C, "1 6 11 12 14"},
	{0x207, 7, 0, D, "2 3 8 23"},
	{0x207, 7, 1, A, "5"},
	{0x207, 0x80000001, 0, C, ""},
	{0xe7, 7, 0, B, ""},
	{0xe7, 7, 0, C, "3"}, /* PKU */
};

START_TEST(feature_needs_its_component)
{
	const struct component_row *row = &component_rows[_i];
	uint32_t xcr0 = row->xcr0;
	struct cpuid_config config = everything(NULL);

	config.host = ask_all_ones;
	config.ctx = &xcr0;
	ck_assert_uint_eq(word(guest_with(&config), row->leaf, row->subleaf, row->word),
			  expected_bits(row->leaf, row->subleaf, row->word) & ~parse_bits(row->gone));
}
END_TEST

START_TEST(without_xsave_no_avx)
{
	struct host host = skylake_x;
	struct guest *g;

	host.changed = (struct leaf){1, 0, {0x50654, 0, 0x7bfefbff, 0xbfebfbff}};
	g = guest_on(host);
	ck_assert_uint_eq(word(g, 1, 0, C) & (1u << 26 | 1u << 28), 0);
	for (uint32_t subleaf = 0; subleaf < 12; subleaf++)
		assert_zero(g, 0xd, subleaf);
}
END_TEST

/* ---- Leaves ----------------------------------------------------------------------------------------------------- */

static const struct host *const hosts[] = {&skylake_x, &haswell, &ryzen, &minimal, &bochs};

START_TEST(table_has_room)
{
	struct host host = *hosts[_i];
	struct cpuid_config config = everything(&host);
	struct guest_limits limits;
	struct guest_cpuid_entry small[CPUID_TABLE_SIZE];

	guest_on(host);
	for (uint32_t capacity = 0; capacity < table_count; capacity++)
		ck_assert_uint_eq(cpuid_build(small, capacity, &config, &limits), 0);
	ck_assert_uint_eq(cpuid_build(small, table_count, &config, &limits), table_count);
}
END_TEST

START_TEST(table_has_room_for_every_bit)
{
	struct cpuid_config config = everything(NULL);

	config.host = ask_all_ones;
	guest_with(&config);
	ck_assert_uint_le(table_count, CPUID_TABLE_SIZE);
}
END_TEST

START_TEST(vendor_is_the_hosts)
{
	assert_leaf(guest_on(skylake_x), 0, 0, 0x16, 0x756e6547, 0x6c65746e, 0x49656e69);
	assert_leaf(guest_on(ryzen), 0, 0, 0x16, 0x68747541, 0x444d4163, 0x69746e65);
	assert_leaf(guest_on(ryzen), 0x80000000, 0, 0x80000008, 0x68747541, 0x444d4163, 0x69746e65);
}
END_TEST

START_TEST(hypervisor_names_itself)
{
	struct guest *g = guest_on(skylake_x);
	uint64_t out[4];
	char name[12];

	cpuid(g, 0x40000000, 0, out);
	ck_assert_uint_eq(out[A], 0x40000001);
	for (unsigned i = 0; i < 3; i++)
		memcpy(name + 4 * i, &(uint32_t){(uint32_t)out[B + i]}, 4);
	ck_assert_mem_eq(name, "RVMRVMRVMRVM", 12);
	assert_zero(g, 0x40000001, 0);
	ck_assert_uint_ne(word(g, 1, 0, C) & 1u << 31, 0);
}
END_TEST

/* C-13d: other hypervisors' leaves, where a guest looks for them. */
static const uint32_t empty_leaves[] = {0x40000002, 0x40000100, 0x4000ff00, 0x4fffffff, 3,   5,    8,
					9,          0xa,        0xc,        0xe,        0xf, 0x10, 0x12,
					0x14};

START_TEST(leaf_is_empty)
{
	assert_zero(guest_on(skylake_x), empty_leaves[_i], 0);
	assert_zero(guest_on(ryzen), empty_leaves[_i], 1);
}
END_TEST

static const uint32_t far_leaves[] = {0x17,       0x19,       0x1c,       0x1f,       0x20,       0x3fffffff,
				      0x50000000, 0x7fffffff, 0x80000009, 0x8000000a, 0x8000001e, 0x8000001f,
				      0x80000020, 0x8fffffff, 0xc0000000, 0xffffffff};

/* SDM Vol. 2, CPUID: "the data for the highest basic information leaf". */
START_TEST(out_of_range_intel)
{
	assert_leaf(guest_on(skylake_x), far_leaves[_i], 7, 2400, 0, 0, 0);
}
END_TEST

START_TEST(out_of_range_amd)
{
	assert_zero(guest_on(ryzen), far_leaves[_i], 7);
}
END_TEST

/* What Intel's leaf 0x80000000 answers on a CPU without extended leaves is not a maximum. */
START_TEST(host_without_extended_leaves)
{
	struct guest *g = guest_on(minimal);

	assert_leaf(g, 0x80000000, 0, 0x80000000, 0, 0, 0);
	assert_leaf(g, 0x80000001, 0, 2400, 0, 0, 0);
	ck_assert(!g->limits.has_long_mode);
	ck_assert_uint_eq(g->limits.physical_mask, 0xfffffffff);
}
END_TEST

START_TEST(only_eax_and_ecx_count)
{
	struct guest *g = guest_on(skylake_x);
	uint64_t plain[4], high[4];

	cpuid(g, 7, 0, plain);
	cpuid(g, 0xffffffff00000007, 0xffffffff00000000, high);
	ck_assert_mem_eq(plain, high, sizeof(plain));
	for (unsigned i = 0; i < 4; i++)
		ck_assert_uint_eq(plain[i] >> 32, 0);
}
END_TEST

START_TEST(subleaf_beyond_the_last_is_zero)
{
	struct guest *g = guest_on(skylake_x);

	assert_zero(g, 4, 4);
	assert_zero(g, 4, ~0u);
	assert_zero(g, 7, 1);
	assert_zero(g, 7, ~0u);
	assert_zero(g, 0xd, 3); /* MPX */
	assert_zero(g, 0xd, 8); /* PT */
	assert_zero(g, 0xd, 10);
	assert_zero(g, 0xd, 17); /* AMX */
	assert_zero(g, 0xd, ~0u);
}
END_TEST

START_TEST(subleaf_without_meaning_is_ignored)
{
	struct guest *g = guest_on(skylake_x);

	ck_assert_uint_eq(word(g, 0x16, 99, A), 2400);
	ck_assert_uint_eq(word(g, 0, 99, A), 0x16);
	ck_assert_uint_eq(word(g, 0x80000008, ~0u, A), 0x302e);
}
END_TEST

/* One core of one thread; its caches belong to nobody else. */
START_TEST(caches_without_topology)
{
	struct guest *g = guest_on(skylake_x);

	assert_leaf(g, 4, 0, 0x121, 0x01c0003f, 0x3f, 0);
	assert_leaf(g, 4, 3, 0x163, 0x0280003f, 0x4fff, 4);
}
END_TEST

START_TEST(core_counts_are_hidden)
{
	assert_leaf(guest_on(ryzen), 0x80000008, 0, 0x3030, 0x1005, 0, 0);
}
END_TEST

static const uint32_t apic_ids[] = {0, 1, 7, 63};

/* C-13: every place that tells the APIC ID tells the same. */
START_TEST(apic_id_is_the_vcpus)
{
	struct host host = skylake_x;
	struct cpuid_config config = everything(&host);
	struct guest *g;

	config.vcpu_id = apic_ids[_i];
	g = guest_with(&config);
	ck_assert_uint_eq(word(g, 1, 0, B), (uint64_t)apic_ids[_i] << 24 | 0x10800);
	ck_assert_uint_eq(word(g, 1, 0, D) & 1 << 28, 0); /* HTT */
	assert_leaf(g, 0xb, 0, 0, 1, 0x100, apic_ids[_i]);
	assert_leaf(g, 0xb, 1, 0, 1, 0x201, apic_ids[_i]);
	assert_leaf(g, 0xb, 2, 0, 0, 2, apic_ids[_i]);
	assert_leaf(g, 0xb, 0x1ff, 0, 0, 0xff, apic_ids[_i]);
	config.apic = false;
	assert_zero(guest_with(&config), 0xb, 0);
}
END_TEST

/* ---- The guest's own state ---------------------------------------------------------------------------------------- */

START_TEST(osxsave_follows_cr4)
{
	struct guest *g = guest_on(skylake_x);

	ck_assert_uint_eq(word(g, 1, 0, C) & 1 << 27, 0);
	guest_set(g, G_CR4, CR4_PAE | CR4_OSXSAVE);
	ck_assert_uint_ne(word(g, 1, 0, C) & 1 << 27, 0);
	ck_assert_uint_eq(word(g, 7, 0, C) & 1 << 4, 0);
}
END_TEST

START_TEST(ospke_follows_cr4)
{
	struct guest *g = guest_on(skylake_x);

	ck_assert_uint_eq(word(g, 7, 0, C), 8);
	guest_set(g, G_CR4, CR4_PAE | CR4_PKE);
	ck_assert_uint_eq(word(g, 7, 0, C), 0x18);
	ck_assert_uint_eq(word(g, 7, 1, C), 0);
}
END_TEST

struct size_row {
	uint64_t xcr0;
	uint32_t standard, compacted;
};

/* SDM Vol. 1, 13.4: standard offsets as leaf 0xd gives them; compacted one after the other. */
static const struct size_row size_rows[] = {
	{1, 576, 576},         {3, 576, 576},           {7, 0x340, 0x340},
	{0xe7, 0xa80, 0x980},  {0x2e7, 0xa88, 0x988},   {0x203, 0xa88, 584},
	{0x207, 0xa88, 0x348},
};

START_TEST(xsave_sizes_follow_xcr0)
{
	struct guest *g = guest_on(skylake_x);

	g->xcr0 = size_rows[_i].xcr0;
	assert_leaf(g, 0xd, 0, 0x2e7, size_rows[_i].standard, 0xa88, 0);
	assert_leaf(g, 0xd, 1, 0xf, size_rows[_i].compacted, 0, 0);
}
END_TEST

/* Components whose ECX[1] is set begin at a multiple of 64 (SDM Vol. 1, 13.4.3). */
START_TEST(compacted_components_are_aligned)
{
	static const struct guest_cpuid_entry area[10] = {
		[2] = {.eax = 8}, [5] = {.eax = 64, .ecx = 2}, [6] = {.eax = 24}, [7] = {.eax = 16}};

	ck_assert_uint_eq(cpuid_xsavec_size(area, 0x07), 584);
	ck_assert_uint_eq(cpuid_xsavec_size(area, 0x27), 704);
	ck_assert_uint_eq(cpuid_xsavec_size(area, 0x23), 640);
	ck_assert_uint_eq(cpuid_xsavec_size(area, 0xe7), 744);
}
END_TEST

START_TEST(no_compacted_size_without_xsavec)
{
	struct guest *g = guest_on(haswell);

	g->xcr0 = 7;
	assert_leaf(g, 0xd, 0, 7, 0x340, 0x340, 0);
	assert_leaf(g, 0xd, 1, 1, 0, 0, 0);
}
END_TEST

/* Linux gives up XSAVE when the total is not what the components need. */
START_TEST(inconsistent_host_is_repaired)
{
	struct host host = bochs;
	struct guest *g;

	host.changed = (struct leaf){0xd, 0, {0xe7, 0xb00, 0xb00, 0}};
	g = guest_on(host);
	g->xcr0 = 0xe7;
	assert_leaf(g, 0xd, 0, 0xe7, 0xa80, 0xa80, 0);
	assert_leaf(g, 0xd, 1, 0xf, 0x980, 0, 0);
}
END_TEST

/* ---- Frequencies ---------------------------------------------------------------------------------------------------- */

struct frequency_row {
	uint64_t tsc_khz;
	uint32_t host_mhz, mhz;
};

static const struct frequency_row frequency_rows[] = {
	{2400000, 3300, 2400}, {2400000, 0, 2400}, {2399600, 0, 2400},     {0, 3300, 3300},
	{0, 0, 3000},          {499, 0, 3000},     {70000000000, 0, 3000}, {UINT64_MAX, 0, 3000},
};

START_TEST(frequency_is_never_zero)
{
	struct host host = skylake_x;
	struct cpuid_config config = everything(&host);

	host.changed = (struct leaf){0x16, 0, {frequency_rows[_i].host_mhz, 0, 0, 0}};
	config.tsc_khz = frequency_rows[_i].tsc_khz;
	assert_leaf(guest_with(&config), 0x16, 0, frequency_rows[_i].mhz, 0, 0, 0);
}
END_TEST

START_TEST(frequency_on_a_host_without_the_leaf)
{
	assert_leaf(guest_on(haswell), 0x16, 0, 2400, 0, 0, 0);
	assert_zero(guest_on(haswell), 0x15, 0);
	assert_zero(guest_on(skylake_x), 0x15, 0);
}
END_TEST

/* ---- Limits ---------------------------------------------------------------------------------------------------------- */

struct limits_row {
	size_t host;
	uint64_t cr4, efer, xcr0, physical_mask;
	bool rdtscp, has_1g_pages, has_nx, has_long_mode, has_xsave, has_xsaves, mtrr, intel;
};

static const struct limits_row limits_rows[] = {
	/* VME to PAE, PGE to OSXMMEXCPT, FSGSBASE, PCIDE, OSXSAVE, SMEP, SMAP, PKE */
	{0, 0x7707bf, 0xd01, 0x2e7, 0x3fffffffffff, true, true, true, true, true, true, true, true},
	/* the same without SMAP and PKE */
	{1, 0x1707bf, 0xd01, 7, 0x7fffffffff, true, true, true, true, true, false, true, true},
	/* without PCIDE; with FFXSR; SMAP */
	{2, 0x3507bf, 0x4d01, 7, 0xffffffffffff, true, true, true, true, true, true, true, false},
	/* TSD, PAE, PCE */
	{3, 0x124, 0, 1, 0xfffffffff, false, false, false, false, false, false, false, true},
};

START_TEST(limits_follow_the_table)
{
	const struct limits_row *row = &limits_rows[_i];
	const struct host host = *hosts[row->host];
	struct guest *g = guest_on(host);
	const struct guest_limits *limits = &g->limits;

	ck_assert_uint_eq(limits->cr0, 0xe005003f);
	ck_assert_uint_eq(limits->cr4, row->cr4);
	ck_assert_uint_eq(limits->efer, row->efer);
	ck_assert_uint_eq(limits->xcr0, row->xcr0);
	ck_assert_uint_eq(limits->xss, 0);
	ck_assert_uint_eq(limits->physical_mask, row->physical_mask);
	ck_assert(limits->rdtscp == row->rdtscp && limits->has_1g_pages == row->has_1g_pages);
	ck_assert(limits->has_nx == row->has_nx && limits->has_long_mode == row->has_long_mode);
	ck_assert(limits->has_xsave == row->has_xsave && limits->has_xsaves == row->has_xsaves);
	ck_assert(limits->mtrr == row->mtrr && limits->intel == row->intel);
	ck_assert(limits->has_apic && limits->arch_capabilities == (word(g, 7, 0, D) >> 29 & 1));
}
END_TEST

struct bits_row {
	uint32_t host, tables, result;
};

static const struct bits_row bits_rows[] = {
	{46, 48, 46}, {52, 48, 48}, {39, 36, 36}, {255, 255, 52}, {255, 60, 52}, {0, 48, 32}, {46, 0, 32},
};

/* Neither more than the host has nor more than the nested tables translate. */
START_TEST(physical_bits_are_the_smaller)
{
	const struct bits_row *row = &bits_rows[_i];
	struct host host = skylake_x;
	struct cpuid_config config = everything(&host);
	struct guest *g;

	host.changed = (struct leaf){0x80000008, 0, {0x3900 | row->host, 0, 0, 0}};
	config.physical_bits = row->tables;
	g = guest_with(&config);
	assert_leaf(g, 0x80000008, 0, 0x3000 | row->result, 0, 0, 0);
	ck_assert_uint_eq(g->limits.physical_mask, (UINT64_C(1) << row->result) - 1);
}
END_TEST

struct mode_row {
	enum fixture_mode mode;
	bool syscall;
};

static const struct mode_row mode_rows[] = {
	{FIXTURE_REAL, false}, {FIXTURE_PROTECTED32, false}, {FIXTURE_COMPATIBILITY, false}, {FIXTURE_LONG, true},
};

/* SDM Vol. 2, CPUID: on Intel's CPUs the flag of SYSCALL is 0 outside 64-bit mode. */
START_TEST(syscall_follows_the_mode)
{
	const struct mode_row *row = &mode_rows[_i / 2];
	const bool amd = _i & 1;
	struct host host = amd ? ryzen : skylake_x;
	const struct cpuid_config config = everything(&host);
	struct guest *g = guest_in_mode(row->mode, &config);

	ck_assert_uint_eq(word(g, 0x80000001, 0, D) >> 11 & 1, amd || row->syscall);
	ck_assert(g->limits.efer & EFER_SCE);
}
END_TEST

/* SDM Vol. 4, table 2-2, IA32_MISC_ENABLE, bits 22 and 34. */
START_TEST(misc_enable_limits_and_hides)
{
	struct guest *g = guest_on(skylake_x);
	uint64_t last[4], two[4];

	ck_assert_uint_eq(word(g, 0x80000001, 0, D) >> 20 & 1, 1);
	g->msrs.misc_enable = UINT64_C(1) << 34;
	cpuid_follow_limit(g);
	ck_assert_uint_eq(word(g, 0x80000001, 0, D) >> 20 & 1, 0);
	g->msrs.misc_enable = 1 << 22;
	cpuid_follow_limit(g);
	ck_assert_uint_eq(word(g, 0, 0, A), 2);
	cpuid(g, 2, 0, two);
	cpuid(g, 7, 0, last);
	ck_assert_mem_eq(last, two, sizeof(two));
	ck_assert_uint_ne(word(g, 0x80000001, 0, D), 0);
	ck_assert_uint_ne(word(g, 0x40000000, 0, A), 0);
	g->msrs.misc_enable = 0;
	cpuid_follow_limit(g);
	ck_assert_uint_eq(word(g, 0, 0, A), 0x16);
	ck_assert_uint_ne(word(g, 7, 0, B), 0);
}
END_TEST

/* A read of CPUID costs no field of hardware but the one that decides. */
START_TEST(cpuid_reads_little)
{
	struct guest *g = guest_on(skylake_x);
	struct guest_fixture *f = (struct guest_fixture *)g;

	fixture_next_exit(f);
	word(g, 0, 0, A);
	word(g, 0x80000002, 0, A);
	ck_assert_uint_eq(fixture_reads(f), 0);
	word(g, 0x80000001, 0, A);
	ck_assert_uint_eq(fixture_reads(f), 2);
	fixture_next_exit(f);
	word(g, 1, 0, A);
	ck_assert_uint_eq(fixture_reads(f), 1);
	ck_assert_uint_eq(f->g.dirty, 0);
}
END_TEST

#define ROWS(array) ((int)(sizeof(array) / sizeof((array)[0])))

static void add_leaf_tests(Suite *suite)
{
	TCase *tc = tcase_create("leaves");

	tcase_add_loop_test(tc, table_has_room, 0, ROWS(hosts));
	tcase_add_test(tc, table_has_room_for_every_bit);
	tcase_add_test(tc, vendor_is_the_hosts);
	tcase_add_test(tc, hypervisor_names_itself);
	tcase_add_loop_test(tc, leaf_is_empty, 0, ROWS(empty_leaves));
	tcase_add_loop_test(tc, out_of_range_intel, 0, ROWS(far_leaves));
	tcase_add_loop_test(tc, out_of_range_amd, 0, ROWS(far_leaves));
	tcase_add_test(tc, host_without_extended_leaves);
	tcase_add_test(tc, only_eax_and_ecx_count);
	tcase_add_test(tc, subleaf_beyond_the_last_is_zero);
	tcase_add_test(tc, subleaf_without_meaning_is_ignored);
	tcase_add_test(tc, caches_without_topology);
	tcase_add_test(tc, core_counts_are_hidden);
	tcase_add_loop_test(tc, apic_id_is_the_vcpus, 0, ROWS(apic_ids));
	tcase_add_loop_test(tc, frequency_is_never_zero, 0, ROWS(frequency_rows));
	tcase_add_test(tc, frequency_on_a_host_without_the_leaf);
	tcase_add_loop_test(tc, syscall_follows_the_mode, 0, 2 * ROWS(mode_rows));
	tcase_add_test(tc, misc_enable_limits_and_hides);
	tcase_add_test(tc, cpuid_reads_little);
	suite_add_tcase(suite, tc);
}

static void add_policy_tests(Suite *suite)
{
	TCase *tc = tcase_create("policy");

	tcase_add_loop_test(tc, host_with_every_bit_basic, 0, 0x17);
	tcase_add_loop_test(tc, host_with_every_bit_extended, 0, 0x22);
	tcase_add_test(tc, host_without_any_bit);
	tcase_add_loop_test(tc, feature_needs_the_backend, 0, ROWS(condition_rows));
	tcase_add_loop_test(tc, xcr0_is_consistent, 0, ROWS(xcr0_rows));
	tcase_add_loop_test(tc, feature_needs_its_component, 0, ROWS(component_rows));
	tcase_add_test(tc, without_xsave_no_avx);
	tcase_add_loop_test(tc, limits_follow_the_table, 0, ROWS(limits_rows));
	tcase_add_loop_test(tc, physical_bits_are_the_smaller, 0, ROWS(bits_rows));
	suite_add_tcase(suite, tc);
}

Suite *cpuid_suite(void)
{
	Suite *suite = suite_create("cpuid");
	TCase *tc = tcase_create("state");

	add_leaf_tests(suite);
	add_policy_tests(suite);
	tcase_add_test(tc, osxsave_follows_cr4);
	tcase_add_test(tc, ospke_follows_cr4);
	tcase_add_loop_test(tc, xsave_sizes_follow_xcr0, 0, ROWS(size_rows));
	tcase_add_test(tc, compacted_components_are_aligned);
	tcase_add_test(tc, no_compacted_size_without_xsavec);
	tcase_add_test(tc, inconsistent_host_is_repaired);
	suite_add_tcase(suite, tc);
	return suite;
}
