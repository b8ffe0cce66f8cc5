/* SPDX-License-Identifier: Apache-2.0 */
/* The instruction decoder, by hand-assembled vectors and against Zydis. */
#include <Zydis/Zydis.h>
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emul/forms.h"
#include "device_fixture.h"

Suite *decode_suite(void);

/* ---- Against Zydis ---------------------------------------------------------------------------------------- */

#define ROUNDS 100000

static uint64_t random_state;

static uint32_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)(random_state >> 32);
}

/* Opcodes of the table, so that most strings are instructions that matter; 0x0f is followed by a second. */
static const uint8_t first_bytes[] = {0x63, 0x6c, 0x6d, 0x6e, 0x6f, 0x88, 0x89, 0x8a, 0x8b, 0xa0,
				      0xa1, 0xa2, 0xa3, 0xc6, 0xc7, 0xe4, 0xe5, 0xe6, 0xe7, 0xec,
				      0xed, 0xee, 0xef, 0xf4, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f,
				      0x01, 0x0a, 0x13, 0x28, 0x39, 0x80, 0x81, 0x83, 0x84, 0x85,
				      0xf6, 0xf7, 0xfe, 0xff, 0x69, 0x6b, 0x86, 0x87, 0x8c, 0x8e,
				      0x8f, 0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae,
				      0xaf, 0xc0, 0xc1, 0xd0, 0xd1, 0xd2, 0xd3, 0xd7,
				      0xd9, 0xdb, 0xdd, 0xdf, 0xc4, 0xc4, 0xc5, 0xc5};
static const uint8_t second_bytes[] = {0x01, 0x06, 0x08, 0x09, 0x20, 0x22, 0x30, 0x31,
				       0x32, 0xa2, 0xb6, 0xb7, 0xbe, 0xbf, 0x40, 0x45,
				       0x4f, 0x90, 0x9c, 0xa3, 0xa4, 0xa5, 0xab, 0xac,
				       0xad, 0xaf, 0xb0, 0xb1, 0xb3, 0xb8, 0xba, 0xbb,
				       0xbc, 0xbd, 0xc0, 0xc1, 0xc3, 0xc7, 0x38, 0x0d,
				       0x10, 0x11, 0x12, 0x13, 0x16, 0x17, 0x18, 0x1c,
				       0x28, 0x29, 0x2b, 0x6e, 0x6f, 0x7e, 0x7f, 0xae,
				       0xd6, 0xe7, 0xf0};
/* Of the map 0F 38. */
static const uint8_t third_bytes[] = {0xf0, 0xf1, 0x18, 0x19, 0x1a, 0x2a, 0x58, 0x59, 0x5a, 0x78, 0x79};
static const uint8_t prefixes[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0x66, 0x67, 0xf2, 0xf3,
				   0x40, 0x41, 0x42, 0x44, 0x48, 0x4f, 0x49, 0x4c, 0xf0};

#define PICK(table) ((table)[next_random() % sizeof(table)])

/* The rest of VEX, mostly without a second source, and an opcode. */
static unsigned random_vex(uint8_t *bytes, bool three_bytes)
{
	const unsigned map = three_bytes ? 1 + next_random() % 2 : 1;
	unsigned at = 0;

	if (three_bytes)
		bytes[at++] = (uint8_t)((next_random() & 0xe0) | map);
	bytes[at++] = (uint8_t)((next_random() & 0xff) | (next_random() % 4 ? 0x78 : 0));
	bytes[at++] = map == 1 ? PICK(second_bytes) : PICK(third_bytes);
	return at;
}

static void random_bytes(uint8_t *bytes, unsigned count)
{
	unsigned at = 0;
	const unsigned prefix_count = next_random() % 16 == 0 ? next_random() % 15 : next_random() % 4;

	for (unsigned i = 0; i < count; i++)
		bytes[i] = (uint8_t)next_random();
	if (next_random() % 16 == 0)
		return;
	while (at < prefix_count)
		bytes[at++] = PICK(prefixes);
	bytes[at++] = PICK(first_bytes);
	if (bytes[at - 1] == 0x0f && next_random() % 16)
		bytes[at++] = PICK(second_bytes);
	else if ((bytes[at - 1] & 0xfe) == 0xc4 && next_random() % 4)
		at += random_vex(bytes + at, bytes[at - 1] == 0xc4);
	if (bytes[at - 1] == 0x38 && next_random() % 2)
		bytes[at++] = PICK(third_bytes);
	/* /0 of C6 and C7 would be one in eight. */
	if (bytes[at - 1] >> 1 == 0xc6 >> 1 && next_random() % 4)
		bytes[at] &= 0xc7;
	if (bytes[at - 1] == 0x01 && next_random() % 2)
		bytes[at] = "\xc1\xd1\xd9\xf9"[next_random() % 4];
}

struct width {
	ZydisMachineMode machine;
	ZydisStackWidth stack;
	unsigned mode;
};

static const struct width widths[] = {
	{ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16, 2},
	{ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32, 4},
	{ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64, 8},
};

static bool is_ours(const ZydisDecodedInstruction *z)
{
	switch (z->mnemonic) {
	case ZYDIS_MNEMONIC_ADD:
	case ZYDIS_MNEMONIC_OR:
	case ZYDIS_MNEMONIC_ADC:
	case ZYDIS_MNEMONIC_SBB:
	case ZYDIS_MNEMONIC_AND:
	case ZYDIS_MNEMONIC_SUB:
	case ZYDIS_MNEMONIC_XOR:
	case ZYDIS_MNEMONIC_CMP:
		return (z->opcode < 0x40 && (z->opcode & 7) < 4) || (z->opcode >= 0x80 && z->opcode != 0x82);
	case ZYDIS_MNEMONIC_TEST:
		return z->opcode < 0xa8 || z->opcode > 0xa9; /* not of AL and EAX with an immediate */
	case ZYDIS_MNEMONIC_NOT:
	case ZYDIS_MNEMONIC_NEG:
		return true;
	case ZYDIS_MNEMONIC_INC:
	case ZYDIS_MNEMONIC_DEC:
		return z->opcode >= 0xfe;
	case ZYDIS_MNEMONIC_MOV:
		if (z->opcode_map == ZYDIS_OPCODE_MAP_0F)
			return z->opcode == 0x20 || z->opcode == 0x22;
		return (z->opcode >= 0x88 && z->opcode <= 0x8b) || (z->opcode & 0xfc) == 0xa0 ||
		       (z->opcode & 0xfe) == 0xc6;
	case ZYDIS_MNEMONIC_MOVZX:
	case ZYDIS_MNEMONIC_MOVSX:
	case ZYDIS_MNEMONIC_MOVSXD:
	case ZYDIS_MNEMONIC_CLTS:
	case ZYDIS_MNEMONIC_LMSW:
	case ZYDIS_MNEMONIC_SMSW:
	case ZYDIS_MNEMONIC_IN:
	case ZYDIS_MNEMONIC_OUT:
	case ZYDIS_MNEMONIC_INSB:
	case ZYDIS_MNEMONIC_INSW:
	case ZYDIS_MNEMONIC_INSD:
	case ZYDIS_MNEMONIC_OUTSB:
	case ZYDIS_MNEMONIC_OUTSW:
	case ZYDIS_MNEMONIC_OUTSD:
	case ZYDIS_MNEMONIC_CPUID:
	case ZYDIS_MNEMONIC_RDMSR:
	case ZYDIS_MNEMONIC_WRMSR:
	case ZYDIS_MNEMONIC_HLT:
	case ZYDIS_MNEMONIC_VMCALL:
	case ZYDIS_MNEMONIC_VMMCALL:
	case ZYDIS_MNEMONIC_XSETBV:
	case ZYDIS_MNEMONIC_RDTSC:
	case ZYDIS_MNEMONIC_RDTSCP:
	case ZYDIS_MNEMONIC_INVD:
	case ZYDIS_MNEMONIC_WBINVD:
		return true;
	default:
		return false;
	}
}

