/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a vCPU. Everything that depends on the order of calls, on the CPU that makes them and on
 * the caller's arguments is refused here; a backend sees only what it can do.
 */
#include "vcpu/vcpu.h"

#include "cpu/address.h"
#include "cpu/insn.h"
#include "cpu/libc.h"
#include "cpu/x86.h"
#include "emul/debug.h"
#include "emul/host_mode.h"
#include "emul/mmio.h"
#include "emul/pio.h"
#include "emul/reset.h"
#include "vcpu/copy.h"
#include "vcpu/host_ops.h"
#include "vcpu/machine.h"
#include "x86vcpu/apic.h"
#include "x86vcpu/status.h"

#define PAGE_BYTES UINT64_C(4096)
#define MAX_VCPU_ID 63u
#define SETUP_FLAGS (X86VCPU_SETUP_NO_LOCAL_APIC | X86VCPU_SETUP_KEEP_CONTEXT | X86VCPU_SETUP_FPU_ERROR_EXITS)
#define DEFAULT_SLICE_NS UINT64_C(1000000)

/* ---- Create and destroy ----------------------------------------------------------------------------- */

static void free_vcpu(struct x86vcpu *vcpu)
{
	const struct x86vcpu_host_ops *ops = vcpu->ops;
	void *ctx = vcpu->ctx;

	if (vcpu->guest_hpa)
		free_frames(ops, ctx, vcpu->guest_hpa, vcpu->backend->guest_bytes);
	free_frames(ops, ctx, vcpu->hpa, sizeof(*vcpu));
}

static int32_t create_guest(struct x86vcpu *vcpu, const struct x86vcpu_create_config *config)
{
	struct guest *g;
	int32_t status;

	g = alloc_zeroed(vcpu->ops, vcpu->ctx, vcpu->backend->guest_bytes, &vcpu->guest_hpa);
	if (!g)
		return X86VCPU_ERR_NO_MEMORY;
	g->host = vcpu->ops;
	g->ctx = vcpu->ctx;
	g->machine = vcpu->machine;
	g->vcpu_id = config->vcpu_id;
	g->machine_opaque = vcpu->machine->opaque;
	g->opaque = config->opaque;
	g->events.run_state = X86VCPU_OUTSIDE;
	vcpu->guest = g;
	status = lapic_create(g);
	if (status)
		return status;
	status = vcpu->backend->create(g);
	if (!status) {
		status = machine_join(g->machine, g);
		if (status)
			vcpu->backend->destroy(g);
	}
	if (status)
		lapic_destroy(g);
	return status;
}

static int32_t make(struct x86vcpu_machine *machine, const struct x86vcpu_create_config *config, struct x86vcpu **out)
{
	struct x86vcpu *vcpu;
	uint64_t hpa;
	int32_t status;

	vcpu = alloc_zeroed(&machine->ops, machine->ctx, sizeof(*vcpu), &hpa);
	if (!vcpu)
		return X86VCPU_ERR_NO_MEMORY;
	vcpu->machine = machine;
	vcpu->backend = backend_in_use();
	vcpu->ops = &machine->ops;
	vcpu->ctx = machine->ctx;
	vcpu->hpa = hpa;
	status = create_guest(vcpu, config);
	if (status) {
		free_vcpu(vcpu);
		return status;
	}
	*out = vcpu;
	return X86VCPU_OK;
}

int32_t x86vcpu_create(struct x86vcpu_machine *machine, const struct x86vcpu_create_config *config, struct x86vcpu **out)
{
	struct x86vcpu_create_config own;
	int32_t status;

	if (!out)
		return X86VCPU_ERR_INVALID_INPUT;
	*out = NULL;
	if (!machine)
		return X86VCPU_ERR_INVALID_INPUT;
	status = COPY_IN(&own, config, opaque);
	if (status)
		return status;
	if (own.vcpu_id > MAX_VCPU_ID)
		return X86VCPU_ERR_INVALID_INPUT;
	if (!backend_in_use())
		return X86VCPU_ERR_BAD_STATE;
	/* A host op may destroy vCPUs, and then the machine. */
	machine_get(machine);
	status = make(machine, &own, out);
	machine_put(machine);
	return status;
}

