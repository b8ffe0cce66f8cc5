/* SPDX-License-Identifier: Apache-2.0 */
/* CPUID, VMCALL, HLT and the instructions that a guest cannot have. */
#include "guest.h"

#define CPUID_1_ECX_OSXSAVE (1u << 27)
#define CR4_OSXSAVE (UINT64_C(1) << 18)

static struct guest g;

/* ---- Every model ------------------------------------------------------------------------------------- */

GUEST_CODE_BLOB(model_code, 64,
	"xor %eax, %eax; cpuid; mov %ebx, %edi; mov %edx, %esi; mov %ecx, %r8d;"
	"mov $0x1234, %eax; mov $0x11, %edx; mov $0x22, %ecx; mov $0x33, %r9d; vmcall;"
	"mov %rax, %rdi; mov $0x1235, %eax; vmcall");

METAL_TEST(model_long, "model.64bit_guest", .models = METAL_ALL_MODELS)
{
	const struct host_cpuid vendor = host_cpuid(0, 0);

	guest_boot(&g, GUEST_LONG, &model_code);
	guest_run_call(&g, 0x1234);
	CHECK_EQ(g.exit.u.hypercall.args[0], vendor.ebx);
	CHECK_EQ(g.exit.u.hypercall.args[1], vendor.edx);
	CHECK_EQ(g.exit.u.hypercall.args[2], 0x11);
	CHECK_EQ(g.exit.u.hypercall.args[3], 0x22);
	CHECK_EQ(g.exit.u.hypercall.args[4], vendor.ecx);
	CHECK_EQ(g.exit.u.hypercall.args[5], 0x33);
	CHECK_OK(x86vcpu_set_return_value(g.vcpu, 0xabcdef0123456789));
	guest_run_call(&g, 0x1235);
	CHECK_EQ(g.exit.u.hypercall.args[0], 0xabcdef0123456789);
}

GUEST_CODE_BLOB(model_real_code, 16,
	"movl $1, %eax; cpuid; movl %eax, %edi; movl $0x4321, %eax; vmcall; outb %al, $0x80; hlt");

METAL_TEST(model_real, "model.real_mode_guest", .models = METAL_ALL_MODELS)
{
	guest_boot(&g, GUEST_REAL, &model_real_code);
	guest_run_call(&g, 0x4321);
	CHECK_EQ(g.exit.u.hypercall.args[0] & 0xfff0ff0, host_cpuid(1, 0).eax & 0xfff0ff0);
	guest_run_until(&g, X86VCPU_EXIT_PORT_IO_WRITE);
	guest_run_until(&g, X86VCPU_EXIT_HALT);
}

GUEST_CODE_BLOB(mode_code32, 32,
	"mov $0xffffffff, %ecx; mov $0x4321, %eax; vmcall; mov $1, %eax; cpuid; mov %eax, %edi; mov $2, %eax; vmcall");

static void run_in_32bit_mode(enum guest_mode mode)
{
	guest_boot(&g, mode, &mode_code32);
	guest_run_call(&g, 0x4321);
	CHECK_EQ(g.exit.u.hypercall.args[3], 0xffffffff);
	guest_run_call(&g, 2);
	CHECK(g.exit.u.hypercall.args[0]);
}

METAL_TEST(mode_protected, "model.32bit_guest_without_paging") { run_in_32bit_mode(GUEST_PROTECTED); }
METAL_TEST(mode_paging32, "model.32bit_guest_with_paging") { run_in_32bit_mode(GUEST_PAGING32); }
METAL_TEST(mode_pae, "model.pae_guest") { run_in_32bit_mode(GUEST_PAE); }

/* ---- CPUID --------------------------------------------------------------------------------------------- */

GUEST_CODE_BLOB(cpuid_code, 64,
	"1: mov %r8, %rax; mov %r9, %rcx; cpuid; mov %rax, %r10; mov %rbx, %r11; mov %rcx, %r12; mov %rdx, %r13;"
	"mov $1, %eax; vmcall; jmp 1b");

