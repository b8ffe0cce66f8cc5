/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's side of the world switch. What bind reads stays valid until unbind: see "Duties of the host" in
 * x86vcpu/vcpu.h.
 */
#include "cpu/insn.h"
#include "cpu/libc.h"
#include "cpu/x86.h"
#include "emul/host_mode.h"
#include "emul/log.h"
#include "emul/msr.h"
#include "vmx/vmcs.h"
#include "vmx/vmx.h"
#include "x86vcpu/msr.h"

/* Base of a 64-bit TSS descriptor (SDM 7.2.3). A selector outside the table has base 0. */
static uint64_t tss_base(const struct insn_table *gdt, uint16_t selector)
{
	const uint32_t offset = selector & ~7u;
	const uint64_t *entry = (const uint64_t *)(uintptr_t)(gdt->base + offset);

	if (offset + 15 > gdt->limit)
		return 0;
	return (entry[0] >> 16 & 0xffffff) | (entry[0] >> 56) << 24 | entry[1] << 32;
}

#define TSS_BUSY (UINT64_C(1) << 41)
#define TSS_LIMIT_OF_AN_EXIT 0x67u /* SDM 28.5.2 */

/* The descriptor's limit in bytes, less one. */
static uint32_t tss_limit(const uint64_t *entry)
{
	const uint32_t limit = (uint32_t)(entry[0] & 0xffff) | (uint32_t)(entry[0] >> 32 & 0xf0000);

	return entry[0] >> 55 & 1 ? limit << 12 | 0xfff : limit;
}

/* Copies what LTR needs, if TR's limit is one that an exit does not leave. */
static void read_tr(struct vmx_vcpu *v)
{
	const struct insn_table *gdtr = &v->restore.gdtr;
	const uint32_t offset = v->host.tr & ~7u, bytes = gdtr->limit + 1u;
	const uint64_t *gdt = (const uint64_t *)(uintptr_t)gdtr->base;

	v->restore.tr = false;
	if (!offset || offset + 15 > gdtr->limit || tss_limit(&gdt[offset / 8]) == TSS_LIMIT_OF_AN_EXIT)
		return;
	if (offset + 15 >= sizeof(v->gdt)) {
		LOG(v->guest.host, v->guest.ctx, LOG_WARN,
		    "VT-x: the TSS descriptor is beyond 512 bytes of GDT, so TR's limit is 67H after a run");
		return;
	}
	memcpy(v->gdt, gdt, bytes < sizeof(v->gdt) ? bytes : sizeof(v->gdt));
	v->restore.tr = true;
}

/* SDM 27.2.3: TI and RPL of host selectors must be 0. Those that are not are reloaded after the run. */
static uint16_t clean(uint16_t selector)
{
	return selector & 7 ? 0 : selector;
}

static void read_selectors(struct vmx_host *host, struct vmx_restore *restore)
{
	restore->ds = insn_read_ds();
	restore->es = insn_read_es();
	restore->fs = insn_read_fs();
	restore->gs = insn_read_gs();
	restore->segments = (restore->ds | restore->es | restore->fs | restore->gs) & 7;
	host->ds = clean(restore->ds);
	host->es = clean(restore->es);
	host->fs = clean(restore->fs);
	host->gs = clean(restore->gs);
	host->cs = insn_read_cs();
	host->ss = clean(insn_read_ss());
	host->tr = insn_str();
}

static void read_tables(struct vmx_host *host, struct vmx_restore *restore)
{
	insn_sgdt(&restore->gdtr);
	insn_sidt(&restore->idtr);
	host->gdtr_base = restore->gdtr.base;
	host->idtr_base = restore->idtr.base;
	host->tr_base = tss_base(&restore->gdtr, host->tr);
	restore->ldtr = insn_sldt();
	/* An exit leaves both limits at 0xffff and LDTR unusable (SDM 28.5.2). */
	restore->tables = restore->gdtr.limit != 0xffff || restore->idtr.limit != 0xffff || restore->ldtr;
}

/* What a host that can probe for it has there. */
static uint64_t read_debugctl(const struct guest *g)
{
	uint64_t value = 0;

	if (!g->host->read_msr || g->host->read_msr(g->ctx, X86VCPU_MSR_IA32_DEBUGCTL, &value))
		return 0;
	return value;
}

