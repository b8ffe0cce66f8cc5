/* SPDX-License-Identifier: Apache-2.0 */
/* Injection, windows, and events whose delivery an exit cut short (APM 15.20, 15.21, 15.7.2). */
#include "cpu/quirks.h"
#include "cpu/x86.h"
#include "emul/debug.h"
#include "svm/svm.h"

void svm_intercept(struct svm_vcpu *v, uint32_t bits, bool on)
{
	const uint32_t value = on ? v->vmcb->intercept3 | bits : v->vmcb->intercept3 & ~bits;

	if (value == v->vmcb->intercept3)
		return;
	v->vmcb->intercept3 = value;
	v->vmcb->clean &= ~(uint32_t)CLEAN_INTERCEPTS;
}

/*
 * A virtual interrupt of the highest priority that is intercepted before it is taken: it exits as soon as
 * the guest could take an interrupt (APM 15.21.4).
 */
#define VIRTUAL_REQUEST (V_IRQ | V_INTR_PRIO | V_IGN_TPR)

static void set_virtual_interrupt(struct svm_vcpu *v, uint64_t request)
{
	const uint64_t rest = v->vmcb->virtual_interrupt & ~(VIRTUAL_REQUEST | V_INTR_VECTOR);

	v->vmcb->virtual_interrupt = rest | request;
	v->vmcb->clean &= ~(uint32_t)CLEAN_TPR;
}

static void set_interrupt_window(struct svm_vcpu *v, bool open)
{
	svm_intercept(v, INTERCEPT_VINTR, open);
	if (open != !!(v->vmcb->virtual_interrupt & V_IRQ))
		set_virtual_interrupt(v, open ? VIRTUAL_REQUEST : 0);
}

void svm_close_interrupt_window(struct svm_vcpu *v)
{
	set_interrupt_window(v, false);
	guest_look_again(&v->guest);
}

/* SVM has no types of their own for INT1, INT3 and INTO: they are exceptions (APM 15.20). */
static uint64_t type_of(const struct guest_event *event)
{
	const bool exception = event->type == GUEST_EVENT_PRIVILEGED_SOFTWARE_EXCEPTION ||
			       event->type == GUEST_EVENT_SOFTWARE_EXCEPTION;

	return exception ? GUEST_EVENT_EXCEPTION : event->type;
}

uint64_t svm_event_info(const struct guest_event *event)
{
	uint64_t info = EVENT_VALID | type_of(event) << EVENT_TYPE_SHIFT | event->vector;

	if (event->has_error_code)
		info |= EVENT_ERROR_CODE | (uint64_t)event->error_code << 32;
	return info;
}

/*
 * NMIs have no window of their own. One that waits for something else than an IRET takes the window for interrupts, and
 * in a guest that takes none the exit of its next IRET. Where the end of an IRET cannot be seen, the window helps if the
 * handler has interrupts off: in one that has them on it would exit before the IRET again and again.
 */
static bool window_helps_nmi(struct svm_vcpu *v)
{
	if (!v->nmi_blocked)
		return true;
	return v->iret_seen && !(guest_get(&v->guest, G_RFLAGS) & RFLAGS_IF);
}

/* A step for the debugger ends with the IRET of the handler whose event goes in, or has gone in. */
static bool awaits_iret(const struct svm_vcpu *v)
{
	return debug_steps_by_flag(&v->guest) && (v->injecting.valid || v->guest.debug.delivering);
}

/*
 * Writes of CR8 exit while an interrupt waits for the guest to lower its TPR, and while V_TPR, which has only the
 * upper half of TPR, would not show that such a write clears the lower one (APM 15.21.1, SDM 12.8.6).
 */
static void watch_tpr(struct svm_vcpu *v, uint8_t waiting)
{
	const bool on = waiting || *v->guest.lapic.tpr & 15;
	const uint16_t cr8 = 1u << 8;

	if (on == !!(v->vmcb->intercept_cr_write & cr8))
		return;
	v->vmcb->intercept_cr_write ^= cr8;
	v->vmcb->clean &= ~(uint32_t)CLEAN_INTERCEPTS;
}

/*
 * QUIRK_SHADOW_LOST: the CPU takes the interrupt window for open, and would take the interrupt before the HLT of
 * STI; HLT, which then sleeps. An exit for an interrupt at the RIP of the entry, without a shadow, shows the fault
 * (APM 15.21.5). The guest then executes an instruction without a window. Some such exits may follow each other by
 * chance; more of them are a guest that jumps to itself.
 */
#define MOST_KEPT 8u

void svm_keep_shadow(struct svm_vcpu *v)
{
	struct vmcb *vmcb = v->vmcb;
	const bool by_interrupt = vmcb->exit_code == X86VCPU_SVM_EXIT_INTR ||
				  vmcb->exit_code == X86VCPU_SVM_EXIT_NMI ||
				  vmcb->exit_code == X86VCPU_SVM_EXIT_VINTR;

	if (v->shadow_kept)
		guest_look_again(&v->guest);
	if (!v->in_shadow || !by_interrupt || vmcb->rip != v->shadow_rip ||
	    vmcb->interrupt_shadow & INTERRUPT_SHADOW || v->shadow_kept >= MOST_KEPT) {
		v->shadow_kept = 0;
		return;
	}
	vmcb->interrupt_shadow |= INTERRUPT_SHADOW;
	v->shadow_kept++;
}

/*
 * INT n, INT3 and INTO come again when the instruction at RIP is executed again; everything else goes in
 * again as it was.
 */
