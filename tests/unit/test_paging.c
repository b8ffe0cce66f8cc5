/* SPDX-License-Identifier: Apache-2.0 */
/* Page walks in every paging mode, and segmentation of data accesses. Values: SDM chapters 4 and 5. */
#include <check.h>
#include <string.h>

#include "emul/paging.h"
#include "guest_fixture.h"

Suite *paging_suite(void);

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))

/* ---- Tables built by hand ---------------------------------------------------------------------------------- */

enum paging { PAGING_32, PAGING_PAE, PAGING_4, PAGING_5, PAGINGS };

struct format {
	unsigned entry_bytes, top_shift, bits; /* of the uppermost table in memory; index bits per level */
	uint64_t cr4, efer;
	enum fixture_mode mode;
	uint64_t linear; /* every index is different */
};

static const struct format formats[PAGINGS] = {
	[PAGING_32] = {4, 22, 10, 0, 0, FIXTURE_PROTECTED32, 0x00c05456},
	[PAGING_PAE] = {8, 21, 9, CR4_PAE, EFER_NXE, FIXTURE_PROTECTED32, 0x80e05456},
	[PAGING_4] = {8, 39, 9, CR4_PAE, EFER_NXE | EFER_LME | EFER_LMA, FIXTURE_LONG, 0xffffff0140605456},
	[PAGING_5] = {8, 48, 9, CR4_PAE | CR4_LA57, EFER_NXE | EFER_LME | EFER_LMA, FIXTURE_LONG,
		      0xff1fff0140605456},
};

#define TOP UINT64_C(0x10000) /* the uppermost table; the lower ones follow */
#define PAGE UINT64_C(0x22000)
#define ALL (PTE_P | PTE_RW | PTE_US)

struct tables {
	struct guest_fixture *f;
	const struct format *format;
	unsigned levels;
	uint64_t at[5]; /* where the entries are, the uppermost first */
	uint64_t entry[5];
};

static void put(struct tables *t, unsigned level, uint64_t entry)
{
	t->entry[level] = entry;
	if (t->format->entry_bytes == 4)
		fixture_write32(t->f, t->at[level], (uint32_t)entry);
	else
		fixture_write64(t->f, t->at[level], entry);
}

static void load(struct tables *t)
{
	fixture_set(t->f, G_CR0, CR0_PE | CR0_PG | CR0_WP | CR0_ET);
	fixture_set(t->f, G_CR3, TOP);
	fixture_set(t->f, G_CR4, t->format->cr4);
	fixture_set(t->f, G_EFER, t->format->efer);
	if (t->format->top_shift == 21)
		fixture_set(t->f, G_PDPTE0 + (t->format->linear >> 30 & 3), TOP | PTE_P);
}

/* Maps the format's linear address to `leaf`, an entry of the table whose entries map 1 << shift bytes. */
static struct tables map(enum paging paging, unsigned shift, uint64_t leaf)
{
	const struct format *format = &formats[paging];
	struct tables t = {.f = fixture_reset(format->mode), .format = format};

	for (unsigned s = format->top_shift;; s -= format->bits) {
		const uint64_t index = format->linear >> s & ((1u << format->bits) - 1);
		const unsigned level = t.levels++;

		t.at[level] = TOP + 0x1000 * level + index * format->entry_bytes;
		put(&t, level, s == shift ? leaf : (TOP + 0x1000 * (level + 1)) | ALL);
		if (s == shift)
			break;
	}
	load(&t);
	return t;
}

static void add_bits(struct tables *t, enum guest_field field, uint64_t bits)
{
	fixture_set(t->f, field, t->f->hardware[field] | bits);
}

static void expect_gpa(struct tables *t, uint32_t access, uint64_t want, const char *name)
{
	struct paging_fault fault = {0};
	uint64_t gpa = 0;

	ck_assert_msg(paging_translate(&t->f->g, t->format->linear, access, &gpa, &fault) == PAGING_OK,
		      "%s: fault %x", name, fault.error_code);
	ck_assert_msg(gpa == want, "%s: %lx, not %lx", name, gpa, want);
}

static void expect_fault(struct tables *t, uint32_t access, uint32_t code, const char *name)
{
	struct paging_fault fault = {0};
	uint64_t gpa;

	ck_assert_msg(paging_translate(&t->f->g, t->format->linear, access, &gpa, &fault) == PAGING_FAULT,
		      "%s: no fault", name);
	ck_assert_msg(fault.vector == VECTOR_PF, "%s: vector %u", name, fault.vector);
	ck_assert_msg(fault.error_code == code, "%s: error code %x, not %x", name, fault.error_code, code);
	ck_assert_msg(fault.address == t->format->linear, "%s: CR2 %lx", name, fault.address);
}

/* ---- Addresses --------------------------------------------------------------------------------------------- */

struct address_row {
	const char *name;
	enum paging paging;
	unsigned shift;
	uint64_t cr4, leaf, gpa;
};

