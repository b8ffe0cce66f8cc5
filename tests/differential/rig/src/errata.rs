// SPDX-License-Identifier: Apache-2.0
//! Where the two are known to differ: rows of docs/errata.md by their id, and how each is recognized. A difference that
//! no row claims is an error.

use std::collections::BTreeMap;

use crate::compare::{Difference, Kind, Outcome};
use crate::fields::Given;
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

pub const ROWS: &[Row] = &[
    row("C-22", |c, d| {
        c.after_setup && matches!(c.step, Step::Idle) && is_field(d, &[XCR0, KERNEL_GS_BASE, STAR, LSTAR])
    }),
    row("C-24", |c, d| {
        *c.step == Step::OutOfMemory
            && (d.kind == Kind::Frames
                || (d.kind == Kind::Failure && d.theirs.contains("Panic") && d.ours.contains("no memory")))
    }),
    // ---- The host when it is not a plain one
    row("V-14", |c, d| odd_host(c) && host_changes(d, &["CR3"])),
    last("V-16", |c, d| {
        odd_host(c) && fails_check(c, d, &["host selector with TI or RPL"])
    }),
    row("V-16", |c, d| {
        odd_host(c) && host_changes(d, &["DR7", "MSR.1d9", "LDTR", "ES", "DS", "FS", "GS"])
    }),
    last("C-14", |c, d| {
        odd_host(c) && (host_changes(d, &["DR0", "DR6", "DR7"]) || is_field(d, &[DR0, DR7]))
    }),
    // ---- The host and the reset state
    row("C-01d", |_, d| host_changes(d, &["XCR0"])),
    row("V-16", |_, d| {
        host_changes(d, &["GDTR.limit", "IDTR.limit", "LDTR"])
    }),
    row("V-15", |_, d| host_changes(d, &["MSR.174", "MSR.175", "MSR.176"])),
    row("V-21", |_, d| {
        complains(d, "VM entry: field")
            || (complains(d, "VM entry: the") && d.theirs.ends_with("never written"))
    }),
    row("V-04e", |_, d| {
        is_field(d, &[CR4]) && d.values.0 ^ d.values.1 == 1 << 13
    }),
    row("C-01f", |c, d| {
        is_field(d, &[XCR0]) && d.values.1 == 1 && matches!(c.step, Step::Idle)
    }),
    row("C-01f", |c, d| {
        matches!(c.step, Step::Xgetbv) && is_field(d, &[RAX]) && d.values.1 == 1
    }),
    row("C-21", |c, d| is_field(d, &[PAT]) && matches!(c.step, Step::Idle)),
    row("C-16", |_, d| is_field(d, &[TSC_AUX])),
    only(
        Backend::Svm,
        row("host interrupt on SVM", |_, d| {
            d.kind == Kind::LastExit && d.theirs == "Some(Timer)" && d.ours == "Some(Nothing)"
        }),
    ),
    // ---- CPUs that lack something
    last("S-14", |c, d| {
        svm(c) && c.features & feature::FLUSH_ASID == 0 && fails_check(c, d, &["TLB_CONTROL"])
    }),
    row("V-12", |c, d| {
        vmx(c) && complains(d, "INVEPT of type 1") && c.features & feature::INVEPT_SINGLE == 0
    }),
    row("V-12", |c, d| {
        vmx(c) && d.kind == Kind::Failure && c.outcomes.is_none() && c.features & feature::INVEPT_SINGLE == 0
    }),
    row("V-12", |c, d| {
        c.features & feature::EPT_AD == 0 && fails_check(c, d, &["EPTP accessed and dirty flags"])
    }),
    row("V-13", |_, d| complains(d, "TLB: translations of nested table")),
    last("V-11", |c, d| {
        c.features & feature::APICV == 0 && c.outcomes.is_none() && d.kind == Kind::Failure
    }),
    // ---- The local APIC, as far as a vCPU shows it
    last("C-02", |c, d| {
        panics(theirs(c), "Invalid APIC register offset") && (of_the_end(d) || is_field(d, &[RAX, RDX, RIP]))
    }),
    last("LA-12", |c, d| {
        matches!(
            *c.step,
            Step::Rdmsr(0x800..=0x8ff) | Step::Wrmsr(0x800..=0x8ff, _)
        ) && takes(ours(c), 13)
            && (of_control_flow(d) || is_field(d, &[RAX, RDX]))
    }),
    row("the end of an edge-triggered interrupt", |c, d| {
        matches!(*c.step, Step::Wrmsr(0x80b, _))
            && d.kind == Kind::Exits
            && d.theirs == "[InterruptEnd(None)]"
            && d.ours == "[]"
    }),
    last("V-05d", |c, d| {
        matches!(*c.step, Step::Mmio { address, .. } if address >> 12 == 0xfee00)
            && (of_an_access(d) || d.kind == Kind::Events)
            && is_field(d, &[RIP])
    }),
    last("V-05", |c, d| {
        matches!(*c.step, Step::Mmio { address, form } if address >> 12 == 0xfee00 && !FORMS[usize::from(form)].write)
            && matches!(d.kind, Kind::Field(number) if number < 16)
    }),
    last("C-04", |c, d| {
        panics(theirs(c), "Illegal index of GeneralRegisters 4") && (of_the_end(d) || is_field(d, &[RIP]))
    }),
    last("V-08", |c, d| {
        matches!(c.step, Step::Reason(_))
            && panics(theirs(c), "Unknown VM-exit reason")
            && (of_the_end(d) || is_field(d, &[RIP]))
    }),
    only(
        Backend::Vmx,
        last("C-19", |c, d| {
            matches!(c.step, Step::Reason(_)) && halts_forever(theirs(c)) && of_the_end(d)
        }),
    ),
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
    // ---- MSRs
    last("V-02", |c, d| {
        matches!(*c.step, Step::Wrmsr(0x1b, _))
            && panics(theirs(c), "MSR_WRITE, error BadState")
            && (of_the_end(d) || is_field(d, &[RIP]))
    }),
    row("LA-13", |c, d| {
        matches!(*c.step, Step::Wrmsr(0x1b, _)) && takes(ours(c), 13) && of_control_flow(d)
    }),
    row("LA-13", |c, d| {
        matches!(c.step, Step::Rdmsr(0x1b)) && is_field(d, &[RAX, RDX])
    }),
    row("V-01", |c, d| {
        msr(c).is_some()
            && native(theirs(c))
            && !native(ours(c))
            && (of_control_flow(d) || is_field(d, &[RAX, RDX, DEBUGCTL]))
    }),
    row("V-01", |c, d| {
        matches!(c.step, Step::Wrmsr(..)) && native(theirs(c)) && d.kind == Kind::TheirHost
    }),
    row("S-01", |c, d| {
        msr(c).is_some()
            && native(theirs(c))
            && !native(ours(c))
            && (of_control_flow(d) || is_field(d, &[RAX, RDX, DEBUGCTL]))
    }),
    row("S-01", |c, d| {
        matches!(c.step, Step::Wrmsr(..)) && native(theirs(c)) && d.kind == Kind::TheirHost
    }),
    last("S-01", |_, d| complains(d, "VMRUN without a host save area")),
    row("C-16", |c, d| {
        matches!(c.step, Step::Rdmsr(0xc000_0103))
            && is_field(d, &[RAX])
            && native(theirs(c))
            && native(ours(c))
    }),
    row("C-21", |c, d| {
        matches!(c.step, Step::Rdmsr(0x277)) && is_field(d, &[RAX, RDX])
    }),
    row("guest TSC", |c, d| {
        matches!(c.step, Step::Rdmsr(0x10)) && is_field(d, &[RAX, RDX])
    }),
    row("C-09", |c, d| {
        forwards(theirs(c)) && is_field(d, &[RIP]) && Some(d.values.0) == c.outcomes.map(|o| o.0.rip)
    }),
    row("C-09", |c, d| {
        matches!(c.step, Step::Rdmsr(_))
            && forwards(theirs(c))
            && forwards(ours(c))
            && is_field(d, &[RAX, RDX])
    }),
    only(
        Backend::Vmx,
        row("MSRs that nobody names", |c, d| {
            forwards(theirs(c)) && !forwards(ours(c)) && (of_control_flow(d) || is_field(d, &[RAX, RDX]))
        }),
    ),
    // ---- CPUID
    row("C-13", |c, d| matches!(cpuid(c, d), Some(0xb | 0x1f))),
    row("C-13", |c, d| {
        matches!(cpuid(c, d), Some(1)) && is_field(d, &[RBX])
    }),
    row("C-13b", |c, d| {
        matches!(cpuid(c, d), Some(1)) && is_field(d, &[RCX]) && (d.values.0 ^ d.values.1) >> 27 & 1 == 1
    }),
    row("C-01c", |c, d| {
        matches!(
            *c.step,
            Step::Cpuid {
                leaf: 0xd,
                subleaf: 0
            }
        ) && is_field(d, &[RAX])
            && d.values.0 & !d.values.1 == 0x60000
    }),
    row("CPUID", |c, d| matches!(cpuid(c, d), Some(0x15 | 0x16))),
    row("C-13d", |c, d| cpuid(c, d).is_some()),
    // ---- Control registers
    last("V-04a", |c, d| {
        mov_to_cr(c, 0)
            && c.known[EFER as usize].is_some_and(|(_, ours)| ours & 0x100 == 0)
            && fails_check(
                c,
                d,
                &[
                    "guest EFER.LMA and LME",
                    "IA-32e mode guest without PG and PAE",
                    "guest CR4",
                    "CS",
                    "TR type",
                ],
            )
    }),
    last("V-04b", |c, d| {
        mov_to_cr(c, 0)
            && matches!(*c.step, Step::MovToCr { value, .. } if value >> 31 & 1 == 0)
            && fails_check(c, d, &["guest EFER.LMA", "IA-32e mode guest without PG and PAE"])
    }),
    last("V-04d", |c, d| {
        mov_to_cr(c, 0) && takes(ours(c), 13) && (of_control_flow(d) || is_field(d, &[CR0, EFER]))
    }),
    row("V-04d", |_, d| {
        is_field(d, &[CR0]) && (d.values.0 ^ d.values.1) & 0xe005_002f == 0
    }),
    row("V-04d", |c, d| match *c.step {
        Step::MovFromCr { number: 0, reg } => {
            is_field(d, &[reg.into()]) && (d.values.0 ^ d.values.1) & 0xe005_002f == 0
        }
        _ => false,
    }),
    last("V-04d", |c, d| {
        mov_to_cr(c, 0) && takes(ours(c), 13) && d.kind == Kind::TheirComplaint
    }),
    last("V-04e", |c, d| {
        mov_to_cr(c, 4) && takes(ours(c), 13) && (of_control_flow(d) || is_field(d, &[CR4]))
    }),
    last("V-04e", |c, d| {
        mov_to_cr(c, 4) && takes(ours(c), 13) && d.kind == Kind::TheirComplaint
    }),
    row("V-04e", |c, d| match *c.step {
        Step::MovFromCr { number: 4, reg } => {
            is_field(d, &[reg.into()]) && d.values.0 ^ d.values.1 == 1 << 13
        }
        _ => false,
    }),
    row("V-03", |c, d| {
        matches!(*c.step, Step::MovToCr { reg, .. } if reg > 7)
            && is_field(d, &[RIP])
            && d.values.0 + 1 == d.values.1
    }),
    last("S-04a", |c, d| {
        matches!(c.step, Step::Clts | Step::Lmsw(_))
            && (of_control_flow(d) || is_field(d, &[CR0, CR2, EFER]) || complains(d, "VMRUN: "))
    }),
    last("S-04b", |c, d| {
        matches!(*c.step, Step::MovToCr { reg, .. } if reg != 0)
            && c.features & feature::DECODE == 0
            && (of_control_flow(d) || is_field(d, &[CR0, CR4, EFER]) || complains(d, "VMRUN: "))
    }),
    last("S-04c", |c, d| {
        (mov_to_cr(c, 0) || mov_to_cr(c, 4) || matches!(*c.step, Step::Wrmsr(0xc000_0080, _)))
            && takes(ours(c), 13)
            && (of_control_flow(d) || is_field(d, &[CR0, EFER]) || complains(d, "VMRUN: "))
    }),
    row("S-04c", |_, d| {
        is_field(d, &[CR0]) && (d.values.0 ^ d.values.1) & 0xe005_002f == 0
    }),
    row("S-04c", |c, d| match *c.step {
        Step::MovFromCr { number: 0, reg } => {
            is_field(d, &[reg.into()]) && (d.values.0 ^ d.values.1) & 0x8005_002f == 0
        }
        _ => false,
    }),
    row("S-12", |c, d| {
        let constant = feature::NRIPS | feature::DECODE;
        // The register of a MOV from CR is in its code, and so is that it is no SMSW.
        (c.features & constant != constant || matches!(c.step, Step::MovFromCr { .. }))
            && takes(ours(c), 14)
            && (of_control_flow(d) || matches!(d.kind, Kind::Field(number) if number < RIP || number == CR2))
    }),
    last("S-18", |c, d| {
        theirs(c).is_some_and(|o| o.failure == Some(Failure::Error("stuck"))) && of_the_end(d)
    }),
    last("S-04d", |c, d| mov_to_cr(c, 4) && is_field(d, &[CR4])),
    row("S-04e", |_, d| complains(d, "VMRUN with CR0.CD")),
    row("S-08", |c, d| {
        matches!(*c.step, Step::MovToCr { reg, .. } | Step::MovFromCr { reg, .. } if reg > 7)
            && c.features & feature::NRIPS == 0
            && is_field(d, &[RIP])
            && d.values.0 + 1 == d.values.1
    }),
    // ---- XCR0
    last("C-01a", |c, d| {
        let kills = |o: &Outcome| matches!(o.failure, Some(Failure::Error("unsupported" | "invalid input")));
        matches!(c.step, Step::Xsetbv { .. })
            && (panics(theirs(c), "XSETBV") || theirs(c).is_some_and(kills))
            && of_the_end(d)
    }),
    last("C-01b", |c, d| {
        matches!(c.step, Step::Xsetbv { .. })
            && takes(ours(c), 13)
            && (of_control_flow(d) || is_field(d, &[XCR0]))
    }),
    last("C-01b", |c, d| {
        matches!(c.step, Step::Xsetbv { .. }) && complains(d, "#GP: XSETBV")
    }),
    // ---- Ports
    row("C-09b", |c, d| {
        matches!(c.step, Step::In { width: 1 | 2, .. }) && is_field(d, &[RAX])
    }),
    last("C-10", |c, d| {
        matches!(c.step, Step::Ins { .. } | Step::Outs { .. })
            && legacy_paging(c)
            && theirs(c).is_some_and(|o| o.failure == Some(Failure::Error("unsupported")))
            && of_the_end(d)
    }),
    // ---- Device memory
    row("C-10", |c, d| {
        mmio(c).is_some()
            && legacy_paging(c)
            && only_faults(theirs(c))
            && (of_an_access(d) || d.kind == Kind::Events || is_field(d, &[CR2]))
    }),
    row("C-12b", |c, d| {
        mmio(c).is_some_and(|name| {
            name.starts_with("movzx")
                || name.starts_with("movsx")
                || name.starts_with("xchg")
                || name.contains("cs:")
        }) && only_faults(theirs(c))
            && of_an_access(d)
    }),
    // ---- Instructions that are refused or do nothing
    row("V-26", |c, d| {
        matches!(c.step, Step::Monitor | Step::Mwait | Step::Wbinvd | Step::Rdpmc)
            && native(theirs(c))
            && of_control_flow(d)
    }),
    row("S-02", |c, d| {
        matches!(
            c.step,
            Step::Invd | Step::Monitor | Step::Mwait | Step::Wbinvd | Step::Rdpmc
        ) && native(theirs(c))
            && of_control_flow(d)
    }),
    row("S-03", |c, d| {
        halts_forever(theirs(c))
            && takes(ours(c), 6)
            && !matches!(c.step, Step::Refused(_))
            && of_control_flow(d)
    }),
    last("S-07", |c, d| {
        matches!(c.step, Step::Refused(5)) && takes(ours(c), 6) && of_control_flow(d)
    }),
    row("S-07", |c, d| {
        matches!(c.step, Step::Refused(_)) && takes(ours(c), 6) && of_control_flow(d)
    }),
    row("S-05", |c, d| {
        matches!(c.step, Step::HostNmi) && halts_forever(theirs(c)) && of_control_flow(d)
    }),
    row("S-15", |c, d| {
        matches!(c.step, Step::Pause) && d.kind == Kind::Exits && d.theirs == "[Timer]"
    }),
    row("S-19", |c, d| {
        matches!(c.step, Step::Rdtsc) && d.kind == Kind::Exits && d.theirs == "[Timer]"
    }),
    only(
        Backend::Svm,
        row("host interrupt on SVM", |c, d| {
            matches!(c.step, Step::HostInterrupt(_))
                && d.kind == Kind::Exits
                && d.theirs == "[Timer]"
                && d.ours == "[]"
        }),
    ),
    row("V-07", |c, d| {
        matches!(c.step, Step::Invd | Step::Refused(_)) && halts_forever(theirs(c)) && of_control_flow(d)
    }),
    last("V-07b", |c, d| {
        matches!(c.step, Step::TripleFault | Step::TaskSwitch) && halts_forever(theirs(c)) && of_the_end(d)
    }),
    last("V-22", |c, d| {
        matches!(c.step, Step::BadEntry) && d.kind == Kind::Exits && d.theirs == "[FailEntry(0)]"
    }),
    row("guest TSC", |c, d| {
        matches!(c.step, Step::Rdtsc) && is_field(d, &[RAX, RDX])
    }),
    row("C-14", |_, d| {
        host_changes(d, &["DR0", "DR1", "DR2", "DR3", "DR6"])
    }),
    row("C-14", |_, d| is_field(d, &[DR0, DR1, DR2, DR3, DR6])),
    row(
        "C-14",
        |c, d| matches!(*c.step, Step::MovFromDr { number: 0..=6, reg } if is_field(d, &[reg.into()])),
    ),
    row("C-17", |c, d| {
        matches!(c.step, Step::Hypercall)
            && d.kind == Kind::Exits
            && c.known[RIGHTS as usize + 1].is_none_or(|(_, rights)| rights & 0x2000 == 0)
    }),
];

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
    pub given: rules::Met,
}

