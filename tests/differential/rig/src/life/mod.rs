// SPDX-License-Identifier: Apache-2.0
//! The life of vCPUs and CPUs, and calls of the VMM: the same ones on both libraries, and what each of them must answer.

mod cases;
mod ours;
mod theirs;

use cpu::{field, model_op};

use crate::machine::{Backend, Machine, take_calls, take_reads};
use crate::step::{CODE, DEVICE};

/// What the VMM or the host does. vCPUs are numbered in the order of their creation.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    /// On this CPU from now on.
    On(u32),
    Enable,
    Disable,
    /// The state of a CPU is given back, on or not.
    DropCpu,
    Create(u32),
    Setup(usize, Plan),
    Bind(usize),
    Unbind(usize),
    Destroy(usize),
    /// The guest does something, and run is called once.
    Run(usize, u32, &'static [(u32, u64)]),
    /// Run once more.
    Again(usize),
    SetGpr(usize, u32, u64),
    /// What a VMM of upstream's does about MSR_READ.
    Answer(usize, u64),
    Inject(usize, u32),
    /// The guest's register when it was last looked at.
    Look(u32),
    /// Whether the guest was stopped by the host's interrupt.
    Stopped,
    /// Whether a VMCS is current on this CPU.
    Current,
    /// How many ASIDs the entries so far had.
    Asids,
    /// How often, and how much, the host was asked for guest memory.
    Reads,
    /// Host: CR4.OSXSAVE off. What becomes of CR4 is told by Host.
    ClearOsxsave,
    /// What has changed of the host since it was remembered, at the beginning and by ClearOsxsave.
    Host,
}

/// What setup is told.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub entry: u64,
    pub root: u64, // beyond the table's address
    pub levels: u32,
    pub ports: (u16, u16),
    pub memory: bool,
}

pub const PLAN: Plan = Plan {
    entry: 0x1000,
    root: 0,
    levels: 4,
    ports: (0x3f8, 8),
    memory: true,
};

/// MOV [BX], AX.
const STORE: [u8; 2] = [0x89, 0x07];

/// One of the libraries.
trait Hands {
    fn machine(&mut self) -> &mut Machine;
    fn act(&mut self, act: &Act) -> String;
}

pub struct Life {
    pub name: &'static str,
    pub rows: &'static [&'static str],
    pub backend: Option<Backend>,
    pub features: u32,
    pub acts: Vec<Act>,
    pub theirs: &'static [&'static str],
    pub ours: &'static [&'static str],
}

/// Answers worth telling: all but "ok" before the last act.
fn lead(hands: &mut dyn Hands, acts: &[Act]) -> Vec<String> {
    let mut told = Vec::new();
    hands.machine().select();
    hands.machine().remember_host();
    take_reads();
    for act in acts {
        hands.machine().select();
        let text = match act {
            Act::Look(number) => format!("{:x}", hands.machine().outcome().fields[*number as usize]),
            Act::Stopped => match hands.machine().outcome().stopped {
                0 => "not stopped".into(),
                _ => "stopped".into(),
            },
            Act::Current => current(hands.machine()),
            Act::Asids => asids(hands.machine()),
            Act::ClearOsxsave => {
                let cr4 = unsafe { cpu::model_read_cr(4) };
                unsafe { cpu::model_write_cr(4, cr4 & !(1 << 18)) };
                hands.machine().remember_host();
                "ok".into()
            }
            Act::Host => hands.machine().host_changes().join(", "),
            Act::Run(_, kind, sets) => {
                let op = model_op {
                    kind: *kind,
                    length: 2,
                    a: DEVICE,
                    b: 1,
                    c: DEVICE,
                };
                hands.machine().guest_memory()[CODE as usize..][..2].copy_from_slice(&STORE);
                hands.machine().guest_sets(field::RIP, CODE);
                for &(number, value) in *sets {
                    hands.machine().guest_sets(number, value);
                }
                hands.machine().guest_does(&op);
                hands.act(act)
            }
            _ => hands.act(act),
        };
        if text != "ok" {
            told.push(text);
        }
        told.extend(
            hands
                .machine()
                .take_complaints()
                .into_iter()
                .filter(|text| !text.ends_with("never written") && !text.starts_with("VMRUN with CR0.CD"))
                .map(|text| format!("({text})")),
        );
    }
    told
}

/// By the trace: a VMPTRLD that no VMCLEAR has followed.
fn current(machine: &Machine) -> String {
    let mut current = false;
    for line in machine.trace() {
        let operation = line.split(' ').nth(2).unwrap_or("");
        current = match operation {
            "VMPTRLD" => true,
            "VMCLEAR" | "VMXOFF" => false,
            _ => current,
        };
    }
    if current {
        "a VMCS is current"
    } else {
        "none is current"
    }
    .into()
}

/// The ASID is at 58H in a VMCB (APM table B-1).
fn asids(machine: &Machine) -> String {
    let mut seen = std::collections::BTreeSet::new();
    for line in machine.trace() {
        let words: Vec<_> = line.split(' ').collect();
        if words.get(2) != Some(&"entry") {
            continue;
        }
        let hpa = words.last().and_then(|text| u64::from_str_radix(text, 16).ok());
        let vmcb: *const u8 = machine.memory(hpa.unwrap_or(0)).cast();
        if !vmcb.is_null() {
            seen.insert(unsafe { vmcb.add(0x58).cast::<u32>().read_unaligned() });
        }
    }
    format!("{} ASIDs", seen.len())
}

/// What did not come as the case has it.
fn compare(name: &str, expected: &[&str], told: &[String]) -> Vec<String> {
    if told == expected {
        return vec![];
    }
    vec![format!("    {name}: {told:?}, expected {expected:?}")]
}

/// Cases that passed and failed; rows that were met.
pub fn run(backend: Backend) -> (u64, u64, Vec<&'static str>) {
    let (mut passed, mut failed, mut met) = (0, 0, Vec::new());
    for life in cases::all() {
        if life.backend.is_some_and(|only| only != backend) {
            continue;
        }
        let theirs = lead(&mut theirs::Theirs::new(backend, life.features), &life.acts);
        let ours = lead(&mut ours::Ours::new(backend, life.features), &life.acts);
        take_calls();
        let mut wrong = compare("upstream", life.theirs, &theirs);
        wrong.extend(compare("x86vcpu", life.ours, &ours));
        if wrong.is_empty() && theirs != ours {
            passed += 1;
            met.extend(life.rows);
        } else {
            failed += 1;
            println!("FAIL {backend:?}: {}", life.name);
            wrong.iter().for_each(|line| println!("{line}"));
        }
    }
    (passed, failed, met)
}

pub fn rows(backend: Backend) -> Vec<&'static str> {
    cases::all()
        .iter()
        .filter(|life| life.backend.is_none_or(|only| only == backend))
        .flat_map(|life| life.rows.iter().copied())
        .collect()
}
