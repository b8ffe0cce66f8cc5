/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events on their way into the guest: interrupts and NMIs that any CPU may post, exceptions that
 * emulation raises, and events whose delivery an exit cut short. They are told apart by type, never
 * by vector number: vectors 16 to 31 are legal for interrupts (SDM 12.5.2).
 */
#include "emul/guest.h"

#include "cpu/x86.h"
#include "x86vcpu/apic.h"

/* Events are posted from other CPUs: the store is seen by whoever sees attention. */
static void post(struct guest_events *events)
{
	__atomic_store_n(&events->attention, 1, __ATOMIC_SEQ_CST);
}

void guest_look_again(struct guest *g)
{
	__atomic_store_n(&g->events.attention, 1, __ATOMIC_RELAXED);
}

static uint64_t bit_of(uint8_t vector)
{
	return UINT64_C(1) << (vector & 63);
}

static void make_pending(struct guest_events *events, uint8_t vector)
{
	__atomic_fetch_or(&events->interrupts[vector >> 6], bit_of(vector), __ATOMIC_RELEASE);
	post(events);
}

/* An APIC that is off, and one below vector 16, leaves the CPU to whoever drives its INTR pin. */
void guest_post_interrupt(struct guest *g, uint8_t vector, bool level)
{
	if (vector < APIC_FIRST_VECTOR || !lapic_enabled(&g->lapic)) {
		make_pending(&g->events, vector);
		return;
	}
	lapic_accept(g, vector, level);
	post(&g->events);
}

void guest_post_nmi(struct guest *g)
{
	__atomic_store_n(&g->events.nmi, 1, __ATOMIC_RELEASE);
	post(&g->events);
}

/* A start-up IPI that came before INIT is none of this start's. */
void guest_post_init(struct guest *g)
{
	__atomic_store_n(&g->events.startup, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&g->events.init, 1, __ATOMIC_RELEASE);
	post(&g->events);
}

void guest_post_startup(struct guest *g, uint8_t page)
{
	__atomic_store_n(&g->events.startup, STARTUP_PENDING | page, __ATOMIC_RELEASE);
	post(&g->events);
}

static int highest_direct(const struct guest *g)
{
	for (int word = 3; word >= 0; word--) {
		const uint64_t bits = __atomic_load_n(&g->events.interrupts[word], __ATOMIC_ACQUIRE);

		if (bits)
			return word * 64 + 63 - __builtin_clzll(bits);
	}
	return -1;
}

static bool nmi_pending(const struct guest *g)
{
	return __atomic_load_n(&g->events.nmi, __ATOMIC_ACQUIRE) != 0;
}

/* An interrupt that the guest would take if its flags let it. */
static bool interrupt_waits(const struct guest *g)
{
	return highest_direct(g) >= 0 || lapic_extint_asked(g) || lapic_deliverable(g) >= 0;
}

bool guest_event_pending(const struct guest *g)
{
	const struct guest_events *events = &g->events;

	return events->exception.valid || events->reinject.valid || nmi_pending(g) || highest_direct(g) >= 0 ||
	       lapic_has_pending(g) || lapic_extint_asked(g) || guest_signalled(g) ||
	       __atomic_load_n(&g->lapic.edges, __ATOMIC_ACQUIRE) ||
	       __atomic_load_n(&g->lapic.timer.expired, __ATOMIC_ACQUIRE);
}

/* ---- Where the vCPU is ------------------------------------------------------------------------------------ */

/*
 * Whoever posts stores the event and attention, then looks at the state; the vCPU stores its state, then looks
 * at attention (both in one total order): one of the two sees the other. LEAVING means that somebody
 * has interrupted that CPU already, and the vCPU has not looked since.
 */
