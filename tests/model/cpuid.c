/* SPDX-License-Identifier: Apache-2.0 */
/* CPUID of the host, from its features. */
#include "machine.h"

#include <string.h>

#define INTEL_FAMILY 0x000906ea
#define HIGHEST_BASIC 0x16u
#define AMD_FAMILY 0x00830f10

static void vendor(uint32_t out[4], const char text[13])
{
	memcpy(&out[1], text, 4);
	memcpy(&out[3], text + 4, 4);
	memcpy(&out[2], text + 8, 4);
}

static void leaf_1(uint32_t out[4])
{
	const bool vmx = model->backend == MODEL_VMX;

	out[0] = model->profile ? model->profile->signature : vmx ? INTEL_FAMILY : AMD_FAMILY;
	out[1] = cpu->number << 24 | 0x10800;
	out[2] = CPUID_1_ECX_SSE3 | CPUID_1_ECX_PCLMULQDQ | CPUID_1_ECX_MONITOR | CPUID_1_ECX_SSSE3 |
		 CPUID_1_ECX_CMPXCHG16B | CPUID_1_ECX_PCID | CPUID_1_ECX_SSE4_1 | CPUID_1_ECX_SSE4_2 |
		 CPUID_1_ECX_X2APIC | CPUID_1_ECX_MOVBE | CPUID_1_ECX_POPCNT | CPUID_1_ECX_AESNI |
		 CPUID_1_ECX_RDRAND;
	if (vmx)
		out[2] |= CPUID_1_ECX_VMX | CPUID_1_ECX_PDCM;
	if (has(MODEL_TSC_DEADLINE))
		out[2] |= CPUID_1_ECX_TSC_DEADLINE;
	if (has(MODEL_XSAVE))
		out[2] |= CPUID_1_ECX_XSAVE | CPUID_1_ECX_AVX | CPUID_1_ECX_FMA | CPUID_1_ECX_F16C |
			  (cpu->cr4 & CR4_OSXSAVE ? CPUID_1_ECX_OSXSAVE : 0);
	out[3] = 0x178bfbff;
}

static void leaf_7(uint32_t out[4])
{
	out[1] = CPUID_7_EBX_FSGSBASE | CPUID_7_EBX_BMI1 | CPUID_7_EBX_AVX2 | CPUID_7_EBX_SMEP |
		 CPUID_7_EBX_BMI2 | CPUID_7_EBX_ERMS | CPUID_7_EBX_RDSEED | CPUID_7_EBX_ADX | CPUID_7_EBX_SMAP |
		 CPUID_7_EBX_CLFLUSHOPT;
	if (has(MODEL_INVPCID))
		out[1] |= CPUID_7_EBX_INVPCID;
	if (has(MODEL_AVX512))
		out[1] |= CPUID_7_EBX_AVX512F | CPUID_7_EBX_AVX512DQ | CPUID_7_EBX_AVX512CD | CPUID_7_EBX_AVX512BW |
			  CPUID_7_EBX_AVX512VL;
	out[0] = has(MODEL_LAM) ? 1 : 0;
	out[2] = CPUID_7_ECX_UMIP | (model->backend == MODEL_VMX ? CPUID_7_ECX_WAITPKG : 0) |
		 (has(MODEL_LA57) ? CPUID_7_ECX_LA57 : 0);
	out[3] = CPUID_7_EDX_FSRM | CPUID_7_EDX_MD_CLEAR;
	if (model->backend == MODEL_VMX)
		out[3] |= CPUID_7_EDX_IBRS_IBPB;
	if (model->profile) {
		out[0] = 2;
		out[1] |= model->profile->rtm;
		out[3] = CPUID_7_EDX_FSRM | model->profile->leaf_7_edx;
	}
}

/* APM Vol. 3, E.4.7: of speculation. */
static uint32_t leaf_8_ebx(void)
{
	if (model->profile)
		return model->profile->leaf_8_ebx;
	return model->backend == MODEL_SVM ? CPUID_80000008_EBX_IBRS : 0;
}

/* Standard format (SDM Vol. 1, 13.4.2). */
static uint32_t save_size(uint64_t components)
{
	if (components & XCR0_TILEDATA)
		return 11008;
	if (components & XCR0_AVX512)
		return 2688;
	return components & XCR0_AVX ? 832 : 576;
}

/* Compacted format: 64 bytes at the beginning of TILEDATA are for its alignment (SDM Vol. 1, 13.4.3). */
static uint32_t compacted_size(uint64_t components)
{
	uint32_t size = 576;

	if (components & XCR0_AVX)
		size += 256;
	if (components & XCR0_AVX512)
		size += 64 + 512 + 1024;
	if (components & XCR0_TILEDATA)
		size = (size + 64 + 63) / 64 * 64 + 8192;
	return size;
}

static uint64_t components(void)
{
	return (has(MODEL_AVX512) ? 0xe7 : 7) | (has(MODEL_AMX) ? XCR0_TILECFG | XCR0_TILEDATA : 0);
}

