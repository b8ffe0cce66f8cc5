// SPDX-License-Identifier: Apache-2.0
//! The MC146818 (Motorola's data sheet): clock, alarm, periodic interrupt; memory sizes where PC firmware looks for
//! them.

use super::{NEVER, SECOND};

pub const INDEX: u16 = 0x70;
pub const DATA: u16 = 0x71;
pub const IRQ: u32 = 8;

const SECONDS: usize = 0;
const MINUTES: usize = 2;
const HOURS: usize = 4;
const WEEKDAY: usize = 6;
const DAY: usize = 7;
const MONTH: usize = 8;
const YEAR: usize = 9;
const A: usize = 10;
const B: usize = 11;
const C: usize = 12;
const D: usize = 13;
const CENTURY: usize = 0x32;

const A_UPDATE: u8 = 0x80;
const B_SET: u8 = 0x80;
const B_PERIODIC: u8 = 0x40;
const B_ALARM: u8 = 0x20;
const B_UPDATE: u8 = 0x10;
const B_BINARY: u8 = 0x04;
const B_24_HOURS: u8 = 0x02;
const C_IRQ: u8 = 0x80;
const PM: u8 = 0x80;
/// Alarm registers from here on match always.
const ANY: u8 = 0xc0;
/// So long before the second is over, UIP warns.
const UPDATE_NS: u64 = 244_000;
/// 2025-01-01 00:00:00, a Wednesday, in seconds since 2000-01-01, a Saturday.
const FIRST_SECOND: u64 = 789_004_800;

fn year_days(year: u64) -> u64 {
    if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) {
        366
    } else {
        365
    }
}

