/* SPDX-License-Identifier: Apache-2.0 */
/* Device memory: which access comes out, and what an answer does to the destination register. */
#include "guest.h"

#define LOW_MMIO 0x14000u /* reachable in real mode */
#define ANSWER UINT64_C(0xf1f2f3f4f5f6f7f8)

static struct guest g;

/*
 * Every row runs alone: RAX to R15 hold PATTERN(n), except RBX = GUEST_MMIO, RCX = 0x10 and RSP, which is
 * the stack. The instruction, then VMCALL with what RAX holds.
 */
#define PATTERN(n) (UINT64_C(0x1111111111111111) * ((n) + 1) ^ UINT64_C(0x8070605040302010))

struct read_row {
	const struct guest_code *code;
	uint64_t gpa;
	uint8_t width, reg, reg_width, sign_extend, has_byte_reg, high;
	uint64_t expected; /* value of register `reg` afterwards */
};

static void set_registers(void)
{
	for (unsigned i = 0; i < 16; i++)
		if (i != RSP)
			guest_set_reg(&g, i, PATTERN(i));
	guest_set_reg(&g, RBX, GUEST_MMIO);
	guest_set_reg(&g, RCX, 0x10);
}

static void expect_read(const struct read_row *row)
{
	const struct x86vcpu_mmio *m = &g.exit.u.mmio;

	guest_run_until(&g, X86VCPU_EXIT_MMIO_READ);
	CHECK_EQ(m->gpa, row->gpa);
	CHECK_EQ(m->data, 0);
	CHECK_EQ(m->width, row->width);
	CHECK_EQ(m->reg, row->reg);
	CHECK_EQ(m->reg_width, row->reg_width);
	CHECK_EQ(m->sign_extend, row->sign_extend);
	CHECK_EQ(m->has_byte_reg, row->has_byte_reg);
	CHECK_EQ(m->byte_reg_high, row->high);
	CHECK_OK(x86vcpu_complete_read(g.vcpu, ANSWER));
	CHECK_STATUS(x86vcpu_complete_read(g.vcpu, ANSWER), X86VCPU_ERR_BAD_STATE);
	guest_run_until(&g, X86VCPU_EXIT_HYPERCALL);
	CHECK_EQ(guest_reg(&g, row->reg), row->expected);
	CHECK_EQ(guest_record(&g)->count, 0);
}

#define B X86VCPU_WIDTH_BYTE
#define W X86VCPU_WIDTH_WORD
#define D X86VCPU_WIDTH_DWORD
#define Q X86VCPU_WIDTH_QWORD

GUEST_CODE_BLOB(r_al, 64, "mov (%rbx), %al; vmcall");
GUEST_CODE_BLOB(r_ah, 64, "mov (%rbx), %ah; vmcall");
GUEST_CODE_BLOB(r_ax, 64, "mov (%rbx), %ax; vmcall");
GUEST_CODE_BLOB(r_eax, 64, "mov (%rbx), %eax; vmcall");
GUEST_CODE_BLOB(r_rax, 64, "mov (%rbx), %rax; vmcall");
GUEST_CODE_BLOB(r_r9b, 64, "mov (%rbx), %r9b; vmcall");
GUEST_CODE_BLOB(r_sil, 64, "mov 1(%rbx), %sil; vmcall");
GUEST_CODE_BLOB(r_dh, 64, "mov (%rbx), %dh; vmcall");
GUEST_CODE_BLOB(r_r12d, 64, "mov 0xffc(%rbx), %r12d; vmcall");
GUEST_CODE_BLOB(r_esp, 64, "mov (%rbx), %esp; vmcall");
GUEST_CODE_BLOB(r_rsp, 64, "mov (%rbx), %rsp; vmcall");
GUEST_CODE_BLOB(r_sib, 64, "mov 4(%rbx,%rcx,2), %edx; vmcall");
GUEST_CODE_BLOB(r_moffs, 64, "movabs 0x800018, %eax; vmcall");
GUEST_CODE_BLOB(r_disp32, 64, "mov 0x800020, %edi; vmcall");
GUEST_CODE_BLOB(r_rip, 64, ".byte 0x8b, 0x3d; .long 0x800030 - 0x8006; vmcall");
GUEST_CODE_BLOB(r_rip_rexb, 64, ".byte 0x41, 0x8b, 0x3d; .long 0x800030 - 0x8007; vmcall");
GUEST_CODE_BLOB(r_addr32, 64, "mov (%ebx), %edi; vmcall");
GUEST_CODE_BLOB(r_zbl, 64, "movzbl (%rbx), %edx; vmcall");
GUEST_CODE_BLOB(r_zbw, 64, "movzbw (%rbx), %dx; vmcall");
GUEST_CODE_BLOB(r_zwl, 64, "movzwl (%rbx), %edx; vmcall");
GUEST_CODE_BLOB(r_zwq, 64, "movzwq (%rbx), %r8; vmcall");
GUEST_CODE_BLOB(r_sbl, 64, "movsbl (%rbx), %edx; vmcall");
GUEST_CODE_BLOB(r_swq, 64, "movswq (%rbx), %rdx; vmcall");
GUEST_CODE_BLOB(r_slq, 64, "movslq (%rbx), %rdx; vmcall");

