/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moves of vector and x87 registers on device memory, beside the same bytes on this machine's own CPU with the same XSAVE
 * image and memory.
 */
#include <check.h>
#include <string.h>
#include <sys/mman.h>

#include "device_fixture.h"
#include "emul/decode.h"
#include "emul/x87.h"

Suite *forms_suite(void);

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))
#define CODE UINT64_C(0x8000)
#define ROUNDS 40
#define OPERAND (DEVICE_MIDDLE + 0x40)

struct form {
	const char *name;
	uint8_t bytes[10]; /* with [rbx] */
};

static const struct form forms[] = {
	{"movups xmm1, m", {0x0f, 0x10, 0x0b}},
	{"movups m, xmm9", {0x44, 0x0f, 0x11, 0x0b}},
	{"movupd xmm1, m", {0x66, 0x0f, 0x10, 0x0b}},
	{"movss xmm1, m", {0xf3, 0x0f, 0x10, 0x0b}},
	{"movss m, xmm1", {0xf3, 0x0f, 0x11, 0x0b}},
	{"movsd xmm1, m", {0xf2, 0x0f, 0x10, 0x0b}},
	{"movsd m, xmm1", {0x66, 0xf2, 0x0f, 0x11, 0x0b}},
	{"movlps xmm1, m", {0x0f, 0x12, 0x0b}},
	{"movlpd m, xmm1", {0x66, 0x0f, 0x13, 0x0b}},
	{"movhps xmm1, m", {0x0f, 0x16, 0x0b}},
	{"movhpd m, xmm1", {0x66, 0x0f, 0x17, 0x0b}},
	{"movsldup xmm1, m", {0xf3, 0x0f, 0x12, 0x0b}},
	{"movshdup xmm1, m", {0xf3, 0x0f, 0x16, 0x0b}},
	{"movddup xmm1, m", {0xf2, 0x0f, 0x12, 0x0b}},
	{"movaps xmm1, m", {0x0f, 0x28, 0x0b}},
	{"movapd m, xmm1", {0x66, 0x0f, 0x29, 0x0b}},
	{"movntps m, xmm1", {0x0f, 0x2b, 0x0b}},
	{"movd xmm1, m", {0x66, 0x0f, 0x6e, 0x0b}},
	{"movq xmm1, m (66 REX.W 6e)", {0x66, 0x48, 0x0f, 0x6e, 0x0b}},
	{"movd m, xmm1", {0x66, 0x0f, 0x7e, 0x0b}},
	{"movq m, xmm1 (66 REX.W 7e)", {0x66, 0x48, 0x0f, 0x7e, 0x0b}},
	{"movq xmm1, m", {0xf3, 0x0f, 0x7e, 0x0b}},
	{"movq m, xmm1", {0x66, 0x0f, 0xd6, 0x0b}},
	{"movdqa xmm1, m", {0x66, 0x0f, 0x6f, 0x0b}},
	{"movdqu xmm15, m", {0xf3, 0x44, 0x0f, 0x6f, 0x3b}},
	{"movdqa m, xmm1", {0x66, 0x0f, 0x7f, 0x0b}},
	{"movdqu m, xmm1", {0xf3, 0x0f, 0x7f, 0x0b}},
	{"movntdq m, xmm1", {0x66, 0x0f, 0xe7, 0x0b}},
	{"lddqu xmm1, m", {0xf2, 0x0f, 0xf0, 0x0b}},
	{"movntdqa xmm1, m", {0x66, 0x0f, 0x38, 0x2a, 0x0b}},
	{"vmovups xmm1, m", {0xc5, 0xf8, 0x10, 0x0b}},
	{"vmovups ymm1, m", {0xc5, 0xfc, 0x10, 0x0b}},
	{"vmovups m, ymm9", {0xc5, 0x7c, 0x11, 0x0b}},
	{"vmovss xmm1, m", {0xc5, 0xfa, 0x10, 0x0b}},
	{"vmovsd m, xmm1", {0xc5, 0xfb, 0x11, 0x0b}},
	{"vmovlps xmm1, xmm2, m", {0xc5, 0xe8, 0x12, 0x0b}},
	{"vmovhps xmm1, xmm10, m", {0xc5, 0xa8, 0x16, 0x0b}},
	{"vmovhpd m, xmm1", {0xc5, 0xf9, 0x17, 0x0b}},
	{"vmovsldup ymm1, m", {0xc5, 0xfe, 0x12, 0x0b}},
	{"vmovshdup ymm1, m", {0xc5, 0xfe, 0x16, 0x0b}},
	{"vmovddup xmm1, m", {0xc5, 0xfb, 0x12, 0x0b}},
	{"vmovddup ymm1, m", {0xc5, 0xff, 0x12, 0x0b}},
	{"vmovaps ymm1, m", {0xc5, 0xfc, 0x28, 0x0b}},
	{"vmovntps m, ymm1", {0xc5, 0xfc, 0x2b, 0x0b}},
	{"vmovd xmm1, m", {0xc5, 0xf9, 0x6e, 0x0b}},
	{"vmovq xmm1, m (W)", {0xc4, 0xe1, 0xf9, 0x6e, 0x0b}},
	{"vmovq m, xmm1 (W)", {0xc4, 0xe1, 0xf9, 0x7e, 0x0b}},
	{"vmovq xmm1, m", {0xc5, 0xfa, 0x7e, 0x0b}},
	{"vmovdqa ymm1, m", {0xc5, 0xfd, 0x6f, 0x0b}},
	{"vmovdqu xmm1, m", {0xc5, 0xfa, 0x6f, 0x0b}},
	{"vmovdqu m, ymm1", {0xc5, 0xfe, 0x7f, 0x0b}},
	{"vmovntdq m, ymm1", {0xc5, 0xfd, 0xe7, 0x0b}},
	{"vlddqu ymm1, m", {0xc5, 0xff, 0xf0, 0x0b}},
	{"vmovntdqa ymm1, m", {0xc4, 0xe2, 0x7d, 0x2a, 0x0b}},
	{"vbroadcastss xmm1, m", {0xc4, 0xe2, 0x79, 0x18, 0x0b}},
	{"vbroadcastss ymm1, m", {0xc4, 0xe2, 0x7d, 0x18, 0x0b}},
	{"vbroadcastsd ymm1, m", {0xc4, 0xe2, 0x7d, 0x19, 0x0b}},
	{"vbroadcastf128 ymm1, m", {0xc4, 0xe2, 0x7d, 0x1a, 0x0b}},
	{"vpbroadcastd ymm1, m", {0xc4, 0xe2, 0x7d, 0x58, 0x0b}},
	{"vpbroadcastq xmm1, m", {0xc4, 0xe2, 0x79, 0x59, 0x0b}},
	{"vbroadcasti128 ymm1, m", {0xc4, 0xe2, 0x7d, 0x5a, 0x0b}},
	{"vpbroadcastb ymm1, m", {0xc4, 0xe2, 0x7d, 0x78, 0x0b}},
	{"vpbroadcastw xmm1, m", {0xc4, 0xe2, 0x79, 0x79, 0x0b}},
	{"stmxcsr m", {0x0f, 0xae, 0x1b}},
	{"vstmxcsr m", {0xc5, 0xf8, 0xae, 0x1b}},
	{"ldmxcsr m", {0x0f, 0xae, 0x13}},
	{"movd mm1, m", {0x0f, 0x6e, 0x0b}},
	{"movq mm1, m (REX.W)", {0x4c, 0x0f, 0x6e, 0x0b}},
	{"movd m, mm1", {0x0f, 0x7e, 0x0b}},
	{"movq mm1, m", {0x0f, 0x6f, 0x0b}},
	{"movq m, mm1", {0x0f, 0x7f, 0x0b}},
	{"movntq m, mm1", {0x0f, 0xe7, 0x0b}},
	{"clflush m", {0x0f, 0xae, 0x3b}},
	{"prefetchw m", {0x0f, 0x0d, 0x0b}},
	{"prefetcht0 m", {0x0f, 0x18, 0x0b}},
	{"cldemote m", {0x0f, 0x1c, 0x03}},
	{"fld m32", {0xd9, 0x03}},
	{"fld m64", {0xdd, 0x03}},
	{"fld m80", {0xdb, 0x2b}},
	{"fst m32", {0xd9, 0x13}},
	{"fstp m32", {0xd9, 0x1b}},
	{"fst m64", {0xdd, 0x13}},
	{"fstp m64", {0xdd, 0x1b}},
	{"fstp m80", {0xdb, 0x3b}},
	{"fild m16", {0xdf, 0x03}},
	{"fild m32", {0xdb, 0x03}},
	{"fild m64", {0xdf, 0x2b}},
	{"fist m16", {0xdf, 0x13}},
	{"fist m32", {0xdb, 0x13}},
	{"fistp m16", {0xdf, 0x1b}},
	{"fistp m32", {0xdb, 0x1b}},
	{"fistp m64", {0xdf, 0x3b}},
	{"fisttp m16", {0xdf, 0x0b}},
	{"fisttp m32", {0xdb, 0x0b}},
	{"fisttp m64", {0xdd, 0x0b}},
	{"fldcw m", {0xd9, 0x2b}},
	{"fnstcw m", {0xd9, 0x3b}},
	{"fnstsw m", {0xdd, 0x3b}},
};

