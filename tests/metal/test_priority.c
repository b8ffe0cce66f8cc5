/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What comes first, and what holds it back: nested interrupts and task priority (SDM 12.8.3), NMIs in the shadow of
 * STI and MOV SS (SDM 6.8.3), STI; HLT; CLI.
 */
#include "guest.h"

static struct guest g;

#define APIC_AT 0x1f0000u /* a linear address that the guest's tables map to the local APIC */
#define IF_SET 0x202u

static void boot(const struct guest_code *code, bool x2apic)
{
	guest_boot(&g, GUEST_LONG, code);
	guest_set_pte(&g, APIC_AT, UINT64_C(0xfee00000) | PTE_P | PTE_W);
	guest_set_reg(&g, R15, x2apic);
	guest_set_reg(&g, RBX, APIC_AT);
}

/* ---- Nesting ------------------------------------------------------------------------------------------------ */

#define FIRST_VECTOR 16u
#define ENTERED 0x10u
#define LEAVES 0x11u
#define BY_CR8 1u
#define BY_REGISTER 2u

/*
 * A level is the program, or the handler of an interrupt. It tells the host that it was entered (VMCALL 10H)
 * and opens itself to interrupts; sets its task priority to R8 if R9 says how; closes itself, and tells
 * that it leaves (11H). A handler sends EOI then. RDI is the vector, 0 in the program; RSI is PPR, RDX is TPR, RCX
 * is CR8. EBX is the APIC's address; R15 tells that it shall be in x2APIC mode.
 */
GUEST_CODE_BLOB(nest_code, 64,
	"test %r15d, %r15d; jz 1f; mov $0x1b, %ecx; rdmsr; or $0x400, %eax; wrmsr; 1:"
	"mov $0xf, %ecx; mov $0x1ff, %eax; call nest_write;"
	"1: xor %edi, %edi; call nest_level; jmp 1b;"

	"nest_write: test %r15d, %r15d; jnz 1f; shl $4, %ecx; mov %eax, (%rbx, %rcx); ret;"
	"1: add $0x800, %ecx; xor %edx, %edx; wrmsr; ret;"
	"nest_read: test %r15d, %r15d; jnz 1f; shl $4, %ecx; mov (%rbx, %rcx), %eax; ret;"
	"1: add $0x800, %ecx; rdmsr; ret;"

	"nest_report: push %rax; mov $0xa, %ecx; call nest_read; mov %eax, %esi;"
	"mov $8, %ecx; call nest_read; mov %eax, %edx; mov %cr8, %rcx; pop %rax; vmcall; ret;"

	"nest_level: mov $0x10, %eax; call nest_report; sti; nop; nop;"
	"cmp $1, %r9d; jb 2f; je 1f; mov %r8d, %eax; mov $8, %ecx; call nest_write; jmp 2f;"
	"1: mov %r8, %cr8; 2: nop; cli; mov $0x11, %eax; call nest_report; ret;"

	"nest_handler: push %rax; push %rcx; push %rdx; push %rsi; push %r8; push %r9; call nest_level;"
	"mov $0xb, %ecx; xor %eax, %eax; call nest_write;"
	"pop %r9; pop %r8; pop %rsi; pop %rdx; pop %rcx; pop %rax; pop %rdi; iretq;"

	".balign 16; .globl nest_gates; nest_gates: nest_vector = 16; .rept 240; .balign 16;"
	"push %rdi; mov $nest_vector, %edi; jmp nest_handler; nest_vector = nest_vector + 1; .endr");
extern const uint8_t nest_gates[];

static void boot_nest(bool x2apic)
{
	boot(&nest_code, x2apic);
	for (unsigned v = FIRST_VECTOR; v < 256; v++)
		guest_set_gate(&g, v, guest_label(&nest_code, nest_gates) + (v - FIRST_VECTOR) * 16);
}

/* What the manual says that the guest does, as a model that knows nothing of the library's. */
static struct {
	bool irr[256], isr[256], tmr[256];
	uint32_t tpr;
	struct level {
		unsigned vector;
		uint32_t how, value; /* of the task priority */
	} levels[17];
	unsigned depth;
	bool leaving; /* the innermost level has told that it leaves */
} model;

