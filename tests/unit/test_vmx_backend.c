/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VT-x backend on a fake CPU: what it writes into a VMCS, and what it makes of exits that no emulator
 * produces. Fields, reasons and bits are numbers of the manual: SDM Vol. 3, 25 to 28 and appendices A to C.
 */
#include <check.h>

#include "fake_cpu.h"

#include "vmx/capability.c"
#include "vmx/debug.c"
#include "vmx/events.c"
#include "vmx/explain.c"
#include "vmx/exits.c"
#include "vmx/fields.c"
#include "vmx/host.c"
#include "vmx/percpu.c"
#include "vmx/run.c"
#include "vmx/setup.c"

Suite *vmx_backend_suite(void);

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))
#define BIT(n) (UINT64_C(1) << (n))

#define F_INTERRUPTIBILITY 0x4824
#define F_ENTRY_INFO 0x4016
#define F_RIP 0x681e
#define F_CR0 0x6800

#define POISON UINT64_C(0xdeaddeaddeaddead)
#define ENTRY_RIP 0x7c00
#define MMIO 0x1000

/* ---- The machine ---------------------------------------------------------------------------------------- */

/* The capability MSRs of a CPU that has what the library can use (Bochs, corei7_skylake_x). */
static const struct fake_msr capabilities[] = {
	{0x3a, 5}, {0x480, 0x00d810000000002b}, {0x481, 0x0000007f00000016}, {0x482, 0xf7f9fffe0401e172},
	{0x483, 0x007fffff00036dff}, {0x484, 0x0000ffff000011ff}, {0x485, 0x00000000600401e0},
	{0x486, 0x80000021}, {0x487, 0xffffffff}, {0x488, 0x2000}, {0x489, 0x003727ff},
	{0x48b, 0x02177fff00000000}, {0x48c, 0x00000f0106334141}, {0x48d, 0x0000007f00000016},
	{0x48e, 0xf7f9fffe04006172}, {0x48f, 0x007fffff00036dfb}, {0x490, 0x0000ffff000011fb},
};

static _Alignas(4096) uint8_t pool[40][4096];
static unsigned pool_used;

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

static int32_t no_memory_there(void *ctx, void *machine, uint64_t gpa, void *buf, uint64_t len)
{
	(void)ctx;
	(void)machine;
	(void)buf;
	ck_abort_msg("guest memory was read: %lu bytes at %lx", (unsigned long)len, (unsigned long)gpa);
	return X86VCPU_ERR_INVALID_DATA;
}

/* 2 GHz. */
static uint64_t nanos_to_ticks(void *ctx, uint64_t nanos)
{
	(void)ctx;
	return nanos * 2;
}

static int32_t read_msr(void *ctx, uint32_t msr, uint64_t *value)
{
	(void)ctx;
	*value = *fake_msr(msr);
	return X86VCPU_OK;
}

static const struct x86vcpu_host_ops host = {
	.size = sizeof(host),
	.alloc_frame = alloc_frame,
	.alloc_contiguous_frames = alloc_contiguous,
	.phys_to_virt = phys_to_virt,
	.read_guest = no_memory_there,
	.nanos_to_ticks = nanos_to_ticks,
	.read_msr = read_msr,
};

static struct vmx_vcpu vcpu;
static struct backend_cpu cpus[2];
static struct x86vcpu_exit reported;
static struct guest_cpuid_entry cpuid_table[CPUID_TABLE_SIZE];

static void power_on(void)
{
	static const uint64_t gdt[6];

	memset(&fake_cpu, 0, sizeof(fake_cpu));
	memset(&vcpu, 0, sizeof(vcpu));
	pool_used = 0;
	fake_cpu.cr0 = 0x80010033;
	fake_cpu.cr3 = 0x1000;
	fake_cpu.cr4 = 0x42620;
	fake_cpu.dr7 = 0x400;
	fake_cpu.xcr0 = 1;
	fake_cpu.cs = 8;
	fake_cpu.tr = 0x20;
	fake_cpu.gdtr = (struct insn_table){sizeof(gdt) - 1, (uintptr_t)gdt};
	fake_cpu.idtr.limit = 0xfff;
	for (int i = 0; i < COUNT(capabilities); i++)
		*fake_msr(capabilities[i].index) = capabilities[i].value;
	for (unsigned i = 0; i < FAKE_FIELDS; i++)
		fake_cpu.vmcs[i] = POISON;
}

static void host_cpuid_leaf(void *ctx, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	(void)ctx;
	fake_cpuid(leaf, subleaf, out);
}

