/* SPDX-License-Identifier: Apache-2.0 */
#include "emul/context.h"

#include "cpu/insn.h"
#include "cpu/libc.h"
#include "cpu/x86.h"
#include "x86vcpu/msr.h"

#define PAGE_BYTES UINT64_C(4096)
#define FCW_RESET 0x37fu     /* in an FXSAVE image: as FNINIT leaves it */
#define MXCSR_RESET 0x1f80u
#define MXCSR_OFFSET 24
#define MXCSR_MASK_OFFSET 28
#define VENDOR_AMD 0x68747541u   /* EBX of CPUID leaf 0: "Auth" */
#define VENDOR_HYGON 0x6f677948u /* "Hygo" */
#define MXCSR_MASK_DEFAULT 0xffbfu /* where FXSAVE stores 0 (SDM Vol. 1, 11.6.6) */

/* Bytes of an XSAVE image with every component of this CPU (SDM Vol. 1, 13.2), or of FXSAVE. */
static uint64_t area_bytes(bool has_xsave)
{
	uint32_t leaf[4];

	if (!has_xsave)
		return XSAVE_LEGACY_SIZE;
	insn_cpuid(0xd, 0, leaf);
	return leaf[2];
}

uint64_t context_host_cr4(void)
{
	uint32_t leaf[4];

	insn_cpuid(1, 0, leaf);
	return leaf[2] & CPUID_1_ECX_XSAVE ? CR4_OSXSAVE | CR4_OSFXSR : CR4_OSFXSR;
}

/*
 * AMD's processors up to family 17h save and restore the x87 instruction and data pointers only with an exception
 * pending (CVE-2006-1056).
 */
static bool leaks_x87_pointers(void)
{
	uint32_t leaf[4];

	insn_cpuid(0, 0, leaf);
	if (leaf[1] != VENDOR_AMD && leaf[1] != VENDOR_HYGON)
		return false;
	insn_cpuid(0x80000000, 0, leaf);
	if (leaf[0] < 0x80000008)
		return true;
	insn_cpuid(0x80000008, 0, leaf);
	return !(leaf[1] & CPUID_80000008_EBX_XSAVEERPTR);
}

#define COMPONENT_AVX 2u
#define XMM_OFFSET 160u

static void find_components(struct guest_context *context)
{
	uint32_t leaf[4];

	for (unsigned i = COMPONENT_AVX; i < sizeof(context->component_offset) / sizeof(context->component_offset[0]); i++) {
		insn_cpuid(0xd, i, leaf);
		context->component_offset[i] = leaf[0] ? (uint16_t)leaf[1] : 0;
	}
}

static void detect(struct guest_context *context)
{
	uint32_t leaf[4], highest;

	insn_cpuid(0, 0, leaf);
	highest = leaf[0];
	context->leaks_x87_pointers = leaks_x87_pointers();
	insn_cpuid(1, 0, leaf);
	context->has_xsave = leaf[2] & CPUID_1_ECX_XSAVE;
	context->has_xss = false;
	if (context->has_xsave && highest >= 0xd) {
		insn_cpuid(0xd, 1, leaf);
		context->has_xss = leaf[0] & CPUID_D_1_EAX_XSAVES;
	}
	if (context->has_xsave && highest >= 0xd)
		find_components(context);
	insn_cpuid(0x80000000, 0, leaf);
	highest = leaf[0];
	context->has_tsc_aux = false;
	if (highest >= 0x80000001) {
		insn_cpuid(0x80000001, 0, leaf);
		context->has_tsc_aux = leaf[3] & CPUID_80000001_EDX_RDTSCP;
	}
}

int32_t context_create(struct guest *g)
{
	struct guest_context *context = &g->context;
	uint64_t pages;
	uint8_t *area;

	detect(context);
	pages = (area_bytes(context->has_xsave) + PAGE_BYTES - 1) / PAGE_BYTES;
	context->hpa = g->host->alloc_contiguous_frames(g->ctx, 2 * pages, PAGE_BYTES);
	if (!context->hpa)
		return X86VCPU_ERR_NO_MEMORY;
	context->frames = 2 * pages;
	area = g->host->phys_to_virt(g->ctx, context->hpa);
	context->guest_area = area;
	context->host_area = area + pages * PAGE_BYTES;
	context_reset(g);
	return X86VCPU_OK;
}

void context_destroy(struct guest *g)
{
	if (g->context.hpa)
		g->host->free_contiguous_frames(g->ctx, g->context.hpa, g->context.frames);
	g->context.hpa = 0;
}