static int highest(const bool set[256])
{
	int vector = 255;

	while (vector >= 0 && !set[vector])
		vector--;
	return vector;
}

/* SDM 12.8.3.1: the task priority, or the class in service if that is higher. */
static uint32_t model_ppr(void)
{
	const int served = highest(model.isr);
	const uint32_t class = served < 0 ? 0 : (uint32_t)served >> 4;

	return model.tpr >> 4 >= class ? model.tpr : class << 4;
}

static void model_post(unsigned vector, bool level)
{
	CHECK_OK(x86vcpu_inject_interrupt_with_trigger(g.vcpu, vector, level));
	model.irr[vector] = true;
	model.tmr[vector] = level;
}

static void model_change_tpr(uint32_t how, uint32_t value)
{
	model.levels[model.depth].how = how;
	model.levels[model.depth].value = value;
	guest_set_reg(&g, R8, value);
	guest_set_reg(&g, R9, how);
}

static void model_apply_tpr(struct level *level)
{
	if (level->how)
		model.tpr = level->how == BY_CR8 ? level->value << 4 : level->value;
	level->how = 0;
}

static bool model_interrupts(void)
{
	const int vector = highest(model.irr);

	if (vector < 0 || (uint32_t)vector >> 4 <= model_ppr() >> 4)
		return false;
	model.irr[vector] = false;
	model.isr[vector] = true;
	model.levels[++model.depth] = (struct level){.vector = (unsigned)vector};
	return true;
}

/* The end of the innermost handler: its EOI comes out when it was level-triggered (SDM 12.8.5). */
static void model_end(void)
{
	const unsigned vector = model.levels[model.depth--].vector;

	model.isr[vector] = false;
	if (!model.tmr[vector])
		return;
	guest_run_until(&g, X86VCPU_EXIT_INTERRUPT_END);
	CHECK_EQ(g.exit.u.interrupt_end.vector, vector);
}

/* The next report: true when a level is entered, false when the innermost one leaves. */
static bool model_next(void)
{
	if (model.leaving && !model.depth)
		return true;
	if (model.leaving)
		model_end();
	if (model_interrupts())
		return true;
	model_apply_tpr(&model.levels[model.depth]);
	return model_interrupts();
}

static void same_set(const uint32_t *registers, const bool set[256])
{
	for (unsigned v = 0; v < 256; v++)
		if ((registers[v / 32] >> v % 32 & 1) != set[v])
			FAIL("bit %x is %d", v, !set[v]);
}

static void check_registers(void)
{
	struct x86vcpu_apic_state state = { .size = sizeof(state) };

	CHECK_OK(x86vcpu_get_apic(g.vcpu, &state));
	same_set(state.registers + 0x10, model.isr);
	same_set(state.registers + 0x18, model.tmr);
	same_set(state.registers + 0x20, model.irr);
	CHECK_EQ(state.registers[0x0a], model_ppr());
}

/* Runs to the next report, which must be the model's. */
static void nest_step(void)
{
	const uint64_t *args = g.exit.u.hypercall.args;
	const bool enters = model_next();

	guest_run_call(&g, enters ? ENTERED : LEAVES);
	CHECK_EQ(args[0], model.levels[model.depth].vector);
	CHECK_EQ(args[1], model_ppr());
	CHECK_EQ(args[2], model.tpr);
	CHECK_EQ(args[3], model.tpr >> 4);
	check_registers();
	model.leaving = !enters;
	if (enters)
		model_change_tpr(0, 0);
}

/* The model's first step: the program is entered. */
static void nest_begin(bool x2apic)
{
	boot_nest(x2apic);
	model.leaving = true;
	nest_step();
}

static void nest_expect(unsigned report, unsigned vector, unsigned ppr)
{
	nest_step();
	CHECK_EQ(g.exit.u.hypercall.nr, report);
	CHECK_EQ(g.exit.u.hypercall.args[0], vector);
	CHECK_EQ(g.exit.u.hypercall.args[1], ppr);
}

