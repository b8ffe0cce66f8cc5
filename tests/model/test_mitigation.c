/* SPDX-License-Identifier: Apache-2.0 */
/* Mitigations: what each CPU needs, what a host may choose, and the guest's own MSRs of speculation. */
#include <check.h>
#include <string.h>

#include "cpu/x86.h"
#include "fixture.h"
#include "profiles.h"
#include "x86vcpu/mitigation.h"

enum { HASWELL_BARE, HASWELL, SKYLAKE, CASCADE_LAKE, ICE_LAKE, ALDER_LAKE, SAPPHIRE_RAPIDS, NEWEST, ZEN1, ZEN2, ZEN3, ZEN4, ZEN5 };

static struct x86vcpu_mitigation_state state_of(struct fixture *f, uint32_t mitigation)
{
	struct x86vcpu_mitigation_state state = {.size = sizeof(state)};

	ck_assert_int_eq(x86vcpu_mitigations_get(f->percpu[0], mitigation, &state), X86VCPU_OK);
	ck_assert_uint_eq(state.mitigation, mitigation);
	return state;
}

/* ---- The table -------------------------------------------------------------------------------------------------- */

START_TEST(each_cpu_gets_what_it_needs)
{
	const struct profile *profile = &profiles[_i];
	struct fixture *f = fixture_begin_profile(&profile->cpu);
	char in_force[256] = "";

	for (uint32_t i = 0; i < X86VCPU_MITIGATION_COUNT; i++) {
		const struct x86vcpu_mitigation_state state = state_of(f, i);

		ck_assert_uint_ne(state.status, X86VCPU_MITIGATION_UNKNOWN);
		ck_assert_uint_gt(strlen(state.text), 0);
		if (state.status == X86VCPU_MITIGATION_ACTIVE)
			strcat(strcat(in_force, state.name), " ");
	}
	ck_assert_msg(!strcmp(in_force, profile->in_force), "%s: %s", profile->cpu.name, in_force);
	fixture_end(f);
}
END_TEST

static const struct {
	unsigned profile;
	uint32_t mitigation, status;
} statuses[] = {
	{HASWELL_BARE, X86VCPU_MITIGATION_SPECTRE_V2, X86VCPU_MITIGATION_MISSING},
	{HASWELL_BARE, X86VCPU_MITIGATION_MDS, X86VCPU_MITIGATION_MISSING},
	{HASWELL_BARE, X86VCPU_MITIGATION_L1TF, X86VCPU_MITIGATION_MISSING},
	{HASWELL, X86VCPU_MITIGATION_SSB, X86VCPU_MITIGATION_INACTIVE},
	{HASWELL, X86VCPU_MITIGATION_ITLB_MULTIHIT, X86VCPU_MITIGATION_HOST},
	{HASWELL, X86VCPU_MITIGATION_BHI, X86VCPU_MITIGATION_NOT_AFFECTED},
	{HASWELL, X86VCPU_MITIGATION_SRBDS, X86VCPU_MITIGATION_HOST},
	{SKYLAKE, X86VCPU_MITIGATION_L1TF, X86VCPU_MITIGATION_NOT_AFFECTED},
	{SKYLAKE, X86VCPU_MITIGATION_GDS, X86VCPU_MITIGATION_HOST},
	{SKYLAKE, X86VCPU_MITIGATION_ITS, X86VCPU_MITIGATION_NOT_AFFECTED},
	{CASCADE_LAKE, X86VCPU_MITIGATION_ITS, X86VCPU_MITIGATION_HOST},
	{CASCADE_LAKE, X86VCPU_MITIGATION_MDS, X86VCPU_MITIGATION_NOT_AFFECTED},
	{SAPPHIRE_RAPIDS, X86VCPU_MITIGATION_RFDS, X86VCPU_MITIGATION_NOT_AFFECTED},
	{ZEN1, X86VCPU_MITIGATION_SPECTRE_V2, X86VCPU_MITIGATION_MISSING},
	{ZEN1, X86VCPU_MITIGATION_ZENBLEED, X86VCPU_MITIGATION_NOT_AFFECTED},
	{ZEN2, X86VCPU_MITIGATION_ZENBLEED, X86VCPU_MITIGATION_HOST},
	{ZEN3, X86VCPU_MITIGATION_RETBLEED, X86VCPU_MITIGATION_NOT_AFFECTED},
	{ZEN4, X86VCPU_MITIGATION_MDS, X86VCPU_MITIGATION_NOT_AFFECTED},
	{ZEN5, X86VCPU_MITIGATION_TSA, X86VCPU_MITIGATION_NOT_AFFECTED},
};

