/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MSRs of the executing CPU for the library's caller. An MSR is touched only when CPUID, or a
 * capability MSR that CPUID vouches for, says that it is there.
 */
#include "cpu/insn.h"
#include "cpu/x86.h"
#include "vmx/controls.h"
#include "x86vcpu/msr.h"
#include "x86vcpu/status.h"

enum cpuid_register { EAX, EBX, ECX, EDX };

struct msr_gate {
	uint32_t first, last;
	uint32_t leaf, subleaf;
	enum cpuid_register reg;
	uint32_t bit;
};

/* An MSR exists when one of these CPUID bits is set (SDM Vol. 4, "available if"; APM appendix A). */
static const struct msr_gate gates[] = {
	{X86VCPU_MSR_IA32_TIME_STAMP_COUNTER, X86VCPU_MSR_IA32_TIME_STAMP_COUNTER, 1, 0, EDX, 4},
	{X86VCPU_MSR_IA32_APIC_BASE, X86VCPU_MSR_IA32_APIC_BASE, 1, 0, EDX, 9},
	{X86VCPU_MSR_IA32_FEATURE_CONTROL, X86VCPU_MSR_IA32_FEATURE_CONTROL, 1, 0, ECX, 5}, /* VMX */
	{X86VCPU_MSR_IA32_TSC_ADJUST, X86VCPU_MSR_IA32_TSC_ADJUST, 7, 0, EBX, 1},
	{X86VCPU_MSR_IA32_SPEC_CTRL, X86VCPU_MSR_IA32_PRED_CMD, 7, 0, EDX, 26},
	{X86VCPU_MSR_IA32_SPEC_CTRL, X86VCPU_MSR_IA32_SPEC_CTRL, 0x80000008, 0, EBX, 14},
	{X86VCPU_MSR_IA32_PRED_CMD, X86VCPU_MSR_IA32_PRED_CMD, 0x80000008, 0, EBX, 12},
	{X86VCPU_MSR_IA32_MTRRCAP, X86VCPU_MSR_IA32_MTRRCAP, 1, 0, EDX, 12},
	{X86VCPU_MSR_IA32_ARCH_CAPABILITIES, X86VCPU_MSR_IA32_ARCH_CAPABILITIES, 7, 0, EDX, 29},
	{X86VCPU_MSR_IA32_FLUSH_CMD, X86VCPU_MSR_IA32_FLUSH_CMD, 7, 0, EDX, 28},
	{X86VCPU_MSR_IA32_SYSENTER_CS, X86VCPU_MSR_IA32_SYSENTER_EIP, 1, 0, EDX, 11},
	{X86VCPU_MSR_IA32_MCG_CAP, X86VCPU_MSR_IA32_MCG_STATUS, 1, 0, EDX, 14},
	{X86VCPU_MSR_IA32_MTRR_FIX64K_00000, X86VCPU_MSR_IA32_MTRR_FIX64K_00000, 1, 0, EDX, 12},
	{X86VCPU_MSR_IA32_MTRR_FIX16K_80000, X86VCPU_MSR_IA32_MTRR_FIX16K_A0000, 1, 0, EDX, 12},
	{X86VCPU_MSR_IA32_MTRR_FIX4K_C0000, X86VCPU_MSR_IA32_MTRR_FIX4K_F8000, 1, 0, EDX, 12},
	{X86VCPU_MSR_IA32_PAT, X86VCPU_MSR_IA32_PAT, 1, 0, EDX, 16},
	{X86VCPU_MSR_IA32_MTRR_DEF_TYPE, X86VCPU_MSR_IA32_MTRR_DEF_TYPE, 1, 0, EDX, 12},
	{X86VCPU_MSR_IA32_VMX_BASIC, X86VCPU_MSR_IA32_VMX_VMCS_ENUM, 1, 0, ECX, 5},
	{X86VCPU_MSR_IA32_TSC_DEADLINE, X86VCPU_MSR_IA32_TSC_DEADLINE, 1, 0, ECX, 24},
	{X86VCPU_MSR_IA32_XSS, X86VCPU_MSR_IA32_XSS, 0xd, 1, EAX, 3},
	{X86VCPU_MSR_IA32_EFER, X86VCPU_MSR_IA32_FMASK, 0x80000001, 0, EDX, 29}, /* 64-bit mode */
	{X86VCPU_MSR_IA32_FS_BASE, X86VCPU_MSR_IA32_KERNEL_GS_BASE, 0x80000001, 0, EDX, 29},
	{X86VCPU_MSR_IA32_TSC_AUX, X86VCPU_MSR_IA32_TSC_AUX, 0x80000001, 0, EDX, 27},
	{X86VCPU_MSR_VM_CR, X86VCPU_MSR_VM_CR, 0x80000001, 0, ECX, 2}, /* SVM */
	{X86VCPU_MSR_VM_HSAVE_PA, X86VCPU_MSR_VM_HSAVE_PA, 0x80000001, 0, ECX, 2},
};

