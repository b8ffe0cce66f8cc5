// SPDX-License-Identifier: Apache-2.0
//! The guest's modes: its page tables, and how it gets there.

use cpu::field;

use crate::apic;

use super::{DIRECTORY_POINTERS, Mode, PAGE_DIRECTORY, PML4, Step};

fn put64(memory: &mut [u8], at: u64, value: u64) {
    memory[at as usize..at as usize + 8].copy_from_slice(&value.to_le_bytes());
}

/// Page tables for Mode::Paged and Mode::Long: RAM, the device and the local APIC at their own addresses.
pub fn write_page_tables(memory: &mut [u8]) {
    put64(memory, PML4, PML4 + 0x1007);
    put64(memory, PML4 + 0x1000, PML4 + 0x2007);
    put64(memory, PML4 + 0x1018, PML4 + 0x3007);
    for i in 0..512 {
        put64(memory, PML4 + 0x2000 + 8 * i, (i << 21) | 0x87);
        put64(memory, PML4 + 0x3000 + 8 * i, (3 << 30 | i << 21) | 0x87);
    }
    put64(memory, DIRECTORY_POINTERS, PML4 + 0x2001);
    put64(memory, DIRECTORY_POINTERS + 24, PML4 + 0x3001);
    for i in 0..1024u64 {
        let at = (PAGE_DIRECTORY + 4 * i) as usize;
        memory[at..at + 4].copy_from_slice(&((i << 22) as u32 | 0x87).to_le_bytes());
    }
}

/// What the guest itself does on the way into `mode`, from real mode: steps, and segments that it loads behind them.
pub fn way_into(mode: Mode) -> (Vec<Step>, Vec<(u32, u64)>) {
    let segment = |number: u32, selector: u64, rights: u64| {
        [
            (field::SELECTOR + number, selector),
            (field::BASE + number, 0),
            (field::LIMIT + number, 0xffff_ffff),
            (field::RIGHTS + number, rights),
        ]
    };
    let flat = |code: u64| {
        let mut sets = Vec::new();
        sets.extend(segment(1, 8, code));
        for number in [0, 2, 3, 4, 5] {
            sets.extend(segment(number, 0x10, 0xc093));
        }
        sets
    };
    let cr = |number, value| Step::MovToCr {
        number,
        reg: 0,
        value,
    };
    match mode {
        Mode::Real => (vec![], vec![]),
        Mode::Protected => (vec![cr(0, 0x10), cr(0, 0x11)], flat(0xc09b)),
        // CR0.CD goes on its own: see V-04a.
        Mode::Paged => (
            vec![
                cr(0, 0x10),
                cr(4, 0x10),
                cr(3, PAGE_DIRECTORY),
                cr(0, 0x8000_0011),
            ],
            flat(0xc09b),
        ),
        Mode::Pae => (
            vec![
                cr(0, 0x10),
                cr(4, 0x20),
                cr(3, DIRECTORY_POINTERS),
                cr(0, 0x8000_0011),
            ],
            flat(0xc09b),
        ),
        Mode::Long | Mode::Compatibility => (
            vec![
                cr(0, 0x10),
                cr(4, 0x20),
                cr(3, PML4),
                Step::Wrmsr(0xc000_0080, 0x100),
                cr(0, 0x8000_0011),
            ],
            flat(mode.code_rights()),
        ),
    }
}

/// What the guest has loaded into CS and SS to be at CPL 3, or at 0.
pub fn privilege(mode: Mode, user: bool) -> [(u32, u64); 4] {
    let (rpl, dpl) = if user { (3, 0x60) } else { (0, 0) };
    [
        (field::SELECTOR + 1, if user { 0x1b } else { 8 }),
        (field::RIGHTS + 1, mode.code_rights() | dpl),
        (field::SELECTOR + 2, if user { 0x20 } else { 0x10 } | rpl),
        (field::RIGHTS + 2, 0xc093 | dpl),
    ]
}

/// How a guest turns its local APIC on: to x2APIC mode where its registers are out of reach in memory.
pub fn way_to_apic(mode: Mode) -> Vec<Step> {
    match mode {
        Mode::Protected => vec![Step::ApicWrite(0xf0, 0x1ff)],
        _ => vec![Step::Wrmsr(0x1b, apic::X2APIC), Step::Wrmsr(0x80f, 0x1ff)],
    }
}
