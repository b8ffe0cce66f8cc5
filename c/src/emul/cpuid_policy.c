/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPUID: what a guest may see. A bit reaches it when the host has it, a row of `allowed` names it, and
 * every row of `conditions` that names it is met. Leaves: SDM Vol. 2 (CPUID) and APM Vol. 3, appendix E.
 */
#include "emul/cpuid_internal.h"

/* Features that leaf 1 and AMD's 0x80000001 both report in EDX, at the same place. No machine checks. */
#define COMMON_EDX                                                                                        \
	(CPUID_1_EDX_FPU | CPUID_1_EDX_VME | CPUID_1_EDX_DE | CPUID_1_EDX_PSE | CPUID_1_EDX_TSC |        \
	 CPUID_1_EDX_MSR | CPUID_1_EDX_PAE | CPUID_1_EDX_CX8 | CPUID_1_EDX_MTRR | CPUID_1_EDX_PGE |      \
	 CPUID_1_EDX_CMOV | CPUID_1_EDX_PAT | CPUID_1_EDX_PSE36 | CPUID_1_EDX_MMX | CPUID_1_EDX_FXSR)

#define AVX512_7_EBX                                                                                      \
	(CPUID_7_EBX_AVX512F | CPUID_7_EBX_AVX512DQ | CPUID_7_EBX_AVX512_IFMA | CPUID_7_EBX_AVX512PF |   \
	 CPUID_7_EBX_AVX512ER | CPUID_7_EBX_AVX512CD | CPUID_7_EBX_AVX512BW | CPUID_7_EBX_AVX512VL)
#define AVX512_7_ECX                                                                                      \
	(CPUID_7_ECX_AVX512_VBMI | CPUID_7_ECX_AVX512_VBMI2 | CPUID_7_ECX_AVX512_VNNI |                  \
	 CPUID_7_ECX_AVX512_BITALG | CPUID_7_ECX_AVX512_VPOPCNTDQ)
#define AVX512_7_EDX                                                                                      \
	(CPUID_7_EDX_AVX512_4VNNIW | CPUID_7_EDX_AVX512_4FMAPS | CPUID_7_EDX_AVX512_VP2INTERSECT |       \
	 CPUID_7_EDX_AVX512_FP16)

