/* SPDX-License-Identifier: Apache-2.0 */
/* Port I/O: IN, OUT, INS, OUTS. */
#include "guest.h"

static struct guest g;

static void expect_out(uint16_t port, unsigned width, uint64_t data)
{
	guest_run_until(&g, X86VCPU_EXIT_PORT_IO_WRITE);
	CHECK_EQ(g.exit.u.port_io.port, port);
	CHECK_EQ(g.exit.u.port_io.width, width);
	CHECK_EQ(g.exit.u.port_io.data, data);
}

static void expect_in(uint16_t port, unsigned width)
{
	guest_run_until(&g, X86VCPU_EXIT_PORT_IO_READ);
	CHECK_EQ(g.exit.u.port_io.port, port);
	CHECK_EQ(g.exit.u.port_io.width, width);
	CHECK_EQ(g.exit.u.port_io.data, 0);
}

GUEST_CODE_BLOB(out_code, 64,
	"mov $0x1234, %edx; movabs $0xffffffff11223344, %rax; outb %al, %dx; outw %ax, %dx; outl %eax, %dx;"
	"outb %al, $0x80; outl %eax, $0x84; mov $1, %eax; vmcall");

METAL_TEST(out_widths, "io.out_widths")
{
	guest_boot(&g, GUEST_LONG, &out_code);
	expect_out(0x1234, X86VCPU_WIDTH_BYTE, 0x44);
	expect_out(0x1234, X86VCPU_WIDTH_WORD, 0x3344);
	expect_out(0x1234, X86VCPU_WIDTH_DWORD, 0x11223344);
	expect_out(0x80, X86VCPU_WIDTH_BYTE, 0x44);
	expect_out(0x84, X86VCPU_WIDTH_DWORD, 0x11223344);
	guest_run_call(&g, 1);
}

GUEST_CODE_BLOB(in_code, 64,
	"mov $0xfff0, %edx; mov $-1, %rax; inb %dx, %al; mov %rax, %r8; mov $-1, %rax; inw %dx, %ax; mov %rax, %r9;"
	"mov $-1, %rax; inl %dx, %eax; mov %rax, %r10; mov $-1, %rax; inb $0x71, %al; mov %rax, %r11;"
	"mov $1, %eax; vmcall");

METAL_TEST(in_widths, "io.in_merges_by_width")
{
	guest_boot(&g, GUEST_LONG, &in_code);
	expect_in(0xfff0, X86VCPU_WIDTH_BYTE);
	CHECK_OK(x86vcpu_complete_read(g.vcpu, 0x1122334455667788));
	CHECK_STATUS(x86vcpu_complete_read(g.vcpu, 0), X86VCPU_ERR_BAD_STATE);
	expect_in(0xfff0, X86VCPU_WIDTH_WORD);
	CHECK_OK(x86vcpu_complete_read(g.vcpu, 0x1122334455667788));
	expect_in(0xfff0, X86VCPU_WIDTH_DWORD);
	CHECK_OK(x86vcpu_complete_read(g.vcpu, 0x1122334455667788));
	expect_in(0x71, X86VCPU_WIDTH_BYTE);
	CHECK_OK(x86vcpu_complete_read(g.vcpu, 0));
	guest_run_call(&g, 1);
	CHECK_EQ(guest_reg(&g, R8), 0xffffffffffffff88);
	CHECK_EQ(guest_reg(&g, R9), 0xffffffffffff7788);
	CHECK_EQ(guest_reg(&g, R10), 0x55667788);
	CHECK_EQ(guest_reg(&g, R11), 0xffffffffffffff00);
}

METAL_TEST(in_by_set_gpr, "io.in_answered_with_set_gpr")
{
	guest_boot(&g, GUEST_LONG, &in_code);
	expect_in(0xfff0, X86VCPU_WIDTH_BYTE);
	guest_set_reg(&g, RAX, 0x1122334455667788);
	guest_run_until(&g, X86VCPU_EXIT_PORT_IO_READ);
	CHECK_EQ(guest_reg(&g, R8), 0xffffffffffffff88);
}

METAL_TEST(in_unanswered, "io.in_without_an_answer")
{
	guest_boot(&g, GUEST_LONG, &in_code);
	expect_in(0xfff0, X86VCPU_WIDTH_BYTE);
	expect_in(0xfff0, X86VCPU_WIDTH_WORD);
	CHECK_EQ(guest_reg(&g, R8), UINT64_MAX);
}