static void read_msrs(struct vmx_host *host, struct vmx_restore *restore)
{
	host->pat = insn_rdmsr(X86VCPU_MSR_IA32_PAT);
	host->efer = insn_rdmsr(X86VCPU_MSR_IA32_EFER);
	host->fs_base = insn_rdmsr(X86VCPU_MSR_IA32_FS_BASE);
	host->gs_base = insn_rdmsr(X86VCPU_MSR_IA32_GS_BASE);
	host->sysenter_cs = insn_rdmsr(X86VCPU_MSR_IA32_SYSENTER_CS);
	host->sysenter_esp = insn_rdmsr(X86VCPU_MSR_IA32_SYSENTER_ESP);
	host->sysenter_eip = insn_rdmsr(X86VCPU_MSR_IA32_SYSENTER_EIP);
	restore->star = insn_rdmsr(X86VCPU_MSR_IA32_STAR);
	restore->lstar = insn_rdmsr(X86VCPU_MSR_IA32_LSTAR);
	restore->cstar = insn_rdmsr(X86VCPU_MSR_IA32_CSTAR);
	restore->fmask = insn_rdmsr(X86VCPU_MSR_IA32_FMASK);
}

static void write_changed(bool all, uint32_t encoding, uint64_t old, uint64_t value)
{
	if (all || old != value)
		vmcs_write_field(encoding, value);
}

/* The fields keep their values over VMCLEAR, so a vCPU that comes back to its CPU writes little. */
void vmx_write_host_state(struct vmx_vcpu *v)
{
	const struct vmx_host old = v->host;
	const bool all = !v->host_written;
	struct vmx_host *host = &v->host;

	read_selectors(host, &v->restore);
	read_tables(host, &v->restore);
	read_tr(v);
	read_msrs(host, &v->restore);
	v->restore.debugctl = read_debugctl(&v->guest);
	v->restore.seldom = v->restore.segments || v->restore.tr || v->restore.debugctl;
	write_changed(all, VMCS_HOST_ES_SELECTOR, old.es, host->es);
	write_changed(all, VMCS_HOST_CS_SELECTOR, old.cs, host->cs);
	write_changed(all, VMCS_HOST_SS_SELECTOR, old.ss, host->ss);
	write_changed(all, VMCS_HOST_DS_SELECTOR, old.ds, host->ds);
	write_changed(all, VMCS_HOST_FS_SELECTOR, old.fs, host->fs);
	write_changed(all, VMCS_HOST_GS_SELECTOR, old.gs, host->gs);
	write_changed(all, VMCS_HOST_TR_SELECTOR, old.tr, host->tr);
	write_changed(all, VMCS_HOST_FS_BASE, old.fs_base, host->fs_base);
	write_changed(all, VMCS_HOST_GS_BASE, old.gs_base, host->gs_base);
	write_changed(all, VMCS_HOST_TR_BASE, old.tr_base, host->tr_base);
	write_changed(all, VMCS_HOST_GDTR_BASE, old.gdtr_base, host->gdtr_base);
	write_changed(all, VMCS_HOST_IDTR_BASE, old.idtr_base, host->idtr_base);
	write_changed(all, VMCS_HOST_SYSENTER_CS, old.sysenter_cs, host->sysenter_cs);
	write_changed(all, VMCS_HOST_SYSENTER_ESP, old.sysenter_esp, host->sysenter_esp);
	write_changed(all, VMCS_HOST_SYSENTER_EIP, old.sysenter_eip, host->sysenter_eip);
	write_changed(all, VMCS_HOST_PAT, old.pat, host->pat);
	write_changed(all, VMCS_HOST_EFER, old.efer, host->efer);
	v->host_written = true;
}

