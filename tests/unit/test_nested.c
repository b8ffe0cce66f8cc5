/* SPDX-License-Identifier: Apache-2.0 */
/* The builder of nested page tables, and the entries that a processor would read. */
#include <check.h>
#include <stdbool.h>
#include <string.h>

#include "fake_cpu.h"

/* The CPU that the builder asks. */
static struct {
	uint32_t vendor[3]; /* EBX, ECX, EDX of leaf 0 */
	uint32_t signature, physical_bits;
	bool has_capabilities;
} host;

static void host_leaf(uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	(void)subleaf;
	memset(out, 0, 16);
	if (leaf == 0) {
		out[0] = 7;
		memcpy(&out[1], host.vendor, sizeof(host.vendor));
	} else if (leaf == 1) {
		out[0] = host.signature;
	} else if (leaf == 7) {
		out[3] = host.has_capabilities ? 1u << 29 : 0;
	} else if (leaf == 0x80000000) {
		out[0] = 0x80000008;
	} else if (leaf == 0x80000008) {
		out[0] = host.physical_bits;
	}
}

#define insn_cpuid host_leaf
#include "vcpu/nested.c"
#include "vcpu/nested_cpu.c"

#include "x86vcpu/nested.h"
#include "x86vcpu/percpu.h"
#include "x86vcpu/status.h"
#include "x86vcpu/version.h"

Suite *nested_suite(void);

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

#define KB UINT64_C(1024)
#define MB (1024 * KB)
#define GB (1024 * MB)
#define RWX (X86VCPU_NESTED_READ | X86VCPU_NESTED_WRITE | X86VCPU_NESTED_EXECUTE)
#define RW (X86VCPU_NESTED_READ | X86VCPU_NESTED_WRITE)
#define R X86VCPU_NESTED_READ
#define WB X86VCPU_MEMORY_WB
#define BOTH (X86VCPU_NESTED_2M | X86VCPU_NESTED_1G)

/* ---- A host with a few frames ---------------------------------------------------------------- */

#define FRAMES 64
#define FRAMES_HPA UINT64_C(0x0008123400000000) /* high bits, so that a mask that is too narrow shows */

static _Alignas(4096) uint64_t frames[FRAMES][512];
static bool frame_used[FRAMES];
static unsigned frames_used;
static unsigned allocations_left; /* until the allocator fails */

static uint64_t alloc_frame(void *ctx)
{
	ck_assert_ptr_eq(ctx, frames);
	for (unsigned i = 0; i < FRAMES && allocations_left > 0; i++) {
		if (frame_used[i])
			continue;
		frame_used[i] = true;
		frames_used++;
		allocations_left--;
		memset(frames[i], 0xa5, sizeof(frames[i]));
		return FRAMES_HPA + 4096 * i;
	}
	return 0;
}

/* Called very often, and a ck_assert that holds is not free: it leaves a mark for Check. */
static unsigned frame_of(uint64_t hpa)
{
	const uint64_t i = (hpa - FRAMES_HPA) / 4096;

	if ((hpa & 4095) || hpa < FRAMES_HPA || i >= FRAMES || !frame_used[i])
		ck_abort_msg("%#llx is no frame in use", (unsigned long long)hpa);
	return (unsigned)i;
}

static void free_frame(void *ctx, uint64_t hpa)
{
	const unsigned i = frame_of(hpa);

	ck_assert_ptr_eq(ctx, frames);
	memset(frames[i], 0x5a, sizeof(frames[i]));
	frame_used[i] = false;
	frames_used--;
}

static void *phys_to_virt(void *ctx, uint64_t hpa)
{
	if (ctx != frames)
		ck_abort_msg("wrong context");
	return frames[frame_of(hpa)];
}

static struct x86vcpu_host_ops ops;
static struct x86vcpu_nested_tables tables;

#define INTEL {0x756e6547, 0x6c65746e, 0x49656e69}
#define AMD {0x68747541, 0x444d4163, 0x69746e65}

static void setup(void)
{
	memset(&fake_cpu, 0, sizeof(fake_cpu));
	memcpy(host.vendor, (uint32_t[])AMD, sizeof(host.vendor));
	host.signature = 0x00a20f10;
	host.physical_bits = 52;
	host.has_capabilities = false;
	memset(frame_used, 0, sizeof(frame_used));
	frames_used = 0;
	allocations_left = UINT32_MAX;
	ops = (struct x86vcpu_host_ops){
		.size = sizeof(ops),
		.abi_version = X86VCPU_ABI_VERSION,
		.alloc_frame = alloc_frame,
		.free_frame = free_frame,
		.phys_to_virt = phys_to_virt,
	};
	memset(&tables, 0xa5, sizeof(tables));
	tables.size = sizeof(tables);
}

/* After every test no frame may be left. */
static void teardown(void)
{
	x86vcpu_nested_destroy(&tables);
	ck_assert_uint_eq(frames_used, 0);
}

static void init(uint32_t format, uint32_t page_sizes)
{
	ck_assert_int_eq(x86vcpu_nested_init(&tables, &ops, frames, format, 4, page_sizes), X86VCPU_OK);
}

static void map(uint64_t gpa, uint64_t hpa, uint64_t size, uint32_t permissions)
{
	ck_assert_int_eq(x86vcpu_nested_map(&tables, gpa, hpa, size, permissions, WB), X86VCPU_OK);
	ck_assert_uint_eq(tables.frames, frames_used);
}

