/* SPDX-License-Identifier: Apache-2.0 */
/* The four functions that compilers and the library call, and strlen. */
#include "platform.h"

void *memcpy(void *to, const void *from, size_t n)
{
	void *d = to;
	size_t words = n / 8;
	size_t tail = n % 8;

	__asm__ volatile("rep movsq; movq %3, %%rcx; rep movsb"
			 : "+D"(d), "+S"(from), "+c"(words) : "r"(tail) : "memory");
	return to;
}

void *memmove(void *to, const void *from, size_t n)
{
	unsigned char *d = to;
	const unsigned char *s = from;

	if ((uintptr_t)d - (uintptr_t)s >= n)
		return memcpy(to, from, n);
	while (n--)
		*((volatile unsigned char *)d + n) = s[n];
	return to;
}

void *memset(void *to, int c, size_t n)
{
	void *d = to;
	const uint64_t pattern = (unsigned char)c * UINT64_C(0x0101010101010101);
	size_t words = n / 8;
	size_t tail = n % 8;

	__asm__ volatile("rep stosq; movq %3, %%rcx; rep stosb"
			 : "+D"(d), "+c"(words) : "a"(pattern), "r"(tail) : "memory");
	return to;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const volatile unsigned char *p = a;
	const volatile unsigned char *q = b;

	for (; n; n--, p++, q++)
		if (*p != *q)
			return *p < *q ? -1 : 1;
	return 0;
}

size_t strlen(const char *s)
{
	const volatile char *p = s;

	while (*p)
		p++;
	return (size_t)(p - s);
}
