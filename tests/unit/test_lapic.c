/* SPDX-License-Identifier: Apache-2.0 */
/* The local APIC against SDM chapter 12: registers in both modes, modes, priorities, errors, timer. */
#include "event_fixture.h"

#include "lapic/lapic.h"
#include "x86vcpu/apic.h"

Suite *lapic_suite(void);

#define X2APIC(reg) (0x800u + (reg))
#define NOT_STORED UINT64_C(0xdead)

static struct guest *apic(bool x2apic)
{
	struct guest *g = guest_with_apic();

	if (x2apic)
		ck_assert(lapic_write_base(g, g->lapic.base | APIC_BASE_EXTD));
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

static uint64_t msr(struct guest *g, unsigned reg)
{
	uint64_t value = NOT_STORED;

	ck_assert_int_eq(lapic_rdmsr(g, X2APIC(reg), &value), EMUL_NEXT);
	return value;
}

/* ---- Registers ------------------------------------------------------------------------------------------- */

/* SDM table 12-1: what a register reads after reset, and after all ones were written; LA-10, LA-14 to LA-16. */
static const struct {
	uint8_t reg;
	uint32_t reset, written;
	bool reserved;
} registers[] = {
	{0x00, 0, 0, true}, {0x01, 0, 0, true}, {0x02, 0, 0, false}, {0x03, 0x60014, 0x60014, false},
	{0x04, 0, 0, true}, {0x07, 0, 0, true}, {0x08, 0, 0xff, false}, {0x09, 0, 0, false},
	{0x0b, 0, 0, false}, {0x0c, 0, 0, false}, {0x0d, 0, 0xff000000, false},
	{0x0e, 0xffffffff, 0xffffffff, false}, {0x0f, 0x1ff, 0x1ff, false}, {0x10, 0, 0, false},
	{0x17, 0, 0, false}, {0x18, 0, 0, false}, {0x27, 0, 0, false}, {0x29, 0, 0, true}, {0x2e, 0, 0, true},
	{0x2f, 0x10000, 0x107ff, false}, {0x31, 0, 0xff000000, false}, {0x32, 0x10000, 0x300ff, false},
	{0x33, 0x10000, 0x107ff, false}, {0x34, 0x10000, 0x107ff, false}, {0x35, 0x10000, 0x1a7ff, false},
	{0x36, 0x10000, 0x1a7ff, false}, {0x37, 0x10000, 0x100ff, false}, {0x39, 0, 0, false},
	{0x3a, 0, 0, true}, {0x3d, 0, 0, true}, {0x3e, 0, 0xb, false}, {0x3f, 0, 0, true}, {0x40, 0, 0, true},
	{0xff, 0, 0, true},
};

START_TEST(register_in_xapic_mode)
{
	struct guest *g = apic(false);
	const unsigned reg = registers[_i].reg;

	ck_assert_uint_eq(mmio(g, reg), registers[_i].reset);
	ck_assert_uint_eq(!!(g->lapic.errors & APIC_ERROR_REGISTER), registers[_i].reserved);
	mmio_write(g, reg, UINT32_MAX);
	ck_assert_uint_eq(mmio(g, reg), registers[_i].written);
}
END_TEST

/* LA-01, LA-26: any offset and width, no crash, and nothing but an aligned 32-bit write changes anything. */
START_TEST(every_offset_can_be_accessed)
{
	struct guest *g = apic(_i);

	for (unsigned offset = 0; offset < 0x1000; offset++)
		for (unsigned bytes = 1; bytes <= 8 && offset + bytes <= 0x1000; bytes *= 2) {
			lapic_mmio_read(g, offset, bytes);
			if (offset & 15 || bytes != 4)
				ck_assert_int_eq(lapic_mmio_write(g, offset, bytes, 0x1234567890abcdef), EMUL_NEXT);
		}
	ck_assert_uint_eq(mmio(g, LAPIC_TPR), 0);
	ck_assert_uint_eq(g->lapic.svr, 0x1ff);
	mmio_write(g, LAPIC_TPR, 0x55);
	ck_assert_uint_eq(lapic_mmio_read(g, 0x80, 8), 0x55);
	ck_assert_uint_eq(lapic_mmio_read(g, 0x80, 1), 0x55);
	ck_assert_uint_eq(lapic_mmio_read(g, 0x84, 4), 0);
}
END_TEST

/* SDM table 12-6. R readable, W writable with 0. Everything else is #GP: LA-02, LA-12, LA-24, VC-03, VC-04. */
static const char access_x2apic[LAPIC_REGISTERS][3] = {
	[0x02] = "R", [0x03] = "R", [0x08] = "RW", [0x0a] = "R", [0x0b] = "W", [0x0d] = "R", [0x0f] = "RW",
	[0x10 ... 0x27] = "R", [0x28] = "RW", [0x2f] = "RW", [0x30] = "RW", [0x32 ... 0x38] = "RW", [0x39] = "R",
	[0x3e] = "RW", [0x3f] = "W",
};

START_TEST(msr_in_x2apic_mode)
{
	const char *allowed = _i < LAPIC_REGISTERS ? access_x2apic[_i] : "";
	struct guest *g = apic(true);
	uint64_t value;

	ck_assert_int_eq(lapic_rdmsr(g, X2APIC((unsigned)_i), &value),
			 strchr(allowed, 'R') && *allowed ? EMUL_NEXT : EMUL_GP);
	ck_assert_int_eq(lapic_wrmsr(g, X2APIC((unsigned)_i), 0),
			 strchr(allowed, 'W') && *allowed ? EMUL_NEXT : EMUL_GP);
}
END_TEST

START_TEST(msr_outside_x2apic_mode_is_gp)
{
	struct guest *g = apic(false);
	uint64_t value;

	ck_assert_int_eq(lapic_rdmsr(g, X2APIC((unsigned)_i), &value), EMUL_GP);
	ck_assert_int_eq(lapic_wrmsr(g, X2APIC((unsigned)_i), 0), EMUL_GP);
}
END_TEST

/* Reserved bits: LA-12, LA-28. */
static const struct {
	uint8_t reg;
	uint64_t value;
} reserved_bits[] = {
	{0x08, 0x100}, {0x0b, 1}, {0x0f, 0x1000}, {0x28, 1}, {0x32, 0x60000}, {0x32, 0x100}, {0x35, 0x20000},
	{0x37, 0x100}, {0x30, 0x2000}, {0x38, UINT64_C(1) << 32}, {0x3e, 4}, {0x3f, 0x100}, {0x08, UINT64_C(1) << 32},
};

START_TEST(reserved_bit_is_gp)
{
	ck_assert_int_eq(lapic_wrmsr(apic(true), X2APIC(reserved_bits[_i].reg), reserved_bits[_i].value), EMUL_GP);
}
END_TEST

START_TEST(refused_icr_changes_nothing)
{
	struct guest *g = apic(true);

	ck_assert_int_eq(lapic_wrmsr(g, X2APIC(LAPIC_ICR), UINT64_C(0x7700000340)), EMUL_NEXT); /* no delivery mode */
	ck_assert_int_eq(lapic_wrmsr(g, X2APIC(LAPIC_ICR), UINT64_C(0x8800002000)), EMUL_GP);
	ck_assert_uint_eq(msr(g, LAPIC_ICR), UINT64_C(0x7700000340));
	/* CPUs ignore the delivery status, which x2APIC mode does not have. */
	ck_assert_int_eq(lapic_wrmsr(g, X2APIC(LAPIC_ICR), UINT64_C(0x7700001340)), EMUL_NEXT);
	ck_assert_uint_eq(msr(g, LAPIC_ICR), UINT64_C(0x7700000340));
}
END_TEST

START_TEST(software_disabled_apic_masks_its_vectors)
{
	struct guest *g = apic(false);

	mmio_write(g, LAPIC_LVT_LINT0, 0x700);
	mmio_write(g, LAPIC_SVR, 0xff);
	ck_assert_uint_eq(mmio(g, LAPIC_LVT_LINT0), 0x10700);
	mmio_write(g, LAPIC_LVT_LINT0, 0x700);
	ck_assert_uint_eq(mmio(g, LAPIC_LVT_LINT0), 0x10700);
}
END_TEST

/* SDM 12.12.11: as ICR with the shorthand "self", which a disabled APIC does not hear. */
START_TEST(self_ipi_while_disabled)
{
	struct guest *g = apic(true);

	g->lapic.svr = _i ? 0x1ff : 0xff;
	ck_assert_int_eq(lapic_wrmsr(g, X2APIC(LAPIC_SELF_IPI), 0x41), EMUL_NEXT);
	ck_assert_int_eq(lapic_has_pending(g), _i);
}
END_TEST

/* ---- Modes ------------------------------------------------------------------------------------------------ */

/* From disabled, xAPIC and x2APIC mode (rows) to each value of EN and EXTD; LA-13. */
static const struct {
	uint64_t from, to;
	bool legal;
} transitions[] = {
	{0, 0, true}, {0, 0x800, true}, {0, 0xc00, false}, {0, 0x400, false},
	{0x800, 0, true}, {0x800, 0x800, true}, {0x800, 0xc00, true}, {0x800, 0x400, false},
	{0xc00, 0, true}, {0xc00, 0x800, false}, {0xc00, 0xc00, true}, {0xc00, 0x400, false},
};

START_TEST(mode_change)
{
	struct guest *g = apic(transitions[_i].from == 0xc00);

	if (!transitions[_i].from)
		ck_assert(lapic_write_base(g, 0xfee00000));
	ck_assert_int_eq(lapic_write_base(g, 0xfee00000 | transitions[_i].to), transitions[_i].legal);
	ck_assert_uint_eq(g->lapic.base & 0xc00, transitions[_i].legal ? transitions[_i].to : transitions[_i].from);
	ck_assert_uint_eq(g->lapic.base & APIC_BASE_BSP, APIC_BASE_BSP);
}
END_TEST

START_TEST(base_with_reserved_bits_is_refused)
{
	static const uint64_t bad[] = {0xfee00801, 0xfee00a00, 0xfee00880, UINT64_C(1) << 40 | 0xfee00800};

	ck_assert(!lapic_write_base(apic(false), bad[_i]));
}
END_TEST

START_TEST(disabling_resets)
{
	struct guest *g = apic(false);

	mmio_write(g, LAPIC_TPR, 0x20);
	lapic_accept(g, 0x41, false);
	ck_assert(lapic_write_base(g, 0xfee00000));
	ck_assert(!lapic_at(&g->lapic, 0xfee00020, 4));
	ck_assert(!lapic_has_pending(g));
	ck_assert(lapic_write_base(g, 0xfee00800));
	ck_assert_uint_eq(mmio(g, LAPIC_TPR), 0);
	ck_assert_uint_eq(mmio(g, LAPIC_SVR), 0xff);
}
END_TEST

/* LA-11; SDM 12.12.10.2. */
START_TEST(x2apic_ids)
{
	static const uint32_t ids[] = {0, 1, 15, 16, 37, 63};
	struct guest *g = apic(false);

	g->vcpu_id = ids[_i];
	lapic_reset(g);
	ck_assert_uint_eq(mmio(g, LAPIC_ID), ids[_i] << 24);
	ck_assert(lapic_write_base(g, g->lapic.base | APIC_BASE_EXTD));
	ck_assert_uint_eq(msr(g, LAPIC_ID), ids[_i]);
	ck_assert_uint_eq(msr(g, LAPIC_LDR), ids[_i] >> 4 << 16 | 1u << (ids[_i] & 15));
	ck_assert(!lapic_at(&g->lapic, 0xfee00020, 4));
}
END_TEST

/* ---- Priorities --------------------------------------------------------------------------------------------- */

START_TEST(priorities_nest)
{
	struct guest *g = apic(false);

	lapic_accept(g, 0x31, false);
	lapic_accept(g, 0x81, false);
	assert_next(g, GUEST_EVENT_EXTERNAL, 0x81); /* LA-05 */
	ck_assert_uint_eq(mmio(g, LAPIC_PPR), 0x80);
	lapic_accept(g, 0x8f, false);
	assert_none(g); /* same class */
	lapic_accept(g, 0x90, false);
	assert_next(g, GUEST_EVENT_EXTERNAL, 0x90);
	ck_assert_int_eq(mmio_write(g, LAPIC_EOI, 0), EMUL_NEXT);
	ck_assert_int_eq(mmio_write(g, LAPIC_EOI, 0), EMUL_NEXT);
	assert_next(g, GUEST_EVENT_EXTERNAL, 0x8f);
	mmio_write(g, LAPIC_EOI, 0);
	assert_next(g, GUEST_EVENT_EXTERNAL, 0x31);
	ck_assert_uint_eq(mmio(g, LAPIC_ISR + 1), 1u << 17);
}
END_TEST

/* LA-03: vectors 16 to 31 are served and ended like others. */
START_TEST(low_vector_is_served)
{
	struct guest *g = apic(false);

	lapic_accept(g, (uint8_t)_i, false);
	assert_next(g, GUEST_EVENT_EXTERNAL, (unsigned)_i);
	ck_assert_uint_eq(mmio(g, LAPIC_PPR), 0x10);
	mmio_write(g, LAPIC_EOI, 0);
	ck_assert_uint_eq(mmio(g, LAPIC_PPR), 0);
	ck_assert_uint_eq(mmio(g, LAPIC_ISR), 0);
}
END_TEST

/* LA-04, VC-05. */
START_TEST(task_priority_holds_back)
{
	struct guest *g = apic(false);

	mmio_write(g, LAPIC_TPR, 0x45);
	ck_assert_uint_eq(mmio(g, LAPIC_PPR), 0x45);
	lapic_accept(g, 0x4f, false);
	assert_none(g);
	ck_assert_uint_eq(window.task_priority, 4);
	assert_windows(false, false);
	mmio_write(g, LAPIC_TPR, 0x3f);
	ck_assert_uint_eq(attention(g), 1);
	assert_next(g, GUEST_EVENT_EXTERNAL, 0x4f);
	ck_assert_uint_eq(window.task_priority, 0);
}
END_TEST

START_TEST(end_of_level_triggered_interrupt_is_told)
{
	struct guest *g = apic(_i);

	lapic_accept(g, 0x51, true);
	assert_next(g, GUEST_EVENT_EXTERNAL, 0x51);
	ck_assert_int_eq(_i ? lapic_wrmsr(g, X2APIC(LAPIC_EOI), 0) : mmio_write(g, LAPIC_EOI, 0), EMUL_NEXT_EXIT);
	ck_assert_uint_eq(g->exit->kind, X86VCPU_EXIT_INTERRUPT_END);
	ck_assert_uint_eq(g->exit->u.interrupt_end.has_vector, 1);
	ck_assert_uint_eq(g->exit->u.interrupt_end.vector, 0x51);
	ck_assert_int_eq(mmio_write(g, LAPIC_EOI, 0), EMUL_NEXT);
}
END_TEST

/* LA-18, LA-23. */
START_TEST(error_interrupts_once)
{
	struct guest *g = apic(false);

	mmio_write(g, LAPIC_LVT_ERROR, 0xf0);
	mmio(g, 0);
	ck_assert_uint_eq(mmio(g, LAPIC_ESR), 0);
	assert_next(g, GUEST_EVENT_EXTERNAL, 0xf0);
	mmio_write(g, LAPIC_EOI, 0);
	mmio(g, 0);
	assert_none(g);
	mmio_write(g, LAPIC_ESR, 0);
	ck_assert_uint_eq(mmio(g, LAPIC_ESR), APIC_ERROR_REGISTER);
	mmio_write(g, LAPIC_ESR, 0);
	ck_assert_uint_eq(mmio(g, LAPIC_ESR), 0);
}
END_TEST

/* ---- Timer: the fixture's clock is its TSC, 1 GHz -------------------------------------------------------------- */

static uint64_t now;

static uint64_t clock_tsc(void)
{
	return now;
}

static struct guest *timer(uint32_t lvt, uint32_t divide, uint32_t initial)
{
	struct guest *g = apic(false);