static int32_t make_vcpu(void)
{
	const struct backend_setup setup = {
		.entry = ENTRY_RIP, .nested_root = 0x5000, .nested_levels = 4, .time_slice_ns = 1000000
	};
	struct cpuid_config config = {.host = host_cpuid_leaf, .physical_bits = 48};
	struct guest *g = &vcpu.guest;

	g->host = &host;
	g->exit = &reported;
	for (int i = 0; i < 2; i++)
		cpus[i] = (struct backend_cpu){.host = &host, .next_tag = 1, .last_tag = 0xffff, .tag_generation = 1};
	ck_assert_int_eq(lapic_create(g), 0);
	ck_assert_int_eq(vmx_backend.create(g), 0);
	vmx_backend.cpuid_features(g, &config);
	cpuid_attach(g, cpuid_table, cpuid_build(cpuid_table, CPUID_TABLE_SIZE, &config, &g->limits));
	return vmx_backend.setup(g, &setup);
}

/* ---- The guest: a list of exits -------------------------------------------------------------------------- */

struct fake_exit {
	uint32_t reason, length, info, interruption, error_code, vectoring;
	uint64_t qualification, gpa, linear;
};

struct fake_entry {
	uint64_t event, rip, blocking, xcr0, test_ctrl, host_cr4;
};

static const struct fake_exit *exits;
static unsigned exits_left, entry_count;
static struct fake_entry entries[8];

const char vmx_exit_point[1], vmx_mitigated_exit_point[1];

static void leave_with(const struct fake_exit *exit)
{
	fake_cpu.vmcs[0x4402] = exit->reason;
	fake_cpu.vmcs[0x440c] = exit->length;
	fake_cpu.vmcs[0x440e] = exit->info;
	fake_cpu.vmcs[0x4404] = exit->interruption;
	fake_cpu.vmcs[0x4406] = exit->error_code;
	fake_cpu.vmcs[0x4408] = exit->vectoring;
	fake_cpu.vmcs[0x6400] = exit->qualification;
	fake_cpu.vmcs[0x2400] = exit->gpa;
	fake_cpu.vmcs[0x640a] = exit->linear;
}

uint32_t vmx_enter(struct vmx_vcpu *v, uint32_t launched)
{
	static const struct fake_exit timer = {.reason = 52};

	ck_assert(fake_cpu.current);
	ck_assert_uint_eq(launched, v->launched);
	ck_assert_uint_lt(entry_count, COUNT(entries));
	entries[entry_count++] = (struct fake_entry){
		fake_cpu.vmcs[F_ENTRY_INFO], fake_cpu.vmcs[F_RIP], fake_cpu.vmcs[F_INTERRUPTIBILITY], fake_cpu.xcr0,
		*fake_msr(0x33), fake_cpu.cr4,
	};
	fake_cpu.vmcs[F_ENTRY_INFO] &= ~BIT(31);
	if (exits_left) {
		exits_left--;
		leave_with(exits++);
	} else {
		leave_with(&timer);
	}
	return VMX_ENTRY_EXITED;
}

uint32_t vmx_enter_mitigated(struct vmx_vcpu *v, uint32_t launched)
{
	return vmx_enter(v, launched);
}

/* A run that meets these exits, and then the end of its time slice. */
static int32_t run_with(const struct fake_exit *list, unsigned count)
{
	int32_t status;

	exits = list;
	exits_left = count;
	entry_count = 0;
	memset(fake_cpu.read, 0, sizeof(fake_cpu.read));
	status = vmx_backend.run(&vcpu.guest);
	vmx_backend.serve_host(&vcpu.guest);
	return status;
}

static void start(void)
{
	power_on();
	ck_assert_int_eq(make_vcpu(), 0);
	ck_assert_int_eq(vmx_backend.bind(&vcpu.guest, &cpus[0]), 0);
}

/* In protected mode, where exceptions have their error codes. */
static void start_protected(void)
{
	start();
	fake_cpu.vmcs[F_CR0] |= 1;
}

/* ---- What VM entry finds in the VMCS ---------------------------------------------------------------------- */

/* V-21: what entry consults with the library's controls, SDM 27.2 and 27.3. Not HOST_RSP: enter.S writes it. */
static const uint16_t consulted[] = {
	0x0000,                                                         /* VPID */
	0x0800, 0x0802, 0x0804, 0x0806, 0x0808, 0x080a, 0x080c, 0x080e, /* guest selectors */
	0x0c00, 0x0c02, 0x0c04, 0x0c06, 0x0c08, 0x0c0a, 0x0c0c,         /* host selectors */
	0x2000, 0x2002, 0x2004, 0x2010, 0x201a, 0x202c, /* I/O and MSR bitmaps, TSC offset, EPTP, XSS bitmap */
	0x2800, 0x2802, 0x2804, 0x2806, 0x280a, 0x280c, 0x280e, 0x2810, /* link, DEBUGCTL, PAT, EFER, PDPTEs */
	0x2c00, 0x2c02,                                                 /* host PAT, EFER */
	0x4000, 0x4002, 0x4004, 0x4006, 0x4008, 0x400a, 0x400c, 0x400e, 0x4010, 0x4012, 0x4014, 0x4016, 0x401e,
	0x4800, 0x4802, 0x4804, 0x4806, 0x4808, 0x480a, 0x480c, 0x480e, 0x4810, 0x4812, /* limits */
	0x4814, 0x4816, 0x4818, 0x481a, 0x481c, 0x481e, 0x4820, 0x4822,                 /* access rights */
	0x4824, 0x4826, 0x482a, 0x482e, /* interruptibility, activity, SYSENTER_CS, preemption timer */
	0x4c00,                         /* host SYSENTER_CS */
	0x6000, 0x6002, 0x6004, 0x6006, /* CR0 and CR4 masks and shadows */
	0x6800, 0x6802, 0x6804, 0x6806, 0x6808, 0x680a, 0x680c, 0x680e, 0x6810, 0x6812, 0x6814, 0x6816, 0x6818,
	0x681a, 0x681c, 0x681e, 0x6820, 0x6822, 0x6824, 0x6826,
	0x6c00, 0x6c02, 0x6c04, 0x6c06, 0x6c08, 0x6c0a, 0x6c0c, 0x6c0e, 0x6c10, 0x6c12, 0x6c16, /* host */
};

