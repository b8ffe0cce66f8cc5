/* SPDX-License-Identifier: Apache-2.0 */
/* Injection, windows, and events whose delivery an exit cut short (SDM 27.6, 28.2.4). */
#include "cpu/x86.h"
#include "vmx/vmcs.h"
#include "vmx/vmx.h"

#define INFO_VALID (1u << 31)
#define INFO_ERROR_CODE (1u << 11)
#define INFO_TYPE_SHIFT 8

void vmx_set_cpu_controls(struct vmx_vcpu *v, uint32_t bits, bool on)
{
	const uint32_t value = on ? v->cpu | bits : v->cpu & ~bits;

	if (value == v->cpu)
		return;
	v->cpu = value;
	vmcs_write32(VMCS_CPU_CONTROLS, value);
}

void vmx_close_interrupt_window(struct vmx_vcpu *v)
{
	vmx_set_cpu_controls(v, CPU_INTERRUPT_WINDOW_EXITING, false);
	guest_look_again(&v->guest);
}

void vmx_close_nmi_window(struct vmx_vcpu *v)
{
	vmx_set_cpu_controls(v, CPU_NMI_WINDOW_EXITING, false);
	guest_look_again(&v->guest);
}

uint32_t vmx_event_info(const struct guest_event *event)
{
	const uint32_t info = INFO_VALID | (uint32_t)event->type << INFO_TYPE_SHIFT | event->vector;

	return event->has_error_code ? info | INFO_ERROR_CODE : info;
}

static void write_event(const struct guest_event *event)
{
	if (event->has_error_code)
		vmcs_write32(VMCS_ENTRY_EXCEPTION_ERROR_CODE, event->error_code);
	if (event->type >= GUEST_EVENT_SOFTWARE_INTERRUPT)
		vmcs_write32(VMCS_ENTRY_INSTRUCTION_LENGTH, event->length);
	vmcs_write32(VMCS_ENTRY_INTERRUPTION_INFO, vmx_event_info(event));
}

/*
 * The guest exits when its TPR falls below this class. It may not be above the TPR as it is (SDM 27.2.1.1).
 * Without a TPR shadow every write of CR8 exits.
 */
static void set_tpr_threshold(struct vmx_vcpu *v, uint8_t threshold)
{
	if (threshold == v->tpr_threshold || !(v->cpu & CPU_USE_TPR_SHADOW))
		return;
	v->tpr_threshold = threshold;
	vmcs_write32(VMCS_TPR_THRESHOLD, threshold);
}

/* The exit that is to come clears the valid bit (SDM 25.8.3), so the next entry injects nothing. */
void vmx_inject(struct vmx_vcpu *v)
{
	struct guest_window window;

	v->injecting = guest_next_event(&v->guest, &window);
	if (v->injecting.valid)
		write_event(&v->injecting);
	vmx_set_cpu_controls(v, CPU_INTERRUPT_WINDOW_EXITING, window.interrupt);
	vmx_set_cpu_controls(v, CPU_NMI_WINDOW_EXITING, window.nmi);
	set_tpr_threshold(v, window.task_priority);
	v->waiting = v->tpr_threshold || v->cpu & (CPU_INTERRUPT_WINDOW_EXITING | CPU_NMI_WINDOW_EXITING);
}

/* An entry that failed leaves the event where it was: it must not be lost, nor injected twice. */
void vmx_injection_failed(struct vmx_vcpu *v)
{
	if (!v->injecting.valid)
		return;
	vmcs_write32(VMCS_ENTRY_INTERRUPTION_INFO, 0);
	guest_reinject(&v->guest, v->injecting);
	v->injecting.valid = false;
}

/*
 * The exit came while an event was being delivered: the event goes in again. An NMI that is
 * injected once more must not find itself blocked by its own first delivery (SDM 27.3.1.5).
 */
void vmx_collect_vectoring(struct vmx_vcpu *v)
{
	const uint32_t info = vmcs_read32(VMCS_IDT_VECTORING_INFO);
	struct guest_event event;

	if (!(info & INFO_VALID))
		return;
	event = (struct guest_event){
		.valid = true,
		.vector = (uint8_t)info,
		.type = info >> INFO_TYPE_SHIFT & 7,
		.has_error_code = info & INFO_ERROR_CODE,
	};
	if (event.has_error_code)
		event.error_code = vmcs_read32(VMCS_IDT_VECTORING_ERROR_CODE);
	if (event.type >= GUEST_EVENT_SOFTWARE_INTERRUPT)
		event.length = vmx_instruction_length(v);
	if (event.type == GUEST_EVENT_NMI)
		guest_update(&v->guest, G_BLOCKING,
			     guest_get(&v->guest, G_BLOCKING) & ~(uint64_t)GUEST_BLOCKING_NMI);
	guest_reinject(&v->guest, event);
}
