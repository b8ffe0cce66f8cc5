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
        "C-60",
        "what a register holds after the last instruction that writes it is not compared",
        "switch: no_value_of_the_guest_is_left",
    ),
    elsewhere(
        "C-100",
        "the guest's page tables are not compared",
        "io.ins_marks_the_page_accessed_and_dirty",
    ),
    elsewhere(
        "C-105",
        "no step posts an NMI to the crate's guest",
        "library: nmi_in_the_shadow_of_sti",
    ),
    elsewhere(
        "C-160",
        "a guest that gets into a shadow with TF set has its step pending at once",
        "variants: single_step_survives_an_exit_in_a_shadow",
    ),
    elsewhere(
        "C-101",
        "INIT ends a sequence",
        "save.init_keeps_msrs_and_extended_registers",
    ),
    elsewhere(
        "C-121",
        "no access of a sequence crosses a page",
        "mmio.access_across_pages",
    ),
    elsewhere(
        "C-80",
        "the crate knows four levels only, and the model's host has 5-level paging only when a test asks for it",
        "nested.guest_writes_no_nested_entries",
    ),
    elsewhere(
        "C-83",
        "the model's CPU has 57-bit addresses only when a test asks for them",
        "nested.guest_with_5_levels",
    ),
    elsewhere(
        "C-81",
        "the entry that fails ends the crate's program",
        "nested.addresses_end_with_the_cpus_width",
    ),
    elsewhere(
        "C-70",
        "the model's host is in none of these modes",
        "host_mode: mode_is_accepted_or_named",
    ),
    elsewhere(
        "S-50",
        "the model's host does not change its CR4",
        "svm.machine_check_enable_follows_the_host",
    ),
    elsewhere(
        "C-61",
        "fields.toml has the MSRs; VERW, the return stack and the branch history leave nothing to compare",
        "switch: steps_of_each_cpu",
    ),
    elsewhere(
        "C-71",
        "the host has no breakpoints while the guest's are loaded",
        "svm: debug_registers_are_loaded_under_no_breakpoints",
    ),
    elsewhere(
        "C-73",
        "the model's host has no protection keys",
        "svm: protection_keys_are_off_during_a_run",
    ),
    elsewhere(
        "C-74",
        "slices are shorter here",
        "reset: slice_in_ticks",
    ),
    elsewhere(
        "V-50",
        "the model's TSS has no I/O permission bitmap here",
        "vmx_backend: limit_of_tr_comes_back",
    ),
    elsewhere(
        "V-51",
        "the model's host detects no split locks",
        "vmx_backend: split_lock_is_not_the_guests",
    ),
    elsewhere(
        "V-52",
        "the model is not in SMX operation",
        "vmx_backend: vmx_in_smx_operation",
    ),
    elsewhere(
        "S-51",
        "NMIs do not come between two instructions of the host",
        "svm.nmi_does_not_change_cr2",
    ),
    elsewhere(
        "C-141",
        "no guest of a sequence has x87 errors",
        "library: x87_error_with_ne_clear",
    ),
    elsewhere(
        "C-140",
        "no breakpoint of a sequence is where an access goes",
        "breakpoint: device_access_traps",
    ),
    elsewhere(
        "S-60",
        "no step posts an NMI to the crate's guest",
        "nmi: next_nmi_comes_after_the_iret",
    ),
    elsewhere(
        "V-04f",
        "CLTS, LMSW and MOV to CR3 and CR8 do not exit with the crate's controls",
        "vmx_tables: decodes_cr_access",
    ),
    elsewhere(
        "V-05c",
        "no CPU has these access types yet",
        "vmx_tables: decodes_apic_access",
    ),
    elsewhere(
        "V-09",
        "the crate panics on a stack that is gone, and this program with it",
        "end.vmfail_is_reported",
    ),
    elsewhere(
        "V-10",
        "the model takes no NMI between an exit and the next instruction",
        "vmcs.host_rsp_is_the_callers_stack",
    ),
    elsewhere(
        "V-19",
        "a matter of time, which stands still while the guest runs",
        "end.time_slice_of_a_guest_that_only_exits",
    ),
    elsewhere(
        "V-24",
        "a reference that the language forbids and x86 allows",
        "cpuid.hypervisor_leaves",
    ),
    elsewhere(
        "V-25",
        "about instructions that the model stands in for",
        "end.vmfail_is_reported",
    ),
    elsewhere(
        "S-09c",
        "the manual's CPU reports the size, QEMU's does not",
        "pio: unknown_size_and_segment_are_decoded",
    ),
    elsewhere("S-17", "it stands for C-05 and C-05b", "svm.what_is_intercepted"),
    elsewhere(
        "U-04",
        "a vCPU that moves would overwrite memory of this program",
        "vmcs.host_rsp_is_the_callers_stack",
    ),
    elsewhere("time slice", "see V-19", "end.time_slice_of_a_spinning_guest"),
    elsewhere("task switches", "see V-07b", "end.task_switch_is_unsupported"),
    elsewhere(
        "string I/O",
        "the crate has nothing that the second address could be compared with",
        "io.element_across_two_pages",
    ),
    elsewhere(
        "what the CPU lacks",
        "V-11, V-12 and S-14 are what the crate makes of it",
        "enable.cpu_lacks_what_is_needed",
    ),
    elsewhere(
        "host MSRs",
        "the crate keeps its functions for them to itself",
        "",
    ),
    elsewhere(
        "NMIs and machine checks of the host",
        "see V-06, S-05 and C-05b",
        "event.host_nmi_reaches_the_host",
    ),
];