START_TEST(entry_finds_no_unwritten_field)
{
	start();
	ck_assert_int_eq(run_with(NULL, 0), 0);
	ck_assert_uint_eq(entry_count, 1);
	ck_assert_msg(fake_cpu.written[consulted[_i]], "field %x", consulted[_i]);
}
END_TEST

/* V-11: a field exists with its control only; VMWRITE fails on others (SDM 25.6). */
struct optional_field {
	uint32_t msr; /* whose `bit`, 32 or more, allows the control; 0: never used */
	unsigned bit;
	uint16_t field;
};

static const struct optional_field optional_fields[] = {
	{0x48b, 32 + 20, 0x202c}, /* XSAVES: XSS bitmap */
	{0x48b, 32 + 5, 0x0000},  /* VPID */
	{0x48d, 32 + 6, 0x482e},  /* preemption timer */
	{0, 0, 0x202e},           /* ENCLS bitmap: not on this CPU */
	{0x48e, 32 + 21, 0x2012}, {0x48e, 32 + 21, 0x401c}, {0, 0, 0x2014},      /* TPR shadow, APIC access */
	{0, 0, 0x201c}, {0, 0, 0x201e}, {0, 0, 0x2020}, {0, 0, 0x2022}, {0, 0, 0x0810}, /* VID */
	{0, 0, 0x0002}, {0, 0, 0x2016}, {0, 0, 0x2018}, {0, 0, 0x200e}, {0, 0, 0x2032}, {0, 0, 0x4020},
};

START_TEST(field_without_its_control_is_left_alone)
{
	const struct optional_field *row = &optional_fields[_i];

	power_on();
	if (row->msr)
		*fake_msr(row->msr) &= ~BIT(row->bit);
	ck_assert_int_eq(make_vcpu(), 0);
	ck_assert_int_eq(vmx_backend.bind(&vcpu.guest, &cpus[0]), 0);
	ck_assert_int_eq(run_with(NULL, 0), 0);
	ck_assert_msg(!fake_cpu.written[row->field], "field %x", row->field);
}
END_TEST

/* C-05, V-06, V-26 and the emulation in general: bits that are 1 or 0. */
static const struct {
	uint16_t field;
	uint32_t ones, zeros;
} words[] = {
	{0x4000, 1u << 0 | 1u << 3 | 1u << 5 | 1u << 6, 1u << 7},
	{0x4002,
	 1u << 3 | 1u << 7 | 1u << 10 | 1u << 11 | 1u << 21 | 1u << 23 | 1u << 25 | 1u << 28 | 1u << 29 |
		 1u << 31,
	 1u << 2 | 1u << 9 | 1u << 12 | 1u << 15 | 1u << 16 | 1u << 19 | 1u << 20 | 1u << 22 | 1u << 27 | 1u << 30},
	{0x401e, 1u << 1 | 1u << 3 | 1u << 5 | 1u << 6 | 1u << 7 | 1u << 12 | 1u << 20,
	 1u << 0 | 1u << 4 | 1u << 8 | 1u << 9 | 1u << 13 | 1u << 17 | 1u << 18 | 1u << 26 | 1u << 27},
	{0x400c, 1u << 2 | 1u << 9 | 1u << 15 | 1u << 18 | 1u << 19 | 1u << 20 | 1u << 21, 1u << 12},
	{0x4012, 1u << 2 | 1u << 14 | 1u << 15, 1u << 9 | 1u << 10 | 1u << 11 | 1u << 13},
	{0x4004, 1u << 1 | 1u << 17 | 1u << 18, ~(1u << 1 | 1u << 17 | 1u << 18)},
};

START_TEST(control_word)
{
	start();
	ck_assert_uint_eq(fake_cpu.vmcs[words[_i].field] & words[_i].ones, words[_i].ones);
	ck_assert_uint_eq(fake_cpu.vmcs[words[_i].field] & words[_i].zeros, 0);
}
END_TEST

