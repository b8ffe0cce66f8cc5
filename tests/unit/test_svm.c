/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The SVM backend on a fake CPU: what becomes of exits, those that no emulator produces among them. Codes
 * and bits are numbers of the manual: APM Vol. 2, 15 and appendices B and C.
 */
#include <check.h>
#include <string.h>

#include "fake_cpu.h"
#include "svm_machine.h"

Suite *svm_suite(void);

/* ---- Control registers -------------------------------------------------------------------------------------- */

#define ASSISTS (FEATURE_NEXT_RIP | FEATURE_DECODE_ASSISTS)

/* Register `number` has `value`, the others what #GP would refuse. */
static void set_register(unsigned number, uint64_t value)
{
	for (unsigned i = 0; i < 16; i++)
		guest_set_gpr(&vcpu.guest, i, UINT64_MAX);
	guest_set_gpr(&vcpu.guest, number, value);
}

/* Without a VMM that has the pin an x87 error with CR0.NE = 0 is #MF, and RIP stays. */
START_TEST(x87_error_is_mf)
{
	const struct fake_exit exit = {.code = 0x7e};

	machine_start_long(ASSISTS);
	machine_run(&exit, 1);
	ck_assert_uint_eq(entry_count, 2);
	ck_assert_uint_eq(entries[1].event, 0x80000310);
	ck_assert_uint_eq(entries[1].rip, CODE_AT);
}
END_TEST

/* APM 15.8.1: EXITINFO1 tells the register; nothing is decoded, there is no code. */
START_TEST(mov_to_cr_uses_the_register_of_exitinfo1)
{
	const bool cr4 = _i & 16;
	const struct fake_exit exit = {
		.code = cr4 ? 0x14 : 0x10, .info1 = BIT(63) | (_i & 15), .next_rip = CODE_AT + 3
	};

	machine_start_long(ASSISTS);
	set_register(_i & 15, cr4 ? 0xa0 : 0x80010019);
	machine_run(&exit, 1);
	ck_assert_uint_eq(entry_count, 2);
	ck_assert_uint_eq(entries[1].event, 0);
	ck_assert_uint_eq(entries[1].rip, CODE_AT + 3);
	ck_assert_uint_eq(entries[1].cr4, cr4 ? 0xa0 : 0x20);
	ck_assert_uint_eq(entries[1].cr0, cr4 ? 0x80010011 : 0x80010019);
}
END_TEST

/* The same by decoding. The REX prefix that R8 needs counts, and so do others; mod is ignored. */
static const struct {
	uint8_t bytes[6], length, reg;
} movs[] = {
	{{0x0f, 0x22, 0xe0}, 3, 0},
	{{0x0f, 0x22, 0xe4}, 3, 4},
	{{0x41, 0x0f, 0x22, 0xe0}, 4, 8},
	{{0x41, 0x0f, 0x22, 0xe4}, 4, 12},
	{{0x49, 0x0f, 0x22, 0xe7}, 4, 15},
	{{0x66, 0x0f, 0x22, 0xe3}, 4, 3},
	{{0x2e, 0x66, 0x41, 0x0f, 0x22, 0xe1}, 6, 9},
	{{0x0f, 0x22, 0x26}, 3, 6},
};

/* Without decode assists EXITINFO1 means nothing; with them, but without a next RIP, the length is missing. */
START_TEST(mov_to_cr_is_decoded)
{
	static const uint32_t features[] = {0, FEATURE_NEXT_RIP, FEATURE_DECODE_ASSISTS};
	const uint32_t has = features[_i / COUNT(movs)];
	const int row = _i % COUNT(movs);
	const struct fake_exit exit = {
		.code = 0x14, .info1 = BIT(63) | (has == FEATURE_DECODE_ASSISTS ? movs[row].reg : 5),
		.next_rip = CODE_AT + movs[row].length,
	};

	machine_start_long(has);
	machine_code(movs[row].bytes, movs[row].length);
	set_register(movs[row].reg, 0xa0);
	machine_run(&exit, 1);
	ck_assert_uint_eq(entries[1].event, 0);
	ck_assert_uint_eq(entries[1].rip, CODE_AT + movs[row].length);
	ck_assert_uint_eq(entries[1].cr4, 0xa0);
}
END_TEST

