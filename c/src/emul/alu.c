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

/* ---- Shifts ------------------------------------------------------------------------------------------------ */

static uint64_t sign_of(unsigned bytes)
{
	return UINT64_C(1) << (8 * bytes - 1);
}

static uint64_t mask_of(unsigned bytes)
{
	return ~UINT64_C(0) >> (64 - 8 * bytes);
}

/* One bit to the left, with what comes in at the bottom. */
static uint64_t left(uint64_t a, uint64_t sign, bool in, bool *carry, bool *overflow)
{
	const uint64_t result = (a << 1 | in) & (sign | (sign - 1));

	*carry = a & sign;
	*overflow = (result & sign) != 0;
	*overflow ^= *carry;
	return result;
}

/* One bit to the right, with what comes in at the top. */
static uint64_t right(uint64_t a, uint64_t sign, bool in, bool *carry, bool *overflow)
{
	const uint64_t result = a >> 1 | (in ? sign : 0);

	*carry = a & 1;
	*overflow = ((result ^ a) & sign) != 0;
	return result;
}

static uint64_t shift_once(unsigned operation, uint64_t a, uint64_t sign, bool *carry, bool *overflow)
{
	switch (operation) {
	case 0:
		return left(a, sign, a & sign, carry, overflow);
	case 1:
		return right(a, sign, a & 1, carry, overflow);
	case 2:
		return left(a, sign, *carry, carry, overflow);
	case 3:
		return right(a, sign, *carry, carry, overflow);
	case 5:
		return right(a, sign, false, carry, overflow);
	case 7:
		return right(a, sign, a & sign, carry, overflow);
	default:
		return left(a, sign, false, carry, overflow);
	}
}

static void set_carry_and_overflow(uint64_t *rflags, bool carry, bool overflow)
{
	*rflags &= ~(RFLAGS_CF | RFLAGS_OF);
	*rflags |= (carry ? RFLAGS_CF : 0) | (overflow ? RFLAGS_OF : 0);
}

static void set_result_flags(uint64_t *rflags, uint64_t result, uint64_t sign)
{
	*rflags &= ~(RFLAGS_PF | RFLAGS_ZF | RFLAGS_SF);
	*rflags |= flags_of(result, sign);
}

uint64_t alu_shift(unsigned operation, unsigned bytes, uint64_t a, unsigned count, uint64_t *rflags)
{
	const uint64_t sign = sign_of(bytes);
	bool carry = *rflags & RFLAGS_CF, overflow = *rflags & RFLAGS_OF;

	a &= mask_of(bytes);
	count &= bytes == 8 ? 63 : 31;
	if (!count)
		return a;
	for (; count; count--)
		a = shift_once(operation, a, sign, &carry, &overflow);
	set_carry_and_overflow(rflags, carry, overflow);
	/* Rotations change CF and OF only. */
	if (operation >= 4)
		set_result_flags(rflags, a, sign);
	return a;
}

uint64_t alu_shift_double(bool to_right, unsigned bytes, uint64_t a, uint64_t b, unsigned count, uint64_t *rflags)
{
	const uint64_t sign = sign_of(bytes);
	bool carry = false, overflow = false;

	a &= mask_of(bytes);
	b &= mask_of(bytes);
	count &= bytes == 8 ? 63 : 31;
	if (!count)
		return a;
	for (; count; count--) {
		a = to_right ? right(a, sign, b & 1, &carry, &overflow) : left(a, sign, b & sign, &carry, &overflow);
		b = to_right ? b >> 1 : b << 1;
	}
	set_carry_and_overflow(rflags, carry, overflow);
	set_result_flags(rflags, a, sign);
	return a;
}

/* ---- Multiplication and division ---------------------------------------------------------------------------- */

__extension__ typedef unsigned __int128 uint128;
__extension__ typedef __int128 int128;

static int64_t extend(uint64_t value, unsigned bytes)
{
	return (int64_t)(value << (64 - 8 * bytes)) >> (64 - 8 * bytes);
}

struct alu_pair alu_multiply(bool is_signed, unsigned bytes, uint64_t a, uint64_t b, uint64_t *rflags)
{
	const uint64_t mask = mask_of(bytes);
	const uint128 product = is_signed ? (uint128)((int128)extend(a, bytes) * extend(b, bytes))
					  : (uint128)(a & mask) * (b & mask);
	const struct alu_pair result = {(uint64_t)product & mask, (uint64_t)(product >> 8 * bytes) & mask};
	const bool sign = is_signed && result.low & sign_of(bytes);
	const bool significant = result.high != (sign ? mask : 0);

