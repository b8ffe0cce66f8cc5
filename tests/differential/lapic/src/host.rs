// SPDX-License-Identifier: Apache-2.0
//! The host of both sides: a clock that only the test moves, timers that only the test fires, frames, and
//! a record of what each side asked for.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::c_void;

use x86_vlapic::{
    X86HostPhysAddr, X86HostVirtAddr, X86InterruptVector, X86TimerAction, X86TimerCallback, X86VcpuId,
    X86VlapicError, X86VlapicHostOps, X86VlapicResult, X86VmId,
};

pub type TimerFunction = unsafe extern "C" fn(arg: *mut c_void, now: u64) -> u64;

/// A vCPU's timer at the host. A local APIC has at most one: a second one is counted as a leak.
pub struct HostTimer<T> {
    pub handle: u64,
    pub deadline: u64,
    pub function: T,
}

#[derive(Clone, Copy)]
pub struct CallbackOfC {
    pub function: TimerFunction,
    pub arg: *mut c_void,
}

#[derive(Default)]
pub struct World {
    pub now: u64,
    /// Whose call is under way: timers are registered without saying for whom.
    pub vcpu: u32,
    pub vcpus: u32,
    pub frames_left: Option<u64>,
    pub frames: BTreeMap<u64, Box<Frame>>,
    pub ours: BTreeMap<u32, HostTimer<CallbackOfC>>,
    pub theirs: BTreeMap<u32, HostTimer<X86TimerCallback>>,
    pub next_handle: u64,
    /// The host can neither start nor cancel timers.
    pub timers_fail: bool,
    /// Timers that were started while another of the same vCPU had not ended.
    pub leaked_timers: u32,
    /// (vCPU, vector) that the crate had injected, and that the library sent through its host.
    pub injected: Vec<(u32, u8)>,
    pub sent: Vec<(u32, u8)>,
    pub notified: Vec<u32>,
}

