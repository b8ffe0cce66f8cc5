/* SPDX-License-Identifier: Apache-2.0 */
/* The checks of VM entry (SDM 27.2, 27.3), in the manual's order. Each complaint names its check. */
#include "machine.h"

#include <inttypes.h>

#define ERROR_LAUNCH_NOT_CLEAR 4
#define ERROR_RESUME_NOT_LAUNCHED 5
#define ERROR_CONTROLS 7
#define ERROR_HOST_STATE 8

static bool failed;

static void check(bool ok, const char *what)
{
	if (!ok) {
		complain("VM entry: %s", what);
		failed = true;
	}
}

static bool is_physical(uint64_t address, uint64_t alignment)
{
	return !(address & (alignment - 1)) && !(address >> 40);
}

static bool pat_is_valid(uint64_t value)
{
	for (unsigned i = 0; i < 8; i++, value >>= 8)
		if ((value & 0xff) > 7 || (value & 0xff) == 2 || (value & 0xff) == 3)
			return false;
	return true;
}

/* ---- 27.2.1: controls ---------------------------------------------------------------------------------------- */

static void check_word(uint32_t encoding, uint32_t msr, const char *what)
{
	const uint64_t can = msr_value(msr), value = field(encoding);

	check(!(~value & (uint32_t)can) && !(value & ~(can >> 32)), what);
}

static void check_words(void)
{
	check_word(VMCS_PIN_CONTROLS, X86VCPU_MSR_IA32_VMX_TRUE_PINBASED_CTLS, "reserved pin-based controls");
	check_word(VMCS_CPU_CONTROLS, X86VCPU_MSR_IA32_VMX_TRUE_PROCBASED_CTLS, "reserved processor-based controls");
	if (field(VMCS_CPU_CONTROLS) & CPU_SECONDARY_CONTROLS)
		check_word(VMCS_CPU2_CONTROLS, X86VCPU_MSR_IA32_VMX_PROCBASED_CTLS2, "reserved secondary controls");
	check_word(VMCS_EXIT_CONTROLS, X86VCPU_MSR_IA32_VMX_TRUE_EXIT_CTLS, "reserved VM-exit controls");
	check_word(VMCS_ENTRY_CONTROLS, X86VCPU_MSR_IA32_VMX_TRUE_ENTRY_CTLS, "reserved VM-entry controls");
}

static uint64_t cpu2_controls(void)
{
	return field(VMCS_CPU_CONTROLS) & CPU_SECONDARY_CONTROLS ? field(VMCS_CPU2_CONTROLS) : 0;
}

static void check_addresses(uint64_t controls, uint64_t cpu2)
{
	if (controls & CPU_USE_IO_BITMAPS)
		check(is_physical(field(VMCS_IO_BITMAP_A), 4096) && is_physical(field(VMCS_IO_BITMAP_B), 4096) &&
			      model_memory(model, field(VMCS_IO_BITMAP_A)) && model_memory(model, field(VMCS_IO_BITMAP_B)),
		      "I/O bitmap addresses");
	if (controls & CPU_USE_MSR_BITMAPS)
		check(is_physical(field(VMCS_MSR_BITMAP), 4096) && model_memory(model, field(VMCS_MSR_BITMAP)),
		      "MSR bitmap address");
	if (controls & CPU_USE_TPR_SHADOW) {
		check(is_physical(field(VMCS_VIRTUAL_APIC_ADDRESS), 4096) &&
			      model_memory(model, field(VMCS_VIRTUAL_APIC_ADDRESS)), "virtual-APIC address");
		if (!(cpu2 & CPU2_VIRTUAL_INTERRUPT_DELIVERY))
			check(!(field(VMCS_TPR_THRESHOLD) & ~UINT64_C(15)), "TPR threshold");
	} else {
		check(!(cpu2 & (CPU2_VIRTUALIZE_X2APIC_MODE | CPU2_APIC_REGISTER_VIRTUALIZATION |
				CPU2_VIRTUAL_INTERRUPT_DELIVERY)), "APIC virtualization without TPR shadow");
	}
	if (cpu2 & CPU2_VIRTUALIZE_APIC_ACCESSES)
		check(is_physical(field(VMCS_APIC_ACCESS_ADDRESS), 4096), "APIC-access address");
}

