/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control registers. The rules are those of SDM 2.5, 4.1 and Vol. 2, "MOV - Move to/from Control
 * Registers"; everything that they forbid is #GP(0) and changes nothing.
 */
#include "emul/cr.h"

#include "cpu/x86.h"

#define CR8_TPR UINT64_C(0xf)
#define LMSW_BITS (CR0_PE | CR0_MP | CR0_EM | CR0_TS)

/* A change of these invalidates all translations (SDM 4.10.4.1). */
#define CR0_TRANSLATION CR0_PG
#define CR4_TRANSLATION (CR4_PGE | CR4_PSE | CR4_PAE | CR4_PCIDE | CR4_SMEP | CR4_LA57)

/* A change of these loads the page-directory pointers again (SDM 4.4.1). */
#define CR0_PDPTES (CR0_PG | CR0_CD | CR0_NW)
#define CR4_PDPTES (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP)

/* Types 1 and 3, available and busy: IA-32e mode has no 16-bit TSS (SDM 8.7). */
#define TYPE_TSS16 1u
#define TYPE_BUSY 2u

/* Bits that the CPU drops, as opposed to those that it refuses; ET reads as 1 (SDM 2.5). */
static uint64_t cr0_effective(const struct guest_limits *limits, uint64_t cr0)
{
	return (cr0 & (limits->cr0 | ~UINT64_C(0xffffffff))) | CR0_ET;
}

static bool cr0_valid(uint64_t cr0)
{
	if (cr0 >> 32)
		return false;
	if (cr0 & CR0_PG && !(cr0 & CR0_PE))
		return false;
	return !(cr0 & CR0_NW) || cr0 & CR0_CD;
}

/* Rules between CR0, CR4 and EFER.LMA, whichever was loaded last. */
static bool cr4_valid(const struct guest_limits *limits, uint64_t cr0, uint64_t cr4, uint64_t efer)
{
	if (cr4 & ~limits->cr4)
		return false;
	if (cr4 & CR4_CET && !(cr0 & CR0_WP))
		return false;
	if (efer & EFER_LMA)
		return cr4 & CR4_PAE;
	return !(cr4 & CR4_PCIDE);
}

/*
 * In IA-32e mode bits beyond the physical-address width are reserved (SDM 4.5, table 4-12). Elsewhere
 * the source has 32 bits, and what is above them was left by 64-bit mode. MOV to CR3 does not exit, so the width is
 * the CPU's, and so are the bits of linear-address masking.
 */
static bool cr3_valid(const struct guest_limits *limits, uint64_t cr3)
{
	return !(cr3 & ~(limits->cpu_physical_mask | limits->cr3_lam));
}

bool cr_state_valid(const struct guest_limits *limits, const struct cr_state *state)
{
	const bool lma = state->efer & EFER_LMA;
	const bool active = state->efer & EFER_LME && state->cr0 & CR0_PG;

	if (!cr0_valid(state->cr0) || state->cr0 & ~(limits->cr0 | CR0_ET))
		return false;
	if (state->efer & ~limits->efer || lma != active)
		return false;
	return cr4_valid(limits, state->cr0, state->cr4, state->efer) && cr3_valid(limits, state->cr3);
}

bool efer_write_valid(const struct guest_limits *limits, uint64_t old, uint64_t efer, uint64_t cr0)
{
	if (efer & ~(limits->efer | EFER_LMA))
		return false;
	return !(cr0 & CR0_PG) || !((efer ^ old) & EFER_LME);
}

bool cr_pae_paging(uint64_t cr0, uint64_t cr4, uint64_t efer)
{
	return cr0 & CR0_PG && cr4 & CR4_PAE && !(efer & EFER_LMA);
}

/* Against the CPU's width, because MOV to CR3 does not exit. */
bool cr_pdptes_valid(const struct guest_limits *limits, const uint64_t pdptes[4])
{
	const uint64_t reserved = PDPTE_PAE_RESERVED | ~limits->cpu_physical_mask;

	for (unsigned i = 0; i < 4; i++)
		if (pdptes[i] & PTE_P && pdptes[i] & reserved)
			return false;
	return true;
}

/* Addresses without memory read as ones, so pointers that are not there have reserved bits. */
bool cr_load_pdptes(struct guest *g, uint64_t cr3)
{
	uint64_t pdpte[4];

	if (guest_read_physical(g, cr3 & CR3_PAE_BASE, pdpte, sizeof(pdpte)) || !cr_pdptes_valid(&g->limits, pdpte))
		return false;
	for (unsigned i = 0; i < 4; i++)
		guest_set(g, G_PDPTE0 + i, pdpte[i]);
	return true;
}

/* SDM Vol. 2, MOV to CR: IA-32e mode begins neither in a segment with CS.L nor with a 16-bit TSS. */
static bool may_activate_long_mode(struct guest *g, uint64_t cr4)
{
	const uint64_t tr = guest_get(g, G_ACCESS + X86VCPU_SEGMENT_TR);

	if (!(cr4 & CR4_PAE) || guest_get(g, G_ACCESS + X86VCPU_SEGMENT_CS) & AR_L)
		return false;
	return (tr & AR_TYPE & ~TYPE_BUSY) != TYPE_TSS16;
}

/* Paging may not end in 64-bit mode, nor under process-context identifiers (SDM 4.1.2, 4.10.1). */
static bool may_stop_paging(struct guest *g, uint64_t cr4)
{
	return !(cr4 & CR4_PCIDE) && !guest_in_64bit_mode(g);
}

static bool may_change_paging(struct guest *g, uint64_t cr0, uint64_t cr4, uint64_t efer)
{
	if (!(cr0 & CR0_PG))
		return may_stop_paging(g, cr4);
	return !(efer & EFER_LME) || may_activate_long_mode(g, cr4);
}

