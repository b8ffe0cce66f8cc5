/* SPDX-License-Identifier: Apache-2.0 */
/* A guest that does anything, under a VMM that answers anything. */
#include "abi.h"

#include <string.h>

#include "cpu/x86.h"

/* ---- The guest's state --------------------------------------------------------------------------------- */

static void change_mode(struct world *w)
{
	struct x86vcpu_state state = {.size = sizeof(state)};
	const uint8_t how = in_8(w->in);

	fuzz_check(!x86vcpu_get_state(w->vcpu[0], X86VCPU_STATE_ALL, &state), "get_state");
	world_state(how % WORLD_MODES, how >> 3 & 3, &state);
	if (how & 0x20)
		state.rflags |= RFLAGS_IF;
	if (how & 0x40)
		state.rflags |= RFLAGS_TF;
	if (how & 0x80)
		state.cr0 |= CR0_AM;
	world_check_status(x86vcpu_set_state(w->vcpu[0], X86VCPU_STATE_ALL, &state), "set_state");
}

/* Eight bytes anywhere in the state become something else; what set_state takes, a VM entry must take. */
static void change_state(struct world *w)
{
	struct x86vcpu_state state = {.size = sizeof(state)};
	const uint64_t mask = in_8(w->in) & X86VCPU_STATE_ALL;
	const unsigned changes = in_8(w->in) & 3;

	fuzz_check(!x86vcpu_get_state(w->vcpu[0], X86VCPU_STATE_ALL, &state), "get_state");
	for (unsigned i = 0; i <= changes; i++) {
		const uint8_t where = in_8(w->in);
		const uint64_t value = in_value(w->in);

		if (where < sizeof(state) / 8 - 1)
			memcpy((uint64_t *)&state + 1 + where, &value, sizeof(value));
	}
	world_check_status(x86vcpu_set_state(w->vcpu[0], mask, &state), "set_state");
}

/* As the guest may do it without an exit. */
static void change_natively(struct world *w)
{
	/* Where a page, a memory region or the address space ends. */
	static const uint64_t places[] = {WORLD_FAR + WORLD_FAR_SIZE - 3, 0x1fffc, 0x3fffe, WORLD_CODE + 0xffd, 0x27fff,
					  0xfffffffe, UINT64_C(0x7ffffffffffe), WORLD_FAR + WORLD_FAR_SIZE};
	const uint8_t which = in_8(w->in);

	if (which >= 0x70 && which < 0x80)
		w->rip = places[which & 7];
	else if (which < 0x80)
		model_guest_sets(w->m, which & 15, in_value(w->in));
	else
		w->shadow = which & 1 && w->backend == MODEL_VMX ? 2 : 1;
}

static void write_memory(struct world *w)
{
	static const uint64_t places[] = {WORLD_CODE, WORLD_CODE + 0xff0, WORLD_PML4, WORLD_PDPT, WORLD_PAE_PDPT,
					  WORLD_PD, WORLD_PD32, 0x1fff8, 0x3fff0};
	const uint8_t where = in_8(w->in), count = in_8(w->in) % 24;
	uint8_t bytes[24];

	for (unsigned i = 0; i < count; i++)
		bytes[i] = in_8(w->in);
	world_write(w, where < 0x80 ? places[where % (sizeof(places) / sizeof(places[0]))] + where / 9 * 8 : in_value(w->in),
		    bytes, count);
}

/* ---- Events and the like ------------------------------------------------------------------------------- */

static void change_events(struct world *w)
{
	struct x86vcpu_events events = {.size = sizeof(events)};

	if (x86vcpu_get_events(w->vcpu[0], &events))
		return;
	for (unsigned i = in_8(w->in) & 3; i; i--) {
		const uint8_t where = in_8(w->in) % (sizeof(events) / 4 - 1);

		((uint32_t *)&events)[1 + where] = (uint32_t)in_value(w->in);
	}
	world_check_status(x86vcpu_set_events(w->vcpu[0], &events), "set_events");
}

static void bind(struct world *w)
{
	const int32_t status = x86vcpu_bind(w->vcpu[0]);

	world_check_status(status, "bind");
	if (!status)
		w->home[0] = w->cpu;
}

