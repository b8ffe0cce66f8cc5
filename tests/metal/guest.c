/* SPDX-License-Identifier: Apache-2.0 */
/* Builds the guests of guest.h and runs them. */
#include "guest.h"

#define RUN_LIMIT 400u
#define STUB_VECTORS 256u

#define CR0_PE UINT64_C(0x1)
#define CR0_MP_ET_NE UINT64_C(0x32)
#define CR0_WP UINT64_C(0x10000)
#define CR0_PG UINT64_C(0x80000000)
#define CR4_PSE UINT64_C(0x10)
#define CR4_PAE UINT64_C(0x20)
#define CR4_OSFXSR_OSXMMEXCPT UINT64_C(0x600)
#define EFER_SCE_LME_LMA_NXE UINT64_C(0xd01)
#define EFER_NXE UINT64_C(0x800)

extern const uint8_t stubs16[], stubs16_end[], stubs32[], stubs32_end[], stubs64[], stubs64_end[];

/* ---- Memory ------------------------------------------------------------------------------------------- */

static uint8_t *at(struct guest *g, uint64_t gpa, uint64_t len)
{
	CHECK(gpa < GUEST_MEMORY && len <= GUEST_MEMORY - gpa);
	return g->ram + gpa;
}

uint64_t guest_load(struct guest *g, uint64_t gpa, unsigned bytes)
{
	uint64_t value = 0;

	memcpy(&value, at(g, gpa, bytes), bytes);
	return value;
}

void guest_store(struct guest *g, uint64_t gpa, unsigned bytes, uint64_t value)
{
	memcpy(at(g, gpa, bytes), &value, bytes);
}

static void put64(struct guest *g, uint64_t gpa, uint64_t value)
{
	guest_store(g, gpa, 8, value);
}

static void put32(struct guest *g, uint64_t gpa, uint64_t value)
{
	guest_store(g, gpa, 4, value);
}

/* Code is written with VMCALL; AMD's VMMCALL has another last byte. */
static void copy_code(struct guest *g, uint64_t gpa, const uint8_t *begin, const uint8_t *end)
{
	const size_t len = (size_t)(end - begin);
	uint8_t *to = at(g, gpa, len);

	memcpy(to, begin, len);
	if (x86vcpu_extension() != X86VCPU_EXTENSION_SVM)
		return;
	for (size_t i = 0; i + 2 < len; i++)
		if (to[i] == 0x0f && to[i + 1] == 0x01 && to[i + 2] == 0xc1)
			to[i + 2] = 0xd9;
}

const struct guest_trap *guest_record(struct guest *g)
{
	return (const struct guest_trap *)at(g, GUEST_RECORD, sizeof(struct guest_trap));
}

void guest_unmap(struct guest *g, uint64_t gpa)
{
	CHECK_OK(x86vcpu_nested_unmap(&g->tables, gpa & ~UINT64_C(0xfff), 4096));
	CHECK_OK(x86vcpu_flush_nested(g->vcpu));
}

void guest_map(struct guest *g, uint64_t gpa, uint32_t permissions)
{
	const uint64_t page = gpa & ~UINT64_C(0xfff);

	CHECK_OK(x86vcpu_nested_map(&g->tables, page, (uint64_t)at(g, page, 4096), 4096, permissions,
				    X86VCPU_MEMORY_WB));
	CHECK_OK(x86vcpu_flush_nested(g->vcpu));
}

void guest_set_pte(struct guest *g, uint64_t address, uint64_t entry)
{
	put64(g, GUEST_PT + address / 4096 * 8, entry);
}

/* ---- The guest's own tables ---------------------------------------------------------------------- */

