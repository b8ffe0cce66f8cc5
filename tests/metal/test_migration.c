/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that computes with all registers that it has is moved between two CPUs in the midst of it, more than a
 * thousand times, and comes to the same result as one that stays.
 */
#include "guest.h"

#define ROUNDS 360u
#define MOVES_A_ROUND 3u
#define LEAST_MOVES 1000u
#define TRIES 16u /* of a CPU that has not got the vCPU, each time: enough for the other to have bound it */
#define CR4_OSXSAVE 0x40000u

#define RESULT GUEST_DATA /* what it has computed */
#define RESULT_SIZE 0x800u
#define DONE 7u
#define TSC_WENT_BACK 8u

/*
 * Ports say where it is: 80H between two instructions of no importance. Memory at 13000H: rounds left, the
 * last TSC, spilled registers; from 13100H on the MSRs: number, upper half. Flags are never used across an exit.
 */
GUEST_CODE_BLOB(computing_code, 64,
	"movl $360, 0x13000;"
	"mov %cr4, %rax; bts $18, %rax; mov %rax, %cr4; xor %ecx, %ecx; xor %edx, %edx; mov $7, %eax; xsetbv;"
	/* Values to begin with. */
	"mov $0x13100, %esi; 1: mov (%rsi), %ecx; jecxz 2f; mov $0x6789000, %eax; mov 4(%rsi), %edx; wrmsr;"
	"add $8, %esi; jmp 1b; 2:"
	"mov $0x13579bdf, %eax; mov %rax, %dr0; not %rax; mov %rax, %dr1; inc %rax; mov %rax, %dr2; mov %rax, %dr3;"
	"fninit; filds 0x13100; filds 0x13104; filds 0x13108; filds 0x1310c; filds 0x13110; filds 0x13114; filds 0x13118;"
	"filds 0x1311c;"
	"mig_seed = 0x0123456789abcdef;"
	".irp r, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15;"
	"movabs $mig_seed, %rax; vmovq %rax, %xmm\\r; vinsertf128 $1, %xmm\\r, %ymm\\r, %ymm\\r;"
	"mig_seed = mig_seed + 0x1032547698badcfe; .endr;"
	".irp r, rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15;"
	"movabs $mig_seed, %\\r; mig_seed = mig_seed + 0x1032547698badcfe; .endr;"

	"mig_round:"
	/* General registers. */
	".irp r, rax, rcx, rdx, rbx, rsp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15;"
	"rol $7, %\\r; add %rbp, %\\r; .endr; out %al, $0x80;"
	".irp r, rax, rcx, rdx, rbx, rsp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15;"
	"rol $3, %rbp; xor %\\r, %rbp; .endr;"
	/* Vector registers, MXCSR, x87. */
	".irp r, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14;"
	"vxorps %ymm15, %ymm\\r, %ymm\\r; vpermilps $0x39, %ymm\\r, %ymm\\r; .endr;"
	"vperm2f128 $1, %ymm3, %ymm3, %ymm3; paddq %xmm3, %xmm4; paddq %xmm8, %xmm15; vxorps %ymm7, %ymm15, %ymm15;"
	"vperm2f128 $1, %ymm15, %ymm15, %ymm15; out %al, $0x80;"
	"stmxcsr 0x13020; xorl $0x2000, 0x13020; ldmxcsr 0x13020; fnstcw 0x13028; xorw $0x400, 0x13028; fldcw 0x13028;"
	"fadds 0x13030; fincstp;"
	/* Debug registers and MSRs, with general registers put aside. */
	"mov %rax, 0x13040; mov %rcx, 0x13048; mov %rdx, 0x13050; mov %rsi, 0x13058;"
	".irp r, 0, 1, 2, 3; mov %dr\\r, %rax; lea 3(%rax, %rax, 4), %rax; mov %rax, %dr\\r; .endr;"
	"mov $0x13100, %esi; 1: mov (%rsi), %ecx; jecxz 2f; rdmsr; lea 0x10001(%rax), %eax; wrmsr; add $8, %esi;"
	"jmp 1b; 2: swapgs; out %al, $0x80;"
	"rdtsc; shl $32, %rdx; or %rdx, %rax; cmp 0x13008, %rax; jb mig_tsc; mov %rax, 0x13008;"
	"mov 0x13040, %rax; mov 0x13048, %rcx; mov 0x13050, %rdx; mov 0x13058, %rsi;"
	"decl 0x13000; jnz mig_round;"

	/* The result. */
	"mig_at = 0x12000; .irp r, rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15;"
	"mov %\\r, mig_at; mig_at = mig_at + 8; .endr;"
	".irp r, 0, 1, 2, 3; mov %dr\\r, %rax; mov %rax, mig_at; mig_at = mig_at + 8; .endr;"
	"mov $0x13100, %esi; mov $0x12100, %edi; 1: mov (%rsi), %ecx; jecxz 2f; rdmsr; stosl; mov %edx, %eax; stosl;"
	"add $8, %esi; jmp 1b; 2: mig_at = 0x12200; .irp r, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15;"
	"vmovdqu %ymm\\r, mig_at; mig_at = mig_at + 32; .endr; fxsave64 0x12400;"
	"mov $7, %eax; vmcall; mig_tsc: mov $8, %eax; vmcall");

