// SPDX-License-Identifier: Apache-2.0
//! Sequences of steps, at random.

mod apic;

use cpu::feature;
use proptest::prelude::*;
use proptest::sample::select;

use crate::compare::{Case, DEVICE_SIZE, PORTS};
use crate::machine::Backend;
use crate::step::*;

/// Values at which something changes, and any.
fn value() -> impl Strategy<Value = u64> {
    prop_oneof![
        select(vec![
            0,
            1,
            0x7f,
            0x80,
            0xff,
            0xffff,
            0x8000_0000,
            0xffff_ffff,
            1 << 32,
            1 << 63,
            u64::MAX
        ]),
        any::<u64>(),
        any::<u32>().prop_map(u64::from),
    ]
}

fn width() -> impl Strategy<Value = u8> {
    select(vec![1, 2, 4])
}

fn port() -> impl Strategy<Value = u16> {
    prop_oneof![
        PORTS.0..PORTS.0 + PORTS.1 - 4,
        select(vec![
            0x20, 0x40, 0x43, 0x60, 0x61, 0x64, 0x70, 0x80, 0xa1, 0xcf8, 0xcfc, 0x604, 0x7fff, 0x8000, 0xfffc
        ]),
        0..0xfffcu16,
    ]
}

/// MSRs that the guest may ask for: those that are switched, dangerous ones, unknown ones.
const MSRS: &[u32] = &[
    0x10,
    0x1b,
    0x3a,
    0x3b,
    0x48,
    0x8b,
    0xe1,
    0xfe,
    0x122,
    0x174,
    0x175,
    0x176,
    0x179,
    0x140,
    0x17a,
    0x400,
    0x401,
    0x186,
    0x1a0,
    0x1d9,
    0x200,
    0x250,
    0x277,
    0x2ff,
    0x480,
    0x48b,
    0x570,
    0x600,
    0x6e0,
    0xda0,
    0xc000_0080,
    0xc000_0081,
    0xc000_0082,
    0xc000_0083,
    0xc000_0084,
    0xc000_0100,
    0xc000_0101,
    0xc000_0102,
    0xc000_0103,
    0xc000_0104,
    0xc001_0010,
    0xc001_0015,
    0xc001_0114,
    0xc001_0117,
    0xc001_1029,
    0x4000_0000,
    0x4000_0001,
    0x4b56_4d00,
    0xdead_beef,
    0x1fff,
    0x2000,
    0xc000_1fff,
];

fn msr() -> impl Strategy<Value = u32> {
    prop_oneof![9 => select(MSRS), 1 => any::<u32>()]
}

fn cpuid() -> impl Strategy<Value = Step> {
    let leaf = prop_oneof![
        0..0x20u32,
        select(vec![
            0x4000_0000,
            0x4000_0001,
            0x4000_0002,
            0x8000_0000,
            0x8000_0001,
            0x8000_0007,
            0x8000_0008
        ]),
        0x8000_0000..0x8000_0020u32,
        any::<u32>(),
    ];
    (leaf, prop_oneof![0..4u32, any::<u32>()]).prop_map(|(leaf, subleaf)| Step::Cpuid { leaf, subleaf })
}

/// CR0 values that a guest in this mode can have, and others.
fn cr0(mode: Mode) -> impl Strategy<Value = u64> {
    let base = match mode {
        Mode::Real => 0x10u64,
        Mode::Protected => 0x11,
        _ => 0x8000_0011,
    };
    let good = any::<u64>().prop_map(move |bits| base | bits & 0x0005_002e);
    prop_oneof![6 => good, 2 => any::<u64>().prop_map(move |bits| base | bits & 0x6005_003e), 1 => value()]
}

fn cr4(mode: Mode) -> impl Strategy<Value = u64> {
    let base = match mode {
        Mode::Real | Mode::Protected => 0u64,
        Mode::Paged => 0x10,
        _ => 0x20,
    };
    let good = any::<u64>().prop_map(move |bits| base | bits & 0x0004_0684);
    // SMEP and SMAP would need pages of both kinds.
    let some = any::<u64>().prop_map(move |bits| base | bits & 0x004f_7fdf);
    prop_oneof![6 => good, 1 => some, 1 => value().prop_map(|value| value & !0x30_0000)]
}

fn gpr_index() -> impl Strategy<Value = u8> {
    select(vec![0u8, 1, 2, 3, 5, 6, 7])
}

/// Outside 64-bit mode there are eight registers.
fn cr_index(mode: Mode) -> impl Strategy<Value = u8> {
    let all = if mode == Mode::Long {
        vec![0u8, 1, 2, 3, 5, 6, 7, 8, 11, 15]
    } else {
        vec![0, 1, 2, 3, 5, 6, 7]
    };
    select(all)
}

