/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loads and stores of x87 and MMX registers, in their image (SDM Vol. 1, 8.1, 9.2 and table 10-2). See operations.h.
 */
#include "emul/context.h"
#include "emul/execute_forms.h"
#include "emul/x87.h"
#include "cpu/libc.h"

#define COMPONENT_X87 0u

/* The component as FXSAVE stores it with 64-bit pointers. */
struct x87_image {
	uint16_t control, status;
	uint8_t tags; /* a bit per physical register: it is not empty */
	uint8_t reserved;
	uint16_t opcode;
	uint64_t instruction, data;
	uint32_t mxcsr, mxcsr_mask;
	struct {
		uint64_t significand;
		uint16_t exponent;
		uint16_t reserved[3];
	} st[8]; /* from ST(0) on */
};
_Static_assert(sizeof(struct x87_image) == 160, "");

static struct x87_image *change_image(struct guest *g)
{
	return (struct x87_image *)(void *)context_change_component(g, COMPONENT_X87);
}

/* ---- The stack -------------------------------------------------------------------------------------------------- */

static unsigned top_of(const struct x87_image *image)
{
	return image->status >> X87_TOP_SHIFT & 7;
}

/* ST(0) becomes what was ST(by), without a change of the registers. */
static void rotate(struct x87_image *image, unsigned by)
{
	const struct x87_image old = *image;
	const unsigned top = (top_of(image) + by) & 7;

	for (unsigned i = 0; i < 8; i++)
		image->st[i] = old.st[(i + by) & 7];
	image->status = (uint16_t)((old.status & ~(7u << X87_TOP_SHIFT)) | top << X87_TOP_SHIFT);
}

static bool is_empty(const struct x87_image *image, unsigned st)
{
	return !(image->tags >> ((top_of(image) + st) & 7) & 1);
}

static void push(struct x87_image *image, struct x87_value value)
{
	rotate(image, 7);
	image->st[0].significand = value.significand;
	image->st[0].exponent = value.exponent;
	image->tags |= (uint8_t)(1u << top_of(image));
}

static void pop(struct x87_image *image)
{
	image->tags &= (uint8_t)~(1u << top_of(image));
	rotate(image, 1);
}

/* ---- Exceptions (SDM Vol. 1, 8.4, 8.5) ------------------------------------------------------------------------------ */

bool x87_exception_is_pending(const struct guest *g)
{
	const struct x87_image *image = (const struct x87_image *)(const void *)context_component(g, COMPONENT_X87);

	return image && image->status & X87_ES;
}

static void update_summary(struct x87_image *image)
{
	image->status &= (uint16_t)~(X87_ES | X87_B);
	if (image->status & ~image->control & X87_EXCEPTIONS)
		image->status |= X87_ES | X87_B;
}

/* The status of an instruction: exceptions stay until the guest clears them, C1 is the last one's. */
static void add_status(struct x87_image *image, uint32_t status)
{
	image->status = (uint16_t)((image->status & ~X87_C1) | status);
	update_summary(image);
}

/*
 * Unmasked, these leave operands as they are: overflow and underflow because the destination is in memory. CPUs load a
 * denormal value in any case.
 */
static bool is_suppressed(const struct x87_image *image, uint32_t status)
{
	return status & ~image->control & (X87_IE | X87_OE | X87_UE);
}

static void set_pointers(struct execution *x, struct x87_image *image)
{
	image->instruction = guest_get(x->g, G_RIP);
	image->data = decode_offset(x->g, x->d);
	image->opcode = (uint16_t)((x->d->opcode & 7) << 8 | x->d->modrm);
}

/* ---- Loads -------------------------------------------------------------------------------------------------------- */

static int read_memory(struct execution *x, void *value)
{
	struct operand memory;
	const int result = operand_locate_memory(x, false, &memory);

	return result == EMUL_NEXT ? operand_load(x, &memory, value) : result;
}

static int finish_load(struct execution *x, struct x87_value value, uint32_t status)
{
	struct x87_image *image = change_image(x->g);

	if (!is_empty(image, 7)) {
		status = X87_IE | X87_SF | X87_C1;
		value = X87_INDEFINITE;
	}
	set_pointers(x, image);
	if (!is_suppressed(image, status))
		push(image, value);
	add_status(image, status);
	context_write_image(x->g);
	return EMUL_NEXT;
}

int execute_x87_load(struct execution *x)
{
	struct x87_value value = {0, 0};
	uint32_t status = 0;
	const int result = read_memory(x, &value);

	if (result != EMUL_NEXT)
		return result;
	if (x->d->memory_bytes < 10)
		value = x87_from_float(value.significand, x->d->memory_bytes, &status);
	return finish_load(x, value, status);
}

