/* SPDX-License-Identifier: Apache-2.0 */
/* What only SVM has: its enable bit, its VMCB, and the instructions and MSRs that belong to it. */
#include "guest.h"

#define EFER 0xc0000080u
#define EFER_SVME (UINT64_C(1) << 12)
#define VM_CR 0xc0010114u
#define VM_CR_SVMDIS (UINT64_C(1) << 4)
#define VM_HSAVE_PA 0xc0010117u

/* Words of a VMCB, APM appendix B. */
#define VMCB_INTERCEPT3 0x00cu
#define VMCB_INTERCEPT4 0x010u
#define VMCB_IOPM_BASE 0x040u
#define VMCB_ASID 0x058u
#define VMCB_TLB_CONTROL 0x05cu
#define VMCB_NESTED_CONTROL 0x090u
#define VMCB_NESTED_CR3 0x0b0u
#define VMCB_CLEAN 0x0c0u
#define VMCB_EFER 0x4d0u
#define VMCB_CR4 0x548u
#define VMCB_CR0 0x558u
#define VMCB_DR7 0x560u

#define MEMORY_TOP 0x03f00000u

static struct guest g, h;

GUEST_CODE_BLOB(call_code, 64, "1: mov $1, %eax; vmcall; jmp 1b");

static uint64_t *word(uint8_t *vmcb, uint32_t offset)
{
	return (uint64_t *)(vmcb + offset);
}

/* The page that looks like this guest's VMCB: the library shows it to nobody. */
static uint8_t *find_vmcb(const struct guest *guest)
{
	const uint64_t first = ((uint64_t)platform_image_end + 4095) & ~UINT64_C(4095);
	uint8_t *found = NULL;

	for (uint64_t page = first; page < MEMORY_TOP; page += 4096) {
		uint8_t *p = (uint8_t *)page;

		if (*word(p, VMCB_NESTED_CR3) != guest->tables.root_hpa || *word(p, VMCB_NESTED_CONTROL) != 1 ||
		    !*word(p, VMCB_IOPM_BASE) || *word(p, VMCB_IOPM_BASE) & 0xfff)
			continue;
		CHECK(!found);
		found = p;
	}
	CHECK(found);
	return found;
}

static struct x86vcpu_percpu *new_percpu(const struct x86vcpu_host_ops *ops)
{
	struct x86vcpu_percpu *percpu = NULL;

	CHECK_OK(x86vcpu_percpu_create(ops, NULL, 0, &percpu));
	return percpu;
}

/* ---- On and off (APM 15.4) ------------------------------------------------------------------------- */

METAL_TEST(enable_disable, "svm.disable_restores_the_host", .vendor = METAL_SVM)
{
	struct x86vcpu_percpu *percpu = new_percpu(&platform_host_ops);
	const uint64_t frames = frames_in_use(), save_area = 0x700000;
	struct host_snapshot before;

	wrmsr(VM_HSAVE_PA, save_area);
	host_paint();
	host_snapshot(&before);
	CHECK_EQ(before.efer & EFER_SVME, 0);
	CHECK_OK(x86vcpu_percpu_enable(percpu));
	CHECK(rdmsr(EFER) & EFER_SVME);
	CHECK(rdmsr(VM_HSAVE_PA) && rdmsr(VM_HSAVE_PA) != save_area);
	CHECK_OK(x86vcpu_percpu_disable(percpu));
	host_check_unchanged(&before);
	CHECK_EQ(rdmsr(VM_HSAVE_PA), save_area);
	CHECK_EQ(frames_in_use(), frames);
}

METAL_TEST(other_hypervisor, "svm.other_hypervisor_refused", .vendor = METAL_SVM)
{
	struct x86vcpu_percpu *percpu = new_percpu(&platform_host_ops);
	const uint64_t frames = frames_in_use();
	struct host_snapshot before;

	wrmsr(EFER, rdmsr(EFER) | EFER_SVME);
	host_snapshot(&before);
	CHECK_STATUS(x86vcpu_percpu_enable(percpu), X86VCPU_ERR_RESOURCE_BUSY);
	host_check_unchanged(&before);
	CHECK_EQ(x86vcpu_percpu_is_enabled(percpu), 0);
	CHECK_EQ(frames_in_use(), frames);
}

static int32_t read_svmdis(void *ctx, uint32_t msr, uint64_t *value)
{
	(void)ctx;
	CHECK_EQ(msr, VM_CR);
	*value = VM_CR_SVMDIS;
	return X86VCPU_OK;
}

