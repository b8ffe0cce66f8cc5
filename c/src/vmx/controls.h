/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VMX controls (SDM 25.6 to 25.8) and what the capability MSRs say about them (SDM appendix A). Pure
 * computation: whoever calls reads the MSRs.
 */
#ifndef VMX_CONTROLS_H
#define VMX_CONTROLS_H

#include <stdbool.h>
#include <stdint.h>

#include "x86vcpu/status.h"

/* ---- Bits ------------------------------------------------------------------------------------ */

/* Pin-based VM-execution controls, SDM 25.6.1. */
#define VMX_PIN_CONTROLS(X)                \
	X(PIN_EXTERNAL_INTERRUPT_EXITING, 0) \
	X(PIN_NMI_EXITING, 3)              \
	X(PIN_VIRTUAL_NMIS, 5)             \
	X(PIN_PREEMPTION_TIMER, 6)         \
	X(PIN_POSTED_INTERRUPTS, 7)

/* Primary processor-based VM-execution controls, SDM 25.6.2. */
#define VMX_CPU_CONTROLS(X)                \
	X(CPU_INTERRUPT_WINDOW_EXITING, 2) \
	X(CPU_USE_TSC_OFFSETTING, 3)       \
	X(CPU_HLT_EXITING, 7)              \
	X(CPU_INVLPG_EXITING, 9)           \
	X(CPU_MWAIT_EXITING, 10)           \
	X(CPU_RDPMC_EXITING, 11)           \
	X(CPU_RDTSC_EXITING, 12)           \
	X(CPU_CR3_LOAD_EXITING, 15)        \
	X(CPU_CR3_STORE_EXITING, 16)       \
	X(CPU_TERTIARY_CONTROLS, 17)       \
	X(CPU_CR8_LOAD_EXITING, 19)        \
	X(CPU_CR8_STORE_EXITING, 20)       \
	X(CPU_USE_TPR_SHADOW, 21)          \
	X(CPU_NMI_WINDOW_EXITING, 22)      \
	X(CPU_MOV_DR_EXITING, 23)          \
	X(CPU_UNCONDITIONAL_IO_EXITING, 24) \
	X(CPU_USE_IO_BITMAPS, 25)          \
	X(CPU_MONITOR_TRAP_FLAG, 27)       \
	X(CPU_USE_MSR_BITMAPS, 28)         \
	X(CPU_MONITOR_EXITING, 29)         \
	X(CPU_PAUSE_EXITING, 30)           \
	X(CPU_SECONDARY_CONTROLS, 31)

/* Secondary processor-based VM-execution controls, SDM 25.6.2. */
#define VMX_CPU2_CONTROLS(X)                     \
	X(CPU2_VIRTUALIZE_APIC_ACCESSES, 0)      \
	X(CPU2_ENABLE_EPT, 1)                    \
	X(CPU2_DESCRIPTOR_TABLE_EXITING, 2)      \
	X(CPU2_ENABLE_RDTSCP, 3)                 \
	X(CPU2_VIRTUALIZE_X2APIC_MODE, 4)        \
	X(CPU2_ENABLE_VPID, 5)                   \
	X(CPU2_WBINVD_EXITING, 6)                \
	X(CPU2_UNRESTRICTED_GUEST, 7)            \
	X(CPU2_APIC_REGISTER_VIRTUALIZATION, 8)  \
	X(CPU2_VIRTUAL_INTERRUPT_DELIVERY, 9)    \
	X(CPU2_PAUSE_LOOP_EXITING, 10)           \
	X(CPU2_RDRAND_EXITING, 11)               \
	X(CPU2_ENABLE_INVPCID, 12)               \
	X(CPU2_ENABLE_VM_FUNCTIONS, 13)          \
	X(CPU2_VMCS_SHADOWING, 14)               \
	X(CPU2_ENCLS_EXITING, 15)                \
	X(CPU2_RDSEED_EXITING, 16)               \
	X(CPU2_ENABLE_PML, 17)                   \
	X(CPU2_EPT_VIOLATION_VE, 18)             \
	X(CPU2_CONCEAL_VMX_FROM_PT, 19)          \
	X(CPU2_ENABLE_XSAVES, 20)                \
	X(CPU2_PASID_TRANSLATION, 21)            \
	X(CPU2_MODE_BASED_EXECUTE_CONTROL, 22)   \
	X(CPU2_SUB_PAGE_WRITE_PERMISSIONS, 23)   \
	X(CPU2_PT_USES_GUEST_PHYSICAL, 24)       \
	X(CPU2_USE_TSC_SCALING, 25)              \
	X(CPU2_ENABLE_USER_WAIT_PAUSE, 26)       \
	X(CPU2_ENABLE_PCONFIG, 27)               \
	X(CPU2_ENCLV_EXITING, 28)                \
	X(CPU2_BUS_LOCK_DETECTION, 30)           \
	X(CPU2_INSTRUCTION_TIMEOUT, 31)

