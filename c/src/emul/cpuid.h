/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPUID as the guest sees it. A table is computed once per vCPU from the host's CPUID: what no row of
 * the lists in cpuid.c allows is zero. The guest's limits (CR4, EFER, XCR0, ...) follow from it.
 */
#ifndef EMUL_CPUID_H
#define EMUL_CPUID_H

#include "emul/guest.h"

/* Entries that cpuid_build needs at most. */
#define CPUID_TABLE_SIZE 48

struct cpuid_config {
	/* The host's CPUID: out[] is EAX, EBX, ECX, EDX. */
	void (*host)(void *ctx, uint32_t leaf, uint32_t subleaf, uint32_t out[4]);
	void *ctx;
	uint32_t vcpu_id;
	uint32_t physical_bits; /* of a guest-physical address that the nested tables translate */
	uint64_t tsc_khz;       /* 0: unknown */
	uint64_t arch_capabilities; /* the host's IA32_ARCH_CAPABILITIES; 0: the CPU does not have it */

	/* What the backend can do. */
	bool rdtscp;  /* RDTSCP and RDPID work in the guest */
	bool invpcid;
	bool xsaves;
	bool pcid;    /* and g->flush_tlb is obeyed */
	bool la57;    /* CR4.LA57 can be set in the guest */
	bool pku;     /* PKRU is switched with the rest of the XSAVE state */
	bool apic;    /* a local APIC is emulated, x2APIC mode included */
	bool tsc_deadline;
};

/* Flags of an entry: the part of it that is computed when it is asked for. */
#define GUEST_CPUID_OSXSAVE (1u << 0)      /* leaf 1: ECX mirrors CR4.OSXSAVE */
#define GUEST_CPUID_OSPKE (1u << 1)        /* leaf 7: ECX mirrors CR4.PKE */
#define GUEST_CPUID_XSAVE_SIZE (1u << 2)   /* leaf 0xd.0: EBX for the current XCR0 */
#define GUEST_CPUID_XSAVEC_SIZE (1u << 3)  /* leaf 0xd.1: EBX for the current XCR0 and IA32_XSS */
#define GUEST_CPUID_TOPOLOGY (1u << 4)     /* leaf 0xb: ECX and the levels by subleaf */
#define GUEST_CPUID_APIC (1u << 5)         /* EDX: no APIC while IA32_APIC_BASE disables it */
#define GUEST_CPUID_SYSCALL (1u << 6)      /* leaf 0x80000001, Intel: EDX has SYSCALL in 64-bit mode only */
#define GUEST_CPUID_XD (1u << 7)           /* leaf 0x80000001: no XD while IA32_MISC_ENABLE disables it */
#define GUEST_CPUID_LIMIT (1u << 8)        /* leaf 0: EAX while IA32_MISC_ENABLE limits it */

/* Fills `table` and `limits`; returns the number of entries, 0 when `capacity` is too small. */
uint32_t cpuid_build(struct guest_cpuid_entry *table, uint32_t capacity, const struct cpuid_config *config,
		     struct guest_limits *limits);

/* Makes `table` the guest's. It is not copied. */
void cpuid_attach(struct guest *g, const struct guest_cpuid_entry *table, uint32_t count);

/* After a change of IA32_MISC_ENABLE: which basic leaves answer. */
void cpuid_follow_limit(struct guest *g);

/* The entry that answers, without its computed part; never NULL. After cpuid_attach. */
const struct guest_cpuid_entry *cpuid_lookup(const struct guest *g, uint32_t leaf, uint32_t subleaf);

int emul_cpuid(struct guest *g);

#endif
