// SPDX-License-Identifier: Apache-2.0
//! The 8042 (IBM's PC AT Technical Reference), with a keyboard that nobody types on.

use alloc::collections::VecDeque;

pub const DATA: u16 = 0x60;
pub const COMMAND: u16 = 0x64;
pub const IRQ: u32 = 1;

const QUEUE: usize = 8;
const STATUS_OUTPUT: u8 = 0x01;
const STATUS_COMMAND: u8 = 0x08;
const STATUS_UNLOCKED: u8 = 0x10;
const MODE_INTERRUPT: u8 = 0x01;
const MODE_SYSTEM: u8 = 0x04;
const MODE_KEYBOARD_OFF: u8 = 0x10;
const WRITE_MODE: u8 = 0x60;
const WRITE_OUTPUT: u8 = 0xd1;
const WRITE_QUEUE: u8 = 0xd2;

pub struct Kbd {
    mode: u8,
    /// That waits for its data byte.
    command: Option<u8>,
    queue: VecDeque<u8>,
    last_was_command: bool,
    /// Somebody asked for a reset of the machine.
    pub reset: bool,
}

impl Kbd {
    pub fn new() -> Self {
        Self {
            mode: MODE_SYSTEM,
            command: None,
            queue: VecDeque::with_capacity(QUEUE),
            last_was_command: false,
            reset: false,
        }
    }

    fn answer(&mut self, bytes: &[u8]) {
        let room = QUEUE - self.queue.len();
        self.queue.extend(bytes.iter().take(room));
    }

    fn write_data(&mut self, value: u8) {
        match (self.command.take(), value) {
            (Some(WRITE_MODE), _) => self.mode = value,
            (Some(WRITE_OUTPUT), _) => self.reset |= value & 1 == 0,
            (Some(_), _) => self.answer(&[value]),
            // For the keyboard: echo, identify, reset; all else is acknowledged.
            (None, 0xee) => self.answer(&[0xee]),
            (None, 0xf2) => self.answer(&[0xfa, 0xab, 0x83]),
            (None, 0xff) => self.answer(&[0xfa, 0xaa]),
            (None, _) => self.answer(&[0xfa]),
        }
    }

    fn write_command(&mut self, value: u8) {
        self.command = None;
        match value {
            WRITE_MODE | WRITE_OUTPUT | WRITE_QUEUE => self.command = Some(value),
            0x20 => self.answer(&[self.mode]),
            0xa9 => self.answer(&[0xff]), // there is no second interface
            0xaa => {
                self.queue.clear();
                self.answer(&[0x55]);
            }
            0xab => self.answer(&[0x00]),
            0xad => self.mode |= MODE_KEYBOARD_OFF,
            0xae => self.mode &= !MODE_KEYBOARD_OFF,
            0xd0 => self.answer(&[0x03]), // running, A20 on
            0xfe => self.reset = true,
            _ => {}
        }
    }

    pub fn write(&mut self, port: u16, value: u8) {
        self.last_was_command = port == COMMAND;
        if port == COMMAND {
            self.write_command(value);
        } else {
            self.write_data(value);
        }
    }

    pub fn read(&mut self, port: u16) -> u8 {
        if port == DATA {
            return self.queue.pop_front().unwrap_or(0);
        }
        let output = if self.queue.is_empty() { 0 } else { STATUS_OUTPUT };
        let command = if self.last_was_command { STATUS_COMMAND } else { 0 };
        STATUS_UNLOCKED | self.mode & MODE_SYSTEM | output | command
    }

    pub fn irq(&self) -> bool {
        !self.queue.is_empty() && self.mode & MODE_INTERRUPT != 0
    }
}