static int load_cr0(struct guest *g, uint64_t value)
{
	const uint64_t old = guest_get(g, G_CR0);
	const uint64_t cr4 = guest_get(g, G_CR4);
	uint64_t efer = guest_get(g, G_EFER);
	const uint64_t cr0 = cr0_effective(&g->limits, value);

	if (!cr0_valid(cr0) || (cr4 & CR4_CET && !(cr0 & CR0_WP)))
		return EMUL_GP;
	if ((cr0 ^ old) & CR0_PG) {
		if (!may_change_paging(g, cr0, cr4, efer))
			return EMUL_GP;
		efer &= ~EFER_LMA;
		efer |= efer & EFER_LME && cr0 & CR0_PG ? EFER_LMA : 0;
	}
	if ((cr0 ^ old) & CR0_PDPTES && cr_pae_paging(cr0, cr4, efer) &&
	    !cr_load_pdptes(g, guest_get(g, G_CR3)))
		return EMUL_GP;
	guest_update(g, G_EFER, efer);
	guest_set(g, G_CR0, cr0);
	if ((cr0 ^ old) & CR0_TRANSLATION)
		g->flush_tlb = true;
	return EMUL_NEXT;
}

/* Bit 63 asks to keep translations and is not stored; they are dropped nevertheless, which is allowed. */
static int load_cr3(struct guest *g, uint64_t value)
{
	const uint64_t cr4 = guest_get(g, G_CR4);
	const uint64_t efer = guest_get(g, G_EFER);

	if (cr4 & CR4_PCIDE)
		value &= ~CR3_NO_FLUSH;
	if (!cr3_valid(&g->limits, value))
		return EMUL_GP;
	if (cr_pae_paging(guest_get(g, G_CR0), cr4, efer) && !cr_load_pdptes(g, value))
		return EMUL_GP;
	guest_set(g, G_CR3, value);
	g->flush_tlb = true;
	return EMUL_NEXT;
}

/* In IA-32e mode LA57 is fixed; PCIDE begins there only, with PCID 0 (SDM 4.10.1). */
static bool may_change_cr4(struct guest *g, uint64_t old, uint64_t cr4, uint64_t efer)
{
	if (efer & EFER_LMA && (cr4 ^ old) & CR4_LA57)
		return false;
	return !(cr4 & ~old & CR4_PCIDE) || !(guest_get(g, G_CR3) & CR3_PCID);
}

static int load_cr4(struct guest *g, uint64_t cr4)
{
	const uint64_t old = guest_get(g, G_CR4);
	const uint64_t cr0 = guest_get(g, G_CR0);
	const uint64_t efer = guest_get(g, G_EFER);

	if (!cr4_valid(&g->limits, cr0, cr4, efer) || !may_change_cr4(g, old, cr4, efer))
		return EMUL_GP;
	if ((cr4 ^ old) & CR4_PDPTES && cr_pae_paging(cr0, cr4, efer) &&
	    !cr_load_pdptes(g, guest_get(g, G_CR3)))
		return EMUL_GP;
	guest_set(g, G_CR4, cr4);
	if ((cr4 ^ old) & CR4_TRANSLATION)
		g->flush_tlb = true;
	return EMUL_NEXT;
}

/* It is the upper half of the task-priority register (SDM 12.8.6). */
static int load_cr8(struct guest *g, uint64_t value)
{
	if (value & ~CR8_TPR)
		return EMUL_GP;
	lapic_set_tpr(g, (uint32_t)value << 4);
	return EMUL_NEXT;
}

int emul_mov_to_cr(struct guest *g, unsigned cr, uint64_t value)
{
	const bool wide = guest_in_64bit_mode(g);

	if (cr != 0 && cr != 3 && cr != 4 && !(cr == 8 && wide))
		return EMUL_UD;
	if (guest_cpl(g))
		return EMUL_GP;
	if (!wide)
		value = (uint32_t)value;
	switch (cr) {
	case 0:
		return load_cr0(g, value);
	case 3:
		return load_cr3(g, value);
	case 4:
		return load_cr4(g, value);
	default:
		return load_cr8(g, value);
	}
}

static uint64_t store_cr(struct guest *g, unsigned cr)
{
	switch (cr) {
	case 0:
		return guest_get(g, G_CR0);
	case 2:
		return g->cr2;
	case 3:
		return guest_get(g, G_CR3);
	case 4:
		return guest_get(g, G_CR4);
	default:
		return *g->lapic.tpr >> 4 & 15;
	}
}

int emul_mov_from_cr(struct guest *g, unsigned cr, uint64_t *value)
{
	const bool wide = guest_in_64bit_mode(g);

	if (cr == 1 || cr > 8 || (cr > 4 && cr < 8) || (cr == 8 && !wide))
		return EMUL_UD;
	if (guest_cpl(g))
		return EMUL_GP;
	*value = wide ? store_cr(g, cr) : (uint32_t)store_cr(g, cr);
	return EMUL_NEXT;
}

int emul_clts(struct guest *g)
{
	if (guest_cpl(g))
		return EMUL_GP;
	guest_update(g, G_CR0, guest_get(g, G_CR0) & ~CR0_TS);
	return EMUL_NEXT;
}

/* SDM Vol. 2, LMSW: bits 3:0 only, and PE is never cleared. */
int emul_lmsw(struct guest *g, uint16_t source)
{
	const uint64_t cr0 = guest_get(g, G_CR0);

	if (guest_cpl(g))
		return EMUL_GP;
	guest_update(g, G_CR0, (cr0 & ~(LMSW_BITS & ~CR0_PE)) | (source & LMSW_BITS));
	return EMUL_NEXT;
}
