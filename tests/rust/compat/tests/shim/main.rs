// SPDX-License-Identifier: Apache-2.0
//! With fake.c in the C library's place: what reaches it, and what comes back.
#![cfg(feature = "fake")]

mod calls;
mod exits;
mod host;
mod life;

use std::ffi::{CStr, c_char, c_void};
use std::ptr;
use std::sync::MutexGuard;
use std::sync::atomic::{AtomicU64, Ordering};

use compat_tests::{
    CALLS, CANCEL_FAILS, FIRES_AT_ONCE, FRAMES, Host, LOG, NO_MEMORY, NOW, TIMERS, TIMERS_FAIL,
};
use compat_tests::{fire, lock};
use x86_vcpu::*;
use x86_vcpu_sys as ffi;
use x86_vlapic::X86TimerAction;

unsafe extern "C" {
    static mut fake_journal: [c_char; 4096];
    static mut fake_extension: u32;
    static mut fake_status: i32;
    static mut fake_exit: ffi::x86vcpu_exit;
    static mut fake_eoi_vector: i32;
    static mut fake_elsewhere: i32;
    static fake_ops: ffi::x86vcpu_host_ops;
    static fake_setup: ffi::x86vcpu_setup_config;
    static fake_mmio: [ffi::x86vcpu_mmio_range; ffi::X86VCPU_MAX_MMIO_RANGES as usize];
    static fake_ports: [ffi::x86vcpu_port_range; ffi::X86VCPU_MAX_PORT_RANGES as usize];
    static fake_memory: [ffi::x86vcpu_memory_region; ffi::X86VCPU_MAX_MEMORY_REGIONS as usize];
}

type Vcpu = X86Vcpu<Host>;

/// A machine with VT-x, on which the backend is chosen.
fn alone() -> MutexGuard<'static, ()> {
    let guard = compat_tests::alone();
    unsafe {
        fake_extension = ffi::X86VCPU_EXTENSION_VMX;
        fake_status = 0;
        fake_eoi_vector = -1;
        fake_elsewhere = 0;
    }
    initialize_hardware_support().unwrap();
    journal();
    guard
}

/// What was called since the last time.
fn journal() -> String {
    unsafe {
        let text = CStr::from_ptr((&raw const fake_journal).cast())
            .to_str()
            .unwrap()
            .to_owned();
        (&raw mut fake_journal).cast::<c_char>().write(0);
        text
    }
}

fn fails_next(status: i32) {
    unsafe { fake_status = status };
}

fn vcpu() -> Vcpu {
    let vcpu = Vcpu::new_with_config(7, 3, X86VcpuCreateConfig).unwrap();
    journal();
    vcpu
}

fn payload() -> ffi::x86vcpu_exit_payload {
    ffi::x86vcpu_exit_payload { words: [0; 15] }
}

fn exit_text(kind: u32, u: ffi::x86vcpu_exit_payload) -> String {
    unsafe { fake_exit = ffi::x86vcpu_exit { kind, reserved: 0, u } };
    format!("{:?}", vcpu().run().unwrap())
}
