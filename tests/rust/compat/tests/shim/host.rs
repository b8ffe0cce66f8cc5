// SPDX-License-Identifier: Apache-2.0
//! What the library asks of its host.

use super::*;

/// The table that the library got.
fn ops() -> ffi::x86vcpu_host_ops {
    drop(vcpu());
    lock(&CALLS).clear();
    unsafe { fake_ops }
}

const CTX: *mut c_void = ptr::null_mut();

/// What the crate gives the library to hand back.
fn number(number: usize) -> *mut c_void {
    ptr::without_provenance_mut(number)
}

#[test]
fn memory_of_the_host() {
    let _alone = alone();
    let ops = ops();
    assert_eq!(
        (ops.size as usize, ops.abi_version),
        (size_of_val(&ops), ffi::X86VCPU_ABI_VERSION)
    );
    let before = FRAMES.load(Ordering::SeqCst);
    unsafe {
        let frame = ops.alloc_frame.unwrap()(CTX);
        let frames = ops.alloc_contiguous_frames.unwrap()(CTX, 3, 0x2000);
        assert_eq!(*lock(&CALLS), ["alloc 3 0x2000"]);
        assert_eq!(FRAMES.load(Ordering::SeqCst), before + 4);
        assert_eq!(ops.phys_to_virt.unwrap()(CTX, frame) as u64, frame);
        ops.free_frame.unwrap()(CTX, frame);
        ops.free_contiguous_frames.unwrap()(CTX, frames, 3);
        assert_eq!(FRAMES.load(Ordering::SeqCst), before);
        NO_MEMORY.store(true, Ordering::SeqCst);
        assert_eq!(ops.alloc_frame.unwrap()(CTX), 0);
        assert_eq!(ops.alloc_contiguous_frames.unwrap()(CTX, 1, 4096), 0);
    }
}

#[test]
fn guest_memory_is_read_byte_by_byte() {
    let _alone = alone();
    let ops = ops();
    let mut bytes = [0u8; 16];
    unsafe {
        assert_eq!(
            ops.read_guest.unwrap()(CTX, number(9), 0x110, bytes.as_mut_ptr().cast(), 15),
            0
        );
        assert_eq!(bytes[..15], std::array::from_fn::<u8, 15, _>(|i| 0x10 + i as u8));
        assert_eq!(bytes[15], 0, "not one more");
        let status = ops.read_guest.unwrap()(CTX, number(9), 0xff8, bytes.as_mut_ptr().cast(), 9);
        assert_eq!(status, ffi::X86VCPU_ERR_BAD_STATE);
    }
}

#[test]
fn time_and_interrupts_of_the_host() {
    let _alone = alone();
    let ops = ops();
    NOW.store(77, Ordering::SeqCst);
    unsafe {
        assert_eq!(ops.nanos_to_ticks.unwrap()(CTX, 5), 15);
        assert_eq!(ops.time_ns.unwrap()(CTX), 77);
        ops.dispatch_external_interrupt.unwrap()(CTX, 0xec);
        ops.service_pending_interrupt.unwrap()(CTX);
        ops.send_interrupt.unwrap()(CTX, number(9), number(2), 0x41);
        ops.send_interrupt.unwrap()(CTX, number(9), number(2), 0xff);
    }
    assert_eq!(
        *lock(&CALLS),
        ["dispatch 0xec", "service", "inject 9 2 0x41", "inject 9 2 0xff"]
    );
    assert!(
        lock(&LOG)
            .last()
            .unwrap()
            .starts_with("WARN x86_vcpu::ops: interrupt 0xff to vCPU 2 of machine 9 is lost")
    );
    assert!(ops.acknowledge_interrupt.is_none());
}

#[test]
fn log_of_the_library() {
    let _alone = alone();
    let ops = ops();
    lock(&LOG).clear();
    for (level, name) in [(1, "ERROR"), (2, "WARN"), (3, "INFO"), (4, "DEBUG"), (5, "TRACE")] {
        unsafe { ops.log.unwrap()(CTX, level, c"text and more".as_ptr(), 4) };
        assert_eq!(lock(&LOG).pop().unwrap(), format!("{name} x86_vcpu: text"));
    }
    unsafe { ops.log.unwrap()(CTX, 1, c"\xff\n".as_ptr(), 2) };
    assert_eq!(lock(&LOG).pop().unwrap(), r"ERROR x86_vcpu: \xff\n");
}

/// What the library's timer function was called with, and what it answers.
struct Ticks {
    calls: AtomicU64,
    now: AtomicU64,
    answer: AtomicU64,
}

impl Ticks {
    fn new() -> Self {
        Self {
            calls: AtomicU64::new(0),
            now: AtomicU64::new(0),
            answer: AtomicU64::new(0),
        }
    }

    fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }
}

unsafe extern "C" fn tick(arg: *mut c_void, now: u64) -> u64 {
    let ticks = unsafe { &*arg.cast::<Ticks>() };
    ticks.calls.fetch_add(1, Ordering::SeqCst);
    ticks.now.store(now, Ordering::SeqCst);
    ticks.answer.load(Ordering::SeqCst)
}

