/* SPDX-License-Identifier: Apache-2.0 */
/* A boot sector that prints with REP OUTSB, and reads a port nobody answers at with every width. */
	.code16
	.text
	.globl	_start
_start:
	xorw	%ax, %ax
	movw	%ax, %ds
	movw	%ax, %es
	cld
	movw	$UART, %dx
	movw	$text, %si
	movw	$text_end - text, %cx
	rep outsb
	movw	$0x510, %dx		/* nobody: all ones */
	xorl	%eax, %eax
	inb	%dx, %al
	cmpl	$0xff, %eax
	jne	failed
	xorl	%eax, %eax
	inw	%dx, %ax
	cmpl	$0xffff, %eax
	jne	failed
	xorl	%eax, %eax
	inl	%dx, %eax
	cmpl	$-1, %eax
	jne	failed
	movw	$buffer, %di
	movw	$2, %cx
	rep insw
	cmpl	$-1, buffer
	jne	failed
	movw	$0xb800, %ax		/* no VGA, but its text is memory */
	movw	%ax, %ds
	movw	$0x1234, 0
	movw	0, %ax
	cmpw	$0x1234, %ax
	jne	failed
	movl	$0x80000400, %eax	/* PCI's address port: its second byte is not the reset port */
	movw	$0xcf8, %dx
	outl	%eax, %dx
	xorb	%al, %al
	outb	%al, $EXIT_PORT
failed:	movb	$1, %al
	outb	%al, $EXIT_PORT

#include "serial.inc"

text:	.ascii	"strings work\r\n"
text_end:
buffer:	.long	0
