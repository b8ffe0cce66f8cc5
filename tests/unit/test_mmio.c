/* SPDX-License-Identifier: Apache-2.0 */
/* MMIO accesses from the bytes at RIP to the exit, and the registers after the answer. */
#include <check.h>
#include <string.h>

#include "emul/mmio.h"
#include "emul/paging.h"
#include "guest_fixture.h"

Suite *mmio_suite(void);

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))
#define CODE UINT64_C(0x8000)
#define BYTE X86VCPU_WIDTH_BYTE
#define WORD X86VCPU_WIDTH_WORD
#define DWORD X86VCPU_WIDTH_DWORD
#define QWORD X86VCPU_WIDTH_QWORD

/* Every byte of every register is another one: byte b of register r is 0x11 * (b + 1) + r. */
static uint64_t pattern(unsigned reg)
{
	return UINT64_C(0x8877665544332211) + reg * UINT64_C(0x0101010101010101);
}

static struct guest_fixture *prepare(enum fixture_mode mode, const uint8_t *bytes, size_t count)
{
	struct guest_fixture *f = fixture_reset(mode);

	fixture_code(f, CODE, bytes, count);
	for (unsigned reg = 0; reg < 16; reg++)
		guest_set_gpr(&f->g, reg, pattern(reg));
	f->g.dirty = 0;
	return f;
}

/* ---- Writes ------------------------------------------------------------------------------------------------ */

struct write_row {
	const char *name;
	enum fixture_mode mode;
	unsigned length;
	uint8_t bytes[12];
	uint8_t width;
	uint64_t data;
};

/* All to 0xfec00010; EBX and RBX hold that where the operand is [rbx]. */
static const struct write_row write_rows[] = {
	{"mov [rbx], al", FIXTURE_LONG, 2, {0x88, 0x03}, BYTE, 0x11},
	{"mov [rbx], ah", FIXTURE_LONG, 2, {0x88, 0x23}, BYTE, 0x22},
	{"mov [rbx], dh", FIXTURE_LONG, 2, {0x88, 0x33}, BYTE, 0x24},
	{"mov [rbx], spl", FIXTURE_LONG, 3, {0x40, 0x88, 0x23}, BYTE, 0x15},
	{"mov [rbx], dil", FIXTURE_LONG, 3, {0x40, 0x88, 0x3b}, BYTE, 0x18},
	{"mov [rbx], r12b", FIXTURE_LONG, 3, {0x44, 0x88, 0x23}, BYTE, 0x1d},
	{"mov [rbx], cx", FIXTURE_LONG, 3, {0x66, 0x89, 0x0b}, WORD, 0x2312},
	{"mov [rbx], ecx", FIXTURE_LONG, 2, {0x89, 0x0b}, DWORD, 0x45342312},
	{"mov [rbx], rcx", FIXTURE_LONG, 3, {0x48, 0x89, 0x0b}, QWORD, 0x8978675645342312},
	{"mov [rbx], esp", FIXTURE_LONG, 2, {0x89, 0x23}, DWORD, 0x48372615},
	{"mov [rbx], r15", FIXTURE_LONG, 3, {0x4c, 0x89, 0x3b}, QWORD, 0x9786756453423120},
	{"mov byte [rbx], 0x80", FIXTURE_LONG, 3, {0xc6, 0x03, 0x80}, BYTE, 0x80},
	{"mov word [rbx], 0x8001", FIXTURE_LONG, 5, {0x66, 0xc7, 0x03, 0x01, 0x80}, WORD, 0x8001},
	{"mov dword [rbx], -2", FIXTURE_LONG, 6, {0xc7, 0x03, 0xfe, 0xff, 0xff, 0xff}, DWORD, 0xfffffffe},
	{"mov qword [rbx], -2", FIXTURE_LONG, 7, {0x48, 0xc7, 0x03, 0xfe, 0xff, 0xff, 0xff}, QWORD, -2ull},
	{"mov [moffs], eax", FIXTURE_PROTECTED32, 5, {0xa3, 0x10, 0x00, 0xc0, 0xfe}, DWORD, 0x44332211},
	{"mov [0xfec00010], esp", FIXTURE_PROTECTED32, 6, {0x89, 0x25, 0x10, 0x00, 0xc0, 0xfe}, DWORD,
	 0x48372615},
	{"mov word [0xfec00010], 0x1234",
	 FIXTURE_PROTECTED32,
	 9,
	 {0x66, 0xc7, 0x05, 0x10, 0x00, 0xc0, 0xfe, 0x34, 0x12},
	 WORD,
	 0x1234},
	{"mov [ebx], eax in 16-bit code", FIXTURE_PROTECTED16, 4, {0x67, 0x66, 0x89, 0x03}, DWORD, 0x44332211},
	{"mov [ebx], ax in compatibility mode", FIXTURE_COMPATIBILITY, 3, {0x66, 0x89, 0x03}, WORD, 0x2211},
	{"rep mov [rbx], al (XRELEASE)", FIXTURE_LONG, 3, {0xf3, 0x88, 0x03}, BYTE, 0x11},
};

