/* SPDX-License-Identifier: Apache-2.0 */
/* VMX operation and VMCSs (SDM 25, 31.3). */
#include "machine.h"

#include <inttypes.h>
#include <stdlib.h>

#define SUCCEED 0u
#define FAIL_INVALID 1u
#define FAIL_VALID 2u

/* VM-instruction errors, SDM 31.4. */
#define ERROR_VMCLEAR_ADDRESS 2
#define ERROR_VMCLEAR_VMXON 3
#define ERROR_VMPTRLD_ADDRESS 9
#define ERROR_VMPTRLD_VMXON 10
#define ERROR_VMPTRLD_REVISION 11
#define ERROR_FIELD 12
#define ERROR_READ_ONLY 13
#define ERROR_IN_ROOT 15
#define ERROR_INVEPT_OPERAND 28

/* ---- Fields ---------------------------------------------------------------------------------------------- */

unsigned vmcs_slot(uint32_t encoding)
{
	return (VMCS_WIDTH(encoding) << 2 | VMCS_TYPE(encoding)) * 64 + (encoding >> 1 & 63);
}

static bool is_listed(uint32_t encoding)
{
	static bool listed[VMCS_SLOTS], filled;

	if (!filled) {
#define FILL(name, number) listed[vmcs_slot(number)] = true;
		VMCS_FIELDS_16(FILL)
		VMCS_FIELDS_64(FILL)
		VMCS_FIELDS_32(FILL)
		VMCS_FIELDS_NATURAL(FILL)
#undef FILL
		filled = true;
	}
	/* Bit 12 and all above 14 are reserved; an index has 9 bits, of which 6 are in use. */
	return !(encoding & ~0x6c7eu) && listed[vmcs_slot(encoding)];
}

/* Fields that exist only with a control that uses them (SDM 25.6 to 25.9). */
static bool exists(uint32_t encoding)
{
	if (!is_listed(encoding))
		return false;
	switch (encoding) {
	case VMCS_VPID:
		return has(MODEL_VPID);
	case VMCS_PREEMPTION_TIMER:
		return has(MODEL_TIMER);
	case VMCS_XSS_EXITING_BITMAP:
		return has(MODEL_XSAVES);
	case VMCS_APIC_ACCESS_ADDRESS:
		return has(MODEL_APIC_ACCESS);
	case VMCS_GUEST_INTERRUPT_STATUS:
	case VMCS_EOI_EXIT_BITMAP0:
	case VMCS_EOI_EXIT_BITMAP1:
	case VMCS_EOI_EXIT_BITMAP2:
	case VMCS_EOI_EXIT_BITMAP3:
		return has(MODEL_APICV);
	case VMCS_GUEST_PHYSICAL_ADDRESS:
	case VMCS_LINK_POINTER ... VMCS_GUEST_EFER:
	case VMCS_GUEST_PDPTE0 ... VMCS_GUEST_PDPTE3:
	case VMCS_HOST_PAT:
	case VMCS_HOST_EFER:
	case VMCS_IO_BITMAP_A ... VMCS_EXECUTIVE_VMCS_POINTER:
	case VMCS_TSC_OFFSET:
	case VMCS_VIRTUAL_APIC_ADDRESS:
	case VMCS_EPTP:
		return true;
	}
	/* Of the 64-bit and 16-bit ones those above; and what belongs to CET, FRED, user interrupts and the like. */
	if (VMCS_WIDTH(encoding) == VMCS_WIDTH_64)
		return false;
	if (VMCS_WIDTH(encoding) == VMCS_WIDTH_16)
		return VMCS_TYPE(encoding) != VMCS_TYPE_CONTROL && encoding < VMCS_HOST_ES_SELECTOR + 0x0e &&
		       encoding != VMCS_PML_INDEX && encoding != VMCS_GUEST_UINV;
	return (encoding < VMCS_GUEST_S_CET || encoding > VMCS_GUEST_INTERRUPT_SSP_TABLE) &&
	       encoding < VMCS_HOST_S_CET && (encoding < VMCS_PLE_GAP || encoding > VMCS_INSTRUCTION_TIMEOUT);
}

static uint64_t width_mask(uint32_t encoding)
{
	switch (VMCS_WIDTH(encoding)) {
	case VMCS_WIDTH_16:
		return UINT16_MAX;
	case VMCS_WIDTH_32:
		return UINT32_MAX;
	default:
		return UINT64_MAX;
	}
}

struct vmcs *vmcs_current(void)
{
	const int frame = cpu->vmcs == NO_VMCS ? -1 : frame_of(cpu->vmcs);

	return frame < 0 ? NULL : model->vmcs[frame];
}