static void unmap(uint64_t gpa, uint64_t size)
{
	ck_assert_int_eq(x86vcpu_nested_unmap(&tables, gpa, size), X86VCPU_OK);
	ck_assert_uint_eq(tables.frames, frames_used);
}

static void assert_mapped(uint64_t gpa, uint64_t expected, uint32_t expected_permissions)
{
	uint64_t hpa = 0;
	uint32_t permissions = 0;

	ck_assert_int_eq(x86vcpu_nested_lookup(&tables, gpa, &hpa, &permissions), X86VCPU_OK);
	ck_assert_uint_eq(hpa, expected);
	ck_assert_uint_eq(permissions, expected_permissions);
}

static void assert_unmapped(uint64_t gpa)
{
	uint64_t hpa = 99;
	uint32_t permissions = 99;

	ck_assert_int_eq(x86vcpu_nested_lookup(&tables, gpa, &hpa, &permissions), X86VCPU_ERR_INVALID_DATA);
	ck_assert_uint_eq(hpa, 99);
	ck_assert_uint_eq(permissions, 99);
}

/*
 * The processor's walk (SDM 29.3.2), written apart from the library's: the entry that ends it, and its
 * level (1: 4 KiB, 2: 2 MiB, 3: 1 GiB).
 */
static uint64_t walk(uint64_t gpa, unsigned *level)
{
	uint64_t table = tables.root_hpa;

	for (unsigned l = tables.levels;; l--) {
		const uint64_t entry = frames[frame_of(table)][gpa >> (3 + 9 * l) & 511];

		*level = l;
		if ((entry & 7) == 0 || l == 1 || (entry & 0x80))
			return entry;
		ck_assert_uint_eq(entry & UINT64_C(0xfff0000000000fff), 7);
		table = entry & UINT64_C(0x000ffffffffff000);
	}
}

static void assert_entry(uint64_t gpa, unsigned expected_level, uint64_t expected)
{
	unsigned level;
	const uint64_t entry = walk(gpa, &level);

	ck_assert_uint_eq(entry, expected);
	ck_assert_uint_eq(level, expected_level);
}

/* ---- Entries --------------------------------------------------------------------------------- */

START_TEST(ept_4k_entry)
{
	init(X86VCPU_NESTED_EPT, BOTH);
	map(0x123000, UINT64_C(0xabcde45678000), 4096, RWX);
	assert_entry(0x123000, 1, UINT64_C(0xabcde45678037)); /* R, W, X, type 6 in 5:3 */
	assert_mapped(0x123456, UINT64_C(0xabcde45678456), RWX);
	assert_unmapped(0x122fff);
	assert_unmapped(0x124000);
	ck_assert_uint_eq(tables.frames, 4);
}
END_TEST

START_TEST(ept_2m_entry)
{
	init(X86VCPU_NESTED_EPT, BOTH);
	map(4 * MB, 0x80000000, 2 * MB, RW);
	assert_entry(4 * MB, 2, 0x800000b3); /* bit 7: a page */
	assert_mapped(6 * MB - 1, 0x801fffff, RW);
	assert_unmapped(6 * MB);
	ck_assert_uint_eq(tables.frames, 3);
}
END_TEST

START_TEST(ept_1g_entry)
{
	init(X86VCPU_NESTED_EPT, BOTH);
	map(3 * GB, 512 * GB, GB, R);
	assert_entry(3 * GB, 3, UINT64_C(0x80000000b1));
	assert_mapped(4 * GB - 1, 513 * GB - 1, R);
	ck_assert_uint_eq(tables.frames, 2);
}
END_TEST

static const struct {
	uint32_t permissions;
	uint64_t ept, npt;
} permissions[] = {
	{ R, 0x1, UINT64_C(1) << 63 | 0x5 },
	{ RW, 0x3, UINT64_C(1) << 63 | 0x7 },
	{ R | X86VCPU_NESTED_EXECUTE, 0x5, 0x5 },
	{ RWX, 0x7, 0x7 },
};

START_TEST(ept_permissions)
{
	init(X86VCPU_NESTED_EPT, BOTH);
	map(0, 0x1000, 4096, permissions[_i].permissions);
	assert_entry(0, 1, 0x1030 | permissions[_i].ept);
	assert_mapped(0, 0x1000, permissions[_i].permissions);
}
END_TEST

START_TEST(npt_permissions)
{
	init(X86VCPU_NESTED_NPT, BOTH);
	map(0, 0x1000, 4096, permissions[_i].permissions);
	assert_entry(0, 1, 0x1000 | permissions[_i].npt);
	assert_mapped(0, 0x1000, permissions[_i].permissions);
}
END_TEST

START_TEST(npt_large_entries)
{
	init(X86VCPU_NESTED_NPT, BOTH);
	map(GB, 2 * GB, GB, RWX);
	map(2 * MB, 6 * MB, 2 * MB, RW);
	assert_entry(GB, 3, 0x80000087);
	assert_entry(2 * MB, 2, UINT64_C(0x8000000000600087));
	map(GB, 0x7000, 4096, R);
	assert_entry(GB, 1, UINT64_C(0x8000000000007005));
	assert_entry(GB + 4096, 1, 0x80001007);
	assert_entry(GB + 2 * MB, 2, 0x80200087);
}
END_TEST

