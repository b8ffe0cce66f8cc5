/* SPDX-License-Identifier: Apache-2.0 */
/* See device_fixture.h. */
#include "device_fixture.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "emul/finish.h"
#include "emul/mmio.h"

uint8_t device[DEVICE_BYTES];

static void answer(struct guest_fixture *f)
{
	const struct x86vcpu_mmio *m = &f->exit.u.mmio;
	const unsigned bytes = 1u << m->width;
	uint64_t value = 0;

	ck_assert_uint_ge(m->gpa, FIXTURE_MMIO);
	ck_assert_uint_le(m->gpa + bytes, FIXTURE_MMIO + DEVICE_BYTES);
	if (f->exit.kind == X86VCPU_EXIT_MMIO_WRITE) {
		memcpy(device + (m->gpa - FIXTURE_MMIO), &m->data, bytes);
		return;
	}
	memcpy(&value, device + (m->gpa - FIXTURE_MMIO), bytes);
	emul_complete_read(&f->g, value);
}

static bool is_access(const struct guest_fixture *f)
{
	return f->exit.kind == X86VCPU_EXIT_MMIO_READ || f->exit.kind == X86VCPU_EXIT_MMIO_WRITE;
}

unsigned device_run_once(struct guest_fixture *f)
{
	unsigned length = 0, accesses = 0;
	int result = emul_mmio(&f->g, FIXTURE_MMIO + DEVICE_MIDDLE, false, &length);
	bool exits;

	result = emul_finish(&f->g, result, length);
	for (;; accesses++) {
		exits = result == EMUL_EXIT;
		if (exits && !is_access(f))
			return accesses;
		if (exits)
			answer(f);
		if (!guest_emulation_is_under_way(&f->g))
			return exits ? accesses + 1 : accesses;
		result = emul_continue(&f->g);
	}
}

uint64_t random_bits(void)
{
	static uint64_t state = UINT64_C(0x9e3779b97f4a7c15);

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

uint64_t random_value(void)
{
	const uint64_t value = random_bits();

	switch (random_bits() % 8) {
	case 0:
		return 0;
	case 1:
		return value & 0xff;
	case 2:
		return ~UINT64_C(0) << (value & 63);
	case 3:
		return UINT64_C(1) << (value & 63);
	case 4:
		return ~(value & 0xff);
	default:
		return value;
	}
}

unsigned comparison_rounds(unsigned otherwise)
{
	const char *rounds = getenv("X86VCPU_ROUNDS");

	return rounds ? (unsigned)strtoul(rounds, NULL, 0) : otherwise;
}
