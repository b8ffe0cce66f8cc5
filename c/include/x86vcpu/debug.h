/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a debugger of a guest needs: its memory by linear address, and exits for its exceptions, breakpoints and steps.
 * docs/debugging.md has an example.
 *
 * All of it: the vCPU bound here, between two runs. An exit that is open stays open.
 */
#ifndef X86VCPU_DEBUG_H
#define X86VCPU_DEBUG_H

#include <stdint.h>

#include "x86vcpu/vcpu.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Guest-virtual memory ----------------------------------------------------------------------------- */

/* With which rights an access is checked (SDM 4.6, APM 5.6). */
enum x86vcpu_privilege {
	X86VCPU_PRIVILEGE_CPL = 0,        /* those of the guest's CPL */
	X86VCPU_PRIVILEGE_SUPERVISOR = 1, /* those of CPL 0; with CR4.SMAP, RFLAGS.AC decides about user pages */
	X86VCPU_PRIVILEGE_USER = 2,       /* those of CPL 3 */
	/* None are checked: any page that is present can be read, written and executed. */
	X86VCPU_PRIVILEGE_DEBUGGER = 3,
};

/* What became of an access. What does not apply is 0. */
struct x86vcpu_virtual_access {
	uint32_t size;       /* sizeof(struct x86vcpu_virtual_access) */
	uint32_t vector;     /* the exception that the guest would take: 14 #PF, 13 #GP for an address that is not canonical */
	uint32_t error_code; /* of that exception */
	uint32_t absent;     /* 1: there is no memory at the guest-physical address `address` */
	uint64_t address;    /* where it failed: the linear address of an exception (CR2 of #PF) */
	uint64_t gpa;        /* x86vcpu_translate: where `linear` leads */
	uint64_t done;       /* x86vcpu_read_virtual, x86vcpu_write_virtual: bytes that were copied, from the first one on */
};

/*
 * Translates the linear address `linear` by the guest's paging, as it is now in memory, for an access of one kind:
 * `access` is X86VCPU_ACCESS_READ, _WRITE or _EXECUTE, `privilege` one of enum x86vcpu_privilege. *result says where
 * the address leads, or what the access would raise. The page need not be memory. Without paging, an address
 * is its own translation.
 *
 * The walk is a debugger's, not the guest's: it sets no accessed or dirty flag, raises nothing in the guest and fills no
 * TLB. The CPU may still use a translation that the guest has changed in memory and not invalidated yet. Segmentation is the caller's: outside 64-bit mode a linear address has 32 bits, and
 * the upper half of `linear` is ignored.
 *
 * 0
 * INVALID_INPUT  NULL, access, privilege
 * ABI_MISMATCH   result->size
 * BAD_STATE      not bound here
 * GUEST_FAULT    *result says what the guest would take, or which paging structure is in no memory
 */
int32_t x86vcpu_translate(struct x86vcpu *vcpu, uint64_t linear, uint64_t access, uint32_t privilege,
			  struct x86vcpu_virtual_access *result);

/*
 * Copies `len` bytes of guest memory from and to the linear addresses from `linear` on, each page by a translation as
 * that of x86vcpu_translate; addresses wrap around as the guest's do. result->done counts the bytes before the first one
 * that could not be copied.
 *
 * Memory is that of x86vcpu_setup_config.memory. Reads of other addresses call host_ops.read_guest; writes to other
 * addresses and to X86VCPU_MEMORY_READ_ONLY regions find them absent. Memory-mapped devices are not accessed. Other vCPUs
 * may run; an access is not atomic. A write to instructions needs no more (SDM 8.1.3: the guest is entered after
 * it); a host that tracks dirty pages counts the pages of [linear, linear + done) as written.
 *
 * 0; INVALID_INPUT: NULL, privilege; ABI_MISMATCH: result->size; BAD_STATE: not bound here; GUEST_FAULT: *result says why
 * not all was copied.
 */
int32_t x86vcpu_read_virtual(struct x86vcpu *vcpu, uint64_t linear, uint32_t privilege, void *data, uint64_t len,
			     struct x86vcpu_virtual_access *result);
int32_t x86vcpu_write_virtual(struct x86vcpu *vcpu, uint64_t linear, uint32_t privilege, const void *data, uint64_t len,
			      struct x86vcpu_virtual_access *result);

/* ---- Exits -------------------------------------------------------------------------------------------- */

/* Each instruction of the guest ends with an exit, those that the library emulates too. */
#define X86VCPU_DEBUG_STEP (UINT32_C(1) << 0)
/* INT3 exits before the guest takes its #BP. */
#define X86VCPU_DEBUG_INT3 (UINT32_C(1) << 1)
/* #DB that is the guest's own exits before the guest takes it. */
#define X86VCPU_DEBUG_DB (UINT32_C(1) << 2)

struct x86vcpu_debug_config {
	uint32_t size;  /* sizeof(struct x86vcpu_debug_config) */
	uint32_t flags; /* X86VCPU_DEBUG_* */
	/*
	 * Breakpoints of the VMM, beside the guest's: linear addresses, and DR7 with those that are on (SDM 18.2.4): L and G,
	 * R/W (not 2) and LEN of each; other bits are 0, or 1 where DR7 always has it. 0: none.
	 */
	uint64_t dr7;
	uint64_t address[4];
};

/*
 * What run exits for, from the next run on, with kind DEBUG (struct x86vcpu_debug_exit); NULL ends debugging, and so does
 * x86vcpu_setup. x86vcpu_debug_reflect gives the guest what was its own.
 *
 * STEP: while it is set the guest takes no interrupt and no NMI; they stay pending. A step ends after the instruction, or
 * at the first instruction of the handler of an exception or INT n; on SVM, which cannot stop there, after the IRET that
 * ends the handler. MOV SS and POP SS end together with the instruction after them. HLT ends, and then run returns HALT.
 * An exit for the VMM comes first: the next run, once it is answered, returns DEBUG. The library steps by the monitor trap
 * flag (SDM 26.5.2), or by RFLAGS.TF, which the guest does not find in its flags or in what PUSHF, SYSCALL, INT n and
 * exceptions save. A step by RFLAGS.TF of an instruction that switches tasks stores it in the TSS (SDM 8.2.1).
 *
 * Breakpoints: while the VMM has one on, the CPU's debug registers are the VMM's. The guest reads and writes its own values,
 * and its breakpoints hit nothing. After an exit for an instruction breakpoint the guest continues past it.
 *
 * 0
 * INVALID_INPUT  vcpu is NULL, flags, dr7
 * ABI_MISMATCH   config->size
 * BAD_STATE      not bound here
 * UNSUPPORTED    dr7: an emulator without breakpoints in a guest; STEP: VT-x with neither monitor trap flag nor preemption
 *                timer
 */
int32_t x86vcpu_set_debug(struct x86vcpu *vcpu, const struct x86vcpu_debug_config *config);

/*
 * Gives the guest the exception of the DEBUG exit that run returned last: #BP of INT3 or #DB. RIP of an INT3 advances with
 * it. Without this call the exception does not happen, and INT3 is executed again.
 * 0; INVALID_INPUT; BAD_STATE: not bound here, or the last exit had no exception of the guest, or x86vcpu_set_state has set
 * RIP since.
 */
int32_t x86vcpu_debug_reflect(struct x86vcpu *vcpu);

#ifdef __cplusplus
}
#endif
#endif
