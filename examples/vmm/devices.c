/* SPDX-License-Identifier: Apache-2.0 */
/* How the devices are wired to each other and to the vCPUs, and what they do as time goes by. */
#include "vmm.h"

#define PIT_PIN 2 /* of the I/O APIC, as the MADT says; the other ISA lines are at their own number */
#define PIC_CASCADE 2
#define INPUT_PERIOD_NS 1000000


/* ---- Lines ---------------------------------------------------------------------------------------- */

void pic_changed(struct vm *vm)
{
	const bool high = pic_output(&vm->pic);

	if (high == vm->lint0)
		return;
	vm->lint0 = high;
	x86vcpu_set_lint(vm->vcpu[0].handle, 0, high);
}

void irq_set(struct vm *vm, unsigned irq, bool high)
{
	if (irq < 16 && irq != PIC_CASCADE) {
		pic_set_line(&vm->pic, irq, high);
		pic_changed(vm);
	}
	if (irq < IOAPIC_PINS)
		ioapic_set_pin(&vm->ioapic, irq == PIT_IRQ ? PIT_PIN : irq, high);
}

static bool irq_unmasked(const struct vm *vm, unsigned irq)
{
	return pic_unmasked(&vm->pic, irq) || ioapic_unmasked(&vm->ioapic, irq == PIT_IRQ ? PIT_PIN : irq);
}

static bool send_message(void *arg, uint64_t entry)
{
	struct vm *vm = arg;
	const struct x86vcpu_message message = {
		.size = sizeof(message),
		.destination = IOAPIC_DESTINATION(entry),
		.logical = IOAPIC_LOGICAL(entry),
		.delivery = IOAPIC_DELIVERY(entry),
		.vector = IOAPIC_VECTOR(entry),
		.level = IOAPIC_LEVEL(entry),
	};
	uint64_t accepted = 0;

	/* What software wrote may be no message: it goes nowhere then. */
	x86vcpu_machine_deliver_message(vm->machine, &message, &accepted);
	return accepted != 0;
}

/* Called from run: a vCPU takes the interrupt that the 8259As ask it for. */
static int32_t acknowledge(void *machine, void *vcpu)
{
	struct vm *vm = machine;
	const uint64_t flags = spin_lock(&vm->lock);
	int32_t vector = -1;

	(void)vcpu;
	if (pic_output(&vm->pic))
		vector = pic_acknowledge(&vm->pic);
	pic_changed(vm);
	spin_unlock(&vm->lock, flags);
	/* Vector 0, a divide error's: of a guest that has not programmed its PIC. It gets none. */
	return vector ? vector : -1;
}

/* ---- Time ----------------------------------------------------------------------------------------- */

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* An edge that nobody would take can wait until somebody looks. */
static uint64_t own_deadline(struct vm *vm, uint64_t now)
{
	const uint64_t rtc = rtc_deadline(&vm->rtc, now);

	return irq_unmasked(vm, PIT_IRQ) ? earlier(rtc, pit_deadline(&vm->pit, now)) : rtc;
}

static void update(struct vm *vm, uint64_t now)
{
	uint64_t deadline;

	if (pit_take_edge(&vm->pit, now)) {
		irq_set(vm, PIT_IRQ, false);
		irq_set(vm, PIT_IRQ, true);
	}
	irq_set(vm, RTC_IRQ, rtc_irq(&vm->rtc, now));
	deadline = own_deadline(vm, now);
	if (vm->job->flags & JOB_INPUT) {
		input_poll(&vm->uart);
		irq_set(vm, UART_IRQ, uart_irq(&vm->uart));
		deadline = earlier(deadline, now + INPUT_PERIOD_NS);
	}
	__atomic_store_n(&vm->deadline, deadline, __ATOMIC_RELAXED);
}

void devices_poll(struct vm *vm)
{
	const uint64_t now = platform_time_ns();
	uint64_t flags;

	if (now < __atomic_load_n(&vm->deadline, __ATOMIC_RELAXED))
		return;
	flags = spin_lock(&vm->lock);
	update(vm, now);
	spin_unlock(&vm->lock, flags);
}

bool devices_can_wake(struct vm *vm)
{
	const uint64_t flags = spin_lock(&vm->lock);
	const bool typing = (vm->job->flags & JOB_INPUT) && uart_wants_input(&vm->uart);
	const bool can = typing || own_deadline(vm, platform_time_ns()) != NEVER;

	spin_unlock(&vm->lock, flags);
	return can;
}

void devices_reset(struct vm *vm)
{
	const uint64_t now = platform_time_ns();

	pic_reset(&vm->pic);
	ioapic_reset(&vm->ioapic, send_message, vm);
	pit_reset(&vm->pit, now);
	rtc_reset(&vm->rtc, vm->ram_size, now);
	uart_reset(&vm->uart);
	kbd_reset(&vm->kbd);
	pm_reset(&vm->pm);
	vm->testdev = (struct testdev){ 0 };
	if (vm->job->flags & JOB_INPUT)
		input_init();
	platform_acknowledge_interrupt = acknowledge;
}

/* ---- Memory-mapped registers ---------------------------------------------------------------------- */

static bool is_ioapic(uint64_t gpa)
{
	return gpa - IOAPIC_BASE < IOAPIC_SIZE;
}

uint64_t mmio_read(struct vm *vm, uint64_t gpa)
{
	return is_ioapic(gpa) ? ioapic_read(&vm->ioapic, gpa - IOAPIC_BASE) : UINT64_MAX;
}

void mmio_write(struct vm *vm, uint64_t gpa, uint64_t value)
{
	if (!is_ioapic(gpa))
		return;
	ioapic_write(&vm->ioapic, gpa - IOAPIC_BASE, (uint32_t)value);
	devices_changed(vm);
}
