/* SPDX-License-Identifier: Apache-2.0 */
/* What the three parts of CPUID share: policy, table, run time. */
#ifndef EMUL_CPUID_INTERNAL_H
#define EMUL_CPUID_INTERNAL_H

#include "emul/cpuid.h"

#include "cpu/x86.h"

#define LEAF_XSTATE 0xdu
#define LEAF_FREQUENCY 0x16u
#define LEAF_HYPERVISOR 0x40000000u
#define LEAF_EXTENDED 0x80000000u
#define HIGHEST_BASIC LEAF_FREQUENCY
#define HIGHEST_HYPERVISOR 0x40000001u
#define LEAF_SIZES 0x80000008u /* of addresses */
#define LEAF_EXTENDED_FEATURES 0x80000021u

/* Leaves 4, 7 and 0xd: ECX selects a subleaf. */
#define GUEST_CPUID_INDEXED (1u << 31)

enum word { EAX, EBX, ECX, EDX };

struct cpuid_mask {
	uint32_t leaf, subleaf;
	enum word word;
	uint32_t mask;
};

/* What must be given for some features. */
#define WITH_RDTSCP (1u << 0)
#define WITH_INVPCID (1u << 1)
#define WITH_PCID (1u << 2)
#define WITH_XSAVE (1u << 3)
#define WITH_XSAVES (1u << 4)
#define WITH_AVX (1u << 5)
#define WITH_AVX512 (1u << 6)
#define WITH_PKU (1u << 7)
#define WITH_LA57 (1u << 8)

/* Bits of a word that the guest may see when `with` is met. */
uint32_t cpuid_allowed(uint32_t leaf, uint32_t subleaf, enum word word, uint32_t with);

/* A bit of CR4, EFER or an MSR of speculation exists with a feature of the guest's table. */
struct enable_bit {
	uint64_t bits;
	struct cpuid_mask feature;
};

extern const struct enable_bit cpuid_cr4_bits[];
extern const uint32_t cpuid_cr4_bit_count;
extern const struct enable_bit cpuid_efer_bits[];
extern const uint32_t cpuid_efer_bit_count;
extern const struct enable_bit cpuid_spec_ctrl_bits[];
extern const uint32_t cpuid_spec_ctrl_bit_count;
extern const struct enable_bit cpuid_pred_cmd_bits[];
extern const uint32_t cpuid_pred_cmd_bit_count;

/* Size of an XSAVE area for the components in `mask`; `area` is the entry of leaf 0xd.0. */
uint32_t cpuid_xsave_size(const struct guest_cpuid_entry *area, uint64_t mask);
uint32_t cpuid_xsavec_size(const struct guest_cpuid_entry *area, uint64_t mask);

#endif
