/* SPDX-License-Identifier: Apache-2.0 */
/*
 * x86vcpu_run with the SVM backend on a fake CPU, whose guest spins, halts and masks interrupts, and another CPU that
 * posts: at every instruction of a run, and from a thread. Nothing is lost, and nobody sleeps on it.
 */
#define _GNU_SOURCE /* REG_EFL */
#include "fake_cpu.h"

#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <ucontext.h>

#include "vcpu/apic.c"
#include "vcpu/vcpu.c"

#include "svm_machine.h"

Suite *run_threads_suite(void);

#define EXIT_DB 0x41
#define EXIT_INTR 0x60
#define EXIT_HLT 0x78
#define V_IRQ_BIT BIT(8)
#define TRAP_FLAG BIT(8)
#define IF_BIT BIT(9)
#define STEPPED BIT(14)
#define INTERCEPTS_IRET BIT(20)
#define VECTORS 256
#define NMI_VECTOR 2

/* ---- What vcpu.c needs of the library, for one CPU with one vCPU --------------------------------------------------- */

static struct x86vcpu handle;
static struct x86vcpu_percpu this_cpu;
static struct x86vcpu_machine machine;

uint32_t cpu_identity(const struct x86vcpu_host_ops *ops, void *ctx) { (void)ops; (void)ctx; return 0; }
struct x86vcpu_percpu *percpu_here(const struct x86vcpu_host_ops *ops, void *ctx) { (void)ops; (void)ctx; return &this_cpu; }
const struct backend *backend_in_use(void) { return &svm_backend; }
int32_t machine_join(struct x86vcpu_machine *m, struct guest *g) { (void)m; (void)g; return X86VCPU_OK; }
void machine_leave(struct guest *g) { (void)g; }
void machine_start_tsc(struct guest *g) { (void)g; }
void machine_get(struct x86vcpu_machine *kept) { (void)kept; }
void machine_put(struct x86vcpu_machine *kept) { (void)kept; }

/* ---- The guest ----------------------------------------------------------------------------------------------------- */

/* Its program: CLI; STI; HLT, and then it spins until an interrupt has come, or another. */
enum { AT_CLI = 0x2000, AT_STI, AT_HLT, AT_SPIN, IN_NMI_HANDLER = 0x3000 };

static struct {
	uint32_t taken[VECTORS];
	uint32_t interrupted; /* an interrupt of the host is pending on this CPU */
	uint32_t woken;       /* its thread has been told to run the vCPU */
	uint32_t nothing;     /* runs that said NOTHING */
	uint32_t stop;
	bool spins;           /* the guest has come to its loop */
	uint64_t rip, rflags; /* that the NMI's handler returns to */
} play;

