/* SPDX-License-Identifier: Apache-2.0 */
/* The four functions that compilers and the library call, and the frame allocator: a bitmap, first fit. */
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

#define FRAME 4096u
#define MAX_FRAMES (512u * 256u) /* 512 MiB */

static uint64_t used_map[MAX_FRAMES / 64];
static uint64_t first_frame, frame_count, in_use;
static struct spinlock lock;

void frames_init(uint64_t first, uint64_t end)
{
	first_frame = (first + FRAME - 1) / FRAME;
	frame_count = end / FRAME > first_frame ? end / FRAME - first_frame : 0;
	if (frame_count > MAX_FRAMES)
		frame_count = MAX_FRAMES;
	in_use = 0;
	memset(used_map, 0, sizeof(used_map));
}

static bool frame_used(uint64_t i)
{
	return used_map[i / 64] >> (i % 64) & 1;
}

/* The first frame from `i` on that is in use, `i + count` if none is among `count`. */
static uint64_t free_run_end(uint64_t i, uint64_t count)
{
	const uint64_t end = i + count;

	while (i < end && !frame_used(i))
		i++;
	return i;
}

static void frames_mark(uint64_t i, uint64_t count, bool used)
{
	for (; count; i++, count--) {
		const uint64_t bit = UINT64_C(1) << (i % 64);

		used_map[i / 64] = used ? used_map[i / 64] | bit : used_map[i / 64] & ~bit;
	}
}

static uint64_t find_frames(uint64_t count, uint64_t align)
{
	const uint64_t step = align > FRAME ? align / FRAME : 1;
	uint64_t i = (first_frame + step - 1) / step * step - first_frame;

	while (count && i + count <= frame_count) {
		const uint64_t taken = free_run_end(i, count);

		if (taken == i + count) {
			frames_mark(i, count, true);
			in_use += count;
			return (first_frame + i) * FRAME;
		}
		i = (first_frame + taken + step) / step * step - first_frame;
	}
	return 0;
}

uint64_t frame_alloc(uint64_t count, uint64_t align)
{
	const uint64_t flags = spin_lock(&lock);
	const uint64_t hpa = find_frames(count, align);

	spin_unlock(&lock, flags);
	return hpa;
}

void frame_free(uint64_t hpa, uint64_t count)
{
	const uint64_t i = hpa / FRAME - first_frame;
	const uint64_t flags = spin_lock(&lock);

	/* Freeing what is not in use is a bug of the caller that a run must not survive. */
	if (hpa / FRAME < first_frame || i + count > frame_count || hpa % FRAME) {
		console_printf("host fault: bad frame_free %lx\n", hpa);
		platform_exit(false);
	}
	for (uint64_t n = 0; n < count; n++)
		if (!frame_used(i + n)) {
			console_printf("host fault: frame %lx freed twice\n", hpa + n * FRAME);
			platform_exit(false);
		}
	frames_mark(i, count, false);
	in_use -= count;
	spin_unlock(&lock, flags);
}

uint64_t frames_in_use(void)
{
	return in_use;
}
