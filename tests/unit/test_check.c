/* SPDX-License-Identifier: Apache-2.0 */
/*
 * States that a VMM brings, against what VM entry checks (SDM 27.3.1). Each row changes a valid state in
 * one rule's terms: refused rows are wrong for that rule only, accepted rows come as near as may be.
 */
#include <check.h>
#include <stdint.h>
#include <string.h>

#include "cpu/x86.h"
#include "guest_fixture.h"
#include "vcpu/check.h"

Suite *check_suite(void);

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

#define ES X86VCPU_SEGMENT_ES
#define CS X86VCPU_SEGMENT_CS
#define SS X86VCPU_SEGMENT_SS
#define DS X86VCPU_SEGMENT_DS
#define FS X86VCPU_SEGMENT_FS
#define GS X86VCPU_SEGMENT_GS
#define LDTR X86VCPU_SEGMENT_LDTR
#define TR X86VCPU_SEGMENT_TR

#define UNUSABLE 0x10000u

/* ---- Valid states -------------------------------------------------------------------------------------- */

enum mode { RESET, REAL, UNREAL, FLAT, USER, PAE, LONG, LONG_USER, COMPAT, V8086, MODES };

static const struct {
	uint64_t cr0, cr4, efer, rflags, rip;
	uint16_t cs, ss; /* selectors */
	uint32_t code, stack, data; /* access rights; data is DS, ES, FS, GS */
	uint32_t limit;
} modes[MODES] = {
	[RESET] = {0x60000010, 0, 0, 0x2, 0xfff0, 0xf000, 0, 0x9b, 0x93, 0x93, 0xffff},
	[REAL] = {0x10, 0, 0, 0x202, 0x7c00, 0, 0, 0x9b, 0x93, 0x93, 0xffff},
	[UNREAL] = {0x10, 0, 0, 0x2, 0x7c00, 0, 0, 0x9b, 0x93, 0x8093, 0xffff},
	[FLAT] = {0x11, 0, 0, 0x2, 0x100000, 8, 16, 0xc09b, 0xc093, 0xc093, 0xffffffff},
	[USER] = {0x80010011, 0x10, 0, 0x202, 0x8048000, 0x1b, 0x23, 0xc0fb, 0xc0f3, 0xc0f3, 0xffffffff},
	[PAE] = {0x80010011, 0x20, 0x800, 0x2, 0xc0100000, 8, 16, 0xc09b, 0xc093, 0xc093, 0xffffffff},
	[LONG] = {0x80050033, 0x20, 0xd01, 0x46, UINT64_C(0xffffffff81000000), 16, 24, 0xa09b, 0xc093, 0xc093,
		  0xffffffff},
	[LONG_USER] = {0x80050033, 0x20, 0xd01, 0x246, 0x400000, 0x33, 0x2b, 0xa0fb, 0xc0f3, 0xc0f3, 0xffffffff},
	[COMPAT] = {0x80050033, 0x20, 0xd01, 0x246, 0x8048000, 0x23, 0x2b, 0xc0fb, 0xc0f3, 0xc0f3, 0xffffffff},
	[V8086] = {0x80000011, 1, 0, 0x20202, 0x100, 0x1234, 0x9000, 0xf3, 0xf3, 0xf3, 0xffff},
};

static struct guest_limits limits;

static void set_segment(struct x86vcpu_state *state, unsigned index, uint16_t selector, uint32_t access,
			uint32_t limit)
{
	const bool shifted = state->rflags & RFLAGS_VM || !(state->cr0 & CR0_PE);

	state->segments[index] = (struct x86vcpu_segment){
		.selector = selector,
		.access_rights = access,
		.limit = limit,
		.base = shifted ? (uint64_t)selector << 4 : 0,
	};
}

static struct x86vcpu_state state_in(enum mode mode)
{
	struct x86vcpu_state state = {
		.size = sizeof(state),
		.rip = modes[mode].rip,
		.rflags = modes[mode].rflags,
		.gdtr = {.base = 0x1000, .limit = 0x7f},
		.idtr = {.base = 0x2000, .limit = 0xfff},
		.cr0 = modes[mode].cr0,
		.cr3 = 0x5000,
		.cr4 = modes[mode].cr4,
		.efer = modes[mode].efer,
		.xcr0 = 1,
		.dr6 = 0xffff0ff0,
		.dr7 = 0x400,
	};

