/* SPDX-License-Identifier: Apache-2.0 */
/* See mmio.h. */
#include "emul/mmio.h"

#include "emul/breakpoint.h"
#include "emul/decode.h"
#include "emul/execute.h"
#include "emul/finish.h"
#include "emul/operand.h"
#include "emul/paging.h"

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

static uint64_t store_data(struct guest *g, const struct decode *d)
{
	uint64_t value;

	if (d->kind == DECODE_STORE_IMMEDIATE)
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

/* The local APIC answers immediately. */
static int access_lapic(struct guest *g, const struct decode *d, uint64_t gpa, bool write)
{
	const struct x86vcpu_mmio read = describe_read(d, gpa);

	if (write)
		return lapic_mmio_write(g, gpa & 0xfff, d->memory_bytes, store_data(g, d));
	complete_mmio(g, &read, lapic_mmio_read(g, gpa & 0xfff, d->memory_bytes));
	return EMUL_NEXT;
}

/* Whether all of the operand at `gpa` is in one page and in one device. */
static bool is_whole(struct guest *g, const struct decode *d, uint64_t gpa)
{
	return (gpa & 0xfff) + d->memory_bytes <= 0x1000 && guest_is_mmio_access(g, gpa, d->memory_bytes);
}

/*
 * The common case: a plain MOV whose operand is where hardware stopped, whole in one device. False: it is not, or the
 * guest changed the code or the tables meanwhile.
 */
static inline bool is_plain(struct guest *g, const struct decode *d, uint64_t *gpa, const uint64_t *linear, bool write)
{
	struct paging_fault fault;
	uint64_t operand, where;
	uint32_t access;

	if (!d->has_memory || !(write ? is_store(d) : is_load(d)))
		return false;
	operand = paging_linear(g, d->segment, decode_offset(g, d));
	if (linear)
		return operand == *linear && is_whole(g, d, *gpa);
	access = paging_user(g) | (write ? PF_WRITE : 0);
	if (paging_translate(g, operand, access, &where, &fault) != PAGING_OK || where >> 12 != *gpa >> 12)
		return false;
	*gpa = where;
	return is_whole(g, d, where);
}

static inline int access_plain(struct guest *g, const struct decode *d, uint64_t gpa, bool write)
{
	if (breakpoint_possible(g))
		breakpoint_trap(g, breakpoint_search_data(g, paging_linear(g, d->segment, decode_offset(g, d)),
							  d->memory_bytes, write));
	if (lapic_at(&g->lapic, gpa, d->memory_bytes))
		return access_lapic(g, d, gpa, write);
	if (write)
		fill_write(g, d, gpa);
	else
		fill_read(g, d, gpa);
	return EMUL_NEXT_EXIT;
}

/* An instruction of `length` bytes, or 0, that the VMM has to execute. */
static __attribute__((noinline)) int report_unknown(struct guest *g, uint64_t gpa, const uint64_t *linear, bool write,
						     uint8_t length)
{
	struct x86vcpu_instruction *instruction = &g->exit->u.instruction;

	emul_report(g, X86VCPU_EXIT_UNKNOWN_INSTRUCTION);
	instruction->gpa = gpa;
	instruction->has_linear = linear != NULL;
	instruction->linear = linear ? *linear : 0;
	instruction->access = write ? X86VCPU_ACCESS_WRITE : X86VCPU_ACCESS_READ;
	instruction->mode = (uint8_t)guest_address_bytes(g);
	instruction->length = length;
	instruction->count = (uint8_t)decode_bytes_at_rip(g, instruction->bytes);
	return EMUL_EXIT;
}

/*
 * A page fault in a walk that hardware has just done without one means that the tables changed and the
 * CPU used an old TLB entry. It may drop that at any time and then raise the same fault, so the guest
 * has to be ready for it (SDM 4.10.2): it takes the fault here, and RIP stays. An instruction that cannot be
 * fetched or is not emulated is reported to the VMM, because running it again might repeat the exit forever.
 */
static inline int emulate(struct guest *g, uint64_t gpa, const uint64_t *linear, bool write, unsigned *length)
{
	struct paging_fault fault;
	struct decode d;
	const enum decode_status status = decode_at_rip(g, &d, &fault);

	if (status == DECODE_FAULT)
		return paging_raise(g, &fault);
	if (status != DECODE_OK)
		return report_unknown(g, gpa, linear, write, 0);
	*length = d.length;
	if (is_plain(g, &d, &gpa, linear, write))
		return access_plain(g, &d, gpa, write);
	if (!execute_knows(g, &d))
		return report_unknown(g, gpa, linear, write, d.length);
	g->emulation.reads = 0;
	return execute(g, &d);
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

/* The guest is where it was when it was asked, and nothing comes before the instruction. */
static bool can_continue(struct guest *g)
{
	return g->emulation.reads && g->open == GUEST_OPEN_NONE && g->emulation.rip == guest_get(g, G_RIP) &&
	       !g->events.exception.valid;
}

static int continue_execution(struct guest *g)
{
	struct paging_fault fault;
	struct decode d;

	if (!can_continue(g) || decode_at_rip(g, &d, &fault) != DECODE_OK || !execute_knows(g, &d)) {
		guest_drop_open_exit(g);
		return EMUL_RESUME;
	}
	return emul_finish(g, execute(g, &d), d.length);
}

int emul_continue(struct guest *g)
{
	return g->emulation.writes ? operand_report_write(g) : continue_execution(g);
}

static void keep_answer(struct guest *g, const struct x86vcpu_mmio *mmio, uint64_t value)
{
	struct guest_emulation *emulation = &g->emulation;

	emulation->read[emulation->reads++] =
		(struct guest_device_access){mmio->gpa, zero_extend(value, mmio->width), (uint8_t)(1u << mmio->width)};
}

void emul_complete_read(struct guest *g, uint64_t value)
{
	switch (g->open) {
	case GUEST_OPEN_PORT_READ:
		write_register(g, 0, g->last.u.port_io.width, false, value);
		break;
	case GUEST_OPEN_MMIO_READ:
		if (g->last.u.mmio.reg == X86VCPU_NO_REGISTER)
			keep_answer(g, &g->last.u.mmio, value);
		else
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
