/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One #VMEXIT. The table says for each exit code who handles it; the handler answers with enum emul, and
 * what that means for RIP and for the guest is decided in emul/finish.h.
 */
#include "cpu/insn.h"
#include "cpu/quirks.h"
#include "cpu/x86.h"
#include "emul/cr.h"
#include "emul/debug.h"
#include "emul/decode.h"
#include "emul/finish.h"
#include "emul/hypercall.h"
#include "emul/log.h"
#include "emul/mmio.h"
#include "emul/msr.h"
#include "emul/pio.h"
#include "emul/slice.h"
#include "emul/xcr.h"
#include "svm/svm.h"

#define CR_WRITE_IS_MOV (UINT64_C(1) << 63) /* EXITINFO1 with decode assists (APM 15.8.1) */

/* ---- The instruction that exited --------------------------------------------------------------------- */

/*
 * Decodes it where the CPU does not tell enough. EMUL_NEXT, or what the guest gets instead: its page
 * tables may have changed since the CPU fetched it.
 */
static int decode(struct svm_vcpu *v, struct decode *instruction)
{
	struct guest *g = &v->guest;
	struct paging_fault fault;

	switch (decode_at_rip(g, instruction, &fault)) {
	case DECODE_OK:
		v->length = instruction->length;
		return EMUL_NEXT;
	case DECODE_FAULT:
		paging_raise(g, &fault);
		return EMUL_RESUME;
	case DECODE_ABSENT:
		return paging_report_absent(g, &fault);
	case DECODE_TOO_LONG:
		return EMUL_GP;
	default:
		return EMUL_UD;
	}
}

/* Bytes from RIP to `next`, or 0 when that is no instruction's length. */
static unsigned distance(struct svm_vcpu *v, uint64_t next)
{
	const uint64_t length = next - v->vmcb->rip;

	return length <= DECODE_MAX_LENGTH ? (unsigned)length : 0;
}

/* EMUL_NEXT with v->length set, or what decode() answers. */
static int find_length(struct svm_vcpu *v)
{
	struct decode instruction;

	v->length = v->has_next_rip ? distance(v, v->vmcb->next_rip) : 0;
	return v->length ? EMUL_NEXT : decode(v, &instruction);
}

/* ---- Answers that need no more than their name ------------------------------------------------------- */

static int skip(struct svm_vcpu *v)
{
	(void)v;
	return EMUL_NEXT;
}

static int resume(struct svm_vcpu *v)
{
	(void)v;
	return EMUL_RESUME;
}

static int refuse_ud(struct svm_vcpu *v)
{
	(void)v;
	return EMUL_UD;
}

static int refuse_gp(struct svm_vcpu *v)
{
	(void)v;
	return EMUL_GP;
}

/* The host's own: it takes it when GIF is set again, which it is by now. */
static int host_event(struct svm_vcpu *v)
{
	return emul_report(&v->guest, X86VCPU_EXIT_NOTHING);
}

static int unsupported(struct svm_vcpu *v)
{
	LOG(v->guest.host, v->guest.ctx, LOG_WARN, "SVM: no way on from exit: ",
	    x86vcpu_svm_exit_name(v->vmcb->exit_code));
	emul_report(&v->guest, X86VCPU_EXIT_NOTHING);
	return X86VCPU_ERR_UNSUPPORTED;
}

/* ---- Exceptions and interrupts -------------------------------------------------------------------------- */

/* Those conditions of a #DB that are the guest's, which the guest finds in its DR6. */
static uint64_t take_conditions(struct svm_vcpu *v)
{
	struct guest *g = &v->guest;
	struct vmcb *vmcb = v->vmcb;
	uint64_t conditions = vmcb->dr6 & DEBUG_CONDITIONS;

	if (!g->debug.owns_drs)
		return conditions;
	conditions = debug_take_conditions(g, conditions);
	g->dr6 = (g->dr6 & ~DEBUG_BREAKPOINTS) | conditions;
	vmcb->dr6 = DR6_RESET;
	vmcb->clean &= ~(uint32_t)CLEAN_DEBUG_REGISTERS;
	return conditions;
}

/* #DB and #AC go back in; see vmx/exits.c for why they exit. The CPU has set DR6 (APM 15.12.2). */
static int reflect_debug(struct svm_vcpu *v)
{
	static const struct guest_event event = {.valid = true, .type = GUEST_EVENT_EXCEPTION, .vector = VECTOR_DB};
	struct guest *g = &v->guest;
	const uint64_t conditions = take_conditions(v);

	if (!conditions && g->debug.due & X86VCPU_DEBUG_HIT_BREAKPOINT)
		return EMUL_RESUME;
	if (!debug_takes_exception(g, &event, conditions))
		guest_raise(g, VECTOR_DB, false, 0);
	return EMUL_RESUME;
}

