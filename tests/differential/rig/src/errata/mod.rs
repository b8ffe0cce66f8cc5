// SPDX-License-Identifier: Apache-2.0
//! Where the two are known to differ: rows of docs/errata.md by their id, and how each is recognized. A difference that
//! no row claims is an error.

mod access;
mod apic;
mod control;
mod cpuid;
mod cr;
mod events;
mod given;
mod host;
mod insn;
mod io;
mod msr;
mod msr_table;
mod must;
mod vcpu;

use std::collections::BTreeMap;

use crate::apic::Apic;
use crate::compare::{Difference, Kind, Outcome};
use crate::history::History;
use crate::machine::Backend;
use crate::rules;
use crate::side::{Exit, Failure};
use crate::step::{FORMS, Mode, Registers, Step};

pub struct Context<'a> {
    pub backend: Backend,
    pub features: u32,
    pub mode: Mode,
    pub step: &'a Step,
    pub outcomes: Option<(&'a Registers, &'a Outcome, &'a Outcome)>,
    pub after_setup: bool, // the second one
    pub history: &'a History,
    pub known: &'a [Option<(u64, u64)>; cpu::field::COUNT as usize],
    pub apic: &'a Apic,              // x86vcpu's after the step
    pub other: &'a Apic,             // of the other vCPU
    pub shadows: Option<(u64, u64)>, // the interrupt shadows before the step
}

type Meets = fn(&Context, &Difference) -> bool;

/// How a sequence goes on behind a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Then {
    /// Whatever differs, the next step brings in line.
    GoesOn,
    /// Other interrupts wait in the two: when all are taken, they are alike again.
    Drains,
    /// Their guests have nothing in common any more.
    Ends,
}

pub struct Row {
    pub id: &'static str,
    pub then: Then,
    only: Option<Backend>,
    meets: Meets,
}

impl Row {
    pub fn is_of(&self, backend: Backend) -> bool {
        self.only.is_none_or(|only| only == backend) && is_of(self.id, backend)
    }
}

/// V rows are of VT-x, S rows of SVM.
pub fn is_of(id: &str, backend: Backend) -> bool {
    match id.split_once('-') {
        Some(("V", _)) => backend == Backend::Vmx,
        Some(("S", _)) => backend == Backend::Svm,
        _ => true,
    }
}

/// Those that describe registers after CPUID, which have no predicates of their own.
pub fn cpuid_rows() -> &'static [&'static str] {
    cpuid::ROWS
}

const fn row(id: &'static str, meets: Meets) -> Row {
    Row {
        id,
        then: Then::GoesOn,
        only: None,
        meets,
    }
}

const fn last(id: &'static str, meets: Meets) -> Row {
    Row {
        id,
        then: Then::Ends,
        only: None,
        meets,
    }
}

const fn drains(id: &'static str, meets: Meets) -> Row {
    Row {
        id,
        then: Then::Drains,
        only: None,
        meets,
    }
}

/// Of a row that one of the two backends shows.
const fn only(backend: Backend, row: Row) -> Row {
    Row {
        only: Some(backend),
        ..row
    }
}
fn is_field(d: &Difference, fields: &[u32]) -> bool {
    matches!(d.kind, Kind::Field(number) if fields.contains(&number))
}

fn host_changes(d: &Difference, names: &[&str]) -> bool {
    d.kind == Kind::TheirHost
        && d.theirs
            .split(' ')
            .next()
            .is_some_and(|name| names.contains(&name))
}

fn complains(d: &Difference, text: &str) -> bool {
    d.kind == Kind::TheirComplaint && d.theirs.starts_with(text)
}

use cpu::feature;
use cpu::field::*;

/// Index and value of an MSR access.
fn msr(c: &Context) -> Option<(u32, Option<u64>)> {
    match *c.step {
        Step::Rdmsr(index) => Some((index, None)),
        Step::Wrmsr(index, value) => Some((index, Some(value))),
        _ => None,
    }
}

fn vmx(c: &Context) -> bool {
    c.backend == Backend::Vmx
}

fn svm(c: &Context) -> bool {
    c.backend == Backend::Svm
}

fn theirs<'a>(c: &'a Context) -> Option<&'a Outcome> {
    c.outcomes.map(|(_, theirs, _)| theirs)
}

fn ours<'a>(c: &'a Context) -> Option<&'a Outcome> {
    c.outcomes.map(|(_, _, ours)| ours)
}

fn forwards(outcome: Option<&Outcome>) -> bool {
    outcome.is_some_and(|o| matches!(o.exits.first(), Some(Exit::MsrRead(_) | Exit::MsrWrite(..))))
}

fn odd_host(c: &Context) -> bool {
    c.features & feature::ODD_HOST != 0
}

fn native(outcome: Option<&Outcome>) -> bool {
    outcome.is_some_and(|o| o.native)
}

fn panics(outcome: Option<&Outcome>, text: &str) -> bool {
    outcome.is_some_and(|o| matches!(&o.failure, Some(Failure::Panic(why)) if why.contains(text)))
}

fn of_events(d: &Difference) -> bool {
    matches!(d.kind, Kind::Exceptions | Kind::Interrupts | Kind::Order)
}

/// What differs when one side's instruction is over and the other's is not.
fn of_control_flow(d: &Difference) -> bool {
    matches!(d.kind, Kind::Exits | Kind::Stopped | Kind::Failure | Kind::Calls)
        || of_events(d)
        || is_field(d, &[RIP])
}

