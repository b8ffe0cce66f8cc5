/* SPDX-License-Identifier: Apache-2.0 */
/* A vCPU on VT-x. */
#ifndef VMX_VMX_H
#define VMX_VMX_H

#include "cpu/insn.h"
#include "emul/backend.h"
#include "emul/context.h"
#include "emul/guest.h"
#include "vmx/controls.h"
#include "vmx/vmcs.h"
#include "x86vcpu/percpu.h"
#include "x86vcpu/vmx.h"

/* Host state as the VMCS holds it, so that bind writes only what differs (SDM 25.5). */
struct vmx_host {
	uint64_t cr0, cr3, cr4, pat, efer;
	uint64_t fs_base, gs_base, tr_base, gdtr_base, idtr_base;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
	uint16_t cs, ss, ds, es, fs, gs, tr;
};

/* What a VM exit destroys and the end of a run restores (SDM 28.5.2, 28.5.3). Read at bind. */
struct vmx_restore {
	uint16_t ds, es, fs, gs; /* with RPL and TI, which a VMCS must not have */
	uint16_t ldtr;
	struct insn_table gdtr, idtr;
	bool segments, tables, tr; /* whether there is anything to restore */
	bool seldom;               /* segments, tr, debugctl or test_ctrl */
	uint64_t debugctl, dr7;
	uint64_t test_ctrl; /* MSR 33H, while split-lock detection is suspended; 0: it is not */
	uint64_t star, lstar, cstar, fmask;
	uint64_t kernel_gs_base; /* read at each run: it changes with the host's thread */
};

/* So much of a GDT is copied to reload TR from. */
#define VMX_GDT_ENTRIES 64u

/* What exits always; fields.c adds #MF, and debug.c what the VMM debugs. */
#define VMX_EXCEPTIONS (1u << VECTOR_DB | 1u << VECTOR_AC | 1u << VECTOR_MC)

struct vmx_vcpu {
	struct guest guest; /* first; its switch_word is what HOST_RSP holds */

	uint64_t vmcs_hpa, msr_bitmap_hpa, io_bitmap_hpa;
	uint64_t eptp;
	bool launched; /* the VMCS's launch state (SDM 25.1) */
	const char *exit_point; /* what HOST_RIP holds */

	/* Control words as the VMCS holds them. */
	uint32_t pin, cpu, cpu2, exit, entry;
	uint32_t exceptions; /* the exception bitmap */
	bool watches_x87;    /* #MF is FERR# */
	uint64_t cr0_mask, cr4_mask; /* guest/host masks: bits that the host owns */
	uint64_t cr4_host;           /* bits of CR4 that are the host's while the guest runs */

	bool has_timer, has_monitor_trap_flag;
	uint8_t timer_shift; /* it counts this bit of the TSC (SDM 26.5.1) */

	uint32_t reason;       /* of the exit under way, with bit 31 */
	bool stepped;          /* its entry was a step by RFLAGS.TF */
	unsigned length;       /* bytes to skip; 0: ask the VMCS */
	uint8_t tpr_threshold; /* as the VMCS holds it */
	bool waiting;          /* an event waits for a window or for the TPR */
	struct guest_event injecting; /* what the entry under way injects */
	int acknowledged;      /* vector of the host's interrupt, -1 */

	/* Tag of the TLB, valid on one CPU in one generation. */
	struct backend_cpu *cpu_tagged;
	uint16_t vpid;
	uint64_t tag_generation;
	uint8_t invept_type; /* 1 single context, 2 all, as the CPU has it */

	struct vmx_host host;
	bool host_written; /* the VMCS holds what `host` says */
	struct vmx_restore restore;
	uint64_t gdt[VMX_GDT_ENTRIES]; /* restore.tr: copy of the head of the host's GDT */
	bool syscall_differs; /* STAR, LSTAR, CSTAR or FMASK: the host's and the guest's */
};

static inline struct vmx_vcpu *vmx_of(struct guest *g)
{
	return (struct vmx_vcpu *)g;
}

extern const struct backend vmx_backend;

/* capability.c: what this CPU's VMX can do, and what the library makes of it */
struct vmx_capability {
	uint64_t basic, misc, ept_vpid;
	uint32_t controls[VMX_CONTROL_KINDS]; /* the words for the VMCS */
	bool monitor_trap_flag;
};
/*
 * Reads the capability MSRs of the executing CPU. 0, or UNSUPPORTED with a log line for each thing
 * that is missing; *capability is filled as far as it goes.
 */
