/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Instructions on device memory, beside the same bytes on this machine's own CPU with the same registers, flags and
 * memory.
 */
#include <check.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "device_fixture.h"
#include "emul/decode.h"
#include "emul/mmio.h"

Suite *execute_suite(void);

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))
#define CODE UINT64_C(0x8000)
#define STATUS UINT64_C(0x8d5)
#define AF UINT64_C(0x10)
#define CF UINT64_C(1)
#define OF UINT64_C(0x800)
#define ROUNDS 100
#define MIDDLE DEVICE_MIDDLE

/* ---- This machine's CPU -------------------------------------------------------------------------------------- */

struct state {
	uint64_t gpr[16];
	uint64_t rflags;
};

static uint8_t *native_code;
static sigjmp_buf fault;

static void on_fault(int signal)
{
	siglongjmp(fault, signal);
}

/* Every register but RSP; the code ends with RET. */
void execute_native(struct state *state, const void *code);
__asm__(".text\n"
	"execute_native:\n"
	"push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15; push %rdi; push %rsi\n"
	"push 128(%rdi); popf\n"
	"mov %rdi, %rax\n"
	"mov 8(%rax), %rcx; mov 16(%rax), %rdx; mov 24(%rax), %rbx; mov 40(%rax), %rbp; mov 48(%rax), %rsi\n"
	"mov 56(%rax), %rdi; mov 64(%rax), %r8; mov 72(%rax), %r9; mov 80(%rax), %r10; mov 88(%rax), %r11\n"
	"mov 96(%rax), %r12; mov 104(%rax), %r13; mov 112(%rax), %r14; mov 120(%rax), %r15\n"
	"mov (%rax), %rax\n"
	"call *(%rsp)\n"
	"pushf; cld; push %rax; mov 24(%rsp), %rax\n"
	"mov %rcx, 8(%rax); mov %rdx, 16(%rax); mov %rbx, 24(%rax); mov %rbp, 40(%rax); mov %rsi, 48(%rax)\n"
	"mov %rdi, 56(%rax); mov %r8, 64(%rax); mov %r9, 72(%rax); mov %r10, 80(%rax); mov %r11, 88(%rax)\n"
	"mov %r12, 96(%rax); mov %r13, 104(%rax); mov %r14, 112(%rax); mov %r15, 120(%rax)\n"
	"pop (%rax); pop 128(%rax)\n"
	"pop %rsi; pop %rdi; pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx; ret\n");

