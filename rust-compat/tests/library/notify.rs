// SPDX-License-Identifier: Apache-2.0
//! How an NMI, INIT or start-up IPI reaches a vCPU that waits, and which CPU number the library gets.

use crate::{
    fake::*,
    host::*,
    ops::{number, ops},
    *,
};

unsafe extern "C" {
    fn sched_getcpu() -> i32;
    fn sched_setaffinity(pid: i32, size: usize, mask: *const u64) -> i32;
}

/// This thread stays on its CPU, as the thread of a vCPU does, and the extension is on there.
fn enabled() -> X86PerCpuState<Host> {
    let mut mask = [0u64; 16];
    let cpu = unsafe { sched_getcpu() } as usize;
    mask[cpu / 64] = 1 << (cpu % 64);
    assert_eq!(
        unsafe { sched_setaffinity(0, size_of_val(&mask), mask.as_ptr()) },
        0
    );
    let mut state = X86PerCpuState::new(0).unwrap();
    state.hardware_enable().unwrap();
    state
}

/// What the library calls for vCPU 1 of machine 3.
fn notify(bench: &Bench) -> impl Fn() + Send + 'static {
    let notify = ops(bench).0.notify.unwrap();
    move || unsafe { notify(std::ptr::null_mut(), number(3), number(1), ffi::X86VCPU_NO_CPU) }
}

/// The guest does this, and exits.
fn acts(bench: &mut Bench, act: impl FnOnce() + Send + 'static) {
    *ACT.lock().unwrap() = Some(Box::new(act));
    bench.exits(exit(ffi::X86VCPU_EXIT_HALT, |_| {}));
}

fn sent() -> Vec<(usize, usize, u8)> {
    host(|state| std::mem::take(&mut state.sent))
}

impl Bench {
    /// What the library has been given since the last time.
    fn injected(&self) -> Vec<(u32, u32)> {
        self.fake(|fake| std::mem::take(&mut fake.interrupts))
    }
}

/// A vCPU to which nothing comes back from the tests before, which used these numbers.
fn quiet() -> Bench {
    let mut bench = bench();
    while bench.injected().is_empty() {
        bench.vcpu.inject_interrupt(2).unwrap();
    }
    bench
}

#[test]
fn a_message_of_a_guest_makes_the_host_wake_the_target() {
    let mut bench = quiet();
    let _cpu = enabled();
    let tell = notify(&bench);
    acts(&mut bench, tell);
    assert_eq!(sent(), [(3, 1, 2)]);
    // It comes back, and is none. One that the host thinks of itself is one.
    bench.vcpu.inject_interrupt(2).unwrap();
    assert_eq!(bench.injected(), []);
    bench.vcpu.inject_interrupt_with_trigger(2, true).unwrap();
    bench.vcpu.inject_interrupt(2).unwrap();
    assert_eq!(bench.injected(), [(2, 1), (2, 0)]);
}

#[test]
fn each_message_comes_back_once() {
    let mut bench = quiet();
    let _cpu = enabled();
    let tell = notify(&bench);
    acts(&mut bench, move || {
        tell();
        tell();
    });
    assert_eq!(sent().len(), 2);
    for left in [0, 0, 1] {
        bench.vcpu.inject_interrupt(2).unwrap();
        assert_eq!(bench.injected().len(), left);
    }
}

/// The host wakes a vCPU where it injects into it, and its timers may expire where it must not be called.
#[test]
fn what_the_host_does_itself_it_is_not_told_of() {
    let mut bench = quiet();
    let _cpu = enabled();
    notify(&bench)();
    assert_eq!(sent(), []);

    static NOTIFY: Mutex<Option<Box<dyn Fn() + Send>>> = Mutex::new(None);
    unsafe extern "C" fn expire(_: *mut c_void, _: u64) -> u64 {
        NOTIFY.lock().unwrap().as_ref().unwrap()();
        0
    }
    *NOTIFY.lock().unwrap() = Some(Box::new(notify(&bench)));
    let (ops, ctx) = ops(&bench);
    let mut timer = ffi::x86vcpu_timer { opaque: [0; 2] };
    assert_eq!(
        unsafe { ops.timer_start.unwrap()(ctx, 1, Some(expire), std::ptr::null_mut(), &mut timer) },
        0
    );
    acts(&mut bench, || {
        let callback = host(|state| state.timers[0].1.clone());
        callback.lock().unwrap().as_mut().unwrap()(1);
    });
    assert_eq!(sent(), []);
    // But after it the guest's messages are the guest's again.
    let tell = notify(&bench);
    acts(&mut bench, tell);
    assert_eq!(sent().len(), 1);
}

#[test]
fn a_host_that_refuses_sends_nothing_back() {
    let mut bench = quiet();
    let _cpu = enabled();
    STOPPED.store(true, Ordering::Relaxed);
    let tell = notify(&bench);
    acts(&mut bench, tell);
    assert_eq!(sent().len(), 1);
    bench.vcpu.inject_interrupt(2).unwrap();
    assert_eq!(bench.injected(), [(2, 0)]);
}

/// The next vCPU with these numbers may get what was sent to the last one.
#[test]
fn what_comes_back_late_is_none_either() {
    let mut first = quiet();
    let cpu = enabled();
    let tell = notify(&first);
    acts(&mut first, tell);
    drop(cpu);
    drop(first);
    let mut second = bench();
    for left in [0, 1] {
        second.vcpu.inject_interrupt(2).unwrap();
        assert_eq!(second.injected().len(), left);
    }
}

#[test]
fn the_executing_cpu_has_one_number() {
    let bench = bench();
    let (ops, ctx) = ops(&bench);
    let here = || unsafe { ops.current_cpu.unwrap()(ctx) };
    let state = enabled();
    let number = here();
    drop(state);
    assert_eq!(here(), number);
    let topology = std::arch::x86_64::__cpuid_count(0xb, 0);
    if topology.ebx != 0 {
        assert_eq!(number, topology.edx);
    }
}

/// In the API of 0.6 the VMM handles what VT-x has acknowledged, whatever else the run would say.
#[cfg(x86_vcpu_0_6)]
#[test]
fn an_interrupt_of_the_host_goes_to_the_vmm() {
    let mut bench = quiet();
    let _cpu = enabled();
    let dispatch = ops(&bench).0.dispatch_external_interrupt.unwrap();
    *ACT.lock().unwrap() = Some(Box::new(move || unsafe { dispatch(std::ptr::null_mut(), 0xec) }));
    let found = bench.exits(exit(ffi::X86VCPU_EXIT_NOTHING, |_| {}));
    assert_eq!(text(found), "ExternalInterrupt { vector: 236 }");
    let found = bench.exits(exit(ffi::X86VCPU_EXIT_NOTHING, |_| {}));
    assert_eq!(text(found), "Nothing");
}
