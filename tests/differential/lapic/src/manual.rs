// SPDX-License-Identifier: Apache-2.0
//! What the manual says a local APIC does, where the two sides may differ (SDM chapter 12): the value that a
//! difference must lead to. Written from the manual, not from either side.

use std::collections::{BTreeMap, BTreeSet};

use crate::op::Access;

pub const SHORTEST_REARM: u64 = 200_000;

// ---- Registers: tables 12-1 and 12-6 ------------------------------------------------------------------------

pub fn reserved_in_xapic(reg: u32) -> bool {
    matches!(reg, 0x00 | 0x01 | 0x04..=0x07 | 0x29..=0x2e | 0x3a..=0x3d) || reg >= 0x3f
}

pub fn readable_in_xapic(reg: u32) -> bool {
    !reserved_in_xapic(reg) && reg != 0x0b
}

pub fn readable_in_x2apic(reg: u32) -> bool {
    !reserved_in_xapic(reg) && !matches!(reg, 0x09 | 0x0b | 0x0c | 0x0e | 0x31)
}

pub fn writable_in_xapic(reg: u32) -> bool {
    matches!(reg, 0x08 | 0x0b | 0x0d..=0x0f | 0x28 | 0x2f..=0x38 | 0x3e)
}

/// Bits that WRMSR may set, for registers that it may write.
fn x2apic_bits(reg: u32) -> Option<u64> {
    Some(match reg {
        0x08 | 0x3f => 0xff,
        0x0b | 0x28 => 0,
        0x0f => 0x3ff,
        0x2f | 0x33 | 0x34 => 0x1_17ff,
        0x30 => 0xffff_ffff_000c_dfff,
        0x32 => 0x7_10ff,
        0x35 | 0x36 => 0x1_f7ff,
        0x37 => 0x1_10ff,
        0x38 => 0xffff_ffff,
        0x3e => 0xb,
        _ => return None,
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Disabled,
    Xapic,
    X2apic,
}

pub fn mode_of(base: u64) -> Mode {
    match base & 0xc00 {
        0x800 => Mode::Xapic,
        0xc00 => Mode::X2apic,
        _ => Mode::Disabled,
    }
}

/// Whether an MSR access is #GP(0).
pub fn msr_is_refused(mode: Mode, access: &Access) -> bool {
    if mode != Mode::X2apic || access.reg >= 0x40 {
        return true;
    }
    match access.write {
        None => !readable_in_x2apic(access.reg),
        // Mode 3 of the timer is reserved.
        Some(value) if access.reg == 0x32 && value & 0x6_0000 == 0x6_0000 => true,
        Some(value) => x2apic_bits(access.reg).is_none_or(|bits| value & !bits != 0),
    }
}

// ---- Interrupts ---------------------------------------------------------------------------------------------------

/// 12.8.3.1.
pub fn ppr(tpr: u32, in_service: Option<u8>) -> u32 {
    let class = u32::from(in_service.unwrap_or(0)) & 0xf0;
    if tpr & 0xf0 >= class { tpr } else { class }
}

#[derive(Default)]
pub struct Manual {
    /// Accepted and not taken; with the trigger mode of the last of each.
    pub pending: BTreeSet<u8>,
    pub level: BTreeMap<u8, bool>,
    pub in_service: BTreeSet<u8>,
    /// Taken without the local APIC.
    pub direct: BTreeSet<u8>,
    pub errors: u32,
    pub latched: u32,
    pub timer: Timer,
}

impl Manual {
    pub fn accept(&mut self, vector: u8, level: bool) {
        self.pending.insert(vector);
        self.level.insert(vector, level);
    }

    pub fn next(&self, tpr: u32) -> Option<u8> {
        if let Some(&vector) = self.direct.last() {
            return Some(vector);
        }
        let priority = ppr(tpr, self.in_service.last().copied());
        self.pending
            .last()
            .copied()
            .filter(|&vector| u32::from(vector) >> 4 > priority >> 4)
    }

    pub fn is_level(&self, vector: u8) -> bool {
        self.level.get(&vector).copied().unwrap_or(false)
    }

    /// A bit per vector of the 32 that register `n` of a set has.
    pub fn word(set: &BTreeSet<u8>, n: u32) -> u32 {
        set.range((n * 32) as u8..=(n * 32 + 31) as u8)
            .fold(0, |bits, &vector| bits | 1 << (vector & 31))
    }
}

// ---- The timer: 12.5.4 ------------------------------------------------------------------------------------------------

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum TimerMode {
    #[default]
    OneShot,
    Periodic,
    Deadline,
}

/// It counts nanoseconds, before they are divided.
#[derive(Default)]
pub struct Timer {
    pub initial: u32,
    pub divide: u32,
    pub mode: TimerMode,
    /// When the count is 0 next.
    deadline: Option<u64>,
    period: Option<u64>,
    /// When the host calls.
    pub host: Option<u64>,
    called: bool,
}

fn shift_of(divide: u32) -> u32 {
    ((divide & 3 | divide >> 1 & 4) + 1) & 7
}

fn after(deadline: u64, period: u64, now: u64) -> u64 {
    if now < deadline {
        deadline
    } else {
        deadline + ((now - deadline) / period + 1) * period
    }
}

impl Timer {
    pub fn is_armed(&self) -> bool {
        self.deadline.is_some()
    }

    pub fn period(&self) -> u64 {
        u64::from(self.initial) << shift_of(self.divide)
    }

    pub fn shift(&self) -> u32 {
        shift_of(self.divide)
    }

    pub fn remaining(&self, now: u64) -> u64 {
        match (self.deadline, self.period) {
            (None, _) => 0,
            (Some(deadline), Some(period)) => after(deadline, period, now) - now,
            (Some(deadline), None) => deadline.saturating_sub(now),
        }
    }

    /// A tick that has begun counts.
    pub fn current(&self, now: u64) -> u32 {
        if self.mode == TimerMode::Deadline {
            return 0;
        }
        self.remaining(now).div_ceil(1 << self.shift()) as u32
    }

    fn count(&mut self, now: u64, ns: u64) {
        self.deadline = Some(now + ns);
        self.host = self.deadline;
        self.period = (self.mode == TimerMode::Periodic).then(|| self.period());
    }

    pub fn stop(&mut self) {
        self.deadline = None;
        self.period = None;
        self.host = None;
    }

    pub fn write_initial(&mut self, now: u64, value: u32) {
        if self.mode == TimerMode::Deadline {
            return;
        }
        self.initial = value;
        if value == 0 {
            self.stop()
        } else {
            self.count(now, self.period())
        }
    }

    pub fn write_divide(&mut self, now: u64, value: u32) {
        let current = self.current(now);
        self.divide = value & 0xb;
        if current != 0 {
            self.count(now, u64::from(current) << self.shift());
        }
    }

    pub fn set_mode(&mut self, now: u64, mode: TimerMode) {
        let left = self.remaining(now);
        if mode == self.mode {
            return;
        }
        let old = std::mem::replace(&mut self.mode, mode);
        if mode == TimerMode::Deadline || old == TimerMode::Deadline {
            self.stop();
            self.initial = 0;
        } else if left != 0 {
            self.count(now, left);
        }
    }

    /// The host's timer has called.
    pub fn fire(&mut self, now: u64) {
        self.called = true;
        self.host = match (self.deadline, self.period) {
            // Short periods share a call.
            (Some(deadline), Some(period)) if period < SHORTEST_REARM => {
                Some(after(deadline, period, now + SHORTEST_REARM - 1))
            }
            (Some(deadline), Some(period)) => Some(after(deadline, period, now)),
            _ => None,
        };
    }

    /// Looked at before an entry: whether the count has reached 0 since.
    pub fn expires(&mut self, now: u64) -> bool {
        let called = std::mem::take(&mut self.called);
        let Some(deadline) = self.deadline.filter(|&deadline| called && deadline <= now) else {
            return false;
        };
        self.deadline = self.period.map(|period| after(deadline, period, now));
        true
    }
}

// ---- Messages: 12.6 -----------------------------------------------------------------------------------------------------

/// What decides whether a message is for an APIC.
#[derive(Clone, Copy)]
pub struct Target {
    pub id: u32,
    pub mode: Mode,
    pub enabled: bool, /* by software */
    pub ldr: u32,
    pub dfr: u32,
    pub tpr: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shorthand {
    None,
    Itself,
    All,
    Others,
}

#[derive(Clone, Copy)]
pub struct Message {
    pub sender: u32,
    pub vector: u8,
    pub delivery: u32,
    pub logical: bool,
    pub assert: bool,
    pub shorthand: Shorthand,
    pub destination: u32,
    pub wide: bool,
}

impl Message {
    pub fn from_icr(sender: u32, low: u32, destination: u32, wide: bool) -> Self {
        Self {
            sender,
            vector: low as u8,
            delivery: low >> 8 & 7,
            logical: low >> 11 & 1 != 0,
            assert: low >> 14 & 1 != 0,
            shorthand: [
                Shorthand::None,
                Shorthand::Itself,
                Shorthand::All,
                Shorthand::Others,
            ][(low >> 18 & 3) as usize],
            destination,
            wide,
        }
    }

    pub fn is_fixed(&self) -> bool {
        self.delivery <= 1
    }

    /// A vector that no message may have.
    pub fn is_illegal(&self) -> bool {
        self.is_fixed() && self.vector < 16
    }

    pub fn is_broadcast(&self) -> bool {
        self.destination == if self.wide { u32::MAX } else { 0xff }
    }

    /// Table 12-3, and 12.6.1.
    pub fn is_sent(&self) -> bool {
        match self.delivery {
            0 => true,
            5 if !self.assert => false,
            1 | 4 | 5 | 6 => !matches!(self.shorthand, Shorthand::Itself | Shorthand::All),
            _ => false,
        }
    }

    /// Without regard to whether it listens.
    pub fn is_for(&self, target: &Target) -> bool {
        match self.shorthand {
            Shorthand::Itself => target.id == self.sender,
            Shorthand::All => true,
            Shorthand::Others => target.id != self.sender,
            Shorthand::None if self.is_broadcast() => true,
            Shorthand::None if !self.logical => target.id == self.destination,
            Shorthand::None => logical_match(target, self.destination),
        }
    }

    pub fn is_heard(&self, target: &Target) -> bool {
        target.mode != Mode::Disabled && (!self.is_fixed() || target.enabled)
    }
}

/// 12.6.2.2, 12.12.10.2.
fn logical_match(target: &Target, destination: u32) -> bool {
    if target.mode == Mode::X2apic {
        return target.ldr >> 16 == destination >> 16 && target.ldr & destination & 0xffff != 0;
    }
    let id = target.ldr >> 24;
    match target.dfr >> 28 {
        _ if destination > 0xff => false,
        0xf => id & destination != 0,
        0x0 => id >> 4 == destination >> 4 && id & destination & 0xf != 0,
        _ => false,
    }
}