int32_t x86vcpu_destroy(struct x86vcpu *vcpu)
{
	struct x86vcpu_machine *machine;

	if (!vcpu)
		return X86VCPU_OK;
	if (vcpu->percpu || vcpu->held || __atomic_load_n(&vcpu->asking, __ATOMIC_ACQUIRE))
		return X86VCPU_ERR_RESOURCE_BUSY;
	/* To the end: the host ops below may call back. */
	vcpu->held = true;
	if (!lapic_timer_stop(vcpu->guest)) {
		vcpu->held = false;
		return X86VCPU_ERR_RESOURCE_BUSY;
	}
	machine = vcpu->machine;
	machine_get(machine);
	machine_leave(vcpu->guest);
	vcpu->backend->destroy(vcpu->guest);
	lapic_destroy(vcpu->guest);
	free_vcpu(vcpu);
	machine_put(machine);
	return X86VCPU_OK;
}

uint64_t x86vcpu_structure_hpa(const struct x86vcpu *vcpu)
{
	return vcpu ? vcpu->backend->structure(vcpu->guest) : 0;
}

/* ---- Configuration ------------------------------------------------------------------------------------- */

int32_t x86vcpu_set_entry(struct x86vcpu *vcpu, uint64_t entry)
{
	if (!vcpu || (entry > 0xffff && entry != UINT64_C(0xfffffff0)))
		return X86VCPU_ERR_INVALID_INPUT;
	if (vcpu->held)
		return X86VCPU_ERR_BAD_STATE;
	vcpu->entry = entry;
	vcpu->has_entry = true;
	return X86VCPU_OK;
}

/* Four levels translate 48 bits; no physical address has more than 52 (SDM 29.3.2, APM 5.3). */
static uint32_t widest_gpa(uint32_t levels)
{
	return levels == 4 ? 48 : 52;
}

static bool root_ok(uint64_t root)
{
	return root && !(root & (PAGE_BYTES - 1)) && !(root >> cpu_physical_bits());
}

int32_t x86vcpu_set_nested_page_table(struct x86vcpu *vcpu, const struct x86vcpu_nested_paging *table)
{
	uint32_t levels, gpa_bits;

	if (!vcpu || !table || !root_ok(table->root_hpa) || table->mode)
		return X86VCPU_ERR_INVALID_INPUT;
	levels = table->levels ? table->levels : 4;
	if (levels != 4 && levels != 5)
		return X86VCPU_ERR_INVALID_INPUT;
	gpa_bits = table->gpa_bits ? table->gpa_bits : widest_gpa(levels);
	if (gpa_bits < 32 || gpa_bits > widest_gpa(levels))
		return X86VCPU_ERR_INVALID_INPUT;
	if (vcpu->held)
		return X86VCPU_ERR_BAD_STATE;
	vcpu->nested_root = table->root_hpa;
	vcpu->nested_levels = levels;
	vcpu->gpa_bits = gpa_bits;
	vcpu->has_nested = true;
	return X86VCPU_OK;
}

static bool range_ok(uint64_t base, uint64_t size)
{
	return size && base + (size - 1) >= base;
}

static bool port_ranges_ok(const struct x86vcpu_port_range *ranges, uint32_t count)
{
	if (count > X86VCPU_MAX_PORT_RANGES || (count && !ranges))
		return false;
	for (uint32_t i = 0; i < count; i++)
		if (!ranges[i].length || (uint32_t)ranges[i].base + ranges[i].length > 0x10000)
			return false;
	return true;
}

