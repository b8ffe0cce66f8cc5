/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers of model-specific registers, by the names of Intel's manual, Vol. 4, and of AMD's, Vol. 2
 * appendix A. SDM: Intel Vol. 3; APM: AMD Vol. 2.
 */
#ifndef X86VCPU_MSR_H
#define X86VCPU_MSR_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Features, microcode, mitigations -------------------------------------------------------- */

#define X86VCPU_MSR_IA32_PLATFORM_ID 0x17u                /* microcode update, SDM 10.11 */
#define X86VCPU_MSR_IA32_FEATURE_CONTROL 0x3au            /* lock, VMX enable, SDM 24.7 */
#define X86VCPU_MSR_IA32_SPEC_CTRL 0x48u                  /* IBRS, STIBP, SSBD */
#define X86VCPU_MSR_IA32_PRED_CMD 0x49u                   /* IBPB; write only */
#define X86VCPU_MSR_IA32_BIOS_UPDT_TRIG 0x79u             /* microcode update, SDM 10.11.6 */
#define X86VCPU_MSR_IA32_BIOS_SIGN_ID 0x8bu               /* microcode revision, SDM 10.11.7 */
#define X86VCPU_MSR_IA32_CORE_CAPABILITIES 0xcfu          /* split lock detection and others */
#define X86VCPU_MSR_IA32_UMWAIT_CONTROL 0xe1u             /* UMWAIT and TPAUSE limit */
#define X86VCPU_MSR_IA32_ARCH_CAPABILITIES 0x10au         /* which mitigations are not needed */
#define X86VCPU_MSR_IA32_FLUSH_CMD 0x10bu                 /* L1 data cache flush; write only */
#define X86VCPU_MSR_IA32_TSX_CTRL 0x122u                  /* TSX off */
#define X86VCPU_MSR_IA32_MISC_ENABLE 0x1a0u               /* fast strings, XD disable, ... */

/* ---- Time ------------------------------------------------------------------------------------ */

#define X86VCPU_MSR_IA32_TIME_STAMP_COUNTER 0x10u         /* SDM 18.17 */
#define X86VCPU_MSR_IA32_TSC_ADJUST 0x3bu                 /* SDM 18.17.3 */
#define X86VCPU_MSR_IA32_MPERF 0xe7u                      /* cycles at maximum frequency, SDM 15.2 */
#define X86VCPU_MSR_IA32_APERF 0xe8u                      /* cycles at actual frequency */
#define X86VCPU_MSR_IA32_TSC_DEADLINE 0x6e0u              /* local APIC timer, SDM 11.5.4.1 */
#define X86VCPU_MSR_IA32_TSC_AUX 0xc0000103u              /* what RDTSCP and RDPID read */

/* ---- System calls, segment bases, modes ------------------------------------------------------ */

