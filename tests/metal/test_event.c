/* SPDX-License-Identifier: Apache-2.0 */
/* Interrupts, NMIs and exceptions: the host's reach the host, the VMM's reach the guest. */
#include "guest.h"

#define ICR_FIXED 0x4000u
#define ICR_NMI 0x4400u
#define HOST_VECTOR 0x51

static struct guest g;
static volatile unsigned host_interrupts, host_nmis;

static void count_interrupt(struct trap_frame *frame)
{
	(void)frame;
	host_interrupts++;
}

static void count_nmi(struct trap_frame *frame)
{
	(void)frame;
	host_nmis++;
}

/* ---- The host's ------------------------------------------------------------------------------------------ */

/* STI, so that the emulator notices interrupts at all in a guest that was entered with IF = 0. */
GUEST_CODE_BLOB(spin_code, 64, "sti; 1: jmp 1b");

extern const uint8_t rf_wrmsr_at[], rf_ins_at[];

GUEST_CODE_BLOB(rf_code, 64,
	".globl rf_wrmsr_at, rf_ins_at;"
	"mov $0xc0000080, %ecx; xor %edx, %edx; mov $2, %eax; rf_wrmsr_at: wrmsr;"
	"mov $0x13000, %edi; mov $0x80, %edx; rf_ins_at: insb; hlt");

METAL_TEST(rf, "event.emulated_faults_push_rf")
{
	guest_boot(&g, GUEST_LONG, &rf_code);
	guest_set_pte(&g, 0x13000, 0);
	CHECK_EQ(guest_run_trap(&g, 13, 0, guest_label(&rf_code, rf_wrmsr_at))->rflags & 0x10000, 0x10000);
	guest_return_to(&g, guest_label(&rf_code, rf_wrmsr_at) + 2);
	CHECK_EQ(guest_run_trap(&g, 14, 2, guest_label(&rf_code, rf_ins_at))->rflags & 0x10000, 0x10000);
}

GUEST_CODE_BLOB(rf_breakpoint_code, 64,
	"mov $0x8100, %eax; mov %rax, %dr0; mov $0x402, %eax; mov %rax, %dr7;"
	"mov $0xc0000080, %ecx; xor %edx, %edx; mov $2, %eax; jmp 1f;"
	".fill 0x100 - (. - rf_breakpoint_code_begin), 1, 0x90; 1: wrmsr; hlt");

/* The handler of the #GP returns to the instruction, with the RF that was pushed. */
METAL_TEST(rf_breakpoint, "event.breakpoint_on_a_faulting_instruction_hits_once")
{
	uint64_t frame;

	guest_boot(&g, GUEST_LONG, &rf_breakpoint_code);
	frame = guest_run_trap(&g, 1, 0, 0x8100)->frame;
	guest_store(&g, frame + 16, 8, guest_load(&g, frame + 16, 8) | 0x10000);
	guest_run_trap(&g, 13, 0, 0x8100);
	guest_run_trap(&g, 13, 0, 0x8100);
}

METAL_TEST(self_ipi, "event.host_interrupt_is_dispatched")
{
	guest_init(&g, 0);
	g.config.time_slice_ns = 100000000;
	guest_start(&g, GUEST_LONG, &spin_code);
	trap_set_handler(HOST_VECTOR, count_interrupt);
	cpu_send_ipi(0, ICR_FIXED | HOST_VECTOR);
	CHECK_OK(x86vcpu_run(g.vcpu, &g.exit));
	CHECK_EQ(g.exit.kind, X86VCPU_EXIT_NOTHING);
	CHECK_EQ(host_interrupts, 1);
	/* SVM leaves the interrupt pending; the host takes it by its IDT. */
	CHECK_EQ(platform_dispatched[HOST_VECTOR], on_svm() ? 0 : 1);
	CHECK_EQ(guest_record(&g)->count, 0);
}

static void lapic_write(uint32_t offset, uint32_t value)
{
	*(volatile uint32_t *)(uintptr_t)(0xfee00000 + offset) = value;
}

METAL_TEST(host_timer, "event.host_timer_interrupt")
{
	guest_init(&g, 0);
	g.config.time_slice_ns = 100000000;
	guest_start(&g, GUEST_LONG, &spin_code);
	trap_set_handler(HOST_VECTOR, count_interrupt);
	lapic_write(0x3e0, 0xb);         /* divide by 1 */
	lapic_write(0x320, HOST_VECTOR); /* one-shot */
	lapic_write(0x380, 20000);
	CHECK_OK(x86vcpu_run(g.vcpu, &g.exit));
	CHECK_EQ(g.exit.kind, X86VCPU_EXIT_NOTHING);
	CHECK_EQ(host_interrupts, 1);
}

