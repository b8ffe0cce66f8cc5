/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What VT-x says about a VM exit, in words and structures: names of exit reasons and errors, and
 * decoders of the fields that describe an exit. For logs, and for VMMs that look behind
 * struct x86vcpu_exit. Nothing in here touches hardware: any CPU, any context.
 *
 * The decoders answer 0; INVALID_INPUT: a NULL pointer, or a reason that has no such field;
 * INVALID_DATA: a value that the manual reserves. They write *out only when they answer 0, and all
 * of it; flags are 0 or 1. Section numbers are those of Intel's manual, Vol. 3.
 */
#ifndef X86VCPU_VMX_H
#define X86VCPU_VMX_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Exit reasons, appendix C ---------------------------------------------------------------- */

enum x86vcpu_vmx_exit_reason {
	X86VCPU_VMX_EXIT_EXCEPTION_OR_NMI = 0,
	X86VCPU_VMX_EXIT_EXTERNAL_INTERRUPT = 1,
	X86VCPU_VMX_EXIT_TRIPLE_FAULT = 2,
	X86VCPU_VMX_EXIT_INIT = 3,
	X86VCPU_VMX_EXIT_SIPI = 4,
	X86VCPU_VMX_EXIT_IO_SMI = 5,
	X86VCPU_VMX_EXIT_OTHER_SMI = 6,
	X86VCPU_VMX_EXIT_INTERRUPT_WINDOW = 7,
	X86VCPU_VMX_EXIT_NMI_WINDOW = 8,
	X86VCPU_VMX_EXIT_TASK_SWITCH = 9,
	X86VCPU_VMX_EXIT_CPUID = 10,
	X86VCPU_VMX_EXIT_GETSEC = 11,
	X86VCPU_VMX_EXIT_HLT = 12,
	X86VCPU_VMX_EXIT_INVD = 13,
	X86VCPU_VMX_EXIT_INVLPG = 14,
	X86VCPU_VMX_EXIT_RDPMC = 15,
	X86VCPU_VMX_EXIT_RDTSC = 16,
	X86VCPU_VMX_EXIT_RSM = 17,
	X86VCPU_VMX_EXIT_VMCALL = 18,
	X86VCPU_VMX_EXIT_VMCLEAR = 19,
	X86VCPU_VMX_EXIT_VMLAUNCH = 20,
	X86VCPU_VMX_EXIT_VMPTRLD = 21,
	X86VCPU_VMX_EXIT_VMPTRST = 22,
	X86VCPU_VMX_EXIT_VMREAD = 23,
	X86VCPU_VMX_EXIT_VMRESUME = 24,
	X86VCPU_VMX_EXIT_VMWRITE = 25,
	X86VCPU_VMX_EXIT_VMXOFF = 26,
	X86VCPU_VMX_EXIT_VMXON = 27,
	X86VCPU_VMX_EXIT_CR_ACCESS = 28,
	X86VCPU_VMX_EXIT_DR_ACCESS = 29,
	X86VCPU_VMX_EXIT_IO = 30,
	X86VCPU_VMX_EXIT_RDMSR = 31,
	X86VCPU_VMX_EXIT_WRMSR = 32,
	X86VCPU_VMX_EXIT_INVALID_GUEST_STATE = 33,
	X86VCPU_VMX_EXIT_MSR_LOADING = 34,
	X86VCPU_VMX_EXIT_MWAIT = 36,
	X86VCPU_VMX_EXIT_MONITOR_TRAP_FLAG = 37,
	X86VCPU_VMX_EXIT_MONITOR = 39,
	X86VCPU_VMX_EXIT_PAUSE = 40,
	X86VCPU_VMX_EXIT_ENTRY_MACHINE_CHECK = 41,
	X86VCPU_VMX_EXIT_TPR_BELOW_THRESHOLD = 43,
	X86VCPU_VMX_EXIT_APIC_ACCESS = 44,
	X86VCPU_VMX_EXIT_VIRTUALIZED_EOI = 45,
	X86VCPU_VMX_EXIT_GDTR_OR_IDTR = 46,
	X86VCPU_VMX_EXIT_LDTR_OR_TR = 47,
	X86VCPU_VMX_EXIT_EPT_VIOLATION = 48,
	X86VCPU_VMX_EXIT_EPT_MISCONFIGURATION = 49,
	X86VCPU_VMX_EXIT_INVEPT = 50,
	X86VCPU_VMX_EXIT_RDTSCP = 51,
	X86VCPU_VMX_EXIT_PREEMPTION_TIMER = 52,
	X86VCPU_VMX_EXIT_INVVPID = 53,
	X86VCPU_VMX_EXIT_WBINVD = 54, /* or WBNOINVD */
	X86VCPU_VMX_EXIT_XSETBV = 55,
	X86VCPU_VMX_EXIT_APIC_WRITE = 56,
	X86VCPU_VMX_EXIT_RDRAND = 57,
	X86VCPU_VMX_EXIT_INVPCID = 58,
	X86VCPU_VMX_EXIT_VMFUNC = 59,
	X86VCPU_VMX_EXIT_ENCLS = 60,
	X86VCPU_VMX_EXIT_RDSEED = 61,
	X86VCPU_VMX_EXIT_PML_FULL = 62,
	X86VCPU_VMX_EXIT_XSAVES = 63,
	X86VCPU_VMX_EXIT_XRSTORS = 64,
	X86VCPU_VMX_EXIT_PCONFIG = 65,
	X86VCPU_VMX_EXIT_SPP = 66,
	X86VCPU_VMX_EXIT_UMWAIT = 67,
	X86VCPU_VMX_EXIT_TPAUSE = 68,
	X86VCPU_VMX_EXIT_LOADIWKEY = 69,
	X86VCPU_VMX_EXIT_ENCLV = 70,
	X86VCPU_VMX_EXIT_ENQCMD_PASID = 72,
	X86VCPU_VMX_EXIT_ENQCMDS_PASID = 73,
	X86VCPU_VMX_EXIT_BUS_LOCK = 74,
	X86VCPU_VMX_EXIT_INSTRUCTION_TIMEOUT = 75,
	X86VCPU_VMX_EXIT_SEAMCALL = 76,
	X86VCPU_VMX_EXIT_TDCALL = 77,
	X86VCPU_VMX_EXIT_RDMSRLIST = 78,
	X86VCPU_VMX_EXIT_WRMSRLIST = 79,
};

