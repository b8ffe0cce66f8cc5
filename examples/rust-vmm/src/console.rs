// SPDX-License-Identifier: Apache-2.0
//! The way out: one byte stream for the guest's console, the VMM and the log.

use core::fmt::{self, Write};

use crate::platform;

struct Console;

impl Write for Console {
    /// ASCII only: what is above it would be taken for the guest's.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            platform::console_putc(if byte.is_ascii() { byte } else { b'?' });
        }
        Ok(())
    }
}

pub fn print(text: fmt::Arguments) {
    let _ = Console.write_fmt(text);
}

/// A byte of the guest's console, as two bytes above 127: nothing else on the stream can be taken for it, nor it
/// for anything else.
pub fn guest_putc(byte: u8) {
    platform::console_putc(0x80 | byte >> 4);
    platform::console_putc(0x90 | byte & 15);
}

/// A line of the VMM's own.
macro_rules! say {
    ($($arg:tt)*) => {
        $crate::console::print(format_args!("vmm: {}\n", format_args!($($arg)*)))
    };
}
pub(crate) use say;

struct Logger;

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata) -> bool {
        true
    }

    fn log(&self, record: &log::Record) {
        print(format_args!("x86vcpu: {}\n", record.args()));
    }

    fn flush(&self) {}
}

pub fn init_log() {
    log::set_max_level(log::LevelFilter::Warn);
    let _ = log::set_logger(&Logger);
}