static const struct address_row address_rows[] = {
	{"32-bit 4K", PAGING_32, 12, 0, 0xfedcb000 | ALL, 0xfedcb456},
	{"32-bit 4K, PAT and G", PAGING_32, 12, CR4_PGE, 0x22000 | ALL | 0x180, 0x22456},
	{"32-bit 4M", PAGING_32, 22, CR4_PSE, 0xff800000 | ALL | PTE_PS, 0xff805456},
	{"32-bit 4M, PAT", PAGING_32, 22, CR4_PSE, 0x00400000 | ALL | PTE_PS | 0x1000, 0x00405456},
	{"32-bit 4M, PSE-36", PAGING_32, 22, CR4_PSE, 0x00400000 | ALL | PTE_PS | 0x1fe000, 0xff00405456},
	{"PAE 4K", PAGING_PAE, 12, 0, 0xfffffff000 | ALL, 0xfffffff456},
	{"PAE 4K, XD", PAGING_PAE, 12, 0, 0x22000 | ALL | PTE_XD, 0x22456},
	{"PAE 2M", PAGING_PAE, 21, 0, 0xffffe00000 | ALL | PTE_PS, 0xffffe05456},
	{"PAE 2M, PAT", PAGING_PAE, 21, 0, 0x400000 | ALL | PTE_PS | 0x1000, 0x405456},
	{"4-level 4K", PAGING_4, 12, 0, 0xfffffff000 | ALL, 0xfffffff456},
	{"4-level 4K, ignored bits", PAGING_4, 12, 0, 0x22000 | ALL | UINT64_C(0x7ff) << 52 | 0xe00, 0x22456},
	/* C-10b: bit 12 of a large page is PAT. */
	{"4-level 2M, PAT", PAGING_4, 21, 0, 0x400000 | ALL | PTE_PS | 0x1000, 0x405456},
	{"4-level 1G, PAT", PAGING_4, 30, 0, 0xc0000000 | ALL | PTE_PS | 0x1000, 0xc0605456},
	{"5-level 4K", PAGING_5, 12, 0, 0x22000 | ALL, 0x22456},
	{"5-level 2M", PAGING_5, 21, 0, 0xffffe00000 | ALL | PTE_PS, 0xffffe05456},
	{"5-level 1G", PAGING_5, 30, 0, 0xffc0000000 | ALL | PTE_PS, 0xffc0605456},
};

START_TEST(page_is_found)
{
	const struct address_row *row = &address_rows[_i];
	struct tables t = map(row->paging, row->shift, row->leaf);

	add_bits(&t, G_CR4, row->cr4);
	expect_gpa(&t, 0, row->gpa, row->name);
}
END_TEST

START_TEST(without_paging_linear_is_physical)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_PROTECTED32);
	struct paging_fault fault;
	uint64_t gpa;

	ck_assert_int_eq(paging_translate(&f->g, 0x1fedcba98, PF_WRITE | PF_USER, &gpa, &fault), PAGING_OK);
	ck_assert_uint_eq(gpa, 0xfedcba98);
	ck_assert_uint_eq(fixture_reads(f), 1);
}
END_TEST

START_TEST(ps_without_pse_points_to_a_table)
{
	struct tables t = map(PAGING_32, 12, PAGE | ALL);

	put(&t, 0, t.entry[0] | PTE_PS);
	expect_gpa(&t, 0, PAGE | 0x456, "PSE=0");
}
END_TEST

/* PWT, PCD and PCID are no address. */
START_TEST(low_bits_of_cr3_are_ignored)
{
	struct tables t = map(_i, 12, PAGE | ALL);

	add_bits(&t, G_CR3, 0xfff);
	if (_i >= PAGING_4)
		add_bits(&t, G_CR4, CR4_PCIDE);
	expect_gpa(&t, 0, PAGE | 0x456, "CR3");
}
END_TEST

/* The PDPTEs were loaded by MOV CR3: memory at CR3 is not looked at. */
START_TEST(pdptes_are_registers)
{
	struct tables t = map(PAGING_PAE, 12, PAGE | ALL);

	fixture_set(t.f, G_CR3, 0x7000);
	expect_gpa(&t, 0, PAGE | 0x456, "PDPTE");
	ck_assert_uint_eq(t.f->reads[G_PDPTE0 + 2], 1);
	fixture_set(t.f, G_PDPTE2, TOP);
	expect_fault(&t, PF_USER, PF_USER, "PDPTE not present");
	fixture_set(t.f, G_PDPTE2, TOP | PTE_P | PTE_RW);
	expect_fault(&t, 0, PF_PRESENT | PF_RESERVED, "reserved bit of PDPTE");
}
END_TEST

START_TEST(walk_changes_nothing)
{
	static uint8_t before[FIXTURE_RAM_SIZE];
	struct tables t = map(_i, 12, PAGE | ALL);

	memcpy(before, t.f->ram, sizeof(before));
	expect_gpa(&t, PF_WRITE, PAGE | 0x456, "write");
	ck_assert_int_eq(memcmp(before, t.f->ram, sizeof(before)), 0);
	ck_assert_uint_eq(t.f->g.dirty, 0);
}
END_TEST

static uint64_t entry_at(const struct tables *t, unsigned level)
{
	uint64_t entry = 0;

	memcpy(&entry, t->f->ram + t->at[level], t->format->entry_bytes);
	return entry;
}

static void access_ok(struct tables *t, uint32_t access)
{
	struct paging_fault fault;
	uint64_t gpa = 0;

	ck_assert_int_eq(paging_access(&t->f->g, t->format->linear, access, &gpa, &fault), PAGING_OK);
	ck_assert_uint_eq(gpa, PAGE | 0x456);
}

/* SDM 4.8. */
START_TEST(access_marks_its_entries)
{
	struct tables t = map(_i, 12, PAGE | ALL);

	access_ok(&t, 0);
	for (unsigned level = 0; level < t.levels; level++)
		ck_assert_uint_eq(entry_at(&t, level), t.entry[level] | PTE_A);
	access_ok(&t, PF_WRITE);
	for (unsigned level = 0; level < t.levels; level++)
		ck_assert_uint_eq(entry_at(&t, level),
				  t.entry[level] | PTE_A | (level == t.levels - 1 ? PTE_D : 0));
}
END_TEST