/* These machines have no VM_CR, or one that stays 0: the host operation stands for it. */
METAL_TEST(firmware, "svm.disabled_by_firmware", .vendor = METAL_SVM)
{
	struct x86vcpu_host_ops ops = platform_host_ops;
	struct x86vcpu_percpu *percpu;
	struct host_snapshot before;
	uint64_t frames;

	ops.read_msr = read_svmdis;
	percpu = new_percpu(&ops);
	frames = frames_in_use();
	host_snapshot(&before);
	CHECK_STATUS(x86vcpu_percpu_enable(percpu), X86VCPU_ERR_FIRMWARE_DISABLED);
	host_check_unchanged(&before);
	CHECK_EQ(frames_in_use(), frames);
	CHECK_EQ(x86vcpu_extension(), X86VCPU_EXTENSION_NONE);
}

static void enable_there(void *percpu)
{
	CHECK_OK(x86vcpu_percpu_enable(percpu));
	CHECK(rdmsr(EFER) & EFER_SVME);
}

static void disable_there(void *percpu)
{
	CHECK_OK(x86vcpu_percpu_disable(percpu));
	CHECK(!(rdmsr(EFER) & EFER_SVME));
}

METAL_TEST(other_cpu, "svm.enabled_on_the_other_cpu_only", .cpus = 2, .vendor = METAL_SVM)
{
	struct x86vcpu_percpu *percpu = new_percpu(&platform_host_ops);

	second_cpu_start();
	second_cpu_call(enable_there, percpu);
	CHECK(!(rdmsr(EFER) & EFER_SVME));
	CHECK_STATUS(x86vcpu_percpu_disable(percpu), X86VCPU_ERR_BAD_STATE);
	second_cpu_call(disable_there, percpu);
}

/* ---- The VMCB ------------------------------------------------------------------------------------------- */

/* A word, and the bits to flip in it. The guest's state is lost on one of the machines, the vCPU is not. */
static void expect_failure(uint32_t offset, uint64_t flip, uint32_t expected)
{
	struct host_snapshot before;
	uint64_t broken;
	uint32_t check;
	uint8_t *vmcb;

	console_printf("offset 0x%x\n", offset);
	host_enable();
	host_paint();
	host_snapshot(&before);
	guest_boot(&g, GUEST_LONG, &call_code);
	guest_run_call(&g, 1);
	CHECK_OK(x86vcpu_explain_entry_failure(g.vcpu, &check, NULL, 0));
	CHECK_EQ(check, 0);
	vmcb = find_vmcb(&g);
	*word(vmcb, offset) ^= flip;
	broken = *word(vmcb, offset);
	*word(vmcb, VMCB_CLEAN) = 0;
	guest_run_until(&g, X86VCPU_EXIT_FAIL_ENTRY); /* the slice may have ended while we searched */
	CHECK_EQ((uint32_t)g.exit.u.fail_entry.reason, UINT32_MAX); /* VMEXIT_INVALID */
	host_check_unchanged(&before);
	CHECK_OK(x86vcpu_explain_entry_failure(g.vcpu, &check, NULL, 0));
	/* The emulators store a state even when VMRUN fails, and the reason is gone with the old one. */
	CHECK_EQ(check, (*word(vmcb, offset) ^ broken) & flip ? 0 : expected);
	CHECK_OK(x86vcpu_unbind(g.vcpu));
	guest_start(&g, GUEST_LONG, &call_code);
	guest_run_call(&g, 1);
	guest_destroy(&g);
}

/* What VMRUN refuses: APM 15.5.1. */
METAL_TEST(invalid_efer, "svm.entry_failure_efer", .vendor = METAL_SVM) { expect_failure(VMCB_EFER, EFER_SVME, 2001); }
METAL_TEST(invalid_cr0, "svm.entry_failure_cr0", .vendor = METAL_SVM) { expect_failure(VMCB_CR0, UINT64_C(1) << 29, 2002); }
METAL_TEST(invalid_cr4, "svm.entry_failure_cr4", .vendor = METAL_SVM) { expect_failure(VMCB_CR4, UINT64_C(1) << 32, 2006); }
METAL_TEST(invalid_dr7, "svm.entry_failure_dr7", .vendor = METAL_SVM) { expect_failure(VMCB_DR7, UINT64_C(1) << 32, 2008); }
METAL_TEST(invalid_vmrun, "svm.entry_failure_vmrun_not_intercepted", .vendor = METAL_SVM)
{
	expect_failure(VMCB_INTERCEPT4, 1, 2013);
}

