/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guests. All begin in real mode at LAYOUT_CODE, in 16-bit code. Each is two tests: NAME.theirs and NAME.ours.
 */
#include "both.h"

/* VMCALL with RAX = number. The end is one too. */
#define CALL(number) "movl $" #number ", %eax; vmcall;"
#define END CALL(0xdead) "hlt;"
/* Results of CPUID or RDMSR where a hypercall shows them. */
#define SHOW(number) "movl %eax, %edi; movl %ebx, %esi;" CALL(number)
#define CPUID(leaf, subleaf) "movl $" #leaf ", %eax; movl $" #subleaf ", %ecx; cpuid;" SHOW(leaf)
#define RDMSR(msr) "movl $" #msr ", %ecx; rdmsr;" SHOW(msr)
#define WRMSR(msr, high, low) "movl $" #msr ", %ecx; movl $" #low ", %eax; movl $" #high ", %edx; wrmsr;"

/* An address in the guest of a label in its code. */
#define AT(name, label) "(0x8000 + " #name "_" #label " - " #name "_begin)"
#define TO_PROTECTED(name)                                                                              \
	"cli; lgdtl 0x0ff0; movl %cr0, %eax; orb $1, %al; movl %eax, %cr0; ljmpl $0x38, $" AT(name, pm) \
	"; .code32; " #name "_pm: movw $0x10, %ax; movw %ax, %ds; movw %ax, %es; movw %ax, %ss;"        \
	"movl $0xf000, %esp;"
#define TO_LONG(name)                                                                                   \
	TO_PROTECTED(name)                                                                              \
	"movl %cr4, %eax; orl $0x20, %eax; movl %eax, %cr4; movl $0x20000, %eax; movl %eax, %cr3;"      \
	"movl $0xc0000080, %ecx; rdmsr; orl $0x100, %eax; wrmsr;"                                       \
	"movl %cr0, %eax; orl $0x80000000, %eax; movl %eax, %cr0; ljmpl $0x08, $" AT(name, lm)          \
	"; .code64; " #name "_lm: "

