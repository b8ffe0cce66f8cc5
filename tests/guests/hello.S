/* SPDX-License-Identifier: Apache-2.0 */
/* A boot sector that greets over the serial port and ends with EXIT_CODE. */
	.code16
	.text
	.globl	_start
_start:
	xorw	%ax, %ax
	movw	%ax, %ds
	movw	%ax, %ss
	movw	$0x7c00, %sp
	cld
	cmpb	$0x80, %dl		/* a BIOS says so which drive it booted */
	jne	bad_drive
	movw	$hello, %si
	call	puts
	movb	$EXIT_CODE, %al
	outb	%al, $EXIT_PORT
stop:	cli
	hlt
	jmp	stop

bad_drive:
	movw	$drive, %si
	call	puts
	movb	$9, %al
	outb	%al, $EXIT_PORT
	jmp	stop

/* DS:SI: a text that ends with 0. */
puts:	lodsb
	testb	%al, %al
	jz	1f
	call	putc
	jmp	puts
1:	ret

#include "serial.inc"

hello:	.asciz	"hello from real mode\r\n"
drive:	.asciz	"DL is not 0x80\r\n"
