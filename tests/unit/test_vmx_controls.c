/* SPDX-License-Identifier: Apache-2.0 */
/* Choosing VMX controls from capability MSRs, and the fields of the other capability MSRs. */
#include <check.h>

#include "vmx/controls.h"

Suite *vmx_controls_suite(void);

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

static uint64_t capability(uint32_t allowed0, uint32_t allowed1)
{
	return (uint64_t)allowed1 << 32 | allowed0;
}

/* ---- The rule of SDM 32.5.1 ------------------------------------------------------------------ */

static const struct choice_case {
	const char *what;
	enum vmx_control_kind kind;
	uint32_t allowed0, allowed1;
	struct vmx_control_request request;
	int32_t status;
	uint32_t value, missing, forced;
} choices[] = {
	{
		.what = "a wish that the processor fulfils",
		.kind = VMX_CONTROL_CPU2, .allowed0 = 0, .allowed1 = 0xffffffff,
		.request = { .required = 1 << 1, .wanted = 1 << 5 },
		.value = 1 << 1 | 1 << 5,
	},
	{
		.what = "a wish that it does not",
		.kind = VMX_CONTROL_CPU2, .allowed0 = 0, .allowed1 = 1 << 1,
		.request = { .required = 1 << 1, .wanted = 1 << 5 },
		.value = 1 << 1,
	},
	{
		.what = "a required bit that it lacks",
		.kind = VMX_CONTROL_CPU2, .allowed0 = 0, .allowed1 = 1 << 1,
		.request = { .required = 1 << 1 | 1 << 7 | 1u << 31 },
		.status = X86VCPU_ERR_UNSUPPORTED, .value = 1 << 1, .missing = 1 << 7 | 1u << 31,
	},
	{
		.what = "a forbidden bit that it forces",
		.kind = VMX_CONTROL_CPU2, .allowed0 = 1 << 6, .allowed1 = 0xffffffff,
		.request = { .forbidden = 1 << 6 | 1 << 8 },
		.status = X86VCPU_ERR_UNSUPPORTED, .value = 1 << 6, .forced = 1 << 6,
	},
	{
		.what = "bits that nobody named are 0 in the default0 class",
		.kind = VMX_CONTROL_CPU2, .allowed0 = 0, .allowed1 = 0xffffffff,
		.value = 0,
	},
	{
		.what = "a bit that must be 1 is 1 unasked",
		.kind = VMX_CONTROL_CPU2, .allowed0 = 1 << 3, .allowed1 = 0xffffffff,
		.value = 1 << 3,
	},
	/* Default1 classes with TRUE MSRs that leave every bit free: SDM A.3.1, A.3.2, A.4, A.5. */
	{
		.what = "default of pin controls: 1, 2, 4",
		.kind = VMX_CONTROL_PIN, .allowed0 = 0, .allowed1 = 0xffffffff,
		.value = 0x16,
	},
	{
		.what = "default of primary controls: 1, 4-6, 8, 13-16, 26",
		.kind = VMX_CONTROL_CPU, .allowed0 = 0, .allowed1 = 0xffffffff,
		.value = 0x0401e172,
	},
	{
		.what = "default of exit controls: 0-8, 10, 11, 13, 14, 16, 17",
		.kind = VMX_CONTROL_EXIT, .allowed0 = 0, .allowed1 = 0xffffffff,
		.value = 0x00036dff,
	},
	{
		.what = "default of entry controls: 0-8, 12",
		.kind = VMX_CONTROL_ENTRY, .allowed0 = 0, .allowed1 = 0xffffffff,
		.value = 0x000011ff,
	},
	{
		.what = "a default1 bit that the TRUE MSR frees and we do not want: CR3 exits",
		.kind = VMX_CONTROL_CPU, .allowed0 = 0x04006172, .allowed1 = 0xfff9fffe,
		.request = { .required = 1u << 31, .forbidden = 1 << 15 | 1 << 16 },
		.value = 0x84006172,
	},
	{
		.what = "the same without TRUE MSR cannot be had",
		.kind = VMX_CONTROL_CPU, .allowed0 = 0x0401e172, .allowed1 = 0xfff9fffe,
		.request = { .required = 1u << 31, .forbidden = 1 << 15 | 1 << 16 },
		.status = X86VCPU_ERR_UNSUPPORTED, .value = 0x8401e172, .forced = 1 << 15 | 1 << 16,
	},
	{
		.what = "a default1 bit that may not be 1",
		.kind = VMX_CONTROL_ENTRY, .allowed0 = 0, .allowed1 = 0xfffffffb,
		.value = 0x000011fb,
	},
	{
		.what = "a wish that contradicts itself",
		.kind = VMX_CONTROL_CPU2, .allowed0 = 0, .allowed1 = 0xffffffff,
		.request = { .wanted = 1 << 5, .forbidden = 1 << 5 },
		.status = X86VCPU_ERR_INVALID_INPUT, .value = 1 << 5,
	},
	{
		.what = "a capability MSR that contradicts itself",
		.kind = VMX_CONTROL_CPU2, .allowed0 = 1 << 2, .allowed1 = 1 << 1,
		.request = { .required = 1 << 1 },
		.status = X86VCPU_ERR_INVALID_DATA, .value = 1 << 2 | 1 << 1,
	},
	{
		.what = "a missing and a forced bit at once",
		.kind = VMX_CONTROL_PIN, .allowed0 = 0x17, .allowed1 = 0x17,
		.request = { .required = 1 << 3, .forbidden = 1 << 0 },
		.status = X86VCPU_ERR_UNSUPPORTED, .value = 0x17, .missing = 1 << 3, .forced = 1 << 0,
	},
};

