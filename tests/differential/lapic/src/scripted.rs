// SPDX-License-Identifier: Apache-2.0
//! Cases that no generated sequence holds.

use x86_vlapic::{EmulatedLocalApic, X86MsrAddr};

use crate::host::{self, Host, world};
use crate::op::{Op, Sequence};
use crate::ours::Ours;
use crate::rig::{self, Counts};
use crate::theirs::{Theirs, guarded};
use crate::value::Answer;

pub struct Case {
    pub name: &'static str,
    case: fn() -> Result<(), String>,
}

pub const CASES: &[Case] = &[
    Case {
        name: "LA-02: MSR 900H",
        case: msr_900h,
    },
    Case {
        name: "LA-27: vCPU 64 sends to itself",
        case: vcpu_64,
    },
    Case {
        name: "LA-28: TSC-deadline mode fires",
        case: tsc_deadline,
    },
    Case {
        name: "LA-36: the host can neither start nor cancel a timer",
        case: host_without_timers,
    },
    Case {
        name: "LA-31: no memory",
        case: no_memory,
    },
];

pub fn run(case: &Case) -> Result<(), String> {
    (case.case)()
}

// ---- Sequences for rows that the generator seldom meets ------------------------------------------------------

/// Of one vCPU, in xAPIC mode.
pub struct Steps {
    pub name: &'static str,
    steps: &'static [Step],
}

#[derive(Clone, Copy)]
enum Step {
    Read(u32),
    Write(u32, u64),
    Interrupt(u8, bool),
    Enter,
    Clock(u64),
    Late(u64),
}

use Step::{Clock, Enter, Interrupt, Late, Read, Write};

pub const SEQUENCES: &[Steps] = &[
    Steps {
        name: "LA-14: an EOI with SVR bit 12",
        steps: &[Write(0xf0, 0x11ff), Interrupt(0x41, true), Enter, Write(0xb0, 0)],
    },
    Steps {
        name: "LA-03: EOI of vector 1FH",
        steps: &[
            Write(0xf0, 0x1ff),
            Interrupt(0x1f, true),
            Enter,
            Read(0xa0),
            Write(0xb0, 0),
            Read(0x100),
        ],
    },
    Steps {
        name: "C-03e: an edge while a level is in service",
        steps: &[
            Write(0xf0, 0x1ff),
            Interrupt(0x41, true),
            Enter,
            Interrupt(0x41, false),
            Write(0xb0, 0),
            Enter,
            Write(0xb0, 0),
        ],
    },
    Steps {
        name: "LA-01: ESR after a reserved register",
        steps: &[
            Read(0x10),
            Write(0x280, 0),
            Read(0x280),
            Write(0x280, 0),
            Read(0x280),
        ],
    },
    Steps {
        name: "LA-23: a timer vector below 16",
        steps: &[
            Write(0xf0, 0x1ff),
            Write(0x3e0, 0xb),
            Write(0x320, 0x0f),
            Write(0x380, 1000),
            Clock(1000),
            Write(0x280, 0),
            Read(0x280),
        ],
    },
    Steps {
        name: "LA-18: the error interrupt of a bad timer vector",
        steps: &[
            Write(0xf0, 0x1ff),
            Write(0x370, 0xfe),
            Write(0x3e0, 0xb),
            Write(0x320, 0x0f),
            Write(0x380, 1000),
            Clock(1000),
            Enter,
        ],
    },
    Steps {
        name: "LA-09: a lowest-priority message with a bad vector",
        steps: &[
            Write(0xf0, 0x1ff),
            Write(0x300, 0x4105),
            Write(0x280, 0),
            Read(0x280),
        ],
    },
    Steps {
        name: "LA-22: the count is read while the call is late",
        steps: &[
            Write(0xf0, 0x1ff),
            Write(0x3e0, 0xb),
            Write(0x320, 0x2_0041),
            Write(0x380, 1_000_000),
            Late(1_200_000),
            Read(0x390),
            Clock(0),
            Enter,
            Read(0x390),
        ],
    },
    Steps {
        name: "LA-19: an expiry while masked",
        steps: &[
            Write(0xf0, 0x1ff),
            Write(0x3e0, 0xb),
            Write(0x320, 0x1_0041),
            Write(0x380, 1000),
            Clock(1000),
            Write(0x320, 0x41),
            Enter,
        ],
    },
    Steps {
        name: "LA-15: the timer's vector unmasked while disabled",
        steps: &[
            Write(0x3e0, 0xb),
            Write(0x320, 0x41),
            Write(0x380, 1000),
            Clock(1000),
            Enter,
        ],
    },
    Steps {
        name: "LA-10: a logical destination before DFR is written",
        steps: &[
            Write(0xf0, 0x1ff),
            Write(0xd0, 0x0100_0000),
            Write(0x310, 0x1100_0000),
            Write(0x300, 0x4841),
            Enter,
        ],
    },
    Steps {
        name: "LA-28: the timer's reserved mode",
        steps: &[
            Write(0xf0, 0x1ff),
            Write(0x320, 0x6_0041),
            Write(0x380, 1000),
            Read(0x380),
            Clock(3000),
            Enter,
        ],
    },
];

