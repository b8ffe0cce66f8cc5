// SPDX-License-Identifier: Apache-2.0
//! Ports and device memory.

use super::*;

/// The guest's code has no page any more.
fn pages_are_gone(c: &Context) -> bool {
    const PSE: u64 = 1 << 4;
    const PAE: u64 = 1 << 5;
    let bit = if c.mode == Mode::Paged { PSE } else { PAE };
    ours(c).is_some_and(|o| o.fields[CR4 as usize] & bit == 0) && must::faults(c, 14)
}

/// A string's address outside 64-bit mode does not wrap.
fn beyond_4g(outcome: Option<&Outcome>) -> bool {
    outcome.is_some_and(|o| {
        let high = |exit: &Exit| matches!(exit, Exit::PortString { gpa, .. } if gpa >> 32 != 0);
        o.exits.iter().any(high) || o.failure == Some(Failure::Error("invalid data"))
    })
}

pub const ROWS: &[Row] = &[
    last("S-09b", |c, d| {
        svm(c) && c.mode != Mode::Long && beyond_4g(theirs(c)) && !beyond_4g(ours(c)) && of_the_end(d)
    }),
    // ---- Ports
    row("C-09b", |c, d| {
        is_field(d, &[RAX])
            && match *c.step {
                Step::In { width: 1 | 2, .. } => access::in_is_merged(c),
                Step::PortByte {
                    width: 1 | 2,
                    out: false,
                    ..
                } => access::in_is_merged(c),
                _ => false,
            }
    }),
    last("C-10", |c, d| {
        legacy_paging(c)
            && theirs(c).is_some_and(|o| o.failure == Some(Failure::Error("unsupported")))
            && of_the_end(d)
            && (access::elements(c) || pages_are_gone(c))
    }),
    // ---- Device memory
    row("C-10", |c, d| {
        mmio(c).is_some()
            && legacy_paging(c)
            && only_faults(theirs(c))
            && (must::of_access(d) || is_field(d, &[CR2]))
            && (access::memory(c) || pages_are_gone(c))
    }),
    row("C-120", |c, d| {
        mmio(c).is_some_and(|name| name.starts_with("xchg") || name.starts_with("or "))
            && only_faults(theirs(c))
            && (must::of_access(d) || is_field(d, &[RFLAGS]) && access::or_sets_flags(c))
            && access::memory(c)
    }),
    row("C-12b", |c, d| {
        mmio(c).is_some_and(|name| {
            name.starts_with("movzx")
                || name.starts_with("movsx")
                || name.contains("cs:")
        }) && only_faults(theirs(c))
            && must::of_access(d)
            && access::memory(c)
    }),
];
