// SPDX-License-Identifier: Apache-2.0
//! The local APIC, as far as a vCPU shows it, and exits that nobody knows.

use super::*;

pub const ROWS: &[Row] = &[
    // ---- The local APIC, as far as a vCPU shows it
    last("C-02", |c, d| {
        panics(theirs(c), "Invalid APIC register offset") && (of_the_end(d) || is_field(d, &[RAX, RDX, RIP]))
    }),
    last("LA-12", |c, d| {
        matches!(
            *c.step,
            Step::Rdmsr(0x800..=0x8ff) | Step::Wrmsr(0x800..=0x8ff, _)
        ) && takes(ours(c), 13)
            && (of_control_flow(d) || is_field(d, &[RAX, RDX]))
    }),
    row("the end of an edge-triggered interrupt", |c, d| {
        matches!(*c.step, Step::Wrmsr(0x80b, _))
            && d.kind == Kind::Exits
            && d.theirs == "[InterruptEnd(None)]"
            && d.ours == "[]"
    }),
    last("V-05d", |c, d| {
        matches!(*c.step, Step::Mmio { address, .. } if address >> 12 == 0xfee00)
            && (of_an_access(d) || d.kind == Kind::Events)
            && is_field(d, &[RIP])
    }),
    last("V-05", |c, d| {
        matches!(*c.step, Step::Mmio { address, form } if address >> 12 == 0xfee00 && !FORMS[usize::from(form)].write)
            && matches!(d.kind, Kind::Field(number) if number < 16)
    }),
    last("C-04", |c, d| {
        panics(theirs(c), "Illegal index of GeneralRegisters 4") && (of_the_end(d) || is_field(d, &[RIP]))
    }),
    last("V-08", |c, d| {
        matches!(c.step, Step::Reason(_))
            && panics(theirs(c), "Unknown VM-exit reason")
            && (of_the_end(d) || is_field(d, &[RIP]))
    }),
    only(
        Backend::Vmx,
        last("C-19", |c, d| {
            matches!(c.step, Step::Reason(_)) && halts_forever(theirs(c)) && of_the_end(d)
        }),
    ),
];
