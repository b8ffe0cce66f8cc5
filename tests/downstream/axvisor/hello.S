/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AxVisor's guest: asks CPUID who the hypervisor is, says so on COM1, a few times, and powers the machine off. Flat,
 * at 0x200000, entered in 32-bit protected mode.
 */
	.code32
	.section .text, "ax"
	.globl _start
_start:
	/* CPUID exits come back to the guest with every register but the four kept. */
	mov $1000, %edi
again:
	xor %eax, %eax
	cpuid
	dec %edi
	jnz again
	mov $0x40000000, %eax
	cpuid
	mov %ebx, name
	mov %ecx, name + 4
	mov %edx, name + 8
	/* AxVisor writes to the same console, also in the middle of a line. */
	mov $5, %edi
line:
	mov $hello, %esi
	call print
	mov $name, %esi
	call print
	mov $bye, %esi
	call print
	dec %edi
	jnz line
	mov $0x604, %dx /* ACPI power management: S5 */
	mov $0x2000, %ax
	out %ax, %dx
stop:
	hlt
	jmp stop

print:
	lodsb
	test %al, %al
	jz 2f
	mov %al, %bl
	mov $0x3fd, %dx
1:
	in %dx, %al
	test $0x20, %al
	jz 1b
	mov %bl, %al
	mov $0x3f8, %dx
	out %al, %dx
	jmp print
2:
	ret

hello:
	.asciz "guest: hello from "
bye:
	.asciz ", powering off\n"
name:
	.skip 13
