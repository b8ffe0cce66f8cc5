/* SPDX-License-Identifier: Apache-2.0 */
/* Model-specific registers: which there are, and what cannot be written. */
#include "machine.h"

#include <inttypes.h>

/* Control words: bits that must be 1, bits that can be (SDM A.3 to A.5). */
static uint64_t control(uint32_t must, uint32_t can)
{
	return (uint64_t)(must | can) << 32 | must;
}

static uint32_t secondary_controls(uint32_t features)
{
	uint32_t can = CPU2_ENABLE_EPT | CPU2_UNRESTRICTED_GUEST | CPU2_WBINVD_EXITING |
		       CPU2_DESCRIPTOR_TABLE_EXITING | CPU2_RDRAND_EXITING | CPU2_RDSEED_EXITING;

	if (features & MODEL_RDTSCP)
		can |= CPU2_ENABLE_RDTSCP;
	if (features & MODEL_INVPCID)
		can |= CPU2_ENABLE_INVPCID;
	if (features & MODEL_XSAVES)
		can |= CPU2_ENABLE_XSAVES;
	if (features & MODEL_VPID)
		can |= CPU2_ENABLE_VPID;
	if (features & MODEL_APIC_ACCESS)
		can |= CPU2_VIRTUALIZE_APIC_ACCESSES | CPU2_VIRTUALIZE_X2APIC_MODE;
	if (features & MODEL_APICV)
		can |= CPU2_VIRTUAL_INTERRUPT_DELIVERY | CPU2_APIC_REGISTER_VIRTUALIZATION;
	if (features & MODEL_BARE_CONTROLS)
		can &= ~(uint32_t)(CPU2_ENABLE_RDTSCP | CPU2_ENABLE_INVPCID | CPU2_ENABLE_XSAVES);
	return can;
}

static uint64_t ept_vpid(uint32_t features)
{
	uint64_t cap = EPT_CAP_WALK_4 | EPT_CAP_WB | EPT_CAP_UC | EPT_CAP_2M | EPT_CAP_1G | EPT_CAP_INVEPT |
		       EPT_CAP_INVEPT_ALL;

	if (features & MODEL_INVEPT_SINGLE)
		cap |= EPT_CAP_INVEPT_SINGLE;
	if (features & MODEL_EPT_5)
		cap |= EPT_CAP_WALK_5;
	if (features & MODEL_EPT_AD)
		cap |= EPT_CAP_ACCESSED_DIRTY;
	if (features & MODEL_VPID)
		cap |= VPID_CAP_INVVPID | VPID_CAP_INVVPID_ADDRESS | VPID_CAP_INVVPID_SINGLE | VPID_CAP_INVVPID_ALL;
	return cap;
}

