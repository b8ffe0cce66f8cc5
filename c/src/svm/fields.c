/* SPDX-License-Identifier: Apache-2.0 */
/* Between the guest's cached fields and the VMCB. */
#include "cpu/insn.h"
#include "cpu/x86.h"
#include "emul/debug.h"
#include "svm/svm.h"

/* ---- Segments: the VMCB packs access rights into 12 bits and has no "unusable" (APM 15.5.1) ------- */

static const uint16_t segment_offsets[X86VCPU_SEGMENTS] = {
	[X86VCPU_SEGMENT_ES] = offsetof(struct vmcb, es),
	[X86VCPU_SEGMENT_CS] = offsetof(struct vmcb, cs),
	[X86VCPU_SEGMENT_SS] = offsetof(struct vmcb, ss),
	[X86VCPU_SEGMENT_DS] = offsetof(struct vmcb, ds),
	[X86VCPU_SEGMENT_FS] = offsetof(struct vmcb, fs),
	[X86VCPU_SEGMENT_GS] = offsetof(struct vmcb, gs),
	[X86VCPU_SEGMENT_LDTR] = offsetof(struct vmcb, ldtr),
	[X86VCPU_SEGMENT_TR] = offsetof(struct vmcb, tr),
};

static struct vmcb_segment *segment_of(const struct svm_vcpu *v, unsigned index)
{
	return (struct vmcb_segment *)((uint8_t *)v->vmcb + segment_offsets[index]);
}

/* The granularity that the limit must have had (SDM 27.3.1.2). */
static uint32_t fix_granularity(uint32_t access, uint32_t limit)
{
	if (limit >> 20)
		return access | AR_G;
	return (limit & 0xfff) == 0xfff ? access : access & ~AR_G;
}

/*
 * The CPL is a field of its own; SS.DPL need not agree with it. Nor need a VMCB have the accessed, busy and granularity
 * bits, at which VMRUN does not look (APM 15.5.1); VT-x and x86vcpu_set_state do.
 */
static uint64_t read_access(const struct svm_vcpu *v, unsigned index)
{
	const struct vmcb_segment *segment = segment_of(v, index);
	uint32_t access = (segment->attributes & 0xffu) | (segment->attributes & 0xf00u) << 4;

	if (!(access & AR_P))
		access |= AR_UNUSABLE;
	else if (index == X86VCPU_SEGMENT_TR)
		access |= AR_TYPE_BUSY;
	else if (index != X86VCPU_SEGMENT_LDTR)
		access |= AR_TYPE_ACCESSED;
	access = fix_granularity(access, segment->limit);
	if (index == X86VCPU_SEGMENT_SS)
		access = (access & ~AR_DPL) | (uint32_t)v->vmcb->cpl << AR_DPL_SHIFT;
	return access;
}

static void write_access(struct svm_vcpu *v, unsigned index, uint32_t access)
{
	struct vmcb_segment *segment = segment_of(v, index);

	if (index == X86VCPU_SEGMENT_SS)
		v->vmcb->cpl = (access & AR_DPL) >> AR_DPL_SHIFT;
	segment->attributes = (uint16_t)((access & 0xff) | (access >> 4 & 0xf00));
	if (access & AR_UNUSABLE)
		segment->attributes &= (uint16_t)~AR_P;
}

static uint64_t read_segment_field(const struct svm_vcpu *v, enum guest_field field)
{
	const unsigned index = field & 7;

	switch (field & ~7u) {
	case G_SELECTOR:
		return segment_of(v, index)->selector;
	case G_BASE:
		return segment_of(v, index)->base;
	case G_LIMIT:
		return segment_of(v, index)->limit;
	default:
		return read_access(v, index);
	}
}

/* FS, GS, LDTR and TR are loaded by VMLOAD, which knows no clean bits. */
static void write_segment_field(struct svm_vcpu *v, enum guest_field field, uint64_t value)
{
	const unsigned index = field & 7;

	switch (field & ~7u) {
	case G_SELECTOR:
		segment_of(v, index)->selector = (uint16_t)value;
		break;
	case G_BASE:
		segment_of(v, index)->base = value;
		break;
	case G_LIMIT:
		segment_of(v, index)->limit = (uint32_t)value;
		break;
	default:
		write_access(v, index, (uint32_t)value);
	}
	v->vmcb->clean &= ~(uint32_t)CLEAN_SEGMENTS;
}

