/* SPDX-License-Identifier: Apache-2.0 */
/* What the guest wants, exit by exit. */
#include "vmm.h"

#define RFLAGS_IF (UINT64_C(1) << 9)

static void set_state(struct vcpu *vcpu, enum vcpu_state state)
{
	__atomic_store_n(&vcpu->state, state, __ATOMIC_SEQ_CST);
}

/* Its host CPU runs it again when something has come for it. */
static void halt(struct vcpu *vcpu)
{
	struct x86vcpu_state state = { .size = sizeof(state) };

	require_ok(vcpu, x86vcpu_get_state(vcpu->handle, X86VCPU_STATE_RIP, &state), "x86vcpu_get_state");
	require_ok(vcpu, x86vcpu_timer_deadline(vcpu->handle, &vcpu->timer), "x86vcpu_timer_deadline");
	set_state(vcpu, state.rflags & RFLAGS_IF ? VCPU_HALTED : VCPU_STOPPED);
}

/* ---- Ports ---------------------------------------------------------------------------------------- */

static void port_in(struct vcpu *vcpu, const struct x86vcpu_port_io *io)
{
	const uint32_t value = port_read(vcpu->vm, io->port, 1u << io->width);

	require_ok(vcpu, x86vcpu_complete_read(vcpu->handle, value), "x86vcpu_complete_read");
}

/* Where byte `i` of a string element is: it may lie across two pages that are not adjacent. */
static uint64_t element_byte(const struct x86vcpu_port_io_string *io, unsigned i)
{
	const unsigned in_first = 0x1000 - (io->gpa & 0xfff);

	return i < in_first ? io->gpa + i : io->gpa2 + (i - in_first);
}

static void port_string(struct vcpu *vcpu, const struct x86vcpu_port_io_string *io)
{
	const unsigned bytes = 1u << io->width;
	uint32_t value = 0;

	if (io->direction == X86VCPU_DIRECTION_IN) {
		value = port_read(vcpu->vm, io->port, bytes);
		for (unsigned i = 0; i < bytes; i++)
			memory_write8(vcpu->vm, element_byte(io, i), (uint8_t)(value >> 8 * i));
	} else {
		for (unsigned i = 0; i < bytes; i++)
			value |= (uint32_t)memory_read8(vcpu->vm, element_byte(io, i)) << 8 * i;
		port_write(vcpu->vm, io->port, bytes, value);
	}
	require_ok(vcpu, x86vcpu_complete_port_io_string(vcpu->handle, io), "x86vcpu_complete_port_io_string");
}

/* ---- Memory --------------------------------------------------------------------------------------- */

static void mmio_in(struct vcpu *vcpu, const struct x86vcpu_mmio *mmio)
{
	const uint64_t value = mmio_read(vcpu->vm, mmio->gpa);

	require_ok(vcpu, x86vcpu_complete_read(vcpu->handle, value), "x86vcpu_complete_read");
}

/* All that is not memory is declared as MMIO, so this is a fetch, or an operand beside that of a device. */
static void page_fault(struct vcpu *vcpu, const struct x86vcpu_nested_page_fault *fault)
{
	say("no memory at 0x%llx (access 0x%llx)", (unsigned long long)fault->gpa,
	    (unsigned long long)fault->access);
	show_registers(vcpu);
	vm_end(vcpu->vm, VERDICT_FAILED,
	       "guest uses an address where there is no memory, in a way that is not emulated");
}

static void unknown_instruction(struct vcpu *vcpu, const struct x86vcpu_instruction *instruction)
{
	char bytes[3 * X86VCPU_INSTRUCTION_BYTES + 1] = "";

	for (unsigned i = 0; i < instruction->count; i++) {
		bytes[3 * i] = "0123456789abcdef"[instruction->bytes[i] >> 4];
		bytes[3 * i + 1] = "0123456789abcdef"[instruction->bytes[i] & 15];
		bytes[3 * i + 2] = i + 1u < instruction->count ? ' ' : 0;
	}
	say("no such instruction on device memory, at 0x%llx: %s", (unsigned long long)instruction->gpa, bytes);
	show_registers(vcpu);
	vm_end(vcpu->vm, VERDICT_FAILED, "guest uses an instruction on a device that is not emulated");
}

/* ---- Ends ----------------------------------------------------------------------------------------- */

