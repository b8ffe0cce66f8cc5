/* SPDX-License-Identifier: Apache-2.0 */
/* SVM: VMRUN, what is intercepted, #VMEXIT (APM 15.5 to 15.13). */
#include "machine.h"

#include <inttypes.h>
#include <string.h>

#define EXIT_READ_CR 0x000u
#define EXIT_WRITE_CR 0x010u
#define EXIT_READ_DR 0x020u
#define EXIT_WRITE_DR 0x030u
#define EXIT_EXCEPTION 0x040u
#define EXIT_INTR 0x060u
#define EXIT_NMI 0x061u
#define EXIT_VINTR 0x064u
#define EXIT_CR0_SEL_WRITE 0x065u
#define EXIT_RDTSC 0x06eu
#define EXIT_RDPMC 0x06fu
#define EXIT_CPUID 0x072u
#define EXIT_IRET 0x074u
#define EXIT_INVD 0x076u
#define EXIT_PAUSE 0x077u
#define EXIT_HLT 0x078u
#define EXIT_IOIO 0x07bu
#define EXIT_MSR 0x07cu
#define EXIT_TASK_SWITCH 0x07du
#define EXIT_SHUTDOWN 0x07fu
#define EXIT_VMRUN 0x080u
#define EXIT_VMMCALL 0x081u
#define EXIT_WBINVD 0x089u
#define EXIT_MONITOR 0x08au
#define EXIT_MWAIT 0x08bu
#define EXIT_XSETBV 0x08du
#define EXIT_NPF 0x400u
#define EXIT_INVALID UINT64_MAX

static struct vmcb *vmcb; /* of the guest that runs */

/* ---- What the guest sees ------------------------------------------------------------------------------------ */

static uint64_t *slot(uint64_t gpr[16], uint32_t number)
{
	switch (number) {
	case MODEL_RAX:
		return &vmcb->rax;
	case MODEL_RSP:
		return &vmcb->rsp;
	case MODEL_RIP:
		return &vmcb->rip;
	case MODEL_RFLAGS:
		return &vmcb->rflags;
	case MODEL_CR0:
		return &vmcb->cr0;
	case MODEL_CR2:
		return &vmcb->cr2;
	case MODEL_CR3:
		return &vmcb->cr3;
	case MODEL_CR4:
		return &vmcb->cr4;
	case MODEL_EFER:
		return &vmcb->efer;
	case MODEL_DR6:
		return &vmcb->dr6;
	case MODEL_DR7:
		return &vmcb->dr7;
	case MODEL_DR0 ... MODEL_DR3:
		return &cpu->dr[number - MODEL_DR0];
	case MODEL_XCR0:
		return &cpu->xcr0;
	case MODEL_PAT:
		return &vmcb->pat;
	case MODEL_GDTR_BASE:
		return &vmcb->gdtr.base;
	case MODEL_IDTR_BASE:
		return &vmcb->idtr.base;
	default:
		return number < 16 ? &gpr[number] : NULL;
	}
}

static struct vmcb_segment *segment(uint32_t number)
{
	struct vmcb_segment *const here[4] = {&vmcb->es, &vmcb->cs, &vmcb->ss, &vmcb->ds};

	return number < 4 ? here[number] : &cpu->moved[number - 4];
}

static uint64_t get_segment(uint32_t number)
{
	const uint32_t which = (number - MODEL_SELECTOR) % 8;
	const struct vmcb_segment *s = segment(which);

	switch ((number - MODEL_SELECTOR) / 8) {
	case 0:
		return s->selector;
	case 1:
		return which == 4   ? msr_value(X86VCPU_MSR_IA32_FS_BASE)
		       : which == 5 ? msr_value(X86VCPU_MSR_IA32_GS_BASE)
				    : s->base;
	case 2:
		return s->limit;
	default:
		return (s->attributes & 0xffu) | (s->attributes & 0xf00u) << 4;
	}
}

static void set_segment(uint32_t number, uint64_t value)
{
	const uint32_t which = (number - MODEL_SELECTOR) % 8;
	struct vmcb_segment *s = segment(which);

	switch ((number - MODEL_SELECTOR) / 8) {
	case 0:
		s->selector = (uint16_t)value;
		if (which >= 4)
			cpu->selectors[which] = (uint16_t)value;
		break;
	case 1:
		s->base = value;
		if (which == 4 || which == 5)
			msr_set(cpu, X86VCPU_MSR_IA32_FS_BASE + which - 4, value);
		break;
	case 2:
		s->limit = (uint32_t)value;
		break;
	default:
		s->attributes = (uint16_t)((value & 0xff) | (value >> 4 & 0xf00));
		if (which == 2)
			vmcb->cpl = value >> 5 & 3;
	}
}

