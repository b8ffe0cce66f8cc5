/* SPDX-License-Identifier: Apache-2.0 */
/* A local APIC's state, out and in again. */
#include "lapic/lapic.h"

#include "emul/guest.h"
#include "x86vcpu/apic.h"

void lapic_save(struct guest *g, struct x86vcpu_apic_state *state)
{
	struct lapic *l = &g->lapic;

	lapic_look(g);
	*state = (struct x86vcpu_apic_state){
		.size = sizeof(*state),
		.lint = __atomic_load_n(&l->pins, __ATOMIC_RELAXED),
		.base = l->base,
		.tsc_deadline = l->timer.tsc_deadline,
		.timer_remaining = l->timer.tsc_deadline ? 0 : lapic_timer_remaining(g),
		.waits_for_sipi = g->events.waits_for_sipi,
		.errors = l->errors,
	};
	for (unsigned reg = 0; reg < LAPIC_REGISTERS; reg++)
		state->registers[reg] = lapic_register(g, reg);
	/* In x2APIC mode the upper half of the ICR's MSR. */
	state->registers[LAPIC_ICR2] = l->icr2;
}

/* In x2APIC mode the destination has 32 bits, and the logical ID is the hardware's (SDM 12.12.9, 12.12.10.2). */
static bool register_ok(const struct x86vcpu_apic_state *state, unsigned reg)
{
	if (state->base & APIC_BASE_EXTD && (reg == LAPIC_ICR2 || reg == LAPIC_LDR))
		return true;
	return lapic_register_ok(reg, state->registers[reg]);
}

static bool registers_ok(const struct x86vcpu_apic_state *state)
{
	const uint32_t errors = APIC_ERROR_SEND_VECTOR | APIC_ERROR_RECEIVED_VECTOR | APIC_ERROR_REGISTER;

	if (state->lint > 3 || state->waits_for_sipi > 1 || state->reserved || state->reserved2)
		return false;
	if ((state->errors | state->registers[LAPIC_ESR]) & ~errors)
		return false;
	/* Vectors that no message can bring. */
	if ((state->registers[LAPIC_ISR] | state->registers[LAPIC_IRR] | state->registers[LAPIC_TMR]) & 0xffff)
		return false;
	for (unsigned reg = 0; reg < LAPIC_REGISTERS; reg++)
		if (!register_ok(state, reg))
			return false;
	return true;
}

static void restore_set(uint64_t set[4], const uint32_t *registers)
{
	for (unsigned i = 0; i < 4; i++)
		__atomic_store_n(&set[i], registers[2 * i] | (uint64_t)registers[2 * i + 1] << 32, __ATOMIC_RELEASE);
}

static void restore_registers(struct guest *g, const struct x86vcpu_apic_state *state)
{
	const uint32_t *registers = state->registers;
	struct lapic *l = &g->lapic;

	lapic_set_tpr(g, registers[LAPIC_TPR]);
	if (!lapic_in_x2apic_mode(l)) {
		l->ldr = registers[LAPIC_LDR];
		l->dfr = registers[LAPIC_DFR] | 0x0fffffff;
	}
	l->svr = registers[LAPIC_SVR];
	restore_set(l->isr, registers + LAPIC_ISR);
	restore_set(l->tmr, registers + LAPIC_TMR);
	restore_set(l->irr, registers + LAPIC_IRR);
	for (unsigned i = 0; i < LAPIC_LOCAL_VECTORS; i++)
		*lapic_lvt(l, lapic_local_vectors[i]) = registers[lapic_local_vectors[i]];
	if (!(l->svr & APIC_SVR_ENABLE))
		lapic_mask_all(l);
	l->errors = state->errors;
	l->esr = registers[LAPIC_ESR];
	l->icr = registers[LAPIC_ICR];
	l->icr2 = registers[LAPIC_ICR2];
	l->timer.initial = registers[LAPIC_TIMER_INITIAL];
	l->timer.divide = registers[LAPIC_TIMER_DIVIDE];
}

bool lapic_restore(struct guest *g, const struct x86vcpu_apic_state *state)
{
	struct lapic *l = &g->lapic;

	if (!lapic_base_ok(g, state->base) || !registers_ok(state))
		return false;
	lapic_reset(g);
	l->base = (state->base & ~APIC_BASE_BSP) | (l->base & APIC_BASE_BSP);
	if (lapic_in_x2apic_mode(l))
		l->ldr = lapic_x2apic_ldr(l);
	restore_registers(g, state);
	l->pins = state->lint;
	g->events.waits_for_sipi = state->waits_for_sipi;
	if (state->tsc_deadline)
		lapic_timer_write_deadline(g, state->tsc_deadline);
	else
		lapic_timer_resume(g, state->timer_remaining);
	guest_look_again(g);
	return true;
}