static void send_interrupts(void *arg)
{
	for (unsigned i = 0; i < 5; i++) {
		const unsigned before = host_interrupts;

		cpu_send_ipi(0, ICR_FIXED | HOST_VECTOR);
		while (host_interrupts == before)
			cpu_pause();
	}
	*(volatile uint32_t *)arg = 1;
}

METAL_TEST(ipi, "event.interrupts_from_the_other_cpu", .cpus = 2)
{
	volatile uint32_t done = 0;

	second_cpu_start();
	guest_init(&g, 0);
	g.config.time_slice_ns = 100000000;
	guest_start(&g, GUEST_LONG, &spin_code);
	trap_set_handler(HOST_VECTOR, count_interrupt);
	second_cpu_begin(send_interrupts, (void *)&done);
	host_tick_start(); /* a run may begin after the last of them */
	while (!done) {
		CHECK_OK(x86vcpu_run(g.vcpu, &g.exit));
		CHECK(g.exit.kind == X86VCPU_EXIT_NOTHING || g.exit.kind == X86VCPU_EXIT_PREEMPTION_TIMER);
	}
	CHECK_EQ(host_interrupts, 5);
	CHECK_EQ(guest_record(&g)->count, 0);
}

GUEST_CODE_BLOB(beat_code, 64, "sti; 1: incl 0x12000; jmp 1b");

/* When the guest runs: an NMI before that would be the host's alone. */
static void send_nmi(void *arg)
{
	const volatile uint32_t *beat = (const volatile uint32_t *)(const volatile void *)(g.ram + GUEST_DATA);
	const uint32_t before = *(const uint32_t *)arg;

	while (*beat == before)
		cpu_pause();
	cpu_send_ipi(0, ICR_NMI);
}

METAL_TEST(nmi, "event.host_nmi_reaches_the_host", .cpus = 2)
{
	uint32_t before;

	guest_init(&g, 0);
	g.config.time_slice_ns = UINT64_C(1000000000000);
	guest_start(&g, GUEST_LONG, &beat_code);
	trap_set_handler(2, count_nmi);
	second_cpu_start();
	for (unsigned i = 1; i <= 3; i++) {
		before = (uint32_t)guest_load(&g, GUEST_DATA, 4);
		second_cpu_begin(send_nmi, &before);
		CHECK_OK(x86vcpu_run(g.vcpu, &g.exit));
		CHECK_EQ(g.exit.kind, X86VCPU_EXIT_NOTHING);
		CHECK_EQ(host_nmis, i);
		second_cpu_wait();
	}
	CHECK_EQ(guest_record(&g)->count, 0);
}

METAL_TEST(spin_if_off, "event.time_slice_ends_a_guest_with_interrupts_off")
{
	guest_boot(&g, GUEST_LONG, &spin_code);
	host_tick_start();
	for (unsigned i = 0; i < 5; i++)
		guest_run_slice(&g);
}

/* ---- Interrupts for the guest ----------------------------------------------------------------------- */

GUEST_CODE_BLOB(window_code, 64,
	"mov $1, %eax; vmcall; nop; sti; nop; .globl window_at; window_at: nop; cli; mov $2, %eax; vmcall");
extern const uint8_t window_at[];

METAL_TEST(window, "event.interrupt_waits_for_sti_and_its_shadow")
{
	guest_boot(&g, GUEST_LONG, &window_code);
	guest_run_call(&g, 1);
	CHECK_OK(x86vcpu_inject_interrupt(g.vcpu, 0x77));
	CHECK_EQ(x86vcpu_has_pending_event(g.vcpu), 1);
	guest_run_trap(&g, 0x77, 0, guest_label(&window_code, window_at));
	CHECK_EQ(x86vcpu_has_pending_event(g.vcpu), 0);
	guest_run_call(&g, 2);
	CHECK_EQ(guest_record(&g)->count, 1);
}

GUEST_CODE_BLOB(sti_cpuid_code, 64,
	"mov $1, %eax; vmcall; sti; cpuid; .globl sti_cpuid_at; sti_cpuid_at: nop; cli; mov $2, %eax; vmcall");
extern const uint8_t sti_cpuid_at[];

