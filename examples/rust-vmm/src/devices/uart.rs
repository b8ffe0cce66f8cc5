// SPDX-License-Identifier: Apache-2.0
//! A 16550A (National's data sheet PC16550D, section 8) whose transmitter is always empty.
//!
//! Console input may have been typed long before the guest looks for it. It is shown to the receiver only while the
//! guest can take it: its interrupt is enabled, or never was and the guest polls.

use alloc::collections::VecDeque;

pub const BASE: u16 = 0x3f8;
pub const LAST: u16 = 0x3ff;
pub const IRQ: u32 = 4;

const FIFO: usize = 16;
const INPUT: usize = 256;

const IER_RECEIVER: u8 = 0x01;
const IER_TRANSMITTER: u8 = 0x02;
const IER_LINE: u8 = 0x04;
const IER_MODEM: u8 = 0x08;
const IIR_MODEM: u8 = 0x00;
const IIR_NONE: u8 = 0x01;
const IIR_TRANSMITTER: u8 = 0x02;
const IIR_RECEIVER: u8 = 0x04;
const IIR_LINE: u8 = 0x06;
const IIR_TIMEOUT: u8 = 0x0c;
const IIR_FIFO: u8 = 0xc0;
const FCR_ENABLE: u8 = 0x01;
const FCR_CLEAR_RECEIVER: u8 = 0x02;
const LCR_8_BITS: u8 = 0x03;
const LCR_DLAB: u8 = 0x80;
const MCR_LOOP: u8 = 0x10;
const LSR_DATA: u8 = 0x01;
const LSR_OVERRUN: u8 = 0x02;
const LSR_EMPTY: u8 = 0x60;
const MSR_READY: u8 = 0xb0;

pub struct Uart {
    ier: u8,
    lcr: u8,
    mcr: u8,
    scratch: u8,
    /// LSR bits that a read of LSR clears.
    errors: u8,
    /// MSR bits that a read of MSR clears.
    deltas: u8,
    /// Bytes that raise the interrupt.
    trigger: usize,
    divisor: u16,
    fifo: bool,
    /// The interrupt "holding register empty" has not been seen yet.
    transmitter_event: bool,
    /// The receiver's interrupt was enabled once: nobody polls.
    receiver_used: bool,
    /// What loop-back mode has sent.
    looped: VecDeque<u8>,
    input: VecDeque<u8>,
}

impl Uart {
    /// As firmware leaves it: 115200 baud, 8 bits.
    pub fn new() -> Self {
        Self {
            ier: 0,
            lcr: LCR_8_BITS,
            mcr: 0,
            scratch: 0,
            errors: 0,
            deltas: 0,
            trigger: 1,
            divisor: 1,
            fifo: false,
            transmitter_event: false,
            receiver_used: false,
            looped: VecDeque::with_capacity(FIFO),
            input: VecDeque::with_capacity(INPUT),
        }
    }

    pub fn has_room(&self) -> bool {
        self.input.len() < INPUT
    }

    /// A byte from the line.
    pub fn receive(&mut self, byte: u8) {
        if self.has_room() {
            self.input.push_back(byte);
        }
    }

    /// Whether a byte that comes in now can interrupt.
    pub fn wants_input(&self) -> bool {
        self.ier & IER_RECEIVER != 0
    }

    fn received(&self) -> usize {
        let taken = self.wants_input() || !self.receiver_used;
        let visible = taken && self.mcr & MCR_LOOP == 0;
        self.looped.len() + if visible { self.input.len() } else { 0 }
    }

    fn read_data(&mut self) -> u8 {
        if self.received() == 0 {
            return 0;
        }
        self.looped
            .pop_front()
            .or_else(|| self.input.pop_front())
            .unwrap_or(0)
    }

    fn loop_back(&mut self, byte: u8) {
        if self.looped.len() == if self.fifo { FIFO } else { 1 } {
            self.errors |= LSR_OVERRUN;
            if self.fifo {
                return; // the FIFO keeps what it has, the single register takes the new one
            }
            self.looped.clear();
        }
        self.looped.push_back(byte);
    }