START_TEST(status_is_told)
{
	struct fixture *f = fixture_begin_profile(&profiles[statuses[_i].profile].cpu);
	const struct x86vcpu_mitigation_state state = state_of(f, statuses[_i].mitigation);

	ck_assert_msg(state.status == statuses[_i].status, "%s on %s: %u, %s", state.name,
		      profiles[statuses[_i].profile].cpu.name, state.status, state.text);
	fixture_end(f);
}
END_TEST

/* ---- The choice -------------------------------------------------------------------------------------------------- */

/* CPU 0 is turned off, so that its choice can be made; the vCPU stays unbound. */
static struct fixture *begin_off(unsigned profile)
{
	struct fixture *f = fixture_begin_profile(&profiles[profile].cpu);

	ck_assert_int_eq(x86vcpu_unbind(f->vcpu), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_percpu_disable(f->percpu[0]), X86VCPU_OK);
	return f;
}

static void enable_and_bind(struct fixture *f)
{
	ck_assert_int_eq(x86vcpu_percpu_enable(f->percpu[0]), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_bind(f->vcpu), X86VCPU_OK);
}

static uint64_t count_wrmsr(struct fixture *f, uint32_t msr)
{
	uint32_t count;
	const struct model_record *records = model_trace(f->m, &count);
	uint64_t found = 0;

	for (uint32_t i = 0; i < count; i++)
		found += records[i].operation == MODEL_TRACE_WRMSR && records[i].a == msr;
	return found;
}

/* A run of two entries. */
static void run_twice(struct fixture *f)
{
	model_trace_clear(f->m);
	ck_assert_int_eq(fixture_does(f, MODEL_OP_CPUID, 2, 0, 0, 0), X86VCPU_OK);
	ck_assert_uint_eq(model_outcome(f->m)->stopped, 1);
}

START_TEST(off_is_off)
{
	struct fixture *f = begin_off(_i);

	ck_assert_int_eq(x86vcpu_mitigations_choose(f->percpu[0], X86VCPU_MITIGATION_ALL, X86VCPU_MITIGATION_OFF), X86VCPU_OK);
	enable_and_bind(f);
	for (uint32_t i = 0; i < X86VCPU_MITIGATION_COUNT; i++)
		ck_assert_uint_ne(state_of(f, i).status, X86VCPU_MITIGATION_ACTIVE);
	run_twice(f);
	ck_assert_uint_eq(count_wrmsr(f, X86VCPU_MSR_IA32_PRED_CMD), 0);
	ck_assert_uint_eq(count_wrmsr(f, X86VCPU_MSR_IA32_FLUSH_CMD), 0);
	ck_assert_uint_eq(model_operations(f->m, MODEL_TRACE_VERW), 0);
	fixture_end(f);
}
END_TEST

START_TEST(each_choice_is_its_own)
{
	struct fixture *f = begin_off(HASWELL);

	ck_assert_int_eq(x86vcpu_mitigations_choose(f->percpu[0], X86VCPU_MITIGATION_MDS, X86VCPU_MITIGATION_OFF), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_mitigations_choose(f->percpu[0], X86VCPU_MITIGATION_L1TF, X86VCPU_MITIGATION_ON), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_mitigations_choose(f->percpu[0], X86VCPU_MITIGATION_SSB, X86VCPU_MITIGATION_ON), X86VCPU_OK);
	enable_and_bind(f);
	ck_assert_uint_eq(state_of(f, X86VCPU_MITIGATION_MDS).status, X86VCPU_MITIGATION_INACTIVE);
	ck_assert_uint_eq(state_of(f, X86VCPU_MITIGATION_SSB).status, X86VCPU_MITIGATION_ACTIVE);
	run_twice(f);
	ck_assert_uint_eq(model_operations(f->m, MODEL_TRACE_VERW), 0);
	ck_assert_uint_eq(count_wrmsr(f, X86VCPU_MSR_IA32_FLUSH_CMD), 2); /* each entry */
	fixture_end(f);
}
END_TEST

