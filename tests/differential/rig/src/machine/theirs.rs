// SPDX-License-Identifier: Apache-2.0
//! The host of upstream's crate.

use x86_vcpu as upstream;
use x86_vlapic as vlapic;

use super::clock::{self, Callback};
use super::{VCPUS, called, current, sent};

pub struct Host;

impl upstream::X86HostOps for Host {
    fn alloc_frame() -> Option<upstream::X86HostPhysAddr> {
        let hpa = unsafe { cpu::model_alloc(current(), 1, 4096) };
        (hpa != 0).then(|| (hpa as usize).into())
    }

    fn dealloc_frame(hpa: upstream::X86HostPhysAddr) {
        unsafe { cpu::model_free(current(), hpa.as_usize() as u64, 1) }
    }

    fn alloc_contiguous_frames(count: usize, align: usize) -> Option<upstream::X86HostPhysAddr> {
        let hpa = unsafe { cpu::model_alloc(current(), count as u64, align as u64) };
        (hpa != 0).then(|| (hpa as usize).into())
    }

    fn dealloc_contiguous_frames(hpa: upstream::X86HostPhysAddr, count: usize) {
        unsafe { cpu::model_free(current(), hpa.as_usize() as u64, count as u64) }
    }

    fn phys_to_virt(hpa: upstream::X86HostPhysAddr) -> upstream::X86HostVirtAddr {
        (unsafe { cpu::model_memory(current(), hpa.as_usize() as u64) } as usize).into()
    }

    fn read_guest_u8(gpa: upstream::X86GuestPhysAddr) -> upstream::X86VcpuResult<u8> {
        super::reads(1);
        let gpa = gpa.as_usize();
        if gpa >= cpu::MODEL_GUEST_SIZE {
            return Err(upstream::X86VcpuError::InvalidInput);
        }
        Ok(unsafe { *cpu::model_guest_memory(current()).add(gpa) })
    }

    fn nanos_to_ticks(nanos: u64) -> u64 {
        nanos
    }

    fn service_pending_host_interrupt() {
        called("service pending interrupt".into());
        clock::current().interrupt();
    }

    fn dispatch_acknowledged_host_interrupt(vector: u8) {
        called(format!("dispatch {vector:#x}"));
        clock::current().interrupt();
    }
}

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
        clock::current().now()
    }

    fn register_timer(deadline: u64, callback: vlapic::X86TimerCallback) -> vlapic::X86VlapicResult<u64> {
        Ok(clock::current().start(deadline, Callback::Theirs(callback)))
    }

    unsafe fn register_hard_timer(
        deadline: u64,
        callback: vlapic::X86TimerCallback,
    ) -> vlapic::X86VlapicResult<u64> {
        Self::register_timer(deadline, callback)
    }

    fn cancel_timer(timer: u64) -> vlapic::X86VlapicResult {
        clock::current().cancel(timer);
        Ok(())
    }

    fn current_vm_id() -> usize {
        1
    }

    fn current_vm_vcpu_num() -> usize {
        VCPUS.get() as usize
    }

    fn current_vm_active_vcpus() -> usize {
        (1 << VCPUS.get()) - 1
    }

    fn active_vcpus(_: usize) -> Option<usize> {
        Some((1 << VCPUS.get()) - 1)
    }

    fn inject_interrupt(vm: usize, vcpu: usize, vector: u8) -> vlapic::X86VlapicResult {
        sent(vm as u64, vcpu as u32, vector.into());
        Ok(())
    }
}
