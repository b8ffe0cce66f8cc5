/* SPDX-License-Identifier: Apache-2.0 */
/* Guest-physical memory: the regions that setup named, and the host's function for the rest. */
#include "cpu/libc.h"
#include "emul/guest.h"

#define PAGE_SIZE UINT64_C(0x1000)

static bool covers(const struct x86vcpu_memory_region *region, uint64_t gpa)
{
	return gpa - region->gpa < region->size;
}

/* Most guests have one region of any size: the last one that answered is asked first. */
static const struct x86vcpu_memory_region *find_region(struct guest *g, uint64_t gpa)
{
	if (g->memory_last < g->memory_count && covers(&g->memory[g->memory_last], gpa))
		return &g->memory[g->memory_last];
	for (uint32_t i = 0; i < g->memory_count; i++) {
		if (covers(&g->memory[i], gpa)) {
			g->memory_last = i;
			return &g->memory[i];
		}
	}
	return NULL;
}

const uint8_t *guest_memory_at(struct guest *g, uint64_t gpa, uint64_t *left)
{
	const struct x86vcpu_memory_region *region = find_region(g, gpa);

	if (!region)
		return NULL;
	*left = region->size - (gpa - region->gpa);
	return (const uint8_t *)region->hva + (gpa - region->gpa);
}

uint8_t *guest_writable_memory_at(struct guest *g, uint64_t gpa, uint64_t *left)
{
	const struct x86vcpu_memory_region *region = find_region(g, gpa);

	if (!region || region->flags & X86VCPU_MEMORY_READ_ONLY)
		return NULL;
	*left = region->size - (gpa - region->gpa);
	return (uint8_t *)region->hva + (gpa - region->gpa);
}

bool guest_update_physical(struct guest *g, uint64_t gpa, unsigned bytes, uint64_t expected, uint64_t desired)
{
	const struct x86vcpu_memory_region *region = find_region(g, gpa);
	uint8_t *at;

	if (!region || region->flags & X86VCPU_MEMORY_READ_ONLY || region->size - (gpa - region->gpa) < bytes)
		return true;
	at = (uint8_t *)region->hva + (gpa - region->gpa);
	/* A locked access across a cache line may fault in the host, which detects split locks. */
	if ((uintptr_t)at % bytes)
		return true;
	if (bytes == 8)
		return __atomic_compare_exchange_n((uint64_t *)(void *)at, &expected, desired, false, __ATOMIC_RELAXED,
						   __ATOMIC_RELAXED);
	return __atomic_compare_exchange_n((uint32_t *)(void *)at, &(uint32_t){(uint32_t)expected}, (uint32_t)desired,
					   false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

/* How much of [gpa, gpa + len) the host may be asked for at once: one page, and no region's bytes. */
static uint64_t host_chunk(const struct guest *g, uint64_t gpa, uint64_t len)
{
	uint64_t chunk = PAGE_SIZE - gpa % PAGE_SIZE;

	if (chunk > len)
		chunk = len;
	for (uint32_t i = 0; i < g->memory_count; i++)
		if (g->memory[i].gpa - gpa < chunk)
			chunk = g->memory[i].gpa - gpa;
	return chunk;
}

int32_t guest_read_some(struct guest *g, uint64_t gpa, void *buf, uint64_t len, uint64_t *done)
{
	const uint8_t *from = guest_memory_at(g, gpa, done);

	if (!from) {
		int32_t status;

		*done = host_chunk(g, gpa, len);
		status = g->host->read_guest(g->ctx, g->machine_opaque, gpa, buf, *done);
		return status <= 0 ? status : X86VCPU_ERR_INVALID_DATA;
	}
	if (*done > len)
		*done = len;
	memcpy(buf, from, *done);
	return X86VCPU_OK;
}

int32_t guest_read_physical(struct guest *g, uint64_t gpa, void *buf, uint64_t len)
{
	uint8_t *to = buf;

	if (len && gpa + (len - 1) < gpa)
		return X86VCPU_ERR_INVALID_INPUT;
	while (len) {
		uint64_t done;
		const int32_t status = guest_read_some(g, gpa, to, len, &done);

		if (status != X86VCPU_OK)
			return status;
		gpa += done;
		to += done;
		len -= done;
	}
	return X86VCPU_OK;
}

bool guest_search_mmio(struct guest *g, uint64_t gpa, uint64_t bytes)
{
	if (lapic_at(&g->lapic, gpa, bytes))
		return true;
	for (uint32_t i = 0; i < g->mmio_count; i++) {
		if (guest_mmio_range_holds(&g->mmio[i], gpa, bytes)) {
			g->mmio_last = i;
			return true;
		}
	}
	return false;
}
