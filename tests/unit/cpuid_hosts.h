/* SPDX-License-Identifier: Apache-2.0 */
/* Hosts whose CPUID a guest's is made of. */
#ifndef CPUID_HOSTS_H
#define CPUID_HOSTS_H

#include <stddef.h>
#include <stdint.h>

enum { A, B, C, D }; /* EAX to EDX */

struct leaf {
	uint32_t leaf, subleaf, words[4];
};

struct host {
	const struct leaf *leaves;
	size_t count;
	/* This leaf instead of the table's; for hosts that differ in one thing. */
	struct leaf changed;
};

extern const struct host skylake_x, haswell, ryzen;
/* A 32-bit CPU with PAE and little else; leaf 0x80000000 answers with the highest basic leaf. */
extern const struct host minimal;
/* As Bochs 2.7 has it: the total of leaf 0xd does not follow from the components. */
extern const struct host bochs;

/*
 * cpuid_config.host, with a struct host as its context. Beyond its ranges the host answers with rubbish, as Intel's
 * CPUs do with their highest basic leaf.
 */
void ask_host(void *ctx, uint32_t leaf, uint32_t subleaf, uint32_t out[4]);
/* Every bit set, but for what must make sense: maxima, the sizes of XSAVE components, and XCR0 by *ctx, a uint32_t. */
void ask_all_ones(void *ctx, uint32_t leaf, uint32_t subleaf, uint32_t out[4]);
void ask_nothing(void *ctx, uint32_t leaf, uint32_t subleaf, uint32_t out[4]);

#endif
