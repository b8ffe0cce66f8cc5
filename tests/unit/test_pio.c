/* SPDX-License-Identifier: Apache-2.0 */
/* IN, OUT and the elements of INS and OUTS. */
#include <check.h>
#include <string.h>

#include "emul/paging.h"
#include "emul/pio.h"
#include "guest_fixture.h"

Suite *pio_suite(void);

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))
#define ES X86VCPU_SEGMENT_ES
#define SS X86VCPU_SEGMENT_SS
#define DS X86VCPU_SEGMENT_DS
#define FS X86VCPU_SEGMENT_FS

/* ---- IN and OUT --------------------------------------------------------------------------------------------- */

START_TEST(out_masks_its_data)
{
	static const uint64_t data[] = {0x88, 0x7788, 0, 0x55667788};
	struct guest_fixture *f = fixture_reset(FIXTURE_LONG);
	const struct pio io = {.port = 0xffff, .bytes = (uint8_t)(_i + 1), .length = 1};

	f->g.regs.rax = 0x1122334455667788;
	ck_assert_int_eq(emul_port_io(&f->g, &io), io.bytes == 3 ? X86VCPU_ERR_INVALID_DATA : EMUL_NEXT_EXIT);
	if (io.bytes == 3)
		return;
	ck_assert_uint_eq(f->exit.kind, X86VCPU_EXIT_PORT_IO_WRITE);
	ck_assert_uint_eq(f->exit.u.port_io.port, 0xffff);
	ck_assert_uint_eq(1u << f->exit.u.port_io.width, io.bytes);
	ck_assert_uint_eq(f->exit.u.port_io.data, data[_i]);
	ck_assert_uint_eq(f->g.open, GUEST_OPEN_NONE);
	ck_assert_uint_eq(fixture_reads(f), 0);
}
END_TEST

START_TEST(in_is_open)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_LONG);
	const struct pio io = {.port = 0x60, .bytes = 2, .in = true, .length = 1};

	f->g.regs.rax = 0x1122334455667788;
	ck_assert_int_eq(emul_port_io(&f->g, &io), EMUL_NEXT_EXIT);
	ck_assert_uint_eq(f->exit.kind, X86VCPU_EXIT_PORT_IO_READ);
	ck_assert_uint_eq(f->exit.u.port_io.width, X86VCPU_WIDTH_WORD);
	ck_assert_uint_eq(f->exit.u.port_io.data, 0);
	ck_assert_uint_eq(f->g.open, GUEST_OPEN_PORT_READ);
	ck_assert_uint_eq(f->g.last.u.port_io.width, X86VCPU_WIDTH_WORD);
	ck_assert_uint_eq(f->g.regs.rax, 0x1122334455667788);
	ck_assert_uint_eq(fixture_reads(f), 0);
}
END_TEST

/* ---- Indices and counts ----------------------------------------------------------------------------------- */

struct step_row {
	const char *name;
	enum fixture_mode mode;
	uint8_t bytes, address;
	bool rep, down;
	uint64_t index, count;
	uint64_t next_index, next_count;
	bool complete;
};

