// SPDX-License-Identifier: Apache-2.0
//! General registers: `x86vcpu/regs.h`.

use core::ffi::c_char;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct x86vcpu_regs {
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rbx: u64,
    pub unused_rsp: u64,
    pub rbp: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
}

unsafe extern "C" {
    pub fn x86vcpu_regs_get(regs: *const x86vcpu_regs, index: u32, value: *mut u64) -> i32;
    pub fn x86vcpu_regs_set(regs: *mut x86vcpu_regs, index: u32, value: u64) -> i32;
    pub fn x86vcpu_regs_name(index: u32) -> *const c_char;
    pub fn x86vcpu_regs_diff(before: *const x86vcpu_regs, after: *const x86vcpu_regs) -> u32;
    pub fn x86vcpu_regs_format_diff(
        before: *const x86vcpu_regs,
        after: *const x86vcpu_regs,
        text: *mut c_char,
        len: u64,
    ) -> u64;
}
