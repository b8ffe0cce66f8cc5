/* SPDX-License-Identifier: Apache-2.0 */
/* A host whose services fail, answer anything, call the library, or change guest memory while the library reads it. */
#include "world.h"

#include <string.h>

#include "abi.h"
#include "emul/guest.h"

static const char *const services[WORLD_SERVICES] = {
	"alloc_frame", "free_frame", "phys_to_virt", "read_guest", "nanos_to_ticks", "dispatch_external_interrupt",
	"service_pending_interrupt", "current_cpu", "read_msr", "log", "time_ns", "timer_start", "timer_cancel", "notify",
	"send_interrupt", "acknowledge_interrupt", "a memory region",
};

const char *world_service_name(uint32_t service)
{
	return services[service];
}

void world_turn_hostile(struct world *w)
{
	struct input *in = w->in;
	const uint8_t which = in_8(in), how = in_8(in);

	w->hostility = (struct hostility){
		.services = which < WORLD_SERVICES ? 1u << which : which < 0xc0 ? in_32(in) : UINT32_MAX,
		.malice = 1 + how % (WORLD_MALICES - 1),
		.skip = how >> 3 & 7,
		.times = how >= 0xc0 ? UINT8_MAX : 1 + (how >> 6),
	};
	fuzz_tell("from now on hostile: %x, malice %u, after %u, %u times", w->hostility.services, w->hostility.malice,
		  w->hostility.skip, w->hostility.times);
}

/* Both of what the guest has and of what it is expected to have. */
static void flip(struct world *w, uint64_t gpa)
{
	uint8_t *memory = model_guest_memory(w->m);
	uint8_t changed;

	gpa = (gpa + in_8(w->in) % 16) % MODEL_GUEST_SIZE;
	changed = memory[gpa] ^ (uint8_t)(in_8(w->in) | 1);
	world_write(w, gpa, &changed, 1);
}

static void reenter(struct world *w)
{
	const uint8_t call = w->hostility.fixed ? w->hostility.call : in_8(w->in);
	const uint8_t how = w->hostility.fixed ? w->hostility.how : in_8(w->in);

	if (!w->abi)
		return;
	w->depth++;
	abi_reenter(w->abi, call, how);
	w->depth--;
	world_check(w, "a call from a host op");
}

enum world_malice host_turns(struct world *w, enum world_service service, uint64_t gpa)
{
	struct hostility *h = &w->hostility;

	if (w->depth || !h->times || !(h->services >> service & 1))
		return WORLD_HONEST;
	if (h->skip) {
		h->skip--;
		return WORLD_HONEST;
	}
	h->times -= h->times != UINT8_MAX;
	w->turns++;
	fuzz_tell("  %s: malice %u", services[service], h->malice);
	if (h->malice == WORLD_REENTERS)
		reenter(w);
	if (h->malice == WORLD_FLIPS)
		flip(w, gpa);
	return h->malice <= WORLD_ANSWERS ? h->malice : WORLD_HONEST;
}

/* The linker puts these in the place of the library's, wherever another of its files calls them (-Wl,--wrap). */
const uint8_t *__real_guest_memory_at(struct guest *g, uint64_t gpa, uint64_t *left);
const uint8_t *__wrap_guest_memory_at(struct guest *g, uint64_t gpa, uint64_t *left);
const uint8_t *__wrap_guest_memory_at(struct guest *g, uint64_t gpa, uint64_t *left)
{
	if (world.m && world.hostility.malice == WORLD_FLIPS)
		host_turns(&world, WORLD_MEMORY, gpa);
	return __real_guest_memory_at(g, gpa, left);
}

int32_t __real_guest_read_physical(struct guest *g, uint64_t gpa, void *buf, uint64_t len);
int32_t __wrap_guest_read_physical(struct guest *g, uint64_t gpa, void *buf, uint64_t len);
int32_t __wrap_guest_read_physical(struct guest *g, uint64_t gpa, void *buf, uint64_t len)
{
	if (world.m && world.hostility.malice == WORLD_FLIPS)
		host_turns(&world, WORLD_MEMORY, gpa);
	return __real_guest_read_physical(g, gpa, buf, len);
}
