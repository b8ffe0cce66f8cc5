/* SPDX-License-Identifier: Apache-2.0 */
/* The host's services, each with the checks that its description in host.h asks for, and guest RAM. */
#include "world.h"

#include <stdlib.h>
#include <string.h>

struct world world;
struct world_memory world_memory;

/* ---- Guest RAM ----------------------------------------------------------------------------------------- */

#define PAGES (MODEL_GUEST_SIZE / 4096)

static void put64(uint64_t gpa, uint64_t value)
{
	memcpy(world_memory.template + gpa, &value, sizeof(value));
}

#define PRESENT 7u /* writable, user */
#define LARGE (1u << 7)

static void make_page_tables(void)
{
	put64(WORLD_PML4, WORLD_PDPT | PRESENT);
	put64(WORLD_PML4 + 511 * 8, WORLD_PDPT | PRESENT);
	for (uint64_t i = 0; i < 5; i++) {
		put64(WORLD_PDPT + 8 * i, (WORLD_PD + 0x1000 * i) | PRESENT);
		if (i < 4)
			put64(WORLD_PAE_PDPT + 8 * i, (WORLD_PD + 0x1000 * i) | 1);
		for (uint64_t k = 0; k < 512; k++)
			put64(WORLD_PD + 0x1000 * i + 8 * k, i << 30 | k << 21 | LARGE | PRESENT);
	}
	for (uint32_t i = 0; i < 1024; i++) {
		const uint32_t entry = i << 22 | LARGE | PRESENT;

		memcpy(world_memory.template + WORLD_PD32 + 4 * i, &entry, sizeof(entry));
	}
}

static void make_template(void)
{
	struct world_memory *memory = &world_memory;

	memory->template = calloc(1, MODEL_GUEST_SIZE);
	memory->expected = malloc(MODEL_GUEST_SIZE);
	memory->far = calloc(1, WORLD_FAR_SIZE);
	memory->top = calloc(1, 0x1000);
	make_page_tables();
	/* MOV to and from memory at RBX, over and over. */
	for (uint64_t at = WORLD_CODE; at + 4 <= WORLD_CODE + 0x1000; at += 4)
		memcpy(memory->template + at, "\x89\x03\x8b\x03", 4);
	memcpy(memory->expected, memory->template, MODEL_GUEST_SIZE);
}

void host_reset_memory(uint8_t *guest)
{
	struct world_memory *memory = &world_memory;

	if (!memory->template) {
		make_template();
		memory->changed = UINT64_MAX;
	}
	for (uint64_t page = 0; page < PAGES; page++) {
		if (!(memory->changed >> page & 1))
			continue;
		memcpy(memory->expected + page * 4096, memory->template + page * 4096, 4096);
		memcpy(guest + page * 4096, memory->template + page * 4096, 4096);
	}
	memory->changed = 0;
}

void world_write(struct world *w, uint64_t gpa, const void *bytes, size_t count)
{
	gpa %= MODEL_GUEST_SIZE;
	if (count > MODEL_GUEST_SIZE - gpa)
		count = MODEL_GUEST_SIZE - gpa;
	if (!count)
		return;
	memcpy(model_guest_memory(w->m) + gpa, bytes, count);
	memcpy(world_memory.expected + gpa, bytes, count);
	for (uint64_t page = gpa / 4096; page <= (gpa + count - 1) / 4096; page++)
		world_memory.changed |= UINT64_C(1) << page;
}

static bool is_in_region(const struct world *w, uint64_t gpa)
{
	if (w->flags & WORLD_NO_MEMORY)
		return false;
	return gpa < 0x20000 || (gpa >= 0x30000 && gpa < MODEL_GUEST_SIZE) ||
	       (gpa >= WORLD_FAR && gpa < WORLD_FAR + WORLD_FAR_SIZE) || gpa >= WORLD_TOP;
}

/*
 * An instruction on device memory may store into memory, and INS, OUTS and it set accessed and dirty flags. The library
 * writes through the memory regions only: guest memory is then expected to have what it wrote there.
 */
