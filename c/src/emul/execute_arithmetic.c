/* SPDX-License-Identifier: Apache-2.0 */
/* Arithmetic, bits, and read-modify-write. See operations.h. */
#include "emul/operations.h"

#include "cpu/insn.h"
#include "emul/alu.h"
#include "emul/paging.h"

/* ---- Arithmetic ---------------------------------------------------------------------------------------------- */

/* Groups 1 and 3 have an immediate; for INC, DEC, NOT and NEG it does not matter. */
static uint64_t other_operand(struct execution *x)
{
	const struct decode *d = x->d;

	if (d->opcode >= 0x80 && d->opcode != 0x84 && d->opcode != 0x85)
		return d->immediate;
	return operand_register(x, d->reg, d->operand_bytes);
}

int execute_alu(struct execution *x)
{
	const enum alu_operation operation = alu_operation(x->d);
	const unsigned bytes = x->d->operand_bytes;
	const bool to_register = alu_to_register(x->d);
	const uint64_t other = other_operand(x);
	struct operand memory;
	uint64_t value;
	int result = operand_locate_memory(x, !to_register && alu_has_result(operation), &memory);

	if (result == EMUL_NEXT)
		result = operand_load_value(x, &memory, &value);
	if (result != EMUL_NEXT)
		return result;
	value = alu_compute(operation, bytes, to_register ? other : value, to_register ? value : other, &x->rflags);
	if (!alu_has_result(operation))
		return EMUL_NEXT;
	return to_register ? operand_set_destination(x, value) : operand_store_value(x, &memory, value);
}

static unsigned shift_count(struct execution *x)
{
	switch (x->d->opcode & ~1u) {
	case 0xc0:
		return x->d->immediate & 0xff;
	case 0xd0:
		return 1;
	default:
		return (unsigned)operand_register(x, RCX, 1);
	}
}

int execute_shift(struct execution *x)
{
	struct operand memory;
	uint64_t value;
	const int result = operand_modify(x, &memory, &value);

	if (result != EMUL_NEXT)
		return result;
	return operand_store_value(
		x, &memory, alu_shift(execution_extension(x), x->d->operand_bytes, value, shift_count(x), &x->rflags));
}

int execute_shift_double(struct execution *x)
{
	const struct decode *d = x->d;
	const unsigned count = d->opcode & 1 ? (unsigned)operand_register(x, RCX, 1) : d->immediate & 0xff;
	struct operand memory;
	uint64_t value;
	const int result = operand_modify(x, &memory, &value);

	if (result != EMUL_NEXT)
		return result;
	value = alu_shift_double(d->opcode & 8, d->operand_bytes, value, operand_register(x, d->reg, d->operand_bytes),
				 count, &x->rflags);
	return operand_store_value(x, &memory, value);
}

int execute_imul(struct execution *x)
{
	const struct decode *d = x->d;
	uint64_t value;
	const int result = operand_read(x, &value);

	if (result != EMUL_NEXT)
		return result;
	return operand_set_destination(x, alu_multiply(true, d->operand_bytes, value,
					     d->opcode < 0x100 ? d->immediate
							       : operand_register(x, d->reg, d->operand_bytes),
					     &x->rflags)
					.low);
}

/* AX, DX:AX, EDX:EAX or RDX:RAX. */
static void set_pair(struct execution *x, struct alu_pair pair)
{
	const unsigned bytes = x->d->operand_bytes;

	if (bytes == 1) {
		operand_set_register(x, RAX, 2, pair.high << 8 | pair.low);
		return;
	}
	operand_set_register(x, RAX, bytes, pair.low);
	operand_set_register(x, RDX, bytes, pair.high);
}

static struct alu_pair get_pair(struct execution *x)
{
	const unsigned bytes = x->d->operand_bytes;
	const uint64_t ax = operand_register(x, RAX, 2);

	if (bytes == 1)
		return (struct alu_pair){ax & 0xff, ax >> 8};
	return (struct alu_pair){operand_register(x, RAX, bytes), operand_register(x, RDX, bytes)};
}

int execute_multiply_divide(struct execution *x)
{
	const unsigned bytes = x->d->operand_bytes;
	const bool is_signed = execution_extension(x) & 1;
	struct alu_pair pair = get_pair(x);
	uint64_t value;
	const int result = operand_read(x, &value);

	if (result != EMUL_NEXT)
		return result;
	if (execution_extension(x) < 6) {
		pair = alu_multiply(is_signed, bytes, pair.low, value, &x->rflags);
	} else if (!alu_divide(is_signed, bytes, pair, value, &pair)) {
		guest_raise(x->g, VECTOR_DE, false, 0);
		return EMUL_RESUME;
	}
	set_pair(x, pair);
	return EMUL_NEXT;
}

/* ---- Bits ---------------------------------------------------------------------------------------------------- */

/* With a register the bit offset is signed and reaches beyond the operand. */
static uint64_t bit_offset(struct execution *x, unsigned *bit)
{
	const unsigned bytes = x->d->operand_bytes, unused = 64 - 8 * bytes;
	int64_t offset;

	if (x->d->opcode == (DECODE_0F | 0xba)) {
		*bit = x->d->immediate & (8 * bytes - 1);
		return 0;
	}
	offset = (int64_t)(operand_register(x, x->d->reg, bytes) << unused) >> unused;
	*bit = (unsigned)offset & (8 * bytes - 1);
	return (uint64_t)((offset >> (bytes == 2 ? 4 : bytes == 4 ? 5 : 6)) * (int64_t)bytes);
}

