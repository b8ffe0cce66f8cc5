/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guests that run on either library. A boot runs one guest on one of them and prints what happened in lines that
 * begin with "T "; the script `run` compares those of two boots.
 */
#ifndef BOTH_H
#define BOTH_H

#include "metal.h"

/* Guest-physical layout. */
#define LAYOUT_GDTR 0x0ff0u /* what LGDT loads */
#define LAYOUT_GDT 0x1000u
#define LAYOUT_HANDLERS 0x6000u /* of the real-mode interrupt table, 16 bytes each */
#define LAYOUT_CODE 0x8000u
#define LAYOUT_STACK 0xf000u /* top */
#define LAYOUT_DATA 0x12000u
#define LAYOUT_PML4 0x20000u
#define LAYOUT_PDPT 0x21000u
#define LAYOUT_PD 0x22000u /* four, for 4 GiB */
#define LAYOUT_RAM 0x400000u
#define LAYOUT_MMIO 0x800000u
#define LAYOUT_MMIO_SIZE 0x2000u
#define LAYOUT_HOLE 0xa00000u
#define LAYOUT_PORT 0x500u
#define LAYOUT_PORTS 16u

/* Hypercalls with a meaning: the guest's end, and a trap, whose vector is in RDI. */
#define CALL_END 0xdeadu
#define CALL_TRAP 0x74726170u

/* An exit in words, as crate/src/lib.rs describes it. */
struct exit_words {
	uint32_t kind; /* enum x86vcpu_exit_kind */
	uint64_t words[8];
};

/* A library. Errors of `run` are the library's own numbers. */
struct side {
	const char *name;
	void (*start)(uint64_t root_hpa, uint8_t *ram);
	int32_t (*run)(struct exit_words *exit);
	uint64_t (*gpr)(unsigned number);
	void (*set_gpr)(unsigned number, uint64_t value);
	/* Answers the read that the last exit asks for, as its VMM does. */
	void (*answer)(const struct exit_words *exit, uint64_t value);
	int32_t (*inject)(uint32_t vector);
	int32_t (*complete_string)(void);
	void (*stop)(void);
};

extern const struct side ours, theirs;

struct guest_program {
	const uint8_t *begin, *end;
	uint32_t inject; /* a vector to inject after the first hypercall, or 0 */
	uint32_t quiet;  /* 1: no pictures, only how long the runs take */
};

/* drive.c */
void drive(const struct side *side, const struct guest_program *program);
bool drive_is_svm(void);
extern uint8_t *drive_ram;
extern uint64_t drive_root;

/* trace.c */
void host_paint_all(void);
void trace_host(const char *when);
void trace_exit(const struct side *side, const struct exit_words *exit);

#endif
