/* SPDX-License-Identifier: Apache-2.0 */
/* CPUID: a guest's table and limits, computed once from the host's CPUID. */
#include "emul/cpuid_internal.h"

#define LEAF_TOPOLOGY 0xbu
#define CACHES_MAX 6
#define FALLBACK_MHZ 3000u
#define XSAVE_START (XSAVE_LEGACY_SIZE + XSAVE_HEADER_SIZE)
#define COMPONENT_SUPERVISOR (1u << 0) /* leaf 0xd.i, ECX */
#define COMPONENT_ALIGNED (1u << 1)    /* begins at a multiple of 64 bytes in the compacted format */

/* Components of XCR0 beyond SSE, with the sizes that SDM Vol. 1, 13.5, gives them. */
struct component {
	uint32_t index, size;
};

static const struct component components[] = {
	{2, 256},  /* AVX */
	{5, 64},   /* opmask */
	{6, 512},  /* ZMM_Hi256 */
	{7, 1024}, /* Hi16_ZMM */
	{9, 8},    /* PKRU */
};
#define COMPONENTS (sizeof(components) / sizeof(components[0]))
#define HIGHEST_COMPONENT 9

/*
 * What holds in a guest as it does outside. Not: what a hypervisor below may skip, which the guest is none of, and
 * what announces MSRs that the guest does not have.
 */
#define ARCH_CAPABILITIES_OF_GUEST                                                                              \
	(ARCH_CAP_RDCL_NO | ARCH_CAP_IBRS_ALL | ARCH_CAP_RSBA | ARCH_CAP_SSB_NO | ARCH_CAP_MDS_NO |             \
	 ARCH_CAP_PSCHANGE_MC_NO | ARCH_CAP_TAA_NO | ARCH_CAP_SBDR_SSDP_NO | ARCH_CAP_FBSDP_NO |                \
	 ARCH_CAP_PSDP_NO | ARCH_CAP_FB_CLEAR | ARCH_CAP_RRSBA | ARCH_CAP_BHI_NO | ARCH_CAP_PBRSB_NO |          \
	 ARCH_CAP_GDS_NO | ARCH_CAP_RFDS_NO | ARCH_CAP_RFDS_CLEAR | ARCH_CAP_ITS_NO)

struct builder {
	struct guest_cpuid_entry *table;
	uint32_t capacity, count; /* count may exceed capacity: the table was too small then */
	struct guest_cpuid_entry overflow;
	const struct cpuid_config *config;
	uint32_t host_basic, host_extended; /* the host's highest leaves; extended: 0 for none */
	uint64_t xcr0;
	uint32_t with;
};

static uint32_t *entry_word(struct guest_cpuid_entry *entry, enum word word)
{
	switch (word) {
	case EAX:
		return &entry->eax;
	case EBX:
		return &entry->ebx;
	case ECX:
		return &entry->ecx;
	default:
		return &entry->edx;
	}
}

/* Zeros for a leaf that the host does not have, where the instruction would answer with another. */
static void host_leaf(const struct builder *b, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	out[EAX] = out[EBX] = out[ECX] = out[EDX] = 0;
	if (leaf >= LEAF_EXTENDED ? leaf <= b->host_extended : leaf <= b->host_basic)
		b->config->host(b->config->ctx, leaf, subleaf, out);
}

static void host_maxima(struct builder *b)
{
	uint32_t out[4];

	b->host_basic = 0;
	b->host_extended = LEAF_EXTENDED;
	host_leaf(b, 0, 0, out);
	b->host_basic = out[EAX];
	host_leaf(b, LEAF_EXTENDED, 0, out);
	b->host_extended = out[EAX] >> 16 == LEAF_EXTENDED >> 16 ? out[EAX] : 0;
}

/* ---- What the host and the backend give --------------------------------------------------------- */

/* The area of the state, which is switched by its host size, must have room for every component. */
static bool component_usable(const struct builder *b, const struct component *component)
{
	uint32_t area[4], own[4];

	host_leaf(b, LEAF_XSTATE, 0, area);
	host_leaf(b, LEAF_XSTATE, component->index, own);
	return area[EAX] & (1u << component->index) && own[EAX] == component->size &&
	       !(own[ECX] & COMPONENT_SUPERVISOR) && own[EBX] >= XSAVE_START &&
	       area[ECX] >= own[EAX] && own[EBX] <= area[ECX] - own[EAX];
}

