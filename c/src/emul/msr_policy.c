/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each MSR is for a guest: a table of ranges in ascending order. An MSR that is not in it goes to the
 * VMM, the hypervisor range 0x40000000 to 0x400000ff among them. A row without functions is #GP: it
 * names what would reach the host's devices, power, debug store or virtualization, or belongs to a
 * feature that CPUID hides.
 *
 * Registers and their checks: SDM Vol. 4 and the section named; AMD: APM appendix A.
 */
#include "emul/msr_rule.h"

#include "cpu/insn.h"
#include "cpu/x86.h"
#include "emul/cpuid.h"
#include "emul/cr.h"
#include "x86vcpu/msr.h"

#define SLOT(member) offsetof(struct guest_msrs, member)

/* ---- Reads ---------------------------------------------------------------------------------------- */

static uint64_t read_value(struct guest *g, const struct msr_rule *rule, uint32_t msr)
{
	(void)g;
	(void)msr;
	return rule->value;
}

static uint64_t read_field(struct guest *g, const struct msr_rule *rule, uint32_t msr)
{
	(void)msr;
	return guest_get(g, (enum guest_field)rule->where);
}

static uint64_t *slot(struct guest *g, const struct msr_rule *rule, uint32_t msr)
{
	return (uint64_t *)((uint8_t *)&g->msrs + rule->where) + (msr - rule->first);
}

static uint64_t read_slot(struct guest *g, const struct msr_rule *rule, uint32_t msr)
{
	return *slot(g, rule, msr);
}

static uint64_t read_tsc(struct guest *g, const struct msr_rule *rule, uint32_t msr)
{
	(void)rule;
	(void)msr;
	return g->host_tsc() + g->msrs.tsc_offset;
}

static uint64_t read_spec_ctrl(struct guest *g, const struct msr_rule *rule, uint32_t msr)
{
	(void)rule;
	(void)msr;
	return g->mitigation.guest_spec_ctrl;
}

static uint64_t read_arch_capabilities(struct guest *g, const struct msr_rule *rule, uint32_t msr)
{
	(void)rule;
	(void)msr;
	return g->limits.arch_capabilities_value;
}

/* Base and mask registers alternate. */
static uint64_t *mtrr_variable(struct guest *g, const struct msr_rule *rule, uint32_t msr)
{
	const uint32_t offset = msr - rule->first;

	return offset & 1 ? &g->msrs.mtrr_mask[offset >> 1] : &g->msrs.mtrr_base[offset >> 1];
}

static uint64_t read_mtrr_variable(struct guest *g, const struct msr_rule *rule, uint32_t msr)
{
	return *mtrr_variable(g, rule, msr);
}

/* ---- Writes --------------------------------------------------------------------------------------- */

static bool fits(uint64_t value)
{
	return value >> 32 == 0;
}

static bool write_ignored(struct guest *g, const struct msr_rule *rule, uint32_t msr, uint64_t value)
{
	(void)g;
	(void)rule;
	(void)msr;
	(void)value;
	return true;
}

static bool write_field32(struct guest *g, const struct msr_rule *rule, uint32_t msr, uint64_t value)
{
	(void)msr;
	guest_set(g, (enum guest_field)rule->where, (uint32_t)value);
	return true;
}

static bool write_field_address(struct guest *g, const struct msr_rule *rule, uint32_t msr, uint64_t value)
{
	(void)msr;
	if (!guest_base_is_canonical(&g->limits, value))
		return false;
	guest_set(g, (enum guest_field)rule->where, value);
	return true;
}

