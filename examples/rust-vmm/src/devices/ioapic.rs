// SPDX-License-Identifier: Apache-2.0
//! The 82093AA I/O APIC (Intel's data sheet, section 3).

pub const BASE: u64 = 0xfec0_0000;
pub const SIZE: u64 = 0x1000;
pub const PINS: u32 = 24;

const SELECT: u64 = 0x00;
const WINDOW: u64 = 0x10;
const TABLE: u32 = 0x10;
const VERSION: u32 = 0x11 | (PINS - 1) << 16;

const REMOTE_IRR: u64 = 1 << 14;
const LEVEL: u64 = 1 << 15;
const MASKED: u64 = 1 << 16;
const WRITABLE: u64 = (0x1_ffff | 0xff << 56) & !(1 << 12 | REMOTE_IRR);

/// An interrupt for the local APIC.
pub struct Message {
    pub vector: u8,
    pub level: bool,
}

pub struct IoApic {
    select: u32,
    id: u32,
    /// A bit for each pin that is asserted.
    lines: u32,
    /// A bit for each pin whose message has not been taken yet.
    outgoing: u32,
    entries: [u64; PINS as usize],
}

impl IoApic {
    pub fn new() -> Self {
        Self {
            select: 0,
            id: 0,
            lines: 0,
            outgoing: 0,
            entries: [MASKED; PINS as usize],
        }
    }

    /// A level that is held is sent once, and again after its end.
    fn send_level(&mut self, pin: u32) {
        let entry = &mut self.entries[pin as usize];
        if self.lines & 1 << pin != 0 && *entry & (MASKED | REMOTE_IRR) == 0 && *entry & LEVEL != 0 {
            *entry |= REMOTE_IRR;
            self.outgoing |= 1 << pin;
        }
    }

    /// Asserts or deasserts a pin. The polarity that software sets is taken for right.
    pub fn set_pin(&mut self, pin: u32, asserted: bool) {
        let bit = 1 << pin;
        let rises = asserted && self.lines & bit == 0;
        self.lines = if asserted {
            self.lines | bit
        } else {
            self.lines & !bit
        };
        let entry = self.entries[pin as usize];
        if entry & LEVEL != 0 {
            self.send_level(pin);
        } else if rises && entry & MASKED == 0 {
            self.outgoing |= bit;
        }
    }

    /// The next message that goes out. With one vCPU, every destination is it; what is neither fixed nor lowest
    /// priority goes nowhere.
    pub fn take_message(&mut self) -> Option<Message> {
        while self.outgoing != 0 {
            let pin = self.outgoing.trailing_zeros();
            self.outgoing &= self.outgoing - 1;
            let entry = self.entries[pin as usize];
            let (vector, delivery) = (entry as u8, entry >> 8 & 7);
            if delivery <= 1 && vector >= 16 {
                return Some(Message {
                    vector,
                    level: entry & LEVEL != 0,
                });
            }
        }
        None
    }

    /// The local APIC broadcasts the end of a level-triggered interrupt.
    pub fn end_of_interrupt(&mut self, vector: u8) {
        for pin in 0..PINS {
            let entry = &mut self.entries[pin as usize];
            if *entry as u8 == vector && *entry & REMOTE_IRR != 0 {
                *entry &= !REMOTE_IRR;
                self.send_level(pin);
            }
        }
    }

    pub fn unmasked(&self, pin: u32) -> bool {
        self.entries[pin as usize] & MASKED == 0
    }

    /// Turning a pin to edge forgets what was outstanding, as software that lost an EOI expects.
    fn write_entry(&mut self, index: u32, value: u32) {
        let shift = index % 2 * 32;
        let writable = 0xffff_ffff << shift & WRITABLE;
        let entry = &mut self.entries[index as usize / 2];
        *entry = *entry & !writable | u64::from(value) << shift & writable;
        if *entry & LEVEL == 0 {
            *entry &= !REMOTE_IRR;
        }
        self.send_level(index / 2);
    }

    pub fn write(&mut self, offset: u64, value: u32) {
        match (offset, self.select) {
            (SELECT, _) => self.select = value & 0xff,
            (WINDOW, 0) => self.id = value & 0x0f00_0000,
            (WINDOW, TABLE..) if self.select < TABLE + 2 * PINS => {
                self.write_entry(self.select - TABLE, value)
            }
            _ => {}
        }
    }

    pub fn read(&self, offset: u64) -> u32 {
        match (offset, self.select) {
            (SELECT, select) => select,
            (WINDOW, 0 | 2) => self.id,
            (WINDOW, 1) => VERSION,
            (WINDOW, select @ TABLE..) if select < TABLE + 2 * PINS => {
                (self.entries[(select - TABLE) as usize / 2] >> (select % 2 * 32)) as u32
            }
            _ => 0,
        }
    }
}
