/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's accesses to registers, by offset in xAPIC mode and by MSR in x2APIC mode (SDM tables 12-1 and
 * 12-6). A table says what each register allows in either mode, so that nothing else can be reached.
 */
#include "lapic/lapic.h"

#include "cpu/x86.h"
#include "emul/finish.h"
#include "emul/guest.h"
#include "x86vcpu/apic.h"
#include "x86vcpu/msr.h"

/* Version 14H, seven local vectors, EOI broadcast cannot be suppressed (SDM 12.4.8). */
#define VERSION 0x60014u

#define READ (1u << 0)  /* in xAPIC mode */
#define WRITE (1u << 1)
#define READ2 (1u << 2) /* in x2APIC mode */
#define WRITE2 (1u << 3)
#define RO (READ | READ2)
#define RW (READ | WRITE | READ2 | WRITE2)

struct rule {
	uint8_t allowed;
	/* Bits that a write changes; in x2APIC mode others are #GP, but for those in `ignored`. */
	uint32_t writable, ignored;
};

#define LVT_PLAIN (LVT_MASKED | APIC_VECTOR)
#define LVT_DELIVERY (7u << APIC_DELIVERY_SHIFT)
#define LVT_PIN (LVT_PLAIN | LVT_DELIVERY | LVT_POLARITY | APIC_TRIGGER_LEVEL)
#define LVT_TIMER (LVT_PLAIN | LVT_TIMER_PERIODIC | LVT_TIMER_TSC_DEADLINE)
#define ICR_BITS (APIC_VECTOR | LVT_DELIVERY | APIC_LOGICAL | APIC_LEVEL_ASSERT | APIC_TRIGGER_LEVEL | 3u << 18)

static const struct rule rules[LAPIC_REGISTERS] = {
	[LAPIC_ID] = {.allowed = RO},
	[LAPIC_VERSION] = {.allowed = RO},
	[LAPIC_TPR] = {.allowed = RW, .writable = 0xff},
	[LAPIC_APR] = {.allowed = READ},
	[LAPIC_PPR] = {.allowed = RO},
	[LAPIC_EOI] = {.allowed = WRITE | WRITE2},
	[LAPIC_RRD] = {.allowed = READ},
	[LAPIC_LDR] = {.allowed = READ | WRITE | READ2, .writable = 0xff000000},
	[LAPIC_DFR] = {.allowed = READ | WRITE, .writable = 0xf0000000},
	[LAPIC_SVR] = {.allowed = RW, .writable = APIC_SVR_ENABLE | 0xff, .ignored = 1u << 9}, /* focus checking */
	[LAPIC_ISR ... LAPIC_IRR + 7] = {.allowed = RO},
	[LAPIC_ESR] = {.allowed = RW},
	[LAPIC_LVT_CMCI] = {.allowed = RW, .writable = LVT_PLAIN | LVT_DELIVERY, .ignored = APIC_SEND_PENDING},
	[LAPIC_ICR] = {.allowed = RW, .writable = ICR_BITS, .ignored = APIC_SEND_PENDING},
	[LAPIC_ICR2] = {.allowed = READ | WRITE, .writable = 0xff000000},
	[LAPIC_LVT_TIMER] = {.allowed = RW, .writable = LVT_TIMER, .ignored = APIC_SEND_PENDING},
	[LAPIC_LVT_THERMAL] = {.allowed = RW, .writable = LVT_PLAIN | LVT_DELIVERY, .ignored = APIC_SEND_PENDING},
	[LAPIC_LVT_COUNTERS] = {.allowed = RW, .writable = LVT_PLAIN | LVT_DELIVERY, .ignored = APIC_SEND_PENDING},
	[LAPIC_LVT_LINT0] = {.allowed = RW, .writable = LVT_PIN, .ignored = APIC_SEND_PENDING | LVT_REMOTE_IRR},
	[LAPIC_LVT_LINT1] = {.allowed = RW, .writable = LVT_PIN, .ignored = APIC_SEND_PENDING | LVT_REMOTE_IRR},
	[LAPIC_LVT_ERROR] = {.allowed = RW, .writable = LVT_PLAIN, .ignored = APIC_SEND_PENDING},
	[LAPIC_TIMER_INITIAL] = {.allowed = RW, .writable = UINT32_MAX},
	[LAPIC_TIMER_CURRENT] = {.allowed = RO},
	[LAPIC_TIMER_DIVIDE] = {.allowed = RW, .writable = 0xb},
	[LAPIC_SELF_IPI] = {.allowed = WRITE2, .writable = 0xff},
};

/* ---- Reads ------------------------------------------------------------------------------------------ */

static uint32_t word_of(const uint64_t set[4], unsigned n)
{
	return (uint32_t)(__atomic_load_n(&set[n >> 1], __ATOMIC_RELAXED) >> 32 * (n & 1));
}

