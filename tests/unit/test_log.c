/* SPDX-License-Identifier: Apache-2.0 */
/* Text for logs: it fits, or it is cut, and it always ends. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "emul/log.h"

Suite *log_suite(void);

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))
#define LINE_BYTES 160 /* log.h */

/* ---- Appending ------------------------------------------------------------------------------------------ */

START_TEST(text_is_appended)
{
	char buffer[16];
	uint64_t used = 0;

	log_text(buffer, sizeof(buffer), &used, "one");
	ck_assert_str_eq(buffer, "one");
	ck_assert_uint_eq(used, 3);
	log_text(buffer, sizeof(buffer), &used, "");
	log_text(buffer, sizeof(buffer), &used, ", two");
	ck_assert_str_eq(buffer, "one, two");
	ck_assert_uint_eq(used, 8);
}
END_TEST

/* Every size from nothing to more than enough; nothing before or behind it changes. */
START_TEST(text_is_cut_where_the_buffer_ends)
{
	static const char text[] = "0123456789";
	const uint64_t size = (uint64_t)_i;
	char around[18], *buffer = around + 1;
	uint64_t used = 0;
	const uint64_t fits = size == 0 ? 0 : size - 1 < 10 ? size - 1 : 10;

	memset(around, '#', sizeof(around));
	log_text(buffer, size, &used, text);
	ck_assert_uint_eq(used, fits);
	ck_assert_mem_eq(buffer, text, fits);
	if (size)
		ck_assert_int_eq(buffer[fits], '\0');
	for (uint64_t i = size ? fits + 1 : 0; i < 17; i++)
		ck_assert_int_eq(buffer[i], '#');
	/* Full stays full. */
	log_text(buffer, size, &used, text);
	log_hex(buffer, size, &used, 1);
	ck_assert_uint_le(used, size ? size - 1 : 0);
	for (uint64_t i = size; i < 17; i++)
		ck_assert_int_eq(buffer[i], '#');
	ck_assert_int_eq(around[0], '#');
	if (size)
		ck_assert_uint_eq(strlen(buffer), used);
}
END_TEST

/* A number comes with its prefix and without leading zeros, as printf has it. */
START_TEST(numbers_are_hexadecimal)
{
	static const uint64_t values[] = {0, 1, 9, 10, 15, 16, 0xff, 0x100, 0xfffffff0, UINT64_C(0x100000000),
					  UINT64_C(0x0fffffffffffffff), UINT64_C(0x123456789abcdef0),
					  UINT64_C(0x8000000000000000), UINT64_MAX};
	char expected[32], buffer[32];
	uint64_t used = 0;

	snprintf(expected, sizeof(expected), "0x%llx", (unsigned long long)values[_i]);
	log_hex(buffer, sizeof(buffer), &used, values[_i]);
	ck_assert_str_eq(buffer, expected);
	ck_assert_uint_eq(used, strlen(expected));
}
END_TEST

START_TEST(every_power_of_two_is_right)
{
	for (unsigned bit = 0; bit < 64; bit++) {
		char expected[32], buffer[19]; /* "0x", 16 digits and the end */
		uint64_t used = 0;

		snprintf(expected, sizeof(expected), "0x%llx", 1ull << bit);
		log_hex(buffer, sizeof(buffer), &used, UINT64_C(1) << bit);
		ck_assert_str_eq(buffer, expected);
	}
}
END_TEST

START_TEST(number_is_cut)
{
	char buffer[8] = "rip=";
	uint64_t used = 4;

	log_hex(buffer, sizeof(buffer), &used, 0xabcd);
	ck_assert_str_eq(buffer, "rip=0xa");
	ck_assert_uint_eq(used, 7);
}
END_TEST

/* ---- Lines ---------------------------------------------------------------------------------------------- */

static struct {
	unsigned calls;
	void *ctx;
	uint32_t level;
	char text[256];
	uint64_t len;
} logged;

static void record(void *ctx, uint32_t level, const char *text, uint64_t len)
{
	logged.calls++;
	logged.ctx = ctx;
	logged.level = level;
	logged.len = len;
	memcpy(logged.text, text, len < sizeof(logged.text) ? len : sizeof(logged.text));
}

static const struct x86vcpu_host_ops host = {.size = sizeof(host), .log = record};

static void forget(void)
{
	memset(&logged, 0, sizeof(logged));
}

START_TEST(line_has_all_parts)
{
	int ctx;

	LOG(&host, &ctx, LOG_WARN, "no way on from exit ", "CPUID", "", "!");
	ck_assert_uint_eq(logged.calls, 1);
	ck_assert_ptr_eq(logged.ctx, &ctx);
	ck_assert_uint_eq(logged.level, 2);
	ck_assert_str_eq(logged.text, "no way on from exit CPUID!");
	ck_assert_uint_eq(logged.len, 26);
}
END_TEST

/* x86vcpu/host.h: 1 is an error, 5 a trace. */
START_TEST(levels_are_those_of_the_host)
{
	static const enum log_level levels[] = {LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_TRACE};

	LOG(&host, NULL, levels[_i], "x");
	ck_assert_uint_eq(logged.level, (unsigned)_i + 1);
	ck_assert_ptr_null(logged.ctx);
}
END_TEST

START_TEST(host_without_log_hears_nothing)
{
	static const struct x86vcpu_host_ops silent = {.size = sizeof(silent)};

	LOG(&silent, NULL, LOG_ERROR, "x");
	ck_assert_uint_eq(logged.calls, 0);
}
END_TEST

START_TEST(line_may_be_empty)
{
	const char *const none[] = {NULL};

	log_line(&host, NULL, LOG_INFO, none);
	ck_assert_uint_eq(logged.calls, 1);
	ck_assert_uint_eq(logged.len, 0);
}
END_TEST

START_TEST(long_line_is_cut)
{
	char part[LINE_BYTES + 10], expected[2 * sizeof(part)];
	const size_t length = (size_t)(LINE_BYTES - 5 + _i);

	memset(part, 'x', length);
	part[length] = '\0';
	LOG(&host, NULL, LOG_INFO, part, "abcdefgh");
	snprintf(expected, sizeof(expected), "%sabcdefgh", part);
	expected[LINE_BYTES - 1] = '\0';
	ck_assert_uint_eq(logged.calls, 1);
	ck_assert_uint_eq(logged.len, LINE_BYTES - 1);
	ck_assert_str_eq(logged.text, expected);
}
END_TEST

Suite *log_suite(void)
{
	Suite *suite = suite_create("log");
	TCase *tc = tcase_create("text");

	suite_add_tcase(suite, tc);
	tcase_add_test(tc, text_is_appended);
	tcase_add_loop_test(tc, text_is_cut_where_the_buffer_ends, 0, 13);
	tcase_add_loop_test(tc, numbers_are_hexadecimal, 0, 14);
	tcase_add_test(tc, every_power_of_two_is_right);
	tcase_add_test(tc, number_is_cut);
	tc = tcase_create("line");
	suite_add_tcase(suite, tc);
	tcase_add_checked_fixture(tc, forget, NULL);
	tcase_add_test(tc, line_has_all_parts);
	tcase_add_loop_test(tc, levels_are_those_of_the_host, 0, 5);
	tcase_add_test(tc, host_without_log_hears_nothing);
	tcase_add_test(tc, line_may_be_empty);
	tcase_add_loop_test(tc, long_line_is_cut, 0, 8);
	return suite;
}
