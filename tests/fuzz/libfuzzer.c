/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer's way in. The name under which the program is started is the target's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *target;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *slash = strrchr((*argv)[0], '/');

	(void)argc;
	target = slash ? slash + 1 : (*argv)[0];
	if (fuzz_target_exists(target))
		return 0;
	fprintf(stderr, "no target \"%s\"\n", target);
	exit(2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_run(target, data, size);
	return 0;
}