/* ---- Images -------------------------------------------------------------------------------------------------- */

struct image {
	uint16_t control, status;
	uint8_t tags, reserved;
	uint16_t opcode;
	uint64_t pointers[2];
	uint32_t mxcsr, mxcsr_mask;
	struct {
		uint64_t significand;
		uint16_t exponent, reserved[3];
	} st[8];
	uint64_t xmm[16][2];
	uint8_t unused[96];
	uint64_t xstate_bv, header[7];
	uint64_t ymm[16][2];
	uint64_t end;
};
_Static_assert(offsetof(struct image, ymm) == 576, "");

/* Exponents where conversions round, overflow and underflow. */
static uint16_t random_exponent(void)
{
	static const uint16_t near[] = {16383, 16383 + 15, 16383 + 31, 16383 + 63, 16383 + 127, 16383 - 126,
					16383 - 149, 16383 + 1023, 16383 - 1022, 16383 - 1074, 0, 0x7fff};
	const uint16_t sign = random_bits() & 0x8000;

	if (random_bits() % 8 == 0)
		return sign | (random_bits() & 0x7fff);
	return sign | ((near[random_bits() % 12] + random_bits() % 5 - 2) & 0x7fff);
}

static void random_image(struct image *image)
{
	memset(image, 0, sizeof(*image));
	image->control = random_bits() & 3 ? (random_bits() & 0xc00) | 0x37f : (random_bits() & 0x1f3f) | 0x40;
	/* Nothing is pending. */
	image->status = random_bits() & 0x7f7f & ~(uint64_t)(~image->control & 0x3f);
	image->tags = (uint8_t)(random_bits() % 4 ? random_bits() : random_bits() % 2 ? 0xff : 0);
	image->mxcsr = random_bits() & 0xffff;
	for (unsigned i = 0; i < 8; i++) {
		image->st[i].significand = random_value() | (random_bits() % 8 ? UINT64_C(1) << 63 : 0);
		image->st[i].exponent = random_exponent();
	}
	for (unsigned i = 0; i < 16; i++)
		for (unsigned j = 0; j < 2; j++) {
			image->xmm[i][j] = random_bits();
			image->ymm[i][j] = random_bits();
		}
	/* Components in their initial configuration, too. */
	image->xstate_bv = random_bits() % 4 ? 7 : random_bits() & 7;
}