/* The exit-reason field around the basic reason, 25.9.1. */
#define X86VCPU_VMX_REASON_BASIC UINT32_C(0x0000ffff)
#define X86VCPU_VMX_REASON_SHADOW_STACK_BUSY (UINT32_C(1) << 25)
#define X86VCPU_VMX_REASON_BUS_LOCK (UINT32_C(1) << 26)
#define X86VCPU_VMX_REASON_ENCLAVE (UINT32_C(1) << 27)
#define X86VCPU_VMX_REASON_PENDING_MTF (UINT32_C(1) << 28)
#define X86VCPU_VMX_REASON_FROM_ROOT (UINT32_C(1) << 29)
#define X86VCPU_VMX_REASON_ENTRY_FAILURE (UINT32_C(1) << 31)

/* "CPUID", "EPT violation", ... for an exit-reason field or a basic reason; "unknown exit reason". */
const char *x86vcpu_vmx_exit_name(uint32_t reason);

/* The VM-instruction error field in words, 31.4; "unknown error" for a number that has none. */
const char *x86vcpu_vmx_instruction_error(uint32_t error);

/*
 * Why VM entry failed: the exit qualification of an exit-reason field whose bit 31 is set, in words
 * (27.8). For reason MSR_LOADING the qualification is the number of the entry in the VM-entry MSR-load
 * list, the first being 1. "unknown cause" for anything else.
 */
const char *x86vcpu_vmx_entry_failure(uint32_t reason, uint64_t qualification);

