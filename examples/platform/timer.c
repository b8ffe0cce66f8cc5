/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Timers: a queue for each CPU, driven by the one-shot timer of its local APIC (SDM 12.5.4). A queue's lock is
 * never held while a timer's function runs.
 */
#include "platform.h"
#include "internal.h"
#include "x86vcpu/status.h"

#define TIMERS 64u
#define DIVIDE_BY_1 0xbu
#define LVT_MASKED (1u << 16)
#define NEVER UINT64_MAX
#define FARTHEST_NS UINT64_C(1000000000)

enum timer_state { FREE, ARMED, RUNNING };

struct timer {
	enum timer_state state;
	bool cancelled;
	uint64_t generation;
	uint64_t deadline;
	x86vcpu_timer_function function;
	void *arg;
};

struct queue {
	struct spinlock lock;
	struct timer timers[TIMERS];
};

static struct queue queues[PLATFORM_CPUS];
static uint64_t counts_per_ms;

/* How far the local APIC's timer counts in a millisecond of the TSC. */
static uint64_t measure(void)
{
	const uint64_t ticks = platform_tsc_khz();
	uint64_t begin;

	lapic_write(LAPIC_LVT_TIMER, LVT_MASKED);
	lapic_write(LAPIC_DIVIDE_CONFIGURATION, DIVIDE_BY_1);
	begin = rdtsc();
	lapic_write(LAPIC_INITIAL_COUNT, UINT32_MAX);
	while (rdtsc() - begin < ticks)
		cpu_pause();
	begin = UINT32_MAX - lapic_read(LAPIC_CURRENT_COUNT);
	lapic_write(LAPIC_INITIAL_COUNT, 0);
	return begin ? begin : 1;
}

/* Has the executing CPU interrupted at the queue's earliest deadline, or sooner when that is far away. */
static void program(const struct queue *queue)
{
	const uint64_t now = platform_time_ns();
	uint64_t deadline = NEVER, ns, count;

	for (unsigned i = 0; i < TIMERS; i++)
		if (queue->timers[i].state == ARMED && queue->timers[i].deadline < deadline)
			deadline = queue->timers[i].deadline;
	ns = deadline > now ? deadline - now : 0;
	count = (ns < FARTHEST_NS ? ns : FARTHEST_NS) * counts_per_ms / 1000000 + 1;
	if (count > UINT32_MAX)
		count = UINT32_MAX;
	lapic_write(LAPIC_LVT_TIMER, PLATFORM_TIMER_VECTOR);
	lapic_write(LAPIC_DIVIDE_CONFIGURATION, DIVIDE_BY_1);
	lapic_write(LAPIC_INITIAL_COUNT, deadline == NEVER ? 0 : (uint32_t)count);
}

/* Runs one timer's function. The lock is held before and after, but not during it. */
static void expire(struct queue *queue, struct timer *timer, uint64_t now, uint64_t *flags)
{
	uint64_t next;

	timer->state = RUNNING;
	spin_unlock(&queue->lock, *flags);
	next = timer->function(timer->arg, now);
	*flags = spin_lock(&queue->lock);
	timer->deadline = next;
	timer->state = next && !timer->cancelled ? ARMED : FREE;
}

/* Each at most once: one that wants to be called again at once gets an interrupt of its own. */
static void on_interrupt(struct trap_frame *frame)
{
	struct queue *queue = &queues[cpu_index()];
	const uint64_t now = platform_time_ns();
	uint64_t flags = spin_lock(&queue->lock);

	(void)frame;
	for (unsigned i = 0; i < TIMERS; i++) {
		struct timer *timer = &queue->timers[i];

		if (timer->state == ARMED && timer->deadline <= now)
			expire(queue, timer, now, &flags);
	}
	program(queue);
	spin_unlock(&queue->lock, flags);
}

void timer_init(void)
{
	if (counts_per_ms)
		return;
	trap_set_handler(PLATFORM_TIMER_VECTOR, on_interrupt);
	counts_per_ms = measure();
}

int32_t platform_timer_start(uint64_t deadline, x86vcpu_timer_function function, void *arg,
			     struct x86vcpu_timer *timer)
{
	const unsigned cpu = cpu_index();
	struct queue *queue = &queues[cpu];
	int32_t status = X86VCPU_ERR_TIMER_UNAVAILABLE;
	uint64_t flags;

	timer_init();
	flags = spin_lock(&queue->lock);
	for (unsigned i = 0; i < TIMERS; i++) {
		struct timer *t = &queue->timers[i];

		if (t->state != FREE)
			continue;
		*t = (struct timer){ ARMED, false, t->generation + 1, deadline, function, arg };
		*timer = (struct x86vcpu_timer){ { (uint64_t)cpu << 32 | i, t->generation } };
		program(queue);
		status = X86VCPU_OK;
		break;
	}
	spin_unlock(&queue->lock, flags);
	return status;
}

/* The interrupt that was meant for it may still come; it finds nothing to do. */
int32_t platform_timer_cancel(const struct x86vcpu_timer *timer)
{
	const unsigned cpu = (unsigned)(timer->opaque[0] >> 32) % PLATFORM_CPUS;
	struct queue *queue = &queues[cpu];
	struct timer *t = &queue->timers[timer->opaque[0] % TIMERS];

	for (;;) {
		const uint64_t flags = spin_lock(&queue->lock);
		const bool ours = t->generation == timer->opaque[1];
		const bool running = ours && t->state == RUNNING;

		if (ours)
			t->cancelled = true;
		if (ours && t->state == ARMED)
			t->state = FREE;
		spin_unlock(&queue->lock, flags);
		if (!running)
			return X86VCPU_OK;
		if (cpu == cpu_index())
			return X86VCPU_ERR_BAD_STATE; /* from within the function itself */
		cpu_pause();
	}
}
