/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One VM exit. The table says for each reason who handles it; the handler answers with enum emul, and
 * what that means for RIP and for the guest is decided in emul/finish.h.
 */
#include "cpu/insn.h"
#include "cpu/x86.h"
#include "emul/cr.h"
#include "emul/debug.h"
#include "emul/finish.h"
#include "emul/hypercall.h"
#include "emul/log.h"
#include "emul/mmio.h"
#include "emul/msr.h"
#include "emul/pio.h"
#include "emul/slice.h"
#include "emul/xcr.h"
#include "vmx/vmcs.h"
#include "vmx/vmx.h"

#define INFO_VALID (1u << 31)
#define INFO_NMI_UNBLOCKED (1u << 12)
#define INFO_ERROR_CODE (1u << 11)
#define INFO_VECTOR(info) ((uint8_t)(info))
#define INFO_TYPE(info) ((info) >> 8 & 7)

unsigned vmx_instruction_length(struct vmx_vcpu *v)
{
	if (!v->length)
		v->length = vmcs_read32(VMCS_EXIT_INSTRUCTION_LENGTH) & 15;
	return v->length;
}

/* ---- Answers that need no more than their name -------------------------------------------------- */

static int skip(struct vmx_vcpu *v)
{
	(void)v;
	return EMUL_NEXT;
}

static int refuse_ud(struct vmx_vcpu *v)
{
	(void)v;
	return EMUL_UD;
}

static int refuse_gp(struct vmx_vcpu *v)
{
	(void)v;
	return EMUL_GP;
}

/* The host's own: what there was to do the host has done, or will when interrupts are on. */
static int host_event(struct vmx_vcpu *v)
{
	return emul_report(&v->guest, X86VCPU_EXIT_NOTHING);
}

static int unsupported(struct vmx_vcpu *v)
{
	LOG(v->guest.host, v->guest.ctx, LOG_WARN, "VT-x: no way on from exit: ",
	    x86vcpu_vmx_exit_name(v->reason));
	emul_report(&v->guest, X86VCPU_EXIT_NOTHING);
	return X86VCPU_ERR_UNSUPPORTED;
}

/* ---- Exceptions and interrupts --------------------------------------------------------------------- */

/*
 * IRET unblocked NMIs and then faulted: they must be blocked again when it is executed again
 * (SDM 28.2.3). The bit means nothing when the fault came during the delivery of an event, nor for #DF.
 */
static void reblock_nmis(struct vmx_vcpu *v)
{
	guest_update(&v->guest, G_BLOCKING, guest_get(&v->guest, G_BLOCKING) | GUEST_BLOCKING_NMI);
}

/*
 * The CPU has put the cause of a #DB into the exit qualification instead of DR6, and left DR7.GD on
 * (SDM 28.1, 17.2.3): both must be as the guest's handler expects them.
 */
static void record_debug(struct vmx_vcpu *v, uint64_t cause)
{
	struct guest *g = &v->guest;

	if (g->debug.owns_drs) {
		g->dr6 = (g->dr6 & ~DEBUG_BREAKPOINTS) | cause;
		return;
	}
	if (!g->drs_loaded)
		vmx_use_debug_registers(v);
	insn_write_dr6((insn_read_dr6() & ~DEBUG_BREAKPOINTS) | cause);
	if (cause & DR6_BD)
		guest_update(g, G_DR7, guest_get(g, G_DR7) & ~(uint64_t)DR7_GD);
}

/*
 * While STI or MOV SS blocks, VM entry wants the single step of TF pending (SDM 27.3.1.5). It depends on the CPU whether
 * the exit saves it so (SDM 28.3.4), and a #DB that exits has consumed it.
 */
static void keep_single_step(struct guest *g)
{
	if (guest_get(g, G_BLOCKING) & (GUEST_BLOCKING_STI | GUEST_BLOCKING_MOV_SS) &&
	    guest_get(g, G_RFLAGS) & RFLAGS_TF)
		guest_set(g, G_PENDING_DB, guest_get(g, G_PENDING_DB) | PENDING_DB_BS);
}

/* Of a #DB: those conditions that are the guest's. */
static uint64_t take_conditions(struct vmx_vcpu *v)
{
	struct guest *g = &v->guest;
	uint64_t cause = vmcs_readn(VMCS_EXIT_QUALIFICATION) & DEBUG_CONDITIONS;

	if (v->stepped && !g->debug.own_flag)
		cause &= ~DR6_BS;
	return debug_take_conditions(g, cause);
}

