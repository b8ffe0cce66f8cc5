/* SPDX-License-Identifier: Apache-2.0 */
/* x86vcpu_translate, x86vcpu_read_virtual and x86vcpu_write_virtual: a debugger's view of a guest's memory. */
#include <check.h>
#include <string.h>

#include "cpu/x86.h"
#include "fixture.h"

Suite *debug_memory_suite(void);

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

/*
 * Memory: RAM up to ROM, a read-only page, and from FAR on what only host_ops.read_guest has. In long mode PML4 leads to
 * PT, whose entry n maps linear page n.
 */
#define PML4 0x10000u
#define PDPT 0x11000u
#define PD 0x12000u
#define PT 0x13000u
#define ROM 0x20000u
#define FAR 0x21000u
#define NOWHERE 0x40000u

#define ALL (PTE_P | PTE_RW | PTE_US)

enum mode { REAL, LONG };

static struct x86vcpu_memory_region regions[2];
static const struct x86vcpu_setup_config config = {
	.size = sizeof(config),
	.memory = regions,
	.memory_count = 2,
	.time_slice_ns = UINT64_C(1) << 60,
};
static uint8_t *ram;

static void store(uint64_t at, uint64_t entry)
{
	memcpy(ram + at, &entry, sizeof(entry));
}

static void map(unsigned page, uint64_t entry)
{
	store(PT + 8 * page, entry);
}

static void enter_long_mode(struct fixture *f)
{
	struct x86vcpu_state s = {.size = sizeof(s)};

	store(PML4, PDPT | ALL);
	store(PML4 + 8 * 511, PDPT | ALL);
	store(PDPT, PD | ALL);
	store(PDPT + 8 * 511, PD | ALL);
	store(PD, PT | ALL);
	store(PD + 8 * 511, PT | ALL);
	ck_assert_int_eq(x86vcpu_get_state(f->vcpu, X86VCPU_STATE_ALL, &s), X86VCPU_OK);
	s.cr0 = CR0_PG | CR0_PE | CR0_WP | CR0_ET;
	s.cr3 = PML4;
	s.cr4 = CR4_PAE;
	s.efer = EFER_LME | EFER_LMA | EFER_NXE;
	s.segments[X86VCPU_SEGMENT_CS].access_rights = 0xa09b;
	s.segments[X86VCPU_SEGMENT_CS].limit = s.segments[X86VCPU_SEGMENT_SS].limit = 0xffffffff;
	s.segments[X86VCPU_SEGMENT_SS].access_rights = 0xc093;
	ck_assert_int_eq(x86vcpu_set_state(f->vcpu, X86VCPU_STATE_ALL, &s), X86VCPU_OK);
}

static struct fixture *begin(int backend, enum mode mode)
{
	struct fixture *f;

	regions[0] = (struct x86vcpu_memory_region){.gpa = 0, .hva = &ram, .size = ROM};
	regions[1] = (struct x86vcpu_memory_region){
		.gpa = ROM, .hva = &ram, .size = FAR - ROM, .flags = X86VCPU_MEMORY_READ_ONLY};
	f = fixture_begin_with(backend ? MODEL_SVM : MODEL_VMX, MODEL_ALL, &config);
	ram = model_guest_memory(f->m);
	regions[0].hva = ram;
	regions[1].hva = ram + ROM;
	ck_assert_int_eq(x86vcpu_unbind(f->vcpu), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_setup(f->vcpu, &config), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_bind(f->vcpu), X86VCPU_OK);
	if (mode == LONG)
		enter_long_mode(f);
	return f;
}

static void set_cpl(struct fixture *f, unsigned cpl)
{
	struct x86vcpu_state s = {.size = sizeof(s)};

	ck_assert_int_eq(x86vcpu_get_state(f->vcpu, X86VCPU_STATE_SEGMENTS, &s), X86VCPU_OK);
	for (unsigned i = X86VCPU_SEGMENT_CS; i <= X86VCPU_SEGMENT_SS; i++) {
		s.segments[i].selector = (uint16_t)(8 * i | cpl);
		s.segments[i].access_rights = (s.segments[i].access_rights & ~0x60u) | cpl << 5;
	}
	ck_assert_int_eq(x86vcpu_set_state(f->vcpu, X86VCPU_STATE_SEGMENTS, &s), X86VCPU_OK);
}

static struct x86vcpu_virtual_access result;

/* So that a member which a call leaves alone shows. */
static struct x86vcpu_virtual_access *fresh(void)
{
	memset(&result, 0xa5, sizeof(result));
	result.size = sizeof(result);
	return &result;
}

