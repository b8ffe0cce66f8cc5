/* SPDX-License-Identifier: Apache-2.0 */
/* VT-x: VM entry, what exits, VM exit (SDM 26, 27, 28). */
#include "machine.h"

#include <inttypes.h>
#include <string.h>

#include "x86vcpu/vmx.h"

#define FAIL_INVALID 1u
#define FAIL_VALID 2u
#define INFO_VALID BIT(31)
#define APIC_PAGE UINT64_C(0xfee00000)

/* ---- What the guest sees ----------------------------------------------------------------------------------- */

static const uint32_t field_of[MODEL_FIELDS] = {
	[MODEL_RSP] = VMCS_GUEST_RSP, [MODEL_RIP] = VMCS_GUEST_RIP, [MODEL_RFLAGS] = VMCS_GUEST_RFLAGS,
	[MODEL_CR0] = VMCS_GUEST_CR0, [MODEL_CR3] = VMCS_GUEST_CR3, [MODEL_CR4] = VMCS_GUEST_CR4,
	[MODEL_EFER] = VMCS_GUEST_EFER, [MODEL_DR7] = VMCS_GUEST_DR7, [MODEL_GDTR_BASE] = VMCS_GUEST_GDTR_BASE,
	[MODEL_GDTR_LIMIT] = VMCS_GUEST_GDTR_LIMIT, [MODEL_IDTR_BASE] = VMCS_GUEST_IDTR_BASE,
	[MODEL_IDTR_LIMIT] = VMCS_GUEST_IDTR_LIMIT, [MODEL_SYSENTER_CS] = VMCS_GUEST_SYSENTER_CS,
	[MODEL_SYSENTER_ESP] = VMCS_GUEST_SYSENTER_ESP, [MODEL_SYSENTER_EIP] = VMCS_GUEST_SYSENTER_EIP,
	[MODEL_PAT] = VMCS_GUEST_PAT, [MODEL_DEBUGCTL] = VMCS_GUEST_DEBUGCTL,
	[MODEL_SHADOW] = VMCS_GUEST_INTERRUPTIBILITY, [MODEL_PENDING_DEBUG] = VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS,
	[MODEL_PDPTE0] = VMCS_GUEST_PDPTE0, [MODEL_PDPTE1] = VMCS_GUEST_PDPTE1,
	[MODEL_PDPTE2] = VMCS_GUEST_PDPTE2, [MODEL_PDPTE3] = VMCS_GUEST_PDPTE3,
};

/* MSRs that the VMCS has a field for, and those that live in the CPU alone. */
static const struct {
	uint32_t msr, field;
} switched[] = {
	{X86VCPU_MSR_IA32_EFER, VMCS_GUEST_EFER}, {X86VCPU_MSR_IA32_PAT, VMCS_GUEST_PAT},
	{X86VCPU_MSR_IA32_FS_BASE, VMCS_GUEST_FS_BASE}, {X86VCPU_MSR_IA32_GS_BASE, VMCS_GUEST_GS_BASE},
	{X86VCPU_MSR_IA32_SYSENTER_CS, VMCS_GUEST_SYSENTER_CS},
	{X86VCPU_MSR_IA32_SYSENTER_ESP, VMCS_GUEST_SYSENTER_ESP},
	{X86VCPU_MSR_IA32_SYSENTER_EIP, VMCS_GUEST_SYSENTER_EIP}, {X86VCPU_MSR_IA32_DEBUGCTL, VMCS_GUEST_DEBUGCTL},
};

static const uint32_t msr_of[MODEL_FIELDS] = {
	[MODEL_XSS] = X86VCPU_MSR_IA32_XSS, [MODEL_STAR] = X86VCPU_MSR_IA32_STAR,
	[MODEL_LSTAR] = X86VCPU_MSR_IA32_LSTAR, [MODEL_CSTAR] = X86VCPU_MSR_IA32_CSTAR,
	[MODEL_FMASK] = X86VCPU_MSR_IA32_FMASK, [MODEL_KERNEL_GS_BASE] = X86VCPU_MSR_IA32_KERNEL_GS_BASE,
	[MODEL_TSC_AUX] = X86VCPU_MSR_IA32_TSC_AUX,
};

static uint64_t visible(uint32_t real, uint32_t mask, uint32_t shadow)
{
	return (field(real) & ~field(mask)) | (field(shadow) & field(mask));
}

static uint32_t segment_field(uint32_t number)
{
	static const uint32_t first[4] = {VMCS_GUEST_ES_SELECTOR, VMCS_GUEST_ES_BASE, VMCS_GUEST_ES_LIMIT,
					  VMCS_GUEST_ES_ACCESS_RIGHTS};

	number -= MODEL_SELECTOR;
	return first[number / 8] + 2 * (number % 8);
}

static bool pae_paging(void)
{
	return field(VMCS_GUEST_CR0) & CR0_PG && field(VMCS_GUEST_CR4) & CR4_PAE &&
	       !(field(VMCS_GUEST_EFER) & EFER_LMA);
}

static uint64_t get(const uint64_t gpr[16], uint32_t number)
{
	if (number == MODEL_CR0)
		return visible(VMCS_GUEST_CR0, VMCS_CR0_GUEST_HOST_MASK, VMCS_CR0_READ_SHADOW);
	if (number == MODEL_CR4)
		return visible(VMCS_GUEST_CR4, VMCS_CR4_GUEST_HOST_MASK, VMCS_CR4_READ_SHADOW);
	if (number >= MODEL_PDPTE0 && number <= MODEL_PDPTE3 && !pae_paging())
		return 0;
	if (number == MODEL_SHADOW)
		return field(VMCS_GUEST_INTERRUPTIBILITY) & 0xb;
	if (number >= MODEL_SELECTOR && number < MODEL_GDTR_BASE)
		return field(segment_field(number));
	if (field_of[number])
		return field(field_of[number]);
	if (msr_of[number])
		return msr_value(msr_of[number]);
	if (number >= MODEL_DR0 && number <= MODEL_DR3)
		return cpu->dr[number - MODEL_DR0];
	if (number == MODEL_DR6)
		return cpu->dr6;
	if (number == MODEL_CR2)
		return cpu->cr2;
	if (number == MODEL_XCR0)
		return cpu->xcr0;
	return gpr[number];
}

static void set(uint64_t gpr[16], uint32_t number, uint64_t value)
{
	if (number == MODEL_SHADOW)
		set_field(VMCS_GUEST_INTERRUPTIBILITY, (field(VMCS_GUEST_INTERRUPTIBILITY) & ~UINT64_C(3)) | value);
	else if (number >= MODEL_SELECTOR && number < MODEL_GDTR_BASE)
		set_field(segment_field(number), value);
	else if (field_of[number])
		set_field(field_of[number], value);
	else if (msr_of[number])
		msr_set(cpu, msr_of[number], value);
	else if (number >= MODEL_DR0 && number <= MODEL_DR3)
		cpu->dr[number - MODEL_DR0] = value;
	else if (number == MODEL_CR2)
		cpu->cr2 = value;
	else if (number < 16)
		gpr[number] = value;
}

