/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the mode of the host's CPU decides about a guest. Neither a VMCS nor a VMCB switches all of it, so it is
 * checked: at enable and bind as a whole, in every run in so far as the host may change it between two runs.
 */
#ifndef EMUL_HOST_MODE_H
#define EMUL_HOST_MODE_H

#include <stdbool.h>

#include "x86vcpu/host.h"

/* What decides. A register that this CPU lacks holds what the rules accept. */
enum host_register {
	HOST_CR4 = 0,
	HOST_EFER,
	HOST_PAT,
	HOST_S_CET,
	HOST_PEBS_ENABLE,
	HOST_REGISTERS
};

struct host_mode {
	uint64_t value[HOST_REGISTERS];
};

/* Reads the executing CPU's, in so far as `extension` (enum x86vcpu_extension) has rules for it. */
void host_mode_read(const struct x86vcpu_host_ops *host, void *ctx, uint32_t extension, struct host_mode *mode);
/* The mode in which enable leaves this CPU, from the one in which it finds it. */
void host_mode_assume_enabled(struct host_mode *mode);

/*
 * 0, or UNSUPPORTED with a log line for each rule that `mode` breaks. `extension`: enum x86vcpu_extension.
 */
int32_t host_mode_check(const struct x86vcpu_host_ops *host, void *ctx, uint32_t extension,
			const struct host_mode *mode);
/* The same for the rules of CR4 alone. */
int32_t host_mode_check_cr4(const struct x86vcpu_host_ops *host, void *ctx, uint32_t extension, uint64_t cr4);

#endif
