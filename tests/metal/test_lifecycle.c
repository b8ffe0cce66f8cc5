/* SPDX-License-Identifier: Apache-2.0 */
/* VMX operation on and off, and every call in the wrong order or the wrong place. */
#include "guest.h"

#define IA32_FEATURE_CONTROL 0x3a
#define CR4_VMXE (UINT64_C(1) << 13)
#define CR4_OSXSAVE (UINT64_C(1) << 18)
#define NOT_ENOUGH_MODELS "core2_penryn_t9600 corei5_lynnfield_750"

GUEST_CODE_BLOB(idle_code, 64, "1: mov $1, %eax; vmcall; jmp 1b");

static struct x86vcpu_percpu *new_percpu(void)
{
	struct x86vcpu_percpu *percpu = NULL;

	CHECK_OK(x86vcpu_percpu_create(&platform_host_ops, NULL, 0, &percpu));
	CHECK(percpu);
	return percpu;
}

/* ---- On and off -------------------------------------------------------------------------------------- */

METAL_TEST(enable_twice, "enable.twice")
{
	struct x86vcpu_percpu *percpu = new_percpu();

	CHECK_EQ(x86vcpu_percpu_is_enabled(percpu), 0);
	CHECK_OK(x86vcpu_percpu_enable(percpu));
	CHECK_EQ(x86vcpu_percpu_is_enabled(percpu), 1);
	CHECK_STATUS(x86vcpu_percpu_enable(percpu), X86VCPU_ERR_RESOURCE_BUSY);
	CHECK_EQ(x86vcpu_percpu_is_enabled(percpu), 1);
}

METAL_TEST(disable_twice, "enable.disable_twice")
{
	struct x86vcpu_percpu *percpu = new_percpu();

	CHECK_STATUS(x86vcpu_percpu_disable(percpu), X86VCPU_ERR_BAD_STATE);
	CHECK_OK(x86vcpu_percpu_enable(percpu));
	CHECK_OK(x86vcpu_percpu_disable(percpu));
	CHECK_EQ(x86vcpu_percpu_is_enabled(percpu), 0);
	CHECK_STATUS(x86vcpu_percpu_disable(percpu), X86VCPU_ERR_BAD_STATE);
	CHECK_OK(x86vcpu_percpu_enable(percpu));
	CHECK_OK(x86vcpu_percpu_disable(percpu));
}

METAL_TEST(enable_second_object, "enable.second_object_refused")
{
	struct x86vcpu_percpu *first = new_percpu(), *second = new_percpu();

	CHECK_OK(x86vcpu_percpu_enable(first));
	CHECK_STATUS(x86vcpu_percpu_enable(second), X86VCPU_ERR_RESOURCE_BUSY);
	CHECK_STATUS(x86vcpu_percpu_disable(second), X86VCPU_ERR_BAD_STATE);
	CHECK_OK(x86vcpu_percpu_disable(first));
	CHECK_OK(x86vcpu_percpu_enable(second));
}

METAL_TEST(enable_other_hypervisor, "enable.other_hypervisor_refused", .vendor = METAL_VMX)
{
	struct x86vcpu_percpu *percpu = new_percpu();

	host_set_cr4(host_cr4() | CR4_VMXE);
	CHECK_STATUS(x86vcpu_percpu_enable(percpu), X86VCPU_ERR_RESOURCE_BUSY);
	CHECK(host_cr4() & CR4_VMXE);
	CHECK_EQ(x86vcpu_percpu_is_enabled(percpu), 0);
}

static void enable_there(void *percpu)
{
	CHECK_OK(x86vcpu_percpu_enable(percpu));
}

static void disable_there(void *percpu)
{
	CHECK_OK(x86vcpu_percpu_disable(percpu));
}

METAL_TEST(enable_on_second_cpu_only, "enable.disable_on_the_other_cpu_refused", .cpus = 2)
{
	struct x86vcpu_percpu *percpu = new_percpu();

	second_cpu_start();
	second_cpu_call(enable_there, percpu);
	CHECK_EQ(x86vcpu_percpu_is_enabled(percpu), 1);
	CHECK(!(host_cr4() & CR4_VMXE));
	CHECK_STATUS(x86vcpu_percpu_disable(percpu), X86VCPU_ERR_BAD_STATE);
	second_cpu_call(disable_there, percpu);
	CHECK_EQ(x86vcpu_percpu_is_enabled(percpu), 0);
}

/* Firmware locks the register on most machines; an emulator without firmware does not. */
static const char *cannot_lock(void)
{
	return rdmsr(IA32_FEATURE_CONTROL) & 1 ? "firmware has locked IA32_FEATURE_CONTROL" : NULL;
}

METAL_TEST(feature_control_unlocked, "enable.feature_control_unlocked", .vendor = METAL_VMX, .fresh = 1,
	   .cannot = cannot_lock)
{
	CHECK_EQ(rdmsr(IA32_FEATURE_CONTROL), 0);
	CHECK_OK(x86vcpu_percpu_enable(new_percpu()));
	CHECK_EQ(rdmsr(IA32_FEATURE_CONTROL), 5);
}

METAL_TEST(feature_control_locked_on, "enable.feature_control_locked_on", .vendor = METAL_VMX, .fresh = 1,
	   .cannot = cannot_lock)
{
	wrmsr(IA32_FEATURE_CONTROL, 5);
	CHECK_OK(x86vcpu_percpu_enable(new_percpu()));
	CHECK_EQ(rdmsr(IA32_FEATURE_CONTROL), 5);
}

