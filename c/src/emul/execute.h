/* SPDX-License-Identifier: Apache-2.0 */
/* The instructions that are emulated on device memory. */
#ifndef EMUL_EXECUTE_H
#define EMUL_EXECUTE_H

#include "emul/decode.h"

/* Whether execute() knows the instruction, in the guest's mode. */
bool execute_knows(struct guest *g, const struct decode *d);

/*
 * Executes the instruction at RIP with its operands wherever they are. Results are those of emul_mmio; after EMUL_EXIT
 * with MMIO_READ and its answer, emul_resume continues.
 */
int execute(struct guest *g, const struct decode *d);

#endif