static const struct step_row step_rows[] = {
	{"no rep", FIXTURE_LONG, 1, 8, false, false, 0x2000, 77, 0x2001, 0, true},
	{"no rep, down", FIXTURE_LONG, 4, 8, false, true, 0x2000, 0, 0x1ffc, 0, true},
	{"rep", FIXTURE_LONG, 2, 8, true, false, 0x2000, 3, 0x2002, 2, false},
	{"rep, last", FIXTURE_LONG, 2, 8, true, false, 0x2000, 1, 0x2002, 0, true},
	{"rep, 64-bit count", FIXTURE_LONG, 1, 8, true, false, 0x2000, 0x100000000, 0x2001, 0xffffffff, false},
	{"32-bit zero-extends", FIXTURE_LONG, 4, 4, true, false, 0xaaaa00002000, 0xbbbb00000002, 0x2004, 1, false},
	{"32-bit, last", FIXTURE_LONG, 4, 4, true, false, 0xaaaa00002000, 0xbbbb00000001, 0x2004, 0, true},
	{"32-bit wraps down", FIXTURE_LONG, 4, 4, false, true, 0, 0, 0xfffffffc, 0, true},
	{"16-bit keeps the rest", FIXTURE_REAL, 2, 2, true, false, 0x12342000, 0x56780002, 0x12342002, 0x56780001,
	 false},
	{"16-bit wraps up", FIXTURE_REAL, 2, 2, true, false, 0x1234fffe, 0x56780001, 0x12340000, 0x56780000, true},
	{"16-bit wraps down", FIXTURE_REAL, 1, 2, false, true, 0x12340000, 0, 0x1234ffff, 0, true},
};

START_TEST(element_steps)
{
	const struct step_row *row = &step_rows[_i];

	for (int in = 0; in < 2; in++) {
		struct guest_fixture *f = fixture_reset(row->mode);
		const struct pio io = {.port = 0x1f0, .bytes = row->bytes, .in = in, .string = true,
				       .rep = row->rep, .address_bytes = row->address, .segment = DS, .length = 2};
		const struct x86vcpu_port_io_string *s = &f->exit.u.port_io_string;

		*(in ? &f->g.regs.rdi : &f->g.regs.rsi) = row->index;
		f->g.regs.rcx = row->count;
		if (row->down)
			fixture_set(f, G_RFLAGS, RFLAGS_FIXED | RFLAGS_DF);
		ck_assert_msg(emul_port_io(&f->g, &io) == EMUL_EXIT, "%s", row->name);
		ck_assert_uint_eq(f->exit.kind, X86VCPU_EXIT_PORT_IO_STRING);
		ck_assert_uint_eq(s->port, 0x1f0);
		ck_assert_uint_eq(1u << s->width, row->bytes);
		ck_assert_uint_eq(s->direction, in ? X86VCPU_DIRECTION_IN : X86VCPU_DIRECTION_OUT);
		ck_assert_uint_eq(s->has_count, row->rep);
		ck_assert_msg(s->updated_index == row->next_index, "%s: index %lx", row->name, s->updated_index);
		ck_assert_msg(s->updated_count == row->next_count, "%s: count %lx", row->name, s->updated_count);
		ck_assert_msg(s->instruction_complete == row->complete, "%s: complete", row->name);
		ck_assert_uint_eq(s->gpa, row->index & (row->address == 2 ? 0xffff : 0xffffffff));
		ck_assert_uint_eq(s->gpa2, 0);
		ck_assert_uint_eq(s->next_rip, 0x7c02);
		ck_assert_uint_eq(f->g.open, GUEST_OPEN_PORT_STRING);
		ck_assert_uint_eq(f->g.dirty, 0);
		ck_assert_uint_eq(in ? f->g.regs.rdi : f->g.regs.rsi, row->index);
	}
}
END_TEST

struct zero_row {
	uint8_t address;
	uint64_t count;
};

static const struct zero_row zero_rows[] = {{2, 0x12340000}, {4, 0x1234500000000}, {8, 0}};

START_TEST(rep_with_count_0_does_nothing)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_PROTECTED32);
	const struct pio io = {.bytes = 4, .in = true, .string = true, .rep = true,
			       .address_bytes = zero_rows[_i].address, .length = 2};

	/* Not even a look at the operand. */
	fixture_set(f, G_ACCESS + ES, AR_UNUSABLE);
	f->g.regs.rcx = zero_rows[_i].count;
	ck_assert_int_eq(emul_port_io(&f->g, &io), EMUL_NEXT);
	ck_assert_uint_eq(f->g.open, GUEST_OPEN_NONE);
	ck_assert_uint_eq(f->g.dirty, 0);
	ck_assert_uint_eq(f->g.regs.rcx, zero_rows[_i].count);
}
END_TEST

