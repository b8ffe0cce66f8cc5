/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vCPU's local APIC (SDM chapter 12). The vCPU's own thread reads and writes its registers; other CPUs
 * reach only what is marked so, atomically: they set bits in IRR, and read what decides whether a message
 * is meant for this APIC.
 */
#ifndef LAPIC_LAPIC_H
#define LAPIC_LAPIC_H

#include <stdbool.h>
#include <stdint.h>

#include "lapic/timer.h"

struct guest;

/* Register numbers: offset / 16 in xAPIC mode, MSR - 0x800 in x2APIC mode (SDM tables 12-1, 12-6). */
enum lapic_register {
	LAPIC_ID = 0x02,
	LAPIC_VERSION = 0x03,
	LAPIC_TPR = 0x08,
	LAPIC_APR = 0x09,
	LAPIC_PPR = 0x0a,
	LAPIC_EOI = 0x0b,
	LAPIC_RRD = 0x0c,
	LAPIC_LDR = 0x0d,
	LAPIC_DFR = 0x0e,
	LAPIC_SVR = 0x0f,
	LAPIC_ISR = 0x10, /* eight registers each */
	LAPIC_TMR = 0x18,
	LAPIC_IRR = 0x20,
	LAPIC_ESR = 0x28,
	LAPIC_LVT_CMCI = 0x2f,
	LAPIC_ICR = 0x30,
	LAPIC_ICR2 = 0x31,
	LAPIC_LVT_TIMER = 0x32,
	LAPIC_LVT_THERMAL = 0x33,
	LAPIC_LVT_COUNTERS = 0x34,
	LAPIC_LVT_LINT0 = 0x35,
	LAPIC_LVT_LINT1 = 0x36,
	LAPIC_LVT_ERROR = 0x37,
	LAPIC_TIMER_INITIAL = 0x38,
	LAPIC_TIMER_CURRENT = 0x39,
	LAPIC_TIMER_DIVIDE = 0x3e,
	LAPIC_SELF_IPI = 0x3f,
	LAPIC_REGISTERS = 0x40,
};

/* IA32_APIC_BASE (SDM 12.4.4, 12.12.1). */
#define APIC_BASE_BSP (UINT64_C(1) << 8)
#define APIC_BASE_EXTD (UINT64_C(1) << 10)
#define APIC_BASE_EN (UINT64_C(1) << 11)
#define APIC_BASE_RESET UINT64_C(0xfee00000)

#define APIC_SVR_ENABLE (1u << 8)

/* Local vectors and the ICR (SDM figures 12-8, 12-12). */
#define APIC_VECTOR 0xffu
#define APIC_DELIVERY_SHIFT 8
#define APIC_LOGICAL (1u << 11)
#define APIC_SEND_PENDING (1u << 12)
#define APIC_LEVEL_ASSERT (1u << 14)
#define LVT_POLARITY (1u << 13)
#define LVT_REMOTE_IRR (1u << 14)
#define APIC_TRIGGER_LEVEL (1u << 15)
#define LVT_MASKED (1u << 16)
#define LVT_TIMER_PERIODIC (1u << 17)
#define LVT_TIMER_TSC_DEADLINE (1u << 18)

/* ESR (SDM figure 12-9). */
#define APIC_ERROR_SEND_VECTOR (1u << 5)
#define APIC_ERROR_RECEIVED_VECTOR (1u << 6)
#define APIC_ERROR_REGISTER (1u << 7)

/* Vectors below are exceptions' and not allowed in messages (SDM 12.5.2). */
#define APIC_FIRST_VECTOR 16

struct lapic {
	bool present;
	uint32_t id;

	/* Other CPUs read these. */
	uint64_t base;
	uint32_t ldr, dfr, svr;

	/* Other CPUs set bits here: pending vectors, and which of them came level-triggered last. */
	uint64_t irr[4];
	uint64_t tmr[4];
	/* Levels of the LINT pins, a bit each, and rising edges that have not been looked at. */
	uint32_t pins, edges;

	/* The vCPU's own. */
	uint64_t isr[4];
	uint32_t *tpr; /* in the virtual-APIC page (SDM 30.1), where VT-x keeps it while the guest runs */
	uint64_t page_hpa;
	uint32_t lvt[LAPIC_REGISTERS - LAPIC_LVT_CMCI]; /* by register number; those of local vectors are in use */
	uint32_t icr, icr2;
	uint32_t esr;        /* as the guest reads it */
	uint32_t errors;     /* since it was written */

	struct lapic_timer timer;
};

static inline bool lapic_globally_enabled(const struct lapic *l)
{
	return l->present && __atomic_load_n(&l->base, __ATOMIC_RELAXED) & APIC_BASE_EN;
}

static inline bool lapic_in_x2apic_mode(const struct lapic *l)
{
	return l->present && __atomic_load_n(&l->base, __ATOMIC_RELAXED) & APIC_BASE_EXTD;
}

/* It accepts fixed interrupts (SDM 12.4.7.2). */
static inline bool lapic_enabled(const struct lapic *l)
{
	return lapic_globally_enabled(l) && __atomic_load_n(&l->svr, __ATOMIC_RELAXED) & APIC_SVR_ENABLE;
}

static inline uint32_t *lapic_lvt(struct lapic *l, unsigned reg)
{
	return &l->lvt[reg - LAPIC_LVT_CMCI];
}

/* ---- lapic.c: life, modes ------------------------------------------------------------------------- */