static uint32_t load(const uint32_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static void increment(uint32_t *word)
{
	__atomic_fetch_add(word, 1, __ATOMIC_ACQ_REL);
}

static void leave(struct vmcb *vmcb, uint64_t code)
{
	vmcb->exit_code = code;
	vmcb->exit_info1 = vmcb->exit_info2 = vmcb->exit_int_info = 0;
	vmcb->next_rip = vmcb->rip + 1;
	vmcb->event_injection = 0;
}

/* VMRUN delivers what is injected. Its handler sends EOI, an exit like others; an NMI's ends with IRET, another. */
static void take_event(struct svm_vcpu *v)
{
	struct vmcb *vmcb = v->vmcb;
	const uint8_t vector = (uint8_t)vmcb->event_injection;

	ck_assert_uint_eq(vmcb->event_injection >> 8 & 7, vector == NMI_VECTOR ? 2 : 0);
	ck_assert(!(vmcb->interrupt_shadow & 1));
	ck_assert(vector == NMI_VECTOR || vmcb->rflags & IF_BIT);
	increment(&play.taken[vector]);
	if (vmcb->rip == AT_SPIN && play.taken[vector] & 1)
		vmcb->rip = AT_CLI;
	if (vector == NMI_VECTOR) {
		ck_assert_uint_eq(vmcb->intercept3 & INTERCEPTS_IRET, INTERCEPTS_IRET);
		play.rip = vmcb->rip;
		play.rflags = vmcb->rflags;
		vmcb->rip = IN_NMI_HANDLER;
		vmcb->rflags &= ~IF_BIT;
		leave(vmcb, EXIT_IRET);
	} else {
		lapic_eoi(&v->guest);
		leave(vmcb, EXIT_SMI);
	}
}

/* IRET, which may be intercepted. A step that began before it ends after it, whatever RFLAGS it loads. True: it exits. */
static bool execute_iret(struct vmcb *vmcb)
{
	const bool stepped = vmcb->rflags & TRAP_FLAG;

	if (vmcb->intercept3 & INTERCEPTS_IRET) {
		leave(vmcb, EXIT_IRET);
		return true;
	}
	vmcb->rip = play.rip;
	vmcb->rflags = play.rflags;
	if (!stepped)
		return false;
	ck_assert_uint_eq(vmcb->intercept_exceptions >> 1 & 1, 1);
	vmcb->dr6 |= STEPPED;
	leave(vmcb, EXIT_DB);
	return true;
}

/* One instruction. True: it exits. */
static bool execute(struct vmcb *vmcb)
{
	switch (vmcb->rip) {
	case IN_NMI_HANDLER:
		return execute_iret(vmcb);
	case AT_CLI:
		vmcb->rflags &= ~IF_BIT;
		break;
	case AT_STI:
		vmcb->rflags |= IF_BIT;
		vmcb->rip++;
		vmcb->interrupt_shadow = 1;
		return false;
	case AT_HLT:
		leave(vmcb, EXIT_HLT);
		return true;
	default:
		play.spins = true;
		return false;
	}
	vmcb->rip++;
	vmcb->interrupt_shadow = 0;
	return false;
}

static void run_guest(struct svm_vcpu *v)
{
	struct vmcb *vmcb = v->vmcb;

	if (vmcb->event_injection & EVENT_VALID) {
		take_event(v);
		return;
	}
	for (unsigned i = 1;; i++) {
		if (__atomic_exchange_n(&play.interrupted, 0, __ATOMIC_SEQ_CST)) {
			leave(vmcb, EXIT_INTR);
			return;
		}
		if (vmcb->virtual_interrupt & V_IRQ_BIT && vmcb->rflags & IF_BIT && !(vmcb->interrupt_shadow & 1)) {
			leave(vmcb, EXIT_VINTR);
			return;
		}
		if (execute(vmcb))
			return;
		if (play.spins && load(&play.stop)) {
			leave(vmcb, EXIT_INTR);
			return;
		}
		if (i % 256 == 0)
			sched_yield();
	}
}

static void notify(void *ctx, void *machine_opaque, void *vcpu_opaque, uint32_t cpu)
{
	(void)ctx;
	(void)machine_opaque;
	(void)vcpu_opaque;
	__atomic_store_n(cpu == X86VCPU_NO_CPU ? &play.woken : &play.interrupted, 1, __ATOMIC_SEQ_CST);
}

static uint64_t nanos_to_ticks(void *ctx, uint64_t nanos)
{
	(void)ctx;
	return nanos * 2;
}

static void service(void *ctx)
{
	(void)ctx;
}

static const struct x86vcpu_host_ops host_ops = {
	.notify = notify, .nanos_to_ticks = nanos_to_ticks, .service_pending_interrupt = service,
};

static void start_guest(uint64_t rip)
{
	struct guest *g = &vcpu.guest;

	machine_start_protected(FEATURE_NEXT_RIP);
	machine_guest = run_guest;
	memset(&play, 0, sizeof(play));
	memset(&machine, 0, sizeof(machine));
	g->host = &host_ops;
	g->limits.has_apic = true;
	g->machine = &machine;
	machine.vcpus[0] = g;
	lapic_reset(g);
	g->lapic.svr = APIC_SVR_ENABLE | 0xff;
	vcpu.vmcb->rip = rip;
	vcpu.vmcb->rflags = rip >= AT_HLT ? RFLAGS_ON : 2;
	handle = (struct x86vcpu){.guest = g, .backend = &svm_backend, .ops = &host_ops, .percpu = &this_cpu,
				  .set_up = true};
	this_cpu = (struct x86vcpu_percpu){.current = &handle, .enabled = true};
}

/* True: its thread may wait until it is woken. */
static bool run_once(void)
{
	struct x86vcpu_exit exit;

	ck_assert_int_eq(x86vcpu_run(&handle, &exit), X86VCPU_OK);
	if (exit.kind == X86VCPU_EXIT_HALT)
		return true;
	ck_assert(exit.kind == X86VCPU_EXIT_NOTHING || exit.kind == X86VCPU_EXIT_PREEMPTION_TIMER);
	if (exit.kind == X86VCPU_EXIT_NOTHING)
		increment(&play.nothing);
	return false;
}

/* ---- What is posted ------------------------------------------------------------------------------------------------- */

/* In a signal's handler, which may have come while Check holds its lock. */
static void require_ok(int32_t status)
{
	if (status)
		abort();
}

static void post_fixed(void)
{
	require_ok(x86vcpu_inject_interrupt(&handle, 0x41));
}

static void post_message(void)
{
	const struct x86vcpu_message message = {.size = sizeof(message), .vector = 0x52};

	require_ok(x86vcpu_machine_deliver_message(&machine, &message, NULL));
}

static void post_nmi(void)
{
	require_ok(x86vcpu_inject_nmi(&handle));
}

static void post_request(void)
{
	require_ok(x86vcpu_request_exit(&handle));
}

/* What it does to a counter. */
static const struct posting {
	void (*post)(void);
	uint32_t *counter;
} postings[] = {
	{post_fixed, &play.taken[0x41]}, {post_message, &play.taken[0x52]}, {post_nmi, &play.taken[NMI_VECTOR]},
	{post_request, &play.nothing},
};

/* ---- At every instruction of a run ------------------------------------------------------------------------------------ */

#define STRIDE 3001u /* a run is thousands of instructions, with the sanitizers', and a signal for each takes time */
#define MOST_STEPS 200000u

static struct {
	void (*post)(void);
	unsigned steps; /* until it comes */
	bool spun;      /* the guest was in its loop then */
} step;

static void on_step(int signal, siginfo_t *info, void *context)
{
	ucontext_t *interrupted = context;

	(void)signal;
	(void)info;
	if (--step.steps && !play.spins)
		return;
	interrupted->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
	step.spun = play.spins;
	step.steps = 0;
	step.post();
}

static bool run_stepped(unsigned steps)
{
	bool waits;

	step.steps = steps;
	__builtin_ia32_writeeflags_u64(__builtin_ia32_readeflags_u64() | TRAP_FLAG);
	waits = run_once();
	__builtin_ia32_writeeflags_u64(__builtin_ia32_readeflags_u64() & ~(unsigned long long)TRAP_FLAG);
	return waits;
}

static const uint64_t starts[] = {AT_CLI, AT_STI, AT_HLT, AT_SPIN};

/* Until the post has come to where it belongs. A thread that waits must have been woken. */
static void finish_run(const struct posting *posting, bool waits, unsigned steps)
{
	for (unsigned runs = 0; !load(posting->counter); runs++) {
		if (waits && !__atomic_exchange_n(&play.woken, 0, __ATOMIC_SEQ_CST))
			ck_abort_msg("asleep on it; it came at instruction %u", steps);
		ck_assert_uint_lt(runs, 20);
		waits = run_once();
	}
}

START_TEST(post_at_any_instruction)
{
	const struct sigaction action = {.sa_sigaction = on_step, .sa_flags = SA_SIGINFO};
	const struct posting *posting = &postings[(_i + _i / COUNT(starts)) % COUNT(postings)];
	bool again = true;

	ck_assert_int_eq(sigaction(SIGTRAP, &action, NULL), 0);
	step.post = posting->post;
	for (unsigned steps = 1 + 113 * (unsigned)_i; again; steps += STRIDE) {
		bool waits;

		start_guest(starts[_i % COUNT(starts)]);
		step.spun = false;
		waits = run_stepped(steps);
		again = step.steps == 0 && !step.spun;
		if (step.steps) /* the last time it comes afterwards */
			posting->post();
		finish_run(posting, waits, steps);
		ck_assert_uint_lt(steps, MOST_STEPS);
	}
}
END_TEST

/* ---- From a thread ------------------------------------------------------------------------------------------------------ */

#define POSTS 1000000u
#define POST_SECONDS 10.0 /* fewer where there are not enough CPUs */
#define LOST_SECONDS 60.0 /* on a machine with other things to do, too */

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static bool has_passed(const uint32_t *word, uint32_t value)
{
	return load(word) != value;
}

/* Spins for a while, to run while the other does; there may be fewer CPUs than threads. */
static void await_change(const uint32_t *word, uint32_t value)
{
	const double begin = seconds();

	for (unsigned spins = 1; !has_passed(word, value); spins++) {
		if (spins % 256)
			continue;
		sched_yield();
		if (seconds() - begin > LOST_SECONDS)
			ck_abort_msg("lost: RIP %x, %u NMIs", (unsigned)vcpu.vmcb->rip, play.taken[NMI_VECTOR]);
	}
}

static void *post_all(void *arg)
{
	const double begin = seconds();
	uint32_t *posts = arg;

	for (; *posts < POSTS && (*posts % 1024 || seconds() - begin < POST_SECONDS); ++*posts) {
		const struct posting *posting = &postings[*posts % 7 % COUNT(postings)];
		const uint32_t before = load(posting->counter);

		posting->post();
		await_change(posting->counter, before);
	}
	__atomic_store_n(&play.stop, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

static void wait_until_woken(void)
{
	for (unsigned spins = 1; !__atomic_exchange_n(&play.woken, 0, __ATOMIC_SEQ_CST) && !load(&play.stop); spins++)
		if (spins % 256 == 0)
			sched_yield();
}

START_TEST(posts_are_taken_at_entry_halt_and_exit)
{
	uint32_t posts = 0;
	pthread_t poster;

	start_guest(AT_CLI);
	ck_assert_int_eq(pthread_create(&poster, NULL, post_all, &posts), 0);
	while (!load(&play.stop))
		if (run_once())
			wait_until_woken();
	ck_assert_int_eq(pthread_join(poster, NULL), 0);
	ck_assert_uint_gt(posts, 0);
	ck_assert_uint_eq(play.taken[0x41] + play.taken[0x52] + play.taken[NMI_VECTOR],
			  posts - (posts / 7 + (posts % 7 > 3)));
}
END_TEST

Suite *run_threads_suite(void)
{
	Suite *suite = suite_create("run_threads");
	TCase *tcase = tcase_create("posting");

	tcase_set_timeout(tcase, 2 * LOST_SECONDS);
	tcase_add_loop_test(tcase, post_at_any_instruction, 0, 2 * COUNT(starts));
	tcase_add_test(tcase, posts_are_taken_at_entry_halt_and_exit);
	suite_add_tcase(suite, tcase);
	return suite;
}
