/* SPDX-License-Identifier: Apache-2.0 */
/* The checks of VM entry (SDM 27.2, 27.3): the library's rules, and what only the model knows. */
#include "machine.h"

#include <inttypes.h>

#include "vmx/entry_checks.h"

#define ERROR_LAUNCH_NOT_CLEAR 4
#define ERROR_RESUME_NOT_LAUNCHED 5
#define ERROR_CONTROLS 7
#define ERROR_HOST_STATE 8

static uint64_t read_field(const struct vmx_entry_view *e, uint32_t encoding)
{
	(void)e;
	return field(encoding);
}

static uint64_t read_msr(const struct vmx_entry_view *e, uint32_t msr)
{
	(void)e;
	return msr_value(msr);
}

/* All rules of an area; each complaint names its check. */
static bool area_fails(enum vmx_entry_area area)
{
	const struct vmx_entry_view e = {
		.read = read_field,
		.msr = read_msr,
		.physical_bits = 40,
		.linear_bits = has(MODEL_LA57) ? 57 : 48,
		.cr3_flags = has(MODEL_LAM) ? BIT(61) | BIT(62) : 0,
	};
	const struct vmx_entry_rule *rule;
	bool failed = false;

	for (unsigned i = 0; (rule = vmx_entry_rule_at(i)); i++) {
		if (rule->area != area || rule->holds(&e, rule))
			continue;
		complain("VM entry: %s", rule->text);
		failed = true;
	}
	return failed;
}

static uint64_t cpu2_controls(void)
{
	return field(VMCS_CPU_CONTROLS) & CPU_SECONDARY_CONTROLS ? field(VMCS_CPU2_CONTROLS) : 0;
}

static void check_frame(bool used, uint32_t encoding, const char *what)
{
	if (used && !model_memory(model, field(encoding)))
		complain("VM entry: %s", what);
}

/* The CPU checks none of these, but uses them later: they must be valid. */
static void check_memory(void)
{
	const uint64_t controls = field(VMCS_CPU_CONTROLS), eptp = field(VMCS_EPTP);

	check_frame(controls & CPU_USE_IO_BITMAPS, VMCS_IO_BITMAP_A, "I/O bitmap addresses");
	check_frame(controls & CPU_USE_IO_BITMAPS, VMCS_IO_BITMAP_B, "I/O bitmap addresses");
	check_frame(controls & CPU_USE_MSR_BITMAPS, VMCS_MSR_BITMAP, "MSR bitmap address");
	check_frame(controls & CPU_USE_TPR_SHADOW, VMCS_VIRTUAL_APIC_ADDRESS, "virtual-APIC address");
	if (cpu2_controls() & CPU2_ENABLE_EPT && (eptp >> 3 & 7) + 1 != model->nested_levels)
		complain("VM entry: nested tables of %" PRIu32 " levels, and the EPTP says %u", model->nested_levels,
			 (unsigned)(eptp >> 3 & 7) + 1);
}

/* 27.3.1 looks at every field; what nobody wrote holds anything. */
static void check_written(void)
{
	static const uint32_t fields[] = {
		VMCS_GUEST_CR0, VMCS_GUEST_CR3, VMCS_GUEST_CR4, VMCS_GUEST_DR7, VMCS_GUEST_RSP, VMCS_GUEST_RIP,
		VMCS_GUEST_RFLAGS, VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS, VMCS_GUEST_INTERRUPTIBILITY, VMCS_GUEST_ACTIVITY,
		VMCS_LINK_POINTER, VMCS_GUEST_DEBUGCTL, VMCS_GUEST_PAT, VMCS_GUEST_EFER, VMCS_CR3_TARGET_COUNT,
		VMCS_EXCEPTION_BITMAP, VMCS_PAGE_FAULT_ERROR_CODE_MASK, VMCS_PAGE_FAULT_ERROR_CODE_MATCH,
		VMCS_ENTRY_INTERRUPTION_INFO, VMCS_CR0_GUEST_HOST_MASK, VMCS_CR4_GUEST_HOST_MASK, VMCS_CR0_READ_SHADOW,
		VMCS_CR4_READ_SHADOW, VMCS_EXIT_MSR_STORE_COUNT, VMCS_EXIT_MSR_LOAD_COUNT, VMCS_ENTRY_MSR_LOAD_COUNT,
		VMCS_GUEST_SYSENTER_CS, VMCS_GUEST_SYSENTER_ESP, VMCS_GUEST_SYSENTER_EIP, VMCS_HOST_RSP, VMCS_HOST_RIP,
		VMCS_HOST_SYSENTER_CS, VMCS_HOST_CR3,
	};
	const struct vmcs *v = vmcs_current();
	const uint64_t controls = field(VMCS_CPU_CONTROLS), cpu2 = cpu2_controls();

	for (unsigned i = 0; i < ARRAY_SIZE(fields); i++)
		if (!v->written[vmcs_slot(fields[i])])
			complain("VM entry: field %04" PRIx32 " was never written", fields[i]);
	for (uint32_t f = VMCS_GUEST_ES_SELECTOR; f <= VMCS_GUEST_TR_SELECTOR; f += 2)
		for (unsigned group = 0; group < 4; group++) {
			static const uint32_t first[4] = {VMCS_GUEST_ES_SELECTOR, VMCS_GUEST_ES_BASE, VMCS_GUEST_ES_LIMIT,
							  VMCS_GUEST_ES_ACCESS_RIGHTS};
			const uint32_t encoding = first[group] + f - VMCS_GUEST_ES_SELECTOR;

			if (!v->written[vmcs_slot(encoding)])
				complain("VM entry: field %04" PRIx32 " was never written", encoding);
		}
	if (controls & CPU_USE_TSC_OFFSETTING && !v->written[vmcs_slot(VMCS_TSC_OFFSET)])
		complain("VM entry: the TSC offset was never written");
	if (controls & CPU_USE_TPR_SHADOW && !v->written[vmcs_slot(VMCS_TPR_THRESHOLD)])
		complain("VM entry: the TPR threshold was never written");
	if (cpu2 & CPU2_ENABLE_XSAVES && !v->written[vmcs_slot(VMCS_XSS_EXITING_BITMAP)])
		complain("VM entry: the XSS-exiting bitmap was never written");
}

uint32_t vmx_check_entry(bool resume)
{
	const struct vmcs *v = vmcs_current();

	if (!resume && v->launched) {
		complain("VMLAUNCH of a launched VMCS");
		return ERROR_LAUNCH_NOT_CLEAR;
	}
	if (resume && !v->launched) {
		complain("VMRESUME of a clear VMCS");
		return ERROR_RESUME_NOT_LAUNCHED;
	}
	if (!resume)
		check_written();
	if (area_fails(VMX_ENTRY_CONTROLS_AREA))
		return ERROR_CONTROLS;
	check_memory();
	if (area_fails(VMX_ENTRY_HOST_AREA))
		return ERROR_HOST_STATE;
	return area_fails(VMX_ENTRY_GUEST_AREA) ? BAD_GUEST : 0;
}
