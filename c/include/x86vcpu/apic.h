/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events for a vCPU, its local APIC, and what passes between the vCPUs of a machine.
 *
 * Each vCPU has a local APIC with the ID of its vcpu_id (SDM chapter 12): in xAPIC mode at the address in
 * IA32_APIC_BASE, where the nested tables must map nothing, in x2APIC mode in MSRs 0x800 to 0x8ff. The
 * library answers the guest's accesses, delivers its interprocessor interrupts, INIT and SIPI included, and
 * runs its timer. An I/O APIC, if the machine has one, is the VMM's: it sends x86vcpu_machine_deliver_message
 * and gets INTERRUPT_END. An 8259A drives LINT0.
 *
 * Functions for "any CPU, any time" may be called between create and destroy, with IRQs on or off, also in
 * interrupt context and while the vCPU runs; no lock has to be held. When the vCPU must be told, they
 * call host_ops.notify, with no lock of the library held. Handlers of NMIs and machine checks may call only
 * those that take no lock: all but x86vcpu_machine_deliver_message.
 */
#ifndef X86VCPU_APIC_H
#define X86VCPU_APIC_H

#include <stdint.h>

#include "x86vcpu/vcpu.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Makes external interrupt `vector` (1 to 255) pending. Any CPU, any time.
 *
 * When the local APIC is enabled (SDM 12.4.7.2: IA32_APIC_BASE[11] and SVR[8]), it accepts the vectors 16 to
 * 255 like a fixed interrupt addressed to it: taken by priority, held back by TPR and PPR, ended by EOI;
 * `level` is 1 for a level-triggered source, whose end comes out as INTERRUPT_END. Otherwise, and for vectors
 * 1 to 15, the CPU takes the interrupt as an 8259A's: highest vector first, without the local APIC.
 * A vector that is pending already stays pending once.
 *
 * 0; INVALID_INPUT.
 */
int32_t x86vcpu_inject_interrupt(struct x86vcpu *vcpu, uint32_t vector);
int32_t x86vcpu_inject_interrupt_with_trigger(struct x86vcpu *vcpu, uint32_t vector, uint32_t level);

/* Makes an NMI pending (at most one). Any CPU, any time. 0; INVALID_INPUT. */
int32_t x86vcpu_inject_nmi(struct x86vcpu *vcpu);

/*
 * Makes the guest take exception `vector` (0, 1, 3 to 8, 10 to 14, 16 to 19; not 4 and 5 in 64-bit mode) before its next instruction, as if the
 * instruction at RIP had caused it. Instead of an answer to MSR_READ, MSR_WRITE or PORT_IO_STRING that is the
 * instruction that exited, which ends without an effect (see x86vcpu_run). `has_error_code` must be what the
 * vector has in the manual's table (SDM 6.3.1); the code, of 16 bits, is dropped in real mode. Bound here;
 * between two runs.
 * 0; INVALID_INPUT; BAD_STATE: not bound here; RESOURCE_BUSY: another exception is waiting.
 */
int32_t x86vcpu_inject_exception(struct x86vcpu *vcpu, uint32_t vector, uint32_t has_error_code,
				 uint32_t error_code);

/*
 * 1 when something waits to be taken (an interrupt, NMI, exception, INIT or SIPI, an expired timer, a request
 * to exit), otherwise 0. It may be something that the guest holds back. NULL: 0. Any CPU, any time.
 */
int32_t x86vcpu_has_pending_event(const struct x86vcpu *vcpu);

/* ---- Kicks ----------------------------------------------------------------------------------------- */

/*
 * The run under way, or else the next one, returns NOTHING soon. Requests do not add up. Any CPU, any time.
 * 0; INVALID_INPUT.
 */
int32_t x86vcpu_request_exit(struct x86vcpu *vcpu);

enum x86vcpu_run_state {
	X86VCPU_OUTSIDE = 0, /* not in run */
	X86VCPU_RUNNING = 1, /* in run on *cpu: in the guest, or about to enter it */
	X86VCPU_LEAVING = 2, /* in run on *cpu, which has been told to leave the guest */
};

/*
 * Where the vCPU is, into *state (enum x86vcpu_run_state) and *cpu (current_cpu's number; X86VCPU_NO_CPU
 * when it is outside). A picture of one moment. Any CPU, any time. 0; INVALID_INPUT: NULL.
 */
int32_t x86vcpu_run_state(const struct x86vcpu *vcpu, uint32_t *state, uint32_t *cpu);

/* ---- The local APIC from outside ---------------------------------------------------------------------- */

/* Delivery modes of messages and local vectors (SDM 12.6.1, 12.5.1). */
enum x86vcpu_delivery {
	X86VCPU_DELIVERY_FIXED = 0,
	X86VCPU_DELIVERY_LOWEST_PRIORITY = 1,
	X86VCPU_DELIVERY_SMI = 2, /* ignored: there is no SMM */
	X86VCPU_DELIVERY_NMI = 4,
	X86VCPU_DELIVERY_INIT = 5,
	X86VCPU_DELIVERY_STARTUP = 6,
	X86VCPU_DELIVERY_EXTINT = 7, /* local vectors only */
};