static void tells(uint32_t vector, uint32_t error_code, uint32_t absent, uint64_t address, uint64_t done)
{
	ck_assert_uint_eq(result.vector, vector);
	ck_assert_uint_eq(result.error_code, error_code);
	ck_assert_uint_eq(result.absent, absent);
	ck_assert_uint_eq(result.address, address);
	ck_assert_uint_eq(result.done, done);
}

static int32_t reads(struct fixture *f, uint64_t linear, void *to, uint64_t len)
{
	return x86vcpu_read_virtual(f->vcpu, linear, X86VCPU_PRIVILEGE_CPL, to, len, fresh());
}

static int32_t writes(struct fixture *f, uint64_t linear, const void *from, uint64_t len)
{
	return x86vcpu_write_virtual(f->vcpu, linear, X86VCPU_PRIVILEGE_CPL, from, len, fresh());
}

/* ---- Permissions ------------------------------------------------------------------------------------------- */

#define R X86VCPU_ACCESS_READ
#define W X86VCPU_ACCESS_WRITE
#define X X86VCPU_ACCESS_EXECUTE
#define CPL X86VCPU_PRIVILEGE_CPL
#define SUPERVISOR X86VCPU_PRIVILEGE_SUPERVISOR
#define USER X86VCPU_PRIVILEGE_USER
#define DEBUGGER X86VCPU_PRIVILEGE_DEBUGGER
#define GOOD 0xffffffffu

/* Error codes: SDM 4.7. */
static const struct {
	uint64_t entry, access;
	uint32_t privilege, cpl, error_code;
} permissions[] = {
	{ALL, R, CPL, 0, GOOD},
	{ALL, W, CPL, 3, GOOD},
	{ALL, X, CPL, 3, GOOD},
	{PTE_P | PTE_RW, R, CPL, 0, GOOD},
	{PTE_P | PTE_RW, R, CPL, 3, PF_PRESENT | PF_USER},
	{PTE_P | PTE_RW, W, CPL, 3, PF_PRESENT | PF_USER | PF_WRITE},
	{PTE_P | PTE_RW, R, SUPERVISOR, 3, GOOD},
	{PTE_P | PTE_RW, R, USER, 0, PF_PRESENT | PF_USER},
	{PTE_P | PTE_RW, R, DEBUGGER, 3, GOOD},
	{PTE_P | PTE_US, W, CPL, 0, PF_PRESENT | PF_WRITE},
	{PTE_P | PTE_US, W, USER, 0, PF_PRESENT | PF_WRITE | PF_USER},
	{PTE_P | PTE_US, W, DEBUGGER, 3, GOOD},
	{ALL | PTE_XD, X, CPL, 3, PF_PRESENT | PF_USER | PF_FETCH},
	{ALL | PTE_XD, X, SUPERVISOR, 0, PF_PRESENT | PF_FETCH},
	{ALL | PTE_XD, X, DEBUGGER, 0, GOOD},
	{0, R, CPL, 0, 0},
	{0, W, DEBUGGER, 3, PF_WRITE},
	{0, X, USER, 0, PF_USER | PF_FETCH},
	{ALL | UINT64_C(1) << 51, R, DEBUGGER, 0, PF_PRESENT | PF_RESERVED},
};

START_TEST(rights_are_checked)
{
	const int row = _i % COUNT(permissions);
	struct fixture *f = begin(_i / COUNT(permissions), LONG);
	const uint64_t entry = permissions[row].entry | 0x5000, linear = 0x7123;
	int32_t status;
	uint64_t now;

	map(7, entry);
	set_cpl(f, permissions[row].cpl);
	status = x86vcpu_translate(f->vcpu, linear, permissions[row].access, permissions[row].privilege, fresh());
	if (permissions[row].error_code == GOOD) {
		ck_assert_int_eq(status, X86VCPU_OK);
		ck_assert_uint_eq(result.gpa, 0x5123);
		tells(0, 0, 0, 0, 0);
	} else {
		ck_assert_int_eq(status, X86VCPU_ERR_GUEST_FAULT);
		ck_assert_uint_eq(result.gpa, 0);
		tells(14, permissions[row].error_code, 0, linear, 0);
	}
	/* No accessed and no dirty flag, and nothing for the guest. */
	memcpy(&now, ram + PT + 8 * 7, sizeof(now));
	ck_assert_uint_eq(now, entry);
	ck_assert_uint_eq(x86vcpu_has_pending_event(f->vcpu), 0);
	fixture_end(f);
}
END_TEST