static bool ports_overlap(const struct x86vcpu_port_range *a, const struct x86vcpu_port_range *b)
{
	return a->base < (uint32_t)b->base + b->length && b->base < (uint32_t)a->base + a->length;
}

static bool ports_ok(const struct x86vcpu_setup_config *config)
{
	if (!port_ranges_ok(config->ports, config->port_count) ||
	    !port_ranges_ok(config->passthrough_ports, config->passthrough_port_count))
		return false;
	for (uint32_t i = 0; i < config->port_count; i++)
		for (uint32_t k = 0; k < config->passthrough_port_count; k++)
			if (ports_overlap(&config->ports[i], &config->passthrough_ports[k]))
				return false;
	return true;
}

static bool memory_ok(const struct x86vcpu_setup_config *config)
{
	if (config->memory_count > X86VCPU_MAX_MEMORY_REGIONS || (config->memory_count && !config->memory))
		return false;
	for (uint32_t i = 0; i < config->memory_count; i++)
		if (!config->memory[i].hva || !range_ok(config->memory[i].gpa, config->memory[i].size) ||
		    config->memory[i].flags & ~X86VCPU_MEMORY_READ_ONLY)
			return false;
	return true;
}

static bool mmio_ok(const struct x86vcpu_setup_config *config)
{
	if (config->mmio_count > X86VCPU_MAX_MMIO_RANGES || (config->mmio_count && !config->mmio))
		return false;
	for (uint32_t i = 0; i < config->mmio_count; i++)
		if (!range_ok(config->mmio[i].base, config->mmio[i].size))
			return false;
	return true;
}

static bool msrs_ok(const struct x86vcpu_setup_config *config)
{
	if (config->msr_count > X86VCPU_MAX_MSR_RANGES || (config->msr_count && !config->msrs))
		return false;
	for (uint32_t i = 0; i < config->msr_count; i++)
		if (config->msrs[i].first > config->msrs[i].last)
			return false;
	return true;
}

static void copy_config(struct x86vcpu *vcpu, const struct x86vcpu_setup_config *config)
{
	struct guest *g = vcpu->guest;

	for (uint32_t i = 0; i < config->memory_count; i++)
		vcpu->memory[i] = config->memory[i];
	for (uint32_t i = 0; i < config->mmio_count; i++)
		vcpu->mmio[i] = config->mmio[i];
	for (uint32_t i = 0; i < config->msr_count; i++)
		g->msr_ranges[i] = config->msrs[i];
	g->memory = vcpu->memory;
	g->memory_count = config->memory_count;
	g->memory_last = 0;
	g->mmio = vcpu->mmio;
	g->mmio_count = config->mmio_count;
	g->mmio_last = 0;
	g->msr_range_count = config->msr_count;
}

static void host_cpuid(void *ctx, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	(void)ctx;
	insn_cpuid(leaf, subleaf, out);
}

static uint64_t host_arch_capabilities(void)
{
	struct mitigation_facts facts;

	mitigation_read_facts(&facts);
	return facts.word[MITIGATION_ARCH_CAPABILITIES];
}

static void build_cpuid(struct x86vcpu *vcpu, uint32_t flags)
{
	struct guest *g = vcpu->guest;
	struct cpuid_config config = {
		.host = host_cpuid,
		.vcpu_id = g->vcpu_id,
		.physical_bits = vcpu->gpa_bits,
		.tsc_khz = vcpu->ops->nanos_to_ticks(vcpu->ctx, 1000000),
		.apic = !(flags & X86VCPU_SETUP_NO_LOCAL_APIC),
		.tsc_deadline = true,
		.arch_capabilities = host_arch_capabilities(),
	};

	vcpu->backend->cpuid_features(g, &config);
	cpuid_attach(g, vcpu->cpuid, cpuid_build(vcpu->cpuid, VCPU_CPUID_ENTRIES, &config, &g->limits));
}

