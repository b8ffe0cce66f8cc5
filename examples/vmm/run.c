/* SPDX-License-Identifier: Apache-2.0 */
/* The run loop: what the guest wants, exit by exit, and when its interrupts come. */
#include "platform.h"

#include "vmm.h"

#define RFLAGS_IF (UINT64_C(1) << 9)

/* ---- The end ------------------------------------------------------------------------------------ */

static void append(struct vm *vm, const char *text)
{
	const size_t used = strlen(vm->reason);
	const size_t room = sizeof(vm->reason) - 1 - used;
	const size_t wanted = strlen(text);

	memcpy(vm->reason + used, text, wanted < room ? wanted : room);
}

static void append_number(struct vm *vm, uint64_t value)
{
	char digits[21] = { 0 };
	unsigned at = sizeof(digits) - 1;

	do {
		digits[--at] = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	append(vm, digits + at);
}

void vm_end(struct vm *vm, enum verdict verdict, const char *reason)
{
	if (vm->verdict != VERDICT_NONE)
		return;
	vm->verdict = verdict;
	append(vm, reason);
}

void vm_end_exit_code(struct vm *vm, uint32_t value)
{
	if (vm->verdict != VERDICT_NONE)
		return;
	vm_end(vm, VERDICT_FAILED, "guest exit code ");
	append_number(vm, value);
	append(vm, " (2*v+1 = ");
	append_number(vm, 2 * (uint64_t)value + 1);
	append(vm, ")");
}

void vm_end_status(struct vm *vm, const char *call, int32_t status)
{
	if (vm->verdict != VERDICT_NONE)
		return;
	show_registers(vm);
	vm_end(vm, VERDICT_BROKEN, call);
	append(vm, ": ");
	append(vm, x86vcpu_strerror(status));
}

static void require_ok(struct vm *vm, int32_t status, const char *call)
{
	if (status != X86VCPU_OK)
		vm_end_status(vm, call, status);
}

/* ---- Interrupts --------------------------------------------------------------------------------- */

static void poll_timer(struct vm *vm)
{
	if (!pit_take_edge(&vm->pit, rdtsc()))
		return;
	pic_set_line(&vm->pic, PIT_IRQ, false);
	pic_set_line(&vm->pic, PIT_IRQ, true);
}

/*
 * Hands the PIC's request to the vCPU, one at a time: the next is acknowledged only when the guest has
 * taken this one, so that a mask or an EOI in between still counts.
 */
static void offer_interrupt(struct vm *vm)
{
	uint8_t vector;

	if (!pic_output(&vm->pic) || x86vcpu_has_pending_event(vm->vcpu))
		return;
	vector = pic_acknowledge(&vm->pic);
	/* Vector 0, a divide error's: of a guest that has not programmed its PIC. It gets none. */
	if (vector != 0)
		require_ok(vm, x86vcpu_inject_interrupt(vm->vcpu, vector), "x86vcpu_inject_interrupt");
}

static bool timer_can_wake(const struct vm *vm)
{
	return pit_is_armed(&vm->pit) && pic_unmasked(&vm->pic, PIT_IRQ);
}

/* HLT: there is nothing else to run on this machine, so wait here for the timer's next tick. */
static void halt(struct vm *vm)
{
	struct x86vcpu_state state = { .size = sizeof(state) };
	int32_t status = x86vcpu_get_state(vm->vcpu, X86VCPU_STATE_RIP, &state);

	require_ok(vm, status, "x86vcpu_get_state");
	if (!(state.rflags & RFLAGS_IF)) {
		vm_end(vm, VERDICT_FAILED, "guest halted with interrupts off");
		return;
	}
	while (!pic_output(&vm->pic) && !x86vcpu_has_pending_event(vm->vcpu)) {
		if (!timer_can_wake(vm)) {
			vm_end(vm, VERDICT_FAILED, "guest halted and nothing can wake it");
			return;
		}
		__asm__ volatile("pause");
		poll_timer(vm);
	}
}

/* ---- Exits -------------------------------------------------------------------------------------- */

static void port_in(struct vm *vm, const struct x86vcpu_port_io *io)
{
	const uint32_t value = port_read(vm, io->port, 1u << io->width);

	require_ok(vm, x86vcpu_complete_read(vm->vcpu, value), "x86vcpu_complete_read");
}

/* Where byte `i` of a string element is: it may lie across two pages that are not adjacent. */
static uint64_t element_byte(const struct x86vcpu_port_io_string *io, unsigned i)
{
	const unsigned in_first = 0x1000 - (io->gpa & 0xfff);

	return i < in_first ? io->gpa + i : io->gpa2 + (i - in_first);
}

static void port_string(struct vm *vm, const struct x86vcpu_port_io_string *io)
{
	const unsigned bytes = 1u << io->width;
	uint32_t value = 0;

	if (io->direction == X86VCPU_DIRECTION_IN) {
		value = port_read(vm, io->port, bytes);
		for (unsigned i = 0; i < bytes; i++)
			memory_write8(vm, element_byte(io, i), (uint8_t)(value >> 8 * i));
	} else {
		for (unsigned i = 0; i < bytes; i++)
			value |= (uint32_t)memory_read8(vm, element_byte(io, i)) << 8 * i;
		port_write(vm, io->port, bytes, value);
	}
	require_ok(vm, x86vcpu_complete_port_io_string(vm->vcpu, io), "x86vcpu_complete_port_io_string");
}

/*
 * All that is not memory is declared as MMIO, so this is a fetch, or an instruction that the library
 * does not take apart.
 */
static void page_fault(struct vm *vm, const struct x86vcpu_nested_page_fault *fault)
{
	say("no memory at 0x%llx (access 0x%llx)", (unsigned long long)fault->gpa,
	    (unsigned long long)fault->access);
	show_registers(vm);
	vm_end(vm, VERDICT_FAILED, "guest uses an address where there is no memory, in a way that is not emulated");
}

static void fail_entry(struct vm *vm, const struct x86vcpu_fail_entry *fail)
{
	say("entry failed: reason %llx, qualification %llx, instruction error %u",
	    (unsigned long long)fail->reason, (unsigned long long)fail->qualification,
	    fail->instruction_error);
	show_registers(vm);
	vm_end(vm, VERDICT_BROKEN, "the guest could not be entered");
}

static void system_down(struct vm *vm)
{
	show_registers(vm);
	vm_end(vm, VERDICT_FAILED, "guest shut down (triple fault)");
}

static void handle_exit(struct vm *vm, const struct x86vcpu_exit *exit)
{
	switch (exit->kind) {
	case X86VCPU_EXIT_HYPERCALL: /* there are none */
		x86vcpu_set_return_value(vm->vcpu, UINT64_MAX);
		break;
	case X86VCPU_EXIT_PORT_IO_READ:
		port_in(vm, &exit->u.port_io);
		break;
	case X86VCPU_EXIT_PORT_IO_WRITE:
		port_write(vm, exit->u.port_io.port, 1u << exit->u.port_io.width, (uint32_t)exit->u.port_io.data);
		break;
	case X86VCPU_EXIT_PORT_IO_STRING:
		port_string(vm, &exit->u.port_io_string);
		break;
	case X86VCPU_EXIT_MMIO_READ: /* an empty bus reads as ones */
		require_ok(vm, x86vcpu_complete_read(vm->vcpu, UINT64_MAX), "x86vcpu_complete_read");
		break;
	case X86VCPU_EXIT_MMIO_WRITE:
		break;
	case X86VCPU_EXIT_MSR_READ: /* an MSR that the library leaves to us does not exist here */
	case X86VCPU_EXIT_MSR_WRITE:
		require_ok(vm, x86vcpu_complete_fault(vm->vcpu), "x86vcpu_complete_fault");
		break;
	case X86VCPU_EXIT_NESTED_PAGE_FAULT:
		page_fault(vm, &exit->u.nested_page_fault);
		break;
	case X86VCPU_EXIT_HALT:
		halt(vm);
		break;
	case X86VCPU_EXIT_SYSTEM_DOWN:
		system_down(vm);
		break;
	case X86VCPU_EXIT_FAIL_ENTRY:
		fail_entry(vm, &exit->u.fail_entry);
		break;
	case X86VCPU_EXIT_PREEMPTION_TIMER: /* the loop polls the timer anyway */
	case X86VCPU_EXIT_INTERRUPT_END:
	case X86VCPU_EXIT_NOTHING:
		break;
	default:
		say("unknown exit %u", exit->kind);
		vm_end(vm, VERDICT_BROKEN, "unknown exit");
		break;
	}
}

void vm_run(struct vm *vm)
{
	const bool trace = vm->job->flags & JOB_TRACE;

	while (vm->verdict == VERDICT_NONE) {
		struct x86vcpu_exit exit;
		int32_t status;

		poll_timer(vm);
		offer_interrupt(vm);
		status = x86vcpu_run(vm->vcpu, &exit);
		if (status != X86VCPU_OK) {
			vm_end_status(vm, "x86vcpu_run", status);
			break;
		}
		vm->exits++;
		if (trace)
			trace_exit(vm, &exit);
		handle_exit(vm, &exit);
	}
	if (trace)
		say("%llu exits", (unsigned long long)vm->exits);
}
