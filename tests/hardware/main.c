/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hardware test: runs each test of the metal suite, and then the benchmark, on the machine that it was booted on.
 * Each test gets the image anew, which takes less time than its output. A test that hangs is named after a reset,
 * and the run continues with the next.
 */
#include "supervisor.h"

#define MAX_TESTS RECORD_TESTS
#define MAX_BENCHES 128u
#define FRAMES_END UINT64_C(0x3f00000)
#define FONT_BYTES (64u * 1024)

extern const uint8_t metal_image[], metal_image_end[], bench_image[], bench_image_end[];
_Noreturn void supervisor_start(void);

static struct loader loader;
static struct platform_supervisor supervisor;
static struct platform_test tests[MAX_TESTS], benches[MAX_BENCHES];
static uint16_t order[MAX_TESTS]; /* what needs a reset comes first */
static char text[64 * 1024];
static uint8_t font[FONT_BYTES];
static struct image metal, bench;
static struct record *record;
static uint32_t test_count;
static char only[PLATFORM_TEST_NAME], hang[PLATFORM_TEST_NAME];

static _Noreturn void halt(void)
{
	for (;;)
		__asm__ volatile("cli; hlt");
}

static _Noreturn void refuse(const char *reason)
{
	print("hardware: %s\n", reason);
	halt();
}

/* ---- What there is to run -------------------------------------------------------------------------- */

static uint32_t list_tests(const struct image *image, struct platform_test *list, uint32_t capacity)
{
	supervisor.command = PLATFORM_LIST;
	supervisor.tests = list;
	supervisor.capacity = capacity;
	supervisor.count = 0;
	if (image_run(image, &supervisor) != PLATFORM_PASSED) {
		print_serial(text, supervisor.text_length < sizeof(text) ? supervisor.text_length : sizeof(text));
		refuse("the image does not start here; its text is on the serial line");
	}
	return supervisor.count;
}

static void sort_tests(void)
{
	uint32_t n = 0;

	for (uint32_t fresh = 2; fresh-- > 0;)
		for (uint32_t i = 0; i < test_count; i++)
			if (tests[i].needs_reset == fresh)
				order[n++] = (uint16_t)i;
}

static uint32_t checksum_of_names(void)
{
	uint32_t sum = CHECKSUM_BEGIN;

	for (uint32_t i = 0; i < test_count; i++)
		sum = checksum_add(sum, tests[i].name, strlen(tests[i].name));
	return sum;
}

static bool begins_with(const char *name, const char *prefix)
{
	const size_t length = strlen(prefix);

	return strlen(name) >= length && memcmp(name, prefix, length) == 0;
}

static bool contains(const char *haystack, size_t size, const char *needle)
{
	const size_t length = strlen(needle);

	for (size_t i = 0; i + length <= size; i++)
		if (memcmp(haystack + i, needle, length) == 0)
			return true;
	return false;
}

/* ---- One test ---------------------------------------------------------------------------------------- */

static size_t text_length(void)
{
	return supervisor.text_length < sizeof(text) ? supervisor.text_length : sizeof(text);
}

static bool run_metal(uint32_t index)
{
	bool passed, said_why;

	supervisor.command = PLATFORM_RUN;
	supervisor.index = index;
	passed = image_run(&metal, &supervisor) == PLATFORM_PASSED;
	said_why = contains(text, text_length(), "metal: FAIL") || contains(text, text_length(), "host fault:");
	return tests[index].must_fail ? !passed && said_why : passed && !said_why;
}

static void run_test(uint32_t position)
{
	const uint32_t index = order[position];
	bool passed;

	print_status("[%u/%u] %-72s", position + 1, test_count, tests[index].name);
	print_serial("run ", 4);
	print_serial(tests[index].name, strlen(tests[index].name));
	record_begin(record, position);
	if (hang[0] && begins_with(tests[index].name, hang) && !record->resets)
		halt();
	passed = run_metal(index);
	record_end(record, position, passed ? RESULT_PASSED : RESULT_FAILED);
	print_serial(passed ? ": ok\n" : ": FAIL\n", passed ? 5 : 7);
	if (!passed) {
		print_status("FAIL %-76s\n", tests[index].name);
		print_serial(text, text_length());
	}
}

/* ---- All of them --------------------------------------------------------------------------------------- */

/* Tests outside `only` get no result. They do not count as skipped. */
static bool is_wanted(uint32_t position)
{
	return !only[0] || begins_with(tests[order[position]].name, only);
}

