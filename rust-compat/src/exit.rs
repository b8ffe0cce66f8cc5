// SPDX-License-Identifier: Apache-2.0
//! Why the guest was left.

use x86_vcpu_sys as ffi;

use crate::{
    X86AccessFlags, X86AccessWidth, X86GuestPhysAddr, X86MsrAddr, X86Port, X86PortIoStringExit, X86VcpuResult,
};

/// An 8-bit register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct X86ByteRegister {
    pub(crate) gpr: u8,
    /// AH, CH, DH or BH.
    pub(crate) high: bool,
}

/// Why the guest was left.
#[derive(Debug)]
// axvm 0.8 matches it without an arm for others.
#[cfg_attr(not(feature = "axvm"), non_exhaustive)]
pub enum X86VmExit {
    /// VMCALL or VMMCALL.
    Hypercall {
        /// RAX.
        nr: u64,
        /// RDI, RSI, RDX, RCX, R8, R9.
        args: [u64; 6],
    },
    /// IN. Answer with [`X86Vcpu::set_gpr`](crate::X86Vcpu::set_gpr), register 0.
    PortIoRead {
        /// The port.
        port: X86Port,
        /// The size of the access.
        width: X86AccessWidth,
    },
    /// OUT.
    PortIoWrite {
        /// The port.
        port: X86Port,
        /// The size of the access.
        width: X86AccessWidth,
        /// What the guest wrote, zero-extended.
        data: u64,
    },
    /// One element of INS or OUTS.
    PortIoString(X86PortIoStringExit),
    /// A read from an intercepted range. The VMM sets the register.
    MmioRead {
        /// The address.
        addr: X86GuestPhysAddr,
        /// The size of the access.
        width: X86AccessWidth,
        /// The register to set, 4 being RSP.
        reg: usize,
        /// The size of the register operand.
        reg_width: X86AccessWidth,
        /// Whether the value is sign-extended to that size.
        signed_ext: bool,
        /// The register, when it is one of 8 bits.
        byte_reg: Option<X86ByteRegister>,
    },
    /// A write to an intercepted range.
    MmioWrite {
        /// The address.
        addr: X86GuestPhysAddr,
        /// The size of the access.
        width: X86AccessWidth,
        /// What the guest wrote, zero-extended.
        data: u64,
    },
    /// RDMSR. Answer with [`X86Vcpu::set_gpr`](crate::X86Vcpu::set_gpr), register 0: all 64 bits.
    MsrRead {
        /// The MSR.
        addr: X86MsrAddr,
    },
    /// WRMSR.
    MsrWrite {
        /// The MSR.
        addr: X86MsrAddr,
        /// What the guest wrote.
        value: u64,
    },
    /// An interrupt of the host's ended the run, and VT-x has acknowledged it: the VMM runs its handler and signals the end of
    /// interrupt.
    #[cfg(x86_vcpu_0_6)]
    ExternalInterrupt {
        /// Its vector.
        vector: u8,
    },
    /// The nested tables refused an access.
    NestedPageFault {
        /// The address.
        addr: X86GuestPhysAddr,
        /// What the access wanted to do.
        access_flags: X86AccessFlags,
    },
    /// The time slice is over.
    PreemptionTimer,
    /// The guest ended a level-triggered interrupt.
    InterruptEnd {
        /// Its vector, for an I/O APIC.
        vector: Option<u8>,
    },
    /// HLT, or the vCPU waits for a start-up IPI.
    Halt,
    /// A triple fault.
    SystemDown,
    /// The CPU refused to enter the guest.
    FailEntry {
        /// The exit reason or exit code; for VMLAUNCH or VMRESUME that failed, the VM-instruction error.
        hardware_entry_failure_reason: usize,
    },
    /// Nothing is left for the VMM to do.
    Nothing,
}

