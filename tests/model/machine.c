/* SPDX-License-Identifier: Apache-2.0 */
/* Machines, their memory, what they complain about and remember. */
#include "machine.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Frames that nobody has are out of bounds for AddressSanitizer. */
#ifdef __has_feature
#if __has_feature(address_sanitizer) && !defined(__SANITIZE_ADDRESS__)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#define POISON_FRAMES(at, count) ASAN_POISON_MEMORY_REGION(at, (size_t)(count) * 4096)
#define UNPOISON_FRAMES(at, count) ASAN_UNPOISON_MEMORY_REGION(at, (size_t)(count) * 4096)
#else
#define POISON_FRAMES(at, count) ((void)(at))
#define UNPOISON_FRAMES(at, count) ((void)(at))
#endif

struct model *model;
struct cpu *cpu;

/* ---- Variants ------------------------------------------------------------------------------------------- */

static uint64_t (*choices)[2]; /* shared with the processes that this one forks */
static pid_t counter;

__attribute__((constructor)) static void begin_choices(void)
{
	void *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	choices = shared == MAP_FAILED ? NULL : shared;
	counter = getpid();
}

/* With MODEL_COUNTS in the environment. */
__attribute__((destructor)) static void tell_choices(void)
{
	static const char *const names[MODEL_VARIANT_COUNT] = {
		"NMI_WINDOW_IN_STI", "STALE_FIELDS", "UNDEFINED_BITS", "BARE_SEGMENTS", "FAULTS_SET_RF", "PENDING_STEP"};

	if (!getenv("MODEL_COUNTS") || getpid() != counter)
		return;
	for (uint32_t i = 0; i < MODEL_VARIANT_COUNT; i++)
		fprintf(stderr, "MAY_%s: %" PRIu64 " times, and not %" PRIu64 " times\n", names[i],
			model_choices(1u << (MODEL_VARIANT_FIRST + i), 1), model_choices(1u << (MODEL_VARIANT_FIRST + i), 0));
}

static unsigned index_of(uint32_t variant)
{
	return (unsigned)__builtin_ctz(variant) - MODEL_VARIANT_FIRST;
}

uint64_t model_choices(uint32_t variant, uint32_t done)
{
	return choices ? choices[index_of(variant)][done & 1] : 0;
}

bool may(uint32_t variant)
{
	const bool does = has(variant);

	if (choices)
		__atomic_fetch_add(&choices[index_of(variant)][does], 1, __ATOMIC_RELAXED);
	return does;
}

static uint32_t variants_of_environment(void)
{
	static int all = -1;

	if (all < 0) {
		const char *may = getenv("MODEL_MAY");

		all = may && !strcmp(may, "all");
	}
	return all ? MODEL_VARIANTS : 0;
}

/* ---- Machines ------------------------------------------------------------------------------------------- */

/* Descriptor 0x40 is a 64-bit TSS at a different base for each CPU (SDM 8.2.3). */
static void make_gdt(struct cpu *c)
{
	const uint64_t base = UINT64_C(0xffff800000700000) + 0x1000 * c->number;

	c->gdt[1] = UINT64_C(0x00af9b000000ffff);
	c->gdt[2] = UINT64_C(0x00cf93000000ffff);
	c->gdt[8] = 0x67 | (base & 0xffffff) << 16 | UINT64_C(0x8b) << 40 | (base >> 24 & 0xff) << 56;
	c->gdt[9] = base >> 32;
}

void model_set_tss_limit(struct model *m, uint16_t limit)
{
	for (unsigned i = 0; i < MODEL_CPUS; i++) {
		m->cpus[i].gdt[8] = (m->cpus[i].gdt[8] & ~UINT64_C(0xffff)) | limit;
		m->cpus[i].tr_limit = limit;
	}
}

