/* SPDX-License-Identifier: Apache-2.0 */
/* See operand.h. */
#include "emul/operand.h"

#include "cpu/libc.h"
#include "emul/breakpoint.h"
#include "emul/finish.h"
#include "emul/paging.h"

/* ---- Where it is -------------------------------------------------------------------------------------------- */

static int finish_walk(struct guest *g, enum paging_status status, const struct paging_fault *fault)
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

/* An operand in two pages makes neither of them dirty when one of them faults. */
static int translate(struct guest *g, uint64_t linear, uint32_t access, struct operand *operand)
{
	uint64_t second = (linear & ~UINT64_C(0xfff)) + 0x1000;
	struct paging_fault fault;
	enum paging_status status = PAGING_OK;

	if (!guest_in_64bit_mode(g))
		second = (uint32_t)second;
	if (operand->first < operand->bytes) {
		status = paging_translate(g, linear, access, &operand->gpa[0], &fault);
		if (status == PAGING_OK)
			status = paging_access(g, second, access, &operand->gpa[1], &fault);
	}
	if (status == PAGING_OK)
		status = paging_access(g, linear, access, &operand->gpa[0], &fault);
	return finish_walk(g, status, &fault);
}

/* That of a double extended-precision value is 8 (SDM 6.15, interrupt 17). */
static unsigned alignment_of(unsigned bytes)
{
	return bytes == 10 ? 8 : bytes;
}

int operand_locate(struct execution *x, unsigned segment, uint64_t offset, unsigned bytes, bool write,
		   struct operand *operand)
{
	struct guest *g = x->g;
	const uint64_t linear = paging_linear(g, segment, offset);
	const unsigned left = 0x1000 - (unsigned)(linear & 0xfff);
	struct paging_fault fault;

	if (!paging_check_segment(g, segment, offset, linear, bytes, write, &fault))
		return paging_raise(g, &fault);
	if (linear & (alignment_of(bytes) - 1) && guest_checks_alignment(g)) {
		guest_raise(g, VECTOR_AC, true, 0);
		return EMUL_RESUME;
	}
	x->breakpoints |= breakpoint_of_data(g, linear, bytes, write);
	operand->bytes = bytes;
	operand->first = bytes < left ? bytes : left;
	return translate(g, linear, paging_user(g) | (write ? PF_WRITE : 0), operand);
}

int operand_locate_memory(struct execution *x, bool write, struct operand *operand)
{
	return operand_locate(x, x->d->segment, decode_offset(x->g, x->d), x->d->memory_bytes, write, operand);
}

/* ---- Pieces ------------------------------------------------------------------------------------------------- */

/* A part of an operand that is one access. */
struct piece {
	uint64_t gpa;
	unsigned bytes;
	bool device;
};

/* The largest power of two up to `bytes`, which is 1 to 8. */
static unsigned largest_power(unsigned bytes)
{
	return 1u << (31 - __builtin_clz(bytes));
}

/* Whether it is one access: of 1, 2, 4 or 8 bytes, at a multiple of `alignment`, in one device. */
static bool fits(struct guest *g, const struct piece *piece, unsigned alignment)
{
	return !(piece->bytes & (piece->bytes - 1)) && !(piece->gpa & (alignment - 1)) &&
	       (!piece->device || guest_is_mmio_access(g, piece->gpa, piece->bytes));
}

/*
 * The piece that begins at byte `at`. A device is accessed in 1, 2, 4 or 8 bytes. An access that is not whole, because it
 * crosses a page or leaves the device, is split into aligned ones, as a bus bridge does.
 */
static struct piece next_piece(struct guest *g, const struct operand *operand, unsigned at)
{
	const bool second = at >= operand->first;
	struct piece piece = {
		.gpa = second ? operand->gpa[1] + (at - operand->first) : operand->gpa[0] + at,
		.bytes = (second ? operand->bytes : operand->first) - at,
	};

	piece.device = guest_is_mmio(g, piece.gpa);
	if (piece.bytes > 8)
		piece.bytes = 8;
	if (!fits(g, &piece, 1))
		while (!fits(g, &piece, piece.bytes))
			piece.bytes = largest_power(piece.bytes - 1);
	return piece;
}

/* ---- Reads -------------------------------------------------------------------------------------------------- */

static int ask_for_read(struct guest *g, const struct piece *piece)
{
	emul_report(g, X86VCPU_EXIT_MMIO_READ);
	g->exit->u.mmio = (struct x86vcpu_mmio){
		.gpa = piece->gpa,
		.width = (uint8_t)__builtin_ctz(piece->bytes),
		.reg = X86VCPU_NO_REGISTER,
		.reg_width = (uint8_t)__builtin_ctz(piece->bytes),
	};
	g->open = GUEST_OPEN_MMIO_READ;
	g->last.kind = g->exit->kind;
	g->last.u.mmio = g->exit->u.mmio;
	g->emulation.active = true;
	g->emulation.rip = guest_get(g, G_RIP);
	return EMUL_EXIT;
}