METAL_TEST(shadow_over_exit, "event.sti_shadow_ends_with_an_emulated_instruction")
{
	guest_boot(&g, GUEST_LONG, &sti_cpuid_code);
	guest_run_call(&g, 1);
	CHECK_OK(x86vcpu_inject_interrupt(g.vcpu, 0x77));
	guest_run_trap(&g, 0x77, 0, guest_label(&sti_cpuid_code, sti_cpuid_at));
	guest_run_call(&g, 2);
}

METAL_TEST(two_vectors, "event.highest_vector_first")
{
	guest_boot(&g, GUEST_LONG, &window_code);
	guest_run_call(&g, 1);
	CHECK_OK(x86vcpu_inject_interrupt(g.vcpu, 0x31));
	CHECK_OK(x86vcpu_inject_interrupt(g.vcpu, 0xef));
	CHECK_OK(x86vcpu_inject_interrupt_with_trigger(g.vcpu, 0x80, 1));
	CHECK_OK(x86vcpu_inject_interrupt(g.vcpu, 0xef));
	guest_run_trap(&g, 0xef, 0, guest_label(&window_code, window_at));
	guest_run_trap(&g, 0x80, 0, guest_label(&window_code, window_at));
	guest_run_trap(&g, 0x31, 0, guest_label(&window_code, window_at));
	guest_run_call(&g, 2);
	CHECK_EQ(guest_record(&g)->count, 3);
}

METAL_TEST(low_vectors, "event.interrupt_vectors_16_to_31")
{
	guest_boot(&g, GUEST_LONG, &window_code);
	guest_run_call(&g, 1);
	CHECK_STATUS(x86vcpu_inject_interrupt(g.vcpu, 0), X86VCPU_ERR_INVALID_INPUT);
	CHECK_STATUS(x86vcpu_inject_interrupt(g.vcpu, 256), X86VCPU_ERR_INVALID_INPUT);
	CHECK_OK(x86vcpu_inject_interrupt(g.vcpu, 0x15));
	/* The handler of vector 21 expects an error code, which an interrupt has not: read the frame itself. */
	guest_run_call(&g, GUEST_TRAP_CALL);
	CHECK_EQ(guest_record(&g)->vector, 0x15);
	CHECK_EQ(guest_record(&g)->error_code, guest_label(&window_code, window_at));
}

static void interrupt_in_mode(enum guest_mode mode, const struct guest_code *code, uint64_t rip)
{
	guest_boot(&g, mode, code);
	guest_run_call(&g, 1);
	CHECK_OK(x86vcpu_inject_interrupt(g.vcpu, 0x20));
	guest_run_trap(&g, 0x20, 0, rip);
	guest_run_call(&g, 2);
}

GUEST_CODE_BLOB(window32_code, 32, "mov $1, %eax; vmcall; sti; nop; nop; cli; mov $2, %eax; vmcall");
GUEST_CODE_BLOB(window16_code, 16, "movl $1, %eax; vmcall; sti; nop; nop; cli; movl $2, %eax; vmcall");

METAL_TEST(interrupt_real, "event.interrupt_in_real_mode")
{
	interrupt_in_mode(GUEST_REAL, &window16_code, GUEST_CODE + 11);
}

METAL_TEST(interrupt_protected, "event.interrupt_in_protected_mode")
{
	interrupt_in_mode(GUEST_PROTECTED, &window32_code, GUEST_CODE + 10);
}

METAL_TEST(interrupt_pae, "event.interrupt_in_pae_mode")
{
	interrupt_in_mode(GUEST_PAE, &window32_code, GUEST_CODE + 10);
}

GUEST_CODE_BLOB(user_spin_code, 64, "1: jmp 1b");

METAL_TEST(interrupt_user, "event.interrupt_in_user_mode")
{
	const struct guest_trap *trap;

	guest_init(&g, 0);
	guest_start_user(&g, GUEST_LONG, &user_spin_code);
	guest_set_rflags(&g, 0x202);
	CHECK_OK(x86vcpu_inject_interrupt(g.vcpu, 0x20));
	trap = guest_run_trap(&g, 0x20, 0, GUEST_CODE);
	CHECK_EQ(trap->cs, GUEST_USER_CS64);
	CHECK_EQ(trap->rsp, GUEST_USER_STACK);
}

static void inject_there(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < 3000; i++)
		cpu_pause();
	CHECK_OK(x86vcpu_inject_interrupt(g.vcpu, 0x99));
	cpu_send_ipi(0, ICR_FIXED | HOST_VECTOR);
}

