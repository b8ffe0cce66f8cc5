// SPDX-License-Identifier: Apache-2.0
//! Both sides, moved by the same operations, and compared after each.

mod access;
mod message;
mod timer;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;

use crate::errata::{Astray, ROWS, Seen};
use crate::host::{self, world};
use crate::manual::{self, Manual, Message, Mode, Target, TimerMode, mode_of};
use crate::op::{Access, Op, Sequence};
use crate::ours::Ours;
use crate::theirs::Theirs;
use crate::value::{Answer, Interrupts, Value, What};

/// What the timers may fire during one passing of time: short periods never end.
const MOST_CALLS: u32 = 64;

/// How often each row was met, by its place in ROWS.
pub type Counts = Vec<u64>;

pub struct Difference {
    pub step: usize,
    pub what: What,
    pub vcpu: u32,
    pub theirs: Value,
    pub ours: Value,
    /// Where the rows lead.
    pub led_to: Value,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            vcpu,
            theirs,
            ours,
            led_to,
            ..
        } = self;
        match self.what {
            What::Register(reg) => write!(f, "register {reg:#x} of vCPU {vcpu}")?,
            what => write!(f, "{what:?} of vCPU {vcpu}")?,
        }
        write!(f, ": the crate has {theirs:?}, the library {ours:?}")?;
        if led_to != theirs {
            write!(f, "; docs/errata.md explains {led_to:?}")?;
        }
        Ok(())
    }
}

#[derive(Default)]
pub struct Outcome {
    pub operations: usize,
    pub compared: u64,
    /// Differences that a row explains.
    pub exempt: u64,
    pub difference: Option<Difference>,
}

/// What is known before an operation.
struct Before {
    mode: Mode,
    targets: Vec<Target>,
    irr: Vec<[u32; 8]>,
    full: u64,
    error_vector: Option<u8>,
}

pub struct Rig<'a> {
    ours: Ours,
    theirs: Theirs,
    vcpus: u32,
    manuals: Vec<Manual>,
    astray: Vec<Astray>,
    /// What x86_vcpu would inject, in this order.
    queues: Vec<Vec<u8>>,
    last_arbitrated: u32,
    tally: RefCell<Tally<'a>>,
    ended: bool,
}

struct Tally<'a> {
    counts: &'a mut Counts,
    outcome: Outcome,
    step: usize,
}

type Step<T = ()> = Result<T, Box<Difference>>;

pub fn run(sequence: &Sequence, counts: &mut Counts) -> Outcome {
    host::begin(sequence.vcpus);
    let Some(mut rig) = Rig::new(sequence, counts) else {
        panic!("the library finds no memory");
    };
    if let Err(difference) = rig.run(&sequence.ops) {
        rig.tally.get_mut().outcome.difference = Some(*difference);
    }
    let mut outcome = std::mem::take(&mut rig.tally.get_mut().outcome);
    drop(rig);
    let (ours, theirs, frames) = world(|w| (w.ours.len(), w.theirs.len(), w.frames.len()));
    if ours + theirs + frames != 0 {
        outcome.difference.get_or_insert(Difference {
            step: sequence.ops.len(),
            what: What::LeftOver,
            vcpu: 0,
            theirs: Value::Number(theirs as u64),
            ours: Value::Number((ours + frames) as u64),
            led_to: Value::Number(0),
        });
    }
    outcome
}

impl<'a> Rig<'a> {
    fn new(sequence: &Sequence, counts: &'a mut Counts) -> Option<Self> {
        let vcpus = sequence.vcpus;
        counts.resize(ROWS.len(), 0);
        Some(Self {
            ours: Ours::new(vcpus, sequence.sends)?,
            theirs: Theirs::new(vcpus),
            vcpus,
            manuals: (0..vcpus).map(|_| Manual::default()).collect(),
            astray: (0..vcpus).map(|_| Astray::default()).collect(),
            queues: vec![Vec::new(); vcpus as usize],
            last_arbitrated: 63,
            tally: RefCell::new(Tally {
                counts,
                outcome: Outcome::default(),
                step: 0,
            }),
            ended: false,
        })
    }

    fn run(&mut self, ops: &[Op]) -> Step {
        for (step, op) in ops.iter().enumerate() {
            let tally = self.tally.get_mut();
            tally.step = step;
            tally.outcome.operations += 1;
            self.perform(op)?;
            if self.ended {
                return Ok(());
            }
        }
        (0..self.vcpus).try_for_each(|vcpu| self.compare_registers(vcpu))
    }

