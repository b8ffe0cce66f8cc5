// SPDX-License-Identifier: Apache-2.0
//! The PC's devices: plain state machines, which board.rs wires to each other and to the vCPU. Time is in nanoseconds;
//! NEVER is no time at all.

pub mod ioapic;
pub mod kbd;
pub mod pic;
pub mod pit;
pub mod pm;
pub mod rtc;
pub mod uart;

pub const NEVER: u64 = u64::MAX;
pub const SECOND: u64 = 1_000_000_000;

/// How many periods of `hz` are in `ns`. Split, so that no product exceeds 64 bits.
pub fn ticks(ns: u64, hz: u64) -> u64 {
    ns / SECOND * hz + ns % SECOND * hz / SECOND
}
