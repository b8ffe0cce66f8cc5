/* SPDX-License-Identifier: Apache-2.0 */
/* See alu.h. */
#include "emul/alu.h"

#include "cpu/x86.h"

#define STATUS_FLAGS (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)

enum alu_operation alu_operation(const struct decode *d)
{
	static const uint8_t group3[8] = {ALU_TEST, ALU_TEST, ALU_NOT, ALU_NEG};
	const unsigned extension = d->modrm >> 3 & 7;

	switch (d->opcode) {
	case 0x80:
	case 0x81:
	case 0x83:
		return (enum alu_operation)extension;
	case 0x84:
	case 0x85:
		return ALU_TEST;
	case 0xf6:
	case 0xf7:
		return (enum alu_operation)group3[extension];
	case 0xfe:
	case 0xff:
		return extension ? ALU_DEC : ALU_INC;
	default:
		return (enum alu_operation)(d->opcode >> 3);
	}
}

bool alu_to_register(const struct decode *d)
{
	return d->opcode < 0x40 && d->opcode & 2;
}

/* Even parity of the low byte. */
static uint64_t parity(uint64_t value)
{
	value ^= value >> 4;
	return 0x9669u >> (value & 15) & 1 ? RFLAGS_PF : 0;
}

static uint64_t flags_of(uint64_t result, uint64_t sign)
{
	return (result ? 0 : RFLAGS_ZF) | (result & sign ? RFLAGS_SF : 0) | parity(result);
}

struct sum {
	uint64_t result;
	uint64_t carries; /* out of each bit; borrows of a subtraction */
};

static struct sum add(uint64_t a, uint64_t b, bool carry)
{
	const uint64_t result = a + b + carry;

	return (struct sum){result, (a & b) | ((a | b) & ~result)};
}

static struct sum subtract(uint64_t a, uint64_t b, bool borrow)
{
	const uint64_t result = a - b - borrow;

	return (struct sum){result, (~a & b) | ((~a | b) & result)};
}

/* Overflow is a carry into the sign bit without one out of it, or the other way round. */
static uint64_t sum_flags(uint64_t carries, uint64_t sign)
{
	const bool out = carries & sign, in = carries & sign >> 1;

	return (out ? RFLAGS_CF : 0) | (out != in ? RFLAGS_OF : 0) | (carries & 8 ? RFLAGS_AF : 0);
}

static uint64_t logic(enum alu_operation operation, uint64_t a, uint64_t b)
{
	switch (operation) {
	case ALU_OR:
		return a | b;
	case ALU_XOR:
		return a ^ b;
	default:
		return a & b;
	}
}

static struct sum arithmetic(enum alu_operation operation, uint64_t a, uint64_t b, bool carry)
{
	switch (operation) {
	case ALU_ADD:
		return add(a, b, false);
	case ALU_ADC:
		return add(a, b, carry);
	case ALU_SBB:
		return subtract(a, b, carry);
	case ALU_NEG:
		return subtract(0, a, false);
	case ALU_INC:
		return add(a, 1, false);
	case ALU_DEC:
		return subtract(a, 1, false);
	default:
		return subtract(a, b, false);
	}
}

uint64_t alu_compute(enum alu_operation operation, unsigned bytes, uint64_t a, uint64_t b, uint64_t *rflags)
{
	const uint64_t sign = UINT64_C(1) << (8 * bytes - 1), mask = sign | (sign - 1);
	uint64_t result, flags = 0, kept = 0;
	struct sum sum;

	a &= mask;
	b &= mask;
	switch (operation) {
	case ALU_NOT:
		return ~a & mask;
	case ALU_OR:
	case ALU_AND:
	case ALU_XOR:
	case ALU_TEST:
		result = logic(operation, a, b);
		break;
	default:
		sum = arithmetic(operation, a, b, *rflags & RFLAGS_CF);
		result = sum.result & mask;
		flags = sum_flags(sum.carries, sign);
		kept = operation == ALU_INC || operation == ALU_DEC ? RFLAGS_CF : 0;
	}
	flags |= flags_of(result, sign);
	*rflags = (*rflags & (~STATUS_FLAGS | kept)) | (flags & ~kept);
	return result;
}
