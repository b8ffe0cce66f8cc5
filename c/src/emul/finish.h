/* SPDX-License-Identifier: Apache-2.0 */
/* What a handler's answer means for the guest: one place for both backends. */
#ifndef EMUL_FINISH_H
#define EMUL_FINISH_H

#include "cpu/x86.h"
#include "emul/guest.h"

/* Whether `result` asks for the instruction's length. */
static inline bool emul_skips(int result)
{
	return result == EMUL_NEXT || result == EMUL_NEXT_EXIT;
}

/* EMUL_RESUME, EMUL_EXIT or a negative status. `length` counts only when emul_skips(result). */
static inline int emul_finish(struct guest *g, int result, unsigned length)
{
	switch (result) {
	case EMUL_NEXT:
		guest_skip(g, length);
		return EMUL_RESUME;
	case EMUL_NEXT_EXIT:
		guest_skip(g, length);
		return EMUL_EXIT;
	case EMUL_GP:
		guest_raise(g, VECTOR_GP, true, 0);
		return EMUL_RESUME;
	case EMUL_UD:
		guest_raise(g, VECTOR_UD, false, 0);
		return EMUL_RESUME;
	default:
		return result;
	}
}

/* HLT. With TF set its single step wakes the CPU at once, so that it never waits (SDM table 6-2). */
static inline int emul_hlt(struct guest *g)
{
	if (guest_get(g, G_RFLAGS) & RFLAGS_TF)
		return EMUL_NEXT;
	g->events.halted = true;
	emul_report(g, X86VCPU_EXIT_HALT);
	return EMUL_NEXT_EXIT;
}

/* An x87 error with CR0.NE clear. */
static inline int emul_fpu_error(struct guest *g)
{
	if (g->fpu_error_exits)
		return emul_report(g, X86VCPU_EXIT_FPU_ERROR);
	guest_raise(g, VECTOR_MF, false, 0);
	return EMUL_RESUME;
}

static inline int emul_report_nested_fault(struct guest *g, uint64_t gpa, uint64_t access)
{
	emul_report(g, X86VCPU_EXIT_NESTED_PAGE_FAULT);
	g->exit->u.nested_page_fault = (struct x86vcpu_nested_page_fault){gpa, access};
	return EMUL_EXIT;
}

#endif