#define X86VCPU_MSR_IA32_SYSENTER_CS 0x174u               /* SDM 5.8.7 */
#define X86VCPU_MSR_IA32_SYSENTER_ESP 0x175u
#define X86VCPU_MSR_IA32_SYSENTER_EIP 0x176u
#define X86VCPU_MSR_IA32_EFER 0xc0000080u                 /* SCE, LME, LMA, NXE, SDM 2.2.1 */
#define X86VCPU_MSR_IA32_STAR 0xc0000081u                 /* selectors of SYSCALL, SDM 5.8.8 */
#define X86VCPU_MSR_IA32_LSTAR 0xc0000082u                /* RIP of SYSCALL in 64-bit mode */
#define X86VCPU_MSR_IA32_CSTAR 0xc0000083u                /* RIP of SYSCALL in compatibility mode, AMD */
#define X86VCPU_MSR_IA32_FMASK 0xc0000084u                /* RFLAGS that SYSCALL clears */
#define X86VCPU_MSR_IA32_FS_BASE 0xc0000100u              /* SDM 3.4.4 */
#define X86VCPU_MSR_IA32_GS_BASE 0xc0000101u
#define X86VCPU_MSR_IA32_KERNEL_GS_BASE 0xc0000102u       /* SWAPGS */
#define X86VCPU_MSR_IA32_XFD 0x1c4u                       /* extended feature disable, SDM Vol. 1, 13.14 */
#define X86VCPU_MSR_IA32_XFD_ERR 0x1c5u
#define X86VCPU_MSR_IA32_U_CET 0x6a0u                     /* shadow stacks, SDM Vol. 1, chapter 17 */
#define X86VCPU_MSR_IA32_S_CET 0x6a2u
#define X86VCPU_MSR_IA32_PL0_SSP 0x6a4u
#define X86VCPU_MSR_IA32_PL1_SSP 0x6a5u
#define X86VCPU_MSR_IA32_PL2_SSP 0x6a6u
#define X86VCPU_MSR_IA32_PL3_SSP 0x6a7u
#define X86VCPU_MSR_IA32_INTERRUPT_SSP_TABLE 0x6a8u
#define X86VCPU_MSR_IA32_PKRS 0x6e1u                      /* supervisor protection keys */
#define X86VCPU_MSR_IA32_BNDCFGS 0xd90u                   /* MPX */
#define X86VCPU_MSR_IA32_XSS 0xda0u                       /* supervisor state of XSAVES, SDM Vol. 1, 13.3 */

/* ---- Memory types ---------------------------------------------------------------------------- */

#define X86VCPU_MSR_IA32_MTRRCAP 0xfeu                    /* SDM 12.11.1 */
#define X86VCPU_MSR_IA32_MTRR_PHYSBASE0 0x200u            /* + 2 n, SDM 12.11.2.3 */
#define X86VCPU_MSR_IA32_MTRR_PHYSMASK0 0x201u            /* + 2 n */
#define X86VCPU_MSR_IA32_MTRR_PHYSBASE9 0x212u
#define X86VCPU_MSR_IA32_MTRR_PHYSMASK9 0x213u
#define X86VCPU_MSR_IA32_MTRR_FIX64K_00000 0x250u         /* SDM 12.11.2.2 */
#define X86VCPU_MSR_IA32_MTRR_FIX16K_80000 0x258u
#define X86VCPU_MSR_IA32_MTRR_FIX16K_A0000 0x259u
#define X86VCPU_MSR_IA32_MTRR_FIX4K_C0000 0x268u
#define X86VCPU_MSR_IA32_MTRR_FIX4K_C8000 0x269u
#define X86VCPU_MSR_IA32_MTRR_FIX4K_D0000 0x26au
#define X86VCPU_MSR_IA32_MTRR_FIX4K_D8000 0x26bu
#define X86VCPU_MSR_IA32_MTRR_FIX4K_E0000 0x26cu
#define X86VCPU_MSR_IA32_MTRR_FIX4K_E8000 0x26du
#define X86VCPU_MSR_IA32_MTRR_FIX4K_F0000 0x26eu
#define X86VCPU_MSR_IA32_MTRR_FIX4K_F8000 0x26fu
#define X86VCPU_MSR_IA32_PAT 0x277u                       /* SDM 12.12 */
#define X86VCPU_MSR_IA32_MTRR_DEF_TYPE 0x2ffu             /* SDM 12.11.2.1 */

/* ---- Machine check --------------------------------------------------------------------------- */

#define X86VCPU_MSR_IA32_P5_MC_ADDR 0x0u                  /* SDM 16.10 */
#define X86VCPU_MSR_IA32_P5_MC_TYPE 0x1u
#define X86VCPU_MSR_IA32_MCG_CAP 0x179u                   /* SDM 16.3.1 */
#define X86VCPU_MSR_IA32_MCG_STATUS 0x17au
#define X86VCPU_MSR_IA32_MCG_CTL 0x17bu
#define X86VCPU_MSR_IA32_MC0_CTL2 0x280u                  /* + n; corrected error interrupts */
#define X86VCPU_MSR_IA32_MC0_CTL 0x400u                   /* + 4 n, SDM 16.3.2 */
#define X86VCPU_MSR_IA32_MC0_STATUS 0x401u                /* + 4 n */
#define X86VCPU_MSR_IA32_MC0_ADDR 0x402u                  /* + 4 n */
#define X86VCPU_MSR_IA32_MC0_MISC 0x403u                  /* + 4 n */
#define X86VCPU_MSR_IA32_MCG_EXT_CTL 0x4d0u               /* local machine checks */

