/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every register of the local APIC, at every offset and MSR, read and written in each of its modes, against one
 * table from the manual (SDM tables 12-1 and 12-6 with the figures of the registers).
 */
#include "guest.h"

static struct guest g;

#define APIC_AT 0x1f0000u /* a linear address that the guest's tables map to the local APIC */
#define APIC UINT64_C(0xfee00000)
#define APIC_BASE 0x1bu
#define EN 0x800u
#define EXTD 0x400u
#define VCPU 5u /* not the bootstrap processor */

enum { ID = 2, TPR = 8, PPR = 10, EOI = 11, LDR = 13, DFR = 14, SVR = 15, ISR = 16, TMR = 24, IRR = 32, ESR = 40,
       CMCI = 47, ICR = 48, ICR2 = 49, TIMER = 50, LVT_ERROR = 55, CURRENT = 57, SELF_IPI = 63, REGISTERS = 64 };

/* In xAPIC mode, and in x2APIC mode. What is neither R nor W in xAPIC mode is reserved there. */
enum { R = 1, W = 2, R2 = 4, W2 = 8, RW = R | W | R2 | W2 };

static const struct row {
	uint8_t first, last;
	uint8_t access;
	uint32_t kept;     /* bits that a write changes */
	uint64_t accepted; /* bits that are no #GP in x2APIC mode: those, and read-only ones */
} rows[] = {
	{ ID, ID, R | R2, 0, 0 },
	{ 0x03, 0x03, R | R2, 0, 0 }, /* version */
	{ TPR, TPR, RW, 0xff, 0xff },
	{ 0x09, 0x09, R, 0, 0 }, /* arbitration priority: not there, and yet not reserved */
	{ PPR, PPR, R | R2, 0, 0 },
	{ EOI, EOI, W | W2, 0, 0 },
	{ 0x0c, 0x0c, R, 0, 0 }, /* remote read: not there, and yet not reserved */
	{ LDR, LDR, R | W | R2, 0xff000000, 0 },
	{ DFR, DFR, R | W, 0xf0000000, 0 },
	{ SVR, SVR, RW, 0x1ff, 0x3ff }, /* bit 9: focus checking, without effect */
	{ ISR, IRR + 7, R | R2, 0, 0 },
	{ ESR, ESR, RW, 0, 0 },
	{ CMCI, CMCI, RW, 0x107ff, 0x117ff },
	{ ICR, ICR, RW, 0xccfff, UINT64_C(0xffffffff000cdfff) }, /* bit 12 is ignored in x2APIC mode */
	{ ICR2, ICR2, R | W, 0xff000000, 0 },
	{ TIMER, TIMER, RW, 0x700ff, 0x710ff },
	{ 0x33, 0x34, RW, 0x107ff, 0x117ff }, /* thermal sensor, performance counters */
	{ 0x35, 0x36, RW, 0x1a7ff, 0x1f7ff }, /* LINT0, LINT1 */
	{ LVT_ERROR, LVT_ERROR, RW, 0x100ff, 0x110ff },
	{ 0x38, 0x38, RW, 0xffffffff, 0xffffffff }, /* initial count */
	{ CURRENT, CURRENT, R | R2, 0, 0 },
	{ 0x3e, 0x3e, RW, 0xb, 0xb }, /* divide configuration */
	{ SELF_IPI, SELF_IPI, W2, 0, 0xff },
};

static const struct row *row_of(unsigned reg)
{
	static const struct row reserved;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (reg >= rows[i].first && reg <= rows[i].last)
			return &rows[i];
	return &reserved;
}

