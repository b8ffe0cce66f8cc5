// SPDX-License-Identifier: Apache-2.0
//! Both libraries through the same steps, and what came out differently.

mod case;
mod difference;
mod drive;

use cpu::{field, model_event};

use case::ended_at;
pub use case::{run_case, run_out_of_memory};
use difference::{compare, difference, is_event, one_sided};
pub use drive::data;
use drive::drive;

use crate::apic::Apic;
use crate::asked::{self, Asked, When};
use crate::errata::{Context, Tally, Then};
use crate::fields::{self, Given};
use crate::history::History;
use crate::machine::{Backend, Machine, field_name, set_vcpus, take_calls, take_sent};
use crate::side::{Answer, Exit, Failure, Moves, Ours, Setup, Side, Theirs, VCPUS};
use crate::step::{DEVICE, Mode, Registers, Step, privilege, way_into, way_to_apic, write_page_tables};

pub const DEVICE_SIZE: u64 = 0x10_0000;
pub const PORTS: (u16, u16) = (0x3f8, 8);

/// Returns of run for one step, until it is given up.
pub const PATIENCE: usize = 6;

/// And of those that are nothing.
const MOST_RUNS: usize = 24;

#[derive(Clone, Debug)]
pub struct Case {
    pub features: u32,
    pub memory: bool, // guest RAM is a region
    pub mode: Mode,
    pub vcpus: u32,
    /// The guest has its local APIC on, and its handlers end what they were called for.
    pub apic: bool,
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
    pub asked: Asked,
    pub complaints: Vec<String>,
    pub host: Vec<String>,
    pub last: Option<Exit>, // what run returned when the guest was stopped
    pub before: usize,      // events before the guest did what it does
    pub sent: Vec<(u32, u32)>,
    pub ended: Option<Answer<Option<u8>>>, // of the VMM's end of interrupt
    pub time: [u64; 2],
    pub woken: Option<u8>,
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
    Ended,
    Frames,
    /// What an entry gives the CPU, or what was written to it.
    Given(Given),
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
            Kind::Given(given) => write!(f, "{}", given.name())?,
            kind => write!(f, "{kind:?}")?,
        }
        write!(f, ": upstream {}, x86vcpu {}", self.theirs, self.ours)
    }
}

/// Those that a field's last difference was known with.
pub type Known = [Option<(u64, u64)>; field::COUNT as usize];

/// What a call came to that is no run: its answer, complaints of the model, and what the host was asked for.
pub type Answered = (Answer<()>, Vec<String>, Asked);

/// What both sides' vCPUs of one number have come to.
pub struct Vcpu {
    pub mode: Mode,
    pub known: Known,
    pub given: fields::Known,
    pub apic: Apic,
    pub history: History,
    pub user: bool,
    pub shadows: Option<(u64, u64)>, // before the step
    pub bound: bool,
    pub begun: bool,
    pub apart: bool,   // other events wait in the one than in the other
    pub drained: bool, // since the last step
}

pub struct Pair {
    pub(crate) backend: Backend,
    features: u32,
    pub(crate) theirs: Theirs,
    pub(crate) ours: Ours,
    pub(crate) vcpus: [Vcpu; VCPUS],
    pub(crate) at: usize,
    setup: [Option<Setup>; 2],
    after_setup: bool,
    apics: bool,     // the guest has its local APIC on
    obstinate: bool, // it goes on where a sequence would end
    pub exits: u64,
    pub steps: u64,
}

/// A step that could not be carried on from, or that did what no row describes.
pub struct Unexplained {
    pub step: String,
    pub differences: Vec<Difference>,
    pub traces: [Vec<String>; 2], // what the two executed in that step
}

/// What is asked and written from here on.
pub(crate) fn watch(machine: &Machine) {
    machine.remember_host();
    machine.forget_writes();
    asked::take();
}

impl Pair {
    pub fn new(
        backend: Backend,
        case: &Case,
        obstinate: bool,
        tally: &mut Tally,
    ) -> Result<Self, Unexplained> {
        set_vcpus(case.vcpus);
        let vcpu = |id: usize| Vcpu {
            history: History::default(),
            mode: Mode::Real,
            known: [None; field::COUNT as usize],
            given: fields::Known::new(backend, case.features),
            apic: Apic::new(id as u32),
            user: false,
            shadows: None,
            bound: false,
            begun: false,
            apart: false,
            drained: false,
        };
        let mut pair = Self {
            backend,
            features: case.features,
            theirs: Theirs::new(backend, case.features),
            ours: Ours::new(backend, case.features),
            vcpus: std::array::from_fn(vcpu),
            at: 0,
            setup: [None, None],
            after_setup: false,
            apics: case.apic,
            obstinate,
            exits: 0,
            steps: 0,
        };
        pair.begin(case, tally)?;
        pair.first_steps(case, tally)?;
        Ok(pair)
    }

