/* SPDX-License-Identifier: Apache-2.0 */
/* The library on the model: what it does right, and that the model would notice if it did it wrong. */
#include <check.h>
#include <stddef.h>
#include <string.h>

#include "fixture.h"
#include "svm/vmcb.h"
#include "vmx/vmcs_fields.h"

static const uint32_t lacking[] = {
	0, MODEL_XSAVES, MODEL_AVX512 | MODEL_AMX, MODEL_AMX, MODEL_RDTSCP, MODEL_INVPCID, MODEL_TIMER, MODEL_VPID,
	MODEL_EPT_AD, MODEL_APICV, MODEL_APIC_ACCESS, MODEL_INVEPT_SINGLE, MODEL_NRIPS, MODEL_DECODE, MODEL_FLUSH_ASID,
	MODEL_CLEAN, MODEL_TSC_DEADLINE, MODEL_XSAVE | MODEL_XSAVES | MODEL_AVX512 | MODEL_AMX,
};
#define LACKING ((int)(sizeof(lacking) / sizeof(lacking[0])))

static enum model_backend backend_of(int i)
{
	return i < LACKING ? MODEL_VMX : MODEL_SVM;
}

static void complains(struct fixture *f, const char *text)
{
	ck_assert_msg(strstr(model_complaints(f->m), text), "\"%s\" and not \"%s\"", model_complaints(f->m), text);
	model_forgive(f->m);
}

static void goes_to(struct fixture *f, uint64_t rip, const uint8_t *code, size_t length)
{
	model_guest_sets(f->m, MODEL_RIP, rip);
	memcpy(model_guest_memory(f->m) + rip, code, length);
}

START_TEST(every_cpu_is_good_enough)
{
	static const uint8_t cpuid[] = {0x0f, 0xa2}, out[] = {0xee};
	struct fixture *f = fixture_begin(backend_of(_i), (MODEL_ALL & ~lacking[_i % LACKING]) | (_i & 1 ? MODEL_ODD_HOST : 0));

	model_host_remember(f->m);
	goes_to(f, 0x1000, cpuid, sizeof(cpuid));
	ck_assert_int_eq(fixture_does(f, MODEL_OP_CPUID, 2, 0, 0, 0), X86VCPU_OK);
	ck_assert_uint_eq(f->exit.kind, X86VCPU_EXIT_NOTHING);
	ck_assert_uint_eq(model_outcome(f->m)->stopped, 1);
	ck_assert_uint_eq(model_outcome(f->m)->fields[MODEL_RIP], 0x1002);
	model_guest_sets(f->m, MODEL_RDX, 0x3f8);
	model_guest_sets(f->m, MODEL_RAX, 0x41);
	goes_to(f, 0x2000, out, sizeof(out));
	ck_assert_int_eq(fixture_does(f, MODEL_OP_OUT, 1, 0x3f8, 1, 0), X86VCPU_OK);
	ck_assert_uint_eq(f->exit.kind, X86VCPU_EXIT_PORT_IO_WRITE);
	ck_assert_uint_eq(f->exit.u.port_io.port, 0x3f8);
	ck_assert_uint_eq(f->exit.u.port_io.data, 0x41);
	ck_assert_str_eq(model_host_changes(f->m), "");
	fixture_end(f);
}
END_TEST

/* SDM 28.5.2: a VM exit leaves TR with the limit of a TSS that has no I/O permission bitmap. */
START_TEST(limit_of_tr_comes_back)
{
	static const uint8_t cpuid[] = {0x0f, 0xa2};
	struct fixture *f = fixture_begin(_i ? MODEL_SVM : MODEL_VMX, MODEL_ALL);

	ck_assert_int_eq(x86vcpu_unbind(f->vcpu), X86VCPU_OK);
	model_set_tss_limit(f->m, 0x206f);
	ck_assert_int_eq(x86vcpu_bind(f->vcpu), X86VCPU_OK);
	model_host_remember(f->m);
	for (unsigned i = 0; i < 2; i++) {
		goes_to(f, 0x1000, cpuid, sizeof(cpuid));
		ck_assert_int_eq(fixture_does(f, MODEL_OP_CPUID, 2, 0, 0, 0), X86VCPU_OK);
		ck_assert_str_eq(model_host_changes(f->m), "");
	}
	fixture_end(f);
}
END_TEST

