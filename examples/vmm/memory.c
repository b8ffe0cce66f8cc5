/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest-physical memory: RAM from 0, without the VGA's hole, and a ROM that ends at 4 GiB. All else
 * is nobody's: it reads as ones and swallows writes.
 */
#include "platform.h"

#include "vmm.h"

#define RAM_PERMISSIONS (X86VCPU_NESTED_READ | X86VCPU_NESTED_WRITE | X86VCPU_NESTED_EXECUTE)
#define ROM_PERMISSIONS (X86VCPU_NESTED_READ | X86VCPU_NESTED_EXECUTE)
#define TWO_MIB UINT64_C(0x200000)

/* Behind the job, 2 MiB aligned so that the nested tables get by with large pages. */
static bool place_ram(struct vm *vm)
{
	const uint64_t start = (JOB_ADDRESS + vm->job->total_size + TWO_MIB - 1) & ~(TWO_MIB - 1);

	vm->ram_size = vm->job->guest_memory;
	if (vm->ram_size < TWO_MIB || vm->ram_size % 4096 || start > vm->job->host_memory ||
	    vm->ram_size > vm->job->host_memory - start)
		return false;
	vm->ram = (uint8_t *)(uintptr_t)start;
	memset(vm->ram, 0, vm->ram_size);
	return true;
}

static int32_t map_ram(struct vm *vm, uint64_t gpa, uint64_t end)
{
	return x86vcpu_nested_map(&vm->nested, gpa, (uintptr_t)vm->ram + gpa, end - gpa, RAM_PERMISSIONS,
				  X86VCPU_MEMORY_WB);
}

static int32_t map_rom(struct vm *vm)
{
	if (vm->job->kind != JOB_ROM)
		return X86VCPU_OK;
	vm->rom = job_data(vm->job, 0);
	vm->rom_size = vm->job->files[0].length;
	return x86vcpu_nested_map(&vm->nested, FOUR_GIB - vm->rom_size, (uintptr_t)vm->rom, vm->rom_size,
				  ROM_PERMISSIONS, X86VCPU_MEMORY_WB);
}

int32_t memory_create(struct vm *vm)
{
	uint32_t format;
	int32_t status = x86vcpu_nested_format(&format);

	vm->nested.size = sizeof(vm->nested);
	if (status == X86VCPU_OK && !place_ram(vm))
		status = X86VCPU_ERR_NO_MEMORY;
	if (status == X86VCPU_OK)
		status = x86vcpu_nested_init(&vm->nested, &platform_host_ops, NULL, format, X86VCPU_NESTED_2M);
	if (status == X86VCPU_OK)
		status = map_ram(vm, 0, VGA_HOLE);
	if (status == X86VCPU_OK)
		status = map_ram(vm, VGA_HOLE_END, vm->ram_size);
	if (status == X86VCPU_OK)
		status = map_rom(vm);
	return status;
}

void memory_describe(const struct vm *vm, struct x86vcpu_setup_config *config)
{
	/* setup copies them, so one set serves any number of machines, one after the other. */
	static struct x86vcpu_memory_region regions[3];
	static struct x86vcpu_mmio_range holes[2];

	regions[0] = (struct x86vcpu_memory_region){ 0, vm->ram, VGA_HOLE };
	regions[1] = (struct x86vcpu_memory_region){ VGA_HOLE_END, vm->ram + VGA_HOLE_END,
						     vm->ram_size - VGA_HOLE_END };
	regions[2] = (struct x86vcpu_memory_region){ FOUR_GIB - vm->rom_size, vm->rom, vm->rom_size };
	holes[0] = (struct x86vcpu_mmio_range){ VGA_HOLE, VGA_HOLE_END - VGA_HOLE };
	holes[1] = (struct x86vcpu_mmio_range){ vm->ram_size, (UINT64_C(1) << 48) - vm->ram_size };

	config->memory = regions;
	config->memory_count = vm->rom ? 3 : 2;
	config->mmio = holes;
	config->mmio_count = 2;
}

void *memory_at(const struct vm *vm, uint64_t gpa, uint64_t size)
{
	if (gpa >= vm->ram_size || size > vm->ram_size - gpa)
		return NULL;
	if (gpa < VGA_HOLE_END && gpa + size > VGA_HOLE)
		return NULL;
	return vm->ram + gpa;
}

uint8_t memory_read8(const struct vm *vm, uint64_t gpa)
{
	const uint8_t *at = memory_at(vm, gpa, 1);

	if (at)
		return *at;
	if (gpa < FOUR_GIB && gpa >= FOUR_GIB - vm->rom_size)
		return vm->rom[gpa - (FOUR_GIB - vm->rom_size)];
	return 0xff;
}

void memory_write8(struct vm *vm, uint64_t gpa, uint8_t value)
{
	uint8_t *at = memory_at(vm, gpa, 1);

	if (at)
		*at = value;
}
