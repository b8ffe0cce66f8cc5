/* SPDX-License-Identifier: Apache-2.0 */
/* The run loop, and the host's side of the world switch. */
#include "cpu/insn.h"
#include "cpu/quirks.h"
#include "cpu/switch.h"
#include "cpu/x86.h"
#include "emul/debug.h"
#include "emul/finish.h"
#include "emul/host_mode.h"
#include "emul/log.h"
#include "emul/slice.h"
#include "svm/offsets.h"
#include "svm/svm.h"
#include "x86vcpu/status.h"

_Static_assert(offsetof(struct guest, regs) == 0 && offsetof(struct svm_vcpu, guest) == 0, "enter.S");
_Static_assert(offsetof(struct guest, cr2) == SVM_GUEST_CR2, "enter.S");

/* ---- TLB tags (APM 15.16) ------------------------------------------------------------------------- */

/* A fresh tag has no translations: cheaper than to flush the old one, and possible on every CPU. */
static void new_tag(struct svm_vcpu *v, struct backend_cpu *cpu)
{
	if (cpu->next_tag > cpu->last_tag) {
		cpu->next_tag = 1;
		cpu->tag_generation++;
		cpu->flush_tags = true;
	}
	v->vmcb->asid = cpu->next_tag++;
	v->vmcb->clean &= ~(uint32_t)CLEAN_ASID;
	v->tag_generation = cpu->tag_generation;
	v->cpu_tagged = cpu;
	v->guest.flush = 0;
}

static void update_tag(struct svm_vcpu *v)
{
	struct backend_cpu *cpu = v->cpu;

	if (v->cpu_tagged != cpu || v->tag_generation != cpu->tag_generation || v->guest.flush)
		new_tag(v, cpu);
	v->vmcb->tlb_control = cpu->flush_tags ? TLB_CONTROL_FLUSH_ALL : TLB_CONTROL_NONE;
	cpu->flush_tags = false;
}

/* ---- Entry ------------------------------------------------------------------------------------------ */

static void write_msrs(struct svm_vcpu *v)
{
	const struct guest_msrs *msrs = &v->guest.msrs;
	struct vmcb *vmcb = v->vmcb;

	vmcb->star = msrs->star;
	vmcb->lstar = msrs->lstar;
	vmcb->cstar = msrs->cstar;
	vmcb->sfmask = msrs->fmask;
	vmcb->kernel_gs_base = msrs->kernel_gs_base;
	if (vmcb->tsc_offset != msrs->tsc_offset) {
		vmcb->tsc_offset = msrs->tsc_offset;
		vmcb->clean &= ~(uint32_t)CLEAN_INTERCEPTS;
	}
	if (v->guest.msr_maps_stale)
		svm_fill_msrpm(v);
	vmcb->spec_ctrl = v->guest.mitigation.guest_spec_ctrl;
	mitigation_update(&v->guest);
	v->guest.msrs_changed = false;
}

/* VMRUN loads CR2 from the VMCB (APM 15.5.1). */
static void write_cr2(struct svm_vcpu *v)
{
	const uint64_t cr2 = v->guest.cr2;

	if (v->vmcb->cr2 != cr2) {
		v->vmcb->cr2 = cr2;
		v->vmcb->clean &= ~(uint32_t)CLEAN_CR2;
	}
	if (v->quirks & QUIRK_CR2_NOT_LOADED && insn_read_cr2() != cr2)
		insn_write_cr2(cr2);
}

/* V_TPR is the upper half of the task-priority register, which MOV CR8 reaches without an exit (APM 15.21.1). */
static void write_tpr(struct svm_vcpu *v)
{
	const uint64_t old = v->vmcb->virtual_interrupt;
	const uint64_t new = (old & ~(uint64_t)V_TPR) | ((*v->guest.lapic.tpr >> 4 & 15));

	if (new == old)
		return;
	v->vmcb->virtual_interrupt = new;
	v->vmcb->clean &= ~(uint32_t)CLEAN_TPR;
}

static void read_tpr(struct svm_vcpu *v)
{
	uint32_t *tpr = v->guest.lapic.tpr;
	const uint32_t priority = v->vmcb->virtual_interrupt & 15;

	if (priority != *tpr >> 4)
		*tpr = priority << 4;
}

static void write_dirty(struct svm_vcpu *v)
{
	struct guest *g = &v->guest;

	/* The common case: an instruction was skipped. */
	if (g->dirty == GUEST_BIT(G_RIP)) {
		v->vmcb->rip = g->field[G_RIP];
		g->dirty = 0;
	} else if (g->dirty) {
		svm_write_dirty(v);
	}
}

static void enter_mitigated(struct svm_vcpu *v)
{
	svm_enter_mitigated(&v->guest, v->vmcb_hpa, v->host_hpa);
	mitigation_after_exit(&v->guest);
}

