/* SPDX-License-Identifier: Apache-2.0 */
/* Why x86vcpu_run returned. */
#ifndef X86VCPU_EXIT_H
#define X86VCPU_EXIT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Kinds 0 to 14 stand in the order in which the Rust crate x86_vcpu 0.7.1 declares them.
 * Later ones of the library follow from 64.
 */
enum x86vcpu_exit_kind {
	X86VCPU_EXIT_HYPERCALL = 0,          /* u.hypercall; RIP is past the instruction */
	X86VCPU_EXIT_PORT_IO_READ = 1,       /* u.port_io; answer with x86vcpu_complete_read */
	X86VCPU_EXIT_PORT_IO_WRITE = 2,      /* u.port_io; RIP is past the instruction */
	X86VCPU_EXIT_PORT_IO_STRING = 3,     /* u.port_io_string; commit with x86vcpu_complete_port_io_string */
	X86VCPU_EXIT_MMIO_READ = 4,          /* u.mmio; answer with x86vcpu_complete_read */
	X86VCPU_EXIT_MMIO_WRITE = 5,         /* u.mmio; RIP is past the instruction */
	X86VCPU_EXIT_MSR_READ = 6,           /* u.msr; answer with x86vcpu_complete_read or _complete_fault */
	X86VCPU_EXIT_MSR_WRITE = 7,          /* u.msr; answer with x86vcpu_complete_write or _complete_fault */
	X86VCPU_EXIT_NESTED_PAGE_FAULT = 8,  /* u.nested_page_fault; map it and run again */
	X86VCPU_EXIT_PREEMPTION_TIMER = 9,   /* the time slice is over */
	X86VCPU_EXIT_INTERRUPT_END = 10,     /* u.interrupt_end */
	X86VCPU_EXIT_HALT = 11,              /* HLT; run again when an event may be pending */
	X86VCPU_EXIT_SYSTEM_DOWN = 12,       /* triple fault: the vCPU is in shutdown state */
	X86VCPU_EXIT_FAIL_ENTRY = 13,        /* u.fail_entry; the guest did not run */
	X86VCPU_EXIT_NOTHING = 14,           /* the host had an interrupt or NMI, or x86vcpu_request_exit was called */
	X86VCPU_EXIT_WAIT_FOR_SIPI = 64,     /* the vCPU waits for a start-up IPI; run again when notified */
	X86VCPU_EXIT_FPU_ERROR = 65,         /* FERR#: raise IRQ 13; see X86VCPU_SETUP_FPU_ERROR_EXITS */
	X86VCPU_EXIT_DEBUG = 66,             /* u.debug: what x86vcpu_set_debug asked for */
	X86VCPU_EXIT_UNKNOWN_INSTRUCTION = 67, /* u.instruction; execute it and x86vcpu_skip_instruction, or end the guest */
};

/* Width of an access: log2 of its size in bytes. */
enum x86vcpu_width {
	X86VCPU_WIDTH_BYTE = 0,
	X86VCPU_WIDTH_WORD = 1,
	X86VCPU_WIDTH_DWORD = 2,
	X86VCPU_WIDTH_QWORD = 3,
};

/* Bits of nested_page_fault.access. */
#define X86VCPU_ACCESS_READ (UINT64_C(1) << 0)
#define X86VCPU_ACCESS_WRITE (UINT64_C(1) << 1)
#define X86VCPU_ACCESS_EXECUTE (UINT64_C(1) << 2)

/* Direction of a string port access. */
enum x86vcpu_direction {
	X86VCPU_DIRECTION_IN = 0,  /* INS: from the port to guest memory */
	X86VCPU_DIRECTION_OUT = 1, /* OUTS: from guest memory to the port */
};

struct x86vcpu_hypercall {
	uint64_t nr;      /* RAX (EAX outside 64-bit mode) */
	uint64_t args[6]; /* RDI, RSI, RDX, RCX, R8, R9; 32 bits each outside 64-bit mode */
};

struct x86vcpu_port_io {
	uint16_t port;
	uint8_t width; /* enum x86vcpu_width: byte, word or dword */
	uint8_t reserved[5];
	uint64_t data; /* write: zero-extended; read: 0 */
};

/*
 * One element of INS or OUTS. The library has changed nothing yet: when the VMM has moved the
 * element between the port and `gpa` it commits with x86vcpu_complete_port_io_string; when it runs
 * the vCPU without that, the same element comes again.
 */
struct x86vcpu_port_io_string {
	uint16_t port;
	uint8_t width;                /* enum x86vcpu_width: byte, word or dword */
	uint8_t direction;            /* enum x86vcpu_direction */
	uint8_t has_count;            /* 1: a REP prefix; updated_count is valid */
	uint8_t instruction_complete; /* 1: this is the last element; RIP becomes next_rip */
	uint8_t reserved[2];
	uint64_t gpa;           /* guest-physical address of the element's first byte */
	uint64_t gpa2;          /* and of its first byte in the second page, if it crosses one; else 0 */
	uint64_t updated_index; /* RDI (in) or RSI (out) after this element */
	uint64_t updated_count; /* RCX after this element */
	uint64_t next_rip;      /* RIP after the whole instruction */
};