/* #BP and #OF exit for the debugger: INT3 and INTO, whose RIP is still there (APM 15.12.4). */
static int reflect_software(struct svm_vcpu *v)
{
	struct guest_event event = {
		.valid = true,
		.type = GUEST_EVENT_SOFTWARE_EXCEPTION,
		.vector = (uint8_t)(v->vmcb->exit_code - X86VCPU_SVM_EXIT_EXCEPTION),
	};

	event.length = v->has_next_rip ? distance(v, v->vmcb->next_rip) : 0;
	if (!event.length)
		event.length = 1;
	if (event.vector != VECTOR_BP || !debug_takes_exception(&v->guest, &event, 0))
		guest_reinject(&v->guest, event);
	return EMUL_RESUME;
}

static int reflect_alignment(struct svm_vcpu *v)
{
	guest_raise(&v->guest, VECTOR_AC, true, (uint32_t)v->vmcb->exit_info1);
	return EMUL_RESUME;
}

/*
 * An x87 error with CR0.NE = 0 asserts FERR# and freezes the CPU until the interrupt comes that a PC's chipset makes of
 * it (APM 15.12.17).
 */
static int x87_error(struct svm_vcpu *v)
{
	return emul_fpu_error(&v->guest);
}

static int machine_check(struct svm_vcpu *v)
{
	insn_raise_machine_check();
	return host_event(v);
}

/*
 * Not acknowledged: it is pending until the host enables IRQs (APM 15.13.1). SVM has no preemption timer:
 * a guest that does not exit is ended by the first interrupt after its slice.
 */
static int physical_interrupt(struct svm_vcpu *v)
{
	v->interrupted = true;
	return slice_over(&v->guest, insn_rdtsc()) ? slice_report(&v->guest) : host_event(v);
}

static int virtual_interrupt(struct svm_vcpu *v)
{
	svm_close_interrupt_window(v);
	return EMUL_RESUME;
}

static int iret(struct svm_vcpu *v)
{
	svm_iret(v);
	return EMUL_RESUME;
}

static int shutdown(struct svm_vcpu *v)
{
	v->guest.events.shutdown = true;
	return emul_report(&v->guest, X86VCPU_EXIT_SYSTEM_DOWN);
}

/* ---- Instructions ------------------------------------------------------------------------------------------ */

static int cpuid(struct svm_vcpu *v)
{
	/* Leaf 0DH depends on it. */
	if (v->quirks & QUIRK_XSETBV_UNSEEN)
		context_read_xcr0(&v->guest);
	return emul_cpuid(&v->guest);
}

static int hlt(struct svm_vcpu *v)
{
	return emul_hlt(&v->guest);
}

static int vmmcall(struct svm_vcpu *v)
{
	return emul_hypercall(&v->guest);
}

/* QUIRK_INT3_IS_INTN: whatever else it is goes in as it would have been delivered. */
static int int_n(struct svm_vcpu *v)
{
	struct guest *g = &v->guest;
	struct guest_event event = {.valid = true};

	if (!debug_decode_int(g, &event))
		return EMUL_UD;
	if (event.vector != VECTOR_BP || !debug_takes_exception(g, &event, 0))
		guest_reinject(g, event);
	return EMUL_RESUME;
}

static int xsetbv(struct svm_vcpu *v)
{
	const int result = emul_xsetbv(&v->guest);

	if (result == EMUL_NEXT)
		context_load_xcr0(&v->guest);
	return result;
}

static int msr(struct svm_vcpu *v)
{
	struct guest *g = &v->guest;
	int result;

	g->msr_length = (uint8_t)v->length;
	result = v->vmcb->exit_info1 & 1 ? emul_wrmsr(g) : emul_rdmsr(g);
	if (g->msrs_changed)
		context_load_msrs(g);
	return result;
}

/* ---- Control and debug registers ------------------------------------------------------------------------------ */

