/* SPDX-License-Identifier: Apache-2.0 */
/* See entry_checks.h. Rules in the manual's order. */
#include "vmx/entry_checks.h"

#include "cpu/x86.h"
#include "emul/guest.h"
#include "vmx/controls.h"
#include "vmx/vmcs_fields.h"
#include "x86vcpu/msr.h"

#define INFO_VALID (1u << 31)
#define INFO_ERROR_CODE (1u << 11)
#define ACCESS_RESERVED 0xfffe0f00u
#define EFER_DEFINED (EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE)
#define DEBUGCTL_BITS UINT64_C(0xdfc3)
#define SELECTOR_TI 4u
#define PENDING_DB_RTM (UINT64_C(1) << 16)

typedef const struct vmx_entry_view *entry;
typedef const struct vmx_entry_rule *rule;

/* ---- What they read ---------------------------------------------------------------------------------------- */

static uint64_t get(entry e, uint32_t field)
{
	return e->read(e, field);
}

/* The field that the rule names. */
static uint64_t own(entry e, rule r)
{
	return get(e, r->field);
}

static uint64_t cpu2(entry e)
{
	return get(e, VMCS_CPU_CONTROLS) & CPU_SECONDARY_CONTROLS ? get(e, VMCS_CPU2_CONTROLS) : 0;
}

static bool controls(entry e, uint64_t bits)
{
	return get(e, VMCS_CPU_CONTROLS) & bits;
}

static bool canonical(entry e, uint32_t field)
{
	return entry_canonical(get(e, field), e->linear_bits);
}

static bool page(entry e, uint32_t field)
{
	const uint64_t address = get(e, field);

	return !(address & 0xfff) && !(address >> e->physical_bits);
}

/* ---- 27.2.1: controls --------------------------------------------------------------------------------------- */

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

/* ---- 27.2.1.3: the injected event ----------------------------------------------------------------------------- */

static bool injects(entry e)
{
	return get(e, VMCS_ENTRY_INTERRUPTION_INFO) & INFO_VALID;
}

static uint32_t event_type(entry e)
{
	return get(e, VMCS_ENTRY_INTERRUPTION_INFO) >> 8 & 7;
}

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

/* ---- 27.2.2 to 27.2.4: host state -------------------------------------------------------------------------------- */

static bool fixed_ok(entry e, uint32_t field, uint32_t fixed0, uint32_t fixed1, uint64_t free)
{
	const uint64_t value = get(e, field);

	return !(~value & e->msr(e, fixed0) & ~free) && !(value & ~e->msr(e, fixed1));
}

static bool host_cr0(entry e, rule r)
{
	return fixed_ok(e, r->field, X86VCPU_MSR_IA32_VMX_CR0_FIXED0, X86VCPU_MSR_IA32_VMX_CR0_FIXED1, 0);
}

static bool cr4(entry e, rule r)
{
	return fixed_ok(e, r->field, X86VCPU_MSR_IA32_VMX_CR4_FIXED0, X86VCPU_MSR_IA32_VMX_CR4_FIXED1, 0);
}

static bool cr3(entry e, rule r)
{
	return !((own(e, r) & ~e->cr3_flags) >> e->physical_bits);
}

static bool canonical_field(entry e, rule r)
{
	return canonical(e, r->field);
}

static bool host_pat(entry e, rule r)
{
	return !(get(e, VMCS_EXIT_CONTROLS) & EXIT_LOAD_PAT) || entry_pat_valid(own(e, r));
}

static bool host_efer(entry e, rule r)
{
	return !(get(e, VMCS_EXIT_CONTROLS) & EXIT_LOAD_EFER) || !(own(e, r) & ~(uint64_t)EFER_DEFINED);
}

static bool host_efer_mode(entry e, rule r)
{
	return !(get(e, VMCS_EXIT_CONTROLS) & EXIT_LOAD_EFER) ||
	       (own(e, r) & (EFER_LMA | EFER_LME)) == (EFER_LMA | EFER_LME);
}

static bool host_selector(entry e, rule r)
{
	return !(own(e, r) & 7);
}

static bool not_zero(entry e, rule r)
{
	return own(e, r);
}

