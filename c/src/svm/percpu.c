/* SPDX-License-Identifier: Apache-2.0 */
/* SVM on one CPU: on and off (APM 15.4, 15.30). */
#include "cpu/insn.h"
#include "cpu/libc.h"
#include "cpu/quirks.h"
#include "cpu/x86.h"
#include "emul/log.h"
#include "svm/svm.h"
#include "x86vcpu/msr.h"
#include "x86vcpu/status.h"

#define SVM_LEAF 0x8000000au
#define VM_CR_SVMDIS (UINT64_C(1) << 4)
#define EDX_NESTED_PAGING (1u << 0)
#define EDX_SVM_LOCK (1u << 2)
#define EDX_NEXT_RIP (1u << 3)
#define EDX_DECODE_ASSISTS (1u << 7)

void svm_read_capability(struct svm_capability *capability)
{
	uint32_t leaf[4];

	insn_cpuid(SVM_LEAF, 0, leaf);
	*capability = (struct svm_capability){
		.asids = leaf[1],
		.nested_paging = leaf[3] & EDX_NESTED_PAGING,
		.svm_lock = leaf[3] & EDX_SVM_LOCK,
		.next_rip = leaf[3] & EDX_NEXT_RIP,
		.decode_assists = leaf[3] & EDX_DECODE_ASSISTS,
	};
}

/*
 * With SVMDIS set EFER.SVME cannot be (APM 15.30.1). Where there is no lock feature SVMDIS could be
 * cleared, but it is firmware's wish all the same. A machine without the MSR has nothing to say.
 */
static uint64_t read_vm_cr(const struct backend_cpu *cpu)
{
	uint64_t value = 0;

	if (!cpu->host->read_msr)
		return insn_rdmsr(X86VCPU_MSR_VM_CR);
	return cpu->host->read_msr(cpu->ctx, X86VCPU_MSR_VM_CR, &value) ? 0 : value;
}

/* Nested paging, and one ASID besides the host's. */
static int32_t check(const struct backend_cpu *cpu, const struct svm_capability *capability)
{
	if (!capability->nested_paging) {
		LOG(cpu->host, cpu->ctx, LOG_ERROR, "SVM: this CPU lacks nested paging");
		return X86VCPU_ERR_UNSUPPORTED;
	}
	if (capability->asids < 2) {
		LOG(cpu->host, cpu->ctx, LOG_ERROR, "SVM: this CPU has no address-space identifiers");
		return X86VCPU_ERR_UNSUPPORTED;
	}
	return read_vm_cr(cpu) & VM_CR_SVMDIS ? X86VCPU_ERR_FIRMWARE_DISABLED : X86VCPU_OK;
}

static bool has_no_execute(void)
{
	uint32_t leaf[4];

	insn_cpuid(0x80000001, 0, leaf);
	return leaf[3] & CPUID_80000001_EDX_NX;
}

static int32_t alloc_save_area(struct backend_cpu *cpu)
{
	cpu->region_hpa = cpu->host->alloc_frame(cpu->ctx);
	if (!cpu->region_hpa)
		return X86VCPU_ERR_NO_MEMORY;
	memset(cpu->host->phys_to_virt(cpu->ctx, cpu->region_hpa), 0, 4096);
	return X86VCPU_OK;
}

int32_t svm_cpu_enable(struct backend_cpu *cpu)
{
	const uint64_t efer = insn_rdmsr(X86VCPU_MSR_IA32_EFER);
	struct svm_capability capability;
	int32_t status;

	if (efer & EFER_SVME)
		return X86VCPU_ERR_RESOURCE_BUSY;
	svm_read_capability(&capability);
	status = check(cpu, &capability);
	if (!status)
		status = alloc_save_area(cpu);
	if (status)
		return status;
	/* The host ops may have come back for this CPU. */
	if (insn_rdmsr(X86VCPU_MSR_IA32_EFER) & EFER_SVME) {
		cpu->host->free_frame(cpu->ctx, cpu->region_hpa);
		return X86VCPU_ERR_RESOURCE_BUSY;
	}
	cpu->old_cr4 = insn_read_cr4();
	insn_write_cr4(cpu->old_cr4 | context_host_cr4());
	cpu->old_efer = efer;
	/* NXE governs the nested tables' no-execute bits too (APM 15.25.5). */
	insn_wrmsr(X86VCPU_MSR_IA32_EFER, efer | EFER_SVME | (has_no_execute() ? EFER_NXE : 0));
	cpu->old_save_area = insn_rdmsr(X86VCPU_MSR_VM_HSAVE_PA);
	insn_wrmsr(X86VCPU_MSR_VM_HSAVE_PA, cpu->region_hpa);
	cpu->quirks = quirks_detect();
	cpu->next_tag = 1; /* ASID 0 is the host's */
	cpu->last_tag = capability.asids - 1;
	cpu->tag_generation++;
	cpu->flush_tags = true; /* an earlier owner of this CPU may have left translations */
	return X86VCPU_OK;
}

void svm_cpu_disable(struct backend_cpu *cpu)
{
	const uint64_t set_in_cr4 = context_host_cr4();
	const uint64_t efer = insn_rdmsr(X86VCPU_MSR_IA32_EFER);

	insn_wrmsr(X86VCPU_MSR_VM_HSAVE_PA, cpu->old_save_area);
	insn_wrmsr(X86VCPU_MSR_IA32_EFER, (efer & ~(EFER_SVME | EFER_NXE)) | (cpu->old_efer & EFER_NXE));
	insn_write_cr4((insn_read_cr4() & ~set_in_cr4) | (cpu->old_cr4 & set_in_cr4));
	cpu->host->free_frame(cpu->ctx, cpu->region_hpa);
	cpu->region_hpa = 0;
}
