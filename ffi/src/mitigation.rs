// SPDX-License-Identifier: Apache-2.0
//! Mitigations of speculative execution: `x86vcpu/mitigation.h`.

use core::ffi::c_char;

use crate::percpu::x86vcpu_percpu;

// enum x86vcpu_mitigation
pub const X86VCPU_MITIGATION_SPECTRE_V2: u32 = 0;
pub const X86VCPU_MITIGATION_RSB: u32 = 1;
pub const X86VCPU_MITIGATION_PBRSB: u32 = 2;
pub const X86VCPU_MITIGATION_BHI: u32 = 3;
pub const X86VCPU_MITIGATION_GUEST_TO_GUEST: u32 = 4;
pub const X86VCPU_MITIGATION_RETBLEED: u32 = 5;
pub const X86VCPU_MITIGATION_SRSO: u32 = 6;
pub const X86VCPU_MITIGATION_SSB: u32 = 7;
pub const X86VCPU_MITIGATION_L1TF: u32 = 8;
pub const X86VCPU_MITIGATION_MDS: u32 = 9;
pub const X86VCPU_MITIGATION_TAA: u32 = 10;
pub const X86VCPU_MITIGATION_MMIO_STALE_DATA: u32 = 11;
pub const X86VCPU_MITIGATION_RFDS: u32 = 12;
pub const X86VCPU_MITIGATION_TSA: u32 = 13;
pub const X86VCPU_MITIGATION_DIV0: u32 = 14;
pub const X86VCPU_MITIGATION_ITLB_MULTIHIT: u32 = 15;
pub const X86VCPU_MITIGATION_SRBDS: u32 = 16;
pub const X86VCPU_MITIGATION_GDS: u32 = 17;
pub const X86VCPU_MITIGATION_ITS: u32 = 18;
pub const X86VCPU_MITIGATION_ZENBLEED: u32 = 19;
pub const X86VCPU_MITIGATION_VMSCAPE: u32 = 20;
pub const X86VCPU_MITIGATION_COUNT: u32 = 21;
pub const X86VCPU_MITIGATION_ALL: u32 = 0xffff;

// enum x86vcpu_mitigation_choice
pub const X86VCPU_MITIGATION_AUTO: u32 = 0;
pub const X86VCPU_MITIGATION_OFF: u32 = 1;
pub const X86VCPU_MITIGATION_ON: u32 = 2;

// enum x86vcpu_mitigation_status
pub const X86VCPU_MITIGATION_UNKNOWN: u32 = 0;
pub const X86VCPU_MITIGATION_NOT_AFFECTED: u32 = 1;
pub const X86VCPU_MITIGATION_ACTIVE: u32 = 2;
pub const X86VCPU_MITIGATION_INACTIVE: u32 = 3;
pub const X86VCPU_MITIGATION_MISSING: u32 = 4;
pub const X86VCPU_MITIGATION_HOST: u32 = 5;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct x86vcpu_mitigation_state {
    pub size: u32,
    pub mitigation: u32,
    pub choice: u32,
    pub status: u32,
    pub name: *const c_char,
    pub text: *const c_char,
}

unsafe extern "C" {
    pub fn x86vcpu_mitigations_choose(percpu: *mut x86vcpu_percpu, mitigation: u32, choice: u32) -> i32;
    pub fn x86vcpu_mitigations_get(
        percpu: *const x86vcpu_percpu,
        mitigation: u32,
        state: *mut x86vcpu_mitigation_state,
    ) -> i32;
}
