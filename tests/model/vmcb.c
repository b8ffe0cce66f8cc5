/* SPDX-License-Identifier: Apache-2.0 */
/* SVM around VMRUN: VMLOAD, VMSAVE, GIF, and what a CPU may keep of a VMCB (APM 15.5, 15.15, 15.17). */
#include "machine.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct vmcb *vmcb_at(uint64_t hpa)
{
	return hpa & 0xfff || frame_of(hpa) < 0 ? NULL : model_memory(model, hpa);
}

static bool is_on(const char *instruction)
{
	const bool on = msr_value(X86VCPU_MSR_IA32_EFER) & EFER_SVME;

	if (!on)
		complain("#UD: %s with EFER.SVME clear", instruction);
	return on;
}

static struct vmcb *operand(const char *instruction, uint64_t hpa)
{
	struct vmcb *b = vmcb_at(hpa);

	if (!is_on(instruction))
		return NULL;
	if (!b)
		complain("#GP: %s with %" PRIx64, instruction, hpa);
	return b;
}

/* MSRs of the state that VMLOAD and VMSAVE move. */
static const struct {
	uint32_t msr;
	size_t offset;
} moved[] = {
	{X86VCPU_MSR_IA32_STAR, offsetof(struct vmcb, star)},
	{X86VCPU_MSR_IA32_LSTAR, offsetof(struct vmcb, lstar)},
	{X86VCPU_MSR_IA32_CSTAR, offsetof(struct vmcb, cstar)},
	{X86VCPU_MSR_IA32_FMASK, offsetof(struct vmcb, sfmask)},
	{X86VCPU_MSR_IA32_KERNEL_GS_BASE, offsetof(struct vmcb, kernel_gs_base)},
	{X86VCPU_MSR_IA32_SYSENTER_CS, offsetof(struct vmcb, sysenter_cs)},
	{X86VCPU_MSR_IA32_SYSENTER_ESP, offsetof(struct vmcb, sysenter_esp)},
	{X86VCPU_MSR_IA32_SYSENTER_EIP, offsetof(struct vmcb, sysenter_eip)},
	{X86VCPU_MSR_IA32_FS_BASE, offsetof(struct vmcb, fs.base)},
	{X86VCPU_MSR_IA32_GS_BASE, offsetof(struct vmcb, gs.base)},
};

void model_vmload(uint64_t hpa)
{
	struct vmcb *b = operand("VMLOAD", hpa);

	trace(MODEL_TRACE_VMLOAD, hpa, 0);
	if (!b)
		return;
	for (unsigned i = 0; i < ARRAY_SIZE(moved); i++)
		msr_set(cpu, moved[i].msr, *(uint64_t *)((char *)b + moved[i].offset));
	cpu->moved[0] = b->fs;
	cpu->moved[1] = b->gs;
	cpu->moved[2] = b->ldtr;
	cpu->moved[3] = b->tr;
	for (unsigned i = 0; i < 4; i++)
		cpu->selectors[4 + i] = cpu->moved[i].selector;
}

void model_vmsave(uint64_t hpa)
{
	struct vmcb *b = operand("VMSAVE", hpa);

	trace(MODEL_TRACE_VMSAVE, hpa, 0);
	if (!b)
		return;
	for (unsigned i = 0; i < 4; i++)
		cpu->moved[i].selector = cpu->selectors[4 + i];
	b->fs = cpu->moved[0];
	b->gs = cpu->moved[1];
	b->ldtr = cpu->moved[2];
	b->tr = cpu->moved[3];
	for (unsigned i = 0; i < ARRAY_SIZE(moved); i++)
		*(uint64_t *)((char *)b + moved[i].offset) = msr_value(moved[i].msr);
}

void model_set_gif(uint32_t gif)
{
	trace(MODEL_TRACE_GIF, gif, 0);
	if (is_on(gif ? "STGI" : "CLGI"))
		cpu->gif = gif;
}

/* ---- Clean bits (APM 15.15.3) ---------------------------------------------------------------------------------- */

#define RANGE(first, last) offsetof(struct vmcb, first), offsetof(struct vmcb, last) + sizeof(((struct vmcb *)0)->last)

static const struct {
	uint32_t bit;
	size_t begin, end;
	const char *name;
} groups[] = {
	{CLEAN_INTERCEPTS, RANGE(intercept_cr_read, intercept5), "intercepts"},
	{CLEAN_INTERCEPTS, RANGE(tsc_offset, tsc_offset), "TSC offset"},
	{CLEAN_PERMISSION_MAPS, RANGE(iopm_base, msrpm_base), "permission maps"},
	{CLEAN_ASID, RANGE(asid, asid), "ASID"},
	{CLEAN_TPR, RANGE(virtual_interrupt, virtual_interrupt), "virtual interrupt"},
	{CLEAN_NESTED_PAGING, RANGE(nested_control, nested_control), "nested paging"},
	{CLEAN_NESTED_PAGING, RANGE(nested_cr3, nested_cr3), "nested CR3"},
	{CLEAN_NESTED_PAGING, RANGE(pat, pat), "PAT"},
	{CLEAN_CONTROL_REGISTERS, RANGE(cr4, cr0), "control registers"},
	{CLEAN_CONTROL_REGISTERS, RANGE(efer, efer), "EFER"},
	{CLEAN_DEBUG_REGISTERS, RANGE(dr7, dr6), "debug registers"},
	{CLEAN_DESCRIPTOR_TABLES, RANGE(gdtr, gdtr), "GDTR"},
	{CLEAN_DESCRIPTOR_TABLES, RANGE(idtr, idtr), "IDTR"},
	{CLEAN_SEGMENTS, RANGE(es, ds), "segments"},
	{CLEAN_SEGMENTS, RANGE(cpl, cpl), "CPL"},
	{CLEAN_CR2, RANGE(cr2, cr2), "CR2"},
};

void vmcb_check_clean(uint64_t hpa, const struct vmcb *b)
{
	const int frame = frame_of(hpa);
	const struct vmcb *kept = model->kept[frame];
	const uint32_t clean = b->clean & CLEAN_ALL;

	/* A CPU without them ignores them. */
	if (!clean || !has(MODEL_CLEAN))
		return;
	/* Another CPU has not kept this VMCB, or has kept an old state of it. */
	if (!kept || model->vmcb_cpu[frame] != (int32_t)cpu->number) {
		complain("clean bits %" PRIx32 " of a VMCB that this CPU did not run last", clean);
		return;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(groups); i++)
		if (clean & groups[i].bit &&
		    memcmp((const char *)b + groups[i].begin, (const char *)kept + groups[i].begin,
			   groups[i].end - groups[i].begin))
			complain("clean bit of the %s is set, and they changed", groups[i].name);
}

void vmcb_keep(uint64_t hpa, const struct vmcb *b)
{
	const int frame = frame_of(hpa);

	if (!model->kept[frame])
		model->kept[frame] = malloc(sizeof(*b));
	memcpy(model->kept[frame], b, sizeof(*b));
}
