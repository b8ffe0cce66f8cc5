/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine with CPUs that have VT-x or SVM, in software: the instructions of c/src/cpu/insn.h work on it,
 * and the guest that an entry enters is whatever the test says it does next.
 *
 * The model knows the manuals' rules and complains, in words, about whatever breaks one: a field that the
 * CPU does not have, a VMCS on two CPUs, a stale translation, a VM entry that fails and the check that it fails.
 * It executes no guest code: the guest does one thing at a time (struct model_op), which exits or not
 * as the control structures have it.
 *
 * Everything is for one thread. A machine is current from model_use to the next one; instructions are executed
 * by the current machine's current CPU.
 */
#ifndef MODEL_H
#define MODEL_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MODEL_CPUS 4u
#define MODEL_FRAMES 96u
#define MODEL_FIRST_FRAME UINT64_C(0x100000) /* host-physical address of the first */
#define MODEL_GUEST_SIZE UINT64_C(0x40000)   /* guest RAM from address 0 */

enum model_backend {
	MODEL_VMX = 0,
	MODEL_SVM = 1,
};

/* What a CPU has, beyond what x86vcpu cannot do without. */
enum model_feature {
	MODEL_XSAVE = 1 << 0,
	MODEL_XSAVES = 1 << 1,
	MODEL_AVX512 = 1 << 2,
	MODEL_AMX = 1 << 3,
	MODEL_RDTSCP = 1 << 4,
	MODEL_INVPCID = 1 << 5,
	MODEL_TIMER = 1 << 6,         /* VT-x: preemption timer */
	MODEL_VPID = 1 << 7,
	MODEL_EPT_AD = 1 << 8,        /* accessed and dirty flags */
	MODEL_APICV = 1 << 9,         /* virtual-interrupt delivery, APIC-register virtualization */
	MODEL_APIC_ACCESS = 1 << 10,  /* virtualize APIC accesses */
	MODEL_INVEPT_SINGLE = 1 << 11,
	MODEL_VNMI = 1 << 12,
	MODEL_NRIPS = 1 << 13,        /* SVM from here */
	MODEL_DECODE = 1 << 14,
	MODEL_FLUSH_ASID = 1 << 15,
	MODEL_CLEAN = 1 << 16,
	MODEL_TSC_DEADLINE = 1 << 17,
	MODEL_NO_MONITOR_TRAP = 1 << 18, /* VT-x: the monitor trap flag is missing */
	/* VT-x: the controls of RDTSCP, INVPCID and XSAVES are missing, as under some hypervisors. */
	MODEL_BARE_CONTROLS = 1 << 19,
	/*
	 * Not the CPU's: a host whose own state is unusual: selectors with RPL 3, an LDT, a breakpoint, a PCID,
	 * IA32_DEBUGCTL.
	 */
	MODEL_ODD_HOST = 1 << 20,
	MODEL_LA57 = 1 << 21,         /* 57-bit linear addresses */
	MODEL_HOST_LA57 = 1 << 22,    /* a host that uses them; with MODEL_LA57 */
	MODEL_EPT_5 = 1 << 23,        /* VT-x: EPT with five levels */
	MODEL_LAM = 1 << 24,          /* VT-x: linear-address masking, with its bits of CR3 */
	/*
	 * Where the manuals say "may", leave something undefined, or CPUs differ, what this CPU does. With MODEL_MAY=all in
	 * the environment every machine has all of them, whatever the test asks for.
	 *
	 * NMI_WINDOW_IN_STI: the NMI window is open while STI blocks (SDM 26.2).
	 * STALE_FIELDS: fields of the VMCS and the VMCB that an exit leaves undefined keep what they had, and have garbage
	 * otherwise.
	 * UNDEFINED_BITS: undefined bits of fields that an exit defines are 1, and 0 otherwise: bit 12 of IDT-vectoring
	 * information, "NMI unblocking due to IRET" of a double fault and during the delivery of an event (SDM 28.2.2, 28.2.3),
	 * all of the information about an event that there is not, what only some string instructions tell; the rest of
	 * EVENTINJ when its valid bit is cleared.
	 * BARE_SEGMENTS: after an exit an unusable segment has anything in its base, limit and rights, but for what SDM 28.3.2
	 * names; a VMCB does not have the accessed, busy and granularity bits, at which VMRUN does not look (APM 15.5.1).
	 * FAULTS_SET_RF: an exit that is like a fault saves RF = 1, one for an instruction RF = 0 (SDM 28.3.3).
	 * PENDING_STEP: an exit while MOV SS blocks saves the single step of TF as pending (SDM 28.3.4).
	 */
	MODEL_MAY_NMI_WINDOW_IN_STI = 1 << 25,
	MODEL_MAY_STALE_FIELDS = 1 << 26,
	MODEL_MAY_UNDEFINED_BITS = 1 << 27,
	MODEL_MAY_BARE_SEGMENTS = 1 << 28,
	MODEL_MAY_FAULTS_SET_RF = 1 << 29,
	MODEL_MAY_PENDING_STEP = 1 << 30,
};
#define MODEL_ALL 0x3ffffu
#define MODEL_VARIANTS                                                                                                   \
	(MODEL_MAY_NMI_WINDOW_IN_STI | MODEL_MAY_STALE_FIELDS | MODEL_MAY_UNDEFINED_BITS | MODEL_MAY_BARE_SEGMENTS |     \
	 MODEL_MAY_FAULTS_SET_RF | MODEL_MAY_PENDING_STEP)
