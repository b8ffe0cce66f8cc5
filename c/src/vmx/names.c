/* SPDX-License-Identifier: Apache-2.0 */
/* Names and texts for the numbers of VT-x. */
#include <stddef.h>
#include <stdint.h>

#include "vmx/vmcs_fields.h"
#include "x86vcpu/vmx.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *text_at(const char *const *texts, size_t count, uint64_t index, const char *otherwise)
{
	return index < count && texts[index] ? texts[index] : otherwise;
}

/* SDM appendix C. */
static const char *const exit_names[] = {
	[X86VCPU_VMX_EXIT_EXCEPTION_OR_NMI] = "exception or NMI",
	[X86VCPU_VMX_EXIT_EXTERNAL_INTERRUPT] = "external interrupt",
	[X86VCPU_VMX_EXIT_TRIPLE_FAULT] = "triple fault",
	[X86VCPU_VMX_EXIT_INIT] = "INIT signal",
	[X86VCPU_VMX_EXIT_SIPI] = "start-up IPI",
	[X86VCPU_VMX_EXIT_IO_SMI] = "I/O SMI",
	[X86VCPU_VMX_EXIT_OTHER_SMI] = "other SMI",
	[X86VCPU_VMX_EXIT_INTERRUPT_WINDOW] = "interrupt window",
	[X86VCPU_VMX_EXIT_NMI_WINDOW] = "NMI window",
	[X86VCPU_VMX_EXIT_TASK_SWITCH] = "task switch",
	[X86VCPU_VMX_EXIT_CPUID] = "CPUID",
	[X86VCPU_VMX_EXIT_GETSEC] = "GETSEC",
	[X86VCPU_VMX_EXIT_HLT] = "HLT",
	[X86VCPU_VMX_EXIT_INVD] = "INVD",
	[X86VCPU_VMX_EXIT_INVLPG] = "INVLPG",
	[X86VCPU_VMX_EXIT_RDPMC] = "RDPMC",
	[X86VCPU_VMX_EXIT_RDTSC] = "RDTSC",
	[X86VCPU_VMX_EXIT_RSM] = "RSM",
	[X86VCPU_VMX_EXIT_VMCALL] = "VMCALL",
	[X86VCPU_VMX_EXIT_VMCLEAR] = "VMCLEAR",
	[X86VCPU_VMX_EXIT_VMLAUNCH] = "VMLAUNCH",
	[X86VCPU_VMX_EXIT_VMPTRLD] = "VMPTRLD",
	[X86VCPU_VMX_EXIT_VMPTRST] = "VMPTRST",
	[X86VCPU_VMX_EXIT_VMREAD] = "VMREAD",
	[X86VCPU_VMX_EXIT_VMRESUME] = "VMRESUME",
	[X86VCPU_VMX_EXIT_VMWRITE] = "VMWRITE",
	[X86VCPU_VMX_EXIT_VMXOFF] = "VMXOFF",
	[X86VCPU_VMX_EXIT_VMXON] = "VMXON",
	[X86VCPU_VMX_EXIT_CR_ACCESS] = "control-register access",
	[X86VCPU_VMX_EXIT_DR_ACCESS] = "MOV DR",
	[X86VCPU_VMX_EXIT_IO] = "I/O instruction",
	[X86VCPU_VMX_EXIT_RDMSR] = "RDMSR",
	[X86VCPU_VMX_EXIT_WRMSR] = "WRMSR",
	[X86VCPU_VMX_EXIT_INVALID_GUEST_STATE] = "VM-entry failure: invalid guest state",
	[X86VCPU_VMX_EXIT_MSR_LOADING] = "VM-entry failure: MSR loading",
	[X86VCPU_VMX_EXIT_MWAIT] = "MWAIT",
	[X86VCPU_VMX_EXIT_MONITOR_TRAP_FLAG] = "monitor trap flag",
	[X86VCPU_VMX_EXIT_MONITOR] = "MONITOR",
	[X86VCPU_VMX_EXIT_PAUSE] = "PAUSE",
	[X86VCPU_VMX_EXIT_ENTRY_MACHINE_CHECK] = "VM-entry failure: machine check",
	[X86VCPU_VMX_EXIT_TPR_BELOW_THRESHOLD] = "TPR below threshold",
	[X86VCPU_VMX_EXIT_APIC_ACCESS] = "APIC access",
	[X86VCPU_VMX_EXIT_VIRTUALIZED_EOI] = "virtualized EOI",
	[X86VCPU_VMX_EXIT_GDTR_OR_IDTR] = "access to GDTR or IDTR",
	[X86VCPU_VMX_EXIT_LDTR_OR_TR] = "access to LDTR or TR",
	[X86VCPU_VMX_EXIT_EPT_VIOLATION] = "EPT violation",
	[X86VCPU_VMX_EXIT_EPT_MISCONFIGURATION] = "EPT misconfiguration",
	[X86VCPU_VMX_EXIT_INVEPT] = "INVEPT",
	[X86VCPU_VMX_EXIT_RDTSCP] = "RDTSCP",
	[X86VCPU_VMX_EXIT_PREEMPTION_TIMER] = "VMX-preemption timer",
	[X86VCPU_VMX_EXIT_INVVPID] = "INVVPID",
	[X86VCPU_VMX_EXIT_WBINVD] = "WBINVD or WBNOINVD",
	[X86VCPU_VMX_EXIT_XSETBV] = "XSETBV",
	[X86VCPU_VMX_EXIT_APIC_WRITE] = "APIC write",
	[X86VCPU_VMX_EXIT_RDRAND] = "RDRAND",
	[X86VCPU_VMX_EXIT_INVPCID] = "INVPCID",
	[X86VCPU_VMX_EXIT_VMFUNC] = "VMFUNC",
	[X86VCPU_VMX_EXIT_ENCLS] = "ENCLS",
	[X86VCPU_VMX_EXIT_RDSEED] = "RDSEED",
	[X86VCPU_VMX_EXIT_PML_FULL] = "page-modification log full",
	[X86VCPU_VMX_EXIT_XSAVES] = "XSAVES",
	[X86VCPU_VMX_EXIT_XRSTORS] = "XRSTORS",
	[X86VCPU_VMX_EXIT_PCONFIG] = "PCONFIG",
	[X86VCPU_VMX_EXIT_SPP] = "sub-page permissions",
	[X86VCPU_VMX_EXIT_UMWAIT] = "UMWAIT",
	[X86VCPU_VMX_EXIT_TPAUSE] = "TPAUSE",
	[X86VCPU_VMX_EXIT_LOADIWKEY] = "LOADIWKEY",
	[X86VCPU_VMX_EXIT_ENCLV] = "ENCLV",
	[X86VCPU_VMX_EXIT_ENQCMD_PASID] = "ENQCMD PASID translation failure",
	[X86VCPU_VMX_EXIT_ENQCMDS_PASID] = "ENQCMDS PASID translation failure",
	[X86VCPU_VMX_EXIT_BUS_LOCK] = "bus lock",
	[X86VCPU_VMX_EXIT_INSTRUCTION_TIMEOUT] = "instruction timeout",
	[X86VCPU_VMX_EXIT_SEAMCALL] = "SEAMCALL",
	[X86VCPU_VMX_EXIT_TDCALL] = "TDCALL",
	[X86VCPU_VMX_EXIT_RDMSRLIST] = "RDMSRLIST",
	[X86VCPU_VMX_EXIT_WRMSRLIST] = "WRMSRLIST",
};