START_TEST(next_rip_wraps)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_PROTECTED32);
	const struct pio io = {.bytes = 1, .string = true, .address_bytes = 4, .segment = DS, .length = 2};

	fixture_set(f, G_RIP, 0xffffffff);
	ck_assert_int_eq(emul_port_io(&f->g, &io), EMUL_EXIT);
	ck_assert_uint_eq(f->exit.u.port_io_string.next_rip, 1);
}
END_TEST

/* ---- The operand -------------------------------------------------------------------------------------------- */

START_TEST(segments_are_added)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_REAL);
	struct pio io = {.bytes = 1, .string = true, .address_bytes = 2, .segment = DS, .length = 1};

	fixture_set(f, G_BASE + DS, 0x10000);
	fixture_set(f, G_BASE + ES, 0x20000);
	fixture_set(f, G_BASE + FS, 0x30000);
	f->g.regs.rsi = f->g.regs.rdi = 0x123;
	ck_assert_int_eq(emul_port_io(&f->g, &io), EMUL_EXIT);
	ck_assert_uint_eq(f->exit.u.port_io_string.gpa, 0x10123);
	io.segment = FS;
	ck_assert_int_eq(emul_port_io(&f->g, &io), EMUL_EXIT);
	ck_assert_uint_eq(f->exit.u.port_io_string.gpa, 0x30123);
	io.in = true; /* INS has no override */
	ck_assert_int_eq(emul_port_io(&f->g, &io), EMUL_EXIT);
	ck_assert_uint_eq(f->exit.u.port_io_string.gpa, 0x20123);
}
END_TEST

START_TEST(linear_address_of_hardware_is_used)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_PROTECTED32);
	const struct pio io = {.bytes = 1, .string = true, .address_bytes = 4, .segment = DS, .length = 1,
			       .has_linear = true, .linear = 0x5123};

	f->g.regs.rsi = 0x123;
	ck_assert_int_eq(emul_port_io(&f->g, &io), EMUL_EXIT);
	ck_assert_uint_eq(f->exit.u.port_io_string.gpa, 0x5123);
	ck_assert_uint_eq(f->reads[G_BASE + DS], 0);
}
END_TEST

struct decoded_row {
	const char *name;
	enum fixture_mode mode;
	uint8_t bytes[4];
	bool in;
	uint64_t index, gpa;
};

/* The bases of ES, DS and FS are 0x10000, 0x20000 and 0x30000 except in 64-bit mode. */
static const struct decoded_row decoded_rows[] = {
	{"outsb", FIXTURE_REAL, {0x6e}, false, 0xabc00123, 0x20123}, /* S-09 */
	{"es outsb", FIXTURE_REAL, {0x26, 0x6e}, false, 0x123, 0x10123},
	{"fs outsb", FIXTURE_PROTECTED32, {0x64, 0x6e}, false, 0x123, 0x30123},
	{"fs rep insb", FIXTURE_PROTECTED32, {0x64, 0xf3, 0x6c}, true, 0x123, 0x10123},
	{"addr16 outsb", FIXTURE_PROTECTED32, {0x67, 0x6e}, false, 0xabc00123, 0x20123},
	{"addr32 insb", FIXTURE_REAL, {0x67, 0x6c}, true, 0xf123, 0x1f123},
	{"outsb in 64-bit mode", FIXTURE_LONG, {0x6e}, false, 0x40000123, 0x40000123},
	{"fs outsb in 64-bit mode", FIXTURE_LONG, {0x64, 0x6e}, false, 0x123, 0x30123},
	{"addr32 insb in 64-bit mode", FIXTURE_LONG, {0x67, 0x6c}, true, 0xabc00000123, 0x123},
};

