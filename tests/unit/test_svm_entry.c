/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The SVM backend on a fake CPU: what VMRUN finds in a VMCB. Bits are numbers of the manual: APM Vol. 2, 15
 * and appendix B.
 */
#include <check.h>
#include <string.h>

#include "cpu/quirks.h"
#include "fake_cpu.h"
#include "svm_machine.h"

Suite *svm_entry_suite(void);

#define ALL_CLEAN 0x3ffu

/* ---- Events: EVENTINJ and EXITINTINFO, APM 15.20 and 15.7.2 --------------------------------------------------- */

static void post_event(int which)
{
	struct guest *g = &vcpu.guest;

	switch (which) {
	case 0:
		guest_post_interrupt(g, 0x21, false);
		break;
	case 1:
		guest_post_nmi(g);
		break;
	case 2:
		guest_raise(g, 13, true, 0x1234);
		break;
	default:
		guest_raise(g, 6, false, 0);
	}
}

static const uint64_t posted[] = {0x80000021, 0x80000202, UINT64_C(0x123480000b0d), 0x80000306};

START_TEST(event_is_encoded)
{
	machine_start_protected(0);
	vcpu.vmcb->rflags = RFLAGS_ON;
	post_event(_i);
	machine_run(NULL, 0);
	ck_assert_uint_eq(entries[0].event, posted[_i]);
	ck_assert(!guest_event_pending(&vcpu.guest));
}
END_TEST

/* Real mode has no error codes. */
START_TEST(real_mode_event_has_no_code)
{
	machine_start(0);
	guest_raise(&vcpu.guest, 13, true, 0);
	machine_run(NULL, 0);
	ck_assert_uint_eq(entries[0].event, 0x8000030d);
}
END_TEST

/* Table B-1: VMEXIT_INVALID is -1; one machine writes the low half only. VMEXIT_BUSY is -2. */
static const uint64_t failures[] = {UINT64_MAX, 0xffffffff, UINT64_MAX - 1, 0xfffffffe};

START_TEST(failed_entry_keeps_the_event)
{
	const struct fake_exit exit = {.code = failures[_i % COUNT(failures)]};
	const int event = _i / COUNT(failures);

	machine_start_protected(0);
	vcpu.vmcb->rflags = RFLAGS_ON;
	post_event(event);
	machine_run(&exit, 1);
	ck_assert_uint_eq(reported.kind, X86VCPU_EXIT_FAIL_ENTRY);
	ck_assert_uint_eq(reported.u.fail_entry.reason, exit.code);
	ck_assert_uint_eq(entries[0].event, posted[event]);
	ck_assert_uint_eq(vcpu.vmcb->event_injection & BIT(31), 0);
	machine_run(NULL, 0);
	ck_assert_uint_eq(entries[0].event, posted[event]);
	machine_run(NULL, 0);
	ck_assert_uint_eq(entries[0].event, 0);
}
END_TEST

/* The NMI has not been taken, so it blocks no other: an exception goes first, and it comes after. */
START_TEST(failed_nmi_does_not_block)
{
	static const struct fake_exit invalid = {.code = UINT64_MAX}, smi = {.code = EXIT_SMI};

	machine_start_protected(0);
	guest_post_nmi(&vcpu.guest);
	machine_run(&invalid, 1);
	guest_raise(&vcpu.guest, 6, false, 0);
	machine_run(&smi, 1);
	ck_assert_uint_eq(entries[0].event, INJECT_UD);
	ck_assert_uint_eq(entries[1].event, 0x80000202);
}
END_TEST

/* The delivery was cut short, and the VMM has an exception for the guest: the NMI comes after it. */
START_TEST(nmi_cut_short_does_not_block)
{
	static const struct fake_exit list[] = {
		{.code = EXIT_NPF, .info1 = BIT(32), .info2 = 0x800000, .vectoring = 0x80000202}, {.code = EXIT_SMI},
	};

	machine_start_protected(0);
	guest_post_nmi(&vcpu.guest);
	machine_run(list, 1);
	guest_raise(&vcpu.guest, 6, false, 0);
	machine_run(list + 1, 1);
	ck_assert_uint_eq(entries[0].event, INJECT_UD);
	ck_assert_uint_eq(entries[1].event, 0x80000202);
}
END_TEST