START_TEST(large_page_is_marked)
{
	struct tables t = map(_i, _i == PAGING_32 ? 22 : 21, 0x400000 | PTE_PS | ALL);
	struct paging_fault fault;
	uint64_t gpa;

	if (_i == PAGING_32)
		fixture_set(t.f, G_CR4, CR4_PSE);
	ck_assert_int_eq(paging_access(&t.f->g, t.format->linear, PF_WRITE, &gpa, &fault), PAGING_OK);
	ck_assert_uint_eq(entry_at(&t, t.levels - 1), t.entry[t.levels - 1] | PTE_A | PTE_D);
}
END_TEST

START_TEST(access_that_faults_marks_nothing)
{
	struct tables t = map(_i, 12, PAGE | (ALL & ~PTE_RW));
	struct paging_fault fault;
	uint64_t gpa;

	ck_assert_int_eq(paging_access(&t.f->g, t.format->linear, PF_WRITE, &gpa, &fault), PAGING_FAULT);
	for (unsigned level = 0; level < t.levels; level++)
		ck_assert_uint_eq(entry_at(&t, level), t.entry[level]);
}
END_TEST

START_TEST(read_only_memory_is_never_written)
{
	static uint8_t before[FIXTURE_RAM_SIZE];
	struct tables t = map(_i, 12, PAGE | ALL);

	t.f->regions[0].flags = X86VCPU_MEMORY_READ_ONLY;
	memcpy(before, t.f->ram, sizeof(before));
	access_ok(&t, PF_WRITE);
	ck_assert_int_eq(memcmp(before, t.f->ram, sizeof(before)), 0);
}
END_TEST

START_TEST(tables_may_be_in_odd_memory)
{
	static uint8_t odd[FIXTURE_RAM_SIZE + 1];
	struct tables t = map(_i, 12, PAGE | ALL);

	memcpy(odd + 1, t.f->ram, FIXTURE_RAM_SIZE);
	memset(t.f->ram, 0, FIXTURE_RAM_SIZE);
	t.f->regions[0].hva = odd + 1;
	expect_gpa(&t, 0, PAGE | 0x456, "unaligned host address");
	access_ok(&t, PF_WRITE);
}
END_TEST

START_TEST(tables_may_be_behind_the_host)
{
	struct tables t = map(_i, 12, PAGE | ALL);

	memcpy(t.f->far, t.f->ram + t.at[t.levels - 1] / 0x1000 * 0x1000, 0x1000);
	put(&t, t.levels - 2, FIXTURE_FAR | ALL);
	expect_gpa(&t, 0, PAGE | 0x456, "host");
	ck_assert_uint_eq(t.f->host_reads, 1);
}
END_TEST

START_TEST(missing_table_is_told)
{
	struct tables t = map(_i, 12, PAGE | ALL);
	const uint64_t index = t.at[t.levels - 1] & 0xfff;
	struct paging_fault fault;
	uint64_t gpa;

	put(&t, t.levels - 2, 0xdead0000 | ALL);
	ck_assert_int_eq(paging_translate(&t.f->g, t.format->linear, 0, &gpa, &fault), PAGING_ABSENT);
	ck_assert_uint_eq(fault.address, 0xdead0000 | index);
	ck_assert_uint_eq(fault.error_code, X86VCPU_ACCESS_READ);
}
END_TEST

/* ---- Not present, reserved ------------------------------------------------------------------------------ */

START_TEST(not_present_at_any_level)
{
	struct tables t = map(_i, 12, PAGE | ALL);

	for (unsigned level = 0; level < t.levels; level++) {
		const uint64_t entry = t.entry[level];

		/* A reserved bit does not matter in an entry that is not present. */
		put(&t, level, (entry & ~PTE_P) | (t.format->entry_bytes == 8 ? UINT64_C(1) << 50 : 0));
		expect_fault(&t, 0, 0, "read");
		expect_fault(&t, PF_WRITE | PF_USER, PF_WRITE | PF_USER, "user write");
		put(&t, level, entry);
	}
	expect_gpa(&t, 0, PAGE | 0x456, "restored");
}
END_TEST

struct reserved_row {
	const char *name;
	enum paging paging;
	unsigned shift, level;
	uint64_t bits;
};

static const struct reserved_row reserved_rows[] = {
	{"4M: bit 21", PAGING_32, 22, 0, UINT64_C(1) << 21},
	{"PAE PDE: bit 40 is above MAXPHYADDR", PAGING_PAE, 12, 0, UINT64_C(1) << 40},
	{"PAE PDE: bit 52", PAGING_PAE, 12, 0, UINT64_C(1) << 52},
	{"PAE PDE: bit 62", PAGING_PAE, 12, 0, UINT64_C(1) << 62},
	{"PAE PTE: bit 51", PAGING_PAE, 12, 1, UINT64_C(1) << 51},
	{"PAE PTE: bit 62", PAGING_PAE, 12, 1, UINT64_C(1) << 62},
	{"PAE 2M: bit 13", PAGING_PAE, 21, 0, UINT64_C(1) << 13},
	{"PAE 2M: bit 20", PAGING_PAE, 21, 0, UINT64_C(1) << 20},
	{"PML4E: PS", PAGING_4, 12, 0, PTE_PS},
	{"PML4E: bit 51", PAGING_4, 12, 0, UINT64_C(1) << 51},
	{"PDPTE: bit 40", PAGING_4, 12, 1, UINT64_C(1) << 40},
	{"PDE: bit 40", PAGING_4, 12, 2, UINT64_C(1) << 40},
	{"PTE: bit 40", PAGING_4, 12, 3, UINT64_C(1) << 40},
	{"2M: bit 13", PAGING_4, 21, 2, UINT64_C(1) << 13},
	{"2M: bit 20", PAGING_4, 21, 2, UINT64_C(1) << 20},
	{"1G: bit 13", PAGING_4, 30, 1, UINT64_C(1) << 13},
	{"1G: bit 29", PAGING_4, 30, 1, UINT64_C(1) << 29},
	{"PML5E: PS", PAGING_5, 12, 0, PTE_PS},
	{"PML4E below a PML5E: PS", PAGING_5, 12, 1, PTE_PS},
	{"5-level PTE: bit 45", PAGING_5, 12, 4, UINT64_C(1) << 45},
};

