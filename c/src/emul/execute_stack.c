/* SPDX-License-Identifier: Apache-2.0 */
/* The stack, and branches through memory. See operations.h. */
#include "emul/operations.h"

#include "emul/paging.h"

/* Bytes of the stack pointer (SDM Vol. 1, 6.2.3). */
static unsigned stack_bytes(struct guest *g)
{
	if (guest_in_64bit_mode(g))
		return 8;
	return guest_get(g, G_ACCESS + X86VCPU_SEGMENT_SS) & AR_D ? 4 : 2;
}

/* RSP moved by `by`; with a 16-bit stack SP wraps and the rest stays. */
static uint64_t stack_moved(struct guest *g, uint64_t by)
{
	const unsigned bytes = stack_bytes(g);
	const uint64_t mask = ~UINT64_C(0) >> (64 - 8 * bytes);

	return (guest_get(g, G_RSP) + by) & mask;
}

static int push(struct execution *x, uint64_t value)
{
	const unsigned bytes = x->d->operand_bytes;
	const uint64_t top = stack_moved(x->g, -(uint64_t)bytes);
	struct operand memory;
	int result = operand_locate(x, X86VCPU_SEGMENT_SS, top, bytes, true, &memory);

	if (result == EMUL_NEXT)
		result = operand_store_value(x, &memory, value);
	if (result == EMUL_NEXT)
		operand_set_register(x, RSP, stack_bytes(x->g), top);
	return result;
}

/* The register that the opcode names, with REX.B. */
static unsigned opcode_register(const struct execution *x)
{
	return (x->d->opcode & 7) | (x->d->rex & 1) << 3;
}

int execute_push(struct execution *x)
{
	const struct decode *d = x->d;
	uint64_t value;
	int result;

	if (d->opcode == 0x68 || d->opcode == 0x6a)
		return push(x, d->immediate);
	if (!d->has_memory)
		return push(x, operand_register(x, opcode_register(x), d->operand_bytes));
	result = operand_read(x, &value);
	return result == EMUL_NEXT ? push(x, value) : result;
}

/* An address that is based on RSP has the value after the pop. */
static uint64_t pop_destination(struct execution *x)
{
	const struct decode *d = x->d;
	const uint64_t offset = decode_offset(x->g, d) + (d->base == RSP ? d->operand_bytes : 0);

	return offset & (~UINT64_C(0) >> (64 - 8 * d->address_bytes));
}

/* POP of RSP leaves what was popped. */
static int pop_register(struct execution *x, const struct operand *top)
{
	const unsigned bytes = x->d->operand_bytes;
	uint64_t value;
	const int result = operand_load_value(x, top, &value);

	if (result != EMUL_NEXT)
		return result;
	operand_set_register(x, RSP, stack_bytes(x->g), stack_moved(x->g, bytes));
	operand_set_register(x, opcode_register(x), bytes, value);
	return EMUL_NEXT;
}

int execute_pop(struct execution *x)
{
	const unsigned bytes = x->d->operand_bytes;
	struct operand top, memory;
	uint64_t value;
	int result = operand_locate(x, X86VCPU_SEGMENT_SS, stack_moved(x->g, 0), bytes, false, &top);

	if (!x->d->has_memory)
		return result == EMUL_NEXT ? pop_register(x, &top) : result;
	if (result == EMUL_NEXT)
		result = operand_locate(x, x->d->segment, pop_destination(x), bytes, true, &memory);
	if (result == EMUL_NEXT)
		result = operand_load_value(x, &top, &value);
	if (result == EMUL_NEXT)
		result = operand_store_value(x, &memory, value);
	if (result == EMUL_NEXT)
		operand_set_register(x, RSP, stack_bytes(x->g), stack_moved(x->g, bytes));
	return result;
}

/* A target outside the segment or not canonical raises #GP before anything changes. */
static int branch(struct execution *x, uint64_t target)
{
	struct guest *g = x->g;

	if (!paging_canonical(g, target) ||
	    (!guest_in_64bit_mode(g) && target > guest_get(g, G_LIMIT + X86VCPU_SEGMENT_CS))) {
		guest_raise(g, VECTOR_GP, true, 0);
		return EMUL_RESUME;
	}
	x->branches = true;
	x->rip = target;
	return EMUL_NEXT;
}

int execute_jmp(struct execution *x)
{
	uint64_t target;
	const int result = operand_read(x, &target);

	return result == EMUL_NEXT ? branch(x, target) : result;
}

int execute_call(struct execution *x)
{
	uint64_t target;
	int result = operand_read(x, &target);

	if (result == EMUL_NEXT)
		result = branch(x, target);
	return result == EMUL_NEXT ? push(x, guest_wrap_ip(x->g, guest_get(x->g, G_RIP) + x->d->length)) : result;
}