START_TEST(not_canonical_is_a_general_protection_fault)
{
	struct fixture *f = begin(_i, LONG);

	ck_assert_int_eq(x86vcpu_translate(f->vcpu, UINT64_C(1) << 47, R, DEBUGGER, fresh()), X86VCPU_ERR_GUEST_FAULT);
	tells(13, 0, 0, UINT64_C(1) << 47, 0);
	fixture_end(f);
}
END_TEST

/* A paging structure in no memory. */
START_TEST(tables_are_absent)
{
	struct fixture *f = begin(_i, LONG);

	store(PD, NOWHERE | ALL);
	ck_assert_int_eq(x86vcpu_translate(f->vcpu, 0x7123, R, CPL, fresh()), X86VCPU_ERR_GUEST_FAULT);
	tells(0, 0, 1, NOWHERE + 8 * 7, 0);
	fixture_end(f);
}
END_TEST

START_TEST(without_paging_an_address_is_its_own)
{
	struct fixture *f = begin(_i, REAL);

	ck_assert_int_eq(x86vcpu_translate(f->vcpu, UINT64_C(0x1234567800005678), W, CPL, fresh()), X86VCPU_OK);
	ck_assert_uint_eq(result.gpa, 0x5678);
	/* No memory is needed for a translation. */
	ck_assert_int_eq(x86vcpu_translate(f->vcpu, 0xfee00000, R, CPL, fresh()), X86VCPU_OK);
	ck_assert_uint_eq(result.gpa, 0xfee00000);
	fixture_end(f);
}
END_TEST

/* ---- Copies ------------------------------------------------------------------------------------------------ */

static uint8_t pattern(unsigned i)
{
	return (uint8_t)(i * 7 + (i >> 8) + 1);
}

/* Three pages that are neither in order nor adjacent. */
START_TEST(pages_are_put_together)
{
	static const unsigned at[] = {0x9000, 0x5000, 0x7000};
	struct fixture *f = begin(_i, LONG);
	static uint8_t buffer[0x2200];

	for (unsigned page = 0; page < 3; page++) {
		map(4 + page, at[page] | ALL);
		for (unsigned i = 0; i < 0x1000; i++)
			ram[at[page] + i] = pattern(page * 0x1000 + i);
	}
	ck_assert_int_eq(reads(f, 0x4f00, buffer, 0x1200), X86VCPU_OK);
	tells(0, 0, 0, 0, 0x1200);
	for (unsigned i = 0; i < 0x1200; i++)
		ck_assert_uint_eq(buffer[i], pattern(0xf00 + i));
	memset(buffer, 0xcc, sizeof(buffer));
	ck_assert_int_eq(writes(f, 0x4ff0, buffer, 0x1020), X86VCPU_OK);
	tells(0, 0, 0, 0, 0x1020);
	ck_assert_uint_eq(ram[0x9fef], pattern(0xfef));
	ck_assert_uint_eq(ram[0x9ff0], 0xcc);
	ck_assert_uint_eq(ram[0x5000], 0xcc);
	ck_assert_uint_eq(ram[0x5fff], 0xcc);
	ck_assert_uint_eq(ram[0x700f], 0xcc);
	ck_assert_uint_eq(ram[0x7010], pattern(0x2010));
	fixture_end(f);
}
END_TEST

START_TEST(progress_is_told)
{
	struct fixture *f = begin(_i, LONG);
	static uint8_t buffer[0x1000];

	map(4, 0x5000 | ALL);
	map(5, 0x6000 | PTE_P | PTE_US);
	ram[0x5fff] = 0x77;
	ck_assert_int_eq(writes(f, 0x4f00, buffer, 0x200), X86VCPU_ERR_GUEST_FAULT);
	tells(14, PF_PRESENT | PF_WRITE, 0, 0x5000, 0x100);
	ck_assert_uint_eq(ram[0x5fff], 0);
	map(6, NOWHERE | ALL);
	ck_assert_int_eq(reads(f, 0x5800, buffer, 0x1000), X86VCPU_ERR_GUEST_FAULT);
	tells(0, 0, 1, NOWHERE, 0x800);
	ck_assert_int_eq(reads(f, 0x7000, buffer, 0x1000), X86VCPU_ERR_GUEST_FAULT);
	tells(14, 0, 0, 0x7000, 0);
	fixture_end(f);
}
END_TEST

/* Linear addresses wrap around. */
START_TEST(the_end_of_the_address_space)
{
	struct fixture *f = begin(_i, LONG);
	uint8_t four[4];

	map(511, 0x5000 | ALL);
	map(0, 0x6000 | ALL);
	memcpy(ram + 0x5ffe, "ab", 2);
	memcpy(ram + 0x6000, "cd", 2);
	ck_assert_int_eq(reads(f, UINT64_MAX - 1, four, 4), X86VCPU_OK);
	ck_assert_mem_eq(four, "abcd", 4);
	fixture_end(f);
}
END_TEST

