// SPDX-License-Identifier: Apache-2.0
//! Interrupts and exceptions that the guest takes.

use super::*;

pub const ROWS: &[Row] = &[
    // ---- Events
    row("V-06", |c, d| {
        matches!(c.step, Step::HostNmi) && d.kind == Kind::Events && native(theirs(c))
    }),
    last("C-18", |c, d| {
        matches!(c.step, Step::Hlt { .. })
            && of_the_end(d)
            && ours(c).is_some_and(|o| !o.stopped && o.exits.iter().all(|e| *e == Exit::Halt))
    }),
    last("C-03", |c, d| {
        d.kind == Kind::Events && (low_vector(theirs(c)) || low_vector_of_ours(ours(c)))
    }),
    last("C-03", |c, d| fails_check(c, d, &["injected event: "])),
    last("C-03c", |c, d| {
        d.kind == Kind::Events && queued(c) && (reordered(c) || lower_first(c))
    }),
    last("C-03d", |c, d| {
        d.kind == Kind::Events
            && queued(c)
            && c.outcomes
                .is_some_and(|(_, theirs, ours)| ours.events.len() != theirs.events.len())
    }),
];
