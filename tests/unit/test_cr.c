/* SPDX-License-Identifier: Apache-2.0 */
/* Control registers: what is refused, what is ignored, and what follows from a change. */
#include <check.h>
#include <string.h>

#include "cpu/x86.h"
#include "emul/cr.h"
#include "guest_fixture.h"

Suite *cr_suite(void);

#define PG_PE UINT64_C(0x80000001)
#define LONG_CR0 UINT64_C(0x80010011) /* the fixture's with paging */
#define PDPT UINT64_C(0x8000)
#define KEEP UINT64_C(0)

struct state {
	enum fixture_mode mode;
	uint64_t cr0, cr3, cr4, efer; /* 0: as the fixture has it */
};

static struct guest_fixture *guest_in(const struct state *state)
{
	struct guest_fixture *f = fixture_reset(state->mode);

	if (state->cr0)
		fixture_set(f, G_CR0, state->cr0);
	if (state->cr3)
		fixture_set(f, G_CR3, state->cr3);
	if (state->cr4)
		fixture_set(f, G_CR4, state->cr4);
	if (state->efer)
		fixture_set(f, G_EFER, state->efer);
	return f;
}

struct load_row {
	struct state before;
	unsigned cr;
	uint64_t value;
	int result;
	uint64_t after; /* of the same register, with EMUL_NEXT */
};

#define REAL {FIXTURE_REAL, KEEP, KEEP, KEEP, KEEP}
#define PROTECTED {FIXTURE_PROTECTED32, KEEP, KEEP, KEEP, KEEP}
#define COMPAT {FIXTURE_COMPATIBILITY, KEEP, KEEP, KEEP, KEEP}
#define LONG {FIXTURE_LONG, KEEP, KEEP, KEEP, KEEP}
#define V8086 {FIXTURE_VIRTUAL_8086, KEEP, KEEP, KEEP, KEEP}