START_TEST(chooses)
{
	const struct choice_case *c = &choices[_i];
	struct vmx_control_choice choice;
	const int32_t status =
		vmx_control_choose(c->kind, capability(c->allowed0, c->allowed1), &c->request, &choice);

	ck_assert_msg(status == c->status, "%s: status %d", c->what, status);
	ck_assert_msg(choice.value == c->value, "%s: value %#x", c->what, choice.value);
	ck_assert_msg(choice.missing == c->missing, "%s: missing %#x", c->what, choice.missing);
	ck_assert_msg(choice.forced == c->forced, "%s: forced %#x", c->what, choice.forced);
}
END_TEST

/* Whatever the MSR and the request: a word that is handed out is one that VM entry accepts (27.2.1). */
START_TEST(a_choice_is_always_allowed)
{
	uint64_t state = UINT64_C(0x9e3779b97f4a7c15) + (uint64_t)_i;

	for (int round = 0; round < 20000; round++) {
		uint32_t word[5];
		struct vmx_control_choice choice;

		for (int i = 0; i < 5; i++) {
			state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
			word[i] = (uint32_t)(state >> 33) * 2 + (state >> 32 & 1);
		}
		const struct vmx_control_request request = {
			.required = word[2] & word[1],
			.wanted = word[3],
			.forbidden = word[4] & ~(word[0] & word[1]) & ~word[3] & ~(word[2] & word[1]),
		};
		ck_assert_int_eq(vmx_control_choose((enum vmx_control_kind)_i,
						    capability(word[0] & word[1], word[1]), &request,
						    &choice), X86VCPU_OK);
		ck_assert_uint_eq(choice.value & ~word[1], 0);
		ck_assert_uint_eq(~choice.value & word[0] & word[1], 0);
		ck_assert_uint_eq(request.required & ~choice.value, 0);
		ck_assert_uint_eq(request.wanted & word[1] & ~choice.value, 0);
		ck_assert_uint_eq(request.forbidden & choice.value, 0);
	}
}
END_TEST

/* ---- Which MSR (SDM A.2) --------------------------------------------------------------------- */

static const struct {
	enum vmx_control_kind kind;
	uint32_t msr, true_msr;
} msrs[] = {
	{ VMX_CONTROL_PIN, 0x481, 0x48d },
	{ VMX_CONTROL_CPU, 0x482, 0x48e },
	{ VMX_CONTROL_CPU2, 0x48b, 0x48b },
	{ VMX_CONTROL_EXIT, 0x483, 0x48f },
	{ VMX_CONTROL_ENTRY, 0x484, 0x490 },
};

START_TEST(capability_msr_follows_basic_bit_55)
{
	ck_assert_uint_eq(vmx_control_msr(msrs[_i].kind, ~(UINT64_C(1) << 55)), msrs[_i].msr);
	ck_assert_uint_eq(vmx_control_msr(msrs[_i].kind, UINT64_C(1) << 55), msrs[_i].true_msr);
}
END_TEST

/* ---- Names ----------------------------------------------------------------------------------- */

