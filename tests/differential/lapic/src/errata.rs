// SPDX-License-Identifier: Apache-2.0
//! The differences that are meant, by the ids of docs/errata.md.
//!
//! A row turns what the crate shows into what its page says that the library shows. The library must have what the
//! rows, in this order, lead to; those that changed something are counted. Anything else is a bug.

use std::collections::BTreeSet;

use x86_vlapic::X86VlapicError;

use crate::manual::{self, Manual, Message, Mode, Shorthand, Target, mode_of};
use crate::op::Access;
use crate::value::{Answer, Interrupts, Value, What};

/// What the crate is known to have gone astray with, for one vCPU.
#[derive(Default)]
pub struct Astray {
    /// SVR's enable bit.
    pub enabled: bool,
    /// SVR bit 12.
    pub suppresses: bool,
    pub dfr_written: bool,
    pub svr_written: bool,
    /// Local vectors that it unmasked while the APIC was disabled by software, a bit per register number.
    pub unmasked: u64,
    /// Vectors below 32 that stay in service.
    pub stuck: u32,
    /// Its processor priority when it was last computed.
    pub ppr: u32,
    /// The row that its timer's state is off by, until it is started again.
    pub timer: Option<&'static str>,
    pub timer_mode_3: bool,
    /// Left TSC-deadline mode.
    pub initial_kept: bool,
    /// Entered x2APIC mode.
    pub destination_kept: bool,
    pub masked_expiry: bool,
}

/// A difference, with what its rows may look at.
pub struct Seen<'a> {
    pub what: What,
    pub vcpu: u32,
    pub access: Option<Access>,
    /// What is written to IA32_APIC_BASE.
    pub base_write: Option<u64>,
    /// Before the access.
    pub mode: Mode,
    pub message: Option<Message>,
    pub targets: &'a [Target],
    pub manual: &'a Manual,
    pub astray: &'a Astray,
    pub tpr: u32,
    /// What the manual's model says, where there is one.
    pub expected: Option<Value>,
    /// LVT error register, and the vector that the error interrupt brings.
    pub error_interrupt: Option<u8>,
    /// The register that is read, as the library has it.
    pub full: u64,
}

pub struct Row {
    pub id: &'static str,
    pub about: &'static str,
    /// The sides differ too much afterwards to be compared on.
    pub ends: fn(&Seen) -> bool,
    pub leads: fn(&Seen, &Value) -> Option<Value>,
}

const fn row(id: &'static str, about: &'static str, leads: fn(&Seen, &Value) -> Option<Value>) -> Row {
    Row {
        id,
        about,
        ends: |_| false,
        leads,
    }
}

const fn last(id: &'static str, about: &'static str, leads: fn(&Seen, &Value) -> Option<Value>) -> Row {
    Row {
        id,
        about,
        ends: |seen| seen.is_write(),
        leads,
    }
}

