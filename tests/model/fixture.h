/* SPDX-License-Identifier: Apache-2.0 */
/* A machine of the model, and a vCPU of the library on it. */
#ifndef MODEL_FIXTURE_H
#define MODEL_FIXTURE_H

#include "model.h"

#include "x86vcpu/x86vcpu.h"

struct fixture {
	struct model *m;
	struct x86vcpu_percpu *percpu[MODEL_CPUS];
	struct x86vcpu_machine *machine;
	struct x86vcpu *vcpu;
	const struct x86vcpu_setup_config *config; /* of the vCPU; of fixture_begin_with's caller */
	uint64_t root;
	struct x86vcpu_exit exit;
};

/* VMX or SVM is on on CPU 0, and the vCPU is bound there, in real mode at 0x1000. */
struct fixture *fixture_begin(enum model_backend backend, uint32_t features);
/* With nested tables of so many levels, 4 or 5. */
struct fixture *fixture_begin_nested(enum model_backend backend, uint32_t features, uint32_t levels);
/* Other tables, and setup anew. The vCPU is not bound. */
int32_t fixture_set_nested(struct fixture *f, uint32_t levels, uint32_t gpa_bits);
/* With this configuration, which lives on. */
struct fixture *fixture_begin_with(enum model_backend backend, uint32_t features,
				   const struct x86vcpu_setup_config *config);
/* On CPUs with MODEL_ALL and this profile. */
struct fixture *fixture_begin_profile(const struct model_profile *profile);
void fixture_end(struct fixture *f); /* checks that the model has nothing to say, and that all frames are back */

const struct x86vcpu_host_ops *fixture_ops(void);

/* The current CPU; its extension is turned on if it is not. */
void fixture_on_cpu(struct fixture *f, uint32_t cpu);

/* The guest does `kind` with `length` bytes, and run returns. Its status. */
int32_t fixture_does(struct fixture *f, uint32_t kind, uint32_t length, uint64_t a, uint64_t b, uint64_t c);

#endif
