/* SPDX-License-Identifier: Apache-2.0 */
/* Pictures of a vCPU: its registers, and the whole VMCS or VMCB, whoever owns it. */
#include "both.h"

/* VMREAD answers for fields that exist: every encoding is tried (SDM appendix B: width, type, index). */
static bool vmread(uint64_t field, uint64_t *value)
{
	bool failed;

	__asm__ volatile("vmread %2, %1" : "=@ccbe"(failed), "=r"(*value) : "r"(field) : "memory");
	return !failed;
}

static void trace_vmcs(void)
{
	for (uint64_t width = 0; width < 4; width++)
		for (uint64_t type = 0; type < 4; type++)
			for (uint64_t index = 0; index < 64; index++) {
				const uint64_t field = width << 13 | type << 10 | index << 1;
				uint64_t value = 0;

				if (vmread(field, &value))
					console_printf("T vmcs %lx %lx\n", field, value);
			}
}

/* APM appendix B. */
#define VMCB_ASID 0x58u
#define VMCB_NP_ENABLE 0x90u
#define VMCB_N_CR3 0xb0u
#define VMCB_STATE 0x400u
#define VMCB_END 0x700u
#define MEMORY_TOP 0x03f00000u

/* The frame whose nested CR3 is this guest's. */
static const uint64_t *find_vmcb(void)
{
	const uint64_t first = ((uint64_t)platform_image_end + 4095) & ~UINT64_C(4095);

	for (uint64_t hpa = first; hpa < MEMORY_TOP; hpa += 4096) {
		const uint64_t *page = (const uint64_t *)hpa;

		if (page[VMCB_N_CR3 / 8] == drive_root && (page[VMCB_NP_ENABLE / 8] & 1) && (uint32_t)page[VMCB_ASID / 8])
			return page;
	}
	FAIL("there is no VMCB");
}

static void trace_vmcb(void)
{
	static const uint64_t *vmcb;

	if (!vmcb)
		vmcb = find_vmcb();
	for (uint64_t offset = 0; offset < VMCB_END; offset += 8)
		if (vmcb[offset / 8])
			console_printf("T vmcb %lx %lx\n", offset, vmcb[offset / 8]);
}

/* ---- The host ------------------------------------------------------------------------------------------------- */

/* Values that nobody has by chance. */
static const struct {
	const char *name;
	uint32_t msr;
	uint64_t painted;
} host_msrs[] = {
	{"STAR", 0xc0000081, 0x0023000800000000},
	{"LSTAR", 0xc0000082, 0xffff800000123450},
	{"CSTAR", 0xc0000083, 0xffff800000123460},
	{"FMASK", 0xc0000084, 0x47700},
	{"FS_BASE", 0xc0000100, 0xffff800000aaa000},
	{"GS_BASE", 0xc0000101, 0xffff800000bbb000},
	{"KERNEL_GS_BASE", 0xc0000102, 0xffff800000ccc000},
	{"SYSENTER_CS", 0x174, 0x8},
	{"SYSENTER_ESP", 0x175, 0xffff800000ddd000},
	{"SYSENTER_EIP", 0x176, 0xffff800000eee000},
	{"PAT", 0x277, 0x0007010600070106},
};
#define HOST_MSRS (sizeof(host_msrs) / sizeof(host_msrs[0]))

void host_paint_all(void)
{
	for (size_t i = 0; i < HOST_MSRS; i++)
		wrmsr(host_msrs[i].msr, host_msrs[i].painted);
	__asm__ volatile("movq %0, %%dr0; movq %1, %%dr1; movq %2, %%dr2; movq %3, %%dr3"
			 : : "r"(UINT64_C(0x11110)), "r"(UINT64_C(0x22220)), "r"(UINT64_C(0x33330)),
			     "r"(UINT64_C(0x44440)));
}

static void trace_one(const char *when, const char *name, uint64_t value)
{
	console_printf("T %s %s %lx\n", when, name, value);
}

static void trace_debug_registers(const char *when)
{
	uint64_t dr;

	__asm__ volatile("movq %%dr0, %0" : "=r"(dr));
	trace_one(when, "DR0", dr);
	__asm__ volatile("movq %%dr3, %0" : "=r"(dr));
	trace_one(when, "DR3", dr);
	__asm__ volatile("movq %%dr7, %0" : "=r"(dr));
	trace_one(when, "DR7", dr);
}

/* What must come back from a run as it was. */
void trace_host(const char *when)
{
	struct host_table gdtr, idtr;
	uint64_t cr3, rflags;
	uint32_t a, d;

	for (size_t i = 0; i < HOST_MSRS; i++)
		trace_one(when, host_msrs[i].name, rdmsr(host_msrs[i].msr));
	trace_debug_registers(when);
	__asm__ volatile("movq %%cr3, %0" : "=r"(cr3));
	__asm__ volatile("pushfq; popq %0" : "=r"(rflags));
	__asm__ volatile("sgdt %0; sidt %1" : "=m"(gdtr), "=m"(idtr));
	trace_one(when, "CR0", host_cr0());
	trace_one(when, "CR3", cr3);
	trace_one(when, "CR4", host_cr4());
	trace_one(when, "IF", rflags >> 9 & 1);
	trace_one(when, "GDTR_LIMIT", gdtr.limit);
	trace_one(when, "IDTR_LIMIT", idtr.limit);
	if (!(host_cr4() >> 18 & 1))
		return;
	__asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
	trace_one(when, "XCR0", (uint64_t)d << 32 | a);
}

void trace_exit(const struct side *side, const struct exit_words *exit)
{
	console_printf("T exit %u", exit->kind);
	for (unsigned i = 0; i < 8; i++)
		console_printf(" %lx", exit->words[i]);
	console_printf("\nT gpr");
	for (unsigned i = 0; i < 16; i++)
		console_printf(" %lx", side->gpr(i));
	console_printf("\n");
	if (drive_is_svm())
		trace_vmcb();
	else
		trace_vmcs();
	trace_host("host");
}
