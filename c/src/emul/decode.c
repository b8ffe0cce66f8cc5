/* SPDX-License-Identifier: Apache-2.0 */
/* See decode.h. Sections are those of SDM Vol. 2, unless it says otherwise. */
#include "emul/decode.h"

#include "cpu/libc.h"
#include "emul/alu.h"
#include "emul/forms.h"

/* ---- The opcodes ---------------------------------------------------------------------------------------- */

enum {
	KNOWN = 1 << 0,
	MODRM = 1 << 1,
	IMM8 = 1 << 2,
	IMMZ = 1 << 3,      /* 2 or 4 bytes, by the operand size (appendix A.2.2, "z") */
	MOFFS = 1 << 4,     /* an address of the address size (A.2.1, "O") */
	BYTE = 1 << 5,      /* 8-bit operand */
	NO_REX_W = 1 << 6,  /* 64-bit operands do not exist: REX.W makes them 32-bit ones */
	DIGIT0 = 1 << 7,    /* an opcode extension: others than /0 are unknown */
	LONG_ONLY = 1 << 8, /* another instruction outside 64-bit mode */
	NO_MEMORY = 1 << 9, /* ModRM.mod is not looked at: r/m is a register */
	SOURCE8 = 1 << 10,  /* the r/m operand is narrower than the register */
	SOURCE16 = 1 << 11,
	SOURCE32 = 1 << 12,
	TEST_IMM = 1 << 13, /* the immediate is there for /0 and /1 only */
	MEMORY = 1 << 14,   /* r/m must be memory */
	LOCK = 1 << 15,     /* LOCK is allowed with an operand in memory */
	STACK = 1 << 16,    /* in 64-bit mode the operand has 64 bits, or 16 with 66 */
	NO_66 = 1 << 17,    /* a 66, F2 or F3 makes another instruction of it */
	NEED_F3 = 1 << 18,  /* without F3 it is another instruction, and F2 has no meaning */
	NO_F2 = 1 << 19,    /* F2 makes another instruction of it */
};

struct opcode {
	uint32_t flags;
	uint8_t kind;
	uint8_t operation;
};

#define MAP_ENTRIES 256

/* r/m and register, in both directions, of 8 bits and wider. */
#define ALU(opcode)                                                                                   \
	[(opcode)] = {KNOWN | MODRM | BYTE, DECODE_ALU, OP_NONE}, [(opcode) + 1] = {KNOWN | MODRM, DECODE_ALU, OP_NONE}, \
	[(opcode) + 2] = {KNOWN | MODRM | BYTE, DECODE_ALU, OP_NONE}, [(opcode) + 3] = {KNOWN | MODRM, DECODE_ALU, OP_NONE}

#define EXECUTE(operation) DECODE_EXECUTE, operation

/* 8 bits and wider. */
#define PAIR(opcode, flags, operation)                                                                    \
	[(opcode)] = {KNOWN | BYTE | (flags), EXECUTE(operation)}, [(opcode) + 1] = {KNOWN | (flags), EXECUTE(operation)}

#define FOUR(opcode, flags, operation)                                                                    \
	[(opcode)] = {KNOWN | MODRM | (flags), EXECUTE(operation)},                                        \
	[(opcode) + 1] = {KNOWN | MODRM | (flags), EXECUTE(operation)},                                    \
	[(opcode) + 2] = {KNOWN | MODRM | (flags), EXECUTE(operation)},                                    \
	[(opcode) + 3] = {KNOWN | MODRM | (flags), EXECUTE(operation)}
/* With a register in the opcode. */
#define EIGHT(opcode, flags, operation)                                                                   \
	[(opcode)] = {KNOWN | (flags), EXECUTE(operation)}, [(opcode) + 1] = {KNOWN | (flags), EXECUTE(operation)}, \
	[(opcode) + 2] = {KNOWN | (flags), EXECUTE(operation)}, [(opcode) + 3] = {KNOWN | (flags), EXECUTE(operation)}, \
	[(opcode) + 4] = {KNOWN | (flags), EXECUTE(operation)}, [(opcode) + 5] = {KNOWN | (flags), EXECUTE(operation)}, \
	[(opcode) + 6] = {KNOWN | (flags), EXECUTE(operation)}, [(opcode) + 7] = {KNOWN | (flags), EXECUTE(operation)}
#define SIXTEEN(opcode, flags, operation)                                                                 \
	FOUR(opcode, flags, operation), FOUR((opcode) + 4, flags, operation), FOUR((opcode) + 8, flags, operation), \
		FOUR((opcode) + 12, flags, operation)

