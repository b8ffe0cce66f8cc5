// SPDX-License-Identifier: Apache-2.0
//! What the library needs from the host: `x86vcpu/host.h`.

use core::ffi::{c_char, c_void};

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct x86vcpu_timer {
    pub opaque: [u64; 2],
}

pub type x86vcpu_timer_function = Option<unsafe extern "C" fn(*mut c_void, u64) -> u64>;

pub const X86VCPU_NO_CPU: u32 = 0xffffffff;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct x86vcpu_host_ops {
    pub size: u32,
    pub abi_version: u32,
    pub alloc_frame: Option<unsafe extern "C" fn(*mut c_void) -> u64>,
    pub free_frame: Option<unsafe extern "C" fn(*mut c_void, u64)>,
    pub alloc_contiguous_frames: Option<unsafe extern "C" fn(*mut c_void, u64, u64) -> u64>,
    pub free_contiguous_frames: Option<unsafe extern "C" fn(*mut c_void, u64, u64)>,
    pub phys_to_virt: Option<unsafe extern "C" fn(*mut c_void, u64) -> *mut c_void>,
    pub read_guest: Option<unsafe extern "C" fn(*mut c_void, *mut c_void, u64, *mut c_void, u64) -> i32>,
    pub nanos_to_ticks: Option<unsafe extern "C" fn(*mut c_void, u64) -> u64>,
    pub dispatch_external_interrupt: Option<unsafe extern "C" fn(*mut c_void, u32)>,
    pub service_pending_interrupt: Option<unsafe extern "C" fn(*mut c_void)>,
    pub current_cpu: Option<unsafe extern "C" fn(*mut c_void) -> u32>,
    pub read_msr: Option<unsafe extern "C" fn(*mut c_void, u32, *mut u64) -> i32>,
    pub log: Option<unsafe extern "C" fn(*mut c_void, u32, *const c_char, u64)>,
    pub time_ns: Option<unsafe extern "C" fn(*mut c_void) -> u64>,
    pub timer_start: Option<
        unsafe extern "C" fn(
            *mut c_void,
            u64,
            x86vcpu_timer_function,
            *mut c_void,
            *mut x86vcpu_timer,
        ) -> i32,
    >,
    pub timer_cancel: Option<unsafe extern "C" fn(*mut c_void, *const x86vcpu_timer) -> i32>,
    pub notify: Option<unsafe extern "C" fn(*mut c_void, *mut c_void, *mut c_void, u32)>,
    pub send_interrupt: Option<unsafe extern "C" fn(*mut c_void, *mut c_void, *mut c_void, u32)>,
    pub acknowledge_interrupt: Option<unsafe extern "C" fn(*mut c_void, *mut c_void, *mut c_void) -> i32>,
}
