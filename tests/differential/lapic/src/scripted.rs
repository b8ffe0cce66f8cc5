// SPDX-License-Identifier: Apache-2.0
//! Cases that no generated sequence holds.

use x86_vlapic::{EmulatedLocalApic, X86MsrAddr};

use crate::host::{self, Host, world};
use crate::ours::Ours;
use crate::rig::Counts;
use crate::theirs::guarded;
use crate::value::Answer;

pub struct Case {
    pub name: &'static str,
    case: fn() -> Result<(), String>,
}

pub const CASES: &[Case] = &[
    Case { name: "LA-02: MSR 900H", case: msr_900h },
    Case { name: "LA-27: vCPU 64 sends to itself", case: vcpu_64 },
    Case { name: "LA-28: TSC-deadline mode fires", case: tsc_deadline },
    Case { name: "LA-31: no memory", case: no_memory },
];

pub fn run(case: &Case, _: &mut Counts) -> Result<(), String> {
    (case.case)()
}

fn expect<T: PartialEq + std::fmt::Debug>(what: &str, value: T, expected: T) -> Result<(), String> {
    if value == expected { Ok(()) } else { Err(format!("{what}: {value:?}, not {expected:?}")) }
}

fn msr_900h() -> Result<(), String> {
    host::begin(1);
    let theirs = EmulatedLocalApic::<Host>::new(0, 0);
    let ours = Ours::new(1, false).ok_or("no memory")?;
    expect("the crate's range", theirs.msr_address_range().end, X86MsrAddr::new(0x900))?;
    expect("RDMSR 900H", ours.rdmsr(0, 0x900), Answer::Refused)?;
    ours.wrmsr(0, 0x1b, 0xfee0_0d00);
    expect("RDMSR 900H in x2APIC mode", ours.rdmsr(0, 0x900), Answer::Refused)
}

fn vcpu_64() -> Result<(), String> {
    host::begin(64);
    let theirs = EmulatedLocalApic::<Host>::new(0, 64);
    let page = x86_vlapic::X86GuestPhysAddr::from_usize(0xfee0_0300);
    let answer = guarded(|| match theirs.handle_mmio_write(page, x86_vlapic::X86AccessWidth::Dword, 0x4_4041) {
        Ok(()) => Answer::Done,
        Err(error) => Answer::Error(error),
    });
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
    expect("the host's timer", (start + 5000..start + 5010).contains(&deadline), true)?;
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
