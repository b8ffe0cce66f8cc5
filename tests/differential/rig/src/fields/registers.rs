// SPDX-License-Identifier: Apache-2.0
//! What of an entry is a register of the guest.

use cpu::{field, register};

use super::Given;
use crate::machine::Backend;

// ---- The guest's registers ---------------------------------------------------------------------------------------
//
// compare.rs compares them at every stop. What is the same difference here has been reported there; another one, at an
// entry in the middle of a step, is for the same rows.

/// Fields of the VMCS that are a register, and offsets in the VMCB.
pub const VMX_REGISTERS: &[(u32, u32)] = &[
    (0x681c, field::RSP),
    (0x681e, field::RIP),
    (0x6820, field::RFLAGS),
    (0x6802, field::CR3),
    (0x681a, field::DR7),
    (0x2802, field::DEBUGCTL),
    (0x2804, field::PAT),
    (0x2806, field::EFER),
    (0x482a, field::SYSENTER_CS),
    (0x6824, field::SYSENTER_ESP),
    (0x6826, field::SYSENTER_EIP),
    (0x6816, field::GDTR_BASE),
    (0x6818, field::IDTR_BASE),
    (0x4810, field::GDTR_LIMIT),
    (0x4812, field::IDTR_LIMIT),
    (0x280a, field::PDPTE0),
    (0x280c, field::PDPTE0 + 1),
    (0x280e, field::PDPTE0 + 2),
    (0x2810, field::PDPTE0 + 3),
];

pub const SVM_REGISTERS: &[(u32, u32)] = &[
    (0x4d0, field::EFER),
    (0x548, field::CR4),
    (0x558, field::CR0),
    (0x550, field::CR3),
    (0x560, field::DR7),
    (0x568, field::DR6),
    (0x570, field::RFLAGS),
    (0x578, field::RIP),
    (0x5d8, field::RSP),
    (0x5f8, field::RAX),
    (0x600, field::STAR),
    (0x608, field::LSTAR),
    (0x610, field::CSTAR),
    (0x618, field::FMASK),
    (0x620, field::KERNEL_GS_BASE),
    (0x628, field::SYSENTER_CS),
    (0x630, field::SYSENTER_ESP),
    (0x638, field::SYSENTER_EIP),
    (0x640, field::CR2),
    (0x668, field::PAT),
];

/// Bits that the model does not show as the guest's: EFER.SVME, CR4.MCE, CR0.CD and NW.
pub fn kept_bits(backend: Backend, word: u32) -> u64 {
    match (backend, word) {
        (Backend::Svm, 0x4d0) => 0x1000,
        (Backend::Svm, 0x548) => 0x40,
        (Backend::Svm, 0x558) => 0x6000_0000,
        _ => 0,
    }
}

/// Registers of the CPU that neither entry nor exit loads: the guest has what the host left there.
pub const LIVE: &[(u64, u32)] = &[
    (0xda0, field::XSS),
    (0xc000_0081, field::STAR),
    (0xc000_0082, field::LSTAR),
    (0xc000_0083, field::CSTAR),
    (0xc000_0084, field::FMASK),
    (0xc000_0102, field::KERNEL_GS_BASE),
    (0xc000_0103, field::TSC_AUX),
    (register::OTHERS + register::XCR0 as u64, field::XCR0),
    (register::OTHERS + register::DR0 as u64, field::DR0),
    (register::OTHERS + register::DR1 as u64, field::DR1),
    (register::OTHERS + register::DR2 as u64, field::DR2),
    (register::OTHERS + register::DR3 as u64, field::DR3),
];
pub const LIVE_VMX: &[(u64, u32)] = &[
    (register::OTHERS + register::CR2 as u64, field::CR2),
    (register::OTHERS + register::DR6 as u64, field::DR6),
];
pub const LIVE_SVM: &[(u64, u32)] = &[
    (0x174, field::SYSENTER_CS),
    (0x175, field::SYSENTER_ESP),
    (0x176, field::SYSENTER_EIP),
    (0x1d9, field::DEBUGCTL),
];

/// From the VMCB (APM 15.5.1); the host's EFER and PAT are its own before that, and stay compared.
pub const LOADED_BY_VMRUN: &[u64] = &[
    register::OTHERS + register::CR2 as u64,
    register::OTHERS + register::DR6 as u64,
    register::OTHERS + register::DR7 as u64,
];

pub const DEBUGS: [u64; 5] = [
    register::OTHERS + register::DR0 as u64,
    register::OTHERS + register::DR1 as u64,
    register::OTHERS + register::DR2 as u64,
    register::OTHERS + register::DR3 as u64,
    register::OTHERS + register::DR6 as u64,
];

/// Selector, base, limit and rights follow each other in groups of eight, as in a VMCS' encodings.
pub fn segment_of(word: u32) -> Option<u32> {
    let groups = [
        (0x800, field::SELECTOR),
        (0x6806, field::BASE),
        (0x4800, field::LIMIT),
        (0x4814, field::RIGHTS),
    ];
    let (first, number) = groups.into_iter().find(|g| (g.0..g.0 + 16).contains(&word))?;
    Some(number + (word - first) / 2)
}

impl Given {
    /// The guest's register that this is.
    pub fn register(self) -> Option<u32> {
        let find = |table: &[(u32, u32)], word| table.iter().find(|r| r.0 == word).map(|r| r.1);
        let live = |table: &[(u64, u32)], number| table.iter().find(|r| r.0 == number).map(|r| r.1);
        match self {
            Given::Word(Backend::Vmx, word) => find(VMX_REGISTERS, word).or_else(|| segment_of(word)),
            Given::Word(Backend::Svm, word) => find(SVM_REGISTERS, word),
            Given::Register(number) => live(LIVE, number)
                .or_else(|| live(LIVE_VMX, number))
                .or_else(|| live(LIVE_SVM, number)),
            _ => None,
        }
    }
}