/* EPT: bits 5:3 are the type. NPT: PCD (4) and PWT (3) select PAT entry 0 or 3: APM 7.8.2. */
static const struct {
	uint32_t format, type;
	int32_t status;
	uint64_t entry;
} types[] = {
	{ X86VCPU_NESTED_EPT, X86VCPU_MEMORY_UC, X86VCPU_OK, 0x1007 },
	{ X86VCPU_NESTED_EPT, X86VCPU_MEMORY_WC, X86VCPU_OK, 0x100f },
	{ X86VCPU_NESTED_EPT, X86VCPU_MEMORY_WT, X86VCPU_OK, 0x1027 },
	{ X86VCPU_NESTED_EPT, X86VCPU_MEMORY_WP, X86VCPU_OK, 0x102f },
	{ X86VCPU_NESTED_EPT, X86VCPU_MEMORY_WB, X86VCPU_OK, 0x1037 },
	{ X86VCPU_NESTED_EPT, 2, X86VCPU_ERR_INVALID_INPUT, 0 },
	{ X86VCPU_NESTED_EPT, 3, X86VCPU_ERR_INVALID_INPUT, 0 },
	{ X86VCPU_NESTED_EPT, 7, X86VCPU_ERR_INVALID_INPUT, 0 },
	{ X86VCPU_NESTED_EPT, 8, X86VCPU_ERR_INVALID_INPUT, 0 },
	{ X86VCPU_NESTED_EPT, UINT32_MAX, X86VCPU_ERR_INVALID_INPUT, 0 },
	{ X86VCPU_NESTED_NPT, X86VCPU_MEMORY_UC, X86VCPU_OK, 0x101f },
	{ X86VCPU_NESTED_NPT, X86VCPU_MEMORY_WT, X86VCPU_OK, 0x101f },
	{ X86VCPU_NESTED_NPT, X86VCPU_MEMORY_WB, X86VCPU_OK, 0x1007 },
	{ X86VCPU_NESTED_NPT, X86VCPU_MEMORY_WC, X86VCPU_ERR_UNSUPPORTED, 0 },
	{ X86VCPU_NESTED_NPT, X86VCPU_MEMORY_WP, X86VCPU_ERR_UNSUPPORTED, 0 },
	{ X86VCPU_NESTED_NPT, 2, X86VCPU_ERR_INVALID_INPUT, 0 },
};

START_TEST(memory_types)
{
	unsigned level;

	init(types[_i].format, 0);
	ck_assert_int_eq(x86vcpu_nested_map(&tables, 0, 0x1000, 4096, RWX, types[_i].type), types[_i].status);
	ck_assert_uint_eq(walk(0, &level), types[_i].entry);
}
END_TEST

/* ---- Which pages ----------------------------------------------------------------------------- */

START_TEST(largest_pages_that_fit)
{
	init(X86VCPU_NESTED_EPT, BOTH);
	/* From 8 KiB below 1 GiB to 12 KiB above 2 GiB + 4 MiB. */
	map(GB - 8 * KB, 5 * GB - 8 * KB, GB + 4 * MB + 20 * KB, RWX);
	assert_entry(GB - 8 * KB, 1, UINT64_C(0x13fffe037));
	assert_entry(GB - 4 * KB, 1, UINT64_C(0x13ffff037));
	assert_entry(GB, 3, UINT64_C(0x1400000b7));
	assert_entry(2 * GB, 2, UINT64_C(0x1800000b7));
	assert_entry(2 * GB + 2 * MB, 2, UINT64_C(0x1802000b7));
	assert_entry(2 * GB + 4 * MB, 1, UINT64_C(0x180400037));
	assert_entry(2 * GB + 4 * MB + 8 * KB, 1, UINT64_C(0x180402037));
	assert_unmapped(2 * GB + 4 * MB + 12 * KB);
	assert_unmapped(GB - 8 * KB - 1);
}
END_TEST

static const struct {
	uint32_t page_sizes;
	uint64_t hpa;
	unsigned level;
} page_rows[] = {
	{ 0, GB, 1 },
	{ X86VCPU_NESTED_2M, GB, 2 },
	{ BOTH, GB, 3 },
	{ BOTH, GB + 2 * MB, 2 }, /* aligned as 2 MiB pages only */
	{ BOTH, GB + 4 * KB, 1 },
};

START_TEST(page_size_follows_alignment_and_permission)
{
	unsigned level;
	/* 1 GiB of 4 KiB pages would take 512 tables. */
	const uint64_t size = page_rows[_i].level == 1 ? 2 * MB : GB;

	init(X86VCPU_NESTED_EPT, page_rows[_i].page_sizes);
	map(0, page_rows[_i].hpa, size, RWX);
	walk(0, &level);
	ck_assert_uint_eq(level, page_rows[_i].level);
	walk(size - 4096, &level);
	ck_assert_uint_eq(level, page_rows[_i].level);
	assert_mapped(size - 1, page_rows[_i].hpa + size - 1, RWX);
}
END_TEST

START_TEST(highest_addresses)
{
	const uint64_t gpa = (UINT64_C(1) << 48) - 4096, hpa = (UINT64_C(1) << 52) - 4096;

	init(X86VCPU_NESTED_EPT, BOTH);
	map(gpa, hpa, 4096, RWX);
	assert_entry(gpa, 1, hpa | 0x37);
	assert_mapped(gpa + 4095, hpa + 4095, RWX);
	assert_unmapped(gpa - 1);
}
END_TEST

START_TEST(all_guest_memory_by_1g_pages)
{
	init(X86VCPU_NESTED_EPT, BOTH);
	map(511 * GB, 511 * GB, 2 * GB, RWX); /* crosses a root entry */
	assert_mapped(511 * GB, 511 * GB, RWX);
	assert_mapped(513 * GB - 1, 513 * GB - 1, RWX);
	ck_assert_uint_eq(tables.frames, 3);
	unmap(0, UINT64_C(1) << 48);
	ck_assert_uint_eq(tables.frames, 1);
}
END_TEST