/* The model's host takes a page fault in an NMI's handler as soon as it can: right after STGI. */
START_TEST(cr2_is_read_before_an_nmi)
{
	static const uint8_t cpuid[] = {0x0f, 0xa2};
	struct fixture *f = fixture_begin(MODEL_SVM, MODEL_ALL);
	struct x86vcpu_state state = {.size = sizeof(state)};

	ck_assert_int_eq(x86vcpu_get_state(f->vcpu, X86VCPU_STATE_CRS, &state), X86VCPU_OK);
	state.cr2 = 0x1234000;
	ck_assert_int_eq(x86vcpu_set_state(f->vcpu, X86VCPU_STATE_CRS, &state), X86VCPU_OK);
	goes_to(f, 0x1000, cpuid, sizeof(cpuid));
	ck_assert_int_eq(fixture_does(f, MODEL_OP_CPUID, 2, 0, 0, 0), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_get_state(f->vcpu, X86VCPU_STATE_CRS, &state), X86VCPU_OK);
	ck_assert_uint_eq(state.cr2, 0x1234000);
	fixture_end(f);
}
END_TEST

START_TEST(moves_between_cpus)
{
	struct fixture *f = fixture_begin(_i ? MODEL_SVM : MODEL_VMX, MODEL_ALL);
	static const uint32_t cpus[] = {1, 0, 2, 0, 0, 3, 1};

	for (size_t i = 0; i < sizeof(cpus) / sizeof(cpus[0]); i++) {
		ck_assert_int_eq(fixture_does(f, MODEL_OP_NONE, 0, 0, 0, 0), X86VCPU_OK);
		ck_assert_int_eq(x86vcpu_unbind(f->vcpu), X86VCPU_OK);
		fixture_on_cpu(f, cpus[i]);
		ck_assert_int_eq(x86vcpu_bind(f->vcpu), X86VCPU_OK);
	}
	fixture_end(f);
}
END_TEST

/* A VMM may bind for every entry, and a hypervisor below the host makes each CPUID an exit. */
START_TEST(entry_executes_no_cpuid)
{
	struct fixture *f = fixture_begin(_i ? MODEL_SVM : MODEL_VMX, MODEL_ALL);
	uint64_t before;

	ck_assert_int_eq(fixture_does(f, MODEL_OP_NONE, 0, 0, 0, 0), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_unbind(f->vcpu), X86VCPU_OK);
	before = model_operations(f->m, MODEL_TRACE_CPUID);
	ck_assert_uint_gt(before, 0);
	ck_assert_int_eq(x86vcpu_bind(f->vcpu), X86VCPU_OK);
	ck_assert_int_eq(fixture_does(f, MODEL_OP_NONE, 0, 0, 0, 0), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_unbind(f->vcpu), X86VCPU_OK);
	ck_assert_uint_eq(model_operations(f->m, MODEL_TRACE_CPUID), before);
	ck_assert_int_eq(x86vcpu_bind(f->vcpu), X86VCPU_OK);
	fixture_end(f);
}
END_TEST

START_TEST(stale_translations_are_noticed)
{
	struct fixture *f = fixture_begin(_i ? MODEL_SVM : MODEL_VMX, MODEL_ALL);

	ck_assert_int_eq(fixture_does(f, MODEL_OP_NONE, 0, 0, 0, 0), X86VCPU_OK);
	model_nested_changed(f->m);
	ck_assert_int_eq(x86vcpu_flush_nested(f->vcpu), X86VCPU_OK);
	ck_assert_int_eq(fixture_does(f, MODEL_OP_NONE, 0, 0, 0, 0), X86VCPU_OK);
	ck_assert_str_eq(model_complaints(f->m), "");
	model_nested_changed(f->m);
	ck_assert_int_eq(fixture_does(f, MODEL_OP_NONE, 0, 0, 0, 0), X86VCPU_OK);
	complains(f, "TLB: translations of nested table");
	fixture_end(f);
}
END_TEST

