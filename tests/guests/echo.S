/* SPDX-License-Identifier: Apache-2.0 */
/* A boot sector that sends back what comes in over the serial port, and ends with 0 at a dot. */
	.code16
	.text
	.globl	_start
	.set	LSR_DATA, 0x01
_start:
	movb	$'>', %al
	call	putc
next:	movw	$UART_LSR, %dx
1:	inb	%dx, %al
	testb	$LSR_DATA, %al
	jz	1b
	movw	$UART, %dx
	inb	%dx, %al
	movb	%al, %bl
	call	putc
	cmpb	$'.', %bl
	jne	next
	xorb	%al, %al
	outb	%al, $EXIT_PORT
2:	hlt
	jmp	2b

#include "serial.inc"
