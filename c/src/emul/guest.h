/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest as the emulation sees it: general registers, and a cache of the state that the backend
 * keeps in a VMCS or VMCB. A field is read from hardware when somebody first asks for it after an
 * exit, and written back before the next entry when somebody changed it. Nothing in here knows
 * which backend that is.
 */
#ifndef EMUL_GUEST_H
#define EMUL_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "x86vcpu/apic.h"
#include "x86vcpu/debug.h"
#include "x86vcpu/exit.h"
#include "x86vcpu/host.h"
#include "x86vcpu/regs.h"
#include "x86vcpu/status.h"
#include "x86vcpu/vcpu.h"

#include "cpu/x86.h"
#include "emul/instruction.h"
#include "emul/mitigation.h"
#include "lapic/lapic.h"

/* Per segment, in the order of enum x86vcpu_segment_index. */
enum guest_field {
	G_SELECTOR = 0, /* + segment index */
	G_BASE = 8,
	G_LIMIT = 16,
	G_ACCESS = 24, /* access rights as a VMCS has them */
	G_GDTR_BASE = 32,
	G_GDTR_LIMIT,
	G_IDTR_BASE,
	G_IDTR_LIMIT,
	G_RIP,
	G_RSP,
	G_RFLAGS,
	G_CR0, /* CR0 and CR4: as the guest reads them */
	G_CR3,
	G_CR4,
	G_EFER, /* with LMA; SVME, which the guest does not see, never */
	G_DR7,
	G_PAT,
	G_SYSENTER_CS,
	G_SYSENTER_ESP,
	G_SYSENTER_EIP,
	G_BLOCKING,  /* interruptibility: GUEST_BLOCKING_* */
	G_ACTIVITY,  /* 0 active, 1 HLT, 2 shutdown, 3 wait for SIPI */
	G_PENDING_DB, /* pending debug exceptions, laid out as SDM 25.4.2 */
	G_PDPTE0,    /* written when emulation loads PAE page-directory pointers */
	G_PDPTE1,
	G_PDPTE2,
	G_PDPTE3,
	G_FIELDS
};
_Static_assert(G_FIELDS <= 64, "valid and dirty are 64-bit sets");

#define GUEST_BLOCKING_STI (1u << 0)
#define GUEST_BLOCKING_MOV_SS (1u << 1)
#define GUEST_BLOCKING_NMI (1u << 3)

/* What a handler did with the instruction that exited. Negative: an x86vcpu_status. */
enum emul {
	EMUL_NEXT = 0,      /* done: skip it and stay in the guest */
	EMUL_RESUME = 1,    /* stay in the guest, RIP is right as it is */
	EMUL_GP = 2,        /* refused: #GP(0), RIP stays */
	EMUL_UD = 3,        /* refused: #UD, RIP stays */
	EMUL_EXIT = 4,      /* back to the VMM with guest.exit, RIP is right as it is */
	EMUL_NEXT_EXIT = 5, /* skip it, then back to the VMM with guest.exit */
};

/*
 * What the guest may have, derived once per vCPU from its CPUID table (emul/cpuid.c). A bit that is
 * not in a mask cannot be set by the guest.
 */
struct guest_limits {
	uint64_t cr0; /* bits that exist: the rest of [31:0] is ignored, [63:32] is #GP */
	uint64_t cr4;
	uint64_t efer;
	uint64_t xcr0;
	uint64_t xss;
	uint64_t physical_mask; /* bits of a guest-physical address */
	/* The CPU's own, whatever the table shows: a guest loads such values without an exit. */
	uint64_t cpu_physical_mask;
	uint64_t cr3_lam;     /* CR3.LAM_U57 and LAM_U48, or 0 */
	uint32_t linear_bits; /* of a canonical address: 48, or 57 on a CPU with LA57 */
	bool rdtscp, has_1g_pages, has_nx, has_long_mode, has_xsave;
	bool arch_capabilities, mtrr, intel; /* intel: vendor string GenuineIntel */
	bool has_xsaves, has_apic;
	/* Bits of IA32_SPEC_CTRL, IA32_PRED_CMD and IA32_FLUSH_CMD; 0: the guest does not have the MSR. */
	uint64_t spec_ctrl, pred_cmd, flush_cmd;
	uint64_t arch_capabilities_value; /* what IA32_ARCH_CAPABILITIES reads as */
	uint32_t xsave_size; /* bytes of a standard-format XSAVE area for all of xcr0 */
};