/* LMA is read-only; NXE decides what a translation allows, and does not exist under XD disable. */
static bool write_efer(struct guest *g, const struct msr_rule *rule, uint32_t msr, uint64_t value)
{
	const uint64_t old = guest_get(g, G_EFER);

	(void)rule;
	(void)msr;
	if (value & ~old & EFER_NXE && g->msrs.misc_enable & MISC_ENABLE_XD_DISABLE)
		return false;
	if (!efer_write_valid(&g->limits, old, value, guest_get(g, G_CR0)))
		return false;
	guest_update(g, G_EFER, (value & ~EFER_LMA) | (old & EFER_LMA));
	if ((value ^ old) & EFER_NXE)
		g->flush_tlb = true;
	return true;
}

/* SDM table 12-10. Each of the eight types of `value` must be in `types`, a bit per type. */
static bool memory_types(uint64_t value, uint32_t types)
{
	for (unsigned i = 0; i < 8; i++, value >>= 8)
		if ((value & 0xff) > 7 || !(types >> (value & 0xff) & 1))
			return false;
	return true;
}

#define MTRR_TYPES (1u << MEMORY_UC | 1u << MEMORY_WC | 1u << MEMORY_WT | 1u << MEMORY_WP | 1u << MEMORY_WB)
#define PAT_TYPES (MTRR_TYPES | 1u << MEMORY_UC_MINUS)

static bool write_pat(struct guest *g, const struct msr_rule *rule, uint32_t msr, uint64_t value)
{
	(void)rule;
	(void)msr;
	if (!memory_types(value, PAT_TYPES))
		return false;
	guest_update(g, G_PAT, value);
	return true;
}

static bool write_slot(struct guest *g, const struct msr_rule *rule, uint32_t msr, uint64_t value)
{
	*slot(g, rule, msr) = value;
	return true;
}

/* Values that the world switch loads into the CPU: one that WRMSR refuses would fault in the host. */
static bool write_switched(struct guest *g, const struct msr_rule *rule, uint32_t msr, uint64_t value)
{
	*slot(g, rule, msr) = value;
	g->msrs_changed = true;
	return true;
}

static bool write_switched32(struct guest *g, const struct msr_rule *rule, uint32_t msr, uint64_t value)
{
	return fits(value) && write_switched(g, rule, msr, value);
}

static bool write_switched_address(struct guest *g, const struct msr_rule *rule, uint32_t msr, uint64_t value)
{
	return guest_base_is_canonical(&g->limits, value) && write_switched(g, rule, msr, value);
}

static bool write_xss(struct guest *g, const struct msr_rule *rule, uint32_t msr, uint64_t value)
{
	return !(value & ~g->limits.xss) && write_switched(g, rule, msr, value);
}

/*
 * The world switch loads it. A guest that sets a bit may do so at each of its system calls: from then on its accesses
 * do not exit.
 */
static bool write_spec_ctrl(struct guest *g, const struct msr_rule *rule, uint32_t msr, uint64_t value)
{
	struct guest_mitigation *m = &g->mitigation;

	(void)rule;
	(void)msr;
	if (value & ~g->limits.spec_ctrl)
		return false;
	m->guest_spec_ctrl = value;
	if (value && !m->spec_ctrl_passes) {
		m->spec_ctrl_passes = true;
		g->msr_maps_stale = true;
	}
	g->msrs_changed = true;
	return true;
}

static bool write_pred_cmd(struct guest *g, const struct msr_rule *rule, uint32_t msr, uint64_t value)
{
	(void)rule;
	if (value & ~g->limits.pred_cmd)
		return false;
	insn_wrmsr(msr, value);
	return true;
}

static bool write_flush_cmd(struct guest *g, const struct msr_rule *rule, uint32_t msr, uint64_t value)
{
	(void)rule;
	if (value & ~g->limits.flush_cmd)
		return false;
	insn_wrmsr(msr, value);
	return true;
}

/* Whatever moves the guest's TSC moves TSC_ADJUST as far, and the other way round (SDM 18.17.3). */
static void move_tsc(struct guest *g, uint64_t distance)
{
	g->msrs.tsc_offset += distance;
	g->msrs.tsc_adjust += distance;
	g->msrs_changed = true;
	lapic_timer_tsc_moved(g);
}