static const struct load_row load_rows[] = {
	/* CR0: reserved bits of the lower half are ignored, ET is 1 (SDM 2.5). */
	{REAL, 0, 0x60000010, EMUL_NEXT, 0x60000010},
	{REAL, 0, 0x60000000, EMUL_NEXT, 0x60000010},
	{REAL, 0, 0x5ffaffff, EMUL_NEXT, 0x4000003f},
	{REAL, 0, 0x00050000, EMUL_NEXT, 0x00050010},
	{PROTECTED, 0, 0x0000003f, EMUL_NEXT, 0x0000003f},
	/* PG needs PE, NW needs CD. */
	{REAL, 0, 0x80000000, EMUL_GP, 0},
	{REAL, 0, 0x80000010, EMUL_GP, 0},
	{LONG, 0, 0x80000010, EMUL_GP, 0},
	{PROTECTED, 0, 0x20000011, EMUL_GP, 0},
	{PROTECTED, 0, 0x60000011, EMUL_NEXT, 0x60000011},
	{PROTECTED, 0, 0x40000011, EMUL_NEXT, 0x40000011},
	/* The upper half: #GP in 64-bit mode; elsewhere the operand has no such. */
	{LONG, 0, LONG_CR0 | UINT64_C(1) << 32, EMUL_GP, 0},
	{LONG, 0, LONG_CR0 | UINT64_C(1) << 63, EMUL_GP, 0},
	{COMPAT, 0, LONG_CR0 | UINT64_C(1) << 32, EMUL_NEXT, LONG_CR0},
	/* Back to real mode. */
	{PROTECTED, 0, 0x10, EMUL_NEXT, 0x10},
	/* Paging of 32 bits begins. */
	{PROTECTED, 0, PG_PE, EMUL_NEXT, 0x80000011},
	/* IA-32e mode begins: PAE, CS.L = 0. */
	{{FIXTURE_PROTECTED32, KEEP, KEEP, CR4_PAE, EFER_LME}, 0, PG_PE, EMUL_NEXT, 0x80000011},
	{{FIXTURE_PROTECTED32, KEEP, KEEP, KEEP, EFER_LME}, 0, PG_PE, EMUL_GP, 0},
	{{FIXTURE_LONG, 0x11, KEEP, CR4_PAE, EFER_LME}, 0, PG_PE, EMUL_GP, 0}, /* CS.L = 1 */
	/* Paging ends: not in 64-bit mode, not with PCIDE. */
	{LONG, 0, 0x11, EMUL_GP, 0},
	{COMPAT, 0, 0x11, EMUL_NEXT, 0x11},
	{{FIXTURE_COMPATIBILITY, KEEP, KEEP, CR4_PAE | CR4_PCIDE, KEEP}, 0, 0x11, EMUL_GP, 0},
	/* WP may not go while CET is on. */
	{{FIXTURE_LONG, KEEP, KEEP, CR4_PAE | CR4_CET, KEEP}, 0, PG_PE, EMUL_GP, 0},
	{{FIXTURE_LONG, KEEP, KEEP, CR4_PAE | CR4_CET, KEEP}, 0, LONG_CR0 | CR0_TS, EMUL_NEXT, LONG_CR0 | CR0_TS},
	{LONG, 0, PG_PE, EMUL_NEXT, 0x80000011},

	/* CR3: 40 bits of physical address; bits without meaning are kept. */
	{LONG, 3, 0xffffffffff, EMUL_NEXT, 0xffffffffff},
	{LONG, 3, UINT64_C(1) << 40, EMUL_GP, 0},
	{LONG, 3, UINT64_C(1) << 52, EMUL_GP, 0},
	{LONG, 3, 0x1000 | UINT64_C(1) << 63, EMUL_GP, 0},
	{{FIXTURE_LONG, KEEP, KEEP, CR4_PAE | CR4_PCIDE, KEEP}, 3, 0x1123 | UINT64_C(1) << 63, EMUL_NEXT, 0x1123},
	{{FIXTURE_LONG, KEEP, KEEP, CR4_PAE | CR4_PCIDE, KEEP}, 3, 0x1123 | UINT64_C(1) << 62, EMUL_GP, 0},
	{COMPAT, 3, 0xabcdef0000001fff, EMUL_NEXT, 0x1fff},
	{PROTECTED, 3, 0xffffffff, EMUL_NEXT, 0xffffffff},
	{REAL, 3, 0x1000, EMUL_NEXT, 0x1000},

	/* CR4: what the limits have, nothing else. */
	{PROTECTED, 4, CR4_PSE | CR4_PAE | CR4_PGE | CR4_OSFXSR, EMUL_NEXT, 0x2b0},
	{PROTECTED, 4, CR4_VMXE, EMUL_GP, 0},
	{PROTECTED, 4, CR4_SMXE, EMUL_GP, 0},
	{PROTECTED, 4, CR4_UMIP, EMUL_GP, 0},
	{PROTECTED, 4, CR4_MCE, EMUL_GP, 0},
	{PROTECTED, 4, CR4_PKE, EMUL_GP, 0},
	{PROTECTED, 4, UINT64_C(1) << 15, EMUL_GP, 0},
	{PROTECTED, 4, UINT64_C(1) << 31, EMUL_GP, 0},
	{LONG, 4, CR4_PAE | UINT64_C(1) << 32, EMUL_GP, 0},
	{LONG, 4, CR4_PAE | UINT64_C(1) << 63, EMUL_GP, 0},
	{COMPAT, 4, CR4_PAE | UINT64_C(1) << 32, EMUL_NEXT, CR4_PAE},
	/* In IA-32e mode PAE and LA57 stay. */
	{LONG, 4, CR4_PGE, EMUL_GP, 0},
	{COMPAT, 4, CR4_PGE, EMUL_GP, 0},
	{LONG, 4, CR4_PAE | CR4_LA57, EMUL_GP, 0},
	{{FIXTURE_LONG, KEEP, KEEP, CR4_PAE | CR4_LA57, KEEP}, 4, CR4_PAE, EMUL_GP, 0},
	{PROTECTED, 4, CR4_LA57, EMUL_NEXT, CR4_LA57},
	/* PCIDE: only in IA-32e mode, only from PCID 0. */
	{LONG, 4, CR4_PAE | CR4_PCIDE, EMUL_NEXT, CR4_PAE | CR4_PCIDE},
	{COMPAT, 4, CR4_PAE | CR4_PCIDE, EMUL_NEXT, CR4_PAE | CR4_PCIDE},
	{PROTECTED, 4, CR4_PAE | CR4_PCIDE, EMUL_GP, 0},
	{{FIXTURE_LONG, KEEP, 0xff001, KEEP, KEEP}, 4, CR4_PAE | CR4_PCIDE, EMUL_GP, 0},
	{{FIXTURE_LONG, KEEP, 0xff800, KEEP, KEEP}, 4, CR4_PAE | CR4_PCIDE, EMUL_GP, 0},
	{{FIXTURE_LONG, KEEP, 0xff001, CR4_PAE | CR4_PCIDE, KEEP}, 4, CR4_PAE | CR4_PCIDE | CR4_PGE, EMUL_NEXT,
	 CR4_PAE | CR4_PCIDE | CR4_PGE},
	{{FIXTURE_LONG, KEEP, 0xff001, CR4_PAE | CR4_PCIDE, KEEP}, 4, CR4_PAE, EMUL_NEXT, CR4_PAE},

	/* CR8: in 64-bit mode, 4 bits. */
	{LONG, 8, 0, EMUL_NEXT, 0},
	{LONG, 8, 15, EMUL_NEXT, 15},
	{LONG, 8, 16, EMUL_GP, 0},
	{LONG, 8, UINT64_C(1) << 63, EMUL_GP, 0},
	{COMPAT, 8, 1, EMUL_UD, 0},
	{PROTECTED, 8, 1, EMUL_UD, 0},

	/* No such registers. */
	{LONG, 1, 0, EMUL_UD, 0},
	{LONG, 5, 0, EMUL_UD, 0},
	{LONG, 7, 0, EMUL_UD, 0},
	{LONG, 9, 0, EMUL_UD, 0},
	{LONG, 15, 0, EMUL_UD, 0},

	/* Virtual-8086 mode has CPL 3. */
	{V8086, 0, 0x11, EMUL_GP, 0},
};

