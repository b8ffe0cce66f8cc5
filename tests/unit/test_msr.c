/* SPDX-License-Identifier: Apache-2.0 */
/* RDMSR and WRMSR: the policy row by row, checks of values, and what needs no exit. */
#include <check.h>
#include <string.h>

#include "cpu/x86.h"
#include "emul/msr.h"
#include "emul/msr_rule.h"
#include "guest_fixture.h"

Suite *msr_suite(void);

#define HOST_TSC UINT64_C(0x123456789abc)
#define UNTOUCHED UINT64_C(0xabababababababab)
#define CANONICAL_LOW UINT64_C(0x00007fffffffffff)
#define CANONICAL_HIGH UINT64_C(0xffff800000000000)

static uint64_t host_tsc(void)
{
	return HOST_TSC;
}

static struct guest *new_guest(void)
{
	struct guest_fixture *f = fixture_reset(FIXTURE_LONG);
	struct guest *g = &f->g;

	g->host_tsc = host_tsc;
	g->limits.mtrr = true;
	g->limits.has_xsaves = true;
	g->limits.xss = 0x800;
	g->regs.rax = g->regs.rdx = UNTOUCHED;
	guest_reset_msrs(g);
	g->msrs_changed = false;
	memset(&f->exit, 0xff, sizeof(f->exit));
	return g;
}

static int rdmsr(struct guest *g, uint32_t msr, uint64_t *value)
{
	int result;

	g->regs.rcx = UINT64_C(0xffffffff00000000) | msr; /* only ECX counts */
	g->regs.rax = g->regs.rdx = UNTOUCHED;
	result = emul_rdmsr(g);
	*value = g->regs.rdx << 32 | (uint32_t)g->regs.rax;
	if (result == EMUL_NEXT)
		ck_assert(g->regs.rax >> 32 == 0 && g->regs.rdx >> 32 == 0);
	else
		ck_assert(g->regs.rax == UNTOUCHED && g->regs.rdx == UNTOUCHED);
	return result;
}

static int wrmsr(struct guest *g, uint32_t msr, uint64_t value)
{
	g->regs.rcx = UINT64_C(0xffffffff00000000) | msr;
	g->regs.rax = UINT64_C(0xffffffff00000000) | (uint32_t)value;
	g->regs.rdx = UINT64_C(0xffffffff00000000) | value >> 32;
	return emul_wrmsr(g);
}

static void assert_reads(struct guest *g, uint32_t msr, uint64_t expected)
{
	uint64_t value;

	ck_assert_int_eq(rdmsr(g, msr, &value), EMUL_NEXT);
	ck_assert_uint_eq(value, expected);
}

static void assert_refused(struct guest *g, uint32_t msr)
{
	uint64_t value;

	ck_assert_msg(rdmsr(g, msr, &value) == EMUL_GP, "RDMSR %x", msr);
	ck_assert_msg(wrmsr(g, msr, 0) == EMUL_GP, "WRMSR %x", msr);
	ck_assert_uint_eq(g->dirty, 0);
	ck_assert(!g->msrs_changed);
}

/* ---- The table ------------------------------------------------------------------------------------------------- */

static bool is_row(const struct msr_rule *found, const struct msr_rule *row)
{
	return found && found->first == row->first && found->last == row->last && found->apic == row->apic;
}

START_TEST(rules_ascend)
{
	uint32_t count;
	const struct msr_rule *rules = msr_rules(&count);

	ck_assert_uint_gt(count, 50);
	for (uint32_t i = 0; i < count; i++) {
		ck_assert_msg(rules[i].first <= rules[i].last, "row %x", rules[i].first);
		ck_assert_msg(i == 0 || rules[i - 1].last < rules[i].first, "row %x", rules[i].first);
		ck_assert(is_row(msr_rule_find(rules[i].first), &rules[i]));
		ck_assert(is_row(msr_rule_find(rules[i].last), &rules[i]));
	}
}
END_TEST

/*
 * What would reach the host's devices, power, debug store or virtualization: the first and last of each
 * range. Names as in SDM Vol. 4 and APM appendix A.
 */
