// SPDX-License-Identifier: Apache-2.0
//! Errors, and the C library's status codes behind them.

use x86_vcpu_sys as ffi;
use x86_vlapic::X86VlapicError;

/// What every fallible operation of this crate returns.
pub type X86VcpuResult<T = ()> = Result<T, X86VcpuError>;

/// Why an operation failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum X86VcpuError {
    /// An argument is out of its range.
    InvalidInput,
    /// Hardware or the guest holds a value that makes no sense.
    InvalidData,
    /// This CPU, or the library, cannot do it.
    Unsupported,
    /// Not now: the wrong order or CPU, or IRQs are on.
    BadState,
    /// The host had no memory.
    NoMemory,
    /// Enabled, bound or in use already.
    ResourceBusy,
    /// The host could not arm a timer.
    TimerUnavailable,
}

impl From<X86VlapicError> for X86VcpuError {
    fn from(error: X86VlapicError) -> Self {
        match error {
            X86VlapicError::InvalidInput => Self::InvalidInput,
            X86VlapicError::InvalidData => Self::InvalidData,
            X86VlapicError::Unsupported => Self::Unsupported,
            X86VlapicError::BadState => Self::BadState,
            X86VlapicError::NoMemory => Self::NoMemory,
            X86VlapicError::TimerUnavailable => Self::TimerUnavailable,
        }
    }
}

/// A status of the C library. Statuses that upstream has no error for become the nearest one.
pub(crate) fn check(status: i32) -> X86VcpuResult {
    Err(match status {
        0.. => return Ok(()),
        ffi::X86VCPU_ERR_INVALID_INPUT => X86VcpuError::InvalidInput,
        ffi::X86VCPU_ERR_INVALID_DATA => X86VcpuError::InvalidData,
        ffi::X86VCPU_ERR_BAD_STATE => X86VcpuError::BadState,
        ffi::X86VCPU_ERR_NO_MEMORY => X86VcpuError::NoMemory,
        ffi::X86VCPU_ERR_RESOURCE_BUSY => X86VcpuError::ResourceBusy,
        ffi::X86VCPU_ERR_TIMER_UNAVAILABLE => X86VcpuError::TimerUnavailable,
        // UNSUPPORTED; FIRMWARE_DISABLED, which upstream calls that too; ABI_MISMATCH, which cannot be.
        _ => X86VcpuError::Unsupported,
    })
}

/// The status that a host operation answers for `error`.
pub(crate) fn status_of(error: X86VcpuError) -> i32 {
    match error {
        X86VcpuError::InvalidInput => ffi::X86VCPU_ERR_INVALID_INPUT,
        X86VcpuError::InvalidData => ffi::X86VCPU_ERR_INVALID_DATA,
        X86VcpuError::Unsupported => ffi::X86VCPU_ERR_UNSUPPORTED,
        X86VcpuError::BadState => ffi::X86VCPU_ERR_BAD_STATE,
        X86VcpuError::NoMemory => ffi::X86VCPU_ERR_NO_MEMORY,
        X86VcpuError::ResourceBusy => ffi::X86VCPU_ERR_RESOURCE_BUSY,
        X86VcpuError::TimerUnavailable => ffi::X86VCPU_ERR_TIMER_UNAVAILABLE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_and_statuses_are_each_others_inverse() {
        for status in -7..=-1 {
            assert_eq!(status_of(check(status).unwrap_err()), status);
        }
        assert_eq!(check(0), Ok(()));
    }

    #[test]
    fn statuses_that_upstream_lacks() {
        assert_eq!(
            check(ffi::X86VCPU_ERR_FIRMWARE_DISABLED),
            Err(X86VcpuError::Unsupported)
        );
        assert_eq!(
            check(ffi::X86VCPU_ERR_ABI_MISMATCH),
            Err(X86VcpuError::Unsupported)
        );
    }
}
