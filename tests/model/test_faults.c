/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host operations that fail: the n-th call of those that may, for every n, in the whole life of a vCPU. Whatever fails is
 * answered with an error or an exit, the CPU has nothing to complain of, and every frame comes back.
 */
#include <check.h>
#include <stddef.h>
#include <string.h>

#include "fixture.h"

#define DEVICE 0x8000u
#define CODE 0x1000u
#define MOST_CALLS 400u

static struct {
	uint32_t calls, fails_at;
	uint32_t frames; /* that the host has given out */
	bool reached;
} host;

/* Whether this call is the one. */
static bool fails(void)
{
	if (host.calls++ != host.fails_at)
		return false;
	host.reached = true;
	return true;
}

static uint64_t alloc_frames(void *ctx, uint64_t count, uint64_t align)
{
	const uint64_t hpa = fails() ? 0 : model_alloc(ctx, count, align);

	host.frames += hpa ? (uint32_t)count : 0;
	return hpa;
}

static uint64_t alloc_frame(void *ctx)
{
	return alloc_frames(ctx, 1, 4096);
}

static void free_frames(void *ctx, uint64_t hpa, uint64_t count)
{
	host.frames -= (uint32_t)count;
	model_free(ctx, hpa, count);
}

static void free_frame(void *ctx, uint64_t hpa)
{
	free_frames(ctx, hpa, 1);
}

static int32_t read_guest(void *ctx, void *machine, uint64_t gpa, void *to, uint64_t len)
{
	(void)machine;
	if (fails() || gpa + len > MODEL_GUEST_SIZE)
		return X86VCPU_ERR_INVALID_INPUT;
	memcpy(to, model_guest_memory(ctx) + gpa, len);
	return X86VCPU_OK;
}

static int32_t read_msr(void *ctx, uint32_t msr, uint64_t *value)
{
	(void)ctx;
	return fails() || model_try_rdmsr(msr, value) ? X86VCPU_ERR_UNSUPPORTED : X86VCPU_OK;
}

static uint64_t time_ns(void *ctx)
{
	(void)ctx;
	return 0;
}

static int32_t timer_start(void *ctx, uint64_t deadline, x86vcpu_timer_function function, void *arg,
			   struct x86vcpu_timer *timer)
{
	(void)ctx, (void)deadline, (void)function, (void)arg;
	timer->opaque[0] = 1;
	return fails() ? X86VCPU_ERR_NO_MEMORY : X86VCPU_OK;
}

static int32_t timer_cancel(void *ctx, const struct x86vcpu_timer *timer)
{
	(void)ctx, (void)timer;
	return fails() ? X86VCPU_ERR_TIMER_UNAVAILABLE : X86VCPU_OK;
}

static int32_t acknowledge(void *ctx, void *machine, void *vcpu)
{
	(void)ctx, (void)machine, (void)vcpu;
	return fails() ? -1 : 0x30;
}

static struct x86vcpu_host_ops make_ops(void)
{
	struct x86vcpu_host_ops ops = *fixture_ops();

	ops.alloc_frame = alloc_frame;
	ops.free_frame = free_frame;
	ops.alloc_contiguous_frames = alloc_frames;
	ops.free_contiguous_frames = free_frames;
	ops.read_guest = read_guest;
	ops.read_msr = read_msr;
	ops.time_ns = time_ns;
	ops.timer_start = timer_start;
	ops.timer_cancel = timer_cancel;
	ops.acknowledge_interrupt = acknowledge;
	return ops;
}

/* ---- A life ---------------------------------------------------------------------------------------------------- */

static bool is_known(int32_t status)
{
	return status <= X86VCPU_OK && strcmp(x86vcpu_strerror(status), x86vcpu_strerror(-1000)) != 0;
}

static void does(struct model *m, struct x86vcpu *vcpu, uint32_t kind, uint64_t a, uint64_t b, uint64_t c)
{
	struct x86vcpu_exit exit;

	model_guest_does(m, &(struct model_op){kind, 2, a, b, c});
	ck_assert(is_known(x86vcpu_run(vcpu, &exit)));
	(void)x86vcpu_complete_read(vcpu, 1);
}