static uint8_t *map(size_t bytes, int protection)
{
	void *at = mmap(NULL, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ck_assert_ptr_ne(at, MAP_FAILED);
	return at;
}

/* ---- Forms ----------------------------------------------------------------------------------------------------- */

struct form {
	const char *name;
	uint8_t bytes[10];  /* with [rbx], but for strings and CMPXCHG8B */
	uint64_t undefined; /* flags */

	bool bit_offset;    /* RCX is small */
};

#define SHIFT_UNDEFINED (AF | OF)

/* ModRM 0x0b: rcx, [rbx]; n << 3 | 3: group n, [rbx]. */
static const struct form forms[] = {
	{"add m8, r8", {0x00, 0x0b}, 0, 0},
	{"add m, r64", {0x48, 0x01, 0x0b}, 0, 0},
	{"add r16, m", {0x66, 0x03, 0x0b}, 0, 0},
	{"or m, r32", {0x09, 0x0b}, AF, 0},
	{"adc m, r32", {0x11, 0x0b}, 0, 0},
	{"sbb r32, m", {0x1b, 0x0b}, 0, 0},
	{"and m8, ch", {0x20, 0x2b}, AF, 0},
	{"xor r64, m", {0x48, 0x33, 0x0b}, AF, 0},
	{"cmp m, r16", {0x66, 0x39, 0x0b}, 0, 0},
	{"lock sub m, imm8", {0xf0, 0x83, 0x2b, 0x85}, 0, 0},
	{"and m16, imm16", {0x66, 0x81, 0x23, 0x34, 0x92}, AF, 0},
	{"test m, r32", {0x85, 0x0b}, AF, 0},
	{"test m8, imm8", {0xf6, 0x03, 0x81}, AF, 0},
	{"not m", {0x48, 0xf7, 0x13}, 0, 0},
	{"neg m8", {0xf6, 0x1b}, 0, 0},
	{"inc m16", {0x66, 0xff, 0x03}, 0, 0},
	{"dec m64", {0x48, 0xff, 0x0b}, 0, 0},
	{"xchg m8, r8", {0x86, 0x0b}, 0, 0},
	{"xchg m, r32", {0x87, 0x0b}, 0, 0},
	{"xadd m8, ch", {0x0f, 0xc0, 0x2b}, 0, 0},
	{"xadd m, r64", {0xf0, 0x48, 0x0f, 0xc1, 0x0b}, 0, 0},
	{"cmpxchg m8, r8", {0x0f, 0xb0, 0x0b}, 0, 0},
	{"cmpxchg m, r16", {0x66, 0x0f, 0xb1, 0x0b}, 0, 0},
	{"lock cmpxchg m, r64", {0xf0, 0x48, 0x0f, 0xb1, 0x0b}, 0, 0},
	{"cmpxchg8b", {0x0f, 0xc7, 0x0e}, 0, 0},
	{"cmpxchg16b", {0x48, 0x0f, 0xc7, 0x0e}, 0, 0},
	{"imul r16, m", {0x66, 0x0f, 0xaf, 0x0b}, STATUS & ~(CF | OF), 0},
	{"imul r64, m, imm32", {0x48, 0x69, 0x0b, 1, 2, 3, 0x84}, STATUS & ~(CF | OF), 0},
	{"imul r32, m, imm8", {0x6b, 0x0b, 0x9d}, STATUS & ~(CF | OF), 0},
	{"mul m8", {0xf6, 0x23}, STATUS & ~(CF | OF), 0},
	{"mul m64", {0x48, 0xf7, 0x23}, STATUS & ~(CF | OF), 0},
	{"imul m8", {0xf6, 0x2b}, STATUS & ~(CF | OF), 0},
	{"imul m32", {0xf7, 0x2b}, STATUS & ~(CF | OF), 0},
	{"div m8", {0xf6, 0x33}, STATUS, 0},
	{"div m16", {0x66, 0xf7, 0x33}, STATUS, 0},
	{"div m32", {0xf7, 0x33}, STATUS, 0},
	{"div m64", {0x48, 0xf7, 0x33}, STATUS, 0},
	{"idiv m8", {0xf6, 0x3b}, STATUS, 0},
	{"idiv m32", {0xf7, 0x3b}, STATUS, 0},
	{"idiv m64", {0x48, 0xf7, 0x3b}, STATUS, 0},
	{"rol m8, 1", {0xd0, 0x03}, 0, 0},
	{"rol m, cl", {0xd3, 0x03}, OF, 0},
	{"ror m16, imm8", {0x66, 0xc1, 0x0b, 0x0b}, OF, 0},
	{"rcl m8, cl", {0xd2, 0x13}, OF, 0},
	{"rcr m64, cl", {0x48, 0xd3, 0x1b}, OF, 0},
	{"rcr m32, 1", {0xd1, 0x1b}, 0, 0},
	{"shl m32, 1", {0xd1, 0x23}, AF, 0},
	{"shl m64, cl", {0x48, 0xd3, 0x23}, SHIFT_UNDEFINED, 0},
	{"shr m8, 1", {0xd0, 0x2b}, AF, 0},
	{"shr m32, cl", {0xd3, 0x2b}, SHIFT_UNDEFINED, 0},
	{"sar m8, cl", {0xd2, 0x3b}, SHIFT_UNDEFINED, 0},
	{"sar m16, imm8", {0x66, 0xc1, 0x3b, 0x03}, SHIFT_UNDEFINED, 0},
	{"shld m32, r, imm8", {0x0f, 0xa4, 0x0b, 0x07}, SHIFT_UNDEFINED, 0},
	{"shld m64, r, cl", {0x48, 0x0f, 0xa5, 0x0b}, SHIFT_UNDEFINED, 0},
	{"shrd m16, r, imm8", {0x66, 0x0f, 0xac, 0x0b, 0x0f}, SHIFT_UNDEFINED, 0},
	{"shrd m32, r, cl", {0x0f, 0xad, 0x0b}, SHIFT_UNDEFINED, 0},
	{"bt m16, r", {0x66, 0x0f, 0xa3, 0x0b}, STATUS & ~(CF | UINT64_C(0x40)), 1},
	{"bts m32, r", {0xf0, 0x0f, 0xab, 0x0b}, STATUS & ~(CF | UINT64_C(0x40)), 1},
	{"btr m64, r", {0x48, 0x0f, 0xb3, 0x0b}, STATUS & ~(CF | UINT64_C(0x40)), 1},
	{"btc m32, r", {0x0f, 0xbb, 0x0b}, STATUS & ~(CF | UINT64_C(0x40)), 1},
	{"bt m32, imm8", {0x0f, 0xba, 0x23, 0xe5}, STATUS & ~(CF | UINT64_C(0x40)), 0},
	{"btc m64, imm8", {0x48, 0x0f, 0xba, 0x3b, 0x85}, STATUS & ~(CF | UINT64_C(0x40)), 0},
	{"bsf r32, m", {0x0f, 0xbc, 0x0b}, STATUS & ~UINT64_C(0x40), 0},
	{"bsr r64, m", {0x48, 0x0f, 0xbd, 0x0b}, STATUS & ~UINT64_C(0x40), 0},
	{"tzcnt r16, m", {0x66, 0xf3, 0x0f, 0xbc, 0x0b}, STATUS & ~(CF | UINT64_C(0x40)), 0},
	{"lzcnt r64, m", {0xf3, 0x48, 0x0f, 0xbd, 0x0b}, STATUS & ~(CF | UINT64_C(0x40)), 0},
	{"popcnt r32, m", {0xf3, 0x0f, 0xb8, 0x0b}, 0, 0},
	{"movbe r16, m", {0x66, 0x0f, 0x38, 0xf0, 0x0b}, 0, 0},
	{"movbe m, r64", {0x48, 0x0f, 0x38, 0xf1, 0x0b}, 0, 0},
	{"movnti m, r64", {0x48, 0x0f, 0xc3, 0x0b}, 0, 0},
	{"xlat", {0xd7}, 0, 0},
	{"movsb", {0xa4}, 0, 0},
	{"movsq", {0x48, 0xa5}, 0, 0},
	{"cmpsw", {0x66, 0xa7}, 0, 0},
	{"stosd", {0xab}, 0, 0},
	{"lodsw", {0x66, 0xad}, 0, 0},
	{"lodsq", {0x48, 0xad}, 0, 0},
	{"scasb", {0xae}, 0, 0},
	{"scasq", {0x48, 0xaf}, 0, 0},
};

static unsigned length_of(const struct form *form)
{
	struct decode d;

	ck_assert_msg(decode_bytes(&d, form->bytes, sizeof(form->bytes), 8) == DECODE_OK, "%s", form->name);
	return d.length;
}

/* CMPXCHG8B and CMPXCHG16B take RBX for a value, and [rsi]. 0: others. */
static unsigned pair_bytes(const struct form *form)
{
	if (form->bytes[0] == 0x0f && form->bytes[1] == 0xc7)
		return 4;
	return form->bytes[1] == 0x0f && form->bytes[2] == 0xc7 ? 8 : 0;
}

static void random_start(const struct form *form, struct state *state)
{
	for (unsigned i = 0; i < 16; i++)
		state->gpr[i] = random_value();
	for (unsigned i = 0; i < DEVICE_BYTES; i += 8) {
		const uint64_t value = random_value();

		memcpy(device + i, &value, 8);
	}
	state->gpr[3] = FIXTURE_MMIO + MIDDLE;
	state->gpr[6] = FIXTURE_MMIO + MIDDLE + 0x40;
	state->gpr[7] = FIXTURE_MMIO + MIDDLE + 0x80;
	if (form->bit_offset)
		state->gpr[1] = (uint64_t)((int64_t)(random_bits() % 8192) - 4096);
	/* Comparisons that find what they look for. */
	if (random_bits() % 2)
		memcpy(&state->gpr[0], device + MIDDLE, 8);
	if (random_bits() % 2) {
		memcpy(device + MIDDLE + 0x40, &state->gpr[0], 8);
		memcpy(device + MIDDLE + 0x40 + pair_bytes(form), &state->gpr[2], 8);
	}
	state->rflags = 0x202 | (random_bits() & STATUS) | (random_bits() & RFLAGS_DF);
}

/* RBX, RSI and RDI are addresses, which are elsewhere in this process. */
static void move_addresses(const struct form *form, struct state *state, uint64_t by)
{
	if (!pair_bytes(form))
		state->gpr[3] += by;
	state->gpr[6] += by;
	state->gpr[7] += by;
}

/* False: it raised #DE. */
static bool run_native(const struct form *form, unsigned length, struct state *state)
{
	memcpy(native_code, form->bytes, length);
	native_code[length] = 0xc3;
	if (sigsetjmp(fault, 1))
		return false;
	execute_native(state, native_code);
	return true;
}

static void run_emulated(struct guest_fixture *f, const struct state *state)
{
	f->g.events.exception.valid = false;
	fixture_set(f, G_RIP, CODE);
	for (unsigned i = 0; i < 16; i++)
		guest_set_gpr(&f->g, i, state->gpr[i]);
	fixture_set(f, G_RFLAGS, state->rflags);
	device_run_once(f);
}

static void compare_round(struct guest_fixture *f, const struct form *form, unsigned length, uint8_t *native)
{
	struct state before, after;
	const uint64_t by = (uint64_t)(uintptr_t)native - FIXTURE_MMIO;
	uint64_t different;
	bool done;

	random_start(form, &before);
	after = before;
	memcpy(native, device, DEVICE_BYTES);
	move_addresses(form, &after, by);
	done = run_native(form, length, &after);
	move_addresses(form, &after, -by);
	run_emulated(f, &before);
	ck_assert_msg(f->g.events.exception.valid != done, "%s: exception %d", form->name, f->g.events.exception.vector);
	if (!done) {
		ck_assert_uint_eq(f->g.events.exception.vector, VECTOR_DE);
		return;
	}
	for (unsigned i = 0; i < 16; i++)
		ck_assert_msg(i == 4 || guest_gpr(&f->g, i) == after.gpr[i], "%s: register %u is %lx, not %lx", form->name, i,
			      guest_gpr(&f->g, i), after.gpr[i]);
	different = (guest_get(&f->g, G_RFLAGS) ^ after.rflags) & STATUS & ~form->undefined;
	ck_assert_msg(!different, "%s: flags %lx differ", form->name, different);
	ck_assert_msg(memcmp(device, native, DEVICE_BYTES) == 0, "%s: memory", form->name);
	ck_assert_uint_eq(guest_get(&f->g, G_RIP), CODE + length);
}

START_TEST(does_what_this_cpu_does)
{
	const struct form *form = &forms[_i];
	const unsigned length = length_of(form);
	struct guest_fixture *f = fixture_reset(FIXTURE_LONG);
	struct sigaction action = {.sa_handler = on_fault};
	uint8_t *native = map(DEVICE_BYTES, PROT_READ | PROT_WRITE);

	native_code = map(4096, PROT_READ | PROT_WRITE | PROT_EXEC);
	fixture_code(f, CODE, form->bytes, length);
	sigaction(SIGFPE, &action, NULL);
	for (unsigned i = 0; i < comparison_rounds(ROUNDS); i++)
		compare_round(f, form, length, native);
	munmap(native, DEVICE_BYTES);
	munmap(native_code, 4096);
}
END_TEST

/* ---- Accesses --------------------------------------------------------------------------------------------------- */

static struct guest_fixture *prepare(const uint8_t *bytes, size_t count)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_LONG);

	fixture_code(f, CODE, bytes, count);
	for (unsigned i = 0; i < DEVICE_BYTES; i++)
		device[i] = (uint8_t)(i * 7);
	f->g.regs.rbx = FIXTURE_MMIO + MIDDLE;
	return f;
}

