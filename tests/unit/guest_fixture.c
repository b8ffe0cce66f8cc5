/* SPDX-License-Identifier: Apache-2.0 */
/* See guest_fixture.h. */
#include "guest_fixture.h"

#include <string.h>

#include "cpu/x86.h"

static struct guest_fixture fixture;

static uint64_t read_hardware(struct guest *g, enum guest_field field)
{
	struct guest_fixture *f = (struct guest_fixture *)g;

	f->reads[field]++;
	return f->hardware[field];
}

static int32_t read_far(void *ctx, void *machine, uint64_t gpa, void *buf, uint64_t len)
{
	struct guest_fixture *f = ctx;

	(void)machine;
	f->host_reads++;
	if (len == 0 || (gpa & 0xfff) + len > 0x1000)
		return X86VCPU_ERR_INVALID_INPUT; /* host.h promises that this is never asked for */
	if (gpa < FIXTURE_FAR || gpa - FIXTURE_FAR >= FIXTURE_FAR_SIZE)
		return X86VCPU_ERR_INVALID_DATA;
	memcpy(buf, f->far + (gpa - FIXTURE_FAR), len);
	return X86VCPU_OK;
}

static uint64_t no_time(void)
{
	return 0;
}

static uint64_t nanos_to_ticks(void *ctx, uint64_t nanos)
{
	(void)ctx;
	return nanos;
}

static const struct x86vcpu_host_ops host_ops = {
	.size = sizeof(host_ops),
	.nanos_to_ticks = nanos_to_ticks,
	.read_guest = read_far,
};

struct mode_state {
	uint64_t cr0, cr4, efer, rflags;
	uint32_t code, data; /* access rights */
	uint32_t limit;
};

static const struct mode_state modes[] = {
	[FIXTURE_REAL] = {CR0_ET, 0, 0, 0, 0x9b, 0x93, 0xffff},
	[FIXTURE_VIRTUAL_8086] = {CR0_PE | CR0_ET, 0, 0, RFLAGS_VM, 0xf3, 0xf3, 0xffff},
	[FIXTURE_PROTECTED16] = {CR0_PE | CR0_ET, 0, 0, 0, 0x9b, 0x93, 0xffff},
	[FIXTURE_PROTECTED32] = {CR0_PE | CR0_ET, 0, 0, 0, 0xc09b, 0xc093, 0xffffffff},
	[FIXTURE_COMPATIBILITY] = {CR0_PG | CR0_PE | CR0_ET | CR0_WP, CR4_PAE, EFER_LME | EFER_LMA | EFER_NXE, 0,
				   0xc09b, 0xc093, 0xffffffff},
	[FIXTURE_LONG] = {CR0_PG | CR0_PE | CR0_ET | CR0_WP, CR4_PAE, EFER_LME | EFER_LMA | EFER_NXE, 0,
			  0xa09b, 0xc093, 0xffffffff},
};

static void set_segments(struct guest_fixture *f, const struct mode_state *mode)
{
	for (unsigned i = 0; i < X86VCPU_SEGMENTS; i++) {
		f->hardware[G_LIMIT + i] = mode->limit;
		f->hardware[G_ACCESS + i] = mode->data;
	}
	f->hardware[G_ACCESS + X86VCPU_SEGMENT_CS] = mode->code;
	f->hardware[G_ACCESS + X86VCPU_SEGMENT_LDTR] = AR_UNUSABLE;
	f->hardware[G_ACCESS + X86VCPU_SEGMENT_TR] = 0x8b;
}

static void map_identity(struct guest_fixture *f)
{
	fixture_write64(f, FIXTURE_PML4, FIXTURE_PDPT | PTE_P | PTE_RW | PTE_US);
	for (unsigned i = 0; i < 4; i++)
		fixture_write64(f, FIXTURE_PDPT + 8 * i,
				((uint64_t)i << 30) | PTE_PS | PTE_P | PTE_RW | PTE_US);
	f->hardware[G_CR3] = FIXTURE_PML4;
}

static void set_limits(struct guest_limits *limits)
{
	*limits = (struct guest_limits){
		.cr0 = CR0_DEFINED,
		.cr4 = CR4_PSE | CR4_PAE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_LA57 | CR4_FSGSBASE |
		       CR4_OSXSAVE | CR4_SMEP | CR4_SMAP | CR4_PCIDE | CR4_TSD | CR4_DE,
		.efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE,
		.xcr0 = XCR0_X87 | XCR0_SSE | XCR0_AVX,
		.physical_mask = (UINT64_C(1) << 40) - 1,
		.cpu_physical_mask = (UINT64_C(1) << 40) - 1,
		.linear_bits = 48,
		.rdtscp = true,
		.has_1g_pages = true,
		.has_nx = true,
		.has_long_mode = true,
		.has_xsave = true,
		.intel = true,
	};
}

