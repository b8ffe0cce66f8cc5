// SPDX-License-Identifier: Apache-2.0
//! The timers, and the clock that moves them.

use super::*;

impl Rig<'_> {
    pub(super) fn timer_is_due(&self, vcpu: u32) -> bool {
        world(|w| w.theirs.get(&vcpu).is_some_and(|timer| timer.deadline <= w.now))
    }

    /// At either side.
    pub(super) fn is_armed(&self, vcpu: u32) -> bool {
        self.manuals[vcpu as usize].timer.is_armed() || world(|w| w.theirs.contains_key(&vcpu))
    }

    pub(super) fn local_vector_written(&mut self, vcpu: u32, reg: u32, value: u32) {
        let v = vcpu as usize;
        let enabled = self.ours.register(vcpu, 0x0f) & 0x100 != 0;
        let astray = &mut self.astray[v];
        if !enabled && value & 0x1_0000 == 0 {
            astray.unmasked |= 1 << reg;
        } else {
            astray.unmasked &= !(1 << reg);
        }
        if reg == 0x32 {
            self.timer_mode_written(vcpu, value >> 17 & 3);
        }
    }

    pub(super) fn timer_mode_written(&mut self, vcpu: u32, bits: u32) {
        let v = vcpu as usize;
        let now = Self::now();
        let late = self.timer_is_due(vcpu);
        let armed = self.is_armed(vcpu);
        let timer = &mut self.manuals[v].timer;
        let old = timer.mode;
        let mode = match bits {
            0 => TimerMode::OneShot,
            2 => TimerMode::Deadline,
            _ => TimerMode::Periodic,
        };
        let initial = timer.initial;
        timer.set_mode(now, mode);
        let short = mode == TimerMode::Periodic && timer.period() < manual::SHORTEST_REARM;
        let astray = &mut self.astray[v];
        astray.timer_mode_3 = bits == 3;
        if mode == TimerMode::Deadline || old == TimerMode::Deadline {
            astray.initial_kept |= mode != old && (initial != 0 || astray.initial_kept);
            astray.initial_kept |= old == TimerMode::Deadline;
        }
        if !armed {
            return;
        }
        if bits >= 2 || (old == TimerMode::Deadline && mode != old) {
            astray.timer.get_or_insert("LA-28");
        } else if mode != old && late {
            astray.timer.get_or_insert("LA-35");
        } else if mode != old && short {
            astray.timer.get_or_insert("LA-21");
        }
    }

    pub(super) fn initial_written(&mut self, vcpu: u32, value: u32) {
        let v = vcpu as usize;
        let now = Self::now();
        let manual = &mut self.manuals[v].timer;
        if manual.mode == TimerMode::Deadline {
            return;
        }
        manual.write_initial(now, value);
        let astray = &mut self.astray[v];
        astray.initial_kept = false;
        astray.masked_expiry = false;
        astray.timer = if astray.timer_mode_3 && value != 0 {
            Some("LA-28")
        } else if manual.mode == TimerMode::Periodic && value != 0 && manual.period() < manual::SHORTEST_REARM
        {
            Some("LA-21")
        } else {
            None
        };
    }

    pub(super) fn divide_written(&mut self, vcpu: u32, value: u32) {
        let v = vcpu as usize;
        let armed = self.is_armed(vcpu);
        self.manuals[v].timer.write_divide(Self::now(), value);
        if armed {
            self.astray[v].timer.get_or_insert("LA-20");
        }
    }

    pub(super) fn clock(&mut self, ns: u64) -> Step {
        let until = Self::now() + ns;
        let mut calls = 0;
        loop {
            let due = world(|w| {
                let ours = w.ours.iter().map(|(&vcpu, timer)| (timer.deadline, vcpu));
                let theirs = w.theirs.iter().map(|(&vcpu, timer)| (timer.deadline, vcpu));
                ours.chain(theirs)
                    .min()
                    .filter(|&(deadline, _)| deadline <= until)
            });
            let Some((deadline, vcpu)) = due else { break };
            if calls == MOST_CALLS {
                self.ended = true;
                return Ok(());
            }
            calls += 1;
            world(|w| w.now = w.now.max(deadline));
            self.fire(vcpu)?;
        }
        world(|w| w.now = w.now.max(until));
        Ok(())
    }

    /// The host's timers of a vCPU that are due, and the look at what they did.
    pub(super) fn fire(&mut self, vcpu: u32) -> Step {
        let v = vcpu as usize;
        let now = Self::now();
        let late = world(|w| w.theirs.get(&vcpu).is_some_and(|timer| timer.deadline < now));
        world(|w| w.notified.clear());
        host::fire_theirs(vcpu);
        let ours = host::fire_ours(vcpu);
        if ours {
            self.manuals[v].timer.fire(now);
        }
        if late && self.manuals[v].timer.mode == TimerMode::Periodic {
            self.astray[v].timer.get_or_insert("LA-35");
        }
        let before = self.before(vcpu, None);
        let told: Interrupts = ours.then_some((vcpu, 0)).into_iter().collect();
        let notified = world(|w| w.notified.iter().map(|&id| (id, 0)).collect());
        self.check(
            |_| {},
            What::Kicks,
            vcpu,
            &before,
            (Value::Interrupts(told), Value::Interrupts(notified)),
        )?;
        self.compare_host_timer(vcpu)?;
        self.look(vcpu)
    }

    pub(super) fn compare_host_timer(&mut self, vcpu: u32) -> Step {
        let before = self.before(vcpu, None);
        let (theirs, ours, leaked) = world(|w| {
            let theirs = w.theirs.get(&vcpu).map(|timer| timer.deadline);
            (
                theirs,
                w.ours.get(&vcpu).map(|timer| timer.deadline),
                std::mem::take(&mut w.leaked_timers),
            )
        });
        let expected = Value::Time(self.manuals[vcpu as usize].timer.host);
        let pair = (Value::Time(theirs), Value::Time(ours));
        self.check(
            |seen| seen.expected = Some(expected),
            What::HostTimer,
            vcpu,
            &before,
            pair,
        )?;
        let pair = (Value::Number(0), Value::Number(u64::from(leaked)));
        self.check(|_| {}, What::HostTimer, vcpu, &before, pair)
    }
}