/* V-12, C-82: EPTP 2:0 memory type, 5:3 levels less one; 6, accessed and dirty flags, stays clear. */
START_TEST(eptp_has_what_the_cpu_has)
{
	power_on();
	if (_i)
		*fake_msr(0x48c) &= ~BIT(21);
	ck_assert_int_eq(make_vcpu(), 0);
	ck_assert_uint_eq(fake_cpu.vmcs[0x201a], 0x5000 | 6 | 3 << 3);
}
END_TEST

/* V-12: without 4 levels, write-back tables, INVEPT; EPT, unrestricted guests. */
START_TEST(cpu_without_ept_features_is_refused)
{
	static const struct {
		uint32_t msr;
		unsigned bit;
	} needed[] = {{0x48c, 6}, {0x48c, 14}, {0x48c, 20}, {0x48b, 32 + 1}, {0x48b, 32 + 7}, {0x48e, 32 + 31}};

	power_on();
	*fake_msr(needed[_i].msr) &= ~BIT(needed[_i].bit);
	ck_assert_int_eq(make_vcpu(), X86VCPU_ERR_UNSUPPORTED);
	ck_assert(!fake_cpu.current);
}
END_TEST

/* V-19: IA32_VMX_MISC 4:0; 1 ms at 2 GHz, rounded either way. */
START_TEST(timer_counts_at_its_own_rate)
{
	power_on();
	*fake_msr(0x485) |= (unsigned)_i;
	ck_assert_int_eq(make_vcpu(), 0);
	ck_assert_int_eq(vmx_backend.bind(&vcpu.guest, &cpus[0]), 0);
	ck_assert_int_eq(run_with(NULL, 0), 0);
	ck_assert_uint_le(fake_cpu.vmcs[0x482e] - (UINT64_C(2000000) >> _i), 1);
}
END_TEST

/* V-13: translations of another CPU, or of the VMM's old tables (SDM 29.4.3). */
START_TEST(invept_where_the_vcpu_was_not_last)
{
	static const struct {
		int cpu;
		bool flush;
		unsigned invepts;
	} steps[] = {{0, false, 1}, {0, false, 1}, {1, false, 2}, {1, true, 3}, {1, false, 3}, {0, false, 4}};
	struct guest *g = &vcpu.guest;

	power_on();
	ck_assert_int_eq(make_vcpu(), 0);
	for (int i = 0; i < COUNT(steps); i++) {
		g->flush_nested = steps[i].flush;
		ck_assert_int_eq(vmx_backend.bind(g, &cpus[steps[i].cpu]), 0);
		ck_assert_int_eq(run_with(NULL, 0), 0);
		ck_assert_int_eq(run_with(NULL, 0), 0);
		vmx_backend.unbind(g);
		ck_assert_msg(fake_cpu.invepts == steps[i].invepts, "step %d: %u", i, fake_cpu.invepts);
	}
	ck_assert_uint_eq(fake_cpu.invept_type, 1);
}
END_TEST

/* U-01: nothing of the guest stays in the CPU, and the next CPU launches it. */
START_TEST(unbind_clears_the_vmcs)
{
	start();
	ck_assert_int_eq(run_with(NULL, 0), 0);
	ck_assert(vcpu.launched);
	fake_cpu.vmclears = 0;
	vmx_backend.unbind(&vcpu.guest);
	ck_assert_uint_eq(fake_cpu.vmclears, 1);
	ck_assert(!vcpu.launched);
}
END_TEST

/* ---- Exits ------------------------------------------------------------------------------------------------- */

#define INJECT_UD (BIT(31) | 3 << 8 | 6)
#define INJECT_GP (BIT(31) | BIT(11) | 3 << 8 | 13)

/* V-07, V-08: what each exit becomes in the guest; 0: the instruction is skipped. */
static const struct {
	uint32_t reason;
	uint64_t event;
} refused[] = {
	{11, INJECT_UD}, {13, 0},         {15, INJECT_GP}, {17, INJECT_UD}, {19, INJECT_UD}, {20, INJECT_UD},
	{21, INJECT_UD}, {22, INJECT_UD}, {23, INJECT_UD}, {24, INJECT_UD}, {25, INJECT_UD}, {26, INJECT_UD},
	{27, INJECT_UD}, {36, INJECT_UD}, {39, INJECT_UD}, {40, 0},         {50, INJECT_UD}, {53, INJECT_UD},
	{54, 0},         {59, INJECT_UD}, {60, INJECT_UD}, {65, INJECT_UD}, {67, INJECT_UD}, {68, INJECT_UD},
	{69, INJECT_UD}, {70, INJECT_UD}, {72, INJECT_GP}, {73, INJECT_GP}, {76, INJECT_UD}, {77, INJECT_UD},
	{78, INJECT_UD}, {79, INJECT_UD},
};

