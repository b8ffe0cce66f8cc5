// SPDX-License-Identifier: Apache-2.0
//! The guest's modes: its page tables, and how it gets there.

use cpu::field;

use super::{Mode, PAGE_DIRECTORY, PML4, Step};

fn put64(memory: &mut [u8], at: u64, value: u64) {
    memory[at as usize..at as usize + 8].copy_from_slice(&value.to_le_bytes());
}

/// Page tables for Mode::Paged and Mode::Long: RAM, the device and the local APIC at their own addresses.
pub fn write_page_tables(memory: &mut [u8]) {
    put64(memory, PML4, PML4 + 0x1003);
    put64(memory, PML4 + 0x1000, PML4 + 0x2003);
    put64(memory, PML4 + 0x1018, PML4 + 0x3003);
    for i in 0..512 {
        put64(memory, PML4 + 0x2000 + 8 * i, (i << 21) | 0x83);
        put64(memory, PML4 + 0x3000 + 8 * i, (3 << 30 | i << 21) | 0x83);
    }
    for i in 0..1024u64 {
        let at = (PAGE_DIRECTORY + 4 * i) as usize;
        memory[at..at + 4].copy_from_slice(&((i << 22) as u32 | 0x83).to_le_bytes());
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
        Mode::Long => (
            vec![
                cr(0, 0x10),
                cr(4, 0x20),
                cr(3, PML4),
                Step::Wrmsr(0xc000_0080, 0x100),
                cr(0, 0x8000_0011),
            ],
            flat(0xa09b),
        ),
    }
}