/*
 * #DB and #AC exit because their delivery can fault for ever without leaving the guest
 * (CVE-2015-5307, CVE-2015-8104). They go back in, except where an event's own delivery raised them:
 * that is SDM table 6-5's to decide.
 */
static int reflect(struct vmx_vcpu *v, uint32_t info)
{
	struct guest *g = &v->guest;
	uint64_t conditions = 0;
	struct guest_event event = {
		.valid = true,
		.vector = INFO_VECTOR(info),
		.type = INFO_TYPE(info),
		.has_error_code = info & INFO_ERROR_CODE,
	};

	if (event.has_error_code)
		event.error_code = vmcs_read32(VMCS_EXIT_INTERRUPTION_ERROR_CODE);
	if (event.vector == VECTOR_DB) {
		conditions = take_conditions(v);
		if (!conditions && g->debug.due)
			return EMUL_RESUME;
		record_debug(v, conditions);
	}
	if (event.type != GUEST_EVENT_EXCEPTION)
		event.length = vmx_instruction_length(v);
	if ((event.vector == VECTOR_DB || event.vector == VECTOR_BP) && debug_takes_exception(g, &event, conditions))
		return EMUL_RESUME;
	if (event.vector == VECTOR_PF) {
		guest_raise_page_fault(g, vmcs_readn(VMCS_EXIT_QUALIFICATION), event.error_code);
	} else if (event.type == GUEST_EVENT_EXCEPTION) {
		guest_raise(g, event.vector, event.has_error_code, event.error_code);
	} else {
		/* INT1, INT3, INTO: a trap that must know its length. */
		guest_reinject(g, event);
	}
	return EMUL_RESUME;
}

/* SDM 6.15, interrupt 17. Any other #AC reports a split lock to the host, which has that detection on. */
static bool is_alignment_check(struct guest *g)
{
	return guest_get(g, G_CR0) & CR0_AM && guest_get(g, G_RFLAGS) & RFLAGS_AC && guest_cpl(g) == 3;
}

static int exception_or_nmi(struct vmx_vcpu *v)
{
	const uint32_t info = vmcs_read32(VMCS_EXIT_INTERRUPTION_INFO);

	if (!(info & INFO_VALID) || INFO_TYPE(info) == GUEST_EVENT_EXTERNAL)
		return X86VCPU_ERR_INVALID_DATA;
	if (INFO_TYPE(info) == GUEST_EVENT_NMI) {
		insn_raise_nmi();
		return host_event(v);
	}
	if (info & INFO_NMI_UNBLOCKED && INFO_VECTOR(info) != VECTOR_DF && !v->guest.events.reinject.valid)
		reblock_nmis(v);
	if (INFO_VECTOR(info) == VECTOR_MC) {
		insn_raise_machine_check();
		return host_event(v);
	}
	if (INFO_VECTOR(info) == VECTOR_MF && v->watches_x87)
		return emul_fpu_error(&v->guest);
	if (INFO_VECTOR(info) == VECTOR_AC && !is_alignment_check(&v->guest) && vmx_suspend_split_lock_detection(v))
		return EMUL_RESUME;
	return reflect(v, info);
}

/* Acknowledged by the exit (SDM 34.2): the host would never see it unless it is told the vector. */
static int external_interrupt(struct vmx_vcpu *v)
{
	const uint32_t info = vmcs_read32(VMCS_EXIT_INTERRUPTION_INFO);

	if (!(info & INFO_VALID) || INFO_TYPE(info) != GUEST_EVENT_EXTERNAL)
		return X86VCPU_ERR_INVALID_DATA;
	v->acknowledged = INFO_VECTOR(info);
	return host_event(v);
}

static int interrupt_window(struct vmx_vcpu *v)
{
	vmx_close_interrupt_window(v);
	return EMUL_RESUME;
}

static int nmi_window(struct vmx_vcpu *v)
{
	vmx_close_nmi_window(v);
	return EMUL_RESUME;
}

static int tpr_below_threshold(struct vmx_vcpu *v)
{
	guest_look_again(&v->guest);
	return EMUL_RESUME;
}

static int triple_fault(struct vmx_vcpu *v)
{
	v->guest.events.shutdown = true;
	return emul_report(&v->guest, X86VCPU_EXIT_SYSTEM_DOWN);
}

