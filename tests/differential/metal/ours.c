/* SPDX-License-Identifier: Apache-2.0 */
/* The library's side. */
#include "both.h"

static struct x86vcpu_percpu *percpu;
static struct x86vcpu_machine *machine;
static struct x86vcpu *vcpu;
static struct x86vcpu_exit last;

static void start(uint64_t root_hpa, uint8_t *ram)
{
	const struct x86vcpu_machine_config machine_config = {.size = sizeof(machine_config)};
	const struct x86vcpu_create_config create = {.size = sizeof(create)};
	const struct x86vcpu_nested_paging paging = {.root_hpa = root_hpa};
	const struct x86vcpu_port_range ports[] = {{LAYOUT_PORT, LAYOUT_PORTS}};
	const struct x86vcpu_mmio_range mmio[] = {{LAYOUT_MMIO, LAYOUT_MMIO_SIZE}};
	const struct x86vcpu_memory_region memory[] = {{0, ram, LAYOUT_RAM, 0}};
	const struct x86vcpu_setup_config config = {
		.size = sizeof(config),
		.ports = ports, .port_count = 1,
		.mmio = mmio, .mmio_count = 1,
		.memory = memory, .memory_count = 1,
	};

	CHECK_OK(x86vcpu_percpu_create(&platform_host_ops, NULL, 0, &percpu));
	CHECK_OK(x86vcpu_percpu_enable(percpu));
	CHECK_OK(x86vcpu_machine_create(&platform_host_ops, NULL, &machine_config, &machine));
	CHECK_OK(x86vcpu_create(machine, &create, &vcpu));
	CHECK_OK(x86vcpu_set_entry(vcpu, LAYOUT_CODE));
	CHECK_OK(x86vcpu_set_nested_page_table(vcpu, &paging));
	CHECK_OK(x86vcpu_setup(vcpu, &config));
	CHECK_OK(x86vcpu_bind(vcpu));
}

static void describe_string(struct exit_words *exit)
{
	const struct x86vcpu_port_io_string *s = &last.u.port_io_string;

	exit->words[0] = s->port;
	exit->words[1] = s->width;
	exit->words[2] = s->direction;
	exit->words[3] = s->gpa;
	exit->words[4] = s->updated_index;
	exit->words[5] = s->has_count ? s->updated_count : 0;
	exit->words[6] = s->has_count | (uint64_t)s->instruction_complete << 1;
	exit->words[7] = s->next_rip;
}

static void describe_mmio(struct exit_words *exit)
{
	exit->words[0] = last.u.mmio.gpa;
	exit->words[1] = last.u.mmio.width;
	if (last.kind == X86VCPU_EXIT_MMIO_WRITE) {
		exit->words[2] = last.u.mmio.data;
		return;
	}
	exit->words[2] = last.u.mmio.reg;
	exit->words[3] = last.u.mmio.reg_width;
	exit->words[4] = last.u.mmio.sign_extend;
	exit->words[5] = last.u.mmio.has_byte_reg;
}

static void describe(struct exit_words *exit)
{
	memset(exit, 0, sizeof(*exit));
	exit->kind = last.kind;
	switch (last.kind) {
	case X86VCPU_EXIT_PORT_IO_READ:
	case X86VCPU_EXIT_PORT_IO_WRITE:
		exit->words[0] = last.u.port_io.port;
		exit->words[1] = last.u.port_io.width;
		exit->words[2] = last.u.port_io.data;
		break;
	case X86VCPU_EXIT_PORT_IO_STRING:
		describe_string(exit);
		break;
	case X86VCPU_EXIT_MMIO_READ:
	case X86VCPU_EXIT_MMIO_WRITE:
		describe_mmio(exit);
		break;
	case X86VCPU_EXIT_MSR_READ:
	case X86VCPU_EXIT_MSR_WRITE:
		exit->words[0] = last.u.msr.index;
		exit->words[1] = last.u.msr.value;
		break;
	default:
		memcpy(exit->words, last.u.words, sizeof(exit->words));
		break;
	}
}

static int32_t run(struct exit_words *exit)
{
	const int32_t status = x86vcpu_run(vcpu, &last);

	if (status == X86VCPU_OK)
		describe(exit);
	return status;
}

static uint64_t gpr(unsigned number)
{
	uint64_t value = 0;

	if (number != 4)
		CHECK_OK(x86vcpu_get_gpr(vcpu, number, &value));
	return value;
}

static void set_gpr(unsigned number, uint64_t value)
{
	CHECK_OK(x86vcpu_set_gpr(vcpu, number, value));
}

static void answer(const struct exit_words *exit, uint64_t value)
{
	(void)exit;
	CHECK_OK(x86vcpu_complete_read(vcpu, value));
}

static int32_t inject(uint32_t vector)
{
	return x86vcpu_inject_interrupt(vcpu, vector);
}

static int32_t complete_string(void)
{
	return x86vcpu_complete_port_io_string(vcpu, &last.u.port_io_string);
}

static void stop(void)
{
	CHECK_OK(x86vcpu_unbind(vcpu));
	CHECK_OK(x86vcpu_destroy(vcpu));
	CHECK_OK(x86vcpu_machine_destroy(machine));
	CHECK_OK(x86vcpu_percpu_disable(percpu));
	CHECK_OK(x86vcpu_percpu_destroy(percpu));
}

const struct side ours = {"ours", start, run, gpr, set_gpr, answer, inject, complete_string, stop};