/* An interrupt message, as an I/O APIC or an MSI sends it (SDM 12.11). */
struct x86vcpu_message {
	uint32_t size;        /* sizeof(struct x86vcpu_message) */
	uint32_t destination; /* physical: an APIC ID, 0xff for all; logical: compared with each LDR (SDM 12.6.2) */
	uint8_t logical;      /* 0 physical, 1 logical */
	uint8_t delivery;     /* enum x86vcpu_delivery, but not EXTINT */
	uint8_t vector;       /* FIXED, LOWEST_PRIORITY: 16 to 255; STARTUP: the page; else ignored */
	uint8_t level;        /* 1: level-triggered: INTERRUPT_END tells its end */
};

/*
 * Sends a message to the vCPUs of `machine`. *accepted, if not NULL, becomes the set of vCPUs that took it, a bit per
 * vcpu_id. A disabled APIC takes no FIXED or LOWEST_PRIORITY. Any CPU, any time between x86vcpu_machine_create and
 * x86vcpu_machine_destroy, host ops included, but not from the handler of an NMI or machine check.
 * 0; INVALID_INPUT; ABI_MISMATCH: message->size.
 */
int32_t x86vcpu_machine_deliver_message(struct x86vcpu_machine *machine, const struct x86vcpu_message *message,
					uint64_t *accepted);

/*
 * Drives LINT0 (`pin` 0) or LINT1 (`pin` 1) to `level` (0 or 1). What a rising or high input does, the local
 * vector says (SDM 12.5.1): LINT0 of a PC is ExtINT, and while it is high the vCPU asks
 * host_ops.acknowledge_interrupt for vectors; LINT1 is NMI. When the local APIC is disabled by
 * IA32_APIC_BASE, LINT0 is the INTR pin and LINT1 the NMI pin (SDM 12.4.3). Any CPU, any time.
 * 0; INVALID_INPUT.
 */
int32_t x86vcpu_set_lint(struct x86vcpu *vcpu, uint32_t pin, uint32_t level);

/*
 * Ends the interrupt in service of the highest priority, as the guest's write to the EOI register does. *vector
 * becomes its vector if it was level-triggered, otherwise -1. For VMMs written for the Rust crate.
 * The vCPU's thread, between two runs, bound or not. 0; INVALID_INPUT: NULL.
 */
int32_t x86vcpu_handle_eoi(struct x86vcpu *vcpu, int32_t *vector);

/*
 * When the local APIC's timer expires next, in nanoseconds of time_ns, into *deadline; UINT64_MAX: never.
 * For VMMs whose host_ops have no timers. The vCPU's thread, between two runs. 0; INVALID_INPUT: NULL.
 */
int32_t x86vcpu_timer_deadline(struct x86vcpu *vcpu, uint64_t *deadline);

/* ---- Saving and restoring ------------------------------------------------------------------------------ */

/*
 * A local APIC. Registers as the guest reads them, those of offset 16 * n in registers[n]; the upper half of the
 * interrupt command register in registers[0x31] in x2APIC mode, too.
 */
struct x86vcpu_apic_state {
	uint32_t size; /* sizeof(struct x86vcpu_apic_state) */
	uint32_t lint; /* level of the pins: bit 0 LINT0, bit 1 LINT1 */
	uint64_t base; /* IA32_APIC_BASE */
	uint64_t tsc_deadline; /* IA32_TSC_DEADLINE: a value of the guest's TSC, 0: none */
	uint64_t timer_remaining; /* nanoseconds to the expiry of the one-shot or periodic timer, 0: stopped */
	uint32_t registers[64];
	uint32_t waits_for_sipi; /* 1: after INIT, before SIPI */
	uint32_t reserved2; /* 0. A pending NMI is in struct x86vcpu_events, whatever brought it */
	uint32_t errors; /* what the next write to ESR makes readable */
	uint32_t reserved; /* 0 */
};

/*
 * Reads or writes the local APIC with its timer. set checks what the guest could not have written (a mode,
 * reserved bits): nothing is changed then; read-only registers other than ISR, TMR and IRR are ignored.
 * Bound here, between two runs.
 * 0; INVALID_INPUT; ABI_MISMATCH: state->size; BAD_STATE: not bound here; UNSUPPORTED: it has no local APIC.
 */
int32_t x86vcpu_get_apic(struct x86vcpu *vcpu, struct x86vcpu_apic_state *state);
int32_t x86vcpu_set_apic(struct x86vcpu *vcpu, const struct x86vcpu_apic_state *state);

#ifdef __cplusplus
}
#endif
#endif