/* What the CPU has loaded of the VMCB, and whether it has flushed, is not known. */
START_TEST(failed_entry_leaves_nothing_cached)
{
	static const struct fake_exit invalid = {.code = UINT64_MAX};

	machine_start_protected(0);
	machine_run(&invalid, 1);
	ck_assert_uint_eq(entries[0].tlb_control, 1);
	machine_run(NULL, 0);
	ck_assert_uint_eq(entries[0].clean, 0);
	ck_assert_uint_eq(entries[0].tlb_control, 1);
}
END_TEST

/* INT n, INT3 and INTO are executed again. */
static const struct {
	uint64_t vectoring, event;
} cut_short[] = {
	{0x80000030, 0x80000030},
	{0x80000010, 0x80000010}, /* an interrupt, not #MF */
	{0x80000202, 0x80000202},
	{UINT64_C(0x680000b0e), UINT64_C(0x680000b0e)},
	{UINT64_C(0x1880000b0d), UINT64_C(0x1880000b0d)},
	{0x80000b08, 0x80000b08},
	{0x80000301, 0x80000301},
	{0x80000300, 0x80000300},
	{0x80000480, 0},
	{0x80000402, 0},
	{0x80000303, 0},
	{0x80000304, 0},
	{0x00000030, 0}, /* not valid */
	{UINT64_C(0x600000b0e), 0},
};

START_TEST(event_cut_short_goes_in_again)
{
	const struct fake_exit list[] = {{.code = EXIT_SMI, .vectoring = cut_short[_i].vectoring}, {.code = EXIT_SMI}};

	machine_start_protected(0);
	vcpu.vmcb->rflags = RFLAGS_ON;
	machine_run(list, 2);
	ck_assert_uint_eq(entries[0].event, 0);
	ck_assert_uint_eq(entries[1].event, cut_short[_i].event);
	ck_assert_uint_eq(entries[2].event, 0);
}
END_TEST

/* No instruction brings them back. */
START_TEST(injected_breakpoint_goes_in_again)
{
	const uint64_t event = _i ? 0x80000304 : 0x80000303;
	const struct fake_exit exit = {.code = EXIT_SMI, .vectoring = event};

	machine_start_protected(0);
	guest_raise(&vcpu.guest, _i ? 4 : 3, false, 0);
	machine_run(&exit, 1);
	ck_assert_uint_eq(entries[0].event, event);
	ck_assert_uint_eq(entries[1].event, event);
}
END_TEST

/* The VMM's has been delivered; this one is the guest's own. */
START_TEST(breakpoint_after_an_injected_one_is_executed_again)
{
	static const struct fake_exit list[] = {{.code = EXIT_SMI}, {.code = EXIT_SMI, .vectoring = 0x80000303}};

	machine_start_protected(0);
	guest_raise(&vcpu.guest, 3, false, 0);
	machine_run(list, 2);
	ck_assert_uint_eq(entries[0].event, 0x80000303);
	ck_assert_uint_eq(entries[1].event | entries[2].event, 0);
}
END_TEST

/* An interrupt was taken, and its handler executes INT n with the same n. */
START_TEST(int_n_after_an_interrupt_is_executed_again)
{
	const struct fake_exit exit = {.code = EXIT_SMI, .vectoring = 0x80000480};

	machine_start_protected(0);
	vcpu.vmcb->rflags = RFLAGS_ON;
	guest_post_interrupt(&vcpu.guest, 0x80, false);
	machine_run(&exit, 1);
	ck_assert_uint_eq(entries[0].event, 0x80000080);
	ck_assert_uint_eq(entries[1].event, 0);
}
END_TEST

/*
 * ---- NMIs: no other until the IRET is over (APM 15.20) -------------------------------------------------------
 * Where no step shows its end; the model has the others.
 */

#define INTERCEPTS_IRET BIT(20)
#define INTERCEPTS_VINTR BIT(4)
#define WINDOW (BIT(8) | UINT64_C(0xf) << 16 | BIT(20)) /* V_IRQ, highest priority, V_IGN_TPR */

