/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two vCPUs of one machine, on a CPU each or both on one: interprocessor interrupts of every kind (SDM 12.6), INIT and
 * start-up, and what the host posts from the other CPU while a guest spins, or is halted.
 */
#include "guest.h"

#define APIC_AT 0x1f0000u /* a linear address that the guest's tables map to the local APIC */
#define COUNTERS(vcpu) (GUEST_DATA + 0x1000u * (vcpu)) /* of interrupts taken, 32 bits for each vector */
#define VECTOR 0x41u
#define NMI 2u
#define HOST_NMI 2
#define REAL_CODE 0xa000u
#define REAL_COUNT 0x5000u /* starts of the real-mode code, and where it was started */

static struct guest vcpus[2];
static bool host_ticks;

/* ---- The guests --------------------------------------------------------------------------------------------- */

/*
 * RBX is the local APIC's address, R14 the vCPU's counters. What it does comes from RSI: an address of these.
 * Handlers count and, but for an NMI's, send EOI.
 */
GUEST_CODE_BLOB(ipi_code, 64,
	"jmp *%rsi;"
	/* Writes the ICR, R9 and R10, again and again, if the lower half is not 0; VMCALL 1 before. */
	".globl ipi_sends; ipi_sends: sti; 1: mov $1, %eax; vmcall; test %r10d, %r10d; jz 1b;"
	"mov %r9d, 0x310(%rbx); mov %r10d, 0x300(%rbx); jmp 1b;"

	".globl ipi_spins; ipi_spins: sti; 1: jmp 1b;"
	".globl ipi_spins_off; ipi_spins_off: cli; 1: incl (%r14); jmp 1b;"
	".globl ipi_halts; ipi_halts: sti; hlt; jmp ipi_halts;"

	/* Sends and waits for the answer, or the other way round, R15 times, then VMCALL 2. EBP: waits halted. */
	".globl ipi_pings; ipi_pings: sti; xor %r13d, %r13d; 1: call ipi_send; call ipi_wait; dec %r15d; jnz 1b;"
	"mov $2, %eax; vmcall;"
	".globl ipi_pongs; ipi_pongs: sti; xor %r13d, %r13d; 1: call ipi_wait; call ipi_send; dec %r15d; jnz 1b;"
	"mov $2, %eax; vmcall;"
	"ipi_send: mov %r9d, 0x310(%rbx); movl $0x4041, 0x300(%rbx); ret;"
	"ipi_wait: inc %r13d; test %ebp, %ebp; jnz 2f; 1: cmp %r13d, 0x104(%r14); jb 1b; ret;"
	"2: cli; cmp %r13d, 0x104(%r14); jae 3f; sti; hlt; jmp 2b; 3: sti; ret;"

	".globl ipi_nmi; ipi_nmi: incl 8(%r14); iretq;"
	".balign 16; .globl ipi_gates; ipi_gates: ipi_vector = 32; .rept 224; .balign 16;"
	"push %rdi; mov $ipi_vector, %edi; jmp ipi_count; ipi_vector = ipi_vector + 1; .endr;"
	"ipi_count: incl (%r14, %rdi, 4); movl $0, 0xb0(%rbx); pop %rdi; iretq");
extern const uint8_t ipi_sends[], ipi_spins[], ipi_spins_off[], ipi_halts[], ipi_pings[], ipi_pongs[], ipi_nmi[],
	ipi_gates[];

/* Where a start-up IPI leads to. */
GUEST_CODE_BLOB(real_code, 16,
	"mov %cs, 0x5002; mov %sp, 0x5004; incw 0x5000; cli; 1: hlt; jmp 1b");

