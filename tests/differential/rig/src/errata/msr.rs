// SPDX-License-Identifier: Apache-2.0
//! MSRs.

use super::*;

pub const ROWS: &[Row] = &[
    // ---- MSRs
    last("V-02", |c, d| {
        matches!(*c.step, Step::Wrmsr(0x1b, _))
            && panics(theirs(c), "MSR_WRITE, error BadState")
            && (of_the_end(d) || is_field(d, &[RIP]))
    }),
    row("LA-13", |c, d| {
        matches!(*c.step, Step::Wrmsr(0x1b, _)) && takes(ours(c), 13) && of_control_flow(d)
    }),
    row("LA-13", |c, d| {
        matches!(c.step, Step::Rdmsr(0x1b)) && is_field(d, &[RAX, RDX])
    }),
    row("V-01", |c, d| {
        msr(c).is_some()
            && native(theirs(c))
            && !native(ours(c))
            && (of_control_flow(d) || is_field(d, &[RAX, RDX, DEBUGCTL]))
    }),
    row("V-01", |c, d| {
        matches!(c.step, Step::Wrmsr(..)) && native(theirs(c)) && d.kind == Kind::TheirHost
    }),
    row("S-01", |c, d| {
        msr(c).is_some()
            && native(theirs(c))
            && !native(ours(c))
            && (of_control_flow(d) || is_field(d, &[RAX, RDX, DEBUGCTL]))
    }),
    row("S-01", |c, d| {
        matches!(c.step, Step::Wrmsr(..)) && native(theirs(c)) && d.kind == Kind::TheirHost
    }),
    last("S-01", |_, d| complains(d, "VMRUN without a host save area")),
    row("C-16", |c, d| {
        matches!(c.step, Step::Rdmsr(0xc000_0103))
            && is_field(d, &[RAX])
            && native(theirs(c))
            && native(ours(c))
    }),
    row("C-21", |c, d| {
        matches!(c.step, Step::Rdmsr(0x277)) && is_field(d, &[RAX, RDX])
    }),
    row("guest TSC", |c, d| {
        matches!(c.step, Step::Rdmsr(0x10)) && is_field(d, &[RAX, RDX])
    }),
    row("C-09", |c, d| {
        forwards(theirs(c)) && is_field(d, &[RIP]) && Some(d.values.0) == c.outcomes.map(|o| o.0.rip)
    }),
    row("C-09", |c, d| {
        matches!(c.step, Step::Rdmsr(_))
            && forwards(theirs(c))
            && forwards(ours(c))
            && is_field(d, &[RAX, RDX])
    }),
    only(
        Backend::Vmx,
        row("MSRs that nobody names", |c, d| {
            forwards(theirs(c)) && !forwards(ours(c)) && (of_control_flow(d) || is_field(d, &[RAX, RDX]))
        }),
    ),
];
