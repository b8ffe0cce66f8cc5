// SPDX-License-Identifier: Apache-2.0
//! A guest's memory for a debugger, and what exits for one: `x86vcpu/debug.h`.

use core::ffi::c_void;

use crate::vcpu::x86vcpu;

// enum x86vcpu_privilege
pub const X86VCPU_PRIVILEGE_CPL: u32 = 0;
pub const X86VCPU_PRIVILEGE_SUPERVISOR: u32 = 1;
pub const X86VCPU_PRIVILEGE_USER: u32 = 2;
pub const X86VCPU_PRIVILEGE_DEBUGGER: u32 = 3;

pub const X86VCPU_DEBUG_STEP: u32 = 1;
pub const X86VCPU_DEBUG_INT3: u32 = 2;
pub const X86VCPU_DEBUG_DB: u32 = 4;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct x86vcpu_debug_config {
    pub size: u32,
    pub flags: u32,
    pub dr7: u64,
    pub address: [u64; 4],
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct x86vcpu_virtual_access {
    pub size: u32,
    pub vector: u32,
    pub error_code: u32,
    pub absent: u32,
    pub address: u64,
    pub gpa: u64,
    pub done: u64,
}

unsafe extern "C" {
    pub fn x86vcpu_set_debug(vcpu: *mut x86vcpu, config: *const x86vcpu_debug_config) -> i32;
    pub fn x86vcpu_debug_reflect(vcpu: *mut x86vcpu) -> i32;
    pub fn x86vcpu_translate(
        vcpu: *mut x86vcpu,
        linear: u64,
        access: u64,
        privilege: u32,
        result: *mut x86vcpu_virtual_access,
    ) -> i32;
    pub fn x86vcpu_read_virtual(
        vcpu: *mut x86vcpu,
        linear: u64,
        privilege: u32,
        data: *mut c_void,
        len: u64,
        result: *mut x86vcpu_virtual_access,
    ) -> i32;
    pub fn x86vcpu_write_virtual(
        vcpu: *mut x86vcpu,
        linear: u64,
        privilege: u32,
        data: *const c_void,
        len: u64,
        result: *mut x86vcpu_virtual_access,
    ) -> i32;
}