static void a_higher_class_nests(bool x2apic)
{
	nest_begin(x2apic);
	model_post(0x41, false);
	nest_expect(ENTERED, 0x41, 0x40);
	model_post(0x35, false); /* lower */
	model_post(0x4f, false); /* the same class */
	model_post(0x91, true);
	nest_expect(ENTERED, 0x91, 0x90);
	model_post(0x90, false);
	nest_expect(LEAVES, 0x91, 0x90);
	nest_expect(ENTERED, 0x90, 0x90); /* after that EOI, still within the handler of 0x41 */
	nest_expect(LEAVES, 0x90, 0x90);
	nest_expect(LEAVES, 0x41, 0x40);
	nest_expect(ENTERED, 0x4f, 0x40);
	nest_expect(LEAVES, 0x4f, 0x40);
	nest_expect(ENTERED, 0x35, 0x30);
	nest_expect(LEAVES, 0x35, 0x30);
	nest_expect(LEAVES, 0, 0);
}

METAL_TEST(nests, "priority.higher_class_nests_lower_waits_for_eoi")
{
	a_higher_class_nests(false);
}

METAL_TEST(nests_x2apic, "priority.higher_class_nests_in_x2apic_mode")
{
	a_higher_class_nests(true);
}

/* Raised: what is not above it waits. Lowered: it comes at once. */
static void task_priority_masks(bool x2apic, uint32_t how)
{
	const uint32_t high = how == BY_CR8 ? 6 : 0x65, low = how == BY_CR8 ? 4 : 0x4c;
	const uint32_t ppr = how == BY_CR8 ? 0x60 : 0x65;

	nest_begin(x2apic);
	model_change_tpr(how, high);
	nest_expect(LEAVES, 0, ppr);
	model_post(0x6f, false);
	model_post(0x71, false);
	model_post(0x4f, false);
	nest_expect(ENTERED, 0, ppr);
	nest_expect(ENTERED, 0x71, 0x70);
	nest_expect(LEAVES, 0x71, 0x70);
	nest_expect(LEAVES, 0, ppr);
	nest_expect(ENTERED, 0, ppr);
	model_change_tpr(how, low);
	nest_expect(ENTERED, 0x6f, 0x60);
	nest_expect(LEAVES, 0x6f, 0x60);
	nest_expect(LEAVES, 0, how == BY_CR8 ? 0x40 : 0x4c);
	nest_expect(ENTERED, 0, how == BY_CR8 ? 0x40 : 0x4c);
	model_change_tpr(how, 0);
	nest_expect(ENTERED, 0x4f, 0x40);
}

METAL_TEST(by_cr8, "priority.task_priority_by_cr8")
{
	task_priority_masks(false, BY_CR8);
}

METAL_TEST(by_memory, "priority.task_priority_by_memory")
{
	task_priority_masks(false, BY_REGISTER);
}

METAL_TEST(by_msr, "priority.task_priority_by_msr")
{
	task_priority_masks(true, BY_REGISTER);
}

/* MOV to CR8 clears the lower half of TPR, also when the upper half stays (SDM 12.8.6). */
METAL_TEST(cr8_sub_class, "priority.cr8_clears_the_sub_class")
{
	nest_begin(false);
	model_change_tpr(BY_REGISTER, 0x45);
	nest_expect(LEAVES, 0, 0x45);
	nest_expect(ENTERED, 0, 0x45);
	model_change_tpr(BY_CR8, 4);
	nest_expect(LEAVES, 0, 0x40);
}

static uint32_t random_number(void)
{
	static uint32_t state = 0x2545f491;

	state ^= state << 13;
	state ^= state >> 17;
	state ^= state << 5;
	return state >> 4;
}

static void random_interrupts(bool x2apic)
{
	unsigned deepest = 0;

	nest_begin(x2apic);
	for (unsigned i = 0; i < 800; i++) {
		for (unsigned posts = random_number() % 4; posts > 1; posts--)
			model_post(FIRST_VECTOR + random_number() % 240, random_number() % 8 == 0);
		if (!model.leaving && random_number() % 3 == 0) {
			const uint32_t how = 1 + random_number() % 2;

			model_change_tpr(how, random_number() % (how == BY_CR8 ? 12 : 0xc0));
		}
		nest_step();
		if (model.depth > deepest)
			deepest = model.depth;
	}
	CHECK(deepest >= 4);
}

