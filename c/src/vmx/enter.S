/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uint32_t vmx_enter(struct vmx_vcpu *v, uint32_t launched): enters the guest of the current VMCS and
 * returns at its next VM exit, or immediately when the entry fails (enum vmx_entry).
 *
 * System V calling convention; IRQs off. HOST_RSP is this function's own stack frame, so an NMI or a
 * machine check right after the exit finds a good stack. The frame's top holds v, through which the
 * guest's general registers are loaded and stored: v begins with struct x86vcpu_regs.
 *
 * VMLAUNCH and VMRESUME set CF (VMfailInvalid) or ZF (VMfailValid) and fall through when they fail
 * (SDM 31.2); a VM exit clears RFLAGS and arrives at vmx_exit_point.
 *
 * vmx_enter_mitigated and vmx_mitigated_exit_point are the same with the steps of cpu/switch.h. There are two of each
 * because a guest can train a branch that decides after the exit whether a step is taken.
 */
#include "cpu/switch.h"
#include "vmx/offsets.h"

.macro vmx_world_switch enter, exit_point, mitigated
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
	push	%rdi
	cmp	%rsp, VMX_HOST_RSP(%rdi)
	je	1f
	mov	$VMX_FIELD_HOST_RSP, %eax
	vmwrite	%rsp, %rax
	jbe	3f
	mov	%rsp, VMX_HOST_RSP(%rdi)
1:
.if \mitigated
	take_steps_before_entry
	/* ZF and CF survive the loads below. VERW changes ZF alone, BT CF alone. */
	testl	$SWITCH_VERW, SWITCH_STEPS(%rdi)
	bt	$0, %esi
	mov	REGS_RAX(%rdi), %rax
	load_guest_registers
	jz	2f
	verw	8(%rsp)
2:
	jnc	2f
.else
	test	%esi, %esi		/* ZF survives the loads below */
	mov	REGS_RAX(%rdi), %rax
	load_guest_registers
	jz	2f
.endif
	vmresume
	jmp	3f
2:
	vmlaunch
3:
	mov	$VMX_ENTRY_FAIL_INVALID_VALUE, %ebx
	mov	$VMX_ENTRY_FAIL_VALID_VALUE, %eax
	cmovnc	%eax, %ebx
	mov	(%rsp), %rdi
	jmp	4f

	.globl	\exit_point
	.hidden	\exit_point
\exit_point:
	entry_point
	push	%rdi
	mov	8(%rsp), %rdi
	mov	%rax, REGS_RAX(%rdi)
	store_guest_registers %rdi
	popq	REGS_RDI(%rdi)
	xor	%ebx, %ebx
4:
	clear_guest_registers
.if \mitigated
	take_steps_after_exit
.endif
	mov	%ebx, %eax
	pop	%rdi
.if \mitigated
	pop	%rcx
.endif
	pop_callee_saved
	return
	.size	\enter, . - \enter
.endm

	.text
	vmx_world_switch vmx_enter, vmx_exit_point, 0
	vmx_world_switch vmx_enter_mitigated, vmx_mitigated_exit_point, 1

	.section .note.GNU-stack, "", @progbits
