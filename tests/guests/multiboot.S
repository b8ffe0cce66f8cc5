/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The start of the Multiboot guest. With ADDRESSES the header carries the load addresses itself
 * (flag 16) instead of leaving them to the ELF file.
 */
#ifdef ADDRESSES
	.set	FLAGS, 0x00010003
#else
	.set	FLAGS, 0x00000003
#endif

	.section .multiboot, "a"
	.balign	4
header:	.long	0x1badb002
	.long	FLAGS
	.long	-(0x1badb002 + FLAGS)
#ifdef ADDRESSES
	.long	header
	.long	image_start
	.long	data_end
	.long	bss_end
	.long	_start
#endif

	.text
	.code32
	.globl	_start
_start:
	movl	$stack_top, %esp
	pushl	%ebx
	pushl	%eax
	call	guest_main
1:	cli
	hlt
	jmp	1b

	.bss
	.balign	16
	.space	4096
stack_top:

	.section .note.GNU-stack, "", @progbits
