/* SPDX-License-Identifier: Apache-2.0 */
/* Moves between a register and an operand in memory. See operations.h. */
#include "emul/operations.h"

#include "emul/alu.h"

int execute_load(struct execution *x)
{
	const unsigned unused = 64 - 8u * x->d->memory_bytes;
	uint64_t value;
	const int result = operand_read(x, &value);

	if (result != EMUL_NEXT)
		return result;
	if (x->d->kind == DECODE_LOAD_SIGN_EXTEND)
		value = (uint64_t)((int64_t)(value << unused) >> unused);
	return operand_set_destination(x, value);
}

int execute_store(struct execution *x)
{
	return operand_write(x, operand_register(x, x->d->reg, x->d->operand_bytes));
}

int execute_store_immediate(struct execution *x)
{
	return operand_write(x, x->d->immediate);
}

static uint64_t swap_bytes(uint64_t value, unsigned bytes)
{
	return __builtin_bswap64(value) >> (64 - 8 * bytes);
}

int execute_movbe(struct execution *x)
{
	const unsigned bytes = x->d->operand_bytes;
	uint64_t value;
	int result;

	if (x->d->opcode & 1)
		return operand_write(x, swap_bytes(operand_register(x, x->d->reg, bytes), bytes));
	result = operand_read(x, &value);
	return result == EMUL_NEXT ? operand_set_destination(x, swap_bytes(value, bytes)) : result;
}

int execute_cmovcc(struct execution *x)
{
	uint64_t value;
	const int result = operand_read(x, &value);

	if (result != EMUL_NEXT)
		return result;
	/* Without the condition a 32-bit destination still loses bits 63:32. */
	if (!alu_condition(x->d->opcode & 0xf, x->rflags))
		value = operand_register(x, x->d->reg, x->d->operand_bytes);
	return operand_set_destination(x, value);
}

int execute_setcc(struct execution *x)
{
	return operand_write(x, alu_condition(x->d->opcode & 0xf, x->rflags));
}

int execute_xlat(struct execution *x)
{
	const unsigned address = x->d->address_bytes;
	const uint64_t al = operand_register(x, RAX, 1);
	const uint64_t offset = operand_register(x, RBX, address) + al;
	struct operand memory;
	uint64_t value;
	int result;

	result = operand_locate(x, x->d->segment, offset & (~UINT64_C(0) >> (64 - 8 * address)), 1, false, &memory);
	if (result == EMUL_NEXT)
		result = operand_load_value(x, &memory, &value);
	if (result == EMUL_NEXT)
		operand_set_register(x, RAX, 1, value);
	return result;
}

/* ---- Segment registers --------------------------------------------------------------------------------------- */

int execute_mov_from_segment(struct execution *x)
{
	return operand_write(x, guest_get(x->g, G_SELECTOR + x->d->reg));
}

/* In real-address and virtual-8086 mode only: a selector is a base there. */
int execute_mov_to_segment(struct execution *x)
{
	uint64_t selector;
	const int result = operand_read(x, &selector);

	if (result != EMUL_NEXT)
		return result;
	guest_set(x->g, G_SELECTOR + x->d->reg, selector);
	guest_set(x->g, G_BASE + x->d->reg, selector << 4);
	x->shadow = x->d->reg == X86VCPU_SEGMENT_SS;
	return EMUL_NEXT;
}
