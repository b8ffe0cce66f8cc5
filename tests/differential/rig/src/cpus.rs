// SPDX-License-Identifier: Apache-2.0
//! Cases for what an entry gives the CPU: CPUs that lack something that a control word, a field or a permission map shows,
//! and values with all the bits that a rule of fields.toml names.

use cpu::feature;

use crate::scripted::Script;
use crate::step::{Mode, Step};

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

pub fn scripts() -> Vec<Script> {
    vec![
        lacks("no RDTSCP", feature::RDTSCP),
        shows(
            "reserved bits of CR0, and ET",
            Mode::Protected,
            vec![cr0(0x1ffa_ffe1), cr0(0x6000_0031), cr0(0x11)],
        ),
        shows(
            "every CPU in turn, again and again",
            Mode::Long,
            (0..40).flat_map(|n| [Step::Move { cpu: n % 4 }, Step::Hypercall]).collect(),
        ),
        shows(
            "task priorities",
            Mode::Long,
            [0xf0, 0x10, 0x50, 0xa0]
                .into_iter()
                .flat_map(|tpr| [Step::Wrmsr(0x1b, 0xfee0_0d00), Step::Wrmsr(0x808, tpr), Step::Hypercall])
                .collect(),
        ),
    ]
}