static const uint32_t dangerous[] = {
	0x1b,                   /* APIC_BASE: no local APIC */
	0x48, 0x49,             /* SPEC_CTRL, PRED_CMD */
	0x79,                   /* BIOS_UPDT_TRIG */
	0x9b, 0x9e,             /* SMM_MONITOR_CTL, SMBASE */
	0xc1, 0xc8,             /* PMC0 to 7 */
	0x10a, 0x10b, 0x122,    /* ARCH_CAPABILITIES (hidden), FLUSH_CMD, TSX_CTRL */
	0x17b,                  /* MCG_CTL */
	0x186, 0x189,           /* PERFEVTSEL */
	0x199, 0x19a, 0x19b,    /* PERF_CTL, CLOCK_MODULATION, THERM_INTERRUPT */
	0x1c4, 0x1c5,           /* XFD */
	0x1f2, 0x1f3,           /* SMRR */
	0x280,                  /* MC0_CTL2 */
	0x309, 0x30b, 0x345,    /* FIXED_CTR, PERF_CAPABILITIES */
	0x38d, 0x38f, 0x390,    /* PMU control */
	0x3f1,                  /* PEBS_ENABLE */
	0x400, 0x401, 0x404, 0x47f, /* MC0_CTL, MC0_STATUS, MC1_CTL: banks beyond MCG_CAP's count */
	0x480, 0x48b, 0x491,    /* VMX capabilities */
	0x500,                  /* SGX_SVN_STATUS */
	0x560, 0x561, 0x570, 0x571, 0x572, 0x580, 0x587, /* RTIT */
	0x600,                  /* DS_AREA */
	0x606, 0x610, 0x620, 0x64e, /* RAPL, uncore ratio, PPERF */
	0x6a0, 0x6a2, 0x6a8,    /* CET */
	0x6e0, 0x6e1,           /* TSC_DEADLINE, PKRS */
	0x770, 0x774, 0x777,    /* HWP */
	0x800, 0x802, 0x808, 0x80b, 0x830, 0x83f, 0x8ff, /* x2APIC: no local APIC */
	0x985, 0x98a,           /* UINTR */
	0xc80, 0xc8f, 0xc90,    /* DEBUG_INTERFACE, RDT */
	0xd90, 0xd93,           /* BNDCFGS, PASID */
	0x14ce,                 /* LBR_CTL */
	0xc0000104,             /* TSC_RATIO */
	0xc0010000, 0xc0010004, /* PERF_CTL0, PERF_CTR0 */
	0xc0010020,             /* PATCH_LOADER */
	0xc0010062,             /* PSTATE_CONTROL */
	0xc0010111, 0xc0010112, 0xc0010113, /* SMM */
	0xc0010114,             /* VM_CR */
	0xc0010115, 0xc0010116, /* IGNNE, SMM_CTL */
	0xc0010117, 0xc0010118, /* VM_HSAVE_PA, SVM_KEY */
	0xc0010131,             /* SEV_STATUS */
	0xc0010200, 0xc001020b, /* PERF_CTL, PERF_CTR */
	0xc0011030, 0xc001103a, /* IBS */
};

START_TEST(dangerous_msr_is_refused)
{
	assert_refused(new_guest(), dangerous[_i]);
}
END_TEST

struct constant_row {
	uint32_t msr;
	uint64_t value;
	int write; /* EMUL_NEXT: ignored */
};

static const struct constant_row constants[] = {
	{0x0, 0, EMUL_NEXT},
	{0x1, 0, EMUL_NEXT},
	{0x17, 0, EMUL_GP},                  /* PLATFORM_ID */
	{0x34, 0, EMUL_GP},                  /* SMI_COUNT */
	{0x3a, 1, EMUL_GP},                  /* FEATURE_CONTROL: locked, nothing enabled */
	{0x8b, UINT64_C(1) << 32, EMUL_NEXT}, /* BIOS_SIGN_ID */
	{0xce, 0, EMUL_GP},                  /* PLATFORM_INFO */
	{0xe1, 0, EMUL_NEXT},                /* UMWAIT_CONTROL */
	{0xfe, 0x508, EMUL_GP},              /* MTRRCAP: 8 variable, fixed, WC */
	{0x140, 0, EMUL_GP},                 /* MISC_FEATURES_ENABLES */
	{0x179, 0, EMUL_GP},                 /* MCG_CAP: no banks */
	{0x1a0, 0x1801, EMUL_GP},            /* MISC_ENABLE: fast strings, no BTS, no PEBS; bit 1 is reserved */
	{0x1d9, 0, EMUL_NEXT},               /* DEBUGCTL */
	{0x1db, 0, EMUL_GP},
	{0xc0010010, 0, EMUL_NEXT},          /* SYSCFG */
	{0xc0010015, 1 << 24, EMUL_NEXT},    /* HWCR: TscFreqSel */
	{0xc001001a, 0, EMUL_NEXT},          /* TOP_MEM */
	{0xc001001d, 0, EMUL_NEXT},
	{0xc001001f, 0, EMUL_NEXT},          /* NB_CFG */
	{0xc0010140, 0, EMUL_NEXT},          /* OSVW */
	{0xc0010141, 0, EMUL_NEXT},
	{0xc0011020, 0, EMUL_NEXT},          /* LS_CFG */
	{0xc0011029, 0, EMUL_NEXT},          /* DE_CFG */
};

