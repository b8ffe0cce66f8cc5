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
}