static bool host_space(entry e, rule r)
{
	return own(e, r) & EXIT_HOST_ADDRESS_SPACE_SIZE;
}

static bool host_pae(entry e, rule r)
{
	return own(e, r) & CR4_PAE;
}

/* ---- 27.3.1.1: guest registers -------------------------------------------------------------------------------------- */

static bool ia32e(entry e)
{
	return get(e, VMCS_ENTRY_CONTROLS) & ENTRY_IA32E_MODE_GUEST;
}

static bool loads(entry e, uint64_t control)
{
	return get(e, VMCS_ENTRY_CONTROLS) & control;
}

static bool guest_cr0(entry e, rule r)
{
	return fixed_ok(e, r->field, X86VCPU_MSR_IA32_VMX_CR0_FIXED0, X86VCPU_MSR_IA32_VMX_CR0_FIXED1,
			CR0_PE | CR0_PG | CR0_NW | CR0_CD);
}

static bool paging_protected(entry e, rule r)
{
	return !(own(e, r) & CR0_PG) || own(e, r) & CR0_PE;
}

static bool debugctl(entry e, rule r)
{
	return !loads(e, ENTRY_LOAD_DEBUG_CONTROLS) || !(own(e, r) & ~DEBUGCTL_BITS);
}

static bool dr7(entry e, rule r)
{
	return !loads(e, ENTRY_LOAD_DEBUG_CONTROLS) || !(own(e, r) >> 32);
}

static bool ia32e_paging(entry e, rule r)
{
	(void)r;
	return !ia32e(e) || (get(e, VMCS_GUEST_CR0) & CR0_PG && get(e, VMCS_GUEST_CR4) & CR4_PAE);
}

static bool pcide(entry e, rule r)
{
	return ia32e(e) || !(own(e, r) & CR4_PCIDE);
}

static bool guest_pat(entry e, rule r)
{
	return !loads(e, ENTRY_LOAD_PAT) || entry_pat_valid(own(e, r));
}

static bool efer_reserved(entry e, rule r)
{
	return !loads(e, ENTRY_LOAD_EFER) || !(own(e, r) & ~(uint64_t)EFER_DEFINED);
}

static bool efer_lma(entry e, rule r)
{
	return !loads(e, ENTRY_LOAD_EFER) || !(own(e, r) & EFER_LMA) == !ia32e(e);
}

static bool efer_lme(entry e, rule r)
{
	return !loads(e, ENTRY_LOAD_EFER) || !(get(e, VMCS_GUEST_CR0) & CR0_PG) ||
	       !(own(e, r) & EFER_LMA) == !(own(e, r) & EFER_LME);
}

/* ---- 27.3.1.2: segments --------------------------------------------------------------------------------------------- */

static uint32_t rights(entry e, unsigned segment)
{
	return (uint32_t)get(e, VMCS_GUEST_ES_ACCESS_RIGHTS + 2 * segment);
}

static uint64_t base(entry e, unsigned segment)
{
	return get(e, VMCS_GUEST_ES_BASE + 2 * segment);
}

static uint32_t limit(entry e, unsigned segment)
{
	return (uint32_t)get(e, VMCS_GUEST_ES_LIMIT + 2 * segment);
}

static bool v8086(entry e)
{
	return get(e, VMCS_GUEST_RFLAGS) & RFLAGS_VM;
}

/* Whether the rules for segments of protected mode are the ones for this one. */
static bool applies(entry e, rule r)
{
	return !(rights(e, r->segment) & AR_UNUSABLE) && (r->segment > X86VCPU_SEGMENT_GS || !v8086(e));
}

static bool usable(entry e, rule r)
{
	return !(rights(e, r->segment) & AR_UNUSABLE) || (r->segment <= X86VCPU_SEGMENT_GS && v8086(e));
}

static bool v8086_base(entry e, rule r)
{
	return !v8086(e) || own(e, r) == get(e, VMCS_GUEST_ES_SELECTOR + 2u * r->segment) << 4;
}

static bool v8086_limit(entry e, rule r)
{
	return !v8086(e) || own(e, r) == 0xffff;
}

