/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time slices. One lasts from the PREEMPTION_TIMER exit before it to its own, over as many runs as there
 * are, so that a VMM sees that exit however often its guest exits for other reasons.
 */
#ifndef EMUL_SLICE_H
#define EMUL_SLICE_H

#include "emul/guest.h"

#define SLICE_MAXIMUM_NS UINT64_C(1000000000000)
#define SLICE_MINIMUM UINT64_C(1000) /* ticks: a guest must get somewhere in a slice */

/* At setup. A machine that does not know the frequency of its TSC is taken to have 3 GHz. */
static inline void slice_configure(struct guest *g, uint64_t nanoseconds)
{
	const uint64_t ns = nanoseconds < SLICE_MAXIMUM_NS ? nanoseconds : SLICE_MAXIMUM_NS;
	const uint64_t ticks = g->host->nanos_to_ticks(g->ctx, ns);

	g->slice_ticks = ticks ? ticks : ns * 3;
	/* Ends are compared modulo 2^64. */
	if (g->slice_ticks > INT64_MAX)
		g->slice_ticks = INT64_MAX;
	if (g->slice_ticks < SLICE_MINIMUM)
		g->slice_ticks = SLICE_MINIMUM;
	g->slice_end = 0;
}

/* The slice is over at `now`. */
static inline bool slice_over(const struct guest *g, uint64_t now)
{
	return (int64_t)(now - g->slice_end) >= 0;
}

/* Reports the end of the slice; the next run begins another. */
static inline int slice_report(struct guest *g)
{
	g->slice_end = 0;
	return emul_report(g, X86VCPU_EXIT_PREEMPTION_TIMER);
}

/* At the beginning of a run: ticks that are left, or 0 when the slice ended between two runs. */
static inline uint64_t slice_begin(struct guest *g, uint64_t now)
{
	if (!g->slice_end)
		g->slice_end = now + g->slice_ticks;
	return slice_over(g, now) ? 0 : g->slice_end - now;
}

#endif
