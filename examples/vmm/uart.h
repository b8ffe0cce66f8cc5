/* SPDX-License-Identifier: Apache-2.0 */
/* An 8250 at 0x3f8 whose transmitter is always empty and whose receiver never has anything. */
#ifndef VMM_UART_H
#define VMM_UART_H

#include <stdbool.h>
#include <stdint.h>

#define UART_BASE 0x3f8
#define UART_LAST 0x3ff
#define UART_IRQ 4

struct uart {
	uint8_t ier, lcr, mcr, scratch;
	uint16_t divisor;
	bool transmitter_event; /* the interrupt "holding register empty" has not been seen yet */
};

/* As firmware leaves it: 115200 baud, 8 bits. Software divides by the divisor that it finds. */
void uart_reset(struct uart *uart);
/* A byte written for transmission is handed to `send`. */
void uart_write(struct uart *uart, uint16_t port, uint8_t value, void (*send)(uint8_t byte));
uint8_t uart_read(struct uart *uart, uint16_t port);
bool uart_irq(const struct uart *uart);

#endif
