// SPDX-License-Identifier: Apache-2.0
//! CPUID.

use super::*;

pub const ROWS: &[Row] = &[
    // ---- CPUID
    row("C-13", |c, d| matches!(cpuid(c, d), Some(0xb | 0x1f))),
    row("C-13", |c, d| {
        matches!(cpuid(c, d), Some(1)) && is_field(d, &[RBX])
    }),
    row("C-13b", |c, d| {
        matches!(cpuid(c, d), Some(1)) && is_field(d, &[RCX]) && (d.values.0 ^ d.values.1) >> 27 & 1 == 1
    }),
    row("C-01c", |c, d| {
        matches!(
            *c.step,
            Step::Cpuid {
                leaf: 0xd,
                subleaf: 0
            }
        ) && is_field(d, &[RAX])
            && d.values.0 & !d.values.1 == 0x60000
    }),
    row("CPUID", |c, d| matches!(cpuid(c, d), Some(0x15 | 0x16))),
    row("C-13d", |c, d| cpuid(c, d).is_some()),
];
