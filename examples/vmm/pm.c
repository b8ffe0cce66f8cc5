/* SPDX-License-Identifier: Apache-2.0 */
/* There are no buttons and no sleep but soft-off, so no event ever comes, and the SCI stays low. */
#include "pm.h"

#define CONTROL_SCI_ENABLE 0x0001 /* ACPI mode, always */
#define CONTROL_SLEEP_TYPE 0x1c00
#define CONTROL_SLEEP 0x2000
#define TIMER_HZ UINT64_C(3579545)
#define SECOND_NS UINT64_C(1000000000)

void pm_reset(struct pm *pm)
{
	*pm = (struct pm){ 0 };
}

void pm_write(struct pm *pm, uint16_t port, uint32_t value)
{
	if (port == PM_EVENT + 2)
		pm->enable = (uint16_t)value;
	if (port != PM_CONTROL)
		return;
	pm->control = value & CONTROL_SLEEP_TYPE;
	pm->off |= (value & CONTROL_SLEEP) != 0;
}

static uint32_t timer(uint64_t ns)
{
	return (uint32_t)(ns / SECOND_NS * TIMER_HZ + ns % SECOND_NS * TIMER_HZ / SECOND_NS) & 0xffffff;
}

uint32_t pm_read(const struct pm *pm, uint16_t port, uint64_t now_ns)
{
	switch (port) {
	case PM_EVENT:
		return (uint32_t)pm->enable << 16;
	case PM_EVENT + 2:
		return pm->enable;
	case PM_CONTROL:
		return pm->control | CONTROL_SCI_ENABLE;
	case PM_TIMER:
		return timer(now_ns);
	default:
		return 0;
	}
}