	set_segment(&state, CS, modes[mode].cs, modes[mode].code, modes[mode].limit);
	for (unsigned i = ES; i <= GS; i++)
		if (i != CS)
			set_segment(&state, i, modes[mode].ss, modes[mode].data, modes[mode].limit);
	state.segments[SS].access_rights = modes[mode].stack;
	set_segment(&state, LDTR, 0, 0x82, 0xffff);
	set_segment(&state, TR, 0, 0x8b, 0xffff);
	if (mode == RESET)
		state.segments[CS].base = 0xffff0000;
	if (mode == UNREAL)
		state.segments[DS].limit = state.segments[ES].limit = state.segments[FS].limit =
			state.segments[GS].limit = 0xffffffff;
	limits = fixture_reset(FIXTURE_LONG)->g.limits;
	limits.cr4 |= CR4_VME;
	return state;
}

START_TEST(mode_is_valid)
{
	const struct x86vcpu_state state = state_in((enum mode)_i);

	ck_assert(state_valid(&limits, &state));
}
END_TEST

/* General registers, RSP, CR2, DR0 to DR3: anything. */
START_TEST(plain_registers_may_be_anything)
{
	struct x86vcpu_state state = state_in((enum mode)_i);

	memset(&state.regs, 0xff, sizeof(state.regs));
	state.rsp = state.cr2 = state.dr0 = state.dr1 = state.dr2 = state.dr3 = UINT64_C(0x8000dead00000001);
	ck_assert(state_valid(&limits, &state));
}
END_TEST

/* ---- Rows ---------------------------------------------------------------------------------------------- */

struct edit {
	uint16_t offset, size; /* size 0: none */
	uint64_t value;
};

struct row {
	const char *rule;
	enum mode mode;
	bool valid;
	struct edit edits[4];
};

#define EDIT(member, new) \
	{offsetof(struct x86vcpu_state, member), sizeof(((struct x86vcpu_state *)0)->member), (new)}
#define ACCESS(segment, new) EDIT(segments[segment].access_rights, new)
#define LIMIT(segment, new) EDIT(segments[segment].limit, new)
#define BASE(segment, new) EDIT(segments[segment].base, new)
#define SELECTOR(segment, new) EDIT(segments[segment].selector, new)
#define NOT_CANONICAL UINT64_C(0x0000800000000000)

static void assert_row(const struct row *row)
{
	struct x86vcpu_state state = state_in(row->mode);

	for (int i = 0; i < COUNT(row->edits); i++) /* little-endian, so the low bytes come first */
		memcpy((uint8_t *)&state + row->edits[i].offset, &row->edits[i].value, row->edits[i].size);
	ck_assert_msg(state_valid(&limits, &state) == row->valid, "%s", row->rule);
}

/* SDM 27.3.1.2, CS. */
static const struct row cs_rows[] = {
	{"type 3: DPL 0, SS.DPL 0", REAL, true, {ACCESS(CS, 0x93)}},
	{"type 3, protected mode", FLAT, true, {ACCESS(CS, 0xc093)}},
	{"type 3: DPL 1", REAL, false, {ACCESS(CS, 0xb3)}},
	{"not conforming: DPL below SS.DPL", USER, false, {ACCESS(CS, 0xc09b)}},
	{"not conforming: DPL above SS.DPL", FLAT, false, {ACCESS(CS, 0xc0bb)}},
	{"execute only: DPL below SS.DPL", USER, false, {ACCESS(CS, 0xc0d9)}},
	{"execute only: DPL is SS.DPL", USER, true, {ACCESS(CS, 0xc0f9)}},
	{"DPL of an unusable SS counts", LONG, false, {ACCESS(SS, UNUSABLE | 0x60)}},
	{"DPL of an unusable SS counts", LONG_USER, true, {ACCESS(SS, UNUSABLE | 0x60)}},
	{"conforming: DPL is SS.DPL", USER, true, {ACCESS(CS, 0xc0ff)}},
	{"conforming: DPL below SS.DPL", USER, true, {ACCESS(CS, 0xc09f)}},
	{"conforming: DPL above SS.DPL", FLAT, false, {ACCESS(CS, 0xc0bf)}},
	{"conforming, execute only: DPL below SS.DPL", USER, true, {ACCESS(CS, 0xc0bd)}},
	{"conforming, execute only: DPL above SS.DPL", FLAT, false, {ACCESS(CS, 0xc0fd)}},
	{"S is 1", FLAT, false, {ACCESS(CS, 0xc08b)}},
	{"P is 1", FLAT, false, {ACCESS(CS, 0xc01b)}},
	{"L and D in IA-32e mode", LONG, false, {ACCESS(CS, 0xe09b)}},
	{"L and D elsewhere", FLAT, true, {ACCESS(CS, 0xe09b)}},
	{"D without L in IA-32e mode", COMPAT, true, {ACCESS(CS, 0xc0fb)}},
	{"neither, in IA-32e mode", COMPAT, true, {ACCESS(CS, 0x80fb)}},
	{"AVL", LONG, true, {ACCESS(CS, 0xb09b)}},
	{"base: bits 63:32 are 0", REAL, false, {BASE(CS, UINT64_C(0x100000000))}},
	{"base: bits 63:32 are 0", LONG, false, {BASE(CS, UINT64_C(0xffffffff80000000))}},
	{"base: 32 bits", LONG, true, {BASE(CS, 0xffffffff)}},
	{"selector: anything", FLAT, true, {SELECTOR(CS, 0xffff)}},
	{"selector: RPL need not be SS's", USER, true, {SELECTOR(CS, 0x18)}},
};