impl X86VmExit {
    pub(crate) fn from_raw(raw: &ffi::x86vcpu_exit) -> X86VcpuResult<Self> {
        // SAFETY: the members hold plain numbers, and `kind` says which one the library filled in.
        unsafe {
            Ok(match raw.kind {
                ffi::X86VCPU_EXIT_HYPERCALL => Self::Hypercall {
                    nr: raw.u.hypercall.nr,
                    args: raw.u.hypercall.args,
                },
                ffi::X86VCPU_EXIT_PORT_IO_READ => Self::PortIoRead {
                    port: X86Port::new(raw.u.port_io.port),
                    width: X86AccessWidth::from_raw(raw.u.port_io.width)?,
                },
                ffi::X86VCPU_EXIT_PORT_IO_WRITE => Self::PortIoWrite {
                    port: X86Port::new(raw.u.port_io.port),
                    width: X86AccessWidth::from_raw(raw.u.port_io.width)?,
                    data: raw.u.port_io.data,
                },
                ffi::X86VCPU_EXIT_PORT_IO_STRING => {
                    Self::PortIoString(X86PortIoStringExit::from_raw(&raw.u.port_io_string)?)
                }
                ffi::X86VCPU_EXIT_MMIO_READ => mmio_read(&raw.u.mmio)?,
                ffi::X86VCPU_EXIT_MMIO_WRITE => Self::MmioWrite {
                    addr: gpa(raw.u.mmio.gpa),
                    width: X86AccessWidth::from_raw(raw.u.mmio.width)?,
                    data: raw.u.mmio.data,
                },
                ffi::X86VCPU_EXIT_MSR_READ => Self::MsrRead {
                    addr: msr(raw.u.msr.index),
                },
                ffi::X86VCPU_EXIT_MSR_WRITE => Self::MsrWrite {
                    addr: msr(raw.u.msr.index),
                    value: raw.u.msr.value,
                },
                ffi::X86VCPU_EXIT_NESTED_PAGE_FAULT => Self::NestedPageFault {
                    addr: gpa(raw.u.nested_page_fault.gpa),
                    access_flags: X86AccessFlags::from_bits_truncate(raw.u.nested_page_fault.access as usize),
                },
                // The crate reports an instruction that it does not emulate so.
                ffi::X86VCPU_EXIT_UNKNOWN_INSTRUCTION => Self::NestedPageFault {
                    addr: gpa(raw.u.instruction.gpa),
                    access_flags: X86AccessFlags::from_bits_truncate(raw.u.instruction.access.into()),
                },
                ffi::X86VCPU_EXIT_PREEMPTION_TIMER => Self::PreemptionTimer,
                ffi::X86VCPU_EXIT_INTERRUPT_END => Self::InterruptEnd {
                    vector: (raw.u.interrupt_end.has_vector != 0).then_some(raw.u.interrupt_end.vector as u8),
                },
                ffi::X86VCPU_EXIT_HALT | ffi::X86VCPU_EXIT_WAIT_FOR_SIPI => Self::Halt,
                ffi::X86VCPU_EXIT_SYSTEM_DOWN => Self::SystemDown,
                ffi::X86VCPU_EXIT_FAIL_ENTRY => fail_entry(&raw.u.fail_entry),
                ffi::X86VCPU_EXIT_NOTHING => Self::Nothing,
                kind => {
                    log::warn!("exit {kind} of the C library is unknown here");
                    Self::Nothing
                }
            })
        }
    }
}

fn gpa(addr: u64) -> X86GuestPhysAddr {
    X86GuestPhysAddr::from_usize(addr as usize)
}

fn msr(index: u32) -> X86MsrAddr {
    X86MsrAddr::new(index as usize)
}

fn mmio_read(mmio: &ffi::x86vcpu_mmio) -> X86VcpuResult<X86VmExit> {
    Ok(X86VmExit::MmioRead {
        addr: gpa(mmio.gpa),
        width: X86AccessWidth::from_raw(mmio.width)?,
        reg: mmio.reg.into(),
        reg_width: X86AccessWidth::from_raw(mmio.reg_width)?,
        signed_ext: mmio.sign_extend != 0,
        byte_reg: (mmio.has_byte_reg != 0).then_some(X86ByteRegister {
            gpr: mmio.reg,
            high: mmio.byte_reg_high != 0,
        }),
    })
}

fn fail_entry(fail: &ffi::x86vcpu_fail_entry) -> X86VmExit {
    log::error!(
        "entering the guest failed: reason {:#x}, qualification {:#x}, instruction error {}",
        fail.reason,
        fail.qualification,
        fail.instruction_error
    );
    let reason = if fail.reason != 0 {
        fail.reason
    } else {
        fail.instruction_error.into()
    };
    X86VmExit::FailEntry {
        hardware_entry_failure_reason: reason as usize,
    }
}