#define MODEL_VARIANT_FIRST 25u
#define MODEL_VARIANT_COUNT 6u

/* How often a CPU had the choice and did so (`done` 1) or did not, in this process and those that it has forked. */
uint64_t model_choices(uint32_t variant, uint32_t done);

/* ---- Machines ----------------------------------------------------------------------------------------- */

struct model;

struct model *model_create(enum model_backend backend, uint32_t features);
void model_destroy(struct model *m);

/* As model_create makes it, but for guest RAM, which stays as it is; for tests that need thousands of machines a second. */
void model_reset(struct model *m, uint32_t features);

/* The current machine, and its CPU from now on. */
void model_use(struct model *m, uint32_t cpu);

/*
 * A machine for upstream: an entry that fails comes back as an exit, because upstream's stack is gone by then; fields
 * of a VMCS that were never written are 0, though the model complains about them.
 */
void model_relax(struct model *m);

/* So many ticks of the TSC go by on every CPU. */
void model_pass(struct model *m, uint64_t ticks);

/*
 * What a CPU says about speculation, in place of what the model says without a profile: a CPU with IA32_SPEC_CTRL and
 * nothing else. MSRs exist by these bits.
 */
struct model_profile {
	const char *name;
	enum model_backend backend;
	uint32_t signature;       /* leaf 1, EAX */
	uint32_t rtm;             /* leaf 7, EBX, bit 11 */
	uint32_t leaf_7_edx, leaf_7_2_edx;
	uint32_t leaf_8_ebx;      /* leaf 80000008H */
	uint32_t leaf_a_edx;      /* leaf 8000000AH, bit 20 */
	uint32_t leaf_21_eax, leaf_21_ecx;
	uint64_t arch_capabilities;
	uint64_t spec_ctrl;       /* as the host has it, */
	uint64_t efer, bp_cfg;    /* and bits of these */
};

/* Of every CPU, before any is enabled. The structure stays the caller's, and stays. */
void model_set_profile(struct model *m, const struct model_profile *profile);

/* ---- Memory --------------------------------------------------------------------------------------------- */

/* 0: none left. A frame comes filled with 5AH. */
uint64_t model_alloc(struct model *m, uint64_t count, uint64_t align);
void model_free(struct model *m, uint64_t hpa, uint64_t count);
void *model_memory(struct model *m, uint64_t hpa);
uint64_t model_physical(struct model *m, const void *memory);
uint32_t model_frames_in_use(const struct model *m);
void model_fail_allocation(struct model *m, uint32_t after); /* the one after so many; UINT32_MAX: none */
uint8_t *model_guest_memory(struct model *m);