/* What stands for the initial configuration is written out, and what no instruction is compared by is the same. */
static void normalise(struct image *image)
{
	if (!(image->xstate_bv & 1)) {
		memset(image, 0, 24);
		memset(image->st, 0, sizeof(image->st));
		image->control = 0x37f;
	}
	if (!(image->xstate_bv & 2))
		memset(image->xmm, 0, sizeof(image->xmm));
	if (!(image->xstate_bv & 4))
		memset(image->ymm, 0, sizeof(image->ymm));
	image->status &= (uint16_t)~0x4500; /* C0, C2 and C3 are undefined */
	image->opcode = 0;
	image->pointers[0] = image->pointers[1] = 0;
	image->mxcsr_mask = 0;
	memset(image->unused, 0, sizeof(image->unused));
	image->xstate_bv = 0;
	for (unsigned i = 0; i < 8; i++)
		memset(image->st[i].reserved, 0, sizeof(image->st[i].reserved));
}

/* ---- This machine's CPU ---------------------------------------------------------------------------------------- */

void forms_execute(void *image, const void *code, void *rbx, void *host);
__asm__(".text\n"
	"forms_execute:\n"
	"push %rbx; push %r12; push %r13; push %r14; sub $8, %rsp\n"
	"mov %rdi, %r12; mov %rsi, %r13; mov %rdx, %rbx; mov %rcx, %r14\n"
	"fxsave64 (%r14)\n"
	"mov $7, %eax; xor %edx, %edx; xrstor64 (%r12)\n"
	"call *%r13\n"
	"mov $7, %eax; xor %edx, %edx; xsave64 (%r12)\n"
	"fxrstor64 (%r14)\n"
	"add $8, %rsp; pop %r14; pop %r13; pop %r12; pop %rbx; ret\n");

