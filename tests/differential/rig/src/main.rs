// SPDX-License-Identifier: Apache-2.0
//! Upstream's crate and the C library on one model of the CPU. tests/differential/run calls it.

mod compare;
mod errata;
mod generate;
mod machine;
mod side;
mod step;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;

use compare::{Case, run_case};
use machine::Backend;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

struct Options {
    backend: Backend,
    exits: u64,
    sequences: u64,
    seed: u64,
    survey: bool,
}

fn options() -> Option<Options> {
    let mut options = Options { backend: Backend::Vmx, exits: 20_000, sequences: u64::MAX, seed: 1, survey: false };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--survey" {
            options.survey = true;
            continue;
        }
        let value = arguments.next()?;
        match argument.as_str() {
            "--backend" => options.backend = if value == "svm" { Backend::Svm } else { Backend::Vmx },
            "--exits" => options.exits = value.parse().ok()?,
            "--sequences" => options.sequences = value.parse().ok()?,
            "--seed" => options.seed = value.parse().ok()?,
            _ => return None,
        }
    }
    Some(options)
}

/// The sequence that belongs to a seed, whatever ran before it.
fn runner(seed: u64) -> TestRunner {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config { failure_persistence: None, max_shrink_iters: 500, verbose: 0, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

/// Every kind of unexplained difference once, nothing made smaller: for whoever writes rows.
fn survey(options: &Options) {
    let strategy = generate::case(options.backend);
    let mut seen = BTreeMap::new();
    let mut tally = errata::Tally::default();
    for seed in options.seed..options.seed + options.sequences.min(20_000) {
        let case = strategy.new_tree(&mut runner(seed)).expect("no strategy rejects").current();
        if let Err(end) = run_case(options.backend, &case, &mut tally) {
            let what = end.step.split([' ', '(']).next().unwrap_or("").to_owned();
            for difference in end.differences {
                let key = format!("{what} {}", difference.to_string().split(':').next().unwrap_or(""));
                let entry = seen.entry(key).or_insert((0, seed, end.step.clone(), difference.to_string()));
                entry.0 += 1;
            }
        }
    }
    for (key, (count, seed, step, difference)) in seen {
        println!("{count:6} {key} (seed {seed}): {step}\n         {difference}");
    }
}

fn show(case: &Case, seed: u64, backend: Backend) {
    println!("difference, smallest case: {:?} mode, features {:#x}, RAM {}", case.mode, case.features,
        if case.memory { "as a region" } else { "through the host" });
    for (step, registers) in &case.steps {
        println!("    {step:x?} rip={:x} rflags={:x} gpr={:x?}", registers.rip, registers.rflags, registers.gpr);
    }
    let mut tally = errata::Tally::default();
    if let Err(end) = run_case(backend, case, &mut tally) {
        println!("  at {}", end.step);
        for difference in end.differences {
            println!("    {difference}");
        }
    }
    println!("  again: --seed {seed} --sequences 1");
}

fn main() -> ExitCode {
    let Some(options) = options() else {
        eprintln!("usage: differential [--backend vmx|svm] [--exits N] [--sequences N] [--seed S]");
        return ExitCode::from(2);
    };
    if unsafe { cpu::model_trap_install() } != 0 {
        eprintln!("differential: no handlers for signals");
        return ExitCode::FAILURE;
    }
    side::quiet_panics();
    if options.survey {
        survey(&options);
        return ExitCode::SUCCESS;
    }
    let strategy = generate::case(options.backend);
    let tally = RefCell::new(errata::Tally::default());
    let (mut exits, mut sequences, mut differences) = (0, 0, 0);
    let begin = Instant::now();
    while exits < options.exits && sequences < options.sequences {
        let seed = options.seed + sequences;
        let mut runner = runner(seed);
        let tree = strategy.new_tree(&mut runner).expect("no strategy rejects");
        let counted = RefCell::new(0);
        let result = runner.run_one(tree, |case| match run_case(options.backend, &case, &mut tally.borrow_mut()) {
            Ok(exits) => {
                *counted.borrow_mut() = exits;
                Ok(())
            }
            Err(end) => Err(TestCaseError::fail(end.step)),
        });
        if let Err(TestError::Fail(_, case)) = result {
            show(&case, seed, options.backend);
            differences += 1;
            if differences >= 5 {
                break;
            }
        }
        exits += *counted.borrow();
        sequences += 1;
    }
    let seconds = begin.elapsed().as_secs_f64();
    println!(
        "{:?}: {sequences} sequences, {exits} exits, {:.0} exits/s, {differences} differences",
        options.backend,
        exits as f64 / seconds
    );
    for (id, count) in &tally.borrow().counts {
        println!("  {id:<10} {count}");
    }
    if differences == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
