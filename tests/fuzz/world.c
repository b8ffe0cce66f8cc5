/* SPDX-License-Identifier: Apache-2.0 */
/* The machine, its vCPUs, and what is checked after each run and at the end. */
#include "world.h"

#include <stdio.h>
#include <string.h>

#include "cpu/x86.h"

/* ---- Set-up -------------------------------------------------------------------------------------------- */

struct world *world_begin(struct input *in, enum model_backend backend, uint32_t features, uint32_t flags)
{
	static struct model *m;
	struct world *w = &world;

	if (!m)
		m = model_create(backend, features);
	else
		model_reset(m, features);
	/* Without the service the library may take it that the host does not use IA32_DEBUGCTL. */
	if (features & MODEL_ODD_HOST)
		flags &= ~(uint32_t)WORLD_NO_READ_MSR;
	memset(w, 0, sizeof(*w));
	w->in = in;
	w->m = m;
	w->backend = backend;
	w->flags = flags;
	w->now = 1000000;
	for (unsigned i = 0; i < WORLD_VCPUS; i++)
		w->home[i] = MODEL_CPUS;
	host_make_ops(w);
	host_reset_memory(model_guest_memory(m));
	world_use(w, 0);
	w->root = model_alloc(m, 1, 4096);
	return w;
}

void world_use(struct world *w, uint32_t cpu)
{
	w->cpu = cpu % MODEL_CPUS;
	model_use(w->m, w->cpu);
}

bool world_enable(struct world *w, uint32_t cpu)
{
	struct x86vcpu_percpu *percpu = NULL;
	int32_t status;

	world_use(w, cpu);
	if (!w->percpu[w->cpu])
		world_check_status(x86vcpu_percpu_create(&w->ops, w, w->cpu, &percpu), "percpu_create");
	if (w->percpu[w->cpu])
		world_check_status(x86vcpu_percpu_destroy(percpu), "percpu_destroy");
	else
		w->percpu[w->cpu] = percpu;
	if (x86vcpu_percpu_is_enabled(w->percpu[w->cpu]))
		return true;
	status = x86vcpu_percpu_enable(w->percpu[w->cpu]);
	world_check_status(status, "percpu_enable");
	return status == X86VCPU_OK;
}

void world_setup_config(const struct world *w, uint32_t n, struct x86vcpu_setup_config *config)
{
	static const struct x86vcpu_port_range ports[] = {{0x3f8, 8}, {0xffff, 1}}, passthrough[] = {{0x80, 1}, {0x100, 0x200}};
	static const struct x86vcpu_mmio_range mmio[] = {
		{WORLD_MMIO, WORLD_MMIO_SIZE}, {0x38000, 0x1000}, {UINT64_MAX - 0xff, 0x100}, {WORLD_FAR + 0x1000, 0x200},
	};
	static const struct x86vcpu_msr_range msrs[] = {{0x600, 0x6ff}, {0xc0010000, 0xc001ffff}}, all[] = {{0, UINT32_MAX}};
	static struct x86vcpu_memory_region memory[4];

	memory[0] = (struct x86vcpu_memory_region){0, model_guest_memory(w->m), 0x20000, 0};
	memory[1] = (struct x86vcpu_memory_region){0x30000, model_guest_memory(w->m) + 0x30000, 0x10000, 0};
	memory[2] = (struct x86vcpu_memory_region){WORLD_FAR, world_memory.far, WORLD_FAR_SIZE, 0};
	memory[3] = (struct x86vcpu_memory_region){WORLD_TOP, world_memory.top, 0x1000, X86VCPU_MEMORY_READ_ONLY};
	*config = (struct x86vcpu_setup_config){
		.size = sizeof(*config),
		.ports = ports,
		.port_count = 2,
		.mmio = mmio,
		.mmio_count = 4,
		.memory = memory,
		.memory_count = w->flags & WORLD_NO_MEMORY ? 0 : 4,
		.msrs = w->flags & WORLD_ALL_MSRS ? all : msrs,
		.msr_count = w->flags & WORLD_ALL_MSRS ? 1 : w->flags & WORLD_MSRS ? 2 : 0,
		.passthrough_ports = passthrough,
		.passthrough_port_count = w->flags & WORLD_PASSTHROUGH ? 2 : 0,
		.time_slice_ns = w->flags & WORLD_SHORT_SLICE ? 1000 : UINT64_C(1) << 40,
		.start = w->flags & WORLD_WAIT && n ? X86VCPU_START_WAIT_FOR_SIPI : X86VCPU_START_AT_ENTRY,
		.flags = (w->flags & WORLD_NO_APIC && !(w->flags & WORLD_WAIT) ? X86VCPU_SETUP_NO_LOCAL_APIC : 0) |
			 (w->kept ? X86VCPU_SETUP_KEEP_CONTEXT : 0),
	};
}