METAL_TEST(invalid_asid, "svm.entry_failure_asid_0", .vendor = METAL_SVM)
{
	expect_failure(VMCB_ASID, 1, 2014); /* the first guest's */
}

GUEST_CODE_BLOB(cpuid_loop, 64,
	"1: mov $100, %r8d; 2: mov $1, %eax; cpuid; dec %r8d; jnz 2b; mov $1, %eax; vmcall; jmp 1b");

METAL_TEST(no_flush, "svm.entries_flush_nothing", .vendor = METAL_SVM)
{
	uint32_t asid;
	uint8_t *vmcb;

	guest_boot(&g, GUEST_LONG, &cpuid_loop);
	guest_run_call(&g, 1);
	vmcb = find_vmcb(&g);
	CHECK_EQ(vmcb[VMCB_TLB_CONTROL], 0);
	asid = *(uint32_t *)(vmcb + VMCB_ASID);
	CHECK(asid > 0);
	for (unsigned i = 0; i < 3; i++) {
		guest_run_call(&g, 1);
		CHECK_EQ(vmcb[VMCB_TLB_CONTROL], 0);
		CHECK_EQ(*(uint32_t *)(vmcb + VMCB_ASID), asid);
	}
	CHECK_OK(x86vcpu_flush_nested(g.vcpu));
	guest_run_call(&g, 1);
	CHECK(*(uint32_t *)(vmcb + VMCB_ASID) != asid || vmcb[VMCB_TLB_CONTROL]);
}

METAL_TEST(asids, "svm.two_guests_have_two_asids", .vendor = METAL_SVM)
{
	guest_boot(&g, GUEST_LONG, &call_code);
	guest_run_call(&g, 1);
	guest_init(&h, 1);
	guest_start(&h, GUEST_LONG, &call_code);
	guest_run_call(&h, 1);
	guest_run_call(&g, 1);
	CHECK(*(uint32_t *)(find_vmcb(&g) + VMCB_ASID) != *(uint32_t *)(find_vmcb(&h) + VMCB_ASID));
}

METAL_TEST(exceptions, "svm.what_is_intercepted", .vendor = METAL_SVM)
{
	uint8_t *vmcb;

	guest_boot(&g, GUEST_LONG, &call_code);
	guest_run_call(&g, 1);
	vmcb = find_vmcb(&g);
	CHECK_EQ(*(uint32_t *)(vmcb + 8), 1u << 1 | 1u << 17 | 1u << 18);     /* #DB, #AC, #MC */
	CHECK_EQ(*(uint32_t *)(vmcb + VMCB_INTERCEPT3) & 1u << 14, 0);        /* not RDTSC */
	CHECK_EQ(*(uint32_t *)(vmcb + VMCB_INTERCEPT4) & 1u << 7, 0);         /* nor RDTSCP */
	CHECK_EQ(*(uint32_t *)(vmcb + VMCB_INTERCEPT3) & 3, 3);               /* INTR and NMI */
	CHECK_EQ(*(uint32_t *)(vmcb + VMCB_INTERCEPT4) & 0x7f, 0x7f);         /* all of SVM */
}

/* ---- Instructions ------------------------------------------------------------------------------------------ */

GUEST_CODE_BLOB(vmrun_code, 64, "vmrun %rax");
GUEST_CODE_BLOB(vmload_code, 64, "vmload %rax");
GUEST_CODE_BLOB(vmsave_code, 64, "vmsave %rax");
GUEST_CODE_BLOB(stgi_code, 64, "stgi");
GUEST_CODE_BLOB(clgi_code, 64, "clgi");
GUEST_CODE_BLOB(invlpga_code, 64, "invlpga %rax, %ecx");

/* The CPU runs with EFER.SVME, and checks the privilege level before it exits: not #UD as without SVM. */
METAL_TEST(user, "svm.instructions_from_user_mode_are_gp", .vendor = METAL_SVM)
{
	static const struct guest_code *const codes[] = {
		&vmrun_code, &vmload_code, &vmsave_code, &stgi_code, &clgi_code, &invlpga_code,
	};

	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		console_printf("instruction %lu\n", i);
		guest_init(&g, 0);
		guest_start_user(&g, GUEST_LONG, codes[i]);
		guest_run_trap(&g, 13, 0, GUEST_CODE);
		guest_destroy(&g);
	}
}

/* A task switch does not exit: the CPU does it as in any guest. */
GUEST_CODE_BLOB(task_code, 32, "ljmp $0x58, $0; .globl task_entry; task_entry: mov $7, %eax; vmcall");
extern const uint8_t task_entry[];

