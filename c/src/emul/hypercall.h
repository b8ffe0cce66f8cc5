/* SPDX-License-Identifier: Apache-2.0 */
#ifndef EMUL_HYPERCALL_H
#define EMUL_HYPERCALL_H

#include "emul/guest.h"

/* VMCALL or VMMCALL: fills g->exit. */
int emul_hypercall(struct guest *g);

#endif
