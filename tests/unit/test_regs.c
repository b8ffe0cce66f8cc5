/* SPDX-License-Identifier: Apache-2.0 */
/* General registers: numbers, names, parts, differences. And names of MSRs. */
#include <check.h>
#include <stddef.h>
#include <string.h>

#include "x86vcpu/exit.h"
#include "x86vcpu/msr.h"
#include "x86vcpu/regs.h"
#include "x86vcpu/status.h"

Suite *regs_suite(void);

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))
#define RSP 4

/* ---- Numbers and names ----------------------------------------------------------------------- */

/* The order of the instruction encoding, SDM Vol. 2, table 3-1. */
static const struct {
	const char *name;
	size_t offset;
} registers[16] = {
	{ "rax", offsetof(struct x86vcpu_regs, rax) },
	{ "rcx", offsetof(struct x86vcpu_regs, rcx) },
	{ "rdx", offsetof(struct x86vcpu_regs, rdx) },
	{ "rbx", offsetof(struct x86vcpu_regs, rbx) },
	{ "rsp", offsetof(struct x86vcpu_regs, unused_rsp) },
	{ "rbp", offsetof(struct x86vcpu_regs, rbp) },
	{ "rsi", offsetof(struct x86vcpu_regs, rsi) },
	{ "rdi", offsetof(struct x86vcpu_regs, rdi) },
	{ "r8", offsetof(struct x86vcpu_regs, r8) },
	{ "r9", offsetof(struct x86vcpu_regs, r9) },
	{ "r10", offsetof(struct x86vcpu_regs, r10) },
	{ "r11", offsetof(struct x86vcpu_regs, r11) },
	{ "r12", offsetof(struct x86vcpu_regs, r12) },
	{ "r13", offsetof(struct x86vcpu_regs, r13) },
	{ "r14", offsetof(struct x86vcpu_regs, r14) },
	{ "r15", offsetof(struct x86vcpu_regs, r15) },
};

static uint64_t slot(const struct x86vcpu_regs *regs, int index)
{
	uint64_t value;

	memcpy(&value, (const char *)regs + registers[index].offset, sizeof(value));
	return value;
}

static struct x86vcpu_regs numbered(void)
{
	struct x86vcpu_regs regs;

	for (uint64_t i = 0; i < 16; i++) {
		const uint64_t value = UINT64_C(0xfedcba9876543200) + i;

		memcpy((char *)&regs + 8 * i, &value, sizeof(value));
	}
	return regs;
}

START_TEST(number_reaches_register)
{
	struct x86vcpu_regs regs = numbered();
	const struct x86vcpu_regs before = regs;
	uint64_t value = 0;

	if (_i == RSP)
		return;
	ck_assert_int_eq(x86vcpu_regs_get(&regs, (uint32_t)_i, &value), X86VCPU_OK);
	ck_assert_uint_eq(value, slot(&before, _i));
	ck_assert_int_eq(x86vcpu_regs_set(&regs, (uint32_t)_i, 0x1122334455667788), X86VCPU_OK);
	for (int i = 0; i < 16; i++)
		ck_assert_uint_eq(slot(&regs, i), i == _i ? 0x1122334455667788 : slot(&before, i));
}
END_TEST

START_TEST(number_has_name)
{
	ck_assert_str_eq(x86vcpu_regs_name((uint32_t)_i), registers[_i].name);
}
END_TEST

START_TEST(names_end_at_15)
{
	ck_assert_str_eq(x86vcpu_regs_name(16), "?");
	ck_assert_str_eq(x86vcpu_regs_name(UINT32_MAX), "?");
}
END_TEST

/* C-04: numbers that upstream panics at. */
START_TEST(refuses_rsp_and_numbers_above_15)
{
	static const uint32_t numbers[] = { 4, 16, 20, 0x80000000, UINT32_MAX };
	struct x86vcpu_regs regs = numbered();
	const struct x86vcpu_regs before = regs;
	uint64_t value = 99;

	for (int i = 0; i < COUNT(numbers); i++) {
		ck_assert_int_eq(x86vcpu_regs_get(&regs, numbers[i], &value), X86VCPU_ERR_INVALID_INPUT);
		ck_assert_int_eq(x86vcpu_regs_set(&regs, numbers[i], 1), X86VCPU_ERR_INVALID_INPUT);
	}
	ck_assert_uint_eq(value, 99);
	ck_assert_mem_eq(&regs, &before, sizeof(regs));
}
END_TEST

