/* SPDX-License-Identifier: Apache-2.0 */
/* Registers as in Motorola's MC146818 data sheet; memory sizes where PC firmware looks for them. */
#include "rtc.h"

enum {
	SECONDS = 0, SECONDS_ALARM, MINUTES, MINUTES_ALARM, HOURS, HOURS_ALARM, WEEKDAY, DAY, MONTH, YEAR,
	REGISTER_A, REGISTER_B, REGISTER_C, REGISTER_D,
	CENTURY = 0x32,
};

#define A_UPDATE 0x80
#define A_RATE 0x0f
#define B_SET 0x80
#define B_PERIODIC 0x40
#define B_ALARM 0x20
#define B_UPDATE 0x10
#define B_BINARY 0x04
#define B_24_HOURS 0x02
#define C_IRQ 0x80
#define PM 0x80
#define ANY 0xc0 /* alarm registers from here on match always */

#define SECOND_NS INT64_C(1000000000)
#define UPDATE_NS 244000 /* that long before the second is over, UIP warns */
#define FIRST_SECOND INT64_C(789004800) /* 2025-01-01 00:00:00, a Wednesday */
#define KIB 1024u
#define EXTENDED_MAX (63u * 1024u) /* KiB: what the 16 bits are used for by tradition */

/* ---- Calendar ------------------------------------------------------------------------------------- */

