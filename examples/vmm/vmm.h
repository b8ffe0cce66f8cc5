/* SPDX-License-Identifier: Apache-2.0 */
/* The virtual machine: its vCPUs, its memory and its devices. */
#ifndef VMM_H
#define VMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "platform.h"
#include "x86vcpu/x86vcpu.h"

#include "ioapic.h"
#include "job.h"
#include "kbd.h"
#include "pic.h"
#include "pit.h"
#include "pm.h"
#include "rtc.h"
#include "testdev.h"
#include "uart.h"

/* A guest that does nothing but compute is left this often, so that others have their turn. */
#define TIME_SLICE_NS UINT64_C(500000)
#define NEVER UINT64_MAX

/* How a run ended. The number is the exit status of scripts/run-guest. */
enum verdict {
	VERDICT_SUCCESS = 0,   /* the guest powered off, or wrote 0 to the exit port */
	VERDICT_FAILED = 1,    /* the guest failed */
	VERDICT_BAD_IMAGE = 2, /* it could not be loaded */
	VERDICT_BROKEN = 3,    /* the VMM or the library failed */
	VERDICT_NONE = 255,    /* still running */
};

/* What a vCPU's host CPU may do with it. */
enum vcpu_state {
	VCPU_RUNNABLE,
	VCPU_HALTED,       /* HLT with interrupts on */
	VCPU_STOPPED,      /* HLT with interrupts off: only an NMI or INIT helps */
	VCPU_WAIT_FOR_SIPI,
};

struct vcpu {
	struct vm *vm;
	struct x86vcpu *handle;
	unsigned id;
	unsigned host;     /* the host CPU (cpu_index) that runs it */
	uint32_t state;    /* enum vcpu_state; its host CPU writes it */
	uint32_t notified; /* something has come for it since its last run began */
	uint32_t flush;    /* its cached translations are to be dropped */
	uint64_t timer;    /* HALTED: when its local APIC's timer expires */
	uint64_t exits;
};

struct vm {
	const struct job *job;
	struct x86vcpu_machine *machine;
	struct vcpu vcpu[JOB_MAX_VCPUS];
	unsigned vcpus, hosts;
	struct x86vcpu_nested_tables nested;

	/* Guest-physical [0, ram_size) is host memory at `ram`. */
	uint8_t *ram;
	uint64_t ram_size;
	/* The ROM of a PC, up to 4 GiB; NULL: none. */
	const uint8_t *rom;
	uint64_t rom_size;

	struct spinlock lock; /* for all devices; not held while a guest runs */
	struct pic pic;
	struct ioapic ioapic;
	struct pit pit;
	struct uart uart;
	struct rtc rtc;
	struct kbd kbd;
	struct pm pm;
	struct testdev testdev;
	bool lint0;        /* what LINT0 of vCPU 0 was driven to */
	uint64_t deadline; /* when a device has something to do without being asked; read without the lock */

	uint32_t wakeups;   /* counts what was ever notified */
	uint32_t cpus_left; /* host CPUs that are still in vm_run_cpu, or about to be */
	uint64_t first_rip; /* a loader's own, for its `start` */
	uint32_t ending;    /* somebody has called vm_end */
	enum verdict verdict;
	char reason[120]; /* one line: why */
};

/* ---- output.c, input.c ---------------------------------------------------------------------------- */

/* A byte of the guest's console. Framed, so that nothing else on the stream can be taken for it. */
void guest_console_putc(uint8_t byte);
/* A line of the VMM's own: "vmm: ...". */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Ends the run with the line that scripts/run-guest waits for. */
_Noreturn void finish(enum verdict verdict, const char *reason);

/* This machine's COM1, where the guest's console input comes in. */
void input_init(void);
/* Takes what has come, as long as there is room for it. */
void input_poll(struct uart *uart);

/* ---- verdict.c ------------------------------------------------------------------------------------ */