/* ---- Fields that are a VMCB member as they are ------------------------------------------------------- */

struct plain_field {
	uint16_t offset; /* 0: not plain */
	uint8_t bytes;
	uint16_t clean; /* the bit to take back after a write */
};

static const struct plain_field plain_fields[G_FIELDS] = {
	[G_GDTR_BASE] = {offsetof(struct vmcb, gdtr.base), 8, CLEAN_DESCRIPTOR_TABLES},
	[G_GDTR_LIMIT] = {offsetof(struct vmcb, gdtr.limit), 4, CLEAN_DESCRIPTOR_TABLES},
	[G_IDTR_BASE] = {offsetof(struct vmcb, idtr.base), 8, CLEAN_DESCRIPTOR_TABLES},
	[G_IDTR_LIMIT] = {offsetof(struct vmcb, idtr.limit), 4, CLEAN_DESCRIPTOR_TABLES},
	[G_RIP] = {offsetof(struct vmcb, rip), 8, 0},
	[G_RSP] = {offsetof(struct vmcb, rsp), 8, 0},
	[G_RFLAGS] = {offsetof(struct vmcb, rflags), 8, 0},
	[G_CR3] = {offsetof(struct vmcb, cr3), 8, CLEAN_CONTROL_REGISTERS},
	[G_DR7] = {offsetof(struct vmcb, dr7), 8, CLEAN_DEBUG_REGISTERS},
	[G_PAT] = {offsetof(struct vmcb, pat), 8, CLEAN_NESTED_PAGING},
	[G_SYSENTER_CS] = {offsetof(struct vmcb, sysenter_cs), 8, 0},
	[G_SYSENTER_ESP] = {offsetof(struct vmcb, sysenter_esp), 8, 0},
	[G_SYSENTER_EIP] = {offsetof(struct vmcb, sysenter_eip), 8, 0},
};

static uint64_t read_plain(const struct svm_vcpu *v, const struct plain_field *field)
{
	const uint8_t *at = (const uint8_t *)v->vmcb + field->offset;

	return field->bytes == 8 ? *(const uint64_t *)at : *(const uint32_t *)at;
}

static void write_plain(struct svm_vcpu *v, const struct plain_field *field, uint64_t value)
{
	uint8_t *at = (uint8_t *)v->vmcb + field->offset;

	if (field->bytes == 8)
		*(uint64_t *)at = value;
	else
		*(uint32_t *)at = (uint32_t)value;
	v->vmcb->clean &= ~(uint32_t)field->clean;
}

/* ---- The others ------------------------------------------------------------------------------------------ */

/*
 * With nested paging the CPU reads PAE's page-directory pointers when it walks, not before (APM 15.25.10).
 * One machine marks them accessed, a bit that is reserved there.
 */
static uint64_t read_pdpte(struct guest *g, unsigned index)
{
	const uint64_t table = guest_get(g, G_CR3) & CR3_PAE_BASE;
	uint64_t entry;

	return guest_read_physical(g, table + index * sizeof(entry), &entry, sizeof(entry)) ? 0 : entry & ~PTE_A;
}

/*
 * LMA is what LME and CR0.PG make of it. One machine has cleared it already when it exits for the MOV to
 * CR0 that is to end paging.
 */
static uint64_t read_efer(const struct svm_vcpu *v)
{
	const uint64_t efer = v->vmcb->efer & ~(EFER_SVME | EFER_LMA);

	return efer & EFER_LME && v->vmcb->cr0 & CR0_PG ? efer | EFER_LMA : efer;
}

/* A task switch sets TS without an exit (APM 12.4.3), so the VMCB is asked for all that it holds. */
static uint64_t read_cr0(const struct svm_vcpu *v)
{
	return v->vmcb->cr0 | v->cr0_cache_bits;
}

uint64_t svm_read_guest_field(struct guest *g, enum guest_field field)
{
	const struct svm_vcpu *v = svm_of(g);

	if (field < G_GDTR_BASE)
		return read_segment_field(v, field);
	if (plain_fields[field].offset)
		return read_plain(v, &plain_fields[field]);
	switch (field) {
	case G_CR0:
		return read_cr0(v);
	case G_CR4:
		return v->cr4;
	case G_EFER:
		return read_efer(v);
	case G_BLOCKING:
		return svm_blocking(v);
	case G_PDPTE0:
	case G_PDPTE1:
	case G_PDPTE2:
	case G_PDPTE3:
		return read_pdpte(g, field - G_PDPTE0);
	default:
		/* Activity, pending debug exceptions: not in a VMCB. */
		return 0;
	}
}

