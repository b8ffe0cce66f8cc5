// SPDX-License-Identifier: Apache-2.0
//! Turning the extension on and off: `x86vcpu/percpu.h`.

use core::ffi::{c_char, c_void};
use core::marker::{PhantomData, PhantomPinned};

use crate::host::x86vcpu_host_ops;

#[repr(C)]
pub struct x86vcpu_percpu {
    opaque: [u8; 0],
    not_send: PhantomData<(*mut u8, PhantomPinned)>,
}

// enum x86vcpu_extension
pub const X86VCPU_EXTENSION_NONE: u32 = 0;
pub const X86VCPU_EXTENSION_VMX: u32 = 1;
pub const X86VCPU_EXTENSION_SVM: u32 = 2;

// enum x86vcpu_nested_format
pub const X86VCPU_NESTED_EPT: u32 = 0;
pub const X86VCPU_NESTED_NPT: u32 = 1;

unsafe extern "C" {
    pub fn x86vcpu_detect(extension: *mut u32) -> i32;
    pub fn x86vcpu_select() -> i32;
    pub fn x86vcpu_percpu_create(
        ops: *const x86vcpu_host_ops,
        ctx: *mut c_void,
        cpu_id: u32,
        out: *mut *mut x86vcpu_percpu,
    ) -> i32;
    pub fn x86vcpu_percpu_destroy(percpu: *mut x86vcpu_percpu) -> i32;
    pub fn x86vcpu_percpu_is_enabled(percpu: *const x86vcpu_percpu) -> i32;
    pub fn x86vcpu_percpu_enable(percpu: *mut x86vcpu_percpu) -> i32;
    pub fn x86vcpu_percpu_disable(percpu: *mut x86vcpu_percpu) -> i32;
    pub fn x86vcpu_extension() -> u32;
    pub fn x86vcpu_extension_name(extension: u32) -> *const c_char;
    pub fn x86vcpu_nested_format(format: *mut u32) -> i32;
    pub fn x86vcpu_nested_levels(levels: *mut u32) -> i32;
    pub fn x86vcpu_nested_large_executable(allowed: *mut u32) -> i32;
    pub fn x86vcpu_needs_apic_access_page(needed: *mut u32) -> i32;
}
