/* SPDX-License-Identifier: Apache-2.0 */
/* Structures that cross the ABI and begin with their size (see "Sizes" in x86vcpu/version.h). */
#ifndef VCPU_COPY_H
#define VCPU_COPY_H

#include <stddef.h>
#include <stdint.h>

/*
 * Copies the caller's structure to `to`, which has the `known` bytes that the library knows, `oldest` of them since the
 * first version. Members that the caller does not have become 0.
 * 0; INVALID_INPUT: NULL; ABI_MISMATCH: smaller than the first version, or a member that the library does not know is not 0.
 */
int32_t copy_in(void *to, uint64_t known, const void *from, uint64_t oldest);

/* `last` is the last member of the structure's first version. */
#define COPY_IN(to, from, last) copy_in((to), sizeof(*(to)), (from), offsetof(__typeof__(*(to)), last) + sizeof((to)->last))

#endif