static void expect_locked_off(uint64_t feature_control)
{
	struct x86vcpu_percpu *percpu = new_percpu();
	const uint64_t frames = frames_in_use();
	struct host_snapshot before;

	wrmsr(IA32_FEATURE_CONTROL, feature_control);
	host_snapshot(&before);
	CHECK_STATUS(x86vcpu_percpu_enable(percpu), X86VCPU_ERR_FIRMWARE_DISABLED);
	host_check_unchanged(&before);
	CHECK_EQ(x86vcpu_percpu_is_enabled(percpu), 0);
	CHECK_EQ(frames_in_use(), frames);
	CHECK_EQ(x86vcpu_extension(), X86VCPU_EXTENSION_NONE);
}

METAL_TEST(feature_control_locked_off, "enable.feature_control_locked_off", .vendor = METAL_VMX, .fresh = 1,
	   .cannot = cannot_lock)
{
	expect_locked_off(1);
}

METAL_TEST(feature_control_smx_only, "enable.feature_control_locked_for_smx_only", .vendor = METAL_VMX, .fresh = 1,
	   .cannot = cannot_lock)
{
	expect_locked_off(3);
}

METAL_TEST(disable_restores, "enable.disable_restores_the_host", .vendor = METAL_VMX)
{
	struct x86vcpu_percpu *percpu = new_percpu();
	const uint64_t frames = frames_in_use();
	struct host_snapshot before;

	if (!cannot_lock())
		wrmsr(IA32_FEATURE_CONTROL, 5);
	host_paint();
	host_snapshot(&before);
	CHECK_OK(x86vcpu_percpu_enable(percpu));
	CHECK(host_cr4() & CR4_VMXE);
	CHECK(host_cr4() & CR4_OSXSAVE);
	CHECK_OK(x86vcpu_percpu_disable(percpu));
	host_check_unchanged(&before);
	CHECK_EQ(frames_in_use(), frames);
}

METAL_TEST(disable_leaves_vmx, "enable.disable_leaves_vmx_operation", .vendor = METAL_VMX)
{
	struct x86vcpu_percpu *percpu = new_percpu();

	CHECK_OK(x86vcpu_percpu_enable(percpu));
	CHECK_OK(x86vcpu_percpu_disable(percpu));
	/* Clearing CR4.VMXE in VMX operation is #GP (SDM 24.8): the host would fault here. */
	host_set_cr4(host_cr4() | CR4_VMXE);
	host_set_cr4(host_cr4() & ~CR4_VMXE);
}

METAL_TEST(disable_while_bound, "enable.disable_while_bound_refused")
{
	struct guest g;

	guest_boot(&g, GUEST_LONG, &idle_code);
	CHECK_STATUS(x86vcpu_percpu_disable(host_enable()), X86VCPU_ERR_RESOURCE_BUSY);
	guest_run_call(&g, 1);
	CHECK_OK(x86vcpu_unbind(g.vcpu));
	CHECK_OK(x86vcpu_percpu_disable(host_enable()));
}

METAL_TEST(percpu_destroy_enabled, "enable.destroy_while_enabled_refused")
{
	const uint64_t frames = frames_in_use();
	struct x86vcpu_percpu *percpu = new_percpu();

	CHECK_OK(x86vcpu_percpu_enable(percpu));
	CHECK_STATUS(x86vcpu_percpu_destroy(percpu), X86VCPU_ERR_RESOURCE_BUSY);
	CHECK_EQ(x86vcpu_percpu_is_enabled(percpu), 1);
	CHECK_OK(x86vcpu_percpu_disable(percpu));
	CHECK_OK(x86vcpu_percpu_destroy(percpu));
	CHECK_OK(x86vcpu_percpu_destroy(NULL));
	CHECK_EQ(frames_in_use(), frames);
}

static const char *only_without(void)
{
	return "for CPUs that lack what the library needs";
}

METAL_TEST(models_without, "enable.cpu_lacks_what_is_needed", .models = NOT_ENOUGH_MODELS,
	   .vendor = METAL_VMX, .cannot = only_without)
{
	struct x86vcpu_percpu *percpu = new_percpu();
	const uint64_t frames = frames_in_use();
	struct host_snapshot before;
	uint32_t extension;

	CHECK_OK(x86vcpu_detect(&extension));
	CHECK_EQ(extension, X86VCPU_EXTENSION_VMX);
	wrmsr(IA32_FEATURE_CONTROL, 5);
	host_snapshot(&before);
	CHECK_STATUS(x86vcpu_percpu_enable(percpu), X86VCPU_ERR_UNSUPPORTED);
	host_check_unchanged(&before);
	CHECK_EQ(frames_in_use(), frames);
	CHECK_EQ(x86vcpu_extension(), X86VCPU_EXTENSION_NONE);
}

METAL_TEST(no_extension, "enable.cpu_without_vtx", .models = "p4_prescott_celeron_336",
	   .vendor = METAL_VMX, .cannot = only_without)
{
	uint32_t extension = 77;

	CHECK_STATUS(x86vcpu_detect(&extension), X86VCPU_ERR_UNSUPPORTED);
	CHECK_EQ(extension, X86VCPU_EXTENSION_NONE);
	CHECK_STATUS(x86vcpu_percpu_enable(new_percpu()), X86VCPU_ERR_UNSUPPORTED);
}

