/* SPDX-License-Identifier: Apache-2.0 */
/* Registers as in Intel's 82093AA data sheet, section 3. */
#include "ioapic.h"

#define SELECT 0x00
#define WINDOW 0x10

#define REGISTER_ID 0
#define REGISTER_VERSION 1
#define REGISTER_ARBITRATION 2
#define REGISTER_TABLE 0x10
#define VERSION (0x11u | (IOAPIC_PINS - 1) << 16)

#define REMOTE_IRR (UINT64_C(1) << 14)
#define LEVEL (UINT64_C(1) << 15)
#define MASKED (UINT64_C(1) << 16)
#define READ_ONLY (UINT64_C(1) << 12 | REMOTE_IRR)
#define WRITABLE ((UINT64_C(0x1ffff) | UINT64_C(0xff) << 56) & ~READ_ONLY)

void ioapic_reset(struct ioapic *io, bool (*send)(void *arg, uint64_t entry), void *arg)
{
	*io = (struct ioapic){ .send = send, .arg = arg };
	for (unsigned i = 0; i < IOAPIC_PINS; i++)
		io->entry[i] = MASKED;
}

/* A level that is held is sent once, and again after its end. */
static void send_level(struct ioapic *io, unsigned pin)
{
	uint64_t *entry = &io->entry[pin];

	if (!(io->lines & 1u << pin) || (*entry & (MASKED | REMOTE_IRR)) || !(*entry & LEVEL))
		return;
	if (io->send(io->arg, *entry))
		*entry |= REMOTE_IRR;
}

void ioapic_set_pin(struct ioapic *io, unsigned pin, bool asserted)
{
	const uint32_t bit = 1u << pin;
	const bool rises = asserted && !(io->lines & bit);

	io->lines = asserted ? io->lines | bit : io->lines & ~bit;
	if (io->entry[pin] & LEVEL)
		send_level(io, pin);
	else if (rises && !(io->entry[pin] & MASKED)) /* an edge that is masked is lost */
		io->send(io->arg, io->entry[pin]);
}

void ioapic_end_of_interrupt(struct ioapic *io, uint8_t vector)
{
	for (unsigned i = 0; i < IOAPIC_PINS; i++) {
		if (IOAPIC_VECTOR(io->entry[i]) != vector || !(io->entry[i] & REMOTE_IRR))
			continue;
		io->entry[i] &= ~REMOTE_IRR;
		send_level(io, i);
	}
}

bool ioapic_unmasked(const struct ioapic *io, unsigned pin)
{
	return !(io->entry[pin] & MASKED);
}

/* Turning a pin to edge forgets what was outstanding, as software that lost an EOI expects. */
static void write_entry(struct ioapic *io, unsigned index, uint32_t value)
{
	uint64_t *entry = &io->entry[index / 2];
	const uint64_t half = index & 1 ? UINT64_C(0xffffffff) << 32 : UINT64_C(0xffffffff);
	const uint64_t wanted = index & 1 ? (uint64_t)value << 32 : value;

	*entry = (*entry & ~(half & WRITABLE)) | (wanted & half & WRITABLE);
	if (!(*entry & LEVEL))
		*entry &= ~REMOTE_IRR;
	send_level(io, index / 2);
}

void ioapic_write(struct ioapic *io, uint64_t offset, uint32_t value)
{
	if (offset == SELECT)
		io->select = value & 0xff;
	if (offset != WINDOW)
		return;
	if (io->select == REGISTER_ID)
		io->id = value & 0x0f000000;
	else if (io->select >= REGISTER_TABLE && io->select < REGISTER_TABLE + 2 * IOAPIC_PINS)
		write_entry(io, io->select - REGISTER_TABLE, value);
}

uint32_t ioapic_read(const struct ioapic *io, uint64_t offset)
{
	const uint32_t index = io->select - REGISTER_TABLE;

	if (offset == SELECT)
		return io->select;
	if (offset != WINDOW)
		return 0;
	if (io->select == REGISTER_ID || io->select == REGISTER_ARBITRATION)
		return io->id;
	if (io->select == REGISTER_VERSION)
		return VERSION;
	if (index < 2 * IOAPIC_PINS)
		return (uint32_t)(io->entry[index / 2] >> (index & 1 ? 32 : 0));
	return 0;
}