/* Frames. 0 or NO_MEMORY. */
int32_t lapic_create(struct guest *g);
/* After lapic_timer_stop. */
void lapic_destroy(struct guest *g);
/* Power-up state (SDM 12.4.7.1). The timer is stopped. g->vcpu_id and g->limits are set. */
void lapic_reset(struct guest *g);
/* INIT: the same, but for the ID and IA32_APIC_BASE (SDM 12.4.7.3). */
void lapic_init(struct guest *g);
#define LAPIC_LOCAL_VECTORS 7u
extern const uint8_t lapic_local_vectors[LAPIC_LOCAL_VECTORS];
/* Masks every local vector, as a disabled APIC has them (SDM 12.4.7.2). */
void lapic_mask_all(struct lapic *l);
/* What hardware puts there in x2APIC mode (SDM 12.12.10.2). */
static inline uint32_t lapic_x2apic_ldr(const struct lapic *l)
{
	return l->id >> 4 << 16 | 1u << (l->id & 15);
}

/* Whether IA32_APIC_BASE can hold it: no reserved bit, no mode that does not exist. */
bool lapic_base_ok(const struct guest *g, uint64_t value);
/* WRMSR IA32_APIC_BASE. False: #GP. */
bool lapic_write_base(struct guest *g, uint64_t value);

/* ---- registers.c: accesses by the guest. Answers are enum emul -------------------------------------- */

/* Whether [gpa, gpa + bytes) is in the page of an APIC in xAPIC mode. */
static inline bool lapic_at(const struct lapic *l, uint64_t gpa, uint64_t bytes)
{
	return l->present && (l->base & (APIC_BASE_EN | APIC_BASE_EXTD)) == APIC_BASE_EN &&
	       (gpa ^ l->base) >> 12 == 0 && (gpa & 0xfff) + bytes <= 0x1000;
}

uint64_t lapic_mmio_read(struct guest *g, unsigned offset, unsigned bytes);
int lapic_mmio_write(struct guest *g, unsigned offset, unsigned bytes, uint64_t value);
/* RDMSR and WRMSR of 0x800 to 0x8ff, IA32_APIC_BASE and IA32_TSC_DEADLINE. */
int lapic_rdmsr(struct guest *g, uint32_t msr, uint64_t *value);
int lapic_wrmsr(struct guest *g, uint32_t msr, uint64_t value);
/* A register as a program reads it in the mode that the APIC is in; for get_apic. */
uint32_t lapic_register(struct guest *g, unsigned reg);

/* Whether `value` has only bits that the register can hold. */
bool lapic_register_ok(unsigned reg, uint32_t value);

/* ---- state.c ------------------------------------------------------------------------------------------ */

struct x86vcpu_apic_state;
void lapic_save(struct guest *g, struct x86vcpu_apic_state *state);
/* False, and nothing changed: a value that the guest could not have written. */
bool lapic_restore(struct guest *g, const struct x86vcpu_apic_state *state);

/* ---- interrupt.c: acceptance, priority, service -------------------------------------------------------- */

/* IRR := vector, from any CPU; the caller kicks. Vectors below 16 are an error instead (SDM 12.5.3). */
void lapic_accept(struct guest *g, uint8_t vector, bool level);
/* Highest vector whose class is above the processor priority, or -1 (SDM 12.8.3.1). */
int lapic_deliverable(const struct guest *g);
/* Class of the highest vector that only the task priority holds back; 0: none. */
unsigned lapic_held_by_tpr(const struct guest *g);
/* Moves `vector` from IRR to ISR: the CPU takes it. */
void lapic_take(struct guest *g, uint8_t vector);
/* Back from ISR to IRR: its delivery was undone. False when it is not in service. */
bool lapic_untake(struct guest *g, uint8_t vector);
/* EOI: the vector when the end of a level-triggered one must be told, otherwise -1. */
int lapic_eoi(struct guest *g);
bool lapic_has_pending(const struct guest *g);
void lapic_set_tpr(struct guest *g, uint32_t value);
uint32_t lapic_ppr(const struct guest *g);
/* Sets a bit of the error register, and raises the error interrupt (SDM 12.5.3). */
void lapic_error(struct guest *g, uint32_t error);
/* A local vector's interrupt: fixed, NMI or nothing, as the register says. */
void lapic_local(struct guest *g, unsigned reg);
/* What the pins and the timer have done since the last look. Before anything is chosen to be injected. */
void lapic_look(struct guest *g);
/* The pin that an 8259A drives asks for an interrupt, and the vCPU would take it. */
bool lapic_extint_asked(const struct guest *g);
/* From any CPU: drives a pin. True when the vCPU must be told. */
bool lapic_drive_pin(struct guest *g, unsigned pin, bool high);

/* ---- message.c: interrupts from and to others ------------------------------------------------------------ */

struct lapic_message {
	uint32_t destination;
	bool logical;
	bool wide; /* a destination of 32 bits: all ones is everybody; otherwise 0xff is */
	uint8_t delivery; /* enum x86vcpu_delivery */
	uint8_t vector;
	bool level;
};

/* IRQs are off. The set of vCPUs that took it. `sender` may be NULL. */
struct x86vcpu_machine;
uint64_t lapic_send(struct x86vcpu_machine *machine, struct guest *sender, const struct lapic_message *message);
/* The guest has written the ICR. */
void lapic_send_icr(struct guest *g, uint32_t low, uint32_t destination);

#endif