fn control(mode: Mode) -> impl Strategy<Value = Step> {
    let to0 = (cr_index(mode), cr0(mode)).prop_map(|(reg, value)| Step::MovToCr {
        number: 0,
        reg,
        value,
    });
    let to4 = (cr_index(mode), cr4(mode)).prop_map(|(reg, value)| Step::MovToCr {
        number: 4,
        reg,
        value,
    });
    let from =
        (select(vec![0u8, 4]), cr_index(mode)).prop_map(|(number, reg)| Step::MovFromCr { number, reg });
    prop_oneof![3 => to0, 3 => to4, 2 => from, 1 => Just(Step::Clts), 1 => any::<u16>().prop_map(Step::Lmsw)]
}

fn ports(mode: Mode) -> impl Strategy<Value = Step> {
    // String instructions address RAM, which has its first 32 KiB for them.
    let address = if mode == Mode::Real {
        0x2000..0x8000u64
    } else {
        0x2000..0x2_0000u64
    };
    // Upstream's guest with two levels of page tables dies of one (C-10).
    let strings = if matches!(mode, Mode::Paged | Mode::Pae) {
        1
    } else {
        10
    };
    let count = prop_oneof![Just(None), (0..4u64).prop_map(Some)];
    prop_oneof![
        30 => (port(), width()).prop_map(|(port, width)| Step::In { port, width }),
        30 => (port(), width()).prop_map(|(port, width)| Step::Out { port, width }),
        strings => (port(), width(), address.clone(), count.clone())
            .prop_map(|(port, width, address, count)| Step::Ins { port, width, address, count }),
        strings => (port(), width(), address, count)
            .prop_map(|(port, width, address, count)| Step::Outs { port, width, address, count }),
    ]
}

/// An address size and a segment that are not the mode's own, long strings, ports in the instruction.
fn other_ports(mode: Mode) -> BoxedStrategy<Step> {
    let byte = (any::<u8>(), width(), any::<bool>()).prop_map(|(port, width, out)| Step::PortByte {
        port,
        width,
        out,
    });
    if matches!(mode, Mode::Paged | Mode::Pae) {
        return byte.boxed();
    }
    let sizes = if mode == Mode::Long {
        vec![4u8, 8]
    } else {
        vec![2, 4]
    };
    let count = prop_oneof![
        Just(None),
        (0..6u64).prop_map(Some),
        select(vec![0x1_0000u64, 0x1_0003, 0xffff_ffff, 1 << 32, 1 << 32 | 2]).prop_map(Some),
    ];
    let string = (
        (port(), width(), any::<bool>()),
        (0x2000..0x8000u64, any::<bool>()),
        count,
        select(sizes),
        select(vec![3u8, 3, 0, 1, 2, 4, 5]),
    )
        .prop_map(
            move |((port, width, out), (address, high), count, address_bytes, segment)| {
                // What is above the address size does not count.
                let above = if high && address_bytes < 8 {
                    1 << (8 * address_bytes)
                } else {
                    0
                };
                Step::PortString(PortString {
                    port,
                    width,
                    out,
                    address: address | above,
                    count,
                    address_bytes,
                    segment,
                })
            },
        );
    prop_oneof![1 => byte, 2 => string].boxed()
}

/// In real mode the device is out of reach.
fn device(mode: Mode) -> BoxedStrategy<Step> {
    if mode == Mode::Real {
        return ports(mode).boxed();
    }
    let forms: Vec<_> = (0..FORMS.len())
        .filter(|&form| mode == Mode::Long || !FORMS[form].long_only)
        .collect();
    let address = prop_oneof![
        3 => (0..DEVICE_SIZE / 8).prop_map(|at| DEVICE + 8 * at),
        1 => (0..0x1000u64).prop_map(|at| HOLE + 8 * at),
    ];
    (select(forms), address)
        .prop_map(|(form, address)| Step::Mmio {
            form: form as u8,
            address,
        })
        .boxed()
}

/// Instructions that a guest is refused or that do nothing.
fn other() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::Invd),
        Just(Step::Wbinvd),
        Just(Step::Rdtsc),
        Just(Step::Rdpmc),
        Just(Step::Pause),
        Just(Step::Monitor),
        Just(Step::Mwait),
        Just(Step::Ud2),
        Just(Step::Xgetbv),
        (0..REFUSED.len() as u8).prop_map(Step::Refused),
        (select(vec![0u8, 1, 2, 3, 6, 7]), value())
            .prop_map(|(number, value)| Step::MovToDr { number, value }),
        (select(vec![0u8, 1, 2, 3, 6, 7]), gpr_index())
            .prop_map(|(number, reg)| Step::MovFromDr { number, reg }),
        (
            prop_oneof![4 => Just(0u32), 1 => any::<u32>()],
            prop_oneof![select(vec![1u64, 3, 7, 0xe7, 0x1f, 0x207, 2, 5]), value()]
        )
            .prop_map(|(index, value)| Step::Xsetbv { index, value }),
    ]
}

