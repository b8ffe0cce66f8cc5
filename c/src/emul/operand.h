/* SPDX-License-Identifier: Apache-2.0 */
/* Operands of an instruction under emulation, in memory and in registers. Nothing changes before execution_commit. */
#ifndef EMUL_OPERAND_H
#define EMUL_OPERAND_H

#include "emul/decode.h"
#include "emul/guest.h"

#define EXECUTION_RESULTS 4u

/* A write that execution_commit makes: no more than 8 bytes, in one page, to one device or to memory. */
struct execution_write {
	struct guest_device_access access;
	bool device;
};

/* One attempt to execute an instruction. */
struct execution {
	struct guest *g;
	const struct decode *d;
	uint32_t reads_used; /* of guest.emulation */
	uint64_t rflags;     /* as the instruction leaves them */
	uint64_t rip;        /* after a branch */
	bool branches;
	bool again;  /* REP: the instruction has not ended */
	bool shadow; /* MOV SS blocking begins */
	uint32_t breakpoints; /* that operands in memory hit */
	struct {
		uint8_t number;
		uint64_t value;
	} result[EXECUTION_RESULTS];
	unsigned results;
	struct execution_write write[EMULATION_ACCESSES];
	unsigned writes;
};

/* An operand in memory whose segment, alignment and translation have been checked. */
struct operand {
	unsigned bytes;
	unsigned first;  /* bytes in the first page */
	uint64_t gpa[2]; /* of the first byte, and of the first in the second page */
};

/*
 * The functions below that return int return EMUL_NEXT, or what the attempt ends with: EMUL_RESUME (the guest takes an
 * exception) or EMUL_EXIT (guest.exit is a read of a device, or a NESTED_PAGE_FAULT).
 */
int operand_locate(struct execution *x, unsigned segment, uint64_t offset, unsigned bytes, bool write,
		   struct operand *operand);
/* The operand of ModRM or moffs. */
int operand_locate_memory(struct execution *x, bool write, struct operand *operand);
int operand_load(struct execution *x, const struct operand *operand, void *data);
int operand_store(struct execution *x, const struct operand *operand, const void *data);
/* The same for values of up to 8 bytes. */
int operand_load_value(struct execution *x, const struct operand *operand, uint64_t *value);
int operand_store_value(struct execution *x, const struct operand *operand, uint64_t value);

/* The operand of ModRM or moffs, of up to 8 bytes: located, and read or written. */
int operand_read(struct execution *x, uint64_t *value);
int operand_write(struct execution *x, uint64_t value);
/* A destination in memory that is read first. The result goes to *memory. */
int operand_modify(struct execution *x, struct operand *memory, uint64_t *value);

/* Operand of `bytes` bytes in register `number`, as the encoding has it: 4 to 7 may be AH to BH. */
uint64_t operand_register(struct execution *x, unsigned number, unsigned bytes);
void operand_set_register(struct execution *x, unsigned number, unsigned bytes, uint64_t value);
/* Sets the register of ModRM.reg, which is as wide as the operand. EMUL_NEXT. */
int operand_set_destination(struct execution *x, uint64_t value);

/*
 * The instruction has ended: its results become the guest's. EMUL_NEXT, EMUL_RESUME, or with an access for the VMM
 * EMUL_NEXT_EXIT, EMUL_EXIT.
 */
int execution_commit(struct execution *x);

/* The next write to a device of an instruction that has ended. EMUL_EXIT. */
int operand_report_write(struct guest *g);

#endif