START_TEST(write_is_described)
{
	const struct write_row *row = &write_rows[_i];
	struct guest_fixture *f = prepare(row->mode, row->bytes, sizeof(row->bytes));
	unsigned length = 0;

	f->g.regs.rbx = FIXTURE_MMIO + 0x10;
	ck_assert_msg(emul_mmio(&f->g, FIXTURE_MMIO + 0x10, true, &length) == EMUL_NEXT_EXIT, "%s", row->name);
	ck_assert_uint_eq(f->exit.kind, X86VCPU_EXIT_MMIO_WRITE);
	ck_assert_uint_eq(f->exit.u.mmio.gpa, FIXTURE_MMIO + 0x10);
	ck_assert_msg(length == row->length, "%s: length %u", row->name, length);
	ck_assert_msg(f->exit.u.mmio.width == row->width, "%s: width %u", row->name, f->exit.u.mmio.width);
	ck_assert_msg(f->exit.u.mmio.data == row->data, "%s: data %lx", row->name, f->exit.u.mmio.data);
	ck_assert_uint_eq(f->g.open, GUEST_OPEN_NONE);
	ck_assert_uint_eq(f->g.dirty, 0);
}
END_TEST

/* ---- Reads ------------------------------------------------------------------------------------------------- */

struct read_row {
	const char *name;
	enum fixture_mode mode;
	unsigned length;
	uint8_t bytes[12];
	struct x86vcpu_mmio want;
	uint64_t after; /* the register, when the device answered 0xfedcba9876543289 */
};