/* SS. */
static const struct row ss_rows[] = {
	{"expand-down", FLAT, true, {ACCESS(SS, 0xc097)}},
	{"DPL 0 in real mode", REAL, false, {ACCESS(CS, 0x9f), ACCESS(SS, 0xf3)}},
	{"the same in protected mode", FLAT, true, {ACCESS(CS, 0xc09f), ACCESS(SS, 0xc0f3)}},
	{"DPL 0 with CS of type 3", FLAT, false, {ACCESS(CS, 0xc093), ACCESS(SS, 0xc0f3)}},
	{"DPL 0 in real mode, unusable", REAL, false, {ACCESS(CS, 0x9f), ACCESS(SS, UNUSABLE | 0x20)}},
	{"DPL 0 with CS of type 3, unusable", FLAT, false, {ACCESS(CS, 0xc093), ACCESS(SS, UNUSABLE | 0x40)}},
	{"S is 1", FLAT, false, {ACCESS(SS, 0xc083)}},
	{"P is 1", FLAT, false, {ACCESS(SS, 0xc013)}},
	{"unusable: S and P are not looked at", LONG, true, {ACCESS(SS, UNUSABLE)}},
	{"base: bits 63:32 are 0", FLAT, false, {BASE(SS, UINT64_C(0x100000000))}},
	{"base: bits 63:32 are 0", LONG, false, {BASE(SS, UINT64_C(0xffffffff00000000))}},
	{"base: 32 bits", FLAT, true, {BASE(SS, 0xffffffff)}},
	{"base of an unusable one", LONG, true, {ACCESS(SS, UNUSABLE), BASE(SS, NOT_CANONICAL)}},
	{"limit of an unusable one", LONG, true, {ACCESS(SS, UNUSABLE | 0x8000), LIMIT(SS, 0xfffff123)}},
	{"selector: RPL need not be CS's, nor the DPL", USER, true, {SELECTOR(SS, 0x20)}},
	{"selector 0 in 64-bit mode", LONG, true, {SELECTOR(SS, 0)}},
};

