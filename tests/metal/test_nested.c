/* SPDX-License-Identifier: Apache-2.0 */
/* Nested paging as the host's own mode and the CPU's widths have it. */
#include "guest.h"

static struct guest g;

GUEST_CODE_BLOB(nested_call, 64, "1: mov $1, %eax; vmcall; jmp 1b");

/* ---- A host with 5-level paging --------------------------------------------------------------------- */

#define CR4_LA57 UINT64_C(0x1000)

METAL_TEST(la57_host, "nested.host_with_5_levels")
{
	const bool has_la57 = platform_use_la57();
	uint32_t levels = 0;

	CHECK_EQ(host_cr4() & CR4_LA57, has_la57 ? CR4_LA57 : 0);
	guest_boot(&g, GUEST_LONG, &nested_call);
	CHECK_OK(x86vcpu_nested_levels(&levels));
	CHECK_EQ(levels, has_la57 && on_svm() ? 5 : 4);
	for (unsigned i = 0; i < 3; i++)
		guest_run_call(&g, 1);
}

METAL_TEST(la57_second_cpu, "nested.second_cpu_has_5_levels_too", .cpus = 2)
{
	platform_use_la57();
	second_cpu_start_enabled();
	guest_boot(&g, GUEST_LONG, &nested_call);
	guest_run_call(&g, 1);
}

/* Tables of `levels` with the guest's memory, and a vCPU that is set up with them, not bound. */
static void set_up_with(uint32_t levels)
{
	uint32_t format;

	CHECK_OK(x86vcpu_unbind(g.vcpu));
	x86vcpu_nested_destroy(&g.tables);
	CHECK_OK(x86vcpu_nested_format(&format));
	CHECK_OK(x86vcpu_nested_init(&g.tables, &platform_host_ops, NULL, format, levels, 0));
	CHECK_OK(x86vcpu_nested_map(&g.tables, 0, (uint64_t)g.ram, GUEST_MEMORY,
				    X86VCPU_NESTED_READ | X86VCPU_NESTED_WRITE | X86VCPU_NESTED_EXECUTE,
				    X86VCPU_MEMORY_WB));
	CHECK_OK(x86vcpu_set_nested_page_table(
		g.vcpu, &(struct x86vcpu_nested_paging){ .root_hpa = g.tables.root_hpa, .levels = levels }));
	CHECK_OK(x86vcpu_setup(g.vcpu, &g.config));
}

METAL_TEST(la57_mismatch, "nested.levels_that_the_host_does_not_have_are_refused", .vendor = METAL_SVM)
{
	const bool has_la57 = platform_use_la57();
	struct x86vcpu_exit exit;

	guest_boot(&g, GUEST_LONG, &nested_call);
	platform_log_level = 0;
	set_up_with(has_la57 ? 4 : 5);
	CHECK_STATUS(x86vcpu_bind(g.vcpu), X86VCPU_ERR_UNSUPPORTED);
	CHECK_STATUS(x86vcpu_run(g.vcpu, &exit), X86VCPU_ERR_BAD_STATE);
}

/*
 * A guest image that knows where the host keeps its memory. With tables of four levels under a host with five, bits 20:12
 * of a guest-physical address choose eight bytes of guest memory that the CPU takes for a nested entry: entry 7 (at
 * 38H) leads to the code at 7C00H, entry 8 (at 40H) to the host's page.
 */
static uint64_t canary[512] __attribute__((aligned(4096)));
#define CANARY UINT64_C(0x5ec4e75ec4e7)
GUEST_CODE_BLOB(nested_steal, 16, "mov %cs:0x8000, %eax; movl $0xbadc0de, %cs:0x8004; hlt");