/* ---- Replacing and splitting ----------------------------------------------------------------- */

START_TEST(split_2m_keeps_the_rest)
{
	init(X86VCPU_NESTED_EPT, BOTH);
	map(2 * MB, 8 * MB, 2 * MB, RWX);
	map(2 * MB + 12 * KB, 0x5000, 4096, R);
	assert_entry(2 * MB + 8 * KB, 1, 0x802037);
	assert_entry(2 * MB + 12 * KB, 1, 0x5031);
	assert_entry(2 * MB + 16 * KB, 1, 0x804037);
	assert_entry(4 * MB - 4 * KB, 1, 0x9ff037);
}
END_TEST

START_TEST(split_1g_keeps_the_rest)
{
	init(X86VCPU_NESTED_EPT, BOTH);
	map(0, 4 * GB, GB, RW);
	map(5 * MB, 0x5000, 4096, R);
	assert_entry(0, 2, UINT64_C(0x1000000b3));
	assert_entry(4 * MB, 1, UINT64_C(0x100400033));
	assert_entry(5 * MB, 1, 0x5031);
	assert_entry(6 * MB, 2, UINT64_C(0x1006000b3));
	assert_entry(GB - 2 * MB, 2, UINT64_C(0x13fe000b3));
}
END_TEST

START_TEST(a_large_page_replaces_tables)
{
	init(X86VCPU_NESTED_EPT, BOTH);
	for (uint64_t i = 0; i < 4; i++)
		map(i * 16 * MB, 0x1000, 4096, R);
	ck_assert_uint_eq(tables.frames, 7);
	map(0, GB, GB, RWX);
	assert_entry(0, 3, 0x400000b7);
	ck_assert_uint_eq(tables.frames, 2);
}
END_TEST

START_TEST(remapping_replaces)
{
	init(X86VCPU_NESTED_EPT, BOTH);
	map(0x1000, 0x2000, 4096, RWX);
	map(0x1000, 0x3000, 4096, R);
	assert_mapped(0x1000, 0x3000, R);
	ck_assert_uint_eq(tables.frames, 4);
}
END_TEST

/* ---- Unmapping ------------------------------------------------------------------------------- */

START_TEST(unmap_frees_empty_tables)
{
	init(X86VCPU_NESTED_EPT, BOTH);
	map(0x1000, 0x2000, 8192, RWX);
	unmap(0x1000, 4096);
	assert_unmapped(0x1000);
	assert_mapped(0x2000, 0x3000, RWX);
	ck_assert_uint_eq(tables.frames, 4);
	unmap(0x2000, 4096);
	assert_unmapped(0x2000);
	ck_assert_uint_eq(tables.frames, 1);
}
END_TEST

START_TEST(unmap_splits)
{
	init(X86VCPU_NESTED_EPT, BOTH);
	map(0, GB, GB, RWX);
	unmap(2 * MB + 4096, 4096);
	assert_mapped(2 * MB, GB + 2 * MB, RWX);
	assert_unmapped(2 * MB + 4096);
	assert_unmapped(2 * MB + 8191);
	assert_mapped(2 * MB + 8192, GB + 2 * MB + 8192, RWX);
	assert_mapped(GB - 1, 2 * GB - 1, RWX);
}
END_TEST

START_TEST(unmap_across_holes_and_sizes)
{
	init(X86VCPU_NESTED_EPT, BOTH);
	map(GB, GB, GB, RWX);
	map(4 * MB, 4 * MB, 2 * MB, RWX);
	map(0x5000, 0x5000, 4096, RWX);
	map(600 * GB, 0, 4096, RWX);
	unmap(0x1000, 2 * GB - 0x1000);
	assert_unmapped(0x5000);
	assert_unmapped(4 * MB);
	assert_unmapped(GB);
	assert_mapped(600 * GB, 0, RWX);
	ck_assert_uint_eq(tables.frames, 4);
}
END_TEST

START_TEST(unmap_nothing)
{
	init(X86VCPU_NESTED_EPT, BOTH);
	unmap(0, UINT64_C(1) << 48);
	unmap(0x1000, 4096);
	ck_assert_uint_eq(tables.generation, 0);
	ck_assert_uint_eq(tables.frames, 1);
}
END_TEST

/* ---- Generations ----------------------------------------------------------------------------- */

START_TEST(generation_counts_changes_of_mappings)
{
	uint64_t before;

	init(X86VCPU_NESTED_EPT, BOTH);
	map(0, 0, 4 * MB, RWX);
	ck_assert_uint_eq(tables.generation, 0); /* nothing was there */
	map(0, 0, 4 * MB, RWX);
	ck_assert_uint_eq(tables.generation, 0); /* the same again */
	map(0, 0, 2 * MB, R);
	ck_assert_uint_gt(tables.generation, 0); /* fewer rights */
	before = tables.generation;
	map(2 * MB, 8 * MB, 2 * MB, RWX);
	ck_assert_uint_gt(tables.generation, before); /* elsewhere */
	before = tables.generation;
	unmap(0, 4096);
	ck_assert_uint_gt(tables.generation, before);
}
END_TEST

