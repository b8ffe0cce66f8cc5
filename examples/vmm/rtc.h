/* SPDX-License-Identifier: Apache-2.0 */
/* The MC146818 at ports 0x70 and 0x71: clock, alarm, periodic interrupt, RAM. Time is in nanoseconds. */
#ifndef VMM_RTC_H
#define VMM_RTC_H

#include <stdbool.h>
#include <stdint.h>

#define RTC_INDEX 0x70
#define RTC_DATA 0x71
#define RTC_IRQ 8

struct rtc {
	uint8_t index;
	uint8_t ram[128];  /* 0 to 9: the time as of the last look, in the format that register B asks for */
	uint64_t start_ns; /* when second `seconds` began, in the caller's time */
	int64_t seconds;   /* since 2000-01-01 00:00:00 */
	uint64_t ticks;    /* of the periodic interrupt, as of the last look */
	int64_t updates;   /* the second of the last look */
};

void rtc_reset(struct rtc *rtc, uint64_t ram_size, uint64_t now);
void rtc_write(struct rtc *rtc, uint16_t port, uint8_t value, uint64_t now);
uint8_t rtc_read(struct rtc *rtc, uint16_t port, uint64_t now);

/* Sets the flags of what has happened until now; the interrupt line. */
bool rtc_irq(struct rtc *rtc, uint64_t now);
/* When rtc_irq may rise next by itself; UINT64_MAX: never. */
uint64_t rtc_deadline(const struct rtc *rtc, uint64_t now);

#endif