fn events() -> impl Strategy<Value = Step> {
    let vector = prop_oneof![30 => 32..=255u16, 1 => 1..32u16];
    prop_oneof![
        4 => (vector, any::<bool>()).prop_map(|(vector, level)| Step::Inject { vector, level }),
        1 => (32..=255u8).prop_map(|vector| Step::CutShort { vector }),
        2 => (32..=255u8).prop_map(|wake| Step::Hlt { wake }),
        2 => any::<u8>().prop_map(Step::HostInterrupt),
        1 => Just(Step::HostNmi),
        1 => Just(Step::Timer),
        1 => (select(vec![1u8, 6, 13, 14, 17]), 0..8u32).prop_map(|(vector, code)| Step::Exception { vector, code }),
    ]
}

fn host() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..4u8).prop_map(|cpu| Step::Move { cpu }),
        Just(Step::Unmap),
        (gpr_index(), value()).prop_map(|(index, value)| Step::SetGpr { index, value }),
        (0..16u8, select(vec![2u8, 4, 8]), value()).prop_map(|(index, width, value)| Step::SetPart {
            index,
            width,
            value
        }),
        value().prop_map(Step::SetReturn),
        apic::time().prop_map(Step::Pass),
        (
            select(vec![HOLE + 0x18, DEVICE + 0x20, 0x123_4567_8000]),
            any::<bool>()
        )
            .prop_map(|(gpa, write)| Step::Walk { gpa, write }),
        (
            prop_oneof![
                Just(HOLE),
                (0..0x4_0000u64),
                any::<u32>().prop_map(|a| u64::from(a) | 1 << 36)
            ],
            0..3u64
        )
            .prop_map(|(gpa, access)| Step::Fault { gpa, access }),
    ]
}

/// Exits of VT-x that nobody asked for, or that later processors have.
const REASONS: &[u8] = &[
    17, 46, 47, 53, 57, 58, 60, 61, 62, 63, 64, 66, 67, 68, 69, 70, 72, 74, 75, 76, 77, 78, 200,
];

/// What ends a sequence, once in a while.
fn endings(backend: Backend) -> impl Strategy<Value = Step> {
    let task_switch = (0..4u8).prop_map(Step::TaskSwitchBy);
    let reason = select(REASONS).prop_map(Step::Reason);
    prop_oneof![
        4 => Just(Step::TripleFault),
        4 => task_switch,
        4 => Just(Step::BadEntry),
        if backend == Backend::Vmx { 4 } else { 0 } => reason,
    ]
}

fn step(backend: Backend, mode: Mode) -> impl Strategy<Value = Step> {
    prop_oneof![
        40 => Just(Step::Hypercall),
        24 => cpuid(),
        34 => ports(mode),
        10 => other_ports(mode),
        16 => msr().prop_map(Step::Rdmsr),
        16 => (msr(), value()).prop_map(|(msr, value)| Step::Wrmsr(msr, value)),
        if backend == Backend::Vmx { 16 } else { 6 } => control(mode),
        32 => device(mode),
        16 => other(),
        24 => events(),
        12 => host(),
        1 => endings(backend),
    ]
}

/// Flags that a guest may have while it does something: IF, and the arithmetic ones.
fn registers(mode: Mode) -> impl Strategy<Value = Registers> {
    let any_gpr = prop::array::uniform16(value());
    let high = if mode == Mode::Long {
        u64::MAX
    } else {
        u64::from(u32::MAX)
    };
    (any_gpr, 0..0x800u64, any::<bool>(), any::<bool>(), any::<u64>()).prop_map(
        move |(gpr, rip, interrupts, down, bits)| {
            // One in so many.
            let seldom = |at: u32, mask: u64| bits >> at & mask == 0;
            let user = mode != Mode::Real && seldom(16, 7);
            let iopl = if user && seldom(20, 1) { 3 << 12 } else { 0 };
            let trap = u64::from(seldom(24, 31)) << 8;
            // No CPU comes to an instruction with a single step pending and a shadow.
            let shadow = match bits >> 32 & 31 {
                0 if trap == 0 && interrupts => 1,
                1 if trap == 0 => 2,
                _ => 0,
            };
            Registers {
                gpr: gpr.map(|value| value & high),
                rip: CODE + rip,
                rflags: 2 | u64::from(interrupts) << 9 | u64::from(down) << 10 | bits & 0x8d5 | iopl | trap,
                shadow,
                user,
            }
        },
    )
}