int32_t vmx_read_capability(const struct x86vcpu_host_ops *host, void *ctx,
			    struct vmx_capability *capability);
void vmx_cpuid_features(const struct guest *g, struct cpuid_config *config);

/* percpu.c */
int32_t vmx_cpu_enable(struct backend_cpu *cpu);
void vmx_cpu_disable(struct backend_cpu *cpu);

/* setup.c */
int32_t vmx_create(struct guest *g);
void vmx_destroy(struct guest *g);
int32_t vmx_setup(struct guest *g, const struct backend_setup *setup);

/* fields.c: between the guest's cached fields and the VMCS */
uint64_t vmx_read_guest_field(struct guest *g, enum guest_field field);
static inline void vmx_read_instruction(struct guest *g)
{
	guest_know_instruction(g, vmcs_readn(VMCS_GUEST_RIP), vmcs_readn(VMCS_GUEST_RFLAGS),
			       vmcs_read32(VMCS_GUEST_INTERRUPTIBILITY));
}
void vmx_read_mode(struct guest *g);
void vmx_write_dirty(struct vmx_vcpu *v);

/* host.c */
int32_t vmx_bind(struct guest *g, struct backend_cpu *cpu);
void vmx_unbind(struct guest *g);
void vmx_claim_tlb(struct vmx_vcpu *v, struct backend_cpu *cpu);
void vmx_write_host_state(struct vmx_vcpu *v);
/* At the beginning of a run. 0; UNSUPPORTED: see emul/host_mode.h. */
int32_t vmx_change_host_crs(struct vmx_vcpu *v, uint64_t cr0, uint64_t cr3, uint64_t cr4);
void vmx_unload(struct guest *g);
void vmx_load(struct vmx_vcpu *v);
void vmx_store_context(struct vmx_vcpu *v);
void vmx_reload_msrs(struct vmx_vcpu *v);
void vmx_use_debug_registers(struct vmx_vcpu *v);
/* For the rest of the run. False: it is off already, or this CPU has none. */
bool vmx_suspend_split_lock_detection(struct vmx_vcpu *v);

/* debug.c: what the VMM debugs */
void vmx_write_exceptions(struct vmx_vcpu *v);
int32_t vmx_set_debug(struct guest *g);
void vmx_begin_debug(struct vmx_vcpu *v); /* a run, before and after the guest's context is loaded */
void vmx_end_debug(struct vmx_vcpu *v);
/* Around an entry that is to be a step by RFLAGS.TF. */
void vmx_begin_step(struct vmx_vcpu *v);
void vmx_end_step(struct vmx_vcpu *v);

/* events.c */
void vmx_set_cpu_controls(struct vmx_vcpu *v, uint32_t bits, bool on);
uint32_t vmx_event_info(const struct guest_event *event); /* as VM entry takes it (SDM 25.8.3) */
void vmx_inject(struct vmx_vcpu *v);
void vmx_injection_failed(struct vmx_vcpu *v);
void vmx_collect_vectoring(struct vmx_vcpu *v);
void vmx_close_interrupt_window(struct vmx_vcpu *v);
void vmx_close_nmi_window(struct vmx_vcpu *v);

/* exits.c: one exit. EMUL_RESUME, EMUL_EXIT or a negative status. */
int vmx_handle_exit(struct vmx_vcpu *v);
unsigned vmx_instruction_length(struct vmx_vcpu *v);

/* explain.c */
bool vmx_explain(struct guest *g, struct entry_check *check);
const char *vmx_entry_check_name(uint32_t id);

/* run.c */
int32_t vmx_run(struct guest *g);
void vmx_serve_host(struct guest *g);

/* enter.S */
enum vmx_entry {
	VMX_ENTRY_EXITED = 0,       /* the guest ran, or the entry failed with an exit reason */
	VMX_ENTRY_FAIL_VALID = 1,   /* VMfailValid: INSTRUCTION_ERROR says why */
	VMX_ENTRY_FAIL_INVALID = 2, /* VMfailInvalid: no current VMCS */
};
uint32_t vmx_enter(struct vmx_vcpu *v, uint32_t launched);
uint32_t vmx_enter_mitigated(struct vmx_vcpu *v, uint32_t launched);
extern const char vmx_exit_point[], vmx_mitigated_exit_point[];

#endif