struct cpuid_answer {
	uint64_t eax, ebx, ecx, edx;
};

static struct cpuid_answer guest_cpuid(uint64_t leaf, uint64_t subleaf)
{
	guest_set_reg(&g, R8, leaf);
	guest_set_reg(&g, R9, subleaf);
	guest_run_call(&g, 1);
	return (struct cpuid_answer){
		guest_reg(&g, R10), guest_reg(&g, R11), guest_reg(&g, R12), guest_reg(&g, R13)
	};
}

METAL_TEST(cpuid_1, "cpuid.leaf_1")
{
	struct cpuid_answer a;

	guest_init(&g, 5);
	guest_start(&g, GUEST_LONG, &cpuid_code);
	a = guest_cpuid(1, 0);
	CHECK_EQ(a.eax, host_cpuid(1, 0).eax);
	CHECK_EQ(a.ebx >> 24, 5);            /* initial APIC ID */
	CHECK(a.ecx >> 31 & 1);              /* a hypervisor is present */
	CHECK_EQ(a.ecx & 1u << 5, 0);        /* VMX */
	CHECK_EQ(a.ecx & 1u << 3, 0);        /* MONITOR */
	CHECK_EQ(a.ecx & 1u << 15, 0);       /* PDCM */
	CHECK(a.edx & 1u << 6);              /* PAE */
	CHECK(a.ecx & 1u << 26);             /* XSAVE */
	CHECK_EQ((a.eax | a.ebx | a.ecx | a.edx) >> 32, 0);
}

METAL_TEST(cpuid_7, "cpuid.leaf_7_ignores_the_upper_half_of_rcx")
{
	struct cpuid_answer a, b;

	guest_boot(&g, GUEST_LONG, &cpuid_code);
	a = guest_cpuid(7, 0);
	b = guest_cpuid(UINT64_C(0xffffffff00000007), UINT64_C(1) << 32);
	CHECK_EQ(a.ebx, b.ebx);
	CHECK_EQ(a.ecx, b.ecx);
	CHECK_EQ(a.edx, b.edx);
	CHECK_EQ(a.ecx & 1u << 16, host_cpuid(7, 0).ecx & 1u << 16); /* LA57 */
	CHECK_EQ(a.ecx & 1u << 5, 0);  /* WAITPKG */
}

METAL_TEST(cpuid_hypervisor, "cpuid.hypervisor_leaves")
{
	struct cpuid_answer a;

	guest_boot(&g, GUEST_LONG, &cpuid_code);
	a = guest_cpuid(0x40000000, 0);
	CHECK_EQ(a.eax, 0x40000001);
	CHECK_EQ(a.ebx, 0x524d5652); /* "RVMR" */
	CHECK_EQ(a.ecx, 0x56524d56); /* "VMRV" */
	CHECK_EQ(a.edx, 0x4d56524d); /* "MRVM" */
	a = guest_cpuid(0x40000002, 0);
	CHECK_EQ(a.eax | a.ebx | a.ecx | a.edx, 0);
	a = guest_cpuid(0x4fffffff, 0);
	CHECK_EQ(a.eax | a.ebx | a.ecx | a.edx, 0);
}

METAL_TEST(cpuid_beyond, "cpuid.leaf_beyond_the_highest")
{
	struct cpuid_answer highest, beyond;
	uint64_t max;

	guest_boot(&g, GUEST_LONG, &cpuid_code);
	max = guest_cpuid(0, 0).eax;
	highest = guest_cpuid(max, 0);
	beyond = guest_cpuid(0x1234567, 0);
	/* Intel repeats the highest basic leaf there, AMD answers zeros (Vol. 3, 2.2 of its manual). */
	CHECK_EQ(beyond.eax, on_svm() ? 0 : highest.eax);
	CHECK_EQ(beyond.ebx, on_svm() ? 0 : highest.ebx);
	CHECK_EQ(guest_cpuid(0x80000000, 0).eax, 0x80000008);
	CHECK_EQ(guest_cpuid(0x80000001, 0).ecx & 4, 0); /* SVM */
}