void context_reset(struct guest *g)
{
	uint8_t *area = g->context.guest_area;

	/* An empty XSTATE_BV makes XRSTOR initialise every component; MXCSR is taken from the image. */
	memset(area, 0, g->context.frames * PAGE_BYTES);
	area[0] = FCW_RESET & 0xff;
	area[1] = FCW_RESET >> 8;
	area[MXCSR_OFFSET] = MXCSR_RESET & 0xff;
	area[MXCSR_OFFSET + 1] = MXCSR_RESET >> 8;
	g->xcr0 = XCR0_X87;
	/*
	 * What a guest can change without enabling it: SSE needs CR4.OSFXSR alone, and PKRU CR4.PKE (SDM Vol. 1, 13.3;
	 * Vol. 2 WRPKRU).
	 */
	g->context.used = XCR0_X87 | XCR0_SSE | (g->limits.xcr0 & XCR0_PKRU);
	for (unsigned i = 0; i < 4; i++)
		g->dr[i] = 0;
	g->dr6 = DR6_RESET;
	g->drs_loaded = false;
}

/* ---- The guest's image, for the VMM ---------------------------------------------------------------- */

/* The header of an XSAVE image (SDM Vol. 1, 13.4.2). */
struct xsave_header {
	uint64_t xstate_bv, xcomp_bv, reserved[6];
};
_Static_assert(sizeof(struct xsave_header) == XSAVE_HEADER_SIZE, "");

uint64_t context_image_bytes(const struct guest *g)
{
	return g->context.has_xsave && g->limits.has_xsave ? g->limits.xsave_size : XSAVE_LEGACY_SIZE;
}

void context_save(const struct guest *g, void *image)
{
	const uint64_t bytes = context_image_bytes(g);
	struct xsave_header header;

	memcpy(image, g->context.guest_area, bytes);
	if (bytes == XSAVE_LEGACY_SIZE)
		return;
	/* The switch stores what only the host uses too. */
	memcpy(&header, (uint8_t *)image + XSAVE_LEGACY_SIZE, sizeof(header));
	header.xstate_bv &= g->limits.xcr0;
	memcpy((uint8_t *)image + XSAVE_LEGACY_SIZE, &header, sizeof(header));
}

/* SDM Vol. 1, 13.8.1. */
static bool header_ok(const struct guest *g, const struct xsave_header *header)
{
	uint64_t reserved = header->xcomp_bv;

	for (unsigned i = 0; i < sizeof(header->reserved) / sizeof(header->reserved[0]); i++)
		reserved |= header->reserved[i];
	return !reserved && !(header->xstate_bv & ~g->limits.xcr0);
}

bool context_restore(struct guest *g, const void *image)
{
	const uint64_t bytes = context_image_bytes(g);
	struct xsave_header header;
	uint32_t mxcsr;

	memcpy(&mxcsr, (const uint8_t *)image + MXCSR_OFFSET, sizeof(mxcsr));
	if (mxcsr & ~g->context.mxcsr_mask)
		return false;
	if (bytes > XSAVE_LEGACY_SIZE) {
		memcpy(&header, (const uint8_t *)image + XSAVE_LEGACY_SIZE, sizeof(header));
		if (!header_ok(g, &header))
			return false;
	}
	memset(g->context.guest_area, 0, g->context.frames * PAGE_BYTES / 2);
	memcpy(g->context.guest_area, image, bytes);
	if (bytes > XSAVE_LEGACY_SIZE)
		g->context.used |= header.xstate_bv;
	return true;
}

static uint64_t *xstate_bv(const struct guest *g)
{
	return (uint64_t *)(void *)((uint8_t *)g->context.guest_area + XSAVE_LEGACY_SIZE);
}

static uint8_t *component_at(const struct guest *g, unsigned component)
{
	uint8_t *area = g->context.guest_area;

	if (component < COMPONENT_AVX)
		return component ? area + XMM_OFFSET : area;
	return area + g->context.component_offset[component];
}

const uint8_t *context_component(const struct guest *g, unsigned component)
{
	if (component >= COMPONENT_AVX && !g->context.component_offset[component])
		return NULL;
	if (g->context.has_xsave && !(*xstate_bv(g) >> component & 1))
		return NULL;
	return component_at(g, component);
}

