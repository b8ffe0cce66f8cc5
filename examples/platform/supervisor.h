/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The contract between an image of this platform and a supervisor that runs it on a real machine: tests/hardware
 * enters the image as a Multiboot loader does, with PLATFORM_SUPERVISED in EAX and a struct platform_supervisor in
 * EBX, and gets the CPU back from platform_exit. Both run with physical memory mapped one to one below 4 GiB.
 */
#ifndef PLATFORM_SUPERVISOR_H
#define PLATFORM_SUPERVISOR_H

#include <stdint.h>

#define PLATFORM_SUPERVISED 0x50555358u /* "XSUP" */
#define PLATFORM_NO_CPU UINT32_MAX
#define PLATFORM_RESERVED_RANGES 64u
#define PLATFORM_TEST_NAME 96u
#define PLATFORM_TEST_REASON 96u

enum platform_command {
	PLATFORM_LIST = 1, /* fill `tests` and set `count` */
	PLATFORM_RUN = 2,  /* run test `index` */
};

/* How a run of the image ended. */
enum platform_verdict {
	PLATFORM_FAILED = 0,
	PLATFORM_PASSED = 1,
};

struct platform_range {
	uint64_t base, size;
};

/* One test, as PLATFORM_LIST describes it. */
struct platform_test {
	char name[PLATFORM_TEST_NAME];
	char skip[PLATFORM_TEST_REASON]; /* the reason why this CPU cannot run it; empty: it can */
	uint32_t needs_reset;            /* 1: the machine must be reset before the next test */
	uint32_t must_fail;              /* 1: passes when it fails */
};

struct platform_supervisor {
	uint64_t leave;          /* where platform_exit goes, in 64-bit mode on the boot CPU; EDI: enum platform_verdict */
	uint32_t command;        /* enum platform_command */
	uint32_t index;          /* of PLATFORM_RUN */
	uint32_t count;          /* number of tests; answer of PLATFORM_LIST */
	uint32_t second_cpu;     /* its local APIC's ID, or PLATFORM_NO_CPU */
	struct platform_test *tests;
	uint32_t capacity;       /* of `tests` */
	uint32_t text_size;
	uint32_t text_length;    /* bytes of console output; what exceeds text_size is counted and dropped */
	uint32_t reserved_count;
	char *text;
	struct platform_range reserved[PLATFORM_RESERVED_RANGES]; /* physical memory that the image must not use */
};

/* The supervisor of this image, or NULL. */
struct platform_supervisor *platform_supervisor(void);

#endif
