/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which extension the system uses, and the CPUs that have it on. These are the library's only
 * writable globals, but for a counter in emul/mitigation_run.c.
 *
 * Enabled CPUs are kept in lists by their number, each with a spin lock and a cache line of its own. Enable, disable,
 * setup and bind take the lock. A VMM may bind for every guest entry, and CPUs whose numbers differ in the low bits
 * share nothing then.
 */
#include "vcpu/percpu.h"

#include "cpu/insn.h"
#include "cpu/libc.h"
#include "cpu/x86.h"
#include "emul/host_mode.h"
#include "svm/svm.h"
#include "vcpu/host_ops.h"
#include "vmx/vmx.h"
#include "x86vcpu/status.h"

static const struct backend *const backends[] = {
	&vmx_backend,
	&svm_backend,
};

#define CACHE_LINE 64
#define LISTS 64u

struct __attribute__((aligned(CACHE_LINE))) cpu_list {
	struct x86vcpu_percpu *first;
	uint32_t lock;
};

static const struct backend *selected;
static struct cpu_list lists[LISTS];

/*
 * Generations of TLB tags are never used twice, not even by another structure for the same CPU: a vCPU
 * remembers where and when it got its tag.
 */
static uint64_t generations;
#define GENERATIONS_OF_AN_ENABLE (UINT64_C(1) << 32)

/* Interrupts are off while it is held: a handler may want it, or preempt its holder on a host that does so. */
static uint64_t lock_list(struct cpu_list *list)
{
	const uint64_t flags = insn_disable_interrupts();

	while (__atomic_exchange_n(&list->lock, 1, __ATOMIC_ACQUIRE))
		insn_pause();
	return flags;
}

static void unlock_list(struct cpu_list *list, uint64_t flags)
{
	__atomic_store_n(&list->lock, 0, __ATOMIC_RELEASE);
	insn_restore_interrupts(flags);
}

static struct cpu_list *list_of(uint32_t identity)
{
	return &lists[identity % LISTS];
}

const struct backend *backend_in_use(void)
{
	return __atomic_load_n(&selected, __ATOMIC_ACQUIRE);
}

/* ---- Which CPU, which extension ------------------------------------------------------------------ */

/* The x2APIC ID where leaf 0xb exists, else the initial APIC ID (SDM Vol. 2, CPUID). */
static uint32_t apic_id(void)
{
	uint32_t leaf[4];

	insn_cpuid(0, 0, leaf);
	if (leaf[0] >= 0xb) {
		insn_cpuid(0xb, 0, leaf);
		if (leaf[1])
			return leaf[3];
	}
	insn_cpuid(1, 0, leaf);
	return leaf[1] >> 24;
}

uint32_t cpu_identity(const struct x86vcpu_host_ops *ops, void *ctx)
{
	return ops->current_cpu ? ops->current_cpu(ctx) : apic_id();
}

static bool has_svm(void)
{
	uint32_t leaf[4];

	insn_cpuid(0x80000000, 0, leaf);
	if (leaf[0] < 0x80000001)
		return false;
	insn_cpuid(0x80000001, 0, leaf);
	return leaf[2] & CPUID_80000001_ECX_SVM;
}

int32_t x86vcpu_detect(uint32_t *extension)
{
	uint32_t leaf[4];
	bool vmx, svm;

	if (!extension)
		return X86VCPU_ERR_INVALID_INPUT;
	*extension = X86VCPU_EXTENSION_NONE;
	insn_cpuid(1, 0, leaf);
	vmx = leaf[2] & CPUID_1_ECX_VMX;
	svm = has_svm();
	if (vmx && svm)
		return X86VCPU_ERR_INVALID_DATA;
	if (vmx)
		*extension = X86VCPU_EXTENSION_VMX;
	else if (svm)
		*extension = X86VCPU_EXTENSION_SVM;
	return vmx || svm ? X86VCPU_OK : X86VCPU_ERR_UNSUPPORTED;
}

static int32_t choose_backend(const struct backend **backend)
{
	uint32_t extension;
	const int32_t status = x86vcpu_detect(&extension);

	if (status)
		return status;
	for (unsigned i = 0; i < sizeof(backends) / sizeof(backends[0]); i++) {
		*backend = backends[i];
		if ((*backend)->extension == extension)
			return X86VCPU_OK;
	}
	return X86VCPU_ERR_UNSUPPORTED;
}

