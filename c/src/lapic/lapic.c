/* SPDX-License-Identifier: Apache-2.0 */
/* A local APIC's life: frames, reset, INIT, and the modes that IA32_APIC_BASE chooses. */
#include "lapic/lapic.h"

#include "cpu/libc.h"
#include "emul/guest.h"

#define PAGE_BYTES 4096u

const uint8_t lapic_local_vectors[LAPIC_LOCAL_VECTORS] = {
	LAPIC_LVT_CMCI, LAPIC_LVT_TIMER, LAPIC_LVT_THERMAL, LAPIC_LVT_COUNTERS,
	LAPIC_LVT_LINT0, LAPIC_LVT_LINT1, LAPIC_LVT_ERROR,
};

int32_t lapic_create(struct guest *g)
{
	struct lapic *l = &g->lapic;
	uint8_t *page;

	l->page_hpa = g->host->alloc_frame(g->ctx);
	if (!l->page_hpa)
		return X86VCPU_ERR_NO_MEMORY;
	page = g->host->phys_to_virt(g->ctx, l->page_hpa);
	memset(page, 0, PAGE_BYTES);
	l->tpr = (uint32_t *)(void *)(page + LAPIC_TPR * 16);
	return X86VCPU_OK;
}

void lapic_destroy(struct guest *g)
{
	if (g->lapic.page_hpa)
		g->host->free_frame(g->ctx, g->lapic.page_hpa);
	g->lapic.page_hpa = 0;
}

void lapic_mask_all(struct lapic *l)
{
	for (unsigned i = 0; i < LAPIC_LOCAL_VECTORS; i++)
		*lapic_lvt(l, lapic_local_vectors[i]) |= LVT_MASKED;
}

static void reset_registers(struct guest *g)
{
	struct lapic *l = &g->lapic;

	*l->tpr = 0;
	l->ldr = lapic_in_x2apic_mode(l) ? lapic_x2apic_ldr(l) : 0;
	l->dfr = UINT32_MAX;
	__atomic_store_n(&l->svr, 0xff, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < 4; i++) {
		__atomic_store_n(&l->irr[i], 0, __ATOMIC_RELAXED);
		__atomic_store_n(&l->tmr[i], 0, __ATOMIC_RELAXED);
		l->isr[i] = 0;
	}
	for (unsigned i = 0; i < sizeof(l->lvt) / sizeof(l->lvt[0]); i++)
		l->lvt[i] = 0;
	lapic_mask_all(l);
	l->icr = l->icr2 = 0;
	l->esr = l->errors = 0;
	lapic_timer_reset(g);
}

void lapic_reset(struct guest *g)
{
	struct lapic *l = &g->lapic;

	l->id = g->vcpu_id;
	l->present = g->limits.has_apic;
	l->base = APIC_BASE_RESET | APIC_BASE_EN | (g->vcpu_id == 0 ? APIC_BASE_BSP : 0);
	l->pins = l->edges = 0;
	reset_registers(g);
}

void lapic_init(struct guest *g)
{
	reset_registers(g);
}

bool lapic_base_ok(const struct guest *g, uint64_t value)
{
	const uint64_t mode = APIC_BASE_EN | APIC_BASE_EXTD;
	const uint64_t address = g->limits.physical_mask & ~UINT64_C(0xfff);

	return !(value & ~(address | mode | APIC_BASE_BSP)) && (value & mode) != APIC_BASE_EXTD;
}

/*
 * SDM 12.12.5: the modes are disabled, xAPIC and x2APIC; from x2APIC only disabling leads out, and from
 * disabled only xAPIC. The BSP flag is the reset's to decide.
 */
bool lapic_write_base(struct guest *g, uint64_t value)
{
	struct lapic *l = &g->lapic;
	const uint64_t mode = APIC_BASE_EN | APIC_BASE_EXTD, old = l->base & mode, new = value & mode;

	if (!lapic_base_ok(g, value))
		return false;
	if ((old == mode && new == APIC_BASE_EN) || (old == 0 && new == mode))
		return false;
	__atomic_store_n(&l->base, (value & ~APIC_BASE_BSP) | (l->base & APIC_BASE_BSP), __ATOMIC_RELAXED);
	if (old && !new)
		reset_registers(g);
	if (old != mode && new == mode) {
		__atomic_store_n(&l->ldr, lapic_x2apic_ldr(l), __ATOMIC_RELAXED);
		l->icr2 = 0;
	}
	guest_look_again(g);
	return true;
}
