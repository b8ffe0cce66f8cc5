// SPDX-License-Identifier: Apache-2.0
//! What an MSR is for a guest: SDM Vol. 4, APM appendix A, and docs/errata.md for what is done about it.

use super::*;

#[derive(Clone, Copy)]
pub enum Is {
    /// #GP(0)
    Refused,
    /// Its value; a write is #GP(0).
    Constant(u64),
    /// Its value; a write does nothing.
    Ignored(u64),
    /// It keeps what is written, and has this before. A value that it cannot have is #GP(0).
    Kept(u64, fn(u64) -> bool),
    /// It has the first before, keeps bits of the second, and ignores those of the third. Others are #GP(0).
    Masked(u64, u64, u64),
    /// IA32_DEBUGCTL: reads 0, and takes only what can be taken for 0.
    Debugctl,
    /// It counts on, and a write sets it.
    Counter,
    /// The VMM's.
    Forwarded,
}
use Is::*;

fn anything(_: u64) -> bool {
    true
}

/// SDM 12.11.2.1: UC, WC, WT, WP, WB.
fn is_type(value: u64) -> bool {
    matches!(value & 0xff, 0 | 1 | 4 | 5 | 6)
}

fn types(value: u64) -> bool {
    (0..8).all(|i| is_type(value >> (8 * i)))
}

fn default_type(value: u64) -> bool {
    is_type(value) && value & !0xcff == 0
}

/// The model has 40 bits of physical address.
fn base(value: u64) -> bool {
    is_type(value) && value >> 40 == 0 && value & 0xf00 == 0
}

fn physical_mask(value: u64) -> bool {
    value >> 40 == 0 && value & 0x7ff == 0
}

/// SDM Vol. 4, table 2-2. Fast strings, thermal control, the limit on CPUID, XD disable.
const MISC_ENABLE: u64 = 1 | 1 << 3 | 1 << 22 | 1 << 34;
const BTS_AND_PEBS_UNAVAILABLE: u64 = 1 << 11 | 1 << 12;
const FAST_STRINGS: u64 = 1;
/// Performance monitoring available; SpeedStep, MONITOR, xTPR, turbo.
const OF_HIDDEN_FEATURES: u64 = 1 << 7 | 1 << 16 | 1 << 18 | 1 << 23 | 1 << 38;

/// IBRS, and STIBP, which can be set where IBRS can.
fn spec_ctrl(value: u64) -> bool {
    value & !3 == 0
}

fn nothing(value: u64) -> bool {
    value == 0
}

/// RIPV, EIPV, MCIP.
fn mcg_status(value: u64) -> bool {
    value & !7 == 0
}