    /// From nothing to vCPUs that are set up, the first of them bound. Upstream wants its vCPU made on a CPU that is on,
    /// and so it is here.
    fn begin(&mut self, case: &Case, tally: &mut Tally) -> Result<(), Unexplained> {
        let sides: [&mut dyn Side; 2] = [&mut self.theirs, &mut self.ours];
        let mut results = Vec::new();
        for (at, side) in sides.into_iter().enumerate() {
            write_page_tables(side.machine().guest_memory());
            side.machine().select();
            let root = side.machine().alloc();
            watch(side.machine());
            let setup = Setup {
                entry: 0x1000,
                root,
                ports: vec![PORTS],
                mmio: vec![(DEVICE, DEVICE_SIZE)],
                memory: case.memory,
            };
            let mut result = side.enable();
            for vcpu in (0..case.vcpus as usize).rev() {
                side.choose(vcpu);
                result = result
                    .and_then(|()| side.create())
                    .and_then(|()| side.setup(&setup));
            }
            let result = result.and_then(|()| side.bind());
            self.setup[at] = Some(setup);
            results.push((result, side.machine().take_complaints(), asked::take()));
        }
        self.vcpus[0].bound = true;
        let ok = self.compare_answers(&Step::Idle, results, When::Begin(case.vcpus), tally)?;
        if ok {
            Ok(())
        } else {
            Err(ended_at("the beginning"))
        }
    }

