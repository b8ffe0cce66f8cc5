/* SPDX-License-Identifier: Apache-2.0 */
/* State as the VMM sees it, and what neither the host nor another guest may see. */
#include "guest.h"

static struct guest g, h;

GUEST_CODE_BLOB(call_code, 64, "1: mov $1, %eax; vmcall; jmp 1b");

static void same_state(const struct x86vcpu_state *a, const struct x86vcpu_state *b)
{
	const uint64_t *p = (const uint64_t *)a, *q = (const uint64_t *)b;

	for (size_t i = 0; i < sizeof(*a) / 8; i++)
		if (p[i] != q[i])
			FAIL("word %lu of the state was 0x%lx and is 0x%lx", i, p[i], q[i]);
}

METAL_TEST(round_trip, "state.round_trip")
{
	struct x86vcpu_state before, after;

	guest_boot(&g, GUEST_LONG, &call_code);
	guest_run_call(&g, 1);
	for (unsigned i = 0; i < 16; i++)
		if (i != 4)
			guest_set_reg(&g, i, UINT64_C(0x0101010101010101) * i);
	guest_state(&g, &before);
	before.dr0 = 0x1000;
	before.dr3 = 0x4000;
	before.cr2 = 0xffff800000001234;
	before.segments[X86VCPU_SEGMENT_FS].base = 0x123456789000;
	before.segments[X86VCPU_SEGMENT_GS].base = 0xffff800000001000;
	before.gdtr.base = 0xffffff8000001000;
	CHECK_OK(x86vcpu_set_state(g.vcpu, X86VCPU_STATE_ALL, &before));
	guest_state(&g, &after);
	same_state(&before, &after);
	CHECK_OK(x86vcpu_unbind(g.vcpu));
	CHECK_OK(x86vcpu_bind(g.vcpu));
	guest_state(&g, &after);
	same_state(&before, &after);
}

METAL_TEST(to_another, "state.copied_to_another_vcpu")
{
	struct x86vcpu_state state, copy;

	guest_boot(&g, GUEST_LONG, &call_code);
	guest_run_call(&g, 1);
	guest_set_reg(&g, R15, 0x1515);
	guest_state(&g, &state);
	guest_init(&h, 1);
	guest_start(&h, GUEST_REAL, &call_code);
	CHECK_OK(x86vcpu_set_state(h.vcpu, X86VCPU_STATE_ALL, &state));
	guest_run_call(&h, 1);
	CHECK_EQ(guest_reg(&h, R15), 0x1515);
	guest_state(&h, &copy);
	CHECK_EQ(copy.cr0, state.cr0);
	CHECK_EQ(copy.efer, state.efer);
	CHECK_EQ(copy.cr4, state.cr4);
}

METAL_TEST(masks, "state.only_the_components_of_the_mask")
{
	struct x86vcpu_state state, after;

	guest_boot(&g, GUEST_LONG, &call_code);
	memset(&state, 0xee, sizeof(state));
	state.size = sizeof(state);
	CHECK_OK(x86vcpu_get_state(g.vcpu, X86VCPU_STATE_RIP, &state));
	CHECK_EQ(state.rip, GUEST_CODE);
	CHECK_EQ(state.cr0, UINT64_C(0xeeeeeeeeeeeeeeee));
	CHECK_EQ(state.regs.rax, UINT64_C(0xeeeeeeeeeeeeeeee));
	state.rip = GUEST_CODE + 5;
	CHECK_OK(x86vcpu_set_state(g.vcpu, X86VCPU_STATE_RIP, &state));
	guest_state(&g, &after);
	CHECK_EQ(after.rip, GUEST_CODE + 5);
	CHECK_EQ(after.cr3, GUEST_PML4);
	state.size = 4;
	CHECK_STATUS(x86vcpu_get_state(g.vcpu, X86VCPU_STATE_RIP, &state), X86VCPU_ERR_ABI_MISMATCH);
	CHECK_STATUS(x86vcpu_set_state(g.vcpu, X86VCPU_STATE_RIP, &state), X86VCPU_ERR_ABI_MISMATCH);
}