/* TR and LDTR. */
static const struct row system_rows[] = {
	{"TR: TI is 0", FLAT, false, {SELECTOR(TR, 0x2c)}},
	{"TR: index and RPL", FLAT, true, {SELECTOR(TR, 0xfffb)}},
	{"TR: S is 0", FLAT, false, {ACCESS(TR, 0x9b)}},
	{"TR: P is 1", FLAT, false, {ACCESS(TR, 0x0b)}},
	{"TR: usable", FLAT, false, {ACCESS(TR, UNUSABLE | 0x8b)}},
	{"TR: any DPL", FLAT, true, {ACCESS(TR, 0xeb)}},
	{"TR: 16-bit TSS", FLAT, true, {ACCESS(TR, 0x83)}},
	{"TR: 16-bit TSS, real mode", REAL, true, {ACCESS(TR, 0x83)}},
	{"TR: 16-bit TSS, virtual-8086 mode", V8086, true, {ACCESS(TR, 0x83)}},
	{"TR: 16-bit TSS in IA-32e mode", LONG, false, {ACCESS(TR, 0x83)}},
	{"TR: 16-bit TSS in compatibility mode", COMPAT, false, {ACCESS(TR, 0x83)}},
	{"TR: base is canonical", LONG, false, {BASE(TR, NOT_CANONICAL)}},
	{"TR: base is canonical", REAL, false, {BASE(TR, NOT_CANONICAL)}},
	{"TR: base has 64 bits", LONG, true, {BASE(TR, UINT64_C(0xfffffe0000003000))}},
	{"TR: base above 4 GiB", FLAT, true, {BASE(TR, UINT64_C(0x00007fffffffffff))}},
	{"TR is checked in virtual-8086 mode", V8086, false, {ACCESS(TR, 0x89)}},
	{"TR is checked in virtual-8086 mode", V8086, false, {SELECTOR(TR, 4)}},
	{"LDTR: TI is 0", FLAT, false, {SELECTOR(LDTR, 4)}},
	{"LDTR: index and RPL", FLAT, true, {SELECTOR(LDTR, 0xfffb)}},
	{"LDTR: TI of an unusable one", FLAT, true, {SELECTOR(LDTR, 4), ACCESS(LDTR, UNUSABLE | 0x82)}},
	{"LDTR: S is 0", FLAT, false, {ACCESS(LDTR, 0x92)}},
	{"LDTR: P is 1", FLAT, false, {ACCESS(LDTR, 0x02)}},
	{"LDTR: any DPL", FLAT, true, {ACCESS(LDTR, 0xe2)}},
	{"LDTR: unusable", LONG, true, {ACCESS(LDTR, UNUSABLE)}},
	{"LDTR: nothing of an unusable one counts", LONG, true,
	 {ACCESS(LDTR, UINT32_MAX), LIMIT(LDTR, 0xfffff000), BASE(LDTR, NOT_CANONICAL)}},
	{"LDTR: base is canonical", LONG, false, {BASE(LDTR, NOT_CANONICAL)}},
	{"LDTR: base is canonical", FLAT, false, {BASE(LDTR, UINT64_C(0xffff7fffffffffff))}},
	{"LDTR: base has 64 bits", LONG, true, {BASE(LDTR, UINT64_C(0xffff800000000000))}},
	{"LDTR is checked in virtual-8086 mode", V8086, false, {ACCESS(LDTR, 0x83)}},
};

/* SDM 27.3.1.3. */
static const struct row table_rows[] = {
	{"GDTR: base is canonical", REAL, false, {EDIT(gdtr.base, NOT_CANONICAL)}},
	{"GDTR: base is canonical", LONG, false, {EDIT(gdtr.base, UINT64_C(0xffff7fffffffffff))}},
	{"GDTR: lower half", LONG, true, {EDIT(gdtr.base, UINT64_C(0x00007fffffffffff))}},
	{"GDTR: upper half", FLAT, true, {EDIT(gdtr.base, UINT64_C(0xffff800000000000))}},
	{"GDTR: limit has 16 bits", LONG, false, {EDIT(gdtr.limit, 0x10000)}},
	{"GDTR: limit has 16 bits", REAL, false, {EDIT(gdtr.limit, 0x8000ffff)}},
	{"GDTR: largest limit", LONG, true, {EDIT(gdtr.limit, 0xffff)}},
	{"GDTR: no table", LONG, true, {EDIT(gdtr.limit, 0)}},
	{"IDTR: base is canonical", REAL, false, {EDIT(idtr.base, NOT_CANONICAL)}},
	{"IDTR: base is canonical", LONG, false, {EDIT(idtr.base, UINT64_C(0xffff7fffffffffff))}},
	{"IDTR: lower half", LONG, true, {EDIT(idtr.base, UINT64_C(0x00007fffffffffff))}},
	{"IDTR: upper half", LONG, true, {EDIT(idtr.base, UINT64_C(0xffff800000000000))}},
	{"IDTR: limit has 16 bits", LONG, false, {EDIT(idtr.limit, 0x10000)}},
	{"IDTR: limit has 16 bits", V8086, false, {EDIT(idtr.limit, 0x80000fff)}},
	{"IDTR: largest limit", LONG, true, {EDIT(idtr.limit, 0xffff)}},
};

