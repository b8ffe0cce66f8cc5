/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entry failures in words. Each rule is broken once: a value of its field is looked for with which it is the first that
 * does not hold. Then the entry fails, the model names the rule, and so does the library.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "svm/entry_checks.h"
#include "vmx/entry_checks.h"
#include "vmx/vmcs_fields.h"

static uint32_t explained(struct fixture *f, char *text, uint64_t len)
{
	uint32_t check;

	ck_assert_int_eq(x86vcpu_explain_entry_failure(f->vcpu, &check, text, len), X86VCPU_OK);
	return check;
}

static void assert_named(struct fixture *f, uint32_t id, const char *section, const char *what)
{
	char text[200];

	ck_assert_uint_eq(f->exit.kind, X86VCPU_EXIT_FAIL_ENTRY);
	ck_assert_uint_eq(explained(f, text, sizeof(text)), id);
	ck_assert_msg(strstr(text, section) == text && strstr(text, what), "%s", text);
	ck_assert_msg(strstr(model_complaints(f->m), what), "\"%s\" and not \"%s\"", model_complaints(f->m), what);
	ck_assert_str_eq(x86vcpu_entry_check_name(id), what);
	model_forgive(f->m);
}

/* What the rules of VT-x with conditions need beside a value of their own field: bits that are set, and cleared. */
#define IA32E(first, last)                                                                                   \
	{first, last, VMCS_ENTRY_CONTROLS, 1u << 9, 0}, {first, last, VMCS_GUEST_CR0, 0x80000001, 0},         \
	{first, last, VMCS_GUEST_CR4, 0x20, 0}, {first, last, VMCS_GUEST_EFER, 0x500, 0},                     \
	{first, last, VMCS_GUEST_CS_ACCESS_RIGHTS, 0x2000, 0}
#define V8086(first, last)                                                                                   \
	{first, last, VMCS_GUEST_ES_ACCESS_RIGHTS, 0xf3, 0xffff}, {first, last, VMCS_GUEST_CS_ACCESS_RIGHTS, 0xf3, 0xffff}, \
	{first, last, VMCS_GUEST_SS_ACCESS_RIGHTS, 0xf3, 0xffff}, {first, last, VMCS_GUEST_DS_ACCESS_RIGHTS, 0xf3, 0xffff}, \
	{first, last, VMCS_GUEST_FS_ACCESS_RIGHTS, 0xf3, 0xffff}, {first, last, VMCS_GUEST_GS_ACCESS_RIGHTS, 0xf3, 0xffff}
static const struct {
	uint16_t first, last;
	uint32_t field;
	uint64_t set, clear;
} needs[] = {
	{1010, 1010, VMCS_CPU_CONTROLS, 0, 1u << 21},
	{1012, 1012, VMCS_PIN_CONTROLS, 0, 1u << 5},
	{1013, 1013, VMCS_CPU2_CONTROLS, 1, 0},
	{1021, 1021, VMCS_PIN_CONTROLS, 0, 1u << 6},
	{1021, 1021, VMCS_EXIT_CONTROLS, 0, 1u << 22},
	{1030, 1030, VMCS_ENTRY_INTERRUPTION_INFO, 0x80000b0d, UINT32_MAX},
	{1030, 1030, VMCS_GUEST_CR0, 1, 0},
	{1031, 1031, VMCS_ENTRY_INTERRUPTION_INFO, 0x80000480, UINT32_MAX},
	{1214, 1214, VMCS_GUEST_CR0, 0x80000001, 0},
	{1226, 1226, VMCS_GUEST_TR_ACCESS_RIGHTS, 0x8000, 0},
	{1235, 1235, VMCS_GUEST_LDTR_ACCESS_RIGHTS, 0x8000, 0},
	V8086(1240, 1257),
	{1240, 1257, VMCS_GUEST_RFLAGS, 0x20000, 0},
	{1240, 1257, VMCS_GUEST_CR0, 1, 0},
	IA32E(1264, 1264),
	{1266, 1266, VMCS_GUEST_CS_ACCESS_RIGHTS, 0x8000, 0},
	{1274, 1274, VMCS_GUEST_CS_ACCESS_RIGHTS, 3, 15},
	{1276, 1276, VMCS_GUEST_SS_ACCESS_RIGHTS, 0x8000, 0},
	{1285, 1285, VMCS_GUEST_ES_ACCESS_RIGHTS, 0x8000, 0},
	{1295, 1295, VMCS_GUEST_DS_ACCESS_RIGHTS, 0x8000, 0},
	{1305, 1305, VMCS_GUEST_FS_ACCESS_RIGHTS, 0x8000, 0},
	{1315, 1315, VMCS_GUEST_GS_ACCESS_RIGHTS, 0x8000, 0},
	IA32E(1330, 1330),
	V8086(1333, 1333),
	{1334, 1334, VMCS_ENTRY_INTERRUPTION_INFO, 0x80000041, UINT32_MAX},
	{1341, 1341, VMCS_GUEST_INTERRUPTIBILITY, 2, 0},
	{1345, 1345, VMCS_ENTRY_INTERRUPTION_INFO, 0x80000202, UINT32_MAX},
	{1346, 1346, VMCS_ENTRY_INTERRUPTION_INFO, 0x80000041, UINT32_MAX},
	{1346, 1346, VMCS_GUEST_RFLAGS, 0x200, 0},
	{1347, 1347, VMCS_ENTRY_INTERRUPTION_INFO, 0x80000202, UINT32_MAX},
	{1349, 1350, VMCS_GUEST_INTERRUPTIBILITY, 2, 0},
	{1349, 1349, VMCS_GUEST_RFLAGS, 0x100, 0},
	{1360, 1363, VMCS_GUEST_CR0, 0x80000001, 0},
	{1360, 1363, VMCS_GUEST_CR4, 0x20, 0},
	{1360, 1360, VMCS_GUEST_PDPTE0, 1, UINT64_MAX},
	{1361, 1361, VMCS_GUEST_PDPTE1, 1, UINT64_MAX},
	{1362, 1362, VMCS_GUEST_PDPTE2, 1, UINT64_MAX},
	{1363, 1363, VMCS_GUEST_PDPTE3, 1, UINT64_MAX},
};

