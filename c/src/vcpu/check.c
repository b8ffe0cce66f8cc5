/* SPDX-License-Identifier: Apache-2.0 */
/* What VM entry checks of the guest-state area (SDM 27.3.1), for states that a VMM brings. */
#include "vcpu/check.h"

#include "cpu/x86.h"
#include "emul/cr.h"
#include "emul/xcr.h"

#define AR_RESERVED (~0u << 17 | 0xf00u)
#define AR_V8086 0xf3u
#define SELECTOR_TI 4u

static bool usable(const struct x86vcpu_segment *segment)
{
	return !(segment->access_rights & AR_UNUSABLE);
}

static unsigned type(const struct x86vcpu_segment *segment)
{
	return segment->access_rights & AR_TYPE;
}

static unsigned dpl(const struct x86vcpu_segment *segment)
{
	return (segment->access_rights & AR_DPL) >> AR_DPL_SHIFT;
}

/* Granularity must be able to express the limit, and nothing reserved be set. */
static bool shape_ok(const struct x86vcpu_segment *segment, bool code_or_data)
{
	const uint32_t access = segment->access_rights, limit = segment->limit;

	if (access & AR_RESERVED || !(access & AR_P) || !(access & AR_S) == code_or_data)
		return false;
	if ((limit & 0xfff) != 0xfff && access & AR_G)
		return false;
	return !(limit >> 20) || access & AR_G;
}

static bool cs_ok(const struct x86vcpu_state *state)
{
	const struct x86vcpu_segment *cs = &state->segments[X86VCPU_SEGMENT_CS];
	const struct x86vcpu_segment *ss = &state->segments[X86VCPU_SEGMENT_SS];
	const uint32_t access = cs->access_rights;

	if (!usable(cs) || !shape_ok(cs, true))
		return false;
	if (state->efer & EFER_LMA && access & AR_L && access & AR_D)
		return false;
	switch (type(cs)) {
	case 3: /* a data segment, as real mode has it; with unrestricted guests only */
		return dpl(cs) == 0;
	case 9:
	case 11:
		return dpl(cs) == dpl(ss);
	case 13:
	case 15:
		return dpl(cs) <= dpl(ss);
	default:
		return false;
	}
}

static bool ss_ok(const struct x86vcpu_state *state)
{
	const struct x86vcpu_segment *ss = &state->segments[X86VCPU_SEGMENT_SS];
	const bool real = !(state->cr0 & CR0_PE) || type(&state->segments[X86VCPU_SEGMENT_CS]) == 3;

	if (real && dpl(ss) != 0)
		return false;
	if (!usable(ss))
		return true;
	return (type(ss) == 3 || type(ss) == 7) && shape_ok(ss, true);
}

static bool data_ok(const struct x86vcpu_segment *segment)
{
	if (!usable(segment))
		return true;
	if (!(type(segment) & AR_TYPE_ACCESSED) ||
	    (type(segment) & AR_TYPE_CODE && !(type(segment) & AR_TYPE_WRITE)))
		return false;
	return shape_ok(segment, true);
}

/* Only FS and GS have more than 32 bits (SDM 27.3.1.2). */
static bool bases_ok(const struct guest_limits *limits, const struct x86vcpu_state *state)
{
	const struct x86vcpu_segment *segments = state->segments, *ldtr = &segments[X86VCPU_SEGMENT_LDTR];

	for (unsigned i = X86VCPU_SEGMENT_ES; i <= X86VCPU_SEGMENT_DS; i++)
		if (i != X86VCPU_SEGMENT_CS && usable(&segments[i]) && segments[i].base >> 32)
			return false;
	return !(segments[X86VCPU_SEGMENT_CS].base >> 32) &&
	       guest_base_is_canonical(limits, segments[X86VCPU_SEGMENT_FS].base) &&
	       guest_base_is_canonical(limits, segments[X86VCPU_SEGMENT_GS].base) &&
	       guest_base_is_canonical(limits, segments[X86VCPU_SEGMENT_TR].base) &&
	       (!usable(ldtr) || guest_base_is_canonical(limits, ldtr->base)) &&
	       guest_base_is_canonical(limits, state->gdtr.base) && guest_base_is_canonical(limits, state->idtr.base);
}

static bool system_segments_ok(const struct x86vcpu_state *state)
{
	const struct x86vcpu_segment *tr = &state->segments[X86VCPU_SEGMENT_TR];
	const struct x86vcpu_segment *ldtr = &state->segments[X86VCPU_SEGMENT_LDTR];
	const bool long_mode = state->efer & EFER_LMA;

	if (!usable(tr) || !shape_ok(tr, false) || tr->selector & SELECTOR_TI)
		return false;
	if (type(tr) != 11 && (long_mode || type(tr) != 3))
		return false;
	if (!usable(ldtr))
		return true;
	return type(ldtr) == 2 && shape_ok(ldtr, false) && !(ldtr->selector & SELECTOR_TI);
}

static bool v8086_segments_ok(const struct x86vcpu_state *state)
{
	for (unsigned i = X86VCPU_SEGMENT_ES; i <= X86VCPU_SEGMENT_GS; i++) {
		const struct x86vcpu_segment *segment = &state->segments[i];

		if (segment->base != (uint64_t)segment->selector << 4 || segment->limit != 0xffff ||
		    segment->access_rights != AR_V8086)
			return false;
	}
	return true;
}

static bool segments_ok(const struct x86vcpu_state *state)
{
	if (!system_segments_ok(state))
		return false;
	if (state->rflags & RFLAGS_VM)
		return v8086_segments_ok(state);
	return cs_ok(state) && ss_ok(state) && data_ok(&state->segments[X86VCPU_SEGMENT_ES]) &&
	       data_ok(&state->segments[X86VCPU_SEGMENT_DS]) && data_ok(&state->segments[X86VCPU_SEGMENT_FS]) &&
	       data_ok(&state->segments[X86VCPU_SEGMENT_GS]);
}

static bool table_ok(const struct x86vcpu_table *table)
{
	return table->limit <= 0xffff;
}

static bool flags_ok(const struct x86vcpu_state *state)
{
	const uint64_t rflags = state->rflags;

	if (rflags & ~RFLAGS_DEFINED || !(rflags & RFLAGS_FIXED))
		return false;
	return !(rflags & RFLAGS_VM) || (state->cr0 & CR0_PE && !(state->efer & EFER_LMA));
}

/*
 * Bits 63:N of a 64-bit RIP are the same on a CPU with N linear-address bits, but bit N-1 may differ (SDM 27.3.1.4): after
 * the last instruction of the lower half comes an address that is not canonical, and the guest's #GP.
 */
static bool rip_ok(const struct guest_limits *limits, const struct x86vcpu_state *state)
{
	const uint64_t upper = state->rip >> limits->linear_bits;

	if (state->efer & EFER_LMA && state->segments[X86VCPU_SEGMENT_CS].access_rights & AR_L)
		return upper == 0 || upper == UINT64_MAX >> limits->linear_bits;
	return !(state->rip >> 32);
}

bool state_valid(const struct guest_limits *limits, const struct x86vcpu_state *state)
{
	const struct cr_state crs = {state->cr0, state->cr3, state->cr4, state->efer};

	if (!cr_state_valid(limits, &crs) || !xcr0_valid(limits, state->xcr0))
		return false;
	return flags_ok(state) && rip_ok(limits, state) && segments_ok(state) && bases_ok(limits, state) && table_ok(&state->gdtr) &&
	       table_ok(&state->idtr) && !(state->dr6 >> 32) && !(state->dr7 >> 32);
}