static int32_t check_setup(struct x86vcpu *vcpu, const struct x86vcpu_setup_config *config)
{
	if (!vcpu->has_entry || !vcpu->has_nested)
		return X86VCPU_ERR_INVALID_INPUT;
	if (config->size != sizeof(*config))
		return X86VCPU_ERR_ABI_MISMATCH;
	if (config->start > X86VCPU_START_WAIT_FOR_SIPI || config->flags & ~SETUP_FLAGS ||
	    (config->start && config->flags & X86VCPU_SETUP_NO_LOCAL_APIC))
		return X86VCPU_ERR_INVALID_INPUT;
	if (!ports_ok(config) || !memory_ok(config) || !mmio_ok(config) || !msrs_ok(config))
		return X86VCPU_ERR_INVALID_INPUT;
	return vcpu->percpu ? X86VCPU_ERR_RESOURCE_BUSY : X86VCPU_OK;
}

/*
 * Holds the vCPU, which is not bound, and the CPU: *percpu, or NULL if the extension is off here. BAD_STATE: one of them is
 * held already.
 */
static int32_t hold_unbound(struct x86vcpu *vcpu, struct x86vcpu_percpu **percpu)
{
	if (vcpu->held)
		return X86VCPU_ERR_BAD_STATE;
	vcpu->held = true;
	*percpu = percpu_here(vcpu->ops, vcpu->ctx);
	if (*percpu && !(*percpu)->held) {
		(*percpu)->held = true;
		return X86VCPU_OK;
	}
	vcpu->held = false;
	return X86VCPU_ERR_BAD_STATE;
}

static void release_unbound(struct x86vcpu *vcpu, struct x86vcpu_percpu *percpu)
{
	vcpu->held = false;
	percpu->held = false;
}

/* The host's context, when the CPU has kept a vCPU's. */
static __attribute__((noinline)) void unload(struct x86vcpu_percpu *percpu)
{
	struct x86vcpu *vcpu = percpu->loaded;

	if (!vcpu)
		return;
	vcpu->backend->unload(vcpu->guest);
	percpu->loaded = NULL;
}

static int32_t setup_here(struct x86vcpu *vcpu, struct x86vcpu_percpu *percpu, const struct x86vcpu_setup_config *config)
{
	struct backend_setup setup;
	int32_t status;

	vcpu->set_up = false;
	copy_config(vcpu, config);
	build_cpuid(vcpu, config->flags);
	guest_drop_open_exit(vcpu->guest);
	vcpu->guest->debug = (struct guest_debug){.flags = 0};
	vcpu->guest->events = (struct guest_events){.waits_for_sipi = config->start};
	setup = (struct backend_setup){
		.entry = vcpu->entry,
		.nested_root = vcpu->nested_root,
		.nested_levels = vcpu->nested_levels,
		.time_slice_ns = config->time_slice_ns ? config->time_slice_ns : DEFAULT_SLICE_NS,
		.passthrough_ports = config->passthrough_ports,
		.passthrough_port_count = config->passthrough_port_count,
	};
	/* It uses the CPU's VMX instructions, and leaves them without a vCPU. */
	unload(percpu);
	percpu->current = NULL;
	vcpu->guest->context.keep = config->flags & X86VCPU_SETUP_KEEP_CONTEXT;
	vcpu->guest->fpu_error_exits = config->flags & X86VCPU_SETUP_FPU_ERROR_EXITS;
	vcpu->guest->mitigation.serial = mitigation_new_serial();
	machine_start_tsc(vcpu->guest);
	status = vcpu->backend->setup(vcpu->guest, &setup);
	vcpu->set_up = !status;
	return status;
}

int32_t x86vcpu_setup(struct x86vcpu *vcpu, const struct x86vcpu_setup_config *config)
{
	static const struct x86vcpu_setup_config none = {.size = sizeof(none)};
	struct x86vcpu_percpu *percpu;
	int32_t status;

	if (!vcpu)
		return X86VCPU_ERR_INVALID_INPUT;
	if (!config)
		config = &none;
	status = check_setup(vcpu, config);
	if (!status)
		status = hold_unbound(vcpu, &percpu);
	if (status)
		return status;
	status = setup_here(vcpu, percpu, config);
	release_unbound(vcpu, percpu);
	return status;
}