static const struct read_row reads_plain[] = {
	{ &r_al, 0x800000, B, RAX, B, 0, 1, 0, (PATTERN(RAX) & ~UINT64_C(0xff)) | 0xf8 },
	{ &r_ah, 0x800000, B, RAX, B, 0, 1, 1, (PATTERN(RAX) & ~UINT64_C(0xff00)) | 0xf800 },
	{ &r_ax, 0x800000, W, RAX, W, 0, 0, 0, (PATTERN(RAX) & ~UINT64_C(0xffff)) | 0xf7f8 },
	{ &r_eax, 0x800000, D, RAX, D, 0, 0, 0, 0xf5f6f7f8 },
	{ &r_rax, 0x800000, Q, RAX, Q, 0, 0, 0, ANSWER },
	{ &r_r12d, 0x800ffc, D, R12, D, 0, 0, 0, 0xf5f6f7f8 },
};

static const struct read_row reads_byte[] = {
	{ &r_r9b, 0x800000, B, R9, B, 0, 1, 0, (PATTERN(R9) & ~UINT64_C(0xff)) | 0xf8 },
	{ &r_sil, 0x800001, B, RSI, B, 0, 1, 0, (PATTERN(RSI) & ~UINT64_C(0xff)) | 0xf8 },
	{ &r_dh, 0x800000, B, RDX, B, 0, 1, 1, (PATTERN(RDX) & ~UINT64_C(0xff00)) | 0xf800 },
};

static const struct read_row reads_rsp[] = {
	{ &r_esp, 0x800000, D, RSP, D, 0, 0, 0, 0xf5f6f7f8 },
	{ &r_rsp, 0x800000, Q, RSP, Q, 0, 0, 0, ANSWER },
};

static const struct read_row reads_address[] = {
	{ &r_sib, 0x800024, D, RDX, D, 0, 0, 0, 0xf5f6f7f8 },
	{ &r_moffs, 0x800018, D, RAX, D, 0, 0, 0, 0xf5f6f7f8 },
	{ &r_disp32, 0x800020, D, RDI, D, 0, 0, 0, 0xf5f6f7f8 },
	{ &r_rip, 0x800030, D, RDI, D, 0, 0, 0, 0xf5f6f7f8 },
	{ &r_rip_rexb, 0x800030, D, RDI, D, 0, 0, 0, 0xf5f6f7f8 },
	{ &r_addr32, 0x800000, D, RDI, D, 0, 0, 0, 0xf5f6f7f8 },
};

static const struct read_row reads_extend[] = {
	{ &r_zbl, 0x800000, B, RDX, D, 0, 0, 0, 0xf8 },
	{ &r_zbw, 0x800000, B, RDX, W, 0, 0, 0, (PATTERN(RDX) & ~UINT64_C(0xffff)) | 0xf8 },
	{ &r_zwl, 0x800000, W, RDX, D, 0, 0, 0, 0xf7f8 },
	{ &r_zwq, 0x800000, W, R8, Q, 0, 0, 0, 0xf7f8 },
	{ &r_sbl, 0x800000, B, RDX, D, 1, 0, 0, 0xfffffff8 },
	{ &r_swq, 0x800000, W, RDX, Q, 1, 0, 0, 0xfffffffffffff7f8 },
	{ &r_slq, 0x800000, D, RDX, Q, 1, 0, 0, 0xfffffffff5f6f7f8 },
};

