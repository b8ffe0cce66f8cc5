/* SPDX-License-Identifier: Apache-2.0 */
/* What a guest has loaded without an exit can be read, and set again. */
#include <check.h>
#include <string.h>

#include "fixture.h"
#include "machine.h"

Suite *round_trip_suite(void);

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

/* A negative address with 57 bits, which has no 48-bit form. */
#define FAR UINT64_C(0xff00123456789000)
#define BEHIND_HALF UINT64_C(0x0100000000000000)

static void long_mode(struct x86vcpu_state *s)
{
	s->cr0 = CR0_PE | CR0_PG | CR0_NE | CR0_ET;
	s->cr3 = 0x2000;
	s->cr4 = CR4_PAE;
	s->efer = EFER_LME | EFER_LMA;
	s->segments[X86VCPU_SEGMENT_CS].access_rights = 0xa09b;
	s->segments[X86VCPU_SEGMENT_CS].limit = UINT32_MAX;
	s->segments[X86VCPU_SEGMENT_TR].access_rights = 0x8b;
}

static void pae_paging(struct x86vcpu_state *s)
{
	s->cr0 = CR0_PE | CR0_PG | CR0_NE | CR0_ET;
	s->cr3 = 0x2000;
	s->cr4 = CR4_PAE;
}

static struct fixture *begin_in(enum model_backend backend, uint32_t features, void (*mode)(struct x86vcpu_state *s))
{
	struct fixture *f = fixture_begin(backend, features);
	struct x86vcpu_state s = {.size = sizeof(s)};

	ck_assert_int_eq(x86vcpu_get_state(f->vcpu, X86VCPU_STATE_ALL, &s), X86VCPU_OK);
	mode(&s);
	ck_assert_int_eq(x86vcpu_set_state(f->vcpu, X86VCPU_STATE_ALL, &s), X86VCPU_OK);
	ck_assert_int_eq(fixture_does(f, MODEL_OP_NONE, 0, 0, 0, 0), X86VCPU_OK);
	return f;
}

static void round_trip(struct fixture *f)
{
	struct x86vcpu_state s = {.size = sizeof(s)}, again = {.size = sizeof(again)};

	ck_assert_int_eq(x86vcpu_get_state(f->vcpu, X86VCPU_STATE_ALL, &s), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_set_state(f->vcpu, X86VCPU_STATE_ALL, &s), X86VCPU_OK);
	ck_assert_int_eq(fixture_does(f, MODEL_OP_NONE, 0, 0, 0, 0), X86VCPU_OK);
	ck_assert_uint_eq(model_outcome(f->m)->stopped, 1);
	ck_assert_int_eq(x86vcpu_get_state(f->vcpu, X86VCPU_STATE_ALL, &again), X86VCPU_OK);
	ck_assert_mem_eq(&s, &again, sizeof(s));
}

static const struct {
	uint32_t field;
	uint64_t value;
	uint32_t features; /* that the CPU must have */
} natives[] = {
	{MODEL_BASE + X86VCPU_SEGMENT_FS, FAR, MODEL_LA57},
	{MODEL_BASE + X86VCPU_SEGMENT_GS, FAR, MODEL_LA57},
	{MODEL_BASE + X86VCPU_SEGMENT_TR, FAR, MODEL_LA57},
	{MODEL_GDTR_BASE, FAR, MODEL_LA57},
	{MODEL_IDTR_BASE, FAR, MODEL_LA57},
	{MODEL_RIP, FAR, MODEL_LA57},
	{MODEL_RIP, BEHIND_HALF, MODEL_LA57},
	{MODEL_RIP, UINT64_C(1) << 47, 0},
	{MODEL_CR3, 0x2000 | CR3_LAM_U48, MODEL_LAM},
	{MODEL_CR3, 0x2000 | CR3_LAM_U57, MODEL_LAM},
	{MODEL_CR3, UINT64_C(1) << 39, 0},
};