    fn perform(&mut self, op: &Op) -> Step {
        world(|w| {
            w.injected.clear();
            w.sent.clear();
            w.notified.clear();
        });
        match *op {
            Op::Interrupt { vcpu, vector, level } => self.interrupt(vcpu, vector, level),
            Op::Enter { vcpu } => self.enter(vcpu),
            Op::Clock { ns } => return self.clock(ns),
            Op::Late { ns } => {
                world(|w| w.now += ns);
                return Ok(());
            }
            Op::Wrmsr {
                vcpu,
                msr: 0x1b,
                value,
            } => self.write_base(vcpu, value),
            Op::Rdmsr { vcpu, msr: 0x1b } => self.compare_base(vcpu),
            _ => self.access(op),
        }?;
        if self.ended {
            return Ok(());
        }
        let vcpu = op.vcpu().expect("the others were handled above");
        self.look(vcpu)?;
        self.compare_host_timer(vcpu)?;
        self.compare_registers(vcpu)
    }

    // ---- Comparing -------------------------------------------------------------------------------------

    fn seen<'s>(&'s self, what: What, vcpu: u32, targets: &'s [Target]) -> Seen<'s> {
        let v = vcpu as usize;
        Seen {
            what,
            vcpu,
            access: None,
            base_write: None,
            mode: self.mode(vcpu),
            message: None,
            targets,
            manual: &self.manuals[v],
            astray: &self.astray[v],
            tpr: self.ours.register(vcpu, 0x08),
            expected: None,
            error_interrupt: None,
            full: 0,
        }
    }

    /// All rows are tried, also when both sides agree already: the library must not have the crate's defect.
    /// Counts those that lead somewhere, or answers the difference. True: the sequence cannot go on.
    fn compare(&self, seen: &Seen, (theirs, ours): (Value, Value)) -> Step<bool> {
        let mut tally = self.tally.borrow_mut();
        let mut value = theirs.clone();
        let mut ends = false;
        tally.outcome.compared += 1;
        let mut used = Vec::new();
        for (number, row) in ROWS.iter().enumerate() {
            if let Some(next) = (row.leads)(seen, &value).filter(|next| *next != value) {
                value = next;
                used.push(number);
                ends |= (row.ends)(seen);
            }
        }
        if value != ours {
            return Err(Box::new(Difference {
                step: tally.step,
                what: seen.what,
                vcpu: seen.vcpu,
                theirs,
                ours,
                led_to: value,
            }));
        }
        tally.outcome.exempt += u64::from(!used.is_empty());
        for number in used {
            tally.counts[number] += 1;
        }
        Ok(ends)
    }

    fn compare_registers(&mut self, vcpu: u32) -> Step {
        let mode = self.mode(vcpu);
        for reg in 0..0x40 {
            let readable = match mode {
                Mode::X2apic => manual::readable_in_x2apic(reg),
                _ => manual::readable_in_xapic(reg),
            };
            if !readable || reg == 0x39 {
                continue;
            }
            let ours = self.our_register(vcpu, reg);
            let theirs = self.theirs.register(vcpu, reg);
            let seen = self.seen(What::Register(reg), vcpu, &[]);
            let pair = (Value::Number(theirs), Value::Number(ours));
            self.compare(&seen, pair)?;
        }
        Ok(())
    }

    fn check(
        &mut self,
        change: impl FnOnce(&mut Seen),
        what: What,
        vcpu: u32,
        before: &Before,
        pair: (Value, Value),
    ) -> Step {
        let mut seen = self.seen(what, vcpu, &before.targets);
        seen.mode = before.mode;
        seen.full = before.full;
        change(&mut seen);
        let ends = self.compare(&seen, pair)?;
        self.ended |= ends;
        Ok(())
    }

    fn our_register(&self, vcpu: u32, reg: u32) -> u64 {
        if reg == 0x30 && self.mode(vcpu) == Mode::X2apic {
            return match self.ours.rdmsr(vcpu, 0x830) {
                Answer::Value(value) => value,
                other => panic!("reading ICR answers {other:?}"),
            };
        }
        u64::from(self.ours.register(vcpu, reg))
    }

    // ---- The machine ---------------------------------------------------------------------------------------

    fn mode(&self, vcpu: u32) -> Mode {
        mode_of(self.ours.base(vcpu))
    }

    fn target(&self, vcpu: u32) -> Target {
        Target {
            id: vcpu,
            mode: self.mode(vcpu),
            enabled: self.ours.register(vcpu, 0x0f) & 0x100 != 0,
            ldr: self.ours.register(vcpu, 0x0d),
            dfr: self.ours.register(vcpu, 0x0e),
            tpr: self.ours.register(vcpu, 0x08),
        }
    }

    fn before(&self, vcpu: u32, access: Option<Access>) -> Before {
        let error = self.ours.register(vcpu, 0x37);
        // Of the others only a message wants to know.
        let sends = access.is_some_and(|a| matches!(a.reg, 0x30 | 0x3f) && a.write.is_some());
        let readable = access.filter(|a| a.reg < 0x40 && a.write.is_none() && a.reg != 0x39);
        Before {
            mode: self.mode(vcpu),
            targets: if sends {
                (0..self.vcpus).map(|id| self.target(id)).collect()
            } else {
                Vec::new()
            },
            irr: if sends {
                (0..self.vcpus).map(|id| self.ours.irr(id)).collect()
            } else {
                Vec::new()
            },
            full: readable.map_or(0, |access| self.our_register(vcpu, access.reg)),
            error_vector: (error & 0x1_0000 == 0).then_some(error as u8),
        }
    }