GUEST_CODE_BLOB(osxsave_code, 64,
	"mov $1, %eax; cpuid; mov %ecx, %r8d; mov %cr4, %rax; bts $18, %rax; mov %rax, %cr4;"
	"mov $1, %eax; cpuid; mov %ecx, %r9d; xor %ecx, %ecx; xgetbv; mov %eax, %r10d;"
	"mov $0xd, %eax; xor %ecx, %ecx; cpuid; mov %ebx, %r11d; mov %eax, %r13d;"
	"xor %ecx, %ecx; xor %edx, %edx; mov $7, %eax; xsetbv;"
	"mov $0xd, %eax; xor %ecx, %ecx; cpuid; mov %ebx, %r12d;"
	"mov %cr4, %rax; btr $18, %rax; mov %rax, %cr4; mov $1, %eax; cpuid; mov %ecx, %r14d;"
	"mov $1, %eax; vmcall");

METAL_TEST(cpuid_osxsave, "cpuid.osxsave_and_xsave_size_follow_the_guest")
{
	guest_boot(&g, GUEST_LONG, &osxsave_code);
	guest_run_call(&g, 1);
	CHECK_EQ(guest_reg(&g, R8) & CPUID_1_ECX_OSXSAVE, 0);
	CHECK(guest_reg(&g, R9) & CPUID_1_ECX_OSXSAVE);
	CHECK_EQ(guest_reg(&g, R14) & CPUID_1_ECX_OSXSAVE, 0);
	CHECK_EQ(guest_reg(&g, R10), 1);         /* XCR0 after reset */
	CHECK_EQ(guest_reg(&g, R11), 512 + 64);  /* legacy area and header */
	CHECK_EQ(guest_reg(&g, R12), 832);       /* and AVX's 256 bytes */
	CHECK_EQ(guest_reg(&g, R13) & ~UINT64_C(0x2e7), 0);
}

/* ---- VMCALL ------------------------------------------------------------------------------------------------ */

GUEST_CODE_BLOB(user_vmcall_code, 64, ".globl user_vmcall_at; mov $1, %eax; user_vmcall_at: vmcall; ud2");
extern const uint8_t user_vmcall_at[];

METAL_TEST(vmcall_user, "vmcall.from_user_mode_is_ud")
{
	const struct guest_trap *trap;

	guest_init(&g, 0);
	guest_start_user(&g, GUEST_LONG, &user_vmcall_code);
	trap = guest_run_trap(&g, 6, 0, guest_label(&user_vmcall_code, user_vmcall_at));
	CHECK_EQ(trap->cs, GUEST_USER_CS64);
}

GUEST_CODE_BLOB(wide_vmcall_code, 64, "mov $-1, %rdi; mov $0x5ffffffff, %rax; vmcall; hlt");

METAL_TEST(vmcall_wide, "vmcall.64bit_registers_are_whole")
{
	guest_boot(&g, GUEST_LONG, &wide_vmcall_code);
	guest_run_call(&g, 0x5ffffffff);
	CHECK_EQ(g.exit.u.hypercall.args[0], UINT64_MAX);
	CHECK_EQ(guest_rip(&g), GUEST_CODE + (uint64_t)(wide_vmcall_code_end - wide_vmcall_code_begin) - 1);
}

/* ---- HLT --------------------------------------------------------------------------------------------------- */

GUEST_CODE_BLOB(hlt_code, 64, "hlt; mov $1, %eax; vmcall");

METAL_TEST(hlt_rip, "hlt.exits_past_the_instruction")
{
	guest_boot(&g, GUEST_LONG, &hlt_code);
	guest_run_until(&g, X86VCPU_EXIT_HALT);
	CHECK_EQ(guest_rip(&g), GUEST_CODE + 1);
}

