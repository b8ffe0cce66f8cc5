/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frame of the bare-metal tests: one image holds all of them, and each runs alone in a fresh
 * machine (tests/metal/run). A test passes when it returns.
 */
#ifndef METAL_H
#define METAL_H

#include "platform.h"
#include "x86vcpu/x86vcpu.h"

/*
 * A test runs on every machine of its vendor, on all machines without one. `models` are for the
 * machine bochs-vmx. What a machine gets wrong is named here with the reason; the test is run there all
 * the same, and its failure is reported as that machine's gap.
 */
struct metal_test {
	const char *name; /* group.what */
	void (*function)(void);
	const char *models; /* Bochs CPU models, separated by spaces; the test runs on each */
	const char *bochs_svm_gap, *qemu_svm_gap;
	uint32_t cpus;
	uint32_t fails; /* 1: the test must fail; for tests of the frame itself */
	uint32_t vendor;
	uint32_t fresh; /* 1: needs a machine in which nothing has run since its reset */
	/* The reason why the CPU cannot run it, or NULL. NULL itself: every CPU of the vendor can. */
	const char *(*cannot)(void);
};

/* For tests of what only VT-x, or only SVM, has. */
#define METAL_VMX 1u
#define METAL_SVM 2u

/* Every model that has what the library needs. */
#define METAL_ALL_MODELS                                                                              \
	"corei5_arrandale_m520 corei7_sandy_bridge_2600k corei7_ivy_bridge_3770k corei7_haswell_4770 " \
	"broadwell_ult corei7_skylake_x corei3_cnl corei7_icelake_u tigerlake"

/* Registers static void function(void); more members may be set: METAL_TEST(f, "a.b", .cpus = 2). */
#define METAL_TEST(function_, name_, ...)                                                             \
	static void function_(void);                                                                   \
	__attribute__((section(".metal_tests"), used, aligned(8))) static const struct metal_test      \
		function_##_test = {.name = (name_), .function = (function_), ##__VA_ARGS__};          \
	static void function_(void)

_Noreturn void metal_fail(const char *file, int line, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#define FAIL(...) metal_fail(__FILE__, __LINE__, __VA_ARGS__)
#define CHECK(condition) ((condition) ? (void)0 : FAIL("%s", #condition))
/* Both printed in hexadecimal when they differ. */
#define CHECK_EQ(actual, expected)                                                                    \
	metal_check_eq(__FILE__, __LINE__, #actual, (uint64_t)(actual), (uint64_t)(expected))
/* A status of the library. */
#define CHECK_STATUS(call, expected)                                                                  \
	metal_check_status(__FILE__, __LINE__, #call, (call), (expected))
#define CHECK_OK(call) CHECK_STATUS(call, X86VCPU_OK)

void metal_check_eq(const char *file, int line, const char *text, uint64_t actual, uint64_t expected);
void metal_check_status(const char *file, int line, const char *text, int32_t actual, int32_t expected);

/* ---- The host ----------------------------------------------------------------------------------- */

/* percpu_create and enable on this CPU, checked; the same object again when this CPU has one. */
struct x86vcpu_percpu *host_enable(void);
void host_enable_without_mitigations(void); /* instead of it, the first time on this CPU */

/* Starts the second CPU, which waits for work; with VMX operation off or on. */
void second_cpu_start(void);
void second_cpu_start_enabled(void);
/* Runs function(arg) there and waits for its end, or not. */
void second_cpu_call(void (*function)(void *), void *arg);
void second_cpu_begin(void (*function)(void *), void *arg);
void second_cpu_wait(void);

/* The library drives SVM here. After the first enable. */
static inline bool on_svm(void) { return x86vcpu_extension() == X86VCPU_EXTENSION_SVM; }

/*
 * SVM has no preemption timer: what ends a guest that only computes is the host's own next interrupt.
 * Starts one that comes every 50 us; nothing on VT-x. Ticks of the TSC between two of them, or 0.
 */
void host_tick_start(void);
uint64_t host_tick_ticks(void);

struct host_table {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

/* What a run must leave as it was. */
struct host_snapshot {
	uint64_t cr0, cr3, cr4, efer, xcr0, rflags;
	uint64_t dr[4], dr6, dr7;
	struct host_table gdtr, idtr;
	uint16_t cs, ds, es, fs, gs, ss, tr, ldtr;
	uint64_t msr[24];
	uint64_t xmm[32];
	uint64_t ymm[6]; /* upper halves of YMM0, YMM7 and YMM15, if XCR0 has them */
	uint64_t tr_limit;
	uint32_t mxcsr;
	uint16_t fcw;
};

void host_snapshot(struct host_snapshot *s);
/* Writes values that a guest would not have by chance to whatever the host may freely set. */
void host_paint(void);
/* Has AVX on, if the CPU has it, and what host_paint has written in the upper halves. After host_enable and host_paint. */
void host_use_avx(void);
/* Fails the test with the name of what differs. */
void host_check_unchanged(const struct host_snapshot *before);

static inline uint64_t host_cr0(void) { uint64_t v; __asm__ volatile("movq %%cr0, %0" : "=r"(v)); return v; }
static inline uint64_t host_cr4(void) { uint64_t v; __asm__ volatile("movq %%cr4, %0" : "=r"(v)); return v; }
static inline void host_set_cr4(uint64_t v) { __asm__ volatile("movq %0, %%cr4" : : "r"(v) : "memory"); }

struct host_cpuid { uint32_t eax, ebx, ecx, edx; };
struct host_cpuid host_cpuid(uint32_t leaf, uint32_t subleaf);
/* For metal_test.cannot. */
const char *host_without_avx(void);

/* The current VMCS, which is the bound vCPU's. False: VMfail. */
bool host_vmwrite(uint64_t field, uint64_t value);
uint64_t host_vmread(uint64_t field);

#endif
