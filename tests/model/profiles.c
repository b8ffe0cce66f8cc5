/* SPDX-License-Identifier: Apache-2.0 */
/* See profiles.h. CPUID and IA32_ARCH_CAPABILITIES as Linux and the vendors report them for these models. */
#include "profiles.h"

#include "cpu/switch.h"
#include "cpu/x86.h"

#define LEGACY_7_EDX                                                                                            \
	(CPUID_7_EDX_MD_CLEAR | CPUID_7_EDX_IBRS_IBPB | CPUID_7_EDX_STIBP | CPUID_7_EDX_L1D_FLUSH | CPUID_7_EDX_SSBD)
#define MODERN_7_EDX (LEGACY_7_EDX | CPUID_7_EDX_ARCH_CAPABILITIES)
#define NEWEST_7_2_EDX                                                                                          \
	(CPUID_7_2_EDX_PSFD | CPUID_7_2_EDX_IPRED_CTRL | CPUID_7_2_EDX_RRSBA_CTRL | CPUID_7_2_EDX_DDPD_U |      \
	 CPUID_7_2_EDX_BHI_CTRL)
#define FIXED_2019                                                                                              \
	(ARCH_CAP_RDCL_NO | ARCH_CAP_IBRS_ALL | ARCH_CAP_SKIP_L1DFL_VMENTRY | ARCH_CAP_MDS_NO |                 \
	 ARCH_CAP_PSCHANGE_MC_NO)
#define ZEN2_8_EBX                                                                                              \
	(CPUID_80000008_EBX_IBPB | CPUID_80000008_EBX_IBRS | CPUID_80000008_EBX_STIBP | CPUID_80000008_EBX_SSBD |     \
	 CPUID_80000008_EBX_IBRS_PREFERRED | CPUID_80000008_EBX_STIBP_ALWAYS_ON)
#define ZEN3_8_EBX                                                                                              \
	(ZEN2_8_EBX | CPUID_80000008_EBX_IBRS_ALWAYS_ON | CPUID_80000008_EBX_IBRS_SAME_MODE |                   \
	 CPUID_80000008_EBX_PSFD | CPUID_80000008_EBX_BTC_NO)
#define ZEN3_21_EAX                                                                                             \
	(CPUID_80000021_EAX_LFENCE_SERIALIZING | CPUID_80000021_EAX_VERW_CLEAR | CPUID_80000021_EAX_SBPB |      \
	 CPUID_80000021_EAX_IBPB_BRTYPE)
#define LEGACY_EXIT (SWITCH_SPEC_CTRL | SWITCH_FILL_RSB)
#define BARRIER_EXIT (SWITCH_IBPB | SWITCH_FILL_RSB)