static uint64_t usable_components(const struct builder *b)
{
	uint64_t mask = XCR0_X87 | XCR0_SSE;

	for (uint32_t i = 0; i < COMPONENTS; i++)
		if (component_usable(b, &components[i]))
			mask |= UINT64_C(1) << components[i].index;
	return mask;
}

/* A component goes with the feature that uses it, and AVX-512 with all three of its own. */
static uint64_t supported_xcr0(const struct builder *b)
{
	uint32_t one[4], seven[4], area[4];
	uint64_t mask;

	host_leaf(b, 1, 0, one);
	host_leaf(b, 7, 0, seven);
	host_leaf(b, LEAF_XSTATE, 0, area);
	if (!(one[ECX] & CPUID_1_ECX_XSAVE) || !(one[EDX] & CPUID_1_EDX_FXSR) ||
	    !(one[EDX] & CPUID_1_EDX_SSE) || (area[EAX] & 3) != (XCR0_X87 | XCR0_SSE))
		return XCR0_X87;
	mask = usable_components(b);
	if (!(one[ECX] & CPUID_1_ECX_AVX))
		mask &= ~XCR0_AVX;
	if (!(seven[EBX] & CPUID_7_EBX_AVX512F) || (mask & XCR0_AVX512) != XCR0_AVX512 || !(mask & XCR0_AVX))
		mask &= ~XCR0_AVX512;
	if (!(seven[ECX] & CPUID_7_ECX_PKU) || !b->config->pku)
		mask &= ~XCR0_PKRU;
	return mask;
}

static uint32_t met_conditions(const struct builder *b)
{
	const struct cpuid_config *config = b->config;
	uint32_t with = 0;

	with |= config->rdtscp ? WITH_RDTSCP : 0;
	with |= config->invpcid ? WITH_INVPCID : 0;
	with |= config->pcid ? WITH_PCID : 0;
	with |= config->xsaves ? WITH_XSAVES : 0;
	with |= config->la57 ? WITH_LA57 : 0;
	with |= b->xcr0 & XCR0_SSE ? WITH_XSAVE : 0;
	with |= b->xcr0 & XCR0_AVX ? WITH_AVX : 0;
	with |= b->xcr0 & XCR0_ZMM_HI256 ? WITH_AVX512 : 0;
	with |= b->xcr0 & XCR0_PKRU ? WITH_PKU : 0;
	return with;
}

/* ---- The table ------------------------------------------------------------------------------------ */

static struct guest_cpuid_entry *add_empty(struct builder *b, uint32_t leaf, uint32_t subleaf, uint32_t flags)
{
	struct guest_cpuid_entry *entry = b->count < b->capacity ? &b->table[b->count] : &b->overflow;

	b->count++;
	*entry = (struct guest_cpuid_entry){.leaf = leaf, .subleaf = subleaf, .flags = flags};
	return entry;
}

static struct guest_cpuid_entry *add(struct builder *b, uint32_t leaf, uint32_t subleaf, uint32_t flags)
{
	struct guest_cpuid_entry *entry = add_empty(b, leaf, subleaf, flags);
	uint32_t out[4];

	host_leaf(b, leaf, subleaf, out);
	for (enum word word = EAX; word <= EDX; word++)
		*entry_word(entry, word) = out[word] & cpuid_allowed(leaf, subleaf, word, b->with);
	return entry;
}

static void add_features(struct builder *b)
{
	const struct cpuid_config *config = b->config;
	struct guest_cpuid_entry *entry = add(b, 1, 0, GUEST_CPUID_OSXSAVE);

	entry->ebx |= config->vcpu_id << 24 | 1u << 16; /* APIC ID, one logical processor */
	entry->ecx |= CPUID_1_ECX_HYPERVISOR;
	if (!config->apic)
		return;
	entry->edx |= CPUID_1_EDX_APIC;
	entry->flags |= GUEST_CPUID_APIC;
	entry->ecx |= CPUID_1_ECX_X2APIC;
	if (config->tsc_deadline)
		entry->ecx |= CPUID_1_ECX_TSC_DEADLINE;
}