static void reset_vmx(struct model *m, struct cpu *c)
{
	const uint32_t pin_can = PIN_EXTERNAL_INTERRUPT_EXITING | PIN_NMI_EXITING | PIN_VIRTUAL_NMIS |
				 (m->features & MODEL_TIMER ? PIN_PREEMPTION_TIMER : 0);
	const uint32_t cpu_can = UINT32_MAX & ~(uint32_t)(BIT(0) | BIT(17) | BIT(18) |
						(m->features & MODEL_NO_MONITOR_TRAP ? CPU_MONITOR_TRAP_FLAG : 0));
	const uint32_t exit_can = EXIT_SAVE_DEBUG_CONTROLS | EXIT_HOST_ADDRESS_SPACE_SIZE |
				  EXIT_ACKNOWLEDGE_INTERRUPT | EXIT_SAVE_PAT | EXIT_LOAD_PAT | EXIT_SAVE_EFER |
				  EXIT_LOAD_EFER | (m->features & MODEL_TIMER ? EXIT_SAVE_PREEMPTION_TIMER : 0);
	const uint32_t entry_can = ENTRY_LOAD_DEBUG_CONTROLS | ENTRY_IA32E_MODE_GUEST | ENTRY_LOAD_PAT |
				   ENTRY_LOAD_EFER;

	msr_set(c, X86VCPU_MSR_IA32_FEATURE_CONTROL, FEATURE_CONTROL_LOCK | BIT(2));
	msr_set(c, X86VCPU_MSR_IA32_VMX_BASIC, REVISION | BIT(32 + 12) | (uint64_t)VMX_MEMORY_WB << 50 |
						       VMX_BASIC_INS_OUTS_INFO | VMX_BASIC_TRUE_CONTROLS);
	msr_set(c, X86VCPU_MSR_IA32_VMX_PINBASED_CTLS, control(0x16, pin_can));
	msr_set(c, X86VCPU_MSR_IA32_VMX_TRUE_PINBASED_CTLS, control(0x16, pin_can));
	msr_set(c, X86VCPU_MSR_IA32_VMX_PROCBASED_CTLS, control(0x0401e172, cpu_can));
	msr_set(c, X86VCPU_MSR_IA32_VMX_TRUE_PROCBASED_CTLS, control(0x04006172, cpu_can));
	msr_set(c, X86VCPU_MSR_IA32_VMX_EXIT_CTLS, control(0x36dff, exit_can));
	msr_set(c, X86VCPU_MSR_IA32_VMX_TRUE_EXIT_CTLS, control(0x36dfb, exit_can));
	msr_set(c, X86VCPU_MSR_IA32_VMX_ENTRY_CTLS, control(0x11ff, entry_can));
	msr_set(c, X86VCPU_MSR_IA32_VMX_TRUE_ENTRY_CTLS, control(0x11fb, entry_can));
	msr_set(c, X86VCPU_MSR_IA32_VMX_PROCBASED_CTLS2, control(0, secondary_controls(m->features)));
	msr_set(c, X86VCPU_MSR_IA32_VMX_MISC, 5 | VMX_MISC_EXIT_STORES_LMA | VMX_MISC_ACTIVITY_HLT |
						      VMX_MISC_ACTIVITY_SHUTDOWN | VMX_MISC_ACTIVITY_WAIT_FOR_SIPI |
						      4 << 16 | VMX_MISC_ZERO_LENGTH_INJECTION);
	msr_set(c, X86VCPU_MSR_IA32_VMX_CR0_FIXED0, CR0_PE | CR0_NE | CR0_PG);
	msr_set(c, X86VCPU_MSR_IA32_VMX_CR0_FIXED1, UINT32_MAX);
	msr_set(c, X86VCPU_MSR_IA32_VMX_CR4_FIXED0, CR4_VMXE);
	msr_set(c, X86VCPU_MSR_IA32_VMX_CR4_FIXED1,
		0x7727ff | CR4_UMIP | (m->features & MODEL_LA57 ? CR4_LA57 : 0));
	msr_set(c, X86VCPU_MSR_IA32_VMX_VMCS_ENUM, 0x2e);
	msr_set(c, X86VCPU_MSR_IA32_VMX_EPT_VPID_CAP, ept_vpid(m->features));
}

static void reset_svm(struct cpu *c)
{
	msr_set(c, X86VCPU_MSR_VM_CR, 0);
	msr_set(c, X86VCPU_MSR_VM_HSAVE_PA, 0);
	msr_set(c, X86VCPU_MSR_SYSCFG, 0);
	msr_set(c, X86VCPU_MSR_HWCR, 0x1000010);
	msr_set(c, X86VCPU_MSR_DE_CFG, 2);
	msr_set(c, X86VCPU_MSR_TSC_RATIO, BIT(32));
}