/* ---- Binding ------------------------------------------------------------------------------------------- */

int32_t vcpu_enter_here(struct x86vcpu *vcpu)
{
	struct x86vcpu_percpu *percpu;
	uint32_t identity;

	if (!vcpu->percpu)
		return X86VCPU_ERR_BAD_STATE;
	/* Another CPU may ask at the same time. The host op may call back, and even unbind the vCPU. */
	__atomic_add_fetch(&vcpu->asking, 1, __ATOMIC_ACQ_REL);
	identity = cpu_identity(vcpu->ops, vcpu->ctx);
	percpu = vcpu->percpu;
	__atomic_sub_fetch(&vcpu->asking, 1, __ATOMIC_ACQ_REL);
	if (!percpu || identity != percpu->identity || vcpu->held || percpu->held)
		return X86VCPU_ERR_BAD_STATE;
	if (percpu->current != vcpu) {
		vcpu->backend->load(vcpu->guest);
		percpu->current = vcpu;
	}
	return X86VCPU_OK;
}

int32_t vcpu_enter_whole(struct x86vcpu *vcpu)
{
	const int32_t status = vcpu_enter_here(vcpu);

	if (!status && vcpu->percpu->loaded == vcpu)
		unload(vcpu->percpu);
	return status;
}

static int32_t hold(struct x86vcpu *vcpu, int32_t status)
{
	if (status)
		return status;
	vcpu->held = true;
	vcpu->percpu->held = true;
	return X86VCPU_OK;
}

int32_t vcpu_hold_here(struct x86vcpu *vcpu)
{
	return hold(vcpu, vcpu_enter_here(vcpu));
}

int32_t vcpu_hold_whole(struct x86vcpu *vcpu)
{
	return hold(vcpu, vcpu_enter_whole(vcpu));
}

void vcpu_release(struct x86vcpu *vcpu)
{
	vcpu->held = false;
	vcpu->percpu->held = false;
}

static int32_t check_host_mode(const struct x86vcpu *vcpu)
{
	struct host_mode mode;

	host_mode_read(vcpu->ops, vcpu->ctx, vcpu->backend->extension, &mode);
	return host_mode_check(vcpu->ops, vcpu->ctx, vcpu->backend->extension, &mode);
}

static int32_t bind_here(struct x86vcpu *vcpu, struct x86vcpu_percpu *percpu)
{
	int32_t status;

	/* It reads the host's. */
	unload(percpu);
	percpu->current = NULL;
	status = check_host_mode(vcpu);
	if (!status)
		status = vcpu->backend->bind(vcpu->guest, &percpu->cpu);
	if (status)
		return status;
	vcpu->percpu = percpu;
	percpu->current = vcpu;
	percpu->bound++;
	return X86VCPU_OK;
}

int32_t x86vcpu_bind(struct x86vcpu *vcpu)
{
	struct x86vcpu_percpu *percpu;
	int32_t status;

	if (!vcpu)
		return X86VCPU_ERR_INVALID_INPUT;
	if (vcpu->percpu)
		return X86VCPU_ERR_RESOURCE_BUSY;
	if (!vcpu->set_up || hold_unbound(vcpu, &percpu))
		return X86VCPU_ERR_BAD_STATE;
	status = bind_here(vcpu, percpu);
	release_unbound(vcpu, percpu);
	return status;
}

