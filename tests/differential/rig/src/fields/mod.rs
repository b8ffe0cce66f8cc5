// SPDX-License-Identifier: Apache-2.0
//! What the two give the CPU at their VM entries: every field of the VMCS or all bytes of the VMCB, the pages that they
//! point to, and the CPU's own registers, which the guest runs with. And what they wrote to registers in a step.
//!
//! Entries are compared where both guests are at the same point. The first one of a step is: both were stopped by the
//! same step before. So are all others when the step had as many of them in both, for the same exits, and with the same
//! outcome. Where the two went different ways, what the later entries of the step gave the CPU, and still gives it,
//! is compared at the next step's first.

mod map;
mod registers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use cpu::{field, model_picture, register};

use crate::compare::{Difference, Kind};
use crate::machine::{Backend, Machine, register_name, word_name, words};
use crate::rules::{self, Value};
use crate::step::Step;
use registers::{DEBUGS, LOADED_BY_VMRUN, kept_bits};

/// What of it differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Given {
    Word(Backend, u32),
    /// Bits that the library keeps from the guest, of a register in the VMCB.
    Kept(u32),
    /// What the library must have there, and x86_vcpu has not.
    Missing(Backend, u32),
    Register(u64),
    /// The byte that the TPR shadow is in.
    TaskPriority,
    Bits(Map),
    /// Of the host, by its name.
    Asked(&'static str),
    Write {
        number: u64,
        theirs: bool,
        value: Wrote,
    },
}

/// The value of a write, by where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wrote {
    /// What the host had before run.
    Host,
    /// What the guest is entered with in the same step, or had at its last stop.
    Guest,
    /// The address of one's own frame.
    Frame,
    Other(u64),
}

impl std::fmt::Display for Wrote {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Wrote::Host => write!(f, "host"),
            Wrote::Guest => write!(f, "guest"),
            Wrote::Frame => write!(f, "own frame"),
            Wrote::Other(value) => write!(f, "{value:#x}"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Map {
    Ports,
    Msrs,
}

impl Given {
    pub fn name(self) -> String {
        match self {
            Given::Word(backend, word) => format!("{word:#06x} {}", word_name(backend, word)),
            Given::Missing(backend, word) => {
                format!(
                    "{word:#06x} {}, without what fields.toml says",
                    word_name(backend, word)
                )
            }
            Given::Kept(word) => format!(
                "{word:#06x} {}, the library's bits",
                word_name(Backend::Svm, word)
            ),
            Given::Register(number) => format!("{} at an entry", register_name(number)),
            Given::TaskPriority => "TPR shadow".into(),
            Given::Bits(map) => format!("permission map of {map:?}"),
            Given::Asked(what) => what.into(),
            Given::Write { number, value, .. } => format!("{value} written to {}", register_name(number)),
        }
    }
}

pub fn difference(given: Given, pair: (Value, Value)) -> Difference {
    Difference {
        kind: Kind::Given(given),
        theirs: pair.0.to_string(),
        ours: pair.1.to_string(),
        values: (pair.0.bits(), pair.1.bits()),
    }
}

// ---- Pictures ----------------------------------------------------------------------------------------------------

pub type Guest = [Option<(u64, u64)>; field::COUNT as usize];
pub type Pages = [[u8; 4096]; cpu::MODEL_PAGES];

/// One of the two, as far as its values are only its own.
pub struct Side<'a> {
    pub machine: &'a Machine,
    /// What it may have in HOST_RSP, and what that is.
    pub stack: (Span, &'static str),
    pub exit_point: &'static OnceLock<u64>,
    /// TSC offsets that its guest has asked for, and what they are.
    pub offsets: &'a [(Span, &'static str)],
}

/// From `first` on, over the end of 64 bits if it must be.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    pub first: u64,
    pub length: u64,
}

impl Span {
    fn contains(self, value: u64) -> bool {
        value.wrapping_sub(self.first) <= self.length
    }
}

/// The offsets that make a guest's TSC `value` while the host's goes through `host`.
pub fn offsets_for(value: u64, host: (u64, u64)) -> Span {
    Span {
        first: value.wrapping_sub(host.1),
        length: host.1 - host.0,
    }
}

