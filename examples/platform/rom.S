/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ROM image: the payload, then this stub in the last 256 bytes below 4 GiB. The reset vector
 * (SDM Vol. 3, 10.1.4) enters it in real mode with CS based at 0xffff0000; it goes to protected mode
 * at once, copies the payload to 1 MiB and jumps to it with "ROM\0" in EAX.
 *
 * ROM_SIZE (a power of two, a multiple of 64 KiB), PAYLOAD (file name) and PAYLOAD_SIZE come from
 * the command line. The section is linked at 4 GiB - ROM_SIZE.
 */
	.section .text
rom:
	.incbin PAYLOAD
	.org ROM_SIZE - 256, 0xff

	.code32
rom32:
	movw $0x10, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	cld
	movl $(0x100000000 - ROM_SIZE), %esi
	movl $0x100000, %edi
	movl $((PAYLOAD_SIZE + 3) / 4), %ecx
	rep movsl
	movl $0x524f4d00, %eax
	xorl %ebx, %ebx
	movl ENTRY_OFFSET, %ecx
	jmp *%ecx

	/* The accessed bits are set already: the CPU cannot write them here. */
	.balign 8
gdt:
	.quad 0
	.quad 0x00cf9b000000ffff
	.quad 0x00cf93000000ffff
gdtr:
	.word gdtr - gdt - 1
	.long 0x100000000 - ROM_SIZE + (gdt - rom)

	.code16
rom16:
	cli
	lgdtl %cs:(gdtr - rom - (ROM_SIZE - 65536))
	movl %cr0, %eax
	andl $0x9fffffff, %eax
	orl $1, %eax
	movl %eax, %cr0
	ljmpl $8, $(0x100000000 - ROM_SIZE + (rom32 - rom))

	.org ROM_SIZE - 16, 0xff
	.byte 0xe9
	.word rom16 - rom - (ROM_SIZE - 13)
	.org ROM_SIZE, 0xff
