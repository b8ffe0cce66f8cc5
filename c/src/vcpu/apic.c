/* SPDX-License-Identifier: Apache-2.0 */
/* Events for a vCPU and its local APIC, as the VMM sees them. */
#include "cpu/insn.h"
#include "cpu/libc.h"
#include "cpu/x86.h"
#include "vcpu/copy.h"
#include "vcpu/machine.h"
#include "vcpu/vcpu.h"
#include "x86vcpu/apic.h"
#include "x86vcpu/status.h"

/* ---- Events ------------------------------------------------------------------------------------------- */

int32_t x86vcpu_inject_interrupt(struct x86vcpu *vcpu, uint32_t vector)
{
	return x86vcpu_inject_interrupt_with_trigger(vcpu, vector, 0);
}

int32_t x86vcpu_inject_interrupt_with_trigger(struct x86vcpu *vcpu, uint32_t vector, uint32_t level)
{
	if (!vcpu || !vector || vector > 255)
		return X86VCPU_ERR_INVALID_INPUT;
	guest_post_interrupt(vcpu->guest, (uint8_t)vector, level);
	guest_kick(vcpu->guest);
	return X86VCPU_OK;
}

int32_t x86vcpu_inject_nmi(struct x86vcpu *vcpu)
{
	if (!vcpu)
		return X86VCPU_ERR_INVALID_INPUT;
	guest_post_nmi(vcpu->guest);
	guest_kick(vcpu->guest);
	return X86VCPU_OK;
}

int32_t x86vcpu_inject_exception(struct x86vcpu *vcpu, uint32_t vector, uint32_t with_error_code,
				 uint32_t error_code)
{
	struct guest *g;

	if (!vcpu || !guest_has_exception(vector) || with_error_code != guest_has_error_code(vector) ||
	    (with_error_code && error_code >> 16))
		return X86VCPU_ERR_INVALID_INPUT;
	if (vcpu_enter_here(vcpu))
		return X86VCPU_ERR_BAD_STATE;
	g = vcpu->guest;
	if (!guest_mode_has_exception(g, vector))
		return X86VCPU_ERR_INVALID_INPUT;
	if (g->events.exception.valid)
		return X86VCPU_ERR_RESOURCE_BUSY;
	/* It faults: RIP stays. */
	if (GUEST_OPEN_AT_RIP >> g->open & 1 || g->emulation.active)
		guest_drop_open_exit(g);
	guest_raise(g, (uint8_t)vector, with_error_code, error_code);
	return X86VCPU_OK;
}

int32_t x86vcpu_has_pending_event(const struct x86vcpu *vcpu)
{
	return vcpu && guest_event_pending(vcpu->guest);
}

/* ---- Kicks ---------------------------------------------------------------------------------------------- */

int32_t x86vcpu_request_exit(struct x86vcpu *vcpu)
{
	if (!vcpu)
		return X86VCPU_ERR_INVALID_INPUT;
	__atomic_store_n(&vcpu->guest->events.exit_request, 1, __ATOMIC_RELEASE);
	guest_kick(vcpu->guest);
	return X86VCPU_OK;
}

int32_t x86vcpu_run_state(const struct x86vcpu *vcpu, uint32_t *state, uint32_t *cpu)
{
	uint64_t value;

	if (!vcpu || !state || !cpu)
		return X86VCPU_ERR_INVALID_INPUT;
	value = __atomic_load_n(&vcpu->guest->events.run_state, __ATOMIC_SEQ_CST);
	*state = value & RUN_STATE_MASK;
	*cpu = *state == X86VCPU_OUTSIDE ? X86VCPU_NO_CPU : (uint32_t)(value >> RUN_STATE_CPU);
	return X86VCPU_OK;
}

/* ---- Messages and pins ------------------------------------------------------------------------------------ */