/* How many levels the machine's nested tables have: 4, until this is called. */
void model_nested_levels(struct model *m, uint32_t levels);

/* The nested tables of the machine lost a mapping: what an entry may still use must be flushed. */
void model_nested_changed(struct model *m);

/* ---- The guest ------------------------------------------------------------------------------------------ */

enum model_op_kind {
	MODEL_OP_NONE = 0,
	MODEL_OP_CPUID,
	MODEL_OP_HYPERCALL,
	MODEL_OP_HLT,
	MODEL_OP_IN,       /* a: port, b: bytes, c: bit 0 string, bit 1 rep, bit 2 immediate, 15:8 address bytes */
	MODEL_OP_OUT,
	MODEL_OP_RDMSR,
	MODEL_OP_WRMSR,
	MODEL_OP_MOV_TO_CR,   /* a: number, b: register */
	MODEL_OP_MOV_FROM_CR,
	MODEL_OP_CLTS,
	MODEL_OP_LMSW,     /* a: operand */
	MODEL_OP_XSETBV,
	MODEL_OP_XGETBV,
	MODEL_OP_INVD,
	MODEL_OP_WBINVD,
	MODEL_OP_RDTSC,
	MODEL_OP_RDPMC,
	MODEL_OP_PAUSE,
	MODEL_OP_MONITOR,
	MODEL_OP_MWAIT,
	MODEL_OP_MOV_DR,   /* a: number, b: register, c: 1 read */
	MODEL_OP_UD2,
	MODEL_OP_REFUSED,  /* a: basic exit reason or exit code of an instruction of the extension */
	/*
	 * a: guest-physical address, b: 1 write, 2 fetch, 0 read; c: guest-linear address. Beside b: 4 it is the page
	 * walk that does it, 8 (VT-x) an IRET that had unblocked NMIs.
	 */
	MODEL_OP_MMIO,
	MODEL_OP_EXCEPTION, /* a: vector, b: error code, c: what CR2 or DR6 has */
	MODEL_OP_TRIPLE_FAULT,
	MODEL_OP_INTERRUPT, /* of the host; a: vector */
	MODEL_OP_NMI,       /* of the host */
	MODEL_OP_TIMER,     /* VT-x: the preemption timer */
	MODEL_OP_TASK_SWITCH, /* a: selector, bits 31:30 source as VT-x numbers it */
	/*
	 * The next entry is made to fail. a: 1 (SVM) with the low 32 bits of the exit code alone; VT-x: the basic exit reason,
	 * 33, 34 or 41 (SDM 27.8), otherwise 33.
	 */
	MODEL_OP_BAD_ENTRY,
	MODEL_OP_CUT_SHORT, /* the delivery of the next injected event meets a nested fault at a */
	MODEL_OP_STORM,     /* exception a, whose delivery raises it again, b times, or until the host has an interrupt */
	MODEL_OP_DELIVERY,  /* exception a with error code b: its delivery meets a nested fault at c */
	MODEL_OP_RAW,       /* the exit that model_guest_exits told */
	MODEL_OP_PUSHF,     /* with a 64-bit operand */
	MODEL_OP_POPF,      /* a: RFLAGS that it loads */
	MODEL_OP_SYSCALL,   /* of 64-bit mode: to LSTAR */
	MODEL_OP_SYSRET,    /* to RCX */
	MODEL_OP_INT,       /* a: vector; 3: INT3 */
	MODEL_OP_HIT,       /* a: breakpoint of DR7; an instruction's hits before the instruction, and RF keeps it from that */
	/*
	 * a: RIP and b: RFLAGS that it returns to. c: what it meets the first time that it is executed: 0 nothing, below 256 an
	 * exception, with its error code in bits 63:32, otherwise a nested fault of its stack at c.
	 */
	MODEL_OP_IRET,
};

