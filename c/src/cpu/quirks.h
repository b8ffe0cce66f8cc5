/* SPDX-License-Identifier: Apache-2.0 */
/* Faults of emulated CPUs that the SVM backend works around. A real CPU has none of them. */
#ifndef CPU_QUIRKS_H
#define CPU_QUIRKS_H

#include <stdint.h>

/* VMRUN ignores VMCB.INTERRUPT_SHADOW. */
#define QUIRK_SHADOW_LOST (1u << 0)
/* An interrupt in EVENTINJ is delivered again if the CPU is kicked before the guest's next exit or exception. */
#define QUIRK_INTERRUPT_TWICE (1u << 1)
/* VMRUN does not load CR2 from the VMCB. */
#define QUIRK_CR2_NOT_LOADED (1u << 2)
/* The #DB of a guest's single step is raised again in the host after its #VMEXIT. */
#define QUIRK_STEP_LEAKS (1u << 3)

/* XSETBV is not intercepted. */
#define QUIRK_XSETBV_UNSEEN (1u << 4)

/* Returns the QUIRK_ bits of the executing CPU, which has SVM. */
uint32_t quirks_detect(void);

#endif
