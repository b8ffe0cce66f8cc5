/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs inputs that are kept: replay FILE..., each file TARGET.txt with one input a line, in hexadecimal digits; empty
 * lines and those that begin with # are comments. Each input has a process of its own. --unpack FILE FOLDER makes a
 * binary file of each instead.
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

static int run_one(const char *target, const uint8_t *bytes, size_t count)
{
	/* A block of its own, so that what reads beyond it is seen. */
	uint8_t *exact = malloc(count + !count);

	memcpy(exact, bytes, count);
	fuzz_run(target, exact, count);
	free(exact);
	return 0;
}

static bool passes(const char *target, const uint8_t *bytes, size_t count)
{
	const pid_t child = fork();
	int status = 1;

	/* Not exit: that would move the file back to where this process has read. */
	if (!child)
		_exit(run_one(target, bytes, count));
	waitpid(child, &status, 0);
	return status == 0;
}

static bool unpack(const char *folder, unsigned number, const uint8_t *bytes, size_t count)
{
	char path[4096];
	FILE *file;
	bool written;

	snprintf(path, sizeof(path), "%s/%u", folder, number);
	file = fopen(path, "w");
	if (!file)
		return false;
	written = fwrite(bytes, 1, count, file) == count;
	return !fclose(file) && written;
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

static unsigned passed, failed;

/* `folder`: where to unpack it; NULL: it is run. */
static void take_line(const char *path, const char *target, const char *folder, unsigned number, const char *line)
{
	uint8_t bytes[LONGEST];
	const long count = parse(line, bytes);

	if (count >= 0 && (folder ? unpack(folder, number, bytes, (size_t)count) : passes(target, bytes, (size_t)count))) {
		passed++;
		return;
	}
	failed++;
	printf("FAIL %s:%u: %s\n", path, number, count < 0 ? "not hexadecimal" : folder ? "cannot be written" : "see above");
	fflush(stdout);
}

static void take_file(const char *path, const char *folder)
{
	static char buffer[1 << 18];
	char line[2 * LONGEST + 2], target[64];
	FILE *file = fopen(path, "r");

	target_of(path, target, sizeof(target));
	if (!file || !fuzz_target_exists(target)) {
		printf("FAIL %s: %s\n", path, file ? "no target of this name" : "cannot be read");
		failed++;
		return;
	}
	/* All of it is in memory before a child can touch the file. */
	setvbuf(file, buffer, _IOFBF, sizeof(buffer));
	for (unsigned number = 1; fgets(line, sizeof(line), file); number++)
		if (line[0] != '#' && line[0] != '\n')
			take_line(path, target, folder, number, line);
	fclose(file);
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "--unpack")) {
		take_file(argv[2], argv[3]);
		return failed != 0;
	}
	for (int i = 1; i < argc; i++)
		take_file(argv[i], NULL);
	printf("%u passed, %u failed\n", passed, failed);
	return failed || !passed;
}