static const char *hex(const uint8_t *bytes, unsigned count)
{
	static char text[64];

	for (unsigned i = 0; i < count; i++)
		snprintf(text + 3 * i, sizeof(text) - 3 * i, "%02x ", bytes[i]);
	return text;
}

/* The number of a general register in the encoding, high bytes as 4 to 7. */
static int register_number(ZydisRegister reg)
{
	if (reg == ZYDIS_REGISTER_NONE)
		return DECODE_NO_REGISTER;
	if (reg == ZYDIS_REGISTER_RIP || reg == ZYDIS_REGISTER_EIP)
		return DECODE_BASE_RIP;
	if (reg >= ZYDIS_REGISTER_SPL && reg <= ZYDIS_REGISTER_DIL)
		return reg - ZYDIS_REGISTER_SPL + 4;
	if (reg >= ZYDIS_REGISTER_R8B && reg <= ZYDIS_REGISTER_R15B)
		return reg - ZYDIS_REGISTER_R8B + 8;
	return ZydisRegisterGetId(reg);
}

static int segment_number(ZydisRegister reg)
{
	return reg - ZYDIS_REGISTER_ES;
}

/*
 * Zydis 4.0 takes SIB base 5 with mod 0, REX.B and a 67 prefix for [r13d + ...] without displacement,
 * though it counts the displacement's bytes; table 2-5 of SDM Vol. 2 has no REX.B there.
 */
static bool zydis_sees_r13(const struct decode *d, const ZydisDecodedOperand *op)
{
	return op->mem.base == ZYDIS_REGISTER_R13D && d->modrm >> 6 == 0 && d->base == DECODE_NO_REGISTER;
}

static bool is_hint(const struct decode *d)
{
	return d->operation == OP_FORM && (form_of(d)->kind == FORM_HINT || form_of(d)->kind == FORM_FLUSH);
}

static void compare_memory(const struct decode *d, const ZydisDecodedOperand *op, unsigned mode, const char *text)
{
	ck_assert_msg(d->has_memory, "%s: has a memory operand", text);
	/* The manual has MOVSXD r16, r/m16; Zydis 4.0 has 32 bits there. Hints have no operand that counts. */
	if ((d->opcode != 0x63 || d->operand_bytes != 2) && !is_hint(d))
		ck_assert_msg(op->size == 8u * d->memory_bytes, "%s: memory %u, not %u", text,
			      d->memory_bytes, op->size);
	if (zydis_sees_r13(d, op))
		return;
	ck_assert_msg(register_number(op->mem.base) == d->base, "%s: base %u", text, d->base);
	ck_assert_msg(register_number(op->mem.index) == d->index, "%s: index %u", text, d->index);
	if (d->index != DECODE_NO_REGISTER)
		ck_assert_msg(op->mem.scale == 1 << d->scale, "%s: scale %u", text, d->scale);
	if (op->mem.disp.has_displacement || d->displacement) {
		const uint64_t mask = ~UINT64_C(0) >> (64 - 8 * d->address_bytes);

		ck_assert_msg(((uint64_t)op->mem.disp.value & mask) == (d->displacement & mask),
			      "%s: displacement %lx", text, d->displacement);
	}
	/* Of indirect branches Zydis takes 3E for NOTRACK only; outside 64-bit mode it is the override of DS too. */
	if (d->kind == DECODE_EXECUTE && d->opcode == 0xff && d->segment == X86VCPU_SEGMENT_DS)
		return;
	/* In 64-bit mode ES, CS, SS and DS are all the same. */
	if (mode != 8 || op->mem.segment >= ZYDIS_REGISTER_FS)
		ck_assert_msg(segment_number(op->mem.segment) == d->segment, "%s: segment %u", text, d->segment);
}

static void compare_register(const struct decode *d, const ZydisDecodedOperand *op, const char *text)
{
	ck_assert_msg(register_number(op->reg.value) == d->reg ||
			      (d->has_modrm && register_number(op->reg.value) == d->rm && !d->has_memory),
		      "%s: register %u", text, d->reg);
}

