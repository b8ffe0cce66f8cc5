/* SPDX-License-Identifier: Apache-2.0 */
/* SDM 27.2.1: checks on VMX controls. */
#include "vmx/entry_checks_internal.h"

#define INFO_ERROR_CODE (1u << 11)

static bool word_ok(entry e, uint32_t field, uint32_t msr)
{
	const uint64_t can = e->msr(e, msr), value = get(e, field);

	return !(~value & (uint32_t)can) && !(value & ~(can >> 32));
}

static bool pin_word(entry e, rule r)
{
	return word_ok(e, r->field, X86VCPU_MSR_IA32_VMX_TRUE_PINBASED_CTLS);
}

static bool cpu_word(entry e, rule r)
{
	return word_ok(e, r->field, X86VCPU_MSR_IA32_VMX_TRUE_PROCBASED_CTLS);
}

static bool cpu2_word(entry e, rule r)
{
	return !controls(e, CPU_SECONDARY_CONTROLS) || word_ok(e, r->field, X86VCPU_MSR_IA32_VMX_PROCBASED_CTLS2);
}

static bool exit_word(entry e, rule r)
{
	return word_ok(e, r->field, X86VCPU_MSR_IA32_VMX_TRUE_EXIT_CTLS);
}

static bool entry_word(entry e, rule r)
{
	return word_ok(e, r->field, X86VCPU_MSR_IA32_VMX_TRUE_ENTRY_CTLS);
}

static bool cr3_targets(entry e, rule r)
{
	return own(e, r) <= 4;
}

static bool io_bitmap(entry e, rule r)
{
	return !controls(e, CPU_USE_IO_BITMAPS) || page(e, r->field);
}

static bool msr_bitmap(entry e, rule r)
{
	return !controls(e, CPU_USE_MSR_BITMAPS) || page(e, r->field);
}

static bool virtual_apic(entry e, rule r)
{
	return !controls(e, CPU_USE_TPR_SHADOW) || page(e, r->field);
}

static bool tpr_threshold(entry e, rule r)
{
	return !controls(e, CPU_USE_TPR_SHADOW) || cpu2(e) & CPU2_VIRTUAL_INTERRUPT_DELIVERY ||
	       !(own(e, r) & ~UINT64_C(15));
}

static bool apic_without_shadow(entry e, rule r)
{
	(void)r;
	return controls(e, CPU_USE_TPR_SHADOW) ||
	       !(cpu2(e) & (CPU2_VIRTUALIZE_X2APIC_MODE | CPU2_APIC_REGISTER_VIRTUALIZATION |
			    CPU2_VIRTUAL_INTERRUPT_DELIVERY));
}

static bool apic_access(entry e, rule r)
{
	return !(cpu2(e) & CPU2_VIRTUALIZE_APIC_ACCESSES) || page(e, r->field);
}

static bool virtual_nmis(entry e, rule r)
{
	return own(e, r) & PIN_NMI_EXITING || !(own(e, r) & PIN_VIRTUAL_NMIS);
}

static bool nmi_window(entry e, rule r)
{
	return get(e, VMCS_PIN_CONTROLS) & PIN_VIRTUAL_NMIS || !(own(e, r) & CPU_NMI_WINDOW_EXITING);
}

static bool vpid(entry e, rule r)
{
	return !(cpu2(e) & CPU2_ENABLE_VPID) || own(e, r);
}

static bool unrestricted(entry e, rule r)
{
	(void)r;
	return cpu2(e) & CPU2_ENABLE_EPT || !(cpu2(e) & CPU2_UNRESTRICTED_GUEST);
}

static bool has_ept(entry e)
{
	return cpu2(e) & CPU2_ENABLE_EPT;
}

static bool eptp_type(entry e, rule r)
{
	return !has_ept(e) || (own(e, r) & 7) == 6 || (own(e, r) & 7) == 0;
}

static bool eptp_walk(entry e, rule r)
{
	const uint64_t length = own(e, r) >> 3 & 7;

	return !has_ept(e) || length == 3 ||
	       (length == 4 && e->msr(e, X86VCPU_MSR_IA32_VMX_EPT_VPID_CAP) & EPT_CAP_WALK_5);
}

static bool eptp_accessed(entry e, rule r)
{
	return !has_ept(e) || !(own(e, r) & 1 << 6) ||
	       e->msr(e, X86VCPU_MSR_IA32_VMX_EPT_VPID_CAP) & EPT_CAP_ACCESSED_DIRTY;
}

static bool eptp_reserved(entry e, rule r)
{
	return !has_ept(e) || (!(own(e, r) & 0xf80) && !(own(e, r) >> e->physical_bits));
}

static bool timer(entry e, rule r)
{
	return get(e, VMCS_PIN_CONTROLS) & PIN_PREEMPTION_TIMER || !(own(e, r) & EXIT_SAVE_PREEMPTION_TIMER);
}

static bool msr_list(entry e, rule r)
{
	return !own(e, r);
}

/* ---- 27.2.1.3: the injected event ---------------------------------------------------------------------------- */

static uint32_t event_vector(entry e)
{
	return get(e, VMCS_ENTRY_INTERRUPTION_INFO) & 0xff;
}

static bool has_code(entry e)
{
	return get(e, VMCS_ENTRY_INTERRUPTION_INFO) & INFO_ERROR_CODE;
}

static bool event_types(entry e, rule r)
{
	(void)r;
	return !injects(e) || (event_type(e) != 1 && event_type(e) != 7);
}