    fn now() -> u64 {
        world(|w| w.now)
    }

    /// An error that the manual knows; the vector of the error interrupt, when it comes.
    fn raise_error(&mut self, vcpu: u32, bit: u32, before: &Before) -> Option<u8> {
        let manual = &mut self.manuals[vcpu as usize];
        let known = manual.errors & bit != 0;
        manual.errors |= bit;
        let vector = before.error_vector.filter(|_| !known)?;
        if vector < 16 {
            manual.errors |= 0x40;
            return None;
        }
        manual.accept(vector, false);
        self.queue(vcpu, vector);
        Some(vector)
    }

    // ---- Operations ------------------------------------------------------------------------------------------

    fn interrupt(&mut self, vcpu: u32, vector: u8, level: bool) -> Step {
        let target = self.target(vcpu);
        let v = vcpu as usize;
        self.ours.post(vcpu, vector, level);
        if vector >= 16 && target.mode != Mode::Disabled && target.enabled {
            self.manuals[v].accept(vector, level);
        } else {
            self.manuals[v].direct.insert(vector);
        }
        self.queue(vcpu, vector);
        Ok(())
    }

    fn queue(&mut self, vcpu: u32, vector: u8) {
        let queue = &mut self.queues[vcpu as usize];
        if !queue.contains(&vector) {
            queue.push(vector);
        }
    }

    /// What goes in is in service at both, so that they stay comparable: the crate is told by x86_vcpu too.
    fn enter(&mut self, vcpu: u32) -> Step {
        self.look(vcpu)?;
        let v = vcpu as usize;
        let before = self.before(vcpu, None);
        let first = self.queues[v].first().copied();
        let ours = self.ours.enter(vcpu);
        let expected = Value::Vector(self.manuals[v].next(self.ours.register(vcpu, 0x08)));
        let pair = (Value::Vector(first), Value::Vector(ours));
        self.check(
            |seen| seen.expected = Some(expected),
            What::Delivered,
            vcpu,
            &before,
            pair,
        )?;
        let Some(vector) = ours else { return Ok(()) };
        let manual = &mut self.manuals[v];
        let direct = manual.direct.remove(&vector);
        if !(direct && manual.pending.contains(&vector)) {
            self.queues[v].retain(|&queued| queued != vector);
        }
        if direct {
            return Ok(());
        }
        manual.pending.remove(&vector);
        manual.in_service.insert(vector);
        let level = manual.is_level(vector);
        self.theirs.accept(vcpu, vector, level);
        if vector < 32 {
            self.astray[v].stuck &= !(1 << vector);
        }
        self.astray[v].ppr = self.theirs.register(vcpu, 0x0a) as u32;
        Ok(())
    }

    /// Counts a row that no single value shows.
    fn note(&mut self, id: &str) {
        let row = ROWS.iter().position(|row| row.id == id).expect("it is a row");
        let tally = self.tally.get_mut();
        tally.counts[row] += 1;
        tally.outcome.exempt += 1;
    }

    /// As before every entry: what the timer has done.
    fn look(&mut self, vcpu: u32) -> Step {
        let v = vcpu as usize;
        let before = self.before(vcpu, None);
        let lvt = self.ours.register(vcpu, 0x32);
        let old = self.ours.irr(vcpu);
        let theirs = self.theirs.take_tick(vcpu);
        self.ours.look(vcpu);
        let new = self.ours.irr(vcpu);
        let expires = self.manuals[v].timer.expires(Self::now());
        let masked = lvt & 0x1_0000 != 0;
        let (mut expected, mut error) = (None, None);
        if expires && !masked {
            match lvt as u8 {
                0..=15 => error = self.raise_error(vcpu, 0x40, &before),
                vector => {
                    expected = Some(vector);
                    self.manuals[v].accept(vector, false);
                    self.queue(vcpu, vector);
                }
            }
        }
        let brought = expected.or(error);
        let ours = (0..=255u8).find(|&vector| {
            let (n, bit) = (usize::from(vector) / 32, vector & 31);
            new[n] >> bit & 1 != 0 && (old[n] >> bit & 1 == 0 || brought == Some(vector))
        });
        let change = |seen: &mut Seen| {
            seen.expected = Some(Value::Vector(brought));
            seen.error_interrupt = error;
        };
        self.check(
            change,
            What::Tick,
            vcpu,
            &before,
            (Value::Vector(theirs), Value::Vector(ours)),
        )?;
        self.compare_errors(vcpu, &before)?;
        let astray = &mut self.astray[v];
        astray.masked_expiry = (astray.masked_expiry && theirs.is_none()) || (expires && masked);
        Ok(())
    }
}