/* One of emul/forms.c, all of which are in memory. */
#define FORM(opcode) [(opcode)] = {KNOWN | MODRM | MEMORY, EXECUTE(OP_FORM)}

static const struct opcode one_byte[MAP_ENTRIES] = {
	ALU(0x00), /* ADD */
	ALU(0x08), /* OR */
	ALU(0x10), /* ADC */
	ALU(0x18), /* SBB */
	ALU(0x20), /* AND */
	ALU(0x28), /* SUB */
	ALU(0x30), /* XOR */
	ALU(0x38), /* CMP */
	EIGHT(0x50, STACK, OP_PUSH),
	EIGHT(0x58, STACK, OP_POP),
	[0x63] = {KNOWN | MODRM | LONG_ONLY | SOURCE32, DECODE_LOAD_SIGN_EXTEND, OP_NONE}, /* MOVSXD */
	[0x68] = {KNOWN | IMMZ | STACK, EXECUTE(OP_PUSH)},
	[0x69] = {KNOWN | MODRM | IMMZ, EXECUTE(OP_IMUL)},
	[0x6a] = {KNOWN | IMM8 | STACK, EXECUTE(OP_PUSH)},
	[0x6b] = {KNOWN | MODRM | IMM8, EXECUTE(OP_IMUL)},
	[0x6c] = {KNOWN | BYTE, DECODE_INS, OP_NONE},
	[0x6d] = {KNOWN | NO_REX_W, DECODE_INS, OP_NONE},
	[0x6e] = {KNOWN | BYTE, DECODE_OUTS, OP_NONE},
	[0x6f] = {KNOWN | NO_REX_W, DECODE_OUTS, OP_NONE},
	[0x80] = {KNOWN | MODRM | BYTE | IMM8, DECODE_ALU, OP_NONE},
	[0x81] = {KNOWN | MODRM | IMMZ, DECODE_ALU, OP_NONE},
	[0x83] = {KNOWN | MODRM | IMM8, DECODE_ALU, OP_NONE},
	[0x84] = {KNOWN | MODRM | BYTE, DECODE_ALU, OP_NONE}, /* TEST */
	[0x85] = {KNOWN | MODRM, DECODE_ALU, OP_NONE},
	PAIR(0x86, MODRM | LOCK, OP_XCHG),
	[0x88] = {KNOWN | MODRM | BYTE, DECODE_STORE, OP_NONE},
	[0x89] = {KNOWN | MODRM, DECODE_STORE, OP_NONE},
	[0x8a] = {KNOWN | MODRM | BYTE, DECODE_LOAD, OP_NONE},
	[0x8b] = {KNOWN | MODRM, DECODE_LOAD, OP_NONE},
	[0x8c] = {KNOWN | MODRM | SOURCE16, EXECUTE(OP_MOV_FROM_SEGMENT)},
	[0x8e] = {KNOWN | MODRM | SOURCE16, EXECUTE(OP_MOV_TO_SEGMENT)},
	[0x8f] = {KNOWN | MODRM | DIGIT0 | STACK, EXECUTE(OP_POP)},
	[0xa0] = {KNOWN | MOFFS | BYTE, DECODE_LOAD, OP_NONE},
	[0xa1] = {KNOWN | MOFFS, DECODE_LOAD, OP_NONE},
	[0xa2] = {KNOWN | MOFFS | BYTE, DECODE_STORE, OP_NONE},
	[0xa3] = {KNOWN | MOFFS, DECODE_STORE, OP_NONE},
	PAIR(0xa4, 0, OP_MOVS),
	PAIR(0xa6, 0, OP_CMPS),
	PAIR(0xaa, 0, OP_STOS),
	PAIR(0xac, 0, OP_LODS),
	PAIR(0xae, 0, OP_SCAS),
	PAIR(0xc0, MODRM | IMM8, OP_SHIFT),
	[0xc6] = {KNOWN | MODRM | BYTE | IMM8 | DIGIT0, DECODE_STORE_IMMEDIATE, OP_NONE},
	[0xc7] = {KNOWN | MODRM | IMMZ | DIGIT0, DECODE_STORE_IMMEDIATE, OP_NONE},
	PAIR(0xd0, MODRM, OP_SHIFT),
	PAIR(0xd2, MODRM, OP_SHIFT),
	[0xd7] = {KNOWN | BYTE, EXECUTE(OP_XLAT)},
	FORM(0xd9), /* x87 */
	FORM(0xdb),
	FORM(0xdd),
	FORM(0xdf),
	[0xe4] = {KNOWN | BYTE | IMM8, DECODE_IN, OP_NONE},
	[0xe5] = {KNOWN | NO_REX_W | IMM8, DECODE_IN, OP_NONE},
	[0xe6] = {KNOWN | BYTE | IMM8, DECODE_OUT, OP_NONE},
	[0xe7] = {KNOWN | NO_REX_W | IMM8, DECODE_OUT, OP_NONE},
	[0xec] = {KNOWN | BYTE, DECODE_IN, OP_NONE},
	[0xed] = {KNOWN | NO_REX_W, DECODE_IN, OP_NONE},
	[0xee] = {KNOWN | BYTE, DECODE_OUT, OP_NONE},
	[0xef] = {KNOWN | NO_REX_W, DECODE_OUT, OP_NONE},
	[0xf4] = {KNOWN, DECODE_OTHER, OP_NONE}, /* HLT */
	[0xf6] = {KNOWN | MODRM | BYTE | IMM8 | TEST_IMM, DECODE_ALU, OP_NONE}, /* group 3 */
	[0xf7] = {KNOWN | MODRM | IMMZ | TEST_IMM, DECODE_ALU, OP_NONE},
	[0xfe] = {KNOWN | MODRM | BYTE, DECODE_ALU, OP_NONE}, /* INC, DEC */
	[0xff] = {KNOWN | MODRM, DECODE_ALU, OP_NONE},
};