START_TEST(operations_are_counted)
{
	struct fixture *f = fixture_begin(MODEL_VMX, MODEL_ALL);
	const uint64_t before = model_operations(f->m, MODEL_TRACE_VMREAD);
	uint32_t count;

	model_trace_clear(f->m);
	ck_assert_int_eq(fixture_does(f, MODEL_OP_NONE, 0, 0, 0, 0), X86VCPU_OK);
	ck_assert_uint_eq(model_operations(f->m, MODEL_TRACE_ENTRY), 1);
	ck_assert_uint_gt(model_operations(f->m, MODEL_TRACE_VMREAD), before);
	model_trace(f->m, &count);
	ck_assert_uint_gt(count, 10);
	fixture_end(f);
}
END_TEST

/* ---- Each check of an entry --------------------------------------------------------------------------------- */

static const struct {
	uint32_t field;
	uint64_t value;
	const char *complaint;
	uint32_t error; /* VM-instruction error; 0: the entry fails with an exit */
} vmx_checks[] = {
	{VMCS_PIN_CONTROLS, 0, "reserved pin-based controls", 7},
	{VMCS_CR3_TARGET_COUNT, 5, "CR3-target count", 7},
	{VMCS_MSR_BITMAP, 0x123, "MSR bitmap address", 7},
	{VMCS_VPID, 0, "VPID 0", 7},
	{VMCS_EPTP, 0x100005, "EPTP", 7},
	{VMCS_ENTRY_INTERRUPTION_INFO, 0x80000320, "injected event: exception above 31", 7},
	{VMCS_ENTRY_INTERRUPTION_INFO, 0x80000b0e, "injected event: error code", 7},
	{VMCS_HOST_CR4, 0x20, "host CR4", 8},
	{VMCS_HOST_CS_SELECTOR, 0, "host CS is 0", 8},
	{VMCS_HOST_DS_SELECTOR, 3, "host selector with TI or RPL", 8},
	{VMCS_HOST_EFER, 0x100, "host EFER", 8},
	{VMCS_GUEST_CR4, UINT64_C(1) << 40, "guest CR4", 0},
	{VMCS_GUEST_EFER, 0x500, "guest EFER.LMA and IA-32e mode guest", 0},
	{VMCS_GUEST_CS_ACCESS_RIGHTS, 0x10000, "CS unusable", 0},
	{VMCS_GUEST_TR_ACCESS_RIGHTS, 0x89, "TR type", 0},
	{VMCS_GUEST_RFLAGS, 0, "RFLAGS: reserved bits", 0},
	{VMCS_GUEST_RIP, UINT64_C(1) << 32, "RIP above 32 bits", 0},
	{VMCS_GUEST_INTERRUPTIBILITY, 3, "interruptibility: STI and MOV SS", 0},
	{VMCS_GUEST_ACTIVITY, 7, "activity state", 0},
	{VMCS_LINK_POINTER, 0, "VMCS link pointer", 0},
};

/* The field is changed behind the library's back, when it has entered before. */
START_TEST(entry_check_is_named)
{
	struct fixture *f = fixture_begin(MODEL_VMX, MODEL_ALL);

	ck_assert_int_eq(fixture_does(f, MODEL_OP_NONE, 0, 0, 0, 0), X86VCPU_OK);
	ck_assert_uint_eq(model_vmwrite(vmx_checks[_i].field, vmx_checks[_i].value), 0);
	ck_assert_int_eq(fixture_does(f, MODEL_OP_NONE, 0, 0, 0, 0), X86VCPU_OK);
	ck_assert_uint_eq(f->exit.kind, X86VCPU_EXIT_FAIL_ENTRY);
	ck_assert_uint_eq(f->exit.u.fail_entry.instruction_error, vmx_checks[_i].error);
	complains(f, vmx_checks[_i].complaint);
}
END_TEST