static void compare_mov(const struct decode *d, const ZydisDecodedInstruction *z,
			const ZydisDecodedOperand *operands, unsigned mode, const char *text)
{
	const bool load = d->kind == DECODE_LOAD || d->kind == DECODE_LOAD_ZERO_EXTEND ||
			  d->kind == DECODE_LOAD_SIGN_EXTEND;

	if (load || d->kind == DECODE_STORE)
		ck_assert_msg(operands[!load].size == 8u * d->operand_bytes, "%s: operand %u, not %u", text,
			      d->operand_bytes, operands[!load].size);
	for (unsigned i = 0; i < z->operand_count_visible; i++) {
		const ZydisDecodedOperand *op = &operands[i];

		if (op->type == ZYDIS_OPERAND_TYPE_MEMORY)
			compare_memory(d, op, mode, text);
		else if (op->type == ZYDIS_OPERAND_TYPE_REGISTER)
			compare_register(d, op, text);
		else if (op->type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
			ck_assert_msg(((op->imm.value.u ^ d->immediate) << (64 - 8 * d->operand_bytes)) == 0,
				      "%s: immediate %lx", text, d->immediate);
	}
}

/* The operand in memory, unless the instruction implies it. */
static void compare_execute(const struct decode *d, const ZydisDecodedInstruction *z,
			    const ZydisDecodedOperand *operands, unsigned mode, const char *text)
{
	for (unsigned i = 0; i < z->operand_count_visible; i++)
		if (operands[i].type == ZYDIS_OPERAND_TYPE_MEMORY && d->has_modrm)
			compare_memory(d, &operands[i], mode, text);
}

static void compare(const struct decode *d, const ZydisDecodedInstruction *z, const ZydisDecodedOperand *operands,
		    unsigned mode, const char *text)
{
	ck_assert_msg(z->length == d->length, "%s: length %u, not %u", text, d->length, z->length);
	ck_assert_msg(z->opcode == (d->opcode & 0xff), "%s: opcode %x", text, d->opcode);
	if (d->has_memory)
		ck_assert_msg(z->address_width == 8u * d->address_bytes, "%s: address size", text);
	if ((d->kind >= DECODE_STORE && d->kind <= DECODE_LOAD_SIGN_EXTEND) ||
	    d->kind == DECODE_ALU)
		compare_mov(d, z, operands, mode, text);
	if (d->kind == DECODE_EXECUTE)
		compare_execute(d, z, operands, mode, text);
	if (d->kind >= DECODE_IN && d->kind <= DECODE_OUTS) {
		const ZydisDecodedOperand *data = &operands[d->kind == DECODE_OUT || d->kind == DECODE_OUTS];

		ck_assert_msg(data->size == 8u * d->operand_bytes, "%s: operand %u, not %u", text,
			      d->operand_bytes, data->size);
	}
	if (d->kind == DECODE_OUTS && (mode != 8 || operands[1].mem.segment >= ZYDIS_REGISTER_FS))
		ck_assert_msg(segment_number(operands[1].mem.segment) == d->segment, "%s: segment", text);
}

START_TEST(agrees_with_zydis)
{
	const struct width *width = &widths[_i];
	ZydisDecoder decoder;
	const unsigned rounds = comparison_rounds(ROUNDS);
	unsigned decoded = 0, refused = 0;

	ck_assert(ZYAN_SUCCESS(ZydisDecoderInit(&decoder, width->machine, width->stack)));
	random_state = UINT64_C(0x9e3779b97f4a7c15) + width->mode;
	for (unsigned i = 0; i < rounds; i++) {
		ZydisDecodedInstruction z;
		ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
		uint8_t bytes[20];
		struct decode d;

		random_bytes(bytes, sizeof(bytes));
		const bool valid = ZYAN_SUCCESS(
			ZydisDecoderDecodeFull(&decoder, bytes, DECODE_MAX_LENGTH, &z, operands));
		const enum decode_status status = decode_bytes(&d, bytes, sizeof(bytes), width->mode);
		const char *text = hex(bytes, DECODE_MAX_LENGTH);

		if (status == DECODE_OK) {
			decoded++;
			ck_assert_msg(valid, "%s is not an instruction", text);
			compare(&d, &z, operands, width->mode, text);
		} else {
			refused++;
			ck_assert_msg(!valid || !is_ours(&z), "%s is known to us, status %d", text, status);
		}
	}
	/* Both sides of the comparison must have been exercised. */
	ck_assert_uint_gt(decoded, rounds / 4);
	ck_assert_uint_gt(refused, rounds / 20);
}
END_TEST

/* ---- Vectors assembled by hand ------------------------------------------------------------------------------ */

#define NONE DECODE_NO_REGISTER
#define DS X86VCPU_SEGMENT_DS
#define SS X86VCPU_SEGMENT_SS
#define ES X86VCPU_SEGMENT_ES
#define FS X86VCPU_SEGMENT_FS

struct vector {
	const char *name;
	unsigned mode, count;
	uint8_t bytes[16];
	struct decode want; /* length, kind, operand, memory and address bytes, reg, segment, base, ... */
};

#define WANT(l, k, o, m, a, r, s, b, i, sc, d, im)                                                             \
	{                                                                                                      \
		.length = l, .kind = k, .operand_bytes = o, .memory_bytes = m, .address_bytes = a, .reg = r,   \
		.segment = s, .base = b, .index = i, .scale = sc, .displacement = d, .immediate = im           \
	}

static const struct vector vectors[] = {
	/* C-12: REX.B does not make a base of rm 5 or SIB base 5 with mod 0. */
	{"mov [rip-4], eax with REX.B", 8, 7, {0x41, 0x89, 0x05, 0xfc, 0xff, 0xff, 0xff},
	 WANT(7, DECODE_STORE, 4, 4, 8, 0, DS, DECODE_BASE_RIP, NONE, 0, -4ull, 0)},
	{"mov eax, [0x11223344] with REX.B", 8, 8, {0x41, 0x8b, 0x04, 0x25, 0x44, 0x33, 0x22, 0x11},
	 WANT(8, DECODE_LOAD, 4, 4, 8, 0, DS, NONE, NONE, 0, 0x11223344, 0)},
	{"mov eax, [r13+rcx*8+0]", 8, 5, {0x41, 0x8b, 0x44, 0xcd, 0x00},
	 WANT(5, DECODE_LOAD, 4, 4, 8, 0, DS, 13, 1, 3, 0, 0)},
	{"mov [r12], r15", 8, 4, {0x4d, 0x89, 0x3c, 0x24},
	 WANT(4, DECODE_STORE, 8, 8, 8, 15, DS, 12, NONE, 0, 0, 0)},
	{"mov [rax+r12], ecx: index 4 with REX.X is R12", 8, 4, {0x42, 0x89, 0x0c, 0x20},
	 WANT(4, DECODE_STORE, 4, 4, 8, 1, DS, 0, 12, 0, 0, 0)},
	{"mov [rsp-0x80], eax is in SS", 8, 4, {0x89, 0x44, 0x24, 0x80},
	 WANT(4, DECODE_STORE, 4, 4, 8, 0, SS, 4, NONE, 0, -0x80ull, 0)},
	{"mov [ebp*2+0x10], eax is in DS", 4, 7, {0x89, 0x04, 0x6d, 0x10, 0, 0, 0},
	 WANT(7, DECODE_STORE, 4, 4, 4, 0, DS, NONE, 5, 1, 0x10, 0)},
	{"mov [0x80000000], eax in 32-bit mode has no base", 4, 6, {0x89, 0x05, 0, 0, 0, 0x80},
	 WANT(6, DECODE_STORE, 4, 4, 4, 0, DS, NONE, NONE, 0, 0xffffffff80000000, 0)},
	/* C-04: RSP is a source like any other. */
	{"mov [0xfec00000], esp", 4, 6, {0x89, 0x25, 0x00, 0x00, 0xc0, 0xfe},
	 WANT(6, DECODE_STORE, 4, 4, 4, 4, DS, NONE, NONE, 0, 0xfffffffffec00000, 0)},
	/* C-12b: 16-bit addressing and operands. */
	{"mov [0x00f4], bx", 2, 4, {0x89, 0x1e, 0xf4, 0x00},
	 WANT(4, DECODE_STORE, 2, 2, 2, 3, DS, NONE, NONE, 0, 0xf4, 0)},
	{"mov ax, [bp+6] is in SS", 2, 3, {0x8b, 0x46, 0x06},
	 WANT(3, DECODE_LOAD, 2, 2, 2, 0, SS, 5, NONE, 0, 6, 0)},
	{"mov ax, [bp+di-0x8000]", 2, 4, {0x8b, 0x83, 0x00, 0x80},
	 WANT(4, DECODE_LOAD, 2, 2, 2, 0, SS, 5, 7, 0, -0x8000ull, 0)},
	{"mov [bx+6], eax", 2, 4, {0x66, 0x89, 0x47, 0x06},
	 WANT(4, DECODE_STORE, 4, 4, 2, 0, DS, 3, NONE, 0, 6, 0)},
	{"mov [esi], ax in 16-bit code", 2, 3, {0x67, 0x89, 0x06},
	 WANT(3, DECODE_STORE, 2, 2, 4, 0, DS, 6, NONE, 0, 0, 0)},
	{"mov [bx+si], eax in 32-bit code", 4, 3, {0x67, 0x89, 0x00},
	 WANT(3, DECODE_STORE, 4, 4, 2, 0, DS, 3, 6, 0, 0, 0)},
	{"mov word es:[di], 0x1234", 2, 5, {0x26, 0xc7, 0x05, 0x34, 0x12},
	 WANT(5, DECODE_STORE_IMMEDIATE, 2, 2, 2, 0, ES, 7, NONE, 0, 0, 0x1234)},
	{"movzx eax, byte [rdi]", 8, 3, {0x0f, 0xb6, 0x07},
	 WANT(3, DECODE_LOAD_ZERO_EXTEND, 4, 1, 8, 0, DS, 7, NONE, 0, 0, 0)},
	{"movzx r9, word [rdi]", 8, 4, {0x4c, 0x0f, 0xb7, 0x0f},
	 WANT(4, DECODE_LOAD_ZERO_EXTEND, 8, 2, 8, 9, DS, 7, NONE, 0, 0, 0)},
	{"movsx ax, byte [rdi]", 8, 4, {0x66, 0x0f, 0xbe, 0x07},
	 WANT(4, DECODE_LOAD_SIGN_EXTEND, 2, 1, 8, 0, DS, 7, NONE, 0, 0, 0)},
	{"movsxd rax, dword [rdi]", 8, 3, {0x48, 0x63, 0x07},
	 WANT(3, DECODE_LOAD_SIGN_EXTEND, 8, 4, 8, 0, DS, 7, NONE, 0, 0, 0)},
	{"mov al, [moffs64]", 8, 9, {0xa0, 8, 7, 6, 5, 4, 3, 2, 1},
	 WANT(9, DECODE_LOAD, 1, 1, 8, 0, DS, NONE, NONE, 0, 0x0102030405060708, 0)},
	{"mov [moffs32], rax", 8, 7, {0x67, 0x48, 0xa3, 0, 0, 0xc0, 0xfe},
	 WANT(7, DECODE_STORE, 8, 8, 4, 0, DS, NONE, NONE, 0, 0xfec00000, 0)},
	{"mov fs:[moffs16], al", 2, 4, {0x64, 0xa2, 0x34, 0x12},
	 WANT(4, DECODE_STORE, 1, 1, 2, 0, FS, NONE, NONE, 0, 0x1234, 0)},
	/* C-12c: the immediate of 66 C7 has two bytes. */
	{"mov word [0xfee000b0], 0x1234", 4, 9, {0x66, 0xc7, 0x05, 0xb0, 0x00, 0xe0, 0xfe, 0x34, 0x12},
	 WANT(9, DECODE_STORE_IMMEDIATE, 2, 2, 4, 0, DS, NONE, NONE, 0, 0xfffffffffee000b0, 0x1234)},
	{"mov qword [rax], -1: a 32-bit immediate", 8, 7, {0x48, 0xc7, 0x00, 0xff, 0xff, 0xff, 0xff},
	 WANT(7, DECODE_STORE_IMMEDIATE, 8, 8, 8, 0, DS, 0, NONE, 0, 0, -1ull)},
	{"66 with REX.W: 64 bits", 8, 8, {0x66, 0x48, 0xc7, 0x00, 1, 0, 0, 0},
	 WANT(8, DECODE_STORE_IMMEDIATE, 8, 8, 8, 0, DS, 0, NONE, 0, 0, 1)},
	{"a REX that is not last does nothing", 8, 4, {0x4f, 0x66, 0x89, 0x00},
	 WANT(4, DECODE_STORE, 2, 2, 8, 0, DS, 0, NONE, 0, 0, 0)},
	{"in 64-bit mode ES does not end an FS", 8, 4, {0x64, 0x26, 0x89, 0x00},
	 WANT(4, DECODE_STORE, 4, 4, 8, 0, FS, 0, NONE, 0, 0, 0)},
	{"in 32-bit mode the last segment counts", 4, 4, {0x64, 0x26, 0x89, 0x00},
	 WANT(4, DECODE_STORE, 4, 4, 4, 0, ES, 0, NONE, 0, 0, 0)},
	{"an override beats the default SS", 4, 4, {0x3e, 0x89, 0x45, 0x00},
	 WANT(4, DECODE_STORE, 4, 4, 4, 0, DS, 5, NONE, 0, 0, 0)},
	{"15 bytes are allowed", 8, 15, {0x26, 0x26, 0x26, 0x48, 0xc7, 0x84, 0x24, 1, 0, 0, 0, 2, 0, 0, 0},
	 WANT(15, DECODE_STORE_IMMEDIATE, 8, 8, 8, 0, SS, 4, NONE, 0, 1, 2)},
	{"rep outsd", 4, 2, {0xf3, 0x6f}, WANT(2, DECODE_OUTS, 4, 4, 4, 0, DS, NONE, NONE, 0, 0, 0)},
	{"67 fs outsw", 2, 3, {0x67, 0x64, 0x6f}, WANT(3, DECODE_OUTS, 2, 2, 4, 0, FS, NONE, NONE, 0, 0, 0)},
	{"rep insb", 8, 2, {0xf3, 0x6c}, WANT(2, DECODE_INS, 1, 1, 8, 0, DS, NONE, NONE, 0, 0, 0)},
	{"in al, 0x71", 8, 2, {0xe4, 0x71}, WANT(2, DECODE_IN, 1, 1, 8, 0, DS, NONE, NONE, 0, 0, 0x71)},
	{"out dx, ax", 4, 2, {0x66, 0xef}, WANT(2, DECODE_OUT, 2, 2, 4, 0, DS, NONE, NONE, 0, 0, 0)},
	{"cpuid", 8, 2, {0x0f, 0xa2}, WANT(2, DECODE_OTHER, 4, 0, 8, 0, DS, NONE, NONE, 0, 0, 0)},
	{"mov cr8, r9", 8, 4, {0x45, 0x0f, 0x22, 0xc1},
	 WANT(4, DECODE_MOV_CR, 8, 0, 8, 8, DS, NONE, NONE, 0, 0, 0)},
	{"mov eax, cr0 ignores mod", 4, 3, {0x0f, 0x20, 0x04},
	 WANT(3, DECODE_MOV_CR, 4, 0, 4, 0, DS, NONE, NONE, 0, 0, 0)},
	{"lmsw [bx]", 2, 3, {0x0f, 0x01, 0x37}, WANT(3, DECODE_LMSW, 2, 2, 2, 6, DS, 3, NONE, 0, 0, 0)},
};

START_TEST(decodes_vector)
{
	const struct vector *v = &vectors[_i];
	const struct decode *want = &v->want;
	struct decode d;

	ck_assert_msg(decode_bytes(&d, v->bytes, v->count, v->mode) == DECODE_OK, "%s", v->name);
	ck_assert_msg(d.length == want->length, "%s: length %u", v->name, d.length);
	ck_assert_msg(d.kind == want->kind, "%s: kind %u", v->name, d.kind);
	ck_assert_msg(d.operand_bytes == want->operand_bytes, "%s: operand %u", v->name, d.operand_bytes);
	ck_assert_msg(d.memory_bytes == want->memory_bytes, "%s: memory %u", v->name, d.memory_bytes);
	ck_assert_msg(d.address_bytes == want->address_bytes, "%s: address %u", v->name, d.address_bytes);
	ck_assert_msg(d.reg == want->reg, "%s: reg %u", v->name, d.reg);
	ck_assert_msg(d.segment == want->segment, "%s: segment %u", v->name, d.segment);
	ck_assert_msg(d.base == want->base, "%s: base %u", v->name, d.base);
	ck_assert_msg(d.index == want->index, "%s: index %u", v->name, d.index);
	ck_assert_msg(d.scale == want->scale, "%s: scale %u", v->name, d.scale);
	ck_assert_msg(d.displacement == want->displacement, "%s: disp %lx", v->name, d.displacement);
	ck_assert_msg(d.immediate == want->immediate, "%s: immediate %lx", v->name, d.immediate);
}
END_TEST

/* Fewer bytes are always too few, and never another instruction. */
START_TEST(every_vector_needs_every_byte)
{
	for (unsigned i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		const struct vector *v = &vectors[i];
		struct decode d;

		for (unsigned count = 0; count < v->want.length; count++)
			ck_assert_msg(decode_bytes(&d, v->bytes, count, v->mode) == DECODE_TRUNCATED,
				      "%s: %u bytes", v->name, count);
	}
}
END_TEST

struct refusal {
	const char *name;
	enum decode_status status;
	unsigned mode, count;
	uint8_t bytes[16];
};

static const struct refusal refusals[] = {
	{"lock mov [rax], eax", DECODE_UD, 8, 3, {0xf0, 0x89, 0x00}},
	{"lock movzx", DECODE_UD, 4, 4, {0xf0, 0x0f, 0xb6, 0x00}},
	{"mov cr1, eax", DECODE_UD, 4, 3, {0x0f, 0x22, 0xc8}},
	{"mov cr15, rax", DECODE_UD, 8, 4, {0x44, 0x0f, 0x22, 0xf8}},
	{"c7 /1", DECODE_UNKNOWN, 4, 6, {0xc7, 0x08, 0, 0, 0, 0}},
	{"xabort", DECODE_UNKNOWN, 8, 3, {0xc6, 0xf8, 0x01}},
	{"lock xchg of registers", DECODE_UD, 8, 3, {0xf0, 0x87, 0xc0}},
	{"arpl, which is movsxd in 64-bit mode", DECODE_UNKNOWN, 4, 2, {0x63, 0x00}},
	{"lgdt", DECODE_UNKNOWN, 4, 3, {0x0f, 0x01, 0x10}},
	{"REX bytes are INC and DEC in 32-bit mode", DECODE_UNKNOWN, 4, 3, {0x48, 0x89, 0x00}},
	/* C-06: 15 bytes, however many there are. */
	{"only prefixes", DECODE_TOO_LONG, 8, 16,
	 {0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66}},
	{"the 16th byte is the last", DECODE_TOO_LONG, 8, 16,
	 {0x66, 0x26, 0x26, 0x66, 0x48, 0xc7, 0x84, 0x24, 1, 0, 0, 0, 2, 0, 0, 0}},
};

START_TEST(refuses)
{
	const struct refusal *r = &refusals[_i];
	struct decode d;

	ck_assert_msg(decode_bytes(&d, r->bytes, r->count, r->mode) == r->status, "%s", r->name);
}
END_TEST

START_TEST(high_byte_registers_end_with_rex)
{
	static const uint8_t mov_ah[] = {0x88, 0x20}, mov_spl[] = {0x40, 0x88, 0x20};
	struct decode d;

	ck_assert_int_eq(decode_bytes(&d, mov_ah, sizeof(mov_ah), 8), DECODE_OK);
	ck_assert(decode_is_high_byte(&d, d.reg));
	ck_assert(!decode_is_high_byte(&d, 3));
	ck_assert_int_eq(decode_bytes(&d, mov_spl, sizeof(mov_spl), 8), DECODE_OK);
	ck_assert(!decode_is_high_byte(&d, d.reg));
}
END_TEST

/* ---- Offsets ---------------------------------------------------------------------------------------------- */

static uint64_t offset_of(struct guest_fixture *f, const uint8_t *bytes, unsigned count, unsigned mode)
{
	struct decode d;

	ck_assert_int_eq(decode_bytes(&d, bytes, count, mode), DECODE_OK);
	return decode_offset(&f->g, &d);
}

START_TEST(offset_wraps_to_16_bits)
{
	static const uint8_t mov[] = {0x8b, 0x40, 0x10}; /* mov ax, [bx+si+0x10] */
	struct guest_fixture *f = fixture_reset(FIXTURE_REAL);

	f->g.regs.rbx = 0x1234fff8;
	f->g.regs.rsi = 0x56780004;
	ck_assert_uint_eq(offset_of(f, mov, sizeof(mov), 2), 0xc);
}
END_TEST

START_TEST(offset_wraps_to_32_bits)
{
	static const uint8_t mov[] = {0x67, 0x8b, 0x44, 0x88, 0x10}; /* mov eax, [eax+ecx*4+0x10] */
	struct guest_fixture *f = fixture_reset(FIXTURE_LONG);

	f->g.regs.rax = 0x11fffffff0;
	f->g.regs.rcx = 3;
	ck_assert_uint_eq(offset_of(f, mov, sizeof(mov), 8), 0xc);
}
END_TEST

START_TEST(offset_from_rip_counts_the_whole_instruction)
{
	static const uint8_t mov[] = {0xc7, 0x05, 0xf0, 0xff, 0xff, 0xff, 1, 0, 0, 0};
	struct guest_fixture *f = fixture_reset(FIXTURE_LONG);

	fixture_set(f, G_RIP, 0xffff800000001000);
	ck_assert_uint_eq(offset_of(f, mov, sizeof(mov), 8), 0xffff800000001000 + 10 - 16);
}
END_TEST

START_TEST(offset_from_eip_wraps)
{
	static const uint8_t mov[] = {0x67, 0x89, 0x05, 0x10, 0, 0, 0};
	struct guest_fixture *f = fixture_reset(FIXTURE_LONG);

	fixture_set(f, G_RIP, 0x1fffffff8);
	ck_assert_uint_eq(offset_of(f, mov, sizeof(mov), 8), 0xf);
}
END_TEST

START_TEST(offset_from_rsp_asks_hardware)
{
	static const uint8_t mov[] = {0x89, 0x44, 0x24, 0x08};
	struct guest_fixture *f = fixture_reset(FIXTURE_LONG);

	f->g.regs.unused_rsp = 0xdead;
	ck_assert_uint_eq(offset_of(f, mov, sizeof(mov), 8), 0x7008);
}
END_TEST

/* ---- At CS:RIP -------------------------------------------------------------------------------------------- */

static const uint8_t mov_imm[] = {0xc7, 0x05, 0, 0, 0xc0, 0xfe, 0x78, 0x56, 0x34, 0x12};

START_TEST(fetches_from_real_mode_base)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_REAL);
	static const uint8_t mov[] = {0x89, 0x1e, 0xf4, 0x00};
	struct paging_fault fault;
	struct decode d;

	fixture_code(f, 0x12340, mov, sizeof(mov));
	fixture_set(f, G_BASE + X86VCPU_SEGMENT_CS, 0x12000);
	fixture_set(f, G_RIP, 0x340);
	ck_assert_int_eq(decode_at_rip(&f->g, &d, &fault), DECODE_OK);
	ck_assert_uint_eq(d.length, 4);
}
END_TEST