/* Row by row, on both CPUs; those without the feature refuse the same state. */
START_TEST(native_value)
{
	const int row = _i / 2;
	const enum model_backend backend = _i & 1 ? MODEL_SVM : MODEL_VMX;
	struct x86vcpu_state s = {.size = sizeof(s)};
	struct fixture *f;

	if (backend == MODEL_SVM && natives[row].features & MODEL_LAM)
		return;
	f = begin_in(backend, MODEL_ALL | natives[row].features, long_mode);
	model_guest_sets(f->m, natives[row].field, natives[row].value);
	ck_assert_int_eq(fixture_does(f, MODEL_OP_NONE, 0, 0, 0, 0), X86VCPU_OK);
	round_trip(f);
	ck_assert_uint_eq(model_outcome(f->m)->fields[natives[row].field], natives[row].value);
	ck_assert_int_eq(x86vcpu_get_state(f->vcpu, X86VCPU_STATE_ALL, &s), X86VCPU_OK);
	fixture_end(f);
	if (!natives[row].features)
		return;
	f = fixture_begin(backend, MODEL_ALL);
	ck_assert_int_eq(x86vcpu_set_state(f->vcpu, X86VCPU_STATE_ALL, &s), X86VCPU_ERR_INVALID_INPUT);
	fixture_end(f);
}
END_TEST

/* A guest that the VMM has given fewer address bits loads CR3 as its CPU takes it. */
START_TEST(cr3_beyond_the_guests_width)
{
	struct fixture *f = fixture_begin(_i ? MODEL_SVM : MODEL_VMX, MODEL_ALL);
	struct x86vcpu_state s = {.size = sizeof(s)};

	ck_assert_int_eq(x86vcpu_unbind(f->vcpu), X86VCPU_OK);
	ck_assert_int_eq(fixture_set_nested(f, 4, 36), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_bind(f->vcpu), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_get_state(f->vcpu, X86VCPU_STATE_ALL, &s), X86VCPU_OK);
	long_mode(&s);
	ck_assert_int_eq(x86vcpu_set_state(f->vcpu, X86VCPU_STATE_ALL, &s), X86VCPU_OK);
	model_guest_sets(f->m, MODEL_CR3, UINT64_C(1) << 39);
	ck_assert_int_eq(fixture_does(f, MODEL_OP_NONE, 0, 0, 0, 0), X86VCPU_OK);
	round_trip(f);
	fixture_end(f);
}
END_TEST

static void set_pdpt(struct fixture *f, uint64_t first)
{
	memset(model_guest_memory(f->m) + 0x2000, 0, 32);
	memcpy(model_guest_memory(f->m) + 0x2000, &first, 8);
}

/* Memory has changed since MOV to CR3: on VT-x the CPU keeps the values that it loaded. */
START_TEST(pdptes_stay)
{
	static const uint64_t later[] = {0, UINT64_MAX, 0x5001};
	struct fixture *f = begin_in(_i & 1 ? MODEL_SVM : MODEL_VMX, MODEL_ALL, pae_paging);
	struct x86vcpu_state s = {.size = sizeof(s)};

	set_pdpt(f, 0x3001);
	ck_assert_int_eq(x86vcpu_get_state(f->vcpu, X86VCPU_STATE_ALL, &s), X86VCPU_OK);
	s.flags = 0; /* from memory */
	ck_assert_int_eq(x86vcpu_set_state(f->vcpu, X86VCPU_STATE_CRS, &s), X86VCPU_OK);
	ck_assert_int_eq(fixture_does(f, MODEL_OP_NONE, 0, 0, 0, 0), X86VCPU_OK);
	set_pdpt(f, later[_i / 2]);
	round_trip(f);
	ck_assert_int_eq(x86vcpu_get_state(f->vcpu, X86VCPU_STATE_CRS, &s), X86VCPU_OK);
	ck_assert_uint_eq(s.flags, _i & 1 ? 0 : X86VCPU_STATE_HAS_PDPTES);
	if (!(_i & 1)) {
		ck_assert_uint_eq(s.pdptes[0], 0x3001);
		ck_assert_uint_eq(model_outcome(f->m)->fields[MODEL_PDPTE0], 0x3001);
	}
	fixture_end(f);
}
END_TEST