/* SDM 27.3.1.4. */
static const struct row rip_rows[] = {
	{"32 bits in real mode", REAL, true, {EDIT(rip, 0xffffffff)}},
	{"no more in real mode", REAL, false, {EDIT(rip, UINT64_C(0x100000000))}},
	{"32 bits in protected mode", FLAT, true, {EDIT(rip, 0xffffffff)}},
	{"no more in protected mode", FLAT, false, {EDIT(rip, UINT64_C(0x100000000))}},
	{"L has no meaning there", FLAT, false, {EDIT(rip, UINT64_C(0x100000000)), ACCESS(CS, 0xa09b)}},
	{"32 bits in compatibility mode", COMPAT, true, {EDIT(rip, 0xffffffff)}},
	{"no more in compatibility mode", COMPAT, false, {EDIT(rip, UINT64_C(0xffffffff80000000))}},
	{"32 bits in virtual-8086 mode", V8086, true, {EDIT(rip, 0xffffffff)}},
	{"no more in virtual-8086 mode", V8086, false, {EDIT(rip, UINT64_C(0x100000000))}},
	{"lower half", LONG_USER, true, {EDIT(rip, UINT64_C(0x00007fffffffffff))}},
	{"upper half", LONG, true, {EDIT(rip, UINT64_C(0xffff800000000000))}},
	{"bits 63:48 are 0, bit 47 may differ", LONG_USER, true, {EDIT(rip, UINT64_C(0x0000800000000000))}},
	{"bits 63:48 are 1, bit 47 may differ", LONG, true, {EDIT(rip, UINT64_C(0xffff7fffffffffff))}},
	{"bits 63:48 are the same", LONG_USER, false, {EDIT(rip, UINT64_C(0x0001000000000000))}},
	{"bits 63:48 are the same", LONG, false, {EDIT(rip, UINT64_C(0xfffeffffffffffff))}},
	{"bits 63:48 are the same", LONG, false, {EDIT(rip, UINT64_C(0x7fffffffffffffff))}},
	{"bits 63:48 are the same", LONG, false, {EDIT(rip, UINT64_C(0x8000000000000000))}},
	{"RFLAGS.VM without PE", V8086, false, {EDIT(cr0, 0x10)}},
	{"RFLAGS.VM without PG", V8086, true, {EDIT(cr0, 0x11)}},
	{"RFLAGS.VM in IA-32e mode", V8086, false, {EDIT(cr4, 0x20), EDIT(efer, 0xd00)}},
	{"RFLAGS.VM with PAE paging", V8086, true, {EDIT(cr4, 0x20), EDIT(efer, 0x800)}},
};

/* SDM 27.3.1.1: who makes these rules has tests of his own, so one of each kind. */
static const struct row register_rows[] = {
	{"CR0: PG without PE", REAL, false, {EDIT(cr0, 0x80000010)}},
	{"CR0: NW without CD", FLAT, false, {EDIT(cr0, 0x20000011)}},
	{"CR0: CD without NW", FLAT, true, {EDIT(cr0, 0x40000011)}},
	{"CR0: bits 63:32", FLAT, false, {EDIT(cr0, UINT64_C(0x100000011))}},
	{"CR3: beyond the physical address", FLAT, false, {EDIT(cr3, UINT64_C(0x10000000000))}},
	{"CR3: the highest frame", FLAT, true, {EDIT(cr3, UINT64_C(0xfffffff000))}},
	{"CR4: a bit that the guest has not", FLAT, false, {EDIT(cr4, 0x2000)}},
	{"CR4: PCIDE outside IA-32e mode", PAE, false, {EDIT(cr4, 0x20020)}},
	{"CR4: PCIDE", LONG, true, {EDIT(cr4, 0x20020)}},
	{"CR4: PAE in IA-32e mode", LONG, false, {EDIT(cr4, 0)}},
	{"EFER: LMA without LME", LONG, false, {EDIT(efer, 0x400)}},
	{"EFER: LMA is not LME with PG", COMPAT, false, {EDIT(efer, 0x100)}},
	{"EFER: LME without PG", FLAT, true, {EDIT(efer, 0x100)}},
	{"EFER: LMA without PG", FLAT, false, {EDIT(efer, 0x500), EDIT(cr4, 0x20)}},
	{"EFER: a bit that the guest has not", FLAT, false, {EDIT(efer, 0x1000)}},
	{"XCR0: x87 is always there", FLAT, false, {EDIT(xcr0, 0)}},
	{"XCR0: AVX without SSE", FLAT, false, {EDIT(xcr0, 5)}},
	{"XCR0: AVX", FLAT, true, {EDIT(xcr0, 7)}},
	{"DR6: bits 63:32", LONG, false, {EDIT(dr6, UINT64_C(0x1ffff0ff0))}},
	{"DR6: all others", LONG, true, {EDIT(dr6, 0xffffffff)}},
	{"DR7: bits 63:32", LONG, false, {EDIT(dr7, UINT64_C(0x8000000000000400))}},
	{"DR7: all others", LONG, true, {EDIT(dr7, 0xffffffff)}},
};