/// Those that a difference can be exempt by.
fn exempt(backend: Backend) -> BTreeSet<&'static str> {
    let mut ids: BTreeSet<_> = errata::rows()
        .filter(|row| row.is_of(backend))
        .map(|row| row.id)
        .collect();
    ids.extend(
        errata::cpuid_rows()
            .iter()
            .filter(|id| errata::is_of(id, backend)),
    );
    ids.extend(scripted::rows(backend));
    ids.extend(life::rows(backend));
    ids
}

/// Lists how often each was met. How many never were?
pub fn show(backend: Backend, tally: &Tally) -> u64 {
    let mut never = 0;
    for id in exempt(backend) {
        let count = tally.counts.get(id).copied().unwrap_or(0);
        println!("  {id:<40} {count:>9}");
        never += u64::from(count == 0);
    }
    println!("Not on the model:");
    for Elsewhere { id, why, shown_by } in ELSEWHERE {
        let test = if shown_by.is_empty() { "" } else { ": " };
        println!("  {id:<10} {why}{test}{shown_by}");
    }
    never
}

/// A row of one of the tables: its first cell, the ids in that, the whole line.
struct Documented {
    cell: String,
    line: String,
    counts: bool, // the local APIC's are those of tests/differential/lapic
}

impl Documented {
    fn is(&self, id: &str) -> bool {
        self.cell == id || self.cell.split(", ").any(|part| part == id)
    }
}

const TABLES: &[&str] = &[
    "### Both backends",
    "### VT-x",
    "### SVM",
    "### Life cycle",
    "## Differences that are no defects",
];

fn documented(path: &str) -> Vec<Documented> {
    let (mut rows, mut counts) = (Vec::new(), false);
    for line in std::fs::read_to_string(path).unwrap_or_default().lines() {
        if line.starts_with('#') {
            counts = TABLES.contains(&line);
        }
        let Some(rest) = line.strip_prefix("| ") else {
            continue;
        };
        let cell = rest.split(" |").next().unwrap_or("").to_owned();
        if cell != "id" && cell != "what" {
            rows.push(Documented {
                cell,
                line: line.to_owned(),
                counts,
            });
        }
    }
    rows
}

/// The list against docs/errata.md. How much is wrong?
pub fn check(path: &str) -> u64 {
    let rows = documented(path);
    let mut ids = exempt(Backend::Vmx);
    ids.extend(exempt(Backend::Svm));
    let mut wrong = Vec::new();
    for id in &ids {
        if !rows.iter().any(|row| row.is(id)) {
            wrong.push(format!("{path} has no row {id}"));
        }
    }
    for id in rules::ids() {
        if !rows.iter().any(|row| row.is(id)) {
            wrong.push(format!("{path} has no row {id}, which fields.toml names"));
        }
    }
    for Elsewhere { id, shown_by, .. } in ELSEWHERE {
        let row = rows.iter().find(|row| row.is(id));
        if row.is_none() || ids.contains(id) {
            wrong.push(format!(
                "{id} of ELSEWHERE is no row of {path}, or is met all the same"
            ));
        }
        // The table of what is no defect names no tests.
        if row.is_some_and(|row| {
            row.line.contains('`') && !row.line.contains(shown_by) && row.cell.contains('-')
        }) {
            wrong.push(format!("{path} does not name {shown_by} for {id}"));
        }
    }
    // A rule of fields.toml that nothing meets fails of itself.
    let listed = |row: &Documented| {
        ELSEWHERE.iter().any(|e| row.is(e.id))
            || ids.iter().any(|id| row.is(id))
            || rules::ids().into_iter().any(|id| row.is(id))
    };
    for row in rows.iter().filter(|row| row.counts && !listed(row)) {
        wrong.push(format!(
            "nothing here meets {}, and ELSEWHERE has no reason",
            row.cell
        ));
    }
    wrong.iter().for_each(|text| println!("FAIL: {text}"));
    wrong.len() as u64
}
