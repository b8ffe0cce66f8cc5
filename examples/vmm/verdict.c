/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a run: one verdict, whoever is first. */
#include "vmm.h"

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

/* Whether the caller is the first. The others leave their guests for it. */
static bool begin_end(struct vm *vm, enum verdict verdict)
{
	if (__atomic_exchange_n(&vm->ending, 1, __ATOMIC_ACQ_REL))
		return false;
	vm->verdict = verdict;
	for (unsigned i = 0; i < vm->hosts; i++)
		cpu_kick(i, false);
	return true;
}

void vm_end(struct vm *vm, enum verdict verdict, const char *reason)
{
	if (begin_end(vm, verdict))
		append(vm, reason);
}

void vm_end_exit_code(struct vm *vm, uint32_t value)
{
	if (!begin_end(vm, VERDICT_FAILED))
		return;
	append(vm, "guest exit code ");
	append_number(vm, value);
	append(vm, " (2*v+1 = ");
	append_number(vm, 2 * (uint64_t)value + 1);
	append(vm, ")");
}

void vm_end_status(struct vcpu *vcpu, const char *call, int32_t status)
{
	struct vm *vm = vcpu->vm;

	if (!begin_end(vm, VERDICT_BROKEN))
		return;
	show_registers(vcpu);
	append(vm, call);
	append(vm, ": ");
	append(vm, x86vcpu_strerror(status));
}

void require_ok(struct vcpu *vcpu, int32_t status, const char *call)
{
	if (status != X86VCPU_OK)
		vm_end_status(vcpu, call, status);
}
