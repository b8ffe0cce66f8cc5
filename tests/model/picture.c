/* SPDX-License-Identifier: Apache-2.0 */
/* What the CPU is given at a VM entry, all of it; and what was written to its registers. */
#include "machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OTHER(name) (MODEL_REGISTER_OTHERS | MODEL_REGISTER_##name)

/* ---- Names ------------------------------------------------------------------------------------------------ */

static const struct {
	uint32_t number;
	const char *name;
} vmcs_words[] = {
#define ROW(name, number) {number, #name},
	VMCS_FIELDS_16(ROW) VMCS_FIELDS_64(ROW) VMCS_FIELDS_32(ROW) VMCS_FIELDS_NATURAL(ROW)
#undef ROW
};
_Static_assert(ARRAY_SIZE(vmcs_words) <= MODEL_WORDS, "MODEL_WORDS");
_Static_assert(sizeof(struct vmcb) == MODEL_WORDS * 8, "MODEL_WORDS");

#define AT(member, name) {offsetof(struct vmcb, member), name}
static const struct {
	size_t offset;
	const char *name;
} vmcb_words[] = {
	{0, "CR and DR intercepts"}, AT(intercept_exceptions, "exception and misc intercepts"),
	AT(intercept4, "more intercepts"), {0x38, "PAUSE filter"}, AT(iopm_base, "IOPM_BASE_PA"),
	AT(msrpm_base, "MSRPM_BASE_PA"), AT(tsc_offset, "TSC_OFFSET"), AT(asid, "ASID, TLB_CONTROL"),
	AT(virtual_interrupt, "virtual interrupts"), AT(interrupt_shadow, "interrupt shadow"),
	AT(exit_code, "EXITCODE"), AT(exit_info1, "EXITINFO1"), AT(exit_info2, "EXITINFO2"),
	AT(exit_int_info, "EXITINTINFO"), AT(nested_control, "NP_ENABLE"), AT(event_injection, "EVENTINJ"),
	AT(nested_cr3, "N_CR3"), AT(virtualization_control, "LBR virtualization"), AT(clean, "VMCB clean bits"),
	AT(next_rip, "nRIP"), AT(fetched_bytes, "bytes of the instruction"), {0xd8, "bytes of the instruction"},
	AT(es, "ES"), AT(cs, "CS"), AT(ss, "SS"), AT(ds, "DS"), AT(fs, "FS"), AT(gs, "GS"), AT(gdtr, "GDTR"),
	AT(ldtr, "LDTR"), AT(idtr, "IDTR"), AT(tr, "TR"), {0x4c8, "CPL"}, AT(efer, "EFER"), AT(cr4, "CR4"),
	AT(cr3, "CR3"), AT(cr0, "CR0"), AT(dr7, "DR7"), AT(dr6, "DR6"), AT(rflags, "RFLAGS"), AT(rip, "RIP"),
	AT(rsp, "RSP"), AT(rax, "RAX"), AT(star, "STAR"), AT(lstar, "LSTAR"), AT(cstar, "CSTAR"),
	AT(sfmask, "SFMASK"), AT(kernel_gs_base, "KernelGsBase"), AT(sysenter_cs, "SYSENTER_CS"),
	AT(sysenter_esp, "SYSENTER_ESP"), AT(sysenter_eip, "SYSENTER_EIP"), AT(cr2, "CR2"), AT(pat, "G_PAT"),
	AT(debugctl, "DBGCTL"),
};

const uint32_t *model_words(enum model_backend backend, uint32_t *count)
{
	static uint32_t fields[ARRAY_SIZE(vmcs_words)], offsets[MODEL_WORDS];

	for (uint32_t i = 0; i < ARRAY_SIZE(fields); i++)
		fields[i] = vmcs_words[i].number;
	for (uint32_t i = 0; i < MODEL_WORDS; i++)
		offsets[i] = 8 * i;
	*count = backend == MODEL_VMX ? ARRAY_SIZE(fields) : MODEL_WORDS;
	return backend == MODEL_VMX ? fields : offsets;
}

const char *model_word_name(enum model_backend backend, uint32_t word)
{
	if (backend == MODEL_VMX) {
		for (unsigned i = 0; i < ARRAY_SIZE(vmcs_words); i++)
			if (vmcs_words[i].number == word)
				return vmcs_words[i].name;
		return "?";
	}
	for (unsigned i = 0; i < ARRAY_SIZE(vmcb_words); i++)
		if (vmcb_words[i].offset == word)
			return vmcb_words[i].name;
	/* The second half of a segment is its base. */
	return word >= offsetof(struct vmcb, es) && word < offsetof(struct vmcb, reserved_4a0) ? "segment base" : "?";
}

const char *model_register_name(uint64_t number)
{
	static const char *const others[MODEL_REGISTER_KINDS] = {
		"XCR0", "CR0", "CR2", "CR3", "CR4", "DR0", "DR1", "DR2", "DR3", "DR6", "DR7",
	};
	static char name[32];

	if (number >= MODEL_REGISTER_OTHERS)
		return others[(number - MODEL_REGISTER_OTHERS) % MODEL_REGISTER_KINDS];
	snprintf(name, sizeof(name), "MSR.%x", (unsigned)number);
	return name;
}

