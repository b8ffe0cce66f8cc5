/* SPDX-License-Identifier: Apache-2.0 */
/* Console output on port 0xe9, a small printf, and the ends of a run. */
#include "platform.h"

#define CONSOLE_PORT 0xe9
#define BOCHS_SHUTDOWN_PORT 0x8900
#define QEMU_EXIT_PORT 0xf4

struct spinlock console_lock;

void console_putc(char c)
{
	outb(CONSOLE_PORT, (uint8_t)c);
}

void console_write(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		console_putc(text[i]);
}

struct format {
	unsigned width;
	bool zero, left;
};

static void put_padded(const struct format *f, const char *text, size_t len)
{
	for (size_t i = len; !f->left && i < f->width; i++)
		console_putc(f->zero ? '0' : ' ');
	console_write(text, len);
	for (size_t i = len; f->left && i < f->width; i++)
		console_putc(' ');
}

static void put_number(const struct format *f, uint64_t value, unsigned base, bool negative)
{
	char text[24];
	size_t at = sizeof(text);

	do {
		text[--at] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	if (negative)
		text[--at] = '-';
	put_padded(f, text + at, sizeof(text) - at);
}

static void put_signed(const struct format *f, int64_t value)
{
	put_number(f, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 10, value < 0);
}

static const char *parse_flags(const char *p, struct format *f)
{
	for (;; p++) {
		if (*p == '0')
			f->zero = true;
		else if (*p == '-')
			f->left = true;
		else
			break;
	}
	for (; *p >= '0' && *p <= '9'; p++)
		f->width = f->width * 10 + (unsigned)(*p - '0');
	return p;
}

void console_vprintf(const char *format, va_list args)
{
	for (const char *p = format; *p; p++) {
		struct format f = {0};
		bool wide = false;

		if (*p != '%') {
			console_putc(*p);
			continue;
		}
		p = parse_flags(p + 1, &f);
		for (; *p == 'l' || *p == 'z'; p++)
			wide = true;
		switch (*p) {
		case 's': {
			const char *text = va_arg(args, const char *);
			put_padded(&f, text ? text : "(null)", text ? strlen(text) : 6);
			break;
		}
		case 'c': {
			const char c = (char)va_arg(args, int);
			put_padded(&f, &c, 1);
			break;
		}
		case 'd':
			put_signed(&f, wide ? va_arg(args, int64_t) : va_arg(args, int32_t));
			break;
		case 'u':
			put_number(&f, wide ? va_arg(args, uint64_t) : va_arg(args, uint32_t), 10, false);
			break;
		case 'x':
			put_number(&f, wide ? va_arg(args, uint64_t) : va_arg(args, uint32_t), 16, false);
			break;
		case 'p':
			console_write("0x", 2);
			put_number(&f, va_arg(args, uint64_t), 16, false);
			break;
		case '%':
			console_putc('%');
			break;
		case '\0':
			return;
		default:
			console_putc('%');
			console_putc(*p);
		}
	}
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