	set_carry_and_overflow(rflags, significant, significant);
	return result;
}

static uint128 dividend_of(bool is_signed, unsigned bytes, struct alu_pair pair, bool *negative)
{
	uint128 value = (uint128)(pair.high & mask_of(bytes)) << 8 * bytes | (pair.low & mask_of(bytes));

	*negative = is_signed && pair.high & sign_of(bytes);
	if (*negative)
		value = ((uint128)(pair.high | ~mask_of(bytes)) << 8 * bytes) | (pair.low & mask_of(bytes));
	if (*negative && bytes < 8)
		value |= ~(uint128)0 << 16 * bytes;
	return *negative ? -value : value;
}

/*
 * high:low / divisor, bit by bit: compilers would call a function for 128 bits, and the instruction's #DE must not be the
 * host's. high < divisor.
 */
static uint64_t divide(uint64_t high, uint64_t low, uint64_t divisor, uint64_t *rest)
{
	for (unsigned i = 0; i < 64; i++) {
		const bool carry = high >> 63;

		high = high << 1 | low >> 63;
		low <<= 1;
		if (carry || high >= divisor) {
			high -= divisor;
			low |= 1;
		}
	}
	*rest = high;
	return low;
}

bool alu_divide(bool is_signed, unsigned bytes, struct alu_pair pair, uint64_t divisor, struct alu_pair *result)
{
	const bool negative_divisor = is_signed && divisor & sign_of(bytes);
	const uint64_t by = negative_divisor ? -(uint64_t)extend(divisor, bytes) : divisor & mask_of(bytes);
	bool negative;
	const uint128 dividend = dividend_of(is_signed, bytes, pair, &negative);
	uint64_t quotient, rest, limit = mask_of(bytes);

	if ((uint64_t)(dividend >> 64) >= by)
		return false;
	quotient = divide((uint64_t)(dividend >> 64), (uint64_t)dividend, by, &rest);
	if (is_signed)
		limit = sign_of(bytes) - (negative == negative_divisor);
	if (quotient > limit)
		return false;
	result->low = (negative != negative_divisor ? -quotient : quotient) & mask_of(bytes);
	result->high = (negative ? -rest : rest) & mask_of(bytes);
	return true;
}

/* ---- Bits --------------------------------------------------------------------------------------------------- */

uint64_t alu_scan(enum alu_scan kind, unsigned bytes, uint64_t a, uint64_t *rflags)
{
	const unsigned bits = 8 * bytes;
	uint64_t result = bits;

	a &= mask_of(bytes);
	if (a && (kind == ALU_BSF || kind == ALU_TZCNT))
		result = (unsigned)__builtin_ctzll(a);
	else if (a)
		result = 63u - (unsigned)__builtin_clzll(a);
	if (a && kind == ALU_LZCNT)
		result = bits - 1 - result;
	*rflags &= ~(RFLAGS_ZF | (kind >= ALU_TZCNT ? RFLAGS_CF : 0));
	if (kind >= ALU_TZCNT)
		*rflags |= (a ? 0 : RFLAGS_CF) | (result ? 0 : RFLAGS_ZF);
	else
		*rflags |= a ? 0 : RFLAGS_ZF;
	return result;
}

uint64_t alu_popcnt(unsigned bytes, uint64_t a, uint64_t *rflags)
{
	uint64_t count = 0;

	for (a &= mask_of(bytes); a; a &= a - 1)
		count++;
	*rflags &= ~STATUS_FLAGS;
	*rflags |= count ? 0 : RFLAGS_ZF;
	return count;
}

bool alu_condition(unsigned code, uint64_t rflags)
{
	const bool less = !(rflags & RFLAGS_SF) != !(rflags & RFLAGS_OF);
	bool met;

	switch (code >> 1 & 7) {
	case 0:
		met = rflags & RFLAGS_OF;
		break;
	case 1:
		met = rflags & RFLAGS_CF;
		break;
	case 2:
		met = rflags & RFLAGS_ZF;
		break;
	case 3:
		met = rflags & (RFLAGS_CF | RFLAGS_ZF);
		break;
	case 4:
		met = rflags & RFLAGS_SF;
		break;
	case 5:
		met = rflags & RFLAGS_PF;
		break;
	case 6:
		met = less;
		break;
	default:
		met = less || rflags & RFLAGS_ZF;
	}
	return met != (code & 1);
}
