// SPDX-License-Identifier: Apache-2.0
//! The two libraries behind one interface, with their answers in one vocabulary.

mod ours;
mod theirs;

pub use ours::{Ours, status};
pub use theirs::{Theirs, guarded, quiet_panics};

use crate::machine::Machine;

/// What run returned. Widths are in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    Hypercall {
        nr: u64,
        args: [u64; 6],
    },
    PortRead {
        port: u16,
        width: u8,
    },
    PortWrite {
        port: u16,
        width: u8,
        data: u64,
    },
    PortString {
        port: u16,
        width: u8,
        out: bool,
        gpa: u64,
    },
    MmioRead {
        gpa: u64,
        width: u8,
        reg: u8,
        reg_width: u8,
        signed: bool,
        byte: Option<(u8, bool)>,
    },
    MmioWrite {
        gpa: u64,
        width: u8,
        data: u64,
    },
    MsrRead(u32),
    MsrWrite(u32, u64),
    NestedFault {
        gpa: u64,
        access: u64,
    },
    Timer,
    InterruptEnd(Option<u8>),
    Halt,
    Down,
    FailEntry(u64),
    WaitForSipi,
    Nothing,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    Error(&'static str),
    Panic(String),
}

pub type Answer<T> = Result<T, Failure>;

pub struct Setup {
    pub entry: u64,
    pub root: u64,
    pub ports: Vec<(u16, u16)>,
    pub mmio: Vec<(u64, u64)>,
    pub memory: bool, // whether guest RAM is given as a region
}

/// Of a machine.
pub const VCPUS: usize = 2;

/// The vCPUs of a machine, of which one is meant by what follows, and its CPUs.
pub trait Side {
    fn machine(&self) -> &Machine;
    /// This vCPU is meant from now on; the CPU is the one that it was last on.
    fn choose(&mut self, vcpu: usize);
    fn cpu_of(&self, vcpu: usize) -> usize;
    /// On the current CPU.
    fn enable(&mut self) -> Answer<()>;
    /// By us, on the current CPU.
    fn is_enabled(&self) -> bool;
    fn create(&mut self) -> Answer<()>;
    fn setup(&mut self, setup: &Setup) -> Answer<()>;
    fn bind(&mut self) -> Answer<()>;
    fn unbind(&mut self) -> Answer<()>;
    fn destroy(&mut self);
    fn run(&mut self) -> Answer<Exit>;
    /// Answers the exit as its library wants it: `value` for what was read.
    fn answer(&mut self, exit: &Exit, value: u64) -> Answer<()>;
    fn set_gpr(&mut self, index: u32, value: u64) -> Answer<()>;
    /// Through an operand of so many bytes.
    fn set_gpr_part(&mut self, index: u32, width: u8, value: u64) -> Answer<()>;
    fn set_return_value(&mut self, value: u64) -> Answer<()>;
    fn inject(&mut self, vector: u32, level: bool) -> Answer<()>;
    /// Into any vCPU of the machine, as another one has sent it.
    fn send(&mut self, vcpu: usize, vector: u32) -> Answer<()>;
    fn has_pending_event(&mut self) -> bool;
    fn handle_eoi(&mut self) -> Answer<Option<u8>>;
    /// What the CPUs may have kept of the nested tables is dropped.
    fn flush_nested_of_all(&mut self);
    /// The vCPUs are destroyed, every CPU that is on turned off.
    fn give_back(&mut self);
}

/// Both on another CPU from now on.
pub trait Moves {
    fn on_cpu(&mut self, number: u32);
}
