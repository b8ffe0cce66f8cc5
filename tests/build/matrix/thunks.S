/* SPDX-License-Identifier: Apache-2.0 */
/* What a kernel supplies to code that is compiled with its thunks or with its instrumentation. */

.macro name label
	.globl	\label
	.type	\label, @function
\label:
.endm

	.text

/* Retpolines: RET to the target, and a loop for the CPU that takes the return stack buffer's word for it. */
.macro retpoline reg
	name	__x86_indirect_thunk_\reg
	call	2f
1:	pause
	lfence
	jmp	1b
2:	mov	%\reg, (%rsp)
	ret
	int3
.endm
	.irp	reg, rax, rcx, rdx, rbx, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15
	retpoline \reg
	.endr

	name	__x86_return_thunk
	ret
	int3

/* Instrumentation that finds nothing. */
.macro access kind
	name	__asan_\kind
	name	__asan_\kind\()_noabort
.endm
	.irp	kind, load1, load2, load4, load8, load16, loadN, store1, store2, store4, store8, store16, storeN
	access	\kind
	.endr
	name	__asan_handle_no_return
	name	__fentry__
	name	__sanitizer_cov_trace_pc
	ret

	name	__asan_memcpy
	jmp	memcpy
	name	__asan_memmove
	jmp	memmove
	name	__asan_memset
	jmp	memset

	.section .note.GNU-stack, "", @progbits
