// SPDX-License-Identifier: Apache-2.0
//! The library's local APIC beside the Rust crate x86_vlapic 0.5.4: the same operations, the same answers, but
//! for what docs/errata.md describes.

mod errata;
mod host;
mod manual;
mod op;
mod ours;
mod rig;
mod scripted;
mod shrink;
mod theirs;
mod value;

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use crate::errata::{ROWS, SCRIPTED};
use crate::op::generate;
use crate::rig::Counts;

const USAGE: &str = "\
usage: lapic-differential [--operations N] [--first-seed N] [--seed N]

  --operations N   random operations to perform, in sequences (default 1000000)
  --first-seed N   the seed of the first sequence (default 1)
  --seed N         one sequence: prints its operations and the difference, if there is one";

struct Options {
    operations: u64,
    first_seed: u64,
    seed: Option<u64>,
}

fn options() -> Result<Options, String> {
    let mut options = Options {
        operations: 1_000_000,
        first_seed: 1,
        seed: None,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--help" || argument == "-h" {
            println!("{USAGE}");
            std::process::exit(0);
        }
        let number = arguments.next().ok_or(format!("{argument} needs a number"))?;
        let number = number
            .parse()
            .map_err(|_| format!("{argument}: '{number}' is no number"))?;
        match argument.as_str() {
            "--operations" => options.operations = number,
            "--first-seed" => options.first_seed = number,
            "--seed" => options.seed = Some(number),
            _ => return Err(format!("no option '{argument}'")),
        }
    }
    Ok(options)
}

#[derive(Default)]
struct Totals {
    sequences: u64,
    operations: u64,
    compared: u64,
    exempt: u64,
    differences: u64,
}

/// Sequences with a difference that are shown; one fault makes thousands.
const SHOWN: u64 = 3;

fn generated(options: &Options, counts: &mut Counts) -> Totals {
    let mut totals = Totals::default();
    let mut seed = options.first_seed;
    while totals.operations < options.operations && totals.differences < SHOWN {
        let sequence = generate(seed);
        let outcome = rig::run(&sequence, counts);
        totals.sequences += 1;
        totals.operations += outcome.operations as u64;
        totals.compared += outcome.compared;
        totals.exempt += outcome.exempt;
        if let Some(difference) = outcome.difference {
            totals.differences += 1;
            println!(
                "difference: seed {seed}, operation {}: {difference}",
                difference.step
            );
            shrink::show(&sequence);
        }
        seed += 1;
    }
    totals
}

fn replay(seed: u64) -> ExitCode {
    let sequence = generate(seed);
    println!(
        "{} vCPUs, messages through the host: {}",
        sequence.vcpus, sequence.sends
    );
    for (step, op) in sequence.ops.iter().enumerate() {
        println!("{step:4}  {op}");
    }
    let outcome = rig::run(&sequence, &mut Counts::new());
    match outcome.difference {
        None => {
            println!("no difference in {} operations", outcome.operations);
            ExitCode::SUCCESS
        }
        Some(difference) => {
            println!("difference: operation {}: {difference}", difference.step);
            shrink::show(&sequence);
            ExitCode::FAILURE
        }
    }
}

/// First cells of the tables in docs/errata.md, and the whole text.
fn document() -> (Vec<String>, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/errata.md");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let cells = text
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    (cells.map(str::to_owned).collect(), text)
}

fn ids() -> impl Iterator<Item = &'static str> {
    ROWS.iter().map(|row| row.id).chain(SCRIPTED.iter().copied())
}

/// Ids that are in no table: alone in a first cell, or in a list, or in the sentence behind a table.
fn undocumented() -> Vec<&'static str> {
    let (cells, text) = document();
    let known = |id: &str| {
        cells
            .iter()
            .any(|cell| cell.split(", ").any(|name| name == id) || id.contains(' ') && cell.contains(id))
            || text.contains(&format!("({id}: "))
    };
    ids().filter(|id| !known(id)).collect()
}

/// Rows of the document about the crate x86_vlapic that are neither generated nor scripted here.
fn unlisted() -> Vec<String> {
    let (cells, _) = document();
    let documented = cells
        .iter()
        .flat_map(|cell| cell.split(", "))
        .filter(|name| name.starts_with("LA-"));
    documented
        .filter(|name| !ids().any(|id| id == *name))
        .map(str::to_owned)
        .collect()
}

fn print_errata(counts: &Counts) {
    println!("\n{:>10}  {:8} what the crate does", "met", "row");
    for (row, count) in ROWS.iter().zip(counts) {
        let id = if row.id.contains(' ') { "-" } else { row.id };
        println!("{count:>10}  {id:8} {}", row.about);
    }
    println!("\nscripted: {}", SCRIPTED.join(", "));
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("lapic-differential: {error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    // The crate's panics are expected, and compared.
    std::panic::set_hook(Box::new(|info| {
        if info
            .location()
            .is_some_and(|place| place.file().starts_with("src/"))
        {
            eprintln!("{info}");
        }
    }));
    if let Some(seed) = options.seed {
        return replay(seed);
    }
    let mut counts = Counts::new();
    let mut passed = 0;
    let mut failed = 0;
    let mut count = |what: &str, result: Result<(), String>| match result {
        Ok(()) => passed += 1,
        Err(reason) => {
            failed += 1;
            println!("FAILED {what}: {reason}");
        }
    };
    for case in scripted::CASES {
        count(case.name, scripted::run(case));
    }
    for sequence in scripted::SEQUENCES {
        count(sequence.name, scripted::perform(sequence, &mut counts));
    }
    let start = Instant::now();
    let totals = generated(&options, &mut counts);
    let seconds = start.elapsed().as_secs_f64();
    count(
        "generated sequences",
        if totals.differences == 0 {
            Ok(())
        } else {
            Err("differences, see above".into())
        },
    );
    let unmet: Vec<_> = ROWS
        .iter()
        .zip(&counts)
        .filter(|(_, count)| **count == 0)
        .map(|(row, _)| row.about)
        .collect();
    count(
        "every row is met",
        if unmet.is_empty() {
            Ok(())
        } else {
            Err(unmet.join("; "))
        },
    );
    let unknown = undocumented();
    count(
        "docs/errata.md has every row",
        if unknown.is_empty() {
            Ok(())
        } else {
            Err(unknown.join(", "))
        },
    );

    let unlisted = unlisted();
    count(
        "every LA row of docs/errata.md is compared",
        if unlisted.is_empty() {
            Ok(())
        } else {
            Err(unlisted.join(", "))
        },
    );

    print_errata(&counts);
    println!(
        "\n{} sequences, {} operations in {seconds:.1} s ({:.0} per second), {} values compared, {} exempt, {} differences",
        totals.sequences,
        totals.operations,
        totals.operations as f64 / seconds.max(1e-9),
        totals.compared,
        totals.exempt,
        totals.differences
    );
    println!("{passed} passed, {failed} failed");
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