struct guest_cpuid_entry {
	uint32_t leaf, subleaf;
	uint32_t eax, ebx, ecx, edx;
	uint32_t flags; /* GUEST_CPUID_* */
};

/* Where the entries of a leaf are (emul/cpuid.c). */
struct guest_cpuid_slot {
	uint8_t first; /* index of subleaf 0 */
	uint8_t count; /* of subleaves, which are adjacent; 0: ECX has no meaning */
};

/* Leaves 0 to 0x1f, 0x80000000 to 0x80000021, 0x40000000, 0x40000001, and any other. */
#define GUEST_CPUID_SLOTS 69

/* MSRs that the library keeps for the guest, outside the VMCS or VMCB. */
struct guest_msrs {
	uint64_t star, lstar, cstar, fmask, kernel_gs_base;
	uint64_t tsc_aux;
	uint64_t tsc_offset; /* guest TSC = host TSC + this, modulo 2^64 */
	uint64_t tsc_adjust;
	uint64_t xss;
	uint64_t misc_enable;
	uint64_t mtrr_def_type;
	uint64_t mtrr_fixed[11];
	uint64_t mtrr_base[8], mtrr_mask[8];
	uint64_t mcg_status;
	uint64_t bios_sign_id;
};

/* An event on its way into the guest. Types are those of SDM 25.8.3, which the APM shares for 0, 2, 3, 4. */
enum guest_event_type {
	GUEST_EVENT_EXTERNAL = 0,
	GUEST_EVENT_NMI = 2,
	GUEST_EVENT_EXCEPTION = 3,
	GUEST_EVENT_SOFTWARE_INTERRUPT = 4,
	GUEST_EVENT_PRIVILEGED_SOFTWARE_EXCEPTION = 5,
	GUEST_EVENT_SOFTWARE_EXCEPTION = 6,
	GUEST_EVENT_OTHER = 7,
};

struct guest_event {
	bool valid, has_error_code;
	uint8_t vector, type;
	uint32_t error_code;
	uint32_t length; /* of the instruction, for types 4 to 6 */
};

#define STARTUP_PENDING 0x100u
#define RUN_STATE_MASK 3u
#define RUN_STATE_CPU 32

struct guest_events {
	/* Set by any CPU; read and cleared by the CPU that runs the guest. */
	uint32_t attention;     /* 1: something is worth a look before the next entry */
	uint32_t nmi;           /* 1: an NMI is pending */
	uint32_t exit_request;  /* 1: run shall return */
	uint32_t init;          /* 1: INIT is pending */
	uint32_t startup;       /* STARTUP_PENDING | page: a start-up IPI is */
	uint64_t interrupts[4]; /* pending external interrupts that don't come through the local APIC, by vector */
	uint64_t run_state;     /* enum x86vcpu_run_state, and from bit RUN_STATE_CPU the CPU's number */

	/* The vCPU's own. */
	struct guest_event exception; /* raised by emulation or by the VMM, not yet taken */
	struct guest_event reinject;  /* its delivery was cut short by an exit */
	bool halted;                  /* HLT executed and nothing has woken it */
	bool waits_for_sipi;          /* after INIT */
	bool shutdown;                /* triple fault */
};

/* What the VMM still owes an answer to. */
enum guest_open {
	GUEST_OPEN_NONE = 0,
	GUEST_OPEN_PORT_READ,
	GUEST_OPEN_PORT_STRING,
	GUEST_OPEN_MMIO_READ,
	GUEST_OPEN_MSR_READ,
	GUEST_OPEN_MSR_WRITE,
};

/* Those whose instruction has not ended: RIP is still there. */
#define GUEST_OPEN_AT_RIP \
	(1u << GUEST_OPEN_PORT_STRING | 1u << GUEST_OPEN_MSR_READ | 1u << GUEST_OPEN_MSR_WRITE)

/* Accesses of one instruction to devices, of up to 8 bytes each: two operands of 16 bytes across pages fit. */
#define EMULATION_ACCESSES 24u

struct guest_device_access {
	uint64_t gpa, data;
	uint8_t bytes;
};

/*
 * An instruction whose operands are device memory (emul/operand.c). It is executed from its beginning again after each
 * answer of the VMM, and changes nothing before all its reads are answered. So it can be dropped at any time before that,
 * and the guest executes it again.
 */