/* Values that tell the host's from a guest's at a glance. */
void msr_reset(struct model *m, struct cpu *c)
{
	static const struct msr common[] = {
		{X86VCPU_MSR_IA32_APIC_BASE, 0xfee00900},
		{X86VCPU_MSR_IA32_PAT, 0x0407050600070106},
		{X86VCPU_MSR_IA32_EFER, EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE},
		{X86VCPU_MSR_IA32_STAR, 0x0023001000000000},
		{X86VCPU_MSR_IA32_LSTAR, 0xffffffff81000010},
		{X86VCPU_MSR_IA32_CSTAR, 0xffffffff81000020},
		{X86VCPU_MSR_IA32_FMASK, 0x47700},
		{X86VCPU_MSR_IA32_FS_BASE, 0x00007f0000001000},
		{X86VCPU_MSR_IA32_GS_BASE, 0xffff888000002000},
		{X86VCPU_MSR_IA32_KERNEL_GS_BASE, 0x00007f0000003000},
		{X86VCPU_MSR_IA32_SYSENTER_CS, 0x10},
		{X86VCPU_MSR_IA32_SYSENTER_ESP, 0xfffffe0000003000},
		{X86VCPU_MSR_IA32_SYSENTER_EIP, 0xffffffff81000030},
		{X86VCPU_MSR_IA32_TIME_STAMP_COUNTER, 0},
		{X86VCPU_MSR_IA32_MTRRCAP, 0x508},
		{X86VCPU_MSR_IA32_MTRR_DEF_TYPE, 0xc06},
		{X86VCPU_MSR_IA32_MTRR_FIX64K_00000, 0x0606060606060606},
		{X86VCPU_MSR_IA32_DEBUGCTL, 0},
		{X86VCPU_MSR_IA32_MISC_ENABLE, 0x850089},
		{X86VCPU_MSR_IA32_MCG_CAP, 0xa},
		{X86VCPU_MSR_IA32_BIOS_SIGN_ID, UINT64_C(0x2a) << 32},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(common); i++)
		msr_set(c, common[i].index, common[i].value);
	if (m->features & MODEL_RDTSCP)
		msr_set(c, X86VCPU_MSR_IA32_TSC_AUX, 0x77);
	if (m->features & MODEL_XSAVES)
		msr_set(c, X86VCPU_MSR_IA32_XSS, 0);
	if (m->features & MODEL_TSC_DEADLINE)
		msr_set(c, X86VCPU_MSR_IA32_TSC_DEADLINE, 0);
	msr_set(c, X86VCPU_MSR_IA32_SPEC_CTRL, 0);
	if (m->backend == MODEL_VMX)
		msr_set(c, X86VCPU_MSR_IA32_PRED_CMD, 0);
	if (m->backend == MODEL_VMX)
		reset_vmx(m, c);
	else
		reset_svm(c);
}

#define SPEC_CTRL_7_EDX (CPUID_7_EDX_IBRS_IBPB | CPUID_7_EDX_STIBP | CPUID_7_EDX_SSBD)
#define SPEC_CTRL_8_EBX (CPUID_80000008_EBX_IBRS | CPUID_80000008_EBX_STIBP | CPUID_80000008_EBX_SSBD)

static void forget(struct cpu *c, uint32_t index)
{
	for (unsigned i = 0; i < c->msr_count; i++)
		if (c->msrs[i].index == index)
			c->msrs[i] = c->msrs[--c->msr_count];
}

/* Which of them exist (SDM Vol. 4, table 2-2; APM Vol. 3, E.4.7). */
void msr_reset_profile(struct model *m, struct cpu *c)
{
	const struct model_profile *p = m->profile;
	const struct {
		uint32_t index;
		bool exists;
		uint64_t value;
	} msrs[] = {
		{X86VCPU_MSR_IA32_SPEC_CTRL, p->leaf_7_edx & SPEC_CTRL_7_EDX || p->leaf_8_ebx & SPEC_CTRL_8_EBX,
		 p->spec_ctrl},
		{X86VCPU_MSR_IA32_PRED_CMD,
		 p->leaf_7_edx & CPUID_7_EDX_IBRS_IBPB || p->leaf_8_ebx & CPUID_80000008_EBX_IBPB, 0},
		{X86VCPU_MSR_IA32_FLUSH_CMD, p->leaf_7_edx & CPUID_7_EDX_L1D_FLUSH, 0},
		{X86VCPU_MSR_IA32_ARCH_CAPABILITIES, p->leaf_7_edx & CPUID_7_EDX_ARCH_CAPABILITIES, p->arch_capabilities},
		{X86VCPU_MSR_BP_CFG, p->leaf_21_eax & CPUID_80000021_EAX_SRSO_MSR_FIX, p->bp_cfg},
		{X86VCPU_MSR_IA32_EFER, true, *msr_find(c, X86VCPU_MSR_IA32_EFER) | p->efer},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(msrs); i++) {
		if (msrs[i].exists)
			msr_set(c, msrs[i].index, msrs[i].value);
		else
			forget(c, msrs[i].index);
	}
}

