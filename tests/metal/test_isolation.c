/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest leaves behind: canaries in everything that the host has, and a guest that has written its own values to
 * everything that it has, before each kind of exit. The host's are compared after each call of x86vcpu_run; a second
 * guest looks for the first one's after each kind of exit.
 */
#include "guest.h"

#define STOLEN UINT64_C(0x5ec2e75ec2e75ec2)
#define VMM_MSR 0x4b564d00u
#define PORT 0x80u
#define END_CALL 1u
#define MOST_RUNS 200u

static struct guest g, h;

/*
 * x86vcpu_run with canaries in the registers that a function must preserve (System V ABI 3.2.1). Returns its status;
 * registers_changed counts the canaries that are gone, and a direction flag that is set.
 */
int32_t run_with_canaries(struct x86vcpu *vcpu, struct x86vcpu_exit *exit);
extern uint64_t registers_changed;
__asm__(".pushsection .text; .globl run_with_canaries; run_with_canaries:"
	"push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15; sub $8, %rsp;"
	"canary = 0x1badb10057ab1e00;"
	".irp r, rbx, rbp, r12, r13, r14, r15; movabs $canary, %\\r; canary = canary + 0x0101010101010101; .endr;"
	"call x86vcpu_run;"
	"canary = 0x1badb10057ab1e00;"
	".irp r, rbx, rbp, r12, r13, r14, r15; movabs $canary, %rcx; cmp %rcx, %\\r; je 1f; incq registers_changed; 1:"
	"canary = canary + 0x0101010101010101; .endr;"
	"pushf; pop %rcx; test $0x400, %ecx; jz 2f; incq registers_changed; 2: cld;"
	"add $8, %rsp; pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx; ret; .popsection");
uint64_t registers_changed;

/* ---- Guests ---------------------------------------------------------------------------------------------------- */

/* Writes STOLEN, or what fits, wherever a guest can write without an exit or with one that the library handles. */
#define FILL                                                                                                     \
	"movabs $0x5ec2e75ec2e75ec2, %rax; mov %rax, %rbx; mov $0x5ec2e7, %eax; mov %rax, %dr0; mov %rax, %dr1;" \
	"mov %rax, %dr2; mov %rax, %dr3; mov %rax, %cr2; movq %rbx, %xmm0; movq %rbx, %xmm7; movq %rbx, %xmm15;" \
	"fninit; fldpi; fldl2t; mov $0xc0000081, %ecx; mov $0x5ec2e7, %edx; xor %eax, %eax; wrmsr;"             \
	"mov $0x5ec2e7, %eax; xor %edx, %edx; mov $0xc0000082, %ecx; wrmsr; mov $0xc0000083, %ecx; wrmsr;"     \
	"mov $0xc0000102, %ecx; wrmsr; mov $0xc0000103, %ecx; wrmsr; mov $0xc0000101, %ecx; wrmsr;"            \
	"mov $0xc0000100, %ecx; wrmsr; mov $0x174, %ecx; wrmsr; mov $0x175, %ecx; wrmsr; mov $0x176, %ecx; wrmsr;" \
	"mov %rbx, %rcx; mov %rbx, %rdx; mov %rbx, %rsi; mov %rbx, %rdi; mov %rbx, %rbp; mov %rbx, %r8; mov %rbx, %r9;" \
	"mov %rbx, %r10; mov %rbx, %r11; mov %rbx, %r12; mov %rbx, %r13; mov %rbx, %r14; mov %rbx, %r15; std;"
#define CALL_END "cld; mov $1, %eax; vmcall"

