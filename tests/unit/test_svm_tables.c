/* SPDX-License-Identifier: Apache-2.0 */
/* SVM's numbers: the VMCB (APM appendix B), intercepts and exit codes (APM appendix C), and their names. */
#include <check.h>
#include <stdbool.h>
#include <string.h>

#include "svm/vmcb.h"
#include "x86vcpu/svm.h"

Suite *svm_tables_suite(void);

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))
#define BIT(n) (UINT64_C(1) << (n))
#define SAVE 0x400 /* where the state save area begins */

/* ---- The VMCB, tables B-1 and B-2 ------------------------------------------------------------------------- */

#define MEMBER(member) #member, offsetof(struct vmcb, member), sizeof(((struct vmcb *)0)->member)

static const struct {
	const char *name;
	size_t offset, bytes;
	size_t manual_offset, manual_bytes;
} members[] = {
	{MEMBER(intercept_cr_read), 0x000, 2},
	{MEMBER(intercept_cr_write), 0x002, 2},
	{MEMBER(intercept_dr_read), 0x004, 2},
	{MEMBER(intercept_dr_write), 0x006, 2},
	{MEMBER(intercept_exceptions), 0x008, 4},
	{MEMBER(intercept3), 0x00c, 4},
	{MEMBER(intercept4), 0x010, 4},
	{MEMBER(intercept5), 0x014, 4},
	{MEMBER(pause_filter_threshold), 0x03c, 2},
	{MEMBER(pause_filter_count), 0x03e, 2},
	{MEMBER(iopm_base), 0x040, 8},
	{MEMBER(msrpm_base), 0x048, 8},
	{MEMBER(tsc_offset), 0x050, 8},
	{MEMBER(asid), 0x058, 4},
	{MEMBER(tlb_control), 0x05c, 1},
	{MEMBER(virtual_interrupt), 0x060, 8},
	{MEMBER(interrupt_shadow), 0x068, 8},
	{MEMBER(exit_code), 0x070, 8},
	{MEMBER(exit_info1), 0x078, 8},
	{MEMBER(exit_info2), 0x080, 8},
	{MEMBER(exit_int_info), 0x088, 8},
	{MEMBER(nested_control), 0x090, 8},
	{MEMBER(avic_apic_bar), 0x098, 8},
	{MEMBER(ghcb), 0x0a0, 8},
	{MEMBER(event_injection), 0x0a8, 8},
	{MEMBER(nested_cr3), 0x0b0, 8},
	{MEMBER(virtualization_control), 0x0b8, 8},
	{MEMBER(clean), 0x0c0, 4},
	{MEMBER(next_rip), 0x0c8, 8},
	{MEMBER(fetched_bytes), 0x0d0, 1},
	{MEMBER(instruction_bytes), 0x0d1, 15},
	{MEMBER(avic_backing_page), 0x0e0, 8},
	{MEMBER(avic_logical_table), 0x0f0, 8},
	{MEMBER(avic_physical_table), 0x0f8, 8},
	{MEMBER(vmsa), 0x108, 8},
	{MEMBER(es), SAVE + 0x000, 16},
	{MEMBER(cs), SAVE + 0x010, 16},
	{MEMBER(ss), SAVE + 0x020, 16},
	{MEMBER(ds), SAVE + 0x030, 16},
	{MEMBER(fs), SAVE + 0x040, 16},
	{MEMBER(gs), SAVE + 0x050, 16},
	{MEMBER(gdtr), SAVE + 0x060, 16},
	{MEMBER(ldtr), SAVE + 0x070, 16},
	{MEMBER(idtr), SAVE + 0x080, 16},
	{MEMBER(tr), SAVE + 0x090, 16},
	{MEMBER(cpl), SAVE + 0x0cb, 1},
	{MEMBER(efer), SAVE + 0x0d0, 8},
	{MEMBER(cr4), SAVE + 0x148, 8},
	{MEMBER(cr3), SAVE + 0x150, 8},
	{MEMBER(cr0), SAVE + 0x158, 8},
	{MEMBER(dr7), SAVE + 0x160, 8},
	{MEMBER(dr6), SAVE + 0x168, 8},
	{MEMBER(rflags), SAVE + 0x170, 8},
	{MEMBER(rip), SAVE + 0x178, 8},
	{MEMBER(rsp), SAVE + 0x1d8, 8},
	{MEMBER(s_cet), SAVE + 0x1e0, 8},
	{MEMBER(ssp), SAVE + 0x1e8, 8},
	{MEMBER(interrupt_ssp_table), SAVE + 0x1f0, 8},
	{MEMBER(rax), SAVE + 0x1f8, 8},
	{MEMBER(star), SAVE + 0x200, 8},
	{MEMBER(lstar), SAVE + 0x208, 8},
	{MEMBER(cstar), SAVE + 0x210, 8},
	{MEMBER(sfmask), SAVE + 0x218, 8},
	{MEMBER(kernel_gs_base), SAVE + 0x220, 8},
	{MEMBER(sysenter_cs), SAVE + 0x228, 8},
	{MEMBER(sysenter_esp), SAVE + 0x230, 8},
	{MEMBER(sysenter_eip), SAVE + 0x238, 8},
	{MEMBER(cr2), SAVE + 0x240, 8},
	{MEMBER(pat), SAVE + 0x268, 8},
	{MEMBER(debugctl), SAVE + 0x270, 8},
	{MEMBER(last_branch_from), SAVE + 0x278, 8},
	{MEMBER(last_branch_to), SAVE + 0x280, 8},
	{MEMBER(last_interrupt_from), SAVE + 0x288, 8},
	{MEMBER(last_interrupt_to), SAVE + 0x290, 8},
};