static const struct cpuid_mask allowed[] = {
	/* Vendor; EAX is ours. */
	{0, 0, EBX, ~0u},
	{0, 0, ECX, ~0u},
	{0, 0, EDX, ~0u},

	/* Family, model, stepping. CLFLUSH line size; the rest of EBX is ours. */
	{1, 0, EAX, 0x0fff3fff},
	{1, 0, EBX, 0x0000ff00},
	/*
	 * Not: MONITOR, VMX, SMX (the instructions are #UD), DTES64 and PDCM (no debug store, no PMU),
	 * EIST and TM2 (power is the host's), xTPR, CNXT-ID, SDBG, DCA.
	 */
	{1, 0, ECX,
	 CPUID_1_ECX_SSE3 | CPUID_1_ECX_PCLMULQDQ | CPUID_1_ECX_SSSE3 | CPUID_1_ECX_FMA |
		 CPUID_1_ECX_CMPXCHG16B | CPUID_1_ECX_PCID | CPUID_1_ECX_SSE4_1 | CPUID_1_ECX_SSE4_2 |
		 CPUID_1_ECX_MOVBE | CPUID_1_ECX_POPCNT | CPUID_1_ECX_AESNI | CPUID_1_ECX_XSAVE |
		 CPUID_1_ECX_AVX | CPUID_1_ECX_F16C | CPUID_1_ECX_RDRAND},
	/* Not: MCE, MCA, PSN, DS, ACPI, TM, PBE; HTT: one logical processor. */
	{1, 0, EDX,
	 COMMON_EDX | CPUID_1_EDX_SEP | CPUID_1_EDX_CLFSH | CPUID_1_EDX_SSE | CPUID_1_EDX_SSE2 |
		 CPUID_1_EDX_SS},

	/* Cache and TLB descriptors. */
	{2, 0, EAX, ~0u},
	{2, 0, EBX, ~0u},
	{2, 0, ECX, ~0u},
	{2, 0, EDX, ~0u},

	/* Not: HLE and RTM, MPX, SGX, RDT, PT: all of them need MSRs or state that is not switched. */
	{7, 0, EBX,
	 CPUID_7_EBX_FSGSBASE | CPUID_7_EBX_TSC_ADJUST | CPUID_7_EBX_BMI1 | CPUID_7_EBX_AVX2 |
		 CPUID_7_EBX_FDP_EXCPTN_ONLY | CPUID_7_EBX_SMEP | CPUID_7_EBX_BMI2 | CPUID_7_EBX_ERMS |
		 CPUID_7_EBX_INVPCID | CPUID_7_EBX_ZERO_FCS_FDS | CPUID_7_EBX_RDSEED | CPUID_7_EBX_ADX |
		 CPUID_7_EBX_SMAP | CPUID_7_EBX_CLFLUSHOPT | CPUID_7_EBX_CLWB | CPUID_7_EBX_SHA |
		 AVX512_7_EBX},
	/* Not: UMIP, WAITPKG, CET, TME, MAWAU, key locker, bus lock, MOVDIR*, ENQCMD, SGX_LC, PKS. */
	{7, 0, ECX,
	 CPUID_7_ECX_PREFETCHWT1 | CPUID_7_ECX_LA57 | CPUID_7_ECX_PKU | CPUID_7_ECX_GFNI | CPUID_7_ECX_VAES |
		 CPUID_7_ECX_VPCLMULQDQ | CPUID_7_ECX_RDPID | CPUID_7_ECX_CLDEMOTE | AVX512_7_ECX},
	/* Not: SRBDS_CTRL, UINTR, AMX, LBR, hybrid, PCONFIG. */
	{7, 0, EDX,
	 CPUID_7_EDX_FSRM | CPUID_7_EDX_MD_CLEAR | CPUID_7_EDX_SERIALIZE | AVX512_7_EDX | CPUID_7_EDX_IBRS_IBPB |
		 CPUID_7_EDX_STIBP | CPUID_7_EDX_L1D_FLUSH | CPUID_7_EDX_ARCH_CAPABILITIES | CPUID_7_EDX_SSBD},
	{7, 1, EAX,
	 CPUID_7_1_EAX_AVX_VNNI | CPUID_7_1_EAX_AVX512_BF16 | CPUID_7_1_EAX_FZRM | CPUID_7_1_EAX_FSRS |
		 CPUID_7_1_EAX_FSRC | CPUID_7_1_EAX_AVX_IFMA},
	{7, 2, EDX,
	 CPUID_7_2_EDX_PSFD | CPUID_7_2_EDX_IPRED_CTRL | CPUID_7_2_EDX_RRSBA_CTRL | CPUID_7_2_EDX_DDPD_U |
		 CPUID_7_2_EDX_BHI_CTRL | CPUID_7_2_EDX_MCDT_NO},

	/* Not: XFD. The other words of leaf 0xd are ours. */
	{LEAF_XSTATE, 1, EAX,
	 CPUID_D_1_EAX_XSAVEOPT | CPUID_D_1_EAX_XSAVEC | CPUID_D_1_EAX_XGETBV1 | CPUID_D_1_EAX_XSAVES},

	/* Base frequency in MHz. Not: leaf 0x15, whose crystal clock no guest has. */
	{LEAF_FREQUENCY, 0, EAX, 0xffff},

	/* AMD repeats the vendor. */
	{0x80000000, 0, EBX, ~0u},
	{0x80000000, 0, ECX, ~0u},
	{0x80000000, 0, EDX, ~0u},
	{0x80000001, 0, EAX, 0x0fff3fff},
	/* Not: CmpLegacy (one core), SVM, EXTAPIC, AltMovCr8, IBS, OSVW, SKINIT, WDT, LWP, TCE, TOPOEXT,
	 * performance counters, data breakpoint extension, MONITORX. */
	{0x80000001, 0, ECX,
	 CPUID_80000001_ECX_LAHF64 | CPUID_80000001_ECX_LZCNT | CPUID_80000001_ECX_SSE4A |
		 CPUID_80000001_ECX_MISALIGNSSE | CPUID_80000001_ECX_PREFETCHW | CPUID_80000001_ECX_XOP |
		 CPUID_80000001_ECX_FMA4 | CPUID_80000001_ECX_TBM},
	{0x80000001, 0, EDX,
	 COMMON_EDX | CPUID_80000001_EDX_SYSCALL | CPUID_80000001_EDX_NX | CPUID_80000001_EDX_MMXEXT |
		 CPUID_80000001_EDX_FFXSR | CPUID_80000001_EDX_PAGE1GB | CPUID_80000001_EDX_RDTSCP |
		 CPUID_80000001_EDX_LM | CPUID_80000001_EDX_3DNOWEXT | CPUID_80000001_EDX_3DNOW},

	/* Brand string. */
	{0x80000002, 0, EAX, ~0u}, {0x80000002, 0, EBX, ~0u}, {0x80000002, 0, ECX, ~0u}, {0x80000002, 0, EDX, ~0u},
	{0x80000003, 0, EAX, ~0u}, {0x80000003, 0, EBX, ~0u}, {0x80000003, 0, ECX, ~0u}, {0x80000003, 0, EDX, ~0u},
	{0x80000004, 0, EAX, ~0u}, {0x80000004, 0, EBX, ~0u}, {0x80000004, 0, ECX, ~0u}, {0x80000004, 0, EDX, ~0u},

	/* L1 and its TLBs; L2, L3 and their TLBs. */
	{0x80000005, 0, EAX, ~0u}, {0x80000005, 0, EBX, ~0u}, {0x80000005, 0, ECX, ~0u}, {0x80000005, 0, EDX, ~0u},
	{0x80000006, 0, EAX, ~0u}, {0x80000006, 0, EBX, ~0u}, {0x80000006, 0, ECX, ~0u}, {0x80000006, 0, EDX, ~0u},

	{0x80000007, 0, EDX, CPUID_80000007_EDX_INVARIANT_TSC},
	/* EAX is ours. Not: RDPRU, INVLPGB, WBNOINVD, PPIN, VIRT_SSBD; no core counts. */
	{0x80000008, 0, EBX,
	 CPUID_80000008_EBX_CLZERO | CPUID_80000008_EBX_XSAVEERPTR | CPUID_80000008_EBX_IBPB | CPUID_80000008_EBX_IBRS |
		 CPUID_80000008_EBX_STIBP | CPUID_80000008_EBX_IBRS_ALWAYS_ON | CPUID_80000008_EBX_STIBP_ALWAYS_ON |
		 CPUID_80000008_EBX_IBRS_PREFERRED | CPUID_80000008_EBX_IBRS_SAME_MODE | CPUID_80000008_EBX_SSBD |
		 CPUID_80000008_EBX_SSB_NO | CPUID_80000008_EBX_PSFD | CPUID_80000008_EBX_BTC_NO |
		 CPUID_80000008_EBX_IBPB_RET},

	/* Not: automatic IBRS, for which EFER would have a bit, and what a host reduces (BP_CFG). */
	{LEAF_EXTENDED_FEATURES, 0, EAX,
	 CPUID_80000021_EAX_LFENCE_SERIALIZING | CPUID_80000021_EAX_VERW_CLEAR | CPUID_80000021_EAX_SBPB |
		 CPUID_80000021_EAX_IBPB_BRTYPE | CPUID_80000021_EAX_SRSO_NO | CPUID_80000021_EAX_SRSO_USER_KERNEL_NO},
	{LEAF_EXTENDED_FEATURES, 0, ECX, CPUID_80000021_ECX_TSA_SQ_NO | CPUID_80000021_ECX_TSA_L1_NO},
};