/* LMSW reads 16 bits from a register or from memory, with the guest's own rights. */
static int lmsw(struct guest *g, const struct decode *instruction)
{
	struct paging_fault fault;
	uint64_t linear, offset, gpa;
	uint16_t source = 0;

	if (!instruction->has_memory)
		return emul_lmsw(g, (uint16_t)guest_gpr(g, instruction->rm));
	offset = decode_offset(g, instruction);
	linear = paging_linear(g, instruction->segment, offset);
	for (unsigned i = 0; i < sizeof(source); i++) {
		uint8_t byte;

		if (!paging_check_segment(g, instruction->segment, offset + i, linear + i, 1, false, &fault) ||
		    paging_access(g, linear + i, paging_user(g), &gpa, &fault) == PAGING_FAULT) {
			paging_raise(g, &fault);
			return EMUL_RESUME;
		}
		if (guest_read_physical(g, gpa, &byte, 1)) {
			fault = (struct paging_fault){.error_code = X86VCPU_ACCESS_READ, .address = gpa};
			return paging_report_absent(g, &fault);
		}
		source |= (uint16_t)(byte << 8 * i);
	}
	return emul_lmsw(g, source);
}

/* MOV to CR0, CLTS and LMSW have one exit code. */
static int decoded_cr_write(struct svm_vcpu *v, unsigned cr)
{
	struct guest *g = &v->guest;
	struct decode instruction;
	const int result = decode(v, &instruction);

	if (result != EMUL_NEXT)
		return result;
	if (instruction.opcode == (DECODE_0F | 0x06))
		return emul_clts(g);
	if (instruction.kind == DECODE_LMSW)
		return lmsw(g, &instruction);
	if (instruction.kind != DECODE_MOV_CR || instruction.reg != cr)
		return EMUL_UD;
	return emul_mov_to_cr(g, cr, guest_gpr(g, instruction.rm));
}

static int cr_write(struct svm_vcpu *v)
{
	const unsigned cr = (unsigned)v->vmcb->exit_code - X86VCPU_SVM_EXIT_CR0_WRITE;
	const uint64_t info = v->vmcb->exit_info1;

	if (!v->has_decode_assists || !(info & CR_WRITE_IS_MOV))
		return decoded_cr_write(v, cr);
	v->length = v->has_next_rip ? distance(v, v->vmcb->next_rip) : 0;
	if (!v->length)
		return decoded_cr_write(v, cr);
	return emul_mov_to_cr(&v->guest, cr, guest_gpr(&v->guest, info & 15));
}

/*
 * SMSW reads CR0 too. The CPU executes its memory form: of the bits that it could show wrong (CD, NW) none is in the
 * sixteen that it stores.
 */
static int smsw_to_memory(struct svm_vcpu *v)
{
	v->vmcb->intercept_cr_read &= (uint16_t)~1u;
	v->vmcb->clean &= ~(uint32_t)CLEAN_INTERCEPTS;
	v->reads_cr0 = true;
	return EMUL_RESUME;
}

static void intercept_cr0_reads(struct svm_vcpu *v)
{
	v->reads_cr0 = false;
	v->vmcb->intercept_cr_read |= 1u;
	v->vmcb->clean &= ~(uint32_t)CLEAN_INTERCEPTS;
}

/* The register gets as much of CR0 as the operand has (APM Vol. 3, SMSW). */
static int smsw(struct svm_vcpu *v, const struct decode *instruction)
{
	struct guest *g = &v->guest;
	const uint64_t cr0 = guest_get(g, G_CR0), old = guest_gpr(g, instruction->rm);

	if (instruction->has_memory)
		return smsw_to_memory(v);
	guest_set_gpr(g, instruction->rm,
		      instruction->operand_bytes == 2 ? (old & ~UINT64_C(0xffff)) | (cr0 & 0xffff) : cr0);
	return EMUL_NEXT;
}

static int cr_read(struct svm_vcpu *v)
{
	struct guest *g = &v->guest;
	const unsigned cr = (unsigned)v->vmcb->exit_code - X86VCPU_SVM_EXIT_CR0_READ;
	struct decode instruction;
	uint64_t value = 0;
	int result = decode(v, &instruction);

	if (result != EMUL_NEXT)
		return result;
	if (cr == 0 && instruction.kind == DECODE_SMSW)
		return smsw(v, &instruction);
	if (instruction.kind != DECODE_MOV_CR || instruction.reg != cr)
		return EMUL_UD;
	result = emul_mov_from_cr(g, cr, &value);
	if (result == EMUL_NEXT)
		guest_set_gpr(g, instruction.rm, value);
	return result;
}