/* The processor sets accessed and dirty on its own; that is no change of ours. */
static const struct {
	uint32_t format;
	uint64_t flags, entry;
} accessed_and_dirty[] = {
	{ X86VCPU_NESTED_EPT, 0x300, 0x3b7 }, /* bits 8, 9: SDM 29.3.5 */
	{ X86VCPU_NESTED_NPT, 0x060, 0x0e7 }, /* bits 5, 6: APM 5.4 */
};

START_TEST(generation_ignores_accessed_and_dirty)
{
	init(accessed_and_dirty[_i].format, BOTH);
	map(0, 0, 2 * MB, RWX);
	frames[frame_of(tables.root_hpa) + 2][0] |= accessed_and_dirty[_i].flags;
	assert_entry(0, 2, accessed_and_dirty[_i].entry);
	map(0, 0, 2 * MB, RWX);
	ck_assert_uint_eq(tables.generation, 0);
}
END_TEST

/* ---- Without memory -------------------------------------------------------------------------- */

START_TEST(init_without_memory)
{
	allocations_left = 0;
	ck_assert_int_eq(x86vcpu_nested_init(&tables, &ops, frames, X86VCPU_NESTED_EPT, 4, BOTH),
			 X86VCPU_ERR_NO_MEMORY);
	ck_assert_uint_eq(tables.root_hpa, 0);
	ck_assert_uint_eq(tables.frames, 0);
}
END_TEST

/* 4 KiB, 2 MiB and 4 KiB again need 3 + 0 + 1 tables. */
START_TEST(map_without_memory)
{
	int32_t status;

	init(X86VCPU_NESTED_EPT, BOTH);
	allocations_left = (unsigned)_i;
	status = x86vcpu_nested_map(&tables, 2 * MB - 4096, 2 * MB - 4096, 2 * MB + 8192, RWX, WB);
	ck_assert_int_eq(status, _i < 4 ? X86VCPU_ERR_NO_MEMORY : X86VCPU_OK);
	ck_assert_uint_eq(tables.frames, frames_used);
	ck_assert_uint_eq(tables.frames, 1 + (unsigned)_i);
	if (_i >= 3)
		assert_mapped(4 * MB - 1, 4 * MB - 1, RWX);
	if (_i < 4)
		assert_unmapped(4 * MB);
	/* With memory it goes through, over what the first attempt left. */
	allocations_left = UINT32_MAX;
	map(2 * MB - 4096, 2 * MB - 4096, 2 * MB + 8192, RWX);
	assert_mapped(2 * MB - 4096, 2 * MB - 4096, RWX);
	assert_mapped(4 * MB + 4095, 4 * MB + 4095, RWX);
}
END_TEST

/* A 1 GiB page needs two tables until one 4 KiB page of it can go. */
START_TEST(split_without_memory)
{
	init(X86VCPU_NESTED_EPT, BOTH);
	map(0, GB, GB, RWX);
	allocations_left = (unsigned)_i;
	ck_assert_int_eq(x86vcpu_nested_unmap(&tables, 3 * MB, 4096), X86VCPU_ERR_NO_MEMORY);
	ck_assert_int_eq(x86vcpu_nested_map(&tables, 3 * MB, 0, 4096, R, WB), X86VCPU_ERR_NO_MEMORY);
	for (uint64_t gpa = 0; gpa < GB; gpa += MB)
		assert_mapped(gpa, GB + gpa, RWX);
	ck_assert_uint_eq(tables.frames, frames_used);
}
END_TEST

/* ---- Arguments ------------------------------------------------------------------------------- */

static const struct {
	uint64_t gpa, hpa, size;
	uint32_t permissions;
	int32_t status;
} bad_maps[] = {
	{ 0, 0, 0, RWX, X86VCPU_ERR_INVALID_INPUT },
	{ 1, 0, 4096, RWX, X86VCPU_ERR_INVALID_INPUT },
	{ 0, 0x800, 4096, RWX, X86VCPU_ERR_INVALID_INPUT },
	{ 0, 0, 4095, RWX, X86VCPU_ERR_INVALID_INPUT },
	{ UINT64_C(1) << 48, 0, 4096, RWX, X86VCPU_ERR_INVALID_INPUT },
	{ (UINT64_C(1) << 48) - 4096, 0, 8192, RWX, X86VCPU_ERR_INVALID_INPUT },
	{ 0, UINT64_C(1) << 52, 4096, RWX, X86VCPU_ERR_INVALID_INPUT },
	{ 0, (UINT64_C(1) << 52) - 4096, 8192, RWX, X86VCPU_ERR_INVALID_INPUT },
	{ 4096, 0, UINT64_MAX - 4095, RWX, X86VCPU_ERR_INVALID_INPUT },
	{ UINT64_MAX - 4095, 0, 4096, RWX, X86VCPU_ERR_INVALID_INPUT },
	{ 0, UINT64_MAX - 4095, 8192, RWX, X86VCPU_ERR_INVALID_INPUT },
	{ 0, 0, 4096, 0, X86VCPU_ERR_INVALID_INPUT },
	{ 0, 0, 4096, 8 | RWX, X86VCPU_ERR_INVALID_INPUT },
	{ 0, 0, 4096, X86VCPU_NESTED_WRITE, X86VCPU_ERR_UNSUPPORTED },
	{ 0, 0, 4096, X86VCPU_NESTED_EXECUTE, X86VCPU_ERR_UNSUPPORTED },
	{ 0, 0, 4096, X86VCPU_NESTED_WRITE | X86VCPU_NESTED_EXECUTE, X86VCPU_ERR_UNSUPPORTED },
};

