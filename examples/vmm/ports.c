/* SPDX-License-Identifier: Apache-2.0 */
/* Who answers at which port. What no line of the table claims reads as ones and ignores writes. */
#include "vmm.h"

#define EXIT_PORT 0xf4
#define FIRMWARE_PORT 0x402 /* SeaBIOS writes its messages here if it reads back as */
#define FIRMWARE_PORT_PRESENT 0xe9
#define FAST_A20 0x92
#define FAST_A20_RESET 0x01
#define FAST_A20_ON 0x02
#define FPU_ERROR_ACK 0xf0u
#define RESET_CONTROL 0xcf9
#define RESET_CONTROL_START 0x04

/*
 * `read` may be NULL: ones. `job_flag`: only there if the job has it. `bytewise`: a wider access is one for
 * each byte, to adjacent ports.
 */
struct port_device {
	uint16_t first, last;
	bool bytewise;
	uint32_t (*read)(struct vm *vm, uint16_t port);
	void (*write)(struct vm *vm, uint16_t port, uint32_t value);
	uint32_t job_flag;
};

/* ---- Devices with a file of their own --------------------------------------------------------- */

static uint32_t read_uart(struct vm *vm, uint16_t port)
{
	const uint8_t value = uart_read(&vm->uart, port);

	irq_set(vm, UART_IRQ, uart_irq(&vm->uart));
	return value;
}

static void write_uart(struct vm *vm, uint16_t port, uint32_t value)
{
	/* Two events without a look at IIR in between are two edges. */
	uart_write(&vm->uart, port, (uint8_t)value, guest_console_putc);
	irq_set(vm, UART_IRQ, false);
	irq_set(vm, UART_IRQ, uart_irq(&vm->uart));
}

static uint32_t read_rtc(struct vm *vm, uint16_t port)
{
	const uint8_t value = rtc_read(&vm->rtc, port, platform_time_ns());

	devices_changed(vm);
	return value;
}

static void write_rtc(struct vm *vm, uint16_t port, uint32_t value)
{
	rtc_write(&vm->rtc, port, (uint8_t)value, platform_time_ns());
	devices_changed(vm);
}

static uint32_t read_pit(struct vm *vm, uint16_t port)
{
	return pit_read(&vm->pit, port, platform_time_ns());
}

static void write_pit(struct vm *vm, uint16_t port, uint32_t value)
{
	pit_write(&vm->pit, port, (uint8_t)value, platform_time_ns());
	devices_changed(vm);
}

static uint32_t read_pic(struct vm *vm, uint16_t port)
{
	return pic_read(&vm->pic, port);
}

static void write_pic(struct vm *vm, uint16_t port, uint32_t value)
{
	pic_write(&vm->pic, port, (uint8_t)value);
	pic_changed(vm);
	devices_changed(vm);
}

static uint32_t read_kbd(struct vm *vm, uint16_t port)
{
	const uint8_t value = kbd_read(&vm->kbd, port);

	irq_set(vm, KBD_IRQ, false); /* an edge for each byte */
	irq_set(vm, KBD_IRQ, kbd_irq(&vm->kbd));
	return value;
}

static void write_kbd(struct vm *vm, uint16_t port, uint32_t value)
{
	kbd_write(&vm->kbd, port, (uint8_t)value);
	irq_set(vm, KBD_IRQ, kbd_irq(&vm->kbd));
	if (vm->kbd.reset)
		vm_end(vm, VERDICT_FAILED, "guest reset the machine through port 0x64");
}

static uint32_t read_pm(struct vm *vm, uint16_t port)
{
	return pm_read(&vm->pm, port, platform_time_ns());
}

static void write_pm(struct vm *vm, uint16_t port, uint32_t value)
{
	pm_write(&vm->pm, port, value);
	if (vm->pm.off)
		vm_end(vm, VERDICT_SUCCESS, "guest powered off");
}

/* ---- The test device ------------------------------------------------------------------------------ */

static uint32_t read_testdev(struct vm *vm, uint16_t port)
{
	return testdev_read(&vm->testdev, port);
}

static void write_testdev(struct vm *vm, uint16_t port, uint32_t value)
{
	testdev_write(&vm->testdev, port, (uint8_t)value);
}

/* The page at the address that is written: here, every page of every vCPU. */
static void write_flush(struct vm *vm, uint16_t port, uint32_t value)
{
	(void)port;
	(void)value;
	for (unsigned i = 0; i < vm->vcpus; i++) {
		__atomic_store_n(&vm->vcpu[i].flush, 1, __ATOMIC_SEQ_CST);
		x86vcpu_request_exit(vm->vcpu[i].handle);
	}
}

