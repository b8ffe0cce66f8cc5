// SPDX-License-Identifier: Apache-2.0
//! The host of the C library.

use std::ffi::c_void;

use library::{X86VCPU_ABI_VERSION, x86vcpu_host_ops, x86vcpu_timer, x86vcpu_timer_function};

use super::clock::{self, Callback};
use super::{CPU, called, give_frames, sent, take_frames};
use crate::asked;

unsafe extern "C" fn alloc_frame(ctx: *mut c_void) -> u64 {
    take_frames(ctx.cast(), 1, 4096)
}

unsafe extern "C" fn free_frame(ctx: *mut c_void, hpa: u64) {
    give_frames(ctx.cast(), hpa, 1)
}

unsafe extern "C" fn alloc_frames(ctx: *mut c_void, count: u64, align: u64) -> u64 {
    take_frames(ctx.cast(), count, align)
}

unsafe extern "C" fn free_frames(ctx: *mut c_void, hpa: u64, count: u64) {
    give_frames(ctx.cast(), hpa, count)
}

unsafe extern "C" fn phys_to_virt(ctx: *mut c_void, hpa: u64) -> *mut c_void {
    unsafe { cpu::model_memory(ctx.cast(), hpa) }
}

unsafe extern "C" fn read_guest(ctx: *mut c_void, _: *mut c_void, gpa: u64, to: *mut c_void, len: u64) -> i32 {
    super::reads(len);
    for page in gpa >> 12..=(gpa + len.max(1) - 1) >> 12 {
        asked::note(|asked| asked.pages.extend([page << 12]));
    }
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
    asked::note(|asked| asked.ticks.push(nanos));
    nanos
}

unsafe extern "C" fn dispatch(_: *mut c_void, vector: u32) {
    called(format!("dispatch {vector:#x}"));
    clock::current().interrupt();
}

unsafe extern "C" fn service(_: *mut c_void) {
    called("service pending interrupt".into());
    clock::current().interrupt();
}

unsafe extern "C" fn time_ns(_: *mut c_void) -> u64 {
    clock::current().now()
}

unsafe extern "C" fn timer_start(
    _: *mut c_void,
    deadline: u64,
    function: x86vcpu_timer_function,
    argument: *mut c_void,
    timer: *mut x86vcpu_timer,
) -> i32 {
    let callback = Callback::Ours(function.expect("a timer has a function"), argument);
    unsafe { (*timer).opaque = [clock::current().start(deadline, callback), 0] };
    0
}

unsafe extern "C" fn timer_cancel(_: *mut c_void, timer: *const x86vcpu_timer) -> i32 {
    clock::current().cancel(unsafe { (*timer).opaque[0] });
    0
}

unsafe extern "C" fn current_cpu(_: *mut c_void) -> u32 {
    CPU.with(|c| *c.borrow())
}

unsafe extern "C" fn read_msr(_: *mut c_void, msr: u32, value: *mut u64) -> i32 {
    asked::note(|asked| {
        asked.msrs.insert(msr);
    });
    if unsafe { cpu::model_try_rdmsr(msr, value) } == 0 {
        0
    } else {
        library::X86VCPU_ERR_UNSUPPORTED
    }
}

unsafe extern "C" fn send_interrupt(_: *mut c_void, vm: *mut c_void, vcpu: *mut c_void, vector: u32) {
    sent(vm as u64, vcpu as u32, vector);
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
    time_ns: Some(time_ns),
    timer_start: Some(timer_start),
    timer_cancel: Some(timer_cancel),
    notify: None,
    send_interrupt: Some(send_interrupt),
    acknowledge_interrupt: None,
};

/// A machine, vm_id 1, without vCPUs.
pub fn create_vm(context: *mut c_void) -> Result<*mut library::x86vcpu_machine, i32> {
    let config = library::x86vcpu_machine_config {
        size: size_of::<library::x86vcpu_machine_config>() as u32,
        flags: 0,
        vm_id: 1,
        opaque: std::ptr::without_provenance_mut(1),
    };
    let mut vm = std::ptr::null_mut();
    let status = unsafe { library::x86vcpu_machine_create(&OPS, context, &config, &mut vm) };
    if status == 0 { Ok(vm) } else { Err(status) }
}