static const struct {
	enum vmx_control_kind kind;
	unsigned bit;
	const char *name;
} control_names[] = {
	{ VMX_CONTROL_PIN, 0, "PIN_EXTERNAL_INTERRUPT_EXITING" },
	{ VMX_CONTROL_PIN, 6, "PIN_PREEMPTION_TIMER" },
	{ VMX_CONTROL_CPU, 2, "CPU_INTERRUPT_WINDOW_EXITING" },
	{ VMX_CONTROL_CPU, 7, "CPU_HLT_EXITING" },
	{ VMX_CONTROL_CPU, 28, "CPU_USE_MSR_BITMAPS" },
	{ VMX_CONTROL_CPU, 31, "CPU_SECONDARY_CONTROLS" },
	{ VMX_CONTROL_CPU2, 1, "CPU2_ENABLE_EPT" },
	{ VMX_CONTROL_CPU2, 7, "CPU2_UNRESTRICTED_GUEST" },
	{ VMX_CONTROL_CPU2, 31, "CPU2_INSTRUCTION_TIMEOUT" },
	{ VMX_CONTROL_EXIT, 9, "EXIT_HOST_ADDRESS_SPACE_SIZE" },
	{ VMX_CONTROL_EXIT, 15, "EXIT_ACKNOWLEDGE_INTERRUPT" },
	{ VMX_CONTROL_EXIT, 22, "EXIT_SAVE_PREEMPTION_TIMER" },
	{ VMX_CONTROL_ENTRY, 9, "ENTRY_IA32E_MODE_GUEST" },
	{ VMX_CONTROL_ENTRY, 15, "ENTRY_LOAD_EFER" },
	{ VMX_CONTROL_PIN, 1, "reserved" },
	{ VMX_CONTROL_CPU2, 29, "reserved" },
	{ VMX_CONTROL_ENTRY, 31, "reserved" },
	{ VMX_CONTROL_PIN, 32, "reserved" },
	{ VMX_CONTROL_KINDS, 0, "reserved" },
};

START_TEST(names_controls)
{
	ck_assert_str_eq(vmx_control_name(control_names[_i].kind, control_names[_i].bit), control_names[_i].name);
}
END_TEST

/* Bits by the manual's tables (SDM 25.6 to 25.8), which the names above do not pin down. */
START_TEST(control_bits_are_the_manuals)
{
	ck_assert_uint_eq(PIN_NMI_EXITING | PIN_VIRTUAL_NMIS | PIN_POSTED_INTERRUPTS, 0xa8);
	ck_assert_uint_eq(CPU_CR3_LOAD_EXITING | CPU_CR3_STORE_EXITING, 0x18000);
	ck_assert_uint_eq(CPU_UNCONDITIONAL_IO_EXITING | CPU_USE_IO_BITMAPS, 0x3000000);
	ck_assert_uint_eq(CPU_MONITOR_EXITING | CPU_MWAIT_EXITING | CPU_RDPMC_EXITING, 0x20000c00);
	ck_assert_uint_eq(CPU2_ENABLE_VPID | CPU2_WBINVD_EXITING | CPU2_ENABLE_INVPCID, 0x1060);
	ck_assert_uint_eq(CPU2_ENABLE_RDTSCP | CPU2_ENABLE_XSAVES | CPU2_USE_TSC_SCALING, 0x2100008);
	ck_assert_uint_eq(EXIT_SAVE_DEBUG_CONTROLS | EXIT_SAVE_PAT | EXIT_LOAD_PAT, 0xc0004);
	ck_assert_uint_eq(EXIT_SAVE_EFER | EXIT_LOAD_EFER | EXIT_SECONDARY_CONTROLS, 0x80300000);
	ck_assert_uint_eq(ENTRY_LOAD_DEBUG_CONTROLS | ENTRY_LOAD_PAT | ENTRY_LOAD_CET_STATE, 0x104004);
}
END_TEST

/* ---- IA32_VMX_BASIC, IA32_VMX_MISC, IA32_VMX_EPT_VPID_CAP ------------------------------------ */

START_TEST(decodes_basic)
{
	const uint64_t basic = UINT64_C(0x00da040000000012); /* revision 0x12, 1024 bytes, WB, 54, 55 */

	ck_assert_uint_eq(vmx_basic_revision(basic), 0x12);
	ck_assert_uint_eq(vmx_basic_region_size(basic), 1024);
	ck_assert_uint_eq(vmx_basic_memory_type(basic), 6);
	ck_assert(basic & VMX_BASIC_INS_OUTS_INFO);
	ck_assert(basic & VMX_BASIC_TRUE_CONTROLS);
	ck_assert(basic & VMX_BASIC_DUAL_MONITOR);
	ck_assert(!(basic & VMX_BASIC_32BIT_ADDRESSES));
	ck_assert(!(basic & VMX_BASIC_ANY_ERROR_CODE));
	ck_assert_uint_eq(vmx_basic_revision(UINT64_MAX), 0x7fffffff);
	ck_assert_uint_eq(vmx_basic_region_size(UINT64_MAX), 0x1fff);
	ck_assert_uint_eq(vmx_basic_memory_type(UINT64_MAX), 0xf);
}
END_TEST

