/* SPDX-License-Identifier: Apache-2.0 */
/* A vCPU's structures, and its VMCB at reset. */
#include "cpu/insn.h"
#include "cpu/libc.h"
#include "cpu/x86.h"
#include "emul/msr.h"
#include "emul/pio.h"
#include "emul/reset.h"
#include "emul/slice.h"
#include "svm/svm.h"
#include "x86vcpu/msr.h"
#include "x86vcpu/status.h"

#define PAGE_BYTES UINT64_C(4096)
#define IOPM_PAGES 3u  /* 65,536 bits and a few behind them for wide accesses (APM 15.10.1) */
#define MSRPM_PAGES 2u

/* What exits, whatever the guest does (APM 15.9); the rest is set as it is needed. */
#define INTERCEPTS3                                                                                     \
	(INTERCEPT_INTR | INTERCEPT_NMI | INTERCEPT_INIT | INTERCEPT_RDPMC | INTERCEPT_CPUID |          \
	 INTERCEPT_RSM | INTERCEPT_INVD | INTERCEPT_HLT | INTERCEPT_INVLPGA | INTERCEPT_IOIO |          \
	 INTERCEPT_MSR | INTERCEPT_FERR_FREEZE | INTERCEPT_SHUTDOWN)
#define INTERCEPTS4                                                                                     \
	(INTERCEPT_VMRUN | INTERCEPT_VMMCALL | INTERCEPT_VMLOAD | INTERCEPT_VMSAVE | INTERCEPT_STGI |   \
	 INTERCEPT_CLGI | INTERCEPT_SKINIT | INTERCEPT_WBINVD | INTERCEPT_MONITOR | INTERCEPT_MWAIT |   \
	 INTERCEPT_MWAIT_ARMED | INTERCEPT_XSETBV | INTERCEPT_RDPRU)
#define CR_WRITES (1u << 0 | 1u << 4)
#define CR_READS (1u << 4)
#define ALL_DRS 0xffu

/* ---- Frames ---------------------------------------------------------------------------------------- */

static uint64_t alloc_cleared(struct guest *g, uint64_t pages)
{
	const uint64_t hpa = g->host->alloc_contiguous_frames(g->ctx, pages, PAGE_BYTES);

	if (hpa)
		memset(g->host->phys_to_virt(g->ctx, hpa), 0, pages * PAGE_BYTES);
	return hpa;
}

int32_t svm_create(struct guest *g)
{
	struct svm_vcpu *v = svm_of(g);
	int32_t status;

	v->vmcb_hpa = alloc_cleared(g, 1);
	v->host_hpa = alloc_cleared(g, 1);
	v->msrpm_hpa = alloc_cleared(g, MSRPM_PAGES);
	v->iopm_hpa = alloc_cleared(g, IOPM_PAGES);
	status = context_create(g);
	if (!v->vmcb_hpa || !v->host_hpa || !v->msrpm_hpa || !v->iopm_hpa)
		status = X86VCPU_ERR_NO_MEMORY;
	if (status) {
		svm_destroy(g);
		return status;
	}
	v->vmcb = g->host->phys_to_virt(g->ctx, v->vmcb_hpa);
	g->read_field = svm_read_guest_field;
	g->read_mode = svm_read_mode;
	g->host_tsc = insn_rdtsc;
	return X86VCPU_OK;
}

static void free_frames(struct guest *g, uint64_t hpa, uint64_t pages)
{
	if (hpa)
		g->host->free_contiguous_frames(g->ctx, hpa, pages);
}

void svm_destroy(struct guest *g)
{
	struct svm_vcpu *v = svm_of(g);

	free_frames(g, v->vmcb_hpa, 1);
	free_frames(g, v->host_hpa, 1);
	free_frames(g, v->msrpm_hpa, MSRPM_PAGES);
	free_frames(g, v->iopm_hpa, IOPM_PAGES);
	context_destroy(g);
}

/* ---- Permission maps: a set bit exits ---------------------------------------------------------------- */

/* APM table 15-8: 8,192 MSRs in each of three ranges, two bits each; read is the lower. */
static bool msrpm_bit(uint32_t msr, uint32_t *bit)
{
	static const uint32_t first[] = {0x0, 0xc0000000, 0xc0010000};

	for (uint32_t i = 0; i < 3; i++) {
		if (msr - first[i] < 0x2000) {
			*bit = i * 0x4000 + (msr - first[i]) * 2;
			return true;
		}
	}
	return false;
}

