/* SPDX-License-Identifier: Apache-2.0 */
/* What a person sees of the guest: its exits with --trace, its registers when it fell over. */
#include "platform.h"

#include "vmm.h"

static uint64_t guest_rip(struct vm *vm)
{
	struct x86vcpu_state state = { .size = sizeof(state) };

	return x86vcpu_get_state(vm->vcpu, X86VCPU_STATE_RIP, &state) == X86VCPU_OK ? state.rip : 0;
}

/* The first two words of what an exit carries say enough in a trace; ports and MMIO get a line of their own. */
void trace_exit(struct vm *vm, const struct x86vcpu_exit *exit)
{
	const unsigned long long n = vm->exits;
	const unsigned long long rip = guest_rip(vm);
	const char *name = x86vcpu_exit_name(exit->kind);

	switch (exit->kind) {
	case X86VCPU_EXIT_PORT_IO_READ:
	case X86VCPU_EXIT_PORT_IO_WRITE:
		say("exit %llu rip %llx %s port %x bytes %u data %llx", n, rip, name, exit->u.port_io.port,
		    1u << exit->u.port_io.width, (unsigned long long)exit->u.port_io.data);
		break;
	case X86VCPU_EXIT_PORT_IO_STRING:
		say("exit %llu rip %llx %s port %x bytes %u %s gpa %llx", n, rip, name,
		    exit->u.port_io_string.port, 1u << exit->u.port_io_string.width,
		    exit->u.port_io_string.direction == X86VCPU_DIRECTION_IN ? "in" : "out",
		    (unsigned long long)exit->u.port_io_string.gpa);
		break;
	case X86VCPU_EXIT_MMIO_READ:
	case X86VCPU_EXIT_MMIO_WRITE:
		say("exit %llu rip %llx %s gpa %llx bytes %u data %llx", n, rip, name,
		    (unsigned long long)exit->u.mmio.gpa, 1u << exit->u.mmio.width,
		    (unsigned long long)exit->u.mmio.data);
		break;
	case X86VCPU_EXIT_MSR_READ:
	case X86VCPU_EXIT_MSR_WRITE:
		say("exit %llu rip %llx %s msr %x value %llx", n, rip, name, exit->u.msr.index,
		    (unsigned long long)exit->u.msr.value);
		break;
	default:
		say("exit %llu rip %llx %s %llx %llx", n, rip, name, (unsigned long long)exit->u.words[0],
		    (unsigned long long)exit->u.words[1]);
		break;
	}
}

static void show_row(const struct x86vcpu_regs *regs, unsigned first)
{
	static const char *const names[16] = {
		"rax", "rcx", "rdx", "rbx", "", "rbp", "rsi", "rdi",
		"r8 ", "r9 ", "r10", "r11", "r12", "r13", "r14", "r15",
	};
	const uint64_t *values = (const uint64_t *)regs;

	console_printf("vmm:");
	for (unsigned i = first; i < first + 4; i++) {
		if (i != 4) /* RSP is on the other line */
			console_printf(" %s %016llx", names[i], (unsigned long long)values[i]);
	}
	console_putc('\n');
}

void show_registers(struct vm *vm)
{
	struct x86vcpu_state state = { .size = sizeof(state) };
	char line[400];

	x86vcpu_format_state(vm->vcpu, line, sizeof(line));
	say("%s", line);
	if (x86vcpu_get_state(vm->vcpu, X86VCPU_STATE_GPRS, &state) != X86VCPU_OK)
		return;
	for (unsigned first = 0; first < 16; first += 4)
		show_row(&state.regs, first);
}
