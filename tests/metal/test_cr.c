/* SPDX-License-Identifier: Apache-2.0 */
/* Control registers, XCR0, and the way from real mode to 64-bit mode. */
#include "guest.h"

static struct guest g;

/* MOV to a control register of what RAX holds, with the address of the instruction as a label. */
GUEST_CODE_BLOB(mov_cr0, 64, ".globl mov_cr0_at; mov_cr0_at: mov %rax, %cr0; mov %cr0, %rbx; mov $1, %eax; vmcall");
GUEST_CODE_BLOB(mov_cr4, 64, "mov %rax, %cr4; mov %cr4, %rbx; mov $1, %eax; vmcall");
GUEST_CODE_BLOB(mov_cr3, 64, "mov %rax, %cr3; mov %cr3, %rbx; mov $1, %eax; vmcall");
GUEST_CODE_BLOB(mov_r8_cr4, 64, "mov %rax, %r8; mov %r8, %cr4; mov %cr4, %r9; mov %r9, %rbx; mov $1, %eax; vmcall");

static void boot_with(enum guest_mode mode, const struct guest_code *code, uint64_t rax)
{
	guest_boot(&g, mode, code);
	guest_set_reg(&g, RAX, rax);
}

static void expect_value(enum guest_mode mode, const struct guest_code *code, uint64_t rax, uint64_t reads)
{
	boot_with(mode, code, rax);
	guest_run_call(&g, 1);
	CHECK_EQ(guest_reg(&g, RBX), reads);
	guest_destroy(&g);
}

static void expect_gp(enum guest_mode mode, const struct guest_code *code, uint64_t rax)
{
	boot_with(mode, code, rax);
	guest_run_trap(&g, 13, 0, GUEST_CODE);
	guest_destroy(&g);
}

#define CR0_LONG UINT64_C(0x80010033)
#define CR4_LONG UINT64_C(0x620)

METAL_TEST(cr0_values, "cr.cr0_values")
{
	expect_value(GUEST_LONG, &mov_cr0, CR0_LONG, CR0_LONG);
	expect_value(GUEST_LONG, &mov_cr0, CR0_LONG | 0x60000000, CR0_LONG | 0x60000000); /* CD, NW */
	expect_value(GUEST_LONG, &mov_cr0, CR0_LONG | 0x40000000, CR0_LONG | 0x40000000);
	expect_value(GUEST_LONG, &mov_cr0, CR0_LONG & ~UINT64_C(0x20), CR0_LONG & ~UINT64_C(0x20)); /* NE */
	expect_value(GUEST_LONG, &mov_cr0, CR0_LONG & ~UINT64_C(0x10), CR0_LONG); /* ET stays 1 */
	expect_value(GUEST_LONG, &mov_cr0, CR0_LONG | 0x8, CR0_LONG | 0x8); /* TS */
}

METAL_TEST(cr0_refused, "cr.cr0_gp")
{
	expect_gp(GUEST_LONG, &mov_cr0, CR0_LONG | 0x20000000);           /* NW without CD */
	expect_gp(GUEST_LONG, &mov_cr0, CR0_LONG | UINT64_C(1) << 32);
	expect_gp(GUEST_LONG, &mov_cr0, CR0_LONG & ~UINT64_C(1));         /* PG without PE */
	expect_gp(GUEST_LONG, &mov_cr0, CR0_LONG & ~UINT64_C(0x80000000)); /* PG off in 64-bit mode */
}

GUEST_CODE_BLOB(real_cr0, 16, "movl %eax, %cr0; movl $1, %eax; vmcall");

METAL_TEST(cr0_real, "cr.cr0_paging_without_protection_is_gp")
{
	expect_gp(GUEST_REAL, &real_cr0, 0x80000030);
	expect_gp(GUEST_REAL, &real_cr0, 0x20000011);
}

METAL_TEST(cr4_values, "cr.cr4_values")
{
	expect_value(GUEST_LONG, &mov_cr4, CR4_LONG, CR4_LONG);
	expect_value(GUEST_LONG, &mov_cr4, CR4_LONG | 0x80, CR4_LONG | 0x80);       /* PGE */
	expect_value(GUEST_LONG, &mov_cr4, CR4_LONG | 0x40000, CR4_LONG | 0x40000); /* OSXSAVE */
	expect_value(GUEST_LONG, &mov_cr4, 0x20, 0x20);
}

