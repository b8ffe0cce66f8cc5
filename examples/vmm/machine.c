/* SPDX-License-Identifier: Apache-2.0 */
/* The vCPUs and the host CPUs: the order in which a kernel calls the library. */
#include "vmm.h"

#define VM_ID 1
#define SECOND_CPU 1 /* its APIC ID */
#define NMI_VECTOR 2
#define LEAVE_NS 10000000

/* Local APIC registers by number, and values of firmware: an 8259A behind LINT0, the board's NMI at LINT1. */
#define APIC_SPURIOUS 0x0f
#define APIC_LINT0 0x35
#define APIC_LINT1 0x36
#define SPURIOUS_ENABLED 0x1ff
#define LVT_EXTINT 0x700
#define LVT_NMI 0x400

void require(int32_t status, const char *call)
{
	if (status == X86VCPU_OK)
		return;
	say("%s: %s (%d)", call, x86vcpu_strerror(status), status);
	finish(VERDICT_BROKEN, call);
}

/* ---- vCPUs ---------------------------------------------------------------------------------------- */

static void create_machine(struct vm *vm)
{
	const struct x86vcpu_machine_config config = { .size = sizeof(config), .vm_id = VM_ID, .opaque = vm };

	require(x86vcpu_machine_create(&platform_host_ops, NULL, &config, &vm->machine), "x86vcpu_machine_create");
}

/*
 * In its reset state. No port or MSR is passed through or kept back. This kernel has neither vector registers in
 * use nor user mode, so the guest's may stay in the CPU.
 */
static void create_vcpu(struct vm *vm, unsigned id, uint64_t entry)
{
	struct vcpu *vcpu = &vm->vcpu[id];
	const struct x86vcpu_create_config create = { .size = sizeof(create), .vcpu_id = id, .opaque = vcpu };
	const struct x86vcpu_nested_paging paging = { .root_hpa = vm->nested.root_hpa, .levels = vm->nested.levels };
	struct x86vcpu_setup_config setup = {
		.size = sizeof(setup),
		.time_slice_ns = TIME_SLICE_NS,
		.flags = X86VCPU_SETUP_KEEP_CONTEXT | X86VCPU_SETUP_FPU_ERROR_EXITS,
		.start = id == 0 ? X86VCPU_START_AT_ENTRY : X86VCPU_START_WAIT_FOR_SIPI,
	};

	*vcpu = (struct vcpu){ .vm = vm, .id = id, .host = id % vm->hosts, .timer = NEVER };
	memory_describe(vm, &setup);
	require(x86vcpu_create(vm->machine, &create, &vcpu->handle), "x86vcpu_create");
	require(x86vcpu_set_entry(vcpu->handle, entry), "x86vcpu_set_entry");
	require(x86vcpu_set_nested_page_table(vcpu->handle, &paging), "x86vcpu_set_nested_page_table");
	require(x86vcpu_setup(vcpu->handle, &setup), "x86vcpu_setup");
}

/* Once all vCPUs exist: an INIT to one that does not yet would be lost. */
static void bind_own(struct vm *vm)
{
	for (unsigned i = 0; i < vm->vcpus; i++)
		if (vm->vcpu[i].host == cpu_index())
			require(x86vcpu_bind(vm->vcpu[i].handle), "x86vcpu_bind");
}

static void unbind_own(struct vm *vm)
{
	for (unsigned i = 0; i < vm->vcpus; i++)
		if (vm->vcpu[i].host == cpu_index())
			require(x86vcpu_unbind(vm->vcpu[i].handle), "x86vcpu_unbind");
}

/* "Virtual wire mode", in which firmware leaves the first CPU (MultiProcessor Specification 3.6.2.2). */
static void wire_apic(struct vm *vm)
{
	struct x86vcpu_apic_state apic = { .size = sizeof(apic) };

	require(x86vcpu_get_apic(vm->vcpu[0].handle, &apic), "x86vcpu_get_apic");
	apic.registers[APIC_SPURIOUS] = SPURIOUS_ENABLED;
	apic.registers[APIC_LINT0] = LVT_EXTINT;
	apic.registers[APIC_LINT1] = LVT_NMI;
	require(x86vcpu_set_apic(vm->vcpu[0].handle, &apic), "x86vcpu_set_apic");
}

/* ---- Host CPUs ------------------------------------------------------------------------------------ */

static void leave(struct vm *vm)
{
	__atomic_sub_fetch(&vm->cpus_left, 1, __ATOMIC_SEQ_CST);
}

static void second_cpu(void *arg)
{
	struct vm *vm = arg;
	struct x86vcpu_percpu *percpu;

	require(x86vcpu_percpu_create(&platform_host_ops, NULL, cpu_index(), &percpu), "x86vcpu_percpu_create");
	require(x86vcpu_percpu_enable(percpu), "x86vcpu_percpu_enable");
	bind_own(vm);
	vm_run_cpu(vm);
	unbind_own(vm);
	require(x86vcpu_percpu_disable(percpu), "x86vcpu_percpu_disable");
	require(x86vcpu_percpu_destroy(percpu), "x86vcpu_percpu_destroy");
	leave(vm);
}

static void on_nmi(struct trap_frame *frame)
{
	(void)frame; /* that it left the guest is all it is for */
}

/*
 * vCPUs that share a CPU must leave it to each other also when they spin with interrupts off. VT-x has its time
 * slices for that; under Bochs, SVM has but NMIs.
 */
static bool needs_nmis(const struct vm *vm)
{
	return vm->vcpus > vm->hosts && x86vcpu_extension() == X86VCPU_EXTENSION_SVM;
}

static void start_second_cpu(struct vm *vm)
{
	vm->cpus_left = vm->hosts - 1;
	trap_set_handler(NMI_VECTOR, on_nmi);
	if (vm->hosts > 1 && !cpu_start(SECOND_CPU, CPU_START_MS, second_cpu, vm))
		finish(VERDICT_BROKEN, "the second CPU does not start");
}

/* Under Bochs, only an NMI gets through to a guest that was entered with IRQs off. */
static void wait_for_second_cpu(struct vm *vm)
{
	uint64_t begin = platform_time_ns();

	while (__atomic_load_n(&vm->cpus_left, __ATOMIC_SEQ_CST)) {
		cpu_pause();
		if (platform_time_ns() - begin < LEAVE_NS)
			continue;
		cpu_kick(SECOND_CPU, true);
		begin = platform_time_ns();
	}
}

void machine_run(struct vm *vm, const struct loader *loader, uint64_t entry)
{
	const char *wrong;

	schedule_init();
	create_machine(vm);
	for (unsigned i = 0; i < vm->vcpus; i++)
		create_vcpu(vm, i, entry);
	devices_reset(vm);
	bind_own(vm);
	if (!loader->is_firmware)
		wire_apic(vm);
	wrong = loader->start(vm, vm->vcpu[0].handle);
	if (wrong)
		finish(VERDICT_BAD_IMAGE, wrong);
	start_second_cpu(vm);
	if (needs_nmis(vm))
		platform_nmi_start(TIME_SLICE_NS);
	vm_run_cpu(vm);
	unbind_own(vm);
	wait_for_second_cpu(vm);
	platform_nmi_stop();
	for (unsigned i = 0; i < vm->vcpus; i++)
		require(x86vcpu_destroy(vm->vcpu[i].handle), "x86vcpu_destroy");
	require(x86vcpu_machine_destroy(vm->machine), "x86vcpu_machine_destroy");
}
