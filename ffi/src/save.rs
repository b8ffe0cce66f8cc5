// SPDX-License-Identifier: Apache-2.0
//! MSRs, extended registers and events for a copy of a vCPU: `x86vcpu/save.h`.

use core::ffi::c_void;

use crate::vcpu::x86vcpu;

pub const X86VCPU_TSC_OFFSET: u32 = 0x4b000000;

// enum x86vcpu_blocking
pub const X86VCPU_BLOCKING_STI: u32 = 1;
pub const X86VCPU_BLOCKING_MOV_SS: u32 = 2;
pub const X86VCPU_BLOCKING_NMI: u32 = 8;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct x86vcpu_event {
    pub valid: u32,
    pub r#type: u32,
    pub vector: u32,
    pub has_error_code: u32,
    pub error_code: u32,
    pub length: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct x86vcpu_events {
    pub size: u32,
    pub blocking: u32,
    pub exception: x86vcpu_event,
    pub delivery: x86vcpu_event,
    pub interrupts: [u64; 4],
    pub pending_debug: u64,
    pub nmi_pending: u32,
    pub halted: u32,
    pub waits_for_sipi: u32,
    pub init_pending: u32,
    pub startup_pending: u32,
    pub reserved: u32,
}

unsafe extern "C" {
    pub fn x86vcpu_get_msr(vcpu: *mut x86vcpu, msr: u32, value: *mut u64) -> i32;
    pub fn x86vcpu_set_msr(vcpu: *mut x86vcpu, msr: u32, value: u64) -> i32;
    pub fn x86vcpu_saved_msr(vcpu: *mut x86vcpu, n: u32, msr: *mut u32) -> i32;
    pub fn x86vcpu_get_xsave(vcpu: *mut x86vcpu, image: *mut c_void, size: *mut u64) -> i32;
    pub fn x86vcpu_set_xsave(vcpu: *mut x86vcpu, image: *const c_void, size: u64) -> i32;
    pub fn x86vcpu_get_events(vcpu: *mut x86vcpu, events: *mut x86vcpu_events) -> i32;
    pub fn x86vcpu_set_events(vcpu: *mut x86vcpu, events: *const x86vcpu_events) -> i32;
}
