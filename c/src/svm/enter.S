/* SPDX-License-Identifier: Apache-2.0 */
/*
 * void svm_enter(struct guest *g, uint64_t vmcb_hpa, uint64_t host_hpa): enters the guest of the VMCB
 * and returns at its next #VMEXIT.
 *
 * System V calling convention; RFLAGS.IF = 0. GIF is 0 from CLGI to STGI, so that no NMI or machine check
 * finds the guest's TR, FS and GS loaded (APM 15.17). IF is 1 across VMRUN: with V_INTR_MASKING it decides
 * whether physical interrupts leave the guest (APM 15.21.1). `host_hpa` holds what VMSAVE stored of the
 * host. RAX and RSP are in the VMCB. g begins with struct x86vcpu_regs.
 *
 * svm_enter_mitigated is the same with the steps of cpu/switch.h. There are two because a guest can train a branch that
 * decides after the exit whether a step is taken.
 */
#include "cpu/switch.h"
#include "svm/offsets.h"

.macro svm_world_switch enter, mitigated
	.globl	\enter
	.hidden	\enter
	.type	\enter, @function
\enter:
	entry_point
	push_callee_saved
.if \mitigated
	mov	%ss, %eax		/* VERW's operand: a writable data segment is the fast case */
	push	%rax
.endif
	push	%rdx
	push	%rsi
	push	%rdi
	mov	%rsi, %rax
	clgi
	sti				/* not right before VMRUN: its shadow is the host's */
	vmload	%rax
.if \mitigated
	take_steps_before_entry
	mov	8(%rsp), %rax
	testl	$SWITCH_VERW, SWITCH_STEPS(%rdi) /* ZF survives the loads below */
	load_guest_registers
	jz	1f
	verw	24(%rsp)
1:
.else
	load_guest_registers
.endif
	vmrun	%rax
	cli
	/* RAX and RSP are the host's again (APM 15.6). */
	mov	(%rsp), %rax
	store_guest_registers %rax
	mov	%cr2, %rcx		/* before STGI: an NMI's handler may take a page fault */
	mov	%rcx, SVM_GUEST_CR2(%rax)
	mov	%rdi, REGS_RDI(%rax)
	mov	%rax, %rdi
	xor	%ebx, %ebx
	clear_guest_registers
.if \mitigated
	take_steps_after_exit
.endif
	mov	8(%rsp), %rax
	vmsave	%rax
	mov	16(%rsp), %rax
	vmload	%rax
	stgi
.if \mitigated
	add	$32, %rsp
.else
	add	$24, %rsp
.endif
	pop_callee_saved
	return
	.size	\enter, . - \enter
.endm

	.text
	svm_world_switch svm_enter, 0
	svm_world_switch svm_enter_mitigated, 1

	.section .note.GNU-stack, "", @progbits
