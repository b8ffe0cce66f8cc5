// SPDX-License-Identifier: Apache-2.0
//! Cases for what an entry gives the CPU: CPUs that lack something that a control word, a field or a permission map shows,
//! and values with all the bits that a rule of fields.toml names.

use cpu::feature;

use crate::scripted::Script;
use crate::step::{DEVICE, Mode, Step};

fn lacks(name: &'static str, features: u32) -> Script {
    Script {
        name,
        backend: None,
        features: feature::ALL & !features,
        mode: Mode::Long,
        steps: vec![Step::Hypercall, Step::Rdtsc],
    }
}

fn shows(name: &'static str, mode: Mode, steps: Vec<Step>) -> Script {
    Script {
        name,
        backend: None,
        features: feature::ALL,
        mode,
        steps,
    }
}

fn cr0(value: u64) -> Step {
    Step::MovToCr {
        number: 0,
        reg: 0,
        value,
    }
}

/// With the guest's RAM as a region.
pub fn scripts() -> Vec<Script> {
    vec![
        lacks("no RDTSCP", feature::RDTSCP),
        lacks("no AMX", feature::AMX),
        lacks("no VPID", feature::VPID),
        shows(
            "a TSC of its own",
            Mode::Long,
            vec![
                Step::Wrmsr(0x10, 5),
                Step::Hypercall,
                Step::Wrmsr(0x3b, 7),
                Step::Hypercall,
            ],
        ),
        shows(
            "reserved bits of CR0, and ET",
            Mode::Protected,
            vec![cr0(0x1ffa_ffe1), cr0(0x6000_0031), cr0(0x11)],
        ),
        shows(
            "XCR0 of its own, on one CPU and on another",
            Mode::Long,
            vec![
                Step::MovToCr {
                    number: 4,
                    reg: 0,
                    value: 0x4_0020,
                },
                Step::Xsetbv { index: 0, value: 1 },
                Step::Move { cpu: 1 },
                Step::Hypercall,
            ],
        ),
        shows(
            "every CPU in turn, again and again",
            Mode::Long,
            (0..40)
                .flat_map(|n| [Step::Move { cpu: n % 4 }, Step::Hypercall])
                .collect(),
        ),
        shows(
            "the local APIC is turned off",
            Mode::Long,
            vec![Step::Wrmsr(0x1b, 0xfee0_0100)],
        ),
        shows(
            "debug registers of its own",
            Mode::Long,
            [0, 1, 2, 3, 6]
                .into_iter()
                .flat_map(|number| {
                    let value = if number == 6 {
                        0x4001
                    } else {
                        0x1000 * u64::from(number + 1)
                    };
                    [
                        Step::MovToDr { number, value },
                        Step::MovFromDr { number, reg: 3 },
                    ]
                })
                .chain([Step::MovToDr {
                    number: 0,
                    value: 0x7000,
                }])
                .collect(),
        ),
        shows(
            "task priorities",
            Mode::Long,
            [0xf0, 0x10, 0x50, 0xa0]
                .into_iter()
                .flat_map(|tpr| {
                    [
                        Step::Wrmsr(0x1b, 0xfee0_0d00),
                        Step::Wrmsr(0x808, tpr),
                        Step::Hypercall,
                    ]
                })
                .collect(),
        ),
    ]
}

fn string(out: bool, count: Option<u64>) -> Step {
    let (port, width, address) = (0x3f8, 1, 0x2000);
    if out {
        Step::Outs {
            port,
            width,
            address,
            count,
        }
    } else {
        Step::Ins {
            port,
            width,
            address,
            count,
        }
    }
}

/// With RAM that the host must be asked for: who reads what of it.
pub fn scripts_without_regions() -> Vec<Script> {
    let strings = || vec![string(true, None), string(false, None), string(false, Some(0))];
    let decoded = || {
        vec![
            Step::MovFromCr { number: 0, reg: 3 },
            Step::Clts,
            string(true, None),
            Step::Hypercall,
        ]
    };
    let old = feature::NRIPS | feature::DECODE;
    let without = |features: u32, script: Script| Script {
        features: feature::ALL & !features,
        ..script
    };
    let mmio = Step::Mmio {
        form: 0,
        address: DEVICE,
    };
    vec![
        shows("strings in real mode", Mode::Real, strings()),
        shows("strings in 64-bit mode", Mode::Long, strings()),
        shows(
            "a string with 32-bit paging",
            Mode::Paged,
            vec![string(true, None)],
        ),
        shows("device memory with 32-bit paging", Mode::Paged, vec![mmio]),
        shows("page-directory pointers", Mode::Pae, vec![cr0(0xc000_0011)]),
        without(
            old,
            shows("real mode without decode assists", Mode::Real, decoded()),
        ),
        without(
            old,
            shows("64-bit mode without decode assists", Mode::Long, decoded()),
        ),
        without(
            feature::DECODE,
            shows(
                "strings in real mode without decode assists",
                Mode::Real,
                strings(),
            ),
        ),
        without(
            feature::DECODE,
            shows(
                "strings in 64-bit mode without decode assists",
                Mode::Long,
                strings(),
            ),
        ),
        shows(
            "code that is not mapped any more",
            Mode::Real,
            vec![cr0(0xffff_ffff), Step::MovFromCr { number: 0, reg: 0 }],
        ),
    ]
}
