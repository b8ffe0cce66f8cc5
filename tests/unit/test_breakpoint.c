/* SPDX-License-Identifier: Apache-2.0 */
/* Data and I/O breakpoints on what the library does in the guest's place (SDM 18.2.4 to 18.3.1.2). */
#include <check.h>
#include <string.h>

#include "emul/breakpoint.h"
#include "emul/finish.h"
#include "emul/mmio.h"
#include "emul/pio.h"
#include "fake_cpu.h"
#include "guest_fixture.h"

Suite *breakpoint_suite(void);

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))
#define CODE UINT64_C(0x8000)
#define HIT (PENDING_DB_ENABLED | 1)
#define EXECUTE 0u
#define WRITE 1u
#define PORT 2u
#define ACCESS 3u

/* In DR7: breakpoint `number` for `kind`, on 1 to 8 bytes. */
static uint64_t dr7(unsigned number, unsigned kind, unsigned bytes, bool global)
{
	static const uint8_t code[9] = {[1] = 0, [2] = 1, [4] = 3, [8] = 2};

	return DR7_RESET | UINT64_C(1) << (2 * number + global) | (uint64_t)(kind | code[bytes] << 2) << (16 + 4 * number);
}

static struct guest_fixture *begin(uint64_t value, uint64_t address)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_LONG);

	fixture_set(f, G_CR4, f->hardware[G_CR4] | CR4_DE);
	fixture_set(f, G_DR7, value);
	f->g.dr[0] = address;
	f->g.drs_armed = true;
	return f;
}

/* ---- What is hit --------------------------------------------------------------------------------------------- */

static const struct {
	uint64_t at, length, address;
	unsigned bytes;
	bool hit;
} overlaps_rows[] = {
	{0x1000, 1, 0x1000, 1, true}, {0x1000, 1, 0x0fff, 1, false}, {0x1000, 1, 0x1001, 1, false},
	{0x1000, 1, 0x0ffd, 4, true}, {0x1000, 1, 0x0ffc, 4, false}, {0x1002, 4, 0x1000, 1, true},
	{0x1002, 4, 0x1003, 1, true}, {0x1002, 4, 0x1004, 4, false}, {0x1007, 8, 0x1000, 1, true},
	{0x1007, 8, 0x1007, 8, true}, {0x1001, 2, 0x1000, 1, true},  {0x1001, 2, 0x1002, 1, false},
	{0xffffffffffffffff, 1, 0xffffffffffffffff, 1, true}, {0, 1, 0xfffffffffffffff8, 8, false},
};

START_TEST(access_overlaps_the_breakpoint)
{
	struct guest_fixture *f = begin(dr7(0, ACCESS, (unsigned)overlaps_rows[_i].length, false), overlaps_rows[_i].at);

	ck_assert_uint_eq(breakpoint_of_data(&f->g, overlaps_rows[_i].address, overlaps_rows[_i].bytes, false),
			  overlaps_rows[_i].hit);
}
END_TEST

START_TEST(kind_of_access_counts)
{
	const unsigned kind = (unsigned)_i & 3, number = (unsigned)_i >> 2 & 3;
	struct guest_fixture *f = begin(dr7(number, kind, 1, _i >> 4 & 1), 0);

	f->g.dr[number] = 0x80;
	ck_assert_uint_eq(breakpoint_of_data(&f->g, 0x80, 1, false), (uint32_t)(kind == ACCESS) << number);
	ck_assert_uint_eq(breakpoint_of_data(&f->g, 0x80, 1, true), (uint32_t)(kind & 1) << number);
	ck_assert_uint_eq(breakpoint_of_port(&f->g, 0x80, 1), (uint32_t)(kind == PORT) << number);
	fixture_set(f, G_CR4, 0);
	ck_assert_uint_eq(breakpoint_of_port(&f->g, 0x80, 1), 0);
	fixture_set(f, G_DR7, dr7(number, kind, 1, false) & ~DR7_ENABLES);
	ck_assert_uint_eq(breakpoint_of_data(&f->g, 0x80, 1, true), 0);
}
END_TEST

/* Most guests have none: nothing is read for them. */
START_TEST(guest_without_breakpoints_pays_nothing)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_LONG);

	ck_assert_uint_eq(breakpoint_of_port(&f->g, 0x80, 1) | breakpoint_of_data(&f->g, 0x80, 1, true), 0);
	ck_assert_uint_eq(fixture_reads(f), 0);
}
END_TEST

/* ---- Ports --------------------------------------------------------------------------------------------------- */

START_TEST(port_access_traps)
{
	struct guest_fixture *f = begin(dr7(0, PORT, 2, false), 0x80);
	const struct pio io = {.port = 0x81, .bytes = 1, .in = _i, .length = 1};

	fixture_set(f, G_RFLAGS, RFLAGS_FIXED | (_i ? RFLAGS_TF : 0));
	ck_assert_int_eq(emul_finish(&f->g, emul_port_io(&f->g, &io), 1), EMUL_EXIT);
	ck_assert_uint_eq(guest_get(&f->g, G_PENDING_DB), HIT | (_i ? PENDING_DB_BS : 0));
	ck_assert_uint_eq(guest_get(&f->g, G_RIP), 0x7c01);
}
END_TEST

