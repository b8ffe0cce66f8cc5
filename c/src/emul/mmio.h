/* SPDX-License-Identifier: Apache-2.0 */
/* Accesses to the guest-physical ranges that are the VMM's devices, and answers to open reads. */
#ifndef EMUL_MMIO_H
#define EMUL_MMIO_H

#include "emul/guest.h"

/*
 * The instruction at RIP accessed `gpa`, which guest_is_mmio, and the nested tables stopped it. To be
 * called for data accesses of an instruction only, not for a page walk, a fetch or the delivery of an
 * event (SDM table 28-7, bits 7 and 8, and IDT-vectoring information; APM 15.25.6).
 *
 * EMUL_NEXT_EXIT  guest.exit is an MMIO_READ, MMIO_WRITE or INTERRUPT_END; the instruction has *length bytes, which
 *                 hardware does not tell for these exits (SDM 28.2.5)
 * EMUL_NEXT       the local APIC has answered
 * EMUL_RESUME     the guest takes an exception instead, or REP has not ended
 * EMUL_EXIT       guest.exit is an MMIO_READ that emul_continue needs, a write of an iteration of REP, an
 *                 UNKNOWN_INSTRUCTION, or a NESTED_PAGE_FAULT of another operand in memory
 */
int emul_mmio(struct guest *g, uint64_t gpa, bool write, unsigned *length);

/* The same where hardware tells the linear address of the access, which saves a page walk. */
int emul_mmio_linear(struct guest *g, uint64_t gpa, uint64_t linear, bool write, unsigned *length);

/*
 * Continues the instruction that guest_emulation_is_under_way, before the guest is entered. EMUL_EXIT: guest.exit is its next access. EMUL_RESUME: it has
 * ended, or the guest executes it again because the VMM did not answer. Or a negative status.
 */
int emul_continue(struct guest *g);
/*
 * Answers the open PORT_IO_READ, MMIO_READ or MSR_READ, and closes it; does nothing when none is open.
 * MSR_READ also skips the instruction, which has guest.msr_length bytes.
 */
void emul_complete_read(struct guest *g, uint64_t value);

#endif
