/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VCPU_VCPU_H
#define VCPU_VCPU_H

#include "emul/backend.h"
#include "vcpu/percpu.h"
#include "x86vcpu/vcpu.h"

#define VCPU_CPUID_ENTRIES CPUID_TABLE_SIZE

/* What a handle points to: the life cycle, and what setup copied. The guest itself is the backend's. */
struct x86vcpu {
	struct guest *guest;
	const struct backend *backend;
	struct x86vcpu_machine *machine;
	const struct x86vcpu_host_ops *ops; /* the machine's, and ctx */
	void *ctx;
	uint64_t hpa;       /* of this structure */
	uint64_t guest_hpa; /* of the backend's */

	struct x86vcpu_percpu *percpu; /* bound to it, or NULL */
	bool held;                     /* by a function that may be in a host op: see vcpu_hold_here */
	uint32_t asking;               /* calls that ask the host which CPU this is: the vCPU stays */
	bool has_entry, has_nested, set_up;
	uint64_t entry;
	uint64_t nested_root;
	uint32_t nested_levels;
	uint32_t gpa_bits; /* what the nested tables translate, at most */

	struct guest_cpuid_entry cpuid[VCPU_CPUID_ENTRIES];
	struct x86vcpu_memory_region memory[X86VCPU_MAX_MEMORY_REGIONS];
	struct x86vcpu_mmio_range mmio[X86VCPU_MAX_MMIO_RANGES];
};

/* 0 when the vCPU is bound to the executing CPU; it is then also the one that the CPU holds. */
int32_t vcpu_enter_here(struct x86vcpu *vcpu);
/* The same; and what the CPU may have kept of the guest is where calls that read or change it look for it. */
int32_t vcpu_enter_whole(struct x86vcpu *vcpu);

/*
 * The same for a function that calls host ops. A host op may call the library: until vcpu_release the vCPU's other
 * functions that belong to its thread answer BAD_STATE, and so do those that would make another vCPU this CPU's.
 */
int32_t vcpu_hold_here(struct x86vcpu *vcpu);
int32_t vcpu_hold_whole(struct x86vcpu *vcpu);
void vcpu_release(struct x86vcpu *vcpu);

#endif