static void check_ept(uint64_t cpu2)
{
	const uint64_t eptp = field(VMCS_EPTP), can = msr_value(X86VCPU_MSR_IA32_VMX_EPT_VPID_CAP);

	if (!(cpu2 & CPU2_ENABLE_EPT)) {
		check(!(cpu2 & CPU2_UNRESTRICTED_GUEST), "unrestricted guest without EPT");
		return;
	}
	check((eptp & 7) == 6 || (eptp & 7) == 0, "EPTP memory type");
	check((eptp >> 3 & 7) == 3 || ((eptp >> 3 & 7) == 4 && can & EPT_CAP_WALK_5), "EPTP page-walk length");
	/* No check of the CPU's. */
	if ((eptp >> 3 & 7) + 1 != model->nested_levels)
		complain("VM entry: nested tables of %" PRIu32 " levels, and the EPTP says %u", model->nested_levels,
			 (unsigned)(eptp >> 3 & 7) + 1);
	check(!(eptp & BIT(6)) || can & EPT_CAP_ACCESSED_DIRTY, "EPTP accessed and dirty flags");
	check(!(eptp & 0xf80) && !(eptp >> 40), "EPTP reserved bits");
}

static bool vector_has_error_code(uint32_t vector)
{
	return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21;
}

static void check_injection(void)
{
	const uint64_t info = field(VMCS_ENTRY_INTERRUPTION_INFO), length = field(VMCS_ENTRY_INSTRUCTION_LENGTH);
	const uint32_t type = info >> 8 & 7, vector = info & 0xff;
	const bool code = info & BIT(11);

	if (!(info & BIT(31)))
		return;
	check(type != 1 && type != 7, "injected event: type");
	check(type != 2 || vector == 2, "injected event: NMI with another vector");
	check(type != 3 || vector <= 31, "injected event: exception above 31");
	check(code == (type == 3 && vector_has_error_code(vector) && field(VMCS_GUEST_CR0) & CR0_PE),
	      "injected event: error code");
	check(!(info & 0x7ffff000), "injected event: reserved bits");
	check(!code || !(field(VMCS_ENTRY_EXCEPTION_ERROR_CODE) >> 16), "injected event: error code above 16 bits");
	check(type < 4 || length <= 15, "injected event: instruction length");
}

static void check_controls(void)
{
	const uint64_t pin = field(VMCS_PIN_CONTROLS), controls = field(VMCS_CPU_CONTROLS), cpu2 = cpu2_controls();

	check_words();
	check(field(VMCS_CR3_TARGET_COUNT) <= 4, "CR3-target count");
	check_addresses(controls, cpu2);
	check(pin & PIN_NMI_EXITING || !(pin & PIN_VIRTUAL_NMIS), "virtual NMIs without NMI exiting");
	check(pin & PIN_VIRTUAL_NMIS || !(controls & CPU_NMI_WINDOW_EXITING), "NMI window without virtual NMIs");
	check(!(cpu2 & CPU2_ENABLE_VPID) || field(VMCS_VPID), "VPID 0");
	check_ept(cpu2);
	check(pin & PIN_PREEMPTION_TIMER || !(field(VMCS_EXIT_CONTROLS) & EXIT_SAVE_PREEMPTION_TIMER),
	      "saving the preemption timer without it");
	check(!field(VMCS_EXIT_MSR_STORE_COUNT) && !field(VMCS_EXIT_MSR_LOAD_COUNT) &&
		      !field(VMCS_ENTRY_MSR_LOAD_COUNT), "MSR lists");
	check_injection();
}

/* ---- 27.2.2 to 27.2.4: host state ---------------------------------------------------------------------------------- */

static void check_fixed(uint32_t encoding, uint32_t fixed0, uint32_t fixed1, uint64_t free, const char *what)
{
	const uint64_t value = field(encoding);

	check(!(~value & msr_value(fixed0) & ~free) && !(value & ~msr_value(fixed1)), what);
}