fn month_days(month: usize, year: u64) -> u64 {
    let days = [31, year_days(year) - 337, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    days[month - 1]
}

pub struct Rtc {
    index: u8,
    ram: [u8; 128],
    /// When second `seconds` began.
    start: u64,
    seconds: u64,
    /// Of the periodic interrupt, and the second, as of the last look.
    ticks: u64,
    updates: u64,
}

impl Rtc {
    pub fn new(ram_size: u64, now: u64) -> Self {
        let mut rtc = Self {
            index: 0,
            ram: [0; 128],
            start: now,
            seconds: FIRST_SECOND,
            ticks: 0,
            updates: FIRST_SECOND,
        };
        rtc.ram[A] = 0x26; // 32768 Hz; 1024 Hz
        rtc.ram[B] = B_24_HOURS;
        rtc.ram[D] = 0x80; // the battery is good
        rtc.ticks = rtc.ticks_at(now);
        rtc.show_time(now);
        let above = |kib: u64| (ram_size >> 10).saturating_sub(kib);
        rtc.set16(0x15, 640);
        rtc.set16(0x17, above(1024).min(63 << 10));
        rtc.set16(0x30, above(1024).min(63 << 10));
        rtc.set16(0x34, (above(16 << 10) / 64).min(0xffff));
        rtc
    }

    fn set16(&mut self, index: usize, value: u64) {
        self.ram[index..index + 2].copy_from_slice(&(value as u16).to_le_bytes());
    }

    fn has(&self, flag: u8) -> bool {
        self.ram[B] & flag != 0
    }

    fn to_format(&self, value: u64) -> u8 {
        (if self.has(B_BINARY) {
            value
        } else {
            (value / 10) << 4 | (value % 10)
        }) as u8
    }

    fn read_number(&self, index: usize) -> u64 {
        let value = u64::from(self.ram[index]);
        if self.has(B_BINARY) {
            value
        } else {
            (value >> 4) * 10 + (value & 15)
        }
    }

    fn hour_to_format(&self, hour: u64) -> u8 {
        if self.has(B_24_HOURS) {
            return self.to_format(hour);
        }
        let half = if hour >= 12 { PM } else { 0 };
        self.to_format(if hour % 12 == 0 { 12 } else { hour % 12 }) | half
    }

    fn hour(&mut self) -> u64 {
        if self.has(B_24_HOURS) {
            return self.read_number(HOURS) % 24;
        }
        let afternoon = self.ram[HOURS] & PM;
        self.ram[HOURS] &= !PM;
        let hour = self.read_number(HOURS) % 12;
        self.ram[HOURS] |= afternoon;
        hour + if afternoon != 0 { 12 } else { 0 }
    }

    fn seconds_at(&self, now: u64) -> u64 {
        self.seconds + (now - self.start) / SECOND
    }

    fn show_time(&mut self, now: u64) {
        let all = self.seconds_at(now);
        let (in_day, mut days) = (all % 86400, all / 86400);
        let (mut year, mut month) = (2000, 1);
        self.ram[WEEKDAY] = self.to_format((days + 6) % 7 + 1);
        while days >= year_days(year) {
            days -= year_days(year);
            year += 1;
        }
        while days >= month_days(month, year) {
            days -= month_days(month, year);
            month += 1;
        }
        self.ram[SECONDS] = self.to_format(in_day % 60);
        self.ram[MINUTES] = self.to_format(in_day / 60 % 60);
        self.ram[HOURS] = self.hour_to_format(in_day / 3600);
        self.ram[DAY] = self.to_format(days + 1);
        self.ram[MONTH] = self.to_format(month as u64);
        self.ram[YEAR] = self.to_format(year % 100);
        self.ram[CENTURY] = (((year / 1000) << 4) | (year / 100 % 10)) as u8;
    }

    /// Nonsense in a register becomes some time; it harms nobody.
    fn set_time(&mut self, now: u64) {
        let month = (self.read_number(MONTH) as usize).clamp(1, 12);
        let year = 2000 + self.read_number(YEAR);
        let days: u64 = (2000..year).map(year_days).sum::<u64>()
            + (1..month).map(|month| month_days(month, year)).sum::<u64>()
            + self.read_number(DAY).saturating_sub(1);
        self.seconds =
            days * 86400 + self.hour() * 3600 + self.read_number(MINUTES) * 60 + self.read_number(SECONDS);
        self.start = now;
        self.updates = self.seconds;
    }

    /// 122 us to half a second; rates 1 and 2 mean 8 and 9. None: off.
    fn period(&self) -> Option<u64> {
        let rate = match self.ram[A] & 15 {
            0 => return None,
            rate @ 1..=2 => rate + 7,
            rate => rate,
        };
        Some((1 << (rate - 1)) * SECOND / 32768)
    }

    fn ticks_at(&self, now: u64) -> u64 {
        self.period().map_or(0, |period| now / period)
    }

    fn alarm_matches(&self) -> bool {
        [SECONDS, MINUTES, HOURS].into_iter().all(|i| {
            let alarm = self.ram[i + 1];
            alarm >= ANY || alarm == self.ram[i]
        })
    }

    fn look(&mut self, now: u64) {
        let ticks = self.ticks_at(now);
        if ticks != self.ticks {
            self.ram[C] |= B_PERIODIC;
        }
        self.ticks = ticks;
        let seconds = self.seconds_at(now);
        if self.has(B_SET) || seconds == self.updates {
            return;
        }
        self.updates = seconds;
        self.show_time(now);
        self.ram[C] |= B_UPDATE | if self.alarm_matches() { B_ALARM } else { 0 };
    }

    /// Sets the flags of what has happened until now; the interrupt line.
    pub fn irq(&mut self, now: u64) -> bool {
        self.look(now);
        if self.ram[B] & self.ram[C] & (B_PERIODIC | B_ALARM | B_UPDATE) != 0 {
            self.ram[C] |= C_IRQ;
        }
        self.ram[C] & C_IRQ != 0
    }

    /// When it may rise next by itself.
    pub fn deadline(&self, now: u64) -> u64 {
        if self.ram[C] & C_IRQ != 0 {
            return NEVER; // until the guest has read register C
        }
        let tick = match self.period() {
            Some(period) if self.has(B_PERIODIC) => (now / period + 1) * period,
            _ => NEVER,
        };
        if self.has(B_ALARM | B_UPDATE) && !self.has(B_SET) {
            return tick.min(now + SECOND - (now - self.start) % SECOND);
        }
        tick
    }

    fn write_data(&mut self, value: u8, now: u64) {
        let index = usize::from(self.index);
        let is_time = index <= YEAR && !matches!(index, 1 | 3 | 5);
        match index {
            A => {
                self.ram[A] = value & 0x7f;
                self.ticks = self.ticks_at(now);
            }
            B => {
                self.look(now);
                let was_set = self.has(B_SET);
                if !was_set {
                    self.show_time(now);
                }
                self.ram[B] = value;
                if was_set && !self.has(B_SET) {
                    self.set_time(now);
                }
            }
            C | D => {}
            _ if is_time && !self.has(B_SET) => {
                self.show_time(now);
                self.ram[index] = value;
                self.set_time(now);
            }
            _ => self.ram[index] = value,
        }
    }

    pub fn write(&mut self, port: u16, value: u8, now: u64) {
        if port == INDEX {
            self.index = value & 0x7f; // bit 7 masks NMIs, of which there are none
        } else {
            self.write_data(value, now);
        }
    }

    pub fn read(&mut self, port: u16, now: u64) -> u8 {
        let index = usize::from(self.index);
        if port == INDEX {
            return self.index;
        }
        self.irq(now);
        if (index <= YEAR || index == CENTURY) && !self.has(B_SET) {
            self.show_time(now);
        }
        let near = !self.has(B_SET) && (now - self.start) % SECOND >= SECOND - UPDATE_NS;
        let value = self.ram[index];
        match index {
            A if near => value | A_UPDATE,
            C => core::mem::take(&mut self.ram[C]), // flags and interrupt are over once they are read
            _ => value,
        }
    }
}
