/* SPDX-License-Identifier: Apache-2.0 */
/* A boot sector that restarts the machine through the keyboard controller. */
	.code16
	.text
	.globl	_start
_start:
	movb	$0xfe, %al
	outb	%al, $0x64
1:	cli
	hlt
	jmp	1b
