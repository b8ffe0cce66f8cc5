/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One to four vCPUs of one machine, each on a CPU of its own: what their guests do to their local APICs by MSR and by
 * memory access, what they send each other, messages and pins from outside, timers under a clock that moves on.
 */
#include "abi.h"

#include <stddef.h>
#include <string.h>

#include "cpu/x86.h"
#include "x86vcpu/msr.h"

#define APIC_PAGE UINT64_C(0xfee00000)

struct machine {
	struct world *w;
	uint32_t count, current;
};

static struct x86vcpu *current(const struct machine *m)
{
	return m->w->vcpu[m->current];
}

static void choose(struct machine *m, uint32_t n)
{
	m->current = n % m->count;
	m->w->acting = m->current;
	world_use(m->w, m->current);
}

/* ---- What a guest does --------------------------------------------------------------------------------- */

static void run(struct machine *m, const struct model_op *op)
{
	fuzz_tell("vCPU %u: op %u: %llx %llx", m->current, op->kind, (unsigned long long)op->a, (unsigned long long)op->b);
	model_guest_does(m->w->m, op);
	model_guest_source(m->w->m, NULL, NULL);
	world_run(m->w, m->current);
}

/* As a local vector or an interrupt command has it, or anything. */
static uint64_t register_value(struct input *in)
{
	const uint8_t how = in_8(in), vector = in_8(in);

	if (how & 0x80)
		return in_value(in);
	/* Vector, delivery mode, logical, level, trigger; masked or periodic, TSC-deadline or a shorthand; destination. */
	return vector | (how & 7u) << 8 | (how & 8u) << 8 | (how & 0x10u) << 10 | (how & 0x20u) << 10 |
	       (how >> 6 & 1 ? in_8(in) & 7u : 0) << 16 | (uint64_t)(how & 3) << 32;
}

static uint32_t choose_msr(struct input *in)
{
	static const uint8_t registers[] = {0x08, 0x0b, 0x0d, 0x0f, 0x28, 0x2f, 0x30, 0x32, 0x35, 0x36, 0x37, 0x38, 0x3e, 0x3f};
	const uint8_t which = in_8(in);

	if (which < 0xa0)
		return 0x800u + registers[which % sizeof(registers)];
	if (which < 0xe0)
		return 0x800u + which % 0x40;
	return which < 0xe8 ? X86VCPU_MSR_IA32_APIC_BASE : X86VCPU_MSR_IA32_TSC_DEADLINE;
}

static void access_msr(struct machine *m, bool write)
{
	const uint32_t msr = choose_msr(m->w->in);
	const uint64_t value = write ? register_value(m->w->in) : 0;

	model_guest_sets(m->w->m, MODEL_RCX, msr);
	model_guest_sets(m->w->m, MODEL_RAX, (uint32_t)value);
	model_guest_sets(m->w->m, MODEL_RDX, value >> 32);
	fuzz_tell("MSR %x: %llx", msr, (unsigned long long)value);
	run(m, &(struct model_op){.kind = write ? MODEL_OP_WRMSR : MODEL_OP_RDMSR, .length = 2});
}

/* An instruction with a memory operand at RBX; with a register, an immediate, or both ways. */
static void access_page(struct machine *m, bool write)
{
	static const uint8_t code[][8] = {
		{0x8b, 0x03}, {0x89, 0x03}, {0xc7, 0x03, 0x10, 0x20, 0x30, 0x40}, {0x0f, 0xb6, 0x03}, {0x87, 0x03},
		{0x83, 0x0b, 0x01}, {0xf7, 0x03, 0xff, 0x00, 0x00, 0x00}, {0xff, 0x03}, {0x88, 0x03}, {0x48, 0x8b, 0x03},
		{0x66, 0x89, 0x03}, {0x48, 0x89, 0x03},
	};
	struct input *in = m->w->in;
	const uint8_t where = in_8(in), which = in_8(in);
	const uint64_t value = register_value(in);
	/* Registers stand 16 bytes apart; some accesses are not at one. */
	const uint64_t address = APIC_PAGE + (where < 0xc0 ? where % 0x40 * 16u : value & 0xfff);

	world_write(m->w, WORLD_CODE, code[which % (sizeof(code) / sizeof(code[0]))], 8);
	model_guest_sets(m->w->m, MODEL_RBX, address);
	model_guest_sets(m->w->m, MODEL_RAX, value);
	model_guest_sets(m->w->m, MODEL_RIP, WORLD_CODE);
	run(m, &(struct model_op){.kind = MODEL_OP_MMIO, .a = address, .b = write, .c = address});
}