static int32_t update_cr4(struct vmx_vcpu *v, uint64_t cr4)
{
	const struct guest *g = &v->guest;
	const int32_t status = host_mode_check_cr4(g->host, g->ctx, X86VCPU_EXTENSION_VMX, cr4);

	if (status)
		return status;
	v->host.cr4 = cr4;
	vmcs_writen(VMCS_HOST_CR4, cr4 & ~CR4_PKE); /* see vmx_run */
	/* Machine checks are the host's while the guest runs, so CR4.MCE is too. */
	if ((cr4 & CR4_MCE) != (v->cr4_host & CR4_MCE)) {
		v->cr4_host = CR4_VMXE | (cr4 & CR4_MCE);
		guest_set(&v->guest, G_CR4, guest_get(&v->guest, G_CR4));
	}
	return X86VCPU_OK;
}

int32_t vmx_change_host_crs(struct vmx_vcpu *v, uint64_t cr0, uint64_t cr3, uint64_t cr4)
{
	struct vmx_host *host = &v->host;

	if (cr0 != host->cr0) {
		host->cr0 = cr0;
		vmcs_writen(VMCS_HOST_CR0, cr0);
	}
	if (cr3 != host->cr3) {
		host->cr3 = cr3;
		vmcs_writen(VMCS_HOST_CR3, cr3);
	}
	return cr4 == host->cr4 ? X86VCPU_OK : update_cr4(v, cr4);
}

/* ---- MSRs that SYSCALL and SWAPGS use ------------------------------------------------------------- */

static void write_if(bool differs, uint32_t msr, uint64_t value)
{
	if (differs)
		insn_wrmsr(msr, value);
}

/* The VMM may have set some since the last run, and the host has others than where it was bound last. */
static void update_msrs(struct vmx_vcpu *v)
{
	const struct guest_msrs *guest = &v->guest.msrs;
	const struct vmx_restore *host = &v->restore;

	v->syscall_differs = guest->star != host->star || guest->lstar != host->lstar ||
			     guest->cstar != host->cstar || guest->fmask != host->fmask;
	vmcs_write64(VMCS_TSC_OFFSET, guest->tsc_offset);
	if (v->guest.msr_maps_stale)
		msr_bitmap_build(&v->guest, v->guest.host->phys_to_virt(v->guest.ctx, v->msr_bitmap_hpa));
	v->guest.msr_maps_stale = false;
	v->guest.msrs_changed = false;
}

static void load_syscall_msrs(struct vmx_vcpu *v)
{
	const struct guest_msrs *guest = &v->guest.msrs;
	const struct vmx_restore *host = &v->restore;

	write_if(guest->star != host->star, X86VCPU_MSR_IA32_STAR, guest->star);
	write_if(guest->lstar != host->lstar, X86VCPU_MSR_IA32_LSTAR, guest->lstar);
	write_if(guest->cstar != host->cstar, X86VCPU_MSR_IA32_CSTAR, guest->cstar);
	write_if(guest->fmask != host->fmask, X86VCPU_MSR_IA32_FMASK, guest->fmask);
}

/* The guest's writes of the four exit, so its values are known. */
static void store_syscall_msrs(struct vmx_vcpu *v)
{
	const struct guest_msrs *guest = &v->guest.msrs;
	const struct vmx_restore *host = &v->restore;

	write_if(guest->star != host->star, X86VCPU_MSR_IA32_STAR, host->star);
	write_if(guest->lstar != host->lstar, X86VCPU_MSR_IA32_LSTAR, host->lstar);
	write_if(guest->cstar != host->cstar, X86VCPU_MSR_IA32_CSTAR, host->cstar);
	write_if(guest->fmask != host->fmask, X86VCPU_MSR_IA32_FMASK, host->fmask);
}

/* SWAPGS changes it without an exit. */
static void store_kernel_gs_base(struct vmx_vcpu *v)
{
	const uint64_t host = v->restore.kernel_gs_base;
	const uint64_t guest = insn_rdmsr(X86VCPU_MSR_IA32_KERNEL_GS_BASE);

	v->guest.msrs.kernel_gs_base = guest;
	write_if(guest != host, X86VCPU_MSR_IA32_KERNEL_GS_BASE, host);
}

/*
 * After a handled WRMSR: the MSRs hold either side's value, so all are written. Seldom: a guest
 * writes them when it boots.
 */