/// In place of a row, for what fields.toml describes.
static GIVEN: Row = row("", |_, _| true);

impl Tally {
    /// The first row that describes it is the one.
    pub fn claims(&mut self, context: &Context, difference: &Difference) -> Option<&'static Row> {
        if matches!(difference.kind, Kind::OurComplaint | Kind::OurHost) {
            return None;
        }
        if !faults_as_the_manual_has_it(context) {
            return None;
        }
        if let Kind::Given(given) = difference.kind {
            return self.claims_given(context, difference, given);
        }
        let row = ROWS
            .iter()
            .find(|row| row.is_of(context.backend) && (row.meets)(context, difference))?;
        *self.counts.entry(row.id).or_default() += 1;
        Some(row)
    }

    /// A register of the guest is for the rows, wherever it is seen; the rest is for the rules.
    fn claims_given(&mut self, context: &Context, difference: &Difference, given: Given) -> Option<&'static Row> {
        if let Some(number) = given.register() {
            let kind = Kind::Field(number);
            let row = self.claims(context, &Difference { kind, ..difference.clone() });
            if row.is_some() {
                return row;
            }
        }
        let ok = self.given.explains(context.backend, context.features, difference);
        if !ok && std::env::var("DUMP").is_ok() { println!("DUMP {}: {} {} @{}", given.name(), difference.theirs.replace(' ', "_"), difference.ours.replace(' ', "_"), format!("{:?}", context.step).split([' ','{','(']).next().unwrap()); return Some(&GIVEN); }
        ok.then_some(&GIVEN)
    }
}
