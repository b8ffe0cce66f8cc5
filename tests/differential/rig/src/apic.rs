// SPDX-License-Identifier: Apache-2.0
//! What a guest's local APIC does in these steps, from the manual (SDM chapter 12) and from neither library: the
//! interrupts that x86vcpu's guest takes in every step, and what registers hold where the two differ.

use std::collections::BTreeSet;

use crate::compare::Outcome;
use crate::side::Exit;
use crate::step::{Registers, Step};

pub const X2APIC: u64 = 0xfee0_0d00;

const TPR: u32 = 0x80;
const EOI: u32 = 0xb0;
const SVR: u32 = 0xf0;
const ICR: u32 = 0x300;
const ICR2: u32 = 0x310;
const LVT_TIMER: u32 = 0x320;
const INITIAL: u32 = 0x380;
const DIVIDE: u32 = 0x3e0;
const SELF_IPI: u32 = 0x3f0;

/// x86vcpu does not have the host call it more often than that for a periodic timer: expiries share a call.
const SHORTEST_REARM: u64 = 200_000;

const ENABLED: u32 = 1 << 8; // of SVR
const MASKED: u32 = 1 << 16; // of a local vector
const PERIODIC: u32 = 1 << 17;
const DEADLINE: u32 = 2 << 17;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Disabled,
    Xapic,
    X2apic,
}

/// An access to a register by its offset: `write` is what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    pub offset: u32,
    pub write: Option<u64>,
    pub by_msr: bool,
}

pub fn access(step: &Step) -> Option<Access> {
    let (offset, write, by_msr) = match *step {
        Step::Rdmsr(msr @ 0x800..=0x8ff) => ((msr - 0x800) << 4, None, true),
        Step::Wrmsr(msr @ 0x800..=0x8ff, value) => ((msr - 0x800) << 4, Some(value), true),
        Step::ApicRead(offset) => (offset.into(), None, false),
        Step::ApicWrite(offset, value) => (offset.into(), Some(value.into()), false),
        _ => return None,
    };
    Some(Access {
        offset,
        write,
        by_msr,
    })
}

pub struct Message {
    pub own: bool,
    pub others: bool,
    pub delivery: u32,
    pub vector: u8,
}

/// Of one vCPU.
pub struct Apic {
    pub id: u32,
    base: u64,
    tpr: u32,
    svr: u32,
    icr2: u32,
    lvt_timer: u32,
    lvts: [u32; 5], // 330H to 370H
    initial: u32,
    divide: u32,
    /// When the count is 0 next; how far apart expiries are.
    deadline: Option<u64>,
    period: u64,
    call: u64,
    /// Accepted, in service, level-triggered; posted past the APIC.
    pub irr: BTreeSet<u8>,
    pub isr: BTreeSet<u8>,
    level: BTreeSet<u8>,
    /// Posted again while they waited, with the other trigger mode.
    pub mixed: BTreeSet<u8>,
    direct: BTreeSet<u8>,
    /// Taken past the APIC: upstream has them in service.
    pub past: BTreeSet<u8>,
    /// NMIs and INITs that have been sent here, by this or another.
    pub nmis: u32,
    pub init: bool,
    /// What the step's write of the EOI register has ended.
    ended: Option<Option<u8>>,
    pub last: u8,
    /// The TSC's deadline is the model's clock's, which reading moves: its interrupt may come any time.
    by_tsc: bool,
}

impl Apic {
    pub fn new(id: u32) -> Self {
        Self {
            id,
            base: 0xfee0_0800 | u64::from(id == 0) << 8,
            tpr: 0,
            svr: 0xff,
            icr2: 0,
            lvt_timer: MASKED,
            lvts: [MASKED; 5],
            initial: 0,
            divide: 0,
            deadline: None,
            period: 0,
            call: 0,
            irr: BTreeSet::new(),
            isr: BTreeSet::new(),
            level: BTreeSet::new(),
            mixed: BTreeSet::new(),
            direct: BTreeSet::new(),
            past: BTreeSet::new(),
            nmis: 0,
            init: false,
            ended: None,
            last: 0,
            by_tsc: false,
        }
    }

    pub fn mode(&self) -> Mode {
        match self.base & 0xc00 {
            0x800 => Mode::Xapic,
            0xc00 => Mode::X2apic,
            _ => Mode::Disabled,
        }
    }