static void prepare_rule(uint32_t id)
{
	for (size_t i = 0; i < sizeof(needs) / sizeof(needs[0]); i++) {
		uint64_t value = 0;

		if (id < needs[i].first || id > needs[i].last)
			continue;
		model_vmread(needs[i].field, &value);
		model_vmwrite(needs[i].field, (value & ~needs[i].clear) | needs[i].set);
	}
}

/* Values that differ from what is there in one bit, and some more. False: with none the rule is the first that fails. */
static bool break_field(struct fixture *f, const struct vmx_entry_rule *rule)
{
	static const uint64_t more[] = {0, 2, 5, 7, UINT64_MAX, 0x10000, 0xff, 0x10, 0x80000320, 0x80001306, 0x80000b06, 0x80000203,
					0x80000700, 0x80000020, 0x80000302, 0xc09b, 0x21, 0x4093, 0x99};
	uint64_t old = 0;

	model_vmread(rule->field, &old);
	for (unsigned i = 0; i < 64 + sizeof(more) / sizeof(more[0]); i++) {
		model_vmwrite(rule->field, i < 64 ? old ^ UINT64_C(1) << i : more[i - 64]);
		if (explained(f, NULL, 0) == rule->id)
			return true;
	}
	model_vmwrite(rule->field, old);
	return false;
}

START_TEST(rule_of_vmx_is_named)
{
	const struct vmx_entry_rule *rule = vmx_entry_rule_at((unsigned)_i);
	const uint32_t lacking = rule->id == 1017 ? MODEL_EPT_AD : 0;
	struct fixture *f = fixture_begin(MODEL_VMX, MODEL_ALL & ~lacking);

	ck_assert_int_eq(fixture_does(f, MODEL_OP_NONE, 0, 0, 0, 0), X86VCPU_OK);
	ck_assert_uint_eq(explained(f, NULL, 0), 0);
	prepare_rule(rule->id);
	ck_assert_msg(break_field(f, rule), "%u %s", rule->id, rule->text);
	ck_assert_int_eq(fixture_does(f, MODEL_OP_NONE, 0, 0, 0, 0), X86VCPU_OK);
	assert_named(f, rule->id, rule->section, rule->text);
	ck_assert_int_eq(f->exit.u.fail_entry.instruction_error ? 0 : 33, f->exit.u.fail_entry.reason & 0xffff);
}
END_TEST

/* ---- SVM -------------------------------------------------------------------------------------------------------- */

/* What the rules of SVM with conditions need. */
static void prepare_vmcb(struct vmcb *b, uint32_t id)
{
	if (id == 2005)
		b->efer |= 0x400;
	if (id == 2010)
		b->cr0 |= 0x80000001;
	if (id == 2010 || id == 2011 || id == 2012)
		b->efer |= 0x100;
	if (id == 2011 || id == 2012)
		b->cr4 |= 0x20;
	if (id == 2012)
		b->cr0 |= 0x80000001;
	if (id == 2012)
		b->cs.attributes |= 0x200;
	if (id == 2023) {
		b->efer |= 0x400;
		b->cs.attributes |= 0x200;
	}
}