static bool v8086_rights(entry e, rule r)
{
	return !v8086(e) || own(e, r) == 0xf3;
}

static bool cs_type(entry e, rule r)
{
	const uint32_t type = rights(e, r->segment) & AR_TYPE;

	return !applies(e, r) || type == 3 || type == 9 || type == 11 || type == 13 || type == 15;
}

static bool ss_type(entry e, rule r)
{
	const uint32_t type = rights(e, r->segment) & AR_TYPE;

	return !applies(e, r) || type == 3 || type == 7;
}

static bool data_accessed(entry e, rule r)
{
	return !applies(e, r) || rights(e, r->segment) & AR_TYPE_ACCESSED;
}

static bool data_readable(entry e, rule r)
{
	return !applies(e, r) || !(rights(e, r->segment) & AR_TYPE_CODE) || rights(e, r->segment) & AR_TYPE_WRITE;
}

static bool tr_type(entry e, rule r)
{
	const uint32_t type = rights(e, r->segment) & AR_TYPE;

	return type == 11 || (!ia32e(e) && type == 3);
}

static bool ldtr_type(entry e, rule r)
{
	return !applies(e, r) || (rights(e, r->segment) & AR_TYPE) == 2;
}

static bool code_or_data(entry e, rule r)
{
	return !applies(e, r) || (rights(e, r->segment) & AR_S && rights(e, r->segment) & AR_P);
}

static bool system_segment(entry e, rule r)
{
	return !applies(e, r) || (!(rights(e, r->segment) & AR_S) && rights(e, r->segment) & AR_P);
}

static bool rights_reserved(entry e, rule r)
{
	return !applies(e, r) || !(rights(e, r->segment) & ACCESS_RESERVED);
}

static bool cs_l_and_d(entry e, rule r)
{
	return !applies(e, r) || !ia32e(e) || (own(e, r) & (AR_L | AR_D)) != (AR_L | AR_D);
}

static bool ss_dpl(entry e, rule r)
{
	const uint32_t cs = rights(e, X86VCPU_SEGMENT_CS), type = cs & AR_TYPE;

	return !applies(e, r) || type == 3 || !((own(e, r) ^ cs) & AR_DPL) || type & AR_TYPE_EXPAND;
}

static bool ss_real(entry e, rule r)
{
	return !applies(e, r) || get(e, VMCS_GUEST_CR0) & CR0_PE || !(own(e, r) & AR_DPL);
}

static bool granular_low(entry e, rule r)
{
	return !applies(e, r) || (limit(e, r->segment) & 0xfff) == 0xfff || !(rights(e, r->segment) & AR_G);
}

static bool granular_high(entry e, rule r)
{
	return !applies(e, r) || !(limit(e, r->segment) >> 20) || rights(e, r->segment) & AR_G;
}

/* FS, GS, LDTR and TR have 64-bit bases. */
static bool segment_base(entry e, rule r)
{
	if (r->segment >= X86VCPU_SEGMENT_FS)
		return !applies(e, r) || entry_canonical(base(e, r->segment), e->linear_bits);
	return !applies(e, r) || !(base(e, r->segment) >> 32);
}

static bool no_ti(entry e, rule r)
{
	return !applies(e, r) || !(own(e, r) & SELECTOR_TI);
}

static bool table_limit(entry e, rule r)
{
	return !(own(e, r) >> 16);
}

/* ---- 27.3.1.4, 27.3.1.5: RIP, RFLAGS, non-register state -------------------------------------------------------------- */

/* The bit below those that must be the same may differ: the end of the lower half of the address space. */
static bool rip_ok(entry e, rule r)
{
	const uint64_t high = own(e, r) >> e->linear_bits;

	if (!ia32e(e) || !(rights(e, X86VCPU_SEGMENT_CS) & AR_L))
		return true;
	return !high || high == UINT64_MAX >> e->linear_bits;
}

static bool rip_32(entry e, rule r)
{
	return (ia32e(e) && rights(e, X86VCPU_SEGMENT_CS) & AR_L) || !(own(e, r) >> 32);
}

