/* SPDX-License-Identifier: Apache-2.0 */
/* Every kind of exit, and entries that fail. */
#include "order.h"

#include <check.h>
#include <string.h>

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

/* The guest, in real mode, has `code` at ORDER_AT and does `kind` there. */
static void does(struct fixture *f, uint32_t kind, const char *code, uint32_t length, uint64_t a, uint64_t b, uint64_t c)
{
	memcpy(model_guest_memory(f->m) + ORDER_AT, code, length);
	ck_assert_int_eq(fixture_does(f, kind, length, a, b, c), X86VCPU_OK);
}

static void hypercall(struct fixture *f)
{
	does(f, MODEL_OP_HYPERCALL, "\x0f\x01\xc1", 3, 0, 0, 0);
}

static void port_read(struct fixture *f)
{
	model_guest_sets(f->m, MODEL_RDX, ORDER_PORT);
	does(f, MODEL_OP_IN, "\xec", 1, ORDER_PORT, 1, 0);
}

static void port_write(struct fixture *f)
{
	model_guest_sets(f->m, MODEL_RDX, ORDER_PORT);
	does(f, MODEL_OP_OUT, "\xee", 1, ORDER_PORT, 1, 0);
}

/* REP INSB, two elements to come. */
static void port_string(struct fixture *f)
{
	model_guest_sets(f->m, MODEL_RDX, ORDER_PORT);
	model_guest_sets(f->m, MODEL_RCX, 2);
	model_guest_sets(f->m, MODEL_RDI, ORDER_BUFFER);
	does(f, MODEL_OP_IN, "\xf3\x6c", 2, ORDER_PORT, 1, 3 | 2 << 8);
}

static void device(struct fixture *f, const char *code, uint64_t write)
{
	model_guest_sets(f->m, MODEL_RBX, ORDER_DEVICE);
	does(f, MODEL_OP_MMIO, code, 2, ORDER_DEVICE, write, ORDER_DEVICE);
}

static void mmio_read(struct fixture *f)
{
	device(f, "\x8a\x07", 0);
}

static void mmio_write(struct fixture *f)
{
	device(f, "\x88\x07", 1);
}

static void exchange(struct fixture *f)
{
	device(f, "\x86\x07", 1);
}

static void second_half(struct fixture *f)
{
	exchange(f);
	ck_assert_int_eq(x86vcpu_complete_read(f->vcpu, ORDER_ANSWER), X86VCPU_OK);
}

static void msr_read(struct fixture *f)
{
	model_guest_sets(f->m, MODEL_RCX, ORDER_MSR);
	does(f, MODEL_OP_RDMSR, "\x0f\x32", 2, 0, 0, 0);
}

static void msr_write(struct fixture *f)
{
	model_guest_sets(f->m, MODEL_RCX, ORDER_MSR);
	does(f, MODEL_OP_WRMSR, "\x0f\x30", 2, 0, 0, 0);
}

static void nested_fault(struct fixture *f)
{
	does(f, MODEL_OP_MMIO, "\x8a\x07", 2, 0x30000, 0, 0x30000);
}

/* The run begins when its time is over. */
static void slice_over(struct fixture *f)
{
	does(f, MODEL_OP_NONE, "", 0, 0, 0, 0);
	model_pass(f->m, UINT64_C(1) << 62);
	does(f, MODEL_OP_NONE, "", 0, 0, 0, 0);
}

/* A level-triggered interrupt is in service, and the guest ends it in x2APIC mode. */
static void interrupt_end(struct fixture *f)
{
	struct x86vcpu_apic_state apic = {.size = sizeof(apic)};

	ck_assert_int_eq(x86vcpu_get_apic(f->vcpu, &apic), X86VCPU_OK);
	apic.base |= 0xc00;
	apic.registers[0x0f] |= 0x100;
	apic.registers[0x10 + 2] = apic.registers[0x18 + 2] = 2; /* vector 41H */
	ck_assert_int_eq(x86vcpu_set_apic(f->vcpu, &apic), X86VCPU_OK);
	model_guest_sets(f->m, MODEL_RCX, 0x80b);
	model_guest_sets(f->m, MODEL_RAX, 0);
	model_guest_sets(f->m, MODEL_RDX, 0);
	does(f, MODEL_OP_WRMSR, "\x0f\x30", 2, 0, 0, 0);
}

