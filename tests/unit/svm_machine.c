/* SPDX-License-Identifier: Apache-2.0 */
/* See svm_machine.h. */
#include <check.h>

#include "fake_cpu.h"

/* With leaf 8000000a, which the fake CPU does not have. */
static void svm_cpuid_leaf(uint32_t leaf, uint32_t subleaf, uint32_t out[4]);
#define insn_cpuid svm_cpuid_leaf

#include "cpu/quirks.c"
#include "svm/events.c"
#include "svm/explain.c"
#include "svm/exits.c"
#include "svm/fields.c"
#include "svm/nmi.c"
#include "svm/percpu.c"
#include "svm/run.c"
#include "svm/setup.c"

#include "svm_machine.h"

#define PML4 0xf000u
#define PDPT 0xe000u

/* ---- The machine ---------------------------------------------------------------------------------------- */

static _Alignas(4096) uint8_t pool[40][4096];
static unsigned pool_used;
static uint32_t svm_features;
static struct guest_cpuid_entry cpuid_table[CPUID_TABLE_SIZE];

_Alignas(4096) uint8_t memory[MEMORY_SIZE];
uint32_t asids;
static bool is_qemu;
bool without_nested_paging;
struct svm_vcpu vcpu, other;
struct backend_cpu cpus[2];
struct x86vcpu_exit reported;
unsigned serviced;
void (*machine_guest)(struct svm_vcpu *v);

static void svm_cpuid_leaf(uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	fake_cpuid(leaf, subleaf, out);
	if (is_qemu && leaf == 1)
		out[2] |= 1u << 31;
	if (is_qemu && leaf == 0x40000000)
		memcpy(out + 1, "TCGTCGTCGTCG", 12);
	if (leaf == 0x8000000a) {
		out[0] = 1;
		out[1] = asids;
		out[3] = svm_features | (without_nested_paging ? 0 : 1);
	}
}

static void host_cpuid_leaf(void *ctx, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	(void)ctx;
	fake_cpuid(leaf, subleaf, out);
}

static uint64_t alloc_contiguous(void *ctx, uint64_t count, uint64_t align)
{
	(void)ctx;
	(void)align;
	ck_assert_uint_le(pool_used + count, 40);
	pool_used += (unsigned)count;
	return (uintptr_t)pool[pool_used - count];
}

static uint64_t alloc_frame(void *ctx)
{
	return alloc_contiguous(ctx, 1, 4096);
}

static void *phys_to_virt(void *ctx, uint64_t hpa)
{
	(void)ctx;
	return (void *)(uintptr_t)hpa;
}

static int32_t nothing_there(void *ctx, void *machine, uint64_t gpa, void *buf, uint64_t len)
{
	(void)ctx;
	(void)machine;
	(void)gpa;
	(void)buf;
	(void)len;
	return X86VCPU_ERR_INVALID_DATA;
}

static uint64_t nanos_to_ticks(void *ctx, uint64_t nanos)
{
	(void)ctx;
	return nanos * 2;
}

static void service(void *ctx)
{
	(void)ctx;
	serviced++;
}

static const struct x86vcpu_host_ops host = {
	.size = sizeof(host),
	.alloc_frame = alloc_frame,
	.alloc_contiguous_frames = alloc_contiguous,
	.phys_to_virt = phys_to_virt,
	.read_guest = nothing_there,
	.nanos_to_ticks = nanos_to_ticks,
	.service_pending_interrupt = service,
};

static const struct x86vcpu_memory_region region = {.hva = memory, .size = sizeof(memory)};
static const struct x86vcpu_mmio_range device = {.base = DEVICE, .size = 0x1000};

void machine_make_vcpu(struct svm_vcpu *v)
{
	const struct backend_setup setup = {.entry = CODE_AT, .nested_root = 0x5000, .nested_levels = 4, .time_slice_ns = 1000000};
	struct cpuid_config config = {.host = host_cpuid_leaf, .physical_bits = 48};
	struct guest *g = &v->guest;

	memset(v, 0, sizeof(*v));
	g->host = &host;
	g->exit = &reported;
	g->memory = &region;
	g->memory_count = 1;
	g->mmio = &device;
	g->mmio_count = 1;
	ck_assert_int_eq(lapic_create(g), 0);
	ck_assert_int_eq(svm_backend.create(g), 0);
	svm_backend.cpuid_features(g, &config);
	cpuid_attach(g, cpuid_table, cpuid_build(cpuid_table, CPUID_TABLE_SIZE, &config, &g->limits));
	ck_assert_int_eq(svm_backend.setup(g, &setup), 0);
}

static void enable(struct backend_cpu *cpu)
{
	*cpu = (struct backend_cpu){.host = &host};
	*fake_msr(0xc0000080) = 0xd01;
	ck_assert_int_eq(svm_backend.cpu_enable(cpu), 0);
}

void machine_start(uint32_t features)
{
	memset(&fake_cpu, 0, sizeof(fake_cpu));
	memset(memory, 0, sizeof(memory));
	pool_used = serviced = 0;
	machine_guest = NULL;
	svm_features = features & ~(uint32_t)MACHINE_QEMU;
	is_qemu = features & MACHINE_QEMU;
	asids = asids ? asids : 0x8000;
	fake_cpu.cr0 = 0x80010033;
	fake_cpu.cr4 = 0x42620;
	fake_cpu.dr7 = 0x400;
	fake_cpu.xcr0 = 1;
	enable(&cpus[0]);
	enable(&cpus[1]);
	machine_make_vcpu(&vcpu);
	ck_assert_int_eq(svm_backend.bind(&vcpu.guest, &cpus[0]), 0);
}

