/* SPDX-License-Identifier: Apache-2.0 */
/* A vCPU's structures, and its VMCS at reset (SDM 25, table 10-1). */
#include "cpu/insn.h"
#include "cpu/libc.h"
#include "cpu/x86.h"
#include "emul/log.h"
#include "emul/msr.h"
#include "emul/pio.h"
#include "emul/reset.h"
#include "emul/slice.h"
#include "vmx/vmcs.h"
#include "vmx/vmx.h"
#include "x86vcpu/msr.h"

#define PAGE_BYTES UINT64_C(4096)
#define EPTP_WALK_SHIFT 3 /* of the page-walk length less one */

/* ---- Frames ----------------------------------------------------------------------------------------- */

int32_t vmx_create(struct guest *g)
{
	struct vmx_vcpu *v = vmx_of(g);
	int32_t status;

	v->vmcs_hpa = g->host->alloc_frame(g->ctx);
	v->msr_bitmap_hpa = g->host->alloc_frame(g->ctx);
	v->io_bitmap_hpa = g->host->alloc_contiguous_frames(g->ctx, 2, PAGE_BYTES);
	status = context_create(g);
	if (!v->vmcs_hpa || !v->msr_bitmap_hpa || !v->io_bitmap_hpa)
		status = X86VCPU_ERR_NO_MEMORY;
	if (status)
		vmx_destroy(g);
	g->read_field = vmx_read_guest_field;
	g->read_mode = vmx_read_mode;
	g->host_tsc = insn_rdtsc;
	return status;
}

/* The VMCS is not active on any CPU: unbind and setup leave it cleared. */
void vmx_destroy(struct guest *g)
{
	struct vmx_vcpu *v = vmx_of(g);

	if (v->vmcs_hpa)
		g->host->free_frame(g->ctx, v->vmcs_hpa);
	if (v->msr_bitmap_hpa)
		g->host->free_frame(g->ctx, v->msr_bitmap_hpa);
	if (v->io_bitmap_hpa)
		g->host->free_contiguous_frames(g->ctx, v->io_bitmap_hpa, 2);
	context_destroy(g);
}

/* ---- Controls --------------------------------------------------------------------------------------------- */

static void choose_masks(struct vmx_vcpu *v)
{
	const struct guest *g = &v->guest;

	/* Not owned by the host: what the CPU itself checks and obeys as the guest expects. */
	v->cr0_mask = ~(CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_WP | CR0_AM | CR0_PG);
	v->cr4_host = CR4_VMXE | (insn_read_cr4() & CR4_MCE);
	v->cr4_mask = ~(g->limits.cr4 & ~(CR4_VMXE | CR4_MCE));
}

static void write_execution_controls(struct vmx_vcpu *v)
{
	vmcs_write32(VMCS_PIN_CONTROLS, v->pin);
	vmcs_write32(VMCS_CPU_CONTROLS, v->cpu);
	vmcs_write32(VMCS_CPU2_CONTROLS, v->cpu2);
	vmcs_write32(VMCS_EXIT_CONTROLS, v->exit);
	vmcs_write32(VMCS_ENTRY_CONTROLS, v->entry);
	v->watches_x87 = false;
	v->exceptions = VMX_EXCEPTIONS;
	vmcs_write32(VMCS_EXCEPTION_BITMAP, v->exceptions);
	vmcs_write32(VMCS_PAGE_FAULT_ERROR_CODE_MASK, 0);
	vmcs_write32(VMCS_PAGE_FAULT_ERROR_CODE_MATCH, 0);
	vmcs_write32(VMCS_CR3_TARGET_COUNT, 0);
	vmcs_write32(VMCS_EXIT_MSR_STORE_COUNT, 0);
	vmcs_write32(VMCS_EXIT_MSR_LOAD_COUNT, 0);
	vmcs_write32(VMCS_ENTRY_MSR_LOAD_COUNT, 0);
	vmcs_write32(VMCS_ENTRY_INTERRUPTION_INFO, 0);
	vmcs_writen(VMCS_CR0_GUEST_HOST_MASK, v->cr0_mask);
	vmcs_writen(VMCS_CR4_GUEST_HOST_MASK, v->cr4_mask);
}

static void write_addresses(struct vmx_vcpu *v)
{
	vmcs_write64(VMCS_IO_BITMAP_A, v->io_bitmap_hpa);
	vmcs_write64(VMCS_IO_BITMAP_B, v->io_bitmap_hpa + PAGE_BYTES);
	vmcs_write64(VMCS_MSR_BITMAP, v->msr_bitmap_hpa);
	vmcs_write64(VMCS_TSC_OFFSET, v->guest.msrs.tsc_offset);
	vmcs_write64(VMCS_EPTP, v->eptp);
	vmcs_write64(VMCS_LINK_POINTER, UINT64_MAX);
	vmcs_write64(VMCS_GUEST_DEBUGCTL, 0);
	v->exit_point = vmx_exit_point;
	vmcs_writen(VMCS_HOST_RIP, (uintptr_t)v->exit_point);
	/* Each exists only with its control. */
	if (v->cpu & CPU_USE_TPR_SHADOW) {
		vmcs_write64(VMCS_VIRTUAL_APIC_ADDRESS, v->guest.lapic.page_hpa);
		vmcs_write32(VMCS_TPR_THRESHOLD, 0);
	}
	if (v->cpu2 & CPU2_ENABLE_XSAVES)
		vmcs_write64(VMCS_XSS_EXITING_BITMAP, 0);
	if (v->cpu2 & CPU2_ENCLS_EXITING)
		vmcs_write64(VMCS_ENCLS_EXITING_BITMAP, UINT64_MAX);
}