static bool take_writes(const struct world *w, uint8_t *expected, const uint8_t *seen, uint64_t page)
{
	if (!is_in_region(w, page * 4096))
		return false;
	memcpy(expected + page * 4096, seen + page * 4096, 4096);
	world_memory.changed |= UINT64_C(1) << page;
	return true;
}

void host_check_memory(struct world *w)
{
	const uint8_t *seen = model_guest_memory(w->m);

	for (uint64_t page = 0; page < PAGES; page++) {
		uint8_t *expected = world_memory.expected;

		fuzz_check(!memcmp(seen + page * 4096, expected + page * 4096, 4096) ||
				   take_writes(w, expected, seen, page),
			   "the library has written to guest memory");
	}
}

/* Behind read_guest there is the RAM that no region has, with a hole. */
static bool is_readable(uint64_t gpa)
{
	return gpa < MODEL_GUEST_SIZE && (gpa < 0x28000 || gpa >= 0x2a000);
}

/* ---- Frames -------------------------------------------------------------------------------------------- */

static uint64_t alloc_frames(void *ctx, uint64_t count, uint64_t align)
{
	struct world *w = ctx;

	fuzz_check(!w->running || w->depth, "a frame is allocated in run");
	fuzz_check(count && align >= 4096 && !(align & (align - 1)), "%llu frames aligned to %llu",
		   (unsigned long long)count, (unsigned long long)align);
	return host_turns(w, WORLD_ALLOC, 0) ? 0 : model_alloc(w->m, count, align);
}

static uint64_t alloc_frame(void *ctx)
{
	return alloc_frames(ctx, 1, 4096);
}

static void free_frames(void *ctx, uint64_t hpa, uint64_t count)
{
	struct world *w = ctx;

	fuzz_check((!w->running || w->depth) && hpa, "frame %llx is freed", (unsigned long long)hpa);
	host_turns(w, WORLD_FREE, 0);
	model_free(w->m, hpa, count);
}

static void free_frame(void *ctx, uint64_t hpa)
{
	free_frames(ctx, hpa, 1);
}

static void *phys_to_virt(void *ctx, uint64_t hpa)
{
	struct world *w = ctx;
	void *memory = model_memory(w->m, hpa);

	fuzz_check(memory, "phys_to_virt of %llx", (unsigned long long)hpa);
	host_turns(w, WORLD_PHYS_TO_VIRT, 0);
	return memory;
}

/* ---- The other required ones --------------------------------------------------------------------------- */

static int32_t read_guest(void *ctx, void *machine, uint64_t gpa, void *buf, uint64_t len)
{
	struct world *w = ctx;

	(void)machine;
	fuzz_check(len >= 1 && len <= 4096 && (gpa & 0xfff) + len <= 4096, "read_guest(%llx, %llu)",
		   (unsigned long long)gpa, (unsigned long long)len);
	fuzz_check(!is_in_region(w, gpa), "read_guest(%llx), which a region has", (unsigned long long)gpa);
	switch (host_turns(w, WORLD_READ_GUEST, gpa)) {
	case WORLD_FAILS:
		return in_8(w->in) & 1 ? 1 + in_8(w->in) : -1 - in_8(w->in);
	case WORLD_ANSWERS:
		for (uint64_t i = 0; i < len; i++)
			((uint8_t *)buf)[i] = in_8(w->in);
		return X86VCPU_OK;
	default:
		break;
	}
	if (!is_readable(gpa) || !is_readable(gpa + len - 1))
		return X86VCPU_ERR_INVALID_INPUT;
	memcpy(buf, model_guest_memory(w->m) + gpa, len);
	return X86VCPU_OK;
}

static uint64_t nanos_to_ticks(void *ctx, uint64_t nanos)
{
	struct world *w = ctx;

	switch (host_turns(w, WORLD_TICKS, 0)) {
	case WORLD_FAILS:
		return 0;
	case WORLD_ANSWERS:
		return in_value(w->in);
	default:
		return w->flags & WORLD_NO_FREQUENCY ? 0 : nanos;
	}
}