START_TEST(member_is_where_the_manual_has_it)
{
	ck_assert_msg(members[_i].offset == members[_i].manual_offset, "%s is at %#zx", members[_i].name,
		      members[_i].offset);
	ck_assert_msg(members[_i].bytes == members[_i].manual_bytes, "%s has %zu bytes", members[_i].name,
		      members[_i].bytes);
}
END_TEST

START_TEST(vmcb_is_a_page)
{
	ck_assert_uint_eq(sizeof(struct vmcb), 4096);
	ck_assert_uint_eq(offsetof(struct vmcb_segment, selector), 0);
	ck_assert_uint_eq(offsetof(struct vmcb_segment, attributes), 2);
	ck_assert_uint_eq(offsetof(struct vmcb_segment, limit), 4);
	ck_assert_uint_eq(offsetof(struct vmcb_segment, base), 8);
}
END_TEST

/* ---- Intercepts: bit n of vector 3 belongs to exit code 0x60 + n, of 4 to 0x80 + n, of 5 to 0xa0 + n -------- */

static const struct {
	uint32_t base, bit;
	uint32_t intercept, code;
	const char *name; /* of the exit code */
} intercepts[] = {
	{0x60, 0, INTERCEPT_INTR, X86VCPU_SVM_EXIT_INTR, "physical interrupt"},
	{0x60, 1, INTERCEPT_NMI, X86VCPU_SVM_EXIT_NMI, "NMI"},
	{0x60, 2, INTERCEPT_SMI, X86VCPU_SVM_EXIT_SMI, "SMI"},
	{0x60, 3, INTERCEPT_INIT, X86VCPU_SVM_EXIT_INIT, "INIT"},
	{0x60, 4, INTERCEPT_VINTR, X86VCPU_SVM_EXIT_VINTR, "virtual interrupt"},
	{0x60, 5, INTERCEPT_CR0_SEL_WRITE, X86VCPU_SVM_EXIT_CR0_SEL_WRITE, "selective CR0 write"},
	{0x60, 6, INTERCEPT_READ_IDTR, X86VCPU_SVM_EXIT_IDTR_READ, "SIDT"},
	{0x60, 7, INTERCEPT_READ_GDTR, X86VCPU_SVM_EXIT_GDTR_READ, "SGDT"},
	{0x60, 8, INTERCEPT_READ_LDTR, X86VCPU_SVM_EXIT_LDTR_READ, "SLDT"},
	{0x60, 9, INTERCEPT_READ_TR, X86VCPU_SVM_EXIT_TR_READ, "STR"},
	{0x60, 10, INTERCEPT_WRITE_IDTR, X86VCPU_SVM_EXIT_IDTR_WRITE, "LIDT"},
	{0x60, 11, INTERCEPT_WRITE_GDTR, X86VCPU_SVM_EXIT_GDTR_WRITE, "LGDT"},
	{0x60, 12, INTERCEPT_WRITE_LDTR, X86VCPU_SVM_EXIT_LDTR_WRITE, "LLDT"},
	{0x60, 13, INTERCEPT_WRITE_TR, X86VCPU_SVM_EXIT_TR_WRITE, "LTR"},
	{0x60, 14, INTERCEPT_RDTSC, X86VCPU_SVM_EXIT_RDTSC, "RDTSC"},
	{0x60, 15, INTERCEPT_RDPMC, X86VCPU_SVM_EXIT_RDPMC, "RDPMC"},
	{0x60, 16, INTERCEPT_PUSHF, X86VCPU_SVM_EXIT_PUSHF, "PUSHF"},
	{0x60, 17, INTERCEPT_POPF, X86VCPU_SVM_EXIT_POPF, "POPF"},
	{0x60, 18, INTERCEPT_CPUID, X86VCPU_SVM_EXIT_CPUID, "CPUID"},
	{0x60, 19, INTERCEPT_RSM, X86VCPU_SVM_EXIT_RSM, "RSM"},
	{0x60, 20, INTERCEPT_IRET, X86VCPU_SVM_EXIT_IRET, "IRET"},
	{0x60, 21, INTERCEPT_INTN, X86VCPU_SVM_EXIT_INTN, "INT n"},
	{0x60, 22, INTERCEPT_INVD, X86VCPU_SVM_EXIT_INVD, "INVD"},
	{0x60, 23, INTERCEPT_PAUSE, X86VCPU_SVM_EXIT_PAUSE, "PAUSE"},
	{0x60, 24, INTERCEPT_HLT, X86VCPU_SVM_EXIT_HLT, "HLT"},
	{0x60, 25, INTERCEPT_INVLPG, X86VCPU_SVM_EXIT_INVLPG, "INVLPG"},
	{0x60, 26, INTERCEPT_INVLPGA, X86VCPU_SVM_EXIT_INVLPGA, "INVLPGA"},
	{0x60, 27, INTERCEPT_IOIO, X86VCPU_SVM_EXIT_IOIO, "IN or OUT"},
	{0x60, 28, INTERCEPT_MSR, X86VCPU_SVM_EXIT_MSR, "RDMSR or WRMSR"},
	{0x60, 29, INTERCEPT_TASK_SWITCH, X86VCPU_SVM_EXIT_TASK_SWITCH, "task switch"},
	{0x60, 30, INTERCEPT_FERR_FREEZE, X86VCPU_SVM_EXIT_FERR_FREEZE, "FERR freeze"},
	{0x60, 31, INTERCEPT_SHUTDOWN, X86VCPU_SVM_EXIT_SHUTDOWN, "shutdown"},
	{0x80, 0, INTERCEPT_VMRUN, X86VCPU_SVM_EXIT_VMRUN, "VMRUN"},
	{0x80, 1, INTERCEPT_VMMCALL, X86VCPU_SVM_EXIT_VMMCALL, "VMMCALL"},
	{0x80, 2, INTERCEPT_VMLOAD, X86VCPU_SVM_EXIT_VMLOAD, "VMLOAD"},
	{0x80, 3, INTERCEPT_VMSAVE, X86VCPU_SVM_EXIT_VMSAVE, "VMSAVE"},
	{0x80, 4, INTERCEPT_STGI, X86VCPU_SVM_EXIT_STGI, "STGI"},
	{0x80, 5, INTERCEPT_CLGI, X86VCPU_SVM_EXIT_CLGI, "CLGI"},
	{0x80, 6, INTERCEPT_SKINIT, X86VCPU_SVM_EXIT_SKINIT, "SKINIT"},
	{0x80, 7, INTERCEPT_RDTSCP, X86VCPU_SVM_EXIT_RDTSCP, "RDTSCP"},
	{0x80, 8, INTERCEPT_ICEBP, X86VCPU_SVM_EXIT_ICEBP, "INT1"},
	{0x80, 9, INTERCEPT_WBINVD, X86VCPU_SVM_EXIT_WBINVD, "WBINVD"},
	{0x80, 10, INTERCEPT_MONITOR, X86VCPU_SVM_EXIT_MONITOR, "MONITOR"},
	{0x80, 11, INTERCEPT_MWAIT, X86VCPU_SVM_EXIT_MWAIT, "MWAIT"},
	{0x80, 12, INTERCEPT_MWAIT_ARMED, X86VCPU_SVM_EXIT_MWAIT_ARMED, "MWAIT with monitoring armed"},
	{0x80, 13, INTERCEPT_XSETBV, X86VCPU_SVM_EXIT_XSETBV, "XSETBV"},
	{0x80, 14, INTERCEPT_RDPRU, X86VCPU_SVM_EXIT_RDPRU, "RDPRU"},
	{0x80, 15, INTERCEPT_EFER_WRITE_TRAP, X86VCPU_SVM_EXIT_EFER_WRITE_TRAP, "EFER write trap"},
	{0xa0, 0, INTERCEPT_INVLPGB, X86VCPU_SVM_EXIT_INVLPGB, "INVLPGB"},
	{0xa0, 1, INTERCEPT_INVLPGB_ILLEGAL, X86VCPU_SVM_EXIT_INVLPGB_ILLEGAL, "illegal INVLPGB"},
	{0xa0, 2, INTERCEPT_INVPCID, X86VCPU_SVM_EXIT_INVPCID, "INVPCID"},
	{0xa0, 3, INTERCEPT_MCOMMIT, X86VCPU_SVM_EXIT_MCOMMIT, "MCOMMIT"},
	{0xa0, 4, INTERCEPT_TLBSYNC, X86VCPU_SVM_EXIT_TLBSYNC, "TLBSYNC"},
};