static void run_reads(const struct read_row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		console_printf("row %lu\n", i);
		guest_boot(&g, GUEST_LONG, rows[i].code);
		set_registers();
		expect_read(&rows[i]);
		guest_destroy(&g);
	}
}

#define RUN_READS(rows) run_reads(rows, sizeof(rows) / sizeof((rows)[0]))

METAL_TEST(read_plain, "mmio.read_widths") { RUN_READS(reads_plain); }
METAL_TEST(read_byte, "mmio.read_to_byte_registers") { RUN_READS(reads_byte); }
METAL_TEST(read_rsp, "mmio.read_to_rsp") { RUN_READS(reads_rsp); }
METAL_TEST(read_address, "mmio.read_addressing_forms") { RUN_READS(reads_address); }
METAL_TEST(read_extend, "mmio.read_with_extension") { RUN_READS(reads_extend); }

/* ---- Writes -------------------------------------------------------------------------------------------- */

struct write_row {
	const struct guest_code *code;
	uint64_t gpa;
	uint8_t width;
	uint64_t data;
};

GUEST_CODE_BLOB(w_al, 64, "mov %al, (%rbx); vmcall");
GUEST_CODE_BLOB(w_ah, 64, "mov %ah, (%rbx); vmcall");
GUEST_CODE_BLOB(w_dil, 64, "mov %dil, (%rbx); vmcall");
GUEST_CODE_BLOB(w_ax, 64, "mov %ax, 2(%rbx); vmcall");
GUEST_CODE_BLOB(w_eax, 64, "mov %eax, (%rbx); vmcall");
GUEST_CODE_BLOB(w_r9, 64, "mov %r9, 8(%rbx); vmcall");
GUEST_CODE_BLOB(w_esp, 64, "mov %esp, (%rbx); vmcall");
GUEST_CODE_BLOB(w_rsp, 64, "mov %rsp, 0x10(%rbx); vmcall");
GUEST_CODE_BLOB(w_imm8, 64, "movb $0x85, (%rbx); vmcall");
GUEST_CODE_BLOB(w_imm16, 64, "movw $0x8765, (%rbx); vmcall");
GUEST_CODE_BLOB(w_imm32, 64, "movl $0x87654321, (%rbx); vmcall");
GUEST_CODE_BLOB(w_imm64, 64, "movq $-2, (%rbx); vmcall");
GUEST_CODE_BLOB(w_rip_imm, 64, ".byte 0xc7, 0x05; .long 0x800030 - 0x800a; .long 0x12345678; vmcall");
GUEST_CODE_BLOB(w_moffs, 64, "movabs %eax, 0x800040; vmcall");

static const struct write_row writes_register[] = {
	{ &w_al, 0x800000, B, PATTERN(RAX) & 0xff },
	{ &w_ah, 0x800000, B, PATTERN(RAX) >> 8 & 0xff },
	{ &w_dil, 0x800000, B, PATTERN(RDI) & 0xff },
	{ &w_ax, 0x800002, W, PATTERN(RAX) & 0xffff },
	{ &w_eax, 0x800000, D, PATTERN(RAX) & 0xffffffff },
	{ &w_r9, 0x800008, Q, PATTERN(R9) },
	{ &w_moffs, 0x800040, D, PATTERN(RAX) & 0xffffffff },
};

static const struct write_row writes_rsp[] = {
	{ &w_esp, 0x800000, D, GUEST_STACK },
	{ &w_rsp, 0x800010, Q, GUEST_STACK },
};

static const struct write_row writes_immediate[] = {
	{ &w_imm8, 0x800000, B, 0x85 },
	{ &w_imm16, 0x800000, W, 0x8765 },
	{ &w_imm32, 0x800000, D, 0x87654321 },
	{ &w_imm64, 0x800000, Q, 0xfffffffffffffffe },
	{ &w_rip_imm, 0x800030, D, 0x12345678 },
};