static uint64_t current(struct guest *g, unsigned cr)
{
	switch (cr) {
	case 0:
		return guest_get(g, G_CR0);
	case 3:
		return guest_get(g, G_CR3);
	case 4:
		return guest_get(g, G_CR4);
	default:
		return *g->lapic.tpr >> 4;
	}
}

/* A refused instruction leaves no trace. */
static void assert_unchanged(const struct guest *g)
{
	ck_assert_uint_eq(g->dirty, 0);
	ck_assert(!g->flush_tlb);
	ck_assert_uint_eq(*g->lapic.tpr, 0);
}

START_TEST(mov_to_cr)
{
	const struct load_row *row = &load_rows[_i];
	struct guest_fixture *f = guest_in(&row->before);
	struct guest *g = &f->g;

	g->limits.cr4 |= row->before.cr4 & CR4_CET;
	ck_assert_int_eq(emul_mov_to_cr(g, row->cr, row->value), row->result);
	if (row->result == EMUL_NEXT)
		ck_assert_uint_eq(current(g, row->cr), row->after);
	else
		assert_unchanged(g);
}
END_TEST

START_TEST(cet_needs_wp)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_LONG);

	f->g.limits.cr4 |= CR4_CET;
	ck_assert_int_eq(emul_mov_to_cr(&f->g, 4, CR4_PAE | CR4_CET), EMUL_NEXT);
	f = fixture_reset(FIXTURE_LONG);
	f->g.limits.cr4 |= CR4_CET;
	fixture_set(f, G_CR0, PG_PE);
	ck_assert_int_eq(emul_mov_to_cr(&f->g, 4, CR4_PAE | CR4_CET), EMUL_GP);
}
END_TEST

/* Each bit of CR4 that the limits lack is #GP, each that they have is not (SDM 2.5). */
START_TEST(cr4_bit_by_bit)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_LONG);
	const uint64_t bit = UINT64_C(1) << _i;
	const bool allowed = f->g.limits.cr4 & bit && bit != CR4_LA57;

	ck_assert_int_eq(emul_mov_to_cr(&f->g, 4, CR4_PAE | bit), allowed ? EMUL_NEXT : EMUL_GP);
}
END_TEST

/* ---- IA-32e mode ---------------------------------------------------------------------------------------------- */

