// SPDX-License-Identifier: Apache-2.0
//! MSRs.

use super::*;

/// How the access ended, and what it brought.
fn of_answer(d: &Difference) -> bool {
    must::of_instruction(d) || is_field(d, &[RAX, RDX])
}

fn by_rule(c: &Context) -> bool {
    msr(c).is_some_and(|(index, written)| msr_table::is_met(c, index, written))
}

/// The crate's guest has the host's MSR, and this one what the table says.
fn by_table(c: &Context, d: &Difference, row: Option<&str>) -> bool {
    let Some((index, _)) = msr(c) else { return false };
    let debugctl = index == 0x1d9 && is_field(d, &[DEBUGCTL]) && d.values.1 == 0;
    msr_table::row(index) == row
        && native(theirs(c))
        && !native(ours(c))
        && by_rule(c)
        && (of_answer(d) || debugctl || d.kind == Kind::TheirHost)
}

/// What the guest wrote last, or what a reset leaves there (SDM table 10-1).
fn has_its_own(c: &Context, index: u32, reset: u64) -> bool {
    let value = c.history.written.get(&index).copied().unwrap_or(reset);
    must::goes_on(c, &[]) && must::reads(c, value)
}

/// The bootstrap processor's flag stays (SDM 12.4.4).
fn has_its_apic_base(c: &Context) -> bool {
    const BSP: u64 = 1 << 8;
    let value = c.history.written.get(&0x1b).copied().unwrap_or(0xfee0_0800);
    let bsp = if c.apic.id == 0 { BSP } else { 0 };
    must::goes_on(c, &[]) && must::reads(c, value & !BSP | bsp)
}

pub const ROWS: &[Row] = &[
    // ---- MSRs
    last("V-02", |c, d| {
        matches!(*c.step, Step::Wrmsr(0x1b, _))
            && panics(theirs(c), "MSR_WRITE, error BadState")
            && must::faults(c, 13)
            && (of_the_end(d) || is_field(d, &[RIP]))
    }),
    row("LA-13", |c, d| {
        matches!(*c.step, Step::Wrmsr(0x1b, _)) && must::faults(c, 13) && of_control_flow(d)
    }),
    row("LA-13", |c, d| {
        matches!(c.step, Step::Rdmsr(0x1b)) && is_field(d, &[RAX, RDX]) && has_its_apic_base(c)
    }),
    row("MTRRs", |c, d| by_table(c, d, Some("MTRRs"))),
    row("C-62", |c, d| by_table(c, d, Some("C-62"))),
    row("C-13e", |c, d| by_table(c, d, Some("C-13e"))),
    row("C-102", |c, d| by_table(c, d, Some("C-102"))),
    row("C-103", |c, d| by_table(c, d, Some("C-103"))),
    row("V-01", |c, d| by_table(c, d, None)),
    row("S-01", |c, d| by_table(c, d, None)),
    last("S-01", |_, d| complains(d, "VMRUN without a host save area")),
    row("C-16", |c, d| {
        matches!(c.step, Step::Wrmsr(0xc000_0103, _)) && host_changes(d, &["MSR.c0000103"])
    }),
    row("C-16", |c, d| {
        matches!(c.step, Step::Rdmsr(0xc000_0103))
            && is_field(d, &[RAX])
            && native(theirs(c))
            && native(ours(c))
            && has_its_own(c, 0xc000_0103, 0)
    }),
    row("C-21", |c, d| {
        matches!(c.step, Step::Rdmsr(0x277))
            && is_field(d, &[RAX, RDX])
            && has_its_own(c, 0x277, 0x0007_0406_0007_0406)
    }),
    row("guest TSC", |c, d| {
        matches!(c.step, Step::Rdmsr(0x10)) && is_field(d, &[RAX, RDX])
    }),
    row("C-09", |c, d| {
        forwards(theirs(c)) && forwards(ours(c)) && by_rule(c) && of_answer(d)
    }),
    only(
        Backend::Vmx,
        row("MSRs that nobody names", |c, d| {
            forwards(theirs(c)) && !forwards(ours(c)) && by_rule(c) && of_answer(d)
        }),
    ),
];