struct guest_emulation {
	bool active; /* the instruction at `rip` has a read that was asked for */
	uint64_t rip;
	uint32_t reads;
	struct guest_device_access read[EMULATION_ACCESSES]; /* answered, in the instruction's order */
	/* Writes of an instruction that has ended: the next runs return them before they enter the guest. */
	uint32_t writes, written;
	struct guest_device_access write[EMULATION_ACCESSES];
};

/* What emul/context.c switches: extended state and what belongs to it. */
struct guest_context {
	void *guest_area; /* XSAVE or FXSAVE images */
	void *host_area;
	uint64_t hpa; /* of the frames that hold both */
	uint32_t mxcsr_mask; /* bits of MXCSR that exist; 0 before the first bind */
	uint64_t frames;
	bool has_xsave, has_xss, has_tsc_aux;
	bool leaks_x87_pointers; /* XRSTOR and FXRSTOR leave them when no exception is pending */
	bool keep;   /* from one run to the next */
	bool loaded; /* the CPU holds the guest's */
	uint16_t component_offset[10]; /* in an image, of the components from AVX on; 0: the CPU does not have it */
	bool xcr0_unseen; /* XSETBV does not exit: XCR0 is read from the CPU */
	uint64_t used;                   /* components that the guest may have changed so far */
	uint64_t host_xcr0;              /* read at each run, */
	uint64_t host_xss, host_tsc_aux; /* at bind */
	uint64_t host_cr0;
	uint64_t host_dr[4], host_dr6;
};

/* How the instruction of a step by RFLAGS.TF treats that flag (emul/debug.c). */
enum guest_step_kind {
	GUEST_STEP_PLAIN = 0,
	GUEST_STEP_STORES,   /* PUSHF */
	GUEST_STEP_LOADS,    /* POPF, IRET */
	GUEST_STEP_SYSCALL,
	GUEST_STEP_SYSRET,
};

/* What the VMM asked for with x86vcpu_set_debug, and what came of it. */
struct guest_debug {
	uint32_t flags; /* X86VCPU_DEBUG_* */
	bool by_flag;   /* the CPU steps by RFLAGS.TF */
	uint64_t dr7;   /* with its breakpoints; 0: none */
	uint64_t address[4];

	bool owns_drs;      /* during a run: the CPU's debug registers are the VMM's, */
	uint64_t guest_dr7; /* and this is the guest's DR7 */
	bool stepping;      /* the entry under way has RFLAGS.TF set for the VMM, */
	bool own_flag;      /* and the guest has set it too; */
	bool r11_flag;      /* it is set in the guest's R11 */
	bool delivering;    /* an event went in where a step was due: it ends in the handler or after it */
	uint8_t kind;       /* enum guest_step_kind */

	uint32_t due; /* X86VCPU_DEBUG_HIT_*: the next exit */
	uint64_t conditions; /* its DR6 */
	struct guest_event event; /* the guest's own, of the last exit, for x86vcpu_debug_reflect */
};

struct guest {
	struct x86vcpu_regs regs; /* first, and */
	uint64_t switch_word;     /* second, the backend's own use, and */
	struct guest_mitigation mitigation; /* third, and */
	uint64_t cr2;             /* fourth: the world switch counts on them */

	uint64_t valid; /* a bit per enum guest_field */
	uint64_t dirty;
	uint64_t field[G_FIELDS];
	uint64_t (*read_field)(struct guest *g, enum guest_field field);
	void (*read_mode)(struct guest *g); /* all of GUEST_MODE_FIELDS, none of which is valid. NULL: one by one */

	const struct x86vcpu_host_ops *host;
	void *ctx, *machine_opaque, *opaque; /* what host operations are called with */
	uint32_t vcpu_id;

	struct guest_limits limits;
	const struct guest_cpuid_entry *cpuid;
	uint32_t cpuid_count;
	uint32_t cpuid_computed; /* GUEST_CPUID_* that change an answer */
	struct guest_cpuid_slot cpuid_slot[GUEST_CPUID_SLOTS];
	uint64_t xcr0;
	union {
		struct {
			bool flush_tlb;    /* emulation changed what translations mean: drop the linear ones */
			bool flush_nested; /* nested tables changed: drop all cached translations */
			bool flush_moved;  /* this CPU may have some of another vCPU's, or from an earlier stay */
		};
		uint32_t flush; /* any of them, before the next entry */
	};
	struct guest_msrs msrs;
	bool msr_maps_stale; /* what passes without an exit has changed */
	bool msrs_changed; /* a switched MSR or tsc_offset was written since it was last loaded */
	uint64_t (*host_tsc)(void);