/// Rows about the same thing stand in the order in which they apply.
pub const ROWS: &[Row] = &[
    // ---- Answers ----
    row("LA-01", "reserved register: panic", |s, v| {
        let access = s.answer_of(v, Answer::Panic)?;
        (access.reg < 0x40 && manual::reserved_in_xapic(access.reg) || !access.msr && access.reg >= 0x40)
            .then(|| s.nothing_there(access))
    }),
    row("VC-04", "MSR 840H and above: panic", |s, v| {
        let access = s.answer_of(v, Answer::Panic)?;
        (access.msr && access.reg >= 0x40).then(|| s.nothing_there(access))
    }),
    row(
        "LA-25",
        "logical destination with an unknown model: an error",
        |s, v| {
            s.answer_of(v, Answer::Error(X86VlapicError::InvalidData))
                .filter(Access::is_plain)?;
            s.unknown_model()?;
            Some(Value::Answer(Answer::Done))
        },
    ),
    last("LA-26", "unaligned access, or not of 32 bits", |s, v| {
        let access = s
            .access
            .filter(|access| !access.is_plain() && s.mode == Mode::Xapic)?;
        match (access.write, v) {
            (Some(_), Value::Answer(_)) => Some(Value::Answer(Answer::Done)),
            (None, Value::Answer(Answer::Error(_))) => Some(Value::Answer(Answer::Value(slice(
                s.full,
                access.from,
                access.bytes,
            )))),
            (None, Value::Answer(Answer::Value(whole))) => Some(Value::Answer(Answer::Value(slice(
                *whole,
                access.from,
                access.bytes,
            )))),
            _ => None,
        }
    }),
    row("LA-24", "write of a read-only register: an error", |s, v| {
        let access = s.answer_of(v, Answer::Error(X86VlapicError::InvalidInput))?;
        (access.write.is_some() && !manual::writable_in_xapic(access.reg)).then(|| s.nothing_there(access))
    }),
    last("LA-12", "the other mode's interface, or reserved bits", |s, v| {
        let access = s.access?;
        let Value::Answer(_) = v else { return None };
        if access.msr {
            return manual::msr_is_refused(s.mode, &access).then_some(Value::Answer(Answer::Refused));
        }
        (s.mode != Mode::Xapic).then_some(Value::Answer(Answer::NotApic))
    }),
    row(
        "V-02",
        "IA32_APIC_BASE with EXTD and without EN: an error",
        |s, v| {
            let value = s.base_write?;
            (*v == Value::Answer(Answer::Error(X86VlapicError::InvalidInput)) && value & 0xc00 == 0x400)
                .then_some(Value::Answer(Answer::Refused))
        },
    ),
    last(
        "LA-13",
        "illegal mode change or reserved bit in IA32_APIC_BASE",
        |s, v| {
            let value = s.base_write?;
            let (old, new) = (s.mode, mode_of(value));
            let illegal = matches!(
                (old, new),
                (Mode::X2apic, Mode::Xapic) | (Mode::Disabled, Mode::X2apic)
            );
            (*v == Value::Answer(Answer::Done) && (illegal || value & 0xffff_ff00_0000_02ff != 0))
                .then_some(Value::Answer(Answer::Refused))
        },
    ),
    row("LA-13", "the BSP flag can be written", |s, v| match (s.what, v) {
        (What::Base, Value::Number(base)) => Some(Value::Number(base & !0x100 | u64::from(s.vcpu == 0) << 8)),
        _ => None,
    }),
    // ---- End of interrupt ----
    row(
        "C-03e",
        "trigger mode of the last post, although another is in service",
        |s, v| {
            let vector = s
                .ended_high(v)
                .filter(|vector| s.manual.pending.contains(vector))?;
            Some(Value::Answer(Answer::Ended(
                s.manual.is_level(vector).then_some(vector),
            )))
        },
    ),
    row(
        "LA-14",
        "a suppressed EOI broadcast, without the feature",
        |s, v| {
            let vector = s.ended_high(v).filter(|_| s.astray.suppresses)?;
            Some(Value::Answer(Answer::Ended(
                s.manual.is_level(vector).then_some(vector),
            )))
        },
    ),
    row("LA-03", "EOI of vectors 16 to 31", |s, v| match v {
        Value::Answer(Answer::Ended(None)) => {
            let vector = *s.manual.in_service.last().filter(|&&vector| vector < 32)?;
            Some(Value::Answer(Answer::Ended(
                s.manual.is_level(vector).then_some(vector),
            )))
        }
        _ => None,
    }),
    // ---- Registers ----
    row("LA-11", "ID and LDR in x2APIC mode", |s, v| {
        match s.register(v)? {
            (0x02, _) if s.mode == Mode::X2apic => Some(Value::Number(u64::from(s.vcpu))),
            (0x0d, _) if s.mode == Mode::X2apic => {
                Some(Value::Number(u64::from(s.vcpu >> 4 << 16 | 1 << (s.vcpu & 15))))
            }
            _ => None,
        }
    }),
    row("LA-10", "DFR and SVR after reset", |s, v| {
        match s.register(v)? {
            (0x0e, 0) if !s.astray.dfr_written => Some(Value::Number(0xffff_ffff)),
            (0x0f, 0) if !s.astray.svr_written => Some(Value::Number(0xff)),
            _ => None,
        }
    }),
    row(
        "LA-14",
        "bits of SVR and of the divide register that do not exist",
        |s, v| match s.register(v)? {
            (0x0f, value) => Some(Value::Number(value & 0x1ff)),
            (0x3e, value) => Some(Value::Number(value & 0xb)),
            _ => None,
        },
    ),
    row(
        "LA-16",
        "delivery status and remote IRR can be written",
        |s, v| match s.register(v)? {
            (0x35 | 0x36, value) => Some(Value::Number(value & !0x5000)),
            (0x2f | 0x32..=0x37, value) => Some(Value::Number(value & !0x1000)),
            _ => None,
        },
    ),
    row("LA-28", "the timer's reserved mode", |s, v| {
        match s.register(v)? {
            (0x32, value) if value & 0x6_0000 == 0x6_0000 => Some(Value::Number(value & !0x4_0000)),
            (0x38, 0) if s.astray.timer_mode_3 => Some(Value::Number(u64::from(s.manual.timer.initial))),
            _ => None,
        }
    }),
    row(
        "LA-15",
        "a local vector unmasked while the APIC is disabled",
        |s, v| match s.register(v)? {
            (reg, value) if s.astray.unmasked >> reg & 1 != 0 => Some(Value::Number(value | 0x1_0000)),
            _ => None,
        },
    ),
    row("LA-29", "reserved bits of ICR", |s, v| match s.register(v)? {
        (0x30, value) => Some(Value::Number(value & 0xffff_ffff_000c_cfff)),
        _ => None,
    }),
    row(
        "LA-32",
        "ICR's destination after entering x2APIC mode, initial count after TSC-deadline mode",
        |s, v| match s.register(v)? {
            (0x30, value) if s.astray.destination_kept => Some(Value::Number(value & 0xffff_ffff)),
            (0x38, _) if s.astray.initial_kept => Some(Value::Number(0)),
            _ => None,
        },
    ),
    row(
        "LA-04",
        "a new task priority does not change the processor priority",
        |s, v| match s.register(v)? {
            (0x0a, value) if value == u64::from(s.astray.ppr) => {
                let high = s.manual.in_service.last().copied().filter(|&vector| vector >= 32);
                Some(Value::Number(u64::from(manual::ppr(s.tpr, high))))
            }
            _ => None,
        },
    ),
    row("LA-03", "vectors 16 to 31 in service", |s, v| {
        let top = s.manual.in_service.last().copied();
        match s.register(v)? {
            (0x0a, _) if top.is_some_and(|top| top < 32) => {
                Some(Value::Number(u64::from(manual::ppr(s.tpr, top))))
            }
            (0x10, value) => Some(Value::Number(value & !u64::from(s.astray.stuck))),
            _ => None,
        }
    }),
    row("LA-05", "IRR, and TMR of what is in it", |s, v| {
        match s.register(v)? {
            (reg @ 0x20..=0x27, 0) => Some(Value::Number(u64::from(Manual::word(
                &s.manual.pending,
                reg - 0x20,
            )))),
            (reg @ 0x18..=0x1f, value) => {
                let waiting = Manual::word(&s.manual.pending, reg - 0x18);
                let level: BTreeSet<u8> = s
                    .manual
                    .pending
                    .iter()
                    .copied()
                    .filter(|&v| s.manual.is_level(v))
                    .collect();
                Some(Value::Number(
                    value & !u64::from(waiting) | u64::from(Manual::word(&level, reg - 0x18)),
                ))
            }
            _ => None,
        }
    }),
    row("LA-01", "ESR bit 7", |s, v| s.error_bit(v, 0x80)),
    row("LA-23", "ESR bit 6", |s, v| s.error_bit(v, 0x40)),
    row("LA-09", "ESR bit 5 for a lowest-priority message", |s, v| {
        s.error_bit(v, 0x20)
    }),
    // ---- Interrupts between vCPUs ----
    row("LA-06", "a physical destination of 64 and more", |s, v| {
        let message = s.fixed(v)?;
        (message.shorthand == Shorthand::None
            && !message.logical
            && !message.is_broadcast()
            && message.destination >= 64
            && *v == s.interrupts(|target| target.id == message.destination % 64))
        .then(|| s.interrupts(|_| false))
    }),
    row("LA-25", "logical destination with an unknown model", |s, v| {
        s.unknown_model()?;
        s.fixed(v)?;
        (*v == s.interrupts(|_| false)).then(|| s.meant())
    }),
    row(
        "LA-07",
        "logical destination compared with the sender's registers",
        |s, v| {
            let message = s
                .fixed(v)
                .filter(|m| m.logical && !m.wide && m.shorthand == Shorthand::None)?;
            let itself = message.is_for(s.targets.get(s.vcpu as usize)?);
            (!message.is_broadcast() && *v == s.interrupts(|_| itself)).then(|| s.meant())
        },
    ),
    row(
        "LA-10",
        "DFR's reset value makes the sender's logical destinations clusters",
        |s, v| {
            let message = s
                .fixed(v)
                .filter(|m| m.logical && !m.wide && m.shorthand == Shorthand::None)?;
            let sender = Target {
                dfr: 0,
                ..*s.targets.get(s.vcpu as usize)?
            };
            let itself = message.is_for(&sender);
            (!s.astray.dfr_written && !message.is_broadcast() && *v == s.interrupts(|_| itself))
                .then(|| s.meant())
        },
    ),
    row(
        "LA-08",
        "logical destination in x2APIC mode: everybody",
        |s, v| {
            let message = s
                .fixed(v)
                .filter(|m| m.logical && m.wide && m.shorthand == Shorthand::None)?;
            (!message.is_broadcast() && *v == s.interrupts(|_| true)).then(|| s.meant())
        },
    ),
    row("LA-34", "messages reach APICs that are disabled", |s, v| {
        s.fixed(v)?;
        let Value::Interrupts(set) = v else { return None };
        let message = s.message?;
        let heard = |vcpu: u32| {
            s.targets
                .get(vcpu as usize)
                .is_some_and(|target| message.is_heard(target))
        };
        Some(Value::Interrupts(
            set.iter().copied().filter(|&(vcpu, _)| heard(vcpu)).collect(),
        ))
    }),
    row(
        "LA-09",
        "lowest priority, NMI, INIT and start-up are dropped",
        |s, v| match (s.what, v) {
            (What::Sent, Value::Interrupts(set)) if set.is_empty() && s.message?.delivery == 1 => {
                s.expected.clone()
            }
            (What::Signals, Value::Signals(set)) if set.is_empty() && s.message?.delivery >= 4 => {
                s.expected.clone()
            }
            _ => None,
        },
    ),
    row("LA-18", "the error interrupt", |s, v| match (s.what, v) {
        (What::Sent, Value::Interrupts(set)) => {
            let mut set = set.clone();
            set.insert((s.vcpu, s.error_interrupt?));
            Some(Value::Interrupts(set))
        }
        _ => None,
    }),
    // ---- The timer ----
    timer_row(
        "LA-17",
        "disabling stops the timer, enabling starts a periodic one anew",
    ),
    timer_row("LA-20", "the divide register is written on the way"),
    timer_row("LA-21", "a period below 200 us"),
    timer_row("LA-22", "reading the count moves the deadline"),
    timer_row("LA-28", "TSC-deadline and the reserved mode count on"),
    timer_row(
        "LA-35",
        "a late call of a periodic timer begins a new phase, or follows a new mode",
    ),
    row(
        "LA-15",
        "the timer's vector unmasked while the APIC is disabled",
        |s, v| match (s.what, v) {
            (What::Tick, Value::Vector(Some(_))) if s.astray.unmasked >> 0x32 & 1 != 0 => {
                Some(Value::Vector(None))
            }
            _ => None,
        },
    ),
    row("LA-19", "an expiry while masked comes later", |s, v| {
        match (s.what, v) {
            (What::Tick, Value::Vector(Some(_))) if s.astray.masked_expiry => Some(Value::Vector(None)),
            _ => None,
        }
    }),
    row("LA-23", "timer vectors below 16", |s, v| match (s.what, v) {
        (What::Tick, Value::Vector(Some(0..=15))) => Some(Value::Vector(None)),
        _ => None,
    }),
    row(
        "LA-18",
        "the error interrupt of a bad timer vector",
        |s, v| match (s.what, v) {
            (What::Tick, Value::Vector(None)) => s.error_interrupt.map(|vector| Value::Vector(Some(vector))),
            _ => None,
        },
    ),
    row("LA-33", "the count is rounded down", |s, v| match (s.what, v) {
        (What::Count, Value::Answer(Answer::Value(count))) => {
            let Some(Value::Answer(Answer::Value(expected))) = s.expected else {
                return None;
            };
            (*count + 1 == expected).then_some(Value::Answer(Answer::Value(expected)))
        }
        _ => None,
    }),
    // ---- Delivery ----
    row(
        "inject_interrupt` while the local APIC is disabled",
        "taken as an 8259A's",
        |s, v| match (s.what, v) {
            (What::Delivered, Value::Vector(_)) if !s.manual.direct.is_empty() => s.expected.clone(),
            _ => None,
        },
    ),
    row(
        "LA-05",
        "first come, first served, whatever the priorities",
        |s, v| match (s.what, v) {
            (What::Delivered, Value::Vector(Some(_))) => s.expected.clone(),
            _ => None,
        },
    ),
];