static int32_t set_up(struct world *w, uint32_t n)
{
	const struct x86vcpu_nested_paging paging = {.root_hpa = w->root};
	struct x86vcpu_setup_config config;
	struct x86vcpu *vcpu = w->vcpu[n];

	world_setup_config(w, n, &config);
	fuzz_check(!x86vcpu_set_entry(vcpu, WORLD_CODE) && !x86vcpu_set_nested_page_table(vcpu, &paging), "entry, tables");
	return x86vcpu_setup(vcpu, &config);
}

struct x86vcpu_machine *world_machine(struct world *w, unsigned n)
{
	const struct x86vcpu_machine_config config = {
		.size = sizeof(config), .vm_id = n, .opaque = (void *)(uintptr_t)(n + 1)};
	struct x86vcpu_machine *machine;
	int32_t status;

	if (!w->machine[n]) {
		status = x86vcpu_machine_create(&w->ops, w, &config, &machine);
		fuzz_check(!status == !!machine && (!status || status == X86VCPU_ERR_NO_MEMORY), "machine_create answers %d", status);
		/* A host op may have made it meanwhile. */
		if (w->machine[n])
			world_check_status(x86vcpu_machine_destroy(machine), "machine_destroy");
		else
			w->machine[n] = machine;
	}
	return w->machine[n];
}

bool world_add(struct world *w, uint32_t n, uint32_t cpu)
{
	const struct x86vcpu_create_config config = {.size = sizeof(config), .vcpu_id = n, .opaque = (void *)(uintptr_t)n};
	struct x86vcpu *vcpu;
	int32_t status;

	if (!world_enable(w, cpu))
		return false;
	status = x86vcpu_create(world_machine(w, 0), &config, &vcpu);
	/* A host op may have made it meanwhile. */
	if (w->vcpu[n]) {
		world_check_status(x86vcpu_destroy(vcpu), "destroy");
		return false;
	}
	w->vcpu[n] = vcpu;
	if (!status)
		status = set_up(w, n);
	if (!status)
		status = x86vcpu_bind(w->vcpu[n]);
	world_check_status(status, "create, setup, bind");
	if (!status)
		w->home[n] = w->cpu;
	world_check(w, "setup");
	return !status;
}

static void remove_vcpu(struct world *w, uint32_t n)
{
	if (w->vcpu[n] && w->home[n] < MODEL_CPUS) {
		world_use(w, w->home[n]);
		fuzz_check(!x86vcpu_unbind(w->vcpu[n]), "unbind of vCPU %u", n);
	}
	fuzz_check(!x86vcpu_destroy(w->vcpu[n]), "destroy of vCPU %u", n);
}

/* On the CPU that it was enabled on, which need not have its number. */
static void remove_percpu(struct world *w, uint32_t n)
{
	for (uint32_t cpu = 0; cpu < MODEL_CPUS && x86vcpu_percpu_is_enabled(w->percpu[n]); cpu++) {
		world_use(w, cpu);
		x86vcpu_percpu_disable(w->percpu[n]);
	}
	fuzz_check(!x86vcpu_percpu_destroy(w->percpu[n]), "disable and destroy of CPU %u", n);
}

void world_end(struct world *w)
{
	w->refuse_cancel = false;
	w->hostility.times = 0;
	for (uint32_t n = 0; n < WORLD_VCPUS; n++)
		remove_vcpu(w, n);
	for (uint32_t n = 0; n < WORLD_VMS; n++)
		fuzz_check(!x86vcpu_machine_destroy(w->machine[n]), "destroy of machine %u", n);
	for (uint32_t n = 0; n < MODEL_CPUS; n++)
		remove_percpu(w, n);
	for (unsigned i = 0; i < WORLD_TIMERS; i++)
		fuzz_check(!w->timers[i].armed, "timer %u is left", i);
	world_check(w, "the end");
	fuzz_check(model_frames_in_use(w->m) == 1, "%u frames are not given back", model_frames_in_use(w->m) - 1);
	host_check_memory(w);
}