static void build_gdt(struct guest *g)
{
	static const uint64_t descriptors[] = {
		[GUEST_CS64 / 8] = 0x00af9b000000ffff,
		[GUEST_DS / 8] = 0x00cf93000000ffff,
		[GUEST_USER_CS64 / 8] = 0x00affb000000ffff,
		[GUEST_USER_DS / 8] = 0x00cff3000000ffff,
		[GUEST_TR / 8] = 0x00008b0000000067 | (uint64_t)GUEST_TSS << 16,
		[GUEST_CS32 / 8] = 0x00cf9b000000ffff,
		[GUEST_USER_CS32 / 8] = 0x00cffb000000ffff,
		[GUEST_CS16 / 8] = 0x00009b000000ffff,
		[GUEST_DS16 / 8] = 0x000093000000ffff,
		[GUEST_TASK / 8] = 0x0000890000000067 | (uint64_t)(GUEST_TSS + 0x100) << 16,
	};

	memcpy(at(g, GUEST_GDT, sizeof(descriptors)), descriptors, sizeof(descriptors));
}

static void build_idts(struct guest *g)
{
	for (uint64_t v = 0; v < STUB_VECTORS; v++) {
		const uint64_t entry64 = GUEST_STUBS64 + v * 16;
		const uint64_t entry32 = GUEST_STUBS32 + v * 16;

		/* Present, DPL 3, interrupt gate. */
		put64(g, GUEST_IDT64 + v * 16,
		      (entry64 & 0xffff) | GUEST_CS64 << 16 | UINT64_C(0xee00) << 32 | entry64 >> 16 << 48);
		put64(g, GUEST_IDT64 + v * 16 + 8, 0);
		put64(g, GUEST_IDT32 + v * 8,
		      (entry32 & 0xffff) | GUEST_CS32 << 16 | UINT64_C(0xee00) << 32 | entry32 >> 16 << 48);
		put32(g, v * 4, GUEST_STUBS16 + v * 8);
	}
	copy_code(g, GUEST_STUBS16, stubs16, stubs16_end);
	copy_code(g, GUEST_STUBS32, stubs32, stubs32_end);
	copy_code(g, GUEST_STUBS64, stubs64, stubs64_end);
}

/* One to one: 4 KiB pages for 2 MiB (4 MiB with two levels), then large ones up to 16 MiB. */
static void build_page_tables(struct guest *g)
{
	const uint64_t all = PTE_P | PTE_W | PTE_U;

	put64(g, GUEST_PML4, GUEST_PDPT | all);
	put64(g, GUEST_PDPT, GUEST_PD | all);
	put64(g, GUEST_PDPT_PAE, GUEST_PD | PTE_P);
	put64(g, GUEST_PD, GUEST_PT | all);
	for (uint64_t i = 1; i < 8; i++)
		put64(g, GUEST_PD + i * 8, i << 21 | PTE_PS | all);
	for (uint64_t i = 0; i < 512; i++)
		put64(g, GUEST_PT + i * 8, i << 12 | all);
	put32(g, GUEST_PD32, GUEST_PT32 | all);
	for (uint64_t i = 1; i < 4; i++)
		put32(g, GUEST_PD32 + i * 4, i << 22 | PTE_PS | all);
	for (uint64_t i = 0; i < 1024; i++)
		put32(g, GUEST_PT32 + i * 4, i << 12 | all);
}

static void build_tss(struct guest *g)
{
	/* The stack that a trap from CPL 3 is taken on: RSP0, or ESP0 and SS0. */
	put64(g, GUEST_TSS + 4, GUEST_STACK - 0x400);
	if (g->mode != GUEST_LONG)
		put32(g, GUEST_TSS + 8, GUEST_DS);
	guest_store(g, GUEST_TSS + 0x66, 2, 0x68);
}

/* ---- The first state ------------------------------------------------------------------------------- */

static struct x86vcpu_segment segment(uint32_t selector, uint32_t access_rights, uint32_t limit, uint64_t base)
{
	return (struct x86vcpu_segment){
		.selector = (uint16_t)selector, .access_rights = access_rights, .limit = limit, .base = base
	};
}