START_TEST(second_nmi_waits_for_iret)
{
	static const struct fake_exit list[] = {
		{.code = EXIT_SMI, .rip = 0x2000}, /* in the handler */
		{.code = EXIT_IRET, .rip = 0x2010},
		{.code = EXIT_SMI}, /* before the IRET is executed */
		{.code = EXIT_SMI, .rip = 0x3000},
	};

	machine_start_protected(0);
	vcpu.quirks = QUIRK_STEP_LEAKS;
	guest_post_nmi(&vcpu.guest);
	machine_run(list, 1);
	ck_assert_uint_eq(entries[0].event, 0x80000202);
	ck_assert_uint_eq(entries[0].intercept3 & INTERCEPTS_IRET, INTERCEPTS_IRET);
	guest_post_nmi(&vcpu.guest);
	machine_run(list + 1, 3);
	ck_assert_uint_eq(entry_count, 4);
	ck_assert_uint_eq(entries[0].event | entries[1].event | entries[2].event, 0);
	ck_assert_uint_eq(entries[0].intercept3 & INTERCEPTS_IRET, INTERCEPTS_IRET);
	ck_assert_uint_eq(entries[1].intercept3 & INTERCEPTS_IRET, 0);
	ck_assert_uint_eq(entries[1].rip, 0x2010);
	ck_assert_uint_eq(entries[2].intercept3 & INTERCEPTS_IRET, 0);
	ck_assert_uint_eq(entries[3].event, 0x80000202);
	ck_assert_uint_eq(entries[3].intercept3 & INTERCEPTS_IRET, INTERCEPTS_IRET);
}
END_TEST

START_TEST(iret_unblocks_without_a_second_nmi)
{
	static const struct fake_exit list[] = {
		{.code = EXIT_IRET, .rip = 0x2010}, {.code = EXIT_SMI, .rip = 0x3000}, {.code = EXIT_SMI, .rip = 0x3001},
	};

	machine_start_protected(0);
	vcpu.quirks = QUIRK_STEP_LEAKS;
	guest_post_nmi(&vcpu.guest);
	machine_run(list, 3);
	ck_assert_uint_eq(entries[3].intercept3 & INTERCEPTS_IRET, 0);
	ck_assert_uint_eq(guest_get(&vcpu.guest, G_BLOCKING), 0);
}
END_TEST

/* Interrupts are none of the blocking's business. */
START_TEST(interrupt_comes_into_an_nmi_handler)
{
	static const struct fake_exit list[] = {{.code = EXIT_SMI}};

	machine_start_protected(0);
	vcpu.vmcb->rflags = RFLAGS_ON;
	guest_post_nmi(&vcpu.guest);
	guest_post_interrupt(&vcpu.guest, 0x40, false);
	machine_run(list, 1);
	ck_assert_uint_eq(entries[0].event, 0x80000202);
	ck_assert_uint_eq(entries[0].window & WINDOW, WINDOW);
	ck_assert_uint_eq(entries[1].event, 0x80000040);
}
END_TEST

/*
 * A window exits before the next instruction when interrupts are on: asked for an NMI that is blocked, the
 * guest would never come to its IRET.
 */
START_TEST(blocked_nmi_does_not_stop_the_guest)
{
	static const struct fake_exit list[] = {
		{.code = EXIT_SMI, .rip = 0x2000, .rflags = RFLAGS_ON}, {.code = EXIT_IRET, .rip = 0x2010},
	};

	machine_start_protected(0);
	vcpu.quirks = QUIRK_STEP_LEAKS;
	guest_post_nmi(&vcpu.guest);
	machine_run(list, 0);
	guest_post_nmi(&vcpu.guest);
	machine_run(list, 2);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_uint_eq(entries[i].window & WINDOW, 0);
		ck_assert_uint_eq(entries[i].intercept3 & INTERCEPTS_VINTR, 0);
	}
}
END_TEST