static void expect_write(uint64_t gpa, uint8_t width, uint64_t data)
{
	guest_run_until(&g, X86VCPU_EXIT_MMIO_WRITE);
	CHECK_EQ(g.exit.u.mmio.gpa, gpa);
	CHECK_EQ(g.exit.u.mmio.width, width);
	CHECK_EQ(g.exit.u.mmio.data, data);
}

static void run_writes(const struct write_row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		console_printf("row %lu\n", i);
		guest_boot(&g, GUEST_LONG, rows[i].code);
		set_registers();
		expect_write(rows[i].gpa, rows[i].width, rows[i].data);
		guest_run_until(&g, X86VCPU_EXIT_HYPERCALL);
		CHECK_EQ(guest_record(&g)->count, 0);
		guest_destroy(&g);
	}
}

#define RUN_WRITES(rows) run_writes(rows, sizeof(rows) / sizeof((rows)[0]))

METAL_TEST(write_register, "mmio.write_registers") { RUN_WRITES(writes_register); }
METAL_TEST(write_rsp, "mmio.write_rsp") { RUN_WRITES(writes_rsp); }
METAL_TEST(write_immediate, "mmio.write_immediates") { RUN_WRITES(writes_immediate); }

/* ---- Other modes --------------------------------------------------------------------------------------- */

static void boot_low(const struct guest_code *code)
{
	guest_init(&g, 0);
	g.mmio[0] = (struct x86vcpu_mmio_range){ .base = LOW_MMIO, .size = 0x1000 };
	guest_start(&g, GUEST_REAL, code);
	guest_unmap(&g, LOW_MMIO);
}

GUEST_CODE_BLOB(real_code, 16,
	"movw $0x1400, %ax; movw %ax, %ds; movw %ax, %es; movw $0xf0, %bx; movw $2, %si; movw $4, %di; movw $0x1000, %bp;"
	"movl $0xaabbccdd, %eax; movw %ax, 6(%bx); movl %eax, (%bx,%si); movb %ah, 0xf4; movw %bx, 0xf4;"
	"movw $0x1234, %ds:-0xf00(%bp,%di); movl %es:(%di), %edx; movl %edx, %edi; movl $1, %eax; vmcall");

METAL_TEST(real_mmio, "mmio.16bit_addressing")
{
	boot_low(&real_code);
	expect_write(LOW_MMIO + 0xf6, W, 0xccdd);
	expect_write(LOW_MMIO + 0xf2, D, 0xaabbccdd);
	expect_write(LOW_MMIO + 0xf4, B, 0xcc);
	expect_write(LOW_MMIO + 0xf4, W, 0xf0);
	expect_write(LOW_MMIO + 0x104, W, 0x1234);
	guest_run_until(&g, X86VCPU_EXIT_MMIO_READ);
	CHECK_EQ(g.exit.u.mmio.gpa, LOW_MMIO + 4);
	CHECK_OK(x86vcpu_complete_read(g.vcpu, ANSWER));
	guest_run_call(&g, 1);
	CHECK_EQ(g.exit.u.hypercall.args[0], 0xf5f6f7f8);
}

GUEST_CODE_BLOB(code32, 32,
	"mov $0x800000, %ebx; mov $0x11223344, %eax; mov %eax, (%ebx); mov 4(%ebx), %ecx; mov %ah, 8(%ebx);"
	"movw $0x5566, 0x800010; mov %ecx, %edi; mov $1, %eax; vmcall");

static void run_in_32bit_mode(enum guest_mode mode)
{
	guest_boot(&g, mode, &code32);
	expect_write(0x800000, D, 0x11223344);
	guest_run_until(&g, X86VCPU_EXIT_MMIO_READ);
	CHECK_EQ(g.exit.u.mmio.gpa, 0x800004);
	CHECK_EQ(g.exit.u.mmio.reg, RCX);
	CHECK_OK(x86vcpu_complete_read(g.vcpu, ANSWER));
	expect_write(0x800008, B, 0x33);
	expect_write(0x800010, W, 0x5566);
	guest_run_call(&g, 1);
	CHECK_EQ(g.exit.u.hypercall.args[0], 0xf5f6f7f8);
}

METAL_TEST(protected_mmio, "mmio.32bit_without_paging") { run_in_32bit_mode(GUEST_PROTECTED); }
METAL_TEST(paging32_mmio, "mmio.32bit_with_paging") { run_in_32bit_mode(GUEST_PAGING32); }
METAL_TEST(pae_mmio, "mmio.pae") { run_in_32bit_mode(GUEST_PAE); }

