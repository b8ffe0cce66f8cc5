/* SPDX-License-Identifier: Apache-2.0 */
/* See forms.h. Each row is an entry of SDM Vol. 2, or of several with the same effect. */
#include "emul/forms.h"

#define F(byte) (DECODE_0F | (byte))
#define F38(byte) (DECODE_0F38 | (byte))
#define ANY FORM_ANY

/* With both mandatory prefixes that packed moves have: of single and of double precision. */
#define PACKED(opcode, kind, bytes, flags) {opcode, 0, ANY, kind, bytes, flags, 0}, {opcode, 0x66, ANY, kind, bytes, flags, 0}

static const struct form forms[] = {
	/* MOVUPS, MOVUPD, MOVSS, MOVSD */
	PACKED(F(0x10), FORM_VECTOR_LOAD, 0, FORM_VEX),
	PACKED(F(0x11), FORM_VECTOR_STORE, 0, FORM_VEX),
	{F(0x10), 0xf3, ANY, FORM_VECTOR_LOAD, 4, FORM_VEX, 0},
	{F(0x10), 0xf2, ANY, FORM_VECTOR_LOAD, 8, FORM_VEX, 0},
	{F(0x11), 0xf3, ANY, FORM_VECTOR_STORE, 4, FORM_VEX, 0},
	{F(0x11), 0xf2, ANY, FORM_VECTOR_STORE, 8, FORM_VEX, 0},
	/* MOVLPS, MOVLPD, MOVHPS, MOVHPD */
	PACKED(F(0x12), FORM_VECTOR_LOAD_LOW, 8, FORM_VEX | FORM_VEX_SHORT | FORM_VVVV),
	PACKED(F(0x13), FORM_VECTOR_STORE, 8, FORM_VEX | FORM_VEX_SHORT),
	PACKED(F(0x16), FORM_VECTOR_LOAD_HIGH, 8, FORM_VEX | FORM_VEX_SHORT | FORM_VVVV),
	PACKED(F(0x17), FORM_VECTOR_STORE_HIGH, 8, FORM_VEX | FORM_VEX_SHORT),
	/* MOVSLDUP, MOVSHDUP, MOVDDUP */
	{F(0x12), 0xf3, ANY, FORM_VECTOR_REPEAT_EVEN, 0, FORM_VEX, 4},
	{F(0x16), 0xf3, ANY, FORM_VECTOR_REPEAT_ODD, 0, FORM_VEX, 4},
	{F(0x12), 0xf2, ANY, FORM_VECTOR_REPEAT_EVEN, 0, FORM_VEX, 8},
	/* MOVAPS, MOVAPD, MOVNTPS, MOVNTPD */
	PACKED(F(0x28), FORM_VECTOR_LOAD, 0, FORM_VEX | FORM_ALIGNED),
	PACKED(F(0x29), FORM_VECTOR_STORE, 0, FORM_VEX | FORM_ALIGNED),
	PACKED(F(0x2b), FORM_VECTOR_STORE, 0, FORM_VEX | FORM_ALIGNED),
	/* MOVD, MOVQ */
	{F(0x6e), 0, ANY, FORM_MMX_LOAD, 4, FORM_WIDE_W, 0},
	{F(0x6e), 0x66, ANY, FORM_VECTOR_LOAD, 4, FORM_VEX | FORM_VEX_SHORT | FORM_WIDE_W, 0},
	{F(0x7e), 0, ANY, FORM_MMX_STORE, 4, FORM_WIDE_W, 0},
	{F(0x7e), 0x66, ANY, FORM_VECTOR_STORE, 4, FORM_VEX | FORM_VEX_SHORT | FORM_WIDE_W, 0},
	{F(0x7e), 0xf3, ANY, FORM_VECTOR_LOAD, 8, FORM_VEX | FORM_VEX_SHORT, 0},
	{F(0xd6), 0x66, ANY, FORM_VECTOR_STORE, 8, FORM_VEX | FORM_VEX_SHORT, 0},
	/* MOVQ of MMX, MOVDQA, MOVDQU */
	{F(0x6f), 0, ANY, FORM_MMX_LOAD, 8, 0, 0},
	{F(0x6f), 0x66, ANY, FORM_VECTOR_LOAD, 0, FORM_VEX | FORM_ALIGNED, 0},
	{F(0x6f), 0xf3, ANY, FORM_VECTOR_LOAD, 0, FORM_VEX, 0},
	{F(0x7f), 0, ANY, FORM_MMX_STORE, 8, 0, 0},
	{F(0x7f), 0x66, ANY, FORM_VECTOR_STORE, 0, FORM_VEX | FORM_ALIGNED, 0},
	{F(0x7f), 0xf3, ANY, FORM_VECTOR_STORE, 0, FORM_VEX, 0},
	/* MOVNTQ, MOVNTDQ, LDDQU, MOVNTDQA */
	{F(0xe7), 0, ANY, FORM_MMX_STORE, 8, 0, 0},
	{F(0xe7), 0x66, ANY, FORM_VECTOR_STORE, 0, FORM_VEX | FORM_ALIGNED, 0},
	{F(0xf0), 0xf2, ANY, FORM_VECTOR_LOAD, 0, FORM_VEX, 0},
	{F38(0x2a), 0x66, ANY, FORM_VECTOR_LOAD, 0, FORM_VEX | FORM_ALIGNED, 0},
	/* VBROADCASTSS, SD, F128, VPBROADCASTD, Q, VBROADCASTI128, VPBROADCASTB, W */
	{F38(0x18), 0x66, ANY, FORM_VECTOR_REPEAT, 4, FORM_VEX_ONLY, 0},
	{F38(0x19), 0x66, ANY, FORM_VECTOR_REPEAT, 8, FORM_VEX_ONLY | FORM_VEX_LONG, 0},
	{F38(0x1a), 0x66, ANY, FORM_VECTOR_REPEAT, 16, FORM_VEX_ONLY | FORM_VEX_LONG, 0},
	{F38(0x58), 0x66, ANY, FORM_VECTOR_REPEAT, 4, FORM_VEX_ONLY, 0},
	{F38(0x59), 0x66, ANY, FORM_VECTOR_REPEAT, 8, FORM_VEX_ONLY, 0},
	{F38(0x5a), 0x66, ANY, FORM_VECTOR_REPEAT, 16, FORM_VEX_ONLY | FORM_VEX_LONG, 0},
	{F38(0x78), 0x66, ANY, FORM_VECTOR_REPEAT, 1, FORM_VEX_ONLY, 0},
	{F38(0x79), 0x66, ANY, FORM_VECTOR_REPEAT, 2, FORM_VEX_ONLY, 0},
	/* LDMXCSR, STMXCSR */
	{F(0xae), 0, 2, FORM_LDMXCSR, 4, FORM_VEX | FORM_VEX_SHORT, 0},
	{F(0xae), 0, 3, FORM_STMXCSR, 4, FORM_VEX | FORM_VEX_SHORT, 0},
	/* CLFLUSH, CLFLUSHOPT, CLWB */
	{F(0xae), 0, 7, FORM_FLUSH, 1, 0, 0},
	{F(0xae), 0x66, 7, FORM_FLUSH, 1, 0, 0},
	{F(0xae), 0x66, 6, FORM_FLUSH, 1, 0, 0},
	/* PREFETCH and PREFETCHW, PREFETCHh, CLDEMOTE */
	{F(0x0d), ANY, ANY, FORM_HINT, 1, 0, 0},
	{F(0x18), ANY, 0, FORM_HINT, 1, 0, 0},
	{F(0x18), ANY, 1, FORM_HINT, 1, 0, 0},
	{F(0x18), ANY, 2, FORM_HINT, 1, 0, 0},
	{F(0x18), ANY, 3, FORM_HINT, 1, 0, 0},
	{F(0x1c), 0, 0, FORM_HINT, 1, 0, 0},
	/* FLD, FST, FSTP */
	{0xd9, ANY, 0, FORM_X87_LOAD, 4, 0, 0},
	{0xdd, ANY, 0, FORM_X87_LOAD, 8, 0, 0},
	{0xdb, ANY, 5, FORM_X87_LOAD, 10, 0, 0},
	{0xd9, ANY, 2, FORM_X87_STORE, 4, 0, 0},
	{0xd9, ANY, 3, FORM_X87_STORE, 4, FORM_POP, 0},
	{0xdd, ANY, 2, FORM_X87_STORE, 8, 0, 0},
	{0xdd, ANY, 3, FORM_X87_STORE, 8, FORM_POP, 0},
	{0xdb, ANY, 7, FORM_X87_STORE, 10, FORM_POP, 0},
	/* FILD, FIST, FISTP, FISTTP */
	{0xdf, ANY, 0, FORM_X87_LOAD_INTEGER, 2, 0, 0},
	{0xdb, ANY, 0, FORM_X87_LOAD_INTEGER, 4, 0, 0},
	{0xdf, ANY, 5, FORM_X87_LOAD_INTEGER, 8, 0, 0},
	{0xdf, ANY, 2, FORM_X87_STORE_INTEGER, 2, 0, 0},
	{0xdb, ANY, 2, FORM_X87_STORE_INTEGER, 4, 0, 0},
	{0xdf, ANY, 3, FORM_X87_STORE_INTEGER, 2, FORM_POP, 0},
	{0xdb, ANY, 3, FORM_X87_STORE_INTEGER, 4, FORM_POP, 0},
	{0xdf, ANY, 7, FORM_X87_STORE_INTEGER, 8, FORM_POP, 0},
	{0xdf, ANY, 1, FORM_X87_STORE_TRUNCATED, 2, FORM_POP, 0},
	{0xdb, ANY, 1, FORM_X87_STORE_TRUNCATED, 4, FORM_POP, 0},
	{0xdd, ANY, 1, FORM_X87_STORE_TRUNCATED, 8, FORM_POP, 0},
	/* FLDCW, FNSTCW, FNSTSW */
	{0xd9, ANY, 5, FORM_FLDCW, 2, 0, 0},
	{0xd9, ANY, 7, FORM_FNSTCW, 2, 0, 0},
	{0xdd, ANY, 7, FORM_FNSTSW, 2, 0, 0},
};

