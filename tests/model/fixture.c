/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include <check.h>
#include <string.h>

static uint32_t current;

static uint64_t alloc_frame(void *ctx) { return model_alloc(ctx, 1, 4096); }
static void free_frame(void *ctx, uint64_t hpa) { model_free(ctx, hpa, 1); }
static uint64_t alloc_frames(void *ctx, uint64_t count, uint64_t align) { return model_alloc(ctx, count, align); }
static void free_frames(void *ctx, uint64_t hpa, uint64_t count) { model_free(ctx, hpa, count); }
static void *phys_to_virt(void *ctx, uint64_t hpa) { return model_memory(ctx, hpa); }
static uint64_t nanos_to_ticks(void *ctx, uint64_t nanos) { return (void)ctx, nanos; }
static void dispatch(void *ctx, uint32_t vector) { (void)ctx, (void)vector; }
static void service(void *ctx) { (void)ctx; }
static uint32_t current_cpu(void *ctx) { return (void)ctx, current; }

static int32_t read_msr(void *ctx, uint32_t msr, uint64_t *value)
{
	(void)ctx;
	return model_try_rdmsr(msr, value) ? X86VCPU_ERR_UNSUPPORTED : X86VCPU_OK;
}

static int32_t read_guest(void *ctx, void *machine, uint64_t gpa, void *to, uint64_t len)
{
	(void)machine;
	if (gpa + len > MODEL_GUEST_SIZE)
		return X86VCPU_ERR_INVALID_INPUT;
	memcpy(to, model_guest_memory(ctx) + gpa, len);
	return X86VCPU_OK;
}

static const struct x86vcpu_host_ops ops = {
	.size = sizeof(ops),
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
	.current_cpu = current_cpu,
	.read_msr = read_msr,
};

void fixture_on_cpu(struct fixture *f, uint32_t cpu)
{
	current = cpu;
	model_use(f->m, cpu);
	if (f->percpu[cpu])
		return;
	ck_assert_int_eq(x86vcpu_percpu_create(&ops, f->m, cpu, &f->percpu[cpu]), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_percpu_enable(f->percpu[cpu]), X86VCPU_OK);
}

const struct x86vcpu_host_ops *fixture_ops(void)
{
	return &ops;
}

struct fixture *fixture_begin(enum model_backend backend, uint32_t features)
{
	return fixture_begin_nested(backend, features, 4);
}

static const struct x86vcpu_setup_config default_config = {
	.size = sizeof(struct x86vcpu_setup_config),
	.time_slice_ns = UINT64_C(1) << 60,
};

int32_t fixture_set_nested(struct fixture *f, uint32_t levels, uint32_t gpa_bits)
{
	const struct x86vcpu_nested_paging paging = {.root_hpa = f->root, .levels = levels, .gpa_bits = gpa_bits};
	const int32_t status = x86vcpu_set_nested_page_table(f->vcpu, &paging);

	model_nested_levels(f->m, levels);
	return status ? status : x86vcpu_setup(f->vcpu, f->config);
}

static struct fixture *begin(enum model_backend backend, uint32_t features, uint32_t levels,
			     const struct x86vcpu_setup_config *setup, const struct model_profile *profile)
{
	static struct fixture fixture;
	struct fixture *f = &fixture;
	const struct x86vcpu_machine_config machine = {.size = sizeof(machine), .vm_id = 1};
	const struct x86vcpu_create_config config = {.size = sizeof(config)};

	*f = (struct fixture){.m = model_create(backend, features), .config = setup};
	if (profile)
		model_set_profile(f->m, profile);
	fixture_on_cpu(f, 0);
	f->root = model_alloc(f->m, 1, 4096);
	ck_assert_int_eq(x86vcpu_machine_create(&ops, f->m, &machine, &f->machine), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_create(f->machine, &config, &f->vcpu), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_set_entry(f->vcpu, 0x1000), X86VCPU_OK);
	ck_assert_int_eq(fixture_set_nested(f, levels, 0), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_bind(f->vcpu), X86VCPU_OK);
	ck_assert_str_eq(model_complaints(f->m), "");
	return f;
}

struct fixture *fixture_begin_nested(enum model_backend backend, uint32_t features, uint32_t levels)
{
	return begin(backend, features, levels, &default_config, NULL);
}

struct fixture *fixture_begin_with(enum model_backend backend, uint32_t features,
				   const struct x86vcpu_setup_config *config)
{
	return begin(backend, features, 4, config, NULL);
}

struct fixture *fixture_begin_profile(const struct model_profile *profile)
{
	return begin(profile->backend, MODEL_ALL, 4, &default_config, profile);
}

int32_t fixture_does(struct fixture *f, uint32_t kind, uint32_t length, uint64_t a, uint64_t b, uint64_t c)
{
	model_guest_does(f->m, &(struct model_op){kind, length, a, b, c});
	return x86vcpu_run(f->vcpu, &f->exit);
}

void fixture_end(struct fixture *f)
{
	ck_assert_str_eq(model_complaints(f->m), "");
	x86vcpu_unbind(f->vcpu);
	ck_assert_int_eq(x86vcpu_destroy(f->vcpu), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_machine_destroy(f->machine), X86VCPU_OK);
	for (uint32_t cpu = 0; cpu < MODEL_CPUS; cpu++) {
		if (!f->percpu[cpu])
			continue;
		fixture_on_cpu(f, cpu);
		ck_assert_int_eq(x86vcpu_percpu_disable(f->percpu[cpu]), X86VCPU_OK);
		ck_assert_int_eq(x86vcpu_percpu_destroy(f->percpu[cpu]), X86VCPU_OK);
	}
	ck_assert_str_eq(model_complaints(f->m), "");
	ck_assert_uint_eq(model_frames_in_use(f->m), 1); /* the nested table is the test's */
	model_destroy(f->m);
}