START_TEST(constant_msr)
{
	const struct constant_row *row = &constants[_i];
	struct guest *g = new_guest();

	assert_reads(g, row->msr, row->value);
	ck_assert_int_eq(wrmsr(g, row->msr, 3), row->write);
	assert_reads(g, row->msr, row->value);
	ck_assert_uint_eq(g->dirty, 0);
}
END_TEST

/* SDM Vol. 4, table 2-2: kept; read-only or of a feature that CPUID hides; reserved. */
START_TEST(misc_enable)
{
	static const uint64_t kept = 0x400400009, ignored = 0x4000851880;

	for (unsigned bit = 0; bit < 64; bit++) {
		struct guest *g = new_guest();
		const uint64_t value = UINT64_C(1) << bit;
		uint64_t read;

		ck_assert_int_eq(wrmsr(g, 0x1a0, value), (kept | ignored) & value ? EMUL_NEXT : EMUL_GP);
		ck_assert_int_eq(rdmsr(g, 0x1a0, &read), EMUL_NEXT);
		ck_assert_uint_eq(read, !((kept | ignored) & value) ? 0x1801 : (value & kept) | 0x1800);
	}
}
END_TEST

START_TEST(xd_disable_needs_xd)
{
	struct guest *g = new_guest();

	ck_assert_int_eq(wrmsr(g, 0xc0000080, EFER_LME | EFER_LMA), EMUL_NEXT);
	ck_assert_int_eq(wrmsr(g, 0x1a0, UINT64_C(1) << 34), EMUL_NEXT);
	ck_assert_int_eq(wrmsr(g, 0xc0000080, EFER_LME | EFER_LMA | EFER_NXE), EMUL_GP);
	g = new_guest();
	g->limits.has_nx = false;
	ck_assert_int_eq(wrmsr(g, 0x1a0, UINT64_C(1) << 34), EMUL_GP);
}
END_TEST

/* SDM 16.3.1.2: RIPV, EIPV, MCIP. */
START_TEST(mcg_status)
{
	for (unsigned bit = 0; bit < 64; bit++)
		ck_assert_int_eq(wrmsr(new_guest(), 0x17a, UINT64_C(1) << bit), bit < 3 ? EMUL_NEXT : EMUL_GP);
}
END_TEST

/* LBR and BTF are accepted and ignored, the rest of DEBUGCTL is refused. */
START_TEST(debugctl)
{
	for (unsigned bit = 0; bit < 64; bit++)
		ck_assert_int_eq(wrmsr(new_guest(), 0x1d9, UINT64_C(1) << bit), bit < 2 ? EMUL_NEXT : EMUL_GP);
}
END_TEST

/* ---- Checks of values -------------------------------------------------------------------------------------------- */

struct value_row {
	uint32_t msr;
	uint64_t value;
	int result;
};