    /// In loop-back mode the modem lines show what MCR drives: RTS, DTR, OUT1, OUT2.
    fn modem_lines(&self) -> u8 {
        match self.mcr & MCR_LOOP {
            0 => MSR_READY,
            _ => (self.mcr & 0x02) << 3 | (self.mcr & 0x01) << 5 | (self.mcr & 0x0c) << 4,
        }
    }

    fn write_ier(&mut self, value: u8) {
        // Enabling the interrupt while the transmitter is empty raises it at once.
        if value & !self.ier & IER_TRANSMITTER != 0 {
            self.transmitter_event = true;
        }
        self.ier = value & 0x0f;
        self.receiver_used |= self.wants_input();
    }

    /// Switching the FIFOs on or off clears them.
    fn write_fcr(&mut self, value: u8) {
        let on = value & FCR_ENABLE != 0;
        if on != self.fifo || (on && value & FCR_CLEAR_RECEIVER != 0) {
            self.looped.clear();
        }
        self.fifo = on;
        self.trigger = if on {
            [1, 4, 8, 14][usize::from(value >> 6)]
        } else {
            1
        };
    }

    /// Carrier, DSR and CTS tell any change, the ring indicator its end.
    fn write_mcr(&mut self, value: u8) {
        let before = self.modem_lines();
        self.mcr = value & 0x1f;
        let changed = (before ^ self.modem_lines()) & (0xb0 | before & 0x40);
        self.deltas |= changed >> 4;
    }

    /// A byte that leaves on the line is the answer.
    pub fn write(&mut self, port: u16, value: u8) -> Option<u8> {
        let dlab = self.lcr & LCR_DLAB != 0;
        match port & 7 {
            0 if dlab => self.divisor = self.divisor & 0xff00 | u16::from(value),
            0 => {
                self.transmitter_event = true;
                if self.mcr & MCR_LOOP == 0 {
                    return Some(value);
                }
                self.loop_back(value);
            }
            1 if dlab => self.divisor = self.divisor & 0x00ff | u16::from(value) << 8,
            1 => self.write_ier(value),
            2 => self.write_fcr(value),
            3 => self.lcr = value,
            4 => self.write_mcr(value),
            7 => self.scratch = value,
            _ => {} // LSR and MSR are read-only
        }
        None
    }

    /// The cause of the highest priority.
    fn cause(&self) -> u8 {
        let received = self.received();
        if self.ier & IER_LINE != 0 && self.errors != 0 {
            IIR_LINE
        } else if self.wants_input() && received != 0 {
            if received >= self.trigger {
                IIR_RECEIVER
            } else {
                IIR_TIMEOUT
            }
        } else if self.ier & IER_TRANSMITTER != 0 && self.transmitter_event {
            IIR_TRANSMITTER
        } else if self.ier & IER_MODEM != 0 && self.deltas != 0 {
            IIR_MODEM
        } else {
            IIR_NONE
        }
    }

    fn read_iir(&mut self) -> u8 {
        let cause = self.cause();
        if cause == IIR_TRANSMITTER {
            self.transmitter_event = false;
        }
        cause | if self.fifo { IIR_FIFO } else { 0 }
    }

    pub fn read(&mut self, port: u16) -> u8 {
        let dlab = self.lcr & LCR_DLAB != 0;
        let [low, high] = self.divisor.to_le_bytes();
        match port & 7 {
            0 if dlab => low,
            0 => self.read_data(),
            1 if dlab => high,
            1 => self.ier,
            2 => self.read_iir(),
            3 => self.lcr,
            4 => self.mcr,
            5 => {
                let data = if self.received() != 0 { LSR_DATA } else { 0 };
                LSR_EMPTY | data | core::mem::take(&mut self.errors)
            }
            6 => self.modem_lines() | core::mem::take(&mut self.deltas),
            _ => self.scratch,
        }
    }

    pub fn irq(&self) -> bool {
        self.cause() != IIR_NONE
    }
}
