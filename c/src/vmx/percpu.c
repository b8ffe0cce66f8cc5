/* SPDX-License-Identifier: Apache-2.0 */
/* VMX operation on one CPU: on and off (SDM 24.6 to 24.8). */
#include "cpu/insn.h"
#include "cpu/libc.h"
#include "cpu/x86.h"
#include "emul/log.h"
#include "vmx/vmx.h"
#include "x86vcpu/msr.h"

#define FEATURE_CONTROL_VMX_INSIDE_SMX (UINT64_C(1) << 1)
#define FEATURE_CONTROL_VMX_OUTSIDE_SMX (UINT64_C(1) << 2)

/* SDM 24.7: without the lock VMXON faults; once locked, only a reset changes it. */
static int32_t open_feature_control(void)
{
	/* In SMX operation VMXON asks for the other bit; only with CR4.SMXE set can the CPU be in it (SDM Vol. 2, 7.2). */
	const uint64_t inside = insn_read_cr4() & CR4_SMXE ? FEATURE_CONTROL_VMX_INSIDE_SMX : 0;
	const uint64_t wanted = FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMX_OUTSIDE_SMX | inside;
	const uint64_t value = insn_rdmsr(X86VCPU_MSR_IA32_FEATURE_CONTROL);

	if (!(value & FEATURE_CONTROL_LOCK)) {
		insn_wrmsr(X86VCPU_MSR_IA32_FEATURE_CONTROL, value | wanted);
		return X86VCPU_OK;
	}
	return (value & wanted) == wanted ? X86VCPU_OK : X86VCPU_ERR_FIRMWARE_DISABLED;
}

/*
 * SDM A.7, A.8: bits that are 1 in FIXED0 must be 1 in VMX operation, bits that are 0 in FIXED1 must
 * be 0. We set the former; the latter are the host's to clear.
 */
static int32_t fixed_value(uint64_t value, uint32_t fixed0_msr, uint32_t fixed1_msr, uint64_t *result)
{
	*result = value | insn_rdmsr(fixed0_msr);
	return *result & ~insn_rdmsr(fixed1_msr) ? X86VCPU_ERR_BAD_STATE : X86VCPU_OK;
}

static int32_t vmx_on(struct backend_cpu *cpu)
{
	uint64_t cr0, cr4;

	/* The host ops since the first check may have come back for this CPU. */
	if (insn_read_cr4() & CR4_VMXE)
		return X86VCPU_ERR_RESOURCE_BUSY;
	cpu->old_cr0 = insn_read_cr0();
	cpu->old_cr4 = insn_read_cr4();
	if (fixed_value(cpu->old_cr0, X86VCPU_MSR_IA32_VMX_CR0_FIXED0, X86VCPU_MSR_IA32_VMX_CR0_FIXED1, &cr0) ||
	    fixed_value(cpu->old_cr4 | context_host_cr4(), X86VCPU_MSR_IA32_VMX_CR4_FIXED0,
			X86VCPU_MSR_IA32_VMX_CR4_FIXED1, &cr4))
		return X86VCPU_ERR_BAD_STATE;
	insn_write_cr0(cr0);
	insn_write_cr4(cr4);
	if (insn_vmxon(cpu->region_hpa))
		return X86VCPU_OK;
	insn_write_cr4(cpu->old_cr4);
	insn_write_cr0(cpu->old_cr0);
	return X86VCPU_ERR_BAD_STATE;
}

static int32_t alloc_region(struct backend_cpu *cpu, uint64_t basic)
{
	uint32_t *region;

	cpu->region_hpa = cpu->host->alloc_frame(cpu->ctx);
	if (!cpu->region_hpa)
		return X86VCPU_ERR_NO_MEMORY;
	region = cpu->host->phys_to_virt(cpu->ctx, cpu->region_hpa);
	memset(region, 0, 4096);
	region[0] = vmx_basic_revision(basic);
	return X86VCPU_OK;
}

/* Tags of an earlier owner of this CPU, or of our own earlier life, must not be believed. */
static void reset_tags(struct backend_cpu *cpu, uint64_t ept_vpid)
{
	cpu->next_tag = 1; /* VPID 0 is the host's */
	cpu->last_tag = 0xffff;
	cpu->tag_generation++;
	if (ept_vpid & VPID_CAP_INVVPID_ALL)
		insn_invvpid(2, 0);
	if (ept_vpid & EPT_CAP_INVEPT_ALL)
		insn_invept(2, 0);
}

int32_t vmx_cpu_enable(struct backend_cpu *cpu)
{
	struct vmx_capability capability;
	int32_t status;

	if (insn_read_cr4() & CR4_VMXE)
		return X86VCPU_ERR_RESOURCE_BUSY;
	status = open_feature_control();
	if (!status)
		status = vmx_read_capability(cpu->host, cpu->ctx, &capability);
	if (!status)
		status = alloc_region(cpu, capability.basic);
	if (status)
		return status;
	status = vmx_on(cpu);
	if (status) {
		cpu->host->free_frame(cpu->ctx, cpu->region_hpa);
		cpu->region_hpa = 0;
		return status;
	}
	if (!(capability.controls[VMX_CONTROL_PIN] & PIN_PREEMPTION_TIMER))
		LOG(cpu->host, cpu->ctx, LOG_WARN,
		    "VT-x: this CPU has no preemption timer, so only the host's interrupts end a time slice");
	reset_tags(cpu, capability.ept_vpid);
	return X86VCPU_OK;
}

/*
 * CR0 and CR4 go back only in the bits that enable set: what the host changed since then stays. Neither
 * NE nor any other fixed bit of CR0 may be cleared before VMXOFF (SDM 24.8).
 */
void vmx_cpu_disable(struct backend_cpu *cpu)
{
	const uint64_t set_in_cr4 = context_host_cr4() | CR4_VMXE;
	const uint64_t cr4 = insn_read_cr4(), cr0 = insn_read_cr0();

	insn_vmxoff();
	insn_write_cr4((cr4 & ~set_in_cr4) | (cpu->old_cr4 & set_in_cr4));
	insn_write_cr0((cr0 & ~CR0_NE) | (cpu->old_cr0 & CR0_NE));
	cpu->host->free_frame(cpu->ctx, cpu->region_hpa);
	cpu->region_hpa = 0;
}