START_TEST(unknown_size_and_segment_are_decoded)
{
	const struct decoded_row *row = &decoded_rows[_i];
	struct guest_fixture *f = fixture_reset(row->mode);
	const struct pio io = {.bytes = 1, .in = row->in, .string = true, .segment = -1, .length = 2};

	fixture_code(f, 0x7c00, row->bytes, sizeof(row->bytes));
	fixture_set(f, G_BASE + ES, 0x10000);
	fixture_set(f, G_BASE + DS, 0x20000);
	fixture_set(f, G_BASE + FS, 0x30000);
	f->g.regs.rsi = f->g.regs.rdi = row->index;
	ck_assert_msg(emul_port_io(&f->g, &io) == EMUL_EXIT, "%s", row->name);
	ck_assert_msg(f->exit.u.port_io_string.gpa == row->gpa, "%s: %lx", row->name,
		      f->exit.u.port_io_string.gpa);
}
END_TEST

START_TEST(other_bytes_are_ud)
{
	static const uint8_t bytes[][2] = {{0x90, 0x90}, {0x6c, 0x90}, {0xf0, 0x6e}};
	struct guest_fixture *f = fixture_reset(FIXTURE_LONG);
	const struct pio io = {.bytes = 1, .string = true, .segment = -1, .length = 1};

	fixture_code(f, 0x7c00, bytes[_i], 2);
	ck_assert_int_eq(emul_port_io(&f->g, &io), EMUL_UD);
	ck_assert_uint_eq(f->g.open, GUEST_OPEN_NONE);
}
END_TEST

START_TEST(bad_description_is_refused)
{
	static const struct pio bad[] = {
		{.bytes = 0}, {.bytes = 8},
		{.bytes = 1, .string = true, .address_bytes = 3, .segment = DS},
		{.bytes = 1, .string = true, .address_bytes = 4, .segment = 6},
	};
	struct guest_fixture *f = fixture_reset(FIXTURE_LONG);

	ck_assert_int_eq(emul_port_io(&f->g, &bad[_i]), X86VCPU_ERR_INVALID_DATA);
}
END_TEST

/* ---- What the operand raises (C-11) -------------------------------------------------------------------------- */

static const struct pio ins_word = {
	.bytes = 2, .in = true, .string = true, .address_bytes = 8, .segment = ES, .length = 2};
static const struct pio outs_word = {.bytes = 2, .string = true, .address_bytes = 8, .segment = DS, .length = 2};

static void expect_exception(struct guest_fixture *f, const struct pio *io, unsigned vector, uint32_t code)
{
	ck_assert_int_eq(emul_port_io(&f->g, io), EMUL_RESUME);
	ck_assert(f->g.events.exception.valid);
	ck_assert_uint_eq(f->g.events.exception.vector, vector);
	ck_assert_uint_eq(f->g.events.exception.error_code, code);
	ck_assert_uint_eq(f->g.open, GUEST_OPEN_NONE);
	ck_assert_uint_eq(f->g.dirty, 0);
}

START_TEST(user_may_not_reach_supervisor_pages)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_LONG);

	fixture_write64(f, FIXTURE_PDPT + 8, 0x40000000 | PTE_PS | PTE_P | PTE_RW);
	fixture_set_cpl(f, 3);
	f->g.regs.rsi = f->g.regs.rdi = 0x40000010;
	expect_exception(f, &ins_word, VECTOR_PF, PF_PRESENT | PF_WRITE | PF_USER);
	ck_assert_uint_eq(f->g.cr2, 0x40000010);
	f->g.events.exception.valid = false;
	expect_exception(f, &outs_word, VECTOR_PF, PF_PRESENT | PF_USER);
	f->g.events.exception.valid = false;
	fixture_set_cpl(f, 0);
	ck_assert_int_eq(emul_port_io(&f->g, &ins_word), EMUL_EXIT);
}
END_TEST

