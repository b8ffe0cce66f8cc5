/* SPDX-License-Identifier: Apache-2.0 */
/* What a backend is: one constant table of functions. Nothing else switches on the vendor. */
#ifndef EMUL_BACKEND_H
#define EMUL_BACKEND_H

#include "emul/cpuid.h"
#include "emul/entry_check.h"
#include "emul/guest.h"

/* A backend's state of one CPU. */
struct backend_cpu {
	const struct x86vcpu_host_ops *host;
	void *ctx;
	uint32_t id;         /* the caller's number; for log lines */
	uint64_t region_hpa; /* VMXON region or host save area */
	uint64_t old_cr0, old_cr4;
	uint64_t old_save_area; /* SVM: VM_HSAVE_PA */
	uint64_t old_efer;

	/* TLB tags (VPID, ASID): handed out in order; a new generation begins, and all are flushed, when
	 * they run out. */
	uint32_t next_tag, last_tag;
	uint64_t tag_generation;
	uint32_t quirks; /* SVM: see cpu/quirks.h; 0 on real CPUs */
	bool flush_tags; /* SVM: the next VMRUN on this CPU flushes every ASID */

	struct mitigation_cpu mitigation;
};

struct backend_setup {
	uint64_t entry;
	uint64_t nested_root;
	uint32_t nested_levels; /* 4 or 5 */
	uint64_t time_slice_ns;
	const struct x86vcpu_port_range *passthrough_ports;
	uint32_t passthrough_port_count;
};

struct backend {
	uint32_t extension;     /* enum x86vcpu_extension */
	uint32_t nested_format; /* enum x86vcpu_nested_format */
	bool apic_access_page;  /* whether it uses one */
	bool has_pdptes;        /* PAE's page-directory pointers are registers, not memory */
	uint64_t guest_bytes;   /* size of its vCPU, which begins with a struct guest */

	/* On the CPU concerned. */
	uint32_t (*nested_levels)(void); /* that it must have nested tables of, or that suffice */
	int32_t (*cpu_enable)(struct backend_cpu *cpu);
	void (*cpu_disable)(struct backend_cpu *cpu);

	/* Frames and what does not depend on a CPU. The guest is zero but for host, ctx and the ids. */
	int32_t (*create)(struct guest *g);
	void (*destroy)(struct guest *g);
	uint64_t (*structure)(const struct guest *g); /* physical address of its VMCS or VMCB */

	/* On a CPU that is enabled. setup brings the guest to its reset state, unbound. */
	void (*cpuid_features)(const struct guest *g, struct cpuid_config *config);
	int32_t (*setup)(struct guest *g, const struct backend_setup *setup);
	int32_t (*bind)(struct guest *g, struct backend_cpu *cpu);
	void (*unbind)(struct guest *g);
	/* Makes a bound guest the one that this CPU's instructions reach, after another was. */
	void (*load)(struct guest *g);
	/* Gives the host back what g->context.loaded says that the CPU holds of the guest between two runs. */
	void (*unload)(struct guest *g);
	/* Whether guest.debug can be had of this CPU, to which the guest is bound: 0 or UNSUPPORTED. */
	int32_t (*set_debug)(struct guest *g);
	int32_t (*run)(struct guest *g); /* fills *g->exit, unless it fails */
	/* After a run: the host takes the interrupt that ended it. Other vCPUs may run on this CPU meanwhile. */
	void (*serve_host)(struct guest *g);
	/* The check that an entry fails as it is set up now; false: none that is known. */
	bool (*explain)(struct guest *g, struct entry_check *check);
	const char *(*entry_check_name)(uint32_t id); /* NULL: there is no such check */
};

#endif