static const struct opcode two_byte[MAP_ENTRIES] = {
	[0x01] = {KNOWN | MODRM, DECODE_OTHER, OP_NONE}, /* a group: group7() */
	[0x06] = {KNOWN, DECODE_OTHER, OP_NONE},         /* CLTS */
	[0x08] = {KNOWN, DECODE_OTHER, OP_NONE},         /* INVD */
	[0x09] = {KNOWN, DECODE_OTHER, OP_NONE},         /* WBINVD */
	FORM(0x0d), /* PREFETCH */
	FORM(0x10), /* MOVUPS, MOVSS ... */
	FORM(0x11),
	FORM(0x12), /* MOVLPS ... */
	FORM(0x13),
	FORM(0x16),
	FORM(0x17),
	FORM(0x18), /* PREFETCHh */
	FORM(0x1c), /* CLDEMOTE */
	[0x20] = {KNOWN | MODRM | NO_MEMORY, DECODE_MOV_CR, OP_NONE},
	[0x21] = {KNOWN | MODRM | NO_MEMORY, DECODE_MOV_DR, OP_NONE},
	[0x22] = {KNOWN | MODRM | NO_MEMORY, DECODE_MOV_CR, OP_NONE},
	[0x23] = {KNOWN | MODRM | NO_MEMORY, DECODE_MOV_DR, OP_NONE},
	FORM(0x28), /* MOVAPS, MOVNTPS ... */
	FORM(0x29),
	FORM(0x2b),
	SIXTEEN(0x40, 0, OP_CMOVCC),
	FORM(0x6e), /* MOVD, MOVQ, MOVDQA, MOVDQU */
	FORM(0x6f),
	FORM(0x7e),
	FORM(0x7f),
	SIXTEEN(0x90, BYTE, OP_SETCC),
	[0xa3] = {KNOWN | MODRM, EXECUTE(OP_BIT)},
	[0xa4] = {KNOWN | MODRM | IMM8, EXECUTE(OP_SHIFT_DOUBLE)},
	[0xa5] = {KNOWN | MODRM, EXECUTE(OP_SHIFT_DOUBLE)},
	[0xab] = {KNOWN | MODRM | LOCK, EXECUTE(OP_BIT)},
	[0xac] = {KNOWN | MODRM | IMM8, EXECUTE(OP_SHIFT_DOUBLE)},
	[0xad] = {KNOWN | MODRM, EXECUTE(OP_SHIFT_DOUBLE)},
	FORM(0xae), /* CLFLUSH, LDMXCSR ... */
	[0xaf] = {KNOWN | MODRM, EXECUTE(OP_IMUL)},
	PAIR(0xb0, MODRM | LOCK, OP_CMPXCHG),
	[0xb3] = {KNOWN | MODRM | LOCK, EXECUTE(OP_BIT)},
	[0xb8] = {KNOWN | MODRM | NEED_F3, EXECUTE(OP_POPCNT)},
	[0xba] = {KNOWN | MODRM | IMM8 | LOCK, EXECUTE(OP_BIT)},
	[0xbb] = {KNOWN | MODRM | LOCK, EXECUTE(OP_BIT)},
	[0xbc] = {KNOWN | MODRM, EXECUTE(OP_BIT_SCAN)},
	[0xbd] = {KNOWN | MODRM, EXECUTE(OP_BIT_SCAN)},
	PAIR(0xc0, MODRM | LOCK, OP_XADD),
	[0xc3] = {KNOWN | MODRM | MEMORY | NO_66, EXECUTE(OP_MOVNTI)},
	[0xc7] = {KNOWN | MODRM | MEMORY | LOCK, EXECUTE(OP_CMPXCHG_PAIR)},
	FORM(0xd6), /* MOVQ, MOVNTDQ, LDDQU */
	FORM(0xe7),
	FORM(0xf0),
	[0x30] = {KNOWN, DECODE_OTHER, OP_NONE}, /* WRMSR */
	[0x31] = {KNOWN, DECODE_OTHER, OP_NONE}, /* RDTSC */
	[0x32] = {KNOWN, DECODE_OTHER, OP_NONE}, /* RDMSR */
	[0xa2] = {KNOWN, DECODE_OTHER, OP_NONE}, /* CPUID */
	[0xb6] = {KNOWN | MODRM | SOURCE8, DECODE_LOAD_ZERO_EXTEND, OP_NONE},
	[0xb7] = {KNOWN | MODRM | SOURCE16, DECODE_LOAD_ZERO_EXTEND, OP_NONE},
	[0xbe] = {KNOWN | MODRM | SOURCE8, DECODE_LOAD_SIGN_EXTEND, OP_NONE},
	[0xbf] = {KNOWN | MODRM | SOURCE16, DECODE_LOAD_SIGN_EXTEND, OP_NONE},
};

