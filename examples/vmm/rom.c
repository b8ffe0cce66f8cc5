/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A PC's ROM. It is mapped read-only below 4 GiB (memory.c), where the reset vector is; its last
 * 128 KiB are also below 1 MiB, in RAM, as behind a chipset whose shadow RAM is switched on.
 */
#include "vmm.h"

#define RESET_VECTOR UINT64_C(0xfffffff0)
#define SHADOW_MAX UINT64_C(0x20000)
#define ONE_MIB UINT64_C(0x100000)
#define ROM_MIN UINT64_C(0x10000)
#define ROM_MAX UINT64_C(0x200000)

static const char *load(struct vm *vm, uint64_t *entry)
{
	const uint64_t size = vm->rom_size;
	const uint64_t shadow = size < SHADOW_MAX ? size : SHADOW_MAX;
	void *to = memory_at(vm, ONE_MIB - shadow, shadow);

	if (size < ROM_MIN || size > ROM_MAX || (size & (size - 1)) || !to)
		return "the ROM's size is not a power of two from 64 KiB to 2 MiB";
	memcpy(to, vm->rom + (size - shadow), shadow);
	*entry = RESET_VECTOR;
	return NULL;
}

/* The reset state is all that a ROM wants. */
static const char *start(struct vm *vm, struct x86vcpu *vcpu)
{
	(void)vm;
	(void)vcpu;
	return NULL;
}

const struct loader rom_loader = { "PC ROM", load, start, true };
