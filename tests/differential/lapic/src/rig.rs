// SPDX-License-Identifier: Apache-2.0
//! Both sides, moved by the same operations, and compared after each.

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

    fn write_base(&mut self, vcpu: u32, value: u64) -> Step {
        let before = self.before(vcpu, None);
        let theirs = self.theirs.wrmsr(vcpu, 0x1b, value);
        let ours = self.ours.wrmsr(vcpu, 0x1b, value);
        let pair = (Value::Answer(theirs), Value::Answer(ours));
        self.check(
            |seen| seen.base_write = Some(value),
            What::Answer,
            vcpu,
            &before,
            pair,
        )?;
        if self.ended || ours != Answer::Done {
            return Ok(());
        }
        let v = vcpu as usize;
        match (before.mode, mode_of(value)) {
            (Mode::Xapic | Mode::X2apic, Mode::Disabled) => self.reset(vcpu),
            (Mode::Xapic, Mode::X2apic) => self.astray[v].destination_kept = true,
            _ => {}
        }
        self.compare_base(vcpu)
    }

    /// The library's registers are reset, the crate's stay (LA-13): it gets a new local APIC.
    fn reset(&mut self, vcpu: u32) {
        let v = vcpu as usize;
        let stays = (0x08..0x38).any(|reg| {
            manual::readable_in_xapic(reg)
                && !matches!(reg, 0x0e | 0x0f)
                && self.theirs.register(vcpu, reg) != u64::from(self.ours.register(vcpu, reg))
        });
        if stays {
            self.note("LA-13");
        }
        self.theirs.renew(vcpu, self.ours.base(vcpu));
        let direct = std::mem::take(&mut self.manuals[v].direct);
        self.queues[v].retain(|vector| direct.contains(vector));
        self.manuals[v] = Manual {
            direct,
            ..Manual::default()
        };
        self.astray[v] = Astray::default();
    }

    /// Counts a row that no single value shows.
    fn note(&mut self, id: &str) {
        let row = ROWS.iter().position(|row| row.id == id).expect("it is a row");
        let tally = self.tally.get_mut();
        tally.counts[row] += 1;
        tally.outcome.exempt += 1;
    }

    fn compare_base(&mut self, vcpu: u32) -> Step {
        let before = self.before(vcpu, None);
        let pair = (
            Value::Number(self.theirs.base(vcpu)),
            Value::Number(self.ours.base(vcpu)),
        );
        self.check(|_| {}, What::Base, vcpu, &before, pair)
    }

    fn access(&mut self, op: &Op) -> Step {
        let vcpu = op.vcpu().expect("an access is a vCPU's");
        let access = op.access().expect("an access is to a register");
        let before = self.before(vcpu, Some(access));
        let timer_was_due = self.timer_is_due(vcpu);
        let (theirs, ours) = match *op {
            Op::Read { offset, bytes, .. } => (
                self.theirs.read(vcpu, offset, bytes),
                self.ours.read(vcpu, offset, bytes),
            ),
            Op::Write {
                offset, bytes, value, ..
            } => (
                self.theirs.write(vcpu, offset, bytes, value),
                self.ours.write(vcpu, offset, bytes, value),
            ),
            Op::Rdmsr { msr, .. } => (self.theirs.rdmsr(vcpu, msr), self.ours.rdmsr(vcpu, msr)),
            Op::Wrmsr { msr, value, .. } => (
                self.theirs.wrmsr(vcpu, msr, value),
                self.ours.wrmsr(vcpu, msr, value),
            ),
            _ => unreachable!("access() answers for these only"),
        };
        let what = if access.reg == 0x39 && access.write.is_none() {
            What::Count
        } else {
            What::Answer
        };
        self.compare_answer(vcpu, access, what, &before, (theirs, ours))?;
        if self.ended {
            return Ok(());
        }
        // Both say "done"; what the crate has done is not compared.
        if access.write.is_some()
            && !access.is_plain()
            && before.mode == Mode::Xapic
            && theirs == Answer::Done
        {
            self.note("LA-26");
            self.ended = true;
            return Ok(());
        }
        let done = matches!(ours, Answer::Done | Answer::Ended(_));
        if let Some(value) = access.write.filter(|_| done) {
            self.written(vcpu, access, value, &before)?;
        } else {
            self.nothing_was_sent(vcpu, access, &before)?;
        }
        // It stores what it computes, even if nobody may read the register.
        if access.reg == 0x39 && access.write.is_none() && timer_was_due {
            self.astray[vcpu as usize].timer.get_or_insert("LA-22");
        }
        Ok(())
    }

    /// The answer to a read leads over the rows of the register.
    fn compare_answer(
        &mut self,
        vcpu: u32,
        access: Access,
        what: What,
        before: &Before,
        (theirs, ours): (Answer, Answer),
    ) -> Step {
        let current = u64::from(self.manuals[vcpu as usize].timer.current(Self::now()));
        let expected = match ours {
            Answer::Value(_) => Answer::Value(crate::errata::slice(current, access.from, access.bytes)),
            other => other,
        };
        let icr = access.write.filter(|_| access.reg == 0x30);
        let destination = self.ours.register(vcpu, 0x31) >> 24;
        let message = icr.map(|icr| Message::from_icr(vcpu, icr as u32, destination, access.msr));
        let change = |seen: &mut Seen| {
            seen.access = Some(access);
            seen.message = message;
            seen.expected = Some(Value::Answer(expected));
        };
        let mut theirs = theirs;
        if let (What::Answer, Answer::Value(value), Answer::Value(_), true) =
            (what, theirs, ours, access.reg < 0x40)
        {
            // The whole register first, then the part that is read.
            let pair = (Value::Number(value), Value::Number(before.full));
            self.check(change, What::Register(access.reg), vcpu, before, pair)?;
            theirs = Answer::Value(before.full);
        }
        self.check(
            change,
            what,
            vcpu,
            before,
            (Value::Answer(theirs), Value::Answer(ours)),
        )
    }

    fn timer_is_due(&self, vcpu: u32) -> bool {
        world(|w| w.theirs.get(&vcpu).is_some_and(|timer| timer.deadline <= w.now))
    }

    // ---- What a write does -------------------------------------------------------------------------------------

    /// The library has done it.
    fn written(&mut self, vcpu: u32, access: Access, value: u64, before: &Before) -> Step {
        let v = vcpu as usize;
        if !access.msr && (!access.is_plain() || !manual::writable_in_xapic(access.reg)) {
            return self.nothing_was_sent(vcpu, access, before);
        }
        match access.reg {
            0x0b => self.end_of_interrupt(vcpu),
            0x0e => self.astray[v].dfr_written = true,
            0x0f => self.spurious_written(vcpu, value as u32),
            0x28 => self.manuals[v].latched = std::mem::take(&mut self.manuals[v].errors),
            0x2f | 0x32..=0x37 => self.local_vector_written(vcpu, access.reg, value as u32),
            0x38 => self.initial_written(vcpu, value as u32),
            0x3e => self.divide_written(vcpu, value as u32),
            _ => {}
        }
        match access.reg {
            0x30 => {
                let wide = before.mode == Mode::X2apic;
                let destination = if wide {
                    (value >> 32) as u32
                } else {
                    self.ours.register(vcpu, 0x31) >> 24
                };
                self.astray[v].destination_kept = false;
                self.compare_message(before, Message::from_icr(vcpu, value as u32, destination, wide))
            }
            0x3f => self.compare_message(before, Message::from_icr(vcpu, 0x4_0000 | value as u32, 0, true)),
            _ => self.nothing_was_sent(vcpu, access, before),
        }
    }

    fn end_of_interrupt(&mut self, vcpu: u32) {
        let v = vcpu as usize;
        match self.manuals[v].in_service.pop_last() {
            Some(vector) if vector < 32 => self.astray[v].stuck |= 1 << vector,
            Some(_) => self.astray[v].ppr = self.theirs.register(vcpu, 0x0a) as u32,
            None => {}
        }
    }

    fn spurious_written(&mut self, vcpu: u32, value: u32) {
        let armed = self.is_armed(vcpu);
        let astray = &mut self.astray[vcpu as usize];
        let enables = value & 0x100 != 0;
        if astray.enabled != enables && armed {
            astray.timer.get_or_insert("LA-17");
        }
        if astray.enabled && !enables {
            astray.unmasked = 0;
            astray.masked_expiry = false;
        }
        astray.enabled = enables;
        astray.suppresses = value & 0x1000 != 0;
        astray.svr_written = true;
    }

    /// At either side.
    fn is_armed(&self, vcpu: u32) -> bool {
        self.manuals[vcpu as usize].timer.is_armed() || world(|w| w.theirs.contains_key(&vcpu))
    }

    fn local_vector_written(&mut self, vcpu: u32, reg: u32, value: u32) {
        let v = vcpu as usize;
        let enabled = self.ours.register(vcpu, 0x0f) & 0x100 != 0;
        let astray = &mut self.astray[v];
        if !enabled && value & 0x1_0000 == 0 {
            astray.unmasked |= 1 << reg;
        } else {
            astray.unmasked &= !(1 << reg);
        }
        if reg == 0x32 {
            self.timer_mode_written(vcpu, value >> 17 & 3);
        }
    }

    fn timer_mode_written(&mut self, vcpu: u32, bits: u32) {
        let v = vcpu as usize;
        let now = Self::now();
        let late = self.timer_is_due(vcpu);
        let armed = self.is_armed(vcpu);
        let timer = &mut self.manuals[v].timer;
        let old = timer.mode;
        let mode = match bits {
            0 => TimerMode::OneShot,
            2 => TimerMode::Deadline,
            _ => TimerMode::Periodic,
        };
        let initial = timer.initial;
        timer.set_mode(now, mode);
        let short = mode == TimerMode::Periodic && timer.period() < manual::SHORTEST_REARM;
        let astray = &mut self.astray[v];
        astray.timer_mode_3 = bits == 3;
        if mode == TimerMode::Deadline || old == TimerMode::Deadline {
            astray.initial_kept |= mode != old && (initial != 0 || astray.initial_kept);
            astray.initial_kept |= old == TimerMode::Deadline;
        }
        if !armed {
            return;
        }
        if bits >= 2 || (old == TimerMode::Deadline && mode != old) {
            astray.timer.get_or_insert("LA-28");
        } else if mode != old && late {
            astray.timer.get_or_insert("LA-35");
        } else if mode != old && short {
            astray.timer.get_or_insert("LA-21");
        }
    }

    fn initial_written(&mut self, vcpu: u32, value: u32) {
        let v = vcpu as usize;
        let now = Self::now();
        let manual = &mut self.manuals[v].timer;
        if manual.mode == TimerMode::Deadline {
            return;
        }
        manual.write_initial(now, value);
        let astray = &mut self.astray[v];
        astray.initial_kept = false;
        astray.masked_expiry = false;
        astray.timer = if astray.timer_mode_3 && value != 0 {
            Some("LA-28")
        } else if manual.mode == TimerMode::Periodic && value != 0 && manual.period() < manual::SHORTEST_REARM
        {
            Some("LA-21")
        } else {
            None
        };
    }

    fn divide_written(&mut self, vcpu: u32, value: u32) {
        let v = vcpu as usize;
        let armed = self.is_armed(vcpu);
        self.manuals[v].timer.write_divide(Self::now(), value);
        if armed {
            self.astray[v].timer.get_or_insert("LA-20");
        }
    }

    /// Nothing reaches anybody, but for the error of a reserved register.
    fn nothing_was_sent(&mut self, vcpu: u32, access: Access, before: &Before) -> Step {
        let is_error = before.mode == Mode::Xapic && !access.msr && manual::reserved_in_xapic(access.reg);
        let irr = if is_error { self.ours.irr(vcpu) } else { [0; 8] };
        let pending = self.manuals[vcpu as usize].pending.clone();
        let error = if is_error {
            self.raise_error(vcpu, 0x80, before)
        } else {
            None
        };
        let ours: Interrupts = error
            .filter(|&vector| {
                pending.contains(&vector) || irr[usize::from(vector) / 32] >> (vector & 31) & 1 != 0
            })
            .map(|vector| (vcpu, vector))
            .into_iter()
            .collect();
        let theirs: Interrupts = world(|w| w.injected.iter().copied().collect());
        let pair = (Value::Interrupts(theirs), Value::Interrupts(ours));
        self.check(
            |seen| seen.error_interrupt = error,
            What::Sent,
            vcpu,
            before,
            pair,
        )?;
        self.compare_errors(vcpu, before)
    }

    /// What waits to be latched: seen without a write of the register.
    fn compare_errors(&mut self, vcpu: u32, before: &Before) -> Step {
        let expected = Value::Number(u64::from(self.manuals[vcpu as usize].errors));
        let pair = (expected, Value::Number(u64::from(self.ours.errors(vcpu))));
        self.check(|_| {}, What::Answer, vcpu, before, pair)
    }

    // ---- Messages ---------------------------------------------------------------------------------------------

    fn compare_message(&mut self, before: &Before, message: Message) -> Step {
        let vcpu = message.sender;
        let mut error = None;
        if message.is_illegal() {
            error = self.raise_error(vcpu, 0x20, before);
        }
        let reached = if message.is_sent() && !message.is_illegal() {
            self.reached(&message, before)
        } else {
            BTreeSet::new()
        };
        let expected: Interrupts = if message.is_fixed() {
            reached.iter().map(|&vcpu| (vcpu, message.vector)).collect()
        } else {
            Interrupts::new()
        };
        let ours = self.our_interrupts(vcpu, before, &expected, error);
        let theirs: Interrupts = world(|w| w.injected.iter().copied().collect());
        let pair = (Value::Interrupts(theirs), Value::Interrupts(ours));
        let change = |seen: &mut Seen| {
            seen.message = Some(message);
            seen.expected = Some(Value::Interrupts(expected.clone()));
            seen.error_interrupt = error;
        };
        self.check(change, What::Sent, vcpu, before, pair)?;
        self.compare_signals(before, &message, &reached)?;
        self.compare_kicks(before, &message, &reached)?;
        self.compare_errors(vcpu, before)?;
        self.accept_all(&message, &expected);
        reached
            .iter()
            .filter(|&&target| target != vcpu)
            .try_for_each(|&target| self.compare_registers(target))
    }

    /// The manual's: lowest priority goes to one of those that listen, in turn among equals.
    fn reached(&mut self, message: &Message, before: &Before) -> BTreeSet<u32> {
        let meant: Vec<&Target> = before
            .targets
            .iter()
            .filter(|target| message.is_for(target) && message.is_heard(target))
            .collect();
        if message.delivery != 1 {
            return meant.iter().map(|target| target.id).collect();
        }
        let turn = |target: &&&Target| (target.id + 64 - self.last_arbitrated - 1) % 64;
        let chosen = meant
            .iter()
            .min_by_key(|target| (target.tpr >> 4, turn(target)))
            .map(|target| target.id);
        if let Some(chosen) = chosen {
            self.last_arbitrated = chosen;
        }
        chosen.into_iter().collect()
    }

    /// New in an IRR, or sent through the host. What was in the IRR already may have come again.
    fn our_interrupts(
        &self,
        sender: u32,
        before: &Before,
        expected: &Interrupts,
        error: Option<u8>,
    ) -> Interrupts {
        let error = error.map(|vector| (sender, vector));
        let mut set: Interrupts = world(|w| w.sent.iter().copied().collect());
        for id in 0..self.vcpus {
            let old = before.irr[id as usize];
            for (n, bits) in self.ours.irr(id).into_iter().enumerate() {
                for bit in (0..32).filter(|bit| bits >> bit & 1 != 0) {
                    let one = (id, (n * 32 + bit) as u8);
                    let through_host = self.ours.sends && id != sender;
                    let may_be_again = (expected.contains(&one) && !through_host) || error == Some(one);
                    if old[n] >> bit & 1 == 0 || may_be_again {
                        set.insert(one);
                    }
                }
            }
        }
        set
    }

    fn compare_signals(&mut self, before: &Before, message: &Message, reached: &BTreeSet<u32>) -> Step {
        let bits = match message.delivery {
            4 => 1,
            5 => 2,
            6 => 4 | u32::from(message.vector) << 8,
            _ => 0,
        };
        let expected: BTreeSet<(u32, u32)> = if bits != 0 {
            reached.iter().map(|&id| (id, bits)).collect()
        } else {
            BTreeSet::new()
        };
        let ours = (0..self.vcpus)
            .map(|id| (id, self.ours.signals(id)))
            .filter(|(_, bits)| *bits != 0)
            .collect();
        let change = |seen: &mut Seen| {
            seen.message = Some(*message);
            seen.expected = Some(Value::Signals(expected.clone()));
        };
        let pair = (Value::Signals(BTreeSet::new()), Value::Signals(ours));
        self.check(change, What::Signals, message.sender, before, pair)
    }

    /// The crate leaves it to inject_interrupt: whoever gets something is told.
    fn compare_kicks(&mut self, before: &Before, message: &Message, reached: &BTreeSet<u32>) -> Step {
        let told = |id: u32| {
            if message.is_fixed() {
                id != message.sender && !self.ours.sends
            } else {
                true
            }
        };
        let theirs = reached
            .iter()
            .copied()
            .filter(|&id| told(id))
            .map(|id| (id, 0))
            .collect();
        let ours = world(|w| w.notified.iter().map(|&id| (id, 0)).collect());
        let pair = (Value::Interrupts(theirs), Value::Interrupts(ours));
        self.check(|_| {}, What::Kicks, message.sender, before, pair)
    }

    /// A host that sends brings the interrupts now.
    fn accept_all(&mut self, message: &Message, expected: &Interrupts) {
        for &(id, vector) in expected {
            let v = id as usize;
            if self.ours.sends && id != message.sender {
                self.ours.post(id, vector, false);
            }
            self.manuals[v].accept(vector, false);
            self.queue(id, vector);
        }
    }

    // ---- Time ---------------------------------------------------------------------------------------------------

    fn clock(&mut self, ns: u64) -> Step {
        let until = Self::now() + ns;
        let mut calls = 0;
        loop {
            let due = world(|w| {
                let ours = w.ours.iter().map(|(&vcpu, timer)| (timer.deadline, vcpu));
                let theirs = w.theirs.iter().map(|(&vcpu, timer)| (timer.deadline, vcpu));
                ours.chain(theirs)
                    .min()
                    .filter(|&(deadline, _)| deadline <= until)
            });
            let Some((deadline, vcpu)) = due else { break };
            if calls == MOST_CALLS {
                self.ended = true;
                return Ok(());
            }
            calls += 1;
            world(|w| w.now = w.now.max(deadline));
            self.fire(vcpu)?;
        }
        world(|w| w.now = w.now.max(until));
        Ok(())
    }

    /// The host's timers of a vCPU that are due, and the look at what they did.
    fn fire(&mut self, vcpu: u32) -> Step {
        let v = vcpu as usize;
        let now = Self::now();
        let late = world(|w| w.theirs.get(&vcpu).is_some_and(|timer| timer.deadline < now));
        world(|w| w.notified.clear());
        host::fire_theirs(vcpu);
        let ours = host::fire_ours(vcpu);
        if ours {
            self.manuals[v].timer.fire(now);
        }
        if late && self.manuals[v].timer.mode == TimerMode::Periodic {
            self.astray[v].timer.get_or_insert("LA-35");
        }
        let before = self.before(vcpu, None);
        let told: Interrupts = ours.then_some((vcpu, 0)).into_iter().collect();
        let notified = world(|w| w.notified.iter().map(|&id| (id, 0)).collect());
        self.check(
            |_| {},
            What::Kicks,
            vcpu,
            &before,
            (Value::Interrupts(told), Value::Interrupts(notified)),
        )?;
        self.compare_host_timer(vcpu)?;
        self.look(vcpu)
    }

    fn compare_host_timer(&mut self, vcpu: u32) -> Step {
        let before = self.before(vcpu, None);
        let (theirs, ours, leaked) = world(|w| {
            let theirs = w.theirs.get(&vcpu).map(|timer| timer.deadline);
            (
                theirs,
                w.ours.get(&vcpu).map(|timer| timer.deadline),
                std::mem::take(&mut w.leaked_timers),
            )
        });
        let expected = Value::Time(self.manuals[vcpu as usize].timer.host);
        let pair = (Value::Time(theirs), Value::Time(ours));
        self.check(
            |seen| seen.expected = Some(expected),
            What::HostTimer,
            vcpu,
            &before,
            pair,
        )?;
        let pair = (Value::Number(0), Value::Number(u64::from(leaked)));
        self.check(|_| {}, What::HostTimer, vcpu, &before, pair)
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