static const uint32_t msr_of[MODEL_FIELDS] = {
	[MODEL_XSS] = X86VCPU_MSR_IA32_XSS, [MODEL_STAR] = X86VCPU_MSR_IA32_STAR,
	[MODEL_LSTAR] = X86VCPU_MSR_IA32_LSTAR, [MODEL_CSTAR] = X86VCPU_MSR_IA32_CSTAR,
	[MODEL_FMASK] = X86VCPU_MSR_IA32_FMASK, [MODEL_KERNEL_GS_BASE] = X86VCPU_MSR_IA32_KERNEL_GS_BASE,
	[MODEL_SYSENTER_CS] = X86VCPU_MSR_IA32_SYSENTER_CS, [MODEL_SYSENTER_ESP] = X86VCPU_MSR_IA32_SYSENTER_ESP,
	[MODEL_SYSENTER_EIP] = X86VCPU_MSR_IA32_SYSENTER_EIP, [MODEL_TSC_AUX] = X86VCPU_MSR_IA32_TSC_AUX,
	[MODEL_DEBUGCTL] = X86VCPU_MSR_IA32_DEBUGCTL,
};

static uint64_t get(const uint64_t gpr[16], uint32_t number)
{
	const uint64_t *at = slot((uint64_t *)gpr, number);

	/* What a hypervisor may keep for itself; the guest learns these bits with MOV from CR, which can exit. */
	if (number == MODEL_EFER)
		return vmcb->efer & ~EFER_SVME;
	if (number == MODEL_CR0)
		return vmcb->cr0 & ~(CR0_CD | CR0_NW);
	if (number == MODEL_CR4)
		return vmcb->cr4 & ~CR4_MCE;
	if (at)
		return *at;
	if (number >= MODEL_SELECTOR && number < MODEL_GDTR_BASE)
		return get_segment(number);
	if (msr_of[number])
		return msr_value(msr_of[number]);
	if (number == MODEL_GDTR_LIMIT)
		return vmcb->gdtr.limit;
	if (number == MODEL_IDTR_LIMIT)
		return vmcb->idtr.limit;
	return number == MODEL_SHADOW ? vmcb->interrupt_shadow & INTERRUPT_SHADOW : 0;
}

static void set(uint64_t gpr[16], uint32_t number, uint64_t value)
{
	uint64_t *at = slot(gpr, number);

	if (at)
		*at = value;
	else if (number >= MODEL_SELECTOR && number < MODEL_GDTR_BASE)
		set_segment(number, value);
	else if (msr_of[number])
		msr_set(cpu, msr_of[number], value);
	else if (number == MODEL_GDTR_LIMIT)
		vmcb->gdtr.limit = (uint32_t)value;
	else if (number == MODEL_IDTR_LIMIT)
		vmcb->idtr.limit = (uint32_t)value;
	else if (number == MODEL_SHADOW)
		vmcb->interrupt_shadow = (vmcb->interrupt_shadow & ~INTERRUPT_SHADOW) | (value != 0);
}

static bool in_64bit_mode(void)
{
	return vmcb->efer & EFER_LMA && vmcb->cs.attributes & 0x200;
}

/* ---- #VMEXIT ------------------------------------------------------------------------------------------------------ */

/* What an exit leaves undefined has poison, or what was there; zeros where errors are forgiven. */
static uint64_t undefined(uint64_t before)
{
	if (model->relaxed)
		return 0;
	return may(MODEL_MAY_STALE_FIELDS) ? before : POISON;
}

static bool has_info1(uint64_t code)
{
	if (code >= EXIT_EXCEPTION && code < EXIT_EXCEPTION + 32)
		return 0x27d00u >> (code - EXIT_EXCEPTION) & 1; /* an error code */
	if (code <= EXIT_WRITE_DR + 15)
		return has(MODEL_DECODE);
	return code == EXIT_IOIO || code == EXIT_MSR || code == EXIT_TASK_SWITCH || code == EXIT_NPF;
}

static bool has_info2(uint64_t code)
{
	return code == EXIT_IOIO || code == EXIT_TASK_SWITCH || code == EXIT_NPF || code == EXIT_EXCEPTION + VECTOR_PF;
}

static bool leave(uint64_t code, uint64_t info1, uint64_t info2)
{
	vmcb->exit_code = code;
	vmcb->exit_info1 = has_info1(code) ? info1 : undefined(vmcb->exit_info1);
	vmcb->exit_info2 = has_info2(code) ? info2 : undefined(vmcb->exit_info2);
	vmcb->exit_int_info = may(MODEL_MAY_UNDEFINED_BITS) ? POISON & ~EVENT_VALID : 0;
	vmcb->next_rip = has(MODEL_NRIPS) ? 0 : undefined(vmcb->next_rip);
	vmcb->fetched_bytes = 0;
	memset(vmcb->instruction_bytes, 0xa5, sizeof(vmcb->instruction_bytes));
	trace(MODEL_TRACE_EXIT, code, info1);
	return true;
}

/* Of an instruction that is intercepted (APM 15.7.1). */
static bool exit_for(const struct model_op *op, uint64_t code, uint64_t info1, uint64_t info2)
{
	leave(code, info1, info2);
	if (has(MODEL_NRIPS)) {
		vmcb->next_rip = vmcb->rip + op->length;
		if (!in_64bit_mode())
			vmcb->next_rip = (uint32_t)vmcb->next_rip;
	}
	return true;
}

static void stop(uint32_t vector)
{
	(void)vector;
	if (!(vmcb->intercept3 & INTERCEPT_INTR))
		complain("the host's interrupts are not intercepted");
	leave(EXIT_INTR, 0, 0);
}