static void other_op(struct machine *m)
{
	static const uint8_t kinds[] = {MODEL_OP_NONE, MODEL_OP_HLT, MODEL_OP_MOV_TO_CR, MODEL_OP_MOV_FROM_CR,
					MODEL_OP_CPUID, MODEL_OP_TIMER, MODEL_OP_INTERRUPT, MODEL_OP_CUT_SHORT};
	const uint8_t which = in_8(m->w->in), reg = in_8(m->w->in) & 15;
	const struct model_op op = {.kind = kinds[which % sizeof(kinds)], .length = 3, .a = 8, .b = reg};

	run(m, &op);
}

static void set_flags(struct machine *m)
{
	struct x86vcpu_state state = {.size = sizeof(state)};

	if (x86vcpu_get_state(current(m), X86VCPU_STATE_RIP, &state))
		return;
	state.rflags ^= RFLAGS_IF;
	world_check_status(x86vcpu_set_state(current(m), X86VCPU_STATE_RIP, &state), "set_state");
}

/* ---- From outside -------------------------------------------------------------------------------------- */

static void deliver(struct machine *m)
{
	struct input *in = m->w->in;
	const uint8_t how = in_8(in);
	struct x86vcpu_message message = {.size = sizeof(message), .logical = how >> 3 & 1, .delivery = how >> 4 & 7};
	uint64_t accepted = 0;
	int32_t status;

	message.destination = how & 0x80 ? (uint32_t)in_value(in) : 1u << (how & 7) >> 1;
	message.vector = in_8(in);
	message.level = in_8(in) & 1;
	status = x86vcpu_machine_deliver_message(m->w->machine[0], &message, &accepted);
	world_check_status(status, "deliver_message");
	fuzz_check(!(accepted >> m->count), "accepted by %llx of %u", (unsigned long long)accepted, m->count);
	fuzz_check(!status || !accepted, "refused, and accepted by %llx", (unsigned long long)accepted);
}

/* What send_interrupt was told. */
static void deliver_sent(struct world *w)
{
	while (w->sent_count) {
		const uint32_t sent = w->sent[--w->sent_count];

		if (sent >> 8 < WORLD_VCPUS && w->vcpu[sent >> 8])
			world_check_status(x86vcpu_inject_interrupt(w->vcpu[sent >> 8], sent & 0xff), "inject_interrupt");
	}
}

static void end_interrupt(struct machine *m)
{
	int32_t vector = -2;

	world_check_status(x86vcpu_handle_eoi(current(m), &vector), "handle_eoi");
	fuzz_check(vector == -1 || (vector >= 16 && vector < 256), "the end of %d", vector);
}

static void look_at_timer(struct machine *m)
{
	uint64_t deadline;

	fuzz_check(!x86vcpu_timer_deadline(current(m), &deadline), "timer_deadline");
}

/* ---- Its state ----------------------------------------------------------------------------------------- */

static bool get_apic(struct machine *m, struct x86vcpu_apic_state *apic)
{
	memset(apic, 0xa5, sizeof(*apic));
	apic->size = sizeof(*apic);
	if (x86vcpu_get_apic(current(m), apic))
		return false;
	world_check_secret(m->w, apic, sizeof(*apic), "get_apic");
	return true;
}

/* Where the library has the TSC for a clock, time goes on, and what a timer does with it. */
static bool is_timed(const struct machine *m, const struct x86vcpu_apic_state *apic)
{
	return apic->tsc_deadline || m->w->flags & WORLD_NO_CLOCK;
}

static void compare(const struct x86vcpu_apic_state *before, const struct x86vcpu_apic_state *after, const char *what)
{
	const uint32_t *old = (const uint32_t *)before, *new = (const uint32_t *)after;

	for (size_t i = 0; i < sizeof(*before) / 4; i++)
		fuzz_check(old[i] == new[i] || i / 2 == offsetof(struct x86vcpu_apic_state, timer_remaining) / 8 ||
				   i == offsetof(struct x86vcpu_apic_state, registers[0x39]) / 4,
			   "%s word %zu: %x became %x", what, i, old[i], new[i]);
}

/* Nothing that is kept is lost, and what one has another takes. */
static void copy_apic(struct machine *m)
{
	const unsigned turns = m->w->turns;
	struct x86vcpu_apic_state before, after;
	int32_t status;

	if (!get_apic(m, &before))
		return;
	status = x86vcpu_set_apic(current(m), &before);
	fuzz_check(!status || m->w->turns != turns, "set_apic refuses what get_apic gave");
	fuzz_check(get_apic(m, &after), "get_apic");
	if (is_timed(m, &before) || m->w->turns != turns)
		return;
	compare(&before, &after, "get_apic, set_apic:");
}