/* Leaf 4, as long as it names caches. All of them belong to this one core. */
static void add_caches(struct builder *b)
{
	uint32_t out[4];

	for (uint32_t i = 0; i < CACHES_MAX; i++) {
		struct guest_cpuid_entry *entry;

		host_leaf(b, 4, i, out);
		if (!(out[EAX] & 0x1f))
			return;
		entry = add_empty(b, 4, i, GUEST_CPUID_INDEXED);
		entry->eax = out[EAX] & 0x3ff; /* without IDs that share it and cores in the package */
		entry->ebx = out[EBX];
		entry->ecx = out[ECX];
		entry->edx = out[EDX] & 7;
	}
}

/* Leaf 6 says one thing: the emulated APIC timer does not stop in deep sleep states. */
static void add_power(struct builder *b)
{
	add(b, 6, 0, 0)->eax = b->config->apic ? CPUID_6_EAX_ARAT : 0;
}

static void add_extended_features(struct builder *b)
{
	struct guest_cpuid_entry *entry = add(b, 7, 0, GUEST_CPUID_INDEXED | GUEST_CPUID_OSPKE);
	uint32_t out[4];

	host_leaf(b, 7, 0, out);
	if (out[EAX] == 0)
		return;
	entry->eax = out[EAX] < 2 ? 1 : 2; /* highest subleaf */
	for (uint32_t i = 1; i <= (out[EAX] < 2 ? 1u : 2u); i++)
		add(b, 7, i, GUEST_CPUID_INDEXED);
}

static void add_topology(struct builder *b)
{
	if (b->config->apic)
		add_empty(b, LEAF_TOPOLOGY, 0, GUEST_CPUID_TOPOLOGY)->edx = b->config->vcpu_id;
}

static void add_component(struct builder *b, uint32_t index)
{
	struct guest_cpuid_entry *entry = add_empty(b, LEAF_XSTATE, index, GUEST_CPUID_INDEXED);
	uint32_t out[4];

	if (!(b->xcr0 & (UINT64_C(1) << index)))
		return;
	host_leaf(b, LEAF_XSTATE, index, out);
	entry->eax = out[EAX];
	entry->ebx = out[EBX];
	entry->ecx = out[ECX] & COMPONENT_ALIGNED;
}

