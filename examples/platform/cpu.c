/* SPDX-License-Identifier: Apache-2.0 */
/* The start of the boot CPU in C, of the second CPU (INIT, start-up IPI: SDM 9.4.4), and what they share. */
#include "platform.h"
#include "internal.h"

#define TRAMPOLINE 0x8000u
#define ICR_INIT 0x4500u
#define ICR_STARTUP 0x4600u
#define ICR_FIXED 0x4000u
#define ICR_NMI 0x4400u
#define RFLAGS_IF (UINT64_C(1) << 9)

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

static uint64_t irqs_off(void)
{
	uint64_t flags;

	__asm__ volatile("pushfq; popq %0; cli" : "=r"(flags) : : "memory");
	return flags;
}

static void irqs_restore(uint64_t flags)
{
	if (flags & RFLAGS_IF)
		__asm__ volatile("sti" : : : "memory");
}

uint64_t spin_lock(struct spinlock *lock)
{
	const uint64_t flags = irqs_off();

	while (__atomic_exchange_n(&lock->held, 1, __ATOMIC_ACQUIRE))
		cpu_pause();
	return flags;
}

void spin_unlock(struct spinlock *lock, uint64_t flags)
{
	__atomic_store_n(&lock->held, 0, __ATOMIC_RELEASE);
	irqs_restore(flags);
}

void cpu_take_interrupts(void)
{
	__asm__ volatile("sti; nop; cli" : : : "memory");
}

void cpu_wait_for_interrupt(void)
{
	__asm__ volatile("sti; hlt; cli" : : : "memory");
}

/* The two halves belong together: an interrupt handler may send one too. */
void cpu_send_ipi(unsigned id, uint32_t command)
{
	const uint64_t flags = irqs_off();

	lapic_write(LAPIC_ICR_HIGH, id << 24);
	lapic_write(LAPIC_ICR_LOW, command);
	while (lapic_read(LAPIC_ICR_LOW) & (1u << 12))
		cpu_pause();
	irqs_restore(flags);
}

void cpu_kick(unsigned index, bool nmi)
{
	if (index < PLATFORM_CPUS && index != cpu_index() && (index == 0 || started))
		cpu_send_ipi(apic_ids[index], nmi ? ICR_NMI : ICR_FIXED | PLATFORM_KICK_VECTOR);
}

#define CPUID_7_ECX_LA57 (1u << 16)
#define CR4_LA57 (1u << 12)

bool platform_use_la57(void)
{
	uint32_t eax = 0, ebx, ecx = 0, edx;

	__asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
	if (eax < 7)
		return false;
	eax = 7;
	ecx = 0;
	__asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
	if (!(ecx & CPUID_7_ECX_LA57))
		return false;
	page_pml5[0] = (uintptr_t)page_pml4 | 3;
	boot_cr3 = (uint32_t)(uintptr_t)page_pml5;
	boot_cr4 |= CR4_LA57;
	long_mode_again();
	return true;
}

bool cpu_is_started(void)
{
	return started;
}

static void wait_ticks(uint64_t ticks)
{
	const uint64_t begin = rdtsc();

	while (rdtsc() - begin < ticks)
		cpu_pause();
}

bool cpu_start(unsigned id, unsigned wait_ms, void (*entry)(void *), void *arg)
{
	const uint64_t ms = platform_tsc_khz();
	uint64_t begin;

	if (started)
		return false;
	timer_init();
	memcpy((void *)(uintptr_t)TRAMPOLINE, ap_trampoline, (size_t)(ap_trampoline_end - ap_trampoline));
	start_entry = entry;
	start_arg = arg;
	cpu_send_ipi(id, ICR_INIT);
	wait_ticks(ms / 10);
	cpu_send_ipi(id, ICR_STARTUP | TRAMPOLINE >> 12);
	begin = rdtsc();
	while (!started && rdtsc() - begin < ms * wait_ms)
		cpu_pause();
	return started;
}
