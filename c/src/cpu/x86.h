/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers of the x86 architecture, by the names that the manuals give them. No instructions in here. */
#ifndef CPU_X86_H
#define CPU_X86_H

#include <stdint.h>

/* ---- Exception vectors (SDM table 6-1) --------------------------------------------------------- */

#define VECTOR_DE 0
#define VECTOR_DB 1
#define VECTOR_NMI 2
#define VECTOR_BP 3
#define VECTOR_OF 4
#define VECTOR_BR 5
#define VECTOR_UD 6
#define VECTOR_NM 7
#define VECTOR_DF 8
#define VECTOR_TS 10
#define VECTOR_NP 11
#define VECTOR_SS 12
#define VECTOR_GP 13
#define VECTOR_PF 14
#define VECTOR_MF 16
#define VECTOR_AC 17
#define VECTOR_MC 18
#define VECTOR_XM 19
#define VECTOR_VE 20
#define VECTOR_CP 21
#define VECTOR_HV 28 /* AMD */
#define VECTOR_VC 29 /* AMD */
#define VECTOR_SX 30 /* AMD */

/* Error code of a page fault (SDM 4.7). */
#define PF_PRESENT (1u << 0)
#define PF_WRITE (1u << 1)
#define PF_USER (1u << 2)
#define PF_RESERVED (1u << 3)
#define PF_FETCH (1u << 4)
#define PF_PROTECTION_KEY (1u << 5)

/* ---- RFLAGS (SDM Vol. 1, 3.4.3) ---------------------------------------------------------------- */

#define RFLAGS_CF (UINT64_C(1) << 0)
#define RFLAGS_FIXED (UINT64_C(1) << 1) /* always 1 */
#define RFLAGS_PF (UINT64_C(1) << 2)
#define RFLAGS_AF (UINT64_C(1) << 4)
#define RFLAGS_ZF (UINT64_C(1) << 6)
#define RFLAGS_SF (UINT64_C(1) << 7)
#define RFLAGS_TF (UINT64_C(1) << 8)
#define RFLAGS_IF (UINT64_C(1) << 9)
#define RFLAGS_DF (UINT64_C(1) << 10)
#define RFLAGS_OF (UINT64_C(1) << 11)
#define RFLAGS_IOPL (UINT64_C(3) << 12)
#define RFLAGS_NT (UINT64_C(1) << 14)
#define RFLAGS_RF (UINT64_C(1) << 16)
#define RFLAGS_VM (UINT64_C(1) << 17)
#define RFLAGS_AC (UINT64_C(1) << 18)
#define RFLAGS_VIF (UINT64_C(1) << 19)
#define RFLAGS_VIP (UINT64_C(1) << 20)
#define RFLAGS_ID (UINT64_C(1) << 21)
#define RFLAGS_DEFINED UINT64_C(0x3f7fd7) /* every bit above */

/* ---- Control registers (SDM 2.5) --------------------------------------------------------------- */

#define CR0_PE (UINT64_C(1) << 0)
#define CR0_MP (UINT64_C(1) << 1)
#define CR0_EM (UINT64_C(1) << 2)
#define CR0_TS (UINT64_C(1) << 3)
#define CR0_ET (UINT64_C(1) << 4) /* always 1 */
#define CR0_NE (UINT64_C(1) << 5)
#define CR0_WP (UINT64_C(1) << 16)
#define CR0_AM (UINT64_C(1) << 18)
#define CR0_NW (UINT64_C(1) << 29)
#define CR0_CD (UINT64_C(1) << 30)
#define CR0_PG (UINT64_C(1) << 31)
#define CR0_DEFINED UINT64_C(0xe005003f) /* every bit above */

#define CR3_PWT (UINT64_C(1) << 3)
#define CR3_PCD (UINT64_C(1) << 4)
#define CR3_PCID UINT64_C(0xfff)            /* with CR4.PCIDE */
#define CR3_LAM_U57 (UINT64_C(1) << 61)
#define CR3_LAM_U48 (UINT64_C(1) << 62)
#define CR3_NO_FLUSH (UINT64_C(1) << 63)    /* source operand of MOV to CR3 with CR4.PCIDE */
#define CR3_PAE_BASE UINT64_C(0xffffffe0)   /* of the page-directory-pointer table */