/* MOV DR while the CPU's debug registers are the VMM's. */
static int mov_dr(struct svm_vcpu *v)
{
	const unsigned code = (unsigned)v->vmcb->exit_code - X86VCPU_SVM_EXIT_DR0_READ;
	struct decode instruction;
	const int result = decode(v, &instruction);

	if (result != EMUL_NEXT)
		return result;
	if (instruction.kind != DECODE_MOV_DR || instruction.reg != (code & 15) || code & 8)
		return EMUL_UD;
	return debug_mov_dr(&v->guest, code & 7, instruction.rm, code < 16);
}

/* The guest gets its debug registers and executes the instruction again, unless the CPU's are the VMM's. */
static int dr_access(struct svm_vcpu *v)
{
	if (v->guest.debug.owns_drs)
		return mov_dr(v);
	if (!v->guest.drs_loaded)
		svm_use_debug_registers(v);
	return EMUL_RESUME;
}

/* ---- Port I/O and nested paging ----------------------------------------------------------------------------------- */

/* EXITINFO1, APM figure 15-2. Without decode assists the segment is not there, on some not the address size. */
static int io(struct svm_vcpu *v)
{
	const uint64_t info = v->vmcb->exit_info1;
	struct pio pio = {
		.port = (uint16_t)(info >> 16),
		.bytes = (info >> 4) & 7,
		.in = info & 1,
		.string = info & 4,
		.rep = info & 8,
		.address_bytes = (uint8_t)((info >> 7 & 7) << 1),
		.segment = v->has_decode_assists ? (int8_t)(info >> 10 & 7) : -1,
	};
	int result;

	/* EXITINFO2 is the next RIP, with or without the feature of that name (APM 15.10.2). */
	v->length = distance(v, v->vmcb->exit_info2);
	if (!v->length) {
		result = find_length(v);
		if (result != EMUL_NEXT)
			return result;
	}
	pio.length = v->length;
	return emul_port_io(&v->guest, &pio);
}

static uint64_t access_of(uint64_t error)
{
	if (error & PF_FETCH)
		return X86VCPU_ACCESS_EXECUTE;
	return error & PF_WRITE ? X86VCPU_ACCESS_WRITE : X86VCPU_ACCESS_READ;
}

/* Only an access by the instruction itself can be emulated: see vmx/exits.c (APM 15.25.6). */
static int nested_page_fault(struct svm_vcpu *v)
{
	struct guest *g = &v->guest;
	const uint64_t error = v->vmcb->exit_info1, gpa = v->vmcb->exit_info2;

	if (error & PF_RESERVED) {
		LOG(g->host, g->ctx, LOG_ERROR, "SVM: malformed nested page table entry");
		emul_report(g, X86VCPU_EXIT_NOTHING);
		return X86VCPU_ERR_INVALID_DATA;
	}
	if (g->events.reinject.valid || !(error & NPF_FINAL) || error & PF_FETCH || !guest_is_mmio(g, gpa))
		return emul_report_nested_fault(g, gpa, access_of(error));
	return emul_mmio(g, gpa, error & PF_WRITE, &v->length);
}

/* ---- The table ------------------------------------------------------------------------------------------------------ */

struct exit_rule {
	int (*handle)(struct svm_vcpu *v);
	bool length; /* needs the instruction's length, whatever the handler answers */
};

#define CODE(name) [X86VCPU_SVM_EXIT_##name]

