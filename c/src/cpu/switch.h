/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the two world switches share: where struct x86vcpu_regs has which register, and the moves. C
 * includes it for its static assertions.
 */
#ifndef CPU_SWITCH_H
#define CPU_SWITCH_H

#define REGS_RAX 0
#define REGS_RCX 8
#define REGS_RDX 16
#define REGS_RBX 24
#define REGS_RBP 40
#define REGS_RSI 48
#define REGS_RDI 56
#define REGS_R8 64
#define REGS_R9 72
#define REGS_R10 80
#define REGS_R11 88
#define REGS_R12 96
#define REGS_R13 104
#define REGS_R14 112
#define REGS_R15 120

/* Where struct guest_mitigation, which the same structure holds, has what a world switch does (emul/mitigation.h). */
#define SWITCH_STEPS 136
#define SWITCH_BHB_OUTER 140
#define SWITCH_BHB_INNER 141
#define SWITCH_GUEST_SPEC_CTRL 144
#define SWITCH_HOST_SPEC_CTRL 152

/* Its steps, in the order in which they are taken. */
#define SWITCH_DIVIDE 0x1
#define SWITCH_SPEC_CTRL 0x2 /* the guest's before an entry, the host's after the exit */
#define SWITCH_FLUSH_L1D 0x4
#define SWITCH_VERW 0x8
#define SWITCH_IBPB 0x10
#define SWITCH_SAVE_SPEC_CTRL 0x20 /* the guest may have written it without an exit */
#define SWITCH_FILL_RSB 0x40
#define SWITCH_CALL 0x80
#define SWITCH_CLEAR_BHB 0x100
#define SWITCH_ALL 0x1ff

#define SWITCH_MSR_SPEC_CTRL 0x48
#define SWITCH_MSR_PRED_CMD 0x49
#define SWITCH_MSR_FLUSH_CMD 0x10b

#ifdef __ASSEMBLER__

#ifdef __CET__
#include <cet.h>
#endif

/* Every register but RAX and RSP, from the struct at RDI. Leaves the flags alone. */
.macro load_guest_registers
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
.endm

/* Every register but RAX, RDI and RSP, to the struct at \base. */
.macro store_guest_registers base
	mov	%rcx, REGS_RCX(\base)
	mov	%rdx, REGS_RDX(\base)
	mov	%rbx, REGS_RBX(\base)
	mov	%rbp, REGS_RBP(\base)
	mov	%rsi, REGS_RSI(\base)
	mov	%r8, REGS_R8(\base)
	mov	%r9, REGS_R9(\base)
	mov	%r10, REGS_R10(\base)
	mov	%r11, REGS_R11(\base)
	mov	%r12, REGS_R12(\base)
	mov	%r13, REGS_R13(\base)
	mov	%r14, REGS_R14(\base)
	mov	%r15, REGS_R15(\base)
.endm

/*
 * Zero in every register but RBX, RDI and RSP. The guest chose their values, and the code that runs next could
 * use one speculatively, those that the epilogue loads from the stack included.
 */
.macro clear_guest_registers
	xor	%eax, %eax
	xor	%ecx, %ecx
	xor	%edx, %edx
	xor	%ebp, %ebp
	xor	%esi, %esi
	xor	%r8d, %r8d
	xor	%r9d, %r9d
	xor	%r10d, %r10d
	xor	%r11d, %r11d
	xor	%r12d, %r12d
	xor	%r13d, %r13d
	xor	%r14d, %r14d
	xor	%r15d, %r15d
.endm

/* WRMSR of a command, whose bit is 0. Uses RAX, RCX, RDX. */
.macro write_command msr
	mov	$\msr, %ecx
	mov	$1, %eax
	xor	%edx, %edx
	wrmsr
.endm

/* SPEC_CTRL from the member at \offset of the struct at RDI. Uses RAX, RCX, RDX. */
.macro write_spec_ctrl offset
	mov	$SWITCH_MSR_SPEC_CTRL, %ecx
	mov	\offset(%rdi), %eax
	mov	4 + \offset(%rdi), %edx
	wrmsr
.endm

/*
 * Before the guest's registers are loaded from the struct at RDI. Uses RAX, RCX, RDX. VERW comes after it, because
 * loads go through the buffers that it overwrites.
 */
.macro take_steps_before_entry
	testl	$SWITCH_DIVIDE, SWITCH_STEPS(%rdi)
	jz	91f
	mov	$1, %eax
	mov	%eax, %ecx
	xor	%edx, %edx
	div	%ecx
91:
	testl	$SWITCH_SPEC_CTRL, SWITCH_STEPS(%rdi)
	jz	92f
	write_spec_ctrl SWITCH_GUEST_SPEC_CTRL