static const struct value_row values[] = {
	/* Addresses must be canonical (SDM Vol. 2, WRMSR). */
	{0xc0000100, CANONICAL_LOW, EMUL_NEXT},
	{0xc0000100, CANONICAL_HIGH, EMUL_NEXT},
	{0xc0000100, CANONICAL_LOW + 1, EMUL_GP},
	{0xc0000100, CANONICAL_HIGH - 1, EMUL_GP},
	{0xc0000101, CANONICAL_LOW, EMUL_NEXT},
	{0xc0000101, CANONICAL_LOW + 1, EMUL_GP},
	{0xc0000102, CANONICAL_HIGH, EMUL_NEXT},
	{0xc0000102, CANONICAL_HIGH - 1, EMUL_GP},
	{0xc0000082, CANONICAL_HIGH, EMUL_NEXT},
	{0xc0000082, CANONICAL_LOW + 1, EMUL_GP},
	{0xc0000083, CANONICAL_LOW, EMUL_NEXT},
	{0xc0000083, UINT64_C(1) << 63, EMUL_GP},
	{0x175, CANONICAL_HIGH, EMUL_NEXT},
	{0x175, CANONICAL_LOW + 1, EMUL_GP},
	{0x176, CANONICAL_HIGH, EMUL_NEXT},
	{0x176, CANONICAL_HIGH - 1, EMUL_GP},
	{0x174, 0x10, EMUL_NEXT},
	{0xc0000081, 0xffffffffffffffff, EMUL_NEXT},
	/* 32 bits. */
	{0xc0000084, 0xffffffff, EMUL_NEXT},
	{0xc0000084, 0x100000000, EMUL_GP},
	{0xc0000103, 0xffffffff, EMUL_NEXT},
	{0xc0000103, 0x100000000, EMUL_GP},
	/* IA32_XSS: the fixture's CPUID has bit 11. */
	{0xda0, 0x800, EMUL_NEXT},
	{0xda0, 0x100, EMUL_GP},
	{0xda0, 0x801, EMUL_GP},
	/* PAT: each byte one of 0, 1, 4, 5, 6, 7 (SDM table 12-10). */
	{0x277, 0x0007040600070406, EMUL_NEXT},
	{0x277, 0x0001040506070000, EMUL_NEXT},
	{0x277, 0x0007040600070402, EMUL_GP},
	{0x277, 0x0307040600070406, EMUL_GP},
	{0x277, 0x0007040600080406, EMUL_GP},
	{0x277, 0x8007040600070406, EMUL_GP},
	/* Fixed MTRRs: each byte one of 0, 1, 4, 5, 6. */
	{0x250, 0x0001040506060606, EMUL_NEXT},
	{0x259, 0x0606060606060607, EMUL_GP},
	{0x26f, 0x0206060606060606, EMUL_GP},
	{0x268, 0x0606060616060606, EMUL_GP},
	/* Variable MTRRs: 40 physical bits (SDM 12.11.2.3). */
	{0x200, 0xfffffff006, EMUL_NEXT},
	{0x200, 0x0000000007, EMUL_GP},
	{0x200, 0x0000000002, EMUL_GP},
	{0x200, 0x0000000106, EMUL_GP},
	{0x200, 0x0000000806, EMUL_GP},
	{0x200, 0x10000000006, EMUL_GP},
	{0x20e, 0x0000000005, EMUL_NEXT},
	{0x201, 0xfffffff800, EMUL_NEXT},
	{0x20f, 0xfffffff000, EMUL_NEXT},
	{0x201, 0xfffffff801, EMUL_GP},
	{0x201, 0xfffffffc00, EMUL_GP},
	{0x201, 0x10000000800, EMUL_GP},
	/* MTRR_DEF_TYPE: type, FE, E (SDM 12.11.2.1). */
	{0x2ff, 0xc06, EMUL_NEXT},
	{0x2ff, 0x800, EMUL_NEXT},
	{0x2ff, 0xc07, EMUL_GP},
	{0x2ff, 0xc02, EMUL_GP},
	{0x2ff, 0xd06, EMUL_GP},
	{0x2ff, 0x1006, EMUL_GP},
	{0x17a, 4, EMUL_NEXT},
};

START_TEST(value_is_checked)
{
	const struct value_row *row = &values[_i];
	struct guest *g = new_guest();
	uint64_t before;

	ck_assert_int_eq(rdmsr(g, row->msr, &before), EMUL_NEXT);
	ck_assert_int_eq(wrmsr(g, row->msr, row->value), row->result);
	assert_reads(g, row->msr, row->result == EMUL_NEXT ? row->value : before);
	if (row->result != EMUL_NEXT) {
		ck_assert_uint_eq(g->dirty, 0);
		ck_assert(!g->msrs_changed);
	}
}
END_TEST

/* Each MTRR is a register of its own. */
START_TEST(mtrrs_are_distinct)
{
	static const uint32_t fixed[] = {0x250, 0x258, 0x259, 0x268, 0x269, 0x26a,
					 0x26b, 0x26c, 0x26d, 0x26e, 0x26f};
	struct guest *g = new_guest();

	for (uint32_t i = 0; i < 16; i++)
		ck_assert_int_eq(wrmsr(g, 0x200 + i, (uint64_t)(i + 1) << 12), EMUL_NEXT);
	for (uint32_t i = 0; i < 11; i++)
		ck_assert_int_eq(wrmsr(g, fixed[i], UINT64_C(4) << (i % 8 * 8) | (i > 7)), EMUL_NEXT);
	for (uint32_t i = 0; i < 16; i++)
		assert_reads(g, 0x200 + i, (uint64_t)(i + 1) << 12);
	for (uint32_t i = 0; i < 11; i++)
		assert_reads(g, fixed[i], UINT64_C(4) << (i % 8 * 8) | (i > 7));
	assert_reads(g, 0x2ff, 0);
}
END_TEST

