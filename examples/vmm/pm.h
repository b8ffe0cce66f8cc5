/* SPDX-License-Identifier: Apache-2.0 */
/* ACPI's fixed hardware (ACPI 6.4, 4.8): PM1 event and control registers, power management timer. */
#ifndef VMM_PM_H
#define VMM_PM_H

#include <stdbool.h>
#include <stdint.h>

#define PM_EVENT 0x600   /* status, and enable at 0x602 */
#define PM_CONTROL 0x604 /* where QEMU's q35 has it */
#define PM_TIMER 0x608
#define PM_LAST 0x60b
#define PM_SCI 9

struct pm {
	uint16_t enable, control;
	bool off; /* the guest switched the machine off */
};

void pm_reset(struct pm *pm);
void pm_write(struct pm *pm, uint16_t port, uint32_t value);
uint32_t pm_read(const struct pm *pm, uint16_t port, uint64_t now_ns);

#endif
