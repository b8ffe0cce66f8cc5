/* SPDX-License-Identifier: Apache-2.0 */
/* The 8042 at ports 0x60 and 0x64, with a keyboard that nobody types on. */
#ifndef VMM_KBD_H
#define VMM_KBD_H

#include <stdbool.h>
#include <stdint.h>

#define KBD_DATA 0x60
#define KBD_COMMAND 0x64
#define KBD_IRQ 1

#define KBD_QUEUE 8u

struct kbd {
	uint8_t mode;     /* the command byte: bit 0 interrupt, bit 2 system flag, bit 4 keyboard off */
	uint8_t command;  /* that waits for its data byte; 0: none */
	uint8_t queue[KBD_QUEUE];
	unsigned count;
	bool last_was_command;
	bool reset; /* somebody asked for a reset of the machine */
};

void kbd_reset(struct kbd *kbd);
void kbd_write(struct kbd *kbd, uint16_t port, uint8_t value);
uint8_t kbd_read(struct kbd *kbd, uint16_t port);
bool kbd_irq(const struct kbd *kbd);

#endif
