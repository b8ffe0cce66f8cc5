/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program for Linux that powers the machine off by its power-management port: AxVisor's ACPI tables name no
 * soft-off state, so the kernel itself cannot.
 */
	.globl _start
_start:
	mov $172, %eax /* iopl */
	mov $3, %edi
	syscall
	mov $0x604, %dx
	mov $0x2000, %ax
	out %ax, %dx
1:
	jmp 1b
