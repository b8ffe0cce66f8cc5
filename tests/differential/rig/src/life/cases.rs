// SPDX-License-Identifier: Apache-2.0
//! What is done, and what comes of it.

use cpu::{feature, field, op};

use super::Act::*;
use super::{Act, Life, PLAN, Plan};
use crate::machine::Backend;
use crate::step::DEVICE;

const VMX: Option<Backend> = Some(Backend::Vmx);
const SVM: Option<Backend> = Some(Backend::Svm);

fn life(
    name: &'static str,
    rows: &'static [&'static str],
    backend: Option<Backend>,
    acts: Vec<Act>,
    theirs: &'static [&'static str],
    ours: &'static [&'static str],
) -> Life {
    Life {
        name,
        rows,
        backend,
        features: feature::ALL,
        acts,
        theirs,
        ours,
    }
}

/// A vCPU that is bound, and then `acts`.
fn bound<const N: usize>(acts: [Act; N]) -> Vec<Act> {
    let mut all = vec![Enable, Create(0), Setup(0, PLAN), Bind(0)];
    all.extend(acts);
    all
}

const IDLE: u32 = op::NONE;

pub fn all() -> Vec<Life> {
    let mut list = lives();
    list.extend(calls());
    list
}

fn lives() -> Vec<Life> {
    vec![
        life(
            "a vCPU is destroyed on another CPU than its own",
            &["U-01"],
            VMX,
            bound([Run(0, IDLE, &[]), On(1), Enable, Destroy(0)]),
            &["Nothing", "(VMCLEAR of a VMCS that is active on CPU 0)"],
            &["Nothing", "resource busy"],
        ),
        life(
            "a CPU is turned off while a vCPU is bound to it",
            &["U-02"],
            VMX,
            bound([Run(0, IDLE, &[]), Disable]),
            &["Nothing", "(VMXOFF while a VMCS is active on this CPU)"],
            &["Nothing", "resource busy"],
        ),
        life(
            "a CPU is turned off while a vCPU is bound to it",
            &["U-02"],
            SVM,
            bound([Run(0, IDLE, &[]), Disable]),
            &["PreemptionTimer"],
            &["Nothing", "resource busy"],
        ),
        life(
            "the state of a CPU that is on is given back",
            &["U-02"],
            VMX,
            vec![Enable, DropCpu],
            &["(the VMXON region of CPU 0 is freed)"],
            &["resource busy"],
        ),
        life(
            "the state of a CPU that is on is given back",
            &["U-02"],
            SVM,
            vec![Enable, DropCpu],
            &[],
            &["resource busy"],
        ),
        life(
            "bound twice",
            &["U-03"],
            None,
            bound([Bind(0)]),
            &[],
            &["resource busy"],
        ),
        life(
            "unbound on another CPU",
            &["U-03"],
            VMX,
            bound([On(1), Enable, Unbind(0)]),
            &["(VMCLEAR of a VMCS that is active on CPU 0)"],
            &["bad state"],
        ),
        life(
            "unbound on another CPU",
            &["U-03"],
            SVM,
            bound([On(1), Enable, Unbind(0)]),
            &[],
            &["bad state"],
        ),
        Life {
            features: feature::ALL & !feature::APICV,
            ..life(
                "setup fails",
                &["U-07"],
                VMX,
                vec![Enable, Create(0), Setup(0, PLAN), Current],
                &["bad state", "a VMCS is current"],
                &["none is current"],
            )
        },
        life(
            "a host without CR4.OSXSAVE",
            &["U-09"],
            None,
            vec![ClearOsxsave, Enable, Disable, Host],
            &["CR4 6e0 406e0"],
            &[""],
        ),
        life(
            "two vCPUs on one CPU",
            &["S-13"],
            SVM,
            vec![
                Enable,
                Create(0),
                Setup(0, PLAN),
                Create(1),
                Setup(1, PLAN),
                Bind(0),
                Run(0, IDLE, &[]),
                Unbind(0),
                Bind(1),
                Run(1, IDLE, &[]),
                Asids,
            ],
            &["PreemptionTimer", "PreemptionTimer", "1 ASIDs"],
            &["Nothing", "Nothing", "2 ASIDs"],
        ),
    ]
}