static void check_host(void)
{
	const uint64_t exit = field(VMCS_EXIT_CONTROLS);

	check_fixed(VMCS_HOST_CR0, X86VCPU_MSR_IA32_VMX_CR0_FIXED0, X86VCPU_MSR_IA32_VMX_CR0_FIXED1, 0, "host CR0");
	check_fixed(VMCS_HOST_CR4, X86VCPU_MSR_IA32_VMX_CR4_FIXED0, X86VCPU_MSR_IA32_VMX_CR4_FIXED1, 0, "host CR4");
	check(!(field(VMCS_HOST_CR3) >> 40), "host CR3");
	check(canonical(field(VMCS_HOST_SYSENTER_ESP)) && canonical(field(VMCS_HOST_SYSENTER_EIP)), "host SYSENTER");
	check(!(exit & EXIT_LOAD_PAT) || pat_is_valid(field(VMCS_HOST_PAT)), "host PAT");
	check(!(exit & EXIT_LOAD_EFER) || !(field(VMCS_HOST_EFER) & ~UINT64_C(0xd01)), "host EFER");
	check(!(exit & EXIT_LOAD_EFER) || (field(VMCS_HOST_EFER) & (EFER_LMA | EFER_LME)) == (EFER_LMA | EFER_LME),
	      "host EFER outside 64-bit mode");
	for (uint32_t f = VMCS_HOST_ES_SELECTOR; f <= VMCS_HOST_TR_SELECTOR; f += 2)
		check(!(field(f) & 7), "host selector with TI or RPL");
	check(field(VMCS_HOST_CS_SELECTOR), "host CS is 0");
	check(field(VMCS_HOST_TR_SELECTOR), "host TR is 0");
	for (uint32_t f = VMCS_HOST_FS_BASE; f <= VMCS_HOST_IDTR_BASE; f += 2)
		check(canonical(field(f)), "host base address");
	check(exit & EXIT_HOST_ADDRESS_SPACE_SIZE, "host address-space size");
	check(field(VMCS_HOST_CR4) & CR4_PAE && canonical(field(VMCS_HOST_RIP)), "host in 64-bit mode");
}

/* ---- 27.3.1: guest state ---------------------------------------------------------------------------------------------- */

static uint32_t rights(unsigned segment)
{
	return (uint32_t)field(VMCS_GUEST_ES_ACCESS_RIGHTS + 2 * segment);
}

static uint64_t base(unsigned segment)
{
	return field(VMCS_GUEST_ES_BASE + 2 * segment);
}

static uint32_t limit(unsigned segment)
{
	return (uint32_t)field(VMCS_GUEST_ES_LIMIT + 2 * segment);
}

static uint16_t selector(unsigned segment)
{
	return (uint16_t)field(VMCS_GUEST_ES_SELECTOR + 2 * segment);
}

static void check_guest_registers(void)
{
	const uint64_t cr0 = field(VMCS_GUEST_CR0), cr4 = field(VMCS_GUEST_CR4), entry = field(VMCS_ENTRY_CONTROLS);
	const bool ia32e = entry & ENTRY_IA32E_MODE_GUEST;
	const uint64_t efer = field(VMCS_GUEST_EFER);

	check_fixed(VMCS_GUEST_CR0, X86VCPU_MSR_IA32_VMX_CR0_FIXED0, X86VCPU_MSR_IA32_VMX_CR0_FIXED1,
		    CR0_PE | CR0_PG | CR0_NW | CR0_CD, "guest CR0");
	check(!(cr0 & CR0_PG) || cr0 & CR0_PE, "guest CR0: PG without PE");
	check_fixed(VMCS_GUEST_CR4, X86VCPU_MSR_IA32_VMX_CR4_FIXED0, X86VCPU_MSR_IA32_VMX_CR4_FIXED1, 0, "guest CR4");
	if (entry & ENTRY_LOAD_DEBUG_CONTROLS)
		check(!(field(VMCS_GUEST_DEBUGCTL) & ~UINT64_C(0xdfc3)) && !(field(VMCS_GUEST_DR7) >> 32),
		      "guest debug controls");
	check(!ia32e || (cr0 & CR0_PG && cr4 & CR4_PAE), "IA-32e mode guest without PG and PAE");
	check(ia32e || !(cr4 & CR4_PCIDE), "guest CR4.PCIDE outside IA-32e mode");
	check(!((field(VMCS_GUEST_CR3) & ~(has(MODEL_LAM) ? BIT(61) | BIT(62) : 0)) >> 40), "guest CR3");
	check(canonical(field(VMCS_GUEST_SYSENTER_ESP)) && canonical(field(VMCS_GUEST_SYSENTER_EIP)), "guest SYSENTER");
	check(!(entry & ENTRY_LOAD_PAT) || pat_is_valid(field(VMCS_GUEST_PAT)), "guest PAT");
	if (entry & ENTRY_LOAD_EFER) {
		check(!(efer & ~UINT64_C(0xd01)), "guest EFER: reserved bits");
		check((bool)(efer & EFER_LMA) == ia32e, "guest EFER.LMA and IA-32e mode guest");
		check(!(cr0 & CR0_PG) || (bool)(efer & EFER_LMA) == (bool)(efer & EFER_LME), "guest EFER.LMA and LME");
	}
}

