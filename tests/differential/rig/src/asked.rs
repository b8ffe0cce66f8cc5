// SPDX-License-Identifier: Apache-2.0
//! What the two ask of their host, as far as the answer may matter to it or to its guest: frames, guest memory, clock.
//!
//! phys_to_virt is not among it: a pure function of the host's, which the one calls when it wants a pointer and the other
//! keeps pointers. Nor is current_cpu, which only the library asks. What the host is told, interrupts, is in
//! Outcome::calls, in order.

use std::cell::RefCell;
use std::collections::BTreeSet;

use crate::compare::Difference;
use crate::fields::{Given, difference};
use crate::rules::Value;
use crate::step::{DIRECTORY_POINTERS, PML4};

const TABLES_END: u64 = DIRECTORY_POINTERS + 0x1000;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Frames taken (more than 0) and given back, call by call; and the alignment.
    pub frames: Vec<(i64, u64)>,
    /// Pages that read_guest was called for: how many bytes at a time is a library's own business.
    pub pages: BTreeSet<u64>,
    pub ticks: Vec<u64>,
    /// Upstream has no such call: it executes RDMSR.
    pub msrs: BTreeSet<u32>,
}

thread_local! {
    static ASKED: RefCell<Asked> = RefCell::default();
}

pub fn note(how: impl FnOnce(&mut Asked)) {
    ASKED.with(|asked| how(&mut asked.borrow_mut()));
}

pub fn take() -> Asked {
    ASKED.with(|asked| std::mem::take(&mut *asked.borrow_mut()))
}

/// When it was asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// From nothing to so many vCPUs, of which the first is bound.
    Begin(u32),
    /// With the guest's RAM as a region, or through the host; where the step's instruction was; whether it is one of
    /// those that EXITINFO1 tells little of.
    Run {
        region: bool,
        rip: u64,
        cr: bool,
    },
    Aside,
}

/// What was read of the guest: its code, its page tables, others by their address.
fn kinds(asked: &Asked, rip: u64) -> String {
    let kind = |&page: &u64| match page {
        _ if page == rip & !0xfff || page == (rip + 14) & !0xfff => "code".to_owned(),
        // Without PSE an entry of the page directory for the first 4 MiB points to page 0, and so does a CR3 that was
        // never loaded.
        0 | PML4..TABLES_END => "tables".to_owned(),
        _ => format!("{page:#x}"),
    };
    let kinds: BTreeSet<_> = asked.pages.iter().map(kind).collect();
    match kinds.is_empty() {
        true => "none".into(),
        false => kinds.into_iter().collect::<Vec<_>>().join(" "),
    }
}

/// What the region has.
fn within(asked: &Asked) -> Asked {
    let mut asked = asked.clone();
    asked.pages.retain(|&page| page < cpu::MODEL_GUEST_SIZE as u64);
    asked
}

pub fn compare(theirs: &Asked, ours: &Asked, when: When, found: &mut Vec<Difference>) {
    let mut one = |what: &'static str, theirs: String, ours: String| {
        if theirs != ours {
            let mut d = difference(Given::Asked(what), (Value::Number(0), Value::Number(0)));
            (d.theirs, d.ours) = (theirs, ours);
            found.push(d);
        }
    };
    let taken = |asked: &Asked| asked.frames.iter().map(|f| f.0).sum::<i64>().to_string();
    let list = |values: Vec<u64>| match values.is_empty() {
        true => "none".to_owned(),
        false => values
            .iter()
            .map(|v| format!("{v:#x}"))
            .collect::<Vec<_>>()
            .join(" "),
    };
    // The second vCPU takes what the first has taken.
    if when == When::Begin(2) {
        return;
    }
    if when == When::Begin(1) {
        one("frames for a CPU and a vCPU", taken(theirs), taken(ours));
    } else {
        one(
            "frames",
            format!("{:?}", theirs.frames),
            format!("{:?}", ours.frames),
        );
    }
    match when {
        // Upstream reads what regions have all the same; the library must not.
        When::Run {
            region: true, rip, ..
        } => one("read_guest, a region", "none".into(), kinds(&within(ours), rip)),
        When::Run { rip, cr, .. } => {
            let what = if cr {
                "read_guest for an access to CR"
            } else {
                "read_guest"
            };
            one(what, kinds(theirs, rip), kinds(ours, rip));
        }
        _ => one("read_guest", kinds(theirs, 0), kinds(ours, 0)),
    }
    one(
        "nanos_to_ticks",
        list(theirs.ticks.clone()),
        list(ours.ticks.clone()),
    );
    let msrs = |asked: &Asked| list(asked.msrs.iter().map(|&msr| msr.into()).collect());
    one("read_msr", msrs(theirs), msrs(ours));
}
