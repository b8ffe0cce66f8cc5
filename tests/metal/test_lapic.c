/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's local APIC where the CPU takes part: by memory, with CR8, and with HLT. */
#include "guest.h"

static struct guest g;

#define APIC_AT 0x1f0000u /* a linear address that the guest's tables map to the local APIC */

static void boot(const struct guest_code *code)
{
	guest_boot(&g, GUEST_LONG, code);
	guest_set_pte(&g, APIC_AT, UINT64_C(0xfee00000) | PTE_P | PTE_W);
}

/* Enables the APIC, sets CR8 to 4, and lowers it behind VMCALL 1. */
GUEST_CODE_BLOB(tpr_code, 64,
	"mov $0x1f0000, %ebx; movl $0x1ff, 0xf0(%rbx); mov $4, %eax; mov %rax, %cr8; sti;"
	"mov $1, %eax; vmcall; nop; nop; mov $3, %eax; mov %rax, %cr8;"
	".globl tpr_lowered; tpr_lowered: nop; mov 0x80(%rbx), %edi; movl $0, 0xb0(%rbx); mov $2, %eax; vmcall");
extern const uint8_t tpr_lowered[];

METAL_TEST(tpr, "lapic.cr8_holds_interrupts_back")
{
	boot(&tpr_code);
	guest_run_call(&g, 1);
	CHECK_OK(x86vcpu_inject_interrupt(g.vcpu, 0x41));
	guest_run_trap(&g, 0x41, 0, guest_label(&tpr_code, tpr_lowered));
	guest_run_call(&g, 2);
	CHECK_EQ(g.exit.u.hypercall.args[0], 0x30);
}

/* What a compiler makes of `apic[SVR] |= 0x100` and the like. Memory of a device is the VMM's, as before. */
GUEST_CODE_BLOB(alu_code, 64,
	"mov $0x1f0000, %ebx; movl $0xff, 0xf0(%rbx); orl $0x100, 0xf0(%rbx); mov 0xf0(%rbx), %edi;"
	"movl $0x350, 0x370(%rbx); mov $0xfff0ffff, %eax; movl $0x10035, 0x370(%rbx); and %eax, 0x370(%rbx); mov 0x370(%rbx), %esi;"
	"xor %r8d, %r8d; testl $0x100, 0xf0(%rbx); setnz %r8b; mov $5, %edx; add 0xf0(%rbx), %edx;"
	"xor %ecx, %ecx; cmpl $0x1ff, 0xf0(%rbx); sete %cl; mov $1, %eax; vmcall;"
	"mov $0x800000, %ebx; orl $1, (%rbx); vmcall");

METAL_TEST(arithmetic, "lapic.arithmetic_with_its_registers")
{
	boot(&alu_code);
	guest_run_call(&g, 1);
	CHECK_EQ(g.exit.u.hypercall.args[0], 0x1ff);
	CHECK_EQ(g.exit.u.hypercall.args[1], 0x35);
	CHECK_EQ(g.exit.u.hypercall.args[2], 0x204);
	CHECK_EQ(g.exit.u.hypercall.args[3], 1);
	CHECK_EQ(g.exit.u.hypercall.args[4], 1);
	guest_run_until(&g, X86VCPU_EXIT_MMIO_READ); /* a device of the VMM */
}

/* Takes an interrupt that the VMM ends. */
GUEST_CODE_BLOB(eoi_code, 64,
	"mov $0x1f0000, %ebx; movl $0x1ff, 0xf0(%rbx); sti; mov $1, %eax; vmcall;"
	".globl eoi_taken; eoi_taken: nop; mov $2, %eax; vmcall");
extern const uint8_t eoi_taken[];

METAL_TEST(eoi_by_vmm, "lapic.eoi_by_the_vmm_bound_or_not")
{
	int32_t vector = 0;

	boot(&eoi_code);
	guest_run_call(&g, 1);
	CHECK_OK(x86vcpu_inject_interrupt_with_trigger(g.vcpu, 0x41, 1));
	guest_run_trap(&g, 0x41, 0, guest_label(&eoi_code, eoi_taken));
	CHECK_OK(x86vcpu_unbind(g.vcpu));
	CHECK_OK(x86vcpu_handle_eoi(g.vcpu, &vector));
	CHECK_EQ(vector, 0x41);
	CHECK_OK(x86vcpu_handle_eoi(g.vcpu, &vector));
	CHECK_EQ(vector, -1);
	CHECK_STATUS(x86vcpu_handle_eoi(NULL, &vector), X86VCPU_ERR_INVALID_INPUT);
	CHECK_OK(x86vcpu_bind(g.vcpu));
	guest_run_call(&g, 2);
}

/* A one-shot timer, then STI; HLT; CLI, again and again; the interrupt comes between the two last. */
GUEST_CODE_BLOB(hlt_code, 64,
	"mov $0x1f0000, %ebx; movl $0x1ff, 0xf0(%rbx); movl $0x50, 0x320(%rbx); movl $0xb, 0x3e0(%rbx);"
	"1: mov $1, %eax; vmcall; movl $20000, 0x380(%rbx); sti; hlt;"
	".globl hlt_woken; hlt_woken: cli; movl $0, 0xb0(%rbx); jmp 1b");
extern const uint8_t hlt_woken[];

METAL_TEST(sti_hlt_cli, "lapic.timer_wakes_from_sti_hlt_cli")
{
	unsigned halts = 0;

	boot(&hlt_code);
	for (unsigned i = 0; i < 20; i++) {
		for (unsigned runs = 0; runs < 100000 && guest_record(&g)->count == i; runs++) {
			CHECK_OK(x86vcpu_run(g.vcpu, &g.exit));
			halts += g.exit.kind == X86VCPU_EXIT_HALT;
			/* The host's timer wants IRQs on for a moment. */
			__asm__ volatile("sti; nop; cli");
		}
		CHECK_EQ(guest_record(&g)->count, i + 1);
		CHECK_EQ(guest_record(&g)->vector, 0x50);
		CHECK_EQ(guest_record(&g)->rip, guest_label(&hlt_code, hlt_woken));
	}
	CHECK(halts != 0);
}