static uint64_t reg(const uint64_t gpr[16], uint64_t number)
{
	return get(gpr, number & 15);
}

/* ---- VM exit (SDM 28) ------------------------------------------------------------------------------------------ */

static void load_host_msrs(void)
{
	const uint64_t controls = field(VMCS_EXIT_CONTROLS);

	if (controls & EXIT_LOAD_PAT)
		msr_set(cpu, X86VCPU_MSR_IA32_PAT, field(VMCS_HOST_PAT));
	if (controls & EXIT_LOAD_EFER)
		msr_set(cpu, X86VCPU_MSR_IA32_EFER, field(VMCS_HOST_EFER));
	msr_set(cpu, X86VCPU_MSR_IA32_FS_BASE, field(VMCS_HOST_FS_BASE));
	msr_set(cpu, X86VCPU_MSR_IA32_GS_BASE, field(VMCS_HOST_GS_BASE));
	msr_set(cpu, X86VCPU_MSR_IA32_SYSENTER_CS, field(VMCS_HOST_SYSENTER_CS));
	msr_set(cpu, X86VCPU_MSR_IA32_SYSENTER_ESP, field(VMCS_HOST_SYSENTER_ESP));
	msr_set(cpu, X86VCPU_MSR_IA32_SYSENTER_EIP, field(VMCS_HOST_SYSENTER_EIP));
	msr_set(cpu, X86VCPU_MSR_IA32_DEBUGCTL, 0);
}

/* 28.5 */
static void load_host(void)
{
	load_host_msrs();
	cpu->cr0 = field(VMCS_HOST_CR0);
	cpu->cr3 = field(VMCS_HOST_CR3);
	cpu->cr4 = field(VMCS_HOST_CR4);
	cpu->dr7 = DR7_RESET;
	cpu->flags = RFLAGS_FIXED;
	for (unsigned s = 0; s < 6; s++)
		cpu->selectors[s] = (uint16_t)field(VMCS_HOST_ES_SELECTOR + 2 * s);
	cpu->selectors[6] = 0;
	cpu->selectors[7] = (uint16_t)field(VMCS_HOST_TR_SELECTOR);
	cpu->bases[MODEL_GDTR] = field(VMCS_HOST_GDTR_BASE);
	cpu->bases[MODEL_IDTR] = field(VMCS_HOST_IDTR_BASE);
	cpu->limits[0] = cpu->limits[1] = 0xffff;
	cpu->tr_limit = 0x67;
}

/* Fields that an exit leaves undefined hold poison, or what an earlier exit left. */
static void undefine(uint32_t encoding)
{
	if (!may(MODEL_MAY_STALE_FIELDS))
		set_field(encoding, POISON);
}

/* Bits that an exit leaves undefined. */
static uint64_t undefined(uint64_t bits)
{
	return may(MODEL_MAY_UNDEFINED_BITS) ? bits : 0;
}

/* 28.3.4: while MOV SS blocks the CPU may record the single step, or not. */
static void save_pending_debug(void)
{
	if (!(field(VMCS_GUEST_INTERRUPTIBILITY) & 2) || !(field(VMCS_GUEST_RFLAGS) & RFLAGS_TF))
		return;
	if (may(MODEL_MAY_PENDING_STEP))
		set_field(VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS, PENDING_DB_BS);
}

/* 28.3.3. */
static void save_rf(bool on)
{
	const uint64_t rflags = field(VMCS_GUEST_RFLAGS);

	if (may(MODEL_MAY_FAULTS_SET_RF))
		set_field(VMCS_GUEST_RFLAGS, on ? rflags | RFLAGS_RF : rflags & ~(uint64_t)RFLAGS_RF);
}

static void leave(uint32_t reason, uint64_t qualification)
{
	if (!(reason & X86VCPU_VMX_REASON_ENTRY_FAILURE))
		save_pending_debug();
	set_field(VMCS_EXIT_REASON, reason);
	set_field(VMCS_EXIT_QUALIFICATION, qualification);
	undefine(VMCS_EXIT_INSTRUCTION_LENGTH);
	undefine(VMCS_EXIT_INSTRUCTION_INFO);
	undefine(VMCS_GUEST_LINEAR_ADDRESS);
	undefine(VMCS_GUEST_PHYSICAL_ADDRESS);
	set_field(VMCS_EXIT_INTERRUPTION_INFO, POISON & 0x7fffffff);
	undefine(VMCS_EXIT_INTERRUPTION_ERROR_CODE);
	set_field(VMCS_IDT_VECTORING_INFO, undefined(POISON & 0x7fffffff));
	undefine(VMCS_IDT_VECTORING_ERROR_CODE);
	set_field(VMCS_ENTRY_INTERRUPTION_INFO, field(VMCS_ENTRY_INTERRUPTION_INFO) & ~INFO_VALID);
	trace(MODEL_TRACE_EXIT, reason, qualification);
}

static bool exit_for(uint32_t reason, uint64_t qualification, uint32_t length)
{
	leave(reason, qualification);
	set_field(VMCS_EXIT_INSTRUCTION_LENGTH, length);
	if (length)
		save_rf(false);
	return true;
}

static bool exit_for_event(uint32_t type, uint32_t vector, bool has_code, uint32_t code, uint64_t qualification)
{
	leave(type == 0 ? X86VCPU_VMX_EXIT_EXTERNAL_INTERRUPT : X86VCPU_VMX_EXIT_EXCEPTION_OR_NMI, qualification);
	set_field(VMCS_EXIT_INTERRUPTION_INFO, INFO_VALID | type << 8 | vector | (has_code ? BIT(11) : 0) |
						       (type == 3 && vector == VECTOR_DF ? undefined(BIT(12)) : 0));
	if (has_code)
		set_field(VMCS_EXIT_INTERRUPTION_ERROR_CODE, code);
	if (type == 3 && vector == VECTOR_AC)
		save_rf(true);
	return true;
}

static void stop(uint32_t vector)
{
	exit_for_event(0, vector, false, 0, 0);
}

/* ---- Natively ---------------------------------------------------------------------------------------------------- */

static bool faults(uint32_t vector, bool has_code, uint32_t code, uint64_t qualification);

/* The monitor trap flag's exit comes before the #DB, which stays pending (SDM 26.5.2). */
static bool ends(bool steps)
{
	if (!(field(VMCS_CPU_CONTROLS) & CPU_MONITOR_TRAP_FLAG))
		return steps && faults(VECTOR_DB, false, 0, PENDING_DB_BS);
	if (steps)
		set_field(VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS, PENDING_DB_BS);
	return exit_for(X86VCPU_VMX_EXIT_MONITOR_TRAP_FLAG, 0, 0);
}

/* An instruction is over; then comes what RFLAGS.TF asked for (SDM 6.9). */
static bool done_with(uint64_t gpr[16], const struct model_op *op, bool steps)
{
	uint64_t rip = get(gpr, MODEL_RIP) + op->length;

	if (!(field(VMCS_GUEST_EFER) & EFER_LMA && field(VMCS_GUEST_CS_ACCESS_RIGHTS) & AR_L))
		rip = (uint32_t)rip;
	set(gpr, MODEL_RIP, rip);
	set(gpr, MODEL_SHADOW, 0);
	model->outcome.native = 1;
	return ends(steps);
}