struct cpuid_condition {
	struct cpuid_mask features;
	uint32_t with;
};

static const struct cpuid_condition conditions[] = {
	{{1, 0, ECX, CPUID_1_ECX_PCID}, WITH_PCID},
	{{1, 0, ECX, CPUID_1_ECX_XSAVE}, WITH_XSAVE},
	{{1, 0, ECX, CPUID_1_ECX_AVX | CPUID_1_ECX_FMA | CPUID_1_ECX_F16C}, WITH_AVX},
	{{7, 0, EBX, CPUID_7_EBX_INVPCID}, WITH_INVPCID},
	{{7, 0, EBX, CPUID_7_EBX_AVX2}, WITH_AVX},
	{{7, 0, EBX, AVX512_7_EBX}, WITH_AVX512},
	{{7, 0, ECX, CPUID_7_ECX_LA57}, WITH_LA57},
	{{7, 0, ECX, CPUID_7_ECX_PKU}, WITH_PKU},
	{{7, 0, ECX, CPUID_7_ECX_VAES | CPUID_7_ECX_VPCLMULQDQ}, WITH_AVX},
	{{7, 0, ECX, AVX512_7_ECX}, WITH_AVX512},
	{{7, 0, ECX, CPUID_7_ECX_RDPID}, WITH_RDTSCP},
	{{7, 0, EDX, AVX512_7_EDX}, WITH_AVX512},
	{{7, 1, EAX, CPUID_7_1_EAX_AVX_VNNI | CPUID_7_1_EAX_AVX_IFMA}, WITH_AVX},
	{{7, 1, EAX, CPUID_7_1_EAX_AVX512_BF16}, WITH_AVX512},
	{{LEAF_XSTATE, 1, EAX, ~0u}, WITH_XSAVE},
	{{LEAF_XSTATE, 1, EAX, CPUID_D_1_EAX_XSAVES}, WITH_XSAVES},
	{{0x80000001, 0, ECX, CPUID_80000001_ECX_XOP | CPUID_80000001_ECX_FMA4}, WITH_AVX},
	{{0x80000001, 0, EDX, CPUID_80000001_EDX_RDTSCP}, WITH_RDTSCP},
};

