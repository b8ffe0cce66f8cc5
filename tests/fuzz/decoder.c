/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes to the decoder, beside Zydis; and fetches, walks and segment checks of a guest whose registers and page
 * tables are anything.
 */
#include <Zydis/Zydis.h>
#include <stdlib.h>
#include <string.h>

#include "emul/decode.h"
#include "fuzz.h"

/* ---- Bytes --------------------------------------------------------------------------------------------- */

/* In a block of their own: what reads beyond it is seen. */
static enum decode_status decode_exactly(struct decode *d, const uint8_t *bytes, unsigned count, unsigned mode)
{
	uint8_t *exact = malloc(count ? count : 1);
	enum decode_status status;

	memset(d, 0xa5, sizeof(*d));
	if (count)
		memcpy(exact, bytes, count);
	status = decode_bytes(d, count ? exact : exact + 1, count, mode);
	free(exact);
	return status;
}

static bool same(const struct decode *a, const struct decode *b)
{
	return a->length == b->length && a->kind == b->kind && a->opcode == b->opcode && a->rex == b->rex &&
	       a->rep == b->rep && a->lock == b->lock && a->operand_bytes == b->operand_bytes &&
	       a->memory_bytes == b->memory_bytes && a->address_bytes == b->address_bytes && a->reg == b->reg &&
	       a->rm == b->rm && a->segment == b->segment && a->base == b->base && a->index == b->index &&
	       a->scale == b->scale && a->displacement == b->displacement && a->immediate == b->immediate;
}

static void check_with_zydis(const struct decode *d, const uint8_t *bytes, unsigned mode)
{
	static const struct {
		ZydisMachineMode machine;
		ZydisStackWidth stack;
	} widths[] = {
		[1] = {ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16},
		[2] = {ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32},
		[4] = {ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64},
	};
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction z;
	ZydisDecoder decoder;

	ZydisDecoderInit(&decoder, widths[mode / 2].machine, widths[mode / 2].stack);
	fuzz_check(ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes, DECODE_MAX_LENGTH, &z, operands)),
		   "to Zydis it is no instruction");
	fuzz_check(z.length == d->length, "Zydis knows %u bytes, the decoder %u", z.length, d->length);
}

static void check_decoded(const struct decode *d, const uint8_t *bytes, unsigned count, unsigned mode)
{
	struct decode again;

	fuzz_check(d->length >= 1 && d->length <= DECODE_MAX_LENGTH && d->length <= count, "length %u of %u", d->length,
		   count);
	fuzz_check(d->address_bytes == 2 || d->address_bytes == 4 || d->address_bytes == 8, "address of %u bytes",
		   d->address_bytes);
	fuzz_check(!d->has_memory || d->segment <= X86VCPU_SEGMENT_GS, "segment %u", d->segment);
	/* What follows plays no part, and no byte of it is superfluous. */
	fuzz_check(decode_exactly(&again, bytes, d->length, mode) == DECODE_OK && same(d, &again), "it is not the same alone");
	fuzz_check(decode_exactly(&again, bytes, d->length - 1u, mode) == DECODE_TRUNCATED, "it is not truncated");
	check_with_zydis(d, bytes, mode);
}

static void decode_input(struct input *in, unsigned mode)
{
	uint8_t bytes[24] = {0};
	const unsigned count = in_8(in) % sizeof(bytes);
	struct decode d;
	enum decode_status status;

	for (unsigned i = 0; i < count; i++)
		bytes[i] = in_8(in);
	status = decode_exactly(&d, bytes, count, mode);
	fuzz_check(status <= DECODE_TOO_LONG || status == DECODE_TRUNCATED, "status %d", (int)status);
	fuzz_check(status != DECODE_TRUNCATED || count < DECODE_MAX_LENGTH, "%u bytes are too few", count);
	if (status == DECODE_OK)
		check_decoded(&d, bytes, count, mode);
}

/* ---- A guest ------------------------------------------------------------------------------------------- */

#define RAM_SIZE 0x3000u

static struct {
	struct guest g;
	struct x86vcpu_exit exit;
	uint64_t hardware[G_FIELDS];
	struct x86vcpu_memory_region regions[2];
	uint8_t *ram, *high;
	unsigned reads;
} f;

static uint64_t read_field(struct guest *g, enum guest_field field)
{
	(void)g;
	return f.hardware[field];
}

