/* SPDX-License-Identifier: Apache-2.0 */
/* The insides of the model. */
#ifndef MODEL_MACHINE_H
#define MODEL_MACHINE_H

#include "model.h"

#include "cpu/x86.h"
#include "svm/vmcb.h"
#include "vmx/controls.h"
#include "vmx/vmcs_fields.h"
#include "x86vcpu/msr.h"

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define BIT(n) (UINT64_C(1) << (n))

#define MODEL_MSRS 96
#define MODEL_TRACE 512u
#define MODEL_TAGS 24
#define VMCS_SLOTS (16 * 64)
#define NO_VMCS UINT64_MAX
#define STOP_VECTOR 0xf3 /* of the host's interrupt that stops the guest */
#define REVISION 0x12u
#define POISON UINT64_C(0xa5a5a5a5a5a5a5a5)
#define HOST_GDT_ENTRIES 16

struct msr {
	uint32_t index;
	uint64_t value;
};

/* Translations that a CPU may have kept from the last time that it ran something with this tag. */
struct tag {
	bool valid;
	uint64_t space;        /* EPTP bits 51:12, or nested CR3 */
	uint32_t id;           /* VPID or ASID */
	uint64_t owner;        /* host-physical address of the VMCS or VMCB */
	uint64_t epoch;        /* the owner's migrations so far */
	uint64_t generation;   /* of the nested tables */
};

struct cpu {
	uint64_t cr0, cr3, cr4, xcr0, dr[4], dr6, dr7, flags;
	uint64_t bases[2];
	struct msr msrs[MODEL_MSRS];
	unsigned msr_count;
	uint16_t selectors[8];
	uint16_t limits[2];
	uint32_t tr_limit;

	/* From here on it is not the host's state. */
	uint32_t number;
	uint64_t cr2, tsc;
	uint64_t gdt[HOST_GDT_ENTRIES];
	struct vmcb_segment moved[4]; /* SVM: FS, GS, LDTR, TR with what no selector tells */

	bool vmxon;
	uint64_t vmxon_hpa, vmcs; /* NO_VMCS: none is current */
	bool gif;
	struct tag tags[MODEL_TAGS];
	unsigned next_tag;
	unsigned nmis, machine_checks;
};

struct vmcs {
	bool launched, cleared;
	int32_t cpu; /* it is active there; -1 */
	int32_t last_cpu;
	uint64_t epoch;
	uint64_t values[VMCS_SLOTS];
	uint8_t written[VMCS_SLOTS];
};

struct pending_set {
	uint32_t field;
	uint64_t value;
};

struct model {
	enum model_backend backend;
	uint32_t features;
	bool relaxed;
	const struct model_profile *profile; /* or NULL */
	struct cpu cpus[MODEL_CPUS];

	uint8_t *memory;
	bool used[MODEL_FRAMES];
	struct vmcs *vmcs[MODEL_FRAMES]; /* of the frame, when it is one */
	struct vmcb *kept[MODEL_FRAMES]; /* SVM: the VMCB as the CPU last had it */
	int32_t vmcb_cpu[MODEL_FRAMES];
	uint64_t vmcb_epoch[MODEL_FRAMES];
	uint32_t fail_after;
	uint8_t *guest;
	uint64_t generation; /* of the nested tables */
	uint32_t nested_levels;

	struct pending_set sets[MODEL_FIELDS];
	uint32_t set_count;
	bool armed, begun, bad_entry, cut_short;
	uint32_t storm, storm_left; /* vector, times */
	uint64_t op_rip;
	uint64_t saved_rflags; /* of the last event that the guest took */
	uint32_t faults, op_faults; /* exceptions so far, and before the op */
	uint64_t cut_short_at;
	struct model_op op;
	struct model_raw_exit raw;
	bool (*next)(void *arg, struct model_op *op);
	void *next_arg;
	struct model_outcome outcome;

	struct model_picture *pictures[MODEL_PICTURES];
	uint32_t entries;
	struct model_write writes[MODEL_WRITES];
	uint32_t write_count;

	char complaints[8192];
	struct cpu remembered;
	char changes[2048];
	struct model_record trace[MODEL_TRACE], ordered[MODEL_TRACE];
	uint64_t trace_count;
	uint64_t operations[MODEL_TRACE_KINDS];
};

extern struct model *model;
extern struct cpu *cpu;

