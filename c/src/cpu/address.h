/* SPDX-License-Identifier: Apache-2.0 */
/* The executing CPU's address widths (CPUID leaf 80000008H). */
#ifndef CPU_ADDRESS_H
#define CPU_ADDRESS_H

#include <stdint.h>

#include "cpu/insn.h"

/* Bits of a physical address: 32 to 52. A CPU without the leaf has 36 (SDM 4.1.4). */
static inline uint32_t cpu_physical_bits(void)
{
	uint32_t leaf[4], bits;

	insn_cpuid(0x80000000, 0, leaf);
	if (leaf[0] < 0x80000008)
		return 36;
	insn_cpuid(0x80000008, 0, leaf);
	bits = leaf[0] & 0xff;
	return bits < 32 ? 32 : bits > 52 ? 52 : bits;
}

#endif
