/* SPDX-License-Identifier: Apache-2.0 */
/* The host's side of the tests: CPUs in VMX operation, and what of the host must not change. */
#include "metal.h"

#define CPUS 2u
#define CPUID_1_ECX_AVX (1u << 28)
#define CR4_OSFXSR (UINT64_C(1) << 9)
#define CR4_OSXSAVE (UINT64_C(1) << 18)

static struct x86vcpu_percpu *percpus[CPUS];
static void (*volatile work)(void *);
static void *work_arg;

struct x86vcpu_percpu *host_enable(void)
{
	const unsigned cpu = cpu_index();

	if (!percpus[cpu]) {
		CHECK_OK(x86vcpu_percpu_create(&platform_host_ops, NULL, cpu, &percpus[cpu]));
		CHECK_OK(x86vcpu_percpu_enable(percpus[cpu]));
	}
	return percpus[cpu];
}

void host_enable_without_mitigations(void)
{
	struct x86vcpu_percpu **percpu = &percpus[cpu_index()];

	CHECK_OK(x86vcpu_percpu_create(&platform_host_ops, NULL, cpu_index(), percpu));
	CHECK_OK(x86vcpu_mitigations_choose(*percpu, X86VCPU_MITIGATION_ALL, X86VCPU_MITIGATION_OFF));
	CHECK_OK(x86vcpu_percpu_enable(*percpu));
}

static void second_cpu_loop(void *arg)
{
	(void)arg;
	for (;;) {
		while (!work)
			cpu_pause();
		work(work_arg);
		work = NULL;
	}
}

void second_cpu_start(void)
{
	const struct platform_supervisor *supervisor = platform_supervisor();

	CHECK(cpu_start(supervisor ? supervisor->second_cpu : 1, CPU_START_MS, second_cpu_loop, NULL));
}

static void enable(void *arg)
{
	(void)arg;
	host_enable();
}

void second_cpu_start_enabled(void)
{
	second_cpu_start();
	second_cpu_call(enable, NULL);
}

void second_cpu_wait(void)
{
	while (work)
		cpu_pause();
}

void second_cpu_begin(void (*function)(void *), void *arg)
{
	second_cpu_wait();
	work_arg = arg;
	__asm__ volatile("" : : : "memory");
	work = function;
}

void second_cpu_call(void (*function)(void *), void *arg)
{
	second_cpu_begin(function, arg);
	second_cpu_wait();
}

/* ---- The local APIC's timer (SDM 11.5.4, APM 16.4.1) --------------------------------------------------- */

#define TICKS_PER_MS 20u
#define TICK_VECTOR 0x52u
#define LVT_TIMER 0x320u
#define LVT_MASKED (1u << 16)
#define LVT_PERIODIC (1u << 17)
#define INITIAL_COUNT 0x380u
#define CURRENT_COUNT 0x390u
#define DIVIDE_CONFIGURATION 0x3e0u

static volatile uint32_t *lapic(uint32_t offset)
{
	return (volatile uint32_t *)(uintptr_t)(0xfee00000 + offset);
}

uint64_t host_tick_ticks(void)
{
	return on_svm() ? platform_tsc_khz() / TICKS_PER_MS : 0;
}

void host_tick_start(void)
{
	const uint64_t ticks = host_tick_ticks();
	uint64_t begin;
	uint32_t count;

	if (!ticks)
		return;
	*lapic(LVT_TIMER) = LVT_MASKED;
	*lapic(DIVIDE_CONFIGURATION) = 0xb; /* by 1 */
	begin = rdtsc();
	*lapic(INITIAL_COUNT) = UINT32_MAX;
	while (rdtsc() - begin < ticks)
		cpu_pause();
	count = UINT32_MAX - *lapic(CURRENT_COUNT);
	*lapic(LVT_TIMER) = LVT_PERIODIC | TICK_VECTOR;
	*lapic(INITIAL_COUNT) = count;
}

const char *host_without_avx(void)
{
	return host_cpuid(1, 0).ecx & CPUID_1_ECX_AVX ? NULL : "the CPU lacks AVX";
}

bool host_vmwrite(uint64_t field, uint64_t value)
{
	bool failed;

	__asm__ volatile("vmwrite %2, %1" : "=@ccbe"(failed) : "r"(field), "r"(value) : "memory");
	return !failed;
}

uint64_t host_vmread(uint64_t field)
{
	uint64_t value = 0;

	__asm__ volatile("vmread %1, %0" : "=r"(value) : "r"(field) : "cc", "memory");
	return value;
}

/* ---- Snapshot --------------------------------------------------------------------------------------- */

