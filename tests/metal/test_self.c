/* SPDX-License-Identifier: Apache-2.0 */
/* The frame itself: a failed check, a host fault and a silent end are seen as failures. */
#include "metal.h"

METAL_TEST(failed_check, "self.failed_check", .fails = 1)
{
	CHECK_EQ(1 + 1, 3);
}

METAL_TEST(host_fault, "self.host_fault", .fails = 1)
{
	*(volatile int *)(UINT64_C(1) << 40) = 1;
}

METAL_TEST(host_unchanged, "self.snapshot_sees_a_change", .fails = 1)
{
	struct host_snapshot before;

	host_paint();
	host_snapshot(&before);
	host_check_unchanged(&before);
	wrmsr(0xc0000082, 0x1000);
	host_check_unchanged(&before);
}

METAL_TEST(second_cpu, "self.second_cpu", .cpus = 2)
{
	CHECK(!cpu_start(0xfe, 50, NULL, NULL));
	CHECK_EQ(cpu_index(), 0);
}

METAL_TEST(frames, "self.frames")
{
	const uint64_t before = frames_in_use();
	const uint64_t one = frame_alloc(1, 4096);
	const uint64_t many = frame_alloc(512, 0x200000);

	CHECK(one && many && many % 0x200000 == 0);
	CHECK_EQ(frames_in_use(), before + 513);
	CHECK_EQ(frame_alloc(1000000, 4096), 0);
	frame_free(one, 1);
	frame_free(many, 512);
	CHECK_EQ(frames_in_use(), before);
}