/// What a step asks for, beside the zero of setup, which is the first.
pub fn wanted_offset(step: &Step, host: (u64, u64), offsets: &mut Vec<(Span, &'static str)>) {
    // Upstream has no offset, and no zero.
    let Some(&(zero, _)) = offsets.first() else { return };
    match *step {
        Step::Wrmsr(0x10, value) => offsets.push((offsets_for(value, host), "what the guest wrote")),
        Step::Wrmsr(0x3b, value) => {
            let first = zero.first.wrapping_add(value);
            offsets.push((Span { first, ..zero }, "what the guest adjusted"));
        }
        _ => {}
    }
}

fn picture(machine: &Machine, number: u32) -> &model_picture {
    unsafe { &*cpu::model_picture(machine.model(), number) }
}

fn entries(machine: &Machine) -> u32 {
    unsafe { cpu::model_entries(machine.model()) }
}

mod vmcs {
    pub const IO_BITMAP_A: u32 = 0x2000;
    pub const IO_BITMAP_B: u32 = 0x2002;
    pub const MSR_BITMAP: u32 = 0x2004;
    pub const TSC_OFFSET: u32 = 0x2010;
    pub const VIRTUAL_APIC: u32 = 0x2012;
    pub const CPU_CONTROLS: u32 = 0x4002;
    pub const TPR_THRESHOLD: u32 = 0x401c;
    pub const INTERRUPTIBILITY: u32 = 0x4824;
    pub const ENTRY_INFO: u32 = 0x4016;
    pub const ENTRY_ERROR_CODE: u32 = 0x4018;
    pub const ENTRY_LENGTH: u32 = 0x401a;
    pub const EXIT_REASON: u32 = 0x4402;
    pub const CR0_MASK: u32 = 0x6000;
    pub const CR4_MASK: u32 = 0x6002;
    pub const CR0_SHADOW: u32 = 0x6004;
    pub const CR4_SHADOW: u32 = 0x6006;
    pub const HOST_RSP: u32 = 0x6c14;
    pub const HOST_RIP: u32 = 0x6c16;
}
mod vmcb {
    pub const IOPM: u32 = 0x40;
    pub const MSRPM: u32 = 0x48;
    pub const TSC_OFFSET: u32 = 0x50;
    pub const CR_INTERCEPTS: u32 = 0;
    pub const INTERCEPTS: u32 = 0x8;
    pub const VIRTUAL_INTERRUPT: u32 = 0x60;
    pub const INTERRUPT_SHADOW: u32 = 0x68;
    pub const EXIT_CODE: u32 = 0x70;
    pub const EXIT_INT_INFO: u32 = 0x88;
    pub const EVENT: u32 = 0xa8;
    pub const NEXT_RIP: u32 = 0xc8;
    pub const BYTES: u32 = 0xd8;
}
const VM_HSAVE_PA: u64 = 0xc001_0117;
const NO_EVENT: Value = Value::Word("no event");
const OWN_FRAME: Value = Value::Word("own frame");

fn position(backend: Backend, word: u32) -> usize {
    match backend {
        Backend::Vmx => words(backend)
            .iter()
            .position(|&w| w == word)
            .expect("it is there"),
        Backend::Svm => word as usize / 8,
    }
}

fn vmcs_word(p: &model_picture, number: u32) -> u64 {
    p.words[position(Backend::Vmx, number)]
}

/// Whether the CPU looks at this field of the event's (SDM 25.8.3).
fn has_event(p: &model_picture, number: u32) -> bool {
    let info = vmcs_word(p, vmcs::ENTRY_INFO);
    let valid = info >> 31 & 1 != 0;
    match number {
        vmcs::ENTRY_ERROR_CODE => valid && info >> 11 & 1 != 0,
        vmcs::ENTRY_LENGTH => valid && matches!(info >> 8 & 7, 4..=6),
        _ => valid,
    }
}

/// What only the CPU writes and no entry reads: it says how the last exit was.
fn is_an_answer(backend: Backend, word: u32) -> bool {
    match backend {
        Backend::Vmx => word >> 10 & 3 == 1,
        Backend::Svm => {
            (vmcb::EXIT_CODE..=vmcb::EXIT_INT_INFO).contains(&word)
                || (vmcb::NEXT_RIP..=vmcb::BYTES).contains(&word)
        }
    }
}

fn shadow_word(backend: Backend) -> u32 {
    match backend {
        Backend::Vmx => vmcs::INTERRUPTIBILITY,
        Backend::Svm => vmcb::INTERRUPT_SHADOW,
    }
}

/// The bits of a word that have to do with events that go in or wait.
fn event_bits(backend: Backend, word: u32) -> u64 {
    match (backend, word) {
        (Backend::Vmx, vmcs::ENTRY_INFO | vmcs::ENTRY_ERROR_CODE | vmcs::ENTRY_LENGTH) => u64::MAX,
        (Backend::Vmx, vmcs::CPU_CONTROLS) => 1 << 22 | 1 << 2, // the windows
        (Backend::Vmx, vmcs::TPR_THRESHOLD) => u64::MAX,
        (Backend::Svm, vmcb::EVENT) => u64::MAX,
        (Backend::Svm, vmcb::CR_INTERCEPTS) => 1 << 24, // CR8, below which something waits
        (Backend::Svm, vmcb::INTERCEPTS) => 1 << 36,    // VINTR
        (Backend::Svm, vmcb::VIRTUAL_INTERRUPT) => !0xff ^ 1 << 24, // all but V_TPR and V_INTR_MASKING
        _ => 0,
    }
}

impl Side<'_> {
    fn word(&self, backend: Backend, p: &model_picture, at: usize, number: u32) -> Value {
        let value = p.words[at];
        if p.written[at] == 0 {
            return self.unwritten(backend, p, number);
        }
        let page = match (backend, number) {
            (Backend::Vmx, vmcs::IO_BITMAP_A) | (Backend::Svm, vmcb::IOPM) => Some(0),
            (Backend::Vmx, vmcs::IO_BITMAP_B) => Some(1),
            (Backend::Vmx, vmcs::MSR_BITMAP) => Some(2),
            (Backend::Vmx, vmcs::VIRTUAL_APIC) | (Backend::Svm, vmcb::MSRPM) => Some(3),
            _ => None,
        };
        if page.is_some_and(|page| p.owned >> page & 1 != 0) {
            return OWN_FRAME;
        }
        match (backend, number) {
            (Backend::Vmx, vmcs::TSC_OFFSET) | (Backend::Svm, vmcb::TSC_OFFSET) => self.offset(value),
            (Backend::Vmx, vmcs::HOST_RSP) if self.stack.0.contains(value) => Value::Word(self.stack.1),
            (Backend::Vmx, vmcs::HOST_RIP) if *self.exit_point.get_or_init(|| value) == value => {
                Value::Word("own exit point")
            }
            (Backend::Vmx, vmcs::ENTRY_INFO..=vmcs::ENTRY_LENGTH) if !has_event(p, number) => NO_EVENT,
            (Backend::Svm, vmcb::EVENT) if value >> 31 & 1 == 0 => NO_EVENT,
            // The guest reads of a shadow what the mask has.
            (Backend::Vmx, vmcs::CR0_SHADOW) => Value::Number(value & vmcs_word(p, vmcs::CR0_MASK)),
            (Backend::Vmx, vmcs::CR4_SHADOW) => Value::Number(value & vmcs_word(p, vmcs::CR4_MASK)),
            _ => Value::Number(value),
        }
    }

    fn unwritten(&self, backend: Backend, p: &model_picture, number: u32) -> Value {
        match (backend, number) {
            (Backend::Vmx, vmcs::ENTRY_ERROR_CODE | vmcs::ENTRY_LENGTH) if !has_event(p, number) => NO_EVENT,
            _ => Value::Unwritten,
        }
    }

    fn offset(&self, value: u64) -> Value {
        match self.offsets.iter().find(|o| o.0.contains(value)) {
            Some((_, what)) => Value::Word(what),
            None => Value::Number(value),
        }
    }

    fn register(&self, number: u64, value: u64) -> Value {
        if number == VM_HSAVE_PA && !unsafe { cpu::model_memory(self.machine.model(), value) }.is_null() {
            return OWN_FRAME;
        }
        Value::Number(value)
    }

    fn remembered(&self, number: u64) -> u64 {
        unsafe { cpu::model_remembered(self.machine.model(), number) }
    }
}

