// SPDX-License-Identifier: Apache-2.0
//! fields.toml: what may differ in what the two give the CPU, and why. The ROM's rig (metal/run) reads the same file.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use cpu::feature;
use serde::Deserialize;

use crate::compare::{Difference, Kind};
use crate::fields::{Given, Map};
use crate::machine::{Backend, register_name, word_name};

// ---- Values --------------------------------------------------------------------------------------------------

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// Of a field that nobody wrote.
    Unwritten,
    Number(u64),
    /// What is only one's own, by what it is.
    Word(&'static str),
}

impl Value {
    pub fn bits(self) -> u64 {
        match self {
            Value::Number(value) => value,
            Value::Unwritten | Value::Word(_) => 0,
        }
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Value::Unwritten => write!(f, "unwritten"),
            Value::Number(value) => write!(f, "{value:x}"),
            Value::Word(word) => write!(f, "{word}"),
        }
    }
}

/// A number, a string with one where TOML's integers end, or a word.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Written {
    Number(u64),
    Text(String),
}

impl Written {
    fn number(&self) -> Option<u64> {
        match self {
            Written::Number(value) => Some(*value),
            Written::Text(text) => u64::from_str_radix(text.strip_prefix("0x")?, 16).ok(),
        }
    }

    fn bits(value: &Option<Self>) -> u64 {
        value
            .as_ref()
            .map_or(0, |w| w.number().expect("a number of 64 bits"))
    }

    /// A value as a difference shows it.
    fn is(&self, shown: &str) -> bool {
        match (self.number(), self) {
            (_, Written::Text(text)) if text == shown => true,
            (Some(number), _) => u64::from_str_radix(shown, 16) == Ok(number),
            (None, Written::Text(text)) => shown == text,
            (None, Written::Number(_)) => false,
        }
    }
}

// ---- Rules -----------------------------------------------------------------------------------------------------

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    vendor: Option<String>,
    rig: Option<String>,
    #[serde(default)]
    features: Vec<String>,
    #[serde(default)]
    lacks: Vec<String>,
    #[serde(default)]
    ids: Vec<String>,
    reason: Option<String>,

    #[serde(default)]
    fields: Vec<u32>,
    #[serde(default)]
    names: Vec<String>,
    theirs: Option<Written>,
    ours: Option<Written>,
    added: Option<Written>,
    removed: Option<Written>,
    may_add: Option<Written>,
    may_remove: Option<Written>,
    without: Option<Written>,
    #[serde(default)]
    always: bool,
    #[serde(default)]
    seldom: bool,
    #[allow(dead_code)] // of metal/run, as the next
    later: Option<bool>,
    #[allow(dead_code)]
    machines: Option<Vec<String>>,
    #[serde(default)]
    ranges: Vec<(u32, u32)>,
    #[serde(default)]
    except: Vec<(u32, u32)>,
    #[serde(skip)]
    table: &'static str,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    field: Vec<Rule>,
    #[serde(default)]
    register: Vec<Rule>,
    #[serde(default)]
    write: Vec<Rule>,
    #[serde(default)]
    map: Vec<Rule>,
    #[serde(default)]
    asked: Vec<Rule>,
}

static RULES: OnceLock<Vec<Rule>> = OnceLock::new();

pub fn load(path: &str) -> Result<(), String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let file: File = toml::from_str(&text).map_err(|error| format!("{path}: {error}"))?;
    let mut all = Vec::new();
    let tables = [
        ("field", file.field),
        ("register", file.register),
        ("write", file.write),
        ("map", file.map),
        ("asked", file.asked),
    ];
    for (table, rules) in tables {
        all.extend(rules.into_iter().map(|rule| Rule { table, ..rule }));
    }
    for rule in all.iter().filter(|rule| rule.rig.as_deref() != Some("metal")) {
        rule.check().map_err(|what| format!("{path}: {what}: {rule:?}"))?;
    }
    RULES.set(all).map_err(|_| "once".to_owned())
}

fn rules() -> &'static [Rule] {
    RULES.get().map_or(&[], Vec::as_slice)
}