/* 0F 38. */
static const struct opcode three_byte[MAP_ENTRIES] = {
	FORM(0x18), /* VBROADCASTSS ... */
	FORM(0x19),
	FORM(0x1a),
	FORM(0x2a), /* MOVNTDQA */
	FORM(0x58),
	FORM(0x59),
	FORM(0x5a),
	FORM(0x78),
	FORM(0x79),
	[0xf0] = {KNOWN | MODRM | MEMORY | NO_F2, EXECUTE(OP_MOVBE)},
	[0xf1] = {KNOWN | MODRM | MEMORY | NO_F2, EXECUTE(OP_MOVBE)},
};

/* ---- Reading the bytes ------------------------------------------------------------------------------------ */

#define REX_W 0x8u
#define REX_R 0x4u
#define REX_X 0x2u
#define REX_B 0x1u

/*
 * The guest's 15 bytes and zeroes, which are no prefix. An opcode of three bytes that begins at the last of
 * the 15, ModRM, SIB, a displacement and an immediate still fit, each value read as 8 bytes: so nobody
 * checks for the end of the bytes before decode_bytes does.
 */
#define PADDED_LENGTH 40

struct reader {
	const uint8_t *bytes; /* PADDED_LENGTH, zeroes after the last of the guest's */
	unsigned at;
	unsigned mode;
	bool operand_override, address_override;
	uint8_t segment_override; /* DECODE_NO_REGISTER: none */
	struct form_prefix vex;   /* of an instruction with VEX */
	bool prefix_before_vex;   /* one that makes it #UD */
};

static uint8_t next_byte(struct reader *r)
{
	return r->bytes[r->at++];
}

/* `bytes` little-endian bytes, 1, 2, 4 or 8, in the upper end of the result. */
static uint64_t next_shifted(struct reader *r, unsigned bytes)
{
	uint64_t value;

	__builtin_memcpy(&value, r->bytes + r->at, sizeof(value));
	r->at += bytes;
	return value << (64 - 8 * bytes);
}

static uint64_t next_value(struct reader *r, unsigned bytes)
{
	return next_shifted(r, bytes) >> (64 - 8 * bytes);
}

static uint64_t next_signed(struct reader *r, unsigned bytes)
{
	return (uint64_t)((int64_t)next_shifted(r, bytes) >> (64 - 8 * bytes));
}

/* ---- Prefixes (2.1.1, 2.2.1) ------------------------------------------------------------------------------- */

/* In 64-bit mode the prefixes of CS, DS, ES and SS do nothing, not even to an FS before them. */
static void override_segment(struct reader *r, uint8_t segment)
{
	if (r->mode != 8 || segment == X86VCPU_SEGMENT_FS || segment == X86VCPU_SEGMENT_GS)
		r->segment_override = segment;
}