START_TEST(code_segment)
{
	assert_row(&cs_rows[_i]);
}
END_TEST

START_TEST(stack_segment)
{
	assert_row(&ss_rows[_i]);
}
END_TEST

START_TEST(system_segment)
{
	assert_row(&system_rows[_i]);
}
END_TEST

START_TEST(descriptor_table)
{
	assert_row(&table_rows[_i]);
}
END_TEST

START_TEST(instruction_pointer_and_vm)
{
	assert_row(&rip_rows[_i]);
}
END_TEST

START_TEST(special_registers)
{
	assert_row(&register_rows[_i]);
}
END_TEST

/* ---- Types, one by one ---------------------------------------------------------------------------------- */

static const struct type_set {
	enum mode mode;
	unsigned segment;
	uint32_t access; /* without the type */
	uint32_t valid;  /* a bit per type */
} type_sets[] = {
	{FLAT, CS, 0xc090, 1u << 3 | 1u << 9 | 1u << 11 | 1u << 13 | 1u << 15},
	{REAL, CS, 0x90, 1u << 3 | 1u << 9 | 1u << 11 | 1u << 13 | 1u << 15},
	{LONG, CS, 0xa090, 1u << 3 | 1u << 9 | 1u << 11 | 1u << 13 | 1u << 15},
	{USER, CS, 0xc0f0, 1u << 9 | 1u << 11 | 1u << 13 | 1u << 15},
	{FLAT, SS, 0xc090, 1u << 3 | 1u << 7},
	{REAL, SS, 0x90, 1u << 3 | 1u << 7},
	{LONG, SS, 0xc090, 1u << 3 | 1u << 7},
	{FLAT, SS, UNUSABLE, 0xffff},
	{FLAT, TR, 0x80, 1u << 3 | 1u << 11},
	{REAL, TR, 0x80, 1u << 3 | 1u << 11},
	{LONG, TR, 0x80, 1u << 11},
	{COMPAT, TR, 0x80, 1u << 11},
	{FLAT, LDTR, 0x80, 1u << 2},
	{LONG, LDTR, 0x80, 1u << 2},
	{FLAT, LDTR, UNUSABLE | 0x80, 0xffff},
	{V8086, CS, 0xf0, 1u << 3},
};

START_TEST(types)
{
	const struct type_set *set = &type_sets[_i];
	struct x86vcpu_state state = state_in(set->mode);

	for (uint32_t type = 0; type < 16; type++) {
		state.segments[set->segment].access_rights = set->access | type;
		if (state_valid(&limits, &state) != (set->valid >> type & 1))
			ck_abort_msg("type %u", type);
	}
}
END_TEST

/* ---- DS, ES, FS and GS have the same rules but for the base ----------------------------------------------- */

static const unsigned data_segments[] = {ES, DS, FS, GS};

START_TEST(data_types)
{
	const uint32_t valid = 1u << 1 | 1u << 3 | 1u << 5 | 1u << 7 | 1u << 11 | 1u << 15;
	const unsigned segment = data_segments[_i];
	struct x86vcpu_state state = state_in(FLAT);

	for (uint32_t type = 0; type < 16; type++) {
		state.segments[segment].access_rights = 0xc090 | type;
		if (state_valid(&limits, &state) != (valid >> type & 1))
			ck_abort_msg("type %u", type);
		state.segments[segment].access_rights = UNUSABLE | type;
		if (!state_valid(&limits, &state))
			ck_abort_msg("type %u, unusable", type);
	}
}
END_TEST

static const struct data_row {
	const char *rule;
	uint32_t access;
	bool valid;
} data_rows[] = {
	{"S is 1", 0xc083, false},
	{"P is 1", 0xc013, false},
	{"neither is looked at in an unusable one", UNUSABLE, true},
	{"any DPL", 0xc0b3, true},
	{"any DPL", 0xc0f3, true},
	{"D/B, L, AVL", 0xf093, true},
	{"D/B 0", 0x8093, true},
};

/* The limit is 4 GiB here, and the selector's RPL 3: that counts without unrestricted guest only. */
START_TEST(data_segment)
{
	const struct data_row *row = &data_rows[_i / COUNT(data_segments)];
	const unsigned segment = data_segments[_i % COUNT(data_segments)];
	struct x86vcpu_state state = state_in(LONG_USER);

	state.segments[segment].access_rights = row->access;
	ck_assert_msg(state_valid(&limits, &state) == row->valid, "%s", row->rule);
	state.segments[segment].selector = 0xffff;
	ck_assert_msg(state_valid(&limits, &state) == row->valid, "%s", row->rule);
}
END_TEST