START_TEST(lma_begins_with_paging)
{
	const struct state state = {FIXTURE_PROTECTED32, KEEP, KEEP, CR4_PAE, EFER_LME | EFER_NXE};
	struct guest *g = &guest_in(&state)->g;

	ck_assert_int_eq(emul_mov_to_cr(g, 0, PG_PE), EMUL_NEXT);
	ck_assert_uint_eq(guest_get(g, G_EFER), EFER_LME | EFER_LMA | EFER_NXE);
	ck_assert(g->flush_tlb);
}
END_TEST

/* V-04a: paging without LME is not IA-32e mode, whatever else changes in CR0. */
START_TEST(no_lma_without_lme)
{
	const struct state state = {FIXTURE_PROTECTED32, 0x60000011, KEEP, KEEP, KEEP};
	struct guest *g = &guest_in(&state)->g;

	ck_assert_int_eq(emul_mov_to_cr(g, 0, PG_PE), EMUL_NEXT);
	ck_assert_uint_eq(guest_get(g, G_EFER), 0);
}
END_TEST

/* V-04b. */
START_TEST(lma_ends_with_paging)
{
	struct guest *g = &fixture_reset(FIXTURE_COMPATIBILITY)->g;

	ck_assert_int_eq(emul_mov_to_cr(g, 0, 0x40000011), EMUL_NEXT);
	ck_assert_uint_eq(guest_get(g, G_EFER), EFER_LME | EFER_NXE);
	ck_assert(g->flush_tlb);
}
END_TEST

struct tss_row {
	uint32_t access;
	int result;
};

/* SDM Vol. 2, MOV to CR: #GP if TR references a 16-bit TSS. */
static const struct tss_row tss_rows[] = {{0x81, EMUL_GP}, {0x83, EMUL_GP}, {0x89, EMUL_NEXT}, {0x8b, EMUL_NEXT}};

START_TEST(no_lma_with_16_bit_tss)
{
	const struct state state = {FIXTURE_PROTECTED32, KEEP, KEEP, CR4_PAE, EFER_LME};
	struct guest_fixture *f = guest_in(&state);

	fixture_set(f, G_ACCESS + X86VCPU_SEGMENT_TR, tss_rows[_i].access);
	ck_assert_int_eq(emul_mov_to_cr(&f->g, 0, PG_PE), tss_rows[_i].result);
}
END_TEST

/* ---- PAE paging -------------------------------------------------------------------------------------------------- */

static const uint64_t pointers[4] = {0x9001, 0xa019, 0, 0xfffffb001};

static struct guest_fixture *pae_guest(uint64_t cr0, uint64_t cr4)
{
	const struct state state = {FIXTURE_PROTECTED32, cr0, PDPT | 0x18, cr4, KEEP};
	struct guest_fixture *f = guest_in(&state);

	for (unsigned i = 0; i < 4; i++)
		fixture_write64(f, PDPT + 8 * i, pointers[i]);
	return f;
}

static void assert_pointers(struct guest *g, bool loaded)
{
	const uint64_t bits = UINT64_C(0xf) << G_PDPTE0;

	ck_assert_uint_eq(g->dirty & bits, loaded ? bits : 0);
	for (unsigned i = 0; loaded && i < 4; i++)
		ck_assert_uint_eq(guest_get(g, G_PDPTE0 + i), pointers[i]);
}

struct pae_row {
	uint64_t cr0, cr4;
	unsigned cr;
	uint64_t value;
	bool loaded;
};

/* SDM 4.4.1: which loads of CR0, CR3 and CR4 load the pointers. */
static const struct pae_row pae_rows[] = {
	{0x11, CR4_PAE, 0, 0x80000011, true},
	{0x11, 0x10, 0, 0x80000011, false}, /* 32-bit paging */
	{0x80000011, CR4_PAE, 0, 0xc0000011, true},
	{0xe0000011, CR4_PAE, 0, 0xc0000011, true},
	{0x80000011, CR4_PAE, 0, 0x80000019, false},
	{0x80000011, CR4_PAE, 0, 0x80010011, false},
	{0x80000011, CR4_PAE, 0, 0x11, false},
	{0x11, CR4_PAE, 0, 0x40000011, false},
	{0x80000011, 0x10, 4, CR4_PAE, true},
	{0x80000011, CR4_PAE, 4, CR4_PAE | CR4_PGE, true},
	{0x80000011, CR4_PAE, 4, CR4_PAE | CR4_PSE, true},
	{0x80000011, CR4_PAE, 4, CR4_PAE | CR4_SMEP, true},
	{0x80000011, CR4_PAE, 4, CR4_PAE | CR4_SMAP, false},
	{0x80000011, CR4_PAE, 4, CR4_PAE | CR4_OSFXSR, false},
	{0x80000011, CR4_PAE, 4, CR4_PSE, false},
	{0x11, 0x10, 4, CR4_PAE, false},
	{0x80000011, CR4_PAE, 3, PDPT, true},
	{0x80000011, 0x10, 3, PDPT, false},
	{0x11, CR4_PAE, 3, PDPT, false},
};

