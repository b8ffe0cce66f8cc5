/* SPDX-License-Identifier: Apache-2.0 */
/* The local APIC: pins and the 8259A behind them (SDM 12.5.1), and the finer points of priority, state and timer. */
#include "event_fixture.h"

#include "lapic/lapic.h"
#include "x86vcpu/apic.h"

Suite *lapic_service_suite(void);

#define LINT0 0u
#define LINT1 1u
#define FIXED_EDGE 0x51u
#define FIXED_LEVEL 0x8051u
#define NMI 0x400u
#define EXTINT 0x700u

static int32_t answer; /* of the 8259A */
static unsigned asked;

static int32_t acknowledge(void *ctx, void *machine, void *vcpu)
{
	(void)ctx;
	(void)machine;
	(void)vcpu;
	asked++;
	return answer;
}

static uint64_t one_to_one(void *ctx, uint64_t nanos)
{
	(void)ctx;
	return nanos;
}

static uint64_t now;

static uint64_t clock_tsc(void)
{
	return now;
}

static const struct x86vcpu_host_ops host = {.acknowledge_interrupt = acknowledge, .nanos_to_ticks = one_to_one};

static struct guest *apic(void)
{
	struct guest *g = guest_with_apic();

	g->host = &host;
	g->host_tsc = clock_tsc;
	asked = 0;
	answer = -1;
	now = 1000;
	return g;
}

static uint32_t mmio(struct guest *g, unsigned reg)
{
	return (uint32_t)lapic_mmio_read(g, reg * 16, 4);
}

static int mmio_write(struct guest *g, unsigned reg, uint32_t value)
{
	return lapic_mmio_write(g, reg * 16, 4, value);
}

static struct guest *wired(unsigned pin, uint32_t lvt)
{
	struct guest *g = apic();

	mmio_write(g, LAPIC_LVT_LINT0 + pin, lvt);
	return g;
}

/* ---- Pins --------------------------------------------------------------------------------------------------------- */

/* An edge interrupts once, whatever the level is afterwards. LINT1 knows edges only. */
START_TEST(edge_interrupts_once)
{
	struct guest *g = wired((unsigned)_i, _i ? FIXED_LEVEL : FIXED_EDGE);

	ck_assert(lapic_drive_pin(g, (unsigned)_i, true));
	ck_assert(guest_event_pending(g));
	ck_assert(!lapic_drive_pin(g, (unsigned)_i, true));
	assert_next(g, GUEST_EVENT_EXTERNAL, 0x51);
	ck_assert_uint_eq(mmio(g, LAPIC_LVT_LINT0 + (unsigned)_i) & LVT_REMOTE_IRR, 0);
	ck_assert_int_eq(mmio_write(g, LAPIC_EOI, 0), EMUL_NEXT);
	assert_none(g);
	ck_assert(!lapic_drive_pin(g, (unsigned)_i, false));
	assert_none(g);
	ck_assert(lapic_drive_pin(g, (unsigned)_i, true));
	assert_next(g, GUEST_EVENT_EXTERNAL, 0x51);
}
END_TEST

/* A level interrupts again after each EOI while it is there. */
START_TEST(level_interrupts_until_it_falls)
{
	struct guest *g = wired(LINT0, FIXED_LEVEL);

	mmio_write(g, LAPIC_LVT_LINT1, 0x8061);
	lapic_drive_pin(g, LINT0, true);
	for (unsigned i = 0; i < 3; i++) {
		assert_next(g, GUEST_EVENT_EXTERNAL, 0x51);
		ck_assert_uint_eq(mmio(g, LAPIC_LVT_LINT0) & LVT_REMOTE_IRR, LVT_REMOTE_IRR);
		ck_assert_uint_eq(mmio(g, LAPIC_TMR + 2), 1u << 17);
		lapic_accept(g, 0x61, true); /* another's end is none of the pin's */
		assert_next(g, GUEST_EVENT_EXTERNAL, 0x61);
		ck_assert_int_eq(lapic_eoi(g), 0x61);
		ck_assert_uint_eq(mmio(g, LAPIC_LVT_LINT0) & LVT_REMOTE_IRR, LVT_REMOTE_IRR);
		assert_none(g);
		if (i == 2)
			lapic_drive_pin(g, LINT0, false);
		ck_assert_int_eq(lapic_eoi(g), 0x51);
	}
	ck_assert_uint_eq(mmio(g, LAPIC_LVT_LINT0) & LVT_REMOTE_IRR, 0);
	assert_none(g);
}
END_TEST