/* In the initial configuration all registers are 0, but for FCW (SDM Vol. 1, 13.6). MXCSR is not part of it. */
static void initialise_component(struct guest *g, unsigned component, uint8_t *at)
{
	static const uint16_t bytes[] = {32 + 8 * 16, 16 * 16, 16 * 16, 0, 0, 8 * 8, 16 * 32, 16 * 64, 0, 8};
	uint32_t mxcsr[2];

	memcpy(mxcsr, (uint8_t *)g->context.guest_area + MXCSR_OFFSET, sizeof(mxcsr));
	memset(at, 0, bytes[component]);
	if (component)
		return;
	at[0] = FCW_RESET & 0xff;
	at[1] = FCW_RESET >> 8;
	memcpy(at + MXCSR_OFFSET, mxcsr, sizeof(mxcsr));
}

uint8_t *context_change_component(struct guest *g, unsigned component)
{
	uint8_t *at = component_at(g, component);

	if (!context_component(g, component))
		initialise_component(g, component, at);
	if (g->context.has_xsave)
		*xstate_bv(g) |= UINT64_C(1) << component;
	return at;
}

/*
 * Only FXSAVE tells, which a host that switches its FPU lazily may not execute just so. `area` is not on the stack, which
 * kernels align to 8 bytes only.
 */
static uint32_t read_mxcsr_mask(uint8_t *area)
{
	const uint64_t flags = insn_disable_interrupts(), cr0 = insn_read_cr0();
	uint32_t mask;

	if (cr0 & CR0_TS)
		insn_clts();
	memset(area, 0, XSAVE_LEGACY_SIZE);
	insn_fxsave(area);
	if (cr0 & CR0_TS)
		insn_write_cr0(cr0);
	insn_restore_interrupts(flags);
	memcpy(&mask, area + MXCSR_MASK_OFFSET, sizeof(mask));
	return mask ? mask : MXCSR_MASK_DEFAULT;
}

void context_bind(struct guest *g)
{
	struct guest_context *context = &g->context;

	if (!context->mxcsr_mask)
		context->mxcsr_mask = read_mxcsr_mask(context->host_area);
	context->host_xss = context->has_xss ? insn_rdmsr(X86VCPU_MSR_IA32_XSS) : 0;
	context->host_tsc_aux = context->has_tsc_aux ? insn_rdmsr(X86VCPU_MSR_IA32_TSC_AUX) : 0;
}

/* ---- The switch ------------------------------------------------------------------------------------- */

/*
 * Both images are moved with everything enabled that either side may have used; otherwise a
 * component that only one side enables would stay behind in the registers. XSETBV is dear: a guest that has
 * not enabled more than the host costs none to begin with.
 */
static void exchange(struct guest *g, void *save, const void *restore, uint64_t before, uint64_t after)
{
	const uint64_t all = g->context.used | g->context.host_xcr0;

	if (before != all)
		insn_xsetbv(0, all);
	insn_xsave(save);
	if (g->context.leaks_x87_pointers)
		insn_clear_x87_pointers();
	insn_xrstor(restore);
	if (after != all)
		insn_xsetbv(0, after);
}

static void exchange_legacy(const struct guest_context *context, void *save, const void *restore)
{
	insn_fxsave(save);
	if (context->leaks_x87_pointers)
		insn_clear_x87_pointers();
	insn_fxrstor(restore);
}

static void load_extended(struct guest *g)
{
	struct guest_context *context = &g->context;

	if (!context->has_xsave) {
		exchange_legacy(context, context->host_area, context->guest_area);
		return;
	}
	context->host_xcr0 = insn_xgetbv(0);
	context->used |= g->xcr0; /* the VMM may have set it */
	exchange(g, context->host_area, context->guest_area, context->host_xcr0, g->xcr0);
}

static void store_extended(struct guest *g, uint64_t xcr0)
{
	struct guest_context *context = &g->context;

	if (!context->has_xsave) {
		exchange_legacy(context, context->guest_area, context->host_area);
		return;
	}
	exchange(g, context->guest_area, context->host_area, xcr0, context->host_xcr0);
}

void context_read_image(struct guest *g)
{
	const uint64_t all = g->context.used | g->context.host_xcr0;

	if (!g->context.loaded)
		return;
	if (!g->context.has_xsave) {
		insn_fxsave(g->context.guest_area);
		return;
	}
	g->xcr0 = insn_xgetbv(0);
	if (g->xcr0 != all)
		insn_xsetbv(0, all);
	insn_xsave(g->context.guest_area);
	if (g->xcr0 != all)
		insn_xsetbv(0, g->xcr0);
}

