/* SPDX-License-Identifier: Apache-2.0 */
/* What abi.c and abi_calls.c share. */
#ifndef FUZZ_ABI_H
#define FUZZ_ABI_H

#include <stdio.h>

#include "fuzz.h"

struct abi {
	struct world *w;
	uint32_t watched; /* vCPU that is compared */
	bool ran; /* the guest has been in the meantime */
	struct x86vcpu_nested_tables tables;
};

#define ABI_CALLS 37u
/* Those that were added later; a step's byte from here on. */
#define ABI_LATER 0xe0u
#define ABI_LATER_CALLS 8u

/* Which vCPU a call is for; it may be NULL. */
uint32_t abi_pick(struct abi *a);

int32_t abi_percpu(struct abi *a, uint8_t how);
int32_t abi_create(struct abi *a, uint8_t how);
int32_t abi_destroy(struct abi *a, uint32_t n);
int32_t abi_setup(struct abi *a, uint32_t n, uint8_t how);
int32_t abi_bind(struct abi *a, uint32_t n, uint8_t how);
int32_t abi_run(struct abi *a, uint32_t n, uint8_t how);

/* The number of a call, from a byte of the input. */
uint32_t abi_number(uint8_t byte);
#define ABI_ALL_CALLS (ABI_CALLS + ABI_LATER_CALLS)

/* Call number `call`, below ABI_ALL_CALLS. */
int32_t abi_call(struct abi *a, uint32_t call, uint8_t how);
/* From a host op. */
void abi_reenter(struct abi *a, uint8_t byte, uint8_t how);
void abi_end(struct abi *a);

#endif
