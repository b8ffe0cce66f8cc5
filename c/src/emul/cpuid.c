/* SPDX-License-Identifier: Apache-2.0 */
/* CPUID at run time: a look-up by index, plus the few bits that follow the guest's own state. */
#include "emul/cpuid_internal.h"

#define SLOT_EXTENDED 0x20u
#define SLOT_HYPERVISOR 0x42u
#define SLOT_OTHER 0x44u
#define NO_ENTRY 0xff

_Static_assert(SLOT_OTHER + 1 == GUEST_CPUID_SLOTS, "one slot for each value of slot_of");
_Static_assert(CPUID_TABLE_SIZE < NO_ENTRY, "an index is a byte");

#define HIGHEST_LIMITED 2u /* under IA32_MISC_ENABLE's limit (SDM Vol. 2, CPUID) */
#define COMPUTED_ALWAYS (0x1ffu & ~(GUEST_CPUID_XD | GUEST_CPUID_LIMIT)) /* of GUEST_CPUID_*; INDEXED is none */

static uint32_t slot_of(uint32_t leaf)
{
	if (leaf < 0x20)
		return leaf;
	if (leaf - LEAF_EXTENDED < SLOT_HYPERVISOR - SLOT_EXTENDED)
		return SLOT_EXTENDED + (leaf - LEAF_EXTENDED);
	if (leaf - LEAF_HYPERVISOR < 2)
		return SLOT_HYPERVISOR + (leaf - LEAF_HYPERVISOR);
	return SLOT_OTHER;
}

/* Leaves within the two ranges that have no entry are zero. */
static bool in_range(const struct guest *g, uint32_t slot, uint32_t highest_basic)
{
	uint32_t highest = 0;

	if (slot < SLOT_EXTENDED)
		return slot <= highest_basic && slot <= g->cpuid[0].eax;
	for (uint32_t i = 0; i < g->cpuid_count; i++)
		if (g->cpuid[i].leaf == LEAF_EXTENDED)
			highest = g->cpuid[i].eax;
	return slot < SLOT_HYPERVISOR && slot - SLOT_EXTENDED + LEAF_EXTENDED <= highest;
}

void cpuid_attach(struct guest *g, const struct guest_cpuid_entry *table, uint32_t count)
{
	g->cpuid = table;
	g->cpuid_count = count;
	cpuid_follow_limit(g);
}

static void clear_slots(struct guest *g)
{
	for (uint32_t i = 0; i < GUEST_CPUID_SLOTS; i++)
		g->cpuid_slot[i] = (struct guest_cpuid_slot){NO_ENTRY, 0};
}

/* Basic leaves above `highest` are left out. */
static void fill_slots(struct guest *g, uint32_t highest)
{
	for (uint32_t i = 0; i < g->cpuid_count; i++) {
		const struct guest_cpuid_entry *entry = &g->cpuid[i];
		struct guest_cpuid_slot *slot = &g->cpuid_slot[slot_of(entry->leaf)];

		if (entry->leaf > highest && entry->leaf < LEAF_HYPERVISOR)
			continue;
		if (slot->first == NO_ENTRY)
			slot->first = (uint8_t)i;
		if (entry->flags & GUEST_CPUID_INDEXED)
			slot->count++;
	}
}

void cpuid_follow_limit(struct guest *g)
{
	struct guest_cpuid_slot other = {NO_ENTRY, 0};
	const uint32_t highest = g->msrs.misc_enable & MISC_ENABLE_LIMIT_CPUID ? HIGHEST_LIMITED : HIGHEST_BASIC;

	if (!g->cpuid)
		return;
	g->cpuid_computed = COMPUTED_ALWAYS;
	if (g->msrs.misc_enable & MISC_ENABLE_XD_DISABLE)
		g->cpuid_computed |= GUEST_CPUID_XD;
	if (g->msrs.misc_enable & MISC_ENABLE_LIMIT_CPUID)
		g->cpuid_computed |= GUEST_CPUID_LIMIT;
	clear_slots(g);
	fill_slots(g, highest);
	/* Beyond the ranges Intel answers with its highest basic leaf (SDM Vol. 2, CPUID), AMD with zeros. */
	if (g->limits.intel)
		other = g->cpuid_slot[highest];
	for (uint32_t i = 0; i < GUEST_CPUID_SLOTS; i++)
		if (g->cpuid_slot[i].first == NO_ENTRY && !in_range(g, i, highest))
			g->cpuid_slot[i] = other;
}

