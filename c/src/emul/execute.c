/* SPDX-License-Identifier: Apache-2.0 */
/* See execute.h. Each function is an instruction's page in SDM Vol. 2. */
#include "emul/execute.h"

#include "cpu/insn.h"
#include "emul/alu.h"
#include "emul/finish.h"
#include "emul/operand.h"
#include "emul/paging.h"

#define RAX 0u
#define RCX 1u
#define RDX 2u
#define RBX 3u
#define RSP 4u
#define RSI 6u
#define RDI 7u

static unsigned extension(const struct execution *x)
{
	return x->d->modrm >> 3 & 7;
}

/* ---- Moves -------------------------------------------------------------------------------------------------- */

static int load(struct execution *x, uint64_t *value)
{
	struct operand memory;
	const int result = operand_locate_memory(x, false, &memory);

	return result == EMUL_NEXT ? operand_load_value(x, &memory, value) : result;
}

static int store(struct execution *x, uint64_t value)
{
	struct operand memory;
	const int result = operand_locate_memory(x, true, &memory);

	return result == EMUL_NEXT ? operand_store_value(x, &memory, value) : result;
}

/* A destination in memory that is read first: *memory is where the result goes. */
static int load_to_modify(struct execution *x, struct operand *memory, uint64_t *value)
{
	const int result = operand_locate_memory(x, true, memory);

	return result == EMUL_NEXT ? operand_load_value(x, memory, value) : result;
}

static int load_register(struct execution *x, uint64_t value)
{
	operand_set_register(x, x->d->reg, x->d->operand_bytes, value);
	return EMUL_NEXT;
}

static int execute_load(struct execution *x)
{
	const unsigned unused = 64 - 8u * x->d->memory_bytes;
	uint64_t value;
	const int result = load(x, &value);

	if (result != EMUL_NEXT)
		return result;
	if (x->d->kind == DECODE_LOAD_SIGN_EXTEND)
		value = (uint64_t)((int64_t)(value << unused) >> unused);
	return load_register(x, value);
}

static int execute_store(struct execution *x)
{
	return store(x, operand_register(x, x->d->reg, x->d->operand_bytes));
}

static int execute_store_immediate(struct execution *x)
{
	return store(x, x->d->immediate);
}

static uint64_t swap_bytes(uint64_t value, unsigned bytes)
{
	return __builtin_bswap64(value) >> (64 - 8 * bytes);
}

static int execute_movbe(struct execution *x)
{
	const unsigned bytes = x->d->operand_bytes;
	uint64_t value;
	int result;

	if (x->d->opcode & 1)
		return store(x, swap_bytes(operand_register(x, x->d->reg, bytes), bytes));
	result = load(x, &value);
	return result == EMUL_NEXT ? load_register(x, swap_bytes(value, bytes)) : result;
}

static int execute_cmovcc(struct execution *x)
{
	uint64_t value;
	const int result = load(x, &value);

	if (result != EMUL_NEXT)
		return result;
	/* Without the condition a 32-bit destination still loses bits 63:32. */
	if (!alu_condition(x->d->opcode & 0xf, x->rflags))
		value = operand_register(x, x->d->reg, x->d->operand_bytes);
	return load_register(x, value);
}

static int execute_setcc(struct execution *x)
{
	return store(x, alu_condition(x->d->opcode & 0xf, x->rflags));
}

static int execute_xlat(struct execution *x)
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

static int execute_mov_from_segment(struct execution *x)
{
	return store(x, guest_get(x->g, G_SELECTOR + x->d->reg));
}

/* In real-address and virtual-8086 mode only: a selector is a base there. */
static int execute_mov_to_segment(struct execution *x)
{
	uint64_t selector;
	const int result = load(x, &selector);

	if (result != EMUL_NEXT)
		return result;
	guest_set(x->g, G_SELECTOR + x->d->reg, selector);
	guest_set(x->g, G_BASE + x->d->reg, selector << 4);
	x->shadow = x->d->reg == X86VCPU_SEGMENT_SS;
	return EMUL_NEXT;
}

/* ---- Arithmetic ---------------------------------------------------------------------------------------------- */

/* Groups 1 and 3 have an immediate; for INC, DEC, NOT and NEG it does not matter. */
static uint64_t other_operand(struct execution *x)
{
	const struct decode *d = x->d;

	if (d->opcode >= 0x80 && d->opcode != 0x84 && d->opcode != 0x85)
		return d->immediate;
	return operand_register(x, d->reg, d->operand_bytes);
}

static int execute_alu(struct execution *x)
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
	return to_register ? load_register(x, value) : operand_store_value(x, &memory, value);
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

static int execute_shift(struct execution *x)
{
	struct operand memory;
	uint64_t value;
	const int result = load_to_modify(x, &memory, &value);

	if (result != EMUL_NEXT)
		return result;
	return operand_store_value(
		x, &memory, alu_shift(extension(x), x->d->operand_bytes, value, shift_count(x), &x->rflags));
}

static int execute_shift_double(struct execution *x)
{
	const struct decode *d = x->d;
	const unsigned count = d->opcode & 1 ? (unsigned)operand_register(x, RCX, 1) : d->immediate & 0xff;
	struct operand memory;
	uint64_t value;
	const int result = load_to_modify(x, &memory, &value);

	if (result != EMUL_NEXT)
		return result;
	value = alu_shift_double(d->opcode & 8, d->operand_bytes, value, operand_register(x, d->reg, d->operand_bytes),
				 count, &x->rflags);
	return operand_store_value(x, &memory, value);
}

