/* SPDX-License-Identifier: Apache-2.0 */
/* The functions of apic.h: arguments, what they post, and whom they tell. test_run_threads.c has their source. */
#include "event_fixture.h"
#include "emul/machine.h"
#include "vcpu/vcpu.h"
#include "x86vcpu/apic.h"

Suite *apic_suite(void);

#define INVALID X86VCPU_ERR_INVALID_INPUT

static struct {
	unsigned calls;
	uint32_t cpu;
} told;

static void notify(void *ctx, void *machine_opaque, void *vcpu_opaque, uint32_t cpu)
{
	(void)ctx;
	(void)machine_opaque;
	(void)vcpu_opaque;
	told.calls++;
	told.cpu = cpu;
}

static uint64_t one_to_one(void *ctx, uint64_t nanos)
{
	(void)ctx;
	return nanos;
}

static uint32_t here(void *ctx)
{
	(void)ctx;
	return 0;
}

static const struct x86vcpu_host_ops host = {.notify = notify, .nanos_to_ticks = one_to_one, .current_cpu = here};
static struct x86vcpu vcpu_handle;
static struct x86vcpu_percpu percpu;
static struct x86vcpu_machine one;

/* A vCPU that is bound here, alone in its machine. */
static struct x86vcpu *bound(void)
{
	struct guest *g = guest_with_apic();

	memset(&told, 0, sizeof(told));
	memset(&one, 0, sizeof(one));
	one.vcpus[0] = g;
	g->machine = &one;
	g->host = &host;
	vcpu_handle = (struct x86vcpu){.guest = g, .ops = &host, .percpu = &percpu};
	percpu = (struct x86vcpu_percpu){.current = &vcpu_handle};
	return &vcpu_handle;
}

static struct x86vcpu *unbound(void)
{
	struct x86vcpu *vcpu = bound();

	vcpu->percpu = NULL;
	return vcpu;
}

static bool requested(const struct guest *g, unsigned vector)
{
	return g->lapic.irr[vector >> 6] >> (vector & 63) & 1;
}

/* VC-07. */
START_TEST(vector_is_checked)
{
	struct x86vcpu *vcpu = bound();

	ck_assert_int_eq(x86vcpu_inject_interrupt(NULL, 0x41), INVALID);
	ck_assert_int_eq(x86vcpu_inject_interrupt(vcpu, 0), INVALID);
	ck_assert_int_eq(x86vcpu_inject_interrupt(vcpu, 256), INVALID);
	ck_assert_int_eq(x86vcpu_inject_interrupt(vcpu, 0x10000041), INVALID);
	ck_assert(!guest_event_pending(vcpu->guest));
	ck_assert_uint_eq(told.calls, 0);
	ck_assert_int_eq(x86vcpu_inject_interrupt(vcpu, 1), X86VCPU_OK);
	ck_assert_uint_eq(vcpu->guest->events.interrupts[0], 2);
	ck_assert_int_eq(x86vcpu_inject_interrupt(vcpu, 255), X86VCPU_OK);
	ck_assert(requested(vcpu->guest, 255));
	ck_assert_uint_eq(told.calls, 2);
	ck_assert_uint_eq(told.cpu, X86VCPU_NO_CPU);
}
END_TEST

START_TEST(trigger_is_passed_on)
{
	struct x86vcpu *vcpu = bound();

	ck_assert_int_eq(x86vcpu_inject_interrupt_with_trigger(vcpu, 0x41, 1), X86VCPU_OK);
	ck_assert_uint_eq(vcpu->guest->lapic.tmr[1], 2);
	ck_assert_int_eq(x86vcpu_inject_interrupt(vcpu, 0x41), X86VCPU_OK);
	ck_assert_uint_eq(vcpu->guest->lapic.tmr[1], 0);
}
END_TEST

