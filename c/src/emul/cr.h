/* SPDX-License-Identifier: Apache-2.0 */
/* Control registers: what a guest may load into them, and what follows from it. */
#ifndef EMUL_CR_H
#define EMUL_CR_H

#include "emul/guest.h"

/*
 * MOV to CR0, CR3, CR4, CR8 and its relatives. The fault of a CPL above 0 comes before the exit on both
 * vendors' CPUs (SDM 26.1.1, APM table 15-7); emulators have got that wrong, so it is checked again.
 * When they changed what translations mean, g->flush_tlb is set.
 */
int emul_mov_to_cr(struct guest *g, unsigned cr, uint64_t value);
int emul_mov_from_cr(struct guest *g, unsigned cr, uint64_t *value);
int emul_clts(struct guest *g);
int emul_lmsw(struct guest *g, uint16_t source);

/* Control registers that belong together. `efer` with LMA. */
struct cr_state {
	uint64_t cr0, cr3, cr4, efer;
};

/* Whether a guest can ever be in this state (SDM 2.5, 4.1; 27.3.1.1 asks for the same). */
bool cr_state_valid(const struct guest_limits *limits, const struct cr_state *state);

/* Bits of EFER that exist, and LME may not change while paging is on (SDM 2.2.1, 4.1). LMA is ignored. */
bool efer_write_valid(const struct guest_limits *limits, uint64_t old, uint64_t efer, uint64_t cr0);

/*
 * Loads the four page-directory pointers that `cr3` points to with PAE paging (SDM 4.4.1) into
 * G_PDPTE0 to 3. False, and nothing changes, when one of them is present with reserved bits set.
 */
bool cr_load_pdptes(struct guest *g, uint64_t cr3);

/* No present entry has reserved bits (SDM 4.4.1). */
bool cr_pdptes_valid(const struct guest_limits *limits, const uint64_t pdptes[4]);

/* Whether these registers mean PAE paging: paging with PAE outside IA-32e mode. */
bool cr_pae_paging(uint64_t cr0, uint64_t cr4, uint64_t efer);

#endif