/* Bit 63 clear: CLTS or LMSW (APM 15.8.1). The MOV among them was changed after the CPU fetched it. */
static const struct {
	uint8_t bytes[4], length;
	uint64_t before, after;
} cr0_writes[] = {
	{{0x0f, 0x06}, 2, 0x80010019, 0x80010011},
	{{0x0f, 0x01, 0xf0}, 3, 0x80010011, 0x8001001b},       /* LMSW %ax */
	{{0x0f, 0x01, 0x30}, 3, 0x80010011, 0x80010013},       /* LMSW (%rax) */
	{{0x41, 0x0f, 0x01, 0xf0}, 4, 0x80010011, 0x8001001d}, /* LMSW %r8w */
};

START_TEST(clts_and_lmsw_are_decoded)
{
	const struct fake_exit exit = {.code = 0x10, .info1 = 7, .next_rip = CODE_AT + 9};

	machine_start_long(_i & 1 ? ASSISTS : 0);
	machine_code(cr0_writes[_i / 2].bytes, 4);
	vcpu.vmcb->cr0 = cr0_writes[_i / 2].before;
	vcpu.guest.regs.rax = 0x200a;
	vcpu.guest.regs.r8 = 0xd;
	memory[0x200a] = 2;
	machine_run(&exit, 1);
	ck_assert_uint_eq(entries[1].cr0, cr0_writes[_i / 2].after);
	ck_assert_uint_eq(entries[1].rip, CODE_AT + cr0_writes[_i / 2].length);
}
END_TEST

/* CD and NW stay out of the VMCB; the guest's reads exit only while they differ. */
START_TEST(cache_disable_is_shadowed)
{
	static const uint8_t from_cr0[] = {0x0f, 0x20, 0xc3}; /* MOV %cr0, %ebx */
	const struct fake_exit read = {.code = 0x00};

	machine_start(0);
	machine_code(from_cr0, sizeof(from_cr0));
	machine_run(&read, 1);
	ck_assert_uint_eq(entries[0].cr0, 0x10);
	ck_assert_uint_eq(entries[0].cr_read & 1, 1);
	ck_assert_uint_eq(vcpu.guest.regs.rbx, 0x60000010);
	ck_assert_uint_eq(entries[1].rip, CODE_AT + 3);
	guest_set(&vcpu.guest, G_CR0, 0x11);
	machine_run(NULL, 0);
	ck_assert_uint_eq(entries[0].cr0, 0x11);
	ck_assert_uint_eq(entries[0].cr_read & 1, 0);
}
END_TEST

/* Bit 6, MCE: the CPU has the host's, the guest reads its own. */
START_TEST(machine_check_enable_is_the_hosts)
{
	const uint64_t of_host = _i & 1 ? 0x40 : 0, of_guest = _i & 2 ? 0x40 : 0;

	machine_start(0);
	fake_cpu.cr4 = 0x42620 | of_host;
	guest_set(&vcpu.guest, G_CR4, 0x20 | of_guest);
	machine_run(NULL, 0);
	ck_assert_uint_eq(entries[0].cr4, 0x20 | of_host);
	ck_assert_uint_eq(guest_get(&vcpu.guest, G_CR4), 0x20 | of_guest);
}
END_TEST

/* The host may change it between two runs. */
START_TEST(machine_check_enable_follows_the_host)
{
	machine_start(0);
	guest_set(&vcpu.guest, G_CR4, 0x60);
	machine_run(NULL, 0);
	ck_assert_uint_eq(entries[0].cr4, 0x20);
	fake_cpu.cr4 |= 0x40;
	machine_run(NULL, 0);
	ck_assert_uint_eq(entries[0].cr4, 0x60);
	ck_assert_uint_eq(entries[0].clean & BIT(5), 0); /* CR0, CR3, CR4, EFER */
	fake_cpu.cr4 &= ~UINT64_C(0x40);
	machine_run(NULL, 0);
	ck_assert_uint_eq(entries[0].cr4, 0x20);
	ck_assert_uint_eq(guest_get(&vcpu.guest, G_CR4), 0x60);
}
END_TEST