START_TEST(pointers_are_loaded)
{
	const struct pae_row *row = &pae_rows[_i];
	struct guest *g = &pae_guest(row->cr0, row->cr4)->g;

	ck_assert_int_eq(emul_mov_to_cr(g, row->cr, row->value), EMUL_NEXT);
	assert_pointers(g, row->loaded);
}
END_TEST

START_TEST(ia32e_mode_has_no_pointers)
{
	struct guest *g = &fixture_reset(FIXTURE_LONG)->g;

	ck_assert_int_eq(emul_mov_to_cr(g, 3, 0x5000), EMUL_NEXT);
	ck_assert_int_eq(emul_mov_to_cr(g, 4, CR4_PAE | CR4_PGE), EMUL_NEXT);
	assert_pointers(g, false);
}
END_TEST

struct pointer_row {
	uint64_t pointer;
	bool valid;
};

/* SDM table 4-8: bits 2:1, 8:5 and those beyond the physical address (40 bits) are reserved. */
static const struct pointer_row pointer_rows[] = {
	{0x1, true},    {0x19, true},  {0xe19, true},  {0xffffffffff & ~UINT64_C(0x1e6), true},
	{0x3, false},   {0x5, false},  {0x21, false},  {0x41, false},
	{0x81, false},  {0x101, false}, {1 | UINT64_C(1) << 40, false}, {1 | UINT64_C(1) << 63, false},
	/* Not present: nothing is reserved. */
	{~UINT64_C(1), true}, {0, true},
};

START_TEST(pointer_is_checked)
{
	const struct pointer_row *row = &pointer_rows[_i];

	for (unsigned i = 0; i < 4; i++) {
		struct guest_fixture *f = pae_guest(0x11, CR4_PAE);

		fixture_write64(f, PDPT + 8 * i, row->pointer);
		ck_assert_int_eq(emul_mov_to_cr(&f->g, 0, PG_PE), row->valid ? EMUL_NEXT : EMUL_GP);
		if (!row->valid)
			assert_unchanged(&f->g);
	}
}
END_TEST

/* No memory reads as ones. */
START_TEST(pointers_nowhere)
{
	const struct state state = {FIXTURE_PROTECTED32, KEEP, 0xf0000000, CR4_PAE, KEEP};
	struct guest *g = &guest_in(&state)->g;

	ck_assert_int_eq(emul_mov_to_cr(g, 0, PG_PE), EMUL_GP);
	assert_unchanged(g);
	g = &pae_guest(0x80000011, CR4_PAE)->g;
	ck_assert_int_eq(emul_mov_to_cr(g, 3, 0xf0000000), EMUL_GP);
	assert_unchanged(g);
}
END_TEST

/* The table is 32 bytes anywhere below 4 GiB; the bits below are not part of the address. */
START_TEST(pointers_at_the_last_32_bytes)
{
	struct guest_fixture *f = pae_guest(0x80000011, CR4_PAE);

	for (unsigned i = 0; i < 4; i++)
		fixture_write64(f, FIXTURE_RAM_SIZE - 32 + 8 * i, pointers[i]);
	ck_assert_int_eq(emul_mov_to_cr(&f->g, 3, FIXTURE_RAM_SIZE - 1), EMUL_NEXT);
	assert_pointers(&f->g, true);
	ck_assert_uint_eq(guest_get(&f->g, G_CR3), FIXTURE_RAM_SIZE - 1);
}
END_TEST

/* ---- Translations ------------------------------------------------------------------------------------------------ */

struct flush_row {
	unsigned cr;
	uint64_t before, value;
	bool flush;
};

