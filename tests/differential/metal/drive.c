/* SPDX-License-Identifier: Apache-2.0 */
/* Makes a guest, runs it on one side to its end, and prints what happened. */
#include "both.h"
#include "theirs.h"

#define RUNS 5000u
#define EXITS 60u
#define TRAPS 3u /* one that comes again and again ends the guest */
#define PTE (UINT64_C(7))

uint8_t *drive_ram;
uint64_t drive_root;
static struct x86vcpu_nested_tables tables;

/* The extension, without asking either library. */
bool drive_is_svm(void)
{
	uint32_t a = 0x80000001, b, c = 0, d;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	return c >> 2 & 1;
}

/* ---- The guest's memory ---------------------------------------------------------------------------------- */

static void put64(uint64_t gpa, uint64_t value)
{
	memcpy(drive_ram + gpa, &value, 8);
}

/* Code is written with VMCALL; AMD's VMMCALL has another last byte. */
static void patch_calls(uint64_t gpa, uint64_t length)
{
	uint8_t *code = drive_ram + gpa;

	if (!drive_is_svm())
		return;
	for (uint64_t i = 0; i + 2 < length; i++)
		if (code[i] == 0x0f && code[i + 1] == 0x01 && code[i + 2] == 0xc1)
			code[i + 2] = 0xd9;
}

static void build_gdt(void)
{
	static const uint64_t descriptors[] = {
		[1] = 0x00af9b000000ffff, /* 64-bit code */
		[2] = 0x00cf93000000ffff, /* flat data */
		[3] = 0x00affb000000ffff, /* the same for user mode */
		[4] = 0x00cff3000000ffff,
		[7] = 0x00cf9b000000ffff, /* 32-bit code */
	};

	memcpy(drive_ram + LAYOUT_GDT, descriptors, sizeof(descriptors));
	put64(LAYOUT_GDTR, (uint64_t)LAYOUT_GDT << 16 | (sizeof(descriptors) - 1));
}

/* One to one, 4 GiB in pages of 2 MiB. */
static void build_page_tables(void)
{
	put64(LAYOUT_PML4, LAYOUT_PDPT | PTE);
	for (uint64_t i = 0; i < 4; i++)
		put64(LAYOUT_PDPT + 8 * i, (LAYOUT_PD + 4096 * i) | PTE);
	for (uint64_t i = 0; i < 2048; i++)
		put64(LAYOUT_PD + 8 * i, i << 21 | 0x80 | PTE);
}

/* Each vector of the real-mode table tells the host: mov eax, CALL_TRAP; mov edi, vector; vmcall; iret. */
static void build_handlers(void)
{
	for (uint32_t vector = 0; vector < 256; vector++) {
		uint8_t *code = drive_ram + LAYOUT_HANDLERS + vector * 16;
		const uint8_t text[16] = {0x66, 0xb8, CALL_TRAP & 0xff, CALL_TRAP >> 8 & 0xff, CALL_TRAP >> 16 & 0xff,
					  CALL_TRAP >> 24, 0x66, 0xbf, (uint8_t)vector, 0, 0, 0, 0x0f, 0x01, 0xc1, 0xcf};
		const uint32_t entry = LAYOUT_HANDLERS + vector * 16;

		memcpy(code, text, sizeof(text));
		memcpy(drive_ram + vector * 4, &entry, 4);
	}
	patch_calls(LAYOUT_HANDLERS, 256 * 16);
}

static void build_memory(const struct guest_program *program)
{
	const uint64_t length = (uint64_t)(program->end - program->begin);

	drive_ram = (uint8_t *)frame_alloc(LAYOUT_RAM / 4096, 0x200000);
	CHECK(drive_ram && length <= 0x2000);
	memset(drive_ram, 0, LAYOUT_RAM);
	build_gdt();
	build_page_tables();
	build_handlers();
	memcpy(drive_ram + LAYOUT_CODE, program->begin, length);
	patch_calls(LAYOUT_CODE, length);
}