static int32_t read_guest(void *ctx, void *machine, uint64_t gpa, void *buf, uint64_t len)
{
	(void)ctx;
	(void)machine;
	fuzz_check(len >= 1 && (gpa & 0xfff) + len <= 0x1000, "read_guest(%llx, %llu)", (unsigned long long)gpa,
		   (unsigned long long)len);
	f.reads++;
	if (gpa >> 16 != 1)
		return X86VCPU_ERR_INVALID_INPUT;
	memset(buf, 0x67, len);
	return X86VCPU_OK;
}

static void make_guest(struct input *in)
{
	static const struct x86vcpu_host_ops ops = {.read_guest = read_guest};

	f.ram = calloc(1, RAM_SIZE);
	f.high = calloc(1, 0x801);
	f.regions[0] = (struct x86vcpu_memory_region){0, f.ram, RAM_SIZE, 0};
	f.regions[1] = (struct x86vcpu_memory_region){UINT64_C(0x7ffffffff7ff), f.high, 0x801, 0};
	memset(&f.g, 0, sizeof(f.g));
	f.g.host = &ops;
	f.g.read_field = read_field;
	f.g.memory = f.regions;
	f.g.memory_count = in_8(in) % 3;
	f.g.exit = &f.exit;
	f.g.limits.physical_mask = (UINT64_C(1) << 48) - 1;
	f.g.limits.has_nx = f.g.limits.has_1g_pages = f.g.limits.has_long_mode = true;
	memset(f.hardware, 0, sizeof(f.hardware));
	for (unsigned i = in_8(in) % 40; i; i--) {
		const unsigned field = in_8(in) % G_FIELDS;

		f.hardware[field] = in_value(in);
	}
	for (unsigned i = in_8(in) % 48; i; i--) {
		const uint64_t at = in_value(in) % (RAM_SIZE - 8), value = in_value(in);

		memcpy(f.ram + at, &value, sizeof(value));
	}
}

static void check_fetch(void)
{
	struct paging_fault fault = {0}, fault_again = {0};
	struct decode d, again;
	const enum decode_status status = decode_at_rip(&f.g, &d, &fault);

	fuzz_check(status <= DECODE_ABSENT && status != DECODE_TRUNCATED, "status %d", (int)status);
	fuzz_check(decode_at_rip(&f.g, &again, &fault_again) == status, "it is something else again");
	fuzz_check(status != DECODE_OK || same(&d, &again), "another instruction again");
	fuzz_check(f.reads < 64, "%u reads", f.reads);
	if (status == DECODE_OK && d.has_memory)
		decode_offset(&f.g, &d);
	if (status == DECODE_FAULT)
		fuzz_check(fault.vector == VECTOR_PF || fault.vector == VECTOR_GP || fault.vector == VECTOR_SS ||
				   fault.vector == VECTOR_AC, "vector %u", fault.vector);
}

static void check_walk(struct input *in)
{
	static const uint32_t accesses[] = {0, PF_WRITE, PF_FETCH, PF_USER, PF_USER | PF_WRITE, PF_USER | PF_FETCH,
					    PAGING_IMPLICIT};
	const unsigned segment = in_8(in) % 6, bytes = 1u << in_8(in) % 4;
	const uint64_t offset = in_value(in), linear = paging_linear(&f.g, segment, offset);
	const uint32_t access = accesses[in_8(in) % (sizeof(accesses) / sizeof(accesses[0]))];
	struct paging_fault fault = {0};
	uint64_t gpa = 0;

	paging_check_segment(&f.g, segment, offset, linear, bytes, access & PF_WRITE, &fault);
	if (paging_translate(&f.g, linear, access, &gpa, &fault) == PAGING_OK)
		fuzz_check(!(gpa & ~f.g.limits.physical_mask) || !(guest_get(&f.g, G_CR0) & CR0_PG),
			   "%llx leads to %llx", (unsigned long long)linear, (unsigned long long)gpa);
}

static void run_guest(struct input *in)
{
	make_guest(in);
	f.reads = 0;
	check_fetch();
	while (in_more(in))
		check_walk(in);
	free(f.ram);
	free(f.high);
}

void fuzz_decoder(struct input *in)
{
	static const uint8_t modes[] = {2, 4, 8};
	const uint8_t how = in_8(in);

	if (how & 0x80)
		run_guest(in);
	else
		decode_input(in, modes[how % 3]);
}
