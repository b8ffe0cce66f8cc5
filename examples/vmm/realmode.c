/* SPDX-License-Identifier: Apache-2.0 */
/* A raw real-mode image, loaded and entered as a BIOS does with a boot sector. */
#include "vmm.h"

#define LOAD_ADDRESS 0x7c00
#define FIRST_HARD_DISK 0x80
#define RDX 2
#define RSP 4

static const char *load(struct vm *vm, uint64_t *entry)
{
	const uint64_t size = vm->job->files[0].length;
	void *to = memory_at(vm, LOAD_ADDRESS, size);

	if (!to)
		return "the image does not fit between 0x7c00 and 640 KiB";
	memcpy(to, job_data(vm->job, 0), size);
	*entry = LOAD_ADDRESS;
	return NULL;
}

static const char *start(struct vm *vm, struct x86vcpu *vcpu)
{
	(void)vm;
	if (x86vcpu_set_gpr(vcpu, RDX, FIRST_HARD_DISK) != X86VCPU_OK ||
	    x86vcpu_set_gpr(vcpu, RSP, LOAD_ADDRESS) != X86VCPU_OK)
		return "the library refused the first state";
	return NULL;
}

const struct loader real_mode_loader = { "real-mode image", load, start, false };
