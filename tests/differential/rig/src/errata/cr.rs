// SPDX-License-Identifier: Apache-2.0
//! Control registers and XCR0.

use super::*;

pub const ROWS: &[Row] = &[
    // ---- Control registers
    last("V-04a", |c, d| {
        mov_to_cr(c, 0)
            && c.known[EFER as usize].is_some_and(|(_, ours)| ours & 0x100 == 0)
            && fails_check(
                c,
                d,
                &[
                    "guest EFER.LMA and LME",
                    "IA-32e mode guest without PG and PAE",
                    "guest CR4",
                    "CS",
                    "TR type",
                ],
            )
    }),
    last("V-04b", |c, d| {
        mov_to_cr(c, 0)
            && matches!(*c.step, Step::MovToCr { value, .. } if value >> 31 & 1 == 0)
            && fails_check(c, d, &["guest EFER.LMA", "IA-32e mode guest without PG and PAE"])
    }),
    last("V-04d", |c, d| {
        mov_to_cr(c, 0) && takes(ours(c), 13) && (of_control_flow(d) || is_field(d, &[CR0, EFER]))
    }),
    row("V-04d", |_, d| {
        is_field(d, &[CR0]) && (d.values.0 ^ d.values.1) & 0xe005_002f == 0
    }),
    row("V-04d", |c, d| match *c.step {
        Step::MovFromCr { number: 0, reg } => {
            is_field(d, &[reg.into()]) && (d.values.0 ^ d.values.1) & 0xe005_002f == 0
        }
        _ => false,
    }),
    last("V-04d", |c, d| {
        mov_to_cr(c, 0) && takes(ours(c), 13) && d.kind == Kind::TheirComplaint
    }),
    last("V-04e", |c, d| {
        mov_to_cr(c, 4) && takes(ours(c), 13) && (of_control_flow(d) || is_field(d, &[CR4]))
    }),
    last("V-04e", |c, d| {
        mov_to_cr(c, 4) && takes(ours(c), 13) && d.kind == Kind::TheirComplaint
    }),
    row("V-04e", |c, d| match *c.step {
        Step::MovFromCr { number: 4, reg } => {
            is_field(d, &[reg.into()]) && d.values.0 ^ d.values.1 == 1 << 13
        }
        _ => false,
    }),
    row("V-03", |c, d| {
        matches!(*c.step, Step::MovToCr { reg, .. } if reg > 7)
            && is_field(d, &[RIP])
            && d.values.0 + 1 == d.values.1
    }),
    last("S-04a", |c, d| {
        matches!(c.step, Step::Clts | Step::Lmsw(_))
            && (of_control_flow(d) || is_field(d, &[CR0, CR2, EFER]) || complains(d, "VMRUN: "))
    }),
    last("S-04b", |c, d| {
        matches!(*c.step, Step::MovToCr { reg, .. } if reg != 0)
            && c.features & feature::DECODE == 0
            && (of_control_flow(d) || is_field(d, &[CR0, CR4, EFER]) || complains(d, "VMRUN: "))
    }),
    last("S-04c", |c, d| {
        (mov_to_cr(c, 0) || mov_to_cr(c, 4) || matches!(*c.step, Step::Wrmsr(0xc000_0080, _)))
            && takes(ours(c), 13)
            && (of_control_flow(d) || is_field(d, &[CR0, EFER]) || complains(d, "VMRUN: "))
    }),
    row("S-04c", |_, d| {
        is_field(d, &[CR0]) && (d.values.0 ^ d.values.1) & 0xe005_002f == 0
    }),
    row("S-04c", |c, d| match *c.step {
        Step::MovFromCr { number: 0, reg } => {
            is_field(d, &[reg.into()]) && (d.values.0 ^ d.values.1) & 0x8005_002f == 0
        }
        _ => false,
    }),
    row("S-12", |c, d| {
        let constant = feature::NRIPS | feature::DECODE;
        // The register of a MOV from CR is in its code, and so is that it is no SMSW.
        (c.features & constant != constant || matches!(c.step, Step::MovFromCr { .. }))
            && takes(ours(c), 14)
            && (of_control_flow(d) || matches!(d.kind, Kind::Field(number) if number < RIP || number == CR2))
    }),
    last("S-18", |c, d| {
        theirs(c).is_some_and(|o| o.failure == Some(Failure::Error("stuck"))) && of_the_end(d)
    }),
    last("S-04d", |c, d| mov_to_cr(c, 4) && is_field(d, &[CR4])),
    row("S-04e", |_, d| complains(d, "VMRUN with CR0.CD")),
    row("S-08", |c, d| {
        matches!(*c.step, Step::MovToCr { reg, .. } | Step::MovFromCr { reg, .. } if reg > 7)
            && c.features & feature::NRIPS == 0
            && is_field(d, &[RIP])
            && d.values.0 + 1 == d.values.1
    }),
    // ---- XCR0
    last("C-01a", |c, d| {
        let kills = |o: &Outcome| matches!(o.failure, Some(Failure::Error("unsupported" | "invalid input")));
        matches!(c.step, Step::Xsetbv { .. })
            && (panics(theirs(c), "XSETBV") || theirs(c).is_some_and(kills))
            && of_the_end(d)
    }),
    last("C-01b", |c, d| {
        matches!(c.step, Step::Xsetbv { .. })
            && takes(ours(c), 13)
            && (of_control_flow(d) || is_field(d, &[XCR0]))
    }),
    last("C-01b", |c, d| {
        matches!(c.step, Step::Xsetbv { .. }) && complains(d, "#GP: XSETBV")
    }),
];