static const struct {
	uint64_t base;
	bool low, canonical; /* bits 63:32 are 0 */
} bases[] = {
	{0xffffffff, true, true},
	{UINT64_C(0x100000000), false, true},
	{UINT64_C(0x00007fffffffffff), false, true},
	{UINT64_C(0x0000800000000000), false, false},
	{UINT64_C(0xffff7fffffffffff), false, false},
	{UINT64_C(0xffff800000000000), false, true},
	{UINT64_C(0xffffffffffffffff), false, true},
	{UINT64_C(0x0001000000000000), false, false},
	{UINT64_C(0x8000000000000000), false, false},
};

/* ES and DS: 32 bits, if usable. FS and GS: canonical, in any case, in any mode. */
START_TEST(data_base)
{
	static const enum mode in[] = {REAL, FLAT, LONG};
	const unsigned segment = data_segments[_i % COUNT(data_segments)];
	struct x86vcpu_state state = state_in(in[_i / COUNT(data_segments)]);
	struct x86vcpu_segment *data = &state.segments[segment];

	for (int i = 0; i < COUNT(bases); i++) {
		const bool wide = segment == FS || segment == GS;

		data->base = bases[i].base;
		data->access_rights = 0x93 | (data->limit >> 20 ? 0x8000 : 0);
		if (state_valid(&limits, &state) != (wide ? bases[i].canonical : bases[i].low))
			ck_abort_msg("base %#llx", (unsigned long long)data->base);
		data->access_rights = UNUSABLE;
		if (state_valid(&limits, &state) != (!wide || bases[i].canonical))
			ck_abort_msg("base %#llx, unusable", (unsigned long long)data->base);
	}
}
END_TEST

/* ---- Limit and granularity, reserved bits: every segment ----------------------------------------------------- */

static const struct {
	uint32_t limit;
	bool bytes, pages; /* valid with G 0, with G 1 */
} granularity[] = {
	{0, true, false},
	{0xfff, true, true},
	{0xffe, true, false},
	{0x7ff, true, false},
	{0x1000, true, false},
	{0x1fff, true, true},
	{0xffff, true, true},
	{0xfffff, true, true},
	{0xffffe, true, false},
	{0x100000, false, false},
	{0x100fff, false, true},
	{0x80000fff, false, true},
	{0xfffffffe, false, false},
	{0xffffffff, false, true},
};

START_TEST(limit_fits_granularity)
{
	struct x86vcpu_state state = state_in(FLAT);
	struct x86vcpu_segment *segment = &state.segments[_i];
	const uint32_t access = segment->access_rights & ~0x8000u;

	for (int i = 0; i < COUNT(granularity); i++) {
		segment->limit = granularity[i].limit;
		segment->access_rights = access;
		if (state_valid(&limits, &state) != granularity[i].bytes)
			ck_abort_msg("limit %#x, G 0", segment->limit);
		segment->access_rights = access | 0x8000;
		if (state_valid(&limits, &state) != granularity[i].pages)
			ck_abort_msg("limit %#x, G 1", segment->limit);
		segment->access_rights = access | 0x8000 | UNUSABLE;
		if (_i != CS && _i != TR && !state_valid(&limits, &state))
			ck_abort_msg("limit %#x, unusable", segment->limit);
	}
}
END_TEST

/* Bits 11:8 and 31:17. */
START_TEST(reserved_access_rights_are_0)
{
	struct x86vcpu_state state = state_in(FLAT);
	uint32_t *access = &state.segments[_i].access_rights;
	const uint32_t before = *access;

	for (unsigned bit = 8; bit < 32; bit = bit == 11 ? 17 : bit + 1) {
		*access = before | 1u << bit;
		if (state_valid(&limits, &state))
			ck_abort_msg("bit %u", bit);
		*access |= UNUSABLE;
		if (_i != CS && _i != TR && !state_valid(&limits, &state))
			ck_abort_msg("bit %u, unusable", bit);
	}
}
END_TEST

/* ---- Virtual-8086 mode: base, limit and access rights are given --------------------------------------------- */