/* Two bytes in one page and two in the next: as two accesses, and the value is whole. */
START_TEST(access_across_pages_is_split)
{
	static const uint8_t store[] = {0x89, 0x43, 0xfe}, load[] = {0x8b, 0x43, 0xfe};
	struct guest_fixture *f = prepare(store, sizeof(store));

	f->g.regs.rax = 0x11223344;
	ck_assert_uint_eq(device_run_once(f), 2);
	ck_assert_uint_eq(device[MIDDLE - 2] | device[MIDDLE - 1] << 8 | device[MIDDLE] << 16 | device[MIDDLE + 1] << 24,
			  0x11223344);
	fixture_code(f, CODE, load, sizeof(load));
	f->g.valid = f->g.regs.rax = 0;
	ck_assert_uint_eq(device_run_once(f), 2);
	ck_assert_uint_eq(f->g.regs.rax, 0x11223344);
}
END_TEST

START_TEST(unanswered_read_is_executed_again)
{
	static const uint8_t inc[] = {0xff, 0x03};
	struct guest_fixture *f = prepare(inc, sizeof(inc));
	unsigned length;

	ck_assert_int_eq(emul_mmio(&f->g, FIXTURE_MMIO + MIDDLE, true, &length), EMUL_EXIT);
	ck_assert_uint_eq(f->exit.kind, X86VCPU_EXIT_MMIO_READ);
	ck_assert_uint_eq(f->exit.u.mmio.reg, X86VCPU_NO_REGISTER);
	f->g.open = GUEST_OPEN_NONE;
	ck_assert_int_eq(emul_continue(&f->g), EMUL_RESUME);
	ck_assert_uint_eq(guest_get(&f->g, G_RIP), CODE);
	ck_assert(!guest_has_open_exit(&f->g));
}
END_TEST