static const struct {
	uint32_t flags;
	uint64_t pdpte;
	int32_t status;
} bad_pdptes[] = {
	{X86VCPU_STATE_HAS_PDPTES, 0x3001, X86VCPU_OK},
	{X86VCPU_STATE_HAS_PDPTES, 0, X86VCPU_OK},
	{X86VCPU_STATE_HAS_PDPTES, ~UINT64_C(1), X86VCPU_OK}, /* not present */
	{X86VCPU_STATE_HAS_PDPTES, 0x3003, X86VCPU_ERR_INVALID_INPUT},
	{X86VCPU_STATE_HAS_PDPTES, 0x3001 | UINT64_C(1) << 40, X86VCPU_ERR_INVALID_INPUT},
	{X86VCPU_STATE_HAS_PDPTES | 2, 0x3001, X86VCPU_ERR_INVALID_INPUT},
};

START_TEST(pdptes_are_checked)
{
	struct fixture *f = begin_in(MODEL_VMX, MODEL_ALL, pae_paging);
	struct x86vcpu_state s = {.size = sizeof(s)}, after = {.size = sizeof(after)};

	ck_assert_int_eq(x86vcpu_get_state(f->vcpu, X86VCPU_STATE_ALL, &s), X86VCPU_OK);
	s.flags = bad_pdptes[_i].flags;
	s.pdptes[3] = bad_pdptes[_i].pdpte;
	ck_assert_int_eq(x86vcpu_set_state(f->vcpu, X86VCPU_STATE_ALL, &s), bad_pdptes[_i].status);
	ck_assert_int_eq(x86vcpu_get_state(f->vcpu, X86VCPU_STATE_ALL, &after), X86VCPU_OK);
	ck_assert_uint_eq(after.pdptes[3], bad_pdptes[_i].status ? 0 : bad_pdptes[_i].pdpte);
	ck_assert_int_eq(fixture_does(f, MODEL_OP_NONE, 0, 0, 0, 0), X86VCPU_OK);
	fixture_end(f);
}
END_TEST

/* ---- MSRs -------------------------------------------------------------------------------------------------- */

START_TEST(far_msr)
{
	static const uint32_t msrs[] = {
		X86VCPU_MSR_IA32_LSTAR, X86VCPU_MSR_IA32_CSTAR, X86VCPU_MSR_IA32_KERNEL_GS_BASE,
		X86VCPU_MSR_IA32_SYSENTER_ESP, X86VCPU_MSR_IA32_SYSENTER_EIP,
	};
	const bool has_la57 = _i & 1;
	struct fixture *f = fixture_begin(_i & 2 ? MODEL_SVM : MODEL_VMX, MODEL_ALL | (has_la57 ? MODEL_LA57 : 0));

	for (int i = 0; i < COUNT(msrs); i++) {
		uint64_t value = 0;

		ck_assert_int_eq(x86vcpu_set_msr(f->vcpu, msrs[i], FAR), has_la57 ? X86VCPU_OK : X86VCPU_ERR_INVALID_INPUT);
		ck_assert_int_eq(x86vcpu_get_msr(f->vcpu, msrs[i], &value), X86VCPU_OK);
		ck_assert_uint_eq(value, has_la57 ? FAR : 0);
	}
	ck_assert_int_eq(fixture_does(f, MODEL_OP_NONE, 0, 0, 0, 0), X86VCPU_OK);
	ck_assert_uint_eq(model_outcome(f->m)->fields[MODEL_LSTAR], has_la57 ? FAR : 0);
	fixture_end(f);
}
END_TEST

Suite *round_trip_suite(void)
{
	Suite *suite = suite_create("round_trip");
	TCase *tc = tcase_create("round_trip");

	tcase_add_loop_test(tc, native_value, 0, 2 * COUNT(natives));
	tcase_add_loop_test(tc, cr3_beyond_the_guests_width, 0, 2);
	tcase_add_loop_test(tc, pdptes_stay, 0, 6);
	tcase_add_loop_test(tc, pdptes_are_checked, 0, COUNT(bad_pdptes));
	tcase_add_loop_test(tc, far_msr, 0, 4);
	suite_add_tcase(suite, tc);
	return suite;
}