/* No register. Of an MMIO_READ: the library needs the value to execute the instruction, see x86vcpu_run. */
#define X86VCPU_NO_REGISTER 0xffu

struct x86vcpu_mmio {
	uint64_t gpa;
	uint64_t data;         /* write: zero-extended; read: 0 */
	uint8_t width;         /* enum x86vcpu_width of the memory access */
	uint8_t reg;           /* read: destination register, 0 to 15 (4 is RSP); or X86VCPU_NO_REGISTER, see x86vcpu_run */
	uint8_t reg_width;     /* read: enum x86vcpu_width of the destination */
	uint8_t sign_extend;   /* read: 1 when the value is sign-extended to reg_width */
	uint8_t has_byte_reg;  /* read: 1 when the destination is an 8-bit register */
	uint8_t byte_reg_high; /* read: 1 for AH, CH, DH, BH; reg is 0 to 3 then */
	uint8_t reserved[2];
};

struct x86vcpu_msr_access {
	uint32_t index; /* ECX */
	uint32_t reserved;
	uint64_t value; /* write: EDX:EAX; read: 0 */
};

struct x86vcpu_nested_page_fault {
	uint64_t gpa;
	uint64_t access; /* X86VCPU_ACCESS_* of the access that faulted */
};

#define X86VCPU_INSTRUCTION_BYTES 15

/*
 * An instruction that accessed device memory, and that the library does not execute there. It has changed nothing, and RIP
 * is at it. A VMM that executes it, with x86vcpu_read_virtual, x86vcpu_set_state and the like, ends it with
 * x86vcpu_skip_instruction. When the vCPU runs without that, the instruction comes again.
 */
struct x86vcpu_instruction {
	uint64_t gpa;       /* of the access, as hardware reports it */
	uint64_t linear;    /* its linear address, if has_linear is 1; else 0 (SVM does not report it) */
	uint8_t has_linear;
	uint8_t access;     /* X86VCPU_ACCESS_READ or X86VCPU_ACCESS_WRITE */
	uint8_t mode;       /* the code's default address size in bytes: 2, 4, or 8 in 64-bit mode */
	uint8_t length;     /* in bytes, or 0: the library does not know it */
	uint8_t count;      /* of the bytes at RIP that could be read */
	uint8_t bytes[X86VCPU_INSTRUCTION_BYTES]; /* `count` of them; the rest is 0 */
	uint8_t reserved[4];
};

/*
 * The guest has ended a level-triggered interrupt: an I/O APIC that sent it looks at its line again. Ends of
 * edge-triggered interrupts don't come out.
 */
struct x86vcpu_interrupt_end {
	uint32_t has_vector; /* 1 */
	uint32_t vector;
};

/*
 * VT-x: `reason` is the exit reason field as the CPU wrote it (bit 31 set; basic reason 33, 34 or 41:
 * SDM 27.8) with its exit qualification, or 0 when VMLAUNCH or VMRESUME itself failed, and then
 * `instruction_error` is the VM-instruction error (SDM 31.4), 0 if there is none.
 * SVM: `reason` is the exit code, all else 0.
 */
struct x86vcpu_fail_entry {
	uint64_t reason;
	uint64_t qualification;
	uint32_t instruction_error;
	uint32_t reserved;
};

/* Bits of debug.what. */
#define X86VCPU_DEBUG_HIT_STEP (UINT32_C(1) << 0)       /* an instruction has ended */
#define X86VCPU_DEBUG_HIT_BREAKPOINT (UINT32_C(1) << 1) /* breakpoints of the VMM: bits 3:0 of dr6 */
#define X86VCPU_DEBUG_HIT_INT3 (UINT32_C(1) << 2)       /* RIP is at an INT3, which has not been executed */
#define X86VCPU_DEBUG_HIT_DB (UINT32_C(1) << 3)         /* a #DB of the guest's, which it has not taken */

struct x86vcpu_debug_exit {
	uint32_t what; /* X86VCPU_DEBUG_HIT_* */
	uint32_t length; /* HIT_INT3: of the instruction in bytes */
	uint64_t rip;
	uint64_t dr6;  /* conditions, bits 3:0, 13 and 14 as in DR6 (SDM 18.2.3); with HIT_DB also those of the guest's */
};

/* 128 bytes; what `kind` does not name is zero. */
struct x86vcpu_exit {
	uint32_t kind; /* enum x86vcpu_exit_kind */
	uint32_t reserved;
	union {
		struct x86vcpu_hypercall hypercall;
		struct x86vcpu_port_io port_io;
		struct x86vcpu_port_io_string port_io_string;
		struct x86vcpu_mmio mmio;
		struct x86vcpu_msr_access msr;
		struct x86vcpu_nested_page_fault nested_page_fault;
		struct x86vcpu_interrupt_end interrupt_end;
		struct x86vcpu_instruction instruction;
		struct x86vcpu_fail_entry fail_entry;
		struct x86vcpu_debug_exit debug;
		uint64_t words[15];
	} u;
};

/* "HYPERCALL", "MMIO_READ", ...; "UNKNOWN" for a value that is not in the list. */
const char *x86vcpu_exit_name(uint32_t kind);

#ifdef __cplusplus
}
#endif
#endif
