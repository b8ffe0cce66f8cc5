// SPDX-License-Identifier: Apache-2.0
//! Timers on a host that is careless with them.

use crate::{host::*, ops::ops, *};

/// What the library's timers call: counts, and answers what `arg` says.
struct Count {
    calls: AtomicUsize,
    next: AtomicU64,
    hold: AtomicBool,
    inside: AtomicBool,
}

impl Count {
    const fn new(next: u64) -> Self {
        let (calls, next) = (AtomicUsize::new(0), AtomicU64::new(next));
        Self {
            calls,
            next,
            hold: AtomicBool::new(false),
            inside: AtomicBool::new(false),
        }
    }

    fn arg(&self) -> *mut c_void {
        std::ptr::from_ref(self).cast_mut().cast()
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

unsafe extern "C" fn called(arg: *mut c_void, _now: u64) -> u64 {
    let count = unsafe { &*arg.cast::<Count>() };
    count.inside.store(true, Ordering::SeqCst);
    while count.hold.load(Ordering::SeqCst) {
        std::thread::yield_now();
    }
    count.inside.store(false, Ordering::SeqCst);
    count.calls.fetch_add(1, Ordering::SeqCst);
    count.next.load(Ordering::SeqCst)
}

fn start(bench: &Bench, deadline: u64, count: &Count) -> Result<ffi::x86vcpu_timer, i32> {
    let (ops, ctx) = ops(bench);
    let mut timer = ffi::x86vcpu_timer { opaque: [0; 2] };
    match unsafe { ops.timer_start.unwrap()(ctx, deadline, Some(called), count.arg(), &mut timer) } {
        0 => Ok(timer),
        error => Err(error),
    }
}

fn cancel(bench: &Bench, timer: &ffi::x86vcpu_timer) -> i32 {
    let (ops, ctx) = ops(bench);
    unsafe { ops.timer_cancel.unwrap()(ctx, timer) }
}

fn fire(number: usize, now: u64) -> X86TimerAction {
    let callback = host(|state| state.timers[number].1.clone());
    let mut callback = callback.lock().unwrap();
    callback.as_mut().unwrap()(now)
}

#[test]
fn timers_fire_again_and_end() {
    let bench = bench();
    let count = Count::new(2000);
    let timer = start(&bench, 1000, &count).unwrap();
    assert_eq!(host(|state| state.timers[0].0), 1000);
    assert_eq!(fire(0, 1000), X86TimerAction::Rearm(2000));
    count.next.store(0, Ordering::SeqCst);
    assert_eq!(fire(0, 2000), X86TimerAction::Complete);
    // Done: neither the host's callback nor a cancel does anything now.
    assert_eq!(fire(0, 3000), X86TimerAction::Complete);
    assert_eq!(cancel(&bench, &timer), 0);
    assert_eq!((count.calls(), host(|state| state.cancelled.len())), (2, 0));
}

/// A fired timer's handle is not asked for any more, and its room is used again.
#[test]
fn a_handle_may_be_of_any_size() {
    let bench = bench();
    let other = X86Vcpu::<OtherHost>::new_with_config(4, 0, X86VcpuCreateConfig).unwrap();
    let (ops, ctx) = vcpu(newest() as *const _, |fake| (fake.ops, fake.ctx));
    let start_large = |deadline, count: &Count| {
        let mut timer = ffi::x86vcpu_timer { opaque: [0; 2] };
        let start = ops.timer_start.unwrap();
        assert_eq!(
            unsafe { start(ctx, deadline, Some(called), count.arg(), &mut timer) },
            0
        );
        timer
    };
    let count = Count::new(0);
    for round in 0..3 {
        start_large(1000, &count);
        assert_eq!(fire(3 * round, 1000), X86TimerAction::Complete);
        // The host drops the callback, and the record is free.
        *host(|state| state.timers[3 * round].1.clone()).lock().unwrap() = None;
        let large = start_large(2000, &count);
        let small = start(&bench, 3000, &count).unwrap();
        assert_eq!(unsafe { ops.timer_cancel.unwrap()(ctx, &large) }, 0);
        assert_eq!(cancel(&bench, &small), 0);
    }
    assert_eq!(host(|state| state.cancelled.clone()), [1, 2, 4, 5, 7, 8]);
    assert_eq!(count.calls(), 3);
    drop(other);
}

#[test]
fn a_cancelled_timer_is_never_called_even_if_the_host_goes_on() {
    let bench = bench();
    let count = Count::new(0);
    let timer = start(&bench, 1000, &count).unwrap();
    // The host answers an error, and its timer goes on.
    assert_eq!(cancel(&bench, &timer), 0);
    assert_eq!(host(|state| state.cancelled.clone()), [0]);
    assert_eq!(fire(0, 1000), X86TimerAction::Complete);
    assert_eq!(cancel(&bench, &timer), 0);
    // The old callback does not reach the next timer.
    start(&bench, 5000, &count).unwrap();
    assert_eq!(fire(0, 1000), X86TimerAction::Complete);
    assert_eq!(cancel(&bench, &timer), 0);
    assert_eq!(count.calls(), 0);
    assert_eq!(fire(1, 5000), X86TimerAction::Complete);
    assert_eq!(count.calls(), 1);
}

#[test]
fn a_cancel_waits_for_the_call_under_way() {
    let bench = bench();
    let count = Count::new(9000);
    let timer = start(&bench, 1000, &count).unwrap();
    count.hold.store(true, Ordering::SeqCst);
    std::thread::scope(|scope| {
        let firing = scope.spawn(|| fire(0, 1000));
        while !count.inside.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        scope.spawn(|| {
            std::thread::sleep(std::time::Duration::from_millis(50));
            count.hold.store(false, Ordering::SeqCst);
        });
        assert_eq!(cancel(&bench, &timer), 0);
        assert_eq!(count.calls(), 1);
        assert_eq!(firing.join().unwrap(), X86TimerAction::Complete);
    });
    assert_eq!(fire(0, 9000), X86TimerAction::Complete);
    assert_eq!(count.calls(), 1);
}

#[test]
fn a_timer_may_fire_before_it_has_started() {
    let bench = bench();
    EAGER.store(true, Ordering::Relaxed);
    let count = Count::new(0);
    let first = start(&bench, 1000, &count).unwrap();
    assert_eq!(count.calls(), 1);
    assert_eq!(cancel(&bench, &first), 0);
    // It fired, and is to fire again.
    count.next.store(3000, Ordering::SeqCst);
    let second = start(&bench, 1000, &count).unwrap();
    EAGER.store(false, Ordering::Relaxed);
    assert_eq!(count.calls(), 2);
    assert_eq!(fire(1, 3000), X86TimerAction::Rearm(3000));
    assert_eq!(cancel(&bench, &second), 0);
    assert_eq!(fire(1, 3000), X86TimerAction::Complete);
    assert_eq!(count.calls(), 3);
}

#[test]
fn a_host_without_timers_is_an_error() {
    let bench = bench();
    let count = Count::new(0);
    REFUSES.store(true, Ordering::Relaxed);
    assert_eq!(
        start(&bench, 1, &count).err(),
        Some(ffi::X86VCPU_ERR_TIMER_UNAVAILABLE)
    );
    REFUSES.store(false, Ordering::Relaxed);
    assert!(start(&bench, 1, &count).is_ok());
}
