/* SPDX-License-Identifier: Apache-2.0 */
/* MSRs: the guest's own, the forwarded, the refused, and the host's, which stay as they are. */
#include "guest.h"

static struct guest g;

/*
 * Reads (RBP = 0) or writes MSR ECX, then VMCALL 1 with EAX and EDX in RDI and RSI. In a loop: the host
 * sets ECX, EAX, EDX and RBP before each run.
 */
GUEST_CODE_BLOB(msr_code, 64,
	"1: mov $1, %eax; vmcall; mov %r8, %rcx; mov %r9, %rax; mov %r10, %rdx; test %rbp, %rbp; jnz 2f;"
	".globl msr_read_at, msr_write_at; msr_read_at: rdmsr; mov %rax, %rdi; mov %rdx, %rsi; jmp 1b;"
	"2: msr_write_at: wrmsr; jmp 1b");
extern const uint8_t msr_read_at[], msr_write_at[];

static void boot(void)
{
	guest_boot(&g, GUEST_LONG, &msr_code);
	guest_run_call(&g, 1);
}

static void begin_read(uint64_t msr)
{
	guest_set_reg(&g, R8, msr);
	guest_set_reg(&g, R9, UINT64_MAX);
	guest_set_reg(&g, R10, UINT64_MAX);
	guest_set_reg(&g, RBP, 0);
}

static void begin_write(uint64_t msr, uint64_t value)
{
	guest_set_reg(&g, R8, msr);
	guest_set_reg(&g, R9, value | UINT64_C(0xabcdef0100000000));
	guest_set_reg(&g, R10, value >> 32 | UINT64_C(0xabcdef0100000000));
	guest_set_reg(&g, RBP, 1);
}

static uint64_t result(void)
{
	CHECK_EQ(guest_reg(&g, RDI) >> 32, 0);
	CHECK_EQ(guest_reg(&g, RSI) >> 32, 0);
	return guest_reg(&g, RSI) << 32 | guest_reg(&g, RDI);
}

static uint64_t guest_rdmsr(uint64_t msr)
{
	begin_read(msr);
	guest_run_call(&g, 1);
	return result();
}

static void guest_wrmsr(uint64_t msr, uint64_t value)
{
	begin_write(msr, value);
	guest_run_call(&g, 1);
}

static void expect_gp_at(const uint8_t *label)
{
	guest_run_trap(&g, 13, 0, guest_label(&msr_code, label));
	guest_return_to(&g, guest_label(&msr_code, label) + 2);
	guest_run_call(&g, 1);
}

static void expect_read_gp(uint64_t msr)
{
	begin_read(msr);
	expect_gp_at(msr_read_at);
}

static void expect_write_gp(uint64_t msr, uint64_t value)
{
	begin_write(msr, value);
	expect_gp_at(msr_write_at);
}

/* ---- EFER ------------------------------------------------------------------------------------------------ */

METAL_TEST(efer, "msr.efer")
{
	boot();
	CHECK_EQ(guest_rdmsr(0xc0000080), 0xd01);
	guest_wrmsr(0xc0000080, 0xd00); /* SCE off */
	CHECK_EQ(guest_rdmsr(0xc0000080), 0xd00);
	guest_wrmsr(0xc0000080, 0x901); /* LMA is not a write's to change */
	CHECK_EQ(guest_rdmsr(0xc0000080), 0xd01);
}

METAL_TEST(efer_refused, "msr.efer_gp")
{
	boot();
	expect_write_gp(0xc0000080, 0xd03);               /* reserved */
	expect_write_gp(0xc0000080, 0x1d01);              /* SVME */
	expect_write_gp(0xc0000080, UINT64_C(1) << 40 | 0xd01);
	expect_write_gp(0xc0000080, 0xc01);               /* LME off while paging is on */
	CHECK_EQ(guest_rdmsr(0xc0000080), 0xd01);
}

/* ---- The guest's own, and the host's ------------------------------------------------------------------ */