GUEST_CODE_BLOB(last_port_code, 64,
	"mov $0xffff, %edx; mov $0x55aa, %eax; outw %ax, %dx; inl %dx, %eax; mov $0xfffe, %edx; outw %ax, %dx; vmcall");

METAL_TEST(last_port, "io.word_at_port_0xffff")
{
	guest_boot(&g, GUEST_LONG, &last_port_code);
	expect_out(0xffff, X86VCPU_WIDTH_WORD, 0x55aa);
	expect_in(0xffff, X86VCPU_WIDTH_DWORD);
	CHECK_OK(x86vcpu_complete_read(g.vcpu, 0x1234));
	expect_out(0xfffe, X86VCPU_WIDTH_WORD, 0x1234);
}

GUEST_CODE_BLOB(through_code, 64,
	"outb %al, $0x80; outw %ax, $0x82; outb %al, $0x84; outw %ax, $0x83; mov $1, %eax; vmcall");

METAL_TEST(passthrough, "io.passthrough_ports_do_not_exit")
{
	const struct x86vcpu_port_range through = { .base = 0x80, .length = 4 };

	guest_init(&g, 0);
	g.config.passthrough_ports = &through;
	g.config.passthrough_port_count = 1;
	guest_start(&g, GUEST_LONG, &through_code);
	expect_out(0x84, X86VCPU_WIDTH_BYTE, 0);
	expect_out(0x83, X86VCPU_WIDTH_WORD, 0); /* its second byte is not the guest's */
	guest_run_call(&g, 1);
}

GUEST_CODE_BLOB(user_out_code, 64, "outb %al, $0x80; ud2");

METAL_TEST(user_out, "io.user_mode_without_permission_is_gp")
{
	guest_init(&g, 0);
	guest_start_user(&g, GUEST_LONG, &user_out_code);
	guest_run_trap(&g, 13, 0, GUEST_CODE);
}

/* ---- Strings ------------------------------------------------------------------------------------------- */

/* The next element, moved between the port and memory; a port reads as 0x80 + its count. */
static const struct x86vcpu_port_io_string *string_element(bool in, uint8_t width)
{
	static struct x86vcpu_port_io_string s;

	guest_run_until(&g, X86VCPU_EXIT_PORT_IO_STRING);
	s = g.exit.u.port_io_string;
	CHECK_EQ(s.port, 0x60);
	CHECK_EQ(s.width, width);
	CHECK_EQ(s.direction, in ? X86VCPU_DIRECTION_IN : X86VCPU_DIRECTION_OUT);
	return &s;
}

static void commit(const struct x86vcpu_port_io_string *s)
{
	CHECK_OK(x86vcpu_complete_port_io_string(g.vcpu, s));
}

GUEST_CODE_BLOB(rep_outsb_code, 64,
	"mov $0x60, %edx; mov $0x12010, %esi; mov $3, %ecx; rep outsb; mov $1, %eax; vmcall");

METAL_TEST(rep_outsb, "io.rep_outsb_64bit")
{
	const struct x86vcpu_port_io_string *s;

	guest_boot(&g, GUEST_LONG, &rep_outsb_code);
	for (unsigned i = 0; i < 3; i++) {
		s = string_element(false, X86VCPU_WIDTH_BYTE);
		CHECK_EQ(s->gpa, 0x12010 + i);
		CHECK_EQ(s->gpa2, 0);
		CHECK_EQ(s->has_count, 1);
		CHECK_EQ(s->updated_index, 0x12011 + i);
		CHECK_EQ(s->updated_count, 2 - i);
		CHECK_EQ(s->instruction_complete, i == 2);
		CHECK_EQ(s->next_rip, GUEST_CODE + 17);
		CHECK_EQ(guest_rip(&g), GUEST_CODE + 15);
		commit(s);
	}
	CHECK_EQ(guest_rip(&g), GUEST_CODE + 17);
	guest_run_call(&g, 1);
	CHECK_EQ(guest_reg(&g, RSI), 0x12013);
	CHECK_EQ(guest_reg(&g, RCX), 0);
}

