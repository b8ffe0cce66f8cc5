/* SPDX-License-Identifier: Apache-2.0 */
/* Modes of the host that enable, bind and run refuse. Bits are the manuals' numbers. */
#include <check.h>
#include <stdlib.h>

#include "fake_cpu.h"

/* With leaf 7, which the fake CPU does not have. */
static void mode_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t out[4]);
#define insn_cpuid mode_cpuid

#include "emul/host_mode.c"

Suite *host_mode_suite(void);

#define BIT(n) (UINT64_C(1) << (n))
#define LINUX_PAT UINT64_C(0x0407050600070106)

static bool has_shadow_stacks;
static char lines[1024];

static void mode_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	fake_cpuid(leaf, subleaf, out);
	if (leaf == 7 && has_shadow_stacks)
		out[2] |= BIT(7);
}

static void take_line(void *ctx, uint32_t level, const char *text, uint64_t len)
{
	(void)ctx;
	ck_assert_uint_eq(level, 1);
	ck_assert_uint_lt(strlen(lines) + len + 1, sizeof(lines));
	strncat(lines, text, len);
}

static int32_t probe_msr(void *ctx, uint32_t msr, uint64_t *value)
{
	(void)ctx;
	*value = *fake_msr(msr);
	return X86VCPU_OK;
}

static const struct x86vcpu_host_ops host = {.size = sizeof(host), .log = take_line, .read_msr = probe_msr};

static void power_on(void)
{
	memset(&fake_cpu, 0, sizeof(fake_cpu));
	lines[0] = '\0';
	has_shadow_stacks = true;
	fake_cpu.cr4 = 0x42620;
	*fake_msr(0xc0000080) = 0xd01;
	*fake_msr(0x277) = LINUX_PAT;
}

static int32_t ask(uint32_t extension)
{
	struct host_mode mode;

	lines[0] = '\0';
	host_mode_read(&host, NULL, extension, &mode);
	return host_mode_check(&host, NULL, extension, &mode);
}

static const struct {
	uint64_t set, clear; /* in CR4 */
	uint32_t msr;        /* or 0 */
	uint64_t value;
	bool vmx, svm;       /* accepted there */
	const char *word;    /* of the line that says why not */
} modes[] = {
	{0, 0, 0, 0, true, true, ""},
	{BIT(32), 0, 0, 0, false, false, "CR4.FRED"},
	{0, BIT(18), 0, 0, false, false, "CR4.OSXSAVE"},
	{0, BIT(9), 0, 0, false, false, "CR4.OSFXSR"},
	/* PCIDE, PKE, PKS, UINTR, LAM_SUP, MCE and CET for user shadow stacks */
	{BIT(17) | BIT(22) | BIT(24) | BIT(25) | BIT(28) | BIT(6) | BIT(23), 0, 0, 0, true, true, ""},
	{BIT(23), 0, 0x6a2, BIT(0), false, false, "SH_STK_EN"},
#if !(defined(__CET__) && __CET__ & 1)
	{BIT(23), 0, 0x6a2, BIT(2), false, false, "ENDBR_EN"},
#endif
	/* Without CR4.CET the MSR means nothing. */
	{0, 0, 0x6a2, BIT(0), true, true, ""},
	{0, 0, 0xc0000080, 0x501, true, false, "EFER.NXE"},
	/* The first entry UC, and all others WB. */
	{0, 0, 0x277, UINT64_C(0x0606060606060600), true, false, "IA32_PAT"},
	/* The first entry WB, and the fourth WC. */
	{0, 0, 0x277, UINT64_C(0x0007010601070406), true, false, "fourth entry of IA32_PAT"},
	{0, 0, 0x3f1, 1, false, true, "IA32_PEBS_ENABLE"},
	{0, 0, 0x3f1, BIT(32), false, true, "IA32_PEBS_ENABLE"},
};

START_TEST(mode_is_accepted_or_named)
{
	const bool accepted[] = {[X86VCPU_EXTENSION_VMX] = modes[_i].vmx, [X86VCPU_EXTENSION_SVM] = modes[_i].svm};

	power_on();
	fake_cpu.cr4 = (fake_cpu.cr4 | modes[_i].set) & ~modes[_i].clear;
	if (modes[_i].msr)
		*fake_msr(modes[_i].msr) = modes[_i].value;
	for (uint32_t extension = X86VCPU_EXTENSION_VMX; extension <= X86VCPU_EXTENSION_SVM; extension++) {
		ck_assert_int_eq(ask(extension), accepted[extension] ? X86VCPU_OK : X86VCPU_ERR_UNSUPPORTED);
		if (accepted[extension])
			ck_assert_str_eq(lines, "");
		else
			ck_assert_ptr_nonnull(strstr(lines, modes[_i].word));
	}
}
END_TEST

/* What enable sets it does not ask for. */
START_TEST(enable_assumes_what_it_sets)
{
	struct host_mode mode;

	power_on();
	fake_cpu.cr4 &= ~(BIT(18) | BIT(9));
	*fake_msr(0xc0000080) = 0x501;
	host_mode_read(&host, NULL, X86VCPU_EXTENSION_SVM, &mode);
	host_mode_assume_enabled(&mode);
	ck_assert_int_eq(host_mode_check(&host, NULL, X86VCPU_EXTENSION_SVM, &mode), 0);
}
END_TEST

/* IA32_S_CET does not exist there: reading it would fault. */
START_TEST(s_cet_is_not_read_without_cet)
{
	power_on();
	has_shadow_stacks = false;
	fake_cpu.cr4 |= BIT(23);
	*fake_msr(0x6a2) = 1;
	ck_assert_int_eq(ask(X86VCPU_EXTENSION_VMX), 0);
}
END_TEST

START_TEST(run_asks_for_cr4_alone)
{
	power_on();
	*fake_msr(0xc0000080) = 0x501;
	ck_assert_int_eq(host_mode_check_cr4(&host, NULL, X86VCPU_EXTENSION_SVM, fake_cpu.cr4), 0);
	ck_assert_int_eq(host_mode_check_cr4(&host, NULL, X86VCPU_EXTENSION_SVM, fake_cpu.cr4 | BIT(32)),
			 X86VCPU_ERR_UNSUPPORTED);
}
END_TEST

Suite *host_mode_suite(void)
{
	Suite *suite = suite_create("host_mode");
	TCase *tcase = tcase_create("host_mode");

	tcase_add_loop_test(tcase, mode_is_accepted_or_named, 0, (int)(sizeof(modes) / sizeof(modes[0])));
	tcase_add_test(tcase, enable_assumes_what_it_sets);
	tcase_add_test(tcase, s_cet_is_not_read_without_cet);
	tcase_add_test(tcase, run_asks_for_cr4_alone);
	suite_add_tcase(suite, tcase);
	return suite;
}