/* An MMIO access, the local APIC's timer, an 8259A's interrupt. */
static void run_guest(struct model *m, struct x86vcpu *vcpu)
{
	struct x86vcpu_apic_state apic = {.size = sizeof(apic)};

	memcpy(model_guest_memory(m) + CODE, "\x8a\x07\x88\x07", 4);
	model_guest_sets(m, MODEL_RBX, DEVICE);
	does(m, vcpu, MODEL_OP_MMIO, DEVICE, 0, DEVICE);
	does(m, vcpu, MODEL_OP_MMIO, DEVICE, 1, DEVICE);
	ck_assert_int_eq(x86vcpu_get_apic(vcpu, &apic), X86VCPU_OK);
	apic.registers[0x0f] |= 0x100;
	apic.registers[0x32] = 0x40; /* one-shot */
	apic.registers[0x35] = 0x700; /* LINT0: ExtINT */
	apic.registers[0x38] = 1000;
	apic.timer_remaining = 1000;
	ck_assert_int_eq(x86vcpu_set_apic(vcpu, &apic), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_set_lint(vcpu, 0, 1), X86VCPU_OK);
	model_guest_sets(m, MODEL_RFLAGS, 0x202);
	does(m, vcpu, MODEL_OP_NONE, 0, 0, 0);
	does(m, vcpu, MODEL_OP_NONE, 0, 0, 0);
	ck_assert_int_eq(x86vcpu_set_apic(vcpu, &apic), X86VCPU_OK);
}

/* A host that cannot cancel a timer asks again later. */
static void destroy(struct x86vcpu *vcpu)
{
	int32_t status = x86vcpu_destroy(vcpu);

	if (status == X86VCPU_ERR_RESOURCE_BUSY)
		status = x86vcpu_destroy(vcpu);
	ck_assert_int_eq(status, X86VCPU_OK);
}

static void live(struct model *m, struct x86vcpu_machine *machine, uint64_t root)
{
	static const struct x86vcpu_mmio_range device = {DEVICE, 0x1000};
	const struct x86vcpu_create_config create = {.size = sizeof(create)};
	const struct x86vcpu_setup_config setup = {
		.size = sizeof(setup), .mmio = &device, .mmio_count = 1, .time_slice_ns = UINT64_C(1) << 60};
	struct x86vcpu *vcpu = NULL;
	int32_t status = x86vcpu_create(machine, &create, &vcpu);

	ck_assert(status == X86VCPU_OK || (status == X86VCPU_ERR_NO_MEMORY && !vcpu));
	if (status)
		return;
	ck_assert_int_eq(x86vcpu_set_entry(vcpu, CODE), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_set_nested_page_table(vcpu, &(struct x86vcpu_nested_paging){.root_hpa = root}), X86VCPU_OK);
	status = x86vcpu_setup(vcpu, &setup);
	if (!status)
		status = x86vcpu_bind(vcpu);
	ck_assert(is_known(status));
	if (!status) {
		run_guest(m, vcpu);
		ck_assert_int_eq(x86vcpu_unbind(vcpu), X86VCPU_OK);
	}
	destroy(vcpu);
}

static void live_in_machine(struct model *m, const struct x86vcpu_host_ops *ops, uint64_t root)
{
	const struct x86vcpu_machine_config config = {.size = sizeof(config)};
	struct x86vcpu_machine *machine = NULL;
	const int32_t status = x86vcpu_machine_create(ops, m, &config, &machine);

	ck_assert(status == X86VCPU_OK || (status == X86VCPU_ERR_NO_MEMORY && !machine));
	if (status)
		return;
	live(m, machine, root);
	ck_assert_int_eq(x86vcpu_machine_destroy(machine), X86VCPU_OK);
}

/* True: a call was the n-th. */
static bool fail_call(enum model_backend backend, uint32_t n)
{
	struct model *m = model_create(backend, MODEL_ALL);
	const struct x86vcpu_host_ops ops = make_ops();
	const uint64_t root = model_alloc(m, 1, 4096);
	struct x86vcpu_percpu *percpu = NULL;
	int32_t status;

	memset(&host, 0, sizeof(host));
	host.fails_at = n;
	model_use(m, 0);
	status = x86vcpu_percpu_create(&ops, m, 0, &percpu);
	if (!status) {
		status = x86vcpu_percpu_enable(percpu);
		if (!status) {
			live_in_machine(m, &ops, root);
			ck_assert_int_eq(x86vcpu_percpu_disable(percpu), X86VCPU_OK);
		}
		ck_assert_int_eq(x86vcpu_percpu_destroy(percpu), X86VCPU_OK);
	}
	ck_assert(is_known(status));
	ck_assert_msg(host.frames == 0, "call %u: %u frames are lost", n, host.frames);
	ck_assert_msg(!model_complaints(m)[0], "call %u: %s", n, model_complaints(m));
	model_destroy(m);
	return host.reached;
}

START_TEST(every_call_fails_once)
{
	uint32_t n = 0;

	while (fail_call(_i ? MODEL_SVM : MODEL_VMX, n) && n < MOST_CALLS)
		n++;
	ck_assert_uint_gt(n, 15);
	ck_assert_uint_lt(n, MOST_CALLS);
}
END_TEST

Suite *faults_suite(void);
Suite *faults_suite(void)
{
	Suite *suite = suite_create("faults");
	TCase *tc = tcase_create("faults");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, every_call_fails_once, 0, 2);
	suite_add_tcase(suite, tc);
	return suite;
}
