/* SPDX-License-Identifier: Apache-2.0 */
/* Conversions between x87 registers and memory, with their exceptions (SDM Vol. 1, 4.8, 4.9 and 8.5). */
#ifndef EMUL_X87_H
#define EMUL_X87_H

#include <stdbool.h>
#include <stdint.h>

/* Exceptions in the status word, and masks in the control word (SDM Vol. 1, 8.1.3, 8.1.5). */
#define X87_IE (1u << 0)
#define X87_DE (1u << 1)
#define X87_OE (1u << 3)
#define X87_UE (1u << 4)
#define X87_PE (1u << 5)
#define X87_SF (1u << 6)
#define X87_ES (1u << 7)
#define X87_C1 (1u << 9)
#define X87_B (1u << 15)
#define X87_EXCEPTIONS 0x3fu
#define X87_TOP_SHIFT 11

/* Rounding control, bits 11:10 of the control word. */
enum x87_rounding { X87_NEAREST = 0, X87_DOWN = 1, X87_UP = 2, X87_TRUNCATE = 3 };

/* A double extended-precision value. */
struct x87_value {
	uint64_t significand;
	uint16_t exponent; /* bit 15 is the sign */
};

#define X87_INDEFINITE ((struct x87_value){UINT64_C(3) << 62, 0xffff})

/* Of `bytes` bytes, 4 or 8. *status gets IE or DE, and the value is that of the masked response. */
struct x87_value x87_from_float(uint64_t bits, unsigned bytes, uint32_t *status);
struct x87_value x87_from_integer(int64_t integer);

/*
 * To 4 or 8 bytes, and to an integer of 2, 4 or 8 bytes. *status gets exceptions and C1, the value is that of the masked
 * response. `control` is the control word: a result that is tiny but exact is an exception only if underflow is unmasked.
 */
uint64_t x87_to_float(struct x87_value value, unsigned bytes, uint32_t control, uint32_t *status);
uint64_t x87_to_integer(struct x87_value value, unsigned bytes, enum x87_rounding rounding, uint32_t *status);

/* What a store to memory gets of an empty register. */
uint64_t x87_indefinite_float(unsigned bytes);
uint64_t x87_indefinite_integer(unsigned bytes);

#endif
