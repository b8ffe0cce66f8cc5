/* SPDX-License-Identifier: Apache-2.0 */
/* A guest's data and I/O breakpoints on accesses that the library and the VMM make in its place. */
#include "guest.h"

static struct guest g;

#define DR6_B0 1u
#define DR6_BS 0x4000u

static uint64_t dr6(void)
{
	struct x86vcpu_state state;

	guest_state(&g, &state);
	return state.dr6 & (0xf | DR6_BS);
}

/* #DB before the instruction at `label`; then the guest clears DR6. */
static void expect_db(const struct guest_code *code, const uint8_t *label, uint64_t conditions)
{
	const uint64_t before = guest_record(&g)->count;

	guest_run_trap(&g, 1, 0, guest_label(code, label));
	CHECK_EQ(guest_record(&g)->count, before + 1);
	CHECK_EQ(dr6(), conditions);
}

/* Port 80H, 1 byte. One trap comes, and no second one. */
#define BREAK_ON_PORT                                                                                              \
	"mov %cr4, %rax; or $8, %eax; mov %rax, %cr4; mov $0x80, %eax; mov %rax, %dr0; mov $0x20402, %eax; mov %rax, %dr7;"

GUEST_CODE_BLOB(port_code, 64, BREAK_ON_PORT
	"out %al, $0x80; .globl port_after; port_after: nop; in $0x80, %al; .globl port_after_in; port_after_in: nop;"
	"out %al, $0x81; mov $2, %eax; vmcall");
extern const uint8_t port_after[], port_after_in[];

METAL_TEST(port, "breakpoint.port_of_the_vmm")
{
	guest_boot(&g, GUEST_LONG, &port_code);
	guest_run_until(&g, X86VCPU_EXIT_PORT_IO_WRITE);
	expect_db(&port_code, port_after, DR6_B0);
	guest_run_until(&g, X86VCPU_EXIT_PORT_IO_READ);
	CHECK_OK(x86vcpu_complete_read(g.vcpu, 0));
	expect_db(&port_code, port_after_in, DR6_B0);
	guest_run_until(&g, X86VCPU_EXIT_PORT_IO_WRITE);
	guest_run_call(&g, 2);
	CHECK_EQ(guest_record(&g)->count, 2);
}

METAL_TEST(open_port, "breakpoint.port_that_passes_through",
	   .bochs_svm_gap = "a breakpoint's #DB exits before DR6 is written")
{
	static const struct x86vcpu_port_range open = {.base = 0x80, .length = 1};

	guest_init(&g, 0);
	g.config.passthrough_ports = &open;
	g.config.passthrough_port_count = 1;
	guest_start(&g, GUEST_LONG, &port_code);
	expect_db(&port_code, port_after, DR6_B0);
}

GUEST_CODE_BLOB(string_code, 64, BREAK_ON_PORT
	"mov $0x80, %edx; mov $0x12010, %esi; mov $2, %ecx; .globl string_at; string_at: rep outsb;"
	".globl string_after; string_after: mov $2, %eax; vmcall");
extern const uint8_t string_at[], string_after[];

METAL_TEST(string, "breakpoint.each_iteration_of_rep")
{
	guest_boot(&g, GUEST_LONG, &string_code);
	for (unsigned i = 0; i < 2; i++) {
		guest_run_until(&g, X86VCPU_EXIT_PORT_IO_STRING);
		CHECK_OK(x86vcpu_complete_port_io_string(g.vcpu, &g.exit.u.port_io_string));
		expect_db(&string_code, i ? string_after : string_at, DR6_B0);
	}
	guest_run_call(&g, 2);
	CHECK_EQ(guest_record(&g)->count, 2);
}

GUEST_CODE_BLOB(memory_code, 64,
	"mov $0x800000, %eax; mov %rax, %dr0; mov $0xd0402, %eax; mov %rax, %dr7;"
	"mov %eax, 0x800000; .globl memory_after; memory_after: nop; incl 0x800002; .globl memory_after_inc;"
	"memory_after_inc: nop; mov 0x800000, %eax; mov $2, %eax; vmcall");
extern const uint8_t memory_after[], memory_after_inc[];

/* A plain MOV, and an instruction that is executed by the library; reads do not hit it. */
METAL_TEST(memory, "breakpoint.device_of_the_vmm")
{
	guest_boot(&g, GUEST_LONG, &memory_code);
	guest_run_until(&g, X86VCPU_EXIT_MMIO_WRITE);
	expect_db(&memory_code, memory_after, DR6_B0);
	guest_run_until(&g, X86VCPU_EXIT_MMIO_READ);
	CHECK_OK(x86vcpu_complete_read(g.vcpu, 0));
	guest_run_until(&g, X86VCPU_EXIT_MMIO_WRITE);
	expect_db(&memory_code, memory_after_inc, DR6_B0);
	guest_run_until(&g, X86VCPU_EXIT_MMIO_READ);
	CHECK_OK(x86vcpu_complete_read(g.vcpu, 0));
	guest_run_call(&g, 2);
	CHECK_EQ(guest_record(&g)->count, 2);
}

GUEST_CODE_BLOB(apic_code, 32,
	"mov $0xfee00080, %eax; mov %eax, %dr0; mov $0xf0402, %eax; mov %eax, %dr7; mov $0xfee00080, %ebx;"
	"mov (%ebx), %eax; .globl apic_after; apic_after: mov $2, %eax; vmcall");
extern const uint8_t apic_after[];

METAL_TEST(apic, "breakpoint.local_apic")
{
	guest_boot(&g, GUEST_PROTECTED, &apic_code);
	expect_db(&apic_code, apic_after, DR6_B0);
	guest_run_call(&g, 2);
}

GUEST_CODE_BLOB(step_code, 64, BREAK_ON_PORT
	"pushf; orl $0x100, (%rsp); popf; out %al, $0x80; .globl step_after; step_after: mov $2, %eax; vmcall");
extern const uint8_t step_after[];

METAL_TEST(step, "breakpoint.with_a_single_step",
	   .bochs_svm_gap = "the #DB of a guest's single step goes to the host")
{
	guest_boot(&g, GUEST_LONG, &step_code);
	guest_run_until(&g, X86VCPU_EXIT_PORT_IO_WRITE);
	expect_db(&step_code, step_after, DR6_B0 | DR6_BS);
}
