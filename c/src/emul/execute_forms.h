/* SPDX-License-Identifier: Apache-2.0 */
/* The operations of emul/forms.c's rows. They return what operations.h says, with the registers' image up to date. */
#ifndef EMUL_EXECUTE_FORMS_H
#define EMUL_EXECUTE_FORMS_H

#include "emul/forms.h"
#include "emul/operations.h"

#define VECTOR_BYTES 32u /* of the longest vector: a YMM register */

/* Gives the guest #GP(0), or an exception without an error code. EMUL_RESUME. */
int form_raise(struct execution *x, uint8_t vector);

/* execute_vector.c */
int execute_vector_load(struct execution *x);
int execute_vector_store(struct execution *x);
int execute_ldmxcsr(struct execution *x);
int execute_stmxcsr(struct execution *x);
int execute_flush(struct execution *x);
int execute_hint(struct execution *x);

/* execute_x87.c: with MMX, whose registers are those of the x87 FPU. */
bool x87_exception_is_pending(const struct guest *g);
int execute_mmx_load(struct execution *x);
int execute_mmx_store(struct execution *x);
int execute_x87_load(struct execution *x);
int execute_x87_load_integer(struct execution *x);
int execute_x87_store(struct execution *x);
int execute_x87_store_integer(struct execution *x);
int execute_fldcw(struct execution *x);
int execute_fnstcw(struct execution *x);
int execute_fnstsw(struct execution *x);

#endif