START_TEST(fetch_ignores_cs_base_in_64bit_mode)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_LONG);
	struct paging_fault fault;
	struct decode d;

	fixture_code(f, 0x8000, mov_imm, sizeof(mov_imm));
	fixture_set(f, G_BASE + X86VCPU_SEGMENT_CS, 0x5000);
	ck_assert_int_eq(decode_at_rip(&f->g, &d, &fault), DECODE_OK);
	ck_assert_uint_eq(d.length, sizeof(mov_imm));
	ck_assert_uint_eq(d.immediate, 0x12345678);
}
END_TEST

/* 4 KiB pages for the first 2 MiB: linear 0x8000 and 0x9000 are physical 0x20000 and 0x30000. */
#define TABLES UINT64_C(0x40000)

static struct guest_fixture *two_pages(uint64_t second)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_LONG);

	fixture_write64(f, FIXTURE_PDPT, TABLES | PTE_P | PTE_RW | PTE_US);
	fixture_write64(f, TABLES, (TABLES + 0x1000) | PTE_P | PTE_RW | PTE_US);
	fixture_write64(f, TABLES + 0x1000 + 8 * 8, 0x20000 | PTE_P | PTE_RW | PTE_US);
	fixture_write64(f, TABLES + 0x1000 + 9 * 8, second);
	return f;
}