METAL_TEST(inject_remote, "event.injection_from_the_other_cpu", .cpus = 2)
{
	guest_boot(&g, GUEST_LONG, &spin_code);
	second_cpu_start();
	second_cpu_begin(inject_there, NULL);
	guest_run_trap(&g, 0x99, 0, GUEST_CODE + 1);
	second_cpu_wait();
}

/* ---- NMIs ------------------------------------------------------------------------------------------------ */

GUEST_CODE_BLOB(nmi_code, 64, "mov $1, %eax; vmcall; nop; mov $2, %eax; vmcall; mov $3, %eax; vmcall");

METAL_TEST(guest_nmi, "event.nmi_with_interrupts_off")
{
	guest_boot(&g, GUEST_LONG, &nmi_code);
	guest_run_call(&g, 1);
	CHECK_OK(x86vcpu_inject_nmi(g.vcpu));
	CHECK_OK(x86vcpu_inject_nmi(g.vcpu));
	guest_run_trap(&g, 2, 0, GUEST_CODE + 8);
	guest_run_call(&g, 2);
	CHECK_EQ(guest_record(&g)->count, 1);
}

/* Where no step shows the end of the IRET, an interrupt window does. */
METAL_TEST(nested_nmi, "event.nmi_is_blocked_until_iret")
{
	guest_boot(&g, GUEST_LONG, &nmi_code);
	guest_run_call(&g, 1);
	guest_set_rflags(&g, 0x202);
	CHECK_OK(x86vcpu_inject_nmi(g.vcpu));
	guest_run_trap(&g, 2, 0, GUEST_CODE + 8);
	/* In the handler, before its IRET. */
	CHECK_OK(x86vcpu_inject_nmi(g.vcpu));
	guest_run_trap(&g, 2, 0, GUEST_CODE + 8);
	CHECK_EQ(guest_record(&g)->count, 2);
	guest_run_call(&g, 2);
}

/* An NMI handler that sends the next NMI, writes to a port, and returns to a program with interrupts off. */
GUEST_CODE_BLOB(second_nmi_code, 64,
	"mov $0x1b, %ecx; rdmsr; or $0xc00, %eax; wrmsr;"
	"movl $0, 0x12000; mov $1, %eax; vmcall;"
	".globl second_nmi_at; second_nmi_at: nop; sti; nop; cli; out %al, $0x80; mov $2, %eax; vmcall;"
	".globl second_nmi_handler; second_nmi_handler: push %rax; push %rcx; push %rdx;"
	"incl 0x12000; cmpl $1, 0x12000; jne 1f; mov $0x830, %ecx; mov $0x4400, %eax; xor %edx, %edx; wrmsr;"
	"1: out %al, $0x81; mov 24(%rsp), %rax; mov %rax, 0x12008; pop %rdx; pop %rcx; pop %rax; iretq");
extern const uint8_t second_nmi_at[], second_nmi_handler[];

METAL_TEST(second_nmi, "event.second_nmi_comes_after_the_iret",
	   .bochs_svm_gap = "the #DB of a guest's single step goes to the host")
{
	guest_boot(&g, GUEST_LONG, &second_nmi_code);
	guest_set_gate(&g, 2, guest_label(&second_nmi_code, second_nmi_handler));
	guest_run_call(&g, 1);
	CHECK_OK(x86vcpu_inject_nmi(g.vcpu));
	for (unsigned i = 1; i <= 2; i++) {
		guest_run_until(&g, X86VCPU_EXIT_PORT_IO_WRITE);
		CHECK_EQ(g.exit.u.port_io.port, 0x81);
		CHECK_EQ(guest_load(&g, 0x12000, 4), i);
	}
	guest_run_until(&g, X86VCPU_EXIT_PORT_IO_WRITE);
	CHECK_EQ(g.exit.u.port_io.port, 0x80);
	CHECK_EQ(guest_load(&g, 0x12008, 8), guest_label(&second_nmi_code, second_nmi_at));
	guest_run_call(&g, 2);
	CHECK_EQ(guest_load(&g, 0x12000, 4), 2);
}

METAL_TEST(nmi_and_interrupt, "event.nmi_before_an_interrupt")
{
	guest_boot(&g, GUEST_LONG, &nmi_code);
	guest_run_call(&g, 1);
	guest_set_rflags(&g, 0x202);
	CHECK_OK(x86vcpu_inject_interrupt(g.vcpu, 0x44));
	CHECK_OK(x86vcpu_inject_nmi(g.vcpu));
	guest_run_trap(&g, 2, 0, GUEST_CODE + 8);
	guest_run_trap(&g, 0x44, 0, GUEST_CODE + 8);
	guest_run_call(&g, 2);
}