#[repr(align(4096))]
pub struct Frame(#[allow(dead_code)] [u8; 4096]);

thread_local! {
    static WORLD: RefCell<World> = RefCell::new(World::default());
}

pub fn world<T>(f: impl FnOnce(&mut World) -> T) -> T {
    WORLD.with_borrow_mut(f)
}

/// A new world, without what the last one left behind.
pub fn begin(vcpus: u32) {
    let old = world(|w| {
        std::mem::replace(
            w,
            World {
                now: 1_000_000,
                vcpus,
                ..World::default()
            },
        )
    });
    drop(old);
}

impl World {
    fn take_frame(&mut self) -> Option<u64> {
        if let Some(left) = &mut self.frames_left {
            *left = left.checked_sub(1)?;
        }
        // What is in it may be anything.
        let frame = Box::new(Frame([0x5a; 4096]));
        let address = &raw const *frame as u64;
        self.frames.insert(address, frame);
        Some(address)
    }

    fn give_frame(&mut self, address: u64) {
        assert!(
            self.frames.remove(&address).is_some(),
            "frame {address:#x} was not given out"
        );
    }
}

// ---- The crate's -----------------------------------------------------------------------------------

pub struct Host;

impl X86VlapicHostOps for Host {
    type TimerHandle = u64;

    fn alloc_frame() -> Option<X86HostPhysAddr> {
        world(|w| w.take_frame()).map(|frame| X86HostPhysAddr::from_usize(frame as usize))
    }

    fn dealloc_frame(paddr: X86HostPhysAddr) {
        world(|w| w.give_frame(paddr.as_usize() as u64));
    }

    fn phys_to_virt(paddr: X86HostPhysAddr) -> X86HostVirtAddr {
        X86HostVirtAddr::from_usize(paddr.as_usize())
    }

    fn virt_to_phys(vaddr: X86HostVirtAddr) -> X86HostPhysAddr {
        X86HostPhysAddr::from_usize(vaddr.as_usize())
    }

    fn current_time_nanos() -> u64 {
        world(|w| w.now)
    }

    fn register_timer(_: u64, _: X86TimerCallback) -> X86VlapicResult<u64> {
        Err(X86VlapicError::Unsupported)
    }

    unsafe fn register_hard_timer(deadline: u64, function: X86TimerCallback) -> X86VlapicResult<u64> {
        if world(|w| w.timers_fail) {
            return Err(X86VlapicError::TimerUnavailable);
        }
        let (handle, old) = world(|w| {
            w.next_handle += 1;
            let timer = HostTimer {
                handle: w.next_handle,
                deadline,
                function,
            };
            let old = w.theirs.insert(w.vcpu, timer);
            w.leaked_timers += u32::from(old.is_some());
            (w.next_handle, old)
        });
        drop(old);
        Ok(handle)
    }

    fn cancel_timer(handle: u64) -> X86VlapicResult {
        if world(|w| w.timers_fail) {
            return Err(X86VlapicError::TimerUnavailable);
        }
        let old = world(|w| {
            let vcpu = w
                .theirs
                .iter()
                .find(|(_, timer)| timer.handle == handle)
                .map(|(&vcpu, _)| vcpu);
            vcpu.and_then(|vcpu| w.theirs.remove(&vcpu))
        });
        drop(old);
        Ok(())
    }

    fn current_vm_id() -> X86VmId {
        0
    }

    fn current_vm_vcpu_num() -> usize {
        world(|w| w.vcpus as usize)
    }

    fn current_vm_active_vcpus() -> usize {
        all_vcpus()
    }

    fn active_vcpus(_: X86VmId) -> Option<usize> {
        Some(all_vcpus())
    }

    fn inject_interrupt(_: X86VmId, vcpu: X86VcpuId, vector: X86InterruptVector) -> X86VlapicResult {
        world(|w| w.injected.push((vcpu as u32, vector)));
        Ok(())
    }
}

fn all_vcpus() -> usize {
    let vcpus = world(|w| w.vcpus);
    if vcpus == 64 { usize::MAX } else { (1 << vcpus) - 1 }
}

/// Calls the crate's timer function of `vcpu`, if its time has come.
pub fn fire_theirs(vcpu: u32) -> bool {
    let Some((now, mut timer)) = world(|w| {
        let due = w.theirs.get(&vcpu).is_some_and(|timer| timer.deadline <= w.now);
        due.then(|| (w.now, w.theirs.remove(&vcpu).expect("looked up above")))
    }) else {
        return false;
    };
    if let X86TimerAction::Rearm(deadline) = (timer.function)(now) {
        timer.deadline = deadline;
        world(|w| w.theirs.insert(vcpu, timer));
    }
    true
}

/// The same for the library's.
pub fn fire_ours(vcpu: u32) -> bool {
    let Some((now, mut timer)) = world(|w| {
        let due = w.ours.get(&vcpu).is_some_and(|timer| timer.deadline <= w.now);
        due.then(|| (w.now, w.ours.remove(&vcpu).expect("looked up above")))
    }) else {
        return false;
    };
    // SAFETY: the library asked for this call, and has not cancelled it.
    let next = unsafe { (timer.function.function)(timer.function.arg, now) };
    if next != 0 {
        timer.deadline = next;
        world(|w| w.ours.insert(vcpu, timer));
    }
    true
}

// ---- The library's -----------------------------------------------------------------------------------

/// X86VCPU_ERR_UNSUPPORTED.
const FAILURE: i32 = -3;

#[repr(C)]
pub struct TimerOfC {
    opaque: [u64; 2],
}

#[repr(C)]
pub struct HostOfC {
    alloc_frame: extern "C" fn(*mut c_void) -> u64,
    free_frame: extern "C" fn(*mut c_void, u64),
    time_ns: extern "C" fn(*mut c_void) -> u64,
    tsc: extern "C" fn() -> u64,
    timer_start: extern "C" fn(*mut c_void, u64, TimerFunction, *mut c_void, *mut TimerOfC) -> i32,
    timer_cancel: extern "C" fn(*mut c_void, *const TimerOfC) -> i32,
    notify: extern "C" fn(*mut c_void, *mut c_void, *mut c_void, u32),
    send_interrupt: Option<extern "C" fn(*mut c_void, *mut c_void, *mut c_void, u32)>,
}

extern "C" fn alloc_frame(_: *mut c_void) -> u64 {
    world(|w| w.take_frame()).unwrap_or(0)
}

extern "C" fn free_frame(_: *mut c_void, address: u64) {
    world(|w| w.give_frame(address));
}

extern "C" fn time_ns(_: *mut c_void) -> u64 {
    world(|w| w.now)
}

extern "C" fn tsc() -> u64 {
    world(|w| w.now)
}

extern "C" fn timer_start(
    _: *mut c_void,
    deadline: u64,
    function: TimerFunction,
    arg: *mut c_void,
    timer: *mut TimerOfC,
) -> i32 {
    if world(|w| w.timers_fail) {
        return FAILURE;
    }
    world(|w| {
        w.next_handle += 1;
        let handle = w.next_handle;
        // SAFETY: the library's, to be filled in.
        unsafe { (*timer).opaque = [handle, u64::from(w.vcpu)] };
        let started = HostTimer {
            handle,
            deadline,
            function: CallbackOfC { function, arg },
        };
        w.leaked_timers += u32::from(w.ours.insert(w.vcpu, started).is_some());
    });
    0
}

extern "C" fn timer_cancel(_: *mut c_void, timer: *const TimerOfC) -> i32 {
    if world(|w| w.timers_fail) {
        return FAILURE;
    }
    // SAFETY: what timer_start filled in.
    let [handle, vcpu] = unsafe { (*timer).opaque };
    world(|w| {
        if w.ours
            .get(&(vcpu as u32))
            .is_some_and(|timer| timer.handle == handle)
        {
            w.ours.remove(&(vcpu as u32));
        }
    });
    0
}

extern "C" fn notify(_: *mut c_void, _: *mut c_void, vcpu: *mut c_void, _: u32) {
    world(|w| w.notified.push(vcpu as u32));
}

extern "C" fn send_interrupt(_: *mut c_void, _: *mut c_void, vcpu: *mut c_void, vector: u32) {
    world(|w| w.sent.push((vcpu as u32, vector as u8)));
}

/// `sends`: messages between vCPUs go through the host, as with the crate.
pub fn host_of_c(sends: bool) -> HostOfC {
    HostOfC {
        alloc_frame,
        free_frame,
        time_ns,
        tsc,
        timer_start,
        timer_cancel,
        notify,
        send_interrupt: sends.then_some(send_interrupt),
    }
}
