/* SPDX-License-Identifier: Apache-2.0 */
/* The targets by name, and the input. */
#include "world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FRAME_FILL UINT32_C(0x5a5a5a5a)

static void decoder(struct input *in) { fuzz_decoder(in); }
static void exits_vmx(struct input *in) { fuzz_exits(in, MODEL_VMX); }
static void exits_svm(struct input *in) { fuzz_exits(in, MODEL_SVM); }
static void abi_vmx(struct input *in) { fuzz_abi(in, MODEL_VMX); }
static void abi_svm(struct input *in) { fuzz_abi(in, MODEL_SVM); }
static void lapic_vmx(struct input *in) { fuzz_lapic(in, MODEL_VMX); }
static void lapic_svm(struct input *in) { fuzz_lapic(in, MODEL_SVM); }

static const struct {
	const char *name;
	void (*run)(struct input *in);
} targets[] = {
	{"decoder", decoder}, {"exits-vmx", exits_vmx}, {"exits-svm", exits_svm}, {"abi-vmx", abi_vmx},
	{"abi-svm", abi_svm}, {"lapic-vmx", lapic_vmx}, {"lapic-svm", lapic_svm},
};
#define TARGETS (sizeof(targets) / sizeof(targets[0]))

bool fuzz_target_exists(const char *name)
{
	for (size_t i = 0; i < TARGETS; i++)
		if (!strcmp(targets[i].name, name))
			return true;
	return false;
}

void fuzz_run(const char *name, const uint8_t *data, size_t size)
{
	struct input in = {data, data + size};

	for (size_t i = 0; i < TARGETS; i++)
		if (!strcmp(targets[i].name, name))
			targets[i].run(&in);
}

void fuzz_fail(const char *file, int line, const char *condition, const char *format, ...)
{
	va_list arguments;

	fprintf(stderr, "%s:%d: not so: %s\n", file, line, condition);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	abort();
}

void fuzz_tell(const char *format, ...)
{
	static int tells = -1;
	va_list arguments;

	if (tells < 0)
		tells = getenv("FUZZ_LOG") != NULL;
	if (!tells)
		return;
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
}

/* Numbers around which something changes. */
static const uint64_t interesting[] = {
	0x7f, 0x80, 0xff, 0x100, 0x7ff, 0xfff, 0x1000, 0x7fff, 0x8000, 0xfffe, 0xffff, 0x10000, 0xfffff, 0x100000,
	0x7fffffff, 0x80000000, 0xfee00000, 0xfee00080, 0xfee000b0, 0xfee00300, 0xfee00310, 0xfee00380,
	0xfee00320, 0xfee00ffc, 0xffffffff, 0x100000000, 0xd0000000, 0xd0000004, 0xd0001000, 0xd00017ff, 0xd0001800,
	0x3fffc, 0x3ffff, 0x40000, 0x20000, 0x30000, 0x100001230, 0x100001233, 0xfffffffff000, 0x7ffffffff000,
	0x7ffffffffffe, 0x7fffffffffff, 0x800000000000, 0xffff7fffffffffff, 0xffff800000000000,
	0x7fffffffffffffff, 0x8000000000000000, 0xfffffffffffff000, 0xfffffffffffffff8, UINT64_MAX - 1, UINT64_MAX,
	0xc0000080, 0xc0000100, 0xc0000101, 0xc0000102, 0x1b, 0x10, 0x277, 0x6e0, 0x802, 0x808, 0x80b, 0x830, 0x83f,
	0x80000011, 0x80050033, 0xd01, 0x500,
};
#define INTERESTING (sizeof(interesting) / sizeof(interesting[0]))

/* The fuzzer learns what the library compares, addresses among it; they must not come from there. */
static uint64_t no_secret(uint64_t value)
{
	return world_is_secret(&world, value) || (uint32_t)value == FRAME_FILL || value >> 32 == FRAME_FILL ? 0 : value;
}

uint64_t in_value(struct input *in)
{
	const uint8_t how = in_8(in);

	if (how < 0x80)
		return how;
	if (how < 0x80 + INTERESTING)
		return interesting[how - 0x80];
	if (how < 0xe0)
		return UINT64_C(1) << (how & 63);
	return no_secret(in_bytes(in, how < 0xe8 ? 1 : how < 0xf0 ? 2 : how < 0xf8 ? 4 : 8));
}
