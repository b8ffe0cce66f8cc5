/* SPDX-License-Identifier: Apache-2.0 */
/* The frame allocator: a bitmap, first fit. */
#include "platform.h"

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

void frames_reserve(uint64_t base, uint64_t size)
{
	uint64_t first = base / FRAME;
	uint64_t end = (base + size + FRAME - 1) / FRAME;

	first = first > first_frame ? first : first_frame;
	end = end < first_frame + frame_count ? end : first_frame + frame_count;
	if (first < end)
		frames_mark(first - first_frame, end - first, true);
}

uint64_t frames_in_use(void)
{
	return in_use;
}