static void halt(struct fixture *f)
{
	does(f, MODEL_OP_HLT, "\xf4", 1, 0, 0, 0);
}

static void triple_fault(struct fixture *f)
{
	does(f, MODEL_OP_TRIPLE_FAULT, "", 0, 0, 0, 0);
}

static void host_interrupt(struct fixture *f)
{
	does(f, MODEL_OP_NONE, "", 0, 0, 0, 0);
}

static void waits_for_sipi(struct fixture *f)
{
	ck_assert_int_eq(x86vcpu_run(f->vcpu, &f->exit), X86VCPU_OK);
}

static void first_entry_fails(struct fixture *f)
{
	does(f, MODEL_OP_BAD_ENTRY, "", 0, 33, 0, 0);
}

static void first_entry_fails_over_msrs(struct fixture *f)
{
	does(f, MODEL_OP_BAD_ENTRY, "", 0, 34, 0, 0);
}

static void first_entry_has_a_machine_check(struct fixture *f)
{
	does(f, MODEL_OP_BAD_ENTRY, "", 0, 41, 0, 0);
}

static void later_entry_fails(struct fixture *f)
{
	host_interrupt(f);
	first_entry_fails(f);
}

static void entry_with_an_nmi_fails(struct fixture *f)
{
	ck_assert_int_eq(x86vcpu_inject_nmi(f->vcpu), X86VCPU_OK);
	first_entry_fails(f);
}

#define RUNS_AT(where) {.kind = X86VCPU_EXIT_NOTHING, .rip = (where)}