static bool cpuid_bit(uint32_t leaf, uint32_t subleaf, enum cpuid_register reg, uint32_t bit)
{
	uint32_t out[4];

	insn_cpuid(leaf & 0x80000000, 0, out);
	if (out[EAX] < leaf)
		return false;
	insn_cpuid(leaf, subleaf, out);
	return out[reg] >> bit & 1;
}

/* The high half of a capability MSR names the controls that may be 1 (SDM A.3). */
static bool allowed(uint32_t capability_msr, uint32_t controls)
{
	return insn_rdmsr(capability_msr) >> 32 & controls;
}

/* Capability MSRs beyond IA32_VMX_VMCS_ENUM (SDM A.3.3, A.10, A.3.1, A.11). VMX is there. */
static bool late_vmx_msr_exists(uint32_t msr)
{
	if (msr >= X86VCPU_MSR_IA32_VMX_TRUE_PINBASED_CTLS && msr <= X86VCPU_MSR_IA32_VMX_TRUE_ENTRY_CTLS)
		return insn_rdmsr(X86VCPU_MSR_IA32_VMX_BASIC) & VMX_BASIC_TRUE_CONTROLS;
	if (!allowed(X86VCPU_MSR_IA32_VMX_PROCBASED_CTLS, CPU_SECONDARY_CONTROLS))
		return false;
	if (msr == X86VCPU_MSR_IA32_VMX_PROCBASED_CTLS2)
		return true;
	if (msr == X86VCPU_MSR_IA32_VMX_EPT_VPID_CAP)
		return allowed(X86VCPU_MSR_IA32_VMX_PROCBASED_CTLS2, CPU2_ENABLE_EPT | CPU2_ENABLE_VPID);
	return msr == X86VCPU_MSR_IA32_VMX_VMFUNC &&
	       allowed(X86VCPU_MSR_IA32_VMX_PROCBASED_CTLS2, CPU2_ENABLE_VM_FUNCTIONS);
}

/* IA32_MTRRCAP[7:0] says how many pairs there are (SDM 12.11.1). */
static bool is_variable_mtrr(uint32_t msr)
{
	if (msr < X86VCPU_MSR_IA32_MTRR_PHYSBASE0 || msr >= X86VCPU_MSR_IA32_MTRR_FIX64K_00000 ||
	    !cpuid_bit(1, 0, EDX, 12))
		return false;
	return (msr - X86VCPU_MSR_IA32_MTRR_PHYSBASE0) / 2 < (insn_rdmsr(X86VCPU_MSR_IA32_MTRRCAP) & 0xff);
}

int32_t x86vcpu_msr_exists(uint32_t msr)
{
	if (msr >= X86VCPU_MSR_IA32_VMX_PROCBASED_CTLS2 && msr <= X86VCPU_MSR_IA32_VMX_VMFUNC)
		return cpuid_bit(1, 0, ECX, 5) && late_vmx_msr_exists(msr);
	if (is_variable_mtrr(msr))
		return 1;
	for (unsigned i = 0; i < sizeof(gates) / sizeof(gates[0]); i++) {
		const struct msr_gate *gate = &gates[i];

		if (msr >= gate->first && msr <= gate->last &&
		    cpuid_bit(gate->leaf, gate->subleaf, gate->reg, gate->bit))
			return 1;
	}
	return 0;
}

int32_t x86vcpu_msr_read(uint32_t msr, uint64_t *value)
{
	if (!value)
		return X86VCPU_ERR_INVALID_INPUT;
	if (!x86vcpu_msr_exists(msr))
		return X86VCPU_ERR_UNSUPPORTED;
	*value = insn_rdmsr(msr);
	return X86VCPU_OK;
}

int32_t x86vcpu_msr_write(uint32_t msr, uint64_t value)
{
	if (!x86vcpu_msr_exists(msr))
		return X86VCPU_ERR_UNSUPPORTED;
	insn_wrmsr(msr, value);
	return X86VCPU_OK;
}
