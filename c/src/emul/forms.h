/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Instructions that a mandatory prefix or an opcode extension tells apart: moves of MMX, SSE and AVX registers, x87 loads
 * and stores, cache hints. The decoder's rows for their opcodes have the operation OP_FORM, and the form says the rest.
 */
#ifndef EMUL_FORMS_H
#define EMUL_FORMS_H

#include "emul/decode.h"

enum form_kind {
	FORM_NONE = 0,
	FORM_VECTOR_LOAD,     /* zero-extended to 128 bits, or as long as the vector */
	FORM_VECTOR_LOAD_LOW, /* bits 63:0; VEX takes 127:64 from a second register */
	FORM_VECTOR_LOAD_HIGH,
	FORM_VECTOR_REPEAT,       /* the operand in memory again and again */
	FORM_VECTOR_REPEAT_EVEN,  /* MOVSLDUP, MOVDDUP: elements of form.element bytes */
	FORM_VECTOR_REPEAT_ODD,   /* MOVSHDUP */
	FORM_VECTOR_STORE,
	FORM_VECTOR_STORE_HIGH,
	FORM_MMX_LOAD,
	FORM_MMX_STORE,
	FORM_LDMXCSR,
	FORM_STMXCSR,
	FORM_FLUSH, /* CLFLUSH, CLFLUSHOPT, CLWB: checked like a read of a byte */
	FORM_HINT,  /* faults never */
	FORM_X87_LOAD,
	FORM_X87_LOAD_INTEGER,
	FORM_X87_STORE,
	FORM_X87_STORE_INTEGER,
	FORM_X87_STORE_TRUNCATED, /* FISTTP */
	FORM_FLDCW,
	FORM_FNSTCW,
	FORM_FNSTSW,
};

#define FORM_ALIGNED (1u << 0) /* #GP(0) where the operand's address is not a multiple of its size */
#define FORM_VEX (1u << 1)     /* there is a form with VEX */
#define FORM_VEX_ONLY (1u << 2)  /* without it there is none, and VEX.W = 1 is #UD */
#define FORM_VEX_SHORT (1u << 3) /* VEX.L = 1 is #UD */
#define FORM_VEX_LONG (1u << 4)  /* VEX.L = 0 is #UD */
#define FORM_VVVV (1u << 5)      /* VEX.vvvv is a source; of the others it is 1111B */
#define FORM_WIDE_W (1u << 6)    /* the operand has 8 bytes with REX.W, or VEX.W in 64-bit mode */
#define FORM_POP (1u << 7)       /* of x87 stores */

#define FORM_ANY 0xffu

struct form {
	uint16_t opcode;  /* as decode.opcode has it */
	uint8_t prefix;   /* 0, 66H, F2H, F3H, or FORM_ANY */
	uint8_t extension; /* ModRM.reg, or FORM_ANY */
	uint8_t kind;
	uint8_t bytes;   /* of the operand in memory; 0: the vector's length */
	uint8_t flags;
	uint8_t element; /* of FORM_VECTOR_REPEAT_EVEN and _ODD */
};

/* What VEX told, or a legacy prefix. */
struct form_prefix {
	uint8_t mandatory; /* 0, 66H, F2H or F3H */
	bool vex, w;
	uint8_t length; /* of the vector: 16, or with VEX.L 32 */
};

/* Finds the form of *d and completes *d. DECODE_OK, DECODE_UNKNOWN or DECODE_UD. */
enum decode_status form_find(struct decode *d, const struct form_prefix *prefix);
/* That of an instruction with OP_FORM. */
const struct form *form_of(const struct decode *d);

#endif