/* The first CPU chooses for the system; a later one that differs is refused. */
static bool agree(const struct backend *backend)
{
	const struct backend *none = NULL;

	return __atomic_compare_exchange_n(&selected, &none, backend, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE) ||
	       none == backend;
}

int32_t x86vcpu_select(void)
{
	const struct backend *backend;
	const int32_t status = choose_backend(&backend);

	if (status)
		return status;
	return agree(backend) ? X86VCPU_OK : X86VCPU_ERR_BAD_STATE;
}

uint32_t x86vcpu_extension(void)
{
	const struct backend *backend = backend_in_use();

	return backend ? backend->extension : X86VCPU_EXTENSION_NONE;
}

const char *x86vcpu_extension_name(uint32_t extension)
{
	static const char *const names[] = {"none", "VT-x", "SVM"};

	return extension < sizeof(names) / sizeof(names[0]) ? names[extension] : "unknown";
}

int32_t x86vcpu_nested_format(uint32_t *format)
{
	const struct backend *backend = backend_in_use();

	if (!format)
		return X86VCPU_ERR_INVALID_INPUT;
	if (!backend)
		return X86VCPU_ERR_BAD_STATE;
	*format = backend->nested_format;
	return X86VCPU_OK;
}

int32_t x86vcpu_nested_levels(uint32_t *levels)
{
	const struct backend *backend = backend_in_use();

	if (!levels)
		return X86VCPU_ERR_INVALID_INPUT;
	if (!backend)
		return X86VCPU_ERR_BAD_STATE;
	*levels = backend->nested_levels();
	return X86VCPU_OK;
}

int32_t x86vcpu_needs_apic_access_page(uint32_t *needed)
{
	const struct backend *backend = backend_in_use();

	if (!needed)
		return X86VCPU_ERR_INVALID_INPUT;
	if (!backend)
		return X86VCPU_ERR_BAD_STATE;
	*needed = backend->apic_access_page;
	return X86VCPU_OK;
}

/* ---- The lists -------------------------------------------------------------------------------------- */

static struct x86vcpu_percpu *find_locked(const struct cpu_list *list, uint32_t identity)
{
	struct x86vcpu_percpu *percpu = list->first;

	while (percpu && percpu->identity != identity)
		percpu = percpu->next;
	return percpu;
}

struct x86vcpu_percpu *percpu_here(const struct x86vcpu_host_ops *ops, void *ctx)
{
	struct x86vcpu_percpu *percpu;
	const uint32_t identity = cpu_identity(ops, ctx);
	struct cpu_list *list = list_of(identity);
	const uint64_t flags = lock_list(list);

	percpu = find_locked(list, identity);
	unlock_list(list, flags);
	return percpu;
}

/* False: the CPU is there already. */
static bool add_to_list(struct x86vcpu_percpu *percpu)
{
	struct cpu_list *list = list_of(percpu->identity);
	const uint64_t flags = lock_list(list);
	const bool is_new = !find_locked(list, percpu->identity);

	if (is_new) {
		percpu->next = list->first;
		list->first = percpu;
	}
	unlock_list(list, flags);
	return is_new;
}

static void remove_from_list(struct x86vcpu_percpu *percpu)
{
	struct cpu_list *list = list_of(percpu->identity);
	struct x86vcpu_percpu **link = &list->first;
	const uint64_t flags = lock_list(list);

	while (*link && *link != percpu)
		link = &(*link)->next;
	if (*link)
		*link = percpu->next;
	unlock_list(list, flags);
}

/* ---- Life cycle --------------------------------------------------------------------------------------- */

static int32_t make(const struct x86vcpu_host_ops *ops, void *ctx, uint32_t cpu_id, struct x86vcpu_percpu **out)
{
	struct x86vcpu_percpu *percpu;
	uint64_t hpa;

	percpu = alloc_zeroed(ops, ctx, sizeof(*percpu), &hpa);
	if (!percpu)
		return X86VCPU_ERR_NO_MEMORY;
	percpu->ops = *ops;
	percpu->cpu.host = &percpu->ops;
	percpu->cpu.ctx = ctx;
	percpu->cpu.id = cpu_id;
	percpu->hpa = hpa;
	*out = percpu;
	return X86VCPU_OK;
}

