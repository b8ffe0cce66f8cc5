/* SPDX-License-Identifier: Apache-2.0 */
/* What a copy of a vCPU needs beside registers and local APIC: MSRs, extended registers, events. */
#include "x86vcpu/save.h"

#include "cpu/libc.h"
#include "cpu/x86.h"
#include "emul/context.h"
#include "emul/finish.h"
#include "emul/msr.h"
#include "vcpu/vcpu.h"
#include "x86vcpu/msr.h"
#include "x86vcpu/status.h"

/* ---- MSRs ------------------------------------------------------------------------------------------- */

static int32_t status_of(int result)
{
	switch (result) {
	case EMUL_NEXT:
		return X86VCPU_OK;
	case EMUL_EXIT:
		return X86VCPU_ERR_UNSUPPORTED;
	default:
		return X86VCPU_ERR_INVALID_INPUT;
	}
}

int32_t x86vcpu_get_msr(struct x86vcpu *vcpu, uint32_t msr, uint64_t *value)
{
	uint64_t read = 0;
	int32_t status;

	if (!vcpu || !value)
		return X86VCPU_ERR_INVALID_INPUT;
	if (vcpu_enter_whole(vcpu))
		return X86VCPU_ERR_BAD_STATE;
	if (msr == X86VCPU_TSC_OFFSET) {
		*value = vcpu->guest->msrs.tsc_offset;
		return X86VCPU_OK;
	}
	status = status_of(msr_read(vcpu->guest, msr, &read));
	if (!status)
		*value = read;
	return status;
}

static int32_t set_tsc_offset(struct guest *g, uint64_t offset)
{
	g->msrs.tsc_offset = offset;
	g->msrs_changed = true;
	lapic_timer_tsc_moved(g);
	return X86VCPU_OK;
}

static int32_t set_msr(struct guest *g, uint32_t msr, uint64_t value)
{
	switch (msr) {
	case X86VCPU_TSC_OFFSET:
		return set_tsc_offset(g, value);
	case X86VCPU_MSR_IA32_TIME_STAMP_COUNTER:
		return set_tsc_offset(g, value - g->host_tsc());
	case X86VCPU_MSR_IA32_TSC_ADJUST:
		g->msrs.tsc_adjust = value;
		return X86VCPU_OK;
	default:
		if (msr_of_local_apic(msr))
			return X86VCPU_ERR_UNSUPPORTED;
		return status_of(msr_write(g, msr, value));
	}
}

int32_t x86vcpu_set_msr(struct x86vcpu *vcpu, uint32_t msr, uint64_t value)
{
	int32_t status;

	if (!vcpu)
		return X86VCPU_ERR_INVALID_INPUT;
	if (vcpu_hold_whole(vcpu))
		return X86VCPU_ERR_BAD_STATE;
	status = set_msr(vcpu->guest, msr, value);
	vcpu_release(vcpu);
	return status;
}

int32_t x86vcpu_saved_msr(struct x86vcpu *vcpu, uint32_t n, uint32_t *msr)
{
	if (!vcpu || !msr || !msr_saved(vcpu->guest, n, msr))
		return X86VCPU_ERR_INVALID_INPUT;
	return X86VCPU_OK;
}

/* ---- Extended registers ------------------------------------------------------------------------------- */

int32_t x86vcpu_get_xsave(struct x86vcpu *vcpu, void *image, uint64_t *size)
{
	uint64_t room;

	if (!vcpu || !size)
		return X86VCPU_ERR_INVALID_INPUT;
	if (vcpu_enter_whole(vcpu))
		return X86VCPU_ERR_BAD_STATE;
	room = *size;
	*size = context_image_bytes(vcpu->guest);
	if (!image)
		return X86VCPU_OK;
	if (room < *size)
		return X86VCPU_ERR_NO_MEMORY;
	context_save(vcpu->guest, image);
	return X86VCPU_OK;
}

int32_t x86vcpu_set_xsave(struct x86vcpu *vcpu, const void *image, uint64_t size)
{
	if (!vcpu || !image)
		return X86VCPU_ERR_INVALID_INPUT;
	if (vcpu_enter_whole(vcpu))
		return X86VCPU_ERR_BAD_STATE;
	if (size != context_image_bytes(vcpu->guest) || !context_restore(vcpu->guest, image))
		return X86VCPU_ERR_INVALID_INPUT;
	return X86VCPU_OK;
}

