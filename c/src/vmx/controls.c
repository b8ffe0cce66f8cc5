/* SPDX-License-Identifier: Apache-2.0 */
/* Which value a VMX control word takes on a given processor. */
#include "vmx/controls.h"

#include <stddef.h>

#include "x86vcpu/msr.h"

#define BIT_NAME(name, bit) [bit] = #name,

struct control_kind {
	uint32_t msr;
	uint32_t true_msr; /* the same as msr where there is none */
	/*
	 * Bits whose default is 1: reserved ones, and a few that got a meaning later. They read as
	 * fixed to 1 in `msr`; true_msr tells which of them can be 0 nevertheless (SDM A.3.1, A.3.2,
	 * A.4, A.5).
	 */
	uint32_t default1;
	const char *names[32];
};

static const struct control_kind kinds[VMX_CONTROL_KINDS] = {
	[VMX_CONTROL_PIN] = {
		.msr = X86VCPU_MSR_IA32_VMX_PINBASED_CTLS,
		.true_msr = X86VCPU_MSR_IA32_VMX_TRUE_PINBASED_CTLS,
		.default1 = 0x00000016, /* 1, 2, 4 */
		.names = { VMX_PIN_CONTROLS(BIT_NAME) },
	},
	[VMX_CONTROL_CPU] = {
		.msr = X86VCPU_MSR_IA32_VMX_PROCBASED_CTLS,
		.true_msr = X86VCPU_MSR_IA32_VMX_TRUE_PROCBASED_CTLS,
		.default1 = 0x0401e172, /* 1, 4 to 6, 8, 13 to 16, 26 */
		.names = { VMX_CPU_CONTROLS(BIT_NAME) },
	},
	[VMX_CONTROL_CPU2] = {
		.msr = X86VCPU_MSR_IA32_VMX_PROCBASED_CTLS2,
		.true_msr = X86VCPU_MSR_IA32_VMX_PROCBASED_CTLS2,
		.default1 = 0,
		.names = { VMX_CPU2_CONTROLS(BIT_NAME) },
	},
	[VMX_CONTROL_EXIT] = {
		.msr = X86VCPU_MSR_IA32_VMX_EXIT_CTLS,
		.true_msr = X86VCPU_MSR_IA32_VMX_TRUE_EXIT_CTLS,
		.default1 = 0x00036dff, /* 0 to 8, 10, 11, 13, 14, 16, 17 */
		.names = { VMX_EXIT_CONTROLS(BIT_NAME) },
	},
	[VMX_CONTROL_ENTRY] = {
		.msr = X86VCPU_MSR_IA32_VMX_ENTRY_CTLS,
		.true_msr = X86VCPU_MSR_IA32_VMX_TRUE_ENTRY_CTLS,
		.default1 = 0x000011ff, /* 0 to 8, 12 */
		.names = { VMX_ENTRY_CONTROLS(BIT_NAME) },
	},
};

uint32_t vmx_control_msr(enum vmx_control_kind kind, uint64_t basic)
{
	return basic & VMX_BASIC_TRUE_CONTROLS ? kinds[kind].true_msr : kinds[kind].msr;
}

int32_t vmx_control_choose(enum vmx_control_kind kind, uint64_t capability,
			   const struct vmx_control_request *request, struct vmx_control_choice *choice)
{
	const uint32_t fixed1 = (uint32_t)capability;
	const uint32_t allowed1 = (uint32_t)(capability >> 32);
	const uint32_t asked = request->required | request->wanted;

	*choice = (struct vmx_control_choice){
		.value = fixed1 | (((kinds[kind].default1 & ~request->forbidden) | asked) & allowed1),
		.missing = request->required & ~allowed1,
		.forced = request->forbidden & fixed1,
	};
	if (asked & request->forbidden)
		return X86VCPU_ERR_INVALID_INPUT;
	if (fixed1 & ~allowed1)
		return X86VCPU_ERR_INVALID_DATA;
	return choice->missing || choice->forced ? X86VCPU_ERR_UNSUPPORTED : X86VCPU_OK;
}

const char *vmx_control_name(enum vmx_control_kind kind, unsigned bit)
{
	const char *name = NULL;

	if ((unsigned)kind < VMX_CONTROL_KINDS && bit < 32)
		name = kinds[kind].names[bit];
	return name ? name : "reserved";
}