static uint8_t *map(size_t bytes, int protection)
{
	void *at = mmap(NULL, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ck_assert_ptr_ne(at, MAP_FAILED);
	return at;
}

static bool cpu_has(const struct form *form)
{
	const bool vex = form->bytes[0] == 0xc4 || form->bytes[0] == 0xc5;

	return !vex || __builtin_cpu_supports("avx2");
}

/* ---- Comparisons ------------------------------------------------------------------------------------------------- */

static unsigned length_of(const struct form *form)
{
	struct decode d;

	ck_assert_msg(decode_bytes(&d, form->bytes, sizeof(form->bytes), 8) == DECODE_OK, "%s", form->name);
	return d.length;
}

static struct guest_fixture *prepare(const uint8_t *bytes, size_t count)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_LONG);

	fixture_code(f, CODE, bytes, count);
	fixture_set(f, G_CR4, CR4_PAE | CR4_OSFXSR | CR4_OSXSAVE);
	f->g.xcr0 = XCR0_X87 | XCR0_SSE | XCR0_AVX;
	f->g.regs.rbx = FIXTURE_MMIO + OPERAND;
	return f;
}

static void compare(const struct form *form, struct image *native, struct image *emulated, const uint8_t *memory)
{
	const uint64_t *a = (const uint64_t *)(const void *)native, *b = (const uint64_t *)(const void *)emulated;

	normalise(native);
	normalise(emulated);
	for (unsigned i = 0; i < offsetof(struct image, end) / 8; i++)
		ck_assert_msg(a[i] == b[i], "%s: byte %u of the image is %lx, not %lx", form->name, 8 * i, b[i], a[i]);
	ck_assert_msg(memcmp(device, memory, DEVICE_BYTES) == 0, "%s: memory", form->name);
}

static void compare_round(struct guest_fixture *f, const struct form *form, unsigned length, uint8_t *code, uint8_t *memory)
{
	static _Alignas(64) struct image native;
	static _Alignas(64) uint8_t host[512];

	for (unsigned i = 0; i < DEVICE_BYTES; i += 8) {
		const uint64_t value = random_value();

		memcpy(device + i, &value, 8);
	}
	/* LDMXCSR of anything else is #GP. */
	if (form->bytes[1] == 0xae && form->bytes[2] == 0x13)
		memset(device + OPERAND + 2, 0, 2);
	random_image(&native);
	memcpy(f->xsave, &native, sizeof(native));
	memcpy(memory, device, DEVICE_BYTES);
	fixture_set(f, G_RIP, CODE);
	forms_execute(&native, code, memory + OPERAND, host);
	device_run_once(f);
	ck_assert_msg(!f->g.events.exception.valid, "%s: exception %d", form->name, f->g.events.exception.vector);
	ck_assert_uint_eq(guest_get(&f->g, G_RIP), CODE + length);
	compare(form, &native, (struct image *)(void *)f->xsave, memory);
}