/* Primary VM-exit controls, SDM 25.7.1. */
#define VMX_EXIT_CONTROLS(X)                  \
	X(EXIT_SAVE_DEBUG_CONTROLS, 2)        \
	X(EXIT_HOST_ADDRESS_SPACE_SIZE, 9)    \
	X(EXIT_LOAD_PERF_GLOBAL_CTRL, 12)     \
	X(EXIT_ACKNOWLEDGE_INTERRUPT, 15)     \
	X(EXIT_SAVE_PAT, 18)                  \
	X(EXIT_LOAD_PAT, 19)                  \
	X(EXIT_SAVE_EFER, 20)                 \
	X(EXIT_LOAD_EFER, 21)                 \
	X(EXIT_SAVE_PREEMPTION_TIMER, 22)     \
	X(EXIT_CLEAR_BNDCFGS, 23)             \
	X(EXIT_CONCEAL_VMX_FROM_PT, 24)       \
	X(EXIT_CLEAR_RTIT_CTL, 25)            \
	X(EXIT_CLEAR_LBR_CTL, 26)             \
	X(EXIT_CLEAR_UINV, 27)                \
	X(EXIT_LOAD_CET_STATE, 28)            \
	X(EXIT_LOAD_PKRS, 29)                 \
	X(EXIT_SAVE_PERF_GLOBAL_CTRL, 30)     \
	X(EXIT_SECONDARY_CONTROLS, 31)

/* VM-entry controls, SDM 25.8.1. */
#define VMX_ENTRY_CONTROLS(X)                 \
	X(ENTRY_LOAD_DEBUG_CONTROLS, 2)       \
	X(ENTRY_IA32E_MODE_GUEST, 9)          \
	X(ENTRY_TO_SMM, 10)                   \
	X(ENTRY_DEACTIVATE_DUAL_MONITOR, 11)  \
	X(ENTRY_LOAD_PERF_GLOBAL_CTRL, 13)    \
	X(ENTRY_LOAD_PAT, 14)                 \
	X(ENTRY_LOAD_EFER, 15)                \
	X(ENTRY_LOAD_BNDCFGS, 16)             \
	X(ENTRY_CONCEAL_VMX_FROM_PT, 17)      \
	X(ENTRY_LOAD_RTIT_CTL, 18)            \
	X(ENTRY_LOAD_UINV, 19)                \
	X(ENTRY_LOAD_CET_STATE, 20)           \
	X(ENTRY_LOAD_LBR_CTL, 21)             \
	X(ENTRY_LOAD_PKRS, 22)

#define VMX_CONTROL_BIT(name, bit) name = 1u << (bit),
enum vmx_pin_control { VMX_PIN_CONTROLS(VMX_CONTROL_BIT) };
enum vmx_cpu_control { VMX_CPU_CONTROLS(VMX_CONTROL_BIT) };
enum vmx_cpu2_control { VMX_CPU2_CONTROLS(VMX_CONTROL_BIT) };
enum vmx_exit_control { VMX_EXIT_CONTROLS(VMX_CONTROL_BIT) };
enum vmx_entry_control { VMX_ENTRY_CONTROLS(VMX_CONTROL_BIT) };
#undef VMX_CONTROL_BIT

