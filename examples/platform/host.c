/* SPDX-License-Identifier: Apache-2.0 */
/* The host operations that the library asks for, over the platform's services. */
#include "platform.h"
#include "internal.h"
#include "x86vcpu/status.h"
#include "x86vcpu/version.h"

#define PIT_HZ 1193182u
#define CALIBRATION_MS 1u

int32_t (*platform_read_guest)(uint64_t gpa, void *buf, uint64_t len);
void (*platform_notify)(void *machine, void *vcpu, uint32_t cpu);
int32_t (*platform_acknowledge_interrupt)(void *machine, void *vcpu);
uint32_t platform_log_level = 2;
uint64_t platform_dispatched[256];

static uint64_t alloc_frame(void *ctx)
{
	(void)ctx;
	return frame_alloc(1, 4096);
}

static void free_frame(void *ctx, uint64_t hpa)
{
	(void)ctx;
	frame_free(hpa, 1);
}

static uint64_t alloc_contiguous_frames(void *ctx, uint64_t count, uint64_t align)
{
	(void)ctx;
	return frame_alloc(count, align);
}

static void free_contiguous_frames(void *ctx, uint64_t hpa, uint64_t count)
{
	(void)ctx;
	frame_free(hpa, count);
}

static void *phys_to_virt(void *ctx, uint64_t hpa)
{
	(void)ctx;
	return (void *)(uintptr_t)hpa;
}

static int32_t read_guest(void *ctx, void *machine, uint64_t gpa, void *buf, uint64_t len)
{
	(void)ctx;
	(void)machine;
	return platform_read_guest ? platform_read_guest(gpa, buf, len) : X86VCPU_ERR_INVALID_DATA;
}

/* Ticks of the TSC while PIT channel 2 counts down one millisecond. */
static uint64_t tsc_ticks_per_ms(void)
{
	const uint32_t count = PIT_HZ / 1000 * CALIBRATION_MS;
	uint64_t begin;

	outb(0x61, (inb(0x61) & 0xfd) | 1); /* gate on, speaker off */
	outb(0x43, 0xb0);                   /* channel 2, mode 0, both bytes */
	outb(0x42, count & 0xff);
	outb(0x42, count >> 8);
	begin = rdtsc();
	for (uint64_t limit = 0; !(inb(0x61) & 0x20) && limit < 100000000; limit++)
		;
	return (rdtsc() - begin) / CALIBRATION_MS;
}

/* The least of three: an emulator may have been doing something else during one. */
uint64_t platform_tsc_khz(void)
{
	static uint64_t khz;
	uint64_t least = UINT64_MAX;

	if (khz)
		return khz;
	for (unsigned i = 0; i < 3; i++) {
		const uint64_t ticks = tsc_ticks_per_ms();

		least = ticks < least ? ticks : least;
	}
	khz = least;
	return khz;
}

static uint64_t nanos_to_ticks(void *ctx, uint64_t nanos)
{
	const uint64_t khz = platform_tsc_khz();

	(void)ctx;
	return nanos / 1000000 * khz + nanos % 1000000 * khz / 1000000;
}

static void dispatch_external_interrupt(void *ctx, uint32_t vector)
{
	(void)ctx;
	platform_dispatched[vector & 255]++;
	trap_dispatch(vector);
}

static void service_pending_interrupt(void *ctx)
{
	(void)ctx;
	cpu_take_interrupts();
}

static uint32_t current_cpu(void *ctx)
{
	(void)ctx;
	return cpu_index();
}

static int32_t read_msr(void *ctx, uint32_t msr, uint64_t *value)
{
	(void)ctx;
	return rdmsr_safe(msr, value) ? X86VCPU_OK : X86VCPU_ERR_UNSUPPORTED;
}

static void log_line(void *ctx, uint32_t level, const char *text, uint64_t len)
{
	uint64_t flags;

	(void)ctx;
	if (level > platform_log_level)
		return;
	flags = spin_lock(&console_lock);
	console_printf("x86vcpu: ");
	console_write(text, len);
	console_putc('\n');
	spin_unlock(&console_lock, flags);
}

/* Split, so that no product exceeds 64 bits. */
uint64_t platform_time_ns(void)
{
	const uint64_t khz = platform_tsc_khz();
	const uint64_t tsc = rdtsc();

	return tsc / khz * 1000000 + tsc % khz * 1000000 / khz;
}

static uint64_t time_ns(void *ctx)
{
	(void)ctx;
	return platform_time_ns();
}

static int32_t timer_start(void *ctx, uint64_t deadline, x86vcpu_timer_function function, void *arg,
			   struct x86vcpu_timer *timer)
{
	(void)ctx;
	return platform_timer_start(deadline, function, arg, timer);
}

static int32_t timer_cancel(void *ctx, const struct x86vcpu_timer *timer)
{
	(void)ctx;
	return platform_timer_cancel(timer);
}

static void notify(void *ctx, void *machine, void *vcpu, uint32_t cpu)
{
	(void)ctx;
	if (platform_notify)
		platform_notify(machine, vcpu, cpu);
	else if (cpu != X86VCPU_NO_CPU)
		cpu_kick(cpu, false);
}

static int32_t acknowledge_interrupt(void *ctx, void *machine, void *vcpu)
{
	(void)ctx;
	return platform_acknowledge_interrupt ? platform_acknowledge_interrupt(machine, vcpu) : -1;
}

const struct x86vcpu_host_ops platform_host_ops = {
	.size = sizeof(struct x86vcpu_host_ops),
	.abi_version = X86VCPU_ABI_VERSION,
	.alloc_frame = alloc_frame,
	.free_frame = free_frame,
	.alloc_contiguous_frames = alloc_contiguous_frames,
	.free_contiguous_frames = free_contiguous_frames,
	.phys_to_virt = phys_to_virt,
	.read_guest = read_guest,
	.nanos_to_ticks = nanos_to_ticks,
	.dispatch_external_interrupt = dispatch_external_interrupt,
	.service_pending_interrupt = service_pending_interrupt,
	.current_cpu = current_cpu,
	.read_msr = read_msr,
	.log = log_line,
	.time_ns = time_ns,
	.timer_start = timer_start,
	.timer_cancel = timer_cancel,
	.notify = notify,
	.acknowledge_interrupt = acknowledge_interrupt,
};