START_TEST(refuses_map)
{
	init(X86VCPU_NESTED_EPT, BOTH);
	ck_assert_int_eq(x86vcpu_nested_map(&tables, bad_maps[_i].gpa, bad_maps[_i].hpa, bad_maps[_i].size,
					    bad_maps[_i].permissions, WB), bad_maps[_i].status);
	ck_assert_uint_eq(tables.frames, 1);
}
END_TEST

START_TEST(refuses_unmap)
{
	init(X86VCPU_NESTED_EPT, BOTH);
	ck_assert_int_eq(x86vcpu_nested_unmap(&tables, 0, 0), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_nested_unmap(&tables, 1, 4096), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_nested_unmap(&tables, 4096, UINT64_C(1) << 48), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_nested_unmap(&tables, 4096, UINT64_MAX - 4095), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_nested_unmap(NULL, 0, 4096), X86VCPU_ERR_INVALID_INPUT);
}
END_TEST

START_TEST(lookup_arguments)
{
	init(X86VCPU_NESTED_EPT, BOTH);
	map(0, 0, 4096, RWX);
	ck_assert_int_eq(x86vcpu_nested_lookup(&tables, 0, NULL, NULL), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_nested_lookup(&tables, UINT64_C(1) << 48, NULL, NULL), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_nested_lookup(&tables, UINT64_MAX, NULL, NULL), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_nested_lookup(NULL, 0, NULL, NULL), X86VCPU_ERR_INVALID_INPUT);
}
END_TEST

START_TEST(init_arguments)
{
	tables.root_hpa = 0; /* for teardown: init touches nothing that it refuses */
	ck_assert_int_eq(x86vcpu_nested_init(NULL, &ops, frames, 0, 4, 0), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_nested_init(&tables, NULL, frames, 0, 4, 0), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_nested_init(&tables, &ops, frames, 0, 4, 4), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_nested_init(&tables, &ops, frames, 0, 4, X86VCPU_NESTED_1G), X86VCPU_ERR_INVALID_INPUT);
	for (uint32_t levels = 0; levels < 8; levels++)
		if (levels != 4 && levels != 5)
			ck_assert_int_eq(x86vcpu_nested_init(&tables, &ops, frames, 0, levels, 0),
					 X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_nested_init(&tables, &ops, frames, 2, 4, 0), X86VCPU_ERR_UNSUPPORTED);
	ck_assert_int_eq(x86vcpu_nested_init(&tables, &ops, frames, UINT32_MAX, 4, 0), X86VCPU_ERR_UNSUPPORTED);
	ck_assert_uint_eq(frames_used, 0);
}
END_TEST

START_TEST(init_checks_the_abi)
{
	tables.root_hpa = 0;
	tables.size--;
	ck_assert_int_eq(x86vcpu_nested_init(&tables, &ops, frames, 0, 4, 0), X86VCPU_ERR_ABI_MISMATCH);
	tables.size++;
	ops.size--;
	ck_assert_int_eq(x86vcpu_nested_init(&tables, &ops, frames, 0, 4, 0), X86VCPU_ERR_ABI_MISMATCH);
	ops.size++;
	ops.abi_version++;
	ck_assert_int_eq(x86vcpu_nested_init(&tables, &ops, frames, 0, 4, 0), X86VCPU_ERR_ABI_MISMATCH);
}
END_TEST

START_TEST(init_needs_its_slots)
{
	tables.root_hpa = 0;
	if (_i == 0)
		ops.alloc_frame = NULL;
	if (_i == 1)
		ops.free_frame = NULL;
	if (_i == 2)
		ops.phys_to_virt = NULL;
	ck_assert_int_eq(x86vcpu_nested_init(&tables, &ops, frames, 0, 4, 0), X86VCPU_ERR_INVALID_INPUT);
}
END_TEST

START_TEST(destroyed_tables_answer_with_an_error)
{
	init(X86VCPU_NESTED_EPT, BOTH);
	map(0, 0, 4096, RWX);
	x86vcpu_nested_destroy(&tables);
	ck_assert_uint_eq(frames_used, 0);
	ck_assert_int_eq(x86vcpu_nested_map(&tables, 0, 0, 4096, RWX, WB), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_nested_unmap(&tables, 0, 4096), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_nested_lookup(&tables, 0, NULL, NULL), X86VCPU_ERR_INVALID_INPUT);
	x86vcpu_nested_destroy(&tables);
	x86vcpu_nested_destroy(NULL);
}
END_TEST

/* ---- Against a plain array ------------------------------------------------------------------- */

#define MODEL_PAGES 2048 /* 8 MiB */

static struct {
	uint64_t hpa;
	uint32_t permissions; /* 0: unmapped */
} model[MODEL_PAGES];

static uint64_t random_state;

static uint64_t next_random(uint64_t limit)
{
	random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (random_state >> 33) % limit;
}

/* A random range, with ends that often lie on a 2 MiB boundary. */
static void random_range(uint64_t *first, uint64_t *count)
{
	uint64_t a = next_random(MODEL_PAGES), b = next_random(MODEL_PAGES);

	if (next_random(2))
		a &= ~UINT64_C(511);
	if (next_random(2))
		b |= 511;
	*first = a < b ? a : b;
	*count = (a < b ? b : a) - *first + 1;
}