START_TEST(intercept_has_its_bit_and_exit_code)
{
	ck_assert_uint_eq(intercepts[_i].intercept, (uint32_t)BIT(intercepts[_i].bit));
	ck_assert_uint_eq(intercepts[_i].code, intercepts[_i].base + intercepts[_i].bit);
	ck_assert_str_eq(x86vcpu_svm_exit_name(intercepts[_i].base + intercepts[_i].bit), intercepts[_i].name);
}
END_TEST

/* ---- Other exit codes --------------------------------------------------------------------------------------- */

static const struct {
	uint64_t code, number;
	const char *name;
} codes[] = {
	{X86VCPU_SVM_EXIT_CR0_READ, 0x00, "CR read"},
	{X86VCPU_SVM_EXIT_CR15_READ, 0x0f, "CR read"},
	{X86VCPU_SVM_EXIT_CR0_WRITE, 0x10, "CR write"},
	{X86VCPU_SVM_EXIT_CR15_WRITE, 0x1f, "CR write"},
	{X86VCPU_SVM_EXIT_DR0_READ, 0x20, "DR read"},
	{X86VCPU_SVM_EXIT_DR0_READ + 15, 0x2f, "DR read"},
	{X86VCPU_SVM_EXIT_DR0_WRITE, 0x30, "DR write"},
	{X86VCPU_SVM_EXIT_DR15_WRITE, 0x3f, "DR write"},
	{X86VCPU_SVM_EXIT_EXCEPTION, 0x40, "exception"},
	{X86VCPU_SVM_EXIT_EXCEPTION + 14, 0x4e, "exception"},
	{X86VCPU_SVM_EXIT_EXCEPTION_LAST, 0x5f, "exception"},
	{X86VCPU_SVM_EXIT_CR0_WRITE_TRAP, 0x90, "CR write trap"},
	{X86VCPU_SVM_EXIT_CR0_WRITE_TRAP + 4, 0x94, "CR write trap"},
	{X86VCPU_SVM_EXIT_CR15_WRITE_TRAP, 0x9f, "CR write trap"},
	{X86VCPU_SVM_EXIT_BUS_LOCK, 0xa5, "bus lock"},
	{X86VCPU_SVM_EXIT_IDLE_HLT, 0xa6, "idle HLT"},
	{X86VCPU_SVM_EXIT_NPF, 0x400, "nested page fault"},
	{X86VCPU_SVM_EXIT_AVIC_INCOMPLETE_IPI, 0x401, "AVIC"},
	{X86VCPU_SVM_EXIT_AVIC_NOACCEL, 0x402, "AVIC"},
	{X86VCPU_SVM_EXIT_VMGEXIT, 0x403, "VMGEXIT"},
	{X86VCPU_SVM_EXIT_INVALID, (uint64_t)-1, "invalid guest state"},
	{X86VCPU_SVM_EXIT_BUSY, (uint64_t)-2, "VMSA busy"},
	{X86VCPU_SVM_EXIT_IDLE_REQUIRED, (uint64_t)-3, "idle required"},
	/* 32 bits of them. */
	{0xffffffff, (uint32_t)-1, "invalid guest state"},
	{0xfffffffe, (uint32_t)-2, "VMSA busy"},
	{0xfffffffd, (uint32_t)-3, "idle required"},
};

