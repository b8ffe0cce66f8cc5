// SPDX-License-Identifier: Apache-2.0
//! What a guest and its host do, one thing at a time, and how the model is told.

use cpu::{field, model_op, op};

use crate::machine::{Backend, Machine};

/// Where the guest has its page tables (long_mode, protected), code and data.
pub const CODE: u64 = 0x1000;
pub const PML4: u64 = 0x30000;
pub const PAGE_DIRECTORY: u64 = 0x34000;
pub const DEVICE: u64 = 0xd000_0000;
pub const APIC: u64 = 0xfee0_0000;
/// Nothing is mapped there: neither RAM nor a device.
pub const HOLE: u64 = 0x0800_0000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Real,
    Protected, // 32 bits without paging
    Paged,     // 32 bits with PSE
    Long,
}

/// Registers before a step, the same on both sides whatever happened before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registers {
    pub gpr: [u64; 16],
    pub rip: u64,
    pub rflags: u64,
    pub shadow: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The guest runs until it is stopped.
    Idle,
    Cpuid {
        leaf: u32,
        subleaf: u32,
    },
    Hypercall,
    In {
        port: u16,
        width: u8,
    },
    Out {
        port: u16,
        width: u8,
    },
    /// `count`: REP with this count
    Ins {
        port: u16,
        width: u8,
        address: u64,
        count: Option<u64>,
    },
    Outs {
        port: u16,
        width: u8,
        address: u64,
        count: Option<u64>,
    },
    Rdmsr(u32),
    Wrmsr(u32, u64),
    MovToCr {
        number: u8,
        reg: u8,
        value: u64,
    },
    MovFromCr {
        number: u8,
        reg: u8,
    },
    Clts,
    Lmsw(u16),
    Xsetbv {
        index: u32,
        value: u64,
    },
    Xgetbv,
    /// The host has an interrupt for the guest when it has halted.
    Hlt {
        wake: u8,
    },
    Invd,
    Wbinvd,
    Rdtsc,
    Rdpmc,
    Pause,
    Monitor,
    Mwait,
    MovToDr {
        number: u8,
        value: u64,
    },
    MovFromDr {
        number: u8,
        reg: u8,
    },
    Ud2,
    /// One of the extension's own instructions, by its place in the list.
    Refused(u8),
    /// MOV with memory, by its place in the list of forms.
    Mmio {
        form: u8,
        address: u64,
    },
    /// A fault of the nested tables that is no device's. Access: 0 read, 1 write, 2 fetch
    Fault {
        gpa: u64,
        access: u64,
    },
    Exception {
        vector: u8,
        code: u32,
    },
    TripleFault,
    HostInterrupt(u8),
    HostNmi,
    Timer,
    TaskSwitch,
    BadEntry,
    /// The host injects, and the guest is idle.
    Inject {
        vector: u16,
        level: bool,
    },
    /// An injected interrupt's delivery meets a page that is not mapped.
    CutShort {
        vector: u8,
    },
    /// Unbound here and bound on another CPU.
    Move {
        cpu: u8,
    },
    /// The nested tables lose a mapping.
    Unmap,
    /// The VMM sets a register.
    SetGpr {
        index: u8,
        value: u64,
    },
    /// Two at once.
    Inject2 {
        first: u8,
        second: u8,
    },
    /// Unbound, set up and bound again.
    SetupAgain,
    /// VT-x: an exit for this reason.
    Reason(u8),
    /// The guest loads a CS without L.
    Compatibility,
    /// No step of a sequence: see run_out_of_memory.
    OutOfMemory,
}

pub struct Form {
    pub name: &'static str,
    pub bytes: &'static [u8], // the address is in RBX
    pub write: bool,
    pub long_only: bool,
}

const fn form(name: &'static str, bytes: &'static [u8], write: bool, long_only: bool) -> Form {
    Form {
        name,
        bytes,
        write,
        long_only,
    }
}

