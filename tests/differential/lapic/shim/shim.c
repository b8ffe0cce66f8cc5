/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine of vCPUs of which only the local APICs live: what src/ours.rs calls. The guest's flags let every
 * interrupt in, so that what is delivered is the local APIC's decision alone.
 */
#include <stdlib.h>
#include <string.h>

#include "cpu/x86.h"
#include "emul/guest.h"
#include "emul/machine.h"
#include "x86vcpu/apic.h"
#include "x86vcpu/msr.h"

/* Answers, beside the values of enum emul. */
#define SHIM_NOT_APIC 100

struct shim_host {
	uint64_t (*alloc_frame)(void *ctx);
	void (*free_frame)(void *ctx, uint64_t hpa);
	uint64_t (*time_ns)(void *ctx);
	uint64_t (*tsc)(void);
	int32_t (*timer_start)(void *ctx, uint64_t deadline, x86vcpu_timer_function function, void *arg,
			       struct x86vcpu_timer *timer);
	int32_t (*timer_cancel)(void *ctx, const struct x86vcpu_timer *timer);
	void (*notify)(void *ctx, void *machine, void *vcpu, uint32_t cpu);
	void (*send_interrupt)(void *ctx, void *machine, void *vcpu, uint32_t vector); /* or NULL */
};

struct shim {
	struct x86vcpu_machine machine;
	struct x86vcpu_host_ops ops;
	struct x86vcpu_exit exit;
	uint32_t vcpus;
	struct guest guests[MACHINE_VCPUS];
};

struct shim *shim_create(const struct shim_host *host, uint32_t vcpus);
void shim_destroy(struct shim *s);
int shim_read(struct shim *s, uint32_t vcpu, uint32_t offset, uint32_t bytes, uint64_t *value);
int shim_write(struct shim *s, uint32_t vcpu, uint32_t offset, uint32_t bytes, uint64_t value, int *ended);
int shim_rdmsr(struct shim *s, uint32_t vcpu, uint32_t msr, uint64_t *value);
int shim_wrmsr(struct shim *s, uint32_t vcpu, uint32_t msr, uint64_t value, int *ended);
uint32_t shim_register(struct shim *s, uint32_t vcpu, uint32_t reg);
uint32_t shim_errors(const struct shim *s, uint32_t vcpu);
void shim_post(struct shim *s, uint32_t vcpu, uint8_t vector, uint32_t level);
void shim_look(struct shim *s, uint32_t vcpu);
int shim_enter(struct shim *s, uint32_t vcpu);
uint32_t shim_signals(struct shim *s, uint32_t vcpu);

static void *phys_to_virt(void *ctx, uint64_t hpa)
{
	(void)ctx;
	return (void *)hpa;
}

/* The TSC counts nanoseconds. */
static uint64_t nanos_to_ticks(void *ctx, uint64_t nanos)
{
	(void)ctx;
	return nanos;
}

/* A guest with IF = 1 and nothing that blocks. */
static uint64_t read_field(struct guest *g, enum guest_field field)
{
	(void)g;
	return field == G_RFLAGS ? RFLAGS_IF | RFLAGS_FIXED : 0;
}

static void set_host(struct shim *s, const struct shim_host *host)
{
	s->ops = (struct x86vcpu_host_ops){
		.size = sizeof(s->ops),
		.abi_version = X86VCPU_ABI_VERSION,
		.alloc_frame = host->alloc_frame,
		.free_frame = host->free_frame,
		.phys_to_virt = phys_to_virt,
		.nanos_to_ticks = nanos_to_ticks,
		.time_ns = host->time_ns,
		.timer_start = host->timer_start,
		.timer_cancel = host->timer_cancel,
		.notify = host->notify,
		.send_interrupt = host->send_interrupt,
	};
}

static bool add_vcpu(struct shim *s, const struct shim_host *host, uint32_t id)
{
	struct guest *g = &s->guests[id];

	g->read_field = read_field;
	g->host = &s->ops;
	g->vcpu_id = id;
	g->opaque = (void *)(uintptr_t)id;
	g->limits.has_apic = true;
	g->limits.physical_mask = (UINT64_C(1) << 40) - 1;
	g->host_tsc = host->tsc;
	g->exit = &s->exit;
	g->machine = &s->machine;
	if (lapic_create(g))
		return false;
	lapic_reset(g);
	s->machine.vcpus[id] = g;
	s->vcpus = id + 1;
	return true;
}

