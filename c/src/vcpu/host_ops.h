/* SPDX-License-Identifier: Apache-2.0 */
/* The host operations that a caller brings, and memory from them. */
#ifndef VCPU_HOST_OPS_H
#define VCPU_HOST_OPS_H

#include "x86vcpu/host.h"

/* Copies a table that is complete. 0; INVALID_INPUT: NULL, or a required slot is NULL; ABI_MISMATCH: size or abi_version. */
int32_t host_ops_copy_in(struct x86vcpu_host_ops *to, const struct x86vcpu_host_ops *ops);

/* Contiguous frames for `bytes` bytes, all zero, and their address in *hpa. NULL: the host has none. */
void *alloc_zeroed(const struct x86vcpu_host_ops *ops, void *ctx, uint64_t bytes, uint64_t *hpa);
/* Gives back what alloc_zeroed took for `bytes` bytes. */
void free_frames(const struct x86vcpu_host_ops *ops, void *ctx, uint64_t hpa, uint64_t bytes);

#endif
