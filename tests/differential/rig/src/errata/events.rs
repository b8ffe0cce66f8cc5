// SPDX-License-Identifier: Apache-2.0
//! Interrupts and exceptions that the guest takes. Those of x86vcpu's guest are what apic.rs has, after every step.

use super::*;

type Event = (u32, u32);

/// Type and vector of all.
fn events(outcome: &Outcome) -> Vec<Event> {
    outcome.events.iter().map(|e| (e.kind, e.vector)).collect()
}

/// Interrupts with vectors below 32 are exceptions or NMIs of the crate's guest.
fn low_ones_are_exceptions(c: &Context) -> bool {
    c.outcomes.is_some_and(|(_, theirs, ours)| {
        let own = events(ours);
        events(theirs)
            .into_iter()
            .any(|e| e.0 != 0 && e.1 < 32 && !own.contains(&e))
    })
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
    row("C-104", |c, d| {
        complains(d, "fault ")
            && d.theirs.ends_with("is injected with RFLAGS.RF clear")
            && theirs(c).is_some_and(|o| events(o).iter().any(|e| e.0 == 3))
    }),
    drains("C-03", |c, d| of_events(d) && low_ones_are_exceptions(c)),
    last("C-03", |c, d| fails_check(c, d, &["injected event: "])),
    drains("C-03c", |c, d| {
        matches!(d.kind, Kind::Interrupts | Kind::Order) && !counts_differ(c)
    }),
    drains("C-03d", |c, d| d.kind == Kind::Interrupts && counts_differ(c)),
];