static void flat_segments(const struct guest *g, struct x86vcpu_state *s)
{
	const uint32_t dpl = g->user ? 0x60 : 0;
	const uint32_t cs64 = g->user ? GUEST_USER_CS64 : GUEST_CS64;
	const uint32_t cs32 = g->user ? GUEST_USER_CS32 : GUEST_CS32;
	const uint32_t ds = g->user ? GUEST_USER_DS : GUEST_DS;

	for (unsigned i = 0; i < X86VCPU_SEGMENT_LDTR; i++)
		s->segments[i] = segment(ds, 0xc093 | dpl, UINT32_MAX, 0);
	s->segments[X86VCPU_SEGMENT_CS] = g->mode == GUEST_LONG ?
		segment(cs64, 0xa09b | dpl, UINT32_MAX, 0) : segment(cs32, 0xc09b | dpl, UINT32_MAX, 0);
	s->segments[X86VCPU_SEGMENT_TR] = segment(GUEST_TR, 0x8b, 0x67, GUEST_TSS);
	s->gdtr = (struct x86vcpu_table){ .base = GUEST_GDT, .limit = 0x67 };
	s->idtr = g->mode == GUEST_LONG ? (struct x86vcpu_table){ .base = GUEST_IDT64, .limit = 0xfff } :
					  (struct x86vcpu_table){ .base = GUEST_IDT32, .limit = 0x7ff };
}

static void real_segments(struct x86vcpu_state *s)
{
	for (unsigned i = 0; i < X86VCPU_SEGMENT_LDTR; i++)
		s->segments[i] = segment(0, 0x93, 0xffff, 0);
	s->segments[X86VCPU_SEGMENT_CS].access_rights = 0x9b;
	s->segments[X86VCPU_SEGMENT_TR] = segment(0, 0x8b, 0xffff, 0);
	s->gdtr = (struct x86vcpu_table){ .limit = 0xffff };
	s->idtr = (struct x86vcpu_table){ .limit = 0x3ff };
}

static void control_registers(const struct guest *g, struct x86vcpu_state *s)
{
	static const uint64_t cr3[] = {
		[GUEST_PAGING32] = GUEST_PD32, [GUEST_PAE] = GUEST_PDPT_PAE, [GUEST_LONG] = GUEST_PML4
	};

	s->cr0 = CR0_MP_ET_NE;
	s->cr4 = CR4_OSFXSR_OSXMMEXCPT;
	s->xcr0 = 1;
	if (g->mode != GUEST_REAL)
		s->cr0 |= CR0_PE;
	if (g->mode < GUEST_PAGING32)
		return;
	s->cr0 |= CR0_PG | CR0_WP;
	s->cr3 = cr3[g->mode];
	s->cr4 |= g->mode == GUEST_PAGING32 ? CR4_PSE : CR4_PAE;
	if (g->mode != GUEST_PAGING32)
		s->efer = g->mode == GUEST_LONG ? EFER_SCE_LME_LMA_NXE : EFER_NXE;
}

static void first_state(const struct guest *g, struct x86vcpu_state *s)
{
	memset(s, 0, sizeof(*s));
	s->size = sizeof(*s);
	s->rip = GUEST_CODE;
	s->rflags = 2;
	s->rsp = g->user ? GUEST_USER_STACK : GUEST_STACK;
	s->dr6 = 0xffff0ff0;
	s->dr7 = 0x400;
	s->segments[X86VCPU_SEGMENT_LDTR] = segment(0, 0x10000, 0, 0);
	if (g->mode == GUEST_REAL)
		real_segments(s);
	else
		flat_segments(g, s);
	control_registers(g, s);
}

/* ---- Life ---------------------------------------------------------------------------------------------- */

static void create(struct guest *g, uint32_t id)
{
	const struct x86vcpu_create_config config = { .size = sizeof(config), .vcpu_id = id, .opaque = g };

	CHECK_OK(x86vcpu_create(g->machine, &config, &g->vcpu));
	g->id = id;
	g->memory[0] = (struct x86vcpu_memory_region){ .gpa = 0, .hva = g->ram, .size = GUEST_MEMORY };
	g->mmio[0] = (struct x86vcpu_mmio_range){ .base = GUEST_MMIO, .size = GUEST_MMIO_SIZE };
	g->config = (struct x86vcpu_setup_config){
		.size = sizeof(g->config),
		.mmio = g->mmio, .mmio_count = 1,
		.memory = g->memory, .memory_count = 1,
	};
}

