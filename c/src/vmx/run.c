/* SPDX-License-Identifier: Apache-2.0 */
/* The run loop. */
#include "cpu/insn.h"
#include "cpu/switch.h"
#include "cpu/x86.h"
#include "emul/debug.h"
#include "emul/finish.h"
#include "emul/slice.h"
#include "vmx/offsets.h"
#include "vmx/vmcs.h"
#include "vmx/vmx.h"

#define EXIT_REASON_ENTRY_FAILURE (1u << 31)

_Static_assert(offsetof(struct guest, regs) == 0 && offsetof(struct vmx_vcpu, guest) == 0, "enter.S");
_Static_assert(offsetof(struct guest, switch_word) == VMX_HOST_RSP, "enter.S");
_Static_assert(VMX_FIELD_HOST_RSP == VMCS_HOST_RSP, "enter.S");
_Static_assert(VMX_ENTRY_FAIL_VALID == VMX_ENTRY_FAIL_VALID_VALUE &&
		       VMX_ENTRY_FAIL_INVALID == VMX_ENTRY_FAIL_INVALID_VALUE, "enter.S");

/*
 * The preemption timer ends a guest that does not exit; it stands still outside the guest (SDM 26.5.1), so
 * one whose exits are all handled here is ended by the clock.
 */
static void arm_timer(const struct vmx_vcpu *v, uint64_t ticks)
{
	if (ticks < SLICE_MINIMUM)
		ticks = SLICE_MINIMUM;
	ticks >>= v->timer_shift;
	if (v->has_timer)
		vmcs_write32(VMCS_PREEMPTION_TIMER, ticks > UINT32_MAX ? UINT32_MAX : ticks + 1);
}

/* Translations that emulation or the VMM has made stale (SDM 29.4.3). */
static void flush(struct vmx_vcpu *v)
{
	struct guest *g = &v->guest;

	if (g->flush_moved || g->flush_nested)
		insn_invept(v->invept_type, v->eptp);
	if (g->flush_tlb && v->cpu2 & CPU2_ENABLE_VPID)
		insn_invvpid(1, v->vpid);
	g->flush = 0;
}

static void write_dirty(struct vmx_vcpu *v)
{
	struct guest *g = &v->guest;

	/* The common case: an instruction was skipped. */
	if (g->dirty == GUEST_BIT(G_RIP)) {
		vmcs_writen(VMCS_GUEST_RIP, g->field[G_RIP]);
		g->dirty = 0;
	} else if (g->dirty) {
		vmx_write_dirty(v);
	}
}

static void move_exit_point(struct vmx_vcpu *v, const char *exit_point)
{
	v->exit_point = exit_point;
	vmcs_writen(VMCS_HOST_RIP, (uintptr_t)exit_point);
}

static uint32_t enter_mitigated(struct vmx_vcpu *v)
{
	uint32_t entry;

	if (v->exit_point != vmx_mitigated_exit_point)
		move_exit_point(v, vmx_mitigated_exit_point);
	entry = vmx_enter_mitigated(v, v->launched);
	mitigation_after_exit(&v->guest);
	return entry;
}

static uint32_t enter(struct vmx_vcpu *v, uint32_t attention)
{
	struct guest *g = &v->guest;
	uint32_t entry;

	if (debug_steps_by_flag(g)) {
		debug_look_at_instruction(g);
		attention = guest_attention(g);
	}
	/* With a window open too: the exit may have been one after which the event can go in at once. */
	if (attention | v->waiting)
		vmx_inject(v);
	if (debug_steps_by_flag(g))
		vmx_begin_step(v);
	write_dirty(v);
	if (g->flush)
		flush(v);
	if (insn_read_cr2() != g->cr2)
		insn_write_cr2(g->cr2);
	entry = g->mitigation.on ? enter_mitigated(v) : vmx_enter(v, v->launched);
	g->cr2 = insn_read_cr2();
	g->valid = 0;
	return entry;
}

static int entry_failed(struct vmx_vcpu *v, uint64_t reason, uint64_t qualification, uint32_t error)
{
	emul_report(&v->guest, X86VCPU_EXIT_FAIL_ENTRY);
	v->guest.exit->u.fail_entry = (struct x86vcpu_fail_entry){
		.reason = reason,
		.qualification = qualification,
		.instruction_error = error,
	};
	if (v->guest.debug.stepping)
		vmx_end_step(v);
	vmx_injection_failed(v);
	return EMUL_EXIT;
}

