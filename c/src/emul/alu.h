/* SPDX-License-Identifier: Apache-2.0 */
/* Integer arithmetic on an operand in memory, with its flags (SDM Vol. 1, 3.4.3.1 and appendix A). */
#ifndef EMUL_ALU_H
#define EMUL_ALU_H

#include <stdbool.h>
#include <stdint.h>

#include "emul/decode.h"

/* 0 to 7 as the opcodes number them (SDM Vol. 2, table A-6, group 1). */
enum alu_operation {
	ALU_ADD = 0,
	ALU_OR = 1,
	ALU_ADC = 2,
	ALU_SBB = 3,
	ALU_AND = 4,
	ALU_SUB = 5,
	ALU_XOR = 6,
	ALU_CMP = 7,
	ALU_TEST,
	ALU_NOT,
	ALU_NEG,
	ALU_INC,
	ALU_DEC,
};

/* What a DECODE_ALU instruction does. */
enum alu_operation alu_operation(const struct decode *d);
/* Whether its destination is the register, and the source memory. */
bool alu_to_register(const struct decode *d);
/* CMP and TEST change flags only. */
static inline bool alu_has_result(enum alu_operation operation)
{
	return operation != ALU_CMP && operation != ALU_TEST;
}

/* `a` op `b`, operands of 1, 2, 4 or 8 bytes. Reads and changes CF, PF, AF, ZF, SF and OF of *rflags. */
uint64_t alu_compute(enum alu_operation operation, unsigned bytes, uint64_t a, uint64_t b, uint64_t *rflags);

/*
 * ROL, ROR, RCL, RCR, SHL, SHR, SHL, SAR of `a` by `count`, as the opcodes number them 0 to 7 (SDM Vol. 2, table A-6,
 * group 2). The count is masked here. Flags that are undefined get some value.
 */
uint64_t alu_shift(unsigned operation, unsigned bytes, uint64_t a, unsigned count, uint64_t *rflags);
/* SHLD, or SHRD if `right`: `a` with bits of `b` shifted in. */
uint64_t alu_shift_double(bool right, unsigned bytes, uint64_t a, uint64_t b, unsigned count, uint64_t *rflags);

/* The two halves of a product or a dividend; or the quotient (low) and the remainder (high). */
struct alu_pair {
	uint64_t low, high;
};

struct alu_pair alu_multiply(bool is_signed, unsigned bytes, uint64_t a, uint64_t b, uint64_t *rflags);
/* False: #DE. */
bool alu_divide(bool is_signed, unsigned bytes, struct alu_pair dividend, uint64_t divisor, struct alu_pair *result);

/* Sets ZF and CF as the comparison of the kind asks: BSF, BSR, TZCNT and LZCNT of `a`, which BSF and BSR need nonzero. */
enum alu_scan { ALU_BSF, ALU_BSR, ALU_TZCNT, ALU_LZCNT };
uint64_t alu_scan(enum alu_scan kind, unsigned bytes, uint64_t a, uint64_t *rflags);
uint64_t alu_popcnt(unsigned bytes, uint64_t a, uint64_t *rflags);

/* Condition `code`, the low 4 bits of the opcode of Jcc, SETcc and CMOVcc (SDM Vol. 1, appendix B). */
bool alu_condition(unsigned code, uint64_t rflags);

#endif