	uint64_t dr[4]; /* DR0 to DR3 and DR6 while the guest does not run */
	uint64_t dr6;
	bool drs_loaded;    /* they are in the CPU: during a run, once the guest has used them */
	bool drs_armed;     /* DR7 has breakpoints on: they must be loaded at every run */

	struct guest_debug debug;
	struct guest_context context;
	struct guest_events events;
	struct lapic lapic;
	struct x86vcpu_machine *machine;

	bool fpu_error_exits; /* X86VCPU_SETUP_FPU_ERROR_EXITS */
	uint64_t slice_ticks; /* of the TSC */
	uint64_t slice_end;   /* TSC at which the time slice under way ends; 0: the next run begins one */

	enum guest_open open;
	struct x86vcpu_exit *exit; /* of the run call under way */
	struct x86vcpu_exit last;  /* the exit that is open */
	struct guest_emulation emulation;
	uint8_t msr_length;        /* bytes of the RDMSR or WRMSR that is open */
	uint32_t string_breakpoints; /* that the open element hits (emul/breakpoint.h) */

	/* Copied at setup. */
	const struct x86vcpu_memory_region *memory;
	uint32_t memory_count;
	uint32_t memory_last; /* index of the region that answered last */
	const struct x86vcpu_mmio_range *mmio;
	uint32_t mmio_count;
	uint32_t mmio_last;
	struct x86vcpu_msr_range msr_ranges[X86VCPU_MAX_MSR_RANGES];
	uint32_t msr_range_count;

	struct fetch_memo fetch_memos[FETCH_MEMOS]; /* emul/fetch.c */
};

#define GUEST_BIT(field) (UINT64_C(1) << (field))

/*
 * Whether the CPU takes `address` for a segment or table base or an MSR. CR4.LA57 does not matter there: the width is the
 * widest that the CPU has (SDM 4.5.1, Vol. 2 WRMSR).
 */
static inline bool guest_base_is_canonical(const struct guest_limits *limits, uint64_t address)
{
	const unsigned unused = 64 - limits->linear_bits;

	return (uint64_t)((int64_t)(address << unused) >> unused) == address;
}

static inline uint64_t guest_get(struct guest *g, enum guest_field field)
{
	const uint64_t bit = GUEST_BIT(field);

	if (!(g->valid & bit)) {
		g->field[field] = g->read_field(g, field);
		g->valid |= bit;
	}
	return g->field[field];
}

static inline void guest_set(struct guest *g, enum guest_field field, uint64_t value)
{
	const uint64_t bit = GUEST_BIT(field);

	g->field[field] = value;
	g->valid |= bit;
	g->dirty |= bit;
}

/* For a field whose change is rare: writes it back only when it differs. */
static inline void guest_update(struct guest *g, enum guest_field field, uint64_t value)
{
	if (guest_get(g, field) != value)
		guest_set(g, field, value);
}

/* What the end of an instruction asks for in any case. A backend reads them at once: cheaper than one by one. */
#define GUEST_INSTRUCTION_FIELDS (GUEST_BIT(G_RIP) | GUEST_BIT(G_RFLAGS) | GUEST_BIT(G_BLOCKING))

static inline void guest_know_instruction(struct guest *g, uint64_t rip, uint64_t rflags, uint64_t blocking)
{
	g->field[G_RIP] = rip;
	g->field[G_RFLAGS] = rflags;
	g->field[G_BLOCKING] = blocking;
	g->valid |= GUEST_INSTRUCTION_FIELDS;
}

/* What decides how an instruction is fetched and decoded. */
#define GUEST_MODE_FIELDS                                                                                     \
	(GUEST_BIT(G_ACCESS + X86VCPU_SEGMENT_CS) | GUEST_BIT(G_ACCESS + X86VCPU_SEGMENT_SS) |                 \
	 GUEST_BIT(G_CR0) | GUEST_BIT(G_CR3) | GUEST_BIT(G_CR4) | GUEST_BIT(G_EFER))

/* Whether an instruction waits for the VMM, or has writes that the VMM has not seen yet. */
static inline bool guest_emulation_is_under_way(const struct guest *g)
{
	return g->emulation.active || g->emulation.writes;
}

