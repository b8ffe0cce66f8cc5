/* SPDX-License-Identifier: Apache-2.0 */
/* See pio.h. */
#include "emul/pio.h"

#include "cpu/libc.h"
#include "emul/breakpoint.h"
#include "emul/decode.h"
#include "emul/finish.h"
#include "emul/paging.h"

static uint8_t width_of(unsigned bytes)
{
	return (uint8_t)__builtin_ctz(bytes);
}

/* Bits of a value of 2, 4 or 8 bytes. */
static uint64_t low_mask(unsigned bytes)
{
	return ~UINT64_C(0) >> (64 - 8 * bytes);
}

/* ---- IN and OUT ----------------------------------------------------------------------------------------- */

static int port_read(struct guest *g, uint16_t port, unsigned bytes)
{
	emul_report(g, X86VCPU_EXIT_PORT_IO_READ);
	g->exit->u.port_io = (struct x86vcpu_port_io){.port = port, .width = width_of(bytes)};
	g->open = GUEST_OPEN_PORT_READ;
	g->last.kind = g->exit->kind;
	g->last.u.port_io = g->exit->u.port_io;
	return EMUL_NEXT_EXIT;
}

static int port_write(struct guest *g, uint16_t port, unsigned bytes)
{
	emul_report(g, X86VCPU_EXIT_PORT_IO_WRITE);
	g->exit->u.port_io = (struct x86vcpu_port_io){
		.port = port,
		.width = width_of(bytes),
		.data = g->regs.rax & low_mask(bytes),
	};
	return EMUL_NEXT_EXIT;
}

static bool bytes_ok(unsigned bytes)
{
	return bytes == 1 || bytes == 2 || bytes == 4;
}

int emul_in_out(struct guest *g, uint16_t port, unsigned bytes, bool in)
{
	if (!bytes_ok(bytes))
		return X86VCPU_ERR_INVALID_DATA;
	breakpoint_trap(g, breakpoint_of_port(g, port, bytes));
	return in ? port_read(g, port, bytes) : port_write(g, port, bytes);
}

/* ---- INS and OUTS --------------------------------------------------------------------------------------- */

/* One element: its operand, and where that is. */
struct element {
	unsigned bytes, address_bytes, segment;
	uint64_t linear;
	uint64_t gpa, gpa2;
};

/* INS writes to ES:rDI, with no override; OUTS reads DS:rSI, with one (SDM Vol. 2). */
static bool is_complete(const struct pio *io)
{
	return io->address_bytes && (io->in || io->segment >= 0);
}

/*
 * Fills in what the backend does not know. EMUL_NEXT: go on. Bytes that are no string instruction were
 * changed after the CPU fetched them, without the synchronisation that the guest owes (SDM 9.1.3).
 */
static int decode_operand(struct guest *g, const struct pio *io, struct element *e)
{
	struct paging_fault fault;
	struct decode d;

	e->address_bytes = io->address_bytes;
	e->segment = io->in ? X86VCPU_SEGMENT_ES : (unsigned)io->segment;
	if (is_complete(io))
		return EMUL_NEXT;
	switch (decode_at_rip(g, &d, &fault)) {
	case DECODE_OK:
		break;
	case DECODE_FAULT:
		return paging_raise(g, &fault);
	case DECODE_ABSENT:
		return paging_report_absent(g, &fault);
	default:
		return EMUL_UD;
	}
	if (d.kind != (io->in ? DECODE_INS : DECODE_OUTS))
		return EMUL_UD;
	if (!io->address_bytes)
		e->address_bytes = d.address_bytes;
	if (!io->in && io->segment < 0)
		e->segment = d.segment;
	return EMUL_NEXT;
}

/* EMUL_NEXT, or what becomes of an access that a page walk ended. */
static int walked(struct guest *g, enum paging_status status, const struct paging_fault *fault)
{
	switch (status) {
	case PAGING_OK:
		return EMUL_NEXT;
	case PAGING_FAULT:
		return paging_raise(g, fault);
	default:
		return paging_report_absent(g, fault);
	}
}

static int access_page(struct guest *g, uint64_t linear, uint32_t access, uint64_t *gpa)
{
	struct paging_fault fault;

	return walked(g, paging_access(g, linear, access, gpa, &fault), &fault);
}

/* An element that crosses into another page: neither page becomes dirty when one of the two faults. */
static int access_both(struct guest *g, struct element *e, uint64_t second, uint32_t access)
{
	struct paging_fault fault;
	int result = walked(g, paging_translate(g, e->linear, access, &e->gpa, &fault), &fault);

	if (result == EMUL_NEXT)
		result = access_page(g, second, access, &e->gpa2);
	return result == EMUL_NEXT ? access_page(g, e->linear, access, &e->gpa) : result;
}

static int access_element(struct guest *g, struct element *e, bool write)
{
	const uint32_t access = paging_user(g) | (write ? PF_WRITE : 0);
	const unsigned offset = e->linear & 0xfff;
	uint64_t second = e->linear - offset + 0x1000;

	e->gpa2 = 0;
	if (offset + e->bytes <= 0x1000)
		return access_page(g, e->linear, access, &e->gpa);
	if (!guest_in_64bit_mode(g))
		second = (uint32_t)second;
	return access_both(g, e, second, access);
}