static const struct {
	uint32_t index;
	uint64_t value;
} own[] = {
	{ 0xc0000081, 0x0013000800112233 }, { 0xc0000082, 0xffff888811110000 },
	{ 0xc0000083, 0xffff888822220000 }, { 0xc0000084, 0x700 },
	{ 0xc0000100, 0x0000123456780000 }, { 0xc0000101, 0xffff888833330000 },
	{ 0xc0000102, 0xffff888844440000 }, { 0x174, 0x10 },
	{ 0x175, 0xffff888855550000 },      { 0x176, 0xffff888866660000 },
	{ 0x277, 0x0007040600070406 },      { 0xc0000103, 0x1234 },
};
#define OWN (sizeof(own) / sizeof(own[0]))

METAL_TEST(kept, "msr.own_values_are_kept_and_the_hosts_too")
{
	struct host_snapshot before;

	host_enable();
	host_paint();
	host_snapshot(&before);
	boot();
	host_check_unchanged(&before);
	for (size_t i = 0; i < OWN; i++) {
		guest_wrmsr(own[i].index, own[i].value);
		host_check_unchanged(&before);
	}
	for (size_t i = 0; i < OWN; i++)
		CHECK_EQ(guest_rdmsr(own[i].index), own[i].value);
	guest_destroy(&g);
	host_check_unchanged(&before);
}

METAL_TEST(reset_values, "msr.reset_values")
{
	host_enable();
	host_paint();
	boot();
	CHECK_EQ(guest_rdmsr(0xc0000082), 0);
	CHECK_EQ(guest_rdmsr(0xc0000102), 0);
	CHECK_EQ(guest_rdmsr(0x175), 0);
	CHECK_EQ(guest_rdmsr(0x277), 0x0007040600070406); /* SDM 12.12.4 */
}

METAL_TEST(canonical, "msr.addresses_must_be_canonical",
	   .qemu_svm_gap = "WRMSR to FS_BASE takes an address that is not canonical")
{
	static const uint32_t addresses[] = { 0xc0000082, 0xc0000083, 0xc0000100, 0xc0000101, 0xc0000102, 0x175, 0x176 };

	boot();
	for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++)
		expect_write_gp(addresses[i], UINT64_C(0x0000800000000000));
	expect_write_gp(0x277, 2); /* a reserved PAT type */
}

GUEST_CODE_BLOB(swapgs_code, 64,
	"mov $0xc0000101, %ecx; mov $0x1000, %eax; xor %edx, %edx; wrmsr; mov $0xc0000102, %ecx; mov $0x2000, %eax; wrmsr;"
	"swapgs; mov $1, %eax; vmcall; mov $0xc0000101, %ecx; rdmsr; mov %eax, %edi; mov $0xc0000102, %ecx; rdmsr; mov %eax, %esi;"
	"mov $2, %eax; vmcall");

METAL_TEST(swapgs, "msr.swapgs_survives_an_exit")
{
	struct host_snapshot before;

	host_enable();
	host_paint();
	host_snapshot(&before);
	guest_boot(&g, GUEST_LONG, &swapgs_code);
	guest_run_call(&g, 1);
	host_check_unchanged(&before);
	guest_run_call(&g, 2);
	CHECK_EQ(g.exit.u.hypercall.args[0], 0x2000);
	CHECK_EQ(g.exit.u.hypercall.args[1], 0x1000);
}

METAL_TEST(tsc, "msr.writing_the_tsc_leaves_the_hosts")
{
	uint64_t before, value;

	boot();
	before = rdtsc();
	guest_wrmsr(0x10, UINT64_C(0x1000000000000));
	CHECK(rdtsc() - before < 10000000);
	value = guest_rdmsr(0x10);
	CHECK(value >= UINT64_C(0x1000000000000));
	CHECK(value < UINT64_C(0x1000000000000) + 10000000);
}

/* ---- Refused, or only pretended ----------------------------------------------------------------------- */

METAL_TEST(dangerous, "msr.dangerous_ones_are_gp")
{
	/* VMX capabilities, microcode loader, PEBS and PT areas, P-states, SMM base, SVM's. */
	static const uint32_t refused[] = {
		0x480, 0x48b, 0x79, 0x600, 0x560, 0x199, 0x9b, 0xc0010114, 0xc0010117, 0x985,
	};
	struct host_snapshot before;

	boot();
	host_snapshot(&before);
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		console_printf("msr %x\n", refused[i]);
		expect_write_gp(refused[i], 1);
		expect_read_gp(refused[i]);
	}
	host_check_unchanged(&before);
}