#define OPERATIONS(OP)                                                                                    \
	OP(cpuid, ANY, "xor %eax, %eax; cpuid;")                                                          \
	OP(msr_inside, ANY, "mov $0x1b, %ecx; rdmsr;")                                                    \
	OP(msr_read, X86VCPU_EXIT_MSR_READ, "mov $0x4b564d00, %ecx; rdmsr;")                              \
	OP(msr_write, X86VCPU_EXIT_MSR_WRITE, "mov $0x4b564d00, %ecx; wrmsr;")                            \
	OP(msr_fault, TRAP, "mov $0x480, %ecx; rdmsr;")                                              \
	OP(port_write, X86VCPU_EXIT_PORT_IO_WRITE, "out %al, $0x80;")                                     \
	OP(port_read, X86VCPU_EXIT_PORT_IO_READ, "in $0x80, %al;")                                        \
	OP(port_string, X86VCPU_EXIT_PORT_IO_STRING, "cld; mov $0x12000, %esi; mov $0x80, %edx; outsb;")  \
	OP(mmio_write, X86VCPU_EXIT_MMIO_WRITE, "mov $0x800000, %esi; mov %edi, (%rsi);")                 \
	OP(mmio_read, X86VCPU_EXIT_MMIO_READ, "mov $0x800000, %esi; mov (%rsi), %edi;")                   \
	OP(nested_fault, X86VCPU_EXIT_NESTED_PAGE_FAULT, "mov $0xa00000, %esi; mov (%rsi), %edi;")        \
	OP(unknown_instruction, X86VCPU_EXIT_UNKNOWN_INSTRUCTION, "mov $0x800000, %esi; fxsave (%rsi);") \
	OP(halt, X86VCPU_EXIT_HALT, "hlt;")                                                               \
	OP(xsetbv, ANY, "mov %cr4, %rax; bts $18, %rax; mov %rax, %cr4; xor %ecx, %ecx; xor %edx, %edx;"  \
			"mov $3, %eax; xsetbv;")                                                          \
	OP(avx, ANY, "mov %cr4, %rax; bts $18, %rax; mov %rax, %cr4; xor %ecx, %ecx; xor %edx, %edx; mov $7, %eax;" \
		     "xsetbv; .irp r, 0, 7, 15; vinsertf128 $1, %xmm\\r, %ymm\\r, %ymm\\r; .endr;")           \
	OP(time_slice, X86VCPU_EXIT_PREEMPTION_TIMER, "sti; mov $0x800000, %ecx; 1: dec %ecx; jnz 1b; cli;")  \
	OP(cr0, ANY, "mov %cr0, %rax; btc $3, %rax; mov %rax, %cr0; clts; smsw %ax; lmsw %ax;")           \
	OP(cr3, ANY, "mov %cr3, %rax; mov %rax, %cr3; invlpg (%rax);")                                    \
	OP(cr4, ANY, "mov %cr4, %rax; btc $7, %rax; mov %rax, %cr4;")                                     \
	OP(cr8, ANY, "mov $5, %eax; mov %rax, %cr8; mov %cr8, %rdi;")                                     \
	OP(debug_registers, ANY, "mov $0x401, %eax; mov %rax, %dr7; mov %dr6, %rdi;")                     \
	OP(breakpoint, TRAP, "int3;")                                                                     \
	OP(undefined, TRAP, "ud2;")                                                                       \
	OP(refused, TRAP, "monitor;")                                                                     \
	OP(page_fault, TRAP, "mov %al, (%rbx);")                                                          \
	OP(cache, ANY, "wbinvd;")                                                                         \
	OP(time, ANY, "rdtsc; rdtscp; pause;")                                                            \
	OP(hypercall, ANY, "")

#define CODE(name, kind, text) GUEST_CODE_BLOB(name##_leak_code, 64, FILL text CALL_END);
OPERATIONS(CODE)
CODE(triple_fault, ANY, "movq $0, 0x12100; movw $0, 0x12100; lidt 0x12100; ud2;")

#define ANY UINT32_MAX        /* the library handles it */
#define TRAP (UINT32_MAX - 1) /* the guest's own handler gets it */
struct operation {
	const char *name;
	uint32_t kind;
	const struct guest_code *code;
};

