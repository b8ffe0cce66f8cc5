/* SPDX-License-Identifier: Apache-2.0 */
/* A boot sector that shuts the CPU down: an interrupt without an IDT, and no IDT for the fault either. */
	.code16
	.text
	.globl	_start
_start:
	movb	$'t', %al
	call	putc
	movb	$'\n', %al
	call	putc
	cli
	lidt	%cs:no_idt
	int3
1:	hlt
	jmp	1b

no_idt:	.word	0
	.long	0

#include "serial.inc"
