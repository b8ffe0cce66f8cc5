// SPDX-License-Identifier: Apache-2.0
//! Both libraries through the same steps, and what came out differently.

use cpu::{field, model_event};

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
        Step::SetPart { index, width, value } => drop(side.set_gpr_part(index.into(), width, value)),
        Step::SetReturn(value) => drop(side.set_return_value(value)),
        Step::Pass(time) => side.machine().clock().pass(time),
        Step::PassInside(time) => side.machine().clock().pass_inside(time),
        Step::Unmap => {
            side.machine().nested_changed();
            side.flush_nested_of_all();
        }
        _ => {}
    }
}

/// What the VMM's devices answer.
pub fn data(registers: &Registers) -> u64 {
    registers.gpr[15].rotate_left(7) ^ 0x8765_4321_fedc_ba98
}

/// It halted, after so many other exits. What the VMM injects into it, if anything.
fn wake(side: &mut dyn Side, step: &Step, halts: usize) -> Option<u8> {
    match *step {
        Step::Hlt { wake } => Some(wake),
        Step::HltFor { time, wake } => {
            if halts == 0 {
                side.machine().clock().pass(time);
            }
            (halts != 0 || !side.has_pending_event()).then_some(wake)
        }
        _ => None,
    }
}

fn respond(side: &mut dyn Side, exit: &Exit, registers: &Registers) -> Option<Failure> {
    let value = match exit {
        Exit::PortRead { width, .. } => data(registers) & ((1 << (8 * width)) - 1),
        _ => data(registers),
    };
    side.answer(exit, value).err()
}

fn ends(exit: &Exit) -> bool {
    matches!(exit, Exit::Down | Exit::FailEntry(_))
}

/// `hears`: by vCPU, whether an interrupt from another reaches it.
fn drive(side: &mut dyn Side, step: &Step, registers: &Registers, hears: [bool; VCPUS]) -> Outcome {
    let (mut exits, mut failure, mut host, mut last) = (Vec::new(), None, Vec::new(), None);
    let (mut sent, mut woken) = (Vec::new(), None);
    side.machine().select();
    let begin = side.machine().clock().now();
    let ended = (*step == Step::HostEoi).then(|| side.handle_eoi());
    before_run(side, step);
    for _ in 0..MOST_RUNS {
        side.machine().select();
        side.machine().remember_host();
        let answer = side.run();
        host.extend(side.machine().host_changes());
        for (vcpu, vector) in take_sent() {
            if hears[vcpu as usize] {
                sent.push((vcpu, vector));
                let _ = side.send(vcpu as usize, vector);
            }
        }
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
                match exit {
                    Exit::Halt if woken.is_none() => {
                        woken = wake(side, step, exits.len());
                        failure = woken.and_then(|vector| side.inject(vector.into(), false).err());
                    }
                    _ => failure = respond(side, &exit, registers),
                }
                exits.push(exit);
            }
        }
        let enough = exits.len() == PATIENCE || exits.last().is_some_and(ends);
        if stopped || failure.is_some() || enough {
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
        asked: asked::take(),
        complaints: side.machine().take_complaints(),
        host,
        last,
        before: outcome.before as usize,
        sent,
        ended,
        time: [begin, side.machine().clock().now()],
        woken,
    }
}

fn is_event(kind: Kind) -> bool {
    matches!(kind, Kind::Exceptions | Kind::Interrupts | Kind::Order)
}

/// What is asked and written from here on.
pub(crate) fn watch(machine: &Machine) {
    machine.remember_host();
    machine.forget_writes();
    asked::take();
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
    difference(&mut found, Kind::Ended, &theirs.ended, &ours.ended);
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
    let (known, apic) = ([None; field::COUNT as usize], Apic::new(0));
    let context = Context {
        backend,
        features: cpu::feature::ALL,
        mode: Mode::Real,
        step: &Step::OutOfMemory,
        outcomes: None,
        after_setup: false,
        history: &History::default(),
        known: &known,
        apic: &apic,
        other: &apic,
        shadows: None,
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

fn ended_at(step: &str) -> Unexplained {
    Unexplained {
        step: step.into(),
        differences: vec![],
        traces: Default::default(),
    }
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
        if !pair.with_handler(case, step, registers, tally)? {
            break;
        }
    }
    let exits = pair.exits;
    tally.steps += pair.steps;
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