void guest_init(struct guest *g, uint32_t id)
{
	const struct x86vcpu_machine_config config = { .size = sizeof(config), .vm_id = 1, .opaque = g };
	uint32_t format, levels;

	memset(g, 0, sizeof(*g));
	host_enable();
	g->ram = (uint8_t *)frame_alloc(GUEST_MEMORY / 4096, 0x200000);
	CHECK(g->ram);
	memset(g->ram, 0, GUEST_MEMORY);
	CHECK_OK(x86vcpu_nested_format(&format));
	CHECK_OK(x86vcpu_nested_levels(&levels));
	g->tables.size = sizeof(g->tables);
	CHECK_OK(x86vcpu_nested_init(&g->tables, &platform_host_ops, NULL, format, levels, 0));
	CHECK_OK(x86vcpu_nested_map(&g->tables, 0, (uint64_t)g->ram, GUEST_MEMORY,
				    X86VCPU_NESTED_READ | X86VCPU_NESTED_WRITE | X86VCPU_NESTED_EXECUTE,
				    X86VCPU_MEMORY_WB));
	CHECK_OK(x86vcpu_machine_create(&platform_host_ops, NULL, &config, &g->machine));
	create(g, id);
}

void guest_init_other(struct guest *g, const struct guest *first, uint32_t id)
{
	memset(g, 0, sizeof(*g));
	g->machine = first->machine;
	g->ram = first->ram;
	g->tables = first->tables;
	create(g, id);
}

void guest_set_gate(struct guest *g, unsigned vector, uint64_t rip)
{
	put64(g, GUEST_IDT64 + vector * 16,
	      (rip & 0xffff) | GUEST_CS64 << 16 | UINT64_C(0x8e00) << 32 | rip >> 16 << 48);
}

static void start(struct guest *g, enum guest_mode mode, const struct guest_code *code)
{
	const struct x86vcpu_nested_paging paging = { .root_hpa = g->tables.root_hpa, .levels = g->tables.levels };
	struct x86vcpu_state state;

	g->mode = mode;
	build_gdt(g);
	build_idts(g);
	build_page_tables(g);
	build_tss(g);
	CHECK((size_t)(code->end - code->begin) <= 0x2000);
	copy_code(g, GUEST_CODE, code->begin, code->end);
	CHECK_OK(x86vcpu_set_entry(g->vcpu, GUEST_CODE));
	CHECK_OK(x86vcpu_set_nested_page_table(g->vcpu, &paging));
	CHECK_OK(x86vcpu_setup(g->vcpu, &g->config));
	CHECK_OK(x86vcpu_bind(g->vcpu));
	first_state(g, &state);
	CHECK_OK(x86vcpu_set_state(g->vcpu, X86VCPU_STATE_ALL, &state));
}

void guest_start(struct guest *g, enum guest_mode mode, const struct guest_code *code)
{
	g->user = false;
	start(g, mode, code);
}

void guest_start_user(struct guest *g, enum guest_mode mode, const struct guest_code *code)
{
	g->user = true;
	start(g, mode, code);
}

void guest_boot(struct guest *g, enum guest_mode mode, const struct guest_code *code)
{
	guest_init(g, 0);
	guest_start(g, mode, code);
}

void guest_destroy(struct guest *g)
{
	CHECK_OK(x86vcpu_unbind(g->vcpu));
	CHECK_OK(x86vcpu_destroy(g->vcpu));
	CHECK_OK(x86vcpu_machine_destroy(g->machine));
	x86vcpu_nested_destroy(&g->tables);
	frame_free((uint64_t)g->ram, GUEST_MEMORY / 4096);
}

/* ---- Running ------------------------------------------------------------------------------------------- */