static uint32_t read_register(struct guest *g, unsigned reg)
{
	struct lapic *l = &g->lapic;

	switch (reg) {
	case LAPIC_ID:
		return lapic_in_x2apic_mode(l) ? l->id : l->id << 24;
	case LAPIC_VERSION:
		return VERSION;
	case LAPIC_TPR:
		return *l->tpr & 0xff;
	case LAPIC_PPR:
		return lapic_ppr(g);
	case LAPIC_LDR:
		return l->ldr;
	case LAPIC_DFR:
		return l->dfr;
	case LAPIC_SVR:
		return l->svr;
	case LAPIC_ISR ... LAPIC_ISR + 7:
		return word_of(l->isr, reg - LAPIC_ISR);
	case LAPIC_TMR ... LAPIC_TMR + 7:
		return word_of(l->tmr, reg - LAPIC_TMR);
	case LAPIC_IRR ... LAPIC_IRR + 7:
		return word_of(l->irr, reg - LAPIC_IRR);
	case LAPIC_ESR:
		return l->esr;
	case LAPIC_ICR:
		return l->icr;
	case LAPIC_ICR2:
		return l->icr2;
	case LAPIC_LVT_CMCI:
	case LAPIC_LVT_TIMER ... LAPIC_LVT_ERROR:
		return *lapic_lvt(l, reg);
	case LAPIC_TIMER_INITIAL:
		return l->timer.initial;
	case LAPIC_TIMER_CURRENT:
		return lapic_timer_current(g);
	case LAPIC_TIMER_DIVIDE:
		return l->timer.divide;
	default: /* APR and RRD: no processor has had them since the Pentium */
		return 0;
	}
}

uint32_t lapic_register(struct guest *g, unsigned reg)
{
	const unsigned needed = lapic_in_x2apic_mode(&g->lapic) ? READ2 : READ;

	return reg < LAPIC_REGISTERS && rules[reg].allowed & needed ? read_register(g, reg) : 0;
}

/* ---- Writes ----------------------------------------------------------------------------------------- */

static void write_svr(struct guest *g, uint32_t value)
{
	struct lapic *l = &g->lapic;

	__atomic_store_n(&l->svr, value, __ATOMIC_RELAXED);
	if (!(value & APIC_SVR_ENABLE))
		lapic_mask_all(l); /* SDM 12.4.7.2 */
}

static void write_lvt(struct guest *g, unsigned reg, uint32_t value)
{
	struct lapic *l = &g->lapic;
	uint32_t *lvt = lapic_lvt(l, reg);
	const uint32_t old = *lvt;

	if (!(l->svr & APIC_SVR_ENABLE))
		value |= LVT_MASKED;
	*lvt = value | (old & LVT_REMOTE_IRR);
	if (reg == LAPIC_LVT_TIMER)
		lapic_timer_mode_changed(g, old);
	/* A level that is there already: the pin need not rise. */
	if (reg == LAPIC_LVT_LINT0 && value & APIC_TRIGGER_LEVEL && !(*lvt & LVT_REMOTE_IRR) &&
	    __atomic_load_n(&l->pins, __ATOMIC_RELAXED) & 1)
		lapic_local(g, reg);
	guest_look_again(g);
}

static int end_of_interrupt(struct guest *g)
{
	const int vector = lapic_eoi(g);

	if (vector < 0)
		return EMUL_NEXT;
	emul_report(g, X86VCPU_EXIT_INTERRUPT_END);
	g->exit->u.interrupt_end = (struct x86vcpu_interrupt_end){1, (uint32_t)vector};
	return EMUL_NEXT_EXIT;
}

/* The same as ICR with the shorthand "self" (SDM 12.12.11): disabled by software, it accepts nothing. */
static void send_to_self(struct guest *g, uint32_t vector)
{
	if (vector < APIC_FIRST_VECTOR)
		lapic_error(g, APIC_ERROR_SEND_VECTOR);
	else if (lapic_enabled(&g->lapic))
		lapic_accept(g, (uint8_t)vector, false);
	guest_look_again(g);
}

/* `value` has only bits that can be written. EMUL_NEXT or EMUL_NEXT_EXIT. */
static int write_register(struct guest *g, unsigned reg, uint32_t value, uint32_t high)
{
	struct lapic *l = &g->lapic;

	switch (reg) {
	case LAPIC_TPR:
		lapic_set_tpr(g, value);
		break;
	case LAPIC_EOI:
		return end_of_interrupt(g);
	case LAPIC_LDR:
		__atomic_store_n(&l->ldr, value, __ATOMIC_RELAXED);
		break;
	case LAPIC_DFR:
		__atomic_store_n(&l->dfr, value | 0x0fffffff, __ATOMIC_RELAXED);
		break;
	case LAPIC_SVR:
		write_svr(g, value);
		break;
	case LAPIC_ESR:
		l->esr = l->errors;
		l->errors = 0;
		break;
	case LAPIC_ICR:
		l->icr = value;
		lapic_send_icr(g, value, high);
		break;
	case LAPIC_ICR2:
		l->icr2 = value;
		break;
	case LAPIC_LVT_CMCI:
	case LAPIC_LVT_TIMER ... LAPIC_LVT_ERROR:
		write_lvt(g, reg, value);
		break;
	case LAPIC_TIMER_INITIAL:
		lapic_timer_write_initial(g, value);
		break;
	case LAPIC_TIMER_DIVIDE:
		lapic_timer_write_divide(g, value);
		break;
	case LAPIC_SELF_IPI:
		send_to_self(g, value);
		break;
	default:
		break;
	}
	return EMUL_NEXT;
}