static uint64_t cr4_in_guest;

static void look_at_cr4(struct svm_vcpu *v)
{
	cr4_in_guest = fake_cpu.cr4;
	v->vmcb->exit_code = 0x60;
	fake_cpu.tsc += 10000000;
}

/* CR4.PKE: PKRU is the guest's during a run. */
START_TEST(protection_keys_are_off_during_a_run)
{
	machine_start(0);
	fake_cpu.cr4 |= BIT(22);
	machine_guest = look_at_cr4;
	machine_run(NULL, 0);
	machine_guest = NULL;
	ck_assert_uint_eq(cr4_in_guest, 0x42620);
	ck_assert_uint_eq(fake_cpu.cr4, 0x42620 | BIT(22));
}
END_TEST

START_TEST(debug_registers_are_loaded_under_no_breakpoints)
{
	machine_start(0);
	vcpu.vmcb->dr7 = 0x401;
	vcpu.guest.drs_armed = true;
	fake_cpu.dr7 = 0x402;
	fake_cpu.dr7_at_dr_write = 0;
	machine_run(NULL, 0);
	ck_assert_uint_eq(fake_cpu.dr7_at_dr_write, 0x400);
	ck_assert_uint_eq(fake_cpu.dr7, 0x402);
}
END_TEST

/* CR4.FRED: emul/host_mode.c. The guest resumes when the host has left that mode. */
START_TEST(mode_of_the_host_is_checked_at_each_run)
{
	machine_start(0);
	machine_run(NULL, 0);
	fake_cpu.cr4 |= BIT(32);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(machine_run_vcpu(&vcpu, NULL, 0), X86VCPU_ERR_UNSUPPORTED);
		ck_assert_uint_eq(entry_count, 0);
	}
	fake_cpu.cr4 &= ~BIT(32);
	machine_run(NULL, 0);
	ck_assert_uint_eq(entry_count, 1);
}
END_TEST

START_TEST(efer_svme_is_not_shown)
{
	machine_start_long(0);
	ck_assert_uint_eq(guest_get(&vcpu.guest, G_EFER), 0xd01);
	guest_set(&vcpu.guest, G_EFER, 0xd00);
	machine_run(NULL, 0);
	ck_assert_uint_eq(vcpu.vmcb->efer, 0x1d00);
	ck_assert_uint_eq(guest_get(&vcpu.guest, G_EFER), 0xd00);
}
END_TEST

/* ---- Segments: bits 7:0 and 15:12 of access rights are bits 11:0 (APM 15.5.1) ------------------------------ */

static const struct {
	uint32_t access;
	uint16_t attributes;
} packed[] = {{0xa09b, 0xa9b}, {0xc093, 0xc93}, {0x00f3, 0x0f3}, {0x808b, 0x88b}, {0x109b, 0x19b}, {0xf0ff, 0xfff}};

START_TEST(access_rights_are_packed)
{
	machine_start_protected(0);
	vcpu.vmcb->ds.attributes = packed[_i].attributes;
	vcpu.vmcb->ds.limit = packed[_i].access & 0x8000 ? UINT32_MAX : 0xffff;
	ck_assert_uint_eq(svm_read_guest_field(&vcpu.guest, G_ACCESS + X86VCPU_SEGMENT_DS), packed[_i].access);
	guest_set(&vcpu.guest, G_ACCESS + X86VCPU_SEGMENT_ES, packed[_i].access);
	machine_run(NULL, 0);
	ck_assert_uint_eq(vcpu.vmcb->es.attributes, packed[_i].attributes);
}
END_TEST

