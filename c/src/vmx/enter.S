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
#include "cpu/switch.h"
#include "vmx/offsets.h"

	.text
	.globl	vmx_enter
	.hidden	vmx_enter
	.type	vmx_enter, @function
vmx_enter:
	entry_point
	push_callee_saved
	push	%rdi
	cmp	%rsp, VMX_HOST_RSP(%rdi)
	je	1f
	mov	$VMX_FIELD_HOST_RSP, %eax
	vmwrite	%rsp, %rax
	jbe	.Lfailed
	mov	%rsp, VMX_HOST_RSP(%rdi)
1:
	test	%esi, %esi		/* ZF survives the loads below */
	mov	REGS_RAX(%rdi), %rax
	load_guest_registers
	jz	2f
	vmresume
	jmp	.Lfailed
2:
	vmlaunch
.Lfailed:
	mov	$VMX_ENTRY_FAIL_INVALID_VALUE, %ebx
	mov	$VMX_ENTRY_FAIL_VALID_VALUE, %eax
	cmovnc	%eax, %ebx
	mov	(%rsp), %rdi
	jmp	.Lreturn

	.globl	vmx_exit_point
	.hidden	vmx_exit_point
vmx_exit_point:
	push	%rdi
	mov	8(%rsp), %rdi
	mov	%rax, REGS_RAX(%rdi)
	store_guest_registers %rdi
	popq	REGS_RDI(%rdi)
	xor	%ebx, %ebx
.Lreturn:
	clear_guest_registers
	mov	%ebx, %eax
	pop	%rdi
	pop_callee_saved
	ret
	.size	vmx_enter, . - vmx_enter

	.section .note.GNU-stack, "", @progbits