static bool rflags_reserved(entry e, rule r)
{
	return !(own(e, r) & ~(uint64_t)RFLAGS_DEFINED) && own(e, r) & RFLAGS_FIXED;
}

static bool rflags_vm(entry e, rule r)
{
	return !(own(e, r) & RFLAGS_VM) || (!ia32e(e) && get(e, VMCS_GUEST_CR0) & CR0_PE);
}

static bool injects_type(entry e, uint32_t type)
{
	return injects(e) && event_type(e) == type;
}

static bool interrupt_if(entry e, rule r)
{
	return !injects_type(e, GUEST_EVENT_EXTERNAL) || own(e, r) & RFLAGS_IF;
}

#define SHADOWS (GUEST_BLOCKING_STI | GUEST_BLOCKING_MOV_SS)

static bool in_shadow(entry e)
{
	return get(e, VMCS_GUEST_INTERRUPTIBILITY) & SHADOWS;
}

static bool activity(entry e, rule r)
{
	return own(e, r) <= 3;
}

static bool activity_shadow(entry e, rule r)
{
	return !own(e, r) || !in_shadow(e);
}

static bool blocking_reserved(entry e, rule r)
{
	return !(own(e, r) & ~UINT64_C(0x1f));
}

static bool blocking_both(entry e, rule r)
{
	return (own(e, r) & SHADOWS) != SHADOWS;
}

static bool blocking_sti(entry e, rule r)
{
	return !(own(e, r) & GUEST_BLOCKING_STI) || get(e, VMCS_GUEST_RFLAGS) & RFLAGS_IF;
}

static bool blocking_event_ss(entry e, rule r)
{
	return (!injects_type(e, GUEST_EVENT_EXTERNAL) && !injects_type(e, GUEST_EVENT_NMI)) ||
	       !(own(e, r) & GUEST_BLOCKING_MOV_SS);
}

static bool blocking_interrupt_sti(entry e, rule r)
{
	return !injects_type(e, GUEST_EVENT_EXTERNAL) || !(own(e, r) & GUEST_BLOCKING_STI);
}

static bool blocking_nmi(entry e, rule r)
{
	return !injects_type(e, GUEST_EVENT_NMI) || !(get(e, VMCS_PIN_CONTROLS) & PIN_VIRTUAL_NMIS) ||
	       !(own(e, r) & GUEST_BLOCKING_NMI);
}

static bool pending_reserved(entry e, rule r)
{
	return !(own(e, r) & ~(UINT64_C(0xf) | PENDING_DB_ENABLED | PENDING_DB_BS | PENDING_DB_RTM));
}

static bool step_state(entry e)
{
	return in_shadow(e) || get(e, VMCS_GUEST_ACTIVITY) == 1;
}

static bool pending_missing(entry e, rule r)
{
	const bool steps = get(e, VMCS_GUEST_RFLAGS) & RFLAGS_TF && !(get(e, VMCS_GUEST_DEBUGCTL) & DEBUGCTL_BTF);

	return !step_state(e) || !steps || own(e, r) & PENDING_DB_BS;
}

static bool pending_without_tf(entry e, rule r)
{
	return !step_state(e) || get(e, VMCS_GUEST_RFLAGS) & RFLAGS_TF || !(own(e, r) & PENDING_DB_BS);
}

static bool link_pointer(entry e, rule r)
{
	return own(e, r) == UINT64_MAX;
}

/* 27.3.1.6 */
static bool pdpte(entry e, rule r)
{
	if (ia32e(e) || !(get(e, VMCS_GUEST_CR0) & CR0_PG) || !(get(e, VMCS_GUEST_CR4) & CR4_PAE))
		return true;
	return !(own(e, r) & PTE_P) || (!(own(e, r) & PDPTE_PAE_RESERVED) && !(own(e, r) >> e->physical_bits));
}

/* ---- The table -------------------------------------------------------------------------------------------------------- */

