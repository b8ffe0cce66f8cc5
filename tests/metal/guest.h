/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guests of a few instructions. A guest has 4 MiB of memory at address 0, mapped one to one through
 * nested tables of 4 KiB pages (and through its own page tables, where its mode has paging), interrupt
 * tables whose handlers tell the host of every trap, and starts at GUEST_CODE in the mode of choice.
 */
#ifndef GUEST_H
#define GUEST_H

#include "metal.h"

enum guest_mode {
	GUEST_REAL,      /* CS = DS = SS = 0 */
	GUEST_PROTECTED, /* 32-bit, flat, no paging */
	GUEST_PAGING32,  /* 32-bit with two-level tables */
	GUEST_PAE,       /* 32-bit with three-level tables */
	GUEST_LONG,      /* 64-bit */
};

/* Guest-physical layout; addresses below 64 KiB can be reached in every mode. */
#define GUEST_GDT 0x1000u
#define GUEST_IDT64 0x2000u
#define GUEST_IDT32 0x3000u
#define GUEST_RECORD 0x4000u
#define GUEST_STUBS16 0x6000u
#define GUEST_CODE 0x8000u /* two pages */
#define GUEST_TSS 0xc000u
#define GUEST_STACK 0xf000u      /* top */
#define GUEST_USER_STACK 0x11000u /* top */
#define GUEST_DATA 0x12000u      /* up to 0x1ffff */
#define GUEST_PML4 0x20000u
#define GUEST_PDPT 0x21000u
#define GUEST_PD 0x22000u
#define GUEST_PT 0x23000u /* 4 KiB pages for the first 2 MiB; PAE and 64-bit */
#define GUEST_PD32 0x24000u
#define GUEST_PT32 0x25000u
#define GUEST_PDPT_PAE 0x26000u
#define GUEST_STUBS64 0x30000u
#define GUEST_STUBS32 0x32000u
#define GUEST_MEMORY 0x400000u
/* No memory, and a range of guest_config's: its accesses come out as MMIO. Large pages map it. */
#define GUEST_MMIO 0x800000u
#define GUEST_MMIO_SIZE 0x2000u
/* No memory, and nothing of it in the configuration: nested page faults. */
#define GUEST_HOLE 0xa00000u

/* Selectors. User ones with RPL 3. */
#define GUEST_CS64 0x08u
#define GUEST_DS 0x10u
#define GUEST_USER_CS64 0x1bu
#define GUEST_USER_DS 0x23u
#define GUEST_TR 0x28u
#define GUEST_CS32 0x38u
#define GUEST_USER_CS32 0x43u
#define GUEST_CS16 0x48u
#define GUEST_DS16 0x50u
#define GUEST_TASK 0x58u /* a second, 32-bit TSS */

#define GUEST_TRAP_CALL 0x74726170u

/* Page-table entry bits. */
#define PTE_P UINT64_C(1)
#define PTE_W UINT64_C(2)
#define PTE_U UINT64_C(4)
#define PTE_PS UINT64_C(0x80)
#define PTE_NX (UINT64_C(1) << 63)

struct guest_code {
	const uint8_t *begin, *end;
};

/* Assembles text (AT&T syntax, `;` between instructions) for `bits` 16, 32 or 64 as struct guest_code. */
#define GUEST_CODE_BLOB(name_, bits_, text_)                                                          \
	__asm__(".pushsection .rodata\n\t.code" #bits_ "\n" #name_ "_begin:\n" text_ "\n" #name_       \
		"_end:\n\t.code64\n\t.popsection\n");                                                  \
	extern const uint8_t name_##_begin[], name_##_end[];                                           \
	static const struct guest_code name_ = { name_##_begin, name_##_end }

/* What the guest's handlers record; stubs.S knows the layout. */
struct guest_trap {
	uint64_t count; /* traps so far */
	uint64_t vector, error_code, rip, cs, rflags, rsp, cr2;
	uint64_t frame; /* where the saved RIP stands on the guest's stack */
};

struct guest {
	struct x86vcpu_machine *machine;
	struct x86vcpu *vcpu;
	uint32_t id;
	enum guest_mode mode;
	bool user;
	uint8_t *ram;
	struct x86vcpu_nested_tables tables;
	struct x86vcpu_setup_config config; /* may be changed between guest_init and guest_start */
	struct x86vcpu_memory_region memory[1];
	struct x86vcpu_mmio_range mmio[1];
	struct x86vcpu_exit exit; /* of the last run */
	uint64_t runs;            /* calls of x86vcpu_run so far */
	uint64_t timer_exits;
};

/* Memory, tables and vCPU `id`, not yet set up. This CPU is in VMX operation afterwards. */
void guest_init(struct guest *g, uint32_t id);
/*
 * Another vCPU of the machine of `first`, `id` not its number: with the same memory and tables, which guest_start
 * of either writes anew.
 */
void guest_init_other(struct guest *g, const struct guest *first, uint32_t id);
/* Setup, bind, and a state that begins with `code`. With interrupts off, CPL 0 or 3. */
void guest_start(struct guest *g, enum guest_mode mode, const struct guest_code *code);
void guest_start_user(struct guest *g, enum guest_mode mode, const struct guest_code *code);
/* Leads `vector` of a 64-bit guest to `rip` instead of the handler that records. */
void guest_set_gate(struct guest *g, unsigned vector, uint64_t rip);
/* guest_init with vCPU 0, and guest_start. */
void guest_boot(struct guest *g, enum guest_mode mode, const struct guest_code *code);
/* Unbind and destroy, with everything that guest_init took. */
void guest_destroy(struct guest *g);

/*
 * Runs until an exit of `kind`, passing over time slices and host interrupts; any other exit fails
 * the test, as do too many runs.
 */
void guest_run_until(struct guest *g, uint32_t kind);
/* ... until its time slice is over. */
void guest_run_slice(struct guest *g);
/* ... until the guest's VMCALL with RAX = nr. */
void guest_run_call(struct guest *g, uint64_t nr);
/*
 * ... until a trap was recorded, which must be this one. rip 0: anywhere. RAX and RBX are the handler's
 * then; the guest's come back when it returns.
 */
const struct guest_trap *guest_run_trap(struct guest *g, unsigned vector, uint64_t error_code, uint64_t rip);
/* Lets the handler of the last trap return to `rip`. */
void guest_return_to(struct guest *g, uint64_t rip);

/* The address in the guest of a label in its code. */
uint64_t guest_label(const struct guest_code *code, const uint8_t *label);

uint64_t guest_reg(struct guest *g, unsigned index);
void guest_set_reg(struct guest *g, unsigned index, uint64_t value);
void guest_state(struct guest *g, struct x86vcpu_state *state);
uint64_t guest_rip(struct guest *g);
void guest_set_rflags(struct guest *g, uint64_t rflags);

/* The guest's memory. */
uint64_t guest_load(struct guest *g, uint64_t gpa, unsigned bytes);
void guest_store(struct guest *g, uint64_t gpa, unsigned bytes, uint64_t value);
const struct guest_trap *guest_record(struct guest *g);
/* The nested tables' view of one page of it. */
void guest_unmap(struct guest *g, uint64_t gpa);
void guest_map(struct guest *g, uint64_t gpa, uint32_t permissions);
/* The last-level entry of its own tables for an address below 2 MiB (PAE and 64-bit). */
void guest_set_pte(struct guest *g, uint64_t address, uint64_t entry);

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };

#endif
