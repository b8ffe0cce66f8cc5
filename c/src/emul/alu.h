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

#endif