static bool faults(uint32_t vector, bool has_code, uint32_t code, uint64_t info2)
{
	const bool pushes = has_code && vmcb->cr0 & CR0_PE;

	if (vmcb->intercept_exceptions >> vector & 1)
		return leave(EXIT_EXCEPTION + vector, has_code ? code : 0, info2);
	vmcb->interrupt_shadow &= ~INTERRUPT_SHADOW;
	guest_took_with(3, vector, pushes, code, vmcb->rflags);
	return false;
}

static bool general_protection(void)
{
	return faults(VECTOR_GP, true, 0, 0);
}

/* An instruction is over; then comes what RFLAGS.TF asked for (APM 13.1.4), with DR6 written (APM 15.12.2). */
static bool done_with(const struct model_op *op, bool steps)
{
	vmcb->rip += op->length;
	if (!in_64bit_mode())
		vmcb->rip = (uint32_t)vmcb->rip;
	vmcb->interrupt_shadow &= ~INTERRUPT_SHADOW;
	model->outcome.native = 1;
	if (!steps)
		return false;
	vmcb->dr6 |= PENDING_DB_BS;
	return faults(VECTOR_DB, false, 0, 0);
}

static bool done(uint64_t gpr[16], const struct model_op *op)
{
	(void)gpr;
	return done_with(op, vmcb->rflags & RFLAGS_TF);
}

static uint64_t edx_eax(const uint64_t gpr[16])
{
	return (gpr[MODEL_RDX] & UINT32_MAX) << 32 | (vmcb->rax & UINT32_MAX);
}

static void set_edx_eax(uint64_t gpr[16], uint64_t value)
{
	vmcb->rax = (uint32_t)value;
	gpr[MODEL_RDX] = value >> 32;
}

/* ---- Ports (APM 15.10) ------------------------------------------------------------------------------------------------- */

static bool in_map(uint64_t hpa, uint32_t bit)
{
	const uint8_t *map = model_memory(model, hpa);

	return map[bit / 8] >> bit % 8 & 1;
}

static bool port_exits(const struct model_op *op)
{
	if (!(vmcb->intercept3 & INTERCEPT_IOIO))
		return false;
	for (uint64_t port = op->a; port < op->a + op->b; port++)
		if (in_map(vmcb->iopm_base, (uint32_t)port))
			return true;
	return false;
}

static bool port(const struct model_op *op, uint64_t gpr[16])
{
	const uint64_t bytes = op->c >> 8 & 0xff, next = vmcb->rip + op->length;
	uint64_t info = (op->kind == MODEL_OP_IN) | (op->c & 3) << 2 | op->b << 4 | op->a << 16;

	if (!port_exits(op)) {
		if (op->kind == MODEL_OP_IN && !(op->c & 1))
			vmcb->rax = op->b == 4 ? UINT32_MAX : vmcb->rax | (BIT(8 * op->b) - 1);
		return done(gpr, op);
	}
	if (op->c & 1) {
		info |= (bytes == 8 ? 4 : bytes == 4 ? 2 : 1) << 7;
		if (has(MODEL_DECODE))
			info |= (op->kind == MODEL_OP_IN ? 0 : op->c >> 16 & 7) << 10;
		else if (may(MODEL_MAY_UNDEFINED_BITS))
			info |= 7 << 10;
	}
	return exit_for(op, EXIT_IOIO, info, in_64bit_mode() ? next : (uint32_t)next);
}

/* ---- MSRs (APM 15.11) -------------------------------------------------------------------------------------------------------- */

static bool msr_exits(uint32_t msr, bool write)
{
	static const uint32_t first[] = {0, 0xc0000000, 0xc0010000};

	if (!(vmcb->intercept3 & INTERCEPT_MSR))
		return false;
	for (unsigned i = 0; i < 3; i++)
		if (msr - first[i] < 0x2000)
			return in_map(vmcb->msrpm_base, i * 0x800 * 8 + 2 * (msr - first[i]) + write);
	return true;
}

static uint64_t *msr_slot(uint32_t msr)
{
	return msr == X86VCPU_MSR_IA32_EFER ? &vmcb->efer : msr == X86VCPU_MSR_IA32_PAT ? &vmcb->pat : NULL;
}

static bool rdmsr(const struct model_op *op, uint64_t gpr[16])
{
	const uint32_t msr = (uint32_t)gpr[MODEL_RCX];
	uint64_t value;

	if (msr_exits(msr, false))
		return exit_for(op, EXIT_MSR, 0, 0);
	if (msr_slot(msr))
		value = *msr_slot(msr);
	else if (msr == X86VCPU_MSR_IA32_TIME_STAMP_COUNTER)
		value = cpu->tsc + vmcb->tsc_offset;
	else if (model_try_rdmsr(msr, &value))
		return general_protection();
	set_edx_eax(gpr, value);
	return done(gpr, op);
}

static bool wrmsr(const struct model_op *op, uint64_t gpr[16])
{
	const uint32_t msr = (uint32_t)gpr[MODEL_RCX];
	const uint64_t value = edx_eax(gpr);

	if (msr_exits(msr, true))
		return exit_for(op, EXIT_MSR, 1, 0);
	if (msr == X86VCPU_MSR_IA32_PAT) {
		for (unsigned i = 0; i < 8; i++)
			if ((value >> 8 * i & 0xff) > 7 || (value >> 8 * i & 0xfe) == 2)
				return general_protection();
		vmcb->pat = value;
	} else if (msr_slot(msr)) {
		*msr_slot(msr) = value;
	} else if (!msr_guest_write(msr, value)) {
		return general_protection();
	}
	return done(gpr, op);
}

