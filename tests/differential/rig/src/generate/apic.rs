// SPDX-License-Identifier: Apache-2.0
//! What a guest does with its local APIC, and the time that passes.

use proptest::prelude::*;
use proptest::sample::select;

use crate::step::{Mode, Step};

fn vector() -> impl Strategy<Value = u32> {
    prop_oneof![9 => 32..=255u32, 1 => 16..32u32]
}

/// What a guest writes into a register; illegal vectors and reserved bits among it.
fn value(offset: u32) -> BoxedStrategy<u32> {
    match offset {
        0x80 => prop_oneof![6 => Just(0u32), 2 => 0..=255u32].boxed(),
        0xf0 => prop_oneof![6 => Just(0x1ffu32), 1 => Just(0xff)].boxed(),
        0x320 => (
            vector(),
            select(vec![0u32, 0, 0, 0x2_0000, 0x2_0000, 0x1_0000, 0x3_0000]),
        )
            .prop_map(|(vector, bits)| vector | bits)
            .boxed(),
        0x380 => prop_oneof![
            1 => Just(0),
            6 => 1..200_000u32,
            2 => 200_000..4_000_000u32,
            1 => any::<u32>()
        ]
        .boxed(),
        0x3e0 => select(vec![0xbu32, 0xb, 0xb, 0, 1, 2, 3, 8, 9, 0xa]).boxed(),
        0x370 => (vector(), select(vec![0u32, 0x1_0000]))
            .prop_map(|(vector, bits)| vector | bits)
            .boxed(),
        0x350 | 0x360 => select(vec![0x1_0700u32, 0x1_0000, 0x700, 0x400]).boxed(),
        0x3f0 => vector().boxed(),
        _ => Just(0).boxed(),
    }
}

const WRITTEN: &[u32] = &[
    0x80, 0x80, 0xb0, 0xf0, 0x280, 0x320, 0x320, 0x320, 0x350, 0x360, 0x370, 0x380, 0x380, 0x380, 0x3e0,
    0x3e0, 0x3f0,
];

const READ: &[u32] = &[
    0x20, 0x30, 0x80, 0xa0, 0xd0, 0xf0, 0x110, 0x120, 0x170, 0x1a0, 0x220, 0x270, 0x280, 0x320, 0x350, 0x360,
    0x370, 0x380, 0x390, 0x390, 0x3e0,
];

/// A message: to itself, to all, to all others, or to one.
fn message(x2apic: bool) -> impl Strategy<Value = Vec<(u32, u64)>> {
    let shorthand = select(vec![1u64, 1, 2, 3, 3]).prop_map(|n| n << 18);
    let kind = prop_oneof![60 => Just(0u64), 6 => Just(4u64), 2 => 5..=6u64].prop_map(|n| n << 8);
    let one = (0..3u64).prop_map(move |id| if x2apic { id << 32 } else { id << 56 });
    let to = prop_oneof![3 => shorthand, 3 => one];
    (vector(), kind, to).prop_map(move |(vector, kind, to)| {
        let low = u64::from(vector) | kind | 1 << 14 | to & 0xf_ffff;
        let high = to >> 32;
        if x2apic {
            vec![(0x300, low | high << 32)]
        } else {
            vec![(0x310, high), (0x300, low)]
        }
    })
}

fn write(x2apic: bool, offset: u32, value: u64) -> Step {
    if x2apic {
        Step::Wrmsr(0x800 + (offset >> 4), value)
    } else {
        Step::ApicWrite(offset as u16, value as u32)
    }
}

fn read(x2apic: bool, offset: u32) -> Step {
    if x2apic {
        Step::Rdmsr(0x800 + (offset >> 4))
    } else {
        Step::ApicRead(offset as u16)
    }
}

/// How long until something happens, or long after.
pub fn time() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..400_000u64, 2 => 400_000..20_000_000u64, 1 => Just(100_000_000)]
}

fn passing() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => time().prop_map(Step::Pass),
        3 => time().prop_map(Step::PassInside),
        2 => (0..4u8, time()).prop_map(|(cpu, time)| Step::PassUnbound { cpu, time }),
        3 => (time(), 32..=255u8).prop_map(|(time, wake)| Step::HltFor { time, wake }),
    ]
}

/// A timer that is set, one after the other, and time for it.
fn timer(x2apic: bool) -> impl Strategy<Value = Vec<Step>> {
    (value(0x320), value(0x3e0), value(0x380), passing()).prop_map(move |(vector, divide, count, passing)| {
        vec![
            write(x2apic, 0x3e0, divide.into()),
            write(x2apic, 0x320, vector.into()),
            write(x2apic, 0x380, count.into()),
            passing,
        ]
    })
}

/// Steps of a guest whose local APIC is on.
pub fn steps(mode: Mode) -> BoxedStrategy<Vec<Step>> {
    let x2apic = mode != Mode::Protected;
    // There is no SELF IPI register in xAPIC mode.
    let written = &WRITTEN[..WRITTEN.len() - usize::from(!x2apic)];
    let writes = select(written)
        .prop_flat_map(move |offset| value(offset).prop_map(move |v| vec![write(x2apic, offset, v.into())]));
    let reads = select(READ).prop_map(move |offset| vec![read(x2apic, offset)]);
    let messages = message(x2apic).prop_map(move |writes| {
        writes
            .into_iter()
            .map(|(offset, value)| write(x2apic, offset, value))
            .collect()
    });
    prop_oneof![
        6 => writes,
        4 => reads,
        3 => messages,
        3 => timer(x2apic),
        6 => passing().prop_map(|step| vec![step]),
        2 => Just(vec![Step::HostEoi]),
    ]
    .boxed()
}