/* The exit comes before any check of the memory operand (SDM 26.1.1), so these are all made here. */
static int locate(struct guest *g, const struct pio *io, struct element *e)
{
	const uint64_t index = io->in ? g->regs.rdi : g->regs.rsi;
	const uint64_t offset = index & low_mask(e->address_bytes);
	struct paging_fault fault;

	e->bytes = io->bytes;
	e->linear = io->has_linear ? io->linear : paging_linear(g, e->segment, offset);
	if (!paging_check_segment(g, e->segment, offset, e->linear, e->bytes, io->in, &fault))
		return paging_raise(g, &fault);
	if (e->linear % e->bytes && guest_checks_alignment(g)) {
		guest_raise(g, VECTOR_AC, true, 0);
		return EMUL_RESUME;
	}
	return access_element(g, e, io->in);
}

/* A 16-bit register keeps its other bits, a 32-bit one loses them (SDM Vol. 1, 3.4.1.1). */
static uint64_t step(uint64_t value, uint64_t delta, unsigned bytes)
{
	const uint64_t low = (value + delta) & low_mask(bytes);

	return bytes == 2 ? (value & ~UINT64_C(0xffff)) | low : low;
}

static void fill_string(struct guest *g, const struct pio *io, const struct element *e)
{
	const uint64_t size = e->bytes;
	const uint64_t delta = guest_get(g, G_RFLAGS) & RFLAGS_DF ? -size : size;
	const uint64_t count = io->rep ? step(g->regs.rcx, ~UINT64_C(0), e->address_bytes) : 0;

	emul_report(g, X86VCPU_EXIT_PORT_IO_STRING);
	g->exit->u.port_io_string = (struct x86vcpu_port_io_string){
		.port = io->port,
		.width = width_of(e->bytes),
		.direction = io->in ? X86VCPU_DIRECTION_IN : X86VCPU_DIRECTION_OUT,
		.has_count = io->rep,
		.instruction_complete = (count & low_mask(e->address_bytes)) == 0,
		.gpa = e->gpa,
		.gpa2 = e->gpa2,
		.updated_index = step(io->in ? g->regs.rdi : g->regs.rsi, delta, e->address_bytes),
		.updated_count = count,
		.next_rip = guest_wrap_ip(g, guest_get(g, G_RIP) + io->length),
	};
	g->string_breakpoints = breakpoint_of_port(g, io->port, e->bytes) | breakpoint_of_data(g, e->linear, e->bytes, io->in);
	g->open = GUEST_OPEN_PORT_STRING;
	g->last.kind = g->exit->kind;
	g->last.u.port_io_string = g->exit->u.port_io_string;
}

static int port_string(struct guest *g, const struct pio *io)
{
	struct element e;
	int result = decode_operand(g, io, &e);

	if (result != EMUL_NEXT)
		return result;
	if (io->rep && (g->regs.rcx & low_mask(e.address_bytes)) == 0)
		return EMUL_NEXT;
	result = locate(g, io, &e);
	if (result != EMUL_NEXT)
		return result;
	fill_string(g, io, &e);
	return EMUL_EXIT;
}

static bool is_valid(const struct pio *io)
{
	const uint8_t address = io->address_bytes;

	return bytes_ok(io->bytes) && io->segment < X86VCPU_SEGMENT_LDTR &&
	       (address == 0 || address == 2 || address == 4 || address == 8);
}

int emul_port_io(struct guest *g, const struct pio *io)
{
	if (!io->string)
		return emul_in_out(g, io->port, io->bytes, io->in);
	return is_valid(io) ? port_string(g, io) : X86VCPU_ERR_INVALID_DATA;
}

int32_t emul_commit_string(struct guest *g, const struct x86vcpu_port_io_string *done)
{
	if (g->open != GUEST_OPEN_PORT_STRING || memcmp(done, &g->last.u.port_io_string, sizeof(*done)) != 0)
		return X86VCPU_ERR_BAD_STATE;
	g->open = GUEST_OPEN_NONE;
	if (done->direction == X86VCPU_DIRECTION_IN)
		g->regs.rdi = done->updated_index;
	else
		g->regs.rsi = done->updated_index;
	if (done->has_count)
		g->regs.rcx = done->updated_count;
	breakpoint_trap(g, g->string_breakpoints);
	if (!done->instruction_complete) {
		guest_end_iteration(g);
		return X86VCPU_OK;
	}
	guest_set(g, G_RIP, done->next_rip);
	guest_end_instruction(g);
	return X86VCPU_OK;
}

/* ---- Which ports exit -------------------------------------------------------------------------------------- */

void pio_bitmap_build(uint8_t *bitmap, size_t bytes, const struct x86vcpu_port_range *open, uint32_t count)
{
	memset(bitmap, 0xff, bytes);
	for (uint32_t i = 0; i < count; i++)
		for (uint32_t port = open[i].base; port < (uint32_t)open[i].base + open[i].length; port++)
			bitmap[port >> 3] &= (uint8_t)~(1u << (port & 7));
}