/* ---- Control and debug registers (APM 15.8) ------------------------------------------------------------------------------------- */

static uint64_t assist(uint64_t info)
{
	return has(MODEL_DECODE) ? info : 0;
}

static void update_long_mode(uint64_t old, uint64_t new)
{
	if ((old ^ new) & CR0_PG && vmcb->efer & EFER_LME)
		vmcb->efer = new & CR0_PG ? vmcb->efer | EFER_LMA : vmcb->efer & ~EFER_LMA;
}

static bool write_cr0(uint64_t value)
{
	const uint64_t old = vmcb->cr0;

	if (value >> 32 || (value & CR0_PG && !(value & CR0_PE)) || (value & CR0_NW && !(value & CR0_CD)) ||
	    (old & ~value & CR0_PG && (in_64bit_mode() || vmcb->cr4 & CR4_PCIDE)) ||
	    (value & ~old & CR0_PG && vmcb->efer & EFER_LME && !(vmcb->cr4 & CR4_PAE)))
		return false;
	vmcb->cr0 = (value & CR0_DEFINED) | CR0_ET;
	update_long_mode(old, value);
	return true;
}

static bool write_cr3(uint64_t value)
{
	if (vmcb->efer & EFER_LMA && value >> 52)
		return false;
	vmcb->cr3 = value;
	return true;
}

static bool mov_to_cr(const struct model_op *op, uint64_t gpr[16])
{
	const uint64_t value = in_64bit_mode() ? get(gpr, op->b & 15) : (uint32_t)get(gpr, op->b & 15);
	bool ok = true;

	if (op->a == 0 && vmcb->intercept3 & INTERCEPT_CR0_SEL_WRITE &&
	    !(vmcb->intercept_cr_write & 1) && (value ^ vmcb->cr0) & ~(CR0_TS | CR0_MP))
		return exit_for(op, EXIT_CR0_SEL_WRITE, assist(BIT(63) | (op->b & 15)), 0);
	if (vmcb->intercept_cr_write >> op->a & 1)
		return exit_for(op, EXIT_WRITE_CR + op->a, assist(BIT(63) | (op->b & 15)), 0);
	if (op->a == 0)
		ok = write_cr0(value);
	else if (op->a == 3)
		ok = write_cr3(value & ~CR3_NO_FLUSH);
	else if (op->a == 8)
		vmcb->virtual_interrupt = (vmcb->virtual_interrupt & ~V_TPR) | (value & 15);
	else
		vmcb->cr4 = value;
	return ok ? done(gpr, op) : general_protection();
}

static bool mov_from_cr(const struct model_op *op, uint64_t gpr[16])
{
	uint64_t value;

	if (vmcb->intercept_cr_read >> op->a & 1)
		return exit_for(op, EXIT_READ_CR + op->a, assist(BIT(63) | (op->b & 15)), 0);
	if (op->a == 8)
		value = vmcb->virtual_interrupt & 15;
	else
		value = op->a == 0 ? vmcb->cr0 : op->a == 3 ? vmcb->cr3 : vmcb->cr4;
	set(gpr, op->b & 15, value);
	return done(gpr, op);
}

/* APM 15.8.1: bit 63 is 0, and the others say nothing. */
static uint64_t not_a_mov(void)
{
	return may(MODEL_MAY_UNDEFINED_BITS) ? POISON & ~BIT(63) : 0;
}

static bool clts(const struct model_op *op, uint64_t gpr[16])
{
	if (vmcb->intercept_cr_write & 1)
		return exit_for(op, EXIT_WRITE_CR, not_a_mov(), 0);
	vmcb->cr0 &= ~CR0_TS;
	return done(gpr, op);
}

static bool lmsw(const struct model_op *op, uint64_t gpr[16])
{
	const uint64_t low = CR0_MP | CR0_EM | CR0_TS;

	if (vmcb->intercept_cr_write & 1)
		return exit_for(op, EXIT_WRITE_CR, not_a_mov(), 0);
	if (vmcb->intercept3 & INTERCEPT_CR0_SEL_WRITE)
		return exit_for(op, EXIT_CR0_SEL_WRITE, 0, 0);
	vmcb->cr0 = (vmcb->cr0 & ~low) | (op->a & (low | CR0_PE));
	return done(gpr, op);
}

static bool mov_dr(const struct model_op *op, uint64_t gpr[16])
{
	const bool read = op->c & 1;
	const uint32_t number = (uint32_t)op->a;
	const uint16_t intercepts = read ? vmcb->intercept_dr_read : vmcb->intercept_dr_write;
	const uint64_t value = in_64bit_mode() ? get(gpr, op->b & 15) : (uint32_t)get(gpr, op->b & 15);

	if (intercepts >> number & 1)
		return exit_for(op, (read ? EXIT_READ_DR : EXIT_WRITE_DR) + number, assist(op->b & 15), 0);
	if (read) {
		set(gpr, op->b & 15, number == 7 ? vmcb->dr7 : number == 6 ? vmcb->dr6 : cpu->dr[number & 3]);
		return done(gpr, op);
	}
	if (number >= 6 && value >> 32)
		return general_protection();
	if (number == 6)
		vmcb->dr6 = (value & DR6_WRITABLE) | DR6_RESET;
	else if (number == 7)
		vmcb->dr7 = (value & DR7_WRITABLE) | DR7_RESET;
	else
		cpu->dr[number] = value;
	return done(gpr, op);
}