GUEST_CODE_BLOB(remapped_code, 64, "mov $0x13008, %ebx; mov %ecx, (%rbx); mov $1, %eax; vmcall");

METAL_TEST(remapped, "mmio.through_the_guests_page_tables")
{
	guest_boot(&g, GUEST_LONG, &remapped_code);
	guest_set_pte(&g, 0x13000, GUEST_MMIO | PTE_P | PTE_W);
	guest_set_reg(&g, RCX, 0xabcd);
	expect_write(GUEST_MMIO + 8, D, 0xabcd);
	guest_run_call(&g, 1);
}

GUEST_CODE_BLOB(user_code, 64, "mov $0x800000, %ebx; mov %ecx, (%rbx); mov (%rbx), %edx; 1: jmp 1b");

METAL_TEST(user_mmio, "mmio.from_user_mode")
{
	guest_init(&g, 0);
	guest_start_user(&g, GUEST_LONG, &user_code);
	guest_set_reg(&g, RCX, 0x42);
	expect_write(GUEST_MMIO, D, 0x42);
	guest_run_until(&g, X86VCPU_EXIT_MMIO_READ);
	CHECK_OK(x86vcpu_complete_read(g.vcpu, 5));
	CHECK_EQ(guest_reg(&g, RDX), 5);
}

METAL_TEST(read_unanswered, "mmio.read_without_an_answer")
{
	guest_boot(&g, GUEST_LONG, &r_eax);
	set_registers();
	guest_run_until(&g, X86VCPU_EXIT_MMIO_READ);
	guest_run_until(&g, X86VCPU_EXIT_HYPERCALL);
	CHECK_EQ(guest_reg(&g, RAX), PATTERN(RAX));
}

/* What is not emulated comes out with its bytes and nothing changed, and the VMM can execute and skip it. */
GUEST_CODE_BLOB(unknown_code, 64, "fxsave (%rbx); mov $1, %eax; vmcall");

METAL_TEST(unknown, "mmio.instruction_that_is_not_emulated")
{
	guest_boot(&g, GUEST_LONG, &unknown_code);
	set_registers();
	guest_run_until(&g, X86VCPU_EXIT_UNKNOWN_INSTRUCTION);
	CHECK_EQ(g.exit.u.instruction.gpa, GUEST_MMIO);
	CHECK_EQ(g.exit.u.instruction.access, X86VCPU_ACCESS_WRITE);
	CHECK_EQ(g.exit.u.instruction.mode, 8);
	CHECK_EQ(g.exit.u.instruction.bytes[1], 0xae);
	CHECK_EQ(guest_rip(&g), GUEST_CODE);
	CHECK_OK(x86vcpu_skip_instruction(g.vcpu, 3));
	CHECK_EQ(guest_rip(&g), GUEST_CODE + 3);
	guest_run_call(&g, 1);
}

/* Both the guest's vector registers in the CPU and the device's answers are in the result. */
GUEST_CODE_BLOB(vector_code, 64,
	"mov %cr4, %rcx; or $0x200, %rcx; mov %rcx, %cr4;"
	"movdqu (%rbx), %xmm9; paddq %xmm9, %xmm9; movdqa %xmm9, 0x10(%rbx);"
	"fninit; fildll (%rbx); fchs; fistpll 0x20(%rbx); mov $1, %eax; vmcall");

static uint64_t answer_with(uint64_t value)
{
	guest_run_until(&g, X86VCPU_EXIT_MMIO_READ);
	CHECK_EQ(g.exit.u.mmio.width, X86VCPU_WIDTH_QWORD);
	CHECK_OK(x86vcpu_complete_read(g.vcpu, value));
	return g.exit.u.mmio.gpa;
}

