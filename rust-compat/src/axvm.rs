// SPDX-License-Identifier: Apache-2.0
//! The vCPU core of axvm 0.8 and later, over this crate.
//!
//! These releases have the code that was `x86_vcpu` 0.7 in a module of their own, `arch::x86_64::policy`, whose host
//! trait says nothing about memory: axvm allocates that itself. `scripts/swap axvm` puts this module there.

use x86_vlapic::host::X86VlapicHostOps;

pub use crate::{
    GeneralRegisters, X86_LOCAL_APIC_GPA, X86_LOCAL_APIC_SIZE, X86_MAX_INTERCEPTED_PORT_RANGES,
    X86AccessFlags, X86AccessWidth, X86ByteRegister, X86GuestMemoryRegion, X86GuestPhysAddr,
    X86GuestVirtAddr, X86HostPhysAddr, X86HostVirtAddr, X86InterceptedMmioRange, X86InterceptedPortRange,
    X86MsrAddr, X86NestedPageFaultInfo, X86NestedPagingConfig, X86NestedPagingFormat, X86PerCpuState,
    X86Port, X86PortIoDirection, X86PortIoStringExit, X86Vcpu, X86VcpuCreateConfig, X86VcpuError,
    X86VcpuResult, X86VcpuSetupConfig, X86VmExit, apic_access_page_addr, apic_access_page_gpa,
    initialize_hardware_support, requires_apic_access_page, selected_nested_paging_format,
};

/// Guest memory, time and interrupts of the host, as axvm implements them. The methods are those of
/// [`crate::X86HostOps`] with the same names.
pub trait X86HostOps: X86VlapicHostOps {
    /// A byte of guest memory that no region of the vCPU's configuration covers.
    fn read_guest_u8(paddr: X86GuestPhysAddr) -> X86VcpuResult<u8>;

    /// How many ticks of the TSC pass in `nanos` nanoseconds.
    fn nanos_to_ticks(nanos: u64) -> u64;

    /// An interrupt is pending that SVM did not acknowledge.
    fn service_pending_host_interrupt();

    /// VT-x acknowledged interrupt `vector`.
    fn dispatch_acknowledged_host_interrupt(vector: u8);
}

/// Memory for the CPU's structures that are longer than a frame.
pub trait ContiguousFrames {
    /// `count` adjacent frames of 4 KiB, aligned to `align` bytes.
    fn alloc(count: usize, align: usize) -> Option<X86HostPhysAddr>;

    /// Takes back what `alloc` gave.
    fn dealloc(start: X86HostPhysAddr, count: usize);
}

impl<H: X86HostOps + ContiguousFrames> crate::X86HostOps for H {
    fn alloc_frame() -> Option<X86HostPhysAddr> {
        let frame = <H as X86VlapicHostOps>::alloc_frame()?;
        Some(X86HostPhysAddr::from_usize(frame.as_usize()))
    }

    fn dealloc_frame(paddr: X86HostPhysAddr) {
        <H as X86VlapicHostOps>::dealloc_frame(vlapic_hpa(paddr));
    }

    fn alloc_contiguous_frames(frame_count: usize, frame_align: usize) -> Option<X86HostPhysAddr> {
        H::alloc(frame_count, frame_align)
    }

    fn dealloc_contiguous_frames(start_paddr: X86HostPhysAddr, frame_count: usize) {
        H::dealloc(start_paddr, frame_count);
    }

    fn phys_to_virt(paddr: X86HostPhysAddr) -> X86HostVirtAddr {
        let virt = <H as X86VlapicHostOps>::phys_to_virt(vlapic_hpa(paddr));
        X86HostVirtAddr::from_usize(virt.as_usize())
    }

    fn read_guest_u8(paddr: X86GuestPhysAddr) -> X86VcpuResult<u8> {
        <H as X86HostOps>::read_guest_u8(paddr)
    }

    fn nanos_to_ticks(nanos: u64) -> u64 {
        <H as X86HostOps>::nanos_to_ticks(nanos)
    }

    fn service_pending_host_interrupt() {
        <H as X86HostOps>::service_pending_host_interrupt();
    }

    fn dispatch_acknowledged_host_interrupt(vector: u8) {
        <H as X86HostOps>::dispatch_acknowledged_host_interrupt(vector);
    }
}

fn vlapic_hpa(paddr: X86HostPhysAddr) -> x86_vlapic::X86HostPhysAddr {
    x86_vlapic::X86HostPhysAddr::from_usize(paddr.as_usize())
}