/* With interrupts off the window exits when the IRET has turned them on. */
START_TEST(waiting_nmi_comes_with_the_end_of_iret)
{
	static const struct fake_exit list[] = {
		{.code = EXIT_IRET, .rip = 0x2010}, {.code = EXIT_VINTR, .rip = 0x3000, .rflags = RFLAGS_ON},
	};

	machine_start_protected(0);
	vcpu.quirks = QUIRK_STEP_LEAKS;
	guest_post_nmi(&vcpu.guest);
	machine_run(list, 0);
	guest_post_nmi(&vcpu.guest);
	machine_run(list, 2);
	ck_assert_uint_eq(entries[1].window & WINDOW, WINDOW);
	ck_assert_uint_eq(entries[2].event, 0x80000202);
	ck_assert_uint_eq(entries[2].window & WINDOW, 0);
}
END_TEST

/* ---- The interrupt window (APM 15.21.4) --------------------------------------------------------------------- */

/* By its own exit, or by another after which the interrupt can go in. */
START_TEST(window_is_asked_for_and_taken_back)
{
	const struct fake_exit exit = {.code = _i ? EXIT_SMI : EXIT_VINTR, .rflags = RFLAGS_ON};

	machine_start_protected(0);
	guest_post_interrupt(&vcpu.guest, 0x31, false);
	machine_run(&exit, 1);
	ck_assert_uint_eq(entries[0].event, 0);
	ck_assert_uint_eq(entries[0].window, WINDOW | BIT(24)); /* V_INTR_MASKING */
	ck_assert_uint_eq(entries[0].intercept3 & INTERCEPTS_VINTR, INTERCEPTS_VINTR);
	ck_assert_uint_eq(entries[1].event, 0x80000031);
	ck_assert_uint_eq(entries[1].window, BIT(24));
	ck_assert_uint_eq(entries[1].intercept3 & INTERCEPTS_VINTR, 0);
}
END_TEST

START_TEST(window_stays_while_it_is_needed)
{
	static const struct fake_exit list[] = {{.code = EXIT_SMI}, {.code = EXIT_VINTR, .rflags = RFLAGS_ON}};

	machine_start_protected(0);
	guest_post_interrupt(&vcpu.guest, 0x31, false);
	guest_post_interrupt(&vcpu.guest, 0x52, false);
	machine_run(list, 2);
	ck_assert_uint_eq(entries[1].window & WINDOW, WINDOW);
	ck_assert_uint_eq(entries[2].event, 0x80000052);
	ck_assert_uint_eq(entries[2].window & WINDOW, WINDOW);
	ck_assert_uint_eq(entries[2].intercept3 & INTERCEPTS_VINTR, INTERCEPTS_VINTR);
}
END_TEST

START_TEST(interrupt_waits_for_the_end_of_its_shadow)
{
	machine_start_protected(0);
	vcpu.vmcb->rflags = RFLAGS_ON;
	vcpu.vmcb->interrupt_shadow = 1;
	guest_post_interrupt(&vcpu.guest, 0x31, false);
	machine_run(NULL, 0);
	ck_assert_uint_eq(entries[0].event, 0);
	ck_assert_uint_eq(entries[0].shadow, 1);
	ck_assert_uint_eq(entries[0].window & WINDOW, WINDOW);
}
END_TEST

/* ---- TLB tags (APM 15.16) -------------------------------------------------------------------------------------- */

static void enter_once(struct svm_vcpu *v)
{
	ck_assert_int_eq(machine_run_vcpu(v, NULL, 0), 0);
}

static void start_two(uint32_t count)
{
	asids = count;
	machine_start(0);
	machine_make_vcpu(&other);
	ck_assert_int_eq(svm_backend.bind(&other.guest, &cpus[0]), 0);
}

/* Nothing of the CPU has changed then. */
START_TEST(cpu_that_lacks_something_is_refused)
{
	struct backend_cpu cpu;

	machine_start(0);
	cpu = (struct backend_cpu){.host = cpus[0].host};
	*fake_msr(0xc0000080) = 0xd01;
	without_nested_paging = _i == 0;
	asids = _i == 0 ? 0x8000 : 1; /* the host's alone */
	ck_assert_int_eq(svm_backend.cpu_enable(&cpu), X86VCPU_ERR_UNSUPPORTED);
	ck_assert_uint_eq(*fake_msr(0xc0000080), 0xd01);
	ck_assert_uint_eq(cpu.region_hpa, 0);
}
END_TEST