METAL_TEST(amd_cpu, "enable.detects_svm", .vendor = METAL_SVM)
{
	uint32_t extension;

	CHECK_OK(x86vcpu_detect(&extension));
	CHECK_EQ(extension, X86VCPU_EXTENSION_SVM);
}

static struct x86vcpu_machine *make_machine(void)
{
	const struct x86vcpu_machine_config config = { .size = sizeof(config) };
	struct x86vcpu_machine *machine;

	CHECK_OK(x86vcpu_machine_create(&platform_host_ops, NULL, &config, &machine));
	return machine;
}

METAL_TEST(before_enable, "enable.before_the_first")
{
	struct x86vcpu_machine *machine = make_machine();
	const struct x86vcpu_create_config config = { .size = sizeof(config) };
	struct x86vcpu *vcpu = (struct x86vcpu *)1;
	const bool on_amd = host_cpuid(0, 0).ecx == 0x444d4163; /* "cAMD" */
	uint32_t format;

	CHECK_EQ(x86vcpu_extension(), X86VCPU_EXTENSION_NONE);
	CHECK_STATUS(x86vcpu_nested_format(&format), X86VCPU_ERR_BAD_STATE);
	CHECK_STATUS(x86vcpu_create(machine, &config, &vcpu), X86VCPU_ERR_BAD_STATE);
	CHECK(!vcpu);
	host_enable();
	CHECK_EQ(x86vcpu_extension(), on_amd ? X86VCPU_EXTENSION_SVM : X86VCPU_EXTENSION_VMX);
	CHECK_OK(x86vcpu_nested_format(&format));
	CHECK_EQ(format, on_amd ? X86VCPU_NESTED_NPT : X86VCPU_NESTED_EPT);
	CHECK_OK(x86vcpu_create(machine, &config, &vcpu));
}

METAL_TEST(select_first, "enable.select_without_enable")
{
	struct x86vcpu_machine *machine = make_machine();
	const struct x86vcpu_create_config config = { .size = sizeof(config) };
	const bool on_amd = host_cpuid(0, 0).ecx == 0x444d4163; /* "cAMD" */
	struct host_snapshot before;
	struct x86vcpu *vcpu;

	host_snapshot(&before);
	CHECK_OK(x86vcpu_select());
	CHECK_OK(x86vcpu_select());
	host_check_unchanged(&before);
	CHECK_EQ(x86vcpu_extension(), on_amd ? X86VCPU_EXTENSION_SVM : X86VCPU_EXTENSION_VMX);
	CHECK_OK(x86vcpu_create(machine, &config, &vcpu));
	CHECK(x86vcpu_structure_hpa(vcpu) != 0);
	CHECK_EQ(x86vcpu_structure_hpa(NULL), 0);
	CHECK_OK(x86vcpu_set_entry(vcpu, 0x7c00));
	CHECK_OK(x86vcpu_set_nested_page_table(vcpu, &(struct x86vcpu_nested_paging){ .root_hpa = 0x1000 }));
	CHECK_STATUS(x86vcpu_setup(vcpu, NULL), X86VCPU_ERR_BAD_STATE);
	host_enable();
	CHECK_OK(x86vcpu_setup(vcpu, NULL));
	CHECK_STATUS(x86vcpu_machine_destroy(machine), X86VCPU_ERR_RESOURCE_BUSY);
	CHECK_OK(x86vcpu_destroy(vcpu));
	CHECK_OK(x86vcpu_machine_destroy(machine));
	CHECK_OK(x86vcpu_machine_destroy(NULL));
}

METAL_TEST(bad_host_ops, "enable.bad_host_operations")
{
	struct x86vcpu_host_ops ops = platform_host_ops;
	struct x86vcpu_percpu *percpu;

	ops.size -= 8;
	CHECK_STATUS(x86vcpu_percpu_create(&ops, NULL, 0, &percpu), X86VCPU_ERR_ABI_MISMATCH);
	CHECK(!percpu);
	ops = platform_host_ops;
	ops.abi_version++;
	CHECK_STATUS(x86vcpu_percpu_create(&ops, NULL, 0, &percpu), X86VCPU_ERR_ABI_MISMATCH);
	ops = platform_host_ops;
	ops.read_guest = NULL;
	CHECK_STATUS(x86vcpu_percpu_create(&ops, NULL, 0, &percpu), X86VCPU_ERR_INVALID_INPUT);
	CHECK_STATUS(x86vcpu_percpu_create(NULL, NULL, 0, &percpu), X86VCPU_ERR_INVALID_INPUT);
	CHECK_STATUS(x86vcpu_percpu_create(&platform_host_ops, NULL, 0, NULL), X86VCPU_ERR_INVALID_INPUT);
	ops = platform_host_ops;
	ops.current_cpu = NULL;
	ops.log = NULL;
	CHECK_OK(x86vcpu_percpu_create(&ops, NULL, 0, &percpu));
	CHECK_OK(x86vcpu_percpu_enable(percpu));
}

/* ---- Wrong order --------------------------------------------------------------------------------------- */

static struct guest g;

static void init_only(void)
{
	guest_init(&g, 0);
}