/// Of MOVs between a register and the memory that EBX or RBX has the address of.
pub const FORMS: &[Form] = &[
    form("mov [ebx], eax", &[0x89, 0x03], true, false),
    form("mov eax, [ebx]", &[0x8b, 0x03], false, false),
    form("mov [ebx], cl", &[0x88, 0x0b], true, false),
    form("mov dl, [ebx]", &[0x8a, 0x13], false, false),
    form("mov ah, [ebx]", &[0x8a, 0x23], false, false),
    form("mov [ebx], ch", &[0x88, 0x2b], true, false),
    form("mov [ebx], si", &[0x66, 0x89, 0x33], true, false),
    form("mov di, [ebx]", &[0x66, 0x8b, 0x3b], false, false),
    form("mov byte [ebx], 5ah", &[0xc6, 0x03, 0x5a], true, false),
    form(
        "mov dword [ebx], 12345678h",
        &[0xc7, 0x03, 0x78, 0x56, 0x34, 0x12],
        true,
        false,
    ),
    form("mov [rbx], r9", &[0x4c, 0x89, 0x0b], true, true),
    form("mov r12, [rbx]", &[0x4c, 0x8b, 0x23], false, true),
    form("mov [rbx], r10b", &[0x44, 0x88, 0x13], true, true),
    form("mov sil, [rbx]", &[0x40, 0x8a, 0x33], false, true),
    form("mov rax, [rbx]", &[0x48, 0x8b, 0x03], false, true),
    form(
        "mov qword [rbx], -2",
        &[0x48, 0xc7, 0x03, 0xfe, 0xff, 0xff, 0xff],
        true,
        true,
    ),
    form("mov ecx, [ebx]", &[0x8b, 0x0b], false, false),
    form("mov [ebx], esp", &[0x89, 0x23], true, false),
    form("mov esp, [ebx]", &[0x8b, 0x23], false, false),
    form("movzx eax, byte [ebx]", &[0x0f, 0xb6, 0x03], false, false),
    form("movsx eax, word [ebx]", &[0x0f, 0xbf, 0x03], false, false),
    form("xchg [ebx], eax", &[0x87, 0x03], true, false),
    form("mov ax, cs:[ebx]", &[0x2e, 0x66, 0x8b, 0x03], false, false),
    form(
        "mov word [ebx], 1234h",
        &[0x66, 0xc7, 0x03, 0x34, 0x12],
        true,
        false,
    ),
    form("or [ebx], eax", &[0x09, 0x03], true, false),
];

pub struct Refused {
    pub vmx: u32,
    pub svm: u32,
    pub bytes: &'static [u8],
}

/// Instructions of VT-x and SVM, and what they exit as.
pub const REFUSED: &[Refused] = &[
    Refused {
        vmx: 19,
        svm: 0,
        bytes: &[0x66, 0x0f, 0xc7, 0x33],
    },
    Refused {
        vmx: 20,
        svm: 0x80,
        bytes: &[0x0f, 0x01, 0xc2],
    },
    Refused {
        vmx: 23,
        svm: 0x82,
        bytes: &[0x0f, 0x78, 0xc0],
    },
    Refused {
        vmx: 26,
        svm: 0x83,
        bytes: &[0x0f, 0x01, 0xc4],
    },
    Refused {
        vmx: 50,
        svm: 0x84,
        bytes: &[0x66, 0x0f, 0x38, 0x80, 0x03],
    },
    Refused {
        vmx: 11,
        svm: 0x85,
        bytes: &[0x0f, 0x37],
    },
    Refused {
        vmx: 59,
        svm: 0x86,
        bytes: &[0x0f, 0x01, 0xd4],
    },
];

/// SVM's own, in the order of REFUSED.
const REFUSED_SVM: &[&[u8]] = &[
    &[],
    &[0x0f, 0x01, 0xd8],
    &[0x0f, 0x01, 0xda],
    &[0x0f, 0x01, 0xdb],
    &[0x0f, 0x01, 0xdc],
    &[0x0f, 0x01, 0xdd],
    &[0x0f, 0x01, 0xde],
];

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