static void check_v86(void)
{
	for (unsigned s = 0; s < 6; s++) {
		check(base(s) == (uint64_t)selector(s) << 4, "virtual-8086: base");
		check(limit(s) == 0xffff && rights(s) == 0xf3, "virtual-8086: limit or access rights");
	}
}

static void check_granularity(unsigned s)
{
	if ((limit(s) & 0xfff) != 0xfff)
		check(!(rights(s) & AR_G), "segment granularity: G with a limit not ending in FFF");
	if (limit(s) >> 20)
		check(rights(s) & AR_G, "segment granularity: limit above 1 MiB without G");
}

static void check_cs(bool ia32e)
{
	const uint32_t ar = rights(1), type = ar & AR_TYPE;

	check(!(ar & AR_UNUSABLE), "CS unusable");
	check(type == 3 || type == 9 || type == 11 || type == 13 || type == 15, "CS type");
	check(ar & AR_S && ar & AR_P, "CS: S or P");
	check(!(ar & 0xfffe0f00), "CS: reserved access rights");
	check(!(ia32e && ar & AR_L && ar & AR_D), "CS: L and D");
	check(!(base(1) >> 32), "CS base");
}

static void check_data(unsigned s)
{
	const uint32_t ar = rights(s);

	if (ar & AR_UNUSABLE)
		return;
	check(ar & AR_TYPE_ACCESSED, "data segment not accessed");
	check(!(ar & AR_TYPE_CODE) || ar & AR_TYPE_WRITE, "data segment is execute-only");
	check(ar & AR_S && ar & AR_P, "data segment: S or P");
	check(!(ar & 0xfffe0f00), "data segment: reserved access rights");
	check(s >= 4 ? canonical(base(s)) : !(base(s) >> 32), "data segment base");
}

static void check_ss(void)
{
	const uint32_t ar = rights(2), type = ar & AR_TYPE;

	if (ar & AR_UNUSABLE)
		return;
	check(type == 3 || type == 7, "SS type");
	check(ar & AR_S && ar & AR_P, "SS: S or P");
	check((rights(1) & AR_TYPE) == 3 || (ar & AR_DPL) == (rights(1) & AR_DPL) || rights(1) & AR_TYPE_EXPAND,
	      "SS.DPL and CS.DPL");
	check(field(VMCS_GUEST_CR0) & CR0_PE || !(ar & AR_DPL), "SS.DPL in real mode");
}

static void check_system_segments(bool ia32e)
{
	const uint32_t tr = rights(7), ldtr = rights(6);

	check(!(tr & AR_UNUSABLE), "TR unusable");
	check((tr & AR_TYPE) == 11 || (!ia32e && (tr & AR_TYPE) == 3), "TR type");
	check(!(tr & AR_S) && tr & AR_P && !(tr & 0xfffe0f00), "TR access rights");
	check(!(selector(7) & 4) && canonical(base(7)), "TR selector or base");
	if (!(ldtr & AR_UNUSABLE)) {
		check((ldtr & AR_TYPE) == 2, "LDTR type");
		check(!(ldtr & AR_S) && ldtr & AR_P && !(ldtr & 0xfffe0f00), "LDTR access rights");
		check(!(selector(6) & 4) && canonical(base(6)), "LDTR selector or base");
	}
	check(canonical(field(VMCS_GUEST_GDTR_BASE)) && canonical(field(VMCS_GUEST_IDTR_BASE)), "GDTR or IDTR base");
	check(!(field(VMCS_GUEST_GDTR_LIMIT) >> 16) && !(field(VMCS_GUEST_IDTR_LIMIT) >> 16), "GDTR or IDTR limit");
}

static void check_segments(bool ia32e)
{
	check_system_segments(ia32e);
	if (field(VMCS_GUEST_RFLAGS) & RFLAGS_VM) {
		check_v86();
		return;
	}
	check_cs(ia32e);
	check_ss();
	for (unsigned s = 0; s < 8; s++) {
		if (s != 1 && s != 2 && s < 6)
			check_data(s);
		if (!(rights(s) & AR_UNUSABLE))
			check_granularity(s);
	}
}