METAL_TEST(hlt_stays, "hlt.with_interrupts_off_stays_halted")
{
	guest_boot(&g, GUEST_LONG, &hlt_code);
	guest_run_until(&g, X86VCPU_EXIT_HALT);
	CHECK_OK(x86vcpu_inject_interrupt(g.vcpu, 0x40));
	for (unsigned i = 0; i < 3; i++)
		guest_run_until(&g, X86VCPU_EXIT_HALT);
	CHECK_EQ(guest_rip(&g), GUEST_CODE + 1);
	CHECK_OK(x86vcpu_inject_nmi(g.vcpu));
	guest_run_trap(&g, 2, 0, GUEST_CODE + 1);
	guest_run_call(&g, 1);
}

GUEST_CODE_BLOB(sti_hlt_cli_code, 64, "1: sti; hlt; cli; cmpq $0, 0x4000; je 1b; mov $1, %eax; vmcall");

METAL_TEST(sti_hlt_cli, "hlt.sti_hlt_cli_takes_the_interrupt")
{
	guest_boot(&g, GUEST_LONG, &sti_hlt_cli_code);
	guest_run_until(&g, X86VCPU_EXIT_HALT);
	CHECK_OK(x86vcpu_inject_interrupt(g.vcpu, 0x40));
	guest_run_trap(&g, 0x40, 0, GUEST_CODE + 2);
	guest_run_call(&g, 1);
}

METAL_TEST(hlt_pending, "hlt.with_an_interrupt_pending_goes_on")
{
	guest_boot(&g, GUEST_LONG, &sti_hlt_cli_code);
	CHECK_OK(x86vcpu_inject_interrupt(g.vcpu, 0x40));
	/* HLT is executed in the shadow of STI, so it exits; a VMM that waited then would wait for good. */
	guest_run_trap(&g, 0x40, 0, GUEST_CODE + 2);
	guest_run_call(&g, 1);
}

GUEST_CODE_BLOB(user_hlt_code, 64, "hlt; ud2");

METAL_TEST(hlt_user, "hlt.from_user_mode_is_gp")
{
	guest_init(&g, 0);
	guest_start_user(&g, GUEST_LONG, &user_hlt_code);
	guest_run_trap(&g, 13, 0, GUEST_CODE);
}

/* ---- What a guest cannot have ------------------------------------------------------------------------------ */

GUEST_CODE_BLOB(nothing_code, 64, "invd; wbinvd; pause; mov $1, %eax; vmcall");

METAL_TEST(invd, "refused.invd_wbinvd_pause_do_nothing")
{
	guest_boot(&g, GUEST_LONG, &nothing_code);
	guest_run_call(&g, 1);
	CHECK_EQ(guest_record(&g)->count, 0);
}

static void expect_fault(bool user, const struct guest_code *code, unsigned vector)
{
	guest_init(&g, 0);
	if (user)
		guest_start_user(&g, GUEST_LONG, code);
	else
		guest_start(&g, GUEST_LONG, code);
	guest_run_trap(&g, vector, 0, GUEST_CODE);
}

/* Each alone at GUEST_CODE, so that RIP of the fault is known. */
GUEST_CODE_BLOB(getsec_code, 64, "getsec");
GUEST_CODE_BLOB(vmxon_code, 64, "vmxon 0x12000");
GUEST_CODE_BLOB(vmxoff_code, 64, "vmxoff");
GUEST_CODE_BLOB(vmclear_code, 64, "vmclear 0x12000");
GUEST_CODE_BLOB(vmptrld_code, 64, "vmptrld 0x12000");
GUEST_CODE_BLOB(vmptrst_code, 64, "vmptrst 0x12000");
GUEST_CODE_BLOB(vmread_code, 64, "vmread %rax, %rbx");
GUEST_CODE_BLOB(vmwrite_code, 64, "vmwrite %rax, %rbx");
GUEST_CODE_BLOB(vmlaunch_code, 64, "vmlaunch");
GUEST_CODE_BLOB(vmresume_code, 64, "vmresume");
GUEST_CODE_BLOB(invept_code, 64, "invept 0x12000, %rax");
GUEST_CODE_BLOB(invvpid_code, 64, "invvpid 0x12000, %rax");
GUEST_CODE_BLOB(vmfunc_code, 64, "vmfunc");
GUEST_CODE_BLOB(rsm_code, 64, "rsm");
GUEST_CODE_BLOB(monitor_code, 64, "monitor");
GUEST_CODE_BLOB(mwait_code, 64, "mwait");
GUEST_CODE_BLOB(rdpmc_code, 64, "rdpmc");