static const struct {
	size_t offset;
	uint64_t value;
	const char *complaint;
} svm_checks[] = {
	{offsetof(struct vmcb, efer), 0, "EFER.SVME is clear"},
	{offsetof(struct vmcb, cr0), UINT64_C(1) << 29, "CR0: NW without CD"},
	{offsetof(struct vmcb, cr0), UINT64_C(1) << 32, "CR0: bits above 31"},
	{offsetof(struct vmcb, cr4), UINT64_C(1) << 31, "CR4: reserved bits"},
	{offsetof(struct vmcb, dr7), UINT64_C(1) << 32, "DR6 or DR7"},
	{offsetof(struct vmcb, asid), 0, "ASID 0"},
	{offsetof(struct vmcb, iopm_base), 0, "permission map addresses"},
	{offsetof(struct vmcb, event_injection), 0x80000302, "injected event: vector of an exception"},
	{offsetof(struct vmcb, event_injection), 0x80000100, "injected event: type"},
	{offsetof(struct vmcb, pat), 2, "PAT"},
};

static struct vmcb *vmcb_of(struct fixture *f)
{
	uint32_t count;
	const struct model_record *records = model_trace(f->m, &count);

	while (count-- && records[count].operation != MODEL_TRACE_ENTRY)
		;
	return model_memory(f->m, records[count].b);
}

START_TEST(vmrun_check_is_named)
{
	struct fixture *f = fixture_begin(MODEL_SVM, MODEL_ALL);
	uint64_t gpr[16] = {0};
	uint32_t count;
	const struct model_record *records;
	uint64_t hpa;

	ck_assert_int_eq(fixture_does(f, MODEL_OP_NONE, 0, 0, 0, 0), X86VCPU_OK);
	memcpy((char *)vmcb_of(f) + svm_checks[_i].offset, &svm_checks[_i].value, 8);
	vmcb_of(f)->clean = 0;
	records = model_trace(f->m, &count);
	while (count-- && records[count].operation != MODEL_TRACE_ENTRY)
		;
	hpa = records[count].b;
	model_set_gif(0);
	model_set_if(1);
	model_vmrun(hpa, gpr);
	complains(f, svm_checks[_i].complaint);
	ck_assert_uint_eq(vmcb_of(f)->exit_code, UINT64_MAX);
}
END_TEST

START_TEST(clean_field_that_changed_is_noticed)
{
	struct fixture *f = fixture_begin(MODEL_SVM, MODEL_ALL);

	ck_assert_int_eq(fixture_does(f, MODEL_OP_NONE, 0, 0, 0, 0), X86VCPU_OK);
	vmcb_of(f)->cs.limit ^= 0x1000;
	ck_assert_int_eq(fixture_does(f, MODEL_OP_NONE, 0, 0, 0, 0), X86VCPU_OK);
	complains(f, "clean bit of the segments is set, and they changed");
}
END_TEST

/* SDM 26.2: the NMI window may be open while STI blocks, or not. Both ways the guest gets on, and takes the NMI. */
START_TEST(nmi_in_the_shadow_of_sti)
{
	static const uint8_t nop[] = {0x90};
	struct fixture *f = fixture_begin(_i & 1 ? MODEL_SVM : MODEL_VMX,
					  MODEL_ALL | (_i & 2 ? MODEL_MAY_NMI_WINDOW_IN_STI : 0));
	struct x86vcpu_events events = {.size = sizeof(events), .blocking = X86VCPU_BLOCKING_STI, .nmi_pending = 1};
	struct x86vcpu_state state = {.size = sizeof(state)};

	goes_to(f, 0x1000, nop, sizeof(nop));
	ck_assert_int_eq(fixture_does(f, MODEL_OP_NONE, 0, 0, 0, 0), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_get_state(f->vcpu, X86VCPU_STATE_ALL, &state), X86VCPU_OK);
	state.rflags |= 0x200;
	ck_assert_int_eq(x86vcpu_set_state(f->vcpu, X86VCPU_STATE_ALL, &state), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_set_events(f->vcpu, &events), X86VCPU_OK);
	ck_assert_int_eq(fixture_does(f, MODEL_OP_PAUSE, 1, 0, 0, 0), X86VCPU_OK);
	ck_assert_uint_eq(model_outcome(f->m)->stuck, 0);
	ck_assert_uint_eq(model_outcome(f->m)->event_count, 1);
	ck_assert_uint_eq(model_outcome(f->m)->events[0].type, 2);
	ck_assert_uint_eq(model_outcome(f->m)->before, 0);
	fixture_end(f);
}
END_TEST

