/* SPDX-License-Identifier: Apache-2.0 */
/* The general registers of a guest. */
#ifndef X86VCPU_REGS_H
#define X86VCPU_REGS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Byte for byte the GeneralRegisters of the Rust crate x86_vcpu 0.7.1: the order of the
 * instruction encoding, 128 bytes. Slot 4 has no meaning: RSP is kept in the VMCS or VMCB.
 */
struct x86vcpu_regs {
	uint64_t rax;
	uint64_t rcx;
	uint64_t rdx;
	uint64_t rbx;
	uint64_t unused_rsp;
	uint64_t rbp;
	uint64_t rsi;
	uint64_t rdi;
	uint64_t r8;
	uint64_t r9;
	uint64_t r10;
	uint64_t r11;
	uint64_t r12;
	uint64_t r13;
	uint64_t r14;
	uint64_t r15;
};

/*
 * What a 64-bit register that holds `before` becomes when an instruction writes `value` to it with an
 * operand of `width` (enum x86vcpu_width): bytes and words keep the other bits, dwords clear bits
 * 63:32 (Intel's manual, Vol. 1, 3.4.1.1). Another width changes nothing.
 */
static inline uint64_t x86vcpu_regs_merge(uint64_t before, uint32_t width, uint64_t value)
{
	switch (width) {
	case 0:
		return (before & ~UINT64_C(0xff)) | (value & 0xff);
	case 1:
		return (before & ~UINT64_C(0xffff)) | (value & 0xffff);
	case 2:
		return value & 0xffffffff;
	case 3:
		return value;
	default:
		return before;
	}
}

/* The same for AH, CH, DH and BH. */
static inline uint64_t x86vcpu_regs_merge_high_byte(uint64_t before, uint8_t value)
{
	return (before & ~UINT64_C(0xff00)) | (uint64_t)value << 8;
}

/*
 * Accessors by the names of the manual: x86vcpu_regs_eax(regs), x86vcpu_regs_set_eax(regs, value) and
 * so on for rax, eax, ax, al, ah, ..., bpl, sil, dil, ..., r15, r15d, r15w, r15b. There are none
 * for RSP: see x86vcpu_get_gpr.
 */
#define X86VCPU_REGS_PART(name, type, width, reg)                                            \
	static inline type x86vcpu_regs_##name(const struct x86vcpu_regs *regs)              \
	{                                                                                    \
		return (type)regs->reg;                                                      \
	}                                                                                    \
	static inline void x86vcpu_regs_set_##name(struct x86vcpu_regs *regs, type value)    \
	{                                                                                    \
		regs->reg = x86vcpu_regs_merge(regs->reg, width, value);                     \
	}
#define X86VCPU_REGS_HIGH_BYTE(name, reg)                                                    \
	static inline uint8_t x86vcpu_regs_##name(const struct x86vcpu_regs *regs)           \
	{                                                                                    \
		return (uint8_t)(regs->reg >> 8);                                            \
	}                                                                                    \
	static inline void x86vcpu_regs_set_##name(struct x86vcpu_regs *regs, uint8_t value) \
	{                                                                                    \
		regs->reg = x86vcpu_regs_merge_high_byte(regs->reg, value);                  \
	}
#define X86VCPU_REGS_ALL(r64, r32, r16, r8)          \
	X86VCPU_REGS_PART(r64, uint64_t, 3, r64)     \
	X86VCPU_REGS_PART(r32, uint32_t, 2, r64)     \
	X86VCPU_REGS_PART(r16, uint16_t, 1, r64)     \
	X86VCPU_REGS_PART(r8, uint8_t, 0, r64)

X86VCPU_REGS_ALL(rax, eax, ax, al)
X86VCPU_REGS_ALL(rcx, ecx, cx, cl)
X86VCPU_REGS_ALL(rdx, edx, dx, dl)
X86VCPU_REGS_ALL(rbx, ebx, bx, bl)
X86VCPU_REGS_ALL(rbp, ebp, bp, bpl)
X86VCPU_REGS_ALL(rsi, esi, si, sil)
X86VCPU_REGS_ALL(rdi, edi, di, dil)
X86VCPU_REGS_ALL(r8, r8d, r8w, r8b)
X86VCPU_REGS_ALL(r9, r9d, r9w, r9b)
X86VCPU_REGS_ALL(r10, r10d, r10w, r10b)
X86VCPU_REGS_ALL(r11, r11d, r11w, r11b)
X86VCPU_REGS_ALL(r12, r12d, r12w, r12b)
X86VCPU_REGS_ALL(r13, r13d, r13w, r13b)
X86VCPU_REGS_ALL(r14, r14d, r14w, r14b)
X86VCPU_REGS_ALL(r15, r15d, r15w, r15b)
X86VCPU_REGS_HIGH_BYTE(ah, rax)
X86VCPU_REGS_HIGH_BYTE(ch, rcx)
X86VCPU_REGS_HIGH_BYTE(dh, rdx)
X86VCPU_REGS_HIGH_BYTE(bh, rbx)

#undef X86VCPU_REGS_ALL
#undef X86VCPU_REGS_HIGH_BYTE
#undef X86VCPU_REGS_PART

/* EDX:EAX, as RDMSR, WRMSR, RDTSC and XSETBV use them. */
static inline uint64_t x86vcpu_regs_edx_eax(const struct x86vcpu_regs *regs)
{
	return (uint64_t)x86vcpu_regs_edx(regs) << 32 | x86vcpu_regs_eax(regs);
}

/* Clears the upper halves of RAX and RDX. */
static inline void x86vcpu_regs_set_edx_eax(struct x86vcpu_regs *regs, uint64_t value)
{
	x86vcpu_regs_set_eax(regs, (uint32_t)value);
	x86vcpu_regs_set_edx(regs, (uint32_t)(value >> 32));
}

/*
 * Register `index` in the order of the instruction encoding: 0 to 15 without 4, which is RSP
 * (x86vcpu_get_gpr reaches that too). Any CPU, any context. 0; INVALID_INPUT: NULL, index.
 */
int32_t x86vcpu_regs_get(const struct x86vcpu_regs *regs, uint32_t index, uint64_t *value);
int32_t x86vcpu_regs_set(struct x86vcpu_regs *regs, uint32_t index, uint64_t value);

/* "rax", "rcx", ..., "rsp" for 4, ..., "r15"; "?" above. */
const char *x86vcpu_regs_name(uint32_t index);

/* The registers in which two sets differ: bit n is register n. Slot 4 never counts. NULL: 0. */
uint32_t x86vcpu_regs_diff(const struct x86vcpu_regs *before, const struct x86vcpu_regs *after);

/*
 * The same as text for a trace, one line "rax: 0x1 -> 0x2\n" per register. Writes at most `len` bytes
 * with the final NUL, and returns how many stand before it: a text that does not fit ends early.
 * 1024 bytes hold any difference.
 */
uint64_t x86vcpu_regs_format_diff(const struct x86vcpu_regs *before, const struct x86vcpu_regs *after,
				  char *text, uint64_t len);

#ifdef __cplusplus
}
#endif
#endif
