// SPDX-License-Identifier: Apache-2.0
//! What a step must come to here, by the manuals: a row that says so exempts nothing else.

use super::*;

pub fn exceptions(outcome: &Outcome) -> Vec<u32> {
    let exceptions = outcome.events.iter().filter(|e| e.kind == 3);
    exceptions.map(|e| e.vector).collect()
}

/// Without the #DB behind an instruction that RFLAGS.TF brings.
pub fn apart_from_steps(registers: &Registers, outcome: &Outcome) -> Vec<u32> {
    const TF: u64 = 1 << 8;
    let mut taken = exceptions(outcome);
    taken.retain(|&vector| vector != 1 || registers.rflags & TF == 0);
    taken
}

/// Where the instruction ends.
fn behind(c: &Context, registers: &Registers) -> u64 {
    registers.rip + c.step.told(c.backend, c.mode).bytes.len() as u64
}

/// x86vcpu's guest takes this exception at the instruction, no other, and nobody else hears of it.
pub fn faults(c: &Context, vector: u32) -> bool {
    c.outcomes.is_some_and(|(registers, _, ours)| {
        ours.exits.is_empty()
            && ours.failure.is_none()
            && apart_from_steps(registers, ours) == [vector]
            && (!ours.stopped || ours.fields[RIP as usize] == registers.rip)
    })
}

/// x86vcpu's guest goes on behind the instruction; `exits` is what the VMM hears.
pub fn goes_on(c: &Context, exits: &[Exit]) -> bool {
    c.outcomes.is_some_and(|(registers, _, ours)| {
        ours.exits == exits
            && ours.failure.is_none()
            && apart_from_steps(registers, ours).is_empty()
            && (!ours.stopped || ours.fields[RIP as usize] == behind(c, registers))
    })
}

/// Nothing happens to x86vcpu's guest.
pub fn stays(c: &Context) -> bool {
    c.outcomes.is_some_and(|(registers, _, ours)| {
        ours.exits.is_empty()
            && ours.failure.is_none()
            && apart_from_steps(registers, ours).is_empty()
            && (!ours.stopped || ours.fields[RIP as usize] == registers.rip)
    })
}

/// x86vcpu's guest has `value` in EDX:EAX.
pub fn reads(c: &Context, value: u64) -> bool {
    c.outcomes.is_some_and(|(_, _, ours)| {
        let [low, high] = [RAX, RDX].map(|number| ours.fields[number as usize]);
        !ours.stopped || (low, high) == (value & 0xffff_ffff, value >> 32)
    })
}

/// And what an access to memory may bring.
pub fn of_access(d: &Difference) -> bool {
    of_events(d) || matches!(d.kind, Kind::Exits) || matches!(d.kind, Kind::Field(number) if number <= RIP)
}

/// What tells how an instruction ended.
pub fn of_instruction(d: &Difference) -> bool {
    matches!(d.kind, Kind::Exits | Kind::Exceptions) || is_field(d, &[RIP])
}
