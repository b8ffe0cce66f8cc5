/* SPDX-License-Identifier: Apache-2.0 */
/* General registers by number, and what changed between two sets of them. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "x86vcpu/regs.h"
#include "x86vcpu/status.h"

/* The layout is part of the ABI, and of the world switch. */
_Static_assert(sizeof(struct x86vcpu_regs) == 128, "size");
_Static_assert(offsetof(struct x86vcpu_regs, rax) == 0 * 8, "rax");
_Static_assert(offsetof(struct x86vcpu_regs, rcx) == 1 * 8, "rcx");
_Static_assert(offsetof(struct x86vcpu_regs, rdx) == 2 * 8, "rdx");
_Static_assert(offsetof(struct x86vcpu_regs, rbx) == 3 * 8, "rbx");
_Static_assert(offsetof(struct x86vcpu_regs, unused_rsp) == 4 * 8, "unused_rsp");
_Static_assert(offsetof(struct x86vcpu_regs, rbp) == 5 * 8, "rbp");
_Static_assert(offsetof(struct x86vcpu_regs, rsi) == 6 * 8, "rsi");
_Static_assert(offsetof(struct x86vcpu_regs, rdi) == 7 * 8, "rdi");
_Static_assert(offsetof(struct x86vcpu_regs, r8) == 8 * 8, "r8");
_Static_assert(offsetof(struct x86vcpu_regs, r9) == 9 * 8, "r9");
_Static_assert(offsetof(struct x86vcpu_regs, r10) == 10 * 8, "r10");
_Static_assert(offsetof(struct x86vcpu_regs, r11) == 11 * 8, "r11");
_Static_assert(offsetof(struct x86vcpu_regs, r12) == 12 * 8, "r12");
_Static_assert(offsetof(struct x86vcpu_regs, r13) == 13 * 8, "r13");
_Static_assert(offsetof(struct x86vcpu_regs, r14) == 14 * 8, "r14");
_Static_assert(offsetof(struct x86vcpu_regs, r15) == 15 * 8, "r15");

#define RSP 4u
#define REGISTERS 16u

static const char names[REGISTERS][4] = {
	"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
	"r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15",
};

/* The assertions above make the structure an array. */
static const uint64_t *slots(const struct x86vcpu_regs *regs)
{
	return (const uint64_t *)(const void *)regs;
}

int32_t x86vcpu_regs_get(const struct x86vcpu_regs *regs, uint32_t index, uint64_t *value)
{
	if (!regs || !value || index >= REGISTERS || index == RSP)
		return X86VCPU_ERR_INVALID_INPUT;
	*value = slots(regs)[index];
	return X86VCPU_OK;
}

int32_t x86vcpu_regs_set(struct x86vcpu_regs *regs, uint32_t index, uint64_t value)
{
	if (!regs || index >= REGISTERS || index == RSP)
		return X86VCPU_ERR_INVALID_INPUT;
	((uint64_t *)(void *)regs)[index] = value;
	return X86VCPU_OK;
}

const char *x86vcpu_regs_name(uint32_t index)
{
	return index < REGISTERS ? names[index] : "?";
}

uint32_t x86vcpu_regs_diff(const struct x86vcpu_regs *before, const struct x86vcpu_regs *after)
{
	uint32_t changed = 0;

	if (!before || !after)
		return 0;
	for (uint32_t i = 0; i < REGISTERS; i++)
		if (i != RSP && slots(before)[i] != slots(after)[i])
			changed |= 1u << i;
	return changed;
}

/* Text under construction: room for `len` bytes, of which the last is kept for the NUL. */
struct text {
	char *at;
	uint64_t used, len;
};

static void put(struct text *t, const char *s)
{
	while (*s && t->used + 1 < t->len)
		t->at[t->used++] = *s++;
}

static void put_hex(struct text *t, uint64_t value)
{
	char digits[sizeof("0x") + 16] = "0x";
	unsigned n = 2;
	int shift = 60;

	while (shift > 0 && !(value >> shift))
		shift -= 4;
	for (; shift >= 0; shift -= 4)
		digits[n++] = "0123456789abcdef"[value >> shift & 0xf];
	put(t, digits);
}

uint64_t x86vcpu_regs_format_diff(const struct x86vcpu_regs *before, const struct x86vcpu_regs *after,
				  char *text, uint64_t len)
{
	const uint32_t changed = x86vcpu_regs_diff(before, after);
	struct text t = { .at = text, .len = len };

	if (!text || len == 0)
		return 0;
	for (uint32_t i = 0; i < REGISTERS; i++) {
		if (!(changed >> i & 1))
			continue;
		put(&t, names[i]);
		put(&t, ": ");
		put_hex(&t, slots(before)[i]);
		put(&t, " -> ");
		put_hex(&t, slots(after)[i]);
		put(&t, "\n");
	}
	text[t.used] = '\0';
	return t.used;
}
