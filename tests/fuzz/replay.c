/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs inputs that are kept: replay FILE..., each file TARGET.txt with one input a line, in hexadecimal digits; empty
 * lines and those that begin with # are comments. Each input has a process of its own. --hex TARGET DIGITS runs one in
 * this process.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fuzz.h"

#define LONGEST 4096u

/* As for the unit tests: what is looked for is no leak, and to look for them takes longer than all else. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* How many bytes; -1: not hexadecimal. */
static long parse(const char *line, uint8_t *bytes)
{
	long count = 0;

	for (; digit(line[0]) >= 0 && digit(line[1]) >= 0 && count < (long)LONGEST; line += 2)
		bytes[count++] = (uint8_t)(digit(line[0]) << 4 | digit(line[1]));
	return line[0] == '\n' || !line[0] ? count : -1;
}

static int run_one(const char *target, const char *line)
{
	uint8_t bytes[LONGEST];
	const long count = parse(line, bytes);
	uint8_t *exact;

	if (count < 0) {
		fprintf(stderr, "not hexadecimal: %.40s\n", line);
		return 2;
	}
	/* A block of its own, so that what reads beyond it is seen. */
	exact = malloc((size_t)count + !count);
	memcpy(exact, bytes, (size_t)count);
	fuzz_run(target, exact, (size_t)count);
	free(exact);
	return 0;
}

static bool passes(const char *target, const char *line)
{
	const pid_t child = fork();
	int status = 1;

	if (!child)
		exit(run_one(target, line));
	waitpid(child, &status, 0);
	return status == 0;
}

static void target_of(const char *path, char *target, size_t size)
{
	const char *slash = strrchr(path, '/');
	char *dot;

	snprintf(target, size, "%s", slash ? slash + 1 : path);
	dot = strrchr(target, '.');
	if (dot)
		*dot = '\0';
}

static void run_file(const char *path, unsigned *passed, unsigned *failed)
{
	char line[2 * LONGEST + 2], target[64];
	unsigned number = 0;
	FILE *file = fopen(path, "r");

	target_of(path, target, sizeof(target));
	if (!file || !fuzz_target_exists(target)) {
		fprintf(stderr, "%s: %s\n", path, file ? "no target of this name" : "cannot be read");
		++*failed;
		return;
	}
	while (fgets(line, sizeof(line), file)) {
		number++;
		if (line[0] == '#' || line[0] == '\n')
			continue;
		if (passes(target, line)) {
			++*passed;
			continue;
		}
		++*failed;
		printf("FAIL %s:%u: input of %s\n", path, number, target);
		fflush(stdout);
	}
	fclose(file);
}

int main(int argc, char **argv)
{
	unsigned passed = 0, failed = 0;

	if (argc == 4 && !strcmp(argv[1], "--hex") && fuzz_target_exists(argv[2]))
		return run_one(argv[2], argv[3]);
	for (int i = 1; i < argc; i++)
		run_file(argv[i], &passed, &failed);
	printf("%u passed, %u failed\n", passed, failed);
	return failed || !passed;
}
