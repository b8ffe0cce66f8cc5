/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between the local APICs of a machine (SDM 12.6), INIT and start-up, and kicks. */
#include "event_fixture.h"

#include "emul/reset.h"
#include "emul/machine.h"
#include "x86vcpu/apic.h"

Suite *lapic_message_suite(void);

#define VCPUS 20u

static struct x86vcpu_machine machine;
static struct guest others[VCPUS];
static uint32_t tprs[VCPUS];
static struct {
	unsigned calls;
	uint32_t vcpu, cpu;
	unsigned locked; /* calls with the machine's lock held */
} notified;

static void notify(void *ctx, void *machine_opaque, void *vcpu, uint32_t cpu)
{
	(void)ctx;
	ck_assert_ptr_eq(machine_opaque, &machine);
	ck_assert_uint_eq(machine.lock, 0); /* or a host that sends a message here waits for itself */
	notified.calls++;
	notified.locked += machine.lock;
	notified.vcpu = (uint32_t)(uintptr_t)vcpu;
	notified.cpu = cpu;
}

static uint64_t one_to_one(void *ctx, uint64_t nanos)
{
	(void)ctx;
	return nanos;
}

static struct x86vcpu_host_ops host = {.notify = notify, .nanos_to_ticks = one_to_one};

/* The sender is the fixture's guest, vCPU 0; all are enabled, in one mode. */
static struct guest *make_machine(bool x2apic)
{
	struct guest *sender = guest_in(FIXTURE_LONG);

	memset(&machine, 0, sizeof(machine));
	memset(others, 0, sizeof(others));
	memset(&notified, 0, sizeof(notified));
	host.send_interrupt = NULL;
	machine.last_arbitrated = MACHINE_VCPUS - 1;
	for (unsigned i = 0; i < VCPUS; i++) {
		struct guest *g = i ? &others[i] : sender;

		if (i)
			g->lapic.tpr = &tprs[i];
		g->host = &host;
		g->vcpu_id = i;
		g->machine_opaque = &machine;
		g->opaque = (void *)(uintptr_t)i;
		g->limits.has_apic = true;
		g->limits.physical_mask = (UINT64_C(1) << 40) - 1;
		g->machine = &machine;
		lapic_reset(g);
		g->lapic.svr = 0x1ff;
		g->lapic.ldr = i < 8 ? 1u << (24 + i) : 0;
		if (x2apic)
			ck_assert(lapic_write_base(g, g->lapic.base | APIC_BASE_EXTD));
		machine.vcpus[i] = g;
	}
	return sender;
}

static uint64_t have(uint8_t vector)
{
	uint64_t set = 0;

	for (unsigned i = 0; i < VCPUS; i++)
		if (machine.vcpus[i]->lapic.irr[vector >> 6] >> (vector & 63) & 1)
			set |= UINT64_C(1) << i;
	return set;
}

#define ALL_VCPUS ((UINT64_C(1) << VCPUS) - 1)

/* ---- Destinations ------------------------------------------------------------------------------------------ */

/* ICR: low half, destination, who gets vector 0x41. */
struct sending {
	uint32_t low, destination;
	uint64_t got;
};

static const struct sending in_xapic[] = {
	{0x4041, 1, 1u << 1}, {0x4041, 0, 1}, {0x4041, 19, 1u << 19}, {0x4041, 20, 0},
	{0x4041, 65, 0}, {0x4041, 128, 0}, /* LA-06 */
	{0x4041, 0xff, ALL_VCPUS},
	{0x4841, 0x02, 1u << 1}, {0x4841, 0x80, 1u << 7}, {0x4841, 0x0c, 3u << 2}, {0x4841, 0xff, ALL_VCPUS}, /* LA-07 */
	{0x44041, 5, 1}, {0x84041, 5, ALL_VCPUS}, {0xc4041, 5, ALL_VCPUS & ~UINT64_C(1)},
	{0x400f, 0xff, 0}, {0x4341, 1, 0}, {0x4741, 1, 0}, {0x44441, 0, 0},
};

