/* SPDX-License-Identifier: Apache-2.0 */
/* Between the guest's cached fields and the current VMCS. */
#include "cpu/x86.h"
#include "vmx/vmcs.h"
#include "vmx/vmx.h"

#define SEGMENT(name)                                                               \
	[G_SELECTOR + X86VCPU_SEGMENT_##name] = VMCS_GUEST_##name##_SELECTOR,       \
	[G_BASE + X86VCPU_SEGMENT_##name] = VMCS_GUEST_##name##_BASE,               \
	[G_LIMIT + X86VCPU_SEGMENT_##name] = VMCS_GUEST_##name##_LIMIT,             \
	[G_ACCESS + X86VCPU_SEGMENT_##name] = VMCS_GUEST_##name##_ACCESS_RIGHTS

static const uint16_t encodings[G_FIELDS] = {
	SEGMENT(ES),
	SEGMENT(CS),
	SEGMENT(SS),
	SEGMENT(DS),
	SEGMENT(FS),
	SEGMENT(GS),
	SEGMENT(LDTR),
	SEGMENT(TR),
	[G_GDTR_BASE] = VMCS_GUEST_GDTR_BASE,
	[G_GDTR_LIMIT] = VMCS_GUEST_GDTR_LIMIT,
	[G_IDTR_BASE] = VMCS_GUEST_IDTR_BASE,
	[G_IDTR_LIMIT] = VMCS_GUEST_IDTR_LIMIT,
	[G_RIP] = VMCS_GUEST_RIP,
	[G_RSP] = VMCS_GUEST_RSP,
	[G_RFLAGS] = VMCS_GUEST_RFLAGS,
	[G_CR0] = VMCS_GUEST_CR0,
	[G_CR3] = VMCS_GUEST_CR3,
	[G_CR4] = VMCS_GUEST_CR4,
	[G_EFER] = VMCS_GUEST_EFER,
	[G_DR7] = VMCS_GUEST_DR7,
	[G_PAT] = VMCS_GUEST_PAT,
	[G_SYSENTER_CS] = VMCS_GUEST_SYSENTER_CS,
	[G_SYSENTER_ESP] = VMCS_GUEST_SYSENTER_ESP,
	[G_SYSENTER_EIP] = VMCS_GUEST_SYSENTER_EIP,
	[G_BLOCKING] = VMCS_GUEST_INTERRUPTIBILITY,
	[G_ACTIVITY] = VMCS_GUEST_ACTIVITY,
	[G_PENDING_DB] = VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS,
	[G_PDPTE0] = VMCS_GUEST_PDPTE0,
	[G_PDPTE1] = VMCS_GUEST_PDPTE1,
	[G_PDPTE2] = VMCS_GUEST_PDPTE2,
	[G_PDPTE3] = VMCS_GUEST_PDPTE3,
};

/* SDM 25.6.6: host-owned bits read from the shadow, the others from the register. */
static uint64_t read_cr0(const struct vmx_vcpu *v)
{
	return (vmcs_readn(VMCS_GUEST_CR0) & ~v->cr0_mask) | (vmcs_readn(VMCS_CR0_READ_SHADOW) & v->cr0_mask);
}

static uint64_t read_cr4(const struct vmx_vcpu *v)
{
	return (vmcs_readn(VMCS_GUEST_CR4) & ~v->cr4_mask) | (vmcs_readn(VMCS_CR4_READ_SHADOW) & v->cr4_mask);
}

uint64_t vmx_read_guest_field(struct guest *g, enum guest_field field)
{
	if (field == G_CR0)
		return read_cr0(vmx_of(g));
	if (field == G_CR4)
		return read_cr4(vmx_of(g));
	return vmcs_read_field(encodings[field]);
}

/* The instruction ends some time, too. */
void vmx_read_mode(struct guest *g)
{
	uint64_t *field = g->field;

	if (!(g->valid & GUEST_INSTRUCTION_FIELDS))
		vmx_read_instruction(g);
	field[G_ACCESS + X86VCPU_SEGMENT_CS] = vmcs_read32(VMCS_GUEST_CS_ACCESS_RIGHTS);
	field[G_ACCESS + X86VCPU_SEGMENT_SS] = vmcs_read32(VMCS_GUEST_SS_ACCESS_RIGHTS);
	field[G_CR0] = read_cr0(vmx_of(g));
	field[G_CR3] = vmcs_readn(VMCS_GUEST_CR3);
	field[G_CR4] = read_cr4(vmx_of(g));
	field[G_EFER] = vmcs_read64(VMCS_GUEST_EFER);
	g->valid |= GUEST_MODE_FIELDS;
}

/* With the guest's NE clear an x87 error is no exception but FERR#; the CPU, whose NE is 1, raises #MF. */
static void watch_x87_errors(struct vmx_vcpu *v, uint64_t cr0)
{
	v->watches_x87 = !(cr0 & CR0_NE);
	vmx_write_exceptions(v);
}

/*
 * CD and NW stay 0: they would make the guest's memory uncached, which is the host's business with
 * EPT. NE must be 1 in VMX operation (SDM 24.8).
 */
static void write_cr0(uint64_t value)
{
	vmcs_writen(VMCS_GUEST_CR0, (value & ~(CR0_CD | CR0_NW)) | CR0_NE | CR0_ET);
	vmcs_writen(VMCS_CR0_READ_SHADOW, value);
}

/* Machine checks and VMX operation are the host's, whatever the guest thinks. */
static void write_cr4(const struct vmx_vcpu *v, uint64_t value)
{
	vmcs_writen(VMCS_GUEST_CR4, (value & ~v->cr4_mask) | v->cr4_host);
	vmcs_writen(VMCS_CR4_READ_SHADOW, value);
}

/* The entry control must equal EFER.LMA (SDM 27.3.1.1). An exit rewrites it, so it is written always. */
static void write_efer(struct vmx_vcpu *v, uint64_t value)
{
	v->entry &= ~(uint32_t)ENTRY_IA32E_MODE_GUEST;
	if (value & EFER_LMA)
		v->entry |= ENTRY_IA32E_MODE_GUEST;
	vmcs_write64(VMCS_GUEST_EFER, value);
	vmcs_write32(VMCS_ENTRY_CONTROLS, v->entry);
}

/*
 * In a shadow VM entry wants the single step pending that TF asks for (SDM 27.3.1.5); a VMM that restores one from
 * elsewhere need not know.
 */
static void write_blocking(struct guest *g, uint64_t value)
{
	const uint64_t shadows = GUEST_BLOCKING_STI | GUEST_BLOCKING_MOV_SS;

	vmcs_write_field(encodings[G_BLOCKING], value);
	if (!(value & shadows) || !(guest_get(g, G_RFLAGS) & RFLAGS_TF) || guest_get(g, G_PENDING_DB) & PENDING_DB_BS)
		return;
	guest_set(g, G_PENDING_DB, guest_get(g, G_PENDING_DB) | PENDING_DB_BS);
	vmcs_write_field(encodings[G_PENDING_DB], g->field[G_PENDING_DB]);
}

static void write_field(struct vmx_vcpu *v, enum guest_field field)
{
	const uint64_t value = v->guest.field[field];

	switch (field) {
	case G_CR0:
		write_cr0(value);
		if (v->guest.fpu_error_exits)
			watch_x87_errors(v, value);
		break;
	case G_CR4:
		write_cr4(v, value);
		break;
	case G_EFER:
		write_efer(v, value);
		break;
	case G_BLOCKING:
		write_blocking(&v->guest, value);
		break;
	default:
		vmcs_write_field(encodings[field], value);
	}
}

void vmx_write_dirty(struct vmx_vcpu *v)
{
	uint64_t dirty = v->guest.dirty;

	for (; dirty; dirty &= dirty - 1)
		write_field(v, (enum guest_field)__builtin_ctzll(dirty));
	v->guest.dirty = 0;
}