#define GUEST_PROGRAM(name, text, ...) GUEST_FROM_RESET(name, "xorl %edx, %edx; movw $0xf000, %sp;" text, ##__VA_ARGS__)
#define GUEST_FROM_RESET(name, text, ...)                                                                \
	__asm__(".pushsection .rodata\n\t.code16\n" #name "_begin: " text "\n"                          \
		#name "_end:\n\t.code64\n\t.popsection\n");                                             \
	extern const uint8_t name##_begin[], name##_end[];                                               \
	static const struct guest_program name##_program = {.begin = name##_begin, .end = name##_end,    \
							    ##__VA_ARGS__};                              \
	METAL_TEST(name##_ours, #name ".ours") { drive(&ours, &name##_program); }                        \
	METAL_TEST(name##_theirs, #name ".theirs") { drive(&theirs, &name##_program); }                  \
	_Static_assert(1, "")

GUEST_FROM_RESET(reset, CALL(1) END);

GUEST_PROGRAM(vmcall, "movl $0x11, %edi; movl $0x22, %esi; movl $0x33, %edx; movl $0x44, %ecx;"
		      CALL(7) CALL(8) "movl $-1, %edi;" CALL(9) END);

GUEST_PROGRAM(vmcall_long, TO_LONG(vmcall_long)
	      "movabsq $0x1122334455667788, %rdi; movq $-2, %rsi; movq $3, %rdx; movq $4, %rcx; movq $5, %r8;"
	      "movq $6, %r9; movq $7, %r10; movq $8, %r15; movq $9, %rbp;" CALL(7) CALL(8) END);

GUEST_PROGRAM(cpuid, CPUID(0, 0) CPUID(1, 0) CPUID(2, 0) CPUID(4, 0) CPUID(6, 0) CPUID(7, 0) CPUID(0xb, 0)
	      CPUID(0xd, 0) CPUID(0xd, 1) CPUID(0x40000000, 0) CPUID(0x80000000, 0) CPUID(0x80000001, 0)
	      CPUID(0x80000002, 0) CPUID(0x80000007, 0) CPUID(0x80000008, 0) END);

GUEST_PROGRAM(io, "movw $0x501, %dx; movl $0xaabbccdd, %eax; outb %al, %dx; outw %ax, %dx; outl %eax, %dx;"
	      "inb %dx, %al;" "movl %eax, %edi;" CALL(1) "movl $0xaabbccdd, %eax; movw $0x501, %dx; inw %dx, %ax;"
	      "movl %eax, %edi;" CALL(2) "movw $0x501, %dx; inl %dx, %eax; movl %eax, %edi;" CALL(3) END);

GUEST_PROGRAM(io_string, "movw $0x500, %dx; movw $0x8000, %si; movw $3, %cx; cld; rep outsb;" CALL(1)
	      "movw $0x500, %dx; movl $0x9000, %edi; movl $2, %ecx; rep insw;" CALL(2) "movw $0x504, %dx; outsl;" END);

GUEST_PROGRAM(msr, RDMSR(0x1b) RDMSR(0xc0000080) RDMSR(0x277) RDMSR(0x174)
	      WRMSR(0x174, 0, 0x8) WRMSR(0x175, 0, 0x7000) WRMSR(0x176, 0, 0x6000) RDMSR(0x174) RDMSR(0x175)
	      WRMSR(0xc0000081, 0x00230008, 0) WRMSR(0xc0000082, 0, 0x1234) WRMSR(0xc0000084, 0, 0x700)
	      RDMSR(0xc0000081) RDMSR(0xc0000082) RDMSR(0xc0000084) RDMSR(0xc0000100) END);

GUEST_PROGRAM(x2apic, WRMSR(0x1b, 0, 0xfee00d00) RDMSR(0x1b) RDMSR(0x802) RDMSR(0x803) WRMSR(0x808, 0, 0x20) RDMSR(0x808)
	      RDMSR(0x80a) WRMSR(0x80f, 0, 0x1ff) RDMSR(0x80f) RDMSR(0x80d) RDMSR(0x828) RDMSR(0x830) RDMSR(0x832) END);

GUEST_PROGRAM(x2apic_eoi, WRMSR(0x1b, 0, 0xfee00d00) WRMSR(0x80b, 0, 0) CALL(1) END);

GUEST_PROGRAM(control, "movl %cr0, %edi; movl %cr4, %esi;" CALL(1)
	      "movl %cr0, %eax; andl $~0x60000000, %eax; movl %eax, %cr0; movl %cr0, %edi;" CALL(2)
	      "movl %cr0, %eax; orl $0x40000000, %eax; movl %eax, %cr0; movl %cr0, %edi;" CALL(3)
	      "movl %cr4, %eax; orl $0x600, %eax; movl %eax, %cr4; movl %cr4, %esi;" CALL(4)
	      "movl $0x20000, %eax; movl %eax, %cr3; movl %cr3, %edi;" CALL(5) END);

GUEST_PROGRAM(protected, TO_PROTECTED(protected) CALL(1)
	      "ljmpl $0x38, $" AT(protected, next) "; protected_next: movl %cr0, %edi;" CALL(2) END);

GUEST_PROGRAM(mmio, TO_PROTECTED(mmio) "movl $0x800000, %ebx; movl $0x11223344, %eax; movl %eax, (%ebx);"
	      "movl 4(%ebx), %ecx; movl %ecx, %edi;" CALL(1) "movb %ah, 0x10(%ebx); movb 0x11(%ebx), %dl;"
	      "movl %edx, %edi;" CALL(2) "movl $0x55aa, 0x20(%ebx); movl 0x801ffc, %esi;" CALL(3) END);

GUEST_PROGRAM(mmio_long, TO_LONG(mmio_long) "movl $0x800000, %ebx; movabsq $0x1122334455667788, %rax; movq %rax, (%rbx);"
	      "movq 8(%rbx), %r9;" CALL(1) "movl $0x10, %ecx; movl %eax, 4(%rbx,%rcx,2); movl 4(%rbx,%rcx,2), %r8d;"
	      CALL(2) "movw $0x1234, 0x100(%rbx); movb $0x12, 0x101(%rbx);" END);

GUEST_PROGRAM(xapic, TO_PROTECTED(xapic) "movl $0xfee00000, %ebx; movl 0x30(%ebx), %eax; movl %eax, %edi;" CALL(1)
	      "movl $0x1ff, %eax; movl %eax, 0xf0(%ebx); movl 0xf0(%ebx), %eax; movl %eax, %edi;" CALL(2)
	      "movl $0x30, %eax; movl %eax, 0x80(%ebx); movl 0x80(%ebx), %eax; movl %eax, %edi;" CALL(3)
	      "movl $0x20, %eax; movl %eax, 0x320(%ebx); movl $5, 0x3e0(%ebx); movl 0x320(%ebx), %eax; movl %eax, %edi;"
	      CALL(4) END);

GUEST_PROGRAM(halt, "movl $1, %edi;" CALL(1) "hlt;" CALL(2) END);

GUEST_PROGRAM(xsetbv, "movl %cr4, %eax; orl $0x40600, %eax; movl %eax, %cr4; xorl %ecx, %ecx; xgetbv; movl %eax, %edi;"
	      CALL(1) "xorl %ecx, %ecx; xorl %edx, %edx; movl $3, %eax; xsetbv; xgetbv; movl %eax, %edi;" CALL(2)
	      "xorl %ecx, %ecx; xorl %edx, %edx; movl $7, %eax; xsetbv; xgetbv; movl %eax, %edi;" CALL(3) END);

GUEST_PROGRAM(software_interrupt, "int3;" CALL(1) "int $0x41;" CALL(2) "ud2;" END);

GUEST_PROGRAM(interrupt, CALL(1) "sti; nop; nop; nop;" CALL(2) END, .inject = 0x41);

GUEST_PROGRAM(time, "rdtsc; pause; nop;" CALL(1) "pause;" CALL(2) END);

GUEST_PROGRAM(hole, TO_PROTECTED(hole) CALL(1) "movl 0xa00000, %eax;" END);

/* What only one of the two survives, or gets right: docs/errata.md. */
GUEST_PROGRAM(xsetbv_zero, "movl %cr4, %eax; orl $0x40600, %eax; movl %eax, %cr4; xorl %ecx, %ecx; xorl %edx, %edx;"
	      "xorl %eax, %eax; xsetbv;" CALL(1) END);
GUEST_PROGRAM(xsetbv_index, "movl %cr4, %eax; orl $0x40600, %eax; movl %eax, %cr4; movl $1, %ecx; xorl %edx, %edx;"
	      "movl $3, %eax; xsetbv;" CALL(1) END);
GUEST_PROGRAM(xsetbv_reserved, "movl %cr4, %eax; orl $0x40600, %eax; movl %eax, %cr4; xorl %ecx, %ecx; xorl %edx, %edx;"
	      "movl $0x207, %eax; xsetbv;" CALL(1) END);
GUEST_PROGRAM(apic_base_illegal, WRMSR(0x1b, 0, 0xfee00500) CALL(1) END);
GUEST_PROGRAM(x2apic_hole, WRMSR(0x1b, 0, 0xfee00d00) "movl $0x800, %ecx; rdmsr;" CALL(1) END);
GUEST_PROGRAM(x2apic_read_only, WRMSR(0x1b, 0, 0xfee00d00) WRMSR(0x803, 0, 0) CALL(1) END);
GUEST_PROGRAM(x2apic_off, RDMSR(0x808) END);
GUEST_PROGRAM(xapic_hole, TO_PROTECTED(xapic_hole) "movl $0xfee00000, %ebx; movl 0x10(%ebx), %eax;" CALL(1) END);
GUEST_PROGRAM(xapic_from_esp, TO_PROTECTED(xapic_from_esp) "movl $0xfee00000, %ebx; movl %esp, 0xd0(%ebx);" CALL(1) END);
GUEST_PROGRAM(xapic_to_esp, TO_PROTECTED(xapic_to_esp) "movl $0xfee00000, %ebx; movl 0xd0(%ebx), %esp;" CALL(1) END);
GUEST_PROGRAM(xapic_to_ecx, TO_PROTECTED(xapic_to_ecx) "movl $0xfee00000, %ebx; movl $0x5555, %ecx; movl 0x30(%ebx), %ecx;" CALL(1) END);
GUEST_PROGRAM(msr_unknown, "movl $0x12345, %ecx; rdmsr;" CALL(1) END);
GUEST_PROGRAM(triple_fault, TO_PROTECTED(triple_fault) CALL(1) "int3;" CALL(2) END);
GUEST_PROGRAM(invd, "invd;" CALL(1) END);
GUEST_PROGRAM(getsec, "xorl %eax, %eax; getsec;" CALL(1) END);
GUEST_PROGRAM(mmio_16bit, "movl $0x80000, %eax; movw $0xffff, %bx; movw $0x5678, %ax; movw %ax, 6(%bx);" CALL(1) END);
GUEST_PROGRAM(mmio_movzx, TO_PROTECTED(mmio_movzx) "movzbl 0x800000, %edi;" CALL(1) END);
GUEST_PROGRAM(cr4_reserved, "movl %cr4, %eax; orl $0x80000000, %eax; movl %eax, %cr4;" CALL(1) END);
GUEST_PROGRAM(cr0_illegal, "movl %cr0, %eax; orl $0x20000000, %eax; movl %eax, %cr0;" CALL(1) END);
GUEST_PROGRAM(pg_without_lme, TO_PROTECTED(pg_without_lme) "movl %cr4, %eax; orl $0x10, %eax; movl %eax, %cr4;"
	      "movl $0x83, 0x40000; movl $0x40000, %eax; movl %eax, %cr3; movl %cr0, %eax;"
	      "orl $0xc0000000, %eax; movl %eax, %cr0; jmp pg_without_lme_on; pg_without_lme_on:" CALL(1) END);
GUEST_PROGRAM(debug_register, "movl $0x1234, %eax; movl %eax, %db0; xorl %eax, %eax; movl %db0, %eax; movl %eax, %edi;"
	      CALL(1) END);

GUEST_PROGRAM(clts_lmsw, "movl %cr0, %eax; orl $8, %eax; movl %eax, %cr0; movl %cr0, %edi;" CALL(1)
	      "clts; movl %cr0, %edi;" CALL(2) "movl $0x1e, %ebx; lmsw %bx; movl %cr0, %edi;" CALL(3) END);
GUEST_PROGRAM(cr8, TO_LONG(cr8) "movl $5, %eax; movq %rax, %cr8; movq %cr8, %rdi;" CALL(1)
	      "movl $0xfee00000, %ebx; movl 0x80(%rbx), %eax; movl %eax, %edi;" CALL(2)
	      "movl $0x70, 0x80(%rbx); movq %cr8, %rdi;" CALL(3) END);
GUEST_PROGRAM(rdpmc, "xorl %ecx, %ecx; rdpmc;" CALL(1) END);
GUEST_PROGRAM(wbinvd, "wbinvd;" CALL(1) END);
GUEST_PROGRAM(monitor, "xorl %eax, %eax; xorl %ecx, %ecx; xorl %edx, %edx; monitor;" CALL(1) END);
GUEST_PROGRAM(efer_reserved, WRMSR(0xc0000080, 0, 2) CALL(1) END);
GUEST_PROGRAM(vmcall_user, TO_LONG(vmcall_user) "movl $0xf000, %esp; pushq $0x23; pushq $0x11000; pushq $2; pushq $0x1b;"
	      "movl $" AT(vmcall_user, user) ", %eax; pushq %rax; iretq; vmcall_user_user:" CALL(1) END);

/* How many instructions a round trip takes. */
#define ROUNDS "$1000"
#define COST(name, before, body)                                                                          \
	GUEST_PROGRAM(name, before CALL(1) "movl " ROUNDS ", %ebp; " #name "_again: " body                 \
			    "decl %ebp; jnz " #name "_again;" END, .quiet = 1)

COST(cost_nothing, "", "");
COST(cost_cpuid, "", "xorl %eax, %eax; cpuid;");
COST(cost_vmcall, "", "movl $2, %eax; vmcall;");
COST(cost_out, "movw $0x500, %dx;", "movw $0x500, %dx; outb %al, %dx;");
COST(cost_in, "", "movw $0x500, %dx; inb %dx, %al;");
COST(cost_apic_base, "", "movl $0x1b, %ecx; rdmsr;");
COST(cost_x2apic_tpr, WRMSR(0x1b, 0, 0xfee00d00), "movl $0x808, %ecx; xorl %eax, %eax; xorl %edx, %edx; wrmsr;");
COST(cost_x2apic_eoi, WRMSR(0x1b, 0, 0xfee00d00), "movl $0x80b, %ecx; xorl %eax, %eax; xorl %edx, %edx; wrmsr;");
COST(cost_cr0, "", "movl %cr0, %eax; xorl $0x40000000, %eax; movl %eax, %cr0;");
COST(cost_mmio32, TO_PROTECTED(cost_mmio32) "movl $0x800000, %ebx;", "movl %eax, (%ebx);");
COST(cost_mmio64, TO_LONG(cost_mmio64) "movl $0x800000, %ebx;", "movl %eax, (%rbx);");
COST(cost_mmio64_imm, TO_LONG(cost_mmio64_imm) "movl $0x800000, %ebx;", "movl $1, (%rbx);");
COST(cost_xsetbv, "movl %cr4, %eax; orl $0x40600, %eax; movl %eax, %cr4;",
     "xorl %ecx, %ecx; xorl %edx, %edx; movl $3, %eax; xsetbv;");
