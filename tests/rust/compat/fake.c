/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands in for the C library in tests of the Rust crate, on machines without VT-x or SVM: it writes down how it
 * is called, answers what a test told it to, and passes for the real one in the order of calls.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <x86vcpu/x86vcpu.h>

struct x86vcpu_machine {
	struct x86vcpu_host_ops ops;
	void *ctx;
	uint64_t hpa, vm_id;
	uint32_t vcpus;
};

struct x86vcpu {
	struct x86vcpu_machine *machine;
	uint64_t hpa;
	int bound;
	uint64_t regs[16];
};

struct x86vcpu_percpu {
	struct x86vcpu_host_ops ops;
	void *ctx;
	uint64_t hpa;
	int enabled;
};

/* What the tests set and read. */
char fake_journal[4096];
uint32_t fake_extension;
int32_t fake_status; /* of the next call that is written down */
struct x86vcpu_exit fake_exit;
int32_t fake_eoi_vector;
int fake_elsewhere; /* the caller is on another CPU than the one where things are bound and enabled */
struct x86vcpu_host_ops fake_ops;
struct x86vcpu_setup_config fake_setup;
struct x86vcpu_mmio_range fake_mmio[X86VCPU_MAX_MMIO_RANGES];
struct x86vcpu_port_range fake_ports[X86VCPU_MAX_PORT_RANGES];
struct x86vcpu_memory_region fake_memory[X86VCPU_MAX_MEMORY_REGIONS];

static int32_t called(const char *format, ...)
{
	const size_t used = strlen(fake_journal);
	const int32_t status = fake_status;
	va_list arguments;

	fake_status = 0;
	va_start(arguments, format);
	vsnprintf(fake_journal + used, sizeof(fake_journal) - used, format, arguments);
	va_end(arguments);
	return status;
}

int32_t x86vcpu_detect(uint32_t *extension)
{
	*extension = fake_extension;
	return fake_extension ? 0 : X86VCPU_ERR_UNSUPPORTED;
}

static uint32_t selected;

int32_t x86vcpu_select(void)
{
	if (!fake_extension)
		return X86VCPU_ERR_UNSUPPORTED;
	if (selected && selected != fake_extension)
		return X86VCPU_ERR_BAD_STATE;
	selected = fake_extension;
	return 0;
}

uint32_t x86vcpu_extension(void)
{
	return selected;
}

int32_t x86vcpu_nested_format(uint32_t *format)
{
	*format = selected == X86VCPU_EXTENSION_VMX ? X86VCPU_NESTED_EPT : X86VCPU_NESTED_NPT;
	return selected ? 0 : X86VCPU_ERR_BAD_STATE;
}

int32_t x86vcpu_needs_apic_access_page(uint32_t *needed)
{
	*needed = 0;
	return selected ? 0 : X86VCPU_ERR_BAD_STATE;
}

int32_t x86vcpu_percpu_create(const struct x86vcpu_host_ops *ops, void *ctx, uint32_t cpu_id,
			      struct x86vcpu_percpu **out)
{
	const uint64_t hpa = ops->alloc_frame(ctx);

	if (!hpa)
		return X86VCPU_ERR_NO_MEMORY;
	*out = ops->phys_to_virt(ctx, hpa);
	**out = (struct x86vcpu_percpu){.ops = *ops, .ctx = ctx, .hpa = hpa};
	return called("percpu_create %u\n", cpu_id);
}

int32_t x86vcpu_percpu_destroy(struct x86vcpu_percpu *percpu)
{
	if (percpu->enabled)
		return X86VCPU_ERR_RESOURCE_BUSY;
	called("percpu_destroy\n");
	percpu->ops.free_frame(percpu->ctx, percpu->hpa);
	return 0;
}

int32_t x86vcpu_percpu_is_enabled(const struct x86vcpu_percpu *percpu)
{
	return percpu->enabled;
}

int32_t x86vcpu_percpu_enable(struct x86vcpu_percpu *percpu)
{
	const int32_t status = called("percpu_enable\n");

	percpu->enabled = !status;
	return status;
}