/* ---- Modes --------------------------------------------------------------------------------------------- */

static struct x86vcpu_segment segment(uint16_t selector, uint32_t rights, uint32_t limit, uint64_t base)
{
	return (struct x86vcpu_segment){.selector = selector, .access_rights = rights, .limit = limit, .base = base};
}

static void set_segments(struct x86vcpu_state *state, uint32_t code, uint32_t data, uint32_t limit)
{
	for (unsigned i = X86VCPU_SEGMENT_ES; i <= X86VCPU_SEGMENT_GS; i++)
		state->segments[i] = segment(0x10, data, limit, 0);
	state->segments[X86VCPU_SEGMENT_CS] = segment(0x08, code, limit, 0);
	state->segments[X86VCPU_SEGMENT_LDTR] = segment(0, AR_UNUSABLE, 0, 0);
	state->segments[X86VCPU_SEGMENT_TR] = segment(0x18, AR_P | 0xb, 0x67, 0x7000);
}

static void set_code(enum world_mode mode, unsigned cpl, struct x86vcpu_state *state)
{
	const uint32_t dpl = (uint32_t)(mode > WORLD_V86 ? cpl & 3 : mode == WORLD_V86 ? 3 : 0) << AR_DPL_SHIFT;
	const uint32_t common = AR_P | AR_S | AR_TYPE_WRITE | AR_TYPE_ACCESSED | dpl;
	const uint32_t code = mode == WORLD_V86 ? common : common | AR_TYPE_CODE;

	if (mode <= WORLD_PROTECTED16)
		set_segments(state, code, common, 0xffff);
	else if (mode == WORLD_LONG)
		set_segments(state, code | AR_L | AR_G, common | AR_D | AR_G, UINT32_MAX);
	else
		set_segments(state, code | AR_D | AR_G, common | AR_D | AR_G, UINT32_MAX);
	if (mode == WORLD_V86)
		for (unsigned i = X86VCPU_SEGMENT_ES; i <= X86VCPU_SEGMENT_GS; i++)
			state->segments[i] = segment(0, common, 0xffff, 0);
}

void world_state(enum world_mode mode, unsigned cpl, struct x86vcpu_state *state)
{
	const bool paging = mode >= WORLD_PAGING32;

	set_code(mode, cpl, state);
	state->cr0 = CR0_ET | CR0_NE | (mode >= WORLD_V86 ? CR0_PE : 0) | (paging ? CR0_PG | CR0_WP : 0);
	state->cr4 = mode >= WORLD_PAE ? CR4_PAE : CR4_PSE;
	state->cr3 = mode >= WORLD_COMPATIBILITY ? WORLD_PML4 : mode == WORLD_PAE ? WORLD_PAE_PDPT : WORLD_PD32;
	state->efer = mode >= WORLD_COMPATIBILITY ? EFER_LME | EFER_LMA | EFER_SCE : 0;
	state->rflags = RFLAGS_FIXED | (mode == WORLD_V86 ? RFLAGS_VM : 0);
	state->rip = WORLD_CODE;
	state->rsp = 0x7000;
	state->regs.rbx = mode > WORLD_PROTECTED16 ? WORLD_MMIO : 0x8000;
}

/* ---- Checks -------------------------------------------------------------------------------------------- */

void world_check_status(int32_t status, const char *what)
{
	fuzz_check(status == 0 || (status <= -1 && status >= -7) || status == X86VCPU_ERR_FIRMWARE_DISABLED ||
			   status == X86VCPU_ERR_ABI_MISMATCH || status == X86VCPU_ERR_GUEST_FAULT, "%s answers %d", what, status);
}

/* The entry that fails is all that nonsense may lead to. */
static void forgive_nonsense(struct world *w)
{
	const char *line = model_complaints(w->m);

	for (; *line; line = strchr(line, '\n') + 1)
		if (strncmp(line, "VM entry: injected event", 24) && strncmp(line, "VMRUN: injected event", 21))
			return;
	model_forgive(w->m);
}

void world_check(struct world *w, const char *when)
{
	if (w->nonsense)
		forgive_nonsense(w);
	fuzz_check(!model_complaints(w->m)[0], "%s: the model complains:\n%s", when, model_complaints(w->m));
}

static bool points_into(uint64_t value, const void *block, size_t bytes)
{
	return value - (uintptr_t)block < bytes;
}

