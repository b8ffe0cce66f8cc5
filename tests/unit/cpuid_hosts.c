/* SPDX-License-Identifier: Apache-2.0 */
#include "cpuid_hosts.h"

#include <string.h>

#define INTEL(highest) {0, 0, {highest, 0x756e6547, 0x6c65746e, 0x49656e69}}
#define AMD(highest) {0, 0, {highest, 0x68747541, 0x444d4163, 0x69746e65}}
#define BRAND(leaf) {leaf, 0, {0x65746e49, 0x2952286c, 0x726f4320, 0x54 << 8}}

static const struct leaf skylake_x_leaves[] = {
	INTEL(0x16),
	{1, 0, {0x00050654, 0x03140800, 0x7ffefbff, 0xbfebfbff}},
	{2, 0, {0x76036301, 0x00f0b5ff, 0, 0x00c30000}},
	{4, 0, {0x1c004121, 0x01c0003f, 0x0000003f, 0}},
	{4, 1, {0x1c004122, 0x01c0003f, 0x0000003f, 0}},
	{4, 2, {0x1c004143, 0x03c0003f, 0x000003ff, 0}},
	{4, 3, {0x1c03c163, 0x0280003f, 0x00004fff, 4}},
	{5, 0, {0x40, 0x40, 3, 0x2020}},
	{6, 0, {0x00000ef7, 2, 9, 0}},
	{7, 0, {0, 0xd39ffffb, 0x00000008, 0xbc000000}},
	{0xa, 0, {0x07300404, 0, 0, 0x603}},
	{0xb, 0, {1, 2, 0x100, 3}},
	{0xb, 1, {5, 20, 0x201, 3}},
	{0xd, 0, {0x2ff, 0xa88, 0xa88, 0}},
	{0xd, 1, {0xf, 0xa08, 0x100, 0}},
	{0xd, 2, {0x100, 0x240, 0, 0}},
	{0xd, 3, {0x40, 0x3c0, 0, 0}},
	{0xd, 4, {0x40, 0x400, 0, 0}},
	{0xd, 5, {0x40, 0x440, 0, 0}},
	{0xd, 6, {0x200, 0x480, 0, 0}},
	{0xd, 7, {0x400, 0x680, 0, 0}},
	{0xd, 8, {0x80, 0, 1, 0}},
	{0xd, 9, {8, 0xa80, 0, 0}},
	{0x14, 0, {1, 0xf, 7, 0}},
	{0x15, 0, {2, 0x114, 0, 0}},
	{0x16, 0, {3300, 4300, 100, 0}},
	{0x80000000, 0, {0x80000008, 0, 0, 0}},
	{0x80000001, 0, {0, 0, 0x121, 0x2c100800}},
	BRAND(0x80000002),
	{0x80000006, 0, {0, 0, 0x01006040, 0}},
	{0x80000007, 0, {0, 0, 0, 0x100}},
	{0x80000008, 0, {0x302e, 0, 0, 0}},
};

static const struct leaf haswell_leaves[] = {
	INTEL(0xd),
	{1, 0, {0x000306c3, 0x01100800, 0x7ffafbff, 0xbfebfbff}},
	{7, 0, {0, 0x000027ab, 0, 0x9c000000}},
	{0xd, 0, {7, 0x340, 0x340, 0}},
	{0xd, 1, {1, 0, 0, 0}},
	{0xd, 2, {0x100, 0x240, 0, 0}},
	{0x80000000, 0, {0x80000008, 0, 0, 0}},
	{0x80000001, 0, {0, 0, 0x21, 0x2c100800}},
	{0x80000008, 0, {0x3027, 0, 0, 0}},
};