/* NULL: there is no frame. */
struct shim *shim_create(const struct shim_host *host, uint32_t vcpus)
{
	struct shim *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	set_host(s, host);
	s->machine.last_arbitrated = MACHINE_VCPUS - 1;
	for (uint32_t id = 0; id < vcpus; id++)
		if (!add_vcpu(s, host, id)) {
			shim_destroy(s);
			return NULL;
		}
	return s;
}

void shim_destroy(struct shim *s)
{
	for (uint32_t id = 0; id < s->vcpus; id++) {
		lapic_timer_stop(&s->guests[id]);
		lapic_destroy(&s->guests[id]);
	}
	free(s);
}

/* *ended: the vector of INTERRUPT_END, or -1. */
static int answer(struct shim *s, int emul, int *ended)
{
	*ended = -1;
	if (emul == EMUL_NEXT_EXIT && s->exit.kind == X86VCPU_EXIT_INTERRUPT_END && s->exit.u.interrupt_end.has_vector)
		*ended = (int)s->exit.u.interrupt_end.vector;
	return emul;
}

int shim_read(struct shim *s, uint32_t vcpu, uint32_t offset, uint32_t bytes, uint64_t *value)
{
	struct guest *g = &s->guests[vcpu];

	if (!lapic_at(&g->lapic, (g->lapic.base & ~UINT64_C(0xfff)) + offset, bytes))
		return SHIM_NOT_APIC;
	*value = lapic_mmio_read(g, offset, bytes);
	return EMUL_NEXT;
}

int shim_write(struct shim *s, uint32_t vcpu, uint32_t offset, uint32_t bytes, uint64_t value, int *ended)
{
	struct guest *g = &s->guests[vcpu];

	*ended = -1;
	if (!lapic_at(&g->lapic, (g->lapic.base & ~UINT64_C(0xfff)) + offset, bytes))
		return SHIM_NOT_APIC;
	return answer(s, lapic_mmio_write(g, offset, bytes, value), ended);
}

int shim_rdmsr(struct shim *s, uint32_t vcpu, uint32_t msr, uint64_t *value)
{
	return lapic_rdmsr(&s->guests[vcpu], msr, value);
}

int shim_wrmsr(struct shim *s, uint32_t vcpu, uint32_t msr, uint64_t value, int *ended)
{
	return answer(s, lapic_wrmsr(&s->guests[vcpu], msr, value), ended);
}

uint32_t shim_register(struct shim *s, uint32_t vcpu, uint32_t reg)
{
	return lapic_register(&s->guests[vcpu], reg);
}

/* What a write of the error register would show. */
uint32_t shim_errors(const struct shim *s, uint32_t vcpu)
{
	return s->guests[vcpu].lapic.errors;
}

void shim_post(struct shim *s, uint32_t vcpu, uint8_t vector, uint32_t level)
{
	guest_post_interrupt(&s->guests[vcpu], vector, level);
}

void shim_look(struct shim *s, uint32_t vcpu)
{
	guest_look(&s->guests[vcpu]);
}

/* The vector of the interrupt that goes in at the next entry, or -1. */
int shim_enter(struct shim *s, uint32_t vcpu)
{
	struct guest_window window;
	const struct guest_event event = guest_next_event(&s->guests[vcpu], &window);

	return event.valid && event.type == GUEST_EVENT_EXTERNAL ? event.vector : -1;
}

/* Takes what else was sent: bit 0 NMI, bit 1 INIT, bit 2 start-up, its page from bit 8. */
uint32_t shim_signals(struct shim *s, uint32_t vcpu)
{
	struct guest_events *events = &s->guests[vcpu].events;
	const uint32_t startup = events->startup;
	const uint32_t signals = events->nmi | events->init << 1 | (startup ? 4u | (startup & 0xff) << 8 : 0);

	events->nmi = events->init = events->startup = 0;
	return signals;
}
