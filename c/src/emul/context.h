/* SPDX-License-Identifier: Apache-2.0 */
/*
 * State that neither a VMCS nor a VMCB switches: x87 to AVX-512 registers, XCR0, IA32_XSS,
 * IA32_TSC_AUX, and DR0 to DR3 with DR6. Loaded when a run begins, stored when it ends, so that
 * neither the host nor another guest ever sees it; all but the debug registers stay loaded for a host that
 * promised not to look (X86VCPU_SETUP_KEEP_CONTEXT).
 */
#ifndef EMUL_CONTEXT_H
#define EMUL_CONTEXT_H

#include "emul/guest.h"

/* Bits of CR4 that the host needs so that the extended state can be switched: XSAVE's, or FXSAVE's. */
uint64_t context_host_cr4(void);

/* Two images of the size that CPUID gives. On the CPU whose kind will run the guest. */
int32_t context_create(struct guest *g);
void context_destroy(struct guest *g);
/* The state after reset. */
void context_reset(struct guest *g);

/* At bind: XSETBV does not exit, so the guest may enable what it likes. */
void context_cannot_see_xcr0(struct guest *g);

/* The guest's image while it is not loaded: its size, a copy, and its replacement; false: XRSTOR would fault. */
uint64_t context_image_bytes(const struct guest *g);
void context_save(const struct guest *g, void *image);
bool context_restore(struct guest *g, const void *image);

/*
 * The guest's registers for an instruction under emulation. read_image brings the image up to date if the CPU holds them,
 * and write_image gives them back changed. Between the two, a component's registers stand at context_component, which is
 * NULL in the initial configuration, or at context_change_component. Components are numbered as in XCR0.
 */
void context_read_image(struct guest *g);
void context_write_image(struct guest *g);
const uint8_t *context_component(const struct guest *g, unsigned component);
uint8_t *context_change_component(struct guest *g, unsigned component);

/* The guest's PKRU. 0 if it has none. */
uint32_t context_pkru(struct guest *g);

/* Reads what the host does not change before it unbinds: IA32_XSS, IA32_TSC_AUX. */
void context_bind(struct guest *g);

/* IRQs off between load and store, but where it is kept. load clears CR0.TS; store sets it again. */
void context_load(struct guest *g);
void context_store(struct guest *g);
/* The debug registers' part, at the end of a run that has loaded them. */
void context_store_drs(struct guest *g);

/* The guest's XCR0 changed while it is loaded: by emulation, or by itself (context_cannot_see_xcr0). */
void context_load_xcr0(struct guest *g);
void context_read_xcr0(struct guest *g);
/* The guest's TSC_AUX or XSS changed while it is loaded. */
void context_load_msrs(struct guest *g);
/* The guest uses debug registers: from now to the end of the run the CPU holds them. */
void context_load_drs(struct guest *g);

#endif
