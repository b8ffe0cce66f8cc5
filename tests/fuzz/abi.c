/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every function of c/include/x86vcpu, in any order, from any CPU, with arguments of any kind: what a caller may do
 * wrong but for pointers to nothing. A call that is refused has changed nothing.
 */
#include "abi.h"

#include <string.h>

#include "cpu/x86.h"

/* ---- The vCPU of a call -------------------------------------------------------------------------------- */

uint32_t abi_pick(struct abi *a)
{
	const uint32_t n = in_8(a->w->in) % (WORLD_VCPUS * 2);

	/* More often one that there is. */
	return n < WORLD_VCPUS ? n : 0;
}

static bool is_here(const struct abi *a, uint32_t n)
{
	return a->w->vcpu[n] && a->w->home[n] == a->w->cpu;
}

/* ---- Calls that make and end objects ------------------------------------------------------------------- */

int32_t abi_percpu(struct abi *a, uint8_t how)
{
	struct world *w = a->w;
	const uint32_t n = how >> 4 & 3;
	struct x86vcpu_percpu **percpu = &w->percpu[n], *new = NULL;
	struct x86vcpu_host_ops old = w->ops;
	int32_t status;

	switch (how & 7) {
	case 0:
		if (*percpu)
			return x86vcpu_percpu_create(&w->ops, w, n, NULL);
		if (!(how & 0x80)) {
			status = x86vcpu_percpu_create(&w->ops, w, n, &new);
			/* A host op may have made it meanwhile. */
			if (*percpu)
				fuzz_check(!x86vcpu_percpu_destroy(new), "destroy");
			else
				*percpu = new;
			return status;
		}
		((uint32_t *)&old)[how >> 3 & 1]--;
		status = x86vcpu_percpu_create(&old, w, n, percpu);
		fuzz_check(status == X86VCPU_ERR_ABI_MISMATCH, "an old table is answered with %d", status);
		return status;
	case 1:
		status = x86vcpu_percpu_destroy(*percpu);
		if (!status)
			*percpu = NULL;
		return status;
	case 2:
		return x86vcpu_percpu_disable(*percpu);
	default:
		return x86vcpu_percpu_enable(*percpu);
	}
}

static void break_ops(struct input *in, struct x86vcpu_host_ops *ops)
{
	void (**slots)(void) = (void (**)(void))&ops->alloc_frame;
	const unsigned count = (sizeof(*ops) - offsetof(struct x86vcpu_host_ops, alloc_frame)) / sizeof(*slots);

	slots[in_8(in) % count] = NULL;
}

static int32_t create_machine(struct abi *a, uint8_t how)
{
	struct world *w = a->w;
	struct x86vcpu_host_ops broken = w->ops;
	struct x86vcpu_machine_config config = {.size = sizeof(config)};
	struct x86vcpu_machine *out = NULL;
	int32_t status;

	if (how & 4)
		config.size = in_8(w->in) % sizeof(config);
	if (how & 8)
		config.flags = (uint32_t)in_value(w->in);
	if (how & 16)
		break_ops(w->in, &broken);
	status = x86vcpu_machine_create(&broken, w, how & 2 ? NULL : &config, how & 1 ? NULL : &out);
	fuzz_check(!status == !!out, "machine_create answers %d", status);
	fuzz_check(!x86vcpu_machine_destroy(out), "machine_destroy");
	return status;
}

static int32_t destroy_machine(struct abi *a, uint8_t how)
{
	struct x86vcpu_machine **machine = &a->w->machine[how % WORLD_VMS];
	const int32_t status = x86vcpu_machine_destroy(*machine);

	if (!status)
		*machine = NULL;
	return status;
}

int32_t abi_create(struct abi *a, uint8_t how)
{
	struct world *w = a->w;
	const uint32_t n = in_8(w->in) % WORLD_VCPUS;
	struct x86vcpu_create_config config = {.size = sizeof(config), .vcpu_id = n, .opaque = (void *)(uintptr_t)n};
	struct x86vcpu_machine *machine;
	struct x86vcpu *out = NULL;
	int32_t status;

	if (how & 8)
		return how & 0x80 ? destroy_machine(a, how) : create_machine(a, how);
	machine = world_machine(w, how & 1 ? in_8(w->in) % WORLD_VMS : 0);
	if (how & 2)
		config.vcpu_id = (uint32_t)in_value(w->in);
	if (how & 4)
		config.size = (uint32_t)in_value(w->in) % sizeof(config);
	if (w->vcpu[n])
		return x86vcpu_create(machine, &config, NULL);
	status = x86vcpu_create(machine, how & 16 ? NULL : &config, &out);
	fuzz_check(!status == !!out, "create answers %d", status);
	/* A host op may have made one meanwhile. */
	if (!status && (w->vcpu[n]))
		world_check_status(x86vcpu_destroy(out), "destroy");
	else if (!status)
		w->vcpu[n] = out;
	return status;
}

