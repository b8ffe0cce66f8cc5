/* SPDX-License-Identifier: Apache-2.0 */
/* 256 entry points, 16 bytes apart, that build a struct trap_frame for trap_enter. */
	.text
	.code64
	.balign 16
	.globl trap_entries
trap_entries:
	vector = 0
	.rept 256
	.balign 16
	/* The CPU pushes an error code for these itself (SDM 6.3.1). */
	.if vector != 8 && vector != 10 && vector != 11 && vector != 12 && vector != 13 && vector != 14 && vector != 17 && vector != 21 && vector != 29 && vector != 30
	pushq $0
	.endif
	pushq $vector
	jmp trap_common
	vector = vector + 1
	.endr

trap_common:
	pushq %rax
	pushq %rcx
	pushq %rdx
	pushq %rbx
	pushq %rbp
	pushq %rsi
	pushq %rdi
	pushq %r8
	pushq %r9
	pushq %r10
	pushq %r11
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	cld
	movq %rsp, %rdi
	call trap_enter
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %r11
	popq %r10
	popq %r9
	popq %r8
	popq %rdi
	popq %rsi
	popq %rbp
	popq %rbx
	popq %rdx
	popq %rcx
	popq %rax
	addq $16, %rsp
	iretq

/*
 * bool rdmsr_safe(uint32_t msr, uint64_t *value): false where RDMSR faults; trap_enter continues at
 * rdmsr_safe_fault then.
 */
	.globl rdmsr_safe, rdmsr_safe_insn, rdmsr_safe_fault
rdmsr_safe:
	movl %edi, %ecx
rdmsr_safe_insn:
	rdmsr
	shlq $32, %rdx
	orq %rdx, %rax
	movq %rax, (%rsi)
	movl $1, %eax
	ret
rdmsr_safe_fault:
	xorl %eax, %eax
	ret

/* void vmxoff_safe(void) */
	.globl vmxoff_safe, vmxoff_safe_insn, vmxoff_safe_fault
vmxoff_safe:
vmxoff_safe_insn:
	vmxoff
vmxoff_safe_fault:
	ret

	.section .note.GNU-stack, "", @progbits
