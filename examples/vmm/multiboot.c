/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Multiboot 1 (Multiboot Specification 0.6.96): an ELF32 kernel, or one whose header says itself where
 * it goes (flag 16), entered in 32-bit protected mode without paging.
 */
#include "vmm.h"

#define HEADER_MAGIC 0x1badb002u
#define LOADER_MAGIC 0x2badb002u
#define HEADER_SEARCH 8192u
#define HEADER_ADDRESSES (1u << 16)
#define HEADER_UNKNOWN 0xfff8u /* required features that this loader has not; video (bit 2) is let pass */

#define INFO_MEMORY (1u << 0)
#define INFO_COMMAND_LINE (1u << 2)
#define INFO_MODULES (1u << 3)
#define INFO_MEMORY_MAP (1u << 6)
#define INFO_LOADER_NAME (1u << 9)

#define ONE_MIB UINT64_C(0x100000)
#define LOW_MEMORY_END 0x9fc00

/* Everything that the kernel is told lies here, at the end of the low memory. */
#define INFO_AREA 0x90000
#define INFO_AREA_SIZE 0xf000

struct multiboot_info {
	uint32_t flags;
	uint32_t mem_lower, mem_upper; /* KiB */
	uint32_t boot_device;
	uint32_t cmdline;
	uint32_t mods_count, mods_addr;
	uint32_t syms[4];
	uint32_t mmap_length, mmap_addr;
	uint32_t drives[2];
	uint32_t config_table;
	uint32_t boot_loader_name;
};

struct multiboot_module {
	uint32_t start, end, string, reserved;
};

struct multiboot_range {
	uint32_t size; /* of the rest */
	uint32_t base_low, base_high, length_low, length_high;
	uint32_t type; /* 1: RAM */
};

struct info_area {
	struct multiboot_info info;
	struct multiboot_module modules[JOB_MAX_FILES];
	struct multiboot_range ranges[2];
	char text[INFO_AREA_SIZE - 2048];
};
_Static_assert(sizeof(struct info_area) <= INFO_AREA_SIZE, "it fits below the extended BIOS data area");

struct image {
	const uint8_t *file;
	uint64_t size;
	uint64_t header; /* offset in the file */
	uint32_t entry;
	uint64_t end; /* guest-physical, of what was loaded */
};

/* ---- The kernel ---------------------------------------------------------------------------------- */

static const char *find_header(const struct vm *vm, struct image *image)
{
	const uint64_t limit = vm->job->files[0].length;

	*image = (struct image){ .file = job_data(vm->job, 0), .size = limit };
	for (uint64_t at = 0; at < HEADER_SEARCH && at + 12 <= limit; at += 4) {
		const uint8_t *p = image->file + at;

		if (get32(p) == HEADER_MAGIC && get32(p) + get32(p + 4) + get32(p + 8) == 0) {
			image->header = at;
			if (get32(p + 4) & HEADER_UNKNOWN)
				return "the kernel asks the boot loader for what it cannot do";
			return NULL;
		}
	}
	return "no Multiboot header";
}

/* Copies `in_file` bytes and clears up to `in_memory`, which RAM from a fresh machine is anyway. */
static const char *load_part(struct vm *vm, struct image *image, uint64_t offset, uint64_t gpa, uint64_t in_file,
			     uint64_t in_memory)
{
	void *to;

	if (in_memory < in_file)
		in_memory = in_file;
	if (offset > image->size || in_file > image->size - offset)
		return "the kernel is cut short";
	to = memory_at(vm, gpa, in_memory);
	if (!to || (gpa < INFO_AREA + INFO_AREA_SIZE && gpa + in_memory > INFO_AREA))
		return "the kernel loads to where there is no room";
	memcpy(to, image->file + offset, in_file);
	memset((uint8_t *)to + in_file, 0, in_memory - in_file);
	if (gpa + in_memory > image->end)
		image->end = gpa + in_memory;
	return NULL;
}

static const char *load_by_header(struct vm *vm, struct image *image)
{
	const uint8_t *p = image->file + image->header;
	uint64_t offset, in_file, in_memory;
	uint32_t header, load, load_end, bss_end;

	if (image->size - image->header < 32)
		return "the kernel is cut short";
	header = get32(p + 12);
	load = get32(p + 16);
	load_end = get32(p + 20);
	bss_end = get32(p + 24);
	image->entry = get32(p + 28);
	if (load > header || header - load > image->header || (load_end && load_end < load) ||
	    (bss_end && bss_end < load))
		return "the addresses in the Multiboot header contradict each other";
	offset = image->header - (header - load);
	in_file = load_end ? load_end - load : image->size - offset;
	in_memory = bss_end ? bss_end - load : in_file;
	return load_part(vm, image, offset, load, in_file, in_memory);
}

static const char *load_elf(struct vm *vm, struct image *image)
{
	const uint8_t *elf = image->file;
	uint64_t table;
	unsigned entry_size, entries;

	if (image->size < 52 || get32(elf) != 0x464c457f || elf[4] != 1 || elf[5] != 1 || get16(elf + 18) != 3)
		return "not an ELF32 file for the 80386";
	image->entry = get32(elf + 24);
	table = get32(elf + 28);
	entry_size = get16(elf + 42);
	entries = get16(elf + 44);
	if (entry_size < 32 || entries == 0 || table > image->size ||
	    (uint64_t)entry_size * entries > image->size - table)
		return "the kernel is cut short";
	for (unsigned i = 0; i < entries; i++) {
		const uint8_t *p = elf + table + (uint64_t)entry_size * i;
		const char *wrong = NULL;

		if (get32(p) == 1 && get32(p + 20))
			wrong = load_part(vm, image, get32(p + 4), get32(p + 12), get32(p + 16), get32(p + 20));
		if (wrong)
			return wrong;
	}
	return NULL;
}

