// SPDX-License-Identifier: Apache-2.0
//! Machines: `x86vcpu/machine.h`.

use core::ffi::c_void;
use core::marker::{PhantomData, PhantomPinned};

use crate::host::x86vcpu_host_ops;

#[repr(C)]
pub struct x86vcpu_machine {
    opaque: [u8; 0],
    not_send: PhantomData<(*mut u8, PhantomPinned)>,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct x86vcpu_machine_config {
    pub size: u32,
    pub flags: u32,
    pub vm_id: u64,
    pub opaque: *mut c_void,
}

unsafe extern "C" {
    pub fn x86vcpu_machine_create(
        ops: *const x86vcpu_host_ops,
        ctx: *mut c_void,
        config: *const x86vcpu_machine_config,
        out: *mut *mut x86vcpu_machine,
    ) -> i32;
    pub fn x86vcpu_machine_destroy(machine: *mut x86vcpu_machine) -> i32;
}
