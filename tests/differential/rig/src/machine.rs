// SPDX-License-Identifier: Apache-2.0
//! A machine of the model, and what the two libraries ask of their host on it.

use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_void};
use std::ptr::null_mut;

use cpu::{model, model_op, model_outcome};
use library::{X86VCPU_ABI_VERSION, x86vcpu_host_ops};
use x86_vcpu as theirs;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    Vmx,
    Svm,
}

thread_local! {
    static CURRENT: RefCell<*mut model> = const { RefCell::new(null_mut()) };
    static CPU: RefCell<u32> = const { RefCell::new(0) };
    static READS: RefCell<(u64, u64)> = const { RefCell::new((0, 0)) };
    static CALLS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn current() -> *mut model {
    CURRENT.with(|m| *m.borrow())
}

fn called(text: String) {
    CALLS.with(|calls| calls.borrow_mut().push(text));
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
    cpu: u32,
}

fn text(pointer: *const c_char) -> String {
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

pub fn field_name(field: u32) -> String {
    text(unsafe { cpu::model_field_name(field) })
}

impl Machine {
    pub fn new(backend: Backend, features: u32, upstream: bool) -> Self {
        let number = if backend == Backend::Vmx {
            cpu::MODEL_VMX
        } else {
            cpu::MODEL_SVM
        };
        let model = unsafe { cpu::model_create(number, features) };
        if upstream {
            unsafe { cpu::model_relax(model) };
        }
        let machine = Self { model, cpu: 0 };
        machine.select();
        machine
    }

    /// Instructions are executed on this machine from now on.
    pub fn select(&self) {
        CURRENT.with(|m| *m.borrow_mut() = self.model);
        CPU.with(|c| *c.borrow_mut() = self.cpu);
        unsafe { cpu::model_use(self.model, self.cpu) };
    }

    pub fn on_cpu(&mut self, number: u32) {
        self.cpu = number;
        self.select();
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
        CURRENT.with(|m| *m.borrow_mut() = null_mut());
        unsafe { cpu::model_destroy(self.model) }
    }
}

// ---- The host of upstream's crate -----------------------------------------------------------------------

pub struct Host;

impl theirs::X86HostOps for Host {
    fn alloc_frame() -> Option<theirs::X86HostPhysAddr> {
        let hpa = unsafe { cpu::model_alloc(current(), 1, 4096) };
        (hpa != 0).then(|| (hpa as usize).into())
    }

    fn dealloc_frame(hpa: theirs::X86HostPhysAddr) {
        unsafe { cpu::model_free(current(), hpa.as_usize() as u64, 1) }
    }

    fn alloc_contiguous_frames(count: usize, align: usize) -> Option<theirs::X86HostPhysAddr> {
        let hpa = unsafe { cpu::model_alloc(current(), count as u64, align as u64) };
        (hpa != 0).then(|| (hpa as usize).into())
    }

    fn dealloc_contiguous_frames(hpa: theirs::X86HostPhysAddr, count: usize) {
        unsafe { cpu::model_free(current(), hpa.as_usize() as u64, count as u64) }
    }

    fn phys_to_virt(hpa: theirs::X86HostPhysAddr) -> theirs::X86HostVirtAddr {
        (unsafe { cpu::model_memory(current(), hpa.as_usize() as u64) } as usize).into()
    }

    fn read_guest_u8(gpa: theirs::X86GuestPhysAddr) -> theirs::X86VcpuResult<u8> {
        reads(1);
        let gpa = gpa.as_usize();
        if gpa >= cpu::MODEL_GUEST_SIZE {
            return Err(theirs::X86VcpuError::InvalidInput);
        }
        Ok(unsafe { *cpu::model_guest_memory(current()).add(gpa) })
    }

    fn nanos_to_ticks(nanos: u64) -> u64 {
        nanos
    }

    fn service_pending_host_interrupt() {
        called("service pending interrupt".into());
    }

    fn dispatch_acknowledged_host_interrupt(vector: u8) {
        called(format!("dispatch {vector:#x}"));
    }
}

use x86_vlapic as vlapic;

impl vlapic::host::X86VlapicHostOps for Host {
    type TimerHandle = u64;

    fn alloc_frame() -> Option<vlapic::X86HostPhysAddr> {
        let hpa = unsafe { cpu::model_alloc(current(), 1, 4096) };
        (hpa != 0).then(|| (hpa as usize).into())
    }

    fn dealloc_frame(hpa: vlapic::X86HostPhysAddr) {
        unsafe { cpu::model_free(current(), hpa.as_usize() as u64, 1) }
    }

    fn phys_to_virt(hpa: vlapic::X86HostPhysAddr) -> vlapic::X86HostVirtAddr {
        (unsafe { cpu::model_memory(current(), hpa.as_usize() as u64) } as usize).into()
    }

    /// The APIC-access page is a static of upstream's: it has one address on every machine.
    fn virt_to_phys(_: vlapic::X86HostVirtAddr) -> vlapic::X86HostPhysAddr {
        0x9000_0000_usize.into()
    }

    fn current_time_nanos() -> u64 {
        1_000_000
    }

    fn register_timer(_: u64, _: vlapic::X86TimerCallback) -> vlapic::X86VlapicResult<u64> {
        Ok(1)
    }

    unsafe fn register_hard_timer(_: u64, _: vlapic::X86TimerCallback) -> vlapic::X86VlapicResult<u64> {
        Ok(1)
    }

    fn cancel_timer(_: u64) -> vlapic::X86VlapicResult {
        Ok(())
    }

    fn current_vm_id() -> usize {
        1
    }

    fn current_vm_vcpu_num() -> usize {
        1
    }

    fn current_vm_active_vcpus() -> usize {
        1
    }

    fn active_vcpus(_: usize) -> Option<usize> {
        Some(1)
    }

    fn inject_interrupt(vm: usize, vcpu: usize, vector: u8) -> vlapic::X86VlapicResult {
        called(format!("send {vm} {vcpu} {vector:#x}"));
        Ok(())
    }
}

// ---- The host of the C library -----------------------------------------------------------------------------

unsafe extern "C" fn alloc_frame(ctx: *mut c_void) -> u64 {
    unsafe { cpu::model_alloc(ctx.cast(), 1, 4096) }
}

unsafe extern "C" fn free_frame(ctx: *mut c_void, hpa: u64) {
    unsafe { cpu::model_free(ctx.cast(), hpa, 1) }
}

unsafe extern "C" fn alloc_frames(ctx: *mut c_void, count: u64, align: u64) -> u64 {
    unsafe { cpu::model_alloc(ctx.cast(), count, align) }
}

unsafe extern "C" fn free_frames(ctx: *mut c_void, hpa: u64, count: u64) {
    unsafe { cpu::model_free(ctx.cast(), hpa, count) }
}

unsafe extern "C" fn phys_to_virt(ctx: *mut c_void, hpa: u64) -> *mut c_void {
    unsafe { cpu::model_memory(ctx.cast(), hpa) }
}

unsafe extern "C" fn read_guest(ctx: *mut c_void, gpa: u64, to: *mut c_void, len: u64) -> i32 {
    reads(len);
    if gpa >= cpu::MODEL_GUEST_SIZE as u64 {
        return library::X86VCPU_ERR_INVALID_INPUT;
    }
    unsafe {
        let from = cpu::model_guest_memory(ctx.cast()).add(gpa as usize);
        std::ptr::copy_nonoverlapping(from, to.cast(), len as usize);
    }
    0
}

unsafe extern "C" fn nanos_to_ticks(_: *mut c_void, nanos: u64) -> u64 {
    nanos
}

unsafe extern "C" fn dispatch(_: *mut c_void, vector: u32) {
    called(format!("dispatch {vector:#x}"));
}

unsafe extern "C" fn service(_: *mut c_void) {
    called("service pending interrupt".into());
}

unsafe extern "C" fn current_cpu(_: *mut c_void) -> u32 {
    CPU.with(|c| *c.borrow())
}

unsafe extern "C" fn read_msr(_: *mut c_void, msr: u32, value: *mut u64) -> i32 {
    if unsafe { cpu::model_try_rdmsr(msr, value) } == 0 {
        0
    } else {
        library::X86VCPU_ERR_UNSUPPORTED
    }
}

unsafe extern "C" fn send_interrupt(_: *mut c_void, vm: u64, vcpu: u32, vector: u32) {
    called(format!("send {vm} {vcpu} {vector:#x}"));
}

pub static OPS: x86vcpu_host_ops = x86vcpu_host_ops {
    size: size_of::<x86vcpu_host_ops>() as u32,
    abi_version: X86VCPU_ABI_VERSION,
    alloc_frame: Some(alloc_frame),
    free_frame: Some(free_frame),
    alloc_contiguous_frames: Some(alloc_frames),
    free_contiguous_frames: Some(free_frames),
    phys_to_virt: Some(phys_to_virt),
    read_guest: Some(read_guest),
    nanos_to_ticks: Some(nanos_to_ticks),
    dispatch_external_interrupt: Some(dispatch),
    service_pending_interrupt: Some(service),
    current_cpu: Some(current_cpu),
    read_msr: Some(read_msr),
    log: None,
    time_ns: None,
    timer_start: None,
    timer_cancel: None,
    notify: None,
    send_interrupt: Some(send_interrupt),
    acknowledge_interrupt: None,
};