static struct x86vcpu_state good;

static void expect_refused(uint64_t mask, const struct x86vcpu_state *bad)
{
	struct x86vcpu_state after;

	CHECK_STATUS(x86vcpu_set_state(g.vcpu, mask, bad), X86VCPU_ERR_INVALID_INPUT);
	guest_state(&g, &after);
	same_state(&good, &after);
}

#define REFUSED(mask, member, value)                                                                  \
	do {                                                                                           \
		struct x86vcpu_state bad_ = good;                                                      \
		bad_.member = (value);                                                                 \
		console_printf("%s = %s\n", #member, #value);                                          \
		expect_refused(mask, &bad_);                                                           \
	} while (0)

METAL_TEST(refused_crs, "state.bad_control_registers_are_refused")
{
	const uint64_t mask = X86VCPU_STATE_CRS;

	guest_boot(&g, GUEST_LONG, &call_code);
	guest_state(&g, &good);
	REFUSED(mask, cr0, UINT64_C(0x80000032));          /* PG without PE */
	REFUSED(mask, cr0, UINT64_C(0xa0000033));          /* NW without CD */
	REFUSED(mask, cr0, UINT64_C(0x180000033));
	REFUSED(mask, cr4, UINT64_C(0x2620));              /* VMXE */
	REFUSED(mask, cr4, UINT64_C(0x600));               /* long mode without PAE */
	REFUSED(mask, cr4, UINT64_C(1) << 63);
	REFUSED(mask, efer, UINT64_C(0x901));              /* PG and LME, no LMA */
	REFUSED(mask, efer, UINT64_C(0xc01));              /* LMA without LME */
	REFUSED(mask, efer, UINT64_C(0x1d01));             /* SVME */
	REFUSED(mask, cr3, UINT64_C(1) << 60);
	REFUSED(mask, xcr0, 0);
	REFUSED(mask, xcr0, 5);
	REFUSED(mask, xcr0, UINT64_C(1) << 62);
}

METAL_TEST(refused_drs, "state.bad_debug_registers_are_refused")
{
	guest_boot(&g, GUEST_LONG, &call_code);
	guest_state(&g, &good);
	REFUSED(X86VCPU_STATE_DRS, dr6, UINT64_C(1) << 32);
	REFUSED(X86VCPU_STATE_DRS, dr7, UINT64_C(1) << 32);
}

METAL_TEST(entry_survives, "state.every_accepted_state_can_be_entered_or_is_reported")
{
	struct x86vcpu_state state;

	guest_boot(&g, GUEST_LONG, &call_code);
	guest_state(&g, &state);
	state.rflags = 0;
	if (x86vcpu_set_state(g.vcpu, X86VCPU_STATE_RIP, &state) == X86VCPU_OK)
		guest_run_call(&g, 1);
	guest_state(&g, &state);
	state.segments[X86VCPU_SEGMENT_TR].access_rights = 0x10000;
	if (x86vcpu_set_state(g.vcpu, X86VCPU_STATE_SEGMENTS, &state) == X86VCPU_OK) {
		CHECK_OK(x86vcpu_run(g.vcpu, &g.exit));
		CHECK_EQ(g.exit.kind, X86VCPU_EXIT_FAIL_ENTRY);
	}
}

METAL_TEST(format, "state.one_line_for_a_log")
{
	char text[512];
	uint64_t len;

	guest_boot(&g, GUEST_LONG, &call_code);
	len = x86vcpu_format_state(g.vcpu, text, sizeof(text));
	CHECK(len > 20 && len < sizeof(text));
	CHECK_EQ(strlen(text), len);
	memset(text, 'x', sizeof(text));
	x86vcpu_format_state(g.vcpu, text, 8);
	CHECK_EQ(text[7], '\0');
	CHECK_EQ(text[8], 'x');
	CHECK_OK(x86vcpu_unbind(g.vcpu));
	CHECK(x86vcpu_format_state(g.vcpu, text, sizeof(text)) > 0);
}

METAL_TEST(gpr_widths, "state.register_writes_by_width")
{
	guest_boot(&g, GUEST_LONG, &call_code);
	guest_set_reg(&g, RCX, UINT64_MAX);
	CHECK_OK(x86vcpu_set_gpr_width(g.vcpu, RCX, X86VCPU_WIDTH_BYTE, 0));
	CHECK_EQ(guest_reg(&g, RCX), UINT64_C(0xffffffffffffff00));
	CHECK_OK(x86vcpu_set_gpr_high_byte(g.vcpu, RCX, 0x12));
	CHECK_EQ(guest_reg(&g, RCX), UINT64_C(0xffffffffffff1200));
	CHECK_OK(x86vcpu_set_gpr_width(g.vcpu, RCX, X86VCPU_WIDTH_DWORD, 5));
	CHECK_EQ(guest_reg(&g, RCX), 5);
	CHECK_OK(x86vcpu_set_gpr_width(g.vcpu, RSP, X86VCPU_WIDTH_WORD, 0xabcd));
	CHECK_EQ(guest_reg(&g, RSP), 0xabcd);
	CHECK_STATUS(x86vcpu_set_gpr_high_byte(g.vcpu, 4, 0), X86VCPU_ERR_INVALID_INPUT);
	CHECK_STATUS(x86vcpu_set_gpr_width(g.vcpu, 0, 4, 0), X86VCPU_ERR_INVALID_INPUT);
	CHECK_STATUS(x86vcpu_set_gpr_width(g.vcpu, 16, 0, 0), X86VCPU_ERR_INVALID_INPUT);
}

/* ---- The host ----------------------------------------------------------------------------------------------- */

/* Changes everything that a guest can change without leaving it. */
GUEST_CODE_BLOB(change_code, 64,
	"mov $0x9999, %eax; mov %rax, %dr0; mov %rax, %dr1; mov %rax, %dr2; mov %rax, %dr3;"
	"movq %rax, %xmm0; movq %rax, %xmm7; movq %rax, %xmm8; movq %rax, %xmm15; fninit; fldpi;"
	"movl $0x1f00, 0x12000; ldmxcsr 0x12000; mov %cr4, %rcx; bts $18, %rcx; mov %rcx, %cr4;"
	"xor %ecx, %ecx; xor %edx, %edx; mov $7, %eax; xsetbv; lgdt 0x12010; lldt %dx; mov %dx, %fs; mov %dx, %gs;"
	"mov %cr0, %rcx; or $0x10008, %rcx; mov %rcx, %cr0; mov $1, %eax; vmcall; hlt");

METAL_TEST(host_unchanged, "state.host_is_unchanged", .models = "corei7_skylake_x corei7_haswell_4770 corei7_sandy_bridge_2600k")
{
	struct host_snapshot before;

	host_enable();
	host_paint();
	host_snapshot(&before);
	guest_init(&g, 0);
	guest_start(&g, GUEST_LONG, &change_code);
	guest_store(&g, 0x12010, 2, 0x67);
	guest_store(&g, 0x12012, 8, GUEST_GDT);
	host_check_unchanged(&before);
	guest_run_call(&g, 1);
	host_check_unchanged(&before);
	guest_run_until(&g, X86VCPU_EXIT_HALT);
	host_check_unchanged(&before);
	guest_destroy(&g);
	host_check_unchanged(&before);
}

METAL_TEST(host_table_limits, "state.host_table_limits")
{
	struct host_table gdtr, idtr;

	guest_boot(&g, GUEST_LONG, &call_code);
	guest_run_call(&g, 1);
	__asm__ volatile("sgdt %0; sidt %1" : "=m"(gdtr), "=m"(idtr));
	CHECK(gdtr.limit < 0x1000);
	CHECK_EQ(idtr.limit, 0xfff);
}

/* A host that switches its FPU lazily has TS set at any time, also before there is a vCPU. */
METAL_TEST(cr0_ts_from_the_start, "state.host_cr0_ts_from_the_start")
{
	static uint8_t image[8192];
	uint64_t size = sizeof(image);

	host_enable();
	__asm__ volatile("movq %0, %%cr0" : : "r"(host_cr0() | 8));
	guest_boot(&g, GUEST_LONG, &call_code);
	CHECK_EQ(host_cr0() & 8, 8);
	CHECK_OK(x86vcpu_get_xsave(g.vcpu, image, &size));
	CHECK_OK(x86vcpu_set_xsave(g.vcpu, image, size));
	guest_run_call(&g, 1);
	CHECK_EQ(host_cr0() & 8, 8);
}

METAL_TEST(host_cr0_ts, "state.host_cr0_ts")
{
	const uint64_t cr0 = host_cr0();

	guest_boot(&g, GUEST_LONG, &change_code);
	guest_store(&g, 0x12010, 2, 0x67);
	guest_store(&g, 0x12012, 8, GUEST_GDT);
	__asm__ volatile("movq %0, %%cr0" : : "r"(host_cr0() | 8));
	guest_run_call(&g, 1);
	CHECK_EQ(host_cr0() & 8, 8);
	CHECK_EQ(host_cr0() & ~UINT64_C(0x28), cr0 & ~UINT64_C(0x28));
}

/* ---- Two guests ------------------------------------------------------------------------------------------ */

GUEST_CODE_BLOB(secret_code, 64,
	"mov $0x5ec2e7, %eax; mov %rax, %dr0; mov %rax, %dr3; movq %rax, %xmm0; movq %rax, %xmm15; fldpi;"
	"mov $0xc0000082, %ecx; xor %edx, %edx; wrmsr; mov $0xc0000103, %ecx; wrmsr; mov $0xc0000102, %ecx; wrmsr;"
	"mov $0x174, %ecx; wrmsr; mov %rax, %cr2; mov $1, %eax; vmcall;"
	"mov %dr0, %rdi; movq %xmm0, %rsi; mov $2, %eax; vmcall");

GUEST_CODE_BLOB(spy_code, 64,
	"mov %dr0, %rdi; mov %dr3, %rax; or %rax, %rdi; movq %xmm0, %rax; or %rax, %rdi; movq %xmm15, %rax; or %rax, %rdi;"
	"mov $0xc0000082, %ecx; rdmsr; or %rax, %rdi; mov $0xc0000103, %ecx; rdmsr; or %rax, %rdi;"
	"mov $0xc0000102, %ecx; rdmsr; or %rax, %rdi; mov $0x174, %ecx; rdmsr; or %rax, %rdi; mov %cr2, %rax; or %rax, %rdi;"
	"fnstsw %ax; mov %eax, %esi; mov $3, %eax; vmcall");

METAL_TEST(isolation, "state.two_guests_do_not_see_each_other",
	   .models = "corei7_skylake_x corei7_haswell_4770 corei7_sandy_bridge_2600k")
{
	guest_boot(&g, GUEST_LONG, &secret_code);
	guest_run_call(&g, 1);
	guest_init(&h, 1);
	guest_start(&h, GUEST_LONG, &spy_code);
	guest_run_call(&h, 3);
	CHECK_EQ(h.exit.u.hypercall.args[0], 0);
	CHECK_EQ(h.exit.u.hypercall.args[1] & 0x3800, 0); /* top of the x87 stack */
	guest_run_call(&g, 2);
	CHECK_EQ(g.exit.u.hypercall.args[0], 0x5ec2e7);
	CHECK_EQ(g.exit.u.hypercall.args[1], 0x5ec2e7);
}

METAL_TEST(isolation_from_host, "state.guest_does_not_see_the_host")
{
	host_enable();
	host_paint();
	guest_boot(&g, GUEST_LONG, &spy_code);
	guest_run_call(&g, 3);
	CHECK_EQ(g.exit.u.hypercall.args[0], 0);
}

GUEST_CODE_BLOB(ymm_code, 64,
	"mov %cr4, %rax; bts $18, %rax; mov %rax, %cr4; xor %ecx, %ecx; xor %edx, %edx; mov $7, %eax; xsetbv;"
	"vmovdqu 0x12000, %ymm5; mov $1, %eax; vmcall; 1: vmovdqu %ymm5, 0x12040; mov $2, %eax; vmcall; jmp 1b");

METAL_TEST(ymm, "state.ymm_registers_survive_another_guest", .models = "corei7_skylake_x corei7_haswell_4770",
	   .cannot = host_without_avx)
{
	guest_boot(&g, GUEST_LONG, &ymm_code);
	for (unsigned i = 0; i < 4; i++)
		guest_store(&g, GUEST_DATA + i * 8, 8, UINT64_C(0x1111111111111111) * (i + 1));
	guest_run_call(&g, 1);
	guest_init(&h, 1);
	guest_start(&h, GUEST_LONG, &ymm_code);
	guest_run_call(&h, 1);
	guest_run_call(&h, 2);
	CHECK_EQ(guest_load(&h, GUEST_DATA + 0x58, 8), 0);
	guest_run_call(&g, 2);
	for (unsigned i = 0; i < 4; i++)
		CHECK_EQ(guest_load(&g, GUEST_DATA + 0x40 + i * 8, 8), UINT64_C(0x1111111111111111) * (i + 1));
}

GUEST_CODE_BLOB(later_code, 64,
	"mov %cr4, %rax; bts $18, %rax; mov %rax, %cr4; mov $1, %eax; vmcall;"
	"xor %ecx, %ecx; xor %edx, %edx; mov $7, %eax; xsetbv;"
	"vmovdqu %ymm5, 0x12020; vmovdqu 0x12000, %ymm5; mov $2, %eax; vmcall; vmovdqu %ymm5, 0x12040;"
	"mov $3, %eax; vmcall");

static void host_xsetbv(uint32_t value)
{
	__asm__ volatile("xsetbv" : : "a"(value), "d"(0), "c"(0));
}

/* The host has had its upper halves of YMM5 in use, and has turned AVX off; the guest turns it on in the midst of a run. */
METAL_TEST(ymm_later, "state.ymm_registers_enabled_later_are_empty", .models = "corei7_skylake_x corei7_haswell_4770",
	   .cannot = host_without_avx)
{
	static const uint64_t hosts[4] = {1, 2, 3, 4};
	uint64_t now[4];

	host_enable();
	host_xsetbv(7);
	__asm__ volatile("vmovdqu %0, %%ymm5" : : "m"(hosts));
	host_xsetbv(1);
	guest_boot(&g, GUEST_LONG, &later_code);
	for (unsigned i = 0; i < 4; i++)
		guest_store(&g, GUEST_DATA + i * 8, 8, UINT64_C(0x1111111111111111) * (i + 1));
	guest_run_call(&g, 1);
	guest_run_call(&g, 2);
	for (unsigned i = 0; i < 4; i++)
		CHECK_EQ(guest_load(&g, GUEST_DATA + 0x20 + i * 8, 8), 0);
	host_xsetbv(7);
	__asm__ volatile("vmovdqu %%ymm5, %0" : "=m"(now));
	host_xsetbv(1);
	for (unsigned i = 0; i < 4; i++)
		CHECK_EQ(now[i], hosts[i]);
	guest_run_call(&g, 3);
	for (unsigned i = 0; i < 4; i++)
		CHECK_EQ(guest_load(&g, GUEST_DATA + 0x40 + i * 8, 8), UINT64_C(0x1111111111111111) * (i + 1));
}

/* ---- A context that is kept between two runs ---------------------------------------------------------------- */

static void boot_keeping(struct guest *guest, uint32_t id, const struct guest_code *code)
{
	guest_init(guest, id);
	guest->config.flags = X86VCPU_SETUP_KEEP_CONTEXT;
	guest_start(guest, GUEST_LONG, code);
}

METAL_TEST(kept_ymm, "state.kept_registers_are_exchanged_for_another_guests", .models = "corei7_skylake_x corei7_haswell_4770",
	   .cannot = host_without_avx)
{
	boot_keeping(&g, 0, &ymm_code);
	for (unsigned i = 0; i < 4; i++)
		guest_store(&g, GUEST_DATA + i * 8, 8, UINT64_C(0x1111111111111111) * (i + 1));
	guest_run_call(&g, 1);
	boot_keeping(&h, 1, &ymm_code);
	guest_run_call(&h, 1);
	guest_run_call(&h, 2);
	CHECK_EQ(guest_load(&h, GUEST_DATA + 0x58, 8), 0);
	guest_run_call(&g, 2);
	for (unsigned i = 0; i < 4; i++)
		CHECK_EQ(guest_load(&g, GUEST_DATA + 0x40 + i * 8, 8), UINT64_C(0x1111111111111111) * (i + 1));
	guest_run_call(&h, 2);
	CHECK_EQ(guest_load(&h, GUEST_DATA + 0x58, 8), 0);
}

METAL_TEST(kept_isolation, "state.guests_with_kept_contexts_do_not_see_each_other")
{
	boot_keeping(&g, 0, &secret_code);
	guest_run_call(&g, 1);
	boot_keeping(&h, 1, &spy_code);
	guest_run_call(&h, 3);
	CHECK_EQ(h.exit.u.hypercall.args[0], 0);
	CHECK_EQ(h.exit.u.hypercall.args[1] & 0x3800, 0);
	guest_run_call(&g, 2);
	CHECK_EQ(g.exit.u.hypercall.args[0], 0x5ec2e7);
	CHECK_EQ(g.exit.u.hypercall.args[1], 0x5ec2e7);
}

METAL_TEST(kept_host, "state.host_has_its_own_context_back_after_unbind",
	   .models = "corei7_skylake_x corei7_haswell_4770 corei7_sandy_bridge_2600k")
{
	struct host_snapshot before;

	host_enable();
	host_paint();
	host_snapshot(&before);
	__asm__ volatile("movq %0, %%cr0" : : "r"(host_cr0() | 8));
	boot_keeping(&g, 0, &change_code);
	guest_store(&g, 0x12010, 2, 0x67);
	guest_store(&g, 0x12012, 8, GUEST_GDT);
	guest_run_call(&g, 1);
	guest_run_until(&g, X86VCPU_EXIT_HALT);
	CHECK_OK(x86vcpu_unbind(g.vcpu));
	CHECK_EQ(host_cr0() & 8, 8);
	__asm__ volatile("clts");
	host_check_unchanged(&before);
}

/* The VMM reads and changes what the CPU has kept: XMM3, IA32_KERNEL_GS_BASE, IA32_TSC_AUX, IA32_LSTAR. */
GUEST_CODE_BLOB(kept_code, 64,
	"mov $0x1357, %eax; movq %rax, %xmm3; xor %edx, %edx;"
	".irp msr, 0xc0000102, 0xc0000103, 0xc0000082; mov $\\msr, %ecx; wrmsr; .endr; mov $1, %eax; vmcall;"
	"movq %xmm3, %rdi; mov $0xc0000102, %ecx; rdmsr; mov %eax, %esi; mov $0xc0000082, %ecx; rdmsr; mov %eax, %r8d;"
	"rdtscp; mov %ecx, %r9d; mov %r8d, %edx; mov $2, %eax; vmcall");

METAL_TEST(kept_access, "state.kept_context_can_be_read_and_changed")
{
	static const uint32_t msrs[] = {0xc0000102, 0xc0000103, 0xc0000082};
	static _Alignas(64) uint8_t image[8192];
	uint64_t size = sizeof(image), value;

	boot_keeping(&g, 0, &kept_code);
	guest_run_call(&g, 1);
	CHECK_OK(x86vcpu_get_xsave(g.vcpu, image, &size));
	CHECK_EQ(image[0xd0] | image[0xd1] << 8, 0x1357); /* XMM3 */
	image[0xd0] = 0x68;
	image[0xd1] = 0x24;
	CHECK_OK(x86vcpu_set_xsave(g.vcpu, image, size));
	for (unsigned i = 0; i < 3; i++) {
		CHECK_OK(x86vcpu_get_msr(g.vcpu, msrs[i], &value));
		CHECK_EQ(value, 0x1357);
		CHECK_OK(x86vcpu_set_msr(g.vcpu, msrs[i], 0x2468 + i));
	}
	guest_run_call(&g, 2);
	CHECK_EQ(g.exit.u.hypercall.args[0], 0x2468); /* RDI: XMM3 */
	CHECK_EQ(g.exit.u.hypercall.args[1], 0x2468); /* RSI: KERNEL_GS_BASE */
	CHECK_EQ(g.exit.u.hypercall.args[2], 0x246a); /* RDX: LSTAR */
	CHECK_EQ(g.exit.u.hypercall.args[5], 0x2469); /* R9: TSC_AUX */
}

GUEST_CODE_BLOB(tables_code, 64,
	"sgdt 0x12000; sidt 0x12010; sldt %eax; str %ecx; mov %eax, %edi; mov %ecx, %esi; mov $0xc0000100, %ecx; rdmsr;"
	"mov %eax, %r8d; mov %gs:0, %r9d; mov $1, %eax; vmcall");

METAL_TEST(tables, "state.tables_and_segment_bases_reach_the_guest")
{
	struct x86vcpu_state state;

	guest_boot(&g, GUEST_LONG, &tables_code);
	guest_state(&g, &state);
	state.segments[X86VCPU_SEGMENT_FS].base = 0x7777;
	state.segments[X86VCPU_SEGMENT_GS].base = GUEST_DATA + 0x100;
	state.segments[X86VCPU_SEGMENT_LDTR] = (struct x86vcpu_segment){
		.selector = 0x30, .access_rights = 0x82, .limit = 0xff, .base = 0x12200
	};
	CHECK_OK(x86vcpu_set_state(g.vcpu, X86VCPU_STATE_SEGMENTS, &state));
	guest_store(&g, GUEST_DATA + 0x100, 4, 0x6543);
	guest_run_call(&g, 1);
	CHECK_EQ(g.exit.u.hypercall.args[0], 0x30);
	CHECK_EQ(g.exit.u.hypercall.args[1], GUEST_TR);
	CHECK_EQ(g.exit.u.hypercall.args[4], 0x7777);
	CHECK_EQ(g.exit.u.hypercall.args[5], 0x6543);
	CHECK_EQ(guest_load(&g, GUEST_DATA, 2), 0x67);
	CHECK_EQ(guest_load(&g, GUEST_DATA + 2, 8), GUEST_GDT);
	CHECK_EQ(guest_load(&g, GUEST_DATA + 0x10, 2), 0xfff);
	CHECK_EQ(guest_load(&g, GUEST_DATA + 0x12, 8), GUEST_IDT64);
}

GUEST_CODE_BLOB(wrap_code, 32, "mov $1, %eax; cpuid");

METAL_TEST(rip_wraps, "state.eip_wraps_at_4g")
{
	static struct x86vcpu_memory_region memory[2];
	struct x86vcpu_state state;

	/* CPUID in the last two bytes below 4 GiB, flat 32-bit mode: the next instruction is at 0. */
	guest_init(&g, 0);
	memory[0] = g.memory[0];
	memory[1] = (struct x86vcpu_memory_region){ .gpa = 0xfffff000, .hva = g.ram + GUEST_DATA, .size = 4096 };
	g.config.memory = memory;
	g.config.memory_count = 2;
	guest_start(&g, GUEST_PROTECTED, &wrap_code);
	CHECK_OK(x86vcpu_nested_map(&g.tables, 0xfffff000, (uint64_t)g.ram + GUEST_DATA, 4096,
				    X86VCPU_NESTED_READ | X86VCPU_NESTED_EXECUTE, X86VCPU_MEMORY_WB));
	guest_store(&g, GUEST_DATA + 0xffe, 2, 0xa20f);
	guest_store(&g, 0, 4, on_svm() ? 0xd9010f90 : 0xc1010f90); /* NOP; VMMCALL or VMCALL */
	guest_state(&g, &state);
	state.rip = 0xfffffffe;
	CHECK_OK(x86vcpu_set_state(g.vcpu, X86VCPU_STATE_RIP, &state));
	guest_run_until(&g, X86VCPU_EXIT_HYPERCALL);
	CHECK_EQ(guest_rip(&g), 4);
}
