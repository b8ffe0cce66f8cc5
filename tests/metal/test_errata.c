/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of docs/errata.md that no other test shows. The group "vmcs" looks into the current VMCS and needs
 * VT-x; the others run on either extension.
 */
#include "guest.h"

#define CR4_MCE (UINT64_C(1) << 6)
#define CR4_PCIDE (UINT64_C(1) << 17)
#define CPUID_1_ECX_PCID (1u << 17)
#define TSC_AUX 0xc0000103u

/* VMCS fields, SDM appendix B. */
#define VMCS_EXCEPTION_BITMAP 0x4004
#define VMCS_GUEST_CR4 0x6804
#define VMCS_HOST_RSP 0x6c14

static struct guest g;

GUEST_CODE_BLOB(call_code, 64, "1: mov $1, %eax; vmcall; jmp 1b");

/* Interrupt gate of the guest's 64-bit IDT, present, DPL 3. */
static void set_gate(unsigned vector, uint64_t entry)
{
	guest_store(&g, GUEST_IDT64 + vector * 16, 8,
		    (entry & 0xffff) | (uint64_t)GUEST_CS64 << 16 | UINT64_C(0xee00) << 32 | entry >> 16 << 48);
}

/* ---- Events ------------------------------------------------------------------------------------------- */

/* C-03d: nothing in the first one's handler exits. */
GUEST_CODE_BLOB(two_code, 64,
	"mov $1, %eax; vmcall; sti; nop; 1: jmp 1b; .globl two_handler, two_at; two_handler: sti; nop; two_at: jmp two_at");
extern const uint8_t two_handler[], two_at[];

METAL_TEST(second_interrupt, "errata.second_interrupt_needs_no_other_exit",
	   .qemu_svm_gap = "EVENTINJ delivers twice; V_IRQ in its place leaves no window before the handler's IRET")
{
	guest_init(&g, 0);
	g.config.time_slice_ns = 100000000;
	guest_start(&g, GUEST_LONG, &two_code);
	set_gate(0x80, guest_label(&two_code, two_handler));
	guest_run_call(&g, 1);
	CHECK_OK(x86vcpu_inject_interrupt(g.vcpu, 0x80));
	CHECK_OK(x86vcpu_inject_interrupt(g.vcpu, 0x31));
	guest_run_trap(&g, 0x31, 0, guest_label(&two_code, two_at));
	CHECK_EQ(g.timer_exits, 0);
}

/* C-03b: a #DB that is a trap of its own kind, with the length of INT1. */
GUEST_CODE_BLOB(int1_code, 64, "mov $1, %eax; vmcall; .byte 0xf1; .globl int1_after; int1_after: nop; mov $2, %eax; vmcall");
extern const uint8_t int1_after[];

METAL_TEST(int1, "errata.int1_returns_behind_itself", .qemu_svm_gap = "INT1 is #UD")
{
	guest_boot(&g, GUEST_LONG, &int1_code);
	guest_run_call(&g, 1);
	guest_run_trap(&g, 1, 0, guest_label(&int1_code, int1_after));
	guest_run_call(&g, 2);
}

/* C-07: a trap of the instruction before comes before an interrupt (SDM table 6-2). */
GUEST_CODE_BLOB(step_code, 64,
	"pushfq; orl $0x300, (%rsp); popfq; vmcall; .globl step_irq_at; step_irq_at: nop; mov $2, %eax; vmcall");
extern const uint8_t step_irq_at[];

METAL_TEST(step_and_interrupt, "errata.single_step_comes_before_an_interrupt",
	   .bochs_svm_gap = "the #DB of a guest's single step goes to the host")
{
	guest_boot(&g, GUEST_LONG, &step_code);
	guest_run_until(&g, X86VCPU_EXIT_HYPERCALL);
	CHECK_OK(x86vcpu_inject_interrupt(g.vcpu, 0x40));
	guest_run_trap(&g, 1, 0, guest_label(&step_code, step_irq_at));
	guest_run_trap(&g, 0x40, 0, guest_label(&step_code, step_irq_at));
}

GUEST_CODE_BLOB(step_hlt_code, 64,
	"pushfq; orl $0x100, (%rsp); popfq; hlt; .globl step_hlt_at; step_hlt_at: nop; mov $2, %eax; vmcall");
extern const uint8_t step_hlt_at[];

