/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtual machine monitor, from bare metal to a running guest and back: the order in which a
 * kernel calls the library. Memory is in memory.c, the exits in run.c, the guest's first state in
 * the loaders.
 */
#include "platform.h"

#include "vmm.h"

/* A guest that does nothing but compute is left this often, so that its timer ticks on time. */
#define TIME_SLICE_NS UINT64_C(500000)

static const struct loader *const loaders[] = {
	[JOB_LINUX] = &linux_loader,
	[JOB_MULTIBOOT] = &multiboot_loader,
	[JOB_REAL_MODE] = &real_mode_loader,
	[JOB_ROM] = &rom_loader,
};

/* Only for what goes wrong before or after the guest's time. */
static void require(int32_t status, const char *call)
{
	if (status == X86VCPU_OK)
		return;
	say("%s: %s (%d)", call, x86vcpu_strerror(status), status);
	finish(VERDICT_BROKEN, call);
}

static const struct job *find_job(void)
{
	const char *why;
	const struct job *job = job_open(JOB_ADDRESS, &why);

	if (!job) {
		say("bad job block: %s", why);
		finish(VERDICT_BROKEN, "bad job block");
	}
	return job;
}

static const struct loader *find_loader(const struct job *job)
{
	if (job->kind >= sizeof(loaders) / sizeof(loaders[0]) || !loaders[job->kind])
		finish(VERDICT_BROKEN, "unknown kind of image");
	return loaders[job->kind];
}

/* One line for scripts/run-guest's user; the guest is at fault, not the VMM. */
static void require_image(const char *wrong)
{
	if (wrong)
		finish(VERDICT_BAD_IMAGE, wrong);
}

static void reset_devices(struct vm *vm)
{
	pic_reset(&vm->pic);
	pit_reset(&vm->pit, platform_host_ops.nanos_to_ticks(NULL, 1000000000), rdtsc());
	cmos_reset(&vm->cmos, vm->ram_size);
	uart_reset(&vm->uart);
}

/* A vCPU in its reset state, bound to this CPU. No port or MSR is passed through or kept back. */
static void create_vcpu(struct vm *vm, uint64_t entry)
{
	const struct x86vcpu_create_config create = { .size = sizeof(create), .vcpu_id = 0, .vm_id = 1 };
	const struct x86vcpu_nested_paging paging = { .root_hpa = vm->nested.root_hpa };
	struct x86vcpu_setup_config setup = { .size = sizeof(setup), .time_slice_ns = TIME_SLICE_NS };

	memory_describe(vm, &setup);
	require(x86vcpu_create(&platform_host_ops, NULL, &create, &vm->vcpu), "x86vcpu_create");
	require(x86vcpu_set_entry(vm->vcpu, entry), "x86vcpu_set_entry");
	require(x86vcpu_set_nested_page_table(vm->vcpu, &paging), "x86vcpu_set_nested_page_table");
	require(x86vcpu_setup(vm->vcpu, &setup), "x86vcpu_setup");
	require(x86vcpu_bind(vm->vcpu), "x86vcpu_bind");
}

static void destroy_vcpu(struct vm *vm)
{
	require(x86vcpu_unbind(vm->vcpu), "x86vcpu_unbind");
	require(x86vcpu_destroy(vm->vcpu), "x86vcpu_destroy");
	x86vcpu_nested_destroy(&vm->nested);
}

static void run_guest(struct vm *vm, const struct loader *loader)
{
	uint64_t entry = 0;

	require(memory_create(vm), "memory_create");
	require_image(loader->load(vm, &entry));
	reset_devices(vm);
	create_vcpu(vm, entry);
	require_image(loader->start(vm));
	if (x86vcpu_extension() == X86VCPU_EXTENSION_SVM)
		host_timer_start(TIME_SLICE_NS);
	vm_run(vm);
	host_timer_stop();
	destroy_vcpu(vm);
}

_Noreturn void platform_main(void)
{
	static struct vm vm;
	struct x86vcpu_percpu *percpu;
	const struct loader *loader;

	vm.job = find_job();
	vm.verdict = VERDICT_NONE;
	loader = find_loader(vm.job);
	frames_init(((uintptr_t)platform_image_end + 4095) & ~UINT64_C(4095), JOB_ADDRESS);

	require(x86vcpu_percpu_create(&platform_host_ops, NULL, cpu_id(), &percpu), "x86vcpu_percpu_create");
	require(x86vcpu_percpu_enable(percpu), "x86vcpu_percpu_enable");
	run_guest(&vm, loader);
	require(x86vcpu_percpu_disable(percpu), "x86vcpu_percpu_disable");
	require(x86vcpu_percpu_destroy(percpu), "x86vcpu_percpu_destroy");

	if (frames_in_use()) {
		say("%lu frames were never given back", (unsigned long)frames_in_use());
		finish(VERDICT_BROKEN, "frames were leaked");
	}
	finish(vm.verdict, vm.reason);
}
