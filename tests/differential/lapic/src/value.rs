// SPDX-License-Identifier: Apache-2.0
//! What is compared.

use std::collections::BTreeSet;
use std::fmt;

use x86_vlapic::X86VlapicError;

/// What an access comes to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Value(u64),
    Done,
    /// An EOI: the vector whose end the VMM is told.
    Ended(Option<u8>),
    /// #GP(0) for the guest.
    Refused,
    /// No access to the local APIC: memory.
    NotApic,
    Error(X86VlapicError),
    Panic,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) => write!(f, "{value:#x}"),
            Self::Done => write!(f, "done"),
            Self::Ended(None) => write!(f, "end"),
            Self::Ended(Some(vector)) => write!(f, "end of {vector:#x}"),
            Self::Refused => write!(f, "#GP"),
            Self::NotApic => write!(f, "not the APIC"),
            Self::Error(error) => write!(f, "{error:?}"),
            Self::Panic => write!(f, "panic"),
        }
    }
}

/// (vCPU, vector).
pub type Interrupts = BTreeSet<(u32, u8)>;

#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    Answer(Answer),
    Number(u64),
    Interrupts(Interrupts),
    /// (vCPU, NMI | INIT << 1 | start-up << 2 | page << 8).
    Signals(BTreeSet<(u32, u32)>),
    Vector(Option<u8>),
    Time(Option<u64>),
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer(answer) => write!(f, "{answer:?}"),
            Self::Number(number) => write!(f, "{number:#x}"),
            Self::Interrupts(set) => f
                .debug_list()
                .entries(
                    set.iter()
                        .map(|(vcpu, vector)| format!("{vector:#x} to vCPU {vcpu}")),
                )
                .finish(),
            Self::Signals(set) => f
                .debug_list()
                .entries(set.iter().map(|(vcpu, bits)| format!("{bits:#x} to vCPU {vcpu}")))
                .finish(),
            Self::Vector(None) | Self::Time(None) => write!(f, "none"),
            Self::Vector(Some(vector)) => write!(f, "{vector:#x}"),
            Self::Time(Some(time)) => write!(f, "{time} ns"),
        }
    }
}

/// What a difference is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The answer to the access.
    Answer,
    /// IA32_APIC_BASE afterwards.
    Base,
    /// A register afterwards, by number, or its value as the answer to a read.
    Register(u32),
    /// The current count, as the answer to a read.
    Count,
    /// Fixed interrupts that the operation brought, to anybody.
    Sent,
    /// NMI, INIT, start-up that it brought.
    Signals,
    /// vCPUs that were notified.
    Kicks,
    /// When the host's timer of the vCPU is due.
    HostTimer,
    /// The timer's interrupt that a look before the entry found.
    Tick,
    /// The interrupt that goes in next.
    Delivered,
    /// Timers and frames that nobody has given back.
    LeftOver,
}