/* A VMCB need not have the accessed, busy and granularity bits, at which VMRUN does not look. */
START_TEST(missing_bits_of_access_rights_are_known)
{
	machine_start_protected(0);
	vcpu.vmcb->ds.attributes = 0x092;
	vcpu.vmcb->ds.limit = UINT32_MAX;
	vcpu.vmcb->es.attributes = 0x892;
	vcpu.vmcb->es.limit = 0x12345;
	vcpu.vmcb->tr.attributes = 0x089;
	vcpu.vmcb->tr.limit = 0x67;
	ck_assert_uint_eq(svm_read_guest_field(&vcpu.guest, G_ACCESS + X86VCPU_SEGMENT_DS), 0x8093);
	ck_assert_uint_eq(svm_read_guest_field(&vcpu.guest, G_ACCESS + X86VCPU_SEGMENT_ES), 0x0093);
	ck_assert_uint_eq(svm_read_guest_field(&vcpu.guest, G_ACCESS + X86VCPU_SEGMENT_TR), 0x008b);
}
END_TEST

START_TEST(unusable_is_not_present)
{
	machine_start_protected(0);
	vcpu.vmcb->fs.attributes = 0xc13;
	ck_assert_uint_eq(svm_read_guest_field(&vcpu.guest, G_ACCESS + X86VCPU_SEGMENT_FS), 0x1c013);
	guest_set(&vcpu.guest, G_ACCESS + X86VCPU_SEGMENT_GS, 0x1c093);
	machine_run(NULL, 0);
	ck_assert_uint_eq(vcpu.vmcb->gs.attributes, 0xc13);
}
END_TEST

/* The CPL is not in SS's attributes: after SYSRET they need not agree. */
START_TEST(cpl_is_dpl_of_ss)
{
	machine_start_protected(0);
	vcpu.vmcb->cpl = 3;
	ck_assert_uint_eq(svm_read_guest_field(&vcpu.guest, G_ACCESS + X86VCPU_SEGMENT_SS), 0xc0f3);
	ck_assert_uint_eq(svm_read_guest_field(&vcpu.guest, G_ACCESS + X86VCPU_SEGMENT_DS), 0xc093);
	guest_set(&vcpu.guest, G_ACCESS + X86VCPU_SEGMENT_SS, 0xc0d3);
	guest_set(&vcpu.guest, G_ACCESS + X86VCPU_SEGMENT_DS, 0xc0f3);
	machine_run(NULL, 0);
	ck_assert_uint_eq(vcpu.vmcb->cpl, 2);
}
END_TEST

/* ---- Length ---------------------------------------------------------------------------------------------------- */

/* CPUID with a prefix has 3 bytes. A next RIP that can be one is believed, with the feature only. */
static const struct {
	uint32_t features;
	int64_t next, length;
} lengths[] = {
	{FEATURE_NEXT_RIP, 3, 3}, {FEATURE_NEXT_RIP, 2, 2}, {FEATURE_NEXT_RIP, 15, 15},
	{FEATURE_NEXT_RIP, 0, 3}, {FEATURE_NEXT_RIP, -1, 3}, {FEATURE_NEXT_RIP, 16, 3},
	{FEATURE_NEXT_RIP, -(int64_t)CODE_AT, 3}, {FEATURE_NEXT_RIP, INT64_MIN, 3}, {0, 5, 3},
};

START_TEST(length_of_an_instruction)
{
	static const uint8_t cpuid_instruction[] = {0x66, 0x0f, 0xa2};
	const struct fake_exit exit = {.code = EXIT_CPUID, .next_rip = CODE_AT + (uint64_t)lengths[_i].next};

	machine_start_long(lengths[_i].features);
	machine_code(cpuid_instruction, sizeof(cpuid_instruction));
	machine_run(&exit, 1);
	ck_assert_uint_eq(entries[1].event, 0);
	ck_assert_uint_eq(entries[1].rip, CODE_AT + (uint64_t)lengths[_i].length);
}
END_TEST

/* What is at RIP by now has more than 15 bytes, or is not mapped: the guest's exception, and no CPUID. */
START_TEST(instruction_that_is_gone_is_not_skipped)
{
	const struct fake_exit exit = {.code = EXIT_CPUID};

	machine_start_long(0);
	memset(memory + CODE_AT, 0x66, 16);
	if (_i)
		machine_write64(PD, 0);
	vcpu.guest.regs.rax = 0x1234;
	machine_run(&exit, 1);
	ck_assert_uint_eq(entries[1].event, _i ? UINT64_C(0x1080000b0e) : INJECT_GP);
	ck_assert_uint_eq(entries[1].rip, CODE_AT);
	ck_assert_uint_eq(fake_cpu.cr2, _i ? CODE_AT : 0);
	ck_assert_uint_eq(vcpu.guest.regs.rax, 0x1234);
}
END_TEST