static bool is_leap(unsigned year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static unsigned month_days(unsigned month, unsigned year)
{
	static const uint8_t days[12] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

	return days[(month - 1) % 12] + (month == 2 && is_leap(year));
}

/* Days from 2000-01-01, a Saturday, to the first of `month`. */
static int64_t days_to(unsigned month, unsigned year)
{
	int64_t days = 0;

	for (unsigned y = 2000; y < year; y++)
		days += is_leap(y) ? 366 : 365;
	for (unsigned m = 1; m < month; m++)
		days += month_days(m, year);
	return days;
}

/* ---- Registers and time --------------------------------------------------------------------------- */

static uint8_t to_format(const struct rtc *rtc, unsigned value)
{
	return (uint8_t)(rtc->ram[REGISTER_B] & B_BINARY ? value : value / 10 << 4 | value % 10);
}

static unsigned from_format(const struct rtc *rtc, uint8_t value)
{
	return rtc->ram[REGISTER_B] & B_BINARY ? value : (value >> 4) * 10u + (value & 15u);
}

static uint8_t hour_to_format(const struct rtc *rtc, unsigned hour)
{
	if (rtc->ram[REGISTER_B] & B_24_HOURS)
		return to_format(rtc, hour);
	return to_format(rtc, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? PM : 0);
}

static unsigned hour_from_format(const struct rtc *rtc, uint8_t value)
{
	if (rtc->ram[REGISTER_B] & B_24_HOURS)
		return from_format(rtc, value) % 24;
	return from_format(rtc, value & 0x7f) % 12 + (value & PM ? 12 : 0);
}

static int64_t seconds_at(const struct rtc *rtc, uint64_t now)
{
	return rtc->seconds + (int64_t)(now - rtc->start_ns) / SECOND_NS;
}

static void show_time(struct rtc *rtc, uint64_t now)
{
	const int64_t all = seconds_at(rtc, now);
	const unsigned in_day = (unsigned)(all % 86400);
	int64_t days = all / 86400;
	unsigned year = 2000, month = 1;

	rtc->ram[WEEKDAY] = to_format(rtc, (unsigned)((days + 6) % 7 + 1));
	for (; days >= (is_leap(year) ? 366 : 365); year++)
		days -= is_leap(year) ? 366 : 365;
	for (; days >= month_days(month, year); month++)
		days -= month_days(month, year);
	rtc->ram[SECONDS] = to_format(rtc, in_day % 60);
	rtc->ram[MINUTES] = to_format(rtc, in_day / 60 % 60);
	rtc->ram[HOURS] = hour_to_format(rtc, in_day / 3600);
	rtc->ram[DAY] = to_format(rtc, (unsigned)days + 1);
	rtc->ram[MONTH] = to_format(rtc, month);
	rtc->ram[YEAR] = to_format(rtc, year % 100);
	rtc->ram[CENTURY] = (uint8_t)(year / 1000 << 4 | year / 100 % 10);
}

/* Nonsense in a register becomes some time; it harms nobody. */
static void set_time(struct rtc *rtc, uint64_t now)
{
	const unsigned month = from_format(rtc, rtc->ram[MONTH]), day = from_format(rtc, rtc->ram[DAY]);
	const unsigned year = 2000 + from_format(rtc, rtc->ram[YEAR]);
	const int64_t days = days_to(month >= 1 && month <= 12 ? month : 1, year) + (day ? day - 1 : 0);

	rtc->seconds = days * 86400 + hour_from_format(rtc, rtc->ram[HOURS]) * 3600 +
		       from_format(rtc, rtc->ram[MINUTES]) * 60 + from_format(rtc, rtc->ram[SECONDS]);
	rtc->start_ns = now;
	rtc->updates = rtc->seconds;
}

static bool is_set_mode(const struct rtc *rtc)
{
	return rtc->ram[REGISTER_B] & B_SET;
}

/* ---- Interrupts ----------------------------------------------------------------------------------- */

/* 122 us to half a second; rates 1 and 2 mean 8 and 9. 0: off. */
static uint64_t period_ns(const struct rtc *rtc)
{
	unsigned rate = rtc->ram[REGISTER_A] & A_RATE;

	if (rate == 0)
		return 0;
	if (rate < 3)
		rate += 7;
	return (UINT64_C(1) << (rate - 1)) * SECOND_NS / 32768;
}

static uint64_t ticks_at(const struct rtc *rtc, uint64_t now)
{
	const uint64_t period = period_ns(rtc);

	return period ? now / period : 0;
}

static bool alarm_matches(const struct rtc *rtc)
{
	for (unsigned i = SECONDS; i <= HOURS; i += 2)
		if (rtc->ram[i + 1] < ANY && rtc->ram[i + 1] != rtc->ram[i])
			return false;
	return true;
}

static void look(struct rtc *rtc, uint64_t now)
{
	const uint64_t ticks = ticks_at(rtc, now);
	const int64_t seconds = seconds_at(rtc, now);

	if (ticks != rtc->ticks)
		rtc->ram[REGISTER_C] |= B_PERIODIC;
	rtc->ticks = ticks;
	if (is_set_mode(rtc) || seconds == rtc->updates)
		return;
	rtc->updates = seconds;
	show_time(rtc, now);
	rtc->ram[REGISTER_C] |= B_UPDATE | (alarm_matches(rtc) ? B_ALARM : 0);
}

bool rtc_irq(struct rtc *rtc, uint64_t now)
{
	look(rtc, now);
	if (rtc->ram[REGISTER_B] & rtc->ram[REGISTER_C] & (B_PERIODIC | B_ALARM | B_UPDATE))
		rtc->ram[REGISTER_C] |= C_IRQ;
	return rtc->ram[REGISTER_C] & C_IRQ;
}

uint64_t rtc_deadline(const struct rtc *rtc, uint64_t now)
{
	const uint8_t enabled = rtc->ram[REGISTER_B];
	const uint64_t period = period_ns(rtc);
	uint64_t next = UINT64_MAX, at;

	if (rtc->ram[REGISTER_C] & C_IRQ)
		return next; /* until the guest has read register C */
	if ((enabled & B_PERIODIC) && period)
		next = (now / period + 1) * period;
	if ((enabled & (B_ALARM | B_UPDATE)) && !(enabled & B_SET)) {
		at = now + (uint64_t)(SECOND_NS - (int64_t)(now - rtc->start_ns) % SECOND_NS);
		next = at < next ? at : next;
	}
	return next;
}

/* ---- Ports ---------------------------------------------------------------------------------------- */

static void set16(struct rtc *rtc, unsigned index, uint64_t value, uint64_t limit)
{
	if (value > limit)
		value = limit;
	rtc->ram[index] = (uint8_t)value;
	rtc->ram[index + 1] = (uint8_t)(value >> 8);
}

void rtc_reset(struct rtc *rtc, uint64_t ram_size, uint64_t now)
{
	const uint64_t above_1m = ram_size > 1024 * KIB ? ram_size / KIB - 1024 : 0;
	const uint64_t above_16m = ram_size > 16384 * KIB ? ram_size / KIB - 16384 : 0;

	*rtc = (struct rtc){ .start_ns = now, .seconds = FIRST_SECOND, .updates = FIRST_SECOND };
	rtc->ram[REGISTER_A] = 0x26; /* 32768 Hz; 1024 Hz */
	rtc->ram[REGISTER_B] = B_24_HOURS;
	rtc->ram[REGISTER_D] = 0x80; /* the battery is good */
	rtc->ticks = ticks_at(rtc, now);
	show_time(rtc, now);
	set16(rtc, 0x15, 640, 0xffff);
	set16(rtc, 0x17, above_1m, EXTENDED_MAX);
	set16(rtc, 0x30, above_1m, EXTENDED_MAX);
	set16(rtc, 0x34, above_16m / 64, 0xffff);
}

static void write_register_b(struct rtc *rtc, uint8_t value, uint64_t now)
{
	const bool was_set = is_set_mode(rtc);

	if (!was_set)
		show_time(rtc, now);
	rtc->ram[REGISTER_B] = value;
	if (was_set && !(value & B_SET))
		set_time(rtc, now);
}

void rtc_write(struct rtc *rtc, uint16_t port, uint8_t value, uint64_t now)
{
	const unsigned index = rtc->index;
	const bool is_alarm = index < WEEKDAY && index % 2;
	const bool is_time = index <= YEAR && !is_alarm;

	if (port == RTC_INDEX) {
		rtc->index = value & 0x7f; /* bit 7 masks NMIs, of which there are none */
	} else if (index == REGISTER_B) {
		look(rtc, now);
		write_register_b(rtc, value, now);
	} else if (index == REGISTER_A) {
		rtc->ram[index] = value & 0x7f;
		rtc->ticks = ticks_at(rtc, now);
	} else if (is_time) {
		if (!is_set_mode(rtc))
			show_time(rtc, now);
		rtc->ram[index] = value;
		if (!is_set_mode(rtc))
			set_time(rtc, now);
	} else if (index != REGISTER_C && index != REGISTER_D) {
		rtc->ram[index] = value;
	}
}

static bool update_is_near(const struct rtc *rtc, uint64_t now)
{
	return !is_set_mode(rtc) && (int64_t)(now - rtc->start_ns) % SECOND_NS >= SECOND_NS - UPDATE_NS;
}

uint8_t rtc_read(struct rtc *rtc, uint16_t port, uint64_t now)
{
	uint8_t value;

	if (port == RTC_INDEX)
		return rtc->index;
	rtc_irq(rtc, now);
	if ((rtc->index <= YEAR || rtc->index == CENTURY) && !is_set_mode(rtc))
		show_time(rtc, now);
	value = rtc->ram[rtc->index];
	if (rtc->index == REGISTER_A && update_is_near(rtc, now))
		value |= A_UPDATE;
	if (rtc->index == REGISTER_C)
		rtc->ram[REGISTER_C] = 0; /* flags and interrupt are over once they are read */
	return value;
}
