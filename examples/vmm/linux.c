/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linux by its 64-bit boot protocol (Documentation/arch/x86/boot.rst in the kernel's source): the
 * protected-mode part at its preferred address, entered 0x200 bytes in, in 64-bit mode with memory
 * mapped one to one and RSI at struct boot_params.
 */
#include "vmm.h"

/* Where the loader's own tables lie, all below 640 KiB. */
#define STACK_TOP 0x6000
#define GDT 0x6000
#define BOOT_PARAMS 0x7000
#define PAGE_TABLES 0x8000 /* PML4, PDPT, four page directories */
#define COMMAND_LINE 0x20000
#define COMMAND_LINE_MAX 0x10000
#define LOW_MEMORY_END 0x9fc00
#define ONE_MIB UINT64_C(0x100000)

/* struct setup_header: offsets in the file and in struct boot_params. */
#define SETUP_SECTS 0x1f1
#define SYSSIZE 0x1f4
#define BOOT_FLAG 0x1fe
#define HEADER_END 0x201
#define HEADER_MAGIC 0x202
#define VERSION 0x206
#define TYPE_OF_LOADER 0x210
#define RAMDISK_IMAGE 0x218
#define RAMDISK_SIZE 0x21c
#define CMD_LINE_PTR 0x228
#define INITRD_ADDR_MAX 0x22c
#define XLOADFLAGS 0x236
#define CMDLINE_SIZE 0x238
#define PREF_ADDRESS 0x258
#define INIT_SIZE 0x260
#define HEADER_SIZE_MIN 0x268 /* of the file */
#define HEADER_LIMIT 0x290    /* struct boot_params has other things from here on */

/* The rest of struct boot_params that matters here. */
#define ACPI_RSDP 0x070
#define E820_ENTRIES 0x1e8
#define E820_TABLE 0x2d0

#define MAGIC_HDRS 0x53726448
#define MAGIC_BOOT 0xaa55
#define VERSION_64BIT 0x20c /* the first with xloadflags */
#define XLF_KERNEL_64 0x01
#define LOADER_UNDEFINED 0xff
#define ENTRY_64 0x200

struct kernel {
	const uint8_t *file, *payload;
	uint64_t payload_size;
	uint64_t base; /* guest-physical */
	uint64_t end;  /* what it needs from base, before it has read the memory map */
};

static const char *parse(const struct vm *vm, struct kernel *k)
{
	const uint64_t size = vm->job->files[0].length;
	uint64_t setup, wanted;

	k->file = job_data(vm->job, 0);
	if (size < HEADER_SIZE_MIN || get32(k->file + HEADER_MAGIC) != MAGIC_HDRS ||
	    get16(k->file + BOOT_FLAG) != MAGIC_BOOT)
		return "not a Linux bzImage";
	if (get16(k->file + VERSION) < VERSION_64BIT || !(get16(k->file + XLOADFLAGS) & XLF_KERNEL_64))
		return "the kernel has no 64-bit entry";

	setup = ((k->file[SETUP_SECTS] ? k->file[SETUP_SECTS] : 4) + UINT64_C(1)) * 512;
	wanted = (uint64_t)get32(k->file + SYSSIZE) * 16;
	if (setup >= size || size - setup + 15 < wanted)
		return "the kernel is cut short";
	k->payload = k->file + setup;
	k->payload_size = size - setup;
	return NULL;
}

static const char *place(const struct vm *vm, struct kernel *k)
{
	uint64_t size = get32(k->file + INIT_SIZE);

	if (size < k->payload_size)
		size = k->payload_size;
	k->base = get64(k->file + PREF_ADDRESS);
	if (k->base < ONE_MIB)
		k->base = ONE_MIB;
	if (!memory_at(vm, k->base, size))
		return "the kernel needs more memory";
	k->end = k->base + size;
	memcpy(memory_at(vm, k->base, k->payload_size), k->payload, k->payload_size);
	return NULL;
}

/* As high as the kernel can reach, which leaves the room above it alone. */
static const char *place_initrd(const struct vm *vm, const struct kernel *k, uint8_t *params)
{
	const uint64_t limit = (uint64_t)get32(k->file + INITRD_ADDR_MAX) + 1;
	const uint64_t top = vm->ram_size < limit ? vm->ram_size : limit;
	uint64_t size, gpa;

	if (vm->job->file_count < 2)
		return NULL;
	size = vm->job->files[1].length;
	if (size > top || ((top - size) & ~UINT64_C(4095)) < k->end)
		return "kernel and initrd need more memory";
	gpa = (top - size) & ~UINT64_C(4095);
	memcpy(memory_at(vm, gpa, size), job_data(vm->job, 1), size);
	put32(params + RAMDISK_IMAGE, (uint32_t)gpa);
	put32(params + RAMDISK_SIZE, (uint32_t)size);
	return NULL;
}

static const char *place_command_line(const struct vm *vm, const struct kernel *k, uint8_t *params)
{
	const uint64_t length = vm->job->files[0].text_length;
	char *to = memory_at(vm, COMMAND_LINE, COMMAND_LINE_MAX);

	if (length > get32(k->file + CMDLINE_SIZE) || length >= COMMAND_LINE_MAX)
		return "the command line is longer than the kernel takes";
	memcpy(to, job_text(vm->job, 0), length);
	put32(params + CMD_LINE_PTR, COMMAND_LINE);
	return NULL;
}

static void add_ram(uint8_t *params, uint64_t start, uint64_t end)
{
	uint8_t *entry = params + E820_TABLE + 20 * params[E820_ENTRIES]++;

	put64(entry, start);
	put64(entry + 8, end - start);
	put32(entry + 16, 1);
}

/* The setup header goes on to where its own length byte says. */
static const char *fill_params(const struct vm *vm, const struct kernel *k)
{
	uint8_t *params = memory_at(vm, BOOT_PARAMS, 4096);
	uint64_t end = HEADER_MAGIC + k->file[HEADER_END];
	const char *wrong;

	if (end > HEADER_LIMIT)
		end = HEADER_LIMIT;
	memcpy(params + SETUP_SECTS, k->file + SETUP_SECTS, end - SETUP_SECTS);
	params[TYPE_OF_LOADER] = LOADER_UNDEFINED;
	put64(params + ACPI_RSDP, acpi_build(vm));
	add_ram(params, 0, LOW_MEMORY_END);
	add_ram(params, ONE_MIB, vm->ram_size);
	wrong = place_command_line(vm, k, params);
	return wrong ? wrong : place_initrd(vm, k, params);
}

/* 4 GiB one to one, in 2 MiB pages. */
static void fill_page_tables(const struct vm *vm)
{
	const uint64_t present_writable = 3, large = 0x80;
	uint64_t *table = memory_at(vm, PAGE_TABLES, 6 * 4096);
	uint64_t *directories = table + 2 * 512;

	table[0] = (PAGE_TABLES + 0x1000) | present_writable;
	for (uint64_t i = 0; i < 4; i++)
		table[512 + i] = (PAGE_TABLES + 0x2000 + i * 0x1000) | present_writable;
	for (uint64_t i = 0; i < 4 * 512; i++)
		directories[i] = i << 21 | large | present_writable;
}

/* The protocol wants flat segments at 0x10 (code) and 0x18 (data); TR's is there for completeness. */
static void fill_gdt(const struct vm *vm)
{
	static const uint64_t gdt[6] = {
		[2] = UINT64_C(0x00af9b000000ffff),
		[3] = UINT64_C(0x00cf93000000ffff),
		[4] = UINT64_C(0x00008b0000000067),
	};

	memcpy(memory_at(vm, GDT, sizeof(gdt)), gdt, sizeof(gdt));
}

static const char *load(struct vm *vm, uint64_t *entry)
{
	struct kernel k;
	const char *wrong = parse(vm, &k);

	if (!wrong)
		wrong = place(vm, &k);
	if (!wrong)
		wrong = fill_params(vm, &k);
	if (wrong)
		return wrong;
	fill_page_tables(vm);
	fill_gdt(vm);
	vm->first_rip = k.base + ENTRY_64;
	*entry = 0; /* start replaces it */
	return NULL;
}

static void set_segments(struct x86vcpu_state *state)
{
	static const struct x86vcpu_segment code = { .selector = 0x10, .access_rights = 0xa09b, .limit = UINT32_MAX };
	static const struct x86vcpu_segment data = { .selector = 0x18, .access_rights = 0xc093, .limit = UINT32_MAX };
	static const struct x86vcpu_segment task = { .selector = 0x20, .access_rights = 0x008b, .limit = 0x67 };
	static const struct x86vcpu_segment none = { .access_rights = 0x10000 };

	for (unsigned i = 0; i < X86VCPU_SEGMENT_LDTR; i++)
		state->segments[i] = data;
	state->segments[X86VCPU_SEGMENT_CS] = code;
	state->segments[X86VCPU_SEGMENT_LDTR] = none;
	state->segments[X86VCPU_SEGMENT_TR] = task;
	state->gdtr = (struct x86vcpu_table){ .base = GDT, .limit = 0x2f };
	state->idtr = (struct x86vcpu_table){ 0 };
}

static const char *start(struct vm *vm, struct x86vcpu *vcpu)
{
	const uint64_t all = X86VCPU_STATE_GPRS | X86VCPU_STATE_RIP | X86VCPU_STATE_SEGMENTS | X86VCPU_STATE_CRS;
	struct x86vcpu_state state = { .size = sizeof(state) };

	if (x86vcpu_get_state(vcpu, all, &state) != X86VCPU_OK)
		return "the library did not tell the reset state";
	state.regs = (struct x86vcpu_regs){ .rsi = BOOT_PARAMS };
	state.rsp = STACK_TOP;
	state.rip = vm->first_rip;
	state.rflags = 0x2;
	state.cr0 = 0x80000011; /* PG, ET, PE */
	state.cr3 = PAGE_TABLES;
	state.cr4 = 0x20;   /* PAE */
	state.efer = 0x500; /* LMA, LME */
	set_segments(&state);
	return x86vcpu_set_state(vcpu, all, &state) == X86VCPU_OK ? NULL : "the library refused the first state";
}

const struct loader linux_loader = { "Linux bzImage", load, start, false };