static void run_tests(void)
{
	bool fresh = true;
	uint32_t last = 0;

	for (uint32_t i = 0; i < test_count; i++) {
		const struct platform_test *test = &tests[order[i]];

		if (!is_wanted(i) || record->results[i] != RESULT_NONE)
			continue;
		if (test->skip[0]) {
			record_end(record, i, RESULT_SKIPPED);
			continue;
		}
		if (test->needs_reset && !fresh) {
			print("%s needs a machine that was just reset: resetting\n", test->name);
			record_expect_reset(record, last);
			machine_reset();
		}
		run_test(i);
		fresh = false;
		last = i;
	}
}

static void run_benches(void)
{
	const uint32_t count = list_tests(&bench, benches, MAX_BENCHES);

	print_status("%-78s\n", "");
	for (uint32_t i = 0; i < count; i++) {
		if (benches[i].skip[0])
			continue;
		print_status("[bench %u/%u] %-60s", i + 1, count, benches[i].name);
		supervisor.command = PLATFORM_RUN;
		supervisor.index = i;
		image_run(&bench, &supervisor);
		print_serial(text, text_length());
	}
	print_status("%-78s\n", "");
}

/* ---- The report ------------------------------------------------------------------------------------------ */

static uint32_t count_results(enum result result)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < test_count; i++)
		n += record->results[i] == result;
	return n;
}

static void name_results(enum result result, const char *word)
{
	for (uint32_t i = 0; i < test_count; i++)
		if (record->results[i] == result)
			print("%s %s\n", word, tests[order[i]].name);
}

static void list_skipped(void)
{
	for (uint32_t i = 0; i < test_count; i++) {
		const struct platform_test *test = &tests[order[i]];

		if (record->results[i] != RESULT_SKIPPED)
			continue;
		print_serial("skipped ", 8);
		print_serial(test->name, strlen(test->name));
		print_serial(": ", 2);
		print_serial(test->skip, strlen(test->skip));
		print_serial("\n", 1);
	}
}

static void report(void)
{
	print("\n==== x86vcpu hardware report ====\n");
	cpu_describe();
	list_skipped();
	name_results(RESULT_LOST, "result lost by the reset:");
	name_results(RESULT_HUNG, "hung");
	name_results(RESULT_FAILED, "failed");
	print("%u passed, %u failed, %u skipped\n", count_results(RESULT_PASSED),
	      count_results(RESULT_FAILED) + count_results(RESULT_HUNG), count_results(RESULT_SKIPPED));
	print("==== end of the report: send it with the make of the machine; a reset begins anew ====\n");
}

/* ---- Start ------------------------------------------------------------------------------------------------- */

static void keep_font(void)
{
	if (!loader.font || loader.font_size > sizeof(font))
		loader.font = NULL;
	else
		loader.font = memcpy(font, loader.font, loader.font_size);
}

static void check_memory(const struct image *image)
{
	for (uint32_t i = 0; i < loader.reserved_count; i++) {
		const struct platform_range *range = &loader.reserved[i];

		if (range->base < image->memory_end && range->base + range->size > image->base)
			refuse("firmware keeps memory between 1 MiB and the end of the image; no test can run");
	}
}

static void prepare(void)
{
	uint32_t others;

	if (!image_read(&metal, metal_image, metal_image_end) || !image_read(&bench, bench_image, bench_image_end))
		refuse("the images in this program have no header");
	check_memory(&metal);
	check_memory(&bench);
	supervisor.text = text;
	supervisor.text_size = sizeof(text);
	supervisor.reserved_count = loader.reserved_count;
	memcpy(supervisor.reserved, loader.reserved, sizeof(loader.reserved));
	others = cpu_roll_call(&supervisor.second_cpu);
	print("other CPUs: %u\n", others);
}

_Noreturn void supervisor_start(void)
{
	const bool loaded = loader_read(&loader);

	serial_init();
	keep_font();
	screen_init(&loader);
	print("x86vcpu hardware test\n");
	if (!loaded)
		refuse("not started by a Multiboot 2 loader");
	if (!cpu_init())
		refuse("firmware has locked the local APIC in x2APIC mode, which this program does not drive");
	cpu_describe();
	loader_option(&loader, "only", only, sizeof(only));
	loader_option(&loader, "hang", hang, sizeof(hang));
	prepare();
	test_count = list_tests(&metal, tests, MAX_TESTS);
	sort_tests();
	record = record_open(test_count, checksum_of_names());
	name_results(RESULT_HUNG, "hung before the reset:");
	run_tests();
	if (!only[0])
		run_benches();
	report();
	record_close(record);
	halt();
}