uint32_t cpuid_allowed(uint32_t leaf, uint32_t subleaf, enum word word, uint32_t with)
{
	uint32_t mask = 0;

	for (uint32_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++)
		if (allowed[i].leaf == leaf && allowed[i].subleaf == subleaf && allowed[i].word == word)
			mask |= allowed[i].mask;
	for (uint32_t i = 0; i < sizeof(conditions) / sizeof(conditions[0]); i++) {
		const struct cpuid_mask *features = &conditions[i].features;

		if (features->leaf == leaf && features->subleaf == subleaf && features->word == word &&
		    !(with & conditions[i].with))
			mask &= ~features->mask;
	}
	return mask;
}

/* SDM 2.5. PCE has no feature bit; RDPMC itself is refused. */
const struct enable_bit cpuid_cr4_bits[] = {
	{CR4_VME | CR4_PVI, {1, 0, EDX, CPUID_1_EDX_VME}},
	{CR4_TSD, {1, 0, EDX, CPUID_1_EDX_TSC}},
	{CR4_DE, {1, 0, EDX, CPUID_1_EDX_DE}},
	{CR4_PSE, {1, 0, EDX, CPUID_1_EDX_PSE}},
	{CR4_PAE, {1, 0, EDX, CPUID_1_EDX_PAE}},
	{CR4_PGE, {1, 0, EDX, CPUID_1_EDX_PGE}},
	{CR4_OSFXSR, {1, 0, EDX, CPUID_1_EDX_FXSR}},
	{CR4_OSXMMEXCPT, {1, 0, EDX, CPUID_1_EDX_SSE}},
	{CR4_PCIDE, {1, 0, ECX, CPUID_1_ECX_PCID}},
	{CR4_OSXSAVE, {1, 0, ECX, CPUID_1_ECX_XSAVE}},
	{CR4_FSGSBASE, {7, 0, EBX, CPUID_7_EBX_FSGSBASE}},
	{CR4_SMEP, {7, 0, EBX, CPUID_7_EBX_SMEP}},
	{CR4_SMAP, {7, 0, EBX, CPUID_7_EBX_SMAP}},
	{CR4_PKE, {7, 0, ECX, CPUID_7_ECX_PKU}},
	{CR4_LA57, {7, 0, ECX, CPUID_7_ECX_LA57}},
};
const uint32_t cpuid_cr4_bit_count = sizeof(cpuid_cr4_bits) / sizeof(cpuid_cr4_bits[0]);

