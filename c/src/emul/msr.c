/* SPDX-License-Identifier: Apache-2.0 */
/* RDMSR and WRMSR: who answers, by the policy in msr_policy.c. */
#include "emul/msr.h"

#include "cpu/libc.h"
#include "cpu/x86.h"
#include "emul/cpuid.h"
#include "emul/msr_rule.h"
#include "x86vcpu/msr.h"

#define BITMAP_HIGH UINT32_C(0xc0000000)
#define BITMAP_MSRS UINT32_C(0x2000) /* in each of the two ranges */
#define BITMAP_WRITE 2048u           /* byte at which the write bitmaps begin */
#define BIOS_REVISION (UINT64_C(1) << 32)

static bool gate_open(const struct guest *g, enum msr_gate gate)
{
	const struct guest_limits *limits = &g->limits;

	switch (gate) {
	case MSR_WITH_LONG_MODE:
		return limits->has_long_mode;
	case MSR_WITH_MTRR:
		return limits->mtrr;
	case MSR_WITH_RDTSCP:
		return limits->rdtscp;
	case MSR_WITH_XSAVES:
		return limits->has_xsaves;
	case MSR_WITH_ARCH_CAPABILITIES:
		return limits->arch_capabilities;
	case MSR_WITH_APIC:
		return limits->has_apic;
	case MSR_WITH_SPEC_CTRL:
		return limits->spec_ctrl;
	case MSR_WITH_SPEC_CTRL_USED:
		return limits->spec_ctrl && g->mitigation.spec_ctrl_passes;
	case MSR_WITH_PRED_CMD:
		return limits->pred_cmd;
	case MSR_WITH_FLUSH_CMD:
		return limits->flush_cmd;
	default:
		return true;
	}
}

static bool claimed(const struct guest *g, uint32_t msr)
{
	for (uint32_t i = 0; i < g->msr_range_count; i++)
		if (msr >= g->msr_ranges[i].first && msr <= g->msr_ranges[i].last)
			return true;
	return false;
}

/* The rule that the library answers by; NULL when the VMM does. */
static const struct msr_rule *own_rule(const struct guest *g, uint32_t msr)
{
	const struct msr_rule *rule = msr_rule_find(msr);

	return rule && !rule->owned && claimed(g, msr) ? NULL : rule;
}

/* RIP stays at the instruction until the VMM has answered, so that it can still fault. */
static int forward(struct guest *g, enum x86vcpu_exit_kind kind, enum guest_open open, uint64_t value)
{
	emul_report(g, kind);
	g->exit->u.msr = (struct x86vcpu_msr_access){.index = (uint32_t)g->regs.rcx, .value = value};
	g->last = *g->exit;
	g->open = open;
	return EMUL_EXIT;
}

int msr_read(struct guest *g, uint32_t msr, uint64_t *value)
{
	const struct msr_rule *rule = own_rule(g, msr);

	if (!rule)
		return EMUL_EXIT;
	if ((!rule->read && !rule->apic) || !gate_open(g, rule->gate))
		return EMUL_GP;
	if (rule->apic)
		return lapic_rdmsr(g, msr, value);
	*value = rule->read(g, rule, msr);
	return EMUL_NEXT;
}

int msr_write(struct guest *g, uint32_t msr, uint64_t value)
{
	const struct msr_rule *rule = own_rule(g, msr);

	if (!rule)
		return EMUL_EXIT;
	if (rule->apic)
		return gate_open(g, rule->gate) ? lapic_wrmsr(g, msr, value) : EMUL_GP;
	if (!rule->write || !gate_open(g, rule->gate) || !rule->write(g, rule, msr, value))
		return EMUL_GP;
	return EMUL_NEXT;
}

int emul_rdmsr(struct guest *g)
{
	uint64_t value;
	const int result = msr_read(g, (uint32_t)g->regs.rcx, &value);

	if (result == EMUL_EXIT)
		return forward(g, X86VCPU_EXIT_MSR_READ, GUEST_OPEN_MSR_READ, 0);
	if (result == EMUL_NEXT) {
		g->regs.rax = (uint32_t)value;
		g->regs.rdx = value >> 32;
	}
	return result;
}

int emul_wrmsr(struct guest *g)
{
	const uint64_t value = g->regs.rdx << 32 | (uint32_t)g->regs.rax;
	const int result = msr_write(g, (uint32_t)g->regs.rcx, value);

	if (result == EMUL_EXIT)
		return forward(g, X86VCPU_EXIT_MSR_WRITE, GUEST_OPEN_MSR_WRITE, value);
	return result;
}

bool msr_saved(const struct guest *g, uint32_t n, uint32_t *msr)
{
	uint32_t count;
	const struct msr_rule *rules = msr_rules(&count);

	for (uint32_t i = 0; i < count; i++) {
		const struct msr_rule *rule = &rules[i];

		if (!rule->saved || !gate_open(g, rule->gate))
			continue;
		for (uint32_t number = rule->first; number <= rule->last; number++) {
			*msr = number;
			if (own_rule(g, number) && !n--)
				return true;
		}
	}
	return false;
}