pub struct Known {
    backend: Backend,
    words: Vec<Option<(Value, Value)>>,
    registers: BTreeMap<u64, (Value, Value)>,
    pages: Option<Box<[Pages; 2]>>,
    task_priority: Option<(Value, Value)>,
    /// By the place of the word; what was reported.
    always: Vec<(usize, rules::Always)>,
    missed: BTreeSet<u32>,
    /// The guests' registers at the last stop, and their debug registers at any: the library keeps them when the guest has no
    /// use for them.
    stops: [Option<[u64; field::COUNT as usize]>; 2],
    debugs: [BTreeSet<(u64, u64)>; 2],
    writes: BTreeSet<Given>,
}

fn without(pair: (Value, Value), bits: u64) -> (Value, Value) {
    match pair {
        _ if bits == u64::MAX => (Value::Number(0), Value::Number(0)),
        (Value::Number(theirs), Value::Number(ours)) => {
            (Value::Number(theirs & !bits), Value::Number(ours & !bits))
        }
        _ => pair,
    }
}

/// What a step was like.
pub struct Way<'a> {
    /// The same exits, events and outcome.
    pub same: bool,
    /// Else what an entry has to do with events is the difference of these.
    pub same_events: bool,
    /// The guest's registers at the last stop and at this one.
    pub guest: [&'a Guest; 2],
    /// All of them at this one, in each of the two.
    pub stops: [&'a [u64; field::COUNT as usize]; 2],
    pub features: u32,
}

impl Way<'_> {
    fn reported(&self, given: Given, pair: (Value, Value)) -> bool {
        let pair = (pair.0.bits(), pair.1.bits());
        given.register().is_some_and(|number| {
            self.guest
                .iter()
                .any(|guest| guest[number as usize] == Some(pair))
        })
    }
}

