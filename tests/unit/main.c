/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs the unit tests: all suites, or those that are named. Each test is a process of its own, unless
 * CK_FORK=no; then they are all looked through for leaks at the end.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SUITE(name) Suite *name##_suite(void);
#include "suites.inc"
#undef SUITE

#define SUITE(name) {#name, name##_suite},
static const struct {
	const char *name;
	Suite *(*make)(void);
} suites[] = {
#include "suites.inc"
};
#undef SUITE

/* The code under test allocates nothing, and a leak check at the end of each process takes minutes. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}

static int wanted(const char *name, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], name) == 0)
			return 1;
	return argc == 1;
}

static pid_t main_process;

/* LeakSanitizer's hook. To look at the end of every test's process would take longer than all the tests. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
	return getpid() != main_process;
}

int main(int argc, char **argv)
{
	SRunner *runner = srunner_create(NULL);
	int passed, failed, chosen = 0;

	main_process = getpid();
	for (size_t i = 0; i < sizeof(suites) / sizeof(suites[0]); i++)
		if (wanted(suites[i].name, argc, argv)) {
			srunner_add_suite(runner, suites[i].make());
			chosen++;
		}
	if (!chosen) {
		fprintf(stderr, "unit-tests: no such suite\n");
		return 2;
	}
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	passed = srunner_ntests_run(runner) - failed;
	srunner_free(runner);
	printf("%d passed, %d failed\n", passed, failed);
	return failed || !passed ? EXIT_FAILURE : EXIT_SUCCESS;
}
