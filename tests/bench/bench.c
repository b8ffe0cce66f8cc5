/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an exit costs, in instructions: guests that repeat one operation, and a VMM that answers it and runs
 * them again. On Bochs the TSC counts instructions, so the figures are exact and the same on every computer. The
 * guest's own instructions count too, and the call of x86vcpu_run.
 */
#include "guest.h"

#define ROUNDS 1000u

static struct guest g;

static uint64_t tsc(void)
{
	return __builtin_ia32_rdtsc();
}

/* How a VMM answers. */
static void answer(void)
{
	switch (g.exit.kind) {
	case X86VCPU_EXIT_PORT_IO_READ:
	case X86VCPU_EXIT_MMIO_READ:
	case X86VCPU_EXIT_MSR_READ:
		x86vcpu_complete_read(g.vcpu, 0x5a);
		break;
	case X86VCPU_EXIT_MSR_WRITE:
		x86vcpu_complete_write(g.vcpu);
		break;
	default:
		break;
	}
}

/* One operation is one run. */
static uint64_t round_trips(uint32_t kind)
{
	uint64_t begin;

	for (unsigned i = 0; i < 16; i++) { /* time slices, first uses */
		CHECK_OK(x86vcpu_run(g.vcpu, &g.exit));
		answer();
	}
	begin = tsc();
	for (unsigned i = 0; i < ROUNDS; i++) {
		x86vcpu_run(g.vcpu, &g.exit);
		if (g.exit.kind != kind)
			FAIL("exit %s, not %s", x86vcpu_exit_name(g.exit.kind), x86vcpu_exit_name(kind));
		answer();
	}
	return (tsc() - begin) / ROUNDS;
}

/* Operations that the library handles by itself: the guest counts, ROUNDS of them, and then calls. */
static uint64_t handled_inside(void)
{
	uint64_t begin;

	guest_run_call(&g, 1);
	begin = tsc();
	guest_run_call(&g, 1);
	return (tsc() - begin) / ROUNDS;
}

static void report(const char *name, uint64_t instructions)
{
	console_printf("bench: %s: %lu\n", name, instructions);
}

#define LONG_SLICE_NS UINT64_C(10000000000)

static void boot(const struct guest_code *code, uint32_t flags)
{
	host_enable_without_mitigations(); /* what they cost depends on the CPU */
	guest_init(&g, 0);
	g.config.time_slice_ns = LONG_SLICE_NS;
	g.config.flags = flags;
	guest_start(&g, GUEST_LONG, code);
}

#define LOOP(text) "1: " text "jmp 1b"
#define COUNTED(text) "2: mov $1000, %ebp; 1: " text "dec %ebp; jnz 1b; mov $1, %eax; vmcall; jmp 2b"

#define ROUND_TRIP(id, kind, text)                                                                                \
	GUEST_CODE_BLOB(id##_code, 64, LOOP(text));                                                               \
	METAL_TEST(id, "bench." #id)                                                                              \
	{                                                                                                         \
		boot(&id##_code, 0);                                                                              \
		report(#id, round_trips(X86VCPU_EXIT_##kind));                                                    \
	}                                                                                                         \
	METAL_TEST(id##_kept, "bench." #id "_kept")                                                               \
	{                                                                                                         \
		boot(&id##_code, X86VCPU_SETUP_KEEP_CONTEXT);                                                     \
		report(#id "_kept", round_trips(X86VCPU_EXIT_##kind));                                            \
	}

#define INSIDE(id, setup, text)                                                                                   \
	GUEST_CODE_BLOB(id##_code, 64, setup COUNTED(text));                                                      \
	METAL_TEST(id, "bench." #id)                                                                              \
	{                                                                                                         \
		boot(&id##_code, 0);                                                                              \
		report(#id, handled_inside());                                                                    \
	}

#define X2APIC "mov $0x1b, %ecx; rdmsr; or $0xc00, %eax; wrmsr;"

INSIDE(cpuid, "", "xor %eax, %eax; cpuid;")
INSIDE(mov_cr0, "mov %cr0, %rbx;", "btc $30, %rbx; mov %rbx, %cr0;")
INSIDE(mov_cr4, "mov %cr4, %rbx;", "btc $7, %rbx; mov %rbx, %cr4;")
INSIDE(x2apic_tpr, X2APIC, "mov $0x808, %ecx; xor %eax, %eax; xor %edx, %edx; wrmsr;")
INSIDE(x2apic_eoi, X2APIC, "mov $0x80b, %ecx; xor %eax, %eax; xor %edx, %edx; wrmsr;")
ROUND_TRIP(vmcall, HYPERCALL, "mov $1, %eax; vmcall;")
ROUND_TRIP(out, PORT_IO_WRITE, "mov $0x80, %edx; out %al, %dx;")
ROUND_TRIP(in, PORT_IO_READ, "mov $0x80, %edx; in %dx, %al;")
ROUND_TRIP(mmio_write, MMIO_WRITE, "mov $0x800000, %edi; mov %eax, (%rdi);")
ROUND_TRIP(mmio_write_imm, MMIO_WRITE, "mov $0x800000, %edi; movl $5, (%rdi);")
ROUND_TRIP(mmio_read, MMIO_READ, "mov $0x800000, %edi; mov (%rdi), %eax;")
ROUND_TRIP(vmm_msr_read, MSR_READ, "mov $0x40000000, %ecx; rdmsr;")
