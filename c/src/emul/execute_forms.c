/* SPDX-License-Identifier: Apache-2.0 */
/* What all of emul/forms.c's rows have in common: whether the guest has enabled the registers. See execute_forms.h. */
#include "emul/execute_forms.h"

#include "emul/context.h"

/* What must be enabled (SDM Vol. 2, 2.4, 2.5; Vol. 3, 2.5, 13.1). */
enum unit { UNIT_NONE, UNIT_SSE, UNIT_MMX, UNIT_X87, UNIT_X87_CONTROL };

struct operation {
	int (*execute)(struct execution *x);
	uint8_t unit; /* enum unit */
};

static const struct operation operations[] = {
	[FORM_VECTOR_LOAD] = {execute_vector_load, UNIT_SSE},
	[FORM_VECTOR_LOAD_LOW] = {execute_vector_load, UNIT_SSE},
	[FORM_VECTOR_LOAD_HIGH] = {execute_vector_load, UNIT_SSE},
	[FORM_VECTOR_REPEAT] = {execute_vector_load, UNIT_SSE},
	[FORM_VECTOR_REPEAT_EVEN] = {execute_vector_load, UNIT_SSE},
	[FORM_VECTOR_REPEAT_ODD] = {execute_vector_load, UNIT_SSE},
	[FORM_VECTOR_STORE] = {execute_vector_store, UNIT_SSE},
	[FORM_VECTOR_STORE_HIGH] = {execute_vector_store, UNIT_SSE},
	[FORM_MMX_LOAD] = {execute_mmx_load, UNIT_MMX},
	[FORM_MMX_STORE] = {execute_mmx_store, UNIT_MMX},
	[FORM_LDMXCSR] = {execute_ldmxcsr, UNIT_SSE},
	[FORM_STMXCSR] = {execute_stmxcsr, UNIT_SSE},
	[FORM_FLUSH] = {execute_flush, UNIT_NONE},
	[FORM_HINT] = {execute_hint, UNIT_NONE},
	[FORM_X87_LOAD] = {execute_x87_load, UNIT_X87},
	[FORM_X87_LOAD_INTEGER] = {execute_x87_load_integer, UNIT_X87},
	[FORM_X87_STORE] = {execute_x87_store, UNIT_X87},
	[FORM_X87_STORE_INTEGER] = {execute_x87_store_integer, UNIT_X87},
	[FORM_X87_STORE_TRUNCATED] = {execute_x87_store_integer, UNIT_X87},
	[FORM_FLDCW] = {execute_fldcw, UNIT_X87},
	[FORM_FNSTCW] = {execute_fnstcw, UNIT_X87_CONTROL},
	[FORM_FNSTSW] = {execute_fnstsw, UNIT_X87_CONTROL},
};

int form_raise(struct execution *x, uint8_t vector)
{
	guest_raise(x->g, vector, guest_has_error_code(vector), 0);
	return EMUL_RESUME;
}

/* VEX does not exist in real-address and virtual-8086 mode. */
static bool avx_is_enabled(struct guest *g)
{
	return guest_in_protected_mode(g) && !(guest_get(g, G_RFLAGS) & RFLAGS_VM) && guest_get(g, G_CR4) & CR4_OSXSAVE &&
	       !(~g->xcr0 & (XCR0_SSE | XCR0_AVX));
}

static bool is_undefined(struct execution *x, enum unit unit)
{
	struct guest *g = x->g;

	if (x->d->vector_bytes)
		return !avx_is_enabled(g);
	if (unit == UNIT_SSE && !(guest_get(g, G_CR4) & CR4_OSFXSR))
		return true;
	return (unit == UNIT_SSE || unit == UNIT_MMX) && guest_get(g, G_CR0) & CR0_EM;
}

/* The x87 FPU has no #UD: with CR0.EM set its instructions are #NM as well. */
static bool is_unavailable(struct execution *x, enum unit unit)
{
	const uint64_t bits = unit == UNIT_X87 || unit == UNIT_X87_CONTROL ? CR0_TS | CR0_EM : CR0_TS;

	return guest_get(x->g, G_CR0) & bits;
}

int execute_form(struct execution *x)
{
	const struct operation *operation = &operations[form_of(x->d)->kind];
	const enum unit unit = (enum unit)operation->unit;

	if (unit == UNIT_NONE)
		return operation->execute(x);
	context_read_image(x->g);
	if (is_undefined(x, unit))
		return form_raise(x, VECTOR_UD);
	if (is_unavailable(x, unit))
		return form_raise(x, VECTOR_NM);
	if ((unit == UNIT_MMX || unit == UNIT_X87) && x87_exception_is_pending(x->g))
		return form_raise(x, VECTOR_MF);
	return operation->execute(x);
}