int32_t abi_destroy(struct abi *a, uint32_t n)
{
	const int32_t status = x86vcpu_destroy(a->w->vcpu[n]);

	if (status)
		return status;
	fuzz_check(a->w->home[n] == MODEL_CPUS, "a bound vCPU is destroyed");
	a->w->vcpu[n] = NULL;
	return 0;
}

/* Counts beyond what is allowed have no entries behind them; those within have. */
static void break_config(struct input *in, struct x86vcpu_setup_config *config)
{
	static struct x86vcpu_port_range ports[X86VCPU_MAX_PORT_RANGES];
	static struct x86vcpu_mmio_range mmio[X86VCPU_MAX_MMIO_RANGES];
	static struct x86vcpu_msr_range msrs[X86VCPU_MAX_MSR_RANGES];
	const uint8_t what = in_8(in);
	unsigned at;

	switch (what % 10) {
	case 0:
		config->port_count = X86VCPU_MAX_PORT_RANGES + 1 + in_32(in) / 2;
		break;
	case 1:
		config->mmio_count = X86VCPU_MAX_MMIO_RANGES + 1 + in_32(in) / 2;
		break;
	case 2:
		config->memory_count = X86VCPU_MAX_MEMORY_REGIONS + 1 + in_32(in) / 2;
		break;
	case 3:
		config->msr_count = X86VCPU_MAX_MSR_RANGES + 1 + in_32(in) / 2;
		break;
	case 4:
		config->ports = ports;
		config->port_count = in_8(in) % (X86VCPU_MAX_PORT_RANGES + 1);
		at = in_8(in) % X86VCPU_MAX_PORT_RANGES;
		ports[at].base = in_16(in);
		ports[at].length = in_16(in);
		break;
	case 5:
		config->mmio = mmio;
		config->mmio_count = in_16(in) % (X86VCPU_MAX_MMIO_RANGES + 1);
		for (unsigned i = 0; i < config->mmio_count; i++)
			mmio[i].size = mmio[i].size ? mmio[i].size : 1;
		at = in_8(in);
		mmio[at].base = in_value(in);
		mmio[at].size = in_value(in);
		break;
	case 6:
		config->msrs = what & 0x80 ? NULL : msrs;
		config->msr_count = in_8(in) % (X86VCPU_MAX_MSR_RANGES + 1);
		at = in_8(in) % X86VCPU_MAX_MSR_RANGES;
		msrs[at].first = in_32(in);
		msrs[at].last = in_32(in);
		break;
	case 7:
		config->start = (uint32_t)in_value(in);
		config->flags = (uint32_t)in_value(in);
		break;
	case 8:
		config->size = (uint32_t)in_value(in);
		break;
	default:
		config->time_slice_ns = in_value(in);
	}
}

int32_t abi_setup(struct abi *a, uint32_t n, uint8_t how)
{
	struct world *w = a->w;
	struct x86vcpu_setup_config config;

	/* The memory regions have been written to. */
	if (w->depth)
		how &= (uint8_t)~8;

	if (how & 1)
		return x86vcpu_set_entry(w->vcpu[n], how & 2 ? WORLD_CODE : in_value(w->in));
	if (how & 2) {
		struct x86vcpu_nested_paging paging = {.root_hpa = w->root};

		if (how & 4) {
			paging.root_hpa |= in_value(w->in) & 0xffffff0000000fff;
			paging.levels = in_8(w->in);
			paging.gpa_bits = in_8(w->in);
			paging.mode = in_8(w->in);
		}
		return x86vcpu_set_nested_page_table(w->vcpu[n], how & 8 ? NULL : &paging);
	}
	world_setup_config(w, n, &config);
	if (how & 4)
		break_config(w->in, &config);
	/* Then it has no memory regions, and no other will. */
	if (how & 8)
		w->flags |= WORLD_NO_MEMORY;
	if (how & 0x10)
		config.flags |= X86VCPU_SETUP_KEEP_CONTEXT;
	if (how & 0x10)
		w->kept = true;
	return x86vcpu_setup(w->vcpu[n], how & 8 ? NULL : &config);
}