static uint64_t leaf_for(unsigned shift)
{
	return shift == 12 ? PAGE | ALL : UINT64_C(0xc0000000) | ALL | PTE_PS;
}

START_TEST(reserved_bit_faults)
{
	const struct reserved_row *row = &reserved_rows[_i];
	struct tables t = map(row->paging, row->shift, leaf_for(row->shift));

	if (row->paging == PAGING_32)
		add_bits(&t, G_CR4, CR4_PSE);
	put(&t, row->level, t.entry[row->level] | row->bits);
	expect_fault(&t, 0, PF_PRESENT | PF_RESERVED, row->name);
	expect_fault(&t, PF_USER | PF_WRITE, PF_PRESENT | PF_RESERVED | PF_USER | PF_WRITE, row->name);
}
END_TEST

START_TEST(pse36_bits_above_maxphyaddr_are_reserved)
{
	struct tables t = map(PAGING_32, 22, 0x400000 | ALL | PTE_PS | UINT64_C(1) << 17); /* bit 36 */

	add_bits(&t, G_CR4, CR4_PSE);
	expect_gpa(&t, 0, 0x1000405456, "40 bits");
	t.f->g.limits.physical_mask = (UINT64_C(1) << 36) - 1;
	expect_fault(&t, 0, PF_PRESENT | PF_RESERVED, "36 bits");
}
END_TEST

START_TEST(xd_is_reserved_without_nxe)
{
	struct tables t = map(_i, 12, PAGE | ALL);

	for (unsigned level = 0; level < t.levels; level++) {
		const uint64_t entry = t.entry[level];

		fixture_set(t.f, G_EFER, t.format->efer & ~EFER_NXE);
		put(&t, level, entry | PTE_XD);
		expect_fault(&t, 0, PF_PRESENT | PF_RESERVED, "NXE=0");
		fixture_set(t.f, G_EFER, t.format->efer);
		expect_gpa(&t, 0, PAGE | 0x456, "NXE=1");
		put(&t, level, entry);
	}
}
END_TEST

/* No page is that large, even when its address would suit one. */
START_TEST(ps_above_1g_is_reserved)
{
	struct tables t = map(_i, 12, PAGE | ALL);

	for (unsigned level = 0; level < t.levels - 3; level++) {
		const uint64_t entry = t.entry[level];

		put(&t, level, ALL | PTE_PS);
		expect_fault(&t, 0, PF_PRESENT | PF_RESERVED, "PS");
		put(&t, level, entry);
	}
}
END_TEST

START_TEST(ps_of_1g_is_reserved_without_the_feature)
{
	struct tables t = map(PAGING_4, 30, 0xc0000000 | ALL | PTE_PS);

	t.f->g.limits.has_1g_pages = false;
	expect_fault(&t, 0, PF_PRESENT | PF_RESERVED, "1G");
}
END_TEST

/* ---- Permissions (SDM 4.6) ------------------------------------------------------------------------------- */

#define OK UINT32_MAX

struct permission_row {
	const char *name;
	uint64_t remove, add; /* bits of one entry, at each level in turn */
	uint64_t cr0_off, cr4, rflags;
	uint32_t access, want; /* error code without P, or OK */
};