/* ---- What the kernel is told ----------------------------------------------------------------------- */

/* Appends a text to the info area; 0 when it is full. */
static uint32_t add_text(struct info_area *area, size_t *used, const char *text, size_t length)
{
	const size_t at = *used;

	if (length >= sizeof(area->text) - at)
		return 0;
	memcpy(area->text + at, text, length);
	area->text[at + length] = '\0';
	*used = at + length + 1;
	return (uint32_t)(INFO_AREA + offsetof(struct info_area, text) + at);
}

static const char *add_module(struct vm *vm, struct info_area *area, size_t *used, uint32_t file, uint64_t *end)
{
	const struct job_file *f = &vm->job->files[file];
	struct multiboot_module *module = &area->modules[file - 1];
	void *to;

	*end = (*end + 4095) & ~UINT64_C(4095);
	to = memory_at(vm, *end, f->length);
	if (!to)
		return "kernel and modules need more memory";
	memcpy(to, job_data(vm->job, file), f->length);
	module->start = (uint32_t)*end;
	*end += f->length;
	module->end = (uint32_t)*end;
	module->string = add_text(area, used, job_text(vm->job, file), f->text_length);
	return module->string ? NULL : "the command lines are too long";
}

static const char *add_modules(struct vm *vm, struct info_area *area, size_t *used, uint64_t end)
{
	const uint32_t count = vm->job->file_count - 1;
	const char *wrong = NULL;

	if (end < ONE_MIB)
		end = ONE_MIB;
	for (uint32_t i = 1; i <= count && !wrong; i++)
		wrong = add_module(vm, area, used, i, &end);
	area->info.mods_count = count;
	area->info.mods_addr = INFO_AREA + offsetof(struct info_area, modules);
	return wrong;
}

static struct multiboot_range ram_range(uint64_t start, uint64_t end)
{
	return (struct multiboot_range){
		.size = sizeof(struct multiboot_range) - sizeof(uint32_t),
		.base_low = (uint32_t)start,
		.length_low = (uint32_t)(end - start),
		.type = 1,
	};
}

static const char *fill_info(struct vm *vm, const struct image *image)
{
	static const char loader_name[] = "x86vcpu";
	struct info_area *area = memory_at(vm, INFO_AREA, sizeof(*area));
	struct multiboot_info *info = &area->info;
	size_t used = 0;

	memset(area, 0, sizeof(*area));
	info->flags = INFO_MEMORY | INFO_COMMAND_LINE | INFO_MODULES | INFO_MEMORY_MAP | INFO_LOADER_NAME;
	info->mem_lower = LOW_MEMORY_END / 1024;
	info->mem_upper = (uint32_t)((vm->ram_size - ONE_MIB) / 1024);
	area->ranges[0] = ram_range(0, LOW_MEMORY_END);
	area->ranges[1] = ram_range(ONE_MIB, vm->ram_size);
	info->mmap_addr = INFO_AREA + offsetof(struct info_area, ranges);
	info->mmap_length = sizeof(area->ranges);
	info->boot_loader_name = add_text(area, &used, loader_name, sizeof(loader_name) - 1);
	info->cmdline = add_text(area, &used, job_text(vm->job, 0), vm->job->files[0].text_length);
	if (!info->cmdline)
		return "the command line is too long";
	return add_modules(vm, area, &used, image->end);
}

/* ---- The loader ------------------------------------------------------------------------------------ */

static bool has_addresses(const struct image *image)
{
	return get32(image->file + image->header + 4) & HEADER_ADDRESSES;
}

static const char *load(struct vm *vm, uint64_t *entry)
{
	struct image image;
	const char *wrong = find_header(vm, &image);

	if (!wrong)
		wrong = has_addresses(&image) ? load_by_header(vm, &image) : load_elf(vm, &image);
	if (!wrong)
		wrong = fill_info(vm, &image);
	vm->first_rip = image.entry;
	*entry = 0; /* start replaces it */
	return wrong;
}

/* Flat 32-bit segments; the specification leaves GDTR open, so the kernel brings its own. */
static void set_segments(struct x86vcpu_state *state)
{
	static const struct x86vcpu_segment code = { .selector = 0x08, .access_rights = 0xc09b, .limit = UINT32_MAX };
	static const struct x86vcpu_segment data = { .selector = 0x10, .access_rights = 0xc093, .limit = UINT32_MAX };

	for (unsigned i = 0; i < X86VCPU_SEGMENT_LDTR; i++)
		state->segments[i] = data;
	state->segments[X86VCPU_SEGMENT_CS] = code;
}

static const char *start(struct vm *vm, struct x86vcpu *vcpu)
{
	const uint64_t all = X86VCPU_STATE_GPRS | X86VCPU_STATE_RIP | X86VCPU_STATE_SEGMENTS | X86VCPU_STATE_CRS;
	struct x86vcpu_state state = { .size = sizeof(state) };

	if (x86vcpu_get_state(vcpu, all, &state) != X86VCPU_OK)
		return "the library did not tell the reset state";
	state.regs = (struct x86vcpu_regs){ .rax = LOADER_MAGIC, .rbx = INFO_AREA };
	state.rip = vm->first_rip;
	state.rflags = 0x2;
	state.cr0 = 0x11; /* ET, PE */
	set_segments(&state);
	return x86vcpu_set_state(vcpu, all, &state) == X86VCPU_OK ? NULL : "the library refused the first state";
}

const struct loader multiboot_loader = { "Multiboot", load, start, false };