struct field_row {
	uint32_t msr;
	unsigned field;
	uint64_t value;
};

static const struct field_row fields[] = {
	{0x174, G_SYSENTER_CS, 0x10},
	{0x175, G_SYSENTER_ESP, CANONICAL_HIGH},
	{0x176, G_SYSENTER_EIP, CANONICAL_HIGH},
	{0x277, G_PAT, 0x0001040506070000},
	{0xc0000080, G_EFER, EFER_LME | EFER_LMA | EFER_SCE},
	{0xc0000100, G_BASE + X86VCPU_SEGMENT_FS, 0x1234},
	{0xc0000101, G_BASE + X86VCPU_SEGMENT_GS, 0x5678},
};

START_TEST(field_is_the_msr)
{
	const struct field_row *row = &fields[_i];
	struct guest *g = new_guest();

	ck_assert_int_eq(wrmsr(g, row->msr, row->value), EMUL_NEXT);
	ck_assert_uint_eq(guest_get(g, (enum guest_field)row->field), row->value);
	ck_assert_uint_eq(g->dirty, UINT64_C(1) << row->field);
	assert_reads(g, row->msr, row->value);
}
END_TEST

struct switched_row {
	uint32_t msr;
	size_t offset;
	uint64_t value;
};

#define SWITCHED(member) offsetof(struct guest_msrs, member)

static const struct switched_row switched[] = {
	{0xc0000081, SWITCHED(star), 0x0023001000000000},
	{0xc0000082, SWITCHED(lstar), CANONICAL_HIGH},
	{0xc0000083, SWITCHED(cstar), CANONICAL_HIGH + 1},
	{0xc0000084, SWITCHED(fmask), 0x47700},
	{0xc0000102, SWITCHED(kernel_gs_base), CANONICAL_LOW},
	{0xc0000103, SWITCHED(tsc_aux), 7},
	{0xda0, SWITCHED(xss), 0x800},
};

START_TEST(switched_msr)
{
	const struct switched_row *row = &switched[_i];
	struct guest *g = new_guest();
	uint64_t kept;

	ck_assert_int_eq(wrmsr(g, row->msr, row->value), EMUL_NEXT);
	memcpy(&kept, (uint8_t *)&g->msrs + row->offset, sizeof(kept));
	ck_assert_uint_eq(kept, row->value);
	ck_assert(g->msrs_changed);
	ck_assert_uint_eq(g->dirty, 0);
}
END_TEST

struct gate_row {
	size_t offset; /* in struct guest_limits */
	uint32_t msr;
};

#define LIMIT(member) offsetof(struct guest_limits, member)

static const struct gate_row gates[] = {
	{LIMIT(mtrr), 0xfe},
	{LIMIT(mtrr), 0x200},
	{LIMIT(mtrr), 0x20f},
	{LIMIT(mtrr), 0x250},
	{LIMIT(mtrr), 0x26f},
	{LIMIT(mtrr), 0x2ff},
	{LIMIT(rdtscp), 0xc0000103},
	{LIMIT(has_xsaves), 0xda0},
	{LIMIT(has_long_mode), 0xc0000082},
	{LIMIT(has_long_mode), 0xc0000102},
};

/* An MSR of a feature that CPUID hides does not exist. */
START_TEST(msr_needs_its_feature)
{
	struct guest *g = new_guest();
	uint64_t value;

	ck_assert_int_eq(rdmsr(g, gates[_i].msr, &value), EMUL_NEXT);
	*((bool *)&g->limits + gates[_i].offset) = false;
	assert_refused(g, gates[_i].msr);
}
END_TEST

/* ---- EFER ------------------------------------------------------------------------------------------------------------ */

START_TEST(efer_keeps_lma)
{
	struct guest *g = new_guest();

	ck_assert_int_eq(wrmsr(g, 0xc0000080, EFER_LME | EFER_NXE | EFER_SCE), EMUL_NEXT);
	assert_reads(g, 0xc0000080, EFER_LME | EFER_LMA | EFER_NXE | EFER_SCE);
	fixture_set((struct guest_fixture *)g, G_CR0, 0x11);
	fixture_set((struct guest_fixture *)g, G_EFER, 0);
	ck_assert_int_eq(wrmsr(g, 0xc0000080, EFER_LME | EFER_LMA), EMUL_NEXT);
	assert_reads(g, 0xc0000080, EFER_LME);
}
END_TEST

