/* SPDX-License-Identifier: Apache-2.0 */
/* The boot CPU between two images, and the other CPUs. */
#include "supervisor.h"

#include "internal.h"

#define MSR_APIC_BASE 0x1bu
#define APIC_BASE_EXTD (UINT64_C(1) << 10)
#define APIC_BASE_EN (UINT64_C(1) << 11)
#define MSR_PAT 0x277u
#define MSR_SPEC_CTRL 0x48u
#define MSR_XSS 0xda0u
#define MSR_EFER 0xc0000080u
#define EFER_LME_LMA UINT64_C(0x500)
#define CPUID_1_ECX_XSAVE (1u << 26)
#define CR4_OSXSAVE (UINT64_C(1) << 18)
#define DR6_RESET UINT64_C(0xffff0ff0)
#define DR7_RESET UINT64_C(0x400)

#define TPR 0x80u
#define ISR 0x100u
#define IRR 0x200u
#define LVT_MASKED 0x10000u
#define INIT_ALL_OTHERS 0xc4500u
#define STARTUP_ALL_OTHERS 0xc4600u

#define TRAMPOLINE UINT64_C(0x8000)
#define ROLL_COUNT (TRAMPOLINE + 0x800)
#define ROLL_IDS (TRAMPOLINE + 0x804)
#define PIT_HZ 1193182u

struct gate {
	uint16_t offset_low, selector;
	uint8_t ist, type;
	uint16_t offset_mid;
	uint32_t offset_high, reserved;
};

extern struct gate idt[256];
extern char idtr[], roll_call[], roll_call_end[];

static uint64_t reset_pat;

/* ---- Traps --------------------------------------------------------------------------------------- */

void trap_enter(struct trap_frame *frame)
{
	if (frame->vector == 13 && frame->rip == (uint64_t)rdmsr_safe_insn) {
		frame->rip = (uint64_t)rdmsr_safe_fault;
	} else if (frame->vector < 32 && frame->vector != 2) {
		print("\nhardware: exception %lu at %lx in the supervisor; reset the machine\n", frame->vector,
		      frame->rip);
		for (;;)
			__asm__ volatile("cli; hlt");
	} else if (frame->vector >= 32 && frame->vector != SPURIOUS_VECTOR) {
		lapic_write(LAPIC_EOI, 0);
	}
}

static void traps_init(void)
{
	for (unsigned v = 0; v < 256; v++) {
		const uint64_t entry = (uint64_t)trap_entries + v * 16;

		idt[v] = (struct gate){
			.offset_low = (uint16_t)entry,
			.selector = 8,
			.type = 0x8e,
			.offset_mid = (uint16_t)(entry >> 16),
			.offset_high = (uint32_t)(entry >> 32),
		};
	}
	__asm__ volatile("lidt (%0)" : : "r"(idtr) : "memory");
}

/* ---- Time ------------------------------------------------------------------------------------------ */

static uint64_t ticks_per_ms(void)
{
	static uint64_t ticks;
	uint64_t begin;

	if (ticks)
		return ticks;
	outb(0x61, (inb(0x61) & 0xfd) | 1);
	outb(0x43, 0xb0);
	outb(0x42, PIT_HZ / 100 & 0xff);
	outb(0x42, PIT_HZ / 100 >> 8);
	begin = rdtsc();
	for (uint64_t limit = 0; !(inb(0x61) & 0x20) && limit < 10000000; limit++)
		;
	ticks = (rdtsc() - begin) / 10;
	return ticks;
}

static void wait_ms(uint32_t ms)
{
	const uint64_t begin = rdtsc();
	const uint64_t ticks = ticks_per_ms() * ms;

	while (rdtsc() - begin < ticks)
		cpu_pause();
}

/* ---- The local APIC ---------------------------------------------------------------------------------- */

/* Firmware may have set x2APIC mode, which is left by way of "disabled" only (SDM 12.12.5). */
static bool use_xapic(void)
{
	uint64_t base = rdmsr(MSR_APIC_BASE);

	if (base & APIC_BASE_EXTD) {
		wrmsr(MSR_APIC_BASE, base & ~(APIC_BASE_EN | APIC_BASE_EXTD));
		wrmsr(MSR_APIC_BASE, (base & ~APIC_BASE_EXTD) | APIC_BASE_EN);
		base = rdmsr(MSR_APIC_BASE);
	}
	return !(base & APIC_BASE_EXTD);
}