/* Regions first, then what the host reads; writes reach writable regions alone. */
START_TEST(kinds_of_memory)
{
	struct fixture *f = begin(_i, REAL);
	uint8_t bytes[8] = "--------";

	memcpy(ram + ROM - 2, "ab", 2);
	memcpy(ram + ROM, "cd", 2);
	ck_assert_int_eq(reads(f, ROM - 2, bytes, 4), X86VCPU_OK);
	ck_assert_mem_eq(bytes, "abcd----", 8);
	memcpy(ram + FAR - 1, "xyz", 3);
	ck_assert_int_eq(reads(f, FAR - 1, bytes, 3), X86VCPU_OK);
	ck_assert_mem_eq(bytes, "xyzd----", 8);
	ck_assert_int_eq(writes(f, ROM - 1, "BC", 2), X86VCPU_ERR_GUEST_FAULT);
	tells(0, 0, 1, ROM, 1);
	ck_assert_mem_eq(ram + ROM - 2, "aBcd", 4);
	ck_assert_int_eq(writes(f, FAR, "YZ", 2), X86VCPU_ERR_GUEST_FAULT);
	tells(0, 0, 1, FAR, 0);
	fixture_end(f);
}
END_TEST

/* ---- Arguments ---------------------------------------------------------------------------------------------- */

START_TEST(arguments)
{
	struct fixture *f = begin(_i, REAL);
	uint8_t byte = 0;

	ck_assert_int_eq(x86vcpu_translate(NULL, 0, R, CPL, fresh()), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_translate(f->vcpu, 0, R, CPL, NULL), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_translate(f->vcpu, 0, 0, CPL, fresh()), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_translate(f->vcpu, 0, R | W, CPL, fresh()), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_translate(f->vcpu, 0, 8, CPL, fresh()), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_translate(f->vcpu, 0, R, 4, fresh()), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_read_virtual(NULL, 0, CPL, &byte, 1, fresh()), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_read_virtual(f->vcpu, 0, CPL, NULL, 1, fresh()), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_read_virtual(f->vcpu, 0, 4, &byte, 1, fresh()), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_write_virtual(f->vcpu, 0, CPL, NULL, 1, fresh()), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_write_virtual(f->vcpu, 0, CPL, &byte, 1, NULL), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(reads(f, 0, NULL, 0), X86VCPU_OK);
	tells(0, 0, 0, 0, 0);
	ck_assert_int_eq(writes(f, 0, NULL, 0), X86VCPU_OK);
	for (uint32_t size = 0; size < 2 * sizeof(result); size++) {
		fresh()->size = size;
		if (size != sizeof(result))
			ck_assert_int_eq(x86vcpu_translate(f->vcpu, 0, R, CPL, &result), X86VCPU_ERR_ABI_MISMATCH);
	}
	ck_assert_int_eq(x86vcpu_unbind(f->vcpu), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_translate(f->vcpu, 0, R, CPL, fresh()), X86VCPU_ERR_BAD_STATE);
	ck_assert_int_eq(reads(f, 0, &byte, 1), X86VCPU_ERR_BAD_STATE);
	ck_assert_int_eq(writes(f, 0, &byte, 1), X86VCPU_ERR_BAD_STATE);
	ck_assert_int_eq(x86vcpu_bind(f->vcpu), X86VCPU_OK);
	fixture_end(f);
}
END_TEST

Suite *debug_memory_suite(void)
{
	Suite *suite = suite_create("debug_memory");
	TCase *tcase = tcase_create("debug_memory");

	tcase_add_loop_test(tcase, rights_are_checked, 0, 2 * COUNT(permissions));
	tcase_add_loop_test(tcase, not_canonical_is_a_general_protection_fault, 0, 2);
	tcase_add_loop_test(tcase, tables_are_absent, 0, 2);
	tcase_add_loop_test(tcase, without_paging_an_address_is_its_own, 0, 2);
	tcase_add_loop_test(tcase, pages_are_put_together, 0, 2);
	tcase_add_loop_test(tcase, progress_is_told, 0, 2);
	tcase_add_loop_test(tcase, the_end_of_the_address_space, 0, 2);
	tcase_add_loop_test(tcase, kinds_of_memory, 0, 2);
	tcase_add_loop_test(tcase, arguments, 0, 2);
	suite_add_tcase(suite, tcase);
	return suite;
}
