// SPDX-License-Identifier: Apache-2.0
//! CPUID. A register differs by bits that rows name, or both values are computed. Bits: SDM Vol. 2 (CPUID), APM Vol. 3, E.

use super::*;
use crate::shown::Shown;

/// Who has the bit.
enum Has {
    Theirs,
    Ours,
}
use Has::{Ours, Theirs};

struct Bits {
    row: &'static str,
    has: Has,
    leaf: u32,
    subleaf: u32,
    register: u32,
    mask: u32,
}

const fn bits(row: &'static str, has: Has, leaf: u32, subleaf: u32, register: u32, mask: u32) -> Bits {
    Bits {
        row,
        has,
        leaf,
        subleaf,
        register,
        mask,
    }
}

const fn mask<const N: usize>(numbers: [u32; N]) -> u32 {
    let (mut mask, mut i) = (0, 0);
    while i < N {
        mask |= 1 << numbers[i];
        i += 1;
    }
    mask
}

const XCR0_TILES: u32 = 3 << 17;

const BITS: &[Bits] = &[
    // DTES64, MONITOR, DS-CPL, VMX, SMX, EIST, TM2, CNXT-ID, SDBG, xTPR, PDCM, DCA
    bits(
        "C-13d",
        Theirs,
        1,
        0,
        RCX,
        mask([2, 3, 4, 5, 6, 7, 8, 10, 11, 14, 15, 18]),
    ),
    // MCA, PSN, DS, ACPI, HTT, TM, PBE
    bits("C-13d", Theirs, 1, 0, RDX, mask([14, 18, 21, 22, 28, 29, 31])),
    // No local APIC while IA32_APIC_BASE has it disabled (SDM 12.4.3).
    bits("CPUID", Theirs, 1, 0, RDX, mask([9])),
    bits("CPUID", Theirs, 0x8000_0001, 0, RDX, mask([9])),
    bits("C-13b", Theirs, 1, 0, RCX, mask([27])),
    bits("C-13b", Ours, 1, 0, RCX, mask([27])),
    bits("C-13e", Ours, 1, 0, RCX, mask([24])),
    // SGX, HLE, RTM, RDT, MPX, PT
    bits("C-13d", Theirs, 7, 0, RBX, mask([2, 4, 11, 12, 14, 15, 25])),
    bits("CPUID", Ours, 1, 0, RCX, mask([17])),       // PCID
    bits("CPUID", Ours, 7, 0, RBX, mask([0, 7, 20])), // FSGSBASE, SMEP, SMAP
    // UMIP, WAITPKG, CET, TME, LA57, key locker, bus locks, MOVDIR, ENQCMD, SGX, PKS
    bits(
        "C-13d",
        Theirs,
        7,
        0,
        RCX,
        mask([2, 5, 7, 13, 16, 23, 24, 27, 28, 29, 30, 31]),
    ),
    bits("C-13b", Theirs, 7, 0, RCX, mask([4])),
    bits("C-13b", Ours, 7, 0, RCX, mask([4])),
    // UINTR, hybrid, PCONFIG, LBR, CET, AMX, CORE_CAPABILITIES
    bits(
        "C-13d",
        Theirs,
        7,
        0,
        RDX,
        mask([1, 5, 15, 18, 19, 20, 22, 24, 25, 30]),
    ),
    bits("V-27", Theirs, 7, 0, RBX, mask([10])),
    bits("V-27", Theirs, 0xd, 1, RAX, mask([3])),
    bits("V-27", Theirs, 0x8000_0001, 0, RDX, mask([27])),
    bits("C-01c", Theirs, 0xd, 0, RAX, XCR0_TILES),
    bits("C-13d", Theirs, 0xd, 1, RCX, mask([8])), // PT's part of XSS
    // CmpLegacy, SVM, EXTAPIC, AltMovCr8, OSVW, IBS, SKINIT, WDT, LWP, TCE, TOPOEXT, counters, MONITORX
    bits(
        "C-13d",
        Theirs,
        0x8000_0001,
        0,
        RCX,
        mask([1, 2, 3, 4, 9, 10, 12, 13, 15, 17, 22, 23, 24, 26, 27, 28, 29]),
    ),
    bits("C-13d", Theirs, 0x8000_0001, 0, RDX, mask([7, 14])), // MCE, MCA
    bits("V-60", Theirs, 0x8000_0001, 0, RDX, mask([11])),     // SYSCALL
    bits("C-103", Theirs, 0x8000_0001, 0, RDX, mask([20])),    // NX
];

