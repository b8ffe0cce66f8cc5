/* SPDX-License-Identifier: Apache-2.0 */
/* Nested paging: levels, the host's own paging mode, address widths. */
#include <check.h>
#include <string.h>

#include "fixture.h"
#include "machine.h"

Suite *nested_paging_suite(void);

static void runs(struct fixture *f)
{
	ck_assert_int_eq(fixture_does(f, MODEL_OP_NONE, 0, 0, 0, 0), X86VCPU_OK);
	ck_assert_uint_eq(model_outcome(f->m)->stopped, 1);
	ck_assert_str_eq(model_complaints(f->m), "");
}


/* ---- SVM: the host's CR4.LA57 ------------------------------------------------------------------------- */

static const struct {
	uint32_t host, levels, good;
} svm_rows[] = {
	{0, 4, 4},
	{MODEL_LA57, 4, 4},
	{MODEL_LA57 | MODEL_HOST_LA57, 5, 5},
};

START_TEST(svm_runs_with_the_hosts_levels)
{
	struct fixture *f = fixture_begin_nested(MODEL_SVM, MODEL_ALL | svm_rows[_i].host, svm_rows[_i].good);
	const uint32_t bad = 9 - svm_rows[_i].good;
	uint32_t levels = 0;

	ck_assert_int_eq(x86vcpu_nested_levels(&levels), X86VCPU_OK);
	ck_assert_uint_eq(levels, svm_rows[_i].good);
	runs(f);
	ck_assert_int_eq(x86vcpu_unbind(f->vcpu), X86VCPU_OK);
	ck_assert_int_eq(fixture_set_nested(f, bad, 0), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_bind(f->vcpu), X86VCPU_ERR_UNSUPPORTED);
	ck_assert_int_eq(x86vcpu_run(f->vcpu, &f->exit), X86VCPU_ERR_BAD_STATE);
	ck_assert_int_eq(fixture_set_nested(f, svm_rows[_i].good, 0), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_bind(f->vcpu), X86VCPU_OK);
	runs(f);
	fixture_end(f);
}
END_TEST

/* A CPU that the host runs in another mode: the same vCPU runs again where the tables fit. */
START_TEST(svm_asks_each_cpu)
{
	struct fixture *f = fixture_begin(MODEL_SVM, MODEL_ALL | MODEL_LA57);

	runs(f);
	ck_assert_int_eq(x86vcpu_unbind(f->vcpu), X86VCPU_OK);
	f->m->cpus[1].cr4 |= CR4_LA57;
	fixture_on_cpu(f, 1);
	ck_assert_int_eq(x86vcpu_bind(f->vcpu), X86VCPU_ERR_UNSUPPORTED);
	fixture_on_cpu(f, 0);
	ck_assert_int_eq(x86vcpu_bind(f->vcpu), X86VCPU_OK);
	runs(f);
	fixture_end(f);
}
END_TEST

/* From bind to run: no entry, and nothing is lost. */
START_TEST(svm_asks_again_in_run)
{
	struct fixture *f = fixture_begin(MODEL_SVM, MODEL_ALL | MODEL_LA57);
	uint64_t entries;

	runs(f);
	entries = model_operations(f->m, MODEL_TRACE_ENTRY);
	f->m->cpus[0].cr4 |= CR4_LA57;
	ck_assert_int_eq(fixture_does(f, MODEL_OP_NONE, 0, 0, 0, 0), X86VCPU_ERR_UNSUPPORTED);
	ck_assert_uint_eq(f->exit.kind, X86VCPU_EXIT_NOTHING);
	ck_assert_uint_eq(model_operations(f->m, MODEL_TRACE_ENTRY), entries);
	f->m->cpus[0].cr4 &= ~CR4_LA57;
	runs(f);
	fixture_end(f);
}
END_TEST

START_TEST(model_knows_whose_levels_are_walked)
{
	struct fixture *f = _i ? fixture_begin(MODEL_SVM, MODEL_ALL) : fixture_begin(MODEL_VMX, MODEL_ALL);

	model_nested_levels(f->m, 5);
	ck_assert_int_eq(fixture_does(f, MODEL_OP_NONE, 0, 0, 0, 0), X86VCPU_OK);
	ck_assert_msg(strstr(model_complaints(f->m), "nested tables of 5 levels"), "%s", model_complaints(f->m));
	model_forgive(f->m);
	fixture_end(f);
}
END_TEST

/* ---- VT-x: EPT has a depth of its own ------------------------------------------------------------------- */

START_TEST(vmx_walks_what_the_eptp_says)
{
	const uint32_t host = _i & 1 ? MODEL_LA57 | MODEL_HOST_LA57 : 0;
	struct fixture *f = fixture_begin_nested(MODEL_VMX, MODEL_ALL | MODEL_EPT_5 | host, _i & 2 ? 5 : 4);
	uint32_t levels = 0;

	ck_assert_int_eq(x86vcpu_nested_levels(&levels), X86VCPU_OK);
	ck_assert_uint_eq(levels, 4);
	runs(f);
	fixture_end(f);
}
END_TEST

