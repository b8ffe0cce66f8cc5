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
	struct x86vcpu_hypercall *hypercall;

	if (guest_cpl(g))
		return EMUL_UD;
	emul_report(g, X86VCPU_EXIT_HYPERCALL);
	hypercall = &g->exit->u.hypercall;
	hypercall->nr = regs->rax & mask;
	hypercall->args[0] = regs->rdi & mask;
	hypercall->args[1] = regs->rsi & mask;
	hypercall->args[2] = regs->rdx & mask;
	hypercall->args[3] = regs->rcx & mask;
	hypercall->args[4] = regs->r8 & mask;
	hypercall->args[5] = regs->r9 & mask;
	return EMUL_NEXT_EXIT;
}