START_TEST(read_only_page_faults_for_ins_alone)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_LONG);

	fixture_write64(f, FIXTURE_PDPT + 8, 0x40000000 | PTE_PS | PTE_P);
	f->g.regs.rsi = f->g.regs.rdi = 0x40000010;
	ck_assert_int_eq(emul_port_io(&f->g, &outs_word), EMUL_EXIT);
	f->g.open = GUEST_OPEN_NONE;
	expect_exception(f, &ins_word, VECTOR_PF, PF_PRESENT | PF_WRITE);
}
END_TEST

/* 1 GiB pages: the last one of 4 GiB leads far away, so that the two parts of an element do not touch. */
START_TEST(element_across_pages_has_two_addresses)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_LONG);

	fixture_write64(f, FIXTURE_PDPT + 8, 0x2000000000 | PTE_PS | PTE_P | PTE_RW);
	f->g.regs.rsi = 0x3fffffff;
	ck_assert_int_eq(emul_port_io(&f->g, &outs_word), EMUL_EXIT);
	ck_assert_uint_eq(f->exit.u.port_io_string.gpa, 0x3fffffff);
	ck_assert_uint_eq(f->exit.u.port_io_string.gpa2, 0x2000000000);
	f->g.regs.rsi = 0x3ffffffe;
	ck_assert_int_eq(emul_port_io(&f->g, &outs_word), EMUL_EXIT);
	ck_assert_uint_eq(f->exit.u.port_io_string.gpa2, 0);
}
END_TEST

START_TEST(second_page_may_fault)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_LONG);

	fixture_write64(f, FIXTURE_PDPT + 8, 0);
	f->g.regs.rdi = 0x3fffffff;
	expect_exception(f, &ins_word, VECTOR_PF, PF_WRITE);
	ck_assert_uint_eq(f->g.cr2, 0x40000000);
}
END_TEST

START_TEST(first_page_faults_first)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_LONG);

	fixture_write64(f, FIXTURE_PDPT, 0);
	fixture_write64(f, FIXTURE_PDPT + 8, 0);
	f->g.regs.rdi = 0x3fffffff;
	expect_exception(f, &ins_word, VECTOR_PF, PF_WRITE);
	ck_assert_uint_eq(f->g.cr2, 0x3fffffff);
}
END_TEST

START_TEST(limit_is_checked)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_PROTECTED32);
	struct pio io = {.bytes = 2, .string = true, .address_bytes = 4, .segment = DS, .length = 1};

	fixture_set(f, G_LIMIT + DS, 0xfff);
	fixture_set(f, G_LIMIT + SS, 0xfff);
	f->g.regs.rsi = 0xfff;
	expect_exception(f, &io, VECTOR_GP, 0);
	f->g.events.exception.valid = false;
	io.segment = SS;
	expect_exception(f, &io, VECTOR_SS, 0);
}
END_TEST

/* Also when the linear address that hardware gave is undefined, as it is then. */
START_TEST(unusable_segment_is_gp)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_PROTECTED32);
	const struct pio io = {.bytes = 2, .in = true, .string = true, .address_bytes = 4, .length = 1,
			       .has_linear = true, .linear = 0xdeadbeefdeadbeef};

	fixture_set(f, G_ACCESS + ES, AR_UNUSABLE);
	expect_exception(f, &io, VECTOR_GP, 0);
}
END_TEST

START_TEST(canonical_form_is_checked)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_LONG);

	f->g.regs.rdi = 0x7fffffffffff;
	expect_exception(f, &ins_word, VECTOR_GP, 0);
}
END_TEST

START_TEST(alignment_is_checked_at_cpl_3)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_LONG);

	f->g.regs.rsi = 0x1001;
	fixture_set(f, G_RFLAGS, RFLAGS_FIXED | RFLAGS_AC);
	fixture_set(f, G_CR0, f->hardware[G_CR0] | CR0_AM);
	ck_assert_int_eq(emul_port_io(&f->g, &outs_word), EMUL_EXIT);
	f->g.open = GUEST_OPEN_NONE;
	fixture_set_cpl(f, 3);
	expect_exception(f, &outs_word, VECTOR_AC, 0);
}
END_TEST

