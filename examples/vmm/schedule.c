/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who runs when. vCPU i belongs to host CPU i modulo their number. A host CPU gives each of its vCPUs that can
 * run a time slice, and waits when none can. IRQs are off but for the moments in which they are taken.
 */
#include "vmm.h"

/* The library has something for a vCPU. Any context; the flag is what counts, the interrupt only hurries. */
static void notify(void *machine, void *vcpu, uint32_t cpu)
{
	struct vm *vm = machine;
	struct vcpu *notified = vcpu;

	__atomic_store_n(&notified->notified, 1, __ATOMIC_SEQ_CST);
	__atomic_add_fetch(&vm->wakeups, 1, __ATOMIC_SEQ_CST);
	cpu_kick(cpu == X86VCPU_NO_CPU ? notified->host : cpu, false);
}

void schedule_init(void)
{
	platform_notify = notify;
}

static uint32_t state_of(const struct vcpu *vcpu)
{
	return __atomic_load_n(&vcpu->state, __ATOMIC_SEQ_CST);
}

static bool is_notified(const struct vcpu *vcpu)
{
	return __atomic_load_n(&vcpu->notified, __ATOMIC_SEQ_CST);
}

/* The executing CPU's next vCPU that can run, after `last`; NULL: none can. */
static struct vcpu *next_vcpu(struct vm *vm, unsigned host, unsigned last)
{
	for (unsigned i = 1; i <= vm->vcpus; i++) {
		struct vcpu *vcpu = &vm->vcpu[(last + i) % vm->vcpus];

		if (vcpu->host != host)
			continue;
		if (state_of(vcpu) == VCPU_RUNNABLE)
			return vcpu;
		if (is_notified(vcpu)) {
			__atomic_store_n(&vcpu->state, VCPU_RUNNABLE, __ATOMIC_SEQ_CST);
			return vcpu;
		}
	}
	return NULL;
}

/* ---- Running -------------------------------------------------------------------------------------- */

/* Whether another vCPU may have its turn. */
static bool ends_turn(uint32_t kind)
{
	return kind == X86VCPU_EXIT_PREEMPTION_TIMER || kind == X86VCPU_EXIT_NOTHING ||
	       kind == X86VCPU_EXIT_HALT || kind == X86VCPU_EXIT_WAIT_FOR_SIPI;
}

static void before_run(struct vcpu *vcpu)
{
	devices_poll(vcpu->vm);
	if (__atomic_exchange_n(&vcpu->flush, 0, __ATOMIC_SEQ_CST))
		x86vcpu_flush_nested(vcpu->handle);
	/* What comes from here on is for this run, or the flag is there for the next. */
	__atomic_store_n(&vcpu->notified, 0, __ATOMIC_SEQ_CST);
}

static void run_turn(struct vcpu *vcpu)
{
	struct vm *vm = vcpu->vm;
	struct x86vcpu_exit exit = { .kind = X86VCPU_EXIT_HYPERCALL };

	while (!vm_ended(vm) && !ends_turn(exit.kind)) {
		int32_t status;

		before_run(vcpu);
		status = x86vcpu_run(vcpu->handle, &exit);
		if (status != X86VCPU_OK) {
			vm_end_status(vcpu, "x86vcpu_run", status);
			return;
		}
		vcpu->exits++;
		if (vm->job->flags & JOB_TRACE)
			trace_exit(vcpu, &exit);
		handle_exit(vcpu, &exit);
	}
}

/* ---- Waiting -------------------------------------------------------------------------------------- */

/*
 * Nobody runs, nothing has come, and no timer will bring anything. A look at several vCPUs is not one moment:
 * when somebody was notified meanwhile, it does not count.
 */
static bool nothing_can_wake(struct vm *vm, bool *interrupts_on)
{
	const uint32_t before = __atomic_load_n(&vm->wakeups, __ATOMIC_SEQ_CST);

	*interrupts_on = false;
	for (unsigned i = 0; i < vm->vcpus; i++) {
		const struct vcpu *vcpu = &vm->vcpu[i];
		const uint32_t state = state_of(vcpu);

		if (state == VCPU_RUNNABLE || is_notified(vcpu))
			return false;
		if (state == VCPU_HALTED && vcpu->timer != NEVER)
			return false;
		*interrupts_on |= state == VCPU_HALTED;
	}
	if (*interrupts_on && devices_can_wake(vm))
		return false;
	return before == __atomic_load_n(&vm->wakeups, __ATOMIC_SEQ_CST);
}

static bool is_idle(const struct vm *vm, unsigned host)
{
	for (unsigned i = 0; i < vm->vcpus; i++)
		if (vm->vcpu[i].host == host && is_notified(&vm->vcpu[i]))
			return false;
	return !vm_ended(vm);
}

static uint64_t wake(void *arg, uint64_t now)
{
	(void)arg;
	(void)now;
	return 0; /* that it interrupted is all */
}

/* The last look before the wait is with IRQs off, and HLT lets in what has come since. */
static void wait(struct vm *vm, unsigned host)
{
	const uint64_t deadline = __atomic_load_n(&vm->deadline, __ATOMIC_RELAXED);
	struct x86vcpu_timer timer;
	bool interrupts_on, timed;

	if (nothing_can_wake(vm, &interrupts_on)) {
		vm_end(vm, VERDICT_FAILED, interrupts_on ? "guest halted and nothing can wake it" :
							   "guest halted with interrupts off");
		return;
	}
	timed = deadline != NEVER && platform_timer_start(deadline, wake, NULL, &timer) == X86VCPU_OK;
	if (is_idle(vm, host))
		cpu_wait_for_interrupt();
	if (timed)
		platform_timer_cancel(&timer);
}

/* ---- A host CPU ----------------------------------------------------------------------------------- */

static uint64_t slice_over(void *arg, uint64_t now)
{
	(void)arg;
	return now + TIME_SLICE_NS;
}

/* VT-x leaves the guest at the end of a time slice; SVM only when the host is interrupted. */
void vm_run_cpu(struct vm *vm)
{
	const unsigned host = cpu_index();
	const bool sliced = x86vcpu_extension() == X86VCPU_EXTENSION_SVM;
	struct x86vcpu_timer slices;
	unsigned last = 0;

	if (sliced)
		require(platform_timer_start(platform_time_ns() + TIME_SLICE_NS, slice_over, NULL, &slices),
			"platform_timer_start");
	while (!vm_ended(vm)) {
		struct vcpu *vcpu;

		cpu_take_interrupts();
		devices_poll(vm);
		vcpu = next_vcpu(vm, host, last);
		if (vcpu) {
			last = vcpu->id;
			run_turn(vcpu);
		} else {
			wait(vm, host);
		}
	}
	if (sliced)
		platform_timer_cancel(&slices);
}
