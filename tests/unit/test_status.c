/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers and names that cross the interface: status codes, exit kinds, the version. */
#include <check.h>
#include <stdint.h>
#include <string.h>

#include "x86vcpu/exit.h"
#include "x86vcpu/status.h"
#include "x86vcpu/version.h"

Suite *status_suite(void);

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

/* ---- Status codes: -1 to -7 stand in the order of upstream's errors --------------------------------------- */

static const struct {
	int32_t status, number;
	const char *text;
} statuses[] = {
	{X86VCPU_OK, 0, "success"},
	{X86VCPU_ERR_INVALID_INPUT, -1, "invalid argument"},
	{X86VCPU_ERR_INVALID_DATA, -2, "invalid data from hardware or guest"},
	{X86VCPU_ERR_UNSUPPORTED, -3, "not supported"},
	{X86VCPU_ERR_BAD_STATE, -4, "not possible in this state or on this CPU"},
	{X86VCPU_ERR_NO_MEMORY, -5, "out of host frames"},
	{X86VCPU_ERR_RESOURCE_BUSY, -6, "already in use"},
	{X86VCPU_ERR_TIMER_UNAVAILABLE, -7, "host timer not available"},
	{X86VCPU_ERR_FIRMWARE_DISABLED, -64, "virtualization disabled by firmware"},
	{X86VCPU_ERR_ABI_MISMATCH, -65, "structure size or ABI version not known"},
	{X86VCPU_ERR_GUEST_FAULT, -66, "access faults in the guest"},
};

START_TEST(status_has_its_number_and_text)
{
	ck_assert_int_eq(statuses[_i].status, statuses[_i].number);
	ck_assert_str_eq(x86vcpu_strerror(statuses[_i].number), statuses[_i].text);
}
END_TEST

START_TEST(no_two_statuses_have_the_same_text)
{
	for (int i = 0; i < COUNT(statuses); i++)
		for (int j = 0; j < i; j++)
			ck_assert_str_ne(x86vcpu_strerror(statuses[i].number), x86vcpu_strerror(statuses[j].number));
}
END_TEST

START_TEST(other_statuses_are_unknown)
{
	static const int32_t values[] = {1, 2, 64, INT32_MAX, -8, -9, -63, -67, -100, -255, INT32_MIN};

	ck_assert_str_eq(x86vcpu_strerror(values[_i]), "unknown status");
}
END_TEST

/* ---- Exit kinds: 0 to 14 stand in the order of upstream's ------------------------------------------------- */

static const struct {
	uint32_t kind;
	const char *name;
} kinds[] = {
	{X86VCPU_EXIT_HYPERCALL, "HYPERCALL"},
	{X86VCPU_EXIT_PORT_IO_READ, "PORT_IO_READ"},
	{X86VCPU_EXIT_PORT_IO_WRITE, "PORT_IO_WRITE"},
	{X86VCPU_EXIT_PORT_IO_STRING, "PORT_IO_STRING"},
	{X86VCPU_EXIT_MMIO_READ, "MMIO_READ"},
	{X86VCPU_EXIT_MMIO_WRITE, "MMIO_WRITE"},
	{X86VCPU_EXIT_MSR_READ, "MSR_READ"},
	{X86VCPU_EXIT_MSR_WRITE, "MSR_WRITE"},
	{X86VCPU_EXIT_NESTED_PAGE_FAULT, "NESTED_PAGE_FAULT"},
	{X86VCPU_EXIT_PREEMPTION_TIMER, "PREEMPTION_TIMER"},
	{X86VCPU_EXIT_INTERRUPT_END, "INTERRUPT_END"},
	{X86VCPU_EXIT_HALT, "HALT"},
	{X86VCPU_EXIT_SYSTEM_DOWN, "SYSTEM_DOWN"},
	{X86VCPU_EXIT_FAIL_ENTRY, "FAIL_ENTRY"},
	{X86VCPU_EXIT_NOTHING, "NOTHING"},
};

START_TEST(kind_has_its_number_and_name)
{
	ck_assert_uint_eq(kinds[_i].kind, (unsigned)_i);
	ck_assert_str_eq(x86vcpu_exit_name((uint32_t)_i), kinds[_i].name);
	ck_assert_str_eq(x86vcpu_exit_name(X86VCPU_EXIT_WAIT_FOR_SIPI), "WAIT_FOR_SIPI");
	ck_assert_str_eq(x86vcpu_exit_name(X86VCPU_EXIT_FPU_ERROR), "FPU_ERROR");
	ck_assert_str_eq(x86vcpu_exit_name(X86VCPU_EXIT_DEBUG), "DEBUG");
	ck_assert_str_eq(x86vcpu_exit_name(X86VCPU_EXIT_UNKNOWN_INSTRUCTION), "UNKNOWN_INSTRUCTION");
}
END_TEST

START_TEST(other_kinds_are_unknown)
{
	static const uint32_t values[] = {15, 16, 63, 68, 69, 255, 256, 0x7fffffff, 0x80000000, UINT32_MAX};

	ck_assert_str_eq(x86vcpu_exit_name(values[_i]), "UNKNOWN");
}
END_TEST

/* exit.h promises 128 bytes. */
START_TEST(exit_has_its_size)
{
	ck_assert_uint_eq(sizeof(struct x86vcpu_exit), 128);
	ck_assert_uint_eq(sizeof(((struct x86vcpu_exit *)0)->u), 120);
}
END_TEST

/* ---- Version ---------------------------------------------------------------------------------------------- */

START_TEST(version_is_packed)
{
	const uint32_t version = x86vcpu_version();

	ck_assert_uint_eq(version >> 16, X86VCPU_VERSION_MAJOR);
	ck_assert_uint_eq(version >> 8 & 0xff, X86VCPU_VERSION_MINOR);
	ck_assert_uint_eq(version & 0xff, X86VCPU_VERSION_PATCH);
	ck_assert_uint_ne(version, 0);
}
END_TEST

Suite *status_suite(void)
{
	Suite *suite = suite_create("status");
	TCase *tc = tcase_create("status");

	suite_add_tcase(suite, tc);
	tcase_add_loop_test(tc, status_has_its_number_and_text, 0, COUNT(statuses));
	tcase_add_test(tc, no_two_statuses_have_the_same_text);
	tcase_add_loop_test(tc, other_statuses_are_unknown, 0, 11);
	tc = tcase_create("exit");
	suite_add_tcase(suite, tc);
	tcase_add_loop_test(tc, kind_has_its_number_and_name, 0, COUNT(kinds));
	tcase_add_loop_test(tc, other_kinds_are_unknown, 0, 10);
	tcase_add_test(tc, exit_has_its_size);
	tc = tcase_create("version");
	suite_add_tcase(suite, tc);
	tcase_add_test(tc, version_is_packed);
	return suite;
}