METAL_TEST(cr4_r8, "cr.mov_from_and_to_r8")
{
	expect_value(GUEST_LONG, &mov_r8_cr4, CR4_LONG | 0x40080, CR4_LONG | 0x40080);
}

METAL_TEST(cr4_refused, "cr.cr4_gp")
{
	expect_gp(GUEST_LONG, &mov_cr4, CR4_LONG | 0x2000);            /* VMXE: CPUID hides VMX */
	expect_gp(GUEST_LONG, &mov_cr4, CR4_LONG | 0x8000);            /* reserved */
	expect_gp(GUEST_LONG, &mov_cr4, CR4_LONG | 0x1000);            /* LA57 */
	expect_gp(GUEST_LONG, &mov_cr4, CR4_LONG | UINT64_C(1) << 31);
	expect_gp(GUEST_LONG, &mov_cr4, CR4_LONG | UINT64_C(1) << 40);
	expect_gp(GUEST_LONG, &mov_cr4, CR4_LONG & ~UINT64_C(0x20));   /* PAE off in 64-bit mode */
}

METAL_TEST(cr3_values, "cr.cr3",
	   .qemu_svm_gap = "MOV to CR3 does not check reserved bits, the next VMRUN does")
{
	expect_value(GUEST_LONG, &mov_cr3, GUEST_PML4, GUEST_PML4);
	expect_value(GUEST_LONG, &mov_cr3, GUEST_PML4 | 0x18, GUEST_PML4 | 0x18); /* PWT, PCD */
	expect_gp(GUEST_LONG, &mov_cr3, GUEST_PML4 | UINT64_C(1) << 52);
}

GUEST_CODE_BLOB(reset_crs_code, 16, "movl %cr0, %edi; movl %cr4, %esi; movl $1, %eax; vmcall");

METAL_TEST(reset_crs, "cr.a_guest_does_not_see_vmx_bits")
{
	struct x86vcpu_state state;

	guest_boot(&g, GUEST_REAL, &reset_crs_code);
	guest_state(&g, &state);
	state.cr0 = 0x60000010;
	state.cr4 = 0;
	CHECK_OK(x86vcpu_set_state(g.vcpu, X86VCPU_STATE_CRS, &state));
	guest_run_call(&g, 1);
	CHECK_EQ(g.exit.u.hypercall.args[0], 0x60000010);
	CHECK_EQ(g.exit.u.hypercall.args[1], 0);
}

GUEST_CODE_BLOB(clts_code, 64,
	"mov %cr0, %rax; or $8, %rax; mov %rax, %cr0; clts; mov %cr0, %rbx; mov $0xe, %eax; lmsw %ax; mov %cr0, %rcx;"
	"smsw %edx; mov $1, %eax; vmcall");

METAL_TEST(clts_lmsw, "cr.clts_and_lmsw")
{
	guest_boot(&g, GUEST_LONG, &clts_code);
	guest_run_call(&g, 1);
	CHECK_EQ(guest_reg(&g, RBX), CR0_LONG);
	/* LMSW sets MP, EM and TS, and cannot clear PE. */
	CHECK_EQ(guest_reg(&g, RCX), CR0_LONG | 0xe);
	CHECK_EQ(guest_reg(&g, RDX) & 0xffff, 0x3f);
}

GUEST_CODE_BLOB(smsw_code, 64,
	"mov %cr0, %rdi; smsw %ax; mov %rax, %r8; mov %cr0, %rsi; smsw %ecx; movw $0, 0x12000; smsw 0x12000; mov %cr0, %rdx;"
	"movzwl 0x12000, %ebx; mov $0x1000, %r9d; mov $2, %eax; vmcall; mov %cr0, %rdi; mov $3, %eax; vmcall");