START_TEST(instruction_is_refused_or_skipped)
{
	const struct fake_exit exit = {.reason = refused[_i].reason, .length = 3};

	start_protected();
	ck_assert_int_eq(run_with(&exit, 1), 0);
	ck_assert_uint_eq(reported.kind, X86VCPU_EXIT_PREEMPTION_TIMER);
	ck_assert_uint_eq(entry_count, 2);
	ck_assert_uint_eq(entries[1].event & (refused[_i].event | BIT(31)), refused[_i].event);
	ck_assert_uint_eq(entries[1].rip, refused[_i].event ? ENTRY_RIP : ENTRY_RIP + 3);
}
END_TEST

/* V-08: reasons without a meaning, now or in this library. Task switches among them: V-07b. */
static const uint32_t unknown[] = {4, 5, 6, 9, 14, 16, 35, 38, 42, 44, 45, 46, 51, 56, 58, 61, 62, 63,
				   66, 71, 80, 81, 255, 0x7fff, 0xffff};

START_TEST(unknown_exit_is_an_error)
{
	const struct fake_exit exit = {.reason = unknown[_i], .length = 3, .qualification = UINT64_MAX};

	start_protected();
	ck_assert_int_eq(run_with(&exit, 1), X86VCPU_ERR_UNSUPPORTED);
	ck_assert_uint_eq(reported.kind, X86VCPU_EXIT_NOTHING);
	ck_assert_uint_eq(entry_count, 1);
	ck_assert_uint_eq(guest_get(&vcpu.guest, G_RIP), ENTRY_RIP);
	ck_assert(!guest_event_pending(&vcpu.guest));
}
END_TEST

/* V-06, C-05b */
/* CVE-2006-1056: both ways, on the CPUs that leave the x87 pointers where they are. */
START_TEST(x87_pointers_are_cleared)
{
	const bool amd = _i & 1, saves = _i & 2;

	power_on();
	fake_cpu.amd = amd;
	fake_cpu.saves_x87_pointers = saves;
	ck_assert_int_eq(make_vcpu(), 0);
	ck_assert_int_eq(vmx_backend.bind(&vcpu.guest, &cpus[0]), 0);
	ck_assert_int_eq(run_with(NULL, 0), 0);
	ck_assert_uint_eq(fake_cpu.x87_clears, amd && !saves ? 2 : 0);
}
END_TEST

/* Kernels align their stacks to 8 bytes, FXSAVE wants 16 (SDM Vol. 2 FXSAVE). */
START_TEST(fxsave_does_not_go_to_the_stack)
{
	start();
	ck_assert_ptr_eq(fake_cpu.fxsave_area, vcpu.guest.context.host_area);
}
END_TEST

/* IA32_FEATURE_CONTROL: bit 0 lock, 1 VMX in SMX operation, 2 outside. CR4.SMXE is bit 14. */
static const struct {
	bool smxe;
	uint64_t before, after;
	int32_t status;
} feature_controls[] = {
	{false, 0, 5, 0}, {false, 5, 5, 0}, {false, 3, 3, X86VCPU_ERR_FIRMWARE_DISABLED},
	{true, 0, 7, 0}, {true, 7, 7, 0}, {true, 5, 5, X86VCPU_ERR_FIRMWARE_DISABLED},
};

START_TEST(vmx_in_smx_operation)
{
	struct backend_cpu cpu = {.host = &host};

	power_on();
	*fake_msr(0x3a) = feature_controls[_i].before;
	*fake_msr(0x487) = *fake_msr(0x489) = UINT32_MAX;
	fake_cpu.cr4 = 0x40620 | (feature_controls[_i].smxe ? BIT(14) : 0);
	ck_assert_int_eq(vmx_cpu_enable(&cpu), feature_controls[_i].status);
	ck_assert_uint_eq(*fake_msr(0x3a), feature_controls[_i].after);
}
END_TEST

/* A TSS with an I/O permission bitmap: each exit leaves TR's limit at 67H (SDM 28.5.2). */
static uint64_t small_gdt[6], big_gdt[80];

static void use_tss(uint64_t *gdt, size_t bytes, uint16_t selector, uint64_t descriptor)
{
	memset(gdt, 0, bytes);
	gdt[selector / 8] = descriptor;
	fake_cpu.gdtr = (struct insn_table){(uint16_t)(bytes - 1), (uintptr_t)gdt};
	fake_cpu.tr = selector;
	fake_cpu.ltrs = 0;
	fake_cpu.tr_limit = 0x67;
}

START_TEST(limit_of_tr_comes_back)
{
	const uint64_t descriptor = UINT64_C(0x00008b000000206f);

	power_on();
	ck_assert_int_eq(make_vcpu(), 0);
	use_tss(small_gdt, sizeof(small_gdt), 0x20, descriptor);
	ck_assert_int_eq(vmx_backend.bind(&vcpu.guest, &cpus[0]), 0);
	for (unsigned runs = 1; runs <= 2; runs++) {
		fake_cpu.tr_limit = 0x67;
		ck_assert_int_eq(run_with(NULL, 0), 0);
		ck_assert_uint_eq(fake_cpu.ltrs, runs);
		ck_assert_uint_eq(fake_cpu.tr_limit, 0x206f);
		/* The host's GDT is as it was, and the CPU's again. */
		ck_assert_uint_eq(small_gdt[4], descriptor);
		ck_assert_uint_eq(fake_cpu.gdtr.base, (uintptr_t)small_gdt);
		ck_assert_uint_eq(fake_cpu.gdtr.limit, sizeof(small_gdt) - 1);
	}
}
END_TEST