/* ---- Choosing a control word ----------------------------------------------------------------- */

enum vmx_control_kind {
	VMX_CONTROL_PIN = 0,
	VMX_CONTROL_CPU,
	VMX_CONTROL_CPU2,
	VMX_CONTROL_EXIT,
	VMX_CONTROL_ENTRY,
	VMX_CONTROL_KINDS
};

/* What we ask of a control word. A bit in none of the three takes its default (SDM A.2). */
struct vmx_control_request {
	uint32_t required;  /* 1, or we cannot go on */
	uint32_t wanted;    /* 1 where the processor allows it */
	uint32_t forbidden; /* 0, or we cannot go on */
};

struct vmx_control_choice {
	uint32_t value;   /* for the VMCS; only when vmx_control_choose returned 0 */
	uint32_t missing; /* required bits that this processor cannot set */
	uint32_t forced;  /* forbidden bits that it cannot clear */
};

/* The capability MSR to read for `kind`: the TRUE one where IA32_VMX_BASIC[55] says it exists (A.2). */
uint32_t vmx_control_msr(enum vmx_control_kind kind, uint64_t basic);

/*
 * SDM 32.5.1, algorithm 3, with `capability` read from vmx_control_msr(). *choice is always filled.
 * 0
 * INVALID_INPUT  the request asks a bit to be both 1 and 0
 * INVALID_DATA   the capability MSR allows some bit neither value
 * UNSUPPORTED    choice->missing or choice->forced is not 0
 */
int32_t vmx_control_choose(enum vmx_control_kind kind, uint64_t capability,
			   const struct vmx_control_request *request, struct vmx_control_choice *choice);

/* "CPU_HLT_EXITING" for (VMX_CONTROL_CPU, 7); "reserved" for a bit that the manual reserves. */
const char *vmx_control_name(enum vmx_control_kind kind, unsigned bit);

/* ---- IA32_VMX_BASIC, SDM A.1 ----------------------------------------------------------------- */

#define VMX_BASIC_32BIT_ADDRESSES (UINT64_C(1) << 48)
#define VMX_BASIC_DUAL_MONITOR (UINT64_C(1) << 49)
#define VMX_BASIC_INS_OUTS_INFO (UINT64_C(1) << 54)
#define VMX_BASIC_TRUE_CONTROLS (UINT64_C(1) << 55)
/* A hardware exception may be injected with or without error code, whatever its vector. */
#define VMX_BASIC_ANY_ERROR_CODE (UINT64_C(1) << 56)

#define VMX_MEMORY_UC 0u
#define VMX_MEMORY_WB 6u

/* Goes into the first dword of a VMXON region and of a VMCS. */
static inline uint32_t vmx_basic_revision(uint64_t basic)
{
	return (uint32_t)basic & 0x7fffffff;
}

/* Bytes of a VMXON region or VMCS; 4096 at most on any processor that exists. */
static inline uint32_t vmx_basic_region_size(uint64_t basic)
{
	return (uint32_t)(basic >> 32) & 0x1fff;
}

/* VMX_MEMORY_*: how the processor accesses the VMCS and what it points to. */
static inline uint32_t vmx_basic_memory_type(uint64_t basic)
{
	return (uint32_t)(basic >> 50) & 0xf;
}

/* ---- IA32_VMX_MISC, SDM A.6 ------------------------------------------------------------------ */