static bool done(uint64_t gpr[16], const struct model_op *op)
{
	return done_with(gpr, op, field(VMCS_GUEST_RFLAGS) & RFLAGS_TF);
}

static bool faults(uint32_t vector, bool has_code, uint32_t code, uint64_t qualification)
{
	const bool pushes = has_code && field(VMCS_GUEST_CR0) & CR0_PE;

	if (field(VMCS_EXCEPTION_BITMAP) >> vector & 1)
		return exit_for_event(3, vector, pushes, code, qualification);
	set_field(VMCS_GUEST_INTERRUPTIBILITY, field(VMCS_GUEST_INTERRUPTIBILITY) & ~UINT64_C(3));
	if (vector == VECTOR_DB)
		cpu->dr6 |= qualification & PENDING_DB_BS;
	guest_took_with(3, vector, pushes, code, field(VMCS_GUEST_RFLAGS));
	return field(VMCS_CPU_CONTROLS) & CPU_MONITOR_TRAP_FLAG && exit_for(X86VCPU_VMX_EXIT_MONITOR_TRAP_FLAG, 0, 0);
}

static bool general_protection(void)
{
	return faults(VECTOR_GP, true, 0, 0);
}

static uint64_t edx_eax(const uint64_t gpr[16])
{
	return (gpr[MODEL_RDX] & UINT32_MAX) << 32 | (gpr[MODEL_RAX] & UINT32_MAX);
}

static void set_edx_eax(uint64_t gpr[16], uint64_t value)
{
	gpr[MODEL_RAX] = (uint32_t)value;
	gpr[MODEL_RDX] = value >> 32;
}

/* ---- Ports, MSRs ---------------------------------------------------------------------------------------------------- */

static bool in_bitmap(uint64_t hpa, uint32_t bit)
{
	const uint8_t *bitmap = model_memory(model, hpa);

	return bitmap[bit / 8] >> bit % 8 & 1;
}

static bool port_exits(const struct model_op *op)
{
	const uint64_t controls = field(VMCS_CPU_CONTROLS);

	if (!(controls & CPU_USE_IO_BITMAPS))
		return controls & CPU_UNCONDITIONAL_IO_EXITING;
	for (uint64_t port = op->a; port < op->a + op->b; port++)
		if (port > 0xffff || in_bitmap(port < 0x8000 ? field(VMCS_IO_BITMAP_A) : field(VMCS_IO_BITMAP_B),
					       port & 0x7fff))
			return true;
	return false;
}

static uint64_t string_address(const struct model_op *op, const uint64_t gpr[16])
{
	const uint64_t bytes = op->c >> 8 & 0xff, segment = op->kind == MODEL_OP_IN ? 0 : op->c >> 16 & 7;
	const uint64_t offset = op->kind == MODEL_OP_IN ? gpr[MODEL_RDI] : gpr[MODEL_RSI];
	const bool long_mode = field(VMCS_GUEST_EFER) & EFER_LMA && field(VMCS_GUEST_CS_ACCESS_RIGHTS) & AR_L;
	const uint64_t base = long_mode && segment < 4 ? 0 : field(VMCS_GUEST_ES_BASE + 2 * (uint32_t)segment);
	const uint64_t address = base + (bytes == 8 ? offset : bytes == 4 ? (uint32_t)offset : (uint16_t)offset);

	return long_mode ? address : (uint32_t)address;
}

static bool port(const struct model_op *op, uint64_t gpr[16])
{
	const uint64_t bytes = op->c >> 8 & 0xff;

	if (!port_exits(op)) {
		if (op->kind == MODEL_OP_IN && !(op->c & 1))
			gpr[MODEL_RAX] = op->b == 4 ? UINT32_MAX : gpr[MODEL_RAX] | (BIT(8 * op->b) - 1);
		return done(gpr, op);
	}
	exit_for(X86VCPU_VMX_EXIT_IO, (op->b - 1) | (op->kind == MODEL_OP_IN ? BIT(3) : 0) | (op->c & 7) << 4 |
					      op->a << 16, op->length);
	if (op->c & 1) {
		set_field(VMCS_GUEST_LINEAR_ADDRESS, string_address(op, gpr));
		set_field(VMCS_EXIT_INSTRUCTION_INFO, (bytes == 8 ? 2 : bytes == 4 ? 1 : 0) << 7 |
							      (op->kind == MODEL_OP_IN ? undefined(7)
										       : op->c >> 16 & 7) << 15 |
							      undefined(0xfffc7c7f));
	}
	return true;
}

static bool msr_exits(uint32_t msr, bool write)
{
	const uint64_t bitmap = field(VMCS_MSR_BITMAP);

	if (!(field(VMCS_CPU_CONTROLS) & CPU_USE_MSR_BITMAPS))
		return true;
	if (msr < 0x2000)
		return in_bitmap(bitmap, msr + (write ? 16384 : 0));
	if (msr >= 0xc0000000 && msr < 0xc0002000)
		return in_bitmap(bitmap, (msr & 0x1fff) + 8192 + (write ? 16384 : 0));
	return true;
}

static uint32_t switched_field(uint32_t msr)
{
	for (unsigned i = 0; i < ARRAY_SIZE(switched); i++)
		if (switched[i].msr == msr)
			return switched[i].field;
	return 0;
}

static bool rdmsr(const struct model_op *op, uint64_t gpr[16])
{
	const uint32_t msr = (uint32_t)gpr[MODEL_RCX], encoding = switched_field(msr);
	uint64_t value = 0;

	if (msr_exits(msr, false))
		return exit_for(X86VCPU_VMX_EXIT_RDMSR, 0, op->length);
	if (encoding)
		value = field(encoding);
	else if (msr == X86VCPU_MSR_IA32_TIME_STAMP_COUNTER)
		value = cpu->tsc + (field(VMCS_CPU_CONTROLS) & CPU_USE_TSC_OFFSETTING ? field(VMCS_TSC_OFFSET) : 0);
	else if (model_try_rdmsr(msr, &value))
		return general_protection();
	set_edx_eax(gpr, value);
	return done(gpr, op);
}

static bool write_efer(uint64_t value)
{
	const uint64_t old = field(VMCS_GUEST_EFER);

	if (value & ~(EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE) ||
	    (field(VMCS_GUEST_CR0) & CR0_PG && (value ^ old) & EFER_LME))
		return false;
	set_field(VMCS_GUEST_EFER, (value & ~EFER_LMA) | (old & EFER_LMA));
	return true;
}

