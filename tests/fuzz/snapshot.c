/* SPDX-License-Identifier: Apache-2.0 */
/* All that can be read of a vCPU, and whether it is still the same. */
#include "fuzz.h"

#include <string.h>

#include "x86vcpu/msr.h"

#define APIC_TIMER_CURRENT 0x39 /* registers[] */

static bool counts_time(uint32_t msr)
{
	return msr == X86VCPU_MSR_IA32_TIME_STAMP_COUNTER;
}

/* The same ones for each vCPU that has the same CPU: asked for once in an input. */
static uint32_t saved_msrs(struct world *w, struct x86vcpu *vcpu)
{
	if (w->saved_count)
		return w->saved_count;
	while (!x86vcpu_saved_msr(vcpu, w->saved_count, &w->saved[w->saved_count])) {
		w->saved_count++;
		fuzz_check(w->saved_count < WORLD_SAVED, "more than %u MSRs", WORLD_SAVED);
	}
	return w->saved_count;
}

static void take_msrs(struct world *w, struct x86vcpu *vcpu, struct snapshot *s)
{
	s->msr_count = saved_msrs(w, vcpu);
	for (uint32_t i = 0; i < s->msr_count; i++) {
		uint64_t value = 0;
		const int32_t status = x86vcpu_get_msr(vcpu, w->saved[i], &value);

		world_check_status(status, "get_msr");
		s->msrs[i] = status ? (uint64_t)status : counts_time(w->saved[i]) ? 0 : value;
	}
}

void snapshot_take(struct world *w, struct x86vcpu *vcpu, struct snapshot *s)
{
	memset(s, 0, offsetof(struct snapshot, xsave));
	s->state.size = sizeof(s->state);
	s->apic.size = sizeof(s->apic);
	s->events.size = sizeof(s->events);
	s->state_status = x86vcpu_get_state(vcpu, X86VCPU_STATE_ALL, &s->state);
	s->apic_status = x86vcpu_get_apic(vcpu, &s->apic);
	s->events_status = x86vcpu_get_events(vcpu, &s->events);
	s->timed = w->flags & WORLD_NO_CLOCK || s->apic.tsc_deadline;
	s->apic.timer_remaining = 0;
	s->apic.registers[APIC_TIMER_CURRENT] = 0;
	take_msrs(w, vcpu, s);
	s->xsave_size = sizeof(s->xsave);
	world_check_status(x86vcpu_get_xsave(vcpu, s->xsave, &s->xsave_size), "get_xsave");
	world_check_secret(w, s, offsetof(struct snapshot, msrs), "the state");
	world_check_secret(w, s->msrs, sizeof(s->msrs), "an MSR");
	world_check_secret(w, s->xsave, s->xsave_size, "the XSAVE image");
}

void snapshot_compare(const struct snapshot *before, const struct snapshot *after, const char *what)
{
	fuzz_check(before->state_status == after->state_status && before->apic_status == after->apic_status &&
			   before->events_status == after->events_status, "%s: a status has changed", what);
	fuzz_check(!memcmp(&before->state, &after->state, sizeof(before->state)), "%s has changed the state", what);
	fuzz_check(before->timed || !memcmp(&before->apic, &after->apic, sizeof(before->apic)), "%s has changed the local APIC", what);
	fuzz_check(!memcmp(&before->events, &after->events, sizeof(before->events)), "%s has changed the events", what);
	for (uint32_t i = 0; i < before->msr_count; i++)
		fuzz_check(before->msrs[i] == after->msrs[i], "%s has changed MSR number %u: %llx to %llx", what, i,
			   (unsigned long long)before->msrs[i], (unsigned long long)after->msrs[i]);
	fuzz_check(before->xsave_size == after->xsave_size && !memcmp(before->xsave, after->xsave, before->xsave_size),
		   "%s has changed the extended registers", what);
}
