/* SPDX-License-Identifier: Apache-2.0 */
/* Finds the test that the job block names, or the supervisor's one, and runs it. */
#include "metal.h"
#include "supervised.h"

/* Where tests/metal/run has the machine put the block; the machine has 64 MiB. */
#define JOB_ADDRESS 0x03ff0000u
#define JOB_MAGIC UINT64_C(0x31424f4a4c41544d) /* "MTALJOB1" */
#define MEMORY_TOP 0x03f00000u

struct job {
	uint64_t magic;
	char name[120];
};

extern const struct metal_test metal_tests_begin[], metal_tests_end[];

static bool same_text(const char *a, const char *b)
{
	return strlen(a) == strlen(b) && memcmp(a, b, strlen(a)) == 0;
}

static const struct metal_test *find_test(const char *name)
{
	for (const struct metal_test *t = metal_tests_begin; t < metal_tests_end; t++)
		if (same_text(t->name, name))
			return t;
	return NULL;
}

static const struct metal_test *test_of_job(void)
{
	struct job *job = (struct job *)(uintptr_t)JOB_ADDRESS;

	if (job->magic != JOB_MAGIC)
		return NULL;
	job->name[sizeof(job->name) - 1] = '\0';
	return find_test(job->name);
}

_Noreturn void platform_main(void)
{
	const struct metal_test *test;

	frames_init((uint64_t)platform_image_end, MEMORY_TOP);
	test = platform_supervisor() ? supervised_test(metal_tests_begin, metal_tests_end) : test_of_job();
	if (!test) {
		console_printf("metal: no such test\n");
		platform_exit(false);
	}
	test->function();
	console_printf("\nmetal: PASS %s\n", test->name);
	platform_exit(true);
}

_Noreturn void metal_fail(const char *file, int line, const char *format, ...)
{
	va_list args;

	console_printf("\nmetal: FAIL %s:%d: ", file, line);
	va_start(args, format);
	console_vprintf(format, args);
	va_end(args);
	console_printf("\n");
	platform_exit(false);
}

void metal_check_eq(const char *file, int line, const char *text, uint64_t actual, uint64_t expected)
{
	if (actual != expected)
		metal_fail(file, line, "%s is 0x%lx, not 0x%lx", text, actual, expected);
}

void metal_check_status(const char *file, int line, const char *text, int32_t actual, int32_t expected)
{
	if (actual != expected)
		metal_fail(file, line, "%s: %d (%s), not %d (%s)", text, actual, x86vcpu_strerror(actual),
			   expected, x86vcpu_strerror(expected));
}
