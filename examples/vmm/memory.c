/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest-physical memory: RAM from 0, the VGA's 0xa0000 included, and a ROM that ends at 4 GiB. All else
 * is the I/O APIC's, or nobody's: that reads as ones and swallows writes.
 */
#include "vmm.h"

#define RAM_PERMISSIONS (X86VCPU_NESTED_READ | X86VCPU_NESTED_WRITE | X86VCPU_NESTED_EXECUTE)
#define ROM_PERMISSIONS (X86VCPU_NESTED_READ | X86VCPU_NESTED_EXECUTE)
#define TWO_MIB UINT64_C(0x200000)

static uint8_t test_memory[TESTDEV_MEMORY_SIZE] __attribute__((aligned(4096)));

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

static int32_t map_rom(struct vm *vm)
{
	if (vm->job->kind != JOB_ROM)
		return X86VCPU_OK;
	vm->rom = job_data(vm->job, 0);
	vm->rom_size = vm->job->files[0].length;
	return x86vcpu_nested_map(&vm->nested, FOUR_GIB - vm->rom_size, (uintptr_t)vm->rom, vm->rom_size,
				  ROM_PERMISSIONS, X86VCPU_MEMORY_WB);
}

static int32_t map_test_memory(struct vm *vm)
{
	if (!(vm->job->flags & JOB_TESTDEV))
		return X86VCPU_OK;
	return x86vcpu_nested_map(&vm->nested, TESTDEV_MEMORY, (uintptr_t)test_memory, TESTDEV_MEMORY_SIZE,
				  RAM_PERMISSIONS, X86VCPU_MEMORY_WB);
}

int32_t memory_create(struct vm *vm)
{
	uint32_t format, levels;
	int32_t status = x86vcpu_nested_format(&format);

	vm->nested.size = sizeof(vm->nested);
	if (status == X86VCPU_OK)
		status = x86vcpu_nested_levels(&levels);
	if (status == X86VCPU_OK && !place_ram(vm))
		status = X86VCPU_ERR_NO_MEMORY;
	if (status == X86VCPU_OK)
		status = x86vcpu_nested_init(&vm->nested, &platform_host_ops, NULL, format, levels,
					     X86VCPU_NESTED_2M);
	if (status == X86VCPU_OK)
		status = x86vcpu_nested_map(&vm->nested, 0, (uintptr_t)vm->ram, vm->ram_size, RAM_PERMISSIONS,
					    X86VCPU_MEMORY_WB);
	if (status == X86VCPU_OK)
		status = map_rom(vm);
	if (status == X86VCPU_OK)
		status = map_test_memory(vm);
	return status;
}

void memory_describe(const struct vm *vm, struct x86vcpu_setup_config *config)
{
	/* setup copies them, so one set serves all vCPUs, one after the other. */
	static struct x86vcpu_memory_region regions[3];
	static struct x86vcpu_mmio_range hole;
	uint32_t count = 0;

	regions[count++] = (struct x86vcpu_memory_region){ 0, vm->ram, vm->ram_size, 0 };
	if (vm->rom)
		regions[count++] = (struct x86vcpu_memory_region){
			.gpa = FOUR_GIB - vm->rom_size,
			.hva = (void *)(uintptr_t)vm->rom,
			.size = vm->rom_size,
			.flags = X86VCPU_MEMORY_READ_ONLY,
		};
	if (vm->job->flags & JOB_TESTDEV)
		regions[count++] = (struct x86vcpu_memory_region){ TESTDEV_MEMORY, test_memory,
								   TESTDEV_MEMORY_SIZE, 0 };
	hole = (struct x86vcpu_mmio_range){ vm->ram_size, (UINT64_C(1) << 48) - vm->ram_size };

	config->memory = regions;
	config->memory_count = count;
	config->mmio = &hole;
	config->mmio_count = 1;
}

void *memory_at(const struct vm *vm, uint64_t gpa, uint64_t size)
{
	return gpa < vm->ram_size && size <= vm->ram_size - gpa ? vm->ram + gpa : NULL;
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
