/* SPDX-License-Identifier: Apache-2.0 */
/* A device at FIXTURE_MMIO that is an array, a VMM that answers for it, and random values. */
#ifndef DEVICE_FIXTURE_H
#define DEVICE_FIXTURE_H

#include "guest_fixture.h"

/* Operands are in the middle of it; BT reaches no further than this in either direction. */
#define DEVICE_BYTES 0x2000u
#define DEVICE_MIDDLE 0x1000u

extern uint8_t device[DEVICE_BYTES];

/* One nested fault and all that follows of it, but for the next iteration of REP. Returns the number of accesses. */
unsigned device_run_once(struct guest_fixture *f);

uint64_t random_bits(void);
/* Numbers at the ends of their ranges are as likely as any. */
uint64_t random_value(void);
/* Rounds of a comparison with this machine's CPU: X86VCPU_ROUNDS, or so many. */
unsigned comparison_rounds(unsigned otherwise);

#endif