static int execute_imul(struct execution *x)
{
	const struct decode *d = x->d;
	uint64_t value;
	const int result = load(x, &value);

	if (result != EMUL_NEXT)
		return result;
	return load_register(x, alu_multiply(true, d->operand_bytes, value,
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

static int execute_multiply_divide(struct execution *x)
{
	const unsigned bytes = x->d->operand_bytes;
	const bool is_signed = extension(x) & 1;
	struct alu_pair pair = get_pair(x);
	uint64_t value;
	const int result = load(x, &value);

	if (result != EMUL_NEXT)
		return result;
	if (extension(x) < 6) {
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

static int execute_bit(struct execution *x)
{
	const struct decode *d = x->d;
	/* 4: BT, 5: BTS, 6: BTR, 7: BTC. */
	const unsigned operation = d->opcode == (DECODE_0F | 0xba) ? extension(x) : d->opcode >> 3 & 7;
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

static int execute_bit_scan(struct execution *x)
{
	const unsigned bytes = x->d->operand_bytes;
	const enum alu_scan kind = scan_kind(x);
	uint64_t value, index;
	const int result = load(x, &value);

	if (result != EMUL_NEXT)
		return result;
	index = alu_scan(kind, bytes, value, &x->rflags);
	/* BSF and BSR of 0 leave the destination alone, as all CPUs do; the manual calls it undefined. */
	return value || kind >= ALU_TZCNT ? load_register(x, index) : EMUL_NEXT;
}

static int execute_popcnt(struct execution *x)
{
	uint64_t value;
	const int result = load(x, &value);

	return result == EMUL_NEXT ? load_register(x, alu_popcnt(x->d->operand_bytes, value, &x->rflags)) : result;
}

/* ---- Read, modify, write --------------------------------------------------------------------------------------- */

static int execute_xchg(struct execution *x)
{
	struct operand memory;
	uint64_t value;
	int result = load_to_modify(x, &memory, &value);

	if (result == EMUL_NEXT)
		result = operand_store_value(x, &memory, operand_register(x, x->d->reg, x->d->operand_bytes));
	return result == EMUL_NEXT ? load_register(x, value) : result;
}

static int execute_xadd(struct execution *x)
{
	const unsigned bytes = x->d->operand_bytes;
	struct operand memory;
	uint64_t value, sum;
	int result = load_to_modify(x, &memory, &value);

	if (result != EMUL_NEXT)
		return result;
	sum = alu_compute(ALU_ADD, bytes, value, operand_register(x, x->d->reg, bytes), &x->rflags);
	result = operand_store_value(x, &memory, sum);
	return result == EMUL_NEXT ? load_register(x, value) : result;
}

/* The destination is written in any case: with what it held, if the comparison fails. */
static int execute_cmpxchg(struct execution *x)
{
	const unsigned bytes = x->d->operand_bytes;
	struct operand memory;
	uint64_t value;
	const int result = load_to_modify(x, &memory, &value);

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

static int execute_cmpxchg_pair(struct execution *x)
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

/* ---- The stack and branches -------------------------------------------------------------------------------------- */

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

static int execute_push(struct execution *x)
{
	uint64_t value;
	const int result = load(x, &value);

	return result == EMUL_NEXT ? push(x, value) : result;
}

/* An address that is based on RSP has the value after the pop. */
static uint64_t pop_destination(struct execution *x)
{
	const struct decode *d = x->d;
	const uint64_t offset = decode_offset(x->g, d) + (d->base == RSP ? d->operand_bytes : 0);

	return offset & (~UINT64_C(0) >> (64 - 8 * d->address_bytes));
}

static int execute_pop(struct execution *x)
{
	const unsigned bytes = x->d->operand_bytes;
	struct operand top, memory;
	uint64_t value;
	int result = operand_locate(x, X86VCPU_SEGMENT_SS, stack_moved(x->g, 0), bytes, false, &top);

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

static int execute_jmp(struct execution *x)
{
	uint64_t target;
	const int result = load(x, &target);

	return result == EMUL_NEXT ? branch(x, target) : result;
}

static int execute_call(struct execution *x)
{
	uint64_t target;
	int result = load(x, &target);

	if (result == EMUL_NEXT)
		result = branch(x, target);
	return result == EMUL_NEXT ? push(x, guest_wrap_ip(x->g, guest_get(x->g, G_RIP) + x->d->length)) : result;
}

/* ---- Strings ------------------------------------------------------------------------------------------------------ */

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

static int execute_movs(struct execution *x)
{
	return repeat(x, string_movs);
}

static int execute_stos(struct execution *x)
{
	return repeat(x, string_stos);
}

static int execute_lods(struct execution *x)
{
	return repeat(x, string_lods);
}

static int execute_cmps(struct execution *x)
{
	return repeat(x, string_cmps);
}

static int execute_scas(struct execution *x)
{
	return repeat(x, string_scas);
}

/* ---- All of them --------------------------------------------------------------------------------------------------- */

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

static bool is_implicit(const struct decode *d)
{
	return d->kind == DECODE_EXECUTE && (d->operation >= OP_MOVS || d->operation == OP_XLAT);
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
