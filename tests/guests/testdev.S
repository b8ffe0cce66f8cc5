/* SPDX-License-Identifier: Apache-2.0 */
/* A boot sector that ends with 0 if the test device's register keeps what is written, and with 1 if not. */
	.code16
	.text
	.globl	_start
_start:
	movl	$0x12345678, %eax
	movw	$0xe0, %dx
	outl	%eax, %dx
	xorl	%eax, %eax
	inl	%dx, %eax
	cmpl	$0x12345678, %eax
	setne	%al
	outb	%al, $EXIT_PORT
1:	hlt
	jmp	1b

#include "serial.inc"