fn with(plan: Plan) -> Vec<Act> {
    vec![Enable, Create(0), Setup(0, plan)]
}

fn calls() -> Vec<Life> {
    vec![
        life(
            "interrupts 0 and 256",
            &["U-06"],
            None,
            bound([Inject(0, 0), Inject(0, 256)]),
            &["panic: explicit panic"],
            &["invalid input", "invalid input"],
        ),
        life(
            "registers 4 and 16",
            &["C-04"],
            None,
            bound([SetGpr(0, 4, 1), SetGpr(0, 16, 1)]),
            &[
                "panic: Illegal index of GeneralRegisters 4",
                "panic: Illegal index of GeneralRegisters 16",
            ],
            &["invalid input"],
        ),
        life(
            "an entry that real mode does not reach",
            &["`set_entry`"],
            None,
            with(Plan {
                entry: 0x2_0000,
                ..PLAN
            }),
            &[],
            &["invalid input"],
        ),
        life(
            "a nested table of three levels",
            &["C-25"],
            None,
            with(Plan { levels: 3, ..PLAN }),
            &[],
            &["invalid input"],
        ),
        life(
            "a nested table whose address has low bits",
            &["C-25"],
            None,
            with(Plan { root: 8, ..PLAN }),
            &[],
            &["invalid input"],
        ),
        life(
            "ports behind the last",
            &["C-23"],
            VMX,
            with(Plan {
                ports: (0xffff, 2),
                ..PLAN
            }),
            &["panic: index out of bounds: the len is 4096 but the index is 4096"],
            &["invalid input"],
        ),
        life(
            "ports behind the last",
            &["C-23"],
            SVM,
            with(Plan {
                ports: (0xffff, 2),
                ..PLAN
            }),
            &[],
            &["invalid input"],
        ),
        life(
            "vCPU 64",
            &["vCPU numbers"],
            None,
            vec![Enable, Create(64)],
            &[],
            &["invalid input"],
        ),
        life(
            "CPUID, and then the host's interrupt",
            &["exits that are handled", "`NOTHING`"],
            VMX,
            bound([Run(0, op::CPUID, &[]), Stopped]),
            &["Nothing", "not stopped"],
            &["Nothing", "stopped"],
        ),
        life(
            "a guest that is down runs",
            &["SYSTEM_DOWN"],
            VMX,
            bound([Run(0, op::TRIPLE_FAULT, &[]), Again(0)]),
            &["Halt", "Nothing"],
            &["SystemDown", "bad state"],
        ),
        life(
            "a guest that is down runs",
            &["SYSTEM_DOWN"],
            SVM,
            bound([Run(0, op::TRIPLE_FAULT, &[]), Again(0)]),
            &["SystemDown", "PreemptionTimer"],
            &["SystemDown", "bad state"],
        ),
        life(
            "an MSR is answered with register 0",
            &["`set_gpr(0, value)`"],
            SVM,
            bound([
                Run(0, op::RDMSR, &[(field::RCX, 0x4000_0000)]),
                Answer(0, 0x1122_3344_5566_7788),
                Again(0),
                Look(field::RAX),
                Look(field::RDX),
            ]),
            &["MsrRead", "PreemptionTimer", "1122334455667788", "0"],
            &["MsrRead", "Nothing", "55667788", "11223344"],
        ),
        life(
            "guest memory that is no region",
            &["`read_guest`"],
            VMX,
            vec![
                Enable,
                Create(0),
                Setup(
                    0,
                    Plan {
                        memory: false,
                        ..PLAN
                    },
                ),
                Bind(0),
                Run(0, op::MMIO, &[(field::RBX, 0), (field::BASE + 3, DEVICE)]),
                Reads,
            ],
            &["MmioWrite", "3 reads, 3 bytes"],
            &["MmioWrite", "1 reads, 15 bytes"],
        ),
    ]
}