START_TEST(first_vmrun_of_a_cpu_flushes)
{
	start_two(8);
	enter_once(&vcpu);
	ck_assert_uint_eq(entries[0].tlb_control, 1);
	enter_once(&vcpu);
	ck_assert_uint_eq(entries[0].tlb_control, 0);
	enter_once(&other);
	ck_assert_uint_eq(entries[0].tlb_control, 0);
	ck_assert_int_eq(svm_backend.bind(&vcpu.guest, &cpus[1]), 0);
	enter_once(&vcpu);
	ck_assert_uint_eq(entries[0].tlb_control, 1);
}
END_TEST

START_TEST(each_vcpu_keeps_its_asid)
{
	uint32_t first, second;

	start_two(8);
	enter_once(&vcpu);
	first = entries[0].asid;
	enter_once(&other);
	second = entries[0].asid;
	ck_assert_uint_ne(first, 0);
	ck_assert_uint_ne(second, 0);
	ck_assert_uint_ne(first, second);
	for (int i = 0; i < 3; i++) {
		enter_once(&vcpu);
		ck_assert_uint_eq(entries[0].asid, first);
		enter_once(&other);
		ck_assert_uint_eq(entries[0].asid, second);
	}
}
END_TEST

static void drop_translations(struct svm_vcpu *v, int nested)
{
	if (nested)
		v->guest.flush_nested = true;
	else
		v->guest.flush_tlb = true;
}

START_TEST(flush_is_a_new_asid)
{
	uint32_t asid;

	start_two(8);
	enter_once(&vcpu);
	asid = entries[0].asid;
	drop_translations(&vcpu, _i);
	enter_once(&vcpu);
	ck_assert_uint_ne(entries[0].asid, asid);
	ck_assert_uint_eq(entries[0].tlb_control, 0);
	asid = entries[0].asid;
	enter_once(&vcpu);
	ck_assert_uint_eq(entries[0].asid, asid);
}
END_TEST

/* Four ASIDs, of which the guests have 1 to 3 (CPUID 8000000a EBX counts the host's). */
START_TEST(asids_run_out)
{
	unsigned flushes = 0;

	start_two(4);
	enter_once(&other);
	for (int i = 0; i < 2; i++) {
		drop_translations(&vcpu, 0);
		enter_once(&vcpu);
		ck_assert_uint_eq(entries[0].tlb_control, 0);
		ck_assert_uint_le(entries[0].asid, 3);
	}
	for (int i = 0; i < 2; i++) {
		drop_translations(&vcpu, 0);
		enter_once(&vcpu);
		flushes += entries[0].tlb_control;
		ck_assert_uint_le(entries[0].asid, 3);
		ck_assert_uint_ne(entries[0].asid, 0);
	}
	ck_assert_uint_eq(flushes, 1);
	/* The other's could be the same by now. */
	enter_once(&other);
	ck_assert_uint_ne(entries[0].asid, vcpu.vmcb->asid);
	ck_assert_uint_eq(entries[0].tlb_control, 0);
	ck_assert_uint_eq(entries[0].clean & BIT(2), 0);
}
END_TEST

/* What it did elsewhere is not in this CPU's TLB. */
START_TEST(vcpu_that_comes_back_gets_a_new_asid)
{
	uint32_t asid;

	start_two(8);
	enter_once(&vcpu);
	asid = entries[0].asid;
	svm_backend.unbind(&vcpu.guest);
	ck_assert_int_eq(svm_backend.bind(&vcpu.guest, &cpus[1]), 0);
	enter_once(&vcpu);
	svm_backend.unbind(&vcpu.guest);
	ck_assert_int_eq(svm_backend.bind(&vcpu.guest, &cpus[0]), 0);
	enter_once(&vcpu);
	ck_assert_uint_ne(entries[0].asid, asid);
}
END_TEST

/* ---- Clean bits (APM 15.15.3) ---------------------------------------------------------------------------------- */

