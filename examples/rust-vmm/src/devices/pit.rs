// SPDX-License-Identifier: Apache-2.0
//! The 8254 (Intel's data sheet 231164) and port 0x61, computed from the time since a count was loaded. A new count takes
//! effect at once; BCD counts as binary.

use super::{NEVER, SECOND, ticks};

pub const BASE: u16 = 0x40;
pub const CONTROL: u16 = 0x43;
/// Gates and shows channel 2.
pub const SPEAKER: u16 = 0x61;
pub const IRQ: u32 = 0;

const HZ: u64 = 1_193_182;
const READ_BACK: usize = 3;

#[derive(Clone, Copy, Default)]
struct Channel {
    mode: u8,
    /// Control word bits 5:4: 1 low byte, 2 high byte, 3 low, then high.
    access: u8,
    low: Option<u8>,
    high_next: bool,
    gate: bool,
    /// A count was loaded since the mode was set.
    counting: bool,
    latch: Option<u16>,
    status: Option<u8>,
    /// 1 to 65536
    reload: u64,
    /// When counting began.
    start: u64,
    /// Channel 0: rising edges that were reported.
    edges: u64,
}

impl Channel {
    fn is_periodic(&self) -> bool {
        self.mode == 2 || self.mode == 3
    }

    /// A channel without its gate stands still.
    fn elapsed(&self, now: u64) -> u64 {
        if self.counting && self.gate {
            now - self.start
        } else {
            0
        }
    }

    fn count(&self, now: u64) -> u16 {
        let elapsed = self.elapsed(now);
        match self.mode {
            2 => (self.reload - elapsed % self.reload) as u16,
            // By two, twice a period.
            3 => (self.reload - elapsed * 2 % self.reload) as u16 & !1,
            _ => self.reload.wrapping_sub(elapsed) as u16,
        }
    }

    fn output(&self, now: u64) -> bool {
        let elapsed = self.elapsed(now);
        match self.mode {
            0 | 1 => self.counting && elapsed >= self.reload,
            2 => elapsed % self.reload != self.reload - 1,
            3 => elapsed % self.reload < self.reload.div_ceil(2),
            _ => elapsed != self.reload,
        }
    }

    fn load(&mut self, value: u16, now: u64) {
        self.reload = if value == 0 { 0x10000 } else { value.into() };
        self.start = now;
        self.edges = 0;
        self.counting = true;
    }

    fn write(&mut self, value: u8, now: u64) {
        match (self.access, self.low.take()) {
            (1, _) => self.load(value.into(), now),
            (2, _) => self.load(u16::from(value) << 8, now),
            (_, Some(low)) => self.load(u16::from_le_bytes([low, value]), now),
            (_, None) => {
                self.low = Some(value);
                self.counting = self.counting && self.is_periodic();
            }
        }
    }

    fn latch_count(&mut self, now: u64) {
        if self.latch.is_none() {
            self.latch = Some(self.count(now));
            self.high_next = false;
        }
    }

    fn latch_status(&mut self, now: u64) {
        let bits = u8::from(self.output(now)) << 7 | u8::from(!self.counting) << 6;
        self.status
            .get_or_insert(bits | self.access << 4 | self.mode << 1);
    }

    fn read(&mut self, now: u64) -> u8 {
        if let Some(status) = self.status.take() {
            return status;
        }
        let value = self.latch.unwrap_or(self.count(now)).to_le_bytes();
        let two_bytes = self.access == 3;
        let high = if two_bytes {
            self.high_next
        } else {
            self.access == 2
        };
        self.high_next ^= two_bytes;
        if high || !two_bytes {
            self.latch = None;
        }
        value[usize::from(high)]
    }

    fn edges(&self, now: u64) -> u64 {
        let elapsed = self.elapsed(now);
        match self.mode {
            2 | 3 => elapsed / self.reload,
            0 | 4 => (self.counting && elapsed >= self.reload).into(),
            _ => 0,
        }
    }
}

pub struct Pit {
    channels: [Channel; 3],
    /// Port 0x61, bits 1:0.
    speaker: u8,
    base: u64,
}

impl Pit {
    pub fn new(now: u64) -> Self {
        let channel = |gate| Channel {
            access: 3,
            reload: 0x10000,
            gate,
            ..Default::default()
        };
        Self {
            channels: [channel(true), channel(true), channel(false)],
            speaker: 0,
            base: now,
        }
    }

    fn now(&self, ns: u64) -> u64 {
        ticks(ns - self.base, HZ)
    }

    fn write_control(&mut self, command: u8, now: u64) {
        let which = usize::from(command >> 6);
        if which == READ_BACK {
            for (i, channel) in self.channels.iter_mut().enumerate() {
                if command & 2 << i == 0 {
                    continue;
                }
                if command & 0x20 == 0 {
                    channel.latch_count(now);
                }
                if command & 0x10 == 0 {
                    channel.latch_status(now);
                }
            }
            return;
        }
        let channel = &mut self.channels[which];
        if command & 0x30 == 0 {
            channel.latch_count(now);
            return;
        }
        let mode = command >> 1 & 7;
        *channel = Channel {
            mode: if mode > 5 { mode & 3 } else { mode },
            access: command >> 4 & 3,
            gate: channel.gate,
            reload: channel.reload,
            ..Default::default()
        };
    }

    /// A rising gate starts the count anew.
    fn write_speaker(&mut self, value: u8, now: u64) {
        let channel = &mut self.channels[2];
        let gate = value & 1 != 0;
        if gate && !channel.gate {
            channel.start = now;
        }
        channel.gate = gate;
        self.speaker = value & 3;
    }

    pub fn write(&mut self, port: u16, value: u8, ns: u64) {
        let now = self.now(ns);
        match port {
            SPEAKER => self.write_speaker(value, now),
            CONTROL => self.write_control(value, now),
            _ => self.channels[usize::from(port & 3)].write(value, now),
        }
    }

    pub fn read(&mut self, port: u16, ns: u64) -> u8 {
        let now = self.now(ns);
        match port {
            SPEAKER => {
                // Bit 4 is the refresh signal, which toggles every 15 us.
                let refresh = u8::from((now / 18) & 1 != 0) << 4;
                self.speaker | refresh | u8::from(self.channels[2].output(now)) << 5
            }
            CONTROL => 0xff,
            _ => self.channels[usize::from(port & 3)].read(now),
        }
    }

    /// Whether channel 0's output rose since the last call.
    pub fn take_edge(&mut self, ns: u64) -> bool {
        let edges = self.channels[0].edges(self.now(ns));
        let before = core::mem::replace(&mut self.channels[0].edges, edges);
        edges > before
    }

    /// When it will rise next.
    pub fn deadline(&self, ns: u64) -> u64 {
        let channel = &self.channels[0];
        let periods = match channel.mode {
            _ if !channel.counting => return NEVER,
            2 | 3 => channel.elapsed(self.now(ns)) / channel.reload + 1,
            0 | 4 if channel.edges == 0 => 1,
            _ => return NEVER,
        };
        let tick = channel.start + periods * channel.reload;
        self.base + tick / HZ * SECOND + (tick % HZ * SECOND).div_ceil(HZ)
    }
}