static bool write_switched(uint32_t msr, uint32_t encoding, uint64_t value)
{
	switch (msr) {
	case X86VCPU_MSR_IA32_EFER:
		return write_efer(value);
	case X86VCPU_MSR_IA32_PAT:
		for (unsigned i = 0; i < 8; i++)
			if ((value >> 8 * i & 0xff) > 7 || (value >> 8 * i & 0xfe) == 2)
				return false;
		break;
	case X86VCPU_MSR_IA32_SYSENTER_CS:
		value = (uint32_t)value;
		break;
	case X86VCPU_MSR_IA32_DEBUGCTL:
		if (value & ~UINT64_C(0xdfc3))
			return false;
		break;
	default:
		if (!canonical(value))
			return false;
	}
	set_field(encoding, value);
	return true;
}

static bool wrmsr(const struct model_op *op, uint64_t gpr[16])
{
	const uint32_t msr = (uint32_t)gpr[MODEL_RCX], encoding = switched_field(msr);
	const uint64_t value = edx_eax(gpr);

	if (msr_exits(msr, true))
		return exit_for(X86VCPU_VMX_EXIT_WRMSR, 0, op->length);
	if (!(encoding ? write_switched(msr, encoding, value) : msr_guest_write(msr, value)))
		return general_protection();
	return done(gpr, op);
}

/* ---- Control registers (SDM 26.1.3, 26.3) ---------------------------------------------------------------------------- */

static bool load_pdptes(void)
{
	const uint64_t table = field(VMCS_GUEST_CR3) & CR3_PAE_BASE;
	uint64_t entries[4];

	for (unsigned i = 0; i < 4; i++) {
		entries[i] = guest_read32(table + 8 * i) | (uint64_t)guest_read32(table + 8 * i + 4) << 32;
		if (entries[i] & PTE_P && (entries[i] & PDPTE_PAE_RESERVED || entries[i] >> 40))
			return false;
	}
	for (unsigned i = 0; i < 4; i++)
		set_field(VMCS_GUEST_PDPTE0 + 2 * i, entries[i]);
	return true;
}

static void update_long_mode(uint64_t old, uint64_t new)
{
	const uint64_t efer = field(VMCS_GUEST_EFER);

	if (!((old ^ new) & CR0_PG) || !(efer & EFER_LME))
		return;
	set_field(VMCS_GUEST_EFER, new & CR0_PG ? efer | EFER_LMA : efer & ~EFER_LMA);
}

static bool write_cr0(uint64_t value)
{
	const uint64_t mask = field(VMCS_CR0_GUEST_HOST_MASK), old = field(VMCS_GUEST_CR0);
	const uint64_t new = (old & mask) | (value & ~mask & CR0_DEFINED) | CR0_ET;

	if (value >> 32 || (value & CR0_PG && !(value & CR0_PE)) || (value & CR0_NW && !(value & CR0_CD)))
		return false;
	if (old & ~new & CR0_PG && field(VMCS_GUEST_EFER) & EFER_LMA &&
	    (field(VMCS_GUEST_CS_ACCESS_RIGHTS) & AR_L || field(VMCS_GUEST_CR4) & CR4_PCIDE))
		return false;
	if (new & ~old & CR0_PG && field(VMCS_GUEST_EFER) & EFER_LME &&
	    (!(field(VMCS_GUEST_CR4) & CR4_PAE) || field(VMCS_GUEST_CS_ACCESS_RIGHTS) & AR_L))
		return false;
	set_field(VMCS_GUEST_CR0, new);
	if (pae_paging() && (new ^ old) & (CR0_PG | CR0_CD | CR0_NW) && !(field(VMCS_GUEST_EFER) & EFER_LME) &&
	    !load_pdptes()) {
		set_field(VMCS_GUEST_CR0, old);
		return false;
	}
	update_long_mode(old, new);
	return true;
}

static bool write_cr4(uint64_t value)
{
	const uint64_t mask = field(VMCS_CR4_GUEST_HOST_MASK), old = field(VMCS_GUEST_CR4);
	const uint64_t new = (old & mask) | (value & ~mask);

	if (new & ~msr_value(X86VCPU_MSR_IA32_VMX_CR4_FIXED1) ||
	    (field(VMCS_GUEST_EFER) & EFER_LMA && (!(value & CR4_PAE) || (value ^ old) & CR4_LA57)) ||
	    (new & ~old & CR4_PCIDE && (!(field(VMCS_GUEST_EFER) & EFER_LMA) || field(VMCS_GUEST_CR3) & 0xfff)))
		return false;
	set_field(VMCS_GUEST_CR4, new);
	if (pae_paging() && (new ^ old) & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP) && !load_pdptes()) {
		set_field(VMCS_GUEST_CR4, old);
		return false;
	}
	return true;
}

static bool write_cr3(uint64_t value)
{
	const uint64_t old = field(VMCS_GUEST_CR3);

	if (field(VMCS_GUEST_CR4) & CR4_PCIDE)
		value &= ~CR3_NO_FLUSH;
	if (field(VMCS_GUEST_EFER) & EFER_LMA && (value & ~(has(MODEL_LAM) ? BIT(61) | BIT(62) : 0)) >> 40)
		return false;
	set_field(VMCS_GUEST_CR3, value);
	if (pae_paging() && !load_pdptes()) {
		set_field(VMCS_GUEST_CR3, old);
		return false;
	}
	return true;
}

static bool write_cr8(uint64_t value)
{
	if (value >> 4)
		return false;
	if (field(VMCS_CPU_CONTROLS) & CPU_USE_TPR_SHADOW)
		*((uint8_t *)model_memory(model, field(VMCS_VIRTUAL_APIC_ADDRESS)) + 0x80) = (uint8_t)(value << 4);
	else
		complain("the guest's CR8 is the host's");
	return true;
}

static bool cr_load_exits(uint64_t number, uint64_t value)
{
	const uint64_t controls = field(VMCS_CPU_CONTROLS);

	switch (number) {
	case 0:
		return (value ^ field(VMCS_CR0_READ_SHADOW)) & field(VMCS_CR0_GUEST_HOST_MASK);
	case 3:
		return controls & CPU_CR3_LOAD_EXITING;
	case 4:
		return (value ^ field(VMCS_CR4_READ_SHADOW)) & field(VMCS_CR4_GUEST_HOST_MASK);
	default:
		return controls & CPU_CR8_LOAD_EXITING;
	}
}

static bool mov_to_cr(const struct model_op *op, uint64_t gpr[16])
{
	const bool long_mode = field(VMCS_GUEST_EFER) & EFER_LMA && field(VMCS_GUEST_CS_ACCESS_RIGHTS) & AR_L;
	const uint64_t value = long_mode ? reg(gpr, op->b) : (uint32_t)reg(gpr, op->b);
	bool ok;

	if (cr_load_exits(op->a, value))
		return exit_for(X86VCPU_VMX_EXIT_CR_ACCESS, op->a | (op->b & 15) << 8, op->length);
	switch (op->a) {
	case 0:
		ok = write_cr0(value);
		break;
	case 3:
		ok = write_cr3(value);
		break;
	case 4:
		ok = write_cr4(value);
		break;
	default:
		ok = write_cr8(value);
	}
	return ok ? done(gpr, op) : general_protection();
}