START_TEST(efer_is_checked)
{
	for (unsigned bit = 0; bit < 64; bit++) {
		struct guest *g = new_guest();
		const uint64_t allowed = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
		const uint64_t value = EFER_LME | EFER_NXE | UINT64_C(1) << bit;

		ck_assert_int_eq(wrmsr(g, 0xc0000080, value), allowed >> bit & 1 ? EMUL_NEXT : EMUL_GP);
	}
	ck_assert_int_eq(wrmsr(new_guest(), 0xc0000080, EFER_NXE), EMUL_GP); /* LME with paging on */
}
END_TEST

START_TEST(nxe_changes_translations)
{
	struct guest *g = new_guest();

	ck_assert_int_eq(wrmsr(g, 0xc0000080, EFER_LME | EFER_NXE | EFER_SCE), EMUL_NEXT);
	ck_assert(!g->flush_tlb);
	ck_assert_int_eq(wrmsr(g, 0xc0000080, EFER_LME), EMUL_NEXT);
	ck_assert(g->flush_tlb);
}
END_TEST

/* ---- TSC (SDM 18.17.3) --------------------------------------------------------------------------------------------------- */

START_TEST(tsc_is_offset)
{
	struct guest *g = new_guest();

	assert_reads(g, 0x10, HOST_TSC);
	g->msrs.tsc_offset = 0 - HOST_TSC - 1;
	assert_reads(g, 0x10, UINT64_MAX);
}
END_TEST

START_TEST(tsc_write_moves_adjust)
{
	struct guest *g = new_guest();

	g->msrs.tsc_offset = 1000;
	ck_assert_int_eq(wrmsr(g, 0x10, HOST_TSC + 5000), EMUL_NEXT);
	assert_reads(g, 0x10, HOST_TSC + 5000);
	assert_reads(g, 0x3b, 4000);
	ck_assert_int_eq(wrmsr(g, 0x10, 0), EMUL_NEXT);
	assert_reads(g, 0x10, 0);
	assert_reads(g, 0x3b, 0 - HOST_TSC - 1000);
	ck_assert(g->msrs_changed);
}
END_TEST

START_TEST(adjust_write_moves_tsc)
{
	struct guest *g = new_guest();

	ck_assert_int_eq(wrmsr(g, 0x3b, 4000), EMUL_NEXT);
	assert_reads(g, 0x10, HOST_TSC + 4000);
	ck_assert_int_eq(wrmsr(g, 0x3b, 0 - UINT64_C(1000)), EMUL_NEXT);
	assert_reads(g, 0x10, HOST_TSC - 1000);
	assert_reads(g, 0x3b, 0 - UINT64_C(1000));
	ck_assert(g->msrs_changed);
}
END_TEST

/* ---- The VMM's ------------------------------------------------------------------------------------------------------------- */

static void assert_forwarded(struct guest *g, uint32_t msr)
{
	struct x86vcpu_exit expected = {.kind = X86VCPU_EXIT_MSR_READ, .u.msr = {.index = msr}};
	uint64_t value;

	ck_assert_int_eq(rdmsr(g, msr, &value), EMUL_EXIT);
	ck_assert_mem_eq(g->exit, &expected, sizeof(expected));
	ck_assert_mem_eq(&g->last, &expected, sizeof(expected));
	ck_assert_int_eq(g->open, GUEST_OPEN_MSR_READ);
	expected.kind = X86VCPU_EXIT_MSR_WRITE;
	expected.u.msr.value = 0x1122334455667788;
	ck_assert_int_eq(wrmsr(g, msr, 0x1122334455667788), EMUL_EXIT);
	ck_assert_mem_eq(g->exit, &expected, sizeof(expected));
	ck_assert_mem_eq(&g->last, &expected, sizeof(expected));
	ck_assert_int_eq(g->open, GUEST_OPEN_MSR_WRITE);
	ck_assert_uint_eq(g->dirty, 0);
}

static const uint32_t unknown[] = {0x40000000, 0x40000001, 0x400000ff, 0x40000100, 0x4b564d00, 0x2,
				   0x1fff,     0x2000,     0xbfffffff, 0xc0000105, 0xc0012000, 0xc0001fff,
				   0x80000000, 0xffffffff};

START_TEST(unknown_msr_is_the_vmms)
{
	assert_forwarded(new_guest(), unknown[_i]);
}
END_TEST

static const uint32_t claimable[] = {0x10, 0x1b, 0x3a, 0x1a0, 0x200, 0x6e0, 0x802, 0x8ff, 0xc0010117, 0xc0011029};

