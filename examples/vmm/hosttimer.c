/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A periodic interrupt for this machine itself, from the local APIC's timer (SDM 11.5.4, APM 16.4.1).
 * VT-x leaves the guest at the end of a time slice; SVM has no such timer, so a guest that does nothing
 * but compute is left only when the host is interrupted. IRQs stay off here: the library has the
 * interrupt taken when it has left the guest. A kernel has an interrupt like this one anyway.
 */
#include "platform.h"

#include "vmm.h"

#define VECTOR 0x40
#define APIC UINT64_C(0xfee00000)
#define LVT_TIMER 0x320
#define INITIAL_COUNT 0x380
#define CURRENT_COUNT 0x390
#define DIVIDE_CONFIGURATION 0x3e0
#define DIVIDE_BY_16 0x3
#define LVT_MASKED (1u << 16)
#define LVT_PERIODIC (1u << 17)

static uint32_t apic_read(uint64_t offset)
{
	return *(volatile uint32_t *)(uintptr_t)(APIC + offset);
}

static void apic_write(uint64_t offset, uint32_t value)
{
	*(volatile uint32_t *)(uintptr_t)(APIC + offset) = value;
}

/* How far the timer counts in a millisecond of the TSC. */
static uint64_t counts_per_ms(void)
{
	const uint64_t ticks = platform_tsc_khz();
	uint64_t begin;

	apic_write(LVT_TIMER, LVT_MASKED);
	apic_write(DIVIDE_CONFIGURATION, DIVIDE_BY_16);
	begin = rdtsc();
	apic_write(INITIAL_COUNT, UINT32_MAX);
	while (rdtsc() - begin < ticks)
		cpu_pause();
	return UINT32_MAX - apic_read(CURRENT_COUNT);
}

/* The interrupt needs no handler: that it left the guest is all it is for. The platform signals its EOI. */
void host_timer_start(uint64_t period_ns)
{
	const uint64_t count = counts_per_ms() * period_ns / 1000000;

	apic_write(LVT_TIMER, LVT_PERIODIC | VECTOR);
	apic_write(INITIAL_COUNT, count ? (uint32_t)count : 1);
}

void host_timer_stop(void)
{
	apic_write(INITIAL_COUNT, 0);
	apic_write(LVT_TIMER, LVT_MASKED);
}
