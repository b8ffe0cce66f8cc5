// SPDX-License-Identifier: Apache-2.0
//! A step as the model is told it: the instruction, the op that it is, registers that it wants.

use cpu::{field, model_op, op};

use super::forms::{FORMS, REFUSED, REFUSED_SVM};
use super::{APIC, HOLE, Mode, Registers, Step};
use crate::machine::{Backend, Machine};

fn mov_cr(opcode: u8, number: u8, reg: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let rex = 0x40 | (number >> 3) << 2 | reg >> 3;
    if rex != 0x40 {
        bytes.push(rex);
    }
    bytes.extend([0x0f, opcode, 0xc0 | (number & 7) << 3 | reg & 7]);
    bytes
}

fn with_width(width: u8, mode: Mode, opcode: u8) -> Vec<u8> {
    let default = if mode == Mode::Real { 2 } else { 4 };
    match width {
        1 => vec![opcode & !1],
        _ if width == default => vec![opcode | 1],
        _ => vec![0x66, opcode | 1],
    }
}

/// The instruction, the op that it is, and registers that it wants.
pub struct Told {
    pub bytes: Vec<u8>,
    pub op: model_op,
    pub sets: Vec<(u32, u64)>,
}

fn told(kind: u32, bytes: &[u8], sets: &[(u32, u64)]) -> Told {
    with(kind, bytes, [0; 3], sets)
}

fn with(kind: u32, bytes: &[u8], [a, b, c]: [u64; 3], sets: &[(u32, u64)]) -> Told {
    Told {
        bytes: bytes.to_vec(),
        op: model_op {
            kind,
            length: bytes.len() as u32,
            a,
            b,
            c,
        },
        sets: sets.to_vec(),
    }
}

fn edx_eax(value: u64) -> [(u32, u64); 2] {
    [(field::RAX, value as u32 as u64), (field::RDX, value >> 32)]
}

fn string(kind: u32, opcode: u8, port: u16, width: u8, address: u64, count: Option<u64>, mode: Mode) -> Told {
    let mut bytes = if count.is_some() { vec![0xf3] } else { vec![] };
    bytes.extend(with_width(width, mode, opcode));
    let address_bytes = match mode {
        Mode::Real => 2,
        Mode::Long => 8,
        _ => 4,
    };
    let segment = if kind == op::OUT { 3 } else { 0 };
    let c = 1 | u64::from(count.is_some()) << 1 | address_bytes << 8 | segment << 16;
    let index = if kind == op::OUT { field::RSI } else { field::RDI };
    let mut sets = vec![(field::RDX, port.into()), (index, address)];
    sets.extend(count.map(|count| (field::RCX, count)));
    with(kind, &bytes, [port.into(), width.into(), c], &sets)
}

/// MOV between EAX and a register.
fn local_apic(form: usize, offset: u16, value: u32) -> Told {
    let (form, address) = (&FORMS[form], APIC + u64::from(offset));
    let access = form.write.into();
    let sets = [(field::RBX, address), (field::RAX, value.into())];
    with(op::MMIO, form.bytes, [address, access, address], &sets)
}

