// SPDX-License-Identifier: Apache-2.0
//! Status codes: `x86vcpu/status.h`.

use core::ffi::c_char;

// enum x86vcpu_status
pub const X86VCPU_OK: i32 = 0;
pub const X86VCPU_ERR_INVALID_INPUT: i32 = -1;
pub const X86VCPU_ERR_INVALID_DATA: i32 = -2;
pub const X86VCPU_ERR_UNSUPPORTED: i32 = -3;
pub const X86VCPU_ERR_BAD_STATE: i32 = -4;
pub const X86VCPU_ERR_NO_MEMORY: i32 = -5;
pub const X86VCPU_ERR_RESOURCE_BUSY: i32 = -6;
pub const X86VCPU_ERR_TIMER_UNAVAILABLE: i32 = -7;
pub const X86VCPU_ERR_FIRMWARE_DISABLED: i32 = -64;
pub const X86VCPU_ERR_ABI_MISMATCH: i32 = -65;
pub const X86VCPU_ERR_GUEST_FAULT: i32 = -66;

unsafe extern "C" {
    pub fn x86vcpu_strerror(status: i32) -> *const c_char;
}
