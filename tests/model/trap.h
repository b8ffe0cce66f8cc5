/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Privileged instructions in a Linux process, executed by the model: they fault in user mode, and the handler
 * of the signal does what they say. Those that don't fault there must be replaced first.
 */
#ifndef MODEL_TRAP_H
#define MODEL_TRAP_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Handlers for SIGILL, SIGSEGV and SIGTRAP, and a stack for them. Of the calling thread. 0 on success. */
int model_trap_install(void);

/* The instruction at `address` becomes INT3, which is the fastest way into the handler. 0 on success. */
int model_trap_replace(uintptr_t address);

uint64_t model_trap_count(void);

/* Executes the instruction at RIP of a ucontext_t on the model, RIP included; 0: it is none of the model's. */
int model_trap_execute(void *context);

#ifdef __cplusplus
}
#endif
#endif
