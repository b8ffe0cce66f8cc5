/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a debugger of a guest needs: its memory by linear address.
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

#ifdef __cplusplus
}
#endif
#endif