/* What the registers hold before each access: hardly anything is 0. The class in service is above TPR. */
static const uint32_t begin[REGISTERS] = {
	[0x03] = 0x60014, [TPR] = 0x23, [LDR] = 0x84000000, [DFR] = 0x0fffffff, [SVR] = 0x1a7,
	[ISR] = 0x00110000, [ISR + 1] = 0x80000001, [ISR + 4] = 0x00400000, [ISR + 6] = 0x00000100,
	[TMR] = 0x00100000, [TMR + 2] = 0x11111111, [TMR + 7] = 0xf0000000,
	[IRR] = 0x80010000, [IRR + 2] = 0x12345678, [IRR + 4] = 0x9abcdef0, [IRR + 6] = 0x1fffffff,
	[CMCI] = 0x000f1, [ICR] = 0x000c40f7, [ICR2] = 0x3c000000, [TIMER] = 0x300f2, [0x33] = 0x000f3,
	[0x34] = 0x004f4, [0x35] = 0x00700, [0x36] = 0x02400, [LVT_ERROR] = 0x100f5, [0x3e] = 0x9,
};

static uint32_t image[REGISTERS]; /* what they should hold */

/* ---- The guest: makes one access and tells ------------------------------------------------------------------- */

enum { READ_MEMORY, WRITE_MEMORY, READ_MSR, WRITE_MSR };

/* RBP says which; R9 is the address or MSR, R10 the value. The value read comes in RDI. */
GUEST_CODE_BLOB(table_code, 64,
	"1: mov $1, %eax; vmcall; mov %r9, %rcx; mov %r10, %rax; mov %r10, %rdx; shr $32, %rdx;"
	"cmp $1, %ebp; je 2f; cmp $2, %ebp; je 3f; ja 4f;"
	".globl table_rm; table_rm: mov (%rcx), %eax; mov %rax, %rdi; jmp 1b;"
	".globl table_wm; 2: table_wm: mov %eax, (%rcx); nop; jmp 1b;"
	".globl table_rmsr; 3: table_rmsr: rdmsr; shl $32, %rdx; or %rdx, %rax; mov %rax, %rdi; jmp 1b;"
	".globl table_wmsr; 4: table_wmsr: wrmsr; jmp 1b");
extern const uint8_t table_rm[], table_wm[], table_rmsr[], table_wmsr[];

static uint64_t access_at(unsigned access)
{
	const uint8_t *const labels[] = { table_rm, table_wm, table_rmsr, table_wmsr };

	return guest_label(&table_code, labels[access]);
}

static void begin_access(unsigned access, uint64_t address, uint64_t value)
{
	guest_set_reg(&g, RBP, access);
	guest_set_reg(&g, R9, address);
	guest_set_reg(&g, R10, value);
	guest_set_reg(&g, RDI, UINT64_C(0xdeadbeefdeadbeef));
}

static uint64_t make_access(unsigned access, uint64_t address, uint64_t value)
{
	begin_access(access, address, value);
	guest_run_call(&g, 1);
	return guest_reg(&g, RDI);
}

static void expect_gp(unsigned access, uint64_t msr, uint64_t value)
{
	begin_access(access, msr, value);
	guest_run_trap(&g, 13, 0, access_at(access));
	guest_return_to(&g, access_at(access) + 2);
	guest_run_call(&g, 1);
}

/* Both MOVs are two bytes long. */
static void expect_no_apic(unsigned access, unsigned offset)
{
	struct x86vcpu_state state;

	begin_access(access, APIC_AT + offset, UINT32_MAX);
	guest_run_until(&g, X86VCPU_EXIT_NESTED_PAGE_FAULT);
	CHECK_EQ(g.exit.u.nested_page_fault.gpa, APIC + offset);
	CHECK_EQ(g.exit.u.nested_page_fault.access & X86VCPU_ACCESS_WRITE,
		 access == WRITE_MEMORY ? X86VCPU_ACCESS_WRITE : 0);
	guest_state(&g, &state);
	CHECK_EQ(state.rip, access_at(access));
	state.rip += 2;
	CHECK_OK(x86vcpu_set_state(g.vcpu, X86VCPU_STATE_RIP, &state));
	guest_run_call(&g, 1);
}

/* ---- The registers: as they begin, and what becomes of them ---------------------------------------------------- */

static bool x2apic;
static struct host_snapshot host_before;