/* STAR, LSTAR, CSTAR, FMASK, FS, GS, KERNEL_GS, SYSENTER_CS, _ESP, _EIP, TSC_AUX; upper halves. */
static const uint32_t msrs[][2] = {
	{ 0xc0000081, 0x00230008 }, { 0xc0000082, 0xffff8888 }, { 0xc0000083, 0xffff9999 }, { 0xc0000084, 0 },
	{ 0xc0000100, 0xffffaaaa }, { 0xc0000101, 0xffffbbbb }, { 0xc0000102, 0xffffcccc }, { 0x174, 0 },
	{ 0x175, 0xffffdddd }, { 0x176, 0xffffeeee }, { 0xc0000103, 0 },
};

/* `stays`: nothing of it leaves x86vcpu_run before the end, and nothing of its state the CPU. */
static void boot(struct guest *g, bool stays)
{
	static const struct x86vcpu_port_range port = { .base = 0x80, .length = 1 };

	guest_init(g, 0);
	g->config.ports = stays ? NULL : &port;
	g->config.port_count = !stays;
	g->config.passthrough_ports = stays ? &port : NULL;
	g->config.passthrough_port_count = stays;
	g->config.time_slice_ns = stays ? UINT64_C(60000000000) : 0;
	guest_start(g, GUEST_LONG, &computing_code);
	memcpy(g->ram + 0x13100, msrs, sizeof(msrs));
	guest_store(g, 0x13030, 4, 0x3fa00000); /* 1.25 */
	CHECK(guest_load(g, GUEST_CODE + 7, 4) == ROUNDS);
}

/* One run; false when the guest has come to its end. */
static bool goes_on(struct guest *g)
{
	CHECK_OK(x86vcpu_run(g->vcpu, &g->exit));
	switch (g->exit.kind) {
	case X86VCPU_EXIT_PORT_IO_WRITE:
	case X86VCPU_EXIT_PREEMPTION_TIMER:
	case X86VCPU_EXIT_NOTHING:
		return true;
	case X86VCPU_EXIT_HYPERCALL:
		CHECK_EQ(g->exit.u.hypercall.nr, DONE);
		return false;
	default:
		FAIL("%s", x86vcpu_exit_name(g->exit.kind));
	}
}

/* ---- Both CPUs take turns ------------------------------------------------------------------------------------- */

static struct guest g, reference;
static struct {
	uint32_t turn, done;
	uint32_t moves, refused[2];
} travel;

static uint32_t load(const uint32_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

/* While the other CPU has the vCPU, or is about to give it away. */
static void expect_refused(unsigned cpu)
{
	struct x86vcpu_state state = { .size = sizeof(state) };
	struct x86vcpu_exit exit;

	CHECK_STATUS(x86vcpu_run(g.vcpu, &exit), X86VCPU_ERR_BAD_STATE);
	CHECK_STATUS(x86vcpu_unbind(g.vcpu), X86VCPU_ERR_BAD_STATE);
	CHECK_STATUS(x86vcpu_get_state(g.vcpu, X86VCPU_STATE_RIP, &state), X86VCPU_ERR_BAD_STATE);
	CHECK_STATUS(x86vcpu_set_state(g.vcpu, X86VCPU_STATE_RIP, &state), X86VCPU_ERR_BAD_STATE);
	CHECK_STATUS(x86vcpu_inject_exception(g.vcpu, 6, 0, 0), X86VCPU_ERR_BAD_STATE);
	travel.refused[cpu]++;
}

static void take_turns(void *arg)
{
	const unsigned cpu = (unsigned)(uintptr_t)arg;
	struct host_snapshot before;

	host_paint();
	host_snapshot(&before);
	for (;;) {
		for (unsigned tries = 0; load(&travel.turn) != cpu && !load(&travel.done); tries++) {
			if (tries < TRIES)
				expect_refused(cpu);
			else
				cpu_wait_for_interrupt();
		}
		if (load(&travel.done))
			break;
		CHECK_OK(x86vcpu_bind(g.vcpu));
		if (!goes_on(&g))
			__atomic_store_n(&travel.done, 1, __ATOMIC_RELEASE);
		CHECK_OK(x86vcpu_unbind(g.vcpu));
		travel.moves++;
		__atomic_store_n(&travel.turn, !cpu, __ATOMIC_SEQ_CST);
		cpu_kick(!cpu, false);
	}
	host_check_unchanged(&before);
}

static void same_result(void)
{
	for (uint64_t at = RESULT; at < RESULT + RESULT_SIZE; at += 8)
		if (guest_load(&g, at, 8) != guest_load(&reference, at, 8))
			FAIL("result at %lx is %lx, not %lx", at, guest_load(&g, at, 8), guest_load(&reference, at, 8));
	/* It is one: the last general register, and YMM15's upper half. */
	CHECK(guest_load(&reference, RESULT + 0x78, 8));
	CHECK(guest_load(&reference, RESULT + 0x3f8, 8));
}

METAL_TEST(computes, "smp.result_is_the_same_after_a_thousand_moves", .cpus = 2)
{
	host_enable();
	second_cpu_start_enabled();
	boot(&reference, true);
	CHECK(!goes_on(&reference));
	boot(&g, false);
	CHECK_OK(x86vcpu_unbind(g.vcpu));
	second_cpu_begin(take_turns, (void *)(uintptr_t)1);
	take_turns((void *)0);
	second_cpu_wait();
	same_result();
	CHECK(travel.moves >= LEAST_MOVES && travel.moves > ROUNDS * MOVES_A_ROUND);
	CHECK(travel.refused[0] && travel.refused[1]);
}