/// The bit means that the guest's CR4 has `cr4`.
fn follows_cr4(c: &Context, b: &Bits, d: &Difference) -> bool {
    let cr4 = c.outcomes.map_or(0, |(_, _, ours)| ours.fields[CR4 as usize]);
    let enabled = cr4 >> if b.leaf == 1 { 18 } else { 22 } & 1;
    d.values.1 & u64::from(b.mask) == if enabled == 1 { b.mask.into() } else { 0 }
}

/// What the guest wrote there.
fn misc_enable(c: &Context) -> u64 {
    c.history.written.get(&0x1a0).copied().unwrap_or(0)
}

fn in_64bit_mode(c: &Context) -> bool {
    c.outcomes.is_some_and(|(_, _, ours)| {
        ours.fields[EFER as usize] >> 10 & 1 == 1 && ours.fields[RIGHTS as usize + 1] >> 13 & 1 == 1
    })
}

fn is_possible(c: &Context, b: &Bits, d: &Difference) -> bool {
    match (b.row, b.leaf) {
        ("C-13b", _) => follows_cr4(c, b, d),
        ("V-60", _) => vmx(c) && !in_64bit_mode(c),
        ("C-103", _) => misc_enable(c) >> 34 & 1 == 1,
        ("V-27", _) => c.features & feature::BARE_CONTROLS != 0,
        ("CPUID", 1 | 0x8000_0001) if b.register == RDX => c
            .history
            .written
            .get(&0x1b)
            .is_some_and(|value| value >> 11 & 1 == 0),
        ("CPUID", _) => svm(c),
        _ => true,
    }
}

/// Each bit that differs is some row's, and all of them together are all.
fn by_bits(c: &Context, d: &Difference, leaf: u32, subleaf: u32, register: u32) -> Vec<&'static str> {
    let mut left = (d.values.0 & !d.values.1, d.values.1 & !d.values.0);
    let mut rows = Vec::new();
    let here = |b: &&Bits| (b.leaf, b.subleaf, b.register) == (leaf, subleaf, register);
    for b in BITS.iter().filter(here).filter(|b| is_possible(c, b, d)) {
        let of = match b.has {
            Theirs => &mut left.0,
            Ours => &mut left.1,
        };
        if *of & u64::from(b.mask) != 0 {
            rows.push(b.row);
            *of &= !u64::from(b.mask);
        }
    }
    if left == (0, 0) { rows } else { Vec::new() }
}

/// The model's, by its leaf 15H.
const TSC_MHZ: u64 = 1000;

fn area(xcr0: u64, compacted: bool) -> u64 {
    match (xcr0 & 0xe0 != 0, xcr0 & 4 != 0, compacted) {
        (true, _, false) => 2688,
        (true, _, true) => 2432,
        (_, true, _) => 832,
        _ => 576,
    }
}

/// One thread in one core (SDM Vol. 2, CPUID, leaf 0BH).
fn topology(vcpu: u32, subleaf: u32, register: u32) -> u64 {
    let level = u64::from(subleaf & 0xff);
    let (processors, kind) = match subleaf {
        0 => (1, 1),
        1 => (1, 2),
        _ => (0, 0),
    };
    match register {
        RBX => processors,
        RCX => level | kind << 8,
        RDX => vcpu.into(),
        _ => 0,
    }
}

/// Behind the last leaf: Intel's CPUs answer with the highest basic one, AMD's with 0.
fn out_of_range(c: &Context, register: u32) -> u64 {
    if vmx(c) && register == RAX { TSC_MHZ } else { 0 }
}

