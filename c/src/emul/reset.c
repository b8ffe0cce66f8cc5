/* SPDX-License-Identifier: Apache-2.0 */
#include "emul/reset.h"

#include "cpu/x86.h"
#include "emul/cpuid.h"
#include "emul/machine.h"
#include "emul/msr.h"

#define RESET_VECTOR UINT64_C(0xfffffff0)

static void reset_segment(struct guest *g, unsigned segment, uint32_t access)
{
	guest_set(g, (enum guest_field)(G_SELECTOR + segment), 0);
	guest_set(g, (enum guest_field)(G_BASE + segment), 0);
	guest_set(g, (enum guest_field)(G_LIMIT + segment), 0xffff);
	guest_set(g, (enum guest_field)(G_ACCESS + segment), access);
}

static void reset_segments(struct guest *g, uint64_t entry)
{
	for (unsigned segment = X86VCPU_SEGMENT_ES; segment <= X86VCPU_SEGMENT_GS; segment++)
		reset_segment(g, segment, AR_P | AR_S | AR_TYPE_WRITE | AR_TYPE_ACCESSED);
	reset_segment(g, X86VCPU_SEGMENT_CS, AR_P | AR_S | AR_TYPE_CODE | AR_TYPE_WRITE | AR_TYPE_ACCESSED);
	reset_segment(g, X86VCPU_SEGMENT_LDTR, AR_P | 2);  /* LDT */
	reset_segment(g, X86VCPU_SEGMENT_TR, AR_P | 0xb);  /* busy 32-bit TSS */
	guest_set(g, G_RIP, entry);
	if (entry == RESET_VECTOR) {
		guest_set(g, (enum guest_field)(G_SELECTOR + X86VCPU_SEGMENT_CS), 0xf000);
		guest_set(g, (enum guest_field)(G_BASE + X86VCPU_SEGMENT_CS), 0xffff0000);
		guest_set(g, G_RIP, 0xfff0);
	}
	guest_set(g, G_GDTR_BASE, 0);
	guest_set(g, G_GDTR_LIMIT, 0xffff);
	guest_set(g, G_IDTR_BASE, 0);
	guest_set(g, G_IDTR_LIMIT, 0xffff);
}

static void reset_registers(struct guest *g)
{
	g->regs = (struct x86vcpu_regs){
		.rdx = cpuid_lookup(g, 1, 0)->eax, /* the processor's signature */
	};
	guest_set(g, G_RSP, 0);
	guest_set(g, G_RFLAGS, RFLAGS_FIXED);
	guest_set(g, G_CR0, CR0_CD | CR0_NW | CR0_ET);
	guest_set(g, G_CR3, 0);
	guest_set(g, G_CR4, 0);
	guest_set(g, G_EFER, 0);
	guest_set(g, G_DR7, DR7_RESET);
	guest_set(g, G_BLOCKING, 0);
	guest_set(g, G_ACTIVITY, 0);
	guest_set(g, G_PENDING_DB, 0);
	for (unsigned i = 0; i < 4; i++)
		guest_set(g, (enum guest_field)(G_PDPTE0 + i), 0);
	g->cr2 = 0;
}

/* Those that the backend keeps, and INIT does not change. */
static void reset_msr_fields(struct guest *g)
{
	guest_set(g, G_PAT, PAT_RESET);
	guest_set(g, G_SYSENTER_CS, 0);
	guest_set(g, G_SYSENTER_ESP, 0);
	guest_set(g, G_SYSENTER_EIP, 0);
}

void guest_reset(struct guest *g, uint64_t entry)
{
	reset_segments(g, entry);
	reset_registers(g);
	reset_msr_fields(g);
	guest_reset_msrs(g);
	g->msrs.tsc_offset = g->machine ? g->machine->tsc_offset : 0 - g->host_tsc();
	lapic_reset(g);
}

/* ---- INIT and start-up IPI (SDM 9.4) --------------------------------------------------------------------- */

/* MSRs but EFER, extended state and the TSC stay as they are (SDM table 10-1). So do CR0's cache bits. */
static void init(struct guest *g)
{
	const uint64_t cache_bits = guest_get(g, G_CR0) & (CR0_CD | CR0_NW);
	struct guest_events *events = &g->events;

	reset_segments(g, RESET_VECTOR);
	reset_registers(g);
	guest_set(g, G_CR0, CR0_ET | cache_bits);
	for (unsigned i = 0; i < 4; i++) {
		g->dr[i] = 0;
		__atomic_store_n(&events->interrupts[i], 0, __ATOMIC_RELAXED);
	}
	g->dr6 = DR6_RESET;
	g->drs_armed = false;
	g->flush_tlb = true;
	guest_drop_open_exit(g);
	__atomic_store_n(&events->nmi, 0, __ATOMIC_RELAXED);
	events->exception.valid = false;
	events->reinject.valid = false;
	events->halted = false;
	events->shutdown = false;
	lapic_init(g);
	events->waits_for_sipi = !(g->lapic.base & APIC_BASE_BSP);
}

static void start_up(struct guest *g, uint8_t page)
{
	guest_set(g, (enum guest_field)(G_SELECTOR + X86VCPU_SEGMENT_CS), (uint64_t)page << 8);
	guest_set(g, (enum guest_field)(G_BASE + X86VCPU_SEGMENT_CS), (uint64_t)page << 12);
	guest_set(g, G_RIP, 0);
	g->events.waits_for_sipi = false;
	guest_look_again(g);
}

bool guest_take_startup(struct guest *g)
{
	struct guest_events *events = &g->events;
	const bool initialised = __atomic_exchange_n(&events->init, 0, __ATOMIC_ACQ_REL);
	uint32_t startup;

	if (initialised)
		init(g);
	startup = __atomic_exchange_n(&events->startup, 0, __ATOMIC_ACQ_REL);
	if (startup && events->waits_for_sipi)
		start_up(g, (uint8_t)startup);
	return initialised;
}