START_TEST(code_without_memory_is_the_vmms)
{
	const struct fake_exit exit = {.code = EXIT_CPUID, .rip = 0x100000};

	machine_start_long(0);
	machine_run(&exit, 1);
	ck_assert_uint_eq(reported.kind, X86VCPU_EXIT_NESTED_PAGE_FAULT);
	ck_assert_uint_eq(reported.u.nested_page_fault.gpa, 0x100000);
	ck_assert_uint_eq(reported.u.nested_page_fault.access, 4);
	ck_assert_uint_eq(machine_rip(), 0x100000);
}
END_TEST

/* ---- Port I/O: EXITINFO1 is APM figure 15-2 ------------------------------------------------------------------- */

#define IO_IN BIT(0)
#define IO_STR BIT(2)
#define IO_REP BIT(3)
#define IO_8 BIT(4)
#define IO_A16 BIT(7)
#define IO_A32 BIT(8)
#define IO_PORT(port) ((uint64_t)(port) << 16)
#define IO_SEGMENT(n) ((uint64_t)(n) << 10)

/* With or without the feature of that name; 9 bytes, which no other source says. */
START_TEST(exitinfo2_of_io_is_the_next_rip)
{
	const struct fake_exit exit = {
		.code = EXIT_IOIO, .info1 = IO_PORT(0x3f8) | BIT(4 + _i % 3), .info2 = CODE_AT + 9
	};

	machine_start_protected(_i >= 3 ? ASSISTS : 0);
	vcpu.guest.regs.rax = 0x11223344;
	vcpu.vmcb->rax = 0x11223344;
	machine_run(&exit, 1);
	ck_assert_uint_eq(reported.kind, X86VCPU_EXIT_PORT_IO_WRITE);
	ck_assert_uint_eq(reported.u.port_io.port, 0x3f8);
	ck_assert_uint_eq(reported.u.port_io.width, (unsigned)_i % 3);
	ck_assert_uint_eq(reported.u.port_io.data, UINT64_C(0x11223344) & (BIT(8 << _i % 3) - 1));
	ck_assert_uint_eq(machine_rip(), CODE_AT + 9);
}
END_TEST

START_TEST(io_without_a_next_rip_is_decoded)
{
	static const uint64_t garbage[] = {0, CODE_AT, CODE_AT - 1, CODE_AT + 16, UINT64_MAX};
	const struct fake_exit exit = {.code = EXIT_IOIO, .info1 = IO_IN | IO_8 | IO_PORT(0x60), .info2 = garbage[_i]};

	machine_start_protected(0);
	machine_code("\xe4\x60", 2);
	machine_run(&exit, 1);
	ck_assert_uint_eq(reported.kind, X86VCPU_EXIT_PORT_IO_READ);
	ck_assert_uint_eq(machine_rip(), CODE_AT + 2);
}
END_TEST

/* Bases: ES 0x2000, DS 0x3000, FS 0x4000, GS 0x5000; rSI and rDI are 0x10123. */
static const struct {
	uint32_t features;
	uint64_t info1, gpa;
	uint8_t bytes[3];
} strings[] = {
	/* OUTSB: the segment is in bits 12:10, with decode assists only. */
	{ASSISTS, IO_A32 | IO_SEGMENT(4), 0x14123, {0}},
	{ASSISTS, IO_A32 | IO_SEGMENT(0), 0x12123, {0}},
	{ASSISTS, IO_A16 | IO_SEGMENT(3), 0x3123, {0}},
	{0, IO_A32 | IO_SEGMENT(4), 0x13123, {0x6e}},
	{0, IO_A32 | IO_SEGMENT(3), 0x15123, {0x65, 0x6e}},
	{0, IO_A32 | IO_SEGMENT(7), 0x14123, {0x64, 0x6e}},
	/* No address size, as some CPUs have it. */
	{ASSISTS, IO_SEGMENT(4), 0x4123, {0x64, 0x67, 0x6e}},
	{ASSISTS, IO_SEGMENT(3), 0x13123, {0x6e}},
	/* INSB writes to ES, whatever the field or a prefix says. */
	{ASSISTS, IO_IN | IO_A32 | IO_SEGMENT(3), 0x12123, {0}},
	{ASSISTS, IO_IN | IO_A16 | IO_SEGMENT(4), 0x2123, {0}},
	{0, IO_IN | IO_A32 | IO_SEGMENT(5), 0x12123, {0}},
	{0, IO_IN, 0x12123, {0x64, 0x6c}},
	{0, IO_IN, 0x2123, {0x67, 0x6c}},
};