#define CR4_VME (UINT64_C(1) << 0)
#define CR4_PVI (UINT64_C(1) << 1)
#define CR4_TSD (UINT64_C(1) << 2)
#define CR4_DE (UINT64_C(1) << 3)
#define CR4_PSE (UINT64_C(1) << 4)
#define CR4_PAE (UINT64_C(1) << 5)
#define CR4_MCE (UINT64_C(1) << 6)
#define CR4_PGE (UINT64_C(1) << 7)
#define CR4_PCE (UINT64_C(1) << 8)
#define CR4_OSFXSR (UINT64_C(1) << 9)
#define CR4_OSXMMEXCPT (UINT64_C(1) << 10)
#define CR4_UMIP (UINT64_C(1) << 11)
#define CR4_LA57 (UINT64_C(1) << 12)
#define CR4_VMXE (UINT64_C(1) << 13)
#define CR4_SMXE (UINT64_C(1) << 14)
#define CR4_FSGSBASE (UINT64_C(1) << 16)
#define CR4_PCIDE (UINT64_C(1) << 17)
#define CR4_OSXSAVE (UINT64_C(1) << 18)
#define CR4_KL (UINT64_C(1) << 19)
#define CR4_SMEP (UINT64_C(1) << 20)
#define CR4_SMAP (UINT64_C(1) << 21)
#define CR4_PKE (UINT64_C(1) << 22)
#define CR4_CET (UINT64_C(1) << 23)
#define CR4_PKS (UINT64_C(1) << 24)
#define CR4_UINTR (UINT64_C(1) << 25)
#define CR4_FRED (UINT64_C(1) << 32)

#define EFER_SCE (UINT64_C(1) << 0)
#define EFER_LME (UINT64_C(1) << 8)
#define EFER_LMA (UINT64_C(1) << 10)
#define EFER_NXE (UINT64_C(1) << 11)
#define EFER_SVME (UINT64_C(1) << 12)
#define EFER_LMSLE (UINT64_C(1) << 13)
#define EFER_FFXSR (UINT64_C(1) << 14)
#define EFER_TCE (UINT64_C(1) << 15)
#define EFER_AIBRSE (UINT64_C(1) << 21) /* automatic IBRS */

/* ---- Extended state (SDM Vol. 1, 13.1 and 13.3) ------------------------------------------------ */

#define XCR0_X87 (UINT64_C(1) << 0)
#define XCR0_SSE (UINT64_C(1) << 1)
#define XCR0_AVX (UINT64_C(1) << 2)
#define XCR0_BNDREGS (UINT64_C(1) << 3)
#define XCR0_BNDCSR (UINT64_C(1) << 4)
#define XCR0_OPMASK (UINT64_C(1) << 5)
#define XCR0_ZMM_HI256 (UINT64_C(1) << 6)
#define XCR0_HI16_ZMM (UINT64_C(1) << 7)
#define XCR0_AVX512 (XCR0_OPMASK | XCR0_ZMM_HI256 | XCR0_HI16_ZMM)
#define XSS_PT (UINT64_C(1) << 8)
#define XCR0_PKRU (UINT64_C(1) << 9)
#define XCR0_TILECFG (UINT64_C(1) << 17)
#define XCR0_TILEDATA (UINT64_C(1) << 18)

#define XSAVE_LEGACY_SIZE 512u /* of the FXSAVE region */
#define XSAVE_HEADER_SIZE 64u

/* ---- Debug registers (SDM 18.2) ---------------------------------------------------------------- */

#define DR6_B0 (UINT64_C(1) << 0)
#define DR6_B1 (UINT64_C(1) << 1)
#define DR6_B2 (UINT64_C(1) << 2)
#define DR6_B3 (UINT64_C(1) << 3)
#define DR6_BLD (UINT64_C(1) << 11) /* 0 when a bus lock was detected */
#define DR6_BD (UINT64_C(1) << 13)
#define DR6_BS (UINT64_C(1) << 14)
#define DR6_BT (UINT64_C(1) << 15)
#define DR6_RTM (UINT64_C(1) << 16) /* 0 inside a transaction */
#define DR6_RESET UINT64_C(0xffff0ff0)  /* bits that read as 1 */
#define DR6_WRITABLE UINT64_C(0x0000e00f) /* without BLD and RTM */