/* SDM 31.4, the table of VM-instruction error numbers. */
static const char *const instruction_errors[] = {
	[0] = "no error",
	[1] = "VMCALL executed in VMX root operation",
	[2] = "VMCLEAR with invalid physical address",
	[3] = "VMCLEAR with VMXON pointer",
	[4] = "VMLAUNCH with non-clear VMCS",
	[5] = "VMRESUME with non-launched VMCS",
	[6] = "VMRESUME after VMXOFF",
	[7] = "VM entry with invalid control fields",
	[8] = "VM entry with invalid host-state fields",
	[9] = "VMPTRLD with invalid physical address",
	[10] = "VMPTRLD with VMXON pointer",
	[11] = "VMPTRLD with incorrect VMCS revision identifier",
	[12] = "VMREAD or VMWRITE of an unsupported VMCS component",
	[13] = "VMWRITE to a read-only VMCS component",
	[15] = "VMXON executed in VMX root operation",
	[16] = "VM entry with invalid executive-VMCS pointer",
	[17] = "VM entry with non-launched executive VMCS",
	[18] = "VM entry with executive-VMCS pointer that is not the VMXON pointer",
	[19] = "VMCALL with non-clear VMCS",
	[20] = "VMCALL with invalid VM-exit control fields",
	[22] = "VMCALL with incorrect MSEG revision identifier",
	[23] = "VMXOFF under dual-monitor treatment of SMIs and SMM",
	[24] = "VMCALL with invalid SMM-monitor features",
	[25] = "VM entry with invalid VM-execution controls in the executive VMCS",
	[26] = "VM entry with events blocked by MOV SS",
	[28] = "invalid operand to INVEPT or INVVPID",
};

/* Exit qualifications of reason 33, SDM 27.8. */
static const char *const invalid_states[] = {
	[0] = "invalid guest state",
	[2] = "PDPTEs could not be loaded",
	[3] = "NMI injected while STI blocks events",
	[4] = "invalid VMCS link pointer",
};

#define FIELD_NAME(name, encoding) { encoding, #name },

static const struct {
	uint32_t encoding;
	const char *name;
} field_names[] = {
	VMCS_FIELDS_16(FIELD_NAME)
	VMCS_FIELDS_64(FIELD_NAME)
	VMCS_FIELDS_32(FIELD_NAME)
	VMCS_FIELDS_NATURAL(FIELD_NAME)
};

const char *x86vcpu_vmx_exit_name(uint32_t reason)
{
	return text_at(exit_names, COUNT(exit_names), reason & X86VCPU_VMX_REASON_BASIC,
		       "unknown exit reason");
}

const char *x86vcpu_vmx_instruction_error(uint32_t error)
{
	return text_at(instruction_errors, COUNT(instruction_errors), error, "unknown error");
}

const char *x86vcpu_vmx_entry_failure(uint32_t reason, uint64_t qualification)
{
	switch (reason & X86VCPU_VMX_REASON_BASIC) {
	case X86VCPU_VMX_EXIT_INVALID_GUEST_STATE:
		return text_at(invalid_states, COUNT(invalid_states), qualification, "unknown cause");
	case X86VCPU_VMX_EXIT_MSR_LOADING:
		return "an MSR of the VM-entry MSR-load list could not be loaded";
	case X86VCPU_VMX_EXIT_ENTRY_MACHINE_CHECK:
		return "machine check";
	default:
		return "unknown cause";
	}
}

const char *vmcs_field_name(uint32_t encoding)
{
	for (size_t i = 0; i < COUNT(field_names); i++)
		if (field_names[i].encoding == encoding)
			return field_names[i].name;
	return NULL;
}