int32_t x86vcpu_percpu_create(const struct x86vcpu_host_ops *ops, void *ctx, uint32_t cpu_id,
			      struct x86vcpu_percpu **out)
{
	struct x86vcpu_host_ops own;
	int32_t status;

	if (!out)
		return X86VCPU_ERR_INVALID_INPUT;
	*out = NULL;
	status = host_ops_copy_in(&own, ops);
	return status ? status : make(&own, ctx, cpu_id, out);
}

int32_t x86vcpu_percpu_destroy(struct x86vcpu_percpu *percpu)
{
	struct x86vcpu_host_ops ops;

	if (!percpu)
		return X86VCPU_OK;
	if (percpu->enabled || percpu->held)
		return X86VCPU_ERR_RESOURCE_BUSY;
	percpu->held = true;
	ops = percpu->ops;
	free_frames(&ops, percpu->cpu.ctx, percpu->hpa, sizeof(*percpu));
	return X86VCPU_OK;
}

int32_t x86vcpu_percpu_is_enabled(const struct x86vcpu_percpu *percpu)
{
	return percpu && percpu->enabled;
}

/* What enable itself puts right is no reason to refuse. */
static int32_t check_mode(const struct backend_cpu *cpu, uint32_t extension)
{
	struct host_mode mode;

	host_mode_read(cpu->host, cpu->ctx, extension, &mode);
	host_mode_assume_enabled(&mode);
	return host_mode_check(cpu->host, cpu->ctx, extension, &mode);
}

/* The CPU has the extension on. */
static int32_t begin_use(struct x86vcpu_percpu *percpu, const struct backend *backend)
{
	if (!agree(backend))
		return X86VCPU_ERR_UNSUPPORTED;
	percpu->backend = backend;
	percpu->identity = cpu_identity(percpu->cpu.host, percpu->cpu.ctx);
	percpu->bound = 0;
	percpu->current = NULL;
	percpu->loaded = NULL;
	return add_to_list(percpu) ? X86VCPU_OK : X86VCPU_ERR_RESOURCE_BUSY;
}

static int32_t enable(struct x86vcpu_percpu *percpu)
{
	const struct backend *backend;
	int32_t status = choose_backend(&backend);

	if (!status && backend_in_use() && backend_in_use() != backend)
		status = X86VCPU_ERR_UNSUPPORTED;
	if (!status)
		status = check_mode(&percpu->cpu, backend->extension);
	percpu->cpu.tag_generation =
		__atomic_add_fetch(&generations, GENERATIONS_OF_AN_ENABLE, __ATOMIC_RELAXED);
	if (!status)
		status = mitigation_enable(&percpu->cpu.mitigation, percpu->cpu.host, percpu->cpu.ctx);
	if (!status)
		status = backend->cpu_enable(&percpu->cpu);
	if (status)
		return status;
	status = begin_use(percpu, backend);
	if (status)
		backend->cpu_disable(&percpu->cpu);
	percpu->enabled = !status;
	return status;
}

int32_t x86vcpu_percpu_enable(struct x86vcpu_percpu *percpu)
{
	int32_t status;

	if (!percpu)
		return X86VCPU_ERR_INVALID_INPUT;
	if (percpu->enabled || percpu->held)
		return X86VCPU_ERR_RESOURCE_BUSY;
	percpu->held = true;
	status = enable(percpu);
	percpu->held = false;
	return status;
}

int32_t x86vcpu_percpu_disable(struct x86vcpu_percpu *percpu)
{
	if (!percpu)
		return X86VCPU_ERR_INVALID_INPUT;
	if (percpu->held)
		return X86VCPU_ERR_RESOURCE_BUSY;
	if (!percpu->enabled || percpu->identity != cpu_identity(percpu->cpu.host, percpu->cpu.ctx))
		return X86VCPU_ERR_BAD_STATE;
	if (percpu->bound)
		return X86VCPU_ERR_RESOURCE_BUSY;
	percpu->held = true;
	remove_from_list(percpu);
	percpu->backend->cpu_disable(&percpu->cpu);
	percpu->enabled = false;
	percpu->held = false;
	return X86VCPU_OK;
}
