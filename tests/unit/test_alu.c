/* SPDX-License-Identifier: Apache-2.0 */
/* Arithmetic on memory operands: results and flags against this machine's own CPU. */
#include <check.h>
#include <string.h>

#include "cpu/x86.h"
#include "emul/alu.h"

Suite *alu_suite(void);

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))
#define STATUS UINT64_C(0x8d5)

struct measured {
	uint64_t result, rflags;
};

/* `flags`: of which CF counts on entry. The stack moves past the red zone. */
#define MEASURE(name, type, text)                                                                          \
	static struct measured name(uint64_t a, uint64_t b, uint64_t flags)                               \
	{                                                                                                 \
		type x = (type)a;                                                                         \
		const type y = (type)b;                                                                   \
		uint64_t after;                                                                           \
		__asm__ volatile("lea -128(%%rsp), %%rsp; pushf; andq $~0x8d5, (%%rsp); or %3, (%%rsp); popf; " text               \
				 "; pushf; pop %1; lea 128(%%rsp), %%rsp"                                  \
				 : "+r"(x), "=&r"(after)                                                  \
				 : "r"(y), "r"(flags & STATUS)                                             \
				 : "cc", "memory");                                                       \
		return (struct measured){x, after & STATUS};                                              \
	}
#define WIDTHS(name, two)                                                                                  \
	MEASURE(name##_1, uint8_t, two "b %2, %0")                                                         \
	MEASURE(name##_2, uint16_t, two "w %2, %0")                                                        \
	MEASURE(name##_4, uint32_t, two "l %2, %0")                                                        \
	MEASURE(name##_8, uint64_t, two "q %2, %0")
#define WIDTHS_OF_ONE(name, one)                                                                           \
	MEASURE(name##_1, uint8_t, one "b %0")                                                             \
	MEASURE(name##_2, uint16_t, one "w %0")                                                            \
	MEASURE(name##_4, uint32_t, one "l %0")                                                            \
	MEASURE(name##_8, uint64_t, one "q %0")

WIDTHS(cpu_add, "add")
WIDTHS(cpu_or, "or")
WIDTHS(cpu_adc, "adc")
WIDTHS(cpu_sbb, "sbb")
WIDTHS(cpu_and, "and")
WIDTHS(cpu_sub, "sub")
WIDTHS(cpu_xor, "xor")
WIDTHS(cpu_cmp, "cmp")
WIDTHS(cpu_test, "test")
WIDTHS_OF_ONE(cpu_not, "not")
WIDTHS_OF_ONE(cpu_neg, "neg")
WIDTHS_OF_ONE(cpu_inc, "inc")
WIDTHS_OF_ONE(cpu_dec, "dec")

#define ROW(operation, name) {operation, {name##_1, name##_2, name##_4, name##_8}}

static const struct {
	enum alu_operation operation;
	struct measured (*on_cpu[4])(uint64_t a, uint64_t b, uint64_t flags);
} rows[] = {
	ROW(ALU_ADD, cpu_add), ROW(ALU_OR, cpu_or),     ROW(ALU_ADC, cpu_adc), ROW(ALU_SBB, cpu_sbb),
	ROW(ALU_AND, cpu_and), ROW(ALU_SUB, cpu_sub),   ROW(ALU_XOR, cpu_xor), ROW(ALU_CMP, cpu_cmp),
	ROW(ALU_TEST, cpu_test), ROW(ALU_NOT, cpu_not), ROW(ALU_NEG, cpu_neg), ROW(ALU_INC, cpu_inc),
	ROW(ALU_DEC, cpu_dec),
};

static const uint64_t operands[] = {
	0, 1, 2, 0xf, 0x10, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff,
	0x123456789abcdef0, 0x7fffffffffffffff, 0x8000000000000000, 0xffffffffffffffff, 0x5aa5c33c0ff01248,
};

/* AF is undefined after AND, OR, XOR and TEST. */
static uint64_t defined(enum alu_operation operation)
{
	switch (operation) {
	case ALU_AND:
	case ALU_OR:
	case ALU_XOR:
	case ALU_TEST:
		return STATUS & ~RFLAGS_AF;
	default:
		return STATUS;
	}
}

static void same(int row, unsigned width, uint64_t a, uint64_t b, uint64_t before)
{
	const enum alu_operation operation = rows[row].operation;
	const struct measured cpu = rows[row].on_cpu[width](a, b, before);
	uint64_t rflags = before | RFLAGS_IF | RFLAGS_DF;
	const uint64_t result = alu_compute(operation, 1u << width, a, b, &rflags);

	if (alu_has_result(operation))
		ck_assert_msg(result == cpu.result, "%d: %lx, %lx: %lx, not %lx", row, a, b, result, cpu.result);
	ck_assert_msg(((rflags ^ cpu.rflags) & defined(operation)) == 0, "%d: %lx, %lx, flags %lx: %lx, not %lx", row, a, b,
		      before, rflags & STATUS, cpu.rflags);
	ck_assert_uint_eq(rflags & ~STATUS, RFLAGS_IF | RFLAGS_DF);
}

START_TEST(agrees_with_the_cpu)
{
	for (unsigned width = 0; width < 4; width++)
		for (int i = 0; i < COUNT(operands); i++)
			for (int k = 0; k < COUNT(operands); k++) {
				same(_i, width, operands[i], operands[k], 0);
				same(_i, width, operands[i], operands[k], STATUS);
			}
}
END_TEST

static const struct {
	uint8_t bytes[4];
	enum alu_operation operation;
	bool to_register;
} instructions[] = {
	{{0x01, 0x03}, ALU_ADD, false},       {{0x0b, 0x03}, ALU_OR, true},         {{0x10, 0x03}, ALU_ADC, false},
	{{0x1a, 0x03}, ALU_SBB, true},        {{0x80, 0x23, 5}, ALU_AND, false},    {{0x83, 0x2b, 5}, ALU_SUB, false},
	{{0x31, 0x03}, ALU_XOR, false},       {{0x39, 0x03}, ALU_CMP, false},       {{0x3b, 0x03}, ALU_CMP, true},
	{{0x85, 0x03}, ALU_TEST, false},      {{0xf6, 0x03, 5}, ALU_TEST, false},   {{0xf6, 0x0b, 5}, ALU_TEST, false},
	{{0xf7, 0x13}, ALU_NOT, false},       {{0xf7, 0x1b}, ALU_NEG, false},       {{0xfe, 0x03}, ALU_INC, false},
	{{0xff, 0x0b}, ALU_DEC, false},
};

START_TEST(instruction_is_known)
{
	struct decode d;

	ck_assert_int_eq(decode_bytes(&d, instructions[_i].bytes, 4, 8), DECODE_OK);
	ck_assert_int_eq(d.kind, DECODE_ALU);
	ck_assert_int_eq(alu_operation(&d), instructions[_i].operation);
	ck_assert_int_eq(alu_to_register(&d), instructions[_i].to_register);
	ck_assert_uint_eq(d.length, d.immediate ? 3 : 2);
}
END_TEST

static const struct {
	uint8_t bytes[3];
	enum decode_status status;
} locked[] = {
	{{0xf0, 0x09, 0x03}, DECODE_OK}, /* LOCK OR [rbx], eax */
	{{0xf0, 0x0b, 0x03}, DECODE_UD}, /* the destination is a register */
	{{0xf0, 0x39, 0x03}, DECODE_UD}, /* CMP */
	{{0xf0, 0x85, 0x03}, DECODE_UD}, /* TEST */
	{{0xf0, 0x01, 0xc3}, DECODE_UD}, /* no memory */
	{{0xf0, 0xf7, 0x1b}, DECODE_OK}, /* NEG */
	{{0xf0, 0xff, 0x13}, DECODE_UD}, /* CALL */
	{{0xf0, 0xf7, 0x23}, DECODE_UD}, /* MUL */
};

START_TEST(lock_goes_with_results_in_memory)
{
	struct decode d;

	ck_assert_int_eq(decode_bytes(&d, locked[_i].bytes, 3, 8), locked[_i].status);
}
END_TEST

Suite *alu_suite(void)
{
	Suite *suite = suite_create("alu");
	TCase *tc = tcase_create("alu");

	tcase_add_loop_test(tc, agrees_with_the_cpu, 0, COUNT(rows));
	tcase_add_loop_test(tc, instruction_is_known, 0, COUNT(instructions));
	tcase_add_loop_test(tc, lock_goes_with_results_in_memory, 0, COUNT(locked));
	suite_add_tcase(suite, tc);
	return suite;
}