static const struct permission_row permission_rows[] = {
	{"supervisor reads a user page", 0, 0, 0, 0, 0, 0, OK},
	{"supervisor reads a supervisor page", PTE_US, 0, 0, 0, 0, 0, OK},
	{"supervisor reads a read-only page", PTE_RW, 0, 0, 0, 0, 0, OK},
	{"supervisor writes to a read-only page", PTE_RW, 0, 0, 0, 0, PF_WRITE, PF_WRITE},
	{"supervisor writes to a read-only page, WP=0", PTE_RW, 0, CR0_WP, 0, 0, PF_WRITE, OK},
	{"supervisor writes to a read-only supervisor page", PTE_RW | PTE_US, 0, 0, 0, 0, PF_WRITE, PF_WRITE},
	{"user reads", 0, 0, 0, 0, 0, PF_USER, OK},
	{"user writes", 0, 0, 0, 0, 0, PF_USER | PF_WRITE, OK},
	{"user reads a read-only page", PTE_RW, 0, 0, 0, 0, PF_USER, OK},
	{"user writes to a read-only page", PTE_RW, 0, 0, 0, 0, PF_USER | PF_WRITE, PF_USER | PF_WRITE},
	{"user writes to a read-only page, WP=0", PTE_RW, 0, CR0_WP, 0, 0, PF_USER | PF_WRITE,
	 PF_USER | PF_WRITE},
	{"user reads a supervisor page", PTE_US, 0, 0, 0, 0, PF_USER, PF_USER},
	{"implicit supervisor access at CPL 3", PTE_US, 0, 0, 0, 0, PF_USER | PAGING_IMPLICIT, OK},
	{"SMAP: supervisor reads a user page", 0, 0, 0, CR4_SMAP, 0, 0, 0},
	{"SMAP: supervisor writes to a user page", 0, 0, 0, CR4_SMAP, 0, PF_WRITE, PF_WRITE},
	{"SMAP, AC=1", 0, 0, 0, CR4_SMAP, RFLAGS_AC, 0, OK},
	{"SMAP, AC=1, write to a read-only page", PTE_RW, 0, 0, CR4_SMAP, RFLAGS_AC, PF_WRITE, PF_WRITE},
	{"SMAP, AC=1, implicit", 0, 0, 0, CR4_SMAP, RFLAGS_AC, PAGING_IMPLICIT, 0},
	{"SMAP: supervisor page", PTE_US, 0, 0, CR4_SMAP, 0, PF_WRITE, OK},
	{"SMAP: user", 0, 0, 0, CR4_SMAP, 0, PF_USER, OK},
	{"SMAP does not concern fetches", 0, 0, 0, CR4_SMAP, 0, PF_FETCH, OK},
	{"SMEP: supervisor fetches from a user page", 0, 0, 0, CR4_SMEP, 0, PF_FETCH, PF_FETCH},
	{"SMEP: supervisor reads a user page", 0, 0, 0, CR4_SMEP, 0, 0, OK},
	{"SMEP: supervisor page", PTE_US, 0, 0, CR4_SMEP, 0, PF_FETCH, OK},
	{"SMEP: user", 0, 0, 0, CR4_SMEP, 0, PF_FETCH | PF_USER, OK},
	{"supervisor fetches from a user page", 0, 0, 0, 0, 0, PF_FETCH, OK},
	{"fetch from a read-only page", PTE_RW, 0, 0, 0, 0, PF_FETCH | PF_USER, OK},
	{"user fetches from a supervisor page, SMEP", PTE_US, 0, 0, CR4_SMEP, 0, PF_FETCH | PF_USER,
	 PF_FETCH | PF_USER},
};

static const struct permission_row xd_rows[] = {
	{"XD: read", 0, PTE_XD, 0, 0, 0, PF_USER, OK},
	{"XD: write", 0, PTE_XD, 0, 0, 0, PF_WRITE, OK},
	{"XD: user fetch", 0, PTE_XD, 0, 0, 0, PF_FETCH | PF_USER, PF_FETCH | PF_USER},
	{"XD: supervisor fetch", 0, PTE_XD, 0, 0, 0, PF_FETCH, PF_FETCH},
};

/* Whatever one entry on the way takes away is gone. */
static void check_row(enum paging paging, const struct permission_row *row)
{
	struct tables t = map(paging, 12, PAGE | ALL);

	fixture_set(t.f, G_CR0, t.f->hardware[G_CR0] & ~row->cr0_off);
	add_bits(&t, G_CR4, row->cr4);
	add_bits(&t, G_RFLAGS, row->rflags);
	for (unsigned level = 0; level < t.levels; level++) {
		const uint64_t entry = t.entry[level];

		put(&t, level, (entry & ~row->remove) | row->add);
		if (row->want == OK)
			expect_gpa(&t, row->access, PAGE | 0x456, row->name);
		else
			expect_fault(&t, row->access, row->want | PF_PRESENT, row->name);
		put(&t, level, entry);
	}
}

START_TEST(permission_is_checked)
{
	check_row(_i % PAGINGS, &permission_rows[_i / PAGINGS]);
}
END_TEST

START_TEST(xd_is_checked)
{
	check_row(PAGING_PAE + _i % 3, &xd_rows[_i / 3]);
}
END_TEST

/* SDM 4.7: I/D is reported only with SMEP, or with PAE and NXE. */
START_TEST(fetch_is_reported_only_with_nx_or_smep)
{
	struct tables t = map(_i, 12, 0);

	fixture_set(t.f, G_EFER, t.format->efer & ~EFER_NXE);
	expect_fault(&t, PF_FETCH, 0, "neither");
	add_bits(&t, G_CR4, CR4_SMEP);
	expect_fault(&t, PF_FETCH, PF_FETCH, "SMEP");
	fixture_set(t.f, G_CR4, t.format->cr4);
	add_bits(&t, G_EFER, EFER_NXE);
	expect_fault(&t, PF_FETCH, _i == PAGING_32 ? 0 : PF_FETCH, "NXE");
}
END_TEST

START_TEST(large_pages_check_permissions)
{
	struct tables t = map(_i, _i == PAGING_32 ? 22 : 21, 0xc0000000 | ALL | PTE_PS);
	const unsigned leaf = t.levels - 1;

	add_bits(&t, G_CR4, CR4_PSE);
	put(&t, leaf, t.entry[leaf] & ~PTE_US);
	expect_fault(&t, PF_USER, PF_PRESENT | PF_USER, "US=0");
	put(&t, leaf, (t.entry[leaf] | PTE_US) & ~PTE_RW);
	expect_fault(&t, PF_WRITE, PF_PRESENT | PF_WRITE, "RW=0");
}
END_TEST

/* ---- Canonical addresses --------------------------------------------------------------------------------- */

struct canonical_row {
	enum fixture_mode mode;
	bool la57;
	uint64_t linear;
	bool canonical;
};

