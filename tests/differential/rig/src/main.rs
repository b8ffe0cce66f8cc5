// SPDX-License-Identifier: Apache-2.0
//! Upstream's crate and the C library on one model of the CPU. tests/differential/run calls it.

mod accounts;
mod apic;
mod asked;
mod compare;
mod cpus;
mod errata;
mod fields;
mod generate;
mod history;
mod life;
mod machine;
mod manual;
mod rules;
mod scripted;
mod scripted_vcpu;
mod shown;
mod side;
mod step;
mod vcpus;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;

use compare::{Case, Unexplained, run_case};
use errata::Tally;
use machine::Backend;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

const USAGE: &str = "\
usage: differential [--backend vmx|svm] [--exits N] [--sequences N] [--seed S] [--errata FILE] [--survey] [--quick]

Runs the scripted cases, then sequences at random until there were N exits. --seed is the first sequence's; the
next one's is one more. --errata is docs/errata.md: it must have every row that a difference is exempt by. --survey
lists every kind of difference that no row describes, without making a case smaller. --quick stops at the first
difference as it is.";

#[derive(Clone)]
struct Options {
    backend: Backend,
    exits: u64,
    sequences: u64,
    seed: u64,
    errata: Option<String>,
    fields: String,
    survey: bool,
    quick: bool,
}

fn options() -> Option<Options> {
    let mut options = Options {
        backend: Backend::Vmx,
        exits: 20_000,
        sequences: u64::MAX,
        seed: 1,
        errata: None,
        fields: concat!(env!("CARGO_MANIFEST_DIR"), "/../fields.toml").into(),
        survey: false,
        quick: false,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--survey" {
            options.survey = true;
            continue;
        }
        if argument == "--quick" {
            options.quick = true;
            continue;
        }
        let value = arguments.next()?;
        match argument.as_str() {
            "--backend" => {
                options.backend = if value == "svm" {
                    Backend::Svm
                } else {
                    Backend::Vmx
                }
            }
            "--exits" => options.exits = value.parse().ok()?,
            "--sequences" => options.sequences = value.parse().ok()?,
            "--seed" => options.seed = value.parse().ok()?,
            "--errata" => options.errata = Some(value),
            "--fields" => options.fields = value,
            _ => return None,
        }
    }
    Some(options)
}

fn show(end: &Unexplained) {
    println!("  at {}", end.step);
    for difference in &end.differences {
        println!("    {difference}");
    }
}

/// The last operations of both in the step that differs.
fn show_traces(end: &Unexplained) {
    for (name, trace) in ["upstream", "x86vcpu"].iter().zip(&end.traces) {
        println!("  {name} executed, at the end:");
        for line in &trace[trace.len().saturating_sub(40)..] {
            println!("      {line}");
        }
    }
}

// ---- Scripted cases ----------------------------------------------------------------------------------------

fn run_scripts(backend: Backend, tally: &mut Tally) -> (u64, u64) {
    let (mut passed, mut failed) = (0, 0);
    let through_the_host = cpus::scripts_without_regions()
        .into_iter()
        .map(|script| (script, false));
    let scripts = scripted::scripts().into_iter().chain(cpus::scripts());
    let scripts = scripts
        .map(|script| (script, true))
        .chain(through_the_host)
        .filter(|(script, _)| script.backend.is_none_or(|only| only == backend))
        .map(|(script, memory)| {
            let case = script.case();
            (script.name, Case { memory, ..case })
        });
    for (name, case) in scripts.chain(scripted_vcpu::cases()) {
        match run_case(backend, &case, true, tally) {
            Ok(_) => passed += 1,
            Err(end) => {
                failed += 1;
                println!("FAIL {backend:?}: {name}");
                show(&end);
            }
        }
    }
    let (good, bad, met) = life::run(backend);
    passed += good;
    failed += bad;
    for row in met {
        *tally.counts.entry(row).or_default() += 1;
    }
    for after in 0..12 {
        match compare::run_out_of_memory(backend, after, tally) {
            Ok(()) => passed += 1,
            Err(end) => {
                failed += 1;
                println!("FAIL {backend:?}: {}", end.step);
                show(&end);
            }
        }
    }
    (passed, failed)
}

// ---- At random -----------------------------------------------------------------------------------------------

/// The sequence that belongs to a seed, whatever ran before it.
fn runner(seed: u64, smaller: u32) -> TestRunner {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        failure_persistence: None,
        max_shrink_iters: smaller,
        ..Config::default()
    };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

fn show_case(case: &Case, seed: u64, backend: Backend) {
    let ram = if case.memory {
        "as a region"
    } else {
        "through the host"
    };
    println!(
        "difference, in {:?} mode, features {:#x}, RAM {ram}, {} vCPUs, the local APIC {}; the fewest steps:",
        case.mode,
        case.features,
        case.vcpus,
        if case.apic { "on" } else { "as at reset" }
    );
    for (step, registers) in &case.steps {
        let Registers {
            gpr,
            rip,
            rflags,
            shadow,
            user,
        } = registers;
        let cpl = if *user { 3 } else { 0 };
        println!("    {step:x?} CPL={cpl} rip={rip:x} rflags={rflags:x} shadow={shadow} gpr={gpr:x?}");
    }
    if let Err(end) = run_case(backend, case, false, &mut Tally::default()) {
        show(&end);
        show_traces(&end);
    }
    println!("  again: tests/differential/run --seed {seed}");
}

