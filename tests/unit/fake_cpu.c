/* SPDX-License-Identifier: Apache-2.0 */
/* See fake_cpu.h. The switch of extended state, which both backends use, runs on it as well. */
#include "fake_cpu.h"

#include <stdlib.h>

#include "emul/context.c"

struct fake_cpu fake_cpu;

uint64_t *fake_msr(uint32_t index)
{
	for (struct fake_msr *msr = fake_cpu.msrs; msr < fake_cpu.msrs + FAKE_MSRS; msr++) {
		if (msr->index == 0)
			msr->index = index;
		if (msr->index == index)
			return &msr->value;
	}
	abort();
}

/* A CPU of Intel's, or AMD's, with 64-bit mode, XSAVE up to AMX, and no other feature. */
void fake_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	static const uint32_t answers[][6] = {
		{0, 0, 0x16, 0x756e6547, 0x6c65746e, 0x49656e69},
		{1, 0, 0x50654, 0x800, CPUID_1_ECX_XSAVE | CPUID_1_ECX_AVX, 0x078bfbff},
		{0xd, 0, 0x602e7, 0x340, 0x2b00, 0},
		{0xd, 1, CPUID_D_1_EAX_XSAVES, 0, 0, 0},
		{0xd, 2, 0x100, 0x240, 0, 0},
		{0x80000000, 0, 0x80000008, 0, 0, 0},
		{0x80000001, 0, 0, 0, 1, 0x28100800},
		{0x80000008, 0, 0x3028, 0, 0, 0},
	};

	memset(out, 0, 16);
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
		if (answers[i][0] == leaf && answers[i][1] == subleaf)
			memcpy(out, &answers[i][2], 16);
	if (leaf == 0 && fake_cpu.amd)
		memcpy(out + 1, "AuthcAMDenti", 12);
	if (leaf == 0x80000008 && fake_cpu.saves_x87_pointers)
		out[1] |= CPUID_80000008_EBX_XSAVEERPTR;
}
