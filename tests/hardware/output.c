/* SPDX-License-Identifier: Apache-2.0 */
/* Text to the screen and to the first serial line (16550, 115200 baud, 8 bits, no parity). */
#include "supervisor.h"

#define COM1 0x3f8u
#define LINE_STATUS (COM1 + 5)
#define SCRATCH (COM1 + 7)
#define TRANSMITTER_EMPTY 0x20u
#define POLLS 100000u

static bool has_serial;
static bool to_serial = true, to_screen = true;

void serial_init(void)
{
	outb(SCRATCH, 0x5a);
	has_serial = inb(SCRATCH) == 0x5a;
	if (!has_serial)
		return;
	outb(COM1 + 1, 0);    /* no interrupts */
	outb(COM1 + 3, 0x80); /* divisor */
	outb(COM1 + 0, 1);
	outb(COM1 + 1, 0);
	outb(COM1 + 3, 3); /* 8N1 */
	outb(COM1 + 2, 7); /* FIFOs on, empty */
	outb(COM1 + 4, 3); /* DTR, RTS */
}

static void serial_putc(char c)
{
	for (unsigned i = 0; i < POLLS && !(inb(LINE_STATUS) & TRANSMITTER_EMPTY); i++)
		cpu_pause();
	outb(COM1, (uint8_t)c);
}

static void put(char c)
{
	if (to_screen)
		screen_putc(c);
	if (!to_serial || !has_serial)
		return;
	if (c == '\n')
		serial_putc('\r');
	serial_putc(c);
}

void print_serial(const char *text, size_t length)
{
	to_screen = false;
	for (size_t i = 0; i < length; i++)
		put(text[i]);
	to_screen = true;
}

void print(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	format_text(put, format, args);
	va_end(args);
}

void print_status(const char *format, ...)
{
	va_list args;

	to_serial = false;
	put('\r');
	va_start(args, format);
	format_text(put, format, args);
	va_end(args);
	to_serial = true;
}