/* SDM 4.10.4.1, with what an interception would otherwise lose. */
static const struct flush_row flush_rows[] = {
	{0, LONG_CR0, LONG_CR0 | CR0_TS, false},
	{0, LONG_CR0, LONG_CR0, false},
	{3, 0, 0x5000, true},
	{4, CR4_PAE | CR4_PGE, CR4_PAE, true},
	{4, CR4_PAE, CR4_PAE | CR4_PGE, true},
	{4, CR4_PAE, CR4_PAE | CR4_PSE, true},
	{4, CR4_PAE, CR4_PAE | CR4_SMEP, true},
	{4, CR4_PAE | CR4_PCIDE, CR4_PAE, true},
	{4, CR4_PAE, CR4_PAE | CR4_OSFXSR, false},
	{4, CR4_PAE, CR4_PAE | CR4_TSD, false},
};

START_TEST(translations_are_dropped)
{
	const struct flush_row *row = &flush_rows[_i];
	const struct state state = {FIXTURE_LONG, row->cr == 0 ? row->before : KEEP, KEEP,
				    row->cr == 4 ? row->before : KEEP, KEEP};
	struct guest *g = &guest_in(&state)->g;

	ck_assert_int_eq(emul_mov_to_cr(g, row->cr, row->value), EMUL_NEXT);
	ck_assert(g->flush_tlb == row->flush);
}
END_TEST

/* ---- Privilege ---------------------------------------------------------------------------------------------------- */

START_TEST(cpl_0_only)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_LONG);
	uint64_t value = 0x1234;

	fixture_set_cpl(f, (unsigned)_i);
	ck_assert_int_eq(emul_mov_to_cr(&f->g, 0, LONG_CR0), EMUL_GP);
	ck_assert_int_eq(emul_mov_to_cr(&f->g, 3, 0x1000), EMUL_GP);
	ck_assert_int_eq(emul_mov_to_cr(&f->g, 4, CR4_PAE), EMUL_GP);
	ck_assert_int_eq(emul_mov_to_cr(&f->g, 8, 1), EMUL_GP);
	ck_assert_int_eq(emul_mov_from_cr(&f->g, 0, &value), EMUL_GP);
	ck_assert_int_eq(emul_clts(&f->g), EMUL_GP);
	ck_assert_int_eq(emul_lmsw(&f->g, 0xf), EMUL_GP);
	assert_unchanged(&f->g);
	ck_assert_uint_eq(value, 0x1234);
}
END_TEST

/* ---- MOV from CR ---------------------------------------------------------------------------------------------------- */

START_TEST(mov_from_cr)
{
	static const unsigned numbers[] = {0, 2, 3, 4, 8};
	static const uint64_t values[] = {LONG_CR0, 0xffff800012345678, 0xab00001000, CR4_PAE | CR4_PGE, 7};
	const struct state state = {FIXTURE_LONG, values[0], values[2], values[3], KEEP};
	struct guest *g = &guest_in(&state)->g;

	g->cr2 = values[1];
	*g->lapic.tpr = (uint32_t)values[4] << 4;
	for (unsigned i = 0; i < 5; i++) {
		uint64_t value = 0;

		ck_assert_int_eq(emul_mov_from_cr(g, numbers[i], &value), EMUL_NEXT);
		ck_assert_uint_eq(value, values[i]);
	}
	ck_assert_uint_eq(g->dirty, 0);
}
END_TEST

START_TEST(mov_from_cr_is_32_bits_wide)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_COMPATIBILITY);
	uint64_t value;

	fixture_set(f, G_CR3, 0xab00001000);
	ck_assert_int_eq(emul_mov_from_cr(&f->g, 3, &value), EMUL_NEXT);
	ck_assert_uint_eq(value, 0x1000);
}
END_TEST

static const unsigned no_registers[] = {1, 5, 6, 7, 9, 15, 0xffffffff};

START_TEST(mov_from_no_register)
{
	uint64_t value = 0x1234;

	ck_assert_int_eq(emul_mov_from_cr(&fixture_reset(FIXTURE_LONG)->g, no_registers[_i], &value), EMUL_UD);
	ck_assert_int_eq(emul_mov_to_cr(&fixture_reset(FIXTURE_LONG)->g, no_registers[_i], 0), EMUL_UD);
	ck_assert_uint_eq(value, 0x1234);
}
END_TEST