static void segment(struct vmcb_segment *s, uint16_t attributes)
{
	*s = (struct vmcb_segment){.attributes = attributes, .limit = 0xffffffff};
}

static void set_modes(uint64_t cr0, uint64_t cr4, uint64_t efer, uint16_t code)
{
	struct vmcb *vmcb = vcpu.vmcb;

	vmcb->cr0 = cr0;
	vcpu.cr0_cache_bits = 0;
	vcpu.cr4 = vmcb->cr4 = cr4;
	vmcb->efer = efer | BIT(12);
	vmcb->intercept_cr_read &= 0xfffe;
	segment(&vmcb->cs, code);
	segment(&vmcb->ss, 0xc93);
	segment(&vmcb->ds, 0xc93);
	segment(&vmcb->es, 0xc93);
	segment(&vmcb->fs, 0xc93);
	segment(&vmcb->gs, 0xc93);
	vcpu.guest.valid = 0;
}

void machine_start_protected(uint32_t features)
{
	machine_start(features);
	set_modes(0x11, 0, 0, 0xc9b);
}

void machine_write64(uint32_t gpa, uint64_t value)
{
	memcpy(memory + gpa, &value, sizeof(value));
}

void machine_start_long(uint32_t features)
{
	machine_start(features);
	machine_write64(PML4, PDPT | 7);
	machine_write64(PDPT, PD | 7);
	for (uint32_t i = 0; i < 8; i++)
		machine_write64(PD + 8 * i, i * UINT64_C(0x200000) | 0x87);
	set_modes(0x80010011, 0x20, 0xd01, 0xa9b);
	vcpu.vmcb->cr3 = PML4;
}

void machine_code(const void *bytes, size_t count)
{
	memcpy(memory + CODE_AT, bytes, count);
}

/* ---- The guest: a list of exits -------------------------------------------------------------------------- */

static const struct fake_exit *exits;
static unsigned exits_left;

unsigned entry_count;
struct fake_entry entries[MACHINE_ENTRIES];

static void leave_with(struct vmcb *vmcb, const struct fake_exit *exit)
{
	vmcb->exit_code = exit->code;
	vmcb->exit_info1 = exit->info1;
	vmcb->exit_info2 = exit->info2;
	vmcb->exit_int_info = exit->vectoring;
	vmcb->next_rip = exit->next_rip;
	vmcb->rip = exit->rip ? exit->rip : vmcb->rip;
	vmcb->rflags = exit->rflags ? exit->rflags : vmcb->rflags;
	vmcb->interrupt_shadow = exit->in_shadow;
	if (!exit->virq_left && !(vmcb->intercept3 & 1u << 4))
		vmcb->virtual_interrupt &= ~BIT(8);
	if (exit->tpr)
		vmcb->virtual_interrupt = (vmcb->virtual_interrupt & ~UINT64_C(15)) | (exit->tpr - 1u);
	/* #VMEXIT clears EVENTINJ (APM 15.6); a VMRUN that fails is taken to leave it. */
	if ((uint32_t)exit->code < 0xfffffff0)
		vmcb->event_injection = 0;
}

/* After the list an interrupt of the host, at the end of the time slice. */
void svm_enter(struct guest *g, uint64_t vmcb_hpa, uint64_t host_hpa)
{
	static const struct fake_exit interrupt = {.code = 0x60};
	struct vmcb *vmcb = svm_of(g)->vmcb;

	ck_assert_uint_eq(vmcb_hpa, (uintptr_t)vmcb);
	ck_assert_uint_ne(host_hpa, 0);
	g->cr2 = fake_cpu.cr2;
	if (machine_guest) {
		machine_guest(svm_of(g));
		return;
	}
	ck_assert_uint_lt(entry_count, MACHINE_ENTRIES);
	entries[entry_count++] = (struct fake_entry){
		.event = vmcb->event_injection, .rip = vmcb->rip, .window = vmcb->virtual_interrupt,
		.shadow = vmcb->interrupt_shadow, .cr0 = vmcb->cr0, .cr4 = vmcb->cr4, .clean = vmcb->clean,
		.asid = vmcb->asid, .intercept3 = vmcb->intercept3, .cr_read = vmcb->intercept_cr_read,
		.cr_write = vmcb->intercept_cr_write,
		.tlb_control = vmcb->tlb_control,
	};
	fake_cpu.cr2 = vmcb->cr2; /* APM 15.5.1 */
	if (exits_left) {
		exits_left--;
		leave_with(vmcb, exits++);
	} else {
		fake_cpu.tsc += 10000000;
		leave_with(vmcb, &interrupt);
	}
}

void svm_enter_mitigated(struct guest *g, uint64_t vmcb_hpa, uint64_t host_hpa)
{
	svm_enter(g, vmcb_hpa, host_hpa);
}

int32_t machine_run_vcpu(struct svm_vcpu *v, const struct fake_exit *list, unsigned count)
{
	int32_t status;

	exits = list;
	exits_left = count;
	entry_count = 0;
	status = svm_backend.run(&v->guest);
	svm_backend.serve_host(&v->guest);
	return status;
}

void machine_run(const struct fake_exit *list, unsigned count)
{
	ck_assert_int_eq(machine_run_vcpu(&vcpu, list, count), 0);
}

uint64_t machine_rip(void)
{
	return guest_get(&vcpu.guest, G_RIP);
}