int execute_x87_load_integer(struct execution *x)
{
	const unsigned unused = 64 - 8u * x->d->memory_bytes;
	uint64_t value = 0;
	const int result = read_memory(x, &value);

	if (result != EMUL_NEXT)
		return result;
	return finish_load(x, x87_from_integer((int64_t)(value << unused) >> unused), 0);
}

/* ---- Stores ------------------------------------------------------------------------------------------------------- */

/* What a store of ST(0) writes. An empty register is the indefinite value. */
struct stored {
	struct x87_value value; /* its first bytes, little-endian */
	uint32_t status;
};

static struct stored store_empty(unsigned bytes, bool integer)
{
	struct stored s = {X87_INDEFINITE, X87_IE | X87_SF};

	if (bytes < 10)
		s.value.significand = integer ? x87_indefinite_integer(bytes) : x87_indefinite_float(bytes);
	return s;
}

static struct stored convert(const struct x87_image *image, const struct form *form, bool integer)
{
	const enum x87_rounding rounding =
		form->kind == FORM_X87_STORE_TRUNCATED ? X87_TRUNCATE : (enum x87_rounding)(image->control >> 10 & 3);
	struct stored s = {{image->st[0].significand, image->st[0].exponent}, 0};

	if (is_empty(image, 0))
		return store_empty(form->bytes, integer);
	if (integer)
		s.value.significand = x87_to_integer(s.value, form->bytes, rounding, &s.status);
	else if (form->bytes < 10)
		s.value.significand = x87_to_float(s.value, form->bytes, image->control, &s.status);
	return s;
}

static int finish_store(struct execution *x, bool integer)
{
	const struct form *form = form_of(x->d);
	struct x87_image *image = change_image(x->g);
	const struct stored s = convert(image, form, integer);
	const bool suppressed = is_suppressed(image, s.status);
	struct operand memory;
	int result = operand_locate_memory(x, true, &memory);

	if (result == EMUL_NEXT && !suppressed)
		result = operand_store(x, &memory, &s.value);
	if (result != EMUL_NEXT)
		return result;
	set_pointers(x, image);
	if (form->flags & FORM_POP && !suppressed)
		pop(image);
	/* Nothing was rounded then. */
	add_status(image, suppressed ? s.status & ~(X87_PE | X87_C1) : s.status);
	context_write_image(x->g);
	return EMUL_NEXT;
}

int execute_x87_store(struct execution *x)
{
	return finish_store(x, false);
}

int execute_x87_store_integer(struct execution *x)
{
	return finish_store(x, true);
}

/* ---- The control and status words ------------------------------------------------------------------------------------ */

/* Bit 6 reads as 1, the others that are reserved as 0. */
#define CONTROL_BITS 0x1f3fu
#define CONTROL_ONES 0x40u

int execute_fldcw(struct execution *x)
{
	uint64_t value;
	const int result = operand_read(x, &value);
	struct x87_image *image;

	if (result != EMUL_NEXT)
		return result;
	image = change_image(x->g);
	image->control = (uint16_t)((value & CONTROL_BITS) | CONTROL_ONES);
	update_summary(image);
	context_write_image(x->g);
	return EMUL_NEXT;
}

int execute_fnstcw(struct execution *x)
{
	return operand_write(x, change_image(x->g)->control);
}

int execute_fnstsw(struct execution *x)
{
	return operand_write(x, change_image(x->g)->status);
}

/* ---- MMX --------------------------------------------------------------------------------------------------------------- */

/* Any MMX instruction but EMMS: the registers count from R0 on, and none is empty. */
static struct x87_image *begin_mmx(struct execution *x)
{
	struct x87_image *image = change_image(x->g);

	rotate(image, 8 - top_of(image));
	image->tags = 0xff;
	set_pointers(x, image);
	return image;
}

int execute_mmx_load(struct execution *x)
{
	uint64_t value;
	const int result = operand_read(x, &value);
	struct x87_image *image;

	if (result != EMUL_NEXT)
		return result;
	image = begin_mmx(x);
	image->st[x->d->reg & 7].significand = value;
	image->st[x->d->reg & 7].exponent = 0xffff;
	context_write_image(x->g);
	return EMUL_NEXT;
}

int execute_mmx_store(struct execution *x)
{
	const struct x87_image *before = change_image(x->g);
	const int result = operand_write(x, before->st[(x->d->reg - top_of(before)) & 7].significand);

	if (result != EMUL_NEXT)
		return result;
	begin_mmx(x);
	context_write_image(x->g);
	return EMUL_NEXT;
}