use step::Registers;

/// Every kind of unexplained difference once, nothing made smaller: for whoever writes rows.
fn survey(options: &Options) {
    let strategy = generate::case(options.backend);
    let mut seen = BTreeMap::new();
    let mut tally = Tally::default();
    for seed in options.seed..options.seed + options.sequences.min(20_000) {
        let case = strategy
            .new_tree(&mut runner(seed, 0))
            .expect("no strategy rejects")
            .current();
        let Err(end) = run_case(options.backend, &case, false, &mut tally) else {
            continue;
        };
        let what = end.step.split([' ', '(']).next().unwrap_or("").to_owned();
        for difference in end.differences {
            let key = format!(
                "{what} {}",
                difference.to_string().split(':').next().unwrap_or("")
            );
            let entry = seen
                .entry(key)
                .or_insert((0, seed, end.step.clone(), difference.to_string()));
            entry.0 += 1;
        }
    }
    for (key, (count, seed, step, difference)) in seen {
        println!("{count:6} {key} (seed {seed}): {step}\n         {difference}");
    }
}

/// How far sequences go, and what ends them early.
fn show_lengths(totals: &Totals, tally: &Tally) {
    let sequences = totals.sequences.max(1) as f64;
    let early: u64 = tally.endings.values().sum();
    println!(
        "  a sequence has {:.1} steps; {:.0} of 100 end at a row: {}",
        tally.steps as f64 / sequences,
        100.0 * early as f64 / sequences,
        most_frequent(&tally.endings)
    );
}

fn most_frequent(endings: &BTreeMap<String, u64>) -> String {
    let mut list: Vec<_> = endings.iter().collect();
    list.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let list: Vec<_> = list
        .iter()
        .take(8)
        .map(|(id, count)| format!("{id} {count}"))
        .collect();
    list.join(", ")
}

struct Totals {
    sequences: u64,
    exits: u64,
    differences: u64,
}

fn run_random(options: &Options, tally: &mut Tally) -> Totals {
    let strategy = generate::case(options.backend);
    let tally = RefCell::new(tally);
    let most = if options.quick { 1 } else { 5 };
    let mut totals = Totals {
        sequences: 0,
        exits: 0,
        differences: 0,
    };
    while totals.exits < options.exits && totals.sequences < options.sequences && totals.differences < most {
        let seed = options.seed + totals.sequences;
        let mut runner = runner(seed, if options.quick { 0 } else { 1000 });
        let tree = strategy.new_tree(&mut runner).expect("no strategy rejects");
        let exits = RefCell::new(0);
        let result = runner.run_one(tree, |case| {
            match run_case(options.backend, &case, false, &mut tally.borrow_mut()) {
                Ok(count) => {
                    *exits.borrow_mut() = count;
                    Ok(())
                }
                Err(end) => Err(TestCaseError::fail(end.step)),
            }
        });
        if let Err(TestError::Fail(_, case)) = result {
            show_case(&case, seed, options.backend);
            totals.differences += 1;
        }
        totals.exits += exits.into_inner();
        totals.sequences += 1;
    }
    totals
}

fn run(options: &Options) -> u64 {
    let mut tally = Tally::default();
    let begin = Instant::now();
    // A single sequence is somebody's who looks for something.
    let (passed, mut failed) = if options.sequences == 1 {
        (0, 0)
    } else {
        run_scripts(options.backend, &mut tally)
    };
    let random = Options {
        exits: if options.quick && failed != 0 {
            0
        } else {
            options.exits
        },
        ..options.clone()
    };
    let totals = run_random(&random, &mut tally);
    let rate = totals.exits as f64 / begin.elapsed().as_secs_f64();
    println!(
        "{:?}, {}: {passed} scripted cases, {} sequences, {} exits, {rate:.0} exits/s, {} differences",
        options.backend,
        library::BUILD,
        totals.sequences,
        totals.exits,
        totals.differences
    );
    show_lengths(&totals, &tally);
    // The scripts meet most rows and rules; chance takes some time for the rest.
    let all_must_be_met = totals.exits >= 10_000;
    let never = accounts::show(options.backend, &tally);
    let unmet = tally.given.show(options.backend, all_must_be_met);
    if all_must_be_met && never != 0 {
        println!("FAIL: {never} rows were never met");
        failed += 1;
    }
    if all_must_be_met && unmet != 0 {
        println!(
            "FAIL: {unmet} rules of {} were not met, or not wholly",
            options.fields
        );
        failed += 1;
    }
    if let Some(path) = &options.errata {
        failed += accounts::check(path);
    }
    failed += totals.differences;
    println!(
        "{} passed, {failed} failed",
        passed + totals.sequences - totals.differences
    );
    failed
}

fn main() -> ExitCode {
    let Some(options) = options() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    if unsafe { cpu::model_trap_install() } != 0 {
        eprintln!("differential: no handlers for signals");
        return ExitCode::FAILURE;
    }
    if let Err(error) = rules::load(&options.fields) {
        eprintln!("differential: {error}");
        return ExitCode::FAILURE;
    }
    side::quiet_panics();
    library::prepare();
    if options.survey {
        survey(&options);
        return ExitCode::SUCCESS;
    }
    if run(&options) == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
