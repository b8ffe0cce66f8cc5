// SPDX-License-Identifier: Apache-2.0
//! Interrupts of an 8259A.
//!
//! A VMM of the crate injects the vectors of its I/O APIC and of its 8259A by one and the same call, so an enabled local
//! APIC takes both in service. The guest ends an interrupt of the 8259A there and not at the local APIC, which would
//! then hold back its class and all below for ever. (The crate's holds nothing back.)

use core::mem::MaybeUninit;

use x86_vcpu_sys as ffi;

const COMMAND_PORT: u16 = 0x20;
/// Operation command word 2, of which bit 5 ends an interrupt.
const COMMAND_KIND: u64 = 0x18;
const COMMAND_END: u64 = 0x20;

/// Offsets of the local APIC's registers, by 16.
const ISR: usize = 0x10;
const TMR: usize = 0x18;

/// The vectors that the VMM has injected edge-triggered.
#[derive(Default)]
pub(crate) struct Injected([u64; 4]);

impl Injected {
    pub(crate) fn add(&mut self, vector: u8) {
        self.0[usize::from(vector) / 64] |= 1 << (vector % 64);
    }

    fn has(&self, vector: u8) -> bool {
        self.0[usize::from(vector) / 64] & (1 << (vector % 64)) != 0
    }

    /// After the guest ended an interrupt at its first 8259A: ends the one in service at the local APIC, if it can be
    /// the same.
    ///
    /// # Safety
    ///
    /// `vcpu` is alive and nothing else uses it.
    pub(crate) unsafe fn end_here_too(&self, vcpu: *mut ffi::x86vcpu, exit: &ffi::x86vcpu_exit) {
        if !ends_one(exit) {
            return;
        }
        // SAFETY: plain numbers, of which zeros are a valid value.
        let mut apic: ffi::x86vcpu_apic_state = unsafe { MaybeUninit::zeroed().assume_init() };
        apic.size = size_of::<ffi::x86vcpu_apic_state>() as u32;
        // SAFETY: the caller's word.
        if unsafe { ffi::x86vcpu_get_apic(vcpu, &mut apic) } != ffi::X86VCPU_OK {
            return;
        }
        if edge_in_service(&apic.registers).is_some_and(|vector| self.has(vector)) {
            let mut none = -1;
            // SAFETY: the caller's word. It cannot fail.
            unsafe { ffi::x86vcpu_handle_eoi(vcpu, &mut none) };
        }
    }
}

fn ends_one(exit: &ffi::x86vcpu_exit) -> bool {
    // SAFETY: the member that the kind names.
    exit.kind == ffi::X86VCPU_EXIT_PORT_IO_WRITE
        && unsafe { exit.u.port_io.port } == COMMAND_PORT
        && unsafe { exit.u.port_io.data } & (COMMAND_KIND | COMMAND_END) == COMMAND_END
}

/// The vector in service of the highest priority, if it is edge-triggered.
fn edge_in_service(registers: &[u32; 64]) -> Option<u8> {
    let word = (0..8).rev().find(|&word| registers[ISR + word] != 0)?;
    let bit = registers[ISR + word].ilog2();
    (registers[TMR + word] & (1 << bit) == 0).then_some(word as u8 * 32 + bit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_vector_counts() {
        let mut registers = [0; 64];
        assert_eq!(edge_in_service(&registers), None);
        registers[ISR] = 1 << 31;
        registers[ISR + 1] = 1 << 16 | 1 << 2;
        assert_eq!(edge_in_service(&registers), Some(0x30));
        registers[TMR + 1] = 1 << 2;
        assert_eq!(edge_in_service(&registers), Some(0x30));
        registers[TMR + 1] = 1 << 16;
        assert_eq!(edge_in_service(&registers), None);
        registers[ISR + 7] = 1 << 31;
        assert_eq!(edge_in_service(&registers), Some(0xff));
    }

    #[test]
    fn vectors_are_remembered() {
        let mut injected = Injected::default();
        for vector in [0x10, 0x30, 0xff] {
            injected.add(vector);
        }
        for vector in 0..=255 {
            assert_eq!(injected.has(vector), [0x10, 0x30, 0xff].contains(&vector));
        }
    }
}