bool world_is_secret(const struct world *w, uint64_t value)
{
	if (value == UINT64_C(0x5a5a5a5a5a5a5a5a) || value == UINT64_C(0xa5a5a5a5a5a5a5a5))
		return true;
	if (!w->m)
		return false;
	return points_into(value, model_memory(w->m, MODEL_FIRST_FRAME), MODEL_FRAMES * 4096) ||
	       points_into(value, model_guest_memory(w->m), MODEL_GUEST_SIZE) || points_into(value, w, sizeof(*w)) ||
	       points_into(value, &value - 0x2000, 0x20000);
}

void world_check_secret(const struct world *w, const void *p, size_t bytes, const char *what)
{
	for (size_t i = 0; i + 8 <= bytes; i += 8) {
		uint64_t value;

		memcpy(&value, (const uint8_t *)p + i, sizeof(value));
		fuzz_check(!world_is_secret(w, value), "%s has %llx at byte %zu", what, (unsigned long long)value, i);
	}
}

/* ---- Exits --------------------------------------------------------------------------------------------- */

static size_t exit_bytes(uint32_t kind)
{
	switch (kind) {
	case X86VCPU_EXIT_HYPERCALL:
		return sizeof(struct x86vcpu_hypercall);
	case X86VCPU_EXIT_PORT_IO_READ:
	case X86VCPU_EXIT_PORT_IO_WRITE:
		return sizeof(struct x86vcpu_port_io);
	case X86VCPU_EXIT_PORT_IO_STRING:
		return sizeof(struct x86vcpu_port_io_string);
	case X86VCPU_EXIT_MMIO_READ:
	case X86VCPU_EXIT_MMIO_WRITE:
		return sizeof(struct x86vcpu_mmio);
	case X86VCPU_EXIT_MSR_READ:
	case X86VCPU_EXIT_MSR_WRITE:
		return sizeof(struct x86vcpu_msr_access);
	case X86VCPU_EXIT_NESTED_PAGE_FAULT:
		return sizeof(struct x86vcpu_nested_page_fault);
	case X86VCPU_EXIT_INTERRUPT_END:
		return sizeof(struct x86vcpu_interrupt_end);
	case X86VCPU_EXIT_UNKNOWN_INSTRUCTION:
		return sizeof(struct x86vcpu_instruction);
	case X86VCPU_EXIT_FAIL_ENTRY:
		return sizeof(struct x86vcpu_fail_entry);
	case X86VCPU_EXIT_DEBUG:
		return sizeof(struct x86vcpu_debug_exit);
	default:
		return 0;
	}
}

static void check_data(uint64_t data, uint8_t width, uint8_t widest)
{
	fuzz_check(width <= widest, "width %u", width);
	fuzz_check(width == 3 || !(data >> (8u << width)), "%llx in %u bytes", (unsigned long long)data, 1u << width);
}

static void check_mmio(const struct x86vcpu_mmio *mmio, bool read)
{
	check_data(mmio->data, mmio->width, X86VCPU_WIDTH_QWORD);
	fuzz_check(mmio->reg < 16 || mmio->reg == X86VCPU_NO_REGISTER, "register %u", mmio->reg);
	fuzz_check(!read || (!mmio->data && mmio->reg < 16 && mmio->reg_width <= 3 && mmio->reg_width >= mmio->width),
		   "read of %u into register %u of %u", mmio->width, mmio->reg, mmio->reg_width);
}

static void check_string(const struct x86vcpu_port_io_string *s)
{
	fuzz_check(s->width <= X86VCPU_WIDTH_DWORD && s->direction <= 1, "string: width %u, direction %u", s->width,
		   s->direction);
}

