/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operations of the decoder's rows, a page of SDM Vol. 2 each. They return EMUL_NEXT, or what the attempt ends with:
 * see operand.h.
 */
#ifndef EMUL_OPERATIONS_H
#define EMUL_OPERATIONS_H

#include "emul/finish.h"
#include "emul/operand.h"

/* General registers as instructions number them. */
#define RAX 0u
#define RCX 1u
#define RDX 2u
#define RBX 3u
#define RSP 4u
#define RSI 6u
#define RDI 7u

/* The opcode extension of a group, ModRM.reg without REX.R. */
static inline unsigned execution_extension(const struct execution *x)
{
	return x->d->modrm >> 3 & 7;
}

/* execute_move.c */
int execute_load(struct execution *x);
int execute_store(struct execution *x);
int execute_store_immediate(struct execution *x);
int execute_movbe(struct execution *x);
int execute_cmovcc(struct execution *x);
int execute_setcc(struct execution *x);
int execute_xlat(struct execution *x);
int execute_mov_from_segment(struct execution *x);
int execute_mov_to_segment(struct execution *x);

/* execute_arithmetic.c */
int execute_alu(struct execution *x);
int execute_shift(struct execution *x);
int execute_shift_double(struct execution *x);
int execute_imul(struct execution *x);
int execute_multiply_divide(struct execution *x);
int execute_bit(struct execution *x);
int execute_bit_scan(struct execution *x);
int execute_popcnt(struct execution *x);
int execute_xchg(struct execution *x);
int execute_xadd(struct execution *x);
int execute_cmpxchg(struct execution *x);
int execute_cmpxchg_pair(struct execution *x);

/* execute_stack.c */
int execute_push(struct execution *x);
int execute_pop(struct execution *x);
int execute_jmp(struct execution *x);
int execute_call(struct execution *x);

/* execute_string.c */
int execute_movs(struct execution *x);
int execute_stos(struct execution *x);
int execute_lods(struct execution *x);
int execute_cmps(struct execution *x);
int execute_scas(struct execution *x);
/* execute_forms.c */
int execute_form(struct execution *x);

#endif