int32_t x86vcpu_unbind(struct x86vcpu *vcpu)
{
	struct x86vcpu_percpu *percpu;

	if (!vcpu)
		return X86VCPU_ERR_INVALID_INPUT;
	if (vcpu_enter_whole(vcpu))
		return X86VCPU_ERR_BAD_STATE;
	percpu = vcpu->percpu;
	vcpu->backend->unbind(vcpu->guest);
	vcpu->percpu = NULL;
	percpu->current = NULL;
	percpu->bound--;
	return X86VCPU_OK;
}

/* ---- Run ------------------------------------------------------------------------------------------------- */

/* What the VMM left open goes on as the header says. */
static void close_open(struct guest *g)
{
	if (g->open == GUEST_OPEN_MSR_READ || g->open == GUEST_OPEN_MSR_WRITE)
		guest_skip(g, g->msr_length);
	g->open = GUEST_OPEN_NONE;
}

static int32_t report(struct guest *g, enum x86vcpu_exit_kind kind)
{
	g->exit->kind = kind;
	return X86VCPU_OK;
}

/* Nothing stands between the vCPU and its guest. */
static bool is_ordinary(const struct guest *g)
{
	const struct guest_events *events = &g->events;

	return !((unsigned)g->open | guest_signalled(g) | guest_emulation_is_under_way(g) | events->shutdown |
		 events->waits_for_sipi | events->halted | g->debug.due);
}

/* Everything that decides whether the guest is entered at all. *enter: it is. */
static int32_t prepare(struct guest *g, bool *enter)
{
	const bool initialised = guest_take_startup(g);

	*enter = false;
	emul_report(g, X86VCPU_EXIT_NOTHING);
	if (g->events.shutdown)
		return X86VCPU_ERR_BAD_STATE;
	if (initialised) {
		guest_drop_open_exit(g);
		debug_forget(g);
	}
	if (g->open)
		close_open(g);
	if (guest_emulation_is_under_way(g)) {
		const int result = emul_continue(g);

		if (result != EMUL_RESUME)
			return result < 0 ? result : X86VCPU_OK;
	}
	if (guest_must_leave(g))
		return X86VCPU_OK;
	if (g->debug.due) {
		debug_report(g);
		return X86VCPU_OK;
	}
	if (g->events.waits_for_sipi) {
		guest_look(g);
		return report(g, X86VCPU_EXIT_WAIT_FOR_SIPI);
	}
	if (g->events.halted && !guest_wake(g))
		return report(g, X86VCPU_EXIT_HALT);
	*enter = true;
	return X86VCPU_OK;
}

/* The vCPU is published as running. */
static int32_t run(struct x86vcpu *vcpu)
{
	struct guest *g = vcpu->guest;

	if (!is_ordinary(g)) {
		bool enter;
		const int32_t status = prepare(g, &enter);

		if (!enter)
			return status;
	}
	if (lapic_timer_is_polled(&g->lapic.timer))
		guest_look_again(g);
	return vcpu->backend->run(g);
}

/*
 * Whoever posted while the vCPU was published as running told the CPU, not the thread that now is about to
 * wait: it must not. It has looked already at what waited for the end of STI; HLT.
 */
static bool has_news(struct guest *g)
{
	return __atomic_load_n(&g->events.attention, __ATOMIC_SEQ_CST) || guest_signalled(g) ||
	       (g->exit->kind == X86VCPU_EXIT_HALT && guest_wakes(g));
}

static void do_not_sleep_on_news(struct guest *g)
{
	const uint32_t kind = g->exit->kind;

	if ((kind == X86VCPU_EXIT_HALT || kind == X86VCPU_EXIT_WAIT_FOR_SIPI) && has_news(g))
		g->exit->kind = X86VCPU_EXIT_NOTHING;
}

