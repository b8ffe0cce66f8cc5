/* SPDX-License-Identifier: Apache-2.0 */
/* The tests on a real machine, where a supervisor chooses them: which of them its CPU can run. */
#include "supervised.h"

#define CONSOLE_PORT 0xe9
#define HYPERVISOR_LEAF 0x40000000u
#define CPUID_1_ECX_HYPERVISOR (1u << 31)

struct host_cpuid host_cpuid(uint32_t leaf, uint32_t subleaf)
{
	struct host_cpuid r = { .eax = leaf, .ecx = subleaf };

	__asm__ volatile("cpuid" : "+a"(r.eax), "=b"(r.ebx), "+c"(r.ecx), "=d"(r.edx));
	return r;
}

/* QEMU without KVM calls itself TCG. Bochs calls itself nothing, but its console answers. */
static bool is_qemu(void)
{
	const struct host_cpuid id = host_cpuid(HYPERVISOR_LEAF, 0);

	return host_cpuid(1, 0).ecx & CPUID_1_ECX_HYPERVISOR && id.ebx == 0x54474354; /* "TCGT" */
}

static bool is_bochs(void)
{
	return !(host_cpuid(1, 0).ecx & CPUID_1_ECX_HYPERVISOR) && inb(CONSOLE_PORT) == CONSOLE_PORT;
}

static const char *gap_here(const struct metal_test *test)
{
	if (is_qemu())
		return test->qemu_svm_gap;
	return is_bochs() ? test->bochs_svm_gap : NULL;
}

static const char *why_not(const struct metal_test *test, const struct platform_supervisor *supervisor)
{
	uint32_t extension;

	if (x86vcpu_detect(&extension))
		return "the CPU has neither VT-x nor SVM";
	if (test->vendor && test->vendor != extension)
		return test->vendor == METAL_VMX ? "for VT-x" : "for SVM";
	if (test->cpus > 1 && supervisor->second_cpu == PLATFORM_NO_CPU)
		return "the machine has one CPU";
	if (test->cannot)
		return test->cannot();
	return NULL;
}

static void copy_text(char *to, size_t size, const char *text)
{
	const size_t length = strlen(text);
	const size_t fits = length < size ? length : size - 1;

	memcpy(to, text, fits);
	to[fits] = '\0';
}

static void describe(const struct metal_test *test, const struct platform_supervisor *supervisor,
		     struct platform_test *entry)
{
	const char *reason = why_not(test, supervisor);
	const char *gap = gap_here(test);

	memset(entry, 0, sizeof(*entry));
	copy_text(entry->name, sizeof(entry->name), test->name);
	if (reason)
		copy_text(entry->skip, sizeof(entry->skip), reason);
	else if (gap)
		copy_text(entry->skip, sizeof(entry->skip), gap);
	entry->needs_reset = test->fresh;
	entry->must_fail = test->fails;
}

static _Noreturn void list(struct platform_supervisor *supervisor, const struct metal_test *begin,
			   const struct metal_test *end)
{
	supervisor->count = 0;
	for (const struct metal_test *t = begin; t < end && t->function; t++)
		if (supervisor->count < supervisor->capacity)
			describe(t, supervisor, &supervisor->tests[supervisor->count++]);
	platform_exit(true);
}

const struct metal_test *supervised_test(const struct metal_test *begin, const struct metal_test *end)
{
	struct platform_supervisor *supervisor = platform_supervisor();

	for (uint32_t i = 0; i < supervisor->reserved_count; i++)
		frames_reserve(supervisor->reserved[i].base, supervisor->reserved[i].size);
	if (supervisor->command == PLATFORM_LIST)
		list(supervisor, begin, end);
	return supervisor->index < (size_t)(end - begin) ? &begin[supervisor->index] : NULL;
}
