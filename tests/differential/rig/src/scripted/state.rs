// SPDX-License-Identifier: Apache-2.0
//! Rows about events, MSRs, CPUID and control registers: what each library must come to.

use cpu::{feature, field, op};

use super::{SVM, Script, VMX, script_for};
use crate::shown::*;
use crate::side::Exit;
use crate::step::*;

const MTRR_DEF_TYPE: u32 = 0x2ff;
const SPEC_CTRL: u32 = 0x48;
const TSC_DEADLINE: u32 = 0x6e0;
/// Page-directory pointers for PAE.
const POINTERS: u64 = 0x3_8000;

fn rdmsr(row: &'static str, msr: u32) -> Shown {
    shows(row, op::RDMSR, &[0x0f, 0x32]).set(field::RCX, msr.into())
}

fn wrmsr(row: &'static str, msr: u32, value: u64) -> Shown {
    let [low, high] = edx_eax(value);
    Shown {
        sets: vec![(field::RCX, msr.into()), low, high],
        ..shows(row, op::WRMSR, &[0x0f, 0x30])
    }
}

fn cpuid(row: &'static str, leaf: u64, rcx: u64) -> Shown {
    shows(row, op::CPUID, &[0x0f, 0xa2])
        .set(field::RAX, leaf)
        .set(field::RCX, rcx)
}

/// #GP(0), RIP where it was.
fn refused() -> Expected {
    by().exits([])
        .events([(EXCEPTION, 13, Some(0))])
        .field(field::RIP, CODE)
}

fn done() -> Expected {
    by().exits([]).events([]).field(field::RIP, CODE + 2)
}

fn cr(number: u8, value: u64) -> Step {
    Step::MovToCr {
        number,
        reg: 0,
        value,
    }
}

pub fn scripts() -> Vec<Script> {
    let mut list = events();
    list.extend(msrs());
    list.extend(others());
    list
}

fn interrupt_13() -> Shown {
    idly("C-03b")
        .inject(13)
        .ours(by().exits([]).events([(INTERRUPT, 13, None)]))
}

fn events() -> Vec<Script> {
    vec![
        script_for(
            "an interrupt with the vector of #GP",
            SVM,
            Mode::Long,
            interrupt_13().theirs(by().exits([]).events([(EXCEPTION, 13, Some(0))])),
        ),
        script_for(
            "an interrupt with the vector of #GP, and the error code that an exit has left",
            VMX,
            Mode::Long,
            interrupt_13().theirs(
                by().exits([Exit::FailEntry(0)])
                    .events([])
                    .complains("VM entry: injected event: error code"),
            ),
        ),
        script_for(
            "two interrupts and an exit",
            None,
            Mode::Long,
            cpuid("C-03c", 0x4000_0001, 0)
                .inject(0x40)
                .inject(0x80)
                .theirs(by().events([(INTERRUPT, 0x40, None), (INTERRUPT, 0x80, None)]))
                .ours(by().events([(INTERRUPT, 0x80, None), (INTERRUPT, 0x40, None)])),
        ),
        script_for(
            "an interrupt with a vector of the 8259A's",
            None,
            Mode::Long,
            idly("vectors 1 to 15")
                .inject(6)
                .theirs(by().events([(EXCEPTION, 6, None)]))
                .ours(by().events([(INTERRUPT, 6, None)])),
        ),
        script_for(
            "an interrupt while the local APIC is disabled",
            None,
            Mode::Long,
            rdmsr(
                "`inject_interrupt` while the local APIC is disabled, and with vectors below 16",
                0x811,
            )
            .theirs(by().field(field::RAX, 0x10))
            .ours(by().field(field::RAX, 0)),
        )
        .behind(vec![
            Step::Wrmsr(0x1b, 0xfee0_0d00),
            Step::Inject {
                vector: 0x24,
                level: false,
            },
        ]),
    ]
}