static void dispatch(void *ctx, uint32_t vector)
{
	struct world *w = ctx;

	fuzz_check((w->running || w->depth) && w->backend == MODEL_VMX && vector < 256, "dispatch of %x", vector);
	if (w->running)
		world_check_host(w, "during dispatch");
	host_turns(w, WORLD_DISPATCH, 0);
}

static void service(void *ctx)
{
	struct world *w = ctx;

	fuzz_check((w->running || w->depth) && w->backend == MODEL_SVM, "service_pending_interrupt");
	if (w->running)
		world_check_host(w, "during service");
	host_turns(w, WORLD_SERVICE, 0);
}

static uint32_t current_cpu(void *ctx)
{
	host_turns(ctx, WORLD_CPU, 0);
	return ((struct world *)ctx)->cpu;
}

static int32_t read_msr(void *ctx, uint32_t msr, uint64_t *value)
{
	if (host_turns(ctx, WORLD_READ_MSR, 0) == WORLD_FAILS)
		return X86VCPU_ERR_UNSUPPORTED;
	return model_try_rdmsr(msr, value) ? X86VCPU_ERR_UNSUPPORTED : X86VCPU_OK;
}

static void take_log(void *ctx, uint32_t level, const char *text, uint64_t len)
{
	host_turns(ctx, WORLD_LOG, 0);
	fuzz_check(level >= 1 && level <= 5 && len && !memchr(text, 0, len) && !memchr(text, '\n', len), "log line: %.*s",
		   (int)len, text);
}

/* ---- Time ---------------------------------------------------------------------------------------------- */

static uint64_t time_ns(void *ctx)
{
	struct world *w = ctx;

	return host_turns(w, WORLD_TIME, 0) == WORLD_ANSWERS ? in_value(w->in) : w->now;
}

static int32_t timer_start(void *ctx, uint64_t deadline, x86vcpu_timer_function function, void *arg,
			   struct x86vcpu_timer *timer)
{
	struct world *w = ctx;
	const enum world_malice malice = host_turns(w, WORLD_TIMER_START, 0);

	if (malice == WORLD_FAILS)
		return in_8(w->in) & 1 ? 1 : X86VCPU_ERR_TIMER_UNAVAILABLE;
	/* It is due at once, and again. */
	if (malice == WORLD_ANSWERS)
		deadline = function(arg, deadline);
	for (unsigned i = 0; i < WORLD_TIMERS; i++) {
		if (w->timers[i].armed)
			continue;
		if (!deadline)
			break;
		w->timers[i] = (struct world_timer){true, deadline, function, arg, ++w->timer_serial};
		timer->opaque[0] = i;
		timer->opaque[1] = w->timer_serial;
		return X86VCPU_OK;
	}
	timer->opaque[0] = 0;
	timer->opaque[1] = w->timer_serial ? w->timer_serial : ++w->timer_serial;
	return deadline ? X86VCPU_ERR_NO_MEMORY : X86VCPU_OK;
}

static int32_t timer_cancel(void *ctx, const struct x86vcpu_timer *timer)
{
	struct world *w = ctx;
	struct world_timer *t = &w->timers[timer->opaque[0] % WORLD_TIMERS];

	fuzz_check(timer->opaque[0] < WORLD_TIMERS && timer->opaque[1] && timer->opaque[1] <= w->timer_serial,
		   "timer_cancel of what timer_start never gave");
	if (host_turns(w, WORLD_TIMER_CANCEL, 0) == WORLD_FAILS || w->refuse_cancel)
		return X86VCPU_ERR_TIMER_UNAVAILABLE;
	if (t->serial == timer->opaque[1])
		t->armed = false;
	return X86VCPU_OK;
}

#define MOST_EXPIRIES 64u

