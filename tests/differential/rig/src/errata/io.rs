// SPDX-License-Identifier: Apache-2.0
//! Ports and device memory.

use super::*;

pub const ROWS: &[Row] = &[
    // ---- Ports
    row("C-09b", |c, d| {
        matches!(c.step, Step::In { width: 1 | 2, .. }) && is_field(d, &[RAX])
    }),
    last("C-10", |c, d| {
        matches!(c.step, Step::Ins { .. } | Step::Outs { .. })
            && legacy_paging(c)
            && theirs(c).is_some_and(|o| o.failure == Some(Failure::Error("unsupported")))
            && of_the_end(d)
    }),
    // ---- Device memory
    row("C-10", |c, d| {
        mmio(c).is_some()
            && legacy_paging(c)
            && only_faults(theirs(c))
            && (of_an_access(d) || d.kind == Kind::Events || is_field(d, &[CR2]))
    }),
    row("C-12b", |c, d| {
        mmio(c).is_some_and(|name| {
            name.starts_with("movzx")
                || name.starts_with("movsx")
                || name.starts_with("xchg")
                || name.contains("cs:")
        }) && only_faults(theirs(c))
            && of_an_access(d)
    }),
];
