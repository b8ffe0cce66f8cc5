/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest without a CPU: its fields stand in an array, its memory in two others. One megabyte at
 * address 0 is mapped (a region of the guest); a little more at FIXTURE_FAR answers only to
 * host_ops.read_guest. There is one fixture per process: Check runs every test in its own.
 */
#ifndef GUEST_FIXTURE_H
#define GUEST_FIXTURE_H

#include "emul/guest.h"

#define FIXTURE_RAM_SIZE 0x100000u
#define FIXTURE_FAR UINT64_C(0x100000000)
#define FIXTURE_FAR_SIZE 0x4000u

/* FIXTURE_LONG and FIXTURE_COMPATIBILITY: the first 4 GiB are mapped to themselves by 1 GiB user pages. */
#define FIXTURE_PML4 UINT64_C(0xff000)
#define FIXTURE_PDPT UINT64_C(0xfe000)

#define FIXTURE_MMIO UINT64_C(0xfec00000)
#define FIXTURE_MMIO_SIZE 0x2000u

enum fixture_mode {
	FIXTURE_REAL,
	FIXTURE_VIRTUAL_8086,
	FIXTURE_PROTECTED16,
	FIXTURE_PROTECTED32, /* paging off */
	FIXTURE_COMPATIBILITY,
	FIXTURE_LONG,
};

struct guest_fixture {
	struct guest g;
	uint64_t hardware[G_FIELDS]; /* what read_field answers */
	unsigned reads[G_FIELDS];    /* and how often it was asked */
	unsigned host_reads;         /* calls of host_ops.read_guest */
	uint32_t tpr;                /* task-priority register */
	struct x86vcpu_exit exit;
	struct x86vcpu_memory_region regions[4];
	struct x86vcpu_mmio_range mmio[4];
	_Alignas(64) uint8_t xsave[0x1000]; /* the image of x87, SSE and AVX registers */
	_Alignas(4096) uint8_t ram[FIXTURE_RAM_SIZE];
	_Alignas(4096) uint8_t far[FIXTURE_FAR_SIZE];
};

/* A fresh guest in `mode`, CPL 0 (3 in virtual-8086 mode), RIP 0x7c00, RSP 0x7000, everything flat. */
struct guest_fixture *fixture_reset(enum fixture_mode mode);
/* What the next exit finds: changes are in hardware, nothing is cached, no reads are counted. */
void fixture_next_exit(struct guest_fixture *f);
/* Sets a field in hardware, and forgets what was cached of it. */
void fixture_set(struct guest_fixture *f, enum guest_field field, uint64_t value);
/* Reads of hardware since the last fixture_next_exit or fixture_reset. */
unsigned fixture_reads(const struct guest_fixture *f);
void fixture_set_cpl(struct guest_fixture *f, unsigned cpl);
/* Puts code at physical address `rip` and RIP there. */
void fixture_code(struct guest_fixture *f, uint64_t rip, const void *bytes, size_t count);
/* Little-endian stores to the guest's RAM. */
void fixture_write64(struct guest_fixture *f, uint64_t gpa, uint64_t value);
void fixture_write32(struct guest_fixture *f, uint64_t gpa, uint32_t value);

#endif
