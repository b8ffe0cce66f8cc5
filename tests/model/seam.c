/* SPDX-License-Identifier: Apache-2.0 */
/* The world switches on the model: what vmx/enter.S and svm/enter.S do, instruction by instruction. */
#include "seam.h"

#include "cpu/switch.h"
#include "svm/svm.h"
#include "vmx/offsets.h"
#include "vmx/vmcs.h"
#include "vmx/vmx.h"

const char vmx_exit_point[1], vmx_mitigated_exit_point[1];

_Static_assert(sizeof(struct x86vcpu_regs) == 16 * sizeof(uint64_t), "in the order of their encoding");

/* ---- Steps, of which the model sees MSRs and VERW ------------------------------------------------------------- */

static void step(const struct guest *g, uint32_t which, uint32_t msr, uint64_t value)
{
	if (g->mitigation.steps & which)
		model_wrmsr(msr, value);
}

static void before_entry(const struct guest *g)
{
	step(g, SWITCH_SPEC_CTRL, SWITCH_MSR_SPEC_CTRL, g->mitigation.guest_spec_ctrl);
	step(g, SWITCH_FLUSH_L1D, SWITCH_MSR_FLUSH_CMD, 1);
	if (g->mitigation.steps & SWITCH_VERW)
		model_verw();
}

static void after_exit(struct guest *g)
{
	step(g, SWITCH_IBPB, SWITCH_MSR_PRED_CMD, 1);
	if (g->mitigation.steps & SWITCH_SAVE_SPEC_CTRL)
		g->mitigation.guest_spec_ctrl = model_rdmsr(SWITCH_MSR_SPEC_CTRL);
	step(g, SWITCH_SPEC_CTRL, SWITCH_MSR_SPEC_CTRL, g->mitigation.host_spec_ctrl);
}

/* ---- VT-x ------------------------------------------------------------------------------------------------------ */

static uint32_t enter(struct vmx_vcpu *v, uint32_t launched, bool mitigated)
{
	uint64_t *host_rsp = (uint64_t *)((char *)v + VMX_HOST_RSP);
	const uint64_t here = (uintptr_t)__builtin_frame_address(0);
	const uintptr_t exit_point = (uintptr_t)(mitigated ? vmx_mitigated_exit_point : vmx_exit_point);
	uint64_t host_rip = 0;
	uint32_t result;

	if (*host_rsp != here) {
		if (!insn_vmwrite(VMCS_HOST_RSP, here))
			return VMX_ENTRY_FAIL_INVALID;
		*host_rsp = here;
	}
	insn_vmread(VMCS_HOST_RIP, &host_rip);
	if (host_rip != exit_point)
		model_complain("the exit would arrive in the other world switch");
	if (mitigated)
		before_entry(&v->guest);
	result = model_vmx_entry((uint64_t *)&v->guest.regs, launched);
	if (mitigated)
		after_exit(&v->guest);
	return result == 0 ? VMX_ENTRY_EXITED : result == 1 ? VMX_ENTRY_FAIL_INVALID : VMX_ENTRY_FAIL_VALID;
}

uint32_t vmx_enter(struct vmx_vcpu *v, uint32_t launched)
{
	return enter(v, launched, false);
}

uint32_t vmx_enter_mitigated(struct vmx_vcpu *v, uint32_t launched)
{
	return enter(v, launched, true);
}

/* ---- SVM ------------------------------------------------------------------------------------------------------- */

static void run(struct guest *g, uint64_t vmcb_hpa, uint64_t host_hpa, bool mitigated)
{
	model_set_gif(0);
	model_set_if(1);
	model_vmload(vmcb_hpa);
	if (mitigated)
		before_entry(g);
	model_vmrun(vmcb_hpa, (uint64_t *)&g->regs);
	model_set_if(0);
	if (mitigated)
		after_exit(g);
	model_vmsave(vmcb_hpa);
	g->cr2 = model_read_cr(2);
	model_vmload(host_hpa);
	model_set_gif(1);
	/* An NMI that was held until now, whose handler takes a page fault. */
	model_host_page_fault(UINT64_C(0xffff88800badf000));
}

void svm_enter(struct guest *g, uint64_t vmcb_hpa, uint64_t host_hpa)
{
	run(g, vmcb_hpa, host_hpa, false);
}

void svm_enter_mitigated(struct guest *g, uint64_t vmcb_hpa, uint64_t host_hpa)
{
	run(g, vmcb_hpa, host_hpa, true);
}
