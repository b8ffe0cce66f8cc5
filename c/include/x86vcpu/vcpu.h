/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtual CPUs.
 *
 * Order of use: create in a machine (x86vcpu/machine.h), set_entry, set_nested_page_table, setup, bind, run ..., unbind,
 * destroy.
 * A vCPU belongs to one thread of the host at a time: no two functions of this header may run on
 * the same vCPU at once, except those that say "any CPU, any time": between create and destroy.
 *
 * A vCPU is bound to the CPU that called bind. "Bound here" below means: bound, and this is that
 * CPU. What the CPU itself keeps of a guest (RIP, RSP, control registers, ...) can be reached there
 * only; the general registers can be reached anywhere.
 */
#ifndef X86VCPU_VCPU_H
#define X86VCPU_VCPU_H

#include <stdint.h>

#include "x86vcpu/exit.h"
#include "x86vcpu/host.h"
#include "x86vcpu/machine.h"
#include "x86vcpu/regs.h"

/* Interrupts, the local APIC and what lies between vCPUs: x86vcpu/apic.h. */

#ifdef __cplusplus
extern "C" {
#endif

struct x86vcpu;

struct x86vcpu_create_config {
	uint32_t size;    /* sizeof(struct x86vcpu_create_config) */
	uint32_t vcpu_id; /* 0 to 63; becomes the APIC ID. vCPU 0 is the bootstrap processor */
	void *opaque;     /* for the host operations: their argument `vcpu`. The library does not use it */
};

/*
 * A table root for x86vcpu_set_nested_page_table. Four levels translate guest-physical addresses of 48 bits, five
 * those of 52 (SDM 29.3.2). x86vcpu_nested_levels says how many this host's CPUs need.
 *
 * The guest's physical-address width (MAXPHYADDR, CPUID.80000008H:EAX[7:0]) is the least of the CPU's, of gpa_bits and
 * of what the levels translate. The CPU itself checks the reserved bits of the guest's page-table entries and of CR3
 * against its own width: an access to an address between the two comes out as NESTED_PAGE_FAULT.
 */
struct x86vcpu_nested_paging {
	uint64_t root_hpa; /* 4 KiB aligned, within the CPU's physical-address width */
	uint32_t levels;   /* 4 or 5; 0 means 4 */
	uint32_t gpa_bits; /* 32 to 48, with five levels to 52; 0 means as many as the levels translate */
	uint64_t mode;     /* 0 */
};

struct x86vcpu_port_range {
	uint16_t base;
	uint16_t length; /* 1 or more; base + length is at most 65536 */
};

struct x86vcpu_mmio_range {
	uint64_t base;
	uint64_t size; /* 1 or more; may not wrap */
};

/*
 * Guest memory that the host has mapped. Instruction fetches, page walks and operands of emulated instructions are read from
 * it directly, and results are written to it: a host that tracks dirty pages counts those of emulated instructions as
 * written. An emulated access sets the accessed and dirty flags in the guest's page tables there (SDM 4.8), atomically. Anything else goes through
 * host_ops.read_guest, and those flags stay as they are.
 */
struct x86vcpu_memory_region {
	uint64_t gpa;
	void *hva;
	uint64_t size;  /* 1 or more; may not wrap */
	uint64_t flags; /* X86VCPU_MEMORY_* */
};

/* The library never writes to this region: ROM, or a host mapping without write permission. */
#define X86VCPU_MEMORY_READ_ONLY UINT64_C(1)

struct x86vcpu_msr_range {
	uint32_t first;
	uint32_t last; /* inclusive */
};

#define X86VCPU_MAX_PORT_RANGES 16u
#define X86VCPU_MAX_MMIO_RANGES 256u
#define X86VCPU_MAX_MEMORY_REGIONS 128u
#define X86VCPU_MAX_MSR_RANGES 32u

/*
 * All of it is copied. A pointer may be NULL when its count is 0.
 *
 * Every port exits by default. `ports` names the ranges that are the VMM's devices, as upstream has
 * it; `passthrough_ports` names ranges that the guest reaches directly, and may not overlap `ports`.
 * An access to an address in `mmio` comes out as MMIO_READ or MMIO_WRITE: one for each access of the instruction, and
 * several for an access across pages or of more than 8 bytes. The library executes the integer instructions, string
 * instructions, and PUSH, POP, CALL and JMP with their operand there, or in the local APIC, which it answers for. A nested
 * fault of another instruction, or anywhere else, is NESTED_PAGE_FAULT. `msrs` are MSRs that the VMM wants for itself: they come out as MSR_READ
 * and MSR_WRITE instead of the library's own policy, except those that the library must
 * own to stay safe (IA32_EFER, the FS and GS bases, the SYSCALL and SYSENTER MSRs, IA32_PAT, IA32_XSS,
 * IA32_TSC_AUX).
 */
struct x86vcpu_setup_config {
	uint32_t size; /* sizeof(struct x86vcpu_setup_config) */
	uint32_t port_count;
	const struct x86vcpu_port_range *ports;
	const struct x86vcpu_mmio_range *mmio;
	const struct x86vcpu_memory_region *memory;
	const struct x86vcpu_msr_range *msrs;
	uint32_t mmio_count;
	uint32_t memory_count;
	uint32_t msr_count;
	uint32_t passthrough_port_count;
	const struct x86vcpu_port_range *passthrough_ports;
	uint64_t time_slice_ns; /* from one PREEMPTION_TIMER exit to the next; 0 means 1,000,000, over 10^12 as 10^12 */
	uint32_t start;         /* enum x86vcpu_start */
	uint32_t flags;         /* X86VCPU_SETUP_* */
};

/* How a vCPU begins. */
enum x86vcpu_start {
	X86VCPU_START_AT_ENTRY = 0,      /* it runs, from set_entry's address */
	X86VCPU_START_WAIT_FOR_SIPI = 1, /* it waits for another vCPU's start-up IPI (SDM 9.4.3) */
};

/* The vCPU has no local APIC, and CPUID says so. The VMM may claim its MSRs and addresses. */
#define X86VCPU_SETUP_NO_LOCAL_APIC (UINT32_C(1) << 0)
/*
 * What neither VMCS nor VMCB switches stays the guest's between two runs, which saves the most of what a short
 * run costs: x87 to AVX-512 registers, PKRU, XCR0, IA32_XSS, IA32_TSC_AUX, and on VT-x STAR, LSTAR, CSTAR, FMASK and
 * KERNEL_GS_BASE. The host gets its own back by x86vcpu_unbind, whatever this vCPU was doing. No other vCPU ever
 * sees them: they are exchanged when another one runs on this CPU.
 *
 * With it the host promises for all of its code, interrupt and exception handlers too, to do without these
 * between a run and unbind: it is compiled without x87 and vector registers (-mgeneral-regs-only), enters no
 * user mode and reaches no user page with CR4.PKE set meanwhile. It finds CR0.TS clear.
 */
#define X86VCPU_SETUP_KEEP_CONTEXT (UINT32_C(1) << 1)
/*
 * An x87 error while the guest's CR0.NE is clear comes out as X86VCPU_EXIT_FPU_ERROR. On a PC the CPU asserts FERR# then,
 * which its chipset makes IRQ 13 of (SDM Vol. 1, 8.7.2), and stands still until an interrupt comes. RIP is at the x87
 * instruction that found the error, so each run reports it again until the guest has taken an interrupt. Without this flag
 * the guest takes #MF, as with CR0.NE set.
 */
#define X86VCPU_SETUP_FPU_ERROR_EXITS (UINT32_C(1) << 2)

/*
 * Creates a vCPU of `machine`. Takes frames. Any CPU, after x86vcpu_select or the first successful x86vcpu_percpu_enable.
 * Several vCPUs of a machine may be created and destroyed at the same time.
 *
 * 0
 * INVALID_INPUT   NULL, or vcpu_id
 * ABI_MISMATCH    config->size
 * BAD_STATE       no extension is chosen
 * RESOURCE_BUSY   the machine has a vCPU with this vcpu_id
 * NO_MEMORY
 *
 * *out is NULL on failure.
 */
int32_t x86vcpu_create(struct x86vcpu_machine *machine, const struct x86vcpu_create_config *config, struct x86vcpu **out);

/*
 * Frees it. NULL is allowed. Any CPU.
 * 0; RESOURCE_BUSY: still bound, or called from a host op that one of its functions called; nothing is freed then.
 */
int32_t x86vcpu_destroy(struct x86vcpu *vcpu);

/* The physical address of its VMCS or VMCB, for logs and debuggers. NULL: 0. Any CPU, any time. */
uint64_t x86vcpu_structure_hpa(const struct x86vcpu *vcpu);

/*
 * Where the guest begins in real mode, from the next setup on: CS:IP = 0:entry, so below 64 KiB,
 * or 0xfffffff0 for the reset vector (CS base 0xffff0000, IP 0xfff0; SDM table 10-1).
 * 0; INVALID_INPUT.
 */
int32_t x86vcpu_set_entry(struct x86vcpu *vcpu, uint64_t entry);

/* The nested tables, from the next setup on. Any CPU. 0; INVALID_INPUT: bad root, levels, gpa_bits or mode. */
int32_t x86vcpu_set_nested_page_table(struct x86vcpu *vcpu, const struct x86vcpu_nested_paging *table);

/*
 * Brings the vCPU to its reset state (SDM table 10-1) with this configuration; config may be NULL
 * for none. May be called again: everything starts anew. On a CPU whose extension is on, pinned;
 * the vCPU is not bound.
 *
 * 0
 * INVALID_INPUT   entry or nested table not set, a bad range, too many ranges
 * ABI_MISMATCH    config->size
 * BAD_STATE       extension not on on this CPU
 * RESOURCE_BUSY   the vCPU is bound
 * UNSUPPORTED     the CPU lacks a control that the library needs, or (VT-x) EPT with five levels
 * NO_MEMORY
 */
int32_t x86vcpu_setup(struct x86vcpu *vcpu, const struct x86vcpu_setup_config *config);

/*
 * Duties of the host, in full: other documents refer to this list. A VMCS or VMCB does not switch all of a CPU. The
 * library exchanges or restores what it can; what follows it cannot, so the host keeps to it. "During a run" means from the call of x86vcpu_run to its return, but for
 * dispatch_external_interrupt and service_pending_interrupt, which find the host's own state.
 *
 * From bind to unbind, on this CPU:
 * - GDT, IDT, TR and LDTR, segment registers and their bases, IA32_PAT, IA32_EFER, IA32_DEBUGCTL, IA32_XSS,
 *   IA32_TSC_AUX, IA32_S_CET, the SYSCALL and SYSENTER MSRs stay as they are. bind reads them; a run ends with what
 *   bind read. CR0, CR3, CR4, XCR0, the debug registers and IA32_KERNEL_GS_BASE may change between two runs. Each run
 *   checks CR4 again, which costs next to nothing; MSRs are checked by bind alone, because reading one costs as much as
 *   many instructions.
 * - IA32_PEBS_ENABLE stays 0 (VT-x), and no counter with precise sampling runs: the CPU would write records through
 *   the guest's page tables (SDM 20.9.5).
 * - IA32_DEBUGCTL has neither BTF nor bus-lock trap set (SVM): VMRUN does not switch them, and the #DB of a trap in the
 *   guest is the guest's (APM 15.5.1). With LBR set the host's last-branch MSRs hold branches of the guest after a run.
 * - DR7.GD is clear: the library moves to and from debug registers (SDM 18.2.4).
 * - Segment registers have null selectors, or selectors of the GDT with RPL 0, if an NMI's or machine check's handler
 *   uses FS or GS (VT-x). With such selectors no exit leaves another base. A VMCS cannot hold other ones (SDM 27.2.3), so
 *   they are reloaded at the end of a run, and the base is that of the descriptor until the WRMSR that follows. No
 *   order of instructions avoids that: MOV to FS or GS replaces the base, and SWAPGS in front of it leaves the user's base
 *   active meanwhile.
 * - The TSS descriptor is within the first 512 bytes of the GDT if TR's limit is not 67H, or the host loads TR anew after
 *   each run (VT-x). A VM exit leaves that limit (SDM 28.5.2); the library restores another one from a copy of the GDT.
 *
 * During a run, host ops and handlers of NMIs and machine checks have the guest's values of what follows. Exchanging
 * them for each call of a host op would cost several serializing instructions each time, and would not help handlers, which
 * come at any instruction. They
 * - use no x87, SSE, AVX or AMX register, do not execute XSAVE, XRSTOR or XGETBV, and read neither IA32_XSS nor XCR0.
 *   They are the guest's.
 * - use neither RDPID nor RDTSCP: IA32_TSC_AUX is the guest's. A CPU's number that comes from there has 32 bits that the
 *   guest chose.
 * - use neither SYSCALL's MSRs nor IA32_KERNEL_GS_BASE, so they do not enter user mode. They are the guest's.
 * - execute neither RDPKRU nor WRPKRU. CR4.PKE is clear: the guest's PKRU decides nothing, and protection keys do not
 *   restrict what the host reaches.
 * - leave CR2 as it was (VT-x): an NMI may come between a VM exit and the instruction that reads the guest's CR2. A
 *   handler that may take a page fault saves it.
 * - use no TSS's I/O permission bitmap (VT-x): TR's limit is restored when the run ends.
 * - find CR0.TS and DR7's breakpoints clear.
 *
 * Always:
 * - With secure memory encryption (AMD SME), host-physical addresses that the library gets, those of frames and of the
 *   nested root, contain the C-bit if the host maps that memory encrypted (APM 7.10).
 * - A host that a measured launch started (SENTER) leaves CR4.SMXE set until percpu_enable, which then checks that
 *   IA32_FEATURE_CONTROL allows VMXON in SMX operation (SDM 24.7).
 * - Split-lock detection (MSR 33H, bit 29) may be on. A guest's split lock turns it off until the run ends, because its
 *   #AC is no exception of the guest's.
 * - Without the VMX-preemption timer, which percpu_enable logs, only the host's interrupts end a time slice, as with SVM.
 */

/*
 * Makes the executing CPU the vCPU's. Pinned from here to unbind; see "Duties of the host" above. With
 * X86VCPU_SETUP_KEEP_CONTEXT, XCR0 and IA32_KERNEL_GS_BASE may not change between two runs either.
 * 0; INVALID_INPUT; BAD_STATE: not set up, or the extension is off here; RESOURCE_BUSY: bound already; UNSUPPORTED:
 * the CPU is in a mode of the host's that no guest can run under, which the log names: CR4.FRED set, CR4.OSXSAVE or
 * CR4.OSFXSR clear, shadow stacks for the supervisor, indirect-branch tracking with a library that is built without it,
 * (VT-x) IA32_PEBS_ENABLE not 0 (asked with host_ops.read_msr), (SVM) EFER.NXE clear, a first entry of IA32_PAT that is
 * not WB, a fourth that is not UC, or another number of levels of the nested tables than CR4.LA57 asks for.
 */
int32_t x86vcpu_bind(struct x86vcpu *vcpu);

/*
 * Releases it: all guest state leaves the CPU, and another CPU may bind it.
 * 0; INVALID_INPUT; BAD_STATE: not bound here.
 */
int32_t x86vcpu_unbind(struct x86vcpu *vcpu);

/*
 * Runs the guest until something is left for the VMM to do, and describes it in *exit. Bound here,
 * IRQs off (RFLAGS.IF = 0) during the whole call. Nothing is allocated. A guest cannot keep the CPU:
 * the call returns at the latest when the time slice is over, or when a host interrupt has been
 * dispatched. SVM has no timer of its own: there, a guest that never exits runs on to the host's next
 * interrupt, so the host must have a periodic one.
 *
 * PORT_IO_READ, MMIO_READ, MSR_READ, MSR_WRITE and PORT_IO_STRING leave an exit open: the instruction waits for an
 * answer. Further accesses of an instruction come with the next runs; then the guest is entered. What each call does to
 * an open exit:
 *
 *   x86vcpu_complete_*               answers it. An answer to another kind of exit: BAD_STATE
 *   x86vcpu_set_gpr of register 0    answers PORT_IO_READ and MSR_READ as x86vcpu_complete_read does
 *   x86vcpu_set_gpr of register      answers an MMIO_READ whose reg is that, as x86vcpu_complete_read does
 *   X86VCPU_NO_REGISTER
 *   x86vcpu_run                      ends it: after a read the registers are as they are, an MSR access counts as
 *                                    completed. A string element is reported again, and so is an MMIO_READ whose reg is
 *                                    X86VCPU_NO_REGISTER
 *   x86vcpu_inject_exception         drops MSR_READ, MSR_WRITE, PORT_IO_STRING and MMIO_READ of X86VCPU_NO_REGISTER: the
 *                                    exception is a fault of that instruction, and RIP stays. After PORT_IO_READ and any
 *                                    other MMIO_READ the instruction has ended, so the exit stays open, and the exception belongs to the next instruction
 *   x86vcpu_set_state with RIP       drops it: RIP is what the VMM says, and no second access follows
 *   x86vcpu_setup, INIT              drop it
 *   x86vcpu_get_events, _set_events  BAD_STATE, nothing changed
 *   any other call                   leaves it open, on another CPU after x86vcpu_bind there, too
 *
 * 0: *exit is valid, and whatever the guest did is in there
 * INVALID_INPUT   NULL
 * BAD_STATE       not bound here, IRQs on, or the vCPU shut down (SYSTEM_DOWN) and was not set up anew
 * UNSUPPORTED     the guest did something that the library does not know how to go on from (a task
 *                 switch, an unknown exit), or the host's CR4 has changed since bind to a value with which bind would
 *                 refuse; the guest's state is unchanged, *exit is kind NOTHING
 * INVALID_DATA    the nested tables are malformed (EPT misconfiguration), or hardware reports nonsense
 */
int32_t x86vcpu_run(struct x86vcpu *vcpu, struct x86vcpu_exit *exit);

/*
 * Answers the read that run returned last (PORT_IO_READ, MMIO_READ, MSR_READ) with `value`, of which
 * only the access's width counts. The register changes as the instruction would change it: IN to AL
 * and AX keeps the rest of RAX, MOV to a 32-bit register clears the upper half, RDMSR splits into
 * EDX:EAX, MOVZX and MOVSX extend. MSR_READ also advances RIP.
 *
 * 0; INVALID_INPUT; BAD_STATE: no such read is open, or not bound here.
 */
int32_t x86vcpu_complete_read(struct x86vcpu *vcpu, uint64_t value);

/* Answers MSR_WRITE: the write took effect, RIP advances. Errors as x86vcpu_complete_read. */
int32_t x86vcpu_complete_write(struct x86vcpu *vcpu);

/*
 * Answers MSR_READ or MSR_WRITE with #GP(0) in the guest; RIP stays. x86vcpu_inject_exception does it with another
 * exception. Errors as x86vcpu_complete_read.
 */
int32_t x86vcpu_complete_fault(struct x86vcpu *vcpu);

/*
 * Ends the instruction at RIP, which the VMM has executed: RIP advances by `length`, 1 to 15 bytes, and wraps as the mode
 * has it. Blocking by STI and MOV SS ends, RFLAGS.RF clears, and with RFLAGS.TF a single-step trap becomes pending (SDM
 * 26.3.2). After UNKNOWN_INSTRUCTION, and between any two runs. An exit that waits for an answer has its own function.
 * 0; INVALID_INPUT: NULL, length; BAD_STATE: not bound here, or an exit is open (see x86vcpu_run).
 */
int32_t x86vcpu_skip_instruction(struct x86vcpu *vcpu, uint32_t length);

/*
 * Commits one element of a string port access as run described it: index, count and, with the last
 * element, RIP.
 * 0; INVALID_INPUT; BAD_STATE: not bound here, or *done is not the element that is open.
 */
int32_t x86vcpu_complete_port_io_string(struct x86vcpu *vcpu, const struct x86vcpu_port_io_string *done);

/*
 * General register `index` (0 to 15, in the order of the instruction encoding; 4 is RSP). Index 4
 * needs the vCPU bound here, the others do not.
 * While an MSR_READ or PORT_IO_READ is open, setting register 0 answers it as x86vcpu_complete_read
 * does, which is how VMMs written for the Rust crate answer.
 * 0; INVALID_INPUT: index, NULL; BAD_STATE: index 4 and not bound here.
 */
int32_t x86vcpu_get_gpr(struct x86vcpu *vcpu, uint32_t index, uint64_t *value);
int32_t x86vcpu_set_gpr(struct x86vcpu *vcpu, uint32_t index, uint64_t value);

/*
 * Sets register `index` through an operand of `width` (enum x86vcpu_width): a byte or word keeps the
 * other bits, a dword clears bits 63:32. For the byte width index 4 is SPL; AH, CH, DH and BH are
 * reached with x86vcpu_set_gpr_high_byte and index 0 to 3. Errors as x86vcpu_set_gpr.
 */
int32_t x86vcpu_set_gpr_width(struct x86vcpu *vcpu, uint32_t index, uint32_t width, uint64_t value);
int32_t x86vcpu_set_gpr_high_byte(struct x86vcpu *vcpu, uint32_t index, uint8_t value);

/* Sets RAX, where a hypercall's caller looks for its result. 0; INVALID_INPUT. */
int32_t x86vcpu_set_return_value(struct x86vcpu *vcpu, uint64_t value);

/*
 * Tells the vCPU that its nested tables lost or changed mappings: cached translations are dropped
 * before the guest runs again (INVEPT, SDM 29.4.3.1). Not needed for added mappings. Any CPU, the
 * vCPU not in run.
 * 0; INVALID_INPUT; RESOURCE_BUSY: the vCPU is in run. Ask it to leave (x86vcpu_request_exit) and call again.
 */
int32_t x86vcpu_flush_nested(struct x86vcpu *vcpu);

/*
 * Names the check of the manual that the VM entry failed after which run answered FAIL_ENTRY: *check becomes its number,
 * and `text` one line, "SDM 27.3.1.2: TR type (GUEST_TR_ACCESS_RIGHTS = 0x89)", of at most `len` bytes with the final NUL.
 * `len` may be 0. It is the first of the checks of SDM 27.2 and 27.3, or APM 15.5.1 and 15.20, that an entry with the state
 * of the last one fails on this CPU; *check is 0 when all hold. Numbers are never used again. Bound here, before another call
 * runs or changes the vCPU.
 * 0; INVALID_INPUT: NULL; BAD_STATE: not bound here.
 */
int32_t x86vcpu_explain_entry_failure(struct x86vcpu *vcpu, uint32_t *check, char *text, uint64_t len);

/*
 * The check in words, "TR type"; "unknown" for a number that is none of the extension in use. Any CPU, any context.
 */
const char *x86vcpu_entry_check_name(uint32_t check);

/* ---- Guest state by component ---------------------------------------------------------------- */

struct x86vcpu_segment {
	uint16_t selector;
	uint16_t reserved;
	uint32_t access_rights; /* as a VMCS holds it (SDM 25.4.1): bits 7:0 and 15:12 of the descriptor, bit 16 unusable */
	uint32_t limit;         /* in bytes */
	uint32_t reserved2;
	uint64_t base;
};

struct x86vcpu_table {
	uint64_t base;
	uint32_t limit;
	uint32_t reserved;
};

enum x86vcpu_segment_index {
	X86VCPU_SEGMENT_ES = 0,
	X86VCPU_SEGMENT_CS = 1,
	X86VCPU_SEGMENT_SS = 2,
	X86VCPU_SEGMENT_DS = 3,
	X86VCPU_SEGMENT_FS = 4,
	X86VCPU_SEGMENT_GS = 5,
	X86VCPU_SEGMENT_LDTR = 6,
	X86VCPU_SEGMENT_TR = 7,
	X86VCPU_SEGMENTS = 8,
};

/* Components of a state. */
#define X86VCPU_STATE_GPRS (UINT64_C(1) << 0)     /* regs, rsp */
#define X86VCPU_STATE_RIP (UINT64_C(1) << 1)      /* rip, rflags */
#define X86VCPU_STATE_SEGMENTS (UINT64_C(1) << 2) /* segments, gdtr, idtr */
#define X86VCPU_STATE_CRS (UINT64_C(1) << 3)      /* cr0, cr2, cr3, cr4, efer, xcr0 */
#define X86VCPU_STATE_DRS (UINT64_C(1) << 4)      /* dr0 to dr3, dr6, dr7 */
#define X86VCPU_STATE_ALL UINT64_C(0x1f)

/*
 * pdptes are valid, of the component CRS. With PAE paging on VT-x they are registers, which need not be what memory holds
 * (SDM 4.4.1): get sets the flag then, and set with it leaves them so. Without it, and with PAE paging, set loads
 * them from the guest's memory, as MOV to CR3 does. On SVM the CPU reads memory at each walk (APM 15.25.10): get clears
 * the flag, and set ignores the values.
 */
#define X86VCPU_STATE_HAS_PDPTES (UINT32_C(1) << 0)

struct x86vcpu_state {
	uint32_t size;  /* sizeof(struct x86vcpu_state) */
	uint32_t flags; /* X86VCPU_STATE_HAS_PDPTES */
	struct x86vcpu_regs regs;
	uint64_t rsp;
	uint64_t rip;
	uint64_t rflags;
	struct x86vcpu_segment segments[X86VCPU_SEGMENTS];
	struct x86vcpu_table gdtr;
	struct x86vcpu_table idtr;
	uint64_t cr0, cr2, cr3, cr4; /* as the guest reads them */
	uint64_t efer;               /* with LMA */
	uint64_t xcr0;
	uint64_t dr0, dr1, dr2, dr3, dr6, dr7;
	uint64_t pdptes[4]; /* the page-directory-pointer-table entries of PAE paging */
};

/*
 * Reads or writes the components in `mask`; other members are not touched. Bound here, between two
 * runs. set checks what the guest itself could not have loaded (reserved bits, LMA against PG and
 * LME, paging without protection, a bit that CPUID hides): nothing is changed then. Addresses are checked against the
 * CPU's widths, as the CPU checks what a guest loads without an exit, whatever CPUID shows. With RIP it ends HLT,
 * blocking by STI and MOV SS, a pending single step and an open exit (see x86vcpu_run), and, when RIP changes, the
 * delivery of INT n, INT1, INT3 and INTO. Other events stay; x86vcpu_set_events replaces them.
 * 0; INVALID_INPUT: NULL, an unknown component or flag, a value; ABI_MISMATCH: state->size; BAD_STATE.
 */
int32_t x86vcpu_get_state(struct x86vcpu *vcpu, uint64_t mask, struct x86vcpu_state *state);
int32_t x86vcpu_set_state(struct x86vcpu *vcpu, uint64_t mask, const struct x86vcpu_state *state);

/*
 * One line for a log: the machine's vm_id, vcpu_id, RIP, RSP, RFLAGS, CRs, CS, general registers. Writes at most `len` bytes with the
 * final NUL and returns the text's length. Bound here; elsewhere only general registers are shown.
 */
uint64_t x86vcpu_format_state(struct x86vcpu *vcpu, char *text, uint64_t len);

#ifdef __cplusplus
}
#endif
#endif