/* The limit that an exit leaves costs nothing; granularity counts; a descriptor far away is the host's duty. */
static const struct {
	uint16_t selector;
	uint64_t descriptor;
	unsigned ltrs;
} tss_descriptors[] = {
	{0x20, UINT64_C(0x00008b0000000067), 0},
	{0x20, UINT64_C(0x00008b0000000fff), 1},
	{0x20, UINT64_C(0x00808b0000000000), 1},
	{0x1f0, UINT64_C(0x00008b000000206f), 1},
	{0x1f8, UINT64_C(0x00008b000000206f), 0},
	{0, UINT64_C(0x00008b000000206f), 0},
};

START_TEST(tr_is_reloaded_where_it_must_be)
{
	power_on();
	ck_assert_int_eq(make_vcpu(), 0);
	use_tss(big_gdt, sizeof(big_gdt), tss_descriptors[_i].selector, tss_descriptors[_i].descriptor);
	ck_assert_int_eq(vmx_backend.bind(&vcpu.guest, &cpus[0]), 0);
	ck_assert_int_eq(run_with(NULL, 0), 0);
	ck_assert_uint_eq(fake_cpu.ltrs, tss_descriptors[_i].ltrs);
	ck_assert_uint_ne(fake_cpu.tr_limit, FAKE_LTR_FAULT);
	ck_assert_uint_eq(fake_cpu.gdtr.base, (uintptr_t)big_gdt);
}
END_TEST

/* MSR 33H bit 29: the host detects split locks with #AC, which is none of the guest's unless it checks alignment. */
static const struct {
	uint64_t cr0, rflags;
	uint32_t access; /* of SS: DPL 0 or 3 */
	bool detects, passes;
} alignment_checks[] = {
	{0, 0, 0x93, true, true}, {BIT(18), BIT(18), 0x93, true, true}, {BIT(18), 0, 0xf3, true, true},
	{0, BIT(18), 0xf3, true, true}, {BIT(18), BIT(18), 0xf3, true, false}, {0, 0, 0x93, false, false},
};

START_TEST(split_lock_is_not_the_guests)
{
	const struct fake_exit exit = {.reason = 0, .interruption = 1u << 31 | 1u << 11 | 3 << 8 | 17};
	const uint64_t detection = alignment_checks[_i].detects ? BIT(29) | 4 : 4;

	start_protected();
	*fake_msr(0x33) = detection;
	fake_cpu.vmcs[F_CR0] |= alignment_checks[_i].cr0;
	fake_cpu.vmcs[0x6820] = 2 | alignment_checks[_i].rflags;
	fake_cpu.vmcs[0x4818] = alignment_checks[_i].access;
	ck_assert_int_eq(run_with(&exit, 1), 0);
	ck_assert_uint_eq(entry_count, 2);
	ck_assert_uint_eq(entries[1].event, alignment_checks[_i].passes ? 0 : 0x80000b11);
	ck_assert_uint_eq(entries[1].test_ctrl, alignment_checks[_i].passes ? 4 : detection);
	ck_assert_uint_eq(*fake_msr(0x33), detection);
}
END_TEST

/* One that comes although detection is off is reflected: the guest does not exit for it for ever. */
START_TEST(split_lock_does_not_spin)
{
	const struct fake_exit exit = {.reason = 0, .interruption = 1u << 31 | 1u << 11 | 3 << 8 | 17};
	const struct fake_exit twice[] = {exit, exit};

	start_protected();
	*fake_msr(0x33) = BIT(29);
	ck_assert_int_eq(run_with(twice, 2), 0);
	ck_assert_uint_eq(entries[2].event, 0x80000b11);
}
END_TEST

/* DR0 to DR3 are written with the host's breakpoints off, which come back with DR7. */
START_TEST(debug_registers_are_loaded_under_no_breakpoints)
{
	start();
	fake_cpu.vmcs[0x681a] = 0x401;
	vcpu.guest.drs_armed = true;
	vcpu.guest.dr[0] = 0x1234;
	fake_cpu.dr7 = 0x402;
	fake_cpu.dr7_at_dr_write = 0;
	ck_assert_int_eq(run_with(NULL, 0), 0);
	ck_assert_uint_eq(fake_cpu.dr7_at_dr_write, 0x400);
	ck_assert_uint_eq(fake_cpu.dr7, 0x402);
	ck_assert_uint_eq(fake_cpu.dr[0], 0);
}
END_TEST

