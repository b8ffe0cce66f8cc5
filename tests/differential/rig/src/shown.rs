// SPDX-License-Identifier: Apache-2.0
//! Steps that show one row of docs/errata.md, with what each library must come to. What they have in common is compared
//! as after any step; what differs must stand in both expectations, and both must be met.

use cpu::{field, model_op, op};

use crate::compare::{Difference, Kind, Outcome};
use crate::side::{Exit, Failure};

/// Type, vector and error code.
pub type Event = (u32, u32, Option<u32>);
pub const INTERRUPT: u32 = 0;
pub const EXCEPTION: u32 = 3;

/// What one library comes to, as far as the row says something about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    exits: Option<Vec<Exit>>,
    events: Option<Vec<Event>>,
    fields: Vec<(u32, u64)>,
    fails: Option<&'static str>,
    complains: Option<&'static str>,
    host: Option<&'static str>,
}

pub fn by() -> Expected {
    Expected::default()
}

impl Expected {
    pub fn exits<const N: usize>(self, exits: [Exit; N]) -> Self {
        Self {
            exits: Some(exits.to_vec()),
            ..self
        }
    }

    pub fn events<const N: usize>(self, events: [Event; N]) -> Self {
        Self {
            events: Some(events.to_vec()),
            ..self
        }
    }

    pub fn field(mut self, number: u32, value: u64) -> Self {
        self.fields.push((number, value));
        self
    }

    /// An error or a panic with this text.
    pub fn fails(self, text: &'static str) -> Self {
        Self {
            fails: Some(text),
            ..self
        }
    }

    /// The model has something to say that begins like this.
    pub fn complains(self, text: &'static str) -> Self {
        Self {
            complains: Some(text),
            ..self
        }
    }

    /// This of the host is not as it was.
    pub fn changes(self, name: &'static str) -> Self {
        Self {
            host: Some(name),
            ..self
        }
    }

    fn is_met(&self, outcome: &Outcome) -> Result<(), String> {
        let events: Vec<Event> = outcome
            .events
            .iter()
            .map(|e| (e.kind, e.vector, (e.has_error_code != 0).then_some(e.error_code)))
            .collect();
        if self.exits.as_ref().is_some_and(|exits| *exits != outcome.exits) {
            return Err(format!("exits {:x?}", outcome.exits));
        }
        if self.events.as_ref().is_some_and(|wanted| *wanted != events) {
            return Err(format!("events {events:x?}"));
        }
        for &(number, value) in &self.fields {
            let found = outcome.fields[number as usize];
            if !outcome.stopped || found != value {
                return Err(format!(
                    "{} {found:x}, stopped {}",
                    crate::machine::field_name(number),
                    outcome.stopped
                ));
            }
        }
        let failed = match &outcome.failure {
            Some(Failure::Error(text)) => text,
            Some(Failure::Panic(text)) => text.as_str(),
            None => "",
        };
        if !failed.contains(self.fails.unwrap_or("")) || (self.fails.is_none() && !failed.is_empty()) {
            return Err(format!("failure {failed:?}"));
        }
        let complains = |text: &str| outcome.complaints.iter().any(|c| c.starts_with(text));
        if self.complains.is_some_and(|text| !complains(text)) {
            return Err(format!("complaints {:?}", outcome.complaints));
        }
        let changes = |name: &str| outcome.host.iter().any(|c| c.split(' ').next() == Some(name));
        if self.host.is_some_and(|name| !changes(name)) {
            return Err(format!("changes {:?}", outcome.host));
        }
        Ok(())
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    pub row: &'static str,
    pub bytes: Vec<u8>,
    pub kind: u32,
    pub operands: [u64; 3],
    pub sets: Vec<(u32, u64)>,
    pub memory: Vec<(u64, Vec<u8>)>,
    pub inject: Vec<u32>,
    pub theirs: Expected,
    pub ours: Expected,
}

/// An op that `bytes` are the instruction of.
pub fn shows(row: &'static str, kind: u32, bytes: &[u8]) -> Shown {
    Shown {
        row,
        bytes: bytes.to_vec(),
        kind,
        ..Shown::default()
    }
}

/// The guest is idle.
pub fn idly(row: &'static str) -> Shown {
    shows(row, op::NONE, &[])
}

impl Shown {
    pub fn with(self, operands: [u64; 3]) -> Self {
        Self { operands, ..self }
    }

    pub fn set(mut self, number: u32, value: u64) -> Self {
        self.sets.push((number, value));
        self
    }

    pub fn memory(mut self, at: u64, bytes: &[u8]) -> Self {
        self.memory.push((at, bytes.to_vec()));
        self
    }

    pub fn entry(self, at: u64, value: u64) -> Self {
        self.memory(at, &value.to_le_bytes())
    }

    pub fn inject(mut self, vector: u32) -> Self {
        self.inject.push(vector);
        self
    }

    pub fn theirs(self, theirs: Expected) -> Self {
        Self { theirs, ..self }
    }

    pub fn ours(self, ours: Expected) -> Self {
        Self { ours, ..self }
    }

    pub fn op(&self) -> model_op {
        let [a, b, c] = self.operands;
        model_op {
            kind: self.kind,
            length: self.bytes.len() as u32,
            a,
            b,
            c,
        }
    }

    /// It is what the row says, on both sides.
    pub fn describes(&self, d: &Difference) -> bool {
        let differ = self.theirs.fails.is_some() || self.ours.fails.is_some();
        match d.kind {
            Kind::Exits => differ || self.theirs.exits.is_some() && self.ours.exits.is_some(),
            Kind::Exceptions | Kind::Interrupts | Kind::Order => {
                differ || self.theirs.events.is_some() && self.ours.events.is_some()
            }
            Kind::Stopped | Kind::Failure | Kind::Calls => {
                differ || self.theirs.exits.is_some() && self.ours.exits.is_some()
            }
            Kind::Field(number) => {
                let has = |e: &Expected| e.fields.iter().any(|&(field, _)| field == number);
                has(&self.theirs) && has(&self.ours)
            }
            Kind::TheirComplaint => self
                .theirs
                .complains
                .is_some_and(|text| d.theirs.starts_with(text)),
            Kind::TheirHost => self
                .theirs
                .host
                .is_some_and(|name| d.theirs.split(' ').next() == Some(name)),
            _ => false,
        }
    }

    /// What one of them did not come to.
    pub fn broken(&self, theirs: &Outcome, ours: &Outcome) -> Option<Difference> {
        let sides = [self.theirs.is_met(theirs), self.ours.is_met(ours)];
        if sides.iter().all(Result::is_ok) {
            return None;
        }
        let text = |side: &Result<(), String>| side.as_ref().err().cloned().unwrap_or("as expected".into());
        Some(Difference {
            kind: Kind::Unexpected,
            theirs: text(&sides[0]),
            ours: text(&sides[1]),
            values: (0, 0),
        })
    }
}

/// EDX:EAX before or after an instruction.
pub fn edx_eax(value: u64) -> [(u32, u64); 2] {
    [(field::RAX, value & 0xffff_ffff), (field::RDX, value >> 32)]
}