METAL_TEST(step_and_hlt, "errata.single_step_wakes_from_hlt",
	   .bochs_svm_gap = "the #DB of a guest's single step goes to the host")
{
	guest_boot(&g, GUEST_LONG, &step_hlt_code);
	/* Whether the halt is reported first is of no consequence. */
	CHECK_OK(x86vcpu_run(g.vcpu, &g.exit));
	if (g.exit.kind == X86VCPU_EXIT_HALT)
		guest_run_call(&g, GUEST_TRAP_CALL);
	CHECK_EQ(guest_record(&g)->vector, 1);
	CHECK_EQ(guest_record(&g)->rip, guest_label(&step_hlt_code, step_hlt_at));
}

/* C-12d: the stack is a device's, and so would be the operand of the instruction at RIP. */
GUEST_CODE_BLOB(delivery_code, 64, "mov $1, %eax; vmcall; mov %ecx, (%rbx); mov $2, %eax; vmcall");

METAL_TEST(delivery_to_mmio, "errata.interrupt_delivered_into_device_memory")
{
	guest_boot(&g, GUEST_LONG, &delivery_code);
	guest_run_call(&g, 1);
	guest_set_reg(&g, RBX, GUEST_MMIO + 0x7f8); /* where the first push goes */
	guest_set_reg(&g, RSP, GUEST_MMIO + 0x800);
	guest_set_rflags(&g, 0x202);
	CHECK_OK(x86vcpu_inject_interrupt(g.vcpu, 0x40));
	guest_run_until(&g, X86VCPU_EXIT_NESTED_PAGE_FAULT);
	CHECK_EQ(g.exit.u.nested_page_fault.gpa & ~UINT64_C(0xfff), GUEST_MMIO);
	CHECK(g.exit.u.nested_page_fault.access & X86VCPU_ACCESS_WRITE);
	CHECK_EQ(guest_rip(&g), GUEST_CODE + 8);
	CHECK_EQ(x86vcpu_has_pending_event(g.vcpu), 1);
	CHECK_OK(x86vcpu_nested_map(&g.tables, GUEST_MMIO, (uint64_t)g.ram + GUEST_DATA, 4096,
				    X86VCPU_NESTED_READ | X86VCPU_NESTED_WRITE, X86VCPU_MEMORY_WB));
	guest_run_trap(&g, 0x40, 0, GUEST_CODE + 8);
	guest_run_call(&g, 2);
	CHECK_EQ(guest_record(&g)->count, 1);
}

/* V-23: the CPU unblocks NMIs when IRET begins, although it then faults (SDM 28.2.3). */
GUEST_CODE_BLOB(iret_code, 64,
	"mov $1, %eax; vmcall; nop; mov $2, %eax; vmcall;"
	".globl nmi_handler, nmi_iret; nmi_handler: mov $3, %eax; vmcall; nmi_iret: iretq");
extern const uint8_t nmi_handler[], nmi_iret[];

METAL_TEST(iret_fault, "errata.nmi_stays_blocked_over_an_iret_that_faults")
{
	const uint64_t stack = GUEST_STACK - 0x1000;

	guest_boot(&g, GUEST_LONG, &iret_code);
	set_gate(2, guest_label(&iret_code, nmi_handler));
	guest_run_call(&g, 1);
	guest_set_rflags(&g, 0x202); /* Bochs SVM cannot be stepped: the interrupt window shows the end of the IRET */
	CHECK_OK(x86vcpu_inject_nmi(g.vcpu));
	guest_run_call(&g, 3);
	CHECK_OK(x86vcpu_inject_nmi(g.vcpu));
	guest_unmap(&g, stack);
	guest_run_until(&g, X86VCPU_EXIT_NESTED_PAGE_FAULT);
	CHECK_EQ(guest_rip(&g), guest_label(&iret_code, nmi_iret));
	guest_map(&g, stack, X86VCPU_NESTED_READ | X86VCPU_NESTED_WRITE);
	guest_run_call(&g, 3);
	CHECK_EQ(guest_load(&g, guest_reg(&g, RSP), 8), GUEST_CODE + 8); /* not nmi_iret */
	guest_run_call(&g, 2);
}

/* S-03 */
GUEST_CODE_BLOB(ud2_code, 64, "ud2");

METAL_TEST(ud2, "errata.ud2_is_the_guests_own")
{
	guest_boot(&g, GUEST_LONG, &ud2_code);
	guest_run_trap(&g, 6, 0, GUEST_CODE);
	guest_destroy(&g);
	guest_init(&g, 0);
	guest_start_user(&g, GUEST_LONG, &ud2_code);
	guest_run_trap(&g, 6, 0, GUEST_CODE);
}

/* ---- Instructions ---------------------------------------------------------------------------------- */