static void boot(uint64_t mode)
{
	guest_init(&g, VCPU);
	guest_start(&g, GUEST_LONG, &table_code);
	guest_set_pte(&g, APIC_AT, APIC | PTE_P | PTE_W);
	guest_run_call(&g, 1);
	if (mode != EN)
		make_access(WRITE_MSR, APIC_BASE, APIC | mode);
	CHECK_EQ(make_access(READ_MSR, APIC_BASE, 0), APIC | mode);
	x2apic = mode & EXTD;
	host_snapshot(&host_before);
}

static void set_begin(void)
{
	struct x86vcpu_apic_state state = { .size = sizeof(state) };

	CHECK_OK(x86vcpu_get_apic(g.vcpu, &state));
	state.tsc_deadline = state.timer_remaining = 0;
	memcpy(image, begin, sizeof(image));
	memcpy(state.registers, begin, sizeof(image));
	CHECK_OK(x86vcpu_set_apic(g.vcpu, &state));
	image[ID] = x2apic ? VCPU : VCPU << 24;
	if (x2apic)
		image[LDR] = 1u << VCPU; /* SDM 12.12.10.2 */
	if (x2apic)
		image[DFR] = 0;
}

static int highest(const uint32_t *set)
{
	int vector = 255;

	while (vector >= 0 && !(set[vector / 32] >> vector % 32 & 1))
		vector--;
	return vector;
}

/* SDM 12.8.3.1. */
static uint32_t processor_priority(void)
{
	const int served = highest(image + ISR);
	const uint32_t class = served < 0 ? 0 : (uint32_t)served >> 4;

	return image[TPR] >> 4 >= class ? image[TPR] : class << 4;
}

static void check_registers(void)
{
	struct x86vcpu_apic_state state = { .size = sizeof(state) };

	image[PPR] = processor_priority();
	CHECK_OK(x86vcpu_get_apic(g.vcpu, &state));
	for (unsigned reg = 0; reg < REGISTERS; reg++)
		if (reg != CURRENT && state.registers[reg] != image[reg])
			FAIL("register %x is %x, not %x", reg, state.registers[reg], image[reg]);
}

/* Everything is as it should be, and so is what ESR tells after it was written. */
static void check_image(uint32_t error)
{
	uint64_t esr;

	check_registers();
	make_access(x2apic ? WRITE_MSR : WRITE_MEMORY, x2apic ? 0x800 + ESR : APIC_AT + ESR * 16, 0);
	esr = make_access(x2apic ? READ_MSR : READ_MEMORY, x2apic ? 0x800 + ESR : APIC_AT + ESR * 16, 0);
	CHECK_EQ(esr, error);
}

static void set_bit(uint32_t *set, unsigned vector, bool value)
{
	set[vector / 32] &= ~(1u << vector % 32);
	set[vector / 32] |= (uint32_t)value << vector % 32;
}

/* What a write that is allowed does. */
static void write_image(unsigned reg, uint64_t value)
{
	uint32_t kept = row_of(reg)->kept;

	if (reg == TIMER && (value & 0x60000) == 0x60000)
		value &= ~UINT64_C(0x40000); /* a reserved mode; the manual does not say what becomes of it */
	if (reg == ICR && x2apic)
		image[ICR2] = (uint32_t)(value >> 32);
	image[reg] = (image[reg] & ~kept) | ((uint32_t)value & kept);
	if (reg == SVR && !(value & 0x100)) /* SDM 12.4.7.2 */
		for (unsigned lvt = CMCI; lvt <= LVT_ERROR; lvt += lvt == CMCI ? TIMER - CMCI : 1)
			image[lvt] |= 0x10000;
	if (reg == EOI)
		set_bit(image + ISR, (unsigned)highest(image + ISR), false);
	if (reg == SELF_IPI && value >= 16) {
		set_bit(image + IRR, (unsigned)value, true);
		set_bit(image + TMR, (unsigned)value, false);
	}
}

