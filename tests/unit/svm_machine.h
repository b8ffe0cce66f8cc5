/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An SVM guest on the fake CPU: the backend's own sources, two CPUs with SVM on, and a list of exits in the
 * place of VMRUN.
 */
#ifndef SVM_MACHINE_H
#define SVM_MACHINE_H

#include <stddef.h>
#include <stdint.h>

#include "svm/svm.h"

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))
#define BIT(n) (UINT64_C(1) << (n))

#define FEATURE_NEXT_RIP BIT(3) /* CPUID 8000000a EDX */
#define FEATURE_DECODE_ASSISTS BIT(7)
#define MACHINE_QEMU BIT(31) /* no bit of that leaf: the CPU is QEMU's, with its quirks */

#define CODE_AT 0x1000u /* RIP at reset */
#define MEMORY_SIZE 0x10000u
#define PD 0xd000u /* long mode: the page directory */
#define DEVICE UINT64_C(0x200000)

#define EXIT_SMI 0x62 /* one that the guest continues after */
#define EXIT_VINTR 0x64
#define EXIT_CPUID 0x72
#define EXIT_IRET 0x74
#define EXIT_IOIO 0x7b
#define EXIT_NPF 0x400

#define INJECT_UD 0x80000306
#define INJECT_GP 0x80000b0d

#define RFLAGS_ON (BIT(9) | BIT(1)) /* interrupts are on */

struct fake_exit {
	uint64_t code, info1, info2, next_rip, vectoring;
	uint64_t rip;    /* 0: as it was at entry */
	uint64_t rflags; /* 0: as they were */
	bool in_shadow;  /* still, as at entry */
	bool virq_left;  /* the virtual interrupt of the entry has not been delivered */
	uint8_t tpr;     /* V_TPR that the guest has set, plus 1; 0: as it was */
};

struct fake_entry {
	uint64_t event, rip, window, shadow, cr0, cr4;
	uint32_t clean, asid, intercept3;
	uint16_t cr_read, cr_write;
	uint8_t tlb_control;
};

#define MACHINE_ENTRIES 8

extern uint8_t memory[MEMORY_SIZE];
extern bool without_nested_paging; /* CPUID 8000000a EDX[0] is 0 */
extern uint32_t asids; /* CPUID 8000000a EBX; 0: many */
extern struct svm_vcpu vcpu, other;
extern struct backend_cpu cpus[2];
extern struct x86vcpu_exit reported;
extern unsigned serviced; /* interrupts of the host */
extern struct fake_entry entries[MACHINE_ENTRIES]; /* of the last run */
extern unsigned entry_count;

/* Plays the guest in the place of a list of exits, if not NULL: from VMRUN to #VMEXIT. machine_start clears it. */
extern void (*machine_guest)(struct svm_vcpu *v);

/* `vcpu` as reset leaves it, in real mode, bound to cpus[0]. */
void machine_start(uint32_t features);
/* Flat, without paging. */
void machine_start_protected(uint32_t features);
/* 64-bit mode; the first 16 MiB are mapped to themselves. */
void machine_start_long(uint32_t features);
void machine_make_vcpu(struct svm_vcpu *v);
/* At CODE_AT. */
void machine_code(const void *bytes, size_t count);
void machine_write64(uint32_t gpa, uint64_t value);
/* A run that meets these exits, and then an interrupt of the host at the end of the time slice. */
int32_t machine_run_vcpu(struct svm_vcpu *v, const struct fake_exit *list, unsigned count);
/* The same of `vcpu`, without an error. */
void machine_run(const struct fake_exit *list, unsigned count);
uint64_t machine_rip(void);

#endif