METAL_TEST(vector, "mmio.vector_and_x87_registers")
{
	guest_boot(&g, GUEST_LONG, &vector_code);
	set_registers();
	CHECK_EQ(answer_with(0x1111111111111111), GUEST_MMIO);
	CHECK_EQ(answer_with(0x0222222222222222), GUEST_MMIO + 8);
	expect_write(GUEST_MMIO + 0x10, X86VCPU_WIDTH_QWORD, 0x2222222222222222);
	expect_write(GUEST_MMIO + 0x18, X86VCPU_WIDTH_QWORD, 0x0444444444444444);
	CHECK_EQ(answer_with(1000000007), GUEST_MMIO);
	expect_write(GUEST_MMIO + 0x20, X86VCPU_WIDTH_QWORD, (uint64_t)-1000000007);
	guest_run_call(&g, 1);
}

GUEST_CODE_BLOB(jump_code, 64, "mov $0x800000, %eax; jmp *%rax");

METAL_TEST(fetch, "mmio.fetch_from_device_memory")
{
	guest_boot(&g, GUEST_LONG, &jump_code);
	guest_run_until(&g, X86VCPU_EXIT_NESTED_PAGE_FAULT);
	CHECK_EQ(g.exit.u.nested_page_fault.gpa, GUEST_MMIO);
	CHECK(g.exit.u.nested_page_fault.access & X86VCPU_ACCESS_EXECUTE);
	CHECK_EQ(guest_rip(&g), GUEST_MMIO);
}

GUEST_CODE_BLOB(tables_in_mmio_code, 64, "mov %rcx, %cr3; mov $1, %eax; vmcall");

METAL_TEST(tables_in_mmio, "mmio.page_tables_in_device_memory")
{
	guest_boot(&g, GUEST_LONG, &tables_in_mmio_code);
	guest_set_reg(&g, RCX, GUEST_MMIO);
	guest_run_until(&g, X86VCPU_EXIT_NESTED_PAGE_FAULT);
	CHECK_EQ(g.exit.u.nested_page_fault.gpa & ~UINT64_C(0xfff), GUEST_MMIO);
}

GUEST_CODE_BLOB(tf_mmio_code, 64,
	".globl tf_mmio_after; pushfq; orl $0x100, (%rsp); popfq; mov %al, (%rbx); tf_mmio_after: nop; vmcall");
extern const uint8_t tf_mmio_after[];

METAL_TEST(single_step_mmio, "mmio.single_step",
	   .bochs_svm_gap = "the #DB of a guest's single step goes to the host")
{
	guest_boot(&g, GUEST_LONG, &tf_mmio_code);
	set_registers();
	expect_write(GUEST_MMIO, B, PATTERN(RAX) & 0xff);
	guest_run_trap(&g, 1, 0, guest_label(&tf_mmio_code, tf_mmio_after));
}

/* ---- Other instructions ------------------------------------------------------------------------------------- */

static uint8_t device[0x2000];

/* Answers every access from `device`, until VMCALL. Returns how many there were. */
static unsigned run_with_device(void)
{
	for (unsigned accesses = 0;; accesses++) {
		const struct x86vcpu_mmio *m = &g.exit.u.mmio;
		uint64_t value = 0;

		do
			CHECK_OK(x86vcpu_run(g.vcpu, &g.exit));
		while (g.exit.kind == X86VCPU_EXIT_NOTHING || g.exit.kind == X86VCPU_EXIT_PREEMPTION_TIMER);
		if (g.exit.kind != X86VCPU_EXIT_MMIO_READ && g.exit.kind != X86VCPU_EXIT_MMIO_WRITE)
			return accesses;
		for (unsigned i = 0; i < 1u << m->width; i++) {
			if (g.exit.kind == X86VCPU_EXIT_MMIO_WRITE)
				device[m->gpa - GUEST_MMIO + i] = (uint8_t)(m->data >> 8 * i);
			value |= (uint64_t)device[m->gpa - GUEST_MMIO + i] << 8 * i;
		}
		if (g.exit.kind == X86VCPU_EXIT_MMIO_READ)
			CHECK_OK(x86vcpu_complete_read(g.vcpu, value));
	}
}