START_TEST(exit_code_has_its_number_and_name)
{
	ck_assert_uint_eq(codes[_i].code, codes[_i].number);
	ck_assert_str_eq(x86vcpu_svm_exit_name(codes[_i].number), codes[_i].name);
}
END_TEST

START_TEST(other_codes_are_unknown)
{
	static const uint64_t values[] = {0xa7, 0xff, 0x100, 0x3ff, 0x404, 0x10000, 0x80000000,
					  UINT64_C(0x100000000), UINT64_C(0x100000072), UINT64_C(0x7fffffff00000000)};

	ck_assert_str_eq(x86vcpu_svm_exit_name(values[_i]), "unknown exit code");
}
END_TEST

/* Every code below 0xa7 is taken: none is unknown, and no two single ones have the same name. */
START_TEST(names_have_no_gap_and_no_twin)
{
	for (uint64_t code = 0; code <= 0xa6; code++)
		ck_assert_str_ne(x86vcpu_svm_exit_name(code), "unknown exit code");
	for (int i = 0; i < COUNT(intercepts); i++)
		for (int j = 0; j < i; j++)
			ck_assert_str_ne(intercepts[i].name, x86vcpu_svm_exit_name(intercepts[j].code));
}
END_TEST

/* ---- Bits of other fields ------------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	uint64_t value, manual;
} bits[] = {
	/* Table B-1, offset 0x060. */
	{"V_TPR", V_TPR, 0xff},
	{"V_IRQ", V_IRQ, BIT(8)},
	{"V_INTR_PRIO", V_INTR_PRIO, UINT64_C(15) << 16},
	{"V_IGN_TPR", V_IGN_TPR, BIT(20)},
	{"V_INTR_MASKING", V_INTR_MASKING, BIT(24)},
	{"V_INTR_VECTOR", V_INTR_VECTOR, UINT64_C(255) << 32},
	{"INTERRUPT_SHADOW", INTERRUPT_SHADOW, BIT(0)},
	{"NESTED_PAGING", NESTED_PAGING, BIT(0)},
	/* 15.20, EVENTINJ: vector, type, EV, V. */
	{"EVENT_TYPE_SHIFT", EVENT_TYPE_SHIFT, 8},
	{"EVENT_ERROR_CODE", EVENT_ERROR_CODE, BIT(11)},
	{"EVENT_VALID", EVENT_VALID, BIT(31)},
	/* 15.16, TLB_CONTROL. */
	{"TLB_CONTROL_NONE", TLB_CONTROL_NONE, 0},
	{"TLB_CONTROL_FLUSH_ALL", TLB_CONTROL_FLUSH_ALL, 1},
	/* 15.15.3: I, IOPM, ASID, TPR, NP, CRx, DRx, DT, SEG, CR2. */
	{"CLEAN_INTERCEPTS", CLEAN_INTERCEPTS, BIT(0)},
	{"CLEAN_PERMISSION_MAPS", CLEAN_PERMISSION_MAPS, BIT(1)},
	{"CLEAN_ASID", CLEAN_ASID, BIT(2)},
	{"CLEAN_TPR", CLEAN_TPR, BIT(3)},
	{"CLEAN_NESTED_PAGING", CLEAN_NESTED_PAGING, BIT(4)},
	{"CLEAN_CONTROL_REGISTERS", CLEAN_CONTROL_REGISTERS, BIT(5)},
	{"CLEAN_DEBUG_REGISTERS", CLEAN_DEBUG_REGISTERS, BIT(6)},
	{"CLEAN_DESCRIPTOR_TABLES", CLEAN_DESCRIPTOR_TABLES, BIT(7)},
	{"CLEAN_SEGMENTS", CLEAN_SEGMENTS, BIT(8)},
	{"CLEAN_CR2", CLEAN_CR2, BIT(9)},
	{"CLEAN_ALL", CLEAN_ALL, 0x3ff},
	/* 15.25.6. */
	{"NPF_FINAL", NPF_FINAL, BIT(32)},
	{"NPF_WALK", NPF_WALK, BIT(33)},
};

START_TEST(bit_is_where_the_manual_has_it)
{
	ck_assert_msg(bits[_i].value == bits[_i].manual, "%s", bits[_i].name);
}
END_TEST

Suite *svm_tables_suite(void)
{
	Suite *suite = suite_create("svm_tables");
	TCase *tc = tcase_create("vmcb");

	suite_add_tcase(suite, tc);
	tcase_add_loop_test(tc, member_is_where_the_manual_has_it, 0, COUNT(members));
	tcase_add_test(tc, vmcb_is_a_page);
	tcase_add_loop_test(tc, bit_is_where_the_manual_has_it, 0, COUNT(bits));
	tc = tcase_create("exits");
	suite_add_tcase(suite, tc);
	tcase_add_loop_test(tc, intercept_has_its_bit_and_exit_code, 0, COUNT(intercepts));
	tcase_add_loop_test(tc, exit_code_has_its_number_and_name, 0, COUNT(codes));
	tcase_add_loop_test(tc, other_codes_are_unknown, 0, 10);
	tcase_add_test(tc, names_have_no_gap_and_no_twin);
	return suite;
}
