/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A boot sector that programs the interrupt controller and the timer to 1000 Hz, takes ten ticks in
 * HLT, prints a dot for each, and powers off through port 0x604. With BUSY, it does not halt but runs
 * in a loop that nothing leaves but an interrupt. VECTOR: that of IRQ 0; 8 is PC firmware's.
 */
#ifndef VECTOR
#define VECTOR 0x20
#endif
	.set	COUNT, 1193
	.code16
	.text
	.globl	_start
_start:
	cli
	xorw	%ax, %ax
	movw	%ax, %ds
	movw	%ax, %ss
	movw	$0x7c00, %sp
	movw	$tick, VECTOR * 4
	movw	%ax, VECTOR * 4 + 2

	movb	$0x11, %al		/* both chips: edge triggered, cascaded, ICW4 follows */
	outb	%al, $0x20
	outb	%al, $0xa0
	movb	$VECTOR, %al
	outb	%al, $0x21
	movb	$VECTOR + 8, %al
	outb	%al, $0xa1
	movb	$4, %al
	outb	%al, $0x21
	movb	$2, %al
	outb	%al, $0xa1
	movb	$1, %al
	outb	%al, $0x21
	outb	%al, $0xa1
	movb	$0xfe, %al		/* only the timer */
	outb	%al, $0x21
	movb	$0xff, %al
	outb	%al, $0xa1

	movb	$0x34, %al		/* channel 0, low byte then high byte, mode 2 */
	outb	%al, $0x43
	movb	$COUNT & 0xff, %al
	outb	%al, $0x40
	movb	$COUNT >> 8, %al
	outb	%al, $0x40

	movw	$10, %bx
1:	sti
#ifndef BUSY
	hlt
	cli
#endif
	cmpw	ticks, %bx
	ja	1b
	cli
	movb	$'\n', %al
	call	putc
	movw	$0x604, %dx
	movw	$0x2000, %ax
	outw	%ax, %dx
2:	hlt
	jmp	2b

tick:	pushw	%ax
	pushw	%dx
	incw	ticks
	movb	$'.', %al
	call	putc
	movb	$0x20, %al
	outb	%al, $0x20
	popw	%dx
	popw	%ax
	iretw

ticks:	.word	0

#include "serial.inc"