int32_t x86vcpu_percpu_disable(struct x86vcpu_percpu *percpu)
{
	if (!percpu->enabled || fake_elsewhere)
		return X86VCPU_ERR_BAD_STATE;
	percpu->enabled = 0;
	return called("percpu_disable\n");
}

int32_t x86vcpu_machine_create(const struct x86vcpu_host_ops *ops, void *ctx, const struct x86vcpu_machine_config *config,
			       struct x86vcpu_machine **out)
{
	const int32_t status = called("machine_create %llu\n", (unsigned long long)config->vm_id);
	const uint64_t hpa = status ? 0 : ops->alloc_frame(ctx);

	if (!hpa)
		return status ? status : X86VCPU_ERR_NO_MEMORY;
	fake_ops = *ops;
	*out = ops->phys_to_virt(ctx, hpa);
	**out = (struct x86vcpu_machine){.ops = *ops, .ctx = ctx, .hpa = hpa, .vm_id = config->vm_id};
	return 0;
}

int32_t x86vcpu_machine_destroy(struct x86vcpu_machine *machine)
{
	struct x86vcpu_host_ops ops;

	if (!machine)
		return 0;
	if (machine->vcpus)
		return X86VCPU_ERR_RESOURCE_BUSY;
	called("machine_destroy\n");
	ops = machine->ops;
	ops.free_frame(machine->ctx, machine->hpa);
	return 0;
}

int32_t x86vcpu_create(struct x86vcpu_machine *machine, const struct x86vcpu_create_config *config, struct x86vcpu **out)
{
	int32_t status = called("create %u of %llu\n", config->vcpu_id, (unsigned long long)machine->vm_id);
	const uint64_t hpa = status ? 0 : machine->ops.alloc_contiguous_frames(machine->ctx, 2, 4096);

	if (config->size != sizeof(*config))
		status = X86VCPU_ERR_ABI_MISMATCH;
	if (status)
		return status;
	if (!hpa)
		return X86VCPU_ERR_NO_MEMORY;
	*out = machine->ops.phys_to_virt(machine->ctx, hpa);
	**out = (struct x86vcpu){.machine = machine, .hpa = hpa};
	machine->vcpus++;
	return 0;
}

int32_t x86vcpu_destroy(struct x86vcpu *vcpu)
{
	if (vcpu->bound)
		return X86VCPU_ERR_RESOURCE_BUSY;
	called("destroy\n");
	vcpu->machine->vcpus--;
	vcpu->machine->ops.free_contiguous_frames(vcpu->machine->ctx, vcpu->hpa, 2);
	return 0;
}

uint64_t x86vcpu_structure_hpa(const struct x86vcpu *vcpu)
{
	(void)vcpu;
	return 0x5000;
}

int32_t x86vcpu_set_entry(struct x86vcpu *vcpu, uint64_t entry)
{
	(void)vcpu;
	return called("set_entry %#llx\n", (unsigned long long)entry);
}

int32_t x86vcpu_set_nested_page_table(struct x86vcpu *vcpu, const struct x86vcpu_nested_paging *table)
{
	(void)vcpu;
	return called("set_nested_page_table %#llx %u %u %llu\n", (unsigned long long)table->root_hpa, table->levels,
		      table->gpa_bits, (unsigned long long)table->mode);
}

int32_t x86vcpu_setup(struct x86vcpu *vcpu, const struct x86vcpu_setup_config *config)
{
	(void)vcpu;
	if (config->size != sizeof(*config) || config->mmio_count > X86VCPU_MAX_MMIO_RANGES)
		return X86VCPU_ERR_INVALID_INPUT;
	fake_setup = *config;
	memcpy(fake_ports, config->ports, config->port_count * sizeof(*fake_ports));
	memcpy(fake_mmio, config->mmio, config->mmio_count * sizeof(*fake_mmio));
	memcpy(fake_memory, config->memory, config->memory_count * sizeof(*fake_memory));
	return called("setup\n");
}

int32_t x86vcpu_bind(struct x86vcpu *vcpu)
{
	const int32_t status = called("bind\n");

	vcpu->bound = !status;
	return status;
}