/* ---- Events ------------------------------------------------------------------------------------------- */

#define BLOCKING (GUEST_BLOCKING_STI | GUEST_BLOCKING_MOV_SS | GUEST_BLOCKING_NMI)
#define PENDING_DEBUG (UINT64_C(0xf) | PENDING_DB_ENABLED | PENDING_DB_BS)

static struct x86vcpu_event describe(const struct guest_event *event)
{
	if (!event->valid)
		return (struct x86vcpu_event){.valid = 0};
	return (struct x86vcpu_event){
		.valid = 1,
		.type = event->type,
		.vector = event->vector,
		.has_error_code = event->has_error_code,
		.error_code = event->has_error_code ? event->error_code : 0,
		.length = event->type >= GUEST_EVENT_SOFTWARE_INTERRUPT ? event->length : 0,
	};
}

static struct guest_event event_of(const struct x86vcpu_event *event)
{
	return (struct guest_event){
		.valid = event->valid,
		.type = (uint8_t)event->type,
		.vector = (uint8_t)event->vector,
		.has_error_code = event->has_error_code,
		.error_code = event->error_code,
		.length = event->length,
	};
}

static bool is_exception(const struct x86vcpu_event *event)
{
	/* SDM 27.2.1.3: error codes have 16 bits. */
	if (!guest_has_exception(event->vector) || event->length || event->error_code >> 16)
		return false;
	/* Real mode has none of them. */
	return !event->has_error_code || guest_has_error_code((uint8_t)event->vector);
}

static bool is_software(const struct x86vcpu_event *event)
{
	if (event->has_error_code || !event->length || event->length > 15)
		return false;
	switch (event->type) {
	case GUEST_EVENT_SOFTWARE_INTERRUPT:
		return event->vector <= 255;
	case GUEST_EVENT_PRIVILEGED_SOFTWARE_EXCEPTION:
		return event->vector == VECTOR_DB;
	default:
		return event->vector == VECTOR_BP || event->vector == VECTOR_OF;
	}
}

static bool event_ok(const struct x86vcpu_event *event)
{
	if (!event->valid)
		return !event->type && !event->vector && !event->has_error_code && !event->error_code &&
		       !event->length;
	if (event->valid > 1 || event->has_error_code > 1 || (event->error_code && !event->has_error_code))
		return false;
	switch (event->type) {
	case GUEST_EVENT_EXTERNAL:
		return event->vector <= 255 && !event->has_error_code && !event->length;
	case GUEST_EVENT_NMI:
		return event->vector == VECTOR_NMI && !event->has_error_code && !event->length;
	case GUEST_EVENT_EXCEPTION:
		return is_exception(event);
	case GUEST_EVENT_SOFTWARE_INTERRUPT:
	case GUEST_EVENT_PRIVILEGED_SOFTWARE_EXCEPTION:
	case GUEST_EVENT_SOFTWARE_EXCEPTION:
		return is_software(event);
	default:
		return false;
	}
}

static bool mode_has(struct guest *g, const struct x86vcpu_event *event)
{
	const bool exception = event->type == GUEST_EVENT_EXCEPTION || event->type == GUEST_EVENT_SOFTWARE_EXCEPTION;

	return !event->valid || !exception || guest_mode_has_exception(g, event->vector);
}

/* SDM 27.3.1.4: an interrupt's delivery was begun with interrupts on. */
static bool delivery_ok(struct guest *g, const struct x86vcpu_event *event)
{
	if (!event_ok(event) || !mode_has(g, event))
		return false;
	return !event->valid || event->type != GUEST_EVENT_EXTERNAL || guest_get(g, G_RFLAGS) & RFLAGS_IF;
}

/* SDM 27.3.1.5: not both shadows, STI's only with interrupts on, and in neither a single step that TF did not ask for. */
static bool blocking_ok(struct guest *g, uint32_t blocking, uint64_t pending_debug)
{
	const uint32_t shadows = blocking & (GUEST_BLOCKING_STI | GUEST_BLOCKING_MOV_SS);

	if (blocking & ~BLOCKING || shadows == (GUEST_BLOCKING_STI | GUEST_BLOCKING_MOV_SS))
		return false;
	if (shadows && pending_debug & PENDING_DB_BS && !(guest_get(g, G_RFLAGS) & RFLAGS_TF))
		return false;
	return !(blocking & GUEST_BLOCKING_STI) || guest_get(g, G_RFLAGS) & RFLAGS_IF;
}