static void setup_only(void)
{
	guest_boot(&g, GUEST_LONG, &idle_code);
	CHECK_OK(x86vcpu_unbind(g.vcpu));
}

METAL_TEST(run_before_setup, "order.run_before_setup")
{
	init_only();
	CHECK_STATUS(x86vcpu_run(g.vcpu, &g.exit), X86VCPU_ERR_BAD_STATE);
}

METAL_TEST(bind_before_setup, "order.bind_before_setup")
{
	init_only();
	CHECK_STATUS(x86vcpu_bind(g.vcpu), X86VCPU_ERR_BAD_STATE);
	CHECK_STATUS(x86vcpu_unbind(g.vcpu), X86VCPU_ERR_BAD_STATE);
}

METAL_TEST(setup_without_entry, "order.setup_without_entry_or_tables")
{
	const struct x86vcpu_nested_paging paging = { .root_hpa = 0x1000 };

	init_only();
	CHECK_STATUS(x86vcpu_setup(g.vcpu, NULL), X86VCPU_ERR_INVALID_INPUT);
	CHECK_OK(x86vcpu_set_entry(g.vcpu, 0x8000));
	CHECK_STATUS(x86vcpu_setup(g.vcpu, NULL), X86VCPU_ERR_INVALID_INPUT);
	CHECK_OK(x86vcpu_set_nested_page_table(g.vcpu, &paging));
	CHECK_OK(x86vcpu_setup(g.vcpu, NULL));
}

METAL_TEST(run_unbound, "order.run_unbound")
{
	setup_only();
	CHECK_STATUS(x86vcpu_run(g.vcpu, &g.exit), X86VCPU_ERR_BAD_STATE);
	CHECK_OK(x86vcpu_bind(g.vcpu));
	guest_run_call(&g, 1);
}

METAL_TEST(bind_twice, "order.bind_twice")
{
	setup_only();
	CHECK_OK(x86vcpu_bind(g.vcpu));
	CHECK_STATUS(x86vcpu_bind(g.vcpu), X86VCPU_ERR_RESOURCE_BUSY);
	guest_run_call(&g, 1);
}

METAL_TEST(unbind_unbound, "order.unbind_unbound")
{
	setup_only();
	CHECK_STATUS(x86vcpu_unbind(g.vcpu), X86VCPU_ERR_BAD_STATE);
}

METAL_TEST(setup_bound, "order.setup_while_bound")
{
	setup_only();
	CHECK_OK(x86vcpu_bind(g.vcpu));
	CHECK_STATUS(x86vcpu_setup(g.vcpu, &g.config), X86VCPU_ERR_RESOURCE_BUSY);
	guest_run_call(&g, 1);
}

METAL_TEST(destroy_bound, "order.destroy_while_bound")
{
	setup_only();
	CHECK_OK(x86vcpu_bind(g.vcpu));
	CHECK_STATUS(x86vcpu_destroy(g.vcpu), X86VCPU_ERR_RESOURCE_BUSY);
	guest_run_call(&g, 1);
	CHECK_OK(x86vcpu_unbind(g.vcpu));
	CHECK_OK(x86vcpu_destroy(g.vcpu));
	CHECK_OK(x86vcpu_destroy(NULL));
}

METAL_TEST(run_with_irqs, "order.run_with_interrupts_on")
{
	int32_t status;

	guest_boot(&g, GUEST_LONG, &idle_code);
	__asm__ volatile("sti");
	status = x86vcpu_run(g.vcpu, &g.exit);
	__asm__ volatile("cli");
	CHECK_STATUS(status, X86VCPU_ERR_BAD_STATE);
	guest_run_call(&g, 1);
}

METAL_TEST(bind_after_disable, "order.bind_with_vmx_off")
{
	setup_only();
	CHECK_OK(x86vcpu_percpu_disable(host_enable()));
	CHECK_STATUS(x86vcpu_bind(g.vcpu), X86VCPU_ERR_BAD_STATE);
	CHECK_STATUS(x86vcpu_setup(g.vcpu, &g.config), X86VCPU_ERR_BAD_STATE);
	CHECK_OK(x86vcpu_percpu_enable(host_enable()));
	CHECK_OK(x86vcpu_bind(g.vcpu));
	guest_run_call(&g, 1);
}