#define DR7_LE (UINT64_C(1) << 8)
#define DR7_GE (UINT64_C(1) << 9)
#define DR7_RTM (UINT64_C(1) << 11)
#define DR7_GD (UINT64_C(1) << 13)
#define DR7_ENABLES UINT64_C(0xff)      /* L0, G0, ... L3, G3 */
#define DR7_RESET UINT64_C(0x400)       /* bit 10 is always 1 */
#define DR7_WRITABLE UINT64_C(0xffff23ff) /* without RTM */

/* Pending debug exceptions as a VMCS has them (SDM table 25-4). */
#define PENDING_DB_ENABLED (UINT64_C(1) << 12)
#define PENDING_DB_BS (UINT64_C(1) << 14)

/* ---- Access rights of a segment as a VMCS has them (SDM table 25-2) ------------------------------ */

#define AR_TYPE 0xfu
#define AR_TYPE_ACCESSED (1u << 0)
#define AR_TYPE_WRITE (1u << 1)  /* data: writable; code: readable */
#define AR_TYPE_BUSY (1u << 1)   /* TSS */
#define AR_TYPE_EXPAND (1u << 2) /* data: expand-down; code: conforming */
#define AR_TYPE_CODE (1u << 3)
#define AR_S (1u << 4) /* code or data */
#define AR_DPL_SHIFT 5
#define AR_DPL (3u << AR_DPL_SHIFT)
#define AR_P (1u << 7)
#define AR_AVL (1u << 12)
#define AR_L (1u << 13)
#define AR_D (1u << 14) /* D/B */
#define AR_G (1u << 15)
#define AR_UNUSABLE (1u << 16)

/* ---- Paging (SDM 4.3 to 4.5) --------------------------------------------------------------------- */

#define PTE_P (UINT64_C(1) << 0)
#define PTE_RW (UINT64_C(1) << 1)
#define PTE_US (UINT64_C(1) << 2)
#define PTE_PWT (UINT64_C(1) << 3)
#define PTE_PCD (UINT64_C(1) << 4)
#define PTE_A (UINT64_C(1) << 5)
#define PTE_D (UINT64_C(1) << 6)
#define PTE_PS (UINT64_C(1) << 7)
#define PTE_G (UINT64_C(1) << 8)
#define PTE_PAT_4K (UINT64_C(1) << 7)
#define PTE_PAT_LARGE (UINT64_C(1) << 12)
#define PTE_XD (UINT64_C(1) << 63)
#define PTE_KEY_SHIFT 59 /* protection key, bits 62:59 */
#define PDPTE_PAE_RESERVED (UINT64_C(0x1e6)) /* low bits of a PAE PDPTE: 2:1 and 8:5 (SDM table 4-8) */

/* ---- Memory types (SDM 12.3, table 12-2) --------------------------------------------------------- */

#define MEMORY_UC 0u
#define MEMORY_WC 1u
#define MEMORY_WT 4u
#define MEMORY_WP 5u
#define MEMORY_WB 6u
#define MEMORY_UC_MINUS 7u /* in the PAT only */

/* ---- CPUID (SDM Vol. 2, CPUID; APM Vol. 3, appendix E) ------------------------------------------- */

