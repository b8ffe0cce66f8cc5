// SPDX-License-Identifier: Apache-2.0
//! Both libraries through the same steps, and what came out differently.

use std::collections::{BTreeMap, BTreeSet};

use cpu::{field, model_event};

use crate::errata::{Context, Tally};
use crate::machine::{Backend, field_name, take_calls};
use crate::side::{Answer, Exit, Failure, Moves, Ours, Setup, Side, Theirs};
use crate::step::{DEVICE, Mode, Registers, Step, way_into, write_page_tables};

pub const DEVICE_SIZE: u64 = 0x10_0000;
pub const PORTS: (u16, u16) = (0x3f8, 8);

/// Returns of run for one step, until it is given up.
const PATIENCE: usize = 6;

#[derive(Clone, Debug)]
pub struct Case {
    pub features: u32,
    pub memory: bool, // guest RAM is a region
    pub mode: Mode,
    pub steps: Vec<(Step, Registers)>,
}

/// What a step came to on one side.
pub struct Outcome {
    pub exits: Vec<Exit>,
    pub failure: Option<Failure>,
    pub stopped: bool,
    pub native: bool,
    pub events: Vec<model_event>,
    pub fields: [u64; field::COUNT as usize],
    pub calls: Vec<String>,
    pub complaints: Vec<String>,
    pub host: Vec<String>,
    pub last: Option<Exit>, // what run returned when the guest was stopped
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Exits,
    Failure,
    Stopped,
    LastExit,
    Exceptions, // that the guest takes
    Interrupts, // and NMIs
    Order,      // of the two
    Field(u32),
    Calls,
    TheirComplaint,
    OurComplaint,
    TheirHost,
    OurHost,
    Frames,
    Unexpected, // by a step that shows a row
}

#[derive(Clone, Debug)]
pub struct Difference {
    pub kind: Kind,
    pub theirs: String,
    pub ours: String,
    pub values: (u64, u64), // of a field
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self.kind {
            Kind::Field(number) => write!(f, "{}", field_name(number))?,
            kind => write!(f, "{kind:?}")?,
        }
        write!(f, ": upstream {}, x86vcpu {}", self.theirs, self.ours)
    }
}

/// Those that a field's last difference was known with.
type Known = [Option<(u64, u64)>; field::COUNT as usize];

pub struct Pair {
    backend: Backend,
    features: u32,
    mode: Mode,
    theirs: Theirs,
    ours: Ours,
    known: Known,
    setup: [Option<Setup>; 2],
    after_setup: bool,
    written: BTreeMap<u32, u64>,
    debug: BTreeMap<u8, u64>,
    injected: BTreeSet<u8>,
    pending: BTreeSet<u8>,
    before: Option<[u64; field::COUNT as usize]>,
    obstinate: bool, // it goes on where a sequence would end
    pub exits: u64,
}

/// A step that could not be carried on from, or that did what no row describes.
pub struct Unexplained {
    pub step: String,
    pub differences: Vec<Difference>,
    pub traces: [Vec<String>; 2], // what the two executed in that step
}

fn before_run(side: &mut dyn Side, step: &Step) {
    match *step {
        Step::Inject { vector, level } => drop(side.inject(vector.into(), level)),
        Step::Inject2 { first, second } => {
            let _ = side.inject(first.into(), false);
            let _ = side.inject(second.into(), false);
        }
        Step::CutShort { vector } => drop(side.inject(vector.into(), false)),
        Step::SetGpr { index, value } => drop(side.set_gpr(index.into(), value)),
        Step::Shown(ref shown) => {
            for &vector in &shown.inject {
                let _ = side.inject(vector, false);
            }
        }
        Step::Unmap => {
            side.machine().nested_changed();
            side.flush_nested();
        }
        _ => {}
    }
}

/// What the VMM's devices answer.
pub fn data(registers: &Registers) -> u64 {
    registers.gpr[15].rotate_left(7) ^ 0x8765_4321_fedc_ba98
}

fn respond(side: &mut dyn Side, step: &Step, exit: &Exit, registers: &Registers) -> Option<Failure> {
    if let (Exit::Halt, Step::Hlt { wake }) = (exit, step) {
        return side.inject((*wake).into(), false).err();
    }
    let value = match exit {
        Exit::PortRead { width, .. } => data(registers) & ((1 << (8 * width)) - 1),
        _ => data(registers),
    };
    side.answer(exit, value).err()
}