/// First, last.
const TABLE: &[(u32, u32, Is)] = &[
    (0x10, 0x10, Counter),
    (0x0, 0x1, Ignored(0)),            // P5_MC_ADDR and _TYPE: no machine checks
    (0x17, 0x17, Constant(0)),         // PLATFORM_ID
    (0x2a, 0x2a, Ignored(0)),          // EBL_CR_POWERON
    (0x33, 0x33, Refused),             // TEST_CTRL
    (0x34, 0x34, Constant(0)),         // SMI_COUNT
    (0x3a, 0x3a, Constant(1)),         // FEATURE_CONTROL: locked, no VMX
    (0x3b, 0x3b, Kept(0, anything)),   // TSC_ADJUST
    (0x48, 0x48, Kept(0, spec_ctrl)),  // SPEC_CTRL: CPUID has IBRS
    (0x4e, 0x4f, Refused),             // PPIN
    (0x79, 0x79, Refused),             // BIOS_UPDT_TRIG
    (0x8b, 0x8b, Ignored(1 << 32)),    // BIOS_SIGN_ID
    (0x8c, 0x8f, Refused),             // SGX
    (0x9b, 0x9e, Refused),             // SMM
    (0xc1, 0xc8, Refused),             // PMC0 to PMC7
    (0xce, 0xce, Constant(0)),         // PLATFORM_INFO
    (0xcf, 0xcf, Refused),             // CORE_CAPABILITIES
    (0xe1, 0xe1, Ignored(0)),          // UMWAIT_CONTROL
    (0xfe, 0xfe, Constant(0x508)),     // MTRRCAP: WC, fixed ranges, eight variable ones
    (0x10a, 0x10b, Refused),           // ARCH_CAPABILITIES, FLUSH_CMD: not in CPUID
    (0x122, 0x122, Refused),           // TSX_CTRL
    (0x140, 0x140, Kept(0, nothing)),  // MISC_FEATURES_ENABLES
    (0x179, 0x179, Constant(0)),       // MCG_CAP: no banks
    (0x17a, 0x17a, Kept(0, mcg_status)),
    (0x17b, 0x17b, Refused),           // MCG_CTL: not in MCG_CAP
    (0x186, 0x18d, Refused),           // PERFEVTSEL
    (0x198, 0x19f, Refused),           // power, clock modulation, thermal
    (
        0x1a0,
        0x1a0,
        Masked(
            FAST_STRINGS | BTS_AND_PEBS_UNAVAILABLE,
            MISC_ENABLE,
            BTS_AND_PEBS_UNAVAILABLE | OF_HIDDEN_FEATURES,
        ),
    ),
    (0x1a6, 0x1a7, Refused), // OFFCORE_RSP
    (0x1c4, 0x1c5, Refused), // XFD
    (0x1d9, 0x1d9, Debugctl),
    (0x1db, 0x1de, Constant(0)), // last branches
    (0x1f2, 0x1f3, Refused),     // SMRR
    (0x250, 0x250, Kept(0, types)),
    (0x258, 0x259, Kept(0, types)),
    (0x268, 0x26f, Kept(0, types)),
    (0x280, 0x29f, Refused), // MC_CTL2
    (0x2ff, 0x2ff, Kept(0, default_type)),
    (0x309, 0x30c, Refused),    // fixed counters
    (0x329, 0x329, Refused),    // PERF_METRICS
    (0x345, 0x345, Refused),    // PERF_CAPABILITIES
    (0x38d, 0x396, Refused),    // performance monitoring
    (0x3f1, 0x3ff, Refused),    // PEBS
    (0x400, 0x47f, Refused),    // banks that there are not
    (0x480, 0x493, Refused),    // VMX
    (0x4c1, 0x4c8, Refused),    // counters
    (0x4d0, 0x4d0, Refused),    // MCG_EXT_CTL
    (0x500, 0x5ff, Refused),    // SGX, Intel PT
    (0x600, 0x6df, Refused),    // debug store, power, branches, CET
    (0x6e0, 0x6e0, Ignored(0)), // TSC_DEADLINE: the local APIC's timer has another mode (SDM 11.5.4.1)
    (0x6e1, 0x6ff, Refused),    // PKRS
    (0x770, 0x777, Refused),    // HWP
    (0x985, 0x98f, Refused),    // user interrupts
    (0xc80, 0xd8f, Refused),    // debug interface, RDT
    (0xd90, 0xd90, Refused),    // BNDCFGS
    (0xd93, 0xd93, Refused),    // PASID
    (0xdb0, 0xdb2, Refused),    // duty cycling
    (0x1200, 0x121f, Refused),  // LBRs
    (0x14ce, 0x14cf, Refused),
    (0x1500, 0x151f, Refused),
    (0x1600, 0x161f, Refused),
    (0xc000_0104, 0xc000_0104, Refused),          // TSC_RATIO
    (0xc001_0000, 0xc001_0007, Refused),          // counters
    (0xc001_0010, 0xc001_0010, Ignored(0)),       // SYSCFG
    (0xc001_0015, 0xc001_0015, Ignored(1 << 24)), // HWCR: the TSC counts at P0
    (0xc001_0016, 0xc001_001d, Ignored(0)),       // IORRs, TOP_MEM
    (0xc001_001f, 0xc001_001f, Ignored(0)),       // NB_CFG
    (0xc001_0020, 0xc001_0020, Refused),          // patch loader
    (0xc001_0055, 0xc001_0055, Ignored(0)),
    (0xc001_0058, 0xc001_0058, Ignored(0)),
    (0xc001_0061, 0xc001_0071, Refused),    // P-states
    (0xc001_0111, 0xc001_011f, Refused),    // SMM, VM_CR, IGNNE, VM_HSAVE_PA
    (0xc001_0130, 0xc001_0132, Refused),    // SEV
    (0xc001_0140, 0xc001_0141, Ignored(0)), // OSVW
    (0xc001_0200, 0xc001_020b, Refused),
    (0xc001_0230, 0xc001_0247, Refused),
    (0xc001_0299, 0xc001_029b, Refused),
    (0xc001_1020, 0xc001_102f, Ignored(0)), // LS_CFG to BU_CFG2
    (0xc001_1030, 0xc001_103f, Refused),    // IBS
];