static const struct read_row read_rows[] = {
	{"mov al, [rbx]", FIXTURE_LONG, 2, {0x8a, 0x03}, {.has_byte_reg = 1}, 0x8877665544332289},
	{"mov ah, [rbx]", FIXTURE_LONG, 2, {0x8a, 0x23}, {.has_byte_reg = 1, .byte_reg_high = 1},
	 0x8877665544338911},
	{"mov ch, [rbx]", FIXTURE_LONG, 2, {0x8a, 0x2b}, {.reg = 1, .has_byte_reg = 1, .byte_reg_high = 1},
	 0x8978675645348912},
	{"mov spl, [rbx]", FIXTURE_LONG, 3, {0x40, 0x8a, 0x23}, {.reg = 4, .has_byte_reg = 1}, 0x8c7b6a5948372689},
	{"mov r9b, [rbx]", FIXTURE_LONG, 3, {0x44, 0x8a, 0x0b}, {.reg = 9, .has_byte_reg = 1}, 0x91806f5e4d3c2b89},
	{"mov cx, [rbx]", FIXTURE_LONG, 3, {0x66, 0x8b, 0x0b}, {.width = WORD, .reg = 1, .reg_width = WORD},
	 0x8978675645343289},
	{"mov ecx, [rbx]", FIXTURE_LONG, 2, {0x8b, 0x0b}, {.width = DWORD, .reg = 1, .reg_width = DWORD},
	 0x76543289},
	{"mov rcx, [rbx]", FIXTURE_LONG, 3, {0x48, 0x8b, 0x0b}, {.width = QWORD, .reg = 1, .reg_width = QWORD},
	 0xfedcba9876543289},
	{"mov esp, [0xfec00010]", FIXTURE_PROTECTED32, 6, {0x8b, 0x25, 0x10, 0, 0xc0, 0xfe},
	 {.width = DWORD, .reg = 4, .reg_width = DWORD}, 0x76543289},
	{"mov al, [moffs]", FIXTURE_PROTECTED32, 5, {0xa0, 0x10, 0, 0xc0, 0xfe}, {.has_byte_reg = 1},
	 0x8877665544332289},
	{"mov rax, [moffs]", FIXTURE_LONG, 10, {0x48, 0xa1, 0x10, 0, 0xc0, 0xfe, 0, 0, 0, 0},
	 {.width = QWORD, .reg_width = QWORD}, 0xfedcba9876543289},
	{"movzx cx, byte", FIXTURE_LONG, 4, {0x66, 0x0f, 0xb6, 0x0b}, {.reg = 1, .reg_width = WORD},
	 0x8978675645340089},
	{"movzx ecx, byte", FIXTURE_LONG, 3, {0x0f, 0xb6, 0x0b}, {.reg = 1, .reg_width = DWORD}, 0x89},
	{"movzx r8, word", FIXTURE_LONG, 4, {0x4c, 0x0f, 0xb7, 0x03},
	 {.width = WORD, .reg = 8, .reg_width = QWORD}, 0x3289},
	{"movsx cx, byte", FIXTURE_LONG, 4, {0x66, 0x0f, 0xbe, 0x0b},
	 {.reg = 1, .reg_width = WORD, .sign_extend = 1}, 0x897867564534ff89},
	{"movsx ecx, byte", FIXTURE_LONG, 3, {0x0f, 0xbe, 0x0b},
	 {.reg = 1, .reg_width = DWORD, .sign_extend = 1}, 0xffffff89},
	{"movsx rcx, byte", FIXTURE_LONG, 4, {0x48, 0x0f, 0xbe, 0x0b},
	 {.reg = 1, .reg_width = QWORD, .sign_extend = 1}, 0xffffffffffffff89},
	{"movsx rcx, word", FIXTURE_LONG, 4, {0x48, 0x0f, 0xbf, 0x0b},
	 {.width = WORD, .reg = 1, .reg_width = QWORD, .sign_extend = 1}, 0x3289},
	{"movsxd rcx, dword", FIXTURE_LONG, 3, {0x48, 0x63, 0x0b},
	 {.width = DWORD, .reg = 1, .reg_width = QWORD, .sign_extend = 1}, 0x76543289},
};

START_TEST(read_is_described_and_answered)
{
	const struct read_row *row = &read_rows[_i];
	struct guest_fixture *f = prepare(row->mode, row->bytes, sizeof(row->bytes));
	struct x86vcpu_mmio want = row->want;
	unsigned length = 0;

	want.gpa = FIXTURE_MMIO + 0x10;
	f->g.regs.rbx = want.gpa;
	ck_assert_msg(emul_mmio(&f->g, want.gpa, false, &length) == EMUL_NEXT_EXIT, "%s", row->name);
	ck_assert_uint_eq(f->exit.kind, X86VCPU_EXIT_MMIO_READ);
	ck_assert_msg(length == row->length, "%s: length %u", row->name, length);
	ck_assert_msg(memcmp(&f->exit.u.mmio, &want, sizeof(want)) == 0, "%s: exit", row->name);
	ck_assert_uint_eq(f->g.open, GUEST_OPEN_MMIO_READ);
	ck_assert_uint_eq(f->g.dirty, 0);

	emul_complete_read(&f->g, UINT64_C(0xfedcba9876543289));
	ck_assert_msg(guest_gpr(&f->g, want.reg) == row->after, "%s: %lx", row->name,
		      guest_gpr(&f->g, want.reg));
	ck_assert_uint_eq(f->g.open, GUEST_OPEN_NONE);
	for (unsigned reg = 0; reg < 16; reg++)
		ck_assert_msg(reg == want.reg || reg == 3 || guest_gpr(&f->g, reg) == pattern(reg),
			      "%s: register %u changed", row->name, reg);
}
END_TEST

