// SPDX-License-Identifier: Apache-2.0
//! Timers of the C library on the host's `register_hard_timer`.
//!
//! The library wants to be sure that after a cancellation its function neither runs nor will be called: it
//! frees what the function works on. The host trait promises less: its callback may be running when
//! `cancel_timer` returns, may come later, and `cancel_timer` may fail. So each registration has a record that its
//! callback and the library's cancellation share. The library's name for a timer may outlive the registration, so
//! records are never freed: they are used again under another generation.

use alloc::boxed::Box;
use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::hint::spin_loop;
use core::mem::MaybeUninit;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use x86_vcpu_sys as ffi;
use x86_vlapic::X86TimerAction;
use x86_vlapic::host::X86VlapicHostOps;

use crate::cpu::Section;
use crate::status::status_of;
use crate::{X86HostOps, X86VcpuError};

type Function = unsafe extern "C" fn(*mut c_void, u64) -> u64;

/// Room for most hosts' handles. A larger one is in a box, whose address is here.
type HandleBytes = [u64; 8];

/// A host's handle, by the type of which it was stored.
struct Stored {
    bytes: MaybeUninit<HandleBytes>,
    /// Frees the box in `bytes`, if it is one.
    discard: Option<unsafe fn(&MaybeUninit<HandleBytes>)>,
}

impl Stored {
    const NONE: Self = Self {
        bytes: MaybeUninit::uninit(),
        discard: None,
    };

    const fn fits<T>() -> bool {
        size_of::<T>() <= size_of::<HandleBytes>() && align_of::<T>() <= align_of::<HandleBytes>()
    }

    fn put<T: Copy>(&mut self, handle: T) {
        self.clear();
        let bytes = self.bytes.as_mut_ptr();
        // SAFETY: a handle that fits, or an address.
        unsafe {
            if Self::fits::<T>() {
                bytes.cast::<T>().write(handle);
            } else {
                bytes.cast::<*mut T>().write(Box::into_raw(Box::new(handle)));
                self.discard = Some(discard::<T>);
            }
        }
    }

    /// # Safety
    ///
    /// A `T` has been put, and nothing since.
    unsafe fn get<T: Copy>(&self) -> T {
        let bytes = self.bytes.as_ptr();
        // SAFETY: the caller's word.
        unsafe {
            if Self::fits::<T>() {
                bytes.cast::<T>().read()
            } else {
                *bytes.cast::<*mut T>().read()
            }
        }
    }

    fn clear(&mut self) {
        if let Some(discard) = self.discard.take() {
            // SAFETY: of the type that was put.
            unsafe { discard(&self.bytes) };
        }
    }
}

unsafe fn discard<T>(bytes: &MaybeUninit<HandleBytes>) {
    // SAFETY: the caller has put one, and forgets it.
    drop(unsafe { Box::from_raw(bytes.as_ptr().cast::<*mut T>().read()) });
}

struct Record {
    /// Bits 63:32 the generation; RETIRED; RUNNING; the lowest bits count who holds the record.
    state: AtomicU64,
    /// The host's handle, written by `start` before anybody else knows the record's name. It stays until the record is used
    /// again.
    handle: UnsafeCell<Stored>,
    next: *mut Record,
}

/// The function will not be called any more.
const RETIRED: u64 = 1 << 17;
/// The function is being called.
const RUNNING: u64 = 1 << 16;
const HOLDERS: u64 = RUNNING - 1;
const GENERATION_SHIFT: u32 = 32;

/// Every record, the newest first.
static RECORDS: AtomicPtr<Record> = AtomicPtr::new(ptr::null_mut());

/// Replaces the state by what `update` makes of it, unless that is None. What was before. (The standard library's
/// method for it is being renamed.)
fn change(state: &AtomicU64, order: Ordering, update: impl Fn(u64) -> Option<u64>) -> Option<u64> {
    let mut before = state.load(Ordering::Relaxed);
    loop {
        match state.compare_exchange_weak(before, update(before)?, order, Ordering::Relaxed) {
            Ok(_) => return Some(before),
            Err(now) => before = now,
        }
    }
}

