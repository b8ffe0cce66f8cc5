// SPDX-License-Identifier: Apache-2.0
//! What the guest wants, exit by exit.

use alloc::format;
use alloc::string::ToString;

use x86_vcpu::{
    X86AccessWidth, X86ByteRegister, X86PortIoDirection, X86PortIoStringExit, X86VcpuResult, X86VmExit,
};

use crate::console::say;
use crate::machine::Machine;
use crate::platform;
use crate::verdict::Verdict;

const RAX: usize = 0;
const RSP: usize = 4;

impl Machine {
    pub fn handle(&mut self, exit: X86VmExit) -> X86VcpuResult {
        match exit {
            X86VmExit::Hypercall { .. } => self.vcpu.set_return_value(usize::MAX), // there are none
            X86VmExit::PortIoRead { port, width } => {
                let value = self.port_read(port.number(), width.size());
                self.vcpu.set_gpr(RAX, value as usize);
            }
            X86VmExit::PortIoWrite { port, width, data } => {
                self.port_write(port.number(), width.size(), data as u32);
            }
            X86VmExit::PortIoString(element) => self.port_string(element)?,
            X86VmExit::MmioRead {
                addr,
                width,
                reg,
                reg_width,
                signed_ext,
                byte_reg,
            } => {
                let read = self.board.mmio_read(addr.as_usize() as u64);
                self.set_register(reg, reg_width, byte_reg, extend(read, width, signed_ext));
            }
            X86VmExit::MmioWrite { addr, data, .. } => self.board.mmio_write(addr.as_usize() as u64, data),
            // The crate answers for the MSRs that exist here.
            X86VmExit::MsrRead { .. } => self.vcpu.set_gpr(RAX, 0),
            X86VmExit::MsrWrite { .. } => {}
            X86VmExit::InterruptEnd { vector } => {
                if let Some(vector) = vector {
                    self.board.ioapic.end_of_interrupt(vector);
                }
            }
            X86VmExit::PreemptionTimer | X86VmExit::Nothing => platform::take_interrupts(),
            X86VmExit::Halt => self.halt()?,
            other => self.give_up(other),
        }
        Ok(())
    }

    fn port_string(&mut self, element: X86PortIoStringExit) -> X86VcpuResult {
        let (port, bytes) = (element.port().number(), element.width().size());
        let gpa = element.guest_paddr().as_usize() as u64;
        match element.direction() {
            X86PortIoDirection::In => {
                let value = self.port_read(port, bytes).to_le_bytes();
                (0..bytes).for_each(|i| self.memory.write8(gpa + i as u64, value[i]));
            }
            X86PortIoDirection::Out => {
                let byte = |i: usize| u32::from(self.memory.read8(gpa + i as u64)) << (8 * i);
                let value = (0..bytes).map(byte).fold(0, |all, byte| all | byte);
                self.port_write(port, bytes, value);
            }
        }
        self.vcpu.complete_port_io_string(element)
    }

    fn set_register(&mut self, reg: usize, width: X86AccessWidth, byte: Option<X86ByteRegister>, value: u64) {
        match (byte, reg, width) {
            (Some(byte), ..) => self.vcpu.set_gpr_byte(byte, value as u8),
            (None, RSP, _) => self.vcpu.set_gpr_rsp(width, value),
            (None, _, X86AccessWidth::Word) => self.vcpu.set_gpr_word(reg, value as u16),
            (None, _, X86AccessWidth::Dword) => self.vcpu.set_gpr(reg, value as u32 as usize),
            (None, ..) => self.vcpu.set_gpr(reg, value as usize),
        }
    }

    /// All that is not memory is intercepted, so a nested page fault is a fetch, or an instruction that the crate does
    /// not take apart.
    fn give_up(&mut self, exit: X86VmExit) {
        say!("{exit:x?}");
        say!("{:x?}", self.vcpu);
        match exit {
            X86VmExit::SystemDown => self.end(Verdict::Failed, "guest shut down (triple fault)".to_string()),
            X86VmExit::NestedPageFault { .. } => self.end(
                Verdict::Failed,
                "guest uses an address where there is no memory, in a way that is not emulated".to_string(),
            ),
            X86VmExit::FailEntry { .. } => {
                self.end(Verdict::Broken, "the guest could not be entered".to_string())
            }
            other => self.end(Verdict::Broken, format!("unknown exit {other:?}")),
        }
    }
}

/// What was read, in the width of the access, extended to 64 bits.
fn extend(value: u64, width: X86AccessWidth, signed: bool) -> u64 {
    let unused = 64 - 8 * width.size() as u32;
    if signed {
        ((value << unused) as i64 >> unused) as u64
    } else {
        value << unused >> unused
    }
}