START_TEST(fetch_crosses_pages)
{
	struct guest_fixture *f = two_pages(0x30000 | PTE_P);
	struct paging_fault fault;
	struct decode d;

	memcpy(f->ram + 0x20ffd, mov_imm, 3);
	memcpy(f->ram + 0x30000, mov_imm + 3, sizeof(mov_imm) - 3);
	fixture_set(f, G_RIP, 0x8ffd);
	ck_assert_int_eq(decode_at_rip(&f->g, &d, &fault), DECODE_OK);
	ck_assert_uint_eq(d.length, sizeof(mov_imm));
	ck_assert_uint_eq(d.immediate, 0x12345678);
}
END_TEST

START_TEST(fetch_does_not_look_at_a_page_it_does_not_need)
{
	struct guest_fixture *f = two_pages(0);
	struct paging_fault fault;
	struct decode d;

	memcpy(f->ram + 0x21000 - sizeof(mov_imm), mov_imm, sizeof(mov_imm));
	fixture_set(f, G_RIP, 0x9000 - sizeof(mov_imm));
	ck_assert_int_eq(decode_at_rip(&f->g, &d, &fault), DECODE_OK);
	ck_assert_uint_eq(d.length, sizeof(mov_imm));
}
END_TEST

START_TEST(fetch_faults_in_the_second_page)
{
	struct guest_fixture *f = two_pages(0);
	struct paging_fault fault;
	struct decode d;

	memcpy(f->ram + 0x20ffd, mov_imm, 3);
	fixture_set(f, G_RIP, 0x8ffd);
	ck_assert_int_eq(decode_at_rip(&f->g, &d, &fault), DECODE_FAULT);
	ck_assert_uint_eq(fault.vector, VECTOR_PF);
	ck_assert_uint_eq(fault.address, 0x9000);
	ck_assert_uint_eq(fault.error_code, PF_FETCH); /* EFER.NXE = 1 */
}
END_TEST