METAL_TEST(task_switch, "svm.task_switch_is_the_cpus", .vendor = METAL_SVM)
{
	static const uint16_t segments[] = { GUEST_DS, GUEST_CS32, GUEST_DS, GUEST_DS, GUEST_DS, GUEST_DS };
	const uint64_t task = GUEST_TSS + 0x100;

	guest_init(&g, 0);
	guest_start(&g, GUEST_PROTECTED, &task_code);
	guest_store(&g, task + 0x20, 4, guest_label(&task_code, task_entry));
	guest_store(&g, task + 0x24, 4, 2);
	guest_store(&g, task + 0x38, 4, GUEST_STACK);
	for (unsigned i = 0; i < 6; i++)
		guest_store(&g, task + 0x48 + i * 4, 2, segments[i]);
	guest_run_call(&g, 7);
}

/* ---- MSRs ----------------------------------------------------------------------------------------------- */

GUEST_CODE_BLOB(wrmsr_code, 64, "wrmsr; mov $1, %eax; vmcall");

static void write_msr(uint32_t msr, uint64_t value, bool fault)
{
	console_printf("MSR %x\n", msr);
	guest_boot(&g, GUEST_LONG, &wrmsr_code);
	guest_set_reg(&g, RCX, msr);
	guest_set_reg(&g, RAX, (uint32_t)value);
	guest_set_reg(&g, RDX, value >> 32);
	if (fault)
		guest_run_trap(&g, 13, 0, GUEST_CODE);
	else
		guest_run_call(&g, 1);
	guest_destroy(&g);
}

METAL_TEST(msrs, "svm.its_msrs_are_gp", .vendor = METAL_SVM)
{
	static const uint32_t refused[] = { VM_CR, VM_HSAVE_PA, 0xc0010118, 0xc0010111, 0xc0010115 };
	struct host_snapshot before;
	uint64_t save_area, vm_cr = 0, vm_cr_now = 0;

	host_enable();
	save_area = rdmsr(VM_HSAVE_PA);
	rdmsr_safe(VM_CR, &vm_cr);
	host_snapshot(&before);
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		write_msr(refused[i], 0x1000, true);
	write_msr(EFER, 0xd01 | EFER_SVME, true);
	host_check_unchanged(&before);
	rdmsr_safe(VM_CR, &vm_cr_now);
	CHECK_EQ(vm_cr_now, vm_cr);
	CHECK_EQ(rdmsr(VM_HSAVE_PA), save_area);
}

METAL_TEST(system_msrs, "svm.mtrrs_tsc_and_microcode_are_the_hosts", .vendor = METAL_SVM)
{
	struct host_snapshot before;
	uint64_t begin;

	host_enable();
	host_snapshot(&before);
	write_msr(0x2ff, 0xc06, false);
	write_msr(0x250, 0, false);
	begin = rdtsc();
	write_msr(0x10, UINT64_C(1) << 60, false);
	CHECK(rdtsc() - begin < UINT64_C(1) << 50);
	write_msr(0xc0010020, 0x12000, true); /* the patch loader */
	host_check_unchanged(&before);
}

/* ---- CR2 ------------------------------------------------------------------------------------------------- */

GUEST_CODE_BLOB(cr2_code, 64,
	"mov $0x1234000, %ebx; mov %rbx, %cr2; mov $300000, %r8d; 1: mov %cr2, %rcx; cmp %rbx, %rcx; jne 2f;"
	"dec %r8d; jnz 1b; 2: mov $1, %eax; vmcall; hlt");

static volatile unsigned cr2_nmis;

/* What a page fault in the handler leaves. */
static void nmi_with_page_fault(struct trap_frame *frame)
{
	(void)frame;
	cr2_nmis++;
	__asm__ volatile("mov %0, %%cr2" : : "r"(UINT64_C(0xdead000)));
}

/* S-51: an NMI is held until STGI, and comes before anything of C. */
METAL_TEST(cr2_nmi, "svm.nmi_does_not_change_cr2", .vendor = METAL_SVM)
{
	guest_boot(&g, GUEST_LONG, &cr2_code);
	trap_set_handler(2, nmi_with_page_fault);
	platform_nmi_start(1000000);
	guest_run_call(&g, 1);
	platform_nmi_stop();
	CHECK(cr2_nmis);
	CHECK_EQ(guest_reg(&g, RCX), 0x1234000);
}
