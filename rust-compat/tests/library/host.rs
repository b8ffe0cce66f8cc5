// SPDX-License-Identifier: Apache-2.0
//! A host whose timers fire when the test says so.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use x86_vcpu::*;
use x86_vlapic::{X86TimerCallback, X86VlapicError, X86VlapicResult};

/// A host whose timers fire when the test says so.
#[derive(Debug)]
pub struct Host;

/// Another one, with large handles.
#[derive(Debug)]
pub struct OtherHost;

pub type Callback = Arc<Mutex<Option<X86TimerCallback>>>;

#[derive(Default)]
pub struct HostState {
    pub timers: Vec<(u64, Callback)>,
    pub cancelled: Vec<usize>,
    pub sent: Vec<(usize, usize, u8)>,
    pub dispatched: Vec<u8>,
    pub serviced: usize,
    pub freed: Vec<(usize, usize)>,
}

pub static HOST: Mutex<Option<HostState>> = Mutex::new(None);
/// register_hard_timer calls back at once.
pub static EAGER: AtomicBool = AtomicBool::new(false);
pub static REFUSES: AtomicBool = AtomicBool::new(false);
/// inject_interrupt answers that the machine takes none.
pub static STOPPED: AtomicBool = AtomicBool::new(false);

pub fn host<T>(f: impl FnOnce(&mut HostState) -> T) -> T {
    f(HOST.lock().unwrap().get_or_insert_with(HostState::default))
}

/// The names that a host gives to its timers.
pub trait Handle: Copy + Send + 'static {
    fn new(number: usize) -> Self;
    fn number(self) -> usize;
}

/// Too large for two words of the library's: the crate keeps it elsewhere.
#[derive(Clone, Copy)]
pub struct Small(usize, [u64; 4]);

/// Too large for the crate's place, too, and of an alignment that is rare.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub struct Large(usize, [u64; 40]);

impl Handle for Small {
    fn new(number: usize) -> Self {
        Self(number, [7; 4])
    }
    fn number(self) -> usize {
        assert_eq!(self.1, [7; 4]);
        self.0
    }
}

impl Handle for Large {
    fn new(number: usize) -> Self {
        Self(number, [number as u64 + 9; 40])
    }
    fn number(self) -> usize {
        assert_eq!(self.1, [self.0 as u64 + 9; 40]);
        self.0
    }
}

macro_rules! hosts {
    ($($host:ident $handle:ident)*) => {
        $(
            impl x86_vlapic::host::X86VlapicHostOps for $host {
                type TimerHandle = $handle;
                fn alloc_frame() -> Option<x86_vlapic::X86HostPhysAddr> { None }
                fn dealloc_frame(_: x86_vlapic::X86HostPhysAddr) {}
                fn phys_to_virt(p: x86_vlapic::X86HostPhysAddr) -> x86_vlapic::X86HostVirtAddr {
                    x86_vlapic::X86HostVirtAddr::from_usize(p.as_usize())
                }
                fn virt_to_phys(v: x86_vlapic::X86HostVirtAddr) -> x86_vlapic::X86HostPhysAddr {
                    x86_vlapic::X86HostPhysAddr::from_usize(v.as_usize())
                }
                fn current_time_nanos() -> u64 { 123 }
                fn register_timer(_: u64, _: X86TimerCallback) -> X86VlapicResult<$handle> {
                    panic!("not for timers of a local APIC")
                }
                unsafe fn register_hard_timer(
                    deadline: u64,
                    mut callback: X86TimerCallback,
                ) -> X86VlapicResult<$handle> {
                    if REFUSES.load(Ordering::Relaxed) {
                        return Err(X86VlapicError::TimerUnavailable);
                    }
                    if EAGER.load(Ordering::Relaxed) {
                        callback(deadline);
                    }
                    Ok(host(|state| {
                        state.timers.push((deadline, Arc::new(Mutex::new(Some(callback)))));
                        <$handle>::new(state.timers.len() - 1)
                    }))
                }
                fn cancel_timer(handle: $handle) -> X86VlapicResult {
                    host(|state| state.cancelled.push(handle.number()));
                    Err(X86VlapicError::TimerUnavailable)
                }
                fn current_vm_id() -> usize { 0 }
                fn current_vm_vcpu_num() -> usize { 1 }
                fn current_vm_active_vcpus() -> usize { 1 }
                fn active_vcpus(_: usize) -> Option<usize> { Some(1) }
                fn inject_interrupt(vm: usize, vcpu: usize, vector: u8) -> X86VlapicResult {
                    host(|state| state.sent.push((vm, vcpu, vector)));
                    if STOPPED.load(Ordering::Relaxed) { Err(X86VlapicError::BadState) } else { Ok(()) }
                }
            }

            impl X86HostOps for $host {
                fn alloc_frame() -> Option<X86HostPhysAddr> { Some(0x5000.into()) }
                fn dealloc_frame(p: X86HostPhysAddr) { host(|state| state.freed.push((p.into(), 1))) }
                fn alloc_contiguous_frames(count: usize, align: usize) -> Option<X86HostPhysAddr> {
                    (count < 9).then_some(align.into())
                }
                fn dealloc_contiguous_frames(p: X86HostPhysAddr, count: usize) {
                    host(|state| state.freed.push((p.into(), count)));
                }
                fn phys_to_virt(p: X86HostPhysAddr) -> X86HostVirtAddr { (p.as_usize() + 0x100).into() }
                fn read_guest_u8(p: X86GuestPhysAddr) -> X86VcpuResult<u8> {
                    if p.as_usize() < 0x1000 { Ok(p.as_usize() as u8) } else { Err(X86VcpuError::BadState) }
                }
                fn nanos_to_ticks(nanos: u64) -> u64 { nanos * 3 }
                #[cfg(not(x86_vcpu_0_6))]
                fn service_pending_host_interrupt() { host(|state| state.serviced += 1) }
                #[cfg(not(x86_vcpu_0_6))]
                fn dispatch_acknowledged_host_interrupt(vector: u8) {
                    host(|state| state.dispatched.push(vector));
                }
                #[cfg(x86_vcpu_0_6)]
                fn poll_host_interrupt() -> Option<u8> {
                    host(|state| state.serviced += 1);
                    None
                }
            }
        )*
    };
}

hosts! { Host Small OtherHost Large }