    /// As IA32_APIC_BASE has it.
    pub fn has_mode_of(&self, base: u64) -> bool {
        (base ^ self.base) & 0xc00 == 0
    }

    pub fn enabled(&self) -> bool {
        self.mode() != Mode::Disabled && self.svr & ENABLED != 0
    }

    // ---- Interrupts: 12.8

    pub fn post(&mut self, vector: u8, level: bool) {
        // What is no interrupt of an APIC's is an 8259A's.
        if vector < 16 || !self.enabled() {
            self.direct.insert(vector);
        } else {
            self.accept(vector, level);
        }
    }

    fn accept(&mut self, vector: u8, level: bool) {
        let waits = !self.irr.insert(vector);
        if waits && level != self.level.contains(&vector) {
            self.mixed.insert(vector);
        } else if !waits {
            self.mixed.remove(&vector);
        }
        if level {
            self.level.insert(vector);
        } else {
            self.level.remove(&vector);
        }
    }

    /// 12.8.3.1.
    pub fn ppr(&self) -> u32 {
        let class = u32::from(self.isr.last().copied().unwrap_or(0)) & 0xf0;
        if self.tpr & 0xf0 >= class { self.tpr } else { class }
    }

    fn next(&self) -> Option<u8> {
        if let Some(&vector) = self.direct.last() {
            return Some(vector);
        }
        let vector = *self.irr.last()?;
        (u32::from(vector) >> 4 > self.ppr() >> 4).then_some(vector)
    }

    /// Whether something waits that the priority holds back.
    pub fn holds_back(&self) -> bool {
        self.next().is_none() && !self.irr.is_empty()
    }

    fn takes(&mut self, vector: u8) -> Result<(), String> {
        let next = self.next();
        if next != Some(vector) {
            let timer = self.by_tsc && vector == self.lvt_timer as u8;
            if !timer {
                return Err(format!(
                    "interrupt {vector:#x} where {next:x?} is due (SDM 12.8.3)"
                ));
            }
            self.isr.insert(vector);
            return Ok(());
        }
        if self.direct.remove(&vector) {
            self.past.insert(vector);
        } else {
            self.irr.remove(&vector);
            self.isr.insert(vector);
        }
        Ok(())
    }

    /// The vector whose end concerns an I/O APIC.
    pub fn end(&mut self) -> Option<u8> {
        let vector = self.isr.pop_last()?;
        self.last = vector;
        self.level.contains(&vector).then_some(vector)
    }

    // ---- The timer: 12.5.4

    fn shift(&self) -> u32 {
        ((self.divide & 3 | self.divide >> 1 & 4) + 1) & 7
    }

    fn count_from(&mut self, now: u64, nanoseconds: u64) {
        let periodic = self.lvt_timer & (PERIODIC | DEADLINE) == PERIODIC;
        self.deadline = Some(now + nanoseconds);
        self.period = if periodic {
            u64::from(self.initial) << self.shift()
        } else {
            0
        };
        self.call = now + nanoseconds;
    }

    fn next_call(&self, deadline: u64, now: u64) -> u64 {
        let after = now
            + if self.period < SHORTEST_REARM {
                SHORTEST_REARM - 1
            } else {
                0
            };
        deadline + ((after - deadline) / self.period + 1) * self.period
    }

    fn remaining(&self, now: u64) -> u64 {
        match self.deadline {
            Some(deadline) if now < deadline => deadline - now,
            Some(deadline) if self.period != 0 => self.period - (now - deadline) % self.period,
            _ => 0,
        }
    }

    /// A tick that has begun counts.
    pub fn count(&self, now: u64) -> u32 {
        self.remaining(now).div_ceil(1 << self.shift()) as u32
    }

    /// The time is `now`: expiries that were missed are one, a masked one is lost.
    pub fn look(&mut self, now: u64) {
        let Some(deadline) = self.deadline.filter(|&deadline| deadline <= now) else {
            return;
        };
        if self.period != 0 {
            if now < self.call {
                return;
            }
            while self.call <= now {
                self.call = self.next_call(deadline, self.call);
            }
        }
        self.deadline = (self.period != 0).then(|| now + self.period - (now - deadline) % self.period);
        let vector = self.lvt_timer as u8;
        if self.lvt_timer & MASKED == 0 && vector >= 16 {
            self.accept(vector, false);
        }
    }

