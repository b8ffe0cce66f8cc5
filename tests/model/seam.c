/* SPDX-License-Identifier: Apache-2.0 */
/* The world switches on the model: what vmx/enter.S and svm/enter.S do, instruction by instruction. */
#include "seam.h"

#include "svm/svm.h"
#include "vmx/offsets.h"
#include "vmx/vmcs.h"
#include "vmx/vmx.h"

const char vmx_exit_point[1];

_Static_assert(sizeof(struct x86vcpu_regs) == 16 * sizeof(uint64_t), "in the order of their encoding");

uint32_t vmx_enter(struct vmx_vcpu *v, uint32_t launched)
{
	uint64_t *host_rsp = (uint64_t *)((char *)v + VMX_HOST_RSP);
	const uint64_t here = (uintptr_t)__builtin_frame_address(0);
	uint32_t result;

	if (*host_rsp != here) {
		if (!insn_vmwrite(VMCS_HOST_RSP, here))
			return VMX_ENTRY_FAIL_INVALID;
		*host_rsp = here;
	}
	result = model_vmx_entry((uint64_t *)&v->guest.regs, launched);
	return result == 0 ? VMX_ENTRY_EXITED : result == 1 ? VMX_ENTRY_FAIL_INVALID : VMX_ENTRY_FAIL_VALID;
}

void svm_enter(struct guest *g, uint64_t vmcb_hpa, uint64_t host_hpa)
{
	model_set_gif(0);
	model_set_if(1);
	model_vmload(vmcb_hpa);
	model_vmrun(vmcb_hpa, (uint64_t *)&g->regs);
	model_set_if(0);
	model_vmsave(vmcb_hpa);
	model_vmload(host_hpa);
	model_set_gif(1);
}
