/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the fuzzers share: the input, read as a program; a machine of the model with vCPUs on it, made anew for each
 * input; and what must hold whatever the input says.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model.h"

#include "x86vcpu/x86vcpu.h"

/* ---- The input ----------------------------------------------------------------------------------------- */

/* Read from the front; when it is at its end it has zeros. */
struct input {
	const uint8_t *at, *end;
};

static inline bool in_more(const struct input *in)
{
	return in->at < in->end;
}

static inline uint8_t in_8(struct input *in)
{
	return in->at < in->end ? *in->at++ : 0;
}

static inline uint64_t in_bytes(struct input *in, unsigned bytes)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < bytes; i++)
		value |= (uint64_t)in_8(in) << 8 * i;
	return value;
}

static inline uint16_t in_16(struct input *in)
{
	return (uint16_t)in_bytes(in, 2);
}

static inline uint32_t in_32(struct input *in)
{
	return (uint32_t)in_bytes(in, 4);
}

/* A number in one to nine bytes: small, one where something changes, or any. Never what frames are filled with. */
uint64_t in_value(struct input *in);

/* ---- Failing ------------------------------------------------------------------------------------------- */

/* Says what and ends the process, which is how a fuzzer sees it. */
#define fuzz_check(condition, ...)                                                                                       \
	do {                                                                                                             \
		if (!(condition))                                                                                        \
			fuzz_fail(__FILE__, __LINE__, #condition, __VA_ARGS__);                                          \
	} while (0)
_Noreturn void fuzz_fail(const char *file, int line, const char *condition, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* With FUZZ_LOG in the environment: a line of what the input does. */
void fuzz_tell(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- The machine --------------------------------------------------------------------------------------- */

#define WORLD_VCPUS 4u
#define WORLD_TIMERS 8u
#define WORLD_SENT 8u
#define WORLD_SAVED 96u /* MSRs that x86vcpu_saved_msr names, at most */
#define WORLD_VMS 3u /* machines */
#define WORLD_MMIO UINT64_C(0xd0000000)
#define WORLD_MMIO_SIZE UINT64_C(0x1800)
#define WORLD_CODE UINT64_C(0x1000)
#define WORLD_FAR UINT64_C(0x100000000) /* a memory region of odd size */
#define WORLD_FAR_SIZE 0x1233u
#define WORLD_TOP (UINT64_MAX - 0xfff) /* and one at the end of all addresses */

/* What of the host's services there is, and how the vCPUs are set up. */
enum world_flag {
	WORLD_NO_TIMERS = 1 << 0,
	WORLD_NO_CLOCK = 1 << 1,
	WORLD_NO_NOTIFY = 1 << 2,
	WORLD_NO_SEND = 1 << 3,
	WORLD_NO_ACKNOWLEDGE = 1 << 4,
	WORLD_NO_LOG = 1 << 5,
	WORLD_NO_READ_MSR = 1 << 6,
	WORLD_NO_CURRENT_CPU = 1 << 7,
	WORLD_NO_APIC = 1 << 8,
	WORLD_MSRS = 1 << 9,        /* the VMM claims MSRs */
	WORLD_NO_MEMORY = 1 << 10,  /* all memory is behind read_guest */
	WORLD_PASSTHROUGH = 1 << 11,
	WORLD_SHORT_SLICE = 1 << 12,
	WORLD_WAIT = 1 << 13,       /* all but vCPU 0 begin with WAIT_FOR_SIPI */
	WORLD_NO_FREQUENCY = 1 << 14,
	WORLD_ALL_MSRS = 1 << 15,   /* it claims all that it can */
};

/* Of the host. */
enum world_service {
	WORLD_ALLOC, WORLD_FREE, WORLD_PHYS_TO_VIRT, WORLD_READ_GUEST, WORLD_TICKS, WORLD_DISPATCH, WORLD_SERVICE, WORLD_CPU,
	WORLD_READ_MSR, WORLD_LOG, WORLD_TIME, WORLD_TIMER_START, WORLD_TIMER_CANCEL, WORLD_NOTIFY, WORLD_SEND,
	WORLD_ACKNOWLEDGE,
	WORLD_MEMORY, /* the library finds guest memory in a region */
	WORLD_SERVICES
};
const char *world_service_name(uint32_t service);

/* What a hostile one does. */
enum world_malice {
	WORLD_HONEST,
	WORLD_FAILS,    /* if it may */
	WORLD_ANSWERS,  /* something else, if the library does not have to rely on it */
	WORLD_REENTERS, /* calls any function of the library */
	WORLD_FLIPS,    /* changes guest memory */
	WORLD_MALICES
};

struct hostility {
	uint32_t services; /* a bit for each that is hostile */
	uint8_t malice;
	uint8_t skip, times; /* after `skip` calls, so often; UINT8_MAX: always */
	bool fixed;          /* WORLD_REENTERS: which call, and how, not from the input */
	uint8_t call, how;
};

struct abi;

struct world_timer {
	bool armed;
	uint64_t deadline;
	x86vcpu_timer_function function;
	void *arg;
	uint64_t serial;
};

struct world {
	struct input *in;
	struct model *m;
	enum model_backend backend;
	uint32_t flags;
	uint32_t cpu;
	uint32_t acting; /* the vCPU whose guest does something */
	uint64_t now;
	bool running; /* in x86vcpu_run */
	uint32_t remembered; /* CPU whose state as the host has it is known */
	bool nonsense; /* an exit has told of an event that there is none: an entry may fail for it */
	struct x86vcpu_host_ops ops;
	struct x86vcpu_percpu *percpu[MODEL_CPUS];
	struct x86vcpu_machine *machine[WORLD_VMS];
	struct x86vcpu *vcpu[WORLD_VCPUS];
	uint32_t home[WORLD_VCPUS]; /* the CPU that it is bound to; MODEL_CPUS: none */
	struct x86vcpu_exit exit[WORLD_VCPUS];
	int32_t status; /* of the last run */
	uint64_t root;
	struct world_timer timers[WORLD_TIMERS];
	uint64_t timer_serial;
	bool refuse_cancel;
	uint32_t saved[WORLD_SAVED], saved_count;
	uint32_t sent[WORLD_SENT], sent_count; /* send_interrupt: vCPU << 8 | vector */
	uint64_t rip; /* where the guest does it, if it may; 0: where it is */
	uint32_t shadow; /* that the guest will be in when it does the next thing */
	bool privileged; /* CPL 0 */
	bool entry_fails; /* the exit tells so */
	bool delivering; /* an interrupt or NMI, when the exit comes */
	unsigned acknowledged; /* interrupts of the 8259A in this run */
	unsigned steps; /* ops that the model may still ask for */
	struct hostility hostility;
	unsigned turns; /* how often a service was hostile */
	unsigned depth; /* calls from a host op that are under way */
	struct abi *abi; /* what such a call may be for; NULL: there is none */
	bool keep_objects; /* such a call makes and ends no vCPU and CPU */
	bool kept; /* SETUP_KEEP_CONTEXT */
};

/* A machine without a vCPU. `flags`: enum world_flag. */
struct world *world_begin(struct input *in, enum model_backend backend, uint32_t features, uint32_t flags);
/* Machine `n`, which is created when it is first asked for. NULL: there is no memory. */
struct x86vcpu_machine *world_machine(struct world *w, unsigned n);

/* False: the CPU cannot do it. */
bool world_enable(struct world *w, uint32_t cpu);
void world_use(struct world *w, uint32_t cpu);

/* vCPU `n`, set up and bound to CPU `cpu`. False: there was no memory, or the CPU cannot do it. */
bool world_add(struct world *w, uint32_t n, uint32_t cpu);
void world_setup_config(const struct world *w, uint32_t n, struct x86vcpu_setup_config *config);

/* Unbinds and frees everything; all frames must be back. */
void world_end(struct world *w);

enum world_mode {
	WORLD_REAL,
	WORLD_V86,
	WORLD_PROTECTED16,
	WORLD_PROTECTED32,
	WORLD_PAGING32,
	WORLD_PAE,
	WORLD_COMPATIBILITY,
	WORLD_LONG,
	WORLD_MODES,
};

/* Where the guest RAM has page tables that map the first 4 GiB, and a bit more, to themselves. */
#define WORLD_PML4 UINT64_C(0x8000)
#define WORLD_PDPT UINT64_C(0x9000)
#define WORLD_PAE_PDPT UINT64_C(0x9800)
#define WORLD_PD UINT64_C(0xa000) /* five of them */
#define WORLD_PD32 UINT64_C(0xf000)

/* The state of a guest in this mode, at `cpl` where the mode has levels. */
void world_state(enum world_mode mode, unsigned cpl, struct x86vcpu_state *state);

/* Guest RAM, of which what a step of the input changes is noted here. */
void world_write(struct world *w, uint64_t gpa, const void *bytes, size_t count);

/* Moves the clock on, and calls the timers that are due. */
void world_pass(struct world *w, uint64_t nanoseconds);

/* Some of the host's services are hostile from now on, as the input says. */
void world_turn_hostile(struct world *w);

/* Runs vCPU `n`, which is bound to the current CPU, and checks all that can be checked afterwards. */
void world_run(struct world *w, uint32_t n);

/* No complaint of the model, and nothing of the host in the guest. */
void world_check(struct world *w, const char *when);

/* The host's state is what it was when the run began. */
void world_check_host(struct world *w, const char *when);

/* A host's address, or what fresh frames and undefined fields are filled with. */
bool world_is_secret(const struct world *w, uint64_t value);

/* Whether `bytes` at `p` hold what no guest and no VMM may get to see: a host's address, a fresh frame, poison. */
void world_check_secret(const struct world *w, const void *p, size_t bytes, const char *what);

/* A status that the header has. */
void world_check_status(int32_t status, const char *what);

/* ---- The guest's doings -------------------------------------------------------------------------------- */

/* The next exit, from the input: an op of the model, or an exit made up of anything. */
void guest_does_something(struct world *w, bool raw);
/* An op with its instruction in memory and its operands in registers. */
void guest_code(struct world *w, struct model_op *op);
/* The number of an MSR. */
uint32_t guest_msr(struct input *in);
/* The VMM's answer to the last exit, or something else altogether. */
void vmm_answers(struct world *w, uint32_t n);

/* ---- Everything there is to read of a vCPU ------------------------------------------------------------- */

struct snapshot {
	struct x86vcpu_state state;
	struct x86vcpu_apic_state apic;
	struct x86vcpu_events events;
	bool timed; /* the local APIC's timer is on */
	int32_t state_status, apic_status, events_status;
	uint64_t msrs[WORLD_SAVED];
	uint32_t msr_count;
	uint64_t xsave_size;
	uint8_t xsave[12288];
};

void snapshot_take(struct world *w, struct x86vcpu *vcpu, struct snapshot *s);
/* Time goes on between two: what counts it is left out. */
void snapshot_compare(const struct snapshot *before, const struct snapshot *after, const char *what);

/* ---- Targets ------------------------------------------------------------------------------------------- */

void fuzz_decoder(struct input *in);
void fuzz_exits(struct input *in, enum model_backend backend);
void fuzz_abi(struct input *in, enum model_backend backend);
void fuzz_lapic(struct input *in, enum model_backend backend);

/* Runs target `name`; false: there is none of that name. */
bool fuzz_target_exists(const char *name);
void fuzz_run(const char *name, const uint8_t *data, size_t size);

#endif
