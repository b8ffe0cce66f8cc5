/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the VMM debugs: steps by the monitor trap flag (SDM 26.5.2), or, where the CPU has none, by RFLAGS.TF. The
 * preemption timer then ends a step whose event went in, at the first instruction of the handler (SDM 26.5.1).
 */
#include "cpu/insn.h"
#include "emul/debug.h"
#include "vmx/vmcs.h"
#include "vmx/vmx.h"
#include "x86vcpu/msr.h"

#define INFO_VALID (1u << 31)

int32_t vmx_set_debug(struct guest *g)
{
	const struct vmx_vcpu *v = vmx_of(g);

	g->debug.by_flag = !v->has_monitor_trap_flag;
	return guest_steps(g) && !v->has_monitor_trap_flag && !v->has_timer ? X86VCPU_ERR_UNSUPPORTED : X86VCPU_OK;
}

void vmx_write_exceptions(struct vmx_vcpu *v)
{
	const uint32_t exceptions =
		VMX_EXCEPTIONS | (v->watches_x87 ? 1u << VECTOR_MF : 0) | debug_exceptions(&v->guest);

	if (exceptions == v->exceptions)
		return;
	v->exceptions = exceptions;
	vmcs_write32(VMCS_EXCEPTION_BITMAP, exceptions);
}

void vmx_begin_debug(struct vmx_vcpu *v)
{
	const struct guest *g = &v->guest;

	vmx_write_exceptions(v);
	vmx_set_cpu_controls(v, CPU_MONITOR_TRAP_FLAG, guest_steps(g) && v->has_monitor_trap_flag);
	debug_begin_run(&v->guest);
}

void vmx_end_debug(struct vmx_vcpu *v)
{
	debug_end_run(&v->guest);
}

static void write_fmask(const struct vmx_vcpu *v, uint64_t value)
{
	if (v->guest.debug.kind == GUEST_STEP_SYSCALL)
		insn_wrmsr(X86VCPU_MSR_IA32_FMASK, value);
}

/* VM entry wants the step pending that TF asks for in a shadow (SDM 27.3.1.5). */
static void update_pending(struct guest *g, bool pending)
{
	const uint64_t old = guest_get(g, G_PENDING_DB);

	guest_update(g, G_PENDING_DB, pending ? old | PENDING_DB_BS : old & ~PENDING_DB_BS);
}

void vmx_begin_step(struct vmx_vcpu *v)
{
	struct guest *g = &v->guest;
	const bool shadow = guest_get(g, G_BLOCKING) & (GUEST_BLOCKING_STI | GUEST_BLOCKING_MOV_SS);

	/* The guest's own #DB comes first, and exits. */
	if (!v->injecting.valid && !shadow && guest_get(g, G_PENDING_DB) & (PENDING_DB_BS | PENDING_DB_ENABLED))
		return;
	if (!debug_begin_step(g, v->injecting.valid)) {
		vmcs_write32(VMCS_PREEMPTION_TIMER, 0);
		return;
	}
	if (shadow)
		update_pending(g, true);
	write_fmask(v, g->msrs.fmask & ~RFLAGS_TF);
}

static bool is_end_of_step(const struct vmx_vcpu *v)
{
	return v->reason == X86VCPU_VMX_EXIT_EXCEPTION_OR_NMI &&
	       (vmcs_read32(VMCS_EXIT_INTERRUPTION_INFO) & (INFO_VALID | 0x7ff)) ==
		       (INFO_VALID | GUEST_EVENT_EXCEPTION << 8 | VECTOR_DB) &&
	       vmcs_readn(VMCS_EXIT_QUALIFICATION) & DR6_BS;
}

void vmx_end_step(struct vmx_vcpu *v)
{
	write_fmask(v, v->guest.msrs.fmask);
	if (!v->guest.debug.own_flag)
		update_pending(&v->guest, false);
	debug_end_step(&v->guest, is_end_of_step(v));
}