METAL_TEST(null_arguments, "order.null_arguments")
{
	struct x86vcpu_state state = { .size = sizeof(state) };
	struct x86vcpu_exit exit;
	uint64_t value;

	guest_boot(&g, GUEST_LONG, &idle_code);
	CHECK_STATUS(x86vcpu_run(NULL, &exit), X86VCPU_ERR_INVALID_INPUT);
	CHECK_STATUS(x86vcpu_run(g.vcpu, NULL), X86VCPU_ERR_INVALID_INPUT);
	CHECK_STATUS(x86vcpu_bind(NULL), X86VCPU_ERR_INVALID_INPUT);
	CHECK_STATUS(x86vcpu_unbind(NULL), X86VCPU_ERR_INVALID_INPUT);
	CHECK_STATUS(x86vcpu_setup(NULL, NULL), X86VCPU_ERR_INVALID_INPUT);
	CHECK_STATUS(x86vcpu_set_entry(NULL, 0), X86VCPU_ERR_INVALID_INPUT);
	CHECK_STATUS(x86vcpu_set_nested_page_table(g.vcpu, NULL), X86VCPU_ERR_INVALID_INPUT);
	CHECK_STATUS(x86vcpu_get_gpr(g.vcpu, 16, &value), X86VCPU_ERR_INVALID_INPUT);
	CHECK_STATUS(x86vcpu_get_gpr(g.vcpu, 0, NULL), X86VCPU_ERR_INVALID_INPUT);
	CHECK_STATUS(x86vcpu_set_gpr(g.vcpu, 16, 0), X86VCPU_ERR_INVALID_INPUT);
	CHECK_STATUS(x86vcpu_set_gpr(NULL, 0, 0), X86VCPU_ERR_INVALID_INPUT);
	CHECK_STATUS(x86vcpu_complete_read(NULL, 0), X86VCPU_ERR_INVALID_INPUT);
	CHECK_STATUS(x86vcpu_complete_port_io_string(g.vcpu, NULL), X86VCPU_ERR_INVALID_INPUT);
	CHECK_STATUS(x86vcpu_get_state(g.vcpu, X86VCPU_STATE_ALL, NULL), X86VCPU_ERR_INVALID_INPUT);
	CHECK_STATUS(x86vcpu_get_state(g.vcpu, UINT64_C(1) << 40, &state), X86VCPU_ERR_INVALID_INPUT);
	CHECK_STATUS(x86vcpu_inject_nmi(NULL), X86VCPU_ERR_INVALID_INPUT);
	CHECK_STATUS(x86vcpu_percpu_enable(NULL), X86VCPU_ERR_INVALID_INPUT);
	CHECK_STATUS(x86vcpu_detect(NULL), X86VCPU_ERR_INVALID_INPUT);
	CHECK_EQ(x86vcpu_has_pending_event(NULL), 0);
}

METAL_TEST(unanswered_completions, "order.complete_without_an_open_exit")
{
	const struct x86vcpu_port_io_string done = {0};

	guest_boot(&g, GUEST_LONG, &idle_code);
	guest_run_call(&g, 1);
	CHECK_STATUS(x86vcpu_complete_read(g.vcpu, 0), X86VCPU_ERR_BAD_STATE);
	CHECK_STATUS(x86vcpu_complete_write(g.vcpu), X86VCPU_ERR_BAD_STATE);
	CHECK_STATUS(x86vcpu_complete_fault(g.vcpu), X86VCPU_ERR_BAD_STATE);
	CHECK_STATUS(x86vcpu_complete_port_io_string(g.vcpu, &done), X86VCPU_ERR_BAD_STATE);
	guest_run_call(&g, 1);
}

/* ---- Configuration --------------------------------------------------------------------------------------- */

METAL_TEST(bad_entry, "config.entry")
{
	static const uint64_t refused[] = { 0x10000, 0xfffffff1, 0x100000, UINT64_MAX };
	static const uint64_t accepted[] = { 0, 0x7c00, 0xffff, 0xfffffff0 };

	init_only();
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		CHECK_STATUS(x86vcpu_set_entry(g.vcpu, refused[i]), X86VCPU_ERR_INVALID_INPUT);
	for (size_t i = 0; i < sizeof(accepted) / sizeof(accepted[0]); i++)
		CHECK_OK(x86vcpu_set_entry(g.vcpu, accepted[i]));
}

METAL_TEST(bad_nested_table, "config.nested_table")
{
	static const struct x86vcpu_nested_paging refused[] = {
		{ .root_hpa = 0x1001 }, { .root_hpa = 0x1000, .levels = 3 }, { .root_hpa = 0x1000, .levels = 6 },
		{ .root_hpa = 0x1000, .gpa_bits = 31 }, { .root_hpa = 0x1000, .gpa_bits = 49 },
		{ .root_hpa = 0x1000, .levels = 5, .gpa_bits = 53 }, { .root_hpa = 0x1000, .mode = 1 },
		{ .root_hpa = UINT64_C(1) << 60 },
	};
	const struct x86vcpu_nested_paging good = { .root_hpa = 0x1000, .levels = 4, .gpa_bits = 48 };

	init_only();
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		CHECK_STATUS(x86vcpu_set_nested_page_table(g.vcpu, &refused[i]), X86VCPU_ERR_INVALID_INPUT);
	CHECK_OK(x86vcpu_set_nested_page_table(g.vcpu, &good));
}

static int32_t setup_with(const struct x86vcpu_setup_config *config)
{
	const struct x86vcpu_nested_paging paging = { .root_hpa = g.tables.root_hpa };

	CHECK_OK(x86vcpu_set_entry(g.vcpu, 0x8000));
	CHECK_OK(x86vcpu_set_nested_page_table(g.vcpu, &paging));
	return x86vcpu_setup(g.vcpu, config);
}

