/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The 8254, as Intel's data sheet 231164 has it, computed from the time since a count was loaded
 * instead of being stepped. A new count takes effect at once in every mode; BCD counts as binary.
 * Modes 1 and 5 are started by the gate, which only channel 2 has.
 */
#include "pit.h"

#define PIT_HZ UINT64_C(1193182)
#define SECOND_NS UINT64_C(1000000000)
#define READ_BACK 3
#define SPEAKER_GATE 0x01
#define SPEAKER_REFRESH 0x10
#define SPEAKER_OUTPUT 0x20

/* Split, so that no product exceeds 64 bits. */
static uint64_t pit_now(const struct pit *pit, uint64_t now_ns)
{
	const uint64_t elapsed = now_ns - pit->base_ns;

	return elapsed / SECOND_NS * PIT_HZ + elapsed % SECOND_NS * PIT_HZ / SECOND_NS;
}

/* The first nanosecond of a tick. */
static uint64_t tick_ns(const struct pit *pit, uint64_t tick)
{
	return pit->base_ns + tick / PIT_HZ * SECOND_NS + (tick % PIT_HZ * SECOND_NS + PIT_HZ - 1) / PIT_HZ;
}

void pit_reset(struct pit *pit, uint64_t now_ns)
{
	*pit = (struct pit){ .base_ns = now_ns };
	for (unsigned i = 0; i < 3; i++) {
		pit->channel[i].access = 3;
		pit->channel[i].reload = 0x10000;
		pit->channel[i].gate = i != 2;
	}
}

static bool is_periodic(const struct pit_channel *ch)
{
	return ch->mode == 2 || ch->mode == 3;
}

/* Ticks since the count was loaded; a channel without its gate stands still. */
static uint64_t elapsed(const struct pit_channel *ch, uint64_t now)
{
	return ch->counting && ch->gate ? now - ch->start : 0;
}

static uint16_t count(const struct pit_channel *ch, uint64_t now)
{
	const uint64_t ticks = elapsed(ch, now);

	if (ch->mode == 2)
		return (uint16_t)(ch->reload - ticks % ch->reload);
	if (ch->mode == 3) /* counts by two, twice a period */
		return (uint16_t)((ch->reload - ticks * 2 % ch->reload) & ~1u);
	return (uint16_t)(ch->reload - ticks);
}

static bool output(const struct pit_channel *ch, uint64_t now)
{
	const uint64_t ticks = elapsed(ch, now);

	switch (ch->mode) {
	case 0:
	case 1:
		return ch->counting && ticks >= ch->reload;
	case 2:
		return ticks % ch->reload != ch->reload - 1;
	case 3:
		return ticks % ch->reload < (ch->reload + 1) / 2;
	default:
		return ticks != ch->reload;
	}
}

static void load_count(struct pit_channel *ch, uint16_t value, uint64_t now)
{
	ch->reload = value ? value : 0x10000;
	ch->start = now;
	ch->edges = 0;
	ch->counting = true;
}

static void write_count(struct pit_channel *ch, uint8_t value, uint64_t now)
{
	if (ch->access == 1) {
		load_count(ch, value, now);
	} else if (ch->access == 2) {
		load_count(ch, (uint16_t)(value << 8), now);
	} else if (!ch->low_written) {
		ch->low = value;
		ch->low_written = true;
		ch->counting = ch->counting && is_periodic(ch);
	} else {
		ch->low_written = false;
		load_count(ch, (uint16_t)(value << 8 | ch->low), now);
	}
}

static void latch_count(struct pit_channel *ch, uint64_t now)
{
	if (ch->latched)
		return;
	ch->latch = count(ch, now);
	ch->latched = true;
	ch->high_next = false;
}

static void latch_status(struct pit_channel *ch, uint64_t now)
{
	if (ch->status_latched)
		return;
	ch->status = (uint8_t)(output(ch, now) << 7 | !ch->counting << 6 | ch->access << 4 | ch->mode << 1);
	ch->status_latched = true;
}