/* CR4.PKE: PKRU is the guest's during a run. */
START_TEST(protection_keys_are_off_during_a_run)
{
	start();
	fake_cpu.cr4 |= BIT(22);
	ck_assert_int_eq(run_with(NULL, 0), 0);
	ck_assert_uint_eq(entries[0].host_cr4 & BIT(22), 0);
	ck_assert_uint_eq(fake_cpu.vmcs[0x6c04] & BIT(22), 0);
	ck_assert_uint_eq(fake_cpu.cr4, 0x42620 | BIT(22));
}
END_TEST

/* CR4.FRED: emul/host_mode.c. The guest resumes when the host has left that mode. */
START_TEST(mode_of_the_host_is_checked_at_each_run)
{
	start();
	ck_assert_int_eq(run_with(NULL, 0), 0);
	fake_cpu.cr4 |= BIT(32);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(run_with(NULL, 0), X86VCPU_ERR_UNSUPPORTED);
		ck_assert_uint_eq(entry_count, 0);
	}
	fake_cpu.cr4 &= ~BIT(32);
	ck_assert_int_eq(run_with(NULL, 0), 0);
	ck_assert_uint_eq(entry_count, 1);
}
END_TEST

START_TEST(nmi_and_machine_check_reach_the_host)
{
	const uint32_t info = _i ? 3 << 8 | 18 : 2 << 8 | 2;
	const struct fake_exit exit = {.reason = 0, .interruption = (uint32_t)BIT(31) | info};

	start_protected();
	ck_assert_int_eq(run_with(&exit, 1), 0);
	ck_assert_uint_eq(reported.kind, X86VCPU_EXIT_NOTHING);
	ck_assert_uint_eq(fake_cpu.nmis, !_i);
	ck_assert_uint_eq(fake_cpu.machine_checks, _i);
	ck_assert(!guest_event_pending(&vcpu.guest));
}
END_TEST

START_TEST(machine_check_during_entry_reaches_the_host)
{
	const struct fake_exit exit = {.reason = (uint32_t)BIT(31) | 41};

	start_protected();
	ck_assert_int_eq(run_with(&exit, 1), 0);
	ck_assert_uint_eq(reported.kind, X86VCPU_EXIT_FAIL_ENTRY);
	ck_assert_uint_eq(reported.u.fail_entry.reason, BIT(31) | 41);
	ck_assert_uint_eq(fake_cpu.machine_checks, 1);
}
END_TEST

/* V-23: bit 12 of the interruption information (SDM 28.2.3), here of an #AC. */
static const struct {
	uint32_t interruption, vectoring;
	uint64_t blocking;
} irets[] = {
	{1u << 31 | 1u << 12 | 1u << 11 | 3 << 8 | 17, 0, 8},
	{1u << 31 | 1u << 11 | 3 << 8 | 17, 0, 0},
	/* During the delivery of an event the bit is undefined. */
	{1u << 31 | 1u << 12 | 1u << 11 | 3 << 8 | 17, 1u << 31 | 0x40, 0},
};

START_TEST(fault_of_iret_blocks_nmis_again)
{
	const struct fake_exit exit = {
		.reason = 0, .interruption = irets[_i].interruption, .vectoring = irets[_i].vectoring
	};

	start_protected();
	ck_assert_int_eq(run_with(&exit, 1), 0);
	ck_assert_uint_eq(entries[1].event, BIT(31) | BIT(11) | 3 << 8 | 17);
	ck_assert_uint_eq(entries[1].blocking, irets[_i].blocking);
}
END_TEST

/* V-05d: MOV %al, 0x1000 in real mode is 3 bytes long, whatever the exit says (SDM 28.2.5). */
START_TEST(length_of_an_mmio_access_is_decoded)
{
	static const uint8_t code[] = {0xa2, 0x00, 0x10};
	static uint8_t memory[0x8000];
	const struct x86vcpu_memory_region region = {.hva = memory, .size = sizeof(memory)};
	const struct x86vcpu_mmio_range device = {.base = MMIO, .size = 0x1000};
	const struct fake_exit exit = {
		.reason = 48, .qualification = BIT(1) | BIT(7) | BIT(8), .gpa = MMIO, .linear = MMIO, .length = 15
	};

	start();
	memcpy(memory + ENTRY_RIP, code, sizeof(code));
	vcpu.guest.memory = &region;
	vcpu.guest.memory_count = 1;
	vcpu.guest.mmio = &device;
	vcpu.guest.mmio_count = 1;
	ck_assert_int_eq(run_with(&exit, 1), 0);
	ck_assert_uint_eq(reported.kind, X86VCPU_EXIT_MMIO_WRITE);
	ck_assert_uint_eq(guest_get(&vcpu.guest, G_RIP), ENTRY_RIP + 3);
	ck_assert(!fake_cpu.read[0x440c]);
}
END_TEST