/* `length` bytes at RIP; natively it moves RIP. */
struct model_op {
	uint32_t kind;
	uint32_t length;
	uint64_t a, b, c;
};

/* What the CPU tells of an exit, be it something that no CPU would tell. SVM has it in the words of the second name. */
struct model_raw_exit {
	uint64_t reason;        /* exit code */
	uint64_t qualification; /* EXITINFO1 */
	uint64_t physical;      /* EXITINFO2 */
	uint64_t vectoring;     /* the error code in bits 63:32; EXITINTINFO */
	uint64_t linear;        /* next RIP */
	uint32_t length, instruction; /* VT-x */
	uint64_t interruption;  /* VT-x; the error code in bits 63:32 */
	uint8_t fetched, bytes[15]; /* SVM */
};

/* What the guest sees of its CPU. */
enum model_field {
	MODEL_RAX, MODEL_RCX, MODEL_RDX, MODEL_RBX, MODEL_RSP, MODEL_RBP, MODEL_RSI, MODEL_RDI,
	MODEL_R8, MODEL_R9, MODEL_R10, MODEL_R11, MODEL_R12, MODEL_R13, MODEL_R14, MODEL_R15,
	MODEL_RIP, MODEL_RFLAGS,
	MODEL_CR0, MODEL_CR2, MODEL_CR3, MODEL_CR4, MODEL_EFER, MODEL_XCR0, MODEL_XSS,
	MODEL_DR0, MODEL_DR1, MODEL_DR2, MODEL_DR3, MODEL_DR6, MODEL_DR7,
	MODEL_SELECTOR,                       /* ES CS SS DS FS GS LDTR TR */
	MODEL_BASE = MODEL_SELECTOR + 8,
	MODEL_LIMIT = MODEL_BASE + 8,
	MODEL_RIGHTS = MODEL_LIMIT + 8,       /* as a VMCS has them */
	MODEL_GDTR_BASE = MODEL_RIGHTS + 8, MODEL_GDTR_LIMIT, MODEL_IDTR_BASE, MODEL_IDTR_LIMIT,
	MODEL_STAR, MODEL_LSTAR, MODEL_CSTAR, MODEL_FMASK, MODEL_KERNEL_GS_BASE,
	MODEL_SYSENTER_CS, MODEL_SYSENTER_ESP, MODEL_SYSENTER_EIP,
	MODEL_PAT, MODEL_TSC_AUX, MODEL_DEBUGCTL,
	MODEL_SHADOW,                         /* interrupt shadow: bit 0 STI, bit 1 MOV SS (SVM: bit 0 either) */
	MODEL_PENDING_DEBUG,
	MODEL_PDPTE0, MODEL_PDPTE1, MODEL_PDPTE2, MODEL_PDPTE3, /* VT-x with PAE paging */
	MODEL_FIELDS
};
const char *model_field_name(uint32_t field);

/* Before its next op the guest has natively given `field` this value. */
void model_guest_sets(struct model *m, uint32_t field, uint64_t value);
/* Nothing of that, if it was not entered since. */
void model_guest_sets_nothing(struct model *m);

/* The op comes next, once. When it is over the guest is stopped by an interrupt of the host. */
void model_guest_does(struct model *m, const struct model_op *op);

/* The exit of ops MODEL_OP_RAW. */
void model_guest_exits(struct model *m, const struct model_raw_exit *raw);

/* Asked for another op each time that one is over, until it answers false: then the guest is stopped. NULL: none. */
void model_guest_source(struct model *m, bool (*next)(void *arg, struct model_op *op), void *arg);

struct model_event {
	uint32_t type; /* as VT-x numbers them */
	uint32_t vector;
	uint32_t has_error_code;
	uint32_t error_code;
};
#define MODEL_EVENTS 8u