START_TEST(exception_of_the_vmm_comes_before_the_instruction)
{
	static const uint8_t inc[] = {0xff, 0x03};
	struct guest_fixture *f = prepare(inc, sizeof(inc));
	unsigned length;

	ck_assert_int_eq(emul_mmio(&f->g, FIXTURE_MMIO + MIDDLE, true, &length), EMUL_EXIT);
	emul_complete_read(&f->g, 7);
	guest_raise(&f->g, VECTOR_GP, true, 0);
	ck_assert_int_eq(emul_continue(&f->g), EMUL_RESUME);
	ck_assert_uint_eq(guest_get(&f->g, G_RIP), CODE);
	ck_assert(!guest_has_open_exit(&f->g));
}
END_TEST

/* Each iteration is one exit or two, with RIP at the instruction until the last. */
START_TEST(rep_ends_when_the_count_does)
{
	static const uint8_t movs[] = {0xf3, 0xa5};
	struct guest_fixture *f = prepare(movs, sizeof(movs));

	f->g.regs.rsi = FIXTURE_MMIO + 0x10;
	f->g.regs.rdi = 0x3000;
	f->g.regs.rcx = 3;
	for (unsigned i = 1; i <= 3; i++) {
		ck_assert_uint_eq(guest_get(&f->g, G_RIP), CODE);
		ck_assert_uint_eq(device_run_once(f), 1);
		ck_assert_uint_eq(f->g.regs.rcx, 3 - i);
		ck_assert_uint_eq(f->g.regs.rsi, FIXTURE_MMIO + 0x10 + 4 * i);
		ck_assert_uint_eq(f->g.regs.rdi, 0x3000 + 4 * i);
	}
	ck_assert_uint_eq(guest_get(&f->g, G_RIP), CODE + 2);
	ck_assert(memcmp(f->ram + 0x3000, device + 0x10, 12) == 0);
}
END_TEST