/* Unmasked while it is high, and not again while its interrupt is in service. */
START_TEST(level_that_is_there_already)
{
	struct guest *g = apic();

	lapic_drive_pin(g, LINT0, true);
	assert_none(g); /* masked: the edge is gone */
	mmio_write(g, LAPIC_LVT_LINT0, FIXED_EDGE);
	assert_none(g);
	mmio_write(g, LAPIC_LVT_LINT0, FIXED_LEVEL);
	assert_next(g, GUEST_EVENT_EXTERNAL, 0x51);
	mmio_write(g, LAPIC_LVT_LINT0, FIXED_LEVEL);
	ck_assert(!lapic_has_pending(g));
	mmio_write(g, LAPIC_LVT_LINT1, FIXED_LEVEL);
	ck_assert(!lapic_has_pending(g));
	lapic_drive_pin(g, LINT0, false);
	lapic_eoi(g);
	mmio_write(g, LAPIC_LVT_LINT0, FIXED_LEVEL);
	assert_none(g);
}
END_TEST

START_TEST(pin_is_nmi)
{
	struct guest *g = wired((unsigned)_i, NMI);

	lapic_drive_pin(g, (unsigned)_i, true);
	assert_next(g, GUEST_EVENT_NMI, 2);
	assert_none(g);
	mmio_write(g, LAPIC_LVT_LINT0 + (unsigned)_i, NMI | LVT_MASKED);
	lapic_drive_pin(g, (unsigned)_i, false);
	lapic_drive_pin(g, (unsigned)_i, true);
	assert_none(g);
}
END_TEST

/* SDM 12.4.3: without the APIC they are INTR and NMI of the CPU, whatever the local vectors were. */
START_TEST(pins_of_a_disabled_apic)
{
	struct guest *g = wired(LINT1, FIXED_EDGE);

	ck_assert(lapic_write_base(g, APIC_BASE_RESET));
	lapic_drive_pin(g, LINT1, true);
	assert_next(g, GUEST_EVENT_NMI, 2);
	answer = 0x21;
	lapic_drive_pin(g, LINT0, true);
	assert_next(g, GUEST_EVENT_EXTERNAL, 0x21);
	ck_assert_uint_eq(g->events.nmi, 0);
}
END_TEST

/* ---- The 8259A ---------------------------------------------------------------------------------------------------- */

/* Any vector, 0 too, and not through the APIC. */
START_TEST(extint_is_acknowledged)
{
	static const int32_t vectors[] = {0, 8, 0x20, 0xff};
	struct guest *g = wired(LINT0, EXTINT);

	lapic_drive_pin(g, LINT0, true);
	ck_assert(guest_event_pending(g));
	answer = vectors[_i];
	assert_next(g, GUEST_EVENT_EXTERNAL, (unsigned)vectors[_i]);
	ck_assert_uint_eq(asked, 1);
	ck_assert(window.interrupt); /* it asks on */
	ck_assert_int_eq(lapic_eoi(g), -1);
	lapic_drive_pin(g, LINT0, false);
	assert_none(g);
	ck_assert_uint_eq(asked, 1);
}
END_TEST

/*
 * Its request is gone: the APIC's own comes, or nothing. With the pin high a window would exit at once, for ever;
 * whatever the next exit is, it is asked again.
 */