START_TEST(v8086_segment)
{
	static const uint32_t wrong_access[] = {0xf2, 0xf7, 0xfb, 0xe3, 0xd3, 0x93, 0x73, 0x1f3, 0x10f3, 0x40f3,
						0x80f3, 0x100f3, 0x800000f3, 0x10000};
	static const uint32_t wrong_limits[] = {0, 0xfffe, 0x1ffff, 0xfffff, 0xffffffff};
	struct x86vcpu_state state = state_in(V8086);
	struct x86vcpu_segment *segment = &state.segments[_i];
	const struct x86vcpu_segment before = *segment;

	for (int i = 0; i < COUNT(wrong_access); i++) {
		segment->access_rights = wrong_access[i];
		ck_assert_msg(!state_valid(&limits, &state), "access rights %#x", wrong_access[i]);
	}
	*segment = before;
	for (int i = 0; i < COUNT(wrong_limits); i++) {
		segment->limit = wrong_limits[i];
		ck_assert_msg(!state_valid(&limits, &state), "limit %#x", wrong_limits[i]);
	}
	*segment = before;
	for (unsigned bit = 0; bit < 64; bit++) {
		segment->base = before.base ^ UINT64_C(1) << bit;
		ck_assert_msg(!state_valid(&limits, &state), "bit %u of the base", bit);
	}
}
END_TEST

START_TEST(v8086_base_follows_the_selector)
{
	static const uint16_t selectors[] = {0, 1, 0x7fff, 0xf000, 0xffff};
	struct x86vcpu_state state = state_in(V8086);

	for (int i = 0; i < COUNT(selectors); i++) {
		state.segments[_i].selector = selectors[i];
		state.segments[_i].base = (uint64_t)selectors[i] * 16;
		ck_assert_msg(state_valid(&limits, &state), "selector %#x", selectors[i]);
	}
}
END_TEST

/* ---- RFLAGS --------------------------------------------------------------------------------------------- */

/* SDM 27.3.1.4: 63:22, 15, 5 and 3 are 0, 1 is 1. VM is for the rows above. */
START_TEST(rflags_bits)
{
	struct x86vcpu_state state = state_in((enum mode[]){REAL, USER, LONG, V8086}[_i]);
	const uint64_t before = state.rflags;

	for (unsigned bit = 0; bit < 64; bit++) {
		const bool reserved = bit >= 22 || bit == 15 || bit == 5 || bit == 3;

		if (bit == 17)
			continue;
		state.rflags = before | UINT64_C(1) << bit;
		if (state_valid(&limits, &state) == reserved)
			ck_abort_msg("bit %u is 1", bit);
		state.rflags = before & ~(UINT64_C(1) << bit);
		if (state_valid(&limits, &state) != (bit != 1))
			ck_abort_msg("bit %u is 0", bit);
	}
}
END_TEST

static TCase *tcase(Suite *suite, const char *name)
{
	TCase *tc = tcase_create(name);

	suite_add_tcase(suite, tc);
	return tc;
}

Suite *check_suite(void)
{
	Suite *suite = suite_create("check");
	TCase *tc = tcase(suite, "states");

	tcase_add_loop_test(tc, mode_is_valid, 0, MODES);
	tcase_add_loop_test(tc, plain_registers_may_be_anything, 0, MODES);
	tc = tcase(suite, "segments");
	tcase_add_loop_test(tc, code_segment, 0, COUNT(cs_rows));
	tcase_add_loop_test(tc, stack_segment, 0, COUNT(ss_rows));
	tcase_add_loop_test(tc, system_segment, 0, COUNT(system_rows));
	tcase_add_loop_test(tc, types, 0, COUNT(type_sets));
	tcase_add_loop_test(tc, data_types, 0, COUNT(data_segments));
	tcase_add_loop_test(tc, data_segment, 0, COUNT(data_rows) * COUNT(data_segments));
	tcase_add_loop_test(tc, data_base, 0, 3 * COUNT(data_segments));
	tcase_add_loop_test(tc, limit_fits_granularity, ES, X86VCPU_SEGMENTS);
	tcase_add_loop_test(tc, reserved_access_rights_are_0, ES, X86VCPU_SEGMENTS);
	tcase_add_loop_test(tc, v8086_segment, ES, GS + 1);
	tcase_add_loop_test(tc, v8086_base_follows_the_selector, ES, GS + 1);
	tc = tcase(suite, "registers");
	tcase_add_loop_test(tc, descriptor_table, 0, COUNT(table_rows));
	tcase_add_loop_test(tc, instruction_pointer_and_vm, 0, COUNT(rip_rows));
	tcase_add_loop_test(tc, rflags_bits, 0, 4);
	tcase_add_loop_test(tc, special_registers, 0, COUNT(register_rows));
	return suite;
}
