// SPDX-License-Identifier: Apache-2.0
//! Cases of a vCPU with its local APIC that chance brings about seldom.

use cpu::feature;

use crate::apic::X2APIC;
use crate::compare::Case;
use crate::step::{Mode, Registers, Step};

/// Each step with the interrupt flag that the guest has.
fn case(mode: Mode, vcpus: u32, steps: Vec<(Step, bool)>) -> Case {
    let with = |(step, interrupts): (Step, bool)| {
        let registers = Registers {
            rflags: if interrupts { 0x202 } else { 2 },
            ..Registers::begin()
        };
        (step, registers)
    };
    Case {
        features: feature::ALL,
        memory: true,
        mode,
        vcpus,
        apic: true,
        steps: steps.into_iter().map(with).collect(),
    }
}

fn write(offset: u32, value: u64) -> (Step, bool) {
    (Step::Wrmsr(0x800 + (offset >> 4), value), true)
}

fn posted_twice(first: bool) -> Vec<(Step, bool)> {
    let post = |level| Step::Inject { vector: 0x60, level };
    vec![(post(first), false), (post(!first), false), (Step::Idle, true)]
}

/// A timer that expires while the vCPU waits, is bound nowhere, and is in the guest.
fn timer(lvt: u64) -> Vec<(Step, bool)> {
    vec![
        write(0x3e0, 0xb),
        write(0x320, lvt),
        write(0x380, 1_000_000),
        (
            Step::HltFor {
                time: 1_000_000,
                wake: 0x30,
            },
            true,
        ),
        write(0x380, 1_000_000),
        (
            Step::PassUnbound {
                cpu: 1,
                time: 2_500_000,
            },
            true,
        ),
        (Step::Idle, true),
        write(0x380, 1_000_000),
        (Step::PassInside(1_000_000), true),
        (Step::Rdmsr(0x839), true),
    ]
}

pub fn cases() -> Vec<(&'static str, Case)> {
    let other = (Step::Switch { stays: true }, true);
    let elsewhere = (Step::PassUnbound { cpu: 1, time: 0 }, true);
    vec![
        (
            "a vector that waits is posted with the other trigger mode",
            case(Mode::Long, 1, posted_twice(true)),
        ),
        (
            "and the other way round",
            case(Mode::Long, 1, posted_twice(false)),
        ),
        ("a one-shot timer", case(Mode::Long, 1, timer(0x40))),
        ("a periodic timer", case(Mode::Long, 1, timer(0x2_0040))),
        ("a timer in real mode", case(Mode::Real, 1, timer(0x40))),
        (
            "the page of a local APIC that is in x2APIC mode, and of one that is off",
            case(
                Mode::Protected,
                1,
                vec![
                    (Step::Wrmsr(0x1b, X2APIC), true),
                    (Step::ApicRead(0x80), true),
                    (Step::ApicWrite(0x80, 0x20), true),
                    (Step::Wrmsr(0x1b, 0xfee0_0100), true),
                    (Step::ApicRead(0x80), true),
                ],
            ),
        ),
        (
            "interrupts from one to the other, both bound",
            case(
                Mode::Long,
                2,
                vec![
                    elsewhere,
                    other.clone(),
                    other.clone(),
                    write(0x300, 1 << 32 | 0x4061),
                    write(0x300, 0xc_4062),
                    other.clone(),
                    (Step::Idle, true),
                    write(0x300, 0x8_4063),
                    write(0x3f0, 0x64),
                    other,
                    (Step::Idle, true),
                ],
            ),
        ),
        (
            "an NMI from one to the other",
            case(
                Mode::Long,
                2,
                vec![
                    (Step::Switch { stays: false }, true),
                    write(0x300, 0x4400),
                    (Step::Switch { stays: false }, true),
                    (Step::Idle, true),
                ],
            ),
        ),
    ]
}