void svm_read_mode(struct guest *g)
{
	const struct svm_vcpu *v = svm_of(g);
	uint64_t *field = g->field;

	field[G_ACCESS + X86VCPU_SEGMENT_CS] = read_access(v, X86VCPU_SEGMENT_CS);
	field[G_ACCESS + X86VCPU_SEGMENT_SS] = read_access(v, X86VCPU_SEGMENT_SS);
	field[G_CR0] = read_cr0(v);
	field[G_CR3] = v->vmcb->cr3;
	field[G_CR4] = v->cr4;
	field[G_EFER] = read_efer(v);
	g->valid |= GUEST_MODE_FIELDS;
}

/*
 * CD and NW would make the guest's memory uncached, so they stay 0. Every write of CR0 and CR4 exits but a task
 * switch's, which leaves CD and NW alone. Reads exit where the guest's value differs from the CPU's.
 */
static void write_cr0(struct svm_vcpu *v, uint64_t value)
{
	const uint16_t reads = v->vmcb->intercept_cr_read;

	v->cr0_cache_bits = value & (CR0_CD | CR0_NW);
	v->vmcb->cr0 = (value & ~(CR0_CD | CR0_NW)) | CR0_ET;
	v->vmcb->intercept_cr_read = v->cr0_cache_bits ? reads | 1u : reads & ~1u;
	v->vmcb->clean &= ~(uint32_t)(CLEAN_CONTROL_REGISTERS | CLEAN_INTERCEPTS);
}

/* Machine checks are the host's, whatever the guest thinks. */
static void write_cr4(struct svm_vcpu *v, uint64_t value)
{
	v->cr4 = value;
	v->vmcb->cr4 = (value & ~CR4_MCE) | (insn_read_cr4() & CR4_MCE);
	v->vmcb->clean &= ~(uint32_t)CLEAN_CONTROL_REGISTERS;
}

static void write_blocking(struct svm_vcpu *v, uint64_t value)
{
	v->vmcb->interrupt_shadow =
		value & (GUEST_BLOCKING_STI | GUEST_BLOCKING_MOV_SS) ? INTERRUPT_SHADOW : 0;
	v->nmi_blocked = value & GUEST_BLOCKING_NMI;
}

/*
 * A single step that became due when an instruction was skipped, or a breakpoint that a copy from VT-x has pending: SVM
 * has no pending-debug field, so the #DB is raised (APM 15.20). It comes after the instruction, before the next one.
 */
static void write_pending_debug(struct svm_vcpu *v, uint64_t value)
{
	if (!(value & (PENDING_DB_BS | PENDING_DB_ENABLED)))
		return;
	/* Its bits 3:0 and 14 are DR6's (SDM 25.4.2). */
	if (v->guest.debug.owns_drs) {
		value = debug_take_conditions(&v->guest, value & (DR6_BS | 0xf));
		v->guest.dr6 |= value;
		if (!value)
			return;
	} else {
		v->vmcb->dr6 |= value & (DR6_BS | 0xf);
	}
	v->vmcb->clean &= ~(uint32_t)CLEAN_DEBUG_REGISTERS;
	guest_raise(&v->guest, VECTOR_DB, false, 0);
}

static void write_field(struct svm_vcpu *v, enum guest_field field)
{
	const uint64_t value = v->guest.field[field];

	if (field < G_GDTR_BASE) {
		write_segment_field(v, field, value);
		return;
	}
	if (plain_fields[field].offset) {
		write_plain(v, &plain_fields[field], value);
		return;
	}
	switch (field) {
	case G_CR0:
		write_cr0(v, value);
		break;
	case G_CR4:
		write_cr4(v, value);
		break;
	case G_EFER:
		v->vmcb->efer = value | EFER_SVME;
		v->vmcb->clean &= ~(uint32_t)CLEAN_CONTROL_REGISTERS;
		break;
	case G_BLOCKING:
		write_blocking(v, value);
		break;
	case G_PENDING_DB:
		write_pending_debug(v, value);
		break;
	default:
		break;
	}
}

void svm_write_dirty(struct svm_vcpu *v)
{
	uint64_t dirty = v->guest.dirty;

	for (; dirty; dirty &= dirty - 1)
		write_field(v, (enum guest_field)__builtin_ctzll(dirty));
	v->guest.dirty = 0;
}