static bool mov_from_cr(const struct model_op *op, uint64_t gpr[16])
{
	const uint64_t controls = field(VMCS_CPU_CONTROLS);
	uint64_t value = 0;

	if ((op->a == 3 && controls & CPU_CR3_STORE_EXITING) || (op->a == 8 && controls & CPU_CR8_STORE_EXITING))
		return exit_for(X86VCPU_VMX_EXIT_CR_ACCESS, op->a | 1 << 4 | (op->b & 15) << 8, op->length);
	if (op->a == 8 && controls & CPU_USE_TPR_SHADOW)
		value = *((uint8_t *)model_memory(model, field(VMCS_VIRTUAL_APIC_ADDRESS)) + 0x80) >> 4;
	else
		value = get(gpr, op->a == 0 ? MODEL_CR0 : op->a == 3 ? MODEL_CR3 : MODEL_CR4);
	set(gpr, op->b & 15, value);
	return done(gpr, op);
}

static bool clts(const struct model_op *op, uint64_t gpr[16])
{
	const uint64_t mask = field(VMCS_CR0_GUEST_HOST_MASK), shadow = field(VMCS_CR0_READ_SHADOW);

	if (mask & shadow & CR0_TS)
		return exit_for(X86VCPU_VMX_EXIT_CR_ACCESS, 2 << 4, op->length);
	if (!(mask & CR0_TS))
		set_field(VMCS_GUEST_CR0, field(VMCS_GUEST_CR0) & ~CR0_TS);
	return done(gpr, op);
}

static bool lmsw(const struct model_op *op, uint64_t gpr[16])
{
	const uint64_t mask = field(VMCS_CR0_GUEST_HOST_MASK), shadow = field(VMCS_CR0_READ_SHADOW);
	const uint64_t low = CR0_MP | CR0_EM | CR0_TS, old = field(VMCS_GUEST_CR0);

	if ((op->a ^ shadow) & mask & low || (op->a & ~shadow & mask & CR0_PE))
		return exit_for(X86VCPU_VMX_EXIT_CR_ACCESS, 3 << 4 | (op->a & 0xffff) << 16, op->length);
	set_field(VMCS_GUEST_CR0, (old & ~(low & ~mask)) | (op->a & low & ~mask) | (op->a & CR0_PE & ~mask));
	return done(gpr, op);
}

static bool mov_dr(const struct model_op *op, uint64_t gpr[16])
{
	const uint32_t number = op->a == 4 ? 6 : op->a == 5 ? 7 : (uint32_t)op->a;

	if (field(VMCS_CPU_CONTROLS) & CPU_MOV_DR_EXITING)
		return exit_for(X86VCPU_VMX_EXIT_DR_ACCESS, op->a | (op->c & 1) << 4 | (op->b & 15) << 8, op->length);
	if (op->c & 1) {
		set(gpr, op->b & 15, number == 7 ? field(VMCS_GUEST_DR7) : model_read_dr(number));
	} else if (number >= 6 && reg(gpr, op->b) >> 32) {
		return general_protection();
	} else if (number == 7) {
		set_field(VMCS_GUEST_DR7, (reg(gpr, op->b) & DR7_WRITABLE) | DR7_RESET);
	} else {
		dr_set(number, reg(gpr, op->b));
	}
	return done(gpr, op);
}

/* ---- Other ------------------------------------------------------------------------------------------------------------ */

static bool with_control(const struct model_op *op, uint64_t gpr[16], bool exits, uint32_t reason)
{
	return exits ? exit_for(reason, 0, op->length) : done(gpr, op);
}

static bool rdtsc(const struct model_op *op, uint64_t gpr[16])
{
	const uint64_t controls = field(VMCS_CPU_CONTROLS);

	if (controls & CPU_RDTSC_EXITING)
		return exit_for(X86VCPU_VMX_EXIT_RDTSC, 0, op->length);
	set_edx_eax(gpr, cpu->tsc + (controls & CPU_USE_TSC_OFFSETTING ? field(VMCS_TSC_OFFSET) : 0));
	return done(gpr, op);
}

static bool rdpmc(const struct model_op *op, uint64_t gpr[16])
{
	if (field(VMCS_CPU_CONTROLS) & CPU_RDPMC_EXITING)
		return exit_for(X86VCPU_VMX_EXIT_RDPMC, 0, op->length);
	if (!guest_has_counter(gpr[MODEL_RCX]))
		return general_protection();
	set_edx_eax(gpr, 0);
	return done(gpr, op);
}

static bool xgetbv(const struct model_op *op, uint64_t gpr[16])
{
	if (!(field(VMCS_GUEST_CR4) & CR4_OSXSAVE))
		return faults(VECTOR_UD, false, 0, 0);
	if (gpr[MODEL_RCX] & UINT32_MAX)
		return general_protection();
	set_edx_eax(gpr, cpu->xcr0);
	return done(gpr, op);
}

static bool nested_fault(uint64_t gpa, uint64_t access, uint64_t linear, bool final)
{
	static const uint8_t bits[3] = {1, 2, 4};

	leave(X86VCPU_VMX_EXIT_EPT_VIOLATION, bits[access % 3] | BIT(7) | (final ? BIT(8) : 0));
	set_field(VMCS_GUEST_PHYSICAL_ADDRESS, gpa);
	set_field(VMCS_GUEST_LINEAR_ADDRESS, linear);
	return true;
}

/* SDM 28.2.3: an IRET that faults has ended the blocking by NMI, and says so. */
static bool access_faults(const struct model_op *op)
{
	const uint64_t blocking = field(VMCS_GUEST_INTERRUPTIBILITY);

	nested_fault(op->a, op->b & 3, op->c, !(op->b & 4));
	save_rf(true);
	if (op->b & 8) {
		set_field(VMCS_EXIT_QUALIFICATION, field(VMCS_EXIT_QUALIFICATION) | BIT(12));
		set_field(VMCS_GUEST_INTERRUPTIBILITY, blocking & ~UINT64_C(8));
	}
	return true;
}

static bool mmio(const struct model_op *op)
{
	const bool apic = field(VMCS_CPU_CONTROLS) & CPU_SECONDARY_CONTROLS &&
			  field(VMCS_CPU2_CONTROLS) & CPU2_VIRTUALIZE_APIC_ACCESSES;

	if (!apic || (op->a & ~UINT64_C(0xfff)) != APIC_PAGE)
		return access_faults(op);
	leave(X86VCPU_VMX_EXIT_APIC_ACCESS, (op->a & 0xfff) | op->b << 12);
	return true;
}

static bool exception(const struct model_op *op)
{
	const uint32_t vector = (uint32_t)op->a;
	const bool has_code = vector == 8 || (vector >= 10 && vector <= 14) || vector == 17;

	if (vector == VECTOR_PF && !(field(VMCS_EXCEPTION_BITMAP) >> vector & 1))
		cpu->cr2 = op->c;
	/* SDM 16.10: without CR4.MCE a machine check shuts down whatever runs. */
	if (vector == VECTOR_MC && !(field(VMCS_EXCEPTION_BITMAP) >> vector & 1) && !(field(VMCS_GUEST_CR4) & CR4_MCE)) {
		leave(X86VCPU_VMX_EXIT_TRIPLE_FAULT, 0);
		return true;
	}
	return faults(vector, has_code, (uint32_t)op->b, op->c);
}

