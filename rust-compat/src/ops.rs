// SPDX-License-Identifier: Apache-2.0
//! The C library's host operations, made of the methods of a host type.

use alloc::boxed::Box;
use core::any::TypeId;
use core::ffi::{c_char, c_void};
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use x86_vcpu_sys as ffi;
use x86_vlapic::host::X86VlapicHostOps;

use crate::cpu::{self, Section};
use crate::doorbell::{self, Doorbell};
use crate::status::status_of;
use crate::timer;
use crate::{X86GuestPhysAddr, X86HostOps, X86HostPhysAddr};

struct Table {
    host: TypeId,
    ops: ffi::x86vcpu_host_ops,
    next: *mut Table,
}

/// One table for each host type, never freed, the newest first.
static TABLES: AtomicPtr<Table> = AtomicPtr::new(ptr::null_mut());

fn find(mut table: *mut Table, host: TypeId) -> Option<&'static ffi::x86vcpu_host_ops> {
    // SAFETY: tables are complete when they get into the list, never change then and are never freed.
    while let Some(entry) = unsafe { table.as_ref() } {
        if entry.host == host {
            return Some(&entry.ops);
        }
        table = entry.next;
    }
    None
}

/// The host operations of `H`, always at one address. (The address of a constant would differ between the crates that use it.)
pub(crate) fn table<H: X86HostOps>() -> &'static ffi::x86vcpu_host_ops {
    let host = TypeId::of::<H>();
    let mut head = TABLES.load(Ordering::Acquire);
    if let Some(ops) = find(head, host) {
        return ops;
    }
    let new = Box::into_raw(Box::new(Table {
        host,
        ops: operations::<H>(),
        next: head,
    }));
    loop {
        match TABLES.compare_exchange_weak(head, new, Ordering::AcqRel, Ordering::Acquire) {
            // SAFETY: never freed from now on.
            Ok(_) => return unsafe { &(*new).ops },
            Err(other) => head = other,
        }
        // SAFETY: not in the list, so still ours alone.
        unsafe {
            if let Some(ops) = find(head, host) {
                drop(Box::from_raw(new));
                return ops;
            }
            (*new).next = head;
        }
    }
}

/// By which Doorbell knows the host.
pub(crate) fn address<H: X86HostOps>() -> usize {
    ptr::from_ref(table::<H>()) as usize
}

const fn operations<H: X86HostOps>() -> ffi::x86vcpu_host_ops {
    ffi::x86vcpu_host_ops {
        size: size_of::<ffi::x86vcpu_host_ops>() as u32,
        abi_version: ffi::X86VCPU_ABI_VERSION,
        alloc_frame: Some(alloc_frame::<H>),
        free_frame: Some(free_frame::<H>),
        alloc_contiguous_frames: Some(alloc_contiguous_frames::<H>),
        free_contiguous_frames: Some(free_contiguous_frames::<H>),
        phys_to_virt: Some(phys_to_virt::<H>),
        read_guest: Some(read_guest::<H>),
        nanos_to_ticks: Some(nanos_to_ticks::<H>),
        dispatch_external_interrupt: Some(dispatch_external_interrupt::<H>),
        service_pending_interrupt: Some(service_pending_interrupt::<H>),
        current_cpu: Some(cpu::current_cpu),
        read_msr: None,
        log: Some(log),
        time_ns: Some(time_ns::<H>),
        timer_start: Some(timer::start::<H>),
        timer_cancel: Some(timer::cancel::<H>),
        notify: Some(notify::<H>),
        send_interrupt: Some(send_interrupt::<H>),
        acknowledge_interrupt: None,
    }
}

fn hpa(addr: u64) -> X86HostPhysAddr {
    X86HostPhysAddr::from_usize(addr as usize)
}

fn raw(addr: Option<X86HostPhysAddr>) -> u64 {
    addr.map_or(0, |addr| addr.as_usize() as u64)
}

unsafe extern "C" fn alloc_frame<H: X86HostOps>(_: *mut c_void) -> u64 {
    raw(<H as X86HostOps>::alloc_frame())
}

unsafe extern "C" fn free_frame<H: X86HostOps>(_: *mut c_void, addr: u64) {
    <H as X86HostOps>::dealloc_frame(hpa(addr));
}

unsafe extern "C" fn alloc_contiguous_frames<H: X86HostOps>(_: *mut c_void, count: u64, align: u64) -> u64 {
    raw(H::alloc_contiguous_frames(count as usize, align as usize))
}