fn ends(exit: &Exit) -> bool {
    matches!(exit, Exit::Down | Exit::FailEntry(_))
}

fn drive(side: &mut dyn Side, step: &Step, registers: &Registers) -> Outcome {
    let (mut exits, mut failure, mut host, mut last) = (Vec::new(), None, Vec::new(), None);
    before_run(side, step);
    for _ in 0..PATIENCE {
        side.machine().select();
        side.machine().remember_host();
        let answer = side.run();
        host.extend(side.machine().host_changes());
        let stopped = side.machine().outcome().stopped != 0;
        if side.machine().outcome().stuck != 0 {
            failure = Some(Failure::Error("stuck"));
            break;
        }
        match answer {
            Err(error) => failure = Some(error),
            Ok(exit) if stopped => last = Some(exit),
            Ok(Exit::Nothing) => continue,
            Ok(exit) => {
                failure = respond(side, step, &exit, registers);
                exits.push(exit);
            }
        }
        if stopped || failure.is_some() || exits.last().is_some_and(ends) {
            break;
        }
    }
    let outcome = side.machine().outcome();
    Outcome {
        exits,
        failure,
        stopped: outcome.stopped != 0,
        native: outcome.native != 0,
        events: outcome.events[..outcome.event_count as usize].to_vec(),
        fields: outcome.fields,
        calls: take_calls(),
        complaints: side.machine().take_complaints(),
        host,
        last,
    }
}

fn difference<T: PartialEq + std::fmt::Debug>(found: &mut Vec<Difference>, kind: Kind, theirs: &T, ours: &T) {
    if theirs != ours {
        found.push(Difference {
            kind,
            theirs: format!("{theirs:x?}"),
            ours: format!("{ours:x?}"),
            values: (0, 0),
        });
    }
}

fn one_sided(found: &mut Vec<Difference>, theirs: (Kind, &[String]), ours: (Kind, &[String])) {
    for text in theirs.1 {
        found.push(Difference {
            kind: theirs.0,
            theirs: text.clone(),
            ours: "-".into(),
            values: (0, 0),
        });
    }
    for text in ours.1 {
        found.push(Difference {
            kind: ours.0,
            theirs: "-".into(),
            ours: text.clone(),
            values: (0, 0),
        });
    }
}

fn compare_events(found: &mut Vec<Difference>, theirs: &[model_event], ours: &[model_event]) {
    let part = |events: &[model_event], exceptions| -> Vec<_> {
        let is = |e: &&model_event| (e.kind == 3) == exceptions;
        events.iter().filter(is).copied().collect()
    };
    let before = found.len();
    difference(found, Kind::Exceptions, &part(theirs, true), &part(ours, true));
    difference(found, Kind::Interrupts, &part(theirs, false), &part(ours, false));
    if found.len() == before {
        difference(found, Kind::Order, &theirs.to_vec(), &ours.to_vec());
    }
}

fn compare_fields(found: &mut Vec<Difference>, known: &mut Known, theirs: &Outcome, ours: &Outcome) {
    if !theirs.stopped || !ours.stopped {
        return;
    }
    // Debug registers are the guest's from the moment that it asks for one, or has a breakpoint enabled.
    let debugs = theirs.fields[field::DR7 as usize] & ours.fields[field::DR7 as usize] & 0xff != 0;
    for number in 0..field::COUNT {
        if !debugs && matches!(number, field::DR0..=field::DR6) {
            continue;
        }
        let at = number as usize;
        let values = (theirs.fields[at], ours.fields[at]);
        let before = known[at].replace(values);
        if values.0 != values.1 && before != Some(values) {
            found.push(Difference {
                kind: Kind::Field(number),
                theirs: format!("{:x}", values.0),
                ours: format!("{:x}", values.1),
                values,
            });
        }
    }
}

fn compare(known: &mut Known, theirs: &Outcome, ours: &Outcome) -> Vec<Difference> {
    let mut found = Vec::new();
    difference(&mut found, Kind::Exits, &theirs.exits, &ours.exits);
    difference(&mut found, Kind::Failure, &theirs.failure, &ours.failure);
    difference(&mut found, Kind::Stopped, &theirs.stopped, &ours.stopped);
    if theirs.stopped && ours.stopped {
        difference(&mut found, Kind::LastExit, &theirs.last, &ours.last);
    }
    compare_events(&mut found, &theirs.events, &ours.events);
    difference(&mut found, Kind::Calls, &theirs.calls, &ours.calls);
    one_sided(
        &mut found,
        (Kind::TheirComplaint, &theirs.complaints),
        (Kind::OurComplaint, &ours.complaints),
    );
    one_sided(
        &mut found,
        (Kind::TheirHost, &theirs.host),
        (Kind::OurHost, &ours.host),
    );
    compare_fields(&mut found, known, theirs, ours);
    found
}

