// SPDX-License-Identifier: Apache-2.0
//! Where the two are known to differ: rows of docs/errata.md by their id, and how each is recognized. A difference that
//! no row claims is an error.

mod apic;
mod cpuid;
mod cr;
mod events;
mod host;
mod insn;
mod io;
mod msr;

use std::collections::BTreeMap;

use crate::compare::{Difference, Kind, Outcome};
use crate::machine::Backend;
use crate::side::{Exit, Failure};
use crate::step::{FORMS, Mode, Registers, Step};

pub struct Context<'a> {
    pub backend: Backend,
    pub features: u32,
    pub mode: Mode,
    pub step: &'a Step,
    pub outcomes: Option<(&'a Registers, &'a Outcome, &'a Outcome)>,
    pub after_setup: bool, // the second one
    pub known: &'a [Option<(u64, u64)>; cpu::field::COUNT as usize],
}

type Meets = fn(&Context, &Difference) -> bool;

pub struct Row {
    pub id: &'static str,
    /// What waits in the two, or the modes of their guests, are different from here.
    pub ends: bool,
    only: Option<Backend>,
    meets: Meets,
}

impl Row {
    /// V rows are of VT-x, S rows of SVM.
    pub fn is_of(&self, backend: Backend) -> bool {
        match (self.only, self.id.split_once('-')) {
            (Some(only), _) => backend == only,
            (_, Some(("V", _))) => backend == Backend::Vmx,
            (_, Some(("S", _))) => backend == Backend::Svm,
            _ => true,
        }
    }
}

const fn row(id: &'static str, meets: Meets) -> Row {
    Row {
        id,
        ends: false,
        only: None,
        meets,
    }
}

const fn last(id: &'static str, meets: Meets) -> Row {
    Row {
        id,
        ends: true,
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

/// The guest takes #GP(0), or #UD.
fn takes(outcome: Option<&Outcome>, vector: u32) -> bool {
    outcome.is_some_and(|o| o.events.iter().any(|e| e.kind == 3 && e.vector == vector))
}

fn panics(outcome: Option<&Outcome>, text: &str) -> bool {
    outcome.is_some_and(|o| matches!(&o.failure, Some(Failure::Panic(why)) if why.contains(text)))
}

/// What differs when one side's instruction is over and the other's is not.
fn of_control_flow(d: &Difference) -> bool {
    matches!(
        d.kind,
        Kind::Exits | Kind::Events | Kind::Stopped | Kind::Failure | Kind::Calls
    ) || is_field(d, &[RIP])
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
        && (matches!(d.kind, Kind::Exits | Kind::Stopped | Kind::Calls | Kind::Events)
            || d.kind == Kind::TheirComplaint && named(&d.theirs))
}

/// What follows from a vCPU that does not go on.
fn of_the_end(d: &Difference) -> bool {
    matches!(
        d.kind,
        Kind::Exits | Kind::Stopped | Kind::Calls | Kind::Failure | Kind::Events
    )
}

fn mmio(c: &Context) -> Option<&'static str> {
    match *c.step {
        Step::Mmio { form, .. } => Some(FORMS[usize::from(form)].name),
        _ => None,
    }
}

fn only_faults(outcome: Option<&Outcome>) -> bool {
    outcome.is_some_and(|o| matches!(o.exits[..], [Exit::NestedFault { .. }]))
}

fn of_an_access(d: &Difference) -> bool {
    matches!(d.kind, Kind::Exits) || matches!(d.kind, Kind::Field(number) if number <= RIP)
}

fn mov_to_cr(c: &Context, wanted: u8) -> bool {
    matches!(*c.step, Step::MovToCr { number, .. } if number == wanted)
}

fn halts_forever(outcome: Option<&Outcome>) -> bool {
    outcome.is_some_and(|o| o.exits.contains(&Exit::Halt))
}

fn queued(c: &Context) -> bool {
    c.outcomes.is_some_and(|(_, theirs, ours)| {
        let interrupts = |o: &Outcome| o.events.iter().filter(|e| e.kind == 0 || e.kind == 7).count();
        interrupts(theirs) != 0 || interrupts(ours) != 0
    })
}

/// The same events in another order.
fn reordered(c: &Context) -> bool {
    c.outcomes.is_some_and(|(_, theirs, ours)| {
        let sorted = |o: &Outcome| {
            let mut list: Vec<_> = o.events.iter().map(|e| (e.kind, e.vector)).collect();
            list.sort_unstable();
            list
        };
        sorted(theirs) == sorted(ours)
    })
}

/// Upstream delivers the lower of two vectors.
fn lower_first(c: &Context) -> bool {
    c.outcomes.is_some_and(
        |(_, theirs, ours)| match (theirs.events.first(), ours.events.first()) {
            (Some(first), Some(other)) => first.kind == 0 && other.kind == 0 && first.vector < other.vector,
            _ => false,
        },
    )
}

fn low_vector(outcome: Option<&Outcome>) -> bool {
    outcome.is_some_and(|o| o.events.iter().any(|e| e.vector < 32 && e.kind != 0))
}

fn low_vector_of_ours(outcome: Option<&Outcome>) -> bool {
    outcome.is_some_and(|o| o.events.iter().any(|e| e.vector < 32 && e.kind == 0))
}

/// Paging with two or three levels.
fn legacy_paging(c: &Context) -> bool {
    let ours = |field: u32| c.known[field as usize].map_or(0, |(_, ours)| ours);
    c.mode == Mode::Paged || (ours(CR0) >> 31 & 1 == 1 && ours(EFER) & 0x400 == 0)
}

const CPUID_REGISTERS: &[u32] = &[RAX, RBX, RCX, RDX];

fn cpuid(c: &Context, d: &Difference) -> Option<u32> {
    match *c.step {
        Step::Cpuid { leaf, .. } if is_field(d, CPUID_REGISTERS) => Some(leaf),
        _ => None,
    }
}

/// In the order in which they are asked: the first row that describes a difference is the one.
const TABLE: &[&[Row]] = &[
    host::ROWS,
    apic::ROWS,
    events::ROWS,
    msr::ROWS,
    cpuid::ROWS,
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
    if matches!(c.step, Step::Exception { .. }) {
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

#[derive(Default)]
pub struct Tally {
    pub counts: BTreeMap<&'static str, u64>,
}

impl Tally {
    /// The first row that describes it is the one.
    pub fn claims(&mut self, context: &Context, difference: &Difference) -> Option<&'static Row> {
        if matches!(difference.kind, Kind::OurComplaint | Kind::OurHost) {
            return None;
        }
        if !faults_as_the_manual_has_it(context) {
            return None;
        }
        let row = rows().find(|row| row.is_of(context.backend) && (row.meets)(context, difference))?;
        *self.counts.entry(row.id).or_default() += 1;
        Some(row)
    }
}