static bool any_bit(uint32_t first)
{
	for (uint32_t i = 0; i < 8; i++)
		if (lapic_read(first + i * 16))
			return true;
	return false;
}

/* An image may have been left in a handler, and with interrupts that were not taken. */
static void drain(void)
{
	lapic_write(LAPIC_SVR, 0x100 | SPURIOUS_VECTOR);
	lapic_write(LAPIC_LVT_TIMER, LVT_MASKED);
	lapic_write(LAPIC_INITIAL_COUNT, 0);
	lapic_write(TPR, 0);
	for (unsigned i = 0; i < 256 && any_bit(ISR); i++)
		lapic_write(LAPIC_EOI, 0);
	for (unsigned i = 0; i < 256 && any_bit(IRR); i++)
		__asm__ volatile("sti; nop; nop; cli" : : : "memory");
}

bool cpu_init(void)
{
	traps_init();
	outb(0x21, 0xff);
	outb(0xa1, 0xff);
	reset_pat = rdmsr(MSR_PAT);
	if (!use_xapic())
		return false;
	drain();
	return true;
}

static bool has_xsave(void)
{
	uint32_t r[4];

	cpuid(1, 0, r);
	return r[2] & CPUID_1_ECX_XSAVE;
}

/* Only x87 state, as after RESET. */
static void reset_xcr0(void)
{
	uint64_t cr4;

	if (!has_xsave())
		return;
	__asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
	__asm__ volatile("mov %0, %%cr4; xsetbv; mov %1, %%cr4"
			 : : "r"(cr4 | CR4_OSXSAVE), "r"(cr4), "a"(1), "d"(0), "c"(0) : "memory");
}

static void reset_debug_registers(void)
{
	__asm__ volatile("mov %0, %%dr7; mov %1, %%dr6" : : "r"(DR7_RESET), "r"(DR6_RESET));
	__asm__ volatile("mov %0, %%dr0; mov %0, %%dr1; mov %0, %%dr2; mov %0, %%dr3" : : "r"(UINT64_C(0)));
}

static bool has_xss(void)
{
	uint32_t r[4];

	cpuid(0, 0, r);
	if (r[0] < 0xd)
		return false;
	cpuid(0xd, 1, r);
	return r[0] & 8;
}

void cpu_settle(void)
{
	uint64_t value;

	wrmsr(MSR_EFER, EFER_LME_LMA);
	wrmsr(MSR_PAT, reset_pat);
	if (has_xss() && rdmsr_safe(MSR_XSS, &value) && value)
		wrmsr(MSR_XSS, 0);
	if (rdmsr_safe(MSR_SPEC_CTRL, &value) && value)
		wrmsr(MSR_SPEC_CTRL, 0);
	reset_xcr0();
	reset_debug_registers();
	drain();
}

/* ---- The other CPUs ------------------------------------------------------------------------------------ */

static void send_to_others(uint32_t command)
{
	lapic_write(LAPIC_ICR_LOW, command);
	while (lapic_read(LAPIC_ICR_LOW) & 0x1000)
		cpu_pause();
}

/* INIT, and a start-up IPI twice (SDM 9.4.4). */
uint32_t cpu_roll_call(uint32_t *first)
{
	volatile uint32_t *count = (volatile uint32_t *)ROLL_COUNT;

	memcpy((void *)TRAMPOLINE, roll_call, (size_t)(roll_call_end - roll_call));
	*count = 0;
	send_to_others(INIT_ALL_OTHERS);
	wait_ms(10);
	send_to_others(STARTUP_ALL_OTHERS | TRAMPOLINE >> 12);
	wait_ms(1);
	if (!*count)
		send_to_others(STARTUP_ALL_OTHERS | TRAMPOLINE >> 12);
	wait_ms(200);
	*first = *count ? *(volatile uint8_t *)ROLL_IDS : PLATFORM_NO_CPU;
	return *count;
}

/* The chipset's reset register, the keyboard controller, a triple fault. */
_Noreturn void machine_reset(void)
{
	static const uint8_t no_idt[10];

	outb(0xcf9, 2);
	outb(0xcf9, 6);
	wait_ms(200);
	outb(0x64, 0xfe);
	wait_ms(200);
	__asm__ volatile("lidt (%0); int3" : : "r"(no_idt));
	for (;;)
		__asm__ volatile("hlt");
}