/// None: the guest has the CPU's own, or the row is another.
pub fn find(index: u32) -> Option<Is> {
    match index {
        // APIC_BASE, PRED_CMD, SYSENTER, PAT; x2APIC; XSS; EFER to TSC_AUX
        0x1b | 0x49 | 0x174..=0x176 | 0x277 | 0x800..=0x8ff | 0xda0 => None,
        0xc000_0080..=0xc000_0084 | 0xc000_0100..=0xc000_0103 => None,
        0x200..=0x20f if index & 1 == 0 => Some(Kept(0, base)),
        0x200..=0x20f => Some(Kept(0, physical_mask)),
        _ => Some(
            TABLE
                .iter()
                .find(|(first, last, _)| (*first..=*last).contains(&index))
                .map_or(Forwarded, |&(_, _, is)| is),
        ),
    }
}

/// The row that says so. None: V-01 or S-01.
pub fn row(index: u32) -> Option<&'static str> {
    match index {
        0xfe | 0x200..=0x20f | 0x250..=0x26f | 0x2ff => Some("MTRRs"),
        0x6e0 => Some("C-13e"),
        0x140 | 0x17a | 0x400..=0x47f => Some("C-102"),
        0x1a0 => Some("C-103"),
        0x48 => Some("C-62"),
        _ => None,
    }
}

/// x86vcpu does what the table says.
pub fn is_met(c: &Context, index: u32, written: Option<u64>) -> bool {
    let Some(is) = find(index) else { return false };
    let reads = |value| must::goes_on(c, &[]) && must::reads(c, value);
    match (is, written) {
        (Refused, _) | (Constant(_), Some(_)) => must::faults(c, 13),
        (Constant(value) | Ignored(value), None) => reads(value),
        (Counter, _) => must::goes_on(c, &[]),
        (Ignored(_), Some(_)) => must::goes_on(c, &[]),
        (Masked(_, kept, ignored), Some(value)) if value & !(kept | ignored) == 0 => must::goes_on(c, &[]),
        (Masked(..), Some(_)) => must::faults(c, 13),
        (Masked(before, kept, _), None) => reads(
            c.history
                .written
                .get(&index)
                .map_or(before, |value| before & !kept | value & kept),
        ),
        (Debugctl, None) => reads(0),
        (Debugctl, Some(value)) if value & !3 == 0 => must::goes_on(c, &[]),
        (Kept(_, valid), Some(value)) if valid(value) => must::goes_on(c, &[]),
        (Debugctl | Kept(..), Some(_)) => must::faults(c, 13),
        // IA32_TSC_ADJUST goes along with the TSC, by how much depends on the time (SDM 18.17.3).
        (Kept(..), None) if index == 0x3b && c.history.written.contains_key(&0x10) => must::goes_on(c, &[]),
        (Kept(before, _), None) => reads(c.history.written.get(&index).copied().unwrap_or(before)),
        (Forwarded, Some(value)) => must::goes_on(c, &[Exit::MsrWrite(index, value)]),
        (Forwarded, None) => {
            let answer = c
                .outcomes
                .map_or(0, |(registers, ..)| crate::compare::data(registers));
            must::goes_on(c, &[Exit::MsrRead(index)]) && must::reads(c, answer)
        }
    }
}