/* S-07: CPUID shows no SVM. */
GUEST_CODE_BLOB(vmrun_code, 64, "vmrun %rax");
GUEST_CODE_BLOB(vmload_code, 64, "vmload %rax");
GUEST_CODE_BLOB(vmsave_code, 64, "vmsave %rax");
GUEST_CODE_BLOB(stgi_code, 64, "stgi");
GUEST_CODE_BLOB(clgi_code, 64, "clgi");
GUEST_CODE_BLOB(skinit_code, 64, "skinit %eax");
GUEST_CODE_BLOB(invlpga_code, 64, "invlpga %rax, %ecx");
GUEST_CODE_BLOB(rdpru_code, 64, ".byte 0x0f, 0x01, 0xfd");

METAL_TEST(svm_instructions, "errata.svm_instructions_are_ud")
{
	static const struct guest_code *const codes[] = {
		&vmrun_code, &vmload_code, &vmsave_code, &stgi_code, &clgi_code, &skinit_code, &invlpga_code,
		&rdpru_code,
	};

	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		console_printf("instruction %lu\n", i);
		guest_boot(&g, GUEST_LONG, codes[i]);
		guest_run_trap(&g, 6, 0, GUEST_CODE);
		guest_destroy(&g);
	}
}

/* S-08, V-03: prefixes that do nothing but lengthen. */
GUEST_CODE_BLOB(prefix_code, 64,
	"xor %eax, %eax; .byte 0x48, 0x0f, 0xa2; xor %eax, %eax; .byte 0x3e, 0x0f, 0xa2;" /* CPUID */
	"xor %eax, %eax; .byte 0x66, 0x2e, 0x40, 0x0f, 0xa2;"
	"mov $0x3a, %ecx; .byte 0x48, 0x0f, 0x32; mov $0x8b, %ecx; .byte 0x3e, 0x0f, 0x30;" /* RDMSR, WRMSR */
	".byte 0x3e, 0x0f, 0x09; .byte 0x3e, 0x48, 0xf4;"                                   /* WBINVD, HLT */
	".byte 0x3e, 0xe6, 0x80; mov %cr4, %r9; .byte 0x3e; mov %r9, %cr4; mov $1, %eax; vmcall"); /* OUT */

METAL_TEST(prefixes, "errata.prefixed_instructions_are_skipped_whole")
{
	guest_boot(&g, GUEST_LONG, &prefix_code);
	guest_run_until(&g, X86VCPU_EXIT_HALT);
	CHECK_OK(x86vcpu_inject_nmi(g.vcpu));
	guest_run_trap(&g, 2, 0, guest_rip(&g));
	guest_run_until(&g, X86VCPU_EXIT_PORT_IO_WRITE);
	CHECK_EQ(g.exit.u.port_io.port, 0x80);
	guest_run_call(&g, 1);
	CHECK_EQ(guest_record(&g)->count, 1);
}

/* S-11: not emulated, so not half of it either. */
GUEST_CODE_BLOB(xchg_code, 64, "xchg %eax, (%rbx); hlt");

METAL_TEST(xchg, "errata.xchg_with_device_memory_reads_and_writes")
{
	guest_boot(&g, GUEST_LONG, &xchg_code);
	guest_set_reg(&g, RAX, 0x1234);
	guest_set_reg(&g, RBX, GUEST_MMIO);
	guest_run_until(&g, X86VCPU_EXIT_MMIO_READ);
	CHECK_EQ(g.exit.u.mmio.gpa, GUEST_MMIO);
	CHECK_OK(x86vcpu_complete_read(g.vcpu, 0x5678));
	guest_run_until(&g, X86VCPU_EXIT_MMIO_WRITE);
	CHECK_EQ(g.exit.u.mmio.gpa, GUEST_MMIO);
	CHECK_EQ(g.exit.u.mmio.data, 0x1234);
	CHECK_EQ(guest_reg(&g, RAX), 0x5678);
	guest_run_until(&g, X86VCPU_EXIT_HALT);
}

/* S-06, V-17: bases that 32-bit code left behind. */
GUEST_CODE_BLOB(bases_code, 64,
	"mov $0x60, %edx; mov $0x12010, %esi; mov $0x12020, %edi; outsb; insb; mov %al, (%rbx); hlt");