static bool is_intercepted(uint32_t vector)
{
	return field(VMCS_EXCEPTION_BITMAP) >> vector & 1;
}

/* Benign exceptions come one after the other (SDM table 6-5); between them the CPU takes no interrupt. */
static bool storm(const struct model_op *op)
{
	const uint32_t vector = (uint32_t)op->a;

	if (!is_intercepted(vector)) {
		model->outcome.stuck = 1;
		stop(STOP_VECTOR);
		return true;
	}
	model->storm = vector;
	model->storm_left = (uint32_t)op->b;
	return exit_for_event(3, vector, vector == VECTOR_AC, 0, op->c);
}

/* The exit came during the delivery of an event: what it says of IRET and NMIs is undefined (SDM 28.2.2, 28.2.1). */
static void during_delivery(uint64_t info)
{
	set_field(VMCS_IDT_VECTORING_INFO, info | undefined(BIT(12)));
	if (field(VMCS_EXIT_REASON) == X86VCPU_VMX_EXIT_EPT_VIOLATION)
		set_field(VMCS_EXIT_QUALIFICATION, field(VMCS_EXIT_QUALIFICATION) | undefined(BIT(12)));
	else
		set_field(VMCS_EXIT_INTERRUPTION_INFO, field(VMCS_EXIT_INTERRUPTION_INFO) | undefined(BIT(12)));
}

/* The guest's own exception, on the way to its handler (SDM 28.2.4). */
static bool delivery(const struct model_op *op)
{
	const uint32_t vector = (uint32_t)op->a;
	const bool has_code = vector == 8 || (vector >= 10 && vector <= 14) || vector == VECTOR_AC;

	nested_fault(op->c, 1, 0, true);
	during_delivery(INFO_VALID | 3 << 8 | vector | (has_code ? BIT(11) : 0));
	if (has_code)
		set_field(VMCS_IDT_VECTORING_ERROR_CODE, op->b);
	return true;
}

static const struct guest_view view;

/* IRET ends the blocking by NMI, also if it faults (SDM 25.3, 28.2.3). */
static bool iret(const struct model_op *op, uint64_t gpr[16])
{
	const uint64_t blocking = field(VMCS_GUEST_INTERRUPTIBILITY);
	const bool steps = field(VMCS_GUEST_RFLAGS) & RFLAGS_TF;
	const uint64_t meets = guest_iret_meets();

	if ((uint32_t)meets >= 0x1000)
		return access_faults(&(struct model_op){.a = meets, .b = blocking & 8, .c = meets});
	set_field(VMCS_GUEST_INTERRUPTIBILITY, blocking & ~UINT64_C(8));
	if (meets)
		return faults(meets & 0xff, true, (uint32_t)(meets >> 32), 0);
	guest_iret_ends(&view, gpr);
	(void)op;
	return ends(steps);
}

static bool moves_flags(const struct model_op *op, uint64_t gpr[16])
{
	return done_with(gpr, op, guest_moves_flags(&view, gpr, op, msr_value(X86VCPU_MSR_IA32_FMASK),
						    msr_value(X86VCPU_MSR_IA32_LSTAR)));
}

/* INT n has no exit; INT3 raises #BP (SDM 6.4.4). */
static bool software_interrupt(const struct model_op *op)
{
	if (op->a == VECTOR_BP && field(VMCS_EXCEPTION_BITMAP) >> VECTOR_BP & 1) {
		exit_for_event(6, VECTOR_BP, false, 0, 0);
		set_field(VMCS_EXIT_INSTRUCTION_LENGTH, op->length);
		return true;
	}
	set_field(VMCS_GUEST_RIP, field(VMCS_GUEST_RIP) + op->length);
	guest_took_with(op->a == VECTOR_BP ? 6 : 4, (uint32_t)op->a, false, 0, field(VMCS_GUEST_RFLAGS));
	model->outcome.native = 1;
	return field(VMCS_CPU_CONTROLS) & CPU_MONITOR_TRAP_FLAG && exit_for(X86VCPU_VMX_EXIT_MONITOR_TRAP_FLAG, 0, 0);
}

/* SDM 18.2, 18.3.1.1: an instruction's breakpoint before it, unless RF is set; a datum's after it. */
static bool hit(const struct model_op *op, uint64_t gpr[16])
{
	const uint64_t dr7 = field(VMCS_GUEST_DR7), enabled = dr7 >> 2 * op->a & 3;
	const bool instruction = !(dr7 >> (16 + 4 * op->a) & 3);

	if (!enabled || (instruction && field(VMCS_GUEST_RFLAGS) & RFLAGS_RF)) {
		set_field(VMCS_GUEST_RFLAGS, field(VMCS_GUEST_RFLAGS) & ~RFLAGS_RF);
		return done(gpr, op);
	}
	if (!instruction)
		set(gpr, MODEL_RIP, get(gpr, MODEL_RIP) + op->length);
	return faults(VECTOR_DB, false, 0, BIT(op->a));
}

static bool host_nmi(uint64_t gpr[16], const struct model_op *op)
{
	if (field(VMCS_PIN_CONTROLS) & PIN_NMI_EXITING)
		return exit_for_event(2, VECTOR_NMI, false, 0, 0);
	guest_took(2, VECTOR_NMI, false, 0);
	(void)gpr, (void)op;
	return false;
}

static bool host_event(const struct model_op *op, uint64_t gpr[16])
{
	switch (op->kind) {
	case MODEL_OP_TRIPLE_FAULT:
		leave(X86VCPU_VMX_EXIT_TRIPLE_FAULT, 0);
		return true;
	case MODEL_OP_INTERRUPT:
		return exit_for_event(0, op->a & 0xff, false, 0, 0);
	case MODEL_OP_NMI:
		return host_nmi(gpr, op);
	case MODEL_OP_TIMER:
		if (!(field(VMCS_PIN_CONTROLS) & PIN_PREEMPTION_TIMER))
			return false;
		leave(X86VCPU_VMX_EXIT_PREEMPTION_TIMER, 0);
		return true;
	case MODEL_OP_TASK_SWITCH:
		return exit_for(X86VCPU_VMX_EXIT_TASK_SWITCH, op->a, op->length);
	default:
		return false;
	}
}