static void start(struct guest *g, const uint8_t *program)
{
	struct x86vcpu_apic_state apic = { .size = sizeof(apic) };
	struct x86vcpu_state state;

	CHECK_OK(x86vcpu_get_apic(g->vcpu, &apic));
	apic.registers[0x0d] = 1u << (24 + g->id); /* LDR */
	apic.registers[0x0f] = 0x1ff;              /* SVR: enabled */
	CHECK_OK(x86vcpu_set_apic(g->vcpu, &apic));
	guest_state(g, &state);
	state.rsp = GUEST_STACK - 0x800 * g->id;
	state.regs.rbx = APIC_AT;
	state.regs.rsi = guest_label(&ipi_code, program);
	state.regs.r9 = (uint64_t)!g->id << 24;
	state.regs.r14 = COUNTERS(g->id);
	CHECK_OK(x86vcpu_set_state(g->vcpu, X86VCPU_STATE_GPRS, &state));
}

/* Both are bound to this CPU. */
static void boot_with_slices(const uint8_t *program0, const uint8_t *program1, uint64_t slice_ns)
{
	struct guest *g = &vcpus[0];

	guest_init(g, 0);
	guest_init_other(&vcpus[1], g, 1);
	vcpus[0].config.time_slice_ns = vcpus[1].config.time_slice_ns = slice_ns;
	guest_start(g, GUEST_LONG, &ipi_code);
	guest_start(&vcpus[1], GUEST_LONG, &ipi_code);
	guest_set_pte(g, APIC_AT, UINT64_C(0xfee00000) | PTE_P | PTE_W);
	guest_set_gate(g, NMI, guest_label(&ipi_code, ipi_nmi));
	for (unsigned v = 32; v < 256; v++)
		guest_set_gate(g, v, guest_label(&ipi_code, ipi_gates) + (v - 32) * 16);
	memcpy(g->ram + REAL_CODE, real_code.begin, (size_t)(real_code.end - real_code.begin));
	memcpy(g->ram + REAL_CODE + 0x1000, real_code.begin, (size_t)(real_code.end - real_code.begin));
	start(&vcpus[0], program0);
	start(&vcpus[1], program1);
}

/* Nothing but what they are sent brings them back to the host: a kick that is lost is missed. */
static void boot(const uint8_t *program0, const uint8_t *program1)
{
	boot_with_slices(program0, program1, UINT64_C(1000000000000));
}