/* Codes without a row cannot come with the intercepts of setup.c, or not at all. */
static const struct exit_rule rules[] = {
	CODE(CR0_READ) = {.handle = cr_read},
	CODE(CR0_READ + 4) = {.handle = cr_read},
	CODE(CR0_WRITE) = {.handle = cr_write},
	CODE(CR0_WRITE + 4) = {.handle = cr_write},
	CODE(CR0_WRITE + 8) = {.handle = cr_write},
	[X86VCPU_SVM_EXIT_DR0_READ ... X86VCPU_SVM_EXIT_DR15_WRITE] = {.handle = dr_access},
	CODE(EXCEPTION + VECTOR_DB) = {.handle = reflect_debug},
	CODE(EXCEPTION + VECTOR_DE) = {.handle = svm_reflect_fault},
	CODE(EXCEPTION + VECTOR_BP) = {.handle = reflect_software},
	CODE(EXCEPTION + VECTOR_OF) = {.handle = reflect_software},
	CODE(EXCEPTION + VECTOR_BR) = {.handle = svm_reflect_fault},
	CODE(EXCEPTION + VECTOR_NM) = {.handle = svm_reflect_fault},
	CODE(EXCEPTION + VECTOR_MF) = {.handle = svm_reflect_fault},
	CODE(EXCEPTION + VECTOR_XM) = {.handle = svm_reflect_fault},
	CODE(EXCEPTION + VECTOR_UD) = {.handle = svm_reflect_fault},
	CODE(EXCEPTION + VECTOR_TS) = {.handle = svm_reflect_fault},
	CODE(EXCEPTION + VECTOR_NP) = {.handle = svm_reflect_fault},
	CODE(EXCEPTION + VECTOR_SS) = {.handle = svm_reflect_fault},
	CODE(EXCEPTION + VECTOR_GP) = {.handle = svm_reflect_fault},
	CODE(EXCEPTION + VECTOR_PF) = {.handle = svm_reflect_fault},
	CODE(EXCEPTION + VECTOR_AC) = {.handle = reflect_alignment},
	CODE(EXCEPTION + VECTOR_MC) = {.handle = machine_check},
	CODE(INTR) = {.handle = physical_interrupt},
	CODE(NMI) = {.handle = host_event},
	CODE(SMI) = {.handle = resume},
	CODE(INIT) = {.handle = host_event},
	CODE(VINTR) = {.handle = virtual_interrupt},
	CODE(RDPMC) = {.handle = refuse_gp},
	CODE(CPUID) = {.handle = cpuid, .length = true},
	CODE(RSM) = {.handle = refuse_ud},
	CODE(IRET) = {.handle = iret},
	CODE(INTN) = {.handle = int_n},
	CODE(INVD) = {.handle = skip, .length = true}, /* never the host's dirty lines */
	CODE(PAUSE) = {.handle = skip, .length = true},
	CODE(HLT) = {.handle = hlt, .length = true},
	CODE(INVLPGA) = {.handle = refuse_ud},
	CODE(IOIO) = {.handle = io},
	CODE(MSR) = {.handle = msr, .length = true},
	CODE(FERR_FREEZE) = {.handle = x87_error},
	CODE(SHUTDOWN) = {.handle = shutdown},
	CODE(VMRUN) = {.handle = refuse_ud},
	CODE(VMMCALL) = {.handle = vmmcall, .length = true},
	CODE(VMLOAD) = {.handle = refuse_ud},
	CODE(VMSAVE) = {.handle = refuse_ud},
	CODE(STGI) = {.handle = refuse_ud},
	CODE(CLGI) = {.handle = refuse_ud},
	CODE(SKINIT) = {.handle = refuse_ud},
	CODE(WBINVD) = {.handle = skip, .length = true},
	CODE(MONITOR) = {.handle = refuse_ud},
	CODE(MWAIT) = {.handle = refuse_ud},
	CODE(MWAIT_ARMED) = {.handle = refuse_ud},
	CODE(XSETBV) = {.handle = xsetbv, .length = true},
	CODE(RDPRU) = {.handle = refuse_ud},
	CODE(INVLPGB) = {.handle = refuse_ud},
	CODE(INVLPGB_ILLEGAL) = {.handle = refuse_ud},
	CODE(MCOMMIT) = {.handle = refuse_ud},
	CODE(TLBSYNC) = {.handle = refuse_ud},
};

static const struct exit_rule *rule_of(uint64_t code)
{
	static const struct exit_rule unknown = {.handle = unsupported};
	static const struct exit_rule npf = {.handle = nested_page_fault};

	if (code < sizeof(rules) / sizeof(rules[0]) && rules[code].handle)
		return &rules[code];
	return code == X86VCPU_SVM_EXIT_NPF ? &npf : &unknown;
}

int svm_handle_exit(struct svm_vcpu *v)
{
	const struct exit_rule *rule = rule_of(v->vmcb->exit_code);
	const bool stepped = v->stepping && svm_end_step(v);
	int result = EMUL_NEXT;

	v->length = 0;
	if (v->reads_cr0)
		intercept_cr0_reads(v);
	if ((v->vmcb->exit_int_info & EVENT_VALID) || v->injecting_by_virq || v->iret_seen)
		svm_collect_vectoring(v);
	guest_know_instruction(&v->guest, v->vmcb->rip, v->vmcb->rflags, svm_blocking(v));
	v->injecting.valid = false;
	if (stepped)
		return EMUL_RESUME;
	if (rule->length)
		result = find_length(v);
	if (result == EMUL_NEXT)
		result = rule->handle(v);
	return emul_finish(&v->guest, result, v->length);
}
