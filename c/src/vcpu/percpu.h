/* SPDX-License-Identifier: Apache-2.0 */
/* The CPUs that have the extension on, and which vCPU each of them holds. */
#ifndef VCPU_PERCPU_H
#define VCPU_PERCPU_H

#include <stdbool.h>

#include "emul/backend.h"
#include "x86vcpu/percpu.h"

struct x86vcpu;

struct x86vcpu_percpu {
	struct backend_cpu cpu;
	struct x86vcpu_host_ops ops;   /* the caller's, which cpu.host points to */
	const struct backend *backend; /* while enabled */
	uint64_t hpa;                  /* of this structure */
	uint32_t identity;             /* of the CPU, while enabled: cpu_identity() */
	bool enabled;
	bool held;                     /* by a function that may be in a host op: nothing here may change */
	uint32_t bound;                /* vCPUs bound to this CPU */
	struct x86vcpu *current;       /* the one that the CPU's VMX instructions reach */
	struct x86vcpu *loaded;        /* whose context the CPU holds between two runs, or NULL */
	struct x86vcpu_percpu *next;
};

/* Which CPU this is. */
uint32_t cpu_identity(const struct x86vcpu_host_ops *ops, void *ctx);

/* The enabled state of the executing CPU, or NULL. */
struct x86vcpu_percpu *percpu_here(const struct x86vcpu_host_ops *ops, void *ctx);

/* The backend of the extension in use, or NULL before one is chosen. */
const struct backend *backend_in_use(void);

#endif
