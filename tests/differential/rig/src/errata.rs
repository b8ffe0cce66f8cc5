// SPDX-License-Identifier: Apache-2.0
//! Where the two are known to differ: rows of docs/errata.md by their id, and how each is recognized. A difference that
//! no row claims is an error.

use std::collections::BTreeMap;

use crate::compare::{Difference, Kind, Outcome};
use crate::machine::Backend;
use crate::step::{Mode, Registers, Step};

pub struct Context<'a> {
    pub backend: Backend,
    pub mode: Mode,
    pub step: &'a Step,
    pub outcomes: Option<(&'a Registers, &'a Outcome, &'a Outcome)>,
    pub known: &'a [Option<(u64, u64)>; cpu::field::COUNT as usize],
}

pub struct Row {
    pub id: &'static str,
    meets: fn(&Context, &Difference) -> bool,
}

const fn row(id: &'static str, meets: fn(&Context, &Difference) -> bool) -> Row {
    Row { id, meets }
}

fn is_field(d: &Difference, fields: &[u32]) -> bool {
    matches!(d.kind, Kind::Field(number) if fields.contains(&number))
}

fn host_changes(d: &Difference, names: &[&str]) -> bool {
    d.kind == Kind::TheirHost && d.theirs.split(' ').next().is_some_and(|name| names.contains(&name))
}

fn complains(d: &Difference, text: &str) -> bool {
    d.kind == Kind::TheirComplaint && d.theirs.starts_with(text)
}

use cpu::field::*;

pub const ROWS: &[Row] = &[
    // What upstream leaves of the host and of the reset state.
    row("C-01d", |_, d| host_changes(d, &["XCR0"])),
    row("V-16", |_, d| host_changes(d, &["GDTR.limit", "IDTR.limit", "LDTR"])),
    row("V-15", |_, d| host_changes(d, &["MSR.174", "MSR.175", "MSR.176"])),
    row("V-21", |_, d| complains(d, "VM entry: field") || (complains(d, "VM entry: the") && d.theirs.ends_with("never written"))),
    row("V-04e", |_, d| is_field(d, &[CR4]) && d.values.0 ^ d.values.1 == 1 << 13),
    row("C-01f", |c, d| is_field(d, &[XCR0]) && d.values.1 == 1 && matches!(c.step, Step::Idle)),
    row("C-21", |c, d| is_field(d, &[PAT]) && matches!(c.step, Step::Idle)),
    row("C-16", |_, d| is_field(d, &[TSC_AUX])),
];

#[derive(Default)]
pub struct Tally {
    pub counts: BTreeMap<&'static str, u64>,
}

impl Tally {
    /// The first row that describes it is the one.
    pub fn claims(&mut self, context: &Context, difference: &Difference) -> bool {
        if matches!(difference.kind, Kind::OurComplaint | Kind::OurHost) {
            return false;
        }
        let Some(row) = ROWS.iter().find(|row| (row.meets)(context, difference)) else { return false };
        *self.counts.entry(row.id).or_default() += 1;
        true
    }
}
