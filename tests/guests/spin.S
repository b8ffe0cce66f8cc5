/* SPDX-License-Identifier: Apache-2.0 */
/* A boot sector that asks for something, without a line feed, and waits for ever. */
	.code16
	.text
	.globl	_start
_start:
	xorw	%ax, %ax
	movw	%ax, %ds
	movw	$prompt, %si
	cld
1:	lodsb
	testb	%al, %al
	jz	2f
	call	putc
	jmp	1b
2:	jmp	2b

#include "serial.inc"

prompt:	.asciz	"first line\r\nready> "