METAL_TEST(mtrr, "msr.mtrrs_are_the_guests_own")
{
	struct host_snapshot before;

	boot();
	host_snapshot(&before);
	guest_wrmsr(0x2ff, 0xc06);
	guest_wrmsr(0x200, 0x80000006);
	guest_wrmsr(0x250, UINT64_C(0x0606060606060606));
	host_check_unchanged(&before);
	CHECK_EQ(guest_rdmsr(0x2ff), 0xc06);
	CHECK_EQ(guest_rdmsr(0x200), 0x80000006);
	CHECK_EQ(guest_rdmsr(0x250), UINT64_C(0x0606060606060606));
	expect_write_gp(0x2ff, 2);
}

METAL_TEST(misc_enable, "msr.misc_enable")
{
	boot();
	/* Bochs has no such MSR: a host access would be #GP. Fast strings are on (bit 0). */
	CHECK(guest_rdmsr(0x1a0) & 1);
	CHECK_EQ(guest_rdmsr(0x3a) & 1, 1);
}

METAL_TEST(apic_base, "msr.bad_apic_base_is_no_crash")
{
	struct host_snapshot before;

	boot();
	host_snapshot(&before);
	expect_write_gp(0x1b, 0xfee00400);
	expect_write_gp(0x1b, UINT64_MAX);
	expect_write_gp(0x808, 0);
	expect_read_gp(0x800);
	expect_read_gp(0x802);
	host_check_unchanged(&before);
}

/* ---- The VMM's ------------------------------------------------------------------------------------------- */

METAL_TEST(forwarded_read, "msr.unknown_read_is_forwarded")
{
	boot();
	begin_read(UINT64_C(0xffffffff40000080));
	guest_run_until(&g, X86VCPU_EXIT_MSR_READ);
	CHECK_EQ(g.exit.u.msr.index, 0x40000080);
	CHECK_EQ(guest_rip(&g), guest_label(&msr_code, msr_read_at));
	CHECK_OK(x86vcpu_complete_read(g.vcpu, 0x1122334455667788));
	CHECK_EQ(guest_rip(&g), guest_label(&msr_code, msr_read_at) + 2);
	guest_run_call(&g, 1);
	CHECK_EQ(result(), 0x1122334455667788);
}

METAL_TEST(forwarded_set_gpr, "msr.read_answered_with_set_gpr")
{
	boot();
	begin_read(0x40000080);
	guest_run_until(&g, X86VCPU_EXIT_MSR_READ);
	guest_set_reg(&g, RAX, 0x1122334455667788);
	guest_run_call(&g, 1);
	CHECK_EQ(result(), 0x1122334455667788);
}

METAL_TEST(forwarded_write, "msr.unknown_write_is_forwarded")
{
	boot();
	begin_write(0x40000081, 0x99aabbccddeeff00);
	guest_run_until(&g, X86VCPU_EXIT_MSR_WRITE);
	CHECK_EQ(g.exit.u.msr.index, 0x40000081);
	CHECK_EQ(g.exit.u.msr.value, 0x99aabbccddeeff00);
	CHECK_STATUS(x86vcpu_complete_read(g.vcpu, 0), X86VCPU_ERR_BAD_STATE);
	CHECK_OK(x86vcpu_complete_write(g.vcpu));
	guest_run_call(&g, 1);
}

METAL_TEST(forwarded_fault, "msr.forwarded_access_refused_by_the_vmm")
{
	boot();
	begin_read(0x40000080);
	guest_run_until(&g, X86VCPU_EXIT_MSR_READ);
	CHECK_OK(x86vcpu_complete_fault(g.vcpu));
	expect_gp_at(msr_read_at);
	begin_write(0x40000080, 1);
	guest_run_until(&g, X86VCPU_EXIT_MSR_WRITE);
	CHECK_OK(x86vcpu_complete_fault(g.vcpu));
	expect_gp_at(msr_write_at);
}

