// SPDX-License-Identifier: Apache-2.0
//! What a sequence does beside its steps: the guest's interrupt handlers, interrupts that are taken until none is
//! left, and the other vCPU of the machine.

use crate::apic::Mode;
use crate::compare::{Case, Difference, Kind, Outcome, Pair, Unexplained};
use crate::errata::Tally;
use crate::side::Side;
use crate::step::{Registers, Step};

/// Interrupts in service, one in the other, or entries until all that waits is taken.
const MOST: usize = 12;

impl Pair {
    /// The model of the manual follows x86vcpu, and says where that went wrong.
    pub(crate) fn follow(
        &mut self,
        found: &mut Vec<Difference>,
        step: &Step,
        registers: &Registers,
        ours: &Outcome,
    ) {
        let at = self.at as u32;
        for &(vcpu, vector) in ours.sent.iter().filter(|(vcpu, _)| *vcpu != at) {
            self.vcpus[vcpu as usize].apic.post(vector as u8, false);
        }
        if let Some(message) = self.vcpus[self.at]
            .apic
            .sends(step)
            .filter(|m| m.others && m.delivery != 0)
        {
            let other = &mut self.vcpus[1 - self.at].apic;
            other.nmis += u32::from(message.delivery == 4);
            other.init |= message.delivery == 5;
        }
        let apic = &mut self.vcpus[self.at].apic;
        for (vector, level) in posted(step) {
            apic.post(vector, level);
        }
        if *step == Step::HostEoi {
            apic.end();
        }
        found.extend(
            apic.step(step, registers, ours)
                .into_iter()
                .map(|text| Difference {
                    kind: Kind::OurComplaint,
                    theirs: "-".into(),
                    ours: text,
                    values: (0, 0),
                }),
        );
    }

    fn end_of_interrupt(&self) -> Option<Step> {
        match self.vcpus[self.at].apic.mode() {
            Mode::Disabled => None,
            Mode::Xapic => Some(Step::ApicWrite(0xb0, 0)),
            Mode::X2apic => Some(Step::Wrmsr(0x80b, 0)),
        }
    }

    /// A step, and what the guest's handlers do when it brought interrupts.
    pub fn with_handler(
        &mut self,
        case: &Case,
        step: &Step,
        registers: &Registers,
        tally: &mut Tally,
    ) -> Result<bool, Unexplained> {
        if let Step::Switch { stays } = *step {
            return self.switch(case, stays, tally);
        }
        if !self.step(step, registers, tally)? {
            return Ok(false);
        }
        for _ in 0..MOST {
            let apic = &self.vcpus[self.at].apic;
            let Some(end) = self
                .end_of_interrupt()
                .filter(|_| case.apic && !apic.isr.is_empty())
            else {
                break;
            };
            if !self.step(&end, &Registers::begin(), tally)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Both take what waits for them. Whether nothing is left.
    pub(crate) fn drain(&mut self, tally: &mut Tally) -> Result<bool, Unexplained> {
        let open = Registers {
            rflags: 0x202,
            ..Registers::begin()
        };
        for _ in 0..MOST {
            let apic = &self.vcpus[self.at].apic;
            let step = match self.end_of_interrupt() {
                Some(end) if !apic.isr.is_empty() => end,
                _ if apic.holds_back() => return Ok(false),
                _ => Step::Idle,
            };
            let [theirs, ours] = self.perform(&step, &open);
            self.exits += 1 + theirs.exits.len() as u64;
            let mut found = Vec::new();
            self.follow(&mut found, &step, &open, &ours);
            if !found.is_empty() {
                return Err(Unexplained {
                    step: format!("{step:x?}, until no interrupt waits"),
                    differences: found,
                    traces: Default::default(),
                });
            }
            if !theirs.stopped || !ours.stopped {
                return Ok(false);
            }
            let idle = self.vcpus[self.at].apic.isr.is_empty();
            if idle && !self.theirs.has_pending_event() && !self.ours.has_pending_event() {
                // What was in service with upstream alone ends too.
                return Ok(self.end_theirs());
            }
        }
        let _ = tally;
        Ok(false)
    }

    fn end_theirs(&mut self) -> bool {
        (0..MOST).for_each(|_| drop(self.theirs.handle_eoi()));
        true
    }

    /// To the other vCPU. One stays bound only where it is alone on its CPU.
    fn switch(&mut self, case: &Case, stays: bool, tally: &mut Tally) -> Result<bool, Unexplained> {
        if case.vcpus < 2 {
            return Ok(true);
        }
        let (from, to) = (self.at, 1 - self.at);
        let stays = stays && self.theirs.cpu_of(from) != self.theirs.cpu_of(to);
        let bound = self.vcpus[to].bound;
        let mut results = Vec::new();
        for side in [&mut self.theirs as &mut dyn Side, &mut self.ours] {
            let result = if stays { Ok(()) } else { side.unbind() };
            side.choose(to);
            let result = result.and_then(|()| if side.is_enabled() { Ok(()) } else { side.enable() });
            let result = result.and_then(|()| if bound { Ok(()) } else { side.bind() });
            results.push((result, side.machine().take_complaints()));
        }
        self.vcpus[from].bound = stays;
        self.vcpus[to].bound = true;
        self.at = to;
        if !self.compare_answers(&Step::Switch { stays }, results, tally)? {
            return Ok(false);
        }
        if self.vcpus[to].begun {
            return Ok(true);
        }
        match self.first_steps(case, tally) {
            Ok(()) => Ok(true),
            Err(end) if end.differences.is_empty() => Ok(false),
            Err(end) => Err(end),
        }
    }
}

/// What the VMM injects before a step.
fn posted(step: &Step) -> Vec<(u8, bool)> {
    match *step {
        Step::Inject { vector, level } => vec![(vector as u8, level)],
        Step::Inject2 { first, second } => vec![(first, false), (second, false)],
        Step::CutShort { vector } => vec![(vector, false)],
        Step::Shown(ref shown) => shown.inject.iter().map(|&vector| (vector as u8, false)).collect(),
        _ => vec![],
    }
}
