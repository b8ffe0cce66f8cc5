// SPDX-License-Identifier: Apache-2.0
//! The host's own state, the guest's at reset, frames, and CPUs that lack something.

use super::*;

pub const ROWS: &[Row] = &[
    row("C-22", |c, d| {
        c.after_setup && matches!(c.step, Step::Idle) && is_field(d, &[XCR0, KERNEL_GS_BASE, STAR, LSTAR])
    }),
    row("C-24", |c, d| {
        *c.step == Step::OutOfMemory
            && (d.kind == Kind::Frames
                || (d.kind == Kind::Failure && d.theirs.contains("Panic") && d.ours.contains("no memory")))
    }),
    // ---- The host when it is not a plain one
    row("V-14", |c, d| odd_host(c) && host_changes(d, &["CR3"])),
    last("V-16", |c, d| {
        odd_host(c) && fails_check(c, d, &["host selector with TI or RPL"])
    }),
    row("V-16", |c, d| {
        odd_host(c) && host_changes(d, &["DR7", "MSR.1d9", "LDTR", "ES", "DS", "FS", "GS"])
    }),
    last("C-14", |c, d| {
        odd_host(c) && (host_changes(d, &["DR0", "DR6", "DR7"]) || is_field(d, &[DR0, DR7]))
    }),
    // ---- The host and the reset state
    row("C-01d", |_, d| host_changes(d, &["XCR0"])),
    row("V-16", |_, d| {
        host_changes(d, &["GDTR.limit", "IDTR.limit", "LDTR"])
    }),
    row("V-15", |_, d| host_changes(d, &["MSR.174", "MSR.175", "MSR.176"])),
    row("V-21", |_, d| {
        complains(d, "VM entry: field")
            || (complains(d, "VM entry: the") && d.theirs.ends_with("never written"))
    }),
    row("V-04e", |_, d| {
        is_field(d, &[CR4]) && d.values.0 ^ d.values.1 == 1 << 13
    }),
    row("C-01f", |c, d| {
        is_field(d, &[XCR0]) && d.values.1 == 1 && matches!(c.step, Step::Idle)
    }),
    row("C-01f", |c, d| {
        matches!(c.step, Step::Xgetbv) && is_field(d, &[RAX]) && d.values.1 == 1
    }),
    row("C-21", |c, d| is_field(d, &[PAT]) && matches!(c.step, Step::Idle)),
    row("C-16", |_, d| is_field(d, &[TSC_AUX])),
    only(
        Backend::Svm,
        row("host interrupt on SVM", |_, d| {
            d.kind == Kind::LastExit && d.theirs == "Some(Timer)" && d.ours == "Some(Nothing)"
        }),
    ),
    // ---- CPUs that lack something
    last("S-14", |c, d| {
        svm(c) && c.features & feature::FLUSH_ASID == 0 && fails_check(c, d, &["TLB_CONTROL"])
    }),
    row("V-12", |c, d| {
        vmx(c) && complains(d, "INVEPT of type 1") && c.features & feature::INVEPT_SINGLE == 0
    }),
    row("V-12", |c, d| {
        vmx(c) && d.kind == Kind::Failure && c.outcomes.is_none() && c.features & feature::INVEPT_SINGLE == 0
    }),
    row("V-12", |c, d| {
        c.features & feature::EPT_AD == 0 && fails_check(c, d, &["EPTP accessed and dirty flags"])
    }),
    row("V-13", |_, d| complains(d, "TLB: translations of nested table")),
    last("V-11", |c, d| {
        c.features & feature::APICV == 0 && c.outcomes.is_none() && d.kind == Kind::Failure
    }),
];