#define CPUID_1_ECX_SSE3 (1u << 0)
#define CPUID_1_ECX_PCLMULQDQ (1u << 1)
#define CPUID_1_ECX_DTES64 (1u << 2)
#define CPUID_1_ECX_MONITOR (1u << 3)
#define CPUID_1_ECX_VMX (1u << 5)
#define CPUID_1_ECX_SMX (1u << 6)
#define CPUID_1_ECX_EIST (1u << 7)
#define CPUID_1_ECX_TM2 (1u << 8)
#define CPUID_1_ECX_SSSE3 (1u << 9)
#define CPUID_1_ECX_FMA (1u << 12)
#define CPUID_1_ECX_CMPXCHG16B (1u << 13)
#define CPUID_1_ECX_PDCM (1u << 15)
#define CPUID_1_ECX_PCID (1u << 17)
#define CPUID_1_ECX_SSE4_1 (1u << 19)
#define CPUID_1_ECX_SSE4_2 (1u << 20)
#define CPUID_1_ECX_X2APIC (1u << 21)
#define CPUID_1_ECX_MOVBE (1u << 22)
#define CPUID_1_ECX_POPCNT (1u << 23)
#define CPUID_1_ECX_TSC_DEADLINE (1u << 24)
#define CPUID_1_ECX_AESNI (1u << 25)
#define CPUID_1_ECX_XSAVE (1u << 26)
#define CPUID_1_ECX_OSXSAVE (1u << 27)
#define CPUID_1_ECX_AVX (1u << 28)
#define CPUID_1_ECX_F16C (1u << 29)
#define CPUID_1_ECX_RDRAND (1u << 30)
#define CPUID_1_ECX_HYPERVISOR (1u << 31)

#define CPUID_1_EDX_FPU (1u << 0)
#define CPUID_1_EDX_VME (1u << 1)
#define CPUID_1_EDX_DE (1u << 2)
#define CPUID_1_EDX_PSE (1u << 3)
#define CPUID_1_EDX_TSC (1u << 4)
#define CPUID_1_EDX_MSR (1u << 5)
#define CPUID_1_EDX_PAE (1u << 6)
#define CPUID_1_EDX_MCE (1u << 7)
#define CPUID_1_EDX_CX8 (1u << 8)
#define CPUID_1_EDX_APIC (1u << 9)
#define CPUID_1_EDX_SEP (1u << 11)
#define CPUID_1_EDX_MTRR (1u << 12)
#define CPUID_1_EDX_PGE (1u << 13)
#define CPUID_1_EDX_MCA (1u << 14)
#define CPUID_1_EDX_CMOV (1u << 15)
#define CPUID_1_EDX_PAT (1u << 16)
#define CPUID_1_EDX_PSE36 (1u << 17)
#define CPUID_1_EDX_CLFSH (1u << 19)
#define CPUID_1_EDX_MMX (1u << 23)
#define CPUID_1_EDX_FXSR (1u << 24)
#define CPUID_1_EDX_SSE (1u << 25)
#define CPUID_1_EDX_SSE2 (1u << 26)
#define CPUID_1_EDX_SS (1u << 27)

#define CPUID_6_EAX_ARAT (1u << 2)

#define CPUID_7_EBX_FSGSBASE (1u << 0)
#define CPUID_7_EBX_TSC_ADJUST (1u << 1)
#define CPUID_7_EBX_BMI1 (1u << 3)
#define CPUID_7_EBX_AVX2 (1u << 5)
#define CPUID_7_EBX_FDP_EXCPTN_ONLY (1u << 6)
#define CPUID_7_EBX_SMEP (1u << 7)
#define CPUID_7_EBX_BMI2 (1u << 8)
#define CPUID_7_EBX_ERMS (1u << 9)
#define CPUID_7_EBX_INVPCID (1u << 10)
#define CPUID_7_EBX_RTM (1u << 11)
#define CPUID_7_EBX_ZERO_FCS_FDS (1u << 13)
#define CPUID_7_EBX_AVX512F (1u << 16)
#define CPUID_7_EBX_AVX512DQ (1u << 17)
#define CPUID_7_EBX_RDSEED (1u << 18)
#define CPUID_7_EBX_ADX (1u << 19)
#define CPUID_7_EBX_SMAP (1u << 20)
#define CPUID_7_EBX_AVX512_IFMA (1u << 21)
#define CPUID_7_EBX_CLFLUSHOPT (1u << 23)
#define CPUID_7_EBX_CLWB (1u << 24)
#define CPUID_7_EBX_AVX512PF (1u << 26)
#define CPUID_7_EBX_AVX512ER (1u << 27)
#define CPUID_7_EBX_AVX512CD (1u << 28)
#define CPUID_7_EBX_SHA (1u << 29)
#define CPUID_7_EBX_AVX512BW (1u << 30)
#define CPUID_7_EBX_AVX512VL (1u << 31)