START_TEST(extint_may_be_gone)
{
	struct guest *g = wired(LINT0, EXTINT);

	lapic_drive_pin(g, LINT0, true);
	assert_none(g);
	ck_assert_uint_eq(asked, 1);
	assert_windows(false, false);
	ck_assert_uint_eq(attention(g), 1);
	lapic_accept(g, 0x61, false);
	assert_next(g, GUEST_EVENT_EXTERNAL, 0x61);
	ck_assert_uint_eq(asked, 2);
	ck_assert_uint_eq(mmio(g, LAPIC_ISR + 3), 2);
}
END_TEST

START_TEST(extint_is_asked_only_where_it_is_wired)
{
	static const uint32_t lvts[] = {EXTINT | LVT_MASKED, FIXED_EDGE | LVT_MASKED, NMI | LVT_MASKED, 0x200};
	struct guest *g = wired(LINT0, lvts[_i]);

	answer = 0x20;
	lapic_drive_pin(g, LINT0, true);
	assert_none(g);
	ck_assert(!lapic_extint_asked(g));
	ck_assert_uint_eq(asked, 0);
}
END_TEST

/* ---- Priority ------------------------------------------------------------------------------------------------------- */

/* SDM 12.8.3.1: with equal classes PPR is TPR, sub-class and all. */
START_TEST(processor_priority)
{
	static const uint32_t rows[][3] = {{0x45, 0x41, 0x45}, {0x35, 0x41, 0x40}, {0x55, 0x41, 0x55}, {0x05, 0, 0x05}};
	struct guest *g = apic();

	if (rows[_i][1]) {
		lapic_accept(g, (uint8_t)rows[_i][1], false);
		assert_next(g, GUEST_EVENT_EXTERNAL, rows[_i][1]);
	}
	mmio_write(g, LAPIC_TPR, rows[_i][0]);
	ck_assert_uint_eq(mmio(g, LAPIC_PPR), rows[_i][2]);
}
END_TEST

/* Two vectors of one word of the set: the end of one leaves the other in service. */
START_TEST(neighbours_in_service)
{
	struct guest *g = apic();

	lapic_accept(g, 0x41, false);
	assert_next(g, GUEST_EVENT_EXTERNAL, 0x41);
	lapic_accept(g, 0x71, false);
	assert_next(g, GUEST_EVENT_EXTERNAL, 0x71);
	ck_assert_uint_eq(mmio(g, LAPIC_ISR + 2), 2);
	ck_assert_uint_eq(mmio(g, LAPIC_ISR + 3), 1u << 17);
	lapic_eoi(g);
	ck_assert_uint_eq(mmio(g, LAPIC_PPR), 0x40);
	lapic_eoi(g);
	ck_assert_uint_eq(mmio(g, LAPIC_PPR), 0);
}
END_TEST

