// SPDX-License-Identifier: Apache-2.0
//! A host for the tests: frames on the heap, timers that fire when a test says so, and a log that can be read.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use x86_vcpu::{X86GuestPhysAddr, X86HostOps, X86HostPhysAddr, X86HostVirtAddr, X86VcpuError, X86VcpuResult};
use x86_vlapic::{X86TimerAction, X86TimerCallback, X86VlapicError, X86VlapicResult, host::X86VlapicHostOps};

/// Frames that are out.
pub static FRAMES: AtomicIsize = AtomicIsize::new(0);
pub static NO_MEMORY: AtomicBool = AtomicBool::new(false);
pub static NOW: AtomicU64 = AtomicU64::new(0);
pub static LOG: Mutex<Vec<String>> = Mutex::new(Vec::new());
/// What the host was asked to do.
pub static CALLS: Mutex<Vec<String>> = Mutex::new(Vec::new());
pub static TIMERS: Mutex<BTreeMap<u64, Option<X86TimerCallback>>> = Mutex::new(BTreeMap::new());
/// The next timer fires before it is registered.
pub static FIRES_AT_ONCE: AtomicBool = AtomicBool::new(false);
pub static TIMERS_FAIL: AtomicBool = AtomicBool::new(false);
pub static CANCEL_FAILS: AtomicBool = AtomicBool::new(false);

static ALONE: Mutex<()> = Mutex::new(());

struct Logger;

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata) -> bool {
        true
    }

    fn log(&self, record: &log::Record) {
        let line = format!("{} {}: {}", record.level(), record.target(), record.args());
        lock(&LOG).push(line);
    }

    fn flush(&self) {}
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One test at a time: the host and the C library behind are one for all.
pub fn alone() -> MutexGuard<'static, ()> {
    static LOGGER: Once = Once::new();
    LOGGER.call_once(|| {
        log::set_logger(&Logger).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
    });
    let guard = lock(&ALONE);
    lock(&LOG).clear();
    lock(&CALLS).clear();
    lock(&TIMERS).clear();
    for flag in [&NO_MEMORY, &FIRES_AT_ONCE, &TIMERS_FAIL, &CANCEL_FAILS] {
        flag.store(false, Ordering::SeqCst);
    }
    guard
}

fn call(text: String) {
    lock(&CALLS).push(text);
}

fn layout(frames: usize) -> Layout {
    Layout::from_size_align(frames * 4096, 4096).unwrap()
}

fn alloc(frames: usize) -> Option<usize> {
    if NO_MEMORY.load(Ordering::SeqCst) {
        return None;
    }
    FRAMES.fetch_add(frames as isize, Ordering::SeqCst);
    Some(unsafe { alloc_zeroed(layout(frames)) } as usize)
}

fn free(addr: usize, frames: usize) {
    FRAMES.fetch_sub(frames as isize, Ordering::SeqCst);
    unsafe { dealloc(addr as *mut u8, layout(frames)) };
}

/// A handle of 16 bytes with padding, as a real host's may be.
#[derive(Clone, Copy, Debug)]
pub struct TimerHandle {
    _cpu: u32,
    id: u64,
}

/// Calls the callback of timer `id`, from which it is taken for the time being.
pub fn fire(id: u64) -> Option<X86TimerAction> {
    let mut callback = lock(&TIMERS).get_mut(&id)?.take()?;
    let action = callback(NOW.load(Ordering::SeqCst));
    if let X86TimerAction::Rearm(_) = action {
        lock(&TIMERS).insert(id, Some(callback));
    }
    Some(action)
}

pub struct Host<const N: usize = 0>;

impl<const N: usize> X86VlapicHostOps for Host<N> {
    type TimerHandle = TimerHandle;

    fn alloc_frame() -> Option<x86_vlapic::X86HostPhysAddr> {
        panic!("the crate has its own allocator")
    }

    fn dealloc_frame(_: x86_vlapic::X86HostPhysAddr) {
        panic!("the crate has its own allocator")
    }

    fn phys_to_virt(paddr: x86_vlapic::X86HostPhysAddr) -> x86_vlapic::X86HostVirtAddr {
        x86_vlapic::X86HostVirtAddr::from_usize(paddr.as_usize())
    }

    fn virt_to_phys(vaddr: x86_vlapic::X86HostVirtAddr) -> x86_vlapic::X86HostPhysAddr {
        x86_vlapic::X86HostPhysAddr::from_usize(vaddr.as_usize())
    }

    fn current_time_nanos() -> u64 {
        NOW.load(Ordering::SeqCst)
    }

    fn register_timer(_: u64, _: X86TimerCallback) -> X86VlapicResult<Self::TimerHandle> {
        panic!("only hard timers")
    }

    unsafe fn register_hard_timer(deadline: u64, callback: X86TimerCallback) -> X86VlapicResult<TimerHandle> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        if TIMERS_FAIL.load(Ordering::SeqCst) {
            return Err(X86VlapicError::TimerUnavailable);
        }
        let id = NEXT.fetch_add(1, Ordering::SeqCst);
        call(format!("timer {deadline}"));
        lock(&TIMERS).insert(id, Some(callback));
        if FIRES_AT_ONCE.load(Ordering::SeqCst) {
            fire(id);
        }
        Ok(TimerHandle { _cpu: 0, id })
    }

    fn cancel_timer(handle: TimerHandle) -> X86VlapicResult {
        call("cancel".into());
        if CANCEL_FAILS.load(Ordering::SeqCst) {
            return Err(X86VlapicError::BadState);
        }
        lock(&TIMERS).remove(&handle.id);
        Ok(())
    }

    fn current_vm_id() -> usize {
        0
    }

    fn current_vm_vcpu_num() -> usize {
        1
    }

    fn current_vm_active_vcpus() -> usize {
        1
    }

    fn active_vcpus(_: usize) -> Option<usize> {
        Some(1)
    }

    fn inject_interrupt(vm_id: usize, vcpu_id: usize, vector: u8) -> X86VlapicResult {
        call(format!("inject {vm_id} {vcpu_id} {vector:#x}"));
        if vector == 0xff {
            Err(X86VlapicError::BadState)
        } else {
            Ok(())
        }
    }
}

impl<const N: usize> X86HostOps for Host<N> {
    fn alloc_frame() -> Option<X86HostPhysAddr> {
        alloc(1).map(X86HostPhysAddr::from)
    }

    fn dealloc_frame(paddr: X86HostPhysAddr) {
        free(paddr.as_usize(), 1);
    }

    fn alloc_contiguous_frames(count: usize, align: usize) -> Option<X86HostPhysAddr> {
        call(format!("alloc {count} {align:#x}"));
        alloc(count).map(X86HostPhysAddr::from)
    }

    fn dealloc_contiguous_frames(paddr: X86HostPhysAddr, count: usize) {
        free(paddr.as_usize(), count);
    }

    fn phys_to_virt(paddr: X86HostPhysAddr) -> X86HostVirtAddr {
        X86HostVirtAddr::from_usize(paddr.as_usize())
    }

    fn read_guest_u8(paddr: X86GuestPhysAddr) -> X86VcpuResult<u8> {
        if paddr.as_usize() >= 0x1000 {
            Err(X86VcpuError::BadState)
        } else {
            Ok(paddr.as_usize() as u8)
        }
    }

    fn nanos_to_ticks(nanos: u64) -> u64 {
        nanos * 3
    }

    fn service_pending_host_interrupt() {
        call("service".into());
    }

    fn dispatch_acknowledged_host_interrupt(vector: u8) {
        call(format!("dispatch {vector:#x}"));
    }
}
