/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which test runs, and how those before it ended, in two places that a reset may leave alone: a page of memory, and
 * the alarm time of the real-time clock, whose three bytes no firmware takes for settings. The alarm keeps the number
 * of the running test only.
 */
#include "supervisor.h"

#define RECORD_ADDRESS UINT64_C(0x3fe0000) /* below it the images' frames end, above it nothing of theirs lies */
#define RECORD_MAGIC UINT32_C(0x58525052)

#define RTC_INDEX 0x70
#define RTC_DATA 0x71
#define NMI_DISABLED 0x80u
#define ALARM_EXPECTED UINT32_C(0x8000)
enum { ALARM_SECONDS = 1, ALARM_MINUTES = 3, ALARM_HOURS = 5 };

static uint8_t clock_read(uint8_t index)
{
	outb(RTC_INDEX, NMI_DISABLED | index);
	return inb(RTC_DATA);
}

static void clock_write(uint8_t index, uint8_t value)
{
	outb(RTC_INDEX, NMI_DISABLED | index);
	outb(RTC_DATA, value);
	outb(RTC_INDEX, 0x0d);
	(void)inb(RTC_DATA);
}

static uint8_t check_byte(uint8_t low, uint8_t high, uint32_t list)
{
	return (uint8_t)(low * 31u + high * 17u + list + 0xa5u);
}

/* `running` as in struct record, with ALARM_EXPECTED where the supervisor resets the machine after that test. */
static void alarm_write(uint32_t running, uint32_t list)
{
	const uint8_t low = running & 0xff, high = running >> 8 & 0xff;

	clock_write(ALARM_SECONDS, low);
	clock_write(ALARM_MINUTES, high);
	clock_write(ALARM_HOURS, check_byte(low, high, list));
}

static uint32_t alarm_read(uint32_t list)
{
	const uint8_t low = clock_read(ALARM_SECONDS), high = clock_read(ALARM_MINUTES);

	return clock_read(ALARM_HOURS) == check_byte(low, high, list) ? low | (uint32_t)high << 8 : 0;
}

uint32_t checksum_add(uint32_t sum, const void *data, size_t size)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < size; i++)
		sum = (sum ^ p[i]) * 16777619u;
	return sum;
}

static uint32_t checksum(const struct record *record)
{
	return checksum_add(CHECKSUM_BEGIN, record, offsetof(struct record, checksum));
}

static void write(struct record *record)
{
	record->checksum = checksum(record);
	__asm__ volatile("wbinvd" : : : "memory");
}

static bool is_ours(const struct record *record, uint32_t count, uint32_t list)
{
	return record->magic == RECORD_MAGIC && record->checksum == checksum(record) && record->count == count &&
	       record->list == list;
}

static void begin_anew(struct record *record, uint32_t count, uint32_t list)
{
	memset(record, 0, sizeof(*record));
	record->magic = RECORD_MAGIC;
	record->count = count;
	record->list = list;
}

/* Memory was lost: the tests up to the one that the alarm names have run. */
static void recall_from_alarm(struct record *record)
{
	const uint32_t alarm = alarm_read(record->list);
	const uint32_t running = alarm & ~ALARM_EXPECTED;

	if (!running || running > record->count)
		return;
	for (uint32_t i = 0; i < running; i++)
		record->results[i] = RESULT_LOST;
	record->running = running;
	record->expected = alarm & ALARM_EXPECTED;
}

struct record *record_open(uint32_t count, uint32_t list)
{
	struct record *record = (struct record *)RECORD_ADDRESS;
	const bool kept = is_ours(record, count, list);

	if (!kept) {
		begin_anew(record, count, list);
		recall_from_alarm(record);
	}
	if (kept || record->running)
		record->resets++;
	if (record->running && !record->expected)
		record->results[record->running - 1] = RESULT_HUNG;
	record->running = 0;
	record->expected = 0;
	write(record);
	return record;
}

void record_begin(struct record *record, uint32_t test)
{
	record->running = test + 1;
	alarm_write(record->running, record->list);
	write(record);
}

void record_end(struct record *record, uint32_t test, enum result result)
{
	record->results[test] = (uint8_t)result;
	record->running = 0;
	alarm_write(0, record->list);
	write(record);
}

void record_expect_reset(struct record *record, uint32_t test)
{
	record->expected = 1;
	alarm_write((test + 1) | ALARM_EXPECTED, record->list);
	write(record);
}

void record_close(struct record *record)
{
	alarm_write(0, record->list);
	memset(record, 0, sizeof(*record));
	__asm__ volatile("wbinvd" : : : "memory");
}