static const struct leaf ryzen_leaves[] = {
	AMD(0xd),
	{1, 0, {0x00800f11, 0x03100800, 0x7ed8320b, 0x178bfbff}},
	{5, 0, {0x40, 0x40, 3, 0x11}},
	{7, 0, {0, 0x209c01a9, 0, 0}},
	{0xd, 0, {7, 0x340, 0x340, 0}},
	{0xd, 1, {0xf, 0x340, 0, 0}},
	{0xd, 2, {0x100, 0x240, 0, 0}},
	{0x80000000, 0, {0x8000001f, 0x68747541, 0x444d4163, 0x69746e65}},
	{0x80000001, 0, {0x00800f11, 0x20000000, 0x35c233ff, 0x2fd3fbff}},
	{0x80000005, 0, {0xff40ff40, 0xff40ff40, 0x20080140, 0x40040140}},
	{0x80000007, 0, {0, 0x1b, 0, 0x6799}},
	{0x80000008, 0, {0x3030, 0x1007, 0x400f, 0}},
	{0x8000000a, 0, {1, 0x8000, 0, 0x1bcff}},
	{0x8000001e, 0, {3, 0x101, 0, 0}},
	{0x8000001f, 0, {0xf, 0x16f, 0xf, 1}},
};

static const struct leaf minimal_leaves[] = {
	INTEL(1),
	{1, 0, {0x00000619, 0, 0, 0x00000171}},
};

static const struct leaf bochs_leaves[] = {
	INTEL(0x16),
	{1, 0, {0x00050654, 0x00010800, 0x7ffefbff, 0xbfebfbff}},
	{7, 0, {0, 0xd19f47ab, 0, 0}},
	{0xd, 0, {0xe7, 0xa80, 0xa80, 0}},
	{0xd, 1, {0xf, 0xa80, 0, 0}},
	{0xd, 2, {0x100, 0x240, 0, 0}},
	{0xd, 5, {0x40, 0x440, 0, 0}},
	{0xd, 6, {0x200, 0x480, 0, 0}},
	{0xd, 7, {0x400, 0x680, 0, 0}},
	{0x80000000, 0, {0x80000008, 0, 0, 0}},
	{0x80000001, 0, {0, 0, 0x121, 0x2c100800}},
	{0x80000008, 0, {0x3028, 0, 0, 0}},
};

#define HOST(name) const struct host name = {name##_leaves, sizeof(name##_leaves) / sizeof(name##_leaves[0]), {~0u, ~0u, {0}}}

HOST(skylake_x);
HOST(haswell);
HOST(ryzen);
HOST(minimal);
HOST(bochs);

static const struct leaf *find(const struct host *host, uint32_t leaf, uint32_t subleaf)
{
	for (size_t i = 0; i < host->count; i++)
		if (host->leaves[i].leaf == leaf && host->leaves[i].subleaf == subleaf)
			return &host->leaves[i];
	return NULL;
}

void ask_host(void *ctx, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	const struct host *host = ctx;
	const struct leaf *extended = find(host, 0x80000000, 0);
	const uint32_t highest = leaf < 0x80000000 ? host->leaves[0].words[A] : extended ? extended->words[A] : 0;
	const struct leaf *found = find(host, leaf, subleaf);

	if (host->changed.leaf == leaf && host->changed.subleaf == subleaf)
		found = &host->changed;
	memset(out, leaf > highest ? 0x5a : 0, 16);
	if (found)
		memcpy(out, found->words, 16);
}

void ask_all_ones(void *ctx, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	const struct leaf *component = leaf == 0xd && subleaf > 1 ? find(&skylake_x, leaf, subleaf) : NULL;

	memset(out, 0xff, 16);
	if (leaf == 0xd && subleaf == 0 && ctx)
		out[A] = *(const uint32_t *)ctx;
	if (leaf == 0 || leaf == 0x80000000)
		out[A] = leaf + 0x21;
	if (component && subleaf != 8) {
		memcpy(out, component->words, 8);
		out[C] = ~1u;
	}
}

void ask_nothing(void *ctx, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	(void)ctx;
	(void)subleaf;
	memset(out, 0, 16);
	if (leaf == 0 || leaf == 0x80000000)
		out[A] = leaf + 0x21;
}