const struct order_situation order_situations[] = {
	{"HYPERCALL", hypercall, X86VCPU_EXIT_HYPERCALL, ORDER_AT + 3, ORDER_CLOSED, RUNS_AT(ORDER_AT + 3), 0, 0},
	{"PORT_IO_READ", port_read, X86VCPU_EXIT_PORT_IO_READ, ORDER_AT + 1, ORDER_PORT_READ, RUNS_AT(ORDER_AT + 1), 0, 0},
	{"PORT_IO_WRITE", port_write, X86VCPU_EXIT_PORT_IO_WRITE, ORDER_AT + 1, ORDER_CLOSED, RUNS_AT(ORDER_AT + 1), 0, 0},
	{"PORT_IO_STRING", port_string, X86VCPU_EXIT_PORT_IO_STRING, ORDER_AT, ORDER_PORT_STRING,
	 {.kind = X86VCPU_EXIT_PORT_IO_STRING, .rip = ORDER_AT}, 0, 0},
	{"MMIO_READ", mmio_read, X86VCPU_EXIT_MMIO_READ, ORDER_AT + 2, ORDER_MMIO_READ, RUNS_AT(ORDER_AT + 2), 0, 0},
	{"MMIO_WRITE", mmio_write, X86VCPU_EXIT_MMIO_WRITE, ORDER_AT + 2, ORDER_CLOSED, RUNS_AT(ORDER_AT + 2), 0, 0},
	{"MMIO_READ of XCHG", exchange, X86VCPU_EXIT_MMIO_READ, ORDER_AT, ORDER_EXCHANGE, RUNS_AT(ORDER_AT), 0, 0},
	{"answered MMIO_READ of XCHG", second_half, X86VCPU_EXIT_MMIO_READ, ORDER_AT, ORDER_SECOND,
	 {.kind = X86VCPU_EXIT_NOTHING, .rip = ORDER_AT + 2, .write = true}, 0, 0},
	{"MSR_READ", msr_read, X86VCPU_EXIT_MSR_READ, ORDER_AT, ORDER_MSR_READ, RUNS_AT(ORDER_AT + 2), 0, 0},
	{"MSR_WRITE", msr_write, X86VCPU_EXIT_MSR_WRITE, ORDER_AT, ORDER_MSR_WRITE, RUNS_AT(ORDER_AT + 2), 0, 0},
	{"NESTED_PAGE_FAULT", nested_fault, X86VCPU_EXIT_NESTED_PAGE_FAULT, ORDER_AT, ORDER_CLOSED, RUNS_AT(ORDER_AT), 0, 0},
	{"PREEMPTION_TIMER", slice_over, X86VCPU_EXIT_PREEMPTION_TIMER, ORDER_AT, ORDER_CLOSED, RUNS_AT(ORDER_AT), 0, 0},
	{"INTERRUPT_END", interrupt_end, X86VCPU_EXIT_INTERRUPT_END, ORDER_AT + 2, ORDER_CLOSED, RUNS_AT(ORDER_AT + 2), 0, 0},
	{"HALT", halt, X86VCPU_EXIT_HALT, ORDER_AT + 1, ORDER_CLOSED, {.kind = X86VCPU_EXIT_HALT, .rip = ORDER_AT + 1}, 0, 0},
	{"SYSTEM_DOWN", triple_fault, X86VCPU_EXIT_SYSTEM_DOWN, ORDER_AT, ORDER_CLOSED,
	 {.status = X86VCPU_ERR_BAD_STATE, .kind = X86VCPU_EXIT_NOTHING, .rip = ORDER_AT}, 0, 0},
	{"NOTHING", host_interrupt, X86VCPU_EXIT_NOTHING, ORDER_AT, ORDER_CLOSED, RUNS_AT(ORDER_AT), 0, 0},
	{"WAIT_FOR_SIPI", waits_for_sipi, X86VCPU_EXIT_WAIT_FOR_SIPI, ORDER_AT, ORDER_CLOSED,
	 {.kind = X86VCPU_EXIT_WAIT_FOR_SIPI, .rip = ORDER_AT}, 0, X86VCPU_START_WAIT_FOR_SIPI},
	{"FAIL_ENTRY, the first", first_entry_fails, X86VCPU_EXIT_FAIL_ENTRY, ORDER_AT, ORDER_CLOSED, RUNS_AT(ORDER_AT), 0, 0},
	{"FAIL_ENTRY, the first, MSR loading", first_entry_fails_over_msrs, X86VCPU_EXIT_FAIL_ENTRY, ORDER_AT, ORDER_CLOSED,
	 RUNS_AT(ORDER_AT), MODEL_VMX + 1, 0},
	{"FAIL_ENTRY, the first, machine check", first_entry_has_a_machine_check, X86VCPU_EXIT_FAIL_ENTRY, ORDER_AT,
	 ORDER_CLOSED, RUNS_AT(ORDER_AT), MODEL_VMX + 1, 0},
	{"FAIL_ENTRY, a later one", later_entry_fails, X86VCPU_EXIT_FAIL_ENTRY, ORDER_AT, ORDER_CLOSED, RUNS_AT(ORDER_AT), 0, 0},
	{"FAIL_ENTRY, with an NMI", entry_with_an_nmi_fails, X86VCPU_EXIT_FAIL_ENTRY, ORDER_AT, ORDER_CLOSED,
	 {.kind = X86VCPU_EXIT_NOTHING, .rip = ORDER_AT, .event = ORDER_NMI}, 0, 0},
};
const int order_situation_count = COUNT(order_situations);

/* ---- What the description says ------------------------------------------------------------------------------ */

static bool is_read(enum order_open open)
{
	return open == ORDER_PORT_READ || open == ORDER_MMIO_READ || open == ORDER_EXCHANGE || open == ORDER_MSR_READ;
}