static bool write_tsc(struct guest *g, const struct msr_rule *rule, uint32_t msr, uint64_t value)
{
	move_tsc(g, value - read_tsc(g, rule, msr));
	return true;
}

static bool write_tsc_adjust(struct guest *g, const struct msr_rule *rule, uint32_t msr, uint64_t value)
{
	(void)rule;
	(void)msr;
	move_tsc(g, value - g->msrs.tsc_adjust);
	return true;
}

/* A register of a feature that the guest does not have: it takes 0. */
static bool write_zero(struct guest *g, const struct msr_rule *rule, uint32_t msr, uint64_t value)
{
	(void)g;
	(void)rule;
	(void)msr;
	return value == 0;
}

static bool write_mcg_status(struct guest *g, const struct msr_rule *rule, uint32_t msr, uint64_t value)
{
	return !(value & ~MCG_STATUS_DEFINED) && write_slot(g, rule, msr, value);
}

/* Bits that are read-only, or belong to a feature that CPUID hides: SpeedStep, MONITOR, xTPR, turbo. */
#define MISC_ENABLE_IGNORED                                                                                 \
	(MISC_ENABLE_PERFMON_AVAILABLE | MISC_ENABLE_BTS_UNAVAILABLE | MISC_ENABLE_PEBS_UNAVAILABLE |      \
	 MISC_ENABLE_SPEEDSTEP | MISC_ENABLE_MONITOR | MISC_ENABLE_XTPR_DISABLE | MISC_ENABLE_TURBO_DISABLE)

/* SDM Vol. 4, table 2-2. CPUID follows two of the bits. */
static bool write_misc_enable(struct guest *g, const struct msr_rule *rule, uint32_t msr, uint64_t value)
{
	const uint64_t kept = MISC_ENABLE_FAST_STRINGS | MISC_ENABLE_THERMAL_CONTROL | MISC_ENABLE_LIMIT_CPUID |
			      (g->limits.has_nx ? MISC_ENABLE_XD_DISABLE : 0);

	(void)rule;
	(void)msr;
	if (value & ~(kept | MISC_ENABLE_IGNORED))
		return false;
	g->msrs.misc_enable = (g->msrs.misc_enable & ~kept) | (value & kept);
	cpuid_follow_limit(g);
	return true;
}

/* No branch records, no single-stepping on branches: both bits read as 0 (SDM 18.4.1). */
static bool write_debugctl(struct guest *g, const struct msr_rule *rule, uint32_t msr, uint64_t value)
{
	(void)g;
	(void)rule;
	(void)msr;
	return !(value & ~(DEBUGCTL_LBR | DEBUGCTL_BTF));
}

/* MTRRs are remembered and have no effect: the nested tables decide about memory types (SDM 12.11.2). */
static bool write_mtrr_fixed(struct guest *g, const struct msr_rule *rule, uint32_t msr, uint64_t value)
{
	return memory_types(value, MTRR_TYPES) && write_slot(g, rule, msr, value);
}

static bool write_mtrr_variable(struct guest *g, const struct msr_rule *rule, uint32_t msr, uint64_t value)
{
	const bool is_mask = (msr - rule->first) & 1;
	const uint64_t low = is_mask ? MTRR_PHYSMASK_VALID : 0xff;

	if (value & ~((g->limits.physical_mask & ~UINT64_C(0xfff)) | low))
		return false;
	if (!is_mask && !memory_types(value & 0xff, MTRR_TYPES))
		return false;
	*mtrr_variable(g, rule, msr) = value;
	return true;
}

static bool write_mtrr_def_type(struct guest *g, const struct msr_rule *rule, uint32_t msr, uint64_t value)
{
	if (value & ~(MTRR_DEF_TYPE_E | MTRR_DEF_TYPE_FE | 0xff))
		return false;
	return memory_types(value & 0xff, MTRR_TYPES) && write_slot(g, rule, msr, value);
}

