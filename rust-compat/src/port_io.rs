// SPDX-License-Identifier: Apache-2.0
//! String port I/O.

use x86_vcpu_sys as ffi;

use crate::{X86AccessWidth, X86GuestPhysAddr, X86Port, X86VcpuError, X86VcpuResult};

/// Which way a string port access goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum X86PortIoDirection {
    /// INS: from the port to guest memory.
    In,
    /// OUTS: from guest memory to the port.
    Out,
}

/// One element of INS or OUTS.
///
/// The guest's registers have not changed yet. When the VMM has moved the element it commits it with
/// [`X86Vcpu::complete_port_io_string`](crate::X86Vcpu::complete_port_io_string); when it runs the vCPU without
/// that, the same element comes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct X86PortIoStringExit {
    port: X86Port,
    width: X86AccessWidth,
    direction: X86PortIoDirection,
    guest_paddr: X86GuestPhysAddr,
    updated_index: u64,
    updated_count: Option<u64>,
    instruction_complete: bool,
    next_rip: u64,
}

impl X86PortIoStringExit {
    /// The port.
    pub const fn port(self) -> X86Port {
        self.port
    }

    /// The size of an element.
    pub const fn width(self) -> X86AccessWidth {
        self.width
    }

    /// Which way it goes.
    pub const fn direction(self) -> X86PortIoDirection {
        self.direction
    }

    /// Where in guest memory the element is.
    pub const fn guest_paddr(self) -> X86GuestPhysAddr {
        self.guest_paddr
    }

    pub(crate) fn from_raw(raw: &ffi::x86vcpu_port_io_string) -> X86VcpuResult<Self> {
        let direction = match u32::from(raw.direction) {
            ffi::X86VCPU_DIRECTION_IN => X86PortIoDirection::In,
            ffi::X86VCPU_DIRECTION_OUT => X86PortIoDirection::Out,
            _ => return Err(X86VcpuError::InvalidData),
        };
        Ok(Self {
            port: X86Port::new(raw.port),
            width: X86AccessWidth::from_raw(raw.width)?,
            direction,
            guest_paddr: X86GuestPhysAddr::from_usize(raw.gpa as usize),
            updated_index: raw.updated_index,
            updated_count: (raw.has_count != 0).then_some(raw.updated_count),
            instruction_complete: raw.instruction_complete != 0,
            next_rip: raw.next_rip,
        })
    }
}