/* ---- Debugging and performance --------------------------------------------------------------- */

#define X86VCPU_MSR_IA32_PMC0 0xc1u                       /* + n, SDM 20.2 */
#define X86VCPU_MSR_IA32_PERFEVTSEL0 0x186u               /* + n */
#define X86VCPU_MSR_IA32_PERF_STATUS 0x198u               /* SDM 15.1 */
#define X86VCPU_MSR_IA32_PERF_CTL 0x199u
#define X86VCPU_MSR_IA32_CLOCK_MODULATION 0x19au          /* SDM 15.8.3 */
#define X86VCPU_MSR_IA32_THERM_INTERRUPT 0x19bu
#define X86VCPU_MSR_IA32_THERM_STATUS 0x19cu
#define X86VCPU_MSR_IA32_ENERGY_PERF_BIAS 0x1b0u
#define X86VCPU_MSR_IA32_DEBUGCTL 0x1d9u                  /* LBR, BTF, SDM 18.4.1 */
#define X86VCPU_MSR_IA32_FIXED_CTR0 0x309u                /* + n */
#define X86VCPU_MSR_IA32_PERF_CAPABILITIES 0x345u
#define X86VCPU_MSR_IA32_FIXED_CTR_CTRL 0x38du
#define X86VCPU_MSR_IA32_PERF_GLOBAL_STATUS 0x38eu
#define X86VCPU_MSR_IA32_PERF_GLOBAL_CTRL 0x38fu
#define X86VCPU_MSR_IA32_PERF_GLOBAL_OVF_CTRL 0x390u
#define X86VCPU_MSR_IA32_PEBS_ENABLE 0x3f1u
#define X86VCPU_MSR_IA32_RTIT_OUTPUT_BASE 0x560u          /* Intel PT, SDM 33.2.8 */
#define X86VCPU_MSR_IA32_RTIT_OUTPUT_MASK_PTRS 0x561u
#define X86VCPU_MSR_IA32_RTIT_CTL 0x570u
#define X86VCPU_MSR_IA32_RTIT_STATUS 0x571u
#define X86VCPU_MSR_IA32_DS_AREA 0x600u                   /* PEBS and BTS buffers, SDM 18.4.9 */
#define X86VCPU_MSR_IA32_PM_ENABLE 0x770u                 /* hardware-controlled performance, SDM 15.4 */
#define X86VCPU_MSR_IA32_LBR_CTL 0x14ceu                  /* architectural LBRs, SDM 19.1 */

/* ---- VMX capabilities, SDM appendix A -------------------------------------------------------- */