static void check_exit(const struct world *w, const struct x86vcpu_exit *exit)
{
	const size_t used = exit_bytes(exit->kind);
	const uint8_t *bytes = (const uint8_t *)&exit->u;

	fuzz_check(exit->kind <= X86VCPU_EXIT_NOTHING || (exit->kind >= X86VCPU_EXIT_WAIT_FOR_SIPI &&
			   exit->kind <= X86VCPU_EXIT_UNKNOWN_INSTRUCTION), "kind %u", exit->kind);
	fuzz_check(!exit->reserved, "exit.reserved");
	for (size_t i = used; i < sizeof(exit->u); i++)
		fuzz_check(!bytes[i], "%s: byte %zu is not zero", x86vcpu_exit_name(exit->kind), i);
	world_check_secret(w, exit, sizeof(*exit), x86vcpu_exit_name(exit->kind));
	switch (exit->kind) {
	case X86VCPU_EXIT_PORT_IO_READ:
	case X86VCPU_EXIT_PORT_IO_WRITE:
		check_data(exit->u.port_io.data, exit->u.port_io.width, X86VCPU_WIDTH_DWORD);
		break;
	case X86VCPU_EXIT_PORT_IO_STRING:
		check_string(&exit->u.port_io_string);
		break;
	case X86VCPU_EXIT_MMIO_READ:
	case X86VCPU_EXIT_MMIO_WRITE:
		check_mmio(&exit->u.mmio, exit->kind == X86VCPU_EXIT_MMIO_READ);
		break;
	case X86VCPU_EXIT_NESTED_PAGE_FAULT:
		fuzz_check(!(exit->u.nested_page_fault.access & ~UINT64_C(7)), "access %llx",
			   (unsigned long long)exit->u.nested_page_fault.access);
		break;
	case X86VCPU_EXIT_UNKNOWN_INSTRUCTION:
		fuzz_check(exit->u.instruction.count <= X86VCPU_INSTRUCTION_BYTES && exit->u.instruction.length <= exit->u.instruction.count,
			   "instruction of %u bytes, %u there", exit->u.instruction.length, exit->u.instruction.count);
		break;
	default:
		break;
	}
}

/* ---- A run --------------------------------------------------------------------------------------------- */

/* What a vCPU with KEEP_CONTEXT leaves in the CPU until unbind. */
static bool is_kept(const char *line)
{
	static const char *const names[] = {"XCR0 ", "MSR.da0 ", "MSR.c0000081 ", "MSR.c0000082 ", "MSR.c0000083 ",
					    "MSR.c0000084 ", "MSR.c0000102 ", "MSR.c0000103 "};

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strncmp(line, names[i], strlen(names[i])))
			return true;
	return false;
}

void world_check_host(struct world *w, const char *when)
{
	/* A host op that calls back may go to another CPU. */
	if (w->cpu != w->remembered)
		return;
	for (const char *line = model_host_changes(w->m); *line; line = strchr(line, '\n') + 1)
		fuzz_check(w->kept && is_kept(line), "%s:\n%s", when, line);
}

static void check_registers(struct world *w, uint32_t n)
{
	for (uint32_t i = 0; i < 16; i++) {
		uint64_t value;

		fuzz_check(!x86vcpu_get_gpr(w->vcpu[n], i, &value), "get_gpr(%u)", i);
		world_check_secret(w, &value, sizeof(value), x86vcpu_regs_name(i));
	}
}

static void check_status(const struct world *w, uint32_t n)
{
	static const struct x86vcpu_exit nothing = {.kind = X86VCPU_EXIT_NOTHING};

	switch (w->status) {
	case X86VCPU_OK:
		break;
	case X86VCPU_ERR_BAD_STATE:
	case X86VCPU_ERR_UNSUPPORTED:
	case X86VCPU_ERR_INVALID_DATA:
		fuzz_check(!memcmp(&w->exit[n], &nothing, sizeof(nothing)), "run fails with %d, and an exit", w->status);
		break;
	default:
		fuzz_check(false, "run answers %d", w->status);
	}
}

void world_run(struct world *w, uint32_t n)
{
	uint32_t state, cpu;

	memset(&w->exit[n], 0xa5, sizeof(w->exit[n]));
	model_host_remember(w->m);
	w->remembered = w->cpu;
	w->running = true;
	w->acknowledged = 0;
	w->status = x86vcpu_run(w->vcpu[n], &w->exit[n]);
	w->running = false;
	model_guest_sets_nothing(w->m);
	fuzz_tell("run of %u on CPU %u: %d %s", n, w->cpu, w->status, x86vcpu_exit_name(w->exit[n].kind));
	check_status(w, n);
	check_exit(w, &w->exit[n]);
	world_check(w, "run");
	fuzz_check(!model_outcome(w->m)->stuck, "run does not come back");
	world_check_host(w, "run has changed the host");
	fuzz_check(!x86vcpu_run_state(w->vcpu[n], &state, &cpu) && state == X86VCPU_OUTSIDE && cpu == X86VCPU_NO_CPU,
		   "run_state %u", state);
	check_registers(w, n);
}