int32_t x86vcpu_unbind(struct x86vcpu *vcpu)
{
	if (!vcpu->bound || fake_elsewhere)
		return X86VCPU_ERR_BAD_STATE;
	vcpu->bound = 0;
	return called("unbind\n");
}

int32_t x86vcpu_run(struct x86vcpu *vcpu, struct x86vcpu_exit *exit)
{
	vcpu->regs[0] += 0x100;
	*exit = fake_exit;
	return called("run\n");
}

int32_t x86vcpu_complete_port_io_string(struct x86vcpu *vcpu, const struct x86vcpu_port_io_string *done)
{
	(void)vcpu;
	if (memcmp(done, &fake_exit.u.port_io_string, sizeof(*done)))
		return X86VCPU_ERR_BAD_STATE;
	return called("complete_port_io_string\n");
}

int32_t x86vcpu_get_gpr(struct x86vcpu *vcpu, uint32_t index, uint64_t *value)
{
	if (index > 15)
		return X86VCPU_ERR_INVALID_INPUT;
	*value = vcpu->regs[index];
	return 0;
}

int32_t x86vcpu_set_gpr(struct x86vcpu *vcpu, uint32_t index, uint64_t value)
{
	if (index > 15)
		return X86VCPU_ERR_INVALID_INPUT;
	vcpu->regs[index] = value;
	return called("set_gpr %u %#llx\n", index, (unsigned long long)value);
}

int32_t x86vcpu_set_gpr_width(struct x86vcpu *vcpu, uint32_t index, uint32_t width, uint64_t value)
{
	if (index > 15)
		return X86VCPU_ERR_INVALID_INPUT;
	vcpu->regs[index] = value;
	return called("set_gpr_width %u %u %#llx\n", index, width, (unsigned long long)value);
}

int32_t x86vcpu_set_gpr_high_byte(struct x86vcpu *vcpu, uint32_t index, uint8_t value)
{
	(void)vcpu;
	return called("set_gpr_high_byte %u %#x\n", index, value);
}

int32_t x86vcpu_set_return_value(struct x86vcpu *vcpu, uint64_t value)
{
	(void)vcpu;
	return called("set_return_value %#llx\n", (unsigned long long)value);
}

int32_t x86vcpu_inject_interrupt_with_trigger(struct x86vcpu *vcpu, uint32_t vector, uint32_t level)
{
	(void)vcpu;
	if (!vector || vector > 255)
		return X86VCPU_ERR_INVALID_INPUT;
	return called("inject %u %u\n", vector, level);
}

int32_t x86vcpu_has_pending_event(const struct x86vcpu *vcpu)
{
	return vcpu->regs[15] != 0;
}

int32_t x86vcpu_handle_eoi(struct x86vcpu *vcpu, int32_t *vector)
{
	(void)vcpu;
	*vector = fake_eoi_vector;
	return called("handle_eoi\n");
}

int32_t x86vcpu_get_apic(struct x86vcpu *vcpu, struct x86vcpu_apic_state *state)
{
	(void)vcpu;
	(void)state;
	return X86VCPU_ERR_UNSUPPORTED;
}

int32_t x86vcpu_get_state(struct x86vcpu *vcpu, uint64_t mask, struct x86vcpu_state *state)
{
	if (!vcpu->bound || state->size != sizeof(*state))
		return X86VCPU_ERR_BAD_STATE;
	if (mask & X86VCPU_STATE_GPRS)
		memcpy(&state->regs, vcpu->regs, sizeof(state->regs));
	state->rip = 0x1000;
	state->rsp = 0x2000;
	state->rflags = 0x202;
	state->cr0 = 0x30;
	state->cr3 = 0x3000;
	state->cr4 = 0x40;
	state->segments[X86VCPU_SEGMENT_CS].selector = 8;
	state->segments[X86VCPU_SEGMENT_FS].base = 0x500;
	state->segments[X86VCPU_SEGMENT_GS].base = 0x600;
	state->segments[X86VCPU_SEGMENT_TR].selector = 0x18;
	return 0;
}