/* An exit at a lower TPR is asked for only when the TPR holds back, and nothing else. */
START_TEST(only_the_task_priority_asks_for_its_exit)
{
	struct guest *g = apic();
	struct guest_fixture *f = (struct guest_fixture *)g;

	fixture_set(f, G_RFLAGS, RFLAGS_FIXED);
	mmio_write(g, LAPIC_TPR, 0x30);
	lapic_accept(g, 0x41, false);
	assert_none(g);
	ck_assert_uint_eq(window.task_priority, 0);
	ck_assert(window.interrupt);
	fixture_set(f, G_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
	assert_next(g, GUEST_EVENT_EXTERNAL, 0x41);
	mmio_write(g, LAPIC_TPR, 0x50);
	lapic_accept(g, 0x42, false); /* held back by the service of its class, too */
	assert_none(g);
	ck_assert_uint_eq(window.task_priority, 0);
	lapic_accept(g, 0x52, false);
	assert_none(g);
	ck_assert_uint_eq(window.task_priority, 5);
	ck_assert(!window.interrupt);
}
END_TEST

/* What was taken but not delivered is requested again; what did not come from the APIC is not its. */
START_TEST(delivery_is_undone)
{
	struct guest *g = apic();

	lapic_accept(g, 0xc1, true);
	assert_next(g, GUEST_EVENT_EXTERNAL, 0xc1);
	ck_assert(!lapic_untake(g, 0xc2));
	ck_assert(lapic_untake(g, 0xc1));
	ck_assert(!lapic_untake(g, 0xc1));
	ck_assert_uint_eq(mmio(g, LAPIC_ISR + 6), 0);
	ck_assert_uint_eq(mmio(g, LAPIC_IRR + 6), 2);
	assert_next(g, GUEST_EVENT_EXTERNAL, 0xc1);
	ck_assert_int_eq(lapic_eoi(g), 0xc1);
}
END_TEST

START_TEST(waking_posts_for_the_entry)
{
	struct guest *g = apic();

	g->events.halted = true;
	ck_assert(!guest_wake(g));
	ck_assert(g->events.halted);
	lapic_accept(g, 0x41, false);
	ck_assert(guest_wake(g));
	ck_assert(!g->events.halted);
	ck_assert_uint_eq(attention(g), 1);
}
END_TEST

/* ---- Registers -------------------------------------------------------------------------------------------------------- */

START_TEST(sets_are_eight_registers_each)
{
	struct guest *g = apic();

	for (unsigned i = 0; i < 4; i++) {
		g->lapic.isr[i] = UINT64_C(0x1111111122222222) * (i + 1);
		g->lapic.tmr[i] = UINT64_C(0x0101010102020202) * (i + 1);
		g->lapic.irr[i] = UINT64_C(0x1010101020202020) * (i + 1);
	}
	for (unsigned i = 0; i < 8; i++) {
		const uint32_t n = i / 2 + 1;

		ck_assert_uint_eq(mmio(g, LAPIC_ISR + i), (i & 1 ? 0x11111111 : 0x22222222) * n);
		ck_assert_uint_eq(mmio(g, LAPIC_TMR + i), (i & 1 ? 0x01010101 : 0x02020202) * n);
		ck_assert_uint_eq(mmio(g, LAPIC_IRR + i), (i & 1 ? 0x10101010 : 0x20202020) * n);
	}
}
END_TEST

START_TEST(bytes_of_a_register)
{
	struct guest *g = apic();

	ck_assert_uint_eq(lapic_mmio_read(g, 0x30, 4), 0x60014);
	ck_assert_uint_eq(lapic_mmio_read(g, 0x31, 2), 0x600);
	ck_assert_uint_eq(lapic_mmio_read(g, 0x32, 1), 6);
	ck_assert_uint_eq(lapic_mmio_read(g, 0x34, 4), 0);
	g->lapic.esr = 0x80;
	ck_assert_uint_eq(lapic_mmio_read(g, 0xb0, 4), 0); /* EOI is written only */
}
END_TEST

START_TEST(self_ipi_is_edge_triggered)
{
	struct guest *g = apic();

	ck_assert(lapic_write_base(g, g->lapic.base | APIC_BASE_EXTD));
	g->lapic.tmr[0] = UINT64_C(1) << 16;
	ck_assert_int_eq(lapic_wrmsr(g, 0x83f, 16), EMUL_NEXT);
	ck_assert_uint_eq(g->lapic.irr[0], UINT64_C(1) << 16);
	ck_assert_uint_eq(g->lapic.tmr[0], 0);
	ck_assert_int_eq(lapic_wrmsr(g, 0x83f, 15), EMUL_NEXT);
	ck_assert_uint_eq(g->lapic.irr[0], UINT64_C(1) << 16);
	ck_assert_uint_eq(g->lapic.errors, APIC_ERROR_SEND_VECTOR);
}
END_TEST

/* IA32_TSC_DEADLINE reads 0 once it has expired, looked at or not. */
START_TEST(deadline_reads_zero_when_it_has_come)
{
	struct guest *g = apic();
	uint64_t value;

	mmio_write(g, LAPIC_LVT_TIMER, 0x40040);
	lapic_wrmsr(g, 0x6e0, 5000);
	now = 4999;
	lapic_rdmsr(g, 0x6e0, &value);
	ck_assert_uint_eq(value, 5000);
	now = 5001;
	lapic_rdmsr(g, 0x6e0, &value);
	ck_assert_uint_eq(value, 0);
	assert_next(g, GUEST_EVENT_EXTERNAL, 0x40);
}
END_TEST

/* The timer's mode without a count is not armed, and says so. */
START_TEST(stopped_timer_has_no_count)
{
	struct guest *g = apic();

	ck_assert(!lapic_timer_is_polled(&g->lapic.timer));
	ck_assert_uint_eq(lapic_timer_next(g), UINT64_MAX);
	mmio_write(g, LAPIC_LVT_TIMER, 0x40);
	mmio_write(g, LAPIC_TIMER_INITIAL, 100); /* by 2 */
	ck_assert(lapic_timer_is_polled(&g->lapic.timer));
	ck_assert_uint_eq(lapic_timer_next(g), 1200);
	ck_assert_uint_eq(lapic_timer_remaining(g), 200);
	now = 1300;
	ck_assert_uint_eq(lapic_timer_remaining(g), 0);
	mmio_write(g, LAPIC_TIMER_INITIAL, 0);
	ck_assert(!lapic_timer_is_polled(&g->lapic.timer));
	ck_assert_uint_eq(lapic_timer_remaining(g), 0);
}
END_TEST

/* ---- State ------------------------------------------------------------------------------------------------------------ */

static void spoil(struct x86vcpu_apic_state *state, int i)
{
	switch (i) {
	case 0: state->lint = 4; break;
	case 1: state->waits_for_sipi = 2; break;
	case 2: state->reserved2 = 1; break;
	case 3: state->registers[LAPIC_ISR] = 0x8000; break;
	case 4: state->registers[LAPIC_IRR] = 1; break;
	case 5: state->registers[LAPIC_TMR] = 2; break;
	case 6: state->base |= 1; break;
	case 7: state->base = APIC_BASE_RESET | APIC_BASE_EXTD; break;
	case 8: state->base |= UINT64_C(1) << 50; break;
	default: state->registers[LAPIC_LVT_TIMER] = 0x80000; break;
	}
}

START_TEST(state_that_cannot_be_is_refused)
{
	struct guest *g = apic();
	struct x86vcpu_apic_state state, after;

	lapic_save(g, &state);
	spoil(&state, _i);
	ck_assert(!lapic_restore(g, &state));
	lapic_save(g, &after);
	spoil(&after, _i);
	ck_assert_int_eq(memcmp(&state, &after, sizeof(state)), 0);
}
END_TEST

/* Everything comes, and nothing of what was there before stays. */
START_TEST(state_replaces_all)
{
	struct guest *g = apic();
	struct x86vcpu_apic_state state;

	lapic_save(g, &state);
	state.lint = 3;
	state.waits_for_sipi = 1;
	state.registers[LAPIC_ISR] = state.registers[LAPIC_TMR] = state.registers[LAPIC_IRR] = 0x10000;
	g->lapic.errors = APIC_ERROR_REGISTER;
	g->lapic.edges = 3;
	g->lapic.lvt[LAPIC_LVT_ERROR - LAPIC_LVT_CMCI] = 0xf0;
	ck_assert(lapic_restore(g, &state));
	ck_assert_uint_eq(g->lapic.errors, 0);
	ck_assert_uint_eq(g->lapic.edges, 0);
	ck_assert_uint_eq(g->lapic.pins, 3);
	ck_assert(g->events.waits_for_sipi);
	ck_assert_uint_eq(g->events.nmi, 0); /* not the local APIC's */
	ck_assert_uint_eq(mmio(g, LAPIC_LVT_ERROR), 0x10000);
	ck_assert_uint_eq(attention(g), 1);
}
END_TEST

START_TEST(deadline_is_saved)
{
	struct guest *g = apic();
	struct x86vcpu_apic_state state;
	uint64_t value;

	mmio_write(g, LAPIC_LVT_TIMER, 0x40040);
	lapic_wrmsr(g, 0x6e0, 5000);
	lapic_save(g, &state);
	ck_assert_uint_eq(state.tsc_deadline, 5000);
	ck_assert_uint_eq(state.timer_remaining, 0);
	lapic_reset(g);
	ck_assert(lapic_restore(g, &state));
	lapic_rdmsr(g, 0x6e0, &value);
	ck_assert_uint_eq(value, 5000);
	now = 5001;
	g->lapic.isr[0] = 0;
	assert_next(g, GUEST_EVENT_EXTERNAL, 0x40);
}
END_TEST

/* ---- The virtual-APIC page ------------------------------------------------------------------------------------------------ */

static _Alignas(4096) uint8_t page[4096];

static uint64_t alloc_frame(void *ctx)
{
	(void)ctx;
	return (uintptr_t)page;
}

static void *phys_to_virt(void *ctx, uint64_t hpa)
{
	(void)ctx;
	return (void *)(uintptr_t)hpa;
}

/* SDM 30.1.1: VTPR is at offset 80H of a page of zeros. */
START_TEST(task_priority_is_in_its_page)
{
	static const struct x86vcpu_host_ops frames = {.alloc_frame = alloc_frame, .phys_to_virt = phys_to_virt};
	struct guest *g = guest_in(FIXTURE_LONG);

	memset(page, 0xff, sizeof(page));
	g->host = &frames;
	ck_assert_int_eq(lapic_create(g), X86VCPU_OK);
	for (unsigned i = 0; i < sizeof(page); i++)
		ck_assert_uint_eq(page[i], 0);
	lapic_set_tpr(g, 0x5a);
	ck_assert_uint_eq(page[0x80], 0x5a);
}
END_TEST

static void add_pins(Suite *suite)
{
	TCase *tc = add_tcase(suite, "pins");

	tcase_add_loop_test(tc, edge_interrupts_once, 0, 2);
	tcase_add_test(tc, level_interrupts_until_it_falls);
	tcase_add_test(tc, level_that_is_there_already);
	tcase_add_loop_test(tc, pin_is_nmi, 0, 2);
	tcase_add_test(tc, pins_of_a_disabled_apic);
	tcase_add_loop_test(tc, extint_is_acknowledged, 0, 4);
	tcase_add_test(tc, extint_may_be_gone);
	tcase_add_loop_test(tc, extint_is_asked_only_where_it_is_wired, 0, 4);
}

Suite *lapic_service_suite(void)
{
	Suite *suite = suite_create("lapic_service");
	TCase *tc;

	add_pins(suite);
	tc = add_tcase(suite, "priority");
	tcase_add_loop_test(tc, processor_priority, 0, 4);
	tcase_add_test(tc, neighbours_in_service);
	tcase_add_test(tc, only_the_task_priority_asks_for_its_exit);
	tcase_add_test(tc, delivery_is_undone);
	tcase_add_test(tc, waking_posts_for_the_entry);
	tc = add_tcase(suite, "registers");
	tcase_add_test(tc, sets_are_eight_registers_each);
	tcase_add_test(tc, bytes_of_a_register);
	tcase_add_test(tc, self_ipi_is_edge_triggered);
	tcase_add_test(tc, deadline_reads_zero_when_it_has_come);
	tcase_add_test(tc, stopped_timer_has_no_count);
	tc = add_tcase(suite, "state");
	tcase_add_loop_test(tc, state_that_cannot_be_is_refused, 0, 10);
	tcase_add_test(tc, state_replaces_all);
	tcase_add_test(tc, deadline_is_saved);
	tcase_add_test(tc, task_priority_is_in_its_page);
	return suite;
}
