// SPDX-License-Identifier: Apache-2.0
//! The extension on one CPU.

use core::marker::PhantomData;
use core::ptr::{self, NonNull};

use x86_vcpu_sys as ffi;

use crate::runtime::validate_this_cpu;
use crate::status::check;
use crate::{X86HostOps, X86VcpuError, X86VcpuResult, cpu, ops};

/// The state of one host CPU.
pub struct X86PerCpuState<H: X86HostOps> {
    handle: Handle,
    _host: PhantomData<fn() -> H>,
}

struct Handle(NonNull<ffi::x86vcpu_percpu>);

// SAFETY: the C object may move between threads and be looked at from any; what must happen on its CPU, the
// library checks.
unsafe impl Send for Handle {}
unsafe impl Sync for Handle {}

/// # Safety
///
/// A live object.
unsafe fn disable(percpu: *mut ffi::x86vcpu_percpu) -> i32 {
    // SAFETY: the caller's word.
    let status = unsafe { ffi::x86vcpu_percpu_disable(percpu) };
    if status == ffi::X86VCPU_OK {
        cpu::disabled_here();
    }
    status
}

impl Drop for Handle {
    fn drop(&mut self) {
        let percpu = self.0.as_ptr();
        // SAFETY: ours, and gone when destroy answers 0.
        unsafe {
            if ffi::x86vcpu_percpu_destroy(percpu) == ffi::X86VCPU_OK {
                return;
            }
            log::warn!("the state of a CPU is dropped while virtualization is on there: turning it off");
            let status = disable(percpu);
            if status != ffi::X86VCPU_OK || ffi::x86vcpu_percpu_destroy(percpu) != ffi::X86VCPU_OK {
                log::error!(
                    "cannot turn it off here ({:?}): its memory stays in use",
                    check(status)
                );
            }
        }
    }
}

impl<H: X86HostOps> X86PerCpuState<H> {
    /// The state of the host's CPU number `cpu_id`.
    ///
    /// # Errors
    ///
    /// `BadState`: no extension is chosen, or this CPU has another; `InvalidInput`: the number is larger than 32 bits;
    /// `NoMemory`.
    pub fn new(cpu_id: usize) -> X86VcpuResult<Self> {
        validate_this_cpu()?;
        let cpu_id = u32::try_from(cpu_id).map_err(|_| X86VcpuError::InvalidInput)?;
        let mut percpu = ptr::null_mut();
        let table = ops::table::<H>();
        // SAFETY: the library copies the table.
        check(unsafe { ffi::x86vcpu_percpu_create(table, ptr::null_mut(), cpu_id, &mut percpu) })?;
        let handle = Handle(NonNull::new(percpu).ok_or(X86VcpuError::NoMemory)?);
        Ok(Self {
            handle,
            _host: PhantomData,
        })
    }

    /// Whether this state has its CPU's extension on.
    pub fn is_enabled(&self) -> bool {
        // SAFETY: a live object.
        unsafe { ffi::x86vcpu_percpu_is_enabled(self.handle.0.as_ptr()) != 0 }
    }

    /// Turns the extension on on the executing CPU, to which the caller is pinned.
    ///
    /// # Errors
    ///
    /// `ResourceBusy`: it is on; `Unsupported`: the CPU lacks something, or firmware has locked it off; `BadState`: no
    /// extension is chosen, this CPU has another, or its state does not allow it; `NoMemory`.
    pub fn hardware_enable(&mut self) -> X86VcpuResult {
        validate_this_cpu()?;
        // SAFETY: a live object; the caller is in ring 0 and pinned, as upstream wants it.
        check(unsafe { ffi::x86vcpu_percpu_enable(self.handle.0.as_ptr()) })?;
        cpu::enabled_here();
        Ok(())
    }

    /// Turns it off.
    ///
    /// # Errors
    ///
    /// `BadState`: it is not on, or not on this CPU; `ResourceBusy`: a vCPU is bound to this CPU.
    pub fn hardware_disable(&mut self) -> X86VcpuResult {
        // SAFETY: as above.
        check(unsafe { disable(self.handle.0.as_ptr()) })
    }
}
