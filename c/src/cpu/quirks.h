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
/* The #DB of a guest's single step is raised again in the host after its #VMEXIT, and the VMCB's DR6 does not have it. */
#define QUIRK_STEP_LEAKS (1u << 3)
/* A breakpoint of DR7 that VMRUN loads hits nothing, or the VMCB's DR6 does not say which. */
#define QUIRK_NO_BREAKPOINTS (1u << 4)
/* INT3 is intercepted as INT n, and not as the exception #BP. */
#define QUIRK_INT3_IS_INTN (1u << 5)
/* XSETBV is not intercepted. */
#define QUIRK_XSETBV_UNSEEN (1u << 6)

/* Returns the QUIRK_ bits of the executing CPU, which has SVM. */
uint32_t quirks_detect(void);

#endif