/* CD is not in the CPU's CR0 while the guest runs, so reads exit, and must go on doing so. */
METAL_TEST(smsw, "cr.smsw_leaves_cr0")
{
	const uint64_t cd = 0x40000000;
	struct x86vcpu_state s;

	guest_boot(&g, GUEST_LONG, &smsw_code);
	guest_state(&g, &s);
	s.cr0 |= cd;
	CHECK_OK(x86vcpu_set_state(g.vcpu, X86VCPU_STATE_CRS, &s));
	guest_run_call(&g, 2);
	CHECK_EQ(guest_reg(&g, RDI), CR0_LONG | cd);
	CHECK_EQ(guest_reg(&g, R8) & 0xffff, CR0_LONG & 0xffff);
	CHECK_EQ(guest_reg(&g, RSI), CR0_LONG | cd);
	CHECK_EQ(guest_reg(&g, RCX) & 0xffff, CR0_LONG & 0xffff);
	CHECK_EQ(guest_reg(&g, RBX), CR0_LONG & 0xffff);
	guest_run_call(&g, 3);
	CHECK_EQ(guest_reg(&g, RDI), CR0_LONG | cd);
}

extern const uint8_t switched_entry[];

GUEST_CODE_BLOB(switched_code, 32,
	"ljmp $0x58, $0; .globl switched_entry; switched_entry: mov %cr0, %ebx; clts; mov %cr0, %esi; fninit; mov $7, %eax; vmcall; hlt");

/* With SVM the CPU switches tasks itself, and sets CR0.TS. */
METAL_TEST(task, "cr.clts_after_a_task_switch", .vendor = METAL_SVM)
{
	static const uint16_t segments[] = { GUEST_DS, GUEST_CS32, GUEST_DS, GUEST_DS, GUEST_DS, GUEST_DS };
	const uint64_t task = GUEST_TSS + 0x100;
	struct x86vcpu_state s;

	guest_init(&g, 0);
	guest_start(&g, GUEST_PROTECTED, &switched_code);
	guest_store(&g, task + 0x20, 4, guest_label(&switched_code, switched_entry));
	guest_store(&g, task + 0x24, 4, 2);
	guest_store(&g, task + 0x38, 4, GUEST_STACK);
	for (unsigned i = 0; i < 6; i++)
		guest_store(&g, task + 0x48 + i * 4, 2, segments[i]);
	guest_run_call(&g, 7);
	CHECK_EQ(guest_reg(&g, RBX) & 8, 8);
	CHECK_EQ(guest_reg(&g, RSI) & 8, 0);
	guest_state(&g, &s);
	CHECK_EQ(s.cr0 & 8, 0);
}

GUEST_CODE_BLOB(lmsw_real_code, 16, "movw $0x11, %ax; lmsw %ax; movl %cr0, %edi; movl $1, %eax; vmcall");

METAL_TEST(lmsw_real, "cr.lmsw_enters_protected_mode")
{
	guest_boot(&g, GUEST_REAL, &lmsw_real_code);
	guest_run_call(&g, 1);
	CHECK_EQ(g.exit.u.hypercall.args[0] & 0xf, 1);
}

GUEST_CODE_BLOB(user_cr_code, 64, "mov %cr0, %rax; ud2");

METAL_TEST(user_cr, "cr.user_mode_is_gp")
{
	guest_init(&g, 0);
	guest_start_user(&g, GUEST_LONG, &user_cr_code);
	guest_run_trap(&g, 13, 0, GUEST_CODE);
}

GUEST_CODE_BLOB(cr8_code, 64, "mov $5, %eax; mov %rax, %cr8; mov %cr8, %rcx; mov $0x10, %eax; mov %rax, %cr8; ud2");

METAL_TEST(cr8, "cr.cr8", .qemu_svm_gap = "MOV to CR8 of a reserved value is #UD, not #GP")
{
	struct host_snapshot before;
	uint64_t priority;

	guest_boot(&g, GUEST_LONG, &cr8_code);
	host_snapshot(&before);
	guest_run_trap(&g, 13, 0, GUEST_CODE + 18);
	CHECK_EQ(guest_reg(&g, RCX), 5);
	__asm__ volatile("movq %%cr8, %0" : "=r"(priority));
	CHECK_EQ(priority, 0);
}

