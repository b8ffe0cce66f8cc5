/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Executes the library as it is shipped, one instruction at a time, in this process: what faults in user mode, or
 * would show this process' CPU, the model executes. The world switch is recorded.
 */
#ifndef MODEL_STEP_H
#define MODEL_STEP_H

#include <Zydis/Zydis.h>
#include <stdbool.h>
#include <stdint.h>

#define STEP_RECORDS 4096u

/* An instruction of the world switch, and the general registers before it, in the order of their encoding. */
struct step {
	uintptr_t rip;
	uint64_t gpr[16];
	uint16_t selector; /* VERW's operand in memory */
	ZydisDecodedInstruction insn;
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
};

/* What has been recorded since step_begin. */
extern struct step steps[STEP_RECORDS];
extern unsigned step_count;

/* Of this process, once. */
void step_install(void);

/* From here to step_end every instruction is one step. */
void step_begin(void);
void step_end(void);

#endif
