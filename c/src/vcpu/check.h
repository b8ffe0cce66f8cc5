/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VCPU_CHECK_H
#define VCPU_CHECK_H

#include <stdbool.h>

#include "emul/guest.h"
#include "x86vcpu/vcpu.h"

/*
 * Whether a guest with these limits can be in this state, so that VM entry will accept it (SDM 27.3.1;
 * APM 15.5.1). General registers, RSP and DR0 to DR3 may be anything.
 */
bool state_valid(const struct guest_limits *limits, const struct x86vcpu_state *state);

#endif