METAL_TEST(random_xapic, "priority.any_order_by_memory")
{
	random_interrupts(false);
}

METAL_TEST(random_x2apic, "priority.any_order_in_x2apic_mode")
{
	random_interrupts(true);
}

/* ---- The shadow of STI and MOV SS --------------------------------------------------------------------------- */

#define MISSING 0x13000u

#define NO_VMRUN_SHADOW "VMRUN ignores the VMCB's interrupt shadow"
#define NO_VINTR "VINTR exits only after the guest has changed IF"

/* The instruction in the shadow exits, because its page is not there. */
GUEST_CODE_BLOB(shadow_sti_code, 64,
	"cli; sti; mov 0x13000, %ecx; .globl shadow_sti_at; shadow_sti_at: nop; mov $1, %eax; vmcall");
GUEST_CODE_BLOB(shadow_ss_code, 64,
	"mov %ss, %edx; mov %edx, %ss; mov 0x13000, %ecx; .globl shadow_ss_at; shadow_ss_at: nop; mov $1, %eax; vmcall; .globl shadow_ss_called; shadow_ss_called: nop; mov $2, %eax; vmcall");
extern const uint8_t shadow_sti_at[], shadow_ss_at[], shadow_ss_called[];

static void stop_in_shadow(const struct guest_code *code, bool interrupts)
{
	boot(code, false);
	if (interrupts)
		guest_set_rflags(&g, IF_SET);
	guest_unmap(&g, MISSING);
	guest_run_until(&g, X86VCPU_EXIT_NESTED_PAGE_FAULT);
	CHECK_EQ(g.exit.u.nested_page_fault.gpa, MISSING);
	guest_map(&g, MISSING, X86VCPU_NESTED_READ);
}

METAL_TEST(nmi_sti, "priority.nmi_waits_for_the_end_of_the_sti_shadow",
	   .bochs_svm_gap = NO_VINTR, .qemu_svm_gap = NO_VMRUN_SHADOW)
{
	stop_in_shadow(&shadow_sti_code, false);
	CHECK_OK(x86vcpu_inject_nmi(g.vcpu));
	guest_run_trap(&g, 2, 0, guest_label(&shadow_sti_code, shadow_sti_at));
	guest_run_call(&g, 1);
}

METAL_TEST(nmi_ss, "priority.nmi_waits_for_the_end_of_the_mov_ss_shadow",
	   .bochs_svm_gap = NO_VINTR, .qemu_svm_gap = NO_VMRUN_SHADOW)
{
	stop_in_shadow(&shadow_ss_code, true);
	CHECK_OK(x86vcpu_inject_nmi(g.vcpu));
	guest_run_trap(&g, 2, 0, guest_label(&shadow_ss_code, shadow_ss_at));
	guest_run_call(&g, 1);
}

/* SVM has no window for an NMI while IF is 0: it goes in after the next exit, whatever that is. */
METAL_TEST(nmi_ss_off, "priority.nmi_after_mov_ss_with_interrupts_off")
{
	stop_in_shadow(&shadow_ss_code, false);
	CHECK_OK(x86vcpu_inject_nmi(g.vcpu));
	if (on_svm())
		guest_run_call(&g, 1);
	guest_run_trap(&g, 2, 0, guest_label(&shadow_ss_code, on_svm() ? shadow_ss_called : shadow_ss_at));
	guest_run_call(&g, on_svm() ? 2 : 1);
	CHECK_EQ(guest_record(&g)->count, 1);
}

/* The NMI first; the interrupt when its handler has returned. */
METAL_TEST(both_sti, "priority.nmi_and_interrupt_in_the_sti_shadow",
	   .bochs_svm_gap = NO_VINTR, .qemu_svm_gap = NO_VMRUN_SHADOW)
{
	stop_in_shadow(&shadow_sti_code, false);
	CHECK_OK(x86vcpu_inject_interrupt(g.vcpu, 0x44));
	CHECK_OK(x86vcpu_inject_nmi(g.vcpu));
	guest_run_trap(&g, 2, 0, guest_label(&shadow_sti_code, shadow_sti_at));
	guest_run_trap(&g, 0x44, 0, guest_label(&shadow_sti_code, shadow_sti_at));
	guest_run_call(&g, 1);
	CHECK_EQ(guest_record(&g)->count, 2);
}