static void build_nested_tables(uint64_t apic_page)
{
	const uint32_t all = X86VCPU_NESTED_READ | X86VCPU_NESTED_WRITE | X86VCPU_NESTED_EXECUTE;
	const uint32_t format = drive_is_svm() ? X86VCPU_NESTED_NPT : X86VCPU_NESTED_EPT;

	tables.size = sizeof(tables);
	CHECK_OK(x86vcpu_nested_init(&tables, &platform_host_ops, NULL, format, 4, 0));
	CHECK_OK(x86vcpu_nested_map(&tables, 0, (uint64_t)drive_ram, LAYOUT_RAM, all, X86VCPU_MEMORY_WB));
	if (apic_page)
		CHECK_OK(x86vcpu_nested_map(&tables, 0xfee00000, apic_page, 4096, all, X86VCPU_MEMORY_WB));
	drive_root = tables.root_hpa;
}

/* ---- Running ------------------------------------------------------------------------------------------------- */

/* Exits without a meaning for the VMM: time slices, host interrupts, what the library has handled. */
static bool is_event(uint32_t kind)
{
	return kind != X86VCPU_EXIT_PREEMPTION_TIMER && kind != X86VCPU_EXIT_NOTHING;
}

/* As a VMM without devices answers. True: the guest goes on. */
static bool handle(const struct side *side, const struct exit_words *exit)
{
	static unsigned traps;

	switch (exit->kind) {
	case X86VCPU_EXIT_HYPERCALL:
		if (exit->words[0] == CALL_TRAP && ++traps == TRAPS)
			return false;
		return exit->words[0] != CALL_END;
	case X86VCPU_EXIT_PORT_IO_READ:
	case X86VCPU_EXIT_MMIO_READ:
		side->answer(exit, 0x1122334455667788);
		return true;
	case X86VCPU_EXIT_PORT_IO_STRING:
		return side->complete_string() == 0;
	case X86VCPU_EXIT_PORT_IO_WRITE:
	case X86VCPU_EXIT_MMIO_WRITE:
	case X86VCPU_EXIT_MSR_READ:
	case X86VCPU_EXIT_MSR_WRITE:
	case X86VCPU_EXIT_INTERRUPT_END:
		return true;
	default:
		return false;
	}
}

static bool step(const struct side *side, const struct guest_program *program, unsigned *events)
{
	struct exit_words exit;
	const int32_t status = side->run(&exit);

	if (status) {
		console_printf("T error %d\n", status);
		return false;
	}
	if (!is_event(exit.kind))
		return true;
	if (!program->quiet)
		trace_exit(side, &exit);
	if (++*events == 1 && program->inject)
		console_printf("T inject %d\n", side->inject(program->inject));
	if (*events == EXITS && !program->quiet) {
		console_printf("T error 99\n");
		return false;
	}
	return handle(side, &exit);
}

/* TSC ticks of everything from the first hypercall to the last: instructions, where the emulator counts them. */
static void drive_quietly(const struct side *side, const struct guest_program *program)
{
	unsigned events = 0;
	uint64_t begin;

	while (events == 0)
		CHECK(step(side, program, &events));
	begin = rdtsc();
	for (unsigned i = 0; i < 100 * RUNS; i++)
		if (!step(side, program, &events))
			break;
	console_printf("T ticks %lu\n", rdtsc() - begin);
}

void drive(const struct side *side, const struct guest_program *program)
{
	unsigned events = 0;
	uint64_t apic_page = 0;

	if (side == &theirs) {
		CHECK(theirs_initialize() == 0);
		apic_page = theirs_apic_access_page();
	}
	build_memory(program);
	build_nested_tables(apic_page);
	if (!program->quiet)
		host_paint_all();
	side->start(drive_root, drive_ram);
	if (program->quiet) {
		drive_quietly(side, program);
	} else {
		trace_host("before");
		for (unsigned i = 0; i < RUNS; i++)
			if (!step(side, program, &events))
				break;
	}
	console_printf("T end\n");
	side->stop();
}