/* machine.c */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
void trace(uint32_t operation, uint64_t a, uint64_t b);
int frame_of(uint64_t hpa); /* -1: no frame that is in use */
static inline bool has(uint32_t feature)
{
	return model->features & feature;
}

/* The same for MODEL_MAY_*, counted. */
bool may(uint32_t variant);

/*
 * In the widest form that the CPU has: so it checks MSRs, bases of segments and tables, and VMCS fields, whatever CR4.LA57
 * says.
 */
static inline bool canonical(uint64_t address)
{
	const unsigned unused = has(MODEL_LA57) ? 7 : 16;

	return (uint64_t)((int64_t)(address << unused) >> unused) == address;
}

/* picture.c */
void picture_take(uint64_t owner, const struct vmcb *b); /* SVM: b */
void note_write(uint64_t number, uint64_t before, uint64_t value);

/* insn.c */
void dr_set(uint32_t number, uint64_t value);

/* msr.c */
uint64_t *msr_find(struct cpu *c, uint32_t index);
void msr_set(struct cpu *c, uint32_t index, uint64_t value);
void msr_reset(struct model *m, struct cpu *c);
void msr_reset_profile(struct model *m, struct cpu *c);
uint64_t msr_value(uint32_t index); /* no trace, 0 when it does not exist */
bool msr_guest_write(uint32_t index, uint64_t value);

/* vmcs.c */
unsigned vmcs_slot(uint32_t encoding);
struct vmcs *vmcs_current(void);
uint64_t field(uint32_t encoding);
void set_field(uint32_t encoding, uint64_t value);
void vmcs_forget(struct model *m, int frame);

/* vmx_checks.c: 0, or the VM-instruction error; BAD_GUEST: an exit with reason 33 */
#define BAD_GUEST 100u
uint32_t vmx_check_entry(bool resume);

/* vmcb.c */
struct vmcb *vmcb_at(uint64_t hpa);
void vmcb_check_clean(uint64_t hpa, const struct vmcb *b);
void vmcb_keep(uint64_t hpa, const struct vmcb *b);

/* svm_checks.c: the name of the check that fails, or NULL */
const char *svm_check_entry(const struct vmcb *b);

/* tlb.c */
void tlb_use(uint64_t space, uint32_t id, uint64_t owner, uint64_t epoch);
void tlb_flush_space(uint64_t space); /* UINT64_MAX: all */
void tlb_flush_id(uint32_t id);       /* UINT32_MAX: all */

/* guest.c: the guest between an entry and an exit */
void guest_begin(void);
void guest_enters(uint64_t gpr[16]);
/* Backend: what exits, and how (vmx_guest.c, svm_guest.c). */
struct guest_view {
	uint64_t (*get)(const uint64_t gpr[16], uint32_t field);
	void (*set)(uint64_t gpr[16], uint32_t field, uint64_t value);
	bool (*window)(const uint64_t gpr[16]);   /* an interrupt or NMI window exits now */
	bool (*exits)(const struct model_op *op, uint64_t gpr[16]); /* and does it */
	void (*stop)(uint32_t vector);            /* exit for an interrupt of the host */
};
/* What the CPL forbids, before anything exits (SDM 26.1.1, APM 15.7): the exception's vector, or 0. */
uint32_t guest_is_refused(const struct model_op *op, uint32_t cpl, uint64_t rflags, uint64_t cr4);
void guest_runs(const struct guest_view *view, uint64_t gpr[16]);
/* What MODEL_OP_IRET meets, and its end. */
uint64_t guest_iret_meets(void);
/*
 * What an instruction does that moves RFLAGS.TF, or 64 bits of RFLAGS, but for RIP. Which of its TF decides about a step:
 * that of before, but that of after for SYSCALL and SYSRET (SDM Vol. 2, SYSCALL).
 */
bool guest_moves_flags(const struct guest_view *view, uint64_t gpr[16], const struct model_op *op, uint64_t fmask,
		       uint64_t lstar);
void guest_iret_ends(const struct guest_view *view, uint64_t gpr[16]);
/* The manuals' rule for an event that VM entry injects. */
void guest_injected(uint32_t type, uint32_t vector, uint64_t rflags);
void guest_took_with(uint32_t type, uint32_t vector, bool has_error_code, uint32_t error_code, uint64_t rflags);
void guest_took(uint32_t type, uint32_t vector, bool has_error_code, uint32_t error_code);
uint32_t guest_read32(uint64_t gpa);
bool guest_has_counter(uint64_t number); /* of RDPMC */
void guest_writes_back(const char *instruction);

#endif