METAL_TEST(bad_ports, "config.port_ranges")
{
	struct x86vcpu_port_range ports[17] = { { .base = 0xffff, .length = 2 } };
	struct x86vcpu_port_range through = { .base = 0x80, .length = 4 };
	struct x86vcpu_setup_config config;

	init_only();
	config = g.config;
	config.ports = ports;
	config.port_count = 1;
	CHECK_STATUS(setup_with(&config), X86VCPU_ERR_INVALID_INPUT);
	ports[0] = (struct x86vcpu_port_range){ .base = 0x80, .length = 0 };
	CHECK_STATUS(setup_with(&config), X86VCPU_ERR_INVALID_INPUT);
	config.port_count = 17;
	for (unsigned i = 0; i < 17; i++)
		ports[i] = (struct x86vcpu_port_range){ .base = (uint16_t)(i * 16), .length = 1 };
	CHECK_STATUS(setup_with(&config), X86VCPU_ERR_INVALID_INPUT);
	config.port_count = 16;
	CHECK_OK(setup_with(&config));
	config.passthrough_ports = &through;
	config.passthrough_port_count = 1;
	CHECK_STATUS(setup_with(&config), X86VCPU_ERR_INVALID_INPUT);
	config.ports = NULL;
	CHECK_STATUS(setup_with(&config), X86VCPU_ERR_INVALID_INPUT);
	config.port_count = 0;
	CHECK_OK(setup_with(&config));
}

METAL_TEST(bad_ranges, "config.memory_ranges")
{
	struct x86vcpu_memory_region memory = { .gpa = 0x1000, .hva = &g, .size = 0 };
	struct x86vcpu_mmio_range mmio = { .base = UINT64_MAX, .size = 2 };
	struct x86vcpu_msr_range msr = { .first = 2, .last = 1 };
	struct x86vcpu_setup_config config;

	init_only();
	config = g.config;
	config.memory = &memory;
	CHECK_STATUS(setup_with(&config), X86VCPU_ERR_INVALID_INPUT);
	memory.size = UINT64_MAX;
	CHECK_STATUS(setup_with(&config), X86VCPU_ERR_INVALID_INPUT);
	config = g.config;
	config.mmio = &mmio;
	CHECK_STATUS(setup_with(&config), X86VCPU_ERR_INVALID_INPUT);
	config = g.config;
	config.msrs = &msr;
	config.msr_count = 1;
	CHECK_STATUS(setup_with(&config), X86VCPU_ERR_INVALID_INPUT);
	config = g.config;
	config.mmio_count = X86VCPU_MAX_MMIO_RANGES + 1;
	CHECK_STATUS(setup_with(&config), X86VCPU_ERR_INVALID_INPUT);
	config = g.config;
	config.size = 8;
	CHECK_STATUS(setup_with(&config), X86VCPU_ERR_ABI_MISMATCH);
}

METAL_TEST(bad_create, "config.create")
{
	struct x86vcpu_create_config config = { .size = sizeof(config), .vcpu_id = 64 };
	struct x86vcpu_machine *machine = make_machine();
	struct x86vcpu *vcpu, *other;

	host_enable();
	CHECK_STATUS(x86vcpu_create(NULL, &config, &vcpu), X86VCPU_ERR_INVALID_INPUT);
	CHECK_STATUS(x86vcpu_create(machine, &config, &vcpu), X86VCPU_ERR_INVALID_INPUT);
	config.vcpu_id = 63;
	config.size = 1;
	CHECK_STATUS(x86vcpu_create(machine, &config, &vcpu), X86VCPU_ERR_ABI_MISMATCH);
	CHECK(!vcpu);
	config.size = sizeof(config);
	CHECK_OK(x86vcpu_create(machine, &config, &vcpu));
	CHECK_STATUS(x86vcpu_create(machine, &config, &other), X86VCPU_ERR_RESOURCE_BUSY);
	CHECK(!other);
	CHECK_OK(x86vcpu_create(make_machine(), &config, &other));
}

METAL_TEST(bad_machine, "config.machine")
{
	struct x86vcpu_machine_config config = { .size = sizeof(config) };
	struct x86vcpu_host_ops ops = platform_host_ops;
	struct x86vcpu_machine *machine;

	CHECK_STATUS(x86vcpu_machine_create(&ops, NULL, &config, NULL), X86VCPU_ERR_INVALID_INPUT);
	CHECK_STATUS(x86vcpu_machine_create(NULL, NULL, &config, &machine), X86VCPU_ERR_INVALID_INPUT);
	CHECK_STATUS(x86vcpu_machine_create(&ops, NULL, NULL, &machine), X86VCPU_ERR_INVALID_INPUT);
	config.flags = 1;
	CHECK_STATUS(x86vcpu_machine_create(&ops, NULL, &config, &machine), X86VCPU_ERR_INVALID_INPUT);
	config.flags = 0;
	config.size--;
	CHECK_STATUS(x86vcpu_machine_create(&ops, NULL, &config, &machine), X86VCPU_ERR_ABI_MISMATCH);
	config.size++;
	ops.phys_to_virt = NULL;
	CHECK_STATUS(x86vcpu_machine_create(&ops, NULL, &config, &machine), X86VCPU_ERR_INVALID_INPUT);
	CHECK(!machine);
}

/* The table may go away once the object is created. */
METAL_TEST(copied_ops, "config.host_operations_are_copied")
{
	const struct x86vcpu_machine_config config = { .size = sizeof(config) };
	struct x86vcpu_host_ops ops = platform_host_ops;
	struct x86vcpu_machine *machine;

	CHECK_OK(x86vcpu_machine_create(&ops, NULL, &config, &machine));
	memset(&ops, 0, sizeof(ops));
	CHECK_OK(x86vcpu_machine_destroy(machine));
}

/* ---- Frames -------------------------------------------------------------------------------------------- */

