/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs the unit tests: all suites, or those that are named. Each suite is a process, as many at a time as there are
 * CPUs, and its tests share that process, because a fork for each of them takes minutes under AddressSanitizer. A
 * suite whose process dies runs again with a process for each test, which names the test. CK_FORK=yes does that for
 * all suites, and CK_FORK=no runs everything in the one process of a debugger.
 *
 * PROCESS_PER_TEST is 1 for tests of the whole library, which chooses an extension once in the life of a system.
 */
#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define SUITE(name) Suite *name##_suite(void);
#include "suites.inc"
#undef SUITE

#define SUITE(name) {#name, name##_suite},
static const struct suite {
	const char *name;
	Suite *(*make)(void);
} suites[] = {
#include "suites.inc"
};
#undef SUITE

#ifndef PROCESS_PER_TEST
#define PROCESS_PER_TEST 0
#endif

#define SUITES (sizeof(suites) / sizeof(suites[0]))
#define SUITE_SECONDS 600 /* until a suite is taken to hang */

/* These begin first: the others run beside them. */
static const char *const long_suites[] = {"run_threads", "event_threads", "timer_threads", "decode", "vmx_controls"};

struct result {
	bool complete;
	int passed, failed;
};

/* A suite that runs. */
struct job {
	pid_t process;
	FILE *output;
};

static struct job jobs[SUITES];
static struct result *results; /* of each suite; shared with their processes */
static pid_t forks_per_test;   /* the process whose tests are processes, if any */

/* LeakSanitizer's hook. It searches at the end of a suite, not of every test's process, which would take minutes. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
	return forks_per_test && getpid() != forks_per_test;
}

static void run(SRunner *runner, enum fork_status fork_status, struct result *result)
{
	forks_per_test = fork_status == CK_FORK ? getpid() : 0;
	srunner_set_fork_status(runner, fork_status);
	srunner_run_all(runner, CK_NORMAL);
	result->failed = srunner_ntests_failed(runner);
	result->passed = srunner_ntests_run(runner) - result->failed;
	srunner_free(runner);
	result->complete = true;
}

/* ---- A process for each suite ------------------------------------------------------------------------------------- */

static void start(size_t i, enum fork_status fork_status)
{
	struct job *job = &jobs[i];

	results[i] = (struct result){0};
	if (!job->output)
		job->output = tmpfile();
	fflush(NULL);
	job->process = job->output ? fork() : -1;
	if (job->process < 0) {
		perror("unit-tests");
		exit(2);
	}
	if (job->process > 0)
		return;
	dup2(fileno(job->output), STDOUT_FILENO);
	dup2(fileno(job->output), STDERR_FILENO);
	if (fork_status == CK_NOFORK)
		alarm(SUITE_SECONDS);
	run(srunner_create(suites[i].make()), fork_status, &results[i]);
	exit(EXIT_SUCCESS); /* or LeakSanitizer's status */
}

static void show_output(struct job *job)
{
	char text[4096];
	size_t count;

	rewind(job->output);
	while ((count = fread(text, 1, sizeof(text), job->output)))
		fwrite(text, 1, count, stdout);
	fclose(job->output);
	job->output = NULL;
}

/* Returns whether suite i has ended for good. */
static bool ended(size_t i, int status, enum fork_status fork_status)
{
	const bool failed = !results[i].complete || !WIFEXITED(status) || WEXITSTATUS(status);

	if (failed && fork_status == CK_NOFORK && !results[i].complete) {
		fprintf(stderr, "unit-tests: suite %s died; its tests run in processes of their own\n", suites[i].name);
		start(i, CK_FORK);
		return false;
	}
	show_output(&jobs[i]);
	jobs[i].process = 0;
	if (failed) {
		printf("%s: the suite's process ended with status %x\n", suites[i].name, (unsigned)status);
		results[i].failed++;
	}
	return true;
}

/* Waits until one of the suites that run has ended for good. */
static void await_one(enum fork_status fork_status)
{
	static bool again[SUITES]; /* runs with a process for each test */

	for (;;) {
		int status;
		const pid_t process = wait(&status);
		size_t i = 0;

		while (i < SUITES && jobs[i].process != process)
			i++;
		if (i == SUITES)
			continue;
		if (ended(i, status, again[i] ? CK_FORK : fork_status))
			return;
		again[i] = true;
	}
}

static bool is_long(const char *name)
{
	for (size_t i = 0; i < sizeof(long_suites) / sizeof(long_suites[0]); i++)
		if (strcmp(long_suites[i], name) == 0)
			return true;
	return false;
}

static void run_side_by_side(const bool *chosen, enum fork_status fork_status)
{
	const long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	long running = 0;

	for (size_t i = 0; i < 2 * SUITES; i++) {
		const size_t suite = i % SUITES;

		if (!chosen[suite] || is_long(suites[suite].name) != (i < SUITES))
			continue;
		if (running == (cpus < 1 ? 1 : cpus)) {
			await_one(fork_status);
			running--;
		}
		start(suite, fork_status);
		running++;
	}
	for (; running; running--)
		await_one(fork_status);
}

/* ---- Everything in this process ------------------------------------------------------------------------------------ */

static void run_here(const bool *chosen)
{
	SRunner *runner = srunner_create(NULL);

	for (size_t i = 0; i < SUITES; i++)
		if (chosen[i])
			srunner_add_suite(runner, suites[i].make());
	run(runner, CK_NOFORK, &results[0]);
}

static bool wanted(const char *name, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], name) == 0)
			return true;
	return argc == 1;
}

static void run_chosen(const bool *chosen)
{
	const char *forks = getenv("CK_FORK");

	if (forks && strcmp(forks, "no") == 0)
		run_here(chosen);
	else
		run_side_by_side(chosen, forks || PROCESS_PER_TEST ? CK_FORK : CK_NOFORK);
}

int main(int argc, char **argv)
{
	bool chosen[SUITES], any = false;
	int passed = 0, failed = 0;

	for (size_t i = 0; i < SUITES; i++)
		any |= chosen[i] = wanted(suites[i].name, argc, argv);
	if (!any) {
		fprintf(stderr, "unit-tests: no such suite\n");
		return 2;
	}
	results = mmap(NULL, sizeof(*results) * SUITES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (results == MAP_FAILED) {
		perror("unit-tests");
		return 2;
	}
	run_chosen(chosen);
	for (size_t i = 0; i < SUITES; i++) {
		passed += results[i].passed;
		failed += results[i].failed;
	}
	printf("%d passed, %d failed\n", passed, failed);
	return failed || !passed ? EXIT_FAILURE : EXIT_SUCCESS;
}
