/* SPDX-License-Identifier: Apache-2.0 */
/*
 * void svm_enter(struct guest *g, uint64_t vmcb_hpa, uint64_t host_hpa): enters the guest of the VMCB
 * and returns at its next #VMEXIT.
 *
 * System V calling convention; RFLAGS.IF = 0. GIF is 0 from CLGI to STGI, so that no NMI or machine check
 * finds the guest's TR, FS and GS loaded (APM 15.17). IF is 1 across VMRUN: with V_INTR_MASKING it decides
 * whether physical interrupts leave the guest (APM 15.21.1). `host_hpa` holds what VMSAVE stored of the
 * host. RAX and RSP are in the VMCB. g begins with struct x86vcpu_regs.
 */
#include "svm/offsets.h"

	.text
	.globl	svm_enter
	.hidden	svm_enter
	.type	svm_enter, @function
svm_enter:
	push	%rbp
	push	%rbx
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	push	%rdx
	push	%rsi
	push	%rdi
	mov	%rsi, %rax
	clgi
	sti				/* not right before VMRUN: its shadow is the host's */
	vmload	%rax
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
	vmrun	%rax
	cli
	/* RAX and RSP are the host's again (APM 15.6). */
	mov	(%rsp), %rax
	mov	%rcx, REGS_RCX(%rax)
	mov	%rdx, REGS_RDX(%rax)
	mov	%rbx, REGS_RBX(%rax)
	mov	%rbp, REGS_RBP(%rax)
	mov	%rsi, REGS_RSI(%rax)
	mov	%rdi, REGS_RDI(%rax)
	mov	%r8, REGS_R8(%rax)
	mov	%r9, REGS_R9(%rax)
	mov	%r10, REGS_R10(%rax)
	mov	%r11, REGS_R11(%rax)
	mov	%r12, REGS_R12(%rax)
	mov	%r13, REGS_R13(%rax)
	mov	%r14, REGS_R14(%rax)
	mov	%r15, REGS_R15(%rax)
	mov	8(%rsp), %rax
	vmsave	%rax
	mov	16(%rsp), %rax
	vmload	%rax
	stgi
	add	$24, %rsp
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbx
	pop	%rbp
	ret
	.size	svm_enter, . - svm_enter

	.section .note.GNU-stack, "", @progbits