static bool is_msr(enum order_open open)
{
	return open == ORDER_MSR_READ || open == ORDER_MSR_WRITE;
}

int32_t order_status(const struct order_situation *s, const struct order_call *call)
{
	const bool down = s->exit == X86VCPU_EXIT_SYSTEM_DOWN;
	bool allowed = true;

	switch (call->effect) {
	case ORDER_NOTHING:
		return call->status;
	case ORDER_ANSWERS_READ:
		allowed = is_read(s->open);
		break;
	case ORDER_ANSWERS_WRITE:
		allowed = s->open == ORDER_MSR_WRITE;
		break;
	case ORDER_FAULTS:
		allowed = is_msr(s->open);
		break;
	case ORDER_COMMITS:
		allowed = s->open == ORDER_PORT_STRING;
		break;
	case ORDER_READS_EVENTS:
		allowed = !s->open && !down;
		break;
	case ORDER_WRITES_EVENTS:
	case ORDER_WRITES_NMI:
	case ORDER_SKIPS:
		allowed = !s->open;
		break;
	default:
		break;
	}
	return allowed ? X86VCPU_OK : X86VCPU_ERR_BAD_STATE;
}

/* An event that a halted guest wakes for. */
static void takes(const struct order_situation *s, struct order_outcome *o, uint32_t event)
{
	if (s->exit == X86VCPU_EXIT_SYSTEM_DOWN || s->exit == X86VCPU_EXIT_WAIT_FOR_SIPI)
		return;
	o->event = event;
	if (o->kind == X86VCPU_EXIT_HALT)
		o->kind = X86VCPU_EXIT_NOTHING;
}

/* RIP is the VMM's. */
static void goes_to(struct order_outcome *o, uint64_t rip)
{
	o->rip = rip;
	o->write = false;
	if (o->kind == X86VCPU_EXIT_HALT)
		o->kind = X86VCPU_EXIT_NOTHING;
}

static struct order_outcome anew(uint64_t rip)
{
	return (struct order_outcome){.kind = X86VCPU_EXIT_NOTHING, .rip = rip};
}

struct order_outcome order_expected(const struct order_situation *s, const struct order_call *call)
{
	struct order_outcome o = s->plain;

	if (order_status(s, call) != X86VCPU_OK)
		return o;
	switch (call->effect) {
	case ORDER_ANSWERS_READ:
		if (s->open == ORDER_EXCHANGE)
			o = (struct order_outcome){.kind = o.kind, .rip = ORDER_AT + 2, .write = true};
		break;
	case ORDER_FAULTS:
		o.rip = s->rip;
		takes(s, &o, ORDER_EVENT(3u, 13u));
		break;
	case ORDER_RAISES:
		o.rip = s->rip;
		o.write = false;
		/* The model's REP INSB does not come back after an exception. */
		if (s->open == ORDER_PORT_STRING)
			o.kind = X86VCPU_EXIT_NOTHING;
		takes(s, &o, ORDER_EVENT(3u, 6u));
		break;
	case ORDER_WRITES_NMI:
	case ORDER_POSTS_NMI:
		takes(s, &o, ORDER_NMI);
		break;
	case ORDER_ASKS_TO_LEAVE:
		if (!o.status)
			o.kind = X86VCPU_EXIT_NOTHING;
		o.event = 0;
		break;
	case ORDER_SETS_RIP:
		goes_to(&o, ORDER_TARGET);
		if (s->open == ORDER_PORT_STRING)
			o.kind = X86VCPU_EXIT_NOTHING;
		break;
	case ORDER_KEEPS_RIP:
	case ORDER_SKIPS:
		goes_to(&o, s->rip);
		break;
	case ORDER_RESETS:
		return s->start ? s->plain : anew(ORDER_AT);
	case ORDER_INIT:
		return anew(0xfff0);
	case ORDER_STARTUP:
		return s->start ? anew(0) : o;
	default:
		break;
	}
	return o;
}