#define X86VCPU_MSR_IA32_VMX_BASIC 0x480u                 /* A.1 */
#define X86VCPU_MSR_IA32_VMX_PINBASED_CTLS 0x481u         /* A.3.1 */
#define X86VCPU_MSR_IA32_VMX_PROCBASED_CTLS 0x482u        /* A.3.2 */
#define X86VCPU_MSR_IA32_VMX_EXIT_CTLS 0x483u             /* A.4 */
#define X86VCPU_MSR_IA32_VMX_ENTRY_CTLS 0x484u            /* A.5 */
#define X86VCPU_MSR_IA32_VMX_MISC 0x485u                  /* A.6 */
#define X86VCPU_MSR_IA32_VMX_CR0_FIXED0 0x486u            /* A.7: bits that must be 1 */
#define X86VCPU_MSR_IA32_VMX_CR0_FIXED1 0x487u            /* A.7: bits that may be 1 */
#define X86VCPU_MSR_IA32_VMX_CR4_FIXED0 0x488u            /* A.8 */
#define X86VCPU_MSR_IA32_VMX_CR4_FIXED1 0x489u
#define X86VCPU_MSR_IA32_VMX_VMCS_ENUM 0x48au             /* A.9 */
#define X86VCPU_MSR_IA32_VMX_PROCBASED_CTLS2 0x48bu       /* A.3.3 */
#define X86VCPU_MSR_IA32_VMX_EPT_VPID_CAP 0x48cu          /* A.10 */
#define X86VCPU_MSR_IA32_VMX_TRUE_PINBASED_CTLS 0x48du    /* A.3.1 */
#define X86VCPU_MSR_IA32_VMX_TRUE_PROCBASED_CTLS 0x48eu   /* A.3.2 */
#define X86VCPU_MSR_IA32_VMX_TRUE_EXIT_CTLS 0x48fu        /* A.4 */
#define X86VCPU_MSR_IA32_VMX_TRUE_ENTRY_CTLS 0x490u       /* A.5 */
#define X86VCPU_MSR_IA32_VMX_VMFUNC 0x491u                /* A.11 */
#define X86VCPU_MSR_IA32_VMX_PROCBASED_CTLS3 0x492u       /* A.3.4 */
#define X86VCPU_MSR_IA32_VMX_EXIT_CTLS2 0x493u            /* A.4.2 */

/* ---- Local APIC ------------------------------------------------------------------------------ */

#define X86VCPU_MSR_IA32_APIC_BASE 0x1bu                  /* SDM 11.4.4 */
#define X86VCPU_MSR_X2APIC_FIRST 0x800u                   /* x2APIC mode, SDM 11.12.1.2 */
#define X86VCPU_MSR_X2APIC_LAST 0x8ffu
#define X86VCPU_MSR_IA32_X2APIC_APICID 0x802u
#define X86VCPU_MSR_IA32_X2APIC_VERSION 0x803u
#define X86VCPU_MSR_IA32_X2APIC_TPR 0x808u
#define X86VCPU_MSR_IA32_X2APIC_PPR 0x80au
#define X86VCPU_MSR_IA32_X2APIC_EOI 0x80bu                /* write only */
#define X86VCPU_MSR_IA32_X2APIC_LDR 0x80du
#define X86VCPU_MSR_IA32_X2APIC_SIVR 0x80fu               /* spurious interrupt vector */
#define X86VCPU_MSR_IA32_X2APIC_ISR0 0x810u               /* + n, 8 of them */
#define X86VCPU_MSR_IA32_X2APIC_TMR0 0x818u               /* + n, 8 of them */
#define X86VCPU_MSR_IA32_X2APIC_IRR0 0x820u               /* + n, 8 of them */
#define X86VCPU_MSR_IA32_X2APIC_ESR 0x828u
#define X86VCPU_MSR_IA32_X2APIC_LVT_CMCI 0x82fu
#define X86VCPU_MSR_IA32_X2APIC_ICR 0x830u
#define X86VCPU_MSR_IA32_X2APIC_LVT_TIMER 0x832u
#define X86VCPU_MSR_IA32_X2APIC_LVT_THERMAL 0x833u
#define X86VCPU_MSR_IA32_X2APIC_LVT_PMI 0x834u
#define X86VCPU_MSR_IA32_X2APIC_LVT_LINT0 0x835u
#define X86VCPU_MSR_IA32_X2APIC_LVT_LINT1 0x836u
#define X86VCPU_MSR_IA32_X2APIC_LVT_ERROR 0x837u
#define X86VCPU_MSR_IA32_X2APIC_INIT_COUNT 0x838u
#define X86VCPU_MSR_IA32_X2APIC_CUR_COUNT 0x839u
#define X86VCPU_MSR_IA32_X2APIC_DIV_CONF 0x83eu
#define X86VCPU_MSR_IA32_X2APIC_SELF_IPI 0x83fu           /* write only */

