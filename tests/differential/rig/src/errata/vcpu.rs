// SPDX-License-Identifier: Apache-2.0
//! The vCPU around its local APIC: registers, messages, the timer, priorities.

use cpu::model_event;

use super::*;
use crate::apic::{Access, Mode as ApicMode, access};
use crate::step::APIC;

/// The register that the guest reads, where x86vcpu gives what the manual says.
fn register(c: &Context, d: &Difference) -> Option<u32> {
    let Access {
        offset,
        write: None,
        by_msr,
    } = access(c.step)?
    else {
        return None;
    };
    let value = c.apic.read(offset, ours(c)?.time[1])?;
    (c.apic.reaches(by_msr) && is_field(d, &[RAX]) && d.values.1 == value).then_some(offset)
}

/// Of the page at FEE00000H.
fn apic_page(c: &Context) -> bool {
    match *c.step {
        Step::ApicRead(_) | Step::ApicWrite(..) => true,
        Step::Mmio { address, .. } => address >> 12 == 0xfee00,
        _ => false,
    }
}

/// An access to memory like any other: in x2APIC mode, and when it is off, the local APIC has no page.
fn past_the_apic(c: &Context) -> bool {
    let Some(Access {
        offset,
        write,
        by_msr: false,
    }) = access(c.step)
    else {
        return false;
    };
    let fault = Exit::NestedFault {
        gpa: APIC + u64::from(offset),
        access: if write.is_some() { 2 } else { 1 },
    };
    !c.apic.reaches(false) && ours(c).is_some_and(|o| o.exits == [fault])
}

/// The interrupt that the step sends: whether to this vCPU, to the other, and its vector.
fn sent(c: &Context) -> Option<(bool, bool, u8)> {
    if let Some(Access {
        offset: 0x3f0,
        write: Some(value),
        ..
    }) = access(c.step)
    {
        return Some((true, false, value as u8));
    }
    let message = c.apic.sends(c.step).filter(|m| m.delivery == 0)?;
    Some((message.own, message.others, message.vector))
}

/// What upstream has the host send, and x86vcpu: of the two that the manual has, and nothing else is called otherwise.
fn sends(c: &Context, d: &Difference, theirs_sends: impl Fn(bool, bool) -> [bool; 2]) -> bool {
    let (Some(theirs), Some(ours), Some((own, others, vector))) = (theirs(c), ours(c), sent(c)) else {
        return false;
    };
    let number = 1 - c.apic.id;
    let text = |id: u32| format!("send 1 {id} {vector:#x}");
    let (to_own, to_other) = (text(c.apic.id), text(number));
    let of = |o: &Outcome| [o.calls.contains(&to_own), o.calls.contains(&to_other)];
    let rest = |o: &Outcome| -> Vec<_> {
        let plain = |call: &&String| **call != to_own && **call != to_other;
        o.calls.iter().filter(plain).cloned().collect()
    };
    d.kind == Kind::Calls
        && rest(theirs) == rest(ours)
        && of(ours) == [false, others && c.other.enabled()]
        && of(theirs) == theirs_sends(own, others)
}

fn exceptions_apart(events: &[model_event]) -> Vec<model_event> {
    events.iter().filter(|e| e.kind != 3).copied().collect()
}

/// The guest takes an NMI that was sent by an APIC, and else the same.
fn nmi_of_a_message(c: &Context, d: &Difference) -> bool {
    let (Some(theirs), Some(ours)) = (theirs(c), ours(c)) else {
        return false;
    };
    let (nmis, rest): (Vec<model_event>, Vec<model_event>) = ours.events.iter().partition(|e| e.kind == 2);
    d.kind == Kind::Interrupts
        && nmis.len() == 1
        && c.apic.nmis > 0
        && exceptions_apart(&rest) == exceptions_apart(&theirs.events)
}

fn halts(c: &Context) -> bool {
    matches!(c.step, Step::Hlt { .. } | Step::HltFor { .. })
}

/// It is halted again, more often than upstream, until there is an event that it can take.
fn halts_longer(c: &Context) -> bool {
    let (Some(theirs), Some(ours)) = (theirs(c), ours(c)) else {
        return false;
    };
    let all = |o: &Outcome| o.exits.iter().all(|e| *e == Exit::Halt);
    halts(c) && all(theirs) && all(ours) && ours.exits.len() > theirs.exits.len() && theirs.stopped
}

/// Interrupts of upstream's guest: in another order, others, or at another time. x86vcpu's are as apic.rs has it.
fn interrupts_differ(c: &Context, d: &Difference) -> bool {
    let (Some(theirs), Some(ours)) = (theirs(c), ours(c)) else {
        return false;
    };
    let others = |o: &Outcome| -> Vec<_> {
        o.events
            .iter()
            .filter(|e| e.kind != 0 && e.kind != 3)
            .copied()
            .collect()
    };
    let nmi = |e: &model_event| e.kind == 2 && c.apic.nmis > 0;
    let step = |e: &model_event| is_single_step(e) && steps_singly(c);
    let ours: Vec<_> = others(ours).into_iter().filter(|e| !nmi(e) && !step(e)).collect();
    matches!(d.kind, Kind::Interrupts | Kind::Order) && others(theirs) == ours
}