bool msr_of_local_apic(uint32_t msr)
{
	const struct msr_rule *rule = msr_rule_find(msr);

	return rule && rule->apic;
}

/* MTRRs are off and all memory uncached by them, as after power-up (SDM 12.11.5). */
void guest_reset_msrs(struct guest *g)
{
	g->msrs = (struct guest_msrs){
		.misc_enable = MISC_ENABLE_FAST_STRINGS | MISC_ENABLE_BTS_UNAVAILABLE |
			       MISC_ENABLE_PEBS_UNAVAILABLE,
		.bios_sign_id = BIOS_REVISION,
	};
	g->mitigation.guest_spec_ctrl = 0;
	g->mitigation.spec_ctrl_passes = false;
	g->msr_maps_stale = true;
	g->msrs_changed = true;
	cpuid_follow_limit(g);
}

/* ---- Pass-through ------------------------------------------------------------------------------------ */

struct msr_pass_rule {
	struct msr_pass pass;
	enum msr_gate gate;
};

/*
 * Reads of what the CPU holds for the guest while it runs. Writes where any canonical address will do,
 * which the CPU checks itself; the others are checked by us, or must be known to switch them.
 */
static const struct msr_pass_rule passthrough[] = {
	{{X86VCPU_MSR_IA32_TIME_STAMP_COUNTER, .read = true, .vmx_only = true}, MSR_ALWAYS},
	/* Until then an exit costs less than to read it after each exit. */
	{{X86VCPU_MSR_IA32_SPEC_CTRL, .read = true, .write = true}, MSR_WITH_SPEC_CTRL_USED},
	/* Commands that leave nothing in the CPU. */
	{{X86VCPU_MSR_IA32_PRED_CMD, .write = true}, MSR_WITH_PRED_CMD},
	{{X86VCPU_MSR_IA32_FLUSH_CMD, .write = true}, MSR_WITH_FLUSH_CMD},
	{{X86VCPU_MSR_IA32_SYSENTER_CS, .read = true, .write = true}, MSR_ALWAYS},
	{{X86VCPU_MSR_IA32_SYSENTER_ESP, .read = true, .write = true}, MSR_ALWAYS},
	{{X86VCPU_MSR_IA32_SYSENTER_EIP, .read = true, .write = true}, MSR_ALWAYS},
	{{X86VCPU_MSR_IA32_PAT, .read = true, .vmx_only = true}, MSR_ALWAYS},
	{{X86VCPU_MSR_IA32_EFER, .read = true, .vmx_only = true}, MSR_ALWAYS},
	{{X86VCPU_MSR_IA32_STAR, .read = true}, MSR_WITH_LONG_MODE},
	{{X86VCPU_MSR_IA32_LSTAR, .read = true}, MSR_WITH_LONG_MODE},
	{{X86VCPU_MSR_IA32_CSTAR, .read = true}, MSR_WITH_LONG_MODE},
	{{X86VCPU_MSR_IA32_FMASK, .read = true}, MSR_WITH_LONG_MODE},
	{{X86VCPU_MSR_IA32_FS_BASE, .read = true, .write = true}, MSR_WITH_LONG_MODE},
	{{X86VCPU_MSR_IA32_GS_BASE, .read = true, .write = true}, MSR_WITH_LONG_MODE},
	{{X86VCPU_MSR_IA32_KERNEL_GS_BASE, .read = true, .write = true}, MSR_WITH_LONG_MODE},
	{{X86VCPU_MSR_IA32_TSC_AUX, .read = true}, MSR_WITH_RDTSCP},
};

bool msr_passthrough(const struct guest *g, uint32_t n, struct msr_pass *pass)
{
	if (n >= sizeof(passthrough) / sizeof(passthrough[0]))
		return false;
	*pass = passthrough[n].pass;
	if (!gate_open(g, passthrough[n].gate) || !own_rule(g, pass->msr))
		pass->read = pass->write = false;
	return true;
}

/* A byte per eight MSRs: low range, then high, first for reads, then for writes. */
static void clear_bit(uint8_t *bitmap, uint32_t msr)
{
	const uint32_t bit = (msr & (BITMAP_MSRS - 1)) + (msr >= BITMAP_HIGH ? BITMAP_MSRS : 0);

	bitmap[bit / 8] &= (uint8_t)~(1u << (bit & 7));
}

void msr_bitmap_build(const struct guest *g, uint8_t bitmap[4096])
{
	struct msr_pass pass;

	memset(bitmap, 0xff, 4096);
	for (uint32_t n = 0; msr_passthrough(g, n, &pass); n++) {
		if (pass.read)
			clear_bit(bitmap, pass.msr);
		if (pass.write)
			clear_bit(bitmap + BITMAP_WRITE, pass.msr);
	}
}