/* An x87 error in a guest with CR0.NE clear (FERR#), and then with NE set. Without the flag it is #MF in both. */
static int32_t x87_error(struct fixture *f, bool ne)
{
	static const struct model_raw_exit frozen = {.reason = 0x7e};

	model_guest_exits(f->m, &frozen);
	return fixture_does(f, x86vcpu_extension() == X86VCPU_EXTENSION_SVM && !ne ? MODEL_OP_RAW : MODEL_OP_EXCEPTION, 2, 16, 0, 0);
}

static void set_ne(struct fixture *f)
{
	model_guest_sets(f->m, MODEL_RAX, 0x30);
	ck_assert_int_eq(fixture_does(f, MODEL_OP_MOV_TO_CR, 3, 0, 0, 0), X86VCPU_OK);
}

START_TEST(x87_error_with_ne_clear)
{
	const struct x86vcpu_setup_config config = {
		.size = sizeof(config),
		.time_slice_ns = UINT64_C(1) << 60,
		.flags = _i & 2 ? X86VCPU_SETUP_FPU_ERROR_EXITS : 0,
	};
	static const uint8_t mov_cr0[] = {0x0f, 0x22, 0xc0};
	struct x86vcpu_state state = {.size = sizeof(state)};
	struct fixture *f = fixture_begin_with(_i & 1 ? MODEL_SVM : MODEL_VMX, MODEL_ALL, &config);

	ck_assert_int_eq(x87_error(f, false), X86VCPU_OK);
	ck_assert_uint_eq(f->exit.kind, config.flags ? X86VCPU_EXIT_FPU_ERROR : X86VCPU_EXIT_NOTHING);
	ck_assert_uint_eq(model_outcome(f->m)->event_count, config.flags ? 0 : 1);
	ck_assert_int_eq(x86vcpu_get_state(f->vcpu, X86VCPU_STATE_RIP, &state), X86VCPU_OK);
	ck_assert_uint_eq(state.rip, 0x1000);
	goes_to(f, 0x1000, mov_cr0, sizeof(mov_cr0));
	set_ne(f);
	ck_assert_int_eq(x87_error(f, true), X86VCPU_OK);
	ck_assert_uint_eq(f->exit.kind, X86VCPU_EXIT_NOTHING);
	ck_assert_uint_eq(model_outcome(f->m)->event_count, 1);
	ck_assert_uint_eq(model_outcome(f->m)->events[0].vector, 16);
	fixture_end(f);
}
END_TEST

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

Suite *library_suite(void);
Suite *library_suite(void)
{
	Suite *suite = suite_create("library");
	TCase *tc = tcase_create("library");

	tcase_add_loop_test(tc, every_cpu_is_good_enough, 0, 2 * LACKING);
	tcase_add_loop_test(tc, limit_of_tr_comes_back, 0, 2);
	tcase_add_test(tc, cr2_is_read_before_an_nmi);
	tcase_add_loop_test(tc, moves_between_cpus, 0, 2);
	tcase_add_loop_test(tc, entry_executes_no_cpuid, 0, 2);
	tcase_add_loop_test(tc, stale_translations_are_noticed, 0, 2);
	tcase_add_loop_test(tc, nmi_in_the_shadow_of_sti, 0, 4);
	tcase_add_loop_test(tc, x87_error_with_ne_clear, 0, 4);
	tcase_add_test(tc, operations_are_counted);
	tcase_add_loop_test(tc, entry_check_is_named, 0, COUNT(vmx_checks));
	tcase_add_loop_test(tc, vmrun_check_is_named, 0, COUNT(svm_checks));
	tcase_add_test(tc, clean_field_that_changed_is_noticed);
	suite_add_tcase(suite, tc);
	return suite;
}
