// SPDX-License-Identifier: Apache-2.0
//! What an instruction makes of a control register: SDM 2.5, 4.1.1, Vol. 2 MOV CR, CLTS, LMSW; APM 3.1, 15.5.1.

use super::*;

const PE: u64 = 1;
const TS: u64 = 1 << 3;
const ET: u64 = 1 << 4;
const NW: u64 = 1 << 29;
const CD: u64 = 1 << 30;
const PG: u64 = 1 << 31;
const CR0_DEFINED: u64 = 0xe005_003f;

const PAE: u64 = 1 << 5;
const PCIDE: u64 = 1 << 17;
/// Up to OSXMMEXCPT without MCE, FSGSBASE, PCIDE, OSXSAVE, SMEP, SMAP: what CPUID shows, and PCE.
const CR4_SHOWN: u64 = 0x37_07bf;

const SCE: u64 = 1;
const LME: u64 = 1 << 8;
const LMA: u64 = 1 << 10;
const NXE: u64 = 1 << 11;
const FFXSR: u64 = 1 << 14;
const LONG_CODE: u64 = 1 << 13; // CS.L

/// The guest's before the instruction, and its CS.
struct State {
    cr0: u64,
    cr3: u64,
    cr4: u64,
    efer: u64,
    long_code: bool,
}

enum Must {
    Fault,
    Set(u32, u64),
    /// PAE's page-directory pointers decide, which are in memory.
    Either,
}

fn state(c: &Context) -> Option<State> {
    let (_, _, ours) = c.outcomes?;
    let before = |number: u32| c.history.before.as_ref().map(|fields| fields[number as usize]);
    Some(State {
        cr0: before(CR0)?,
        cr3: before(CR3)?,
        cr4: before(CR4)?,
        efer: before(EFER)?,
        long_code: ours.fields[RIGHTS as usize + 1] & LONG_CODE != 0,
    })
}

fn loads_pointers(s: &State, cr0: u64, cr4: u64) -> bool {
    cr0 & PG != 0 && cr4 & PAE != 0 && s.efer & LME == 0
}

fn cr0(s: &State, value: u64) -> Must {
    let (on, off) = (value & !s.cr0 & PG != 0, s.cr0 & !value & PG != 0);
    let bad = value >> 32 != 0
        || value & (PG | PE) == PG
        || value & (NW | CD) == NW
        || on && s.efer & LME != 0 && (s.cr4 & PAE == 0 || s.long_code)
        || off && (s.cr4 & PCIDE != 0 || s.efer & LMA != 0 && s.long_code);
    if bad {
        Must::Fault
    } else if loads_pointers(s, value, s.cr4) {
        Must::Either
    } else {
        Must::Set(CR0, value & CR0_DEFINED | ET)
    }
}

fn cr4(s: &State, value: u64) -> Must {
    let pcide = value & !s.cr4 & PCIDE != 0;
    let bad = value & !CR4_SHOWN != 0
        || s.efer & LMA != 0 && value & PAE == 0
        || pcide && (s.efer & LMA == 0 || s.cr3 & 0xfff != 0);
    if bad {
        Must::Fault
    } else if loads_pointers(s, s.cr0, value) {
        Must::Either
    } else {
        Must::Set(CR4, value)
    }
}

fn efer(c: &Context, s: &State, value: u64) -> Must {
    let shown = SCE | LME | LMA | NXE | if svm(c) { FFXSR } else { 0 };
    if value & !shown != 0 || s.cr0 & PG != 0 && (value ^ s.efer) & LME != 0 {
        return Must::Fault;
    }
    Must::Set(EFER, value & !LMA | s.efer & LMA)
}

/// MOV takes 64 bits in 64-bit mode, 32 in others.
fn operand(c: &Context, s: &State, value: u64) -> u64 {
    if c.mode == Mode::Long && s.efer & LMA != 0 && s.long_code {
        value
    } else {
        value & 0xffff_ffff
    }
}

fn must(c: &Context, s: &State) -> Option<Must> {
    Some(match *c.step {
        Step::MovToCr { number: 0, value, .. } => cr0(s, operand(c, s, value)),
        Step::MovToCr { number: 4, value, .. } => cr4(s, operand(c, s, value)),
        Step::Clts => Must::Set(CR0, s.cr0 & !TS),
        // LMSW cannot clear PE.
        Step::Lmsw(value) => Must::Set(CR0, s.cr0 & !0xe | u64::from(value) & 0xf),
        Step::Wrmsr(0xc000_0080, value) => efer(c, s, value),
        _ => return None,
    })
}

/// Bits of a register that the model shows: not those that a hypervisor may keep for itself.
fn visible(c: &Context, number: u32) -> u64 {
    match number {
        CR0 if svm(c) => !(CD | NW),
        CR4 if svm(c) => !(1 << 6),
        _ => u64::MAX,
    }
}

/// x86vcpu does what the manuals say.
pub fn is_met(c: &Context) -> bool {
    let (Some(s), Some(ours)) = (state(c), ours(c)) else {
        return false;
    };
    match must(c, &s) {
        Some(Must::Fault) => must::faults(c, 13),
        Some(Must::Either) => must::faults(c, 13) || must::goes_on(c, &[]),
        Some(Must::Set(number, value)) => {
            let differs = (ours.fields[number as usize] ^ value) & visible(c, number);
            must::goes_on(c, &[]) && (!ours.stopped || differs == 0)
        }
        None => false,
    }
}

/// #GP(0) is what the manuals say.
pub fn is_refused(c: &Context) -> bool {
    state(c).is_some_and(|s| matches!(must(c, &s), Some(Must::Fault | Must::Either))) && must::faults(c, 13)
}

/// What a MOV from the register brings is what the guest's register is.
pub fn is_read(c: &Context, number: u8, reg: u8) -> bool {
    let field = if number == 0 { CR0 } else { CR4 };
    ours(c).is_some_and(|o| {
        let width = if c.mode == Mode::Long {
            u64::MAX
        } else {
            0xffff_ffff
        };
        let differ = o.fields[field as usize] ^ o.fields[usize::from(reg)];
        must::goes_on(c, &[]) && differ & visible(c, field) & width == 0
    })
}