/* ---- Exceptions ------------------------------------------------------------------------------------------- */

METAL_TEST(exception, "event.exception_without_error_code")
{
	guest_boot(&g, GUEST_LONG, &nmi_code);
	guest_run_call(&g, 1);
	CHECK_OK(x86vcpu_inject_exception(g.vcpu, 6, 0, 0));
	guest_run_trap(&g, 6, 0, GUEST_CODE + 8);
	guest_run_call(&g, 2);
}

METAL_TEST(exception_code, "event.exception_with_error_code")
{
	guest_boot(&g, GUEST_LONG, &nmi_code);
	guest_run_call(&g, 1);
	CHECK_OK(x86vcpu_inject_exception(g.vcpu, 13, 1, 0x1234));
	CHECK_STATUS(x86vcpu_inject_exception(g.vcpu, 13, 1, 0), X86VCPU_ERR_RESOURCE_BUSY);
	guest_run_trap(&g, 13, 0x1234, GUEST_CODE + 8);
	guest_run_call(&g, 2);
}

METAL_TEST(exception_refused, "event.exception_arguments")
{
	guest_boot(&g, GUEST_LONG, &nmi_code);
	CHECK_STATUS(x86vcpu_inject_exception(g.vcpu, 2, 0, 0), X86VCPU_ERR_INVALID_INPUT);
	CHECK_STATUS(x86vcpu_inject_exception(g.vcpu, 32, 0, 0), X86VCPU_ERR_INVALID_INPUT);
	CHECK_STATUS(x86vcpu_inject_exception(g.vcpu, 6, 1, 0), X86VCPU_ERR_INVALID_INPUT);
	CHECK_STATUS(x86vcpu_inject_exception(g.vcpu, 13, 0, 0), X86VCPU_ERR_INVALID_INPUT);
	CHECK_OK(x86vcpu_unbind(g.vcpu));
	CHECK_STATUS(x86vcpu_inject_exception(g.vcpu, 13, 1, 0), X86VCPU_ERR_BAD_STATE);
}

GUEST_CODE_BLOB(real_exception_code, 16, "movl $1, %eax; vmcall; nop; movl $2, %eax; vmcall");

METAL_TEST(real_exception, "event.exception_in_real_mode_has_no_error_code")
{
	guest_boot(&g, GUEST_REAL, &real_exception_code);
	guest_run_call(&g, 1);
	CHECK_OK(x86vcpu_inject_exception(g.vcpu, 13, 1, 0));
	guest_run_trap(&g, 13, 0, GUEST_CODE + 9);
	guest_run_call(&g, 2);
}

/* ---- Delivery that is cut short --------------------------------------------------------------------- */

static void fault_then_map(uint64_t page)
{
	guest_run_until(&g, X86VCPU_EXIT_NESTED_PAGE_FAULT);
	CHECK_EQ(g.exit.u.nested_page_fault.gpa & ~UINT64_C(0xfff), page);
	guest_map(&g, page, X86VCPU_NESTED_READ | X86VCPU_NESTED_WRITE | X86VCPU_NESTED_EXECUTE);
}

METAL_TEST(reinject_idt, "event.idt_page_missing_for_an_interrupt")
{
	guest_boot(&g, GUEST_LONG, &nmi_code);
	guest_run_call(&g, 1);
	guest_set_rflags(&g, 0x202);
	CHECK_OK(x86vcpu_inject_interrupt(g.vcpu, 0x44));
	guest_unmap(&g, GUEST_IDT64);
	fault_then_map(GUEST_IDT64);
	guest_run_trap(&g, 0x44, 0, GUEST_CODE + 8);
	guest_run_call(&g, 2);
	CHECK_EQ(guest_record(&g)->count, 1);
}

METAL_TEST(reinject_stack, "event.stack_page_missing_for_an_nmi")
{
	guest_boot(&g, GUEST_LONG, &nmi_code);
	guest_run_call(&g, 1);
	CHECK_OK(x86vcpu_inject_nmi(g.vcpu));
	guest_unmap(&g, GUEST_STACK - 0x1000);
	fault_then_map(GUEST_STACK - 0x1000);
	guest_run_trap(&g, 2, 0, GUEST_CODE + 8);
	guest_run_call(&g, 2);
	CHECK_EQ(guest_record(&g)->count, 1);
}

