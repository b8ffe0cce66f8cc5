/* SPDX-License-Identifier: Apache-2.0 */
/* What the world switch does for a vCPU, run by run. */
#include "emul/mitigation.h"

#include <stddef.h>

#include "cpu/insn.h"
#include "cpu/switch.h"
#include "cpu/x86.h"
#include "emul/guest.h"
#include "x86vcpu/msr.h"

_Static_assert(offsetof(struct guest, mitigation.steps) == SWITCH_STEPS &&
		       offsetof(struct guest, mitigation.bhb_outer) == SWITCH_BHB_OUTER &&
		       offsetof(struct guest, mitigation.bhb_inner) == SWITCH_BHB_INNER &&
		       offsetof(struct guest, mitigation.guest_spec_ctrl) == SWITCH_GUEST_SPEC_CTRL &&
		       offsetof(struct guest, mitigation.host_spec_ctrl) == SWITCH_HOST_SPEC_CTRL,
	       "the world switches count on these");
_Static_assert(X86VCPU_MSR_IA32_SPEC_CTRL == SWITCH_MSR_SPEC_CTRL && X86VCPU_MSR_IA32_PRED_CMD == SWITCH_MSR_PRED_CMD &&
		       X86VCPU_MSR_IA32_FLUSH_CMD == SWITCH_MSR_FLUSH_CMD, "and these");

uint64_t mitigation_new_serial(void)
{
	static uint64_t serials;

	return __atomic_add_fetch(&serials, 1, __ATOMIC_RELAXED);
}

void mitigation_bind(struct guest *g, struct mitigation_cpu *cpu)
{
	struct guest_mitigation *m = &g->mitigation;

	m->cpu = cpu;
	m->steps = 0;
	m->bhb_outer = cpu->bhb_outer;
	m->bhb_inner = cpu->bhb_inner;
	m->host_spec_ctrl = 0;
	m->host_value = 0;
	m->on = false;
}

/*
 * Without IBRS that must be rewritten after each exit, SPEC_CTRL is exchanged only where the two values differ, or may
 * come to differ without an exit. Where VMRUN exchanges it, the host's value stays in force in the guest, too.
 */
static uint32_t spec_ctrl_steps(const struct guest *g, const struct guest_mitigation *m)
{
	uint32_t steps = 0;

	if (!m->cpu->spec_ctrl)
		return 0;
	if (m->cpu->steps & MITIGATE_IBRS_EACH)
		steps |= SWITCH_SPEC_CTRL;
	if (m->cpu->spec_ctrl_virtual)
		return steps;
	if (m->spec_ctrl_passes)
		steps |= SWITCH_SPEC_CTRL | SWITCH_SAVE_SPEC_CTRL;
	if (g->limits.spec_ctrl && m->guest_spec_ctrl != m->host_spec_ctrl)
		steps |= SWITCH_SPEC_CTRL;
	return steps;
}

void mitigation_update(struct guest *g)
{
	struct guest_mitigation *m = &g->mitigation;

	m->host_spec_ctrl = m->host_value | m->cpu->host_bits;
	m->steps = (m->cpu->steps & SWITCH_ALL) | spec_ctrl_steps(g, m);
	m->on |= m->steps != 0;
}

/* PRED_CMD keeps what the last vCPU has trained from this one. */
static void flush_predictors(const struct guest_mitigation *m)
{
	if (m->cpu->last_guest == m->serial)
		return;
	insn_wrmsr(X86VCPU_MSR_IA32_PRED_CMD, PRED_CMD_IBPB);
	m->cpu->last_guest = m->serial;
}

void mitigation_begin_steps(struct guest *g)
{
	struct guest_mitigation *m = &g->mitigation;

	if (m->cpu->steps & MITIGATE_IBPB)
		flush_predictors(m);
	m->host_value = m->cpu->spec_ctrl ? insn_rdmsr(X86VCPU_MSR_IA32_SPEC_CTRL) : 0;
	m->on = false;
	mitigation_update(g);
	if (m->cpu->steps & MITIGATE_L1D_FIRST) {
		m->steps |= SWITCH_FLUSH_L1D;
		m->on = true;
	}
	if (m->host_spec_ctrl != m->host_value && !(m->steps & SWITCH_SPEC_CTRL))
		insn_wrmsr(X86VCPU_MSR_IA32_SPEC_CTRL, m->host_spec_ctrl);
}

void mitigation_end_steps(struct guest *g)
{
	insn_wrmsr(X86VCPU_MSR_IA32_SPEC_CTRL, g->mitigation.host_value);
}

/* What the guest has written itself, it has by the bits that it can see. */
void mitigation_after_exit(struct guest *g)
{
	struct guest_mitigation *m = &g->mitigation;

	if (m->steps & SWITCH_SAVE_SPEC_CTRL)
		m->guest_spec_ctrl &= g->limits.spec_ctrl;
	if (!(m->cpu->steps & SWITCH_FLUSH_L1D))
		m->steps &= ~(uint32_t)SWITCH_FLUSH_L1D;
}
