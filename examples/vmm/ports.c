/* SPDX-License-Identifier: Apache-2.0 */
/* Who answers at which port. What no line of the table claims reads as ones and ignores writes. */
#include "platform.h"

#include "vmm.h"

#define EXIT_PORT 0xf4
#define POWER_PORT 0x604 /* ACPI PM1a control, where QEMU's q35 has it */
#define POWER_SLEEP_ENABLE 0x2000
#define KEYBOARD_COMMAND 0x64
#define KEYBOARD_RESET 0xfe
#define FAST_A20 0x92
#define FAST_A20_RESET 0x01
#define FAST_A20_ON 0x02
#define RESET_CONTROL 0xcf9
#define RESET_CONTROL_START 0x04

/* `read` may be NULL: ones. `bytewise`: a wider access is one for each byte, to adjacent ports. */
struct port_device {
	uint16_t first, last;
	bool bytewise;
	uint32_t (*read)(struct vm *vm, uint16_t port);
	void (*write)(struct vm *vm, uint16_t port, uint32_t value);
};

/* ---- Devices with a file of their own --------------------------------------------------------- */

static uint32_t read_uart(struct vm *vm, uint16_t port)
{
	const uint8_t value = uart_read(&vm->uart, port);

	pic_set_line(&vm->pic, UART_IRQ, uart_irq(&vm->uart));
	return value;
}

static void write_uart(struct vm *vm, uint16_t port, uint32_t value)
{
	/* Two events without a look at IIR in between are two edges. */
	uart_write(&vm->uart, port, (uint8_t)value, guest_console_putc);
	pic_set_line(&vm->pic, UART_IRQ, false);
	pic_set_line(&vm->pic, UART_IRQ, uart_irq(&vm->uart));
}

static uint32_t read_cmos(struct vm *vm, uint16_t port)
{
	return cmos_read(&vm->cmos, port);
}

static void write_cmos(struct vm *vm, uint16_t port, uint32_t value)
{
	cmos_write(&vm->cmos, port, (uint8_t)value);
}

static uint32_t read_pit(struct vm *vm, uint16_t port)
{
	return pit_read(&vm->pit, port, rdtsc());
}

static void write_pit(struct vm *vm, uint16_t port, uint32_t value)
{
	pit_write(&vm->pit, port, (uint8_t)value, rdtsc());
}

static uint32_t read_pic(struct vm *vm, uint16_t port)
{
	return pic_read(&vm->pic, port);
}

static void write_pic(struct vm *vm, uint16_t port, uint32_t value)
{
	pic_write(&vm->pic, port, (uint8_t)value);
}

/* ---- Ways to end it all ------------------------------------------------------------------------- */

static void write_exit(struct vm *vm, uint16_t port, uint32_t value)
{
	(void)port;
	if (value == 0)
		vm_end(vm, VERDICT_SUCCESS, "guest exit code 0");
	else
		vm_end_exit_code(vm, value);
}

static void write_power(struct vm *vm, uint16_t port, uint32_t value)
{
	(void)port;
	if (value & POWER_SLEEP_ENABLE)
		vm_end(vm, VERDICT_SUCCESS, "guest powered off");
}

static void write_keyboard(struct vm *vm, uint16_t port, uint32_t value)
{
	(void)port;
	if (value == KEYBOARD_RESET)
		vm_end(vm, VERDICT_FAILED, "guest reset the machine through port 0x64");
}

static uint32_t read_fast_a20(struct vm *vm, uint16_t port)
{
	(void)vm;
	(void)port;
	return FAST_A20_ON;
}

static void write_fast_a20(struct vm *vm, uint16_t port, uint32_t value)
{
	(void)port;
	if (value & FAST_A20_RESET)
		vm_end(vm, VERDICT_FAILED, "guest reset the machine through port 0x92");
}

static void write_reset_control(struct vm *vm, uint16_t port, uint32_t value)
{
	(void)port;
	if (value & RESET_CONTROL_START)
		vm_end(vm, VERDICT_FAILED, "guest reset the machine through port 0xcf9");
}

static const struct port_device devices[] = {
	{ UART_BASE, UART_LAST, true, read_uart, write_uart },
	{ PIC_MASTER, PIC_MASTER + 1, true, read_pic, write_pic },
	{ PIC_SLAVE, PIC_SLAVE + 1, true, read_pic, write_pic },
	{ PIC_ELCR, PIC_ELCR + 1, true, read_pic, write_pic },
	{ PIT_BASE, PIT_CONTROL, true, read_pit, write_pit },
	{ PIT_SPEAKER, PIT_SPEAKER, true, read_pit, write_pit },
	{ CMOS_INDEX, CMOS_DATA, true, read_cmos, write_cmos },
	{ KEYBOARD_COMMAND, KEYBOARD_COMMAND, true, NULL, write_keyboard },
	{ FAST_A20, FAST_A20, true, read_fast_a20, write_fast_a20 },
	{ RESET_CONTROL, RESET_CONTROL, true, NULL, write_reset_control },
	{ EXIT_PORT, EXIT_PORT, false, NULL, write_exit },
	{ POWER_PORT, POWER_PORT, false, NULL, write_power },
};

static const struct port_device *device_at(uint16_t port)
{
	for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++) {
		if (port >= devices[i].first && port <= devices[i].last)
			return &devices[i];
	}
	return NULL;
}

static uint8_t read_byte(struct vm *vm, uint16_t port)
{
	const struct port_device *device = device_at(port);

	return device && device->read ? (uint8_t)device->read(vm, port) : 0xff;
}

static void write_byte(struct vm *vm, uint16_t port, uint8_t value)
{
	const struct port_device *device = device_at(port);

	if (device && device->write)
		device->write(vm, port, value);
}

/*
 * The device at the first port gets the access: a dword to 0xcf8, PCI's address port, must not reach
 * the reset control in its middle.
 */
uint32_t port_read(struct vm *vm, uint16_t port, unsigned bytes)
{
	uint32_t value = 0;

	if (!device_at(port))
		return UINT32_MAX;
	for (unsigned i = 0; i < bytes; i++)
		value |= (uint32_t)read_byte(vm, (uint16_t)(port + i)) << 8 * i;
	return value;
}

void port_write(struct vm *vm, uint16_t port, unsigned bytes, uint32_t value)
{
	const struct port_device *device = device_at(port);

	if (!device)
		return;
	if (!device->bytewise) {
		device->write(vm, port, value);
		return;
	}
	for (unsigned i = 0; i < bytes; i++)
		write_byte(vm, (uint16_t)(port + i), (uint8_t)(value >> 8 * i));
}