static int preemption_timer(struct vmx_vcpu *v)
{
	if (!v->guest.debug.delivering)
		return slice_report(&v->guest);
	debug_step_ended(&v->guest);
	return EMUL_RESUME;
}

static int monitor_trap_flag(struct vmx_vcpu *v)
{
	debug_step_ended(&v->guest);
	return EMUL_RESUME;
}

/* ---- Instructions ------------------------------------------------------------------------------------ */

static int cpuid(struct vmx_vcpu *v)
{
	return emul_cpuid(&v->guest);
}

static int hlt(struct vmx_vcpu *v)
{
	return emul_hlt(&v->guest);
}

static int vmcall(struct vmx_vcpu *v)
{
	return emul_hypercall(&v->guest);
}

static int mov_from_cr(struct guest *g, const struct x86vcpu_vmx_cr_access *access)
{
	uint64_t value = 0;
	const int result = emul_mov_from_cr(g, access->number, &value);

	if (result == EMUL_NEXT)
		guest_set_gpr(g, access->gpr, value);
	return result;
}

static int cr_access(struct vmx_vcpu *v)
{
	struct guest *g = &v->guest;
	struct x86vcpu_vmx_cr_access access;

	if (x86vcpu_vmx_decode_cr_access(vmcs_readn(VMCS_EXIT_QUALIFICATION), &access))
		return X86VCPU_ERR_INVALID_DATA;
	switch (access.type) {
	case X86VCPU_VMX_CR_MOV_TO:
		return emul_mov_to_cr(g, access.number, guest_gpr(g, access.gpr));
	case X86VCPU_VMX_CR_MOV_FROM:
		return mov_from_cr(g, &access);
	case X86VCPU_VMX_CR_CLTS:
		return emul_clts(g);
	default:
		return emul_lmsw(g, access.lmsw_source);
	}
}

/* The guest gets its debug registers and executes the instruction again, unless the CPU's are the VMM's. */
static int dr_access(struct vmx_vcpu *v)
{
	struct x86vcpu_vmx_dr_access access;

	if (v->guest.debug.owns_drs) {
		if (x86vcpu_vmx_decode_dr_access(vmcs_readn(VMCS_EXIT_QUALIFICATION), &access))
			return X86VCPU_ERR_INVALID_DATA;
		return debug_mov_dr(&v->guest, access.number, access.gpr, access.read);
	}
	if (!v->guest.drs_loaded)
		vmx_use_debug_registers(v);
	return EMUL_RESUME;
}

static int io(struct vmx_vcpu *v)
{
	const uint64_t qualification = vmcs_readn(VMCS_EXIT_QUALIFICATION);
	struct x86vcpu_vmx_instruction instruction;
	struct x86vcpu_vmx_io access;
	struct pio pio;

	if (!(qualification & IO_STRING))
		return emul_in_out(&v->guest, (uint16_t)(qualification >> IO_PORT_SHIFT),
				   (qualification & IO_SIZE) + 1, qualification & IO_IN);
	if (x86vcpu_vmx_decode_io(qualification, &access))
		return X86VCPU_ERR_INVALID_DATA;
	pio = (struct pio){
		.port = access.port,
		.bytes = (uint8_t)(1u << access.width),
		.in = access.in,
		.string = access.string,
		.rep = access.rep,
		.segment = -1,
		.length = vmx_instruction_length(v),
	};
	if (x86vcpu_vmx_decode_instruction(v->reason, vmcs_read32(VMCS_EXIT_INSTRUCTION_INFO), access.in,
					   &instruction))
		return X86VCPU_ERR_INVALID_DATA;
	pio.address_bytes = instruction.address_bytes;
	pio.segment = (int8_t)instruction.segment;
	return emul_port_io(&v->guest, &pio);
}

static int rdmsr(struct vmx_vcpu *v)
{
	v->guest.msr_length = (uint8_t)vmx_instruction_length(v);
	return emul_rdmsr(&v->guest);
}

static int wrmsr(struct vmx_vcpu *v)
{
	int result;

	v->guest.msr_length = (uint8_t)vmx_instruction_length(v);
	result = emul_wrmsr(&v->guest);
	if (v->guest.msrs_changed)
		vmx_reload_msrs(v);
	return result;
}

static int xsetbv(struct vmx_vcpu *v)
{
	const int result = emul_xsetbv(&v->guest);

	if (result == EMUL_NEXT)
		context_load_xcr0(&v->guest);
	return result;
}