METAL_TEST(frames_returned, "frames.all_returned")
{
	uint64_t frames;

	host_enable();
	frames = frames_in_use();
	for (unsigned i = 0; i < 3; i++) {
		guest_boot(&g, GUEST_LONG, &idle_code);
		guest_run_call(&g, 1);
		guest_destroy(&g);
		CHECK_EQ(frames_in_use(), frames);
	}
}

METAL_TEST(setup_again_frames, "frames.setup_again_takes_no_more")
{
	uint64_t frames;

	setup_only();
	frames = frames_in_use();
	for (unsigned i = 0; i < 5; i++)
		CHECK_OK(x86vcpu_setup(g.vcpu, &g.config));
	CHECK_EQ(frames_in_use(), frames);
}

/* Brings a vCPU up with what memory there is; true when it worked. */
static bool try_bring_up(void)
{
	const struct x86vcpu_machine_config machine_config = { .size = sizeof(machine_config) };
	const struct x86vcpu_create_config create = { .size = sizeof(create) };
	const struct x86vcpu_nested_paging paging = { .root_hpa = 0x1000 };
	struct x86vcpu_machine *machine;
	struct x86vcpu_percpu *percpu;
	struct x86vcpu *vcpu = NULL;
	bool done = false;

	if (x86vcpu_percpu_create(&platform_host_ops, NULL, 0, &percpu) == X86VCPU_ERR_NO_MEMORY)
		return false;
	if (x86vcpu_percpu_enable(percpu) == X86VCPU_ERR_NO_MEMORY)
		goto out_percpu;
	if (x86vcpu_machine_create(&platform_host_ops, NULL, &machine_config, &machine) == X86VCPU_ERR_NO_MEMORY)
		goto out_disable;
	if (x86vcpu_create(machine, &create, &vcpu) == X86VCPU_ERR_NO_MEMORY)
		goto out_machine;
	CHECK_OK(x86vcpu_set_entry(vcpu, 0));
	CHECK_OK(x86vcpu_set_nested_page_table(vcpu, &paging));
	if (x86vcpu_setup(vcpu, NULL) != X86VCPU_ERR_NO_MEMORY)
		done = true;
	CHECK_OK(x86vcpu_destroy(vcpu));
out_machine:
	CHECK_OK(x86vcpu_machine_destroy(machine));
out_disable:
	CHECK_OK(x86vcpu_percpu_disable(percpu));
out_percpu:
	CHECK_OK(x86vcpu_percpu_destroy(percpu));
	return done;
}

METAL_TEST(no_memory, "frames.none_left_at_any_point")
{
	const uint64_t first = 0x1000000;
	uint64_t count = 0;

	for (bool done = false; !done; count++) {
		CHECK(count < 64);
		frames_init(first, first + count * 4096);
		done = try_bring_up();
		CHECK_EQ(frames_in_use(), 0);
	}
	CHECK(count > 3);
}

/* ---- Two CPUs ---------------------------------------------------------------------------------------------- */

static int32_t remote_status;

static void run_there(void *arg)
{
	(void)arg;
	remote_status = x86vcpu_run(g.vcpu, &g.exit);
}

static void unbind_there(void *arg)
{
	(void)arg;
	remote_status = x86vcpu_unbind(g.vcpu);
}

static void get_state_there(void *arg)
{
	remote_status = x86vcpu_get_state(g.vcpu, X86VCPU_STATE_RIP, arg);
}

static void get_rsp_there(void *arg)
{
	remote_status = x86vcpu_get_gpr(g.vcpu, 4, arg);
}

METAL_TEST(other_cpu, "order.calls_on_the_other_cpu", .cpus = 2)
{
	struct x86vcpu_state state = { .size = sizeof(state) };
	uint64_t value;

	guest_boot(&g, GUEST_LONG, &idle_code);
	second_cpu_start_enabled();
	second_cpu_call(run_there, NULL);
	CHECK_STATUS(remote_status, X86VCPU_ERR_BAD_STATE);
	second_cpu_call(unbind_there, NULL);
	CHECK_STATUS(remote_status, X86VCPU_ERR_BAD_STATE);
	second_cpu_call(get_state_there, &state);
	CHECK_STATUS(remote_status, X86VCPU_ERR_BAD_STATE);
	second_cpu_call(get_rsp_there, &value);
	CHECK_STATUS(remote_status, X86VCPU_ERR_BAD_STATE);
	guest_run_call(&g, 1);
}

METAL_TEST(other_cpu_not_enabled, "order.bind_on_a_cpu_without_vmx", .cpus = 2)
{
	setup_only();
	second_cpu_start();
	remote_status = 0;
	second_cpu_call(run_there, NULL);
	CHECK_STATUS(remote_status, X86VCPU_ERR_BAD_STATE);
}

GUEST_CODE_BLOB(moving_code, 64,
	"mov $0x1111, %ecx; mov $0x2222, %r8d; mov $0x3333, %r15d; mov $0x4444, %ebp;"
	"mov $0x5555, %eax; movq %rax, %xmm3; mov %rax, %dr1;"
	"mov $0xc0000102, %ecx; mov $0x6666, %eax; xor %edx, %edx; wrmsr; mov $0x1111, %ecx;"
	"1: inc %rbx; mov $1, %eax; vmcall;"
	"cmp $0x1111, %ecx; jne 2f; cmp $0x2222, %r8d; jne 2f; cmp $0x3333, %r15d; jne 2f;"
	"cmp $0x4444, %ebp; jne 2f; movq %xmm3, %rax; cmp $0x5555, %eax; jne 2f;"
	"mov %dr1, %rax; cmp $0x5555, %eax; jne 2f;"
	"mov $0xc0000102, %ecx; rdmsr; cmp $0x6666, %eax; jne 2f; mov $0x1111, %ecx; jmp 1b;"
	"2: mov $2, %eax; vmcall");