METAL_TEST(string_uncommitted, "io.element_without_commit_comes_again")
{
	const struct x86vcpu_port_io_string *s;
	struct x86vcpu_port_io_string wrong;

	guest_boot(&g, GUEST_LONG, &rep_outsb_code);
	string_element(false, X86VCPU_WIDTH_BYTE);
	s = string_element(false, X86VCPU_WIDTH_BYTE);
	CHECK_EQ(s->gpa, 0x12010);
	wrong = *s;
	wrong.updated_index += 8;
	CHECK_STATUS(x86vcpu_complete_port_io_string(g.vcpu, &wrong), X86VCPU_ERR_BAD_STATE);
	commit(s);
	CHECK_STATUS(x86vcpu_complete_port_io_string(g.vcpu, s), X86VCPU_ERR_BAD_STATE);
	CHECK_EQ(guest_reg(&g, RSI), 0x12011);
}

GUEST_CODE_BLOB(insw_code, 64,
	"mov $0x60, %edx; mov $0x12020, %edi; insw; std; mov $2, %ecx; rep insl; mov $1, %eax; vmcall");

METAL_TEST(insw, "io.ins_and_the_direction_flag")
{
	const struct x86vcpu_port_io_string *s;

	guest_boot(&g, GUEST_LONG, &insw_code);
	s = string_element(true, X86VCPU_WIDTH_WORD);
	CHECK_EQ(s->gpa, 0x12020);
	CHECK_EQ(s->has_count, 0);
	CHECK_EQ(s->instruction_complete, 1);
	guest_store(&g, s->gpa, 2, 0xabcd);
	commit(s);
	s = string_element(true, X86VCPU_WIDTH_DWORD);
	CHECK_EQ(s->gpa, 0x12022);
	CHECK_EQ(s->updated_index, 0x1201e);
	commit(s);
	s = string_element(true, X86VCPU_WIDTH_DWORD);
	CHECK_EQ(s->gpa, 0x1201e);
	commit(s);
	guest_run_call(&g, 1);
	CHECK_EQ(guest_reg(&g, RDI), 0x1201a);
}

GUEST_CODE_BLOB(rep_zero_code, 64,
	"mov $0x60, %edx; mov $0x12010, %esi; xor %ecx, %ecx; rep outsb; mov $1, %eax; vmcall");

METAL_TEST(rep_zero, "io.rep_with_count_zero")
{
	guest_boot(&g, GUEST_LONG, &rep_zero_code);
	guest_run_call(&g, 1);
	CHECK_EQ(guest_reg(&g, RSI), 0x12010);
}

GUEST_CODE_BLOB(addr32_code, 64,
	"mov $0x60, %edx; movabs $0x7700012010, %rsi; movabs $0x8800000002, %rcx; .byte 0xf3, 0x67, 0x6e;"
	"mov $1, %eax; vmcall");

METAL_TEST(addr32, "io.32bit_addresses_in_64bit_mode")
{
	guest_boot(&g, GUEST_LONG, &addr32_code);
	commit(string_element(false, X86VCPU_WIDTH_BYTE));
	commit(string_element(false, X86VCPU_WIDTH_BYTE));
	guest_run_call(&g, 1);
	CHECK_EQ(guest_reg(&g, RSI), 0x12012);
	CHECK_EQ(guest_reg(&g, RCX), 0);
}

GUEST_CODE_BLOB(fs_code, 64,
	"mov $0xc0000100, %ecx; mov $0x1000, %eax; xor %edx, %edx; wrmsr; mov $0x60, %edx; mov $0x12010, %esi;"
	".byte 0x64, 0x6e; mov $1, %eax; vmcall");

METAL_TEST(segment_override, "io.outs_with_an_fs_override")
{
	const struct x86vcpu_port_io_string *s;

	guest_boot(&g, GUEST_LONG, &fs_code);
	s = string_element(false, X86VCPU_WIDTH_BYTE);
	CHECK_EQ(s->gpa, 0x13010);
	commit(s);
	guest_run_call(&g, 1);
}

GUEST_CODE_BLOB(real_outs_code, 16,
	"movw $0x1200, %ax; movw %ax, %ds; movw $0xffff, %si; movl $0xaaaa0002, %ecx; movw $0x60, %dx;"
	"rep outsb; movl $1, %eax; vmcall");

