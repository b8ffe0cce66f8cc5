// SPDX-License-Identifier: Apache-2.0
//! The builder of nested tables: `x86vcpu/nested.h`.

use core::ffi::c_void;

use crate::host::x86vcpu_host_ops;

pub const X86VCPU_NESTED_READ: u32 = 1 << 0;
pub const X86VCPU_NESTED_WRITE: u32 = 1 << 1;
pub const X86VCPU_NESTED_EXECUTE: u32 = 1 << 2;
pub const X86VCPU_MEMORY_UC: u32 = 0;
pub const X86VCPU_MEMORY_WC: u32 = 1;
pub const X86VCPU_MEMORY_WT: u32 = 4;
pub const X86VCPU_MEMORY_WP: u32 = 5;
pub const X86VCPU_MEMORY_WB: u32 = 6;
pub const X86VCPU_NESTED_2M: u32 = 1 << 0;
pub const X86VCPU_NESTED_1G: u32 = 1 << 1;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct x86vcpu_nested_tables {
    pub size: u32,
    pub format: u32,
    pub page_sizes: u32,
    pub frames: u32,
    pub levels: u32,
    pub hpa_bits: u32,
    pub large_executable: u32,
    pub changing: u32,
    pub ops: *const x86vcpu_host_ops,
    pub ctx: *mut c_void,
    pub root_hpa: u64,
    pub generation: u64,
}

unsafe extern "C" {
    pub fn x86vcpu_nested_init(
        tables: *mut x86vcpu_nested_tables,
        ops: *const x86vcpu_host_ops,
        ctx: *mut c_void,
        format: u32,
        levels: u32,
        page_sizes: u32,
    ) -> i32;
    pub fn x86vcpu_nested_map(
        tables: *mut x86vcpu_nested_tables,
        gpa: u64,
        hpa: u64,
        size: u64,
        permissions: u32,
        memory_type: u32,
    ) -> i32;
    pub fn x86vcpu_nested_unmap(tables: *mut x86vcpu_nested_tables, gpa: u64, size: u64) -> i32;
    pub fn x86vcpu_nested_lookup(
        tables: *const x86vcpu_nested_tables,
        gpa: u64,
        hpa: *mut u64,
        permissions: *mut u32,
    ) -> i32;
    pub fn x86vcpu_nested_destroy(tables: *mut x86vcpu_nested_tables);
}
