/* SPDX-License-Identifier: Apache-2.0 */
/* What a person sees of the guest: its exits with --trace, its registers when it fell over. */
#include "vmm.h"

static uint64_t guest_rip(struct vcpu *vcpu)
{
	struct x86vcpu_state state = { .size = sizeof(state) };

	return x86vcpu_get_state(vcpu->handle, X86VCPU_STATE_RIP, &state) == X86VCPU_OK ? state.rip : 0;
}

/* Of what has no line of its own here, the first two words say enough. */
void trace_exit(struct vcpu *vcpu, const struct x86vcpu_exit *exit)
{
	const unsigned id = vcpu->id;
	const unsigned long long n = vcpu->exits;
	const unsigned long long rip = guest_rip(vcpu);
	const char *name = x86vcpu_exit_name(exit->kind);

	switch (exit->kind) {
	case X86VCPU_EXIT_PORT_IO_READ:
	case X86VCPU_EXIT_PORT_IO_WRITE:
		say("vcpu %u exit %llu rip %llx %s port %x bytes %u data %llx", id, n, rip, name,
		    exit->u.port_io.port, 1u << exit->u.port_io.width, (unsigned long long)exit->u.port_io.data);
		break;
	case X86VCPU_EXIT_PORT_IO_STRING:
		say("vcpu %u exit %llu rip %llx %s port %x bytes %u %s gpa %llx", id, n, rip, name,
		    exit->u.port_io_string.port, 1u << exit->u.port_io_string.width,
		    exit->u.port_io_string.direction == X86VCPU_DIRECTION_IN ? "in" : "out",
		    (unsigned long long)exit->u.port_io_string.gpa);
		break;
	case X86VCPU_EXIT_MMIO_READ:
	case X86VCPU_EXIT_MMIO_WRITE:
		say("vcpu %u exit %llu rip %llx %s gpa %llx bytes %u data %llx", id, n, rip, name,
		    (unsigned long long)exit->u.mmio.gpa, 1u << exit->u.mmio.width,
		    (unsigned long long)exit->u.mmio.data);
		break;
	case X86VCPU_EXIT_MSR_READ:
	case X86VCPU_EXIT_MSR_WRITE:
		say("vcpu %u exit %llu rip %llx %s msr %x value %llx", id, n, rip, name, exit->u.msr.index,
		    (unsigned long long)exit->u.msr.value);
		break;
	default:
		say("vcpu %u exit %llu rip %llx %s %llx %llx", id, n, rip, name, (unsigned long long)exit->u.words[0],
		    (unsigned long long)exit->u.words[1]);
		break;
	}
}

void show_registers(struct vcpu *vcpu)
{
	char line[600];

	x86vcpu_format_state(vcpu->handle, line, sizeof(line));
	say("%s", line);
}