METAL_TEST(real_outs, "io.outs_in_real_mode_wraps_at_64k")
{
	const struct x86vcpu_port_io_string *s;

	guest_boot(&g, GUEST_REAL, &real_outs_code);
	s = string_element(false, X86VCPU_WIDTH_BYTE);
	CHECK_EQ(s->gpa, 0x12000 + 0xffff);
	CHECK_EQ(s->updated_index & 0xffff, 0);
	commit(s);
	s = string_element(false, X86VCPU_WIDTH_BYTE);
	CHECK_EQ(s->gpa, 0x12000);
	commit(s);
	guest_run_call(&g, 1);
	CHECK_EQ(guest_reg(&g, RSI) & 0xffff, 1);
	CHECK_EQ(guest_reg(&g, RCX), 0xaaaa0000);
}

GUEST_CODE_BLOB(real_ins_code, 16,
	"movw $0x1200, %ax; movw %ax, %es; movl $0x55550010, %edi; movw $0x60, %dx; insw;"
	"movl $0x20, %edi; .byte 0x67, 0x6c; movl $1, %eax; vmcall");

METAL_TEST(real_ins, "io.ins_in_real_mode")
{
	const struct x86vcpu_port_io_string *s;

	guest_boot(&g, GUEST_REAL, &real_ins_code);
	s = string_element(true, X86VCPU_WIDTH_WORD);
	CHECK_EQ(s->gpa, 0x12010);
	commit(s);
	CHECK_EQ(guest_reg(&g, RDI), 0x55550012);
	s = string_element(true, X86VCPU_WIDTH_BYTE);
	CHECK_EQ(s->gpa, 0x12020);
	commit(s);
	guest_run_call(&g, 1);
}

GUEST_CODE_BLOB(outs32_code, 32,
	"mov $0x60, %edx; mov $0x12010, %esi; mov $2, %ecx; rep outsl; mov $0xffff2010, %esi; .byte 0x67, 0x6e;"
	"mov $1, %eax; vmcall");

static void outs_in_32bit_mode(enum guest_mode mode)
{
	const struct x86vcpu_port_io_string *s;

	guest_boot(&g, mode, &outs32_code);
	s = string_element(false, X86VCPU_WIDTH_DWORD);
	CHECK_EQ(s->gpa, 0x12010);
	commit(s);
	s = string_element(false, X86VCPU_WIDTH_DWORD);
	CHECK_EQ(s->gpa, 0x12014);
	commit(s);
	s = string_element(false, X86VCPU_WIDTH_BYTE);
	CHECK_EQ(s->gpa, 0x2010);
	commit(s);
	guest_run_call(&g, 1);
	CHECK_EQ(guest_reg(&g, RSI), 0xffff2011);
}

METAL_TEST(outs_protected, "io.outs_32bit_without_paging") { outs_in_32bit_mode(GUEST_PROTECTED); }
METAL_TEST(outs_paging32, "io.outs_32bit_with_paging") { outs_in_32bit_mode(GUEST_PAGING32); }
METAL_TEST(outs_pae, "io.outs_pae") { outs_in_32bit_mode(GUEST_PAE); }

GUEST_CODE_BLOB(crossing_code, 64, "mov $0x60, %edx; mov $0x12ffe, %esi; outsl; mov $1, %eax; vmcall");

METAL_TEST(crossing, "io.element_across_two_pages")
{
	const struct x86vcpu_port_io_string *s;

	guest_boot(&g, GUEST_LONG, &crossing_code);
	guest_set_pte(&g, 0x13000, 0x15000 | PTE_P | PTE_W);
	s = string_element(false, X86VCPU_WIDTH_DWORD);
	CHECK_EQ(s->gpa, 0x12ffe);
	CHECK_EQ(s->gpa2, 0x15000);
	commit(s);
	guest_run_call(&g, 1);
}

GUEST_CODE_BLOB(missing_code, 64, "mov $0x60, %edx; mov $0x12fff, %esi; mov $2, %ecx; rep outsb; mov $1, %eax; vmcall");