GUEST_CODE_BLOB(ud_code, 64, "mov $1, %eax; vmcall; ud2");

METAL_TEST(reinject_exception, "event.idt_page_missing_for_the_guests_own_exception")
{
	guest_boot(&g, GUEST_LONG, &ud_code);
	guest_run_call(&g, 1);
	guest_unmap(&g, GUEST_IDT64);
	fault_then_map(GUEST_IDT64);
	guest_run_trap(&g, 6, 0, GUEST_CODE + 8);
	CHECK_EQ(guest_record(&g)->count, 1);
}

GUEST_CODE_BLOB(int_code, 64, "mov $1, %eax; vmcall; int $0x80; .globl int_after; int_after: mov $2, %eax; vmcall");
extern const uint8_t int_after[];

METAL_TEST(reinject_int, "event.idt_page_missing_for_int_n",
	   .bochs_svm_gap = "RIP is behind INT n when its delivery exits")
{
	guest_boot(&g, GUEST_LONG, &int_code);
	guest_run_call(&g, 1);
	guest_unmap(&g, GUEST_IDT64);
	fault_then_map(GUEST_IDT64);
	guest_run_trap(&g, 0x80, 0, guest_label(&int_code, int_after));
	guest_run_call(&g, 2);
	CHECK_EQ(guest_record(&g)->count, 1);
}

GUEST_CODE_BLOB(int3_code, 64, "mov $1, %eax; vmcall; int3; .globl int3_after; int3_after: mov $2, %eax; vmcall");
extern const uint8_t int3_after[];

METAL_TEST(reinject_int3, "event.stack_page_missing_for_int3")
{
	guest_boot(&g, GUEST_LONG, &int3_code);
	guest_run_call(&g, 1);
	guest_unmap(&g, GUEST_STACK - 0x1000);
	fault_then_map(GUEST_STACK - 0x1000);
	guest_run_trap(&g, 3, 0, guest_label(&int3_code, int3_after));
	guest_run_call(&g, 2);
}

METAL_TEST(timer_during_delivery, "event.nothing_is_lost_under_short_time_slices")
{
	guest_init(&g, 0);
	g.config.time_slice_ns = 600;
	guest_start(&g, GUEST_LONG, &window_code);
	guest_run_call(&g, 1);
	CHECK_OK(x86vcpu_inject_interrupt(g.vcpu, 0x31));
	CHECK_OK(x86vcpu_inject_nmi(g.vcpu));
	guest_run_trap(&g, 2, 0, 0);
	guest_run_trap(&g, 0x31, 0, 0);
	guest_run_call(&g, 2);
	CHECK_EQ(guest_record(&g)->count, 2);
}

/* ---- Single step, and storms ----------------------------------------------------------------------------- */

GUEST_CODE_BLOB(step_code, 64,
	"pushfq; orl $0x100, (%rsp); popfq; cpuid; .globl step_at; step_at: nop; mov $2, %eax; vmcall");
extern const uint8_t step_at[];

METAL_TEST(single_step, "event.single_step_over_cpuid",
	   .bochs_svm_gap = "the #DB of a guest's single step goes to the host")
{
	struct x86vcpu_state state;

	guest_boot(&g, GUEST_LONG, &step_code);
	guest_run_trap(&g, 1, 0, guest_label(&step_code, step_at));
	guest_state(&g, &state);
	CHECK_EQ(state.dr6 & 0x4000, 0x4000);
}

GUEST_CODE_BLOB(step_vmcall_code, 64,
	"pushfq; orl $0x100, (%rsp); popfq; vmcall; .globl step_vmcall_at; step_vmcall_at: nop; ud2");
extern const uint8_t step_vmcall_at[];

METAL_TEST(single_step_vmcall, "event.single_step_over_vmcall",
	   .bochs_svm_gap = "the #DB of a guest's single step goes to the host")
{
	guest_boot(&g, GUEST_LONG, &step_vmcall_code);
	guest_run_until(&g, X86VCPU_EXIT_HYPERCALL);
	CHECK_EQ(guest_record(&g)->count, 0);
	guest_run_trap(&g, 1, 0, guest_label(&step_vmcall_code, step_vmcall_at));
}

GUEST_CODE_BLOB(breakpoint_code, 64,
	"mov $0x12000, %eax; mov %rax, %dr0; mov $0xd0402, %eax; mov %rax, %dr7; mov %eax, 0x12000;"
	".globl breakpoint_at; breakpoint_at: mov %dr6, %rcx; mov $2, %eax; vmcall");