/* Every read is kept, of memory too: another attempt must see the same values. */
static int remember_read(struct execution *x, const struct piece *piece, uint64_t data)
{
	struct guest_emulation *emulation = &x->g->emulation;

	emulation->read[emulation->reads++] = (struct guest_device_access){piece->gpa, data, (uint8_t)piece->bytes};
	return EMUL_NEXT;
}

static int read_anew(struct execution *x, const struct piece *piece)
{
	struct guest *g = x->g;
	uint64_t data = 0;

	if (x->reads_used >= EMULATION_ACCESSES)
		return X86VCPU_ERR_INVALID_DATA;
	if (piece->device && lapic_at(&g->lapic, piece->gpa, piece->bytes))
		return remember_read(x, piece, lapic_mmio_read(g, piece->gpa & 0xfff, piece->bytes));
	if (piece->device)
		return ask_for_read(g, piece);
	if (guest_read_physical(g, piece->gpa, &data, piece->bytes) != X86VCPU_OK)
		return emul_report_nested_fault(g, piece->gpa, X86VCPU_ACCESS_READ);
	return remember_read(x, piece, data);
}

static int read_piece(struct execution *x, const struct piece *piece, uint64_t *data)
{
	struct guest_emulation *emulation = &x->g->emulation;
	const struct guest_device_access *known = &emulation->read[x->reads_used];

	/* The guest may have changed its page tables since: what it read elsewhere is of no use. */
	if (x->reads_used < emulation->reads && (known->gpa != piece->gpa || known->bytes != piece->bytes))
		emulation->reads = x->reads_used;
	if (x->reads_used == emulation->reads) {
		const int result = read_anew(x, piece);

		if (result != EMUL_NEXT)
			return result;
	}
	*data = emulation->read[x->reads_used++].data;
	return EMUL_NEXT;
}

int operand_load(struct execution *x, const struct operand *operand, void *data)
{
	for (unsigned at = 0; at < operand->bytes;) {
		const struct piece piece = next_piece(x->g, operand, at);
		uint64_t value;
		const int result = read_piece(x, &piece, &value);

		if (result != EMUL_NEXT)
			return result;
		memcpy((uint8_t *)data + at, &value, piece.bytes);
		at += piece.bytes;
	}
	return EMUL_NEXT;
}

int operand_load_value(struct execution *x, const struct operand *operand, uint64_t *value)
{
	*value = 0;
	return operand_load(x, operand, value);
}

int operand_read(struct execution *x, uint64_t *value)
{
	struct operand memory;
	const int result = operand_locate_memory(x, false, &memory);

	return result == EMUL_NEXT ? operand_load_value(x, &memory, value) : result;
}

int operand_modify(struct execution *x, struct operand *memory, uint64_t *value)
{
	const int result = operand_locate_memory(x, true, memory);

	return result == EMUL_NEXT ? operand_load_value(x, memory, value) : result;
}

/* ---- Writes ------------------------------------------------------------------------------------------------- */

static bool is_writable(struct guest *g, const struct piece *piece)
{
	uint64_t left;

	return piece->device || (guest_writable_memory_at(g, piece->gpa, &left) && left >= piece->bytes);
}

int operand_store(struct execution *x, const struct operand *operand, const void *data)
{
	for (unsigned at = 0; at < operand->bytes;) {
		const struct piece piece = next_piece(x->g, operand, at);
		struct execution_write *write = &x->write[x->writes];

		if (!is_writable(x->g, &piece))
			return emul_report_nested_fault(x->g, piece.gpa, X86VCPU_ACCESS_WRITE);
		if (x->writes == EMULATION_ACCESSES)
			return X86VCPU_ERR_INVALID_DATA;
		*write = (struct execution_write){.access = {piece.gpa, 0, (uint8_t)piece.bytes}, .device = piece.device};
		memcpy(&write->access.data, (const uint8_t *)data + at, piece.bytes);
		x->writes++;
		at += piece.bytes;
	}
	return EMUL_NEXT;
}

int operand_store_value(struct execution *x, const struct operand *operand, uint64_t value)
{
	return operand_store(x, operand, &value);
}

int operand_write(struct execution *x, uint64_t value)
{
	struct operand memory;
	const int result = operand_locate_memory(x, true, &memory);

	return result == EMUL_NEXT ? operand_store_value(x, &memory, value) : result;
}