const struct profile profiles[] = {
	{{"Haswell, no microcode", MODEL_VMX, .signature = 0x306c3},
	 "rsb ", 0, SWITCH_FILL_RSB},
	{{"Haswell", MODEL_VMX, .signature = 0x306c3, .leaf_7_edx = LEGACY_7_EDX},
	 "spectre_v2 rsb guest_to_guest l1tf mds ", SWITCH_SPEC_CTRL | SWITCH_FLUSH_L1D | SWITCH_VERW, LEGACY_EXIT},
	{{"Skylake-SP", MODEL_VMX, .signature = 0x50654, .rtm = CPUID_7_EBX_RTM, .leaf_7_edx = MODERN_7_EDX,
	  .arch_capabilities = ARCH_CAP_RSBA | ARCH_CAP_SKIP_L1DFL_VMENTRY},
	 "spectre_v2 rsb guest_to_guest retbleed mds taa mmio_stale_data ", SWITCH_SPEC_CTRL | SWITCH_VERW, LEGACY_EXIT},
	{{"Cascade Lake", MODEL_VMX, .signature = 0x50657, .rtm = CPUID_7_EBX_RTM, .leaf_7_edx = MODERN_7_EDX,
	  .arch_capabilities = ARCH_CAP_RDCL_NO | ARCH_CAP_IBRS_ALL | ARCH_CAP_SKIP_L1DFL_VMENTRY | ARCH_CAP_MDS_NO |
			       ARCH_CAP_FB_CLEAR | ARCH_CAP_RRSBA, .spec_ctrl = SPEC_CTRL_IBRS},
	 "spectre_v2 pbrsb bhi guest_to_guest retbleed taa mmio_stale_data ", SWITCH_SPEC_CTRL | SWITCH_VERW,
	 SWITCH_SPEC_CTRL | SWITCH_CALL | SWITCH_CLEAR_BHB},
	{{"Ice Lake-SP", MODEL_VMX, .signature = 0x606a6, .leaf_7_edx = MODERN_7_EDX,
	  .arch_capabilities = FIXED_2019 | ARCH_CAP_TAA_NO | ARCH_CAP_FB_CLEAR | ARCH_CAP_RRSBA,
	  .spec_ctrl = SPEC_CTRL_IBRS},
	 "spectre_v2 pbrsb bhi guest_to_guest mmio_stale_data ", SWITCH_SPEC_CTRL | SWITCH_VERW,
	 SWITCH_SPEC_CTRL | SWITCH_CALL | SWITCH_CLEAR_BHB},
	{{"Alder Lake", MODEL_VMX, .signature = 0x90672, .leaf_7_edx = MODERN_7_EDX, .leaf_7_2_edx = NEWEST_7_2_EDX,
	  .arch_capabilities = FIXED_2019 | ARCH_CAP_TAA_NO | ARCH_CAP_SBDR_SSDP_NO | ARCH_CAP_FBSDP_NO |
			       ARCH_CAP_PSDP_NO | ARCH_CAP_RRSBA | ARCH_CAP_RFDS_CLEAR,
	  .spec_ctrl = SPEC_CTRL_IBRS | SPEC_CTRL_BHI_DIS_S},
	 "spectre_v2 pbrsb bhi guest_to_guest rfds ", SWITCH_SPEC_CTRL | SWITCH_VERW, SWITCH_SPEC_CTRL | SWITCH_CALL},
	{{"Sapphire Rapids", MODEL_VMX, .signature = 0x806f8, .leaf_7_edx = MODERN_7_EDX, .leaf_7_2_edx = NEWEST_7_2_EDX,
	  .arch_capabilities = FIXED_2019 | ARCH_CAP_TAA_NO | ARCH_CAP_SBDR_SSDP_NO | ARCH_CAP_FBSDP_NO |
			       ARCH_CAP_PSDP_NO | ARCH_CAP_RRSBA | ARCH_CAP_PBRSB_NO | ARCH_CAP_GDS_NO | ARCH_CAP_RFDS_NO,
	  .spec_ctrl = SPEC_CTRL_IBRS},
	 "spectre_v2 bhi guest_to_guest ", SWITCH_SPEC_CTRL, SWITCH_SPEC_CTRL},
	{{"a CPU with nothing to mitigate but targets", MODEL_VMX, .signature = 0xd06d1, .leaf_7_edx = MODERN_7_EDX,
	  .arch_capabilities = FIXED_2019 | ARCH_CAP_SSB_NO | ARCH_CAP_TAA_NO | ARCH_CAP_BHI_NO | ARCH_CAP_PBRSB_NO |
			       ARCH_CAP_RFDS_NO | ARCH_CAP_GDS_NO | ARCH_CAP_ITS_NO},
	 "spectre_v2 guest_to_guest ", SWITCH_SPEC_CTRL, SWITCH_SPEC_CTRL},
	{{"Zen 1", MODEL_SVM, .signature = 0x800f12, .leaf_8_ebx = CPUID_80000008_EBX_IBPB},
	 "rsb guest_to_guest retbleed srso div0 ", SWITCH_DIVIDE, BARRIER_EXIT},
	{{"Zen 2", MODEL_SVM, .signature = 0x830f10, .leaf_8_ebx = ZEN2_8_EBX},
	 "spectre_v2 rsb guest_to_guest retbleed srso ", SWITCH_SPEC_CTRL, BARRIER_EXIT | SWITCH_SPEC_CTRL},
	{{"Zen 3", MODEL_SVM, .signature = 0xa00f11, .leaf_8_ebx = ZEN3_8_EBX, .leaf_a_edx = CPUID_8000000A_EDX_SPEC_CTRL,
	  .leaf_21_eax = ZEN3_21_EAX},
	 "spectre_v2 rsb guest_to_guest srso tsa ", SWITCH_VERW, BARRIER_EXIT},
	{{"Zen 4", MODEL_SVM, .signature = 0xa10f11, .leaf_8_ebx = ZEN3_8_EBX | CPUID_80000008_EBX_IBPB_RET,
	  .leaf_a_edx = CPUID_8000000A_EDX_SPEC_CTRL, .leaf_21_eax = ZEN3_21_EAX | CPUID_80000021_EAX_AUTOMATIC_IBRS,
	  .efer = EFER_AIBRSE},
	 "spectre_v2 guest_to_guest srso tsa ", SWITCH_VERW, BARRIER_EXIT},
	{{"Zen 5", MODEL_SVM, .signature = 0xb00f21, .leaf_8_ebx = ZEN3_8_EBX | CPUID_80000008_EBX_IBPB_RET,
	  .leaf_a_edx = CPUID_8000000A_EDX_SPEC_CTRL,
	  .leaf_21_eax = CPUID_80000021_EAX_LFENCE_SERIALIZING | CPUID_80000021_EAX_AUTOMATIC_IBRS |
			 CPUID_80000021_EAX_ERAPS | CPUID_80000021_EAX_SBPB | CPUID_80000021_EAX_IBPB_BRTYPE |
			 CPUID_80000021_EAX_SRSO_USER_KERNEL_NO | CPUID_80000021_EAX_SRSO_MSR_FIX,
	  .leaf_21_ecx = CPUID_80000021_ECX_TSA_SQ_NO | CPUID_80000021_ECX_TSA_L1_NO,
	  .efer = EFER_AIBRSE, .bp_cfg = BP_CFG_SPEC_REDUCE},
	 "spectre_v2 guest_to_guest srso ", 0, 0},
};
const unsigned profile_count = sizeof(profiles) / sizeof(profiles[0]);
