/* SPDX-License-Identifier: Apache-2.0 */
/* Turning the virtualization extension on and off, CPU by CPU. */
#ifndef X86VCPU_PERCPU_H
#define X86VCPU_PERCPU_H

#include <stdint.h>

#include "x86vcpu/host.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The library's state for one host CPU. */
struct x86vcpu_percpu;

enum x86vcpu_extension {
	X86VCPU_EXTENSION_NONE = 0,
	X86VCPU_EXTENSION_VMX = 1, /* Intel VT-x */
	X86VCPU_EXTENSION_SVM = 2, /* AMD SVM */
};

/* The layout of the tables that x86vcpu_set_nested_page_table takes. */
enum x86vcpu_nested_format {
	X86VCPU_NESTED_EPT = 0, /* Intel's extended page tables, SDM 29.3 */
	X86VCPU_NESTED_NPT = 1, /* AMD's nested page tables, APM 15.25 */
};

/*
 * Asks CPUID of the executing CPU whether it has an extension that this library drives, and
 * stores which in *extension (enum x86vcpu_extension). Whether firmware allows it, only enable
 * can tell. Any CPU, any context.
 *
 * 0; INVALID_INPUT (NULL); UNSUPPORTED, *extension = NONE (neither); INVALID_DATA,
 * *extension = NONE (the CPU claims both).
 */
int32_t x86vcpu_detect(uint32_t *extension);

/*
 * Chooses the executing CPU's extension for the whole system and turns nothing on: vCPUs can be created from now on.
 * The first successful enable does the same, so a VMM that enables before it creates need not call it. Any
 * CPU, any context.
 *
 * 0; UNSUPPORTED, INVALID_DATA as x86vcpu_detect; BAD_STATE: the system uses the other one.
 */
int32_t x86vcpu_select(void);

/*
 * Makes the state for host CPU `cpu_id` (the caller's own number for it; for diagnostics).
 * Takes one frame. Any CPU.
 *
 * 0; INVALID_INPUT; ABI_MISMATCH (ops->size or ops->abi_version); NO_MEMORY.
 */
int32_t x86vcpu_percpu_create(const struct x86vcpu_host_ops *ops, void *ctx, uint32_t cpu_id,
			      struct x86vcpu_percpu **out);

/*
 * Frees the state. NULL is allowed.
 *
 * 0; RESOURCE_BUSY: the extension is still on, disable it first; or called from a host op that enable or disable called.
 * Nothing is freed then.
 */
int32_t x86vcpu_percpu_destroy(struct x86vcpu_percpu *percpu);

/*
 * 1 when this state has its CPU in VMX operation (or EFER.SVME set), otherwise 0. NULL: 0.
 * Any CPU.
 */
int32_t x86vcpu_percpu_is_enabled(const struct x86vcpu_percpu *percpu);

/*
 * Turns the extension on on the executing CPU, which becomes this state's CPU. Ring 0, 64-bit mode,
 * the caller pinned, IRQs on or off. VT-x: checks IA32_VMX_BASIC, sets and locks
 * IA32_FEATURE_CONTROL when firmware left it unlocked, brings CR0 and CR4 to what VMX operation
 * requires, executes VMXON (SDM 24.7, 32.5). Also sets CR4.OSXSAVE (or CR4.OSFXSR where there is no
 * XSAVE) when it is clear: guest FPU state is switched with it. Takes one frame. On failure, all but
 * the lock of IA32_FEATURE_CONTROL is as it was.
 *
 * 0
 * INVALID_INPUT          percpu is NULL
 * RESOURCE_BUSY          already on, through this state, another one, or another hypervisor; called from a host op of
 *                        enable or disable
 * UNSUPPORTED            the CPU lacks the extension, or part of it that the library needs (EPT,
 *                        unrestricted guest, ...), or the host is in a mode that no guest can run under
 *                        (x86vcpu_bind lists them); the log says what
 * FIRMWARE_DISABLED      locked off by firmware
 * INVALID_DATA           CPU claims both extensions
 * BAD_STATE              a host CR0 or CR4 bit must be 0 in VMX operation, or VMXON failed
 * NO_MEMORY
 */
int32_t x86vcpu_percpu_enable(struct x86vcpu_percpu *percpu);

/*
 * Turns it off again on the executing CPU and restores CR0 and CR4 as enable found them (SDM 32.5,
 * VMXOFF). Pinned.
 *
 * 0; INVALID_INPUT; BAD_STATE: not enabled, or enabled on another CPU; RESOURCE_BUSY: a vCPU is
 * bound to this CPU, unbind it first.
 */
int32_t x86vcpu_percpu_disable(struct x86vcpu_percpu *percpu);

/*
 * The extension that select, or the first successful enable, chose for the whole system, or NONE before.
 * Any CPU, any context.
 */
uint32_t x86vcpu_extension(void);

/* "none", "VT-x" or "SVM"; "unknown" for any other value. */
const char *x86vcpu_extension_name(uint32_t extension);

/*
 * The table format of the extension in use, into *format (enum x86vcpu_nested_format).
 *
 * 0; INVALID_INPUT; BAD_STATE before one is chosen.
 */
int32_t x86vcpu_nested_format(uint32_t *format);

/*
 * The number of levels that nested tables must have on the executing CPU, into *levels. SVM: 5 if CR4.LA57 is set,
 * otherwise 4, because the CPU walks nested tables in the paging mode that the host was in at VMRUN (APM 15.25.3).
 * VT-x: 4, because EPT has a depth of its own. A VMM may choose 5 for VT-x where the CPU can walk them, which
 * x86vcpu_setup checks; only guest-physical addresses of more than 48 bits need it (SDM 29.3.2). Any context. 64-bit
 * mode, ring 0.
 *
 * 0; INVALID_INPUT; BAD_STATE before an extension is chosen.
 */
int32_t x86vcpu_nested_levels(uint32_t *levels);

/*
 * Whether nested tables may map executable pages of more than 4 KiB on the executing CPU, into *allowed: 1 or 0. 0: on
 * this CPU (Intel's without IA32_ARCH_CAPABILITIES.PSCHANGE_MC_NO, CVE-2018-12207) a guest stops the host when such a
 * page holds its code. Large pages without execute permission are safe everywhere. The builder of x86vcpu/nested.h
 * obeys; a VMM with tables of its own must. Executes CPUID, and RDMSR where CPUID reports the MSR: ring 0. Any context.
 *
 * 0; INVALID_INPUT.
 */
int32_t x86vcpu_nested_large_executable(uint32_t *allowed);

/*
 * Whether the VMM must map the APIC-access page (SDM 30.4) at the local APIC's guest-physical address in
 * its nested tables, into *needed: 1 or 0. Today neither extension needs one: 0xfee00000 is like any other
 * address.
 *
 * 0; INVALID_INPUT; BAD_STATE before one is chosen.
 */
int32_t x86vcpu_needs_apic_access_page(uint32_t *needed);

#ifdef __cplusplus
}
#endif
#endif