/// An entry of upstream's guest fails a check whose name begins with one of these.
fn fails_check(c: &Context, d: &Difference, names: &[&str]) -> bool {
    let Some(outcome) = theirs(c) else { return false };
    let named = |text: &String| {
        text.split_once(": ")
            .is_some_and(|(_, check)| names.iter().any(|name| check.starts_with(name)))
    };
    outcome
        .exits
        .iter()
        .any(|e| matches!(e, Exit::FailEntry(0 | u64::MAX)))
        && outcome.complaints.iter().any(named)
        && (matches!(d.kind, Kind::Exits | Kind::Stopped | Kind::Calls)
            || of_events(d)
            || d.kind == Kind::TheirComplaint && named(&d.theirs))
}

/// What follows from a vCPU that does not go on.
fn of_the_end(d: &Difference) -> bool {
    matches!(d.kind, Kind::Exits | Kind::Stopped | Kind::Calls | Kind::Failure) || of_events(d)
}

fn mmio(c: &Context) -> Option<&'static str> {
    match *c.step {
        Step::Mmio { form, .. } => Some(FORMS[usize::from(form)].name),
        Step::ApicWrite(..) => Some(FORMS[0].name),
        Step::ApicRead(_) => Some(FORMS[1].name),
        _ => None,
    }
}

fn only_faults(outcome: Option<&Outcome>) -> bool {
    outcome.is_some_and(|o| matches!(o.exits[..], [Exit::NestedFault { .. }]))
}

fn mov_to_cr(c: &Context, wanted: u8) -> bool {
    matches!(*c.step, Step::MovToCr { number, .. } if number == wanted)
}

fn halts_forever(outcome: Option<&Outcome>) -> bool {
    outcome.is_some_and(|o| o.exits.contains(&Exit::Halt))
}

/// Paging with two or three levels.
fn legacy_paging(c: &Context) -> bool {
    let ours = |field: u32| c.known[field as usize].map_or(0, |(_, ours)| ours);
    c.mode == Mode::Paged || (ours(CR0) >> 31 & 1 == 1 && ours(EFER) & 0x400 == 0)
}

/// In the order in which they are asked: the first row that describes a difference is the one.
const TABLE: &[&[Row]] = &[
    vcpu::ROWS,
    host::ROWS,
    apic::ROWS,
    events::ROWS,
    msr::ROWS,
    cr::ROWS,
    io::ROWS,
    insn::ROWS,
];

pub fn rows() -> impl Iterator<Item = &'static Row> {
    TABLE.iter().copied().flatten()
}

/// Rows say that x86vcpu raises an exception where upstream does not, so there is nothing to compare it with but the
/// manual: #GP(0) and #UD leave RIP where it was, and have the error code of their vector, none in real mode.
fn faults_as_the_manual_has_it(c: &Context) -> bool {
    let Some((registers, _, ours)) = c.outcomes else {
        return true;
    };
    if matches!(c.step, Step::Exception { .. } | Step::Shown(_)) {
        return true;
    }
    let protected = c.known[CR0 as usize].is_some_and(|(_, ours)| ours & 1 == 1);
    ours.events.iter().filter(|e| e.kind == 3).all(|e| {
        let code = match e.vector {
            6 => (0, 0),
            13 => (u32::from(protected), 0),
            _ => return true,
        };
        (e.has_error_code, e.error_code) == code
            && (!ours.stopped || ours.fields[RIP as usize] == registers.rip)
    })
}

/// That a row describes a difference.
pub struct Claim {
    pub id: &'static str,
    pub then: Then,
}

impl Claim {
    fn of(id: &'static str) -> Self {
        Self {
            id,
            then: Then::GoesOn,
        }
    }
}

#[derive(Default)]
pub struct Tally {
    pub counts: BTreeMap<&'static str, u64>,
    pub given: rules::Met,
    pub steps: u64,
    /// How often a row ended a sequence.
    pub endings: BTreeMap<String, u64>,
}

impl Tally {
    pub fn ends(&mut self, claims: &[Claim]) {
        for row in claims.iter().filter(|row| row.then == Then::Ends).take(1) {
            *self.endings.entry(row.id.to_owned()).or_default() += 1;
        }
    }

    /// The first row that describes it is the one.
    pub fn claims(&mut self, context: &Context, difference: &Difference) -> Option<Claim> {
        let shadow = given::shadow(difference);
        let apart = given::apart_from_nmi(context, shadow.as_ref().unwrap_or(difference));
        let difference = apart.as_ref().or(shadow.as_ref()).unwrap_or(difference);
        if apart.is_some() && difference.values.0 == difference.values.1 {
            *self.counts.entry("LA-09, LA-29").or_default() += 1;
            return Some(Claim::of("LA-09, LA-29"));
        }
        // An entry has what the last stop had.
        if shadow.is_some() && context.shadows == Some((difference.values.0 & 3, difference.values.1 & 3)) {
            *self.counts.entry("C-07").or_default() += 1;
            return Some(Claim::of("C-07"));
        }
        if matches!(
            difference.kind,
            Kind::OurComplaint | Kind::OurHost | Kind::Unexpected
        ) {
            return None;
        }
        if let Some(id) = context.step.shows(difference) {
            *self.counts.entry(id).or_default() += 1;
            return Some(Claim::of(id));
        }
        let together = cpuid::explain(context, difference);
        for id in &together {
            *self.counts.entry(id).or_default() += 1;
        }
        if let Some(id) = together.first() {
            return Some(Claim::of(id));
        }
        if !faults_as_the_manual_has_it(context) {
            return None;
        }
        if let Kind::Given(given) = difference.kind {
            return self.claims_given(context, difference, given);
        }
        let row = rows().find(|row| row.is_of(context.backend) && (row.meets)(context, difference))?;
        *self.counts.entry(row.id).or_default() += 1;
        Some(Claim {
            id: row.id,
            then: row.then,
        })
    }
}