	now = 1000;
	g->host_tsc = clock_tsc;
	mmio_write(g, LAPIC_LVT_TIMER, lvt);
	mmio_write(g, LAPIC_TIMER_DIVIDE, divide);
	mmio_write(g, LAPIC_TIMER_INITIAL, initial);
	return g;
}

static const struct {
	uint32_t divide, by;
} divisors[] = {{0, 2}, {1, 4}, {2, 8}, {3, 16}, {8, 32}, {9, 64}, {10, 128}, {11, 1}};

START_TEST(one_shot)
{
	struct guest *g = timer(0x40, divisors[_i].divide, 1000);

	ck_assert_uint_eq(mmio(g, LAPIC_TIMER_CURRENT), 1000);
	now += 400 * divisors[_i].by;
	ck_assert_uint_eq(mmio(g, LAPIC_TIMER_CURRENT), 600);
	now += 600 * divisors[_i].by - 1;
	assert_none(g);
	now++;
	ck_assert_uint_eq(mmio(g, LAPIC_TIMER_CURRENT), 0);
	assert_next(g, GUEST_EVENT_EXTERNAL, 0x40);
	now += 1000000;
	mmio_write(g, LAPIC_EOI, 0);
	assert_none(g);
}
END_TEST

/* LA-21, LA-22: the count stays in the period, and looking at it loses no tick. */
START_TEST(periodic)
{
	struct guest *g = timer(0x20040, 11, 1000);

	for (unsigned i = 0; i < 5; i++) {
		now += 1000;
		ck_assert_uint_eq(mmio(g, LAPIC_TIMER_CURRENT), 1000);
		assert_next(g, GUEST_EVENT_EXTERNAL, 0x40);
		mmio_write(g, LAPIC_EOI, 0);
		assert_none(g);
	}
	now += 3500; /* three at once are one */
	assert_next(g, GUEST_EVENT_EXTERNAL, 0x40);
	mmio_write(g, LAPIC_EOI, 0);
	assert_none(g);
	ck_assert_uint_eq(mmio(g, LAPIC_TIMER_CURRENT), 500);
	mmio_write(g, LAPIC_TIMER_INITIAL, 0);
	now += 5000;
	ck_assert_uint_eq(mmio(g, LAPIC_TIMER_CURRENT), 0);
	assert_none(g);
}
END_TEST

/* A host whose timer is called by hand; its clock is the TSC. */
static struct {
	uint64_t deadline;
	x86vcpu_timer_function function;
	void *arg;
} host_timer;

static int32_t start_host_timer(void *ctx, uint64_t deadline, x86vcpu_timer_function function, void *arg,
				struct x86vcpu_timer *handle)
{
	(void)ctx;
	(void)handle;
	host_timer.deadline = deadline;
	host_timer.function = function;
	host_timer.arg = arg;
	return 0;
}

static int32_t cancel_host_timer(void *ctx, const struct x86vcpu_timer *handle)
{
	(void)ctx;
	(void)handle;
	return 0;
}

/* LA-21, LA-35: period, how late the host calls, and when it must call again after the first expiry. */
static const struct {
	uint32_t period, late;
	uint64_t again;
} calls[] = {
	{1000000, 0, 1000000}, {1000000, 900000, 1000000}, {1000000, 1000000, 2000000}, {1000000, 2500000, 3000000},
	{200000, 199999, 200000}, {100000, 0, 200000}, {100000, 50000, 300000}, {1000, 0, 200000},
};

START_TEST(late_call_keeps_the_phase)
{
	struct guest *g = apic(false);
	struct x86vcpu_host_ops host = *g->host;

	host.timer_start = start_host_timer;
	host.timer_cancel = cancel_host_timer;
	g->host = &host;
	now = 1000;
	g->host_tsc = clock_tsc;
	mmio_write(g, LAPIC_LVT_TIMER, 0x20040);
	mmio_write(g, LAPIC_TIMER_DIVIDE, 11);
	mmio_write(g, LAPIC_TIMER_INITIAL, calls[_i].period);
	ck_assert_uint_eq(host_timer.deadline, 1000 + calls[_i].period);
	now = host_timer.deadline + calls[_i].late;
	ck_assert_uint_eq(host_timer.function(host_timer.arg, now), host_timer.deadline + calls[_i].again);
	assert_next(g, GUEST_EVENT_EXTERNAL, 0x40);
}
END_TEST

/* LA-20. */
START_TEST(divisor_changes_on_the_way)
{
	struct guest *g = timer(0x40, 11, 1000);

	now += 400;
	mmio_write(g, LAPIC_TIMER_DIVIDE, 0);
	ck_assert_uint_eq(mmio(g, LAPIC_TIMER_CURRENT), 600);
	now += 1199;
	assert_none(g);
	now++;
	assert_next(g, GUEST_EVENT_EXTERNAL, 0x40);
}
END_TEST

/* LA-17, LA-19: a masked timer counts, and its expiry is lost. */
START_TEST(masked_expiry_is_lost)
{
	struct guest *g = timer(0x30040, 11, 1000);

	now += 1500;
	assert_none(g);
	mmio_write(g, LAPIC_LVT_TIMER, 0x20040);
	assert_none(g);
	now += 500;
	assert_next(g, GUEST_EVENT_EXTERNAL, 0x40);
}
END_TEST

START_TEST(tsc_deadline)
{
	struct guest *g = timer(0x40040, 0, 0);
	uint64_t value = NOT_STORED;

	g->msrs.tsc_offset = 7000;
	ck_assert_int_eq(lapic_wrmsr(g, 0x6e0, 10000), EMUL_NEXT);
	ck_assert_int_eq(lapic_rdmsr(g, 0x6e0, &value), EMUL_NEXT);
	ck_assert_uint_eq(value, 10000);
	ck_assert_uint_eq(mmio(g, LAPIC_TIMER_CURRENT), 0);
	mmio_write(g, LAPIC_TIMER_INITIAL, 1); /* ignored */
	now = 2998;
	assert_none(g);
	now = 3001;
	assert_next(g, GUEST_EVENT_EXTERNAL, 0x40);
	lapic_rdmsr(g, 0x6e0, &value);
	ck_assert_uint_eq(value, 0);
	mmio_write(g, LAPIC_EOI, 0);
	lapic_wrmsr(g, 0x6e0, 5); /* past */
	assert_next(g, GUEST_EVENT_EXTERNAL, 0x40);
	mmio_write(g, LAPIC_EOI, 0);
	lapic_wrmsr(g, 0x6e0, 20000);
	mmio_write(g, LAPIC_LVT_TIMER, 0x40); /* the mode's end disarms */
	now = 50000;
	assert_none(g);
}
END_TEST

/* LA-23: a vector below 16 is an error, not an exception. */
START_TEST(illegal_timer_vector)
{
	struct guest *g = timer(0x0f, 11, 10);

	now += 10;
	assert_none(g);
	mmio_write(g, LAPIC_ESR, 0);
	ck_assert_uint_eq(mmio(g, LAPIC_ESR), APIC_ERROR_RECEIVED_VECTOR);
}
END_TEST

/* ---- State ---------------------------------------------------------------------------------------------------- */

START_TEST(state_goes_out_and_in)
{
	struct guest *g = timer(0x20040, 11, 1000);
	struct x86vcpu_apic_state saved, again;

	mmio_write(g, LAPIC_TPR, 0x20);
	mmio_write(g, LAPIC_LDR, 0x03000000);
	lapic_accept(g, 0x61, true);
	lapic_accept(g, 0x41, false);
	assert_next(g, GUEST_EVENT_EXTERNAL, 0x61);
	now += 300;
	lapic_save(g, &saved);
	ck_assert_uint_eq(saved.timer_remaining, 700);
	lapic_reset(g);
	ck_assert(lapic_restore(g, &saved));
	lapic_save(g, &again);
	ck_assert_int_eq(memcmp(&saved, &again, sizeof(saved)), 0);
	saved.registers[LAPIC_TPR] = 0x100;
	ck_assert(!lapic_restore(g, &saved));
	lapic_save(g, &saved);
	ck_assert_int_eq(memcmp(&saved, &again, sizeof(saved)), 0);
}
END_TEST

START_TEST(errors_that_nobody_read_are_in_the_state)
{
	struct guest *g = apic(false);
	struct x86vcpu_apic_state saved;

	mmio_write(g, 0x3d, 1);
	lapic_save(g, &saved);
	lapic_reset(g);
	ck_assert(lapic_restore(g, &saved));
	ck_assert_uint_eq(mmio(g, LAPIC_ESR), 0);
	mmio_write(g, LAPIC_ESR, 0);
	ck_assert_uint_eq(mmio(g, LAPIC_ESR), APIC_ERROR_REGISTER);
}
END_TEST

/* What the guest could not have made by writing: a disabled APIC's local vectors are masked. */
START_TEST(state_of_a_disabled_apic_is_masked)
{
	struct guest *g = timer(0x40, 11, 1000);
	struct x86vcpu_apic_state saved;

	lapic_save(g, &saved);
	saved.registers[LAPIC_SVR] = 0xff;
	ck_assert(lapic_restore(g, &saved));
	ck_assert_uint_eq(mmio(g, LAPIC_LVT_TIMER), 0x10040);
}
END_TEST

START_TEST(state_that_no_guest_makes_is_refused)
{
	struct guest *g = apic(false);
	struct x86vcpu_apic_state good, bad;

	lapic_save(g, &good);
	for (unsigned i = 0; i < 8; i++) {
		bad = good;
		switch (i) {
		case 0: bad.errors = 1u << 8; break;
		case 1: bad.registers[LAPIC_ESR] = 1u; break;
		case 2: bad.base = APIC_BASE_RESET | APIC_BASE_EXTD; break;
		case 3: bad.lint = 4; break;
		case 4: bad.waits_for_sipi = 2; break;
		case 5: bad.reserved2 = 1; break;
		case 6: bad.registers[LAPIC_IRR] = 1u << 15; break;
		default: bad.reserved = 1; break;
		}
		ck_assert_msg(!lapic_restore(g, &bad), "state %u was taken", i);
	}
	ck_assert(lapic_restore(g, &good));
}
END_TEST

START_TEST(state_in_x2apic_mode)
{
	struct guest *g = apic(true);
	struct x86vcpu_apic_state saved, again;

	g->lapic.icr = 0x4041;
	g->lapic.icr2 = 0x12345678;
	lapic_save(g, &saved);
	lapic_reset(g);
	ck_assert(lapic_restore(g, &saved));
	ck_assert_uint_eq(msr(g, LAPIC_ICR), UINT64_C(0x1234567800004041));
	lapic_save(g, &again);
	ck_assert_int_eq(memcmp(&saved, &again, sizeof(saved)), 0);
	saved.base &= ~APIC_BASE_EXTD; /* in xAPIC mode that half has eight bits */
	ck_assert(!lapic_restore(g, &saved));
}
END_TEST

static void add_registers(Suite *suite)
{
	TCase *tc = add_tcase(suite, "registers");

	tcase_add_loop_test(tc, register_in_xapic_mode, 0, COUNT(registers));
	tcase_add_loop_test(tc, every_offset_can_be_accessed, 0, 2);
	tcase_add_loop_test(tc, msr_in_x2apic_mode, 0, 256);
	tcase_add_loop_test(tc, msr_outside_x2apic_mode_is_gp, 0, 256);
	tcase_add_loop_test(tc, reserved_bit_is_gp, 0, COUNT(reserved_bits));
	tcase_add_test(tc, refused_icr_changes_nothing);
	tcase_add_test(tc, software_disabled_apic_masks_its_vectors);
	tcase_add_loop_test(tc, self_ipi_while_disabled, 0, 2);
	tc = add_tcase(suite, "modes");
	tcase_add_loop_test(tc, mode_change, 0, COUNT(transitions));
	tcase_add_loop_test(tc, base_with_reserved_bits_is_refused, 0, 4);
	tcase_add_test(tc, disabling_resets);
	tcase_add_loop_test(tc, x2apic_ids, 0, 6);
}

Suite *lapic_suite(void)
{
	Suite *suite = suite_create("lapic");
	TCase *tc;

	add_registers(suite);
	tc = add_tcase(suite, "priorities");
	tcase_add_test(tc, priorities_nest);
	tcase_add_loop_test(tc, low_vector_is_served, 16, 32);
	tcase_add_test(tc, task_priority_holds_back);
	tcase_add_loop_test(tc, end_of_level_triggered_interrupt_is_told, 0, 2);
	tcase_add_test(tc, error_interrupts_once);
	tc = add_tcase(suite, "timer");
	tcase_add_loop_test(tc, one_shot, 0, COUNT(divisors));
	tcase_add_test(tc, periodic);
	tcase_add_loop_test(tc, late_call_keeps_the_phase, 0, COUNT(calls));
	tcase_add_test(tc, divisor_changes_on_the_way);
	tcase_add_test(tc, masked_expiry_is_lost);
	tcase_add_test(tc, tsc_deadline);
	tcase_add_test(tc, illegal_timer_vector);
	tc = add_tcase(suite, "state");
	tcase_add_test(tc, state_goes_out_and_in);
	tcase_add_test(tc, errors_that_nobody_read_are_in_the_state);
	tcase_add_test(tc, state_of_a_disabled_apic_is_masked);
	tcase_add_test(tc, state_that_no_guest_makes_is_refused);
	tcase_add_test(tc, state_in_x2apic_mode);
	return suite;
}