extern const uint8_t breakpoint_at[];

METAL_TEST(breakpoint, "event.data_breakpoint",
	   .bochs_svm_gap = "DR6 is not stored in the VMCB when #DB exits")
{
	struct x86vcpu_state state;
	uint64_t host_dr0, host_dr7;

	guest_boot(&g, GUEST_LONG, &breakpoint_code);
	guest_run_trap(&g, 1, 0, guest_label(&breakpoint_code, breakpoint_at));
	guest_state(&g, &state);
	CHECK_EQ(state.dr6 & 1, 1);
	CHECK_EQ(state.dr0, 0x12000);
	__asm__ volatile("movq %%dr0, %0; movq %%dr7, %1" : "=r"(host_dr0), "=r"(host_dr7));
	CHECK_EQ(host_dr0, 0);
	CHECK_EQ(host_dr7, 0x400);
}

/* CVE-2015-5307: the handler's stack is misaligned, so the delivery of #AC raises #AC for ever. */
GUEST_CODE_BLOB(ac_code, 32, "mov %eax, 0x12001; hlt");

METAL_TEST(ac_storm, "event.alignment_check_storm_ends",
	   .qemu_svm_gap = "QEMU aborts: a 32-bit guest's busy TSS is of an invalid type to it")
{
	struct x86vcpu_state state;

	guest_init(&g, 0);
	guest_start_user(&g, GUEST_PAGING32, &ac_code);
	guest_state(&g, &state);
	state.cr0 |= 0x40000; /* AM */
	state.rflags |= 0x40000; /* AC */
	CHECK_OK(x86vcpu_set_state(g.vcpu, X86VCPU_STATE_CRS | X86VCPU_STATE_RIP, &state));
	/* A handler at CPL 3, on a stack that is not aligned. */
	guest_store(&g, GUEST_IDT32 + 17 * 8, 8,
		    GUEST_CODE | (uint64_t)GUEST_USER_CS32 << 16 | UINT64_C(0xee00) << 32);
	guest_state(&g, &state);
	state.rsp = GUEST_USER_STACK - 1;
	CHECK_OK(x86vcpu_set_state(g.vcpu, X86VCPU_STATE_GPRS, &state));
	for (unsigned i = 0; i < 20; i++) {
		if (x86vcpu_run(g.vcpu, &g.exit) != X86VCPU_OK || g.exit.kind == X86VCPU_EXIT_SYSTEM_DOWN)
			return;
		CHECK(g.exit.kind == X86VCPU_EXIT_PREEMPTION_TIMER || g.exit.kind == X86VCPU_EXIT_NOTHING);
	}
}

METAL_TEST(ac_reflected, "event.alignment_check_is_the_guests",
	   .qemu_svm_gap = "QEMU aborts: a 32-bit guest's busy TSS is of an invalid type to it")
{
	struct x86vcpu_state state;

	guest_init(&g, 0);
	guest_start_user(&g, GUEST_PAGING32, &ac_code);
	guest_state(&g, &state);
	state.cr0 |= 0x40000;
	state.rflags |= 0x40000;
	CHECK_OK(x86vcpu_set_state(g.vcpu, X86VCPU_STATE_CRS | X86VCPU_STATE_RIP, &state));
	guest_run_trap(&g, 17, 0, GUEST_CODE);
}

/* CVE-2015-8104: a data breakpoint on the stack that the handler of #DB is entered with. */
GUEST_CODE_BLOB(db_storm_code, 64,
	"mov $0xefd8, %eax; mov %rax, %dr0; mov $0xd0402, %eax; mov %rax, %dr7; 1: int3; jmp 1b");

METAL_TEST(db_storm, "event.debug_exception_storm_ends",
	   .qemu_svm_gap = "QEMU aborts: an assertion of its own lock fails")
{
	guest_boot(&g, GUEST_LONG, &db_storm_code);
	for (unsigned i = 0; i < 20; i++) {
		CHECK_OK(x86vcpu_run(g.vcpu, &g.exit));
		if (g.exit.kind == X86VCPU_EXIT_SYSTEM_DOWN)
			return;
	}
	CHECK(g.exit.kind == X86VCPU_EXIT_HYPERCALL || g.exit.kind == X86VCPU_EXIT_PREEMPTION_TIMER);
}

