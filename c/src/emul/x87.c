/* SPDX-License-Identifier: Apache-2.0 */
/* See x87.h. */
#include "emul/x87.h"

#define INTEGER_BIT (UINT64_C(1) << 63)
#define QUIET_BIT (UINT64_C(1) << 62)
#define SIGN 0x8000u
#define EXPONENT_MAX 0x7fffu
#define BIAS 16383

/* Single and double precision. */
struct format {
	unsigned fraction, exponent; /* bits */
	int bias;
};

static struct format format_of(unsigned bytes)
{
	return bytes == 4 ? (struct format){23, 8, 127} : (struct format){52, 11, 1023};
}

static uint64_t exponent_max(struct format f)
{
	return (UINT64_C(1) << f.exponent) - 1;
}

/* ---- Loads -------------------------------------------------------------------------------------------------- */

static struct x87_value normalise(uint64_t significand, int exponent, uint16_t sign)
{
	const unsigned shift = (unsigned)__builtin_clzll(significand);

	return (struct x87_value){significand << shift, (uint16_t)(sign | (exponent - (int)shift + BIAS))};
}

static struct x87_value widen_nan(uint64_t fraction, uint16_t sign, uint32_t *status)
{
	if (fraction && !(fraction & QUIET_BIT))
		*status |= X87_IE;
	return (struct x87_value){INTEGER_BIT | fraction | (fraction ? QUIET_BIT : 0), sign | EXPONENT_MAX};
}

struct x87_value x87_from_float(uint64_t bits, unsigned bytes, uint32_t *status)
{
	const struct format f = format_of(bytes);
	const uint16_t sign = bits >> (f.fraction + f.exponent) & 1 ? SIGN : 0;
	const uint64_t exponent = bits >> f.fraction & exponent_max(f);
	/* Where an extended significand has it. */
	const uint64_t fraction = bits << (64 - f.fraction) >> 1;

	if (exponent == exponent_max(f))
		return widen_nan(fraction, sign, status);
	if (exponent)
		return (struct x87_value){INTEGER_BIT | fraction, (uint16_t)(sign | ((int)exponent - f.bias + BIAS))};
	if (!fraction)
		return (struct x87_value){0, sign};
	*status |= X87_DE;
	return normalise(fraction, 1 - f.bias, sign);
}

struct x87_value x87_from_integer(int64_t integer)
{
	const uint64_t magnitude = integer < 0 ? -(uint64_t)integer : (uint64_t)integer;

	return magnitude ? normalise(magnitude, 63, integer < 0 ? SIGN : 0) : (struct x87_value){0, 0};
}

/* ---- Rounding (SDM Vol. 1, 4.8.4) ------------------------------------------------------------------------------ */

struct rounded {
	uint64_t value;
	bool inexact, up;
};

static bool rounds_up(uint64_t kept, uint64_t rest, uint64_t half, enum x87_rounding rounding, bool negative)
{
	switch (rounding) {
	case X87_NEAREST:
		return rest > half || (rest == half && kept & 1);
	case X87_DOWN:
		return negative;
	case X87_UP:
		return !negative;
	default:
		return false;
	}
}

/* `value` without its last `shift` bits. */
static struct rounded round_off(uint64_t value, unsigned shift, enum x87_rounding rounding, bool negative)
{
	struct rounded result = {value, false, false};
	uint64_t rest, half;

	if (!shift)
		return result;
	/* The last bits are compared at the upper end of a word; beyond 64 they are less than a half in any case. */
	result.value = shift < 64 ? value >> shift : 0;
	rest = shift < 64 ? value << (64 - shift) : shift == 64 ? value : value != 0;
	half = INTEGER_BIT;
	result.inexact = rest;
	result.up = rest && rounds_up(result.value, rest, half, rounding, negative);
	result.value += result.up;
	return result;
}

static uint32_t inexact_status(struct rounded r)
{
	return (r.inexact ? X87_PE : 0) | (r.up ? X87_C1 : 0);
}

/* ---- Stores -------------------------------------------------------------------------------------------------- */

static unsigned exponent_of(struct x87_value value)
{
	return value.exponent & EXPONENT_MAX;
}

/* Formats that the 80387 and later ones do not have (SDM Vol. 1, 8.2.2). */
static bool is_unsupported(struct x87_value value)
{
	return exponent_of(value) && !(value.significand & INTEGER_BIT);
}

static bool is_nan_or_infinity(struct x87_value value)
{
	return exponent_of(value) == EXPONENT_MAX;
}

