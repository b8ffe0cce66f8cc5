// SPDX-License-Identifier: Apache-2.0
//! Every row of docs/errata.md is met here, or stands in a list with the reason why no sequence on the model shows it.

use std::collections::BTreeSet;

use crate::errata::{self, Tally};
use crate::machine::Backend;
use crate::rules;
use crate::{life, scripted};

struct Elsewhere {
    id: &'static str,
    why: &'static str,
    shown_by: &'static str,
}

const fn elsewhere(id: &'static str, why: &'static str, shown_by: &'static str) -> Elsewhere {
    Elsewhere { id, why, shown_by }
}

const ELSEWHERE: &[Elsewhere] = &[
    elsewhere(
        "C-01e",
        "the manuals' CPU checks the CPL before XSETBV exits, Bochs' does not",
        "xcr.user_mode_is_gp",
    ),
    elsewhere("C-08", "it stands for V-01 and S-01", ""),
    elsewhere(
        "C-15",
        "the guest has no code: registers of x87, SSE and AVX are this program's",
        "state.two_guests_do_not_see_each_other",
    ),
    elsewhere(
        "C-100",
        "the guest's page tables are not compared",
        "io.ins_marks_the_page_accessed_and_dirty",