unsafe extern "C" fn free_contiguous_frames<H: X86HostOps>(_: *mut c_void, addr: u64, count: u64) {
    H::dealloc_contiguous_frames(hpa(addr), count as usize);
}

unsafe extern "C" fn phys_to_virt<H: X86HostOps>(_: *mut c_void, addr: u64) -> *mut c_void {
    <H as X86HostOps>::phys_to_virt(hpa(addr)).as_mut_ptr()
}

unsafe extern "C" fn read_guest<H: X86HostOps>(
    _: *mut c_void,
    _: *mut c_void,
    gpa: u64,
    buf: *mut c_void,
    len: u64,
) -> i32 {
    for offset in 0..len as usize {
        match H::read_guest_u8(X86GuestPhysAddr::from_usize(gpa as usize) + offset) {
            // SAFETY: the library gives `len` bytes at `buf`.
            Ok(byte) => unsafe { buf.cast::<u8>().add(offset).write(byte) },
            Err(error) => return status_of(error),
        }
    }
    ffi::X86VCPU_OK
}

unsafe extern "C" fn nanos_to_ticks<H: X86HostOps>(_: *mut c_void, nanos: u64) -> u64 {
    H::nanos_to_ticks(nanos)
}

unsafe extern "C" fn dispatch_external_interrupt<H: X86HostOps>(_: *mut c_void, vector: u32) {
    let _host = Section::of_the_host();
    #[cfg(x86_vcpu_0_6)]
    cpu::acknowledge(vector);
    #[cfg(not(x86_vcpu_0_6))]
    H::dispatch_acknowledged_host_interrupt(vector as u8);
}

unsafe extern "C" fn service_pending_interrupt<H: X86HostOps>(_: *mut c_void) {
    let _host = Section::of_the_host();
    #[cfg(x86_vcpu_0_6)]
    H::poll_host_interrupt();
    #[cfg(not(x86_vcpu_0_6))]
    H::service_pending_host_interrupt();
}

unsafe extern "C" fn time_ns<H: X86HostOps>(_: *mut c_void) -> u64 {
    <H as X86VlapicHostOps>::current_time_nanos()
}

/// Hosts wake and interrupt vCPUs themselves where they inject and where their timers expire. What is left is what
/// another vCPU's guest sends that is no interrupt: an NMI, INIT or start-up IPI.
unsafe extern "C" fn notify<H: X86HostOps>(
    _: *mut c_void,
    machine: *mut c_void,
    vcpu: *mut c_void,
    _cpu: u32,
) {
    if !cpu::a_guest_acts() {
        return;
    }
    let (vm_id, vcpu_id) = (machine.addr(), vcpu.addr());
    let Some(bell) = Doorbell::find(address::<H>(), vm_id, vcpu_id) else {
        return;
    };
    let _host = Section::of_the_host();
    bell.ring(|| {
        let sent = <H as X86VlapicHostOps>::inject_interrupt(vm_id, vcpu_id, doorbell::VECTOR);
        if let Err(error) = sent {
            log::warn!("vCPU {vcpu_id} of machine {vm_id} is not told of an event: {error:?}");
        }
        sent.is_ok()
    });
}

unsafe extern "C" fn send_interrupt<H: X86HostOps>(
    _: *mut c_void,
    machine: *mut c_void,
    vcpu: *mut c_void,
    vector: u32,
) {
    let (vm_id, vcpu_id) = (machine.addr(), vcpu.addr());
    let _host = Section::of_the_host();
    let sent = <H as X86VlapicHostOps>::inject_interrupt(vm_id, vcpu_id, vector as u8);
    if let Err(error) = sent {
        log::warn!("interrupt {vector:#x} to vCPU {vcpu_id} of machine {vm_id} is lost: {error:?}");
    }
}

unsafe extern "C" fn log(_: *mut c_void, level: u32, text: *const c_char, len: u64) {
    let level = match level {
        0 | 1 => log::Level::Error,
        2 => log::Level::Warn,
        3 => log::Level::Info,
        4 => log::Level::Debug,
        _ => log::Level::Trace,
    };
    // SAFETY: the library gives `len` bytes at `text`.
    let bytes = unsafe { core::slice::from_raw_parts(text.cast::<u8>(), len as usize) };
    match core::str::from_utf8(bytes) {
        Ok(text) => log::log!(target: "x86_vcpu", level, "{text}"),
        Err(_) => log::log!(target: "x86_vcpu", level, "{}", bytes.escape_ascii()),
    }
}