/// Everything, and without one thing each; and what the manuals let a CPU do.
fn features() -> impl Strategy<Value = u32> {
    let variants = [
        0,
        feature::MAY_NMI_WINDOW_IN_STI,
        feature::MAY_STALE_FIELDS,
        feature::MAY_NMI_WINDOW_IN_STI | feature::MAY_STALE_FIELDS,
    ];
    (present(), select(variants.to_vec())).prop_map(|(present, variant)| present | variant)
}

fn present() -> impl Strategy<Value = u32> {
    let lacking = [
        feature::XSAVES,
        feature::AVX512 | feature::AMX,
        feature::AMX,
        feature::INVPCID,
        feature::VPID,
        feature::EPT_AD,
        feature::INVEPT_SINGLE,
        feature::NRIPS,
        feature::DECODE,
        feature::CLEAN,
    ];
    prop_oneof![
        20 => Just(feature::ALL),
        1 => Just(feature::ALL & !feature::FLUSH_ASID),
        30 => select(lacking.to_vec()).prop_map(|lacking| feature::ALL & !lacking),
    ]
}

/// What two machines of a case have in common.
#[derive(Clone, Debug)]
struct Frame {
    features: u32,
    memory: bool,
    mode: Mode,
    vcpus: u32,
    apic: bool,
}

fn frame() -> impl Strategy<Value = Frame> {
    let mode = select(vec![
        Mode::Real,
        Mode::Protected,
        Mode::Paged,
        Mode::Pae,
        Mode::Compatibility,
        Mode::Long,
        Mode::Long,
    ]);
    let vcpus = prop_oneof![3 => Just(1u32), 1 => Just(2)];
    (features(), any::<bool>(), mode, vcpus, any::<bool>()).prop_map(
        |(features, memory, mode, vcpus, apic)| Frame {
            features,
            memory,
            mode,
            vcpus,
            apic,
        },
    )
}

/// One thing, or a few that belong together.
fn few(backend: Backend, frame: &Frame) -> BoxedStrategy<Vec<Step>> {
    let plain = step(backend, frame.mode).prop_map(|step| vec![step]);
    let switch = any::<bool>().prop_map(|stays| vec![Step::Switch { stays }]);
    match (frame.apic, frame.vcpus) {
        (false, 1) => plain.boxed(),
        (false, _) => prop_oneof![9 => plain, 1 => switch].boxed(),
        (true, 1) => prop_oneof![1 => plain, 1 => apic::steps(frame.mode)].boxed(),
        (true, _) => prop_oneof![4 => plain, 4 => apic::steps(frame.mode), 1 => switch].boxed(),
    }
}

/// Those of the nth of a few steps: others, without the time that making them at random takes.
fn later(registers: &Registers, n: usize) -> Registers {
    let mut registers = registers.clone();
    registers.gpr.rotate_left(n);
    registers.rip = CODE + (registers.rip + 0x123 * n as u64) % 0x800;
    registers
}

/// A guest that halts with interrupts off is not woken (C-18); few do.
fn wakes(backend: Backend, step: &Step, mut registers: Registers) -> Registers {
    // The model's guest stays where it is when it takes an event. On SVM x86vcpu would take that for a CPU
    // that forgets the shadow (svm_keep_shadow).
    let moves = matches!(
        step,
        Step::Hypercall | Step::Cpuid { .. } | Step::In { .. } | Step::Out { .. }
    );
    if backend == Backend::Svm && (!moves || registers.user) {
        registers.shadow = 0;
    }
    let halts = matches!(step, Step::Hlt { .. } | Step::HltFor { .. });
    if halts && registers.rip & 31 != 0 {
        registers.rflags |= 0x200;
    }
    registers
}

pub fn case(backend: Backend) -> impl Strategy<Value = Case> {
    frame().prop_flat_map(move |frame| {
        let some = (few(backend, &frame), registers(frame.mode));
        prop::collection::vec(some, 1..60).prop_map(move |some| {
            let steps = some.into_iter().flat_map(|(steps, registers)| {
                let with = |(n, step): (usize, Step)| {
                    let registers = wakes(backend, &step, later(&registers, n));
                    (step, registers)
                };
                steps.into_iter().enumerate().map(with).collect::<Vec<_>>()
            });
            Case {
                features: frame.features,
                memory: frame.memory,
                mode: frame.mode,
                vcpus: frame.vcpus,
                apic: frame.apic,
                steps: steps.collect(),
            }
        })
    })
}