START_TEST(does_what_this_cpu_does)
{
	const struct form *form = &forms[_i];
	const unsigned length = length_of(form);
	struct guest_fixture *f = prepare(form->bytes, length);
	uint8_t *memory = map(DEVICE_BYTES, PROT_READ | PROT_WRITE);
	uint8_t *code = map(4096, PROT_READ | PROT_WRITE | PROT_EXEC);

	memcpy(code, form->bytes, length);
	code[length] = 0xc3;
	for (unsigned i = cpu_has(form) ? comparison_rounds(ROUNDS) : 0; i; i--)
		compare_round(f, form, length, code, memory);
	munmap(memory, DEVICE_BYTES);
	munmap(code, 4096);
}
END_TEST

/* ---- What must be enabled ------------------------------------------------------------------------------------------ */

struct enabling {
	const char *name;
	uint8_t bytes[6];
	uint64_t cr0, cr4, xcr0; /* that differ from those of prepare() */
	uint8_t vector;          /* 0: none */
	uint16_t status;         /* of the x87 FPU */
};

#define MOVUPS {0x0f, 0x10, 0x0b}
#define VMOVUPS {0xc5, 0xf8, 0x10, 0x0b}
#define MOVQ {0x0f, 0x6f, 0x0b}
#define FILD {0xdf, 0x2b}

static const struct enabling enablings[] = {
	{"SSE, CR0.EM", MOVUPS, CR0_EM, 0, 0, VECTOR_UD, 0},
	{"SSE, CR4.OSFXSR clear", MOVUPS, 0, CR4_OSFXSR, 0, VECTOR_UD, 0},
	{"SSE, CR4.OSFXSR clear and CR0.TS", MOVUPS, CR0_TS, CR4_OSFXSR, 0, VECTOR_UD, 0},
	{"SSE, CR0.TS", MOVUPS, CR0_TS, 0, 0, VECTOR_NM, 0},
	{"SSE needs no CR4.OSXSAVE", MOVUPS, 0, CR4_OSXSAVE, 6, 0, 0},
	{"SSE, x87 exception pending", MOVUPS, 0, 0, 0, 0, X87_ES | X87_IE},
	{"AVX, CR4.OSXSAVE clear", VMOVUPS, 0, CR4_OSXSAVE, 0, VECTOR_UD, 0},
	{"AVX, XCR0.AVX clear", VMOVUPS, 0, 0, XCR0_AVX, VECTOR_UD, 0},
	{"AVX, CR0.TS", VMOVUPS, CR0_TS, 0, 0, VECTOR_NM, 0},
	{"AVX, CR0.EM does not matter", VMOVUPS, CR0_EM, CR4_OSFXSR, 0, 0, 0},
	{"MMX, CR0.EM", MOVQ, CR0_EM, CR4_OSFXSR, 0, VECTOR_UD, 0},
	{"MMX, CR0.TS", MOVQ, CR0_TS, 0, 0, VECTOR_NM, 0},
	{"MMX, x87 exception pending", MOVQ, 0, 0, 0, VECTOR_MF, X87_ES | X87_IE},
	{"x87, CR0.EM", FILD, CR0_EM, 0, 0, VECTOR_NM, 0},
	{"x87, CR0.TS", FILD, CR0_TS, 0, 0, VECTOR_NM, 0},
	{"x87, exception pending", FILD, 0, 0, 0, VECTOR_MF, X87_ES | X87_IE},
	{"FNSTSW, CR0.TS", {0xdd, 0x3b}, CR0_TS, 0, 0, VECTOR_NM, 0},
	{"FNSTSW, exception pending", {0xdd, 0x3b}, 0, 0, 0, 0, X87_ES | X87_IE},
	{"CLFLUSH, CR0.TS and CR0.EM", {0x0f, 0xae, 0x3b}, CR0_TS | CR0_EM, 0, 0, 0, 0},
};