static bool legacy_prefix(struct reader *r, struct decode *d, uint8_t byte)
{
	switch (byte) {
	case 0x26:
		override_segment(r, X86VCPU_SEGMENT_ES);
		return true;
	case 0x2e:
		override_segment(r, X86VCPU_SEGMENT_CS);
		return true;
	case 0x36:
		override_segment(r, X86VCPU_SEGMENT_SS);
		return true;
	case 0x3e:
		override_segment(r, X86VCPU_SEGMENT_DS);
		return true;
	case 0x64:
		override_segment(r, X86VCPU_SEGMENT_FS);
		return true;
	case 0x65:
		override_segment(r, X86VCPU_SEGMENT_GS);
		return true;
	case 0x66:
		r->operand_override = true;
		return true;
	case 0x67:
		r->address_override = true;
		return true;
	case 0xf0:
		d->lock = true;
		return true;
	case 0xf2:
	case 0xf3:
		d->rep = byte;
		return true;
	default:
		return false;
	}
}

/*
 * Takes all prefixes and returns the byte after them, be it the first of the padding. A REX counts only
 * right before the opcode.
 */
static uint8_t take_prefixes(struct reader *r, struct decode *d)
{
	for (;;) {
		const uint8_t byte = next_byte(r);

		if (r->mode == 8 && (byte & 0xf0) == 0x40)
			d->rex = byte;
		else if (one_byte[byte].flags & KNOWN || !legacy_prefix(r, d, byte))
			return byte;
		else
			d->rex = 0;
	}
}

/* Table 3-3 of Vol. 1. */
static uint8_t address_size(const struct reader *r)
{
	if (r->mode == 8)
		return r->address_override ? 4 : 8;
	return (r->mode == 2) != r->address_override ? 2 : 4;
}

static uint8_t operand_size(const struct reader *r, const struct decode *d, unsigned flags)
{
	if (flags & BYTE)
		return 1;
	if (flags & STACK && r->mode == 8)
		return r->operand_override && !(d->rex & REX_W) ? 2 : 8;
	if (d->rex & REX_W)
		return flags & NO_REX_W ? 4 : 8;
	return (r->mode == 2) != r->operand_override ? 2 : 4;
}

/* ---- ModRM (2.1.5) ------------------------------------------------------------------------------------------ */

struct modrm16 {
	uint8_t base, index, segment;
};

/* Table 2-1. 3: BX, 5: BP, 6: SI, 7: DI. */
static const struct modrm16 modrm16_table[8] = {
	{3, 6, X86VCPU_SEGMENT_DS},
	{3, 7, X86VCPU_SEGMENT_DS},
	{5, 6, X86VCPU_SEGMENT_SS},
	{5, 7, X86VCPU_SEGMENT_SS},
	{6, DECODE_NO_REGISTER, X86VCPU_SEGMENT_DS},
	{7, DECODE_NO_REGISTER, X86VCPU_SEGMENT_DS},
	{5, DECODE_NO_REGISTER, X86VCPU_SEGMENT_SS},
	{3, DECODE_NO_REGISTER, X86VCPU_SEGMENT_DS},
};

static void address16(struct reader *r, struct decode *d)
{
	const unsigned mod = d->modrm >> 6, rm = d->modrm & 7;
	const struct modrm16 *row = &modrm16_table[rm];

	if (mod == 0 && rm == 6) {
		d->displacement = next_value(r, 2);
		return;
	}
	d->base = row->base;
	d->index = row->index;
	d->segment = row->segment;
	if (mod != 0)
		d->displacement = next_signed(r, mod);
}

/* Based on SP or BP an operand is in SS (3.7.5 of Vol. 1); R12 and R13 are not these. */
static void set_base(struct decode *d, uint8_t base)
{
	d->base = base;
	if (base == 4 || base == 5)
		d->segment = X86VCPU_SEGMENT_SS;
}

/*
 * Table 2-3. "No base" and "no index" are told by the field, but REX.X belongs to the index before it
 * is compared with 4, and REX.B does not belong to the base before it is compared with 5 (table 2-5).
 */
static void take_sib(struct reader *r, struct decode *d, unsigned mod)
{
	const uint8_t sib = next_byte(r);
	const uint8_t index = (sib >> 3 & 7) | (d->rex & REX_X ? 8 : 0);

	if (index != 4)
		d->index = index;
	d->scale = sib >> 6;
	if (mod == 0 && (sib & 7) == 5)
		d->displacement = next_signed(r, 4);
	else
		set_base(d, (sib & 7) | (d->rex & REX_B ? 8 : 0));
}

