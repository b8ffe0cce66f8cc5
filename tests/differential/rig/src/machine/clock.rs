// SPDX-License-Identifier: Apache-2.0
//! The clock of a machine's host, which only the test moves, and the timers that wait on it.

use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::ptr::null;

use x86_vlapic::{X86TimerAction, X86TimerCallback};

/// A library that arms a timer for the past again and again would never let the time go on.
const MOST_CALLS: u32 = 1_000;

pub enum Callback {
    Theirs(X86TimerCallback),
    Ours(unsafe extern "C" fn(*mut c_void, u64) -> u64, *mut c_void),
}

impl Callback {
    /// When it wants to be called again.
    fn call(&mut self, now: u64) -> Option<u64> {
        match self {
            Callback::Theirs(function) => match function(now) {
                X86TimerAction::Complete => None,
                X86TimerAction::Rearm(deadline) => Some(deadline),
            },
            Callback::Ours(function, argument) => match unsafe { function(*argument, now) } {
                0 => None,
                deadline => Some(deadline),
            },
        }
    }
}

struct Timer {
    id: u64,
    deadline: u64,
    callback: Callback,
}

pub struct Clock {
    model: *mut cpu::model,
    now: Cell<u64>,
    last: Cell<u64>,
    inside: Cell<u64>,
    timers: RefCell<Vec<Timer>>,
}

thread_local! {
    static CLOCK: Cell<*const Clock> = const { Cell::new(null()) };
}

pub fn current() -> &'static Clock {
    // The machine that is selected outlives whatever is called on it.
    unsafe { CLOCK.get().as_ref() }.expect("a machine is selected")
}

pub fn forget() {
    CLOCK.set(null());
}

impl Clock {
    pub fn new(model: *mut cpu::model) -> Self {
        Self {
            model,
            now: Cell::new(1_000_000),
            last: Cell::new(0),
            inside: Cell::new(0),
            timers: RefCell::new(Vec::new()),
        }
    }

    pub fn select(&self) {
        CLOCK.set(self);
    }

    pub fn now(&self) -> u64 {
        self.now.get()
    }

    pub fn start(&self, deadline: u64, callback: Callback) -> u64 {
        let id = self.last.get() + 1;
        self.last.set(id);
        self.timers.borrow_mut().push(Timer {
            id,
            deadline,
            callback,
        });
        id
    }

    /// A timer that is done already is not an error.
    pub fn cancel(&self, id: u64) {
        self.timers.borrow_mut().retain(|timer| timer.id != id);
    }

    fn due(&self, now: u64) -> Option<Timer> {
        let mut timers = self.timers.borrow_mut();
        let (at, timer) = timers
            .iter()
            .enumerate()
            .min_by_key(|(_, timer)| timer.deadline)?;
        (timer.deadline <= now).then_some(at).map(|at| timers.remove(at))
    }

    fn set(&self, now: u64) {
        unsafe { cpu::model_pass(self.model, now - self.now.get()) };
        self.now.set(now);
    }

    /// Timers are called when they are due, in their order.
    pub fn pass(&self, nanoseconds: u64) {
        let end = self.now.get() + nanoseconds;
        for _ in 0..MOST_CALLS {
            let Some(mut timer) = self.due(end) else { break };
            self.set(timer.deadline.max(self.now.get()));
            // It may not be cancelled or started meanwhile: the libraries' functions call nothing of the host.
            if let Some(deadline) = timer.callback.call(self.now.get()) {
                timer.deadline = deadline;
                self.timers.borrow_mut().push(timer);
            }
        }
        self.set(end);
    }

    /// So much time passes at the host's next interrupt.
    pub fn pass_inside(&self, nanoseconds: u64) {
        self.inside.set(nanoseconds);
    }

    /// The host's interrupt handler.
    pub fn interrupt(&self) {
        self.pass(self.inside.replace(0));
    }
}
