/* SPDX-License-Identifier: Apache-2.0 */
/* CMOS RAM and a clock that stands still, at ports 0x70 and 0x71. */
#ifndef VMM_CMOS_H
#define VMM_CMOS_H

#include <stdint.h>

#define CMOS_INDEX 0x70
#define CMOS_DATA 0x71

struct cmos {
	uint8_t index;
	uint8_t ram[128];
};

void cmos_reset(struct cmos *cmos, uint64_t ram_size);
void cmos_write(struct cmos *cmos, uint16_t port, uint8_t value);
uint8_t cmos_read(const struct cmos *cmos, uint16_t port);

#endif