static const struct canonical_row canonical_rows[] = {
	{FIXTURE_LONG, false, 0x00007fffffffffff, true},  {FIXTURE_LONG, false, 0x0000800000000000, false},
	{FIXTURE_LONG, false, 0xffff7fffffffffff, false}, {FIXTURE_LONG, false, 0xffff800000000000, true},
	{FIXTURE_LONG, true, 0x0000800000000000, true},   {FIXTURE_LONG, true, 0x00ffffffffffffff, true},
	{FIXTURE_LONG, true, 0x0100000000000000, false},  {FIXTURE_LONG, true, 0xfeffffffffffffff, false},
	{FIXTURE_LONG, true, 0xff00000000000000, true},   {FIXTURE_COMPATIBILITY, false, 0xffffffff, true},
};

START_TEST(canonical_form)
{
	const struct canonical_row *row = &canonical_rows[_i];
	struct guest_fixture *f = fixture_reset(row->mode);
	struct paging_fault fault;
	uint64_t gpa;

	if (row->la57)
		fixture_set(f, G_CR4, CR4_PAE | CR4_LA57);
	ck_assert(paging_canonical(&f->g, row->linear) == row->canonical);
	if (row->canonical)
		return;
	ck_assert_int_eq(paging_translate(&f->g, row->linear, 0, &gpa, &fault), PAGING_FAULT);
	ck_assert_uint_eq(fault.vector, VECTOR_GP);
	ck_assert_uint_eq(fault.error_code, 0);
}
END_TEST

/* ---- Segmentation ------------------------------------------------------------------------------------------ */

struct segment_row {
	const char *name;
	enum fixture_mode mode;
	unsigned segment;
	uint64_t rights, limit, base, offset;
	unsigned bytes;
	bool write;
	unsigned vector; /* 0: allowed */
};

#define ES X86VCPU_SEGMENT_ES
#define SS X86VCPU_SEGMENT_SS
#define DS X86VCPU_SEGMENT_DS
#define FS X86VCPU_SEGMENT_FS
#define P32 FIXTURE_PROTECTED32
#define LONG FIXTURE_LONG

static const struct segment_row segment_rows[] = {
	{"inside the limit", P32, DS, 0xc093, 0xfff, 0, 0xffc, 4, true, 0},
	{"last byte outside", P32, DS, 0xc093, 0xfff, 0, 0xffd, 4, false, VECTOR_GP},
	{"SS takes #SS", P32, SS, 0xc093, 0xfff, 0, 0xffd, 4, false, VECTOR_SS},
	{"end of a flat segment", P32, DS, 0xc093, 0xffffffff, 0, 0xffffffff, 1, true, 0},
	{"unusable", P32, ES, AR_UNUSABLE | 0xc093, 0xffffffff, 0, 0, 1, true, VECTOR_GP},
	{"write to read-only data", P32, ES, 0xc091, 0xffffffff, 0, 0, 1, true, VECTOR_GP},
	{"read of read-only data", P32, ES, 0xc091, 0xffffffff, 0, 0, 1, false, 0},
	{"write to code", P32, DS, 0xc09b, 0xffffffff, 0, 0, 1, true, VECTOR_GP},
	{"read of readable code", P32, DS, 0xc09b, 0xffffffff, 0, 0, 1, false, 0},
	{"read of execute-only code", P32, DS, 0xc099, 0xffffffff, 0, 0, 1, false, VECTOR_GP},
	{"conforming code is not expand-down", P32, DS, 0xc09f, 0xfff, 0, 0x10, 1, false, 0},
	{"expand-down: at the limit", P32, DS, 0xc097, 0xfff, 0, 0xfff, 1, true, VECTOR_GP},
	{"expand-down: above the limit", P32, DS, 0xc097, 0xfff, 0, 0x1000, 1, true, 0},
	{"expand-down: to 4 GiB", P32, DS, 0xc097, 0xfff, 0, 0xfffffffe, 2, true, 0},
	{"expand-down: past 4 GiB", P32, DS, 0xc097, 0xfff, 0, 0xffffffff, 2, true, VECTOR_GP},
	{"expand-down 16-bit: to 64 KiB", P32, DS, 0x97, 0xfff, 0, 0xffff, 1, true, 0},
	{"expand-down 16-bit: past 64 KiB", P32, DS, 0x97, 0xfff, 0, 0xffff, 2, true, VECTOR_GP},
	{"real mode: limit", FIXTURE_REAL, DS, 0x93, 0xffff, 0, 0xffff, 2, false, VECTOR_GP},
	{"real mode: SS", FIXTURE_REAL, SS, 0x93, 0xffff, 0, 0xffff, 2, false, VECTOR_SS},
	{"real mode: type is not looked at", FIXTURE_REAL, ES, 0x9b, 0xffff, 0, 0, 2, true, 0},
	{"virtual-8086", FIXTURE_VIRTUAL_8086, ES, 0xf3, 0xffff, 0, 0xfffe, 2, true, 0},
	{"64-bit: no limit, no type", LONG, ES, AR_UNUSABLE, 0, 0, 0x7fffffffffff, 1, true, 0},
	{"64-bit: end of the lower half", LONG, ES, 0xc093, 0, 0, 0x7fffffffffff, 2, true, VECTOR_GP},
	{"64-bit: no canonical address", LONG, DS, 0xc093, 0, 0, 0x800000000000, 1, false, VECTOR_GP},
	{"64-bit: SS", LONG, SS, 0xc093, 0, 0, 0x800000000000, 1, false, VECTOR_SS},
	{"64-bit: FS base", LONG, FS, 0xc093, 0, 0x7fffffffff00, 0x100, 1, false, VECTOR_GP},
	{"compatibility mode has limits", FIXTURE_COMPATIBILITY, DS, 0xc093, 0xfff, 0, 0x1000, 1, false,
	 VECTOR_GP},
};

