/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The SVM backend on a fake CPU: what VMRUN finds in a VMCB, and what becomes of exits that no emulator
 * produces. Codes, bits and offsets are numbers of the manual: APM Vol. 2, 15 and appendices B and C.
 */
#include <check.h>

#include "fake_cpu.h"

/* With leaf 8000000a, which the fake CPU does not have. */
static void svm_cpuid_leaf(uint32_t leaf, uint32_t subleaf, uint32_t out[4]);
#define insn_cpuid svm_cpuid_leaf

#include "svm/events.c"
#include "svm/exits.c"
#include "svm/fields.c"
#include "svm/percpu.c"
#include "svm/run.c"
#include "svm/setup.c"

Suite *svm_suite(void);

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))
#define BIT(n) (UINT64_C(1) << (n))

#define CODE_AT 0x1000u
#define MEMORY_SIZE 0x10000u
#define PML4 0xf000u
#define PDPT 0xe000u
#define PD 0xd000u
#define DEVICE UINT64_C(0x200000)

#define EXIT_SMI 0x62 /* one that the guest continues after */
#define EXIT_VINTR 0x64
#define EXIT_CPUID 0x72
#define EXIT_IRET 0x74
#define EXIT_IOIO 0x7b
#define EXIT_NPF 0x400

#define ALL_CLEAN 0x3ffu
#define IF BIT(9)

/* ---- The machine ---------------------------------------------------------------------------------------- */

static _Alignas(4096) uint8_t pool[32][4096];
static unsigned pool_used;
static _Alignas(4096) uint8_t memory[MEMORY_SIZE];
static uint32_t svm_features, asids;
static struct svm_vcpu vcpu, other;
static struct backend_cpu cpus[2];
static struct x86vcpu_exit reported;
static struct guest_cpuid_entry cpuid_table[CPUID_TABLE_SIZE];
static unsigned serviced;

#define FEATURE_NEXT_RIP BIT(3)
#define FEATURE_DECODE_ASSISTS BIT(7)