    pub fn is_of_timer(&self, vector: u32) -> bool {
        self.lvt_timer & 0xff == vector
    }

    fn write_lvt_timer(&mut self, mut value: u32, now: u64) {
        let left = self.remaining(now);
        let old = self.lvt_timer & (PERIODIC | DEADLINE);
        if value & (PERIODIC | DEADLINE) == PERIODIC | DEADLINE {
            value &= !DEADLINE;
        }
        self.lvt_timer = value & 0x7_00ff | if self.svr & ENABLED == 0 { MASKED } else { 0 };
        let mode = self.lvt_timer & (PERIODIC | DEADLINE);
        if mode == old {
            return;
        }
        if (mode | old) & DEADLINE != 0 {
            self.deadline = None;
            self.initial = 0;
            self.by_tsc = mode & DEADLINE != 0;
        } else if left != 0 {
            self.count_from(now, left);
        }
    }

    // ---- Messages: 12.6

    /// What a write of the ICR sends: whether this one and the other get it, and what.
    fn message(&self, low: u32, high: u32) -> Option<Message> {
        let (delivery, vector) = (low >> 8 & 7, low as u8);
        let wide = self.mode() == Mode::X2apic;
        let destination = if wide { high } else { high >> 24 };
        let everybody = if wide { u32::MAX } else { 0xff };
        let named = |id: u32| destination == id || destination == everybody;
        // Of a message for itself only an interrupt is valid (table 12-3).
        let fixed = delivery == 0;
        let (own, others) = match low >> 18 & 3 {
            0 => (named(self.id), named(1 - self.id)),
            1 => (fixed, false),
            2 => (fixed, fixed),
            _ => (false, true),
        };
        (!fixed || vector >= 16).then_some(Message {
            own,
            others,
            delivery,
            vector,
        })
    }

    fn receive(&mut self, message: &Message) {
        match message.delivery {
            0 if self.enabled() => self.accept(message.vector, false),
            4 => self.nmis += 1,
            5 => self.init = true,
            _ => {}
        }
    }

    /// The message that a step sends.
    pub fn sends(&self, step: &Step) -> Option<Message> {
        let Access {
            offset: ICR,
            write: Some(value),
            by_msr,
        } = access(step)?
        else {
            return None;
        };
        let high = if by_msr { (value >> 32) as u32 } else { self.icr2 };
        self.reaches(by_msr).then(|| self.message(value as u32, high))?
    }

    // ---- Accesses

    pub fn reaches(&self, by_msr: bool) -> bool {
        self.mode() == if by_msr { Mode::X2apic } else { Mode::Xapic }
    }

    fn write(&mut self, offset: u32, value: u32, now: u64) {
        match offset {
            TPR => self.tpr = value & 0xff,
            SVR => {
                self.svr = value & 0x1ff;
                if value & ENABLED == 0 {
                    self.lvt_timer |= MASKED;
                    self.lvts.iter_mut().for_each(|lvt| *lvt |= MASKED);
                }
            }
            LVT_TIMER => self.write_lvt_timer(value, now),
            INITIAL if self.lvt_timer & DEADLINE != 0 => {}
            INITIAL => {
                self.initial = value;
                self.deadline = None;
                if value != 0 {
                    self.count_from(now, u64::from(value) << self.shift());
                }
            }
            DIVIDE => {
                let current = u64::from(self.count(now));
                self.divide = value & 0xb;
                if current != 0 {
                    self.count_from(now, current << self.shift());
                }
            }
            0x330..=0x370 => {
                let masked = if self.svr & ENABLED == 0 { MASKED } else { 0 };
                self.lvts[(offset as usize - 0x330) >> 4] = value & 0x1_efff | masked;
            }
            ICR2 => self.icr2 = value & 0xff00_0000,
            SELF_IPI if value & 0xff >= 16 && self.enabled() => self.accept(value as u8, false),
            _ => {}
        }
    }