#define CPUID_7_ECX_PREFETCHWT1 (1u << 0)
#define CPUID_7_ECX_AVX512_VBMI (1u << 1)
#define CPUID_7_ECX_UMIP (1u << 2)
#define CPUID_7_ECX_PKU (1u << 3)
#define CPUID_7_ECX_OSPKE (1u << 4)
#define CPUID_7_ECX_WAITPKG (1u << 5)
#define CPUID_7_ECX_AVX512_VBMI2 (1u << 6)
#define CPUID_7_ECX_CET_SS (1u << 7)
#define CPUID_7_ECX_GFNI (1u << 8)
#define CPUID_7_ECX_VAES (1u << 9)
#define CPUID_7_ECX_VPCLMULQDQ (1u << 10)
#define CPUID_7_ECX_AVX512_VNNI (1u << 11)
#define CPUID_7_ECX_AVX512_BITALG (1u << 12)
#define CPUID_7_ECX_AVX512_VPOPCNTDQ (1u << 14)
#define CPUID_7_ECX_LA57 (1u << 16)
#define CPUID_7_ECX_RDPID (1u << 22)
#define CPUID_7_ECX_CLDEMOTE (1u << 25)
#define CPUID_7_ECX_MOVDIRI (1u << 27)
#define CPUID_7_ECX_MOVDIR64B (1u << 28)

#define CPUID_7_EDX_AVX512_4VNNIW (1u << 2)
#define CPUID_7_EDX_AVX512_4FMAPS (1u << 3)
#define CPUID_7_EDX_FSRM (1u << 4)
#define CPUID_7_EDX_AVX512_VP2INTERSECT (1u << 8)
#define CPUID_7_EDX_MD_CLEAR (1u << 10)
#define CPUID_7_EDX_SRBDS_CTRL (1u << 9)
#define CPUID_7_EDX_SERIALIZE (1u << 14)
#define CPUID_7_EDX_CET_IBT (1u << 20)
#define CPUID_7_EDX_CORE_CAPABILITIES (1u << 30)
#define CPUID_7_EDX_AVX512_FP16 (1u << 23)
#define CPUID_7_EDX_IBRS_IBPB (1u << 26)
#define CPUID_7_EDX_STIBP (1u << 27)
#define CPUID_7_EDX_L1D_FLUSH (1u << 28)
#define CPUID_7_EDX_ARCH_CAPABILITIES (1u << 29)
#define CPUID_7_EDX_SSBD (1u << 31)
/* Leaf 7, subleaf 2 */
#define CPUID_7_2_EDX_PSFD (1u << 0)
#define CPUID_7_2_EDX_IPRED_CTRL (1u << 1)
#define CPUID_7_2_EDX_RRSBA_CTRL (1u << 2)
#define CPUID_7_2_EDX_DDPD_U (1u << 3)
#define CPUID_7_2_EDX_BHI_CTRL (1u << 4)
#define CPUID_7_2_EDX_MCDT_NO (1u << 5)

#define CPUID_7_1_EAX_AVX_VNNI (1u << 4)
#define CPUID_7_1_EAX_AVX512_BF16 (1u << 5)
#define CPUID_7_1_EAX_FZRM (1u << 10)
#define CPUID_7_1_EAX_FSRS (1u << 11)
#define CPUID_7_1_EAX_FSRC (1u << 12)
#define CPUID_7_1_EAX_AVX_IFMA (1u << 23)
#define CPUID_7_1_EAX_LAM (1u << 26)

#define CPUID_D_1_EAX_XSAVEOPT (1u << 0)
#define CPUID_D_1_EAX_XSAVEC (1u << 1)
#define CPUID_D_1_EAX_XGETBV1 (1u << 2)
#define CPUID_D_1_EAX_XSAVES (1u << 3)

#define CPUID_80000001_ECX_LAHF64 (1u << 0)
#define CPUID_80000001_ECX_CMP_LEGACY (1u << 1)
#define CPUID_80000001_ECX_SVM (1u << 2)
#define CPUID_80000001_ECX_CR8_LEGACY (1u << 4)
#define CPUID_80000001_ECX_LZCNT (1u << 5)
#define CPUID_80000001_ECX_SSE4A (1u << 6)
#define CPUID_80000001_ECX_MISALIGNSSE (1u << 7)
#define CPUID_80000001_ECX_PREFETCHW (1u << 8)
#define CPUID_80000001_ECX_XOP (1u << 11)
#define CPUID_80000001_ECX_FMA4 (1u << 16)
#define CPUID_80000001_ECX_TBM (1u << 21)