/// RFLAGS.TF is set, and upstream carries the instruction out.
fn steps_singly(c: &Context) -> bool {
    c.outcomes
        .is_some_and(|(registers, theirs, _)| registers.rflags & 0x100 != 0 && !theirs.native)
}

fn is_single_step(e: &model_event) -> bool {
    e.kind == 3 && e.vector == 1
}

/// x86vcpu's guest takes the #DB of RFLAGS.TF behind an instruction that was carried out for it.
fn single_step(c: &Context, d: &Difference) -> bool {
    let (Some(theirs), Some(ours), true) = (theirs(c), ours(c), d.kind == Kind::Exceptions) else {
        return false;
    };
    let exceptions = |o: &Outcome| -> Vec<_> { o.events.iter().filter(|e| e.kind == 3).copied().collect() };
    let rest: Vec<_> = exceptions(ours)
        .into_iter()
        .filter(|e| !is_single_step(e))
        .collect();
    steps_singly(c) && rest == exceptions(theirs)
}

/// It comes behind each element of a string.
fn single_step_in_a_string(c: &Context, d: &Difference) -> bool {
    let (Some(theirs), Some(ours)) = (theirs(c), ours(c)) else {
        return false;
    };
    let string = matches!(
        c.step,
        Step::Ins { count: Some(_), .. } | Step::Outs { count: Some(_), .. }
    );
    let changed = d.kind == Kind::Exits || is_field(d, &[RCX, RSI, RDI, RIP, RFLAGS]);
    string && steps_singly(c) && changed && ours.exits.len() == 1 && theirs.exits.starts_with(&ours.exits)
}

/// Above CPL 0.
fn user(c: &Context) -> bool {
    c.outcomes.is_some_and(|(registers, ..)| registers.user)
}