/* The CPU may have anything in a field that nobody wrote (SDM 25.11.3): poison. Upstream counts on 0. */
uint64_t field(uint32_t encoding)
{
	const struct vmcs *v = vmcs_current();
	const unsigned slot = vmcs_slot(encoding);

	return v->written[slot] ? v->values[slot] : model->relaxed ? 0 : POISON & width_mask(encoding);
}

void set_field(uint32_t encoding, uint64_t value)
{
	struct vmcs *v = vmcs_current();
	const unsigned slot = vmcs_slot(encoding);

	v->values[slot] = value & width_mask(encoding);
	v->written[slot] = true;
}

/* ---- The outcome of an instruction (SDM 31.2) ------------------------------------------------------------------ */

static uint32_t fail(uint32_t error)
{
	if (!vmcs_current())
		return FAIL_INVALID;
	set_field(VMCS_INSTRUCTION_ERROR, error);
	return FAIL_VALID;
}

static bool in_operation(const char *instruction)
{
	if (!cpu->vmxon)
		complain("#UD: %s outside VMX operation", instruction);
	return cpu->vmxon;
}

static bool is_region(uint64_t hpa)
{
	return !(hpa & 0xfff) && frame_of(hpa) >= 0;
}

static uint32_t revision_in(uint64_t hpa)
{
	return *(uint32_t *)model_memory(model, hpa);
}

/* ---- VMXON, VMXOFF -------------------------------------------------------------------------------------------------- */

static const char *vmxon_fault(void)
{
	const uint64_t control = msr_value(X86VCPU_MSR_IA32_FEATURE_CONTROL);

	if (model->backend != MODEL_VMX || !(cpu->cr4 & CR4_VMXE))
		return "#UD: VMXON with CR4.VMXE clear";
	if (~cpu->cr0 & msr_value(X86VCPU_MSR_IA32_VMX_CR0_FIXED0) ||
	    cpu->cr0 & ~msr_value(X86VCPU_MSR_IA32_VMX_CR0_FIXED1))
		return "#GP: VMXON with this CR0";
	if (~cpu->cr4 & msr_value(X86VCPU_MSR_IA32_VMX_CR4_FIXED0) ||
	    cpu->cr4 & ~msr_value(X86VCPU_MSR_IA32_VMX_CR4_FIXED1))
		return "#GP: VMXON with this CR4";
	return (control & 5) == 5 ? NULL : "#GP: VMXON without IA32_FEATURE_CONTROL";
}

uint32_t model_vmxon(uint64_t hpa)
{
	const char *fault = vmxon_fault();

	trace(MODEL_TRACE_VMXON, hpa, 0);
	if (fault) {
		complain("%s", fault);
		return FAIL_INVALID;
	}
	if (cpu->vmxon)
		return fail(ERROR_IN_ROOT);
	if (!is_region(hpa) || revision_in(hpa) != REVISION)
		return FAIL_INVALID;
	cpu->vmxon = true;
	cpu->vmxon_hpa = hpa;
	cpu->vmcs = NO_VMCS;
	return SUCCEED;
}

/* SDM 25.11.1: VMCLEAR comes before. */
uint32_t model_vmxoff(void)
{
	trace(MODEL_TRACE_VMXOFF, 0, 0);
	if (!in_operation("VMXOFF"))
		return FAIL_INVALID;
	for (unsigned i = 0; i < MODEL_FRAMES; i++)
		if (model->vmcs[i] && model->vmcs[i]->cpu == (int32_t)cpu->number)
			complain("VMXOFF while a VMCS is active on this CPU");
	cpu->vmxon = false;
	cpu->vmcs = NO_VMCS;
	tlb_flush_space(UINT64_MAX);
	return SUCCEED;
}

/* ---- VMCLEAR, VMPTRLD ----------------------------------------------------------------------------------------------- */

static struct vmcs *vmcs_of(uint64_t hpa)
{
	const int frame = frame_of(hpa);

	if (!model->vmcs[frame]) {
		model->vmcs[frame] = calloc(1, sizeof(struct vmcs));
		model->vmcs[frame]->cpu = -1;
		model->vmcs[frame]->last_cpu = -1;
	}
	return model->vmcs[frame];
}

void vmcs_forget(struct model *m, int frame)
{
	struct vmcs *v = m->vmcs[frame];

	for (unsigned i = 0; i < MODEL_CPUS; i++)
		if (m->cpus[i].vmxon && m->cpus[i].vmxon_hpa == MODEL_FIRST_FRAME + (uint64_t)frame * 4096)
			complain("the VMXON region of CPU %u is freed", i);
	if (v && v->cpu >= 0)
		complain("a VMCS is freed while it is active on CPU %" PRId32, v->cpu);
	free(v);
	m->vmcs[frame] = NULL;
	free(m->kept[frame]);
	m->kept[frame] = NULL;
	m->vmcb_cpu[frame] = -1;
	m->vmcb_epoch[frame] = 0;
}

