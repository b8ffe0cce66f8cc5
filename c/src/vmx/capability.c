/* SPDX-License-Identifier: Apache-2.0 */
/* What the executing CPU's VMX can do (SDM appendix A), against what the library needs. */
#include "cpu/insn.h"
#include "cpu/x86.h"
#include "emul/log.h"
#include "vmx/vmx.h"
#include "x86vcpu/msr.h"

/*
 * The library's choice of controls. Not listed: left at their defaults (SDM A.2), among them
 * save/load of debug controls (DR7, IA32_DEBUGCTL), which default to 1. CR8 is the host's task priority
 * unless it exits or there is a TPR shadow; setup.c chooses.
 */
static const struct vmx_control_request requests[VMX_CONTROL_KINDS] = {
	[VMX_CONTROL_PIN] = {
		.required = PIN_EXTERNAL_INTERRUPT_EXITING | PIN_NMI_EXITING | PIN_VIRTUAL_NMIS,
		.wanted = PIN_PREEMPTION_TIMER,
		.forbidden = PIN_POSTED_INTERRUPTS,
	},
	[VMX_CONTROL_CPU] = {
		.required = CPU_USE_TSC_OFFSETTING | CPU_HLT_EXITING | CPU_MWAIT_EXITING | CPU_RDPMC_EXITING |
			    CPU_CR8_LOAD_EXITING | CPU_CR8_STORE_EXITING | CPU_MOV_DR_EXITING |
			    CPU_USE_IO_BITMAPS | CPU_USE_MSR_BITMAPS | CPU_MONITOR_EXITING |
			    CPU_SECONDARY_CONTROLS,
		.forbidden = CPU_INTERRUPT_WINDOW_EXITING | CPU_NMI_WINDOW_EXITING | CPU_RDTSC_EXITING |
			     CPU_INVLPG_EXITING | CPU_CR3_LOAD_EXITING | CPU_CR3_STORE_EXITING |
			     CPU_MONITOR_TRAP_FLAG | CPU_PAUSE_EXITING | CPU_TERTIARY_CONTROLS,
		.wanted = CPU_USE_TPR_SHADOW,
	},
	[VMX_CONTROL_CPU2] = {
		.required = CPU2_ENABLE_EPT | CPU2_UNRESTRICTED_GUEST | CPU2_WBINVD_EXITING,
		.wanted = CPU2_ENABLE_RDTSCP | CPU2_ENABLE_VPID | CPU2_ENABLE_INVPCID | CPU2_ENABLE_XSAVES |
			  CPU2_ENCLS_EXITING,
	},
	[VMX_CONTROL_EXIT] = {
		.required = EXIT_SAVE_DEBUG_CONTROLS | EXIT_HOST_ADDRESS_SPACE_SIZE |
			    EXIT_ACKNOWLEDGE_INTERRUPT | EXIT_SAVE_PAT | EXIT_LOAD_PAT | EXIT_SAVE_EFER |
			    EXIT_LOAD_EFER,
		.wanted = EXIT_SAVE_PREEMPTION_TIMER,
	},
	[VMX_CONTROL_ENTRY] = {
		.required = ENTRY_LOAD_DEBUG_CONTROLS | ENTRY_LOAD_PAT | ENTRY_LOAD_EFER,
		.forbidden = ENTRY_IA32E_MODE_GUEST | ENTRY_TO_SMM | ENTRY_DEACTIVATE_DUAL_MONITOR,
	},
};

struct requirement {
	uint64_t bits, value;
	const char *text;
};

static const struct requirement basic_requirements[] = {
	{VMX_BASIC_32BIT_ADDRESSES, 0, "physical addresses of more than 32 bits in VMX structures"},
	{VMX_BASIC_INS_OUTS_INFO, VMX_BASIC_INS_OUTS_INFO, "instruction information for INS and OUTS"},
};

static const struct requirement ept_requirements[] = {
	{EPT_CAP_WALK_4, EPT_CAP_WALK_4, "EPT with four levels"},
	{EPT_CAP_WB, EPT_CAP_WB, "EPT structures in write-back memory"},
	{EPT_CAP_INVEPT, EPT_CAP_INVEPT, "INVEPT"},
};

struct log_target {
	const struct x86vcpu_host_ops *host;
	void *ctx;
};

static int32_t lacks(const struct log_target *log, const char *what)
{
	LOG(log->host, log->ctx, LOG_ERROR, "VT-x: this CPU lacks ", what);
	return X86VCPU_ERR_UNSUPPORTED;
}