static const struct sending in_x2apic[] = {
	{0x41, 1, 1u << 1}, {0x41, 0xff, 0}, {0x41, UINT32_MAX, ALL_VCPUS}, {0x41, 0x10000001, 0},
	{0x841, 0x00006, 3u << 1}, {0x841, 0x10003, UINT64_C(3) << 16}, {0x841, 0x20001, 0}, /* LA-08 */
	{0x841, UINT32_MAX, ALL_VCPUS}, {0x44041, 9, 1}, {0xc0041, 0, ALL_VCPUS & ~UINT64_C(1)},
};

START_TEST(icr_in_xapic_mode)
{
	struct guest *g = make_machine(false);

	lapic_mmio_write(g, 0x310, 4, in_xapic[_i].destination << 24);
	ck_assert_int_eq(lapic_mmio_write(g, 0x300, 4, in_xapic[_i].low), EMUL_NEXT);
	ck_assert_uint_eq(have(0x41), in_xapic[_i].got);
	ck_assert_uint_eq(lapic_mmio_read(g, 0x300, 4) & APIC_SEND_PENDING, 0);
}
END_TEST

START_TEST(icr_in_x2apic_mode)
{
	struct guest *g = make_machine(true);
	const uint64_t value = (uint64_t)in_x2apic[_i].destination << 32 | in_x2apic[_i].low;
	uint64_t read;

	ck_assert_int_eq(lapic_wrmsr(g, 0x830, value), EMUL_NEXT);
	ck_assert_uint_eq(have(0x41), in_x2apic[_i].got);
	ck_assert_int_eq(lapic_rdmsr(g, 0x830, &read), EMUL_NEXT);
	ck_assert_uint_eq(read, value);
}
END_TEST

START_TEST(cluster_model)
{
	struct guest *g = make_machine(false);

	for (unsigned i = 0; i < VCPUS; i++) {
		lapic_mmio_write(machine.vcpus[i], 0xe0, 4, 0);
		lapic_mmio_write(machine.vcpus[i], 0xd0, 4, ((i / 4) << 4 | 1u << i % 4) << 24);
	}
	lapic_mmio_write(g, 0x310, 4, 0x2au << 24);
	lapic_mmio_write(g, 0x300, 4, 0x4841);
	ck_assert_uint_eq(have(0x41), 1u << 9 | 1u << 11);
	lapic_mmio_write(&others[9], 0xe0, 4, 0x50000000); /* LA-25: no model */
	lapic_mmio_write(g, 0x300, 4, 0x4842);
	ck_assert_uint_eq(have(0x42), 1u << 11);
}
END_TEST

/* LA-09: one of those meant gets it, in turn, of the lowest priority. */
START_TEST(lowest_priority)
{
	struct guest *g = make_machine(false);

	lapic_mmio_write(g, 0x310, 4, 0x0eu << 24);
	lapic_set_tpr(&others[1], 0x50);
	for (uint32_t vector = 0x41; vector < 0x45; vector++)
		lapic_mmio_write(g, 0x300, 4, 0x4900 | vector);
	ck_assert_uint_eq(have(0x41), 1u << 2);
	ck_assert_uint_eq(have(0x42), 1u << 3);
	ck_assert_uint_eq(have(0x43), 1u << 2);
	lapic_mmio_write(g, 0x310, 4, 0x40000000); /* nobody */
	others[6].lapic.ldr = 0;
	lapic_mmio_write(g, 0x300, 4, 0x4946);
	ck_assert_uint_eq(have(0x46), 0);
}
END_TEST

START_TEST(disabled_apic_hears_nothing)
{
	struct guest *g = make_machine(false);

	others[1].lapic.svr = 0xff;
	ck_assert(lapic_write_base(&others[2], 0xfee00000));
	lapic_mmio_write(g, 0x300, 4, 0xc4041);
	ck_assert_uint_eq(have(0x41), ALL_VCPUS & ~UINT64_C(7));
	lapic_mmio_write(g, 0x300, 4, 0xc4400);
	ck_assert_uint_eq(others[1].events.nmi, 1);
	ck_assert_uint_eq(others[2].events.nmi, 0);
}
END_TEST

