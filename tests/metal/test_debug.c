/* SPDX-License-Identifier: Apache-2.0 */
/* A debugger of the VMM: steps, breakpoints and INT3, which the guest does not notice. */
#include "guest.h"

static struct guest g;

#define HIT_STEP X86VCPU_DEBUG_HIT_STEP
#define TF 0x100u

static void debugs(uint32_t flags)
{
	const struct x86vcpu_debug_config config = {.size = sizeof(config), .flags = flags};

	CHECK_OK(x86vcpu_set_debug(g.vcpu, &config));
}

/* Bochs with SVM raises the #DB of a step in the host, too (docs/testing.md). */
static void ignore(struct trap_frame *frame)
{
	frame->rflags &= ~(uint64_t)TF;
}

static void steps_to(uint64_t rip)
{
	guest_run_until(&g, X86VCPU_EXIT_DEBUG);
	CHECK_EQ(g.exit.u.debug.what, HIT_STEP);
	CHECK_EQ(g.exit.u.debug.rip, rip);
	CHECK_EQ(guest_rip(&g), rip);
}

GUEST_CODE_BLOB(walk_code, 64, "nop; cpuid; pushf; popf; push %rax; ret; ud2");

METAL_TEST(walk, "debug.every_instruction_is_a_step")
{
	static const uint8_t at[] = {1, 3, 4, 5, 6};
	struct x86vcpu_state state;

	trap_set_handler(1, ignore);
	guest_boot(&g, GUEST_LONG, &walk_code);
	debugs(X86VCPU_DEBUG_STEP);
	for (unsigned i = 0; i < sizeof(at); i++) {
		steps_to(GUEST_CODE + at[i]);
		guest_state(&g, &state);
		CHECK_EQ(state.rflags & TF, 0);
		CHECK_EQ(state.dr6, 0xffff0ff0);
		if (at[i] == 4)
			CHECK_EQ(guest_load(&g, state.rsp, 8) & TF, 0);
	}
}

GUEST_CODE_BLOB(fault_code, 64, "ud2; nop");

/* With VT-x the step ends in the handler, with SVM after its IRET, which returns to the UD2. */
METAL_TEST(fault, "debug.handler_does_not_find_the_flag")
{
	trap_set_handler(1, ignore);
	guest_boot(&g, GUEST_LONG, &fault_code);
	debugs(X86VCPU_DEBUG_STEP);
	if (x86vcpu_extension() == X86VCPU_EXTENSION_VMX) {
		guest_run_until(&g, X86VCPU_EXIT_DEBUG);
		CHECK_EQ(g.exit.u.debug.what, HIT_STEP);
		debugs(0);
	}
	CHECK_EQ(guest_run_trap(&g, 6, 0, GUEST_CODE)->rflags & TF, 0);
}

GUEST_CODE_BLOB(syscall_code, 64, "syscall; nop");

METAL_TEST(syscall, "debug.syscall_is_a_step")
{
	struct x86vcpu_state state;

	trap_set_handler(1, ignore);
	guest_boot(&g, GUEST_LONG, &syscall_code);
	guest_state(&g, &state);
	state.efer |= 1;
	CHECK_OK(x86vcpu_set_state(g.vcpu, X86VCPU_STATE_CRS, &state));
	CHECK_OK(x86vcpu_set_msr(g.vcpu, 0xc0000081, UINT64_C(0x0008) << 32));
	CHECK_OK(x86vcpu_set_msr(g.vcpu, 0xc0000082, GUEST_CODE + 2));
	CHECK_OK(x86vcpu_set_msr(g.vcpu, 0xc0000084, TF));
	debugs(X86VCPU_DEBUG_STEP);
	steps_to(GUEST_CODE + 2);
	CHECK_EQ(guest_reg(&g, R11) & TF, 0);
	steps_to(GUEST_CODE + 3);
}

GUEST_CODE_BLOB(int3_code, 64, "int3; mov $1, %eax; vmcall");

METAL_TEST(int3, "debug.int3_exits_and_is_given_back", .bochs_svm_gap = "VMRUN that injects #BP ignores the next RIP")
{
	guest_boot(&g, GUEST_LONG, &int3_code);
	debugs(X86VCPU_DEBUG_INT3);
	for (unsigned i = 0; i < 2; i++) {
		guest_run_until(&g, X86VCPU_EXIT_DEBUG);
		CHECK_EQ(g.exit.u.debug.what, X86VCPU_DEBUG_HIT_INT3);
		CHECK_EQ(guest_rip(&g), GUEST_CODE);
	}
	CHECK_OK(x86vcpu_debug_reflect(g.vcpu));
	guest_run_trap(&g, 3, 0, GUEST_CODE + 1);
}

GUEST_CODE_BLOB(breakpoint_code, 64,
		"nop; movl $5, 0x12000; mov %dr7, %rdx; mov $0x1234, %ecx; mov %rcx, %dr0; mov %dr0, %rbx; nop;"
		"mov $1, %eax; vmcall");

METAL_TEST(breakpoints, "debug.breakpoints_beside_the_guests")
{
	struct x86vcpu_debug_config config = {.size = sizeof(config), .dr7 = 0x00d00005, .address = {GUEST_CODE, GUEST_DATA}};
	struct x86vcpu_state state;
	int32_t status;

	guest_boot(&g, GUEST_LONG, &breakpoint_code);
	status = x86vcpu_set_debug(g.vcpu, &config);
	if (status == X86VCPU_ERR_UNSUPPORTED)
		return; /* SVM on the emulators: cpu/quirks.c */
	CHECK_OK(status);
	guest_run_until(&g, X86VCPU_EXIT_DEBUG);
	CHECK_EQ(g.exit.u.debug.what, X86VCPU_DEBUG_HIT_BREAKPOINT);
	CHECK_EQ(g.exit.u.debug.dr6, 1);
	CHECK_EQ(guest_rip(&g), GUEST_CODE);
	guest_run_until(&g, X86VCPU_EXIT_DEBUG);
	CHECK_EQ(g.exit.u.debug.dr6, 2);
	guest_run_call(&g, 1);
	CHECK_EQ(guest_reg(&g, RBX), 0x1234);
	CHECK_EQ(guest_reg(&g, RDX), 0x400);
	guest_state(&g, &state);
	CHECK_EQ(state.dr0, 0x1234);
	CHECK_EQ(state.dr7, 0x400);
}

GUEST_CODE_BLOB(watch_code, 64, "nop; movl $5, 0x12000; nop; nop; mov $1, %eax; vmcall");

METAL_TEST(watch, "debug.written_datum_exits")
{
	struct x86vcpu_debug_config config = {.size = sizeof(config), .dr7 = 0x000d0001, .address = {GUEST_DATA}};
	int32_t status;

	guest_boot(&g, GUEST_LONG, &watch_code);
	status = x86vcpu_set_debug(g.vcpu, &config);
	if (status == X86VCPU_ERR_UNSUPPORTED)
		return; /* SVM on the emulators: cpu/quirks.c */
	CHECK_OK(status);
	trap_set_handler(1, ignore);
	guest_run_until(&g, X86VCPU_EXIT_DEBUG);
	CHECK_EQ(g.exit.u.debug.what, X86VCPU_DEBUG_HIT_BREAKPOINT);
	CHECK_EQ(g.exit.u.debug.dr6, 1);
	CHECK_EQ(guest_load(&g, GUEST_DATA, 4), 5);
	guest_run_call(&g, 1);
}