/* What became of it. */
struct model_outcome {
	uint32_t stopped;  /* the guest was entered after the op: `fields` is what it found */
	uint32_t native;   /* the op did not exit */
	uint32_t entries;
	uint32_t entry_failed; /* VMfail, or an entry that failed with an exit */
	uint32_t event_count;
	uint32_t stuck;    /* it was entered again and again */
	uint32_t before;   /* events that the guest took before the op */
	uint32_t reserved;
	struct model_event events[MODEL_EVENTS]; /* that the guest took, in this order */
	uint64_t fields[MODEL_FIELDS];
};
const struct model_outcome *model_outcome(const struct model *m);
/* RFLAGS that the delivery of the last event has saved for its handler. */
uint64_t model_saved_rflags(const struct model *m);

/* ---- What the CPU is given at a VM entry ---------------------------------------------------------------------- */

#define MODEL_WORDS 512u
#define MODEL_PAGES 5u
#define MODEL_REGISTERS 128u
#define MODEL_PICTURES 16u

/* MSRs by their index; from here on others. */
#define MODEL_REGISTER_OTHERS (UINT64_C(1) << 32)
enum model_register_kind {
	MODEL_REGISTER_XCR0, MODEL_REGISTER_CR0, MODEL_REGISTER_CR2, MODEL_REGISTER_CR3, MODEL_REGISTER_CR4,
	MODEL_REGISTER_DR0, MODEL_REGISTER_DR1, MODEL_REGISTER_DR2, MODEL_REGISTER_DR3, MODEL_REGISTER_DR6,
	MODEL_REGISTER_DR7, MODEL_REGISTER_KINDS
};
const char *model_register_name(uint64_t number);

struct model_register {
	uint64_t number;
	uint64_t value;
};

/* The whole of it, before the CPU checks it. */
struct model_picture {
	uint64_t words[MODEL_WORDS];  /* VT-x: fields, in the order of model_words; SVM: the VMCB */
	uint8_t written[MODEL_WORDS]; /* 0: the field is as the page had it. SVM: always 1 */
	uint8_t pages[MODEL_PAGES][4096]; /* VT-x: I/O bitmaps, MSR bitmap, virtual-APIC page; SVM: I/O, MSR map */
	uint32_t owned;               /* bit n: the address of page n is a frame in use; else it is all 0 */
	uint32_t register_count;
	struct model_register registers[MODEL_REGISTERS]; /* the CPU's own at that time: the guest runs with them */
	uint64_t owner;               /* host-physical address of the VMCS or VMCB */
	uint32_t cpu;
};

/* Encodings of the VMCS's fields, or offsets in the VMCB; how many to *count. */
const uint32_t *model_words(enum model_backend backend, uint32_t *count);
/* Of a field by its encoding, or of eight bytes of the VMCB by their offset; "?": it has none. */
const char *model_word_name(enum model_backend backend, uint32_t word);

/* Entries since the last model_guest_does. With more than MODEL_PICTURES the last picture is the last entry's. */
uint32_t model_entries(const struct model *m);
const struct model_picture *model_picture(const struct model *m, uint32_t number);

/*
 * A value that an instruction put into an MSR, XCR0, a control or debug register which had another one. Writing what is
 * there already is nothing. Since the last model_forget_writes.
 */
struct model_write {
	uint64_t number; /* as in model_register */
	uint64_t value, before;
	uint32_t cpu;
	uint32_t entries; /* of the step, when it was written */
};
#define MODEL_WRITES 512u
const struct model_write *model_writes(const struct model *m, uint32_t *count);
void model_forget_writes(struct model *m);

/* ---- What the model has to say ---------------------------------------------------------------------------- */

/* Complaints since the last call of model_forgive, one a line. */
const char *model_complaints(const struct model *m);
void model_forgive(struct model *m);
void model_complain(const char *text);

/* The current CPU's host state is remembered; and what of it has changed since, "NAME before after" a line. */
void model_host_remember(struct model *m);
const char *model_host_changes(struct model *m);
/* What a register had when the host's state was last remembered. */
uint64_t model_remembered(const struct model *m, uint64_t number);

