/* SPDX-License-Identifier: Apache-2.0 */
/* Registers as in Motorola's MC146818 data sheet; memory sizes where PC firmware looks for them. */
#include "cmos.h"

/* 2025-01-01 00:00:00, a Wednesday, in BCD and 24-hour mode. */
static const uint8_t clock[14] = {
	[0x06] = 4, [0x07] = 0x01, [0x08] = 0x01, [0x09] = 0x25,
	[0x0a] = 0x26, /* 32768 Hz; UIP clear: no update ever is in progress */
	[0x0b] = 0x02, /* 24 hours */
	[0x0d] = 0x80, /* the battery is good */
};

#define CENTURY 0x32
#define KIB 1024u
#define EXTENDED_MAX (63u * 1024u) /* KiB: what the 16 bits are used for by tradition */

static uint64_t at_most(uint64_t value, uint64_t limit)
{
	return value < limit ? value : limit;
}

static void set16(struct cmos *cmos, unsigned index, uint64_t value)
{
	cmos->ram[index] = (uint8_t)value;
	cmos->ram[index + 1] = (uint8_t)(value >> 8);
}

void cmos_reset(struct cmos *cmos, uint64_t ram_size)
{
	const uint64_t above_1m = ram_size > 1024 * KIB ? ram_size / KIB - 1024 : 0;
	const uint64_t above_16m = ram_size > 16384 * KIB ? ram_size / KIB - 16384 : 0;

	*cmos = (struct cmos){ 0 };
	for (unsigned i = 0; i < sizeof(clock); i++)
		cmos->ram[i] = clock[i];
	cmos->ram[CENTURY] = 0x20;
	set16(cmos, 0x15, 640);
	set16(cmos, 0x17, at_most(above_1m, EXTENDED_MAX));
	set16(cmos, 0x30, at_most(above_1m, EXTENDED_MAX));
	set16(cmos, 0x34, at_most(above_16m / 64, 0xffff));
}

/* The clock's own registers are read-only here: it shows the same time whatever it is set to. */
void cmos_write(struct cmos *cmos, uint16_t port, uint8_t value)
{
	if (port == CMOS_INDEX)
		cmos->index = value & 0x7f; /* bit 7 masks NMIs, of which there are none */
	else if (cmos->index >= sizeof(clock))
		cmos->ram[cmos->index] = value;
}

uint8_t cmos_read(const struct cmos *cmos, uint16_t port)
{
	return port == CMOS_INDEX ? cmos->index : cmos->ram[cmos->index];
}
