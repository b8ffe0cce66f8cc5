/* SPDX-License-Identifier: Apache-2.0 */
/* What the decoder finds out about an instruction, and what is remembered of instructions seen before. */
#ifndef EMUL_INSTRUCTION_H
#define EMUL_INSTRUCTION_H

#include <stdbool.h>
#include <stdint.h>

#define DECODE_NO_REGISTER 0xffu
#define DECODE_BASE_RIP 0x10u

struct decode {
	uint8_t length;
	uint8_t kind;      /* enum decode_kind */
	uint8_t operation; /* enum decode_operation, of DECODE_EXECUTE */
	uint16_t opcode; /* the first byte, or DECODE_0F | the second */
	uint8_t rex;     /* 0: none */
	uint8_t rep;     /* 0xf2, 0xf3 or 0: the last of them */
	bool lock;
	uint8_t operand_bytes; /* of the register operand: 1, 2, 4 or 8 */
	uint8_t memory_bytes;  /* of the r/m, moffs or string operand; 0: has none that is known here */
	uint8_t address_bytes; /* 2, 4 or 8 */

	bool has_modrm;
	bool has_memory; /* the effective address below is valid */
	uint8_t modrm;
	uint8_t reg;     /* ModRM.reg with REX.R, and 0 for moffs */
	uint8_t rm;      /* ModRM.rm with REX.B */
	uint8_t segment; /* of the memory operand, override and default considered; not of INS, which has ES */
	uint8_t base, index; /* DECODE_NO_REGISTER: none; base may be DECODE_BASE_RIP */
	uint8_t scale;        /* 0 to 3 */
	uint8_t form;         /* of OP_FORM: its number in emul/forms.c */
	uint8_t vector_bytes; /* of OP_FORM with VEX: 16 or 32; 0: without */
	uint8_t vvvv;         /* of VEX: the second source */
	uint64_t displacement; /* sign-extended; of moffs: the address */
	uint64_t immediate;    /* sign-extended */
};

/* The entries that a walk of 4 or 5 levels used: where they are, and what they were. */
struct paging_path {
	unsigned levels; /* 0: another kind of paging */
	uint64_t at[5], entry[5];
};

/*
 * An instruction in 64-bit mode, and all that fetching and decoding it depended on. It is good as long
 * as every bit of that is the same when it is looked at again; so nothing ever has to invalidate it.
 */
struct fetch_memo {
	uint64_t rip, cr0, cr3, cr4, efer;
	uint64_t cs, ss; /* access rights */
	struct paging_path path;
	uint64_t gpa; /* of `bytes` */
	uint64_t bytes[2];
	struct decode d;
};

#define FETCH_MEMOS 8u

#endif
