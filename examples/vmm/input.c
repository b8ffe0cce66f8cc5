/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's console input: raw bytes that come in at this machine's own COM1. */
#include "vmm.h"

#define COM1 0x3f8
#define DATA (COM1 + 0)
#define IER (COM1 + 1)
#define LCR (COM1 + 3)
#define MCR (COM1 + 4)
#define LSR (COM1 + 5)
#define LCR_DLAB 0x80
#define LCR_8_BITS 0x03
#define LSR_DATA 0x01
#define NOBODY 0xff /* what a port without a device reads as */

/* The FIFO stays off: switching it on would lose what has come already. */
void input_init(void)
{
	outb(IER, 0);
	outb(LCR, LCR_DLAB);
	outb(DATA, 1); /* 115200 baud */
	outb(IER, 0);
	outb(LCR, LCR_8_BITS);
	outb(MCR, 0x03); /* DTR, RTS: whoever sends may begin */
}

void input_poll(struct uart *uart)
{
	while (uart_has_room(uart)) {
		const uint8_t status = inb(LSR);

		if (status == NOBODY || !(status & LSR_DATA))
			return;
		uart_receive(uart, inb(DATA));
	}
}