/* ---- Pictures ---------------------------------------------------------------------------------------------- */

static uint64_t other(const struct cpu *c, uint64_t number)
{
	switch (number) {
	case OTHER(XCR0):
		return c->xcr0;
	case OTHER(CR0):
		return c->cr0;
	case OTHER(CR2):
		return c->cr2;
	case OTHER(CR3):
		return c->cr3;
	case OTHER(CR4):
		return c->cr4;
	case OTHER(DR6):
		return c->dr6;
	case OTHER(DR7):
		return c->dr7;
	default:
		return c->dr[(number - OTHER(DR0)) % 4];
	}
}

uint64_t model_remembered(const struct model *m, uint64_t number)
{
	if (number >= MODEL_REGISTER_OTHERS)
		return other(&m->remembered, number);
	for (unsigned i = 0; i < m->remembered.msr_count; i++)
		if (m->remembered.msrs[i].index == number)
			return m->remembered.msrs[i].value;
	return 0;
}

static void put(struct model_picture *p, uint64_t number, uint64_t value)
{
	p->registers[p->register_count++] = (struct model_register){number, value};
}

static void take_registers(struct model_picture *p)
{
	p->register_count = 0;
	for (uint64_t i = 0; i < MODEL_REGISTER_KINDS; i++)
		put(p, MODEL_REGISTER_OTHERS + i, other(cpu, MODEL_REGISTER_OTHERS + i));
	for (unsigned i = 0; i < cpu->msr_count; i++)
		put(p, cpu->msrs[i].index, cpu->msrs[i].value);
}

static void take_page(struct model_picture *p, unsigned number, uint64_t hpa)
{
	if (hpa & 0xfff || frame_of(hpa) < 0) {
		memset(p->pages[number], 0, 4096);
		return;
	}
	p->owned |= 1u << number;
	memcpy(p->pages[number], model_memory(model, hpa), 4096);
}

/* The host's GDT is the test's: whoever compares two machines wants the same address in both. */
static uint64_t without_own_address(uint32_t encoding, uint64_t value)
{
	return encoding == VMCS_HOST_GDTR_BASE ? value - (uintptr_t)cpu->gdt : value;
}

static void take_vmcs(struct model_picture *p)
{
	const struct vmcs *v = vmcs_current();

	for (unsigned i = 0; i < ARRAY_SIZE(vmcs_words); i++) {
		const uint32_t encoding = vmcs_words[i].number;
		const unsigned slot = vmcs_slot(encoding);

		p->words[i] = without_own_address(encoding, v->values[slot]);
		p->written[i] = v->written[slot];
	}
	take_page(p, 0, field(VMCS_IO_BITMAP_A));
	take_page(p, 1, field(VMCS_IO_BITMAP_B));
	take_page(p, 2, field(VMCS_MSR_BITMAP));
	take_page(p, 3, field(VMCS_VIRTUAL_APIC_ADDRESS));
}

static void take_vmcb(struct model_picture *p, const struct vmcb *b)
{
	memcpy(p->words, b, sizeof(*b));
	memset(p->written, 1, sizeof(p->written));
	for (unsigned i = 0; i < 3; i++)
		take_page(p, i, b->iopm_base + 4096 * i);
	for (unsigned i = 0; i < 2; i++)
		take_page(p, 3 + i, b->msrpm_base + 4096 * i);
}

static struct model_picture *next_picture(void)
{
	const uint32_t number = model->entries < MODEL_PICTURES ? model->entries : MODEL_PICTURES - 1;

	model->entries++;
	if (!model->pictures[number])
		model->pictures[number] = calloc(1, sizeof(struct model_picture));
	return model->pictures[number];
}

void picture_take(uint64_t owner, const struct vmcb *b)
{
	struct model_picture *p = next_picture();

	p->owner = owner;
	p->cpu = cpu->number;
	p->owned = 0;
	if (b)
		take_vmcb(p, b);
	else
		take_vmcs(p);
	take_registers(p);
}

uint32_t model_entries(const struct model *m)
{
	return m->entries;
}

const struct model_picture *model_picture(const struct model *m, uint32_t number)
{
	return number < MODEL_PICTURES ? m->pictures[number] : NULL;
}

/* ---- Writes ------------------------------------------------------------------------------------------------- */

void note_write(uint64_t number, uint64_t before, uint64_t value)
{
	if (before == value)
		return;
	if (model->write_count == MODEL_WRITES) {
		complain("more registers are written than the model remembers");
		return;
	}
	model->writes[model->write_count++] =
		(struct model_write){number, value, before, cpu->number, model->entries};
}

const struct model_write *model_writes(const struct model *m, uint32_t *count)
{
	*count = m->write_count;
	return m->writes;
}

void model_forget_writes(struct model *m)
{
	m->write_count = 0;
}