START_TEST(missing_page_table_is_a_nested_fault)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_LONG);

	fixture_write64(f, FIXTURE_PML4, 0x7000000 | PTE_P | PTE_RW | PTE_US);
	f->g.regs.rdi = 0x1000;
	ck_assert_int_eq(emul_port_io(&f->g, &ins_word), EMUL_EXIT);
	ck_assert_uint_eq(f->exit.kind, X86VCPU_EXIT_NESTED_PAGE_FAULT);
	ck_assert_uint_eq(f->exit.u.nested_page_fault.gpa, 0x7000000);
	ck_assert_uint_eq(f->exit.u.nested_page_fault.access, X86VCPU_ACCESS_READ);
	ck_assert_uint_eq(f->g.open, GUEST_OPEN_NONE);
}
END_TEST

/* ---- Committing --------------------------------------------------------------------------------------------- */

static struct x86vcpu_port_io_string open_element(struct guest_fixture *f, bool in, uint64_t count)
{
	struct pio io = in ? ins_word : outs_word;

	io.rep = true;
	f->g.regs.rsi = f->g.regs.rdi = 0x2000;
	f->g.regs.rcx = count;
	ck_assert_int_eq(emul_port_io(&f->g, &io), EMUL_EXIT);
	return f->exit.u.port_io_string;
}

START_TEST(commit_of_an_iteration_stays)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_LONG);
	struct x86vcpu_port_io_string done;

	fixture_set(f, G_BLOCKING, GUEST_BLOCKING_STI);
	done = open_element(f, true, 5);
	ck_assert_int_eq(emul_commit_string(&f->g, &done), X86VCPU_OK);
	fixture_next_exit(f);
	ck_assert_uint_eq(f->g.regs.rdi, 0x2002);
	ck_assert_uint_eq(f->g.regs.rsi, 0x2000);
	ck_assert_uint_eq(f->g.regs.rcx, 4);
	ck_assert_uint_eq(f->hardware[G_RIP], 0x7c00);
	ck_assert_uint_eq(f->hardware[G_BLOCKING], 0);
	ck_assert_uint_eq(f->hardware[G_RFLAGS], RFLAGS_FIXED | RFLAGS_RF);
	ck_assert_uint_eq(f->hardware[G_PENDING_DB], 0);
	ck_assert_uint_eq(f->g.open, GUEST_OPEN_NONE);
}
END_TEST

START_TEST(commit_of_the_last_ends_the_instruction)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_LONG);
	struct x86vcpu_port_io_string done;

	fixture_set(f, G_BLOCKING, GUEST_BLOCKING_MOV_SS);
	fixture_set(f, G_RFLAGS, RFLAGS_FIXED | RFLAGS_RF);
	done = open_element(f, false, 1);
	ck_assert_int_eq(emul_commit_string(&f->g, &done), X86VCPU_OK);
	fixture_next_exit(f);
	ck_assert_uint_eq(f->g.regs.rsi, 0x2002);
	ck_assert_uint_eq(f->g.regs.rdi, 0x2000);
	ck_assert_uint_eq(f->g.regs.rcx, 0);
	ck_assert_uint_eq(f->hardware[G_RIP], 0x7c02);
	ck_assert_uint_eq(f->hardware[G_BLOCKING], 0);
	ck_assert_uint_eq(f->hardware[G_RFLAGS], RFLAGS_FIXED);
}
END_TEST