/*
 * As a boot loader does it: real mode, protected mode, PAE and LME, paging with CD still set, far jump to
 * 64-bit code; then all the way back to protected mode with paging off.
 */
GUEST_CODE_BLOB(way_up, 16,
	"xorw %ax, %ax; movw %ax, %ds; lgdtl (way_up_gdtr - way_up_begin + 0x8000);"
	"movl %cr0, %eax; orl $1, %eax; movl %eax, %cr0; ljmpl $0x38, $(way_up_32 - way_up_begin + 0x8000);"
	"way_up_gdtr: .word 0x67; .long 0x1000; .code32; way_up_32:"
	"movw $0x10, %ax; movw %ax, %ds; movw %ax, %ss; mov $0xf000, %esp; mov $0x3201, %eax; vmcall;"
	"mov %cr4, %eax; or $0x20, %eax; mov %eax, %cr4; mov $0x20000, %eax; mov %eax, %cr3;"
	"mov $0xc0000080, %ecx; rdmsr; or $0x100, %eax; wrmsr; rdmsr; mov %eax, %edi;"
	"mov %cr0, %eax; or $0x80000000, %eax; and $0x9fffffff, %eax; mov %eax, %cr0;"
	"rdmsr; mov %eax, %esi; mov $0x3202, %eax; vmcall; ljmp $0x08, $(way_up_64 - way_up_begin + 0x8000);"
	".code64; way_up_64: mov $0x6401, %eax; vmcall;"
	"ljmp *(way_up_back - way_up_begin + 0x8000); way_up_back: .long way_up_down - way_up_begin + 0x8000; .word 0x38;"
	".code32; way_up_down: mov %cr0, %eax; and $0x7fffffff, %eax; or $0x40000000, %eax; mov %eax, %cr0;"
	"mov $0xc0000080, %ecx; rdmsr; mov %eax, %edi; mov $0x3203, %eax; vmcall");

METAL_TEST(mode_switches, "cr.real_to_64bit_mode_and_back", .models = METAL_ALL_MODELS)
{
	struct x86vcpu_state state;

	guest_boot(&g, GUEST_REAL, &way_up);
	guest_state(&g, &state);
	state.cr0 = 0x60000010;
	CHECK_OK(x86vcpu_set_state(g.vcpu, X86VCPU_STATE_CRS, &state));
	guest_run_call(&g, 0x3201);
	guest_run_call(&g, 0x3202);
	CHECK_EQ(g.exit.u.hypercall.args[0], 0x100); /* LME alone */
	CHECK_EQ(g.exit.u.hypercall.args[1], 0x500); /* and LMA, with paging */
	guest_run_call(&g, 0x6401);
	guest_state(&g, &state);
	CHECK_EQ(state.efer, 0x500);
	CHECK(state.segments[X86VCPU_SEGMENT_CS].access_rights & 0x2000);
	guest_run_call(&g, 0x3203);
	CHECK_EQ(g.exit.u.hypercall.args[0], 0x100);
}

/* 32-bit paging turned on by a MOV to CR0 that the library handles (CD changes with it), LME off. */
GUEST_CODE_BLOB(paging32_on, 32,
	"mov $0x24000, %eax; mov %eax, %cr3; mov %cr4, %eax; or $0x10, %eax; mov %eax, %cr4;"
	"mov $0x80000033, %eax; mov %eax, %cr0; mov $1, %eax; vmcall");

METAL_TEST(paging_on, "cr.32bit_paging_with_cd_cleared")
{
	struct x86vcpu_state state;

	guest_boot(&g, GUEST_PROTECTED, &paging32_on);
	guest_state(&g, &state);
	state.cr0 |= 0x60000000;
	CHECK_OK(x86vcpu_set_state(g.vcpu, X86VCPU_STATE_CRS, &state));
	guest_run_call(&g, 1);
	guest_state(&g, &state);
	CHECK_EQ(state.efer, 0);
	CHECK_EQ(state.cr0, 0x80000033);
}

GUEST_CODE_BLOB(pae_on, 32,
	"mov %cr4, %eax; or $0x20, %eax; mov %eax, %cr4; mov $0x26000, %eax; mov %eax, %cr3;"
	"mov $0x80000033, %eax; .globl pae_on_at; pae_on_at: mov %eax, %cr0; mov $1, %eax; vmcall;"
	"mov 0x12000, %edi; mov $2, %eax; vmcall");
