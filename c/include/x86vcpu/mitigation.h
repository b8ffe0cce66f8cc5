/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mitigations of speculative execution. The library takes them in the world switch, which no caller can reach: after
 * an exit before the first return or indirect branch, and before an entry after the last access to the host's data.
 * Which of them a CPU needs follows from CPUID, IA32_ARCH_CAPABILITIES and a table of models (Intel, "Affected
 * Processors"; AMD's security bulletins).
 *
 * Every general register is cleared after every exit, whatever is chosen here.
 */
#ifndef X86VCPU_MITIGATION_H
#define X86VCPU_MITIGATION_H

#include <stdint.h>

#include "x86vcpu/percpu.h"

#ifdef __cplusplus
extern "C" {
#endif

/* By the vulnerability. */
enum x86vcpu_mitigation {
	/*
	 * Branch targets that the guest has trained: the library's own code after an exit runs with SPEC_CTRL.IBRS = 1, or
	 * under AMD's automatic IBRS. Without enhanced IBRS that is a WRMSR after each exit and one before each entry. A
	 * host that compiles the library with retpolines chooses OFF here; RETBLEED says when that is not enough.
	 */
	X86VCPU_MITIGATION_SPECTRE_V2 = 0,
	/* Return addresses that the guest has left: the return stack buffer is filled after each exit. */
	X86VCPU_MITIGATION_RSB = 1,
	/* The same on CPUs with enhanced IBRS, CVE-2022-26373: one call retires after each exit. */
	X86VCPU_MITIGATION_PBRSB = 2,
	/* Branch history, CVE-2022-0001: SPEC_CTRL.BHI_DIS_S, or a loop that overwrites the history after each exit. */
	X86VCPU_MITIGATION_BHI = 3,
	/* Branch targets of another vCPU: an indirect branch predictor barrier before the first entry of each other vCPU. */
	X86VCPU_MITIGATION_GUEST_TO_GUEST = 4,
	/*
	 * Returns that speculate elsewhere, CVE-2022-29900 and 29901. Intel: IBRS as above. AMD: a barrier after each exit,
	 * which costs thousands of cycles.
	 */
	X86VCPU_MITIGATION_RETBLEED = 5,
	/* AMD, CVE-2023-20569: the same barrier after each exit, unless the host has set BP_CFG.BpSpecReduce. */
	X86VCPU_MITIGATION_SRSO = 6,
	/*
	 * Speculative store bypass, CVE-2018-3639. AUTO leaves the host's SPEC_CTRL.SSBD as it is. ON: the library's own
	 * code runs with SSBD = 1. A guest sets its own SSBD either way.
	 */
	X86VCPU_MITIGATION_SSB = 7,
	/*
	 * L1 terminal fault, CVE-2018-3646: the L1 data cache is flushed. AUTO: before the first entry of each run. ON:
	 * before every entry. Neither helps against another hyper-thread of the core.
	 */
	X86VCPU_MITIGATION_L1TF = 8,
	/* Buffers that VERW overwrites, the last instruction before each entry. CVE-2018-12126 and others. */
	X86VCPU_MITIGATION_MDS = 9,
	X86VCPU_MITIGATION_TAA = 10,             /* CVE-2019-11135 */
	X86VCPU_MITIGATION_MMIO_STALE_DATA = 11, /* CVE-2022-21123 and others */
	X86VCPU_MITIGATION_RFDS = 12,            /* CVE-2023-28746 */
	X86VCPU_MITIGATION_TSA = 13,             /* AMD, CVE-2024-36350 and 36357 */
	/* AMD Zen 1, CVE-2023-20588: a division before each entry. */
	X86VCPU_MITIGATION_DIV0 = 14,

	/* What only the host can do; the text of the state says what. */
	X86VCPU_MITIGATION_ITLB_MULTIHIT = 15, /* CVE-2018-12207 */
	X86VCPU_MITIGATION_SRBDS = 16,         /* CVE-2020-0543 */
	X86VCPU_MITIGATION_GDS = 17,           /* CVE-2022-40982 */
	X86VCPU_MITIGATION_ITS = 18,           /* CVE-2024-28956 */
	X86VCPU_MITIGATION_ZENBLEED = 19,      /* CVE-2023-20593 */
	X86VCPU_MITIGATION_VMSCAPE = 20,       /* CVE-2025-40300 */
	X86VCPU_MITIGATION_COUNT = 21,

	/* For x86vcpu_mitigations_choose: each that the library can take. */
	X86VCPU_MITIGATION_ALL = 0xffff,
};

enum x86vcpu_mitigation_choice {
	X86VCPU_MITIGATION_AUTO = 0, /* taken where the CPU needs it and can do it */
	X86VCPU_MITIGATION_OFF = 1,
	X86VCPU_MITIGATION_ON = 2,   /* taken, or enable fails */
};

enum x86vcpu_mitigation_status {
	X86VCPU_MITIGATION_UNKNOWN = 0,      /* the CPU has not been enabled yet */
	X86VCPU_MITIGATION_NOT_AFFECTED = 1,
	X86VCPU_MITIGATION_ACTIVE = 2,
	X86VCPU_MITIGATION_INACTIVE = 3,     /* the CPU is affected, and the choice leaves it so */
	X86VCPU_MITIGATION_MISSING = 4,      /* the CPU is affected and lacks what it takes: newer microcode, most often */
	X86VCPU_MITIGATION_HOST = 5,         /* the CPU is affected, and only the host can do something about it */
};

/* The strings are constants of the library. */
struct x86vcpu_mitigation_state {
	uint32_t size; /* sizeof(struct x86vcpu_mitigation_state) */
	uint32_t mitigation; /* enum x86vcpu_mitigation */
	uint32_t choice;     /* enum x86vcpu_mitigation_choice */
	uint32_t status;     /* enum x86vcpu_mitigation_status */
	const char *name;    /* "spectre_v2" */
	const char *text;    /* what is done, or what is missing: "SPEC_CTRL.IBRS, written after each exit" */
};

/*
 * Chooses for the CPU of `percpu`, before x86vcpu_percpu_enable; `mitigation` is one of enum x86vcpu_mitigation or
 * X86VCPU_MITIGATION_ALL. AUTO is the default. The choice outlives x86vcpu_percpu_disable. Any CPU, any context.
 *
 * A choice that the CPU cannot satisfy makes x86vcpu_percpu_enable fail with UNSUPPORTED. The log names the mitigation,
 * and its status is MISSING.
 *
 * 0; INVALID_INPUT: NULL, or no such mitigation or choice; UNSUPPORTED: only the host can do it (other than AUTO);
 * RESOURCE_BUSY: enabled. Nothing is changed then.
 */
int32_t x86vcpu_mitigations_choose(struct x86vcpu_percpu *percpu, uint32_t mitigation, uint32_t choice);

/*
 * What is chosen and what is in force on the CPU of `percpu`, of `mitigation`, 0 to X86VCPU_MITIGATION_COUNT - 1, into
 * *state, whose size the caller has set. Enable logs the same in one line. Any CPU, any context, but not during enable.
 *
 * 0; INVALID_INPUT: NULL, no such mitigation; ABI_MISMATCH: state->size.
 */
int32_t x86vcpu_mitigations_get(const struct x86vcpu_percpu *percpu, uint32_t mitigation,
				struct x86vcpu_mitigation_state *state);

#ifdef __cplusplus
}
#endif
#endif