/* Ends the guest, on every CPU; the first verdict counts. */
void vm_end(struct vm *vm, enum verdict verdict, const char *reason);
/* The same for a value other than 0 at the exit port, with the status that QEMU would make of it. */
void vm_end_exit_code(struct vm *vm, uint32_t value);
/* The same for a call of the library that failed. */
void vm_end_status(struct vcpu *vcpu, const char *call, int32_t status);
void require_ok(struct vcpu *vcpu, int32_t status, const char *call);

static inline bool vm_ended(const struct vm *vm)
{
	return __atomic_load_n(&vm->ending, __ATOMIC_ACQUIRE);
}

/* ---- machine.c ------------------------------------------------------------------------------------ */

/* From the loaded image to the verdict: vCPUs, host CPUs, and all of it given back. */
struct loader;
void machine_run(struct vm *vm, const struct loader *loader, uint64_t entry);
/* For what goes wrong before or after the guest's time. */
void require(int32_t status, const char *call);

/* ---- schedule.c ----------------------------------------------------------------------------------- */

/* Runs the vCPUs of the executing CPU, one after the other, until somebody has called vm_end. */
void vm_run_cpu(struct vm *vm);
/* Has platform_notify wake the vCPUs of this machine. */
void schedule_init(void);

/* ---- exits.c -------------------------------------------------------------------------------------- */

void handle_exit(struct vcpu *vcpu, const struct x86vcpu_exit *exit);

/* ---- trace.c -------------------------------------------------------------------------------------- */

void trace_exit(struct vcpu *vcpu, const struct x86vcpu_exit *exit);
void show_registers(struct vcpu *vcpu);

/* ---- memory.c ------------------------------------------------------------------------------------- */

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

/* ---- devices.c: wiring and time. All but devices_poll, devices_can_wake want vm->lock held. ------- */

void devices_reset(struct vm *vm);
#define FPU_IRQ 13u /* FERR# */
/* Drives an ISA interrupt line, at the 8259As and at the I/O APIC. */
void irq_set(struct vm *vm, unsigned irq, bool high);
/* The 8259As' output, after something has changed in them. */
void pic_changed(struct vm *vm);
/* Does what was due, if the time has come. */
void devices_poll(struct vm *vm);
/* Has the next devices_poll compute anew what is due. */
static inline void devices_changed(struct vm *vm)
{
	__atomic_store_n(&vm->deadline, 0, __ATOMIC_RELAXED);
}
/* Whether a device may interrupt some day without being asked. */
bool devices_can_wake(struct vm *vm);
/* Memory that is none: the I/O APIC; all else reads as ones. */
uint64_t mmio_read(struct vm *vm, uint64_t gpa);
void mmio_write(struct vm *vm, uint64_t gpa, uint64_t value);

/* ---- ports.c (with vm->lock) ---------------------------------------------------------------------- */

uint32_t port_read(struct vm *vm, uint16_t port, unsigned bytes);
void port_write(struct vm *vm, uint16_t port, unsigned bytes, uint32_t value);

/* ---- acpi.c --------------------------------------------------------------------------------------- */

/* Writes the tables for vm->vcpus CPUs into guest memory; answers the address of the RSDP. */
uint64_t acpi_build(const struct vm *vm);

/* ---- Loaders -------------------------------------------------------------------------------------- */

/*
 * A loader copies its image into guest memory before setup, says where setup shall start the first vCPU,
 * and after bind brings it from the reset state to the image's first instruction. Both return NULL,
 * or what is wrong. What is not firmware finds the first local APIC as firmware leaves it.
 */
struct loader {
	const char *name;
	const char *(*load)(struct vm *vm, uint64_t *entry);
	const char *(*start)(struct vm *vm, struct x86vcpu *vcpu);
	bool is_firmware;
};

extern const struct loader linux_loader;
extern const struct loader multiboot_loader;
extern const struct loader real_mode_loader;
extern const struct loader rom_loader;

/* Unaligned little-endian reads from an image, and writes to one. */
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

static inline void put16(uint8_t *p, uint16_t value)
{
	memcpy(p, &value, sizeof(value));
}

static inline void put32(uint8_t *p, uint32_t value)
{
	memcpy(p, &value, sizeof(value));
}

static inline void put64(uint8_t *p, uint64_t value)
{
	memcpy(p, &value, sizeof(value));
}

#endif