START_TEST(cr8_is_64_bit_mode_only)
{
	uint64_t value;

	ck_assert_int_eq(emul_mov_from_cr(&fixture_reset(FIXTURE_COMPATIBILITY)->g, 8, &value), EMUL_UD);
	ck_assert_int_eq(emul_mov_from_cr(&fixture_reset(FIXTURE_REAL)->g, 8, &value), EMUL_UD);
}
END_TEST

/* ---- CLTS and LMSW --------------------------------------------------------------------------------------------------- */

START_TEST(clts_clears_ts)
{
	const struct state state = {FIXTURE_LONG, LONG_CR0 | CR0_TS, KEEP, KEEP, KEEP};
	struct guest *g = &guest_in(&state)->g;

	ck_assert_int_eq(emul_clts(g), EMUL_NEXT);
	ck_assert_uint_eq(guest_get(g, G_CR0), LONG_CR0);
	g->dirty = 0;
	ck_assert_int_eq(emul_clts(g), EMUL_NEXT);
	ck_assert_uint_eq(g->dirty, 0);
}
END_TEST

struct lmsw_row {
	enum fixture_mode mode;
	uint64_t cr0;
	uint16_t source;
	uint64_t after;
};

/* SDM Vol. 2, LMSW: bits 3:0; PE can be set, not cleared. */
static const struct lmsw_row lmsw_rows[] = {
	{FIXTURE_REAL, 0x10, 1, 0x11},
	{FIXTURE_REAL, 0x10, 0xffff, 0x1f},
	{FIXTURE_REAL, 0x6000001e, 0, 0x60000010},
	{FIXTURE_PROTECTED32, 0x11, 0, 0x11},
	{FIXTURE_PROTECTED32, 0x3f, 0, 0x31},
	{FIXTURE_LONG, LONG_CR0, 0xfff8, LONG_CR0 | CR0_TS},
	{FIXTURE_LONG, LONG_CR0 | 0xe, 0x0004, LONG_CR0 | CR0_EM},
};

START_TEST(lmsw_loads_four_bits)
{
	const struct lmsw_row *row = &lmsw_rows[_i];
	const struct state state = {row->mode, row->cr0, KEEP, KEEP, KEEP};
	struct guest *g = &guest_in(&state)->g;

	ck_assert_int_eq(emul_lmsw(g, row->source), EMUL_NEXT);
	ck_assert_uint_eq(guest_get(g, G_CR0), row->after);
}
END_TEST

/* ---- States ------------------------------------------------------------------------------------------------------------- */

struct state_row {
	struct cr_state state;
	bool valid;
};

#define LMA_LME (EFER_LME | EFER_LMA)

static const struct state_row state_rows[] = {
	{{0x60000010, 0, 0, 0}, true}, /* reset */
	{{0x11, 0, 0, 0}, true},
	{{0x80000011, 0x1000, 0, 0}, true},
	{{0x80000011, 0x1000, CR4_PAE, 0}, true},
	{{0x80000011, 0x1000, CR4_PAE, LMA_LME}, true},
	{{0x11, 0x1000, CR4_PAE, EFER_LME}, true},
	{{0x80000011, 0xff003, CR4_PAE | CR4_PCIDE, LMA_LME}, true},
	{{0x20000011, 0, 0, 0}, false},               /* NW without CD */
	{{0x80000010, 0, 0, 0}, false},               /* PG without PE */
	{{0x100000011, 0, 0, 0}, false},              /* upper half */
	{{0x00000051, 0, 0, 0}, false},               /* reserved */
	{{0x80000011, 0, CR4_PAE, EFER_LME}, false},  /* LME and PG are IA-32e mode */
	{{0x11, 0, CR4_PAE, LMA_LME}, false},         /* LMA without paging */
	{{0x80000011, 0, CR4_PAE, EFER_LMA}, false},  /* or without LME */
	{{0x80000011, 0, 0, LMA_LME}, false},         /* IA-32e mode without PAE */
	{{0x80000011, 0, CR4_PAE | CR4_PCIDE, 0}, false},
	{{0x11, 0, CR4_VMXE, 0}, false},
	{{0x11, 0, UINT64_C(1) << 40, 0}, false},
	{{0x11, UINT64_C(1) << 40, 0, 0}, false},
	{{0x80000011, 0x1000 | UINT64_C(1) << 63, CR4_PAE | CR4_PCIDE, LMA_LME}, false},
	{{0x11, 0, 0, EFER_SVME}, false},
	{{0x11, 0, 0, UINT64_C(1) << 1}, false},
};