/* ---- The table -------------------------------------------------------------------------------------- */

#define ONE(msr) .first = (msr), .last = (msr)
#define RANGE(from, to) .first = (from), .last = (to)
#define CONSTANT(number) .read = read_value, .value = (number)
#define ZERO .read = read_value
#define IGNORED .write = write_ignored
#define REFUSED .read = NULL, .write = NULL

#define X2APIC \
	{RANGE(X86VCPU_MSR_X2APIC_FIRST, X86VCPU_MSR_X2APIC_LAST), .apic = true, .gate = MSR_WITH_APIC}

static const struct msr_rule rules[] = {
	{RANGE(X86VCPU_MSR_IA32_P5_MC_ADDR, X86VCPU_MSR_IA32_P5_MC_TYPE), ZERO, IGNORED},
	{ONE(X86VCPU_MSR_IA32_TIME_STAMP_COUNTER), .read = read_tsc, .write = write_tsc},
	{ONE(X86VCPU_MSR_IA32_PLATFORM_ID), ZERO},
	{ONE(X86VCPU_MSR_IA32_APIC_BASE), .apic = true, .gate = MSR_WITH_APIC},
	{ONE(0x2a), ZERO, IGNORED},                 /* EBL_CR_POWERON */
	{ONE(0x33), REFUSED},                       /* TEST_CTRL: split locks */
	{ONE(0x34), ZERO},                          /* SMI_COUNT */
	{ONE(X86VCPU_MSR_IA32_FEATURE_CONTROL), CONSTANT(FEATURE_CONTROL_LOCK)},
	{ONE(X86VCPU_MSR_IA32_TSC_ADJUST), .read = read_slot, .write = write_tsc_adjust, .where = SLOT(tsc_adjust),
	 .saved = true},
	{ONE(X86VCPU_MSR_IA32_SPEC_CTRL), .read = read_spec_ctrl, .write = write_spec_ctrl, .gate = MSR_WITH_SPEC_CTRL,
	 .owned = true, .saved = true},
	{ONE(X86VCPU_MSR_IA32_PRED_CMD), .write = write_pred_cmd, .gate = MSR_WITH_PRED_CMD, .owned = true},
	{RANGE(0x4e, 0x4f), REFUSED}, /* PPIN: the host's serial number */
	{ONE(X86VCPU_MSR_IA32_BIOS_UPDT_TRIG), REFUSED},
	/* A zero written before CPUID asks for the revision. */
	{ONE(X86VCPU_MSR_IA32_BIOS_SIGN_ID), .read = read_slot, IGNORED, .where = SLOT(bios_sign_id)},
	{RANGE(0x8c, 0x8f), REFUSED},                    /* SGX launch control */
	{RANGE(0x9b, 0x9e), REFUSED},                    /* SMM_MONITOR_CTL, SMBASE */
	{RANGE(X86VCPU_MSR_IA32_PMC0, 0xc8), REFUSED},
	{ONE(0xce), ZERO},                               /* PLATFORM_INFO: no CPUID faulting */
	{ONE(X86VCPU_MSR_IA32_CORE_CAPABILITIES), REFUSED},
	{ONE(X86VCPU_MSR_IA32_UMWAIT_CONTROL), ZERO, IGNORED},
	{ONE(X86VCPU_MSR_IA32_MTRRCAP), CONSTANT(MTRRCAP_WC | MTRRCAP_FIX | 8), .gate = MSR_WITH_MTRR},
	{ONE(X86VCPU_MSR_IA32_ARCH_CAPABILITIES), .read = read_arch_capabilities, .gate = MSR_WITH_ARCH_CAPABILITIES},
	{ONE(X86VCPU_MSR_IA32_FLUSH_CMD), .write = write_flush_cmd, .gate = MSR_WITH_FLUSH_CMD, .owned = true},
	{ONE(X86VCPU_MSR_IA32_TSX_CTRL), REFUSED},
	{ONE(0x140), ZERO, .write = write_zero},         /* MISC_FEATURES_ENABLES */
	{ONE(X86VCPU_MSR_IA32_SYSENTER_CS), .read = read_field, .write = write_field32, .owned = true,
	 .where = G_SYSENTER_CS, .saved = true},
	{ONE(X86VCPU_MSR_IA32_SYSENTER_ESP), .read = read_field, .write = write_field_address, .owned = true,
	 .where = G_SYSENTER_ESP, .saved = true},
	{ONE(X86VCPU_MSR_IA32_SYSENTER_EIP), .read = read_field, .write = write_field_address, .owned = true,
	 .where = G_SYSENTER_EIP, .saved = true},
	{ONE(X86VCPU_MSR_IA32_MCG_CAP), ZERO},           /* no banks */
	{ONE(X86VCPU_MSR_IA32_MCG_STATUS), .read = read_slot, .write = write_mcg_status, .where = SLOT(mcg_status),
	 .saved = true},
	{ONE(X86VCPU_MSR_IA32_MCG_CTL), REFUSED},
	{RANGE(X86VCPU_MSR_IA32_PERFEVTSEL0, 0x18d), REFUSED},
	{RANGE(X86VCPU_MSR_IA32_PERF_STATUS, 0x19f), REFUSED}, /* P-states, clock modulation, thermal */
	{ONE(X86VCPU_MSR_IA32_MISC_ENABLE), .read = read_slot, .write = write_misc_enable, .where = SLOT(misc_enable),
	 .saved = true},
	{RANGE(0x1a6, 0x1a7), REFUSED},                  /* OFFCORE_RSP */
	{RANGE(X86VCPU_MSR_IA32_XFD, X86VCPU_MSR_IA32_XFD_ERR), REFUSED},
	{ONE(X86VCPU_MSR_IA32_DEBUGCTL), ZERO, .write = write_debugctl},
	{RANGE(0x1db, 0x1de), ZERO},                     /* last branch and exception records */
	{RANGE(0x1f2, 0x1f3), REFUSED},                  /* SMRR */
	{RANGE(X86VCPU_MSR_IA32_MTRR_PHYSBASE0, 0x20f), .read = read_mtrr_variable, .write = write_mtrr_variable,
	 .gate = MSR_WITH_MTRR, .saved = true},
	{ONE(X86VCPU_MSR_IA32_MTRR_FIX64K_00000), .read = read_slot, .write = write_mtrr_fixed,
	 .gate = MSR_WITH_MTRR, .where = SLOT(mtrr_fixed[0]), .saved = true},
	{RANGE(X86VCPU_MSR_IA32_MTRR_FIX16K_80000, X86VCPU_MSR_IA32_MTRR_FIX16K_A0000), .read = read_slot,
	 .write = write_mtrr_fixed, .gate = MSR_WITH_MTRR, .where = SLOT(mtrr_fixed[1]), .saved = true},
	{RANGE(X86VCPU_MSR_IA32_MTRR_FIX4K_C0000, X86VCPU_MSR_IA32_MTRR_FIX4K_F8000), .read = read_slot,
	 .write = write_mtrr_fixed, .gate = MSR_WITH_MTRR, .where = SLOT(mtrr_fixed[3]), .saved = true},
	{ONE(X86VCPU_MSR_IA32_PAT), .read = read_field, .write = write_pat, .owned = true, .where = G_PAT,
	 .saved = true},
	{RANGE(X86VCPU_MSR_IA32_MC0_CTL2, 0x29f), REFUSED},
	{ONE(X86VCPU_MSR_IA32_MTRR_DEF_TYPE), .read = read_slot, .write = write_mtrr_def_type,
	 .gate = MSR_WITH_MTRR, .where = SLOT(mtrr_def_type), .saved = true},
	{RANGE(X86VCPU_MSR_IA32_FIXED_CTR0, 0x30c), REFUSED},
	{ONE(0x329), REFUSED},                           /* PERF_METRICS */
	{ONE(X86VCPU_MSR_IA32_PERF_CAPABILITIES), REFUSED},
	{RANGE(X86VCPU_MSR_IA32_FIXED_CTR_CTRL, 0x396), REFUSED}, /* and uncore counters */
	{RANGE(X86VCPU_MSR_IA32_PEBS_ENABLE, 0x3ff), REFUSED},    /* and residency counters */
	{RANGE(X86VCPU_MSR_IA32_MC0_CTL, 0x47f), REFUSED}, /* banks that MCG_CAP does not count */
	{RANGE(X86VCPU_MSR_IA32_VMX_BASIC, X86VCPU_MSR_IA32_VMX_EXIT_CTLS2), REFUSED},
	{RANGE(0x4c1, 0x4c8), REFUSED},                  /* full-width performance counters */
	{ONE(X86VCPU_MSR_IA32_MCG_EXT_CTL), REFUSED},
	{RANGE(0x500, 0x5ff), REFUSED},                  /* SGX, Intel PT */
	/* Debug store, RAPL, LBRs, CET; and PKRS. */
	{RANGE(X86VCPU_MSR_IA32_DS_AREA, X86VCPU_MSR_IA32_TSC_DEADLINE - 1), REFUSED},
	{ONE(X86VCPU_MSR_IA32_TSC_DEADLINE), .apic = true, .gate = MSR_WITH_APIC},
	{RANGE(X86VCPU_MSR_IA32_TSC_DEADLINE + 1, 0x6ff), REFUSED},
	{RANGE(X86VCPU_MSR_IA32_PM_ENABLE, 0x777), REFUSED},
	X2APIC,
	{RANGE(0x985, 0x98f), REFUSED},                  /* UINTR */
	{RANGE(0xc80, 0xd8f), REFUSED},                  /* debug interface, RDT */
	{ONE(X86VCPU_MSR_IA32_BNDCFGS), REFUSED},
	{ONE(0xd93), REFUSED},                           /* PASID */
	{ONE(X86VCPU_MSR_IA32_XSS), .read = read_slot, .write = write_xss, .gate = MSR_WITH_XSAVES, .owned = true,
	 .where = SLOT(xss), .saved = true},
	{RANGE(0xdb0, 0xdb2), REFUSED},                  /* hardware duty cycling */
	{RANGE(0x1200, 0x121f), REFUSED},                /* architectural LBRs: info, and below control */
	{RANGE(X86VCPU_MSR_IA32_LBR_CTL, 0x14cf), REFUSED},
	{RANGE(0x1500, 0x151f), REFUSED},
	{RANGE(0x1600, 0x161f), REFUSED},

	{ONE(X86VCPU_MSR_IA32_EFER), .read = read_field, .write = write_efer, .owned = true, .where = G_EFER},
	{ONE(X86VCPU_MSR_IA32_STAR), .read = read_slot, .write = write_switched, .gate = MSR_WITH_LONG_MODE,
	 .owned = true, .where = SLOT(star), .saved = true},
	{ONE(X86VCPU_MSR_IA32_LSTAR), .read = read_slot, .write = write_switched_address,
	 .gate = MSR_WITH_LONG_MODE, .owned = true, .where = SLOT(lstar), .saved = true},
	{ONE(X86VCPU_MSR_IA32_CSTAR), .read = read_slot, .write = write_switched_address,
	 .gate = MSR_WITH_LONG_MODE, .owned = true, .where = SLOT(cstar), .saved = true},
	{ONE(X86VCPU_MSR_IA32_FMASK), .read = read_slot, .write = write_switched32, .gate = MSR_WITH_LONG_MODE,
	 .owned = true, .where = SLOT(fmask), .saved = true},
	{ONE(X86VCPU_MSR_IA32_FS_BASE), .read = read_field, .write = write_field_address,
	 .gate = MSR_WITH_LONG_MODE, .owned = true, .where = G_BASE + X86VCPU_SEGMENT_FS},
	{ONE(X86VCPU_MSR_IA32_GS_BASE), .read = read_field, .write = write_field_address,
	 .gate = MSR_WITH_LONG_MODE, .owned = true, .where = G_BASE + X86VCPU_SEGMENT_GS},
	{ONE(X86VCPU_MSR_IA32_KERNEL_GS_BASE), .read = read_slot, .write = write_switched_address,
	 .gate = MSR_WITH_LONG_MODE, .owned = true, .where = SLOT(kernel_gs_base), .saved = true},
	{ONE(X86VCPU_MSR_IA32_TSC_AUX), .read = read_slot, .write = write_switched32, .gate = MSR_WITH_RDTSCP,
	 .owned = true, .where = SLOT(tsc_aux), .saved = true},
	{ONE(X86VCPU_MSR_TSC_RATIO), REFUSED},

	{RANGE(0xc0010000, 0xc0010007), REFUSED},        /* performance counters */
	{ONE(X86VCPU_MSR_SYSCFG), ZERO, IGNORED},
	{ONE(X86VCPU_MSR_HWCR), CONSTANT(HWCR_TSC_FREQ_SEL), IGNORED},
	{RANGE(0xc0010016, X86VCPU_MSR_TOP_MEM2), ZERO, IGNORED}, /* IORRs, TOP_MEM */
	{ONE(X86VCPU_MSR_NB_CFG), ZERO, IGNORED},
	{ONE(X86VCPU_MSR_PATCH_LOADER), REFUSED},
	{ONE(0xc0010055), ZERO, IGNORED},                /* interrupt pending message */
	{ONE(0xc0010058), ZERO, IGNORED},                /* MMIO configuration base */
	{RANGE(X86VCPU_MSR_PSTATE_LIMIT, 0xc0010071), REFUSED},
	/* SMM, VM_CR, IGNNE, VM_HSAVE_PA, SVM lock key. */
	{RANGE(X86VCPU_MSR_SMBASE, 0xc001011f), REFUSED},
	{RANGE(0xc0010130, 0xc0010132), REFUSED},        /* encrypted virtualization */
	{RANGE(X86VCPU_MSR_OSVW_ID_LENGTH, X86VCPU_MSR_OSVW_STATUS), ZERO, IGNORED},
	{RANGE(X86VCPU_MSR_PERF_EVT_SEL0, 0xc001020b), REFUSED},
	{RANGE(0xc0010230, 0xc0010247), REFUSED},        /* L3 and northbridge counters */
	{RANGE(0xc0010299, 0xc001029b), REFUSED},        /* RAPL */
	/* LS_CFG to BU_CFG2, DE_CFG among them. */
	{RANGE(X86VCPU_MSR_LS_CFG, 0xc001102f), ZERO, IGNORED},
	{RANGE(0xc0011030, 0xc001103f), REFUSED},        /* IBS */
};
#define RULES ((uint32_t)(sizeof(rules) / sizeof(rules[0])))

const struct msr_rule *msr_rules(uint32_t *count)
{
	*count = RULES;
	return rules;
}

const struct msr_rule *msr_rule_find(uint32_t msr)
{
	static const struct msr_rule x2apic = X2APIC;
	uint32_t low = 0, high = RULES;

	/* Written at every interrupt: not worth a search. */
	if (msr >= x2apic.first && msr <= x2apic.last)
		return &x2apic;
	while (low < high) {
		const uint32_t middle = (low + high) / 2;

		if (msr > rules[middle].last)
			low = middle + 1;
		else if (msr < rules[middle].first)
			high = middle;
		else
			return &rules[middle];
	}
	return NULL;
}