#define FORMS (sizeof(forms) / sizeof(forms[0]))
_Static_assert(FORMS <= UINT8_MAX, "decode.form numbers them");

const struct form *form_of(const struct decode *d)
{
	return &forms[d->form];
}

static bool matches(const struct form *form, const struct decode *d, const struct form_prefix *prefix)
{
	return form->opcode == d->opcode && (form->prefix == FORM_ANY || form->prefix == prefix->mandatory) &&
	       (form->extension == FORM_ANY || form->extension == (d->modrm >> 3 & 7)) &&
	       (prefix->vex ? form->flags & (FORM_VEX | FORM_VEX_ONLY) : !(form->flags & FORM_VEX_ONLY));
}

/* MOVDDUP alone reads half of a short vector. */
static uint8_t memory_bytes(const struct form *form, const struct decode *d, uint8_t length)
{
	if (form->flags & FORM_WIDE_W && d->rex & 8)
		return 8;
	if (form->element == 8 && length == 16)
		return 8;
	return form->bytes ? form->bytes : length;
}

static bool vex_fits(const struct form *form, const struct decode *d, const struct form_prefix *prefix)
{
	if (!(form->flags & FORM_VVVV) && d->vvvv)
		return false;
	if (form->flags & FORM_VEX_ONLY && prefix->w)
		return false;
	return !(form->flags & (prefix->length == 16 ? FORM_VEX_LONG : FORM_VEX_SHORT));
}

enum decode_status form_find(struct decode *d, const struct form_prefix *prefix)
{
	for (unsigned i = 0; i < FORMS; i++) {
		const struct form *form = &forms[i];

		if (!matches(form, d, prefix))
			continue;
		d->form = (uint8_t)i;
		d->vector_bytes = prefix->vex ? prefix->length : 0;
		d->memory_bytes = d->operand_bytes = memory_bytes(form, d, prefix->length);
		return !prefix->vex || vex_fits(form, d, prefix) ? DECODE_OK : DECODE_UD;
	}
	return DECODE_UNKNOWN;
}
