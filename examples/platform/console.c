/* SPDX-License-Identifier: Apache-2.0 */
/* Console output on port 0xe9, and the ends of a run. */
#include "platform.h"
#include "internal.h"

#define CONSOLE_PORT 0xe9
#define BOCHS_SHUTDOWN_PORT 0x8900
#define QEMU_EXIT_PORT 0xf4

struct spinlock console_lock;

static void keep_for_supervisor(struct platform_supervisor *supervisor, char c)
{
	const uint32_t at = supervisor->text_length++;

	if (at < supervisor->text_size)
		supervisor->text[at] = c;
}

void console_putc(char c)
{
	struct platform_supervisor *supervisor = platform_supervisor();

	if (supervisor)
		keep_for_supervisor(supervisor, c);
	else
		outb(CONSOLE_PORT, (uint8_t)c);
}

void console_write(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		console_putc(text[i]);
}

void console_vprintf(const char *format, va_list args)
{
	format_text(console_putc, format, args);
}

void console_printf(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	console_vprintf(format, args);
	va_end(args);
}

_Noreturn void platform_exit(bool ok)
{
	if (platform_supervisor())
		platform_leave(ok);
	/* Nothing answers at this port under Bochs. */
	outb(QEMU_EXIT_PORT, ok ? 0x10 : 0x11);
	if (ok)
		__asm__ volatile("xchgw %bx, %bx");
	else
		for (const char *p = "Shutdown"; *p; p++)
			outb(BOCHS_SHUTDOWN_PORT, (uint8_t)*p);
	for (;;)
		__asm__ volatile("cli; hlt");
}