START_TEST(refuses_null)
{
	struct x86vcpu_regs regs = numbered();
	uint64_t value;

	ck_assert_int_eq(x86vcpu_regs_get(NULL, 0, &value), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_regs_get(&regs, 0, NULL), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_regs_set(NULL, 0, 0), X86VCPU_ERR_INVALID_INPUT);
}
END_TEST

/* ---- Parts of registers (SDM Vol. 1, 3.4.1.1) ------------------------------------------------ */

/* What each write leaves of 0xfedcba9876543210, and that no other register changes. */
static void check_write(const struct x86vcpu_regs *regs, int index, uint64_t expected)
{
	for (int i = 0; i < 16; i++)
		ck_assert_uint_eq(slot(regs, i), i == index ? expected : UINT64_C(0xfedcba9876543210));
}

static void fill(struct x86vcpu_regs *regs)
{
	const uint64_t value = UINT64_C(0xfedcba9876543210);

	for (int i = 0; i < 16; i++)
		memcpy((char *)regs + 8 * i, &value, sizeof(value));
}

#define PARTS(index, r64, r32, r16, r8)                                        \
	START_TEST(parts_of_##r64)                                             \
	{                                                                      \
		struct x86vcpu_regs regs;                                      \
		fill(&regs);                                                   \
		ck_assert_uint_eq(x86vcpu_regs_##r64(&regs), UINT64_C(0xfedcba9876543210)); \
		ck_assert_uint_eq(x86vcpu_regs_##r32(&regs), 0x76543210);      \
		ck_assert_uint_eq(x86vcpu_regs_##r16(&regs), 0x3210);          \
		ck_assert_uint_eq(x86vcpu_regs_##r8(&regs), 0x10);             \
		x86vcpu_regs_set_##r8(&regs, 0xab);                            \
		check_write(&regs, index, UINT64_C(0xfedcba98765432ab));       \
		fill(&regs);                                                   \
		x86vcpu_regs_set_##r16(&regs, 0xabcd);                         \
		check_write(&regs, index, UINT64_C(0xfedcba987654abcd));       \
		fill(&regs);                                                   \
		x86vcpu_regs_set_##r32(&regs, 0x89abcdef);                     \
		check_write(&regs, index, UINT64_C(0x0000000089abcdef));       \
		fill(&regs);                                                   \
		x86vcpu_regs_set_##r64(&regs, UINT64_C(0x0123456789abcdef));   \
		check_write(&regs, index, UINT64_C(0x0123456789abcdef));       \
	}                                                                      \
	END_TEST

PARTS(0, rax, eax, ax, al)
PARTS(1, rcx, ecx, cx, cl)
PARTS(2, rdx, edx, dx, dl)
PARTS(3, rbx, ebx, bx, bl)
PARTS(5, rbp, ebp, bp, bpl)
PARTS(6, rsi, esi, si, sil)
PARTS(7, rdi, edi, di, dil)
PARTS(8, r8, r8d, r8w, r8b)
PARTS(9, r9, r9d, r9w, r9b)
PARTS(10, r10, r10d, r10w, r10b)
PARTS(11, r11, r11d, r11w, r11b)
PARTS(12, r12, r12d, r12w, r12b)
PARTS(13, r13, r13d, r13w, r13b)
PARTS(14, r14, r14d, r14w, r14b)
PARTS(15, r15, r15d, r15w, r15b)

#define HIGH_BYTE(index, name)                                                 \
	START_TEST(high_byte_##name)                                           \
	{                                                                      \
		struct x86vcpu_regs regs;                                      \
		fill(&regs);                                                   \
		ck_assert_uint_eq(x86vcpu_regs_##name(&regs), 0x32);           \
		x86vcpu_regs_set_##name(&regs, 0xab);                          \
		check_write(&regs, index, UINT64_C(0xfedcba987654ab10));       \
	}                                                                      \
	END_TEST

HIGH_BYTE(0, ah)
HIGH_BYTE(1, ch)
HIGH_BYTE(2, dh)
HIGH_BYTE(3, bh)

START_TEST(merge_drops_bits_above_the_width)
{
	const uint64_t old = UINT64_C(0xfedcba9876543210), value = UINT64_C(0x1111222233334444);

	ck_assert_uint_eq(x86vcpu_regs_merge(old, X86VCPU_WIDTH_BYTE, value), UINT64_C(0xfedcba9876543244));
	ck_assert_uint_eq(x86vcpu_regs_merge(old, X86VCPU_WIDTH_WORD, value), UINT64_C(0xfedcba9876544444));
	ck_assert_uint_eq(x86vcpu_regs_merge(old, X86VCPU_WIDTH_DWORD, value), 0x33334444);
	ck_assert_uint_eq(x86vcpu_regs_merge(old, X86VCPU_WIDTH_QWORD, value), value);
	ck_assert_uint_eq(x86vcpu_regs_merge(old, 4, value), old);
	ck_assert_uint_eq(x86vcpu_regs_merge(old, UINT32_MAX, value), old);
}
END_TEST

START_TEST(edx_eax_joins_low_halves)
{
	struct x86vcpu_regs regs = { .rax = UINT64_C(0xaaaaaaaa11223344), .rdx = UINT64_C(0xbbbbbbbb55667788) };

	ck_assert_uint_eq(x86vcpu_regs_edx_eax(&regs), UINT64_C(0x5566778811223344));
}
END_TEST

START_TEST(set_edx_eax_clears_upper_halves)
{
	struct x86vcpu_regs regs;

	fill(&regs);
	x86vcpu_regs_set_edx_eax(&regs, UINT64_C(0x8899aabbccddeeff));
	ck_assert_uint_eq(regs.rax, 0xccddeeff);
	ck_assert_uint_eq(regs.rdx, 0x8899aabb);
	ck_assert_uint_eq(regs.rcx, UINT64_C(0xfedcba9876543210));
}
END_TEST

/* ---- Differences ----------------------------------------------------------------------------- */

START_TEST(diff_names_each_register)
{
	const struct x86vcpu_regs before = numbered();
	struct x86vcpu_regs after = before;
	const uint64_t value = 1;

	memcpy((char *)&after + 8 * _i, &value, sizeof(value));
	ck_assert_uint_eq(x86vcpu_regs_diff(&before, &after), _i == RSP ? 0 : 1u << _i);
}
END_TEST

START_TEST(diff_of_equal_or_no_sets_is_empty)
{
	const struct x86vcpu_regs regs = numbered();

	ck_assert_uint_eq(x86vcpu_regs_diff(&regs, &regs), 0);
	ck_assert_uint_eq(x86vcpu_regs_diff(NULL, &regs), 0);
	ck_assert_uint_eq(x86vcpu_regs_diff(&regs, NULL), 0);
}
END_TEST

START_TEST(format_shows_what_changed)
{
	const struct x86vcpu_regs before = { .rax = 1, .rcx = 5, .r15 = UINT64_MAX, .unused_rsp = 7 };
	const struct x86vcpu_regs after = { .rax = 2, .rcx = 5, .rdi = UINT64_C(0x1000000000000000) };
	static const char expected[] = "rax: 0x1 -> 0x2\n"
				       "rdi: 0x0 -> 0x1000000000000000\n"
				       "r15: 0xffffffffffffffff -> 0x0\n";
	char text[256];

	memset(text, 'x', sizeof(text));
	ck_assert_uint_eq(x86vcpu_regs_format_diff(&before, &after, text, sizeof(text)), strlen(expected));
	ck_assert_str_eq(text, expected);
}
END_TEST

START_TEST(format_of_no_change_is_empty)
{
	const struct x86vcpu_regs regs = numbered();
	char text[4] = "xxx";

	ck_assert_uint_eq(x86vcpu_regs_format_diff(&regs, &regs, text, sizeof(text)), 0);
	ck_assert_str_eq(text, "");
	text[0] = 'x';
	ck_assert_uint_eq(x86vcpu_regs_format_diff(NULL, &regs, text, sizeof(text)), 0);
	ck_assert_str_eq(text, "");
}
END_TEST

/* Every length from 0 up: a prefix of the whole, always terminated, never a byte beyond. */
START_TEST(format_stays_in_its_buffer)
{
	const struct x86vcpu_regs before = { .rax = 1, .r8 = 3 }, after = { .rax = 2, .r8 = 4 };
	static const char whole[] = "rax: 0x1 -> 0x2\nr8: 0x3 -> 0x4\n";

	for (uint64_t len = 0; len <= sizeof(whole) + 1; len++) {
		const uint64_t expected = len == 0 ? 0 : len <= sizeof(whole) ? len - 1 : sizeof(whole) - 1;
		char text[sizeof(whole) + 2];

		memset(text, 'x', sizeof(text));
		ck_assert_uint_eq(x86vcpu_regs_format_diff(&before, &after, text, len), expected);
		ck_assert_mem_eq(text, whole, expected);
		if (len)
			ck_assert_int_eq(text[expected], '\0');
		for (uint64_t i = len; i < sizeof(text); i++)
			ck_assert_int_eq(text[i], 'x');
	}
	ck_assert_uint_eq(x86vcpu_regs_format_diff(&before, &after, NULL, 10), 0);
}
END_TEST

START_TEST(a_full_difference_fits_1024_bytes)
{
	struct x86vcpu_regs before, after;
	char text[1024];

	memset(&before, 0xff, sizeof(before));
	memset(&after, 0xee, sizeof(after));
	/* 13 names of three letters, 2 of two; the two values and what stands between take 43 bytes. */
	ck_assert_uint_eq(x86vcpu_regs_format_diff(&before, &after, text, sizeof(text)), 13 * 46 + 2 * 45);
}
END_TEST

/* ---- MSRs ------------------------------------------------------------------------------------ */

/* SDM Vol. 4, table 2-2; APM Vol. 2, appendix A. */
static const struct {
	uint32_t msr;
	const char *name;
} msrs[] = {
	{ 0x10, "IA32_TIME_STAMP_COUNTER" },
	{ 0x1b, "IA32_APIC_BASE" },
	{ 0x3a, "IA32_FEATURE_CONTROL" },
	{ 0x48, "IA32_SPEC_CTRL" },
	{ 0x8b, "IA32_BIOS_SIGN_ID" },
	{ 0xfe, "IA32_MTRRCAP" },
	{ 0x10a, "IA32_ARCH_CAPABILITIES" },
	{ 0x174, "IA32_SYSENTER_CS" },
	{ 0x176, "IA32_SYSENTER_EIP" },
	{ 0x1a0, "IA32_MISC_ENABLE" },
	{ 0x1d9, "IA32_DEBUGCTL" },
	{ 0x200, "IA32_MTRR_PHYSBASEn" },
	{ 0x20e, "IA32_MTRR_PHYSBASEn" },
	{ 0x20f, "IA32_MTRR_PHYSMASKn" },
	{ 0x213, "IA32_MTRR_PHYSMASKn" },
	{ 0x214, NULL },
	{ 0x277, "IA32_PAT" },
	{ 0x2ff, "IA32_MTRR_DEF_TYPE" },
	{ 0x400, "IA32_MCi_CTL" },
	{ 0x405, "IA32_MCi_STATUS" },
	{ 0x480, "IA32_VMX_BASIC" },
	{ 0x48b, "IA32_VMX_PROCBASED_CTLS2" },
	{ 0x48c, "IA32_VMX_EPT_VPID_CAP" },
	{ 0x490, "IA32_VMX_TRUE_ENTRY_CTLS" },
	{ 0x491, "IA32_VMX_VMFUNC" },
	{ 0x6e0, "IA32_TSC_DEADLINE" },
	{ 0x802, "IA32_X2APIC_APICID" },
	{ 0x817, "IA32_X2APIC_ISRx" },
	{ 0x818, "IA32_X2APIC_TMRx" },
	{ 0x827, "IA32_X2APIC_IRRx" },
	{ 0x830, "IA32_X2APIC_ICR" },
	{ 0x831, NULL },
	{ 0xda0, "IA32_XSS" },
	{ 0x40000000, NULL },
	{ 0xc0000080, "IA32_EFER" },
	{ 0xc0000082, "IA32_LSTAR" },
	{ 0xc0000102, "IA32_KERNEL_GS_BASE" },
	{ 0xc0000103, "IA32_TSC_AUX" },
	{ 0xc0010015, "HWCR" },
	{ 0xc0010114, "VM_CR" },
	{ 0xc0010117, "VM_HSAVE_PA" },
	{ 0xc001020a, "PERF_EVT_SELn" },
	{ 0xc001020c, NULL },
	{ 0xc0011029, "DE_CFG" },
	{ 0xffffffff, NULL },
};

START_TEST(names_msr)
{
	const char *name = x86vcpu_msr_name(msrs[_i].msr);

	if (msrs[_i].name)
		ck_assert_pstr_eq(name, msrs[_i].name);
	else
		ck_assert_ptr_null(name);
}
END_TEST

/* ---- The suite ------------------------------------------------------------------------------- */

static TCase *number_cases(void)
{
	TCase *tcase = tcase_create("numbers");

	tcase_add_loop_test(tcase, number_reaches_register, 0, 16);
	tcase_add_loop_test(tcase, number_has_name, 0, 16);
	tcase_add_test(tcase, names_end_at_15);
	tcase_add_test(tcase, refuses_rsp_and_numbers_above_15);
	tcase_add_test(tcase, refuses_null);
	return tcase;
}

static TCase *part_cases(void)
{
	TCase *tcase = tcase_create("parts");

	tcase_add_test(tcase, parts_of_rax);
	tcase_add_test(tcase, parts_of_rcx);
	tcase_add_test(tcase, parts_of_rdx);
	tcase_add_test(tcase, parts_of_rbx);
	tcase_add_test(tcase, parts_of_rbp);
	tcase_add_test(tcase, parts_of_rsi);
	tcase_add_test(tcase, parts_of_rdi);
	tcase_add_test(tcase, parts_of_r8);
	tcase_add_test(tcase, parts_of_r9);
	tcase_add_test(tcase, parts_of_r10);
	tcase_add_test(tcase, parts_of_r11);
	tcase_add_test(tcase, parts_of_r12);
	tcase_add_test(tcase, parts_of_r13);
	tcase_add_test(tcase, parts_of_r14);
	tcase_add_test(tcase, parts_of_r15);
	tcase_add_test(tcase, high_byte_ah);
	tcase_add_test(tcase, high_byte_ch);
	tcase_add_test(tcase, high_byte_dh);
	tcase_add_test(tcase, high_byte_bh);
	tcase_add_test(tcase, merge_drops_bits_above_the_width);
	tcase_add_test(tcase, edx_eax_joins_low_halves);
	tcase_add_test(tcase, set_edx_eax_clears_upper_halves);
	return tcase;
}

static TCase *difference_cases(void)
{
	TCase *tcase = tcase_create("differences");

	tcase_add_loop_test(tcase, diff_names_each_register, 0, 16);
	tcase_add_test(tcase, diff_of_equal_or_no_sets_is_empty);
	tcase_add_test(tcase, format_shows_what_changed);
	tcase_add_test(tcase, format_of_no_change_is_empty);
	tcase_add_test(tcase, format_stays_in_its_buffer);
	tcase_add_test(tcase, a_full_difference_fits_1024_bytes);
	return tcase;
}

Suite *regs_suite(void)
{
	Suite *suite = suite_create("regs");
	TCase *names = tcase_create("msrs");

	suite_add_tcase(suite, number_cases());
	suite_add_tcase(suite, part_cases());
	suite_add_tcase(suite, difference_cases());
	tcase_add_loop_test(names, names_msr, 0, COUNT(msrs));
	suite_add_tcase(suite, names);
	return suite;
}
