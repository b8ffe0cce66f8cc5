/* SPDX-License-Identifier: Apache-2.0 */
/* What the CPU's modes mean for an instruction, and how an emulated instruction ends. */
#include "emul/debug.h"

/*
 * SS.DPL holds the CPL in every mode with protection, also with SS unusable, and 3 in virtual-8086
 * mode (SDM 25.4.1, 27.3.1.2). In real mode it may be stale.
 */
unsigned guest_cpl(struct guest *g)
{
	const uint64_t rights = guest_get(g, G_ACCESS + X86VCPU_SEGMENT_SS);
	const unsigned dpl = (rights & AR_DPL) >> AR_DPL_SHIFT;

	return dpl && guest_in_protected_mode(g) ? dpl : 0;
}

bool guest_in_protected_mode(struct guest *g)
{
	return guest_get(g, G_CR0) & CR0_PE;
}

unsigned guest_address_bytes(struct guest *g)
{
	if (guest_in_64bit_mode(g))
		return 8;
	return guest_get(g, G_ACCESS + X86VCPU_SEGMENT_CS) & AR_D ? 4 : 2;
}

/*
 * In 64-bit mode even the first address after the lower canonical half passes the checks of VM entry
 * (SDM 27.3.1.4), and the guest takes the #GP that belongs there.
 */
uint64_t guest_wrap_ip(struct guest *g, uint64_t rip)
{
	if (rip >> 32 == 0 || guest_in_64bit_mode(g))
		return rip;
	return (uint32_t)rip;
}

void guest_end_instruction(struct guest *g)
{
	const uint64_t shadow = GUEST_BLOCKING_STI | GUEST_BLOCKING_MOV_SS;
	const uint64_t blocking = guest_get(g, G_BLOCKING);
	const uint64_t rflags = guest_get(g, G_RFLAGS);

	if (blocking & shadow)
		guest_set(g, G_BLOCKING, blocking & ~shadow);
	if (rflags & RFLAGS_RF)
		guest_set(g, G_RFLAGS, rflags & ~RFLAGS_RF);
	if (rflags & RFLAGS_TF)
		guest_set(g, G_PENDING_DB, guest_get(g, G_PENDING_DB) | PENDING_DB_BS);
	if (guest_steps(g))
		debug_step_ended(g);
}

void guest_end_iteration(struct guest *g)
{
	guest_end_instruction(g);
	guest_set(g, G_RFLAGS, guest_get(g, G_RFLAGS) | RFLAGS_RF);
}

bool guest_checks_alignment(struct guest *g)
{
	return guest_get(g, G_RFLAGS) & RFLAGS_AC && guest_get(g, G_CR0) & CR0_AM && guest_cpl(g) == 3;
}

void guest_read_instruction(struct guest *g)
{
	(void)guest_get(g, G_RIP);
	(void)guest_get(g, G_RFLAGS);
	(void)guest_get(g, G_BLOCKING);
}

void guest_read_mode(struct guest *g)
{
	uint64_t missing = GUEST_MODE_FIELDS & ~g->valid;

	if (missing == GUEST_MODE_FIELDS && g->read_mode) {
		g->read_mode(g);
		return;
	}
	for (; missing; missing &= missing - 1)
		(void)guest_get(g, (enum guest_field)__builtin_ctzll(missing));
}