START_TEST(string_operand)
{
	const struct fake_exit exit = {
		.code = EXIT_IOIO, .info1 = strings[_i].info1 | IO_STR | IO_8 | IO_PORT(0x70), .info2 = CODE_AT + 3
	};

	machine_start_protected(strings[_i].features);
	machine_code(strings[_i].bytes, 3);
	vcpu.vmcb->es.base = 0x2000;
	vcpu.vmcb->ds.base = 0x3000;
	vcpu.vmcb->fs.base = 0x4000;
	vcpu.vmcb->gs.base = 0x5000;
	vcpu.guest.regs.rsi = vcpu.guest.regs.rdi = 0x10123;
	machine_run(&exit, 1);
	ck_assert_uint_eq(reported.kind, X86VCPU_EXIT_PORT_IO_STRING);
	ck_assert_uint_eq(reported.u.port_io_string.direction, !(strings[_i].info1 & IO_IN));
	ck_assert_uint_eq(reported.u.port_io_string.gpa, strings[_i].gpa);
	ck_assert_uint_eq(reported.u.port_io_string.next_rip, CODE_AT + 3);
	ck_assert_uint_eq(machine_rip(), CODE_AT);
}
END_TEST

/* ---- Nested page faults: EXITINFO1 is a page fault's error code and more (APM 15.25.6) ---------------------- */

#define FINAL BIT(32)
#define WALK BIT(33)

/* MOV %bl, (%rax) */
static void start_mmio(void)
{
	machine_start_long(0);
	machine_code("\x88\x18", 2);
	vcpu.guest.regs.rax = vcpu.vmcb->rax = DEVICE + 8;
	vcpu.guest.regs.rbx = 0x5a;
}

START_TEST(final_access_to_a_device_is_decoded)
{
	const struct fake_exit exit = {.code = EXIT_NPF, .info1 = FINAL | 6, .info2 = DEVICE + 8};

	start_mmio();
	machine_run(&exit, 1);
	ck_assert_uint_eq(reported.kind, X86VCPU_EXIT_MMIO_WRITE);
	ck_assert_uint_eq(reported.u.mmio.gpa, DEVICE + 8);
	ck_assert_uint_eq(reported.u.mmio.data, 0x5a);
	ck_assert_uint_eq(machine_rip(), CODE_AT + 2);
}
END_TEST

/* Bits 1 and 4: write, fetch. Not by the instruction itself: a walk, a fetch, the delivery of an event. */
static const struct {
	uint64_t info1, gpa, vectoring, access;
} nested_faults[] = {
	{FINAL | 4, 0x800000, 0, 1},
	{FINAL | 6, 0x800000, 0, 2},
	{FINAL | 0x14, 0x800000, 0, 4},
	{FINAL | 7, 0x800000, 0, 2},
	{FINAL | 0x14, DEVICE, 0, 4},
	{WALK | 4, DEVICE, 0, 1},
	{WALK | 6, DEVICE, 0, 2},
	{6, DEVICE, 0, 2},
	{FINAL | 6, DEVICE + 8, 0x80000030, 2},
	{FINAL | 4, DEVICE + 8, 0x80000b0e, 1},
	{FINAL | 6, DEVICE + 8, 0x80000202, 2},
};