static void change_apic(struct machine *m)
{
	const unsigned turns = m->w->turns;
	struct x86vcpu_apic_state apic, before, after;
	int32_t status;

	if (!get_apic(m, &apic))
		return;
	before = apic;
	for (unsigned i = in_8(m->w->in) & 3; i; i--) {
		const size_t at = in_8(m->w->in) % (sizeof(apic) / 4 - 1);

		((uint32_t *)&apic)[1 + at] = (uint32_t)in_value(m->w->in);
	}
	status = x86vcpu_set_apic(current(m), &apic);
	world_check_status(status, "set_apic");
	if (!status || is_timed(m, &before))
		return;
	get_apic(m, &after);
	if (m->w->turns == turns)
		compare(&before, &after, "set_apic refused, and");
}

/* ---- The program --------------------------------------------------------------------------------------- */

static void outside(struct machine *m, uint8_t what)
{
	struct input *in = m->w->in;
	uint8_t number;

	switch (what) {
	case 0:
		deliver(m);
		break;
	case 1:
		number = in_8(in);
		world_check_status(x86vcpu_inject_interrupt_with_trigger(current(m), number, in_8(in) & 1), "inject");
		break;
	case 2:
		number = in_8(in);
		world_check_status(x86vcpu_set_lint(current(m), number & 1, number >> 1 & 1), "set_lint");
		break;
	case 3:
		world_pass(m->w, in_8(in) & 1 ? in_8(in) * UINT64_C(1000) : in_value(in) >> 8);
		break;
	case 4:
		end_interrupt(m);
		break;
	case 5:
		look_at_timer(m);
		break;
	case 6:
		change_apic(m);
		break;
	case 7:
		set_flags(m);
		break;
	case 8:
		m->w->refuse_cancel ^= 1;
		break;
	default:
		vmm_answers(m->w, m->current);
	}
}

static void step(struct machine *m)
{
	const uint8_t what = in_8(m->w->in);

	if (what >= 0xfd) {
		world_turn_hostile(m->w);
		return;
	}
	choose(m, what >> 6);
	switch (what % 21) {
	case 0 ... 9:
		outside(m, what % 21);
		break;
	case 10:
		copy_apic(m);
		break;
	case 11:
	case 12:
		other_op(m);
		break;
	case 13:
	case 14:
		access_msr(m, false);
		break;
	case 15:
	case 16:
	case 17:
		access_msr(m, true);
		break;
	default:
		access_page(m, what & 1);
	}
	deliver_sent(m->w);
	world_check(m->w, "a step");
}

/* An APIC that software has enabled, in either mode, with its local vectors in use. */
static void enable_apic(struct machine *m, uint8_t how)
{
	struct x86vcpu_apic_state apic;

	if (!get_apic(m, &apic))
		return;
	if (how & 0x10)
		apic.base |= 0x400;
	else
		apic.registers[0x0d] = 1u << (24 + m->current);
	apic.registers[0x0f] = 0x1ff;
	for (unsigned i = 0x32; i <= 0x37; i++)
		apic.registers[i] = how & 0x20 ? 0x20u + i : i == 0x36 ? 0x400 : 0x10000;
	world_check_status(x86vcpu_set_apic(current(m), &apic), "set_apic");
}

/* 32-bit mode without paging: the guest's page is at the same address. */
static void begin(struct machine *m, uint8_t how)
{
	struct x86vcpu_state state = {.size = sizeof(state)};

	if (x86vcpu_get_state(current(m), X86VCPU_STATE_ALL, &state))
		return;
	world_state(WORLD_PROTECTED32, 0, &state);
	state.rflags |= RFLAGS_IF;
	fuzz_check(!x86vcpu_set_state(current(m), X86VCPU_STATE_ALL, &state), "set_state");
	if (how & 8)
		enable_apic(m, how);
}

#define MOST_STEPS 128

void fuzz_lapic(struct input *in, enum model_backend backend)
{
	const uint32_t features = MODEL_ALL ^ (in_32(in) & (MODEL_ALL | MODEL_ODD_HOST | MODEL_VARIANTS)), flags = in_16(in);
	const uint8_t how = in_8(in);
	struct machine m = {.w = world_begin(in, backend, features, flags & ~(uint32_t)WORLD_NO_APIC)};
	struct abi a = {.w = m.w};
	bool ready = true;

	m.w->abi = &a;
	m.w->keep_objects = true;
	for (m.count = 0; m.count <= (how & 3) && ready; m.count++)
		ready = world_add(m.w, m.count, m.count);
	for (uint32_t n = 0; n < m.count && ready; n++) {
		choose(&m, n);
		begin(&m, how);
	}
	for (unsigned i = 0; ready && in_more(in) && i < MOST_STEPS; i++)
		step(&m);
	abi_end(&a);
	world_end(m.w);
}
