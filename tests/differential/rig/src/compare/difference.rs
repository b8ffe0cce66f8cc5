// SPDX-License-Identifier: Apache-2.0
//! What came out differently in a step.

use super::*;

pub(super) fn is_event(kind: Kind) -> bool {
    matches!(kind, Kind::Exceptions | Kind::Interrupts | Kind::Order)
}

pub(super) fn difference<T: PartialEq + std::fmt::Debug>(
    found: &mut Vec<Difference>,
    kind: Kind,
    theirs: &T,
    ours: &T,
) {
    if theirs != ours {
        found.push(Difference {
            kind,
            theirs: format!("{theirs:x?}"),
            ours: format!("{ours:x?}"),
            values: (0, 0),
        });
    }
}

pub(super) fn one_sided(found: &mut Vec<Difference>, theirs: (Kind, &[String]), ours: (Kind, &[String])) {
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

pub(super) fn compare(known: &mut Known, theirs: &Outcome, ours: &Outcome) -> Vec<Difference> {
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