const FEATURES: &[(&str, u32)] = &[
    ("XSAVE", feature::XSAVE),
    ("XSAVES", feature::XSAVES),
    ("AVX512", feature::AVX512),
    ("AMX", feature::AMX),
    ("RDTSCP", feature::RDTSCP),
    ("INVPCID", feature::INVPCID),
    ("TIMER", feature::TIMER),
    ("VPID", feature::VPID),
    ("EPT_AD", feature::EPT_AD),
    ("APICV", feature::APICV),
    ("APIC_ACCESS", feature::APIC_ACCESS),
    ("VNMI", feature::VNMI),
    ("NRIPS", feature::NRIPS),
    ("DECODE", feature::DECODE),
    ("CLEAN", feature::CLEAN),
    ("ODD_HOST", feature::ODD_HOST),
    ("BARE_CONTROLS", feature::BARE_CONTROLS),
];

fn mask(names: &[String]) -> u32 {
    let bit = |name: &String| FEATURES.iter().find(|f| f.0 == name).map_or(0, |f| f.1);
    names.iter().map(bit).sum()
}

impl Rule {
    fn check(&self) -> Result<(), &'static str> {
        let known = |names: &[String]| names.iter().all(|name| FEATURES.iter().any(|f| f.0 == name));
        let values = [
            &self.theirs,
            &self.ours,
            &self.added,
            &self.removed,
            &self.may_add,
            &self.may_remove,
        ];
        if self.ids.is_empty() && self.reason.is_none() {
            return Err("neither ids nor a reason");
        }
        if values.iter().all(|v| v.is_none()) && self.without.is_none() {
            return Err("it allows everything");
        }
        if self.table == "map" && (self.theirs.is_none() || self.ours.is_none()) {
            return Err("a map has two values");
        }
        if !known(&self.features) || !known(&self.lacks) {
            return Err("no such feature");
        }
        Ok(())
    }

    fn is_of(&self, backend: Backend) -> bool {
        let vendor = ["VT-x", "SVM"][backend as usize];
        self.vendor.as_deref().is_none_or(|v| v == vendor) && self.rig.as_deref() != Some("metal")
    }

    fn fits(&self, backend: Backend, features: u32) -> bool {
        let (has, lacks) = (mask(&self.features), mask(&self.lacks));
        self.is_of(backend) && features & has == has && features & lacks == 0
    }

    /// Everything that the rule says, and nothing else differs.
    fn values(&self, d: &Difference) -> bool {
        let named = |rule: &Option<Written>, shown: &str| rule.as_ref().is_none_or(|w| w.is(shown));
        if !named(&self.theirs, &d.theirs) || !named(&self.ours, &d.ours) {
            return false;
        }
        let (theirs, ours) = d.values;
        (theirs | ours) & Written::bits(&self.without) == 0
            && (!self.is_about_bits() || self.bits(d, ours & !theirs, theirs & !ours))
    }

    fn is_about_bits(&self) -> bool {
        [&self.added, &self.removed, &self.may_add, &self.may_remove]
            .iter()
            .any(|v| v.is_some())
    }

    fn bits(&self, d: &Difference, added: u64, removed: u64) -> bool {
        // A field that nobody wrote has no bits, unless the rule says that it is one.
        let numbers = (self.theirs.is_some() || d.theirs != "unwritten")
            && (self.ours.is_some() || d.ours != "unwritten");
        numbers
            && added & !Written::bits(&self.may_add) == Written::bits(&self.added)
            && removed & !Written::bits(&self.may_remove) == Written::bits(&self.removed)
    }

    /// What of it must be met: its fields or names, and the bits that need not be there.
    fn parts(&self) -> BTreeSet<Part> {
        let mut parts: BTreeSet<_> = self.fields.iter().map(|&f| Part::Field(f)).collect();
        parts.extend(self.names.iter().map(|name| Part::Name(name.clone())));
        for bit in 0..64 {
            if Written::bits(&self.may_add) >> bit & 1 != 0 {
                parts.insert(Part::Added(bit));
            }
            if Written::bits(&self.may_remove) >> bit & 1 != 0 {
                parts.insert(Part::Removed(bit));
            }
        }
        parts
    }

    fn covers(&self, number: u32) -> bool {
        let within = |list: &[(u32, u32)]| list.iter().any(|&(first, last)| (first..=last).contains(&number));
        within(&self.ranges) && !within(&self.except)
    }

    fn why(&self) -> String {
        let ids = self.ids.join(", ");
        match &self.reason {
            Some(reason) if ids.is_empty() => reason.clone(),
            Some(reason) => format!("{ids}: {reason}"),
            None => ids,
        }
    }

    fn about(&self, backend: Backend) -> String {
        let mut names: Vec<_> = self.fields.iter().map(|&f| word_name(backend, f)).collect();
        names.extend(self.names.iter().cloned());
        let rest = if names.len() > 1 {
            format!(" and {} more", names.len() - 1)
        } else {
            String::new()
        };
        format!(
            "{} {}{rest}",
            self.table,
            names.first().map_or("", String::as_str)
        )
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Field(u32),
    Name(String),
    Added(u32),
    Removed(u32),
}

