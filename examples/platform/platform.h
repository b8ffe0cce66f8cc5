/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bare machine: what the example VMM and the metal tests need below the library. One ROM image,
 * no BIOS, 64-bit mode with the first 4 GiB mapped one to one, IRQs off, PICs masked.
 */
#ifndef PLATFORM_H
#define PLATFORM_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "supervisor.h"
#include "x86vcpu/host.h"

/* The C program's start: called once, on the boot CPU, on a 64 KiB stack. Does not return. */
_Noreturn void platform_main(void);

/* ---- Console (port 0xe9 under Bochs, debugcon under QEMU) ------------------------------------- */

void console_putc(char c);
void console_write(const char *text, size_t len);
/* %s %c %d %u %x %lx %lu %ld %llx %llu %p %%, with width and zero padding. */
void console_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));
void console_vprintf(const char *format, va_list args);
/* The same to any output. */
void format_text(void (*put)(char c), const char *format, va_list args);

/* ---- The end of a run --------------------------------------------------------------------------- */

/* Ends the machine. `ok`: Bochs by magic breakpoint; otherwise by its shutdown port. QEMU by isa-debug-exit
 * with 0x10 (ok) or 0x11. Returns to the supervisor where there is one. */
_Noreturn void platform_exit(bool ok);

/* ---- Locks --------------------------------------------------------------------------------------- */

/* For both CPUs, IRQs and all: the holder keeps IRQs off, and what they were comes back at the end. */
struct spinlock {
	uint32_t held;
};

uint64_t spin_lock(struct spinlock *lock); /* answers the flags for spin_unlock */
void spin_unlock(struct spinlock *lock, uint64_t flags);

/* Held around what must come out in one piece; console_printf takes no lock itself. */
extern struct spinlock console_lock;

/* ---- Memory --------------------------------------------------------------------------------------- */

/* Physical is virtual here. Frames come from RAM between the image's end (or a floor) and its top. */
void frames_init(uint64_t first, uint64_t end);
uint64_t frame_alloc(uint64_t count, uint64_t align); /* contiguous, not cleared; 0 when there is none */
void frame_free(uint64_t hpa, uint64_t count);
uint64_t frames_in_use(void);
/* Takes [base, base + size) away from the allocator, so far as it has it. */
void frames_reserve(uint64_t base, uint64_t size);
extern char platform_image_end[]; /* first byte after bss and stack */

/* ---- Exceptions and interrupts -------------------------------------------------------------------- */

struct trap_frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
	uint64_t vector, error_code, rip, cs, rflags, rsp, ss;
};

/*
 * Vectors 0 to 255. A handler returns to resume. Without one, an exception (0 to 31) prints its
 * registers as lines that begin with "host fault:" and calls platform_exit(false); an interrupt is
 * acknowledged at the local APIC and ignored.
 */
typedef void (*trap_handler)(struct trap_frame *frame);
void trap_set_handler(unsigned vector, trap_handler handler);
/* Takes what interrupts are waiting. IRQs are off before and after. */
void cpu_take_interrupts(void);
/* The same, after having waited for one (STI; HLT, which lets none slip by in between). */
void cpu_wait_for_interrupt(void);
/* Runs `vector`'s handler as if the interrupt had come (VT-x has acknowledged it), with EOI. */
void trap_dispatch(unsigned vector);

/* ---- Second CPU -------------------------------------------------------------------------------------- */

/*
 * Starts the other CPU (APIC ID `id`) in 64-bit mode on a stack of its own. False: no answer within `wait_ms`. An
 * emulated CPU may have to wait long for one of the machine's.
 */
#define CPU_START_MS 100000u
bool cpu_start(unsigned id, unsigned wait_ms, void (*entry)(void *), void *arg);
bool cpu_is_started(void); /* the other CPU */
unsigned cpu_id(void); /* initial APIC ID of the executing CPU */
unsigned cpu_index(void); /* number of the executing CPU in the order of start: 0 or 1. current_cpu's answer */
/* Interrupts CPU `index`, which may wait in cpu_wait_for_interrupt or run a guest. Nothing to do when it is this
 * one. `nmi`: by an NMI, which also gets through to a guest that was entered with IRQs off under Bochs. */