METAL_TEST(forwarded_unanswered, "msr.unanswered_access_counts_as_completed")
{
	boot();
	begin_read(0x40000080);
	guest_run_until(&g, X86VCPU_EXIT_MSR_READ);
	guest_run_call(&g, 1);
	begin_write(0x40000080, 1);
	guest_run_until(&g, X86VCPU_EXIT_MSR_WRITE);
	guest_run_call(&g, 1);
}

METAL_TEST(claimed, "msr.ranges_of_the_vmm")
{
	const struct x86vcpu_msr_range claimed[] = { { 0x1b, 0x1b }, { 0x800, 0x8ff }, { 0xc0000080, 0xc0000084 } };

	guest_init(&g, 0);
	g.config.msrs = claimed;
	g.config.msr_count = 3;
	guest_start(&g, GUEST_LONG, &msr_code);
	guest_run_call(&g, 1);
	begin_read(0x1b);
	guest_run_until(&g, X86VCPU_EXIT_MSR_READ);
	CHECK_OK(x86vcpu_complete_read(g.vcpu, 0xfee00900));
	guest_run_call(&g, 1);
	CHECK_EQ(result(), 0xfee00900);
	begin_write(0x83f, 0x31);
	guest_run_until(&g, X86VCPU_EXIT_MSR_WRITE);
	CHECK_OK(x86vcpu_complete_write(g.vcpu));
	guest_run_call(&g, 1);
	/* The library must own these to stay safe. */
	CHECK_EQ(guest_rdmsr(0xc0000080), 0xd01);
	guest_wrmsr(0xc0000082, 0x1000);
	CHECK_EQ(guest_rdmsr(0xc0000082), 0x1000);
}

GUEST_CODE_BLOB(user_msr_code, 64, "mov $0x10, %ecx; rdmsr; ud2");

METAL_TEST(user_msr, "msr.user_mode_is_gp")
{
	guest_init(&g, 0);
	guest_start_user(&g, GUEST_LONG, &user_msr_code);
	guest_run_trap(&g, 13, 0, GUEST_CODE + 5);
}

/* ---- The host's own ------------------------------------------------------------------------------------------ */

/* What CPUID does not announce is an error, and no #GP in the host; what it announces is there. */
METAL_TEST(host_msrs, "msr.hosts_that_are_not_there_are_an_error",
	   .models = "corei7_skylake_x corei7_sandy_bridge_2600k core2_penryn_t9600")
{
	static const uint32_t firsts[] = {0, 0x40000000, 0xc0000000, 0xc0010000};
	static const uint32_t everywhere[] = {0x10, 0x1b, 0x174, 0x277, 0xc0000080, 0xc0000082, 0xc0000102};
	uint64_t value;
	unsigned there = 0;

	for (unsigned i = 0; i < sizeof(firsts) / sizeof(firsts[0]); i++) {
		for (uint32_t msr = firsts[i]; msr < firsts[i] + 0x1fff; msr++) {
			const int32_t exists = x86vcpu_msr_exists(msr);

			/* Bochs announces MCA and SVM without IA32_MCG_CAP, IA32_MCG_STATUS and VM_CR. */
			if (msr == 0x179 || msr == 0x17a || msr == 0xc0010114)
				continue;
			CHECK_STATUS(x86vcpu_msr_read(msr, &value), exists ? X86VCPU_OK : X86VCPU_ERR_UNSUPPORTED);
			there += (unsigned)exists;
		}
	}
	CHECK(there > 20);
	for (unsigned i = 0; i < sizeof(everywhere) / sizeof(everywhere[0]); i++)
		CHECK_EQ(x86vcpu_msr_exists(everywhere[i]), 1);
	CHECK_STATUS(x86vcpu_msr_write(0x40000000, 0), X86VCPU_ERR_UNSUPPORTED);
	CHECK_STATUS(x86vcpu_msr_read(0x10, NULL), X86VCPU_ERR_INVALID_INPUT);
	CHECK_OK(x86vcpu_msr_read(0xc0000102, &value));
	CHECK_OK(x86vcpu_msr_write(0xc0000102, 0x12345000));
	CHECK_EQ(rdmsr(0xc0000102), 0x12345000);
	wrmsr(0xc0000102, value);
}