/* Whether the VMM owes an answer, or further accesses of an instruction are still to be reported. */
static inline bool guest_has_open_exit(const struct guest *g)
{
	return g->open != GUEST_OPEN_NONE || guest_emulation_is_under_way(g);
}

/* The instruction of the open exit gets no answer and makes no further access. */
static inline void guest_drop_open_exit(struct guest *g)
{
	g->open = GUEST_OPEN_NONE;
	g->emulation.active = false;
	g->emulation.reads = 0;
	g->emulation.writes = g->emulation.written = 0;
}

/* General register `index` of an instruction encoding, RSP included. */
static inline uint64_t guest_gpr(struct guest *g, unsigned index)
{
	return index == 4 ? guest_get(g, G_RSP) : (&g->regs.rax)[index & 15];
}

static inline void guest_set_gpr(struct guest *g, unsigned index, uint64_t value)
{
	if (index == 4)
		guest_set(g, G_RSP, value);
	else
		(&g->regs.rax)[index & 15] = value;
}

/*
 * The exit that the run under way returns: all zero but for its kind. Word by word, because it is on the
 * path of every exit: compilers would rather loop.
 */
static inline int emul_report(struct guest *g, enum x86vcpu_exit_kind kind)
{
	struct x86vcpu_exit *exit = g->exit;
	uint64_t *words = exit->u.words;

	exit->kind = kind;
	exit->reserved = 0;
	words[0] = words[1] = words[2] = words[3] = words[4] = 0;
	words[5] = words[6] = words[7] = words[8] = words[9] = 0;
	words[10] = words[11] = words[12] = words[13] = words[14] = 0;
	return EMUL_EXIT;
}

/* ---- emul/mode.c: what the CPU's modes mean for an instruction ------------------------------- */

/* In real mode 0; otherwise the privilege level, which is SS's DPL (SDM 25.4.1). Virtual-8086: 3. */
unsigned guest_cpl(struct guest *g);
/* Bytes of a default address: 2, 4 or 8. 8 means 64-bit mode. */
unsigned guest_address_bytes(struct guest *g);
/* CS.L has no meaning outside IA-32e mode (SDM 5.2.1), so EFER decides too. */
static inline bool guest_in_64bit_mode(struct guest *g)
{
	return guest_get(g, G_ACCESS + X86VCPU_SEGMENT_CS) & AR_L && guest_get(g, G_EFER) & EFER_LMA;
}
bool guest_in_protected_mode(struct guest *g); /* CR0.PE */
/* `rip` cut to what the mode has: 64 bits in 64-bit mode, else 32. */
uint64_t guest_wrap_ip(struct guest *g, uint64_t rip);
/* Whether the VMM wants an exit after each instruction. */
static inline bool guest_steps(const struct guest *g)
{
	return g->debug.flags & X86VCPU_DEBUG_STEP;
}
/*
 * The end of an instruction whose RIP is set already, or that stays (REP): STI and MOV SS blocking end, RFLAGS.RF
 * clears, and TF makes a single-step trap pending (SDM 26.3.2, Vol. 2 STI).
 */
void guest_end_instruction(struct guest *g);
/*
 * The end of an iteration of REP. Between two of them the instruction can be interrupted and single-stepped as if it had
 * ended (SDM Vol. 2, REP), but RF comes on: a breakpoint on the instruction does not hit again (SDM 18.3.1.1).
 */
void guest_end_iteration(struct guest *g);
/* Whether a misaligned access raises #AC (SDM 6.15, interrupt 17). */
bool guest_checks_alignment(struct guest *g);
/* Make GUEST_INSTRUCTION_FIELDS, and GUEST_MODE_FIELDS, valid. */
void guest_read_instruction(struct guest *g);
void guest_read_mode(struct guest *g);
/* Ends the instruction at RIP, `length` bytes long (1 to 15): RIP advances and wraps, and the above. */
static inline void guest_skip(struct guest *g, unsigned length)
{
	const uint64_t shadow = GUEST_BLOCKING_STI | GUEST_BLOCKING_MOV_SS;
	uint64_t rip;

	if (~g->valid & GUEST_INSTRUCTION_FIELDS)
		guest_read_instruction(g);
	rip = g->field[G_RIP] + length;
	/* Below 4 GiB no mode wraps. */
	if (rip >> 32)
		rip = guest_wrap_ip(g, rip);
	g->field[G_RIP] = rip;
	g->dirty |= GUEST_BIT(G_RIP);
	if (g->field[G_BLOCKING] & shadow || g->field[G_RFLAGS] & (RFLAGS_RF | RFLAGS_TF) || guest_steps(g))
		guest_end_instruction(g);
}