START_TEST(other_nested_faults_are_the_vmms)
{
	const struct fake_exit exit = {
		.code = EXIT_NPF, .info1 = nested_faults[_i].info1, .info2 = nested_faults[_i].gpa,
		.vectoring = nested_faults[_i].vectoring,
	};

	start_mmio();
	vcpu.vmcb->rflags |= RFLAGS_IF;
	machine_run(&exit, 1);
	ck_assert_uint_eq(reported.kind, X86VCPU_EXIT_NESTED_PAGE_FAULT);
	ck_assert_uint_eq(reported.u.nested_page_fault.gpa, nested_faults[_i].gpa);
	ck_assert_uint_eq(reported.u.nested_page_fault.access, nested_faults[_i].access);
	ck_assert_uint_eq(machine_rip(), CODE_AT);
	/* And the event goes in again. */
	machine_run(NULL, 0);
	ck_assert_uint_eq(entries[0].event, nested_faults[_i].vectoring);
}
END_TEST

START_TEST(reserved_bits_are_an_error)
{
	const struct fake_exit exit = {.code = EXIT_NPF, .info1 = FINAL | 0xd, .info2 = DEVICE};

	start_mmio();
	ck_assert_int_eq(machine_run_vcpu(&vcpu, &exit, 1), X86VCPU_ERR_INVALID_DATA);
	ck_assert_uint_eq(reported.kind, X86VCPU_EXIT_NOTHING);
	ck_assert_uint_eq(machine_rip(), CODE_AT);
}
END_TEST

/* ---- Codes ------------------------------------------------------------------------------------------------------ */

/* What each exit becomes in the guest; 0: the instruction is skipped. */
static const struct {
	uint16_t code;
	uint64_t event;
} refused[] = {
	{0x6f, INJECT_GP}, {0x73, INJECT_UD}, {0x76, 0},         {0x77, 0},         {0x7a, INJECT_UD}, {0x80, INJECT_UD},
	{0x82, INJECT_UD}, {0x83, INJECT_UD}, {0x84, INJECT_UD}, {0x85, INJECT_UD}, {0x86, INJECT_UD}, {0x89, 0},
	{0x8a, INJECT_UD}, {0x8b, INJECT_UD}, {0x8c, INJECT_UD}, {0x8e, INJECT_UD}, {0xa0, INJECT_UD}, {0xa4, INJECT_UD},
};

START_TEST(instruction_is_refused_or_skipped)
{
	const struct fake_exit exit = {.code = refused[_i].code, .next_rip = CODE_AT + 3};

	machine_start_protected(FEATURE_NEXT_RIP);
	machine_run(&exit, 1);
	ck_assert_uint_eq(entry_count, 2);
	ck_assert_uint_eq(entries[1].event, refused[_i].event);
	ck_assert_uint_eq(entries[1].rip, refused[_i].event ? CODE_AT : CODE_AT + 3);
}
END_TEST

static const uint64_t unknown[] = {0x02, 0x0f, 0x13, 0x1a, 0x42, 0x49, 0x65, 0x6e, 0x7d, 0x8f, 0x90, 0xa5,
				   0xa6, 0xa7, 0x3ff, 0x401, 0x403, 0x404, 0x10000, BIT(32) | 0x72, BIT(63) | 0x400};

START_TEST(unknown_exit_is_an_error)
{
	const struct fake_exit exit = {.code = unknown[_i], .next_rip = CODE_AT + 3};

	machine_start_protected(FEATURE_NEXT_RIP);
	ck_assert_int_eq(machine_run_vcpu(&vcpu, &exit, 1), X86VCPU_ERR_UNSUPPORTED);
	ck_assert_uint_eq(reported.kind, X86VCPU_EXIT_NOTHING);
	ck_assert_uint_eq(entry_count, 1);
	ck_assert_uint_eq(machine_rip(), CODE_AT);
}
END_TEST

START_TEST(machine_check_reaches_the_host)
{
	const struct fake_exit exit = {.code = 0x52};

	machine_start_protected(0);
	machine_run(&exit, 1);
	ck_assert_uint_eq(reported.kind, X86VCPU_EXIT_NOTHING);
	ck_assert_uint_eq(fake_cpu.machine_checks, 1);
	ck_assert(!guest_event_pending(&vcpu.guest));
}
END_TEST