static void attack(void)
{
	struct x86vcpu_state state = { .size = sizeof(state) };

	guest_store(&g, 7 * 8, 8, ((uint64_t)g.ram + 0x7000) | 7);
	guest_store(&g, 8 * 8, 8, (uint64_t)canary | 0x67);
	CHECK_OK(x86vcpu_get_state(g.vcpu, X86VCPU_STATE_ALL, &state));
	state.rip = 0x7c00;
	CHECK_OK(x86vcpu_set_state(g.vcpu, X86VCPU_STATE_RIP, &state));
	guest_run_until(&g, X86VCPU_EXIT_HALT);
	CHECK((uint32_t)guest_reg(&g, RAX) != (uint32_t)CANARY);
	CHECK_EQ(canary[0], CANARY);
}

METAL_TEST(la57_escape, "nested.guest_writes_no_nested_entries", .vendor = METAL_SVM)
{
	const bool has_la57 = platform_use_la57();

	canary[0] = CANARY;
	guest_boot(&g, GUEST_REAL, &nested_steal);
	for (unsigned i = 0; i < 64; i++)
		guest_store(&g, 0x7c00 + i, 1, guest_load(&g, GUEST_CODE + i, 1));
	attack();
	platform_log_level = 0;
	set_up_with(has_la57 ? 4 : 5);
	if (x86vcpu_bind(g.vcpu) == X86VCPU_OK)
		attack();
}

/* ---- A guest with 5-level paging ---------------------------------------------------------------------- */

/*
 * From 32-bit code without paging, because CR4.LA57 is fixed in IA-32e mode: PML5 at 27000H, whose last entry leads to the
 * PML4 too. The 64-bit code is reached through the highest 256 TiB.
 */
#define GUEST_PML5 0x27000u
GUEST_CODE_BLOB(nested_la57_code, 32,
		"mov %cr4, %eax; or $0x1020, %eax; mov %eax, %cr4;"
		"mov $0x27000, %eax; mov %eax, %cr3;"
		"mov $0xc0000080, %ecx; mov $0x100, %eax; xor %edx, %edx; wrmsr;"
		"mov %cr0, %eax; or $0x80000000, %eax; mov %eax, %cr0; ljmp $0x08, $(0x8000 + 1f - nested_la57_code_begin);"
		".code64; 1: mov $1, %rax; shl $63, %rax; sar $15, %rax; lea 0x12000(%rax), %rbx;"
		"mov (%rbx), %rdi; mov %cr4, %rsi; mov $1, %eax; vmcall;"
		"mov $0xc0000102, %ecx; mov $0xff001234, %edx; xor %eax, %eax; wrmsr;" /* KERNEL_GS_BASE */
		"mov $2, %eax; vmcall;"
		"mov $0xc0000102, %ecx; rdmsr; mov %rdx, %rdi; mov $3, %eax; vmcall;"
		"mov (0x800000), %eax; mov %rax, %rdi; mov $4, %eax; vmcall");

METAL_TEST(la57_guest, "nested.guest_with_5_levels")
{
	struct x86vcpu_state state;

	if (!(host_cpuid(7, 0).ecx & 1u << 16))
		return;
	guest_init(&g, 0);
	guest_store(&g, GUEST_PML5, 8, GUEST_PML4 | PTE_P | PTE_W | PTE_U);
	guest_store(&g, GUEST_PML5 + 511 * 8, 8, GUEST_PML4 | PTE_P | PTE_W | PTE_U);
	guest_store(&g, GUEST_DATA, 8, CANARY);
	guest_start(&g, GUEST_PROTECTED, &nested_la57_code);
	guest_run_call(&g, 1);
	CHECK_EQ(g.exit.u.hypercall.args[0], CANARY);
	CHECK_EQ(g.exit.u.hypercall.args[1] & CR4_LA57, CR4_LA57);
	guest_run_call(&g, 2);
	guest_state(&g, &state);
	CHECK_OK(x86vcpu_set_state(g.vcpu, X86VCPU_STATE_ALL, &state));
	guest_run_call(&g, 3);
	CHECK_EQ(g.exit.u.hypercall.args[0], 0xff001234);
	/* A device behind five levels: the library walks them. */
	guest_run_until(&g, X86VCPU_EXIT_MMIO_READ);
	CHECK_EQ(g.exit.u.mmio.gpa, GUEST_MMIO);
	CHECK_OK(x86vcpu_complete_read(g.vcpu, 0x5a5a5a5a));
	guest_run_call(&g, 4);
	CHECK_EQ(g.exit.u.hypercall.args[0], 0x5a5a5a5a);
}

