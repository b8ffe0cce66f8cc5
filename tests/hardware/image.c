/* SPDX-License-Identifier: Apache-2.0 */
/* An image says in its Multiboot 1 header where it belongs (specification 0.6.96, section 3.1.3). */
#include "supervisor.h"

#define HEADER_MAGIC 0x1badb002u
#define HEADER_WITHIN 8192u

struct multiboot_header {
	uint32_t magic, flags, checksum;
	uint32_t header, load, load_end, bss_end, entry;
};

void leave_image(void);

bool image_read(struct image *image, const uint8_t *begin, const uint8_t *end)
{
	for (const uint8_t *p = begin; p + sizeof(struct multiboot_header) <= end && p < begin + HEADER_WITHIN; p += 4) {
		const struct multiboot_header *h = (const struct multiboot_header *)p;

		if (h->magic != HEADER_MAGIC || h->magic + h->flags + h->checksum)
			continue;
		*image = (struct image){
			.begin = begin, .end = end, .base = h->load, .entry = h->entry, .memory_end = h->bss_end,
		};
		return true;
	}
	return false;
}

uint32_t image_run(const struct image *image, struct platform_supervisor *supervisor)
{
	uint32_t verdict;

	memcpy((void *)(uintptr_t)image->base, image->begin, (size_t)(image->end - image->begin));
	supervisor->leave = (uint64_t)leave_image;
	supervisor->text_length = 0;
	verdict = enter_image(image->entry, PLATFORM_SUPERVISED, (uint32_t)(uintptr_t)supervisor);
	cpu_settle();
	return verdict;
}