/* ---- What is no MMIO instruction --------------------------------------------------------------------------- */

struct other_row {
	const char *name;
	enum fixture_mode mode;
	uint8_t bytes[16];
	uint64_t rbx, gpa;
	bool write;
};

static const struct other_row other_rows[] = {
	{"fxsave, which is not emulated", FIXTURE_LONG, {0x0f, 0xae, 0x03}, FIXTURE_MMIO, FIXTURE_MMIO, true},
	{"no memory operand", FIXTURE_LONG, {0x89, 0xc3}, FIXTURE_MMIO, FIXTURE_MMIO, true},
	{"known, but no MOV", FIXTURE_LONG, {0x0f, 0x01, 0x33}, FIXTURE_MMIO, FIXTURE_MMIO, false},
	{"lock mov", FIXTURE_LONG, {0xf0, 0x89, 0x03}, FIXTURE_MMIO, FIXTURE_MMIO, true},
	{"prefixes only", FIXTURE_LONG,
	 {0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66},
	 FIXTURE_MMIO, FIXTURE_MMIO, true},
};

static void expect_unknown(struct guest_fixture *f, uint64_t gpa, bool write, unsigned count, const char *name)
{
	const struct x86vcpu_instruction *instruction = &f->exit.u.instruction;
	unsigned length = 0;

	ck_assert_msg(emul_mmio(&f->g, gpa, write, &length) == EMUL_EXIT, "%s", name);
	ck_assert_msg(f->exit.kind == X86VCPU_EXIT_UNKNOWN_INSTRUCTION, "%s: kind %u", name, f->exit.kind);
	ck_assert_uint_eq(instruction->gpa, gpa);
	ck_assert_uint_eq(instruction->has_linear | instruction->linear, 0);
	ck_assert_uint_eq(instruction->access, write ? X86VCPU_ACCESS_WRITE : X86VCPU_ACCESS_READ);
	ck_assert_uint_eq(instruction->count, count);
	ck_assert_uint_eq(f->g.open, GUEST_OPEN_NONE);
	ck_assert_uint_eq(f->g.dirty, 0);
	ck_assert(!f->g.events.exception.valid);
}

START_TEST(unknown_instruction_is_reported)
{
	const struct other_row *row = &other_rows[_i];
	struct guest_fixture *f = prepare(row->mode, row->bytes, sizeof(row->bytes));

	f->g.regs.rbx = row->rbx;
	expect_unknown(f, row->gpa, row->write, 15, row->name);
	ck_assert_int_eq(memcmp(f->exit.u.instruction.bytes, row->bytes, 15), 0);
	ck_assert_uint_eq(f->exit.u.instruction.mode, row->mode == FIXTURE_LONG ? 8 : 2);
}
END_TEST

/* The last byte has neither a device nor memory. */
START_TEST(access_past_the_range_is_a_nested_fault)
{
	static const uint8_t mov[] = {0x89, 0x03};
	struct guest_fixture *f = prepare(FIXTURE_LONG, mov, sizeof(mov));
	unsigned length = 0;

	f->mmio[0].size = 0x103;
	f->g.regs.rbx = FIXTURE_MMIO + 0x100;
	ck_assert_int_eq(emul_mmio(&f->g, FIXTURE_MMIO + 0x100, true, &length), EMUL_EXIT);
	ck_assert_uint_eq(f->exit.kind, X86VCPU_EXIT_NESTED_PAGE_FAULT);
	ck_assert_uint_eq(f->exit.u.nested_page_fault.gpa, FIXTURE_MMIO + 0x103);
	ck_assert(!guest_has_open_exit(&f->g));
}
END_TEST

