/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See host_mode.h. Modes that need no rule, because the switch is right in them:
 * - CR4.PCIDE, CR4.LAM_SUP, LAM bits of CR3: VM exits and #VMEXIT load CR3 and CR4 as they were.
 * - CR4.PKS, CR4.UINTR, CR4.CET for user shadow stacks: the guest can set none of these bits of CR4 and reach none of
 *   their MSRs, so they are as the host left them.
 * - CR4.PKE: emul/context.c gives the host its PKRU after each exit.
 * - CR4.MCE: vmx/host.c, svm/run.c. CR0.TS: emul/context.c.
 * - IA32_RTIT_CTL, IA32_LBR_CTL, counters: the host records the guest too, in registers or by physical address.
 */
#include "emul/host_mode.h"

#include "cpu/insn.h"
#include "cpu/x86.h"
#include "emul/context.h"
#include "emul/log.h"
#include "x86vcpu/msr.h"
#include "x86vcpu/percpu.h"
#include "x86vcpu/status.h"

#define S_CET_SH_STK_EN (UINT64_C(1) << 0)
#define S_CET_ENDBR_EN (UINT64_C(1) << 2)

#define ON_VMX (1u << X86VCPU_EXTENSION_VMX)
#define ON_SVM (1u << X86VCPU_EXTENSION_SVM)
#define ON_BOTH (ON_VMX | ON_SVM)

/* Without ENDBR64 at its functions the library cannot be called through a pointer, nor call itself so. */
#if defined(__CET__) && __CET__ & 1
#define IBT_FORBIDDEN UINT64_C(0)
#else
#define IBT_FORBIDDEN S_CET_ENDBR_EN
#endif

/* Refused where (register & mask) != value. */
struct rule {
	uint8_t extensions; /* ON_* */
	uint8_t reg;        /* enum host_register */
	uint64_t mask, value;
	const char *text;
};

static const struct rule rules[] = {
	/* The extended state is switched with XSAVE and XSETBV (SDM Vol. 1, 13.3). */
	{ON_BOTH, HOST_CR4, CR4_OSFXSR, CR4_OSFXSR,
	 "CR4.OSFXSR must stay set: the extended state is switched with it"},
	{ON_BOTH, HOST_CR4, CR4_OSXSAVE, CR4_OSXSAVE,
	 "CR4.OSXSAVE must stay set: the extended state is switched with it"},
	/* INT n is no NMI there, and IRET does not end an NMI's blocking (Intel's FRED specification, 5 and 6.2). */
	{ON_BOTH, HOST_CR4, CR4_FRED, 0,
	 "CR4.FRED is set: NMIs and machine checks are passed on by INT n, which FRED delivers otherwise"},
	/* NXE governs the nested tables' no-execute bits, which are reserved without it (APM 15.25.5). */
	{ON_SVM, HOST_EFER, EFER_NXE, EFER_NXE,
	 "EFER.NXE must stay set: the nested tables' no-execute bits need it"},
	/* Nested tables name memory types by the host's PAT (APM 15.25.8); 6 is WB. */
	{ON_SVM, HOST_PAT, 7, 6,
	 "the first entry of IA32_PAT must be WB: the nested tables' memory type goes through it"},
	{ON_SVM, HOST_PAT, UINT64_C(7) << 24, 0,
	 "the fourth entry of IA32_PAT must be UC: the nested tables' memory type goes through it"},
	/* The switch has one stack, and what it does to the return-stack buffer leaves a shadow stack unbalanced. */
	{ON_BOTH, HOST_S_CET, S_CET_SH_STK_EN, 0,
	 "IA32_S_CET.SH_STK_EN is set: no shadow stack for the supervisor"},
	{ON_BOTH, HOST_S_CET, IBT_FORBIDDEN, 0,
	 "IA32_S_CET.ENDBR_EN is set: build the library with -fcf-protection=branch"},
	/* PEBS writes records to a linear address, in the guest through the guest's page tables (SDM 20.9.5). */
	{ON_VMX, HOST_PEBS_ENABLE, UINT64_MAX, 0,
	 "IA32_PEBS_ENABLE is not 0: its records would go through the guest's page tables"},
};

