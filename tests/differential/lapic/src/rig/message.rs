// SPDX-License-Identifier: Apache-2.0
//! What a message came to: interrupts, signals, kicks.

use super::*;

impl Rig<'_> {
    pub(super) fn compare_message(&mut self, before: &Before, message: Message) -> Step {
        let vcpu = message.sender;
        let mut error = None;
        if message.is_illegal() {
            error = self.raise_error(vcpu, 0x20, before);
        }
        let reached = if message.is_sent() && !message.is_illegal() {
            self.reached(&message, before)
        } else {
            BTreeSet::new()
        };
        let expected: Interrupts = if message.is_fixed() {
            reached.iter().map(|&vcpu| (vcpu, message.vector)).collect()
        } else {
            Interrupts::new()
        };
        let ours = self.our_interrupts(vcpu, before, &expected, error);
        let theirs: Interrupts = world(|w| w.injected.iter().copied().collect());
        let pair = (Value::Interrupts(theirs), Value::Interrupts(ours));
        let change = |seen: &mut Seen| {
            seen.message = Some(message);
            seen.expected = Some(Value::Interrupts(expected.clone()));
            seen.error_interrupt = error;
        };
        self.check(change, What::Sent, vcpu, before, pair)?;
        self.compare_signals(before, &message, &reached)?;
        self.compare_kicks(before, &message, &reached)?;
        self.compare_errors(vcpu, before)?;
        self.accept_all(&message, &expected);
        reached
            .iter()
            .filter(|&&target| target != vcpu)
            .try_for_each(|&target| self.compare_registers(target))
    }

    /// The manual's: lowest priority goes to one of those that listen, in turn among equals.
    pub(super) fn reached(&mut self, message: &Message, before: &Before) -> BTreeSet<u32> {
        let meant: Vec<&Target> = before
            .targets
            .iter()
            .filter(|target| message.is_for(target) && message.is_heard(target))
            .collect();
        if message.delivery != 1 {
            return meant.iter().map(|target| target.id).collect();
        }
        let turn = |target: &&&Target| (target.id + 64 - self.last_arbitrated - 1) % 64;
        let chosen = meant
            .iter()
            .min_by_key(|target| (target.tpr >> 4, turn(target)))
            .map(|target| target.id);
        if let Some(chosen) = chosen {
            self.last_arbitrated = chosen;
        }
        chosen.into_iter().collect()
    }

    /// New in an IRR, or sent through the host. What was in the IRR already may have come again.
    pub(super) fn our_interrupts(
        &self,
        sender: u32,
        before: &Before,
        expected: &Interrupts,
        error: Option<u8>,
    ) -> Interrupts {
        let error = error.map(|vector| (sender, vector));
        let mut set: Interrupts = world(|w| w.sent.iter().copied().collect());
        for id in 0..self.vcpus {
            let old = before.irr[id as usize];
            for (n, bits) in self.ours.irr(id).into_iter().enumerate() {
                for bit in (0..32).filter(|bit| bits >> bit & 1 != 0) {
                    let one = (id, (n * 32 + bit) as u8);
                    let through_host = self.ours.sends && id != sender;
                    let may_be_again = (expected.contains(&one) && !through_host) || error == Some(one);
                    if old[n] >> bit & 1 == 0 || may_be_again {
                        set.insert(one);
                    }
                }
            }
        }
        set
    }

    pub(super) fn compare_signals(
        &mut self,
        before: &Before,
        message: &Message,
        reached: &BTreeSet<u32>,
    ) -> Step {
        let bits = match message.delivery {
            4 => 1,
            5 => 2,
            6 => 4 | u32::from(message.vector) << 8,
            _ => 0,
        };
        let expected: BTreeSet<(u32, u32)> = if bits != 0 {
            reached.iter().map(|&id| (id, bits)).collect()
        } else {
            BTreeSet::new()
        };
        let ours = (0..self.vcpus)
            .map(|id| (id, self.ours.signals(id)))
            .filter(|(_, bits)| *bits != 0)
            .collect();
        let change = |seen: &mut Seen| {
            seen.message = Some(*message);
            seen.expected = Some(Value::Signals(expected.clone()));
        };
        let pair = (Value::Signals(BTreeSet::new()), Value::Signals(ours));
        self.check(change, What::Signals, message.sender, before, pair)
    }

    /// The crate leaves it to inject_interrupt: whoever gets something is told.
    pub(super) fn compare_kicks(
        &mut self,
        before: &Before,
        message: &Message,
        reached: &BTreeSet<u32>,
    ) -> Step {
        let told = |id: u32| {
            if message.is_fixed() {
                id != message.sender && !self.ours.sends
            } else {
                true
            }
        };
        let theirs = reached
            .iter()
            .copied()
            .filter(|&id| told(id))
            .map(|id| (id, 0))
            .collect();
        let ours = world(|w| w.notified.iter().map(|&id| (id, 0)).collect());
        let pair = (Value::Interrupts(theirs), Value::Interrupts(ours));
        self.check(|_| {}, What::Kicks, message.sender, before, pair)
    }

    /// A host that sends brings the interrupts now.
    pub(super) fn accept_all(&mut self, message: &Message, expected: &Interrupts) {
        for &(id, vector) in expected {
            let v = id as usize;
            if self.ours.sends && id != message.sender {
                self.ours.post(id, vector, false);
            }
            self.manuals[v].accept(vector, false);
            self.queue(id, vector);
        }
    }
}