START_TEST(nmi_and_request_are_posted)
{
	struct x86vcpu *vcpu = unbound();

	ck_assert_int_eq(x86vcpu_inject_nmi(NULL), INVALID);
	ck_assert_int_eq(x86vcpu_request_exit(NULL), INVALID);
	ck_assert_int_eq(x86vcpu_has_pending_event(NULL), 0);
	ck_assert_int_eq(x86vcpu_has_pending_event(vcpu), 0);
	ck_assert_int_eq(x86vcpu_inject_nmi(vcpu), X86VCPU_OK);
	ck_assert_uint_eq(vcpu->guest->events.nmi, 1);
	ck_assert_uint_eq(told.calls, 1);
	ck_assert_int_eq(x86vcpu_has_pending_event(vcpu), 1);
	ck_assert_int_eq(x86vcpu_request_exit(vcpu), X86VCPU_OK);
	ck_assert_uint_eq(told.calls, 2);
	ck_assert(guest_must_leave(vcpu->guest));
	ck_assert(!guest_must_leave(vcpu->guest));
}
END_TEST

/* SDM table 6-1: 8, 10 to 14, 17, 21 push a code. No guest has 9, 15, and 20 to 31. */
START_TEST(exception_is_checked)
{
	const bool has_code = _i == 8 || (_i >= 10 && _i <= 14) || _i == 17 || _i == 21;
	const bool exists = _i < 20 && _i != 2 && _i != 9 && _i != 15;
	struct x86vcpu *vcpu = bound();
	const uint32_t vector = (uint32_t)_i;

	ck_assert_int_eq(x86vcpu_inject_exception(NULL, vector, has_code, 0), INVALID);
	ck_assert_int_eq(x86vcpu_inject_exception(vcpu, vector, !has_code, 0), INVALID);
	if (!exists) {
		ck_assert_int_eq(x86vcpu_inject_exception(vcpu, vector, has_code, 0), INVALID);
		return;
	}
	ck_assert_int_eq(x86vcpu_inject_exception(unbound(), vector, has_code, 0), X86VCPU_ERR_BAD_STATE);
	vcpu = bound();
	/* SDM 27.2.1.3. */
	if (has_code)
		ck_assert_int_eq(x86vcpu_inject_exception(vcpu, vector, true, 0x10000), INVALID);
	if (_i == 4 || _i == 5) { /* 64-bit mode has neither */
		ck_assert_int_eq(x86vcpu_inject_exception(vcpu, vector, has_code, 0), INVALID);
		return;
	}
	ck_assert_int_eq(x86vcpu_inject_exception(vcpu, vector, has_code, 0x18), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_inject_exception(vcpu, vector, has_code, 0x18), X86VCPU_ERR_RESOURCE_BUSY);
	ck_assert_uint_eq(vcpu->guest->events.exception.vector, vector);
	ck_assert_uint_eq(vcpu->guest->events.exception.error_code, 0x18);
	ck_assert_int_eq(vcpu->guest->events.exception.has_error_code, has_code);
}
END_TEST

START_TEST(run_state_is_told)
{
	struct x86vcpu *vcpu = bound();
	uint32_t state = 9, cpu = 9;

	ck_assert_int_eq(x86vcpu_run_state(NULL, &state, &cpu), INVALID);
	ck_assert_int_eq(x86vcpu_run_state(vcpu, NULL, &cpu), INVALID);
	ck_assert_int_eq(x86vcpu_run_state(vcpu, &state, NULL), INVALID);
	ck_assert_int_eq(x86vcpu_run_state(vcpu, &state, &cpu), X86VCPU_OK);
	ck_assert_uint_eq(state, X86VCPU_OUTSIDE);
	ck_assert_uint_eq(cpu, X86VCPU_NO_CPU);
	guest_publish_running(vcpu->guest, 5);
	ck_assert_int_eq(x86vcpu_run_state(vcpu, &state, &cpu), X86VCPU_OK);
	ck_assert_uint_eq(state, X86VCPU_RUNNING);
	ck_assert_uint_eq(cpu, 5);
	guest_kick(vcpu->guest);
	ck_assert_int_eq(x86vcpu_run_state(vcpu, &state, &cpu), X86VCPU_OK);
	ck_assert_uint_eq(state, X86VCPU_LEAVING);
	ck_assert_uint_eq(cpu, 5);
}
END_TEST