impl Step {
    pub fn told(&self, backend: Backend, mode: Mode) -> Told {
        let vmx = backend == Backend::Vmx;
        match *self {
            Step::Idle
            | Step::Inject { .. }
            | Step::Move { .. }
            | Step::Unmap
            | Step::SetGpr { .. }
            | Step::SetPart { .. }
            | Step::SetReturn(_)
            | Step::HostEoi
            | Step::Pass(_)
            | Step::PassUnbound { .. }
            | Step::Switch { .. }
            | Step::SetupAgain
            | Step::OutOfMemory => told(op::NONE, &[], &[]),
            Step::Inject2 { .. } => told(op::NONE, &[], &[]),
            Step::Compatibility => told(op::NONE, &[], &[(field::RIGHTS + 1, 0xc09b)]),
            Step::Reason(reason) => with(op::REFUSED, &[0x0f, 0x0b], [reason.into(), 0, 0], &[]),
            Step::Cpuid { leaf, subleaf } => told(
                op::CPUID,
                &[0x0f, 0xa2],
                &[(field::RAX, leaf.into()), (field::RCX, subleaf.into())],
            ),
            Step::Hypercall => told(op::HYPERCALL, &[0x0f, 0x01, if vmx { 0xc1 } else { 0xd9 }], &[]),
            Step::In { port, width } => with(
                op::IN,
                &with_width(width, mode, 0xed),
                [port.into(), width.into(), 0],
                &[(field::RDX, port.into())],
            ),
            Step::Out { port, width } => with(
                op::OUT,
                &with_width(width, mode, 0xef),
                [port.into(), width.into(), 0],
                &[(field::RDX, port.into())],
            ),
            Step::Ins {
                port,
                width,
                address,
                count,
            } => string(op::IN, 0x6d, port, width, address, count, mode),
            Step::Outs {
                port,
                width,
                address,
                count,
            } => string(op::OUT, 0x6f, port, width, address, count, mode),
            Step::Rdmsr(msr) => told(op::RDMSR, &[0x0f, 0x32], &[(field::RCX, msr.into())]),
            Step::Wrmsr(msr, value) => {
                let [low, high] = edx_eax(value);
                told(op::WRMSR, &[0x0f, 0x30], &[(field::RCX, msr.into()), low, high])
            }
            Step::MovToCr { number, reg, value } => with(
                op::MOV_TO_CR,
                &mov_cr(0x22, number, reg),
                [number.into(), reg.into(), 0],
                &[(reg.into(), value)],
            ),
            Step::MovFromCr { number, reg } => with(
                op::MOV_FROM_CR,
                &mov_cr(0x20, number, reg),
                [number.into(), reg.into(), 0],
                &[],
            ),
            Step::Clts => told(op::CLTS, &[0x0f, 0x06], &[]),
            Step::Lmsw(value) => with(
                op::LMSW,
                &[0x0f, 0x01, 0xf0],
                [value.into(), 0, 0],
                &[(field::RAX, value.into())],
            ),
            Step::Xsetbv { index, value } => {
                let [low, high] = edx_eax(value);
                told(
                    op::XSETBV,
                    &[0x0f, 0x01, 0xd1],
                    &[(field::RCX, index.into()), low, high],
                )
            }
            Step::Xgetbv => told(op::XGETBV, &[0x0f, 0x01, 0xd0], &[(field::RCX, 0)]),
            Step::Hlt { .. } | Step::HltFor { .. } => told(op::HLT, &[0xf4], &[]),
            Step::Invd => told(op::INVD, &[0x0f, 0x08], &[]),
            Step::Wbinvd => told(op::WBINVD, &[0x0f, 0x09], &[]),
            Step::Rdtsc => told(op::RDTSC, &[0x0f, 0x31], &[]),
            Step::Rdpmc => told(op::RDPMC, &[0x0f, 0x33], &[(field::RCX, 0)]),
            Step::Pause => told(op::PAUSE, &[0xf3, 0x90], &[]),
            Step::Monitor => told(op::MONITOR, &[0x0f, 0x01, 0xc8], &[]),
            Step::Mwait => told(op::MWAIT, &[0x0f, 0x01, 0xc9], &[]),
            Step::MovToDr { number, value } => with(
                op::MOV_DR,
                &mov_cr(0x23, number, 2),
                [number.into(), 2, 0],
                &[(field::RDX, value)],
            ),
            Step::MovFromDr { number, reg } => with(
                op::MOV_DR,
                &mov_cr(0x21, number, reg),
                [number.into(), reg.into(), 1],
                &[],
            ),
            Step::Ud2 => told(op::UD2, &[0x0f, 0x0b], &[]),
            Step::Refused(index) => {
                let refused = &REFUSED[usize::from(index) % REFUSED.len()];
                let bytes = if vmx {
                    refused.bytes
                } else {
                    REFUSED_SVM[usize::from(index) % REFUSED.len()]
                };
                let reason = if vmx { refused.vmx } else { refused.svm };
                with(op::REFUSED, bytes, [reason.into(), 0, 0], &[])
            }
            Step::Mmio { form, address } => {
                let form = &FORMS[usize::from(form) % FORMS.len()];
                let access = form.write.into();
                with(
                    op::MMIO,
                    form.bytes,
                    [address, access, address],
                    &[(field::RBX, address)],
                )
            }
            Step::ApicRead(offset) => local_apic(1, offset, 0),
            Step::ApicWrite(offset, value) => local_apic(0, offset, value),
            Step::Fault { gpa, access } => with(op::MMIO, &[0x90], [gpa, access, gpa], &[]),
            Step::Exception { vector, code } => with(
                op::EXCEPTION,
                &[0x90],
                [vector.into(), code.into(), 0x5678_1000],
                &[],
            ),
            Step::TripleFault => told(op::TRIPLE_FAULT, &[], &[]),
            Step::PassInside(_) => with(op::INTERRUPT, &[], [0x51, 0, 0], &[]),
            Step::HostInterrupt(vector) => with(op::INTERRUPT, &[], [vector.into(), 0, 0], &[]),
            Step::HostNmi => told(op::NMI, &[], &[]),
            Step::Timer => told(op::TIMER, &[], &[]),
            Step::TaskSwitch => with(op::TASK_SWITCH, &[0xcf], [0x28, 0, 0], &[]),
            Step::BadEntry => told(op::BAD_ENTRY, &[], &[]),
            Step::Shown(ref shown) => Told {
                bytes: shown.bytes.clone(),
                op: shown.op(),
                sets: shown.sets.clone(),
            },
            Step::CutShort { .. } => with(op::CUT_SHORT, &[], [HOLE, 0, 0], &[]),
        }
    }

    /// Tells the machine what its guest does.
    pub fn tell(&self, machine: &Machine, backend: Backend, mode: Mode, registers: &Registers) {
        let told = self.told(backend, mode);
        let at = registers.rip as usize;
        machine.guest_memory()[at..at + 15].fill(0x90);
        machine.guest_memory()[at..at + told.bytes.len()].copy_from_slice(&told.bytes);
        if let Step::Shown(shown) = self {
            for (at, bytes) in &shown.memory {
                machine.guest_memory()[*at as usize..][..bytes.len()].copy_from_slice(bytes);
            }
        }
        for (index, &value) in registers.gpr.iter().enumerate() {
            machine.guest_sets(index as u32, value);
        }
        machine.guest_sets(field::RIP, registers.rip);
        machine.guest_sets(field::RFLAGS, registers.rflags);
        machine.guest_sets(field::SHADOW, registers.shadow);
        for (field, value) in told.sets {
            machine.guest_sets(
                field,
                if mode == Mode::Long {
                    value
                } else {
                    value & 0xffff_ffff
                },
            );
        }
        machine.guest_does(&told.op);
    }
}
