/* SPDX-License-Identifier: Apache-2.0 */
/* See execute.h. */
#include "emul/execute.h"

#include "emul/operations.h"

typedef int operation(struct execution *x);

static operation *const operations[OP_COUNT] = {
	[OP_XCHG] = execute_xchg,
	[OP_XADD] = execute_xadd,
	[OP_CMPXCHG] = execute_cmpxchg,
	[OP_CMPXCHG_PAIR] = execute_cmpxchg_pair,
	[OP_SHIFT] = execute_shift,
	[OP_SHIFT_DOUBLE] = execute_shift_double,
	[OP_BIT] = execute_bit,
	[OP_BIT_SCAN] = execute_bit_scan,
	[OP_POPCNT] = execute_popcnt,
	[OP_IMUL] = execute_imul,
	[OP_MULTIPLY_DIVIDE] = execute_multiply_divide,
	[OP_SETCC] = execute_setcc,
	[OP_CMOVCC] = execute_cmovcc,
	[OP_MOVBE] = execute_movbe,
	[OP_MOVNTI] = execute_store,
	[OP_MOV_FROM_SEGMENT] = execute_mov_from_segment,
	[OP_MOV_TO_SEGMENT] = execute_mov_to_segment,
	[OP_FORM] = execute_form,
	[OP_XLAT] = execute_xlat,
	[OP_PUSH] = execute_push,
	[OP_POP] = execute_pop,
	[OP_CALL] = execute_call,
	[OP_JMP] = execute_jmp,
	[OP_MOVS] = execute_movs,
	[OP_CMPS] = execute_cmps,
	[OP_STOS] = execute_stos,
	[OP_LODS] = execute_lods,
	[OP_SCAS] = execute_scas,
};

static operation *const kinds[] = {
	[DECODE_STORE] = execute_store,
	[DECODE_STORE_IMMEDIATE] = execute_store_immediate,
	[DECODE_LOAD] = execute_load,
	[DECODE_LOAD_ZERO_EXTEND] = execute_load,
	[DECODE_LOAD_SIGN_EXTEND] = execute_load,
	[DECODE_ALU] = execute_alu,
	[DECODE_EXECUTE] = NULL,
};

static operation *operation_of(const struct decode *d)
{
	if (d->kind == DECODE_EXECUTE)
		return operations[d->operation];
	return d->kind < DECODE_EXECUTE ? kinds[d->kind] : NULL;
}

/* Operands in memory that ModRM does not name: those of strings, XLAT, and the stack. */
static bool is_implicit(const struct decode *d)
{
	if (d->kind != DECODE_EXECUTE)
		return false;
	return d->operation >= OP_MOVS || d->operation == OP_XLAT ||
	       ((d->operation == OP_PUSH || d->operation == OP_POP) && !d->has_modrm);
}

bool execute_knows(struct guest *g, const struct decode *d)
{
	if (!operation_of(d) || (!d->has_memory && !is_implicit(d)))
		return false;
	if (d->kind == DECODE_EXECUTE && d->operation == OP_MOV_TO_SEGMENT)
		return !guest_in_protected_mode(g) || guest_get(g, G_RFLAGS) & RFLAGS_VM;
	return true;
}

int execute(struct guest *g, const struct decode *d)
{
	struct execution x = {.g = g, .d = d};
	int result;

	x.rflags = guest_get(g, G_RFLAGS);
	result = operation_of(d)(&x);
	if (result == EMUL_NEXT)
		return execution_commit(&x);
	/* Another attempt is only made of one that waits for the VMM. */
	if (g->open != GUEST_OPEN_MMIO_READ) {
		g->emulation.active = false;
		g->emulation.reads = 0;
	}
	return result;
}
