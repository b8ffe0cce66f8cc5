/* SPDX-License-Identifier: Apache-2.0 */
/* See mmio.h. */
#include "emul/mmio.h"

#include "emul/alu.h"
#include "emul/decode.h"
#include "emul/finish.h"
#include "emul/paging.h"

static int report_nested_fault(struct guest *g, uint64_t gpa, bool write)
{
	return emul_report_nested_fault(g, gpa, write ? X86VCPU_ACCESS_WRITE : X86VCPU_ACCESS_READ);
}

static uint8_t width_of(unsigned bytes)
{
	return (uint8_t)__builtin_ctz(bytes);
}

static uint64_t zero_extend(uint64_t value, unsigned width)
{
	return value & (~UINT64_C(0) >> (64 - (8u << (width & 3))));
}

static uint64_t sign_extend(uint64_t value, unsigned width)
{
	const unsigned unused = 64 - (8u << (width & 3));

	return (uint64_t)((int64_t)(value << unused) >> unused);
}

/* ---- The access ----------------------------------------------------------------------------------------- */

static bool is_load(const struct decode *d)
{
	return d->kind == DECODE_LOAD || d->kind == DECODE_LOAD_ZERO_EXTEND ||
	       d->kind == DECODE_LOAD_SIGN_EXTEND;
}

static bool is_store(const struct decode *d)
{
	return d->kind == DECODE_STORE || d->kind == DECODE_STORE_IMMEDIATE;
}

/*
 * Whether the instruction makes such an access. XCHG reads and writes; hardware may report either, and so it may
 * for arithmetic with a result in memory.
 */
static bool accesses(const struct decode *d, bool write)
{
	switch (d->kind) {
	case DECODE_EXCHANGE:
		return true;
	case DECODE_ALU:
		return !write || (!alu_to_register(d) && alu_has_result(alu_operation(d)));
	default:
		return write ? is_store(d) : is_load(d);
	}
}

/* Arithmetic of groups 1 and 3; for INC, DEC, NOT and NEG it does not matter. */
static bool has_immediate(const struct decode *d)
{
	return d->kind == DECODE_ALU && d->opcode >= 0x80 && d->opcode != 0x84 && d->opcode != 0x85;
}

static uint64_t store_data(struct guest *g, const struct decode *d)
{
	uint64_t value;

	if (d->kind == DECODE_STORE_IMMEDIATE || has_immediate(d))
		value = d->immediate;
	else if (d->operand_bytes == 1 && decode_is_high_byte(d, d->reg))
		value = guest_gpr(g, d->reg - 4) >> 8;
	else
		value = guest_gpr(g, d->reg);
	return zero_extend(value, width_of(d->memory_bytes));
}

static void fill_write(struct guest *g, const struct decode *d, uint64_t gpa)
{
	emul_report(g, X86VCPU_EXIT_MMIO_WRITE);
	g->exit->u.mmio = (struct x86vcpu_mmio){
		.gpa = gpa,
		.data = store_data(g, d),
		.width = width_of(d->memory_bytes),
	};
}

static struct x86vcpu_mmio describe_read(const struct decode *d, uint64_t gpa)
{
	const bool byte = d->operand_bytes == 1;
	const bool high = byte && decode_is_high_byte(d, d->reg);

	return (struct x86vcpu_mmio){
		.gpa = gpa,
		.width = width_of(d->memory_bytes),
		.reg = high ? d->reg - 4 : d->reg,
		.reg_width = width_of(d->operand_bytes),
		.sign_extend = d->kind == DECODE_LOAD_SIGN_EXTEND,
		.has_byte_reg = byte,
		.byte_reg_high = high,
	};
}

static void fill_read(struct guest *g, const struct decode *d, uint64_t gpa)
{
	emul_report(g, X86VCPU_EXIT_MMIO_READ);
	g->exit->u.mmio = describe_read(d, gpa);
	g->open = GUEST_OPEN_MMIO_READ;
	g->last.kind = g->exit->kind;
	g->last.u.mmio = g->exit->u.mmio;
}

/*
 * XCHG: a read that is answered into the register, and behind it the write of what the register held. The
 * write waits until the VMM runs the vCPU again.
 */
static void fill_exchange(struct guest *g, const struct decode *d, uint64_t gpa)
{
	g->write_behind = (struct x86vcpu_mmio){
		.gpa = gpa,
		.data = store_data(g, d),
		.width = width_of(d->memory_bytes),
	};
	g->has_write_behind = true;
	fill_read(g, d, gpa);
}

/* SDM Vol. 1, 3.4.1.1: 8- and 16-bit results keep the other bits, 32-bit results clear 63:32. */
static void write_register(struct guest *g, unsigned reg, unsigned width, bool high, uint64_t value)
{
	const uint64_t old = guest_gpr(g, reg);

	if (high)
		value = (old & ~UINT64_C(0xff00)) | (value & 0xff) << 8;
	else if (width == X86VCPU_WIDTH_BYTE)
		value = (old & ~UINT64_C(0xff)) | (value & 0xff);
	else if (width == X86VCPU_WIDTH_WORD)
		value = (old & ~UINT64_C(0xffff)) | (value & 0xffff);
	else
		value = zero_extend(value, width);
	guest_set_gpr(g, reg, value);
}

static void complete_mmio(struct guest *g, const struct x86vcpu_mmio *mmio, uint64_t value)
{
	value = mmio->sign_extend ? sign_extend(value, mmio->width) : zero_extend(value, mmio->width);
	write_register(g, mmio->reg, mmio->reg_width, mmio->byte_reg_high, value);
}

