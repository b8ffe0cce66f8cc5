/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uint32_t vmx_enter(struct vmx_vcpu *v, uint32_t launched): enters the guest of the current VMCS and
 * returns at its next VM exit, or at once when the entry fails (enum vmx_entry).
 *
 * System V calling convention; IRQs off. HOST_RSP is this function's own stack frame, so an NMI or a
 * machine check right after the exit finds a good stack. The frame's top holds v, through which the
 * guest's general registers are loaded and stored: v begins with struct x86vcpu_regs.
 *
 * VMLAUNCH and VMRESUME set CF (VMfailInvalid) or ZF (VMfailValid) and fall through when they fail
 * (SDM 31.2); a VM exit clears RFLAGS and arrives at vmx_exit_point.
 */
#include "vmx/offsets.h"

	.text
	.globl	vmx_enter
	.hidden	vmx_enter
	.type	vmx_enter, @function
vmx_enter:
	push	%rbp
	push	%rbx
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	push	%rdi
	cmp	%rsp, VMX_HOST_RSP(%rdi)
	je	1f
	mov	%rsp, VMX_HOST_RSP(%rdi)
	mov	$VMX_FIELD_HOST_RSP, %eax
	vmwrite	%rsp, %rax
	jbe	.Lfailed
1:
	test	%esi, %esi		/* ZF survives the loads below */
	mov	REGS_RAX(%rdi), %rax
	mov	REGS_RCX(%rdi), %rcx
	mov	REGS_RDX(%rdi), %rdx
	mov	REGS_RBX(%rdi), %rbx
	mov	REGS_RBP(%rdi), %rbp
	mov	REGS_RSI(%rdi), %rsi
	mov	REGS_R8(%rdi), %r8
	mov	REGS_R9(%rdi), %r9
	mov	REGS_R10(%rdi), %r10
	mov	REGS_R11(%rdi), %r11
	mov	REGS_R12(%rdi), %r12
	mov	REGS_R13(%rdi), %r13
	mov	REGS_R14(%rdi), %r14
	mov	REGS_R15(%rdi), %r15
	mov	REGS_RDI(%rdi), %rdi
	jz	2f
	vmresume
	jmp	.Lfailed
2:
	vmlaunch
.Lfailed:
	mov	$VMX_ENTRY_FAIL_INVALID_VALUE, %eax
	mov	$VMX_ENTRY_FAIL_VALID_VALUE, %ecx
	cmovnc	%ecx, %eax
	pop	%rdi
	jmp	.Lreturn

	.globl	vmx_exit_point
	.hidden	vmx_exit_point
vmx_exit_point:
	push	%rdi
	mov	8(%rsp), %rdi
	mov	%rax, REGS_RAX(%rdi)
	mov	%rcx, REGS_RCX(%rdi)
	mov	%rdx, REGS_RDX(%rdi)
	mov	%rbx, REGS_RBX(%rdi)
	mov	%rbp, REGS_RBP(%rdi)
	mov	%rsi, REGS_RSI(%rdi)
	popq	REGS_RDI(%rdi)
	mov	%r8, REGS_R8(%rdi)
	mov	%r9, REGS_R9(%rdi)
	mov	%r10, REGS_R10(%rdi)
	mov	%r11, REGS_R11(%rdi)
	mov	%r12, REGS_R12(%rdi)
	mov	%r13, REGS_R13(%rdi)
	mov	%r14, REGS_R14(%rdi)
	mov	%r15, REGS_R15(%rdi)
	pop	%rdi
	xor	%eax, %eax
.Lreturn:
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbx
	pop	%rbp
	ret
	.size	vmx_enter, . - vmx_enter

	.section .note.GNU-stack, "", @progbits
