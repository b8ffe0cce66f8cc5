// SPDX-License-Identifier: Apache-2.0
//! What x86vcpu's guest must find after a step, by the manual, where upstream's may find the same wrong thing: then there
//! is no difference to be seen.

use cpu::field::*;

use crate::compare::Outcome;
use crate::machine::Backend;
use crate::side::Exit;
use crate::step::{DIRECTORY_POINTERS, Mode, PML4, Registers, Step};

/// Elements of a string, or an event of the host, are not one instruction that is over.
fn is_over(step: &Step, registers: &Registers, ours: &Outcome) -> bool {
    let moved = ours.fields[RIP as usize] != registers.rip;
    let string = matches!(step, Step::Ins { .. } | Step::Outs { .. } | Step::PortString(_));
    ours.stopped && moved && !string
}

fn shadow_is_over(step: &Step, registers: &Registers, ours: &Outcome) -> bool {
    registers.shadow == 0 || !is_over(step, registers, ours) || ours.fields[SHADOW as usize] & 3 == 0
}

/// One #DB behind each instruction.
fn steps_singly(step: &Step, registers: &Registers, ours: &Outcome) -> bool {
    let traps = ours
        .events
        .iter()
        .filter(|e| e.kind == 3 && e.vector == 1)
        .count();
    registers.rflags & 0x100 == 0 || !is_over(step, registers, ours) || traps == 1
}

/// Hypercalls are the kernel's.
fn kernel_calls(step: &Step, user: bool, ours: &Outcome) -> bool {
    let calls = ours.exits.iter().any(|e| matches!(e, Exit::Hypercall { .. }));
    *step != Step::Hypercall || !user || !calls
}

/// PAE paging uses the page-directory pointers that CR3 had.
fn has_pointers(backend: Backend, mode: Mode, ours: &Outcome) -> bool {
    let field = |number: u32| ours.fields[number as usize];
    let pae = field(CR0) >> 31 & 1 == 1 && field(CR4) >> 5 & 1 == 1 && field(EFER) & 0x400 == 0;
    let asked = backend == Backend::Vmx && mode == Mode::Pae && pae && field(CR3) == DIRECTORY_POINTERS;
    !asked || !ours.stopped || [field(PDPTE0), field(PDPTE0 + 3)] == [PML4 + 0x2001, PML4 + 0x3001]
}

pub fn broken(
    backend: Backend,
    mode: Mode,
    user: bool,
    step: &Step,
    registers: &Registers,
    ours: &Outcome,
) -> Vec<String> {
    let rules = [
        (
            shadow_is_over(step, registers, ours),
            "the shadow of an instruction that is over (SDM 25.4.2)",
        ),
        (
            steps_singly(step, registers, ours),
            "no single step, or several, behind an instruction (SDM 18.3.1.4)",
        ),
        (kernel_calls(step, user, ours), "a hypercall above CPL 0 (C-17)"),
        (
            has_pointers(backend, mode, ours),
            "other page-directory pointers than memory has (SDM 4.4.1)",
        ),
    ];
    rules
        .into_iter()
        .filter(|(holds, _)| !holds)
        .map(|(_, text)| text.to_owned())
        .collect()
}