#define CPUID_80000001_EDX_SYSCALL (1u << 11)
#define CPUID_80000001_EDX_NX (1u << 20)
#define CPUID_80000001_EDX_MMXEXT (1u << 22)
#define CPUID_80000001_EDX_FFXSR (1u << 25)
#define CPUID_80000001_EDX_PAGE1GB (1u << 26)
#define CPUID_80000001_EDX_RDTSCP (1u << 27)
#define CPUID_80000001_EDX_LM (1u << 29)
#define CPUID_80000001_EDX_3DNOWEXT (1u << 30)
#define CPUID_80000001_EDX_3DNOW (1u << 31)

#define CPUID_80000007_EDX_INVARIANT_TSC (1u << 8)

#define CPUID_80000008_EBX_CLZERO (1u << 0)
#define CPUID_80000008_EBX_XSAVEERPTR (1u << 2)
#define CPUID_80000008_EBX_WBNOINVD (1u << 9)
#define CPUID_80000008_EBX_IBPB (1u << 12)
#define CPUID_80000008_EBX_IBRS (1u << 14)
#define CPUID_80000008_EBX_STIBP (1u << 15)
#define CPUID_80000008_EBX_IBRS_ALWAYS_ON (1u << 16)
#define CPUID_80000008_EBX_STIBP_ALWAYS_ON (1u << 17)
#define CPUID_80000008_EBX_IBRS_PREFERRED (1u << 18)
#define CPUID_80000008_EBX_IBRS_SAME_MODE (1u << 19)
#define CPUID_80000008_EBX_SSBD (1u << 24)
#define CPUID_80000008_EBX_SSB_NO (1u << 26)
#define CPUID_80000008_EBX_PSFD (1u << 28)
#define CPUID_80000008_EBX_BTC_NO (1u << 29)
#define CPUID_80000008_EBX_IBPB_RET (1u << 30)
/* Leaf 8000000AH (APM Vol. 3, E.4.9) */
#define CPUID_8000000A_EDX_SPEC_CTRL (1u << 20)
/* Leaf 80000021H (APM Vol. 3, E.4.21) */
#define CPUID_80000021_EAX_LFENCE_SERIALIZING (1u << 2)
#define CPUID_80000021_EAX_VERW_CLEAR (1u << 5)
#define CPUID_80000021_EAX_AUTOMATIC_IBRS (1u << 8)
#define CPUID_80000021_EAX_ERAPS (1u << 24)
#define CPUID_80000021_EAX_SBPB (1u << 27)
#define CPUID_80000021_EAX_IBPB_BRTYPE (1u << 28)
#define CPUID_80000021_EAX_SRSO_NO (1u << 29)
#define CPUID_80000021_EAX_SRSO_USER_KERNEL_NO (1u << 30)
#define CPUID_80000021_EAX_SRSO_MSR_FIX (1u << 31)
#define CPUID_80000021_ECX_TSA_SQ_NO (1u << 1)
#define CPUID_80000021_ECX_TSA_L1_NO (1u << 2)

/* IA32_ARCH_CAPABILITIES (SDM Vol. 4, table 2-2) */
#define ARCH_CAP_RDCL_NO (UINT64_C(1) << 0)
#define ARCH_CAP_IBRS_ALL (UINT64_C(1) << 1)
#define ARCH_CAP_RSBA (UINT64_C(1) << 2)
#define ARCH_CAP_SKIP_L1DFL_VMENTRY (UINT64_C(1) << 3)
#define ARCH_CAP_SSB_NO (UINT64_C(1) << 4)
#define ARCH_CAP_MDS_NO (UINT64_C(1) << 5)
#define ARCH_CAP_PSCHANGE_MC_NO (UINT64_C(1) << 6)
#define ARCH_CAP_TAA_NO (UINT64_C(1) << 8)
#define ARCH_CAP_SBDR_SSDP_NO (UINT64_C(1) << 13)
#define ARCH_CAP_FBSDP_NO (UINT64_C(1) << 14)
#define ARCH_CAP_PSDP_NO (UINT64_C(1) << 15)
#define ARCH_CAP_FB_CLEAR (UINT64_C(1) << 17)
#define ARCH_CAP_RRSBA (UINT64_C(1) << 19)
#define ARCH_CAP_BHI_NO (UINT64_C(1) << 20)
#define ARCH_CAP_PBRSB_NO (UINT64_C(1) << 24)
#define ARCH_CAP_GDS_NO (UINT64_C(1) << 26)
#define ARCH_CAP_RFDS_NO (UINT64_C(1) << 27)
#define ARCH_CAP_RFDS_CLEAR (UINT64_C(1) << 28)
#define ARCH_CAP_ITS_NO (UINT64_C(1) << 62)