uint32_t model_vmclear(uint64_t hpa)
{
	struct vmcs *v;

	trace(MODEL_TRACE_VMCLEAR, hpa, 0);
	if (!in_operation("VMCLEAR"))
		return FAIL_INVALID;
	if (!is_region(hpa))
		return fail(ERROR_VMCLEAR_ADDRESS);
	if (hpa == cpu->vmxon_hpa)
		return fail(ERROR_VMCLEAR_VMXON);
	v = vmcs_of(hpa);
	if (v->cpu >= 0 && v->cpu != (int32_t)cpu->number)
		complain("VMCLEAR of a VMCS that is active on CPU %" PRId32, v->cpu);
	v->launched = false;
	v->cleared = true;
	v->cpu = -1;
	if (cpu->vmcs == hpa)
		cpu->vmcs = NO_VMCS;
	return SUCCEED;
}

uint32_t model_vmptrld(uint64_t hpa)
{
	struct vmcs *v;

	trace(MODEL_TRACE_VMPTRLD, hpa, 0);
	if (!in_operation("VMPTRLD"))
		return FAIL_INVALID;
	if (!is_region(hpa))
		return fail(ERROR_VMPTRLD_ADDRESS);
	if (hpa == cpu->vmxon_hpa)
		return fail(ERROR_VMPTRLD_VMXON);
	if (revision_in(hpa) != REVISION)
		return fail(ERROR_VMPTRLD_REVISION);
	v = vmcs_of(hpa);
	if (!v->cleared)
		complain("VMPTRLD of a region that was never cleared");
	if (v->cpu >= 0 && v->cpu != (int32_t)cpu->number)
		complain("VMPTRLD of a VMCS that is active on CPU %" PRId32, v->cpu);
	v->cpu = (int32_t)cpu->number;
	cpu->vmcs = hpa;
	return SUCCEED;
}

/* ---- VMREAD, VMWRITE ------------------------------------------------------------------------------------------------- */

uint32_t model_vmread(uint64_t encoding, uint64_t *value)
{
	trace(MODEL_TRACE_VMREAD, encoding, 0);
	if (!in_operation("VMREAD") || !vmcs_current())
		return FAIL_INVALID;
	if (encoding > UINT32_MAX || !exists((uint32_t)encoding))
		return fail(ERROR_FIELD);
	*value = field((uint32_t)encoding);
	return SUCCEED;
}

uint32_t model_vmwrite(uint64_t encoding, uint64_t value)
{
	trace(MODEL_TRACE_VMWRITE, encoding, value);
	if (!in_operation("VMWRITE") || !vmcs_current())
		return FAIL_INVALID;
	if (encoding > UINT32_MAX || !exists((uint32_t)encoding))
		return fail(ERROR_FIELD);
	if (VMCS_TYPE(encoding) == VMCS_TYPE_READ_ONLY)
		return fail(ERROR_READ_ONLY);
	set_field((uint32_t)encoding, value);
	return SUCCEED;
}

/* ---- INVEPT, INVVPID -------------------------------------------------------------------------------------------------- */

uint32_t model_invept(uint64_t type, uint64_t eptp)
{
	const uint64_t can = msr_value(X86VCPU_MSR_IA32_VMX_EPT_VPID_CAP);

	trace(MODEL_TRACE_INVEPT, type, eptp);
	if (!in_operation("INVEPT"))
		return FAIL_INVALID;
	if (type < 1 || type > 2 || !(can & (type == 1 ? EPT_CAP_INVEPT_SINGLE : EPT_CAP_INVEPT_ALL)) ||
	    (type == 1 && !(eptp & ~UINT64_C(0xfff)))) {
		complain("INVEPT of type %" PRIu64 " with %" PRIx64, type, eptp);
		return fail(ERROR_INVEPT_OPERAND);
	}
	tlb_flush_space(type == 1 ? eptp >> 12 : UINT64_MAX);
	return SUCCEED;
}

uint32_t model_invvpid(uint64_t type, uint64_t vpid)
{
	trace(MODEL_TRACE_INVVPID, type, vpid);
	if (!in_operation("INVVPID"))
		return FAIL_INVALID;
	if (!has(MODEL_VPID) || type < 1 || type > 2 || vpid > UINT16_MAX || (type == 1 && !vpid)) {
		complain("INVVPID of type %" PRIu64 " with %" PRIu64, type, vpid);
		return fail(ERROR_INVEPT_OPERAND);
	}
	tlb_flush_id(type == 1 ? (uint32_t)vpid : UINT32_MAX);
	return SUCCEED;
}
