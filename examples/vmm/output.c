/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way out is one byte stream, shared by the guest's console, the VMM, the library's log and the
 * emulator's debugger. A guest byte goes out as two bytes above 127, 0x80 + high half and 0x90 +
 * low half; everybody else writes ASCII. So no guest can forge a verdict, and nothing is lost when
 * the debugger writes in between.
 */
#include "vmm.h"

void guest_console_putc(uint8_t byte)
{
	console_putc((char)(0x80 | byte >> 4));
	console_putc((char)(0x90 | (byte & 15)));
}

void say(const char *format, ...)
{
	const uint64_t flags = spin_lock(&console_lock);
	va_list args;

	console_printf("vmm: ");
	va_start(args, format);
	console_vprintf(format, args);
	va_end(args);
	console_putc('\n');
	spin_unlock(&console_lock, flags);
}

_Noreturn void finish(enum verdict verdict, const char *reason)
{
	spin_lock(&console_lock);
	console_printf("vmm-verdict: %u %s\n", (unsigned)verdict, reason);
	platform_exit(verdict != VERDICT_BROKEN);
}