uint64_t x87_indefinite_float(unsigned bytes)
{
	return bytes == 4 ? 0xffc00000 : UINT64_C(0xfff8000000000000);
}

uint64_t x87_indefinite_integer(unsigned bytes)
{
	return UINT64_C(1) << (8 * bytes - 1);
}

static uint64_t narrow_nan(struct x87_value value, struct format f, uint32_t *status)
{
	const uint64_t fraction = value.significand & ~INTEGER_BIT;
	uint64_t kept = fraction >> (63 - f.fraction);

	if (fraction && !(fraction & QUIET_BIT))
		*status |= X87_IE;
	if (fraction)
		kept |= UINT64_C(1) << (f.fraction - 1);
	return exponent_max(f) << f.fraction | kept;
}

/* Infinity, or the largest finite value where rounding goes towards zero (SDM Vol. 1, 4.9.1.4). */
static uint64_t overflow(struct format f, enum x87_rounding rounding, bool negative, uint32_t *status)
{
	const uint64_t infinity = exponent_max(f) << f.fraction;
	const bool up = rounding == X87_NEAREST || rounding == (negative ? X87_DOWN : X87_UP);

	*status |= X87_OE | X87_PE | (up ? X87_C1 : 0);
	return up ? infinity : infinity - 1;
}

/* The value at exponents below those of normal values. */
static uint64_t underflow(struct x87_value value, int exponent, struct format f, uint32_t control, uint32_t *status)
{
	const enum x87_rounding rounding = (enum x87_rounding)(control >> 10 & 3);
	const bool negative = value.exponent & SIGN;
	const int below = 1 - f.bias - exponent;
	const struct rounded r =
		round_off(value.significand, 63 - f.fraction + (unsigned)(below < 64 ? below : 64), rounding, negative);
	/* Tiny is what an unbounded exponent would leave below the normal values after rounding. */
	const struct rounded unbounded = round_off(value.significand, 63 - f.fraction, rounding, negative);
	const bool tiny = below > 1 || !(unbounded.value >> (f.fraction + 1));

	*status |= inexact_status(r);
	if (tiny && value.significand && (r.inexact || !(control & X87_UE)))
		*status |= X87_UE;
	return r.value;
}

static uint64_t narrow(struct x87_value value, struct format f, uint32_t control, uint32_t *status)
{
	const enum x87_rounding rounding = (enum x87_rounding)(control >> 10 & 3);
	const bool negative = value.exponent & SIGN;
	const int exponent = (exponent_of(value) ? (int)exponent_of(value) : 1) - BIAS;
	struct rounded r;
	uint64_t bits;

	if (exponent < 1 - f.bias)
		return underflow(value, exponent, f, control, status);
	r = round_off(value.significand, 63 - f.fraction, rounding, negative);
	/* The significand's first bit counts for one in the exponent's field, and so does a carry. */
	bits = r.value + ((uint64_t)(exponent + f.bias - 1) << f.fraction);
	if (exponent > f.bias || bits >> f.fraction >= exponent_max(f))
		return overflow(f, rounding, negative, status);
	*status |= inexact_status(r);
	return bits;
}

uint64_t x87_to_float(struct x87_value value, unsigned bytes, uint32_t control, uint32_t *status)
{
	const struct format f = format_of(bytes);
	const uint64_t sign = (uint64_t)(value.exponent >> 15) << (f.fraction + f.exponent);

	if (is_unsupported(value)) {
		*status |= X87_IE;
		return x87_indefinite_float(bytes);
	}
	if (is_nan_or_infinity(value))
		return sign | narrow_nan(value, f, status);
	return sign | narrow(value, f, control, status);
}

uint64_t x87_to_integer(struct x87_value value, unsigned bytes, enum x87_rounding rounding, uint32_t *status)
{
	const bool negative = value.exponent & SIGN;
	const int exponent = (exponent_of(value) ? (int)exponent_of(value) : 1) - BIAS;
	const uint64_t limit = x87_indefinite_integer(bytes);
	struct rounded r = {limit, false, false};

	if (exponent < 64)
		r = round_off(value.significand, exponent < -1 ? 65 : (unsigned)(63 - exponent), rounding, negative);
	if (exponent >= 64 || is_unsupported(value) || (negative ? r.value > limit : r.value >= limit)) {
		*status |= X87_IE;
		return limit;
	}
	*status |= inexact_status(r);
	return (negative ? -r.value : r.value) & (~UINT64_C(0) >> (64 - 8 * bytes));
}
