/* SPDX-License-Identifier: Apache-2.0 */
/* The boot information of Multiboot 2 (specification 2.0, section 3.6): a list of tags, each a multiple of 8 bytes. */
#include "supervisor.h"

#define LOADER_MAGIC 0x36d76289u
#define PAYLOAD_BEGIN UINT64_C(0x8000)
#define PAYLOAD_END UINT64_C(0x4000000)

enum { TAG_END = 0, TAG_COMMAND_LINE = 1, TAG_MODULE = 3, TAG_MEMORY_MAP = 6, TAG_FRAME_BUFFER = 8 };
enum { MEMORY_RAM = 1 };
enum { FRAME_BUFFER_RGB = 1, FRAME_BUFFER_TEXT = 2 };

struct tag {
	uint32_t type, size;
};

struct tag_module {
	struct tag tag;
	uint32_t begin, end;
};

struct tag_frame_buffer {
	struct tag tag;
	uint64_t address;
	uint32_t pitch, width, height;
	uint8_t bits_per_pixel, type;
};

struct memory_entry {
	uint64_t base, size;
	uint32_t type, reserved;
};

struct tag_memory_map {
	struct tag tag;
	uint32_t entry_size, version;
	struct memory_entry entries[];
};

extern uint32_t loader_magic, loader_info;

static void read_command_line(struct loader *loader, const char *text)
{
	const size_t length = strlen(text);
	const size_t fits = length < sizeof(loader->command_line) ? length : sizeof(loader->command_line) - 1;

	memcpy(loader->command_line, text, fits);
}

static void read_frame_buffer(struct loader *loader, const struct tag_frame_buffer *tag)
{
	loader->screen = (struct screen_description){
		.address = tag->address,
		.pitch = tag->pitch,
		.width = tag->width,
		.height = tag->height,
		.bits_per_pixel = tag->bits_per_pixel,
		.is_text = tag->type == FRAME_BUFFER_TEXT,
	};
	loader->has_screen = tag->type == FRAME_BUFFER_TEXT || (tag->type == FRAME_BUFFER_RGB && tag->bits_per_pixel == 32);
}

static void reserve(struct loader *loader, uint64_t base, uint64_t end)
{
	if (end > PAYLOAD_END)
		end = PAYLOAD_END;
	if (base >= end || loader->reserved_count == PLATFORM_RESERVED_RANGES)
		return;
	loader->reserved[loader->reserved_count++] = (struct platform_range){ base, end - base };
}

/* The map need not be sorted: what lies between two entries is no RAM either. */
static void read_memory_map(struct loader *loader, const struct tag_memory_map *map)
{
	const uint32_t count = (map->tag.size - sizeof(*map)) / map->entry_size;
	uint64_t at = UINT64_C(0x100000);

	while (at < PAYLOAD_END) {
		uint64_t ram_end = 0, next = PAYLOAD_END;

		for (uint32_t i = 0; i < count; i++) {
			const struct memory_entry *entry =
				(const struct memory_entry *)((const char *)map->entries + i * map->entry_size);

			if (entry->type != MEMORY_RAM)
				continue;
			if (entry->base <= at && entry->base + entry->size > at)
				ram_end = entry->base + entry->size;
			else if (entry->base > at && entry->base < next)
				next = entry->base;
		}
		if (ram_end) {
			at = ram_end;
		} else {
			reserve(loader, at, next);
			at = next;
		}
	}
}

static void read_tag(struct loader *loader, const struct tag *tag)
{
	switch (tag->type) {
	case TAG_COMMAND_LINE:
		read_command_line(loader, (const char *)(tag + 1));
		break;
	case TAG_MODULE: {
		const struct tag_module *module = (const struct tag_module *)tag;

		loader->font = (const uint8_t *)(uintptr_t)module->begin;
		loader->font_size = module->end - module->begin;
		break;
	}
	case TAG_MEMORY_MAP:
		read_memory_map(loader, (const struct tag_memory_map *)tag);
		break;
	case TAG_FRAME_BUFFER:
		read_frame_buffer(loader, (const struct tag_frame_buffer *)tag);
		break;
	default:
		break;
	}
}

bool loader_read(struct loader *loader)
{
	const char *at = (const char *)(uintptr_t)loader_info;
	const struct tag *tag;

	memset(loader, 0, sizeof(*loader));
	if (loader_magic != LOADER_MAGIC)
		return false;
	for (at += 8; (tag = (const struct tag *)at)->type != TAG_END; at += (tag->size + 7) & ~UINT32_C(7))
		read_tag(loader, tag);
	return true;
}

bool loader_option(const struct loader *loader, const char *name, char *value, size_t size)
{
	const size_t length = strlen(name);
	const char *at = loader->command_line;

	for (; *at; at++) {
		size_t n = 0;

		if ((at != loader->command_line && at[-1] != ' ') || strlen(at) < length ||
		    memcmp(at, name, length) != 0 || at[length] != '=')
			continue;
		for (at += length + 1; *at && *at != ' ' && n + 1 < size; at++)
			value[n++] = *at;
		value[n] = '\0';
		return true;
	}
	return false;
}
