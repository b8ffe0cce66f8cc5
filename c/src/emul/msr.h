/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Model-specific registers. RDMSR and WRMSR of all but a few MSRs exit; a table in msr_policy.c says what
 * each of them is for the guest. What it does not list goes to the VMM as MSR_READ or MSR_WRITE.
 */
#ifndef EMUL_MSR_H
#define EMUL_MSR_H

#include "emul/guest.h"

/* The CPU has checked the CPL (SDM 26.1.1). g->msr_length is set. */
int emul_rdmsr(struct guest *g);
int emul_wrmsr(struct guest *g);

/*
 * The policy's answer by itself. EMUL_NEXT; EMUL_GP; EMUL_EXIT: the MSR is the VMM's; EMUL_NEXT_EXIT: done, and
 * the local APIC has filled guest.exit, which must be there for it.
 */
int msr_read(struct guest *g, uint32_t msr, uint64_t *value);
int msr_write(struct guest *g, uint32_t msr, uint64_t value);

/* The n-th MSR of the guest that has a value of its own, in ascending order; false: there is none. */
bool msr_saved(const struct guest *g, uint32_t n, uint32_t *msr);
/* One that the local APIC answers for. */
bool msr_of_local_apic(uint32_t msr);

/* g->msrs after reset. The fields that are MSRs too (G_EFER, G_PAT, ...) are the caller's. */
void guest_reset_msrs(struct guest *g);

/* An MSR that the guest reads or writes in the CPU itself, without exit. */
struct msr_pass {
	uint32_t msr;
	bool read, write;
	bool vmx_only; /* with SVM the guest would see the host's: EFER.SVME; on some machines PAT, TSC */
};

/* The n-th, or false when there are no more. An entry may have neither read nor write for this guest. */
bool msr_passthrough(const struct guest *g, uint32_t n, struct msr_pass *pass);

/* VT-x's MSR bitmap (SDM 25.6.9). After setup of limits and msr_ranges. */
void msr_bitmap_build(const struct guest *g, uint8_t bitmap[4096]);

#endif