static void make_odd(struct cpu *c)
{
	c->selectors[0] = c->selectors[3] = c->selectors[4] = c->selectors[5] = 0x13;
	c->selectors[6] = 0x50;
	c->gdt[10] = UINT64_C(0x0000820000000fff);
	c->gdt[11] = 0;
	c->cr4 |= CR4_PCIDE;
	c->cr3 |= 5;
	c->dr[0] = UINT64_C(0xffff800000004000);
	c->dr7 |= 3;
}

static void reset_cpu(struct model *m, struct cpu *c, uint32_t number)
{
	*c = (struct cpu){
		.number = number,
		.cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_PG,
		.cr2 = UINT64_C(0x7fff00001234),
		.cr3 = 0x7000,
		.cr4 = CR4_PAE | CR4_MCE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT |
		       (m->features & MODEL_XSAVE ? CR4_OSXSAVE : 0) |
		       (m->features & MODEL_HOST_LA57 ? CR4_LA57 : 0),
		.xcr0 = m->features & MODEL_AVX512 ? 0xe7 : 7,
		.dr6 = DR6_RESET,
		.dr7 = DR7_RESET,
		.flags = RFLAGS_FIXED,
		.tsc = UINT64_C(1000000000),
		.selectors = {0, 0x08, 0x10, 0, 0, 0, 0, 0x40},
		.limits = {HOST_GDT_ENTRIES * 8 - 1, 0xfff},
		.tr_limit = 0x67,
		.vmcs = NO_VMCS,
		.gif = true,
	};
	if (m->features & MODEL_AMX)
		c->xcr0 |= XCR0_TILECFG | XCR0_TILEDATA;
	make_gdt(c);
	if (m->features & MODEL_ODD_HOST)
		make_odd(c);
	c->bases[MODEL_GDTR] = (uintptr_t)c->gdt;
	c->bases[MODEL_IDTR] = UINT64_C(0xffff800000001000);
	msr_reset(m, c);
	if (m->features & MODEL_ODD_HOST)
		msr_set(c, X86VCPU_MSR_IA32_DEBUGCTL, DEBUGCTL_BTF);
}

static void begin(struct model *m, uint32_t features)
{
	m->features = features | variants_of_environment();
	m->fail_after = UINT32_MAX;
	m->nested_levels = 4;
	for (uint32_t i = 0; i < MODEL_FRAMES; i++)
		m->vmcb_cpu[i] = -1;
	for (uint32_t i = 0; i < MODEL_CPUS; i++)
		reset_cpu(m, &m->cpus[i], i);
	POISON_FRAMES(m->memory, MODEL_FRAMES);
	model_use(m, 0);
}

struct model *model_create(enum model_backend backend, uint32_t features)
{
	struct model *m = calloc(1, sizeof(*m));

	m->backend = backend;
	m->memory = aligned_alloc(4096, MODEL_FRAMES * 4096);
	m->guest = aligned_alloc(4096, MODEL_GUEST_SIZE);
	memset(m->memory, 0x5a, MODEL_FRAMES * 4096);
	memset(m->guest, 0, MODEL_GUEST_SIZE);
	begin(m, features);
	return m;
}

static void free_structures(struct model *m)
{
	for (uint32_t i = 0; i < MODEL_FRAMES; i++) {
		free(m->vmcs[i]);
		free(m->kept[i]);
	}
	for (uint32_t i = 0; i < MODEL_PICTURES; i++)
		free(m->pictures[i]);
}

void model_reset(struct model *m, uint32_t features)
{
	struct model new = {.backend = m->backend, .memory = m->memory, .guest = m->guest};

	free_structures(m);
	*m = new;
	begin(m, features);
}

void model_destroy(struct model *m)
{
	free_structures(m);
	UNPOISON_FRAMES(m->memory, MODEL_FRAMES);
	free(m->memory);
	free(m->guest);
	if (model == m)
		model = NULL;
	free(m);
}

void model_use(struct model *m, uint32_t number)
{
	model = m;
	cpu = &m->cpus[number % MODEL_CPUS];
}

