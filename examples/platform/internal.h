/* SPDX-License-Identifier: Apache-2.0 */
/* What the platform's own files need of each other. */
#ifndef PLATFORM_INTERNAL_H
#define PLATFORM_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#define PLATFORM_CPUS 2u

#define GDT_CODE64 0x08u
#define GDT_TSS 0x20u /* one of 16 bytes per CPU */

#define LAPIC_BASE 0xfee00000u
#define LAPIC_EOI 0xb0u
#define LAPIC_SVR 0xf0u
#define LAPIC_ICR_LOW 0x300u
#define LAPIC_ICR_HIGH 0x310u
#define LAPIC_LVT_TIMER 0x320u
#define LAPIC_INITIAL_COUNT 0x380u
#define LAPIC_CURRENT_COUNT 0x390u
#define LAPIC_DIVIDE_CONFIGURATION 0x3e0u
#define SPURIOUS_VECTOR 0xffu

static inline uint32_t lapic_read(uint32_t offset)
{
	return *(volatile uint32_t *)(uintptr_t)(LAPIC_BASE + offset);
}

static inline void lapic_write(uint32_t offset, uint32_t value)
{
	*(volatile uint32_t *)(uintptr_t)(LAPIC_BASE + offset) = value;
}

/* boot.S */
void platform_start(void);
void cpu_started(void);
void gdt_load(const void *gdtr, uint64_t tss_selector);
extern uint64_t gdt[], gdt_end[];
extern char ap_trampoline[], ap_trampoline_end[];
extern char trap_entries[];
void long_mode_again(void);
extern uint32_t boot_cr3, boot_cr4;
extern uint64_t page_pml4[], page_pml5[];

/* GDT, TSS, IDT and local APIC of the executing CPU, the `index`th that was started. */
void trap_init_cpu(unsigned index);
/* Handler of the timers' interrupt; and their measure, taken on the boot CPU before there is a second one. */
void timer_init(void);

struct trap_frame;
void trap_enter(struct trap_frame *frame);

extern const char rdmsr_safe_insn[], rdmsr_safe_fault[];

/* VMXOFF; nothing where it faults, because the CPU is not in VMX operation. */
void vmxoff_safe(void);
extern const char vmxoff_safe_insn[], vmxoff_safe_fault[];

/* leave.c: the end of a supervised run, and what an NMI does then. */
_Noreturn void platform_leave(bool ok);
void leave_on_nmi(void);

#endif