static bool must_notify(struct guest *g, uint32_t *cpu)
{
	struct guest_events *events = &g->events;
	uint64_t state;

	if (!g->host->notify)
		return false;
	state = __atomic_load_n(&events->run_state, __ATOMIC_SEQ_CST);
	if ((state & RUN_STATE_MASK) == X86VCPU_RUNNING) {
		const uint64_t leaving = (state & ~(uint64_t)RUN_STATE_MASK) | X86VCPU_LEAVING;

		*cpu = (uint32_t)(state >> RUN_STATE_CPU);
		if (__atomic_compare_exchange_n(&events->run_state, &state, leaving, false, __ATOMIC_SEQ_CST,
						__ATOMIC_SEQ_CST))
			return true;
	}
	*cpu = X86VCPU_NO_CPU;
	return (state & RUN_STATE_MASK) == X86VCPU_OUTSIDE;
}

struct guest_kick guest_begin_kick(struct guest *g)
{
	struct guest_kick kick = {.host = g->host, .ctx = g->ctx, .machine = g->machine_opaque, .vcpu = g->opaque};

	post(&g->events);
	kick.wanted = must_notify(g, &kick.cpu);
	return kick;
}

void guest_kick(struct guest *g)
{
	const struct guest_kick kick = guest_begin_kick(g);

	guest_end_kick(&kick);
}

/* Whoever posts after this interrupts the CPU again. */
void guest_look(struct guest *g)
{
	struct guest_events *events = &g->events;
	const uint64_t state = __atomic_load_n(&events->run_state, __ATOMIC_RELAXED);

	if ((state & RUN_STATE_MASK) == X86VCPU_LEAVING)
		guest_publish_running(g, (uint32_t)(state >> RUN_STATE_CPU));
	__atomic_store_n(&events->attention, 0, __ATOMIC_SEQ_CST);
	lapic_look(g);
}

bool guest_must_leave(struct guest *g)
{
	if (!guest_signalled(g))
		return false;
	__atomic_store_n(&g->events.exit_request, 0, __ATOMIC_RELEASE);
	return true;
}

/* ---- Exceptions -------------------------------------------------------------------------------------- */

enum exception_class { BENIGN, CONTRIBUTORY, PAGE_FAULT };

/* SDM table 6-4. */
static enum exception_class classify(uint8_t vector)
{
	switch (vector) {
	case VECTOR_DE:
	case VECTOR_TS:
	case VECTOR_NP:
	case VECTOR_SS:
	case VECTOR_GP:
	case VECTOR_CP:
		return CONTRIBUTORY;
	case VECTOR_PF:
	case VECTOR_VE:
		return PAGE_FAULT;
	default:
		return BENIGN;
	}
}

/* SDM table 6-5: whether a second exception during delivery of a first makes a double fault. */
static bool makes_double_fault(uint8_t first, uint8_t second)
{
	const enum exception_class a = classify(first), b = classify(second);

	return (a == CONTRIBUTORY && b == CONTRIBUTORY) || (a == PAGE_FAULT && b != BENIGN);
}

static void put_back(struct guest *g, const struct guest_event *event)
{
	if (event->type == GUEST_EVENT_NMI)
		guest_post_nmi(g);
	else if (event->type == GUEST_EVENT_EXTERNAL && !lapic_untake(g, event->vector))
		make_pending(&g->events, event->vector);
	/* Faults and INT n come again when the instruction at RIP is executed again. */
}

void guest_raise(struct guest *g, uint8_t vector, bool has_error_code, uint32_t error_code)
{
	struct guest_events *events = &g->events;
	const struct guest_event first = events->exception.valid ? events->exception : events->reinject;
	const bool first_is_exception = first.valid && first.type == GUEST_EVENT_EXCEPTION;

	if (events->exception.valid && events->reinject.valid)
		put_back(g, &events->reinject);
	events->reinject.valid = false;
	if (first_is_exception && first.vector == VECTOR_DF && classify(vector) != BENIGN) {
		events->exception.valid = false;
		events->shutdown = true;
		return;
	}
	if (first_is_exception && makes_double_fault(first.vector, vector)) {
		vector = VECTOR_DF;
		has_error_code = true;
		error_code = 0;
	} else if (first.valid) {
		put_back(g, &first);
	}
	events->exception = (struct guest_event){
		.valid = true,
		.type = GUEST_EVENT_EXCEPTION,
		.vector = vector,
		.has_error_code = has_error_code,
		.error_code = error_code,
	};
	post(events);
}

