// SPDX-License-Identifier: Apache-2.0
//! How a run ended.

use alloc::string::String;

use crate::{console, platform};

/// The number is the exit status of scripts/run-guest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// The guest powered off, or wrote 0 to the exit port.
    Success = 0,
    /// The guest failed.
    Failed = 1,
    /// It could not be loaded.
    BadImage = 2,
    /// The VMM or the crate failed.
    Broken = 3,
}

/// A verdict, and why in one line.
pub type End = (Verdict, String);

/// Ends the run with the line that scripts/run-guest waits for.
pub fn finish(verdict: Verdict, reason: &str) -> ! {
    console::print(format_args!("vmm-verdict: {} {reason}\n", verdict as u32));
    platform::exit(verdict != Verdict::Broken)
}
