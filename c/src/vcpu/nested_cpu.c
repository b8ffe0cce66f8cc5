/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether nested tables may map executable large pages. On the CPUs of CVE-2018-12207 (INTEL-SA-00210, "machine check
 * error on page size change") a guest stops the host with one: it changes the page size of its own code and executes
 * it before it flushes, so that two translations of different sizes are in the instruction TLB.
 */
#include <stdbool.h>

#include "cpu/insn.h"
#include "x86vcpu/msr.h"
#include "x86vcpu/percpu.h"
#include "x86vcpu/status.h"

enum { EAX, EBX, ECX, EDX };

#define CPUID_7_EDX_ARCH_CAPABILITIES (1u << 29)
#define ARCH_CAPABILITIES_PSCHANGE_MC_NO (UINT64_C(1) << 6)

/* Intel's CPUs of family 6 with EPT, and without the MSR, that Intel's list of affected processors does not have. */
static const uint8_t unaffected_models[] = {
	0x37, 0x4a, 0x4d,       /* Silvermont */
	0x4c, 0x5a, 0x75,       /* Airmont */
	0x57, 0x85,             /* Knights Landing, Knights Mill */
	0x5c, 0x5f, 0x7a,       /* Goldmont, Goldmont Plus */
	0x86, 0x96, 0x9c,       /* Tremont */
};

static bool is_intel(const uint32_t leaf[4])
{
	return leaf[EBX] == 0x756e6547 && leaf[EDX] == 0x49656e69 && leaf[ECX] == 0x6c65746e;
}

/* `signature`: CPUID.1:EAX. Extended family and model as SDM Vol. 2, CPUID, adds them for family 6. */
static bool is_unaffected_model(uint32_t signature)
{
	const uint32_t family = signature >> 8 & 15, model = (signature >> 12 & 0xf0) | (signature >> 4 & 15);

	if (family != 6)
		return false;
	for (unsigned i = 0; i < sizeof(unaffected_models); i++)
		if (unaffected_models[i] == model)
			return true;
	return false;
}

/* Microcode may have brought the MSR; a hypervisor that hides it keeps the answer safe. */
static bool says_unaffected(uint32_t highest)
{
	uint32_t leaf[4];

	if (highest < 7)
		return false;
	insn_cpuid(7, 0, leaf);
	return leaf[EDX] & CPUID_7_EDX_ARCH_CAPABILITIES &&
	       insn_rdmsr(X86VCPU_MSR_IA32_ARCH_CAPABILITIES) & ARCH_CAPABILITIES_PSCHANGE_MC_NO;
}

int32_t x86vcpu_nested_large_executable(uint32_t *allowed)
{
	uint32_t leaf[4], highest;

	if (!allowed)
		return X86VCPU_ERR_INVALID_INPUT;
	*allowed = 1;
	insn_cpuid(0, 0, leaf);
	if (!is_intel(leaf))
		return X86VCPU_OK;
	highest = leaf[EAX];
	insn_cpuid(1, 0, leaf);
	*allowed = is_unaffected_model(leaf[EAX]) || says_unaffected(highest);
	return X86VCPU_OK;
}
