// SPDX-License-Identifier: Apache-2.0
//! Makes a sequence with a difference as short as it can be.

use crate::op::{Op, Sequence};
use crate::rig::{self, Counts, Difference};

fn difference_of(sequence: &Sequence) -> Option<Difference> {
    rig::run(sequence, &mut Counts::new()).difference
}

fn with(sequence: &Sequence, ops: Vec<Op>) -> Sequence {
    Sequence { ops, ..*sequence }
}

/// Takes runs of operations out, long ones first, as long as a difference in the same thing stays.
fn without_operations(mut sequence: Sequence, is_it: &impl Fn(&Sequence) -> bool) -> Sequence {
    let mut length = sequence.ops.len().div_ceil(2);
    loop {
        let mut at = 0;
        while at < sequence.ops.len() {
            let end = (at + length).min(sequence.ops.len());
            let ops = [&sequence.ops[..at], &sequence.ops[end..]].concat();
            let shorter = with(&sequence, ops);
            if is_it(&shorter) {
                sequence = shorter;
            } else {
                at = end;
            }
        }
        if length == 1 {
            return sequence;
        }
        length = length.div_ceil(2);
    }
}

/// Clears bits of what is written.
fn with_simpler_values(mut sequence: Sequence, is_it: &impl Fn(&Sequence) -> bool) -> Sequence {
    for at in 0..sequence.ops.len() {
        for bit in (0..64).rev() {
            let mut ops = sequence.ops.clone();
            match &mut ops[at] {
                Op::Write { value, .. } | Op::Wrmsr { value, .. } if *value >> bit & 1 != 0 => {
                    *value &= !(1 << bit)
                }
                Op::Clock { ns } | Op::Late { ns } if *ns >> bit & 1 != 0 => *ns &= !(1 << bit),
                _ => continue,
            }
            let simpler = with(&sequence, ops);
            if is_it(&simpler) {
                sequence = simpler;
            }
        }
    }
    sequence
}

pub fn show(sequence: &Sequence) {
    let what = difference_of(sequence).map(|difference| difference.what);
    let is_it = |sequence: &Sequence| difference_of(sequence).map(|difference| difference.what) == what;
    let sequence = with(sequence, sequence.ops.clone());
    let sequence = without_operations(sequence, &is_it);
    let sequence = with_simpler_values(sequence, &is_it);
    println!(
        "  {} vCPUs, messages through the host: {}",
        sequence.vcpus, sequence.sends
    );
    for op in &sequence.ops {
        println!("  {op}");
    }
    if let Some(difference) = difference_of(&sequence) {
        println!("  -> {difference}");
    }
}