/* Emulated #GP whose gate leads nowhere: double fault, and with that one's gate gone, shutdown. */
GUEST_CODE_BLOB(gp_code, 64, ".globl gp_at; mov $0xc0000080, %ecx; xor %edx, %edx; mov $2, %eax; gp_at: wrmsr; hlt");
extern const uint8_t gp_at[];

METAL_TEST(double_fault, "event.double_fault_after_an_emulated_gp")
{
	guest_boot(&g, GUEST_LONG, &gp_code);
	guest_store(&g, GUEST_IDT64 + 13 * 16, 8, 0);
	guest_run_trap(&g, 8, 0, guest_label(&gp_code, gp_at));
}

METAL_TEST(double_fault_gone, "event.shutdown_after_a_double_fault",
	   .bochs_svm_gap = "a guest's triple fault is a panic, not an exit")
{
	guest_boot(&g, GUEST_LONG, &gp_code);
	guest_store(&g, GUEST_IDT64 + 13 * 16, 8, 0);
	guest_store(&g, GUEST_IDT64 + 8 * 16, 8, 0);
	guest_run_until(&g, X86VCPU_EXIT_SYSTEM_DOWN);
	CHECK_STATUS(x86vcpu_run(g.vcpu, &g.exit), X86VCPU_ERR_BAD_STATE);
}

GUEST_CODE_BLOB(pf_code, 64, "mov 0x13008, %eax; mov $2, %eax; vmcall");

METAL_TEST(page_fault, "event.guest_page_fault_leaves_the_hosts_cr2")
{
	uint64_t cr2;
	struct x86vcpu_state state;

	guest_boot(&g, GUEST_LONG, &pf_code);
	guest_set_pte(&g, 0x13000, 0);
	CHECK_EQ(guest_run_trap(&g, 14, 0, GUEST_CODE)->cr2, 0x13008);
	guest_state(&g, &state);
	CHECK_EQ(state.cr2, 0x13008);
	/* The host's CR2 has no meaning between its own faults; the guest's must survive them. */
	__asm__ volatile("movq %0, %%cr2" : : "r"(UINT64_C(0x5555)));
	guest_set_pte(&g, 0x13000, 0x13000 | PTE_P);
	guest_run_call(&g, 2);
	guest_state(&g, &state);
	cr2 = state.cr2;
	CHECK_EQ(cr2, 0x13008);
}

GUEST_CODE_BLOB(instead_code, 64, "mov $0x12345, %ecx; .globl instead_at; instead_at: rdmsr; nop; nop; hlt");
extern const uint8_t instead_at[];

METAL_TEST(exception_instead, "event.exception_instead_of_an_answer_to_an_msr_exit")
{
	guest_boot(&g, GUEST_LONG, &instead_code);
	guest_run_until(&g, X86VCPU_EXIT_MSR_READ);
	CHECK_OK(x86vcpu_inject_exception(g.vcpu, 13, 1, 0));
	CHECK_STATUS(x86vcpu_complete_read(g.vcpu, 0), X86VCPU_ERR_BAD_STATE);
	guest_run_trap(&g, 13, 0, guest_label(&instead_code, instead_at));
}

/* ---- FERR# ------------------------------------------------------------------------------------------------- */

GUEST_CODE_BLOB(ferr_code, 16,
	"mov %cr0, %eax; and $0xffffffd1, %eax; mov %eax, %cr0; fninit; movw $0x372, 0x5000; fldcw 0x5000; fldz; fldz; fdivrp;"
	".globl ferr_at; ferr_at: fwait; nop; movl $2, %eax; vmcall");
extern const uint8_t ferr_at[];

/* IRQ 13 comes at the x87 instruction that found the error, after which its handler has ended it. */
METAL_TEST(ferr, "event.x87_error_with_ne_clear", .vendor = METAL_VMX)
{
	guest_init(&g, 0);
	g.config.flags |= X86VCPU_SETUP_FPU_ERROR_EXITS;
	guest_start(&g, GUEST_REAL, &ferr_code);
	for (unsigned i = 0; i < 2; i++) {
		guest_run_until(&g, X86VCPU_EXIT_FPU_ERROR);
		CHECK_EQ(guest_rip(&g), guest_label(&ferr_code, ferr_at));
	}
	guest_set_rflags(&g, 0x202);
	CHECK_OK(x86vcpu_inject_interrupt(g.vcpu, 0x75));
	guest_run_trap(&g, 0x75, 0, guest_label(&ferr_code, ferr_at));
}