impl Known {
    pub fn new(backend: Backend, features: u32) -> Self {
        let always = rules::always(backend, features);
        Self {
            backend,
            always: always
                .into_iter()
                .map(|rule| (position(backend, rule.word), rule))
                .collect(),
            missed: BTreeSet::new(),
            words: vec![None; words(backend).len()],
            registers: BTreeMap::new(),
            pages: None,
            task_priority: None,
            stops: [None; 2],
            debugs: Default::default(),
            writes: BTreeSet::new(),
        }
    }

    pub fn compare(&mut self, sides: [&Side; 2], way: &Way, met: &mut rules::Met) -> Vec<Difference> {
        let mut found = Vec::new();
        let (n, m) = (entries(sides[0].machine), entries(sides[1].machine));
        let most = if way.same && n == m {
            n.min(cpu::MODEL_PICTURES)
        } else {
            n.min(m).min(1)
        };
        for number in 0..most {
            let pictures = [
                picture(sides[0].machine, number),
                picture(sides[1].machine, number),
            ];
            if number != 0 && self.reason(pictures[0]) != self.reason(pictures[1]) {
                break;
            }
            met.entries += 1;
            self.compare_words(&sides, pictures, way, &mut found);
            self.compare_always(pictures, &mut found);
            self.compare_registers(&sides, pictures, way, &mut found);
            self.compare_task_priority(pictures, &mut found);
            self.compare_pages(pictures, way, met, &mut found);
        }
        met.values += u64::from(most) * (self.words.len() as u64 + u64::from(cpu::register::COUNT));
        self.compare_writes(&sides, &mut found);
        self.remember_stops(way);
        found
    }