int32_t abi_bind(struct abi *a, uint32_t n, uint8_t how)
{
	struct world *w = a->w;
	int32_t status;

	if (how & 1) {
		status = x86vcpu_unbind(w->vcpu[n]);
		fuzz_check(status || is_here(a, n), "unbind of what is not bound here");
		if (!status)
			w->home[n] = MODEL_CPUS;
		return status;
	}
	status = x86vcpu_bind(w->vcpu[n]);
	if (!status) {
		fuzz_check(w->home[n] == MODEL_CPUS, "bound twice");
		w->home[n] = w->cpu;
	}
	return status;
}

int32_t abi_run(struct abi *a, uint32_t n, uint8_t how)
{
	struct world *w = a->w;

	/* Of another vCPU it succeeds where the host's context is back. */
	if (w->depth) {
		struct x86vcpu_exit exit;

		return x86vcpu_run(w->vcpu[n], &exit);
	}
	if (!is_here(a, n) || how & 8) {
		struct x86vcpu_exit exit;
		int32_t status;

		/* With interrupts on it is refused. */
		model_set_if(how & 8 ? 1 : 0);
		status = x86vcpu_run(w->vcpu[n], how & 16 ? NULL : &exit);
		model_set_if(0);
		fuzz_check(status == X86VCPU_ERR_BAD_STATE || status == X86VCPU_ERR_INVALID_INPUT, "run answers %d", status);
		return status;
	}
	w->acting = n;
	guest_does_something(w, how & 1);
	world_run(w, n);
	return w->status;
}

/* ---- A step -------------------------------------------------------------------------------------------- */

/* What must still be so after a refusal. */
uint32_t abi_number(uint8_t byte)
{
	return byte < ABI_LATER ? byte % ABI_CALLS : ABI_CALLS + (byte - ABI_LATER) % ABI_LATER_CALLS;
}

/* The host's code stays on its CPU. */
static bool may_reenter(const struct abi *a, uint32_t call)
{
	return call && (!a->w->keep_objects || call >= 11 || (call >= 3 && call <= 5));
}

void abi_reenter(struct abi *a, uint8_t byte, uint8_t how)
{
	const uint32_t call = abi_number(byte);

	if (!may_reenter(a, call))
		return;
	fuzz_tell("  from a host op: call %u, how %02x", call, how);
	world_check_status(abi_call(a, call, how), "a call from a host op");
}

static bool remember(struct abi *a, struct snapshot *s)
{
	for (uint32_t n = 0; n < WORLD_VCPUS; n++) {
		if (!is_here(a, n))
			continue;
		a->watched = n;
		snapshot_take(a->w, a->w->vcpu[n], s);
		return true;
	}
	return false;
}

static void compare(struct abi *a, const struct snapshot *before, uint32_t call)
{
	static struct snapshot after;
	const unsigned turns = a->w->turns;
	char what[32];

	if (!is_here(a, a->watched))
		return;
	snprintf(what, sizeof(what), "call %u, refused,", call);
	snapshot_take(a->w, a->w->vcpu[a->watched], &after);
	if (a->w->turns == turns)
		snapshot_compare(before, &after, what);
}

static void step(struct abi *a)
{
	static struct snapshot before;
	struct world *w = a->w;
	const uint8_t byte = in_8(w->in), how = in_8(w->in);
	const uint32_t call = abi_number(byte);
	const bool watched = !(how & 0x40) && remember(a, &before);
	const unsigned turns = w->turns;
	int32_t status;

	fuzz_tell("call %u, how %02x, on CPU %u", call, how, w->cpu);
	if (in_more(w->in) && how >= 0xf0)
		model_fail_allocation(w->m, in_8(w->in) % 24);
	status = abi_call(a, call, how);
	model_fail_allocation(w->m, UINT32_MAX);
	fuzz_tell("  %d", status);
	world_check_status(status, "a call");
	world_check(w, "a call");
	if (status && watched && !a->ran && w->turns == turns)
		compare(a, &before, call);
	a->ran = false;
}

#define MOST_STEPS 48

void fuzz_abi(struct input *in, enum model_backend backend)
{
	const uint32_t features = MODEL_ALL ^ (in_32(in) & (MODEL_ALL | MODEL_ODD_HOST | MODEL_VARIANTS)), flags = in_16(in);
	struct abi a = {.w = world_begin(in, backend, features, flags)};

	a.w->abi = &a;
	/* Half of the inputs begin where others would have to find the way to. */
	if (flags & 1)
		world_add(a.w, 0, 0);
	for (unsigned i = 0; in_more(in) && i < MOST_STEPS; i++)
		step(&a);
	abi_end(&a);
	world_end(a.w);
}
