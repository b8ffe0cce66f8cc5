/* SPDX-License-Identifier: Apache-2.0 */
/* What processor this is: the head of the report. */
#include "supervisor.h"

#define MSR_BIOS_SIGN_ID 0x8bu
#define CPUID_1_ECX_VMX (1u << 5)
#define CPUID_1_ECX_HYPERVISOR (1u << 31)
#define CPUID_80000001_ECX_SVM (1u << 2)

static void print_registers(const char *name, const uint32_t r[4])
{
	print("  %s: %08x %08x %08x %08x\n", name, r[0], r[1], r[2], r[3]);
}

static void print_text(const uint32_t *words, unsigned count)
{
	char text[49] = "";

	memcpy(text, words, count * sizeof(*words));
	print("%s", text);
}

static void describe_name(void)
{
	uint32_t r[4], brand[12] = {0}, vendor[3], maximum;

	cpuid(0, 0, r);
	vendor[0] = r[1], vendor[1] = r[3], vendor[2] = r[2];
	cpuid(0x80000000, 0, r);
	maximum = r[0];
	for (uint32_t i = 0; i < 3 && maximum >= 0x80000004; i++)
		cpuid(0x80000002 + i, 0, &brand[i * 4]);
	print("processor: ");
	print_text(vendor, 3);
	print(", ");
	print_text(brand, 12);
	cpuid(1, 0, r);
	print("\n  signature: %08x", r[0]);
	if (r[2] & CPUID_1_ECX_HYPERVISOR) {
		cpuid(0x40000000, 0, r);
		print(", under the hypervisor ");
		print_text(&r[1], 3);
	}
	print("\n");
}

/* Three in a line: the whole report fits on a screen of 25 lines. */
static void print_msrs(const char *name, uint32_t first, uint32_t count)
{
	uint64_t value;
	uint32_t printed = 0;

	for (uint32_t i = 0; i < count; i++) {
		if (!rdmsr_safe(first + i, &value))
			continue;
		if (printed++ % 3 == 0)
			print("%s  %s", printed > 1 ? "\n" : "", name);
		print(" %x:%016lx", first + i, value);
	}
	if (printed)
		print("\n");
}

static void describe_svm(void)
{
	uint32_t r[4];

	cpuid(0x80000001, 0, r);
	if (!(r[2] & CPUID_80000001_ECX_SVM))
		return;
	cpuid(0x8000000a, 0, r);
	print_registers("SVM, CPUID 8000000A", r);
	print_msrs("VM_CR", 0xc0010114, 1);
}

static void describe_vmx(void)
{
	uint32_t r[4];

	cpuid(1, 0, r);
	if (!(r[2] & CPUID_1_ECX_VMX))
		return;
	print_msrs("IA32_FEATURE_CONTROL", 0x3a, 1);
	print_msrs("MSR", 0x480, 18);
}

void cpu_describe(void)
{
	uint32_t r[4], maximum;

	describe_name();
	cpuid(0, 0, r);
	maximum = r[0];
	cpuid(1, 0, r);
	print_registers("CPUID 1", r);
	if (maximum >= 7) {
		cpuid(7, 0, r);
		print_registers("CPUID 7", r);
		if (r[3] & 1u << 29)
			print_msrs("IA32_ARCH_CAPABILITIES", 0x10a, 1);
	}
	print_msrs("microcode", MSR_BIOS_SIGN_ID, 1);
	describe_vmx();
	describe_svm();
}
