/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The 8259A, as Intel's data sheet 231468 has it: initialisation, masks, edge and level inputs, fixed
 * priority, specific, non-specific and automatic EOI. Rotating priority, special mask mode and
 * polling are left out: PC software does without.
 */
#include "pic.h"

#define CASCADE 2 /* the slave hangs on this input of the master */
#define SPURIOUS 7

#define ICW1 0x10
#define ICW1_NEED_ICW4 0x01
#define ICW4_AUTO_EOI 0x02
#define OCW3 0x08
#define OCW3_READ 0x02
#define OCW3_READ_ISR 0x01
#define OCW2_EOI 0x20
#define OCW2_SPECIFIC 0x40
#define OCW2_LEVEL 0x07

void pic_reset(struct pic *pic)
{
	*pic = (struct pic){ 0 };
	for (unsigned i = 0; i < 2; i++)
		pic->chip[i].imr = 0xff; /* nothing interrupts before software has programmed the vectors */
}

/* The highest-priority input of `set` (0 first), 8 for none. */
static unsigned first_input(uint8_t set)
{
	return set ? (unsigned)__builtin_ctz(set) : 8;
}

/* The input that this chip would interrupt for, 8 for none: unmasked and above all in service. */
static unsigned chip_request(const struct pic_chip *chip)
{
	const unsigned wanted = first_input(chip->irr & (uint8_t)~chip->imr);

	return wanted < first_input(chip->isr) ? wanted : 8;
}

static void chip_set_line(struct pic_chip *chip, unsigned input, bool high)
{
	const uint8_t bit = (uint8_t)(1u << input);

	if (high && (!(chip->lines & bit) || (chip->level & bit)))
		chip->irr |= bit;
	if (!high)
		chip->irr &= (uint8_t)~bit;
	if (high)
		chip->lines |= bit;
	else
		chip->lines &= (uint8_t)~bit;
}

/* The slave's output is the master's input 2. */
static void cascade(struct pic *pic)
{
	chip_set_line(&pic->chip[0], CASCADE, chip_request(&pic->chip[1]) < 8);
}

static void chip_start(struct pic_chip *chip, uint8_t icw1)
{
	chip->irr = chip->lines & chip->level;
	chip->isr = 0;
	chip->imr = 0;
	chip->auto_eoi = false;
	chip->read_isr = false;
	chip->want_icw4 = icw1 & ICW1_NEED_ICW4;
	chip->next_icw = 2;
}

static void chip_end_of_interrupt(struct pic_chip *chip, uint8_t ocw2)
{
	const unsigned input = ocw2 & OCW2_SPECIFIC ? ocw2 & OCW2_LEVEL : first_input(chip->isr);

	if ((ocw2 & OCW2_EOI) && input < 8)
		chip->isr &= (uint8_t)~(1u << input);
}

static void chip_command(struct pic_chip *chip, uint8_t value)
{
	if (value & ICW1)
		chip_start(chip, value);
	else if (!(value & OCW3))
		chip_end_of_interrupt(chip, value);
	else if (value & OCW3_READ)
		chip->read_isr = value & OCW3_READ_ISR;
}

static void chip_data(struct pic_chip *chip, uint8_t value)
{
	switch (chip->next_icw) {
	case 2:
		chip->base = value & 0xf8;
		chip->next_icw = 3;
		break;
	case 3: /* which input the slave is on: fixed by the board */
		chip->next_icw = chip->want_icw4 ? 4 : 0;
		break;
	case 4:
		chip->auto_eoi = value & ICW4_AUTO_EOI;
		chip->next_icw = 0;
		break;
	default:
		chip->imr = value;
		break;
	}
}

static struct pic_chip *chip_of(struct pic *pic, uint16_t port)
{
	return &pic->chip[(port & ~1u) == PIC_SLAVE];
}

void pic_write(struct pic *pic, uint16_t port, uint8_t value)
{
	if ((port & ~1u) == PIC_ELCR)
		pic->chip[port & 1].level = value & (port & 1 ? 0xde : 0xf8); /* the rest is edge, always */
	else if (port & 1)
		chip_data(chip_of(pic, port), value);
	else
		chip_command(chip_of(pic, port), value);
	cascade(pic);
}

uint8_t pic_read(const struct pic *pic, uint16_t port)
{
	const struct pic_chip *chip = &pic->chip[(port & ~1u) == PIC_SLAVE];

	if ((port & ~1u) == PIC_ELCR)
		return pic->chip[port & 1].level;
	if (port & 1)
		return chip->imr;
	return chip->read_isr ? chip->isr : chip->irr;
}

void pic_set_line(struct pic *pic, unsigned irq, bool high)
{
	chip_set_line(&pic->chip[(irq >> 3) & 1], irq & 7, high);
	cascade(pic);
}

bool pic_output(const struct pic *pic)
{
	return chip_request(&pic->chip[0]) < 8;
}

/* An input that went away before the acknowledge leaves the spurious vector, without an ISR bit. */
static uint8_t chip_acknowledge(struct pic_chip *chip, unsigned *input)
{
	const uint8_t bit = (uint8_t)(1u << (chip_request(chip) & 7));

	*input = chip_request(chip);
	if (*input == 8)
		return chip->base | SPURIOUS;
	if (!chip->auto_eoi)
		chip->isr |= bit;
	if (!(chip->level & bit))
		chip->irr &= (uint8_t)~bit;
	return (uint8_t)(chip->base | *input);
}

uint8_t pic_acknowledge(struct pic *pic)
{
	unsigned input;
	uint8_t vector = chip_acknowledge(&pic->chip[0], &input);

	if (input == CASCADE) {
		vector = chip_acknowledge(&pic->chip[1], &input);
		/* The master's input falls with the acknowledge and rises again for the next request. */
		chip_set_line(&pic->chip[0], CASCADE, false);
		cascade(pic);
	}
	return vector;
}

bool pic_unmasked(const struct pic *pic, unsigned irq)
{
	if (irq >= 8 && (pic->chip[0].imr & 1u << CASCADE))
		return false;
	return !(pic->chip[(irq >> 3) & 1].imr & 1u << (irq & 7));
}