START_TEST(unknown_instruction_without_memory_has_no_bytes)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_PROTECTED32);

	fixture_set(f, G_RIP, 0x40000000);
	expect_unknown(f, FIXTURE_MMIO, true, 0, "no code");
	ck_assert_uint_eq(f->exit.u.instruction.mode, 4);
}
END_TEST

/* The linear address comes from hardware, and the length where the decoder knows the instruction. */
START_TEST(unknown_instruction_tells_address_and_length)
{
	static const uint8_t lmsw[] = {0x0f, 0x01, 0x33};
	struct guest_fixture *f = prepare(FIXTURE_LONG, lmsw, sizeof(lmsw));
	unsigned length;

	ck_assert_int_eq(emul_mmio_linear(&f->g, FIXTURE_MMIO + 8, 0x1234, false, &length), EMUL_EXIT);
	ck_assert_uint_eq(f->exit.u.instruction.has_linear, 1);
	ck_assert_uint_eq(f->exit.u.instruction.linear, 0x1234);
	ck_assert_uint_eq(f->exit.u.instruction.length, 3);
}
END_TEST

/* ---- The guest's own page faults --------------------------------------------------------------------------- */

START_TEST(fetch_that_faults_now_is_the_guests)
{
	static const uint8_t mov[] = {0x89, 0x03};
	struct guest_fixture *f = prepare(FIXTURE_LONG, mov, sizeof(mov));
	unsigned length;

	f->g.regs.rbx = FIXTURE_MMIO;
	fixture_write64(f, FIXTURE_PDPT, 0);
	ck_assert_int_eq(emul_mmio(&f->g, FIXTURE_MMIO, true, &length), EMUL_RESUME);
	ck_assert_uint_eq(f->g.events.exception.vector, VECTOR_PF);
	ck_assert_uint_eq(f->g.events.exception.error_code, PF_FETCH);
	ck_assert_uint_eq(f->g.cr2, CODE);
	ck_assert_uint_eq(f->g.dirty, 0);
}
END_TEST

START_TEST(operand_that_faults_now_is_the_guests)
{
	static const uint8_t mov[] = {0x89, 0x03};
	struct guest_fixture *f = prepare(FIXTURE_LONG, mov, sizeof(mov));
	unsigned length;

	f->g.regs.rbx = FIXTURE_MMIO;
	fixture_set_cpl(f, 3);
	fixture_write64(f, FIXTURE_PDPT + 3 * 8, 0xc0000000 | PTE_PS | PTE_P | PTE_US);
	ck_assert_int_eq(emul_mmio(&f->g, FIXTURE_MMIO, true, &length), EMUL_RESUME);
	ck_assert_uint_eq(f->g.events.exception.error_code, PF_PRESENT | PF_WRITE | PF_USER);
	ck_assert_uint_eq(f->g.cr2, FIXTURE_MMIO);
}
END_TEST

START_TEST(segment_base_counts)
{
	static const uint8_t mov[] = {0x64, 0x8b, 0x03}; /* mov eax, fs:[rbx] */
	struct guest_fixture *f = prepare(FIXTURE_LONG, mov, sizeof(mov));
	unsigned length;

	f->g.regs.rbx = 0x20;
	fixture_set(f, G_BASE + X86VCPU_SEGMENT_FS, FIXTURE_MMIO);
	ck_assert_int_eq(emul_mmio(&f->g, FIXTURE_MMIO + 0x20, false, &length), EMUL_NEXT_EXIT);
	ck_assert_uint_eq(f->exit.u.mmio.gpa, FIXTURE_MMIO + 0x20);
}
END_TEST

