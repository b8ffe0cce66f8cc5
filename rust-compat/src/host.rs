// SPDX-License-Identifier: Apache-2.0
//! What the hypervisor does for this crate.

use core::marker::PhantomData;

use x86_vlapic::host::X86VlapicHostOps;

use crate::{X86GuestPhysAddr, X86HostPhysAddr, X86HostVirtAddr, X86VcpuError, X86VcpuResult};

const PAGE_SIZE: usize = 0x1000;

/// Memory, time and interrupts of the host.
///
/// A method that panics aborts: a panic cannot unwind through C.
pub trait X86HostOps: X86VlapicHostOps {
    /// A frame of 4 KiB.
    fn alloc_frame() -> Option<X86HostPhysAddr>;

    /// Takes back a frame of `alloc_frame`.
    fn dealloc_frame(paddr: X86HostPhysAddr);

    /// `frame_count` adjacent frames, aligned to `frame_align` bytes.
    fn alloc_contiguous_frames(frame_count: usize, frame_align: usize) -> Option<X86HostPhysAddr>;

    /// Takes back what `alloc_contiguous_frames` gave.
    fn dealloc_contiguous_frames(start_paddr: X86HostPhysAddr, frame_count: usize);

    /// Where the host has the physical address `paddr`.
    fn phys_to_virt(paddr: X86HostPhysAddr) -> X86HostVirtAddr;

    /// A byte of guest memory that no region of the vCPU's configuration covers.
    fn read_guest_u8(paddr: X86GuestPhysAddr) -> X86VcpuResult<u8>;

    /// How many ticks of the TSC pass in `nanos` nanoseconds.
    fn nanos_to_ticks(nanos: u64) -> u64;

    /// An interrupt is pending that SVM did not acknowledge: handles it. What it returns is not used. Called from
    /// `run`, IRQs off, which they are again on return.
    #[cfg(x86_vcpu_0_6)]
    fn poll_host_interrupt() -> Option<u8>;

    /// An interrupt is pending that SVM did not acknowledge: enables IRQs for a moment, so that it is taken, and
    /// disables them again. Called from `run`, IRQs off.
    #[cfg(not(x86_vcpu_0_6))]
    fn service_pending_host_interrupt();

    /// VT-x acknowledged interrupt `vector`: runs its handler and signals the end of interrupt. Called from `run`,
    /// IRQs off, which they are again on return.
    #[cfg(not(x86_vcpu_0_6))]
    fn dispatch_acknowledged_host_interrupt(vector: u8);
}

/// A frame of the host's, given back when it is dropped.
#[derive(Debug)]
pub struct PhysFrame<H: X86HostOps> {
    start_paddr: Option<X86HostPhysAddr>,
    _host: PhantomData<fn() -> H>,
}

impl<H: X86HostOps> PhysFrame<H> {
    /// A frame with any contents.
    ///
    /// # Errors
    ///
    /// `NoMemory`
    pub fn alloc() -> X86VcpuResult<Self> {
        let start_paddr = <H as X86HostOps>::alloc_frame().filter(|paddr| paddr.as_usize() != 0);
        Ok(Self {
            start_paddr: Some(start_paddr.ok_or(X86VcpuError::NoMemory)?),
            _host: PhantomData,
        })
    }

    /// A frame of zeros.
    ///
    /// # Errors
    ///
    /// `NoMemory`
    pub fn alloc_zero() -> X86VcpuResult<Self> {
        let mut frame = Self::alloc()?;
        frame.fill(0);
        Ok(frame)
    }

    /// No frame.
    ///
    /// # Safety
    ///
    /// It must be replaced before it is used. (Its address is 0 until then, and `fill` does nothing.)
    pub const unsafe fn uninit() -> Self {
        Self {
            start_paddr: None,
            _host: PhantomData,
        }
    }

    /// Its physical address.
    pub fn start_paddr(&self) -> X86HostPhysAddr {
        self.start_paddr.unwrap_or(X86HostPhysAddr::from_usize(0))
    }

    /// Its address in the host.
    pub fn as_mut_ptr(&self) -> *mut u8 {
        match self.start_paddr {
            Some(paddr) => <H as X86HostOps>::phys_to_virt(paddr).as_mut_ptr(),
            None => core::ptr::null_mut(),
        }
    }

    /// Sets each of its bytes.
    pub fn fill(&mut self, byte: u8) {
        let start = self.as_mut_ptr();
        if start.is_null() {
            log::error!("fill: there is no frame");
            return;
        }
        // SAFETY: the frame is ours alone, 4 KiB of it.
        unsafe { core::ptr::write_bytes(start, byte, PAGE_SIZE) };
    }
}

impl<H: X86HostOps> Drop for PhysFrame<H> {
    fn drop(&mut self) {
        if let Some(paddr) = self.start_paddr {
            <H as X86HostOps>::dealloc_frame(paddr);
            log::debug!("[x86_vcpu] deallocated PhysFrame({paddr:#x})");
        }
    }
}
