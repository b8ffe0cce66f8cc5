/* SPDX-License-Identifier: Apache-2.0 */
/* A boot sector that says something and stops with interrupts off. */
	.code16
	.text
	.globl	_start
_start:
	movb	$'h', %al
	call	putc
	movb	$'\n', %al
	call	putc
	cli
1:	hlt
	jmp	1b

#include "serial.inc"