uint64_t *msr_find(struct cpu *c, uint32_t index)
{
	for (unsigned i = 0; i < c->msr_count; i++)
		if (c->msrs[i].index == index)
			return &c->msrs[i].value;
	return NULL;
}

void msr_set(struct cpu *c, uint32_t index, uint64_t value)
{
	uint64_t *slot = msr_find(c, index);

	if (!slot && c->msr_count < MODEL_MSRS) {
		c->msrs[c->msr_count] = (struct msr){index, 0};
		slot = &c->msrs[c->msr_count++].value;
	}
	if (slot)
		*slot = value;
}

uint64_t msr_value(uint32_t index)
{
	const uint64_t *slot = msr_find(cpu, index);

	return slot ? *slot : 0;
}

/* ---- What a write may not have (SDM Vol. 4) ------------------------------------------------------------------ */

static bool pat_is_valid(uint64_t value)
{
	for (unsigned i = 0; i < 8; i++, value >>= 8)
		if ((value & 0xff) > 7 || (value & 0xff) == 2 || (value & 0xff) == 3)
			return false;
	return true;
}

/* Bits of SPEC_CTRL by their features (SDM Vol. 4, table 2-2; APM 3.2.9). */
static uint64_t spec_ctrl_bits(void)
{
	const struct model_profile *p = model->profile;
	uint64_t bits = 0;

	if (!p)
		return SPEC_CTRL_IBRS | SPEC_CTRL_STIBP | SPEC_CTRL_SSBD;
	if (p->leaf_7_edx & CPUID_7_EDX_IBRS_IBPB || p->leaf_8_ebx & CPUID_80000008_EBX_IBRS)
		bits |= SPEC_CTRL_IBRS;
	/* SDM Vol. 4: STIBP may be set where IBRS exists; without the feature it has no effect. */
	if (bits || p->leaf_7_edx & CPUID_7_EDX_STIBP || p->leaf_8_ebx & CPUID_80000008_EBX_STIBP)
		bits |= SPEC_CTRL_STIBP;
	if (p->leaf_7_edx & CPUID_7_EDX_SSBD || p->leaf_8_ebx & CPUID_80000008_EBX_SSBD)
		bits |= SPEC_CTRL_SSBD;
	if (p->leaf_7_2_edx & CPUID_7_2_EDX_PSFD || p->leaf_8_ebx & CPUID_80000008_EBX_PSFD)
		bits |= SPEC_CTRL_PSFD;
	if (p->leaf_7_2_edx & CPUID_7_2_EDX_IPRED_CTRL)
		bits |= SPEC_CTRL_IPRED_DIS;
	if (p->leaf_7_2_edx & CPUID_7_2_EDX_RRSBA_CTRL)
		bits |= SPEC_CTRL_RRSBA_DIS;
	if (p->leaf_7_2_edx & CPUID_7_2_EDX_DDPD_U)
		bits |= SPEC_CTRL_DDPD_U;
	if (p->leaf_7_2_edx & CPUID_7_2_EDX_BHI_CTRL)
		bits |= SPEC_CTRL_BHI_DIS_S;
	return bits;
}