START_TEST(host_interrupt_is_serviced)
{
	const struct fake_exit exit = {.code = 0x60};

	machine_start_protected(0);
	machine_run(&exit, 1);
	ck_assert_uint_eq(reported.kind, X86VCPU_EXIT_NOTHING);
	ck_assert_uint_eq(serviced, 1);
	machine_run(NULL, 0);
	ck_assert_uint_eq(reported.kind, X86VCPU_EXIT_PREEMPTION_TIMER);
	ck_assert_uint_eq(serviced, 2);
}
END_TEST

START_TEST(shutdown_is_system_down)
{
	const struct fake_exit exit = {.code = 0x7f};

	machine_start_protected(0);
	machine_run(&exit, 1);
	ck_assert_uint_eq(reported.kind, X86VCPU_EXIT_SYSTEM_DOWN);
	ck_assert_uint_eq(entry_count, 1);
}
END_TEST

/* ---- The suite --------------------------------------------------------------------------------------------------- */

static TCase *registers_case(void)
{
	TCase *tcase = tcase_create("registers");

	tcase_add_loop_test(tcase, mov_to_cr_uses_the_register_of_exitinfo1, 0, 32);
	tcase_add_loop_test(tcase, mov_to_cr_is_decoded, 0, 3 * COUNT(movs));
	tcase_add_test(tcase, x87_error_is_mf);
	tcase_add_loop_test(tcase, clts_and_lmsw_are_decoded, 0, 2 * COUNT(cr0_writes));
	tcase_add_test(tcase, cache_disable_is_shadowed);
	tcase_add_loop_test(tcase, machine_check_enable_is_the_hosts, 0, 4);
	tcase_add_test(tcase, machine_check_enable_follows_the_host);
	tcase_add_test(tcase, mode_of_the_host_is_checked_at_each_run);
	tcase_add_test(tcase, protection_keys_are_off_during_a_run);
	tcase_add_test(tcase, debug_registers_are_loaded_under_no_breakpoints);
	tcase_add_test(tcase, efer_svme_is_not_shown);
	tcase_add_loop_test(tcase, access_rights_are_packed, 0, COUNT(packed));
	tcase_add_test(tcase, missing_bits_of_access_rights_are_known);
	tcase_add_test(tcase, unusable_is_not_present);
	tcase_add_test(tcase, cpl_is_dpl_of_ss);
	return tcase;
}

static TCase *exits_case(void)
{
	TCase *tcase = tcase_create("exits");

	tcase_add_loop_test(tcase, length_of_an_instruction, 0, COUNT(lengths));
	tcase_add_loop_test(tcase, instruction_that_is_gone_is_not_skipped, 0, 2);
	tcase_add_test(tcase, code_without_memory_is_the_vmms);
	tcase_add_loop_test(tcase, exitinfo2_of_io_is_the_next_rip, 0, 6);
	tcase_add_loop_test(tcase, io_without_a_next_rip_is_decoded, 0, 5);
	tcase_add_loop_test(tcase, string_operand, 0, COUNT(strings));
	tcase_add_test(tcase, final_access_to_a_device_is_decoded);
	tcase_add_loop_test(tcase, other_nested_faults_are_the_vmms, 0, COUNT(nested_faults));
	tcase_add_test(tcase, reserved_bits_are_an_error);
	tcase_add_loop_test(tcase, instruction_is_refused_or_skipped, 0, COUNT(refused));
	tcase_add_loop_test(tcase, unknown_exit_is_an_error, 0, COUNT(unknown));
	tcase_add_test(tcase, machine_check_reaches_the_host);
	tcase_add_test(tcase, host_interrupt_is_serviced);
	tcase_add_test(tcase, shutdown_is_system_down);
	return tcase;
}

Suite *svm_suite(void)
{
	Suite *suite = suite_create("svm");

	suite_add_tcase(suite, registers_case());
	suite_add_tcase(suite, exits_case());
	return suite;
}