METAL_TEST(stale_bases, "errata.data_segment_bases_mean_nothing_in_64bit_mode")
{
	struct x86vcpu_state state;

	guest_boot(&g, GUEST_LONG, &bases_code);
	guest_state(&g, &state);
	state.segments[X86VCPU_SEGMENT_DS].base = 0x1000;
	state.segments[X86VCPU_SEGMENT_ES].base = 0x2000;
	CHECK_OK(x86vcpu_set_state(g.vcpu, X86VCPU_STATE_SEGMENTS, &state));
	guest_set_reg(&g, RBX, GUEST_MMIO);
	guest_run_until(&g, X86VCPU_EXIT_PORT_IO_STRING);
	CHECK_EQ(g.exit.u.port_io_string.gpa, 0x12010);
	CHECK_OK(x86vcpu_complete_port_io_string(g.vcpu, &g.exit.u.port_io_string));
	guest_run_until(&g, X86VCPU_EXIT_PORT_IO_STRING);
	CHECK_EQ(g.exit.u.port_io_string.gpa, 0x12020);
	CHECK_OK(x86vcpu_complete_port_io_string(g.vcpu, &g.exit.u.port_io_string));
	guest_run_until(&g, X86VCPU_EXIT_MMIO_WRITE);
	CHECK_EQ(g.exit.u.mmio.gpa, GUEST_MMIO);
}

/* C-21 */
GUEST_CODE_BLOB(tsc_code, 64, "rdtsc; shl $32, %rdx; or %rax, %rdx; mov $1, %eax; vmcall");

METAL_TEST(guest_tsc, "errata.tsc_begins_at_0")
{
	const uint64_t before = rdtsc();

	CHECK(before > 0);
	guest_boot(&g, GUEST_LONG, &tsc_code);
	guest_run_call(&g, 1);
	CHECK(g.exit.u.hypercall.args[2] <= rdtsc() - before);
}

/* ---- The host ------------------------------------------------------------------------------------------- */

/* Runs a guest, from creation to destruction, with the host as it is now. */
static void expect_host_unchanged(const struct guest_code *code)
{
	struct host_snapshot before;

	host_snapshot(&before);
	guest_boot(&g, GUEST_LONG, code);
	host_check_unchanged(&before);
	guest_run_call(&g, 1);
	host_check_unchanged(&before);
	guest_destroy(&g);
	host_check_unchanged(&before);
}

/* C-01d: with every component that the CPU has. */
METAL_TEST(host_xcr0, "errata.host_xcr0_with_every_component",
	   .models = "corei7_skylake_x corei7_haswell_4770")
{
	host_enable();
	__asm__ volatile("xsetbv" : : "a"(host_cpuid(0xd, 0).eax), "d"(0), "c"(0));
	expect_host_unchanged(&call_code);
}

/* C-16 */
GUEST_CODE_BLOB(tsc_aux_code, 64,
	"rdtscp; mov %ecx, %edi; mov $0xc0000103, %ecx; mov $0x1234, %eax; xor %edx, %edx; wrmsr;"
	"rdtscp; mov %ecx, %esi; mov $1, %eax; vmcall; rdtscp; mov %ecx, %esi; mov $2, %eax; vmcall");

METAL_TEST(tsc_aux, "errata.tsc_aux_is_each_sides_own")
{
	host_enable();
	wrmsr(TSC_AUX, 0x7777);
	guest_boot(&g, GUEST_LONG, &tsc_aux_code);
	guest_run_call(&g, 1);
	CHECK_EQ(g.exit.u.hypercall.args[0], 0);
	CHECK_EQ(g.exit.u.hypercall.args[1], 0x1234);
	CHECK_EQ(rdmsr(TSC_AUX), 0x7777);
	guest_run_call(&g, 2);
	CHECK_EQ(g.exit.u.hypercall.args[1], 0x1234);
	CHECK_EQ(rdmsr(TSC_AUX), 0x7777);
}

/* V-14. Not every model has PCIDs. */
METAL_TEST(host_pcid, "errata.host_cr3_with_a_pcid")
{
	uint64_t cr3;

	host_enable();
	if (!(host_cpuid(1, 0).ecx & CPUID_1_ECX_PCID))
		return;
	host_set_cr4(host_cr4() | CR4_PCIDE);
	__asm__ volatile("movq %%cr3, %0; orq $5, %0; movq %0, %%cr3" : "=r"(cr3) : : "memory");
	CHECK_EQ(cr3 & 0xfff, 5);
	expect_host_unchanged(&call_code);
}

/* V-16: null selectors with RPL 3, which a VMCS must not have (SDM 27.2.3), and bases of their own. */
METAL_TEST(host_selectors, "errata.host_selectors_with_rpl_3")
{
	host_enable();
	__asm__ volatile("movw %w0, %%ds; movw %w0, %%es; movw %w0, %%fs; movw %w0, %%gs" : : "r"(3));
	wrmsr(0xc0000100, 0xffff800000aaa000);
	wrmsr(0xc0000101, 0xffff800000bbb000);
	expect_host_unchanged(&call_code);
}