/* C-06: prefixes as far as the eye reaches. */
START_TEST(fetch_stops_after_15_bytes)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_LONG);
	struct paging_fault fault;
	struct decode d;

	memset(f->ram + 0x8000, 0x66, 0x4000);
	fixture_set(f, G_RIP, 0x8ffb);
	ck_assert_int_eq(decode_at_rip(&f->g, &d, &fault), DECODE_TOO_LONG);
}
END_TEST

START_TEST(fetch_goes_on_in_another_region)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_PROTECTED32);
	struct paging_fault fault;
	struct decode d;

	memcpy(f->ram + 0x8000, mov_imm, sizeof(mov_imm));
	f->regions[0].size = 0x8003;
	f->regions[1] = (struct x86vcpu_memory_region){0x8003, f->ram + 0x8003, 2, 0};
	f->regions[2] = (struct x86vcpu_memory_region){0x8005, f->ram + 0x8005, 5, 0}; /* nothing after it */
	f->g.memory_count = 3;
	fixture_set(f, G_RIP, 0x8000);
	ck_assert_int_eq(decode_at_rip(&f->g, &d, &fault), DECODE_OK);
	ck_assert_uint_eq(d.length, sizeof(mov_imm));
	ck_assert_uint_eq(f->host_reads, 0);
}
END_TEST