void svm_fill_msrpm(struct svm_vcpu *v)
{
	struct guest *g = &v->guest;
	uint8_t *map = g->host->phys_to_virt(g->ctx, v->msrpm_hpa);
	struct msr_pass pass;
	uint32_t bit;

	g->msr_maps_stale = false;
	v->vmcb->clean &= ~(uint32_t)CLEAN_PERMISSION_MAPS;
	memset(map, 0xff, MSRPM_PAGES * PAGE_BYTES);
	for (uint32_t n = 0; msr_passthrough(g, n, &pass); n++) {
		if (pass.vmx_only || !msrpm_bit(pass.msr, &bit))
			continue;
		if (pass.read)
			map[bit >> 3] &= (uint8_t)~(1u << (bit & 7));
		if (pass.write)
			map[bit >> 3] &= (uint8_t)~(2u << (bit & 7));
	}
}

/* ---- VMCB --------------------------------------------------------------------------------------------------- */

static void fill_control_area(struct svm_vcpu *v, uint64_t nested_root)
{
	struct vmcb *vmcb = v->vmcb;

	memset(vmcb, 0, sizeof(*vmcb));
	vmcb->intercept_cr_read = CR_READS;
	vmcb->intercept_cr_write = CR_WRITES;
	vmcb->intercept_dr_read = ALL_DRS;
	vmcb->intercept_dr_write = ALL_DRS;
	vmcb->intercept_exceptions = SVM_EXCEPTIONS;
	vmcb->intercept3 = INTERCEPTS3;
	vmcb->intercept4 = INTERCEPTS4;
	vmcb->iopm_base = v->iopm_hpa;
	vmcb->msrpm_base = v->msrpm_hpa;
	vmcb->tsc_offset = v->guest.msrs.tsc_offset;
	vmcb->virtual_interrupt = V_INTR_MASKING;
	vmcb->nested_control = NESTED_PAGING;
	vmcb->nested_cr3 = nested_root;
	vmcb->dr6 = v->guest.dr6;
}

int32_t svm_setup(struct guest *g, const struct backend_setup *setup)
{
	struct svm_vcpu *v = svm_of(g);
	struct svm_capability capability;

	svm_read_capability(&capability);
	v->has_next_rip = capability.next_rip;
	v->has_decode_assists = capability.decode_assists;
	v->nested_levels = setup->nested_levels;
	slice_configure(g, setup->time_slice_ns);
	v->cpu_tagged = NULL;
	v->injecting.valid = false;
	v->interrupted = false;
	v->nmi_blocked = false;
	v->iret_seen = false;
	v->stepping = false;
	v->debug_step = false;
	v->reads_cr0 = false;
	g->valid = 0;
	g->dirty = 0;
	g->drs_armed = false;
	context_reset(g);
	guest_reset(g, setup->entry);
	pio_bitmap_build(g->host->phys_to_virt(g->ctx, v->iopm_hpa), IOPM_PAGES * PAGE_BYTES,
			 setup->passthrough_ports, setup->passthrough_port_count);
	svm_fill_msrpm(v);
	fill_control_area(v, setup->nested_root);
	g->msrs_changed = true;
	svm_write_dirty(v);
	g->valid = 0;
	return X86VCPU_OK;
}

/* Nested tables are walked in the paging mode that the host is in at VMRUN (APM 15.25.3). */
uint32_t svm_nested_levels(void)
{
	return insn_read_cr4() & CR4_LA57 ? 5 : 4;
}

/* Nothing that the library offers a guest depends on a control that SVM may lack. */
void svm_cpuid_features(const struct guest *g, struct cpuid_config *config)
{
	(void)g;
	config->rdtscp = true;
	config->invpcid = true;
	config->xsaves = true;
	config->pcid = true;
	config->pku = true;
	config->la57 = true; /* whatever the host's own CR4.LA57 (APM 15.25.3) */
}

static void load(struct guest *g)
{
	(void)g; /* VMRUN is told the VMCB */
}

static uint64_t structure(const struct guest *g)
{
	return ((const struct svm_vcpu *)g)->vmcb_hpa;
}

const struct backend svm_backend = {
	.extension = X86VCPU_EXTENSION_SVM,
	.nested_format = X86VCPU_NESTED_NPT,
	.apic_access_page = false,
	.has_pdptes = false,
	.guest_bytes = sizeof(struct svm_vcpu),
	.nested_levels = svm_nested_levels,
	.cpu_enable = svm_cpu_enable,
	.cpu_disable = svm_cpu_disable,
	.create = svm_create,
	.destroy = svm_destroy,
	.structure = structure,
	.cpuid_features = svm_cpuid_features,
	.setup = svm_setup,
	.bind = svm_bind,
	.unbind = svm_unbind,
	.load = load,
	.unload = context_store,
	.set_debug = svm_set_debug,
	.run = svm_run,
	.serve_host = svm_serve_host,
	.explain = svm_explain,
	.entry_check_name = svm_entry_check_name,
};
