/* SPDX-License-Identifier: Apache-2.0 */
/* String instructions, with their prefixes. See operations.h. */
#include "emul/operations.h"

#include "emul/alu.h"

static uint64_t index_of(struct execution *x, unsigned number)
{
	return operand_register(x, number, x->d->address_bytes);
}

static int locate_source(struct execution *x, struct operand *source)
{
	return operand_locate(x, x->d->segment, index_of(x, RSI), x->d->operand_bytes, false, source);
}

static int locate_destination(struct execution *x, bool write, struct operand *destination)
{
	return operand_locate(x, X86VCPU_SEGMENT_ES, index_of(x, RDI), x->d->operand_bytes, write, destination);
}

static void step(struct execution *x, unsigned number)
{
	const uint64_t by = x->rflags & RFLAGS_DF ? -(uint64_t)x->d->operand_bytes : x->d->operand_bytes;

	operand_set_register(x, number, x->d->address_bytes, index_of(x, number) + by);
}

static int string_movs(struct execution *x)
{
	struct operand source, destination;
	uint64_t value;
	int result = locate_source(x, &source);

	if (result == EMUL_NEXT)
		result = locate_destination(x, true, &destination);
	if (result == EMUL_NEXT)
		result = operand_load_value(x, &source, &value);
	if (result == EMUL_NEXT)
		result = operand_store_value(x, &destination, value);
	step(x, RSI);
	step(x, RDI);
	return result;
}

static int string_stos(struct execution *x)
{
	struct operand destination;
	int result = locate_destination(x, true, &destination);

	if (result == EMUL_NEXT)
		result = operand_store_value(x, &destination, operand_register(x, RAX, x->d->operand_bytes));
	step(x, RDI);
	return result;
}

static int string_lods(struct execution *x)
{
	struct operand source;
	uint64_t value;
	int result = locate_source(x, &source);

	if (result == EMUL_NEXT)
		result = operand_load_value(x, &source, &value);
	if (result == EMUL_NEXT)
		operand_set_register(x, RAX, x->d->operand_bytes, value);
	step(x, RSI);
	return result;
}

static int string_cmps(struct execution *x)
{
	struct operand source, destination;
	uint64_t a, b;
	int result = locate_source(x, &source);

	if (result == EMUL_NEXT)
		result = locate_destination(x, false, &destination);
	if (result == EMUL_NEXT)
		result = operand_load_value(x, &source, &a);
	if (result == EMUL_NEXT)
		result = operand_load_value(x, &destination, &b);
	if (result == EMUL_NEXT)
		alu_compute(ALU_CMP, x->d->operand_bytes, a, b, &x->rflags);
	step(x, RSI);
	step(x, RDI);
	return result;
}

static int string_scas(struct execution *x)
{
	struct operand destination;
	uint64_t value;
	int result = locate_destination(x, false, &destination);

	if (result == EMUL_NEXT)
		result = operand_load_value(x, &destination, &value);
	if (result == EMUL_NEXT)
		alu_compute(ALU_CMP, x->d->operand_bytes, operand_register(x, RAX, x->d->operand_bytes), value, &x->rflags);
	step(x, RDI);
	return result;
}

/* REPE (F3) ends at a difference, REPNE (F2) at an equality; with the others both just repeat. */
static bool condition_ends(const struct execution *x)
{
	const bool compares = x->d->operation == OP_CMPS || x->d->operation == OP_SCAS;
	const bool equal = x->rflags & RFLAGS_ZF;

	return compares && equal != (x->d->rep == 0xf3);
}

/*
 * One iteration. The guest enters the instruction again for the next one, so that events and the end of a time slice come
 * between two iterations, as they do on a CPU.
 */
static int repeat(struct execution *x, int (*element)(struct execution *x))
{
	const uint64_t count = index_of(x, RCX);
	int result;

	if (!x->d->rep)
		return element(x);
	if (!count)
		return EMUL_NEXT;
	result = element(x);
	operand_set_register(x, RCX, x->d->address_bytes, count - 1);
	x->again = count != 1 && !condition_ends(x);
	return result;
}

int execute_movs(struct execution *x)
{
	return repeat(x, string_movs);
}

int execute_stos(struct execution *x)
{
	return repeat(x, string_stos);
}

int execute_lods(struct execution *x)
{
	return repeat(x, string_lods);
}

int execute_cmps(struct execution *x)
{
	return repeat(x, string_cmps);
}

int execute_scas(struct execution *x)
{
	return repeat(x, string_scas);
}