METAL_TEST(refused_getsec, "refused.getsec") { expect_fault(false, &getsec_code, 6); }
METAL_TEST(refused_vmxon, "refused.vmxon") { expect_fault(false, &vmxon_code, 6); }
METAL_TEST(refused_vmxoff, "refused.vmxoff") { expect_fault(false, &vmxoff_code, 6); }
METAL_TEST(refused_vmclear, "refused.vmclear") { expect_fault(false, &vmclear_code, 6); }
METAL_TEST(refused_vmptrld, "refused.vmptrld") { expect_fault(false, &vmptrld_code, 6); }
METAL_TEST(refused_vmptrst, "refused.vmptrst") { expect_fault(false, &vmptrst_code, 6); }
METAL_TEST(refused_vmread, "refused.vmread") { expect_fault(false, &vmread_code, 6); }
METAL_TEST(refused_vmwrite, "refused.vmwrite") { expect_fault(false, &vmwrite_code, 6); }
METAL_TEST(refused_vmlaunch, "refused.vmlaunch") { expect_fault(false, &vmlaunch_code, 6); }
METAL_TEST(refused_vmresume, "refused.vmresume") { expect_fault(false, &vmresume_code, 6); }
METAL_TEST(refused_invept, "refused.invept") { expect_fault(false, &invept_code, 6); }
METAL_TEST(refused_invvpid, "refused.invvpid") { expect_fault(false, &invvpid_code, 6); }
METAL_TEST(refused_vmfunc, "refused.vmfunc") { expect_fault(false, &vmfunc_code, 6); }
METAL_TEST(refused_rsm, "refused.rsm") { expect_fault(false, &rsm_code, 6); }
METAL_TEST(refused_monitor, "refused.monitor", .bochs_svm_gap = "MONITOR is not intercepted") { expect_fault(false, &monitor_code, 6); }
METAL_TEST(refused_mwait, "refused.mwait") { expect_fault(false, &mwait_code, 6); }
METAL_TEST(refused_rdpmc, "refused.rdpmc") { expect_fault(false, &rdpmc_code, 13); }
METAL_TEST(user_getsec, "refused.getsec_from_user_mode") { expect_fault(true, &getsec_code, 6); }
METAL_TEST(user_vmxon, "refused.vmxon_from_user_mode") { expect_fault(true, &vmxon_code, 6); }
METAL_TEST(user_vmread, "refused.vmread_from_user_mode") { expect_fault(true, &vmread_code, 6); }
METAL_TEST(user_vmptrst, "refused.vmptrst_from_user_mode") { expect_fault(true, &vmptrst_code, 6); }
METAL_TEST(user_invept, "refused.invept_from_user_mode") { expect_fault(true, &invept_code, 6); }
METAL_TEST(user_rdpmc, "refused.rdpmc_from_user_mode") { expect_fault(true, &rdpmc_code, 13); }

/* ---- Nested page faults ---------------------------------------------------------------------------------- */

GUEST_CODE_BLOB(nested_code, 64,
	"mov 0x100000, %rax; movq $0x77, 0x101000; mov $0x102000, %edx; call *%rdx; mov $1, %eax; vmcall");

static void expect_nested_fault(uint64_t gpa, uint64_t access)
{
	guest_run_until(&g, X86VCPU_EXIT_NESTED_PAGE_FAULT);
	CHECK_EQ(g.exit.u.nested_page_fault.gpa, gpa);
	CHECK_EQ(g.exit.u.nested_page_fault.access & access, access);
	guest_map(&g, gpa, X86VCPU_NESTED_READ | X86VCPU_NESTED_WRITE | X86VCPU_NESTED_EXECUTE);
}