START_TEST(illegal_vector_is_not_sent)
{
	struct guest *g = make_machine(_i);

	lapic_send_icr(g, 0x400f, 1);
	ck_assert_uint_eq(g->lapic.errors, APIC_ERROR_SEND_VECTOR);
	ck_assert_uint_eq(notified.calls, 0);
}
END_TEST

/* ---- INIT and start-up -------------------------------------------------------------------------------------- */

static uint64_t no_tsc(void)
{
	return 0;
}

static uint64_t zero(struct guest *g, enum guest_field field)
{
	(void)g;
	(void)field;
	return 0;
}

static struct guest *target(void)
{
	struct guest *g = make_machine(false);
	static const struct guest_cpuid_entry entry;

	for (unsigned i = 0; i < VCPUS; i++) {
		machine.vcpus[i]->host_tsc = no_tsc;
		if (i)
			machine.vcpus[i]->read_field = zero;
		machine.vcpus[i]->cpuid = &entry;
	}
	return g;
}

START_TEST(init_and_startup)
{
	struct guest *g = target(), *ap = &others[3];

	lapic_send_icr(g, 0x4608, 3); /* before INIT: dropped */
	ck_assert(!guest_take_startup(ap));
	ck_assert(!ap->events.waits_for_sipi);
	lapic_send_icr(g, 0x4500, 3);
	ck_assert_uint_eq(notified.vcpu, 3);
	ck_assert(guest_must_leave(ap));
	ck_assert(guest_take_startup(ap));
	ck_assert(ap->events.waits_for_sipi);
	ck_assert_uint_eq(ap->lapic.svr, 0xff);
	lapic_send_icr(g, 0x8500, 3); /* de-assertion: LA-29 */
	ck_assert_uint_eq(ap->events.init, 0);
	lapic_send_icr(g, 0x4608, 3);
	guest_take_startup(ap);
	ck_assert(!ap->events.waits_for_sipi);
	ck_assert_uint_eq(guest_get(ap, G_SELECTOR + X86VCPU_SEGMENT_CS), 0x800);
	ck_assert_uint_eq(guest_get(ap, G_BASE + X86VCPU_SEGMENT_CS), 0x8000);
	ck_assert_uint_eq(guest_get(ap, G_RIP), 0);
	lapic_send_icr(g, 0x4609, 3); /* a second one changes nothing */
	guest_take_startup(ap);
	ck_assert_uint_eq(guest_get(ap, G_BASE + X86VCPU_SEGMENT_CS), 0x8000);
}
END_TEST

/* A start-up IPI that the vCPU has not seen when INIT comes is none of the start that INIT begins. */
START_TEST(startup_before_init_is_gone)
{
	struct guest *g = target(), *ap = &others[3];

	lapic_send_icr(g, 0x4608, 3);
	lapic_send_icr(g, 0x4500, 3);
	ck_assert(guest_take_startup(ap));
	ck_assert(ap->events.waits_for_sipi);
}
END_TEST

START_TEST(bootstrap_processor_starts_at_the_reset_vector)
{
	struct guest *g = target();

	lapic_send_icr(&others[1], 0x4500, 0);
	ck_assert(guest_take_startup(g));
	ck_assert(!g->events.waits_for_sipi);
	ck_assert_uint_eq(guest_get(g, G_BASE + X86VCPU_SEGMENT_CS), 0xffff0000);
	ck_assert_uint_eq(guest_get(g, G_RIP), 0xfff0);
}
END_TEST

/* ---- Kicks ---------------------------------------------------------------------------------------------------- */

START_TEST(kick_tells_whom_it_must)
{
	make_machine(false);
	struct guest *g = &others[5];

	guest_kick(g);
	ck_assert_uint_eq(notified.calls, 1);
	ck_assert_uint_eq(notified.cpu, X86VCPU_NO_CPU);
	guest_publish_running(g, 7);
	guest_kick(g);
	ck_assert_uint_eq(notified.calls, 2);
	ck_assert_uint_eq(notified.cpu, 7);
	guest_kick(g); /* it is on its way out */
	ck_assert_uint_eq(notified.calls, 2);
	guest_look(g);
	guest_kick(g);
	ck_assert_uint_eq(notified.calls, 3);
	guest_publish_outside(g);
	guest_kick(g);
	ck_assert_uint_eq(notified.cpu, X86VCPU_NO_CPU);
}
END_TEST