static const struct {
	struct x86vcpu_message message;
	int32_t status;
	uint64_t accepted;
} messages[] = {
	{{.vector = 16}, X86VCPU_OK, 1}, {{.vector = 15}, INVALID, 0},
	{{.vector = 0x41, .logical = 1, .destination = 1}, X86VCPU_OK, 1},
	{{.vector = 0x41, .logical = 1, .destination = 2}, X86VCPU_OK, 0},
	{{.vector = 0x41, .logical = 2}, INVALID, 0}, {{.vector = 0x41, .level = 1}, X86VCPU_OK, 1},
	{{.vector = 0x41, .level = 2}, INVALID, 0}, {{.vector = 0x41, .destination = 0xff}, X86VCPU_OK, 1},
	{{.vector = 0x41, .destination = 1}, X86VCPU_OK, 0},
	{{.delivery = 1, .vector = 15}, INVALID, 0}, {{.delivery = 1, .vector = 0x41}, X86VCPU_OK, 1},
	{{.delivery = 2}, X86VCPU_OK, 1}, {{.delivery = 3, .vector = 0x41}, INVALID, 0}, {{.delivery = 4}, X86VCPU_OK, 1},
	{{.delivery = 5}, X86VCPU_OK, 1}, {{.delivery = 6, .vector = 8}, X86VCPU_OK, 1},
	{{.delivery = 7, .vector = 0x41}, INVALID, 0}, {{.delivery = 8, .vector = 0x41}, INVALID, 0},
};

START_TEST(message_is_checked)
{
	struct x86vcpu_message message = messages[_i].message;
	struct guest *g = bound()->guest;
	uint64_t accepted = 0;

	g->lapic.ldr = 1u << 24;
	message.size = sizeof(message);
	ck_assert_int_eq(x86vcpu_machine_deliver_message(&one, &message, &accepted), messages[_i].status);
	ck_assert_uint_eq(accepted, messages[_i].accepted);
	if (accepted && message.delivery < 2) {
		ck_assert(requested(g, message.vector));
		ck_assert_uint_eq(g->lapic.tmr[message.vector >> 6] >> (message.vector & 63) & 1, message.level);
	}
	ck_assert_uint_eq(g->events.nmi, message.delivery == 4);
	ck_assert_uint_eq(g->events.init, message.delivery == 5);
	ck_assert_uint_eq(g->events.startup, message.delivery == 6 ? 0x108 : 0);
	ck_assert_int_eq(x86vcpu_machine_deliver_message(&one, &message, NULL), messages[_i].status);
	message.size = offsetof(struct x86vcpu_message, level);
	ck_assert_int_eq(x86vcpu_machine_deliver_message(&one, &message, NULL), X86VCPU_ERR_ABI_MISMATCH);
	ck_assert_int_eq(x86vcpu_machine_deliver_message(&one, NULL, NULL), INVALID);
	ck_assert_int_eq(x86vcpu_machine_deliver_message(NULL, &message, NULL), INVALID);
}
END_TEST

/* The vCPU is told of a rising edge only. */
START_TEST(pins_are_driven)
{
	struct x86vcpu *vcpu = bound();

	ck_assert_int_eq(x86vcpu_set_lint(NULL, 0, 0), INVALID);
	ck_assert_int_eq(x86vcpu_set_lint(vcpu, 2, 0), INVALID);
	ck_assert_int_eq(x86vcpu_set_lint(vcpu, 0, 2), INVALID);
	ck_assert_int_eq(x86vcpu_set_lint(vcpu, 1, 1), X86VCPU_OK);
	ck_assert_uint_eq(vcpu->guest->lapic.pins, 2);
	ck_assert_uint_eq(told.calls, 1);
	ck_assert_int_eq(x86vcpu_set_lint(vcpu, 1, 1), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_set_lint(vcpu, 1, 0), X86VCPU_OK);
	ck_assert_uint_eq(vcpu->guest->lapic.pins, 0);
	ck_assert_uint_eq(told.calls, 1);
	ck_assert_int_eq(x86vcpu_set_lint(vcpu, 0, 1), X86VCPU_OK);
	ck_assert_uint_eq(vcpu->guest->lapic.pins, 1);
}
END_TEST