START_TEST(nothing_changed_is_all_clean)
{
	static const struct fake_exit smi = {.code = EXIT_SMI};

	machine_start_protected(0);
	machine_run(&smi, 1);
	ck_assert_uint_eq(entries[0].clean, 0);
	ck_assert_uint_eq(entries[1].clean, ALL_CLEAN);
	machine_run(&smi, 1);
	ck_assert_uint_eq(entries[0].clean, ALL_CLEAN);
	ck_assert_uint_eq(entries[1].clean, ALL_CLEAN);
}
END_TEST

START_TEST(bind_is_nothing_clean)
{
	machine_start_protected(0);
	machine_run(NULL, 0);
	svm_backend.unbind(&vcpu.guest);
	ck_assert_int_eq(svm_backend.bind(&vcpu.guest, &cpus[0]), 0);
	machine_run(NULL, 0);
	ck_assert_uint_eq(entries[0].clean, 0);
}
END_TEST

/* FS, GS, LDTR, TR and the SYSENTER MSRs are VMLOAD's, RIP, RSP and RFLAGS are always loaded. */
static const struct {
	enum guest_field field;
	uint64_t value;
	uint32_t changed, maybe;
} written[] = {
	{G_CR0, 0x1b, BIT(5), BIT(0)},
	{G_CR3, 0x4000, BIT(5), 0},
	{G_CR4, 0x80, BIT(5), 0},
	{G_EFER, 0x800, BIT(5), 0},
	{G_DR7, 0x401, BIT(6), 0},
	{G_GDTR_BASE, 0x9000, BIT(7), 0},
	{G_GDTR_LIMIT, 0x7f, BIT(7), 0},
	{G_IDTR_BASE, 0x9000, BIT(7), 0},
	{G_IDTR_LIMIT, 0x7f, BIT(7), 0},
	{G_SELECTOR + X86VCPU_SEGMENT_CS, 8, BIT(8), 0},
	{G_BASE + X86VCPU_SEGMENT_DS, 0x100, BIT(8), 0},
	{G_LIMIT + X86VCPU_SEGMENT_ES, 0xfff, BIT(8), 0},
	{G_ACCESS + X86VCPU_SEGMENT_SS, 0xc0f3, BIT(8), 0},
	{G_BASE + X86VCPU_SEGMENT_FS, 0x100, 0, BIT(8)},
	{G_PAT, 0x0606060606060606, BIT(4), 0},
	{G_RIP, 0x1234, 0, 0},
	{G_RSP, 0x1234, 0, 0},
	{G_RFLAGS, RFLAGS_ON, 0, 0},
	{G_SYSENTER_EIP, 0x1234, 0, 0},
	{G_BLOCKING, 1, 0, 0},
};

START_TEST(field_is_not_clean)
{
	machine_start_protected(0);
	machine_run(NULL, 0);
	guest_set(&vcpu.guest, written[_i].field, written[_i].value);
	machine_run(NULL, 0);
	ck_assert_uint_eq(~entries[0].clean & ALL_CLEAN & ~written[_i].maybe, written[_i].changed);
}
END_TEST

static uint32_t change(int which)
{
	struct guest *g = &vcpu.guest;

	switch (which) {
	case 0:
		g->cr2 = 0x123;
		return BIT(9);
	case 1:
		g->msrs.tsc_offset += 5;
		g->msrs_changed = true;
		return BIT(0);
	case 2:
		g->msrs.lstar = 5;
		g->msrs_changed = true;
		return 0;
	case 3:
		g->flush_tlb = true;
		return BIT(2);
	case 4:
		g->dr6 ^= 1;
		return BIT(6);
	case 5: /* the intercept and V_IRQ */
		guest_post_interrupt(g, 0x31, false);
		return BIT(0) | BIT(3);
	default: /* EVENTINJ is always read */
		guest_raise(g, 6, false, 0);
		return 0;
	}
}

START_TEST(other_state_is_not_clean)
{
	uint32_t changed;

	machine_start_protected(0);
	machine_run(NULL, 0);
	changed = change(_i);
	machine_run(NULL, 0);
	ck_assert_uint_eq(~entries[0].clean & ALL_CLEAN, changed);
}
END_TEST