/// Rows that no sequence can meet, with the scripted case that does (scripted.rs).
pub const SCRIPTED: &[&str] = &["LA-02", "LA-27", "LA-28", "LA-31", "LA-36"];

const fn timer_row(id: &'static str, about: &'static str) -> Row {
    const fn leads(id: &'static str) -> fn(&Seen, &Value) -> Option<Value> {
        // One function per id: a closure cannot keep it.
        match id.as_bytes() {
            b"LA-17" => |s, _| s.timer("LA-17"),
            b"LA-20" => |s, _| s.timer("LA-20"),
            b"LA-21" => |s, _| s.timer("LA-21"),
            b"LA-22" => |s, _| s.timer("LA-22"),
            b"LA-28" => |s, _| s.timer("LA-28"),
            _ => |s, _| s.timer("LA-35"),
        }
    }
    row(id, about, leads(id))
}

pub fn slice(whole: u64, from: u32, bytes: u32) -> u64 {
    if from >= 4 {
        return 0;
    }
    let value = (whole & 0xffff_ffff) >> (8 * from);
    if bytes >= 8 {
        value
    } else {
        value & ((1 << (8 * bytes)) - 1)
    }
}

impl Seen<'_> {
    fn is_write(&self) -> bool {
        self.base_write.is_some() || self.access.is_some_and(|access| access.write.is_some())
    }

    fn answer_of(&self, value: &Value, answer: Answer) -> Option<Access> {
        self.access.filter(|_| *value == Value::Answer(answer))
    }

    /// What an access to nothing comes to.
    fn nothing_there(&self, access: Access) -> Value {
        Value::Answer(match access {
            _ if access.msr => Answer::Refused,
            _ if self.mode != Mode::Xapic => Answer::NotApic,
            Access { write: None, .. } => Answer::Value(0),
            _ => Answer::Done,
        })
    }

    /// The register, and the value that the crate has in it.
    fn register(&self, value: &Value) -> Option<(u32, u64)> {
        match (self.what, value) {
            (What::Register(reg), Value::Number(number)) => Some((reg, *number)),
            _ => None,
        }
    }

    fn error_bit(&self, value: &Value, bit: u64) -> Option<Value> {
        match self.register(value)? {
            (0x28, value) => Some(Value::Number(value | u64::from(self.manual.latched) & bit)),
            _ => None,
        }
    }

    /// An EOI that ends a vector which the crate knows to be in service.
    fn ended_high(&self, value: &Value) -> Option<u8> {
        let Value::Answer(Answer::Ended(_)) = value else {
            return None;
        };
        self.manual
            .in_service
            .last()
            .copied()
            .filter(|&vector| vector >= 32)
    }

    fn fixed(&self, value: &Value) -> Option<Message> {
        let Value::Interrupts(_) = value else { return None };
        self.message
            .filter(|message| message.delivery == 0 && !message.is_illegal())
    }

    fn unknown_model(&self) -> Option<()> {
        let message = self.message?;
        let dfr = self.targets.get(self.vcpu as usize)?.dfr >> 28;
        (message.logical && !message.wide && !matches!(dfr, 0 | 0xf)).then_some(())
    }

    fn interrupts(&self, to: impl Fn(&Target) -> bool) -> Value {
        let vector = self.message.map_or(0, |message| message.vector);
        let set: Interrupts = self
            .targets
            .iter()
            .filter(|target| to(target))
            .map(|target| (target.id, vector))
            .collect();
        Value::Interrupts(set)
    }

    /// Whom the message is for, listening or not.
    fn meant(&self) -> Value {
        self.interrupts(|target| self.message.is_some_and(|message| message.is_for(target)))
    }

    fn timer(&self, id: &str) -> Option<Value> {
        let is_the_timers = matches!(self.what, What::HostTimer | What::Tick | What::Count);
        (is_the_timers && self.astray.timer == Some(id))
            .then(|| self.expected.clone())
            .flatten()
    }
}