static void check_rip_and_rflags(bool ia32e)
{
	const uint64_t rip = field(VMCS_GUEST_RIP), rflags = field(VMCS_GUEST_RFLAGS);
	const uint64_t info = field(VMCS_ENTRY_INTERRUPTION_INFO);

	/* Bit 47, with 57-bit addresses bit 56, may differ from those above it. */
	if (ia32e && rights(1) & AR_L)
		check(has(MODEL_LA57) ? !(rip >> 57) || rip >> 57 == 0x7f : !(rip >> 48) || rip >> 48 == 0xffff,
		      "RIP: bits 63:48 or 63:57");
	else
		check(!(rip >> 32), "RIP above 32 bits outside 64-bit mode");
	check(!(rflags & ~RFLAGS_DEFINED) && rflags & RFLAGS_FIXED, "RFLAGS: reserved bits");
	check(!(rflags & RFLAGS_VM) || (!ia32e && field(VMCS_GUEST_CR0) & CR0_PE), "RFLAGS.VM");
	if (info & BIT(31) && (info >> 8 & 7) == 0)
		check(rflags & RFLAGS_IF, "external interrupt is injected with IF clear");
}

#define BLOCKING_STI 1u
#define BLOCKING_MOV_SS 2u
#define BLOCKING_NMI 8u

static void check_interruptibility(void)
{
	const uint64_t blocking = field(VMCS_GUEST_INTERRUPTIBILITY), info = field(VMCS_ENTRY_INTERRUPTION_INFO);
	const uint32_t type = info >> 8 & 7;
	const bool injects = info & BIT(31);

	check(!(blocking & ~UINT64_C(0x1f)), "interruptibility: reserved bits");
	check((blocking & 3) != 3, "interruptibility: STI and MOV SS");
	check(!(blocking & BLOCKING_STI) || field(VMCS_GUEST_RFLAGS) & RFLAGS_IF, "interruptibility: STI with IF clear");
	check(!injects || (type != 0 && type != 2) || !(blocking & BLOCKING_MOV_SS),
	      "interruptibility: event in the shadow of MOV SS");
	check(!injects || type != 0 || !(blocking & BLOCKING_STI), "interruptibility: interrupt in the shadow of STI");
	if (injects && type == 2 && field(VMCS_PIN_CONTROLS) & PIN_VIRTUAL_NMIS)
		check(!(blocking & BLOCKING_NMI), "interruptibility: NMI while NMIs are blocked");
}

static void check_other(void)
{
	const uint64_t activity = field(VMCS_GUEST_ACTIVITY), pending = field(VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS);
	const uint64_t blocking = field(VMCS_GUEST_INTERRUPTIBILITY), rflags = field(VMCS_GUEST_RFLAGS);

	check(activity <= 3, "activity state");
	check(!activity || !(blocking & 3), "activity state with blocking by STI or MOV SS");
	check_interruptibility();
	check(!(pending & ~UINT64_C(0x1d00f)) || !(pending & ~UINT64_C(0x1500f)), "pending debug exceptions");
	if ((blocking & 3 || activity == 1) && rflags & RFLAGS_TF && !(field(VMCS_GUEST_DEBUGCTL) & DEBUGCTL_BTF))
		check(pending & PENDING_DB_BS, "pending debug exceptions: BS is missing");
	if ((blocking & 3 || activity == 1) && !(rflags & RFLAGS_TF))
		check(!(pending & PENDING_DB_BS), "pending debug exceptions: BS without TF");
	check(field(VMCS_LINK_POINTER) == UINT64_MAX, "VMCS link pointer");
}

static void check_pdptes(bool ia32e)
{
	if (ia32e || !(field(VMCS_GUEST_CR0) & CR0_PG) || !(field(VMCS_GUEST_CR4) & CR4_PAE))
		return;
	for (uint32_t f = VMCS_GUEST_PDPTE0; f <= VMCS_GUEST_PDPTE3; f += 2)
		check(!(field(f) & PTE_P) || (!(field(f) & PDPTE_PAE_RESERVED) && !(field(f) >> 40)), "PDPTEs");
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
	bool ia32e;

	failed = false;
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
	check_controls();
	if (failed)
		return ERROR_CONTROLS;
	check_host();
	if (failed)
		return ERROR_HOST_STATE;
	ia32e = field(VMCS_ENTRY_CONTROLS) & ENTRY_IA32E_MODE_GUEST;
	check_guest_registers();
	check_segments(ia32e);
	check_rip_and_rflags(ia32e);
	check_other();
	check_pdptes(ia32e);
	return failed ? BAD_GUEST : 0;
}