/* ---- emul/event.c ----------------------------------------------------------------------------- */

/* SDM table 6-1: exceptions that push an error code. */
static inline bool guest_has_error_code(uint32_t vector)
{
	const uint32_t with = 1u << VECTOR_DF | 1u << VECTOR_TS | 1u << VECTOR_NP | 1u << VECTOR_SS |
			      1u << VECTOR_GP | 1u << VECTOR_PF | 1u << VECTOR_AC | 1u << VECTOR_CP;

	return vector < 32 && with >> vector & 1;
}
/* SDM table 6-1: faults, which leave RIP at the instruction. #DB is either, and #DF and #MC are aborts. */
static inline bool guest_is_fault(uint32_t vector)
{
	const uint32_t others = 1u << VECTOR_DB | 1u << VECTOR_NMI | 1u << VECTOR_BP | 1u << VECTOR_OF |
				1u << VECTOR_DF | 1u << VECTOR_MC;

	return vector < 32 && !(others >> vector & 1);
}
/*
 * Exceptions that a guest can meet (SDM table 6-1, APM table 8-1). The others are reserved, or belong to features that no
 * guest has: #VE, #CP, #HV, #VC, #SX. SVM refuses what is not an exception (APM 15.20), VT-x the error code of #CP without
 * CET (SDM 27.2.1.3).
 */
static inline bool guest_has_exception(uint32_t vector)
{
	const uint32_t all = 1u << VECTOR_DE | 1u << VECTOR_DB | 1u << VECTOR_BP | 1u << VECTOR_OF | 1u << VECTOR_BR |
			     1u << VECTOR_UD | 1u << VECTOR_NM | 1u << VECTOR_DF | 1u << VECTOR_TS | 1u << VECTOR_NP |
			     1u << VECTOR_SS | 1u << VECTOR_GP | 1u << VECTOR_PF | 1u << VECTOR_MF | 1u << VECTOR_AC |
			     1u << VECTOR_MC | 1u << VECTOR_XM;

	return vector < 32 && all >> vector & 1;
}
/* BOUND and INTO are #UD in 64-bit mode, and SVM refuses what they raise there (APM 15.20). */
static inline bool guest_mode_has_exception(struct guest *g, uint32_t vector)
{
	return (vector != VECTOR_BR && vector != VECTOR_OF) || !guest_in_64bit_mode(g);
}
/* Queues exception `vector`; with one waiting already, SDM table 6-5 decides what becomes of both. */
void guest_raise(struct guest *g, uint8_t vector, bool has_error_code, uint32_t error_code);
/* #PF with CR2 = address. */
void guest_raise_page_fault(struct guest *g, uint64_t address, uint32_t error_code);
/* Whether something waits that a halted CPU would wake up for, or that it would take when it can. */
bool guest_event_pending(const struct guest *g);
/* From any CPU at any time; guest_kick is the caller's to call. */
void guest_post_interrupt(struct guest *g, uint8_t vector, bool level);
void guest_post_nmi(struct guest *g);
void guest_post_init(struct guest *g);
void guest_post_startup(struct guest *g, uint8_t page);
/* The vCPU's own thread: something changed that decides what can be injected. */
void guest_look_again(struct guest *g);
/*
 * Tells the vCPU, from any CPU, to look at what was posted: its CPU is interrupted if it is in the guest, its
 * thread woken if it is not in run.
 */
void guest_kick(struct guest *g);
/*
 * The same in two steps, so that the caller can give up what keeps the vCPU between them: notify may call the library, and
 * destroy the vCPU.
 */
