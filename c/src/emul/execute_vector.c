/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moves of MMX, SSE and AVX registers, MXCSR, and hints. The registers are reached through their image (emul/context.h),
 * as the last step of an instruction, so that nothing has changed when an access fails. See operations.h.
 */
#include "emul/operations.h"

#include "cpu/libc.h"
#include "emul/context.h"
#include "emul/execute_forms.h"
#include "emul/paging.h"

#define COMPONENT_SSE 1u
#define COMPONENT_AVX 2u
#define COMPONENT_ZMM_HI256 6u
#define XMM_BYTES 16u
#define MXCSR_OFFSET 24u

/* ---- Registers ------------------------------------------------------------------------------------------------ */

static void read_component(const struct guest *g, unsigned component, unsigned number, unsigned bytes, uint8_t *value)
{
	const uint8_t *registers = context_component(g, component);

	if (registers)
		memcpy(value, registers + bytes * number, bytes);
	else
		memset(value, 0, bytes);
}

static void read_vector(const struct guest *g, unsigned number, uint8_t value[VECTOR_BYTES])
{
	read_component(g, COMPONENT_SSE, number, XMM_BYTES, value);
	read_component(g, COMPONENT_AVX, number, XMM_BYTES, value + XMM_BYTES);
}

static void clear_component(struct guest *g, unsigned component, unsigned number, unsigned bytes)
{
	if (context_component(g, component))
		memset(context_change_component(g, component) + bytes * number, 0, bytes);
}

/* An instruction with VEX clears what is above its operand, any other leaves that alone (SDM Vol. 1, 14.1.3). */
static void write_vector(struct execution *x, const uint8_t value[VECTOR_BYTES])
{
	struct guest *g = x->g;
	const unsigned number = x->d->reg;

	memcpy(context_change_component(g, COMPONENT_SSE) + XMM_BYTES * number, value, XMM_BYTES);
	if (x->d->vector_bytes == VECTOR_BYTES)
		memcpy(context_change_component(g, COMPONENT_AVX) + XMM_BYTES * number, value + XMM_BYTES, XMM_BYTES);
	else if (x->d->vector_bytes)
		clear_component(g, COMPONENT_AVX, number, XMM_BYTES);
	if (x->d->vector_bytes)
		clear_component(g, COMPONENT_ZMM_HI256, number, 2 * XMM_BYTES);
	context_write_image(g);
}

/* ---- Operands -------------------------------------------------------------------------------------------------- */

/* Moves that want an aligned operand check it before its translation, with #GP(0) in any segment. */
static bool is_misaligned(struct execution *x)
{
	return form_of(x->d)->flags & FORM_ALIGNED &&
	       paging_linear(x->g, x->d->segment, decode_offset(x->g, x->d)) & (x->d->memory_bytes - 1u);
}

static int load_operand(struct execution *x, uint8_t *value)
{
	struct operand memory;
	int result;

	if (is_misaligned(x))
		return form_raise(x, VECTOR_GP);
	result = operand_locate_memory(x, false, &memory);
	return result == EMUL_NEXT ? operand_load(x, &memory, value) : result;
}

static int store_operand(struct execution *x, const uint8_t *value)
{
	struct operand memory;
	int result;

	if (is_misaligned(x))
		return form_raise(x, VECTOR_GP);
	result = operand_locate_memory(x, true, &memory);
	return result == EMUL_NEXT ? operand_store(x, &memory, value) : result;
}

/* ---- SSE and AVX ----------------------------------------------------------------------------------------------- */

/* Element i of the result is element i & ~1, or i | 1. */
static void repeat_elements(uint8_t *value, unsigned bytes, unsigned element, bool odd)
{
	for (unsigned i = 0; i < bytes; i += 2 * element)
		memcpy(value + i + (odd ? 0 : element), value + i + (odd ? element : 0), element);
}

static void fill(uint8_t *value, unsigned bytes, unsigned element)
{
	for (unsigned i = element; i < bytes; i++)
		value[i] = value[i - element];
}

/* MOVLPS and its relatives change one half; the other one is that of the second source. */
static void merge_half(struct execution *x, uint8_t *value, bool high)
{
	uint8_t half[8];

	memcpy(half, value, sizeof(half));
	read_vector(x->g, x->d->vector_bytes ? x->d->vvvv : x->d->reg, value);
	memcpy(value + (high ? 8 : 0), half, sizeof(half));
}

static void arrange(struct execution *x, const struct form *form, uint8_t *value)
{
	const unsigned bytes = x->d->vector_bytes ? x->d->vector_bytes : XMM_BYTES;

	switch (form->kind) {
	case FORM_VECTOR_LOAD_LOW:
	case FORM_VECTOR_LOAD_HIGH:
		merge_half(x, value, form->kind == FORM_VECTOR_LOAD_HIGH);
		break;
	case FORM_VECTOR_REPEAT:
		fill(value, bytes, form->bytes);
		break;
	case FORM_VECTOR_REPEAT_EVEN:
	case FORM_VECTOR_REPEAT_ODD:
		repeat_elements(value, bytes, form->element, form->kind == FORM_VECTOR_REPEAT_ODD);
		break;
	default:
		break;
	}
}

int execute_vector_load(struct execution *x)
{
	uint8_t value[VECTOR_BYTES] = {0};
	const int result = load_operand(x, value);

	if (result != EMUL_NEXT)
		return result;
	arrange(x, form_of(x->d), value);
	write_vector(x, value);
	return EMUL_NEXT;
}

int execute_vector_store(struct execution *x)
{
	uint8_t value[VECTOR_BYTES];

	read_vector(x->g, x->d->reg, value);
	return store_operand(x, value + (form_of(x->d)->kind == FORM_VECTOR_STORE_HIGH ? 8 : 0));
}

int execute_ldmxcsr(struct execution *x)
{
	uint8_t value[4];
	uint32_t mxcsr;
	const int result = load_operand(x, value);

	if (result != EMUL_NEXT)
		return result;
	memcpy(&mxcsr, value, sizeof(mxcsr));
	if (mxcsr & ~x->g->context.mxcsr_mask)
		return form_raise(x, VECTOR_GP);
	memcpy((uint8_t *)x->g->context.guest_area + MXCSR_OFFSET, value, sizeof(value));
	context_write_image(x->g);
	return EMUL_NEXT;
}

int execute_stmxcsr(struct execution *x)
{
	return store_operand(x, (const uint8_t *)x->g->context.guest_area + MXCSR_OFFSET);
}

/* ---- Hints ------------------------------------------------------------------------------------------------------- */

int execute_flush(struct execution *x)
{
	struct operand memory;

	return operand_locate_memory(x, false, &memory);
}

int execute_hint(struct execution *x)
{
	(void)x;
	return EMUL_NEXT;
}
