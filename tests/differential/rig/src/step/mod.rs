// SPDX-License-Identifier: Apache-2.0
//! What a guest and its host do, one thing at a time, and how the model is told.

mod forms;
mod modes;
mod tell;

use crate::compare::Difference;
use crate::shown::Shown;

pub use forms::{FORMS, REFUSED};
pub use modes::{privilege, way_into, way_to_apic, write_page_tables};

/// Where the guest has its page tables (long_mode, protected), code and data.
pub const CODE: u64 = 0x1000;
pub const PML4: u64 = 0x30000;
pub const PAGE_DIRECTORY: u64 = 0x34000;
pub const DIRECTORY_POINTERS: u64 = 0x35000;
pub const DEVICE: u64 = 0xd000_0000;
pub const APIC: u64 = 0xfee0_0000;
/// Nothing is mapped there: neither RAM nor a device.
pub const HOLE: u64 = 0x0800_0000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Real,
    Protected, // 32 bits without paging
    Paged,     // 32 bits with PSE
    Pae,       // 32 bits with PAE
    Long,
    Compatibility, // 32 bits in long mode
}

impl Mode {
    /// Access rights of its code segment.
    fn code_rights(self) -> u64 {
        if self == Mode::Long { 0xa09b } else { 0xc09b }
    }
}

/// Registers before a step, the same on both sides whatever happened before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registers {
    pub gpr: [u64; 16],
    pub rip: u64,
    pub rflags: u64,
    pub shadow: u64,
    pub user: bool, // CPL 3, where the mode has it
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
    /// The VMM sets a register through an operand of so many bytes.
    SetPart {
        index: u8,
        width: u8,
        value: u64,
    },
    SetReturn(u64),
    /// The VMM ends the guest's interrupt.
    HostEoi,
    /// Time passes, in nanoseconds: while the vCPU is not in the guest, ...
    Pass(u64),
    /// ... until an interrupt of the host ends its stay in the guest, ...
    PassInside(u64),
    /// ... unbound, and then it is bound elsewhere, ...
    PassUnbound {
        cpu: u8,
        time: u64,
    },
    /// ... halted. The VMM wakes it when no timer has.
    HltFor {
        time: u64,
        wake: u8,
    },
    /// The local APIC in memory: the offset, what is written.
    ApicRead(u16),
    ApicWrite(u16, u32),
    /// The other vCPU of the machine from here on. Does this one stay bound?
    Switch {
        stays: bool,
    },
    /// Unbound, set up and bound again.
    SetupAgain,
    /// VT-x: an exit for this reason.
    Reason(u8),
    /// The guest loads a CS without L.
    Compatibility,
    /// For one row of docs/errata.md.
    Shown(Box<Shown>),
    /// No step of a sequence: see run_out_of_memory.
    OutOfMemory,
}

impl Step {
    /// The id of the row that it is there for, when that is what the difference is about.
    pub fn shows(&self, difference: &Difference) -> Option<&'static str> {
        match self {
            Step::Shown(shown) if shown.describes(difference) => Some(shown.row),
            _ => None,
        }
    }
}