/* One run; false when nothing happened that a test waits for. */
static bool run_once(struct guest *g)
{
	CHECK_OK(x86vcpu_run(g->vcpu, &g->exit));
	g->runs++;
	if (g->exit.kind == X86VCPU_EXIT_PREEMPTION_TIMER)
		g->timer_exits++;
	return g->exit.kind != X86VCPU_EXIT_PREEMPTION_TIMER && g->exit.kind != X86VCPU_EXIT_NOTHING;
}

static _Noreturn void unexpected(struct guest *g, const char *wanted)
{
	const struct guest_trap *trap = guest_record(g);
	static char text[512];

	x86vcpu_format_state(g->vcpu, text, sizeof(text));
	console_printf("guest: %s\n", text);
	if (trap->count)
		console_printf("guest: trap %lu: vector %lu error %lx rip %lx cr2 %lx\n", trap->count,
			       trap->vector, trap->error_code, trap->rip, trap->cr2);
	FAIL("waited for %s, got %s %lx %lx %lx %lx", wanted, x86vcpu_exit_name(g->exit.kind),
	     g->exit.u.words[0], g->exit.u.words[1], g->exit.u.words[2], g->exit.u.words[3]);
}

void guest_run_until(struct guest *g, uint32_t kind)
{
	for (unsigned i = 0; i < RUN_LIMIT; i++) {
		const bool event = run_once(g);

		if (g->exit.kind == kind)
			return;
		if (event)
			unexpected(g, x86vcpu_exit_name(kind));
	}
	unexpected(g, x86vcpu_exit_name(kind));
}

void guest_run_slice(struct guest *g)
{
	guest_run_until(g, X86VCPU_EXIT_PREEMPTION_TIMER);
}

void guest_run_call(struct guest *g, uint64_t nr)
{
	guest_run_until(g, X86VCPU_EXIT_HYPERCALL);
	if (g->exit.u.hypercall.nr != nr) {
		console_printf("guest: hypercall %lx instead of %lx\n", g->exit.u.hypercall.nr, nr);
		unexpected(g, "a certain hypercall");
	}
}

const struct guest_trap *guest_run_trap(struct guest *g, unsigned vector, uint64_t error_code, uint64_t rip)
{
	const uint64_t before = guest_record(g)->count;
	const struct guest_trap *trap;

	guest_run_call(g, GUEST_TRAP_CALL);
	trap = guest_record(g);
	CHECK_EQ(trap->count, before + 1);
	CHECK_EQ(trap->vector, vector);
	CHECK_EQ(trap->error_code, error_code);
	if (rip)
		CHECK_EQ(trap->rip, rip);
	return trap;
}

void guest_return_to(struct guest *g, uint64_t rip)
{
	const unsigned bytes = g->mode == GUEST_LONG ? 8 : g->mode == GUEST_REAL ? 2 : 4;

	guest_store(g, guest_record(g)->frame, bytes, rip);
}

uint64_t guest_label(const struct guest_code *code, const uint8_t *label)
{
	return GUEST_CODE + (uint64_t)(label - code->begin);
}

uint64_t guest_reg(struct guest *g, unsigned index)
{
	uint64_t value = 0;

	CHECK_OK(x86vcpu_get_gpr(g->vcpu, index, &value));
	return value;
}

void guest_set_reg(struct guest *g, unsigned index, uint64_t value)
{
	CHECK_OK(x86vcpu_set_gpr(g->vcpu, index, value));
}

void guest_state(struct guest *g, struct x86vcpu_state *state)
{
	memset(state, 0, sizeof(*state));
	state->size = sizeof(*state);
	CHECK_OK(x86vcpu_get_state(g->vcpu, X86VCPU_STATE_ALL, state));
}

uint64_t guest_rip(struct guest *g)
{
	struct x86vcpu_state state;

	guest_state(g, &state);
	return state.rip;
}

void guest_set_rflags(struct guest *g, uint64_t rflags)
{
	struct x86vcpu_state state;

	guest_state(g, &state);
	state.rflags = rflags;
	CHECK_OK(x86vcpu_set_state(g->vcpu, X86VCPU_STATE_RIP, &state));
}