void guest_raise_page_fault(struct guest *g, uint64_t address, uint32_t error_code)
{
	g->cr2 = address;
	guest_raise(g, VECTOR_PF, true, error_code);
}

void guest_reinject(struct guest *g, struct guest_event event)
{
	g->events.reinject = event;
	post(&g->events);
}

/* ---- Choosing what to inject ---------------------------------------------------------------------------- */

static bool interrupts_open(struct guest *g)
{
	return guest_get(g, G_RFLAGS) & RFLAGS_IF &&
	       !(guest_get(g, G_BLOCKING) & (GUEST_BLOCKING_STI | GUEST_BLOCKING_MOV_SS));
}

/*
 * Blocking by STI holds an NMI back on some CPUs and not on others (SDM 25.4.2, table 25-3); VM entry
 * may refuse it (SDM 27.3.1.5), so it waits.
 */
static bool nmis_open(struct guest *g)
{
	return !(guest_get(g, G_BLOCKING) &
		 (GUEST_BLOCKING_NMI | GUEST_BLOCKING_STI | GUEST_BLOCKING_MOV_SS));
}

/*
 * A trap of the instruction that just ended comes before NMIs and interrupts (SDM table 6-2), and VM entry
 * would drop it if something else were injected (SDM 27.7.3).
 */
static bool debug_trap_pending(struct guest *g)
{
	return guest_get(g, G_PENDING_DB) & (PENDING_DB_BS | PENDING_DB_ENABLED);
}

bool guest_wakes(struct guest *g)
{
	const struct guest_events *events = &g->events;

	return events->exception.valid || events->reinject.valid || debug_trap_pending(g) ||
	       (nmi_pending(g) && nmis_open(g)) || (interrupt_waits(g) && interrupts_open(g));
}

/* What was pending is looked at again before the entry. */
bool guest_wake(struct guest *g)
{
	guest_look(g);
	if (!guest_wakes(g))
		return false;
	g->events.halted = false;
	post(&g->events);
	return true;
}

/* The pin before the APIC; or -1: an 8259A may have changed its mind. */
static int take_vector(struct guest *g)
{
	int vector = highest_direct(g);

	if (vector >= 0) {
		__atomic_fetch_and(&g->events.interrupts[vector >> 6], ~bit_of((uint8_t)vector), __ATOMIC_ACQ_REL);
		return vector;
	}
	if (lapic_extint_asked(g)) {
		vector = g->host->acknowledge_interrupt(g->ctx, g->machine_opaque, g->opaque);
		if (vector >= 0)
			return vector & 0xff;
	}
	vector = lapic_deliverable(g);
	if (vector >= 0)
		lapic_take(g, (uint8_t)vector);
	return vector;
}

static struct guest_event take_interrupt(struct guest *g)
{
	const int vector = take_vector(g);

	return (struct guest_event){
		.valid = vector >= 0, .type = GUEST_EVENT_EXTERNAL, .vector = (uint8_t)vector};
}

static struct guest_event take_asynchronous(struct guest *g)
{
	if (debug_trap_pending(g) || guest_steps(g))
		return (struct guest_event){.valid = false};
	if (nmi_pending(g) && nmis_open(g)) {
		__atomic_store_n(&g->events.nmi, 0, __ATOMIC_RELEASE);
		return (struct guest_event){
			.valid = true, .type = GUEST_EVENT_NMI, .vector = VECTOR_NMI};
	}
	if (interrupt_waits(g) && interrupts_open(g))
		return take_interrupt(g);
	return (struct guest_event){.valid = false};
}