pub const ROWS: &[Row] = &[
    row("C-07", single_step),
    row("C-07", single_step_in_a_string),
    drains("C-07", |c, d| {
        halts(c)
            && steps_singly(c)
            && ours(c).is_some_and(|o| o.exits.is_empty() && o.events.iter().any(is_single_step))
            && (d.kind == Kind::Exits || interrupts_differ(c, d))
    }),
    // STI; HLT: the interrupt that the shadow held back comes behind the HLT, which is over then.
    drains("C-07", |c, d| {
        halts(c)
            && c.outcomes.is_some_and(|(registers, ..)| registers.shadow != 0)
            && ours(c).is_some_and(|o| o.exits.is_empty() && o.events.iter().any(|e| e.kind == 0))
            && (d.kind == Kind::Exits || interrupts_differ(c, d))
    }),
    drains("C-07", |c, d| steps_singly(c) && interrupts_differ(c, d)),
    row("C-07", |c, d| {
        is_field(d, &[SHADOW]) && d.values.1 == 0 && !native(theirs(c))
    }),
    // An interrupt that is taken ends it.
    row("LA-04, LA-05, VC-05, VC-06, C-03c", |c, d| {
        let interrupts = |o: &Outcome| o.events.iter().filter(|e| e.kind == 0).count();
        is_field(d, &[SHADOW])
            && c.outcomes
                .is_some_and(|(_, theirs, ours)| interrupts(theirs) != interrupts(ours))
    }),
    // The shadow of an instruction that is over holds upstream's interrupt back.
    drains("C-07", |c, d| {
        c.shadows.is_some_and(|(theirs, ours)| theirs != 0 && ours == 0)
            && (interrupts_differ(c, d)
                || matches!(c.step, Step::CutShort { .. })
                    && d.kind == Kind::Exits
                    && theirs(c).is_some_and(|o| o.exits.is_empty()))
    }),
    row("V-04c", |_, d| {
        is_field(d, &[PDPTE0, PDPTE0 + 1, PDPTE0 + 2, PDPTE0 + 3])
    }),
    drains("C-17", |c, d| {
        *c.step == Step::Hypercall
            && user(c)
            && must::exceptions(ours(c).expect("of a step")) == [6]
            && (of_control_flow(d) || is_field(d, &[RAX]))
    }),
    row("V-05d", |c, d| vmx(c) && apic_page(c) && is_field(d, &[RIP])),
    row("V-05", |c, d| {
        vmx(c)
            && matches!(*c.step, Step::Mmio { form, .. } if !FORMS[usize::from(form)].write)
            && apic_page(c)
            && matches!(d.kind, Kind::Field(number) if number < 16)
    }),
    row("LA-12, VC-03, V-20", |c, d| {
        matches!(c.step, Step::ApicRead(_)) && past_the_apic(c) && must::of_access(d)
    }),
    last("LA-12, VC-03, V-20", |c, d| {
        matches!(c.step, Step::ApicWrite(..)) && past_the_apic(c) && must::of_access(d)
    }),
    row("LA-10, LA-11", |c, d| matches!(register(c, d), Some(0x20 | 0xd0))),
    row("LA-33", |c, d| {
        register(c, d) == Some(0x390) && d.values.0 + 1 == d.values.1
    }),
    row("LA-20, LA-21, LA-22", |c, d| register(c, d) == Some(0x390)),
    row("LA-14, LA-15, LA-16, LA-28", |c, d| {
        matches!(register(c, d), Some(0xf0 | 0x320..=0x370 | 0x3e0))
    }),
    row("LA-04, LA-05, VC-05, VC-06, C-03c", |c, d| {
        matches!(register(c, d), Some(0xa0 | 0x100..=0x270))
    }),
    row("an interrupt for itself", |c, d| {
        sends(c, d, |own, others| [own, others && c.other.enabled()])
    }),
    row("LA-34", |c, d| sends(c, d, |own, others| [own, others])),
    row("the end of an edge-triggered interrupt", |c, d| {
        *c.step == Step::ApicWrite(0xb0, 0)
            && d.kind == Kind::Exits
            && d.theirs == "[InterruptEnd(None)]"
            && d.ours == "[]"
    }),
    row(
        "`inject_interrupt` while the local APIC is disabled, and with vectors below 16",
        |c, d| {
            let told = |v: &u8| {
                d.theirs == format!("[InterruptEnd(Some({v:x}))]")
                    || d.theirs == format!("Some(Ok(Some({v:x})))")
            };
            let eoi = |a: Access| a.offset == 0xb0 && a.write.is_some();
            (*c.step == Step::HostEoi || access(c.step).is_some_and(eoi))
                && matches!(d.kind, Kind::Exits | Kind::Ended)
                && matches!(d.ours.as_str(), "[]" | "Some(Ok(None))")
                && c.apic.past.iter().any(told)
        },
    ),
    row("C-03e", |c, d| {
        let eoi = |a: Access| a.offset == 0xb0 && a.write.is_some();
        let (level, edge) = (format!("Some({:x})", c.apic.last), "None");
        (*c.step == Step::HostEoi || access(c.step).is_some_and(eoi))
            && matches!(d.kind, Kind::Exits | Kind::Ended)
            && c.apic.mixed.contains(&c.apic.last)
            && (d.theirs.contains(&level) && (d.ours == "[]" || d.ours.contains(edge))
                || d.theirs.contains(edge) && d.ours.contains(&level))
    }),
    row("S-01", |_, d| is_field(d, &[DEBUGCTL]) && d.values.1 == 0),
    last("LA-13, V-02, C-20", |c, d| {
        matches!(*c.step, Step::Wrmsr(0x1b, value) if !c.apic.has_mode_of(value))
            && must::faults(c, 13)
            && !theirs(c).is_some_and(|o| o.failure.is_some())
            && of_control_flow(d)
    }),
    row("LA-09, LA-29", nmi_of_a_message),
    last("LA-09, LA-29", |c, _| c.apic.init),
    drains("LA-14, LA-15, LA-16, LA-28", |c, d| {
        let timer = |e: &model_event| c.apic.is_of_timer(e.vector);
        !c.apic.enabled()
            && interrupts_differ(c, d)
            && theirs(c).is_some_and(|o| o.events.iter().any(timer))
            && !ours(c).is_some_and(|o| o.events.iter().any(timer))
    }),
    drains("LA-13, V-02, C-20", |c, d| {
        c.apic.mode() == ApicMode::Disabled && interrupts_differ(c, d)
    }),
    // Another interrupt than x86vcpu's came before the end of this one.
    drains("LA-04, LA-05, VC-05, VC-06, C-03c", |c, d| {
        let ends = |o: &Outcome| o.exits.iter().all(|e| matches!(e, Exit::InterruptEnd(_)));
        let eoi = |a: Access| a.offset == 0xb0 && a.write.is_some();
        d.kind == Kind::Exits
            && access(c.step).is_some_and(eoi)
            && theirs(c).is_some_and(|o| ends(o) && o.events.iter().any(|e| e.kind == 0))
            && ours(c).is_some_and(ends)
    }),
    drains("C-18", |c, d| {
        halts_longer(c)
            && ours(c).is_some_and(|o| o.stopped)
            && (d.kind == Kind::Exits || interrupts_differ(c, d))
    }),
    last("C-18", |c, d| {
        halts_longer(c) && ours(c).is_some_and(|o| !o.stopped) && of_the_end(d)
    }),
    only(
        Backend::Svm,
        row("host interrupt on SVM", |c, d| {
            matches!(c.step, Step::PassInside(_))
                && d.kind == Kind::Exits
                && d.theirs == "[Timer]"
                && d.ours == "[]"
        }),
    ),
    drains("LA-04, LA-05, VC-05, VC-06, C-03c", |c, d| {
        matches!(c.step, Step::CutShort { .. })
            && d.kind == Kind::Exits
            && ours(c).is_some_and(|o| o.exits.is_empty())
            && c.apic.holds_back()
    }),
    drains("LA-04, LA-05, VC-05, VC-06, C-03c", |c, d| {
        c.apic.mode() != ApicMode::Disabled && c.apic.enabled() && interrupts_differ(c, d)
    }),
];