/* ---- PAE's page-directory pointers are registers on VT-x (SDM 4.4.1) ----------------------------------------- */

GUEST_CODE_BLOB(nested_pae_code, 32, "mov $1, %eax; vmcall; mov 0x12000, %edi; mov $2, %eax; vmcall");

static void round_trip_with(uint64_t in_memory)
{
	struct x86vcpu_state state;

	guest_boot(&g, GUEST_PAE, &nested_pae_code);
	guest_store(&g, GUEST_DATA, 4, 0x5a5a);
	guest_run_call(&g, 1);
	guest_store(&g, GUEST_PDPT_PAE, 8, in_memory);
	guest_state(&g, &state);
	CHECK_EQ(state.flags, on_svm() ? 0 : X86VCPU_STATE_HAS_PDPTES);
	CHECK_OK(x86vcpu_set_state(g.vcpu, X86VCPU_STATE_ALL, &state));
	if (on_svm()) /* whose CPU reads them when it walks */
		guest_store(&g, GUEST_PDPT_PAE, 8, GUEST_PD | PTE_P);
	guest_run_call(&g, 2);
	CHECK_EQ(g.exit.u.hypercall.args[0], 0x5a5a);
}

METAL_TEST(pdptes_gone, "nested.pdptes_are_part_of_the_state") { round_trip_with(0); }

METAL_TEST(pdptes_reserved, "nested.pdptes_that_memory_no_longer_has") { round_trip_with(UINT64_MAX); }

/* ---- EPT: the guest's own tables in read-only memory (SDM 29.3.5) -------------------------------------- */

#define PTE_A UINT64_C(0x20)
#define PTE_D UINT64_C(0x40)

static void mark_used(uint64_t table)
{
	for (uint64_t at = table; at < table + 4096; at += 8) {
		const uint64_t entry = guest_load(&g, at, 8);

		if (entry & PTE_P)
			guest_store(&g, at, 8, entry | PTE_A | PTE_D);
	}
}

METAL_TEST(read_only_tables, "nested.guest_tables_in_read_only_memory", .vendor = METAL_VMX)
{
	static const uint64_t tables[] = { GUEST_PML4, GUEST_PDPT, GUEST_PD, GUEST_PT };

	guest_boot(&g, GUEST_LONG, &nested_call);
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		mark_used(tables[i]);
		guest_map(&g, tables[i], X86VCPU_NESTED_READ);
	}
	guest_run_call(&g, 1);
}

/* ---- Addresses that the CPU does not have --------------------------------------------------------------- */

METAL_TEST(widths, "nested.addresses_end_with_the_cpus_width")
{
	const uint32_t bits = host_cpuid(0x80000008, 0).eax & 0xff;
	const uint64_t end = UINT64_C(1) << bits;
	const uint32_t all = X86VCPU_NESTED_READ | X86VCPU_NESTED_WRITE | X86VCPU_NESTED_EXECUTE;

	guest_boot(&g, GUEST_LONG, &nested_call);
	CHECK_STATUS(x86vcpu_nested_map(&g.tables, GUEST_HOLE, end, 4096, all, X86VCPU_MEMORY_WB),
		     X86VCPU_ERR_INVALID_INPUT);
	CHECK_OK(x86vcpu_nested_map(&g.tables, GUEST_HOLE, end - 4096, 4096, all, X86VCPU_MEMORY_WB));
	for (unsigned bit = bits; bit < 64; bit++) {
		const struct x86vcpu_nested_paging paging = { .root_hpa = UINT64_C(1) << bit };

		CHECK_STATUS(x86vcpu_set_nested_page_table(g.vcpu, &paging), X86VCPU_ERR_INVALID_INPUT);
	}
	guest_run_call(&g, 1);
}
