// SPDX-License-Identifier: Apache-2.0
//! Cases that chance does not bring about.

mod guest;
mod state;

use cpu::feature;

use crate::compare::Case;
use crate::machine::Backend;
use crate::shown::Shown;
use crate::step::*;

pub struct Script {
    pub name: &'static str,
    pub backend: Option<Backend>,
    pub features: u32,
    pub mode: Mode,
    pub steps: Vec<Step>,
}

fn script(name: &'static str, backend: Option<Backend>, mode: Mode, steps: Vec<Step>) -> Script {
    Script {
        name,
        backend,
        features: feature::ALL,
        mode,
        steps,
    }
}

const VMX: Option<Backend> = Some(Backend::Vmx);
const SVM: Option<Backend> = Some(Backend::Svm);

fn script_for(name: &'static str, backend: Option<Backend>, mode: Mode, shown: Shown) -> Script {
    script(name, backend, mode, vec![Step::Shown(Box::new(shown))])
}

fn cr(number: u8, value: u64) -> Step {
    Step::MovToCr {
        number,
        reg: 0,
        value,
    }
}

/// What steps are there to show.
pub fn rows(backend: Backend) -> Vec<&'static str> {
    let of = |script: &Script| script.backend.is_none_or(|only| only == backend);
    scripts()
        .iter()
        .filter(|script| of(script))
        .flat_map(|script| &script.steps)
        .filter_map(|step| match step {
            Step::Shown(shown) => Some(shown.row),
            _ => None,
        })
        .collect()
}