/* RDI: flags or sums of what was read. The first quadword of the device is 0x1122334455667788 to begin with. */
GUEST_CODE_BLOB(others_code, 64,
	"mov $0x10, %ecx; andl $0xff, (%rbx); orl %ecx, (%rbx); testb $8, (%rbx); setnz 8(%rbx);"
	"xor %edx, %edx; lock btsl $1, 12(%rbx); adc %edx, %edx;"
	"mov $0x98, %eax; lock cmpxchgl %ecx, (%rbx); mov $0x100, %eax; lock xaddl %eax, 4(%rbx); mov %eax, %edi;"
	"shll $4, (%rbx); incw 16(%rbx); notb 18(%rbx); negl 20(%rbx); cmpl $0x100, (%rbx); cmovel (%rbx), %esi;"
	"imul $3, (%rbx), %r8d; mov %ecx, 24(%rbx); bsf 24(%rbx), %r9d; pushq (%rbx); pop %r10;"
	"mov $7, %eax; xor %edx, %edx; movl $2, 28(%rbx); divl 28(%rbx); vmcall");

METAL_TEST(others, "mmio.instructions_with_device_memory")
{
	static const uint8_t first[] = {0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11};

	for (unsigned i = 0; i < sizeof(device); i++)
		device[i] = i < sizeof(first) ? first[i] : 0;
	guest_boot(&g, GUEST_LONG, &others_code);
	guest_set_reg(&g, RBX, GUEST_MMIO);
	CHECK_EQ(run_with_device(), 28);
	CHECK_EQ(g.exit.kind, X86VCPU_EXIT_HYPERCALL);
	CHECK_EQ(device[0] | device[1] << 8, 0x100);
	CHECK_EQ(device[4] | device[5] << 8, 0x3444);
	CHECK_EQ(device[8], 1);
	CHECK_EQ(device[12], 2);
	CHECK_EQ(device[16], 1);
	CHECK_EQ(device[18], 0xff);
	CHECK_EQ(guest_reg(&g, RDI), 0x11223344);
	CHECK_EQ(guest_reg(&g, RSI), 0x100);
	CHECK_EQ(guest_reg(&g, R8), 0x300);
	CHECK_EQ(guest_reg(&g, R9), 4);
	CHECK_EQ(guest_reg(&g, R10), UINT64_C(0x1122344400000100));
	CHECK_EQ(guest_reg(&g, RAX), 3);
	CHECK_EQ(guest_reg(&g, RDX), 1);
}

/* From the device to memory, within the device, and a comparison that ends early. */
GUEST_CODE_BLOB(strings_code, 64,
	"mov %rbx, %rsi; mov $0x13000, %edi; mov $4, %ecx; rep movsl;"
	"mov %rbx, %rsi; lea 0x100(%rbx), %rdi; mov $3, %ecx; rep movsb; mov $0x5a, %eax; mov $2, %ecx; rep stosw;"
	"mov %rbx, %rsi; lea 0x100(%rbx), %rdi; mov $8, %ecx; repe cmpsb; mov %rcx, %r8; vmcall");

METAL_TEST(strings, "mmio.strings_with_device_memory")
{
	for (unsigned i = 0; i < sizeof(device); i++)
		device[i] = (uint8_t)(i + 1);
	guest_boot(&g, GUEST_LONG, &strings_code);
	guest_set_reg(&g, RBX, GUEST_MMIO);
	CHECK_EQ(run_with_device(), 4 + 6 + 2 + 8);
	CHECK_EQ(g.exit.kind, X86VCPU_EXIT_HYPERCALL);
	CHECK_EQ(guest_load(&g, 0x13000, 8), UINT64_C(0x0807060504030201));
	CHECK_EQ(guest_load(&g, 0x13008, 8), UINT64_C(0x100f0e0d0c0b0a09));
	CHECK_EQ(device[0x100] | device[0x102] << 8 | device[0x103] << 16 | device[0x106] << 24, 0x005a0301);
	CHECK_EQ(guest_reg(&g, R8), 4);
}

GUEST_CODE_BLOB(across_code, 64, "mov %eax, 0xffe(%rbx); mov 0xffe(%rbx), %edx; vmcall");

METAL_TEST(across, "mmio.access_across_pages")
{
	guest_boot(&g, GUEST_LONG, &across_code);
	guest_set_reg(&g, RBX, GUEST_MMIO);
	guest_set_reg(&g, RAX, 0x11223344);
	CHECK_EQ(run_with_device(), 4);
	CHECK_EQ(g.exit.kind, X86VCPU_EXIT_HYPERCALL);
	CHECK_EQ(guest_reg(&g, RDX), 0x11223344);
}