static bool event_nmi(entry e, rule r)
{
	(void)r;
	return !injects(e) || event_type(e) != GUEST_EVENT_NMI || event_vector(e) == VECTOR_NMI;
}

static bool event_exception(entry e, rule r)
{
	(void)r;
	return !injects(e) || event_type(e) != GUEST_EVENT_EXCEPTION || event_vector(e) <= 31;
}

static bool event_code(entry e, rule r)
{
	(void)r;
	return !injects(e) || has_code(e) == (event_type(e) == GUEST_EVENT_EXCEPTION &&
					      guest_has_error_code(event_vector(e)) && get(e, VMCS_GUEST_CR0) & CR0_PE);
}

static bool event_reserved(entry e, rule r)
{
	return !injects(e) || !(own(e, r) & 0x7ffff000);
}

static bool event_code_bits(entry e, rule r)
{
	return !injects(e) || !has_code(e) || !(own(e, r) >> 16);
}

static bool event_length(entry e, rule r)
{
	return !injects(e) || event_type(e) < GUEST_EVENT_SOFTWARE_INTERRUPT || own(e, r) <= 15;
}

/* ---- The table ----------------------------------------------------------------------------------------------- */

#define CONTROL(...) VMX_ENTRY_RULE(VMX_ENTRY_CONTROLS_AREA, __VA_ARGS__)

static const struct vmx_entry_rule rules[] = {
	CONTROL(1001, "27.2.1.1", PIN_CONTROLS, "reserved pin-based controls", pin_word),
	CONTROL(1002, "27.2.1.1", CPU_CONTROLS, "reserved processor-based controls", cpu_word),
	CONTROL(1003, "27.2.1.1", CPU2_CONTROLS, "reserved secondary controls", cpu2_word),
	CONTROL(1004, "27.2.1.1", CR3_TARGET_COUNT, "CR3-target count", cr3_targets),
	CONTROL(1005, "27.2.1.1", IO_BITMAP_A, "I/O bitmap addresses", io_bitmap),
	CONTROL(1006, "27.2.1.1", IO_BITMAP_B, "I/O bitmap addresses", io_bitmap),
	CONTROL(1007, "27.2.1.1", MSR_BITMAP, "MSR bitmap address", msr_bitmap),
	CONTROL(1008, "27.2.1.1", VIRTUAL_APIC_ADDRESS, "virtual-APIC address", virtual_apic),
	CONTROL(1009, "27.2.1.1", TPR_THRESHOLD, "TPR threshold", tpr_threshold),
	CONTROL(1010, "27.2.1.1", CPU2_CONTROLS, "APIC virtualization without TPR shadow", apic_without_shadow),
	CONTROL(1011, "27.2.1.1", PIN_CONTROLS, "virtual NMIs without NMI exiting", virtual_nmis),
	CONTROL(1012, "27.2.1.1", CPU_CONTROLS, "NMI window without virtual NMIs", nmi_window),
	CONTROL(1013, "27.2.1.1", APIC_ACCESS_ADDRESS, "APIC-access address", apic_access),
	CONTROL(1014, "27.2.1.1", VPID, "VPID 0", vpid),
	CONTROL(1015, "27.2.1.1", EPTP, "EPTP memory type", eptp_type),
	CONTROL(1016, "27.2.1.1", EPTP, "EPTP page-walk length", eptp_walk),
	CONTROL(1017, "27.2.1.1", EPTP, "EPTP accessed and dirty flags", eptp_accessed),
	CONTROL(1018, "27.2.1.1", EPTP, "EPTP reserved bits", eptp_reserved),
	CONTROL(1019, "27.2.1.1", CPU2_CONTROLS, "unrestricted guest without EPT", unrestricted),
	CONTROL(1020, "27.2.1.2", EXIT_CONTROLS, "reserved VM-exit controls", exit_word),
	CONTROL(1021, "27.2.1.2", EXIT_CONTROLS, "saving the preemption timer without it", timer),
	CONTROL(1022, "27.2.1.2", EXIT_MSR_STORE_COUNT, "MSR lists", msr_list),
	CONTROL(1023, "27.2.1.2", EXIT_MSR_LOAD_COUNT, "MSR lists", msr_list),
	CONTROL(1024, "27.2.1.3", ENTRY_CONTROLS, "reserved VM-entry controls", entry_word),
	CONTROL(1025, "27.2.1.3", ENTRY_INTERRUPTION_INFO, "injected event: type", event_types),
	CONTROL(1026, "27.2.1.3", ENTRY_INTERRUPTION_INFO, "injected event: NMI with another vector", event_nmi),
	CONTROL(1027, "27.2.1.3", ENTRY_INTERRUPTION_INFO, "injected event: exception above 31", event_exception),
	CONTROL(1028, "27.2.1.3", ENTRY_INTERRUPTION_INFO, "injected event: error code", event_code),
	CONTROL(1029, "27.2.1.3", ENTRY_INTERRUPTION_INFO, "injected event: reserved bits", event_reserved),
	CONTROL(1030, "27.2.1.3", ENTRY_EXCEPTION_ERROR_CODE, "injected event: error code above 16 bits", event_code_bits),
	CONTROL(1031, "27.2.1.3", ENTRY_INSTRUCTION_LENGTH, "injected event: instruction length", event_length),
	CONTROL(1032, "27.2.1.3", ENTRY_MSR_LOAD_COUNT, "MSR lists", msr_list),
};

const struct vmx_entry_table vmx_entry_controls = {rules, sizeof(rules) / sizeof(rules[0])};