static uint64_t pred_cmd_bits(void)
{
	const bool sbpb = model->profile && model->profile->leaf_21_eax & CPUID_80000021_EAX_SBPB;

	return PRED_CMD_IBPB | (sbpb ? PRED_CMD_SBPB : 0);
}

static bool may_write(uint32_t index, uint64_t value)
{
	switch (index) {
	case X86VCPU_MSR_IA32_SPEC_CTRL:
		return !(value & ~spec_ctrl_bits());
	case X86VCPU_MSR_IA32_PRED_CMD:
		return !(value & ~pred_cmd_bits());
	case X86VCPU_MSR_IA32_FLUSH_CMD:
		return !(value & ~FLUSH_CMD_L1D);
	case X86VCPU_MSR_IA32_ARCH_CAPABILITIES:
		return false;
	case X86VCPU_MSR_IA32_EFER:
		return !(value & ~(EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE |
				   (model->profile && model->profile->leaf_21_eax & CPUID_80000021_EAX_AUTOMATIC_IBRS
					    ? EFER_AIBRSE : 0) |
				   (model->backend == MODEL_SVM ? EFER_SVME | EFER_FFXSR | EFER_LMSLE | EFER_TCE : 0)));
	case X86VCPU_MSR_IA32_PAT:
		return pat_is_valid(value);
	case X86VCPU_MSR_IA32_FS_BASE:
	case X86VCPU_MSR_IA32_GS_BASE:
	case X86VCPU_MSR_IA32_KERNEL_GS_BASE:
	case X86VCPU_MSR_IA32_LSTAR:
	case X86VCPU_MSR_IA32_CSTAR:
	case X86VCPU_MSR_IA32_SYSENTER_ESP:
	case X86VCPU_MSR_IA32_SYSENTER_EIP:
		return canonical(value);
	case X86VCPU_MSR_IA32_FMASK:
	case X86VCPU_MSR_IA32_TSC_AUX:
		return !(value >> 32);
	case X86VCPU_MSR_IA32_XSS:
		return !(value & ~BIT(8));
	case X86VCPU_MSR_IA32_FEATURE_CONTROL:
		return !(msr_value(index) & FEATURE_CONTROL_LOCK);
	case X86VCPU_MSR_VM_HSAVE_PA:
		return !(value & 0xfff);
	default:
		return index < X86VCPU_MSR_IA32_VMX_BASIC || index > X86VCPU_MSR_IA32_VMX_EXIT_CTLS2;
	}
}

/* Of which nothing can be read, and a write leaves nothing. */
static bool is_command(uint32_t index)
{
	return index == X86VCPU_MSR_IA32_PRED_CMD || index == X86VCPU_MSR_IA32_FLUSH_CMD;
}

/* Natively by the guest, of a register that no VMCS or VMCB switches. */
bool msr_guest_write(uint32_t index, uint64_t value)
{
	if (!msr_find(cpu, index) || !may_write(index, value))
		return false;
	if (!is_command(index))
		msr_set(cpu, index, value);
	return true;
}

/* ---- Instructions ---------------------------------------------------------------------------------------------- */

uint32_t model_try_rdmsr(uint32_t index, uint64_t *value)
{
	const uint64_t *slot = is_command(index) ? NULL : msr_find(cpu, index);

	if (slot)
		*value = *slot;
	return !slot;
}

uint64_t model_rdmsr(uint32_t index)
{
	uint64_t value = 0;

	if (model_try_rdmsr(index, &value))
		complain("#GP: RDMSR %" PRIx32, index);
	trace(MODEL_TRACE_RDMSR, index, value);
	return value;
}

void model_wrmsr(uint32_t index, uint64_t value)
{
	if (!msr_find(cpu, index) || !may_write(index, value)) {
		complain("#GP: WRMSR %" PRIx32 " with %" PRIx64, index, value);
	} else if (!is_command(index)) {
		note_write(index, msr_value(index), value);
		msr_set(cpu, index, value);
	}
	trace(MODEL_TRACE_WRMSR, index, value);
}