START_TEST(needs_what_enables_it)
{
	const struct enabling *e = &enablings[_i];
	struct guest_fixture *f = prepare(e->bytes, sizeof(e->bytes));
	struct image *image = (struct image *)(void *)f->xsave;

	fixture_set(f, G_CR0, f->hardware[G_CR0] ^ e->cr0);
	fixture_set(f, G_CR4, f->hardware[G_CR4] ^ e->cr4);
	f->g.xcr0 ^= e->xcr0;
	image->xstate_bv = 7;
	image->control = 0x37e;
	image->status = e->status;
	device_run_once(f);
	ck_assert_msg(f->g.events.exception.valid == (e->vector != 0), "%s", e->name);
	ck_assert_msg(!e->vector || f->g.events.exception.vector == e->vector, "%s: vector %u", e->name,
		      f->g.events.exception.vector);
	ck_assert_msg((guest_get(&f->g, G_RIP) == CODE) == (e->vector != 0), "%s", e->name);
}
END_TEST

/* #GP(0) in any segment, before the page walk. */
START_TEST(aligned_moves_want_it)
{
	static const uint8_t movaps[] = {0x0f, 0x28, 0x4d, 0x08}; /* [rbp + 8], in SS */
	static const uint8_t vmovaps[] = {0xc5, 0xfc, 0x28, 0x4d, 0x10};
	struct guest_fixture *f = prepare(movaps, sizeof(movaps));

	f->g.regs.rbp = UINT64_C(0x123456789000);
	device_run_once(f);
	ck_assert_uint_eq(f->g.events.exception.vector, VECTOR_GP);
	f = prepare(vmovaps, sizeof(vmovaps));
	f->g.regs.rbp = UINT64_C(0x123456789000);
	device_run_once(f);
	ck_assert_uint_eq(f->g.events.exception.vector, VECTOR_GP);
}
END_TEST

START_TEST(bits_of_mxcsr_that_do_not_exist_are_gp)
{
	static const uint8_t ldmxcsr[] = {0x0f, 0xae, 0x13};
	struct guest_fixture *f = prepare(ldmxcsr, sizeof(ldmxcsr));

	memset(device, 0xff, sizeof(device));
	device_run_once(f);
	ck_assert_uint_eq(f->g.events.exception.vector, VECTOR_GP);
	ck_assert_uint_eq(((struct image *)(void *)f->xsave)->mxcsr, 0);
}
END_TEST

/* Neither a missing page nor a wrong segment is a fault of theirs. */
START_TEST(hints_never_fault)
{
	static const uint8_t prefetch[] = {0x0f, 0x18, 0x0b}, clwb[] = {0x66, 0x0f, 0xae, 0x33};
	struct guest_fixture *f = prepare(prefetch, sizeof(prefetch));

	f->g.regs.rbx = UINT64_C(0x8000000000000000);
	ck_assert_uint_eq(device_run_once(f), 0);
	ck_assert(!f->g.events.exception.valid);
	ck_assert_uint_eq(guest_get(&f->g, G_RIP), CODE + 3);
	f = prepare(clwb, sizeof(clwb));
	f->g.regs.rbx = UINT64_C(0x123456789000);
	ck_assert_uint_eq(device_run_once(f), 0);
	ck_assert_uint_eq(f->g.events.exception.vector, VECTOR_PF);
	ck_assert_uint_eq(f->g.events.exception.error_code, 0);
}
END_TEST

/* A store that faults pops nothing. */
START_TEST(store_that_faults_changes_no_register)
{
	static const uint8_t fistp[] = {0xdf, 0x3b};
	struct guest_fixture *f = prepare(fistp, sizeof(fistp));
	struct image *image = (struct image *)(void *)f->xsave, before;

	random_image(image);
	image->xstate_bv = 7;
	before = *image;
	f->g.regs.rbx = UINT64_C(0x123456789000);
	device_run_once(f);
	ck_assert_uint_eq(f->g.events.exception.vector, VECTOR_PF);
	ck_assert_int_eq(memcmp(image, &before, sizeof(before)), 0);
}
END_TEST

