// SPDX-License-Identifier: Apache-2.0
//! Interrupts and exceptions that the guest takes.

use super::*;

type Event = (u32, u32);
const SVR: u32 = 0x80f;

/// Type and vector of all.
fn events(outcome: &Outcome) -> Vec<Event> {
    outcome.events.iter().map(|e| (e.kind, e.vector)).collect()
}

/// The host injected it, with a vector that exceptions have.
fn is_low(c: &Context, (_, vector): Event) -> bool {
    vector < 32 && c.injected.contains(&(vector as u8))
}

/// Injected vectors below 32 are exceptions or NMIs of the crate's guest.
fn low_ones_are_exceptions(c: &Context) -> bool {
    theirs(c).is_some_and(|o| events(o).into_iter().any(|e| e.0 != 0 && is_low(c, e)))
}

/// They are interrupts here.
fn low_ones_are_interrupts(c: &Context) -> bool {
    let taken = |o: &Outcome| {
        events(o)
            .into_iter()
            .filter(|&e| is_low(c, e))
            .collect::<Vec<_>>()
    };
    // An exception with such a vector may be the guest's own.
    let own = |e: &Event| matches!(*c.step, Step::Exception { vector, .. } if u32::from(vector) == e.1);
    ours(c).is_some_and(|o| {
        taken(o)
            .iter()
            .all(|e| e.0 == 0 || own(e) || must::exceptions(o) == [e.1])
    })
}

/// How many of those that wait go in: all, when the guest has interrupts on; else the one that goes in with the entry,
/// when it had them on before. None: it is not known.
fn expected(c: &Context, registers: &Registers) -> Option<usize> {
    let waiting = c.pending.len();
    if registers.rflags >> 9 & 1 == 1 && registers.shadow == 0 {
        return Some(waiting);
    }
    let before = c.before?;
    let open = before[RFLAGS as usize] >> 9 & 1 == 1 && before[SHADOW as usize] == 0;
    Some(if open { waiting.min(1) } else { 0 })
}

/// The highest vector first (SDM 11.8.3). A local APIC that is enabled holds back what is not above the interrupt in
/// service.
fn in_order(c: &Context) -> bool {
    let Some((registers, _, ours)) = c.outcomes else {
        return false;
    };
    let taken: Vec<_> = ours
        .events
        .iter()
        .filter(|e| e.kind == 0)
        .map(|e| e.vector as u8)
        .collect();
    let highest: Vec<_> = c.pending.iter().rev().take(taken.len()).copied().collect();
    let apic = c.written.get(&SVR).is_some_and(|value| value >> 8 & 1 == 1);
    let count = expected(c, registers).unwrap_or(taken.len());
    highest == taken && (taken.len() == count || taken.len() < count && (apic || !ours.stopped))
}

fn counts_differ(c: &Context) -> bool {
    c.outcomes.is_some_and(|(_, theirs, ours)| {
        let count = |o: &Outcome| events(o).into_iter().filter(|e| e.0 == 0).count();
        count(theirs) != count(ours)
    })
}

pub const ROWS: &[Row] = &[
    row("V-06", |c, d| {
        matches!(c.step, Step::HostNmi)
            && d.kind == Kind::Interrupts
            && native(theirs(c))
            && ours(c).is_some_and(|o| events(o).iter().all(|e| e.0 == 0))
    }),
    last("C-18", |c, d| {
        matches!(c.step, Step::Hlt { .. })
            && of_the_end(d)
            && c.outcomes.is_some_and(|(registers, _, o)| {
                registers.rflags >> 9 & 1 == 0 && !o.stopped && o.exits.iter().all(|e| *e == Exit::Halt)
            })
    }),
    last("C-03", |c, d| {
        of_events(d) && low_ones_are_exceptions(c) && low_ones_are_interrupts(c) && in_order(c)
    }),
    last("C-03", |c, d| fails_check(c, d, &["injected event: "])),
    last("C-03c", |c, d| {
        matches!(d.kind, Kind::Interrupts | Kind::Order) && !counts_differ(c) && in_order(c)
    }),
    last("C-03d", |c, d| {
        d.kind == Kind::Interrupts && counts_differ(c) && in_order(c)
    }),
];