// ---- How often they are met ----------------------------------------------------------------------------------------

struct Explained {
    features: u32,
    map: Map,
    bytes: [Vec<u8>; 2],
    by: BTreeSet<(usize, String)>,
}

#[derive(Default)]
pub struct Met {
    counts: Vec<u64>,
    parts: Vec<BTreeSet<Part>>,
    /// Pairs of maps that were looked through before.
    explained: Vec<Explained>,
    pub entries: u64,
    pub values: u64,
}

impl Met {
    fn meet(&mut self, rule: usize, parts: impl IntoIterator<Item = Part>) {
        if self.counts.is_empty() {
            self.counts = vec![0; rules().len()];
            self.parts = vec![BTreeSet::new(); rules().len()];
        }
        self.counts[rule] += 1;
        self.parts[rule].extend(parts);
    }

    /// The first rule that describes it is the one.
    pub fn explains(&mut self, backend: Backend, features: u32, d: &Difference) -> bool {
        let Kind::Given(given) = d.kind else { return false };
        let (table, part) = match given {
            Given::Word(_, word) | Given::Kept(word) => ("field", Part::Field(word)),
            Given::Register(number) => ("register", Part::Name(register_name(number))),
            Given::TaskPriority => ("register", Part::Name("VTPR".into())),
            Given::Write { number, value, .. } => (
                "write",
                Part::Name(format!("{value} to {}", register_name(number))),
            ),
            Given::Asked(what) => ("asked", Part::Name(what.into())),
            Given::Bits(_) | Given::Missing(..) => return false,
        };
        let found = rules().iter().position(|rule| {
            let listed = match &part {
                Part::Field(word) => rule.fields.contains(word),
                Part::Name(name) => rule.names.contains(name),
                _ => false,
            };
            rule.table == table && listed && rule.fits(backend, features) && rule.values(d)
        });
        let Some(rule) = found else { return false };
        let (theirs, ours) = d.values;
        let bits = (0..64)
            .filter(|bit| (ours & !theirs) >> bit & 1 != 0)
            .map(Part::Added);
        let gone = (0..64)
            .filter(|bit| (theirs & !ours) >> bit & 1 != 0)
            .map(Part::Removed);
        self.meet(rule, bits.chain(gone).chain([part]));
        true
    }

    /// What is left of two maps' differences when every bit has been looked at.
    pub fn explain_bits(
        &mut self,
        backend: Backend,
        features: u32,
        map: Map,
        bytes: [&[u8]; 2],
    ) -> Option<String> {
        let known = |e: &&Explained| {
            e.features == features && e.map == map && e.bytes[0] == bytes[0] && e.bytes[1] == bytes[1]
        };
        let by = match self.explained.iter().find(known) {
            Some(explained) => explained.by.clone(),
            None => match look_through(backend, features, map, bytes) {
                Ok(by) => {
                    let bytes = bytes.map(<[u8]>::to_vec);
                    self.explained.push(Explained {
                        features,
                        map,
                        bytes,
                        by: by.clone(),
                    });
                    by
                }
                Err(rest) => return Some(rest),
            },
        };
        for (rule, name) in by {
            self.meet(rule, [Part::Name(name)]);
        }
        None
    }

