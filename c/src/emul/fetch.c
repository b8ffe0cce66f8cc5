/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fetches the instruction at CS:RIP. A driver accesses its device with few instructions again and again;
 * each time hardware says nothing about them, so what a walk and the decoder made of them is kept.
 */
#include "emul/decode.h"

#include "cpu/libc.h"

/* Bytes that fetch_memo.bytes holds: more than any instruction has. */
#define MEMO_BYTES 16u

/* A fetch under way. */
struct fetch {
	uint8_t bytes[MEMO_BYTES];
	unsigned count;          /* of them that are there and can belong to the instruction */
	bool whole;              /* all of them are there, from one page of a memory region */
	uint64_t gpa;            /* of the first one */
	struct paging_path path; /* to it */
	struct paging_fault *fault;
};

/* ---- Instructions seen before --------------------------------------------------------------------------------- */

static struct fetch_memo *memo_at(struct guest *g, uint64_t rip)
{
	return &g->fetch_memos[(rip ^ rip >> 4) % FETCH_MEMOS];
}

/* Bits that a fetch in 64-bit mode depends on (SDM 4.1, 4.6). Others, such as CR0.TS, change often. */
#define CR0_OF_FETCH (CR0_PE | CR0_PG)
#define CR4_OF_FETCH (CR4_PAE | CR4_LA57 | CR4_SMEP)

/* With GUEST_MODE_FIELDS valid, and RIP. */
static bool same_state(const struct guest *g, const struct fetch_memo *memo)
{
	const uint64_t *field = g->field;

	return memo->rip == field[G_RIP] && memo->cr3 == field[G_CR3] &&
	       memo->cs == field[G_ACCESS + X86VCPU_SEGMENT_CS] &&
	       memo->ss == field[G_ACCESS + X86VCPU_SEGMENT_SS] &&
	       !((memo->cr0 ^ field[G_CR0]) & CR0_OF_FETCH) && !((memo->cr4 ^ field[G_CR4]) & CR4_OF_FETCH) &&
	       memo->efer == field[G_EFER];
}

static bool same_bytes(struct guest *g, const struct fetch_memo *memo)
{
	uint64_t now[2], left;
	const uint8_t *at = guest_memory_at(g, memo->gpa, &left);

	if (!at || left < MEMO_BYTES)
		return false;
	__builtin_memcpy(now, at, sizeof(now));
	return now[0] == memo->bytes[0] && now[1] == memo->bytes[1];
}

static bool recall(struct guest *g, struct decode *d)
{
	const struct fetch_memo *memo;

	if (~g->valid & GUEST_MODE_FIELDS)
		guest_read_mode(g);
	memo = memo_at(g, guest_get(g, G_RIP));
	if (!memo->path.levels || !same_state(g, memo) || !paging_path_holds(g, &memo->path) ||
	    !same_bytes(g, memo))
		return false;
	*d = memo->d;
	return true;
}

static void copy_path(struct paging_path *to, const struct paging_path *from)
{
	to->levels = from->levels;
	for (unsigned i = 0; i < from->levels; i++) {
		to->at[i] = from->at[i];
		to->entry[i] = from->entry[i];
	}
}

/* The bytes that were decoded, not those of another look: a vCPU may have written others meanwhile. */
static void remember(struct guest *g, const struct fetch *f, const struct decode *d)
{
	const uint64_t rip = guest_get(g, G_RIP);
	struct fetch_memo *memo = memo_at(g, rip);

	if (!f->path.levels || !f->whole || !guest_in_64bit_mode(g))
		return;
	memo->rip = rip;
	memo->cr0 = guest_get(g, G_CR0);
	memo->cr3 = guest_get(g, G_CR3);
	memo->cr4 = guest_get(g, G_CR4);
	memo->efer = guest_get(g, G_EFER);
	memo->cs = guest_get(g, G_ACCESS + X86VCPU_SEGMENT_CS);
	memo->ss = guest_get(g, G_ACCESS + X86VCPU_SEGMENT_SS);
	copy_path(&memo->path, &f->path);
	memo->gpa = f->gpa;
	__builtin_memcpy(memo->bytes, f->bytes, MEMO_BYTES);
	memo->d = *d;
}

/* ---- The others -------------------------------------------------------------------------------------------------- */

/* Adds bytes from `gpa` on, no further than a page or a memory region goes. */
static enum decode_status add_physical(struct guest *g, struct fetch *f, uint64_t gpa)
{
	const unsigned in_page = 0x1000 - (unsigned)(gpa & 0xfff);
	unsigned count = DECODE_MAX_LENGTH - f->count;
	uint64_t left;
	const uint8_t *at = guest_memory_at(g, gpa, &left);

	if (count > in_page)
		count = in_page;
	if (at && count > left)
		count = (unsigned)left;
	if (at && !f->count && in_page >= MEMO_BYTES && left >= MEMO_BYTES) {
		__builtin_memcpy(f->bytes, at, MEMO_BYTES);
		f->whole = true;
	} else if (at) {
		memcpy(f->bytes + f->count, at, count);
	} else if (guest_read_physical(g, gpa, f->bytes + f->count, count) != X86VCPU_OK) {
		*f->fault = (struct paging_fault){.error_code = X86VCPU_ACCESS_EXECUTE, .address = gpa};
		return DECODE_ABSENT;
	}
	f->count += count;
	return DECODE_OK;
}

static enum decode_status add_linear(struct guest *g, struct fetch *f, uint64_t linear)
{
	struct paging_path *path = f->count ? NULL : &f->path;
	uint64_t gpa;

	switch (paging_translate_path(g, linear, PF_FETCH | paging_user(g), &gpa, f->fault, path)) {
	case PAGING_OK:
		break;
	case PAGING_FAULT:
		return DECODE_FAULT;
	default:
		return DECODE_ABSENT;
	}
	if (!f->count)
		f->gpa = gpa;
	return add_physical(g, f, gpa);
}

/* The second page is looked at only when the instruction reaches it: it need not exist otherwise. */
static enum decode_status fetch_and_decode(struct guest *g, struct decode *d, struct fetch *f)
{
	const unsigned mode = guest_address_bytes(g);
	const uint64_t rip = guest_get(g, G_RIP);
	enum decode_status status;

	do {
		status = add_linear(g, f, paging_linear(g, X86VCPU_SEGMENT_CS, rip + f->count));
		if (status != DECODE_OK)
			return status;
		status = decode_bytes(d, f->bytes, f->count, mode);
	} while (status == DECODE_TRUNCATED);
	return status;
}

enum decode_status decode_at_rip(struct guest *g, struct decode *d, struct paging_fault *fault)
{
	struct fetch f;
	enum decode_status status;

	if (recall(g, d))
		return DECODE_OK;
	f.count = 0;
	f.whole = false;
	f.fault = fault;
	status = fetch_and_decode(g, d, &f);
	if (status == DECODE_OK)
		remember(g, &f, d);
	return status;
}

unsigned decode_bytes_at_rip(struct guest *g, uint8_t bytes[DECODE_MAX_LENGTH])
{
	const uint64_t rip = guest_get(g, G_RIP);
	struct paging_fault fault;
	struct fetch f = {.fault = &fault};

	while (f.count < DECODE_MAX_LENGTH)
		if (add_linear(g, &f, paging_linear(g, X86VCPU_SEGMENT_CS, rip + f.count)) != DECODE_OK)
			break;
	memcpy(bytes, f.bytes, f.count);
	return f.count;
}