/* A value to write when painting; 0: only compared. */
static const struct {
	uint32_t index;
	bool paint;
	uint64_t value;
	const char *name;
} host_msrs[] = {
	{ 0xc0000081, true, 0x0023000800000000, "STAR" },
	{ 0xc0000082, true, 0xffff800000123450, "LSTAR" },
	{ 0xc0000083, true, 0xffff800000123460, "CSTAR" },
	{ 0xc0000084, true, 0x47700, "FMASK" },
	{ 0xc0000100, true, 0xffff800000aaa000, "FS_BASE" },
	{ 0xc0000101, true, 0xffff800000bbb000, "GS_BASE" },
	{ 0xc0000102, true, 0xffff800000ccc000, "KERNEL_GS_BASE" },
	{ 0x174, true, 0x8, "SYSENTER_CS" },
	{ 0x175, true, 0xffff800000ddd000, "SYSENTER_ESP" },
	{ 0x176, true, 0xffff800000eee000, "SYSENTER_EIP" },
	{ 0x277, true, 0x0007010600070106, "PAT" },
	{ 0xc0000103, true, 0x77777777, "TSC_AUX" },
	{ 0xda0, false, 0, "XSS" },
	{ 0x1b, false, 0, "APIC_BASE" },
	{ 0x3a, false, 0, "FEATURE_CONTROL" },
	{ 0x2ff, false, 0, "MTRR_DEF_TYPE" },
	{ 0x200, false, 0, "MTRR_PHYSBASE0" },
	{ 0x250, false, 0, "MTRR_FIX64K" },
};
#define HOST_MSRS (sizeof(host_msrs) / sizeof(host_msrs[0]))

static uint64_t xgetbv0(void)
{
	uint32_t a, d;

	if (!(host_cr4() & CR4_OSXSAVE))
		return 0;
	__asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
	return (uint64_t)d << 32 | a;
}

static void save_fpu(struct host_snapshot *s)
{
	/* FXSAVE's image: FCW at 0, MXCSR at 24, XMM0 to XMM15 from 160 on. */
	static uint8_t image[2][512] __attribute__((aligned(16)));
	uint8_t *p = image[cpu_index()];

	if (!(host_cr4() & CR4_OSFXSR))
		return;
	__asm__ volatile("fxsave64 %0" : "=m"(*(uint8_t(*)[512])p));
	memcpy(&s->fcw, p, sizeof(s->fcw));
	memcpy(&s->mxcsr, p + 24, sizeof(s->mxcsr));
	memcpy(s->xmm, p + 160, sizeof(s->xmm));
}

#define XCR0_AVX UINT64_C(4)

static void save_avx(struct host_snapshot *s)
{
	uint64_t (*upper)[2] = (uint64_t(*)[2])s->ymm;

	if (s->xcr0 & XCR0_AVX)
		__asm__ volatile("vextractf128 $1, %%ymm0, %0; vextractf128 $1, %%ymm7, %1; vextractf128 $1, %%ymm15, %2"
				 : "=m"(upper[0]), "=m"(upper[1]), "=m"(upper[2]));
}

static uint64_t limit_of(uint16_t selector)
{
	uint64_t limit = 0;

	__asm__("lsl %1, %0" : "+r"(limit) : "r"((uint64_t)selector) : "cc");
	return limit;
}

void host_snapshot(struct host_snapshot *s)
{
	memset(s, 0, sizeof(*s));
	s->cr0 = host_cr0();
	s->cr4 = host_cr4();
	__asm__ volatile("movq %%cr3, %0" : "=r"(s->cr3));
	__asm__ volatile("pushfq; popq %0" : "=r"(s->rflags));
	s->rflags &= 0x200; /* IF */
	s->efer = rdmsr(0xc0000080);
	s->xcr0 = xgetbv0();
	__asm__ volatile("movq %%dr0, %0" : "=r"(s->dr[0]));
	__asm__ volatile("movq %%dr1, %0" : "=r"(s->dr[1]));
	__asm__ volatile("movq %%dr2, %0" : "=r"(s->dr[2]));
	__asm__ volatile("movq %%dr3, %0" : "=r"(s->dr[3]));
	__asm__ volatile("movq %%dr6, %0" : "=r"(s->dr6));
	__asm__ volatile("movq %%dr7, %0" : "=r"(s->dr7));
	__asm__ volatile("sgdt %0; sidt %1" : "=m"(s->gdtr), "=m"(s->idtr));
	__asm__ volatile("movw %%cs, %0; movw %%ds, %1; movw %%es, %2; movw %%fs, %3"
			 : "=r"(s->cs), "=r"(s->ds), "=r"(s->es), "=r"(s->fs));
	__asm__ volatile("movw %%gs, %0; movw %%ss, %1; str %2; sldt %3"
			 : "=r"(s->gs), "=r"(s->ss), "=r"(s->tr), "=r"(s->ldtr));
	for (size_t i = 0; i < HOST_MSRS; i++)
		if (!rdmsr_safe(host_msrs[i].index, &s->msr[i]))
			s->msr[i] = 0;
	s->tr_limit = limit_of(s->tr);
	save_fpu(s);
	save_avx(s);
}

