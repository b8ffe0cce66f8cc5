// SPDX-License-Identifier: Apache-2.0
//! What the crate asks of its host.

use core::cell::UnsafeCell;
use core::ffi::c_void;

use x86_vcpu::{X86GuestPhysAddr, X86HostOps, X86HostPhysAddr, X86HostVirtAddr, X86VcpuError, X86VcpuResult};
use x86_vlapic::host::X86VlapicHostOps;
use x86_vlapic::{X86TimerAction, X86TimerCallback, X86VlapicError, X86VlapicResult};

use crate::platform::{self, FRAME};

/// The one host, which has one machine of one vCPU.
pub struct Host;

pub const VM_ID: usize = 1;

fn alloc(count: usize, align: usize) -> Option<usize> {
    platform::frame_alloc(count as u64, align as u64).map(|hpa| hpa as usize)
}

impl X86HostOps for Host {
    fn alloc_frame() -> Option<X86HostPhysAddr> {
        alloc(1, FRAME as usize).map(Into::into)
    }

    fn dealloc_frame(paddr: X86HostPhysAddr) {
        platform::frame_free(paddr.as_usize() as u64, 1);
    }

    fn alloc_contiguous_frames(count: usize, align: usize) -> Option<X86HostPhysAddr> {
        alloc(count, align).map(Into::into)
    }

    fn dealloc_contiguous_frames(paddr: X86HostPhysAddr, count: usize) {
        platform::frame_free(paddr.as_usize() as u64, count as u64);
    }

    fn phys_to_virt(paddr: X86HostPhysAddr) -> X86HostVirtAddr {
        paddr.as_usize().into()
    }

    /// The vCPU's configuration names all of its memory.
    fn read_guest_u8(_: X86GuestPhysAddr) -> X86VcpuResult<u8> {
        Err(X86VcpuError::InvalidData)
    }

    fn nanos_to_ticks(nanos: u64) -> u64 {
        let khz = platform::tsc_khz();
        nanos / 1_000_000 * khz + nanos % 1_000_000 * khz / 1_000_000
    }

    fn service_pending_host_interrupt() {
        platform::take_interrupts();
    }

    fn dispatch_acknowledged_host_interrupt(vector: u8) {
        platform::dispatch(vector);
    }
}

/// The timers under way.
const TIMERS: usize = 8;

struct Slot {
    callback: Option<X86TimerCallback>,
    timer: platform::Timer,
    generation: u64,
}

struct Timers(UnsafeCell<[Slot; TIMERS]>);

// SAFETY: there is one CPU, and interrupts come only where Rust code waits for them.
unsafe impl Sync for Timers {}

static SLOTS: Timers = Timers(UnsafeCell::new(
    [const {
        Slot {
            callback: None,
            timer: platform::Timer::NONE,
            generation: 0,
        }
    }; TIMERS],
));

fn slot(index: usize) -> *mut Slot {
    assert!(index < TIMERS);
    // SAFETY: within the array.
    unsafe { SLOTS.0.get().cast::<Slot>().add(index) }
}

/// Whether a timer will expire some day.
pub fn timer_is_running() -> bool {
    // SAFETY: see Timers.
    (0..TIMERS).any(|index| unsafe { (*slot(index)).callback.is_some() })
}

/// What the platform calls in interrupt context: `arg` is the slot's number.
unsafe extern "C" fn expired(arg: *mut c_void, now: u64) -> u64 {
    // SAFETY: see Timers.
    let slot = unsafe { &mut *slot(arg as usize) };
    match slot.callback.as_mut().map(|callback| callback(now)) {
        Some(X86TimerAction::Rearm(deadline)) => deadline,
        _ => {
            slot.callback = None;
            0
        }
    }
}

impl X86VlapicHostOps for Host {
    /// Slot and generation: the crate may cancel a timer that is over.
    type TimerHandle = (usize, u64);

    fn alloc_frame() -> Option<x86_vlapic::X86HostPhysAddr> {
        alloc(1, FRAME as usize).map(Into::into)
    }

    fn dealloc_frame(paddr: x86_vlapic::X86HostPhysAddr) {
        platform::frame_free(paddr.as_usize() as u64, 1);
    }

    fn phys_to_virt(paddr: x86_vlapic::X86HostPhysAddr) -> x86_vlapic::X86HostVirtAddr {
        paddr.as_usize().into()
    }

    fn virt_to_phys(vaddr: x86_vlapic::X86HostVirtAddr) -> x86_vlapic::X86HostPhysAddr {
        vaddr.as_usize().into()
    }

    fn current_time_nanos() -> u64 {
        platform::time_ns()
    }

    fn register_timer(deadline: u64, callback: X86TimerCallback) -> X86VlapicResult<Self::TimerHandle> {
        // SAFETY: all timers of this host are hard ones; this callback has fewer duties.
        unsafe { Self::register_hard_timer(deadline, callback) }
    }

    unsafe fn register_hard_timer(
        deadline: u64,
        callback: X86TimerCallback,
    ) -> X86VlapicResult<Self::TimerHandle> {
        let index = (0..TIMERS)
            .find(|&index| unsafe { (*slot(index)).callback.is_none() })
            .ok_or(X86VlapicError::TimerUnavailable)?;
        // SAFETY: see Timers; the slot is free.
        let free = unsafe { &mut *slot(index) };
        free.callback = Some(callback);
        free.generation += 1;
        match unsafe { platform::timer_start(deadline, expired, index as *mut c_void) } {
            Some(timer) => free.timer = timer,
            None => {
                free.callback = None;
                return Err(X86VlapicError::TimerUnavailable);
            }
        }
        Ok((index, free.generation))
    }

    fn cancel_timer((index, generation): Self::TimerHandle) -> X86VlapicResult {
        // SAFETY: see Timers.
        let slot = unsafe { &mut *slot(index) };
        if slot.generation == generation && slot.callback.is_some() {
            if !platform::timer_cancel(&slot.timer) {
                return Err(X86VlapicError::BadState);
            }
            slot.callback = None;
        }
        Ok(())
    }

    fn current_vm_id() -> usize {
        VM_ID
    }

    fn current_vm_vcpu_num() -> usize {
        1
    }

    fn current_vm_active_vcpus() -> usize {
        1
    }

    fn active_vcpus(vm_id: usize) -> Option<usize> {
        (vm_id == VM_ID).then_some(1)
    }

    /// An interrupt from one vCPU to another, of which there are none.
    fn inject_interrupt(_: usize, _: usize, _: u8) -> X86VlapicResult {
        Err(X86VlapicError::Unsupported)
    }
}