void model_set_profile(struct model *m, const struct model_profile *profile)
{
	m->profile = profile;
	for (uint32_t i = 0; i < MODEL_CPUS; i++)
		msr_reset_profile(m, &m->cpus[i]);
}

void model_relax(struct model *m)
{
	m->relaxed = true;
}

void model_pass(struct model *m, uint64_t ticks)
{
	for (uint32_t i = 0; i < MODEL_CPUS; i++)
		m->cpus[i].tsc += ticks;
}

/* ---- Memory ---------------------------------------------------------------------------------------------- */

int frame_of(uint64_t hpa)
{
	const uint64_t index = (hpa - MODEL_FIRST_FRAME) / 4096;

	return hpa >= MODEL_FIRST_FRAME && index < MODEL_FRAMES && model->used[index] ? (int)index : -1;
}

static bool is_free(const struct model *m, uint64_t first, uint64_t count)
{
	for (uint64_t i = first; i < first + count; i++)
		if (i >= MODEL_FRAMES || m->used[i])
			return false;
	return true;
}

uint64_t model_alloc(struct model *m, uint64_t count, uint64_t align)
{
	if (m->fail_after == 0)
		return 0;
	if (m->fail_after != UINT32_MAX)
		m->fail_after--;
	for (uint64_t i = 0; i + count <= MODEL_FRAMES; i++) {
		const uint64_t hpa = MODEL_FIRST_FRAME + i * 4096;

		if (hpa % align || !is_free(m, i, count))
			continue;
		UNPOISON_FRAMES(m->memory + i * 4096, count);
		memset(m->memory + i * 4096, 0x5a, count * 4096);
		memset(&m->used[i], true, count);
		return hpa;
	}
	return 0;
}

void model_free(struct model *m, uint64_t hpa, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		const int frame = frame_of(hpa + i * 4096);

		if (frame < 0 || hpa & 0xfff) {
			complain("frame %" PRIx64 " is freed and was not allocated", hpa + i * 4096);
			continue;
		}
		vmcs_forget(m, frame);
		m->used[frame] = false;
		POISON_FRAMES(m->memory + frame * 4096, 1);
	}
}

void *model_memory(struct model *m, uint64_t hpa)
{
	const uint64_t offset = hpa - MODEL_FIRST_FRAME;

	return hpa >= MODEL_FIRST_FRAME && offset < MODEL_FRAMES * 4096 ? m->memory + offset : NULL;
}

uint64_t model_physical(struct model *m, const void *memory)
{
	const uintptr_t offset = (uintptr_t)memory - (uintptr_t)m->memory;

	return offset < MODEL_FRAMES * 4096 ? MODEL_FIRST_FRAME + offset : 0;
}

uint32_t model_frames_in_use(const struct model *m)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < MODEL_FRAMES; i++)
		count += m->used[i];
	return count;
}

void model_fail_allocation(struct model *m, uint32_t after)
{
	m->fail_after = after;
}

uint8_t *model_guest_memory(struct model *m)
{
	return m->guest;
}

void model_nested_levels(struct model *m, uint32_t levels)
{
	m->nested_levels = levels;
}

void model_nested_changed(struct model *m)
{
	m->generation++;
}

/* ---- Complaints and the trace ------------------------------------------------------------------------------ */

void complain(const char *format, ...)
{
	const size_t length = strlen(model->complaints);
	va_list arguments;
	char line[256];

	va_start(arguments, format);
	vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	/* Once is enough. */
	if (!strstr(model->complaints, line))
		snprintf(model->complaints + length, sizeof(model->complaints) - length, "%s\n", line);
}

const char *model_complaints(const struct model *m)
{
	return m->complaints;
}

void model_complain(const char *text)
{
	complain("%s", text);
}

void model_forgive(struct model *m)
{
	m->complaints[0] = '\0';
}