static bool controlled(const struct model_op *op, uint64_t gpr[16])
{
	const uint64_t controls = field(VMCS_CPU_CONTROLS);

	switch (op->kind) {
	case MODEL_OP_HLT:
		if (!(controls & CPU_HLT_EXITING))
			set_field(VMCS_GUEST_ACTIVITY, 1);
		return with_control(op, gpr, controls & CPU_HLT_EXITING, X86VCPU_VMX_EXIT_HLT);
	case MODEL_OP_WBINVD:
		if (!(field(VMCS_CPU2_CONTROLS) & CPU2_WBINVD_EXITING))
			guest_writes_back("WBINVD");
		return with_control(op, gpr, field(VMCS_CPU2_CONTROLS) & CPU2_WBINVD_EXITING, X86VCPU_VMX_EXIT_WBINVD);
	case MODEL_OP_RDPMC:
		return rdpmc(op, gpr);
	case MODEL_OP_PAUSE:
		return with_control(op, gpr, controls & CPU_PAUSE_EXITING, X86VCPU_VMX_EXIT_PAUSE);
	case MODEL_OP_MONITOR:
		return with_control(op, gpr, controls & CPU_MONITOR_EXITING, X86VCPU_VMX_EXIT_MONITOR);
	case MODEL_OP_MWAIT:
		return with_control(op, gpr, controls & CPU_MWAIT_EXITING, X86VCPU_VMX_EXIT_MWAIT);
	default:
		return host_event(op, gpr);
	}
}

static bool raw_exit(const struct model_raw_exit *raw)
{
	leave((uint32_t)raw->reason, raw->qualification);
	set_field(VMCS_EXIT_INSTRUCTION_LENGTH, raw->length);
	set_field(VMCS_EXIT_INSTRUCTION_INFO, raw->instruction);
	set_field(VMCS_GUEST_LINEAR_ADDRESS, raw->linear);
	set_field(VMCS_GUEST_PHYSICAL_ADDRESS, raw->physical);
	set_field(VMCS_EXIT_INTERRUPTION_INFO, raw->interruption);
	set_field(VMCS_EXIT_INTERRUPTION_ERROR_CODE, raw->interruption >> 32);
	set_field(VMCS_IDT_VECTORING_INFO, raw->vectoring);
	set_field(VMCS_IDT_VECTORING_ERROR_CODE, raw->vectoring >> 32);
	return true;
}

static uint32_t cpl(void)
{
	if (!(field(VMCS_GUEST_CR0) & CR0_PE))
		return 0;
	return field(VMCS_GUEST_RFLAGS) & RFLAGS_VM ? 3 : field(VMCS_GUEST_SS_ACCESS_RIGHTS) >> 5 & 3;
}

static bool exits(const struct model_op *op, uint64_t gpr[16])
{
	const uint32_t refused = guest_is_refused(op, cpl(), field(VMCS_GUEST_RFLAGS), field(VMCS_GUEST_CR4));

	if (refused)
		return faults(refused, refused == VECTOR_GP, 0, 0);
	switch (op->kind) {
	case MODEL_OP_RAW:
		return raw_exit(&model->raw);
	case MODEL_OP_CPUID:
		return exit_for(X86VCPU_VMX_EXIT_CPUID, 0, op->length);
	case MODEL_OP_HYPERCALL:
		return exit_for(X86VCPU_VMX_EXIT_VMCALL, 0, op->length);
	case MODEL_OP_XSETBV:
		return field(VMCS_GUEST_CR4) & CR4_OSXSAVE ? exit_for(X86VCPU_VMX_EXIT_XSETBV, 0, op->length)
							   : faults(VECTOR_UD, false, 0, 0);
	case MODEL_OP_INVD:
		return exit_for(X86VCPU_VMX_EXIT_INVD, 0, op->length);
	case MODEL_OP_REFUSED:
		exit_for((uint32_t)op->a, 0, op->length);
		set_field(VMCS_EXIT_INSTRUCTION_INFO, 0);
		return true;
	case MODEL_OP_IN:
	case MODEL_OP_OUT:
		return port(op, gpr);
	case MODEL_OP_RDMSR:
		return rdmsr(op, gpr);
	case MODEL_OP_WRMSR:
		return wrmsr(op, gpr);
	case MODEL_OP_MOV_TO_CR:
		return mov_to_cr(op, gpr);
	case MODEL_OP_MOV_FROM_CR:
		return mov_from_cr(op, gpr);
	case MODEL_OP_CLTS:
		return clts(op, gpr);
	case MODEL_OP_LMSW:
		return lmsw(op, gpr);
	case MODEL_OP_MOV_DR:
		return mov_dr(op, gpr);
	case MODEL_OP_XGETBV:
		return xgetbv(op, gpr);
	case MODEL_OP_RDTSC:
		return rdtsc(op, gpr);
	case MODEL_OP_UD2:
		return faults(VECTOR_UD, false, 0, 0);
	case MODEL_OP_MMIO:
		return mmio(op);
	case MODEL_OP_EXCEPTION:
		return exception(op);
	case MODEL_OP_STORM:
		return storm(op);
	case MODEL_OP_DELIVERY:
		return delivery(op);
	case MODEL_OP_IRET:
		return iret(op, gpr);
	case MODEL_OP_PUSHF ... MODEL_OP_SYSRET:
		return moves_flags(op, gpr);
	case MODEL_OP_INT:
		return software_interrupt(op);
	case MODEL_OP_HIT:
		return hit(op, gpr);
	default:
		return controlled(op, gpr);
	}
}

/* An open window exits before the next instruction (SDM 26.2); so does a debug exception that is pending. */
static bool window(const uint64_t gpr[16])
{
	const uint64_t controls = field(VMCS_CPU_CONTROLS), blocking = field(VMCS_GUEST_INTERRUPTIBILITY);
	const uint64_t pending = field(VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS);

	(void)gpr;
	if (pending & (PENDING_DB_BS | PENDING_DB_ENABLED) && !(blocking & 3)) {
		set_field(VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS, 0);
		if (faults(VECTOR_DB, false, 0, pending & (PENDING_DB_BS | 0xf)))
			return true;
	}
	if (controls & CPU_NMI_WINDOW_EXITING && !(blocking & (blocking & 1 && may(MODEL_MAY_NMI_WINDOW_IN_STI) ? 0xa : 0xb)))
		return exit_for(X86VCPU_VMX_EXIT_NMI_WINDOW, 0, 0);
	if (controls & CPU_INTERRUPT_WINDOW_EXITING && !(blocking & 3) && field(VMCS_GUEST_RFLAGS) & RFLAGS_IF)
		return exit_for(X86VCPU_VMX_EXIT_INTERRUPT_WINDOW, 0, 0);
	return false;
}

/* ---- VM entry -------------------------------------------------------------------------------------------------------------- */

static const struct guest_view view = {get, set, window, exits, stop};

static void use_translations(struct vmcs *v)
{
	if (v->last_cpu >= 0 && v->last_cpu != (int32_t)cpu->number)
		v->epoch++;
	v->last_cpu = (int32_t)cpu->number;
	tlb_use(field(VMCS_EPTP) >> 12,
		field(VMCS_CPU2_CONTROLS) & CPU2_ENABLE_VPID ? (uint32_t)field(VMCS_VPID) : 0, cpu->vmcs, v->epoch);
}

