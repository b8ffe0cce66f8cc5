/* SPDX-License-Identifier: Apache-2.0 */
/* Instructions as they stand in memory, for exits that the library has to decode. */
#include "fuzz.h"

#include <string.h>

#include "cpu/x86.h"
#include "x86vcpu/msr.h"

/* In 32- and 64-bit code; memory operands are at RBX. */
struct code {
	uint8_t kind, length;
	uint8_t bytes[12];
	uint8_t a, b, c; /* of the op */
};

static const struct code codes[] = {
	{MODEL_OP_CPUID, 2, {0x0f, 0xa2}, 0, 0, 0},
	{MODEL_OP_HLT, 1, {0xf4}, 0, 0, 0},
	{MODEL_OP_RDMSR, 2, {0x0f, 0x32}, 0, 0, 0},
	{MODEL_OP_WRMSR, 2, {0x0f, 0x30}, 0, 0, 0},
	{MODEL_OP_WRMSR, 4, {0x66, 0x67, 0x0f, 0x30}, 0, 0, 0},
	{MODEL_OP_XSETBV, 3, {0x0f, 0x01, 0xd1}, 0, 0, 0},
	{MODEL_OP_CLTS, 2, {0x0f, 0x06}, 0, 0, 0},
	{MODEL_OP_LMSW, 3, {0x0f, 0x01, 0xf0}, 1, 0, 0},
	{MODEL_OP_LMSW, 3, {0x0f, 0x01, 0x33}, 1, 0, 0},
	{MODEL_OP_LMSW, 8, {0x64, 0x0f, 0x01, 0xb3, 0xff, 0xff, 0xff, 0x7f}, 9, 0, 0},
	{MODEL_OP_MOV_TO_CR, 3, {0x0f, 0x22, 0xc0}, 0, 0, 0},
	{MODEL_OP_MOV_TO_CR, 3, {0x0f, 0x22, 0xd8}, 3, 0, 0},
	{MODEL_OP_MOV_TO_CR, 3, {0x0f, 0x22, 0xe0}, 4, 0, 0},
	{MODEL_OP_MOV_TO_CR, 4, {0xf0, 0x0f, 0x22, 0xc0}, 8, 0, 0},
	{MODEL_OP_MOV_FROM_CR, 3, {0x0f, 0x20, 0xc0}, 0, 0, 0},
	{MODEL_OP_MOV_FROM_CR, 3, {0x0f, 0x01, 0xe0}, 0, 0, 0},
	{MODEL_OP_MOV_FROM_CR, 3, {0x0f, 0x20, 0xe1}, 4, 1, 0},
	{MODEL_OP_IN, 1, {0xec}, 0, 1, 0},
	{MODEL_OP_OUT, 1, {0xef}, 0, 4, 0},
	{MODEL_OP_IN, 2, {0xf3, 0x6c}, 0, 1, 3},
	{MODEL_OP_OUT, 2, {0xf3, 0x6f}, 0, 4, 3},
	{MODEL_OP_OUT, 2, {0x64, 0x6e}, 0, 1, 1},
	{MODEL_OP_IN, 3, {0x67, 0x66, 0x6d}, 0, 2, 1},
	{MODEL_OP_MMIO, 2, {0x8b, 0x03}, 0, 0, 0},
	{MODEL_OP_MMIO, 2, {0x89, 0x03}, 0, 1, 0},
	{MODEL_OP_MMIO, 2, {0x8a, 0x23}, 0, 0, 0},
	{MODEL_OP_MMIO, 2, {0x88, 0x3b}, 0, 1, 0},
	{MODEL_OP_MMIO, 3, {0x66, 0x8b, 0x03}, 0, 0, 0},
	{MODEL_OP_MMIO, 3, {0x48, 0x89, 0x03}, 0, 1, 0},
	{MODEL_OP_MMIO, 6, {0xc7, 0x03, 1, 2, 3, 0x84}, 0, 1, 0},
	{MODEL_OP_MMIO, 7, {0x48, 0xc7, 0x03, 1, 2, 3, 0x84}, 0, 1, 0},
	{MODEL_OP_MMIO, 3, {0xc6, 0x03, 0x80}, 0, 1, 0},
	{MODEL_OP_MMIO, 3, {0x0f, 0xb6, 0x03}, 0, 0, 0},
	{MODEL_OP_MMIO, 3, {0x0f, 0xbf, 0x03}, 0, 0, 0},
	{MODEL_OP_MMIO, 3, {0x48, 0x63, 0x03}, 0, 0, 0},
	{MODEL_OP_MMIO, 2, {0x87, 0x03}, 0, 1, 0},
	{MODEL_OP_MMIO, 3, {0xf0, 0x86, 0x23}, 0, 1, 0},
	{MODEL_OP_MMIO, 3, {0xf0, 0x09, 0x03}, 0, 1, 0},
	{MODEL_OP_MMIO, 3, {0x83, 0x13, 0xff}, 0, 1, 0},
	{MODEL_OP_MMIO, 2, {0x1b, 0x03}, 0, 0, 0},
	{MODEL_OP_MMIO, 6, {0xf7, 0x03, 1, 0, 0, 0x80}, 0, 0, 0},
	{MODEL_OP_MMIO, 2, {0xf7, 0x1b}, 0, 1, 0},
	{MODEL_OP_MMIO, 2, {0xff, 0x0b}, 0, 1, 0},
	{MODEL_OP_MMIO, 2, {0x38, 0x03}, 0, 0, 0},
	{MODEL_OP_MMIO, 2, {0xa4, 0x90}, 0, 0, 0},
	{MODEL_OP_MMIO, 3, {0x0f, 0x11, 0x03}, 0, 1, 0},
	{MODEL_OP_HYPERCALL, 3, {0x0f, 0x01, 0xd9}, 0, 0, 0},
	{MODEL_OP_INVD, 2, {0x0f, 0x08}, 0, 0, 0},
};