/// A row, and what the register must be here.
fn value(c: &Context, leaf: u32, subleaf: u32, register: u32) -> Option<(&'static str, u64)> {
    let xcr0 = c.outcomes.map_or(1, |(_, _, ours)| ours.fields[XCR0 as usize]);
    let components = if c.features & feature::AVX512 != 0 {
        0xe7
    } else {
        7
    };
    if misc_enable(c) >> 22 & 1 == 1 {
        match (leaf, register) {
            (0, RAX) => return Some(("C-103", 2)),
            // The model's leaf 2, the highest that is left, is empty.
            (3..=0x3fff_ffff | 0x5000_0000..=0x7fff_ffff | 0x8000_0009.., _) => return Some(("C-103", 0)),
            _ => {}
        }
    }
    Some(match (leaf, subleaf, register) {
        // The APIC ID is the vCPU's; one logical processor, lines of 64 bytes.
        (1, _, RBX) => ("C-13", u64::from(c.apic.id) << 24 | 0x1_0800),
        (0xb, ..) => ("C-13", topology(c.apic.id, subleaf, register)),
        (0x1f, ..) => ("C-13", out_of_range(c, register)),
        (0xa, ..) => ("C-13d", 0), // performance monitoring
        (0x15, ..) => ("CPUID", 0),
        (0x16, _, RAX) => ("CPUID", TSC_MHZ),
        (0xd, 0, RBX) => ("C-01f", area(xcr0, false)),
        (0xd, 1, RBX) => ("C-01f", area(xcr0, true)),
        (0xd, 0, RCX) => ("C-01c", area(components, false)),
        (0xd, 17 | 18, _) => ("C-01c", 0),
        (0xd, 8, _) => ("C-13d", 0), // PT
        (0x8000_0000, _, RAX) => ("C-13d", 0x8000_0008),
        (0x4000_0002..=0x4fff_ffff, ..) => ("C-13d", 0),
        (0x17..=0x7fff_ffff | 0x8000_0009.., ..) => ("C-13d", out_of_range(c, register)),
        _ => return None,
    })
}

/// What differs only because the two guests' XCR0 do.
fn xcr0_differs(c: &Context) -> bool {
    c.outcomes.is_some_and(|(_, theirs, ours)| {
        let of = |o: &Outcome| o.fields[XCR0 as usize];
        of(theirs) != of(ours)
    })
}

fn by_value(c: &Context, d: &Difference, leaf: u32, subleaf: u32, register: u32) -> Option<&'static str> {
    let (row, must) = value(c, leaf, subleaf, register)?;
    let possible = row != "C-01f" || xcr0_differs(c);
    (possible && d.values.1 == must).then_some(row)
}

fn of_shown(shown: &Shown) -> Option<(u32, u32)> {
    let set = |number: u32| {
        shown
            .sets
            .iter()
            .find(|&&(field, _)| field == number)
            .map(|&(_, value)| value as u32)
    };
    (shown.kind == cpu::op::CPUID).then_some((set(RAX)?, set(RCX)?))
}

/// Rows that together describe the difference; none of them does when there are none.
pub fn explain(c: &Context, d: &Difference) -> Vec<&'static str> {
    let asked = match c.step {
        Step::Cpuid { leaf, subleaf } => Some((*leaf, *subleaf)),
        Step::Shown(shown) => of_shown(shown),
        _ => None,
    };
    let (Some((leaf, subleaf)), Kind::Field(register @ (RAX | RBX | RCX | RDX))) = (asked, d.kind) else {
        return Vec::new();
    };
    // These leaves have no subleaves.
    let subleaf = if matches!(leaf, 4 | 7 | 0xb | 0xd) {
        subleaf
    } else {
        0
    };
    match by_value(c, d, leaf, subleaf, register) {
        Some(row) => vec![row],
        None => by_bits(c, d, leaf, subleaf, register),
    }
}

/// They have no predicates of their own.
pub const ROWS: &[&str] = &[
    "C-13",
    "C-13b",
    "C-13d",
    "C-13e",
    "C-01c",
    "C-01f",
    "C-103",
    "V-60",
    "CPUID",
    "V-27",
];
