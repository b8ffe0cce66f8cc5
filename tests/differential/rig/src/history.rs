// SPDX-License-Identifier: Apache-2.0
//! What x86vcpu's guest has done so far, as far as a later step brings it to light.

use std::collections::BTreeMap;

use cpu::field;

use crate::compare::Outcome;
use crate::step::{Mode, Step};

#[derive(Default)]
pub struct History {
    /// MSRs and debug registers that it wrote without a fault.
    pub written: BTreeMap<u32, u64>,
    pub debug: BTreeMap<u8, u64>,
    /// Its state when it was last looked at.
    pub before: Option<[u64; field::COUNT as usize]>,
}

impl History {
    pub fn hears(&mut self, step: &Step, mode: Mode, ours: &Outcome) {
        self.before = ours.stopped.then_some(ours.fields);
        // A single step's #DB comes behind the instruction.
        if ours.events.iter().any(|e| e.kind == 3 && e.vector != 1) {
            return;
        }
        match *step {
            Step::Wrmsr(index, value) => {
                self.written.insert(index, value);
            }
            Step::MovToDr { number, value } => {
                let mask = if mode == Mode::Long { u64::MAX } else { 0xffff_ffff };
                self.debug.insert(number, value & mask);
            }
            _ => {}
        }
    }
}
