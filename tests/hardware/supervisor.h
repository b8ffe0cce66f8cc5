/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the supervisor need of each other. It runs on one CPU, with interrupts off. */
#ifndef SUPERVISOR_H
#define SUPERVISOR_H

#include "platform.h"

/* ---- boot.S ------------------------------------------------------------------------------------ */

uint32_t enter_image(uint32_t entry, uint32_t magic, uint32_t info);

/* ---- What the loader says (loader.c) ------------------------------------------------------------- */

struct screen_description {
	uint64_t address;
	uint32_t pitch, width, height;
	uint8_t bits_per_pixel;
	bool is_text;
};

struct loader {
	char command_line[256];
	bool has_screen;
	struct screen_description screen;
	const uint8_t *font; /* PSF, or NULL */
	size_t font_size;
	struct platform_range reserved[PLATFORM_RESERVED_RANGES]; /* of the first 64 MiB, what is not RAM */
	uint32_t reserved_count;
};

/* False: not a Multiboot 2 loader. */
bool loader_read(struct loader *loader);
/* The value of `name=` in the command line, or false. */
bool loader_option(const struct loader *loader, const char *name, char *value, size_t size);

/* ---- Output (output.c, screen.c) ------------------------------------------------------------------ */

void screen_init(const struct loader *loader);
void screen_putc(char c);

void serial_init(void);
/* To the screen and the serial line. As console_printf. */
void print(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* To the serial line only. */
void print_serial(const char *text, size_t length);
/* Overwrites the screen's current line, for progress; the serial line gets nothing. */
void print_status(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- CPU (cpu.c, describe.c) ------------------------------------------------------------------------ */

/* Exceptions, interrupts, and the local APIC in xAPIC mode. False: the local APIC stays in x2APIC mode. */
bool cpu_init(void);
/* Puts the boot CPU back to what images expect; after each of them. */
void cpu_settle(void);
/* Starts all other CPUs and returns how many answered; *first is the APIC ID of one. */
uint32_t cpu_roll_call(uint32_t *first);
_Noreturn void machine_reset(void);
/* Prints what processor this is, and what of virtualization it has. */
void cpu_describe(void);

/* ---- The images (image.c) ----------------------------------------------------------------------------- */

struct image {
	const uint8_t *begin, *end;
	uint32_t base, entry;
	uint32_t memory_end; /* of what it needs, its own frames not counted */
};

/* False: no image of this platform. */
bool image_read(struct image *image, const uint8_t *begin, const uint8_t *end);
/* Copies it to its place, enters it, and returns its verdict (enum platform_verdict). */
uint32_t image_run(const struct image *image, struct platform_supervisor *supervisor);

/* ---- Results that survive a reset (record.c) ------------------------------------------------------- */

#define RECORD_TESTS 1024u

/* FNV-1a. */
#define CHECKSUM_BEGIN 2166136261u
uint32_t checksum_add(uint32_t sum, const void *data, size_t size);

enum result {
	RESULT_NONE = 0,
	RESULT_PASSED = 1,
	RESULT_FAILED = 2,
	RESULT_SKIPPED = 3,
	RESULT_HUNG = 4,
	RESULT_LOST = 5, /* it ran, but its result did not survive */
};

struct record {
	uint32_t magic;
	uint32_t list;    /* checksum of the names of the tests */
	uint32_t count;
	uint32_t running; /* number of the test that runs, plus one; 0: none */
	uint32_t resets;
	uint32_t expected; /* 1: the supervisor itself resets the machine */
	uint8_t results[RECORD_TESTS];
	uint32_t checksum;
};

/* The record of before the reset, where memory or the clock's alarm registers kept it; else an empty one. */
struct record *record_open(uint32_t count, uint32_t list);
void record_begin(struct record *record, uint32_t test);
void record_end(struct record *record, uint32_t test, enum result result);
/* The supervisor is about to reset the machine; `test` is the last that ran. */
void record_expect_reset(struct record *record, uint32_t test);
/* Forgets it: the next boot begins anew. */
void record_close(struct record *record);

static inline void cpuid(uint32_t leaf, uint32_t subleaf, uint32_t r[4])
{
	__asm__ volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(subleaf));
}

#endif