pub fn scripts() -> Vec<Script> {
    let (vmx, svm) = (Some(Backend::Vmx), Some(Backend::Svm));
    let lacking = |name, features: u32, steps| Script {
        features: feature::ALL & !features,
        ..script(name, None, Mode::Long, steps)
    };
    let mut list = vec![
        script(
            "every kind of exit that both answer alike",
            None,
            Mode::Long,
            vec![
                Step::Hypercall,
                Step::Out {
                    port: 0x3f8,
                    width: 1,
                },
                Step::In {
                    port: 0x3f8,
                    width: 4,
                },
                Step::Outs {
                    port: 0x3f8,
                    width: 1,
                    address: 0x2000,
                    count: None,
                },
                Step::Ins {
                    port: 0x3f8,
                    width: 2,
                    address: 0x2000,
                    count: Some(3),
                },
                Step::Mmio {
                    form: 0,
                    address: DEVICE,
                },
                Step::Mmio {
                    form: 1,
                    address: DEVICE + 8,
                },
                Step::Fault { gpa: HOLE, access: 1 },
                Step::HostInterrupt(0x41),
                Step::Inject {
                    vector: 0x50,
                    level: false,
                },
                Step::Move { cpu: 1 },
                Step::Hypercall,
                Step::Move { cpu: 0 },
                Step::Hypercall,
            ],
        ),
        script(
            "paging without long mode, CR0.CD cleared with it",
            vmx,
            Mode::Real,
            vec![
                cr(4, 0x10),
                cr(3, PAGE_DIRECTORY),
                cr(0, 0x8000_0011),
                Step::Hypercall,
            ],
        ),
        script(
            "clearing paging with CR0.CD, from compatibility mode",
            vmx,
            Mode::Long,
            vec![Step::Compatibility, cr(0, 0x6000_0011), Step::Hypercall],
        ),
        script(
            "IA32_APIC_BASE with EXTD and without EN",
            None,
            Mode::Real,
            vec![Step::Wrmsr(0x1b, 0xfee0_0400)],
        ),
        script(
            "IA32_APIC_BASE with reserved bits",
            None,
            Mode::Real,
            vec![Step::Wrmsr(0x1b, 1), Step::Rdmsr(0x1b)],
        ),
        script(
            "CR4 with FSGSBASE and SMEP",
            svm,
            Mode::Long,
            vec![cr(4, 0x11_0020)],
        ),
        script(
            "a reserved x2APIC register",
            None,
            Mode::Real,
            vec![Step::Rdmsr(0x800)],
        ),
        script(
            "another reserved one",
            None,
            Mode::Real,
            vec![Step::Wrmsr(0x829, 1)],
        ),
        script(
            "an x2APIC register in xAPIC mode",
            None,
            Mode::Real,
            vec![Step::Rdmsr(0x802)],
        ),
        script(
            "x2APIC registers that both know",
            None,
            Mode::Long,
            vec![
                Step::Wrmsr(0x1b, 0xfee0_0d00),
                Step::Wrmsr(0x80f, 0x1ff),
                Step::Rdmsr(0x80f),
                Step::Wrmsr(0x808, 0x20),
                Step::Rdmsr(0x808),
                Step::Wrmsr(0x80b, 0),
            ],
        ),
        script(
            "an exit reason that nobody knows",
            vmx,
            Mode::Real,
            vec![Step::Reason(71)],
        ),
        script("SEAMCALL", vmx, Mode::Real, vec![Step::Reason(76)]),
        script("ENCLV", vmx, Mode::Real, vec![Step::Reason(70)]),
        script(
            "the local APIC's registers in memory",
            None,
            Mode::Long,
            vec![Step::Mmio {
                form: 1,
                address: APIC + 0x30,
            }],
        ),
        script(
            "another register than RAX from the local APIC",
            None,
            Mode::Long,
            vec![Step::Mmio {
                form: 16,
                address: APIC + 0x30,
            }],
        ),
        script(
            "a reserved register of the local APIC in memory",
            None,
            Mode::Long,
            vec![Step::Mmio {
                form: 1,
                address: APIC + 0x40,
            }],
        ),
        script(
            "RSP to the local APIC",
            None,
            Mode::Long,
            vec![Step::Mmio {
                form: 17,
                address: APIC + 0xb0,
            }],
        ),
        script(
            "CLGI, and an interrupt that waits",
            svm,
            Mode::Long,
            vec![
                Step::Refused(5),
                Step::Inject {
                    vector: 0x40,
                    level: false,
                },
                Step::Idle,
            ],
        ),
        script(
            "setting up again",
            None,
            Mode::Long,
            vec![
                Step::Wrmsr(0xc000_0102, 0x1234_5000),
                Step::Wrmsr(0xc000_0082, 0x1234_6000),
                cr(4, 0x4_0020),
                Step::Xsetbv { index: 0, value: 7 },
                Step::SetupAgain,
                Step::Idle,
            ],
        ),
        script(
            "a hypercall from compatibility mode",
            None,
            Mode::Long,
            vec![Step::Compatibility, Step::Hypercall],
        ),
        script(
            "RDRAND exits, which nobody asked for",
            vmx,
            Mode::Long,
            vec![Step::Reason(57)],
        ),
        script("a triple fault", None, Mode::Long, vec![Step::TripleFault]),
        script("a task switch", None, Mode::Protected, vec![Step::TaskSwitch]),
        script("an entry that fails", None, Mode::Long, vec![Step::BadEntry]),
        script(
            "XSETBV with an index",
            None,
            Mode::Long,
            vec![cr(4, 0x4_0020), Step::Xsetbv { index: 1, value: 1 }],
        ),
        script(
            "XSETBV without x87",
            None,
            Mode::Long,
            vec![cr(4, 0x4_0020), Step::Xsetbv { index: 0, value: 2 }],
        ),
        script(
            "XSETBV with what the CPU lacks",
            None,
            Mode::Long,
            vec![
                cr(4, 0x4_0020),
                Step::Xsetbv {
                    index: 0,
                    value: 0x1f,
                },
            ],
        ),
        script(
            "XSETBV with AVX-512",
            None,
            Mode::Long,
            vec![
                cr(4, 0x4_0020),
                Step::Xsetbv {
                    index: 0,
                    value: 0xe7,
                },
                Step::Xgetbv,
            ],
        ),
        script(
            "two interrupts, the lower first",
            None,
            Mode::Long,
            vec![Step::Inject2 {
                first: 0x40,
                second: 0x80,
            }],
        ),
        script(
            "two interrupts, the higher first",
            None,
            Mode::Long,
            vec![
                Step::Inject2 {
                    first: 0x80,
                    second: 0x40,
                },
                Step::Idle,
            ],
        ),
        script(
            "SYSENTER, SYSCALL and base MSRs are the guest's",
            None,
            Mode::Long,
            [
                0x174,
                0x175,
                0x176,
                0xc000_0081,
                0xc000_0082,
                0xc000_0100,
                0xc000_0101,
                0xc000_0102,
            ]
            .into_iter()
            .flat_map(|msr| [Step::Wrmsr(msr, 0x1234_5000), Step::Rdmsr(msr)])
            .collect(),
        ),
        script(
            "every leaf of CPUID",
            None,
            Mode::Long,
            (0..=0x20)
                .chain(0x4000_0000..=0x4000_0002)
                .chain(0x8000_0000..=0x8000_000a)
                .map(|leaf| Step::Cpuid { leaf, subleaf: 0 })
                .collect(),
        ),
        script(
            "IA32_MISC_ENABLE limits CPUID",
            None,
            Mode::Long,
            vec![
                Step::Wrmsr(0x1a0, 1 << 22 | 1 << 34),
                Step::Rdmsr(0x1a0),
                Step::Cpuid { leaf: 0, subleaf: 0 },
                Step::Cpuid { leaf: 7, subleaf: 0 },
                Step::Cpuid {
                    leaf: 0x8000_0001,
                    subleaf: 0,
                },
                Step::Wrmsr(0x1a0, 1),
                Step::Cpuid { leaf: 7, subleaf: 0 },
                Step::Wrmsr(0x400, u64::MAX),
                Step::Wrmsr(0x17a, 8),
            ],
        ),
        script(
            "SYSCALL outside 64-bit mode",
            None,
            Mode::Protected,
            vec![Step::Cpuid {
                leaf: 0x8000_0001,
                subleaf: 0,
            }],
        ),
        script("reading PAT", None, Mode::Long, vec![Step::Rdmsr(0x277)]),
        script(
            "what chance brings about most of the time",
            None,
            Mode::Long,
            vec![
                Step::In {
                    port: 0x3f8,
                    width: 1,
                },
                Step::Rdmsr(0x4000_0000),
                Step::Rdmsr(0x179),
                Step::Rdmsr(0xe1),
                Step::Rdtsc,
                Step::Monitor,
                Step::Wbinvd,
                Step::Rdpmc,
                Step::Pause,
                Step::Mmio {
                    form: 19,
                    address: DEVICE,
                },
                Step::Unmap,
                Step::Hypercall,
                Step::MovToDr {
                    number: 0,
                    value: 0x1234,
                },
                Step::MovFromDr { number: 0, reg: 3 },
                Step::HostNmi,
                Step::Ud2,
                Step::Invd,
                Step::Clts,
            ],
        ),
        script(
            "device memory with 32-bit paging",
            None,
            Mode::Paged,
            vec![Step::Mmio {
                form: 0,
                address: DEVICE,
            }],
        ),
        script("CR0.NW without CD", None, Mode::Long, vec![cr(0, 0xa000_0011)]),
        script(
            "an interrupt with a vector that exceptions have",
            None,
            Mode::Long,
            vec![Step::Inject {
                vector: 0x1e,
                level: false,
            }],
        ),
    ];
    // It is the host's state that is unusual here.
    list.push(Script {
        features: feature::ALL | feature::ODD_HOST,
        ..script(
            "a host with selectors of RPL 3, an LDT, a PCID and a breakpoint",
            None,
            Mode::Real,
            vec![
                Step::Hypercall,
                Step::MovToDr {
                    number: 0,
                    value: 0x1000,
                },
                Step::Hypercall,
            ],
        )
    });
    list.push(lacking(
        "no virtual-interrupt delivery",
        feature::APICV,
        vec![Step::Hypercall],
    ));
    list.push(lacking(
        "no INVEPT of one context",
        feature::INVEPT_SINGLE,
        vec![Step::Hypercall],
    ));
    list.push(lacking(
        "no accessed and dirty flags",
        feature::EPT_AD,
        vec![Step::Hypercall],
    ));
    list.push(lacking(
        "no TLB_CONTROL but 1",
        feature::FLUSH_ASID,
        vec![Step::Hypercall],
    ));
    list.push(lacking("no XSAVES", feature::XSAVES, vec![Step::Hypercall]));
    list.push(lacking(
        "no decode assists: MOV to CR0 from RBX",
        feature::DECODE,
        vec![
            Step::MovToCr {
                number: 0,
                reg: 3,
                value: 0x8000_0013,
            },
            Step::Hypercall,
        ],
    ));
    list.push(Script {
        backend: svm,
        mode: Mode::Paged,
        ..lacking(
            "the page of the code is gone when it is decoded",
            feature::NRIPS | feature::DECODE,
            vec![cr(4, 0), Step::Cpuid { leaf: 0, subleaf: 0 }],
        )
    });
    list.push(lacking(
        "no next RIP: MOV to CR4 from R8",
        feature::NRIPS,
        vec![Step::MovToCr {
            number: 4,
            reg: 8,
            value: 0x20,
        }],
    ));
    list.extend(guest::scripts());
    list.extend(state::scripts());
    list
}

impl Script {
    fn lacking(self, features: u32) -> Self {
        Self {
            features: self.features & !features,
            ..self
        }
    }

    fn behind(mut self, steps: Vec<Step>) -> Self {
        self.steps.splice(0..0, steps);
        self
    }

    /// The interrupt flag is on in all of them, but behind the last entry of the way into the mode.
    pub fn case(&self) -> Case {
        let mut registers = Registers {
            rflags: 0x202,
            ..Registers::begin()
        };
        if self.mode == Mode::Long {
            registers.gpr.fill(0x1111_2222_3333_4444);
        }
        Case {
            features: self.features,
            memory: true,
            mode: self.mode,
            vcpus: 1,
            apic: false,
            steps: self
                .steps
                .iter()
                .map(|step| (step.clone(), registers.clone()))
                .collect(),
        }
    }
}