METAL_TEST(nested_fault, "nested.map_on_demand")
{
	guest_boot(&g, GUEST_LONG, &nested_code);
	guest_store(&g, 0x102000, 1, 0xc3); /* RET */
	guest_unmap(&g, 0x100000);
	guest_unmap(&g, 0x101000);
	guest_unmap(&g, 0x102000);
	expect_nested_fault(0x100000, X86VCPU_ACCESS_READ);
	expect_nested_fault(0x101000, X86VCPU_ACCESS_WRITE);
	expect_nested_fault(0x102000, X86VCPU_ACCESS_EXECUTE);
	guest_run_call(&g, 1);
	CHECK_EQ(guest_load(&g, 0x101000, 8), 0x77);
}

METAL_TEST(nested_permissions, "nested.permissions")
{
	guest_boot(&g, GUEST_LONG, &nested_code);
	guest_store(&g, 0x102000, 1, 0xc3);
	guest_map(&g, 0x100000, X86VCPU_NESTED_READ);
	guest_map(&g, 0x101000, X86VCPU_NESTED_READ);
	guest_map(&g, 0x102000, X86VCPU_NESTED_READ | X86VCPU_NESTED_WRITE);
	expect_nested_fault(0x101000, X86VCPU_ACCESS_WRITE);
	expect_nested_fault(0x102000, X86VCPU_ACCESS_EXECUTE);
	guest_run_call(&g, 1);
}

METAL_TEST(nested_table_page, "nested.guest_page_table_missing")
{
	guest_boot(&g, GUEST_LONG, &nested_code);
	guest_unmap(&g, GUEST_PT);
	guest_run_until(&g, X86VCPU_EXIT_NESTED_PAGE_FAULT);
	CHECK_EQ(g.exit.u.nested_page_fault.gpa & ~UINT64_C(0xfff), GUEST_PT);
	guest_map(&g, GUEST_PT, X86VCPU_NESTED_READ | X86VCPU_NESTED_WRITE);
	guest_store(&g, 0x102000, 1, 0xc3);
	guest_run_call(&g, 1);
}

GUEST_CODE_BLOB(hole_code, 64, "mov 0xa00000, %eax; hlt");

METAL_TEST(nested_hole, "nested.address_without_memory")
{
	guest_boot(&g, GUEST_LONG, &hole_code);
	for (unsigned i = 0; i < 3; i++) {
		guest_run_until(&g, X86VCPU_EXIT_NESTED_PAGE_FAULT);
		CHECK_EQ(g.exit.u.nested_page_fault.gpa, GUEST_HOLE);
		CHECK_EQ(guest_rip(&g), GUEST_CODE);
	}
}

/* The last-level entry of the nested tables for `gpa`; they hold 4 KiB pages only. */
static uint64_t *nested_entry(uint64_t gpa)
{
	uint64_t *table = (uint64_t *)g.tables.root_hpa;

	for (unsigned shift = 39; shift > 12; shift -= 9)
		table = (uint64_t *)(table[gpa >> shift & 511] & UINT64_C(0xffffffffff000));
	return &table[gpa >> 12 & 511];
}

METAL_TEST(nested_misconfigured, "nested.malformed_entry_is_an_error")
{
	guest_boot(&g, GUEST_LONG, &nested_code);
	platform_log_level = 0;
	if (on_svm())
		*nested_entry(0x100000) |= UINT64_C(1) << 51; /* beyond what the CPU can address */
	else
		*nested_entry(0x100000) = (*nested_entry(0x100000) & ~UINT64_C(7)) | 2; /* writable, not readable */
	CHECK_OK(x86vcpu_flush_nested(g.vcpu));
	CHECK_STATUS(x86vcpu_run(g.vcpu, &g.exit), X86VCPU_ERR_INVALID_DATA);
	CHECK_EQ(g.exit.kind, X86VCPU_EXIT_NOTHING);
	CHECK_EQ(guest_rip(&g), GUEST_CODE);
}

/* ---- Ends ---------------------------------------------------------------------------------------------------- */