START_TEST(l1d_is_flushed_once_a_run)
{
	struct fixture *f = fixture_begin_profile(&profiles[HASWELL].cpu);

	run_twice(f);
	ck_assert_uint_eq(count_wrmsr(f, X86VCPU_MSR_IA32_FLUSH_CMD), 1);
	run_twice(f);
	ck_assert_uint_eq(count_wrmsr(f, X86VCPU_MSR_IA32_FLUSH_CMD), 1);
	fixture_end(f);
}
END_TEST

START_TEST(what_cannot_be_done_is_refused)
{
	struct fixture *f = begin_off(HASWELL_BARE);
	const uint32_t frames = model_frames_in_use(f->m);

	ck_assert_int_eq(x86vcpu_mitigations_choose(f->percpu[0], X86VCPU_MITIGATION_MDS, X86VCPU_MITIGATION_ON), X86VCPU_OK);
	model_host_remember(f->m);
	ck_assert_int_eq(x86vcpu_percpu_enable(f->percpu[0]), X86VCPU_ERR_UNSUPPORTED);
	ck_assert_int_eq(x86vcpu_percpu_is_enabled(f->percpu[0]), 0);
	ck_assert_str_eq(model_host_changes(f->m), "");
	ck_assert_uint_eq(model_frames_in_use(f->m), frames);
	ck_assert_uint_eq(state_of(f, X86VCPU_MITIGATION_MDS).status, X86VCPU_MITIGATION_MISSING);
	ck_assert_int_eq(x86vcpu_mitigations_choose(f->percpu[0], X86VCPU_MITIGATION_MDS, X86VCPU_MITIGATION_AUTO), X86VCPU_OK);
	enable_and_bind(f);
	fixture_end(f);
}
END_TEST

START_TEST(choices_are_checked)
{
	struct fixture *f = begin_off(SKYLAKE);
	struct x86vcpu_percpu *percpu = f->percpu[0];
	struct x86vcpu_mitigation_state state = {.size = sizeof(state)};

	ck_assert_int_eq(x86vcpu_mitigations_choose(NULL, 0, 0), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_mitigations_choose(percpu, X86VCPU_MITIGATION_COUNT, 0), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_mitigations_choose(percpu, 0, 3), X86VCPU_ERR_INVALID_INPUT);
	for (uint32_t i = X86VCPU_MITIGATION_ITLB_MULTIHIT; i < X86VCPU_MITIGATION_COUNT; i++)
		ck_assert_int_eq(x86vcpu_mitigations_choose(percpu, i, X86VCPU_MITIGATION_ON), X86VCPU_ERR_UNSUPPORTED);
	ck_assert_int_eq(x86vcpu_mitigations_get(percpu, X86VCPU_MITIGATION_COUNT, &state), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_mitigations_get(NULL, 0, &state), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_mitigations_get(percpu, 0, NULL), X86VCPU_ERR_INVALID_INPUT);
	state.size--;
	ck_assert_int_eq(x86vcpu_mitigations_get(percpu, 0, &state), X86VCPU_ERR_ABI_MISMATCH);
	enable_and_bind(f);
	ck_assert_int_eq(x86vcpu_mitigations_choose(percpu, 0, 0), X86VCPU_ERR_RESOURCE_BUSY);
	fixture_end(f);
}
END_TEST

/* ---- The order of privileged operations ---------------------------------------------------------------------------- */