METAL_TEST(missing_page, "io.page_fault_in_the_middle_of_rep")
{
	const struct guest_trap *trap;
	const struct x86vcpu_port_io_string *s;

	guest_boot(&g, GUEST_LONG, &missing_code);
	guest_set_pte(&g, 0x13000, 0);
	commit(string_element(false, X86VCPU_WIDTH_BYTE));
	trap = guest_run_trap(&g, 14, 0, GUEST_CODE + 15);
	CHECK_EQ(trap->cr2, 0x13000);
	CHECK_EQ(guest_reg(&g, RSI), 0x13000);
	CHECK_EQ(guest_reg(&g, RCX), 1);
	guest_set_pte(&g, 0x13000, 0x13000 | PTE_P);
	s = string_element(false, X86VCPU_WIDTH_BYTE);
	CHECK_EQ(s->gpa, 0x13000);
	CHECK_EQ(s->instruction_complete, 1);
	commit(s);
	guest_run_call(&g, 1);
}

GUEST_CODE_BLOB(marking_code, 64,
	"movl $0x12345678, 0x14000; mov $0x13ffe, %edi; mov $0x60, %edx; insw; mov $0x15fff, %edi; insw; mov $2, %eax; vmcall");

/* The guest's own store shows what the CPU does (SDM 4.8). */
METAL_TEST(ins_marks, "io.ins_marks_the_page_accessed_and_dirty")
{
	const uint64_t both = 0x60;

	guest_boot(&g, GUEST_LONG, &marking_code);
	commit(string_element(true, X86VCPU_WIDTH_WORD));
	guest_set_pte(&g, 0x16000, 0);
	guest_run_trap(&g, 14, 2, 0);
	CHECK_EQ(guest_load(&g, GUEST_PT + 0x14 * 8, 8) & both, both);
	CHECK_EQ(guest_load(&g, GUEST_PT + 0x13 * 8, 8) & both, both);
	CHECK_EQ(guest_load(&g, GUEST_PT + 0x15 * 8, 8) & both, 0);
	guest_set_pte(&g, 0x16000, 0x16000 | PTE_P | PTE_W);
	commit(string_element(true, X86VCPU_WIDTH_WORD));
	guest_run_call(&g, 2);
	CHECK_EQ(guest_load(&g, GUEST_PT + 0x15 * 8, 8) & both, both);
	CHECK_EQ(guest_load(&g, GUEST_PT + 0x16 * 8, 8) & both, both);
}

GUEST_CODE_BLOB(user_ins_code, 64, "mov $0x60, %edx; mov $0x13000, %edi; insb; ud2");

static void start_user_ins(uint64_t pte)
{
	guest_init(&g, 0);
	guest_start_user(&g, GUEST_LONG, &user_ins_code);
	guest_set_rflags(&g, 0x3002); /* IOPL 3 */
	guest_set_pte(&g, 0x13000, pte);
}

METAL_TEST(user_ins_supervisor, "io.user_ins_to_a_supervisor_page_is_pf")
{
	start_user_ins(0x13000 | PTE_P | PTE_W);
	CHECK_EQ(guest_run_trap(&g, 14, 7, GUEST_CODE + 10)->cr2, 0x13000);
}

METAL_TEST(user_ins_readonly, "io.user_ins_to_a_read_only_page_is_pf")
{
	start_user_ins(0x13000 | PTE_P | PTE_U);
	CHECK_EQ(guest_run_trap(&g, 14, 7, GUEST_CODE + 10)->cr2, 0x13000);
}

METAL_TEST(user_ins_allowed, "io.user_ins_with_iopl_3")
{
	start_user_ins(0x13000 | PTE_P | PTE_W | PTE_U);
	commit(string_element(true, X86VCPU_WIDTH_BYTE));
}

GUEST_CODE_BLOB(limit_code, 32, "mov $0x60, %edx; mov $0x20000, %esi; outsb; hlt");

METAL_TEST(segment_limit, "io.outs_beyond_the_segment_limit_is_gp")
{
	struct x86vcpu_state state;

	guest_boot(&g, GUEST_PROTECTED, &limit_code);
	guest_state(&g, &state);
	state.segments[X86VCPU_SEGMENT_DS].limit = 0x1ffff;
	state.segments[X86VCPU_SEGMENT_DS].access_rights = 0x4093;
	CHECK_OK(x86vcpu_set_state(g.vcpu, X86VCPU_STATE_SEGMENTS, &state));
	guest_run_trap(&g, 13, 0, GUEST_CODE + 10);
}