pub fn perform(sequence: &Steps, counts: &mut Counts) -> Result<(), String> {
    let op = |step: &Step| match *step {
        Read(offset) => Op::Read {
            vcpu: 0,
            offset,
            bytes: 4,
        },
        Write(offset, value) => Op::Write {
            vcpu: 0,
            offset,
            bytes: 4,
            value,
        },
        Interrupt(vector, level) => Op::Interrupt {
            vcpu: 0,
            vector,
            level,
        },
        Enter => Op::Enter { vcpu: 0 },
        Clock(ns) => Op::Clock { ns },
        Late(ns) => Op::Late { ns },
    };
    let ops: Vec<Op> = sequence.steps.iter().map(op).collect();
    let count = ops.len();
    let outcome = rig::run(
        &Sequence {
            vcpus: 1,
            sends: false,
            ops,
        },
        counts,
    );
    match outcome.difference {
        Some(difference) => Err(format!("operation {}: {difference}", difference.step)),
        None if outcome.operations != count => Err(format!("ended after operation {}", outcome.operations)),
        None => Ok(()),
    }
}

// ---- Cases of their own -----------------------------------------------------------------------------------------

fn expect<T: PartialEq + std::fmt::Debug>(what: &str, value: T, expected: T) -> Result<(), String> {
    if value == expected {
        Ok(())
    } else {
        Err(format!("{what}: {value:?}, not {expected:?}"))
    }
}

fn msr_900h() -> Result<(), String> {
    host::begin(1);
    let theirs = EmulatedLocalApic::<Host>::new(0, 0);
    let ours = Ours::new(1, false).ok_or("no memory")?;
    expect(
        "the crate's range",
        theirs.msr_address_range().end,
        X86MsrAddr::new(0x900),
    )?;
    expect("RDMSR 900H", ours.rdmsr(0, 0x900), Answer::Refused)?;
    ours.wrmsr(0, 0x1b, 0xfee0_0d00);
    expect("RDMSR 900H in x2APIC mode", ours.rdmsr(0, 0x900), Answer::Refused)
}

fn vcpu_64() -> Result<(), String> {
    host::begin(64);
    let theirs = EmulatedLocalApic::<Host>::new(0, 64);
    let page = x86_vlapic::X86GuestPhysAddr::from_usize(0xfee0_0300);
    let answer =
        guarded(
            || match theirs.handle_mmio_write(page, x86_vlapic::X86AccessWidth::Dword, 0x4_4041) {
                Ok(()) => Answer::Done,
                Err(error) => Answer::Error(error),
            },
        );
    expect("the crate's vCPU 64", answer, Answer::Panic)?;
    // The library has vCPUs 0 to 63, and each can send to itself and to the last.
    let ours = Ours::new(64, false).ok_or("no memory")?;
    ours.write(63, 0xf0, 4, 0x1ff);
    expect("ICR to itself", ours.write(63, 0x300, 4, 0x4_4041), Answer::Done)?;
    expect("its interrupt", ours.enter(63), Some(0x41))?;
    ours.write(0, 0x310, 4, 63 << 24);
    expect("ICR to vCPU 63", ours.write(0, 0x300, 4, 0x4051), Answer::Done)?;
    expect("that interrupt", ours.enter(63), Some(0x51))
}

fn tsc_deadline() -> Result<(), String> {
    host::begin(1);
    let ours = Ours::new(1, false).ok_or("no memory")?;
    let start = world(|w| w.now);
    ours.write(0, 0xf0, 4, 0x1ff);
    ours.write(0, 0x320, 4, 0x4_0041);
    expect("WRMSR 6E0H", ours.wrmsr(0, 0x6e0, start + 5000), Answer::Done)?;
    expect("RDMSR 6E0H", ours.rdmsr(0, 0x6e0), Answer::Value(start + 5000))?;
    let deadline = world(|w| w.ours.get(&0).map(|timer| timer.deadline)).ok_or("no timer at the host")?;
    expect(
        "the host's timer",
        (start + 5000..start + 5010).contains(&deadline),
        true,
    )?;
    world(|w| w.now = deadline);
    host::fire_ours(0);
    expect("its interrupt", ours.enter(0), Some(0x41))?;
    expect("RDMSR 6E0H afterwards", ours.rdmsr(0, 0x6e0), Answer::Value(0))
}

fn no_memory() -> Result<(), String> {
    host::begin(3);
    world(|w| w.frames_left = Some(2));
    expect("the library", Ours::new(3, false).is_none(), true)?;
    expect("frames that are left over", world(|w| w.frames.len()), 0)?;
    world(|w| w.frames_left = Some(0));
    let answer = guarded(|| {
        EmulatedLocalApic::<Host>::new(0, 0);
        Answer::Done
    });
    expect("the crate", answer, Answer::Panic)
}

fn host_without_timers() -> Result<(), String> {
    let unavailable = Answer::Error(x86_vlapic::X86VlapicError::TimerUnavailable);
    host::begin(1);
    let theirs = Theirs::new(1);
    let ours = Ours::new(1, false).ok_or("no memory")?;
    let write = |offset, value| (theirs.write(0, offset, 4, value), ours.write(0, offset, 4, value));
    for (offset, value) in [(0xf0, 0x1ff), (0x3e0, 0xb), (0x320, 0x41)] {
        write(offset, value);
    }
    world(|w| w.timers_fail = true);
    expect("a count", write(0x380, 1000), (unavailable, Answer::Done))?;
    world(|w| w.now += 999);
    expect("before its end", ours.enter(0), None)?;
    world(|w| w.now += 1);
    expect("its interrupt", ours.enter(0), Some(0x41))?;
    world(|w| w.timers_fail = false);
    write(0xb0, 0);
    write(0x380, 1000);
    world(|w| w.timers_fail = true);
    expect(
        "a timer that goes on",
        write(0x380, 0),
        (unavailable, Answer::Done),
    )?;
    world(|w| w.now += 1000);
    host::fire_ours(0);
    expect("the interrupt of a stopped timer", ours.enter(0), None)?;
    world(|w| w.timers_fail = false);
    Ok(())
}