/* VEX with a prefix of the kinds that it replaces, or with operands that a form does not have. */
static const struct {
	uint8_t bytes[6];
	uint8_t mode;
	enum decode_status status;
} encodings[] = {
	{{0xc5, 0xf8, 0x10, 0x0b}, 8, DECODE_OK},
	{{0x66, 0xc5, 0xf8, 0x10, 0x0b}, 8, DECODE_UD},
	{{0xf3, 0xc5, 0xf8, 0x10, 0x0b}, 8, DECODE_UD},
	{{0xf0, 0xc5, 0xf8, 0x10, 0x0b}, 8, DECODE_UD},
	{{0x48, 0xc5, 0xf8, 0x10, 0x0b}, 8, DECODE_UD},
	{{0x64, 0xc5, 0xf8, 0x10, 0x0b}, 8, DECODE_OK},
	{{0xc5, 0xf0, 0x10, 0x0b}, 8, DECODE_UD},      /* vvvv */
	{{0xc5, 0xfc, 0x13, 0x0b}, 8, DECODE_UD},      /* VMOVLPS with L */
	{{0xc4, 0xe2, 0x79, 0x19, 0x0b}, 8, DECODE_UD}, /* VBROADCASTSD without */
	{{0xc4, 0xe3, 0x79, 0x10, 0x0b}, 8, DECODE_UNKNOWN},
	{{0xc5, 0xf8, 0x89, 0x0b}, 8, DECODE_UNKNOWN},
	{{0xc5, 0xf8, 0x10, 0xcb}, 8, DECODE_UNKNOWN}, /* of registers only */
	{{0xc5, 0xf8, 0x10, 0x0b}, 4, DECODE_OK},
	{{0xc5, 0x78, 0x10, 0x0b}, 4, DECODE_UNKNOWN}, /* LDS */
	{{0xc4, 0x03, 0x00}, 2, DECODE_UNKNOWN},       /* LES */
	{{0xf0, 0x0f, 0x10, 0x0b}, 8, DECODE_UD},
	{{0x0f, 0xae, 0x03}, 8, DECODE_UNKNOWN},       /* FXSAVE */
	{{0xd9, 0x23}, 8, DECODE_UNKNOWN},             /* FLDENV */
};

START_TEST(encoding_is_checked)
{
	struct decode d;

	ck_assert_int_eq(decode_bytes(&d, encodings[_i].bytes, 6, encodings[_i].mode), encodings[_i].status);
}
END_TEST

START_TEST(vex_does_not_exist_in_real_mode)
{
	static const uint8_t vmovups[] = {0x67, 0xc5, 0xf8, 0x10, 0x0b};
	struct guest_fixture *f = fixture_reset(FIXTURE_REAL);

	fixture_code(f, CODE, vmovups, sizeof(vmovups));
	fixture_set(f, G_CR4, CR4_OSFXSR | CR4_OSXSAVE);
	f->g.xcr0 = XCR0_X87 | XCR0_SSE | XCR0_AVX;
	device_run_once(f);
	ck_assert_uint_eq(f->g.events.exception.vector, VECTOR_UD);
}
END_TEST

Suite *forms_suite(void)
{
	Suite *suite = suite_create("forms");
	TCase *cpu = tcase_create("cpu"), *rules = tcase_create("rules");

	tcase_set_timeout(cpu, 0);
	tcase_add_loop_test(cpu, does_what_this_cpu_does, 0, COUNT(forms));
	suite_add_tcase(suite, cpu);
	tcase_add_loop_test(rules, needs_what_enables_it, 0, COUNT(enablings));
	tcase_add_test(rules, aligned_moves_want_it);
	tcase_add_test(rules, bits_of_mxcsr_that_do_not_exist_are_gp);
	tcase_add_test(rules, hints_never_fault);
	tcase_add_test(rules, store_that_faults_changes_no_register);
	tcase_add_loop_test(rules, encoding_is_checked, 0, COUNT(encodings));
	tcase_add_test(rules, vex_does_not_exist_in_real_mode);
	suite_add_tcase(suite, rules);
	return suite;
}