START_TEST(fetch_from_nowhere_is_absent)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_PROTECTED32);
	struct paging_fault fault;
	struct decode d;

	fixture_set(f, G_RIP, 0x80001234);
	ck_assert_int_eq(decode_at_rip(&f->g, &d, &fault), DECODE_ABSENT);
	ck_assert_uint_eq(fault.address, 0x80001234);
	ck_assert_uint_eq(fault.error_code, X86VCPU_ACCESS_EXECUTE);
}
END_TEST

START_TEST(fetch_reaches_the_host_memory)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_LONG);
	struct paging_fault fault;
	struct decode d;

	/* The first 4 GiB are mapped 1 GiB up: linear 0xc0000000 is FIXTURE_FAR. */
	fixture_write64(f, FIXTURE_PDPT + 3 * 8, FIXTURE_FAR | PTE_PS | PTE_P);
	memcpy(f->far + 0x10, mov_imm, sizeof(mov_imm));
	fixture_set(f, G_RIP, 0xc0000010);
	ck_assert_int_eq(decode_at_rip(&f->g, &d, &fault), DECODE_OK);
	ck_assert_uint_eq(d.immediate, 0x12345678);
	ck_assert_uint_eq(f->host_reads, 1);
}
END_TEST

/* EIP and the code's linear address wrap at 4 GiB. */
START_TEST(fetch_wraps_in_32bit_mode)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_PROTECTED32);
	static uint8_t top[0x1000];
	struct paging_fault fault;
	struct decode d;

	f->regions[1] = (struct x86vcpu_memory_region){0xfffff000, top, sizeof(top), 0};
	f->g.memory_count = 2;
	memcpy(top + 0xffe, mov_imm, 2);
	memcpy(f->ram, mov_imm + 2, sizeof(mov_imm) - 2);
	fixture_set(f, G_RIP, 0xfffffffe);
	ck_assert_int_eq(decode_at_rip(&f->g, &d, &fault), DECODE_OK);
	ck_assert_uint_eq(d.immediate, 0x12345678);
}
END_TEST

/* ---- The same instruction again: what is remembered must still be true -------------------------------------- */

static struct guest_fixture *remembered(void)
{
	struct guest_fixture *f = two_pages(0x30000 | PTE_P);
	struct paging_fault fault;
	struct decode d;

	memcpy(f->ram + 0x20100, mov_imm, sizeof(mov_imm));
	fixture_set(f, G_RIP, 0x8100);
	ck_assert_int_eq(decode_at_rip(&f->g, &d, &fault), DECODE_OK);
	fixture_next_exit(f);
	return f;
}

static enum decode_status again(struct guest_fixture *f, struct decode *d, struct paging_fault *fault)
{
	memset(d, 0xee, sizeof(*d));
	return decode_at_rip(&f->g, d, fault);
}

START_TEST(again_is_the_same)
{
	struct guest_fixture *f = remembered();
	struct paging_fault fault;
	struct decode d;

	ck_assert_int_eq(again(f, &d, &fault), DECODE_OK);
	ck_assert_uint_eq(d.length, sizeof(mov_imm));
	ck_assert_uint_eq(d.immediate, 0x12345678);
	ck_assert_uint_eq(d.base, DECODE_BASE_RIP);
	ck_assert_uint_eq(d.displacement, 0xfffffffffec00000);
	ck_assert_uint_le(fixture_reads(f), 7);
}
END_TEST

START_TEST(again_with_other_bytes)
{
	struct guest_fixture *f = remembered();
	struct paging_fault fault;
	struct decode d;

	f->ram[0x20106] = 0x99;
	ck_assert_int_eq(again(f, &d, &fault), DECODE_OK);
	ck_assert_uint_eq(d.immediate, 0x12345699);
	f->ram[0x20109] = 0x42;
	ck_assert_int_eq(again(f, &d, &fault), DECODE_OK);
	ck_assert_uint_eq(d.immediate, 0x42345699);
	f->ram[0x20100] = 0x90;
	ck_assert_int_eq(again(f, &d, &fault), DECODE_UNKNOWN);
}
END_TEST

START_TEST(again_with_another_page)
{
	struct guest_fixture *f = remembered();
	struct paging_fault fault;
	struct decode d;

	memset(f->ram + 0x50100, 0x90, 16);
	fixture_write64(f, TABLES + 0x1000 + 8 * 8, 0x50000 | PTE_P | PTE_US);
	ck_assert_int_eq(again(f, &d, &fault), DECODE_UNKNOWN);
}
END_TEST

/* Each entry on the way, from the PML4 down. */
START_TEST(again_without_an_entry)
{
	static const uint64_t entries[] = {FIXTURE_PML4, FIXTURE_PDPT, TABLES, TABLES + 0x1000 + 8 * 8};
	struct guest_fixture *f = remembered();
	struct paging_fault fault;
	struct decode d;

	fixture_write64(f, entries[_i], 0);
	ck_assert_int_eq(again(f, &d, &fault), DECODE_FAULT);
	ck_assert_uint_eq(fault.address, 0x8100);
}
END_TEST

START_TEST(again_with_less_rights)
{
	struct guest_fixture *f = remembered();
	struct paging_fault fault;
	struct decode d;

	fixture_set(f, G_CR4, CR4_PAE | CR4_SMEP);
	ck_assert_int_eq(again(f, &d, &fault), DECODE_FAULT);
	ck_assert_uint_eq(fault.error_code, PF_PRESENT | PF_FETCH);
}
END_TEST