/* Table 2-2; in 64-bit mode mod 0, rm 5 is relative to RIP, whatever REX.B is (2.2.1.6). */
static void address32(struct reader *r, struct decode *d)
{
	const unsigned mod = d->modrm >> 6, rm = d->modrm & 7;

	if (rm == 4) {
		take_sib(r, d, mod);
	} else if (mod == 0 && rm == 5) {
		d->displacement = next_signed(r, 4);
		if (r->mode == 8)
			d->base = DECODE_BASE_RIP;
	} else {
		set_base(d, d->rm);
	}
	if (mod == 1)
		d->displacement = next_signed(r, 1);
	else if (mod == 2)
		d->displacement = next_signed(r, 4);
}

static void take_modrm(struct reader *r, struct decode *d, unsigned flags)
{
	d->modrm = next_byte(r);
	d->has_modrm = true;
	d->reg = (d->modrm >> 3 & 7) | (d->rex & REX_R ? 8 : 0);
	d->rm = (d->modrm & 7) | (d->rex & REX_B ? 8 : 0);
	if (flags & NO_MEMORY || d->modrm >> 6 == 3)
		return;
	d->has_memory = true;
	if (d->address_bytes == 2)
		address16(r, d);
	else
		address32(r, d);
}

/* ---- Operands -------------------------------------------------------------------------------------------- */

static void take_operands(struct reader *r, struct decode *d, unsigned flags)
{
	if (flags & MODRM)
		take_modrm(r, d, flags);
	if (flags & MOFFS) {
		d->has_memory = true;
		d->displacement = next_value(r, d->address_bytes);
	}
	if (flags & TEST_IMM && (d->modrm >> 3 & 7) > 1)
		flags &= ~(unsigned)(IMM8 | IMMZ);
	if (flags & IMM8)
		d->immediate = next_signed(r, 1);
	if (flags & IMMZ)
		d->immediate = next_signed(r, d->operand_bytes == 2 ? 2 : 4);
	if (r->segment_override != DECODE_NO_REGISTER)
		d->segment = r->segment_override;
}

/* MOVSXD with a 16-bit operand reads 16 bits (Vol. 2, MOVSX). */
static uint8_t memory_size(const struct decode *d, unsigned flags)
{
	if (flags & SOURCE8)
		return 1;
	if (flags & SOURCE16)
		return 2;
	if (flags & SOURCE32 && d->operand_bytes != 2)
		return 4;
	return d->kind == DECODE_OTHER ? 0 : d->operand_bytes;
}

/* 0F 01: SMSW, LMSW and a few whole ModRM bytes, some of which no 66, F2 or F3 may stand before ("NP"). */
static enum decode_status group7(const struct reader *r, struct decode *d)
{
	const unsigned operation = d->modrm >> 3 & 7;

	if (operation == 4 || operation == 6) {
		d->kind = operation == 4 ? DECODE_SMSW : DECODE_LMSW;
		d->memory_bytes = 2;
		return DECODE_OK;
	}
	switch (d->modrm) {
	case 0xc1: /* VMCALL */
	case 0xd1: /* XSETBV */
		return r->operand_override || d->rep ? DECODE_UNKNOWN : DECODE_OK;
	case 0xd9: /* VMMCALL */
	case 0xf9: /* RDTSCP */
		return DECODE_OK;
	default:
		return DECODE_UNKNOWN;
	}
}

/* CR0, CR2, CR3, CR4 and CR8 exist; the operand has the mode's full width (MOV, control registers). */
static enum decode_status finish_mov_cr(const struct reader *r, struct decode *d)
{
	d->operand_bytes = r->mode == 8 ? 8 : 4;
	d->memory_bytes = 0;
	switch (d->reg) {
	case 0:
	case 2:
	case 3:
	case 4:
	case 8:
		return DECODE_OK;
	default:
		return DECODE_UD;
	}
}

/* Groups 3, 4 and 5 have other instructions too. */
static bool alu_known(const struct decode *d)
{
	const unsigned extension = d->modrm >> 3 & 7;

	return d->opcode < 0xfe || extension <= 1;
}

/*
 * Group 3 has multiplications and divisions beside arithmetic. Group 5 has branches through memory, whose operand always
 * has 64 bits in 64-bit mode, and PUSH.
 */