static int32_t check(const struct log_target *log, uint64_t msr, const struct requirement *list, unsigned count)
{
	int32_t status = X86VCPU_OK;

	for (unsigned i = 0; i < count; i++)
		if ((msr & list[i].bits) != list[i].value)
			status = lacks(log, list[i].text);
	return status;
}

static void log_bits(const struct log_target *log, enum vmx_control_kind kind, uint32_t bits, const char *what)
{
	for (unsigned bit = 0; bit < 32; bit++)
		if (bits >> bit & 1)
			LOG(log->host, log->ctx, LOG_ERROR, "VT-x: control ", vmx_control_name(kind, bit), what);
}

static int32_t choose(const struct log_target *log, enum vmx_control_kind kind,
		      struct vmx_capability *capability)
{
	struct vmx_control_choice choice;
	const uint64_t msr = insn_rdmsr(vmx_control_msr(kind, capability->basic));
	const int32_t status = vmx_control_choose(kind, msr, &requests[kind], &choice);

	if (!status) {
		capability->controls[kind] = choice.value;
		return status;
	}
	log_bits(log, kind, choice.missing, " cannot be 1 on this CPU");
	log_bits(log, kind, choice.forced, " cannot be 0 on this CPU");
	return status;
}

/* IA32_VMX_PROCBASED_CTLS2 exists only where the primary controls can turn it on (SDM A.3.3). */
static bool has_secondary_controls(uint64_t basic)
{
	return insn_rdmsr(vmx_control_msr(VMX_CONTROL_CPU, basic)) >> 32 & CPU_SECONDARY_CONTROLS;
}

int32_t vmx_read_capability(const struct x86vcpu_host_ops *host, void *ctx,
			    struct vmx_capability *capability)
{
	const struct log_target log = {host, ctx};
	int32_t status = X86VCPU_OK;

	*capability = (struct vmx_capability){
		.basic = insn_rdmsr(X86VCPU_MSR_IA32_VMX_BASIC),
		.misc = insn_rdmsr(X86VCPU_MSR_IA32_VMX_MISC),
	};
	if (vmx_basic_region_size(capability->basic) > 4096)
		status = lacks(&log, "a VMCS of at most 4096 bytes");
	if (vmx_basic_memory_type(capability->basic) != VMX_MEMORY_WB)
		status = lacks(&log, "write-back VMX structures");
	if (check(&log, capability->basic, basic_requirements,
		  sizeof(basic_requirements) / sizeof(basic_requirements[0])))
		status = X86VCPU_ERR_UNSUPPORTED;
	if (!has_secondary_controls(capability->basic))
		return lacks(&log, "secondary processor-based controls (EPT, unrestricted guest)");
	capability->monitor_trap_flag = insn_rdmsr(vmx_control_msr(VMX_CONTROL_CPU, capability->basic)) >> 32 &
					CPU_MONITOR_TRAP_FLAG;
	for (unsigned kind = 0; kind < VMX_CONTROL_KINDS; kind++)
		if (choose(&log, kind, capability))
			status = X86VCPU_ERR_UNSUPPORTED;
	if (!(capability->controls[VMX_CONTROL_CPU2] & CPU2_ENABLE_EPT))
		return X86VCPU_ERR_UNSUPPORTED;
	/* IA32_VMX_EPT_VPID_CAP exists with EPT or VPID (SDM A.10). */
	capability->ept_vpid = insn_rdmsr(X86VCPU_MSR_IA32_VMX_EPT_VPID_CAP);
	if (check(&log, capability->ept_vpid, ept_requirements,
		  sizeof(ept_requirements) / sizeof(ept_requirements[0])))
		status = X86VCPU_ERR_UNSUPPORTED;
	return status;
}

void vmx_cpuid_features(const struct guest *g, struct cpuid_config *config)
{
	struct vmx_capability capability;
	uint32_t cpu2;

	/* enable has checked that nothing is missing */
	(void)vmx_read_capability(g->host, g->ctx, &capability);
	cpu2 = capability.controls[VMX_CONTROL_CPU2];
	config->rdtscp = cpu2 & CPU2_ENABLE_RDTSCP;
	config->invpcid = cpu2 & CPU2_ENABLE_INVPCID;
	config->xsaves = cpu2 & CPU2_ENABLE_XSAVES;
	config->pcid = true; /* emulated writes of CR0, CR3 and CR4 flush the guest's tag */
	config->pku = true;  /* PKRU is part of the XSAVE image */
	config->la57 = insn_rdmsr(X86VCPU_MSR_IA32_VMX_CR4_FIXED1) & CR4_LA57;
}