static void assert_equals_model(uint64_t base)
{
	for (uint64_t i = 0; i < MODEL_PAGES; i++) {
		uint64_t hpa = 0;
		uint32_t rights = 0;
		const int32_t status = x86vcpu_nested_lookup(&tables, base + i * 4096, &hpa, &rights);

		if (status != (model[i].permissions ? X86VCPU_OK : X86VCPU_ERR_INVALID_DATA) ||
		    rights != model[i].permissions || (rights && hpa != model[i].hpa))
			ck_abort_msg("page %u: status %d, hpa %#llx, permissions %u", (unsigned)i, status,
				     (unsigned long long)hpa, rights);
	}
}

START_TEST(agrees_with_an_array)
{
	const uint64_t base = GB - 4 * MB; /* the range crosses a 1 GiB boundary */

	random_state = (uint64_t)_i + 1;
	memset(model, 0, sizeof(model));
	init(_i & 1 ? X86VCPU_NESTED_NPT : X86VCPU_NESTED_EPT, _i & 2 ? BOTH : X86VCPU_NESTED_2M);
	for (int round = 0; round < 40; round++) {
		const uint32_t rights = (uint32_t)next_random(4) << 1 | R;
		const bool unmaps = next_random(3) == 0;
		const uint64_t hpa = 16 * MB + (next_random(2) ? next_random(8) * 2 * MB : next_random(99) * 4096);
		uint64_t first, count;

		random_range(&first, &count);
		allocations_left = next_random(8) ? UINT32_MAX : (unsigned)next_random(3);
		const int32_t status =
			unmaps ? x86vcpu_nested_unmap(&tables, base + first * 4096, count * 4096)
			       : x86vcpu_nested_map(&tables, base + first * 4096, hpa, count * 4096, rights, WB);
		ck_assert_uint_eq(tables.frames, frames_used);
		if (status == X86VCPU_ERR_NO_MEMORY) {
			/* Some of it is done: do it all. */
			allocations_left = UINT32_MAX;
			round--;
			unmap(base + first * 4096, count * 4096);
			for (uint64_t i = first; i < first + count; i++)
				model[i].permissions = 0;
			continue;
		}
		ck_assert_int_eq(status, X86VCPU_OK);
		for (uint64_t i = first; i < first + count; i++) {
			model[i].hpa = hpa + (i - first) * 4096;
			model[i].permissions = unmaps ? 0 : rights;
		}
		assert_equals_model(base);
	}
	unmap(base, MODEL_PAGES * 4096);
	ck_assert_uint_eq(tables.frames, 1);
}
END_TEST

/* ---- Five levels, widths ---------------------------------------------------------------------------- */

#define BEYOND_48 (UINT64_C(1) << 48)
#define BEYOND_52 (UINT64_C(1) << 52)

START_TEST(five_levels)
{
	unsigned level;

	ck_assert_int_eq(x86vcpu_nested_init(&tables, &ops, frames, (uint32_t)_i, 5, BOTH), X86VCPU_OK);
	ck_assert_uint_eq(tables.levels, 5);
	map(0, 0x1000, 4096, RWX);
	ck_assert_uint_eq(tables.frames, 5);
	map(BEYOND_48, 2 * MB, 2 * MB, RW);
	map(BEYOND_52 - 4096, 0x3000, 4096, R);
	assert_mapped(0x123, 0x1123, RWX);
	assert_mapped(BEYOND_48 + 0x123456, 2 * MB + 0x123456, RW);
	assert_mapped(BEYOND_52 - 1, 0x3fff, R);
	ck_assert_uint_ne(walk(BEYOND_48, &level), 0);
	ck_assert_uint_eq(level, 2);
	assert_unmapped(BEYOND_48 - 4096);
	ck_assert_int_eq(x86vcpu_nested_map(&tables, BEYOND_52 - 4096, 0, 8192, R, WB), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_nested_unmap(&tables, BEYOND_52, 4096), X86VCPU_ERR_INVALID_INPUT);
	unmap(0, BEYOND_52);
	ck_assert_uint_eq(tables.frames, 1);
}
END_TEST

START_TEST(host_addresses_end_with_the_cpus_width)
{
	host.physical_bits = (uint32_t)_i;
	init(X86VCPU_NESTED_EPT, 0);
	map(0, (UINT64_C(1) << _i) - 4096, 4096, RWX);
	ck_assert_int_eq(x86vcpu_nested_map(&tables, 0, UINT64_C(1) << _i, 4096, RWX, WB), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_nested_map(&tables, 0, (UINT64_C(1) << _i) - 4096, 8192, RWX, WB),
			 X86VCPU_ERR_INVALID_INPUT);
}
END_TEST

/* ---- Executable large pages (CVE-2018-12207) --------------------------------------------------------- */

static const struct {
	uint32_t vendor[3], signature;
	bool has_capabilities;
	uint64_t capabilities;
	uint32_t allowed;
} executable_rows[] = {
	{INTEL, 0x50654, false, 0, 0},          /* Skylake-SP */
	{INTEL, 0x50654, true, 0x2b, 0},        /* with microcode that says more, but not this */
	{INTEL, 0x606a6, true, 1 << 6, 1},      /* Ice Lake */
	{INTEL, 0x606a6, false, 1 << 6, 0},     /* behind a hypervisor that hides the MSR */
	{INTEL, 0x406f1, true, ~(UINT64_C(1) << 6), 0},
	{INTEL, 0x30678, false, 0, 1},          /* Silvermont */
	{INTEL, 0x506c9, false, 0, 1},          /* Goldmont */
	{INTEL, 0x90661, false, 0, 1},          /* Tremont */
	{INTEL, 0x50671, false, 0, 1},          /* Knights Landing */
	{INTEL, 0x00f7a, false, 0, 0},          /* another family with a number of that list */
	{AMD, 0x30678, false, 0, 1},
	{AMD, 0x00a20f10, false, 0, 1},
};