extern const uint8_t pae_on_at[];

static void start_pae(uint64_t pdpte)
{
	struct x86vcpu_state state;

	guest_boot(&g, GUEST_PROTECTED, &pae_on);
	guest_state(&g, &state);
	state.cr0 |= 0x60000000;
	CHECK_OK(x86vcpu_set_state(g.vcpu, X86VCPU_STATE_CRS, &state));
	guest_store(&g, GUEST_PDPT_PAE, 8, pdpte);
	guest_store(&g, GUEST_DATA, 4, 0x5a5a);
}

METAL_TEST(pae_paging, "cr.pae_loads_its_directory_pointers")
{
	start_pae(GUEST_PD | PTE_P);
	guest_run_call(&g, 1);
	guest_run_call(&g, 2);
	CHECK_EQ(g.exit.u.hypercall.args[0], 0x5a5a);
}

METAL_TEST(pae_reserved, "cr.pae_reserved_bits_are_gp")
{
	start_pae(GUEST_PD | PTE_P | PTE_W); /* bit 1 is reserved in a PDPTE */
	guest_run_trap(&g, 13, 0, guest_label(&pae_on, pae_on_at));
}

/*
 * SVM may tell no operand, so the instruction is decoded there. Through every register: flips CD in CR0
 * and PGE in CR4, and stores what reads back.
 */
GUEST_CODE_BLOB(every_code, 64,
	"mov $0x12000, %ebx;"
	".irp r, rax, rcx, rdx, rsi, rdi, rbp, rsp, r8, r9, r10, r11, r12, r13, r14, r15;"
	"mov %cr0, %\\r; xor $0x40000000, %\\r; mov %\\r, %cr0; xor %eax, %eax; mov %cr0, %\\r; mov %\\r, (%rbx);"
	"mov %cr4, %\\r; xor $0x80, %\\r; mov %\\r, %cr4; xor %eax, %eax; mov %cr4, %\\r; mov %\\r, 8(%rbx);"
	"add $16, %rbx; .endr; mov $0xf000, %esp; mov $1, %eax; vmcall");

METAL_TEST(every_register, "cr.through_every_register")
{
	struct x86vcpu_state state;

	guest_boot(&g, GUEST_LONG, &every_code);
	guest_state(&g, &state);
	guest_run_call(&g, 1);
	for (unsigned i = 0; i < 15; i++) {
		state.cr0 ^= 0x40000000;
		state.cr4 ^= 0x80;
		CHECK_EQ(guest_load(&g, GUEST_DATA + i * 16, 8), state.cr0);
		CHECK_EQ(guest_load(&g, GUEST_DATA + i * 16 + 8, 8), state.cr4);
	}
}

GUEST_CODE_BLOB(words_code, 64,
	"mov $0x12000, %ebx; lmsw (%rbx); smsw 8(%rbx); mov %cr0, %rdi; lmsw 2(%rbx); clts; smsw %rsi;"
	"mov $1, %eax; vmcall; .globl words_fault; words_fault: lmsw 0x13000; hlt");
extern const uint8_t words_fault[];

METAL_TEST(machine_status, "cr.lmsw_and_smsw_with_memory")
{
	guest_boot(&g, GUEST_LONG, &words_code);
	guest_store(&g, GUEST_DATA, 2, 0xfffd);     /* TS, EM off, MP off; only bits 3:0 count */
	guest_store(&g, GUEST_DATA + 2, 2, 0x000a); /* without PE, which stays */
	guest_store(&g, GUEST_DATA + 8, 4, 0xaaaaaaaa);
	guest_set_pte(&g, 0x13000, 0);
	guest_run_call(&g, 1);
	CHECK_EQ(guest_load(&g, GUEST_DATA + 8, 4), 0xaaaa003d);
	CHECK_EQ(g.exit.u.hypercall.args[0] & 0xf, 0xd);
	CHECK_EQ(g.exit.u.hypercall.args[1] & 0xf, 3);
	CHECK_EQ(guest_run_trap(&g, 14, 0, guest_label(&words_code, words_fault))->cr2, 0x13000);
}