/* Mode 3 of the timer is reserved (SDM figure 12-8): it is not stored. */
static uint32_t writable_bits(unsigned reg, uint32_t value)
{
	value &= rules[reg].writable;
	if (reg == LAPIC_LVT_TIMER && value & LVT_TIMER_PERIODIC)
		value &= ~LVT_TIMER_TSC_DEADLINE;
	return value;
}

bool lapic_register_ok(unsigned reg, uint32_t value)
{
	const struct rule *rule = &rules[reg];
	const bool stored = reg != LAPIC_ESR && reg != LAPIC_DFR && rule->allowed & WRITE;

	return !stored || !(value & ~(rule->writable | rule->ignored));
}

/* ---- xAPIC: memory (SDM 12.4.1) ----------------------------------------------------------------------- */

static bool is_reserved(unsigned reg)
{
	return !(rules[reg].allowed & (READ | WRITE));
}

/* Beyond its 32 bits a register reads as zero. */
uint64_t lapic_mmio_read(struct guest *g, unsigned offset, unsigned bytes)
{
	const unsigned reg = offset >> 4 & 0xff, from = offset & 15;
	uint64_t value;

	if (reg >= LAPIC_REGISTERS || is_reserved(reg)) {
		lapic_error(g, APIC_ERROR_REGISTER);
		return 0;
	}
	if (!(rules[reg].allowed & READ) || from >= 4)
		return 0;
	value = (uint64_t)read_register(g, reg) >> 8 * from;
	return bytes >= 8 ? value : value & ((UINT64_C(1) << 8 * bytes) - 1);
}

/* What is no write of an aligned 32-bit register has no effect; the manual leaves it undefined. */
int lapic_mmio_write(struct guest *g, unsigned offset, unsigned bytes, uint64_t value)
{
	const unsigned reg = offset >> 4 & 0xff;

	if (reg >= LAPIC_REGISTERS || is_reserved(reg)) {
		lapic_error(g, APIC_ERROR_REGISTER);
		return EMUL_NEXT;
	}
	if (!(rules[reg].allowed & WRITE) || offset & 15 || bytes != 4)
		return EMUL_NEXT;
	return write_register(g, reg, writable_bits(reg, (uint32_t)value), g->lapic.icr2 >> 24);
}

/* ---- x2APIC: MSRs (SDM 12.12.1) ------------------------------------------------------------------------ */

static int x2apic_read(struct guest *g, uint32_t msr, uint64_t *value)
{
	const uint32_t reg = msr - X86VCPU_MSR_X2APIC_FIRST;

	if (!lapic_in_x2apic_mode(&g->lapic) || reg >= LAPIC_REGISTERS || !(rules[reg].allowed & READ2))
		return EMUL_GP;
	*value = read_register(g, reg);
	if (reg == LAPIC_ICR)
		*value |= (uint64_t)g->lapic.icr2 << 32;
	return EMUL_NEXT;
}

static int x2apic_write(struct guest *g, uint32_t msr, uint64_t value)
{
	const uint32_t reg = msr - X86VCPU_MSR_X2APIC_FIRST, high = (uint32_t)(value >> 32);
	uint32_t low = (uint32_t)value;

	if (!lapic_in_x2apic_mode(&g->lapic) || reg >= LAPIC_REGISTERS || !(rules[reg].allowed & WRITE2))
		return EMUL_GP;
	if (high && reg != LAPIC_ICR)
		return EMUL_GP;
	low &= ~rules[reg].ignored;
	if (low != writable_bits(reg, low))
		return EMUL_GP;
	if (reg == LAPIC_ICR)
		g->lapic.icr2 = high;
	return write_register(g, reg, low, high);
}

int lapic_rdmsr(struct guest *g, uint32_t msr, uint64_t *value)
{
	switch (msr) {
	case X86VCPU_MSR_IA32_APIC_BASE:
		*value = g->lapic.base;
		return EMUL_NEXT;
	case X86VCPU_MSR_IA32_TSC_DEADLINE:
		lapic_timer_look(g);
		*value = g->lapic.timer.tsc_deadline;
		return EMUL_NEXT;
	default:
		return x2apic_read(g, msr, value);
	}
}

int lapic_wrmsr(struct guest *g, uint32_t msr, uint64_t value)
{
	switch (msr) {
	case X86VCPU_MSR_IA32_APIC_BASE:
		return lapic_write_base(g, value) ? EMUL_NEXT : EMUL_GP;
	case X86VCPU_MSR_IA32_TSC_DEADLINE:
		lapic_timer_write_deadline(g, value);
		return EMUL_NEXT;
	default:
		return x2apic_write(g, msr, value);
	}
}