#define ROW(name, kind, text) { #name, kind, &name##_leak_code }
#define ROW_OF_TABLE(name, kind, text) ROW(name, kind, text),
static const struct operation operations[] = { OPERATIONS(ROW_OF_TABLE) };
#define OPERATION_COUNT (sizeof(operations) / sizeof(operations[0]))
static const struct operation triple_fault = ROW(triple_fault, X86VCPU_EXIT_SYSTEM_DOWN, "");

/* ORs what it finds of everything that FILL writes into RDI. */
GUEST_CODE_BLOB(look_code, 64,
	"or %rbx, %rax; or %rcx, %rax; or %rdx, %rax; or %rsi, %rax; or %rdi, %rax; or %rbp, %rax; or %r8, %rax;"
	"or %r9, %rax; or %r10, %rax; or %r11, %rax; or %r12, %rax; or %r13, %rax; or %r14, %rax; or %r15, %rax;"
	"mov %rax, %rdi;"
	".irp r, 0, 1, 2, 3; mov %dr\\r, %rax; or %rax, %rdi; .endr; mov %cr2, %rax; or %rax, %rdi;"
	".irp r, 0, 7, 15; movq %xmm\\r, %rax; or %rax, %rdi; .endr;"
	".irp m, 0xc0000081, 0xc0000082, 0xc0000083, 0xc0000100, 0xc0000101, 0xc0000102, 0xc0000103, 0x174, 0x175, 0x176;"
	"mov $\\m, %ecx; rdmsr; or %rax, %rdi; or %rdx, %rdi; .endr;"
	"fnstsw %ax; and $0x3800, %eax; or %rax, %rdi;"
	"mov %cr4, %rax; bts $18, %rax; mov %rax, %cr4; xor %ecx, %ecx; xor %edx, %edx; mov $7, %eax; xsetbv;"
	".irp r, 0, 7, 15; vextractf128 $1, %ymm\\r, %xmm1; movq %xmm1, %rax; or %rax, %rdi; .endr;"
	"mov $1, %eax; vmcall");

static void boot(struct guest *guest, uint32_t id, uint32_t flags, const struct guest_code *code)
{
	static const struct x86vcpu_msr_range msrs = { .first = VMM_MSR, .last = VMM_MSR };

	guest_init(guest, id);
	guest->config.flags = flags;
	guest->config.msrs = &msrs;
	guest->config.msr_count = 1;
	guest_start(guest, GUEST_LONG, code);
}

/* ---- The VMM --------------------------------------------------------------------------------------------------- */

/* Answers an exit. False: the guest has come to its end, or cannot continue. */
static bool answer(void)
{
	switch (g.exit.kind) {
	case X86VCPU_EXIT_PORT_IO_READ:
	case X86VCPU_EXIT_MMIO_READ:
	case X86VCPU_EXIT_MSR_READ:
		CHECK_OK(x86vcpu_complete_read(g.vcpu, 0x5a));
		return true;
	case X86VCPU_EXIT_MSR_WRITE:
		CHECK_OK(x86vcpu_complete_write(g.vcpu));
		return true;
	case X86VCPU_EXIT_PORT_IO_STRING:
		CHECK_OK(x86vcpu_complete_port_io_string(g.vcpu, &g.exit.u.port_io_string));
		return true;
	case X86VCPU_EXIT_UNKNOWN_INSTRUCTION:
		CHECK_OK(x86vcpu_skip_instruction(g.vcpu, 3));
		return true;
	case X86VCPU_EXIT_PORT_IO_WRITE:
	case X86VCPU_EXIT_MMIO_WRITE:
	case X86VCPU_EXIT_NOTHING:
	case X86VCPU_EXIT_PREEMPTION_TIMER:
		return true;
	default:
		return false;
	}
}

static bool is_kind(uint32_t kind)
{
	if (g.exit.kind != X86VCPU_EXIT_HYPERCALL)
		return g.exit.kind == kind;
	return g.exit.u.hypercall.nr == GUEST_TRAP_CALL ? kind == TRAP : kind == ANY;
}

