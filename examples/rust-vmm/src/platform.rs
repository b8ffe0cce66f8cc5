// SPDX-License-Identifier: Apache-2.0
//! The bare machine below: what this VMM uses of examples/platform/platform.h.

use core::arch::asm;
use core::ffi::{c_char, c_void};

/// What a timer calls: the time of the next call, or 0.
pub type TimerFunction = unsafe extern "C" fn(*mut c_void, u64) -> u64;

/// struct x86vcpu_timer
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Timer {
    opaque: [u64; 2],
}

impl Timer {
    pub const NONE: Self = Self { opaque: [0; 2] };
}

/// struct trap_frame
#[repr(C)]
struct TrapFrame {
    r15_to_rbx: [u64; 12],
    rdx: u64,
    rcx: u64,
    rax: u64,
    vector: u64,
    error_code: u64,
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
}

mod c {
    use super::*;

    unsafe extern "C" {
        pub fn console_putc(byte: c_char);
        pub fn platform_exit(ok: bool) -> !;
        pub fn frames_init(first: u64, end: u64);
        pub fn frame_alloc(count: u64, align: u64) -> u64;
        pub fn frame_free(hpa: u64, count: u64);
        pub fn frames_in_use() -> u64;
        pub fn cpu_take_interrupts();
        pub fn cpu_wait_for_interrupt();
        pub fn trap_dispatch(vector: u32);
        pub fn trap_set_handler(vector: u32, handler: unsafe extern "C" fn(*mut TrapFrame));
        pub fn platform_tsc_khz() -> u64;
        pub fn platform_time_ns() -> u64;
        pub fn platform_timer_start(
            deadline: u64,
            function: TimerFunction,
            arg: *mut c_void,
            timer: *mut Timer,
        ) -> i32;
        pub fn platform_timer_cancel(timer: *const Timer) -> i32;
        pub static platform_image_end: u8;
    }
}

pub const FRAME: u64 = 4096;

pub fn console_putc(byte: u8) {
    // SAFETY: writes to a port.
    unsafe { c::console_putc(byte as c_char) }
}

/// Ends the machine.
pub fn exit(ok: bool) -> ! {
    // SAFETY: nothing comes after it.
    unsafe { c::platform_exit(ok) }
}

/// Frames come from between the image and `end`. Once, before anything allocates.
pub fn frames_init(end: u64) {
    // SAFETY: nobody else uses this memory; physical addresses are virtual ones here.
    unsafe {
        c::frames_init(
            (&raw const c::platform_image_end as u64).next_multiple_of(FRAME),
            end,
        )
    }
}

/// `count` adjacent frames, aligned to `align` bytes; not cleared.
pub fn frame_alloc(count: u64, align: u64) -> Option<u64> {
    // SAFETY: answers 0 when there is none.
    match unsafe { c::frame_alloc(count, align) } {
        0 => None,
        hpa => Some(hpa),
    }
}

/// Gives back what frame_alloc gave; anything else ends the machine with a message.
pub fn frame_free(hpa: u64, count: u64) {
    // SAFETY: checked there.
    unsafe { c::frame_free(hpa, count) }
}

pub fn frames_in_use() -> u64 {
    // SAFETY: reads a number.
    unsafe { c::frames_in_use() }
}

/// Takes what interrupts are waiting. IRQs are off before and after.
pub fn take_interrupts() {
    // SAFETY: the handlers are the platform's timers.
    unsafe { c::cpu_take_interrupts() }
}

/// The same, after having waited for one.
pub fn wait_for_interrupt() {
    // SAFETY: as above.
    unsafe { c::cpu_wait_for_interrupt() }
}

/// Runs the handler of `vector` as if the interrupt had come, and signals its end.
pub fn dispatch(vector: u8) {
    // SAFETY: VT-x has acknowledged it.
    unsafe { c::trap_dispatch(vector.into()) }
}

pub fn tsc_khz() -> u64 {
    // SAFETY: measured once.
    unsafe { c::platform_tsc_khz() }
}

pub fn time_ns() -> u64 {
    // SAFETY: reads the TSC.
    unsafe { c::platform_time_ns() }
}

/// None: there are too many.
///
/// # Safety
///
/// `function` may be called with `arg`, in interrupt context, until it answers 0 or the timer is cancelled.
pub unsafe fn timer_start(deadline: u64, function: TimerFunction, arg: *mut c_void) -> Option<Timer> {
    let mut timer = Timer::NONE;
    // SAFETY: the caller's word.
    let status = unsafe { c::platform_timer_start(deadline, function, arg, &mut timer) };
    (status == 0).then_some(timer)
}

/// False: called by the timer's own function.
pub fn timer_cancel(timer: &Timer) -> bool {
    // SAFETY: a timer of timer_start, which may be over.
    unsafe { c::platform_timer_cancel(timer) == 0 }
}

pub fn rdtsc() -> u64 {
    // SAFETY: every CPU with VT-x or SVM has it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

pub fn inb(port: u16) -> u8 {
    let value: u8;
    // SAFETY: this machine's ports are ours.
    unsafe { asm!("in al, dx", in("dx") port, out("al") value, options(nomem, nostack, preserves_flags)) };
    value
}

pub fn outb(port: u16, value: u8) {
    // SAFETY: as above.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack, preserves_flags)) };
}

// ---- The #GP of an MSR that is not there --------------------------------------------------------------

const GENERAL_PROTECTION: u32 = 13;
const RDMSR: [u8; 2] = [0x0f, 0x32];
const VM_CR: u64 = 0xc001_0114;

unsafe extern "C" fn on_general_protection(frame: *mut TrapFrame) {
    // SAFETY: the registers of the code that was interrupted, which this may change.
    let frame = unsafe { &mut *frame };
    // SAFETY: an instruction that has just been executed.
    let instruction = unsafe { *(frame.rip as *const [u8; 2]) };
    if instruction != RDMSR || frame.rcx != VM_CR {
        panic!(
            "general protection fault {:#x} at {:#x}",
            frame.error_code, frame.rip
        );
    }
    frame.rax = 0;
    frame.rdx = 0;
    frame.rip += RDMSR.len() as u64;
}

/// The crate reads VM_CR, which a CPU with SVM has (APM 15.30.1) and Bochs' has not: it reads as 0, nothing is disabled.
pub fn tolerate_missing_vm_cr() {
    // SAFETY: the handler is for every #GP there is.
    unsafe { c::trap_set_handler(GENERAL_PROTECTION, on_general_protection) }
}
