// SPDX-License-Identifier: Apache-2.0
//! Who answers at which port. What nobody claims reads as ones and ignores writes.

use alloc::format;
use alloc::string::ToString;

use crate::console;
use crate::devices::{kbd, pic, pit, pm, rtc, uart};
use crate::machine::Machine;
use crate::platform;
use crate::verdict::Verdict;

const FAST_A20: u16 = 0x92;
const EXIT: u16 = 0xf4;
/// SeaBIOS writes its messages here if it reads back as 0xe9.
const FIRMWARE: u16 = 0x402;
const RESET_CONTROL: u16 = 0xcf9;

/// A device that takes an access of any width as one; elsewhere a wider access is one for each byte.
fn is_wide(port: u16) -> bool {
    matches!(port, EXIT | pm::EVENT..=pm::LAST)
}

/// Whether a device is at the first port of an access. A dword to 0xcf8, PCI's address port, must not reach the reset
/// control in its middle.
fn is_claimed(port: u16) -> bool {
    matches!(
        port,
        0x20 | 0x21 | 0x40..=0x43 | 0x60 | 0x61 | 0x64 | 0x70 | 0x71 | FAST_A20 | 0xa0 | 0xa1 | EXIT | uart::BASE
            ..=uart::LAST | FIRMWARE | 0x4d0 | 0x4d1 | pm::EVENT..=pm::LAST | RESET_CONTROL
    )
}

impl Machine {
    pub fn port_read(&mut self, port: u16, bytes: usize) -> u32 {
        if !is_claimed(port) {
            return u32::MAX;
        }
        if is_wide(port) {
            return match port {
                EXIT => u32::MAX,
                _ => self.board.pm.read(port, platform::time_ns()),
            };
        }
        let byte = |machine: &mut Self, i: usize| u32::from(machine.read_byte(port.wrapping_add(i as u16)));
        (0..bytes).fold(0, |value, i| value | byte(self, i) << (8 * i))
    }

    pub fn port_write(&mut self, port: u16, bytes: usize, value: u32) {
        if !is_claimed(port) {
            return;
        }
        match port {
            EXIT => self.exit(value),
            pm::EVENT..=pm::LAST => {
                self.board.pm.write(port, value);
                if self.board.pm.off {
                    self.end(Verdict::Success, "guest powered off".to_string());
                }
            }
            _ => (0..bytes)
                .for_each(|i| self.write_byte(port.wrapping_add(i as u16), (value >> (8 * i)) as u8)),
        }
    }

    fn read_byte(&mut self, port: u16) -> u8 {
        let now = platform::time_ns();
        let board = &mut self.board;
        match port {
            uart::BASE..=uart::LAST => {
                let value = board.uart.read(port);
                board.set_irq(uart::IRQ, board.uart.irq());
                value
            }
            0x20 | 0x21 | 0xa0 | 0xa1 | pic::ELCR | 0x4d1 => board.pic.read(port),
            pit::BASE..=pit::CONTROL | pit::SPEAKER => board.pit.read(port, now),
            rtc::INDEX | rtc::DATA => {
                board.changed();
                board.rtc.read(port, now)
            }
            kbd::DATA | kbd::COMMAND => {
                let value = board.kbd.read(port);
                board.set_irq(kbd::IRQ, false); // an edge for each byte
                board.set_irq(kbd::IRQ, board.kbd.irq());
                value
            }
            FAST_A20 => 0x02, // on
            FIRMWARE => 0xe9,
            _ => 0xff,
        }
    }

    fn write_byte(&mut self, port: u16, value: u8) {
        let now = platform::time_ns();
        let board = &mut self.board;
        match port {
            uart::BASE..=uart::LAST => {
                if let Some(byte) = board.uart.write(port, value) {
                    console::guest_putc(byte);
                }
                // Two events without a look at IIR in between are two edges.
                board.set_irq(uart::IRQ, false);
                board.set_irq(uart::IRQ, board.uart.irq());
            }
            0x20 | 0x21 | 0xa0 | 0xa1 | pic::ELCR | 0x4d1 => {
                board.pic.write(port, value);
                board.changed();
            }
            pit::BASE..=pit::CONTROL | pit::SPEAKER => {
                board.pit.write(port, value, now);
                board.changed();
            }
            rtc::INDEX | rtc::DATA => {
                board.rtc.write(port, value, now);
                board.changed();
            }
            kbd::DATA | kbd::COMMAND => {
                board.kbd.write(port, value);
                board.set_irq(kbd::IRQ, board.kbd.irq());
                if board.kbd.reset {
                    self.reset(port);
                }
            }
            FAST_A20 if value & 1 != 0 => self.reset(port),
            RESET_CONTROL if value & 4 != 0 => self.reset(port),
            FIRMWARE => console::guest_putc(value),
            _ => {}
        }
    }

    fn reset(&mut self, port: u16) {
        self.end(
            Verdict::Failed,
            format!("guest reset the machine through port {port:#x}"),
        );
    }

    fn exit(&mut self, value: u32) {
        if value == 0 {
            self.end(Verdict::Success, "guest exit code 0".to_string());
        } else {
            let status = 2 * u64::from(value) + 1;
            self.end(
                Verdict::Failed,
                format!("guest exit code {value} (2*v+1 = {status})"),
            );
        }
    }
}
