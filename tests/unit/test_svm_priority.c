/* SPDX-License-Identifier: Apache-2.0 */
/* SVM: the task priority, which the CPU keeps in the VMCB (APM 15.21), and interrupt shadows (APM 15.21.5). */
#include "fake_cpu.h"

#include <check.h>

#include "cpu/quirks.h"
#include "svm_machine.h"

Suite *svm_priority_suite(void);

#define WINDOW (BIT(8) | UINT64_C(0xf) << 16 | BIT(20)) /* V_IRQ, highest priority, V_IGN_TPR */
#define WRITES_CR8 BIT(8)
#define INJECT_NMI 0x80000202

static struct guest *start_with_apic(void)
{
	struct guest *g = &vcpu.guest;

	machine_start_protected(FEATURE_NEXT_RIP);
	g->limits.has_apic = true;
	lapic_reset(g);
	g->lapic.svr = APIC_SVR_ENABLE | 0xff;
	vcpu.vmcb->rflags = RFLAGS_ON;
	return g;
}

/* ---- Task priority: VC-06 ---------------------------------------------------------------------------------------- */

START_TEST(task_priority_goes_in_and_out)
{
	static const struct fake_exit lowered = {.code = EXIT_SMI, .tpr = 1 + 3}, same = {.code = EXIT_SMI};
	struct guest *g = start_with_apic();

	lapic_set_tpr(g, 0x95);
	machine_run(&same, 1);
	ck_assert_uint_eq(entries[0].window & 15, 9);
	ck_assert_uint_eq(entries[0].clean & BIT(3), 0); /* TPR */
	ck_assert_uint_eq(*g->lapic.tpr, 0x95); /* the lower half is not the CPU's */
	machine_run(&lowered, 1);
	ck_assert_uint_eq(*g->lapic.tpr, 0x30);
	ck_assert_uint_eq(entries[1].window & 15, 3);
	ck_assert_uint_eq(entries[1].clean & BIT(3), BIT(3));
}
END_TEST

/* Writes of CR8 exit while they could let something in, or must clear TPR's lower half. */
START_TEST(cr8_is_watched_while_it_matters)
{
	static const struct fake_exit list[] = {{.code = EXIT_SMI}};
	struct guest *g = start_with_apic();

	lapic_set_tpr(g, 0x90);
	machine_run(list, 1);
	ck_assert_uint_eq(entries[0].cr_write & WRITES_CR8, 0);
	lapic_accept(g, 0x98, false);
	guest_look_again(g);
	machine_run(list, 1);
	ck_assert_uint_eq(entries[0].event, 0);
	ck_assert_uint_eq(entries[0].window & WINDOW, 0);
	ck_assert_uint_eq(entries[0].cr_write & WRITES_CR8, WRITES_CR8);
	ck_assert_uint_eq(entries[0].clean & BIT(0), 0); /* intercepts */
	lapic_set_tpr(g, 0x80);
	machine_run(list, 1);
	ck_assert_uint_eq(entries[0].event, 0x80000098);
	ck_assert_uint_eq(entries[0].cr_write & WRITES_CR8, 0);
	lapic_set_tpr(g, 0x81);
	machine_run(list, 1);
	ck_assert_uint_eq(entries[0].cr_write & WRITES_CR8, WRITES_CR8);
}
END_TEST

/* ---- Shadows -------------------------------------------------------------------------------------------------------- */

/* With interrupts on there is a window for an NMI, too; without it waits for the next exit. */
START_TEST(nmi_waits_for_the_end_of_a_shadow)
{
	static const struct fake_exit exit = {.code = EXIT_SMI, .rip = CODE_AT + 2};

	start_with_apic();
	vcpu.vmcb->rflags = _i ? RFLAGS_ON : 2;
	vcpu.vmcb->interrupt_shadow = 1;
	guest_post_nmi(&vcpu.guest);
	machine_run(&exit, 1);
	ck_assert_uint_eq(entries[0].event, 0);
	ck_assert_uint_eq(entries[0].shadow, 1);
	ck_assert_uint_eq(entries[0].window & WINDOW, WINDOW);
	ck_assert_uint_eq(entries[1].event, INJECT_NMI);
}
END_TEST