void host_use_avx(void)
{
	if (host_without_avx() || !(host_cr4() & CR4_OSXSAVE))
		return;
	__asm__ volatile("xsetbv" : : "c"(0), "a"(7), "d"(0));
	__asm__ volatile("vinsertf128 $1, %xmm0, %ymm0, %ymm0; vinsertf128 $1, %xmm7, %ymm7, %ymm7;"
			 "vinsertf128 $1, %xmm15, %ymm15, %ymm15");
}

void host_paint(void)
{
	const uint16_t fcw = 0x0f7f;
	const uint32_t mxcsr = 0x7f80;
	uint64_t value;

	for (size_t i = 0; i < HOST_MSRS; i++)
		if (host_msrs[i].paint && rdmsr_safe(host_msrs[i].index, &value))
			wrmsr(host_msrs[i].index, host_msrs[i].value);
	__asm__ volatile("movq %0, %%dr0; movq %1, %%dr1; movq %2, %%dr2; movq %3, %%dr3"
			 : : "r"(UINT64_C(0x11110)), "r"(UINT64_C(0x22220)), "r"(UINT64_C(0x33330)),
			     "r"(UINT64_C(0x44440)));
	__asm__ volatile("movq %0, %%dr6" : : "r"(UINT64_C(0xffff4ff3))); /* BS, B0, B1 */
	host_set_cr4(host_cr4() | CR4_OSFXSR);
	__asm__ volatile("fldcw %0; ldmxcsr %1" : : "m"(fcw), "m"(mxcsr));
	__asm__ volatile("movq %0, %%xmm0; movq %0, %%xmm7; movq %0, %%xmm8; movq %0, %%xmm15"
			 : : "r"(UINT64_C(0xfeedfacecafebeef)));
}

static void same(const char *name, uint64_t before, uint64_t after)
{
	if (before != after)
		metal_fail(__FILE__, __LINE__, "host %s was 0x%lx and is 0x%lx", name, before, after);
}

static void same_tables(const struct host_snapshot *a, const struct host_snapshot *b)
{
	same("GDTR base", a->gdtr.base, b->gdtr.base);
	same("GDTR limit", a->gdtr.limit, b->gdtr.limit);
	same("IDTR base", a->idtr.base, b->idtr.base);
	same("IDTR limit", a->idtr.limit, b->idtr.limit);
	same("TR limit", a->tr_limit, b->tr_limit);
	same("CS", a->cs, b->cs);
	same("DS", a->ds, b->ds);
	same("ES", a->es, b->es);
	same("FS", a->fs, b->fs);
	same("GS", a->gs, b->gs);
	same("SS", a->ss, b->ss);
	same("TR", a->tr, b->tr);
	same("LDTR", a->ldtr, b->ldtr);
}

static void same_fpu(const struct host_snapshot *a, const struct host_snapshot *b)
{
	same("FCW", a->fcw, b->fcw);
	same("MXCSR", a->mxcsr, b->mxcsr);
	for (size_t i = 0; i < 32; i++)
		same("XMM", a->xmm[i], b->xmm[i]);
	for (size_t i = 0; i < 6; i++)
		same("YMM", a->ymm[i], b->ymm[i]);
}

void host_check_unchanged(const struct host_snapshot *before)
{
	struct host_snapshot now;

	host_snapshot(&now);
	same("CR0", before->cr0, now.cr0);
	same("CR3", before->cr3, now.cr3);
	same("CR4", before->cr4, now.cr4);
	same("EFER", before->efer, now.efer);
	same("XCR0", before->xcr0, now.xcr0);
	same("RFLAGS.IF", before->rflags, now.rflags);
	for (size_t i = 0; i < 4; i++)
		same("DR0-DR3", before->dr[i], now.dr[i]);
	same("DR6", before->dr6, now.dr6);
	same("DR7", before->dr7, now.dr7);
	for (size_t i = 0; i < HOST_MSRS; i++)
		same(host_msrs[i].name, before->msr[i], now.msr[i]);
	same_tables(before, &now);
	same_fpu(before, &now);
}