/* With the linear address from hardware no second walk is made: the tables may be gone. */
START_TEST(linear_address_of_hardware_is_compared)
{
	static const uint8_t mov[] = {0x89, 0x43, 0x08}; /* mov [rbx+8], eax */
	struct guest_fixture *f = prepare(FIXTURE_LONG, mov, sizeof(mov));
	unsigned length = 0;

	fixture_write64(f, FIXTURE_PDPT + 3 * 8, 0);
	f->g.regs.rbx = 0xffff8000fec00000;
	ck_assert_int_eq(emul_mmio_linear(&f->g, FIXTURE_MMIO + 8, 0xffff8000fec00008, true, &length),
			 EMUL_NEXT_EXIT);
	ck_assert_uint_eq(length, 3);
	ck_assert_uint_eq(f->exit.kind, X86VCPU_EXIT_MMIO_WRITE);
	ck_assert_uint_eq(f->exit.u.mmio.gpa, FIXTURE_MMIO + 8);
	/* Another address: the guest changed RBX or the code, and the walk decides. */
	ck_assert_int_eq(emul_mmio_linear(&f->g, FIXTURE_MMIO + 8, 0xffff8000fec00009, true, &length), EMUL_RESUME);
	ck_assert_uint_eq(f->g.events.exception.vector, VECTOR_PF);
}
END_TEST

START_TEST(real_mode_reaches_mmio_below_1m)
{
	static const uint8_t mov[] = {0x26, 0x88, 0x47, 0x02}; /* mov es:[bx+2], al */
	struct guest_fixture *f = prepare(FIXTURE_REAL, mov, sizeof(mov));
	unsigned length = 0;

	f->mmio[0] = (struct x86vcpu_mmio_range){0xa0000, 0x10000};
	fixture_set(f, G_BASE + X86VCPU_SEGMENT_ES, 0xa0000);
	f->g.regs.rbx = 0xffff0010;
	ck_assert_int_eq(emul_mmio(&f->g, 0xa0012, true, &length), EMUL_NEXT_EXIT);
	ck_assert_uint_eq(length, 4);
	ck_assert_uint_eq(f->exit.u.mmio.data, 0x11);
}
END_TEST

/* C-10: 32-bit paging with 4 MiB pages. */
START_TEST(paging_32bit_reaches_mmio)
{
	static const uint8_t mov[] = {0x89, 0x03};
	struct guest_fixture *f = prepare(FIXTURE_PROTECTED32, mov, sizeof(mov));
	unsigned length;

	fixture_write32(f, 0x10000, PTE_P | PTE_RW | PTE_PS);
	fixture_write32(f, 0x10000 + 4 * 0x300, 0xfec00000 | PTE_P | PTE_RW | PTE_PS);
	fixture_set(f, G_CR3, 0x10000);
	fixture_set(f, G_CR4, CR4_PSE);
	fixture_set(f, G_CR0, CR0_PE | CR0_PG);
	f->g.regs.rbx = 0xc0000010;
	ck_assert_int_eq(emul_mmio(&f->g, FIXTURE_MMIO + 0x10, true, &length), EMUL_NEXT_EXIT);
	ck_assert_uint_eq(f->exit.u.mmio.gpa, FIXTURE_MMIO + 0x10);
}
END_TEST

/* RIP, RFLAGS never; CS and SS rights, EFER, CR0, CR3, CR4: what a walk needs. */
START_TEST(few_fields_are_read)
{
	static const uint8_t mov[] = {0x89, 0x03};
	struct guest_fixture *f = prepare(FIXTURE_LONG, mov, sizeof(mov));
	unsigned length;

	f->g.regs.rbx = FIXTURE_MMIO;
	ck_assert_int_eq(emul_mmio(&f->g, FIXTURE_MMIO, true, &length), EMUL_NEXT_EXIT);
	ck_assert_uint_le(fixture_reads(f), 7);
	ck_assert_uint_eq(f->host_reads, 0);
}
END_TEST

