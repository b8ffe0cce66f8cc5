/* SPDX-License-Identifier: Apache-2.0 */
/* A 16550A at 0x3f8 whose transmitter is always empty. What comes in waits in a buffer of its own. */
#ifndef VMM_UART_H
#define VMM_UART_H

#include <stdbool.h>
#include <stdint.h>

#define UART_BASE 0x3f8
#define UART_LAST 0x3ff
#define UART_IRQ 4

#define UART_FIFO 16u
#define UART_INPUT 256u /* a power of two */

struct uart {
	uint8_t ier, lcr, mcr, scratch;
	uint8_t errors; /* LSR bits that a read of LSR clears */
	uint8_t deltas; /* MSR bits that a read of MSR clears */
	uint8_t trigger; /* bytes that raise the interrupt */
	uint16_t divisor;
	bool fifo;              /* FCR: FIFOs are on */
	bool transmitter_event; /* the interrupt "holding register empty" has not been seen yet */
	bool receiver_used;     /* the receiver's interrupt was enabled once: nobody polls */
	uint8_t looped[UART_FIFO]; /* the receiver's FIFO: what loop-back mode has sent */
	unsigned looped_count;
	uint8_t input[UART_INPUT]; /* the console's input, as a ring */
	unsigned input_head, input_count;
};

/* As firmware leaves it: 115200 baud, 8 bits. Software divides by the divisor that it finds. */
void uart_reset(struct uart *uart);
/* A byte written for transmission is handed to `send`. */
void uart_write(struct uart *uart, uint16_t port, uint8_t value, void (*send)(uint8_t byte));
uint8_t uart_read(struct uart *uart, uint16_t port);
bool uart_irq(const struct uart *uart);

/* Whether uart_receive has room for a byte; and the byte, from the line. */
bool uart_has_room(const struct uart *uart);
void uart_receive(struct uart *uart, uint8_t byte);
/* Whether a byte that comes in now can interrupt. */
bool uart_wants_input(const struct uart *uart);

#endif