static void bind_and_run_there(void *arg)
{
	struct host_snapshot before;

	(void)arg;
	host_snapshot(&before);
	CHECK_OK(x86vcpu_bind(g.vcpu));
	guest_run_call(&g, 1);
	guest_run_call(&g, 1);
	CHECK_OK(x86vcpu_unbind(g.vcpu));
	host_check_unchanged(&before);
}

METAL_TEST(moving, "smp.moves_between_cpus", .cpus = 2)
{
	guest_boot(&g, GUEST_LONG, &moving_code);
	second_cpu_start_enabled();
	guest_run_call(&g, 1);
	CHECK_OK(x86vcpu_unbind(g.vcpu));
	for (unsigned i = 0; i < 4; i++) {
		second_cpu_call(bind_and_run_there, NULL);
		bind_and_run_there(NULL);
	}
	CHECK_EQ(guest_reg(&g, RBX), 17);
}

static struct guest h;

static void boot_and_count_there(void *arg)
{
	guest_boot(&h, GUEST_LONG, &idle_code);
	for (unsigned i = 0; i < 100; i++)
		guest_run_call(&h, 1);
	*(uint64_t *)arg = h.runs;
}

METAL_TEST(parallel, "smp.two_vcpus_at_once", .cpus = 2)
{
	uint64_t there = 0;

	second_cpu_start();
	guest_boot(&g, GUEST_LONG, &idle_code);
	second_cpu_begin(boot_and_count_there, &there);
	for (unsigned i = 0; i < 200; i++)
		guest_run_call(&g, 1);
	second_cpu_wait();
	CHECK(there >= 100);
}

METAL_TEST(two_on_one_cpu, "order.two_vcpus_bound_to_one_cpu")
{
	guest_boot(&g, GUEST_LONG, &moving_code);
	guest_init(&h, 1);
	guest_start(&h, GUEST_LONG, &moving_code);
	for (unsigned i = 0; i < 5; i++) {
		guest_run_call(&g, 1);
		guest_run_call(&h, 1);
		guest_run_call(&h, 1);
	}
	CHECK_EQ(guest_reg(&g, RBX), 5);
	CHECK_EQ(guest_reg(&h, RBX), 10);
	CHECK(guest_rip(&g) >= GUEST_CODE);
	guest_destroy(&g);
	guest_run_call(&h, 1);
	guest_destroy(&h);
}

METAL_TEST(setup_again, "order.setup_again_begins_anew")
{
	struct x86vcpu_state state;

	guest_boot(&g, GUEST_LONG, &moving_code);
	guest_run_call(&g, 1);
	CHECK_OK(x86vcpu_inject_nmi(g.vcpu));
	CHECK_OK(x86vcpu_inject_interrupt(g.vcpu, 0x40));
	CHECK_OK(x86vcpu_unbind(g.vcpu));
	CHECK_OK(x86vcpu_set_entry(g.vcpu, 0xfffffff0));
	CHECK_OK(x86vcpu_setup(g.vcpu, &g.config));
	CHECK_EQ(x86vcpu_has_pending_event(g.vcpu), 0);
	CHECK_OK(x86vcpu_bind(g.vcpu));
	guest_state(&g, &state);
	CHECK_EQ(state.regs.rbx, 0);
	CHECK_EQ(state.regs.r15, 0);
	CHECK_EQ(state.rip, 0xfff0);
	CHECK_EQ(state.rflags, 2);
	CHECK_EQ(state.cr0, 0x60000010);
	CHECK_EQ(state.cr3, 0);
	CHECK_EQ(state.cr4, 0);
	CHECK_EQ(state.efer, 0);
	CHECK_EQ(state.xcr0, 1);
	CHECK_EQ(state.dr1, 0);
	CHECK_EQ(state.dr6, 0xffff0ff0);
	CHECK_EQ(state.dr7, 0x400);
	CHECK_EQ(state.segments[X86VCPU_SEGMENT_CS].selector, 0xf000);
	CHECK_EQ(state.segments[X86VCPU_SEGMENT_CS].base, 0xffff0000);
	CHECK_EQ(state.gdtr.limit, 0xffff);
	CHECK_EQ(state.idtr.limit, 0xffff);
}

METAL_TEST(reset_registers, "order.reset_state")
{
	struct x86vcpu_state state;

	guest_init(&g, 0);
	CHECK_OK(setup_with(NULL));
	CHECK_OK(x86vcpu_bind(g.vcpu));
	guest_state(&g, &state);
	CHECK_EQ(state.regs.rax, 0);
	/* SDM table 10-1: EDX holds the processor's signature. */
	CHECK(state.regs.rdx >> 8 & 0xf);
	CHECK_EQ(state.rip, 0x8000);
	CHECK_EQ(state.segments[X86VCPU_SEGMENT_CS].base, 0);
	CHECK_EQ(state.segments[X86VCPU_SEGMENT_DS].limit, 0xffff);
	CHECK_EQ(state.rsp, 0);
}
