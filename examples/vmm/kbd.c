/* SPDX-License-Identifier: Apache-2.0 */
/* The 8042 as IBM's PC AT Technical Reference has it, and what a keyboard is asked for at boot. */
#include "kbd.h"

#define STATUS_OUTPUT 0x01
#define STATUS_SYSTEM 0x04
#define STATUS_COMMAND 0x08
#define STATUS_UNLOCKED 0x10
#define MODE_INTERRUPT 0x01
#define MODE_SYSTEM 0x04

#define READ_MODE 0x20
#define WRITE_MODE 0x60
#define AUXILIARY_TEST 0xa9
#define SELF_TEST 0xaa
#define INTERFACE_TEST 0xab
#define KEYBOARD_OFF 0xad
#define KEYBOARD_ON 0xae
#define READ_OUTPUT 0xd0
#define WRITE_OUTPUT 0xd1
#define WRITE_QUEUE 0xd2
#define PULSE_RESET 0xfe
#define OUTPUT_RUN 0x01 /* output port: 0 holds the CPU in reset */
#define OUTPUT_A20 0x02

#define KEYBOARD_ACK 0xfa
#define KEYBOARD_IDENTIFY 0xf2
#define KEYBOARD_RESET 0xff
#define KEYBOARD_ECHO 0xee

void kbd_reset(struct kbd *kbd)
{
	*kbd = (struct kbd){ .mode = MODE_SYSTEM };
}

static void answer(struct kbd *kbd, uint8_t byte)
{
	if (kbd->count < KBD_QUEUE)
		kbd->queue[kbd->count++] = byte;
}

static void keyboard_command(struct kbd *kbd, uint8_t value)
{
	answer(kbd, value == KEYBOARD_ECHO ? KEYBOARD_ECHO : KEYBOARD_ACK);
	if (value == KEYBOARD_RESET) {
		answer(kbd, 0xaa); /* passed its self test */
	} else if (value == KEYBOARD_IDENTIFY) {
		answer(kbd, 0xab);
		answer(kbd, 0x83);
	}
}

static void write_data(struct kbd *kbd, uint8_t value)
{
	const uint8_t command = kbd->command;

	kbd->command = 0;
	switch (command) {
	case 0:
		keyboard_command(kbd, value);
		break;
	case WRITE_MODE:
		kbd->mode = value;
		break;
	case WRITE_OUTPUT:
		kbd->reset |= !(value & OUTPUT_RUN);
		break;
	default: /* WRITE_QUEUE */
		answer(kbd, value);
		break;
	}
}

static void write_command(struct kbd *kbd, uint8_t value)
{
	kbd->command = 0;
	switch (value) {
	case READ_MODE:
		answer(kbd, kbd->mode);
		break;
	case WRITE_MODE:
	case WRITE_OUTPUT:
	case WRITE_QUEUE:
		kbd->command = value;
		break;
	case SELF_TEST:
		kbd->count = 0;
		answer(kbd, 0x55);
		break;
	case INTERFACE_TEST:
		answer(kbd, 0x00);
		break;
	case AUXILIARY_TEST:
		answer(kbd, 0xff); /* there is no second interface */
		break;
	case KEYBOARD_OFF:
		kbd->mode |= 0x10;
		break;
	case KEYBOARD_ON:
		kbd->mode &= 0xef;
		break;
	case READ_OUTPUT:
		answer(kbd, OUTPUT_RUN | OUTPUT_A20);
		break;
	case PULSE_RESET:
		kbd->reset = true;
		break;
	default:
		break;
	}
}

void kbd_write(struct kbd *kbd, uint16_t port, uint8_t value)
{
	kbd->last_was_command = port == KBD_COMMAND;
	if (port == KBD_COMMAND)
		write_command(kbd, value);
	else
		write_data(kbd, value);
}

static uint8_t read_data(struct kbd *kbd)
{
	const uint8_t byte = kbd->queue[0];

	if (!kbd->count)
		return 0;
	kbd->count--;
	for (unsigned i = 0; i < kbd->count; i++)
		kbd->queue[i] = kbd->queue[i + 1];
	return byte;
}

uint8_t kbd_read(struct kbd *kbd, uint16_t port)
{
	if (port == KBD_DATA)
		return read_data(kbd);
	return (uint8_t)(STATUS_UNLOCKED | (kbd->mode & STATUS_SYSTEM) | (kbd->count ? STATUS_OUTPUT : 0) |
			 (kbd->last_was_command ? STATUS_COMMAND : 0));
}

bool kbd_irq(const struct kbd *kbd)
{
	return kbd->count && (kbd->mode & MODE_INTERRUPT);
}