START_TEST(segment_is_checked)
{
	const struct segment_row *row = &segment_rows[_i];
	struct guest_fixture *f = fixture_reset(row->mode);
	struct paging_fault fault = {0};

	fixture_set(f, G_ACCESS + row->segment, row->rights);
	fixture_set(f, G_LIMIT + row->segment, row->limit);
	fixture_set(f, G_BASE + row->segment, row->base);
	const uint64_t linear = paging_linear(&f->g, row->segment, row->offset);
	const bool allowed = paging_check_segment(&f->g, row->segment, row->offset, linear, row->bytes,
						  row->write, &fault);

	ck_assert_msg(allowed == !row->vector, "%s", row->name);
	ck_assert_msg(fault.vector == row->vector, "%s: vector %u", row->name, fault.vector);
	ck_assert_uint_eq(fault.error_code, 0);
}
END_TEST

struct linear_row {
	enum fixture_mode mode;
	unsigned segment;
	uint64_t base, offset, linear;
};

static const struct linear_row linear_rows[] = {
	{FIXTURE_REAL, DS, 0xffff0, 0xffff, 0x10ffef},
	{FIXTURE_PROTECTED32, DS, 0xfffff000, 0x1234, 0x234},
	{FIXTURE_COMPATIBILITY, FS, 0x100000000 + 0x1000, 0x10, 0x1010},
	{FIXTURE_LONG, DS, 0x1000, 0x10, 0x10}, /* S-06 */
	{FIXTURE_LONG, ES, 0x1000, 0x10, 0x10},
	{FIXTURE_LONG, FS, 0xffff800000001000, 0x10, 0xffff800000001010},
	{FIXTURE_LONG, X86VCPU_SEGMENT_GS, 0x10, 0xfffffffffffffff8, 8},
};

START_TEST(linear_address)
{
	const struct linear_row *row = &linear_rows[_i];
	struct guest_fixture *f = fixture_reset(row->mode);

	fixture_set(f, G_BASE + row->segment, row->base);
	ck_assert_uint_eq(paging_linear(&f->g, row->segment, row->offset), row->linear);
}
END_TEST

/* ---- What becomes of a failure ----------------------------------------------------------------------------- */

START_TEST(fault_is_raised)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_LONG);
	const struct paging_fault fault = {VECTOR_PF, PF_WRITE | PF_USER, 0x1234};

	ck_assert_int_eq(paging_raise(&f->g, &fault), EMUL_RESUME);
	ck_assert(f->g.events.exception.valid);
	ck_assert_uint_eq(f->g.events.exception.vector, VECTOR_PF);
	ck_assert_uint_eq(f->g.events.exception.error_code, PF_WRITE | PF_USER);
	ck_assert_uint_eq(f->g.cr2, 0x1234);
}
END_TEST

START_TEST(protection_fault_leaves_cr2)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_LONG);
	const struct paging_fault fault = {VECTOR_SS, 0, 0x1234};

	f->g.cr2 = 0x5678;
	ck_assert_int_eq(paging_raise(&f->g, &fault), EMUL_RESUME);
	ck_assert_uint_eq(f->g.events.exception.vector, VECTOR_SS);
	ck_assert(f->g.events.exception.has_error_code);
	ck_assert_uint_eq(f->g.cr2, 0x5678);
}
END_TEST

/* ---- Protection keys (SDM 4.6.2) ------------------------------------------------------------------------------- */

#define KEY 5u
#define PKRU_OFFSET 2688u
#define AD (1u << (2 * KEY))
#define WD (2u << (2 * KEY))

static const struct {
	const char *name;
	uint32_t pkru, access;
	uint64_t cr0, entry; /* removed from those of the fixture */
	uint32_t error_code; /* 0: allowed */
} keys[] = {
	{"nothing disabled", ~(AD | WD), PF_USER | PF_WRITE, 0, 0, 0},
	{"access disabled", AD, PF_USER, 0, 0, PF_PRESENT | PF_USER | PF_PROTECTION_KEY},
	{"access disabled, of a supervisor", AD, 0, 0, 0, PF_PRESENT | PF_PROTECTION_KEY},
	{"access disabled, implicit", AD, PAGING_IMPLICIT, 0, 0, PF_PRESENT | PF_PROTECTION_KEY},
	{"write disabled, of a read", WD, PF_USER, 0, 0, 0},
	{"write disabled", WD, PF_USER | PF_WRITE, 0, 0, PF_PRESENT | PF_USER | PF_WRITE | PF_PROTECTION_KEY},
	{"write disabled, of a supervisor", WD, PF_WRITE, 0, 0, PF_PRESENT | PF_WRITE | PF_PROTECTION_KEY},
	{"write disabled, of a supervisor without WP", WD, PF_WRITE, CR0_WP, 0, 0},
	{"write disabled, of a user without WP", WD, PF_USER | PF_WRITE, CR0_WP, 0,
	 PF_PRESENT | PF_USER | PF_WRITE | PF_PROTECTION_KEY},
	{"fetches have no key", AD | WD, PF_USER | PF_FETCH, 0, 0, 0},
	{"supervisor pages have no key", AD | WD, PF_WRITE, 0, PTE_US, 0},
	{"a read-only page, too", AD, PF_USER | PF_WRITE, 0, PTE_RW,
	 PF_PRESENT | PF_USER | PF_WRITE | PF_PROTECTION_KEY},
	{"a debugger's access", AD | WD, PAGING_UNCHECKED | PF_WRITE, 0, 0, 0},
};