static void use_cpu(int i)
{
	memcpy(host.vendor, executable_rows[i].vendor, sizeof(host.vendor));
	host.signature = executable_rows[i].signature;
	host.has_capabilities = executable_rows[i].has_capabilities;
	*fake_msr(X86VCPU_MSR_IA32_ARCH_CAPABILITIES) = executable_rows[i].capabilities;
}

START_TEST(cpu_is_known_to_be_safe)
{
	uint32_t allowed = 99;

	tables.root_hpa = 0;
	use_cpu(_i);
	ck_assert_int_eq(x86vcpu_nested_large_executable(&allowed), X86VCPU_OK);
	ck_assert_uint_eq(allowed, executable_rows[_i].allowed);
	ck_assert_int_eq(x86vcpu_nested_large_executable(NULL), X86VCPU_ERR_INVALID_INPUT);
}
END_TEST

START_TEST(executable_pages_are_small_where_large_ones_stop_the_cpu)
{
	use_cpu(0);
	init(X86VCPU_NESTED_EPT, BOTH);
	map(0, 0, 2 * MB, RW);
	assert_entry(0, 2, 0xb3);
	map(0, 0, 2 * MB, RWX);
	assert_entry(0, 1, 0x37);
	assert_entry(2 * MB - 4096, 1, 0x1ff037);
	map(0, 0, 2 * MB, RW);
	assert_entry(0, 2, 0xb3);
	map(GB, GB, GB, RW);
	assert_entry(GB, 3, GB | 0xb3);
	/* An execute fault of a VMM that maps without EXECUTE at first. */
	map(GB + 2 * MB, GB + 2 * MB, 2 * MB, RWX);
	assert_entry(GB, 2, GB | 0xb3);
	assert_entry(GB + 2 * MB, 1, (GB + 2 * MB) | 0x37);
}
END_TEST

/* ---- The suite ------------------------------------------------------------------------------- */

static TCase *fixture_case(Suite *suite, const char *name)
{
	TCase *tcase = tcase_create(name);

	tcase_add_checked_fixture(tcase, setup, teardown);
	suite_add_tcase(suite, tcase);
	return tcase;
}

static void add_entry_tests(TCase *tcase)
{
	tcase_add_test(tcase, ept_4k_entry);
	tcase_add_test(tcase, ept_2m_entry);
	tcase_add_test(tcase, ept_1g_entry);
	tcase_add_loop_test(tcase, ept_permissions, 0, COUNT(permissions));
	tcase_add_loop_test(tcase, npt_permissions, 0, COUNT(permissions));
	tcase_add_test(tcase, npt_large_entries);
	tcase_add_loop_test(tcase, memory_types, 0, COUNT(types));
}

static void add_page_tests(TCase *tcase)
{
	tcase_add_test(tcase, largest_pages_that_fit);
	tcase_add_loop_test(tcase, page_size_follows_alignment_and_permission, 0, COUNT(page_rows));
	tcase_add_test(tcase, highest_addresses);
	tcase_add_test(tcase, all_guest_memory_by_1g_pages);
	tcase_add_loop_test(tcase, five_levels, 0, 2);
	tcase_add_loop_test(tcase, host_addresses_end_with_the_cpus_width, 39, 53);
	tcase_add_loop_test(tcase, cpu_is_known_to_be_safe, 0, COUNT(executable_rows));
	tcase_add_test(tcase, executable_pages_are_small_where_large_ones_stop_the_cpu);
}

static void add_change_tests(TCase *tcase)
{
	tcase_add_test(tcase, split_2m_keeps_the_rest);
	tcase_add_test(tcase, split_1g_keeps_the_rest);
	tcase_add_test(tcase, a_large_page_replaces_tables);
	tcase_add_test(tcase, remapping_replaces);
	tcase_add_test(tcase, unmap_frees_empty_tables);
	tcase_add_test(tcase, unmap_splits);
	tcase_add_test(tcase, unmap_across_holes_and_sizes);
	tcase_add_test(tcase, unmap_nothing);
	tcase_add_test(tcase, generation_counts_changes_of_mappings);
	tcase_add_loop_test(tcase, generation_ignores_accessed_and_dirty, 0, COUNT(accessed_and_dirty));
	tcase_add_loop_test(tcase, agrees_with_an_array, 0, 8);
}

static void add_memory_tests(TCase *tcase)
{
	tcase_add_test(tcase, init_without_memory);
	tcase_add_loop_test(tcase, map_without_memory, 0, 5);
	tcase_add_loop_test(tcase, split_without_memory, 0, 2);
}

static void add_argument_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase, refuses_map, 0, COUNT(bad_maps));
	tcase_add_test(tcase, refuses_unmap);
	tcase_add_test(tcase, lookup_arguments);
	tcase_add_test(tcase, init_arguments);
	tcase_add_test(tcase, init_checks_the_abi);
	tcase_add_loop_test(tcase, init_needs_its_slots, 0, 3);
	tcase_add_test(tcase, destroyed_tables_answer_with_an_error);
}

Suite *nested_suite(void)
{
	Suite *suite = suite_create("nested");

	add_entry_tests(fixture_case(suite, "entries"));
	add_page_tests(fixture_case(suite, "pages"));
	add_change_tests(fixture_case(suite, "changes"));
	add_memory_tests(fixture_case(suite, "memory"));
	add_argument_tests(fixture_case(suite, "arguments"));
	return suite;
}
