// SPDX-License-Identifier: Apache-2.0
//! Instructions that are refused or do nothing, exits that end a vCPU, debug registers, hypercalls.

use super::*;

/// RDPMC is the CPU's there, and #GP(0) here.
fn counter(c: &Context, d: &Difference) -> bool {
    matches!(c.step, Step::Rdpmc)
        && native(theirs(c))
        && must::faults(c, 13)
        && (must::of_instruction(d) || is_field(d, &[RAX, RDX]))
}

/// The hypercall's arguments are the guest's registers as a program of 32 bits has them.
fn has_32_bits(c: &Context) -> bool {
    let arguments = |o: &Outcome| match o.exits[..] {
        [Exit::Hypercall { nr, args }] => Some((nr, args)),
        _ => None,
    };
    c.outcomes.is_some_and(|(_, theirs, ours)| {
        let cut = arguments(theirs).map(|(nr, args)| (nr & 0xffff_ffff, args.map(|a| a & 0xffff_ffff)));
        cut.is_some() && arguments(ours) == cut && must::exceptions(ours).is_empty()
    })
}

/// What the guest wrote last, or what a reset leaves (SDM table 10-1). Exceptions change the low bits of DR6; bus
/// locks and RTM are bits of it as well.
fn is_the_guests(c: &Context, number: u8, value: u64) -> bool {
    let written = match *c.step {
        Step::MovToDr { number: this, value } if this == number && c.mode == Mode::Long => Some(value),
        Step::MovToDr { number: this, value } if this == number => Some(value & 0xffff_ffff),
        _ => c.history.debug.get(&number).copied(),
    };
    if number == 6 {
        return value & !0x1_e80f == 0xfffe_07f0;
    }
    value == written.unwrap_or(0)
}

pub const ROWS: &[Row] = &[
    // ---- Instructions that are refused or do nothing
    row("MONITOR, MWAIT", |c, d| {
        matches!(c.step, Step::Monitor | Step::Mwait)
            && native(theirs(c))
            && must::faults(c, 6)
            && must::of_instruction(d)
    }),
    row("V-26", counter),
    row("V-26", |c, d| {
        matches!(c.step, Step::Wbinvd) && complains(d, "the guest's WBINVD") && must::goes_on(c, &[])
    }),
    row("S-02", counter),
    row("S-02", |c, d| {
        matches!(c.step, Step::Wbinvd | Step::Invd)
            && (complains(d, "the guest's WBINVD") || complains(d, "the guest's INVD"))
            && (must::goes_on(c, &[]) || must::faults(c, 14))
    }),
    row("S-03", |c, d| {
        halts_forever(theirs(c))
            && !matches!(c.step, Step::Refused(_))
            && must::faults(c, 6)
            && must::of_instruction(d)
    }),
    last("S-07", |c, d| {
        matches!(c.step, Step::Refused(5)) && must::faults(c, 6) && must::of_instruction(d)
    }),
    row("S-07", |c, d| {
        matches!(c.step, Step::Refused(_)) && must::faults(c, 6) && must::of_instruction(d)
    }),
    row("S-05", |c, d| {
        matches!(c.step, Step::HostNmi) && halts_forever(theirs(c)) && must::stays(c) && d.kind == Kind::Exits
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
        halts_forever(theirs(c))
            && must::of_instruction(d)
            && match c.step {
                Step::Invd => must::goes_on(c, &[]),
                Step::Refused(_) => must::faults(c, 6),
                _ => false,
            }
    }),
    last("V-07b", |c, d| {
        halts_forever(theirs(c))
            && of_the_end(d)
            && ours(c).is_some_and(|o| match c.step {
                Step::TripleFault => o.exits == [Exit::Down],
                Step::TaskSwitch | Step::TaskSwitchBy(_) => {
                    o.exits.is_empty() && o.failure == Some(Failure::Error("unsupported"))
                }
                _ => false,
            })
    }),
    last("V-22", |c, d| {
        matches!(c.step, Step::BadEntry)
            && d.kind == Kind::Exits
            && d.theirs == "[FailEntry(0)]"
            && d.ours == "[FailEntry(80000021)]"
    }),
    row("guest TSC", |c, d| {
        matches!(c.step, Step::Rdtsc) && is_field(d, &[RAX, RDX])
    }),
    row("C-14", |_, d| {
        host_changes(d, &["DR0", "DR1", "DR2", "DR3", "DR6"])
    }),
    row("C-14", |c, d| match d.kind {
        Kind::Field(number @ (DR0 | DR1 | DR2 | DR3)) => is_the_guests(c, (number - DR0) as u8, d.values.1),
        Kind::Field(DR6) => is_the_guests(c, 6, d.values.1),
        _ => false,
    }),
    row("C-14", |c, d| match *c.step {
        Step::MovFromDr {
            number: number @ 0..=6,
            reg,
        } => is_field(d, &[reg.into()]) && is_the_guests(c, number, d.values.1) && must::goes_on(c, &[]),
        _ => false,
    }),
    row("C-17", |c, d| {
        matches!(c.step, Step::Hypercall)
            && d.kind == Kind::Exits
            && c.known[RIGHTS as usize + 1].is_none_or(|(_, rights)| rights & 0x2000 == 0)
            && has_32_bits(c)
    }),
];
