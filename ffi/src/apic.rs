// SPDX-License-Identifier: Apache-2.0
//! Events and the local APIC: `x86vcpu/apic.h`.

use crate::machine::x86vcpu_machine;
use crate::vcpu::x86vcpu;

// enum x86vcpu_run_state
pub const X86VCPU_OUTSIDE: u32 = 0;
pub const X86VCPU_RUNNING: u32 = 1;
pub const X86VCPU_LEAVING: u32 = 2;

// enum x86vcpu_delivery
pub const X86VCPU_DELIVERY_FIXED: u32 = 0;
pub const X86VCPU_DELIVERY_LOWEST_PRIORITY: u32 = 1;
pub const X86VCPU_DELIVERY_SMI: u32 = 2;
pub const X86VCPU_DELIVERY_NMI: u32 = 4;
pub const X86VCPU_DELIVERY_INIT: u32 = 5;
pub const X86VCPU_DELIVERY_STARTUP: u32 = 6;
pub const X86VCPU_DELIVERY_EXTINT: u32 = 7;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct x86vcpu_message {
    pub size: u32,
    pub destination: u32,
    pub logical: u8,
    pub delivery: u8,
    pub vector: u8,
    pub level: u8,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct x86vcpu_apic_state {
    pub size: u32,
    pub lint: u32,
    pub base: u64,
    pub tsc_deadline: u64,
    pub timer_remaining: u64,
    pub registers: [u32; 64],
    pub waits_for_sipi: u32,
    pub reserved2: u32,
    pub errors: u32,
    pub reserved: u32,
}

unsafe extern "C" {
    pub fn x86vcpu_inject_interrupt(vcpu: *mut x86vcpu, vector: u32) -> i32;
    pub fn x86vcpu_inject_interrupt_with_trigger(vcpu: *mut x86vcpu, vector: u32, level: u32) -> i32;
    pub fn x86vcpu_inject_nmi(vcpu: *mut x86vcpu) -> i32;
    pub fn x86vcpu_inject_exception(
        vcpu: *mut x86vcpu,
        vector: u32,
        has_error_code: u32,
        error_code: u32,
    ) -> i32;
    pub fn x86vcpu_has_pending_event(vcpu: *const x86vcpu) -> i32;
    pub fn x86vcpu_request_exit(vcpu: *mut x86vcpu) -> i32;
    pub fn x86vcpu_run_state(vcpu: *const x86vcpu, state: *mut u32, cpu: *mut u32) -> i32;
    pub fn x86vcpu_machine_deliver_message(
        machine: *mut x86vcpu_machine,
        message: *const x86vcpu_message,
        accepted: *mut u64,
    ) -> i32;
    pub fn x86vcpu_set_lint(vcpu: *mut x86vcpu, pin: u32, level: u32) -> i32;
    pub fn x86vcpu_handle_eoi(vcpu: *mut x86vcpu, vector: *mut i32) -> i32;
    pub fn x86vcpu_timer_deadline(vcpu: *mut x86vcpu, deadline: *mut u64) -> i32;
    pub fn x86vcpu_get_apic(vcpu: *mut x86vcpu, state: *mut x86vcpu_apic_state) -> i32;
    pub fn x86vcpu_set_apic(vcpu: *mut x86vcpu, state: *const x86vcpu_apic_state) -> i32;
}
