/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VMCALL and VMMCALL. They exit at any CPL; only the guest's kernel may talk to the VMM, so for its
 * user programs the instruction does not exist.
 */
#include "emul/hypercall.h"

int emul_hypercall(struct guest *g)
{
	const uint64_t mask = guest_in_64bit_mode(g) ? UINT64_MAX : UINT32_MAX;
	const struct x86vcpu_regs *regs = &g->regs;

	if (guest_cpl(g))
		return EMUL_UD;
	*g->exit = (struct x86vcpu_exit){
		.kind = X86VCPU_EXIT_HYPERCALL,
		.u.hypercall = {
			.nr = regs->rax & mask,
			.args = {regs->rdi & mask, regs->rsi & mask, regs->rdx & mask, regs->rcx & mask,
				 regs->r8 & mask, regs->r9 & mask},
		},
	};
	return EMUL_NEXT_EXIT;
}
