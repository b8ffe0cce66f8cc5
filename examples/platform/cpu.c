/* SPDX-License-Identifier: Apache-2.0 */
/* The start of the boot CPU in C, and of the second CPU (INIT, start-up IPI: SDM 9.4.4). */
#include "platform.h"
#include "internal.h"

#define TRAMPOLINE 0x8000u
#define ICR_INIT 0x4500u
#define ICR_STARTUP 0x4600u
#define START_MS 100u

static void (*start_entry)(void *);
static void *start_arg;
static volatile uint32_t started;
static uint8_t apic_ids[PLATFORM_CPUS];

unsigned cpu_id(void)
{
	return apic_ids[cpu_index()];
}

static uint8_t initial_apic_id(void)
{
	uint32_t eax = 1, ebx, ecx = 0, edx;

	__asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
	return (uint8_t)(ebx >> 24);
}

void platform_start(void)
{
	/* Both PICs masked: every line stays quiet. */
	outb(0x21, 0xff);
	outb(0xa1, 0xff);
	trap_init_cpu(0);
	apic_ids[0] = initial_apic_id();
	platform_main();
}

void cpu_started(void)
{
	trap_init_cpu(1);
	apic_ids[1] = initial_apic_id();
	started = 1;
	start_entry(start_arg);
	for (;;)
		__asm__ volatile("cli; hlt");
}

void cpu_send_ipi(unsigned id, uint32_t command)
{
	volatile uint32_t *high = (volatile uint32_t *)(uintptr_t)(LAPIC_BASE + LAPIC_ICR_HIGH);
	volatile uint32_t *low = (volatile uint32_t *)(uintptr_t)(LAPIC_BASE + LAPIC_ICR_LOW);

	*high = id << 24;
	*low = command;
	while (*low & (1u << 12))
		cpu_pause();
}

static void wait_ticks(uint64_t ticks)
{
	const uint64_t begin = rdtsc();

	while (rdtsc() - begin < ticks)
		cpu_pause();
}

bool cpu_start(unsigned id, void (*entry)(void *), void *arg)
{
	const uint64_t ms = platform_tsc_khz();
	uint64_t begin;

	if (started)
		return false;
	memcpy((void *)(uintptr_t)TRAMPOLINE, ap_trampoline, (size_t)(ap_trampoline_end - ap_trampoline));
	start_entry = entry;
	start_arg = arg;
	cpu_send_ipi(id, ICR_INIT);
	wait_ticks(ms / 10);
	cpu_send_ipi(id, ICR_STARTUP | TRAMPOLINE >> 12);
	begin = rdtsc();
	while (!started && rdtsc() - begin < ms * START_MS)
		cpu_pause();
	return started;
}