int execute_bit(struct execution *x)
{
	const struct decode *d = x->d;
	/* 4: BT, 5: BTS, 6: BTR, 7: BTC. */
	const unsigned operation = d->opcode == (DECODE_0F | 0xba) ? execution_extension(x) : d->opcode >> 3 & 7;
	const uint64_t mask = ~UINT64_C(0) >> (64 - 8 * d->address_bytes);
	unsigned bit;
	const uint64_t offset = (decode_offset(x->g, d) + bit_offset(x, &bit)) & mask, one = UINT64_C(1) << bit;
	struct operand memory;
	uint64_t value;
	int result = operand_locate(x, d->segment, offset, d->operand_bytes, operation != 4, &memory);

	if (result == EMUL_NEXT)
		result = operand_load_value(x, &memory, &value);
	if (result != EMUL_NEXT)
		return result;
	x->rflags = (x->rflags & ~RFLAGS_CF) | (value & one ? RFLAGS_CF : 0);
	if (operation == 4)
		return EMUL_NEXT;
	value = operation == 5 ? value | one : operation == 6 ? value & ~one : value ^ one;
	return operand_store_value(x, &memory, value);
}

/* A CPU without BMI1 ignores the F3 of TZCNT, and one without LZCNT that of LZCNT. No guest's CPUID changes this. */
static bool cpu_counts_zeros(bool leading)
{
	uint32_t leaf[4];

	insn_cpuid(leading ? 0x80000001 : 7, 0, leaf);
	return leading ? leaf[2] & 1u << 5 : leaf[1] & 1u << 3;
}

static enum alu_scan scan_kind(const struct execution *x)
{
	const bool reverse = x->d->opcode & 1;
	const bool counts = x->d->rep == 0xf3 && cpu_counts_zeros(reverse);

	return reverse ? counts ? ALU_LZCNT : ALU_BSR : counts ? ALU_TZCNT : ALU_BSF;
}

int execute_bit_scan(struct execution *x)
{
	const unsigned bytes = x->d->operand_bytes;
	const enum alu_scan kind = scan_kind(x);
	uint64_t value, index;
	const int result = operand_read(x, &value);

	if (result != EMUL_NEXT)
		return result;
	index = alu_scan(kind, bytes, value, &x->rflags);
	/* BSF and BSR of 0 leave the destination alone, as all CPUs do; the manual calls it undefined. */
	return value || kind >= ALU_TZCNT ? operand_set_destination(x, index) : EMUL_NEXT;
}

int execute_popcnt(struct execution *x)
{
	uint64_t value;
	const int result = operand_read(x, &value);

	return result == EMUL_NEXT ? operand_set_destination(x, alu_popcnt(x->d->operand_bytes, value, &x->rflags)) : result;
}

/* ---- Read, modify, write --------------------------------------------------------------------------------------- */

int execute_xchg(struct execution *x)
{
	struct operand memory;
	uint64_t value;
	int result = operand_modify(x, &memory, &value);

	if (result == EMUL_NEXT)
		result = operand_store_value(x, &memory, operand_register(x, x->d->reg, x->d->operand_bytes));
	return result == EMUL_NEXT ? operand_set_destination(x, value) : result;
}

int execute_xadd(struct execution *x)
{
	const unsigned bytes = x->d->operand_bytes;
	struct operand memory;
	uint64_t value, sum;
	int result = operand_modify(x, &memory, &value);

	if (result != EMUL_NEXT)
		return result;
	sum = alu_compute(ALU_ADD, bytes, value, operand_register(x, x->d->reg, bytes), &x->rflags);
	result = operand_store_value(x, &memory, sum);
	return result == EMUL_NEXT ? operand_set_destination(x, value) : result;
}

/* The destination is written in any case: with what it held, if the comparison fails. */
int execute_cmpxchg(struct execution *x)
{
	const unsigned bytes = x->d->operand_bytes;
	struct operand memory;
	uint64_t value;
	const int result = operand_modify(x, &memory, &value);

	if (result != EMUL_NEXT)
		return result;
	alu_compute(ALU_CMP, bytes, operand_register(x, RAX, bytes), value, &x->rflags);
	if (x->rflags & RFLAGS_ZF)
		return operand_store_value(x, &memory, operand_register(x, x->d->reg, bytes));
	operand_set_register(x, RAX, bytes, value);
	return operand_store_value(x, &memory, value);
}

static void join(uint8_t *pair, unsigned bytes, uint64_t low, uint64_t high)
{
	__builtin_memcpy(pair, &low, 8);
	__builtin_memcpy(pair + bytes, &high, 8);
}

int execute_cmpxchg_pair(struct execution *x)
{
	const unsigned bytes = x->d->operand_bytes;
	const uint64_t mask = ~UINT64_C(0) >> (64 - 8 * bytes);
	uint8_t old[24] = {0}, new[24];
	uint64_t low, high;
	struct operand memory;
	int result;

	if (bytes == 8 && paging_linear(x->g, x->d->segment, decode_offset(x->g, x->d)) & 15) {
		guest_raise(x->g, VECTOR_GP, true, 0);
		return EMUL_RESUME;
	}
	result = operand_locate_memory(x, true, &memory);
	if (result == EMUL_NEXT)
		result = operand_load(x, &memory, old);
	if (result != EMUL_NEXT)
		return result;
	__builtin_memcpy(&low, old, 8);
	__builtin_memcpy(&high, old + bytes, 8);
	low &= mask;
	high &= mask;
	if (low == operand_register(x, RAX, bytes) && high == operand_register(x, RDX, bytes)) {
		x->rflags |= RFLAGS_ZF;
		join(new, bytes, operand_register(x, RBX, bytes), operand_register(x, RCX, bytes));
		return operand_store(x, &memory, new);
	}
	x->rflags &= ~RFLAGS_ZF;
	operand_set_register(x, RAX, bytes, low);
	operand_set_register(x, RDX, bytes, high);
	return operand_store(x, &memory, old);
}