GUEST_CODE_BLOB(triple_code, 64, "sub $16, %rsp; movq $0, (%rsp); lidt (%rsp); ud2");

METAL_TEST(triple_fault, "end.triple_fault",
	   .bochs_svm_gap = "a guest's triple fault is a panic, not an exit")
{
	guest_boot(&g, GUEST_LONG, &triple_code);
	guest_run_until(&g, X86VCPU_EXIT_SYSTEM_DOWN);
	CHECK_STATUS(x86vcpu_run(g.vcpu, &g.exit), X86VCPU_ERR_BAD_STATE);
	CHECK_STATUS(x86vcpu_run(g.vcpu, &g.exit), X86VCPU_ERR_BAD_STATE);
	CHECK_OK(x86vcpu_unbind(g.vcpu));
	guest_start(&g, GUEST_LONG, &hlt_code);
	guest_run_until(&g, X86VCPU_EXIT_HALT);
}

/* VMCS fields that the library does not touch between runs. */
#define VMCS_PIN_CONTROLS 0x4000

GUEST_CODE_BLOB(call_hlt_code, 64, "xor %eax, %eax; vmcall; hlt");

METAL_TEST(entry_failure, "end.entry_failure_is_reported", .vendor = METAL_VMX)
{
	guest_boot(&g, GUEST_LONG, &call_hlt_code);
	guest_run_call(&g, 0);
	CHECK(host_vmwrite(0x4816, 0)); /* CS access rights */
	CHECK_OK(x86vcpu_run(g.vcpu, &g.exit));
	CHECK_EQ(g.exit.kind, X86VCPU_EXIT_FAIL_ENTRY);
	CHECK_EQ(g.exit.u.fail_entry.reason, 0x80000021);
	CHECK_EQ(g.exit.u.fail_entry.qualification, 0);
	CHECK_EQ(g.exit.u.fail_entry.instruction_error, 0);
	CHECK(host_vmwrite(0x4816, 0xa09b));
	guest_run_until(&g, X86VCPU_EXIT_HALT);
}

METAL_TEST(entry_link_pointer, "end.entry_failure_has_its_qualification", .vendor = METAL_VMX)
{
	guest_boot(&g, GUEST_LONG, &hlt_code);
	CHECK(host_vmwrite(0x2800, 0x1001)); /* VMCS link pointer: SDM 27.7, qualification 4 */
	CHECK_OK(x86vcpu_run(g.vcpu, &g.exit));
	CHECK_EQ(g.exit.kind, X86VCPU_EXIT_FAIL_ENTRY);
	CHECK_EQ(g.exit.u.fail_entry.reason, 0x80000021);
	CHECK_EQ(g.exit.u.fail_entry.qualification, 4);
}

/* A field that the library does not write before the next entry, a value that the CPU refuses, and the check. */
static const struct {
	uint32_t field;
	uint64_t value;
	uint32_t check;
} refused_entries[] = {
	{0x4000, 0xffffffff, 1001},               /* pin-based controls */
	{0x400a, 5, 1004},                        /* CR3-target count */
	{0x2004, 0x123, 1007},                    /* MSR bitmap */
	{0x201a, 0x1005, 1015},                   /* EPTP */
	{0x6c04, 0, 1102},                        /* host CR4 */
	{0x0c02, 0, 1117},                        /* host CS */
	{0x0c06, 3, 1113},                        /* host DS */
	{0x6804, UINT64_C(1) << 40, 1203},        /* guest CR4 */
	{0x4822, 0x89, 1221},                     /* TR access rights */
	{0x4820, 0x8b, 1230},                     /* LDTR access rights */
	{0x4816, 0x10000, 1260},                  /* CS access rights */
	{0x6820, 0, 1332},                        /* RFLAGS */
	{0x4826, 7, 1340},                        /* activity state */
	{0x4824, 3, 1343},                        /* interruptibility */
	{0x2800, 0x1001, 1351},                   /* VMCS link pointer */
};