void cpu_kick(unsigned index, bool nmi);
/* Writes the local APIC's interrupt command register (SDM 11.6.1): `command` is its low half. */
void cpu_send_ipi(unsigned id, uint32_t command);

/*
 * 5-level paging (CR4.LA57) for this CPU and those that are started later, with the same one to one mapping; false where
 * the CPU lacks it. Before anything that relies on staying in 64-bit mode: VMX operation, NMIs.
 */
bool platform_use_la57(void);

/* ---- Host operations --------------------------------------------------------------------------------- */

/* For x86vcpu_*_create; ctx is unused. read_guest answers INVALID_DATA for everything unless a
 * hook is set. Log lines go to the console, prefixed "x86vcpu: ". */
extern const struct x86vcpu_host_ops platform_host_ops;
extern int32_t (*platform_read_guest)(uint64_t gpa, void *buf, uint64_t len);
extern uint32_t platform_log_level;      /* 0 none (default 2: errors and warnings) */
extern uint64_t platform_dispatched[256]; /* how often each vector was dispatched by the library */
uint64_t platform_tsc_khz(void);          /* measured against the PIT at the first call */
uint64_t platform_time_ns(void);          /* of the TSC, which the CPUs have in common */

/* What ops.notify calls instead of kicking `cpu` when there is one. Any context. */
extern void (*platform_notify)(void *machine, void *vcpu, uint32_t cpu);
/* What ops.acknowledge_interrupt calls; without it there is no 8259A: -1. */
extern int32_t (*platform_acknowledge_interrupt)(void *machine, void *vcpu);

/*
 * The timers of ops.timer_start. They expire on the CPU that started them, in hard interrupt context,
 * by the one-shot timer of its local APIC (vector PLATFORM_TIMER_VECTOR), which is theirs from the first on.
 * Any CPU, IRQs on or off. timer_cancel waits for a function that is running on the other CPU.
 */
#define PLATFORM_TIMER_VECTOR 0xe0u
#define PLATFORM_KICK_VECTOR 0xe1u
int32_t platform_timer_start(uint64_t deadline, x86vcpu_timer_function function, void *arg,
			     struct x86vcpu_timer *timer);
int32_t platform_timer_cancel(const struct x86vcpu_timer *timer);

/* An NMI to every CPU each `period_ns` (up to 50 ms), from the 8254. Vector 2 must have a handler. */
void platform_nmi_start(uint64_t period_ns);
void platform_nmi_stop(void);

/* ---- Instructions that C has no word for ----------------------------------------------------------- */

static inline void outb(uint16_t port, uint8_t value) { __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port)); }
static inline void outw(uint16_t port, uint16_t value) { __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port)); }
static inline void outl(uint16_t port, uint32_t value) { __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port)); }
static inline uint8_t inb(uint16_t port) { uint8_t v; __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port)); return v; }
static inline uint32_t inl(uint16_t port) { uint32_t v; __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port)); return v; }
static inline void cpu_pause(void) { __asm__ volatile("pause" : : : "memory"); }
static inline uint16_t inw(uint16_t port) { uint16_t v; __asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(port)); return v; }
static inline uint64_t rdtsc(void) { uint32_t a, d; __asm__ volatile("rdtsc" : "=a"(a), "=d"(d)); return (uint64_t)d << 32 | a; }
static inline uint64_t rdmsr(uint32_t msr) { uint32_t a, d; __asm__ volatile("rdmsr" : "=a"(a), "=d"(d) : "c"(msr)); return (uint64_t)d << 32 | a; }
static inline void wrmsr(uint32_t msr, uint64_t v) { __asm__ volatile("wrmsr" : : "c"(msr), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)) : "memory"); }

/* RDMSR; false instead of a #GP where the MSR does not exist. */
bool rdmsr_safe(uint32_t msr, uint64_t *value);

void *memcpy(void *to, const void *from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);

#endif
