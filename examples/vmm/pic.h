/* SPDX-License-Identifier: Apache-2.0 */
/* The PC's pair of 8259A interrupt controllers. */
#ifndef VMM_PIC_H
#define VMM_PIC_H

#include <stdbool.h>
#include <stdint.h>

#define PIC_MASTER 0x20
#define PIC_SLAVE 0xa0
#define PIC_ELCR 0x4d0 /* edge or level, a byte for each chip */

struct pic_chip {
	uint8_t irr, isr, imr, lines;
	uint8_t level;     /* 1: that input is level-triggered */
	uint8_t base;      /* ICW2: vector of input 0 */
	uint8_t next_icw;  /* 2 to 4: what the initialisation waits for; 0: it is over */
	bool want_icw4;
	bool auto_eoi;
	bool read_isr; /* OCW3: the command port reads ISR instead of IRR */
};

struct pic {
	struct pic_chip chip[2]; /* master, slave */
};

void pic_reset(struct pic *pic);
void pic_write(struct pic *pic, uint16_t port, uint8_t value);
uint8_t pic_read(const struct pic *pic, uint16_t port);

/* Drives input `irq`, 0 to 15, high or low. */
void pic_set_line(struct pic *pic, unsigned irq, bool high);
/* Whether the master asks the CPU for an interrupt. */
bool pic_output(const struct pic *pic);
/* The CPU's acknowledge: the vector. */
uint8_t pic_acknowledge(struct pic *pic);
/* Whether input `irq` could interrupt, were it to rise. */
bool pic_unmasked(const struct pic *pic, unsigned irq);

#endif