/* Whether the host's LDT has a readable segment in its first entry. */
static bool ldt_readable(void)
{
	bool readable;

	__asm__ volatile("verr %w1" : "=@ccz"(readable) : "r"(4));
	return readable;
}

/* V-16 */
METAL_TEST(host_ldt, "errata.host_ldt_and_table_limits")
{
	static uint64_t gdt[64], ldt[2] = { 0x00cf93000000ffff };
	const uint64_t base = (uint64_t)ldt;
	struct host_table table;
	unsigned entry;

	__asm__ volatile("sgdt %0" : "=m"(table));
	entry = (table.limit + 1u) / 8;
	CHECK(entry + 2 < 64);
	memcpy(gdt, (const void *)table.base, table.limit + 1u);
	gdt[entry] = 0xf | (base & 0xffffff) << 16 | UINT64_C(0x82) << 40 | (base >> 24 & 0xff) << 56;
	gdt[entry + 1] = base >> 32;
	table = (struct host_table){ .limit = (uint16_t)(entry * 8 + 15), .base = (uint64_t)gdt };
	__asm__ volatile("lgdt %0; lldt %w1" : : "m"(table), "r"(entry * 8));
	CHECK(ldt_readable());
	host_enable();
	expect_host_unchanged(&call_code);
	CHECK(ldt_readable());
}

/* C-14, V-16: a breakpoint of the host's that is on, at an address where nothing is executed. */
GUEST_CODE_BLOB(use_drs_code, 64,
	"mov $0x12000, %eax; mov %rax, %dr0; mov $0xd0402, %eax; mov %rax, %dr7; mov $1, %eax; vmcall");

METAL_TEST(host_dr7, "errata.host_breakpoint_is_kept",
	   .qemu_svm_gap = "QEMU crashes at MOV to DR0 after a VMRUN with a breakpoint enabled")
{
	host_enable();
	host_paint();
	__asm__ volatile("movq %0, %%dr7" : : "r"(UINT64_C(0x402)));
	expect_host_unchanged(&call_code);
	expect_host_unchanged(&use_drs_code);
}

/* ---- VT-x: words of the VMCS ------------------------------------------------------------------------- */

/* C-05, C-05b */
METAL_TEST(exception_bitmap, "vmcs.debug_alignment_and_machine_checks_exit", .vendor = METAL_VMX)
{
	guest_boot(&g, GUEST_LONG, &call_code);
	CHECK_EQ(host_vmread(VMCS_EXCEPTION_BITMAP), 1u << 1 | 1u << 17 | 1u << 18);
}

/* C-05b: with CR4.MCE = 0 a machine check would shut the guest down instead of reaching the host. */
METAL_TEST(host_mce, "vmcs.machine_check_enable_is_the_hosts", .vendor = METAL_VMX)
{
	struct x86vcpu_state state;

	guest_boot(&g, GUEST_LONG, &call_code);
	for (unsigned i = 0; i < 4; i++) {
		host_set_cr4((host_cr4() & ~CR4_MCE) | (i & 1 ? CR4_MCE : 0));
		guest_run_call(&g, 1);
		CHECK_EQ(host_vmread(VMCS_GUEST_CR4) & CR4_MCE, host_cr4() & CR4_MCE);
		guest_state(&g, &state);
		CHECK_EQ(state.cr4 & CR4_MCE, 0);
	}
}

/* The same on SVM, whose VMCB holds the guest's CR4 at offset 548H. */
METAL_TEST(host_mce_svm, "svm.machine_check_enable_follows_the_host", .vendor = METAL_SVM)
{
	const volatile uint64_t *vmcb;
	struct x86vcpu_state state;

	guest_boot(&g, GUEST_LONG, &call_code);
	vmcb = (const uint64_t *)x86vcpu_structure_hpa(g.vcpu);
	for (unsigned i = 0; i < 4; i++) {
		host_set_cr4((host_cr4() & ~CR4_MCE) | (i & 1 ? CR4_MCE : 0));
		guest_run_call(&g, 1);
		CHECK_EQ(vmcb[0x548 / 8] & CR4_MCE, host_cr4() & CR4_MCE);
		guest_state(&g, &state);
		CHECK_EQ(state.cr4 & CR4_MCE, 0);
	}
}

/* V-10: what an NMI right after the exit pushes goes to the caller's stack. */
METAL_TEST(host_rsp, "vmcs.host_rsp_is_the_callers_stack", .vendor = METAL_VMX)
{
	const uint64_t here = (uint64_t)__builtin_frame_address(0);

	guest_boot(&g, GUEST_LONG, &call_code);
	guest_run_call(&g, 1);
	CHECK(here - host_vmread(VMCS_HOST_RSP) < 0x1000);
}