/* ---- Nested paging --------------------------------------------------------------------------------------- */

/*
 * Only an access by the instruction itself can be emulated: not one of the guest's page walk, nor of
 * the delivery of an event (SDM table 28-7, bits 7 and 8).
 */
static int ept_violation(struct vmx_vcpu *v)
{
	struct guest *g = &v->guest;
	const uint64_t gpa = vmcs_read64(VMCS_GUEST_PHYSICAL_ADDRESS);
	const uint64_t qualification = vmcs_readn(VMCS_EXIT_QUALIFICATION);
	const bool delivering = g->events.reinject.valid;

	if (qualification & EPT_VIOLATION_NMI_UNBLOCKED && !delivering)
		reblock_nmis(v);
	if (delivering || ~qualification & (EPT_VIOLATION_LINEAR | EPT_VIOLATION_TRANSLATED) ||
	    qualification & X86VCPU_ACCESS_EXECUTE || !guest_is_mmio(g, gpa))
		return emul_report_nested_fault(g, gpa, qualification & EPT_VIOLATION_ACCESS);
	return emul_mmio_linear(g, gpa, vmcs_readn(VMCS_GUEST_LINEAR_ADDRESS),
				qualification & X86VCPU_ACCESS_WRITE, &v->length);
}

static int ept_misconfiguration(struct vmx_vcpu *v)
{
	LOG(v->guest.host, v->guest.ctx, LOG_ERROR, "VT-x: malformed EPT entry");
	emul_report(&v->guest, X86VCPU_EXIT_NOTHING);
	return X86VCPU_ERR_INVALID_DATA;
}

/* ---- The table --------------------------------------------------------------------------------------------- */

struct exit_rule {
	int (*handle)(struct vmx_vcpu *v);
	bool vectoring; /* may come during the delivery of an event (SDM 28.2.4) */
};

/*
 * By basic exit reason (SDM appendix C). Reasons without a row cannot come with the controls of
 * capability.c, or not at all.
 */