92:
	testl	$SWITCH_FLUSH_L1D, SWITCH_STEPS(%rdi)
	jz	93f
	write_command SWITCH_MSR_FLUSH_CMD
93:
.endm

/*
 * 32 return addresses that lead to INT3, where speculation ends. LFENCE keeps a mispredicted end of the loop from the
 * code after it. Uses RCX.
 */
.macro fill_rsb
	mov	$16, %ecx
94:
	call	95f
	int3
95:
	call	96f
	int3
96:
	add	$16, %rsp
	dec	%ecx
	jnz	94b
	lfence
.endm

/*
 * Overwrites the branch history, as Intel's "Branch History Injection" has it: calls to the depth of \outer, in each
 * of them a loop of taken branches. Every RET is in the upper half of its cache line, where Intel's "Indirect Target
 * Selection" does not apply. Uses RAX, RCX, RDX.
 */
.macro clear_branch_history
	movzbl	SWITCH_BHB_OUTER(%rdi), %ecx
	movzbl	SWITCH_BHB_INNER(%rdi), %edx
	call	94f
	jmp	99f
	.balign	64, 0xcc
	.skip	27, 0xcc
94:
	call	95f
	ret
	.balign	64, 0xcc
	.skip	16, 0xcc
95:
	mov	%edx, %eax
96:
	jmp	97f
	nop
97:
	dec	%eax
	jnz	96b
	dec	%ecx
	jnz	94b
	ret
99:
.endm

/*
 * After an exit, the guest's registers are stored and cleared. RDI: the struct. Uses RAX, RCX, RDX. Up to the LFENCE
 * nothing but direct branches is executed, and after it all steps have been taken, whatever was predicted before.
 */
.macro take_steps_after_exit
	testl	$SWITCH_IBPB, SWITCH_STEPS(%rdi)
	jz	91f
	write_command SWITCH_MSR_PRED_CMD
91:
	testl	$SWITCH_SAVE_SPEC_CTRL, SWITCH_STEPS(%rdi)
	jz	92f
	mov	$SWITCH_MSR_SPEC_CTRL, %ecx
	rdmsr
	mov	%eax, SWITCH_GUEST_SPEC_CTRL(%rdi)
	mov	%edx, 4 + SWITCH_GUEST_SPEC_CTRL(%rdi)
92:
	testl	$SWITCH_SPEC_CTRL, SWITCH_STEPS(%rdi)
	jz	93f
	write_spec_ctrl SWITCH_HOST_SPEC_CTRL
93:
	testl	$SWITCH_FILL_RSB, SWITCH_STEPS(%rdi)
	jz	97f
	fill_rsb
97:
	testl	$SWITCH_CALL, SWITCH_STEPS(%rdi)
	jz	98f
	call	97f
	int3
97:
	add	$8, %rsp
98:
	testl	$SWITCH_CLEAR_BHB, SWITCH_STEPS(%rdi)
	jz	100f
	clear_branch_history
100:
	lfence
.endm

/* For a call through a pointer: some code models have no other, and IBT wants ENDBR64 at its target. */
.macro entry_point
#ifdef __CET__
	_CET_ENDBR
#endif
.endm

/* RET, or a jump to the return thunk of a kernel that has one. INT3 stops straight-line speculation past either. */
.macro return
#ifdef X86VCPU_RETURN_THUNK
	jmp	__x86_return_thunk
#else
	ret
#endif
	int3
.endm

/* What the System V calling convention lets a function use only if it puts it back. */
.macro push_callee_saved
	push	%rbp
	push	%rbx
	push	%r12
	push	%r13
	push	%r14
	push	%r15
.endm

.macro pop_callee_saved
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbx
	pop	%rbp
.endm

#else

#include <stddef.h>

#include "x86vcpu/regs.h"

_Static_assert(offsetof(struct x86vcpu_regs, rax) == REGS_RAX && offsetof(struct x86vcpu_regs, rcx) == REGS_RCX &&
		       offsetof(struct x86vcpu_regs, rdx) == REGS_RDX &&
		       offsetof(struct x86vcpu_regs, rbx) == REGS_RBX &&
		       offsetof(struct x86vcpu_regs, rbp) == REGS_RBP &&
		       offsetof(struct x86vcpu_regs, rsi) == REGS_RSI &&
		       offsetof(struct x86vcpu_regs, rdi) == REGS_RDI &&
		       offsetof(struct x86vcpu_regs, r8) == REGS_R8 &&
		       offsetof(struct x86vcpu_regs, r15) == REGS_R15,
	       "the world switches count on these");

#endif
#endif
