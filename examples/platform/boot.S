/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From 32-bit protected mode, where the ROM stub and Multiboot loaders leave us, to 64-bit mode and C;
 * and the same for a second CPU, from the real mode that a start-up IPI begins in.
 */
#define MULTIBOOT_MAGIC 0x1badb002
/* Page-aligned modules, memory information, and (bit 16) addresses in this header: this is what
   lets a Multiboot 1 loader take an ELF64 file. */
#define MULTIBOOT_FLAGS 0x00010003

#define CR0_PE_MP_ET_NE_WP_PG 0x80010033
#define CR4_PAE 0x20
#define MSR_EFER 0xc0000080
#define EFER_LME 0x100

	.section .mboot, "a"
	.balign 4
multiboot_header:
	.long MULTIBOOT_MAGIC
	.long MULTIBOOT_FLAGS
	.long -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS)
	.long multiboot_header
	.long _image_start
	.long _data_end
	.long _bss_end
	.long _start

	.text
	.code32
	.globl _start
_start:
	cli
	cld
	movl %eax, %ebp
	movl $_bss_start, %edi
	movl $_bss_end, %ecx
	subl %edi, %ecx
	shrl $2, %ecx
	xorl %eax, %eax
	rep stosl
	movl %ebp, boot_magic
	movl %ebx, boot_info
	lgdt boot_gdtr
	ljmp $0x18, $1f
1:	movw $0x10, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %fs
	movw %ax, %gs
	movw %ax, %ss

	/* 4 GiB one to one in 2 MiB pages. */
	movl $(page_pdpt + 3), page_pml4
	movl $page_pdpt, %edi
	movl $(page_pd + 3), %eax
	movl $4, %ecx
2:	movl %eax, (%edi)
	addl $4096, %eax
	addl $8, %edi
	loop 2b
	movl $page_pd, %edi
	movl $0x83, %eax
	movl $2048, %ecx
3:	movl %eax, (%edi)
	addl $0x200000, %eax
	addl $8, %edi
	loop 3b

	movl $boot_stack_top, %ebx
	movl $boot_start64, %ebp

/* EBX: stack top; EBP: where to go in 64-bit mode. Flat 32-bit segments. */
enter_long_mode:
	movl %cr4, %eax
	orl boot_cr4, %eax
	movl %eax, %cr4
	movl boot_cr3, %eax
	movl %eax, %cr3
	movl $MSR_EFER, %ecx
	rdmsr
	orl $EFER_LME, %eax
	wrmsr
	movl $CR0_PE_MP_ET_NE_WP_PG, %eax
	movl %eax, %cr0
	ljmp $0x08, $enter64

	.code64
enter64:
	movl %ebx, %esp
	movl %ebp, %eax
	xorl %ebp, %ebp
	fninit
	jmp *%rax

boot_start64:
	call platform_start
	ud2

ap_start64:
	call cpu_started
	ud2

/* Copied to a page below 1 MiB; runs there in real mode with CS:IP = page:0. */
	.code16
	.globl ap_trampoline, ap_trampoline_end
ap_trampoline:
	cli
	movw %cs, %ax
	movw %ax, %ds
	lgdtl ap_gdtr - ap_trampoline
	movl %cr0, %eax
	andl $0x9fffffff, %eax /* CD and NW are set after INIT */
	orl $1, %eax
	movl %eax, %cr0
	ljmpl $0x18, $ap_start32
ap_gdtr:
	.word 0x1f
	.long gdt
ap_trampoline_end:

	.code32
ap_start32:
	movw $0x10, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %fs
	movw %ax, %gs
	movw %ax, %ss
	movl $ap_stack_top, %ebx
	movl $ap_start64, %ebp
	jmp enter_long_mode

	.code64
/*
 * void long_mode_again(void): through 32-bit mode without paging, to boot_cr3 and with the bits of boot_cr4. There,
 * the upper halves of registers, and R8 to R15, are not kept.
 */
	.globl long_mode_again
long_mode_again:
	pushfq
	cli
	pushq %rbx
	pushq %rbp
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	movl %esp, %ebx
	movl $long_mode_returned, %ebp
	pushq $0x18
	leaq 1f(%rip), %rax
	pushq %rax
	lretq
	.code32
1:	movl %cr0, %eax
	andl $0x7fffffff, %eax
	movl %eax, %cr0
	jmp enter_long_mode
	.code64
long_mode_returned:
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbp
	popq %rbx
	popfq
	ret

/* void gdt_load(const void *gdtr, uint16_t tss) */
	.globl gdt_load
gdt_load:
	lgdt (%rdi)
	pushq $0x08
	leaq 1f(%rip), %rax
	pushq %rax
	lretq
1:	movw $0x10, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %fs
	movw %ax, %gs
	movw %ax, %ss
	ltr %si
	ret

	.data
	.balign 16
	.globl gdt
/* 0x08 64-bit code, 0x10 data, 0x18 32-bit code; trap.c adds a TSS for each CPU from 0x20 on. */
gdt:
	.quad 0
	.quad 0x00af9b000000ffff
	.quad 0x00cf93000000ffff
	.quad 0x00cf9b000000ffff
	.fill 8, 8, 0
	.globl gdt_end
gdt_end:
boot_gdtr:
	.word 0x1f
	.quad gdt
	.globl boot_cr3, boot_cr4
boot_cr3:
	.long page_pml4
boot_cr4:
	.long CR4_PAE
	.globl boot_magic, boot_info
boot_magic:
	.long 0
boot_info:
	.long 0

	.bss
	.balign 4096
	.globl page_pml4, page_pml5
page_pml5:
	.skip 4096
page_pml4:
	.skip 4096
page_pdpt:
	.skip 4096
page_pd:
	.skip 4 * 4096
	.globl boot_stack_top, ap_stack_top
	.skip 65536
boot_stack_top:
	.skip 65536
ap_stack_top:

	.section .note.GNU-stack, "", @progbits
