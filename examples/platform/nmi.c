/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A periodic NMI to every CPU, from the 8254 through the I/O APIC. Nothing holds it back, not even a guest that runs
 * with IRQs off: Bochs looks at the host's other interrupts only when the guest changes RFLAGS.IF.
 */
#include "platform.h"

#define IOAPIC UINT64_C(0xfec00000)
#define IOAPIC_WINDOW UINT64_C(0x10)
#define PIT_PIN 2u
#define ENTRY_LOW(pin) (0x10u + 2 * (pin))
#define ENTRY_HIGH(pin) (0x11u + 2 * (pin))
#define DELIVER_NMI 0x400u
#define MASKED 0x10000u
#define ALL_CPUS 0xff000000u

#define PIT_HZ UINT64_C(1193182)
#define PIT_MODE2 0x34 /* channel 0, both bytes, rate generator */

static void ioapic_write(uint32_t index, uint32_t value)
{
	*(volatile uint32_t *)(uintptr_t)IOAPIC = index;
	*(volatile uint32_t *)(uintptr_t)(IOAPIC + IOAPIC_WINDOW) = value;
}

void platform_nmi_start(uint64_t period_ns)
{
	const uint64_t count = period_ns * PIT_HZ / 1000000000;

	outb(0x43, PIT_MODE2);
	outb(0x40, count & 0xff);
	outb(0x40, count >> 8 & 0xff);
	ioapic_write(ENTRY_HIGH(PIT_PIN), ALL_CPUS);
	ioapic_write(ENTRY_LOW(PIT_PIN), DELIVER_NMI);
}

void platform_nmi_stop(void)
{
	ioapic_write(ENTRY_LOW(PIT_PIN), MASKED);
}