/*
 * An exit for an interrupt where the entry was, without the shadow: the CPU has lost it. The instruction
 * in it has not been executed and comes first, without a window.
 */
START_TEST(forgotten_shadow_is_kept)
{
	static const struct fake_exit list[] = {{.code = EXIT_VINTR}, {.code = EXIT_SMI, .rip = CODE_AT + 1}};

	start_with_apic();
	vcpu.quirks = QUIRK_SHADOW_LOST;
	vcpu.vmcb->interrupt_shadow = 1;
	guest_post_interrupt(&vcpu.guest, 0x31, false);
	machine_run(list, 2);
	ck_assert_uint_eq(entries[0].window & WINDOW, WINDOW);
	ck_assert_uint_eq(entries[1].event, 0);
	ck_assert_uint_eq(entries[1].shadow, 1);
	ck_assert_uint_eq(entries[1].window & WINDOW, 0);
	ck_assert_uint_eq(entries[2].event, 0x80000031);
}
END_TEST

/* An interrupt of the host's ends the run: the next goes on in the shadow. */
START_TEST(shadow_is_kept_over_a_run)
{
	start_with_apic();
	vcpu.quirks = QUIRK_SHADOW_LOST;
	vcpu.vmcb->interrupt_shadow = 1;
	guest_post_interrupt(&vcpu.guest, 0x31, false);
	machine_run(NULL, 0);
	machine_run(NULL, 0);
	ck_assert_uint_eq(entries[0].event, 0);
	ck_assert_uint_eq(entries[0].shadow, 1);
}
END_TEST

/* What has moved on is out of the shadow, and so is what exits for its own reasons. */
START_TEST(shadow_ends_with_its_instruction)
{
	static const struct fake_exit exits[] = {{.code = EXIT_VINTR, .rip = CODE_AT + 1}, {.code = EXIT_SMI}};

	start_with_apic();
	vcpu.quirks = QUIRK_SHADOW_LOST;
	vcpu.vmcb->interrupt_shadow = 1;
	guest_post_interrupt(&vcpu.guest, 0x31, false);
	machine_run(&exits[_i], 1);
	ck_assert_uint_eq(entries[1].shadow, 0);
	ck_assert_uint_eq(entries[1].event, 0x80000031);
}
END_TEST

/* STI; JMP to itself: the interrupt comes all the same. */
START_TEST(shadow_is_not_kept_for_ever)
{
	unsigned runs = 0;

	start_with_apic();
	vcpu.quirks = QUIRK_SHADOW_LOST;
	vcpu.vmcb->interrupt_shadow = 1;
	guest_post_interrupt(&vcpu.guest, 0x31, false);
	for (entries[0].event = 0; !entries[0].event; runs++) {
		ck_assert_uint_lt(runs, 20);
		machine_run(NULL, 0);
	}
	ck_assert_uint_gt(runs, 2);
}
END_TEST

/* ---- Interrupts on QEMU, which delivers one in EVENTINJ twice ---------------------------------------------------------- */

#define VIRQ(vector) ((uint64_t)(vector) << 32 | BIT(8) | UINT64_C(0x1f) << 16)
#define VIRQ_MASK (UINT64_C(0xff) << 32 | BIT(8) | UINT64_C(0x1f) << 16)
#define INTERCEPTS_IRET BIT(20)
#define INTERCEPTS_VINTR BIT(4)

static void start_with_interrupt(uint32_t features)
{
	machine_start_protected(features);
	vcpu.vmcb->rflags = RFLAGS_ON;
	guest_post_interrupt(&vcpu.guest, 0x31, false);
}

static void check_injected_by_virq(const struct fake_entry *entry)
{
	ck_assert_uint_eq(entry->event, 0);
	ck_assert_uint_eq(entry->window & VIRQ_MASK, VIRQ(0x31));
	ck_assert_uint_eq(entry->intercept3 & INTERCEPTS_VINTR, 0);
}

START_TEST(real_cpu_has_no_quirks)
{
	start_with_interrupt(FEATURE_NEXT_RIP);
	ck_assert_uint_eq(vcpu.quirks, 0);
	machine_run(NULL, 0);
	ck_assert_uint_eq(entries[0].event, 0x80000031);
	ck_assert_uint_eq(entries[0].window & BIT(8), 0);
}
END_TEST

