/* SPDX-License-Identifier: Apache-2.0 */
/* The virtual machine: one vCPU, its memory and its devices. */
#ifndef VMM_H
#define VMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "x86vcpu/x86vcpu.h"

#include "cmos.h"
#include "job.h"
#include "pic.h"
#include "pit.h"
#include "uart.h"

/* How a run ended. The number is the exit status of scripts/run-guest. */
enum verdict {
	VERDICT_SUCCESS = 0,   /* the guest powered off, or wrote 0 to the exit port */
	VERDICT_FAILED = 1,    /* the guest failed */
	VERDICT_BAD_IMAGE = 2, /* it could not be loaded */
	VERDICT_BROKEN = 3,    /* the VMM or the library failed */
	VERDICT_NONE = 255,    /* still running */
};

struct vm {
	const struct job *job;
	struct x86vcpu *vcpu;
	struct x86vcpu_nested_tables nested;

	/* Guest-physical [0, ram_size) is host memory at `ram`, but for the hole of the VGA. */
	uint8_t *ram;
	uint64_t ram_size;
	/* The ROM of a PC, up to 4 GiB; NULL: none. */
	const uint8_t *rom;
	uint64_t rom_size;

	struct pic pic;
	struct pit pit;
	struct uart uart;
	struct cmos cmos;

	uint64_t first_rip; /* a loader's own, for its `start` */
	enum verdict verdict;
	char reason[120]; /* one line: why */
	uint64_t exits;
};

/* ---- output.c ----------------------------------------------------------------------------------- */

/* A byte of the guest's console. Framed, so that nothing else on the stream can be taken for it. */
void guest_console_putc(uint8_t byte);
/* A line of the VMM's own: "vmm: ...". */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Ends the run with the line that scripts/run-guest waits for. */
_Noreturn void finish(enum verdict verdict, const char *reason);

/* ---- run.c -------------------------------------------------------------------------------------- */

/* Runs the guest until somebody has called vm_end. */
void vm_run(struct vm *vm);
/* Ends the guest; the first verdict counts. */
void vm_end(struct vm *vm, enum verdict verdict, const char *reason);
/* The same for a value other than 0 at the exit port, with the status that QEMU would make of it. */
void vm_end_exit_code(struct vm *vm, uint32_t value);
/* The same for a call of the library that failed. */
void vm_end_status(struct vm *vm, const char *call, int32_t status);

/* ---- trace.c ------------------------------------------------------------------------------------ */

void trace_exit(struct vm *vm, const struct x86vcpu_exit *exit);
void show_registers(struct vm *vm);

/* ---- memory.c ----------------------------------------------------------------------------------- */

#define VGA_HOLE UINT64_C(0xa0000)
#define VGA_HOLE_END UINT64_C(0xc0000)
#define FOUR_GIB (UINT64_C(1) << 32)

/* Guest memory, nested tables for it, and a ROM if the job is one. */
int32_t memory_create(struct vm *vm);
/* What the library must know of it for x86vcpu_setup: pointers into static tables. */
void memory_describe(const struct vm *vm, struct x86vcpu_setup_config *config);
/* Host address of [gpa, gpa + size), NULL when not all of it is RAM. */
void *memory_at(const struct vm *vm, uint64_t gpa, uint64_t size);
/* What a device sees there: ones and nothing where there is no memory, ROM included. */
uint8_t memory_read8(const struct vm *vm, uint64_t gpa);
void memory_write8(struct vm *vm, uint64_t gpa, uint8_t value);

/* ---- hosttimer.c -------------------------------------------------------------------------------- */

/* Interrupts this CPU, and with it the guest, every `period_ns`. */
void host_timer_start(uint64_t period_ns);
void host_timer_stop(void);

/* ---- ports.c ------------------------------------------------------------------------------------ */

uint32_t port_read(struct vm *vm, uint16_t port, unsigned bytes);
void port_write(struct vm *vm, uint16_t port, unsigned bytes, uint32_t value);

/* ---- Loaders -------------------------------------------------------------------------------------- */

/*
 * A loader copies its image into guest memory before setup, says where setup shall start the vCPU,
 * and after bind brings it from the reset state to the image's first instruction. Both return NULL,
 * or what is wrong.
 */
struct loader {
	const char *name;
	const char *(*load)(struct vm *vm, uint64_t *entry);
	const char *(*start)(struct vm *vm);
};

extern const struct loader linux_loader;
extern const struct loader multiboot_loader;
extern const struct loader real_mode_loader;
extern const struct loader rom_loader;

/* Unaligned little-endian reads from an image. */
static inline uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t get32(const uint8_t *p)
{
	return get16(p) | (uint32_t)get16(p + 2) << 16;
}

static inline uint64_t get64(const uint8_t *p)
{
	return get32(p) | (uint64_t)get32(p + 4) << 32;
}

#endif