/* A single step that emulation finished: #DB with DR6.BS, which the VMCB has no other place for. */
START_TEST(single_step_is_an_exception)
{
	const struct fake_exit exit = {.code = EXIT_CPUID, .next_rip = CODE_AT + 2, .rflags = BIT(8) | 2};

	machine_start_protected(FEATURE_NEXT_RIP);
	machine_run(&exit, 1);
	ck_assert_uint_eq(entries[1].event, 0x80000301);
	ck_assert_uint_eq(entries[1].rip, CODE_AT + 2);
	ck_assert_uint_eq(vcpu.vmcb->dr6 & BIT(14), BIT(14));
	ck_assert_uint_eq(entries[1].clean & BIT(6), 0);
}
END_TEST

/* ---- The suite --------------------------------------------------------------------------------------------------- */

static TCase *events_case(void)
{
	TCase *tcase = tcase_create("events");

	tcase_add_loop_test(tcase, event_is_encoded, 0, COUNT(posted));
	tcase_add_test(tcase, real_mode_event_has_no_code);
	tcase_add_loop_test(tcase, failed_entry_keeps_the_event, 0, COUNT(posted) * COUNT(failures));
	tcase_add_test(tcase, failed_nmi_does_not_block);
	tcase_add_test(tcase, nmi_cut_short_does_not_block);
	tcase_add_test(tcase, failed_entry_leaves_nothing_cached);
	tcase_add_loop_test(tcase, event_cut_short_goes_in_again, 0, COUNT(cut_short));
	tcase_add_loop_test(tcase, injected_breakpoint_goes_in_again, 0, 2);
	tcase_add_test(tcase, breakpoint_after_an_injected_one_is_executed_again);
	tcase_add_test(tcase, int_n_after_an_interrupt_is_executed_again);
	tcase_add_test(tcase, single_step_is_an_exception);
	return tcase;
}

static TCase *windows_case(void)
{
	TCase *tcase = tcase_create("windows");

	tcase_add_test(tcase, second_nmi_waits_for_iret);
	tcase_add_test(tcase, iret_unblocks_without_a_second_nmi);
	tcase_add_test(tcase, interrupt_comes_into_an_nmi_handler);
	tcase_add_test(tcase, blocked_nmi_does_not_stop_the_guest);
	tcase_add_test(tcase, waiting_nmi_comes_with_the_end_of_iret);
	tcase_add_loop_test(tcase, window_is_asked_for_and_taken_back, 0, 2);
	tcase_add_test(tcase, window_stays_while_it_is_needed);
	tcase_add_test(tcase, interrupt_waits_for_the_end_of_its_shadow);
	return tcase;
}

/* All tests may share one process. */
static void forget_limits(void)
{
	asids = 0;
	without_nested_paging = false;
}

static TCase *tags_case(void)
{
	TCase *tcase = tcase_create("tags");

	tcase_add_checked_fixture(tcase, NULL, forget_limits);
	tcase_add_loop_test(tcase, cpu_that_lacks_something_is_refused, 0, 2);
	tcase_add_test(tcase, first_vmrun_of_a_cpu_flushes);
	tcase_add_test(tcase, each_vcpu_keeps_its_asid);
	tcase_add_loop_test(tcase, flush_is_a_new_asid, 0, 2);
	tcase_add_test(tcase, asids_run_out);
	tcase_add_test(tcase, vcpu_that_comes_back_gets_a_new_asid);
	return tcase;
}

static TCase *clean_case(void)
{
	TCase *tcase = tcase_create("clean bits");

	tcase_add_test(tcase, nothing_changed_is_all_clean);
	tcase_add_test(tcase, bind_is_nothing_clean);
	tcase_add_loop_test(tcase, field_is_not_clean, 0, COUNT(written));
	tcase_add_loop_test(tcase, other_state_is_not_clean, 0, 7);
	return tcase;
}

Suite *svm_entry_suite(void)
{
	Suite *suite = suite_create("svm_entry");

	suite_add_tcase(suite, events_case());
	suite_add_tcase(suite, windows_case());
	suite_add_tcase(suite, tags_case());
	suite_add_tcase(suite, clean_case());
	return suite;
}