START_TEST(claimed_msr_is_the_vmms)
{
	struct guest *g = new_guest();

	g->msr_ranges[0] = (struct x86vcpu_msr_range){0x50000000, 0x50000001};
	g->msr_ranges[1] = (struct x86vcpu_msr_range){claimable[_i], claimable[_i]};
	g->msr_range_count = 2;
	assert_forwarded(g, claimable[_i]);
}
END_TEST

START_TEST(claim_ends_at_its_ends)
{
	struct guest *g = new_guest();

	g->msr_ranges[0] = (struct x86vcpu_msr_range){0x801, 0x8fe};
	g->msr_range_count = 1;
	assert_forwarded(g, 0x801);
	assert_forwarded(g, 0x8fe);
	assert_refused(g, 0x800);
	assert_refused(g, 0x8ff);
}
END_TEST

/* As x86vcpu_setup_config says: the library must own these to stay safe. */
static const uint32_t owned[] = {0x174,      0x175,      0x176,      0x277,      0xda0,      0xc0000080, 0xc0000081,
				 0xc0000082, 0xc0000083, 0xc0000084, 0xc0000100, 0xc0000101, 0xc0000102, 0xc0000103};

START_TEST(owned_msr_cannot_be_claimed)
{
	struct guest *g = new_guest();
	uint64_t value;

	g->msr_ranges[0] = (struct x86vcpu_msr_range){0, 0xffffffff};
	g->msr_range_count = 1;
	ck_assert_int_eq(rdmsr(g, owned[_i], &value), EMUL_NEXT);
	ck_assert_int_ne(wrmsr(g, owned[_i], 0), EMUL_EXIT);
}
END_TEST

/* Nothing answers by accident: every MSR of the two ranges has one of three outcomes, and none changes state. */
START_TEST(every_msr_reads_safely)
{
	struct guest *g = new_guest();

	for (uint32_t i = 0; i < 0x4000; i++) {
		const uint32_t msr = i < 0x2000 ? i : 0xc0010000 + i - 0x2000;
		uint64_t value;
		const int result = rdmsr(g, msr, &value);

		ck_assert(result == EMUL_NEXT || result == EMUL_GP || result == EMUL_EXIT);
		ck_assert_uint_eq(g->dirty, 0);
	}
}
END_TEST

/* ---- Reset -------------------------------------------------------------------------------------------------------------------- */

START_TEST(reset_values)
{
	struct guest *g = new_guest();

	memset(&g->msrs, 0xff, sizeof(g->msrs));
	guest_reset_msrs(g);
	ck_assert(g->msrs_changed);
	for (uint32_t msr = 0xc0000081; msr <= 0xc0000084; msr++)
		assert_reads(g, msr, 0);
	assert_reads(g, 0xc0000102, 0);
	assert_reads(g, 0xc0000103, 0);
	assert_reads(g, 0xda0, 0);
	assert_reads(g, 0x3b, 0);
	assert_reads(g, 0x2ff, 0);
	assert_reads(g, 0x17a, 0);
	assert_reads(g, 0x1a0, 0x1801);
	ck_assert_uint_eq(g->msrs.tsc_offset, 0);
}
END_TEST

/* ---- Without exit (SDM 25.6.9) ----------------------------------------------------------------------------------------------- */

static bool passes(const uint8_t *bitmap, uint32_t msr, bool write)
{
	const uint32_t base = (write ? 2048 : 0) + (msr >= 0xc0000000 ? 1024 : 0);
	const uint32_t bit = msr & 0x1fff;

	return !(bitmap[base + bit / 8] >> (bit % 8) & 1);
}

static const uint32_t pass_reads[] = {0x10,       0x174,      0x175,      0x176,      0x277,      0xc0000080, 0xc0000081,
				      0xc0000082, 0xc0000083, 0xc0000084, 0xc0000100, 0xc0000101, 0xc0000102, 0xc0000103};
static const uint32_t pass_writes[] = {0x174, 0x175, 0x176, 0xc0000100, 0xc0000101, 0xc0000102};

static bool listed(const uint32_t *list, size_t count, uint32_t msr)
{
	for (size_t i = 0; i < count; i++)
		if (list[i] == msr)
			return true;
	return false;
}

START_TEST(bitmap_lets_through_no_more)
{
	struct guest *g = new_guest();
	static uint8_t bitmap[4096];

	msr_bitmap_build(g, bitmap);
	for (uint32_t i = 0; i < 0x4000; i++) {
		const uint32_t msr = i < 0x2000 ? i : 0xc0000000 + i - 0x2000;

		ck_assert_msg(passes(bitmap, msr, false) == listed(pass_reads, 14, msr), "RDMSR %x", msr);
		ck_assert_msg(passes(bitmap, msr, true) == listed(pass_writes, 6, msr), "WRMSR %x", msr);
	}
}
END_TEST