uint32_t guest_msr(struct input *in)
{
	static const uint32_t msrs[] = {
		X86VCPU_MSR_IA32_TIME_STAMP_COUNTER, X86VCPU_MSR_IA32_APIC_BASE, X86VCPU_MSR_IA32_TSC_ADJUST,
		X86VCPU_MSR_IA32_MISC_ENABLE, X86VCPU_MSR_IA32_PAT, X86VCPU_MSR_IA32_TSC_DEADLINE, X86VCPU_MSR_IA32_XSS,
		X86VCPU_MSR_IA32_EFER, X86VCPU_MSR_IA32_STAR, X86VCPU_MSR_IA32_LSTAR, X86VCPU_MSR_IA32_FMASK,
		X86VCPU_MSR_IA32_FS_BASE, X86VCPU_MSR_IA32_KERNEL_GS_BASE, X86VCPU_MSR_IA32_TSC_AUX,
		X86VCPU_MSR_IA32_SYSENTER_CS, X86VCPU_MSR_IA32_DEBUGCTL, X86VCPU_MSR_IA32_FEATURE_CONTROL,
		0x200, 0x201, 0x250, 0x26f, 0x2ff, 0xfe, 0x179, 0x17a, 0x600, 0xc0010015, 0x40000000, 0x8b, 0x17, 0xce,
	};
	const uint8_t how = in_8(in);

	if (how < 0x80)
		return msrs[how % (sizeof(msrs) / sizeof(msrs[0]))];
	return how < 0xe0 ? 0x800u + how % 0x40 : (uint32_t)in_value(in);
}

static void set_value(struct world *w, uint32_t low, uint32_t high, uint64_t value)
{
	model_guest_sets(w->m, low, (uint32_t)value);
	model_guest_sets(w->m, high, value >> 32);
}

/* The registers that the instruction works with. */
static void set_operands(struct world *w, struct model_op *op)
{
	switch (op->kind) {
	case MODEL_OP_RDMSR:
	case MODEL_OP_WRMSR:
		model_guest_sets(w->m, MODEL_RCX, guest_msr(w->in));
		set_value(w, MODEL_RAX, MODEL_RDX, in_value(w->in));
		break;
	case MODEL_OP_XSETBV:
		model_guest_sets(w->m, MODEL_RCX, in_8(w->in) >> 7);
		set_value(w, MODEL_RAX, MODEL_RDX, in_value(w->in));
		break;
	case MODEL_OP_MMIO:
		op->a = op->c = in_value(w->in);
		model_guest_sets(w->m, MODEL_RBX, op->a);
		break;
	case MODEL_OP_IN:
	case MODEL_OP_OUT:
		op->a = in_16(w->in);
		op->c |= 4u << 8;
		model_guest_sets(w->m, MODEL_RDX, op->a);
		break;
	default:
		model_guest_sets(w->m, op->b & 15, in_value(w->in));
	}
}

void guest_code(struct world *w, struct model_op *op)
{
	const struct code *code = &codes[in_8(w->in) % (sizeof(codes) / sizeof(codes[0]))];
	const uint64_t where = WORLD_CODE + (in_8(w->in) & 1 ? 0xffe : 0);

	*op = (struct model_op){.kind = code->kind, .length = code->length, .a = code->a, .b = code->b, .c = code->c};
	world_write(w, where, code->bytes, code->length);
	model_guest_sets(w->m, MODEL_RIP, where);
	set_operands(w, op);
}