const struct guest_cpuid_entry *cpuid_lookup(const struct guest *g, uint32_t leaf, uint32_t subleaf)
{
	static const struct guest_cpuid_entry nothing;
	const struct guest_cpuid_slot slot = g->cpuid_slot[slot_of(leaf)];

	if (slot.first == NO_ENTRY || (leaf >> 28 == LEAF_HYPERVISOR >> 28 && leaf > HIGHEST_HYPERVISOR))
		return &nothing;
	if (slot.count == 0)
		return &g->cpuid[slot.first];
	return subleaf < slot.count ? &g->cpuid[slot.first + subleaf] : &nothing;
}

/* Leaf 0xb: one thread (level 0) in one core (level 1); the ID in EDX is the entry's. */
static void answer_topology(struct guest *g, uint32_t subleaf)
{
	static const struct {
		uint32_t processors, type;
	} levels[] = {{1, 1u << 8}, {1, 2u << 8}};

	g->regs.rcx = subleaf & 0xff;
	if (subleaf < 2) {
		g->regs.rbx = levels[subleaf].processors;
		g->regs.rcx |= levels[subleaf].type;
	}
}

/* Out of line: most leaves need no stack frame then. */
__attribute__((noinline)) static int answer_computed(struct guest *g,
						     const struct guest_cpuid_entry *entry,
						     uint32_t subleaf)
{
	const uint32_t flags = entry->flags & g->cpuid_computed;

	if (flags & GUEST_CPUID_OSXSAVE && guest_get(g, G_CR4) & CR4_OSXSAVE)
		g->regs.rcx |= CPUID_1_ECX_OSXSAVE;
	if (flags & GUEST_CPUID_OSPKE && guest_get(g, G_CR4) & CR4_PKE)
		g->regs.rcx |= CPUID_7_ECX_OSPKE;
	if (flags & GUEST_CPUID_XSAVE_SIZE)
		g->regs.rbx = cpuid_xsave_size(entry, g->xcr0 & g->limits.xcr0);
	if (flags & GUEST_CPUID_XSAVEC_SIZE &&
	    entry->eax & (CPUID_D_1_EAX_XSAVEC | CPUID_D_1_EAX_XSAVES))
		g->regs.rbx = cpuid_xsavec_size(entry - 1, g->xcr0 & g->limits.xcr0);
	if (flags & GUEST_CPUID_APIC && !lapic_globally_enabled(&g->lapic))
		g->regs.rdx &= ~(uint64_t)CPUID_1_EDX_APIC;
	if (flags & GUEST_CPUID_SYSCALL && !guest_in_64bit_mode(g))
		g->regs.rdx &= ~(uint64_t)CPUID_80000001_EDX_SYSCALL;
	if (flags & GUEST_CPUID_XD)
		g->regs.rdx &= ~(uint64_t)CPUID_80000001_EDX_NX;
	if (flags & GUEST_CPUID_LIMIT)
		g->regs.rax = HIGHEST_LIMITED;
	if (flags & GUEST_CPUID_TOPOLOGY)
		answer_topology(g, subleaf);
	return EMUL_NEXT;
}

int emul_cpuid(struct guest *g)
{
	const uint32_t subleaf = (uint32_t)g->regs.rcx;
	const struct guest_cpuid_entry *entry = cpuid_lookup(g, (uint32_t)g->regs.rax, subleaf);

	g->regs.rax = entry->eax;
	g->regs.rbx = entry->ebx;
	g->regs.rcx = entry->ecx;
	g->regs.rdx = entry->edx;
	if (entry->flags & g->cpuid_computed)
		return answer_computed(g, entry, subleaf);
	return EMUL_NEXT;
}
