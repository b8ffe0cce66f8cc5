/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The supervisor's start by a Multiboot 2 loader, its way into an image and back, its exceptions, and what the
 * other CPUs execute to say that they are there.
 */
#define MULTIBOOT2_MAGIC 0xe85250d6
#define CR0_PE_MP_ET_NE_WP_PG 0x80010033
#define CR0_PE_ET 0x11
#define CR4_PAE 0x20
#define MSR_EFER 0xc0000080
#define EFER_LME 0x100
#define CODE64 0x08
#define DATA 0x10
#define CODE32 0x18

	.section .multiboot2, "a"
	.balign 8
header:
	.long MULTIBOOT2_MAGIC, 0, header_end - header, -(MULTIBOOT2_MAGIC + (header_end - header))
	.balign 8
#ifdef FRAME_BUFFER
	/* The loader may choose another. Without this tag the screen stays in text mode, which UEFI does not have. */
	.word 5, 1
	.long 20, 1024, 768, 32
	.balign 8
#endif
	.word 0, 0
	.long 8
header_end:

	.text
	.code32
	.globl _start
_start:
	cli
	cld
	movl %eax, loader_magic
	movl %ebx, loader_info
	lgdt gdtr
	ljmp $CODE32, $1f
1:	movl $DATA, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss

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
	movl $CR4_PAE, %eax
	movl %eax, %cr4
	movl $page_pml4, %eax
	movl %eax, %cr3
	movl $MSR_EFER, %ecx
	movl $EFER_LME, %eax
	xorl %edx, %edx
	wrmsr
	movl $CR0_PE_MP_ET_NE_WP_PG, %eax
	movl %eax, %cr0
	ljmp $CODE64, $start64

	.code64
start64:
	movl $stack_top, %esp
	xorl %ebp, %ebp
	call supervisor_start
	ud2

/*
 * uint32_t enter_image(uint32_t entry, uint32_t magic, uint32_t info): enters the image as a Multiboot loader
 * does, in 32-bit protected mode without paging, and returns its verdict.
 */
	.globl enter_image
enter_image:
	push	%rbp
	push	%rbx
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rsp, saved_rsp
	mov	%edi, %ecx
	mov	%esi, %edi
	mov	%edx, %esi
	pushq	$CODE32
	lea	4f(%rip), %rax
	push	%rax
	lretq
	.code32
4:	movl	$DATA, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	movl	$CR0_PE_ET, %eax
	movl	%eax, %cr0
	movl	%ecx, %ebp
	movl	$MSR_EFER, %ecx
	xorl	%eax, %eax
	xorl	%edx, %edx
	wrmsr
	movl	%edi, %eax
	movl	%esi, %ebx
	jmp	*%ebp

/* Where an image goes at its end, in 64-bit mode, with its own tables; EDI is its verdict. */
	.code64
	.globl leave_image
leave_image:
	cli
	lgdt	gdtr
	lidt	idtr
	/* Through 32-bit mode without paging: an image with 5-level paging cannot leave it in 64-bit mode (SDM 4.1.2). */
	lea	stack_top(%rip), %rsp
	pushq	$CODE32
	lea	7f(%rip), %rax
	push	%rax
	lretq
	.code32
7:	movl	$DATA, %eax
	movl	%eax, %ss
	movl	$CR0_PE_ET, %eax
	movl	%eax, %cr0
	movl	$CR4_PAE, %eax
	movl	%eax, %cr4
	movl	$page_pml4, %eax
	movl	%eax, %cr3
	movl	$MSR_EFER, %ecx
	movl	$EFER_LME, %eax
	xorl	%edx, %edx
	wrmsr
	movl	$CR0_PE_MP_ET_NE_WP_PG, %eax
	movl	%eax, %cr0
	ljmp	$CODE64, $8f
	.code64
8:	mov	saved_rsp, %rsp
	/* The image may have been left by an NMI's handler. IRET ends the blocking of NMIs (SDM 6.7.1). */
	mov	%rsp, %rax
	pushq	$DATA
	push	%rax
	pushq	$2
	pushq	$CODE64
	lea	5f(%rip), %rax
	push	%rax
	iretq
5:	mov	$DATA, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %fs
	mov	%eax, %gs
	xor	%eax, %eax
	lldt	%ax
	fninit
	mov	%edi, %eax
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbx
	pop	%rbp
	ret

/*
 * The other CPUs, in real mode on a copy of this at a page below 1 MiB: each writes its initial APIC ID (CPUID 1,
 * EBX[31:24]) into the next place of the table at the page's middle, and waits for INIT.
 */
	.code16
	.globl roll_call, roll_call_end
roll_call:
	cli
	movw	%cs, %ax
	movw	%ax, %ds
	movl	$1, %eax
	cpuid
	shrl	$24, %ebx
	movl	$1, %eax
	lock xaddl %eax, 0x800
	cmpl	$255, %eax
	jae	6f
	movb	%bl, 0x804(%eax)
6:	hlt
	jmp	6b
roll_call_end:

	.data
	.balign 16
gdt:
	.quad 0
	.quad 0x00af9b000000ffff
	.quad 0x00cf93000000ffff
	.quad 0x00cf9b000000ffff
gdtr:
	.word . - gdt - 1
	.quad gdt
	.globl idtr
idtr:
	.word 4095
	.quad idt
	.globl loader_magic, loader_info
loader_magic:
	.long 0
loader_info:
	.long 0
	.balign 8
saved_rsp:
	.quad 0

	.section .rodata
	.balign 16
	.globl metal_image, metal_image_end, bench_image, bench_image_end
metal_image:
	.incbin METAL
metal_image_end:
	.balign 16
bench_image:
	.incbin BENCH
bench_image_end:

	.bss
	.balign 4096
	.globl idt, page_pml4, page_screen
idt:
	.skip 4096
page_pml4:
	.skip 4096
page_pdpt:
	.skip 4096
page_pd:
	.skip 4 * 4096
/* For a frame buffer above 4 GiB. */
page_screen:
	.skip 2 * 4096
	.skip 65536
stack_top:

	.section .note.GNU-stack, "", @progbits