#define VMX_MISC_EXIT_STORES_LMA (UINT64_C(1) << 5) /* always, with unrestricted guests */
#define VMX_MISC_ACTIVITY_HLT (UINT64_C(1) << 6)
#define VMX_MISC_ACTIVITY_SHUTDOWN (UINT64_C(1) << 7)
#define VMX_MISC_ACTIVITY_WAIT_FOR_SIPI (UINT64_C(1) << 8)
#define VMX_MISC_PT_IN_VMX (UINT64_C(1) << 14)
#define VMX_MISC_SMBASE_READABLE (UINT64_C(1) << 15)
#define VMX_MISC_SMM_MONITOR_CTL_2 (UINT64_C(1) << 28)
#define VMX_MISC_VMWRITE_ANY_FIELD (UINT64_C(1) << 29)
#define VMX_MISC_ZERO_LENGTH_INJECTION (UINT64_C(1) << 30)

/* The preemption timer counts down by 1 whenever this bit of the TSC changes (SDM 26.5.1). */
static inline uint32_t vmx_misc_timer_shift(uint64_t misc)
{
	return (uint32_t)misc & 0x1f;
}

static inline uint32_t vmx_misc_cr3_targets(uint64_t misc)
{
	return (uint32_t)(misc >> 16) & 0x1ff;
}

/* Entries that an MSR-load or MSR-store list should not exceed. */
static inline uint32_t vmx_misc_msr_list_limit(uint64_t misc)
{
	return 512 * (((uint32_t)(misc >> 25) & 7) + 1);
}

static inline uint32_t vmx_misc_mseg_revision(uint64_t misc)
{
	return (uint32_t)(misc >> 32);
}

/* ---- Exit qualification of an I/O instruction, SDM table 28-5 -------------------------------- */

#define IO_SIZE 7u /* bytes less one */
#define IO_IN (1u << 3)
#define IO_STRING (1u << 4)
#define IO_PORT_SHIFT 16

/* ---- Exit qualification of an EPT violation, SDM table 28-7 ---------------------------------- */

#define EPT_VIOLATION_ACCESS 7u /* X86VCPU_ACCESS_* */
#define EPT_VIOLATION_LINEAR (1u << 7) /* the guest linear address is valid */
#define EPT_VIOLATION_TRANSLATED (1u << 8) /* the access was to its translation, not to a paging structure */
#define EPT_VIOLATION_NMI_UNBLOCKED (1u << 12)

/* ---- IA32_VMX_EPT_VPID_CAP, SDM A.10 --------------------------------------------------------- */

#define EPT_CAP_EXECUTE_ONLY (UINT64_C(1) << 0)
#define EPT_CAP_WALK_4 (UINT64_C(1) << 6)
#define EPT_CAP_WALK_5 (UINT64_C(1) << 7)
#define EPT_CAP_UC (UINT64_C(1) << 8)
#define EPT_CAP_WB (UINT64_C(1) << 14)
#define EPT_CAP_2M (UINT64_C(1) << 16)
#define EPT_CAP_1G (UINT64_C(1) << 17)
#define EPT_CAP_INVEPT (UINT64_C(1) << 20)
#define EPT_CAP_ACCESSED_DIRTY (UINT64_C(1) << 21)
#define EPT_CAP_ADVANCED_EXIT_INFO (UINT64_C(1) << 22)
#define EPT_CAP_SUPERVISOR_SHADOW_STACK (UINT64_C(1) << 23)
#define EPT_CAP_INVEPT_SINGLE (UINT64_C(1) << 25)
#define EPT_CAP_INVEPT_ALL (UINT64_C(1) << 26)
#define VPID_CAP_INVVPID (UINT64_C(1) << 32)
#define VPID_CAP_INVVPID_ADDRESS (UINT64_C(1) << 40)
#define VPID_CAP_INVVPID_SINGLE (UINT64_C(1) << 41)
#define VPID_CAP_INVVPID_ALL (UINT64_C(1) << 42)
#define VPID_CAP_INVVPID_SINGLE_RETAINING_GLOBALS (UINT64_C(1) << 43)

static inline uint32_t ept_cap_max_hlat_prefix(uint64_t capability)
{
	return (uint32_t)(capability >> 48) & 0x3f;
}

#endif