START_TEST(vmx_refuses_five_levels_where_the_cpu_has_four)
{
	struct fixture *f = fixture_begin(MODEL_VMX, MODEL_ALL);

	ck_assert_int_eq(x86vcpu_unbind(f->vcpu), X86VCPU_OK);
	ck_assert_int_eq(fixture_set_nested(f, 5, 0), X86VCPU_ERR_UNSUPPORTED);
	ck_assert_int_eq(x86vcpu_bind(f->vcpu), X86VCPU_ERR_BAD_STATE);
	ck_assert_int_eq(fixture_set_nested(f, 4, 0), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_bind(f->vcpu), X86VCPU_OK);
	runs(f);
	fixture_end(f);
}
END_TEST

/* ---- Arguments -------------------------------------------------------------------------------------------- */

#define CPU_BITS 40

static const struct {
	struct x86vcpu_nested_paging paging;
	int32_t status;
} tables[] = {
	{{.root_hpa = 0x100000}, X86VCPU_OK},
	{{.root_hpa = 0x100000, .levels = 4, .gpa_bits = 48}, X86VCPU_OK},
	{{.root_hpa = 0x100000, .levels = 4, .gpa_bits = 32}, X86VCPU_OK},
	{{.root_hpa = 0x100000, .levels = 5}, X86VCPU_OK},
	{{.root_hpa = 0x100000, .levels = 5, .gpa_bits = 52}, X86VCPU_OK},
	{{.root_hpa = (UINT64_C(1) << CPU_BITS) - 4096}, X86VCPU_OK},
	{{.root_hpa = UINT64_C(1) << CPU_BITS}, X86VCPU_ERR_INVALID_INPUT},
	{{.root_hpa = UINT64_C(1) << 51}, X86VCPU_ERR_INVALID_INPUT},
	{{.root_hpa = UINT64_C(1) << 63}, X86VCPU_ERR_INVALID_INPUT},
	{{.root_hpa = 0}, X86VCPU_ERR_INVALID_INPUT},
	{{.root_hpa = 0x100800}, X86VCPU_ERR_INVALID_INPUT},
	{{.root_hpa = 0x100000, .levels = 3}, X86VCPU_ERR_INVALID_INPUT},
	{{.root_hpa = 0x100000, .levels = 6}, X86VCPU_ERR_INVALID_INPUT},
	{{.root_hpa = 0x100000, .gpa_bits = 31}, X86VCPU_ERR_INVALID_INPUT},
	{{.root_hpa = 0x100000, .gpa_bits = 49}, X86VCPU_ERR_INVALID_INPUT},
	{{.root_hpa = 0x100000, .levels = 5, .gpa_bits = 53}, X86VCPU_ERR_INVALID_INPUT},
	{{.root_hpa = 0x100000, .mode = 1}, X86VCPU_ERR_INVALID_INPUT},
};

START_TEST(table_arguments)
{
	struct fixture *f = fixture_begin(MODEL_SVM, MODEL_ALL);

	ck_assert_int_eq(x86vcpu_set_nested_page_table(f->vcpu, &tables[_i].paging), tables[_i].status);
	fixture_end(f);
}
END_TEST

/* The guest's physical-address width: the least of the CPU's, the VMM's and the tables'. */
START_TEST(guest_width)
{
	static const struct {
		uint32_t gpa_bits, expected;
	} rows[] = {{0, CPU_BITS}, {48, CPU_BITS}, {CPU_BITS, CPU_BITS}, {39, 39}, {32, 32}};
	struct fixture *f = fixture_begin(_i & 1 ? MODEL_SVM : MODEL_VMX, MODEL_ALL);
	uint64_t rax = 0;

	ck_assert_int_eq(x86vcpu_unbind(f->vcpu), X86VCPU_OK);
	ck_assert_int_eq(fixture_set_nested(f, 4, rows[_i / 2].gpa_bits), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_bind(f->vcpu), X86VCPU_OK);
	model_guest_sets(f->m, MODEL_RAX, 0x80000008);
	model_guest_sets(f->m, MODEL_RIP, 0x1000);
	memcpy(model_guest_memory(f->m) + 0x1000, "\x0f\xa2", 2);
	ck_assert_int_eq(fixture_does(f, MODEL_OP_CPUID, 2, 0, 0, 0), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_get_gpr(f->vcpu, 0, &rax), X86VCPU_OK);
	ck_assert_uint_eq(rax & 0xff, rows[_i / 2].expected);
	fixture_end(f);
}
END_TEST

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

Suite *nested_paging_suite(void)
{
	Suite *suite = suite_create("nested_paging");
	TCase *tc = tcase_create("nested_paging");

	tcase_add_loop_test(tc, svm_runs_with_the_hosts_levels, 0, COUNT(svm_rows));
	tcase_add_test(tc, svm_asks_each_cpu);
	tcase_add_test(tc, svm_asks_again_in_run);
	tcase_add_loop_test(tc, model_knows_whose_levels_are_walked, 0, 2);
	tcase_add_loop_test(tc, vmx_walks_what_the_eptp_says, 0, 4);
	tcase_add_test(tc, vmx_refuses_five_levels_where_the_cpu_has_four);
	tcase_add_loop_test(tc, table_arguments, 0, COUNT(tables));
	tcase_add_loop_test(tc, guest_width, 0, 10);
	suite_add_tcase(suite, tc);
	return suite;
}