/* ---- Exit qualifications, 28.2.1 ------------------------------------------------------------- */

/* Exception #DB. */
struct x86vcpu_vmx_debug {
	uint8_t breakpoints;      /* bit n: the condition of DR n was met, enabled or not */
	uint8_t bus_lock;         /* bus-lock trap */
	uint8_t register_access;  /* BD */
	uint8_t single_step;      /* BS: single step or taken branch */
	uint8_t in_transaction;   /* RTM */
	uint8_t reserved[3];
};
int32_t x86vcpu_vmx_decode_debug(uint64_t qualification, struct x86vcpu_vmx_debug *out);

/* Exception #PF; `error_code` is the VM-exit interruption error code (4.7). */
struct x86vcpu_vmx_page_fault {
	uint64_t address; /* linear */
	uint8_t present;
	uint8_t write;
	uint8_t user;
	uint8_t reserved_bit;
	uint8_t fetch;
	uint8_t protection_key;
	uint8_t shadow_stack;
	uint8_t reserved;
};
int32_t x86vcpu_vmx_decode_page_fault(uint64_t qualification, uint32_t error_code,
				      struct x86vcpu_vmx_page_fault *out);

/* Start-up IPI. */
struct x86vcpu_vmx_sipi {
	uint32_t vector;
	uint32_t address; /* where the processor would start: vector * 4096 */
};
int32_t x86vcpu_vmx_decode_sipi(uint64_t qualification, struct x86vcpu_vmx_sipi *out);

enum x86vcpu_vmx_task_switch_source {
	X86VCPU_VMX_TASK_CALL = 0,
	X86VCPU_VMX_TASK_IRET = 1,
	X86VCPU_VMX_TASK_JMP = 2,
	X86VCPU_VMX_TASK_GATE = 3, /* a task gate in the IDT */
};

struct x86vcpu_vmx_task_switch {
	uint16_t selector; /* of the TSS to switch to */
	uint8_t source;    /* enum x86vcpu_vmx_task_switch_source */
	uint8_t reserved[5];
};
int32_t x86vcpu_vmx_decode_task_switch(uint64_t qualification, struct x86vcpu_vmx_task_switch *out);

enum x86vcpu_vmx_cr_access_type {
	X86VCPU_VMX_CR_MOV_TO = 0,
	X86VCPU_VMX_CR_MOV_FROM = 1,
	X86VCPU_VMX_CR_CLTS = 2,
	X86VCPU_VMX_CR_LMSW = 3,
};

struct x86vcpu_vmx_cr_access {
	uint8_t number;         /* 0, 3, 4 or 8; CLTS and LMSW: 0 */
	uint8_t type;           /* enum x86vcpu_vmx_cr_access_type */
	uint8_t gpr;            /* MOV: 0 to 15, 4 is RSP; else X86VCPU_NO_REGISTER */
	uint8_t lmsw_memory;    /* LMSW with a memory operand: its address is the guest-linear address */
	uint16_t lmsw_source;   /* LMSW: the operand */
	uint8_t reserved[2];
};
int32_t x86vcpu_vmx_decode_cr_access(uint64_t qualification, struct x86vcpu_vmx_cr_access *out);

struct x86vcpu_vmx_dr_access {
	uint8_t number;  /* 0 to 7 */
	uint8_t read;    /* 1: MOV from DR, 0: MOV to DR */
	uint8_t gpr;     /* 0 to 15, 4 is RSP */
	uint8_t reserved[5];
};
int32_t x86vcpu_vmx_decode_dr_access(uint64_t qualification, struct x86vcpu_vmx_dr_access *out);

struct x86vcpu_vmx_io {
	uint16_t port;
	uint8_t width;     /* enum x86vcpu_width: byte, word or dword */
	uint8_t in;        /* 1: IN or INS, 0: OUT or OUTS */
	uint8_t string;    /* INS or OUTS */
	uint8_t rep;       /* with a REP prefix */
	uint8_t immediate; /* the port is an immediate operand, otherwise DX */
	uint8_t reserved;
};
int32_t x86vcpu_vmx_decode_io(uint64_t qualification, struct x86vcpu_vmx_io *out);

