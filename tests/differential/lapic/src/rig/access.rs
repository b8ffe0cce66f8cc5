// SPDX-License-Identifier: Apache-2.0
//! Accesses by memory and MSR, and what the written register changes.

use super::*;

impl Rig<'_> {
    pub(super) fn write_base(&mut self, vcpu: u32, value: u64) -> Step {
        let before = self.before(vcpu, None);
        let theirs = self.theirs.wrmsr(vcpu, 0x1b, value);
        let ours = self.ours.wrmsr(vcpu, 0x1b, value);
        let pair = (Value::Answer(theirs), Value::Answer(ours));
        self.check(
            |seen| seen.base_write = Some(value),
            What::Answer,
            vcpu,
            &before,
            pair,
        )?;
        if self.ended || ours != Answer::Done {
            return Ok(());
        }
        let v = vcpu as usize;
        match (before.mode, mode_of(value)) {
            (Mode::Xapic | Mode::X2apic, Mode::Disabled) => self.reset(vcpu),
            (Mode::Xapic, Mode::X2apic) => self.astray[v].destination_kept = true,
            _ => {}
        }
        self.compare_base(vcpu)
    }

    /// The library's registers are reset, the crate's stay (LA-13): it gets a new local APIC.
    pub(super) fn reset(&mut self, vcpu: u32) {
        let v = vcpu as usize;
        let stays = (0x08..0x38).any(|reg| {
            manual::readable_in_xapic(reg)
                && !matches!(reg, 0x0e | 0x0f)
                && self.theirs.register(vcpu, reg) != u64::from(self.ours.register(vcpu, reg))
        });
        if stays {
            self.note("LA-13");
        }
        self.theirs.renew(vcpu, self.ours.base(vcpu));
        let direct = std::mem::take(&mut self.manuals[v].direct);
        self.queues[v].retain(|vector| direct.contains(vector));
        self.manuals[v] = Manual {
            direct,
            ..Manual::default()
        };
        self.astray[v] = Astray::default();
    }

    pub(super) fn compare_base(&mut self, vcpu: u32) -> Step {
        let before = self.before(vcpu, None);
        let pair = (
            Value::Number(self.theirs.base(vcpu)),
            Value::Number(self.ours.base(vcpu)),
        );
        self.check(|_| {}, What::Base, vcpu, &before, pair)
    }

    pub(super) fn access(&mut self, op: &Op) -> Step {
        let vcpu = op.vcpu().expect("an access is a vCPU's");
        let access = op.access().expect("an access is to a register");
        let before = self.before(vcpu, Some(access));
        let timer_was_due = self.timer_is_due(vcpu);
        let (theirs, ours) = match *op {
            Op::Read { offset, bytes, .. } => (
                self.theirs.read(vcpu, offset, bytes),
                self.ours.read(vcpu, offset, bytes),
            ),
            Op::Write {
                offset, bytes, value, ..
            } => (
                self.theirs.write(vcpu, offset, bytes, value),
                self.ours.write(vcpu, offset, bytes, value),
            ),
            Op::Rdmsr { msr, .. } => (self.theirs.rdmsr(vcpu, msr), self.ours.rdmsr(vcpu, msr)),
            Op::Wrmsr { msr, value, .. } => (
                self.theirs.wrmsr(vcpu, msr, value),
                self.ours.wrmsr(vcpu, msr, value),
            ),
            _ => unreachable!("access() answers for these only"),
        };
        let what = if access.reg == 0x39 && access.write.is_none() {
            What::Count
        } else {
            What::Answer
        };
        self.compare_answer(vcpu, access, what, &before, (theirs, ours))?;
        if self.ended {
            return Ok(());
        }
        // Both say "done"; what the crate has done is not compared.
        if access.write.is_some()
            && !access.is_plain()
            && before.mode == Mode::Xapic
            && theirs == Answer::Done
        {
            self.note("LA-26");
            self.ended = true;
            return Ok(());
        }
        let done = matches!(ours, Answer::Done | Answer::Ended(_));
        if let Some(value) = access.write.filter(|_| done) {
            self.written(vcpu, access, value, &before)?;
        } else {
            self.nothing_was_sent(vcpu, access, &before)?;
        }
        // It stores what it computes, even if nobody may read the register.
        if access.reg == 0x39 && access.write.is_none() && timer_was_due {
            self.astray[vcpu as usize].timer.get_or_insert("LA-22");
        }
        Ok(())
    }

    /// The answer to a read leads over the rows of the register.
    pub(super) fn compare_answer(
        &mut self,
        vcpu: u32,
        access: Access,
        what: What,
        before: &Before,
        (theirs, ours): (Answer, Answer),
    ) -> Step {
        let current = u64::from(self.manuals[vcpu as usize].timer.current(Self::now()));
        let expected = match ours {
            Answer::Value(_) => Answer::Value(crate::errata::slice(current, access.from, access.bytes)),
            other => other,
        };
        let icr = access.write.filter(|_| access.reg == 0x30);
        let destination = self.ours.register(vcpu, 0x31) >> 24;
        let message = icr.map(|icr| Message::from_icr(vcpu, icr as u32, destination, access.msr));
        let change = |seen: &mut Seen| {
            seen.access = Some(access);
            seen.message = message;
            seen.expected = Some(Value::Answer(expected));
        };
        let mut theirs = theirs;
        if let (What::Answer, Answer::Value(value), Answer::Value(_), true) =
            (what, theirs, ours, access.reg < 0x40)
        {
            // The whole register first, then the part that is read.
            let pair = (Value::Number(value), Value::Number(before.full));
            self.check(change, What::Register(access.reg), vcpu, before, pair)?;
            theirs = Answer::Value(before.full);
        }
        self.check(
            change,
            what,
            vcpu,
            before,
            (Value::Answer(theirs), Value::Answer(ours)),
        )
    }

    /// The library has done it.
    pub(super) fn written(&mut self, vcpu: u32, access: Access, value: u64, before: &Before) -> Step {
        let v = vcpu as usize;
        if !access.msr && (!access.is_plain() || !manual::writable_in_xapic(access.reg)) {
            return self.nothing_was_sent(vcpu, access, before);
        }
        match access.reg {
            0x0b => self.end_of_interrupt(vcpu),
            0x0e => self.astray[v].dfr_written = true,
            0x0f => self.spurious_written(vcpu, value as u32),
            0x28 => self.manuals[v].latched = std::mem::take(&mut self.manuals[v].errors),
            0x2f | 0x32..=0x37 => self.local_vector_written(vcpu, access.reg, value as u32),
            0x38 => self.initial_written(vcpu, value as u32),
            0x3e => self.divide_written(vcpu, value as u32),
            _ => {}
        }
        match access.reg {
            0x30 => {
                let wide = before.mode == Mode::X2apic;
                let destination = if wide {
                    (value >> 32) as u32
                } else {
                    self.ours.register(vcpu, 0x31) >> 24
                };
                self.astray[v].destination_kept = false;
                self.compare_message(before, Message::from_icr(vcpu, value as u32, destination, wide))
            }
            0x3f => self.compare_message(before, Message::from_icr(vcpu, 0x4_0000 | value as u32, 0, true)),
            _ => self.nothing_was_sent(vcpu, access, before),
        }
    }

    pub(super) fn end_of_interrupt(&mut self, vcpu: u32) {
        let v = vcpu as usize;
        match self.manuals[v].in_service.pop_last() {
            Some(vector) if vector < 32 => self.astray[v].stuck |= 1 << vector,
            Some(_) => self.astray[v].ppr = self.theirs.register(vcpu, 0x0a) as u32,
            None => {}
        }
    }

    pub(super) fn spurious_written(&mut self, vcpu: u32, value: u32) {
        let armed = self.is_armed(vcpu);
        let astray = &mut self.astray[vcpu as usize];
        let enables = value & 0x100 != 0;
        if astray.enabled != enables && armed {
            astray.timer.get_or_insert("LA-17");
        }
        if astray.enabled && !enables {
            astray.unmasked = 0;
            astray.masked_expiry = false;
        }
        astray.enabled = enables;
        astray.suppresses = value & 0x1000 != 0;
        astray.svr_written = true;
    }

    /// Nothing reaches anybody, but for the error of a reserved register.
    pub(super) fn nothing_was_sent(&mut self, vcpu: u32, access: Access, before: &Before) -> Step {
        let is_error = before.mode == Mode::Xapic && !access.msr && manual::reserved_in_xapic(access.reg);
        let irr = if is_error { self.ours.irr(vcpu) } else { [0; 8] };
        let pending = self.manuals[vcpu as usize].pending.clone();
        let error = if is_error {
            self.raise_error(vcpu, 0x80, before)
        } else {
            None
        };
        let ours: Interrupts = error
            .filter(|&vector| {
                pending.contains(&vector) || irr[usize::from(vector) / 32] >> (vector & 31) & 1 != 0
            })
            .map(|vector| (vcpu, vector))
            .into_iter()
            .collect();
        let theirs: Interrupts = world(|w| w.injected.iter().copied().collect());
        let pair = (Value::Interrupts(theirs), Value::Interrupts(ours));
        self.check(
            |seen| seen.error_interrupt = error,
            What::Sent,
            vcpu,
            before,
            pair,
        )?;
        self.compare_errors(vcpu, before)
    }

    /// What waits to be latched: seen without a write of the register.
    pub(super) fn compare_errors(&mut self, vcpu: u32, before: &Before) -> Step {
        let expected = Value::Number(u64::from(self.manuals[vcpu as usize].errors));
        let pair = (expected, Value::Number(u64::from(self.ours.errors(vcpu))));
        self.check(|_| {}, What::Answer, vcpu, before, pair)
    }
}