static struct guest_fixture *with_key(uint32_t pkru, uint64_t removed)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_LONG);
	const uint64_t in_use = XCR0_PKRU;

	fixture_write64(f, FIXTURE_PDPT, ((uint64_t)KEY << PTE_KEY_SHIFT | PTE_PS | PTE_P | PTE_RW | PTE_US) & ~removed);
	fixture_set(f, G_CR4, CR4_PAE | CR4_PKE);
	f->g.context.component_offset[9] = PKRU_OFFSET;
	memcpy(f->xsave + PKRU_OFFSET, &pkru, sizeof(pkru));
	memcpy(f->xsave + XSAVE_LEGACY_SIZE, &in_use, sizeof(in_use));
	return f;
}

START_TEST(protection_key_is_checked)
{
	struct guest_fixture *f = with_key(keys[_i].pkru, keys[_i].entry);
	struct paging_fault fault = {0};
	uint64_t gpa;
	enum paging_status status;

	fixture_set(f, G_CR0, f->hardware[G_CR0] & ~keys[_i].cr0);
	status = paging_translate(&f->g, 0x1234, keys[_i].access, &gpa, &fault);
	ck_assert_msg((status == PAGING_FAULT) == (keys[_i].error_code != 0), "%s: status %d", keys[_i].name, status);
	ck_assert_msg(fault.error_code == keys[_i].error_code, "%s: error code %x", keys[_i].name, fault.error_code);
}
END_TEST

/* PKRU in its initial configuration is 0, and without CR4.PKE it does not count. */
START_TEST(protection_key_needs_pkru)
{
	struct guest_fixture *f = with_key(AD | WD, 0);
	struct paging_fault fault;
	uint64_t gpa;

	fixture_set(f, G_CR4, CR4_PAE);
	ck_assert_int_eq(paging_translate(&f->g, 0x1234, PF_USER, &gpa, &fault), PAGING_OK);
	fixture_set(f, G_CR4, CR4_PAE | CR4_PKE);
	memset(f->xsave + XSAVE_LEGACY_SIZE, 0, 8);
	ck_assert_int_eq(paging_translate(&f->g, 0x1234, PF_USER, &gpa, &fault), PAGING_OK);
}
END_TEST

Suite *paging_suite(void)
{
	Suite *suite = suite_create("paging");
	TCase *keys_case = tcase_create("keys");
	TCase *walk = tcase_create("walk");
	TCase *faults = tcase_create("faults");
	TCase *permissions = tcase_create("permissions");
	TCase *segments = tcase_create("segments");

	tcase_add_loop_test(walk, page_is_found, 0, COUNT(address_rows));
	tcase_add_test(walk, without_paging_linear_is_physical);
	tcase_add_test(walk, ps_without_pse_points_to_a_table);
	tcase_add_loop_test(walk, low_bits_of_cr3_are_ignored, 0, PAGINGS);
	tcase_add_test(walk, pdptes_are_registers);
	tcase_add_loop_test(walk, walk_changes_nothing, 0, PAGINGS);
	tcase_add_loop_test(walk, access_marks_its_entries, 0, PAGINGS);
	tcase_add_loop_test(walk, large_page_is_marked, 0, PAGINGS);
	tcase_add_loop_test(walk, access_that_faults_marks_nothing, 0, PAGINGS);
	tcase_add_loop_test(walk, read_only_memory_is_never_written, 0, PAGINGS);
	tcase_add_loop_test(walk, tables_may_be_in_odd_memory, 0, PAGINGS);
	tcase_add_loop_test(walk, tables_may_be_behind_the_host, PAGING_PAE, PAGINGS);
	tcase_add_loop_test(walk, missing_table_is_told, 0, PAGINGS);
	suite_add_tcase(suite, walk);

	tcase_add_loop_test(faults, not_present_at_any_level, 0, PAGINGS);
	tcase_add_loop_test(faults, reserved_bit_faults, 0, COUNT(reserved_rows));
	tcase_add_test(faults, pse36_bits_above_maxphyaddr_are_reserved);
	tcase_add_loop_test(faults, xd_is_reserved_without_nxe, PAGING_PAE, PAGINGS);
	tcase_add_loop_test(faults, ps_above_1g_is_reserved, PAGING_4, PAGINGS);
	tcase_add_test(faults, ps_of_1g_is_reserved_without_the_feature);
	tcase_add_loop_test(faults, canonical_form, 0, COUNT(canonical_rows));
	tcase_add_test(faults, fault_is_raised);
	tcase_add_test(faults, protection_fault_leaves_cr2);
	suite_add_tcase(suite, faults);

	tcase_add_loop_test(permissions, permission_is_checked, 0, COUNT(permission_rows) * PAGINGS);
	tcase_add_loop_test(permissions, xd_is_checked, 0, COUNT(xd_rows) * 3);
	tcase_add_loop_test(permissions, fetch_is_reported_only_with_nx_or_smep, 0, PAGINGS);
	tcase_add_loop_test(permissions, large_pages_check_permissions, 0, PAGINGS);
	suite_add_tcase(suite, permissions);

	tcase_add_loop_test(segments, segment_is_checked, 0, COUNT(segment_rows));
	tcase_add_loop_test(segments, linear_address, 0, COUNT(linear_rows));
	suite_add_tcase(suite, segments);
	tcase_add_loop_test(keys_case, protection_key_is_checked, 0, sizeof(keys) / sizeof(keys[0]));
	tcase_add_test(keys_case, protection_key_needs_pkru);
	suite_add_tcase(suite, keys_case);
	return suite;
}
