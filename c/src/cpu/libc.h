/* SPDX-License-Identifier: Apache-2.0 */
/* The four functions that a freestanding C environment provides: all that the library asks of it. */
#ifndef CPU_LIBC_H
#define CPU_LIBC_H

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);

#endif