static void read_back(struct pit *pit, uint8_t command, uint64_t now)
{
	for (unsigned i = 0; i < 3; i++) {
		if (!(command & 2u << i))
			continue;
		if (!(command & 0x20))
			latch_count(&pit->channel[i], now);
		if (!(command & 0x10))
			latch_status(&pit->channel[i], now);
	}
}

static void write_control(struct pit *pit, uint8_t command, uint64_t now)
{
	const unsigned which = command >> 6;
	const uint8_t mode = command >> 1 & 7;
	struct pit_channel *ch;

	if (which == READ_BACK) {
		read_back(pit, command, now);
		return;
	}
	ch = &pit->channel[which];
	if (!(command & 0x30)) {
		latch_count(ch, now);
		return;
	}
	*ch = (struct pit_channel){
		.mode = mode > 5 ? mode & 3 : mode, /* 6 and 7 mean 2 and 3 */
		.access = command >> 4 & 3,
		.gate = ch->gate,
		.reload = ch->reload,
	};
}

/* A rising gate starts the count anew, but in modes 0 and 4, where it only lets it go on. */
static void write_speaker(struct pit *pit, uint8_t value, uint64_t now)
{
	struct pit_channel *ch = &pit->channel[2];
	const bool gate = value & SPEAKER_GATE;

	if (gate && !ch->gate)
		ch->start = now;
	ch->gate = gate;
	pit->speaker = value & 3;
}

void pit_write(struct pit *pit, uint16_t port, uint8_t value, uint64_t now_ns)
{
	const uint64_t now = pit_now(pit, now_ns);

	if (port == PIT_SPEAKER)
		write_speaker(pit, value, now);
	else if (port == PIT_CONTROL)
		write_control(pit, value, now);
	else
		write_count(&pit->channel[port & 3], value, now);
}

static uint8_t read_count(struct pit_channel *ch, uint64_t now)
{
	const uint16_t value = ch->latched ? ch->latch : count(ch, now);
	const bool two_bytes = ch->access == 3;
	const bool high = two_bytes ? ch->high_next : ch->access == 2;

	if (two_bytes)
		ch->high_next = !ch->high_next;
	if (!two_bytes || high)
		ch->latched = false;
	return (uint8_t)(high ? value >> 8 : value);
}

static uint8_t read_speaker(const struct pit *pit, uint64_t now)
{
	const uint8_t refresh = now / 18 & 1 ? SPEAKER_REFRESH : 0; /* toggles every 15 us */

	return pit->speaker | refresh | (output(&pit->channel[2], now) ? SPEAKER_OUTPUT : 0);
}

uint8_t pit_read(struct pit *pit, uint16_t port, uint64_t now_ns)
{
	const uint64_t now = pit_now(pit, now_ns);
	struct pit_channel *ch;

	if (port == PIT_SPEAKER)
		return read_speaker(pit, now);
	if (port == PIT_CONTROL)
		return 0xff; /* write-only */
	ch = &pit->channel[port & 3];
	if (ch->status_latched) {
		ch->status_latched = false;
		return ch->status;
	}
	return read_count(ch, now);
}

static uint64_t edges(const struct pit_channel *ch, uint64_t now)
{
	const uint64_t ticks = elapsed(ch, now);

	if (is_periodic(ch))
		return ticks / ch->reload;
	return (ch->mode == 0 || ch->mode == 4) && ticks >= ch->reload;
}

bool pit_take_edge(struct pit *pit, uint64_t now_ns)
{
	struct pit_channel *ch = &pit->channel[0];
	const uint64_t so_far = edges(ch, pit_now(pit, now_ns));
	const bool rose = so_far > ch->edges;

	ch->edges = so_far;
	return rose;
}

uint64_t pit_deadline(const struct pit *pit, uint64_t now_ns)
{
	const struct pit_channel *ch = &pit->channel[0];
	uint64_t periods = 1;

	if (!ch->counting)
		return UINT64_MAX;
	if (is_periodic(ch))
		periods = elapsed(ch, pit_now(pit, now_ns)) / ch->reload + 1;
	else if ((ch->mode != 0 && ch->mode != 4) || ch->edges)
		return UINT64_MAX;
	return tick_ns(pit, ch->start + periods * ch->reload);
}
