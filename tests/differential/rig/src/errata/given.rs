// SPDX-License-Identifier: Apache-2.0
//! What an entry gives the CPU: a register of the guest is for the rows, wherever it is seen; the rest is for the rules
//! of fields.toml.

use super::{Claim, Context, Tally, Then};
use crate::apic::Mode;
use crate::compare::{Difference, Kind};
use crate::fields::Given;
use crate::machine::Backend;

/// Interruptibility, as the guest's that it is.
pub fn shadow(d: &Difference) -> Option<Difference> {
    let (Kind::Given(Given::Word(Backend::Vmx, 0x4824)) | Kind::Given(Given::Word(Backend::Svm, 0x68))) =
        d.kind
    else {
        return None;
    };
    Some(Difference {
        kind: Kind::Field(cpu::field::SHADOW),
        ..d.clone()
    })
}

/// Without the blocking of NMIs: one that an APIC has sent blocks others until IRET, and no sequence has one.
pub fn apart_from_nmi(context: &Context, d: &Difference) -> Option<Difference> {
    const BLOCKING_BY_NMI: u64 = 1 << 3;
    let blocked = context.backend == Backend::Vmx
        && d.kind == Kind::Field(cpu::field::SHADOW)
        && context.apic.nmis > 0
        && !d.values.0 & d.values.1 & BLOCKING_BY_NMI != 0;
    blocked.then(|| Difference {
        values: (d.values.0, d.values.1 & !BLOCKING_BY_NMI),
        ..d.clone()
    })
}

impl Tally {
    pub fn claims_given(&mut self, context: &Context, d: &Difference, given: Given) -> Option<Claim> {
        // From INIT on the one is at the reset vector, or waits, and the other goes on.
        if context.apic.init {
            *self.counts.entry("LA-09, LA-29").or_default() += 1;
            return Some(Claim {
                id: "LA-09, LA-29",
                then: Then::Ends,
            });
        }
        // A local APIC that is turned off has a TPR of 0.
        if given == Given::TaskPriority && context.apic.mode() == Mode::Disabled && d.values.1 == 0 {
            *self.counts.entry("LA-13, V-02, C-20").or_default() += 1;
            return Some(Claim::of("LA-13, V-02, C-20"));
        }
        if let Some(number) = given.register() {
            let kind = Kind::Field(number);
            let row = self.claims(context, &Difference { kind, ..d.clone() });
            if row.is_some() {
                return row;
            }
        }
        let explained = self.given.explains(context.backend, context.features, d);
        explained.then(|| Claim::of("fields.toml"))
    }
}