static uint32_t handed[3];

static void send_interrupt(void *ctx, void *machine_opaque, void *vcpu, uint32_t vector)
{
	(void)ctx;
	ck_assert_ptr_eq(machine_opaque, &machine);
	notified.locked += machine.lock;
	handed[0]++;
	handed[1] = (uint32_t)(uintptr_t)vcpu;
	handed[2] = vector;
}

START_TEST(host_may_deliver_itself)
{
	struct guest *g = make_machine(false);

	memset(handed, 0, sizeof(handed));
	host.send_interrupt = send_interrupt;
	lapic_send_icr(g, 0x4041, 6);
	ck_assert_uint_eq(handed[0], 1);
	ck_assert_uint_eq(handed[1], 6);
	ck_assert_uint_eq(handed[2], 0x41);
	lapic_send_icr(g, 0x44042, 0); /* not to itself */
	ck_assert_uint_eq(handed[0], 1);
	ck_assert_uint_eq(have(0x42), 1);
}
END_TEST

/* A host op takes locks of the host's, under which other CPUs send messages. */
START_TEST(host_is_called_without_the_lock)
{
	struct guest *g = make_machine(false);
	const struct lapic_message nmi = {.destination = 0xff, .delivery = X86VCPU_DELIVERY_NMI};

	memset(handed, 0, sizeof(handed));
	lapic_send(&machine, NULL, &nmi);
	ck_assert_uint_eq(notified.calls, VCPUS);
	host.send_interrupt = send_interrupt;
	lapic_send_icr(g, 0xc4041, 0); /* to all others */
	ck_assert_uint_eq(handed[0], VCPUS - 1);
	ck_assert_uint_eq(notified.locked, 0);
	ck_assert_uint_eq(machine.lock, 0);
}
END_TEST

/* ---- State ------------------------------------------------------------------------------------------------- */

START_TEST(icr_of_x2apic_mode_is_in_the_state)
{
	struct guest *g = make_machine(true);
	struct x86vcpu_apic_state saved;
	uint64_t value;

	ck_assert_int_eq(lapic_wrmsr(g, 0x830, UINT64_C(0x12345678) << 32 | 0x4031), EMUL_NEXT);
	lapic_save(g, &saved);
	lapic_reset(g);
	ck_assert(lapic_restore(g, &saved));
	ck_assert_int_eq(lapic_rdmsr(g, 0x830, &value), EMUL_NEXT);
	ck_assert_uint_eq(value, UINT64_C(0x12345678) << 32 | 0x4031);
}
END_TEST

Suite *lapic_message_suite(void)
{
	Suite *suite = suite_create("lapic_message");
	TCase *tc = add_tcase(suite, "destinations");

	tcase_add_loop_test(tc, icr_in_xapic_mode, 0, COUNT(in_xapic));
	tcase_add_loop_test(tc, icr_in_x2apic_mode, 0, COUNT(in_x2apic));
	tcase_add_test(tc, cluster_model);
	tcase_add_test(tc, lowest_priority);
	tcase_add_test(tc, disabled_apic_hears_nothing);
	tcase_add_test(tc, host_is_called_without_the_lock);
	tcase_add_loop_test(tc, illegal_vector_is_not_sent, 0, 2);
	tc = add_tcase(suite, "startup");
	tcase_add_test(tc, init_and_startup);
	tcase_add_test(tc, startup_before_init_is_gone);
	tcase_add_test(tc, bootstrap_processor_starts_at_the_reset_vector);
	tc = add_tcase(suite, "kicks");
	tcase_add_test(tc, kick_tells_whom_it_must);
	tcase_add_test(tc, host_may_deliver_itself);
	tcase_add_test(tc, icr_of_x2apic_mode_is_in_the_state);
	return suite;
}