/* The destination's page is missing: nothing was read, and no register changed. */
START_TEST(fault_of_a_destination_comes_before_the_read)
{
	static const uint8_t movs[] = {0xf3, 0xa4};
	struct guest_fixture *f = prepare(movs, sizeof(movs));

	f->g.regs.rsi = FIXTURE_MMIO;
	f->g.regs.rdi = 0x123456789000;
	f->g.regs.rcx = 5;
	ck_assert_uint_eq(device_run_once(f), 0);
	ck_assert_uint_eq(f->g.events.exception.vector, VECTOR_PF);
	ck_assert_uint_eq(f->g.events.exception.error_code, PF_WRITE);
	ck_assert_uint_eq(f->g.cr2, 0x123456789000);
	ck_assert_uint_eq(f->g.regs.rcx, 5);
	ck_assert_uint_eq(guest_get(&f->g, G_RIP), CODE);
}
END_TEST

/* The stack is device memory. Of a 16-bit push only two bytes are written. */
START_TEST(stack_in_device_memory)
{
	static const struct {
		uint8_t bytes[3], length;
		uint64_t value, rsp;
	} pushes[] = {
		{{0x51}, 1, 0x1122334455667788, MIDDLE - 8},             /* push rcx */
		{{0x41, 0x50}, 2, 0x99, MIDDLE - 8},                     /* push r8 */
		{{0x66, 0x51}, 2, 0x7788, MIDDLE - 2},                   /* push cx */
		{{0x6a, 0xfe}, 2, 0xfffffffffffffffe, MIDDLE - 8},       /* push -2 */
		{{0x54}, 1, FIXTURE_MMIO + MIDDLE, MIDDLE - 8},          /* push rsp */
	};
	static const uint8_t pop_rdx[] = {0x5a}, pop_rsp[] = {0x5c};
	struct guest_fixture *f;
	uint64_t value;

	for (unsigned i = 0; i < COUNT(pushes); i++) {
		f = prepare(pushes[i].bytes, pushes[i].length);
		memset(device, 0, sizeof(device));
		fixture_set(f, G_RSP, FIXTURE_MMIO + MIDDLE);
		f->g.regs.rcx = 0x1122334455667788;
		f->g.regs.r8 = 0x99;
		ck_assert_uint_eq(device_run_once(f), 1);
		memcpy(&value, device + pushes[i].rsp, 8);
		ck_assert_uint_eq(value, pushes[i].value);
		ck_assert_uint_eq(guest_get(&f->g, G_RSP), FIXTURE_MMIO + pushes[i].rsp);
		ck_assert_uint_eq(guest_get(&f->g, G_RIP), CODE + pushes[i].length);
	}
	f = prepare(pop_rdx, 1);
	memcpy(&value, device + MIDDLE, 8);
	fixture_set(f, G_RSP, FIXTURE_MMIO + MIDDLE);
	ck_assert_uint_eq(device_run_once(f), 1);
	ck_assert_uint_eq(f->g.regs.rdx, value);
	ck_assert_uint_eq(guest_get(&f->g, G_RSP), FIXTURE_MMIO + MIDDLE + 8);
	f = prepare(pop_rsp, 1);
	fixture_set(f, G_RSP, FIXTURE_MMIO + MIDDLE);
	device_run_once(f);
	ck_assert_uint_eq(guest_get(&f->g, G_RSP), value);
}
END_TEST