fn msrs() -> Vec<Script> {
    vec![
        script_for(
            "reading an MTRR",
            None,
            Mode::Long,
            rdmsr("MTRRs", MTRR_DEF_TYPE)
                .theirs(by().field(field::RAX, 0xc06))
                .ours(by().field(field::RAX, 0)),
        ),
        script_for(
            "writing an MTRR",
            None,
            Mode::Long,
            wrmsr("MTRRs", MTRR_DEF_TYPE, 0x806)
                .theirs(by().changes("MSR.2ff"))
                .ours(by()),
        ),
        script_for(
            "IA32_SPEC_CTRL",
            None,
            Mode::Long,
            wrmsr("C-62", SPEC_CTRL, 1)
                .theirs(done().changes("MSR.48"))
                .ours(done()),
        ),
        script_for(
            "the deadline of the host's timer",
            None,
            Mode::Long,
            wrmsr("C-13e", TSC_DEADLINE, 1)
                .theirs(done().changes("MSR.6e0"))
                .ours(done()),
        ),
    ]
}

fn others() -> Vec<Script> {
    vec![
        script_for(
            "leaf 7 with bits in the upper half of RCX",
            SVM,
            Mode::Long,
            cpuid("C-13c", 7, 1 << 32)
                .theirs(by().field(field::RCX, 1 << 2))
                .ours(by().field(field::RCX, 0)),
        ),
        script_for(
            "leaf 7 with bits in the upper half of RCX",
            VMX,
            Mode::Long,
            cpuid("C-13c", 7, 1 << 32)
                .theirs(by().field(field::RCX, 1 << 5 | 1 << 2))
                .ours(by().field(field::RCX, 0)),
        ),
        Script {
            features: feature::ALL | feature::BARE_CONTROLS,
            ..script_for(
                "RDTSCP without its control",
                VMX,
                Mode::Long,
                cpuid("V-27", 0x8000_0001, 0)
                    .theirs(by().field(field::RDX, 0x2c10_0800))
                    .ours(by().field(field::RDX, 0x2410_0800)),
            )
        },
        Script {
            features: feature::ALL | feature::BARE_CONTROLS,
            ..script_for(
                "XSAVES without its control",
                VMX,
                Mode::Long,
                cpuid("V-27", 0xd, 1)
                    .theirs(by().field(field::RAX, 0xf).field(field::RCX, 0x100))
                    .ours(by().field(field::RAX, 7).field(field::RCX, 0)),
            )
            .behind(vec![cr(4, 0x4_0020), Step::Xsetbv { index: 0, value: 7 }])
        },
        Script {
            features: feature::ALL | feature::BARE_CONTROLS,
            ..script_for(
                "INVPCID without its control",
                VMX,
                Mode::Long,
                cpuid("V-27", 7, 0)
                    .theirs(by().field(field::RBX, 0xd09f_07a9))
                    .ours(by().field(field::RBX, 0xd09f_03a9)),
            )
        },
        script_for(
            "page-directory pointers that change with CR4.PGE",
            VMX,
            Mode::Protected,
            shows("V-04c", op::MOV_TO_CR, &[0x0f, 0x22, 0xe0])
                .with([4, 0, 0])
                .set(field::RAX, 0xa0)
                .entry(POINTERS + 8, 0x3_a001)
                .theirs(by().field(field::PDPTE0 + 1, 0x3_9001))
                .ours(by().field(field::PDPTE0 + 1, 0x3_a001)),
        )
        .behind(vec![
            Step::Shown(Box::new(
                idly("V-04c")
                    .entry(POINTERS, 0x3_9001)
                    .entry(POINTERS + 8, 0x3_9001)
                    .entry(POINTERS + 16, 0)
                    .entry(POINTERS + 24, 0),
            )),
            cr(4, 0x20),
            cr(3, POINTERS),
            cr(0, 0x8000_0011),
        ]),
    ]
}