/* ---- Other answers ----------------------------------------------------------------------------------------- */

/* C-09b: IN keeps what IN keeps. */
START_TEST(port_read_is_merged)
{
	static const uint64_t after[] = {0x88776655443322fe, 0x887766554433dcfe, 0x1badcfe};
	struct guest_fixture *f = fixture_reset(FIXTURE_LONG);

	f->g.regs.rax = pattern(0);
	f->g.open = GUEST_OPEN_PORT_READ;
	f->g.last.u.port_io.width = (uint8_t)_i;
	emul_complete_read(&f->g, UINT64_C(0xffffffff01badcfe));
	ck_assert_uint_eq(f->g.regs.rax, after[_i]);
	ck_assert_uint_eq(f->g.open, GUEST_OPEN_NONE);
	ck_assert_uint_eq(f->g.dirty, 0);
}
END_TEST

START_TEST(msr_read_splits_and_skips)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_LONG);

	f->g.regs.rax = f->g.regs.rdx = UINT64_MAX;
	f->g.open = GUEST_OPEN_MSR_READ;
	f->g.msr_length = 2;
	emul_complete_read(&f->g, UINT64_C(0x123456789abcdef0));
	ck_assert_uint_eq(f->g.regs.rax, 0x9abcdef0);
	ck_assert_uint_eq(f->g.regs.rdx, 0x12345678);
	ck_assert_uint_eq(guest_get(&f->g, G_RIP), 0x7c02);
	ck_assert_uint_eq(f->g.open, GUEST_OPEN_NONE);
}
END_TEST

START_TEST(nothing_open_changes_nothing)
{
	static const enum guest_open open[] = {GUEST_OPEN_NONE, GUEST_OPEN_PORT_STRING, GUEST_OPEN_MSR_WRITE};
	struct guest_fixture *f = fixture_reset(FIXTURE_LONG);

	f->g.open = open[_i];
	emul_complete_read(&f->g, 0x1234);
	ck_assert_uint_eq(f->g.regs.rax, 0);
	ck_assert_uint_eq(f->g.dirty, 0);
	ck_assert_uint_eq(f->g.open, open[_i]);
}
END_TEST

Suite *mmio_suite(void)
{
	Suite *suite = suite_create("mmio");
	TCase *access = tcase_create("access");
	TCase *other = tcase_create("other");
	TCase *answer = tcase_create("answer");

	tcase_add_loop_test(access, write_is_described, 0, COUNT(write_rows));
	tcase_add_loop_test(access, read_is_described_and_answered, 0, COUNT(read_rows));
	tcase_add_test(access, segment_base_counts);
	tcase_add_test(access, linear_address_of_hardware_is_compared);
	tcase_add_test(access, real_mode_reaches_mmio_below_1m);
	tcase_add_test(access, paging_32bit_reaches_mmio);
	tcase_add_test(access, few_fields_are_read);
	suite_add_tcase(suite, access);

	tcase_add_loop_test(other, unknown_instruction_is_reported, 0, COUNT(other_rows));
	tcase_add_test(other, access_past_the_range_is_a_nested_fault);
	tcase_add_test(other, unknown_instruction_without_memory_has_no_bytes);
	tcase_add_test(other, unknown_instruction_tells_address_and_length);
	tcase_add_test(other, fetch_that_faults_now_is_the_guests);
	tcase_add_test(other, operand_that_faults_now_is_the_guests);
	suite_add_tcase(suite, other);

	tcase_add_loop_test(answer, port_read_is_merged, 0, 3);
	tcase_add_test(answer, msr_read_splits_and_skips);
	tcase_add_loop_test(answer, nothing_open_changes_nothing, 0, 3);
	suite_add_tcase(suite, answer);
	return suite;
}
