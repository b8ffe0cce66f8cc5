// SPDX-License-Identifier: Apache-2.0
//! The local APIC, as far as a vCPU shows it, and exits that nobody knows.

use super::*;

pub const ROWS: &[Row] = &[
    // ---- The local APIC, as far as a vCPU shows it
    last("C-02", |c, d| {
        panics(theirs(c), "Invalid APIC register offset")
            && (of_the_end(d) || is_field(d, &[RAX, RDX, RIP]))
            && match c.step {
                Step::Mmio { .. } => must::goes_on(c, &[]),
                _ => must::faults(c, 13),
            }
    }),
    last("LA-12", |c, d| {
        matches!(
            *c.step,
            Step::Rdmsr(0x800..=0x8ff) | Step::Wrmsr(0x800..=0x8ff, _)
        ) && must::faults(c, 13)
            && (of_control_flow(d) || is_field(d, &[RAX, RDX]))
    }),
    row("the end of an edge-triggered interrupt", |c, d| {
        matches!(*c.step, Step::Wrmsr(0x80b, _))
            && d.kind == Kind::Exits
            && d.theirs == "[InterruptEnd(None)]"
            && d.ours == "[]"
    }),
    last("C-04", |c, d| {
        panics(theirs(c), "Illegal index of GeneralRegisters 4")
            && (of_the_end(d) || is_field(d, &[RIP]))
            && must::goes_on(c, &[])
    }),
    last("V-08", |c, d| {
        matches!(c.step, Step::Reason(_))
            && panics(theirs(c), "Unknown VM-exit reason")
            && (of_the_end(d) || is_field(d, &[RIP]))
            && match c.step {
                Step::Reason(70 | 76 | 77) => must::faults(c, 6), // ENCLV, SEAMCALL, TDCALL
                _ => ours(c).is_some_and(|o| o.failure == Some(Failure::Error("unsupported"))),
            }
    }),
    only(
        Backend::Vmx,
        last("C-19", |c, d| {
            matches!(c.step, Step::Reason(_))
                && halts_forever(theirs(c))
                && of_the_end(d)
                && ours(c)
                    .is_some_and(|o| o.exits.is_empty() && o.failure == Some(Failure::Error("unsupported")))
        }),
    ),
];