    /// The first entry, the way into the mode, and what else a guest does before anything at random.
    pub(crate) fn first_steps(&mut self, case: &Case, tally: &mut Tally) -> Result<(), Unexplained> {
        self.vcpus[self.at].begun = true;
        if !self.step(&Step::Idle, &Registers::begin(), tally)? {
            return Err(ended_at("the first entry"));
        }
        let (steps, segments) = way_into(case.mode);
        for step in steps {
            if !self.step(&step, &Registers::begin(), tally)? {
                return Err(ended_at("the way into the mode"));
            }
        }
        self.vcpus[self.at].mode = case.mode;
        for side in [&mut self.theirs as &mut dyn Side, &mut self.ours] {
            side.machine().select();
            for &(field, value) in &segments {
                side.machine().guest_sets(field, value);
            }
        }
        let apic = if case.apic { way_to_apic(case.mode) } else { vec![] };
        for step in std::iter::once(Step::Idle).chain(apic) {
            if !self.step(&step, &Registers::begin(), tally)? {
                return Err(ended_at("turning the local APIC on"));
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
        self.steps += 1;
        match *step {
            Step::Move { cpu } => return self.relocate(step, cpu, 0, tally),
            Step::PassUnbound { cpu, time } => return self.relocate(step, cpu, time, tally),
            Step::SetupAgain => return self.set_up_again(tally),
            _ => {}
        }
        let before = self.vcpus[self.at].known;
        self.vcpus[self.at].apart |= self.theirs.has_pending_event() != self.ours.has_pending_event();
        let [theirs, ours] = self.perform(step, registers);
        self.exits += 1 + theirs.exits.len() as u64;
        self.vcpus[self.at].shadows = self.vcpus[self.at].known[field::SHADOW as usize];
        let mut found = compare(&mut self.vcpus[self.at].known, &theirs, &ours);
        if let Step::Shown(shown) = step {
            found.extend(shown.broken(&theirs, &ours));
        }
        self.compare_given(&before, (step, registers), (&theirs, &ours), &mut found, tally);
        self.follow(&mut found, step, registers, &ours);
        let failed = theirs.failure.is_some() || ours.failure.is_some();
        // Of a long string both have done the same elements; the next step begins elsewhere.
        let string = matches!(step, Step::PortString(s) if s.count.is_some());
        let amidst = string && !theirs.stopped && !ours.stopped && theirs.exits.len() == PATIENCE;
        let goes_on = !failed && (amidst || theirs.stopped && ours.stopped);
        let then = self.explain(step, Some((registers, &theirs, &ours)), found, tally)?;
        let vcpu = &mut self.vcpus[self.at];
        vcpu.history.hears(step, vcpu.mode, &ours);
        if !goes_on || self.obstinate {
            return Ok(goes_on);
        }
        if amidst {
            return self.step(&Step::Idle, registers, tally);
        }
        match then {
            Then::GoesOn => Ok(true),
            Then::Drains => self.drain(tally),
            Then::Ends => Ok(false),
        }
    }

    /// See fields/mod.rs.
    fn compare_given(
        &mut self,
        before: &Known,
        (step, registers): (&Step, &Registers),
        (theirs, ours): (&Outcome, &Outcome),
        found: &mut Vec<Difference>,
        tally: &mut Tally,
    ) {
        let of_the_way = |d: &Difference| {
            matches!(d.kind, Kind::Exits | Kind::Failure | Kind::Stopped) || is_event(d.kind)
        };
        // An event that the CPU does not take, too: C-03.
        let of_events = |d: &Difference| is_event(d.kind) || d.theirs.contains("injected event: ");
        // What waits is each one's own from where they have taken other events, until a drain.
        let waits = self.theirs.has_pending_event() == self.ours.has_pending_event();
        self.vcpus[self.at].apart |= !waits || found.iter().any(of_events);
        let way = fields::Way {
            same: !found.iter().any(of_the_way) && theirs.native == ours.native,
            // With a local APIC interrupts wait by their priority (LA-05); apic.rs looks at what is taken.
            same_events: !self.vcpus[self.at].apart && !self.apics && !step.lets_time_pass(),
            guest: [before, &self.vcpus[self.at].known],
            stops: [&theirs.fields, &ours.fields],
            features: self.features,
        };
        let sides = [&self.theirs.as_given(), &self.ours.as_given()];
        let rip = registers.rip;
        let cr = matches!(
            step,
            Step::MovToCr { .. } | Step::MovFromCr { .. } | Step::Clts | Step::Lmsw(_)
        );
        let region = self.setup[0].as_ref().is_some_and(|setup| setup.memory);
        asked::compare(&theirs.asked, &ours.asked, When::Run { region, rip, cr }, found);
        let mut given = self.vcpus[self.at].given.compare(sides, &way, &mut tally.given);
        // The first entry has what the handlers of a drain have left in the registers.
        if std::mem::take(&mut self.vcpus[self.at].drained) {
            given.retain(|d| !matches!(d.kind, Kind::Given(given) if given.register().is_some()));
        }
        // A part of a register that was another one before.
        if let Step::SetPart { index, .. } = *step
            && before[index as usize].is_some_and(|(theirs, ours)| theirs != ours)
        {
            given.retain(|d| !matches!(d.kind, Kind::Given(given) if given.register() == Some(index.into())));
        }
        found.extend(given);
    }

    /// What they ask and write outside run.
    fn compare_aside(&mut self, asked: &[Asked], when: When, found: &mut Vec<Difference>) {
        asked::compare(&asked[0], &asked[1], when, found);
        let sides = [&self.theirs.as_given(), &self.ours.as_given()];
        self.vcpus[self.at].given.compare_aside(sides, found);
    }

    /// A step of both, without a look at what came of it.
    pub(crate) fn perform(&mut self, step: &Step, registers: &Registers) -> [Outcome; 2] {
        let (backend, mode) = (self.backend, self.vcpus[self.at].mode);
        let vcpu = &mut self.vcpus[self.at];
        let protected = vcpu.known[field::CR0 as usize].is_some_and(|(_, ours)| ours & 1 == 1);
        let user = registers.user && protected && !vcpu.apic.init;
        let loads = std::mem::replace(&mut vcpu.user, user) != user;
        let hears = std::array::from_fn(|vcpu| self.vcpus[vcpu].apic.enabled());
        let sides: [&mut dyn Side; 2] = [&mut self.theirs, &mut self.ours];
        sides.map(|side| {
            side.machine().select();
            side.machine().clear_trace();
            watch(side.machine());
            if loads {
                for (field, value) in privilege(mode, user) {
                    side.machine().guest_sets(field, value);
                }
            }
            step.tell(side.machine(), backend, mode, registers);
            let tsc = side.machine().tsc();
            let outcome = drive(side, step, registers, hears);
            let tsc = (tsc, side.machine().tsc());
            fields::wanted_offset(step, tsc, side.offsets());
            outcome
        })
    }

    /// What each side answered to a call that is no run. Whether both can go on.
    pub(crate) fn compare_answers(
        &mut self,
        step: &Step,
        results: Vec<Answered>,
        when: When,
        tally: &mut Tally,
    ) -> Result<bool, Unexplained> {
        let [
            (theirs, their_complaints, theirs_asked),
            (ours, our_complaints, ours_asked),
        ] = <[Answered; 2]>::try_from(results).ok().expect("two");
        let goes_on = theirs.is_ok() && ours.is_ok();
        let mut found = Vec::new();
        difference(&mut found, Kind::Failure, &theirs.err(), &ours.err());
        one_sided(
            &mut found,
            (Kind::TheirComplaint, &their_complaints),
            (Kind::OurComplaint, &our_complaints),
        );
        if goes_on {
            self.compare_aside(&[theirs_asked, ours_asked], when, &mut found);
        }
        self.explain(step, None, found, tally)?;
        Ok(goes_on)
    }

    /// Where the other vCPU is bound there is no place for this one (U-03).
    fn relocate(
        &mut self,
        step: &Step,
        number: u8,
        time: u64,
        tally: &mut Tally,
    ) -> Result<bool, Unexplained> {
        let other = 1 - self.at;
        let taken = self.vcpus[other].bound && self.theirs.cpu_of(other) == usize::from(number) % 4;
        let number = number + u8::from(taken);
        fn go<S: Side + Moves>(side: &mut S, number: u8, time: u64) -> Answered {
            watch(side.machine());
            let result = side.unbind().and_then(|()| {
                side.machine().clock().pass(time);
                side.on_cpu(u32::from(number) % 4);
                if side.is_enabled() { Ok(()) } else { side.enable() }
            });
            let result = result.and_then(|()| side.bind());
            (result, side.machine().take_complaints(), asked::take())
        }
        let results = vec![
            go(&mut self.theirs, number, time),
            go(&mut self.ours, number, time),
        ];
        self.compare_answers(step, results, When::Aside, tally)
    }

    fn set_up_again(&mut self, tally: &mut Tally) -> Result<bool, Unexplained> {
        let mut results = Vec::new();
        for (at, side) in [&mut self.theirs as &mut dyn Side, &mut self.ours]
            .into_iter()
            .enumerate()
        {
            let setup = self.setup[at].as_ref().expect("it was set up before");
            watch(side.machine());
            let result = side
                .unbind()
                .and_then(|()| side.setup(setup))
                .and_then(|()| side.bind());
            results.push((result, side.machine().take_complaints(), asked::take()));
        }
        self.vcpus[self.at].mode = Mode::Real;
        self.vcpus[self.at].apic = Apic::new(self.at as u32);
        self.after_setup = true;
        self.vcpus[self.at].history = History::default();
        self.compare_answers(&Step::SetupAgain, results, When::Aside, tally)
    }

    /// Every difference is claimed by a row, or it is an error. What the rows say of the steps to come.
    fn explain(
        &self,
        step: &Step,
        outcomes: Option<(&Registers, &Outcome, &Outcome)>,
        found: Vec<Difference>,
        tally: &mut Tally,
    ) -> Result<Then, Unexplained> {
        if found.is_empty() {
            return Ok(Then::GoesOn);
        }
        let vcpu = &self.vcpus[self.at];
        let context = Context {
            backend: self.backend,
            features: self.features,
            mode: vcpu.mode,
            step,
            outcomes,
            after_setup: self.after_setup,
            history: &vcpu.history,
            known: &vcpu.known,
            apic: &vcpu.apic,
            other: &self.vcpus[1 - self.at].apic,
            shadows: vcpu.shadows,
        };
        let (mut rows, mut rest) = (Vec::new(), Vec::new());
        for difference in found {
            match tally.claims(&context, &difference) {
                Some(claim) => rows.push(claim),
                None => rest.push(difference),
            }
        }
        if rest.is_empty() {
            if !self.obstinate {
                tally.ends(&rows);
            }
            return Ok(rows.iter().map(|row| row.then).max().unwrap_or(Then::GoesOn));
        }
        Err(Unexplained {
            step: format!("{step:x?} in {:?} mode", vcpu.mode),
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
            user: false,
        }
    }
}
