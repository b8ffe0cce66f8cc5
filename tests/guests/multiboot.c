/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Multiboot guest: checks what the specification promises (magic, memory, memory map, loader
 * name), prints command line and modules, and ends with the number of the check that failed, 0 for
 * none.
 */
#include <stdint.h>

#define UART 0x3f8
#define UART_LSR 0x3fd
#define EXIT_PORT 0xf4

struct info {
	uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr, syms[4];
	uint32_t mmap_length, mmap_addr, drives[2], config_table, boot_loader_name;
};

struct module {
	uint32_t start, end, string, reserved;
};

struct range {
	uint32_t size, base_low, base_high, length_low, length_high, type;
};

void guest_main(uint32_t magic, const struct info *info);

static uint32_t zeroed[256]; /* bss: the loader clears it */

static void outb(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static uint8_t inb(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static void put(char c)
{
	while (!(inb(UART_LSR) & 0x20))
		;
	outb(UART, (uint8_t)c);
}

static void print(const char *text)
{
	while (*text)
		put(*text++);
}

static void print_number(uint32_t value)
{
	if (value >= 10)
		print_number(value / 10);
	put((char)('0' + value % 10));
}

static void check(uint32_t number, int good)
{
	if (good)
		return;
	print("check ");
	print_number(number);
	print(" failed\n");
	outb(EXIT_PORT, (uint8_t)number);
}

static void check_memory_map(const struct info *info)
{
	uint32_t at = info->mmap_addr, above_1m = 0;

	while (at < info->mmap_addr + info->mmap_length) {
		const struct range *range = (const struct range *)at;

		if (range->type == 1 && range->base_low == 0x100000)
			above_1m = range->length_low;
		at += range->size + 4;
	}
	check(7, above_1m / 1024 == info->mem_upper);
}

static void check_segments(void)
{
	uint32_t cr0, flags;
	uint16_t cs, ds;

	__asm__ volatile("mov %%cr0, %0" : "=r"(cr0));
	__asm__ volatile("pushfl; popl %0" : "=r"(flags));
	__asm__ volatile("mov %%cs, %0; mov %%ds, %1" : "=r"(cs), "=r"(ds));
	check(8, (cr0 & 1) && !(cr0 & 0x80000000u));
	check(9, !(flags & 0x20200)); /* VM, IF */
	check(10, cs != 0 && ds != 0 && cs != ds);
}

static void print_module(const struct module *module)
{
	print("module ");
	print((const char *)module->string);
	print(": ");
	for (uint32_t at = module->start; at < module->end; at++)
		put(*(const char *)at);
	check(11, !(module->start & 4095));
}

void guest_main(uint32_t magic, const struct info *info)
{
	const struct module *modules;

	check(1, magic == 0x2badb002);
	check(2, (info->flags & 0x24d) == 0x24d); /* memory, command line, modules, map, loader name */
	check(3, info->mem_lower == 639 || info->mem_lower == 640);
	check(4, info->mem_upper >= 1024);
	for (uint32_t i = 0; i < 256; i++)
		check(5, zeroed[i] == 0);
	check(6, *(const char *)info->boot_loader_name != '\0');
	check_memory_map(info);
	check_segments();

	print("multiboot by ");
	print((const char *)info->boot_loader_name);
	print("\ncommand line: ");
	print((const char *)info->cmdline);
	print("\n");
	modules = (const struct module *)info->mods_addr;
	for (uint32_t i = 0; i < info->mods_count; i++)
		print_module(&modules[i]);
	print("upper memory: ");
	print_number(info->mem_upper);
	print(" KiB\n");
	outb(EXIT_PORT, 0);
}