int32_t x86vcpu_run(struct x86vcpu *vcpu, struct x86vcpu_exit *exit)
{
	struct x86vcpu_percpu *percpu;
	struct guest *g;
	int32_t status;

	if (!vcpu || !exit)
		return X86VCPU_ERR_INVALID_INPUT;
	if (insn_read_flags() & RFLAGS_IF || vcpu_hold_here(vcpu))
		return X86VCPU_ERR_BAD_STATE;
	g = vcpu->guest;
	g->exit = exit;
	percpu = vcpu->percpu;
	if (percpu->loaded && percpu->loaded != vcpu)
		unload(percpu);
	guest_publish_running(g, percpu->identity);
	status = run(vcpu);
	guest_publish_outside(g);
	if (g->context.loaded)
		percpu->loaded = vcpu;
	percpu->held = false;
	vcpu->backend->serve_host(g);
	vcpu->held = false;
	if (status)
		emul_report(g, X86VCPU_EXIT_NOTHING);
	else
		do_not_sleep_on_news(g);
	return status;
}

/* ---- Answers to exits --------------------------------------------------------------------------------------- */

int32_t x86vcpu_complete_read(struct x86vcpu *vcpu, uint64_t value)
{
	if (!vcpu)
		return X86VCPU_ERR_INVALID_INPUT;
	if (vcpu_enter_here(vcpu))
		return X86VCPU_ERR_BAD_STATE;
	switch (vcpu->guest->open) {
	case GUEST_OPEN_PORT_READ:
	case GUEST_OPEN_MMIO_READ:
	case GUEST_OPEN_MSR_READ:
		emul_complete_read(vcpu->guest, value);
		return X86VCPU_OK;
	default:
		return X86VCPU_ERR_BAD_STATE;
	}
}

int32_t x86vcpu_complete_write(struct x86vcpu *vcpu)
{
	if (!vcpu)
		return X86VCPU_ERR_INVALID_INPUT;
	if (vcpu_enter_here(vcpu) || vcpu->guest->open != GUEST_OPEN_MSR_WRITE)
		return X86VCPU_ERR_BAD_STATE;
	close_open(vcpu->guest);
	return X86VCPU_OK;
}

int32_t x86vcpu_complete_fault(struct x86vcpu *vcpu)
{
	struct guest *g;

	if (!vcpu)
		return X86VCPU_ERR_INVALID_INPUT;
	if (vcpu_enter_here(vcpu))
		return X86VCPU_ERR_BAD_STATE;
	g = vcpu->guest;
	if (g->open != GUEST_OPEN_MSR_READ && g->open != GUEST_OPEN_MSR_WRITE)
		return X86VCPU_ERR_BAD_STATE;
	g->open = GUEST_OPEN_NONE;
	guest_raise(g, VECTOR_GP, true, 0);
	return X86VCPU_OK;
}

int32_t x86vcpu_skip_instruction(struct x86vcpu *vcpu, uint32_t length)
{
	if (!vcpu || !length || length > X86VCPU_INSTRUCTION_BYTES)
		return X86VCPU_ERR_INVALID_INPUT;
	if (vcpu_enter_here(vcpu) || guest_has_open_exit(vcpu->guest))
		return X86VCPU_ERR_BAD_STATE;
	guest_skip(vcpu->guest, length);
	return X86VCPU_OK;
}

int32_t x86vcpu_complete_port_io_string(struct x86vcpu *vcpu, const struct x86vcpu_port_io_string *done)
{
	if (!vcpu || !done)
		return X86VCPU_ERR_INVALID_INPUT;
	if (vcpu_enter_here(vcpu))
		return X86VCPU_ERR_BAD_STATE;
	return emul_commit_string(vcpu->guest, done);
}

/* ---- Nested tables ------------------------------------------------------------------------------------------- */

int32_t x86vcpu_flush_nested(struct x86vcpu *vcpu)
{
	if (!vcpu)
		return X86VCPU_ERR_INVALID_INPUT;
	/* A run that begins after this store sees it. */
	__atomic_store_n(&vcpu->guest->flush_nested, true, __ATOMIC_SEQ_CST);
	return guest_is_outside(vcpu->guest) ? X86VCPU_OK : X86VCPU_ERR_RESOURCE_BUSY;
}