impl Pair {
    pub fn new(
        backend: Backend,
        case: &Case,
        obstinate: bool,
        tally: &mut Tally,
    ) -> Result<Self, Unexplained> {
        let mut pair = Self {
            backend,
            features: case.features,
            mode: Mode::Real,
            theirs: Theirs::new(backend, case.features),
            ours: Ours::new(backend, case.features),
            known: [None; field::COUNT as usize],
            setup: [None, None],
            after_setup: false,
            written: BTreeMap::new(),
            debug: BTreeMap::new(),
            injected: BTreeSet::new(),
            pending: BTreeSet::new(),
            before: None,
            obstinate,
            exits: 0,
        };
        pair.begin(case, tally)?;
        pair.enter_mode(case.mode, tally)?;
        Ok(pair)
    }

    /// From nothing to a bound vCPU. Upstream wants its vCPU made on a CPU that is on, and so it is here.
    fn begin(&mut self, case: &Case, tally: &mut Tally) -> Result<(), Unexplained> {
        let sides: [&mut dyn Side; 2] = [&mut self.theirs, &mut self.ours];
        let mut results = Vec::new();
        for (at, side) in sides.into_iter().enumerate() {
            write_page_tables(side.machine().guest_memory());
            side.machine().select();
            let root = side.machine().alloc();
            let setup = Setup {
                entry: 0x1000,
                root,
                ports: vec![PORTS],
                mmio: vec![(DEVICE, DEVICE_SIZE)],
                memory: case.memory,
            };
            let result = side
                .enable()
                .and_then(|()| side.create())
                .and_then(|()| side.setup(&setup))
                .and_then(|()| side.bind());
            self.setup[at] = Some(setup);
            results.push((result, side.machine().take_complaints()));
        }
        let (ours, our_complaints) = results.pop().expect("two");
        let (theirs, their_complaints) = results.pop().expect("two");
        let mut found = Vec::new();
        difference(&mut found, Kind::Failure, &theirs.err(), &ours.err());
        one_sided(
            &mut found,
            (Kind::TheirComplaint, &their_complaints),
            (Kind::OurComplaint, &our_complaints),
        );
        let failed = found.iter().any(|d| d.kind == Kind::Failure);
        self.explain(&Step::Idle, None, found, tally)?;
        if failed {
            return Err(Unexplained {
                step: "the beginning".into(),
                differences: vec![],
                traces: Default::default(),
            });
        }
        if !self.step(&Step::Idle, &Registers::begin(), tally)? {
            return Err(Unexplained {
                step: "the first entry".into(),
                differences: vec![],
                traces: Default::default(),
            });
        }
        Ok(())
    }

    fn enter_mode(&mut self, mode: Mode, tally: &mut Tally) -> Result<(), Unexplained> {
        let (steps, segments) = way_into(mode);
        for step in steps {
            if !self.step(&step, &Registers::begin(), tally)? {
                return Err(Unexplained {
                    step: "the way into the mode".into(),
                    differences: vec![],
                    traces: Default::default(),
                });
            }
        }
        self.mode = mode;
        for side in [&mut self.theirs as &mut dyn Side, &mut self.ours] {
            side.machine().select();
            for &(field, value) in &segments {
                side.machine().guest_sets(field, value);
            }
        }
        Ok(())
    }