METAL_TEST(explained, "end.entry_failure_is_explained", .vendor = METAL_VMX)
{
	for (unsigned i = 0; i < sizeof(refused_entries) / sizeof(refused_entries[0]); i++) {
		uint32_t check;
		char text[160];

		guest_boot(&g, GUEST_LONG, &call_hlt_code);
		guest_run_call(&g, 0);
		CHECK_OK(x86vcpu_explain_entry_failure(g.vcpu, &check, text, sizeof(text)));
		CHECK_EQ(check, 0);
		CHECK(host_vmwrite(refused_entries[i].field, refused_entries[i].value));
		CHECK_OK(x86vcpu_run(g.vcpu, &g.exit));
		CHECK_EQ(g.exit.kind, X86VCPU_EXIT_FAIL_ENTRY);
		CHECK_OK(x86vcpu_explain_entry_failure(g.vcpu, &check, text, sizeof(text)));
		console_printf("%s\n", text);
		CHECK_EQ(check, refused_entries[i].check);
		guest_destroy(&g);
	}
}

METAL_TEST(vmfail, "end.vmfail_is_reported", .vendor = METAL_VMX)
{
	struct host_snapshot before;
	uint64_t pin;

	host_enable();
	host_paint();
	host_snapshot(&before);
	guest_boot(&g, GUEST_LONG, &hlt_code);
	pin = host_vmread(VMCS_PIN_CONTROLS);
	CHECK(host_vmwrite(VMCS_PIN_CONTROLS, 0xffffffff));
	CHECK_OK(x86vcpu_run(g.vcpu, &g.exit));
	host_check_unchanged(&before);
	CHECK_EQ(g.exit.kind, X86VCPU_EXIT_FAIL_ENTRY);
	CHECK_EQ(g.exit.u.fail_entry.reason, 0);
	CHECK_EQ(g.exit.u.fail_entry.instruction_error, 7);
	CHECK(host_vmwrite(VMCS_PIN_CONTROLS, pin));
	guest_run_until(&g, X86VCPU_EXIT_HALT);
}

GUEST_CODE_BLOB(task_code, 32, "ljmp $0x58, $0");

METAL_TEST(task_switch, "end.task_switch_is_unsupported", .vendor = METAL_VMX)
{
	guest_boot(&g, GUEST_PROTECTED, &task_code);
	platform_log_level = 0;
	CHECK_STATUS(x86vcpu_run(g.vcpu, &g.exit), X86VCPU_ERR_UNSUPPORTED);
	CHECK_EQ(g.exit.kind, X86VCPU_EXIT_NOTHING);
	CHECK_EQ(guest_rip(&g), GUEST_CODE);
}

GUEST_CODE_BLOB(spin_code, 64, "1: jmp 1b");
GUEST_CODE_BLOB(cpuid_spin_code, 64, "1: xor %eax, %eax; cpuid; jmp 1b");

static void expect_time_slices(const struct guest_code *code)
{
	uint64_t begin, ticks;

	guest_init(&g, 0);
	g.config.time_slice_ns = 200000;
	guest_start(&g, GUEST_LONG, code);
	host_tick_start();
	for (unsigned i = 0; i < 3; i++) {
		begin = rdtsc();
		guest_run_slice(&g);
		ticks = rdtsc() - begin;
		/* 0.2 ms, with a generous allowance for the way in and out; the first run of a vCPU costs the most. */
		CHECK(ticks >= platform_tsc_khz() / 5 / 2);
		if (ticks > platform_tsc_khz() / 5 + host_tick_ticks() + 8000)
			FAIL("a slice of %lu ticks took %lu", platform_tsc_khz() / 5, ticks);
	}
}

METAL_TEST(spin, "end.time_slice_of_a_spinning_guest",
	   .bochs_svm_gap = "no host interrupt is seen while the guest's IF is 0 since its entry") { expect_time_slices(&spin_code); }
METAL_TEST(cpuid_spin, "end.time_slice_of_a_guest_that_only_exits") { expect_time_slices(&cpuid_spin_code); }
