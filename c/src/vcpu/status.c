/* SPDX-License-Identifier: Apache-2.0 */
#include "x86vcpu/status.h"

#include "x86vcpu/exit.h"

const char *x86vcpu_strerror(int32_t status)
{
	switch (status) {
	case X86VCPU_OK:
		return "success";
	case X86VCPU_ERR_INVALID_INPUT:
		return "invalid argument";
	case X86VCPU_ERR_INVALID_DATA:
		return "invalid data from hardware or guest";
	case X86VCPU_ERR_UNSUPPORTED:
		return "not supported";
	case X86VCPU_ERR_BAD_STATE:
		return "not possible in this state or on this CPU";
	case X86VCPU_ERR_NO_MEMORY:
		return "out of host frames";
	case X86VCPU_ERR_RESOURCE_BUSY:
		return "already in use";
	case X86VCPU_ERR_TIMER_UNAVAILABLE:
		return "host timer not available";
	case X86VCPU_ERR_FIRMWARE_DISABLED:
		return "virtualization disabled by firmware";
	case X86VCPU_ERR_ABI_MISMATCH:
		return "structure size or ABI version not known";
	case X86VCPU_ERR_GUEST_FAULT:
		return "access faults in the guest";
	default:
		return "unknown status";
	}
}

const char *x86vcpu_exit_name(uint32_t kind)
{
	static const char *const names[] = {
		[X86VCPU_EXIT_HYPERCALL] = "HYPERCALL",
		[X86VCPU_EXIT_PORT_IO_READ] = "PORT_IO_READ",
		[X86VCPU_EXIT_PORT_IO_WRITE] = "PORT_IO_WRITE",
		[X86VCPU_EXIT_PORT_IO_STRING] = "PORT_IO_STRING",
		[X86VCPU_EXIT_MMIO_READ] = "MMIO_READ",
		[X86VCPU_EXIT_MMIO_WRITE] = "MMIO_WRITE",
		[X86VCPU_EXIT_MSR_READ] = "MSR_READ",
		[X86VCPU_EXIT_MSR_WRITE] = "MSR_WRITE",
		[X86VCPU_EXIT_NESTED_PAGE_FAULT] = "NESTED_PAGE_FAULT",
		[X86VCPU_EXIT_PREEMPTION_TIMER] = "PREEMPTION_TIMER",
		[X86VCPU_EXIT_INTERRUPT_END] = "INTERRUPT_END",
		[X86VCPU_EXIT_HALT] = "HALT",
		[X86VCPU_EXIT_SYSTEM_DOWN] = "SYSTEM_DOWN",
		[X86VCPU_EXIT_FAIL_ENTRY] = "FAIL_ENTRY",
		[X86VCPU_EXIT_NOTHING] = "NOTHING",
	};

	if (kind == X86VCPU_EXIT_WAIT_FOR_SIPI)
		return "WAIT_FOR_SIPI";
	if (kind == X86VCPU_EXIT_FPU_ERROR)
		return "FPU_ERROR";
	if (kind == X86VCPU_EXIT_DEBUG)
		return "DEBUG";
	if (kind == X86VCPU_EXIT_UNKNOWN_INSTRUCTION)
		return "UNKNOWN_INSTRUCTION";
	return kind < sizeof(names) / sizeof(names[0]) ? names[kind] : "UNKNOWN";
}
