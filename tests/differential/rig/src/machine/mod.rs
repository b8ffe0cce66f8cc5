// SPDX-License-Identifier: Apache-2.0
//! A machine of the model, and what the two libraries ask of their host on it.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, c_char, c_void};
use std::ptr::null_mut;

use cpu::{model, model_op, model_outcome};

use crate::asked;

mod clock;
mod ours;
mod theirs;

pub use clock::Clock;
pub use ours::{OPS, create_vm};
pub use theirs::Host;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Backend {
    Vmx,
    Svm,
}

thread_local! {
    static CURRENT: RefCell<*mut model> = const { RefCell::new(null_mut()) };
    static CPU: RefCell<u32> = const { RefCell::new(0) };
    static VCPUS: Cell<u32> = const { Cell::new(1) };
    static SENT: RefCell<Vec<(u32, u32)>> = const { RefCell::new(Vec::new()) };
    static READS: RefCell<(u64, u64)> = const { RefCell::new((0, 0)) };
    static CALLS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn current() -> *mut model {
    CURRENT.with(|m| *m.borrow())
}

fn called(text: String) {
    CALLS.with(|calls| calls.borrow_mut().push(text));
}

/// Another vCPU is to have an interrupt: the library leaves that to the VMM.
fn sent(vm: u64, vcpu: u32, vector: u32) {
    called(format!("send {vm} {vcpu} {vector:#x}"));
    SENT.with(|sent| sent.borrow_mut().push((vcpu, vector)));
}

/// vCPU and vector of each interrupt that was sent since the last time.
pub fn take_sent() -> Vec<(u32, u32)> {
    SENT.with(|sent| sent.take())
}

/// So many vCPUs has each machine from now on.
pub fn set_vcpus(number: u32) {
    VCPUS.set(number);
}

/// What the host was called for since the last time, in order.
pub fn take_calls() -> Vec<String> {
    CALLS.with(|calls| calls.take())
}

/// Calls for guest memory, and bytes that they were for.
pub fn take_reads() -> String {
    let (calls, bytes) = READS.with(|reads| reads.take());
    format!("{calls} reads, {bytes} bytes")
}

fn reads(bytes: u64) {
    READS.with(|reads| {
        let (calls, sum) = *reads.borrow();
        *reads.borrow_mut() = (calls + 1, sum + bytes);
    });
}

pub struct Machine {
    model: *mut model,
    clock: Box<Clock>,
    cpu: u32,
}

fn text(pointer: *const c_char) -> String {
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

pub fn field_name(field: u32) -> String {
    text(unsafe { cpu::model_field_name(field) })
}

/// Encodings or offsets of what a VM entry gives the CPU.
pub fn words(backend: Backend) -> &'static [u32] {
    let mut count = 0;
    let words = unsafe { cpu::model_words(backend.number(), &mut count) };
    unsafe { std::slice::from_raw_parts(words, count as usize) }
}

pub fn word_name(backend: Backend, word: u32) -> String {
    text(unsafe { cpu::model_word_name(backend.number(), word) })
}

pub fn register_name(number: u64) -> String {
    text(unsafe { cpu::model_register_name(number) })
}

impl Backend {
    fn number(self) -> u32 {
        match self {
            Backend::Vmx => cpu::MODEL_VMX,
            Backend::Svm => cpu::MODEL_SVM,
        }
    }
}

fn take_frames(model: *mut model, count: u64, align: u64) -> u64 {
    asked::note(|asked| asked.frames.push((count as i64, align)));
    unsafe { cpu::model_alloc(model, count, align) }
}

fn give_frames(model: *mut model, hpa: u64, count: u64) {
    asked::note(|asked| asked.frames.push((-(count as i64), 0)));
    unsafe { cpu::model_free(model, hpa, count) }
}

impl Machine {
    pub fn new(backend: Backend, features: u32, upstream: bool) -> Self {
        let model = unsafe { cpu::model_create(backend.number(), features) };
        if upstream {
            unsafe { cpu::model_relax(model) };
        }
        let machine = Self {
            model,
            clock: Box::new(Clock::new(model)),
            cpu: 0,
        };
        machine.select();
        machine
    }

    /// Instructions are executed on this machine from now on.
    pub fn select(&self) {
        CURRENT.with(|m| *m.borrow_mut() = self.model);
        CPU.with(|c| *c.borrow_mut() = self.cpu);
        self.clock.select();
        unsafe { cpu::model_use(self.model, self.cpu) };
    }

    pub fn on_cpu(&mut self, number: u32) {
        self.cpu = number;
        self.select();
    }

    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    pub fn alloc(&self) -> u64 {
        unsafe { cpu::model_alloc(self.model, 1, 4096) }
    }

    pub fn frames(&self) -> u32 {
        unsafe { cpu::model_frames_in_use(self.model) }
    }

    pub fn fail_allocation(&self, after: u32) {
        unsafe { cpu::model_fail_allocation(self.model, after) }
    }

    pub fn nested_changed(&self) {
        unsafe { cpu::model_nested_changed(self.model) }
    }

    #[allow(clippy::mut_from_ref)] // the model's, one thread
    pub fn guest_memory(&self) -> &mut [u8] {
        unsafe { std::slice::from_raw_parts_mut(cpu::model_guest_memory(self.model), cpu::MODEL_GUEST_SIZE) }
    }

    pub fn guest_sets(&self, field: u32, value: u64) {
        unsafe { cpu::model_guest_sets(self.model, field, value) }
    }

    pub fn guest_does(&self, op: &model_op) {
        unsafe { cpu::model_guest_does(self.model, op) }
    }

    pub fn outcome(&self) -> &model_outcome {
        unsafe { &*cpu::model_outcome(self.model) }
    }

    /// What the model has complained about since the last time.
    pub fn take_complaints(&self) -> Vec<String> {
        let pointer = unsafe { cpu::model_complaints(self.model) };
        if unsafe { *pointer } == 0 {
            return Vec::new();
        }
        let lines = text(pointer).lines().map(str::to_owned).collect();
        unsafe { cpu::model_forgive(self.model) };
        lines
    }

    /// The host's, on the current machine's CPU.
    pub fn tsc(&self) -> u64 {
        self.select();
        unsafe { cpu::model_tsc() }
    }

    pub fn forget_writes(&self) {
        unsafe { cpu::model_forget_writes(self.model) }
    }

    pub fn model(&self) -> *mut model {
        self.model
    }

    pub fn remember_host(&self) {
        unsafe { cpu::model_host_remember(self.model) }
    }

    pub fn host_changes(&self) -> Vec<String> {
        let pointer = unsafe { cpu::model_host_changes(self.model) };
        if unsafe { *pointer } == 0 {
            return Vec::new();
        }
        text(pointer).lines().map(str::to_owned).collect()
    }

    pub fn trace(&self) -> Vec<String> {
        let mut count = 0;
        let records = unsafe { cpu::model_trace(self.model, &mut count) };
        let records = unsafe { std::slice::from_raw_parts(records, count as usize) };
        let name = |operation| text(unsafe { cpu::model_operation_name(operation) });
        records
            .iter()
            .map(|r| format!("cpu {} {} {:x} {:x}", r.cpu, name(r.operation), r.a, r.b))
            .collect()
    }

    pub fn clear_trace(&self) {
        unsafe { cpu::model_trace_clear(self.model) }
    }

    pub fn memory(&self, hpa: u64) -> *const c_void {
        unsafe { cpu::model_memory(self.model, hpa) }
    }

    pub fn context(&self) -> *mut c_void {
        self.model.cast()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        clock::forget();
        CURRENT.with(|m| *m.borrow_mut() = null_mut());
        unsafe { cpu::model_destroy(self.model) }
    }
}
