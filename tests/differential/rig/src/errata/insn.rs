// SPDX-License-Identifier: Apache-2.0
//! Instructions that are refused or do nothing, exits that end a vCPU, debug registers, hypercalls.

use super::*;

pub const ROWS: &[Row] = &[
    // ---- Instructions that are refused or do nothing
    row("V-26", |c, d| {
        matches!(c.step, Step::Monitor | Step::Mwait | Step::Wbinvd | Step::Rdpmc)
            && native(theirs(c))
            && of_control_flow(d)
    }),
    row("S-02", |c, d| {
        matches!(
            c.step,
            Step::Invd | Step::Monitor | Step::Mwait | Step::Wbinvd | Step::Rdpmc
        ) && native(theirs(c))
            && of_control_flow(d)
    }),
    row("S-03", |c, d| {
        halts_forever(theirs(c))
            && takes(ours(c), 6)
            && !matches!(c.step, Step::Refused(_))
            && of_control_flow(d)
    }),
    last("S-07", |c, d| {
        matches!(c.step, Step::Refused(5)) && takes(ours(c), 6) && of_control_flow(d)
    }),
    row("S-07", |c, d| {
        matches!(c.step, Step::Refused(_)) && takes(ours(c), 6) && of_control_flow(d)
    }),
    row("S-05", |c, d| {
        matches!(c.step, Step::HostNmi) && halts_forever(theirs(c)) && of_control_flow(d)
    }),
    row("S-15", |c, d| {
        matches!(c.step, Step::Pause) && d.kind == Kind::Exits && d.theirs == "[Timer]"
    }),
    row("S-19", |c, d| {
        matches!(c.step, Step::Rdtsc) && d.kind == Kind::Exits && d.theirs == "[Timer]"
    }),
    only(
        Backend::Svm,
        row("host interrupt on SVM", |c, d| {
            matches!(c.step, Step::HostInterrupt(_))
                && d.kind == Kind::Exits
                && d.theirs == "[Timer]"
                && d.ours == "[]"
        }),
    ),
    row("V-07", |c, d| {
        matches!(c.step, Step::Invd | Step::Refused(_)) && halts_forever(theirs(c)) && of_control_flow(d)
    }),
    last("V-07b", |c, d| {
        matches!(c.step, Step::TripleFault | Step::TaskSwitch) && halts_forever(theirs(c)) && of_the_end(d)
    }),
    last("V-22", |c, d| {
        matches!(c.step, Step::BadEntry) && d.kind == Kind::Exits && d.theirs == "[FailEntry(0)]"
    }),
    row("guest TSC", |c, d| {
        matches!(c.step, Step::Rdtsc) && is_field(d, &[RAX, RDX])
    }),
    row("C-14", |_, d| {
        host_changes(d, &["DR0", "DR1", "DR2", "DR3", "DR6"])
    }),
    row("C-14", |_, d| is_field(d, &[DR0, DR1, DR2, DR3, DR6])),
    row(
        "C-14",
        |c, d| matches!(*c.step, Step::MovFromDr { number: 0..=6, reg } if is_field(d, &[reg.into()])),
    ),
    row("C-17", |c, d| {
        matches!(c.step, Step::Hypercall)
            && d.kind == Kind::Exits
            && c.known[RIGHTS as usize + 1].is_none_or(|(_, rights)| rights & 0x2000 == 0)
    }),
];