    /// Rules with their counts; how many were not met, or not wholly.
    pub fn show(&self, backend: Backend, all_must_be: bool) -> u64 {
        let mut never = 0;
        println!(
            "  {} entries with {} fields and registers each, {} in all, and their pages",
            self.entries,
            self.values / self.entries.max(1),
            self.values
        );
        for (at, rule) in rules().iter().enumerate().filter(|(_, rule)| rule.is_of(backend)) {
            let count = self.counts.get(at).copied().unwrap_or(0);
            println!("  {:<50} {count:>9}  {}", rule.about(backend), rule.why());
            let all = rule.parts();
            let missing: Vec<_> = match self.parts.get(at) {
                Some(met) => all.difference(met).collect(),
                None => all.iter().collect(),
            };
            if !missing.is_empty() && all_must_be && !rule.seldom {
                println!("    never met: {missing:x?}");
                never += 1;
            }
        }
        never
    }
}

/// A rule says what the library has in all of its ranges. The rules that explain all bits, or the first ones that none does.
fn look_through(
    backend: Backend,
    features: u32,
    map: Map,
    bytes: [&[u8]; 2],
) -> Result<BTreeSet<(usize, String)>, String> {
    let (mut by, mut rest) = (BTreeSet::new(), Vec::new());
    let candidates: Vec<_> = rules()
        .iter()
        .enumerate()
        .filter(|(_, rule)| rule.table == "map" && rule.fits(backend, features))
        .collect();
    for (at, (&theirs, &ours)) in bytes[0].iter().zip(bytes[1]).enumerate() {
        for bit in 0..8 {
            let (name, number) = map.meaning(backend, 8 * at as u32 + bit);
            let values = [theirs, ours].map(|byte| u64::from(byte >> bit & 1));
            let found = candidates
                .iter()
                .find(|(_, rule)| rule.names.iter().any(|n| n == name) && rule.covers(number));
            let (wrong, rule) = match found {
                Some((rule, wanted)) => (Written::bits(&wanted.ours) != values[1], Some(rule)),
                None => (values[0] != values[1], None),
            };
            if wrong {
                rest.push(format!("{name} {number:x}: {}/{}", values[0], values[1]));
            } else if let Some(&rule) = rule
                && values[0] != values[1]
            {
                by.insert((rule, name.to_owned()));
            }
        }
    }
    if rest.is_empty() {
        return Ok(by);
    }
    let more = rest.len().saturating_sub(12);
    rest.truncate(12);
    Err(format!("{} and {more} more", rest.join(", ")))
}

/// What the library must have in a field at every entry, so that a difference that there must be cannot go.
pub struct Always {
    pub word: u32,
    added: u64,
    removed: u64,
    ours: Option<&'static Written>,
}

pub fn always(backend: Backend, features: u32) -> Vec<Always> {
    let fitting = rules()
        .iter()
        .filter(|rule| rule.always && rule.fits(backend, features));
    let each = |rule: &'static Rule| {
        rule.fields.iter().map(|&word| Always {
            word,
            added: Written::bits(&rule.added),
            removed: Written::bits(&rule.removed),
            ours: rule.ours.as_ref(),
        })
    };
    fitting.flat_map(each).collect()
}

impl Always {
    pub fn holds(&self, ours: u64) -> bool {
        let is = self.ours.is_none_or(|wanted| wanted.number() == Some(ours));
        is && ours & self.added == self.added && ours & self.removed == 0
    }
}

/// The ids that rules name.
pub fn ids() -> impl Iterator<Item = &'static str> {
    rules()
        .iter()
        .flat_map(|rule| rule.ids.iter().map(String::as_str))
}