void world_pass(struct world *w, uint64_t nanoseconds)
{
	w->now += nanoseconds;
	for (unsigned i = 0; i < WORLD_TIMERS; i++) {
		struct world_timer *t = &w->timers[i];

		for (unsigned k = 0; k < MOST_EXPIRIES && t->armed && t->deadline <= w->now; k++) {
			const uint64_t now = w->now, again = t->function(t->arg, now);

			fuzz_check(!again || again > now, "a timer at %llu wants to be called at %llu",
				   (unsigned long long)now, (unsigned long long)again);
			t->armed = again;
			t->deadline = again;
		}
	}
}

/* ---- Events -------------------------------------------------------------------------------------------- */

/* What world_machine and abi_create gave. */
static void check_opaque(const void *machine, const void *vcpu)
{
	fuzz_check((uintptr_t)machine - 1 < WORLD_VMS && (uintptr_t)vcpu < 64, "a host operation for %p, %p", machine, vcpu);
}

static void notify(void *ctx, void *machine, void *vcpu, uint32_t cpu)
{
	struct world *w = ctx;

	check_opaque(machine, vcpu);
	fuzz_check(cpu == X86VCPU_NO_CPU || ((w->running || w->depth) && cpu == w->cpu), "notify of CPU %u", cpu);
	host_turns(w, WORLD_NOTIFY, 0);
}

static void send_interrupt(void *ctx, void *machine, void *vcpu, uint32_t vector)
{
	struct world *w = ctx;

	check_opaque(machine, vcpu);
	fuzz_check(vector >= 16 && vector < 256, "send_interrupt(%x)", vector);
	host_turns(w, WORLD_SEND, 0);
	if (w->sent_count < WORLD_SENT)
		w->sent[w->sent_count++] = (uint32_t)(uintptr_t)vcpu << 8 | vector;
}

static int32_t acknowledge(void *ctx, void *machine, void *vcpu)
{
	struct world *w = ctx;
	const enum world_malice malice = host_turns(w, WORLD_ACKNOWLEDGE, 0);
	const uint8_t how = in_8(w->in);
	const uintptr_t n = (uintptr_t)vcpu;

	check_opaque(machine, vcpu);
	if (malice == WORLD_FAILS)
		return -1 - how;
	/* The model's guest takes one interrupt after the other: nothing clears its IF. */
	if ((how & 1 || (!(how & 2) && ++w->acknowledged > 4)) && n < WORLD_VCPUS && w->vcpu[n])
		world_check_status(x86vcpu_set_lint(w->vcpu[n], 0, 0), "set_lint");
	return malice == WORLD_ANSWERS ? (int32_t)in_32(w->in) : how & 2 ? -1 : how;
}

/* ---- The table ----------------------------------------------------------------------------------------- */

void host_make_ops(struct world *w)
{
	const uint32_t flags = w->flags;

	w->ops = (struct x86vcpu_host_ops){
		.size = sizeof(w->ops),
		.abi_version = X86VCPU_ABI_VERSION,
		.alloc_frame = alloc_frame,
		.free_frame = free_frame,
		.alloc_contiguous_frames = alloc_frames,
		.free_contiguous_frames = free_frames,
		.phys_to_virt = phys_to_virt,
		.read_guest = read_guest,
		.nanos_to_ticks = nanos_to_ticks,
		.dispatch_external_interrupt = dispatch,
		.service_pending_interrupt = service,
		.current_cpu = flags & WORLD_NO_CURRENT_CPU ? NULL : current_cpu,
		.read_msr = flags & WORLD_NO_READ_MSR ? NULL : read_msr,
		.log = flags & WORLD_NO_LOG ? NULL : take_log,
		.time_ns = flags & WORLD_NO_CLOCK ? NULL : time_ns,
		.timer_start = flags & (WORLD_NO_TIMERS | WORLD_NO_CLOCK) ? NULL : timer_start,
		.timer_cancel = flags & (WORLD_NO_TIMERS | WORLD_NO_CLOCK) ? NULL : timer_cancel,
		.notify = flags & WORLD_NO_NOTIFY ? NULL : notify,
		.send_interrupt = flags & WORLD_NO_SEND ? NULL : send_interrupt,
		.acknowledge_interrupt = flags & WORLD_NO_ACKNOWLEDGE ? NULL : acknowledge,
	};
}
