// SPDX-License-Identifier: Apache-2.0
//! Answers to exits, by registers.
//!
//! A VMM of the crate answers a read by setting the register that the exit named: RAX, or a destination of MMIO. It may
//! do so while the vCPU is not bound to any CPU (axvm does all device work there), with the device's bits as they
//! are. The register changes as the instruction changes it, which the exit tells.

use x86_vcpu_sys as ffi;

use crate::X86AccessWidth;

pub(crate) const RAX: u32 = 0;
pub(crate) const RDX: u32 = 2;
pub(crate) const RSP: u32 = 4;

/// The exit that a register, or a commit, still answers.
#[derive(Clone, Copy)]
pub(crate) enum Open {
    None,
    Port(X86AccessWidth),
    Msr,
    Mmio(ffi::x86vcpu_mmio),
    String(ffi::x86vcpu_port_io_string),
}

/// One change of a register: bits 15:8, or an operand of a width.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Write {
    HighByte(u32, u8),
    Operand(u32, X86AccessWidth, u64),
}

impl Open {
    pub(crate) fn left_by(exit: &ffi::x86vcpu_exit) -> Self {
        // SAFETY: the member that the kind names.
        unsafe {
            match exit.kind {
                ffi::X86VCPU_EXIT_PORT_IO_READ => Self::Port(width(exit.u.port_io.width)),
                ffi::X86VCPU_EXIT_MSR_READ => Self::Msr,
                ffi::X86VCPU_EXIT_MMIO_READ => Self::Mmio(exit.u.mmio),
                ffi::X86VCPU_EXIT_PORT_IO_STRING => Self::String(exit.u.port_io_string),
                _ => Self::None,
            }
        }
    }

    /// What setting register `reg` through an operand of `given` bits changes, and whether it is the answer.
    pub(crate) fn answer(&self, reg: u32, given: X86AccessWidth, value: u64) -> (bool, [Option<Write>; 2]) {
        let operand = |reg, width, value| Some(Write::Operand(reg, width, value));
        match *self {
            Self::Port(width) if reg == RAX => (true, [operand(RAX, width, value), None]),
            Self::Msr if reg == RAX => {
                let half = X86AccessWidth::Dword;
                (true, [operand(RAX, half, value), operand(RDX, half, value >> 32)])
            }
            Self::Mmio(mmio) if reg == u32::from(mmio.reg) => (true, [Some(destination(&mmio, value)), None]),
            _ => (false, [operand(reg, given, value), None]),
        }
    }
}

fn width(raw: u8) -> X86AccessWidth {
    X86AccessWidth::from_raw(raw).unwrap_or(X86AccessWidth::Qword)
}

/// The destination gets the width of the access out of `value`, extended to its own.
fn destination(mmio: &ffi::x86vcpu_mmio, value: u64) -> Write {
    let unused = 64 - 8 * width(mmio.width).size() as u32;
    let extended = match mmio.sign_extend {
        0 => value << unused >> unused,
        _ => ((value << unused) as i64 >> unused) as u64,
    };
    match mmio.byte_reg_high {
        0 => Write::Operand(mmio.reg.into(), width(mmio.reg_width), extended),
        _ => Write::HighByte(mmio.reg.into(), extended as u8),
    }
}

/// What to write to RSP once the vCPU is bound, when `value` is written after what is still to be done.
pub(crate) fn later(
    before: Option<(X86AccessWidth, u64)>,
    width: X86AccessWidth,
    value: u64,
) -> (X86AccessWidth, u64) {
    match before {
        // A byte or a word of what was written before.
        Some((wide, old)) if wide > width && width < X86AccessWidth::Dword => {
            let mask = (1 << (8 * width.size())) - 1;
            (wide, (old & !mask) | (value & mask))
        }
        _ => (width, value),
    }
}