/* After each iteration, whichever of its two accesses is hit. */
START_TEST(string_access_traps)
{
	const bool in = _i & 1, memory = _i & 2;
	struct guest_fixture *f = begin(memory ? dr7(0, in ? WRITE : ACCESS, 2, false) : dr7(0, PORT, 1, false),
					memory ? 0x2000 : 0x60);
	const struct pio io = {.port = 0x60, .bytes = 2, .in = in, .string = true, .rep = true, .address_bytes = 8,
			       .segment = X86VCPU_SEGMENT_DS, .length = 2};
	struct x86vcpu_port_io_string done;

	f->g.regs.rsi = f->g.regs.rdi = 0x2000;
	f->g.regs.rcx = 2;
	ck_assert_int_eq(emul_port_io(&f->g, &io), EMUL_EXIT);
	ck_assert_uint_eq(guest_get(&f->g, G_PENDING_DB), 0);
	done = f->exit.u.port_io_string;
	ck_assert_int_eq(emul_commit_string(&f->g, &done), X86VCPU_OK);
	ck_assert_uint_eq(guest_get(&f->g, G_PENDING_DB), HIT);
	ck_assert_uint_eq(guest_get(&f->g, G_RIP), 0x7c00);
	guest_set(&f->g, G_PENDING_DB, 0);
	ck_assert_int_eq(emul_port_io(&f->g, &io), EMUL_EXIT);
	done = f->exit.u.port_io_string;
	ck_assert_int_eq(emul_commit_string(&f->g, &done), X86VCPU_OK);
	ck_assert_uint_eq(guest_get(&f->g, G_PENDING_DB), memory ? 0 : HIT);
}
END_TEST

/* ---- Devices ------------------------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	uint8_t bytes[6];
	bool read, write; /* of [rbx] */
	bool stack;       /* a read of the stack, where the breakpoint may be instead */
} device_rows[] = {
	{"mov [rbx], eax", {0x89, 0x03}, false, true, false},
	{"mov eax, [rbx]", {0x8b, 0x03}, true, false, false},
	{"movzx eax, byte [rbx]", {0x0f, 0xb6, 0x03}, true, false, false},
	{"add [rbx], eax", {0x01, 0x03}, true, true, false},
	{"cmp [rbx], eax", {0x39, 0x03}, true, false, false},
	{"xchg [rbx], eax", {0x87, 0x03}, true, true, false},
	{"pop qword [rbx]", {0x8f, 0x03}, false, true, true},
};

/* Runs it with the breakpoint set, answers its reads, and returns what is pending after it. */
static uint64_t pending_after(struct guest_fixture *f, int row, bool apic)
{
	const uint64_t gpa = apic ? UINT64_C(0xfee00080) : FIXTURE_MMIO + 0x10;
	unsigned length = 0;
	int result;

	fixture_code(f, CODE, device_rows[row].bytes, sizeof(device_rows[row].bytes));
	f->g.regs.rbx = gpa;
	guest_set(&f->g, G_RSP, 0x7000);
	result = emul_mmio(&f->g, gpa, device_rows[row].write, &length);
	result = emul_finish(&f->g, result, length);
	for (unsigned i = 0; i < 4 && guest_has_open_exit(&f->g); i++) {
		/* Before its end the instruction traps nothing. */
		if (f->g.open == GUEST_OPEN_MMIO_READ && f->g.emulation.active)
			ck_assert_uint_eq(guest_get(&f->g, G_PENDING_DB), 0);
		emul_complete_read(&f->g, 0);
		if (guest_emulation_is_under_way(&f->g))
			result = emul_continue(&f->g);
	}
	ck_assert_msg(result >= 0, "%s", device_rows[row].name);
	ck_assert_uint_gt(guest_get(&f->g, G_RIP), CODE);
	return guest_get(&f->g, G_PENDING_DB);
}

START_TEST(device_access_traps)
{
	const int row = _i % COUNT(device_rows);
	const bool on_access = _i / COUNT(device_rows) & 1;
	struct guest_fixture *f = begin(dr7(0, on_access ? ACCESS : WRITE, 4, true), FIXTURE_MMIO + 0x10);

	ck_assert_msg(pending_after(f, row, false) == (on_access || device_rows[row].write ? HIT : 0), "%s",
		      device_rows[row].name);
}
END_TEST

START_TEST(other_operand_traps)
{
	struct guest_fixture *f = begin(dr7(0, ACCESS, 8, true), 0x7000);

	ck_assert_uint_eq(pending_after(f, COUNT(device_rows) - 1, false), HIT);
}
END_TEST

START_TEST(local_apic_access_traps)
{
	struct guest_fixture *f = begin(dr7(0, ACCESS, 4, true), 0xfee00080);

	f->g.lapic.present = true;
	f->g.lapic.base = 0xfee00800;
	ck_assert_uint_eq(pending_after(f, _i, true), HIT);
}
END_TEST

Suite *breakpoint_suite(void)
{
	Suite *suite = suite_create("breakpoint");
	TCase *tcase = tcase_create("breakpoint");

	tcase_add_loop_test(tcase, access_overlaps_the_breakpoint, 0, COUNT(overlaps_rows));
	tcase_add_loop_test(tcase, kind_of_access_counts, 0, 32);
	tcase_add_test(tcase, guest_without_breakpoints_pays_nothing);
	tcase_add_loop_test(tcase, port_access_traps, 0, 2);
	tcase_add_loop_test(tcase, string_access_traps, 0, 4);
	tcase_add_loop_test(tcase, device_access_traps, 0, 2 * COUNT(device_rows));
	tcase_add_test(tcase, other_operand_traps);
	tcase_add_loop_test(tcase, local_apic_access_traps, 0, 4);
	suite_add_tcase(suite, tcase);
	return suite;
}
