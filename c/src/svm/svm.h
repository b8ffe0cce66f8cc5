/* SPDX-License-Identifier: Apache-2.0 */
/* A vCPU on SVM. */
#ifndef SVM_SVM_H
#define SVM_SVM_H

#include "emul/backend.h"
#include "emul/context.h"
#include "emul/guest.h"
#include "svm/vmcb.h"
#include "x86vcpu/percpu.h"
#include "x86vcpu/svm.h"

/* CPUID 8000000a (APM 15.30.. and Vol. 3, E.4.9). */
struct svm_capability {
	uint32_t asids;
	bool nested_paging, svm_lock, next_rip, decode_assists;
};

struct svm_vcpu {
	struct guest guest; /* first: the world switch stores general registers at offset 0 */

	struct vmcb *vmcb;
	uint64_t vmcb_hpa, msrpm_hpa, iopm_hpa;
	uint64_t host_hpa; /* page that VMSAVE fills with the host's state at bind */
	uint32_t nested_levels;
	bool has_next_rip, has_decode_assists;

	uint64_t cr0_cache_bits; /* CD and NW as the guest has set them; the VMCB's CR0 has the other bits */
	uint64_t cr4;            /* as the guest reads it; the VMCB holds what the CPU runs with */
	bool reads_cr0;          /* SMSW is executed with the intercept of reads off, until the next exit */

	struct guest_event injecting;
	uint64_t injected_at;    /* RIP before a software event was injected; see svm_inject */
	unsigned length;         /* bytes to skip; 0: find out */
	bool interrupted;        /* a host interrupt is pending */
	/* nmi.c */
	bool nmi_blocked;        /* from the injection of an NMI to the end of its IRET */
	bool iret_seen;          /* RIP is at that IRET: the next entry executes it */
	bool stepping;           /* that entry was with TF set */
	bool step_tf;            /* the guest's own */
	bool debug_step;         /* the VMM wants it */
	uint64_t step_dr6;       /* conditions in the guest's DR6 */
	uint64_t iret_rip;       /* of an IRET that cannot be stepped */
	bool in_shadow;          /* the last entry was into an interrupt shadow, */
	uint64_t shadow_rip;     /* here */
	unsigned shadow_kept;    /* VMRUNs in a row that lost it (QUIRK_SHADOW_LOST) */
	bool injecting_by_virq;  /* `injecting` is the VMCB's virtual interrupt (QUIRK_INTERRUPT_TWICE) */

	struct backend_cpu *cpu; /* bound to it */
	uint32_t quirks;         /* the CPU's; 0 if it is real */
	struct backend_cpu *cpu_tagged;
	uint64_t tag_generation;
	struct guest_host_segments {
		uint16_t ds, es, fs, gs;
	} host_segments;
	uint64_t host_dr6, host_dr7;
	uint64_t host_cr4; /* at the last run; 0: none since bind */
};

static inline struct svm_vcpu *svm_of(struct guest *g)
{
	return (struct svm_vcpu *)g;
}

extern const struct backend svm_backend;

/* percpu.c */
int32_t svm_cpu_enable(struct backend_cpu *cpu);
void svm_cpu_disable(struct backend_cpu *cpu);
void svm_read_capability(struct svm_capability *capability);

/* setup.c */
uint32_t svm_nested_levels(void);
int32_t svm_create(struct guest *g);
void svm_destroy(struct guest *g);
int32_t svm_setup(struct guest *g, const struct backend_setup *setup);
void svm_fill_msrpm(struct svm_vcpu *v);
void svm_cpuid_features(const struct guest *g, struct cpuid_config *config);

/* G_BLOCKING. The VMCB has one shadow for STI and MOV SS; with IF clear it is not STI's (SDM 27.3.1.5 asks for it). */
static inline uint64_t svm_blocking(const struct svm_vcpu *v)
{
	const uint64_t shadow = v->vmcb->rflags & RFLAGS_IF ? GUEST_BLOCKING_STI : GUEST_BLOCKING_MOV_SS;

	return (v->vmcb->interrupt_shadow & INTERRUPT_SHADOW ? shadow : 0) |
	       (v->nmi_blocked ? GUEST_BLOCKING_NMI : 0);
}

/* fields.c */
uint64_t svm_read_guest_field(struct guest *g, enum guest_field field);
void svm_read_mode(struct guest *g);
void svm_write_dirty(struct svm_vcpu *v);

/* events.c */
uint64_t svm_event_info(const struct guest_event *event); /* as EVENTINJ has it (APM 15.20) */
void svm_intercept(struct svm_vcpu *v, uint32_t bits, bool on); /* of enum svm_intercept3 */
void svm_inject(struct svm_vcpu *v);
/* After an exit, with QUIRK_SHADOW_LOST: restores a shadow that VMRUN did not load. */
void svm_keep_shadow(struct svm_vcpu *v);
void svm_collect_vectoring(struct svm_vcpu *v);
void svm_close_interrupt_window(struct svm_vcpu *v);
void svm_injection_failed(struct svm_vcpu *v);

/* nmi.c: blocking of NMIs */
/* What exits always (setup.c), and what an IRET may raise beside it (APM Vol. 3, IRET). */
#define SVM_EXCEPTIONS (1u << VECTOR_DB | 1u << VECTOR_AC | 1u << VECTOR_MC)
#define SVM_EXCEPTIONS_OF_IRET \
	(1u << VECTOR_UD | 1u << VECTOR_TS | 1u << VECTOR_NP | 1u << VECTOR_SS | 1u << VECTOR_GP | 1u << VECTOR_PF)
void svm_iret(struct svm_vcpu *v); /* it exited, and has not been executed */
/* Last before an entry that executes it, or one instruction for the VMM's debugger. */
void svm_begin_step(struct svm_vcpu *v);
uint32_t svm_exceptions(const struct guest *g); /* that exit, but for those of a step */
/* First after that entry if it was a step. True: the exit shows the end of the step and nothing else. */
bool svm_end_step(struct svm_vcpu *v);
void svm_watch_iret(struct svm_vcpu *v); /* after any exit: where there was no step */
int svm_reflect_fault(struct svm_vcpu *v);

/* exits.c */
int svm_handle_exit(struct svm_vcpu *v);

/* explain.c */
bool svm_explain(struct guest *g, struct entry_check *check);
const char *svm_entry_check_name(uint32_t id);

/* run.c */
int32_t svm_set_debug(struct guest *g);
int32_t svm_bind(struct guest *g, struct backend_cpu *cpu);
void svm_unbind(struct guest *g);
int32_t svm_run(struct guest *g);
void svm_serve_host(struct guest *g);
void svm_use_debug_registers(struct svm_vcpu *v);

/* enter.S */
void svm_enter(struct guest *g, uint64_t vmcb_hpa, uint64_t host_hpa);
void svm_enter_mitigated(struct guest *g, uint64_t vmcb_hpa, uint64_t host_hpa);

#endif