/* SDM 12.5.3: illegal vectors that are sent, and registers that are not there. */
static uint32_t error_of_write(unsigned reg, uint64_t value)
{
	if ((reg == ICR && (value >> 8 & 7) < 2 && (value & 0xff) < 16) || (reg == SELF_IPI && value < 16 && x2apic))
		return 0x20;
	return !x2apic && !(row_of(reg)->access & (R | W)) ? 0x80 : 0;
}

/* ---- xAPIC mode ------------------------------------------------------------------------------------------------ */

static void read_by_memory(unsigned reg)
{
	set_begin();
	image[PPR] = processor_priority();
	CHECK_EQ(make_access(READ_MEMORY, APIC_AT + reg * 16, 0), reg < REGISTERS ? image[reg] : 0);
	check_image(row_of(reg)->access & (R | W) ? 0 : 0x80);
}

static void write_by_memory(unsigned reg, uint32_t value)
{
	set_begin();
	make_access(WRITE_MEMORY, APIC_AT + reg * 16, value);
	if (row_of(reg)->access & W)
		write_image(reg, value);
	check_image(error_of_write(reg, value));
}

METAL_TEST(xapic_memory, "apic_table.by_memory_in_xapic_mode")
{
	static const uint32_t values[] = { 0, UINT32_MAX, 0x55555555, 0xaaaaaaaa };

	boot(EN);
	for (unsigned reg = 0; reg < 256; reg++) {
		read_by_memory(reg);
		for (unsigned i = 0; i < 4; i++)
			write_by_memory(reg, values[i]);
	}
	host_check_unchanged(&host_before);
}

/* Not one of the 256 can be reached, and not one bit of the APIC changes. */
static void every_msr_is_gp(void)
{
	for (uint32_t msr = 0x800; msr < 0x900; msr++) {
		expect_gp(READ_MSR, msr, 0);
		expect_gp(WRITE_MSR, msr, 0);
	}
}

METAL_TEST(xapic_msr, "apic_table.by_msr_in_xapic_mode")
{
	boot(EN);
	set_begin();
	every_msr_is_gp();
	check_image(0);
}

/* ---- x2APIC mode ----------------------------------------------------------------------------------------------- */

static void read_by_msr(unsigned reg)
{
	uint64_t value;

	set_begin();
	image[PPR] = processor_priority();
	if (!(row_of(reg)->access & R2)) {
		expect_gp(READ_MSR, 0x800 + reg, 0);
	} else {
		value = image[reg] | (reg == ICR ? (uint64_t)image[ICR2] << 32 : 0);
		CHECK_EQ(make_access(READ_MSR, 0x800 + reg, 0), value);
	}
	check_image(0);
}

static bool is_refused(unsigned reg, uint64_t value)
{
	const struct row *row = row_of(reg);

	return !(row->access & W2) || value & ~row->accepted || (reg == TIMER && (value & 0x60000) == 0x60000);
}

static void write_by_msr(unsigned reg, uint64_t value)
{
	if (is_refused(reg, value)) {
		expect_gp(WRITE_MSR, 0x800 + reg, value);
		check_registers();
		return;
	}
	set_begin();
	make_access(WRITE_MSR, 0x800 + reg, value);
	write_image(reg, value);
	check_image(error_of_write(reg, value));
	set_begin();
}

/* Each bit alone where some can be written: those that cannot are #GP. */
METAL_TEST(x2apic_msr, "apic_table.by_msr_in_x2apic_mode")
{
	boot(EN | EXTD);
	for (unsigned reg = 0; reg < 256; reg++) {
		read_by_msr(reg);
		write_by_msr(reg, 0);
		write_by_msr(reg, row_of(reg)->accepted);
		write_by_msr(reg, UINT64_MAX);
		for (unsigned bit = 0; bit < 64 && row_of(reg)->access & W2; bit++)
			write_by_msr(reg, UINT64_C(1) << bit);
		check_image(0);
	}
	host_check_unchanged(&host_before);
}

static void no_offset_is_the_apic(void)
{
	for (unsigned offset = 0; offset < 0x1000; offset += 16) {
		expect_no_apic(READ_MEMORY, offset);
		expect_no_apic(WRITE_MEMORY, offset);
	}
}