static bool deliver(void)
{
	const uint64_t info = field(VMCS_ENTRY_INTERRUPTION_INFO);

	if (!(info & INFO_VALID))
		return false;
	if (model->cut_short) {
		model->cut_short = false;
		nested_fault(model->cut_short_at, 1, 0, true);
		during_delivery(info & ~(BIT(12) | 0x7fffe000));
		set_field(VMCS_IDT_VECTORING_ERROR_CODE, field(VMCS_ENTRY_EXCEPTION_ERROR_CODE));
		if ((info >> 8 & 7) >= 4)
			set_field(VMCS_EXIT_INSTRUCTION_LENGTH, field(VMCS_ENTRY_INSTRUCTION_LENGTH));
		return true;
	}
	set_field(VMCS_GUEST_ACTIVITY, 0);
	if (model->storm == (info & 0xff) && model->storm_left) {
		model->storm_left--;
		exit_for_event(3, info & 0xff, info & BIT(11), 0, 0);
		during_delivery(info & ~(BIT(12) | 0x7fffe000));
		set_field(VMCS_IDT_VECTORING_ERROR_CODE, field(VMCS_ENTRY_EXCEPTION_ERROR_CODE));
		return true;
	}
	set_field(VMCS_GUEST_INTERRUPTIBILITY, field(VMCS_GUEST_INTERRUPTIBILITY) & ~UINT64_C(3));
	/* SDM 27.6.1.2 */
	if ((info >> 8 & 7) == 2 && field(VMCS_PIN_CONTROLS) & PIN_VIRTUAL_NMIS)
		set_field(VMCS_GUEST_INTERRUPTIBILITY, field(VMCS_GUEST_INTERRUPTIBILITY) | 8);
	/* Software events return to the end of their instruction (SDM 27.6.1.1). The model's guest returns immediately. */
	if ((info >> 8 & 7) >= 4)
		set_field(VMCS_GUEST_RIP, field(VMCS_GUEST_RIP) + field(VMCS_ENTRY_INSTRUCTION_LENGTH));
	guest_injected(info >> 8 & 7, info & 0xff, field(VMCS_GUEST_RFLAGS));
	set_field(VMCS_GUEST_RFLAGS, field(VMCS_GUEST_RFLAGS) & ~RFLAGS_RF); /* pushed, and cleared */
	guest_took_with(info >> 8 & 7, info & 0xff, info & BIT(11), (uint32_t)field(VMCS_ENTRY_EXCEPTION_ERROR_CODE),
			field(VMCS_GUEST_RFLAGS));
	/* An event clears TF in the handler (SDM 6.12.1.3); this guest returns immediately. */
	return false;
}

static void entry_fails_with_exit(uint32_t reason)
{
	const uint64_t info = field(VMCS_ENTRY_INTERRUPTION_INFO);

	model->outcome.entry_failed = 1;
	leave(reason | X86VCPU_VMX_REASON_ENTRY_FAILURE, 0);
	/* SDM 27.8: an entry that fails does not clear it. */
	set_field(VMCS_ENTRY_INTERRUPTION_INFO, info);
}

/* After an event went in, before an instruction (SDM 26.5.1, 26.5.2). */
static bool exits_at_once(bool injected)
{
	if (injected && field(VMCS_CPU_CONTROLS) & CPU_MONITOR_TRAP_FLAG)
		return exit_for(X86VCPU_VMX_EXIT_MONITOR_TRAP_FLAG, 0, 0);
	if (!(field(VMCS_PIN_CONTROLS) & PIN_PREEMPTION_TIMER) || field(VMCS_PREEMPTION_TIMER))
		return false;
	leave(X86VCPU_VMX_EXIT_PREEMPTION_TIMER, 0);
	return true;
}

static void guest(uint64_t gpr[16])
{
	const bool injects = field(VMCS_ENTRY_INTERRUPTION_INFO) & INFO_VALID;

	if (deliver() || exits_at_once(injects))
		return;
	guest_runs(&view, gpr);
}

/* 28.3.2: of an unusable segment the selector, SS' DPL and the bases of FS and GS are defined. */
static void save_segments(void)
{
	for (uint32_t i = 0; i < 7; i++) {
		const uint64_t rights = field(VMCS_GUEST_ES_ACCESS_RIGHTS + 2 * i);

		if (!(rights & AR_UNUSABLE) || i == 1 || !may(MODEL_MAY_BARE_SEGMENTS))
			continue;
		set_field(VMCS_GUEST_ES_LIMIT + 2 * i, POISON);
		set_field(VMCS_GUEST_ES_ACCESS_RIGHTS + 2 * i,
			  AR_UNUSABLE | (POISON & 0xf0ff & ~(uint64_t)(i == 2 ? AR_DPL : 0)) | (i == 2 ? rights & AR_DPL : 0));
		if (i != 4 && i != 5)
			set_field(VMCS_GUEST_ES_BASE + 2 * i, POISON & UINT32_MAX);
	}
}

/* 28.3.1: with unrestricted guests the exit stores LMA. */
static void save_long_mode(void)
{
	const uint64_t entry = field(VMCS_ENTRY_CONTROLS);

	set_field(VMCS_ENTRY_CONTROLS, field(VMCS_GUEST_EFER) & EFER_LMA ? entry | ENTRY_IA32E_MODE_GUEST
									 : entry & ~(uint64_t)ENTRY_IA32E_MODE_GUEST);
}

static uint32_t entry_error(uint32_t error)
{
	model->outcome.entry_failed = 1;
	set_field(VMCS_INSTRUCTION_ERROR, error);
	if (!model->relaxed)
		return FAIL_VALID;
	entry_fails_with_exit(X86VCPU_VMX_EXIT_INVALID_GUEST_STATE);
	load_host();
	return 0;
}

/* The basic exit reason of an entry that is made to fail. */
static uint32_t planned_failure(void)
{
	switch (model->op.a) {
	case X86VCPU_VMX_EXIT_MSR_LOADING:
	case X86VCPU_VMX_EXIT_ENTRY_MACHINE_CHECK:
		return (uint32_t)model->op.a;
	default:
		return X86VCPU_VMX_EXIT_INVALID_GUEST_STATE;
	}
}

uint32_t model_vmx_entry(uint64_t gpr[16], uint32_t resume)
{
	struct vmcs *v = vmcs_current();
	uint32_t error;

	trace(MODEL_TRACE_ENTRY, resume, cpu->vmcs);
	if (!cpu->vmxon || !v) {
		complain("VM entry without a current VMCS");
		model->outcome.entry_failed = 1;
		return FAIL_INVALID;
	}
	if (cpu->flags & RFLAGS_IF)
		complain("VM entry with interrupts on");
	picture_take(cpu->vmcs, NULL);
	error = vmx_check_entry(resume);
	if (error && error != BAD_GUEST)
		return entry_error(error);
	/* An entry that fails here leaves the launch state as it was (SDM 27.8). */
	if (error == BAD_GUEST || model->bad_entry) {
		entry_fails_with_exit(error ? X86VCPU_VMX_EXIT_INVALID_GUEST_STATE : planned_failure());
		model->bad_entry = false;
		load_host();
		return 0;
	}
	v->launched = true;
	use_translations(v);
	guest(gpr);
	save_segments();
	save_long_mode();
	load_host();
	return 0;
}
