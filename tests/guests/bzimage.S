/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a Linux boot loader sees as a bzImage: one setup sector behind the boot sector, and a 64-bit
 * "kernel" that checks what the 64-bit boot protocol promises it, prints its command line, its RAM
 * and its initrd, and ends with the number of the check that failed, 0 for none. It runs wherever it
 * was put, but wants to be at its preferred address.
 */
	.set	LOAD_ADDRESS, 0x1000000
	.set	UART, 0x3f8
	.set	EXIT_PORT, 0xf4

	/* struct boot_params */
	.set	BP_E820_ENTRIES, 0x1e8
	.set	BP_TYPE_OF_LOADER, 0x210
	.set	BP_RAMDISK_IMAGE, 0x218
	.set	BP_RAMDISK_SIZE, 0x21c
	.set	BP_HEADER, 0x202
	.set	BP_CMD_LINE_PTR, 0x228
	.set	BP_E820_TABLE, 0x2d0

	.text
	.globl	_start
_start:
	.org	0x1f1
	.byte	1			/* setup_sects */
	.word	0
	.long	(payload_end - payload + 15) / 16	/* syssize */
	.word	0, 0, 0
	.org	0x1fe
	.word	0xaa55
	.byte	0xeb, header_end - 0x202	/* jmp: its offset says where the header ends */
	.org	0x202
	.ascii	"HdrS"
	.word	0x20c			/* version: 2.12 */
	.org	0x211
	.byte	1			/* loadflags: LOADED_HIGH */
	.org	0x22c
	.long	0x7fffffff		/* initrd_addr_max */
	.long	0x200000		/* kernel_alignment */
	.byte	1, 21			/* relocatable, min_alignment */
	.word	1			/* xloadflags: XLF_KERNEL_64 */
	.long	2047			/* cmdline_size */
	.org	0x258
	.quad	LOAD_ADDRESS		/* pref_address */
	.long	0x200000		/* init_size */
	.long	0
header_end:

	.org	0x400
payload:
	.org	0x600
	.code64

	/* check NUMBER, CONDITION: ends the run unless the flags say CONDITION. */
	.macro	check number, condition
	movl	$\number, %ebx
	j\()\condition 9f
	jmp	failed
9:
	.endm

	leaq	stack_top(%rip), %rsp
	leaq	0(%rip), %rax		/* the address of the next instruction */
here:	subq	$here - payload, %rax
	cmpq	$LOAD_ADDRESS, %rax
	check	1, e
	movw	%cs, %ax
	cmpw	$0x10, %ax
	check	2, e
	movw	%ds, %ax
	cmpw	$0x18, %ax
	check	3, e
	movl	$0xc0000080, %ecx	/* EFER: LMA and LME */
	rdmsr
	andl	$0x500, %eax
	cmpl	$0x500, %eax
	check	4, e
	pushfq
	popq	%rax
	testl	$0x200, %eax		/* interrupts are off */
	check	5, z
	cmpl	$0x53726448, BP_HEADER(%rsi)
	check	6, e
	cmpb	$0, BP_TYPE_OF_LOADER(%rsi)
	check	7, ne
	cmpb	$2, BP_E820_ENTRIES(%rsi)
	check	8, ae

	/* The segments survive being loaded again, so the GDT is as the protocol says. */
	movw	$0x18, %ax
	movw	%ax, %ss
	movw	%ax, %ds
	pushq	$0x10
	leaq	1f(%rip), %rax
	pushq	%rax
	lretq
1:
	/* All of the first 4 GiB is mapped: nothing is there, and that reads as ones. */
	movl	$0xfffff000, %eax
	movl	(%rax), %eax
	cmpl	$-1, %eax
	check	9, e

	leaq	greeting(%rip), %rdi
	call	puts
	movl	BP_CMD_LINE_PTR(%rsi), %edi
	call	puts
	leaq	ram(%rip), %rdi
	call	puts
	movzbl	BP_E820_ENTRIES(%rsi), %eax
	imull	$20, %eax, %eax
	movq	BP_E820_TABLE-20(%rsi,%rax), %rdi
	addq	BP_E820_TABLE-20+8(%rsi,%rax), %rdi
	shrq	$20, %rdi
	call	put_hex
	leaq	initrd(%rip), %rdi
	call	puts
	movl	BP_RAMDISK_IMAGE(%rsi), %edi
	movl	BP_RAMDISK_SIZE(%rsi), %ecx
2:	jecxz	3f
	movb	(%rdi), %al
	call	putc
	incq	%rdi
	decl	%ecx
	jmp	2b
3:	movb	$'\n', %al
	call	putc
	xorl	%ebx, %ebx

/* EBX: the exit code. */
failed:	movl	%ebx, %eax
	outb	%al, $EXIT_PORT
4:	hlt
	jmp	4b

/* RDI: a text that ends with 0. */
puts:	movb	(%rdi), %al
	testb	%al, %al
	jz	5f
	call	putc
	incq	%rdi
	jmp	puts
5:	ret

/* RDI: a number below 2^32, as eight hexadecimal digits. */
put_hex:
	movl	$8, %r8d
6:	roll	$4, %edi
	movl	%edi, %eax
	andl	$15, %eax
	leaq	digits(%rip), %rdx
	movb	(%rdx,%rax), %al
	call	putc
	decl	%r8d
	jnz	6b
	ret

/* AL: a byte. Clobbers DX. */
putc:	movw	$UART, %dx
	outb	%al, %dx
	ret

digits:	.ascii	"0123456789abcdef"
greeting: .asciz "64-bit entry\ncommand line: "
ram:	.asciz	"\nRAM ends at MiB "
initrd:	.asciz	"\ninitrd: "
	.balign	16
	.space	256
stack_top:
payload_end:
