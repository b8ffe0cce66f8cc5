/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands in a test guest's interrupt tables: for each vector an entry that leads to a handler
 * which writes a struct guest_trap at RECORD (guest.h) and tells the host with VMCALL,
 * RAX = TRAP_CALL. When the host runs on, the handler returns.
 */
#define RECORD 0x4000
#define TRAP_CALL 0x74726170

	.section .rodata
	.balign 16
	.code64
	.globl stubs64, stubs64_end
stubs64:
	vector = 0
	.rept 256
	.balign 16
	.if vector != 8 && vector != 10 && vector != 11 && vector != 12 && vector != 13 && vector != 14 && vector != 17 && vector != 21 && vector != 29 && vector != 30
	pushq $0
	.endif
	pushq $vector
	jmp common64
	vector = vector + 1
	.endr
	.balign 16
common64:
	pushq %rax
	pushq %rbx
	movl $RECORD, %ebx
	incq (%rbx)
	movq 16(%rsp), %rax
	movq %rax, 8(%rbx)
	movq 24(%rsp), %rax
	movq %rax, 16(%rbx)
	movq 32(%rsp), %rax
	movq %rax, 24(%rbx)
	movq 40(%rsp), %rax
	movq %rax, 32(%rbx)
	movq 48(%rsp), %rax
	movq %rax, 40(%rbx)
	movq 56(%rsp), %rax
	movq %rax, 48(%rbx)
	movq %cr2, %rax
	movq %rax, 56(%rbx)
	leaq 32(%rsp), %rax
	movq %rax, 64(%rbx)
	movl $TRAP_CALL, %eax
	vmcall
	popq %rbx
	popq %rax
	addq $16, %rsp
	iretq
stubs64_end:

	.balign 16
	.code32
	.globl stubs32, stubs32_end
stubs32:
	vector = 0
	.rept 256
	.balign 16
	.if vector != 8 && vector != 10 && vector != 11 && vector != 12 && vector != 13 && vector != 14 && vector != 17 && vector != 21 && vector != 29 && vector != 30
	pushl $0
	.endif
	pushl $vector
	jmp common32
	vector = vector + 1
	.endr
	.balign 16
common32:
	pushl %eax
	pushl %ebx
	movl $RECORD, %ebx
	incl %ss:(%ebx)
	movl 8(%esp), %eax
	movl %eax, %ss:8(%ebx)
	movl 12(%esp), %eax
	movl %eax, %ss:16(%ebx)
	movl 16(%esp), %eax
	movl %eax, %ss:24(%ebx)
	movl 20(%esp), %eax
	movl %eax, %ss:32(%ebx)
	movl 24(%esp), %eax
	movl %eax, %ss:40(%ebx)
	movl %cr2, %eax
	movl %eax, %ss:56(%ebx)
	leal 16(%esp), %eax
	movl %eax, %ss:64(%ebx)
	movl $TRAP_CALL, %eax
	vmcall
	popl %ebx
	popl %eax
	addl $8, %esp
	iretl
stubs32_end:

	.balign 16
	.code16
	.globl stubs16, stubs16_end
stubs16:
	vector = 0
	.rept 256
	.balign 8
	pushw $vector
	jmp common16
	vector = vector + 1
	.endr
	.balign 8
common16:
	pushw %ds
	pushl %eax
	pushw %bp
	movw %sp, %bp
	xorw %ax, %ax
	movw %ax, %ds
	incl RECORD
	movzwl 8(%bp), %eax
	movl %eax, RECORD + 8
	movzwl 10(%bp), %eax
	movl %eax, RECORD + 24
	movzwl 12(%bp), %eax
	movl %eax, RECORD + 32
	movzwl 14(%bp), %eax
	movl %eax, RECORD + 40
	leaw 10(%bp), %ax
	movzwl %ax, %eax
	movl %eax, RECORD + 64
	movl $TRAP_CALL, %eax
	vmcall
	popw %bp
	popl %eax
	popw %ds
	addw $2, %sp
	iretw
stubs16_end:
	.code64

	.section .note.GNU-stack, "", @progbits
