/* SPDX-License-Identifier: Apache-2.0 */
/* What the library needs from the kernel that it is linked into. */
#ifndef X86VCPU_HOST_H
#define X86VCPU_HOST_H

#include <stdint.h>

#include "x86vcpu/version.h" /* X86VCPU_ABI_VERSION */

#ifdef __cplusplus
extern "C" {
#endif

/* The host's own name for a timer that timer_start has started. */
struct x86vcpu_timer {
	uint64_t opaque[2];
};

/*
 * What timer_start's timer calls when its time has come; `now` is time_ns's. It answers 0 when the timer is
 * done, or the time at which it wants to be called again. Any CPU, also in interrupt context; it neither
 * sleeps nor allocates, and calls no host op but `notify`.
 */
typedef uint64_t (*x86vcpu_timer_function)(void *arg, uint64_t now);

/* "No CPU", for notify. */
#define X86VCPU_NO_CPU UINT32_C(0xffffffff)

/*
 * Host services. One table serves any number of CPUs and machines. x86vcpu_percpu_create and x86vcpu_machine_create copy it.
 *
 * `ctx` is the pointer that was given with the table. `machine` is the machine's pointer `opaque`
 * (x86vcpu_machine_config), `vcpu` the vCPU's (x86vcpu_create_config): the library passes them as they are.
 *
 * What runs in a host op during x86vcpu_run finds some of the guest's state in the CPU: "Duties of the host" in
 * x86vcpu/vcpu.h. notify and send_interrupt are called with none of the library's locks held.
 *
 * A slot marked "required" must not be NULL; creation answers X86VCPU_ERR_INVALID_INPUT
 * otherwise.
 *
 * A slot may call the library. Functions for "any CPU, any time" work from every slot. A function that belongs to the
 * thread of the vCPU for which the slot was called answers X86VCPU_ERR_BAD_STATE, x86vcpu_destroy answers
 * X86VCPU_ERR_RESOURCE_BUSY, and both change nothing. So does a function that needs another vCPU on the executing CPU,
 * but from dispatch_external_interrupt and service_pending_interrupt, where other vCPUs may run.
 *
 * Frames are 4 KiB of write-back memory, 4 KiB aligned, reachable by the CPU for as long as
 * the library holds them. Physical address 0 means "none".
 */
struct x86vcpu_host_ops {
	uint32_t size;        /* sizeof(struct x86vcpu_host_ops) of the caller; slots beyond it are NULL */
	uint32_t abi_version; /* X86VCPU_ABI_VERSION */

	/*
	 * Required. One frame, or 0 when there is none. Its contents may be anything. Called
	 * from create, enable and setup, in the caller's context; never from run.
	 */
	uint64_t (*alloc_frame)(void *ctx);

	/* Required. Takes back a frame of alloc_frame. Called from destroy, disable, setup. */
	void (*free_frame)(void *ctx, uint64_t hpa);

	/*
	 * Required. `count` adjacent frames (1 or more), aligned to `align` bytes (a power of two,
	 * 4096 or more), or 0. Called as alloc_frame is.
	 */
	uint64_t (*alloc_contiguous_frames)(void *ctx, uint64_t count, uint64_t align);

	/* Required. Takes back what alloc_contiguous_frames gave. */
	void (*free_contiguous_frames)(void *ctx, uint64_t hpa, uint64_t count);

	/* Required. The host's address of a frame that it gave out. Any context; must not fail. */
	void *(*phys_to_virt)(void *ctx, uint64_t hpa);

	/*
	 * Required. Copies `len` bytes (1 to 4096, never across a 4 KiB boundary) of guest-physical
	 * memory into `buf`. Called from run with IRQs off, only for addresses that no guest memory
	 * region given to setup covers. Returns 0, or a negative status when there is no memory at
	 * `gpa`; `buf` then may hold anything. May not sleep.
	 */
	int32_t (*read_guest)(void *ctx, void *machine, uint64_t gpa, void *buf, uint64_t len);

	/*
	 * Required. How many ticks of this machine's TSC pass in `nanos` nanoseconds, rounded down.
	 * 0 when the frequency is unknown. Any context.
	 */
	uint64_t (*nanos_to_ticks)(void *ctx, uint64_t nanos);

	/*
	 * Required. VT-x acknowledged external interrupt `vector` (0 to 255) when the guest was left.
	 * The host must run its handler and signal the end of interrupt to its controller before it
	 * returns, with IRQs off on return. Called from run, IRQs off, the guest's context no longer
	 * loaded; not called with SVM.
	 */
	void (*dispatch_external_interrupt)(void *ctx, uint32_t vector);

	/*
	 * Required. An interrupt is pending that SVM did not acknowledge: the host enables IRQs for a
	 * moment so that it is taken, and disables them again. Called from run, IRQs off; not called
	 * with VT-x.
	 */
	void (*service_pending_interrupt)(void *ctx);

	/*
	 * Optional. A number that identifies the executing CPU, the same at every call on that CPU and
	 * different on any other. Called often, from any function that must run on a certain CPU.
	 * NULL: the library uses the APIC ID that CPUID reports.
	 */
	uint32_t (*current_cpu)(void *ctx);

	/*
	 * Optional. Reads an MSR that may not exist: 0 and *value, or a negative status instead of a #GP
	 * in the host. Called from enable and bind, for two MSRs that some machines lack and no CPUID bit
	 * announces: IA32_DEBUGCTL, which VM exits clear (NULL: the host does not use it, it stays 0), and
	 * VM_CR (NULL: the CPU has it, as the manual says of every CPU with SVM).
	 */
	int32_t (*read_msr)(void *ctx, uint32_t msr, uint64_t *value);

	/*
	 * Optional. One line of text, not terminated, without line feed; for people. `level` is 1
	 * (error) to 5 (trace). May be called from run with IRQs off; may not sleep.
	 */
	void (*log)(void *ctx, uint32_t level, const char *text, uint64_t len);

	/*
	 * Optional. Nanoseconds of a clock that never goes back and is the same on every CPU. Called often: from
	 * run with IRQs off, and from timer_start's callers. NULL: the library counts the TSC.
	 */
	uint64_t (*time_ns)(void *ctx);

	/*
	 * Optional, both or none. timer_start has `function(arg, now)` called once time_ns has reached `deadline`,
	 * on any CPU, in hard interrupt context if the host likes; it may happen before timer_start returns.
	 * Called from run with IRQs off. 0 and *timer set, or a negative status and `function` is never called.
	 *
	 * timer_cancel: after it has returned 0, `function` is not running on another CPU and will not be called
	 * again. A timer that is done already is not an error. A negative status: the timer goes on. Called
	 * from run with IRQs off, and from setup and destroy; never from `function`.
	 *
	 * NULL: the local APIC's timer is looked at when run begins, so it is as exact as time slices are short,
	 * and a VMM that waits for a halted vCPU asks x86vcpu_timer_deadline how long.
	 */
	int32_t (*timer_start)(void *ctx, uint64_t deadline, x86vcpu_timer_function function, void *arg,
			       struct x86vcpu_timer *timer);
	int32_t (*timer_cancel)(void *ctx, const struct x86vcpu_timer *timer);

	/*
	 * Optional. The vCPU has got something to do: an interrupt, an NMI, INIT, SIPI, an
	 * expired timer, a request to exit. `cpu` is the number (current_cpu's) of the CPU on which it is in run,
	 * and then that CPU must be interrupted so that it leaves the guest; or X86VCPU_NO_CPU: its thread,
	 * if it waits, must be woken. Called from the function that brought the event, in that one's context:
	 * x86vcpu_inject_*, run of another vCPU (IRQs off), a timer's function. May not sleep.
	 *
	 * A host that waits for a halted vCPU remembers the call until the thread has seen it (a semaphore, say):
	 * it may come between HALT and the wait. NULL: events are noticed at the next exit or run.
	 */
	void (*notify)(void *ctx, void *machine, void *vcpu, uint32_t cpu);

	/*
	 * Optional. Another vCPU of the machine sends interrupt `vector` (16 to 255, edge-triggered) to this vCPU through
	 * its local APIC. The host calls x86vcpu_inject_interrupt on this vCPU, now or soon. Called from run,
	 * IRQs off; may not sleep. NULL: the library does it itself.
	 */
	void (*send_interrupt)(void *ctx, void *machine, void *vcpu, uint32_t vector);

	/*
	 * Optional. The vCPU acknowledges the interrupt of an 8259A that asserts its LINT0 (x86vcpu_set_lint):
	 * answers the vector, 0 to 255, or a negative value when the request is gone. Called from run, IRQs
	 * off; may not sleep. It may call x86vcpu_set_lint. NULL: LINT0 in ExtINT mode does nothing.
	 */
	int32_t (*acknowledge_interrupt)(void *ctx, void *machine, void *vcpu);
};

#ifdef __cplusplus
}
#endif
#endif