int operand_report_write(struct guest *g)
{
	struct guest_emulation *emulation = &g->emulation;
	const struct guest_device_access *access = &emulation->write[emulation->written++];

	emul_report(g, X86VCPU_EXIT_MMIO_WRITE);
	g->exit->u.mmio = (struct x86vcpu_mmio){
		.gpa = access->gpa,
		.data = access->data,
		.width = (uint8_t)__builtin_ctz(access->bytes),
	};
	if (emulation->written == emulation->writes)
		emulation->writes = emulation->written = 0;
	return EMUL_EXIT;
}

/* Whether guest.exit says something that the VMM must see before the guest runs on. */
static bool make_write(struct guest *g, const struct execution_write *write)
{
	struct guest_emulation *emulation = &g->emulation;
	const struct guest_device_access *access = &write->access;
	uint64_t left;

	if (!write->device) {
		uint8_t *at = guest_writable_memory_at(g, access->gpa, &left);

		if (at)
			memcpy(at, &access->data, access->bytes);
		return false;
	}
	if (lapic_at(&g->lapic, access->gpa, access->bytes))
		return lapic_mmio_write(g, access->gpa & 0xfff, access->bytes, access->data) == EMUL_NEXT_EXIT;
	emulation->write[emulation->writes++] = *access;
	return false;
}

/* ---- Registers ---------------------------------------------------------------------------------------------- */

/* With the result of the same instruction, if there is one: POP and string instructions may have two of one register. */
static uint64_t whole_register(struct execution *x, unsigned number)
{
	for (unsigned i = x->results; i > 0; i--)
		if (x->result[i - 1].number == number)
			return x->result[i - 1].value;
	return guest_gpr(x->g, number);
}

uint64_t operand_register(struct execution *x, unsigned number, unsigned bytes)
{
	if (bytes == 1 && decode_is_high_byte(x->d, number))
		return whole_register(x, number - 4) >> 8 & 0xff;
	return whole_register(x, number) & (~UINT64_C(0) >> (64 - 8 * bytes));
}

/* SDM Vol. 1, 3.4.1.1: 8- and 16-bit results keep the other bits, 32-bit results clear 63:32. */
static uint64_t merge(uint64_t old, unsigned bytes, uint64_t value)
{
	switch (bytes) {
	case 1:
		return (old & ~UINT64_C(0xff)) | (value & 0xff);
	case 2:
		return (old & ~UINT64_C(0xffff)) | (value & 0xffff);
	case 4:
		return (uint32_t)value;
	default:
		return value;
	}
}

void operand_set_register(struct execution *x, unsigned number, unsigned bytes, uint64_t value)
{
	const bool high = bytes == 1 && decode_is_high_byte(x->d, number);
	const unsigned index = high ? number - 4 : number;
	const uint64_t old = whole_register(x, index);

	x->result[x->results].number = (uint8_t)index;
	x->result[x->results++].value = high ? (old & ~UINT64_C(0xff00)) | (value & 0xff) << 8 : merge(old, bytes, value);
}

int operand_set_destination(struct execution *x, uint64_t value)
{
	operand_set_register(x, x->d->reg, x->d->operand_bytes, value);
	return EMUL_NEXT;
}

/* ---- The end ------------------------------------------------------------------------------------------------ */

static bool make_changes(struct execution *x)
{
	struct guest *g = x->g;
	bool exit = false;

	for (unsigned i = 0; i < x->results; i++)
		guest_set_gpr(g, x->result[i].number, x->result[i].value);
	guest_update(g, G_RFLAGS, x->rflags);
	for (unsigned i = 0; i < x->writes; i++)
		exit |= make_write(g, &x->write[i]);
	if (g->emulation.writes) {
		operand_report_write(g);
		exit = true;
	}
	return exit;
}

int execution_commit(struct execution *x)
{
	struct guest *g = x->g;
	bool exit;

	g->emulation.active = false;
	g->emulation.reads = 0;
	exit = make_changes(x);
	breakpoint_trap(g, x->breakpoints);
	if (x->shadow) {
		guest_skip(g, x->d->length);
		guest_set(g, G_BLOCKING, guest_get(g, G_BLOCKING) | GUEST_BLOCKING_MOV_SS);
		return EMUL_RESUME;
	}
	if (x->again) {
		guest_end_iteration(g);
		return exit ? EMUL_EXIT : EMUL_RESUME;
	}
	if (x->branches) {
		guest_set(g, G_RIP, x->rip);
		guest_end_instruction(g);
		return exit ? EMUL_EXIT : EMUL_RESUME;
	}
	return exit ? EMUL_NEXT_EXIT : EMUL_NEXT;
}