/* ---- Reading -------------------------------------------------------------------------------------------- */

static uint32_t cpuid_register(uint32_t leaf, unsigned index)
{
	uint32_t out[4];

	insn_cpuid(leaf & 0x80000000, 0, out);
	if (out[0] < leaf)
		return 0;
	insn_cpuid(leaf, 0, out);
	return out[index];
}

/*
 * Without XSAVE no rule can ask for OSXSAVE. CPUID is asked only about a bit that is clear: every bind and, with SVM, the
 * first run after it come here, and a hypervisor below makes a CPUID cost as much as an exit.
 */
static uint64_t existing_cr4(uint64_t cr4)
{
	return cr4 & CR4_OSXSAVE ? cr4 : cr4 | (CR4_OSXSAVE & ~context_host_cr4());
}

static uint64_t read_efer(void)
{
	const uint64_t efer = insn_rdmsr(X86VCPU_MSR_IA32_EFER);

	return efer & EFER_NXE || cpuid_register(0x80000001, 3) & CPUID_80000001_EDX_NX ? efer : efer | EFER_NXE;
}

static bool has_cet(void)
{
	return cpuid_register(7, 2) & CPUID_7_ECX_CET_SS || cpuid_register(7, 3) & CPUID_7_EDX_CET_IBT;
}

/* No CPUID bit announces IA32_PEBS_ENABLE, so only a host that can probe for it has it checked. */
static uint64_t probe(const struct x86vcpu_host_ops *host, void *ctx, uint32_t msr)
{
	uint64_t value = 0;

	return host->read_msr && !host->read_msr(ctx, msr, &value) ? value : 0;
}

void host_mode_read(const struct x86vcpu_host_ops *host, void *ctx, uint32_t extension, struct host_mode *mode)
{
	const uint64_t cr4 = insn_read_cr4();

	*mode = (struct host_mode){.value = {
		[HOST_CR4] = existing_cr4(cr4),
		[HOST_EFER] = read_efer(),
		[HOST_PAT] = insn_rdmsr(X86VCPU_MSR_IA32_PAT),
		[HOST_S_CET] = cr4 & CR4_CET && has_cet() ? insn_rdmsr(X86VCPU_MSR_IA32_S_CET) : 0,
		[HOST_PEBS_ENABLE] =
			extension == X86VCPU_EXTENSION_VMX ? probe(host, ctx, X86VCPU_MSR_IA32_PEBS_ENABLE) : 0,
	}};
}

void host_mode_assume_enabled(struct host_mode *mode)
{
	mode->value[HOST_CR4] |= context_host_cr4();
	mode->value[HOST_EFER] |= EFER_NXE;
}

/* ---- Checking ------------------------------------------------------------------------------------------- */

static bool keeps(const struct rule *rule, uint64_t value)
{
	return (value & rule->mask) == rule->value;
}

/* `registers`: a bit per enum host_register. */
static int32_t check(const struct x86vcpu_host_ops *host, void *ctx, uint32_t extension, const struct host_mode *mode,
		     uint32_t registers)
{
	int32_t status = X86VCPU_OK;

	for (unsigned i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		const struct rule *rule = &rules[i];

		if (!(registers >> rule->reg & 1) || !(rule->extensions >> extension & 1) ||
		    keeps(rule, mode->value[rule->reg]))
			continue;
		LOG(host, ctx, LOG_ERROR, "host: ", rule->text);
		status = X86VCPU_ERR_UNSUPPORTED;
	}
	return status;
}

int32_t host_mode_check(const struct x86vcpu_host_ops *host, void *ctx, uint32_t extension,
			const struct host_mode *mode)
{
	return check(host, ctx, extension, mode, UINT32_MAX);
}

int32_t host_mode_check_cr4(const struct x86vcpu_host_ops *host, void *ctx, uint32_t extension, uint64_t cr4)
{
	const struct host_mode mode = {.value = {[HOST_CR4] = existing_cr4(cr4)}};

	return check(host, ctx, extension, &mode, 1u << HOST_CR4);
}