static bool comes_again(const struct guest_event *event)
{
	return event->type == GUEST_EVENT_SOFTWARE_INTERRUPT ||
	       (type_of(event) == GUEST_EVENT_EXCEPTION &&
		(event->vector == VECTOR_BP || event->vector == VECTOR_OF));
}

/*
 * The return address that the guest finds. INT n, #BP and #OF push the next RIP where the CPU has one, which holds
 * anything otherwise, and RIP where not (APM 15.20). INT1, and other software events without a next RIP, have RIP moved to
 * the end of their instruction until they are delivered.
 */
static void set_return_address(struct svm_vcpu *v)
{
	const struct guest_event *event = &v->injecting;
	const uint64_t rip = guest_get(&v->guest, G_RIP), next = guest_wrap_ip(&v->guest, rip + event->length);
	const bool from_next_rip = v->has_next_rip && comes_again(event);

	v->injected_at = rip;
	if (from_next_rip)
		v->vmcb->next_rip = next;
	else if (event->length)
		guest_set(&v->guest, G_RIP, next);
}

/* It was not delivered. */
static void restore_rip(struct svm_vcpu *v)
{
	if (v->injecting.length)
		v->vmcb->rip = v->injected_at;
}

/*
 * QUIRK_INTERRUPT_TWICE: a virtual interrupt that is not intercepted is delivered at the first instruction boundary,
 * because the guest takes interrupts there (guest_next_event). It occupies the place of the window for the next
 * interrupt, so the IRET of its handler exits instead.
 */
static void inject_by_virq(struct svm_vcpu *v, bool more)
{
	v->injecting_by_virq = true;
	set_virtual_interrupt(v, VIRTUAL_REQUEST | (uint64_t)v->injecting.vector << V_INTR_VECTOR_SHIFT);
	if (more)
		svm_intercept(v, INTERCEPT_IRET, true);
}

/* After an exit. V_IRQ is still set if the CPU has not delivered the interrupt, or not completely (APM 15.21.4). */
static void end_virq(struct svm_vcpu *v)
{
	const bool delivered = !(v->vmcb->virtual_interrupt & V_IRQ);

	v->injecting_by_virq = false;
	set_virtual_interrupt(v, 0);
	if (delivered)
		return;
	/* QEMU calls an interrupt whose delivery exits an exception. */
	v->vmcb->exit_int_info = 0;
	guest_reinject(&v->guest, v->injecting);
}

static bool injects_by_virq(const struct svm_vcpu *v)
{
	return v->quirks & QUIRK_INTERRUPT_TWICE && v->injecting.valid && v->injecting.type == GUEST_EVENT_EXTERNAL;
}

void svm_inject(struct svm_vcpu *v)
{
	struct guest_window window;
	bool by_virq;

	v->injecting = guest_next_event(&v->guest, &window);
	by_virq = injects_by_virq(v);
	if (v->injecting.valid && !by_virq) {
		v->vmcb->event_injection = svm_event_info(&v->injecting);
		set_return_address(v);
	}
	if (v->injecting.valid && v->injecting.type == GUEST_EVENT_NMI) {
		v->nmi_blocked = true;
		guest_set(&v->guest, G_BLOCKING, guest_get(&v->guest, G_BLOCKING) | GUEST_BLOCKING_NMI);
	}
	/* The event's handler runs first, and ends with an IRET of its own. */
	if (v->injecting.valid)
		v->iret_seen = false;
	svm_intercept(v, INTERCEPT_IRET, v->nmi_blocked ? !v->iret_seen : window.nmi || awaits_iret(v));
	set_interrupt_window(v, !by_virq && !v->shadow_kept &&
				(window.interrupt || (window.nmi && window_helps_nmi(v))));
	if (by_virq)
		inject_by_virq(v, window.interrupt || window.nmi);
	watch_tpr(v, window.task_priority);
	if (v->iret_seen)
		guest_look_again(&v->guest);
}

void svm_injection_failed(struct svm_vcpu *v)
{
	if (!v->injecting.valid)
		return;
	v->vmcb->event_injection = 0;
	if (v->injecting_by_virq)
		set_virtual_interrupt(v, 0);
	v->injecting_by_virq = false;
	if (v->injecting.type == GUEST_EVENT_NMI)
		v->nmi_blocked = false;
	restore_rip(v);
	guest_reinject(&v->guest, v->injecting);
	v->injecting.valid = false;
}

static bool is_injected(const struct svm_vcpu *v, const struct guest_event *event)
{
	return v->injecting.valid && type_of(&v->injecting) == event->type && v->injecting.vector == event->vector;
}

void svm_collect_vectoring(struct svm_vcpu *v)
{
	struct guest_event event;
	uint64_t info;

	if (v->injecting_by_virq)
		end_virq(v);
	info = v->vmcb->exit_int_info;
	svm_watch_iret(v);
	if (!(info & EVENT_VALID))
		return;
	event = (struct guest_event){
		.valid = true,
		.vector = (uint8_t)info,
		.type = info >> EVENT_TYPE_SHIFT & 7,
		.has_error_code = info & EVENT_ERROR_CODE,
		.error_code = (uint32_t)(info >> 32),
	};
	if (comes_again(&event) && !is_injected(v, &event))
		return;
	/* With the length and type that the VMCB does not have. */
	if (is_injected(v, &event) && v->injecting.length) {
		restore_rip(v);
		event = v->injecting;
	}
	if (event.type == GUEST_EVENT_NMI)
		v->nmi_blocked = false;
	guest_reinject(&v->guest, event);
}