START_TEST(another_vcpu_gets_a_barrier)
{
	struct fixture *f = fixture_begin_profile(&profiles[_i ? ZEN3 : ICE_LAKE].cpu);
	const struct x86vcpu_setup_config setup = {.size = sizeof(setup), .time_slice_ns = UINT64_C(1) << 60};

	ck_assert_int_eq(x86vcpu_mitigations_choose(f->percpu[0], 0, 0), X86VCPU_ERR_RESOURCE_BUSY);
	model_trace_clear(f->m);
	ck_assert_int_eq(fixture_does(f, MODEL_OP_NONE, 0, 0, 0, 0), X86VCPU_OK);
	ck_assert_uint_ge(count_wrmsr(f, X86VCPU_MSR_IA32_PRED_CMD), 1);
	if (_i == 0) {
		model_trace_clear(f->m);
		ck_assert_int_eq(fixture_does(f, MODEL_OP_NONE, 0, 0, 0, 0), X86VCPU_OK);
		ck_assert_uint_eq(count_wrmsr(f, X86VCPU_MSR_IA32_PRED_CMD), 0);
		/* The same structure, and another guest. */
		ck_assert_int_eq(x86vcpu_unbind(f->vcpu), X86VCPU_OK);
		ck_assert_int_eq(x86vcpu_setup(f->vcpu, &setup), X86VCPU_OK);
		ck_assert_int_eq(x86vcpu_bind(f->vcpu), X86VCPU_OK);
		model_trace_clear(f->m);
		ck_assert_int_eq(fixture_does(f, MODEL_OP_NONE, 0, 0, 0, 0), X86VCPU_OK);
		ck_assert_uint_eq(count_wrmsr(f, X86VCPU_MSR_IA32_PRED_CMD), 1);
	}
	fixture_end(f);
}
END_TEST

/* ---- The guest's MSRs ---------------------------------------------------------------------------------------------- */

static void guest_writes(struct fixture *f, uint32_t msr, uint64_t value)
{
	model_guest_sets(f->m, MODEL_RCX, msr);
	model_guest_sets(f->m, MODEL_RAX, (uint32_t)value);
	model_guest_sets(f->m, MODEL_RDX, value >> 32);
	ck_assert_int_eq(fixture_does(f, MODEL_OP_WRMSR, 2, 0, 0, 0), X86VCPU_OK);
}

static uint64_t guest_reads(struct fixture *f, uint32_t msr)
{
	model_guest_sets(f->m, MODEL_RCX, msr);
	ck_assert_int_eq(fixture_does(f, MODEL_OP_RDMSR, 2, 0, 0, 0), X86VCPU_OK);
	return model_outcome(f->m)->fields[MODEL_RDX] << 32 | (uint32_t)model_outcome(f->m)->fields[MODEL_RAX];
}

START_TEST(guest_has_its_own_spec_ctrl)
{
	const struct model_profile *cpu = &profiles[_i].cpu;
	struct fixture *f = fixture_begin_profile(cpu);
	uint64_t value;

	if (x86vcpu_get_msr(f->vcpu, X86VCPU_MSR_IA32_SPEC_CTRL, &value) == X86VCPU_OK) {
		model_host_remember(f->m);
		ck_assert_uint_eq(guest_reads(f, X86VCPU_MSR_IA32_SPEC_CTRL), 0);
		guest_writes(f, X86VCPU_MSR_IA32_SPEC_CTRL, SPEC_CTRL_SSBD);
		guest_writes(f, X86VCPU_MSR_IA32_SPEC_CTRL, SPEC_CTRL_SSBD | SPEC_CTRL_STIBP);
		ck_assert_uint_eq(model_outcome(f->m)->native, 1); /* from the second on without an exit */
		ck_assert_uint_eq(guest_reads(f, X86VCPU_MSR_IA32_SPEC_CTRL), SPEC_CTRL_SSBD | SPEC_CTRL_STIBP);
		ck_assert_int_eq(x86vcpu_get_msr(f->vcpu, X86VCPU_MSR_IA32_SPEC_CTRL, &value), X86VCPU_OK);
		ck_assert_uint_eq(value, SPEC_CTRL_SSBD | SPEC_CTRL_STIBP);
		guest_writes(f, X86VCPU_MSR_IA32_SPEC_CTRL, 0);
		ck_assert_uint_eq(guest_reads(f, X86VCPU_MSR_IA32_SPEC_CTRL), 0);
		ck_assert_int_eq(x86vcpu_set_msr(f->vcpu, X86VCPU_MSR_IA32_SPEC_CTRL, SPEC_CTRL_IBRS), X86VCPU_OK);
		ck_assert_uint_eq(guest_reads(f, X86VCPU_MSR_IA32_SPEC_CTRL), SPEC_CTRL_IBRS);
		ck_assert_int_eq(x86vcpu_set_msr(f->vcpu, X86VCPU_MSR_IA32_SPEC_CTRL, UINT64_C(1) << 40), X86VCPU_ERR_INVALID_INPUT);
		ck_assert_str_eq(model_host_changes(f->m), "");
	}
	fixture_end(f);
}
END_TEST