static void leaf_d(uint32_t subleaf, uint32_t out[4])
{
	static const struct {
		uint32_t component, size, offset, ecx;
	} areas[] = {{2, 256, 576, 0}, {5, 64, 1088, 0}, {6, 512, 1152, 0}, {7, 1024, 1664, 0}, {8, 128, 0, 1},
		     {17, 64, 2752, 2}, {18, 8192, 2816, 6}};

	if (subleaf == 0) {
		out[0] = (uint32_t)components();
		out[1] = save_size(cpu->xcr0);
		out[2] = save_size(components());
	} else if (subleaf == 1) {
		out[0] = CPUID_D_1_EAX_XSAVEOPT | CPUID_D_1_EAX_XSAVEC | CPUID_D_1_EAX_XGETBV1 |
			 (has(MODEL_XSAVES) ? CPUID_D_1_EAX_XSAVES : 0);
		out[1] = compacted_size(cpu->xcr0);
		out[2] = has(MODEL_XSAVES) ? (uint32_t)XSS_PT : 0;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(areas); i++) {
		const bool there = areas[i].component == 8 ? has(MODEL_XSAVES)
							   : (bool)(components() >> areas[i].component & 1);

		if (subleaf == areas[i].component && there) {
			out[0] = areas[i].size;
			out[1] = areas[i].offset;
			out[2] = areas[i].ecx;
		}
	}
}

static void extended_1(uint32_t out[4])
{
	const bool vmx = model->backend == MODEL_VMX;

	out[2] = CPUID_80000001_ECX_LAHF64 | CPUID_80000001_ECX_LZCNT | CPUID_80000001_ECX_PREFETCHW;
	out[3] = CPUID_80000001_EDX_SYSCALL | CPUID_80000001_EDX_NX | CPUID_80000001_EDX_PAGE1GB |
		 CPUID_80000001_EDX_LM;
	if (has(MODEL_RDTSCP))
		out[3] |= CPUID_80000001_EDX_RDTSCP;
	if (!vmx) {
		out[0] = model->profile ? model->profile->signature : AMD_FAMILY;
		out[2] |= CPUID_80000001_ECX_SVM | CPUID_80000001_ECX_CR8_LEGACY | CPUID_80000001_ECX_SSE4A;
		out[3] |= CPUID_80000001_EDX_MMXEXT | CPUID_80000001_EDX_FFXSR | 0x0183f3ff;
	}
}

/* APM Vol. 3, E.4.9. */
static void svm_leaf(uint32_t out[4])
{
	out[0] = 1;
	out[1] = 16;
	out[3] = 1 << 0; /* nested paging */
	if (has(MODEL_NRIPS))
		out[3] |= 1 << 3;
	if (has(MODEL_CLEAN))
		out[3] |= 1 << 5;
	if (has(MODEL_FLUSH_ASID))
		out[3] |= 1 << 6;
	if (has(MODEL_DECODE))
		out[3] |= 1 << 7;
	if (model->profile)
		out[3] |= model->profile->leaf_a_edx;
}

static void basic(uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	switch (leaf) {
	case 0:
		out[0] = HIGHEST_BASIC;
		vendor(out, model->backend == MODEL_VMX ? "GenuineIntel" : "AuthenticAMD");
		break;
	case 1:
		leaf_1(out);
		break;
	case 6:
		out[0] = CPUID_6_EAX_ARAT;
		break;
	case 7:
		if (subleaf == 0)
			leaf_7(out);
		else if (subleaf == 1 && has(MODEL_LAM))
			out[0] = CPUID_7_1_EAX_LAM;
		else if (subleaf == 2 && model->profile)
			out[3] = model->profile->leaf_7_2_edx;
		break;
	case 0xa:
		if (model->backend == MODEL_VMX)
			out[0] = 2 | 4 << 8 | 48 << 16; /* four counters */
		break;
	case 0xb:
		out[2] = subleaf;
		out[3] = cpu->number;
		break;
	case 0xd:
		if (has(MODEL_XSAVE))
			leaf_d(subleaf, out);
		break;
	case 0x15:
		out[0] = 2;
		out[1] = 200;
		out[2] = 10000000;
		break;
	}
}

void model_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	memset(out, 0, 16);
	/* SDM Vol. 2, CPUID: behind the last leaf Intel's CPUs answer with that of the highest basic leaf. */
	if (model->backend == MODEL_VMX && (leaf > 0x80000008 || (leaf > HIGHEST_BASIC && leaf < 0x80000000)))
		leaf = HIGHEST_BASIC;
	switch (leaf) {
	case 0x80000000:
		out[0] = model->backend == MODEL_VMX ? 0x80000008 : model->profile ? 0x80000021 : 0x8000000a;
		if (model->backend == MODEL_SVM)
			vendor(out, "AuthenticAMD");
		break;
	case 0x80000001:
		extended_1(out);
		break;
	case 0x80000002:
		memcpy(out, "A model of a CPU", 16);
		break;
	case 0x80000007:
		out[3] = CPUID_80000007_EDX_INVARIANT_TSC;
		break;
	case 0x80000008:
		out[0] = has(MODEL_LA57) ? 0x3928 : 0x3028;
		out[1] = leaf_8_ebx();
		break;
	case 0x8000000a:
		if (model->backend == MODEL_SVM)
			svm_leaf(out);
		break;
	case 0x80000021:
		if (model->backend == MODEL_SVM && model->profile) {
			out[0] = model->profile->leaf_21_eax;
			out[2] = model->profile->leaf_21_ecx;
		}
		break;
	default:
		basic(leaf, subleaf, out);
	}
	trace(MODEL_TRACE_CPUID, leaf, subleaf);
}
