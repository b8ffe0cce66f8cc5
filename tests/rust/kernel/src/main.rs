// SPDX-License-Identifier: Apache-2.0
//! Everything that the linker has to find, in a program without an operating system.
#![no_std]
#![no_main]

use core::alloc::{GlobalAlloc, Layout};

use x86_vcpu::*;
use x86_vlapic::host::X86VlapicHostOps;
use x86_vlapic::{X86TimerCallback, X86VlapicError, X86VlapicResult};

struct NoMemory;

unsafe impl GlobalAlloc for NoMemory {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static ALLOCATOR: NoMemory = NoMemory;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

struct Host;

impl X86VlapicHostOps for Host {
    type TimerHandle = u64;

    fn alloc_frame() -> Option<x86_vlapic::X86HostPhysAddr> {
        None
    }

    fn dealloc_frame(_: x86_vlapic::X86HostPhysAddr) {}

    fn phys_to_virt(paddr: x86_vlapic::X86HostPhysAddr) -> x86_vlapic::X86HostVirtAddr {
        x86_vlapic::X86HostVirtAddr::from_usize(paddr.as_usize())
    }

    fn virt_to_phys(vaddr: x86_vlapic::X86HostVirtAddr) -> x86_vlapic::X86HostPhysAddr {
        x86_vlapic::X86HostPhysAddr::from_usize(vaddr.as_usize())
    }

    fn current_time_nanos() -> u64 {
        0
    }

    fn register_timer(_: u64, _: X86TimerCallback) -> X86VlapicResult<u64> {
        Err(X86VlapicError::TimerUnavailable)
    }

    unsafe fn register_hard_timer(_: u64, _: X86TimerCallback) -> X86VlapicResult<u64> {
        Err(X86VlapicError::TimerUnavailable)
    }

    fn cancel_timer(_: u64) -> X86VlapicResult {
        Ok(())
    }

    fn current_vm_id() -> usize {
        0
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

    fn inject_interrupt(_: usize, _: usize, _: u8) -> X86VlapicResult {
        Ok(())
    }
}

impl X86HostOps for Host {
    fn alloc_frame() -> Option<X86HostPhysAddr> {
        None
    }

    fn dealloc_frame(_: X86HostPhysAddr) {}

    fn alloc_contiguous_frames(_: usize, _: usize) -> Option<X86HostPhysAddr> {
        None
    }

    fn dealloc_contiguous_frames(_: X86HostPhysAddr, _: usize) {}

    fn phys_to_virt(paddr: X86HostPhysAddr) -> X86HostVirtAddr {
        X86HostVirtAddr::from_usize(paddr.as_usize())
    }

    fn read_guest_u8(_: X86GuestPhysAddr) -> X86VcpuResult<u8> {
        Err(X86VcpuError::InvalidInput)
    }

    fn nanos_to_ticks(nanos: u64) -> u64 {
        nanos
    }

    fn service_pending_host_interrupt() {}

    fn dispatch_acknowledged_host_interrupt(_: u8) {}
}

fn everything() -> X86VcpuResult {
    initialize_hardware_support()?;
    let mut percpu = X86PerCpuState::<Host>::new(0)?;
    percpu.hardware_enable()?;
    let mut vcpu = X86Vcpu::<Host>::new_with_config(0, 0, X86VcpuCreateConfig)?;
    vcpu.set_entry(0x7c00.into())?;
    vcpu.set_nested_page_table(X86NestedPagingConfig::new(0x1000.into(), 4, 48, 0))?;
    vcpu.setup(X86VcpuSetupConfig::default())?;
    vcpu.bind()?;
    loop {
        match vcpu.run()? {
            X86VmExit::PortIoString(element) => vcpu.complete_port_io_string(element)?,
            X86VmExit::MmioRead {
                byte_reg: Some(reg), ..
            } => vcpu.set_gpr_byte(reg, 0),
            X86VmExit::MmioRead { reg: 4, width, .. } => vcpu.set_gpr_rsp(width, 0),
            X86VmExit::MmioRead { reg, .. } => vcpu.set_gpr_word(reg, 0),
            X86VmExit::PortIoRead { .. } => vcpu.set_gpr(0, 0),
            X86VmExit::Hypercall { .. } => vcpu.set_return_value(0),
            X86VmExit::InterruptEnd { .. } => drop(vcpu.handle_eoi()),
            X86VmExit::Halt if vcpu.has_pending_event() => vcpu.inject_interrupt(0x20)?,
            _ => break,
        }
    }
    vcpu.unbind()?;
    percpu.hardware_disable()
}

#[unsafe(no_mangle)]
pub extern "C" fn _start() -> ! {
    let _ = everything();
    loop {}
}