METAL_TEST(x2apic_memory, "apic_table.by_memory_in_x2apic_mode")
{
	boot(EN | EXTD);
	set_begin();
	no_offset_is_the_apic();
	check_image(0);
}

/* ---- Disabled ------------------------------------------------------------------------------------------------- */

/* What comes back when it is enabled again is a reset APIC (SDM 12.4.3, 12.4.7.1). */
static void expect_reset(void)
{
	for (unsigned reg = 0; reg < REGISTERS; reg++) {
		const bool lvt = reg == CMCI || (reg >= TIMER && reg <= LVT_ERROR);
		const uint32_t value = reg == ID ? VCPU << 24 : reg == 3 ? 0x60014 : reg == DFR ? UINT32_MAX :
				       reg == SVR ? 0xff : lvt ? 0x10000 : 0;

		if (row_of(reg)->access & R)
			CHECK_EQ(make_access(READ_MEMORY, APIC_AT + reg * 16, 0), value);
	}
}

METAL_TEST(disabled, "apic_table.disabled_by_apic_base")
{
	boot(EN);
	set_begin();
	make_access(WRITE_MSR, APIC_BASE, APIC);
	every_msr_is_gp();
	no_offset_is_the_apic();
	expect_gp(WRITE_MSR, APIC_BASE, APIC | EN | EXTD);
	make_access(WRITE_MSR, APIC_BASE, APIC | EN);
	expect_reset();
}

/* From x2APIC mode the way to xAPIC mode leads through there (SDM 12.12.5). */
METAL_TEST(disabled_x2apic, "apic_table.disabled_from_x2apic_mode")
{
	boot(EN | EXTD);
	set_begin();
	expect_gp(WRITE_MSR, APIC_BASE, APIC | EN);
	expect_gp(WRITE_MSR, APIC_BASE, APIC | EXTD);
	make_access(WRITE_MSR, APIC_BASE, APIC);
	every_msr_is_gp();
	no_offset_is_the_apic();
	make_access(WRITE_MSR, APIC_BASE, APIC | EN);
	expect_reset();
}

/* ---- The VMM's page -------------------------------------------------------------------------------------------- */

GUEST_CODE_BLOB(page_code, 32,
	"mov $0xfee00030, %ebx; mov (%ebx), %esi; mov $0x1b, %ecx; rdmsr; or $0xc00, %eax; wrmsr;"
	"mov (%ebx), %edi; mov %edi, 0x50(%ebx); and $0xfffff3ff, %eax; wrmsr; mov (%ebx), %ebp; mov $1, %eax; vmcall");

static void expect_read(uint64_t value)
{
	guest_run_until(&g, X86VCPU_EXIT_MMIO_READ);
	CHECK_EQ(g.exit.u.mmio.gpa, APIC + 0x30);
	CHECK_OK(x86vcpu_complete_read(g.vcpu, value));
}

/* An MMIO range there is the VMM's whenever the APIC does not answer. */
METAL_TEST(vmm_page, "apic_table.page_of_the_vmm")
{
	static const struct x86vcpu_mmio_range range = {.base = APIC, .size = 0x1000};

	guest_init(&g, 0);
	g.config.mmio = &range;
	g.config.mmio_count = 1;
	guest_start(&g, GUEST_PROTECTED, &page_code);
	expect_read(UINT32_MAX); /* in x2APIC mode */
	CHECK_EQ(guest_reg(&g, RSI), 0x60014); /* its version, before */
	guest_run_until(&g, X86VCPU_EXIT_MMIO_WRITE);
	CHECK_EQ(g.exit.u.mmio.gpa, APIC + 0x80);
	CHECK_EQ(g.exit.u.mmio.data, UINT32_MAX);
	expect_read(0x12345678); /* disabled */
	guest_run_call(&g, 1);
	CHECK_EQ(guest_reg(&g, RDI), UINT32_MAX);
	CHECK_EQ(guest_reg(&g, RBP), 0x12345678);
}
