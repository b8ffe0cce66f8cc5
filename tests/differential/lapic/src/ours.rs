// SPDX-License-Identifier: Apache-2.0
//! The library's side: shim/shim.c.

use std::ffi::c_int;
use std::ptr::NonNull;

use crate::host::{self, HostOfC, world};
use crate::value::Answer;

#[repr(C)]
struct Shim {
    _private: [u8; 0],
}

unsafe extern "C" {
    fn shim_create(host: *const HostOfC, vcpus: u32) -> *mut Shim;
    fn shim_destroy(s: *mut Shim);
    fn shim_read(s: *mut Shim, vcpu: u32, offset: u32, bytes: u32, value: *mut u64) -> c_int;
    fn shim_write(s: *mut Shim, vcpu: u32, offset: u32, bytes: u32, value: u64, ended: *mut c_int) -> c_int;
    fn shim_rdmsr(s: *mut Shim, vcpu: u32, msr: u32, value: *mut u64) -> c_int;
    fn shim_wrmsr(s: *mut Shim, vcpu: u32, msr: u32, value: u64, ended: *mut c_int) -> c_int;
    fn shim_register(s: *mut Shim, vcpu: u32, reg: u32) -> u32;
    fn shim_errors(s: *const Shim, vcpu: u32) -> u32;
    fn shim_post(s: *mut Shim, vcpu: u32, vector: u8, level: u32);
    fn shim_look(s: *mut Shim, vcpu: u32);
    fn shim_enter(s: *mut Shim, vcpu: u32) -> c_int;
    fn shim_signals(s: *mut Shim, vcpu: u32) -> u32;
}

const NEXT: c_int = 0;
const GP: c_int = 2;
const NEXT_EXIT: c_int = 5;
const NOT_APIC: c_int = 100;

pub struct Ours {
    shim: NonNull<Shim>,
    // The library keeps a copy of the table, not the pointer.
    pub sends: bool,
}

impl Ours {
    pub fn new(vcpus: u32, sends: bool) -> Option<Self> {
        let host = host::host_of_c(sends);
        // SAFETY: the table is read during the call.
        let shim = NonNull::new(unsafe { shim_create(&host, vcpus) })?;
        Some(Self { shim, sends })
    }

    fn on(&self, vcpu: u32) -> *mut Shim {
        world(|w| w.vcpu = vcpu);
        self.shim.as_ptr()
    }

    pub fn read(&self, vcpu: u32, offset: u32, bytes: u32) -> Answer {
        let mut value = 0;
        // SAFETY: here and below: the shim's vCPU `vcpu`, which exists.
        let code = unsafe { shim_read(self.on(vcpu), vcpu, offset, bytes, &mut value) };
        read_answer(code, value)
    }

    pub fn rdmsr(&self, vcpu: u32, msr: u32) -> Answer {
        let mut value = 0;
        let code = unsafe { shim_rdmsr(self.on(vcpu), vcpu, msr, &mut value) };
        read_answer(code, value)
    }

    pub fn write(&self, vcpu: u32, offset: u32, bytes: u32, value: u64) -> Answer {
        let mut ended = -1;
        let code = unsafe { shim_write(self.on(vcpu), vcpu, offset, bytes, value, &mut ended) };
        write_answer(code, ended, offset == 0xb0 && bytes == 4)
    }

    pub fn wrmsr(&self, vcpu: u32, msr: u32, value: u64) -> Answer {
        let mut ended = -1;
        let code = unsafe { shim_wrmsr(self.on(vcpu), vcpu, msr, value, &mut ended) };
        write_answer(code, ended, msr == 0x80b)
    }

    pub fn base(&self, vcpu: u32) -> u64 {
        match self.rdmsr(vcpu, 0x1b) {
            Answer::Value(value) => value,
            other => panic!("reading IA32_APIC_BASE answers {other:?}"),
        }
    }

    pub fn register(&self, vcpu: u32, reg: u32) -> u32 {
        unsafe { shim_register(self.on(vcpu), vcpu, reg) }
    }

    pub fn errors(&self, vcpu: u32) -> u32 {
        unsafe { shim_errors(self.shim.as_ptr(), vcpu) }
    }

    pub fn irr(&self, vcpu: u32) -> [u32; 8] {
        std::array::from_fn(|i| self.register(vcpu, 0x20 + i as u32))
    }

    pub fn post(&self, vcpu: u32, vector: u8, level: bool) {
        unsafe { shim_post(self.on(vcpu), vcpu, vector, u32::from(level)) }
    }

    pub fn look(&self, vcpu: u32) {
        unsafe { shim_look(self.on(vcpu), vcpu) }
    }

    pub fn enter(&self, vcpu: u32) -> Option<u8> {
        u8::try_from(unsafe { shim_enter(self.on(vcpu), vcpu) }).ok()
    }

    pub fn signals(&self, vcpu: u32) -> u32 {
        unsafe { shim_signals(self.on(vcpu), vcpu) }
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        // SAFETY: created by shim_create, and used by nobody else.
        unsafe { shim_destroy(self.shim.as_ptr()) }
    }
}

fn read_answer(code: c_int, value: u64) -> Answer {
    match code {
        NEXT => Answer::Value(value),
        GP => Answer::Refused,
        NOT_APIC => Answer::NotApic,
        other => panic!("the library answers {other} to a read"),
    }
}

fn write_answer(code: c_int, ended: c_int, is_eoi: bool) -> Answer {
    match code {
        NEXT if is_eoi => Answer::Ended(None),
        NEXT => Answer::Done,
        GP => Answer::Refused,
        NEXT_EXIT => Answer::Ended(u8::try_from(ended).ok()),
        NOT_APIC => Answer::NotApic,
        other => panic!("the library answers {other} to a write"),
    }
}
