/* SPDX-License-Identifier: Apache-2.0 */
/* examples/platform in the place of the kernel that docs/porting.md and x86vcpu(3) speak of. */
#include "platform.h"
#include "x86vcpu/status.h"

#define FRAMES_END UINT64_C(0x2000000)

uint64_t kernel_frames_alloc(uint64_t count, uint64_t align);
void kernel_frames_free(uint64_t physical, uint64_t count);
void *kernel_map(uint64_t physical);
uint64_t kernel_tsc_khz(void);
void kernel_interrupt(unsigned vector);
void kernel_irqs_on_for_a_moment(void);
unsigned kernel_cpu(void);
void kernel_print(const char *format, ...) __attribute__((format(printf, 1, 2)));
int32_t first_guest(void);
int32_t run_guest(const struct x86vcpu_host_ops *ops, void *ram, uint64_t hpa, uint64_t size);

uint64_t kernel_frames_alloc(uint64_t count, uint64_t align)
{
	return frame_alloc(count, align);
}

void kernel_frames_free(uint64_t physical, uint64_t count)
{
	frame_free(physical, count);
}

void *kernel_map(uint64_t physical)
{
	return (void *)(uintptr_t)physical;
}

uint64_t kernel_tsc_khz(void)
{
	return platform_tsc_khz();
}

void kernel_interrupt(unsigned vector)
{
	trap_dispatch(vector);
}

void kernel_irqs_on_for_a_moment(void)
{
	cpu_take_interrupts();
}

unsigned kernel_cpu(void)
{
	return cpu_index();
}

void kernel_print(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	console_vprintf(format, args);
	va_end(args);
}

/* The RDMSR that porting.md's host operations do not survive: Bochs' SVM has no VM_CR. */
static void on_general_protection(struct trap_frame *frame)
{
	if (*(const uint16_t *)frame->rip != 0x320f)
		platform_exit(false);
	frame->rax = frame->rdx = 0;
	frame->rip += 2;
}

/* The manual page's example, with a boot sector that reads a port and halts. */
static void manual_page(void)
{
	static const uint8_t code[] = { 0xe4, 0x60, 0x3c, 0xff, 0x75, 0xfe, 0xf4 }; /* in; cmp $-1, %al; jne .; hlt */
	const uint64_t hpa = frame_alloc(512, 0x200000);
	uint8_t *ram = kernel_map(hpa);

	memset(ram, 0, 512 * 4096);
	memcpy(ram + 0x7c00, code, sizeof(code));
	console_printf("x86vcpu(3): %d\n", run_guest(&platform_host_ops, ram, hpa, 512 * 4096));
	frame_free(hpa, 512);
}

_Noreturn void platform_main(void)
{
	int32_t status;

	frames_init(((uintptr_t)platform_image_end + 4095) & ~UINT64_C(4095), FRAMES_END);
	trap_set_handler(13, on_general_protection);
	status = first_guest();
	manual_page();
	console_printf("frames in use: %lu\n", (unsigned long)frames_in_use());
	platform_exit(status == X86VCPU_OK);
}
