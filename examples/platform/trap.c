/* SPDX-License-Identifier: Apache-2.0 */
/* GDT, TSS and IDT of each CPU, exceptions, interrupts, and the local APIC in xAPIC mode. */
#include "platform.h"
#include "internal.h"

#define IST_STACK_SIZE 8192u
#define VECTOR_NMI 2u

struct tss {
	uint32_t reserved0;
	uint64_t rsp[3];
	uint64_t reserved1;
	uint64_t ist[7];
	uint64_t reserved2;
	uint16_t reserved3, io_map;
} __attribute__((packed));
_Static_assert(sizeof(struct tss) == 104, "SDM figure 8-11");

struct gate {
	uint16_t offset_low, selector;
	uint8_t ist, type;
	uint16_t offset_mid;
	uint32_t offset_high, reserved;
};
_Static_assert(sizeof(struct gate) == 16, "SDM figure 6-8");

struct table_register {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

/* What may hit at any instruction gets a stack of its own. */
static const struct {
	uint8_t vector, ist;
} own_stack[] = { { 2, 1 }, { 8, 2 }, { 18, 3 } };

static struct tss tss[PLATFORM_CPUS];
static uint8_t ist_stacks[PLATFORM_CPUS][3][IST_STACK_SIZE] __attribute__((aligned(16)));
static struct gate idt[256];
static trap_handler handlers[256];

static uint8_t ist_of(unsigned vector)
{
	for (size_t i = 0; i < sizeof(own_stack) / sizeof(own_stack[0]); i++)
		if (own_stack[i].vector == vector)
			return own_stack[i].ist;
	return 0;
}

static void build_idt(void)
{
	for (unsigned v = 0; v < 256; v++) {
		const uint64_t entry = (uint64_t)trap_entries + v * 16;

		idt[v] = (struct gate){
			.offset_low = (uint16_t)entry,
			.selector = GDT_CODE64,
			.ist = ist_of(v),
			.type = 0x8e, /* present, interrupt gate */
			.offset_mid = (uint16_t)(entry >> 16),
			.offset_high = (uint32_t)(entry >> 32),
		};
	}
}

static uint16_t add_tss(unsigned index)
{
	const uint64_t base = (uint64_t)&tss[index];
	const unsigned selector = GDT_TSS + index * 16;

	for (unsigned i = 0; i < 3; i++)
		tss[index].ist[i] = (uint64_t)ist_stacks[index][i] + IST_STACK_SIZE;
	tss[index].io_map = sizeof(struct tss);
	gdt[selector / 8] = (sizeof(struct tss) - 1) | (base & 0xffffff) << 16 | UINT64_C(0x89) << 40 |
			    (base >> 24 & 0xff) << 56;
	gdt[selector / 8 + 1] = base >> 32;
	return (uint16_t)selector;
}

void trap_init_cpu(unsigned index)
{
	const struct table_register gdtr = {
		.limit = (uint16_t)((uint64_t)gdt_end - (uint64_t)gdt - 1), .base = (uint64_t)gdt
	};
	const struct table_register idtr = { .limit = sizeof(idt) - 1, .base = (uint64_t)idt };

	if (index == 0)
		build_idt();
	gdt_load(&gdtr, add_tss(index));
	__asm__ volatile("lidt %0" : : "m"(idtr));
	lapic_write(LAPIC_SVR, 0x100 | SPURIOUS_VECTOR);
}

unsigned cpu_index(void)
{
	uint16_t tr;

	__asm__ volatile("str %0" : "=r"(tr));
	return (tr - GDT_TSS) / 16u;
}

void trap_set_handler(unsigned vector, trap_handler handler)
{
	handlers[vector & 255] = handler;
}

static uint64_t read_cr(unsigned n)
{
	uint64_t v = 0;

	if (n == 0)
		__asm__ volatile("movq %%cr0, %0" : "=r"(v));
	else if (n == 2)
		__asm__ volatile("movq %%cr2, %0" : "=r"(v));
	else if (n == 3)
		__asm__ volatile("movq %%cr3, %0" : "=r"(v));
	else
		__asm__ volatile("movq %%cr4, %0" : "=r"(v));
	return v;
}

static _Noreturn void report(const struct trap_frame *f)
{
	console_printf("\nhost fault: vector %lu error %lx cpu %u\n", f->vector, f->error_code, cpu_index());
	console_printf("host fault: rip %016lx cs %lx rflags %lx rsp %016lx ss %lx\n", f->rip, f->cs, f->rflags,
		       f->rsp, f->ss);
	console_printf("host fault: rax %016lx rbx %016lx rcx %016lx rdx %016lx\n", f->rax, f->rbx, f->rcx,
		       f->rdx);
	console_printf("host fault: rsi %016lx rdi %016lx rbp %016lx r8  %016lx\n", f->rsi, f->rdi, f->rbp,
		       f->r8);
	console_printf("host fault: cr0 %lx cr2 %lx cr3 %lx cr4 %lx\n", read_cr(0), read_cr(2), read_cr(3),
		       read_cr(4));
	platform_exit(false);
}

static void acknowledge(unsigned vector)
{
	if (vector >= 32 && vector != SPURIOUS_VECTOR)
		lapic_write(LAPIC_EOI, 0);
}

/* Instructions that may fault, and where execution continues then. */
static const struct {
	const char *instruction, *after;
} may_fault[] = {
	{ rdmsr_safe_insn, rdmsr_safe_fault },
	{ vmxoff_safe_insn, vmxoff_safe_fault },
};

static bool continue_safely(struct trap_frame *frame)
{
	for (size_t i = 0; i < sizeof(may_fault) / sizeof(may_fault[0]); i++)
		if (frame->rip == (uint64_t)may_fault[i].instruction && frame->vector < 32) {
			frame->rip = (uint64_t)may_fault[i].after;
			return true;
		}
	return false;
}

void trap_enter(struct trap_frame *frame)
{
	const unsigned vector = frame->vector & 255;

	if (continue_safely(frame))
		return;
	if (vector == VECTOR_NMI)
		leave_on_nmi();
	if (handlers[vector])
		handlers[vector](frame);
	else if (vector < 32)
		report(frame);
	acknowledge(vector);
}

void trap_dispatch(unsigned vector)
{
	struct trap_frame frame = { .vector = vector & 255 };

	if (handlers[vector & 255])
		handlers[vector & 255](&frame);
	acknowledge(vector & 255);
}