static void refine_group(const struct reader *r, struct decode *d)
{
	const unsigned extension = d->modrm >> 3 & 7;
	static const uint8_t group5[8] = {[2] = OP_CALL, [4] = OP_JMP, [6] = OP_PUSH};

	if ((d->opcode == 0xf6 || d->opcode == 0xf7) && extension >= 4) {
		d->kind = DECODE_EXECUTE;
		d->operation = OP_MULTIPLY_DIVIDE;
	} else if (d->opcode == 0xff && group5[extension]) {
		d->kind = DECODE_EXECUTE;
		d->operation = group5[extension];
		if (r->mode == 8)
			d->operand_bytes = d->operation == OP_PUSH ? operand_size(r, d, STACK) : 8;
		d->memory_bytes = d->operand_bytes;
	}
}

/* ES to GS, and CS only as a source. */
static bool segment_register_exists(const struct decode *d)
{
	const unsigned segment = d->modrm >> 3 & 7;

	return segment <= X86VCPU_SEGMENT_GS && (d->operation == OP_MOV_FROM_SEGMENT || segment != X86VCPU_SEGMENT_CS);
}

/* F2 and F3 come before 66, and the last of the two counts. */
static enum decode_status finish_form(const struct reader *r, struct decode *d)
{
	const struct form_prefix legacy = {d->rep ? d->rep : r->operand_override ? 0x66 : 0, false, false, 16};
	const enum decode_status status = form_find(d, r->vex.vex ? &r->vex : &legacy);

	if (r->mode != 8)
		d->vvvv &= 7;
	return status == DECODE_OK && r->prefix_before_vex ? DECODE_UD : status;
}

/* What the row alone does not say of DECODE_EXECUTE. */
static enum decode_status finish_execute(const struct reader *r, struct decode *d)
{
	const unsigned extension = d->modrm >> 3 & 7;

	switch (d->operation) {
	case OP_FORM:
		return finish_form(r, d);
	case OP_BIT:
		return d->opcode == (DECODE_0F | 0xba) && extension < 4 ? DECODE_UNKNOWN : DECODE_OK;
	case OP_CMPXCHG_PAIR:
		d->operand_bytes = d->rex & REX_W ? 8 : 4;
		d->memory_bytes = 2 * d->operand_bytes;
		return extension == 1 ? DECODE_OK : DECODE_UNKNOWN;
	case OP_MOVNTI:
		d->operand_bytes = d->memory_bytes = d->rex & REX_W ? 8 : 4;
		return DECODE_OK;
	case OP_MOV_FROM_SEGMENT:
	case OP_MOV_TO_SEGMENT:
		d->reg = extension;
		return segment_register_exists(d) ? DECODE_OK : DECODE_UD;
	default:
		return DECODE_OK;
	}
}

static bool prefixes_fit(const struct reader *r, const struct decode *d, unsigned flags)
{
	if (flags & NO_66 && (r->operand_override || d->rep))
		return false;
	if (flags & NEED_F3 && d->rep != 0xf3)
		return false;
	return !(flags & NO_F2 && d->rep);
}

/* BT only reads, by a register or by an immediate. */
static bool bit_is_written(const struct decode *d)
{
	return d->operation != OP_BIT || d->opcode != (DECODE_0F | 0xba) || (d->modrm >> 3 & 7) != 4;
}

/* Of the instructions known here, those that write memory after they have read it (Vol. 2, LOCK). */
static bool may_be_locked(const struct decode *d, unsigned flags)
{
	if (!d->has_memory)
		return false;
	if (d->kind == DECODE_ALU)
		return !alu_to_register(d) && alu_has_result(alu_operation(d));
	return flags & LOCK && bit_is_written(d);
}

static enum decode_status finish(const struct reader *r, struct decode *d, unsigned flags)
{
	enum decode_status status = DECODE_OK;

	d->memory_bytes = memory_size(d, flags);
	if (flags & DIGIT0 && d->modrm >> 3 & 7)
		return DECODE_UNKNOWN;
	if (!prefixes_fit(r, d, flags) || (flags & MEMORY && !d->has_memory))
		return DECODE_UNKNOWN;
	refine_group(r, d);
	if (d->opcode == (DECODE_0F | 0x01))
		status = group7(r, d);
	else if (d->kind == DECODE_MOV_CR)
		status = finish_mov_cr(r, d);
	else if (d->kind == DECODE_ALU && !alu_known(d))
		status = DECODE_UNKNOWN;
	else if (d->kind == DECODE_EXECUTE)
		status = finish_execute(r, d);
	if (status == DECODE_OK && d->lock && !may_be_locked(d, flags))
		status = DECODE_UD;
	return status;
}

static const struct opcode unknown_opcode;

/*
 * The rest of VEX (2.3.5), whose bits are inverted. Outside 64-bit mode it has no R, X and B, and vvvv has three bits. Of
 * the instructions with VEX only forms are known.
 */