static int enter_and_handle(struct vmx_vcpu *v, uint32_t attention)
{
	const uint32_t entry = enter(v, attention);

	if (entry != VMX_ENTRY_EXITED)
		return entry_failed(v, 0, 0, entry == VMX_ENTRY_FAIL_VALID
						     ? vmcs_read32(VMCS_INSTRUCTION_ERROR) : 0);
	v->reason = vmcs_read32(VMCS_EXIT_REASON);
	v->length = 0;
	/* The launch state changes only when the guest was entered (SDM 27.8). */
	if (v->reason & EXIT_REASON_ENTRY_FAILURE) {
		/* SDM 28.8: a machine check during entry is the host's to see. */
		if ((v->reason & 0xffff) == X86VCPU_VMX_EXIT_ENTRY_MACHINE_CHECK)
			insn_raise_machine_check();
		return entry_failed(v, v->reason, vmcs_readn(VMCS_EXIT_QUALIFICATION), 0);
	}
	v->launched = true;
	v->injecting.valid = false;
	return vmx_handle_exit(v);
}

static int loop(struct vmx_vcpu *v)
{
	int result;

	do {
		/* Who posts something behind this look interrupts the guest: it is published as running. */
		const uint32_t attention = guest_attention(&v->guest);

		if (attention && guest_must_leave(&v->guest))
			return emul_report(&v->guest, X86VCPU_EXIT_NOTHING);
		result = enter_and_handle(v, attention);
		if (v->guest.events.shutdown && result >= 0) {
			emul_report(&v->guest, X86VCPU_EXIT_SYSTEM_DOWN);
			return EMUL_EXIT;
		}
		if (result == EMUL_RESUME && v->guest.debug.due)
			return debug_report(&v->guest);
		if (result == EMUL_RESUME && slice_over(&v->guest, insn_rdtsc()))
			return slice_report(&v->guest);
	} while (result == EMUL_RESUME);
	return result;
}

/* A run before may have taken steps, here or on another CPU, and this one does not. */
static void leave_mitigated_exit_point(struct vmx_vcpu *v)
{
	if (!v->guest.mitigation.on && v->exit_point != vmx_exit_point)
		move_exit_point(v, vmx_exit_point);
}

/* A scheduler may have moved us to another address space since bind. CR0.TS: emul/context.c. */
static int32_t update_host_crs(struct vmx_vcpu *v)
{
	const uint64_t cr0 = insn_read_cr0() & ~CR0_TS, cr3 = insn_read_cr3(), cr4 = insn_read_cr4();
	const struct vmx_host *host = &v->host;

	if ((cr0 ^ host->cr0) | (cr3 ^ host->cr3) | (cr4 ^ host->cr4))
		return vmx_change_host_crs(v, cr0, cr3, cr4);
	return X86VCPU_OK;
}

static void load_context(struct vmx_vcpu *v)
{
	/* Otherwise it was kept. Who sets MSRs between two runs has it unloaded first. */
	if (!v->guest.context.loaded)
		vmx_load(v);
	v->restore.dr7 = insn_read_dr7();
	/* Breakpoints that are on must be in the CPU; otherwise the first MOV DR brings them. */
	if (v->guest.debug.owns_drs)
		context_load_drs(&v->guest); /* MOV DR exits still */
	else if (v->guest.drs_armed)
		vmx_use_debug_registers(v);
}

/* IRQs off, the vCPU bound here: x86vcpu_run has checked it. */
int32_t vmx_run(struct guest *g)
{
	struct vmx_vcpu *v = vmx_of(g);
	const uint64_t ticks = slice_begin(g, insn_rdtsc());
	int result;

	if (!ticks) {
		slice_report(g);
		return X86VCPU_OK;
	}
	result = update_host_crs(v);
	if (result)
		return result;
	arm_timer(v, ticks);
	/* Another vCPU on this CPU may have begun a new generation of tags. */
	if (v->tag_generation != v->cpu_tagged->tag_generation)
		vmx_claim_tlb(v, v->cpu_tagged);
	/* While PKRU is the guest's it must not decide what the host reaches of user pages (SDM 4.6.2). */
	if (v->host.cr4 & CR4_PKE)
		insn_write_cr4(v->host.cr4 & ~CR4_PKE);
	vmx_begin_debug(v);
	load_context(v);
	mitigation_begin(g, &g->mitigation);
	if (v->exit_point != vmx_exit_point)
		leave_mitigated_exit_point(v);
	result = loop(v);
	mitigation_end(g, &g->mitigation);
	vmx_store_context(v);
	vmx_end_debug(v);
	if (v->host.cr4 & CR4_PKE)
		insn_write_cr4(v->host.cr4);
	return result < 0 ? result : X86VCPU_OK;
}

void vmx_serve_host(struct guest *g)
{
	struct vmx_vcpu *v = vmx_of(g);
	const int vector = v->acknowledged;

	v->acknowledged = -1;
	if (vector >= 0)
		g->host->dispatch_external_interrupt(g->ctx, (uint32_t)vector);
}