static void write_irq(struct vm *vm, uint16_t port, uint32_t value)
{
	irq_set(vm, port - TESTDEV_IRQ, value & 0xff);
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

static uint32_t read_firmware(struct vm *vm, uint16_t port)
{
	(void)vm;
	(void)port;
	return FIRMWARE_PORT_PRESENT;
}

static void write_firmware(struct vm *vm, uint16_t port, uint32_t value)
{
	(void)vm;
	(void)port;
	guest_console_putc((uint8_t)value);
}

/* The handler of IRQ 13 takes the x87 error back. */
static void write_fpu_error_ack(struct vm *vm, uint16_t port, uint32_t value)
{
	(void)port, (void)value;
	irq_set(vm, FPU_IRQ, false);
}

static const struct port_device devices[] = {
	{ UART_BASE, UART_LAST, true, read_uart, write_uart, 0 },
	{ PIC_MASTER, PIC_MASTER + 1, true, read_pic, write_pic, 0 },
	{ PIC_SLAVE, PIC_SLAVE + 1, true, read_pic, write_pic, 0 },
	{ PIC_ELCR, PIC_ELCR + 1, true, read_pic, write_pic, 0 },
	{ PIT_BASE, PIT_CONTROL, true, read_pit, write_pit, 0 },
	{ PIT_SPEAKER, PIT_SPEAKER, true, read_pit, write_pit, 0 },
	{ RTC_INDEX, RTC_DATA, true, read_rtc, write_rtc, 0 },
	{ KBD_DATA, KBD_DATA, true, read_kbd, write_kbd, 0 },
	{ KBD_COMMAND, KBD_COMMAND, true, read_kbd, write_kbd, 0 },
	{ FAST_A20, FAST_A20, true, read_fast_a20, write_fast_a20, 0 },
	{ FPU_ERROR_ACK, FPU_ERROR_ACK, true, NULL, write_fpu_error_ack, 0 },
	{ RESET_CONTROL, RESET_CONTROL, true, NULL, write_reset_control, 0 },
	{ EXIT_PORT, EXIT_PORT, false, NULL, write_exit, 0 },
	{ FIRMWARE_PORT, FIRMWARE_PORT, true, read_firmware, write_firmware, 0 },
	{ PM_EVENT, PM_LAST, false, read_pm, write_pm, 0 },
	{ TESTDEV_DATA, TESTDEV_DATA + 3, true, read_testdev, write_testdev, JOB_TESTDEV },
	{ TESTDEV_DATA_BYTES, TESTDEV_DATA_BYTES + 3, true, read_testdev, write_testdev, JOB_TESTDEV },
	{ TESTDEV_FLUSH, TESTDEV_FLUSH, false, NULL, write_flush, JOB_TESTDEV },
	{ TESTDEV_IRQ, TESTDEV_IRQ_LAST, true, NULL, write_irq, JOB_TESTDEV },
};

static const struct port_device *device_at(const struct vm *vm, uint16_t port)
{
	for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++) {
		const struct port_device *device = &devices[i];

		if (port >= device->first && port <= device->last &&
		    (vm->job->flags & device->job_flag) == device->job_flag)
			return device;
	}
	return NULL;
}

static uint8_t read_byte(struct vm *vm, uint16_t port)
{
	const struct port_device *device = device_at(vm, port);

	return device && device->read ? (uint8_t)device->read(vm, port) : 0xff;
}

static void write_byte(struct vm *vm, uint16_t port, uint8_t value)
{
	const struct port_device *device = device_at(vm, port);

	if (device && device->write)
		device->write(vm, port, value);
}

/*
 * The device at the first port gets the access: a dword to 0xcf8, PCI's address port, must not reach
 * the reset control in its middle.
 */
uint32_t port_read(struct vm *vm, uint16_t port, unsigned bytes)
{
	const struct port_device *device = device_at(vm, port);
	uint32_t value = 0;

	if (!device || !device->read)
		return UINT32_MAX;
	if (!device->bytewise)
		return device->read(vm, port);
	for (unsigned i = 0; i < bytes; i++)
		value |= (uint32_t)read_byte(vm, (uint16_t)(port + i)) << 8 * i;
	return value;
}

void port_write(struct vm *vm, uint16_t port, unsigned bytes, uint32_t value)
{
	const struct port_device *device = device_at(vm, port);

	if (!device)
		return;
	if (!device->bytewise) {
		device->write(vm, port, value);
		return;
	}
	for (unsigned i = 0; i < bytes; i++)
		write_byte(vm, (uint16_t)(port + i), (uint8_t)(value >> 8 * i));
}
