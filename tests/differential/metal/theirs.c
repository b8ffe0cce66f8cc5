/* SPDX-License-Identifier: Apache-2.0 */
/* The crate's side: crate/src/lib.rs, and the host that it asks for. */
#include "both.h"
#include "theirs.h"

static struct TheirsVcpu *vcpu;

/* ---- Its host --------------------------------------------------------------------------------------------- */

static uint64_t pages(uint64_t bytes)
{
	return (bytes + 4095) / 4096;
}

uint8_t *theirs_host_alloc(uintptr_t size, uintptr_t align)
{
	return (uint8_t *)frame_alloc(pages(size), align > 4096 ? align : 4096);
}

void theirs_host_free(uint8_t *block, uintptr_t size)
{
	frame_free((uint64_t)block, pages(size));
}

uint64_t theirs_host_alloc_frames(uint64_t count, uint64_t align)
{
	return frame_alloc(count, align);
}

void theirs_host_free_frames(uint64_t hpa, uint64_t count)
{
	frame_free(hpa, count);
}

int32_t theirs_host_read_guest(uint64_t gpa)
{
	return gpa < LAYOUT_RAM ? drive_ram[gpa] : -1;
}

uint64_t theirs_host_time_ns(void)
{
	return platform_time_ns();
}

uint64_t theirs_host_ticks(uint64_t nanos)
{
	return platform_host_ops.nanos_to_ticks(NULL, nanos);
}

void theirs_host_dispatch(uint32_t vector)
{
	trap_dispatch(vector);
}

void theirs_host_service(void)
{
	cpu_take_interrupts();
}

/* A panic is an outcome like any other: the machine is used once only. */
void theirs_host_panic(const uint8_t *text, uintptr_t length)
{
	console_printf("\nT panic ");
	console_write((const char *)text, length);
	console_printf("\nT end\n");
	platform_exit(true);
}

/* ---- The side ------------------------------------------------------------------------------------------------ */

static void start(uint64_t root_hpa, uint8_t *ram)
{
	const struct TheirsConfig config = {
		.entry = LAYOUT_CODE,
		.root_hpa = root_hpa,
		.ram = (uint64_t)ram,
		.ram_size = LAYOUT_RAM,
		.mmio = LAYOUT_MMIO,
		.mmio_size = LAYOUT_MMIO_SIZE,
		.port = LAYOUT_PORT,
		.ports = LAYOUT_PORTS,
	};
	int32_t error = 0;

	vcpu = theirs_create(&config, &error);
	if (!vcpu)
		FAIL("x86_vcpu: error %d while a vCPU is made", error);
}

static int32_t run(struct exit_words *exit)
{
	struct TheirsExit theirs_exit;
	const int32_t status = theirs_run(vcpu, &theirs_exit);

	if (status)
		return status;
	exit->kind = theirs_exit.kind;
	memcpy(exit->words, theirs_exit.words, sizeof(exit->words));
	return 0;
}

/* Nothing shows RSP but the VMCS and the VMCB. */
static uint64_t gpr(unsigned number)
{
	return number == 4 ? 0 : theirs_gprs(vcpu)[number];
}

static void set_gpr(unsigned number, uint64_t value)
{
	theirs_set_gpr(vcpu, number, value);
}

/* 8 and 16 bits keep the rest of the register, 32 bits clear it: its VMM's work. */
static uint64_t merged(uint64_t old, uint64_t value, unsigned width)
{
	const uint64_t mask = width == 3 ? UINT64_MAX : (UINT64_C(1) << (8u << width)) - 1;

	return width >= 2 ? value & mask : (old & ~mask) | (value & mask);
}

static void answer(const struct exit_words *exit, uint64_t value)
{
	const bool mmio = exit->kind == X86VCPU_EXIT_MMIO_READ;
	const unsigned reg = mmio ? (unsigned)exit->words[2] : 0;

	set_gpr(reg, merged(gpr(reg), value, (unsigned)exit->words[mmio ? 3 : 1]));
}

static int32_t inject(uint32_t vector)
{
	return theirs_inject(vcpu, vector);
}

static int32_t complete_string(void)
{
	return theirs_complete_string(vcpu);
}

static void stop(void)
{
	const int32_t status = theirs_destroy(vcpu);

	if (status)
		FAIL("x86_vcpu: error %d while it is turned off", status);
}

const struct side theirs = {"theirs", start, run, gpr, set_gpr, answer, inject, complete_string, stop};
