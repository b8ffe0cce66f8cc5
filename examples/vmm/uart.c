/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The 16550A: register numbers and bits as in National's PC16550D data sheet, section 8.
 *
 * Console input may have been typed long before the guest looks for it. It is shown to the receiver only while
 * the guest can take it: its interrupt is enabled, or never was and the guest polls. Clearing the FIFO, which
 * drivers do when they open the port, does not lose it.
 */
#include "uart.h"

enum {
	DATA = 0, /* with LCR.DLAB: divisor, low byte */
	IER = 1,  /* with LCR.DLAB: divisor, high byte */
	IIR = 2,  /* written: FCR */
	LCR = 3,
	MCR = 4,
	LSR = 5,
	MSR = 6,
	SCRATCH = 7,
};

#define IER_RECEIVER 0x01
#define IER_TRANSMITTER 0x02
#define IER_LINE 0x04
#define IER_MODEM 0x08
#define IIR_MODEM 0x00
#define IIR_NONE 0x01
#define IIR_TRANSMITTER 0x02
#define IIR_RECEIVER 0x04
#define IIR_LINE 0x06
#define IIR_TIMEOUT 0x0c
#define IIR_FIFO 0xc0
#define FCR_ENABLE 0x01
#define FCR_CLEAR_RECEIVER 0x02
#define LCR_8_BITS 0x03
#define LCR_DLAB 0x80
#define MCR_LOOP 0x10
#define LSR_DATA 0x01
#define LSR_OVERRUN 0x02
#define LSR_EMPTY 0x60 /* holding register and shift register */
#define MSR_READY 0xb0 /* carrier, DSR, CTS */

void uart_reset(struct uart *uart)
{
	*uart = (struct uart){ .lcr = LCR_8_BITS, .divisor = 1, .trigger = 1 };
}

/* ---- The receiver --------------------------------------------------------------------------------- */

static unsigned received(const struct uart *uart)
{
	const bool taken = (uart->ier & IER_RECEIVER) || !uart->receiver_used;

	return uart->looped_count + (taken && !(uart->mcr & MCR_LOOP) ? uart->input_count : 0);
}

static uint8_t read_received(struct uart *uart)
{
	uint8_t byte;

	if (!received(uart))
		return 0;
	if (uart->looped_count) {
		byte = uart->looped[0];
		uart->looped_count--;
		for (unsigned i = 0; i < uart->looped_count; i++)
			uart->looped[i] = uart->looped[i + 1];
		return byte;
	}
	byte = uart->input[uart->input_head];
	uart->input_head = (uart->input_head + 1) % UART_INPUT;
	uart->input_count--;
	return byte;
}

static void loop_back(struct uart *uart, uint8_t byte)
{
	const unsigned room = uart->fifo ? UART_FIFO : 1;

	if (uart->looped_count == room) {
		uart->errors |= LSR_OVERRUN;
		if (uart->fifo)
			return; /* the FIFO keeps what it has, the single register takes the new one */
		uart->looped_count = 0;
	}
	uart->looped[uart->looped_count++] = byte;
}

bool uart_has_room(const struct uart *uart)
{
	return uart->input_count < UART_INPUT;
}

void uart_receive(struct uart *uart, uint8_t byte)
{
	if (uart_has_room(uart))
		uart->input[(uart->input_head + uart->input_count++) % UART_INPUT] = byte;
}

bool uart_wants_input(const struct uart *uart)
{
	return uart->ier & IER_RECEIVER;
}

/* ---- Registers ------------------------------------------------------------------------------------ */

/* In loop-back mode the modem lines show what MCR drives: RTS, DTR, OUT1, OUT2. */
static uint8_t modem_lines(const struct uart *uart)
{
	const uint8_t mcr = uart->mcr;

	if (!(mcr & MCR_LOOP))
		return MSR_READY;
	return (uint8_t)((mcr & 0x02) << 3 | (mcr & 0x01) << 5 | (mcr & 0x0c) << 4);
}

static void write_data(struct uart *uart, uint8_t value, void (*send)(uint8_t byte))
{
	if (uart->lcr & LCR_DLAB) {
		uart->divisor = (uint16_t)((uart->divisor & 0xff00) | value);
		return;
	}
	if (uart->mcr & MCR_LOOP)
		loop_back(uart, value);
	else
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
	uart->receiver_used |= uart->ier & IER_RECEIVER;
}

/* Switching the FIFOs on or off clears them. */
static void write_fcr(struct uart *uart, uint8_t value)
{
	static const uint8_t triggers[4] = { 1, 4, 8, 14 };
	const bool on = value & FCR_ENABLE;

	if (on != uart->fifo || (on && (value & FCR_CLEAR_RECEIVER)))
		uart->looped_count = 0;
	uart->fifo = on;
	uart->trigger = on ? triggers[value >> 6] : 1;
}

/* Carrier, DSR and CTS tell any change, the ring indicator its end. */
static void write_mcr(struct uart *uart, uint8_t value)
{
	const uint8_t before = modem_lines(uart);
	uint8_t changed;

	uart->mcr = value & 0x1f;
	changed = before ^ modem_lines(uart);
	changed &= (uint8_t)(0xb0 | (before & 0x40));
	uart->deltas |= changed >> 4;
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
	case IIR:
		write_fcr(uart, value);
		break;
	case LCR:
		uart->lcr = value;
		break;
	case MCR:
		write_mcr(uart, value);
		break;
	case SCRATCH:
		uart->scratch = value;
		break;
	default: /* LSR and MSR are read-only */
		break;
	}
}

/* The cause of the highest priority. */
static uint8_t cause(const struct uart *uart)
{
	if ((uart->ier & IER_LINE) && uart->errors)
		return IIR_LINE;
	if ((uart->ier & IER_RECEIVER) && received(uart))
		return received(uart) >= uart->trigger ? IIR_RECEIVER : IIR_TIMEOUT;
	if ((uart->ier & IER_TRANSMITTER) && uart->transmitter_event)
		return IIR_TRANSMITTER;
	if ((uart->ier & IER_MODEM) && uart->deltas)
		return IIR_MODEM;
	return IIR_NONE;
}

static uint8_t read_iir(struct uart *uart)
{
	const uint8_t value = cause(uart);

	if (value == IIR_TRANSMITTER)
		uart->transmitter_event = false;
	return value | (uart->fifo ? IIR_FIFO : 0);
}

static uint8_t read_lsr(struct uart *uart)
{
	const uint8_t value = LSR_EMPTY | uart->errors | (received(uart) ? LSR_DATA : 0);

	uart->errors = 0;
	return value;
}

static uint8_t read_msr(struct uart *uart)
{
	const uint8_t value = modem_lines(uart) | uart->deltas;

	uart->deltas = 0;
	return value;
}

uint8_t uart_read(struct uart *uart, uint16_t port)
{
	const bool dlab = uart->lcr & LCR_DLAB;

	switch (port & 7) {
	case DATA:
		return dlab ? (uint8_t)uart->divisor : read_received(uart);
	case IER:
		return dlab ? (uint8_t)(uart->divisor >> 8) : uart->ier;
	case IIR:
		return read_iir(uart);
	case LCR:
		return uart->lcr;
	case MCR:
		return uart->mcr;
	case LSR:
		return read_lsr(uart);
	case MSR:
		return read_msr(uart);
	default:
		return uart->scratch;
	}
}

bool uart_irq(const struct uart *uart)
{
	return cause(uart) != IIR_NONE;
}
