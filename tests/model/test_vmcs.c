/* SPDX-License-Identifier: Apache-2.0 */
/* The model's VMX operation and VMCSs. */
#include <check.h>
#include <string.h>

#include "model.h"
#include "vmx/vmcs_fields.h"

#define REVISION 0x12u
#define CR4_VMXE (UINT64_C(1) << 13)

static uint64_t region(struct model *m, uint32_t revision)
{
	const uint64_t hpa = model_alloc(m, 1, 4096);

	*(uint32_t *)model_memory(m, hpa) = revision;
	return hpa;
}

static void vmx_on(struct model *m, uint32_t cpu)
{
	model_use(m, cpu);
	model_write_cr(4, model_read_cr(4) | CR4_VMXE);
	ck_assert_uint_eq(model_vmxon(region(m, REVISION)), 0);
}

/* On CPU 0, with a VMCS that is current; its address to *hpa. */
static struct model *machine(uint32_t features, uint64_t *hpa)
{
	struct model *m = model_create(MODEL_VMX, features);

	vmx_on(m, 0);
	*hpa = region(m, REVISION);
	ck_assert_uint_eq(model_vmclear(*hpa), 0);
	ck_assert_uint_eq(model_vmptrld(*hpa), 0);
	ck_assert_str_eq(model_complaints(m), "");
	return m;
}

static void complains(struct model *m, const char *text)
{
	ck_assert_msg(strstr(model_complaints(m), text), "\"%s\" and not \"%s\"", model_complaints(m), text);
	model_forgive(m);
}

static uint64_t instruction_error(void)
{
	uint64_t error;

	ck_assert_uint_eq(model_vmread(VMCS_INSTRUCTION_ERROR, &error), 0);
	return error;
}

START_TEST(vmxon_needs_vmxe_and_a_revision)
{
	struct model *m = model_create(MODEL_VMX, MODEL_ALL);

	ck_assert_uint_eq(model_vmxon(region(m, REVISION)), 1);
	complains(m, "#UD: VMXON with CR4.VMXE clear");
	model_write_cr(4, model_read_cr(4) | CR4_VMXE);
	ck_assert_uint_eq(model_vmxon(region(m, REVISION + 1)), 1);
	ck_assert_uint_eq(model_vmxon(region(m, REVISION)), 0);
}
END_TEST

START_TEST(fields_have_widths)
{
	uint64_t hpa, value;
	struct model *m = machine(MODEL_ALL, &hpa);

	ck_assert_uint_eq(model_vmwrite(VMCS_GUEST_CS_SELECTOR, 0x12345678), 0);
	ck_assert_uint_eq(model_vmread(VMCS_GUEST_CS_SELECTOR, &value), 0);
	ck_assert_uint_eq(value, 0x5678);
	ck_assert_uint_eq(model_vmwrite(VMCS_GUEST_CS_LIMIT, UINT64_C(0x123456789)), 0);
	ck_assert_uint_eq(model_vmread(VMCS_GUEST_CS_LIMIT, &value), 0);
	ck_assert_uint_eq(value, 0x23456789);
	model_destroy(m);
}
END_TEST

START_TEST(field_that_was_never_written_is_poison)
{
	uint64_t hpa, value = 0;
	struct model *m = machine(MODEL_ALL, &hpa);

	ck_assert_uint_eq(model_vmread(VMCS_GUEST_RIP, &value), 0);
	ck_assert_uint_eq(value, UINT64_C(0xa5a5a5a5a5a5a5a5));
	model_destroy(m);
}
END_TEST

START_TEST(access_that_fails_has_its_error)
{
	uint64_t hpa, value;
	struct model *m = machine(MODEL_ALL, &hpa);

	ck_assert_uint_eq(model_vmwrite(VMCS_EXIT_REASON, 1), 2);
	ck_assert_uint_eq(instruction_error(), 13);
	ck_assert_uint_eq(model_vmread(0x6c7e, &value), 2);
	ck_assert_uint_eq(instruction_error(), 12);
	ck_assert_uint_eq(model_vmclear(hpa + 1), 2);
	ck_assert_uint_eq(instruction_error(), 2);
	ck_assert_uint_eq(model_vmclear(hpa), 0);
	ck_assert_uint_eq(model_vmread(VMCS_GUEST_RIP, &value), 1); /* none is current */
	model_destroy(m);
}
END_TEST

static const struct {
	uint32_t feature, field;
} optional[] = {
	{MODEL_VPID, VMCS_VPID},
	{MODEL_TIMER, VMCS_PREEMPTION_TIMER},
	{MODEL_XSAVES, VMCS_XSS_EXITING_BITMAP},
	{MODEL_APIC_ACCESS, VMCS_APIC_ACCESS_ADDRESS},
	{MODEL_APICV, VMCS_EOI_EXIT_BITMAP0},
};

START_TEST(optional_field_comes_with_its_feature)
{
	uint64_t hpa;
	struct model *m = machine(MODEL_ALL, &hpa);

	ck_assert_uint_eq(model_vmwrite(optional[_i].field, 0), 0);
	model_destroy(m);
	m = machine(MODEL_ALL & ~optional[_i].feature, &hpa);
	ck_assert_uint_eq(model_vmwrite(optional[_i].field, 0), 2);
	model_destroy(m);
}
END_TEST