/* ---- Others -------------------------------------------------------------------------------------------------------------------- */

static void fetch_bytes(void)
{
	const uint64_t linear = in_64bit_mode() ? vmcb->rip : (uint32_t)(vmcb->rip + vmcb->cs.base);

	/* The model's guests run where linear and physical addresses are the same. */
	if (!has(MODEL_DECODE) || linear + 15 > MODEL_GUEST_SIZE)
		return;
	vmcb->fetched_bytes = 15;
	memcpy(vmcb->instruction_bytes, model->guest + linear, 15);
}

static bool nested_fault(uint64_t gpa, uint64_t access, bool final)
{
	const uint64_t code = 4 | (access == 1 ? 2 : 0) | (access == 2 ? 16 : 0);

	leave(EXIT_NPF, code | (final ? NPF_FINAL : NPF_WALK), gpa);
	if (access != 2)
		fetch_bytes();
	return true;
}

static bool exception(const struct model_op *op)
{
	const uint32_t vector = (uint32_t)op->a;
	const bool has_code = vector == 8 || (vector >= 10 && vector <= 14) || vector == 17;

	if (vector == VECTOR_PF && !(vmcb->intercept_exceptions >> vector & 1))
		vmcb->cr2 = op->c;
	/* APM 9.3.1: without CR4.MCE a machine check shuts down whatever runs. */
	if (vector == VECTOR_MC && !(vmcb->intercept_exceptions >> vector & 1) && !(vmcb->cr4 & CR4_MCE))
		return leave(EXIT_SHUTDOWN, 0, 0);
	return faults(vector, has_code, (uint32_t)op->b, op->c);
}

/* Benign exceptions come one after the other (APM table 8-3); between them the CPU takes no interrupt. */
static bool storm(const struct model_op *op)
{
	const uint32_t vector = (uint32_t)op->a;

	if (!(vmcb->intercept_exceptions >> vector & 1)) {
		model->outcome.stuck = 1;
		stop(STOP_VECTOR);
		return true;
	}
	model->storm = vector;
	model->storm_left = (uint32_t)op->b;
	return leave(EXIT_EXCEPTION + vector, 0, 0);
}

/* The guest's own exception, on the way to its handler (APM 15.7.2). */
static bool delivery(const struct model_op *op)
{
	const uint32_t vector = (uint32_t)op->a;
	const bool has_code = vector == 8 || (vector >= 10 && vector <= 14) || vector == VECTOR_AC;

	nested_fault(op->c, 1, true);
	vmcb->exit_int_info = EVENT_VALID | UINT64_C(3) << EVENT_TYPE_SHIFT | vector | (has_code ? EVENT_ERROR_CODE : 0) |
			      (has_code ? op->b << 32 : 0);
	return true;
}

static const struct guest_view view;

/*
 * The intercept comes before anything that the instruction does (APM 15.9). A step that TF asked for before comes at its
 * end, whatever RFLAGS it has loaded (APM 13.1.4). Blocking of NMIs is not the CPU's (APM 15.20).
 */
static bool iret(const struct model_op *op, uint64_t gpr[16])
{
	const bool steps = vmcb->rflags & RFLAGS_TF;
	uint64_t meets;

	if (vmcb->intercept3 & INTERCEPT_IRET)
		return exit_for(op, EXIT_IRET, 0, 0);
	meets = guest_iret_meets();
	if ((uint32_t)meets >= 0x1000)
		return nested_fault(meets, 0, true);
	if (meets)
		return faults(meets & 0xff, true, (uint32_t)(meets >> 32), 0x4000);
	guest_iret_ends(&view, gpr);
	if (!steps)
		return false;
	vmcb->dr6 |= PENDING_DB_BS;
	return faults(VECTOR_DB, false, 0, 0);
}

static bool moves_flags(const struct model_op *op, uint64_t gpr[16])
{
	return done_with(op, guest_moves_flags(&view, gpr, op, msr_value(X86VCPU_MSR_IA32_FMASK),
					       msr_value(X86VCPU_MSR_IA32_LSTAR)));
}

/* The intercept of #BP comes with RIP at INT3 (APM 15.12.4). */
static bool software_interrupt(const struct model_op *op)
{
	if (op->a == VECTOR_BP && vmcb->intercept_exceptions >> VECTOR_BP & 1)
		return exit_for(op, EXIT_EXCEPTION + VECTOR_BP, 0, 0);
	vmcb->rip += op->length;
	guest_took_with(op->a == VECTOR_BP ? 3 : 4, (uint32_t)op->a, false, 0, vmcb->rflags);
	model->outcome.native = 1;
	return false;
}

