/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mitigations of speculative execution: which a CPU needs (mitigation_table.c), which are in force on it, and what the
 * world switch does for a guest (cpu/switch.h).
 */
#ifndef EMUL_MITIGATION_H
#define EMUL_MITIGATION_H

#include <stdbool.h>
#include <stdint.h>

#include "x86vcpu/host.h"
#include "x86vcpu/mitigation.h"

struct guest;

/* ---- What is known of a CPU ------------------------------------------------------------------------- */

#define MITIGATION_INTEL (1u << 0)
#define MITIGATION_AMD (1u << 1)
#define MITIGATION_HYGON (1u << 2)
#define MITIGATION_OTHER (1u << 3)
#define MITIGATION_ANY 0xfu

enum mitigation_word {
	MITIGATION_NOTHING = 0,
	MITIGATION_7_EBX,
	MITIGATION_7_EDX,
	MITIGATION_7_2_EDX,
	MITIGATION_80000008_EBX,
	MITIGATION_8000000A_EDX,
	MITIGATION_80000021_EAX,
	MITIGATION_80000021_ECX,
	MITIGATION_ARCH_CAPABILITIES,
	MITIGATION_EFER,
	MITIGATION_BP_CFG,
	MITIGATION_WORDS
};

struct mitigation_facts {
	uint32_t vendor, family, model, stepping;
	uint64_t word[MITIGATION_WORDS];
};

/* Of the executing CPU. */
void mitigation_read_facts(struct mitigation_facts *facts);

/* ---- What is done ----------------------------------------------------------------------------------- */

/* Beside the SWITCH_ bits of cpu/switch.h, which fill the lower half. */
#define MITIGATE_IBRS (1u << 16)         /* the host's code runs with SPEC_CTRL.IBRS, */
#define MITIGATE_IBRS_EACH (1u << 17)    /* which must be written after each exit, whatever it was */
#define MITIGATE_BHI_DIS_S (1u << 18)
#define MITIGATE_SSBD (1u << 19)
#define MITIGATE_IBPB (1u << 20)         /* before the first entry of another vCPU */
#define MITIGATE_L1D_FIRST (1u << 21)    /* before the first entry of a run */

/* All bits of `mask` in a word. */
struct mitigation_bits {
	enum mitigation_word word;
	uint64_t mask;
};

/* The first row of a mitigation that fits says whether the CPU is affected; none: it is not. */
struct mitigation_cpu_row {
	uint8_t mitigation, vendor;
	bool affected;
	uint8_t family_first, family_last, model_first, model_last, stepping_first;
	struct mitigation_bits has, lacks;
};

/* The first row of a mitigation that fits says what is done. The text of the one without steps says what is missing. */
struct mitigation_measure {
	uint8_t mitigation, vendor;
	uint8_t family_last;
	uint8_t kind; /* enum measure_kind */
	struct mitigation_bits has, lacks;
	uint32_t steps, steps_on; /* AUTO, and what ON adds */
	const char *text;
};

enum measure_kind {
	MEASURE_DO = 0,
	MEASURE_IF_ON,   /* AUTO leaves it */
	MEASURE_MISSING, /* nothing can be done */
	MEASURE_HOST,
};

extern const struct mitigation_cpu_row mitigation_cpus[];
extern const uint32_t mitigation_cpu_count;
extern const struct mitigation_measure mitigation_measures[];
extern const uint32_t mitigation_measure_count;
extern const char *const mitigation_names[X86VCPU_MITIGATION_COUNT];

/* ---- One CPU ---------------------------------------------------------------------------------------- */

struct mitigation_outcome {
	uint32_t status; /* enum x86vcpu_mitigation_status */
	const char *text;
};

struct mitigation_cpu {
	uint8_t choice[X86VCPU_MITIGATION_COUNT]; /* enum x86vcpu_mitigation_choice */
	struct mitigation_outcome outcome[X86VCPU_MITIGATION_COUNT];

	/* In force: of enable. */
	uint32_t steps;
	bool spec_ctrl;         /* the CPU has the MSR, */
	bool spec_ctrl_virtual; /* and VMRUN exchanges it (APM Vol. 3, E.4.9) */
	uint64_t host_bits;     /* of SPEC_CTRL, which the host's code runs with */
	uint8_t bhb_outer, bhb_inner;
	uint64_t last_guest;    /* serial of the vCPU that ran last */
};

/* Whether only the host can do it. */
bool mitigation_is_hosts(uint32_t mitigation);

/* Fills outcome[] and what is in force. X86VCPU_MITIGATION_COUNT, or the first that is ON and cannot be done. */
uint32_t mitigation_decide(struct mitigation_cpu *cpu, const struct mitigation_facts *facts);

/* On the CPU, at enable: the above with log lines. 0; UNSUPPORTED: what is ON cannot be done, a log line says what. */
int32_t mitigation_enable(struct mitigation_cpu *cpu, const struct x86vcpu_host_ops *host, void *ctx);

/* ---- One vCPU --------------------------------------------------------------------------------------- */

struct guest_mitigation {
	/* What the world switch reads and writes: cpu/switch.h. */
	uint32_t steps;
	uint8_t bhb_outer, bhb_inner;
	uint64_t guest_spec_ctrl, host_spec_ctrl;

	struct mitigation_cpu *cpu;   /* of bind */
	uint64_t serial;              /* of setup; never 0, and never used again */
	uint64_t host_value;          /* SPEC_CTRL as the host has it outside a run */
	bool on;                      /* the entries of this run take steps */
	bool spec_ctrl_passes;        /* the guest reads and writes SPEC_CTRL without exits */
};

/* A serial for a guest that begins anew. */
uint64_t mitigation_new_serial(void);

/* The vCPU has been bound to the CPU. */
void mitigation_bind(struct guest *g, struct mitigation_cpu *cpu);

/* IRQs off. begin comes last before the first entry of a run, end first after the last exit. */
void mitigation_begin_steps(struct guest *g);
void mitigation_end_steps(struct guest *g);

/* During a run: the guest's SPEC_CTRL has been written, or passes now. */
void mitigation_update(struct guest *g);

/* After each entry that took steps. */
void mitigation_after_exit(struct guest *g);

static inline void mitigation_begin(struct guest *g, struct guest_mitigation *m)
{
	if (m->cpu->steps | m->cpu->spec_ctrl)
		mitigation_begin_steps(g);
}

static inline void mitigation_end(struct guest *g, struct guest_mitigation *m)
{
	if (m->host_spec_ctrl != m->host_value)
		mitigation_end_steps(g);
}

#endif
