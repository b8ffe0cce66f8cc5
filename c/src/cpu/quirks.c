/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each row names an emulator, how it is recognised, and its faults. A fault is tested by the metal test in its comment,
 * which fails on that emulator without the workaround.
 */
#include "cpu/quirks.h"

#include <stdbool.h>
#include <stddef.h>

#include "cpu/insn.h"
#include "cpu/x86.h"

#define LEAF_HYPERVISOR_NAME 0x40000000u
#define LEAF_SVM 0x8000000au
#define EDX_DECODE_ASSISTS (1u << 7)
#define FAMILY_ZEN 0x17u

/* What the rows look at. */
struct evidence {
	uint32_t name[3]; /* EBX, ECX, EDX of the hypervisor's leaf, or 0 */
	bool under_hypervisor;
	uint32_t family;
	bool decode_assists;
};

/* "TCGTCGTCGTCG" */
static bool is_qemu_tcg(const struct evidence *e)
{
	return e->name[0] == 0x54474354 && e->name[1] == 0x43544743 && e->name[2] == 0x47435447;
}

/*
 * Bochs names no hypervisor. Its Ryzen lacks decode assists, which every real CPU of that family and later ones has. Its
 * models of earlier families cannot be told from real CPUs.
 */
static bool is_bochs(const struct evidence *e)
{
	return !e->under_hypervisor && e->family >= FAMILY_ZEN && !e->decode_assists;
}

static const struct quirk {
	bool (*matches)(const struct evidence *e);
	const char *machine; /* versions in which it was seen */
	uint32_t bits;
} quirks[] = {
	{is_qemu_tcg, "QEMU TCG 7.2", QUIRK_SHADOW_LOST},     /* priority.hlt_behind_sti_is_executed_before_an_interrupt */
	{is_qemu_tcg, "QEMU TCG 7.2", QUIRK_INTERRUPT_TWICE}, /* guest tier: "a shell on a terminal" */
	{is_qemu_tcg, "QEMU TCG 7.2", QUIRK_XSETBV_UNSEEN},   /* xcr.good_values */
	{is_bochs, "Bochs 2.7", QUIRK_CR2_NOT_LOADED},        /* event.guest_page_fault_leaves_the_hosts_cr2 */
	{is_qemu_tcg, "QEMU TCG 7.2", QUIRK_NO_BREAKPOINTS},  /* debug.written_datum_exits */
	{is_qemu_tcg, "QEMU TCG 7.2", QUIRK_INT3_IS_INTN},    /* debug.int3_exits_and_is_given_back */
	{is_bochs, "Bochs 2.7", QUIRK_NO_BREAKPOINTS},        /* debug.written_datum_exits */
	{is_bochs, "Bochs 2.7", QUIRK_STEP_LEAKS},            /* event.second_nmi_comes_after_the_iret */
};

static void read_evidence(struct evidence *e)
{
	uint32_t leaf[4];

	insn_cpuid(LEAF_SVM, 0, leaf);
	e->decode_assists = leaf[3] & EDX_DECODE_ASSISTS;
	insn_cpuid(1, 0, leaf);
	e->family = (leaf[0] >> 8 & 0xf) + (leaf[0] >> 20 & 0xff);
	e->under_hypervisor = leaf[2] & CPUID_1_ECX_HYPERVISOR;
	if (!e->under_hypervisor)
		return;
	insn_cpuid(LEAF_HYPERVISOR_NAME, 0, leaf);
	for (unsigned i = 0; i < 3; i++)
		e->name[i] = leaf[1 + i];
}

uint32_t quirks_detect(void)
{
	struct evidence evidence = {.family = 0};
	uint32_t bits = 0;

	read_evidence(&evidence);
	for (size_t i = 0; i < sizeof(quirks) / sizeof(quirks[0]); i++)
		if (quirks[i].matches(&evidence))
			bits |= quirks[i].bits;
	return bits;
}