START_TEST(bitmap_follows_features)
{
	struct guest *g = new_guest();
	static uint8_t bitmap[4096];

	g->limits.rdtscp = false;
	msr_bitmap_build(g, bitmap);
	ck_assert(!passes(bitmap, 0xc0000103, false));
	ck_assert(passes(bitmap, 0xc0000082, false));
	g->limits.has_long_mode = false;
	msr_bitmap_build(g, bitmap);
	ck_assert(!passes(bitmap, 0xc0000082, false));
	ck_assert(!passes(bitmap, 0xc0000100, true));
}
END_TEST

START_TEST(bitmap_follows_claims)
{
	struct guest *g = new_guest();
	static uint8_t bitmap[4096];

	g->msr_ranges[0] = (struct x86vcpu_msr_range){0, 0xffffffff};
	g->msr_range_count = 1;
	msr_bitmap_build(g, bitmap);
	ck_assert(!passes(bitmap, 0x10, false));
	ck_assert(passes(bitmap, 0xc0000080, false)); /* owned */
}
END_TEST

START_TEST(what_svm_must_not_pass_through)
{
	struct guest *g = new_guest();
	struct msr_pass pass;
	unsigned vmx_only = 0;

	for (uint32_t n = 0; msr_passthrough(g, n, &pass); n++) {
		vmx_only += pass.vmx_only;
		ck_assert(pass.vmx_only == (pass.msr == 0xc0000080 || pass.msr == 0x277 || pass.msr == 0x10));
	}
	ck_assert_uint_eq(vmx_only, 3);
	ck_assert(!msr_passthrough(g, UINT32_MAX, &pass));
}
END_TEST

#define ROWS(array) ((int)(sizeof(array) / sizeof((array)[0])))

static void add_value_tests(Suite *suite)
{
	TCase *tc = tcase_create("values");

	tcase_add_loop_test(tc, value_is_checked, 0, ROWS(values));
	tcase_add_test(tc, mtrrs_are_distinct);
	tcase_add_loop_test(tc, field_is_the_msr, 0, ROWS(fields));
	tcase_add_loop_test(tc, switched_msr, 0, ROWS(switched));
	tcase_add_loop_test(tc, msr_needs_its_feature, 0, ROWS(gates));
	tcase_add_test(tc, efer_keeps_lma);
	tcase_add_test(tc, efer_is_checked);
	tcase_add_test(tc, nxe_changes_translations);
	tcase_add_test(tc, tsc_is_offset);
	tcase_add_test(tc, tsc_write_moves_adjust);
	tcase_add_test(tc, adjust_write_moves_tsc);
	tcase_add_test(tc, reset_values);
	suite_add_tcase(suite, tc);
}

static void add_owner_tests(Suite *suite)
{
	TCase *tc = tcase_create("owners");

	tcase_add_loop_test(tc, unknown_msr_is_the_vmms, 0, ROWS(unknown));
	tcase_add_loop_test(tc, claimed_msr_is_the_vmms, 0, ROWS(claimable));
	tcase_add_test(tc, claim_ends_at_its_ends);
	tcase_add_loop_test(tc, owned_msr_cannot_be_claimed, 0, ROWS(owned));
	tcase_add_test(tc, bitmap_lets_through_no_more);
	tcase_add_test(tc, bitmap_follows_features);
	tcase_add_test(tc, bitmap_follows_claims);
	tcase_add_test(tc, what_svm_must_not_pass_through);
	suite_add_tcase(suite, tc);
}

Suite *msr_suite(void)
{
	Suite *suite = suite_create("msr");
	TCase *tc = tcase_create("policy");

	tcase_add_test(tc, rules_ascend);
	tcase_add_loop_test(tc, dangerous_msr_is_refused, 0, ROWS(dangerous));
	tcase_add_loop_test(tc, constant_msr, 0, ROWS(constants));
	tcase_add_test(tc, debugctl);
	tcase_add_test(tc, misc_enable);
	tcase_add_test(tc, xd_disable_needs_xd);
	tcase_add_test(tc, mcg_status);
	tcase_add_test(tc, every_msr_reads_safely);
	suite_add_tcase(suite, tc);
	add_value_tests(suite);
	add_owner_tests(suite);
	return suite;
}