/* ---- XCR0 ---------------------------------------------------------------------------------------------------- */

GUEST_CODE_BLOB(xsetbv_code, 64, "xsetbv; xor %ecx, %ecx; xgetbv; mov %rax, %rbx; mov $1, %eax; vmcall");

static void boot_xsetbv(bool user, bool osxsave, uint64_t rax, uint64_t rcx, uint64_t rdx)
{
	struct x86vcpu_state state;

	guest_init(&g, 0);
	if (user)
		guest_start_user(&g, GUEST_LONG, &xsetbv_code);
	else
		guest_start(&g, GUEST_LONG, &xsetbv_code);
	guest_state(&g, &state);
	state.cr4 |= osxsave ? 0x40000 : 0;
	state.regs.rax = rax;
	state.regs.rcx = rcx;
	state.regs.rdx = rdx;
	CHECK_OK(x86vcpu_set_state(g.vcpu, X86VCPU_STATE_CRS | X86VCPU_STATE_GPRS, &state));
}

static void expect_xcr0(uint64_t value)
{
	boot_xsetbv(false, true, value, 0, 0);
	guest_run_call(&g, 1);
	CHECK_EQ(guest_reg(&g, RBX), value);
	guest_destroy(&g);
}

METAL_TEST(xsetbv_good, "xcr.good_values")
{
	struct host_snapshot before;

	host_enable();
	host_snapshot(&before);
	expect_xcr0(1);
	expect_xcr0(3);
	expect_xcr0(7);
	if ((host_cpuid(0xd, 0).eax & 0xe0) == 0xe0)
		expect_xcr0(0xe7);
	host_check_unchanged(&before);
}

static const char *only_without_avx512(void)
{
	return host_cpuid(0xd, 0).eax & 0xe0 ? "the CPU has AVX-512" : NULL;
}

METAL_TEST(xsetbv_haswell, "xcr.avx512_on_a_cpu_without_it",
	   .models = "corei7_haswell_4770 corei7_sandy_bridge_2600k", .cannot = only_without_avx512)
{
	expect_xcr0(7);
	boot_xsetbv(false, true, 0xe7, 0, 0);
	guest_run_trap(&g, 13, 0, GUEST_CODE);
}

static void expect_xsetbv_trap(unsigned vector, bool user, bool osxsave, uint64_t rax, uint64_t rcx, uint64_t rdx)
{
	struct host_snapshot before;

	host_enable();
	host_snapshot(&before);
	boot_xsetbv(user, osxsave, rax, rcx, rdx);
	guest_run_trap(&g, vector, 0, GUEST_CODE);
	host_check_unchanged(&before);
}

METAL_TEST(xsetbv_zero, "xcr.zero_is_gp") { expect_xsetbv_trap(13, false, true, 0, 0, 0); }
METAL_TEST(xsetbv_avx, "xcr.avx_without_sse_is_gp") { expect_xsetbv_trap(13, false, true, 5, 0, 0); }
METAL_TEST(xsetbv_mpx, "xcr.bit_that_the_cpu_lacks_is_gp",
	   .qemu_svm_gap = "XSETBV is not intercepted") { expect_xsetbv_trap(13, false, true, 0x1f, 0, 0); }
METAL_TEST(xsetbv_zmm, "xcr.part_of_avx512_is_gp") { expect_xsetbv_trap(13, false, true, 0x67, 0, 0); }
METAL_TEST(xsetbv_high, "xcr.upper_half_is_gp") { expect_xsetbv_trap(13, false, true, 3, 0, 1); }
METAL_TEST(xsetbv_index, "xcr.index_1_is_gp") { expect_xsetbv_trap(13, false, true, 3, 1, 0); }
METAL_TEST(xsetbv_user, "xcr.user_mode_is_gp") { expect_xsetbv_trap(13, true, true, 3, 0, 0); }
METAL_TEST(xsetbv_off, "xcr.without_osxsave_is_ud") { expect_xsetbv_trap(6, false, false, 3, 0, 0); }