START_TEST(interrupt_is_injected_by_virq)
{
	static const struct fake_exit smi = {.code = EXIT_SMI};

	start_with_interrupt(MACHINE_QEMU);
	machine_run(&smi, 1);
	check_injected_by_virq(&entries[0]);
	ck_assert_uint_eq(entries[0].intercept3 & INTERCEPTS_IRET, 0);
	ck_assert_uint_eq(entries[1].window & VIRQ_MASK, 0);
	ck_assert(!guest_event_pending(&vcpu.guest));
}
END_TEST

/* An exit before or during the delivery. QEMU calls the interrupt an exception then. */
START_TEST(virq_that_was_not_delivered_comes_again)
{
	const struct fake_exit early = {.code = EXIT_SMI, .virq_left = true, .vectoring = _i ? 0x80000331 : 0};

	start_with_interrupt(MACHINE_QEMU);
	machine_run(&early, 1);
	check_injected_by_virq(&entries[0]);
	check_injected_by_virq(&entries[1]);
	ck_assert(!guest_event_pending(&vcpu.guest));
}
END_TEST

/* The VMM clears IF in between: the interrupt waits for its window. */
START_TEST(virq_that_was_not_delivered_waits_for_if)
{
	static const struct fake_exit early = {.code = EXIT_SMI, .virq_left = true, .rflags = 2};

	start_with_interrupt(MACHINE_QEMU);
	machine_run(&early, 1);
	ck_assert_uint_eq(entries[1].event, 0);
	ck_assert_uint_eq(entries[1].window & BIT(8), BIT(8));
	ck_assert_uint_eq(entries[1].intercept3 & INTERCEPTS_VINTR, INTERCEPTS_VINTR);
	ck_assert(guest_event_pending(&vcpu.guest));
}
END_TEST

/* V_IRQ is no window for the next interrupt then: the handler's IRET exits. */
START_TEST(second_interrupt_gets_the_iret_of_the_first)
{
	start_with_interrupt(MACHINE_QEMU);
	guest_post_interrupt(&vcpu.guest, 0x21, false);
	machine_run(NULL, 0);
	check_injected_by_virq(&entries[0]);
	ck_assert_uint_eq(entries[0].intercept3 & INTERCEPTS_IRET, INTERCEPTS_IRET);
}
END_TEST

START_TEST(virq_of_a_failed_entry_comes_again)
{
	static const struct fake_exit invalid = {.code = UINT64_MAX, .virq_left = true};

	start_with_interrupt(MACHINE_QEMU);
	machine_run(&invalid, 1);
	ck_assert_uint_eq(vcpu.vmcb->virtual_interrupt & BIT(8), 0);
	machine_run(NULL, 0);
	check_injected_by_virq(&entries[0]);
}
END_TEST

Suite *svm_priority_suite(void)
{
	Suite *suite = suite_create("svm_priority");
	TCase *tcase = tcase_create("priority");

	tcase_add_test(tcase, task_priority_goes_in_and_out);
	tcase_add_test(tcase, cr8_is_watched_while_it_matters);
	tcase_add_loop_test(tcase, nmi_waits_for_the_end_of_a_shadow, 0, 2);
	tcase_add_test(tcase, forgotten_shadow_is_kept);
	tcase_add_test(tcase, shadow_is_kept_over_a_run);
	tcase_add_loop_test(tcase, shadow_ends_with_its_instruction, 0, 2);
	tcase_add_test(tcase, shadow_is_not_kept_for_ever);
	tcase_add_test(tcase, real_cpu_has_no_quirks);
	tcase_add_test(tcase, interrupt_is_injected_by_virq);
	tcase_add_loop_test(tcase, virq_that_was_not_delivered_comes_again, 0, 2);
	tcase_add_test(tcase, virq_that_was_not_delivered_waits_for_if);
	tcase_add_test(tcase, second_interrupt_gets_the_iret_of_the_first);
	tcase_add_test(tcase, virq_of_a_failed_entry_comes_again);
	suite_add_tcase(suite, tcase);
	return suite;
}
