// SPDX-License-Identifier: Apache-2.0
//! A step of one side: what the host does before it, the runs, and the answers to exits.

use super::*;

fn before_run(side: &mut dyn Side, step: &Step) {
    match *step {
        Step::Inject { vector, level } => drop(side.inject(vector.into(), level)),
        Step::Inject2 { first, second } => {
            let _ = side.inject(first.into(), false);
            let _ = side.inject(second.into(), false);
        }
        Step::CutShort { vector } => drop(side.inject(vector.into(), false)),
        Step::SetGpr { index, value } => drop(side.set_gpr(index.into(), value)),
        Step::Shown(ref shown) => {
            for &vector in &shown.inject {
                let _ = side.inject(vector, false);
            }
        }
        Step::SetPart { index, width, value } => drop(side.set_gpr_part(index.into(), width, value)),
        Step::SetReturn(value) => drop(side.set_return_value(value)),
        Step::Pass(time) => side.machine().clock().pass(time),
        Step::PassInside(time) => side.machine().clock().pass_inside(time),
        Step::Unmap => {
            side.machine().nested_changed();
            side.flush_nested_of_all();
        }
        _ => {}
    }
}

/// What the VMM's devices answer.
pub fn data(registers: &Registers) -> u64 {
    registers.gpr[15].rotate_left(7) ^ 0x8765_4321_fedc_ba98
}

/// It halted, after so many other exits. What the VMM injects into it, if anything.
fn wake(side: &mut dyn Side, step: &Step, halts: usize) -> Option<u8> {
    match *step {
        Step::Hlt { wake } => Some(wake),
        Step::HltFor { time, wake } => {
            if halts == 0 {
                side.machine().clock().pass(time);
            }
            (halts != 0 || !side.has_pending_event()).then_some(wake)
        }
        _ => None,
    }
}

fn respond(side: &mut dyn Side, exit: &Exit, registers: &Registers) -> Option<Failure> {
    let value = match exit {
        Exit::PortRead { width, .. } => data(registers) & ((1 << (8 * width)) - 1),
        _ => data(registers),
    };
    side.answer(exit, value).err()
}

fn ends(exit: &Exit) -> bool {
    matches!(exit, Exit::Down | Exit::FailEntry(_))
}

/// `hears`: by vCPU, whether an interrupt from another reaches it.
pub(super) fn drive(
    side: &mut dyn Side,
    step: &Step,
    registers: &Registers,
    hears: [bool; VCPUS],
) -> Outcome {
    let (mut exits, mut failure, mut host, mut last) = (Vec::new(), None, Vec::new(), None);
    let (mut sent, mut woken) = (Vec::new(), None);
    side.machine().select();
    let begin = side.machine().clock().now();
    let ended = (*step == Step::HostEoi).then(|| side.handle_eoi());
    before_run(side, step);
    for _ in 0..MOST_RUNS {
        side.machine().select();
        side.machine().remember_host();
        let answer = side.run();
        host.extend(side.machine().host_changes());
        for (vcpu, vector) in take_sent() {
            if hears[vcpu as usize] {
                sent.push((vcpu, vector));
                let _ = side.send(vcpu as usize, vector);
            }
        }
        let stopped = side.machine().outcome().stopped != 0;
        if side.machine().outcome().stuck != 0 {
            failure = Some(Failure::Error("stuck"));
            break;
        }
        match answer {
            Err(error) => failure = Some(error),
            Ok(exit) if stopped => last = Some(exit),
            Ok(Exit::Nothing) => continue,
            Ok(exit) => {
                match exit {
                    Exit::Halt if woken.is_none() => {
                        woken = wake(side, step, exits.len());
                        failure = woken.and_then(|vector| side.inject(vector.into(), false).err());
                    }
                    _ => failure = respond(side, &exit, registers),
                }
                exits.push(exit);
            }
        }
        let enough = exits.len() == PATIENCE || exits.last().is_some_and(ends);
        if stopped || failure.is_some() || enough {
            break;
        }
    }
    let outcome = side.machine().outcome();
    Outcome {
        exits,
        failure,
        stopped: outcome.stopped != 0,
        native: outcome.native != 0,
        events: outcome.events[..outcome.event_count as usize].to_vec(),
        fields: outcome.fields,
        calls: take_calls(),
        asked: asked::take(),
        complaints: side.machine().take_complaints(),
        host,
        last,
        before: outcome.before as usize,
        sent,
        ended,
        time: [begin, side.machine().clock().now()],
        woken,
    }
}
