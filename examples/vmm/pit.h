/* SPDX-License-Identifier: Apache-2.0 */
/* The PC's 8254 timer, and port 0x61, which gates and shows its channel 2. Time is in nanoseconds. */
#ifndef VMM_PIT_H
#define VMM_PIT_H

#include <stdbool.h>
#include <stdint.h>

#define PIT_BASE 0x40
#define PIT_CONTROL 0x43
#define PIT_SPEAKER 0x61
#define PIT_IRQ 0

struct pit_channel {
	uint8_t mode;
	uint8_t access;  /* control word bits 5:4: 1 low byte, 2 high byte, 3 low, then high */
	uint8_t low;     /* first byte of a two-byte write */
	bool low_written;
	bool high_next; /* the next read of a two-byte count gives the high byte */
	bool gate;
	bool counting;   /* a count was loaded since the mode was set */
	bool latched, status_latched;
	uint8_t status;
	uint16_t latch;
	uint32_t reload; /* 1 to 65536 */
	uint64_t start;  /* when counting began, in the timer's own ticks */
	uint64_t edges;  /* channel 0: rising edges of the output that were reported */
};

struct pit {
	struct pit_channel channel[3];
	uint8_t speaker; /* port 0x61, bits 1:0 */
	uint64_t base_ns; /* its tick 0 */
};

void pit_reset(struct pit *pit, uint64_t now_ns);
void pit_write(struct pit *pit, uint16_t port, uint8_t value, uint64_t now_ns);
uint8_t pit_read(struct pit *pit, uint16_t port, uint64_t now_ns);

/* Whether channel 0's output rose since the last call. Edges that were missed count as one. */
bool pit_take_edge(struct pit *pit, uint64_t now_ns);
/* When it will rise next; UINT64_MAX: never. */
uint64_t pit_deadline(const struct pit *pit, uint64_t now_ns);

#endif