/* See vmx_guest.c. */
static bool hit(const struct model_op *op, uint64_t gpr[16])
{
	const uint64_t enabled = vmcb->dr7 >> 2 * op->a & 3;
	const bool instruction = !(vmcb->dr7 >> (16 + 4 * op->a) & 3);

	if (!enabled || (instruction && vmcb->rflags & RFLAGS_RF)) {
		vmcb->rflags &= ~RFLAGS_RF;
		return done(gpr, op);
	}
	if (!instruction)
		vmcb->rip += op->length;
	vmcb->dr6 |= BIT(op->a);
	return faults(VECTOR_DB, false, 0, 0);
}

static bool xgetbv(const struct model_op *op, uint64_t gpr[16])
{
	if (!(vmcb->cr4 & CR4_OSXSAVE))
		return faults(VECTOR_UD, false, 0, 0);
	if (gpr[MODEL_RCX] & UINT32_MAX)
		return general_protection();
	set_edx_eax(gpr, cpu->xcr0);
	return done(gpr, op);
}

static bool xsetbv(const struct model_op *op, uint64_t gpr[16])
{
	if (!(vmcb->cr4 & CR4_OSXSAVE))
		return faults(VECTOR_UD, false, 0, 0);
	if (!(vmcb->intercept4 & INTERCEPT_XSETBV)) {
		complain("XSETBV is not intercepted");
		return done(gpr, op);
	}
	return exit_for(op, EXIT_XSETBV, 0, 0);
}

static bool rdtsc(const struct model_op *op, uint64_t gpr[16])
{
	if (vmcb->intercept3 & INTERCEPT_RDTSC)
		return exit_for(op, EXIT_RDTSC, 0, 0);
	set_edx_eax(gpr, cpu->tsc + vmcb->tsc_offset);
	return done(gpr, op);
}

static bool rdpmc(const struct model_op *op, uint64_t gpr[16])
{
	if (vmcb->intercept3 & INTERCEPT_RDPMC)
		return exit_for(op, EXIT_RDPMC, 0, 0);
	if (!guest_has_counter(gpr[MODEL_RCX]))
		return general_protection();
	set_edx_eax(gpr, 0);
	return done(gpr, op);
}

/* An instruction with an intercept of its own, which else is over. */
static bool with_intercept(const struct model_op *op, uint64_t gpr[16], uint32_t vector, uint32_t bit, uint64_t code)
{
	return vector & bit ? exit_for(op, code, 0, 0) : done(gpr, op);
}

static bool refused(const struct model_op *op, uint64_t gpr[16])
{
	if (op->a < EXIT_VMRUN)
		return faults(VECTOR_UD, false, 0, 0);
	return with_intercept(op, gpr, vmcb->intercept4, 1u << (op->a - EXIT_VMRUN), op->a);
}

static bool host_nmi(void)
{
	if (vmcb->intercept3 & INTERCEPT_NMI)
		return leave(EXIT_NMI, 0, 0);
	guest_took(2, VECTOR_NMI, false, 0);
	return false;
}

static bool other(const struct model_op *op, uint64_t gpr[16])
{
	switch (op->kind) {
	case MODEL_OP_INTERRUPT:
		return leave(EXIT_INTR, 0, 0);
	case MODEL_OP_NMI:
		return host_nmi();
	case MODEL_OP_TRIPLE_FAULT:
		return leave(EXIT_SHUTDOWN, 0, 0);
	case MODEL_OP_TASK_SWITCH:
		if (vmcb->intercept3 & INTERCEPT_TASK_SWITCH)
			return leave(EXIT_TASK_SWITCH, op->a, 0);
		vmcb->cr0 |= CR0_TS; /* APM 12.4.3 */
		return done(gpr, op);
	case MODEL_OP_MMIO:
		return nested_fault(op->a, op->b & 3, !(op->b & 4));
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
	case MODEL_OP_REFUSED:
		return refused(op, gpr);
	case MODEL_OP_UD2:
		return faults(VECTOR_UD, false, 0, 0);
	case MODEL_OP_XGETBV:
		return xgetbv(op, gpr);
	case MODEL_OP_XSETBV:
		return xsetbv(op, gpr);
	case MODEL_OP_RDTSC:
		return rdtsc(op, gpr);
	default:
		return false;
	}
}

static bool plain(const struct model_op *op, uint64_t gpr[16])
{
	switch (op->kind) {
	case MODEL_OP_CPUID:
		return with_intercept(op, gpr, vmcb->intercept3, INTERCEPT_CPUID, EXIT_CPUID);
	case MODEL_OP_HYPERCALL:
		return vmcb->intercept4 & INTERCEPT_VMMCALL ? exit_for(op, EXIT_VMMCALL, 0, 0)
							    : faults(VECTOR_UD, false, 0, 0);
	case MODEL_OP_HLT:
		return with_intercept(op, gpr, vmcb->intercept3, INTERCEPT_HLT, EXIT_HLT);
	case MODEL_OP_INVD:
		if (!(vmcb->intercept3 & INTERCEPT_INVD))
			guest_writes_back("INVD");
		return with_intercept(op, gpr, vmcb->intercept3, INTERCEPT_INVD, EXIT_INVD);
	case MODEL_OP_WBINVD:
		if (!(vmcb->intercept4 & INTERCEPT_WBINVD))
			guest_writes_back("WBINVD");
		return with_intercept(op, gpr, vmcb->intercept4, INTERCEPT_WBINVD, EXIT_WBINVD);
	case MODEL_OP_RDPMC:
		return rdpmc(op, gpr);
	case MODEL_OP_PAUSE:
		return with_intercept(op, gpr, vmcb->intercept3, INTERCEPT_PAUSE, EXIT_PAUSE);
	case MODEL_OP_MONITOR:
		return with_intercept(op, gpr, vmcb->intercept4, INTERCEPT_MONITOR, EXIT_MONITOR);
	case MODEL_OP_MWAIT:
		return with_intercept(op, gpr, vmcb->intercept4, INTERCEPT_MWAIT, EXIT_MWAIT);
	default:
		return other(op, gpr);
	}
}