static bool startup_ok(uint32_t startup)
{
	return !startup || (startup & ~0xffu) == STARTUP_PENDING;
}

static bool events_ok(struct guest *g, const struct x86vcpu_events *events)
{
	if (!event_ok(&events->exception) || !mode_has(g, &events->exception) || !delivery_ok(g, &events->delivery))
		return false;
	if (events->exception.valid && events->exception.type != GUEST_EVENT_EXCEPTION)
		return false;
	if (!blocking_ok(g, events->blocking, events->pending_debug) || events->pending_debug & ~PENDING_DEBUG)
		return false;
	return events->nmi_pending <= 1 && events->halted <= 1 && events->waits_for_sipi <= 1 &&
	       events->init_pending <= 1 && startup_ok(events->startup_pending) && !events->reserved;
}

static int32_t reach(struct x86vcpu *vcpu, const void *events, uint32_t size)
{
	if (!vcpu || !events)
		return X86VCPU_ERR_INVALID_INPUT;
	if (size != sizeof(struct x86vcpu_events))
		return X86VCPU_ERR_ABI_MISMATCH;
	return vcpu_hold_here(vcpu);
}

static uint32_t load(const uint32_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static void store(uint32_t *word, uint32_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
}

static int32_t get_events(struct guest *g, struct x86vcpu_events *events)
{
	const struct guest_events *from = &g->events;

	if (from->shutdown || guest_has_open_exit(g))
		return X86VCPU_ERR_BAD_STATE;
	/* An edge of the NMI pin becomes an NMI. */
	lapic_look(g);
	*events = (struct x86vcpu_events){
		.size = sizeof(*events),
		.blocking = (uint32_t)guest_get(g, G_BLOCKING) & BLOCKING,
		.exception = describe(&from->exception),
		.delivery = describe(&from->reinject),
		.pending_debug = guest_get(g, G_PENDING_DB) & PENDING_DEBUG,
		.nmi_pending = load(&from->nmi),
		.halted = from->halted,
		.waits_for_sipi = from->waits_for_sipi,
		.init_pending = load(&from->init),
		.startup_pending = load(&from->startup),
	};
	for (unsigned i = 0; i < 4; i++)
		events->interrupts[i] = __atomic_load_n(&from->interrupts[i], __ATOMIC_ACQUIRE);
	return X86VCPU_OK;
}

int32_t x86vcpu_get_events(struct x86vcpu *vcpu, struct x86vcpu_events *events)
{
	int32_t status = reach(vcpu, events, events ? events->size : 0);

	if (!status) {
		status = get_events(vcpu->guest, events);
		vcpu_release(vcpu);
	}
	return status;
}

static int32_t set_events(struct guest *g, const struct x86vcpu_events *events)
{
	struct guest_events *to = &g->events;

	if (guest_has_open_exit(g))
		return X86VCPU_ERR_BAD_STATE;
	if (!events_ok(g, events))
		return X86VCPU_ERR_INVALID_INPUT;
	to->exception = event_of(&events->exception);
	to->reinject = event_of(&events->delivery);
	to->halted = events->halted;
	to->waits_for_sipi = events->waits_for_sipi;
	guest_update(g, G_BLOCKING, events->blocking);
	guest_update(g, G_PENDING_DB, events->pending_debug);
	for (unsigned i = 0; i < 4; i++)
		__atomic_store_n(&to->interrupts[i], events->interrupts[i], __ATOMIC_RELEASE);
	store(&to->nmi, events->nmi_pending);
	store(&to->init, events->init_pending);
	store(&to->startup, events->startup_pending);
	guest_look_again(g);
	return X86VCPU_OK;
}

int32_t x86vcpu_set_events(struct x86vcpu *vcpu, const struct x86vcpu_events *events)
{
	int32_t status = reach(vcpu, events, events ? events->size : 0);

	if (!status) {
		status = set_events(vcpu->guest, events);
		vcpu_release(vcpu);
	}
	return status;
}