static void set_memory(struct guest_fixture *f)
{
	f->regions[0] = (struct x86vcpu_memory_region){0, f->ram, FIXTURE_RAM_SIZE, 0};
	f->g.memory = f->regions;
	f->g.memory_count = 1;
	f->mmio[0] = (struct x86vcpu_mmio_range){FIXTURE_MMIO, FIXTURE_MMIO_SIZE};
	f->g.mmio = f->mmio;
	f->g.mmio_count = 1;
	f->g.host = &host_ops;
	f->g.ctx = f;
}

struct guest_fixture *fixture_reset(enum fixture_mode mode)
{
	struct guest_fixture *f = &fixture;
	const struct mode_state *state = &modes[mode];

	memset(f, 0, sizeof(*f));
	f->g.read_field = read_hardware;
	f->g.exit = &f->exit;
	f->g.lapic.tpr = &f->tpr;
	f->g.host_tsc = no_time;
	f->g.xcr0 = XCR0_X87;
	f->g.context.guest_area = f->xsave;
	f->g.context.has_xsave = true;
	f->g.context.component_offset[2] = XSAVE_LEGACY_SIZE + XSAVE_HEADER_SIZE;
	f->g.context.mxcsr_mask = 0xffff;
	set_memory(f);
	set_limits(&f->g.limits);
	set_segments(f, state);
	f->hardware[G_CR0] = state->cr0;
	f->hardware[G_CR4] = state->cr4;
	f->hardware[G_EFER] = state->efer;
	f->hardware[G_RFLAGS] = state->rflags | RFLAGS_FIXED;
	f->hardware[G_RIP] = 0x7c00;
	f->hardware[G_RSP] = 0x7000;
	f->hardware[G_GDTR_LIMIT] = f->hardware[G_IDTR_LIMIT] = 0xffff;
	f->hardware[G_DR7] = DR7_RESET;
	f->hardware[G_PAT] = PAT_RESET;
	if (state->cr0 & CR0_PG)
		map_identity(f);
	return f;
}

void fixture_next_exit(struct guest_fixture *f)
{
	for (unsigned i = 0; i < G_FIELDS; i++)
		if (f->g.dirty & (UINT64_C(1) << i))
			f->hardware[i] = f->g.field[i];
	f->g.dirty = f->g.valid = 0;
	memset(f->reads, 0, sizeof(f->reads));
	f->host_reads = 0;
}

void fixture_set(struct guest_fixture *f, enum guest_field field, uint64_t value)
{
	f->hardware[field] = value;
	f->g.valid &= ~(UINT64_C(1) << field);
	f->g.dirty &= ~(UINT64_C(1) << field);
}

unsigned fixture_reads(const struct guest_fixture *f)
{
	unsigned sum = 0;

	for (unsigned i = 0; i < G_FIELDS; i++)
		sum += f->reads[i];
	return sum;
}

static void set_dpl(struct guest_fixture *f, unsigned segment, unsigned cpl)
{
	const uint64_t rights = f->hardware[G_ACCESS + segment] & ~(uint64_t)AR_DPL;

	fixture_set(f, G_ACCESS + segment, rights | cpl << AR_DPL_SHIFT);
	fixture_set(f, G_SELECTOR + segment, (f->hardware[G_SELECTOR + segment] & ~UINT64_C(3)) | cpl);
}

void fixture_set_cpl(struct guest_fixture *f, unsigned cpl)
{
	set_dpl(f, X86VCPU_SEGMENT_SS, cpl);
	set_dpl(f, X86VCPU_SEGMENT_CS, cpl);
}

void fixture_code(struct guest_fixture *f, uint64_t rip, const void *bytes, size_t count)
{
	memcpy(f->ram + rip, bytes, count);
	fixture_set(f, G_RIP, rip);
}

void fixture_write64(struct guest_fixture *f, uint64_t gpa, uint64_t value)
{
	memcpy(f->ram + gpa, &value, sizeof(value));
}

void fixture_write32(struct guest_fixture *f, uint64_t gpa, uint32_t value)
{
	memcpy(f->ram + gpa, &value, sizeof(value));
}
