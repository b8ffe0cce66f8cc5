/* SPDX-License-Identifier: Apache-2.0 */
#include "vcpu/host_ops.h"

#include "cpu/libc.h"
#include "vcpu/copy.h"
#include "x86vcpu/status.h"

#define PAGE_BYTES UINT64_C(4096)

int32_t host_ops_copy_in(struct x86vcpu_host_ops *to, const struct x86vcpu_host_ops *ops)
{
	const int32_t status = COPY_IN(to, ops, acknowledge_interrupt);

	if (status)
		return status;
	if (to->abi_version != X86VCPU_ABI_VERSION)
		return X86VCPU_ERR_ABI_MISMATCH;
	if (!to->alloc_frame || !to->free_frame || !to->alloc_contiguous_frames || !to->free_contiguous_frames ||
	    !to->phys_to_virt || !to->read_guest || !to->nanos_to_ticks || !to->dispatch_external_interrupt ||
	    !to->service_pending_interrupt)
		return X86VCPU_ERR_INVALID_INPUT;
	return X86VCPU_OK;
}

static uint64_t frames(uint64_t bytes)
{
	return (bytes + PAGE_BYTES - 1) / PAGE_BYTES;
}

void *alloc_zeroed(const struct x86vcpu_host_ops *ops, void *ctx, uint64_t bytes, uint64_t *hpa)
{
	const uint64_t count = frames(bytes);
	void *memory;

	*hpa = ops->alloc_contiguous_frames(ctx, count, PAGE_BYTES);
	if (!*hpa)
		return NULL;
	memory = ops->phys_to_virt(ctx, *hpa);
	memset(memory, 0, count * PAGE_BYTES);
	return memory;
}

void free_frames(const struct x86vcpu_host_ops *ops, void *ctx, uint64_t hpa, uint64_t bytes)
{
	ops->free_contiguous_frames(ctx, hpa, frames(bytes));
}
