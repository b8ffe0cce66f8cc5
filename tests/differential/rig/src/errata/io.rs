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

pub const ROWS: &[Row] = &[
    // ---- Ports
    row("C-09b", |c, d| {
        matches!(c.step, Step::In { width: 1 | 2, .. }) && is_field(d, &[RAX]) && access::in_is_merged(c)
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
    row("C-12b", |c, d| {
        mmio(c).is_some_and(|name| {
            name.starts_with("movzx")
                || name.starts_with("movsx")
                || name.starts_with("xchg")
                || name.contains("cs:")
        }) && only_faults(theirs(c))
            && must::of_access(d)
            && access::memory(c)
    }),
];