static bool message_ok(const struct x86vcpu_message *message)
{
	if (message->logical > 1 || message->level > 1)
		return false;
	switch (message->delivery) {
	case X86VCPU_DELIVERY_FIXED:
	case X86VCPU_DELIVERY_LOWEST_PRIORITY:
		return message->vector >= APIC_FIRST_VECTOR;
	case X86VCPU_DELIVERY_SMI:
	case X86VCPU_DELIVERY_NMI:
	case X86VCPU_DELIVERY_INIT:
	case X86VCPU_DELIVERY_STARTUP:
		return true;
	default:
		return false;
	}
}

int32_t x86vcpu_machine_deliver_message(struct x86vcpu_machine *machine, const struct x86vcpu_message *message,
					uint64_t *accepted)
{
	struct x86vcpu_message own;
	struct lapic_message sent;
	uint64_t flags, targets;
	int32_t status;

	if (!machine)
		return X86VCPU_ERR_INVALID_INPUT;
	status = COPY_IN(&own, message, level);
	if (status)
		return status;
	if (!message_ok(&own))
		return X86VCPU_ERR_INVALID_INPUT;
	sent = (struct lapic_message){
		.destination = own.destination,
		.logical = own.logical,
		.delivery = own.delivery,
		.vector = own.vector,
		.level = own.level,
	};
	flags = insn_disable_interrupts();
	/* notify may call the library, and destroy every vCPU. */
	machine_get(machine);
	targets = lapic_send(machine, NULL, &sent);
	machine_put(machine);
	insn_restore_interrupts(flags);
	if (accepted)
		*accepted = targets;
	return X86VCPU_OK;
}

int32_t x86vcpu_set_lint(struct x86vcpu *vcpu, uint32_t pin, uint32_t level)
{
	if (!vcpu || pin > 1 || level > 1)
		return X86VCPU_ERR_INVALID_INPUT;
	if (lapic_drive_pin(vcpu->guest, pin, level))
		guest_kick(vcpu->guest);
	return X86VCPU_OK;
}

int32_t x86vcpu_handle_eoi(struct x86vcpu *vcpu, int32_t *vector)
{
	if (!vcpu || !vector)
		return X86VCPU_ERR_INVALID_INPUT;
	if (vcpu->held)
		return X86VCPU_ERR_BAD_STATE;
	*vector = lapic_eoi(vcpu->guest);
	return X86VCPU_OK;
}

int32_t x86vcpu_timer_deadline(struct x86vcpu *vcpu, uint64_t *deadline)
{
	if (!vcpu || !deadline)
		return X86VCPU_ERR_INVALID_INPUT;
	if (vcpu->held)
		return X86VCPU_ERR_BAD_STATE;
	*deadline = lapic_timer_next(vcpu->guest);
	return X86VCPU_OK;
}

/* ---- Saving and restoring ---------------------------------------------------------------------------------- */

static int32_t reach(struct x86vcpu *vcpu, const void *state, uint32_t size)
{
	if (!vcpu || !state)
		return X86VCPU_ERR_INVALID_INPUT;
	if (size != sizeof(struct x86vcpu_apic_state))
		return X86VCPU_ERR_ABI_MISMATCH;
	if (vcpu_hold_here(vcpu))
		return X86VCPU_ERR_BAD_STATE;
	if (vcpu->guest->lapic.present)
		return X86VCPU_OK;
	vcpu_release(vcpu);
	return X86VCPU_ERR_UNSUPPORTED;
}

int32_t x86vcpu_get_apic(struct x86vcpu *vcpu, struct x86vcpu_apic_state *state)
{
	const int32_t status = reach(vcpu, state, state ? state->size : 0);

	if (!status) {
		lapic_save(vcpu->guest, state);
		vcpu_release(vcpu);
	}
	return status;
}

int32_t x86vcpu_set_apic(struct x86vcpu *vcpu, const struct x86vcpu_apic_state *state)
{
	int32_t status = reach(vcpu, state, state ? state->size : 0);

	if (!status) {
		status = lapic_restore(vcpu->guest, state) ? X86VCPU_OK : X86VCPU_ERR_INVALID_INPUT;
		vcpu_release(vcpu);
	}
	return status;
}
