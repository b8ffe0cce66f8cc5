/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a supervised run. The CPUs leave VMX operation and SVM first: INIT, by which the next run starts the
 * second CPU, is blocked in VMX operation (SDM 26.8).
 */
#include "platform.h"
#include "internal.h"

#define CR4_VMXE (UINT64_C(1) << 13)
#define MSR_EFER 0xc0000080u
#define EFER_SVME (UINT64_C(1) << 12)
#define WAIT_MS 200u

static volatile uint32_t leaving, parked;
static volatile uint32_t verdict;

extern uint32_t boot_magic, boot_info;

struct platform_supervisor *platform_supervisor(void)
{
	return boot_magic == PLATFORM_SUPERVISED ? (struct platform_supervisor *)(uintptr_t)boot_info : NULL;
}

static void leave_virtualization(void)
{
	uint64_t cr4;

	__asm__ volatile("movq %%cr4, %0" : "=r"(cr4));
	if (cr4 & CR4_VMXE) {
		vmxoff_safe();
		__asm__ volatile("movq %0, %%cr4" : : "r"(cr4 & ~CR4_VMXE) : "memory");
	}
	if (rdmsr(MSR_EFER) & EFER_SVME) {
		__asm__ volatile("stgi" : : : "memory");
		wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~EFER_SVME);
	}
}

static _Noreturn void leave_here(void)
{
	const struct platform_supervisor *supervisor = platform_supervisor();

	__asm__ volatile("cli" : : : "memory");
	leave_virtualization();
	if (cpu_index() == 0)
		__asm__ volatile("jmp *%0" : : "r"(supervisor->leave), "D"(verdict));
	parked = 1;
	for (;;)
		__asm__ volatile("cli; hlt");
}

/* An NMI while a run ends comes from the CPU that ends it. */
void leave_on_nmi(void)
{
	if (leaving)
		leave_here();
}

static void wait_for_the_other(void)
{
	const uint64_t begin = rdtsc();
	const uint64_t ticks = platform_tsc_khz() * WAIT_MS;

	while (!parked && rdtsc() - begin < ticks)
		cpu_pause();
}

_Noreturn void platform_leave(bool ok)
{
	__asm__ volatile("cli" : : : "memory");
	if (!__atomic_exchange_n(&leaving, 1, __ATOMIC_SEQ_CST)) {
		verdict = ok ? PLATFORM_PASSED : PLATFORM_FAILED;
		if (cpu_is_started()) {
			cpu_kick(!cpu_index(), true);
			if (cpu_index() == 0)
				wait_for_the_other();
		}
	}
	leave_here();
}