    /// The other side goes on from here, if it can. False: this is the end of the sequence.
    pub fn step(
        &mut self,
        step: &Step,
        registers: &Registers,
        tally: &mut Tally,
    ) -> Result<bool, Unexplained> {
        match *step {
            Step::Move { cpu } => return self.relocate(cpu, tally),
            Step::SetupAgain => return self.set_up_again(tally),
            _ => {}
        }
        for vector in step.injects() {
            self.injected.insert(vector);
            self.pending.insert(vector);
        }
        let (backend, mode) = (self.backend, self.mode);
        let mut outcomes = Vec::new();
        for side in [&mut self.theirs as &mut dyn Side, &mut self.ours] {
            side.machine().select();
            side.machine().clear_trace();
            step.tell(side.machine(), backend, mode, registers);
            outcomes.push(drive(side, step, registers));
        }
        let ours = outcomes.pop().expect("two");
        let theirs = outcomes.pop().expect("two");
        self.exits += 1 + theirs.exits.len() as u64;
        match *step {
            Step::Hlt { wake } if ours.exits.contains(&Exit::Halt) => {
                self.injected.insert(wake);
                self.pending.insert(wake);
            }
            _ => {}
        }
        let mut found = compare(&mut self.known, &theirs, &ours);
        if let Step::Shown(shown) = step {
            found.extend(shown.broken(&theirs, &ours));
        }
        let goes_on = theirs.stopped && ours.stopped && theirs.failure.is_none() && ours.failure.is_none();
        let ends = self.explain(step, Some((registers, &theirs, &ours)), found, tally)?;
        for event in &ours.events {
            self.pending.remove(&(event.vector as u8));
        }
        self.before = ours.stopped.then_some(ours.fields);
        match *step {
            Step::Wrmsr(index, value) if ours.events.iter().all(|e| e.kind != 3) => {
                self.written.insert(index, value);
            }
            Step::MovToDr { number, value } if ours.events.iter().all(|e| e.kind != 3) => {
                let mask = if mode == Mode::Long { u64::MAX } else { 0xffff_ffff };
                self.debug.insert(number, value & mask);
            }
            _ => {}
        }
        Ok(goes_on && (!ends || self.obstinate))
    }

    fn relocate(&mut self, number: u8, tally: &mut Tally) -> Result<bool, Unexplained> {
        fn go<S: Side + Moves>(side: &mut S, number: u8) -> (Result<(), Failure>, Vec<String>) {
            let result = side.unbind().and_then(|()| {
                side.on_cpu(u32::from(number) % 4);
                if side.is_enabled() { Ok(()) } else { side.enable() }
            });
            let result = result.and_then(|()| side.bind());
            (result, side.machine().take_complaints())
        }
        let theirs = go(&mut self.theirs, number);
        let ours = go(&mut self.ours, number);
        let mut found = Vec::new();
        let goes_on = theirs.0.is_ok() && ours.0.is_ok();
        difference(&mut found, Kind::Failure, &theirs.0.err(), &ours.0.err());
        one_sided(
            &mut found,
            (Kind::TheirComplaint, &theirs.1),
            (Kind::OurComplaint, &ours.1),
        );
        self.explain(&Step::Move { cpu: number }, None, found, tally)?;
        Ok(goes_on)
    }

    fn set_up_again(&mut self, tally: &mut Tally) -> Result<bool, Unexplained> {
        let mut results = Vec::new();
        for (at, side) in [&mut self.theirs as &mut dyn Side, &mut self.ours]
            .into_iter()
            .enumerate()
        {
            let setup = self.setup[at].as_ref().expect("it was set up before");
            let result = side
                .unbind()
                .and_then(|()| side.setup(setup))
                .and_then(|()| side.bind());
            results.push((result, side.machine().take_complaints()));
        }
        self.mode = Mode::Real;
        self.after_setup = true;
        self.written.clear();
        self.debug.clear();
        self.pending.clear();
        let mut found = Vec::new();
        let goes_on = results.iter().all(|(result, _)| result.is_ok());
        difference(&mut found, Kind::Failure, &results[0].0, &results[1].0);
        one_sided(
            &mut found,
            (Kind::TheirComplaint, &results[0].1),
            (Kind::OurComplaint, &results[1].1),
        );
        self.explain(&Step::SetupAgain, None, found, tally)?;
        Ok(goes_on)
    }

    /// Every difference is claimed by a row, or it is an error. True: they have nothing in common from here.
    fn explain(
        &self,
        step: &Step,
        outcomes: Option<(&Registers, &Outcome, &Outcome)>,
        found: Vec<Difference>,
        tally: &mut Tally,
    ) -> Result<bool, Unexplained> {
        if found.is_empty() {
            return Ok(false);
        }
        let context = Context {
            backend: self.backend,
            features: self.features,
            mode: self.mode,
            step,
            outcomes,
            after_setup: self.after_setup,
            written: &self.written,
            debug: &self.debug,
            injected: &self.injected,
            pending: &self.pending,
            before: self.before.as_ref(),
            known: &self.known,
        };
        let (mut ends, mut rest) = (false, Vec::new());
        for difference in found {
            match tally.claims(&context, &difference) {
                Some(claim) => ends |= claim.ends,
                None => rest.push(difference),
            }
        }
        if rest.is_empty() {
            return Ok(ends);
        }
        Err(Unexplained {
            step: format!("{step:x?} in {:?} mode", self.mode),
            differences: rest,
            traces: self.traces(),
        })
    }