static void take_controls(struct vmx_vcpu *v, const struct vmx_capability *capability,
			  const struct backend_setup *setup)
{
	v->pin = capability->controls[VMX_CONTROL_PIN];
	v->cpu = capability->controls[VMX_CONTROL_CPU];
	v->cpu2 = capability->controls[VMX_CONTROL_CPU2];
	if (v->cpu & CPU_USE_TPR_SHADOW)
		v->cpu &= ~(uint32_t)(CPU_CR8_LOAD_EXITING | CPU_CR8_STORE_EXITING);
	v->exit = capability->controls[VMX_CONTROL_EXIT];
	v->entry = capability->controls[VMX_CONTROL_ENTRY];
	/* Without a way to flush its tags a VPID must not be used. */
	if (!(capability->ept_vpid & VPID_CAP_INVVPID_ALL) || !(capability->ept_vpid & VPID_CAP_INVVPID_SINGLE))
		v->cpu2 &= ~(uint32_t)CPU2_ENABLE_VPID;
	v->invept_type = capability->ept_vpid & EPT_CAP_INVEPT_SINGLE ? 1 : 2;
	/*
	 * Without accessed and dirty flags: with them, the CPU's accesses to the guest's paging structures count as
	 * writes, and tables in read-only memory fault (SDM 29.3.5).
	 */
	v->eptp = setup->nested_root | MEMORY_WB | (uint64_t)(setup->nested_levels - 1) << EPTP_WALK_SHIFT;
}

static int32_t check_nested_levels(const struct guest *g, const struct vmx_capability *capability, uint32_t levels)
{
	if (levels == 4 || capability->ept_vpid & EPT_CAP_WALK_5)
		return X86VCPU_OK;
	LOG(g->host, g->ctx, LOG_ERROR, "VT-x: this CPU lacks EPT with five levels, which the nested tables have");
	return X86VCPU_ERR_UNSUPPORTED;
}

/* A VMCS of this CPU's revision, cleared and loaded (SDM 25.11.3). */
static int32_t fresh_vmcs(struct vmx_vcpu *v, uint64_t basic)
{
	uint32_t *vmcs = v->guest.host->phys_to_virt(v->guest.ctx, v->vmcs_hpa);

	memset(vmcs, 0, PAGE_BYTES);
	vmcs[0] = vmx_basic_revision(basic);
	v->launched = false;
	v->guest.switch_word = 0;
	v->host_written = false;
	v->host = (struct vmx_host){.cr0 = 0};
	v->cpu_tagged = NULL;
	if (!insn_vmclear(v->vmcs_hpa) || !insn_vmptrld(v->vmcs_hpa))
		return X86VCPU_ERR_BAD_STATE;
	return X86VCPU_OK;
}

int32_t vmx_setup(struct guest *g, const struct backend_setup *setup)
{
	struct vmx_vcpu *v = vmx_of(g);
	struct vmx_capability capability;
	int32_t status = vmx_read_capability(g->host, g->ctx, &capability);

	if (!status)
		status = check_nested_levels(g, &capability, setup->nested_levels);
	if (!status)
		status = fresh_vmcs(v, capability.basic);
	if (status)
		return status;
	g->valid = 0;
	g->dirty = 0;
	g->drs_armed = false;
	v->injecting.valid = false;
	v->acknowledged = -1;
	v->tpr_threshold = 0;
	v->waiting = false;
	take_controls(v, &capability, setup);
	choose_masks(v);
	v->has_timer = v->pin & PIN_PREEMPTION_TIMER;
	v->has_monitor_trap_flag = capability.monitor_trap_flag;
	v->timer_shift = (uint8_t)vmx_misc_timer_shift(capability.misc);
	slice_configure(g, setup->time_slice_ns);
	/* Bitmap A has ports 0 to 0x7fff, B the others (SDM 25.6.4). */
	pio_bitmap_build(g->host->phys_to_virt(g->ctx, v->io_bitmap_hpa), 2 * PAGE_BYTES, setup->passthrough_ports,
			 setup->passthrough_port_count);
	msr_bitmap_build(g, g->host->phys_to_virt(g->ctx, v->msr_bitmap_hpa));
	context_reset(g);
	guest_reset(g, setup->entry);
	write_execution_controls(v);
	write_addresses(v);
	vmx_write_dirty(v);
	g->valid = 0;
	insn_vmclear(v->vmcs_hpa);
	return X86VCPU_OK;
}

static void load(struct guest *g)
{
	insn_vmptrld(vmx_of(g)->vmcs_hpa);
}

static uint64_t structure(const struct guest *g)
{
	return ((const struct vmx_vcpu *)g)->vmcs_hpa;
}

/* EPT has a depth of its own; every CPU can walk four levels (see capability.c). */
static uint32_t nested_levels(void)
{
	return 4;
}

const struct backend vmx_backend = {
	.extension = X86VCPU_EXTENSION_VMX,
	.nested_format = X86VCPU_NESTED_EPT,
	.apic_access_page = false,
	.has_pdptes = true,
	.guest_bytes = sizeof(struct vmx_vcpu),
	.nested_levels = nested_levels,
	.cpu_enable = vmx_cpu_enable,
	.cpu_disable = vmx_cpu_disable,
	.create = vmx_create,
	.destroy = vmx_destroy,
	.structure = structure,
	.cpuid_features = vmx_cpuid_features,
	.setup = vmx_setup,
	.bind = vmx_bind,
	.unbind = vmx_unbind,
	.load = load,
	.unload = vmx_unload,
	.set_debug = vmx_set_debug,
	.run = vmx_run,
	.serve_host = vmx_serve_host,
	.explain = vmx_explain,
	.entry_check_name = vmx_entry_check_name,
};
