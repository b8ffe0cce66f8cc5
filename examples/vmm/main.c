/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtual machine monitor, from bare metal to a running guest and back. vCPUs and host CPUs are in
 * machine.c, their turns in schedule.c, the exits in exits.c, memory in memory.c, the guest's first state in
 * the loaders.
 */
#include "vmm.h"

static const struct loader *const loaders[] = {
	[JOB_LINUX] = &linux_loader,
	[JOB_MULTIBOOT] = &multiboot_loader,
	[JOB_REAL_MODE] = &real_mode_loader,
	[JOB_ROM] = &rom_loader,
};

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

/* What is known from the first second on. */
static void introduce(const struct vm *vm, const struct loader *loader)
{
	say("%s, %u MHz; %u vCPU%s on %u CPU%s", x86vcpu_extension_name(x86vcpu_extension()),
	    (unsigned)(platform_tsc_khz() / 1000), vm->vcpus, vm->vcpus == 1 ? "" : "s", vm->hosts,
	    vm->hosts == 1 ? "" : "s");
	if (vm->nested.levels == 5)
		say("5-level paging, here and in the nested tables");
	say("%lu MiB of memory, %s of %lu KiB", (unsigned long)(vm->ram_size >> 20), loader->name,
	    (unsigned long)((vm->job->files[0].length + 1023) / 1024));
}

static void run_guest(struct vm *vm, const struct loader *loader)
{
	const char *wrong;
	uint64_t entry = 0, begin, exits = 0;

	vm->vcpus = vm->job->vcpus;
	vm->hosts = vm->job->host_cpus < vm->vcpus ? vm->job->host_cpus : vm->vcpus;
	require(memory_create(vm), "memory_create");
	introduce(vm, loader);
	wrong = loader->load(vm, &entry);
	if (wrong)
		finish(VERDICT_BAD_IMAGE, wrong);
	begin = rdtsc();
	machine_run(vm, loader, entry);
	for (unsigned i = 0; i < vm->vcpus; i++)
		exits += vm->vcpu[i].exits;
	/* On the emulators a tick of the TSC is an instruction, or two. */
	say("tsc %lu exits %lu", (unsigned long)(rdtsc() - begin), (unsigned long)exits);
	x86vcpu_nested_destroy(&vm->nested);
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

	if (vm.job->flags & JOB_LA57 && !platform_use_la57())
		finish(VERDICT_BROKEN, "this CPU has no 5-level paging");
	require(x86vcpu_percpu_create(&platform_host_ops, NULL, cpu_index(), &percpu), "x86vcpu_percpu_create");
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