START_TEST(commands_go_to_the_cpu)
{
	const struct model_profile *cpu = &profiles[_i].cpu;
	const bool ibpb = cpu->leaf_7_edx & CPUID_7_EDX_IBRS_IBPB || cpu->leaf_8_ebx & CPUID_80000008_EBX_IBPB;
	const bool flush = cpu->leaf_7_edx & CPUID_7_EDX_L1D_FLUSH;
	struct fixture *f = fixture_begin_profile(cpu);

	guest_writes(f, X86VCPU_MSR_IA32_PRED_CMD, 1);
	ck_assert_uint_eq(model_outcome(f->m)->native, ibpb);
	guest_writes(f, X86VCPU_MSR_IA32_FLUSH_CMD, 1);
	ck_assert_uint_eq(model_outcome(f->m)->native, flush);
	fixture_end(f);
}
END_TEST

START_TEST(arch_capabilities_are_what_holds)
{
	const struct model_profile *cpu = &profiles[_i].cpu;
	struct fixture *f = fixture_begin_profile(cpu);
	const uint64_t hidden = ARCH_CAP_SKIP_L1DFL_VMENTRY;
	uint64_t value;

	if (cpu->leaf_7_edx & CPUID_7_EDX_ARCH_CAPABILITIES) {
		ck_assert_uint_eq(guest_reads(f, X86VCPU_MSR_IA32_ARCH_CAPABILITIES), cpu->arch_capabilities & ~hidden);
		ck_assert_int_eq(x86vcpu_set_msr(f->vcpu, X86VCPU_MSR_IA32_ARCH_CAPABILITIES, 0), X86VCPU_ERR_INVALID_INPUT);
	} else {
		ck_assert_int_eq(x86vcpu_get_msr(f->vcpu, X86VCPU_MSR_IA32_ARCH_CAPABILITIES, &value), X86VCPU_ERR_INVALID_INPUT);
	}
	fixture_end(f);
}
END_TEST

Suite *mitigation_suite(void);
Suite *mitigation_suite(void)
{
	Suite *s = suite_create("mitigation");
	TCase *tc = tcase_create("table");

	tcase_add_loop_test(tc, each_cpu_gets_what_it_needs, 0, (int)profile_count);
	tcase_add_loop_test(tc, status_is_told, 0, (int)(sizeof(statuses) / sizeof(statuses[0])));
	suite_add_tcase(s, tc);
	tc = tcase_create("choice");
	tcase_add_loop_test(tc, off_is_off, 0, (int)profile_count);
	tcase_add_test(tc, each_choice_is_its_own);
	tcase_add_test(tc, l1d_is_flushed_once_a_run);
	tcase_add_test(tc, what_cannot_be_done_is_refused);
	tcase_add_test(tc, choices_are_checked);
	suite_add_tcase(s, tc);
	tc = tcase_create("guest");
	tcase_add_loop_test(tc, another_vcpu_gets_a_barrier, 0, 2);
	tcase_add_loop_test(tc, guest_has_its_own_spec_ctrl, 0, (int)profile_count);
	tcase_add_loop_test(tc, commands_go_to_the_cpu, 0, (int)profile_count);
	tcase_add_loop_test(tc, arch_capabilities_are_what_holds, 0, (int)profile_count);
	suite_add_tcase(s, tc);
	return s;
}
