// SPDX-License-Identifier: Apache-2.0
//! Whole cases.

use super::*;

/// Memory runs out at the allocation after `after` others, while a vCPU comes to be. Upstream's answer and ours.
pub fn run_out_of_memory(backend: Backend, after: u32, tally: &mut Tally) -> Result<(), Unexplained> {
    fn attempt<S: Side>(side: &mut S, after: u32) -> (Answer<()>, Vec<String>, u32) {
        side.machine().select();
        let root = side.machine().alloc();
        let setup = Setup {
            entry: 0x1000,
            root,
            ports: vec![PORTS],
            mmio: vec![],
            memory: false,
        };
        side.machine().fail_allocation(after);
        let result = side
            .enable()
            .and_then(|()| side.create())
            .and_then(|()| side.setup(&setup));
        side.machine().fail_allocation(u32::MAX);
        side.give_back();
        (result, side.machine().take_complaints(), side.machine().frames())
    }
    let theirs = attempt(&mut Theirs::new(backend, cpu::feature::ALL), after);
    let ours = attempt(&mut Ours::new(backend, cpu::feature::ALL), after);
    let mut found = Vec::new();
    // One needs more frames than the other.
    if theirs.0.is_err() && ours.0.is_err() {
        difference(&mut found, Kind::Failure, &theirs.0.err(), &ours.0.err());
    }
    one_sided(
        &mut found,
        (Kind::TheirComplaint, &theirs.1),
        (Kind::OurComplaint, &ours.1),
    );
    difference(&mut found, Kind::Frames, &theirs.2, &ours.2);
    if ours.2 != 1 {
        let left = vec![format!("{} frames in use", ours.2)];
        one_sided(
            &mut found,
            (Kind::TheirComplaint, &[]),
            (Kind::OurComplaint, &left),
        );
    }
    let (known, apic) = ([None; field::COUNT as usize], Apic::new(0));
    let context = Context {
        backend,
        features: cpu::feature::ALL,
        mode: Mode::Real,
        step: &Step::OutOfMemory,
        outcomes: None,
        after_setup: false,
        history: &History::default(),
        known: &known,
        apic: &apic,
        other: &apic,
        shadows: None,
    };
    let rest: Vec<_> = found
        .into_iter()
        .filter(|d| tally.claims(&context, d).is_none())
        .collect();
    if rest.is_empty() {
        return Ok(());
    }
    let step = format!("out of memory after {after} frames");
    Err(Unexplained {
        step,
        differences: rest,
        traces: Default::default(),
    })
}

pub(super) fn ended_at(step: &str) -> Unexplained {
    Unexplained {
        step: step.into(),
        differences: vec![],
        traces: Default::default(),
    }
}

/// A whole case. Exits, or what could not be explained.
pub fn run_case(
    backend: Backend,
    case: &Case,
    obstinate: bool,
    tally: &mut Tally,
) -> Result<u64, Unexplained> {
    let mut pair = match Pair::new(backend, case, obstinate, tally) {
        Ok(pair) => pair,
        Err(end) if end.differences.is_empty() => return Ok(0),
        Err(end) => return Err(end),
    };
    for (step, registers) in &case.steps {
        if !pair.with_handler(case, step, registers, tally)? {
            break;
        }
    }
    let exits = pair.exits;
    tally.steps += pair.steps;
    let (_, left) = pair.finish();
    if left != 1 {
        let ours = format!("{left} frames are in use at the end, the nested table's among them");
        let lost = Difference {
            kind: Kind::OurComplaint,
            theirs: "-".into(),
            ours,
            values: (0, 0),
        };
        return Err(Unexplained {
            step: "the end".into(),
            differences: vec![lost],
            traces: Default::default(),
        });
    }
    Ok(exits)
}