/* The second element of two traps as well as the first. */
START_TEST(commit_traps_with_tf)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_LONG);
	struct x86vcpu_port_io_string done;

	fixture_set(f, G_RFLAGS, RFLAGS_FIXED | RFLAGS_TF);
	done = open_element(f, true, 2 - (uint64_t)_i);
	ck_assert_int_eq(emul_commit_string(&f->g, &done), X86VCPU_OK);
	fixture_next_exit(f);
	ck_assert_uint_eq(f->hardware[G_PENDING_DB], PENDING_DB_BS);
	ck_assert_uint_eq(f->hardware[G_RIP], _i ? 0x7c02 : 0x7c00);
}
END_TEST

START_TEST(commit_of_another_element_is_refused)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_LONG);
	const struct x86vcpu_port_io_string real = open_element(f, true, 5);
	struct x86vcpu_port_io_string done;

	for (size_t i = 0; i < sizeof(done); i++) {
		memcpy(&done, &real, sizeof(done));
		((uint8_t *)&done)[i] ^= 1;
		ck_assert_int_eq(emul_commit_string(&f->g, &done), X86VCPU_ERR_BAD_STATE);
	}
	ck_assert_uint_eq(f->g.regs.rdi, 0x2000);
	ck_assert_uint_eq(f->g.regs.rcx, 5);
	ck_assert_int_eq(emul_commit_string(&f->g, &real), X86VCPU_OK);
	ck_assert_int_eq(emul_commit_string(&f->g, &real), X86VCPU_ERR_BAD_STATE);
	ck_assert_uint_eq(f->g.regs.rcx, 4);
}
END_TEST

START_TEST(commit_with_nothing_open_is_refused)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_LONG);
	const struct x86vcpu_port_io_string done = {0};

	ck_assert_int_eq(emul_commit_string(&f->g, &done), X86VCPU_ERR_BAD_STATE);
	ck_assert_uint_eq(f->g.dirty, 0);
}
END_TEST

Suite *pio_suite(void)
{
	Suite *suite = suite_create("pio");
	TCase *port = tcase_create("port");
	TCase *operand = tcase_create("operand");
	TCase *fault = tcase_create("fault");
	TCase *commit = tcase_create("commit");

	tcase_add_loop_test(port, out_masks_its_data, 0, 4);
	tcase_add_test(port, in_is_open);
	tcase_add_loop_test(port, element_steps, 0, COUNT(step_rows));
	tcase_add_loop_test(port, rep_with_count_0_does_nothing, 0, COUNT(zero_rows));
	tcase_add_test(port, next_rip_wraps);
	tcase_add_loop_test(port, bad_description_is_refused, 0, 4);
	suite_add_tcase(suite, port);

	tcase_add_test(operand, segments_are_added);
	tcase_add_test(operand, linear_address_of_hardware_is_used);
	tcase_add_loop_test(operand, unknown_size_and_segment_are_decoded, 0, COUNT(decoded_rows));
	tcase_add_loop_test(operand, other_bytes_are_ud, 0, 3);
	tcase_add_test(operand, element_across_pages_has_two_addresses);
	suite_add_tcase(suite, operand);

	tcase_add_test(fault, user_may_not_reach_supervisor_pages);
	tcase_add_test(fault, read_only_page_faults_for_ins_alone);
	tcase_add_test(fault, second_page_may_fault);
	tcase_add_test(fault, first_page_faults_first);
	tcase_add_test(fault, limit_is_checked);
	tcase_add_test(fault, unusable_segment_is_gp);
	tcase_add_test(fault, canonical_form_is_checked);
	tcase_add_test(fault, alignment_is_checked_at_cpl_3);
	tcase_add_test(fault, missing_page_table_is_a_nested_fault);
	suite_add_tcase(suite, fault);

	tcase_add_test(commit, commit_of_an_iteration_stays);
	tcase_add_test(commit, commit_of_the_last_ends_the_instruction);
	tcase_add_loop_test(commit, commit_traps_with_tf, 0, 2);
	tcase_add_test(commit, commit_of_another_element_is_refused);
	tcase_add_test(commit, commit_with_nothing_open_is_refused);
	suite_add_tcase(suite, commit);
	return suite;
}