void vmx_reload_msrs(struct vmx_vcpu *v)
{
	const struct guest_msrs *guest = &v->guest.msrs;

	insn_wrmsr(X86VCPU_MSR_IA32_STAR, guest->star);
	insn_wrmsr(X86VCPU_MSR_IA32_LSTAR, guest->lstar);
	insn_wrmsr(X86VCPU_MSR_IA32_CSTAR, guest->cstar);
	insn_wrmsr(X86VCPU_MSR_IA32_FMASK, guest->fmask);
	context_load_msrs(&v->guest);
	update_msrs(v);
	mitigation_update(&v->guest);
}

/* ---- A run's beginning and end ------------------------------------------------------------------------ */

void vmx_load(struct vmx_vcpu *v)
{
	const struct guest *g = &v->guest;

	context_load(&v->guest);
	if (g->msrs_changed)
		update_msrs(v);
	v->restore.kernel_gs_base = insn_rdmsr(X86VCPU_MSR_IA32_KERNEL_GS_BASE);
	if (v->syscall_differs)
		load_syscall_msrs(v);
	write_if(g->msrs.kernel_gs_base != v->restore.kernel_gs_base, X86VCPU_MSR_IA32_KERNEL_GS_BASE,
		 g->msrs.kernel_gs_base);
}

void vmx_unload(struct guest *g)
{
	struct vmx_vcpu *v = vmx_of(g);

	if (v->syscall_differs)
		store_syscall_msrs(v);
	store_kernel_gs_base(v);
	context_store(g);
}

#define MSR_TEST_CTRL 0x33u
#define TEST_CTRL_SPLIT_LOCK (UINT64_C(1) << 29)
#define CORE_CAPABILITIES_SPLIT_LOCK (UINT64_C(1) << 5)

/* 0 where there is no such MSR. */
static uint64_t read_test_ctrl(const struct guest *g)
{
	uint32_t leaf[4];
	uint64_t value = 0;

	if (g->host->read_msr)
		return g->host->read_msr(g->ctx, MSR_TEST_CTRL, &value) ? 0 : value;
	insn_cpuid(0, 0, leaf);
	if (leaf[0] < 7)
		return 0;
	insn_cpuid(7, 0, leaf);
	if (!(leaf[3] & CPUID_7_EDX_CORE_CAPABILITIES) ||
	    !(insn_rdmsr(X86VCPU_MSR_IA32_CORE_CAPABILITIES) & CORE_CAPABILITIES_SPLIT_LOCK))
		return 0;
	return insn_rdmsr(MSR_TEST_CTRL);
}

bool vmx_suspend_split_lock_detection(struct vmx_vcpu *v)
{
	uint64_t value;

	if (v->restore.test_ctrl)
		return false;
	value = read_test_ctrl(&v->guest);
	if (!(value & TEST_CTRL_SPLIT_LOCK))
		return false;
	insn_wrmsr(MSR_TEST_CTRL, value & ~TEST_CTRL_SPLIT_LOCK);
	v->restore.test_ctrl = value;
	v->restore.seldom = true;
	LOG(v->guest.host, v->guest.ctx, LOG_INFO, "VT-x: the guest's split lock passes, detection is off for this run");
	return true;
}

static void resume_split_lock_detection(struct vmx_vcpu *v)
{
	insn_wrmsr(MSR_TEST_CTRL, v->restore.test_ctrl);
	v->restore.test_ctrl = 0;
}

static void restore_segments(const struct vmx_vcpu *v)
{
	const struct vmx_restore *restore = &v->restore;

	if (restore->ds & 7)
		insn_load_ds(restore->ds);
	if (restore->es & 7)
		insn_load_es(restore->es);
	if (restore->fs & 7) {
		insn_load_fs(restore->fs);
		insn_wrmsr(X86VCPU_MSR_IA32_FS_BASE, v->host.fs_base);
	}
	if (restore->gs & 7) {
		insn_load_gs(restore->gs);
		insn_wrmsr(X86VCPU_MSR_IA32_GS_BASE, v->host.gs_base);
	}
}

/*
 * From a copy of the GDT, because LTR wants a descriptor that is not busy and the host's GDT may be read-only. An NMI
 * finds the host's other descriptors in the copy. restore_tables follows.
 */