/* Runs the operation to its end; `before`, if any, is what the host must look like after each run. */
static void run_operation(const struct operation *operation, const struct host_snapshot *before)
{
	bool seen = false;

	for (unsigned i = 0; i < MOST_RUNS; i++) {
		const uint64_t tsc = rdtsc();

		CHECK_OK(run_with_canaries(g.vcpu, &g.exit));
		CHECK(rdtsc() > tsc);
		if (registers_changed)
			FAIL("%s: a register of the host's has changed", operation->name);
		if (before)
			host_check_unchanged(before);
		seen |= is_kind(operation->kind);
		if (!answer())
			break;
	}
	if (!seen)
		FAIL("%s ended with %s", operation->name, x86vcpu_exit_name(g.exit.kind));
}

static void look_for_the_first_guests_values(const struct operation *operation, uint32_t flags)
{
	boot(&h, 1, flags, &look_code);
	guest_run_call(&h, END_CALL);
	if (h.exit.u.hypercall.args[0])
		FAIL("%s: the other guest sees %lx", operation->name, h.exit.u.hypercall.args[0]);
	guest_destroy(&h);
}

static void each_of(const struct operation *list, unsigned count, uint32_t flags)
{
	struct host_snapshot before;

	host_enable();
	host_tick_start();
	host_paint();
	host_use_avx();
	host_snapshot(&before);
	for (unsigned i = 0; i < count; i++) {
		const struct operation *operation = &list[i];

		boot(&g, 0, flags, operation->code);
		run_operation(operation, flags & X86VCPU_SETUP_KEEP_CONTEXT ? NULL : &before);
		look_for_the_first_guests_values(operation, flags);
		CHECK_OK(x86vcpu_unbind(g.vcpu));
		host_check_unchanged(&before);
		CHECK_OK(x86vcpu_bind(g.vcpu));
		guest_destroy(&g);
		host_check_unchanged(&before);
	}
}

/* Kinds of exit that no row ends with. */
static const struct {
	uint32_t kind;
	const char *reason;
} others[] = {
	{X86VCPU_EXIT_HYPERCALL, "every row ends with one"},
	{X86VCPU_EXIT_NOTHING, "the host's tick ends some run of every row"},
	{X86VCPU_EXIT_INTERRUPT_END, "it ends a WRMSR or an access to a device, which have rows"},
	{X86VCPU_EXIT_FAIL_ENTRY, "the guest was not entered"},
	{X86VCPU_EXIT_WAIT_FOR_SIPI, "the guest was not entered"},
	{X86VCPU_EXIT_FPU_ERROR, "a flag of setup asks for it: event.x87_error_with_ne_clear"},
	{X86VCPU_EXIT_DEBUG, "x86vcpu_set_debug asks for it: debug.*"},
};

static bool has_row(uint32_t kind)
{
	for (unsigned i = 0; i < OPERATION_COUNT; i++)
		if (operations[i].kind == kind)
			return true;
	for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (others[i].kind == kind)
			return others[i].reason;
	return triple_fault.kind == kind;
}

METAL_TEST(complete, "isolation.every_kind_of_exit_has_a_row")
{
	const char *const unknown = x86vcpu_exit_name(UINT32_MAX);

	for (uint32_t kind = 0; kind < 256; kind++)
		if (x86vcpu_exit_name(kind) != unknown && !has_row(kind))
			FAIL("no row for %s", x86vcpu_exit_name(kind));
}

METAL_TEST(exits, "isolation.every_kind_of_exit")
{
	each_of(operations, OPERATION_COUNT, 0);
}

METAL_TEST(exits_kept, "isolation.every_kind_of_exit_with_kept_context")
{
	each_of(operations, OPERATION_COUNT, X86VCPU_SETUP_KEEP_CONTEXT);
}

METAL_TEST(shutdown, "isolation.shutdown", .bochs_svm_gap = "a guest's triple fault ends Bochs")
{
	each_of(&triple_fault, 1, 0);
}