/* V-18: OUTSB with a 32-bit address and a prefix for ES; the code is not looked at. */
START_TEST(string_access_needs_no_code)
{
	const struct fake_exit exit = {
		.reason = 30, .qualification = BIT(4) | 0x60 << 16, .info = 1 << 7 | 0 << 15, .length = 3
	};

	start();
	vcpu.guest.regs.rsi = 0x1234;
	fake_cpu.vmcs[0x6806] = 0x20000; /* base of ES */
	ck_assert_int_eq(run_with(&exit, 1), 0);
	ck_assert_uint_eq(reported.kind, X86VCPU_EXIT_PORT_IO_STRING);
	ck_assert_uint_eq(reported.u.port_io_string.gpa, 0x21234);
	ck_assert_uint_eq(reported.u.port_io_string.next_rip, ENTRY_RIP + 3);
}
END_TEST

/* ---- The host -------------------------------------------------------------------------------------------------- */

/* C-01d: components that the library knows nothing of, AMX's among them. */
START_TEST(host_xcr0_comes_back_whole)
{
	static const uint64_t values[] = {1, 0xe7, 0x602e7, UINT64_C(1) << 62 | 0x602e7};

	start();
	fake_cpu.xcr0 = values[_i]; /* after bind: the host may change it between runs */
	ck_assert_int_eq(run_with(NULL, 0), 0);
	ck_assert_uint_eq(entries[0].xcr0, 1);
	ck_assert_uint_eq(fake_cpu.xcr0, values[_i]);
}
END_TEST

/* V-16: VM exit clears IA32_DEBUGCTL (SDM 28.5.1). */
START_TEST(host_debugctl_comes_back)
{
	power_on();
	*fake_msr(0x1d9) = 0x4001;
	ck_assert_int_eq(make_vcpu(), 0);
	ck_assert_int_eq(vmx_backend.bind(&vcpu.guest, &cpus[0]), 0);
	*fake_msr(0x1d9) = 0;
	ck_assert_int_eq(run_with(NULL, 0), 0);
	ck_assert_uint_eq(*fake_msr(0x1d9), 0x4001);
}
END_TEST

static TCase *vmcs_case(void)
{
	TCase *tcase = tcase_create("vmcs");

	tcase_add_loop_test(tcase, entry_finds_no_unwritten_field, 0, COUNT(consulted));
	tcase_add_loop_test(tcase, field_without_its_control_is_left_alone, 0, COUNT(optional_fields));
	tcase_add_loop_test(tcase, control_word, 0, COUNT(words));
	tcase_add_loop_test(tcase, eptp_has_what_the_cpu_has, 0, 2);
	tcase_add_loop_test(tcase, cpu_without_ept_features_is_refused, 0, 6);
	tcase_add_loop_test(tcase, timer_counts_at_its_own_rate, 0, 16);
	tcase_add_test(tcase, invept_where_the_vcpu_was_not_last);
	tcase_add_test(tcase, unbind_clears_the_vmcs);
	return tcase;
}

static TCase *exits_case(void)
{
	TCase *tcase = tcase_create("exits");

	tcase_add_loop_test(tcase, instruction_is_refused_or_skipped, 0, COUNT(refused));
	tcase_add_loop_test(tcase, unknown_exit_is_an_error, 0, COUNT(unknown));
	tcase_add_loop_test(tcase, x87_pointers_are_cleared, 0, 4);
	tcase_add_test(tcase, fxsave_does_not_go_to_the_stack);
	tcase_add_loop_test(tcase, vmx_in_smx_operation, 0, COUNT(feature_controls));
	tcase_add_test(tcase, limit_of_tr_comes_back);
	tcase_add_loop_test(tcase, tr_is_reloaded_where_it_must_be, 0, COUNT(tss_descriptors));
	tcase_add_loop_test(tcase, split_lock_is_not_the_guests, 0, COUNT(alignment_checks));
	tcase_add_test(tcase, split_lock_does_not_spin);
	tcase_add_test(tcase, debug_registers_are_loaded_under_no_breakpoints);
	tcase_add_test(tcase, protection_keys_are_off_during_a_run);
	tcase_add_test(tcase, mode_of_the_host_is_checked_at_each_run);
	tcase_add_loop_test(tcase, nmi_and_machine_check_reach_the_host, 0, 2);
	tcase_add_test(tcase, machine_check_during_entry_reaches_the_host);
	tcase_add_loop_test(tcase, fault_of_iret_blocks_nmis_again, 0, COUNT(irets));
	tcase_add_test(tcase, length_of_an_mmio_access_is_decoded);
	tcase_add_test(tcase, string_access_needs_no_code);
	return tcase;
}

Suite *vmx_backend_suite(void)
{
	Suite *suite = suite_create("vmx_backend");
	TCase *tcase = tcase_create("host");

	suite_add_tcase(suite, vmcs_case());
	suite_add_tcase(suite, exits_case());
	tcase_add_loop_test(tcase, host_xcr0_comes_back_whole, 0, 4);
	tcase_add_test(tcase, host_debugctl_comes_back);
	suite_add_tcase(suite, tcase);
	return suite;
}
