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
#include "cpu/switch.h"

	.text
	.globl	svm_enter
	.hidden	svm_enter
	.type	svm_enter, @function
svm_enter:
	entry_point
	push_callee_saved
	push	%rdx
	push	%rsi
	push	%rdi
	mov	%rsi, %rax
	clgi
	sti				/* not right before VMRUN: its shadow is the host's */
	vmload	%rax
	load_guest_registers
	vmrun	%rax
	cli
	/* RAX and RSP are the host's again (APM 15.6). */
	mov	(%rsp), %rax
	store_guest_registers %rax
	mov	%rdi, REGS_RDI(%rax)
	xor	%edi, %edi
	xor	%ebx, %ebx
	clear_guest_registers
	mov	8(%rsp), %rax
	vmsave	%rax
	mov	16(%rsp), %rax
	vmload	%rax
	stgi
	add	$24, %rsp
	pop_callee_saved
	ret
	.size	svm_enter, . - svm_enter

	.section .note.GNU-stack, "", @progbits