static bool raw_exit(const struct model_raw_exit *raw)
{
	leave(raw->reason, raw->qualification, raw->physical);
	vmcb->exit_info1 = raw->qualification;
	vmcb->exit_info2 = raw->physical;
	vmcb->exit_int_info = raw->vectoring;
	vmcb->next_rip = raw->linear;
	vmcb->fetched_bytes = raw->fetched;
	memcpy(vmcb->instruction_bytes, raw->bytes, sizeof(raw->bytes));
	return true;
}

static bool exits(const struct model_op *op, uint64_t gpr[16])
{
	const bool own = op->kind == MODEL_OP_REFUSED && op->a >= EXIT_VMRUN && op->a != EXIT_VMMCALL;
	const uint32_t cpl = vmcb->cr0 & CR0_PE ? vmcb->cpl : 0;
	const uint32_t refused = own && cpl ? VECTOR_GP : guest_is_refused(op, cpl, vmcb->rflags, vmcb->cr4);

	if (refused)
		return faults(refused, refused == VECTOR_GP, 0, 0);
	switch (op->kind) {
	case MODEL_OP_RAW:
		return raw_exit(&model->raw);
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
	default:
		return plain(op, gpr);
	}
}

/* A virtual interrupt that the guest can take (APM 15.21.4). */
static bool window(const uint64_t gpr[16])
{
	const uint64_t v = vmcb->virtual_interrupt;
	const bool masked = !(v & V_IGN_TPR) && (v & V_INTR_PRIO) >> 16 <= (v & 15);

	(void)gpr;
	if (!(v & V_IRQ) || masked || !(vmcb->rflags & RFLAGS_IF) || vmcb->interrupt_shadow & INTERRUPT_SHADOW)
		return false;
	if (vmcb->intercept3 & INTERCEPT_VINTR)
		return leave(EXIT_VINTR, 0, 0);
	vmcb->virtual_interrupt &= ~V_IRQ;
	guest_took(0, v >> 32 & 0xff, false, 0);
	return false;
}

static const struct guest_view view = {get, set, window, exits, stop};

/* ---- VMRUN ------------------------------------------------------------------------------------------------------------------------ */

/* INT n, #BP and #OF return to the next RIP (APM 15.20). The model's guest returns immediately. */
static bool pushes_next_rip(uint64_t event)
{
	const uint32_t type = event >> EVENT_TYPE_SHIFT & 7, vector = event & 0xff;

	return type == 4 || (type == 3 && (vector == VECTOR_BP || vector == VECTOR_OF));
}

static bool deliver(uint64_t event)
{
	const bool has_code = event & EVENT_ERROR_CODE;

	if (!(event & EVENT_VALID))
		return false;
	if (model->cut_short) {
		model->cut_short = false;
		nested_fault(model->cut_short_at, 1, true);
		vmcb->exit_int_info = event;
		return true;
	}
	if (model->storm == (event & 0xff) && model->storm_left) {
		model->storm_left--;
		leave(EXIT_EXCEPTION + (event & 0xff), 0, 0);
		vmcb->exit_int_info = event;
		return true;
	}
	if (has(MODEL_NRIPS) && pushes_next_rip(event))
		vmcb->rip = vmcb->next_rip;
	vmcb->interrupt_shadow &= ~INTERRUPT_SHADOW;
	guest_injected(event >> EVENT_TYPE_SHIFT & 7, event & 0xff, vmcb->rflags);
	vmcb->rflags &= ~RFLAGS_RF; /* pushed, and cleared (APM 8.9.3) */
	guest_took_with(event >> EVENT_TYPE_SHIFT & 7, event & 0xff, has_code, (uint32_t)(event >> 32), vmcb->rflags);
	return false;
}

static void use_translations(uint64_t hpa)
{
	const int frame = frame_of(hpa);

	if (vmcb->tlb_control == 1)
		tlb_flush_space(UINT64_MAX);
	else if (vmcb->tlb_control)
		tlb_flush_id(vmcb->asid);
	if (model->vmcb_cpu[frame] >= 0 && model->vmcb_cpu[frame] != (int32_t)cpu->number)
		model->vmcb_epoch[frame]++;
	model->vmcb_cpu[frame] = (int32_t)cpu->number;
	tlb_use(vmcb->nested_cr3, vmcb->asid, hpa, model->vmcb_epoch[frame]);
}

