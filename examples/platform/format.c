/* SPDX-License-Identifier: Apache-2.0 */
/* A small printf. */
#include "platform.h"

struct format {
	void (*put)(char c);
	unsigned width;
	bool zero, left;
};

static void put_padded(const struct format *f, const char *text, size_t len)
{
	for (size_t i = len; !f->left && i < f->width; i++)
		f->put(f->zero ? '0' : ' ');
	for (size_t i = 0; i < len; i++)
		f->put(text[i]);
	for (size_t i = len; f->left && i < f->width; i++)
		f->put(' ');
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

void format_text(void (*put)(char c), const char *format, va_list args)
{
	for (const char *p = format; *p; p++) {
		struct format f = {.put = put};
		bool wide = false;

		if (*p != '%') {
			put(*p);
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
			put('0');
			put('x');
			put_number(&f, va_arg(args, uint64_t), 16, false);
			break;
		case '%':
			put('%');
			break;
		case '\0':
			return;
		default:
			put('%');
			put(*p);
		}
	}
}