static void migrate(struct world *w)
{
	const uint32_t cpu = in_8(w->in) % MODEL_CPUS;

	fuzz_check(!x86vcpu_unbind(w->vcpu[0]), "unbind");
	w->home[0] = MODEL_CPUS;
	if (!world_enable(w, cpu))
		world_use(w, 0);
	bind(w);
}

static void something_happens(struct world *w)
{
	struct x86vcpu *vcpu = w->vcpu[0];
	const uint8_t what = in_8(w->in);
	uint32_t vector;

	fuzz_tell("event %u", what % 9);
	switch (what % 9) {
	case 0:
		world_check_status(x86vcpu_inject_interrupt_with_trigger(vcpu, in_8(w->in), what >> 7), "inject_interrupt");
		break;
	case 1:
		world_check_status(x86vcpu_inject_nmi(vcpu), "inject_nmi");
		break;
	case 2:
		vector = in_8(w->in) & 31;
		world_check_status(x86vcpu_inject_exception(vcpu, vector, what >> 7, in_32(w->in)), "inject_exception");
		break;
	case 3:
		world_check_status(x86vcpu_request_exit(vcpu), "request_exit");
		break;
	case 4:
		model_nested_changed(w->m);
		world_check_status(x86vcpu_flush_nested(vcpu), "flush_nested");
		break;
	case 5:
		world_check_status(x86vcpu_set_lint(vcpu, what >> 6 & 1, what >> 7), "set_lint");
		break;
	case 6:
		world_pass(w, in_value(w->in) >> 16);
		break;
	case 7:
		change_events(w);
		break;
	default:
		migrate(w);
	}
}

static void look(struct world *w)
{
	static struct snapshot first, again;
	const unsigned turns = w->turns;

	snapshot_take(w, w->vcpu[0], &first);
	snapshot_take(w, w->vcpu[0], &again);
	if (w->turns == turns)
		snapshot_compare(&first, &again, "looking");
}

/* Only the set-up helps a vCPU that has shut down. */
static void set_up_again(struct world *w)
{
	struct x86vcpu_setup_config config;

	fuzz_check(!x86vcpu_unbind(w->vcpu[0]), "unbind");
	w->home[0] = MODEL_CPUS;
	world_setup_config(w, 0, &config);
	fuzz_check(!x86vcpu_setup(w->vcpu[0], &config), "setup");
	bind(w);
	w->nonsense = false;
}

/* Hostile, or one that promises to leave the guest's context alone. */
static void change_host(struct world *w, uint8_t what)
{
	if (what < 0xff) {
		world_turn_hostile(w);
		return;
	}
	w->kept = !w->kept;
	set_up_again(w);
}

/* ---- The program --------------------------------------------------------------------------------------- */

static void step(struct world *w)
{
	const uint8_t what = in_8(w->in);

	fuzz_tell("step %u", what >= 0xfc ? what : what % 12);
	if (what >= 0xfc) {
		change_host(w, what);
		return;
	}
	switch (what % 12) {
	case 0:
		change_mode(w);
		break;
	case 1:
		change_state(w);
		break;
	case 2:
		change_natively(w);
		break;
	case 3:
		write_memory(w);
		break;
	case 4:
		something_happens(w);
		break;
	case 5:
		look(w);
		break;
	case 6:
		vmm_answers(w, 0);
		break;
	case 7:
	case 8:
		guest_does_something(w, false);
		world_run(w, 0);
		break;
	default:
		guest_does_something(w, true);
		world_run(w, 0);
	}
	world_check(w, "a step");
	if (w->status == X86VCPU_ERR_BAD_STATE)
		set_up_again(w);
	w->status = 0;
}

#define MOST_STEPS 64

void fuzz_exits(struct input *in, enum model_backend backend)
{
	const uint32_t features = MODEL_ALL ^ (in_32(in) & (MODEL_ALL | MODEL_ODD_HOST | MODEL_VARIANTS)), flags = in_16(in);
	struct world *w = world_begin(in, backend, features, flags);

	struct abi a = {.w = w};

	w->abi = &a;
	w->keep_objects = true;
	if (world_add(w, 0, 0))
		for (unsigned i = 0; in_more(in) && i < MOST_STEPS && w->home[0] < MODEL_CPUS; i++)
			step(w);
	abi_end(&a);
	world_end(w);
}