impl Step {
    pub fn told(&self, backend: Backend, mode: Mode) -> Told {
        let vmx = backend == Backend::Vmx;
        match *self {
            Step::Idle
            | Step::Inject { .. }
            | Step::Move { .. }
            | Step::Unmap
            | Step::SetGpr { .. }
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
            Step::Hlt { .. } => told(op::HLT, &[0xf4], &[]),
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
            Step::Fault { gpa, access } => with(op::MMIO, &[0x90], [gpa, access, gpa], &[]),
            Step::Exception { vector, code } => with(
                op::EXCEPTION,
                &[0x90],
                [vector.into(), code.into(), 0x5678_1000],
                &[],
            ),
            Step::TripleFault => told(op::TRIPLE_FAULT, &[], &[]),
            Step::HostInterrupt(vector) => with(op::INTERRUPT, &[], [vector.into(), 0, 0], &[]),
            Step::HostNmi => told(op::NMI, &[], &[]),
            Step::Timer => told(op::TIMER, &[], &[]),
            Step::TaskSwitch => with(op::TASK_SWITCH, &[0xcf], [0x28, 0, 0], &[]),
            Step::BadEntry => told(op::BAD_ENTRY, &[], &[]),
            Step::CutShort { .. } => with(op::CUT_SHORT, &[], [HOLE, 0, 0], &[]),
        }
    }

    /// Tells the machine what its guest does.
    pub fn tell(&self, machine: &Machine, backend: Backend, mode: Mode, registers: &Registers) {
        let told = self.told(backend, mode);
        let at = registers.rip as usize;
        machine.guest_memory()[at..at + 15].fill(0x90);
        machine.guest_memory()[at..at + told.bytes.len()].copy_from_slice(&told.bytes);
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

// ---- Modes -----------------------------------------------------------------------------------------------

fn put64(memory: &mut [u8], at: u64, value: u64) {
    memory[at as usize..at as usize + 8].copy_from_slice(&value.to_le_bytes());
}

/// Page tables for Mode::Paged and Mode::Long: RAM, the device and the local APIC at their own addresses.
pub fn write_page_tables(memory: &mut [u8]) {
    put64(memory, PML4, PML4 + 0x1003);
    put64(memory, PML4 + 0x1000, PML4 + 0x2003);
    put64(memory, PML4 + 0x1018, PML4 + 0x3003);
    for i in 0..512 {
        put64(memory, PML4 + 0x2000 + 8 * i, (i << 21) | 0x83);
        put64(memory, PML4 + 0x3000 + 8 * i, (3 << 30 | i << 21) | 0x83);
    }
    for i in 0..1024u64 {
        let at = (PAGE_DIRECTORY + 4 * i) as usize;
        memory[at..at + 4].copy_from_slice(&((i << 22) as u32 | 0x83).to_le_bytes());
    }
}

/// What the guest itself does on the way into `mode`, from real mode: steps, and segments that it loads behind them.
pub fn way_into(mode: Mode) -> (Vec<Step>, Vec<(u32, u64)>) {
    let segment = |number: u32, selector: u64, rights: u64| {
        [
            (field::SELECTOR + number, selector),
            (field::BASE + number, 0),
            (field::LIMIT + number, 0xffff_ffff),
            (field::RIGHTS + number, rights),
        ]
    };
    let flat = |code: u64| {
        let mut sets = Vec::new();
        sets.extend(segment(1, 8, code));
        for number in [0, 2, 3, 4, 5] {
            sets.extend(segment(number, 0x10, 0xc093));
        }
        sets
    };
    let cr = |number, value| Step::MovToCr {
        number,
        reg: 0,
        value,
    };
    match mode {
        Mode::Real => (vec![], vec![]),
        Mode::Protected => (vec![cr(0, 0x10), cr(0, 0x11)], flat(0xc09b)),
        // CR0.CD goes on its own: see V-04a.
        Mode::Paged => (
            vec![
                cr(0, 0x10),
                cr(4, 0x10),
                cr(3, PAGE_DIRECTORY),
                cr(0, 0x8000_0011),
            ],
            flat(0xc09b),
        ),
        Mode::Long => (
            vec![
                cr(0, 0x10),
                cr(4, 0x20),
                cr(3, PML4),
                Step::Wrmsr(0xc000_0080, 0x100),
                cr(0, 0x8000_0011),
            ],
            flat(0xa09b),
        ),
    }
}
