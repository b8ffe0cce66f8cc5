/* SPDX-License-Identifier: Apache-2.0 */
#include "x86vcpu/svm.h"

static const char *const names[] = {
	[X86VCPU_SVM_EXIT_INTR] = "physical interrupt",
	[X86VCPU_SVM_EXIT_NMI] = "NMI",
	[X86VCPU_SVM_EXIT_SMI] = "SMI",
	[X86VCPU_SVM_EXIT_INIT] = "INIT",
	[X86VCPU_SVM_EXIT_VINTR] = "virtual interrupt",
	[X86VCPU_SVM_EXIT_CR0_SEL_WRITE] = "selective CR0 write",
	[X86VCPU_SVM_EXIT_IDTR_READ] = "SIDT",
	[X86VCPU_SVM_EXIT_GDTR_READ] = "SGDT",
	[X86VCPU_SVM_EXIT_LDTR_READ] = "SLDT",
	[X86VCPU_SVM_EXIT_TR_READ] = "STR",
	[X86VCPU_SVM_EXIT_IDTR_WRITE] = "LIDT",
	[X86VCPU_SVM_EXIT_GDTR_WRITE] = "LGDT",
	[X86VCPU_SVM_EXIT_LDTR_WRITE] = "LLDT",
	[X86VCPU_SVM_EXIT_TR_WRITE] = "LTR",
	[X86VCPU_SVM_EXIT_RDTSC] = "RDTSC",
	[X86VCPU_SVM_EXIT_RDPMC] = "RDPMC",
	[X86VCPU_SVM_EXIT_PUSHF] = "PUSHF",
	[X86VCPU_SVM_EXIT_POPF] = "POPF",
	[X86VCPU_SVM_EXIT_CPUID] = "CPUID",
	[X86VCPU_SVM_EXIT_RSM] = "RSM",
	[X86VCPU_SVM_EXIT_IRET] = "IRET",
	[X86VCPU_SVM_EXIT_INTN] = "INT n",
	[X86VCPU_SVM_EXIT_INVD] = "INVD",
	[X86VCPU_SVM_EXIT_PAUSE] = "PAUSE",
	[X86VCPU_SVM_EXIT_HLT] = "HLT",
	[X86VCPU_SVM_EXIT_INVLPG] = "INVLPG",
	[X86VCPU_SVM_EXIT_INVLPGA] = "INVLPGA",
	[X86VCPU_SVM_EXIT_IOIO] = "IN or OUT",
	[X86VCPU_SVM_EXIT_MSR] = "RDMSR or WRMSR",
	[X86VCPU_SVM_EXIT_TASK_SWITCH] = "task switch",
	[X86VCPU_SVM_EXIT_FERR_FREEZE] = "FERR freeze",
	[X86VCPU_SVM_EXIT_SHUTDOWN] = "shutdown",
	[X86VCPU_SVM_EXIT_VMRUN] = "VMRUN",
	[X86VCPU_SVM_EXIT_VMMCALL] = "VMMCALL",
	[X86VCPU_SVM_EXIT_VMLOAD] = "VMLOAD",
	[X86VCPU_SVM_EXIT_VMSAVE] = "VMSAVE",
	[X86VCPU_SVM_EXIT_STGI] = "STGI",
	[X86VCPU_SVM_EXIT_CLGI] = "CLGI",
	[X86VCPU_SVM_EXIT_SKINIT] = "SKINIT",
	[X86VCPU_SVM_EXIT_RDTSCP] = "RDTSCP",
	[X86VCPU_SVM_EXIT_ICEBP] = "INT1",
	[X86VCPU_SVM_EXIT_WBINVD] = "WBINVD",
	[X86VCPU_SVM_EXIT_MONITOR] = "MONITOR",
	[X86VCPU_SVM_EXIT_MWAIT] = "MWAIT",
	[X86VCPU_SVM_EXIT_MWAIT_ARMED] = "MWAIT with monitoring armed",
	[X86VCPU_SVM_EXIT_XSETBV] = "XSETBV",
	[X86VCPU_SVM_EXIT_RDPRU] = "RDPRU",
	[X86VCPU_SVM_EXIT_EFER_WRITE_TRAP] = "EFER write trap",
	[X86VCPU_SVM_EXIT_INVLPGB] = "INVLPGB",
	[X86VCPU_SVM_EXIT_INVLPGB_ILLEGAL] = "illegal INVLPGB",
	[X86VCPU_SVM_EXIT_INVPCID] = "INVPCID",
	[X86VCPU_SVM_EXIT_MCOMMIT] = "MCOMMIT",
	[X86VCPU_SVM_EXIT_TLBSYNC] = "TLBSYNC",
	[X86VCPU_SVM_EXIT_BUS_LOCK] = "bus lock",
	[X86VCPU_SVM_EXIT_IDLE_HLT] = "idle HLT",
};

static const char *range_name(uint64_t code)
{
	if (code <= X86VCPU_SVM_EXIT_CR15_READ)
		return "CR read";
	if (code <= X86VCPU_SVM_EXIT_CR15_WRITE)
		return "CR write";
	if (code < X86VCPU_SVM_EXIT_DR0_WRITE)
		return "DR read";
	if (code <= X86VCPU_SVM_EXIT_DR15_WRITE)
		return "DR write";
	if (code <= X86VCPU_SVM_EXIT_EXCEPTION_LAST)
		return "exception";
	if (code >= X86VCPU_SVM_EXIT_CR0_WRITE_TRAP && code <= X86VCPU_SVM_EXIT_CR15_WRITE_TRAP)
		return "CR write trap";
	return "unknown exit code";
}

const char *x86vcpu_svm_exit_name(uint64_t code)
{
	if (code == X86VCPU_SVM_EXIT_NPF)
		return "nested page fault";
	if (code == X86VCPU_SVM_EXIT_AVIC_INCOMPLETE_IPI || code == X86VCPU_SVM_EXIT_AVIC_NOACCEL)
		return "AVIC";
	if (code == X86VCPU_SVM_EXIT_VMGEXIT)
		return "VMGEXIT";
	if ((uint32_t)code == (uint32_t)X86VCPU_SVM_EXIT_INVALID)
		return "invalid guest state";
	if ((uint32_t)code == (uint32_t)X86VCPU_SVM_EXIT_BUSY)
		return "VMSA busy";
	if ((uint32_t)code == (uint32_t)X86VCPU_SVM_EXIT_IDLE_REQUIRED)
		return "idle required";
	if (code < sizeof(names) / sizeof(names[0]) && names[code])
		return names[code];
	return range_name(code);
}