static uint32_t larger(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

uint32_t cpuid_xsave_size(const struct guest_cpuid_entry *area, uint64_t mask)
{
	uint32_t size = XSAVE_START;

	for (uint32_t i = 2; i <= HIGHEST_COMPONENT; i++)
		if (mask & (UINT64_C(1) << i))
			size = larger(size, area[i].ebx + area[i].eax);
	return size;
}

/* SDM Vol. 1, 13.4.3. */
uint32_t cpuid_xsavec_size(const struct guest_cpuid_entry *area, uint64_t mask)
{
	uint32_t size = XSAVE_START;

	for (uint32_t i = 2; i <= HIGHEST_COMPONENT; i++) {
		if (!(mask & (UINT64_C(1) << i)))
			continue;
		if (area[i].ecx & COMPONENT_ALIGNED)
			size = (size + 63) & ~63u;
		size += area[i].eax;
	}
	return size;
}

/* Sizes are computed from the components: a total that the host reports wrong does not matter. */
static uint32_t add_xstate(struct builder *b)
{
	const uint32_t first = b->count;
	struct guest_cpuid_entry *area;

	if (!(b->with & WITH_XSAVE))
		return XSAVE_LEGACY_SIZE;
	area = add_empty(b, LEAF_XSTATE, 0, GUEST_CPUID_INDEXED | GUEST_CPUID_XSAVE_SIZE);
	add(b, LEAF_XSTATE, 1, GUEST_CPUID_INDEXED | GUEST_CPUID_XSAVEC_SIZE);
	for (uint32_t i = 2; i <= HIGHEST_COMPONENT; i++)
		add_component(b, i);
	if (b->count > b->capacity)
		return 0;
	area = &b->table[first];
	area->eax = (uint32_t)b->xcr0;
	area->ecx = cpuid_xsave_size(area, b->xcr0);
	return area->ecx;
}

/*
 * Guests take leaf 0x16 for the TSC's frequency, so it is that, where the host knows it; what the CPU
 * itself says is its name plate.
 */
static void add_frequency(struct builder *b)
{
	const uint64_t mhz = (b->config->tsc_khz + 500) / 1000;
	struct guest_cpuid_entry *entry;

	add_empty(b, 0x15, 0, 0);
	entry = add(b, LEAF_FREQUENCY, 0, 0);
	if (mhz && mhz <= 0xffff)
		entry->eax = (uint32_t)mhz;
	else if (entry->eax == 0)
		entry->eax = FALLBACK_MHZ;
}

/* The name under which upstream's guests know the hypervisor. No interface of anybody's is offered. */
static void add_hypervisor(struct builder *b)
{
	struct guest_cpuid_entry *entry = add_empty(b, LEAF_HYPERVISOR, 0, 0);

	entry->eax = HIGHEST_HYPERVISOR;
	entry->ebx = 0x524d5652; /* "RVMRVMRVMRVM" */
	entry->ecx = 0x56524d56;
	entry->edx = 0x4d56524d;
	add_empty(b, HIGHEST_HYPERVISOR, 0, 0);
}

static uint32_t cpu_physical_bits(const struct builder *b)
{
	uint32_t out[4], bits = 36;

	host_leaf(b, LEAF_SIZES, 0, out);
	if (b->host_extended >= LEAF_SIZES)
		bits = out[EAX] & 0xff;
	if (bits > 52)
		return 52;
	return bits < 32 ? 32 : bits;
}

static uint32_t physical_bits(const struct builder *b)
{
	const uint32_t bits = cpu_physical_bits(b), wanted = b->config->physical_bits;

	if (wanted < 32)
		return 32;
	return bits < wanted ? bits : wanted;
}

static bool host_has_la57(const struct builder *b)
{
	uint32_t out[4];

	host_leaf(b, 7, 0, out);
	return out[ECX] & CPUID_7_ECX_LA57;
}

static uint32_t linear_bits(const struct builder *b)
{
	return b->with & WITH_LA57 && host_has_la57(b) ? 57 : 48;
}

static bool host_has_lam(const struct builder *b)
{
	uint32_t out[4];

	host_leaf(b, 7, 0, out);
	if (out[EAX] == 0)
		return false;
	host_leaf(b, 7, 1, out);
	return out[EAX] & CPUID_7_1_EAX_LAM;
}

static bool is_intel(const struct guest_cpuid_entry *vendor)
{
	return vendor->ebx == 0x756e6547 && vendor->edx == 0x49656e69 && vendor->ecx == 0x6c65746e;
}

/* AMD's CPUs repeat in leaf 80000001H that there is a local APIC (APM Vol. 3, E.4.2). */
static void repeat_apic(const struct builder *b, struct guest_cpuid_entry *entry)
{
	uint32_t out[4];

	host_leaf(b, LEAF_EXTENDED + 1, 0, out);
	if (!b->config->apic || !(out[EDX] & CPUID_1_EDX_APIC))
		return;
	entry->edx |= CPUID_1_EDX_APIC;
	entry->flags |= GUEST_CPUID_APIC;
}

/* Intel's CPUs have SYSCALL in 64-bit mode only, and its flag is 0 elsewhere (SDM Vol. 2, CPUID). */
static void add_extended_flags(const struct builder *b, struct guest_cpuid_entry *entry)
{
	repeat_apic(b, entry);
	entry->flags |= GUEST_CPUID_XD;
	if (is_intel(&b->table[0]))
		entry->flags |= GUEST_CPUID_SYSCALL;
}

/* Intel's CPUs end at the sizes of addresses. The leaves of AMD's between them and the last are zeros for a guest. */
static uint32_t highest_extended(const struct builder *b)
{
	if (b->host_extended >= LEAF_EXTENDED_FEATURES && !is_intel(&b->table[0]))
		return LEAF_EXTENDED_FEATURES;
	return b->host_extended < LEAF_SIZES ? larger(b->host_extended, LEAF_EXTENDED) : LEAF_SIZES;
}

static void add_extended(struct builder *b)
{
	const uint32_t highest = highest_extended(b);

	add(b, LEAF_EXTENDED, 0, 0)->eax = highest;
	if (highest == LEAF_EXTENDED_FEATURES)
		add(b, LEAF_EXTENDED_FEATURES, 0, 0);
	for (uint32_t leaf = LEAF_EXTENDED + 1; leaf <= highest && leaf <= LEAF_SIZES; leaf++) {
		struct guest_cpuid_entry *entry = add(b, leaf, 0, 0);

		if (leaf == LEAF_EXTENDED + 1)
			add_extended_flags(b, entry);
		if (leaf == LEAF_SIZES)
			entry->eax = linear_bits(b) << 8 | physical_bits(b);
	}
}

static void add_all(struct builder *b, struct guest_limits *limits)
{
	add(b, 0, 0, GUEST_CPUID_LIMIT)->eax = HIGHEST_BASIC;
	add_features(b);
	add(b, 2, 0, 0);
	add_caches(b);
	add_power(b);
	add_extended_features(b);
	add_topology(b);
	limits->xsave_size = add_xstate(b);
	add_frequency(b);
	add_hypervisor(b);
	add_extended(b);
}

/* ---- The limits ------------------------------------------------------------------------------------ */

static bool has(const struct builder *b, const struct cpuid_mask *feature)
{
	for (uint32_t i = 0; i < b->count; i++)
		if (b->table[i].leaf == feature->leaf && b->table[i].subleaf == feature->subleaf)
			return *entry_word(&b->table[i], feature->word) & feature->mask;
	return false;
}

static uint64_t existing_bits(const struct builder *b, const struct enable_bit *bits, uint32_t count)
{
	uint64_t mask = 0;

	for (uint32_t i = 0; i < count; i++)
		if (has(b, &bits[i].feature))
			mask |= bits[i].bits;
	return mask;
}

static void derive_limits(const struct builder *b, struct guest_limits *limits)
{
	limits->cr0 = CR0_DEFINED;
	limits->cr4 = CR4_PCE | existing_bits(b, cpuid_cr4_bits, cpuid_cr4_bit_count);
	limits->efer = existing_bits(b, cpuid_efer_bits, cpuid_efer_bit_count);
	limits->xcr0 = b->xcr0;
	limits->xss = 0;
	limits->physical_mask = (UINT64_C(1) << physical_bits(b)) - 1;
	limits->cpu_physical_mask = (UINT64_C(1) << cpu_physical_bits(b)) - 1;
	limits->cr3_lam = host_has_lam(b) ? CR3_LAM_U57 | CR3_LAM_U48 : 0;
	limits->linear_bits = host_has_la57(b) ? 57 : 48;
	limits->rdtscp = has(b, &(struct cpuid_mask){0x80000001, 0, EDX, CPUID_80000001_EDX_RDTSCP}) ||
			 has(b, &(struct cpuid_mask){7, 0, ECX, CPUID_7_ECX_RDPID});
	limits->has_1g_pages = has(b, &(struct cpuid_mask){0x80000001, 0, EDX, CPUID_80000001_EDX_PAGE1GB});
	limits->has_nx = limits->efer & EFER_NXE;
	limits->has_long_mode = limits->efer & EFER_LME;
	limits->has_xsave = limits->cr4 & CR4_OSXSAVE;
	limits->has_xsaves = has(b, &(struct cpuid_mask){LEAF_XSTATE, 1, EAX, CPUID_D_1_EAX_XSAVES});
	limits->has_apic = b->config->apic;
	limits->arch_capabilities = has(b, &(struct cpuid_mask){7, 0, EDX, CPUID_7_EDX_ARCH_CAPABILITIES});
	limits->arch_capabilities_value = b->config->arch_capabilities & ARCH_CAPABILITIES_OF_GUEST;
	limits->spec_ctrl = existing_bits(b, cpuid_spec_ctrl_bits, cpuid_spec_ctrl_bit_count);
	limits->pred_cmd = existing_bits(b, cpuid_pred_cmd_bits, cpuid_pred_cmd_bit_count);
	limits->flush_cmd = has(b, &(struct cpuid_mask){7, 0, EDX, CPUID_7_EDX_L1D_FLUSH}) ? FLUSH_CMD_L1D : 0;
	limits->mtrr = has(b, &(struct cpuid_mask){1, 0, EDX, CPUID_1_EDX_MTRR});
	limits->intel = is_intel(&b->table[0]);
}

uint32_t cpuid_build(struct guest_cpuid_entry *table, uint32_t capacity, const struct cpuid_config *config,
		     struct guest_limits *limits)
{
	struct builder b = {.table = table, .capacity = capacity, .config = config};

	host_maxima(&b);
	b.xcr0 = supported_xcr0(&b);
	b.with = met_conditions(&b);
	add_all(&b, limits);
	if (b.count > capacity)
		return 0;
	derive_limits(&b, limits);
	return b.count;
}