    fn remember_stops(&mut self, way: &Way) {
        self.stops = way.stops.map(|fields| Some(*fields));
        for (debugs, fields) in self.debugs.iter_mut().zip(way.stops) {
            for number in DEBUGS {
                let at = Given::Register(number)
                    .register()
                    .expect("a register of the guest");
                debugs.insert((number, fields[at as usize]));
            }
        }
    }

    /// Of what happens outside run.
    pub fn compare_aside(&mut self, sides: [&Side; 2], found: &mut Vec<Difference>) {
        self.compare_writes(&sides, found);
    }

    fn reason(&self, p: &model_picture) -> u64 {
        p.words[position(
            self.backend,
            [vmcs::EXIT_REASON, vmcb::EXIT_CODE][self.backend as usize],
        )]
    }

    fn compare_words(
        &mut self,
        sides: &[&Side; 2],
        p: [&model_picture; 2],
        way: &Way,
        found: &mut Vec<Difference>,
    ) {
        // C-07: what a shadow holds back goes in later.
        let shadow = position(self.backend, shadow_word(self.backend));
        let same_events = way.same_events && p[0].words[shadow] == p[1].words[shadow];
        for (at, &number) in words(self.backend).iter().enumerate() {
            if p[0].words[at] == p[1].words[at] && p[0].written[at] == p[1].written[at] {
                self.words[at] = None;
                continue;
            }
            if is_an_answer(self.backend, number) {
                continue;
            }
            let value = |side: usize| sides[side].word(self.backend, p[side], at, number);
            let mut pair = (value(0), value(1));
            if !same_events {
                pair = without(pair, event_bits(self.backend, number));
            }
            if self.words[at].replace(pair) == Some(pair) || pair.0 == pair.1 {
                continue;
            }
            let kept = kept_bits(self.backend, number);
            let parts = [
                (Given::Word(self.backend, number), kept),
                (Given::Kept(number), !kept),
            ];
            for (given, bits) in parts.into_iter().take(if kept == 0 { 1 } else { 2 }) {
                let pair = without(pair, bits);
                if pair.0 != pair.1 && !way.reported(given, pair) {
                    found.push(difference(given, pair));
                }
            }
        }
    }

    fn compare_always(&mut self, p: [&model_picture; 2], found: &mut Vec<Difference>) {
        for (at, rule) in &self.always {
            if !rule.holds(p[1].words[*at]) && self.missed.insert(rule.word) {
                let pair = (Value::Number(p[0].words[*at]), Value::Number(p[1].words[*at]));
                found.push(difference(Given::Missing(self.backend, rule.word), pair));
            }
        }
    }

    /// A host that has another value than the other's is a difference of its own, which was reported when it came to
    /// be; here it matters what the guest is given instead of it.
    fn compare_registers(
        &mut self,
        sides: &[&Side; 2],
        p: [&model_picture; 2],
        way: &Way,
        found: &mut Vec<Difference>,
    ) {
        let count = p[0].register_count as usize;
        for (t, o) in p[0].registers[..count].iter().zip(&p[1].registers) {
            assert_eq!(t.number, o.number, "both CPUs have the same registers");
            if t.value == o.value {
                self.registers.remove(&t.number);
                continue;
            }
            let values = [t.value, o.value];
            let are_the_hosts = (0..2).all(|side| sides[side].remembered(t.number) == values[side]);
            if self.backend == Backend::Svm && LOADED_BY_VMRUN.contains(&t.number) {
                continue;
            }
            let given = Given::Register(t.number);
            let pair = (
                sides[0].register(t.number, t.value),
                sides[1].register(t.number, o.value),
            );
            let before = self.registers.insert(t.number, pair);
            if !are_the_hosts && before != Some(pair) && pair.0 != pair.1 && !way.reported(given, pair) {
                found.push(difference(given, pair));
            }
        }
    }