START_TEST(missing_vmclear_is_noticed)
{
	uint64_t hpa;
	struct model *m = machine(MODEL_ALL, &hpa);

	vmx_on(m, 1);
	ck_assert_uint_eq(model_vmptrld(hpa), 0);
	complains(m, "VMPTRLD of a VMCS that is active on CPU 0");
	model_vmclear(hpa);
	model_use(m, 0);
	ck_assert_uint_eq(model_vmptrld(hpa), 0);
	ck_assert_str_eq(model_complaints(m), "");
	model_vmxoff();
	complains(m, "VMXOFF while a VMCS is active");
	model_free(m, hpa, 1);
	complains(m, "a VMCS is freed while it is active on CPU 0");
	model_destroy(m);
}
END_TEST

START_TEST(launch_state_is_kept)
{
	uint64_t hpa, gpr[16] = {0};
	struct model *m = machine(MODEL_ALL, &hpa);

	ck_assert_uint_eq(model_vmx_entry(gpr, 1), 2);
	ck_assert_uint_eq(instruction_error(), 5);
	complains(m, "VMRESUME of a clear VMCS");
	/* Poison is no legal control word. */
	ck_assert_uint_eq(model_vmx_entry(gpr, 0), 2);
	ck_assert_uint_eq(instruction_error(), 7);
	complains(m, "VM entry: reserved pin-based controls");
	model_destroy(m);
}
END_TEST

START_TEST(missing_register_is_a_fault_of_the_host)
{
	struct model *m = model_create(MODEL_VMX, MODEL_ALL);

	model_rdmsr(0xdeadbeef);
	complains(m, "#GP: RDMSR deadbeef");
	model_wrmsr(0x277, 2);
	complains(m, "#GP: WRMSR 277");
	model_xsetbv(0, 2);
	complains(m, "#GP: XSETBV");
	model_destroy(m);
}
END_TEST

/* As the CPU was given it: later writes don't show. */
START_TEST(entry_has_a_picture)
{
	uint64_t hpa, gpr[16] = {0};
	struct model *m = machine(MODEL_ALL, &hpa);
	const struct model_picture *p;
	const uint32_t *words;
	uint32_t count, at = 0;

	words = model_words(MODEL_VMX, &count);
	while (at < count && words[at] != VMCS_GUEST_RIP)
		at++;
	model_vmwrite(VMCS_GUEST_RIP, 0x1234);
	model_vmx_entry(gpr, 0);
	model_vmwrite(VMCS_GUEST_RIP, 0x5678);
	ck_assert_uint_eq(model_entries(m), 1);
	p = model_picture(m, 0);
	ck_assert_uint_eq(p->words[at], 0x1234);
	ck_assert_uint_eq(p->written[at], 1);
	ck_assert_uint_eq(p->written[at + 1], 0);
	ck_assert_uint_eq(p->owner, hpa);
	ck_assert_str_eq(model_word_name(MODEL_VMX, words[at]), "GUEST_RIP");
	model_destroy(m);
}
END_TEST

START_TEST(write_counts_when_it_changes_something)
{
	struct model *m = model_create(MODEL_VMX, MODEL_ALL);
	const struct model_write *writes;
	uint32_t count;

	model_wrmsr(0x277, model_rdmsr(0x277));
	model_write_cr(4, model_read_cr(4));
	writes = model_writes(m, &count);
	ck_assert_uint_eq(count, 0);
	model_wrmsr(0x277, 0x0007040600070406);
	model_xsetbv(0, 1);
	writes = model_writes(m, &count);
	ck_assert_uint_eq(count, 2);
	ck_assert_uint_eq(writes[0].number, 0x277);
	ck_assert_uint_eq(writes[0].value, 0x0007040600070406);
	ck_assert_str_eq(model_register_name(writes[1].number), "XCR0");
	ck_assert_uint_eq(writes[1].before, 0x600e7);
	model_destroy(m);
}
END_TEST

Suite *vmcs_suite(void);
Suite *vmcs_suite(void)
{
	Suite *suite = suite_create("vmcs");
	TCase *tc = tcase_create("vmcs");

	tcase_add_test(tc, vmxon_needs_vmxe_and_a_revision);
	tcase_add_test(tc, fields_have_widths);
	tcase_add_test(tc, field_that_was_never_written_is_poison);
	tcase_add_test(tc, access_that_fails_has_its_error);
	tcase_add_loop_test(tc, optional_field_comes_with_its_feature, 0, (int)(sizeof(optional) / sizeof(optional[0])));
	tcase_add_test(tc, missing_vmclear_is_noticed);
	tcase_add_test(tc, launch_state_is_kept);
	tcase_add_test(tc, missing_register_is_a_fault_of_the_host);
	tcase_add_test(tc, entry_has_a_picture);
	tcase_add_test(tc, write_counts_when_it_changes_something);
	suite_add_tcase(suite, tc);
	return suite;
}
