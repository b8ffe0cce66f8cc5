// SPDX-License-Identifier: Apache-2.0
#![no_std]
#![doc = include_str!("../README.md")]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod answer;
#[cfg(feature = "axvm")]
pub mod axvm;
mod config;
mod cpu;
mod doorbell;
mod exit;
pub mod host;
mod machine;
mod ops;
mod percpu;
mod pic;
mod port_io;
mod regs;
mod runtime;
mod setup;
mod status;
mod timer;
mod types;
mod vcpu;

pub use config::{
    GuestPageWalkInfo, X86_LOCAL_APIC_GPA, X86_LOCAL_APIC_SIZE, X86_MAX_INTERCEPTED_PORT_RANGES,
    X86GuestMemoryRegion, X86InterceptedMmioRange, X86InterceptedPortRange, X86NestedPagingConfig,
    X86VcpuCreateConfig, X86VcpuSetupConfig,
};
pub use exit::{X86ByteRegister, X86VmExit};
pub use host::X86HostOps;
pub use percpu::X86PerCpuState;
pub use port_io::{X86PortIoDirection, X86PortIoStringExit};
pub use regs::GeneralRegisters;
pub use runtime::{
    X86NestedPagingFormat, apic_access_page_addr, apic_access_page_gpa, has_hardware_support,
    initialize_hardware_support, requires_apic_access_page, selected_nested_paging_format,
};
pub use status::{X86VcpuError, X86VcpuResult};
pub use types::{
    X86AccessFlags, X86AccessWidth, X86GuestPhysAddr, X86GuestVirtAddr, X86HostPhysAddr, X86HostVirtAddr,
    X86MsrAddr, X86NestedPageFaultInfo, X86Port,
};
pub use vcpu::X86Vcpu;
