/* SPDX-License-Identifier: Apache-2.0 */
/* XSETBV (SDM Vol. 1, 13.3; Vol. 2, XSETBV). The host executes it with our value, so it must be valid. */
#include "emul/xcr.h"

#include "cpu/x86.h"

/* `components` are there all or none; `base` comes with them. */
struct xcr0_group {
	uint64_t components, base;
};

static const struct xcr0_group groups[] = {
	{XCR0_AVX, XCR0_SSE},
	{XCR0_BNDREGS | XCR0_BNDCSR, 0},
	{XCR0_AVX512, XCR0_AVX},
	{XCR0_TILECFG | XCR0_TILEDATA, 0},
};

bool xcr0_valid(const struct guest_limits *limits, uint64_t xcr0)
{
	if (xcr0 & ~limits->xcr0 || !(xcr0 & XCR0_X87))
		return false;
	for (unsigned i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
		const uint64_t present = xcr0 & groups[i].components;

		if (present && (present != groups[i].components || (xcr0 & groups[i].base) != groups[i].base))
			return false;
	}
	return true;
}

/*
 * The exit precedes the checks of the operands (SDM 26.1.1), and on some CPUs and emulators that of
 * the CPL too.
 */
int emul_xsetbv(struct guest *g)
{
	const uint64_t value = g->regs.rdx << 32 | (uint32_t)g->regs.rax;

	if (!(guest_get(g, G_CR4) & CR4_OSXSAVE))
		return EMUL_UD;
	if (guest_cpl(g) || (uint32_t)g->regs.rcx != 0 || !xcr0_valid(&g->limits, value))
		return EMUL_GP;
	g->xcr0 = value;
	return EMUL_NEXT;
}
