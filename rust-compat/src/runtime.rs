// SPDX-License-Identifier: Apache-2.0
//! Which extension the system uses.

use x86_vcpu_sys as ffi;

use crate::status::check;
use crate::{X86_LOCAL_APIC_GPA, X86GuestPhysAddr, X86HostOps, X86HostPhysAddr, X86VcpuError, X86VcpuResult};

/// The layout of nested page tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum X86NestedPagingFormat {
    /// Intel's extended page tables.
    Ept,
    /// AMD's nested page tables.
    Npt,
}

fn detect() -> X86VcpuResult<u32> {
    let mut extension = ffi::X86VCPU_EXTENSION_NONE;
    // SAFETY: a place for the answer; executes CPUID only.
    check(unsafe { ffi::x86vcpu_detect(&mut extension) })?;
    Ok(extension)
}

/// The chosen extension.
pub(crate) fn selected() -> X86VcpuResult<u32> {
    // SAFETY: reads a variable.
    match unsafe { ffi::x86vcpu_extension() } {
        ffi::X86VCPU_EXTENSION_NONE => Err(X86VcpuError::BadState),
        extension => Ok(extension),
    }
}

/// The executing CPU has the chosen extension.
pub(crate) fn validate_this_cpu() -> X86VcpuResult {
    let selected = selected()?;
    if detect()? == selected {
        Ok(())
    } else {
        Err(X86VcpuError::BadState)
    }
}

/// Whether the executing CPU has VT-x or SVM, and not both. Asks CPUID; chooses nothing.
pub fn has_hardware_support() -> bool {
    detect().is_ok()
}

/// Chooses the executing CPU's extension for the whole system.
///
/// # Errors
///
/// `Unsupported`: it has neither VT-x nor SVM; `InvalidData`: it claims both; `BadState`: another CPU has chosen the
/// other one.
pub fn initialize_hardware_support() -> X86VcpuResult {
    // SAFETY: executes CPUID only.
    check(unsafe { ffi::x86vcpu_select() })
}

/// The table format of the chosen extension.
///
/// # Errors
///
/// `BadState`: none is chosen.
pub fn selected_nested_paging_format() -> X86VcpuResult<X86NestedPagingFormat> {
    let mut format = 0;
    // SAFETY: a place for the answer.
    check(unsafe { ffi::x86vcpu_nested_format(&mut format) })?;
    Ok(match format {
        ffi::X86VCPU_NESTED_EPT => X86NestedPagingFormat::Ept,
        _ => X86NestedPagingFormat::Npt,
    })
}

/// Whether the VMM must map the APIC-access page. Not with this library: the local APIC's addresses must not be
/// mapped.
///
/// # Errors
///
/// `BadState`: no extension is chosen.
pub fn requires_apic_access_page() -> X86VcpuResult<bool> {
    let mut needed = 0;
    // SAFETY: a place for the answer.
    check(unsafe { ffi::x86vcpu_needs_apic_access_page(&mut needed) })?;
    Ok(needed != 0)
}

/// Where the APIC-access page belongs.
///
/// # Errors
///
/// `BadState`: no extension is chosen; `Unsupported`: there is no such page (`requires_apic_access_page`).
pub fn apic_access_page_gpa() -> X86VcpuResult<X86GuestPhysAddr> {
    if requires_apic_access_page()? {
        Ok(X86GuestPhysAddr::from_usize(X86_LOCAL_APIC_GPA))
    } else {
        Err(X86VcpuError::Unsupported)
    }
}

/// The APIC-access page.
///
/// # Errors
///
/// `BadState`: no extension is chosen; `Unsupported`: there is no such page (`requires_apic_access_page`).
pub fn apic_access_page_addr<H: X86HostOps>() -> X86VcpuResult<X86HostPhysAddr> {
    selected()?;
    Err(X86VcpuError::Unsupported)
}