/* What #VMEXIT loads of the host from its save area (APM 15.6). */
struct host_state {
	uint64_t cr0, cr3, cr4, efer, flags;
	uint16_t selectors[4], limits[2];
	uint64_t bases[2];
};

static struct host_state save_host(void)
{
	struct host_state host = {cpu->cr0, cpu->cr3, cpu->cr4, msr_value(X86VCPU_MSR_IA32_EFER), cpu->flags, {0}, {0}, {0}};

	memcpy(host.selectors, cpu->selectors, sizeof(host.selectors));
	memcpy(host.limits, cpu->limits, sizeof(host.limits));
	memcpy(host.bases, cpu->bases, sizeof(host.bases));
	return host;
}

static void load_host(const struct host_state *host)
{
	cpu->cr0 = host->cr0;
	cpu->cr3 = host->cr3;
	cpu->cr4 = host->cr4;
	cpu->flags = host->flags;
	cpu->dr7 = DR7_RESET;
	cpu->gif = false;
	memcpy(cpu->selectors, host->selectors, sizeof(host->selectors));
	memcpy(cpu->limits, host->limits, sizeof(host->limits));
	memcpy(cpu->bases, host->bases, sizeof(host->bases));
}

static bool may_run(uint64_t hpa)
{
	if (!(msr_value(X86VCPU_MSR_IA32_EFER) & EFER_SVME) || !vmcb) {
		complain("VMRUN of %" PRIx64 " with EFER.SVME %s", hpa, vmcb ? "clear" : "set");
		return false;
	}
	if (frame_of(msr_value(X86VCPU_MSR_VM_HSAVE_PA)) < 0)
		complain("VMRUN without a host save area");
	if (cpu->gif)
		complain("VMRUN with GIF set");
	/* APM 15.21.1: with V_INTR_MASKING the host's IF decides about physical interrupts. */
	if (!(cpu->flags & RFLAGS_IF) || !(vmcb->virtual_interrupt & V_INTR_MASKING))
		complain("VMRUN: the host's interrupts cannot leave the guest");
	return true;
}

static void run(uint64_t hpa, uint64_t gpr[16])
{
	const uint64_t event = vmcb->event_injection;

	vmcb_check_clean(hpa, vmcb);
	if (svm_check_entry(vmcb) || model->bad_entry) {
		/* Some CPUs, and QEMU, store 32 bits of the code. */
		leave(model->bad_entry && model->op.a == 1 ? (uint32_t)EXIT_INVALID : EXIT_INVALID, 0, 0);
		model->bad_entry = false;
		model->outcome.entry_failed = 1;
		return;
	}
	use_translations(hpa);
	/* The CPU clears the valid bit. */
	vmcb->event_injection = event && may(MODEL_MAY_UNDEFINED_BITS) ? event & ~EVENT_VALID : 0;
	/* Both registers keep what the guest left in them. */
	cpu->dr6 = vmcb->dr6;
	cpu->cr2 = vmcb->cr2;
	if (!deliver(event))
		guest_runs(&view, gpr);
	cpu->dr6 = vmcb->dr6;
	cpu->cr2 = vmcb->cr2;
}

/* VMRUN does not look at these bits, and not every CPU keeps them (APM 15.5.1). */
static void save_segments(void)
{
	static const uint16_t granularity = 0x800;
	struct vmcb_segment *const segments[] = {&vmcb->es, &vmcb->cs, &vmcb->ss, &vmcb->ds, &cpu->moved[0], &cpu->moved[1]};

	if (!may(MODEL_MAY_BARE_SEGMENTS))
		return;
	for (unsigned i = 0; i < ARRAY_SIZE(segments); i++)
		segments[i]->attributes &= (uint16_t)~(granularity | AR_TYPE_ACCESSED);
	cpu->moved[3].attributes &= (uint16_t)~AR_TYPE_WRITE; /* busy */
}

/* Where VMRUN exchanges SPEC_CTRL, the guest has its own; the host's bits are in force too, but do not show. */
static void run_with_spec_ctrl(uint64_t hpa, uint64_t gpr[16])
{
	const uint64_t host = msr_value(X86VCPU_MSR_IA32_SPEC_CTRL);

	if (!model->profile || !(model->profile->leaf_a_edx & CPUID_8000000A_EDX_SPEC_CTRL)) {
		run(hpa, gpr);
		return;
	}
	msr_set(cpu, X86VCPU_MSR_IA32_SPEC_CTRL, vmcb->spec_ctrl);
	run(hpa, gpr);
	vmcb->spec_ctrl = msr_value(X86VCPU_MSR_IA32_SPEC_CTRL);
	msr_set(cpu, X86VCPU_MSR_IA32_SPEC_CTRL, host);
}

void model_vmrun(uint64_t hpa, uint64_t gpr[16])
{
	struct host_state host;

	vmcb = vmcb_at(hpa);
	trace(MODEL_TRACE_ENTRY, 0, hpa);
	if (!may_run(hpa)) {
		model->outcome.entry_failed = 1;
		if (vmcb)
			leave(EXIT_INVALID, 0, 0);
		return;
	}
	picture_take(hpa, vmcb);
	host = save_host();
	run_with_spec_ctrl(hpa, gpr);
	save_segments();
	vmcb_keep(hpa, vmcb);
	load_host(&host);
}