void context_write_image(struct guest *g)
{
	const uint64_t all = g->context.used | g->context.host_xcr0;

	if (!g->context.loaded)
		return;
	if (!g->context.has_xsave) {
		insn_fxrstor(g->context.guest_area);
		return;
	}
	if (g->xcr0 != all)
		insn_xsetbv(0, all);
	insn_xrstor(g->context.guest_area);
	if (g->xcr0 != all)
		insn_xsetbv(0, g->xcr0);
}

#define COMPONENT_PKRU 9u

uint32_t context_pkru(struct guest *g)
{
	const uint8_t *registers;
	uint32_t pkru = 0;

	context_read_image(g);
	registers = context_component(g, COMPONENT_PKRU);
	if (registers)
		memcpy(&pkru, registers, sizeof(pkru));
	return pkru;
}

/* What it enables for the first time holds the host's values, until both images have been moved with it. */
void context_load_xcr0(struct guest *g)
{
	if (!g->context.has_xsave)
		return;
	if (g->xcr0 & ~g->context.used) {
		store_extended(g, insn_xgetbv(0));
		load_extended(g);
		return;
	}
	insn_xsetbv(0, g->xcr0);
}

void context_cannot_see_xcr0(struct guest *g)
{
	g->context.xcr0_unseen = true;
	g->context.used |= g->limits.xcr0;
}

void context_read_xcr0(struct guest *g)
{
	if (g->context.has_xsave)
		g->xcr0 = insn_xgetbv(0);
}

void context_load_msrs(struct guest *g)
{
	if (g->context.has_xss)
		insn_wrmsr(X86VCPU_MSR_IA32_XSS, g->msrs.xss);
	if (g->context.has_tsc_aux)
		insn_wrmsr(X86VCPU_MSR_IA32_TSC_AUX, g->msrs.tsc_aux);
}

static void load_switched_msrs(struct guest *g)
{
	const struct guest_context *context = &g->context;

	if (context->has_xss && context->host_xss != g->msrs.xss)
		insn_wrmsr(X86VCPU_MSR_IA32_XSS, g->msrs.xss);
	if (context->has_tsc_aux && context->host_tsc_aux != g->msrs.tsc_aux)
		insn_wrmsr(X86VCPU_MSR_IA32_TSC_AUX, g->msrs.tsc_aux);
}

static void store_switched_msrs(struct guest *g)
{
	const struct guest_context *context = &g->context;

	/* The guest's writes exit, so what it holds is known. */
	if (context->has_xss && context->host_xss != g->msrs.xss)
		insn_wrmsr(X86VCPU_MSR_IA32_XSS, context->host_xss);
	if (context->has_tsc_aux && context->host_tsc_aux != g->msrs.tsc_aux)
		insn_wrmsr(X86VCPU_MSR_IA32_TSC_AUX, context->host_tsc_aux);
}

void context_load_drs(struct guest *g)
{
	/* Under the host's DR7 a guest's address would be a breakpoint in the host. The backends restore DR7. */
	if (insn_read_dr7() != DR7_RESET)
		insn_write_dr7(DR7_RESET);
	insn_read_drs(g->context.host_dr);
	g->context.host_dr6 = insn_read_dr6();
	insn_write_drs(g->debug.owns_drs ? g->debug.address : g->dr);
	insn_write_dr6(g->debug.owns_drs ? DR6_RESET : g->dr6);
	g->drs_loaded = true;
}

void context_store_drs(struct guest *g)
{
	if (!g->debug.owns_drs) {
		insn_read_drs(g->dr);
		g->dr6 = insn_read_dr6();
	}
	insn_write_drs(g->context.host_dr);
	insn_write_dr6(g->context.host_dr6);
	g->drs_loaded = false;
}

void context_load(struct guest *g)
{
	g->context.host_cr0 = insn_read_cr0();
	if (g->context.host_cr0 & CR0_TS)
		insn_clts();
	load_switched_msrs(g);
	load_extended(g);
	g->context.loaded = true;
}

void context_store(struct guest *g)
{
	if (g->context.xcr0_unseen)
		context_read_xcr0(g);
	store_extended(g, g->xcr0);
	store_switched_msrs(g);
	if (g->context.host_cr0 & CR0_TS)
		insn_write_cr0(insn_read_cr0() | CR0_TS);
	g->context.loaded = false;
}