const struct enable_bit cpuid_efer_bits[] = {
	{EFER_SCE, {0x80000001, 0, EDX, CPUID_80000001_EDX_SYSCALL}},
	{EFER_LME | EFER_LMA, {0x80000001, 0, EDX, CPUID_80000001_EDX_LM}},
	{EFER_NXE, {0x80000001, 0, EDX, CPUID_80000001_EDX_NX}},
	{EFER_FFXSR, {0x80000001, 0, EDX, CPUID_80000001_EDX_FFXSR}},
};
const uint32_t cpuid_efer_bit_count = sizeof(cpuid_efer_bits) / sizeof(cpuid_efer_bits[0]);

/* SDM Vol. 4, table 2-2; APM 3.2.9. STIBP can be set where IBRS can. */
const struct enable_bit cpuid_spec_ctrl_bits[] = {
	{SPEC_CTRL_IBRS | SPEC_CTRL_STIBP, {7, 0, EDX, CPUID_7_EDX_IBRS_IBPB}},
	{SPEC_CTRL_STIBP, {7, 0, EDX, CPUID_7_EDX_STIBP}},
	{SPEC_CTRL_SSBD, {7, 0, EDX, CPUID_7_EDX_SSBD}},
	{SPEC_CTRL_PSFD, {7, 2, EDX, CPUID_7_2_EDX_PSFD}},
	{SPEC_CTRL_IPRED_DIS, {7, 2, EDX, CPUID_7_2_EDX_IPRED_CTRL}},
	{SPEC_CTRL_RRSBA_DIS, {7, 2, EDX, CPUID_7_2_EDX_RRSBA_CTRL}},
	{SPEC_CTRL_DDPD_U, {7, 2, EDX, CPUID_7_2_EDX_DDPD_U}},
	{SPEC_CTRL_BHI_DIS_S, {7, 2, EDX, CPUID_7_2_EDX_BHI_CTRL}},
	{SPEC_CTRL_IBRS | SPEC_CTRL_STIBP, {0x80000008, 0, EBX, CPUID_80000008_EBX_IBRS}},
	{SPEC_CTRL_STIBP, {0x80000008, 0, EBX, CPUID_80000008_EBX_STIBP}},
	{SPEC_CTRL_SSBD, {0x80000008, 0, EBX, CPUID_80000008_EBX_SSBD}},
	{SPEC_CTRL_PSFD, {0x80000008, 0, EBX, CPUID_80000008_EBX_PSFD}},
};
const uint32_t cpuid_spec_ctrl_bit_count = sizeof(cpuid_spec_ctrl_bits) / sizeof(cpuid_spec_ctrl_bits[0]);

const struct enable_bit cpuid_pred_cmd_bits[] = {
	{PRED_CMD_IBPB, {7, 0, EDX, CPUID_7_EDX_IBRS_IBPB}},
	{PRED_CMD_IBPB, {0x80000008, 0, EBX, CPUID_80000008_EBX_IBPB}},
	{PRED_CMD_SBPB, {LEAF_EXTENDED_FEATURES, 0, EAX, CPUID_80000021_EAX_SBPB}},
};
const uint32_t cpuid_pred_cmd_bit_count = sizeof(cpuid_pred_cmd_bits) / sizeof(cpuid_pred_cmd_bits[0]);
