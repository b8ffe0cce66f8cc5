/* SPDX-License-Identifier: Apache-2.0 */
/* The 82093AA I/O APIC at 0xfec00000. */
#ifndef VMM_IOAPIC_H
#define VMM_IOAPIC_H

#include <stdbool.h>
#include <stdint.h>

#define IOAPIC_BASE UINT64_C(0xfec00000)
#define IOAPIC_SIZE UINT64_C(0x1000)
#define IOAPIC_PINS 24u

/* Fields of a redirection entry. */
#define IOAPIC_VECTOR(entry) ((uint8_t)(entry))
#define IOAPIC_DELIVERY(entry) ((uint8_t)((entry) >> 8 & 7))
#define IOAPIC_LOGICAL(entry) ((uint8_t)((entry) >> 11 & 1))
#define IOAPIC_LEVEL(entry) ((uint8_t)((entry) >> 15 & 1))
#define IOAPIC_DESTINATION(entry) ((uint32_t)((entry) >> 56))

struct ioapic {
	uint32_t select, id;
	uint32_t lines; /* a bit for each pin that is asserted */
	uint64_t entry[IOAPIC_PINS];
	bool (*send)(void *arg, uint64_t entry); /* sends what an entry says; whether somebody took it */
	void *arg;
};

void ioapic_reset(struct ioapic *io, bool (*send)(void *arg, uint64_t entry), void *arg);
uint32_t ioapic_read(const struct ioapic *io, uint64_t offset);
void ioapic_write(struct ioapic *io, uint64_t offset, uint32_t value);

/* Asserts or deasserts a pin. The polarity that software sets is taken for right. */
void ioapic_set_pin(struct ioapic *io, unsigned pin, bool asserted);
/* A local APIC broadcasts the end of a level-triggered interrupt. */
void ioapic_end_of_interrupt(struct ioapic *io, uint8_t vector);
/* Whether `pin` could interrupt, were it asserted. */
bool ioapic_unmasked(const struct ioapic *io, unsigned pin);

#endif