static const struct opcode *take_vex(struct reader *r, struct decode *d, uint8_t first, bool three_bytes)
{
	static const uint8_t mandatory[4] = {0, 0x66, 0xf3, 0xf2};
	const uint8_t last = three_bytes ? next_byte(r) : first & 0x7f, map = three_bytes ? first & 0x1f : 1;
	const uint8_t registers = (uint8_t)~first >> 5 & (three_bytes ? 7 : REX_R), opcode = next_byte(r);
	const struct opcode *row = map == 1 ? &two_byte[opcode] : &three_byte[opcode];

	r->prefix_before_vex = d->rep || d->rex || r->operand_override;
	r->vex = (struct form_prefix){mandatory[last & 3], true, last & 0x80, last & 4 ? 32 : 16};
	d->rex = r->mode == 8 ? 0x40 | (last & 0x80 ? REX_W : 0) | registers : 0;
	d->vvvv = (uint8_t)~last >> 3 & 15;
	d->opcode = (map == 1 ? DECODE_0F : DECODE_0F38) | opcode;
	return (map == 1 || map == 2) && row->operation == OP_FORM ? row : &unknown_opcode;
}

/* C4 and C5 are LES and LDS outside 64-bit mode, unless what follows would be a ModRM of a register. */
static const struct opcode *take_c4_c5(struct reader *r, struct decode *d, bool three_bytes)
{
	const uint8_t first = next_byte(r);

	if (r->mode != 8 && first < 0xc0)
		return &unknown_opcode;
	return take_vex(r, d, first, three_bytes);
}

static const struct opcode *take_opcode(struct reader *r, struct decode *d)
{
	const uint8_t byte = take_prefixes(r, d);
	uint8_t second;

	if ((byte & 0xfe) == 0xc4)
		return take_c4_c5(r, d, byte == 0xc4);
	if (byte != 0x0f) {
		d->opcode = byte;
		return &one_byte[byte];
	}
	second = next_byte(r);
	if (second == 0x38) {
		const uint8_t third = next_byte(r);

		d->opcode = DECODE_0F38 | third;
		return &three_byte[third];
	}
	d->opcode = DECODE_0F | second;
	return &two_byte[second];
}

static enum decode_status ended(unsigned count)
{
	return count < DECODE_MAX_LENGTH ? DECODE_TRUNCATED : DECODE_TOO_LONG;
}

enum decode_status decode_bytes(struct decode *d, const uint8_t *bytes, unsigned count, unsigned mode)
{
	uint8_t padded[PADDED_LENGTH] = {0};
	struct reader r = {.bytes = padded, .mode = mode, .segment_override = DECODE_NO_REGISTER};
	const struct opcode *opcode;

	if (count > DECODE_MAX_LENGTH)
		count = DECODE_MAX_LENGTH;
	memcpy(padded, bytes, count);
	*d = (struct decode){
		.base = DECODE_NO_REGISTER,
		.index = DECODE_NO_REGISTER,
		.segment = X86VCPU_SEGMENT_DS,
	};
	opcode = take_opcode(&r, d);
	if (r.at > count)
		return ended(count);
	if (!(opcode->flags & KNOWN) || (opcode->flags & LONG_ONLY && mode != 8))
		return DECODE_UNKNOWN;
	d->kind = opcode->kind;
	d->operation = opcode->operation;
	d->address_bytes = address_size(&r);
	d->operand_bytes = operand_size(&r, d, opcode->flags);
	take_operands(&r, d, opcode->flags);
	if (r.at > count)
		return ended(count);
	d->length = (uint8_t)r.at;
	return finish(&r, d, opcode->flags);
}

/* ---- The operand in memory -------------------------------------------------------------------------------- */

static uint64_t wrap(uint64_t value, unsigned bytes)
{
	return bytes == 8 ? value : value & ((UINT64_C(1) << (8 * bytes)) - 1);
}

uint64_t decode_offset(struct guest *g, const struct decode *d)
{
	uint64_t offset = d->displacement;

	if (d->base == DECODE_BASE_RIP)
		offset += guest_get(g, G_RIP) + d->length;
	else if (d->base != DECODE_NO_REGISTER)
		offset += guest_gpr(g, d->base);
	if (d->index != DECODE_NO_REGISTER)
		offset += guest_gpr(g, d->index) << d->scale;
	return wrap(offset, d->address_bytes);
}

bool decode_is_high_byte(const struct decode *d, unsigned number)
{
	return !d->rex && number >= 4 && number < 8;
}
