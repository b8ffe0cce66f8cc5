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
 * Zero in every register but RAX, RBX, RDI and RSP. The guest chose their values, and the code that runs next could
 * use one speculatively, those that the epilogue loads from the stack included.
 */
.macro clear_guest_registers
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

/* For a call through a pointer: some code models have no other, and IBT wants ENDBR64 at its target. */
.macro entry_point
#ifdef __CET__
	_CET_ENDBR
#endif
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