/* IA32_SPEC_CTRL, IA32_PRED_CMD, IA32_FLUSH_CMD (SDM Vol. 4, table 2-2; APM 3.2.9) */
#define SPEC_CTRL_IBRS (UINT64_C(1) << 0)
#define SPEC_CTRL_STIBP (UINT64_C(1) << 1)
#define SPEC_CTRL_SSBD (UINT64_C(1) << 2)
#define SPEC_CTRL_IPRED_DIS (UINT64_C(3) << 3)
#define SPEC_CTRL_RRSBA_DIS (UINT64_C(3) << 5)
#define SPEC_CTRL_PSFD (UINT64_C(1) << 7)
#define SPEC_CTRL_DDPD_U (UINT64_C(1) << 8)
#define SPEC_CTRL_BHI_DIS_S (UINT64_C(1) << 10)
#define PRED_CMD_IBPB (UINT64_C(1) << 0)
#define PRED_CMD_SBPB (UINT64_C(1) << 7)
#define FLUSH_CMD_L1D (UINT64_C(1) << 0)
#define BP_CFG_SPEC_REDUCE (UINT64_C(1) << 4)

/* ---- Contents of MSRs (SDM Vol. 4; APM appendix A); their numbers are in x86vcpu/msr.h -------------- */

#define MSR_TSC_AUX 0xc0000103u
#define MSR_XSS 0xda0u

#define PAT_RESET UINT64_C(0x0007040600070406) /* SDM table 12-12 */

#define DEBUGCTL_LBR (UINT64_C(1) << 0)
#define DEBUGCTL_BTF (UINT64_C(1) << 1)
#define HWCR_TSC_FREQ_SEL (UINT64_C(1) << 24) /* the TSC counts at the P0 frequency */
#define MISC_ENABLE_FAST_STRINGS (UINT64_C(1) << 0)
#define MISC_ENABLE_THERMAL_CONTROL (UINT64_C(1) << 3)
#define MISC_ENABLE_PERFMON_AVAILABLE (UINT64_C(1) << 7)
#define MISC_ENABLE_BTS_UNAVAILABLE (UINT64_C(1) << 11)
#define MISC_ENABLE_PEBS_UNAVAILABLE (UINT64_C(1) << 12)
#define MISC_ENABLE_SPEEDSTEP (UINT64_C(1) << 16)
#define MISC_ENABLE_MONITOR (UINT64_C(1) << 18)
#define MISC_ENABLE_LIMIT_CPUID (UINT64_C(1) << 22)
#define MISC_ENABLE_XTPR_DISABLE (UINT64_C(1) << 23)
#define MISC_ENABLE_XD_DISABLE (UINT64_C(1) << 34)
#define MISC_ENABLE_TURBO_DISABLE (UINT64_C(1) << 38)
#define MCG_STATUS_DEFINED UINT64_C(7) /* RIPV, EIPV, MCIP */
#define FEATURE_CONTROL_LOCK (UINT64_C(1) << 0)

#define MTRRCAP_FIX (UINT64_C(1) << 8)
#define MTRRCAP_WC (UINT64_C(1) << 10)
#define MTRR_DEF_TYPE_FE (UINT64_C(1) << 10)
#define MTRR_DEF_TYPE_E (UINT64_C(1) << 11)
#define MTRR_PHYSMASK_VALID (UINT64_C(1) << 11)

#endif
