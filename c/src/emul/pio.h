/* SPDX-License-Identifier: Apache-2.0 */
/* IN, OUT, INS and OUTS that the VMM carries out. */
#ifndef EMUL_PIO_H
#define EMUL_PIO_H

#include "emul/guest.h"

/* What the backend knows of the instruction that exited. Hardware has checked its I/O permission. */
struct pio {
	uint16_t port;
	uint8_t bytes; /* 1, 2 or 4 */
	bool in, string, rep;
	uint8_t address_bytes; /* string: 2, 4, 8; 0: unknown, the instruction is decoded */
	int8_t segment;        /* OUTS: of its operand; negative: unknown, the instruction is decoded */
	unsigned length;
	bool has_linear; /* string: `linear` is the linear address of the element */
	uint64_t linear;
};

/*
 * EMUL_NEXT_EXIT  guest.exit is a PORT_IO_READ, which is open, or a PORT_IO_WRITE
 * EMUL_EXIT       guest.exit is a PORT_IO_STRING, which is open, or a NESTED_PAGE_FAULT: the memory of
 *                 the instruction or of a page table is missing
 * EMUL_NEXT       REP with a count of 0
 * EMUL_RESUME     the guest takes an exception that its memory operand raises
 * EMUL_UD         the bytes at RIP are no such instruction any more
 * INVALID_DATA    bytes or address_bytes
 */
int emul_port_io(struct guest *g, const struct pio *io);
/* The same for IN and OUT, which are most of them. */
int emul_in_out(struct guest *g, uint16_t port, unsigned bytes, bool in);

/*
 * A bit per port, in order, in VT-x's I/O bitmaps and SVM's permission map; a set bit exits. All of
 * `bytes` bytes are set but for the ports in `open`.
 */
void pio_bitmap_build(uint8_t *bitmap, size_t bytes, const struct x86vcpu_port_range *open, uint32_t count);

/* Commits the element that is open. BAD_STATE when *done is not that. */
int32_t emul_commit_string(struct guest *g, const struct x86vcpu_port_io_string *done);

#endif
