/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The job block: what scripts/run-guest asks for, and every file that the guest needs, in one piece
 * of memory that the emulator filled before the first instruction. Little endian. The script packs
 * it with the same layout; change both and JOB_VERSION together.
 */
#ifndef VMM_JOB_H
#define VMM_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JOB_ADDRESS UINT64_C(0x2000000) /* host-physical */
#define JOB_MAGIC UINT64_C(0x31424f4a55504356) /* "VCPUJOB1" */
#define JOB_VERSION 2u
#define JOB_MAX_FILES 32u

enum job_kind {
	JOB_LINUX = 1,
	JOB_MULTIBOOT = 2,
	JOB_REAL_MODE = 3,
	JOB_ROM = 4,
};

#define JOB_MAX_VCPUS 8u
#define JOB_MAX_HOST_CPUS 2u

#define JOB_TRACE (1u << 0)   /* print every exit */
#define JOB_TESTDEV (1u << 1) /* the ports and the memory of QEMU's pc-testdev */
#define JOB_LA57 (1u << 3)    /* the VMM itself runs with 5-level paging */
#define JOB_INPUT (1u << 2)   /* what comes in at this machine's COM1 is the guest's console input */

/* A file in the block. Offsets count from the block's first byte; files are 4 KiB aligned. */
struct job_file {
	uint64_t offset;
	uint64_t length;
	uint64_t text_offset; /* its command line, NUL-terminated; 0: none */
	uint64_t text_length; /* without the NUL */
};

/* files[0] is the image; then the modules, or the initrd if there is one. */
struct job {
	uint64_t magic;
	uint32_t version;
	uint32_t kind; /* enum job_kind */
	uint64_t total_size;
	uint64_t guest_memory; /* bytes */
	uint64_t host_memory;  /* bytes of RAM from address 0 */
	uint32_t flags;        /* JOB_* */
	uint32_t file_count;
	uint32_t vcpus;     /* 1 to JOB_MAX_VCPUS */
	uint32_t host_cpus; /* 1 to JOB_MAX_HOST_CPUS, at most as many as the machine has */
	uint64_t reserved;  /* 0 */
	struct job_file files[JOB_MAX_FILES];
};
_Static_assert(sizeof(struct job_file) == 32, "layout shared with scripts/run-guest");
_Static_assert(sizeof(struct job) == 64 + 32 * JOB_MAX_FILES, "layout shared with scripts/run-guest");

/* The block at `address`, or NULL with *why set when it is not one or contradicts itself. */
const struct job *job_open(uint64_t address, const char **why);

static inline const uint8_t *job_data(const struct job *job, uint32_t file)
{
	return (const uint8_t *)job + job->files[file].offset;
}

/* The text of `file`, "" if it has none. */
static inline const char *job_text(const struct job *job, uint32_t file)
{
	const struct job_file *f = &job->files[file];

	return f->text_offset ? (const char *)job + f->text_offset : "";
}

#endif
