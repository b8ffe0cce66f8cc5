// SPDX-License-Identifier: Apache-2.0
//! Control registers and XCR0.

use super::*;

/// What becomes of an instruction that writes a control register, or of the next entry.
fn of_control(d: &Difference, check: &str) -> bool {
    must::of_instruction(d)
        || matches!(d.kind, Kind::Stopped | Kind::Failure | Kind::Calls)
        || is_field(d, &[CR0, CR4, EFER])
        || complains(d, check)
}

const CR0_RESERVED: u64 = !0xe005_002f; // and ET, which is 1

/// They are 0 here.
fn reserved_bits_of_cr0(d: &Difference) -> bool {
    is_field(d, &[CR0])
        && (d.values.0 ^ d.values.1) & !CR0_RESERVED == 0
        && d.values.1 & CR0_RESERVED == 1 << 4
}

fn reads_reserved_bits_of_cr0(c: &Context, d: &Difference) -> bool {
    match *c.step {
        Step::MovFromCr { number: 0, reg } => {
            is_field(d, &[reg.into()])
                && (d.values.0 ^ d.values.1) & !CR0_RESERVED == 0
                && control::is_read(c, 0, reg)
        }
        _ => false,
    }
}

/// The crate takes MOV CR with a REX prefix for three bytes.
fn one_byte_short(c: &Context, d: &Difference) -> bool {
    let rex = matches!(*c.step, Step::MovToCr { reg, .. } | Step::MovFromCr { reg, .. } if reg > 7);
    rex && is_field(d, &[RIP]) && d.values.0 + 1 == d.values.1 && must::goes_on(c, &[])
}

/// The page of an instruction that the crate decodes, or takes for another, is gone.
fn page_is_gone(c: &Context, d: &Difference) -> bool {
    let constant = feature::NRIPS | feature::DECODE;
    // The register of a MOV from CR is in its code, and so is what is no MOV.
    let decoded = matches!(c.step, Step::MovFromCr { .. } | Step::Clts | Step::Lmsw(_));
    (c.features & constant != constant || decoded)
        && must::faults(c, 14)
        && (of_control(d, "VMRUN: ")
            || matches!(d.kind, Kind::Field(number) if number < RIP || number == CR2))
}

pub const ROWS: &[Row] = &[
    // ---- Control registers
    last("V-04a", |c, d| {
        let checks = [
            "guest EFER.LMA and LME",
            "IA-32e mode guest without PG and PAE",
            "guest CR4",
            "CS",
            "TR type",
        ];
        mov_to_cr(c, 0)
            && c.known[EFER as usize].is_some_and(|(_, ours)| ours & 0x100 == 0)
            && control::is_met(c)
            && fails_check(c, d, &checks)
    }),
    last("V-04b", |c, d| {
        mov_to_cr(c, 0)
            && matches!(*c.step, Step::MovToCr { value, .. } if value >> 31 & 1 == 0)
            && control::is_met(c)
            && fails_check(c, d, &["guest EFER.LMA", "IA-32e mode guest without PG and PAE"])
    }),
    last("V-04d", |c, d| {
        mov_to_cr(c, 0) && control::is_refused(c) && of_control(d, "VM entry: ")
    }),
    row("V-04d", |_, d| reserved_bits_of_cr0(d)),
    row("V-04d", reads_reserved_bits_of_cr0),
    last("V-04e", |c, d| {
        mov_to_cr(c, 4) && control::is_refused(c) && of_control(d, "VM entry: ")
    }),
    row("V-04e", |c, d| match *c.step {
        Step::MovFromCr { number: 4, reg } => {
            is_field(d, &[reg.into()]) && d.values.0 ^ d.values.1 == 1 << 13 && control::is_read(c, 4, reg)
        }
        _ => false,
    }),
    row("V-03", one_byte_short),
    last("S-04a", |c, d| {
        matches!(c.step, Step::Clts | Step::Lmsw(_))
            && control::is_met(c)
            && (of_control(d, "VMRUN: ") || is_field(d, &[CR2]))
    }),
    last("S-04b", |c, d| {
        matches!(*c.step, Step::MovToCr { reg, .. } if reg != 0)
            && c.features & feature::DECODE == 0
            && control::is_met(c)
            && of_control(d, "VMRUN: ")
    }),
    last("S-04c", |c, d| {
        (mov_to_cr(c, 0) || mov_to_cr(c, 4) || matches!(*c.step, Step::Wrmsr(0xc000_0080, _)))
            && control::is_refused(c)
            && of_control(d, "VMRUN: ")
    }),
    row("S-04c", |_, d| reserved_bits_of_cr0(d)),
    row("S-04c", reads_reserved_bits_of_cr0),
    // With S-04a behind it.
    last("S-12", |c, d| {
        matches!(c.step, Step::Clts | Step::Lmsw(_)) && page_is_gone(c, d)
    }),
    row("S-12", page_is_gone),
    last("S-18", |c, d| {
        theirs(c).is_some_and(|o| o.failure == Some(Failure::Error("stuck"))) && of_the_end(d)
    }),
    last("S-04d", |c, d| {
        // The crate drops bits, of which it hides some in CPUID that are shown here.
        mov_to_cr(c, 4) && control::is_met(c) && is_field(d, &[CR4]) && d.values.0 & !d.values.1 == 0
    }),
    row("S-04e", |_, d| complains(d, "VMRUN with CR0.CD")),
    row("S-08", |c, d| {
        c.features & feature::NRIPS == 0 && one_byte_short(c, d)
    }),
    // ---- XCR0
    last("C-01a", |c, d| {
        let kills = |o: &Outcome| matches!(o.failure, Some(Failure::Error("unsupported" | "invalid input")));
        matches!(c.step, Step::Xsetbv { .. })
            && (panics(theirs(c), "XSETBV") || theirs(c).is_some_and(kills))
            && must::faults(c, 13)
            && of_the_end(d)
    }),
    last("C-01b", |c, d| {
        matches!(c.step, Step::Xsetbv { .. })
            && must::faults(c, 13)
            && (of_control_flow(d) || is_field(d, &[XCR0]))
    }),
    last("C-01b", |c, d| {
        matches!(c.step, Step::Xsetbv { .. }) && complains(d, "#GP: XSETBV") && must::faults(c, 13)
    }),
];