fn start(ticks: &Ticks) -> (i32, ffi::x86vcpu_timer) {
    let mut timer = ffi::x86vcpu_timer { opaque: [0; 2] };
    let arg = ptr::from_ref(ticks).cast_mut().cast();
    let status = unsafe { fake_ops.timer_start.unwrap()(CTX, 1000, Some(tick), arg, &mut timer) };
    (status, timer)
}

fn cancel(timer: &ffi::x86vcpu_timer) -> i32 {
    unsafe { fake_ops.timer_cancel.unwrap()(CTX, timer) }
}

fn timer_id() -> u64 {
    *lock(&TIMERS).keys().next_back().unwrap()
}

#[test]
fn a_timer_fires_again_until_it_is_done() {
    let _alone = alone();
    ops();
    let ticks = Ticks::new();
    let (status, timer) = start(&ticks);
    assert_eq!(status, 0);
    let id = timer_id();
    NOW.store(1001, Ordering::SeqCst);
    ticks.answer.store(2000, Ordering::SeqCst);
    assert_eq!(fire(id), Some(X86TimerAction::Rearm(2000)));
    assert_eq!(ticks.now.load(Ordering::SeqCst), 1001);
    ticks.answer.store(0, Ordering::SeqCst);
    assert_eq!(fire(id), Some(X86TimerAction::Complete));
    assert_eq!(ticks.calls(), 2);
    assert_eq!(cancel(&timer), 0);
    assert_eq!(*lock(&CALLS), ["timer 1000"], "one that is done is not cancelled");
}

#[test]
fn a_cancelled_timer_is_cancelled_with_the_host() {
    let _alone = alone();
    ops();
    let ticks = Ticks::new();
    let (_, timer) = start(&ticks);
    assert_eq!(cancel(&timer), 0);
    assert_eq!(cancel(&timer), 0);
    assert_eq!(*lock(&CALLS), ["timer 1000", "cancel"]);
    assert_eq!((lock(&TIMERS).len(), ticks.calls()), (0, 0));
}

#[test]
fn a_timer_that_the_host_cannot_cancel_does_nothing() {
    let _alone = alone();
    ops();
    let ticks = Ticks::new();
    let (_, timer) = start(&ticks);
    CANCEL_FAILS.store(true, Ordering::SeqCst);
    assert_eq!(cancel(&timer), 0);
    assert_eq!(cancel(&timer), 0);
    assert_eq!(*lock(&CALLS), ["timer 1000", "cancel"], "the host is asked once");
    assert_eq!(fire(timer_id()), Some(X86TimerAction::Complete));
    assert_eq!(ticks.calls(), 0);
}

#[test]
fn a_timer_that_fires_before_it_is_registered() {
    let _alone = alone();
    ops();
    FIRES_AT_ONCE.store(true, Ordering::SeqCst);
    let ticks = Ticks::new();
    let (status, timer) = start(&ticks);
    assert_eq!((status, ticks.calls()), (0, 1));
    assert_eq!(cancel(&timer), 0);
    assert_eq!(*lock(&CALLS), ["timer 1000"]);
}

#[test]
fn a_host_without_timers() {
    let _alone = alone();
    ops();
    TIMERS_FAIL.store(true, Ordering::SeqCst);
    assert_eq!(start(&Ticks::new()).0, ffi::X86VCPU_ERR_TIMER_UNAVAILABLE);
}

#[test]
fn an_old_name_cancels_no_later_timer() {
    let _alone = alone();
    ops();
    let ticks = Ticks::new();
    let (_, old) = start(&ticks);
    fire(timer_id());
    let (_, new) = start(&ticks);
    assert_eq!(old.opaque[0], new.opaque[0], "the record is used again");
    assert_ne!(old.opaque[1], new.opaque[1]);
    assert_eq!(cancel(&old), 0);
    assert_eq!(fire(timer_id()), Some(X86TimerAction::Complete));
    assert_eq!(ticks.calls(), 2);
    assert_eq!(cancel(&ffi::x86vcpu_timer { opaque: [0; 2] }), 0);
}

/// Cancels from another thread while the timer fires: nothing is called after cancel has returned.
#[test]
fn cancel_waits_for_a_running_callback() {
    let _alone = alone();
    ops();
    for _ in 0..200 {
        let ticks = Box::new(Ticks::new());
        ticks.answer.store(1, Ordering::SeqCst);
        let (_, timer) = start(&ticks);
        let id = timer_id();
        std::thread::scope(|scope| {
            scope.spawn(|| while let Some(X86TimerAction::Rearm(_)) = fire(id) {});
            while ticks.calls() == 0 {
                std::thread::yield_now();
            }
            assert_eq!(cancel(&timer), 0);
            let calls = ticks.calls();
            for _ in 0..10 {
                std::thread::yield_now();
            }
            assert_eq!(ticks.calls(), calls);
        });
    }
}
