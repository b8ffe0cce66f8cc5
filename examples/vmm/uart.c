/* SPDX-License-Identifier: Apache-2.0 */
/* The 8250: register numbers and bits as in National's PC16550D data sheet, section 8. */
#include "uart.h"

enum {
	DATA = 0, /* with LCR.DLAB: divisor, low byte */
	IER = 1,  /* with LCR.DLAB: divisor, high byte */
	IIR = 2,
	LCR = 3,
	MCR = 4,
	LSR = 5,
	MSR = 6,
	SCRATCH = 7,
};

#define IER_TRANSMITTER 0x02
#define IIR_NONE 0x01
#define IIR_TRANSMITTER 0x02
#define LCR_8_BITS 0x03
#define LCR_DLAB 0x80
#define MCR_LOOP 0x10
#define LSR_EMPTY 0x60 /* holding register and shift register */
#define MSR_READY 0xb0 /* carrier, DSR, CTS */

void uart_reset(struct uart *uart)
{
	*uart = (struct uart){ .lcr = LCR_8_BITS, .divisor = 1 };
}

static void write_data(struct uart *uart, uint8_t value, void (*send)(uint8_t byte))
{
	if (uart->lcr & LCR_DLAB) {
		uart->divisor = (uint16_t)((uart->divisor & 0xff00) | value);
		return;
	}
	if (!(uart->mcr & MCR_LOOP))
		send(value);
	uart->transmitter_event = true;
}

static void write_ier(struct uart *uart, uint8_t value)
{
	if (uart->lcr & LCR_DLAB) {
		uart->divisor = (uint16_t)((uart->divisor & 0x00ff) | value << 8);
		return;
	}
	/* Enabling the interrupt while the transmitter is empty raises it at once. */
	if ((value & ~uart->ier) & IER_TRANSMITTER)
		uart->transmitter_event = true;
	uart->ier = value & 0x0f;
}

void uart_write(struct uart *uart, uint16_t port, uint8_t value, void (*send)(uint8_t byte))
{
	switch (port & 7) {
	case DATA:
		write_data(uart, value, send);
		break;
	case IER:
		write_ier(uart, value);
		break;
	case LCR:
		uart->lcr = value;
		break;
	case MCR:
		uart->mcr = value & 0x1f;
		break;
	case SCRATCH:
		uart->scratch = value;
		break;
	default: /* there is no FIFO to control; LSR and MSR are read-only */
		break;
	}
}

static uint8_t read_iir(struct uart *uart)
{
	if (!uart_irq(uart))
		return IIR_NONE;
	uart->transmitter_event = false;
	return IIR_TRANSMITTER;
}

/* In loop-back mode the modem lines show what MCR drives: RTS, DTR, OUT1, OUT2. */
static uint8_t read_msr(const struct uart *uart)
{
	const uint8_t mcr = uart->mcr;

	if (!(mcr & MCR_LOOP))
		return MSR_READY;
	return (uint8_t)((mcr & 0x02) << 3 | (mcr & 0x01) << 5 | (mcr & 0x0c) << 4);
}

uint8_t uart_read(struct uart *uart, uint16_t port)
{
	const bool dlab = uart->lcr & LCR_DLAB;

	switch (port & 7) {
	case DATA:
		return dlab ? (uint8_t)uart->divisor : 0;
	case IER:
		return dlab ? (uint8_t)(uart->divisor >> 8) : uart->ier;
	case IIR:
		return read_iir(uart);
	case LCR:
		return uart->lcr;
	case MCR:
		return uart->mcr;
	case LSR:
		return LSR_EMPTY;
	case MSR:
		return read_msr(uart);
	default:
		return uart->scratch;
	}
}

bool uart_irq(const struct uart *uart)
{
	return uart->transmitter_event && (uart->ier & IER_TRANSMITTER);
}
