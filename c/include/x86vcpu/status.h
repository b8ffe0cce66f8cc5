/* SPDX-License-Identifier: Apache-2.0 */
/* Status codes of the library. */
#ifndef X86VCPU_STATUS_H
#define X86VCPU_STATUS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Every function that can fail returns one of these as an int32_t. Zero is success.
 * Values -1 to -7 mean what the seven errors of the Rust crate x86_vcpu mean; the
 * library's own begin at -64.
 */
enum x86vcpu_status {
	X86VCPU_OK = 0,
	X86VCPU_ERR_INVALID_INPUT = -1,     /* an argument is out of its range */
	X86VCPU_ERR_INVALID_DATA = -2,      /* hardware or the guest holds a value that makes no sense */
	X86VCPU_ERR_UNSUPPORTED = -3,       /* this CPU, or this library, cannot do it */
	X86VCPU_ERR_BAD_STATE = -4,         /* not now: wrong order, wrong CPU, IRQs on, not bound */
	X86VCPU_ERR_NO_MEMORY = -5,         /* the host's frame allocator had none */
	X86VCPU_ERR_RESOURCE_BUSY = -6,     /* already enabled, already bound, still in use */
	X86VCPU_ERR_TIMER_UNAVAILABLE = -7, /* the host could not arm a timer */

	X86VCPU_ERR_FIRMWARE_DISABLED = -64, /* the CPU has the extension, firmware locked it off */
	X86VCPU_ERR_ABI_MISMATCH = -65,      /* a structure's size or ABI version is unknown */
	X86VCPU_ERR_GUEST_FAULT = -66,       /* the guest's paging or memory refuses the access */
};

/*
 * A short English text for a status, never NULL; "unknown status" for a value that is not
 * in the list. Any CPU, any context.
 */
const char *x86vcpu_strerror(int32_t status);

#ifdef __cplusplus
}
#endif
#endif