START_TEST(again_at_cpl_3)
{
	struct guest_fixture *f = two_pages(0);
	struct paging_fault fault;
	struct decode d;

	memcpy(f->ram + 0x20100, mov_imm, sizeof(mov_imm));
	fixture_write64(f, TABLES + 0x1000 + 8 * 8, 0x20000 | PTE_P);
	fixture_set(f, G_RIP, 0x8100);
	ck_assert_int_eq(again(f, &d, &fault), DECODE_OK);
	/* CS alone does not tell: conforming code has the same descriptor at any CPL. */
	fixture_set(f, G_ACCESS + X86VCPU_SEGMENT_SS, 0xc0f3);
	ck_assert_int_eq(again(f, &d, &fault), DECODE_FAULT);
	ck_assert_uint_eq(fault.error_code, PF_PRESENT | PF_FETCH | PF_USER);
}
END_TEST

START_TEST(again_in_another_address_space)
{
	struct guest_fixture *f = remembered();
	struct paging_fault fault;
	struct decode d;

	fixture_set(f, G_CR3, 0x60000);
	ck_assert_int_eq(again(f, &d, &fault), DECODE_FAULT);
}
END_TEST

/* The same bytes are another instruction in 32-bit code. */
START_TEST(again_in_compatibility_mode)
{
	struct guest_fixture *f = remembered();
	struct paging_fault fault;
	struct decode d;

	fixture_set(f, G_ACCESS + X86VCPU_SEGMENT_CS, 0xc09b);
	ck_assert_int_eq(again(f, &d, &fault), DECODE_OK);
	ck_assert_uint_eq(d.base, DECODE_NO_REGISTER);
	ck_assert_uint_eq(d.address_bytes, 4);
}
END_TEST

/* Another vCPU writes the code meanwhile. What is remembered are the bytes that were decoded. */
#define RACES 20000

static bool racing;

static void *write_code(void *code)
{
	for (uint8_t value = 0; __atomic_load_n(&racing, __ATOMIC_RELAXED); value++)
		__atomic_store_n((uint8_t *)code, value, __ATOMIC_RELAXED);
	return NULL;
}

static const struct fetch_memo *memo_of(const struct guest *g, uint64_t rip)
{
	for (unsigned i = 0; i < FETCH_MEMOS; i++)
		if (g->fetch_memos[i].path.levels && g->fetch_memos[i].rip == rip)
			return &g->fetch_memos[i];
	return NULL;
}

START_TEST(code_that_changes_is_remembered_as_it_was_decoded)
{
	struct guest_fixture *f = remembered();
	struct paging_fault fault;
	struct decode d;
	pthread_t writer;

	racing = true;
	ck_assert_int_eq(pthread_create(&writer, NULL, write_code, &f->ram[0x20106]), 0);
	for (unsigned i = 0; i < RACES; i++) {
		const struct fetch_memo *memo;

		memset(f->g.fetch_memos, 0, sizeof(f->g.fetch_memos));
		ck_assert_int_eq(decode_at_rip(&f->g, &d, &fault), DECODE_OK);
		memo = memo_of(&f->g, 0x8100);
		ck_assert_ptr_nonnull(memo);
		ck_assert_uint_eq(((const uint8_t *)memo->bytes)[6], d.immediate & 0xff);
	}
	__atomic_store_n(&racing, false, __ATOMIC_RELAXED);
	pthread_join(writer, NULL);
}
END_TEST

START_TEST(again_without_its_memory)
{
	struct guest_fixture *f = remembered();
	struct paging_fault fault;
	struct decode d;

	f->g.memory_count = 0;
	ck_assert_int_eq(again(f, &d, &fault), DECODE_ABSENT);
}
END_TEST

Suite *decode_suite(void)
{
	const int vector_count = sizeof(vectors) / sizeof(vectors[0]);
	Suite *suite = suite_create("decode");
	TCase *zydis = tcase_create("zydis");
	TCase *bytes = tcase_create("bytes");
	TCase *offset = tcase_create("offset");
	TCase *rip = tcase_create("rip");
	TCase *memo = tcase_create("memo");

	tcase_set_timeout(zydis, 60);
	tcase_add_loop_test(zydis, agrees_with_zydis, 0, 3);
	suite_add_tcase(suite, zydis);

	tcase_add_loop_test(bytes, decodes_vector, 0, vector_count);
	tcase_add_test(bytes, every_vector_needs_every_byte);
	tcase_add_loop_test(bytes, refuses, 0, sizeof(refusals) / sizeof(refusals[0]));
	tcase_add_test(bytes, high_byte_registers_end_with_rex);
	suite_add_tcase(suite, bytes);

	tcase_add_test(offset, offset_wraps_to_16_bits);
	tcase_add_test(offset, offset_wraps_to_32_bits);
	tcase_add_test(offset, offset_from_rip_counts_the_whole_instruction);
	tcase_add_test(offset, offset_from_eip_wraps);
	tcase_add_test(offset, offset_from_rsp_asks_hardware);
	suite_add_tcase(suite, offset);

	tcase_add_test(rip, fetches_from_real_mode_base);
	tcase_add_test(rip, fetch_ignores_cs_base_in_64bit_mode);
	tcase_add_test(rip, fetch_crosses_pages);
	tcase_add_test(rip, fetch_does_not_look_at_a_page_it_does_not_need);
	tcase_add_test(rip, fetch_faults_in_the_second_page);
	tcase_add_test(rip, fetch_stops_after_15_bytes);
	tcase_add_test(rip, fetch_goes_on_in_another_region);
	tcase_add_test(rip, fetch_from_nowhere_is_absent);
	tcase_add_test(rip, fetch_reaches_the_host_memory);
	tcase_add_test(rip, fetch_wraps_in_32bit_mode);
	suite_add_tcase(suite, rip);

	tcase_add_test(memo, again_is_the_same);
	tcase_add_test(memo, again_with_other_bytes);
	tcase_add_test(memo, again_with_another_page);
	tcase_add_loop_test(memo, again_without_an_entry, 0, 4);
	tcase_add_test(memo, again_with_less_rights);
	tcase_add_test(memo, again_at_cpl_3);
	tcase_add_test(memo, again_in_another_address_space);
	tcase_add_test(memo, again_in_compatibility_mode);
	tcase_add_test(memo, again_without_its_memory);
	tcase_add_test(memo, code_that_changes_is_remembered_as_it_was_decoded);
	suite_add_tcase(suite, memo);
	return suite;
}