/// One holder's share of a record.
struct Share(&'static Record);

// SAFETY: the state is atomic, the handle is written while only the writer holds its name.
unsafe impl Send for Share {}

impl Drop for Share {
    fn drop(&mut self) {
        self.0.state.fetch_sub(1, Ordering::Release);
    }
}

impl Share {
    /// A record that nobody holds, under a new generation, for two holders.
    fn take() -> (Self, Self, u64) {
        let (record, generation) = free_record().unwrap_or_else(new_record);
        (Self(record), Self(record), generation)
    }

    /// Another share of the registration that `generation` names, unless it is over.
    fn join(record: &'static Record, generation: u64) -> Option<Self> {
        let update = |state: u64| {
            let alive = state >> GENERATION_SHIFT == generation && state & HOLDERS != 0;
            alive.then(|| state + 1)
        };
        change(&record.state, Ordering::Acquire, update)?;
        Some(Self(record))
    }

    /// What was before.
    fn retire(&self) -> u64 {
        self.0.state.fetch_or(RETIRED, Ordering::AcqRel)
    }

    fn begin(&self) -> bool {
        let update = |state: u64| (state & RETIRED == 0).then_some(state | RUNNING);
        change(&self.0.state, Ordering::Acquire, update).is_some()
    }

    /// Whether it may begin again.
    fn end(&self, done: bool) -> bool {
        let update = |state: u64| Some(state & !RUNNING | if done { RETIRED } else { 0 });
        let before = change(&self.0.state, Ordering::Release, update);
        !done && before.is_some_and(|state| state & RETIRED == 0)
    }

    fn wait_until_not_running(&self) {
        while self.0.state.load(Ordering::Acquire) & RUNNING != 0 {
            spin_loop();
        }
    }
}

fn next_generation(state: u64) -> u64 {
    // 0 never comes: a zeroed name is none.
    ((state >> GENERATION_SHIFT) as u32).wrapping_add(1).max(1).into()
}

fn free_record() -> Option<(&'static Record, u64)> {
    let mut record = RECORDS.load(Ordering::Acquire);
    // SAFETY: records are never freed, and `next` does not change once they are in the list.
    while let Some(candidate) = unsafe { record.as_ref() } {
        let state = candidate.state.load(Ordering::Relaxed);
        let generation = next_generation(state);
        let taken = generation << GENERATION_SHIFT | 2;
        let free = state & HOLDERS == 0;
        if free
            && candidate
                .state
                .compare_exchange(state, taken, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
        {
            return Some((candidate, generation));
        }
        record = candidate.next;
    }
    None
}

fn new_record() -> (&'static Record, u64) {
    let record = Box::into_raw(Box::new(Record {
        state: AtomicU64::new(1 << GENERATION_SHIFT | 2),
        handle: UnsafeCell::new(Stored::NONE),
        next: RECORDS.load(Ordering::Relaxed),
    }));
    // SAFETY: ours alone until it is in the list.
    unsafe {
        while let Err(head) =
            RECORDS.compare_exchange_weak((*record).next, record, Ordering::Release, Ordering::Relaxed)
        {
            (*record).next = head;
        }
        (&*record, 1)
    }
}

struct Callback {
    share: Share,
    function: Function,
    arg: *mut c_void,
}

// SAFETY: the library says that its function may be called on any CPU.
unsafe impl Send for Callback {}

impl Callback {
    fn fire(&mut self, now: u64) -> X86TimerAction {
        if !self.share.begin() {
            return X86TimerAction::Complete;
        }
        let _host = Section::of_the_host();
        // SAFETY: the library keeps `arg` alive until the function is done or the timer cancelled.
        let next = unsafe { (self.function)(self.arg, now) };
        if self.share.end(next == 0) {
            X86TimerAction::Rearm(next)
        } else {
            X86TimerAction::Complete
        }
    }
}

/// `host_ops.timer_start`
pub(crate) unsafe extern "C" fn start<H: X86HostOps>(
    _: *mut c_void,
    deadline: u64,
    function: ffi::x86vcpu_timer_function,
    arg: *mut c_void,
    timer: *mut ffi::x86vcpu_timer,
) -> i32 {
    let Some(function) = function else {
        return ffi::X86VCPU_ERR_INVALID_INPUT;
    };
    let (ours, share, generation) = Share::take();
    let mut callback = Callback { share, function, arg };
    let boxed = Box::new(move |now| callback.fire(now));
    // SAFETY: the callback is short and touches the record and the library's timer only.
    match unsafe { <H as X86VlapicHostOps>::register_hard_timer(deadline, boxed) } {
        Ok(handle) => {
            // SAFETY: no other holder reads it before `timer` is known; `timer` is the caller's.
            unsafe {
                (*ours.0.handle.get()).put(handle);
                (*timer).opaque = [ptr::from_ref(ours.0) as u64, generation];
            }
            ffi::X86VCPU_OK
        }
        Err(error) => {
            ours.retire();
            status_of(X86VcpuError::from(error))
        }
    }
}

/// `host_ops.timer_cancel`. Cannot fail: a callback that the host keeps does nothing any more.
pub(crate) unsafe extern "C" fn cancel<H: X86HostOps>(
    _: *mut c_void,
    timer: *const ffi::x86vcpu_timer,
) -> i32 {
    // SAFETY: the caller's, as `start` filled it in.
    let [record, generation] = unsafe { (*timer).opaque };
    // SAFETY: 0, or the address of a record, which are never freed.
    let Some(record) = (unsafe { (record as *const Record).as_ref() }) else {
        return ffi::X86VCPU_OK;
    };
    let Some(share) = Share::join(record, generation) else {
        return ffi::X86VCPU_OK;
    };
    let before = share.retire();
    share.wait_until_not_running();
    if before & RETIRED == 0 {
        // SAFETY: `start` wrote it before this name got out, and the record stays this one while we share it.
        let handle = unsafe { (*record.handle.get()).get::<H::TimerHandle>() };
        if let Err(error) = <H as X86VlapicHostOps>::cancel_timer(handle) {
            log::debug!("the host cannot cancel a timer, it will end by itself: {error:?}");
        }
    }
    ffi::X86VCPU_OK
}
