/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The instruction decoder: lengths and operands of the instructions that the library emulates or
 * skips (SDM Vol. 2, chapter 2 and appendix A). It calls all others unknown.
 */
#ifndef EMUL_DECODE_H
#define EMUL_DECODE_H

#include "emul/guest.h"
#include "emul/instruction.h"
#include "emul/paging.h"

#define DECODE_MAX_LENGTH 15u

/* decode.opcode of an instruction of the two-byte map: 0x0f00 and its second byte. */
#define DECODE_0F 0x0f00u
/* Of the map 0F 38: this and its third byte. */
#define DECODE_0F38 0x3800u

enum decode_status {
	DECODE_OK = 0,
	DECODE_UNKNOWN,   /* not in the table */
	DECODE_UD,        /* in the table, but this form raises #UD */
	DECODE_TOO_LONG,  /* more than 15 bytes: #GP(0) */
	DECODE_TRUNCATED, /* the bytes end before the instruction does */
	DECODE_FAULT,     /* fetching it raises an exception */
	DECODE_ABSENT,    /* there is no memory at its guest-physical address, or at a page table's */
};

/* What the table says of an instruction. */
enum decode_kind {
	DECODE_OTHER = 0, /* of the library's interest for its length only */
	DECODE_STORE,     /* MOV to r/m or moffs from a register */
	DECODE_STORE_IMMEDIATE,
	DECODE_LOAD, /* MOV to a register from r/m or moffs */
	DECODE_LOAD_ZERO_EXTEND,
	DECODE_LOAD_SIGN_EXTEND,
	DECODE_IN,
	DECODE_OUT,
	DECODE_INS,
	DECODE_OUTS,
	DECODE_MOV_CR, /* `reg` is the control register, `rm` the general one */
	DECODE_MOV_DR, /* the same of a debug register */
	DECODE_LMSW,
	DECODE_SMSW,
	DECODE_ALU,     /* ADD to CMP, TEST, NOT, NEG, INC, DEC with r/m: alu.h */
	DECODE_EXECUTE, /* decode.operation says what it does */
};

/* Operations of DECODE_EXECUTE: execute.c has a function for each. */
enum decode_operation {
	OP_NONE = 0,
	OP_XCHG,
	OP_XADD,
	OP_CMPXCHG,
	OP_CMPXCHG_PAIR, /* CMPXCHG8B, CMPXCHG16B */
	OP_SHIFT,        /* ROL to SAR */
	OP_SHIFT_DOUBLE, /* SHLD, SHRD */
	OP_BIT,          /* BT, BTS, BTR, BTC */
	OP_BIT_SCAN,     /* BSF, BSR, TZCNT, LZCNT */
	OP_POPCNT,
	OP_IMUL, /* of two or three operands */
	OP_MULTIPLY_DIVIDE,
	OP_SETCC,
	OP_CMOVCC,
	OP_MOVBE,
	OP_MOVNTI,
	OP_MOV_FROM_SEGMENT,
	OP_MOV_TO_SEGMENT,
	OP_FORM, /* emul/forms.c */
	OP_XLAT,
	OP_PUSH,
	OP_POP,
	OP_CALL,
	OP_JMP,
	OP_MOVS,
	OP_CMPS,
	OP_STOS,
	OP_LODS,
	OP_SCAS,
	OP_COUNT
};

/*
 * Decodes the instruction at `bytes`, of which `count` are there, for a default address size of `mode`
 * bytes: 2, 4, or 8 for 64-bit mode. On DECODE_OK all of *d is valid, else nothing.
 */
enum decode_status decode_bytes(struct decode *d, const uint8_t *bytes, unsigned count, unsigned mode);

/*
 * Fetches and decodes the instruction at CS:RIP (fetch.c): a walk and a copy per page that it touches.
 * *fault is valid after DECODE_FAULT and DECODE_ABSENT.
 */
enum decode_status decode_at_rip(struct guest *g, struct decode *d, struct paging_fault *fault);

/* Fetches up to 15 bytes at CS:RIP. Returns how many there are before the first one that cannot be fetched. */
unsigned decode_bytes_at_rip(struct guest *g, uint8_t bytes[DECODE_MAX_LENGTH]);

/* The offset in its segment that the memory operand has, cut to the address size. RIP is the instruction's. */
uint64_t decode_offset(struct guest *g, const struct decode *d);

/* Whether the 8-bit register `number` is AH, CH, DH or BH (SDM Vol. 2, table 3-1). */
bool decode_is_high_byte(const struct decode *d, unsigned number);

#endif