    /// 12.12.5: leaving x2APIC mode and disabling reset the registers.
    fn write_base(&mut self, value: u64) {
        let old = self.mode();
        let bsp = self.base & 0x100;
        self.base = value & !0x100 | bsp;
        if self.mode() == Mode::Disabled && old != Mode::Disabled {
            let direct = std::mem::take(&mut self.direct);
            *self = Self {
                base: self.base,
                direct,
                ..Self::new(self.id)
            };
        }
    }

    fn word(set: &BTreeSet<u8>, n: u32) -> u64 {
        (0..32)
            .filter(|bit| set.contains(&((n * 32 + bit) as u8)))
            .fold(0, |bits, bit| bits | 1 << bit)
    }

    /// What reading gives, for registers where upstream gives something else.
    pub fn read(&self, offset: u32, now: u64) -> Option<u64> {
        let x2 = self.mode() == Mode::X2apic;
        Some(match offset {
            0x20 if x2 => self.id.into(),
            0x30 => 0x6_0014,
            TPR => self.tpr.into(),
            0xa0 => self.ppr().into(),
            0xd0 if x2 => 1 << self.id,
            SVR => self.svr.into(),
            0x100..=0x170 => Self::word(&self.isr, (offset - 0x100) >> 4),
            0x180..=0x1f0 => Self::word(&self.level, (offset - 0x180) >> 4),
            0x200..=0x270 => Self::word(&self.irr, (offset - 0x200) >> 4),
            LVT_TIMER => self.lvt_timer.into(),
            0x330..=0x370 => self.lvts[(offset as usize - 0x330) >> 4].into(),
            INITIAL => self.initial.into(),
            0x390 => self.count(now).into(),
            DIVIDE => self.divide.into(),
            _ => return None,
        })
    }

    // ---- A step

    fn does(&mut self, step: &Step, ours: &Outcome, now: u64) {
        if ours.events.iter().any(|e| e.kind == 3 && e.vector != 1) {
            return;
        }
        if let Step::Wrmsr(0x1b, value) = *step {
            return self.write_base(value);
        }
        let Some(Access {
            offset,
            write: Some(value),
            by_msr,
        }) = access(step)
        else {
            return;
        };
        if let Some(message) = self.sends(step).filter(|message| message.own) {
            self.receive(&message);
        }
        if !self.reaches(by_msr) {
            return;
        }
        if offset == EOI {
            self.ended = Some(self.end());
        } else {
            self.write(offset, value as u32, now);
        }
    }

    /// The VMM hears of the end of what an I/O APIC has sent, and of nothing else.
    fn end_is_told(&self, ours: &Outcome) -> Result<(), String> {
        let told = match self.ended {
            None => return Ok(()),
            Some(None) => vec![],
            Some(vector) => vec![Exit::InterruptEnd(vector)],
        };
        if ours.exits == told {
            Ok(())
        } else {
            Err(format!("{:x?} for {told:x?} (SDM 12.8.5)", ours.exits))
        }
    }

    /// What was wrong with the interrupts that x86vcpu's guest has taken. Whatever was injected has been posted.
    pub fn step(&mut self, step: &Step, registers: &Registers, ours: &Outcome) -> Vec<String> {
        // What INIT leaves is told by the row that it ends a sequence with.
        if self.init {
            return vec![];
        }
        let [begin, end] = ours.time;
        let mut wrong = Vec::new();
        let external = |e: &&cpu::model_event| e.kind == 0;
        let (before, after) = ours.events.split_at(ours.before.min(ours.events.len()));
        self.look(begin);
        for event in before.iter().filter(external) {
            wrong.extend(self.takes(event.vector as u8).err());
        }
        self.ended = None;
        self.does(step, ours, begin);
        wrong.extend(self.end_is_told(ours).err());
        for &(vcpu, vector) in &ours.sent {
            if vcpu == self.id {
                self.post(vector as u8, false);
            }
        }
        self.look(end);
        if let Some(vector) = ours.woken {
            self.post(vector, false);
        }
        for event in after.iter().filter(external) {
            wrong.extend(self.takes(event.vector as u8).err());
        }
        let open = registers.rflags & 0x200 != 0 && ours.fields[cpu::field::SHADOW as usize] == 0;
        if let Some(vector) = self.next().filter(|_| ours.stopped && open) {
            wrong.push(format!(
                "interrupt {vector:#x} was not taken though nothing holds it back"
            ));
        }
        wrong
    }
}