START_TEST(push_call_and_jmp_read_the_device)
{
	static const uint8_t push[] = {0xff, 0x33}, call[] = {0xff, 0x13}, jmp[] = {0xff, 0x23}, pop[] = {0x8f, 0x03};
	struct guest_fixture *f = prepare(push, sizeof(push));
	const uint64_t target = 0x9000;
	uint64_t top;

	memcpy(device + MIDDLE, &target, 8);
	device_run_once(f);
	ck_assert_uint_eq(guest_get(&f->g, G_RSP), 0x6ff8);
	memcpy(&top, f->ram + 0x6ff8, 8);
	ck_assert_uint_eq(top, target);
	memset(device + MIDDLE, 0, 8);
	fixture_code(f, CODE, pop, sizeof(pop));
	guest_set(&f->g, G_RIP, CODE);
	device_run_once(f);
	ck_assert_uint_eq(guest_get(&f->g, G_RSP), 0x7000);
	ck_assert(memcmp(device + MIDDLE, &target, 8) == 0);
	fixture_code(f, CODE, call, sizeof(call));
	guest_set(&f->g, G_RIP, CODE);
	device_run_once(f);
	ck_assert_uint_eq(guest_get(&f->g, G_RIP), target);
	memcpy(&top, f->ram + 0x6ff8, 8);
	ck_assert_uint_eq(top, CODE + 2);
	fixture_code(f, CODE, jmp, sizeof(jmp));
	guest_set(&f->g, G_RIP, CODE);
	device_run_once(f);
	ck_assert_uint_eq(guest_get(&f->g, G_RIP), target);
	ck_assert_uint_eq(guest_get(&f->g, G_RSP), 0x6ff8);
}
END_TEST

Suite *execute_suite(void)
{
	Suite *suite = suite_create("execute");
	TCase *cpu = tcase_create("cpu"), *access = tcase_create("access");

	tcase_add_loop_test(cpu, does_what_this_cpu_does, 0, COUNT(forms));
	suite_add_tcase(suite, cpu);
	tcase_add_test(access, access_across_pages_is_split);
	tcase_add_test(access, unanswered_read_is_executed_again);
	tcase_add_test(access, exception_of_the_vmm_comes_before_the_instruction);
	tcase_add_test(access, rep_ends_when_the_count_does);
	tcase_add_test(access, fault_of_a_destination_comes_before_the_read);
	tcase_add_test(access, stack_in_device_memory);
	tcase_add_test(access, push_call_and_jmp_read_the_device);
	suite_add_tcase(suite, access);
	return suite;
}