static void enter(struct svm_vcpu *v)
{
	struct guest *g = &v->guest;
	struct vmcb *vmcb = v->vmcb;

	write_dirty(v);
	if (debug_steps_by_flag(g))
		debug_look_at_instruction(g);
	/* After it: a single step that is due has become an event. With a window open too: see vmx/run.c. */
	if (guest_attention(g) || vmcb->virtual_interrupt & V_IRQ) {
		svm_inject(v);
		write_dirty(v); /* an NMI changes what blocks */
	}
	if (g->msrs_changed)
		write_msrs(v);
	update_tag(v);
	vmcb->rax = g->regs.rax;
	write_cr2(v);
	write_tpr(v);
	if (v->iret_seen || debug_steps_by_flag(g))
		svm_begin_step(v);
	if (v->quirks & QUIRK_SHADOW_LOST) {
		v->in_shadow = vmcb->interrupt_shadow & INTERRUPT_SHADOW;
		v->shadow_rip = vmcb->rip;
	}
	if (g->mitigation.on)
		enter_mitigated(v);
	else
		svm_enter(g, v->vmcb_hpa, v->host_hpa);
	if (v->quirks & QUIRK_SHADOW_LOST && (v->in_shadow || v->shadow_kept))
		svm_keep_shadow(v);
	vmcb->clean = CLEAN_ALL;
	g->regs.rax = vmcb->rax;
	read_tpr(v);
	g->msrs.kernel_gs_base = vmcb->kernel_gs_base;
	if (g->mitigation.cpu->spec_ctrl_virtual)
		g->mitigation.guest_spec_ctrl = vmcb->spec_ctrl & g->limits.spec_ctrl;
	g->valid = 0;
}

static bool is_failure(uint64_t code)
{
	/* Software that runs below, QEMU among it, may write the low half only. */
	return (uint32_t)code >= (uint32_t)X86VCPU_SVM_EXIT_IDLE_REQUIRED;
}

/* How far VMRUN came is not known: nothing counts as loaded or flushed. */
static int entry_failed(struct svm_vcpu *v)
{
	v->vmcb->clean = 0;
	v->cpu->flush_tags = v->vmcb->tlb_control != TLB_CONTROL_NONE;
	emul_report(&v->guest, X86VCPU_EXIT_FAIL_ENTRY);
	v->guest.exit->u.fail_entry = (struct x86vcpu_fail_entry){.reason = v->vmcb->exit_code};
	if (v->stepping)
		svm_end_step(v);
	svm_injection_failed(v);
	return EMUL_EXIT;
}

static int loop(struct svm_vcpu *v)
{
	int result;

	do {
		if (guest_attention(&v->guest) && guest_must_leave(&v->guest))
			return emul_report(&v->guest, X86VCPU_EXIT_NOTHING);
		enter(v);
		result = is_failure(v->vmcb->exit_code) ? entry_failed(v) : svm_handle_exit(v);
		if (v->guest.events.shutdown && result >= 0)
			return emul_report(&v->guest, X86VCPU_EXIT_SYSTEM_DOWN);
		if (result == EMUL_RESUME && v->guest.debug.due)
			return debug_report(&v->guest);
		/* A guest whose exits are all handled here must end too. */
		if (result == EMUL_RESUME && slice_over(&v->guest, insn_rdtsc()))
			return slice_report(&v->guest);
	} while (result == EMUL_RESUME);
	return result;
}

/* ---- A run -------------------------------------------------------------------------------------------- */

void svm_use_debug_registers(struct svm_vcpu *v)
{
	context_load_drs(&v->guest);
	v->vmcb->intercept_dr_read = 0;
	v->vmcb->intercept_dr_write = 0;
	v->vmcb->clean &= ~(uint32_t)CLEAN_INTERCEPTS;
}

/*
 * With a level too many the walk ends in guest memory, whose contents are then nested page-table entries: the guest
 * could map all of the host's memory.
 */
static int32_t check_nested_levels(const struct svm_vcpu *v)
{
	const struct guest *g = &v->guest;

	if (v->nested_levels == svm_nested_levels())
		return X86VCPU_OK;
	LOG(g->host, g->ctx, LOG_ERROR, v->nested_levels == 4
		    ? "SVM: the host has CR4.LA57 set, so the nested tables need 5 levels and have 4"
		    : "SVM: the host has CR4.LA57 clear, so the nested tables need 4 levels and have 5");
	return X86VCPU_ERR_UNSUPPORTED;
}

/* The host may have changed its CR4 since the last run. Machine checks are the host's, so CR4.MCE is too. */
static int32_t update_host_cr4(struct svm_vcpu *v, uint64_t cr4)
{
	struct guest *g = &v->guest;
	int32_t status = host_mode_check_cr4(g->host, g->ctx, X86VCPU_EXTENSION_SVM, cr4);

	if (!status)
		status = check_nested_levels(v);
	if (status)
		return status;
	v->host_cr4 = cr4;
	if ((v->vmcb->cr4 ^ cr4) & CR4_MCE)
		guest_set(g, G_CR4, guest_get(g, G_CR4));
	return X86VCPU_OK;
}