void trace(uint32_t operation, uint64_t a, uint64_t b)
{
	model->trace[model->trace_count++ % MODEL_TRACE] = (struct model_record){operation, cpu->number, a, b};
	model->operations[operation]++;
}

const struct model_record *model_trace(struct model *m, uint32_t *count)
{
	const uint64_t first = m->trace_count > MODEL_TRACE ? m->trace_count - MODEL_TRACE : 0;

	*count = (uint32_t)(m->trace_count - first);
	for (uint32_t i = 0; i < *count; i++)
		m->ordered[i] = m->trace[(first + i) % MODEL_TRACE];
	return m->ordered;
}

void model_trace_clear(struct model *m)
{
	m->trace_count = 0;
}

uint64_t model_operations(const struct model *m, uint32_t operation)
{
	return m->operations[operation];
}

const char *model_operation_name(uint32_t operation)
{
	static const char *const names[MODEL_TRACE_KINDS] = {
		"VMXON", "VMXOFF", "VMCLEAR", "VMPTRLD", "VMREAD", "VMWRITE", "INVEPT", "INVVPID", "RDMSR",
		"WRMSR", "read CR", "write CR", "XGETBV", "XSETBV", "CPUID", "entry", "exit", "VMSAVE",
		"VMLOAD", "GIF", "IF", "VERW",
	};

	return operation < MODEL_TRACE_KINDS ? names[operation] : "?";
}

/* ---- The host's own state ---------------------------------------------------------------------------------- */

static void note(const char *name, uint64_t before, uint64_t now)
{
	const size_t length = strlen(model->changes);

	if (before != now)
		snprintf(model->changes + length, sizeof(model->changes) - length, "%s %" PRIx64 " %" PRIx64 "\n", name,
			 before, now);
}

static void note_numbered(const char *format, unsigned number, uint64_t before, uint64_t now)
{
	char name[32];

	snprintf(name, sizeof(name), format, number);
	note(name, before, now);
}

void model_host_remember(struct model *m)
{
	m->remembered = *cpu;
}

static void note_registers(const struct cpu *old)
{
	static const char *const segments[8] = {"ES", "CS", "SS", "DS", "FS", "GS", "LDTR", "TR"};

	note("CR0", old->cr0, cpu->cr0);
	note("CR3", old->cr3, cpu->cr3);
	note("CR4", old->cr4, cpu->cr4);
	note("XCR0", old->xcr0, cpu->xcr0);
	note("IF", old->flags & RFLAGS_IF, cpu->flags & RFLAGS_IF);
	for (unsigned i = 0; i < 4; i++)
		note_numbered("DR%u", i, old->dr[i], cpu->dr[i]);
	note("DR6", old->dr6, cpu->dr6);
	note("DR7", old->dr7, cpu->dr7);
	for (unsigned i = 0; i < 8; i++)
		note(segments[i], old->selectors[i], cpu->selectors[i]);
	note("GDTR.limit", old->limits[MODEL_GDTR], cpu->limits[MODEL_GDTR]);
	note("TR.limit", old->tr_limit, cpu->tr_limit);
	note("IDTR.limit", old->limits[MODEL_IDTR], cpu->limits[MODEL_IDTR]);
	note("GDTR.base", old->bases[MODEL_GDTR], cpu->bases[MODEL_GDTR]);
	note("IDTR.base", old->bases[MODEL_IDTR], cpu->bases[MODEL_IDTR]);
}

const char *model_host_changes(struct model *m)
{
	const struct cpu *old = &m->remembered;

	m->changes[0] = '\0';
	if (!memcmp(old, cpu, offsetof(struct cpu, number)))
		return m->changes;
	note_registers(old);
	for (unsigned i = 0; i < cpu->msr_count; i++)
		note_numbered("MSR.%x", cpu->msrs[i].index, old->msrs[i].value, cpu->msrs[i].value);
	return m->changes;
}