    /// Of the virtual-APIC page a CPU that virtualizes no registers has a use for one byte (SDM 30.1.1); upstream keeps its
    /// local APIC's registers in the others.
    fn compare_task_priority(&mut self, p: [&model_picture; 2], found: &mut Vec<Difference>) {
        const USED: u64 = 1 << 21;
        let at = match self.backend {
            Backend::Vmx => position(Backend::Vmx, vmcs::CPU_CONTROLS),
            Backend::Svm => return,
        };
        let values = [0, 1].map(|side: usize| u64::from(p[side].pages[3][0x80]));
        let pair = (Value::Number(values[0]), Value::Number(values[1]));
        if p.iter().all(|p| p.words[at] & USED != 0)
            && self.task_priority.replace(pair) != Some(pair)
            && pair.0 != pair.1
        {
            found.push(difference(Given::TaskPriority, pair));
        }
    }

    fn compare_pages(
        &mut self,
        p: [&model_picture; 2],
        way: &Way,
        met: &mut rules::Met,
        found: &mut Vec<Difference>,
    ) {
        if let Some(pages) = &self.pages
            && pages[0] == p[0].pages
            && pages[1] == p[1].pages
        {
            return;
        }
        let pages = self
            .pages
            .get_or_insert_with(|| Box::new([[[0; 4096]; cpu::MODEL_PAGES]; 2]));
        pages[0] = p[0].pages;
        pages[1] = p[1].pages;
        for map in [Map::Ports, Map::Msrs] {
            let bytes = |side: usize| map.bytes(self.backend, &p[side].pages);
            let rest = met.explain_bits(self.backend, way.features, map, [bytes(0), bytes(1)]);
            if let Some(text) = rest {
                found.push(Difference {
                    kind: Kind::Given(Given::Bits(map)),
                    theirs: text,
                    ours: "-".into(),
                    values: (0, 0),
                });
            }
        }
    }

    /// In a step each register's values, as a set: how often a library goes in and out for it is its own business.
    fn compare_writes(&mut self, sides: &[&Side; 2], found: &mut Vec<Difference>) {
        let stops = self.stops;
        let had = |side: usize, number: u64| Some(stops[side]?[Given::Register(number).register()? as usize]);
        let debugs = &self.debugs;
        let is_guests = |side: usize, number, value| {
            had(side, number) == Some(value) || debugs[side].contains(&(number, value))
        };
        let sets = [0, 1].map(|side| writes_of(sides[side], |number, value| is_guests(side, number, value)));
        for theirs in [true, false] {
            let (one, other) = if theirs {
                (&sets[0], &sets[1])
            } else {
                (&sets[1], &sets[0])
            };
            for &(number, value) in one.difference(other) {
                let given = Given::Write {
                    number,
                    theirs,
                    value,
                };
                if self.writes.insert(given) {
                    let word = Value::Word(if theirs { "yes" } else { "no" });
                    let not = Value::Word(if theirs { "no" } else { "yes" });
                    found.push(difference(given, (word, not)));
                }
            }
        }
    }
}

fn writes_of(side: &Side, is_guests: impl Fn(u64, u64) -> bool) -> BTreeSet<(u64, Wrote)> {
    let mut count = 0;
    let list = unsafe { cpu::model_writes(side.machine.model(), &mut count) };
    let list = unsafe { std::slice::from_raw_parts(list, count as usize) };
    let pictures = entries(side.machine).min(cpu::MODEL_PICTURES);
    let entered_with = |number: u64, value: u64| {
        (0..pictures).any(|at| {
            let p = picture(side.machine, at);
            p.registers[..p.register_count as usize]
                .iter()
                .any(|r| r.number == number && r.value == value)
        })
    };
    let classify = |w: &cpu::model_write| {
        if w.value == side.remembered(w.number) {
            Wrote::Host
        } else if side.register(w.number, w.value) == OWN_FRAME {
            Wrote::Frame
        } else if entered_with(w.number, w.value) || is_guests(w.number, w.value) {
            Wrote::Guest
        } else {
            Wrote::Other(w.value)
        }
    };
    // No host counts on CR2, which any page fault changes; what the guest has there is compared at its entries.
    let counts = |w: &&cpu::model_write| w.number != register::OTHERS + u64::from(register::CR2);
    list.iter()
        .filter(counts)
        .map(|w| (w.number, classify(w)))
        .collect()
}