static uint32_t load(const uint32_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

/* How often `vcpu` has taken `vector`. */
static uint32_t taken(unsigned vcpu, unsigned vector)
{
	return load((const uint32_t *)(const void *)(vcpus[0].ram + COUNTERS(vcpu) + 4 * vector));
}

/*
 * The first CPU waits for what happens on the second. Where host_begin_there has started ticks it halts meanwhile: an
 * emulator's two CPUs may have to share one.
 */
static void relax(void)
{
	if (host_ticks)
		cpu_wait_for_interrupt();
	else
		cpu_take_interrupts();
}

static void await(unsigned vcpu, unsigned vector, uint32_t count)
{
	while (taken(vcpu, vector) < count)
		relax();
	CHECK_EQ(taken(vcpu, vector), count);
}

/* ---- The host: a thread for each vCPU --------------------------------------------------------------------------- */

static struct {
	uint32_t woken[2]; /* by vCPU */
	uint32_t stop;
	uint32_t called;  /* a bit per vCPU: it has made VMCALL 2 */
	uint32_t nothing; /* exits of that kind */
	uint32_t waits;   /* vCPU 1 has said that it waits for a start-up IPI, or that it is halted */
	bool by_nmi;
} host;

static void notify(void *machine, void *vcpu, uint32_t cpu)
{
	const struct guest *notified = vcpu;

	CHECK(machine == &vcpus[0] && (notified == &vcpus[0] || notified == &vcpus[1]));
	if (cpu == X86VCPU_NO_CPU) {
		__atomic_store_n(&host.woken[notified->id], 1, __ATOMIC_SEQ_CST);
		cpu_kick(notified->id, false); /* which waits there, if it has a CPU to itself */
	} else {
		cpu_kick(cpu, host.by_nmi);
	}
}

static void ignore(struct trap_frame *frame)
{
	(void)frame;
}

static void host_begin(bool by_nmi)
{
	platform_notify = notify;
	host.by_nmi = by_nmi;
	trap_set_handler(HOST_NMI, ignore);
}

/* One run. False: the vCPU does not go on before it is notified. */
static bool run_once(struct guest *g)
{
	CHECK_OK(x86vcpu_run(g->vcpu, &g->exit));
	switch (g->exit.kind) {
	case X86VCPU_EXIT_NOTHING:
		__atomic_fetch_add(&host.nothing, g->id, __ATOMIC_RELEASE);
		return true;
	case X86VCPU_EXIT_PREEMPTION_TIMER:
		return true;
	case X86VCPU_EXIT_HYPERCALL:
		CHECK_EQ(g->exit.u.hypercall.nr, 2);
		__atomic_fetch_or(&host.called, 1u << g->id, __ATOMIC_RELEASE);
		return false;
	case X86VCPU_EXIT_HALT:
	case X86VCPU_EXIT_WAIT_FOR_SIPI:
		return false;
	default:
		FAIL("vCPU %u: %s", g->id, x86vcpu_exit_name(g->exit.kind));
	}
}

static void wait_until_woken(struct guest *g)
{
	if (g->id)
		__atomic_store_n(&host.waits, g->exit.kind, __ATOMIC_RELEASE);
	while (!__atomic_exchange_n(&host.woken[g->id], 0, __ATOMIC_SEQ_CST) && !load(&host.stop) &&
	       !(load(&host.called) >> g->id & 1))
		cpu_wait_for_interrupt();
	if (g->id)
		__atomic_store_n(&host.waits, X86VCPU_EXIT_NOTHING, __ATOMIC_RELEASE);
}

/* A vCPU's thread: until the host says stop, or the guest is done. */
static void run_thread(void *arg)
{
	struct guest *g = arg;

	if (g->id)
		CHECK_OK(x86vcpu_bind(g->vcpu));
	while (!load(&host.stop) && !(load(&host.called) >> g->id & 1))
		if (!run_once(g))
			wait_until_woken(g);
	if (g->id)
		CHECK_OK(x86vcpu_unbind(g->vcpu));
}

/* vCPU 1's thread runs on the second CPU from here to host_end. */
static void host_begin_there(bool by_nmi)
{
	host_begin(by_nmi);
	second_cpu_start_enabled();
	host_tick_start();
	host_ticks = on_svm();
	CHECK_OK(x86vcpu_unbind(vcpus[1].vcpu));
	second_cpu_begin(run_thread, &vcpus[1]);
}

static void host_end(void)
{
	__atomic_store_n(&host.stop, 1, __ATOMIC_RELEASE);
	CHECK_OK(x86vcpu_request_exit(vcpus[1].vcpu));
	second_cpu_wait();
}

/* ---- Every kind of fixed interrupt and NMI --------------------------------------------------------------------- */

/* What vCPU 0 writes to its ICR, and which vCPUs (a bit each) take `vector` from it. */
static const struct {
	uint32_t high, low;
	unsigned vector, takers;
} sendings[] = {
	{ 1u << 24, 0x4051, 0x51, 2 },          /* fixed, physical */
	{ 0, 0x4052, 0x52, 1 },                 /* to itself by its ID */
	{ 0xffu << 24, 0x4053, 0x53, 3 },       /* to all by the ID of all */
	{ 7u << 24, 0x4054, 0x54, 0 },          /* to nobody */
	{ 2u << 24, 0x4855, 0x55, 2 },          /* logical, flat */
	{ 3u << 24, 0x4856, 0x56, 3 },
	{ 2u << 24, 0x4957, 0x57, 2 },          /* lowest priority among one */
	{ 1u << 24, 0x44058, 0x58, 1 },         /* shorthands: self, */
	{ 0, 0x84059, 0x59, 3 },                /* all, */
	{ 0, 0xc405a, 0x5a, 2 },                /* all but self */
	{ 1u << 24, 0x440f, 2, 2 },             /* an NMI's vector does not matter */
	{ 2u << 24, 0x4c00, 2, 2 },
	{ 0, 0xc4400, 2, 2 },
	{ 0, 0x44400, 2, 0 },                   /* NMI to itself: no such combination (SDM table 12-3) */
	{ 1u << 24, 0x0060, 0x60, 2 },          /* the level does not matter */
	{ 1u << 24, 0xc061, 0x61, 2 },          /* nor the trigger mode */
};
#define SENDINGS (sizeof(sendings) / sizeof(sendings[0]))

static void send_from_0(unsigned i)
{
	guest_set_reg(&vcpus[0], R9, sendings[i].high);
	guest_set_reg(&vcpus[0], R10, sendings[i].low);
	guest_run_call(&vcpus[0], 1);
}

METAL_TEST(here, "ipi.every_kind_on_one_cpu")
{
	host_begin(false);
	boot(ipi_sends, ipi_sends);
	guest_run_call(&vcpus[0], 1);
	guest_run_call(&vcpus[1], 1);
	for (unsigned i = 0; i < SENDINGS; i++) {
		const unsigned vector = sendings[i].vector, takers = sendings[i].takers;
		const uint32_t before[] = { taken(0, vector), taken(1, vector) };

		send_from_0(i);
		guest_run_call(&vcpus[1], 1); /* R10 is 0 */
		for (unsigned v = 0; v < 2; v++)
			if (taken(v, vector) != before[v] + (takers >> v & 1))
				FAIL("sending %u: vCPU %u took %u", i, v, taken(v, vector) - before[v]);
	}
}

static void every_kind_there(const uint8_t *program)
{
	boot(ipi_sends, program);
	guest_run_call(&vcpus[0], 1);
	host_begin_there(false);
	for (unsigned round = 0; round < 3; round++)
		for (unsigned i = 0; i < SENDINGS; i++) {
			const unsigned vector = sendings[i].vector, takers = sendings[i].takers;
			const uint32_t before[] = { taken(0, vector), taken(1, vector) };

			send_from_0(i);
			for (unsigned v = 0; v < 2; v++)
				await(v, vector, before[v] + (takers >> v & 1));
		}
	host_end();
}

METAL_TEST(there_spins, "ipi.every_kind_to_a_guest_that_spins", .cpus = 2)
{
	every_kind_there(ipi_spins);
}

METAL_TEST(there_halts, "ipi.every_kind_to_a_guest_that_halts", .cpus = 2)
{
	every_kind_there(ipi_halts);
}

/* ---- Back and forth --------------------------------------------------------------------------------------------- */

static void begin_ping_pong(bool halted, uint32_t rounds, uint64_t slice_ns)
{
	boot_with_slices(ipi_pings, ipi_pongs, slice_ns);
	for (unsigned v = 0; v < 2; v++) {
		guest_set_reg(&vcpus[v], RBP, halted);
		guest_set_reg(&vcpus[v], R15, rounds);
	}
}

static void check_ping_pong(uint32_t rounds)
{
	CHECK_EQ(host.called, 3);
	CHECK_EQ(taken(0, VECTOR), rounds);
	CHECK_EQ(taken(1, VECTOR), rounds);
}

static void ping_pong_there(bool halted, uint32_t rounds)
{
	begin_ping_pong(halted, rounds, UINT64_C(1000000000000));
	host_begin(false);
	second_cpu_start_enabled();
	CHECK_OK(x86vcpu_unbind(vcpus[1].vcpu));
	second_cpu_begin(run_thread, &vcpus[1]);
	run_thread(&vcpus[0]);
	second_cpu_wait();
	check_ping_pong(rounds);
}

METAL_TEST(ping_spins, "ipi.ping_pong_of_guests_that_spin", .cpus = 2)
{
	ping_pong_there(false, 200);
}

METAL_TEST(ping_halts, "ipi.ping_pong_of_guests_that_halt", .cpus = 2)
{
	ping_pong_there(true, 200);
}

static void ping_pong_here(bool halted, uint32_t rounds)
{
	begin_ping_pong(halted, rounds, 50000);
	host_begin(false);
	host_tick_start();
	while (host.called != 3)
		for (unsigned v = 0; v < 2; v++)
			if (!(host.called >> v & 1))
				run_once(&vcpus[v]);
	check_ping_pong(rounds);
}

METAL_TEST(ping_spins_here, "ipi.ping_pong_on_one_cpu_spinning")
{
	ping_pong_here(false, 20);
}

METAL_TEST(ping_halts_here, "ipi.ping_pong_on_one_cpu_halted")
{
	ping_pong_here(true, 200);
}

/* ---- INIT and start-up ------------------------------------------------------------------------------------------- */

static void write_icr(uint32_t high, uint32_t low)
{
	guest_set_reg(&vcpus[0], R9, high);
	guest_set_reg(&vcpus[0], R10, low);
	guest_run_call(&vcpus[0], 1);
}

static void check_started(uint32_t starts, uint32_t segment)
{
	struct guest *g = &vcpus[0];

	CHECK_EQ(guest_load(g, REAL_COUNT, 2), starts);
	CHECK_EQ(guest_load(g, REAL_COUNT + 2, 2), segment);
	CHECK_EQ(guest_load(g, REAL_COUNT + 4, 2), 0); /* SP after INIT */
}

/* In order: INIT, assertion and de-assertion; start-up; a second one, without effect; again by shorthand. */
METAL_TEST(startup_here, "ipi.init_and_startup_on_one_cpu")
{
	struct guest *ap = &vcpus[1];
	struct x86vcpu_state state;

	host_begin(false);
	boot(ipi_sends, ipi_halts);
	guest_run_call(&vcpus[0], 1);
	guest_run_until(ap, X86VCPU_EXIT_HALT);
	write_icr(1u << 24, 0x460a); /* without INIT */
	guest_run_until(ap, X86VCPU_EXIT_HALT);
	guest_state(ap, &state);
	CHECK_EQ(state.segments[X86VCPU_SEGMENT_CS].selector, GUEST_CS64);
	CHECK_OK(x86vcpu_inject_interrupt(ap->vcpu, 0x77)); /* gone with INIT */
	write_icr(1u << 24, 0xc500);
	write_icr(1u << 24, 0x8500);
	for (unsigned i = 0; i < 3; i++)
		guest_run_until(ap, X86VCPU_EXIT_WAIT_FOR_SIPI);
	write_icr(1u << 24, 0x460a);
	guest_run_until(ap, X86VCPU_EXIT_HALT);
	check_started(1, 0xa00);
	write_icr(1u << 24, 0x460b);
	guest_run_until(ap, X86VCPU_EXIT_HALT);
	check_started(1, 0xa00);
	write_icr(0, 0xc4500);
	guest_run_until(ap, X86VCPU_EXIT_WAIT_FOR_SIPI);
	write_icr(0, 0xc460b);
	guest_run_until(ap, X86VCPU_EXIT_HALT);
	check_started(2, 0xb00);
	CHECK_EQ(taken(1, 0x77), 0);
}

static void await_kind(uint32_t kind)
{
	while (load(&host.waits) != kind)
		relax();
}

/* The same with the other on a CPU of its own, spinning in 64-bit mode when the first INIT hits it. */
METAL_TEST(startup_there, "ipi.init_and_startup_on_the_other_cpu", .cpus = 2)
{
	boot(ipi_sends, ipi_spins);
	guest_run_call(&vcpus[0], 1);
	host_begin_there(false);
	for (unsigned i = 0; i < 20; i++) {
		write_icr(i & 1 ? 0 : 1u << 24, i & 1 ? 0xc4500 : 0x4500);
		await_kind(X86VCPU_EXIT_WAIT_FOR_SIPI);
		write_icr(1u << 24, 0x460a + (i & 1));
		await_kind(X86VCPU_EXIT_HALT);
		check_started(i + 1, 0xa00 + (i & 1) * 0x100);
	}
	host_end();
}

/* INIT and start-up at once: no more than the second may be missing in between. */
METAL_TEST(startup_at_once, "ipi.startup_right_behind_init", .cpus = 2)
{
	boot(ipi_sends, ipi_halts);
	guest_run_call(&vcpus[0], 1);
	host_begin_there(false);
	for (unsigned i = 0; i < 20; i++) {
		write_icr(1u << 24, 0x4500);
		write_icr(1u << 24, 0x460a);
		while (guest_load(&vcpus[0], REAL_COUNT, 2) != i + 1)
			relax();
	}
	host_end();
}

/* ---- The host posts from the other CPU ----------------------------------------------------------------------------- */

static void send_message(uint8_t delivery, uint8_t vector)
{
	const struct x86vcpu_message message = {
		.size = sizeof(message), .destination = 1, .delivery = delivery, .vector = vector
	};
	uint64_t accepted = 0;

	CHECK_OK(x86vcpu_machine_deliver_message(vcpus[0].machine, &message, &accepted));
	CHECK_EQ(accepted, 2);
}

static void await_nothing(uint32_t before)
{
	while (load(&host.nothing) == before)
		relax();
}

/* SVM has no window for an NMI that waits for the IRET of another while IF is 0: the guest is out of its handler. */
static void await_iret(const uint8_t *program)
{
	const uint32_t before = taken(1, 0);

	if (!on_svm() || program != ipi_spins_off)
		return;
	while (taken(1, 0) == before)
		relax();
}

static void post_nmis(const uint8_t *program, unsigned rounds)
{
	for (unsigned i = 0; i < rounds; i++) {
		const uint32_t nmis = taken(1, NMI), nothing = load(&host.nothing);

		CHECK_OK(x86vcpu_inject_nmi(vcpus[1].vcpu));
		await(1, NMI, nmis + 1);
		await_iret(program);
		send_message(X86VCPU_DELIVERY_NMI, 0);
		await(1, NMI, nmis + 2);
		await_iret(program);
		CHECK_OK(x86vcpu_request_exit(vcpus[1].vcpu));
		await_nothing(nothing);
	}
}

/* Each must be taken before the next is posted. */
static void post_there(const uint8_t *program)
{
	boot(ipi_sends, program);
	host_begin_there(false);
	for (uint32_t i = 1; i <= 100; i++) {
		CHECK_OK(x86vcpu_inject_interrupt(vcpus[1].vcpu, VECTOR));
		await(1, VECTOR, i);
		send_message(X86VCPU_DELIVERY_FIXED, 0x42);
		await(1, 0x42, i);
		send_message(X86VCPU_DELIVERY_LOWEST_PRIORITY, 0x43);
		await(1, 0x43, i);
	}
	post_nmis(program, 50);
	host_end();
}

METAL_TEST(post_spins, "ipi.host_posts_to_a_guest_that_spins", .cpus = 2)
{
	post_there(ipi_spins);
}

METAL_TEST(post_halts, "ipi.host_posts_to_a_guest_that_halts", .cpus = 2)
{
	post_there(ipi_halts);
}

/* With interrupts off only NMIs get in; Bochs shows the host's kicks only as NMIs then. */
METAL_TEST(post_off, "ipi.host_posts_nmis_to_a_guest_with_interrupts_off", .cpus = 2)
{
	boot(ipi_sends, ipi_spins_off);
	host_begin_there(true);
	post_nmis(ipi_spins_off, 100);
	host_end();
}