METAL_TEST(both_ss, "priority.nmi_and_interrupt_in_the_mov_ss_shadow",
	   .bochs_svm_gap = NO_VINTR, .qemu_svm_gap = NO_VMRUN_SHADOW)
{
	stop_in_shadow(&shadow_ss_code, true);
	CHECK_OK(x86vcpu_inject_interrupt(g.vcpu, 0x44));
	CHECK_OK(x86vcpu_inject_nmi(g.vcpu));
	guest_run_trap(&g, 2, 0, guest_label(&shadow_ss_code, shadow_ss_at));
	guest_run_trap(&g, 0x44, 0, guest_label(&shadow_ss_code, shadow_ss_at));
	guest_run_call(&g, 1);
	CHECK_EQ(guest_record(&g)->count, 2);
}

/* HLT is the first instruction of its page, which is not there, so that it exits in the shadow and runs after. */
GUEST_CODE_BLOB(boundary_code, 64,
	"jmp 1f; .org boundary_code_begin + 0xfff; 1: sti; hlt; .globl boundary_woken; boundary_woken: cli;"
	"mov $1, %eax; vmcall");
extern const uint8_t boundary_woken[];

METAL_TEST(halts_first, "priority.hlt_behind_sti_is_executed_before_an_interrupt")
{
	boot(&boundary_code, false);
	guest_unmap(&g, GUEST_CODE + 0x1000);
	guest_run_until(&g, X86VCPU_EXIT_NESTED_PAGE_FAULT);
	CHECK_EQ(guest_rip(&g), GUEST_CODE + 0x1000);
	guest_map(&g, GUEST_CODE + 0x1000, X86VCPU_NESTED_READ | X86VCPU_NESTED_EXECUTE);
	CHECK_OK(x86vcpu_inject_interrupt(g.vcpu, 0x44));
	while (!guest_record(&g)->count)
		CHECK_OK(x86vcpu_run(g.vcpu, &g.exit));
	CHECK_EQ(guest_record(&g)->rip, guest_label(&boundary_code, boundary_woken));
	guest_run_call(&g, 1);
}

/* ---- STI; HLT; CLI -------------------------------------------------------------------------------------------- */

GUEST_CODE_BLOB(idle_loop_code, 64,
	"movl $0x1ff, 0xf0(%rbx); mov $0x40, %eax; mov %eax, 0x80(%rbx);"
	"1: sti; hlt; .globl idle_woken; idle_woken: cli; mov $1, %eax; vmcall; movl $0, 0xb0(%rbx); jmp 1b");
extern const uint8_t idle_woken[];

static void expect_halted(void)
{
	for (unsigned i = 0; i < 3; i++) {
		guest_run_until(&g, X86VCPU_EXIT_HALT);
		CHECK_EQ(guest_rip(&g), guest_label(&idle_loop_code, idle_woken));
	}
}

/* Wakes by an interrupt, which comes between HLT and CLI; by an NMI; not by what the TPR holds back. */
METAL_TEST(idle_loop, "priority.sti_hlt_cli_wakes_for_what_it_takes")
{
	const uint64_t woken = guest_label(&idle_loop_code, idle_woken);

	boot(&idle_loop_code, false);
	for (unsigned i = 0; i < 50; i++) {
		expect_halted();
		CHECK_OK(x86vcpu_inject_interrupt(g.vcpu, 0x4f));
		expect_halted();
		if (i % 3 == 0) {
			CHECK_OK(x86vcpu_inject_nmi(g.vcpu));
			guest_run_trap(&g, 2, 0, woken);
		} else {
			CHECK_OK(x86vcpu_inject_interrupt(g.vcpu, 0x50 + i));
			guest_run_trap(&g, 0x50 + i, 0, woken);
		}
		CHECK_EQ(guest_record(&g)->count, i + 1);
		guest_run_call(&g, 1);
	}
}