static const struct exit_rule rules[] = {
	[X86VCPU_VMX_EXIT_EXCEPTION_OR_NMI] = {.handle = exception_or_nmi, .vectoring = true},
	[X86VCPU_VMX_EXIT_EXTERNAL_INTERRUPT] = {.handle = external_interrupt, .vectoring = true},
	[X86VCPU_VMX_EXIT_TRIPLE_FAULT] = {.handle = triple_fault},
	[X86VCPU_VMX_EXIT_INIT] = {.handle = host_event, .vectoring = true}, /* pending until VMXOFF (SDM 26.2) */
	[X86VCPU_VMX_EXIT_INTERRUPT_WINDOW] = {.handle = interrupt_window},
	[X86VCPU_VMX_EXIT_NMI_WINDOW] = {.handle = nmi_window},
	[X86VCPU_VMX_EXIT_TASK_SWITCH] = {.handle = unsupported, .vectoring = true},
	[X86VCPU_VMX_EXIT_CPUID] = {.handle = cpuid},
	[X86VCPU_VMX_EXIT_GETSEC] = {.handle = refuse_ud},
	[X86VCPU_VMX_EXIT_HLT] = {.handle = hlt},
	[X86VCPU_VMX_EXIT_INVD] = {.handle = skip}, /* never the host's dirty lines */
	[X86VCPU_VMX_EXIT_RDPMC] = {.handle = refuse_gp},
	[X86VCPU_VMX_EXIT_RSM] = {.handle = refuse_ud},
	[X86VCPU_VMX_EXIT_VMCALL] = {.handle = vmcall},
	[X86VCPU_VMX_EXIT_VMCLEAR] = {.handle = refuse_ud},
	[X86VCPU_VMX_EXIT_VMLAUNCH] = {.handle = refuse_ud},
	[X86VCPU_VMX_EXIT_VMPTRLD] = {.handle = refuse_ud},
	[X86VCPU_VMX_EXIT_VMPTRST] = {.handle = refuse_ud},
	[X86VCPU_VMX_EXIT_VMREAD] = {.handle = refuse_ud},
	[X86VCPU_VMX_EXIT_VMRESUME] = {.handle = refuse_ud},
	[X86VCPU_VMX_EXIT_VMWRITE] = {.handle = refuse_ud},
	[X86VCPU_VMX_EXIT_VMXOFF] = {.handle = refuse_ud},
	[X86VCPU_VMX_EXIT_VMXON] = {.handle = refuse_ud},
	[X86VCPU_VMX_EXIT_CR_ACCESS] = {.handle = cr_access},
	[X86VCPU_VMX_EXIT_DR_ACCESS] = {.handle = dr_access},
	[X86VCPU_VMX_EXIT_IO] = {.handle = io},
	[X86VCPU_VMX_EXIT_RDMSR] = {.handle = rdmsr},
	[X86VCPU_VMX_EXIT_WRMSR] = {.handle = wrmsr},
	[X86VCPU_VMX_EXIT_MWAIT] = {.handle = refuse_ud},
	[X86VCPU_VMX_EXIT_MONITOR_TRAP_FLAG] = {.handle = monitor_trap_flag},
	[X86VCPU_VMX_EXIT_MONITOR] = {.handle = refuse_ud},
	[X86VCPU_VMX_EXIT_PAUSE] = {.handle = skip},
	[X86VCPU_VMX_EXIT_TPR_BELOW_THRESHOLD] = {.handle = tpr_below_threshold},
	[X86VCPU_VMX_EXIT_EPT_VIOLATION] = {.handle = ept_violation, .vectoring = true},
	[X86VCPU_VMX_EXIT_EPT_MISCONFIGURATION] = {.handle = ept_misconfiguration, .vectoring = true},
	[X86VCPU_VMX_EXIT_INVEPT] = {.handle = refuse_ud},
	[X86VCPU_VMX_EXIT_PREEMPTION_TIMER] = {.handle = preemption_timer},
	[X86VCPU_VMX_EXIT_INVVPID] = {.handle = refuse_ud},
	[X86VCPU_VMX_EXIT_WBINVD] = {.handle = skip},
	[X86VCPU_VMX_EXIT_XSETBV] = {.handle = xsetbv},
	[X86VCPU_VMX_EXIT_VMFUNC] = {.handle = refuse_ud},
	[X86VCPU_VMX_EXIT_ENCLS] = {.handle = refuse_ud},
	[X86VCPU_VMX_EXIT_PCONFIG] = {.handle = refuse_ud},
	[X86VCPU_VMX_EXIT_UMWAIT] = {.handle = refuse_ud},
	[X86VCPU_VMX_EXIT_TPAUSE] = {.handle = refuse_ud},
	[X86VCPU_VMX_EXIT_LOADIWKEY] = {.handle = refuse_ud},
	[X86VCPU_VMX_EXIT_ENCLV] = {.handle = refuse_ud},
	[X86VCPU_VMX_EXIT_ENQCMD_PASID] = {.handle = refuse_gp},
	[X86VCPU_VMX_EXIT_ENQCMDS_PASID] = {.handle = refuse_gp},
	[X86VCPU_VMX_EXIT_BUS_LOCK] = {.handle = host_event},
	[X86VCPU_VMX_EXIT_INSTRUCTION_TIMEOUT] = {.handle = host_event, .vectoring = true},
	[X86VCPU_VMX_EXIT_SEAMCALL] = {.handle = refuse_ud}, /* exits on every CPU with TDX */
	[X86VCPU_VMX_EXIT_TDCALL] = {.handle = refuse_ud},
	[X86VCPU_VMX_EXIT_RDMSRLIST] = {.handle = refuse_ud},
	[X86VCPU_VMX_EXIT_WRMSRLIST] = {.handle = refuse_ud},
};

static const struct exit_rule *rule_of(uint32_t reason)
{
	static const struct exit_rule unknown = {.handle = unsupported, .vectoring = true};
	const uint32_t basic = reason & X86VCPU_VMX_REASON_BASIC;

	if (basic >= sizeof(rules) / sizeof(rules[0]) || !rules[basic].handle)
		return &unknown;
	return &rules[basic];
}

int vmx_handle_exit(struct vmx_vcpu *v)
{
	const struct exit_rule *rule = rule_of(v->reason);
	int result;

	if (rule->vectoring)
		vmx_collect_vectoring(v);
	else
		vmx_read_instruction(&v->guest);
	v->stepped = v->guest.debug.stepping;
	if (v->stepped)
		vmx_end_step(v);
	keep_single_step(&v->guest);
	result = rule->handle(v);
	return emul_finish(&v->guest, result, emul_skips(result) ? vmx_instruction_length(v) : 0);
}