static bool break_member(struct fixture *f, struct vmcb *b, const struct svm_entry_rule *rule)
{
	static const uint64_t more[] = {0, 2, 5, 20, UINT64_MAX, 0x80000302, 0x80000305, 0x80000100, 0x80000000, 0x80000001};
	uint8_t *at = (uint8_t *)b + rule->offset;
	uint64_t old = 0, value;

	memcpy(&old, at, rule->bytes);
	for (unsigned i = 0; i < 64 + sizeof(more) / sizeof(more[0]); i++) {
		value = i < 64 ? old ^ UINT64_C(1) << i : more[i - 64];
		memcpy(at, &value, rule->bytes);
		if (explained(f, NULL, 0) == rule->id)
			return true;
	}
	memcpy(at, &old, rule->bytes);
	return false;
}

/* The library writes some members at each entry, so these rules are broken for the call alone. */
START_TEST(rule_of_svm_is_named)
{
	const struct svm_entry_rule *rule = &svm_entry_rules[_i];
	struct fixture *f = fixture_begin(MODEL_SVM, MODEL_ALL);
	struct vmcb *b = model_memory(f->m, x86vcpu_structure_hpa(f->vcpu));
	char text[200];

	ck_assert_int_eq(fixture_does(f, MODEL_OP_NONE, 0, 0, 0, 0), X86VCPU_OK);
	ck_assert_uint_eq(explained(f, NULL, 0), 0);
	prepare_vmcb(b, rule->id);
	/* Paging without protection is refused before it. */
	if (rule->id == 2011)
		return;
	ck_assert_msg(break_member(f, b, rule), "%u %s", rule->id, rule->text);
	ck_assert_uint_eq(explained(f, text, sizeof(text)), rule->id);
	ck_assert_msg(strstr(text, rule->section) == text && strstr(text, rule->text) && strstr(text, rule->field), "%s", text);
	ck_assert_str_eq(x86vcpu_entry_check_name(rule->id), rule->text);
}
END_TEST

/* ---- The call --------------------------------------------------------------------------------------------------- */

START_TEST(event_that_was_taken_back_is_judged)
{
	struct fixture *f = fixture_begin(MODEL_VMX, MODEL_ALL);
	char text[200];

	ck_assert_int_eq(x86vcpu_inject_exception(f->vcpu, 6, 0, 0), X86VCPU_OK);
	ck_assert_int_eq(fixture_does(f, MODEL_OP_BAD_ENTRY, 0, 0, 0, 0), X86VCPU_OK);
	ck_assert_uint_eq(f->exit.kind, X86VCPU_EXIT_FAIL_ENTRY);
	ck_assert_uint_eq(explained(f, text, sizeof(text)), 0);
	ck_assert_str_eq(text, "none of the known checks");
	model_vmwrite(VMCS_GUEST_TR_ACCESS_RIGHTS, 0x89);
	ck_assert_uint_eq(explained(f, text, sizeof(text)), 1221);
	ck_assert_str_eq(text, "SDM 27.3.1.2: TR type (GUEST_TR_ACCESS_RIGHTS = 0x89)");
	ck_assert_uint_eq(explained(f, text, 10), 1221);
	ck_assert_str_eq(text, "SDM 27.3.");
}
END_TEST

START_TEST(wrong_calls_are_refused)
{
	struct fixture *f = fixture_begin(_i ? MODEL_SVM : MODEL_VMX, MODEL_ALL);
	uint32_t check = 5;
	char text[8];

	ck_assert_int_eq(x86vcpu_explain_entry_failure(NULL, &check, text, 8), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_explain_entry_failure(f->vcpu, NULL, text, 8), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_explain_entry_failure(f->vcpu, &check, NULL, 8), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_uint_eq(check, 5);
	ck_assert_str_eq(x86vcpu_entry_check_name(0), "unknown");
	ck_assert_str_eq(x86vcpu_entry_check_name(_i ? 1221 : 2001), "unknown");
	ck_assert_int_eq(x86vcpu_unbind(f->vcpu), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_explain_entry_failure(f->vcpu, &check, text, 8), X86VCPU_ERR_BAD_STATE);
	ck_assert_int_eq(x86vcpu_bind(f->vcpu), X86VCPU_OK);
	fixture_end(f);
}
END_TEST

static int count_vmx_rules(void)
{
	int count = 0;

	while (vmx_entry_rule_at((unsigned)count))
		count++;
	return count;
}

Suite *explain_suite(void);
Suite *explain_suite(void)
{
	Suite *suite = suite_create("explain");
	TCase *tc = tcase_create("explain");

	tcase_add_loop_test(tc, rule_of_vmx_is_named, 0, count_vmx_rules());
	tcase_add_loop_test(tc, rule_of_svm_is_named, 0, (int)svm_entry_rule_count);
	tcase_add_test(tc, event_that_was_taken_back_is_judged);
	tcase_add_loop_test(tc, wrong_calls_are_refused, 0, 2);
	suite_add_tcase(suite, tc);
	return suite;
}