static void restore_tr(struct vmx_vcpu *v)
{
	const uint32_t limit = v->restore.gdtr.limit;
	const struct insn_table copy = {
		.limit = (uint16_t)(limit < sizeof(v->gdt) ? limit : sizeof(v->gdt) - 1),
		.base = (uintptr_t)v->gdt,
	};

	v->gdt[v->host.tr / 8] &= ~TSS_BUSY;
	insn_lgdt(&copy);
	insn_ltr(v->host.tr);
}

static void restore_tables(const struct vmx_vcpu *v)
{
	insn_lgdt(&v->restore.gdtr);
	insn_lidt(&v->restore.idtr);
	if (v->restore.ldtr)
		insn_lldt(v->restore.ldtr);
}

/* Out of line: most hosts need none of it. */
__attribute__((noinline)) static void restore_seldom(struct vmx_vcpu *v)
{
	const struct vmx_restore *restore = &v->restore;

	if (restore->tr) {
		restore_tr(v);
		restore_tables(v);
	}
	if (restore->segments)
		restore_segments(v);
	write_if(restore->debugctl, X86VCPU_MSR_IA32_DEBUGCTL, restore->debugctl);
	if (restore->test_ctrl)
		resume_split_lock_detection(v);
}

void vmx_store_context(struct vmx_vcpu *v)
{
	const struct vmx_restore *restore = &v->restore;

	if (v->guest.drs_loaded) {
		v->guest.drs_armed = guest_get(&v->guest, G_DR7) & DR7_ENABLES;
		v->cpu |= CPU_MOV_DR_EXITING;
		vmcs_write32(VMCS_CPU_CONTROLS, v->cpu);
		context_store_drs(&v->guest);
	}
	if (!v->guest.context.keep)
		vmx_unload(&v->guest);
	if (restore->tables)
		restore_tables(v);
	if (restore->dr7 != DR7_RESET)
		insn_write_dr7(restore->dr7);
	if (restore->seldom)
		restore_seldom(v);
}

/* The guest touches its debug registers: it gets them, without further exits, until the run ends. */
void vmx_use_debug_registers(struct vmx_vcpu *v)
{
	context_load_drs(&v->guest);
	v->cpu &= ~(uint32_t)CPU_MOV_DR_EXITING;
	vmcs_write32(VMCS_CPU_CONTROLS, v->cpu);
}

/* ---- Bind --------------------------------------------------------------------------------------------- */

static void new_tag(struct vmx_vcpu *v, struct backend_cpu *cpu)
{
	if (cpu->next_tag > cpu->last_tag) {
		cpu->next_tag = 1;
		cpu->tag_generation++;
		insn_invvpid(2, 0);
	}
	v->vpid = (uint16_t)cpu->next_tag++;
	vmcs_write16(VMCS_VPID, v->vpid);
	v->tag_generation = cpu->tag_generation;
}

/*
 * Translations that this CPU keeps under the vCPU's tag and EPTP are good only if it was here last:
 * elsewhere it may have run with other tables (SDM 29.4.3).
 */
void vmx_claim_tlb(struct vmx_vcpu *v, struct backend_cpu *cpu)
{
	if (v->cpu_tagged == cpu && v->tag_generation == cpu->tag_generation)
		return;
	if (v->cpu2 & CPU2_ENABLE_VPID)
		new_tag(v, cpu);
	v->tag_generation = cpu->tag_generation;
	v->cpu_tagged = cpu;
	v->guest.flush_moved = true;
}

int32_t vmx_bind(struct guest *g, struct backend_cpu *cpu)
{
	struct vmx_vcpu *v = vmx_of(g);

	if (!insn_vmptrld(v->vmcs_hpa))
		return X86VCPU_ERR_BAD_STATE;
	g->valid = 0;
	vmx_write_host_state(v);
	context_bind(g);
	mitigation_bind(g, &cpu->mitigation);
	g->msrs_changed = true;
	vmx_claim_tlb(v, cpu);
	return X86VCPU_OK;
}

/* VMCLEAR writes all of it to memory, so that any CPU may load it next (SDM 25.11.1). */
void vmx_unbind(struct guest *g)
{
	struct vmx_vcpu *v = vmx_of(g);

	vmx_write_dirty(v);
	g->valid = 0;
	insn_vmclear(v->vmcs_hpa);
	v->launched = false;
}