/* Arithmetic with a register of the local APIC, which is read once and written once. */
static int compute_with_lapic(struct guest *g, const struct decode *d, uint64_t gpa)
{
	const unsigned offset = gpa & 0xfff, bytes = d->memory_bytes;
	const enum alu_operation operation = alu_operation(d);
	const struct x86vcpu_mmio destination = describe_read(d, gpa);
	const uint64_t memory = lapic_mmio_read(g, offset, bytes), other = store_data(g, d);
	const bool to_register = alu_to_register(d);
	uint64_t rflags = guest_get(g, G_RFLAGS), result;

	result = alu_compute(operation, bytes, to_register ? other : memory, to_register ? memory : other, &rflags);
	guest_set(g, G_RFLAGS, rflags);
	if (!alu_has_result(operation))
		return EMUL_NEXT;
	if (!to_register)
		return lapic_mmio_write(g, offset, bytes, result);
	complete_mmio(g, &destination, result);
	return EMUL_NEXT;
}

/* The local APIC answers at once. XCHG reads what the register held and writes what it is given. */
static int access_lapic(struct guest *g, const struct decode *d, uint64_t gpa, bool write)
{
	const bool exchange = d->kind == DECODE_EXCHANGE;
	const struct x86vcpu_mmio read = describe_read(d, gpa);
	const uint64_t data = write || exchange ? store_data(g, d) : 0;

	if (!write || exchange)
		complete_mmio(g, &read, lapic_mmio_read(g, gpa & 0xfff, d->memory_bytes));
	return write || exchange ? lapic_mmio_write(g, gpa & 0xfff, d->memory_bytes, data) : EMUL_NEXT;
}

/* Whether all of the operand at `gpa` is in one page and in one device. */
static bool is_whole(struct guest *g, const struct decode *d, uint64_t gpa)
{
	return (gpa & 0xfff) + d->memory_bytes <= 0x1000 && guest_is_mmio_access(g, gpa, d->memory_bytes);
}

/*
 * Where the operand is that hardware has translated before it stopped at `gpa`. When the walk here ends
 * elsewhere, then the guest changed the code or the tables meanwhile. EMUL_NEXT: go on.
 */
static int translate_operand(struct guest *g, uint64_t linear, bool write, uint64_t *gpa)
{
	const uint32_t access = paging_user(g) | (write ? PF_WRITE : 0);
	struct paging_fault fault;
	uint64_t where;
	const enum paging_status status = paging_translate(g, linear, access, &where, &fault);

	if (status == PAGING_FAULT && fault.vector == VECTOR_PF)
		return paging_raise(g, &fault);
	if (status != PAGING_OK || where >> 12 != *gpa >> 12)
		return report_nested_fault(g, *gpa, write);
	*gpa = where;
	return EMUL_NEXT;
}

/*
 * A page fault in a walk that hardware has just done without one means that the tables changed and the
 * CPU used an old TLB entry. It may drop that at any time and then raise the same fault, so the guest
 * has to be ready for it (SDM 4.10.2): it takes the fault here, and RIP stays. What else keeps the
 * instruction from being fetched or emulated is the VMM's to decide: running it again might go on like
 * that forever.
 */
static inline int emulate(struct guest *g, uint64_t gpa, const uint64_t *linear, bool write, unsigned *length)
{
	struct paging_fault fault;
	struct decode d;
	const enum decode_status status = decode_at_rip(g, &d, &fault);
	uint64_t operand;

	if (status == DECODE_FAULT)
		return paging_raise(g, &fault);
	if (status != DECODE_OK || !d.has_memory || !accesses(&d, write))
		return report_nested_fault(g, gpa, write);
	operand = paging_linear(g, d.segment, decode_offset(g, &d));
	if (!linear) {
		const int result = translate_operand(g, operand, write, &gpa);

		if (result != EMUL_NEXT)
			return result;
	} else if (operand != *linear) {
		return report_nested_fault(g, gpa, write);
	}
	if (!is_whole(g, &d, gpa))
		return report_nested_fault(g, gpa, write);
	*length = d.length;
	if (lapic_at(&g->lapic, gpa, d.memory_bytes))
		return d.kind == DECODE_ALU ? compute_with_lapic(g, &d, gpa) : access_lapic(g, &d, gpa, write);
	/* Devices are the VMM's, which is asked for reads and writes only. */
	if (d.kind == DECODE_ALU)
		return report_nested_fault(g, gpa, write);
	if (d.kind == DECODE_EXCHANGE)
		fill_exchange(g, &d, gpa);
	else if (write)
		fill_write(g, &d, gpa);
	else
		fill_read(g, &d, gpa);
	return EMUL_NEXT_EXIT;
}

int emul_mmio(struct guest *g, uint64_t gpa, bool write, unsigned *length)
{
	return emulate(g, gpa, NULL, write, length);
}

int emul_mmio_linear(struct guest *g, uint64_t gpa, uint64_t linear, bool write, unsigned *length)
{
	return emulate(g, gpa, &linear, write, length);
}

/* ---- Answers ------------------------------------------------------------------------------------------- */

int emul_write_behind(struct guest *g)
{
	emul_report(g, X86VCPU_EXIT_MMIO_WRITE);
	g->exit->u.mmio = g->write_behind;
	g->has_write_behind = false;
	return EMUL_EXIT;
}

void emul_complete_read(struct guest *g, uint64_t value)
{
	switch (g->open) {
	case GUEST_OPEN_PORT_READ:
		write_register(g, 0, g->last.u.port_io.width, false, value);
		break;
	case GUEST_OPEN_MMIO_READ:
		complete_mmio(g, &g->last.u.mmio, value);
		break;
	case GUEST_OPEN_MSR_READ:
		g->regs.rax = (uint32_t)value;
		g->regs.rdx = value >> 32;
		guest_skip(g, g->msr_length);
		break;
	default:
		return;
	}
	g->open = GUEST_OPEN_NONE;
}
