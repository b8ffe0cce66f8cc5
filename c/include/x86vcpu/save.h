/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a copy of a vCPU needs beside x86vcpu_get_state and x86vcpu_get_apic: MSRs, extended registers, and events on
 * their way into the guest. docs/api.md has the order in which a VMM saves and restores them.
 *
 * All of it: the vCPU bound here, between two runs.
 */
#ifndef X86VCPU_SAVE_H
#define X86VCPU_SAVE_H

#include <stdint.h>

#include "x86vcpu/vcpu.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- MSRs ------------------------------------------------------------------------------------------- */

/*
 * An MSR as the guest has it, without the guest noticing. set takes what WRMSR of the guest takes, but for two
 * that the guest's writes couple (SDM 18.17.3): IA32_TIME_STAMP_COUNTER leaves IA32_TSC_ADJUST alone, and the
 * other way round. The vCPUs of a machine begin with one TSC: give all of them the same value at the same
 * moment, or set X86VCPU_TSC_OFFSET instead.
 * 0; INVALID_INPUT: NULL, an MSR or a value that is #GP for the guest; UNSUPPORTED: the VMM answers for this
 * MSR; BAD_STATE: not bound here.
 */
int32_t x86vcpu_get_msr(struct x86vcpu *vcpu, uint32_t msr, uint64_t *value);
int32_t x86vcpu_set_msr(struct x86vcpu *vcpu, uint32_t msr, uint64_t value);

/* No MSR, but taken as one by these two: guest TSC minus host TSC, modulo 2^64 (SDM 26.3, APM 15.30.5). */
#define X86VCPU_TSC_OFFSET 0x4b000000u

/*
 * The n-th MSR, from 0, that a copy needs and no other component has, in the order in which they are to be set.
 * EFER, FS_BASE and GS_BASE are in struct x86vcpu_state, IA32_APIC_BASE and IA32_TSC_DEADLINE in
 * struct x86vcpu_apic_state.
 * 0; INVALID_INPUT: NULL, or there is no n-th.
 */
int32_t x86vcpu_saved_msr(struct x86vcpu *vcpu, uint32_t n, uint32_t *msr);

/* ---- Extended registers ------------------------------------------------------------------------------- */

/*
 * x87, SSE, AVX and what else the guest's XCR0 can turn on, as XSAVE stores it in the standard format (SDM Vol. 1,
 * 13.4), or FXSAVE on a CPU without XSAVE. *size is the room at `image` and becomes the image's size; `image`
 * NULL asks for the size only. Any alignment.
 * 0; INVALID_INPUT: NULL; NO_MEMORY: *size is too small; BAD_STATE.
 */
int32_t x86vcpu_get_xsave(struct x86vcpu *vcpu, void *image, uint64_t *size);

/*
 * Nothing is changed unless XRSTOR would take the image for the guest (SDM Vol. 1, 13.8.1): a component that the guest
 * cannot have, the compacted format, reserved bits of the header and of MXCSR are refused.
 * 0; INVALID_INPUT: NULL, size, the image; BAD_STATE.
 */
int32_t x86vcpu_set_xsave(struct x86vcpu *vcpu, const void *image, uint64_t size);

/* ---- Events ------------------------------------------------------------------------------------------- */

/* Event types are those of SDM 25.8.3. */
struct x86vcpu_event {
	uint32_t valid;          /* 0 or 1; when 0 the rest is 0 */
	uint32_t type;           /* 0 interrupt, 2 NMI, 3 exception, 4 INT n, 5 INT1, 6 INT3 and INTO */
	uint32_t vector;
	uint32_t has_error_code; /* 0 or 1 */
	uint32_t error_code;     /* 16 bits */
	uint32_t length;         /* of the instruction in bytes, for types 4 to 6 */
};

enum x86vcpu_blocking {
	X86VCPU_BLOCKING_STI = 1 << 0, /* until the next instruction has ended (SDM table 25-3) */
	X86VCPU_BLOCKING_MOV_SS = 1 << 1,
	X86VCPU_BLOCKING_NMI = 1 << 3, /* until IRET */
};

struct x86vcpu_events {
	uint32_t size; /* sizeof(struct x86vcpu_events) */
	uint32_t blocking;               /* of enum x86vcpu_blocking */
	struct x86vcpu_event exception;  /* raised and not yet taken: type 3 */
	struct x86vcpu_event delivery;   /* an event whose delivery an exit cut short */
	uint64_t interrupts[4];          /* vectors that wait outside the local APIC, bit n % 64 of [n / 64] */
	uint64_t pending_debug;          /* SDM 25.4.2: bits 3:0, 12 and 14. SVM: get has 0, set raises #DB */
	uint32_t nmi_pending, halted, waits_for_sipi, init_pending; /* 0 or 1 */
	uint32_t startup_pending;        /* 0, or 0x100 and the vector of a start-up IPI */
	uint32_t reserved;               /* 0 */
};

/*
 * set after x86vcpu_set_state, which ends HLT and the blocking of RIP's instruction. Nothing is changed when a
 * member is none of the values above, an exception is none that x86vcpu_inject_exception takes, STI blocks or an interrupt's delivery
 * goes on with RFLAGS.IF = 0, or STI or MOV SS blocks with a single step pending and RFLAGS.TF = 0.
 * 0; INVALID_INPUT; ABI_MISMATCH: events->size; BAD_STATE: not bound here, or an exit is open (see x86vcpu_run); get:
 * also when the guest has shut down.
 */
int32_t x86vcpu_get_events(struct x86vcpu *vcpu, struct x86vcpu_events *events);
int32_t x86vcpu_set_events(struct x86vcpu *vcpu, const struct x86vcpu_events *events);

#ifdef __cplusplus
}
#endif
#endif
