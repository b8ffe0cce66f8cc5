// SPDX-License-Identifier: Apache-2.0
//! One host, for both crates: two frames.

use std::{cell::RefCell, ptr::addr_of_mut};

use x86_vlapic::*;

thread_local! {
    static FREE: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
    static FREED: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

pub fn reset() {
    FREE.set(vec![0x2000, 0x1000]);
    FREED.take();
}

pub fn freed() -> Vec<usize> {
    FREED.take()
}

fn memory(frame: usize) -> usize {
    static mut MEMORY: [[u8; 4096]; 2] = [[1; 4096]; 2];
    addr_of_mut!(MEMORY) as usize + frame - 0x1000
}

macro_rules! host {
    ($host:ident $it:ident) => {
        #[derive(Debug)]
        pub struct $host;

        impl x86_vlapic::host::X86VlapicHostOps for $host {
            type TimerHandle = u64;
            fn alloc_frame() -> Option<X86HostPhysAddr> {
                None
            }
            fn dealloc_frame(_: X86HostPhysAddr) {}
            fn phys_to_virt(p: X86HostPhysAddr) -> X86HostVirtAddr {
                p.as_usize().into()
            }
            fn virt_to_phys(v: X86HostVirtAddr) -> X86HostPhysAddr {
                v.as_usize().into()
            }
            fn current_time_nanos() -> u64 {
                0
            }
            fn register_timer(_: u64, _: X86TimerCallback) -> X86VlapicResult<u64> {
                Err(X86VlapicError::TimerUnavailable)
            }
            unsafe fn register_hard_timer(_: u64, _: X86TimerCallback) -> X86VlapicResult<u64> {
                Err(X86VlapicError::TimerUnavailable)
            }
            fn cancel_timer(_: u64) -> X86VlapicResult {
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
            fn inject_interrupt(_: usize, _: usize, _: u8) -> X86VlapicResult {
                Ok(())
            }
        }

        impl $it::X86HostOps for $host {
            fn alloc_frame() -> Option<$it::X86HostPhysAddr> {
                FREE.with_borrow_mut(Vec::pop).map(Into::into)
            }
            fn dealloc_frame(p: $it::X86HostPhysAddr) {
                FREED.with_borrow_mut(|freed| freed.push(p.into()));
            }
            fn alloc_contiguous_frames(_: usize, _: usize) -> Option<$it::X86HostPhysAddr> {
                None
            }
            fn dealloc_contiguous_frames(_: $it::X86HostPhysAddr, _: usize) {}
            fn phys_to_virt(p: $it::X86HostPhysAddr) -> $it::X86HostVirtAddr {
                memory(p.into()).into()
            }
            fn read_guest_u8(_: $it::X86GuestPhysAddr) -> $it::X86VcpuResult<u8> {
                Err($it::X86VcpuError::Unsupported)
            }
            fn nanos_to_ticks(nanos: u64) -> u64 {
                nanos
            }
            fn service_pending_host_interrupt() {}
            fn dispatch_acknowledged_host_interrupt(_: u8) {}
        }
    };
}

host!(Ours ours);
host!(Theirs theirs);