START_TEST(eoi_tells_the_end_of_a_level)
{
	struct x86vcpu *vcpu = bound();
	int32_t vector = 7;

	ck_assert_int_eq(x86vcpu_handle_eoi(NULL, &vector), INVALID);
	ck_assert_int_eq(x86vcpu_handle_eoi(vcpu, NULL), INVALID);
	ck_assert_int_eq(x86vcpu_handle_eoi(unbound(), &vector), X86VCPU_OK);
	vcpu = bound();
	ck_assert_int_eq(x86vcpu_handle_eoi(vcpu, &vector), X86VCPU_OK);
	ck_assert_int_eq(vector, -1);
	lapic_accept(vcpu->guest, 0x61, true);
	assert_next(vcpu->guest, GUEST_EVENT_EXTERNAL, 0x61);
	ck_assert_int_eq(x86vcpu_handle_eoi(vcpu, &vector), X86VCPU_OK);
	ck_assert_int_eq(vector, 0x61);
}
END_TEST

START_TEST(deadline_is_told)
{
	struct x86vcpu *vcpu = bound();
	uint64_t deadline = 0;

	ck_assert_int_eq(x86vcpu_timer_deadline(NULL, &deadline), INVALID);
	ck_assert_int_eq(x86vcpu_timer_deadline(vcpu, NULL), INVALID);
	ck_assert_int_eq(x86vcpu_timer_deadline(vcpu, &deadline), X86VCPU_OK);
	ck_assert_uint_eq(deadline, UINT64_MAX);
	lapic_mmio_write(vcpu->guest, LAPIC_TIMER_DIVIDE * 16, 4, 0xb);
	lapic_mmio_write(vcpu->guest, LAPIC_TIMER_INITIAL * 16, 4, 700);
	ck_assert_int_eq(x86vcpu_timer_deadline(vcpu, &deadline), X86VCPU_OK);
	ck_assert_uint_eq(deadline, 700); /* the fixture's TSC stands at 0 */
}
END_TEST

START_TEST(state_is_reached_here_only)
{
	struct x86vcpu_apic_state state = {.size = sizeof(state)};
	struct x86vcpu *vcpu = bound();

	ck_assert_int_eq(x86vcpu_get_apic(NULL, &state), INVALID);
	ck_assert_int_eq(x86vcpu_get_apic(vcpu, NULL), INVALID);
	ck_assert_int_eq(x86vcpu_set_apic(vcpu, NULL), INVALID);
	ck_assert_int_eq(x86vcpu_get_apic(vcpu, &state), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_set_apic(vcpu, &state), X86VCPU_OK);
	state.registers[LAPIC_TPR] = 0x100;
	ck_assert_int_eq(x86vcpu_set_apic(vcpu, &state), INVALID);
	state.size--;
	ck_assert_int_eq(x86vcpu_get_apic(vcpu, &state), X86VCPU_ERR_ABI_MISMATCH);
	ck_assert_int_eq(x86vcpu_set_apic(vcpu, &state), X86VCPU_ERR_ABI_MISMATCH);
	state.size++;
	ck_assert_int_eq(x86vcpu_get_apic(unbound(), &state), X86VCPU_ERR_BAD_STATE);
	vcpu = bound();
	vcpu->guest->lapic.present = false;
	ck_assert_int_eq(x86vcpu_get_apic(vcpu, &state), X86VCPU_ERR_UNSUPPORTED);
	ck_assert_int_eq(x86vcpu_set_apic(vcpu, &state), X86VCPU_ERR_UNSUPPORTED);
}
END_TEST

Suite *apic_suite(void)
{
	Suite *suite = suite_create("apic");
	TCase *tc = add_tcase(suite, "functions");

	tcase_add_test(tc, vector_is_checked);
	tcase_add_test(tc, trigger_is_passed_on);
	tcase_add_test(tc, nmi_and_request_are_posted);
	tcase_add_loop_test(tc, exception_is_checked, 0, 34);
	tcase_add_test(tc, run_state_is_told);
	tcase_add_loop_test(tc, message_is_checked, 0, COUNT(messages));
	tcase_add_test(tc, pins_are_driven);
	tcase_add_test(tc, eoi_tells_the_end_of_a_level);
	tcase_add_test(tc, deadline_is_told);
	tcase_add_test(tc, state_is_reached_here_only);
	return suite;
}