/* MWAIT. */
struct x86vcpu_vmx_mwait {
	uint32_t armed; /* 1: MONITOR had armed the address-range hardware */
	uint32_t reserved;
};
int32_t x86vcpu_vmx_decode_mwait(uint64_t qualification, struct x86vcpu_vmx_mwait *out);

enum x86vcpu_vmx_apic_access_type {
	X86VCPU_VMX_APIC_LINEAR_READ = 0,
	X86VCPU_VMX_APIC_LINEAR_WRITE = 1,
	X86VCPU_VMX_APIC_LINEAR_FETCH = 2,
	X86VCPU_VMX_APIC_LINEAR_EVENT_DELIVERY = 3,
	X86VCPU_VMX_APIC_LINEAR_MONITORING = 4,
	X86VCPU_VMX_APIC_PHYSICAL_EVENT_DELIVERY = 10,
	X86VCPU_VMX_APIC_PHYSICAL_MONITORING = 11,
	X86VCPU_VMX_APIC_PHYSICAL_FETCH_OR_DATA = 15,
};

struct x86vcpu_vmx_apic_access {
	uint16_t offset;      /* in the APIC-access page; undefined for the PHYSICAL types */
	uint8_t type;         /* enum x86vcpu_vmx_apic_access_type */
	uint8_t asynchronous; /* not caused by an instruction, nor part of event delivery */
	uint8_t reserved[4];
};
int32_t x86vcpu_vmx_decode_apic_access(uint64_t qualification, struct x86vcpu_vmx_apic_access *out);

/* APIC write: the instruction is over, the virtual-APIC page has the value. */
struct x86vcpu_vmx_apic_write {
	uint32_t offset; /* in the virtual-APIC page */
	uint32_t reserved;
};
int32_t x86vcpu_vmx_decode_apic_write(uint64_t qualification, struct x86vcpu_vmx_apic_write *out);

struct x86vcpu_vmx_virtualized_eoi {
	uint32_t vector;
	uint32_t reserved;
};
int32_t x86vcpu_vmx_decode_virtualized_eoi(uint64_t qualification, struct x86vcpu_vmx_virtualized_eoi *out);

/* EPT violation, table 28-7. */
struct x86vcpu_vmx_ept_violation {
	uint8_t access;      /* X86VCPU_ACCESS_*: what was attempted; read and write for an update */
	uint8_t allowed;     /* X86VCPU_ACCESS_*: what the EPT entries allow; 0: not mapped */
	uint8_t user_execute; /* with mode-based execute control: fetches in user mode are allowed */
	uint8_t linear_valid; /* the guest-linear address is valid */
	/*
	 * The access was to the address that the linear one translates to; 0 with linear_valid: to a
	 * paging-structure entry on the way there. The instruction at RIP can be decoded for this
	 * access only when this is 1 and no event was being delivered.
	 */
	uint8_t translated;
	/* These three only with EPT_VPID_CAP bit 22, linear_valid and translated. */
	uint8_t linear_user;
	uint8_t linear_writable;
	uint8_t linear_no_execute;
	/* IRET unblocked NMIs before it faulted; undefined while an event was being delivered (28.2.3). */
	uint8_t nmi_unblocked;
	uint8_t shadow_stack;
	uint8_t supervisor_shadow_stack;
	uint8_t paging_verification;
	uint8_t asynchronous; /* not caused by the instruction at RIP */
	uint8_t reserved[3];
};
int32_t x86vcpu_vmx_decode_ept_violation(uint64_t qualification, struct x86vcpu_vmx_ept_violation *out);

/* ---- Events: 25.8.3, 25.9.2, 25.9.3 ---------------------------------------------------------- */