static void fail_entry(struct vcpu *vcpu, const struct x86vcpu_fail_entry *fail)
{
	char why[160];
	uint32_t check;

	say("entry failed: reason %llx, qualification %llx, instruction error %u",
	    (unsigned long long)fail->reason, (unsigned long long)fail->qualification,
	    fail->instruction_error);
	if (!x86vcpu_explain_entry_failure(vcpu->handle, &check, why, sizeof(why)))
		say("check %u, %s", check, why);
	show_registers(vcpu);
	vm_end(vcpu->vm, VERDICT_BROKEN, "the guest could not be entered");
}

static void system_down(struct vcpu *vcpu)
{
	show_registers(vcpu);
	vm_end(vcpu->vm, VERDICT_FAILED, "guest shut down (triple fault)");
}

/* ---- Which of them -------------------------------------------------------------------------------- */

/* Exits to a device, with the lock for all of them. */
static void device_exit(struct vcpu *vcpu, const struct x86vcpu_exit *exit)
{
	struct vm *vm = vcpu->vm;
	const uint64_t flags = spin_lock(&vm->lock);

	switch (exit->kind) {
	case X86VCPU_EXIT_PORT_IO_READ:
		port_in(vcpu, &exit->u.port_io);
		break;
	case X86VCPU_EXIT_PORT_IO_WRITE:
		port_write(vm, exit->u.port_io.port, 1u << exit->u.port_io.width,
			   (uint32_t)exit->u.port_io.data);
		break;
	case X86VCPU_EXIT_PORT_IO_STRING:
		port_string(vcpu, &exit->u.port_io_string);
		break;
	case X86VCPU_EXIT_MMIO_READ:
		mmio_in(vcpu, &exit->u.mmio);
		break;
	case X86VCPU_EXIT_MMIO_WRITE:
		mmio_write(vm, exit->u.mmio.gpa, exit->u.mmio.data);
		break;
	default: /* INTERRUPT_END */
		ioapic_end_of_interrupt(&vm->ioapic, (uint8_t)exit->u.interrupt_end.vector);
		break;
	}
	spin_unlock(&vm->lock, flags);
}

void handle_exit(struct vcpu *vcpu, const struct x86vcpu_exit *exit)
{
	switch (exit->kind) {
	case X86VCPU_EXIT_HYPERCALL: /* there are none */
		x86vcpu_set_return_value(vcpu->handle, UINT64_MAX);
		break;
	case X86VCPU_EXIT_PORT_IO_READ:
	case X86VCPU_EXIT_PORT_IO_WRITE:
	case X86VCPU_EXIT_PORT_IO_STRING:
	case X86VCPU_EXIT_MMIO_READ:
	case X86VCPU_EXIT_MMIO_WRITE:
	case X86VCPU_EXIT_INTERRUPT_END:
		device_exit(vcpu, exit);
		break;
	case X86VCPU_EXIT_MSR_READ: /* an MSR that the library leaves to us does not exist here */
	case X86VCPU_EXIT_MSR_WRITE:
		require_ok(vcpu, x86vcpu_complete_fault(vcpu->handle), "x86vcpu_complete_fault");
		break;
	case X86VCPU_EXIT_NESTED_PAGE_FAULT:
		page_fault(vcpu, &exit->u.nested_page_fault);
		break;
	case X86VCPU_EXIT_UNKNOWN_INSTRUCTION:
		unknown_instruction(vcpu, &exit->u.instruction);
		break;
	case X86VCPU_EXIT_HALT:
		halt(vcpu);
		break;
	case X86VCPU_EXIT_FPU_ERROR:
		irq_set(vcpu->vm, FPU_IRQ, true);
		break;
	case X86VCPU_EXIT_WAIT_FOR_SIPI:
		set_state(vcpu, VCPU_WAIT_FOR_SIPI);
		break;
	case X86VCPU_EXIT_SYSTEM_DOWN:
		system_down(vcpu);
		break;
	case X86VCPU_EXIT_FAIL_ENTRY:
		fail_entry(vcpu, &exit->u.fail_entry);
		break;
	case X86VCPU_EXIT_PREEMPTION_TIMER: /* somebody else's turn */
	case X86VCPU_EXIT_NOTHING:
		break;
	default:
		say("unknown exit %u", exit->kind);
		vm_end(vcpu->vm, VERDICT_BROKEN, "unknown exit");
		break;
	}
}