    /// Frames that are still in use when everything has been given back: one, the test's own nested table.
    pub fn finish(mut self) -> (u32, u32) {
        let mut left = [0, 0];
        self.theirs.give_back();
        self.ours.give_back();
        for (at, side) in [&mut self.theirs as &mut dyn Side, &mut self.ours]
            .into_iter()
            .enumerate()
        {
            left[at] = side.machine().frames();
        }
        (left[0], left[1])
    }

    fn traces(&self) -> [Vec<String>; 2] {
        [self.theirs.machine().trace(), self.ours.machine().trace()]
    }
}

impl Registers {
    pub fn begin() -> Self {
        Self {
            gpr: [0; 16],
            rip: crate::step::CODE,
            rflags: 2,
            shadow: 0,
        }
    }
}

/// Memory runs out at the allocation after `after` others, while a vCPU comes to be. Upstream's answer and ours.
pub fn run_out_of_memory(backend: Backend, after: u32, tally: &mut Tally) -> Result<(), Unexplained> {
    fn attempt<S: Side>(side: &mut S, after: u32) -> (Answer<()>, Vec<String>, u32) {
        side.machine().select();
        let root = side.machine().alloc();
        let setup = Setup {
            entry: 0x1000,
            root,
            ports: vec![PORTS],
            mmio: vec![],
            memory: false,
        };
        side.machine().fail_allocation(after);
        let result = side
            .enable()
            .and_then(|()| side.create())
            .and_then(|()| side.setup(&setup));
        side.machine().fail_allocation(u32::MAX);
        side.give_back();
        (result, side.machine().take_complaints(), side.machine().frames())
    }
    let theirs = attempt(&mut Theirs::new(backend, cpu::feature::ALL), after);
    let ours = attempt(&mut Ours::new(backend, cpu::feature::ALL), after);
    let mut found = Vec::new();
    // One needs more frames than the other.
    if theirs.0.is_err() && ours.0.is_err() {
        difference(&mut found, Kind::Failure, &theirs.0.err(), &ours.0.err());
    }
    one_sided(
        &mut found,
        (Kind::TheirComplaint, &theirs.1),
        (Kind::OurComplaint, &ours.1),
    );
    difference(&mut found, Kind::Frames, &theirs.2, &ours.2);
    if ours.2 != 1 {
        let left = vec![format!("{} frames in use", ours.2)];
        one_sided(
            &mut found,
            (Kind::TheirComplaint, &[]),
            (Kind::OurComplaint, &left),
        );
    }
    let known = [None; field::COUNT as usize];
    let context = Context {
        backend,
        features: cpu::feature::ALL,
        mode: Mode::Real,
        step: &Step::OutOfMemory,
        outcomes: None,
        after_setup: false,
        written: &BTreeMap::new(),
        debug: &BTreeMap::new(),
        injected: &BTreeSet::new(),
        pending: &BTreeSet::new(),
        before: None,
        known: &known,
    };
    let rest: Vec<_> = found
        .into_iter()
        .filter(|d| tally.claims(&context, d).is_none())
        .collect();
    if rest.is_empty() {
        return Ok(());
    }
    let step = format!("out of memory after {after} frames");
    Err(Unexplained {
        step,
        differences: rest,
        traces: Default::default(),
    })
}

/// A whole case. Exits, or what could not be explained.
pub fn run_case(
    backend: Backend,
    case: &Case,
    obstinate: bool,
    tally: &mut Tally,
) -> Result<u64, Unexplained> {
    let mut pair = match Pair::new(backend, case, obstinate, tally) {
        Ok(pair) => pair,
        Err(end) if end.differences.is_empty() => return Ok(0),
        Err(end) => return Err(end),
    };
    for (step, registers) in &case.steps {
        if !pair.step(step, registers, tally)? {
            break;
        }
    }
    let exits = pair.exits;
    let (_, left) = pair.finish();
    if left != 1 {
        let ours = format!("{left} frames are in use at the end, the nested table's among them");
        let lost = Difference {
            kind: Kind::OurComplaint,
            theirs: "-".into(),
            ours,
            values: (0, 0),
        };
        return Err(Unexplained {
            step: "the end".into(),
            differences: vec![lost],
            traces: Default::default(),
        });
    }
    Ok(exits)
}
