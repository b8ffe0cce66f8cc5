/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A PC ROM of 64 KiB: runs from the reset vector, tells from its copy below 1 MiB that the text is
 * there too, finds that the ROM below 4 GiB cannot be written, and ends with 0.
 */
	.code16
	.section .text
	.globl	_start
_start:
	cld
	movw	$0xf000, %ax		/* the copy below 1 MiB; CS still has its base at 4 GiB - 64 KiB */
	movw	%ax, %ds
	xorw	%ax, %ax
	movw	%ax, %ss
	movw	$0x7000, %sp
	movw	$hello, %si
	call	puts
	ljmp	$0xf000, $shadow	/* now CS has a real-mode base */
shadow:	movw	$below, %si
	call	puts

	/* Big real mode, to reach the ROM at its own address. */
	lgdtl	%cs:gdt_pointer
	movl	%cr0, %eax
	orb	$1, %al
	movl	%eax, %cr0
	movw	$8, %bx
	movw	%bx, %es
	andb	$0xfe, %al
	movl	%eax, %cr0
	movl	$0xffff0000 + hello, %edi
	movb	$'X', %es:(%edi)
	cmpb	$'h', %es:(%edi)
	jne	writable
	movw	$protected, %si
	call	puts
	xorb	%al, %al
	outb	%al, $EXIT_PORT
writable:
	movb	$1, %al
	outb	%al, $EXIT_PORT
stop:	cli
	hlt
	jmp	stop

puts:	lodsb
	testb	%al, %al
	jz	1f
	call	putc
	jmp	puts
1:	ret

#include "serial.inc"

hello:	.asciz	"hello from the reset vector\r\n"
below:	.asciz	"copy below 1 MiB\r\n"
protected: .asciz "ROM is read-only\r\n"

	.balign	8
gdt:	.quad	0
	.quad	0x00cf93000000ffff
gdt_pointer:
	.word	15
	.long	0xf0000 + gdt

	.section .reset, "ax"
	.code16
	.byte	0xe9			/* jmp rel16, which stays in CS's segment */
	.word	_start - (. + 2)
	.fill	13, 1, 0x90
