/* SPDX-License-Identifier: Apache-2.0 */
/* What the VMM debugs: exits of kind DEBUG, steps by RFLAGS.TF, the VMM's breakpoints. */
#ifndef EMUL_DEBUG_H
#define EMUL_DEBUG_H

#include "emul/guest.h"

/* Conditions of a #DB as DR6 has them (SDM 18.2.3). */
#define DEBUG_BREAKPOINTS (DR6_B0 | DR6_B1 | DR6_B2 | DR6_B3)
#define DEBUG_CONDITIONS (DEBUG_BREAKPOINTS | DR6_BD | DR6_BS)

/* Exceptions that an instruction may raise; they exit while it is stepped by RFLAGS.TF, so that none is delivered with it. */
#define DEBUG_EXCEPTIONS_OF_STEP                                                                              \
	(1u << VECTOR_DE | 1u << VECTOR_BP | 1u << VECTOR_OF | 1u << VECTOR_BR | 1u << VECTOR_UD | 1u << VECTOR_NM | \
	 1u << VECTOR_TS | 1u << VECTOR_NP | 1u << VECTOR_SS | 1u << VECTOR_GP | 1u << VECTOR_PF | 1u << VECTOR_MF | \
	 1u << VECTOR_XM)

/* Whether an entry is to be a step by RFLAGS.TF. */
static inline bool debug_steps_by_flag(const struct guest *g)
{
	return g->debug.by_flag && guest_steps(g);
}

/* Exceptions that exit for the VMM's debugger, as an exception bitmap. */
static inline uint32_t debug_exceptions(const struct guest *g)
{
	return (g->debug.flags & X86VCPU_DEBUG_INT3 ? 1u << VECTOR_BP : 0) |
	       (debug_steps_by_flag(g) ? DEBUG_EXCEPTIONS_OF_STEP : 0);
}

/* Fills guest.exit with what is due. EMUL_EXIT. */
int debug_report(struct guest *g);
/* No exception of the last exit is the guest's any more: RIP is another. */
void debug_forget(struct guest *g);

/* Around a run: the guest's DR7 makes room for the VMM's. */
void debug_begin_run(struct guest *g);
void debug_end_run(struct guest *g);

/*
 * Before the event of an entry that is to be a step by RFLAGS.TF is chosen: finds out what kind of instruction is next.
 * INT n becomes an event, because its delivery would save the flag.
 */
void debug_look_at_instruction(struct guest *g);
/* The INT n or INT3 at RIP as an event. False: it is none. */
bool debug_decode_int(struct guest *g, struct guest_event *event);
/* Last before that entry. False: an event goes in, and the flag must not; debug.delivering is set. */
bool debug_begin_step(struct guest *g, bool injecting);
/* First after it. `completed`: the exit is the #DB of the step. RFLAGS are the guest's again. */
void debug_end_step(struct guest *g, bool completed);
/* A step is over, by another sign. */
void debug_step_ended(struct guest *g);

/*
 * A #DB exited with these conditions: notes those that the VMM asked for, and returns those that the guest's handler is to
 * find in DR6.
 */
uint64_t debug_take_conditions(struct guest *g, uint64_t conditions);
/*
 * The guest's own #DB, or the #BP of an INT3: whether the VMM wants it first. Then it is due, and the guest does not get it
 * now.
 */
bool debug_takes_exception(struct guest *g, const struct guest_event *event, uint64_t conditions);

/* MOV to or from DR `number` while the CPU's are the VMM's (SDM 18.2). What enum emul has. */
int debug_mov_dr(struct guest *g, unsigned number, unsigned gpr, bool read);

#endif