static void svm_cpuid_leaf(uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	fake_cpuid(leaf, subleaf, out);
	if (leaf == 0x8000000a) {
		out[0] = 1;
		out[1] = asids;
		out[3] = 1 | svm_features; /* nested paging */
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
	ck_assert_uint_le(pool_used + count, 32);
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

static int32_t nothing_there(void *ctx, uint64_t gpa, void *buf, uint64_t len)
{
	(void)ctx;
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

static void make_vcpu(struct svm_vcpu *v)
{
	const struct backend_setup setup = {.entry = CODE_AT, .nested_root = 0x5000, .time_slice_ns = 1000000};
	struct cpuid_config config = {.host = host_cpuid_leaf, .physical_bits = 48};
	struct guest *g = &v->guest;

	memset(v, 0, sizeof(*v));
	g->host = &host;
	g->exit = &reported;
	g->memory = &region;
	g->memory_count = 1;
	g->mmio = &device;
	g->mmio_count = 1;
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

/* A guest as reset leaves it, in real mode. */
static void start(uint32_t features)
{
	memset(&fake_cpu, 0, sizeof(fake_cpu));
	memset(memory, 0, sizeof(memory));
	pool_used = serviced = 0;
	svm_features = features;
	asids = asids ? asids : 0x8000;
	fake_cpu.cr0 = 0x80010033;
	fake_cpu.cr4 = 0x42620;
	fake_cpu.dr7 = 0x400;
	fake_cpu.xcr0 = 1;
	enable(&cpus[0]);
	enable(&cpus[1]);
	make_vcpu(&vcpu);
	ck_assert_int_eq(svm_backend.bind(&vcpu.guest, &cpus[0]), 0);
}

static void segment(struct vmcb_segment *s, uint16_t attributes)
{
	*s = (struct vmcb_segment){.attributes = attributes, .limit = 0xffffffff};
}

static void set_modes(uint64_t cr0, uint64_t cr4, uint64_t efer, uint16_t code)
{
	struct vmcb *vmcb = vcpu.vmcb;

	vcpu.cr0 = vmcb->cr0 = cr0;
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

/* Flat, without paging. */
static void start_protected(uint32_t features)
{
	start(features);
	set_modes(0x11, 0, 0, 0xc9b);
}

static void put64(uint32_t gpa, uint64_t value)
{
	memcpy(memory + gpa, &value, sizeof(value));
}

/* The first 16 MiB are mapped to themselves. */
static void start_long(uint32_t features)
{
	start(features);
	put64(PML4, PDPT | 7);
	put64(PDPT, PD | 7);
	for (uint32_t i = 0; i < 8; i++)
		put64(PD + 8 * i, i * UINT64_C(0x200000) | 0x87);
	set_modes(0x80010011, 0x20, 0xd01, 0xa9b);
	vcpu.vmcb->cr3 = PML4;
}

static void code(const void *bytes, size_t count)
{
	memcpy(memory + CODE_AT, bytes, count);
}

/* ---- The guest: a list of exits -------------------------------------------------------------------------- */

struct fake_exit {
	uint64_t code, info1, info2, next_rip, vectoring;
	uint64_t rip;    /* 0: as it was at entry */
	uint64_t rflags; /* 0: as they were */
};

struct fake_entry {
	uint64_t event, rip, window, shadow, cr0, cr4;
	uint32_t clean, asid, intercept3;
	uint16_t cr_read;
	uint8_t tlb_control;
};

static const struct fake_exit *exits;
static unsigned exits_left, entry_count;
static struct fake_entry entries[8];

static void leave_with(struct vmcb *vmcb, const struct fake_exit *exit)
{
	vmcb->exit_code = exit->code;
	vmcb->exit_info1 = exit->info1;
	vmcb->exit_info2 = exit->info2;
	vmcb->exit_int_info = exit->vectoring;
	vmcb->next_rip = exit->next_rip;
	vmcb->rip = exit->rip ? exit->rip : vmcb->rip;
	vmcb->rflags = exit->rflags ? exit->rflags : vmcb->rflags;
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
	ck_assert_uint_lt(entry_count, COUNT(entries));
	entries[entry_count++] = (struct fake_entry){
		.event = vmcb->event_injection, .rip = vmcb->rip, .window = vmcb->virtual_interrupt,
		.shadow = vmcb->interrupt_shadow, .cr0 = vmcb->cr0, .cr4 = vmcb->cr4, .clean = vmcb->clean,
		.asid = vmcb->asid, .intercept3 = vmcb->intercept3, .cr_read = vmcb->intercept_cr_read,
		.tlb_control = vmcb->tlb_control,
	};
	vmcb->interrupt_shadow = 0;
	if (exits_left) {
		exits_left--;
		leave_with(vmcb, exits++);
	} else {
		fake_cpu.tsc += 10000000;
		leave_with(vmcb, &interrupt);
	}
}

static int32_t run_vcpu(struct svm_vcpu *v, const struct fake_exit *list, unsigned count)
{
	exits = list;
	exits_left = count;
	entry_count = 0;
	return svm_backend.run(&v->guest);
}

static void run_with(const struct fake_exit *list, unsigned count)
{
	ck_assert_int_eq(run_vcpu(&vcpu, list, count), 0);
}

static uint64_t rip(void)
{
	return guest_get(&vcpu.guest, G_RIP);
}

/* ---- Control registers -------------------------------------------------------------------------------------- */

#define ASSISTS (FEATURE_NEXT_RIP | FEATURE_DECODE_ASSISTS)

/* Register `number` has `value`, the others what #GP would refuse. */
static void set_register(unsigned number, uint64_t value)
{
	for (unsigned i = 0; i < 16; i++)
		guest_set_gpr(&vcpu.guest, i, UINT64_MAX);
	guest_set_gpr(&vcpu.guest, number, value);
}

/* APM 15.8.1: EXITINFO1 tells the register; nothing is decoded, there is no code. */
START_TEST(mov_to_cr_uses_the_register_of_exitinfo1)
{
	const bool cr4 = _i & 16;
	const struct fake_exit exit = {
		.code = cr4 ? 0x14 : 0x10, .info1 = BIT(63) | (_i & 15), .next_rip = CODE_AT + 3
	};

	start_long(ASSISTS);
	set_register(_i & 15, cr4 ? 0xa0 : 0x80010019);
	run_with(&exit, 1);
	ck_assert_uint_eq(entry_count, 2);
	ck_assert_uint_eq(entries[1].event, 0);
	ck_assert_uint_eq(entries[1].rip, CODE_AT + 3);
	ck_assert_uint_eq(entries[1].cr4, cr4 ? 0xa0 : 0x20);
	ck_assert_uint_eq(entries[1].cr0, cr4 ? 0x80010011 : 0x80010019);
}
END_TEST

/* The same by decoding. The REX prefix that R8 needs counts, and so do others; mod is ignored. */
static const struct {
	uint8_t bytes[6], length, reg;
} movs[] = {
	{{0x0f, 0x22, 0xe0}, 3, 0},
	{{0x0f, 0x22, 0xe4}, 3, 4},
	{{0x41, 0x0f, 0x22, 0xe0}, 4, 8},
	{{0x41, 0x0f, 0x22, 0xe4}, 4, 12},
	{{0x49, 0x0f, 0x22, 0xe7}, 4, 15},
	{{0x66, 0x0f, 0x22, 0xe3}, 4, 3},
	{{0x2e, 0x66, 0x41, 0x0f, 0x22, 0xe1}, 6, 9},
	{{0x0f, 0x22, 0x26}, 3, 6},
};

/* Without decode assists EXITINFO1 means nothing; with them, but without a next RIP, the length is missing. */
START_TEST(mov_to_cr_is_decoded)
{
	const bool assists = _i >= COUNT(movs);
	const int row = _i % COUNT(movs);
	const struct fake_exit exit = {.code = 0x14, .info1 = BIT(63) | (assists ? movs[row].reg : 5)};

	start_long(assists ? FEATURE_DECODE_ASSISTS : 0);
	code(movs[row].bytes, movs[row].length);
	set_register(movs[row].reg, 0xa0);
	run_with(&exit, 1);
	ck_assert_uint_eq(entries[1].event, 0);
	ck_assert_uint_eq(entries[1].rip, CODE_AT + movs[row].length);
	ck_assert_uint_eq(entries[1].cr4, 0xa0);
}
END_TEST

/* Bit 63 clear: CLTS or LMSW (APM 15.8.1). The MOV among them was changed after the CPU fetched it. */
static const struct {
	uint8_t bytes[4], length;
	uint64_t before, after;
} cr0_writes[] = {
	{{0x0f, 0x06}, 2, 0x80010019, 0x80010011},
	{{0x0f, 0x01, 0xf0}, 3, 0x80010011, 0x8001001b},       /* LMSW %ax */
	{{0x0f, 0x01, 0x30}, 3, 0x80010011, 0x80010013},       /* LMSW (%rax) */
	{{0x41, 0x0f, 0x01, 0xf0}, 4, 0x80010011, 0x8001001d}, /* LMSW %r8w */
};

START_TEST(clts_and_lmsw_are_decoded)
{
	const struct fake_exit exit = {.code = 0x10, .info1 = 7, .next_rip = CODE_AT + 9};

	start_long(_i & 1 ? ASSISTS : 0);
	code(cr0_writes[_i / 2].bytes, 4);
	vcpu.cr0 = vcpu.vmcb->cr0 = cr0_writes[_i / 2].before;
	vcpu.guest.regs.rax = 0x200a;
	vcpu.guest.regs.r8 = 0xd;
	memory[0x200a] = 2;
	run_with(&exit, 1);
	ck_assert_uint_eq(entries[1].cr0, cr0_writes[_i / 2].after);
	ck_assert_uint_eq(entries[1].rip, CODE_AT + cr0_writes[_i / 2].length);
}
END_TEST

/* CD and NW stay out of the VMCB; the guest's reads exit only while they differ. */
START_TEST(cache_disable_is_shadowed)
{
	static const uint8_t from_cr0[] = {0x0f, 0x20, 0xc3}; /* MOV %cr0, %ebx */
	const struct fake_exit read = {.code = 0x00};

	start(0);
	code(from_cr0, sizeof(from_cr0));
	run_with(&read, 1);
	ck_assert_uint_eq(entries[0].cr0, 0x10);
	ck_assert_uint_eq(entries[0].cr_read & 1, 1);
	ck_assert_uint_eq(vcpu.guest.regs.rbx, 0x60000010);
	ck_assert_uint_eq(entries[1].rip, CODE_AT + 3);
	guest_set(&vcpu.guest, G_CR0, 0x11);
	run_with(NULL, 0);
	ck_assert_uint_eq(entries[0].cr0, 0x11);
	ck_assert_uint_eq(entries[0].cr_read & 1, 0);
}
END_TEST

/* Bit 6, MCE: the CPU has the host's, the guest reads its own. */
START_TEST(machine_check_enable_is_the_hosts)
{
	const uint64_t of_host = _i & 1 ? 0x40 : 0, of_guest = _i & 2 ? 0x40 : 0;

	start(0);
	fake_cpu.cr4 = 0x42620 | of_host;
	guest_set(&vcpu.guest, G_CR4, 0x20 | of_guest);
	run_with(NULL, 0);
	ck_assert_uint_eq(entries[0].cr4, 0x20 | of_host);
	ck_assert_uint_eq(guest_get(&vcpu.guest, G_CR4), 0x20 | of_guest);
}
END_TEST

START_TEST(efer_svme_is_not_shown)
{
	start_long(0);
	ck_assert_uint_eq(guest_get(&vcpu.guest, G_EFER), 0xd01);
	guest_set(&vcpu.guest, G_EFER, 0xd00);
	run_with(NULL, 0);
	ck_assert_uint_eq(vcpu.vmcb->efer, 0x1d00);
	ck_assert_uint_eq(guest_get(&vcpu.guest, G_EFER), 0xd00);
}
END_TEST

/* ---- Segments: bits 7:0 and 15:12 of access rights are bits 11:0 (APM 15.5.1) ------------------------------ */

static const struct {
	uint32_t access;
	uint16_t attributes;
} packed[] = {{0xa09b, 0xa9b}, {0xc093, 0xc93}, {0x00f3, 0x0f3}, {0x808b, 0x88b}, {0x109b, 0x19b}, {0xf0ff, 0xfff}};

START_TEST(access_rights_are_packed)
{
	start_protected(0);
	vcpu.vmcb->ds.attributes = packed[_i].attributes;
	ck_assert_uint_eq(svm_read_guest_field(&vcpu.guest, G_ACCESS + X86VCPU_SEGMENT_DS), packed[_i].access);
	guest_set(&vcpu.guest, G_ACCESS + X86VCPU_SEGMENT_ES, packed[_i].access);
	run_with(NULL, 0);
	ck_assert_uint_eq(vcpu.vmcb->es.attributes, packed[_i].attributes);
}
END_TEST

START_TEST(unusable_is_not_present)
{
	start_protected(0);
	vcpu.vmcb->fs.attributes = 0xc13;
	ck_assert_uint_eq(svm_read_guest_field(&vcpu.guest, G_ACCESS + X86VCPU_SEGMENT_FS), 0x1c013);
	guest_set(&vcpu.guest, G_ACCESS + X86VCPU_SEGMENT_GS, 0x1c093);
	run_with(NULL, 0);
	ck_assert_uint_eq(vcpu.vmcb->gs.attributes, 0xc13);
}
END_TEST

/* The CPL is not in SS's attributes: after SYSRET they need not agree. */
START_TEST(cpl_is_dpl_of_ss)
{
	start_protected(0);
	vcpu.vmcb->cpl = 3;
	ck_assert_uint_eq(svm_read_guest_field(&vcpu.guest, G_ACCESS + X86VCPU_SEGMENT_SS), 0xc0f3);
	ck_assert_uint_eq(svm_read_guest_field(&vcpu.guest, G_ACCESS + X86VCPU_SEGMENT_DS), 0xc093);
	guest_set(&vcpu.guest, G_ACCESS + X86VCPU_SEGMENT_SS, 0xc0d3);
	guest_set(&vcpu.guest, G_ACCESS + X86VCPU_SEGMENT_DS, 0xc0f3);
	run_with(NULL, 0);
	ck_assert_uint_eq(vcpu.vmcb->cpl, 2);
}
END_TEST

/* ---- Length ---------------------------------------------------------------------------------------------------- */

/* CPUID with a prefix has 3 bytes. A next RIP that can be one is believed, with the feature only. */
static const struct {
	uint32_t features;
	int64_t next, length;
} lengths[] = {
	{FEATURE_NEXT_RIP, 3, 3}, {FEATURE_NEXT_RIP, 2, 2}, {FEATURE_NEXT_RIP, 15, 15},
	{FEATURE_NEXT_RIP, 0, 3}, {FEATURE_NEXT_RIP, -1, 3}, {FEATURE_NEXT_RIP, 16, 3},
	{FEATURE_NEXT_RIP, -(int64_t)CODE_AT, 3}, {FEATURE_NEXT_RIP, INT64_MIN, 3}, {0, 5, 3},
};

START_TEST(length_of_an_instruction)
{
	static const uint8_t cpuid_instruction[] = {0x66, 0x0f, 0xa2};
	const struct fake_exit exit = {.code = EXIT_CPUID, .next_rip = CODE_AT + (uint64_t)lengths[_i].next};

	start_long(lengths[_i].features);
	code(cpuid_instruction, sizeof(cpuid_instruction));
	run_with(&exit, 1);
	ck_assert_uint_eq(entries[1].event, 0);
	ck_assert_uint_eq(entries[1].rip, CODE_AT + (uint64_t)lengths[_i].length);
}
END_TEST

/* What is at RIP by now is no instruction. */
START_TEST(no_length_is_no_skip)
{
	const struct fake_exit exit = {.code = EXIT_CPUID};

	start_long(0);
	code("\x0f\x0b", 2);
	vcpu.guest.regs.rax = 0x1234;
	run_with(&exit, 1);
	ck_assert(entries[1].event == 0x80000306 || entries[1].rip == CODE_AT + 2);
}
END_TEST

/* ---- Port I/O: EXITINFO1 is APM figure 15-2 ------------------------------------------------------------------- */

#define IO_IN BIT(0)
#define IO_STR BIT(2)
#define IO_REP BIT(3)
#define IO_8 BIT(4)
#define IO_A16 BIT(7)
#define IO_A32 BIT(8)
#define IO_PORT(port) ((uint64_t)(port) << 16)
#define IO_SEGMENT(n) ((uint64_t)(n) << 10)

/* With or without the feature of that name; 9 bytes, which no other source says. */
START_TEST(exitinfo2_of_io_is_the_next_rip)
{
	const struct fake_exit exit = {
		.code = EXIT_IOIO, .info1 = IO_PORT(0x3f8) | BIT(4 + _i % 3), .info2 = CODE_AT + 9
	};

	start_protected(_i >= 3 ? ASSISTS : 0);
	vcpu.guest.regs.rax = 0x11223344;
	vcpu.vmcb->rax = 0x11223344;
	run_with(&exit, 1);
	ck_assert_uint_eq(reported.kind, X86VCPU_EXIT_PORT_IO_WRITE);
	ck_assert_uint_eq(reported.u.port_io.port, 0x3f8);
	ck_assert_uint_eq(reported.u.port_io.width, (unsigned)_i % 3);
	ck_assert_uint_eq(reported.u.port_io.data, UINT64_C(0x11223344) & (BIT(8 << _i % 3) - 1));
	ck_assert_uint_eq(rip(), CODE_AT + 9);
}
END_TEST

START_TEST(io_without_a_next_rip_is_decoded)
{
	static const uint64_t garbage[] = {0, CODE_AT, CODE_AT - 1, CODE_AT + 16, UINT64_MAX};
	const struct fake_exit exit = {.code = EXIT_IOIO, .info1 = IO_IN | IO_8 | IO_PORT(0x60), .info2 = garbage[_i]};

	start_protected(0);
	code("\xe4\x60", 2);
	run_with(&exit, 1);
	ck_assert_uint_eq(reported.kind, X86VCPU_EXIT_PORT_IO_READ);
	ck_assert_uint_eq(rip(), CODE_AT + 2);
}
END_TEST

/* Bases: ES 0x2000, DS 0x3000, FS 0x4000, GS 0x5000; rSI and rDI are 0x10123. */
static const struct {
	uint32_t features;
	uint64_t info1, gpa;
	uint8_t bytes[3];
} strings[] = {
	/* OUTSB: the segment is in bits 12:10, with decode assists only. */
	{ASSISTS, IO_A32 | IO_SEGMENT(4), 0x14123, {0}},
	{ASSISTS, IO_A32 | IO_SEGMENT(0), 0x12123, {0}},
	{ASSISTS, IO_A16 | IO_SEGMENT(3), 0x3123, {0}},
	{0, IO_A32 | IO_SEGMENT(4), 0x13123, {0x6e}},
	{0, IO_A32 | IO_SEGMENT(3), 0x15123, {0x65, 0x6e}},
	{0, IO_A32 | IO_SEGMENT(7), 0x14123, {0x64, 0x6e}},
	/* No address size, as some CPUs have it. */
	{ASSISTS, IO_SEGMENT(4), 0x4123, {0x64, 0x67, 0x6e}},
	{ASSISTS, IO_SEGMENT(3), 0x13123, {0x6e}},
	/* INSB writes to ES, whatever the field or a prefix says. */
	{ASSISTS, IO_IN | IO_A32 | IO_SEGMENT(3), 0x12123, {0}},
	{ASSISTS, IO_IN | IO_A16 | IO_SEGMENT(4), 0x2123, {0}},
	{0, IO_IN | IO_A32 | IO_SEGMENT(5), 0x12123, {0}},
	{0, IO_IN, 0x12123, {0x64, 0x6c}},
	{0, IO_IN, 0x2123, {0x67, 0x6c}},
};

START_TEST(string_operand)
{
	const struct fake_exit exit = {
		.code = EXIT_IOIO, .info1 = strings[_i].info1 | IO_STR | IO_8 | IO_PORT(0x70), .info2 = CODE_AT + 3
	};

	start_protected(strings[_i].features);
	code(strings[_i].bytes, 3);
	vcpu.vmcb->es.base = 0x2000;
	vcpu.vmcb->ds.base = 0x3000;
	vcpu.vmcb->fs.base = 0x4000;
	vcpu.vmcb->gs.base = 0x5000;
	vcpu.guest.regs.rsi = vcpu.guest.regs.rdi = 0x10123;
	run_with(&exit, 1);
	ck_assert_uint_eq(reported.kind, X86VCPU_EXIT_PORT_IO_STRING);
	ck_assert_uint_eq(reported.u.port_io_string.direction, !(strings[_i].info1 & IO_IN));
	ck_assert_uint_eq(reported.u.port_io_string.gpa, strings[_i].gpa);
	ck_assert_uint_eq(reported.u.port_io_string.next_rip, CODE_AT + 3);
	ck_assert_uint_eq(rip(), CODE_AT);
}
END_TEST

/* ---- Nested page faults: EXITINFO1 is a page fault's error code and more (APM 15.25.6) ---------------------- */

#define FINAL BIT(32)
#define WALK BIT(33)

/* MOV %bl, (%rax) */
static void start_mmio(void)
{
	start_long(0);
	code("\x88\x18", 2);
	vcpu.guest.regs.rax = vcpu.vmcb->rax = DEVICE + 8;
	vcpu.guest.regs.rbx = 0x5a;
}

START_TEST(final_access_to_a_device_is_decoded)
{
	const struct fake_exit exit = {.code = EXIT_NPF, .info1 = FINAL | 6, .info2 = DEVICE + 8};

	start_mmio();
	run_with(&exit, 1);
	ck_assert_uint_eq(reported.kind, X86VCPU_EXIT_MMIO_WRITE);
	ck_assert_uint_eq(reported.u.mmio.gpa, DEVICE + 8);
	ck_assert_uint_eq(reported.u.mmio.data, 0x5a);
	ck_assert_uint_eq(rip(), CODE_AT + 2);
}
END_TEST

/* Bits 1 and 4: write, fetch. Not by the instruction itself: a walk, a fetch, the delivery of an event. */
static const struct {
	uint64_t info1, gpa, vectoring, access;
} nested_faults[] = {
	{FINAL | 4, 0x800000, 0, 1},
	{FINAL | 6, 0x800000, 0, 2},
	{FINAL | 0x14, 0x800000, 0, 4},
	{FINAL | 7, 0x800000, 0, 2},
	{FINAL | 0x14, DEVICE, 0, 4},
	{WALK | 4, DEVICE, 0, 1},
	{WALK | 6, DEVICE, 0, 2},
	{6, DEVICE, 0, 2},
	{FINAL | 6, DEVICE + 8, 0x80000030, 2},
	{FINAL | 4, DEVICE + 8, 0x80000b0e, 1},
	{FINAL | 6, DEVICE + 8, 0x80000202, 2},
};

START_TEST(other_nested_faults_are_the_vmms)
{
	const struct fake_exit exit = {
		.code = EXIT_NPF, .info1 = nested_faults[_i].info1, .info2 = nested_faults[_i].gpa,
		.vectoring = nested_faults[_i].vectoring,
	};

	start_mmio();
	run_with(&exit, 1);
	ck_assert_uint_eq(reported.kind, X86VCPU_EXIT_NESTED_PAGE_FAULT);
	ck_assert_uint_eq(reported.u.nested_page_fault.gpa, nested_faults[_i].gpa);
	ck_assert_uint_eq(reported.u.nested_page_fault.access, nested_faults[_i].access);
	ck_assert_uint_eq(rip(), CODE_AT);
	/* And the event goes in again. */
	run_with(NULL, 0);
	ck_assert_uint_eq(entries[0].event, nested_faults[_i].vectoring);
}
END_TEST

START_TEST(reserved_bits_are_an_error)
{
	const struct fake_exit exit = {.code = EXIT_NPF, .info1 = FINAL | 0xd, .info2 = DEVICE};

	start_mmio();
	ck_assert_int_eq(run_vcpu(&vcpu, &exit, 1), X86VCPU_ERR_INVALID_DATA);
	ck_assert_uint_eq(reported.kind, X86VCPU_EXIT_NOTHING);
	ck_assert_uint_eq(rip(), CODE_AT);
}
END_TEST

/* ---- Codes ------------------------------------------------------------------------------------------------------ */

#define INJECT_UD 0x80000306
#define INJECT_GP 0x80000b0d

/* What each exit becomes in the guest; 0: the instruction is skipped. */
static const struct {
	uint16_t code;
	uint64_t event;
} refused[] = {
	{0x6f, INJECT_GP}, {0x73, INJECT_UD}, {0x76, 0},         {0x77, 0},         {0x7a, INJECT_UD}, {0x80, INJECT_UD},
	{0x82, INJECT_UD}, {0x83, INJECT_UD}, {0x84, INJECT_UD}, {0x85, INJECT_UD}, {0x86, INJECT_UD}, {0x89, 0},
	{0x8a, INJECT_UD}, {0x8b, INJECT_UD}, {0x8c, INJECT_UD}, {0x8e, INJECT_UD}, {0xa0, INJECT_UD}, {0xa4, INJECT_UD},
};

START_TEST(instruction_is_refused_or_skipped)
{
	const struct fake_exit exit = {.code = refused[_i].code, .next_rip = CODE_AT + 3};

	start_protected(FEATURE_NEXT_RIP);
	run_with(&exit, 1);
	ck_assert_uint_eq(entry_count, 2);
	ck_assert_uint_eq(entries[1].event, refused[_i].event);
	ck_assert_uint_eq(entries[1].rip, refused[_i].event ? CODE_AT : CODE_AT + 3);
}
END_TEST

static const uint64_t unknown[] = {0x02, 0x0f, 0x13, 0x18, 0x40, 0x4e, 0x65, 0x6e, 0x7d, 0x7e, 0x8f, 0x90, 0xa5,
				   0xa6, 0xa7, 0x3ff, 0x401, 0x403, 0x404, 0x10000, BIT(32) | 0x72, BIT(63) | 0x400};

START_TEST(unknown_exit_is_an_error)
{
	const struct fake_exit exit = {.code = unknown[_i], .next_rip = CODE_AT + 3};

	start_protected(FEATURE_NEXT_RIP);
	ck_assert_int_eq(run_vcpu(&vcpu, &exit, 1), X86VCPU_ERR_UNSUPPORTED);
	ck_assert_uint_eq(reported.kind, X86VCPU_EXIT_NOTHING);
	ck_assert_uint_eq(entry_count, 1);
	ck_assert_uint_eq(rip(), CODE_AT);
}
END_TEST

START_TEST(machine_check_reaches_the_host)
{
	const struct fake_exit exit = {.code = 0x52};

	start_protected(0);
	run_with(&exit, 1);
	ck_assert_uint_eq(reported.kind, X86VCPU_EXIT_NOTHING);
	ck_assert_uint_eq(fake_cpu.machine_checks, 1);
	ck_assert(!guest_event_pending(&vcpu.guest));
}
END_TEST

START_TEST(host_interrupt_is_serviced)
{
	const struct fake_exit exit = {.code = 0x60};

	start_protected(0);
	run_with(&exit, 1);
	ck_assert_uint_eq(reported.kind, X86VCPU_EXIT_NOTHING);
	ck_assert_uint_eq(serviced, 1);
	run_with(NULL, 0);
	ck_assert_uint_eq(reported.kind, X86VCPU_EXIT_PREEMPTION_TIMER);
	ck_assert_uint_eq(serviced, 2);
}
END_TEST

START_TEST(shutdown_is_system_down)
{
	const struct fake_exit exit = {.code = 0x7f};

	start_protected(0);
	run_with(&exit, 1);
	ck_assert_uint_eq(reported.kind, X86VCPU_EXIT_SYSTEM_DOWN);
	ck_assert_uint_eq(entry_count, 1);
}
END_TEST

/* ---- Events: EVENTINJ and EXITINTINFO, APM 15.20 and 15.7.2 --------------------------------------------------- */

static void post_event(int which)
{
	struct guest *g = &vcpu.guest;

	switch (which) {
	case 0:
		guest_post_interrupt(g, 0x21, false);
		break;
	case 1:
		guest_post_nmi(g);
		break;
	case 2:
		guest_raise(g, 13, true, 0x1234);
		break;
	default:
		guest_raise(g, 6, false, 0);
	}
}

static const uint64_t posted[] = {0x80000021, 0x80000202, UINT64_C(0x123480000b0d), 0x80000306};

START_TEST(event_is_encoded)
{
	start_protected(0);
	vcpu.vmcb->rflags = IF | 2;
	post_event(_i);
	run_with(NULL, 0);
	ck_assert_uint_eq(entries[0].event, posted[_i]);
	ck_assert(!guest_event_pending(&vcpu.guest));
}
END_TEST

/* Real mode has no error codes. */
START_TEST(real_mode_event_has_no_code)
{
	start(0);
	guest_raise(&vcpu.guest, 13, true, 0);
	run_with(NULL, 0);
	ck_assert_uint_eq(entries[0].event, 0x8000030d);
}
END_TEST

/* Table B-1: VMEXIT_INVALID is -1; one machine writes the low half only. VMEXIT_BUSY is -2. */
static const uint64_t failures[] = {UINT64_MAX, 0xffffffff, UINT64_MAX - 1, 0xfffffffe};

START_TEST(failed_entry_keeps_the_event)
{
	const struct fake_exit exit = {.code = failures[_i % COUNT(failures)]};
	const int event = _i / COUNT(failures);

	start_protected(0);
	vcpu.vmcb->rflags = IF | 2;
	post_event(event);
	run_with(&exit, 1);
	ck_assert_uint_eq(reported.kind, X86VCPU_EXIT_FAIL_ENTRY);
	ck_assert_uint_eq(reported.u.fail_entry.reason, exit.code);
	ck_assert_uint_eq(entries[0].event, posted[event]);
	ck_assert_uint_eq(vcpu.vmcb->event_injection & BIT(31), 0);
	run_with(NULL, 0);
	ck_assert_uint_eq(entries[0].event, posted[event]);
	run_with(NULL, 0);
	ck_assert_uint_eq(entries[0].event, 0);
}
END_TEST

/* The NMI has not been taken, so it blocks no other: an exception goes first, and it comes after. */
START_TEST(failed_nmi_does_not_block)
{
	static const struct fake_exit invalid = {.code = UINT64_MAX}, smi = {.code = EXIT_SMI};

	start_protected(0);
	guest_post_nmi(&vcpu.guest);
	run_with(&invalid, 1);
	guest_raise(&vcpu.guest, 6, false, 0);
	run_with(&smi, 1);
	ck_assert_uint_eq(entries[0].event, 0x80000306);
	ck_assert_uint_eq(entries[1].event, 0x80000202);
}
END_TEST

/* What the CPU has loaded of the VMCB, and whether it has flushed, is not known. */
START_TEST(failed_entry_leaves_nothing_cached)
{
	static const struct fake_exit invalid = {.code = UINT64_MAX};

	start_protected(0);
	run_with(&invalid, 1);
	ck_assert_uint_eq(entries[0].tlb_control, 1);
	run_with(NULL, 0);
	ck_assert_uint_eq(entries[0].clean, 0);
	ck_assert_uint_eq(entries[0].tlb_control, 1);
}
END_TEST

/* INT n, INT3 and INTO are executed again. */
static const struct {
	uint64_t vectoring, event;
} cut_short[] = {
	{0x80000030, 0x80000030},
	{0x80000010, 0x80000010}, /* an interrupt, not #MF */
	{0x80000202, 0x80000202},
	{UINT64_C(0x680000b0e), UINT64_C(0x680000b0e)},
	{UINT64_C(0x1880000b0d), UINT64_C(0x1880000b0d)},
	{0x80000b08, 0x80000b08},
	{0x80000301, 0x80000301},
	{0x80000300, 0x80000300},
	{0x80000480, 0},
	{0x80000402, 0},
	{0x80000303, 0},
	{0x80000304, 0},
	{0x00000030, 0}, /* not valid */
	{UINT64_C(0x600000b0e), 0},
};

START_TEST(event_cut_short_goes_in_again)
{
	const struct fake_exit list[] = {{.code = EXIT_SMI, .vectoring = cut_short[_i].vectoring}, {.code = EXIT_SMI}};

	start_protected(0);
	run_with(list, 2);
	ck_assert_uint_eq(entries[0].event, 0);
	ck_assert_uint_eq(entries[1].event, cut_short[_i].event);
	ck_assert_uint_eq(entries[2].event, 0);
}
END_TEST

/* No instruction brings them back. */
START_TEST(injected_breakpoint_goes_in_again)
{
	const uint64_t event = _i ? 0x80000304 : 0x80000303;
	const struct fake_exit exit = {.code = EXIT_SMI, .vectoring = event};

	start_protected(0);
	guest_raise(&vcpu.guest, _i ? 4 : 3, false, 0);
	run_with(&exit, 1);
	ck_assert_uint_eq(entries[0].event, event);
	ck_assert_uint_eq(entries[1].event, event);
}
END_TEST

/* An interrupt was taken, and its handler executes INT n with the same n. */
START_TEST(int_n_after_an_interrupt_is_executed_again)
{
	const struct fake_exit exit = {.code = EXIT_SMI, .vectoring = 0x80000480};

	start_protected(0);
	vcpu.vmcb->rflags = IF | 2;
	guest_post_interrupt(&vcpu.guest, 0x80, false);
	run_with(&exit, 1);
	ck_assert_uint_eq(entries[0].event, 0x80000080);
	ck_assert_uint_eq(entries[1].event, 0);
}
END_TEST

/* ---- NMIs: no other until the IRET is over (APM 15.20) ------------------------------------------------------ */

#define INTERCEPTS_IRET BIT(20)
#define INTERCEPTS_VINTR BIT(4)
#define WINDOW (BIT(8) | UINT64_C(0xf) << 16 | BIT(20)) /* V_IRQ, highest priority, V_IGN_TPR */

START_TEST(second_nmi_waits_for_iret)
{
	static const struct fake_exit list[] = {
		{.code = EXIT_SMI, .rip = 0x2000}, /* in the handler */
		{.code = EXIT_IRET, .rip = 0x2010},
		{.code = EXIT_SMI}, /* before the IRET is executed */
		{.code = EXIT_SMI, .rip = 0x3000},
	};

	start_protected(0);
	guest_post_nmi(&vcpu.guest);
	run_with(list, 1);
	ck_assert_uint_eq(entries[0].event, 0x80000202);
	ck_assert_uint_eq(entries[0].intercept3 & INTERCEPTS_IRET, INTERCEPTS_IRET);
	guest_post_nmi(&vcpu.guest);
	run_with(list + 1, 3);
	ck_assert_uint_eq(entry_count, 4);
	ck_assert_uint_eq(entries[0].event | entries[1].event | entries[2].event, 0);
	ck_assert_uint_eq(entries[0].intercept3 & INTERCEPTS_IRET, INTERCEPTS_IRET);
	ck_assert_uint_eq(entries[1].intercept3 & INTERCEPTS_IRET, 0);
	ck_assert_uint_eq(entries[1].rip, 0x2010);
	ck_assert_uint_eq(entries[2].intercept3 & INTERCEPTS_IRET, 0);
	ck_assert_uint_eq(entries[3].event, 0x80000202);
	ck_assert_uint_eq(entries[3].intercept3 & INTERCEPTS_IRET, INTERCEPTS_IRET);
}
END_TEST

START_TEST(iret_unblocks_without_a_second_nmi)
{
	static const struct fake_exit list[] = {
		{.code = EXIT_IRET, .rip = 0x2010}, {.code = EXIT_SMI, .rip = 0x3000}, {.code = EXIT_SMI, .rip = 0x3001},
	};

	start_protected(0);
	guest_post_nmi(&vcpu.guest);
	run_with(list, 3);
	ck_assert_uint_eq(entries[3].intercept3 & INTERCEPTS_IRET, 0);
	ck_assert_uint_eq(guest_get(&vcpu.guest, G_BLOCKING), 0);
}
END_TEST

/* Interrupts are none of the blocking's business. */
START_TEST(interrupt_comes_into_an_nmi_handler)
{
	static const struct fake_exit list[] = {{.code = EXIT_SMI}};

	start_protected(0);
	vcpu.vmcb->rflags = IF | 2;
	guest_post_nmi(&vcpu.guest);
	guest_post_interrupt(&vcpu.guest, 0x40, false);
	run_with(list, 1);
	ck_assert_uint_eq(entries[0].event, 0x80000202);
	ck_assert_uint_eq(entries[0].window & WINDOW, WINDOW);
	ck_assert_uint_eq(entries[1].event, 0x80000040);
}
END_TEST

/*
 * A window exits before the next instruction when interrupts are on: asked for an NMI that is blocked, the
 * guest would never come to its IRET.
 */
START_TEST(blocked_nmi_does_not_stop_the_guest)
{
	static const struct fake_exit list[] = {
		{.code = EXIT_SMI, .rip = 0x2000, .rflags = IF | 2}, {.code = EXIT_IRET, .rip = 0x2010},
	};

	start_protected(0);
	guest_post_nmi(&vcpu.guest);
	run_with(list, 0);
	guest_post_nmi(&vcpu.guest);
	run_with(list, 2);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_uint_eq(entries[i].window & WINDOW, 0);
		ck_assert_uint_eq(entries[i].intercept3 & INTERCEPTS_VINTR, 0);
	}
}
END_TEST

/* With interrupts off the window exits when the IRET has turned them on. */
START_TEST(waiting_nmi_comes_with_the_end_of_iret)
{
	static const struct fake_exit list[] = {
		{.code = EXIT_IRET, .rip = 0x2010}, {.code = EXIT_VINTR, .rip = 0x3000, .rflags = IF | 2},
	};

	start_protected(0);
	guest_post_nmi(&vcpu.guest);
	run_with(list, 0);
	guest_post_nmi(&vcpu.guest);
	run_with(list, 2);
	ck_assert_uint_eq(entries[1].window & WINDOW, WINDOW);
	ck_assert_uint_eq(entries[2].event, 0x80000202);
	ck_assert_uint_eq(entries[2].window & WINDOW, 0);
}
END_TEST

/* ---- The interrupt window (APM 15.21.4) --------------------------------------------------------------------- */

/* By its own exit, or by another after which the interrupt can go in. */
START_TEST(window_is_asked_for_and_taken_back)
{
	const struct fake_exit exit = {.code = _i ? EXIT_SMI : EXIT_VINTR, .rflags = IF | 2};

	start_protected(0);
	guest_post_interrupt(&vcpu.guest, 0x31, false);
	run_with(&exit, 1);
	ck_assert_uint_eq(entries[0].event, 0);
	ck_assert_uint_eq(entries[0].window, WINDOW | BIT(24)); /* V_INTR_MASKING */
	ck_assert_uint_eq(entries[0].intercept3 & INTERCEPTS_VINTR, INTERCEPTS_VINTR);
	ck_assert_uint_eq(entries[1].event, 0x80000031);
	ck_assert_uint_eq(entries[1].window, BIT(24));
	ck_assert_uint_eq(entries[1].intercept3 & INTERCEPTS_VINTR, 0);
}
END_TEST

START_TEST(window_stays_while_it_is_needed)
{
	static const struct fake_exit list[] = {{.code = EXIT_SMI}, {.code = EXIT_VINTR, .rflags = IF | 2}};

	start_protected(0);
	guest_post_interrupt(&vcpu.guest, 0x31, false);
	guest_post_interrupt(&vcpu.guest, 0x52, false);
	run_with(list, 2);
	ck_assert_uint_eq(entries[1].window & WINDOW, WINDOW);
	ck_assert_uint_eq(entries[2].event, 0x80000052);
	ck_assert_uint_eq(entries[2].window & WINDOW, WINDOW);
	ck_assert_uint_eq(entries[2].intercept3 & INTERCEPTS_VINTR, INTERCEPTS_VINTR);
}
END_TEST

START_TEST(interrupt_waits_for_the_end_of_its_shadow)
{
	start_protected(0);
	vcpu.vmcb->rflags = IF | 2;
	vcpu.vmcb->interrupt_shadow = 1;
	guest_post_interrupt(&vcpu.guest, 0x31, false);
	run_with(NULL, 0);
	ck_assert_uint_eq(entries[0].event, 0);
	ck_assert_uint_eq(entries[0].shadow, 1);
	ck_assert_uint_eq(entries[0].window & WINDOW, WINDOW);
}
END_TEST

/* ---- TLB tags (APM 15.16) -------------------------------------------------------------------------------------- */

static void enter_once(struct svm_vcpu *v)
{
	ck_assert_int_eq(run_vcpu(v, NULL, 0), 0);
}

static void start_two(uint32_t count)
{
	asids = count;
	start(0);
	make_vcpu(&other);
	ck_assert_int_eq(svm_backend.bind(&other.guest, &cpus[0]), 0);
}

START_TEST(first_vmrun_of_a_cpu_flushes)
{
	start_two(8);
	enter_once(&vcpu);
	ck_assert_uint_eq(entries[0].tlb_control, 1);
	enter_once(&vcpu);
	ck_assert_uint_eq(entries[0].tlb_control, 0);
	enter_once(&other);
	ck_assert_uint_eq(entries[0].tlb_control, 0);
	ck_assert_int_eq(svm_backend.bind(&vcpu.guest, &cpus[1]), 0);
	enter_once(&vcpu);
	ck_assert_uint_eq(entries[0].tlb_control, 1);
}
END_TEST

START_TEST(each_vcpu_keeps_its_asid)
{
	uint32_t first, second;

	start_two(8);
	enter_once(&vcpu);
	first = entries[0].asid;
	enter_once(&other);
	second = entries[0].asid;
	ck_assert_uint_ne(first, 0);
	ck_assert_uint_ne(second, 0);
	ck_assert_uint_ne(first, second);
	for (int i = 0; i < 3; i++) {
		enter_once(&vcpu);
		ck_assert_uint_eq(entries[0].asid, first);
		enter_once(&other);
		ck_assert_uint_eq(entries[0].asid, second);
	}
}
END_TEST

static void drop_translations(struct svm_vcpu *v, int nested)
{
	if (nested)
		v->guest.flush_nested = true;
	else
		v->guest.flush_tlb = true;
}

START_TEST(flush_is_a_new_asid)
{
	uint32_t asid;

	start_two(8);
	enter_once(&vcpu);
	asid = entries[0].asid;
	drop_translations(&vcpu, _i);
	enter_once(&vcpu);
	ck_assert_uint_ne(entries[0].asid, asid);
	ck_assert_uint_eq(entries[0].tlb_control, 0);
	asid = entries[0].asid;
	enter_once(&vcpu);
	ck_assert_uint_eq(entries[0].asid, asid);
}
END_TEST

/* Four ASIDs, of which the guests have 1 to 3 (CPUID 8000000a EBX counts the host's). */
START_TEST(asids_run_out)
{
	unsigned flushes = 0;

	start_two(4);
	enter_once(&other);
	for (int i = 0; i < 2; i++) {
		drop_translations(&vcpu, 0);
		enter_once(&vcpu);
		ck_assert_uint_eq(entries[0].tlb_control, 0);
		ck_assert_uint_le(entries[0].asid, 3);
	}
	for (int i = 0; i < 2; i++) {
		drop_translations(&vcpu, 0);
		enter_once(&vcpu);
		flushes += entries[0].tlb_control;
		ck_assert_uint_le(entries[0].asid, 3);
		ck_assert_uint_ne(entries[0].asid, 0);
	}
	ck_assert_uint_eq(flushes, 1);
	/* The other's could be the same by now. */
	enter_once(&other);
	ck_assert_uint_ne(entries[0].asid, vcpu.vmcb->asid);
	ck_assert_uint_eq(entries[0].tlb_control, 0);
	ck_assert_uint_eq(entries[0].clean & BIT(2), 0);
}
END_TEST

/* What it did elsewhere is not in this CPU's TLB. */
START_TEST(vcpu_that_comes_back_gets_a_new_asid)
{
	uint32_t asid;

	start_two(8);
	enter_once(&vcpu);
	asid = entries[0].asid;
	svm_backend.unbind(&vcpu.guest);
	ck_assert_int_eq(svm_backend.bind(&vcpu.guest, &cpus[1]), 0);
	enter_once(&vcpu);
	svm_backend.unbind(&vcpu.guest);
	ck_assert_int_eq(svm_backend.bind(&vcpu.guest, &cpus[0]), 0);
	enter_once(&vcpu);
	ck_assert_uint_ne(entries[0].asid, asid);
}
END_TEST

/* ---- Clean bits (APM 15.15.3) ---------------------------------------------------------------------------------- */

START_TEST(nothing_changed_is_all_clean)
{
	static const struct fake_exit smi = {.code = EXIT_SMI};

	start_protected(0);
	run_with(&smi, 1);
	ck_assert_uint_eq(entries[0].clean, 0);
	ck_assert_uint_eq(entries[1].clean, ALL_CLEAN);
	run_with(&smi, 1);
	ck_assert_uint_eq(entries[0].clean, ALL_CLEAN);
	ck_assert_uint_eq(entries[1].clean, ALL_CLEAN);
}
END_TEST

START_TEST(bind_is_nothing_clean)
{
	start_protected(0);
	run_with(NULL, 0);
	svm_backend.unbind(&vcpu.guest);
	ck_assert_int_eq(svm_backend.bind(&vcpu.guest, &cpus[0]), 0);
	run_with(NULL, 0);
	ck_assert_uint_eq(entries[0].clean, 0);
}
END_TEST

/* FS, GS, LDTR, TR and the SYSENTER MSRs are VMLOAD's, RIP, RSP and RFLAGS are always loaded. */
static const struct {
	enum guest_field field;
	uint64_t value;
	uint32_t changed, maybe;
} written[] = {
	{G_CR0, 0x1b, BIT(5), BIT(0)},
	{G_CR3, 0x4000, BIT(5), 0},
	{G_CR4, 0x80, BIT(5), 0},
	{G_EFER, 0x800, BIT(5), 0},
	{G_DR7, 0x401, BIT(6), 0},
	{G_GDTR_BASE, 0x9000, BIT(7), 0},
	{G_GDTR_LIMIT, 0x7f, BIT(7), 0},
	{G_IDTR_BASE, 0x9000, BIT(7), 0},
	{G_IDTR_LIMIT, 0x7f, BIT(7), 0},
	{G_SELECTOR + X86VCPU_SEGMENT_CS, 8, BIT(8), 0},
	{G_BASE + X86VCPU_SEGMENT_DS, 0x100, BIT(8), 0},
	{G_LIMIT + X86VCPU_SEGMENT_ES, 0xfff, BIT(8), 0},
	{G_ACCESS + X86VCPU_SEGMENT_SS, 0xc0f3, BIT(8), 0},
	{G_BASE + X86VCPU_SEGMENT_FS, 0x100, 0, BIT(8)},
	{G_PAT, 0x0606060606060606, BIT(4), 0},
	{G_RIP, 0x1234, 0, 0},
	{G_RSP, 0x1234, 0, 0},
	{G_RFLAGS, IF | 2, 0, 0},
	{G_SYSENTER_EIP, 0x1234, 0, 0},
	{G_BLOCKING, 1, 0, 0},
};

START_TEST(field_is_not_clean)
{
	start_protected(0);
	run_with(NULL, 0);
	guest_set(&vcpu.guest, written[_i].field, written[_i].value);
	run_with(NULL, 0);
	ck_assert_uint_eq(~entries[0].clean & ALL_CLEAN & ~written[_i].maybe, written[_i].changed);
}
END_TEST

static uint32_t change(int which)
{
	struct guest *g = &vcpu.guest;

	switch (which) {
	case 0:
		g->cr2 = 0x123;
		return BIT(9);
	case 1:
		g->msrs.tsc_offset += 5;
		g->msrs_changed = true;
		return BIT(0);
	case 2:
		g->msrs.lstar = 5;
		g->msrs_changed = true;
		return 0;
	case 3:
		g->flush_tlb = true;
		return BIT(2);
	case 4:
		g->dr6 ^= 1;
		return BIT(6);
	case 5: /* the intercept and V_IRQ */
		guest_post_interrupt(g, 0x31, false);
		return BIT(0) | BIT(3);
	default: /* EVENTINJ is always read */
		guest_raise(g, 6, false, 0);
		return 0;
	}
}

START_TEST(other_state_is_not_clean)
{
	uint32_t changed;

	start_protected(0);
	run_with(NULL, 0);
	changed = change(_i);
	run_with(NULL, 0);
	ck_assert_uint_eq(~entries[0].clean & ALL_CLEAN, changed);
}
END_TEST

/* A single step that emulation finished: #DB with DR6.BS, which the VMCB has no other place for. */
START_TEST(single_step_is_an_exception)
{
	const struct fake_exit exit = {.code = EXIT_CPUID, .next_rip = CODE_AT + 2, .rflags = BIT(8) | 2};

	start_protected(FEATURE_NEXT_RIP);
	run_with(&exit, 1);
	ck_assert_uint_eq(entries[1].event, 0x80000301);
	ck_assert_uint_eq(entries[1].rip, CODE_AT + 2);
	ck_assert_uint_eq(vcpu.vmcb->dr6 & BIT(14), BIT(14));
	ck_assert_uint_eq(entries[1].clean & BIT(6), 0);
}
END_TEST

/* ---- The suite --------------------------------------------------------------------------------------------------- */

static TCase *registers_case(void)
{
	TCase *tcase = tcase_create("registers");

	tcase_add_loop_test(tcase, mov_to_cr_uses_the_register_of_exitinfo1, 0, 32);
	tcase_add_loop_test(tcase, mov_to_cr_is_decoded, 0, 2 * COUNT(movs));
	tcase_add_loop_test(tcase, clts_and_lmsw_are_decoded, 0, 2 * COUNT(cr0_writes));
	tcase_add_test(tcase, cache_disable_is_shadowed);
	tcase_add_loop_test(tcase, machine_check_enable_is_the_hosts, 0, 4);
	tcase_add_test(tcase, efer_svme_is_not_shown);
	tcase_add_loop_test(tcase, access_rights_are_packed, 0, COUNT(packed));
	tcase_add_test(tcase, unusable_is_not_present);
	tcase_add_test(tcase, cpl_is_dpl_of_ss);
	return tcase;
}

static TCase *exits_case(void)
{
	TCase *tcase = tcase_create("exits");

	tcase_add_loop_test(tcase, length_of_an_instruction, 0, COUNT(lengths));
	tcase_add_test(tcase, no_length_is_no_skip);
	tcase_add_loop_test(tcase, exitinfo2_of_io_is_the_next_rip, 0, 6);
	tcase_add_loop_test(tcase, io_without_a_next_rip_is_decoded, 0, 5);
	tcase_add_loop_test(tcase, string_operand, 0, COUNT(strings));
	tcase_add_test(tcase, final_access_to_a_device_is_decoded);
	tcase_add_loop_test(tcase, other_nested_faults_are_the_vmms, 0, COUNT(nested_faults));
	tcase_add_test(tcase, reserved_bits_are_an_error);
	tcase_add_loop_test(tcase, instruction_is_refused_or_skipped, 0, COUNT(refused));
	tcase_add_loop_test(tcase, unknown_exit_is_an_error, 0, COUNT(unknown));
	tcase_add_test(tcase, machine_check_reaches_the_host);
	tcase_add_test(tcase, host_interrupt_is_serviced);
	tcase_add_test(tcase, shutdown_is_system_down);
	return tcase;
}

static TCase *events_case(void)
{
	TCase *tcase = tcase_create("events");

	tcase_add_loop_test(tcase, event_is_encoded, 0, COUNT(posted));
	tcase_add_test(tcase, real_mode_event_has_no_code);
	tcase_add_loop_test(tcase, failed_entry_keeps_the_event, 0, COUNT(posted) * COUNT(failures));
	tcase_add_test(tcase, failed_nmi_does_not_block);
	tcase_add_test(tcase, failed_entry_leaves_nothing_cached);
	tcase_add_loop_test(tcase, event_cut_short_goes_in_again, 0, COUNT(cut_short));
	tcase_add_loop_test(tcase, injected_breakpoint_goes_in_again, 0, 2);
	tcase_add_test(tcase, int_n_after_an_interrupt_is_executed_again);
	tcase_add_test(tcase, single_step_is_an_exception);
	return tcase;
}

static TCase *windows_case(void)
{
	TCase *tcase = tcase_create("windows");

	tcase_add_test(tcase, second_nmi_waits_for_iret);
	tcase_add_test(tcase, iret_unblocks_without_a_second_nmi);
	tcase_add_test(tcase, interrupt_comes_into_an_nmi_handler);
	tcase_add_test(tcase, blocked_nmi_does_not_stop_the_guest);
	tcase_add_test(tcase, waiting_nmi_comes_with_the_end_of_iret);
	tcase_add_loop_test(tcase, window_is_asked_for_and_taken_back, 0, 2);
	tcase_add_test(tcase, window_stays_while_it_is_needed);
	tcase_add_test(tcase, interrupt_waits_for_the_end_of_its_shadow);
	return tcase;
}

static TCase *tags_case(void)
{
	TCase *tcase = tcase_create("tags");

	tcase_add_test(tcase, first_vmrun_of_a_cpu_flushes);
	tcase_add_test(tcase, each_vcpu_keeps_its_asid);
	tcase_add_loop_test(tcase, flush_is_a_new_asid, 0, 2);
	tcase_add_test(tcase, asids_run_out);
	tcase_add_test(tcase, vcpu_that_comes_back_gets_a_new_asid);
	return tcase;
}

static TCase *clean_case(void)
{
	TCase *tcase = tcase_create("clean bits");

	tcase_add_test(tcase, nothing_changed_is_all_clean);
	tcase_add_test(tcase, bind_is_nothing_clean);
	tcase_add_loop_test(tcase, field_is_not_clean, 0, COUNT(written));
	tcase_add_loop_test(tcase, other_state_is_not_clean, 0, 7);
	return tcase;
}

Suite *svm_suite(void)
{
	Suite *suite = suite_create("svm");

	suite_add_tcase(suite, registers_case());
	suite_add_tcase(suite, exits_case());
	suite_add_tcase(suite, events_case());
	suite_add_tcase(suite, windows_case());
	suite_add_tcase(suite, tags_case());
	suite_add_tcase(suite, clean_case());
	return suite;
}