START_TEST(decodes_misc)
{
	const uint64_t misc = UINT64_C(0x12345678700481e5);

	ck_assert_uint_eq(vmx_misc_timer_shift(misc), 5);
	ck_assert_uint_eq(vmx_misc_cr3_targets(misc), 4);
	ck_assert_uint_eq(vmx_misc_msr_list_limit(misc), 512);
	ck_assert_uint_eq(vmx_misc_msr_list_limit(UINT64_C(7) << 25), 4096);
	ck_assert_uint_eq(vmx_misc_mseg_revision(misc), 0x12345678);
	ck_assert(misc & VMX_MISC_EXIT_STORES_LMA);
	ck_assert(misc & VMX_MISC_ACTIVITY_HLT);
	ck_assert(misc & VMX_MISC_ACTIVITY_SHUTDOWN);
	ck_assert(misc & VMX_MISC_ACTIVITY_WAIT_FOR_SIPI);
	ck_assert(misc & VMX_MISC_SMBASE_READABLE);
	ck_assert(misc & VMX_MISC_SMM_MONITOR_CTL_2);
	ck_assert(misc & VMX_MISC_VMWRITE_ANY_FIELD);
	ck_assert(misc & VMX_MISC_ZERO_LENGTH_INJECTION);
	ck_assert(!(misc & VMX_MISC_PT_IN_VMX));
}
END_TEST

START_TEST(decodes_ept_vpid_cap)
{
	/* What a processor since Haswell reports. */
	const uint64_t cap = UINT64_C(0x00000f0106334141);

	ck_assert_uint_eq(cap & (EPT_CAP_EXECUTE_ONLY | EPT_CAP_WALK_4 | EPT_CAP_WALK_5), 0x41);
	ck_assert_uint_eq(cap & (EPT_CAP_UC | EPT_CAP_WB), 0x4100);
	ck_assert_uint_eq(cap & (EPT_CAP_2M | EPT_CAP_1G), 0x30000);
	ck_assert_uint_eq(cap & (EPT_CAP_INVEPT | EPT_CAP_ACCESSED_DIRTY | EPT_CAP_ADVANCED_EXIT_INFO), 0x300000);
	ck_assert_uint_eq(cap & (EPT_CAP_INVEPT_SINGLE | EPT_CAP_INVEPT_ALL), 0x6000000);
	ck_assert(cap & VPID_CAP_INVVPID);
	ck_assert_uint_eq(cap & (VPID_CAP_INVVPID_ADDRESS | VPID_CAP_INVVPID_SINGLE | VPID_CAP_INVVPID_ALL |
				 VPID_CAP_INVVPID_SINGLE_RETAINING_GLOBALS), UINT64_C(0xf) << 40);
	ck_assert_uint_eq(ept_cap_max_hlat_prefix(UINT64_C(52) << 48), 52);
}
END_TEST

Suite *vmx_controls_suite(void)
{
	Suite *suite = suite_create("vmx_controls");
	TCase *choice = tcase_create("choice");
	TCase *names = tcase_create("names");
	TCase *capabilities = tcase_create("capabilities");

	tcase_add_loop_test(choice, chooses, 0, COUNT(choices));
	tcase_add_loop_test(choice, a_choice_is_always_allowed, 0, VMX_CONTROL_KINDS);
	tcase_add_loop_test(choice, capability_msr_follows_basic_bit_55, 0, COUNT(msrs));
	suite_add_tcase(suite, choice);

	tcase_add_loop_test(names, names_controls, 0, COUNT(control_names));
	tcase_add_test(names, control_bits_are_the_manuals);
	suite_add_tcase(suite, names);

	tcase_add_test(capabilities, decodes_basic);
	tcase_add_test(capabilities, decodes_misc);
	tcase_add_test(capabilities, decodes_ept_vpid_cap);
	suite_add_tcase(suite, capabilities);
	return suite;
}