/* The VMCB has DR6, and what exits; MOV DR does while the debug registers are the VMM's. */
static void begin_debug(struct svm_vcpu *v)
{
	struct guest *g = &v->guest;
	const uint32_t exceptions = svm_exceptions(g);
	uint64_t dr6;

	debug_begin_run(g);
	if (g->debug.owns_drs)
		context_load_drs(g);
	dr6 = g->debug.owns_drs ? DR6_RESET : g->dr6;
	if (v->vmcb->dr6 != dr6) {
		v->vmcb->dr6 = dr6;
		v->vmcb->clean &= ~(uint32_t)CLEAN_DEBUG_REGISTERS;
	}
	svm_intercept(v, INTERCEPT_INTN, v->quirks & QUIRK_INT3_IS_INTN && exceptions >> VECTOR_BP & 1);
	if (v->vmcb->intercept_exceptions != exceptions) {
		v->vmcb->intercept_exceptions = exceptions;
		v->vmcb->clean &= ~(uint32_t)CLEAN_INTERCEPTS;
	}
}

/* VMRUN loads the guest's DR6 and DR7; #VMEXIT leaves the former and clears the latter (APM 15.6). */
static void begin(struct svm_vcpu *v)
{
	struct guest *g = &v->guest;

	v->host_dr6 = insn_read_dr6();
	v->host_dr7 = insn_read_dr7();
	insn_vmsave(v->host_hpa);
	if (!g->context.loaded)
		context_load(g);
	begin_debug(v);
	if (g->drs_armed && !g->debug.owns_drs)
		svm_use_debug_registers(v);
	/* The VMM may have changed RIP since. */
	if (v->iret_seen) {
		v->iret_seen = false;
		guest_look_again(g);
	}
}

static void end(struct svm_vcpu *v)
{
	struct guest *g = &v->guest;

	if (g->drs_loaded) {
		g->drs_armed = v->vmcb->dr7 & DR7_ENABLES;
		v->vmcb->intercept_dr_read = 0xff;
		v->vmcb->intercept_dr_write = 0xff;
		v->vmcb->clean &= ~(uint32_t)CLEAN_INTERCEPTS;
		context_store_drs(g);
	}
	if (!g->context.keep)
		context_store(g);
	if (!g->debug.owns_drs)
		g->dr6 = v->vmcb->dr6;
	debug_end_run(g);
	insn_write_dr6(v->host_dr6);
	if (v->host_dr7 != DR7_RESET)
		insn_write_dr7(v->host_dr7);
}

int32_t svm_run(struct guest *g)
{
	struct svm_vcpu *v = svm_of(g);
	const uint64_t cr4 = insn_read_cr4();
	int result = cr4 == v->host_cr4 ? X86VCPU_OK : update_host_cr4(v, cr4);

	if (result)
		return result;
	if (!slice_begin(g, insn_rdtsc())) {
		slice_report(g);
		return X86VCPU_OK;
	}
	/* While PKRU is the guest's it must not decide what the host reaches of user pages (APM 5.6.6). */
	if (cr4 & CR4_PKE)
		insn_write_cr4(cr4 & ~CR4_PKE);
	begin(v);
	mitigation_begin(g, &g->mitigation);
	result = loop(v);
	mitigation_end(g, &g->mitigation);
	end(v);
	if (cr4 & CR4_PKE)
		insn_write_cr4(cr4);
	return result < 0 ? result : X86VCPU_OK;
}

void svm_serve_host(struct guest *g)
{
	struct svm_vcpu *v = svm_of(g);
	const bool interrupted = v->interrupted;

	v->interrupted = false;
	if (interrupted)
		g->host->service_pending_interrupt(g->ctx);
}

int32_t svm_set_debug(struct guest *g)
{
	g->debug.by_flag = true;
	return g->debug.dr7 && svm_of(g)->quirks & QUIRK_NO_BREAKPOINTS ? X86VCPU_ERR_UNSUPPORTED : X86VCPU_OK;
}

int32_t svm_bind(struct guest *g, struct backend_cpu *cpu)
{
	struct svm_vcpu *v = svm_of(g);
	const int32_t status = check_nested_levels(v);

	if (status)
		return status;
	v->cpu = cpu;
	v->quirks = cpu->quirks;
	context_bind(g);
	if (v->quirks & QUIRK_XSETBV_UNSEEN)
		context_cannot_see_xcr0(g);
	mitigation_bind(g, &cpu->mitigation);
	if (cpu->mitigation.spec_ctrl_virtual && !g->mitigation.spec_ctrl_passes) {
		g->mitigation.spec_ctrl_passes = true;
		g->msr_maps_stale = true;
	}
	g->msrs_changed = true;
	v->vmcb->clean = 0; /* another CPU may have changed it since */
	v->host_cr4 = 0;    /* the first run takes notice of this CPU's */
	g->valid = 0;
	return X86VCPU_OK;
}

void svm_unbind(struct guest *g)
{
	svm_write_dirty(svm_of(g));
	g->valid = 0;
}