enum x86vcpu_vmx_event_type {
	X86VCPU_VMX_EVENT_EXTERNAL_INTERRUPT = 0,
	X86VCPU_VMX_EVENT_NMI = 2,
	X86VCPU_VMX_EVENT_HARDWARE_EXCEPTION = 3,
	X86VCPU_VMX_EVENT_SOFTWARE_INTERRUPT = 4,            /* INT n */
	X86VCPU_VMX_EVENT_PRIVILEGED_SOFTWARE_EXCEPTION = 5, /* INT1 */
	X86VCPU_VMX_EVENT_SOFTWARE_EXCEPTION = 6,            /* INT3, INTO */
	X86VCPU_VMX_EVENT_OTHER = 7,                         /* entry: pending MTF; vectoring: SYSCALL, SYSENTER */
};

struct x86vcpu_vmx_event {
	uint8_t valid; /* 0: all else is 0 */
	uint8_t vector;
	uint8_t type; /* enum x86vcpu_vmx_event_type */
	uint8_t has_error_code;
	uint32_t error_code;
	uint8_t nmi_unblocked;      /* exit only: IRET unblocked NMIs before the fault (28.2.3) */
	uint8_t instruction_length; /* entry only: types 4 to 6 */
	uint8_t reserved[6];
};

/* VM-exit interruption information and its error code. Types 0, 2, 3, 5, 6. */
int32_t x86vcpu_vmx_decode_interruption(uint32_t info, uint32_t error_code, struct x86vcpu_vmx_event *out);

/* IDT-vectoring information and its error code: the event whose delivery the exit cut short. */
int32_t x86vcpu_vmx_decode_vectoring(uint32_t info, uint32_t error_code, struct x86vcpu_vmx_event *out);

/*
 * The VM-entry interruption-information field for `event`, into *info; 0 when event->valid is 0.
 * Checks what VM entry checks of the event alone (27.2.1.3). Not checked: that no error code is
 * delivered in real mode, that length 0 needs IA32_VMX_MISC[30] and type 7 the monitor trap flag.
 * 0; INVALID_INPUT.
 */
int32_t x86vcpu_vmx_encode_event(const struct x86vcpu_vmx_event *event, uint32_t *info);

/* 1 for exceptions that push an error code in protected mode: 8, 10 to 14, 17, 21 (6.3.1). */
int32_t x86vcpu_vmx_vector_has_error_code(uint32_t vector);

/* ---- VM-exit instruction information, 28.2.5 ------------------------------------------------- */

/*
 * A register that there is not is X86VCPU_NO_REGISTER. `identity` tells instructions of one reason
 * apart; GDTR_OR_IDTR: 0 SGDT, 1 SIDT, 2 LGDT, 3 LIDT; LDTR_OR_TR: 0 SLDT, 1 STR, 2 LLDT, 3 LTR.
 */
struct x86vcpu_vmx_instruction {
	uint8_t memory;        /* 1: base + index * scale + the exit qualification, in `segment` */
	uint8_t address_bytes; /* memory: 2, 4 or 8; INS and OUTS too */
	uint8_t segment;       /* memory: enum x86vcpu_segment_index, ES to GS; of INS always ES */
	uint8_t scale;         /* memory: 1, 2, 4 or 8 */
	uint8_t base;
	uint8_t index;
	uint8_t operand_bytes; /* 2, 4 or 8; 0 where the field does not tell */
	uint8_t reg1;          /* the register operand in place of `memory`, or the destination */
	uint8_t reg2;
	uint8_t identity;
	uint8_t reserved[6];
};

/*
 * INVALID_INPUT for a `reason` (an exit-reason field) whose exits leave the field undefined.
 * For IO call it with string instructions only; `in` is 1 for INS, whose field has no segment.
 */
int32_t x86vcpu_vmx_decode_instruction(uint32_t reason, uint32_t info, uint32_t in,
				       struct x86vcpu_vmx_instruction *out);

#ifdef __cplusplus
}
#endif
#endif
