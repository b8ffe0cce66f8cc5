// SPDX-License-Identifier: Apache-2.0
//! ACPI's fixed hardware (ACPI 6.4, 4.8). There are no buttons and no sleep but soft-off, so no event ever comes.

use super::ticks;

/// Status, and enable two bytes on.
pub const EVENT: u16 = 0x600;
pub const CONTROL: u16 = 0x604;
pub const TIMER: u16 = 0x608;
pub const LAST: u16 = 0x60b;
pub const SCI: u8 = 9;

const CONTROL_SCI_ENABLE: u16 = 0x0001;
const CONTROL_SLEEP_TYPE: u16 = 0x1c00;
const CONTROL_SLEEP: u32 = 0x2000;
const TIMER_HZ: u64 = 3_579_545;

#[derive(Default)]
pub struct Pm {
    enable: u16,
    control: u16,
    /// The guest switched the machine off.
    pub off: bool,
}

impl Pm {
    pub fn write(&mut self, port: u16, value: u32) {
        if port == EVENT + 2 {
            self.enable = value as u16;
        } else if port == CONTROL {
            self.control = value as u16 & CONTROL_SLEEP_TYPE;
            self.off |= value & CONTROL_SLEEP != 0;
        }
    }

    pub fn read(&self, port: u16, now: u64) -> u32 {
        const ENABLE: u16 = EVENT + 2;
        match port {
            EVENT => u32::from(self.enable) << 16,
            ENABLE => self.enable.into(),
            CONTROL => (self.control | CONTROL_SCI_ENABLE).into(),
            TIMER => ticks(now, TIMER_HZ) as u32 & 0xff_ffff,
            _ => 0,
        }
    }
}
