/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocking of NMIs, which SVM leaves to software (APM 15.20): from the injection of one to the end of the next IRET. The
 * intercept of IRET exits before the instruction, so a single step shows when it has ended. The guest must see nothing
 * of that step: neither TF in what a fault of the IRET pushes, nor the step in DR6.
 */
#include "cpu/quirks.h"
#include "cpu/x86.h"
#include "emul/debug.h"
#include "svm/svm.h"

#define CONDITIONS (DR6_BS | DR6_B0 | DR6_B1 | DR6_B2 | DR6_B3)

uint32_t svm_exceptions(const struct guest *g)
{
	return SVM_EXCEPTIONS | debug_exceptions(g);
}

static void set_exceptions(struct svm_vcpu *v, uint32_t vectors)
{
	v->vmcb->intercept_exceptions = vectors;
	v->vmcb->clean &= ~(uint32_t)CLEAN_INTERCEPTS;
}

static void unblock(struct svm_vcpu *v)
{
	v->iret_seen = false;
	v->nmi_blocked = false;
	guest_look_again(&v->guest);
}

void svm_iret(struct svm_vcpu *v)
{
	v->iret_seen = v->nmi_blocked;
	v->guest.debug.delivering = false; /* the step that an event's delivery began ends with this instruction */
	guest_look_again(&v->guest);
}

/* An IRET that switches tasks stores RFLAGS in the old TSS (APM 12.3.4), where the guest would find TF. */
static bool can_step(struct svm_vcpu *v)
{
	struct guest *g = &v->guest;

	return !(v->quirks & QUIRK_STEP_LEAKS) &&
	       !(guest_get(g, G_RFLAGS) & RFLAGS_NT && guest_get(g, G_CR0) & CR0_PE);
}

/* The debugger has seen the instruction begin, so its end is reported. */
static void begin_debug_step(struct svm_vcpu *v)
{
	struct guest *g = &v->guest;

	v->debug_step = debug_begin_step(g, v->injecting.valid);
	if (!v->debug_step)
		return;
	if (g->debug.kind == GUEST_STEP_SYSCALL)
		v->vmcb->sfmask &= ~(uint64_t)RFLAGS_TF;
	v->vmcb->rax = g->regs.rax;
	svm_write_dirty(v);
}

/*
 * What keeps an exit from coming at the end of the IRET is left to the CPU that can tell: one that cannot be stepped has
 * ended when RIP has changed at a later exit.
 */
void svm_begin_step(struct svm_vcpu *v)
{
	struct vmcb *vmcb = v->vmcb;
	const bool iret = v->iret_seen && can_step(v);

	if (v->iret_seen && !iret)
		v->iret_rip = vmcb->rip;
	v->debug_step = false;
	v->step_tf = vmcb->rflags & RFLAGS_TF;
	if (debug_steps_by_flag(&v->guest))
		begin_debug_step(v);
	if (!iret && !v->debug_step)
		return;
	v->stepping = true;
	v->step_dr6 = vmcb->dr6 & CONDITIONS;
	vmcb->rflags |= RFLAGS_TF;
	vmcb->dr6 &= ~(uint64_t)CONDITIONS;
	vmcb->clean &= ~(uint32_t)CLEAN_DEBUG_REGISTERS;
	set_exceptions(v, svm_exceptions(&v->guest) | SVM_EXCEPTIONS_OF_IRET);
}

/* The instruction is over. False: the guest, or its debugger, has a #DB of its own. */
static bool end_instruction(struct svm_vcpu *v)
{
	struct vmcb *vmcb = v->vmcb;

	if (v->iret_seen)
		unblock(v);
	if (!v->step_tf)
		vmcb->dr6 &= ~(uint64_t)DR6_BS;
	return !(vmcb->dr6 & CONDITIONS);
}

static void end_debug_step(struct svm_vcpu *v, bool completed)
{
	struct guest *g = &v->guest;

	if (g->debug.kind == GUEST_STEP_SYSCALL)
		v->vmcb->sfmask = g->msrs.fmask;
	debug_end_step(g, completed);
	svm_write_dirty(v);
	g->valid = 0;
}

bool svm_end_step(struct svm_vcpu *v)
{
	struct vmcb *vmcb = v->vmcb;
	const bool debug = vmcb->exit_code == X86VCPU_SVM_EXIT_EXCEPTION + VECTOR_DB;
	const bool completed = debug && (vmcb->dr6 & DR6_BS || v->quirks & QUIRK_STEP_LEAKS);
	bool nothing_else = false;

	v->stepping = false;
	set_exceptions(v, svm_exceptions(&v->guest));
	if (completed) {
		nothing_else = end_instruction(v);
	} else {
		if (!v->step_tf)
			vmcb->rflags &= ~(uint64_t)RFLAGS_TF;
		/* RIP is at the IRET, which exits again when the guest comes back to it. */
		if (v->iret_seen)
			guest_look_again(&v->guest);
	}
	v->iret_seen = false;
	if (v->debug_step)
		end_debug_step(v, completed);
	vmcb->dr6 |= v->step_dr6;
	vmcb->clean &= ~(uint32_t)CLEAN_DEBUG_REGISTERS;
	return nothing_else;
}

void svm_watch_iret(struct svm_vcpu *v)
{
	if (v->iret_seen && v->vmcb->rip != v->iret_rip)
		unblock(v);
}

int svm_reflect_fault(struct svm_vcpu *v)
{
	struct guest *g = &v->guest;
	const uint8_t vector = (uint8_t)(v->vmcb->exit_code - X86VCPU_SVM_EXIT_EXCEPTION);
	const uint32_t code = (uint32_t)v->vmcb->exit_info1;

	if (vector == VECTOR_PF)
		guest_raise_page_fault(g, v->vmcb->exit_info2, code);
	else
		guest_raise(g, vector, guest_has_error_code(vector), code);
	return EMUL_RESUME;
}
