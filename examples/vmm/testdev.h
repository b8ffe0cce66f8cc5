/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The test device that kvm-unit-tests expects (QEMU's pc-testdev): registers that keep what is written,
 * interrupt lines that follow what is written, and a port that has a page's translation forgotten. Its 64 KiB of
 * memory are in memory.c.
 */
#ifndef VMM_TESTDEV_H
#define VMM_TESTDEV_H

#include <stdint.h>

#define TESTDEV_DATA 0xe0 /* four bytes, in any width; they are at 0xe8 too */
#define TESTDEV_FLUSH 0xe4
#define TESTDEV_DATA_BYTES 0xe8
#define TESTDEV_IRQ 0x2000 /* a port for each line, 0 or not */
#define TESTDEV_IRQ_LAST 0x2017
#define TESTDEV_MEMORY UINT64_C(0xff000000)
#define TESTDEV_MEMORY_SIZE UINT64_C(0x10000)

struct testdev {
	uint8_t data[4];
};

static inline uint8_t testdev_read(const struct testdev *device, uint16_t port)
{
	return device->data[port & 3];
}

static inline void testdev_write(struct testdev *device, uint16_t port, uint8_t value)
{
	device->data[port & 3] = value;
}

#endif