START_TEST(state_is_judged)
{
	const struct guest_limits *limits = &fixture_reset(FIXTURE_LONG)->g.limits;

	ck_assert(cr_state_valid(limits, &state_rows[_i].state) == state_rows[_i].valid);
}
END_TEST

struct efer_row {
	uint64_t old, efer, cr0;
	bool valid;
};

/* SDM 4.1.1; LMA in the source is ignored. */
static const struct efer_row efer_rows[] = {
	{0, EFER_LME, 0x11, true},
	{0, EFER_LME, 0x80000011, false},
	{LMA_LME, EFER_LMA, 0x80000011, false},
	{LMA_LME, LMA_LME | EFER_SCE, 0x80000011, true},
	{LMA_LME, EFER_LME | EFER_SCE, 0x80000011, true},
	{0, EFER_SCE | EFER_NXE, 0x80000011, true},
	{0, EFER_LMA, 0x80000011, true},
	{0, EFER_SVME, 0x11, false},
	{0, EFER_FFXSR, 0x11, false},
	{0, UINT64_C(1) << 9, 0x11, false},
	{0, UINT64_C(1) << 63, 0x11, false},
};

START_TEST(efer_is_judged)
{
	const struct guest_limits *limits = &fixture_reset(FIXTURE_LONG)->g.limits;
	const struct efer_row *row = &efer_rows[_i];

	ck_assert(efer_write_valid(limits, row->old, row->efer, row->cr0) == row->valid);
}
END_TEST

#define ROWS(array) ((int)(sizeof(array) / sizeof((array)[0])))

static void add_paging_tests(Suite *suite)
{
	TCase *tc = tcase_create("paging");

	tcase_add_test(tc, lma_begins_with_paging);
	tcase_add_test(tc, no_lma_without_lme);
	tcase_add_test(tc, lma_ends_with_paging);
	tcase_add_loop_test(tc, no_lma_with_16_bit_tss, 0, ROWS(tss_rows));
	tcase_add_loop_test(tc, pointers_are_loaded, 0, ROWS(pae_rows));
	tcase_add_test(tc, ia32e_mode_has_no_pointers);
	tcase_add_loop_test(tc, pointer_is_checked, 0, ROWS(pointer_rows));
	tcase_add_test(tc, pointers_nowhere);
	tcase_add_test(tc, pointers_at_the_last_32_bytes);
	tcase_add_loop_test(tc, translations_are_dropped, 0, ROWS(flush_rows));
	suite_add_tcase(suite, tc);
}

static void add_state_tests(Suite *suite)
{
	TCase *tc = tcase_create("states");

	tcase_add_loop_test(tc, state_is_judged, 0, ROWS(state_rows));
	tcase_add_loop_test(tc, efer_is_judged, 0, ROWS(efer_rows));
	suite_add_tcase(suite, tc);
}

Suite *cr_suite(void)
{
	Suite *suite = suite_create("cr");
	TCase *tc = tcase_create("instructions");

	tcase_add_loop_test(tc, mov_to_cr, 0, ROWS(load_rows));
	tcase_add_test(tc, cet_needs_wp);
	tcase_add_loop_test(tc, cr4_bit_by_bit, 0, 64);
	tcase_add_loop_test(tc, cpl_0_only, 1, 4);
	tcase_add_test(tc, mov_from_cr);
	tcase_add_test(tc, mov_from_cr_is_32_bits_wide);
	tcase_add_loop_test(tc, mov_from_no_register, 0, ROWS(no_registers));
	tcase_add_test(tc, cr8_is_64_bit_mode_only);
	tcase_add_test(tc, clts_clears_ts);
	tcase_add_loop_test(tc, lmsw_loads_four_bits, 0, ROWS(lmsw_rows));
	suite_add_tcase(suite, tc);
	add_paging_tests(suite);
	add_state_tests(suite);
	return suite;
}