/*
 * An exception that has an error code has it in protected mode and not in real mode, or VM entry fails (SDM 27.2.1.3);
 * x86vcpu_set_state may have changed the mode meanwhile.
 */
static struct guest_event with_code_of_mode(struct guest *g, struct guest_event event)
{
	if (event.type == GUEST_EVENT_EXCEPTION && guest_has_error_code(event.vector))
		event.has_error_code = guest_in_protected_mode(g);
	return event;
}

/* A fault pushes RF = 1, so that a breakpoint on its instruction does not hit again (SDM 18.3.1.1). */
static void resume_after_fault(struct guest *g, const struct guest_event *event)
{
	if (event->type == GUEST_EVENT_EXCEPTION && guest_is_fault(event->vector))
		guest_update(g, G_RFLAGS, guest_get(g, G_RFLAGS) | RFLAGS_RF);
}

/*
 * The VMM may have cleared RFLAGS.IF or set what blocks meanwhile: the event waits, or VM entry would fail (SDM 27.3.1.4,
 * 27.3.1.5).
 */
static void hold_back(struct guest *g)
{
	struct guest_event *event = &g->events.reinject;

	if (event->type == GUEST_EVENT_EXTERNAL ? interrupts_open(g) : event->type != GUEST_EVENT_NMI || nmis_open(g))
		return;
	event->valid = false;
	put_back(g, event);
}

/* x86vcpu_set_state may have changed the mode meanwhile: the instruction that raised it does not exist any more. */
static void drop_impossible(struct guest *g, struct guest_event *event)
{
	const bool exception = event->type == GUEST_EVENT_EXCEPTION || event->type == GUEST_EVENT_SOFTWARE_EXCEPTION;

	if (event->valid && exception && !guest_mode_has_exception(g, event->vector))
		event->valid = false;
}

/*
 * While STI blocks, a CPU may take the NMI window for open (SDM 26.2), although the NMI cannot go in yet: nothing would
 * retire. The interrupt window opens when the shadow ends, because IF is set then.
 */
static void avoid_nmi_window(struct guest *g, struct guest_window *window)
{
	if ((guest_get(g, G_BLOCKING) & (GUEST_BLOCKING_STI | GUEST_BLOCKING_NMI)) != GUEST_BLOCKING_STI)
		return;
	window->nmi = false;
	window->interrupt = true;
}

struct guest_event guest_next_event(struct guest *g, struct guest_window *window)
{
	struct guest_events *events = &g->events;
	struct guest_event event;
	bool declined;

	/* Before the look: what is posted after it asks for another. */
	guest_look(g);
	if (events->reinject.valid)
		hold_back(g);
	drop_impossible(g, &events->reinject);
	drop_impossible(g, &events->exception);
	if (events->reinject.valid) {
		event = with_code_of_mode(g, events->reinject);
		events->reinject.valid = false;
	} else if (events->exception.valid) {
		event = with_code_of_mode(g, events->exception);
		events->exception.valid = false;
	} else {
		event = take_asynchronous(g);
	}
	if (event.valid)
		resume_after_fault(g, &event);
	window->nmi = nmi_pending(g) && !guest_steps(g);
	window->interrupt = interrupt_waits(g) && !guest_steps(g);
	window->task_priority = (uint8_t)lapic_held_by_tpr(g);
	/* The 8259A had no vector after all: with the pin high a window would exit at once, again and again. */
	declined = !event.valid && window->interrupt && interrupts_open(g) && !debug_trap_pending(g);
	if (declined)
		window->interrupt = false;
	if (window->nmi && !event.valid)
		avoid_nmi_window(g, window);
	/* Nor can a second waiting exception be asked a window for: look again after the next exit. */
	if (declined || events->exception.valid)
		post(events);
	return event;
}