/* ---- Hypervisor interface -------------------------------------------------------------------- */

#define X86VCPU_MSR_HYPERVISOR_FIRST 0x40000000u          /* no processor will ever have these */
#define X86VCPU_MSR_HYPERVISOR_LAST 0x400000ffu

/* ---- AMD ------------------------------------------------------------------------------------- */

#define X86VCPU_MSR_TSC_RATIO 0xc0000104u                 /* guest TSC scaling, APM 15.30.5 */
#define X86VCPU_MSR_SYSCFG 0xc0010010u                    /* MTRR extensions, memory encryption, APM 7.9.1 */
#define X86VCPU_MSR_HWCR 0xc0010015u                      /* hardware configuration */
#define X86VCPU_MSR_TOP_MEM 0xc001001au                   /* APM 7.9.4 */
#define X86VCPU_MSR_TOP_MEM2 0xc001001du
#define X86VCPU_MSR_NB_CFG 0xc001001fu                    /* north bridge configuration */
#define X86VCPU_MSR_PATCH_LOADER 0xc0010020u              /* microcode update */
#define X86VCPU_MSR_PATCH_LEVEL 0x8bu                     /* microcode revision: IA32_BIOS_SIGN_ID's number */
#define X86VCPU_MSR_PSTATE_LIMIT 0xc0010061u
#define X86VCPU_MSR_PSTATE_CONTROL 0xc0010062u
#define X86VCPU_MSR_PSTATE_STATUS 0xc0010063u
#define X86VCPU_MSR_SMBASE 0xc0010111u                    /* APM 10.2.1 */
#define X86VCPU_MSR_SMM_ADDR 0xc0010112u
#define X86VCPU_MSR_SMM_MASK 0xc0010113u
#define X86VCPU_MSR_VM_CR 0xc0010114u                     /* SVMDIS, lock, APM 15.30.1 */
#define X86VCPU_MSR_IGNNE 0xc0010115u                     /* APM 15.30.2 */
#define X86VCPU_MSR_SMM_CTL 0xc0010116u                   /* APM 15.30.3 */
#define X86VCPU_MSR_VM_HSAVE_PA 0xc0010117u               /* host save area, APM 15.30.4 */
#define X86VCPU_MSR_OSVW_ID_LENGTH 0xc0010140u            /* errata that the OS works around */
#define X86VCPU_MSR_OSVW_STATUS 0xc0010141u
#define X86VCPU_MSR_PERF_EVT_SEL0 0xc0010200u             /* + 2 n, 6 of them, APM 13.2.1 */
#define X86VCPU_MSR_PERF_CTR0 0xc0010201u                 /* + 2 n */
#define X86VCPU_MSR_LS_CFG 0xc0011020u                    /* load-store configuration */
#define X86VCPU_MSR_DE_CFG 0xc0011029u                    /* decode configuration; bit 1: LFENCE serializes */
#define X86VCPU_MSR_BP_CFG 0xc001102eu                    /* branch predictor configuration; bit 4: BpSpecReduce */

/*
 * The manual's name, "IA32_EFER" say, "IA32_MCi_CTL" for a member of a series; NULL for a number that
 * is not in this header.
 */
const char *x86vcpu_msr_name(uint32_t msr);

/*
 * MSRs of the executing CPU, not of a guest. Ring 0, pinned. An MSR is touched only when CPUID or a
 * capability MSR says that it exists; of the numbers above, those that no such bit announces count as
 * absent.
 *
 * exists: 1 or 0. read: 0; INVALID_INPUT (NULL); UNSUPPORTED (absent). write: 0; UNSUPPORTED. The value
 * is the caller's responsibility: one that the MSR does not take is a #GP in the host.
 */
int32_t x86vcpu_msr_exists(uint32_t msr);
int32_t x86vcpu_msr_read(uint32_t msr, uint64_t *value);
int32_t x86vcpu_msr_write(uint32_t msr, uint64_t value);

#ifdef __cplusplus
}
#endif
#endif