enum model_operation {
	MODEL_TRACE_VMXON, MODEL_TRACE_VMXOFF, MODEL_TRACE_VMCLEAR, MODEL_TRACE_VMPTRLD,
	MODEL_TRACE_VMREAD, MODEL_TRACE_VMWRITE, MODEL_TRACE_INVEPT, MODEL_TRACE_INVVPID,
	MODEL_TRACE_RDMSR, MODEL_TRACE_WRMSR, MODEL_TRACE_CR_READ, MODEL_TRACE_CR_WRITE,
	MODEL_TRACE_XGETBV, MODEL_TRACE_XSETBV, MODEL_TRACE_CPUID, MODEL_TRACE_ENTRY, MODEL_TRACE_EXIT,
	MODEL_TRACE_VMSAVE, MODEL_TRACE_VMLOAD, MODEL_TRACE_GIF, MODEL_TRACE_IF, MODEL_TRACE_VERW,
	MODEL_TRACE_KINDS
};
const char *model_operation_name(uint32_t operation);
struct model_record {
	uint32_t operation;
	uint32_t cpu;
	uint64_t a, b;
};
/* The latest records, oldest first; how many there are to *count. */
const struct model_record *model_trace(struct model *m, uint32_t *count);
void model_trace_clear(struct model *m);
uint64_t model_operations(const struct model *m, uint32_t operation); /* how many there ever were */

/* ---- Instructions ------------------------------------------------------------------------------------------- */

/* VT-x: 0 success, 1 VMfailInvalid (CF), 2 VMfailValid (ZF). */
uint32_t model_vmxon(uint64_t hpa);
uint32_t model_vmxoff(void);
uint32_t model_vmclear(uint64_t hpa);
uint32_t model_vmptrld(uint64_t hpa);
uint32_t model_vmread(uint64_t field, uint64_t *value);
uint32_t model_vmwrite(uint64_t field, uint64_t value);
uint32_t model_invept(uint64_t type, uint64_t eptp);
uint32_t model_invvpid(uint64_t type, uint64_t vpid);
/* `gpr`: sixteen, in the order of their encoding; [4] is not used. Comes back at the exit. */
uint32_t model_vmx_entry(uint64_t gpr[16], uint32_t resume);

void model_vmload(uint64_t hpa);
void model_vmsave(uint64_t hpa);
void model_vmrun(uint64_t hpa, uint64_t gpr[16]);
void model_set_gif(uint32_t gif);

void model_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t out[4]);
uint64_t model_rdtsc(void);
uint64_t model_tsc(void); /* without reading it */
uint64_t model_rdmsr(uint32_t msr);
void model_wrmsr(uint32_t msr, uint64_t value);
uint32_t model_try_rdmsr(uint32_t msr, uint64_t *value); /* 0: it exists; no complaint */
uint64_t model_read_cr(uint32_t number);
void model_write_cr(uint32_t number, uint64_t value);
uint64_t model_read_dr(uint32_t number);
void model_write_dr(uint32_t number, uint64_t value);
void model_verw(void); /* with a memory operand */
uint64_t model_xgetbv(uint32_t index);
void model_xsetbv(uint32_t index, uint64_t value);
void model_xsave(void *area);
void model_xrstor(const void *area);
uint64_t model_read_flags(void);
void model_set_if(uint32_t interrupts);

enum model_table {
	MODEL_GDTR, MODEL_IDTR,
};
void model_store_table(uint32_t table, uint16_t *limit, uint64_t *base);
/* A host whose TSS has an I/O permission bitmap: the limit in its descriptor and in TR. */
void model_set_tss_limit(struct model *m, uint16_t limit);
/* In the host, outside of the library: what its handler leaves in CR2. */
void model_host_page_fault(uint64_t address);
void model_load_tr(uint16_t selector);
void model_load_table(uint32_t table, uint16_t limit, uint64_t base);
/* Segments as in MODEL_SELECTOR: ES CS SS DS FS GS LDTR TR. */
uint16_t model_read_selector(uint32_t segment);
void model_load_selector(uint32_t segment, uint16_t selector);
void model_raise(uint32_t vector); /* INT 2, INT 18 */

#ifdef __cplusplus
}
#endif
#endif