#define CONTROL(id, section, field, text, holds) {id, VMX_ENTRY_CONTROLS_AREA, 0, VMCS_##field, "SDM " section, text, holds}
#define HOST(id, section, field, text, holds) {id, VMX_ENTRY_HOST_AREA, 0, VMCS_##field, "SDM " section, text, holds}
#define GUEST(id, section, field, text, holds) {id, VMX_ENTRY_GUEST_AREA, 0, VMCS_##field, "SDM " section, text, holds}
#define OF(id, name, part, text, holds)                                                                    \
	{id, VMX_ENTRY_GUEST_AREA, X86VCPU_SEGMENT_##name, VMCS_GUEST_##name##_##part, "SDM 27.3.1.2", text, holds}

/* Ids are never used again. */
#define V8086(id, name)                                                                                     \
	OF(id, name, BASE, "virtual-8086: base", v8086_base),                                               \
	OF(id + 1, name, LIMIT, "virtual-8086: limit or access rights", v8086_limit),                       \
	OF(id + 2, name, ACCESS_RIGHTS, "virtual-8086: limit or access rights", v8086_rights)
#define GRANULARITY(id, name)                                                                               \
	OF(id, name, LIMIT, "segment granularity: G with a limit not ending in FFF", granular_low),         \
	OF(id + 1, name, LIMIT, "segment granularity: limit above 1 MiB without G", granular_high)
#define DATA(id, name)                                                                                      \
	OF(id, name, ACCESS_RIGHTS, "data segment not accessed", data_accessed),                            \
	OF(id + 1, name, ACCESS_RIGHTS, "data segment is execute-only", data_readable),                     \
	OF(id + 2, name, ACCESS_RIGHTS, "data segment: S or P", code_or_data),                              \
	OF(id + 3, name, ACCESS_RIGHTS, "data segment: reserved access rights", rights_reserved),           \
	OF(id + 4, name, BASE, "data segment base", segment_base), GRANULARITY(id + 5, name)

const struct vmx_entry_rule vmx_entry_rules[] = {
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

	HOST(1101, "27.2.2", HOST_CR0, "host CR0", host_cr0),
	HOST(1102, "27.2.2", HOST_CR4, "host CR4", cr4),
	HOST(1103, "27.2.2", HOST_CR3, "host CR3", cr3),
	HOST(1104, "27.2.2", HOST_SYSENTER_ESP, "host SYSENTER", canonical_field),
	HOST(1105, "27.2.2", HOST_SYSENTER_EIP, "host SYSENTER", canonical_field),
	HOST(1106, "27.2.2", HOST_PAT, "host PAT", host_pat),
	HOST(1107, "27.2.2", HOST_EFER, "host EFER", host_efer),
	HOST(1108, "27.2.2", HOST_EFER, "host EFER outside 64-bit mode", host_efer_mode),
	HOST(1110, "27.2.3", HOST_ES_SELECTOR, "host selector with TI or RPL", host_selector),
	HOST(1111, "27.2.3", HOST_CS_SELECTOR, "host selector with TI or RPL", host_selector),
	HOST(1112, "27.2.3", HOST_SS_SELECTOR, "host selector with TI or RPL", host_selector),
	HOST(1113, "27.2.3", HOST_DS_SELECTOR, "host selector with TI or RPL", host_selector),
	HOST(1114, "27.2.3", HOST_FS_SELECTOR, "host selector with TI or RPL", host_selector),
	HOST(1115, "27.2.3", HOST_GS_SELECTOR, "host selector with TI or RPL", host_selector),
	HOST(1116, "27.2.3", HOST_TR_SELECTOR, "host selector with TI or RPL", host_selector),
	HOST(1117, "27.2.3", HOST_CS_SELECTOR, "host CS is 0", not_zero),
	HOST(1118, "27.2.3", HOST_TR_SELECTOR, "host TR is 0", not_zero),
	HOST(1120, "27.2.3", HOST_FS_BASE, "host base address", canonical_field),
	HOST(1121, "27.2.3", HOST_GS_BASE, "host base address", canonical_field),
	HOST(1122, "27.2.3", HOST_TR_BASE, "host base address", canonical_field),
	HOST(1123, "27.2.3", HOST_GDTR_BASE, "host base address", canonical_field),
	HOST(1124, "27.2.3", HOST_IDTR_BASE, "host base address", canonical_field),
	HOST(1125, "27.2.4", EXIT_CONTROLS, "host address-space size", host_space),
	HOST(1126, "27.2.4", HOST_CR4, "host in 64-bit mode", host_pae),
	HOST(1127, "27.2.4", HOST_RIP, "host in 64-bit mode", canonical_field),

	GUEST(1201, "27.3.1.1", GUEST_CR0, "guest CR0", guest_cr0),
	GUEST(1202, "27.3.1.1", GUEST_CR0, "guest CR0: PG without PE", paging_protected),
	GUEST(1203, "27.3.1.1", GUEST_CR4, "guest CR4", cr4),
	GUEST(1204, "27.3.1.1", GUEST_DEBUGCTL, "guest debug controls", debugctl),
	GUEST(1205, "27.3.1.1", ENTRY_CONTROLS, "IA-32e mode guest without PG and PAE", ia32e_paging),
	GUEST(1206, "27.3.1.1", GUEST_CR4, "guest CR4.PCIDE outside IA-32e mode", pcide),
	GUEST(1207, "27.3.1.1", GUEST_CR3, "guest CR3", cr3),
	GUEST(1208, "27.3.1.1", GUEST_DR7, "guest debug controls", dr7),
	GUEST(1209, "27.3.1.1", GUEST_SYSENTER_ESP, "guest SYSENTER", canonical_field),
	GUEST(1210, "27.3.1.1", GUEST_SYSENTER_EIP, "guest SYSENTER", canonical_field),
	GUEST(1211, "27.3.1.1", GUEST_PAT, "guest PAT", guest_pat),
	GUEST(1212, "27.3.1.1", GUEST_EFER, "guest EFER: reserved bits", efer_reserved),
	GUEST(1213, "27.3.1.1", GUEST_EFER, "guest EFER.LMA and IA-32e mode guest", efer_lma),
	GUEST(1214, "27.3.1.1", GUEST_EFER, "guest EFER.LMA and LME", efer_lme),

	OF(1220, TR, ACCESS_RIGHTS, "TR unusable", usable),
	OF(1221, TR, ACCESS_RIGHTS, "TR type", tr_type),
	OF(1222, TR, ACCESS_RIGHTS, "TR access rights", system_segment),
	OF(1223, TR, ACCESS_RIGHTS, "TR access rights", rights_reserved),
	OF(1224, TR, SELECTOR, "TR selector or base", no_ti),
	OF(1225, TR, BASE, "TR selector or base", segment_base),
	GRANULARITY(1226, TR),
	OF(1230, LDTR, ACCESS_RIGHTS, "LDTR type", ldtr_type),
	OF(1231, LDTR, ACCESS_RIGHTS, "LDTR access rights", system_segment),
	OF(1232, LDTR, ACCESS_RIGHTS, "LDTR access rights", rights_reserved),
	OF(1233, LDTR, SELECTOR, "LDTR selector or base", no_ti),
	OF(1234, LDTR, BASE, "LDTR selector or base", segment_base),
	GRANULARITY(1235, LDTR),
	V8086(1240, ES), V8086(1243, CS), V8086(1246, SS), V8086(1249, DS), V8086(1252, FS), V8086(1255, GS),
	OF(1260, CS, ACCESS_RIGHTS, "CS unusable", usable),
	OF(1261, CS, ACCESS_RIGHTS, "CS type", cs_type),
	OF(1262, CS, ACCESS_RIGHTS, "CS: S or P", code_or_data),
	OF(1263, CS, ACCESS_RIGHTS, "CS: reserved access rights", rights_reserved),
	OF(1264, CS, ACCESS_RIGHTS, "CS: L and D", cs_l_and_d),
	OF(1265, CS, BASE, "CS base", segment_base),
	GRANULARITY(1266, CS),
	OF(1270, SS, ACCESS_RIGHTS, "SS type", ss_type),
	OF(1271, SS, ACCESS_RIGHTS, "SS: S or P", code_or_data),
	OF(1272, SS, ACCESS_RIGHTS, "SS: reserved access rights", rights_reserved),
	OF(1273, SS, ACCESS_RIGHTS, "SS.DPL and CS.DPL", ss_dpl),
	OF(1274, SS, ACCESS_RIGHTS, "SS.DPL in real mode", ss_real),
	OF(1275, SS, BASE, "SS base", segment_base),
	GRANULARITY(1276, SS),
	DATA(1280, ES), DATA(1290, DS), DATA(1300, FS), DATA(1310, GS),

	GUEST(1320, "27.3.1.3", GUEST_GDTR_BASE, "GDTR or IDTR base", canonical_field),
	GUEST(1321, "27.3.1.3", GUEST_IDTR_BASE, "GDTR or IDTR base", canonical_field),
	GUEST(1322, "27.3.1.3", GUEST_GDTR_LIMIT, "GDTR or IDTR limit", table_limit),
	GUEST(1323, "27.3.1.3", GUEST_IDTR_LIMIT, "GDTR or IDTR limit", table_limit),
	GUEST(1330, "27.3.1.4", GUEST_RIP, "RIP: bits 63:48 or 63:57", rip_ok),
	GUEST(1331, "27.3.1.4", GUEST_RIP, "RIP above 32 bits outside 64-bit mode", rip_32),
	GUEST(1332, "27.3.1.4", GUEST_RFLAGS, "RFLAGS: reserved bits", rflags_reserved),
	GUEST(1333, "27.3.1.4", GUEST_RFLAGS, "RFLAGS.VM", rflags_vm),
	GUEST(1334, "27.3.1.4", GUEST_RFLAGS, "external interrupt is injected with IF clear", interrupt_if),
	GUEST(1340, "27.3.1.5", GUEST_ACTIVITY, "activity state", activity),
	GUEST(1341, "27.3.1.5", GUEST_ACTIVITY, "activity state with blocking by STI or MOV SS", activity_shadow),
	GUEST(1342, "27.3.1.5", GUEST_INTERRUPTIBILITY, "interruptibility: reserved bits", blocking_reserved),
	GUEST(1343, "27.3.1.5", GUEST_INTERRUPTIBILITY, "interruptibility: STI and MOV SS", blocking_both),
	GUEST(1344, "27.3.1.5", GUEST_INTERRUPTIBILITY, "interruptibility: STI with IF clear", blocking_sti),
	GUEST(1345, "27.3.1.5", GUEST_INTERRUPTIBILITY, "interruptibility: event in the shadow of MOV SS", blocking_event_ss),
	GUEST(1346, "27.3.1.5", GUEST_INTERRUPTIBILITY, "interruptibility: interrupt in the shadow of STI",
	      blocking_interrupt_sti),
	GUEST(1347, "27.3.1.5", GUEST_INTERRUPTIBILITY, "interruptibility: NMI while NMIs are blocked", blocking_nmi),
	GUEST(1348, "27.3.1.5", GUEST_PENDING_DEBUG_EXCEPTIONS, "pending debug exceptions", pending_reserved),
	GUEST(1349, "27.3.1.5", GUEST_PENDING_DEBUG_EXCEPTIONS, "pending debug exceptions: BS is missing", pending_missing),
	GUEST(1350, "27.3.1.5", GUEST_PENDING_DEBUG_EXCEPTIONS, "pending debug exceptions: BS without TF", pending_without_tf),
	GUEST(1351, "27.3.1.5", LINK_POINTER, "VMCS link pointer", link_pointer),
	GUEST(1360, "27.3.1.6", GUEST_PDPTE0, "PDPTEs", pdpte),
	GUEST(1361, "27.3.1.6", GUEST_PDPTE1, "PDPTEs", pdpte),
	GUEST(1362, "27.3.1.6", GUEST_PDPTE2, "PDPTEs", pdpte),
	GUEST(1363, "27.3.1.6", GUEST_PDPTE3, "PDPTEs", pdpte),
};
const unsigned vmx_entry_rule_count = sizeof(vmx_entry_rules) / sizeof(vmx_entry_rules[0]);

const struct vmx_entry_rule *vmx_entry_find(const struct vmx_entry_view *e)
{
	for (unsigned i = 0; i < vmx_entry_rule_count; i++)
		if (!vmx_entry_rules[i].holds(e, &vmx_entry_rules[i]))
			return &vmx_entry_rules[i];
	return NULL;
}