struct guest_kick {
	bool wanted;
	uint32_t cpu;
	const struct x86vcpu_host_ops *host;
	void *ctx, *machine, *vcpu; /* the latter two as the host knows them */
};
struct guest_kick guest_begin_kick(struct guest *g);
static inline void guest_end_kick(const struct guest_kick *kick)
{
	if (kick->wanted)
		kick->host->notify(kick->ctx, kick->machine, kick->vcpu, kick->cpu);
}
/* Around a run, on CPU `cpu` with IRQs off. What is posted from now on interrupts it. */
static inline void guest_publish_running(struct guest *g, uint32_t cpu)
{
	__atomic_store_n(&g->events.run_state, (uint64_t)cpu << RUN_STATE_CPU | X86VCPU_RUNNING, __ATOMIC_SEQ_CST);
}
static inline bool guest_is_outside(const struct guest *g)
{
	return (__atomic_load_n(&g->events.run_state, __ATOMIC_SEQ_CST) & RUN_STATE_MASK) == X86VCPU_OUTSIDE;
}
static inline void guest_publish_outside(struct guest *g)
{
	__atomic_store_n(&g->events.run_state, X86VCPU_OUTSIDE, __ATOMIC_SEQ_CST);
}
/* Whether run must return before the guest goes on: a request to exit, which is used up, INIT or SIPI. */
bool guest_must_leave(struct guest *g);
/* Such a request is there; it stays. */
static inline bool guest_signalled(const struct guest *g)
{
	const struct guest_events *events = &g->events;

	return __atomic_load_n(&events->exit_request, __ATOMIC_ACQUIRE) |
	       __atomic_load_n(&events->init, __ATOMIC_ACQUIRE) |
	       __atomic_load_n(&events->startup, __ATOMIC_ACQUIRE);
}
/* In the run loop, before each entry: whether anything was posted, and guest_must_leave is worth a call. */
static inline uint32_t guest_attention(const struct guest *g)
{
	return __atomic_load_n(&g->events.attention, __ATOMIC_SEQ_CST);
}
/*
 * The event to inject at the next entry (SDM 27.6, priorities of SDM table 6-2), taken off the queues;
 * .valid is false when there is none. What must wait for a window is asked for in *window.
 */
struct guest_window {
	bool interrupt, nmi;
	uint8_t task_priority; /* an exit is wanted when the guest lowers its TPR below this class; 0: none */
};
struct guest_event guest_next_event(struct guest *g, struct guest_window *window);
/* An event whose delivery an exit cut short; it goes first at the next entry. */
void guest_reinject(struct guest *g, struct guest_event event);
/* False while the guest is halted and nothing has come that wakes it. */
bool guest_wakes(struct guest *g);
/* Takes notice of what was posted: whoever posts from now on asks for another look. */
void guest_look(struct guest *g);
/* A halted guest wakes if there is a reason. False: it sleeps on. */
bool guest_wake(struct guest *g);

/* ---- emul/memory.c ------------------------------------------------------------------------------ */

/* Copies guest-physical memory; ranges may cross pages. 0 or a negative status (nothing is there). */
int32_t guest_read_physical(struct guest *g, uint64_t gpa, void *buf, uint64_t len);
/* Copies the first *done of `len` bytes, 1 or more: as many as one region has, or one page of what the host reads. */
int32_t guest_read_some(struct guest *g, uint64_t gpa, void *buf, uint64_t len, uint64_t *done);
/*
 * Replaces the `bytes` (4 or 8) bytes of guest memory at `gpa`, a multiple of `bytes`, by `desired` if they are
 * `expected`. False: they are not. True too where nothing can be written: in no region, or in a read-only one.
 */
bool guest_update_physical(struct guest *g, uint64_t gpa, unsigned bytes, uint64_t expected, uint64_t desired);
/* Where a memory region has `gpa`, and in *left how many bytes of the region follow from there. Or NULL. */
const uint8_t *guest_memory_at(struct guest *g, uint64_t gpa, uint64_t *left);
/* The same where the library may write. */
uint8_t *guest_writable_memory_at(struct guest *g, uint64_t gpa, uint64_t *left);
static inline bool guest_mmio_range_holds(const struct x86vcpu_mmio_range *range, uint64_t gpa, uint64_t bytes)
{
	const uint64_t offset = gpa - range->base;

	return offset < range->size && range->size - offset >= bytes;
}

bool guest_search_mmio(struct guest *g, uint64_t gpa, uint64_t bytes);
/*
 * Whether one MMIO range, or the local APIC, holds all of [gpa, gpa + bytes), bytes being 1 or more. The range that
 * answered last is asked first.
 */
static inline bool guest_is_mmio_access(struct guest *g, uint64_t gpa, uint64_t bytes)
{
	return (g->mmio_last < g->mmio_count && guest_mmio_range_holds(&g->mmio[g->mmio_last], gpa, bytes)) ||
	       guest_search_mmio(g, gpa, bytes);
}

static inline bool guest_is_mmio(struct guest *g, uint64_t gpa)
{
	return guest_is_mmio_access(g, gpa, 1);
}

#endif
